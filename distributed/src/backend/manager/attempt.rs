//! How a queue calls its server: over a connection of its own, and once more when that is lost.

use std::io::ErrorKind;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use super::connection::{Connection, request};
use super::owner::Owner;
use super::{FAREWELL, ManagerClient, ManagerQueue, PAUSE_MAX, nothing};
use crate::wire::pickle::{Encoder, Pickle, Span};
use crate::{Error, Result, random};

/// What the calls of a queue or of another object go by.
#[derive(Debug)]
pub(super) struct State {
    pub(super) client: ManagerClient,
    pub(super) ident: String,
    pub(super) connection: Option<Connection>,
    /// How many connections there were.
    pub(super) connections: u64,
    /// What was wrong with an item that came behind others.
    pub(super) unsaid: Option<Error>,
    /// Whose reference to the object it is. A forked child borrows its parent's.
    referrer: Owner,
}

impl ManagerQueue {
    pub(super) fn call<R>(
        &self,
        method: &str,
        args: impl Fn(&mut Encoder),
        mut read: impl FnMut(&Pickle, Span) -> Result<R>,
    ) -> Result<R> {
        let mut state = self.state();
        let start = Instant::now();
        let mut pause = Duration::from_millis(20);
        let mut is_new = false;
        loop {
            let ident = state.ident.clone();
            match state.attempt(&ident, method, &args, &mut read) {
                Err(error)
                    if is_away(&error) && start.elapsed() + pause < state.client.retry_time =>
                {
                    thread::sleep(random::jitter(pause));
                    pause = (2 * pause).min(PAUSE_MAX);
                }
                // The server was restarted, and Python's gives its queues new idents then.
                Err(Error::Remote { class, .. }) if class == "KeyError" && !is_new => {
                    if !state.referrer.is_me() && self.methods.contains("put_many") {
                        return Err(self.dropped_by_parent());
                    }
                    state.ident = state.client.open(&self.name)?.0;
                    state.referrer = Owner::me();
                    is_new = true;
                }
                outcome => return outcome,
            }
        }
    }

    /// What a server of this crate has under a name stays, so this is one that a call had made.
    fn dropped_by_parent(&self) -> Error {
        let said = "the process that opened it, and has forked this one, has dropped it: lend it to the \
                    child, which a closure without `move` does";
        Error::NoQueue {
            name: self.name.clone(),
            said: said.to_string(),
        }
    }

    /// The same call, once, over the connection that there is.
    pub(super) fn attempt<R>(
        &self,
        method: &str,
        args: impl Fn(&mut Encoder),
        read: impl FnOnce(&Pickle, Span) -> Result<R>,
    ) -> Result<R> {
        let mut state = self.state();
        if state.connection.is_none() {
            return Err(Error::Closed {
                address: self.address.clone(),
            });
        }
        let ident = state.ident.clone();
        state.attempt(&ident, method, args, read)
    }

    /// What the calls go by. What panicked with it had taken the connection out before.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state().connection.is_some()
    }

    /// How many connections there were.
    pub(super) fn connections(&self) -> u64 {
        self.state().connections
    }
}

/// Whether the server may be there again, or have a place again, in a moment.
fn is_away(error: &Error) -> bool {
    match error {
        Error::Closed { .. } | Error::ShutDown { .. } => true,
        Error::Io { source, .. } => source.kind() == ErrorKind::ResourceBusy,
        _ => false,
    }
}

/// What this process calls itself to a server, which names it where it holds an item or a lock:
/// `program[pid]`.
fn my_name() -> String {
    let program = env::current_exe().unwrap_or_default();
    let program = program.file_name().unwrap_or_default().to_string_lossy();
    // A server keeps the first 100 characters.
    let program: String = program.chars().take(80).collect();
    format!("{program}[{}]", process::id())
}

impl State {
    pub(super) fn new(client: ManagerClient, ident: String) -> State {
        State {
            client,
            ident,
            connection: None,
            connections: 0,
            unsaid: None,
            referrer: Owner::me(),
        }
    }

    pub(super) fn attempt<R>(
        &mut self,
        ident: &str,
        method: &str,
        args: impl Fn(&mut Encoder),
        read: impl FnOnce(&Pickle, Span) -> Result<R>,
    ) -> Result<R> {
        // A forked child leaves its parent's to the parent, whose calls go over it.
        let connection = self.connection.take().filter(Connection::is_mine);
        let mut connection = match connection {
            Some(connection) => connection,
            None => {
                let mut connection = self.client.connect()?;
                let name = |args: &mut Encoder| _ = args.str(&my_name());
                connection.call(&mut request(None, "accept_connection", name), nothing)?;
                self.connections += 1;
                connection
            }
        };
        let outcome = connection.call(&mut request(Some(ident), method, args), read);
        if let Some(ident) = connection.referred.take() {
            let ident = |args: &mut Encoder| _ = args.str(&ident);
            // If this cannot be said, the call is answered all the same, and its connection holds on.
            let _ = self.client.once("decref", ident, nothing);
        }
        // Any other error is an answer, after which both sides are in step.
        if !matches!(
            outcome,
            Err(Error::Closed { .. }
                | Error::ShutDown { .. }
                | Error::Io { .. }
                | Error::Protocol(_))
        ) {
            self.connection = Some(connection);
        }
        outcome
    }
}

impl Drop for State {
    /// Ends the reference, for the sake of servers that count them. An error means that the server
    /// is gone, and its references with it.
    fn drop(&mut self) {
        if !self.referrer.is_me() {
            return;
        }
        let State { client, ident, .. } = self;
        drop(self.connection.take());
        client.target.time = FAREWELL;
        let deadline = Instant::now() + FAREWELL;
        let mut decref = request(None, "decref", |args| _ = args.str(ident));
        if let Ok(mut connection) = client.connect() {
            let _ = connection.call_until(Some(deadline), &mut decref, nothing);
        }
    }
}
