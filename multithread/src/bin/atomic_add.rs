//! `In [14]`: the same balance without a lock, added to in one step.

use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::thread;

static BALANCE: AtomicI64 = AtomicI64::new(0);
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

/// Puts in and takes out again. Load and store are one step of the processor, so nobody comes
/// between them, which the two steps of `race` allow.
fn change(n: i64) {
    BALANCE.fetch_add(n, Relaxed);
    BALANCE.fetch_sub(n, Relaxed);
}
