//! An engine for a test: started, ready, and killed at the end.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use distributed::{Client, QueueOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Far longer than anything takes, and short enough to be told from a hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    child: Child,
    port: u16,
    folder: TempDir,
}

/// The program; `None` on a machine that has none, where that is allowed.
fn program() -> Option<OsString> {
    let program = std::env::var_os("NATS_SERVER_BIN").unwrap_or_else(|| "nats-server".into());
    let found = Command::new(&program)
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    match found {
        Ok(_) => Some(program),
        Err(error) if std::env::var_os("CI").is_some() => {
            panic!("nats-server: {error}: apt-get install nats-server")
        }
        Err(error) => {
            println!("skipped: nats-server: {error}");
            None
        }
    }
}

impl Server {
    /// Starts one with JetStream; `None` where there is none to start.
    pub(crate) fn start() -> Option<Server> {
        Server::start_with(&["-js"])
    }

    pub(crate) fn start_with(options: &[&str]) -> Option<Server> {
        program()?;
        let folder = tempfile::tempdir().expect("a folder for the test");
        let (child, port) = spawn(-1, folder.path(), options);
        Some(Server {
            child,
            port,
            folder,
        })
    }

    /// Starts one by a configuration, which may say more than options can.
    pub(crate) fn configured(configuration: &str) -> Option<Server> {
        program()?;
        let folder = tempfile::tempdir().expect("a folder for the test");
        let file = folder.path().join("nats.conf");
        std::fs::write(&file, configuration).expect("the folder can be written to");
        let (child, port) = spawn(-1, folder.path(), &["-c", file.to_str().expect("text")]);
        Some(Server {
            child,
            port,
            folder,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn client(&self) -> Client {
        distributed::connect(&self.url()).expect("the server is ready")
    }

    /// A client, once it has a queue `tasks` like that.
    pub(crate) fn client_with(&self, tasks: impl Into<QueueOptions>) -> Client {
        let client = self.client();
        client.create(tasks).expect("a queue");
        client
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was killed");
    }

    /// Starts it again where it was, with what it had.
    pub(crate) fn start_again(&mut self) {
        (self.child, _) = spawn(i32::from(self.port), self.folder.path(), &["-js"]);
    }
}

/// The test of this thread as a program of its own; killed at the end.
pub(crate) struct Again(Child);

impl Server {
    /// Runs the test that calls this once more, with the URL under `variable`.
    pub(crate) fn again(&self, variable: &str) -> Again {
        let name = thread::current()
            .name()
            .expect("a test has a name")
            .to_string();
        let program = std::env::current_exe().expect("it was started from a file");
        let child = Command::new(program)
            .args(["--exact", &name])
            .env(variable, self.url())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Again(child.expect("it starts as it did before"))
    }
}

impl Again {
    pub(crate) fn is_over(&mut self) -> bool {
        self.0.try_wait().expect("it is ours").is_some()
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it, and waits until it says that it is ready.
fn spawn(port: i32, folder: &Path, options: &[&str]) -> (Child, u16) {
    let program = program().expect("it was there before");
    let mut child = Command::new(program)
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
        .arg(folder)
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nats-server starts");
    let log = child.stderr.take().expect("it is piped");
    let (say, said) = mpsc::channel();
    // Reads on after it is ready, lest the server stand still at a full pipe.
    thread::spawn(move || {
        let mut port = 0;
        let mut all = String::new();
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("client connections on ") {
                let digits = address.rsplit(':').next().unwrap_or_default();
                port = digits.trim().parse().unwrap_or(0);
            }
            if line.contains("Server is ready") {
                let _ = say.send(Ok(port));
            }
            all.push_str(&line);
            all.push('\n');
        }
        let _ = say.send(Err(all));
    });
    match said.recv_timeout(DEADLINE) {
        Ok(Ok(port)) => (child, port),
        Ok(Err(log)) => panic!("nats-server ends:\n{log}"),
        Err(_) => panic!("nats-server is not ready"),
    }
}

/// Sends a signal to a process of the test.
pub(crate) fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).expect("it runs");
}
