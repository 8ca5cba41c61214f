//! Who holds what and who waits, as a status tells it.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use distributed::{Client, Master, Result, Server};

use support::eventually;
use support::raw::{Raw, request};

mod support;

#[test]
fn a_status_names_who_has_which_task_and_how_often_it_was_handed_out() -> Result<()> {
    let server = Server::builder().queue("tasks").queue("results");
    let server = server.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let id = Master::<u32, u32>::new(&client, "tasks", "results")?.put(&3)?;
    let tasks = client.queue::<u32>("tasks")?;
    let lease = tasks.lease_for(Duration::from_secs(600), None)?;
    let hold = &server.status().holds[0];
    assert_eq!(
        (&*hold.name, &*hold.kind, hold.deliveries),
        ("tasks", "item", 1)
    );
    assert_eq!(hold.task.as_deref(), Some(&*id));
    assert!(hold.client.contains(" at 127.0.0.1:"), "{hold:?}");
    assert!(
        hold.expires
            .is_some_and(|expires| expires > Duration::from_secs(500)),
        "{hold:?}"
    );
    // Nobody has it until it is tried again, and then another does, for the second time.
    lease.fail("no database")?;
    let hold = &server.status().holds[0];
    assert_eq!((&*hold.client, hold.deliveries), ("", 1));
    let _lease = tasks.lease()?;
    let holds = server.status().holds;
    assert_eq!((holds.len(), holds[0].deliveries), (1, 2), "{holds:?}");
    assert!(
        !holds[0].client.is_empty() && holds[0].expires.is_none(),
        "{holds:?}"
    );
    Ok(())
}

#[test]
fn a_printed_status_names_the_twenty_that_are_held_longest_and_counts_the_others() -> Result<()> {
    let server = Server::builder().queue("tasks");
    let server = server.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let tasks = client.queue::<u32>("tasks")?;
    tasks.put_many(&[0; 25])?;
    let _held: Vec<_> = (0..20).map(|_| tasks.lease()).collect::<Result<_>>()?;
    let printed = server.status().to_string();
    assert_eq!(
        printed.matches("            item ").count(),
        20,
        "{printed}"
    );
    assert!(!printed.contains("more"), "{printed}");
    let _last = (tasks.lease()?, tasks.lease()?);
    let printed = server.status().to_string();
    assert_eq!(
        printed.matches("            item ").count(),
        20,
        "{printed}"
    );
    assert!(
        printed.ends_with("\nand 2 more, held for less time"),
        "{printed}"
    );
    Ok(())
}

/// The reply of who waited is on its way already when that of the other comes.
#[test]
fn who_waits_is_answered_before_the_call_that_serves_it() -> Result<()> {
    let server = Server::builder().queue("tasks");
    let server = server.object("gate", distributed::ObjectType::Lock);
    // What is sent to a Unix socket is there at once.
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("server");
    let server = server.serve(path.display(), b"abc")?;
    let connect = || {
        let stream = UnixStream::connect(&path).expect("it listens");
        let within = Some(Duration::from_secs(60));
        stream.set_read_timeout(within).expect("60 s is a time");
        Raw(stream).proved().accept()
    };
    let [mut first, mut second] = [connect(), connect()];
    first.call(&request("gate", "acquire", b""));
    let [get, put] = [
        request("tasks", "get", b""),
        request("tasks", "put", b"K\x07"),
    ];
    let [acquire, release] = ["acquire", "release"].map(|method| request("gate", method, b""));
    for _ in 0..50 {
        for (waits, serves) in [(&get, &put), (&acquire, &release)] {
            second.send(waits);
            assert!(eventually(|| server.status().waits.len() == 1));
            first.call(serves);
            second.0.set_nonblocking(true).expect("it is open");
            second.receive().expect("it has come");
            second.0.set_nonblocking(false).expect("it is open");
        }
        // It has the lock now.
        std::mem::swap(&mut first, &mut second);
    }
    Ok(())
}

#[test]
fn a_lock_is_held_until_its_holder_is_gone_and_then_by_who_waited() -> Result<()> {
    let server = Server::builder().object("gate", distributed::ObjectType::Lock);
    let server = server.serve("127.0.0.1:0", b"abc")?;
    let address = server.address().to_string();
    let mut holder = Raw::accepted(&address);
    holder.call(&request("gate", "acquire", b""));
    let mut waiter = Raw::accepted(&address);
    waiter.send(&request("gate", "acquire", b""));
    assert!(eventually(|| server.status().waits.len() == 1));
    let status = server.status();
    let (hold, wait) = (&status.holds[0], &status.waits[0]);
    assert_eq!(
        (&*hold.name, &*hold.kind, hold.deliveries),
        ("gate", "Lock", 0)
    );
    assert_eq!((&*wait.name, &*wait.kind), ("gate", "acquire"));
    let port = |raw: &Raw| raw.0.local_addr().expect("it is connected").to_string();
    assert_eq!(hold.client, format!("x at {}", port(&holder)));
    assert_eq!(wait.client, format!("x at {}", port(&waiter)));
    let printed = status.to_string();
    let line = printed.lines().last().expect("it has lines");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((words[0], words[1]), ("gate", "Lock"), "{printed}");
    assert!(
        line.ends_with(&format!("  x at {}", port(&holder))),
        "{printed}"
    );
    drop(holder);
    waiter.receive().expect("it has the lock");
    let status = server.status();
    assert_eq!(status.holds[0].client, format!("x at {}", port(&waiter)));
    assert_eq!(
        (status.holds.len(), status.waits.len()),
        (1, 0),
        "{status:?}"
    );
    Ok(())
}

#[test]
fn of_very_many_the_thousand_are_named_that_are_held_longest() -> Result<()> {
    let server = Server::builder().queue("first").queue("tasks");
    let server = server.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let (first, tasks) = (client.queue::<u32>("first")?, client.queue::<u32>("tasks")?);
    first.put_many(&[0; 20])?;
    let longest = (0..20).map(|_| first.lease()).collect::<Result<Vec<_>>>()?;
    tasks.put_many(&[0; 1500])?;
    let leases = (0..1500)
        .map(|_| tasks.lease())
        .collect::<Result<Vec<_>>>()?;
    let status = server.status();
    assert_eq!(status.holds.len(), 1000);
    assert!(status.holds[..20].iter().all(|hold| hold.name == "first"));
    assert!(status.holds.is_sorted_by(|one, next| one.time >= next.time));
    let of_tasks = status.queues.iter().find(|queue| queue.name == "tasks");
    assert_eq!(of_tasks.map(|queue| queue.leases), Some(1500));
    assert!(of_tasks.and_then(|queue| queue.oldest_lease) < Some(status.holds[0].time));
    drop((longest, leases));
    Ok(())
}
