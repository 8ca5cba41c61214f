//! Handing queues and connections to a process that did not inherit them.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use multiprocess::{Connection, Error, Queue, handover, pipe};

use crate::support::{Child, SOON};

tests![
    a_process_that_did_not_inherit_a_queue_can_be_handed_it,
    a_connection_can_be_handed_over,
    a_queue_is_no_item,
    a_place_without_its_descriptor_is_an_error,
];

fn a_process_that_did_not_inherit_a_queue_can_be_handed_it() {
    let starts = Queue::<(Vec<u8>, RawFd)>::new().unwrap();
    let child = Child::fork(|| {
        let (bytes, descriptor) = starts.get().unwrap();
        // Descriptors travel by SCM_RIGHTS; the parent's folder does here.
        let parent = nix::unistd::getppid();
        let path = format!("/proc/{parent}/fd/{descriptor}");
        let memory = File::options()
            .read(true)
            .write(true)
            .open(path)
            .unwrap()
            .into();
        let (queue, number): (Queue<u32>, u32) =
            handover::provide(vec![memory], || postcard::from_bytes(&bytes)).unwrap();
        queue.put(&number).unwrap();
    });
    let queue = Queue::<u32>::new().unwrap();
    let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(&(&queue, 7u32)).unwrap());
    starts.put(&(bytes, descriptors[0].as_raw_fd())).unwrap();
    assert_eq!(queue.get_timeout(SOON).unwrap(), 7);
    child.succeed();
}

fn a_connection_can_be_handed_over() {
    let (ours, theirs) = pipe::<String, u32>().unwrap();
    let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(&theirs).unwrap());
    drop(theirs);
    let theirs: Connection<u32, String> =
        handover::provide(descriptors, || postcard::from_bytes(&bytes)).unwrap();
    let child = Child::fork(|| {
        theirs.send(&8).unwrap();
        assert_eq!(theirs.recv().unwrap(), "good bye");
    });
    assert_eq!(ours.recv_timeout(SOON).unwrap(), 8);
    ours.send(&"good bye".to_string()).unwrap();
    child.succeed();
}

fn a_queue_is_no_item() {
    let queues = Queue::<Queue<u32>>::new().unwrap();
    let refused = queues.put(&Queue::new().unwrap());
    assert!(matches!(refused, Err(Error::NotAtStart)));
    assert!(queues.is_empty());
    let (ours, _theirs) = pipe::<Queue<u32>, ()>().unwrap();
    assert!(matches!(
        ours.send(&Queue::new().unwrap()),
        Err(Error::NotAtStart)
    ));
    // Nor is it after a process was started.
    let queue = Queue::<u32>::new().unwrap();
    handover::collect(|| postcard::to_stdvec(&queue).unwrap());
    assert!(postcard::to_stdvec(&queue).is_err());
}

fn a_place_without_its_descriptor_is_an_error() {
    let queue = Queue::<u32>::new().unwrap();
    let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(&queue).unwrap());
    assert!(postcard::from_bytes::<Queue<u32>>(&bytes).is_err());
    handover::provide(descriptors, || {
        postcard::from_bytes::<Queue<u32>>(&bytes).unwrap();
        assert!(
            postcard::from_bytes::<Queue<u32>>(&bytes).is_err(),
            "it was taken"
        );
    });
    let no_queue: OwnedFd = File::open("/dev/null").unwrap().into();
    handover::provide(vec![no_queue], || {
        assert!(postcard::from_bytes::<Queue<u32>>(&bytes).is_err());
    });
}
