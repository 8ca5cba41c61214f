//! What the command lines of the programs have in common.

use std::io::ErrorKind::ConnectionRefused;
use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use anyhow::Context;
use clap::CommandFactory;
use clap::error::ErrorKind;
use distributed::{Client, Error};

/// A client of what the URL names, for the program of these options. Tries for `time` while nobody
/// listens there.
pub(crate) fn engine<Options: CommandFactory>(url: &str, time: Duration) -> anyhow::Result<Client> {
    if let Some(address) = url.strip_prefix("tcp://") {
        let key = key(None)?.unwrap_or_else(|| b"abc".to_vec());
        return Ok(Client::connect_within(time, address, &key)?);
    }
    match distributed::connect_within(time, url) {
        Err(error @ Error::Address(_)) => usage::<Options>(&error.to_string()),
        Err(Error::Io { attempt, source }) if source.kind() == ConnectionRefused => {
            let error = anyhow::Error::new(source).context(attempt);
            Err(error.context("no engine to join (start it with nats-server -js -sd FOLDER)"))
        }
        joined => Ok(joined?),
    }
}

/// Says what is wrong with the command line, and exits with 2.
pub(crate) fn usage<Options: CommandFactory>(text: &str) -> ! {
    Options::command()
        .error(ErrorKind::ValueValidation, text)
        .exit()
}

/// The key, which no command line shows: what the file holds, without a line break at its end, or
/// else the environment variable `MANAGER_AUTHKEY`.
pub(crate) fn key(file: Option<&Path>) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(file) = file else {
        return Ok(env::var_os("MANAGER_AUTHKEY").map(|key| key.into_encoded_bytes()));
    };
    let attempt = || format!("read the key from {}", file.display());
    let mut key = fs::read(file).with_context(attempt)?;
    for end in [b'\n', b'\r'] {
        key.pop_if(|byte| *byte == end);
    }
    Ok(Some(key))
}

/// Reads a duration as Python writes a timeout: in seconds, with decimals if need be.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "expected a number of seconds".to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
