//! The words of the shared memory that locks, events and rings are made of: the standard library's
//! atomics. In this crate's unit tests each access also passes a model of memory, which may answer
//! with an older value wherever the orderings allow that, as no x86 does.

#[cfg(not(test))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};

#[cfg(test)]
pub(crate) use modelled::*;

#[cfg(test)]
mod modelled {
    use std::{
        cell::RefCell,
        collections::HashMap,
        sync::{
            Arc, Mutex,
            atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst},
        },
    };

    use crate::sys::shm::shareable;

    /// How far a thread has come, by what it knows of each: a vector clock of two threads.
    type Clock = [u64; 2];

    fn join(clock: &mut Clock, other: Clock) {
        for (mine, theirs) in clock.iter_mut().zip(other) {
            *mine = theirs.max(*mine);
        }
    }

    struct Write {
        value: u64,
        by: usize,
        /// The writer's own time; 0 for what was there before.
        at: u64,
        /// What an acquire of this value brings with it.
        released: Clock,
        seq_cst: bool,
    }

    #[derive(Default)]
    struct Word {
        /// In the order of modification.
        writes: Vec<Write>,
        /// Which write each thread has seen last: it sees no older one again.
        seen: [usize; 2],
        /// When each thread last read it relaxed, for use as data.
        read_at: Clock,
    }

    /// What two threads may see of each other's stores, by the rules of C++ without fences.
    pub(crate) struct WeakMemory {
        words: HashMap<usize, Word>,
        clocks: [Clock; 2],
        random: u64,
    }

    thread_local! {
        static MODEL: RefCell<Option<(Arc<Mutex<WeakMemory>>, usize)>> =
            const { RefCell::new(None) };
    }

    /// Runs `work` as one of the two threads of a model.
    pub(crate) fn modelled<R>(
        model: &Arc<Mutex<WeakMemory>>,
        me: usize,
        work: impl FnOnce() -> R,
    ) -> R {
        MODEL.set(Some((Arc::clone(model), me)));
        let result = work();
        MODEL.set(None);
        result
    }

    /// Asks the model, if this thread is in one.
    fn ask<R>(question: impl FnOnce(&mut WeakMemory, usize) -> R) -> Option<R> {
        MODEL.with_borrow(|model| {
            let (model, me) = model.as_ref()?;
            Some(question(&mut model.lock().unwrap(), *me))
        })
    }

    fn acquires(order: Ordering) -> bool {
        matches!(order, Acquire | AcqRel | SeqCst)
    }

    fn releases(order: Ordering) -> bool {
        matches!(order, Release | AcqRel | SeqCst)
    }

    impl WeakMemory {
        /// A model whose old answers are drawn by this seed.
        pub(crate) fn new(seed: u64) -> Arc<Mutex<Self>> {
            Arc::new(Mutex::new(Self {
                words: HashMap::new(),
                clocks: [[0; 2]; 2],
                random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            }))
        }

        /// The word at this address, in which `value` stands.
        fn word(&mut self, address: usize, value: u64) -> &mut Word {
            let word = self.words.entry(address).or_default();
            // What the system changes is seen by all.
            if word.writes.last().is_none_or(|last| last.value != value) {
                *word = Word::default();
                word.writes.push(Write {
                    value,
                    by: 0,
                    at: 0,
                    released: [0; 2],
                    seq_cst: true,
                });
            }
            word
        }

        fn load(&mut self, me: usize, address: usize, value: u64, order: Ordering) -> u64 {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let (random, clock) = (self.random >> 20, self.clocks[me]);
            let word = self.word(address, value);
            let oldest = word.writes.iter().rposition(|write| {
                let is_in_order = order == SeqCst && write.seq_cst;
                is_in_order || write.at <= clock[write.by]
            });
            let oldest = oldest.unwrap_or(0).max(word.seen[me]);
            let latest = word.writes.len() - 1;
            let chosen = latest - (random % (latest - oldest + 1) as u64) as usize;
            word.seen[me] = chosen;
            let Write {
                value, released, ..
            } = word.writes[chosen];
            if order == Relaxed {
                word.read_at[me] = clock[me] + 1;
            }
            if acquires(order) {
                join(&mut self.clocks[me], released);
            }
            value
        }

        /// A store of `new`; of a read-modify-write, `acquired` has its ordering.
        fn store(
            &mut self,
            me: usize,
            address: usize,
            [before, new]: [u64; 2],
            order: Ordering,
            is_update: bool,
        ) {
            let mut clock = self.clocks[me];
            let word = self.word(address, before);
            let last = word.writes.last().expect("a word has a value").released;
            if is_update && acquires(order) {
                join(&mut clock, last);
            }
            let read_at = word.read_at[1 - me];
            assert!(
                order != Relaxed || is_update || read_at <= clock[1 - me],
                "the word at {address:#x} is written over, and nothing orders that after a read"
            );
            clock[me] += 1;
            let mut released = if releases(order) { clock } else { [0; 2] };
            if is_update {
                join(&mut released, last);
            }
            word.writes.push(Write {
                value: new,
                by: me,
                at: clock[me],
                released,
                seq_cst: order == SeqCst,
            });
            word.seen[me] = word.writes.len() - 1;
            self.clocks[me] = clock;
        }

        /// A compare-and-exchange that failed has seen the latest value.
        fn refused(&mut self, me: usize, address: usize, value: u64) {
            let word = self.word(address, value);
            word.seen[me] = word.writes.len() - 1;
        }
    }

    macro_rules! words {
        ($($name:ident: $type:ty),*) => {$(
            shareable! {
                pub(crate) struct $name {
                    word: std::sync::atomic::$name,
                }
            }

            impl $name {
                fn address(&self) -> usize {
                    self.as_ptr().addr()
                }

                pub(crate) fn as_ptr(&self) -> *mut $type {
                    self.word.as_ptr()
                }

                pub(crate) fn load(&self, order: Ordering) -> $type {
                    let value = self.word.load(order);
                    let answer = ask(|model, me| {
                        model.load(me, self.address(), value.into(), order) as $type
                    });
                    answer.unwrap_or(value)
                }

                pub(crate) fn store(&self, new: $type, order: Ordering) {
                    let change = [self.word.load(Relaxed), new].map(u64::from);
                    ask(|model, me| model.store(me, self.address(), change, order, false));
                    self.word.store(new, order);
                }

                #[allow(dead_code, clippy::allow_attributes, reason = "of one width only")]
                pub(crate) fn swap(&self, new: $type, order: Ordering) -> $type {
                    let before = self.word.swap(new, order);
                    self.updated(before, new, order);
                    before
                }

                #[allow(dead_code, clippy::allow_attributes, reason = "of one width only")]
                pub(crate) fn compare_exchange(
                    &self,
                    current: $type,
                    new: $type,
                    order: Ordering,
                    refused: Ordering,
                ) -> Result<$type, $type> {
                    let result = self.word.compare_exchange(current, new, order, refused);
                    match result {
                        Ok(before) => self.updated(before, new, order),
                        Err(value) => {
                            ask(|model, me| model.refused(me, self.address(), value.into()));
                        }
                    }
                    result
                }

                pub(crate) fn fetch_add(&self, more: $type, order: Ordering) -> $type {
                    let before = self.word.fetch_add(more, order);
                    self.updated(before, before.wrapping_add(more), order);
                    before
                }

                pub(crate) fn fetch_update(
                    &self,
                    order: Ordering,
                    fetch: Ordering,
                    next: impl Fn($type) -> Option<$type>,
                ) -> Result<$type, $type> {
                    let result = self.word.fetch_update(order, fetch, &next);
                    if let Some((before, new)) = result.ok().and_then(|it| Some((it, next(it)?))) {
                        self.updated(before, new, order);
                    }
                    result
                }

                fn updated(&self, before: $type, new: $type, order: Ordering) {
                    let change = [before, new].map(u64::from);
                    ask(|model, me| model.store(me, self.address(), change, order, true));
                }
            }
        )*};
    }

    words! { AtomicU32: u32, AtomicU64: u64 }
}
