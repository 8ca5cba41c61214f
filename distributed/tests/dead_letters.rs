//! Tasks whose work fails: they come back later, and nothing of them is lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use distributed::{Client, Error, QueueOptions, Result, Server, Worker, pickle};
use serde::{Deserialize, Serialize, Serializer};

use support::{LONG, eventually, python, run, some_pythons};

mod support;

/// A list of bytes, which no dict of Python takes as a key. Without any it cannot be written.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Key(Vec<u8>);

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0.is_empty() {
            true => Err(serde::ser::Error::custom("no empty key")),
            false => self.0.serialize(to),
        }
    }
}

#[test]
fn a_task_that_fails_is_tried_after_a_pause_and_kept_with_its_reason() -> Result<()> {
    // It does not redeliver: a plain `get` loses what it took.
    let tasks = QueueOptions::new("tasks").max_deliveries(2);
    let builder = Server::builder().queue(tasks).queue("results");
    let server = builder.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let tasks = client.queue::<u32>("tasks")?;
    tasks.put(&34)?;
    let (stop, is_mended) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let tried = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let work = |n: &u32| {
            tried.lock().unwrap().push(Instant::now());
            match is_mended.load(SeqCst) {
                true => Ok(n * n),
                false => Err("no database"),
            }
        };
        let worker = Worker::new().stop(Arc::clone(&stop));
        let client = &client;
        let worker = scope.spawn(move || worker.run(client, "tasks", "results", work));
        let letters = || client.dead_letters("tasks").expect("it serves");
        assert!(eventually(|| letters().len() == 1));
        let letter = &letters()[0];
        assert_eq!((letter.tries, letter.reason.as_str()), (2, "no database"));
        assert!(letter.bytes > 0);
        let pause = {
            let tried = tried.lock().unwrap();
            assert_eq!(tried.len(), 2);
            tried[1] - tried[0]
        };
        // A second, less what keeps workers from coming at the same moment.
        assert!(pause >= Duration::from_millis(500), "{pause:?}");
        // For whoever waits, it is done.
        tasks.join()?;
        is_mended.store(true, SeqCst);
        assert_eq!(client.retry_dead("tasks")?, 1);
        let result = client.queue::<u32>("results")?.get_timeout(LONG)?;
        assert_eq!(result, 34 * 34);
        stop.store(true, SeqCst);
        let worked = worker.join().expect("no panic")?;
        assert_eq!((worked.done, worked.failed), (1, 2));
        Ok(())
    })
}

#[test]
fn a_task_of_another_type_is_a_dead_letter_that_says_so() -> Result<()> {
    let tasks = QueueOptions::new("tasks").max_deliveries(1);
    let builder = Server::builder().queue(tasks).queue("results");
    let server = builder.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    client.queue::<String>("tasks")?.put(&"text".to_string())?;
    let worker = Worker::new().idle(Duration::from_millis(100));
    let worked = worker.run(&client, "tasks", "results", |n: &u32| Ok::<u32, Error>(*n))?;
    assert_eq!((worked.done, worked.failed), (0, 1));
    let letters = client.dead_letters("tasks")?;
    assert!(letters[0].reason.contains("u32"), "{letters:?}");
    Ok(())
}

#[test]
fn a_task_whose_result_cannot_be_stored_is_a_dead_letter_and_the_worker_goes_on() -> Result<()> {
    let tasks = QueueOptions::new("tasks").max_deliveries(1);
    let builder = Server::builder().queue(tasks).queue("results");
    let server = builder.max_message(4 << 10).serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    client.queue::<u32>("tasks")?.put_many(&[1, 2, 3, 4])?;
    // Too long, with a key that no dict of Python can have, and what cannot be written at all.
    let work = |n: &u32| {
        Ok::<_, Error>(match n {
            1 => BTreeMap::from([(Key(vec![1]), "x".repeat(8 << 10))]),
            2 => BTreeMap::from([(Key(vec![2]), "b".to_string())]),
            3 => BTreeMap::from([(Key(Vec::new()), "c".to_string())]),
            _ => BTreeMap::new(),
        })
    };
    let worker = Worker::new().idle(Duration::from_millis(200));
    let worked = worker.run(&client, "tasks", "results", work)?;
    assert_eq!((worked.done, worked.failed), (1, 3));
    let results = client.queue::<BTreeMap<Key, String>>("results")?;
    assert_eq!(results.get_many(9, Some(LONG))?, [BTreeMap::new()]);
    let letters = client.dead_letters("tasks")?;
    let whys = ["over the limit", "key", "no empty key"];
    assert_eq!(letters.len(), whys.len(), "{letters:?}");
    for (letter, why) in letters.iter().zip(whys) {
        assert!(letter.reason.starts_with("its result: "), "{letter:?}");
        assert!(letter.reason.contains(why), "{letter:?}");
    }
    Ok(())
}

#[test]
fn the_program_lists_dead_letters_puts_them_back_and_drops_them() -> Result<()> {
    let arguments = ["--queue", "tasks", "--max-deliveries", "1"];
    let (_manager, address) = support::manager(&arguments);
    let client = Client::connect(&address, b"abc")?;
    let tasks = client.queue::<u32>("tasks")?;
    let fail = || {
        tasks.put(&34)?;
        tasks.lease()?.fail("no\ndatabase")
    };
    let dead = |more: &[&str]| {
        let mut program = Command::new(cargo_bin("manager"));
        program.env("LC_ALL", "C");
        program.env("MANAGER_AUTHKEY", "abc");
        let said = program
            .args(["dead", "tasks", &address])
            .args(more)
            .assert();
        String::from_utf8(said.success().get_output().stdout.clone()).expect("text")
    };
    fail()?;
    assert!(dead(&[]).ends_with("no database\n"));
    assert_eq!(dead(&["--retry"]), "1 put back into tasks\n");
    assert_eq!(tasks.try_get()?, 34);
    fail()?;
    assert_eq!(dead(&["--purge"]), "1 of tasks dropped\n");
    assert_eq!(client.dead_letters("tasks")?, []);
    let unknown = client.dead_letters("task");
    assert!(matches!(unknown, Err(Error::NoQueue { .. })), "{unknown:?}");
    // Whoever mistypes a name is told what there is.
    for unknown in [
        unknown.map(drop),
        client.retry_dead("task").map(drop),
        client.purge("task.dead").map(drop),
    ] {
        let text = unknown.expect_err("there is no such queue").to_string();
        assert!(text.contains("(there are: tasks"), "{text}");
    }
    Ok(())
}

#[test]
fn a_python_worker_says_why_it_failed() -> Result<()> {
    for (version, path) in some_pythons() {
        let tasks = QueueOptions::new("tasks").max_deliveries(1);
        let server = Server::builder()
            .queue(tasks)
            .serve("127.0.0.1:0", b"abc")?;
        let client = Client::connect(server.address(), b"abc")?;
        client.queue::<u32>("tasks")?.put_many(&[34, 35])?;
        let said = run(python(&path, "fail.py").arg(server.address().to_string()));
        assert_eq!(said, "34 ValueError 35\n", "{version}");
        let letters = client.dead_letters("tasks")?;
        let reasons: Vec<&str> = letters
            .iter()
            .map(|letter| letter.reason.as_str())
            .collect();
        assert_eq!(reasons, ["no database", "no disk"], "{version}");
    }
    Ok(())
}

/// A server with this queue, that has `1`, `"two"`, `3` and `"four"`, and a client.
fn mixed(tasks: QueueOptions) -> Result<(Server, Client)> {
    let server = Server::builder()
        .queue(tasks)
        .serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let numbers = client.queue::<u32>("tasks")?;
    let texts = client.queue::<String>("tasks")?;
    for (number, text) in [(1, "two"), (3, "four")] {
        numbers.put(&number)?;
        texts.put(&text.to_string())?;
    }
    Ok((server, client))
}

#[test]
fn an_item_of_another_type_that_was_got_is_tried_again_and_kept_with_its_reason() -> Result<()> {
    let tasks = QueueOptions::new("tasks").redeliver(true).max_deliveries(2);
    let (_server, client) = mixed(tasks)?;
    let numbers = client.queue::<u32>("tasks")?;
    let mut wrong = 0;
    let mut right = Vec::new();
    while right.len() + wrong < 6 {
        match numbers.get_timeout(LONG) {
            Ok(number) => right.push(number),
            Err(Error::Item { .. }) => wrong += 1,
            Err(error) => return Err(error),
        }
    }
    assert_eq!((right, wrong), (vec![1, 3], 4));
    let letters = client.dead_letters("tasks")?;
    assert_eq!(letters.len(), 2, "{letters:?}");
    for letter in letters {
        assert_eq!(letter.tries, 2);
        assert!(letter.reason.contains("u32"), "{letter:?}");
    }
    Ok(())
}

#[test]
fn items_of_another_type_among_many_take_none_of_the_others_along() -> Result<()> {
    let tasks = QueueOptions::new("tasks").redeliver(true).max_deliveries(2);
    let (_server, client) = mixed(tasks)?;
    let numbers = client.queue::<u32>("tasks")?;
    assert_eq!(numbers.get_many(9, Some(LONG))?, [1, 3]);
    // They are held, as what is got alone is.
    drop(numbers);
    let numbers = client.queue::<u32>("tasks")?;
    assert_eq!(numbers.get_many(9, Some(LONG))?, [1, 3]);
    // The others come again meanwhile, without them.
    while client.dead_letters("tasks")?.len() < 2 {
        let only = numbers.get_many(9, Some(LONG));
        assert!(matches!(only, Err(Error::Item { .. })), "{only:?}");
    }
    Ok(())
}

#[test]
fn the_error_has_the_items_of_another_type_that_come_no_more() -> Result<()> {
    let (_server, client) = mixed(QueueOptions::new("tasks"))?;
    let texts = client.queue::<String>("tasks")?;
    let Err(Error::Item { pickle, .. }) = texts.get() else {
        panic!("1 is no text");
    };
    assert_eq!(pickle::from_slice(&pickle), Ok(1));
    let Err(Error::Item { pickle, .. }) = texts.get_many(2, None) else {
        panic!("3 is no text");
    };
    assert_eq!(pickle::from_slice(&pickle), Ok(("two".to_string(), 3)));
    assert_eq!(texts.get()?, "four");
    assert!(client.dead_letters("tasks")?.is_empty());
    Ok(())
}

#[test]
fn dead_letters_that_have_nowhere_to_go_stay() -> Result<()> {
    let server = Server::builder().queue("foo.dead");
    let server = server.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let dead = client.queue::<u32>("foo.dead")?;
    dead.put(&3)?;
    let error = client
        .retry_dead("foo")
        .expect_err("there is no such queue");
    assert!(matches!(error, Error::NoQueue { .. }), "{error}");
    assert_eq!(dead.try_get()?, 3);
    Ok(())
}

#[test]
fn who_joins_the_dead_letters_of_a_queue_does_not_wait_for_those_that_are_tried_again() -> Result<()>
{
    let tasks = QueueOptions::new("tasks").redeliver(true).max_deliveries(1);
    let server = Server::builder().queue(tasks);
    let server = server.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let tasks = client.queue::<u32>("tasks")?;
    tasks.put(&3)?;
    tasks.lease()?.fail("no database")?;
    assert_eq!(client.retry_dead("tasks")?, 1);
    let (ends, ended) = mpsc::channel();
    let dead = client.queue::<u32>("tasks.dead")?;
    thread::spawn(move || ends.send(dead.join()));
    ended.recv_timeout(LONG).expect("nothing is left there")?;
    assert_eq!(tasks.get()?, 3);
    Ok(())
}
