//! Tasks by name between Rust and Python: both sides see the call and the outcome as plain data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use common::program::Program;
use distributed::{Client, Error, Result, Server, TaskOptions, Worker};
use support::tasks::failure;
use support::{LONG, python, run, some_pythons, start, task_server};

mod support;

/// The worker of the documentation.
fn worker(path: &Path, server: &Server) -> Program {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/task_worker.py");
    let address = server.address().to_string();
    start(Command::new(path).arg(script).args([&address, "tasks"]))
}

#[test]
fn a_worker_in_python_runs_tasks_and_tells_of_failures_with_their_text_and_origin() -> Result<()> {
    for (version, path) in some_pythons() {
        let (server, client) = task_server()?;
        let mut worker = worker(&path, &server);
        let tasks = client.task_queue("tasks")?;
        let sum = tasks.submit::<u32>("add", &(3, 4))?;
        let named = BTreeMap::from([("text", "été".into()), ("times", serde_json::json!(2))]);
        let shout = tasks.submit::<String>("shout", &named)?;
        let once = TaskOptions::new().retries(0);
        let fails = tasks.submit_with::<u32>("add", &(3, "four"), once)?;
        let unknown = tasks.submit_with::<u32>("resize", &(3, 4), once)?;
        assert_eq!(sum.result(Some(LONG))?, 7, "{version}");
        assert_eq!(shout.result(Some(LONG))?, "ÉTÉ!!", "{version}");
        let failed = match fails.result(Some(LONG)) {
            Err(Error::TaskFailed(failed)) => failed,
            other => panic!("{version}: {other:?}"),
        };
        assert!(failed.reason.contains("Traceback") && failed.reason.contains("TypeError"));
        assert_eq!(failed.task.as_deref(), Some("add"));
        let origin = failed.worker.expect("it says where");
        assert!(origin.ends_with(&format!("/{}", worker.pid())), "{origin}");
        let failed = unknown.result(Some(LONG)).expect_err("there is none");
        assert!(failed.to_string().contains("KeyError"), "{failed}");
        worker.kill().expect("it is ours");
    }
    Ok(())
}

#[test]
fn a_worker_in_python_whose_result_the_server_refuses_fails_that_task_and_goes_on() -> Result<()> {
    for (version, path) in some_pythons() {
        let builder = Server::builder().queue("tasks").max_message(4 << 10);
        let server = builder.serve("127.0.0.1:0", b"abc")?;
        let client = Client::connect(server.address(), b"abc")?;
        let mut worker = worker(&path, &server);
        let tasks = client.task_queue("tasks")?;
        let once = TaskOptions::new().retries(0);
        let named = BTreeMap::from([("text", "a".into()), ("times", serde_json::json!(10_000))]);
        let long = tasks.submit_with::<String>("shout", &named, once)?;
        let sum = tasks.submit::<u32>("add", &(3, 4))?;
        assert_eq!(sum.result(Some(LONG))?, 7, "{version}");
        let failed = failure(long.result(Some(LONG)));
        assert!(failed.reason.contains("limit"), "{version}: {failed}");
        worker.kill().expect("it is ours");
    }
    Ok(())
}

#[test]
fn what_rust_has_no_value_for_fails_its_task_and_nothing_beside_it() -> Result<()> {
    let (server, client) = task_server()?;
    let stop = Arc::default();
    let rust = Worker::new()
        .stop(Arc::clone(&stop))
        .task("echo", |number: u32| Ok::<_, Error>(number));
    let serving = {
        let client = client.clone();
        thread::spawn(move || rust.serve(&client, "tasks"))
    };
    for (version, path) in some_pythons() {
        // Calls of a Rust function, from Python.
        let said =
            run(python(&path, "odd_values.py").args([&server.address().to_string(), "call"]));
        assert_eq!(said, "all failed but the last\n", "{version}");
    }
    stop.store(true, SeqCst);
    let worked = serving.join().expect("it ends")?;
    assert_eq!(worked.done, some_pythons().len() as u64);
    for (version, path) in some_pythons() {
        // Results of Python functions, in Rust: the last one is asked for first, and comes last.
        let tasks = client.task_queue("tasks")?;
        let odd =
            tasks.submit_many::<u32>("odd", &[0, 1, 2, 3, 4], TaskOptions::new().retries(0))?;
        let good = tasks.submit::<u32>("good", &5)?;
        let address = server.address().to_string();
        let mut worker = start(python(&path, "odd_values.py").args([&address, "work"]));
        assert_eq!(good.result(Some(LONG))?, 5, "{version}");
        for result in odd.iter().take(4).map(|odd| odd.result(Some(LONG))) {
            assert!(
                matches!(result, Err(Error::Item { .. })),
                "{version}: {result:?}"
            );
        }
        let failed = failure(odd[4].result(Some(LONG)));
        assert_eq!(
            failed.reason, "no UTF-8: \u{fffd}\u{fffd}\u{fffd}",
            "{version}"
        );
        worker.kill().expect("it is ours");
    }
    Ok(())
}

#[test]
fn a_worker_that_is_killed_loses_no_task_and_each_result_comes_once() -> Result<()> {
    let Some((_, path)) = some_pythons().into_iter().next() else {
        return Ok(());
    };
    let (server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let calls: Vec<(u32, u32)> = (0..2000).map(|n| (n, n)).collect();
    let sums = tasks.submit_many::<u32>("add", &calls, TaskOptions::new().retries(20))?;
    // Each is killed amid its tasks, with kill -9.
    for nth in 1..=5 {
        let mut dying = worker(&path, &server);
        assert_eq!(sums[nth * 100].result(Some(LONG))?, nth as u32 * 200);
        dying.kill().expect("it is ours");
    }
    let _last = worker(&path, &server);
    for (n, sum) in sums.iter().enumerate() {
        assert_eq!(sum.result(Some(LONG))?, 2 * n as u32);
    }
    let status = server.status();
    // No second outcome came, and the killed workers have left nothing.
    let names: Vec<&str> = status
        .queues
        .iter()
        .map(|queue| queue.name.as_str())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(status.queues[1].put, 2000);
    Ok(())
}

#[test]
fn python_submits_cancels_and_is_told_in_dicts() -> Result<()> {
    let (server, client) = task_server()?;
    let stop = Arc::default();
    let worker = Worker::new()
        .stop(Arc::clone(&stop))
        .task("add", |(a, b): (u32, u32)| Ok::<_, Error>(a + b))
        .task("fail", |[n]: [u32; 1]| Err::<u32, _>(format!("{n} is odd")));
    let worker = thread::spawn(move || worker.serve(&client, "tasks"));
    for (version, path) in some_pythons() {
        let said = run(python(&path, "submit.py").arg(server.address().to_string()));
        let said: Vec<&str> = said.lines().collect();
        let want = [
            "no priority 2: there are -1, 0 and 1",
            "'retries' must be at least 0 and at most 4294967295",
            "'retries' must be at least 0 and at most 4294967295",
            "'delay' must be a non-negative number",
            "1 ids for 2 calls",
            "a call is {'task': NAME, 'args': ARGUMENTS}, with a str for a name",
        ];
        assert_eq!(said, want, "{version}");
    }
    stop.store(true, SeqCst);
    worker.join().expect("it ends").map(|_| ())
}
