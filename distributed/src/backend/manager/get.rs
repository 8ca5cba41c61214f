//! Items that are got: those that are not of the wanted type are told at once.

use std::time::Duration;

use super::{ManagerQueue, nothing, seconds, waiting};
use crate::backend::{Encoded, Read};
use crate::wire::pickle::{Encoder, Pickle, Span, ValueKind};
use crate::{Error, Result};

/// What came in a list.
struct GotList {
    count: usize,
    /// What is not of the wanted type, by its place.
    wrong: Vec<(usize, Error)>,
    /// All of it, if there is anything wrong.
    pickle: Vec<u8>,
}

impl ManagerQueue {
    /// Up to `n` items: at least one, or an error.
    pub(super) fn get_items(&self, n: usize, timeout: Option<Duration>, read: Read) -> Result<()> {
        if let Some(error) = self.state().unsaid.take() {
            return Err(error);
        }
        if n != 1 && self.methods.contains("get_many") {
            return self.get_list(n, timeout, read);
        }
        self.get_one(timeout, read)?;
        for _ in 1..n {
            match self.get_one(Some(Duration::ZERO), read) {
                Err(Error::Empty) => break,
                // Those before it are here, and nowhere else: the error is met by the next call.
                Err(error @ Error::Item { .. }) => {
                    self.state().unsaid = Some(error);
                    break;
                }
                got => got?,
            }
        }
        Ok(())
    }

    pub(super) fn get_one(&self, timeout: Option<Duration>, read: Read) -> Result<()> {
        let item = |reply: &Pickle, item| Ok(read(Encoded::Pickle(reply, item)));
        let outcome = self.call("get", |args| waiting(args, timeout), item)?;
        outcome.or_else(|error| self.fail_wrong(error))
    }

    fn get_list(&self, n: usize, timeout: Option<Duration>, read: Read) -> Result<()> {
        // More than an `int` of 64 bits are as good as all.
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        let args = |args: &mut Encoder| seconds(args.int(n.into()), timeout);
        let got = self.call("get_many", args, |reply, list| read_list(reply, list, read))?;
        let mut held = got.count;
        // From the last one on, so that the others keep their places.
        for (place, error) in got.wrong.iter().rev() {
            let is_held = self.fail_one_of(*place, held, error)?;
            if !is_held && held == got.count {
                // Its queue does not redeliver, and all that was taken is here alone.
                return Err(whole(got));
            }
            held -= 1;
        }
        match got.wrong.into_iter().next() {
            // What is wrong comes again, and is told when it comes alone.
            Some((_, error)) if held == 0 => Err(error),
            _ => Ok(()),
        }
    }

    /// Says that what the connection holds is not of the wanted type, if it holds anything: so it
    /// comes again, or is a dead letter. The next call would say that it is done.
    fn fail_wrong(&self, error: Error) -> Result<()> {
        if matches!(error, Error::Item { .. }) {
            self.fail_held(|args| _ = args.str(&error.to_string()))?;
        }
        Err(error)
    }

    /// The same of one of so many items. False when the connection does not hold so many.
    fn fail_one_of(&self, place: usize, held: usize, error: &Error) -> Result<bool> {
        self.fail_held(|args| {
            let args = args.str(&error.to_string()).none();
            args.int(place as i128).int(held as i128);
        })
    }

    /// Says so of what the connection holds. False when it holds no such thing.
    fn fail_held(&self, args: impl Fn(&mut Encoder)) -> Result<bool> {
        if !self.methods.contains("fail") {
            return Ok(false);
        }
        match self.attempt("fail", args, nothing) {
            Ok(()) => Ok(true),
            // What it held went back with the connection.
            Err(Error::Remote { .. } | Error::Closed { .. } | Error::ShutDown { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The first error, with the list: all of its items were taken.
fn whole(got: GotList) -> Error {
    match got.wrong.into_iter().next() {
        Some((
            _,
            Error::Item {
                item_type, source, ..
            },
        )) => Error::Item {
            item_type,
            source,
            pickle: got.pickle,
        },
        Some((_, error)) => error,
        None => Error::Empty,
    }
}

/// Reads the items of a list, as far as they are of the wanted type.
fn read_list(reply: &Pickle, list: Span, read: Read) -> Result<GotList> {
    if reply.kind(list.value) != ValueKind::List {
        return Err(Error::Protocol("many items are not a list".into()));
    }
    let (mut count, mut wrong) = (0, Vec::new());
    for item in reply.inside(list.value) {
        if let Err(error) = read(Encoded::Pickle(reply, item)) {
            wrong.push((count, error));
        }
        count += 1;
    }
    let pickle = match wrong.is_empty() {
        true => Vec::new(),
        false => reply.part(list).unwrap_or_default(),
    };
    Ok(GotList {
        count,
        wrong,
        pickle,
    })
}
