//! What the command lines of the programs say in English, with its Chinese.

use common::command_line::Text;

/// English, Chinese. `{}` is whatever stands there.
pub(crate) const TEXTS: [Text; 104] = [
    // The placeholders of values.
    ("HOST:PORT or PATH", "HOST:PORT 或 PATH"),
    ("HOST:PORT, PATH or URL", "HOST:PORT、PATH 或 URL"),
    // The manager.
    (
        "Serve queues to masters and workers in Python, of any version from 2.7 on, or in Rust",
        "为主进程和工作进程提供队列，它们用 Python（2.7 起的任何版本）或 Rust",
    ),
    (
        "Serve queues to masters and workers in Python, of any version from 2.7 on, or in Rust.\n\nThe first line of the output is the address, and with --metrics the second one is theirs. SIGTERM and Ctrl-C end it.",
        "为主进程和工作进程提供队列，它们用 Python（2.7 起的任何版本）或 Rust。\n\n输出的第一行是地址，有 `--metrics` 时第二行是它的地址。SIGTERM 和 Ctrl-C 结束它。",
    ),
    (
        "Address to serve the queues on, or the path of a Unix socket, as /run/tasks.sock; messages are not encrypted, so mind who can reach it",
        "提供队列的地址，或 Unix 套接字的路径，如 `/run/tasks.sock`；消息不加密，所以要留意谁能连到它",
    ),
    (
        "A queue that clients open by this name, as tasks, tasks:100 or tasks:LifoQueue; may be given again",
        "客户端以这个名字打开的队列，如 `tasks`、`tasks:100` 或 `tasks:LifoQueue`；可多次给出",
    ),
    (
        "An object of a type of Python's SyncManager that clients open by this name, as settings:dict or slots:Semaphore:4; may be given again",
        "客户端以这个名字打开的对象，类型是 Python 的 SyncManager 里的，如 `settings:dict` 或 `slots:Semaphore:4`；可多次给出",
    ),
    (
        "A name that makes a queue, or an object of a type, whenever a client calls it; may be given again",
        "客户端每次调用这个名字，就建一个队列或某个类型的对象；可多次给出",
    ),
    (
        "Serve all names of Python's SyncManager but Pool: dict, list, Lock and the others",
        "提供 Python 的 SyncManager 除 Pool 以外的所有名字：`dict`、`list`、`Lock` 等等",
    ),
    (
        "Drop a queue that a call has made when nobody has used it for so long [default: never]",
        "调用建的队列这么久没人用就丢掉[默认：从不]",
    ),
    (
        "Hand out again what a worker that is gone had taken from this queue; may be given again",
        "工作进程没了，它从这个队列取走的就再发给别人；可多次给出",
    ),
    (
        "Hand it out again too when a worker has had it for so long, though it is there",
        "工作进程还在，但拿了这么久，也再发给别人",
    ),
    (
        "After so many times, an item goes to the queue NAME.dead",
        "发过这么多次，元素就进队列 `NAME.dead`",
    ),
    (
        "The memory for what clients send, three quarters of it for items, as 256M or 2G [default: half of what the machine has]",
        "给客户端发来的东西用的内存，其中四分之三给元素，如 `256M` 或 `2G`[默认：机器的一半]",
    ),
    (
        "The longest message, in bytes; a quarter of the memory at most",
        "最长的消息，按字节；最多是内存的四分之一",
    ),
    (
        "The most connections at one time of those who have proved the key",
        "已证明有密钥的，同时最多几个连接",
    ),
    (
        "How long a client may take to prove that it has the key",
        "客户端要在多久之内证明它有密钥",
    ),
    (
        "Let nobody in who proves the key by MD5, as Python up to 3.11 does",
        "用 MD5 证明密钥的一概不让进，Python 到 3.11 为止是这样",
    ),
    (
        "How long a client's machine may be silent before what it holds goes to others",
        "客户端的机器沉默多久，它拿着的就给别人",
    ),
    (
        "Answer HTTP there too: /metrics for Prometheus, and /health; without a key, so mind who can reach it",
        "也在那里回答 HTTP：`/metrics` 给 Prometheus，还有 `/health`；不要密钥，所以要留意谁能连到它",
    ),
    (
        "Send the life of each item, from when it was put until it is done, as a span to a collector of OpenTelemetry (OTLP over HTTP), as http://127.0.0.1:4318",
        "每个元素从放入到做完的经过，作为一个 span 发给 OpenTelemetry 的收集器（OTLP，经 HTTP），如 `http://127.0.0.1:4318`",
    ),
    (
        "What the log on standard error looks like; RUST_LOG chooses what is in it",
        "标准错误上的日志是什么样；`RUST_LOG` 选择里面有什么",
    ),
    ("A line for people", "给人看的一行"),
    ("An object on a line", "一行一个对象"),
    (
        "File with the key [default: the environment variable MANAGER_AUTHKEY]",
        "有密钥的文件[默认：环境变量 `MANAGER_AUTHKEY`]",
    ),
    (
        "File with the key [default: the environment variable MANAGER_AUTHKEY]\n\nA line break at the end of a text is no part of the key. A key of other bytes is taken as it is.",
        "有密钥的文件[默认：环境变量 `MANAGER_AUTHKEY`]\n\n文本末尾的换行不属于密钥。别的字节组成的密钥原样取用。",
    ),
    (
        "The language of what is said; the default is the locale's",
        "输出所用的语言；不写就随系统的语言环境",
    ),
    (
        "Print the queues of a manager that runs: lengths, leases, deliveries",
        "打印一个在运行的 manager 的队列：长度、租约、取出",
    ),
    (
        "Where it listens, or the URL of an engine",
        "它在哪里监听，或引擎的 URL",
    ),
    (
        "Print the figures of a manager or engine that runs as Prometheus reads them",
        "打印一个在运行的 manager 或引擎的数字，Prometheus 能读",
    ),
    (
        "Answer HTTP there instead, with /metrics and /health, until the program is ended; its address is the first line of the output",
        "改在那里回答 HTTP，有 `/metrics` 和 `/health`，直到程序结束；输出的第一行是它的地址",
    ),
    (
        "Watch the queues of a manager or engine on a terminal: rates, who holds what for how long, who waits",
        "在终端上看着 manager 或引擎的队列：速率，谁拿着什么有多久，谁在等",
    ),
    ("How often it looks", "隔多久看一次"),
    (
        "Print the dead letters of a queue: how often each was tried, and why it failed",
        "打印一个队列的死信：每封试过几次，为什么失败",
    ),
    ("The queue whose dead letters they are", "是哪个队列的死信"),
    (
        "Where the manager listens; an engine has no list of them",
        "manager 在哪里监听；引擎没有这样的清单",
    ),
    ("Put them back into the queue instead", "改为放回队列"),
    ("Drop them instead", "改为丢掉"),
    // The master and the worker of In [16].
    (
        "Serve two queues, put tasks in one, and print the results that workers put in the other",
        "提供两个队列，往一个放任务，打印工作进程放进另一个的结果",
    ),
    (
        "Address to serve the queues on, or the path of a Unix socket",
        "提供队列的地址，或 Unix 套接字的路径",
    ),
    (
        "Have the queues on an engine instead: nats://HOST:PORT, with user:password@, /NAMESPACE and ?monitor=http://HOST:PORT as need be",
        "队列改在引擎上：`nats://HOST:PORT`，需要时加上 `user:password@`、`/NAMESPACE` 和 `?monitor=http://HOST:PORT`",
    ),
    (
        "On how many nodes of the engine each task is stored: 1, 3 or 5",
        "每个任务存在引擎的几个节点上：1、3 或 5",
    ),
    (
        "After how long without a sign of life a worker's tasks go to another one",
        "工作进程多久没有动静，它的任务就归另一个",
    ),
    (
        "After so many deliveries a task is a dead letter",
        "取出过这么多次，任务就成了死信",
    ),
    (
        "Empty the queues of what an earlier run left on the engine; workers should start after that",
        "清空早先的运行留在引擎上的队列；工作进程应当在这之后启动",
    ),
    ("How long to wait for each result", "每个结果等多久"),
    ("How many tasks to put", "放几个任务"),
    (
        "File with the key that master and workers share [default: the environment variable MANAGER_AUTHKEY, and without it the notebook's key, abc]",
        "主进程和工作进程共有的密钥所在的文件[默认：环境变量 `MANAGER_AUTHKEY`，没有它就用笔记的密钥 `abc`]",
    ),
    (
        "Take tasks from a master and put their results, until no task comes or the master is gone",
        "从主进程取任务，放入结果，直到没有任务来或主进程没了",
    ),
    (
        "Address of the master, or the path of its Unix socket",
        "主进程的地址，或它的 Unix 套接字的路径",
    ),
    (
        "Take tasks from an engine instead: nats://HOST:PORT, as the master has it",
        "改从引擎取任务：`nats://HOST:PORT`，与主进程相同",
    ),
    (
        "How many tasks to work on at the same time",
        "同时做几个任务",
    ),
    (
        "The most short tasks that a thread fetches at a time",
        "一个线程一次最多取几个短任务",
    ),
    (
        "How long a task may take before another worker gets it too",
        "一个任务做了多久，另一个工作进程也会拿到它",
    ),
    (
        "How long the queue stays empty before the worker leaves",
        "队列空了多久，工作进程就走",
    ),
    // What is wrong with a value.
    ("expected a number of seconds", "要秒数"),
    (
        "expected a number of bytes, as 1000, 64K, 256M or 2G",
        "要字节数，如 `1000`、`64K`、`256M` 或 `2G`",
    ),
    ("a queue needs a name", "队列要有名字"),
    ("an object needs a name", "对象要有名字"),
    (
        "expected NAME:MAXSIZE or NAME:TYPE, as tasks:100",
        "要 `NAME:MAXSIZE` 或 `NAME:TYPE`，如 `tasks:100`",
    ),
    (
        "expected NAME:TYPE, as settings:dict",
        "要 `NAME:TYPE`，如 `settings:dict`",
    ),
    ("no type '{}': there are {}", "没有类型 `{}`：有 {}"),
    (
        "'{}' after {}: expected a number",
        "`{}` 在 `{}` 之后：要一个数",
    ),
    ("{} takes no number", "`{}` 不带数"),
    ("expected 64K at least", "至少 `64K`"),
    (
        "expected a number of bytes, 1024 at least",
        "要字节数，至少 1024",
    ),
    ("expected a number, 1 at least", "要一个整数，至少 1"),
    ("expected more than 0", "要大于 0"),
    (
        "expected a number of seconds, 0 at least, and no infinite one",
        "要一个秒数，至少 0，不能无穷大",
    ),
    (
        "expected HOST:PORT, as 127.0.0.1:9100",
        "要 HOST:PORT，如 `127.0.0.1:9100`",
    ),
    ("cannot serve the name `{}`: {}", "不能提供名字 `{}`：{}"),
    // What is wrong with all of it.
    (
        "no key: set MANAGER_AUTHKEY or give --authkey-file",
        "没有密钥：设 `MANAGER_AUTHKEY`，或写 `--authkey-file`",
    ),
    (
        "nothing to serve: give --queue, --object, --factory or --sync-manager",
        "没有什么可提供：写 `--queue`、`--object`、`--factory` 或 `--sync-manager`",
    ),
    (
        "--redeliver {} needs --queue {}",
        "`--redeliver {}` 要有 `--queue {}`",
    ),
    (
        "this manager was built without `top`: {}",
        "这个 manager 编译时没有 `top`：{}",
    ),
    (
        "top needs a terminal; in a pipe or a script use `manager status`",
        "`top` 要一个终端；在管道或脚本里用 `manager status`",
    ),
    (
        "top needs a terminal that moves its cursor, and TERM says that this one does not; use `manager status`",
        "`top` 要一个能移动光标的终端，`TERM` 说这个不能；用 `manager status`",
    ),
    (
        "cannot use the address of queues: {}",
        "队列的地址不能用：{}",
    ),
    (
        "a URL is for `distributed::connect` and for `--queues`: here it is HOST:PORT, or the path of a \
         Unix socket",
        "URL 用于 `distributed::connect` 和 `--queues`：这里要 HOST:PORT，或 Unix 套接字的路径",
    ),
    (
        "expected HOST:PORT, as 127.0.0.1:5000, or a Unix socket, as /run/tasks.sock, ./tasks.sock or \
         @tasks, in place of `{}`",
        "要 HOST:PORT，如 `127.0.0.1:5000`，或 Unix 套接字，如 `/run/tasks.sock`、`./tasks.sock` 或 \
         `@tasks`，而不是 `{}`",
    ),
    (
        "expected tcp://HOST:PORT or unix:///PATH",
        "要 `tcp://HOST:PORT` 或 `unix:///PATH`",
    ),
    (
        "no queues are reached by {}://: expected tcp://HOST:PORT, unix:///PATH, nats://HOST:PORT or \
         tls://HOST:PORT",
        "`{}://` 那里没有队列：要 `tcp://HOST:PORT`、`unix:///PATH`、`nats://HOST:PORT` 或 \
         `tls://HOST:PORT`",
    ),
    (
        "expected tcp://HOST:PORT, unix:///PATH, nats://HOST:PORT or tls://HOST:PORT; {}",
        "要 `tcp://HOST:PORT`、`unix:///PATH`、`nats://HOST:PORT` 或 `tls://HOST:PORT`",
    ),
    (
        "nats:// and tls:// need the feature nats, which this program was built without: cargo run -p \
         distributed --features nats --bin ...",
        "`nats://` 和 `tls://` 要特性 `nats`，而这个程序编译时没有它：`cargo run -p distributed \
         --features nats --bin ...`",
    ),
    // What failed.
    ("cannot serve", "不能提供队列"),
    (
        "cannot serve (--bind takes another address)",
        "不能提供队列（`--bind` 换一个地址）",
    ),
    (
        "cannot serve (the key comes from MANAGER_AUTHKEY or --authkey-file)",
        "不能提供队列（密钥来自 `MANAGER_AUTHKEY` 或 `--authkey-file`）",
    ),
    (
        "no master to join (start it with cargo run -p distributed --bin task_master)",
        "没有可加入的主进程（用 `cargo run -p distributed --bin task_master` 启动它）",
    ),
    (
        "take the key of the master (MANAGER_AUTHKEY or --authkey-file)",
        "请用主进程的密钥（`MANAGER_AUTHKEY` 或 `--authkey-file`）",
    ),
    ("cannot join the master", "不能加入主进程"),
    (
        "no engine to join (start it with nats-server -js -sd FOLDER)",
        "没有可加入的引擎（用 `nats-server -js -sd FOLDER` 启动它）",
    ),
    (
        "the master was killed, or the connection to {} was lost: a master that ends says so",
        "主进程被杀了，或者到 {} 的连接断了：自己结束的主进程会说一声",
    ),
    (
        "Empty: no result within {} s: start a worker with cargo run -p distributed {}",
        "Empty：{} 秒内没有结果：用 `cargo run -p distributed {}` 启动一个工作进程",
    ),
    ("read the key from {}", "读不了 {} 里的密钥"),
    ("write to standard output", "写不进标准输出"),
    (
        "the server at {} has another key: give the one it was given",
        "{} 的服务器用另一个密钥：请给出服务器所用的密钥",
    ),
    (
        "the key is empty: choose one of at least one byte",
        "密钥是空的：至少要一个字节",
    ),
    (
        "no manager to ask (start it, or name the address that it prints)",
        "没有可问的 manager（启动它，或写它打印的地址）",
    ),
    (
        "the server has no queue `{}`: {}",
        "服务器没有队列 `{}`：{}",
    ),
    (
        "the server at {} has closed the connection: it has died, or is one of Python's and has ended",
        "{} 的服务器断开了连接：它死了，或者是 Python 自己的服务器，已经结束",
    ),
    ("the server at {} has been shut down", "{} 的服务器已经关闭"),
    ("the server raised {}: {}", "服务器抛出 {}：{}"),
    ("connect to {}: {}", "连接 {}：{}"),
    ("listen on {}: {}", "监听 {}：{}"),
];
