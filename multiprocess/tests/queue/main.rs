//! The queue's promises, in processes of one thread each.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

// What holds while nobody is killed.
mod plain;
// Many items in one call.
mod batches;
// Futures that wait at a queue.
mod futures;
// Items of any size, and the memory that they take.
mod sizes;
// The queue as a stream.
mod stream;
// Items that are written and read where they lie.
mod lent;
// What holds when those who have them are killed.
mod lent_killed;
// What holds under limits of address space and of file sizes.
mod limits;
// What holds when an item's own code panics.
mod panics;
// What holds when it uses what the item goes through.
mod reentrant;
// What holds when a thread ends.
mod thread_end;
// What holds when a process writes over the shared memory.
mod damaged;
// What holds when processes are killed.
mod killed;
// What holds when processes are stopped and go on.
mod stopped;
// What holds when processes are killed between two stores, at each.
#[cfg(feature = "kill-points")]
mod steps;
// And those who lend and borrow.
#[cfg(feature = "kill-points")]
mod lent_steps;
// Who changes something wakes those who wait for it.
#[cfg(feature = "kill-points")]
mod wakes;
// And those futures.
#[cfg(feature = "kill-points")]
mod future_wakes;
// The promises of a pipe.
mod pipe;

fn main() {
    let tests = [
        plain::TESTS,
        batches::TESTS,
        futures::TESTS,
        sizes::TESTS,
        stream::TESTS,
        lent::TESTS,
        lent_killed::TESTS,
        limits::TESTS,
        panics::TESTS,
        reentrant::TESTS,
        thread_end::TESTS,
        damaged::TESTS,
        killed::TESTS,
        stopped::TESTS,
        pipe::TESTS,
    ];
    let at_kill_points: &[&[_]] = &[
        #[cfg(feature = "kill-points")]
        steps::TESTS,
        #[cfg(feature = "kill-points")]
        lent_steps::TESTS,
        #[cfg(feature = "kill-points")]
        wakes::TESTS,
        #[cfg(feature = "kill-points")]
        future_wakes::TESTS,
    ];
    // With the feature, those that need it. The others are run as users have the crate.
    match at_kill_points {
        [] => support::main(&tests.concat()),
        _ => support::main(&at_kill_points.concat()),
    }
}
