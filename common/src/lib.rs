//! What the chapters share: the table of the notebook's cells, and what replays and checks them.
//!
//! - [`notebook`] is the table: one entry per cell, with the lines that it may print and the
//!   checks that these must pass. Tests, replay and documents all come from it.
//! - [`pattern`] and [`transcript`] read what a cell printed, [`speakers`] says who printed it, and
//!   [`printout`] keeps both.
//! - [`check`] judges the lines, with what the system showed ([`observed`]); [`evidence`] is what it
//!   finds, and [`verdict`] sums up.
//! - [`replay`] runs one cell, to a deadline, and notes what arrived when and what stayed behind.
//! - [`program`] is for tests and tools: a program that is killed with its descendants when dropped.
//!   [`nats_server`] starts the engine, and [`chinese`] looks at how Chinese text is set.
//! - [`pace`], [`draw`] and [`stand_in`] are what the cells themselves use, so that a replay can
//!   speed up their pauses, repeat their draws and do without the network; [`environment`] checks what
//!   they are told. [`locale`] says in which language a reader reads, and `command_line` (the feature
//!   `command-line`) has clap speak it. [`ratio`] is one rounding for a cell and its picture.
//!
//! This crate knows no chapter and has no `unsafe`.

pub mod check;
pub mod chinese;
#[cfg(feature = "command-line")]
pub mod command_line;
pub mod draw;
pub mod environment;
pub mod evidence;
pub mod far_away;
pub mod locale;
pub mod nats_server;
pub mod notebook;
pub mod observed;
pub mod pace;
pub mod pattern;
pub mod printout;
pub mod program;
pub mod ratio;
pub mod replay;
pub mod speakers;
pub mod stand_in;
pub mod transcript;
pub mod verdict;
