//! The command lines of the chapter's programs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use std::{env, fs, io};

use anyhow::Context;
use clap::CommandFactory;
use clap::error::ErrorKind;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tracing_subscriber::EnvFilter;

use crate::{Builder, Client, Error, Manager, QueueOptions, Result, Server};

/// Serve two queues, put tasks in one, and print the results that workers put in the other.
#[derive(Debug, clap::Parser)]
#[command(name = "task_master")]
pub struct Master {
    /// Address to serve the queues on
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5000")]
    pub bind: String,
    /// Have the queues on an engine instead: nats://HOST:PORT, with user:password@, /NAMESPACE and
    /// ?monitor=http://HOST:PORT as need be
    #[arg(long, value_name = "URL", conflicts_with = "bind")]
    pub queues: Option<String>,
    /// On how many nodes of the engine each task is stored: 1, 3 or 5
    #[arg(long, default_value_t = 1, requires = "queues")]
    replicas: usize,
    /// After how long without a sign of life a worker's tasks go to another one
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, requires = "queues")]
    lease: Duration,
    /// After so many deliveries a task is a dead letter
    #[arg(long, value_name = "TIMES", default_value_t = 3)]
    max_deliveries: u32,
    /// Empty the queues of what an earlier run left on the engine; workers should start after that
    #[arg(long, requires = "queues")]
    purge: bool,
    /// How long to wait for each result
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub timeout: Duration,
    /// How many tasks to put
    #[arg(long, default_value_t = 10)]
    pub count: u32,
    /// The key.
    #[command(flatten)]
    pub authkey: Authkey,
}

impl Master {
    /// Serves the queues, or makes them on the engine; and a client of them. At an engine it says
    /// on standard error what a loss of power would cost.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::serve`], of [`connect`](crate::connect()) and of [`Client::create`].
    pub fn start(&self, mut queues: Builder) -> anyhow::Result<(Option<Server>, Client)> {
        for queue in &mut queues.queues {
            queue.max_deliveries = self.max_deliveries.max(1);
        }
        let Some(url) = &self.queues else {
            let key = self.authkey.read()?;
            let served = queues.serve(&self.bind, &key);
            let server = served.context("cannot serve (--bind takes another address)")?;
            let client = Manager::connect(server.address(), &key)?;
            return Ok((Some(server), client));
        };
        let client = engine::<Master>(url, Duration::ZERO)?;
        let mut durability = None;
        for queue in queues.queues {
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
    pub fn explain(&self, error: Error) -> anyhow::Error {
        match error {
            Error::Empty => anyhow::anyhow!(
                "Empty: no result within {} s: start a worker with cargo run -p distributed --bin task_worker",
                self.timeout.as_secs_f64()
            ),
            error => error.into(),
        }
    }
}

/// Take tasks from a master and put their results, until no task comes or the master is gone.
#[derive(Debug, clap::Parser)]
#[command(name = "task_worker")]
pub struct Worker {
    /// Address of the master
    #[arg(value_name = "HOST:PORT", default_value = "127.0.0.1:5000")]
    pub address: String,
    /// Take tasks from an engine instead: nats://HOST:PORT, as the master has it
    #[arg(long, value_name = "URL", conflicts_with = "address")]
    pub queues: Option<String>,
    /// How many tasks to work on at the same time
    #[arg(long, value_name = "THREADS", default_value_t = 1)]
    concurrency: usize,
    /// The most short tasks that a thread fetches at a time
    #[arg(long, value_name = "TASKS", default_value_t = 32)]
    prefetch: usize,
    /// How long a task may take before another worker gets it too
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    time_limit: Option<Duration>,
    /// How long the queue stays empty before the worker leaves
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub idle: Duration,
    /// The key.
    #[command(flatten)]
    pub authkey: Authkey,
}

impl Worker {
    /// The host of the address, without the port, and without the secret of a URL.
    pub fn host(&self) -> &str {
        let address = self.queues.as_ref().unwrap_or(&self.address);
        let host = address
            .split_once("://")
            .map_or(address.as_str(), |(_, rest)| rest);
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let host = host.split(['/', '?', ',']).next().unwrap_or(host);
        host.rsplit_once(':').map_or(host, |(host, _)| host)
    }

    /// Joins the master, which may start up to 10 s later. An engine that goes away is waited for
    /// as long as a task would be, and at least 30 s.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](crate::connect()).
    pub fn connect(&self) -> anyhow::Result<Client> {
        let time = Duration::from_secs(10);
        let joined = match &self.queues {
            Some(url) => {
                let patience = self.idle.max(Duration::from_secs(30));
                return Ok(engine::<Worker>(url, time)?.reconnect_within(patience));
            }
            None => Manager::connect_within(time, &self.address, &self.authkey.read()?),
        };
        let start = "no master to join (start it with cargo run -p distributed --bin task_master)";
        joined.context(start)
    }

    /// What works as the options say. The first SIGTERM or Ctrl-C makes it finish what it is at,
    /// and a second one ends the program.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the signals cannot be caught.
    pub fn worker(&self) -> Result<crate::Worker> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            flag::register_conditional_shutdown(signal, 1, stop.clone())
                .and_then(|_| flag::register(signal, stop.clone()))
                .map_err(Error::io("catch SIGTERM and SIGINT"))?;
        }
        let worker = crate::Worker::new()
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

/// Serve queues to masters and workers in Python, of any version from 2.7 on, or in Rust.
///
/// The first line of the output is the address. SIGTERM and Ctrl-C end it.
#[derive(Debug, clap::Parser)]
#[command(name = "manager", args_conflicts_with_subcommands = true)]
pub struct Serve {
    /// Something else than to serve.
    #[command(subcommand)]
    pub command: Option<Ask>,
    /// Address to serve the queues on; messages are not encrypted, so mind who can reach it
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5000")]
    pub bind: String,
    /// A queue that clients open by this name; may be given again
    #[arg(long, value_name = "NAME[:MAXSIZE]", value_parser = queue)]
    queue: Vec<QueueOptions>,
    /// A name that makes a queue whenever a client calls it; may be given again
    #[arg(long, value_name = "NAME")]
    factory: Vec<String>,
    /// Hand out again what a worker that is gone had taken from this queue; may be given again
    #[arg(long, value_name = "NAME")]
    redeliver: Vec<String>,
    /// After so many times, an item goes to the queue NAME.dead
    #[arg(long, value_name = "TIMES", default_value_t = 3)]
    max_deliveries: u32,
    /// The longest message, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    max_message: u32,
    /// The most connections at one time
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    max_connections: usize,
    /// How long a client may take to prove that it has the key
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    handshake_timeout: Duration,
    /// What the log on standard error looks like; RUST_LOG chooses what is in it
    #[arg(long, value_enum, default_value_t = Log::Human)]
    log: Log,
    /// File with the key [default: the environment variable MANAGER_AUTHKEY]
    #[arg(long, value_name = "FILE", global = true)]
    authkey_file: Option<PathBuf>,
}

/// What can be asked of a manager that runs.
#[derive(Debug, clap::Subcommand)]
pub enum Ask {
    /// Print the queues of a manager that runs: lengths, leases, deliveries
    Status {
        /// Where it listens, or the URL of an engine
        #[arg(value_name = "HOST:PORT or URL", default_value = "127.0.0.1:5000")]
        address: String,
    },
}

/// What a log looks like.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Log {
    /// A line for people
    Human,
    /// An object on a line
    Json,
}

impl Serve {
    /// The key, which no command line shows: from the file or the environment.
    ///
    /// Without one, says so and exits with 2.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be read.
    pub fn key(&self) -> Result<Vec<u8>> {
        match given_key(self.authkey_file.as_ref())? {
            Some(key) => Ok(key),
            None => usage::<Serve>("no key: set MANAGER_AUTHKEY or give --authkey-file"),
        }
    }

    /// A client of the manager or engine there.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](crate::connect()).
    pub fn client(&self, address: &str) -> anyhow::Result<Client> {
        match address.contains("://") {
            true => engine::<Serve>(address, Duration::ZERO),
            false => Ok(Manager::connect(address, &self.key()?)?),
        }
    }

    /// The server that the options describe.
    ///
    /// Exits with 2 when they contradict each other.
    pub fn builder(&self) -> Builder {
        let name = |queue: &QueueOptions| queue.name().to_string();
        let names: Vec<String> = self.queue.iter().map(name).collect();
        if names.is_empty() && self.factory.is_empty() {
            usage::<Serve>("nothing to serve: give --queue or --factory");
        }
        if let Some(unknown) = self.redeliver.iter().find(|name| !names.contains(name)) {
            usage::<Serve>(&format!("--redeliver {unknown} needs --queue {unknown}"));
        }
        let mut builder = Manager::builder()
            .max_message(self.max_message)
            .max_connections(self.max_connections)
            .handshake_timeout(self.handshake_timeout);
        for queue in &self.queue {
            let redeliver = self.redeliver.contains(&name(queue));
            let queue = queue.clone().redeliver(redeliver);
            builder = builder.queue(queue.max_deliveries(self.max_deliveries));
        }
        self.factory
            .iter()
            .fold(builder, |builder, name| builder.factory(name))
    }

    /// Starts the log, and takes as many descriptors as there may be: a connection needs one.
    pub fn prepare(&self) {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr);
        match self.log {
            Log::Human => log.with_ansi(false).init(),
            Log::Json => log.json().init(),
        }
        if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
        }
    }
}

/// A client of what the URL names, for the program of these options. Tries for `time` while nobody
/// listens there.
fn engine<Options: CommandFactory>(url: &str, time: Duration) -> anyhow::Result<Client> {
    match crate::connect_within(time, url) {
        Err(error @ Error::Address(_)) => usage::<Options>(&error.to_string()),
        Err(error) if error.is_refused() => {
            Err(error).context("no engine to join (start it with nats-server -js -sd FOLDER)")
        }
        joined => Ok(joined?),
    }
}

fn usage<Options: CommandFactory>(text: &str) -> ! {
    Options::command()
        .error(ErrorKind::ValueValidation, text)
        .exit()
}

/// Reads `NAME` or `NAME:MAXSIZE`.
fn queue(text: &str) -> std::result::Result<QueueOptions, String> {
    let (name, maxsize) = match text.split_once(':') {
        Some((name, maxsize)) => (name, maxsize.parse().map_err(|_| "expected NAME:MAXSIZE")?),
        None => (text, 0),
    };
    match name {
        "" => Err("a queue needs a name".into()),
        name => Ok(QueueOptions::new(name).maxsize(maxsize)),
    }
}

/// The option for the key.
#[derive(Debug, clap::Args)]
pub struct Authkey {
    /// File with the key that master and workers share [default: the environment variable
    /// MANAGER_AUTHKEY, and without it the notebook's key, abc]
    #[arg(long, value_name = "FILE")]
    authkey_file: Option<PathBuf>,
}

impl Authkey {
    /// The key: what the file holds, without a line break at its end.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be read.
    pub fn read(&self) -> Result<Vec<u8>> {
        let given = given_key(self.authkey_file.as_ref())?;
        Ok(given.unwrap_or_else(|| b"abc".to_vec()))
    }
}

fn given_key(file: Option<&PathBuf>) -> Result<Option<Vec<u8>>> {
    let Some(file) = file else {
        return Ok(env::var_os("MANAGER_AUTHKEY").map(|key| key.into_encoded_bytes()));
    };
    let attempt = format!("read the key from {}", file.display());
    let mut key = fs::read(file).map_err(Error::io(attempt))?;
    for end in [b'\n', b'\r'] {
        key.pop_if(|byte| *byte == end);
    }
    Ok(Some(key))
}

/// Reads a duration as Python writes a timeout: in seconds, with decimals if need be.
///
/// # Errors
///
/// Says what is wrong with the text, for a usage error.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use distributed::options::seconds;
///
/// assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
/// assert!(seconds("-1").is_err());
/// ```
pub fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "expected a number of seconds".to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
