use std::thread;
use std::time::{Duration, Instant};

use distributed::{Error, Queue};

use crate::server::{DEADLINE, Server};

/// A node switches JetStream off when its disk is full. Debian's server passes no calls on then.
#[test]
fn a_node_without_jetstream_serves_what_others_of_its_cluster_store() {
    let cluster = "cluster { name: c, listen: \"127.0.0.1:-1\"";
    let Some(without) = Server::newer(&format!("{cluster} }}")) else {
        return;
    };
    let route = without.route();
    let _others = ["a", "b"].map(|name| {
        let configuration = format!(
            "server_name: {name}\njetstream: enabled\n\
             {cluster}, routes: [\"nats://127.0.0.1:{route}\"] }}"
        );
        Server::newer(&configuration).expect("there is a program")
    });
    let found = Instant::now() + DEADLINE;
    let client = loop {
        match distributed::connect(&without.url()) {
            Ok(client) => break client,
            // The two have to find each other first.
            Err(error) => assert!(Instant::now() < found, "{error}"),
        }
        thread::yield_now();
    };
    client.create("tasks").expect("the others have it");
    let tasks: Queue<u32> = client.queue("tasks").expect("it is there");
    tasks.put(&7).expect("another node stores it");
    assert_eq!(tasks.get_timeout(DEADLINE).expect("it is there"), 7);
}

#[test]
fn a_disk_that_is_really_full_is_an_error_of_put_and_what_was_stored_is_there_after() {
    let Some(mut server) = Server::start_on_disk(4 << 20) else {
        return;
    };
    let client = server.client_with("tasks");
    let client = client.reconnect_within(Duration::from_secs(1));
    let tasks: Queue<(u32, String)> = client.queue("tasks").expect("it is there");
    let long = "x".repeat(100_000);
    let mut stored = Vec::new();
    let error = loop {
        let number = u32::try_from(stored.len()).expect("not so many");
        assert!(number < 100, "the disk has no room for all");
        match tasks.put(&(number, long.clone())) {
            Ok(()) => stored.push(number),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Engine { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("put an item at nats://"), "{text}");
    assert!(text.contains("if its disk is full"), "{text}");
    server.kill();
    server.resize_disk(64 << 20);
    server.start_again();
    let client = server.client();
    let tasks: Queue<(u32, String)> = client.queue("tasks").expect("it is there");
    tasks
        .put(&(u32::MAX, String::new()))
        .expect("there is room");
    let mut got = Vec::new();
    while !got.contains(&u32::MAX) {
        got.push(tasks.get_timeout(DEADLINE).expect("there is one more").0);
    }
    // The one that was refused may be there as well, as after any answer that was lost.
    let known = |number: &u32| stored.contains(number);
    got.retain(known);
    assert_eq!(got, stored);
}
