use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use distributed::{Error, QueueOptions, Result, Worker};

use crate::server::{DEADLINE, Server};

/// What connecting fails with, in time, and without our secret.
pub(crate) fn failure(url: &str) -> String {
    let start = Instant::now();
    let error = distributed::connect(url).expect_err("there is nobody to connect to");
    assert!(start.elapsed() < DEADLINE / 2, "{error}");
    let source =
        std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
    let text = format!("{error}{source}");
    assert!(!text.contains("secret"), "{text}");
    text
}

/// A port on which nobody listens.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A server that says this and no more.
fn says(greeting: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(greeting.as_bytes());
            kept.push(stream);
        }
    });
    port
}

#[test]
fn nobody_there_is_told_with_the_address_and_without_the_password() {
    let port = free_port();
    let text = failure(&format!("nats://bob:secret@127.0.0.1:{port}"));
    assert!(
        text.contains(&format!("connect to nats://127.0.0.1:{port}: ")),
        "{text}"
    );
    assert!(text.contains("refused"), "{text}");
}

#[test]
fn a_server_that_says_nothing_is_given_up_in_time() {
    let text = failure(&format!("nats://secret@127.0.0.1:{}", says("")));
    assert!(
        text.contains("no answer within 5 s") || text.contains("timed out"),
        "{text}"
    );
}

#[test]
fn servers_that_say_nothing_do_not_keep_us_from_one_that_answers() {
    let Some(server) = Server::start() else {
        return;
    };
    let hosts = [says(""), says(""), server.port()].map(|port| format!("127.0.0.1:{port}"));
    let url = format!("nats://{}", hosts.join(","));
    // The client takes them in any order; so all but never in that of the answer's own.
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| distributed::connect(&url).expect("one answers"));
        }
    });
}

#[test]
fn a_server_of_another_kind_is_told_of() {
    let text = failure(&format!(
        "nats://secret@127.0.0.1:{}",
        says("220 mail ready\r\n")
    ));
    assert!(text.contains("connect to nats://127.0.0.1:"), "{text}");
}

#[test]
fn wrong_credentials_are_told_apart_from_a_server_that_is_away() {
    let Some(server) = Server::start_with(&["-js", "--user", "bob", "--pass", "right"]) else {
        return;
    };
    let port = server.port();
    let right = distributed::connect(&format!("nats://bob:right@127.0.0.1:{port}"));
    right.expect("that is the password");
    for (wrong, words) in [
        ("bob:secret@", "refuses our user and password"),
        ("secret@", "refuses our token"),
        ("", "wants to know who we are"),
    ] {
        let text = failure(&format!("nats://{wrong}127.0.0.1:{port}"));
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn calls_and_destructors_in_a_task_of_another_runtime_block_and_work() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let calls = |url: String| -> Result<()> {
        let client = distributed::connect(&url)?;
        client.create(QueueOptions::new("tasks").redeliver(true))?;
        let queue = client.queue::<u32>("tasks")?;
        // More than a task of tokio does without a pause.
        queue.put_many(&(0..300).collect::<Vec<_>>())?;
        for n in 0..299 {
            let lease = queue.lease()?;
            assert_eq!(lease.item, n);
            lease.done()?;
        }
        let _goes_back = queue.lease()?;
        let tasks = client.task_queue("tasks")?;
        let waits = tasks.submit::<u32>("nobody", &())?;
        let pending = waits.result(Some(Duration::ZERO));
        assert!(matches!(pending, Err(Error::TaskPending)), "{pending:?}");
        Ok(())
    };
    let several = tokio::runtime::Runtime::new().expect("a runtime");
    let url = server.url();
    let task = several.spawn(async move { calls(url) });
    several.block_on(task).expect("no panic")?;
    let one = tokio::runtime::Builder::new_current_thread().build();
    let one = one.expect("a runtime");
    let purged = one.block_on(async { server.client().purge("tasks") })?;
    assert_eq!(purged, 1);
    Ok(())
}

#[test]
fn what_only_a_manager_has_is_no_part_of_an_engine() {
    let Some(server) = Server::start() else {
        return;
    };
    let error = server
        .client()
        .proxy("dict", ())
        .expect_err("it has queues");
    let text = error.to_string();
    assert!(
        text.contains("shared objects are only on a manager"),
        "{text}"
    );
}

#[test]
fn a_server_without_jetstream_says_how_to_turn_it_on() {
    let Some(server) = Server::start_with(&[]) else {
        return;
    };
    let text = failure(&server.url());
    assert!(text.contains("start nats-server with -js"), "{text}");
}

#[test]
fn a_server_that_is_too_old_is_told_of_with_its_version() {
    // It answers the first ping, so that the client takes it for connected.
    let greeting = "INFO {\"server_id\":\"x\",\"version\":\"2.2.6\",\"proto\":1,\"headers\":true,\
                    \"jetstream\":true,\"max_payload\":1048576}\r\nPONG\r\n";
    let text = failure(&format!("nats://secret@127.0.0.1:{}", says(greeting)));
    assert!(text.contains("version 2.2.6, queues need 2.9"), "{text}");
}

#[test]
fn a_stream_of_another_layout_is_left_as_it_is() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let other = async_nats::connect(server.url())
            .await
            .expect("it is there");
        let config = async_nats::jetstream::stream::Config {
            name: "tm-queue-tasks".to_string(),
            subjects: vec!["tm.queue.tasks".to_string()],
            ..Default::default()
        };
        let made = async_nats::jetstream::new(other)
            .create_stream(config)
            .await;
        made.expect("a stream of somebody else's");
    });
    for error in [
        client.create("tasks").err(),
        client.queue::<u32>("tasks").err(),
    ] {
        let text = error.expect("it is not ours").to_string();
        assert!(
            text.contains("tm-queue-tasks is there with another layout"),
            "{text}"
        );
        assert!(text.contains(&server.url()), "{text}");
    }
}

#[test]
fn a_full_disk_is_an_error_of_put_and_not_a_full_queue() {
    let Some(server) = Server::configured("jetstream { max_file_store: 200KB }") else {
        return;
    };
    let client = server.client_with("tasks");
    let tasks = client.queue::<String>("tasks").expect("it is there");
    let long = "x".repeat(50_000);
    let error = (0..10).find_map(|_| tasks.put(&long).err());
    let text = error.expect("there is no room for all").to_string();
    assert!(text.contains("store an item"), "{text}");
    assert!(
        text.contains("resource") || text.contains("storage"),
        "{text}"
    );
    assert!(
        tasks.len().expect("it answers") > 0,
        "what was stored is there"
    );
}

#[test]
fn an_item_that_is_too_long_is_refused_at_once() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client_with("tasks");
    let tasks = client.queue::<String>("tasks").expect("it is there");
    let error = tasks.put(&"x".repeat(2 << 20)).err();
    assert!(matches!(error, Some(Error::TooLong(_))), "{error:?}");
}

#[test]
fn more_replicas_than_nodes_are_refused() {
    let Some(server) = Server::start() else {
        return;
    };
    let tasks = QueueOptions::new("tasks").replicas(3);
    let client = server.client().reconnect_within(Duration::from_secs(1));
    let text = client.create(tasks).expect_err("one node").to_string();
    assert!(text.contains("create the queue `tasks"), "{text}");
}

#[test]
fn a_queue_that_nobody_made_is_told_of() {
    let Some(server) = Server::start() else {
        return;
    };
    let text = server
        .client()
        .queue::<u32>("tasks")
        .expect_err("none")
        .to_string();
    assert!(
        text.contains("no stream tm-queue-tasks at nats://"),
        "{text}"
    );
    let text = server
        .client()
        .queue::<u32>("a.b")
        .expect_err("no name")
        .to_string();
    assert!(text.contains("A-Z a-z 0-9"), "{text}");
}

#[test]
fn a_wait_beyond_the_end_of_the_clock_is_a_client_and_no_panic() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = distributed::connect_within(std::time::Duration::MAX, &server.url());
    assert!(client.is_ok(), "{client:?}");
}

/// Says something to a server in NATS's own words, and waits for what comes back.
fn request(server: &Server, subject: &str, payload: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port()))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let length = payload.len();
    write!(
        stream,
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer {length}\r\n{payload}\r\n"
    )?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next().transpose()? {
        if line.starts_with("MSG ") {
            return lines.next().transpose().map(Option::unwrap_or_default);
        }
    }
    Ok(String::new())
}

#[test]
fn join_ends_with_an_error_when_the_engine_gives_an_item_to_nobody() -> std::io::Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let client = server
        .client_with("tasks")
        .reconnect_within(Duration::from_secs(1));
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    tasks.put(&34).expect("it answers");
    // Its consumer is for other items of the stream.
    let (stream, consumer) = ("tm-queue-tasks", "tm-queue-tasks.workers");
    let info = request(&server, &format!("$JS.API.STREAM.INFO.{stream}"), "")?;
    let info: serde_json::Value = serde_json::from_str(&info)?;
    let mut config = info["config"].clone();
    config["subjects"] = serde_json::json!(["tm.queue.tasks", "tm.other"]);
    let config = config.to_string();
    request(&server, &format!("$JS.API.STREAM.UPDATE.{stream}"), &config)?;
    request(&server, &format!("$JS.API.CONSUMER.DELETE.{consumer}"), "")?;
    let other = r#"{"stream_name":"tm-queue-tasks","config":{"durable_name":"workers","ack_policy":"explicit","filter_subject":"tm.other"}}"#;
    let made = request(
        &server,
        &format!("$JS.API.CONSUMER.DURABLE.CREATE.{consumer}"),
        other,
    )?;
    assert!(made.contains(r#""num_pending":0"#), "{made}");
    let (ends, ended) = mpsc::channel();
    thread::spawn(move || ends.send(tasks.join()));
    let joined = ended.recv_timeout(DEADLINE).expect("it ends");
    let error = joined.expect_err("the item is not done").to_string();
    assert!(
        error.starts_with("join the queue `tasks` at nats://")
            && error.contains(": 1 items stay that the engine gives to nobody"),
        "{error}"
    );
    Ok(())
}

/// A port where one client finds a server, and what that says in each message is changed on its way:
/// the line before it, and the message with the end of its line.
fn changed(
    server: &Server,
    mut change: impl FnMut(&mut String, &mut Vec<u8>) + Send + 'static,
) -> std::io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (port, behind) = (listener.local_addr()?.port(), server.port());
    thread::spawn(move || -> std::io::Result<()> {
        let (mut client, _) = listener.accept()?;
        let server = TcpStream::connect(("127.0.0.1", behind))?;
        let (mut asked, mut answers) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || std::io::copy(&mut asked, &mut answers));
        let mut said = BufReader::new(server);
        loop {
            let mut line = String::new();
            if said.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut body = Vec::new();
            if line.starts_with("MSG ") || line.starts_with("HMSG ") {
                let length = line.trim_end().rsplit(' ').next().expect("it has a length");
                body = vec![0; length.parse::<usize>().expect("a number") + 2];
                said.read_exact(&mut body)?;
                change(&mut line, &mut body);
            }
            client.write_all(line.as_bytes())?;
            client.write_all(&body)?;
        }
    });
    Ok(port)
}

#[test]
fn an_item_is_put_once_by_an_engine_that_was_still_about_to_store_its_first_try() {
    let Some(server) = Server::start() else {
        return;
    };
    let near = server.client_with("tasks");
    let mut is_first = true;
    // What a newer server says then.
    let change = move |line: &mut String, body: &mut Vec<u8>| {
        if body.starts_with(br#"{"stream":"tm-queue-tasks", "seq":"#) && is_first {
            is_first = false;
            let (words, _) = line.trim_end().rsplit_once(' ').expect("it has a length");
            let text = r#"{"error":{"code":409,"err_code":10158,"description":"busy"}}"#;
            *line = format!("{words} {}\r\n", text.len());
            *body = format!("{text}\r\n").into();
        }
    };
    let port = changed(&server, change).expect("a free port");
    let client = distributed::connect(&format!("nats://127.0.0.1:{port}"));
    let client = client.expect("it answers");
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    tasks.put(&34).expect("it is stored");
    tasks.put(&35).expect("it is stored");
    let stored = near.queue::<u32>("tasks").expect("it is there");
    assert_eq!(stored.get_many(3, Some(DEADLINE)).expect("two"), [34, 35]);
}

#[test]
fn an_outcome_that_is_lost_on_its_way_comes_again_before_a_lease_would_end() {
    let Some(server) = Server::start() else {
        return;
    };
    let near = server.client_with("tasks");
    let (lost, loss) = mpsc::channel();
    let mut lost = Some(lost);
    let change = move |line: &mut String, body: &mut Vec<u8>| {
        if line.contains(" tm.outcomes.tasks.")
            && let Some(lost) = lost.take()
        {
            (*line, *body) = (String::new(), Vec::new());
            let _ = lost.send(Instant::now());
        }
    };
    let port = changed(&server, change).expect("a free port");
    let client = distributed::connect(&format!("nats://127.0.0.1:{port}"));
    let tasks = client
        .expect("it answers")
        .task_queue("tasks")
        .expect("it is there");
    let task = tasks.submit::<u32>("same", &34).expect("it is stored");
    thread::spawn(move || {
        let worker = Worker::new().task("same", |n: u32| Ok::<_, Error>(n));
        worker.idle(DEADLINE).serve(&near, "tasks")
    });
    assert_eq!(task.result(Some(DEADLINE)).expect("it comes"), 34);
    let lost = loss.try_recv().expect("it was lost before");
    assert!(lost.elapsed() < DEADLINE / 3, "{:?}", lost.elapsed());
}
