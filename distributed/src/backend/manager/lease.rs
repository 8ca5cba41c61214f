//! What a client of a manager has taken and is not done with.

use std::any::Any;

use super::owner::Owner;
use super::{ManagerQueue, nothing, waiting};
use crate::backend::{LeaseBackend, QueueBackend};
use crate::wire::pickle::Encoder;
use crate::wire::protocol::REASON_MAX;
use crate::{Error, Result};

/// What holds an item that is out. Dropped, the item goes back, if its queue has that.
#[derive(Debug)]
pub(super) struct ManagerLease<'q> {
    pub(super) out: Option<Out>,
    pub(super) queue: &'q ManagerQueue,
    owner: Owner,
}

/// By what an item is held.
#[derive(Debug)]
pub(super) enum Out {
    /// By a lease of this number.
    Leased(u64),
    /// By the connection alone.
    Got,
}

impl ManagerQueue {
    /// What holds an item that is out so.
    pub(super) fn held(&self, out: Out) -> Box<ManagerLease<'_>> {
        Box::new(ManagerLease {
            out: Some(out),
            queue: self,
            owner: Owner::me(),
        })
    }

    /// What this connection holds once an item was taken, which was read so.
    pub(super) fn taken(&self, read: Result<()>) -> Result<Vec<Box<dyn LeaseBackend + '_>>> {
        let held = || -> Box<dyn LeaseBackend> { self.held(Out::Got) };
        match read {
            // It comes again, for a worker that knows its type, or says what is wrong with it.
            Err(error @ Error::Item { .. }) => {
                held().fail(&error.to_string())?;
                Err(error)
            }
            read => read.map(|()| vec![held()]),
        }
    }

    /// What another queue is called here, if it is of the same server.
    pub(super) fn ident_here(&self, other: &dyn QueueBackend) -> Option<String> {
        let other = (other as &dyn Any).downcast_ref::<ManagerQueue>()?;
        let is_here = other.address == self.address;
        is_here.then(|| other.state().ident.clone())
    }
}

impl LeaseBackend for ManagerLease<'_> {
    fn done(mut self: Box<Self>) -> Result<()> {
        match self.out.take() {
            Some(Out::Leased(id)) => {
                self.queue
                    .call("ack", |args| _ = args.int(id.into()), nothing)
            }
            _ => Ok(()),
        }
    }

    fn fail(mut self: Box<Self>, reason: &str) -> Result<()> {
        if !self.queue.methods.contains("fail") {
            return Ok(());
        }
        // A longer one may be over the limit for messages, and its item would come to no end.
        let reason = &reason[..reason.floor_char_boundary(REASON_MAX)];
        let args = |args: &mut Encoder| {
            args.str(reason);
            if let Some(Out::Leased(id)) = self.out {
                args.int(id.into());
            }
        };
        match self.queue.call("fail", args, nothing) {
            // The lease is over: the item has gone back.
            Err(Error::Remote { .. }) | Ok(()) => {
                self.out = None;
                Ok(())
            }
            failed => failed,
        }
    }

    fn put_result(&mut self, results: &dyn QueueBackend, result: Vec<u8>) -> Result<bool> {
        match self.queue.ident_here(results) {
            // Over the same connection, so that for the server the one ends with the other.
            Some(ident) if matches!(self.out, Some(Out::Got)) => {
                let args = |args: &mut Encoder| waiting(args.item(&result), None);
                let mut state = self.queue.state();
                match state.attempt(&ident, "put", args, nothing) {
                    // The time of the item was over: another does it, and its result counts.
                    Err(error) if is_late(&error) => {
                        self.out = None;
                        return Ok(false);
                    }
                    put => put?,
                }
            }
            _ => results.put(vec![result], None)?,
        }
        Ok(true)
    }
}

/// Whether the server refuses a result since the time of its item was over.
pub(super) fn is_late(error: &Error) -> bool {
    matches!(error, Error::Remote { class, .. } if class == "RuntimeError")
}

impl Drop for ManagerLease<'_> {
    fn drop(&mut self) {
        match self.out {
            _ if !self.owner.is_me() => {}
            Some(Out::Leased(id)) => {
                let _ = self
                    .queue
                    .call("release", |args| _ = args.int(id.into()), nothing);
            }
            // The end of the connection is the only word for it that every server knows.
            Some(Out::Got) => drop(self.queue.state().connection.take()),
            None => {}
        }
    }
}
