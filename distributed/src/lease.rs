use crate::Result;
use crate::backend::manager;
#[cfg(feature = "nats")]
use crate::backend::nats;
use crate::either::either;
#[cfg(doc)]
use crate::{Error, Queue};

/// An item that is out of its queue until it is known whether it was worked off; from
/// [`Queue::lease`]. Dropped, it goes back.
#[derive(Debug)]
pub struct Lease<'q, T> {
    /// The item.
    pub item: T,
    pub(crate) held: Held<'q, T>,
}

#[derive(Debug)]
pub(crate) enum Held<'q, T> {
    Manager(manager::Held<'q, T>),
    #[cfg(feature = "nats")]
    Engine(nats::Held<'q, T>),
}

impl<T> Lease<'_, T> {
    /// What tells the item from all others, on an engine.
    pub fn id(&self) -> Option<&str> {
        match &self.held {
            Held::Manager(_) => None,
            #[cfg(feature = "nats")]
            Held::Engine(held) => Some(held.id()),
        }
    }

    /// How often the item was handed out, with this time, on an engine.
    pub fn deliveries(&self) -> Option<u32> {
        match &self.held {
            Held::Manager(_) => None,
            #[cfg(feature = "nats")]
            Held::Engine(held) => Some(held.deliveries()),
        }
    }

    /// Of a dead letter on an engine: how often the work on it was begun, and why it is one.
    pub fn death(&self) -> Option<(u32, &str)> {
        match &self.held {
            Held::Manager(_) => None,
            #[cfg(feature = "nats")]
            Held::Engine(held) => held.death(),
        }
    }

    /// Says that the work begins, which an engine counts. False when the lease is over, and another
    /// may have the item.
    pub(crate) fn begin(&self) -> Result<bool> {
        match &self.held {
            Held::Manager(_) => Ok(true),
            #[cfg(feature = "nats")]
            Held::Engine(held) => held.begin(),
        }
    }

    /// Whether the item was out before, on an engine: it may be what its holder died of.
    pub(crate) fn is_suspect(&self) -> bool {
        self.deliveries().is_some_and(|deliveries| deliveries > 1)
    }

    /// Ends the lease: the item is worked off.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] or [`Error::LeaseOver`] when the lease is over, and the item may have been
    /// given to another; [`Error::Closed`] when the manager is gone.
    pub fn done(self) -> Result<()> {
        either!(self.held, Held, held => held.done())
    }

    /// Says that the work failed: the item goes back.
    ///
    /// On an engine it comes again after a pause that grows with each time, from 1 s to 5 minutes,
    /// and after its last delivery it is a dead letter with this reason.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`] when the dead letter cannot be stored.
    #[cfg_attr(not(feature = "nats"), expect(unused_variables))]
    pub fn fail(self, reason: &str) -> Result<()> {
        match self.held {
            Held::Manager(_) => Ok(()),
            #[cfg(feature = "nats")]
            Held::Engine(held) => held.fail(reason),
        }
    }
}
