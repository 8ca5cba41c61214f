//! The table of the notebook's cells: what each is, what it may print, and what that must satisfy.
//!
//! The recorded outputs are the notebook's own printed lines. Everything else that knows the cells
//! (their tests, the replay, the README's list) comes from [`CELLS`].

mod cell;
mod chapter1;
mod chapter5;
mod chapters2to4;
mod check;
mod sentence;

pub use cell::{
    Cell, Companion, ExpectedEnd, Line, Need, PictureKind, Role, Statistic, TimeSpan, Trials,
    Variant,
};
pub use check::Check;

/// The cells, in the notebook's order. Chapter 4 stands where its heading is.
pub static CELLS: [&Cell; 12] = [
    &chapter1::FORK,
    &chapter1::PROCESS,
    &chapter1::POOL,
    &chapter1::CALL,
    &chapter1::COMMUNICATE,
    &chapter1::QUEUE,
    &chapters2to4::THREAD,
    &chapters2to4::RACE,
    &chapters2to4::LOCK,
    &chapters2to4::LOCAL,
    &chapters2to4::PROCESS_VS_THREAD,
    &chapter5::MASTER,
];

/// The chapters: number, English and Chinese title.
pub const CHAPTERS: [(u8, &str, &str); 5] = [
    (1, "processes", "多进程"),
    (2, "threads", "多线程"),
    (3, "thread-local values", "ThreadLocal"),
    (4, "processes and threads compared", "进程 VS. 线程"),
    (5, "distributed processes", "分布式进程"),
];

/// The cell with this program.
pub fn cell(bin: &str) -> Option<&'static Cell> {
    CELLS.iter().copied().find(|cell| cell.bin == bin)
}
