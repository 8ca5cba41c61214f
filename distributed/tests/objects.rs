//! The objects of Python's `SyncManager`, asked by CPython of every version here.

use std::path::Path;
use std::process::Stdio;

use common::program::Program;
use distributed::{Client, Error, ObjectType, QueueOptions, QueueOrder, Result, Server};

use support::{line, python, pythons, run, some_pythons, start};

mod support;

fn server() -> Server {
    let builder = Server::builder().sync_manager();
    builder
        .object_factory("words", ObjectType::Set)
        .serve("127.0.0.1:0", b"abc")
        .expect("a port is free")
}

/// A case of `objects.py` says of our server what it says of CPython's own.
#[track_caller]
fn answers_as_pythons_own_server(case: &str) {
    both_answer("objects.py", case);
}

#[track_caller]
fn both_answer(script: &str, case: &str) {
    for (version, path) in pythons() {
        let said = run(python(&path, script).args(["own", case]));
        assert_eq!(said, "ok\n", "{version}, its own server");
        let server = server();
        let address = server.address().to_string();
        let said = run(python(&path, script).args([&address, case]));
        assert_eq!(said, "ok\n", "{version}");
    }
}

#[test]
fn a_dict_answers_as_pythons_own() {
    answers_as_pythons_own_server("dicts");
}

#[test]
fn a_list_answers_as_pythons_own() {
    answers_as_pythons_own_server("lists");
}

#[test]
fn a_long_answer_comes_as_from_pythons_own() {
    answers_as_pythons_own_server("long_answers");
}

#[test]
fn an_answer_over_the_limit_is_refused_before_it_is_made_and_one_that_is_not_read_counts()
-> Result<()> {
    for (version, path) in some_pythons() {
        let server = Server::builder().sync_manager().max_message(16 << 20);
        let server = server.max_memory(64 << 20).serve("127.0.0.1:0", b"abc")?;
        let address = server.address().to_string();
        let said = run(python(&path, "objects.py").args([&address, "too_long_answers"]));
        assert_eq!(said, "ok\n", "{version}");
    }
    Ok(())
}

#[test]
fn a_set_answers_as_pythons_own() {
    both_answer("sets.py", "sets");
}

#[test]
fn operators_of_sets_answer_as_pythons_own() {
    both_answer("sets.py", "operators");
}

#[test]
fn a_proxy_of_a_set_builds_itself_from_what_the_server_says() {
    both_answer("sets.py", "by_itself");
}

#[test]
fn a_namespace_a_value_and_an_array_answer_as_pythons_own() {
    answers_as_pythons_own_server("values");
}

#[test]
fn locks_and_semaphores_answer_as_pythons_own() {
    answers_as_pythons_own_server("locks");
}

#[test]
fn an_event_answers_as_pythons_own() {
    answers_as_pythons_own_server("events");
}

#[test]
fn a_condition_answers_as_pythons_own() {
    answers_as_pythons_own_server("conditions");
}

#[test]
fn a_barrier_answers_as_pythons_own() {
    answers_as_pythons_own_server("barriers");
}

#[test]
fn queues_of_every_order_answer_as_pythons_own() {
    answers_as_pythons_own_server("queues");
}

#[test]
fn an_item_that_comes_back_has_the_place_that_its_order_gives_it() -> Result<()> {
    let queue = |name: &str, order| QueueOptions::new(name).redeliver(true).order(order);
    let server = Server::builder()
        .queue(queue("least", QueueOrder::Priority))
        .queue(queue("last", QueueOrder::Lifo))
        .serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    for (name, order) in [("least", [0, 1, 1, 2]), ("last", [1, 0, 2, 1])] {
        let queue = client.queue::<(u32, u32)>(name)?;
        queue.put_many(&[(1, 0), (2, 0), (1, 1)])?;
        let lease = queue.lease()?;
        queue.put(&(0, 0))?;
        drop(lease);
        let found = queue.get_many(9, None)?;
        assert_eq!(
            found.iter().map(|(n, _)| *n).collect::<Vec<_>>(),
            order,
            "{name}"
        );
    }
    let least = client.queue::<(u32, u32)>("least")?;
    least.put(&(1, 1))?;
    let words = client.queue::<String>("least")?.put(&"a".to_string());
    assert!(matches!(words, Err(Error::Remote { class, .. }) if class == "TypeError"));
    Ok(())
}

#[test]
fn too_many_and_too_large_objects_are_a_memory_error_and_the_server_goes_on() {
    for (version, path) in pythons() {
        let builder = Server::builder().sync_manager().max_memory(1 << 20);
        let server = builder
            .serve("127.0.0.1:0", b"abc")
            .expect("a port is free");
        let address = server.address().to_string();
        let said = run(python(&path, "sharing.py").args([&address, "fill"]));
        assert_eq!(said, "ok\n", "{version}");
        let status = server.status();
        assert!(status.memory <= status.max_memory, "{version}: {status}");
    }
}

/// One object of each kind that clients open by name.
fn named() -> Server {
    Server::builder()
        .sync_manager()
        .object("lock", ObjectType::Lock)
        .object("table", ObjectType::Dict)
        .object("gate", ObjectType::Barrier(3))
        .object("condition", ObjectType::Condition)
        .serve("127.0.0.1:0", b"abc")
        .expect("a port is free")
}

/// A client of this server that does what a case of the script says.
fn client(path: &Path, script: &str, server: &Server, case: &str) -> Program {
    let address = server.address().to_string();
    start(
        python(path, script)
            .args([&address, case])
            .stderr(Stdio::null()),
    )
}

/// Returns when what the server says of an object has this text in it.
fn watch(path: &Path, server: &Server, name: &str, text: &str) {
    let address = server.address().to_string();
    let said = run(python(path, "objects.py").args([&address, "watch", name, text]));
    assert_eq!(said, "ok\n");
}

#[test]
fn a_lock_keeps_its_holder_when_another_proxy_of_it_goes_away() {
    for (version, path) in pythons() {
        let server = named();
        for case in ["named", "shared_lock"] {
            let said = support::finish(client(&path, "objects.py", &server, case));
            assert_eq!(said, "ok\n", "{version}, {case}");
        }
    }
}

#[test]
fn a_lock_of_a_killed_client_goes_to_the_next_waiter() {
    for (_, path) in pythons() {
        let server = named();
        let mut holder = client(&path, "objects.py", &server, "hold");
        assert_eq!(line(&holder), "held");
        let mut waiter = client(&path, "objects.py", &server, "hold");
        // One that is killed while it waits is passed over.
        let mut dying = client(&path, "objects.py", &server, "hold");
        watch(&path, &server, "lock", "2 waiting");
        dying.kill().expect("it is ours");
        holder.kill().expect("it is ours");
        assert_eq!(line(&waiter), "held");
        waiter.kill().expect("it is ours");
        let last = client(&path, "objects.py", &server, "hold");
        assert_eq!(line(&last), "held");
    }
}

#[test]
fn the_next_holder_can_ask_who_died_with_the_lock() {
    for (version, path) in pythons() {
        let server = named();
        let mut holder = client(&path, "objects.py", &server, "hold");
        assert_eq!(line(&holder), "held");
        let waiter = client(&path, "locks.py", &server, "mend");
        watch(&path, &server, "lock", "1 waiting");
        holder.kill().expect("it is ours");
        let died = line(&waiter);
        assert!(
            died.starts_with("MainProcess at 127.0.0.1:"),
            "{version}: {died}"
        );
        assert_eq!(support::finish(waiter), "ok\n", "{version}");
    }
}

#[test]
fn a_condition_tells_who_died_with_its_lock() {
    for (version, path) in some_pythons() {
        let server = named();
        let mut holder = client(&path, "locks.py", &server, "hold_condition");
        assert_eq!(line(&holder), "held");
        holder.kill().expect("it is ours");
        let next = client(&path, "locks.py", &server, "mend_condition");
        assert_eq!(support::finish(next), "ok\n", "{version}");
    }
}

#[test]
fn a_barrier_breaks_when_a_party_that_waits_is_killed() {
    for (_, path) in some_pythons() {
        let server = named();
        let parties = [(); 2].map(|()| client(&path, "objects.py", &server, "meet"));
        let [mut dying, other] = parties;
        assert_eq!([line(&dying), line(&other)], ["here", "here"]);
        watch(&path, &server, "gate", "2 of 3");
        dying.kill().expect("it is ours");
        let said = line(&other);
        assert!(said.starts_with("broken: a party has left"), "{said}");
    }
}

#[test]
fn a_notification_goes_to_who_is_there() {
    for (_, path) in some_pythons() {
        let server = named();
        let mut dying = client(&path, "objects.py", &server, "wait_for_notice");
        assert_eq!(line(&dying), "waits");
        let other = client(&path, "objects.py", &server, "wait_for_notice");
        assert_eq!(line(&other), "waits");
        dying.kill().expect("it is ours");
        watch(&path, &server, "condition", "1 wait");
        assert_eq!(
            support::finish(client(&path, "objects.py", &server, "notify")),
            "ok\n"
        );
        assert_eq!(line(&other), "notified");
    }
}

#[test]
fn calls_that_wait_end_with_the_server() {
    for (_, path) in some_pythons() {
        let server = named();
        let holder = client(&path, "objects.py", &server, "hold");
        assert_eq!(line(&holder), "held");
        let waiters = ["hold", "meet", "wait_for_notice"]
            .map(|case| client(&path, "objects.py", &server, case));
        watch(&path, &server, "lock", "1 waiting");
        watch(&path, &server, "gate", "1 of 3");
        watch(&path, &server, "condition", "1 wait");
        server.shutdown();
        for waiter in waiters {
            let ended = waiter.finish(std::time::Instant::now() + support::LONG);
            let ended = ended.unwrap_or_else(|why| panic!("{why}"));
            assert!(!ended.status.success(), "{}", ended.out);
        }
    }
}

/// Programs that send proxies in what they put, and keep none.
fn inside() -> Server {
    Server::builder()
        .sync_manager()
        .queue(QueueOptions::new("tasks").redeliver(true).max_deliveries(1))
        .object("table", ObjectType::Dict)
        .serve("127.0.0.1:0", b"abc")
        .expect("a port is free")
}

#[test]
fn a_proxy_inside_an_item_outlives_the_proxies_of_its_sender() {
    for (version, path) in pythons() {
        let server = inside();
        for case in ["send_proxies", "use_proxies", "leave_proxies"] {
            let said = support::finish(client(&path, "sharing.py", &server, case));
            assert_eq!(said, "ok\n", "{version}, {case}");
        }
    }
}

#[test]
fn a_proxy_inside_a_dead_letter_that_is_put_back_is_alive() -> Result<()> {
    for (version, path) in some_pythons() {
        let server = inside();
        let send = client(&path, "sharing.py", &server, "send_proxies");
        assert_eq!(support::finish(send), "ok\n", "{version}");
        let manager = Client::connect(server.address(), b"abc")?;
        // It is given back, and then it is dead.
        let mut worker = client(&path, "sharing.py", &server, "take");
        assert_eq!(line(&worker), "taken", "{version}");
        worker.kill().expect("it is ours");
        assert!(support::eventually(|| {
            let dead = manager.dead_letters("tasks");
            dead.is_ok_and(|dead| dead.len() == 1)
        }));
        assert_eq!(manager.retry_dead("tasks")?, 1);
        let said = support::finish(client(&path, "sharing.py", &server, "use_proxies"));
        assert_eq!(said, "ok\n", "{version}");
    }
    Ok(())
}
