//! Peers that are gone without a word: no end of the connection comes from them.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use distributed::{Client, Error, QueueOptions, Result, Server};
use nix::sched::{CloneFlags, unshare};

use support::raw::{Raw, request};
use support::{LONG, eventually, python, run, some_pythons};

mod support;

/// Two seconds are the least that the kernel takes while nothing is on its way.
const SILENCE: Duration = Duration::from_secs(2);

fn server() -> Result<Server> {
    let builder = Server::builder().peer_timeout(SILENCE).queue("results");
    let tasks = QueueOptions::new("tasks").redeliver(true);
    builder.queue(tasks).serve("127.0.0.1:0", b"abc")
}

#[test]
fn the_task_of_a_client_that_reads_nothing_goes_to_another() -> Result<()> {
    let server = server()?;
    let tasks = Client::connect(server.address(), b"abc")?.queue::<String>("tasks")?;
    let mut silent = Raw::accepted(&server.address().to_string());
    silent.send(&request("tasks", "get", b""));
    assert!(eventually(|| server.status().queues[1].waiting == 1));
    // More than both ends of a connection store.
    tasks.put(&"x".repeat(40 << 20))?;
    assert_eq!(tasks.get_timeout(LONG)?.len(), 40 << 20);
    Ok(())
}

/// A network that fails, for this thread and those that it starts.
struct Network<'p> {
    python: &'p Path,
}

impl Network<'_> {
    /// None where one may not have a network of one's own, which takes root.
    fn new(python: &Path) -> Option<Network<'_>> {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            println!("skipped: no network of its own: {error}");
            return None;
        }
        let network = Network { python };
        network.set("up");
        Some(network)
    }

    fn set(&self, state: &str) {
        run(python(self.python, "loopback.py").arg(state));
    }
}

#[test]
fn both_sides_of_a_network_that_fails_notice_it_in_time() -> Result<()> {
    let Some((_, python)) = some_pythons().into_iter().next() else {
        return Ok(());
    };
    let Some(network) = Network::new(&python) else {
        return Ok(());
    };
    let server = server()?;
    let client = Client::connect(server.address(), b"abc")?.peer_timeout(SILENCE);
    let (waiting, putting) = (
        client.queue::<u32>("tasks")?,
        client.queue::<u32>("results")?,
    );
    putting.put(&1)?;
    let waiting = thread::spawn(move || waiting.get());
    assert!(eventually(|| server.status().queues[1].waiting == 1));
    network.set("down");
    let start = Instant::now();
    let put = putting.put(&2);
    let get = waiting.join().expect("no panic");
    // The server hands no task to one that is gone.
    assert!(eventually(|| server.status().queues[1].waiting == 0));
    assert!(start.elapsed() < LONG);
    for outcome in [put, get.map(|_| ())] {
        let Err(Error::Io { attempt, .. }) = outcome else {
            panic!("{outcome:?}");
        };
        let said = format!("nothing came from {} for 2 s", server.address());
        assert!(attempt.contains(&said), "{attempt}");
    }
    network.set("up");
    Ok(())
}
