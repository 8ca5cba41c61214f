//! What clients store has a budget, and the server outlives those who want more.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use distributed::{Client, Error, Queue, QueueOptions, Result, Server};

use support::eventually;
use support::raw::{Raw, request};

mod support;

const MIB: usize = 1 << 20;
/// How long clients of ill will do harm.
const HARM: Duration = Duration::from_secs(5);
/// The budget of the servers here, of which a quarter is for messages under way.
const BUDGET: u64 = 16 << 20;

fn server(tasks: QueueOptions) -> Server {
    let builder = Server::builder().max_memory(BUDGET).factory("Queue");
    let builder = builder.queue(tasks.redeliver(true)).queue("results");
    builder
        .serve("127.0.0.1:0", b"abc")
        .expect("a port is free")
}

fn queue(server: &Server, name: &str) -> Queue<String> {
    let client = Client::connect(server.address(), b"abc");
    let queue = client.and_then(|client| client.queue(name));
    queue.expect("it serves")
}

/// Puts items of a MiB until there is no room; how many.
fn fill(queue: &Queue<String>) -> usize {
    let item = "x".repeat(MIB);
    let mut count = 0;
    loop {
        match queue.try_put(&item) {
            Ok(()) => count += 1,
            Err(Error::Full) => return count,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_queue_that_nobody_empties_is_full_at_its_budget_and_leaves_room_for_others() -> Result<()> {
    let server = server(QueueOptions::new("tasks"));
    let tasks = queue(&server, "tasks");
    let count = fill(&tasks);
    assert!((7..=9).contains(&count), "{count}");
    let status = server.status();
    assert!(status.memory <= status.max_memory, "{status}");
    assert!(status.queues[1].bytes >= (count * MIB) as u64, "{status}");
    // Items of one byte cost their place too.
    let small = "y".to_string();
    while tasks.try_put(&small).is_ok() {}
    assert!(tasks.is_full()?);
    assert!(server.status().memory <= BUDGET);
    queue(&server, "results").put(&"done".to_string())?;
    // It lives, and what was put is there.
    assert_eq!(tasks.get()?.len(), MIB);
    Ok(())
}

#[test]
fn a_put_waits_for_memory_that_becomes_free_in_another_queue() -> Result<()> {
    let server = server(QueueOptions::new("tasks"));
    let (tasks, results) = (queue(&server, "tasks"), queue(&server, "results"));
    fill(&tasks);
    fill(&results);
    assert!(!results.is_empty()?);
    thread::scope(|s| {
        let late = s.spawn(|| queue(&server, "results").put(&"z".repeat(MIB)));
        // What waits to be put is in the bytes of its queue.
        let before = server.status().queues[0].bytes;
        assert!(eventually(
            || server.status().queues[0].bytes > before || late.is_finished()
        ));
        assert!(!late.is_finished());
        tasks.get()?;
        tasks.get()?;
        late.join().expect("no panic")
    })
}

#[test]
fn an_item_that_is_out_on_a_lease_counts_until_it_is_done() -> Result<()> {
    let server = server(QueueOptions::new("tasks"));
    let (master, worker) = (queue(&server, "tasks"), queue(&server, "tasks"));
    fill(&master);
    let leases: Vec<_> = (0..3).map(|_| worker.lease()).collect::<Result<_>>()?;
    assert!(matches!(master.try_put(&"x".repeat(MIB)), Err(Error::Full)));
    for lease in leases {
        lease.done()?;
    }
    master.try_put(&"x".repeat(MIB))
}

#[test]
fn a_result_has_the_room_of_the_task_that_it_ends() {
    let server = server(QueueOptions::new("tasks").max_bytes(BUDGET));
    fill(&queue(&server, "tasks"));
    // As Python's workers do it: by one connection, so the put ends the task.
    let mut worker = Raw::accepted(&server.address().to_string());
    assert!(worker.call(&request("tasks", "get", b"")).len() > MIB);
    let result = [b"X\0\0\x10\0", &vec![b'x'; MIB][..]].concat();
    let reply = worker.call(&request("results", "put_nowait", &result));
    assert!(reply.ends_with(b"Nt."), "{reply:?}");
}

#[test]
fn an_item_that_can_never_fit_is_an_error_that_names_the_limit() {
    let server = server(QueueOptions::new("tasks").max_bytes(100_000));
    let error = queue(&server, "tasks").put(&"x".repeat(200_000));
    let said = error.expect_err("it is too long").to_string();
    assert!(
        said.contains("200") && said.contains("100000") && said.contains("max_bytes"),
        "{said}"
    );
}

#[test]
fn queues_that_calls_make_are_within_the_budget() {
    let builder = Server::builder().max_memory(1 << 20).factory("Queue");
    let server = builder
        .serve("127.0.0.1:0", b"abc")
        .expect("a port is free");
    let address = server.address().to_string();
    let create = b"\x80\x02(NX\x06\0\0\0createX\x05\0\0\0Queue\x85}t.";
    let mut refused = Vec::new();
    for _ in 0..2000 {
        let reply = Raw::connect(&address).call(create);
        if reply.windows(10).any(|part| part == b"#TRACEBACK") {
            refused = reply;
            break;
        }
    }
    let said = String::from_utf8_lossy(&refused);
    assert!(said.contains("no room for a queue"), "{said}");
    assert!(server.status().queues.len() > 500);
}

#[test]
fn the_program_says_how_much_is_stored_and_how_much_may_be() {
    let (_manager, address) = support::manager(&["--queue", "q", "--max-memory", "16M"]);
    let mut raw = Raw::accepted(&address);
    raw.call(&request("q", "put", b"K\x07"));
    let client = Client::connect(&address, b"abc").expect("it listens");
    let status = client.status().expect("it serves");
    assert_eq!(status.max_memory, BUDGET);
    assert!(status.queues[0].bytes > 0);
    let said = status.to_string();
    assert!(said.contains("of 16777216 bytes"), "{said}");
}

/// `(ident, 'put_nowait', (text,), {})` with a text of so many bytes.
fn put_of(len: usize) -> Vec<u8> {
    let head = [b"X", &(len as u32).to_le_bytes()[..]].concat();
    request("tasks", "put_nowait", &[head, vec![b'x'; len]].concat())
}

#[test]
fn items_that_their_clients_do_not_read_are_sent_from_where_they_are_stored() {
    let (manager, address) = support::manager(&["--queue", "tasks", "--max-memory", "256M"]);
    let mut master = Raw::accepted(&address);
    for _ in 0..4 {
        assert!(master.call(&put_of(30 * MIB)).ends_with(b"Nt."));
    }
    let get = request("tasks", "get", b"");
    let clients = [(); 4].map(|()| {
        let mut client = Raw::accepted(&address);
        client.send(&get);
        client
    });
    let all_are_out = || {
        let size = Raw::accepted(&address).call(&request("tasks", "qsize", b""));
        size.ends_with(b"K\0t.")
    };
    assert!(eventually(all_are_out));
    let peak = support::memory(manager.child.id(), "VmHWM") >> 20;
    // 120 MiB are stored, and as the last was put its message was there too.
    assert!(peak < 120 + 80, "{peak} MiB at the peak");
    drop(clients);
}

#[test]
fn long_messages_take_turns_and_one_that_stops_halfway_keeps_nobody_out_who_is_short() {
    // 4 MiB are for messages.
    let server = server(QueueOptions::new("tasks"));
    let address = server.address().to_string();
    let halfway = [(); 3].map(|()| {
        let mut raw = Raw::accepted(&address);
        let put = put_of(2 * MIB);
        raw.0
            .write_all(&(put.len() as u32).to_be_bytes())
            .expect("it is open");
        raw.0
            .write_all(&put[..MIB])
            .expect("the buffers of the system have room");
        raw
    });
    thread::scope(|s| {
        let long = s.spawn(|| Raw::accepted(&address).call(&put_of(3 * MIB)));
        let mut short = Raw::accepted(&address);
        assert!(short.call(&put_of(1000)).ends_with(b"Nt."));
        assert!(!long.is_finished());
        drop(halfway);
        assert!(long.join().expect("no panic").ends_with(b"Nt."));
    });
}

#[test]
fn a_client_that_sends_ahead_and_dies_while_it_waits_takes_no_item() -> Result<()> {
    let server = Server::builder()
        .queue("tasks")
        .serve("127.0.0.1:0", b"abc")?;
    let mut dying = Raw::accepted(&server.address().to_string());
    dying.send(&request("tasks", "get", b""));
    assert!(eventually(|| server.status().queues[0].waiting == 1));
    let _ = dying.0.write_all(&vec![b'x'; 8 * MIB]);
    drop(dying);
    assert!(eventually(|| server.status().queues[0].waiting == 0));
    let tasks = queue(&server, "tasks");
    tasks.put(&"kept".to_string())?;
    assert_eq!(tasks.try_get()?, "kept");
    Ok(())
}

#[test]
fn a_long_message_of_short_values_holds_up_nobody() -> Result<()> {
    let (_manager, address) = support::manager(&["--queue", "tasks", "--max-message", "67108864"]);
    let values = [b"](", &b"K\x07".repeat(7 * MIB)[..], b"e"].concat();
    let put = request("tasks", "put_nowait", &values);
    let mut honest = Raw::accepted(&address);
    let size = request("tasks", "qsize", b"");
    let begin = Instant::now();
    let mut slowest = Duration::ZERO;
    thread::scope(|s| {
        let long = s.spawn(|| Raw::accepted(&address).call(&put));
        while !long.is_finished() {
            let begin = Instant::now();
            honest.call(&size);
            slowest = slowest.max(begin.elapsed());
        }
        let reply = long.join().expect("no panic");
        assert!(reply.ends_with(b"Nt."), "{}", reply.escape_ascii());
    });
    // Where a message is read that nobody else is served meanwhile, it takes most of the time.
    let all = begin.elapsed();
    assert!(slowest < all / 2, "{slowest:?} of {all:?}");
    Ok(())
}

/// What a client of ill will does once, with a connection of its own.
fn harm(address: &str, kind: usize) {
    let get = request("tasks", "get", b"");
    let mut raw = Raw::accepted(address);
    match kind % 5 {
        // Fills the queue.
        0 => while raw.call(&put_of(MIB)).ends_with(b"Nt.") {},
        // Asks and does not read.
        1 => {
            raw.send(&get);
            thread::sleep(Duration::from_millis(200));
        }
        // Takes on a lease, and vanishes.
        2 => {
            raw.send(&request("tasks", "lease", b"\x89"));
            raw.receive();
        }
        // Sends ahead of the replies, until the server takes no more.
        3 => {
            let timeout = Some(Duration::from_millis(200));
            raw.0.set_write_timeout(timeout).expect("it is a time");
            let many = framed(&request("tasks", "qsize", b"")).repeat(1000);
            while raw.0.write_all(&many).is_ok() {}
        }
        // Announces a long message, and stops halfway.
        _ => {
            let put = framed(&put_of(8 * MIB));
            let timeout = Some(Duration::from_millis(200));
            raw.0.set_write_timeout(timeout).expect("it is a time");
            let _ = raw.0.write_all(&put[..4 * MIB]);
            thread::sleep(Duration::from_millis(200));
        }
    }
}

#[test]
fn who_stalls_in_a_long_message_is_cut_off_before_others_give_up_for_want_of_room() -> Result<()> {
    let (_manager, address) = support::manager(&["--queue", "tasks", "--max-memory", "256M"]);
    let long = framed(&put_of(50 * MIB));
    let stalled = Raw::accepted(&address);
    (&stalled.0).write_all(&long[..MIB]).expect("it reads");
    // No room for both.
    let reply = Raw::accepted(&address).call(&put_of(20 * MIB));
    assert!(reply.ends_with(b"Nt."), "{}", reply.escape_ascii());
    Ok(())
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

#[test]
fn twenty_clients_of_ill_will_cost_their_budget_and_an_honest_one_loses_nothing() -> Result<()> {
    let arguments = [
        "--queue",
        "tasks",
        "--queue",
        "honest",
        "--max-memory",
        "256M",
    ];
    let (manager, address) = support::manager(&arguments);
    let end = Instant::now() + HARM;
    let mut times = Vec::new();
    thread::scope(|s| {
        for kind in 0..20 {
            let address = &address;
            s.spawn(move || {
                while Instant::now() < end {
                    harm(address, kind);
                }
            });
        }
        let honest = Client::connect(&address, b"abc")?.queue::<u64>("honest")?;
        for n in 0.. {
            let begin = Instant::now();
            if begin > end {
                return Ok(());
            }
            honest.put(&n)?;
            times.push(begin.elapsed());
            assert_eq!(honest.get_timeout(support::LONG)?, n);
        }
        Result::Ok(())
    })?;
    times.sort_unstable();
    let peak = support::memory(manager.child.id(), "VmHWM") >> 20;
    let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("{peak} MiB at the peak; a put took {median:?}, and {p99:?} one in a hundred");
    assert!(peak < 400, "{peak} MiB at the peak");
    Ok(())
}
