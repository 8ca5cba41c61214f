//! `In [14]`: the same balance behind a lock.

use std::sync::Mutex;
use std::thread;

static BALANCE: Mutex<i64> = Mutex::new(0);

fn main() {
    thread::scope(|scope| {
        scope.spawn(|| run(5));
        scope.spawn(|| run(8));
    });
    println!("{}", BALANCE.lock().unwrap());
}

fn run(n: i64) {
    for _ in 0..1_000_000 {
        change(n);
    }
}

/// Adds n and takes it away again. The balance is inside the lock, so nobody can reach it without
/// the lock. The guard unlocks at the end of the function, also in a panic: Python's `try … finally`.
fn change(n: i64) {
    let mut balance = BALANCE.lock().unwrap();
    *balance += n;
    *balance -= n;
}
