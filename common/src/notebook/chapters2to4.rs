//! Chapters 2 to 4: threads, thread-local values, and processes against threads.

use super::{CPUS, Cell, Statistic, Trials, Variant, line};
use crate::check::Check::*;

pub(super) static THREAD: Cell = Cell {
    number: Some(11),
    chapter: 2,
    package: "multithread",
    bin: "thread",
    companions: &[],
    idea: "a thread with a name, waited for",
    idea_zh: "有名字的线程，等它结束",
    python: "threading.Thread",
    needs: &[],
    variants: &[Variant {
        prints: &[
            line("running", 2, "thread {t:word} is running..."),
            line("tick", 5, "thread {t:word} >>> {n:int}"),
            line("ended", 2, "thread {t:word} ended."),
        ],
        checks: &[
            Sequence("running.t", &["MainThread", "LoopThread"]),
            Sequence("tick.n", &["1", "2", "3", "4", "5"]),
            Every("tick.t", "LoopThread"),
            Sequence("ended.t", &["LoopThread", "MainThread"]),
            Order(&["running", "tick", "ended"]),
            Gaps("tick", 1.0),
        ],
        recorded: "\
thread MainThread is running...
thread LoopThread is running...
thread LoopThread >>> 1
thread LoopThread >>> 2
thread LoopThread >>> 3
thread LoopThread >>> 4
thread LoopThread >>> 5
thread LoopThread ended.
thread MainThread ended.
",
        ..Variant::PLAIN
    }],
};

pub(super) static RACE: Cell = Cell {
    number: Some(13),
    chapter: 2,
    package: "multithread",
    bin: "race",
    companions: &["race_widened"],
    idea: "two threads, one balance, no lock",
    idea_zh: "两个线程改同一个余额，没有锁",
    python: "threading, without a Lock",
    needs: &[CPUS],
    variants: &[Variant {
        prints: &[line("balance", 1, "{n:int}")],
        trials: Some(Trials {
            runs: 20,
            outcome: "balance.n",
            statistic: Statistic::AnyNonZero,
            widened: Some("race_widened"),
        }),
        recorded: "5\n",
        ..Variant::PLAIN
    }],
};

pub(super) static LOCK: Cell = Cell {
    number: Some(14),
    chapter: 2,
    package: "multithread",
    bin: "lock",
    companions: &[],
    idea: "the same balance behind a lock",
    idea_zh: "同一个余额，加上锁",
    python: "threading.Lock",
    needs: &[],
    variants: &[Variant {
        prints: &[line("balance", 1, "{n:int}")],
        trials: Some(Trials {
            runs: 20,
            outcome: "balance.n",
            statistic: Statistic::AllZero,
            widened: None,
        }),
        recorded: "0\n",
        ..Variant::PLAIN
    }],
};

pub(super) static LOCAL: Cell = Cell {
    number: Some(15),
    chapter: 3,
    package: "threadlocal",
    bin: "local",
    companions: &[],
    idea: "a global that each thread has for itself",
    idea_zh: "全局变量，每个线程各有一份",
    python: "threading.local",
    needs: &[],
    variants: &[Variant {
        prints: &[line("hello", 2, "Hello, {s:word} (in {t:word})")],
        checks: &[Pairs(
            "hello",
            "s",
            "t",
            &[("Alice", "Thread-A"), ("Bob", "Thread-B")],
        )],
        recorded: "\
Hello, Alice (in Thread-A)
Hello, Bob (in Thread-B)
",
        ..Variant::PLAIN
    }],
};

pub(super) static PROCESS_VS_THREAD: Cell = Cell {
    number: None,
    chapter: 4,
    package: "multithread",
    bin: "process_vs_thread",
    companions: &[],
    idea: "what each costs, shares and survives",
    idea_zh: "各自的开销、共享与隔离",
    python: "(a heading without a cell)",
    needs: &[],
    variants: &[Variant {
        prints: &[
            line(
                "start",
                1,
                "start and join       thread {t:int} us    process {p:int} us",
            ),
            line(
                "memory",
                1,
                "memory of one more   thread {t:int} kB    process {p:int} kB",
            ),
            line(
                "work",
                1,
                "CPU work, {n:int} at once   threads x{t:secs}    processes x{p:secs}",
            ),
            line(
                "write",
                1,
                "a write is seen      thread {t:word}    process {p:word}",
            ),
            line(
                "panic",
                1,
                "a panic ends         thread {t:word}    process {p:word}",
            ),
            line(
                "abort",
                1,
                "an abort ends        thread {t:word}    process {p:word}",
            ),
        ],
        checks: &[
            Order(&["start", "memory", "work", "write", "panic", "abort"]),
            Less("start.t", "start.p"),
            Less("memory.t", "memory.p"),
            Range("work.t", 0.2, 1024.0),
            Range("work.p", 0.2, 1024.0),
            Pairs("write", "t", "p", &[("yes", "no")]),
            Pairs("panic", "t", "p", &[("itself", "itself")]),
            Pairs("abort", "t", "p", &[("all", "itself")]),
        ],
        ..Variant::PLAIN
    }],
};
