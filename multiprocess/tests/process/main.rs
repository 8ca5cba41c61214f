//! The promises of `Process`, in programs of one thread each.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

// How a process ended, and what `join` says of it.
mod outcome;
// What a handle can do, and what becomes of a process without one.
mod handle;
// Which processes there are, and handles beside that which started one.
mod active;
// What becomes of a process with all its descendants.
mod tree;
// What a child starts with, and what it prints.
mod start;
// What is left when processes end, and when their parent does.
mod remains;
// What becomes of the processes of a scope.
mod scope;

fn main() {
    let tests = [
        outcome::TESTS,
        handle::TESTS,
        active::TESTS,
        tree::TESTS,
        start::TESTS,
        remains::TESTS,
        scope::TESTS,
    ];
    support::main(&tests.concat())
}
