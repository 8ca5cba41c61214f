//! What holds when an item's own code uses what the item goes through, as one does that fetches a part
//! of it.

use std::{sync::OnceLock, thread, time::Duration};

use multiprocess::{Connection, Pool, Queue, pipe};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::support::{SOON, block_on};

tests![
    an_item_uses_its_queue_while_it_is_written_and_read,
    a_message_uses_its_pipe_while_it_is_read,
    a_result_uses_its_pool_while_it_is_read,
];

/// A number, which calls one of these while it is written and read.
#[derive(Clone, Debug, PartialEq)]
struct Calls(u32, Vec<u8>);

static WHEN_WRITTEN: OnceLock<fn()> = OnceLock::new();
static WHEN_READ: OnceLock<fn()> = OnceLock::new();

impl Calls {
    /// One that has all bytes in it, and one with a part that has a place of its own.
    fn both(number: u32) -> [Calls; 2] {
        [1, 1 << 20].map(|len| Calls(number, vec![7; len]))
    }
}

impl Serialize for Calls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WHEN_WRITTEN.get().inspect(|call| call());
        (&self.1, self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Calls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Calls, D::Error> {
        let (bytes, number) = Deserialize::deserialize(deserializer)?;
        WHEN_READ.get().inspect(|call| call());
        Ok(Calls(number, bytes))
    }
}

static QUEUE: OnceLock<Queue<Calls>> = OnceLock::new();
static NUMBERS: OnceLock<Queue<u32>> = OnceLock::new();
static PIPE: OnceLock<(Connection<Calls, Calls>, Connection<Calls, Calls>)> = OnceLock::new();
static POOL: OnceLock<Pool> = OnceLock::new();

fn queue() -> &'static Queue<Calls> {
    QUEUE.get_or_init(|| Queue::new().unwrap())
}

fn numbers() -> &'static Queue<u32> {
    NUMBERS.get_or_init(|| Queue::new().unwrap())
}

fn pool() -> &'static Pool {
    POOL.get_or_init(|| Pool::new(1).unwrap())
}

fn an_item_uses_its_queue_while_it_is_written_and_read() {
    let look = || {
        let _ = queue().len();
        let _ = queue().get_timeout(Duration::ZERO);
        numbers().put(&1).unwrap();
        assert_eq!(numbers().get_timeout(SOON), Ok(1));
    };
    for item in Calls::both(3) {
        queue().put(&item).unwrap();
        assert_eq!(queue().get_timeout(SOON).unwrap(), item);
    }
    WHEN_WRITTEN.set(look).unwrap();
    for item in Calls::both(4) {
        queue().put(&item).unwrap();
        assert_eq!(queue().get_timeout(SOON).unwrap(), item);
    }
    WHEN_READ.set(look).unwrap();
    for item in Calls::both(5) {
        queue().put(&item).unwrap();
        assert_eq!(queue().get_timeout(SOON).unwrap(), item);
    }
}

fn a_message_uses_its_pipe_while_it_is_read() {
    let (first, second) = PIPE.get_or_init(|| pipe().unwrap());
    let pass = |message: &Calls| {
        thread::scope(|scope| {
            scope.spawn(|| first.send(message).unwrap());
            assert_eq!(second.recv_timeout(SOON).as_ref(), Ok(message));
        });
    };
    Calls::both(3).iter().for_each(pass);
    let look = || {
        let (first, second) = PIPE.get().unwrap();
        assert_eq!(first.poll(Duration::ZERO), Ok(false));
        assert!(second.recv_timeout(Duration::ZERO).is_err());
    };
    WHEN_READ.set(look).unwrap();
    Calls::both(4).iter().for_each(pass);
}

fn same(value: Calls) -> Calls {
    value
}

fn a_result_uses_its_pool_while_it_is_read() {
    // Before the calls are there, so that the worker makes none.
    pool().apply(same, Calls(1, vec![])).unwrap();
    let ask = || assert_eq!(pool().apply(|n: u32| n + 1, 1), Ok(2));
    WHEN_WRITTEN.set(ask).unwrap();
    WHEN_READ.set(ask).unwrap();
    for item in Calls::both(3) {
        let [first, second] = [0, 1].map(|_| pool().apply_async(same, item.clone()).unwrap());
        assert_eq!(first.get().as_ref(), Ok(&item));
        assert_eq!(first.get_timeout(SOON).as_ref(), Ok(&item));
        assert_eq!(block_on(second).as_ref(), Ok(&item));
        let items = || [item.clone(), item.clone()];
        let results = [
            pool().map(same, items()).unwrap(),
            pool().map_async(same, items()).unwrap().get().unwrap(),
            pool().imap(same, items()).map(Result::unwrap).collect(),
            pool()
                .imap_chunked(same, items(), 2)
                .map(Result::unwrap)
                .collect(),
            pool()
                .imap_unordered(same, items())
                .map(Result::unwrap)
                .collect(),
        ];
        results.iter().for_each(|it| assert_eq!(*it, items()));
    }
}
