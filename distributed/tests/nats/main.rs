//! The queues on an engine. Each test has a server of its own, on a free port of loopback.

mod cluster;
mod disk;
mod errors;
mod identity;
mod many;
mod permissions;
mod programs;
mod queue;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod tasks;
mod values;
mod workers;
