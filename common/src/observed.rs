//! What the operating system shows of a run.

use std::time::Duration;

use crate::evidence::LeftBehind;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was still running at the deadline, and was killed.
    Hung,
    /// The replay was told to stop, and killed it.
    Interrupted,
}

/// What the operating system showed of one run.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The number of the process that was started.
    pub pid: i32,
    /// How it ended.
    pub ended: Ended,
    /// How its companion ended, if it has one: the line after which it starts may never come.
    pub companion: Option<Ended>,
    /// The processes that were left behind, running or unreaped.
    pub left: Vec<LeftBehind>,
    /// Whether the port that was handed out is free again.
    pub port_free: Option<bool>,
    /// The port that was handed out.
    pub port: Option<u16>,
    /// The factor on all pauses.
    pub pace: f64,
    /// From start to end.
    pub took: Duration,
    /// How late the replay itself was served at worst: a measure of how busy the machine was, by
    /// which arrival times may be off.
    pub stall: Duration,
}
