//! What strangers, liars and broken programs send.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use distributed::{Client, Server, pickle};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use anything::Anything;
use support::raw::{Raw, request};
use support::{LONG, python, pythons, run, some_pythons};

#[path = "support/anything.rs"]
mod anything;
mod support;

fn server() -> (Server, String) {
    let builder = Server::builder().queue("q").factory("Queue");
    let server = builder
        .serve("127.0.0.1:0", b"abc")
        .expect("a port is free");
    let address = server.address().to_string();
    (server, address)
}

#[test]
fn a_silent_peer_is_dropped_at_the_deadline_of_the_handshake() {
    let builder = Server::builder().handshake_timeout(Duration::from_millis(100));
    let server = builder
        .serve("127.0.0.1:0", b"abc")
        .expect("a port is free");
    let mut silent = TcpStream::connect(server.address().to_string()).expect("it listens");
    silent.set_read_timeout(Some(LONG)).expect("60 s is a time");
    let mut said = Vec::new();
    silent
        .read_to_end(&mut said)
        .expect("the end comes before our own deadline");
    assert!(
        said.starts_with(b"\0\0\0\x3b#CHALLENGE#{sha256}"),
        "{said:?}"
    );
    // One who has the key and then says nothing is no better.
    let mut silent = Raw::connect(&server.address().to_string());
    assert_eq!(silent.receive(), None);
}

#[test]
fn before_the_key_is_proved_a_frame_has_256_bytes_at_most() {
    let (_server, address) = server();
    for announced in [257_u32, 1 << 20, i32::MAX as u32, u32::MAX, 1 << 31] {
        let mut raw = Raw(TcpStream::connect(&address).expect("it listens"));
        raw.0.set_read_timeout(Some(LONG)).expect("60 s is a time");
        raw.receive().expect("a challenge");
        raw.0
            .write_all(&announced.to_be_bytes())
            .expect("it is open");
        // The long form needs its length too.
        let _ = raw.0.write_all(&[0xff; 8]);
        assert_eq!(raw.receive(), None, "{announced}");
    }
}

#[test]
fn an_empty_frame_is_a_farewell_and_the_long_form_of_a_length_is_understood() {
    let (server, address) = server();
    let mut raw = Raw::accepted(&address);
    let body = request("q", "qsize", b"");
    let mut frame = vec![0xff; 4];
    frame.extend((body.len() as u64).to_be_bytes());
    frame.extend(&body);
    // Byte by byte, as a slow network would bring it.
    for byte in frame {
        raw.0.write_all(&[byte]).expect("it is open");
    }
    assert!(raw.receive().expect("an answer").ends_with(b"K\0t."));
    raw.send(b"");
    assert_eq!(raw.receive(), None);
    assert!(support::eventually(|| server.status().connections == 0));
}

#[test]
fn a_client_beyond_those_that_there_may_be_waits_for_a_place() {
    let builder = Server::builder().queue("q").max_connections(2);
    let server = builder
        .serve("127.0.0.1:0", b"abc")
        .expect("a port is free");
    let address = server.address().to_string();
    let both = [Raw::accepted(&address), Raw::accepted(&address)];
    let third = thread::spawn(move || {
        Raw::accepted(&address);
        Instant::now()
    });
    assert!(support::eventually(|| server.status().connections == 3));
    let there_is_room = Instant::now();
    drop(both);
    assert!(third.join().expect("it has a place") > there_is_room);
}

/// A server with a place for one client, for which others wait so long.
fn server_for_one(wait: Duration) -> Server {
    let builder = Server::builder().queue("q").max_connections(1);
    let server = builder.handshake_timeout(wait).serve("127.0.0.1:0", b"abc");
    server.expect("a port is free")
}

#[test]
fn a_client_that_has_time_comes_again_until_there_is_a_place() {
    let server = server_for_one(Duration::from_secs(1));
    let client = Client::connect(server.address(), b"abc").expect("there is a place");
    let patient = client.clone().reconnect_within(LONG);
    let [first, second] =
        [&client, &patient].map(|client| client.queue::<u32>("q").expect("it is there"));
    first.put(&1).expect("there is a place");
    thread::scope(|scope| {
        let put = scope.spawn(|| second.put(&2));
        let is_refused = || server.status().refused.contains_key("full");
        assert!(support::eventually(is_refused));
        drop(first);
        assert!(put.join().expect("it is told").is_ok());
    });
    assert_eq!(
        second.get_many(2, Some(LONG)).expect("both are there"),
        [1, 2]
    );
}

#[test]
fn a_client_in_python_hears_that_there_is_no_place() {
    let server = server_for_one(Duration::from_secs(1));
    let address = server.address().to_string();
    let _only = Raw::accepted(&address);
    for (version, path) in pythons() {
        let said = run(python(&path, "full_server.py").arg(&address));
        assert!(
            said.contains("`max_connections` allows 1"),
            "{version}: {said}"
        );
    }
}

#[test]
fn the_end_of_a_queue_does_not_wait_for_a_place() {
    let server = server_for_one(Duration::from_secs(3600));
    let client = Client::connect(server.address(), b"abc").expect("there is a place");
    let queue = client.queue::<u32>("q").expect("it is there");
    let _only = Raw::accepted(&server.address().to_string());
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || {
        drop(queue);
        let _ = sender.send(());
    });
    assert_eq!(ended.recv_timeout(LONG), Ok(()));
}

#[test]
fn strangers_that_come_fast_and_say_nothing_keep_no_client_out() {
    const CLIENTS: usize = 100;
    let builder = Server::builder().queue("q").max_connections(CLIENTS);
    let server = builder
        .serve("127.0.0.1:0", b"abc")
        .expect("a port is free");
    let address = server.address().to_string();
    // More than there may be, and all of the clients' own address.
    let silent: Vec<_> = (0..1500).map(|_| TcpStream::connect(&address)).collect();
    let clients = (0..CLIENTS).map(|_| Raw::accepted(&address));
    let clients: Vec<Raw> = clients.collect();
    // All of them at the same time, beside those who say nothing.
    assert!(support::eventually(|| server.status().connections > 1000));
    assert_eq!((clients.len(), silent.len()), (CLIENTS, 1500));
}

/// Requests as Python 2.7, 3.7, 3.8 and 3.14 send them, none of which can wait.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = vec![
        // ('q', 'put', ({'a': [1, 2.5, (3,)], 'b': {1, 2}}, ), {}), protocol 4
        b"\x80\x04\x953\0\0\0\0\0\0\0(\x8c\x01q\x94\x8c\x03put\x94}\x94(\x8c\x01a\x94]\x94(K\x01G@\x04\0\0\0\0\0\0K\x03\x85\x94e\x8c\x01b\x94\x8f\x94(K\x01K\x02\x90u\x85\x94}\x94t\x94.".to_vec(),
        // ('q', 'put', (long text,), {}), protocol 3
        b"\x80\x03(X\x01\0\0\0qq\0X\x03\0\0\0putq\x01X\x0c\0\0\0\xc3\xa9\xe5\xa5\xbdtext...q\x02\x85q\x03}q\x04tq\x05.".to_vec(),
        // A set and a timedelta, as protocol 2 writes them.
        b"\x80\x02(U\x01qU\x03putc__builtin__\nset\nq\x01]q\x02(K\x01K\x02e\x85Rq\x03cdatetime\ntimedelta\nK\x03K\x04K\0\x87Rq\x04\x86q\x05\x85}tq\x06.".to_vec(),
        // An instance of a class with state, protocol 4.
        b"\x80\x04(\x8c\x01q\x94\x8c\x03put\x94\x8c\x09fractions\x94\x8c\x08Fraction\x94\x93\x94\x8c\x031/3\x94\x85\x94R\x94}\x94\x8c\x01x\x94K\x01sb\x85\x94}\x94t\x94.".to_vec(),
        // [a, a] with a = [1, a]
        b"\x80\x04(\x8c\x01q\x94\x8c\x08put_many\x94]\x94(]\x94(K\x01h\x03eh\x03e\x85\x94}\x94t\x94.".to_vec(),
    ];
    for (method, arguments) in [
        ("put", &b"J\xff\xff\xff\xffNN"[..]),
        ("put", b"B\x04\0\0\0\x00\xff\n.\x88K\x05"),
        ("put_nowait", b"\x8a\x09\0\0\0\0\0\0\0\0\x01"),
        ("put_many", b"](K\x01X\x01\0\0\0aNe"),
        ("put_and_take", b"K\x01X\x01\0\0\0q"),
        ("get_nowait", b""),
        ("qsize", b""),
        ("task_done", b""),
        ("ack", b"K\x07"),
        ("__repr__", b""),
        ("nothing", b"(((((((ttttttt"),
    ] {
        seeds.push(request("q", method, arguments));
    }
    seeds
}

fn mutated(seed: &[u8], draws: &mut StdRng) -> Vec<u8> {
    let mut body = seed.to_vec();
    for _ in 0..draws.random_range(1..=2) {
        if body.is_empty() {
            break;
        }
        let at = draws.random_range(0..body.len());
        match draws.random_range(0..6) {
            0 => body[at] = draws.random(),
            1 => body[at] ^= 1 << draws.random_range(0..8),
            2 => _ = body.remove(at),
            3 => body.insert(at, draws.random()),
            4 => body.truncate(at),
            _ => {
                let from = draws.random_range(0..=at);
                let piece = body[from..at].to_vec();
                body.splice(at..at, piece);
            }
        }
    }
    if body.is_empty() { vec![b'.'] } else { body }
}

#[test]
fn sixty_thousand_mutated_requests_are_answered_in_step() {
    let (server, address) = server();
    let mut raw = Raw::accepted(&address);
    let size = request("q", "qsize", b"");
    let mut draws = StdRng::seed_from_u64(16);
    let seeds = seeds();
    let mut accepted = 0;
    for round in 0..60_000 {
        let body = mutated(&seeds[round % seeds.len()], &mut draws);
        let reply = raw.call(&body);
        let is_sound = match pickle::from_slice::<Anything>(&reply) {
            Err(pickle::Error::Malformed(error)) => panic!("{error} in the reply to {body:?}"),
            outcome => outcome.is_ok(),
        };
        accepted += u32::from(is_sound && reply.windows(7).any(|part| part == b"#RETURN"));
        if round % 100 == 0 {
            let reply = raw.call(&size);
            assert!(reply.windows(7).any(|part| part == b"#RETURN"), "{reply:?}");
        }
    }
    assert!(
        accepted > 2_000,
        "{accepted} of them were requests nonetheless"
    );
    // Whatever was accepted can be handed out.
    let get = request("q", "get_nowait", b"");
    let full = server.status().queues[0].len;
    for _ in 0..full {
        let reply = raw.call(&get);
        let read = pickle::from_slice::<Anything>(&reply);
        assert!(
            !matches!(read, Err(pickle::Error::Malformed(_))),
            "{reply:?}"
        );
    }
    assert_eq!(server.status().queues[0].len, 0);
}

#[test]
fn no_mutated_item_that_was_accepted_poisons_a_python_consumer() {
    for (version, path) in some_pythons() {
        let (server, address) = server();
        let mut raw = Raw::accepted(&address);
        let mut draws = StdRng::seed_from_u64(7);
        // Of 2.7's own strings, which Python 3 reads as ASCII, none.
        let seeds: Vec<_> = seeds()
            .into_iter()
            .filter(|seed| !seed.contains(&b'U'))
            .collect();
        for round in 0..20_000 {
            raw.call(&mutated(&seeds[round % seeds.len()], &mut draws));
        }
        let put = server.status().queues[0].len;
        assert!(put > 300, "{put}");
        let said = run(python(&path, "drain.py").args([&address, "q"]));
        assert_eq!(said, format!("{put}\n"), "{version}");
    }
}

#[test]
fn a_pickle_that_would_run_code_runs_none() {
    let (_server, address) = server();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("ran");
    let command = format!("touch {}", file.display());
    let mut exploit = b"cos\nsystem\n(X".to_vec();
    exploit.extend((command.len() as u32).to_le_bytes());
    exploit.extend(command.bytes());
    exploit.extend(b"tR");
    let whole = [b"\x80\x02", &exploit[..], b"."].concat();
    // In place of a request, to the manager and to a queue, and as an item.
    assert!(
        Raw::connect(&address)
            .call(&whole)
            .windows(10)
            .any(|part| part == b"#TRACEBACK")
    );
    let mut raw = Raw::accepted(&address);
    raw.call(&whole);
    let reply = raw.call(&request("q", "put", &exploit));
    assert!(
        reply.ends_with(b"Nt."),
        "it is an item like any other: {reply:?}"
    );
    let queue = Client::connect(&address, b"abc").and_then(|manager| manager.queue::<String>("q"));
    let error = queue
        .and_then(|queue| queue.get())
        .expect_err("it is no text");
    let said = error.to_string();
    assert!(said.contains("os.system"), "{said}");
    assert!(!file.exists());
}

#[test]
fn bombs_cost_bounded_memory_and_the_stream_stays_in_step() {
    const LEN: usize = 60 << 20;
    let limit = (64 << 20).to_string();
    let (manager, address) = support::manager(&["--queue", "q", "--max-message", &limit]);
    let mut raw = Raw::accepted(&address);
    let size = request("q", "qsize", b"");
    let filled = |code: &[u8], len: usize| {
        let body: Vec<u8> = code.iter().copied().cycle().take(len).collect();
        [b"\x80\x04", &body[..]].concat()
    };
    let bombs = [
        ("lists in lists", filled(b"]", LEN)),
        ("marks", filled(b"(", LEN)),
        ("values", filled(b"N", LEN)),
        (
            "memo entries",
            [b"\x80\x04N", &filled(b"\x94", LEN)[..]].concat(),
        ),
        ("tuples in tuples", filled(b")\x85", LEN)),
        (
            "a memo index beyond all",
            b"\x80\x02Nr\xff\xff\xff\x7f.".to_vec(),
        ),
        (
            "a length beyond its end",
            b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.".to_vec(),
        ),
        ("a message over the limit", filled(b"N", 70 << 20)),
        // One long item, mentioned again and again, would be copied to each of them.
        ("items that share", {
            let long = [b"](X\0\0\x10\0", &vec![b'x'; 1 << 20][..], b"\x94"].concat();
            request(
                "q",
                "put_many",
                &[&long[..], &b"h\0".repeat(1000), b"e"].concat(),
            )
        }),
    ];
    for (what, bomb) in bombs {
        let reply = raw.call(&bomb);
        assert!(!reply.windows(7).any(|part| part == b"#RETURN"), "{what}");
        assert!(raw.call(&size).ends_with(b"K\0t."), "{what}");
    }
    // An announcement alone costs nothing.
    let mut announced = Raw::accepted(&address);
    announced
        .0
        .write_all(&(64_u32 << 20).to_be_bytes())
        .expect("it is open");
    let peak = support::memory(manager.child.id(), "VmHWM") >> 20;
    assert!(peak < 1024, "{peak} MiB at the peak");
}

#[test]
fn nesting_without_end_is_an_item_and_no_stack_overflow() {
    let (_server, address) = server();
    let mut raw = Raw::accepted(&address);
    let deep = [&b"]".repeat(1_000_000)[..], &b"a".repeat(999_999)].concat();
    assert!(raw.call(&request("q", "put", &deep)).ends_with(b"Nt."));
    let reply = raw.call(&request("q", "get", b""));
    assert!(reply.len() > 2_000_000);
    let error = pickle::from_slice::<Anything>(&reply)
        .err()
        .expect("Rust values nest by recursion");
    assert!(error.to_string().contains("128"), "{error}");
    // Lists that double 60 times: short as a pickle, without end as a value.
    let mut code = b"\x80\x02(]q\0".to_vec();
    for n in 0..60_u8 {
        code.extend([b']', b'q', n + 1, b'(', b'h', n, b'h', n, b'e']);
    }
    code.extend(b"t.");
    let error = pickle::from_slice::<Anything>(&code)
        .err()
        .expect("it has no end");
    assert!(error.to_string().contains("more than"), "{error}");
}

#[test]
fn an_item_at_the_end_of_a_long_chain_is_taken_out_in_time() {
    const LEN: u32 = 300_000;
    let (server, address) = server();
    let mut raw = Raw::accepted(&address);
    // A list of [], [the one before], [the one before], …; and the last of them as another item,
    // which must take all of the others along.
    let mut items = b"](]r\0\0\0\0".to_vec();
    for n in 1..LEN {
        items.extend(b"]j");
        items.extend((n - 1).to_le_bytes());
        items.extend(b"ar");
        items.extend(n.to_le_bytes());
    }
    items.push(b'e');
    let chain = [&b"]("[..], &items, b"j", &(LEN - 1).to_le_bytes(), b"e"].concat();
    let reply = raw.call(&request("q", "put_many", &chain));
    assert!(reply.ends_with(b"Nt."), "{reply:?}");
    assert_eq!(server.status().queues[0].len, 2);
}

#[test]
fn md5_is_refused_where_sha256_is_required_and_the_log_names_ten_of_those_refused() {
    let mut command = Command::new(cargo_bin("manager"));
    command.args(["--bind", "127.0.0.1:0", "--queue", "q", "--require-sha256"]);
    command
        .env("MANAGER_AUTHKEY", "abc")
        .env("RUST_LOG", "info");
    let mut manager = support::start(command.stderr(Stdio::piped()));
    let address = support::line(&manager);
    for (version, path) in pythons() {
        let mut client = python(&path, "count.py");
        let client = client.arg(&address).output().expect("it runs");
        let numbers = version
            .split('.')
            .filter_map(|part| part.parse::<u32>().ok());
        let is_new = numbers.collect::<Vec<_>>() >= vec![3, 12];
        assert_eq!(client.status.success(), is_new, "{version}");
    }
    assert!(Client::connect_sha256(&address, b"abc").is_ok());
    for _ in 0..100 {
        let mut raw = Raw(TcpStream::connect(&address).expect("it listens"));
        raw.receive().expect("a challenge");
        raw.send(b"neither of this protocol nor of the key");
        while raw.receive().is_some() {}
    }
    manager.kill().expect("it is ours");
    let finished = manager.finish(Instant::now() + LONG);
    let log = finished.expect("it ends").err;
    let named = log
        .lines()
        .filter(|line| line.contains("a peer is refused"));
    let named: Vec<&str> = named.collect();
    // Ten in ten seconds, and it may have taken longer than that.
    assert!((10..=60).contains(&named.len()), "{log}");
    assert!(
        named.iter().all(|line| line.contains("peer=127.0.0.1:")),
        "{log}"
    );
}
