//! Chapter 1: processes.

use super::cell::{Cell, Line, Need, PictureKind, Role, TimeSpan, Variant, any, line};
use super::check::Check::*;

pub(super) static FORK: Cell = Cell {
    number: Some(1),
    chapter: 1,
    package: "multiprocess",
    bin: "fork",
    companions: &[],
    idea: "one call, two returns: fork",
    idea_zh: "一次调用，两次返回：fork",
    python: "os.fork",
    python_zh: "os.fork",
    teaches: "fork returns twice: in the parent with the number of the child, in the child with 0. From there two processes run the same program, each with memory of its own, and the system alone decides which of them speaks first.",
    teaches_zh: "fork 调用一次、返回两次：在父进程里返回子进程号，在子进程里返回 0。此后两个进程各自运行同一个程序，内存互不相干，谁先打印由系统决定。",
    hint: "Run it some twenty times and count how often the child speaks first.",
    hint_zh: "连续运行二十次，数一数子进程先说话的有几次。",
    needs: &[],
    picture: PictureKind::Tree,
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
        roles: &[
            Role {
                mark: "P",
                name: "parent",
                name_zh: "父进程",
                ids: &["start.p", "parent.p", "child.p"],
                says: &["start", "parent"],
            },
            Role {
                mark: "C",
                name: "child",
                name_zh: "子进程",
                ids: &["parent.c", "child.c"],
                says: &["child"],
            },
        ],
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
    python_zh: "multiprocessing.Process",
    teaches: "A function runs in a child process, and join waits until it has returned. Because the parent waits, all four lines have one order, and what the function returns or how it died comes back through join.",
    teaches_zh: "函数在子进程里运行，join 等它结束。因为父进程在等，四行输出只有一种次序；函数的返回值，或者它怎样死去，都由 join 带回来。",
    hint: "Let the function panic, and see what join returns.",
    hint_zh: "让函数 panic，看看 join 返回什么。",
    needs: &[],
    picture: PictureKind::Tree,
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
        roles: &[
            Role {
                mark: "P",
                name: "parent",
                name_zh: "父进程",
                ids: &["parent.p"],
                says: &["parent", "will", "end"],
            },
            Role {
                mark: "C",
                name: "child",
                name_zh: "子进程",
                ids: &["run.c"],
                says: &["run"],
            },
        ],
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
    python_zh: "multiprocessing.Pool",
    teaches: "Four workers take five tasks from one queue. The fifth task starts as soon as the first worker is free, in that worker's process; so a pool saves the start of a process for each task, and never runs more than four at once.",
    teaches_zh: "四个工作进程从同一个队列里领取五个任务。谁先空下来，第五个任务就在谁那里开始；因此进程池不必为每个任务启动进程，同时运行的也从不超过四个。",
    hint: "Kill a worker with `kill -9` in the middle of a task: another worker is started, the other tasks are done, and `join` says which task was lost.",
    hint_zh: "任务进行到一半时用 `kill -9` 杀掉一个工作进程：进程池会补上新的进程，做完其余任务，`join` 会说出丢了哪个任务。",
    needs: &[],
    picture: PictureKind::Gantt,
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
        free: &[
            ("run", "waiting"),
            ("run", "run"),
            ("done", "waiting"),
            ("done", "run"),
        ],
        spans: &[TimeSpan {
            open: "run",
            close: "done",
            on: "i",
            seconds: Some("s"),
        }],
        // The notebook printed its sleeps to the hundredth of a second. What it drew was anything
        // from half a hundredth below; near the lower end leaves room for the sleep to come late.
        draws: &[
            &[0.906 / 3.0],
            &[0.0],
            &[1.316 / 3.0],
            &[2.106 / 3.0],
            &[1.716 / 3.0],
        ],
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
        roles: &[
            Role {
                mark: "P",
                name: "parent",
                name_zh: "父进程",
                ids: &["parent.p"],
                says: &["parent", "waiting", "all"],
            },
            Role {
                mark: "W",
                name: "worker",
                name_zh: "工作进程",
                ids: &["run.w"],
                says: &["run", "done"],
            },
        ],
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
    python_zh: "subprocess.call",
    teaches: "A program starts another program, lets it print where it prints itself, waits, and takes its exit code. The lines in between are the other program's own.",
    teaches_zh: "程序启动另一个程序，让它直接打印到同一个地方，等它结束，取得退出码。中间的几行是那个程序自己说的。",
    hint: "Call a program that kills itself, and compare the exit code with Python's.",
    hint_zh: "调用一个会杀死自己的程序，把退出码和 Python 的比较一下。",
    needs: &[Need::Nslookup, Need::Dns],
    picture: PictureKind::None,
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
        roles: &[
            Role {
                mark: "P",
                name: "program",
                name_zh: "程序",
                ids: &[],
                says: &["command", "exit"],
            },
            Role {
                mark: "N",
                name: "nslookup",
                name_zh: "nslookup",
                ids: &[],
                says: &["*"],
            },
        ],
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
    python_zh: "Popen.communicate",
    teaches: "A program feeds another one its input and takes all that it says. Both pipes are served at the same time, so neither waits for ever for the other to read, however much is said.",
    teaches_zh: "程序把输入交给另一个程序，并取回它的全部输出。两条管道同时照看，所以无论输出多少，双方都不会互相等待到永远。",
    hint: "Feed it a megabyte where the other program reads nothing: it still ends.",
    hint_zh: "给一个什么都不读的程序输入 1 MB：它照样会结束。",
    needs: &[Need::Nslookup, Need::Dns],
    picture: PictureKind::None,
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
    python_zh: "multiprocessing.Queue",
    teaches: "A writer and a reader, two processes, share a queue. Items arrive in the order in which they were put, each after it was put. The reader would wait for ever, so it is terminated once everything put has been worked on.",
    teaches_zh: "写进程和读进程共用一个队列。数据按放入的次序取出，而且总在放入之后。读进程自己不会结束，所以等放入的全部处理完，再把它终止。",
    hint: "Kill the reader with `kill -9` while it waits: the program says so and ends. With two readers, the other one goes on: the queue is not damaged.",
    hint_zh: "读进程等待时用 `kill -9` 杀掉它：程序会说明这一点，然后结束。如果有两个读进程，另一个会接着读：队列不会损坏。",
    needs: &[],
    picture: PictureKind::ItemLanes,
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
        arrows: &[("put.v", "get.v")],
        free: &[("write", "read"), ("put", "read"), ("put", "get")],
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
        roles: &[
            Role {
                mark: "W",
                name: "writer",
                name_zh: "写进程",
                ids: &["write.w"],
                says: &["write", "put"],
            },
            Role {
                mark: "R",
                name: "reader",
                name_zh: "读进程",
                ids: &["read.r"],
                says: &["read", "get"],
            },
        ],
        ..Variant::PLAIN
    }],
};
