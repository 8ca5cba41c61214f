//! The names under which a server has what clients open: each is of one thing.

use std::collections::BTreeSet;

use super::queues::DEAD;
use super::replies::OF;
use crate::{Error, QueueOptions, Result};

/// Sees that what a server is to serve can be told apart, and opened, by its name.
pub(super) fn check<'n>(
    queues: &'n [QueueOptions],
    others: impl Iterator<Item = &'n String>,
) -> Result<()> {
    let own = |name: &str| queues.iter().find(|queue| queue.name == name);
    let names = queues.iter().map(|queue| queue.name.as_str());
    let mut known = BTreeSet::new();
    for name in names.clone().chain(others.map(String::as_str)) {
        let refuse = |reason: String| {
            let name = name.to_string();
            Err(Error::Name { name, reason })
        };
        if name.is_empty() {
            return refuse("it needs at least one character".to_string());
        }
        if name.starts_with('#') {
            return refuse(
                "by such names the protocol has calls of its own: choose another first character"
                    .to_string(),
            );
        }
        if !known.insert(name) {
            return refuse(
                "it is given twice, and the second would hide the first: give each queue, object \
                 and factory a name of its own"
                    .to_string(),
            );
        }
    }
    for name in names {
        let dead = name.strip_suffix(DEAD).and_then(own);
        let replies = name.split_once(OF).and_then(|(of, _)| own(of));
        let (made, of) = match (dead, replies) {
            (Some(of), _) if of.max_deliveries < u32::MAX => ("has the dead letters", of),
            (_, Some(of)) => ("has the results of one master", of),
            _ => continue,
        };
        return Err(Error::Name {
            name: name.to_string(),
            reason: format!(
                "the server makes the queue of this name, which {made} of `{}`: leave it out, or \
                 choose another name",
                of.name
            ),
        });
    }
    Ok(())
}
