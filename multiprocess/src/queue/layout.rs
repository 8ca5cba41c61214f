//! What lies where in a queue's shared memory.
//!
//! Whoever writes a field, and when, is said here; [`ring`](super::ring) says how the fields make a
//! queue. Fields that different parties write lie on different cache lines.

use std::ops::Deref;

use crate::event_count::EventCount;
use crate::sys::mutex::RobustMutex;
use crate::sys::shm::shareable;
use crate::sys::word::{AtomicU32, AtomicU64};

/// How many rings a queue has: hot, warm, and two cold ones.
pub(crate) const RINGS: usize = 4;

/// The memory's parts: the rings, and behind them what is lent.
pub(crate) const AREAS: usize = RINGS + 1;

/// How many blocks are lent, or in the queue, at one time.
pub(crate) const BLOCKS: usize = 1024;

/// How many processes can be told apart as readers at one time.
pub(crate) const READERS: usize = 4096;

shareable! {
    /// The start of the shared memory; the rings follow.
    pub(crate) struct Header {
        /// Written once, by the creator.
        pub(crate) fixed: Fixed,
        /// Written by whoever holds `producers.lock`.
        pub(crate) producers: Producers,
        /// How many items were ever put. Its store commits a put.
        pub(crate) put: Line<AtomicU64>,
        /// Written by whoever holds `consumers.lock`.
        pub(crate) consumers: Consumers,
        /// What the consumers tell the producers.
        pub(crate) progress: ConsumerProgress,
        /// Consumers sleep here until there is an item.
        pub(crate) items: Line<EventCount>,
        /// Producers sleep here until there is room.
        pub(crate) room: Line<EventCount>,
        /// Those in `join` sleep here until everything is done.
        pub(crate) all_done: Line<EventCount>,
        /// How many items were reported by `task_done`, which anyone may call.
        pub(crate) done: Line<AtomicU64>,
        /// Who took how many.
        pub(crate) readers: [Reader; READERS],
        /// Who has which memory.
        pub(crate) lent: BlockTable,
    }

    /// A value with a cache line of its own.
    #[repr(align(64))]
    pub(crate) struct Line<T> {
        value: T,
    }

    /// What stays as it is, but for `closed`, which is set once with `producers.lock` held, and for
    /// `lent_reach`.
    #[repr(align(64))]
    pub(crate) struct Fixed {
        /// The most items the queue holds at a time; 0 for no limit.
        pub(crate) maxsize: AtomicU64,
        /// The sizes of the rings as powers of two, one in each byte.
        pub(crate) shifts: AtomicU32,
        /// 1 once the queue is closed.
        pub(crate) closed: AtomicU32,
        /// The size of what is lent, as a power of two.
        pub(crate) lent_shift: AtomicU32,
        /// Behind this byte, no block has any memory. Written with `producers.lock` held, and rarely;
        /// each put reads it.
        pub(crate) lent_reach: AtomicU64,
    }

    /// The producers' own state.
    #[repr(align(64))]
    pub(crate) struct Producers {
        pub(crate) lock: RobustMutex,
        /// Where the next record goes: `at[put % 2]` is in force, the other is free to be written.
        pub(crate) at: [AtomicU64; 2],
        /// A place up to which the current ring was free when last looked; only ever too low.
        pub(crate) free_seen: AtomicU64,
        /// A count of taken items as last looked at; only ever too low.
        pub(crate) taken_seen: AtomicU64,
        /// Where the producers left each ring; without meaning for the ring they are in.
        pub(crate) left: [AtomicU64; RINGS],
    }

    /// The consumers' own state.
    #[repr(align(64))]
    pub(crate) struct Consumers {
        pub(crate) lock: RobustMutex,
        /// Where the next record comes from: `at[taken % 2]` is in force, the other is free to be
        /// written.
        pub(crate) at: [AtomicU64; 2],
        /// A count of put items as last looked at; only ever too low.
        pub(crate) put_seen: AtomicU64,
        /// The end of the ring that the consumers left last, or were about to leave.
        pub(crate) leaving: AtomicU64,
        /// How many slots of `readers` were ever in use.
        pub(crate) readers_used: AtomicU32,
        /// Where to look next for a slot whose process is gone.
        pub(crate) readers_hand: AtomicU32,
    }

    /// Written by consumers with their lock held, read by producers.
    #[repr(align(64))]
    pub(crate) struct ConsumerProgress {
        /// How many items were ever taken. Its store commits a take.
        pub(crate) taken: AtomicU64,
        /// Up to where each ring's bytes may be written over, one lap further on.
        pub(crate) free: [AtomicU64; RINGS],
    }

    /// One process's slot. A slot is claimed with `consumers.lock` held.
    #[repr(align(64))]
    pub(crate) struct Reader {
        /// The process's [`Identity`](crate::sys::identity::Identity); 0 for the last slot, which is for
        /// all who found no other.
        pub(crate) owner: AtomicU64,
        /// Items it took, written before the take is committed.
        pub(crate) taken: AtomicU64,
        /// Items it reported done, written after they are counted in [`Header::done`].
        pub(crate) done: AtomicU64,
    }

    /// The memory that is lent, in blocks.
    #[repr(align(64))]
    pub(crate) struct BlockTable {
        /// How many places of `blocks` were ever in use. Written with `producers.lock` held, as the
        /// next is.
        pub(crate) used: AtomicU64,
        /// When somebody last looked for holders that are dead, in milliseconds.
        pub(crate) looked: AtomicU64,
        /// How many blocks were ever given back, by anyone.
        pub(crate) returned: Line<AtomicU64>,
        pub(crate) blocks: [Block; BLOCKS],
    }

    /// A stretch of the memory that is lent.
    #[repr(align(64))]
    pub(crate) struct Block {
        /// Who has it: 0 for nobody, else as [`blocks`](super::blocks) says. Its store is what lends
        /// a block, hands it on and gives it back.
        pub(crate) holder: AtomicU64,
        /// Its first byte and its length; without meaning while nobody has it.
        pub(crate) start: AtomicU64,
        pub(crate) bytes: AtomicU64,
    }
}

impl<T> Deref for Line<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}
