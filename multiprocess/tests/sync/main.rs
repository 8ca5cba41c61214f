//! The promises of locks, events and shared values, in processes of one thread each.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

// Locks with what they guard.
mod mutex;
// Shared values and arrays.
mod values;
// Permits.
mod semaphore;

fn main() {
    support::main(&[mutex::TESTS, values::TESTS, semaphore::TESTS].concat())
}
