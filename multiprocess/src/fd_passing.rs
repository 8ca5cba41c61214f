//! Handing descriptors to a process that did not inherit them.
//!
//! A queue is a descriptor, and bytes cannot carry one. While a process is being started, the
//! descriptors of all that is serialised for it are collected here and travel beside the bytes,
//! which hold their places; in the new process they are provided while the bytes are read.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sys::shm::{Shareable, Shared};

/// What a descriptor says that is serialised while no process is being started.
pub(crate) const NOT_AT_START: &str = "there is no process being started";

thread_local! {
    static COLLECTED: RefCell<Option<Vec<OwnedFd>>> = const { RefCell::new(None) };
    static PROVIDED: RefCell<Vec<Option<OwnedFd>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work`, within which descriptors may be given, and returns them in the order of their
/// places.
pub(crate) fn collect<R>(work: impl FnOnce() -> R) -> (R, Vec<OwnedFd>) {
    /// Puts back what was there before, also when `work` panics.
    struct Outer(Option<Vec<OwnedFd>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            COLLECTED.set(self.0.take());
        }
    }
    let _outer = Outer(COLLECTED.replace(Some(Vec::new())));
    let result = work();
    (result, COLLECTED.take().unwrap_or_default())
}

/// Runs `work`, within which each of these descriptors may be taken once.
pub(crate) fn provide<R>(descriptors: Vec<OwnedFd>, work: impl FnOnce() -> R) -> R {
    struct Outer(Vec<Option<OwnedFd>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            PROVIDED.set(std::mem::take(&mut self.0));
        }
    }
    let provided = descriptors.into_iter().map(Some).collect();
    let _outer = Outer(PROVIDED.replace(provided));
    work()
}

/// A descriptor within what is serialised for a process.
#[derive(Debug)]
pub(crate) struct Descriptor<F>(pub(crate) F);

impl<F: AsFd> Serialize for Descriptor<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = give(self.0.as_fd()).map_err(S::Error::custom)?;
        serializer.serialize_u32(place)
    }
}

impl<'de> Deserialize<'de> for Descriptor<OwnedFd> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let descriptor = take(u32::deserialize(deserializer)?);
        let absent = || D::Error::custom("its descriptor was not handed over with these bytes");
        descriptor.map(Self).ok_or_else(absent)
    }
}

impl<H: Shareable> Serialize for Shared<H> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Descriptor(self).serialize(serializer)
    }
}

impl<'de, H: Shareable> Deserialize<'de> for Shared<H> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Descriptor(file) = Descriptor::deserialize(deserializer)?;
        Self::map(file).map_err(D::Error::custom)
    }
}

/// Adds a duplicate of the descriptor to those collected and returns its place; fails outside of
/// [`collect`].
fn give(descriptor: BorrowedFd<'_>) -> io::Result<u32> {
    COLLECTED.with_borrow_mut(|collected| {
        let Some(collected) = collected else {
            return Err(io::Error::other(NOT_AT_START));
        };
        collected.push(descriptor.try_clone_to_owned()?);
        Ok(collected.len() as u32 - 1)
    })
}

/// How many descriptors were collected so far.
pub(crate) fn collected() -> usize {
    COLLECTED.with_borrow(|collected| collected.as_ref().map_or(0, Vec::len))
}

/// Takes the descriptor at this place; `None` outside of [`provide`], or if it was taken.
fn take(place: u32) -> Option<OwnedFd> {
    PROVIDED.with_borrow_mut(|provided| provided.get_mut(place as usize)?.take())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::{Error, Queue, codec, pipe};

    fn bytes_of(queue: &Queue<u32>) -> crate::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        codec::append_unread(queue, &mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn a_queue_is_no_item_and_no_message() {
        let queues = Queue::<Queue<u32>>::new().unwrap();
        let refused = queues.put(&Queue::new().unwrap());
        assert!(matches!(refused, Err(Error::NotAtStart)));
        assert!(queues.is_empty());
        let (ours, _theirs) = pipe::<Queue<u32>, ()>().unwrap();
        let refused = ours.send(&Queue::new().unwrap());
        assert!(matches!(refused, Err(Error::NotAtStart)));
    }

    #[test]
    fn a_descriptor_is_given_only_while_a_process_is_started_and_taken_once() {
        let queue = Queue::<u32>::new().unwrap();
        let (bytes, descriptors) = collect(|| bytes_of(&queue).unwrap());
        assert!(bytes_of(&queue).is_err());
        assert!(codec::decode::<Queue<u32>>(&bytes).is_err());
        provide(descriptors, || {
            codec::decode::<Queue<u32>>(&bytes)
                .unwrap()
                .put(&7)
                .unwrap();
            assert!(codec::decode::<Queue<u32>>(&bytes).is_err(), "it was taken");
        });
        assert_eq!(queue.get().unwrap(), 7);
    }

    #[test]
    fn a_descriptor_of_something_else_is_no_queue() {
        let queue = Queue::<u32>::new().unwrap();
        let (bytes, _) = collect(|| bytes_of(&queue).unwrap());
        let no_queue = File::open("/dev/null").unwrap().into();
        provide(vec![no_queue], || {
            assert!(codec::decode::<Queue<u32>>(&bytes).is_err());
        });
    }
}
