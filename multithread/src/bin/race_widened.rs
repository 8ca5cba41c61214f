//! `In [13]`: the same race, wide enough to be lost on one processor too.

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
    for i in 0..100_000 {
        let balance = BALANCE.load(Relaxed);
        BALANCE.store(balance + n, Relaxed);
        let balance = BALANCE.load(Relaxed);
        // Only here: what was loaded has our n in it, and the other thread builds upon that n while
        // we store a balance without it. Before the first store it would never show: we would hold
        // a balance of whole rounds, and while we wait the other adds whole rounds, which are 0.
        if i % 1_000 == 0 {
            thread::yield_now();
        }
        BALANCE.store(balance - n, Relaxed);
    }
}
