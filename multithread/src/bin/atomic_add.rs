//! `In [14]`: the same balance without a lock, added to in one step.

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
    for _ in 0..1_000_000 {
        change(n);
    }
}

/// Adds n and takes it away again. Each is one step of the processor, so no thread can come between
/// its load and its store. In `race` these are two steps.
fn change(n: i64) {
    BALANCE.fetch_add(n, Relaxed);
    BALANCE.fetch_sub(n, Relaxed);
}
