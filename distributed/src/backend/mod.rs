//! Where queues are: on a manager or, with the feature `nats`, on an engine.

pub(crate) mod manager;
#[cfg(feature = "nats")]
pub(crate) mod nats;
