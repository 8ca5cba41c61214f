//! Objects that a manager shares, called from Rust: of ours, and of CPython's own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, mem, thread};

use distributed::{Builder, Client, Error, ObjectType, Proxy, QueueOrder, Result, Server};

use support::{LONG, eventually, line, python, run, some_pythons, start};

mod support;

/// The class of the exception, with which a call ends.
#[track_caller]
fn class<T>(called: Result<T>) -> String {
    match called.err() {
        Some(Error::Remote { class, .. }) => class,
        error => panic!("{error:?}"),
    }
}

fn builder() -> Builder {
    let builder = Server::builder().sync_manager();
    builder.object("gate", ObjectType::Lock)
}

/// Does the same with our server and with CPython's own.
fn with_each_server(test: impl Fn(&Client, &str) -> Result<()>) -> Result<()> {
    let ours = builder().serve("127.0.0.1:0", b"abc")?;
    test(
        &Client::connect(ours.address(), b"abc")?,
        &ours.address().to_string(),
    )?;
    for (version, path) in some_pythons() {
        let mut command = python(&path, "object_server.py");
        let server = start(command.stdin(Stdio::piped()));
        let address = line(&server);
        let tested = test(&Client::connect(&address, b"abc")?, &address);
        tested.unwrap_or_else(|error| panic!("{version}: {error}"));
    }
    Ok(())
}

#[test]
fn what_holds_values_answers_on_every_server() -> Result<()> {
    with_each_server(|client, _| {
        let counts = client.proxy("dict", ([("a", 1), ("b", 2)],))?;
        counts.call::<()>("__setitem__", ("c", 3))?;
        let all: BTreeMap<String, i64> = counts.call("copy", ())?;
        assert_eq!(all.values().copied().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(counts.call::<Option<i64>>("get", ("d",))?, None);
        assert_eq!(class(counts.call::<i64>("__getitem__", ("d",))), "KeyError");

        let list = client.proxy("list", (vec![3, 1],))?;
        list.call::<()>("append", (2,))?;
        list.call::<()>("sort", ())?;
        assert_eq!(list.call::<i64>("pop", (0,))?, 1);
        assert_eq!(list.call::<i64>("__len__", ())?, 2);

        let value = client.proxy("Value", ("i", 7))?;
        value.call::<()>("set", (8,))?;
        assert_eq!(value.call::<u8>("get", ())?, 8);
        let array = client.proxy("Array", ("d", [1.5, 2.5]))?;
        assert_eq!(array.call::<f64>("__getitem__", (1,))?, 2.5);

        let namespace = client.proxy("Namespace", ())?;
        namespace.call::<()>("__setattr__", ("name", "Bob"))?;
        assert_eq!(
            namespace.call::<String>("__getattribute__", ("name",))?,
            "Bob"
        );

        let queue = client.proxy("Queue", (1,))?;
        queue.call::<()>("put", ("task",))?;
        assert!(matches!(
            queue.call::<()>("put", ("more", false)),
            Err(Error::Full)
        ));
        assert_eq!(queue.call::<String>("get", ())?, "task");
        assert!(matches!(
            queue.call::<String>("get", (false,)),
            Err(Error::Empty)
        ));
        Ok(())
    })
}

#[test]
fn locks_are_held_by_a_proxy_until_its_guard_goes() -> Result<()> {
    with_each_server(|client, _| {
        for kind in [
            "Lock",
            "RLock",
            "Semaphore",
            "BoundedSemaphore",
            "Condition",
        ] {
            let lock = client.proxy(kind, ())?;
            let other = lock.try_clone()?;
            let held = lock.acquire()?;
            assert!(other.acquire_timeout(Duration::ZERO)?.is_none(), "{kind}");
            let in_time = other.acquire_timeout(Duration::from_millis(5))?.is_some();
            assert!(!in_time, "{kind}");
            drop(held);
            let held = other.acquire_timeout(Duration::MAX)?.expect(kind);
            held.release()?;
            let waiter = thread::spawn(move || other.acquire().map(drop));
            lock.acquire()?.release()?;
            waiter.join().expect("it does not panic")?;
        }
        Ok(())
    })
}

#[test]
fn proxies_in_threads_wait_for_one_another() -> Result<()> {
    with_each_server(|client, _| {
        let barrier = client.proxy("Barrier", (3,))?;
        let event = client.proxy("Event", ())?;
        let parties = (0..3).map(|_| {
            let (barrier, event) = (barrier.try_clone()?, event.try_clone()?);
            Ok(thread::spawn(move || -> Result<u32> {
                event.call::<bool>("wait", (60,))?;
                barrier.call("wait", ())
            }))
        });
        let parties: Vec<_> = parties.collect::<Result<_>>()?;
        event.call::<()>("set", ())?;
        let places = parties
            .into_iter()
            .map(|party| party.join().expect("it does not panic"));
        let places: BTreeSet<u32> = places.collect::<Result<_>>()?;
        assert_eq!(places, BTreeSet::from([0, 1, 2]));
        Ok(())
    })
}

#[test]
fn one_waits_in_a_condition_and_is_notified() -> Result<()> {
    with_each_server(|client, _| {
        let condition = client.proxy("Condition", ())?;
        let waits = condition.try_clone()?;
        let held = waits.acquire()?;
        let notifier = thread::spawn(move || -> Result<()> {
            // It gets the lock once the other waits.
            let _held = condition.acquire()?;
            condition.call("notify", ())
        });
        assert!(waits.call::<bool>("wait", (60,))?);
        held.release()?;
        notifier.join().expect("it does not panic")
    })
}

#[test]
fn an_object_of_a_class_of_pythons_is_called_and_what_is_not_there_is_told() -> Result<()> {
    with_each_server(|client, _| {
        // Ours, which tells its status, has no such class.
        if client.status().is_err() {
            let account = client.proxy("Account", ())?;
            assert_eq!(account.call::<i64>("deposit", (4,))?, 7);
            assert_eq!(account.methods().collect::<Vec<_>>(), ["copy", "deposit"]);
        }
        let event = client.proxy("Event", ())?;
        assert!(event.methods().any(|method| method == "is_set"));
        assert!(matches!(
            event.call::<()>("explode", ()),
            Err(Error::Remote { .. })
        ));
        assert!(matches!(
            client.proxy("nothing", ()),
            Err(Error::Remote { .. })
        ));
        assert!(matches!(
            client.proxy("dict", (7,)),
            Err(Error::Remote { .. })
        ));
        let wrong = event
            .call::<String>("is_set", ())
            .expect_err("it is a bool");
        assert!(matches!(wrong, Error::Item { .. }), "{wrong}");
        let no_lock = event.acquire().expect_err("it is no lock").to_string();
        assert!(no_lock.contains("no method `acquire`"), "{no_lock}");
        // It goes on after each of them.
        assert!(!event.call::<bool>("is_set", ())?);
        Ok(())
    })
}

#[test]
fn an_answer_that_is_a_proxy_is_refused_and_costs_no_object() -> Result<()> {
    let check = |address: &str, path: &Path, name: &str, method: &str| -> Result<()> {
        let client = Client::connect(address, b"abc")?;
        let object = client.proxy(name, ())?;
        let count = || run(python(path, "count.py").arg(address));
        let before = count();
        for _ in 0..5 {
            let error = object.call::<()>(method, ()).expect_err("it is a proxy");
            assert!(error.to_string().contains("another proxy"), "{error}");
        }
        assert_eq!(count(), before);
        Ok(())
    };
    for (_, path) in some_pythons() {
        let ours = builder().serve("127.0.0.1:0", b"abc")?;
        check(&ours.address().to_string(), &path, "dict", "__iter__")?;
        let server = start(python(&path, "object_server.py").stdin(Stdio::piped()));
        check(&line(&server), &path, "Copied", "copy")?;
    }
    Ok(())
}

/// Passes on what clients and a server say, until it is cut.
struct Relay {
    address: String,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    fn start(server: String) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let streams = Arc::<Mutex<Vec<TcpStream>>>::default();
        let kept = Arc::clone(&streams);
        thread::spawn(move || {
            for client in listener.incoming() {
                let pair = [client, TcpStream::connect(&server)];
                let [client, server] = pair.map(|stream| stream.expect("it is there"));
                let copy = |from: &TcpStream, to: &TcpStream| {
                    let twin = |stream: &TcpStream| stream.try_clone().expect("there is room");
                    let (mut from, mut to) = (twin(from), twin(to));
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                };
                copy(&client, &server);
                copy(&server, &client);
                kept.lock().unwrap().extend([client, server]);
            }
        });
        Relay { address, streams }
    }

    /// Ends all connections that there are. There may be others after it.
    fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[test]
fn a_guard_whose_connection_is_cut_frees_its_lock_on_every_server() -> Result<()> {
    with_each_server(|client, address| {
        let relay = Relay::start(address.to_string());
        let cut_off = Client::connect(&relay.address, b"abc")?;
        let (lock, other) = (cut_off.proxy("gate", ())?, client.proxy("gate", ())?);
        let held = lock.acquire()?;
        relay.cut();
        assert!(lock.call::<bool>("locked", ()).is_err());
        drop(held);
        assert!(other.acquire_timeout(LONG)?.is_some());
        Ok(())
    })
}

#[test]
fn what_a_proxy_says_is_not_there_is_told_apart() -> Result<()> {
    with_each_server(|client, _| {
        let counts = client.proxy("dict", ())?;
        for (called, name) in [
            (counts.call::<i64>("__getitem__", ("a",)), "KeyError"),
            (counts.call("__getitem__", (5,)), "KeyError"),
            (counts.call("explode", ()), "AttributeError"),
        ] {
            let error = called.expect_err("it is not there").to_string();
            assert!(error.contains(name), "{error}");
            assert!(!error.ends_with(": "), "{error}");
        }
        counts.call::<()>("__setitem__", (5, "five"))?;
        assert_eq!(counts.call::<Vec<u8>>("keys", ())?, [5]);
        Ok(())
    })
}

#[test]
fn an_object_of_a_server_of_pythons_that_was_started_anew_is_gone_and_says_so() -> Result<()> {
    for (_, path) in some_pythons() {
        let first = start(python(&path, "object_server.py").stdin(Stdio::piped()));
        let address = line(&first);
        let event = Client::connect(&address, b"abc")?.proxy("Event", ())?;
        drop(first);
        let mut second = python(&path, "object_server.py");
        let second = start(second.arg(&address).stdin(Stdio::piped()));
        line(&second);
        assert!(event.call::<bool>("is_set", ()).is_err());
        let error = event.call::<bool>("is_set", ()).expect_err("it is another");
        assert!(error.to_string().contains("the object is gone"), "{error}");
    }
    Ok(())
}

#[test]
fn no_debug_text_shows_the_key() -> Result<()> {
    let server = builder().serve("127.0.0.1:0", b"WQXZ")?;
    let client = Client::connect(server.address(), b"WQXZ")?;
    let gate = client.proxy("gate", ())?;
    let held = gate.acquire()?;
    let queue = client.proxy("Queue", ())?;
    let tasks = client.queue::<u32>("Queue")?;
    let text = format!("{server:?} {client:?} {gate:?} {held:?} {queue:?} {tasks:?}");
    let bytes = "87, 81, 88, 90";
    assert!(!text.contains("WQXZ") && !text.contains(bytes), "{text}");
    Ok(())
}

#[test]
fn arguments_that_are_no_tuple_are_refused_before_they_are_sent() -> Result<()> {
    let server = builder().serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let list = client.proxy("list", ())?;
    for refused in [
        list.call::<()>("append", 3),
        list.call("append", "three"),
        list.call("append", vec![3]),
        client.proxy("list", [(); 0].as_slice()).map(drop),
    ] {
        let error = refused.expect_err("it is no tuple");
        assert!(
            error.to_string().contains("arguments are a tuple"),
            "{error}"
        );
    }
    assert_eq!(list.call::<usize>("__len__", ())?, 0);
    // An array is one, and so is a struct that is.
    list.call::<()>("append", [3])?;
    assert_eq!(list.call::<usize>("__len__", ())?, 1);
    Ok(())
}

#[test]
fn what_is_there_takes_no_arguments() -> Result<()> {
    with_each_server(|client, _| {
        assert_eq!(class(client.proxy("gate", (1,))), "TypeError");
        let gate = client.proxy("gate", ())?;
        gate.acquire()?.release()
    })
}

#[test]
fn an_object_of_arguments_over_the_limit_is_refused_with_the_limit() -> Result<()> {
    let server = builder().max_message(1 << 16);
    let server = server.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    for length in [65_600, 10_000_000] {
        let error = client.proxy("list", (vec!["x".repeat(length)],));
        let text = error.expect_err("it is too long").to_string();
        assert!(text.contains("ValueError: a message of "), "{text}");
        assert!(text.contains("over the limit of 65536"), "{text}");
    }
    Ok(())
}

#[test]
fn who_holds_a_lock_and_dies_leaves_it_free_and_is_named() -> Result<()> {
    let server = builder().serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let dying = client.proxy("gate", ())?;
    mem::forget(dying.acquire()?);
    let gate = client.proxy("gate", ())?;
    assert!(gate.acquire_timeout(Duration::ZERO)?.is_none());
    drop(dying);
    let held = gate.acquire_timeout(LONG)?.expect("it is free");
    let died: Option<String> = gate.call("owner_died", ())?;
    let died = died.expect("its holder has died");
    assert!(
        died.contains(&format!("[{}] at 127.0.0.1:", std::process::id())),
        "{died}"
    );
    gate.call::<()>("clear_owner_died", ())?;
    assert_eq!(gate.call::<Option<String>>("owner_died", ())?, None);
    held.release()
}

/// A server that is shut down and started again, at the same place.
fn restarted(server: Server) -> Result<Server> {
    let address = server.address();
    server.shutdown();
    builder().serve(address, b"abc")
}

#[test]
fn a_guard_whose_connection_was_lost_releases_nothing_that_another_holds() -> Result<()> {
    let server = builder().serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let (gate, other) = (client.proxy("gate", ())?, client.proxy("gate", ())?);
    let lost = gate.acquire()?;
    let server = restarted(server)?;
    // The first call says so, and the next one has a connection again.
    assert!(gate.call::<bool>("locked", ()).is_err());
    let _held = other.acquire().or_else(|_| other.acquire())?;
    assert!(gate.acquire_timeout(Duration::ZERO)?.is_none());
    assert!(matches!(lost.release(), Err(Error::Closed { .. })));
    assert!(gate.acquire_timeout(Duration::ZERO)?.is_none());
    drop(server);
    Ok(())
}

#[test]
fn what_was_made_ends_with_its_last_proxy() -> Result<()> {
    let server = builder().queue_factory("jobs", QueueOrder::Lifo);
    let server = server.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let jobs = client.proxy("jobs", ())?;
    let other = jobs.try_clone()?;
    jobs.call::<()>("put", (3,))?;
    drop(jobs);
    assert_eq!(other.call::<i64>("get", ())?, 3);
    drop(other);
    assert!(eventually(|| server.status().queues.is_empty()));
    Ok(())
}

#[test]
fn python_and_rust_share_what_either_puts() -> Result<()> {
    let builder = builder().object("settings", ObjectType::Dict);
    let server = builder.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let settings: Proxy = client.proxy("settings", ())?;
    for (version, path) in some_pythons() {
        settings.call::<()>("__setitem__", ("from Rust", ("é", [1, 2], 0.5)))?;
        let said = run(python(&path, "settings.py").arg(server.address().to_string()));
        assert_eq!(said, "('é', (1, 2), 0.5)\n", "{version}");
        let said: (String, Vec<u8>, Option<bool>) = settings.call("pop", ("from Python",))?;
        assert_eq!(said, ("ü".to_string(), vec![3, 4], None), "{version}");
    }
    Ok(())
}
