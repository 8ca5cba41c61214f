//! Blocks of the queues, in which large parts of arguments and results lie: with a worker, and with
//! the application.
//!
//! The block of an argument is the task's while it waits and its worker's from the take on; the block
//! of a result is its worker's until the put, and the application's until nobody asks for the result
//! any more. What a killed worker had, the supervisor has given back. So no block holds what is needed
//! for another try: of a task that may be tried again, the application keeps a copy.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{client::PoolClient, shared::PoolShared};
use crate::{
    Result, Serializable, codec,
    queue::{
        lending::{BlockWriter, Lent, TakenBlock},
        raw::{RawQueue, Wait},
    },
};

/// A block in the hands of this process, and how much of it is in use, in bytes.
pub(super) type LentBlock<'q> = (Lent<&'q RawQueue>, usize);

impl PoolClient {
    /// What takes the large parts of a task that is to be submitted. It waits for no memory: those
    /// parts then go with the other bytes.
    #[inline]
    pub(super) fn argument_block(&self) -> BlockWriter<'_> {
        BlockWriter::new(Some(&self.shared.tasks), Wait::No)
    }
}

/// What a worker has in hand besides bytes. Its own thread alone uses it.
#[derive(Default)]
pub(super) struct WorkerBlocks {
    /// Of the task in progress, until it is read.
    argument: Mutex<Option<TakenBlock>>,
    /// Of the last result, until it is put.
    result: Mutex<Option<TakenBlock>>,
    /// Whether there is such a result: most have none.
    has_result: AtomicBool,
}

impl WorkerBlocks {
    #[cold]
    pub(super) fn keep_argument(&self, block: TakenBlock) {
        lock(&self.argument).replace(block);
    }

    pub(super) fn take_argument(&self) -> Option<TakenBlock> {
        lock(&self.argument).take()
    }

    #[cold]
    pub(super) fn keep_result(&self, (lent, used): LentBlock<'_>) {
        lock(&self.result).replace((lent.into_lease(), used));
        self.has_result.store(true, Relaxed);
    }

    #[inline]
    pub(super) fn has_result(&self) -> bool {
        self.has_result.load(Relaxed)
    }

    #[inline]
    pub(super) fn take_result(&self) -> Option<TakenBlock> {
        if !self.has_result() {
            return None;
        }
        self.has_result.store(false, Relaxed);
        lock(&self.result).take()
    }
}

fn lock(block: &Mutex<Option<TakenBlock>>) -> MutexGuard<'_, Option<TakenBlock>> {
    block.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The result of a task that is no chunk: its bytes, and its block if it has one. Whoever reads it has a
/// share of it, and no need of the table: the code of a result may take its time, or use the pool.
pub(super) struct SharedResult {
    pub(super) bytes: Arc<[u8]>,
    pub(super) block: Option<Arc<ResultBlock>>,
}

impl SharedResult {
    pub(super) fn decode<R: Serializable>(&self) -> Result<R> {
        let block = self.block.as_ref().map_or(&[][..], |block| block.bytes());
        codec::decode_with_block(&self.bytes, block)
    }
}

/// The block of a result in the hands of the application.
pub(super) struct ResultBlock {
    lent: Lent<Results>,
    used: usize,
}

impl ResultBlock {
    #[cold]
    pub(super) fn new(shared: &Arc<PoolShared>, (lease, used): TakenBlock) -> Self {
        let lent = Lent::new(Results(Arc::clone(shared)), lease);
        Self { lent, used }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.lent.bytes()[..self.used]
    }
}

/// The queue of results, for as long as somebody has a block of it.
struct Results(Arc<PoolShared>);

impl Deref for Results {
    type Target = RawQueue;

    fn deref(&self) -> &RawQueue {
        &self.0.results
    }
}
