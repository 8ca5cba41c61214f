//! The command lines of the chapter's programs.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Error, Result};

/// Serve two queues, put tasks in one, and print the results that workers put in the other.
#[derive(Debug, clap::Parser)]
pub struct Master {
    /// Address to serve the queues on
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5000")]
    pub bind: String,
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
pub struct Worker {
    /// Address of the master
    #[arg(value_name = "HOST:PORT", default_value = "127.0.0.1:5000")]
    pub address: String,
    /// How long the queue stays empty before the worker leaves
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub idle: Duration,
    /// The key.
    #[command(flatten)]
    pub authkey: Authkey,
}

impl Worker {
    /// The address without its port.
    pub fn host(&self) -> &str {
        let address = self.address.as_str();
        address.rsplit_once(':').map_or(address, |(host, _)| host)
    }
}

/// The option for the key.
#[derive(Debug, clap::Args)]
pub struct Authkey {
    /// File with the key that master and workers share [default: the notebook's key, abc]
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
        let Some(file) = &self.authkey_file else {
            return Ok(b"abc".to_vec());
        };
        let attempt = format!("read the key from {}", file.display());
        let mut key = fs::read(file).map_err(Error::io(attempt))?;
        for end in [b'\n', b'\r'] {
            key.pop_if(|byte| *byte == end);
        }
        Ok(key)
    }
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
