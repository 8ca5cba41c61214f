//! Masters that share two queues, each with its own results.

use std::collections::BTreeMap;
use std::time::Duration;

use distributed::{Client, Error, Master, QueueOptions, Result, Server, Worker};

use support::{LONG, eventually, python, pythons};

mod support;

fn server(tasks: QueueOptions) -> Result<(Server, Client)> {
    let builder = Server::builder().queue(tasks).queue("get_result_queue");
    let server = builder.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    Ok((server, client))
}

fn master(client: &Client) -> Result<Master<u32, String>> {
    Master::new(client, "get_task_queue", "get_result_queue")
}

/// The results by the ids of their tasks.
fn results(master: &Master<u32, String>, count: usize) -> Result<BTreeMap<String, String>> {
    let answers = (0..count).map(|_| master.get(Some(LONG)));
    answers
        .map(|answer| answer.map(|answer| (answer.id, answer.result.expect("it succeeds"))))
        .collect()
}

#[test]
fn two_masters_get_their_own_results_from_workers_of_every_python_as_they_are() -> Result<()> {
    for (version, path) in pythons() {
        let (server, client) = server(QueueOptions::new("get_task_queue"))?;
        let masters = [master(&client)?, master(&client)?];
        let put = |master: &Master<u32, String>, from: u32| -> Result<BTreeMap<_, _>> {
            let numbers: Vec<u32> = (from..from + 50).collect();
            let ids = master.put_many(&numbers)?.into_iter();
            let want = numbers.iter().map(|n| format!("{n} * {n} = {}", n * n));
            Ok(ids.zip(want).collect())
        };
        let want = [put(&masters[0], 0)?, put(&masters[1], 1000)?];
        let address = server.address().to_string();
        let worker = || support::start(python(&path, "task_worker.py").args([&address, "0"]));
        let mut workers = [worker(), worker()];
        for (master, want) in masters.iter().zip(want) {
            assert_eq!(results(master, 50)?, want, "{version}");
        }
        drop(masters);
        // Their queues are gone with them.
        assert!(
            eventually(|| server.status().queues.len() == 2),
            "{version}"
        );
        for worker in &mut workers {
            worker.kill().expect("it is ours");
        }
    }
    Ok(())
}

#[test]
fn what_a_dead_master_leaves_is_listed_and_taken_and_no_other_gets_it() -> Result<()> {
    let (server, client) = server(QueueOptions::new("get_task_queue"))?;
    let named = || Master::<u32, String>::named(&client, "get_task_queue", "get_result_queue", "m");
    let dead = named()?;
    let ids = dead.put_many(&[3, 4])?;
    // As one that is killed: it tells the server nothing.
    std::mem::forget(dead);
    let other = master(&client)?;
    let id = other.put(&5)?;
    let worker = Worker::new().idle(Duration::from_millis(100));
    let text = |n: &u32| Ok::<String, Error>(n.to_string());
    worker.run(&client, "get_task_queue", "get_result_queue", text)?;
    assert_eq!(results(&other, 1)?, BTreeMap::from([(id, "5".to_string())]));
    assert!(matches!(other.get(Some(Duration::ZERO)), Err(Error::Empty)));
    let status = server.status();
    let left = status.queues.iter().find(|queue| queue.len > 0);
    let left = left.expect("it is listed");
    assert_eq!((left.name.as_str(), left.len), ("get_result_queue@m", 2));
    let again = named()?;
    let answer = again.get(Some(LONG))?;
    assert_eq!((&answer.id, answer.result), (&ids[0], Ok("3".to_string())));
    // Anybody may, without the ids.
    assert_eq!(client.queue::<String>("get_result_queue@m")?.get()?, "4");
    Ok(())
}

#[test]
fn a_master_is_told_of_a_task_that_failed_for_good_and_of_one_put_back() -> Result<()> {
    let (_server, client) = server(QueueOptions::new("get_task_queue").max_deliveries(1))?;
    let master = master(&client)?;
    let id = master.put(&34)?;
    let worker = Worker::new().idle(Duration::from_millis(100));
    let fail = |_: &u32| Err::<String, _>("no database");
    worker.run(&client, "get_task_queue", "get_result_queue", fail)?;
    let answer = master.get(Some(LONG))?;
    let failed = answer.result.expect_err("it failed");
    assert_eq!((&answer.id, failed.tries), (&id, 1));
    assert_eq!(failed.reason, "no database");
    client.retry_dead("get_task_queue")?;
    let text = |n: &u32| Ok::<String, Error>(n.to_string());
    worker.run(&client, "get_task_queue", "get_result_queue", text)?;
    assert_eq!(
        results(&master, 1)?,
        BTreeMap::from([(id, "34".to_string())])
    );
    Ok(())
}
