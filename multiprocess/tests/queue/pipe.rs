//! The promises of a pipe.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use multiprocess::{Connection, Error, pipe};

use crate::plain::sleeps;
use crate::support::{Child, NOW, SOON};

tests![
    each_end_sends_what_the_other_receives,
    a_thread_has_its_message_while_another_waits_for_the_next,
    messages_of_any_size_arrive_whole,
    a_send_waits_for_the_reader_and_both_ends_may_send_at_once,
    what_was_sent_before_the_end_still_arrives,
    r24_a_killed_peer_is_closed_although_a_sibling_inherited_its_end,
    a_peer_killed_in_the_middle_of_a_message_is_closed,
    a_reader_killed_before_it_reads_ends_the_send,
    an_end_is_its_last_users,
    an_end_dropped_before_its_first_use_is_closed,
    an_unused_end_is_on_its_way_and_not_closed,
    a_wait_ends_on_time_and_loses_nothing,
    a_wait_ends_on_time_though_another_thread_waits_for_longer,
    a_message_that_is_there_is_found_without_a_wait_though_another_thread_looks,
    a_message_that_is_no_such_value_is_an_error,
    who_waits_for_a_message_hardly_wakes_and_still_sees_a_death,
];

fn a_thread_has_its_message_while_another_waits_for_the_next() {
    let (ours, theirs) = pipe::<u32, u32>().unwrap();
    let (theirs, (tells, told)) = (Arc::new(theirs), mpsc::channel());
    for _ in 0..2 {
        let (tells, theirs) = (tells.clone(), Arc::clone(&theirs));
        thread::spawn(move || {
            while let Ok(message) = theirs.recv() {
                tells.send(message).unwrap();
            }
        });
    }
    for n in 0..200 {
        ours.send(&n).unwrap();
        assert_eq!(told.recv_timeout(SOON), Ok(n));
    }
}

fn a_wait_ends_on_time_though_another_thread_waits_for_longer() {
    let (ours, theirs) = pipe::<u32, u32>().unwrap();
    thread::scope(|scope| {
        let long = scope.spawn(|| theirs.recv());
        // Until the other thread has its turn, this one has it.
        for _ in 0..20 {
            let short = theirs.recv_timeout(Duration::from_millis(5));
            assert!(matches!(short, Err(Error::TimedOut)), "{short:?}");
            assert_eq!(theirs.poll(NOW), Ok(false));
        }
        ours.send(&7).unwrap();
        assert_eq!(long.join().unwrap(), Ok(7));
    });
    ours.send(&8).unwrap();
    assert_eq!(theirs.recv_timeout(SOON), Ok(8));
}

fn a_message_that_is_there_is_found_without_a_wait_though_another_thread_looks() {
    let (ours, theirs) = pipe::<u32, u32>().unwrap();
    let stop = AtomicBool::new(false);
    let missed = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                theirs.poll(Duration::ZERO).unwrap();
            }
        });
        let missed = (0..2000).filter(|&n| {
            ours.send(&n).unwrap();
            let is_seen = theirs.poll(Duration::ZERO).unwrap();
            let got = theirs.recv_timeout(Duration::ZERO);
            let is_missed = got.is_err();
            if is_missed {
                theirs.recv_timeout(SOON).unwrap();
            }
            is_missed || !is_seen
        });
        let missed = missed.count();
        stop.store(true, SeqCst);
        missed
    });
    assert_eq!(missed, 0);
}

fn each_end_sends_what_the_other_receives() {
    let (ours, theirs) = pipe::<u32, String>().unwrap();
    let child = Child::fork(|| {
        while let Ok(number) = theirs.recv() {
            theirs.send(&format!("<{number}>")).unwrap();
        }
    });
    for number in 0..1000 {
        ours.send(&number).unwrap();
        assert_eq!(ours.recv_timeout(SOON).unwrap(), format!("<{number}>"));
    }
    drop(ours);
    child.succeed();
}

fn messages_of_any_size_arrive_whole() {
    let (ours, theirs) = pipe::<Vec<u8>, Vec<u8>>().unwrap();
    let echo = move || while theirs.send(&theirs.recv().unwrap()).is_ok() {};
    let _child = Child::fork(echo);
    for len in (0..300).chain([65_536, 212_992, 1 << 20, 20 << 20]) {
        let message: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        ours.send(&message).unwrap();
        assert!(ours.recv_timeout(SOON).unwrap() == message, "{len} bytes");
    }
}

fn a_send_waits_for_the_reader_and_both_ends_may_send_at_once() {
    let (ours, theirs) = pipe::<Vec<u8>, Vec<u8>>().unwrap();
    let large = vec![1; 4 << 20];
    let child = Child::fork(|| {
        thread::scope(|scope| {
            scope.spawn(|| theirs.send(&large).unwrap());
            assert!(theirs.recv().unwrap() == large);
        });
    });
    thread::scope(|scope| {
        scope.spawn(|| assert!(ours.recv_timeout(SOON).unwrap() == large));
        ours.send(&large).unwrap();
    });
    child.succeed();
}

fn what_was_sent_before_the_end_still_arrives() {
    let (ours, theirs) = pipe::<(), u32>().unwrap();
    Child::fork(|| (0..100).for_each(|n| theirs.send(&n).unwrap())).succeed();
    drop(theirs);
    (0..100).for_each(|n| assert_eq!(ours.recv_timeout(SOON).unwrap(), n));
    assert!(matches!(ours.recv_timeout(SOON), Err(Error::Closed)));
    assert!(matches!(ours.poll(SOON), Err(Error::Closed)));
}

/// A peer that says it is there, and then waits to be killed.
fn talking(theirs: &Connection<u32, ()>, ours: &Connection<(), u32>) -> Child {
    let peer = Child::fork(|| {
        theirs.send(&1).unwrap();
        let _ = theirs.recv();
        thread::sleep(SOON);
    });
    assert_eq!(ours.recv_timeout(SOON).unwrap(), 1);
    peer.wait_until_asleep();
    peer
}

/// Python: the end of file never comes.
fn r24_a_killed_peer_is_closed_although_a_sibling_inherited_its_end() {
    let (ours, theirs) = pipe::<(), u32>().unwrap();
    let peer = talking(&theirs, &ours);
    let _sibling = Child::fork(|| thread::sleep(SOON));
    // The test itself keeps `theirs` as well.
    peer.kill();
    assert!(matches!(ours.recv_timeout(SOON), Err(Error::Closed)));
    assert!(matches!(ours.recv(), Err(Error::Closed)));
    assert!(matches!(ours.poll(Duration::ZERO), Err(Error::Closed)));
}

fn a_peer_killed_in_the_middle_of_a_message_is_closed() {
    let (ours, theirs) = pipe::<(), String>().unwrap();
    let peer = Child::fork(|| theirs.send(&"x".repeat(64 << 20)).unwrap());
    // It sleeps in the middle of the message, since nobody reads what does not fit into the socket.
    peer.wait_until_asleep();
    peer.kill();
    assert!(matches!(ours.recv_timeout(SOON), Err(Error::Closed)));
}

fn a_reader_killed_before_it_reads_ends_the_send() {
    let (ours, theirs) = pipe::<String, u32>().unwrap();
    let peer = Child::fork(|| {
        theirs.send(&1).unwrap();
        assert!(!theirs.poll(Duration::from_millis(1)).unwrap());
        theirs.send(&2).unwrap();
        thread::sleep(SOON);
    });
    assert_eq!(ours.recv_timeout(SOON).unwrap(), 1);
    assert_eq!(ours.recv_timeout(SOON).unwrap(), 2);
    let sender = Child::fork(|| {
        assert!(matches!(
            ours.send(&"x".repeat(64 << 20)),
            Err(Error::Closed)
        ));
    });
    sender.wait_until_asleep();
    peer.kill();
    sender.succeed();
}

/// The last user has gone, but whoever uses the end next is heard.
fn an_end_is_its_last_users() {
    let (ours, theirs) = pipe::<(), u32>().unwrap();
    for n in 0..3 {
        Child::fork(|| theirs.send(&n).unwrap()).succeed();
        assert_eq!(ours.recv_timeout(SOON).unwrap(), n);
        assert!(matches!(ours.recv(), Err(Error::Closed)));
    }
}

/// Python: the reader itself has inherited the writer's end, and waits for ever.
fn an_end_dropped_before_its_first_use_is_closed() {
    let (ours, theirs) = pipe::<u32, ()>().unwrap();
    let child = Child::fork(|| assert!(matches!(theirs.recv(), Err(Error::Closed))));
    child.wait_until_asleep();
    drop(ours);
    child.succeed();
}

/// Two children talk; the parent has made the pipe and keeps nothing of it.
fn an_unused_end_is_on_its_way_and_not_closed() {
    let (left, right) = pipe::<u32, u32>().unwrap();
    let first = Child::fork(|| assert_eq!(left.recv().unwrap(), 1));
    first.wait_until_asleep();
    drop(left);
    let second = Child::fork(|| {
        thread::sleep(NOW * 3);
        right.send(&1).unwrap();
    });
    drop(right);
    first.succeed();
    second.succeed();
}

fn a_wait_ends_on_time_and_loses_nothing() {
    let (ours, theirs) = pipe::<(), String>().unwrap();
    assert!(matches!(ours.recv_timeout(NOW), Err(Error::TimedOut)));
    let large = "x".repeat(8 << 20);
    let child = Child::fork(|| theirs.send(&large).unwrap());
    // Piece by piece: each of these waits may end in the middle of the message.
    let message = loop {
        match ours.recv_timeout(Duration::from_micros(50)) {
            Err(Error::TimedOut) => {}
            message => break message.unwrap(),
        }
    };
    assert!(message == large);
    child.succeed();
}

/// Its reader may know less than its writer, which has read it back before it was sent.
fn a_message_that_is_no_such_value_is_an_error() {
    static FULL: AtomicBool = AtomicBool::new(false);

    #[derive(serde::Serialize, serde::Deserialize, Debug)]
    #[serde(try_from = "u32", into = "u32")]
    #[derive(Clone)]
    struct Place(u32);

    impl From<Place> for u32 {
        fn from(place: Place) -> Self {
            place.0
        }
    }

    impl TryFrom<u32> for Place {
        type Error = &'static str;

        fn try_from(place: u32) -> Result<Self, &'static str> {
            match FULL.load(SeqCst) {
                true => Err("there is no place left"),
                false => Ok(Self(place)),
            }
        }
    }

    let (ours, theirs) = pipe::<Place, Place>().unwrap();
    ours.send(&Place(1)).unwrap();
    FULL.store(true, SeqCst);
    let refused = theirs.recv_timeout(SOON).unwrap_err();
    assert!(
        refused.to_string().ends_with("there is no place left"),
        "{refused}"
    );
    let refused = ours.send(&Place(2)).unwrap_err();
    assert!(
        refused.to_string().ends_with("there is no place left"),
        "{refused}"
    );
    assert!(!theirs.poll(NOW).unwrap(), "nothing was sent");
    FULL.store(false, SeqCst);
    ours.send(&Place(3)).unwrap();
    assert!(matches!(theirs.recv_timeout(SOON), Ok(Place(3))));
}

/// A look every 20 ms would make it 150 times.
fn who_waits_for_a_message_hardly_wakes_and_still_sees_a_death() {
    let (ours, theirs) = pipe::<(), u32>().unwrap();
    let peer = talking(&theirs, &ours);
    let idle = Duration::from_secs(3);
    let sleeps = sleeps(|| assert!(matches!(ours.recv_timeout(idle), Err(Error::TimedOut))));
    assert!(sleeps < 30, "{sleeps} times in 3 s");
    let waiting = Child::fork(|| assert!(matches!(ours.recv(), Err(Error::Closed))));
    waiting.wait_until_asleep();
    peer.kill();
    waiting.succeed();
}
