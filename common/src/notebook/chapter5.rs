//! Chapter 5: distributed processes.

use super::cell::{Cell, Companion, ExpectedEnd, Line, PictureKind, Role, Variant, line};
use super::check::Check::*;

const PUT: Line = line("put", 10, "Put task {n:int}...");
const TRY: Line = line("try", 1, "Try get results...");

const TASKS: &str = "\
Put task 2062...
Put task 2827...
Put task 6076...
Put task 7493...
Put task 7519...
Put task 1849...
Put task 1657...
Put task 1193...
Put task 6016...
Put task 6910...
Try get results...
";

const MASTER_AND_WORKER: &[Role] = &[
    Role {
        mark: "M",
        name: "master",
        name_zh: "主程序",
        ids: &[],
        says: &["put", "try", "result", "exit", "empty"],
    },
    Role {
        mark: "W",
        name: "worker",
        name_zh: "工作程序",
        ids: &[],
        says: &["connect", "work", "leave"],
    },
];

/// The tasks that the notebook drew, each in the middle of its share of the range.
const DREW: &[&[f64]] = &[&[
    task(2062),
    task(2827),
    task(6076),
    task(7493),
    task(7519),
    task(1849),
    task(1657),
    task(1193),
    task(6016),
    task(6910),
]];

const fn task(n: u16) -> f64 {
    (n as f64 + 0.5) / 10_001.0
}

pub(super) static MASTER: Cell = Cell {
    number: Some(16),
    chapter: 5,
    package: "distributed",
    bin: "task_master",
    companions: &["task_worker", "manager"],
    idea: "tasks and results, queued over the network",
    idea_zh: "通过网络的任务队列与结果队列",
    python: "multiprocessing.managers",
    python_zh: "multiprocessing.managers",
    teaches: "The two queues are served over the network: a master puts tasks in one and takes results from the other, and workers on any machine do the reverse. Without a worker nobody takes the tasks, and the master waits in vain: that is what the notebook recorded.",
    teaches_zh: "两个队列通过网络提供：主程序往一个里放任务，从另一个里取结果；任何机器上的工作程序则反过来。没有工作程序，任务就没人领取，主程序只能白等：笔记录下的正是这种情形。",
    hint: "Start the master with `-- --count 300` behind its command in one terminal, so that there is time, and two workers in others: the tasks are shared out.",
    hint_zh: "在一个终端启动主程序，命令后面加上 `-- --count 300`，这样时间够用，再在另外两个终端启动工作程序：任务会分给它们。",
    needs: &[],
    picture: PictureKind::TaskLanes,
    variants: &[
        // The notebook never started a worker, so its master waited in vain.
        Variant {
            name: "recorded",
            name_zh: "照原样",
            args: &["--bind", "{address}", "--timeout", "{timeout}"],
            prints: &[PUT, TRY],
            errors: &[line("empty", 1, "Empty: {why:line}")],
            end: ExpectedEnd::Failure,
            checks: &[
                Before("put", "try"),
                Last("empty"),
                Range("put.n", 0.0, 10000.0),
                After("try", "empty", 10.0),
                PortFree,
            ],
            recorded: TASKS,
            recorded_error: "Empty: \n",
            roles: MASTER_AND_WORKER,
            draws: DREW,
            ..Variant::PLAIN
        },
        Variant {
            name: "repaired",
            name_zh: "修复后",
            args: &["--bind", "{address}"],
            prints: &[
                PUT,
                TRY,
                line("result", 10, "Result: {a:int} * {b:int} = {r:int}"),
                line("exit", 1, "master exit."),
            ],
            companion: Some(Companion {
                bin: "task_worker",
                args: &["{address}"],
                after: "try",
                prints: &[
                    line("connect", 1, "Connect to server {host:word}..."),
                    line("work", 10, "run task {a:int} * {b:int}..."),
                    line("leave", 1, "worker exit."),
                ],
            }),
            checks: &[
                Order(&["put", "try", "result", "exit"]),
                Order(&["connect", "work", "leave"]),
                Range("put.n", 0.0, 10000.0),
                SameSequence("put.n", "work.a"),
                SameSequence("put.n", "result.a"),
                Product("result.a", "result.b", "result.r"),
                PortFree,
            ],
            roles: MASTER_AND_WORKER,
            arrows: &[("put.n", "work.a"), ("work.a", "result.a")],
            draws: DREW,
            ..Variant::PLAIN
        },
    ],
};
