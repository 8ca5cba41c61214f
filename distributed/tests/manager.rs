//! Servers and clients, through the public surface and through the programs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};
use std::{process, thread};

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use common::program::Program;
use distributed::{Client, Error, Result, Server, pickle};

const LONG: Duration = Duration::from_secs(20);

fn server() -> (Server, Client) {
    let queues = Server::builder()
        .queue("get_task_queue")
        .queue("get_result_queue");
    let server = queues.serve("127.0.0.1:0", b"abc").expect("a port is free");
    let client = Client::connect(server.address(), b"abc").expect("it listens");
    (server, client)
}

fn program(name: &str) -> Command {
    let mut program = Command::new(cargo_bin(name));
    program.env("PACE", "0").timeout(3 * LONG);
    program
}

/// A worker that is killed with the test.
fn worker(arguments: &[&str]) -> Program {
    let mut command = process::Command::new(cargo_bin("task_worker"));
    Program::start(command.args(arguments).env("PACE", "0")).expect("the worker starts")
}

/// What a failing program says, which must be one line.
fn failure(program: &mut Command) -> String {
    let output = program.assert().code(1).get_output().clone();
    let said = String::from_utf8(output.stderr).expect("it says text");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn items_come_out_in_the_order_in_which_they_went_in() -> Result<()> {
    let (_server, client) = server();
    let [writer, reader] = [
        client.queue("get_task_queue")?,
        client.queue("get_task_queue")?,
    ];
    for n in 0..100u64 {
        writer.put(&(n, "é\n\"".repeat(n as usize)))?;
    }
    assert_eq!(reader.len()?, 100);
    for n in 0..100 {
        assert_eq!(reader.get()?, (n, "é\n\"".repeat(n as usize)));
    }
    assert!(reader.is_empty()?);
    Ok(())
}

#[test]
fn many_clients_get_every_item_once() -> Result<()> {
    let (_server, client) = server();
    let mut found: Vec<u32> = thread::scope(|s| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                s.spawn(|| -> Result<Vec<u32>> {
                    let queue = client.queue("get_task_queue")?;
                    (0..250).map(|_| queue.get_timeout(LONG)).collect()
                })
            })
            .collect();
        for writer in 0..4 {
            let client = &client;
            s.spawn(move || -> Result<()> {
                let queue = client.queue("get_task_queue")?;
                (0..250).try_for_each(|n| queue.put(&(250 * writer + n)))
            });
        }
        let found = readers
            .into_iter()
            .map(|reader| reader.join().expect("no panic"));
        found.collect::<Result<Vec<_>>>()
    })?
    .concat();
    found.sort_unstable();
    assert!(found.into_iter().eq(0..1000));
    Ok(())
}

#[test]
fn an_item_of_many_megabytes_passes_and_one_over_the_limit_is_refused() -> Result<()> {
    let builder = Server::builder().queue("get_task_queue");
    let server = builder
        .max_message(128 << 20)
        .serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let queue = client.queue::<String>("get_task_queue")?;
    queue.put(&"x".repeat(100 << 20))?;
    assert_eq!(queue.get()?.len(), 100 << 20);
    let refused = queue
        .put(&"x".repeat(129 << 20))
        .expect_err("128 MiB is the limit");
    let said = refused.to_string();
    assert!(said.contains("over the limit of 134217728"), "{said}");
    // The connection stays in step, and of use.
    queue.put(&"small".to_string())?;
    assert_eq!(queue.get()?, "small");
    Ok(())
}

#[test]
fn an_item_of_another_type_is_an_error_that_holds_it() -> Result<()> {
    let (_server, client) = server();
    client.queue("get_task_queue")?.put(&"text".to_string())?;
    let numbers = client.queue::<u32>("get_task_queue")?;
    let Err(Error::Item { pickle, .. }) = numbers.try_get() else {
        panic!("text is no number");
    };
    assert_eq!(
        pickle::from_slice::<String>(&pickle).ok().as_deref(),
        Some("text")
    );
    Ok(())
}

#[test]
fn nothing_in_time_is_empty() -> Result<()> {
    let (_server, client) = server();
    let queue = client.queue::<u32>("get_task_queue")?;
    let start = Instant::now();
    let wait = Duration::from_millis(120);
    assert!(matches!(queue.get_timeout(wait), Err(Error::Empty)));
    assert!(start.elapsed() >= wait);
    assert!(matches!(queue.try_get(), Err(Error::Empty)));
    queue.put(&7)?;
    assert_eq!(queue.get_timeout(Duration::MAX)?, 7);
    Ok(())
}

#[test]
fn a_wrong_key_an_empty_key_and_an_unknown_queue_are_refused() {
    let (server, client) = server();
    let wrong = Client::connect(server.address(), b"abd").err();
    let address = server.address().to_string();
    assert!(
        matches!(&wrong, Some(Error::Auth { address: at }) if *at == address),
        "{wrong:?}"
    );
    let empty = Client::connect(server.address(), b"").err();
    assert!(matches!(empty, Some(Error::EmptyKey)), "{empty:?}");
    let empty = Server::builder().serve("127.0.0.1:0", b"").err();
    assert!(matches!(empty, Some(Error::EmptyKey)), "{empty:?}");
    let unknown = client
        .queue::<u32>("tasks")
        .expect_err("there is none")
        .to_string();
    assert!(
        unknown.contains("get_result_queue, get_task_queue"),
        "{unknown}"
    );
}

#[test]
fn a_server_of_any_number_of_connections_serves() -> Result<()> {
    let builder = Server::builder().queue("q").max_connections(usize::MAX);
    let server = builder.serve("127.0.0.1:0", b"abc")?;
    let queue = Client::connect(server.address(), b"abc")?.queue("q")?;
    queue.put(&7)?;
    assert_eq!(queue.get()?, 7);
    Ok(())
}

#[test]
fn a_taken_port_is_an_error_within_an_async_program_too() {
    let (server, _client) = server();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let again = runtime.block_on(async { Server::builder().serve(server.address(), b"abc") });
    assert!(matches!(again, Err(Error::Io { .. })), "{again:?}");
}

#[test]
fn the_status_of_a_queue_with_a_long_name_can_be_printed() -> Result<()> {
    let name = "q".repeat(70_000);
    let server = Server::builder()
        .queue(name.as_str())
        .serve("127.0.0.1:0", b"abc")?;
    assert!(server.status().to_string().contains(&name));
    Ok(())
}

#[test]
fn garbage_does_not_hurt_the_server() -> Result<()> {
    let (server, client) = server();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 4096],
        &[0, 0, 0, 64, 1, 2, 3],
        &[0; 4],
        &[0, 0, 1, 1],
        b"",
    ] {
        let mut stream = TcpStream::connect(server.address().to_string()).expect("it listens");
        stream.set_read_timeout(Some(LONG)).expect("20 s is a time");
        // The server may close before it has read everything.
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let end = stream.read_to_end(&mut Vec::new());
        let hung = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!hung, "{garbage:?}");
        let queue = client.queue::<u32>("get_task_queue")?;
        queue.put(&1)?;
        assert_eq!(queue.get()?, 1);
    }
    Ok(())
}

#[test]
fn a_shutdown_ends_a_waiting_get_and_frees_the_port() -> Result<()> {
    let (server, client) = server();
    let address = server.address().to_string();
    let queue = client.queue::<u32>("get_task_queue")?;
    // One that has not even begun its handshake must not hold up the end.
    let silent = TcpStream::connect(&address).expect("it listens");
    let idle = client.queue::<u32>("get_result_queue")?;
    assert!(idle.is_empty()?);
    let waiting = thread::spawn(move || queue.get());
    while server.status().queues[1].waiting == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    server.shutdown();
    drop(TcpListener::bind(&address).expect("the port is free"));
    let end = waiting.join().expect("no panic");
    assert!(matches!(end, Err(Error::ShutDown { .. })), "{end:?}");
    // One that asked for nothing meanwhile is told with its next call.
    let told = idle.len();
    let is_there = |at: &String| *at == address;
    assert!(
        matches!(&told, Err(Error::ShutDown { address }) if is_there(address)),
        "{told:?}"
    );
    let late = client.queue::<u32>("get_task_queue").err();
    assert!(
        matches!(&late, Some(Error::Closed { address }) if is_there(address)),
        "{late:?}"
    );
    drop(silent);
    Ok(())
}

#[test]
fn a_client_killed_in_get_takes_nothing_with_it() -> Result<()> {
    let (server, client) = server();
    let tasks = client.queue::<i32>("get_task_queue")?;
    let results = client.queue::<String>("get_result_queue")?;
    for _ in 0..10 {
        let mut worker = worker(&[&server.address().to_string(), "--idle", "60"]);
        let result = tasks.put(&34).and_then(|()| results.get_timeout(LONG));
        worker.kill().expect("it is ours");
        assert_eq!(result?, "34 * 34 = 1156");
        tasks.put(&1)?;
        tasks.put(&2)?;
        assert_eq!([tasks.get_timeout(LONG)?, tasks.get_timeout(LONG)?], [1, 2]);
    }
    Ok(())
}

#[test]
fn a_worker_may_be_started_before_its_master() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = free.local_addr().expect("it is bound").to_string();
    drop(free);
    let worker = worker(&[&address]);
    let deadline = Instant::now() + 3 * LONG;
    let first = worker.line(deadline).expect("a line");
    assert_eq!(first, "Connect to server 127.0.0.1...");
    let master = program("task_master")
        .args(["--bind", &address])
        .assert()
        .success();
    let printed = String::from_utf8_lossy(&master.get_output().stdout).into_owned();
    assert_eq!(printed.matches("Result: ").count(), 10, "{printed}");
    let finished = worker.finish(deadline).expect("it ends");
    assert_eq!(finished.out.lines().last(), Some("worker exit."));
    assert!(finished.status.success());
}

#[test]
fn a_worker_whose_master_is_killed_fails_and_says_so() {
    let mut command = process::Command::new(cargo_bin("manager"));
    command.args(["--bind", "127.0.0.1:0", "--queue", "get_task_queue"]);
    command.args(["--queue", "get_result_queue"]);
    command.env("MANAGER_AUTHKEY", "abc").env("RUST_LOG", "off");
    let mut manager = Program::start(&mut command).expect("it starts");
    let deadline = Instant::now() + 3 * LONG;
    let address = manager.line(deadline).expect("its address");
    let mut command = process::Command::new(cargo_bin("task_worker"));
    command.args([&address, "--idle", "60"]);
    let worker = Program::start(command.stderr(process::Stdio::piped())).expect("it starts");
    let client = Client::connect(&address, b"abc").expect("it listens");
    let waits = |client: &Client| {
        client
            .status()
            .is_ok_and(|status| status.queues[1].waiting == 1)
    };
    while !waits(&client) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    manager.kill().expect("it is ours");
    let finished = worker.finish(deadline).expect("it ends");
    assert_eq!(finished.status.code(), Some(1));
    assert!(
        finished.err.contains("the master was killed"),
        "{}",
        finished.err
    );
    assert!(!finished.out.contains("worker exit."), "{}", finished.out);
}

#[test]
fn a_worker_leaves_when_no_task_comes() {
    let (server, _client) = server();
    let address = server.address().to_string();
    let worker = program("task_worker")
        .args([&address, "--idle", "0"])
        .assert();
    worker
        .success()
        .stdout("Connect to server 127.0.0.1...\nworker exit.\n");
}

#[test]
fn a_worker_with_another_key_fails_and_says_why() {
    let (server, _client) = server();
    let key = std::env::temp_dir().join(format!("authkey-{}", std::process::id()));
    std::fs::write(&key, "other\n").expect("the folder is writable");
    let mut worker = program("task_worker");
    let said = failure(
        worker
            .arg(server.address().to_string())
            .arg("--authkey-file")
            .arg(&key),
    );
    assert!(
        said.contains("the server at 127.0.0.1:") && said.contains(" has another key"),
        "{said}"
    );
    let mend = "take the key of the master (MANAGER_AUTHKEY or --authkey-file)";
    assert!(said.contains(mend) && !said.contains("start it"), "{said}");
    std::fs::write(&key, "\n").expect("the folder is writable");
    let said = failure(program("task_master").arg("--authkey-file").arg(&key));
    assert!(said.contains("the key is empty"), "{said}");
    let mend = "the key comes from MANAGER_AUTHKEY or --authkey-file";
    assert!(said.contains(mend) && !said.contains("--bind"), "{said}");
    std::fs::remove_file(&key).expect("it is ours");
}

#[test]
fn a_key_of_a_text_has_no_line_break_and_one_of_other_bytes_is_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("key");
    for (content, key) in [
        (&b"abc"[..], &b"abc"[..]),
        (b"abc\n", b"abc"),
        (b"abc\r\n", b"abc"),
        (b"abc\n\n", b"abc\n\n"),
        (b"abc\r", b"abc\r"),
        (b"\xff\x00\x07\n", b"\xff\x00\x07\n"),
        (b"\xff\x00\x07\r", b"\xff\x00\x07\r"),
    ] {
        let server = Server::builder().queue("q").serve("127.0.0.1:0", key);
        let server = server.expect("a port is free");
        std::fs::write(&file, content).expect("the folder is ours");
        let mut manager = program("manager");
        manager.args(["status", &server.address().to_string(), "--authkey-file"]);
        manager.arg(&file).assert().success();
    }
}

#[test]
fn what_is_no_address_and_who_is_no_manager_is_said() {
    for (name, option) in [("manager", "--bind"), ("task_master", "--bind")] {
        for address in ["5000", ":0", "localhost", "127.0.0.1:port"] {
            let mut program = program(name);
            program
                .env("MANAGER_AUTHKEY", "abc")
                .args([option, address]);
            if name == "manager" {
                program.args(["--queue", "q"]);
            }
            let assert = program.assert().code(2);
            let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
            let want = format!("in place of `{address}`");
            let has = |text: &str| said.contains(text);
            assert!(
                has("expected HOST:PORT, as 127.0.0.1:5000") && has(&want),
                "{said}"
            );
        }
    }
    program("task_worker").arg("5000").assert().code(2);
    // A server of another protocol that speaks first.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    let other = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("it comes");
        client
            .write_all(b"MIME-Version: 1.0\r\n")
            .expect("it is there");
        let _ = client.read(&mut [0]);
    });
    let mut status = program("manager");
    let status = status.args(["status", &address]);
    let said = failure(status.env("MANAGER_AUTHKEY", "abc"));
    assert!(said.contains("is not a manager"), "{said}");
    other.join().expect("no panic");
}

#[test]
fn an_error_of_the_system_has_its_cause_as_text_and_as_a_main_prints_it() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = free.local_addr().expect("it is bound");
    let error = Server::builder()
        .serve(taken, b"abc")
        .expect_err("it is taken");
    let said = error.to_string();
    assert!(said.starts_with(&format!("listen on {taken}: ")), "{said}");
    assert!(said.contains("in use"), "{said}");
    assert_eq!(format!("{error:?}"), said);
}

#[test]
fn who_takes_a_url_for_an_address_or_the_reverse_is_told_of_the_other_call() {
    let url = Client::connect("tcp://127.0.0.1:5000", b"abc").expect_err("it is a URL");
    let said = url.to_string();
    assert!(said.contains("`distributed::connect`"), "{said}");
    let address = distributed::connect("127.0.0.1:5000").expect_err("it is none");
    let said = address.to_string();
    assert!(said.contains("`Client::connect`"), "{said}");
}

#[test]
fn a_master_without_workers_names_the_command_that_starts_one() {
    let mut master = program("task_master");
    let said = failure(master.args(["--bind", "127.0.0.1:0", "--timeout", "0.25"]));
    let want = "Empty: no result within 0.25 s: start a worker with cargo run -p distributed --bin \
                task_worker -- 127.0.0.1:";
    let port = said.strip_prefix(want).map(str::trim_end);
    let port = port.and_then(|port| port.parse::<u16>().ok());
    assert!(port.is_some_and(|port| port > 0), "{said}");
}

#[test]
fn a_taken_port_is_named_with_the_option_that_mends_it() {
    let (server, _client) = server();
    let address = server.address().to_string();
    let said = failure(program("task_master").args(["--bind", &address]));
    assert!(said.contains(&address) && said.contains("--bind"), "{said}");
}

#[test]
fn usage_errors_exit_with_2() {
    for args in [
        ["--timeout", "-1"],
        ["--timeout", "soon"],
        ["--count", "x"],
        ["--what", "x"],
    ] {
        program("task_master").args(args).assert().code(2);
    }
    program("task_worker").args(["a:1", "b:2"]).assert().code(2);
    program("task_worker")
        .args(["--idle", "NaN"])
        .assert()
        .code(2);
}

#[test]
fn a_wait_beyond_the_end_of_the_clock_is_an_error_or_a_client_and_no_panic() {
    let wrong = distributed::connect_within(Duration::MAX, "http://localhost");
    assert!(matches!(wrong, Err(Error::Address(_))), "{wrong:?}");
    let server = Server::builder().serve("127.0.0.1:0", b"abc");
    let server = server.expect("it serves");
    let client = Client::connect_within(Duration::MAX, server.address(), b"abc");
    assert!(client.is_ok(), "{client:?}");
}
