//! What the command lines of the programs have in common.

use std::io::ErrorKind::ConnectionRefused;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use std::{env, fs, process};

use anyhow::Context;
use clap::{CommandFactory, Parser};
use common::command_line;
use distributed::{Client, Error};

pub(crate) use texts::TEXTS;

mod texts;

/// The command line of this program. Says what is wrong with one that is none, and exits with 2.
pub(crate) fn parse<Options: Parser>() -> Options {
    command_line::parse(&TEXTS).unwrap_or_else(|error| process::exit(command_line::tell(&error)))
}

/// Says what failed, in Chinese as far as the table has it, and exits with 1.
pub(crate) fn fail(error: &anyhow::Error) -> ! {
    let told = match command_line::is_chinese() {
        true => {
            let parts = error.chain().map(ToString::to_string);
            let parts = parts.map(|text| command_line::chinese(&TEXTS, &text).unwrap_or(text));
            parts.collect::<Vec<_>>().join("：")
        }
        false => format!("{error:#}"),
    };
    eprintln!("{told}");
    process::exit(1)
}

/// A client of what the URL names, for the program of these options; `key` is for a manager. Tries for
/// `time` while nobody listens there.
pub(crate) fn engine<Options: CommandFactory>(
    url: &str,
    key: impl FnOnce() -> anyhow::Result<Vec<u8>>,
    time: Duration,
) -> anyhow::Result<Client> {
    let unix = url.strip_prefix("unix://");
    if unix.is_some_and(|path| !path.starts_with(['/', '.', '@'])) {
        usage::<Options>("expected tcp://HOST:PORT or unix:///PATH");
    }
    if let Some(address) = url.strip_prefix("tcp://").or(unix) {
        let client = Client::connect_within(time, address, &key()?);
        return Ok(addressed::<Options, _>(client)?);
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
    command_line::refusal::<Options>(&TEXTS, text).exit()
}

/// What was made of an address; if it is none, says so and exits with 2.
pub(crate) fn addressed<Options: CommandFactory, T>(
    outcome: distributed::Result<T>,
) -> distributed::Result<T> {
    match outcome {
        Err(error @ Error::Address(_)) => usage::<Options>(&error.to_string()),
        outcome => outcome,
    }
}

/// The key, which no command line shows: what the file holds, without the line break at the end of a
/// text, or else the environment variable `MANAGER_AUTHKEY`.
pub(crate) fn key(file: Option<&Path>) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(file) = file else {
        return Ok(env::var_os("MANAGER_AUTHKEY").map(|key| key.into_encoded_bytes()));
    };
    let attempt = || format!("read the key from {}", file.display());
    let key = fs::read(file).with_context(attempt)?;
    let line = key
        .strip_suffix(b"\r\n")
        .or_else(|| key.strip_suffix(b"\n"));
    let is_text = |line: &&[u8]| {
        let text = std::str::from_utf8(line);
        text.is_ok_and(|text| !text.chars().any(char::is_control))
    };
    // In a key of random bytes such a byte may be the last one of it.
    Ok(Some(line.filter(is_text).unwrap_or(&key).to_vec()))
}

/// Reads a duration as Python writes a timeout: in seconds, with decimals if need be.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "expected a number of seconds".to_string())?;
    let time = Duration::try_from_secs_f64(seconds);
    time.map_err(|_| "expected a number of seconds, 0 at least, and no infinite one".to_string())
}

/// As [`seconds`], of a time that cannot be none.
pub(crate) fn some_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("expected more than 0".to_string()),
        time => Ok(time),
    }
}

/// Reads a number of what there has to be one of.
pub(crate) fn one_at_least<N: FromStr + From<bool> + PartialOrd>(text: &str) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| *number >= N::from(true));
    number.ok_or_else(|| "expected a number, 1 at least".to_string())
}
