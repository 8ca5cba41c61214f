//! The command line of `task_master`.

use std::path::PathBuf;
use std::time::Duration;

use distributed::{Builder, Client, Error, QueueOptions, Server};
use shared::{addressed, engine, key, one_at_least, seconds, some_seconds};

pub(crate) use shared::{fail, parse};

#[path = "../shared/mod.rs"]
mod shared;

/// The notebook's, where a worker looks too.
const ADDRESS: &str = "127.0.0.1:5000";

/// Serve two queues, put tasks in one, and print the results that workers put in the other.
#[derive(Debug, clap::Parser)]
#[command(name = "task_master")]
pub(crate) struct Master {
    /// Address to serve the queues on, or the path of a Unix socket
    #[arg(
        long,
        value_name = "HOST:PORT or PATH",
        default_value = ADDRESS
    )]
    pub(crate) bind: String,
    /// Have the queues on an engine instead: nats://HOST:PORT, with user:password@, /NAMESPACE and
    /// ?monitor=http://HOST:PORT as need be
    #[arg(long, value_name = "URL", conflicts_with = "bind")]
    pub(crate) queues: Option<String>,
    /// On how many nodes of the engine each task is stored: 1, 3 or 5
    #[arg(long, default_value_t = 1, value_parser = one_at_least::<usize>, requires = "queues")]
    replicas: usize,
    /// After how long without a sign of life a worker's tasks go to another one
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = some_seconds, requires = "queues")]
    lease: Duration,
    /// After so many deliveries a task is a dead letter
    #[arg(long, value_name = "TIMES", default_value_t = 3, value_parser = one_at_least::<u32>)]
    max_deliveries: u32,
    /// Empty the queues of what an earlier run left on the engine; workers should start after that
    #[arg(long, requires = "queues")]
    purge: bool,
    /// How long to wait for each result
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// How many tasks to put
    #[arg(long, default_value_t = 10)]
    pub(crate) count: u32,
    /// File with the key that master and workers share [default: the environment variable
    /// MANAGER_AUTHKEY, and without it the notebook's key, abc]
    #[arg(long, value_name = "FILE")]
    authkey_file: Option<PathBuf>,
}

impl Master {
    /// The key of the options, or else the notebook's.
    fn key(&self) -> anyhow::Result<Vec<u8>> {
        Ok(key(self.authkey_file.as_deref())?.unwrap_or_else(|| b"abc".to_vec()))
    }

    /// Serves the queues, or makes them on the engine; and a client of them. At an engine it says
    /// on standard error what a loss of power would cost.
    pub(crate) fn start(
        &self,
        queues: [QueueOptions; 2],
    ) -> anyhow::Result<(Option<Server>, Client)> {
        let queues = queues.map(|queue| queue.max_deliveries(self.max_deliveries));
        let Some(url) = &self.queues else {
            let key = self.key()?;
            let builder = queues.into_iter().fold(Server::builder(), Builder::queue);
            let served = builder.serve(&self.bind, &key);
            let server = addressed::<Master, _>(served).map_err(|error| {
                let mend = match error {
                    Error::Io { .. } => "cannot serve (--bind takes another address)",
                    Error::EmptyKey => {
                        "cannot serve (the key comes from MANAGER_AUTHKEY or --authkey-file)"
                    }
                    _ => "cannot serve",
                };
                anyhow::Error::new(error).context(mend)
            })?;
            let client = Client::connect(server.address(), &key)?;
            return Ok((Some(server), client));
        };
        let client = engine::<Master>(url, || self.key(), Duration::ZERO)?;
        let mut durability = None;
        for queue in queues {
            let name = queue.name().to_string();
            client.create(queue.lease(self.lease).replicas(self.replicas))?;
            if self.purge {
                client.purge(&name)?;
                client.purge(&format!("{name}.dead"))?;
            }
            // They are made alike, so what holds for one holds for all.
            durability = Some(client.durability(&name)?);
        }
        if let Some(durability) = durability {
            eprintln!("queues: {durability}");
        }
        Ok((None, client))
    }

    /// Says of a result that did not come what it waited for, and how to mend that.
    pub(crate) fn explain(&self, error: Error, server: Option<&Server>) -> anyhow::Error {
        let seconds = self.timeout.as_secs_f64();
        // The URL of an engine may have a password.
        let worker = match &self.queues {
            Some(url) if url.starts_with("nats:") || url.starts_with("tls:") => {
                "--features nats --bin task_worker -- --queues URL".to_string()
            }
            Some(_) => "--bin task_worker -- --queues URL".to_string(),
            None => match server.map(|server| server.address().to_string()) {
                Some(address) if address != ADDRESS => {
                    format!("--bin task_worker -- {address}")
                }
                _ => "--bin task_worker".to_string(),
            },
        };
        match error {
            Error::Empty => anyhow::anyhow!(
                "Empty: no result within {seconds} s: start a worker with cargo run -p distributed {worker}"
            ),
            error => error.into(),
        }
    }
}
