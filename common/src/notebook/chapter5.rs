//! Chapter 5: distributed processes.

use super::{Cell, Companion, End, Line, PORT, Variant, line};
use crate::check::Check::*;

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

pub(super) static MASTER: Cell = Cell {
    number: Some(16),
    chapter: 5,
    package: "distributed",
    bin: "task_master",
    companions: &["task_worker", "manager"],
    idea: "tasks and results, queued over the network",
    idea_zh: "通过网络的任务队列与结果队列",
    python: "multiprocessing.managers",
    needs: &[PORT],
    variants: &[
        // The notebook never started a worker, so its master waited in vain.
        Variant {
            name: "recorded",
            args: &["--bind", "{address}", "--timeout", "{timeout}"],
            prints: &[PUT, TRY],
            errors: &[line("empty", 1, "Empty: {why:line}")],
            end: End::Failure,
            checks: &[
                Before("put", "try"),
                Last("empty"),
                Range("put.n", 0.0, 10000.0),
                After("try", "empty", 10.0),
                PortFree,
            ],
            recorded: TASKS,
            recorded_error: "Empty: \n",
            ..Variant::PLAIN
        },
        Variant {
            name: "repaired",
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
            ..Variant::PLAIN
        },
    ],
};
