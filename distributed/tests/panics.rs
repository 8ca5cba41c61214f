//! Items whose own code panics, as one does that parses a field with `unwrap`.

use std::fmt;
use std::time::Duration;

use distributed::{Client, Error, QueueOptions, Result, Server, Worker};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use support::tasks::{failure, quick};
use support::{LONG, task_server};

mod support;

/// An even number, whose code is sure of that.
#[derive(Debug, PartialEq)]
struct Even(u32);

impl Serialize for Even {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(self.0.is_multiple_of(2), "{} is written", self.0);
        serializer.serialize_u32(self.0)
    }
}

impl<'de> Deserialize<'de> for Even {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Even, D::Error> {
        let number = u32::deserialize(deserializer)?;
        assert!(number.is_multiple_of(2), "{number} is read");
        Ok(Even(number))
    }
}

/// An error whose text panics.
struct Unprintable;

impl fmt::Display for Unprintable {
    fn fmt(&self, _: &mut fmt::Formatter) -> fmt::Result {
        panic!("it has no text")
    }
}

#[track_caller]
fn assert_said<T: fmt::Debug>(called: Result<T>, text: &str) {
    let error = called.expect_err("its code panics");
    assert!(matches!(error, Error::Item { .. }), "{error}");
    let said = error.to_string();
    assert!(
        said.contains("its own code panicked: ") && said.contains(text),
        "{said}"
    );
}

#[test]
fn a_queue_tells_of_it_and_goes_on() -> Result<()> {
    let (_server, client) = task_server()?;
    let (numbers, evens) = (
        client.queue::<u32>("tasks")?,
        client.queue::<Even>("tasks")?,
    );
    assert_said(evens.put(&Even(1)), "1 is written");
    numbers.put_many(&[2, 3, 4])?;
    let held = evens.lease()?;
    assert_said(evens.get(), "3 is read");
    held.done()?;
    assert_eq!(evens.get()?, Even(4));
    assert!(evens.is_empty()?);
    Ok(())
}

#[test]
fn a_worker_fails_that_task_and_goes_on() -> Result<()> {
    let tasks = QueueOptions::new("tasks").redeliver(true).max_deliveries(1);
    let builder = Server::builder().queue(tasks).queue("results");
    let server = builder.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    client.queue::<u32>("tasks")?.put_many(&[3, 4, 6, 8])?;
    let worker = Worker::new().idle(Duration::from_millis(200));
    let worked = worker.run(&client, "tasks", "results", |task: &Even| match task.0 {
        4 => Ok(Even(13)),
        6 => Err(Unprintable),
        n => Ok(Even(n)),
    })?;
    assert_eq!((worked.done, worked.failed), (1, 3));
    assert_eq!(client.queue::<u32>("results")?.try_get()?, 8);
    let reasons: Vec<String> = client
        .dead_letters("tasks")?
        .into_iter()
        .map(|letter| letter.reason)
        .collect();
    let texts = ["3 is read", "13 is written", "it has no text"];
    assert_eq!(reasons.len(), texts.len(), "{reasons:?}");
    for text in texts {
        assert!(
            reasons.iter().any(|reason| reason.contains(text)),
            "{reasons:?}"
        );
    }
    Ok(())
}

#[test]
fn a_task_by_name_fails_with_its_text_and_the_worker_goes_on() -> Result<()> {
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let submit = |n: u32| tasks.submit_with::<Even>("half", &n, quick().retries(0));
    let (unread, unwritten, good) = (submit(3)?, submit(6)?, submit(8)?);
    let unreadable = tasks.submit_with::<Even>("odd", &(), quick())?;
    let worker = Worker::new().idle(Duration::from_millis(200));
    let worker = worker.task("half", |n: Even| Ok::<_, Error>(Even(n.0 / 2)));
    let worker = worker.task("odd", |(): ()| Ok::<_, Error>(1));
    let worked = worker.serve(&client, "tasks")?;
    assert_eq!((worked.done, worked.failed), (2, 2));
    let reason = failure(unread.result(Some(LONG))).reason;
    assert!(reason.contains("3 is read"), "{reason}");
    let reason = failure(unwritten.result(Some(LONG))).reason;
    assert!(reason.contains("3 is written"), "{reason}");
    assert_eq!(good.result(Some(LONG))?, Even(4));
    assert_said(unreadable.result(Some(LONG)), "1 is read");
    Ok(())
}

/// What a function panics with, whose destructor panics as well.
struct Twice;

impl Drop for Twice {
    fn drop(&mut self) {
        panic!("once more");
    }
}

#[test]
fn a_worker_goes_on_after_a_panic_whose_payload_panics_when_it_is_dropped() -> Result<()> {
    let builder = Server::builder().queue("tasks").queue("results");
    let server = builder.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let work = |n: &u32| match n {
        1 => std::panic::panic_any(Twice),
        n => Ok::<_, Error>(*n),
    };
    client.queue::<u32>("tasks")?.put_many(&[1, 2])?;
    let worker = Worker::new().idle(Duration::from_millis(200));
    let worked = worker.clone().run(&client, "tasks", "results", work)?;
    assert_eq!((worked.done, worked.failed), (1, 1));

    let tasks = client.task_queue("tasks")?;
    let bad = tasks.submit_with::<u32>("work", &1, quick().retries(0))?;
    let good = tasks.submit::<u32>("work", &2)?;
    let worker = worker.task("work", move |n: u32| work(&n));
    let worked = worker.serve(&client, "tasks")?;
    assert_eq!((worked.done, worked.failed), (1, 1));
    assert!(failure(bad.result(Some(LONG))).reason.contains("panicked"));
    assert_eq!(good.result(Some(LONG))?, 2);
    Ok(())
}
