//! `In [13]`: two threads, one balance, no lock.

use std::sync::RwLock;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::thread;

static BALANCE: AtomicI64 = AtomicI64::new(0);
/// Both begin when it is free. Without it the first thread could be done before the second has started.
/// A `Barrier` would keep the first for ever if the system had no room for the second.
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

/// Adds n and takes it away again. The sum is 0 if no thread comes between a load and its store.
///
/// Rust refuses this with a plain `i64`. With an atomic each load and each store is whole, so the
/// program is lawful. Between the two another thread can still come, as in Python.
fn change(n: i64) {
    let balance = BALANCE.load(Relaxed);
    BALANCE.store(balance + n, Relaxed);
    let balance = BALANCE.load(Relaxed);
    BALANCE.store(balance - n, Relaxed);
}
