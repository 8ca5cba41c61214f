//! What this machine has of what the cells want.

use std::net::ToSocketAddrs;
use std::thread;

use common::notebook::{CELLS, Need};
use common::stand_in;

use crate::Exit;
use crate::cli::Lang;
use crate::output::say;

/// Whether the machine has it. A name server is asked for a name, which may take a while.
pub(crate) fn has(need: Need) -> bool {
    match need {
        Need::Nslookup => stand_in::find("nslookup").is_some(),
        Need::Dns => ("python.org", 80).to_socket_addrs().is_ok(),
        Need::TwoCpus => processors() >= 2,
    }
}

/// How many processors this program may use: fewer than the machine has when it is pinned.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

pub(crate) fn doctor(lang: Lang) -> anyhow::Result<Exit> {
    let (cells, processors) = (lang.cells(CELLS.len()), lang.processors(processors()));
    match lang {
        Lang::En => say!("✓ {cells} can be replayed, on {processors}")?,
        Lang::Zh => say!("✓ 可以重放 {cells}，用 {processors}")?,
    }
    for need in Need::ALL {
        match has(need) {
            true => say!("✓ {}", need.name())?,
            false => say!("! {}", lang.missing(need))?,
        }
    }
    Ok(Exit::Held)
}
