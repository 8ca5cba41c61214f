//! `In [13]`: the same race, wide enough to be lost on one processor too.

use std::sync::RwLock;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::thread;

static BALANCE: AtomicI64 = AtomicI64::new(0);
static START: RwLock<()> = RwLock::new(());

fn main() {
    thread::scope(|scope| {
        let not_yet = START.write();
        scope.spawn(|| run(5));
        scope.spawn(|| run(8));
        drop(not_yet);
    });
    println!("{}", BALANCE.load(Relaxed));
}

fn run(n: i64) {
    drop(START.read());
    for i in 0..100_000 {
        let balance = BALANCE.load(Relaxed);
        BALANCE.store(balance + n, Relaxed);
        let balance = BALANCE.load(Relaxed);
        // We wait here, because the balance now has our n in it. The other thread adds to it, and
        // our store then overwrites what it added. A wait before the first store would show
        // nothing: both threads would have done whole rounds, and a whole round adds 0.
        if i % 1_000 == 0 {
            thread::yield_now();
        }
        BALANCE.store(balance - n, Relaxed);
    }
}
