//! The engine NATS on loopback, for tests and tools.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::program::Program;

/// How long it may take until it is ready: far longer than it does on any machine.
const DEADLINE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(5);

/// The program: the file that `NATS_SERVER_BIN` names, or else nats-server on the PATH. A path is the
/// same from every folder.
///
/// # Panics
///
/// Panics if the program is in no folder.
#[must_use]
pub fn binary() -> OsString {
    match env::var_os("NATS_SERVER_BIN") {
        Some(path) => std::path::absolute(path).expect("there is a folder").into(),
        None => "nats-server".into(),
    }
}

/// A server that takes clients. It is killed when it is dropped.
pub struct NatsServer {
    /// Its process.
    pub program: Program,
    log: PathBuf,
}

impl NatsServer {
    /// Starts nats-server by this command, and waits until it is ready. With port -1 it takes a
    /// free one. What it says goes to the file `log`, so that it can outlive who started it.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be started, if it ends, and if it is not ready in 60 s. The error has the
    /// last line of its log.
    pub fn start(command: &mut Command, log: &Path) -> io::Result<NatsServer> {
        let create = File::create(log).map_err(|error| {
            io::Error::new(error.kind(), format!("write {}: {error}", log.display()))
        });
        let mut program =
            Program::start(command.stdin(Stdio::null()).stderr(create?)).map_err(|error| {
                let text = format!("{error} (apt-get install nats-server)");
                io::Error::new(error.kind(), text)
            })?;
        let deadline = Instant::now() + DEADLINE;
        loop {
            // Looked at before the log is read: what it said before its end is in there.
            let ended = program.child.try_wait()?;
            let said = read(log)?;
            if said.contains("Server is ready") {
                let log = log.into();
                return Ok(NatsServer { program, log });
            }
            let last = said.lines().last().unwrap_or("it says nothing");
            if ended.is_some() {
                return Err(io::Error::other(format!("nats-server ends: {last}")));
            }
            if Instant::now() > deadline {
                let text = format!("nats-server is not ready: {last}");
                return Err(io::Error::new(ErrorKind::TimedOut, text));
            }
            thread::sleep(TICK);
        }
    }

    /// The port on which it takes clients.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port_after("client connections on ")
    }

    /// The port on which it tells about itself, if it does.
    #[must_use]
    pub fn monitor(&self) -> Option<u16> {
        self.port_after("http monitor on ")
    }

    /// The port on which it takes other nodes, if it is one of a cluster. It says it only after it
    /// is ready, so this waits for the line, for up to 60 s.
    #[must_use]
    pub fn route(&self) -> Option<u16> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let port = self.port_after("route connections on ");
            if port.is_some() || Instant::now() > deadline {
                return port;
            }
            thread::sleep(TICK);
        }
    }

    fn port_after(&self, words: &str) -> Option<u16> {
        let said = read(&self.log).ok()?;
        let (_, rest) = said.split_once(words)?;
        // A line without its end is not yet whole.
        let (address, _) = rest.split_once('\n')?;
        address.rsplit(':').next()?.trim().parse().ok()
    }
}

fn read(log: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(log)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_for_other_nodes_is_known_although_the_server_says_it_after_it_is_ready() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = "echo Server is ready >&2
            until [ -e asked ]; do sleep 0.01; done
            printf 'Listening for route connections on 127.0.0.1:42' >&2
            sleep 0.05
            echo 22 >&2
            exec sleep 60";
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(&folder);
        let server =
            NatsServer::start(&mut command, &folder.path().join("log")).expect("it is ready");
        fs::write(folder.path().join("asked"), "").expect("written");
        assert_eq!(server.route(), Some(4222));
    }
}
