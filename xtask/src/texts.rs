//! What stands in English where it is said, with its Chinese: help, errors, and what `chaos` claims
//! and counts.

use std::sync::LazyLock;

use common::command_line::Text;

use crate::cli::EXITS;

mod chaos;

/// English, Chinese. `{}` is whatever stands there.
pub(crate) static TEXTS: LazyLock<Vec<Text>> =
    LazyLock::new(|| [&COMMANDS[..], &chaos::CHAOS].concat());

const COMMANDS: [Text; 118] = [
    // The commands.
    (
        "Replays a Python notebook on concurrency, rebuilt in Rust, and checks it against the original",
        "重放一本讲并发的 Python 笔记：它用 Rust 重写，每次都和原来的笔记对照",
    ),
    (
        EXITS,
        "\
退出码：0 检查全部通过；1 有检查未通过，或 `diff` 发现差异，或结果写不出去，或要做的事没有做成；
2 用法错误；3 缺少必需的东西；4 没有这样的单元格、用例或测速项；5 没有编译成功；
6 没有可看的运行，或读不了；130 被打断。",
    ),
    ("Replay the whole notebook, in order", "按次序重放整本笔记"),
    (
        "Replay some cells, in the notebook's order",
        "重放几个单元格，按笔记的次序",
    ),
    (
        "Run the race of In 13 and the locks of In 14 many times, and draw what came out",
        "把 In 13 的竞争和 In 14 的锁运行很多次，画出结果",
    ),
    (
        "Write the last run as one HTML page, with pictures",
        "把上一次运行写成一张 HTML 网页，带图",
    ),
    (
        "Show a cell: source, recorded output, checks, free orders, and the last run as a picture",
        "看一个单元格：源代码、笔记的输出、各项检查、不作规定的次序，还有上一次运行的图",
    ),
    (
        "Put what the notebook printed beside what the last run printed",
        "把笔记的输出和上一次的输出并排放",
    ),
    (
        "Write the last run in another form",
        "把上一次运行写成别的格式",
    ),
    (
        "Be the scheduler of two threads: a page to step them, or real threads that follow a schedule",
        "由你来当两个线程的调度器：在网页上一步一步走，或让真实的线程照着次序走",
    ),
    (
        "List the cells, what they need and how much is checked",
        "列出各单元格、它们需要什么、检查多少项",
    ),
    (
        "Say what this machine can replay, and how to mend the rest",
        "说明这台机器能重放什么，其余的怎么补上",
    ),
    (
        "Measure speed next to multiprocessing, procspawn, ipc-channel, crossbeam and the raw limits",
        "测速度，与 `multiprocessing`、`procspawn`、`ipc-channel`、`crossbeam` 和系统的极限并列",
    ),
    (
        "Kill workers, readers, writers, supervisors, servers and nodes, and see that nothing is lost",
        "杀死工作进程、读者、写者、监督进程、服务器和节点，看是不是什么也没丢",
    ),
    (
        "Three nodes of NATS on loopback, ports 4222 to 4224, data in target/cluster",
        "本机上的三个 NATS 节点，端口 4222 到 4224，数据在 `target/cluster`",
    ),
    (
        "Run every gate: formatting, lints, documents, tests and the replay",
        "运行每一关：格式、clippy、文档、测试和重放",
    ),
    (
        "Start the nodes that are down, and print the URL for --queues",
        "启动没在运行的节点，打印给 `--queues` 用的地址",
    ),
    ("End them; their data stays", "结束它们；数据留着"),
    (
        "Say which run; exits with 1 if one does not",
        "显示哪些节点在运行；有一个不在，退出码就是 1",
    ),
    // Their options.
    (
        "The language of what is said, and of pages; the default is the locale's",
        "输出和网页使用的语言；默认取决于系统的语言环境",
    ),
    (
        "A program (lock), a number (14, in14) or a chapter (ch2)",
        "程序名（`lock`）、编号（`14`、`in14`）或章（`ch2`）",
    ),
    (
        "A program (lock), a number (14, in14) or a chapter (ch2); all cells, if none is named",
        "程序名（`lock`）、编号（`14`、`in14`）或章（`ch2`）；不写就是全部",
    ),
    (
        "Make all pauses ten times shorter",
        "所有停顿缩短到十分之一",
    ),
    (
        "Repeat the draws of the run that printed this seed",
        "重复打印过这个种子的那次运行的随机数",
    ),
    (
        "Draw what the notebook drew, as far as its output tells",
        "随机数取笔记当时的，以它的输出看得出的为限",
    ),
    (
        "How often to run a cell that is judged over many runs",
        "要多次运行才能判断的单元格运行几次",
    ),
    (
        "Write the run as an HTML page too",
        "同时把这次运行写成 HTML 网页",
    ),
    (
        "Stop at the first cell that fails",
        "遇到第一个未通过的单元格就停下",
    ),
    ("Start with this cell", "从这个单元格开始"),
    ("End with this cell", "到这个单元格为止"),
    (
        "Leave this cell out (may be given again)",
        "跳过这个单元格（可多次给出）",
    ),
    (
        "How many seconds one run of a cell may take",
        "单元格运行一次最多几秒",
    ),
    (
        "Run the real nslookup, over the network, where it is there",
        "有真实的 `nslookup` 就运行它，要用网络",
    ),
    (
        "Fail with 3 if this need is missing: nslookup, dns, two-cpus",
        "缺少这样东西就以 3 退出：`nslookup`、`dns`、`two-cpus`",
    ),
    (
        "Write what was found to this file; - is standard output",
        "把结果写进这个文件；`-` 是标准输出",
    ),
    (
        "Print only what failed, and the summary",
        "只打印未通过的和总结",
    ),
    (
        "Your copy of the notebook, whose Python is then shown beside the Rust: an .ipynb file, or a text in which `In [1]:` and the like stand before the cells",
        "你手里的笔记，它的 Python 会放在 Rust 旁边：一个 `.ipynb` 文件，或一个文本，各单元格之前写着 `In [1]:` 之类",
    ),
    ("Open it in a browser", "用浏览器打开"),
    (
        "Write it to this file, not to target/replay; - is standard output",
        "写进这个文件，不写进 `target/replay`；`-` 是标准输出",
    ),
    (
        "Write it to this file, for svg a folder, not to target/replay; - is standard output",
        "写进这个文件（`svg` 是文件夹），不写进 `target/replay`；`-` 是标准输出",
    ),
    (
        "Show this run.json, not the last run",
        "看这个 `run.json`，不看上一次运行",
    ),
    ("The form", "格式"),
    (
        "A Jupyter notebook, the record of this run",
        "Jupyter 笔记，记着这次运行",
    ),
    (
        "A test report, one case per cell, as CI servers read it",
        "测试报告，每个单元格一项，CI 服务器能读",
    ),
    ("A Markdown page", "Markdown 页面"),
    (
        "A trace of who did what when, for Perfetto and chrome://tracing",
        "谁在何时做了什么，给 Perfetto 和 `chrome://tracing` 看",
    ),
    (
        "The pictures, one SVG file each, in a folder",
        "所有图，各存为一个 SVG 文件，放在一个文件夹里",
    ),
    ("Which threads", "哪两个线程"),
    (
        "The balance of In 13, without a lock",
        "In 13 的余额，没有锁",
    ),
    ("The balance of In 14, behind a lock", "In 14 的余额，有锁"),
    (
        "Two locks, taken in opposite orders",
        "两把锁，拿的次序相反",
    ),
    (
        "The queue of In 10, without its lock",
        "In 10 的队列，没有它的锁",
    ),
    (
        "Have two real threads take their steps in this order: ABBA is a step of A, two of B, one of A",
        "让两个真实的线程按这个次序走：`ABBA` 是 A 一步、B 两步、A 一步",
    ),
    (
        "Have two real threads take their steps in an order drawn by this seed",
        "让两个真实的线程按这个种子抽出的次序走",
    ),
    ("Open the page in a browser", "用浏览器打开网页"),
    (
        "Write the page to this file, not to target/replay; - is standard output",
        "网页写进这个文件，不写进 `target/replay`；`-` 是标准输出",
    ),
    (
        "How a row's name starts (queue, pool/map); without one, all are measured",
        "行名的开头（`queue`、`pool/map`）；不写就测全部",
    ),
    (
        "Write the rows to this file; - is standard output",
        "把各行写进这个文件；`-` 是标准输出",
    ),
    (
        "How often to measure each; the best counts",
        "每行测几次；取最好的",
    ),
    (
        "How a case's name starts (queue, pool); without one, all are run",
        "项目名的开头（`queue`、`pool`）；不写就运行全部",
    ),
    ("How often to run each", "每项运行几轮"),
    (
        "Repeat the moments of the run that printed this seed, as far as the system lets them repeat",
        "重复打印过这个种子的那次运行的时刻，以系统能重复的为限",
    ),
    // What is wrong with a value.
    ("a number from 0 to {} is wanted", "要一个 0 到 {} 的数"),
    (
        "a number of rounds, from 1 to 100000, is wanted",
        "要轮数，从 1 到 100000",
    ),
    (
        "a number of runs, from 1 to 100000, is wanted",
        "要次数，从 1 到 100000",
    ),
    (
        "a number of seconds, above 0 and at most 86400, is wanted",
        "要秒数，大于 0，最多 86400",
    ),
    (
        "it is a folder: name a file in it",
        "它是文件夹：写它里面的一个文件",
    ),
    (
        "it is a file: name a folder for the pictures",
        "它是文件：写一个放图的文件夹",
    ),
    ("there is no folder {}", "没有文件夹 {}"),
    (
        "PACE={} is no factor on pauses: it is a number from 0 to 1000",
        "PACE={} 不是停顿的倍数：它是 0 到 1000 的数",
    ),
    (
        "SEED={} is no seed: it is a whole number from 0 to {}",
        "SEED={} 不是种子：它是 0 到 {} 的整数",
    ),
    // What fails.
    (
        "read {} (cargo xtask all replays the notebook and leaves its run there)",
        "读不了 {}（`cargo xtask all` 重放笔记，把运行留在那里）",
    ),
    ("{} is not the run of a replay", "{} 不是一次重放的运行"),
    (
        "{} has version {} of run.json, and this xtask reads version {}",
        "{} 是第 {} 版的 `run.json`，这个 xtask 读第 {} 版",
    ),
    (
        "cargo xtask all writes a new one",
        "`cargo xtask all` 会写一个新的",
    ),
    (
        "cargo xtask all writes a new one; --run {} shows an earlier one",
        "`cargo xtask all` 会写一个新的；`--run {}` 看更早的一个",
    ),
    (
        "cargo xtask all --json {} writes one",
        "`cargo xtask all --json {}` 会写一个",
    ),
    ("read the run in {}", "读不了 {} 里的运行"),
    (
        "the run has a cell `{}` that the notebook's table does not have: replay again with cargo xtask all",
        "运行里有单元格 `{}`，笔记的表里没有：用 `cargo xtask all` 再重放一次",
    ),
    (
        "pictures are several files: name a folder with --output",
        "图有好几个文件：用 `--output` 写一个文件夹",
    ),
    ("write to standard output", "写不进标准输出"),
    ("write to standard error", "写不进标准错误"),
    ("write {}", "写不了 {}"),
    ("read {}", "读不了 {}"),
    ("make {}", "建不了 {}"),
    ("create {}", "建不了 {}"),
    (
        "open the page with {}: it is {}",
        "用 {} 打不开网页：它在 {}",
    ),
    ("run cargo build", "运行不了 `cargo build`"),
    ("start the node on port {}", "启动不了端口 {} 的节点"),
    ("end the node on port {}", "结束不了端口 {} 的节点"),
    ("the node on port {} does not end", "端口 {} 的节点不结束"),
    (
        "the cluster has no leader after {} s",
        "{} 秒之后集群还没有首领",
    ),
    (
        "run python3 (install it to compare)",
        "运行不了 `python3`（装上它才能比）",
    ),
    (
        "it cannot be built, and cargo says why above (iceoryx2 needs libclang: apt-get install libclang-dev)",
        "它编译不了，原因 cargo 在上面说了（iceoryx2 要 libclang：`apt-get install libclang-dev`）",
    ),
    (
        "no python3, so nothing of multiprocessing",
        "没有 python3，所以 `multiprocessing` 一行也没有",
    ),
    (
        "it hangs: no figure after {} s",
        "它停住了：{} 秒之后没有数字",
    ),
    (
        "--notebook goes with the forms ipynb and md: the others show no source",
        "`--notebook` 只用于 `ipynb` 和 `md`：其余格式不含源代码",
    ),
    ("read the notebook {}", "读不了笔记 {}"),
    ("its language is {}", "它的语言是 {}"),
    ("find target/cluster", "找不到 `target/cluster`"),
    (
        "find the folder target: this program is not in it",
        "找不到文件夹 `target`：这个程序不在里面",
    ),
    (
        "find this program's own folder",
        "找不到这个程序所在的文件夹",
    ),
    ("listen for Ctrl-C", "接不到 Ctrl-C"),
    ("start the guard of what runs", "启动不了看守进程"),
    ("wait for the end of what runs", "等不到看守的进程结束"),
    ("note a node's pid", "记不下节点的进程号"),
    ("replay {}", "重放不了 {}"),
    ("round {} of {}", "第 {} 轮，{}"),
    ("run cargo build for {}", "运行不了 `cargo build`，为了 {}"),
    ("there is no case {}", "没有项目 {}"),
    ("its programs are others", "它用的是别的程序"),
    ("its output is piped", "它的输出没有接管道"),
    ("{} failed", "{} 失败了"),
    (
        "thread {} got a lock that it should wait for",
        "线程 {} 拿到了它该等的锁",
    ),
    (
        "step {}: the threads have {} and {} {}, and the model {} {}",
        "第 {} 步：线程得到 {} 和 {} {}，模型得到 {} {}",
    ),
    ("nothing", "什么也没有"),
    ("run {}", "运行不了 {}"),
    ("{} failed: {}", "{} 失败：{}"),
];

#[cfg(test)]
mod tests;
