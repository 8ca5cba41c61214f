//! Chapter 1: processes.

use super::{Cell, DNS, Line, NSLOOKUP, Variant, any, line};
use crate::check::Check::*;

pub(super) static FORK: Cell = Cell {
    number: Some(1),
    chapter: 1,
    package: "multiprocess",
    bin: "fork",
    companions: &[],
    idea: "one call, two returns: fork",
    idea_zh: "一次调用，两次返回：fork",
    python: "os.fork",
    needs: &[],
    variants: &[Variant {
        prints: &[
            line("start", 1, "Process ({p:pid}) start..."),
            line(
                "parent",
                1,
                "I ({p:pid}) just created a child process ({c:pid}).",
            ),
            line(
                "child",
                1,
                "I am child process ({c:pid}) and my parent is {p:pid}",
            ),
        ],
        checks: &[
            First("start"),
            Same(&["start.p", "parent.p", "child.p"]),
            Same(&["parent.c", "child.c"]),
            Differ("start.p", "child.c"),
            Started("start.p"),
            Parent("child.p"),
            Gone("child.c"),
        ],
        free: &[("parent", "child")],
        recorded: "\
Process (28361) start...
I (28361) just created a child process (28461).
I am child process (28461) and my parent is 28361
",
        ..Variant::PLAIN
    }],
};

pub(super) static PROCESS: Cell = Cell {
    number: Some(2),
    chapter: 1,
    package: "multiprocess",
    bin: "process",
    companions: &[],
    idea: "a function in a process of its own",
    idea_zh: "在子进程里运行一个函数",
    python: "multiprocessing.Process",
    needs: &[],
    variants: &[Variant {
        prints: &[
            line("parent", 1, "Parent process {p:pid}."),
            line("will", 1, "Child process will start."),
            line("run", 1, "Run child process {name:word} ({c:pid})..."),
            line("end", 1, "Child process end."),
        ],
        checks: &[
            Order(&["parent", "will", "run", "end"]),
            Set("run.name", &["test"]),
            Differ("parent.p", "run.c"),
            Started("parent.p"),
            Gone("run.c"),
        ],
        recorded: "\
Parent process 28361.
Child process will start.
Run child process test (28538)...
Child process end.
",
        ..Variant::PLAIN
    }],
};

pub(super) static POOL: Cell = Cell {
    number: Some(3),
    chapter: 1,
    package: "multiprocess",
    bin: "pool",
    companions: &[],
    idea: "four workers share five tasks",
    idea_zh: "四个进程分担五个任务",
    python: "multiprocessing.Pool",
    needs: &[],
    variants: &[Variant {
        prints: &[
            line("parent", 1, "Parent process {p:pid}."),
            line("run", 5, "Run task {i:int} ({w:pid})..."),
            line("done", 5, "Task {i:int} runs {s:secs} seconds."),
            line("waiting", 1, "Waiting for all subprocesses done..."),
            line("all", 1, "All subprocesses done."),
        ],
        checks: &[
            First("parent"),
            Last("all"),
            Set("run.i", &["0", "1", "2", "3", "4"]),
            Set("done.i", &["0", "1", "2", "3", "4"]),
            BeforeEach {
                first: "run",
                then: "done",
                on: "i",
            },
            AtMostOpen {
                open: "run",
                close: "done",
                on: "i",
                limit: 4,
            },
            OneAtATime {
                open: "run",
                close: "done",
                on: "i",
                by: "w",
            },
            Distinct("run.w", 1, 4),
            Differ("parent.p", "run.w"),
            Seconds("done.s", 0.0, 3.0),
            Lasts {
                from: "run",
                to: "done",
                on: "i",
                printed: "s",
            },
            Started("parent.p"),
            Gone("run.w"),
        ],
        free: &[("run", "waiting")],
        recorded: "\
Parent process 28361.
Run task 2 (28593)...
Run task 1 (28592)...
Run task 0 (28591)...
Run task 3 (28594)...
Task 1 runs 0.00 seconds.
Run task 4 (28592)...
Waiting for all subprocesses done...
Task 0 runs 0.91 seconds.
Task 2 runs 1.32 seconds.
Task 4 runs 1.72 seconds.
Task 3 runs 2.11 seconds.
All subprocesses done.
",
        ..Variant::PLAIN
    }],
};

/// What a stand-in says of itself, so that nobody takes its answers for the network's.
const STAND_IN: Line = any(
    "stand_in",
    "nslookup: a stand-in answers, from the notebook",
);

pub(super) static CALL: Cell = Cell {
    number: Some(7),
    chapter: 1,
    package: "multiprocess",
    bin: "call",
    companions: &[],
    idea: "run a program, take its exit code",
    idea_zh: "运行一个程序，得到退出码",
    python: "subprocess.call",
    needs: &[NSLOOKUP, DNS],
    variants: &[Variant {
        prints: &[
            line("command", 1, "$ nslookup www.baidu.org"),
            line("exit", 1, "Exit code:  {code:int}"),
            any("server", "Server:\t\t{ip:word}"),
            any("address", "Address:\t{ip:word}#{port:int}"),
            any("found", "Address: {ip:word}"),
            any("blank", ""),
            any("kind", "Non-authoritative answer:"),
            any("name", "Name:\t{name:word}"),
            any("alias", "{name:word}\tcanonical name = {of:word}"),
        ],
        errors: &[STAND_IN],
        checks: &[
            First("command"),
            Last("exit"),
            Set("exit.code", &["0"]),
            Same(&["server.ip", "address.ip"]),
        ],
        recorded: "\
$ nslookup www.baidu.org
Exit code:  0
",
        ..Variant::PLAIN
    }],
};

pub(super) static COMMUNICATE: Cell = Cell {
    number: Some(9),
    chapter: 1,
    package: "multiprocess",
    bin: "communicate",
    companions: &[],
    idea: "feed a program, take all it says",
    idea_zh: "给程序输入，取回全部输出",
    python: "Popen.communicate",
    needs: &[NSLOOKUP, DNS],
    variants: &[Variant {
        prints: &[
            line("command", 1, "$ nslookup"),
            line("server", 1, "Server:\t\t{ip:word}"),
            line("address", 1, "Address:\t{ip:word}#{port:int}"),
            any("blank", ""),
            Line {
                event: "kind",
                times: (0, 1),
                text: "Non-authoritative answer:",
            },
            Line {
                event: "mx",
                times: (1, 99),
                text: "{domain:word}\tmail exchanger = {rank:int} {host:word}",
            },
            line("other", 1, "Authoritative answers can be found from:"),
            any("where", "{host:word}\tinternet address = {ip:word}"),
            any("where6", "{host:word}\thas AAAA address {ip:word}"),
            line("exit", 1, "Exit Code:  {code:int}"),
        ],
        checks: &[
            First("command"),
            Last("exit"),
            Order(&[
                "command", "server", "address", "kind", "mx", "other", "exit",
            ]),
            Same(&["server.ip", "address.ip"]),
            Set("address.port", &["53"]),
            Every("mx.domain", "python.org"),
            Set("exit.code", &["0"]),
        ],
        recorded: "\
$ nslookup
Server:\t\t127.0.0.53
Address:\t127.0.0.53#53

Non-authoritative answer:
python.org\tmail exchanger = 50 mail.python.org.

Authoritative answers can be found from:


Exit Code:  0
",
        ..Variant::PLAIN
    }],
};

pub(super) static QUEUE: Cell = Cell {
    number: Some(10),
    chapter: 1,
    package: "multiprocess",
    bin: "queue",
    companions: &[],
    idea: "a writer and a reader share a queue",
    idea_zh: "两个进程用队列交换数据",
    python: "multiprocessing.Queue",
    needs: &[],
    variants: &[Variant {
        prints: &[
            line("write", 1, "Process to write: {w:pid}"),
            line("put", 3, "Put {v:word} to queue..."),
            line("read", 1, "Process to read {r:pid}"),
            line("get", 3, "Get {v:word} from queue."),
        ],
        checks: &[
            Sequence("put.v", &["A", "B", "C"]),
            Sequence("get.v", &["A", "B", "C"]),
            BeforeEach {
                first: "put",
                then: "get",
                on: "v",
            },
            Before("write", "put"),
            Before("read", "get"),
            Differ("write.w", "read.r"),
            Gone("write.w"),
            Gone("read.r"),
        ],
        free: &[("write", "read")],
        recorded: "\
Process to write: 28825
Put A to queue...
Process to read 28828
Get A from queue.
Put B to queue...
Get B from queue.
Put C to queue...
Get C from queue.
",
        ..Variant::PLAIN
    }],
};
