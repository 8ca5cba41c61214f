//! The command line of `task_worker`.

use std::io::ErrorKind::ConnectionRefused;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use distributed::{Client, Error};
use shared::{addressed, engine, key, one_at_least, seconds, some_seconds};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

pub(crate) use shared::{fail, parse};

#[path = "../shared/mod.rs"]
mod shared;

/// How much later than its workers a master may start.
const START_TIME: Duration = Duration::from_secs(10);

/// Take tasks from a master and put their results, until no task comes or the master is gone.
#[derive(Debug, clap::Parser)]
#[command(name = "task_worker")]
pub(crate) struct Worker {
    /// Address of the master, or the path of its Unix socket
    #[arg(value_name = "HOST:PORT or PATH", default_value = "127.0.0.1:5000")]
    pub(crate) address: String,
    /// Take tasks from an engine instead: nats://HOST:PORT, as the master has it
    #[arg(long, value_name = "URL", conflicts_with = "address")]
    pub(crate) queues: Option<String>,
    /// How many tasks to work on at the same time
    #[arg(long, value_name = "THREADS", default_value_t = 1, value_parser = one_at_least::<usize>)]
    concurrency: usize,
    /// The most short tasks that a thread fetches at a time
    #[arg(long, value_name = "TASKS", default_value_t = 32, value_parser = one_at_least::<usize>)]
    prefetch: usize,
    /// How long a task may take before another worker gets it too
    #[arg(long, value_name = "SECONDS", value_parser = some_seconds)]
    time_limit: Option<Duration>,
    /// How long the queue stays empty before the worker leaves
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) idle: Duration,
    /// File with the key that master and workers share [default: the environment variable
    /// MANAGER_AUTHKEY, and without it the notebook's key, abc]
    #[arg(long, value_name = "FILE")]
    authkey_file: Option<PathBuf>,
}

impl Worker {
    /// The host of the address, without the port, and without the secret of a URL. Of a Unix socket
    /// its path.
    pub(crate) fn host(&self) -> &str {
        let address = self.queues.as_ref().unwrap_or(&self.address);
        if address.starts_with(['/', '.', '@']) {
            return address;
        }
        let host = address
            .split_once("://")
            .map_or(address.as_str(), |(_, rest)| rest);
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let host = host.split(['/', '?', ',']).next().unwrap_or(host);
        host.rsplit_once(':').map_or(host, |(host, _)| host)
    }

    /// The key of the options, or else the notebook's.
    fn key(&self) -> anyhow::Result<Vec<u8>> {
        Ok(key(self.authkey_file.as_deref())?.unwrap_or_else(|| b"abc".to_vec()))
    }

    /// Joins the master, which may start later. An engine that goes away is waited for as long as a
    /// task would be, and at least 30 s.
    pub(crate) fn connect(&self) -> anyhow::Result<Client> {
        if let Some(url) = &self.queues {
            let retry_time = self.idle.max(Duration::from_secs(30));
            let key = || self.key();
            let client = engine::<Worker>(url, key, self.start_time())?;
            return Ok(client.reconnect_within(retry_time));
        }
        let key = self.key()?;
        let client = Client::connect_within(self.start_time(), &self.address, &key);
        addressed::<Worker, _>(client).map_err(|error| {
            let mend = match &error {
                Error::Auth { .. } => {
                    "take the key of the master (MANAGER_AUTHKEY or --authkey-file)"
                }
                Error::Io { source, .. } if source.kind() == ConnectionRefused => {
                    "no master to join (start it with cargo run -p distributed --bin task_master)"
                }
                _ => "cannot join the master",
            };
            anyhow::Error::new(error).context(mend)
        })
    }

    /// How long the queues may take to be there. A cluster that is busy makes them in more than the
    /// 10 s in which a master starts: whoever waits longer for a task waits as long for its queue.
    fn start_time(&self) -> Duration {
        match self.queues {
            Some(_) => self.idle.max(START_TIME),
            None => START_TIME,
        }
    }

    /// Says of a connection that ended without a word what that means here.
    pub(crate) fn explain(&self, error: Error) -> anyhow::Error {
        match error {
            Error::Closed { address } => anyhow::anyhow!(
                "the master was killed, or the connection to {address} was lost: a master that ends says \
                 so"
            ),
            error => error.into(),
        }
    }

    /// What works as the options say. The first SIGTERM or Ctrl-C makes it finish what it is at,
    /// and a second one ends the program.
    pub(crate) fn worker(&self) -> anyhow::Result<distributed::Worker> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            flag::register_conditional_shutdown(signal, 1, stop.clone())
                .and_then(|_| flag::register(signal, stop.clone()))
                .context("catch SIGTERM and SIGINT")?;
        }
        let worker = distributed::Worker::new()
            .concurrency(self.concurrency)
            .prefetch(self.prefetch)
            .idle(self.idle)
            .stop(stop);
        Ok(match self.time_limit {
            Some(limit) => worker.time_limit(limit),
            None => worker,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_worker_waits_for_the_queues_of_an_engine_as_long_as_for_a_task() {
        let start_time = |words: &[&str]| Worker::parse_from(words).start_time().as_secs();
        let engine = ["task_worker", "--queues", "nats://localhost", "--idle"];
        assert_eq!(start_time(&[&engine[..], &["100"]].concat()), 100);
        assert_eq!(start_time(&[&engine[..], &["1"]].concat()), 10);
        assert_eq!(start_time(&["task_worker", "--idle", "100"]), 10);
    }
}
