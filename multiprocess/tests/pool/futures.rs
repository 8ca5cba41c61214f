//! Results as futures: whatever becomes of a task, who awaits it is told.

use std::{
    future::Future,
    pin::{Pin, pin},
    process,
    sync::{Arc, mpsc},
    task::{Context, Wake, Waker},
    thread,
    time::Duration,
};

use multiprocess::{Error, Pool};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{task::JoinSet, time::timeout};

use crate::support::{SOON, block_on, eventually};

tests![
    tasks_are_awaited_beside_each_other,
    a_result_is_awaited_again_after_a_limit_of_time,
    a_result_that_is_there_is_had_at_once,
    whoever_awaits_a_killed_task_hears_of_it,
    a_pool_that_is_terminated_wakes_all_who_await,
    a_pool_that_is_broken_wakes_all_who_await,
    a_thread_that_waits_and_a_future_get_their_own_results,
    a_cancelled_task_wakes_who_awaits_it,
];

/// Sends a message when a future is woken.
struct Sends(mpsc::Sender<()>);

impl Wake for Sends {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

/// Polls a future that has to wait; the answer says when it is woken.
pub(crate) fn wait(future: Pin<&mut impl Future>) -> mpsc::Receiver<()> {
    let (sender, woken) = mpsc::channel();
    let waker = Waker::from(Arc::new(Sends(sender)));
    assert!(future.poll(&mut Context::from_waker(&waker)).is_pending());
    woken
}

fn tasks_are_awaited_beside_each_other() {
    let pool = Pool::new(2).unwrap();
    block_on(async {
        let mut squares = JoinSet::new();
        for n in 0..200_u64 {
            let square = pool.apply_async(|n: u64| (n, n * n), n).unwrap();
            squares.spawn(square);
        }
        for square in squares.join_all().await {
            let (n, square) = square.unwrap();
            assert_eq!(square, n * n);
        }
    });
}

fn a_result_is_awaited_again_after_a_limit_of_time() {
    let pool = Pool::new(1).unwrap();
    block_on(async {
        let nap = Duration::from_millis(200);
        let mut slept = pool.apply_async(thread::sleep, nap).unwrap();
        let early = timeout(Duration::from_millis(1), &mut slept).await;
        assert!(early.is_err());
        assert_eq!((&mut slept).await, Ok(()));
        assert_eq!(slept.await, Ok(()));
    });
}

fn a_result_that_is_there_is_had_at_once() {
    let pool = Pool::new(1).unwrap();
    let square = pool.apply_async(|n: u64| n * n, 9).unwrap();
    square.get().unwrap();
    assert_eq!(block_on(square), Ok(81));
}

fn whoever_awaits_a_killed_task_hears_of_it() {
    let pool = Pool::new(1).unwrap();
    let killed = pool.apply_async(
        |()| kill(Pid::from_raw(process::id().cast_signed()), Signal::SIGKILL).unwrap(),
        (),
    );
    let killed = block_on(killed.unwrap());
    assert!(matches!(killed, Err(Error::Killed { .. })), "{killed:?}");
}

fn a_pool_that_is_terminated_wakes_all_who_await() {
    let pool = Pool::new(1).unwrap();
    let endless = || {
        pool.apply_async(thread::sleep, Duration::from_secs(600))
            .unwrap()
    };
    let (mut a, mut b) = (pin!(endless()), pin!(endless()));
    let woken = [wait(a.as_mut()), wait(b.as_mut())];
    pool.terminate();
    for woken in woken {
        woken.recv_timeout(SOON).unwrap();
    }
    let ends = block_on(async { (a.await, b.await) });
    assert_eq!(ends, (Err(Error::Cancelled), Err(Error::Cancelled)));
}

fn a_pool_that_is_broken_wakes_all_who_await() {
    let pool = Pool::new(1).unwrap();
    let mut endless = pin!(
        pool.apply_async(thread::sleep, Duration::from_secs(600))
            .unwrap()
    );
    let woken = wait(endless.as_mut());
    let supervisor = Pid::from_raw(pool.supervisor_pid().cast_signed());
    kill(supervisor, Signal::SIGKILL).unwrap();
    woken.recv_timeout(SOON).unwrap();
    assert_eq!(block_on(endless), Err(Error::PoolBroken));
}

fn a_thread_that_waits_and_a_future_get_their_own_results() {
    let pool = Pool::new(2).unwrap();
    thread::scope(|scope| {
        for from in [0, 10_000] {
            let pool = &pool;
            scope.spawn(move || {
                for n in from..from + 500_u64 {
                    assert_eq!(pool.apply(|n: u64| n + 1, n), Ok(n + 1));
                }
            });
        }
        block_on(async {
            for n in 0..500_u64 {
                let next = pool.apply_async(|n: u64| n + 1, n).unwrap();
                assert_eq!(next.await, Ok(n + 1));
            }
        });
    });
}

fn a_cancelled_task_wakes_who_awaits_it() {
    let pool = Pool::new(1).unwrap();
    let busy = pool
        .apply_async(thread::sleep, Duration::from_secs(600))
        .unwrap();
    eventually("the worker is busy", || pool.progress().total == 1);
    let mut waits = pool.apply_async(|n: u64| n, 1).unwrap();
    let woken = wait(Pin::new(&mut waits));
    assert!(waits.cancel());
    woken.recv_timeout(SOON).unwrap();
    assert_eq!(block_on(waits), Err(Error::Cancelled));
    drop(busy);
}
