//! The promises of locks, events and shared values, in processes of one thread each.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

// Locks with what they guard.
mod mutex;
// Locks that many have for reading, or one for writing.
mod rwlock;
// Shared values and arrays.
mod values;
// Permits.
mod semaphore;
// Flags that processes wait for.
mod event;
// Waits for a change of what a lock guards.
mod condvar;
// Places where processes wait for each other.
mod barrier;
// What holds when a process writes over the shared memory.
mod damaged;
// What holds when processes are killed between two stores, at each, and who wakes whom.
#[cfg(feature = "kill-points")]
mod steps;
// The same, of barriers.
#[cfg(feature = "kill-points")]
mod barrier_steps;
// The same, of locks for reading and writing.
#[cfg(feature = "kill-points")]
mod rwlock_steps;

fn main() {
    let tests = [
        mutex::TESTS,
        rwlock::TESTS,
        values::TESTS,
        semaphore::TESTS,
        event::TESTS,
        condvar::TESTS,
        barrier::TESTS,
        damaged::TESTS,
    ];
    let at_kill_points: &[&[_]] = &[
        #[cfg(feature = "kill-points")]
        steps::TESTS,
        #[cfg(feature = "kill-points")]
        barrier_steps::TESTS,
        #[cfg(feature = "kill-points")]
        rwlock_steps::TESTS,
    ];
    // With the feature, those that need it. The others are run as users have the crate.
    match at_kill_points {
        [] => support::main(&tests.concat()),
        _ => support::main(&at_kill_points.concat()),
    }
}
