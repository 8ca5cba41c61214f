//! A manager that is started anew, which has nothing of what the one before it had.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use distributed::{Client, Error, Result, Server, TaskHandle, Worker};

use support::{LONG, eventually, task_server};

mod support;

/// A server at the address of one that ends.
fn anew(server: Server) -> Server {
    let address = server.address().to_string();
    drop(server);
    let mut again = None;
    assert!(eventually(|| {
        again = Server::builder()
            .queue("tasks")
            .serve(&address, b"abc")
            .ok();
        again.is_some()
    }));
    again.expect("it serves")
}

/// What comes of the wait for a result, which has no limit of its own.
fn outcome(handle: TaskHandle<u32>) -> mpsc::Receiver<Result<u32>> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || send.send(handle.result(None)));
    receive
}

fn assert_lost(outcome: &mpsc::Receiver<Result<u32>>) {
    match outcome.recv_timeout(LONG).expect("it waits no longer") {
        Err(error @ Error::TaskLost) => {
            assert!(error.to_string().contains("submit it again"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

/// Whether so many wait for an outcome.
fn is_awaited(server: &Server) -> bool {
    let queues = server.status().queues;
    queues
        .iter()
        .any(|queue| queue.name.contains('@') && queue.waiting == 1)
}

fn reconnecting(client: &Client) -> Client {
    client.clone().reconnect_within(LONG)
}

#[test]
fn who_waits_for_a_task_is_told_that_it_went_with_its_server() -> Result<()> {
    let (server, client) = task_server()?;
    let tasks = reconnecting(&client).task_queue("tasks")?;
    let first = outcome(tasks.submit::<u32>("square", &3)?);
    assert!(eventually(|| is_awaited(&server)));
    // It waits for the one who reads for both.
    let second = outcome(tasks.submit::<u32>("square", &4)?);
    let _server = anew(server);
    assert_lost(&first);
    assert_lost(&second);
    Ok(())
}

#[test]
fn a_task_that_went_with_its_server_does_not_hide_behind_one_of_the_next() -> Result<()> {
    let (server, client) = task_server()?;
    let client = reconnecting(&client);
    let tasks = client.task_queue("tasks")?;
    let gone = tasks.submit::<u32>("square", &3)?;
    let _server = anew(server);
    let there = tasks.submit::<u32>("square", &4)?;
    let worker = Worker::new().idle(Duration::from_millis(200));
    let worker = worker.task("square", |n: u32| Ok::<_, Error>(n * n));
    worker.serve(&client, "tasks")?;
    assert_eq!(there.result(Some(LONG))?, 16);
    assert_lost(&outcome(gone));
    Ok(())
}
