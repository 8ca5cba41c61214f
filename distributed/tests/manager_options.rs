//! The options of the program `manager`, each as the clients of the one it starts see it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use distributed::{Client, Error, Result, TaskOptions, Worker};

use support::raw::Raw;
use support::{LONG, eventually, python, run, some_pythons};

mod support;

/// A case of a script says that all is as it is to be.
#[track_caller]
fn agrees(path: &Path, script: &str, address: &str, case: &str) {
    let said = run(python(path, script).args([address, case]));
    assert_eq!(said, "ok\n", "{case}");
}

#[test]
fn sync_manager_serves_every_name_of_pythons_sync_manager() {
    for (_, path) in some_pythons() {
        let (_manager, address) = support::manager(&["--sync-manager"]);
        for case in [
            "dicts",
            "lists",
            "values",
            "locks",
            "events",
            "conditions",
            "barriers",
            "queues",
        ] {
            agrees(&path, "objects.py", &address, case);
        }
    }
}

#[test]
fn factories_objects_and_queues_are_of_the_type_and_number_that_their_options_say() {
    let options = [
        "--factory=jobs",
        "--factory=last:LifoQueue",
        "--factory=tables:dict",
        "--object=slots:Semaphore:2",
        "--object=settings:dict",
        "--queue=top:2:PriorityQueue",
    ];
    for (_, path) in some_pythons() {
        let (_manager, address) = support::manager(&options);
        agrees(&path, "sharing.py", &address, "options");
    }
}

#[test]
fn factory_timeout_drops_what_nobody_uses() -> Result<()> {
    let (_manager, address) = support::manager(&["--factory=Queue", "--factory-timeout=0.05"]);
    // pickle.dumps((None, 'create', ('Queue',), {}), 2), by a client that is then gone.
    let create = b"\x80\x02(NX\x06\0\0\0createX\x05\0\0\0Queue\x85}t.";
    Raw::connect(&address).call(create);
    let client = Client::connect(&address, b"abc")?;
    assert!(eventually(|| {
        let status = client.status();
        status.is_ok_and(|status| status.queues.is_empty())
    }));
    Ok(())
}

#[test]
fn max_connections_and_handshake_timeout_keep_out_who_comes_too_late() -> Result<()> {
    let options = [
        "--queue=q",
        "--max-connections=1",
        "--handshake-timeout=0.2",
    ];
    let (_manager, address) = support::manager(&options);
    let only = Client::connect(&address, b"abc")?.queue::<u32>("q")?;
    only.put(&7)?;
    let said = Client::connect(&address, b"abc").expect_err("there is no place");
    let said = said.to_string();
    assert!(
        said.starts_with("connect to ") && said.ends_with("`max_connections` allows 1"),
        "{said}"
    );
    // One that says nothing hears the challenge, and then the end.
    let mut silent = std::net::TcpStream::connect(&address).expect("it listens");
    let end = silent.read_to_end(&mut Vec::new());
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(only.get()?, 7);
    Ok(())
}

#[test]
fn max_message_refuses_what_is_longer() -> Result<()> {
    let (_manager, address) = support::manager(&["--queue=q", "--max-message=1024"]);
    let queue = Client::connect(&address, b"abc")?.queue::<String>("q")?;
    queue.put(&"x".repeat(500))?;
    let said = queue.put(&"x".repeat(2000)).expect_err("it is longer");
    assert!(
        said.to_string()
            .contains("over the limit of 1024, which max_message"),
        "{said}"
    );
    Ok(())
}

#[test]
fn the_log_has_a_dead_letter_and_no_failure_that_a_submitter_was_told() -> Result<()> {
    let mut command = std::process::Command::new(cargo_bin("manager"));
    command.args([
        "--bind",
        "127.0.0.1:0",
        "--queue",
        "tasks",
        "--redeliver",
        "tasks",
    ]);
    let command = command
        .args(["--max-deliveries", "1"])
        .env("MANAGER_AUTHKEY", "abc");
    let mut manager = support::start(command.stderr(std::process::Stdio::piped()));
    let address = support::line(&manager);
    let client = Client::connect(&address, b"abc")?;
    let once = TaskOptions::new().retries(0);
    let told = client
        .task_queue("tasks")?
        .submit_with::<()>("fail", &(), once)?;
    let worker = Worker::new().idle(Duration::from_millis(100));
    let worker = worker.task("fail", |()| Err::<(), _>("told"));
    worker.serve(&client, "tasks")?;
    assert!(matches!(told.result(Some(LONG)), Err(Error::TaskFailed(_))));
    client.queue("tasks")?.put(&1)?;
    client.queue::<u32>("tasks")?.lease()?.fail("for nobody")?;
    assert_eq!(client.dead_letters("tasks")?.len(), 1);
    manager.kill().expect("it is ours");
    let log = manager.finish(Instant::now() + LONG).expect("it ends").err;
    assert!(log.contains("for nobody") && !log.contains("told"), "{log}");
    Ok(())
}

#[test]
fn an_option_that_makes_no_sense_ends_with_2_and_says_what_would() {
    for (options, wanted) in [
        (&[][..], "nothing to serve"),
        (
            &["--object=settings"],
            "expected NAME:TYPE, as settings:dict",
        ),
        (&["--object=:dict"], "an object needs a name"),
        (&["--object=a:frob"], "no type 'frob': there are dict, list"),
        (&["--object=a:dict:3"], "dict takes no number"),
        (&["--object=a:Semaphore:x"], "expected a number"),
        (&["--factory=a:frob"], "no type 'frob'"),
        (&["--factory=:dict"], "an object needs a name"),
        (&["--queue=:5"], "a queue needs a name"),
        (&["--queue=a:frob"], "expected NAME:MAXSIZE or NAME:TYPE"),
        (
            &["--queue=a", "--redeliver=b"],
            "--redeliver b needs --queue b",
        ),
        (&["--queue=a", "--visibility-timeout=5"], "--redeliver"),
        (
            &["--queue=a", "--max-memory=3X"],
            "expected a number of bytes",
        ),
        (&["--queue=a", "--max-memory=0"], "expected 64K at least"),
        (&["--queue=a", "--max-message=0"], "1024 at least"),
        (&["--queue=a", "--max-connections=0"], "1 at least"),
        (&["--queue=a", "--max-deliveries=0"], "1 at least"),
        (&["--queue=a", "--handshake-timeout=0"], "more than 0"),
        (&["--queue=a", "--peer-timeout=0"], "more than 0"),
        (&["--queue=a", "--factory-timeout=0"], "more than 0"),
        (&["--queue=a", "--metrics=foo"], "expected HOST:PORT, as"),
        (&["metrics", "--bind=foo"], "expected HOST:PORT, as"),
        (&["--queue=a", "--queue=a"], "cannot serve the name `a`"),
        (
            &["--queue=get", "--queue=get.dead"],
            "cannot serve the name `get.dead`",
        ),
        (&["--factory="], "needs at least one character"),
        (
            &["--queue=a", "--factory-timeout=soon"],
            "--factory-timeout",
        ),
    ] {
        let mut manager = Command::new(cargo_bin("manager"));
        manager.env("LC_ALL", "C");
        let manager = manager.env("MANAGER_AUTHKEY", "abc").args(options);
        let output = manager.timeout(support::LONG).assert().code(2);
        let said = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(said.contains(wanted), "{options:?}: {said}");
    }
}

#[test]
fn a_reader_who_has_gone_is_no_reason_to_fail_and_a_full_disk_is() {
    let (_manager, address) = support::manager(&["--queue=a"]);
    for question in ["status", "metrics"] {
        let asked = |output: Stdio| {
            let mut manager = std::process::Command::new(cargo_bin("manager"));
            manager.env("LC_ALL", "C").env("MANAGER_AUTHKEY", "abc");
            let manager = manager.args([question, &address]).stdout(output);
            manager.output().expect("it starts")
        };
        let (reader, writer) = std::io::pipe().expect("there is one");
        drop(reader);
        let gone = asked(writer.into());
        assert_eq!((gone.status.code(), gone.stderr.len()), (Some(0), 0));
        let full = asked(File::create("/dev/full").expect("it is there").into());
        let said = String::from_utf8_lossy(&full.stderr);
        assert_eq!(full.status.code(), Some(1), "{said}");
        assert!(
            said.starts_with("write to standard output: No space"),
            "{said}"
        );
    }
}
