//! `In [13]`: two threads, one balance, no lock.

use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::thread;

static BALANCE: AtomicI64 = AtomicI64::new(0);
/// Starting a thread takes as long as many loops: without it the first could be done too early.
static START: Barrier = Barrier::new(2);

fn main() {
    thread::scope(|scope| {
        scope.spawn(|| run(5));
        scope.spawn(|| run(8));
    });
    println!("{}", BALANCE.load(Relaxed));
}

fn run(n: i64) {
    START.wait();
    for _ in 0..1_000_000 {
        change(n);
    }
}

/// Puts in and takes out again: 0, if nobody else comes between a load and its store.
///
/// Rust refuses this with a plain `i64`. Atomics make each load and each store whole, and so the
/// program lawful; the step between the two is as open as in Python.
fn change(n: i64) {
    let balance = BALANCE.load(Relaxed);
    BALANCE.store(balance + n, Relaxed);
    let balance = BALANCE.load(Relaxed);
    BALANCE.store(balance - n, Relaxed);
}
