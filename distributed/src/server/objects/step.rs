//! The steps of calls that wait.

use std::time::Duration;

use crate::server::waiter::Waiter;
use crate::wire::protocol::Fault;

/// How a call goes on.
pub(in crate::server) enum CallStep {
    Reply(Vec<u8>),
    Raise(Fault),
    Wait(ObjectWait),
    /// It has waited in a condition, and takes the lock again as often as it had it before.
    Reacquire {
        count: u64,
        notified: bool,
    },
}

/// What a call waits on, for how long, and what follows when that is over.
pub(in crate::server) struct ObjectWait {
    pub(in crate::server) waiter: Waiter<CallStep>,
    pub(in crate::server) timeout: Option<Duration>,
    pub(in crate::server) late: Box<CallStep>,
}
