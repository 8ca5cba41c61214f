//! Chapters 2 to 4: threads, thread-local values, and processes against threads.

use super::cell::{
    Cell, Line, Need, PictureKind, Role, Statistic, TimeSpan, Trials, Variant, any, line,
};
use super::check::Check::*;

pub(super) static THREAD: Cell = Cell {
    number: Some(11),
    chapter: 2,
    package: "multithread",
    bin: "thread",
    companions: &[],
    idea: "a thread with a name, waited for",
    idea_zh: "有名字的线程，等它结束",
    python: "threading.Thread",
    python_zh: "threading.Thread",
    teaches: "A thread has a name, runs a function beside the main thread, and is waited for with join. The main thread's last line can only come after the loop's, a second apart for each tick.",
    teaches_zh: "线程有名字，在主线程旁边运行一个函数，用 join 等它结束。主线程的最后一行只能在循环之后；循环每秒打印一次。",
    hint: "Drop the join: the program ends with its main thread, and the ticks stop.",
    hint_zh: "去掉 join：主线程一结束，程序就结束，循环也停了。",
    needs: &[],
    picture: PictureKind::TickLanes,
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
        spans: &[TimeSpan {
            open: "running",
            close: "ended",
            on: "t",
            seconds: None,
        }],
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
        roles: &[Role {
            mark: "",
            name: "thread",
            name_zh: "线程",
            ids: &["running.t", "tick.t", "ended.t"],
            says: &["running", "tick", "ended"],
        }],
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
    python_zh: "threading，不用 Lock",
    teaches: "Two threads change one balance without a lock. Each change is a load and a store, and whoever comes between the two is overwritten: every lost update shifts the balance by 5 or 8. Whether it happens is luck, so one run shows nothing; many runs do.",
    teaches_zh: "两个线程不加锁地修改同一个余额。每次修改都是先读后写，插在中间的那一次会被覆盖：每丢一次更新，余额就偏 5 或 8。会不会发生全凭运气，所以跑一次说明不了什么，跑很多次才行。",
    hint: "`cargo xtask race -n 200` runs it 200 times; `taskset -c 0` in front pins it to one processor.",
    hint_zh: "`cargo xtask race -n 200` 运行 200 次；前面加上 `taskset -c 0`，就只用一个处理器。",
    needs: &[Need::TwoCpus],
    picture: PictureKind::Histogram,
    variants: &[Variant {
        prints: BALANCE,
        trials: Some(Trials {
            runs: 100,
            outcome: "balance.n",
            statistic: Statistic::AnyNonZero,
            changes: CHANGES,
            label: ("no lock", "没有锁"),
            widened: Some("race_widened"),
            widened_label: ("no lock, window held open", "没有锁，窗口拉长"),
        }),
        recorded: "5\n",
        ..Variant::PLAIN
    }],
};

/// Two threads make a million each.
const CHANGES: usize = 2_000_000;

const BALANCE: &[Line] = &[line("balance", 1, "{n:int}")];

/// Twenty runs that all end with 0.
const fn all_zero(label: &'static str) -> Trials {
    Trials {
        runs: 20,
        outcome: "balance.n",
        statistic: Statistic::AllZero,
        changes: CHANGES,
        label: (label, label),
        widened: None,
        widened_label: ("", ""),
    }
}

pub(super) static LOCK: Cell = Cell {
    number: Some(14),
    chapter: 2,
    package: "multithread",
    bin: "lock",
    companions: &["atomic_add"],
    idea: "the same balance behind a lock",
    idea_zh: "同一个余额，加上锁",
    python: "threading.Lock",
    python_zh: "threading.Lock",
    teaches: "The same balance, with a lock around each change: nobody comes between load and store, and the result is 0 every time. An atomic add does the same without a lock, since load and store are one step there.",
    teaches_zh: "还是那个余额，每次修改都在锁里：没有谁能插在读和写之间，结果每次都是 0。原子加法不用锁也能做到，因为读和写在那里是一步。",
    hint: "Lock once around the whole loop instead of each change, and compare the time.",
    hint_zh: "把锁加在整个循环外面，而不是每次修改外面，比较一下用时。",
    needs: &[],
    picture: PictureKind::Cost,
    variants: &[
        Variant {
            name: "mutex",
            name_zh: "互斥锁",
            trials: Some(all_zero("Mutex")),
            prints: BALANCE,
            recorded: "0\n",
            ..Variant::PLAIN
        },
        Variant {
            name: "atomic",
            name_zh: "原子加法",
            bin: Some("atomic_add"),
            trials: Some(all_zero("fetch_add")),
            prints: BALANCE,
            ..Variant::PLAIN
        },
    ],
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
    python_zh: "threading.local",
    teaches: "One global name, and a value of its own behind it for each thread. What one thread stores there no other can see, so no lock is wanted.",
    teaches_zh: "一个全局的名字，每个线程背后各有一份自己的值。一个线程存进去的，别的线程看不到，所以不需要锁。",
    hint: "Read it in a thread that never stored anything: Rust makes you say what it holds then.",
    hint_zh: "在一个从未存过值的线程里读它：Rust 要求事先说明那时里面是什么。",
    needs: &[],
    picture: PictureKind::Slots,
    variants: &[Variant {
        prints: &[line("hello", 2, "Hello, {s:word} (in {t:word})")],
        free: &[("hello", "hello")],
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
        roles: &[Role {
            mark: "",
            name: "thread",
            name_zh: "线程",
            ids: &["hello.t"],
            says: &["hello"],
        }],
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
    python_zh: "（只有标题，没有单元格）",
    teaches: "The notebook asks and does not answer: process or thread? Both use all processors in Rust. A thread starts faster, weighs less and hands over a pointer where a process copies. A process keeps its memory and its crashes to itself, and can be stopped from outside.",
    teaches_zh: "笔记只提出了问题：进程还是线程？在 Rust 里两者都能用满所有处理器。线程启动快、占用少，传递数据只需移交指针，进程则要复制。进程的内存和崩溃只影响自己，还可以从外面让它停下。",
    hint: "Start it under load, and see which figures move and which do not.",
    hint_zh: "在机器繁忙时运行，看看哪些数字变了，哪些没有变。",
    needs: &[],
    picture: PictureKind::Compare,
    variants: &[Variant {
        prints: &[
            line("legend", 1, "median  (5th to 95th percentile, N rounds)"),
            Line {
                event: "start_thread",
                times: (1, 4),
                text: "start, {size:int} MiB\tthread\t{median:int}\tus  ({low:int} to {high:int}, N {n:int})",
            },
            Line {
                event: "start_fork",
                times: (1, 4),
                text: "start, {size:int} MiB\tfork\t{median:int}\tus  ({low:int} to {high:int}, N {n:int})",
            },
            Line {
                event: "start_zygote",
                times: (1, 4),
                text: "start, {size:int} MiB\tzygote\t{median:int}\tus  ({low:int} to {high:int}, N {n:int})",
            },
            Line {
                event: "start_spawn",
                times: (1, 4),
                text: "start, {size:int} MiB\tspawn\t{median:int}\tus  ({low:int} to {high:int}, N {n:int})",
            },
            Line {
                event: "left_out",
                times: (0, 3),
                text: "start, {size:int} MiB is left out: {free:int} MiB are free",
            },
            Line {
                event: "memory_thread",
                times: (1, 1),
                text: "memory of {size:int}\tthread\t{median:int}\tkB  ({low:int} to {high:int}, N {n:int})",
            },
            Line {
                event: "memory_fork",
                times: (1, 1),
                text: "memory of {size:int}\tfork\t{median:int}\tkB  ({low:int} to {high:int}, N {n:int})",
            },
            Line {
                event: "memory_spawn",
                times: (1, 1),
                text: "memory of {size:int}\tspawn\t{median:int}\tkB  ({low:int} to {high:int}, N {n:int})",
            },
            Line {
                event: "trip_thread",
                times: (2, 2),
                text: "echo, {size:int} B\tthread\t{median:secs}\tus  ({low:secs} to {high:secs}, N {n:int})",
            },
            Line {
                event: "trip_fork",
                times: (2, 2),
                text: "echo, {size:int} B\tfork\t{median:secs}\tus  ({low:secs} to {high:secs}, N {n:int})",
            },
            Line {
                event: "rate_thread",
                times: (2, 2),
                text: "rate, {size:int} B\tthread\t{median:int}\tMB/s  ({low:int} to {high:int}, N {n:int})",
            },
            Line {
                event: "rate_fork",
                times: (2, 2),
                text: "rate, {size:int} B\tfork\t{median:int}\tMB/s  ({low:int} to {high:int}, N {n:int})",
            },
            Line {
                event: "work_thread",
                times: (1, 1),
                text: "work, {size:int} CPUs\tthread\t{median:secs}\ttimes  ({low:secs} to {high:secs}, N {n:int})",
            },
            Line {
                event: "work_fork",
                times: (1, 1),
                text: "work, {size:int} CPUs\tfork\t{median:secs}\ttimes  ({low:secs} to {high:secs}, N {n:int})",
            },
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
            line(
                "crash",
                1,
                "a SIGSEGV ends       thread {t:word}    process {p:word}",
            ),
            line(
                "stop",
                1,
                "it can be stopped    thread {t:word}    process {p:word}",
            ),
            line(
                "so_start",
                1,
                "So a thread started {fork:word} times as fast as a forked process and {spawn:word} times as fast as another program; with {mib:int} MiB in the parent, {fork_large:word} and {spawn_large:word} times as fast.",
            ),
            line(
                "so_trip",
                1,
                "So {small:int} B there and back took processes {short:word} times as long as threads, and {large:int} B {long:word} times, since a thread hands over a pointer and a process copies.",
            ),
            line(
                "so_choose",
                1,
                "So on {at_once:int} processors threads did {t:secs} times and processes {p:secs} times the work of one thread: take threads for what shares much, and processes for what may crash or must be stopped.",
            ),
            any(
                "so_not_kept",
                "So on {at_once:int} processors threads did {t:secs} times and processes {p:secs} times the work of one thread: but here a process did not keep its crash, its memory or its end to itself.",
            ),
        ],
        in_chinese: &[
            ("legend", "中位数（第 5 到第 95 百分位，轮数）"),
            (
                "so_start",
                "线程的启动速度是 fork 出的进程的 {fork} 倍，是另一个程序的 {spawn} 倍；父进程占用 {mib} MiB 时，分别是 {fork_large} 倍和 {spawn_large} 倍。",
            ),
            (
                "so_trip",
                "{small} 字节往返一次，进程用时是线程的 {short} 倍，{large} 字节则是 {long} 倍：线程只移交指针，进程要复制。",
            ),
            (
                "so_choose",
                "在 {at_once} 个处理器上，线程完成了单个线程 {t} 倍的计算，进程完成了 {p} 倍：共享很多的，用线程；可能崩溃或必须能停下的，用进程。",
            ),
            (
                "so_not_kept",
                "在 {at_once} 个处理器上，线程完成了单个线程 {t} 倍的计算，进程完成了 {p} 倍：但这里有进程没能把崩溃、内存或结束限制在自己身上。",
            ),
        ],
        checks: &[
            Order(&[
                "legend",
                "start_thread",
                "start_fork",
                "start_zygote",
                "start_spawn",
                "memory_thread",
                "trip_thread",
                "trip_fork",
                "rate_thread",
                "rate_fork",
                "work_thread",
                "write",
                "panic",
                "abort",
                "crash",
                "stop",
                "so_start",
                "so_trip",
                "so_choose",
            ]),
            // What it takes while nobody else wants the processor: the median is also that of whatever
            // runs beside it.
            Less("start_thread.low", "start_fork.low"),
            Less("start_thread.low", "start_zygote.low"),
            Less("start_thread.low", "start_spawn.low"),
            Less("memory_thread.median", "memory_fork.median"),
            Range("work_thread.median", 0.2, 1024.0),
            Range("work_fork.median", 0.2, 1024.0),
            Pairs("write", "t", "p", &[("true", "false")]),
            Pairs("panic", "t", "p", &[("itself", "itself")]),
            Pairs("abort", "t", "p", &[("all", "itself")]),
            Pairs("crash", "t", "p", &[("all", "itself")]),
            Pairs("stop", "t", "p", &[("false", "true")]),
        ],
        ..Variant::PLAIN
    }],
};
