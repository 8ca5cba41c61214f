//! The command line of `manager`.

use std::io::{self, ErrorKind::ConnectionRefused};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use distributed::{Builder, Client, Error, ObjectType, QueueOptions, QueueOrder, Server};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use shared::{addressed, engine, key, one_at_least, some_seconds, usage};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

#[cfg(feature = "traces")]
use traces::Traces;

pub(crate) use shared::{fail, parse};
pub(crate) use words::say;

#[path = "../shared/mod.rs"]
mod shared;
#[cfg(feature = "top")]
#[path = "top/mod.rs"]
mod top;
#[cfg(feature = "traces")]
#[path = "traces.rs"]
mod traces;
#[path = "words.rs"]
mod words;

/// With less memory no client could say what it wants.
const MEMORY_LEAST: u64 = 64 << 10;

/// Serve queues to masters and workers in Python, of any version from 2.7 on, or in Rust.
///
/// The first line of the output is the address, and with --metrics the second one is theirs. SIGTERM and Ctrl-C end it.
#[derive(Debug, clap::Parser)]
#[command(name = "manager", args_conflicts_with_subcommands = true)]
pub(crate) struct Serve {
    /// Something else than to serve.
    #[command(subcommand)]
    pub(crate) command: Option<Ask>,
    /// Address to serve the queues on, or the path of a Unix socket, as /run/tasks.sock; messages are
    /// not encrypted, so mind who can reach it
    #[arg(
        long,
        value_name = "HOST:PORT or PATH",
        default_value = "127.0.0.1:5000"
    )]
    pub(crate) bind: String,
    /// A queue that clients open by this name, as tasks, tasks:100 or tasks:LifoQueue; may be given
    /// again
    #[arg(long, value_name = "NAME[:MAXSIZE][:TYPE]", value_parser = queue)]
    queue: Vec<QueueOptions>,
    /// An object of a type of Python's SyncManager that clients open by this name, as settings:dict
    /// or slots:Semaphore:4; may be given again
    #[arg(long, value_name = "NAME:TYPE[:NUMBER]", value_parser = object)]
    object: Vec<(String, ObjectType)>,
    /// A name that makes a queue, or an object of a type, whenever a client calls it; may be given
    /// again
    #[arg(long, value_name = "NAME[:TYPE]", value_parser = factory)]
    factory: Vec<(String, MadeType)>,
    /// Serve all names of Python's SyncManager but Pool: dict, list, Lock and the others
    #[arg(long)]
    sync_manager: bool,
    /// Drop a queue that a call has made when nobody has used it for so long [default: never]
    #[arg(long, value_name = "SECONDS", value_parser = some_seconds)]
    factory_timeout: Option<Duration>,
    /// Hand out again what a worker that is gone had taken from this queue; may be given again
    #[arg(long, value_name = "NAME")]
    redeliver: Vec<String>,
    /// Hand it out again too when a worker has had it for so long, though it is there
    #[arg(long, value_name = "SECONDS", value_parser = some_seconds, requires = "redeliver")]
    visibility_timeout: Option<Duration>,
    /// After so many times, an item goes to the queue NAME.dead
    #[arg(long, value_name = "TIMES", default_value_t = 3, value_parser = one_at_least::<u32>)]
    max_deliveries: u32,
    /// The memory for what clients send, three quarters of it for items, as 256M or 2G [default: half of what the machine has]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_memory: Option<u64>,
    /// The longest message, in bytes; a quarter of the memory at most
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30, value_parser = message)]
    max_message: u32,
    /// The most connections at one time of those who have proved the key
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = one_at_least::<usize>)]
    max_connections: usize,
    /// How long a client may take to prove that it has the key
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = some_seconds)]
    handshake_timeout: Duration,
    /// Let nobody in who proves the key by MD5, as Python up to 3.11 does
    #[arg(long)]
    require_sha256: bool,
    /// How long a client's machine may be silent before what it holds goes to others
    #[arg(long, value_name = "SECONDS", default_value = "90", value_parser = some_seconds)]
    peer_timeout: Duration,
    /// Answer HTTP there too: /metrics for Prometheus, and /health; without a key, so mind who can
    /// reach it
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    metrics: Option<String>,
    /// Send the life of each item, from when it was put until it is done, as a span to a collector of
    /// OpenTelemetry (OTLP over HTTP), as http://127.0.0.1:4318
    #[cfg(feature = "traces")]
    #[arg(long, value_name = "URL")]
    traces: Option<String>,
    /// What the log on standard error looks like; RUST_LOG chooses what is in it
    #[arg(long, value_enum, default_value_t = Log::Human)]
    log: Log,
    /// File with the key [default: the environment variable MANAGER_AUTHKEY]
    ///
    /// A line break at the end of a text is no part of the key. A key of other bytes is taken as it
    /// is.
    #[arg(long, value_name = "FILE", global = true)]
    authkey_file: Option<PathBuf>,
    /// The language of what is said; the default is the locale's
    #[arg(long, value_name = "LANG", global = true, value_enum, default_value_t = Language::of_locale(), hide_default_value = true)]
    lang: Language,
}

/// What can be asked of a manager that runs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Ask {
    /// Print the queues of a manager that runs: lengths, leases, deliveries
    Status {
        /// Where it listens, or the URL of an engine
        #[arg(
            value_name = "HOST:PORT, PATH or URL",
            default_value = "127.0.0.1:5000"
        )]
        address: String,
    },
    /// Print the figures of a manager or engine that runs as Prometheus reads them
    Metrics {
        /// Where it listens, or the URL of an engine
        #[arg(
            value_name = "HOST:PORT, PATH or URL",
            default_value = "127.0.0.1:5000"
        )]
        address: String,
        /// Answer HTTP there instead, with /metrics and /health, until the program is ended; its address
        /// is the first line of the output
        #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
        bind: Option<String>,
    },
    /// Watch the queues of a manager or engine on a terminal: rates, who holds what for how long, who
    /// waits
    Top(Top),
    /// Print the dead letters of a queue: how often each was tried, and why it failed
    Dead {
        /// The queue whose dead letters they are
        #[arg(value_name = "NAME")]
        name: String,
        /// Where the manager listens; an engine has no list of them
        #[arg(value_name = "HOST:PORT or PATH", default_value = "127.0.0.1:5000")]
        address: String,
        /// Put them back into the queue instead
        #[arg(long, conflicts_with = "purge")]
        retry: bool,
        /// Drop them instead
        #[arg(long)]
        purge: bool,
    },
}

/// What `manager top` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    /// Where it listens, or the URL of an engine
    #[arg(
        value_name = "HOST:PORT, PATH or URL",
        default_value = "127.0.0.1:5000"
    )]
    pub(crate) address: String,
    /// How often it looks
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = some_seconds)]
    pub(crate) interval: Duration,
}

/// A language of the terminal.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Language {
    En,
    Zh,
}

/// What a log looks like.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Log {
    /// A line for people
    Human,
    /// An object on a line
    Json,
}

/// What a factory makes.
#[derive(Clone, Copy, Debug)]
enum MadeType {
    Queue(QueueOrder),
    Object(ObjectType),
}

impl Serve {
    /// The key, which no command line shows: from the file or the environment.
    /// Without one, says so and exits with 2.
    pub(crate) fn key(&self) -> anyhow::Result<Vec<u8>> {
        match key(self.authkey_file.as_deref())? {
            Some(key) => Ok(key),
            None => usage::<Serve>("no key: set MANAGER_AUTHKEY or give --authkey-file"),
        }
    }

    /// A client of the manager or engine there.
    pub(crate) fn client(&self, address: &str) -> anyhow::Result<Client> {
        match address.contains("://") {
            true => engine::<Serve>(address, || self.key(), Duration::ZERO),
            false => {
                let client = Client::connect(address, &self.key()?);
                addressed::<Serve, _>(client).map_err(|error| match error {
                    Error::Io { ref source, .. } if source.kind() == ConnectionRefused => {
                        anyhow::Error::new(error).context(
                            "no manager to ask (start it, or name the address that it prints)",
                        )
                    }
                    error => error.into(),
                })
            }
        }
    }

    /// Asks what is to be asked, and prints what is said.
    pub(crate) fn ask(&self, ask: &Ask) -> anyhow::Result<()> {
        let (name, address, retry, purge) = match ask {
            Ask::Status { address } => {
                let status = self.client(address)?.status()?.to_string();
                return say(self.lang.status(status));
            }
            Ask::Metrics { address, bind } => {
                let client = self.client(address)?;
                match bind {
                    Some(bind) => client.serve_metrics(bind, |bound| drop(say(bound)))?,
                    None => say(client.status()?.to_prometheus().trim_end())?,
                }
                return Ok(());
            }
            Ask::Top(top) => return self.top(top),
            Ask::Dead {
                name,
                address,
                retry,
                purge,
            } => (name, address, retry, purge),
        };
        let client = self.client(address)?;
        if *retry {
            let number = client.retry_dead(name)?;
            say(self.lang.put_back(number, name))?;
        } else if *purge {
            let number = client.purge(&format!("{name}.dead"))?;
            say(self.lang.dropped(number, name))?;
        } else {
            let letters = client.dead_letters(name)?;
            say(self.lang.heads_of_dead_letters())?;
            for letter in letters {
                // What a worker said may have lines of its own.
                let reason = letter.reason.replace(['\r', '\n'], " ");
                say(format_args!(
                    "{:>5} {:>11} {reason}",
                    letter.tries, letter.bytes
                ))?;
            }
        }
        Ok(())
    }

    #[cfg(feature = "top")]
    fn top(&self, top: &Top) -> anyhow::Result<()> {
        if let Err(reason) = top::is_possible() {
            usage::<Serve>(&reason);
        }
        top::watch(top, self.lang, &self.client(&top.address)?)
    }

    #[cfg(not(feature = "top"))]
    fn top(&self, Top { address, .. }: &Top) -> anyhow::Result<()> {
        let with = "cargo run -p distributed --features top --bin manager -- top";
        usage::<Serve>(&format!(
            "this manager was built without `top`: {with} {address}"
        ))
    }

    /// Serves what the builder says.
    pub(crate) fn serve(&self, builder: Builder, key: &[u8]) -> anyhow::Result<Server> {
        match builder.serve(&self.bind, key) {
            Err(error @ Error::Name { .. }) => usage::<Serve>(&error.to_string()),
            server => addressed::<Serve, _>(server).context("cannot serve"),
        }
    }

    /// The server that the options describe.
    /// Exits with 2 when they contradict each other.
    pub(crate) fn builder(&self) -> Builder {
        let name = |queue: &QueueOptions| queue.name().to_string();
        let names: Vec<String> = self.queue.iter().map(name).collect();
        let makes_none = self.factory.is_empty() && !self.sync_manager;
        if names.is_empty() && self.object.is_empty() && makes_none {
            usage::<Serve>("nothing to serve: give --queue, --object, --factory or --sync-manager");
        }
        if let Some(unknown) = self.redeliver.iter().find(|name| !names.contains(name)) {
            usage::<Serve>(&format!("--redeliver {unknown} needs --queue {unknown}"));
        }
        let mut builder = Server::builder()
            .max_message(self.max_message)
            .max_connections(self.max_connections)
            .handshake_timeout(self.handshake_timeout)
            .peer_timeout(self.peer_timeout);
        if let Some(time) = self.factory_timeout {
            builder = builder.factory_timeout(time);
        }
        if self.require_sha256 {
            builder = builder.require_sha256();
        }
        if let Some(address) = &self.metrics {
            builder = builder.metrics(address);
        }
        if let Some(bytes) = self.max_memory {
            builder = builder.max_memory(bytes);
        }
        for queue in &self.queue {
            let redeliver = self.redeliver.contains(&name(queue));
            let mut queue = queue.clone().redeliver(redeliver);
            if let Some(time) = self.visibility_timeout.filter(|_| redeliver) {
                queue = queue.visibility_timeout(time);
            }
            builder = builder.queue(queue.max_deliveries(self.max_deliveries));
        }
        for (name, object) in &self.object {
            builder = builder.object(name, *object);
        }
        if self.sync_manager {
            builder = builder.sync_manager();
        }
        for (name, made) in &self.factory {
            builder = match made {
                MadeType::Queue(order) => builder.queue_factory(name, *order),
                MadeType::Object(object) => builder.object_factory(name, *object),
            };
        }
        builder
    }

    /// Starts the log and the traces, and takes as many descriptors as there may be: a connection
    /// needs one. The traces are sent until what is returned is dropped.
    pub(crate) fn prepare(&self) -> anyhow::Result<impl Sized> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let log = fmt::layer().with_writer(io::stderr);
        let log = match self.log {
            Log::Human => log.with_ansi(false).boxed(),
            Log::Json => log.json().boxed(),
        };
        let log = tracing_subscriber::registry().with(log.with_filter(filter));
        #[cfg(not(feature = "traces"))]
        let (log, traces) = (log, ());
        #[cfg(feature = "traces")]
        let traces = self.traces.as_deref().map(Traces::to).transpose()?;
        #[cfg(feature = "traces")]
        let log = log.with(traces.as_ref().map(Traces::layer));
        log.init();
        if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
        }
        Ok(traces)
    }
}

/// Reads a number of bytes, or of KiB, MiB, GiB: `1000`, `64K`, `256M`, `2G`.
fn bytes(text: &str) -> Result<u64, String> {
    let expected = || "expected a number of bytes, as 1000, 64K, 256M or 2G".to_string();
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let unit = match &text[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err(expected()),
    };
    let number: u64 = digits.parse().map_err(|_| expected())?;
    match number.checked_mul(unit) {
        Some(..MEMORY_LEAST) => Err("expected 64K at least".to_string()),
        bytes => bytes.ok_or_else(expected),
    }
}

/// Reads the length of the longest message, with room for what clients and server say to each other.
fn message(text: &str) -> Result<u32, String> {
    let bytes = text.parse().ok().filter(|bytes| *bytes >= 1024);
    bytes.ok_or_else(|| "expected a number of bytes, 1024 at least".to_string())
}

/// Reads where to answer HTTP.
fn host_and_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(text.to_string()),
        _ => Err("expected HOST:PORT, as 127.0.0.1:9100".to_string()),
    }
}

/// Reads `NAME`, and after it the most items, the type of queue, or both.
fn queue(text: &str) -> Result<QueueOptions, String> {
    let mut parts = text.split(':');
    let mut queue = match parts.next() {
        None | Some("") => return Err("a queue needs a name".into()),
        Some(name) => QueueOptions::new(name),
    };
    for part in parts {
        queue = match (part.parse(), part.parse()) {
            (Ok(maxsize), _) => queue.maxsize(maxsize),
            (_, Ok(order)) => queue.order(order),
            (_, Err(_)) => return Err("expected NAME:MAXSIZE or NAME:TYPE, as tasks:100".into()),
        };
    }
    Ok(queue)
}

/// Reads `NAME:TYPE` or `NAME:TYPE:NUMBER`.
fn object(text: &str) -> Result<(String, ObjectType), String> {
    match text.split_once(':') {
        Some(("", _)) => Err("an object needs a name".into()),
        Some((name, object)) => Ok((name.into(), object.parse()?)),
        None => Err("expected NAME:TYPE, as settings:dict".into()),
    }
}

/// Reads `NAME`, which makes a queue, or `NAME:TYPE`.
fn factory(text: &str) -> Result<(String, MadeType), String> {
    let Some((name, made)) = text.split_once(':') else {
        return Ok((text.into(), MadeType::Queue(QueueOrder::Fifo)));
    };
    match made.parse() {
        Ok(order) => Ok((name.into(), MadeType::Queue(order))),
        Err(_) => object(text).map(|(name, object)| (name, MadeType::Object(object))),
    }
}
