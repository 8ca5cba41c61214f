//! Many clients at once, and clients that write as Python's do.

use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use distributed::{Client, pickle};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::raw::{Raw, request};
use support::{python, run, some_pythons};

mod support;

/// Each connection wants a descriptor on this side too.
fn take_descriptors() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a process may ask");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("up to the hard limit it may");
}

#[test]
fn a_thousand_clients_that_connect_at_one_moment_are_all_served() {
    take_descriptors();
    let (_manager, address) = support::manager(&["--queue", "q"]);
    let start = Barrier::new(1000);
    thread::scope(|s| {
        let (start, address) = (&start, &address);
        let clients: Vec<_> = (0..1000_u32)
            .map(|n| {
                let client = thread::Builder::new().stack_size(128 << 10);
                let client = client.spawn_scoped(s, move || {
                    start.wait();
                    let manager = Client::connect_within(support::LONG, address, b"abc")?;
                    manager.queue::<u32>("q")?.put(&n)
                });
                client.expect("a thread starts")
            })
            .collect();
        for client in clients {
            client.join().expect("no panic").expect("it is served");
        }
    });
    let queue = Client::connect(&address, b"abc").and_then(|manager| manager.queue::<u32>("q"));
    let queue = queue.expect("it serves");
    let mut found = queue.get_many(2000, None).expect("they are all there");
    found.sort_unstable();
    assert!(found.into_iter().eq(0..1000));
}

#[test]
fn two_thousand_idle_connections_cost_little_memory() {
    take_descriptors();
    let (manager, address) = support::manager(&["--queue", "q"]);
    let pid = manager.child.id();
    let before = support::memory(pid, "VmRSS");
    let idle: Vec<Raw> = (0..2000).map(|_| Raw::accepted(&address)).collect();
    let after = support::memory(pid, "VmRSS");
    let size = request("q", "qsize", b"");
    for mut raw in idle {
        assert!(raw.call(&size).ends_with(b"K\0t."));
    }
    let used = after.saturating_sub(before) >> 20;
    assert!(used < 64, "{used} MiB");
    println!(
        "2,000 idle connections: {used} MiB over {} MiB",
        before >> 20
    );
}

#[test]
fn a_client_that_sends_many_calls_at_once_has_no_more_turns_than_another() {
    let (manager, address) = support::manager(&["--queue", "q"]);
    let (mut eager, mut modest) = (Raw::accepted(&address), Raw::accepted(&address));
    let put = |n: u8| request("q", "put", &[b'K', n]);
    // Both have sent all of theirs before it looks.
    let pid = Pid::from_raw(manager.pid());
    kill(pid, Signal::SIGSTOP).expect("it runs");
    (0..60).for_each(|_| eager.send(&put(1)));
    modest.send(&put(2));
    kill(pid, Signal::SIGCONT).expect("it is stopped");
    (0..60).for_each(|_| assert!(eager.receive().is_some()));
    assert!(modest.receive().is_some());
    let queue = Client::connect(&address, b"abc").and_then(|client| client.queue::<u8>("q"));
    let items = queue.and_then(|queue| queue.get_many(61, None));
    let items = items.expect("they are all there");
    let place = items.iter().position(|n| *n == 2).expect("it was put");
    assert!(place < 5, "{place} were before it");
}

#[test]
fn strangers_that_say_nothing_keep_nobody_out() {
    take_descriptors();
    let (_manager, address) = support::manager(&["--queue", "q"]);
    let silent: Vec<TcpStream> = (0..500)
        .map(|_| TcpStream::connect(&address).expect("it listens"))
        .collect();
    assert!(Client::connect(&address, b"abc").is_ok());
    drop(silent);
}

/// CPython writes a header and a long body apart, and two requests in a row on a new connection:
/// with delayed acknowledgements each costs 40 ms, together more than 30 s here.
#[test]
fn clients_of_python_are_not_held_up_by_delayed_acknowledgements() {
    for (version, path) in some_pythons() {
        let (_manager, address) = support::manager(&["--queue", "get_task_queue"]);
        let start = Instant::now();
        let said = run(python(&path, "stall.py").args([&address, "150"]));
        assert!(
            start.elapsed() < Duration::from_secs(15),
            "{version}: {said}"
        );
        print!("CPython {version}: {said}");
    }
}

/// Each would keep its timer for an hour, some hundred bytes, long after its end.
#[test]
fn a_lease_that_is_over_costs_no_memory() {
    let (manager, address) = support::manager(&["--queue", "q"]);
    let mut raw = Raw::accepted(&address);
    let an_hour = [&b"\x88NG"[..], &3600_f64.to_be_bytes()].concat();
    let mut lease = |rounds: u32| {
        for _ in 0..rounds {
            raw.call(&request("q", "put", b"K\x07"));
            let reply = raw.call(&request("q", "lease", &an_hour));
            let leased = pickle::from_slice::<(String, (u64, u8))>(&reply);
            let (_, (lease, _)) = leased.expect("a lease and its item");
            let ack = [&b"\x8a\x08"[..], &lease.to_le_bytes()].concat();
            assert!(raw.call(&request("q", "ack", &ack)).ends_with(b"Nt."));
        }
    };
    lease(1000);
    let pid = manager.child.id();
    let before = support::memory(pid, "VmRSS");
    lease(30_000);
    let used = support::memory(pid, "VmRSS").saturating_sub(before) >> 20;
    assert!(used < 4, "{used} MiB");
}
