//! What becomes of the processes of a scope.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    thread,
    time::Duration,
};

use multiprocess::{Error, Queue, process::scope};

use crate::support::all_end;

tests![
    a_scope_that_is_done_waits_for_its_processes,
    a_handle_tells_the_value_after_its_scope,
    an_error_in_a_scope_is_seen_before_any_wait,
    a_panic_in_a_scope_ends_its_processes,
    what_was_moved_into_a_scoped_process_is_kept_until_its_end,
];

fn sleep_long() {
    thread::sleep(Duration::from_secs(600));
}

fn a_handle_tells_the_value_after_its_scope() {
    let process = scope(|scope| scope.spawn(|| vec![7_u8; 1 << 20])).unwrap();
    assert_eq!(process.join(), Ok(vec![7; 1 << 20]));
}

fn a_scope_that_is_done_waits_for_its_processes() {
    let done = Queue::<u32>::new().unwrap();
    let told = &done;
    let pids = scope(|scope| {
        let pids = [1, 2].map(|n| {
            let late = move || {
                thread::sleep(Duration::from_millis(50));
                told.put(&n).unwrap();
            };
            // The handle is dropped, which waits for nothing.
            scope.spawn(late).unwrap().pid()
        });
        assert!(done.is_empty());
        Ok::<_, Error>(pids)
    });
    assert_eq!(done.len(), 2);
    all_end(&pids.unwrap());
}

fn an_error_in_a_scope_is_seen_before_any_wait() {
    let queue = Queue::<u32>::new().unwrap();
    let mut pids = Vec::new();
    let failed = scope(|scope| {
        let reader = scope.spawn(|| queue.get().unwrap())?;
        let other = scope.spawn_with(|()| sleep_long(), ())?;
        pids = vec![reader.pid(), other.pid()];
        Err::<(), _>(Error::Empty)?;
        reader.join()
    });
    assert!(matches!(failed, Err(Error::Empty)), "{failed:?}");
    all_end(&pids);
}

fn a_panic_in_a_scope_ends_its_processes() {
    let mut pid = 0;
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        scope(|scope| -> Result<(), Error> {
            pid = scope.spawn(sleep_long)?.pid();
            panic!("in the scope");
        })
    }));
    assert!(panicked.is_err());
    all_end(&[pid]);
}

fn what_was_moved_into_a_scoped_process_is_kept_until_its_end() {
    struct Guard<'a>(&'a Cell<bool>);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let dropped = Cell::new(false);
    let gate = Queue::<()>::new().unwrap();
    let guard = Guard(&dropped);
    scope(|scope| {
        let process = scope.spawn({
            let gate = gate.clone();
            move || {
                let _guard = guard;
                gate.get().unwrap();
            }
        })?;
        assert!(!dropped.get());
        gate.put(&())?;
        process.join()
    })
    .unwrap();
    assert!(dropped.get());
}
