//! What holds when an item's own code panics, as one does that parses a field with `unwrap`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use multiprocess::{Error, Pool, Queue, pipe};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::support::{Child, SOON};

tests![
    a_queue_goes_on_after_an_item_that_panics,
    a_pipe_goes_on_after_a_message_that_panics,
    a_pool_goes_on_after_an_argument_and_a_result_that_panic,
    results_that_panic_when_they_are_iterated_over_leave_nothing_behind,
];

/// A number, whose code panics at 1 when it is written, and at 2 when it is read where that is wished.
#[derive(Debug, PartialEq)]
struct Touchy(u32, Vec<u8>);

static PANICS_WHEN_READ: AtomicBool = AtomicBool::new(false);

impl Touchy {
    /// With a part so long that it has a place of its own.
    fn long(number: u32) -> Touchy {
        Touchy(number, vec![7; 1 << 20])
    }
}

impl Serialize for Touchy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(self.0 != 1, "it is written");
        (&self.1, self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Touchy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Touchy, D::Error> {
        let (bytes, number) = Deserialize::deserialize(deserializer)?;
        assert!(number != 2 || !PANICS_WHEN_READ.load(SeqCst), "it is read");
        Ok(Touchy(number, bytes))
    }
}

#[track_caller]
fn panics<T>(call: impl FnOnce() -> T) {
    assert!(
        catch_unwind(AssertUnwindSafe(call)).is_err(),
        "it does not panic"
    );
}

fn a_queue_goes_on_after_an_item_that_panics() {
    let queue = Queue::new().unwrap();
    for number in [0, 3] {
        panics(|| queue.put(&Touchy(1, vec![])));
        panics(|| queue.put(&Touchy::long(1)));
        panics(|| queue.put_many(&[Touchy::long(0), Touchy::long(1)]));
        for item in [Touchy(2, vec![]), Touchy::long(2), Touchy::long(number)] {
            queue.put(&item).unwrap();
        }
        PANICS_WHEN_READ.store(true, SeqCst);
        panics(|| queue.get());
        panics(|| queue.get());
        PANICS_WHEN_READ.store(false, SeqCst);
        // Another process finds it whole, and so does this one.
        let child = Child::fork(|| {
            assert_eq!(queue.get_timeout(SOON).unwrap(), Touchy::long(number));
            queue.put(&Touchy::long(4)).unwrap();
        });
        child.succeed();
        assert_eq!(queue.get_timeout(SOON).unwrap(), Touchy::long(4));
        assert!(queue.is_empty());
    }
}

fn a_pipe_goes_on_after_a_message_that_panics() {
    let (sender, receiver) = pipe::<Touchy, Touchy>().unwrap();
    panics(|| sender.send(&Touchy::long(1)));
    sender.send(&Touchy(2, vec![])).unwrap();
    sender.send(&Touchy(4, vec![])).unwrap();
    PANICS_WHEN_READ.store(true, SeqCst);
    panics(|| receiver.recv());
    PANICS_WHEN_READ.store(false, SeqCst);
    assert_eq!(receiver.recv().unwrap(), Touchy(4, vec![]));
}

fn same(value: Touchy) -> Touchy {
    value
}

fn one(_: u32) -> Touchy {
    Touchy(1, vec![])
}

fn arm(_: u32) {
    PANICS_WHEN_READ.store(true, SeqCst);
}

fn a_pool_goes_on_after_an_argument_and_a_result_that_panic() {
    let pool = Pool::new(1).unwrap();
    panics(|| pool.apply(same, Touchy::long(1)));
    let error = pool.apply(one, 0).unwrap_err();
    assert!(matches!(error, Error::Panicked { .. }), "{error}");
    PANICS_WHEN_READ.store(true, SeqCst);
    let result = pool.apply(same, Touchy::long(4)).unwrap();
    assert_eq!(result, Touchy::long(4));
    PANICS_WHEN_READ.store(false, SeqCst);
    // In the worker, where it is an argument.
    pool.apply(arm, 0).unwrap();
    let error = pool.apply(same, Touchy::long(2)).unwrap_err();
    assert!(matches!(error, Error::Panicked { .. }), "{error}");
    let results = pool.map(same, [Touchy(4, vec![]), Touchy(2, vec![])]);
    let error = results.unwrap_err().to_string();
    assert!(error.contains("it is read"), "{error}");
    assert_eq!(pool.map(same, [Touchy(4, vec![])]).unwrap().len(), 1);
}

fn long(number: u32) -> Touchy {
    Touchy::long(number)
}

fn results_that_panic_when_they_are_iterated_over_leave_nothing_behind() {
    let pool = Pool::new(1).unwrap();
    // A hundred panics need not be read.
    std::panic::set_hook(Box::new(|_| {}));
    let mut first_peak = None;
    for _ in 0..6 {
        let mut results = pool.imap(long, [2; 16]);
        PANICS_WHEN_READ.store(true, SeqCst);
        for _ in 0..16 {
            panics(|| results.next());
        }
        PANICS_WHEN_READ.store(false, SeqCst);
        drop(results);
        let now = memory();
        let first = *first_peak.get_or_insert(now);
        // What the first ones took is used again.
        assert!(now <= first + (24 << 20), "{now} bytes, {first} at first");
    }
}

/// What this process has in memory, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    kib << 10
}
