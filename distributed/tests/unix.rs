//! A server on a Unix socket, and its clients in Rust and in Python.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;

use assert_cmd::cargo::cargo_bin;
use distributed::{Client, Error, ObjectType, QueueOptions, Result, Server, ServerAddress};
use tempfile::TempDir;

use support::{finish, line, manager, python, pythons, run, some_pythons, start};

mod support;

/// A folder, and the path of a socket in it.
fn place() -> (TempDir, String) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("tasks.sock");
    (folder, path.display().to_string())
}

fn server(address: &str) -> Server {
    Server::builder()
        .sync_manager()
        .queue(QueueOptions::new("tasks").redeliver(true).max_deliveries(1))
        .object("lock", ObjectType::Lock)
        .object("table", ObjectType::Dict)
        .object("condition", ObjectType::Condition)
        .serve(address, b"abc")
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The addresses of both kinds.
fn both() -> (TempDir, [String; 2]) {
    let (folder, path) = place();
    let name = format!("@{}", folder.path().display());
    (folder, [path, name])
}

#[test]
fn clients_join_over_a_path_and_over_a_name_in_no_folder() -> Result<()> {
    let (_folder, addresses) = both();
    for address in addresses {
        let server = server(&address);
        assert_eq!(server.address().to_string(), address);
        let client = Client::connect(server.address(), b"abc")?;
        let tasks = client.queue::<String>("tasks")?;
        // It is longer than what a stream holds.
        let long = "x".repeat(1 << 20);
        tasks.put(&long)?;
        assert_eq!(tasks.get()?, long);
        assert_eq!(client.status()?.queues[0].put, 1);
        let refused = Client::connect(&address, b"another");
        assert!(matches!(refused, Err(Error::Auth { .. })), "{refused:?}");
        server.shutdown();
        assert!(matches!(tasks.get(), Err(Error::ShutDown { .. })));
    }
    Ok(())
}

#[test]
fn where_no_server_is_a_client_waits_for_one() -> Result<()> {
    let (_folder, addresses) = both();
    for address in addresses {
        let refused = Client::connect(&address, b"abc");
        assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
        let late = address.clone();
        let client = thread::spawn(move || Client::connect_within(support::LONG, late, b"abc"));
        let server = server(&address);
        client.join().expect("it does not panic")?;
        drop(server);
    }
    Ok(())
}

#[test]
fn the_file_is_there_as_long_as_its_server() {
    let (_folder, path) = place();
    let server = server(&path);
    let metadata = fs::metadata(&path).expect("it is there");
    assert!(metadata.file_type().is_socket());
    // As the umask of this process says, which the folder of a test does not change.
    let plain = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o777))
        .tempfile()
        .expect("a file");
    let mode = |metadata: fs::Metadata| metadata.permissions().mode() & 0o777;
    assert_eq!(
        mode(metadata),
        mode(plain.as_file().metadata().expect("it is there"))
    );
    server.shutdown();
    assert!(!fs::exists(&path).expect("the folder is there"));
}

#[test]
fn a_file_that_another_has_put_there_stays() {
    let (_folder, path) = place();
    let server = server(&path);
    fs::remove_file(&path).expect("it is ours");
    let other = UnixListener::bind(&path).expect("the path is free");
    server.shutdown();
    assert!(fs::exists(&path).expect("the folder is there"));
    drop(other);
}

#[test]
fn the_file_of_a_server_that_is_gone_is_replaced_and_that_of_a_living_one_is_not() -> Result<()> {
    let (_folder, path) = place();
    drop(UnixListener::bind(&path).expect("the path is free"));
    assert!(UnixStream::connect(&path).is_err());
    let first = server(&path);
    let refused = Server::builder().queue("tasks").serve(&path, b"abc");
    let said = refused.expect_err("another serves there").to_string();
    assert!(said.contains("another server listens there"), "{said}");
    // The first one has not lost its file.
    Client::connect(&path, b"abc")?;
    first.shutdown();
    let name = format!("@{path}");
    let _first = server(&name);
    let refused = Server::builder().queue("tasks").serve(&name, b"abc");
    let said = refused.expect_err("another serves there").to_string();
    assert!(said.contains("another server listens there"), "{said}");
    Ok(())
}

#[test]
fn of_many_servers_that_find_a_stale_file_one_has_its_place() -> Result<()> {
    for _ in 0..20 {
        let (_folder, path) = place();
        drop(UnixListener::bind(&path).expect("the path is free"));
        let together = Barrier::new(4);
        let servers: Vec<Server> = thread::scope(|s| {
            let serve = || {
                together.wait();
                Server::builder().queue("tasks").serve(&path, b"abc").ok()
            };
            let all: Vec<_> = (0..4).map(|_| s.spawn(serve)).collect();
            let joined = all.into_iter().map(|one| one.join().expect("no panic"));
            joined.flatten().collect()
        });
        assert_eq!(servers.len(), 1);
        Client::connect(&path, b"abc")?;
    }
    Ok(())
}

#[test]
fn a_file_that_is_no_socket_is_refused_and_stays() {
    let (_folder, path) = place();
    fs::write(&path, "notes").expect("the folder is there");
    let refused = Server::builder().queue("tasks").serve(&path, b"abc");
    let said = refused.expect_err("a file is there").to_string();
    assert!(said.contains("no socket"), "{said}");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "notes");
}

#[test]
fn what_is_no_address_is_refused_with_what_is_one() {
    let long = format!("/{}", "x".repeat(107));
    for (address, text) in [
        ("tasks.sock", "or a Unix socket, as /run/tasks.sock"),
        ("@", "a name is missing"),
        ("/run/a\0b", "a null character"),
        (&long, "107 bytes at most"),
    ] {
        let refused = Client::connect(address, b"abc");
        let Err(Error::Address(said)) = refused else {
            panic!("{address:?}: {refused:?}");
        };
        assert!(said.contains(text), "{said}");
    }
    let url = distributed::connect("unix://127.0.0.1:5000");
    assert!(matches!(url, Err(Error::Address(_))), "{url:?}");
}

#[test]
fn clients_of_every_python_join_over_a_unix_socket() {
    for (version, path) in pythons() {
        let (_folder, addresses) = both();
        for address in addresses {
            let _server = server(&address);
            for (script, case) in [
                ("objects.py", "dicts"),
                ("objects.py", "locks"),
                ("objects.py", "queues"),
                ("sharing.py", "send_proxies"),
                ("sharing.py", "use_proxies"),
            ] {
                let said = run(python(&path, script).args([&address, case]));
                assert_eq!(said, "ok\n", "{version}, {address}, {case}");
            }
        }
    }
}

#[test]
fn who_died_with_a_lock_is_named_by_its_process() {
    for (version, path) in some_pythons() {
        let (_folder, socket) = place();
        let _server = server(&socket);
        let case = |script: &str, case: &str| {
            let mut command = python(&path, script);
            start(command.args([socket.as_str(), case]).stderr(Stdio::null()))
        };
        let mut holder = case("objects.py", "hold");
        assert_eq!(line(&holder), "held", "{version}");
        let process = format!("MainProcess at process {} of user ", holder.pid());
        let next = case("locks.py", "mend");
        holder.kill().expect("it is ours");
        let died = line(&next);
        assert!(died.starts_with(&process), "{version}: {died}");
        assert_eq!(finish(next), "ok\n", "{version}");
    }
}

#[test]
fn the_programs_take_a_path_and_a_killed_manager_leaves_nothing_in_the_way() {
    let (_folder, path) = place();
    let arguments = ["--bind", &path, "--queue", "tasks"];
    let (mut killed, address) = manager(&arguments);
    assert_eq!(address, path);
    killed.kill().expect("it is ours");
    assert!(fs::exists(&path).expect("the folder is there"));
    let (again, address) = manager(&arguments);
    assert_eq!(address, path);
    let mut status = Command::new(cargo_bin("manager"));
    let said = run(status.args(["status", &path]).env("MANAGER_AUTHKEY", "abc"));
    assert!(said.contains("tasks"), "{said}");
    drop(again);
    let master = start(
        Command::new(cargo_bin("task_master"))
            .env("PACE", "0")
            .args(["--bind", &path, "--count", "2"]),
    );
    let worker = run(Command::new(cargo_bin("task_worker"))
        .env("PACE", "0")
        .arg(&path));
    assert!(
        worker.starts_with(&format!("Connect to server {path}...\n")),
        "{worker}"
    );
    assert!(worker.ends_with("worker exit.\n"), "{worker}");
    assert!(finish(master).ends_with("master exit.\n"));
}

#[test]
fn an_address_says_what_it_is() {
    let (_folder, path) = place();
    let address = server(&path).address();
    assert_eq!(address, ServerAddress::Unix(path.into()));
}
