use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use async_nats::jetstream::message::PublishMessage;
use distributed::{Client, Durability, Error, QueueOptions};

use crate::server::{DEADLINE, Server};

fn redelivering(lease: Duration) -> QueueOptions {
    QueueOptions::new("tasks").redeliver(true).lease(lease)
}

#[test]
fn items_come_out_in_the_order_in_which_they_went_in() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client_with("tasks");
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    tasks.put(&1).expect("it is stored");
    tasks
        .put_many(&(2..=1000).collect::<Vec<_>>())
        .expect("they are stored");
    assert_eq!(tasks.len().expect("it answers"), 1000);
    let mut got = vec![tasks.get().expect("there are some")];
    while got.len() < 1000 {
        got.extend(tasks.get_many(300, Some(DEADLINE)).expect("there are more"));
    }
    assert_eq!(got, (1..=1000).collect::<Vec<_>>());
    assert!(matches!(tasks.try_get(), Err(Error::Empty)));
    assert!(matches!(
        tasks.get_timeout(Duration::from_millis(50)),
        Err(Error::Empty)
    ));
    assert!(matches!(
        tasks.get_many(5, Some(Duration::from_millis(50))),
        Err(Error::Empty)
    ));
    tasks.join().expect("all are done");
}

#[test]
fn a_get_that_waits_has_the_item_as_soon_as_it_is_put() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client_with("tasks");
    let tasks = client.queue::<String>("tasks").expect("it is there");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let tasks = client.queue::<String>("tasks").expect("it is there");
            tasks.get_timeout(DEADLINE)
        });
        while client.status().expect("it answers").queues[0].waiting == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        tasks.put(&"Bob".to_string()).expect("it is stored");
        assert_eq!(waiting.join().expect("no panic").expect("it comes"), "Bob");
    });
}

#[test]
fn a_bounded_queue_is_full_until_an_item_is_done() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client_with(redelivering(DEADLINE).maxsize(3));
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    tasks.put_many(&[1, 2, 3]).expect("there is room for three");
    assert!(tasks.is_full().expect("it answers"));
    assert!(matches!(tasks.try_put(&4), Err(Error::Full)));
    assert!(matches!(
        tasks.put_timeout(&4, Duration::from_millis(100)),
        Err(Error::Full)
    ));
    let lease = tasks.lease_timeout(DEADLINE).expect("there are three");
    assert!(
        matches!(tasks.try_put(&4), Err(Error::Full)),
        "what is out counts"
    );
    thread::scope(|scope| {
        let put = scope.spawn(|| client.queue("tasks").expect("it is there").put(&4));
        lease.done().expect("it is ours");
        put.join()
            .expect("no panic")
            .expect("there is room in the end");
    });
    assert_eq!(tasks.len().expect("it answers"), 3);
}

#[test]
fn an_item_that_is_not_done_goes_back_and_one_that_is_does_not() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client_with(redelivering(DEADLINE));
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    tasks.put_many(&[1, 2]).expect("they are stored");
    assert_eq!(tasks.get().expect("there are two"), 1);
    assert_eq!(tasks.get().expect("there is one"), 2);
    // The second is open, the first was ended by the second get.
    drop(tasks);
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    assert_eq!(tasks.get_timeout(DEADLINE).expect("it came back"), 2);
    tasks.task_done().expect("it was got");
    tasks.join().expect("all are done");
    drop(tasks.lease_timeout(Duration::ZERO).err());
    assert!(matches!(tasks.try_get(), Err(Error::Empty)));
}

#[test]
fn a_lease_lasts_as_long_as_its_holder_works_and_ends_with_expires() {
    let Some(server) = Server::start() else {
        return;
    };
    let lease = Duration::from_millis(600);
    let client = server.client_with(redelivering(lease));
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    let other = client.queue::<u32>("tasks").expect("it is there");
    tasks.put(&1).expect("it is stored");
    let long = tasks.lease_timeout(DEADLINE).expect("there is one");
    // Three times as long as the lease: nobody else gets it.
    assert!(matches!(other.get_timeout(3 * lease), Err(Error::Empty)));
    long.done().expect("it is ours still");
    tasks.put(&2).expect("it is stored");
    let hung = tasks
        .lease_for(lease, Some(DEADLINE))
        .expect("there is one");
    let again = other.lease_timeout(DEADLINE).expect("it comes back");
    assert_eq!((again.item, again.deliveries()), (2, Some(2)));
    assert!(matches!(hung.done(), Err(Error::LeaseOver)));
    again.done().expect("it is the other's");
}

#[test]
fn after_its_last_delivery_an_item_is_a_dead_letter_with_its_reason() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client_with(redelivering(DEADLINE).max_deliveries(2));
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    tasks.put_many(&[1, 2]).expect("they are stored");
    let ids: Vec<String> = (1..=2)
        .map(|delivery| {
            // Goes back, as from one that dies.
            let lease = tasks.lease_timeout(DEADLINE).expect("it is there");
            let lease = match lease.item {
                1 => lease,
                _ => {
                    lease.done().expect("it is ours");
                    tasks.lease_timeout(DEADLINE).expect("the first is left")
                }
            };
            assert_eq!((lease.item, lease.deliveries()), (1, Some(delivery)));
            lease.id().expect("an engine has ids").to_string()
        })
        .collect();
    if tasks.len().expect("it answers") > 0 {
        let other = tasks.get_timeout(DEADLINE);
        assert!(matches!(other, Ok(2) | Err(Error::Empty)), "{other:?}");
    }
    assert!(matches!(
        tasks.get_timeout(Duration::from_millis(200)),
        Err(Error::Empty)
    ));
    tasks.join().expect("dead letters count as done");
    let dead = client.queue::<u32>("tasks.dead").expect("it is there");
    let letter = dead.lease_timeout(DEADLINE).expect("there is one");
    assert_eq!((letter.item, letter.id()), (1, Some(ids[0].as_str())));
    let (deliveries, reason) = letter.death().expect("it is a dead letter");
    assert_eq!(deliveries, 2);
    assert!(reason.contains("not finished"), "{reason}");
}

#[test]
fn the_reader_gets_the_result_of_a_task_once_however_often_it_was_done() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client_with(redelivering(Duration::from_millis(300)));
    client.create("results").expect("a queue");
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    let results = client.queue::<u32>("results").expect("it is there");
    tasks.put(&7).expect("it is stored");
    let first = tasks
        .lease_for(Duration::ZERO, Some(DEADLINE))
        .expect("it is there");
    let other = client.queue::<u32>("tasks").expect("it is there");
    let second = other.lease_timeout(DEADLINE).expect("it comes again");
    assert_eq!(first.id(), second.id());
    let late = tasks
        .finish(&results, vec![(first, 49)])
        .expect("it is stored");
    assert_eq!(late, 1, "its lease was over");
    assert_eq!(results.get_timeout(DEADLINE).expect("it is there"), 49);
    other
        .finish(&results, vec![(second, 49)])
        .expect("it is stored, or known");
    assert!(matches!(
        results.get_timeout(Duration::from_millis(200)),
        Err(Error::Empty)
    ));
}

#[test]
fn a_result_that_comes_again_after_the_server_forgot_its_id_is_still_read_once() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let client = server.client_with(redelivering(Duration::from_millis(300)));
    client.create("results").expect("a queue");
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    let results = client.queue::<u32>("results").expect("it is there");
    tasks.put(&7).expect("it is stored");
    let first = tasks
        .lease_for(Duration::ZERO, Some(DEADLINE))
        .expect("it is there");
    let other = client.queue::<u32>("tasks").expect("it is there");
    let second = other.lease_timeout(DEADLINE).expect("it comes again");
    tasks
        .finish(&results, vec![(first, 49)])
        .expect("it is stored");
    assert_eq!(results.get_timeout(DEADLINE).expect("it is there"), 49);
    results.join().expect("the server knows that it was got");
    server.kill();
    server.start_again();
    other
        .finish(&results, vec![(second, 49)])
        .expect("it is stored");
    let again = results.get_timeout(Duration::from_millis(500));
    assert!(matches!(again, Err(Error::Empty)), "{again:?}");
    results.join().expect("it was got and ended unseen");
}

#[test]
fn nothing_is_lost_when_the_server_is_killed_and_started_again() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let client = server.client_with("tasks");
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    tasks
        .put_many(&(0..500).collect::<Vec<_>>())
        .expect("they are stored");
    thread::scope(|scope| {
        let putting = scope.spawn(|| {
            let tasks = client.queue::<u32>("tasks").expect("it is there");
            (500..1000).try_for_each(|item| tasks.put(&item))
        });
        server.kill();
        // Opened while nobody is there.
        let waiting = scope.spawn(|| {
            let tasks = client
                .queue::<u32>("tasks")
                .expect("it is there in the end");
            tasks.get_timeout(DEADLINE)
        });
        server.start_again();
        putting
            .join()
            .expect("no panic")
            .expect("all are stored in the end");
        let mut got = BTreeSet::from([waiting.join().expect("no panic").expect("there are some")]);
        let deadline = Instant::now() + DEADLINE;
        while got.len() < 1000 && Instant::now() < deadline {
            got.extend(tasks.get_many(100, Some(DEADLINE)).expect("there are more"));
        }
        assert_eq!(got, (0..1000).collect());
    });
    tasks.join().expect("none is left twice");
}

#[test]
fn a_get_with_a_timeout_does_not_wait_longer_for_a_server_that_is_away_and_says_so() {
    let Some(mut server) = Server::start() else {
        return;
    };
    // It would wait longer than this test.
    let client = server.client_with("tasks").reconnect_within(10 * DEADLINE);
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    server.kill();
    for timeout in [Duration::ZERO, Duration::from_millis(300)] {
        let start = Instant::now();
        let error = tasks.get_timeout(timeout);
        assert!(matches!(error, Err(Error::Engine { .. })), "{error:?}");
        assert!(start.elapsed() < DEADLINE / 2);
    }
}

#[test]
fn a_get_that_waits_while_the_server_is_killed_has_what_is_put_afterwards() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let client = server.client_with("tasks");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let tasks = client.queue::<u32>("tasks").expect("it is there");
            tasks.get_timeout(DEADLINE)
        });
        while client.status().expect("it answers").queues[0].waiting == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        server.kill();
        server.start_again();
        client
            .queue("tasks")
            .expect("it is there")
            .put(&5)
            .expect("it is stored");
        assert_eq!(waiting.join().expect("no panic").expect("it comes"), 5);
    });
}

#[test]
fn a_server_that_writes_late_is_told_of() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client_with("tasks");
    let durability = client.durability("tasks").expect("it answers");
    assert_eq!(durability, Durability::Late);
    let text = durability.to_string();
    assert!(text.contains("a power cut loses"), "{text}");
}

#[test]
fn a_server_that_writes_at_once_is_told_of() {
    let Some(server) = Server::synchronous() else {
        return;
    };
    let client = distributed::connect(&server.monitored_url()).expect("the server is ready");
    client.create("tasks").expect("a queue");
    let durability = client.durability("tasks").expect("it answers");
    assert_eq!(durability, Durability::Synchronous);
    let text = durability.to_string();
    assert!(text.contains("loses nothing"), "{text}");
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    tasks.put(&1).expect("it is stored");
    assert_eq!(tasks.get_timeout(DEADLINE).expect("it is there"), 1);
}

#[test]
fn a_monitor_that_does_not_answer_is_told_of() {
    let Some(server) = Server::start() else {
        return;
    };
    server.client_with("tasks");
    // A server of NATS is no monitor.
    let url = format!(
        "{0}?monitor=http://127.0.0.1:{1}",
        server.url(),
        server.port()
    );
    let client = distributed::connect(&url).expect("the server is ready");
    let error = client.durability("tasks").expect_err("no monitor");
    let text = error.to_string();
    assert!(
        text.contains(&format!("ask http://127.0.0.1:{}", server.port())),
        "{text}"
    );
}

#[test]
fn the_namespace_of_a_url_keeps_queues_apart() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client_with("tasks");
    client
        .queue("tasks")
        .expect("it is there")
        .put(&1)
        .expect("it is stored");
    let mine = format!("{}/mine", server.url());
    let mine = distributed::connect(&mine).expect("it is the same server");
    assert!(matches!(
        mine.queue::<u32>("tasks"),
        Err(Error::NoQueue { .. })
    ));
    mine.create("tasks").expect("a queue");
    assert!(
        mine.queue::<u32>("tasks")
            .expect("it is there")
            .is_empty()
            .expect("it answers")
    );
}

/// Puts a task under an id of our own choice, as a program of another language may.
fn put_under(server: &Server, id: &str, task: &str) {
    let deadline = Instant::now() + DEADLINE;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let other = async_nats::connect(server.url())
            .await
            .expect("it is there");
        let engine = async_nats::jetstream::new(other);
        let name = engine.stream_by_subject("tm.queue.tasks").await;
        let stream = engine.get_stream(name.expect("it has the queue")).await;
        let mut config = stream
            .expect("it has the queue")
            .cached_info()
            .config
            .clone();
        // By default it knows an id for two minutes.
        config.duplicate_window = Duration::from_millis(100);
        engine
            .update_stream(config)
            .await
            .expect("it forgets sooner");
        loop {
            let message = PublishMessage::build().payload(task.to_string().into());
            let sent = engine.send_publish("tm.queue.tasks", message.message_id(id));
            let stored = sent
                .await
                .expect("it is sent")
                .await
                .expect("it is answered");
            if !stored.duplicate {
                return;
            }
            assert!(Instant::now() < deadline, "it never forgets the id");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn a_task_that_is_put_again_under_its_id_once_the_server_forgot_it_is_handed_out_again() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client_with(redelivering(DEADLINE).max_deliveries(2));
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    for round in 0..3 {
        put_under(&server, "job-1", "7");
        let lease = tasks.lease_timeout(DEADLINE);
        let lease = lease.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        assert_eq!((lease.item, lease.id()), (7, Some("job-1")));
        // What it came to before is not held against it.
        lease.fail("not now").expect("it goes back");
        let lease = tasks.lease_timeout(DEADLINE).expect("it comes again");
        assert_eq!(lease.deliveries(), Some(2));
        lease.done().expect("its lease has not ended");
        tasks.join().expect("it is done");
    }
}

#[test]
fn results_of_tasks_from_a_manager_all_arrive_though_these_have_no_ids() {
    let Some(server) = Server::start() else {
        return;
    };
    let engine = server.client();
    engine.create("results").expect("a queue");
    let results = engine.queue::<u32>("results").expect("it is there");
    let manager = distributed::Server::builder()
        .queue("tasks")
        .serve("127.0.0.1:0", b"abc")
        .expect("a free port");
    let client = Client::connect(manager.address(), b"abc").expect("it is ready");
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    for task in 1..=3 {
        tasks.put(&task).expect("it is taken");
        let lease = tasks.lease_timeout(DEADLINE).expect("it is there");
        tasks
            .finish(&results, vec![(lease, task)])
            .expect("it is stored");
    }
    for result in 1..=3 {
        let got = results.get_timeout(DEADLINE);
        assert_eq!(got.expect("none is taken for another"), result);
    }
}
