//! Items of any size, and the memory that they take.

use std::fs;
use std::path::Path;

use multiprocess::{Queue, pipe};

use crate::support::{Child, SOON};

tests![
    items_of_every_size_come_out_whole,
    a_put_never_waits_for_the_reader,
    a_backlog_of_mixed_sizes_keeps_its_order,
    an_item_over_a_gigabyte_goes_through,
    the_memory_of_a_backlog_is_given_back,
    a_large_item_leaves_no_memory_taken,
    what_a_killed_writer_had_written_is_given_back,
    a_large_item_leaves_no_memory_with_those_who_had_it,
];

/// More than this is not kept: the hot and the warm ring, some MiB to be lent again, and what is worth
/// no call to give back.
pub(crate) const KEPT_MAX: u64 = 18 << 20;

fn text(len: usize) -> String {
    let mut text = "abcdefghijklmnopqrstuvw".repeat(len / 23 + 1);
    text.truncate(len);
    text
}

/// The memory that this process's queues hold, in bytes.
pub(crate) fn memory_taken() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|file| file.unwrap().path());
    let is_queue = |file: &Path| {
        fs::read_link(file)
            .is_ok_and(|target| target.to_string_lossy().contains("multiprocess-queue"))
    };
    files
        .filter(|file| is_queue(file))
        .map(|file| fs::metadata(file).unwrap().blocks() * 512)
        .sum()
}

fn items_of_every_size_come_out_whole() {
    let queue = Queue::<String>::new().unwrap();
    let text = text((8 << 20) + 100);
    let borders = [64 << 10, 128 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20];
    let near_them = borders.iter().flat_map(|size| size - 40..size + 40);
    for len in (0..5000).chain(near_them) {
        queue.put(&text[..len].to_string()).unwrap();
        assert!(queue.try_get().unwrap() == text[..len], "{len} bytes");
    }
}

/// Python needs a feeder thread for this, and loses what that has not sent when the process exits.
fn a_put_never_waits_for_the_reader() {
    let queue = Queue::<String>::new().unwrap();
    let writer = Child::fork(|| (0..300).for_each(|_| queue.put(&text(1 << 20)).unwrap()));
    writer.succeed();
    assert_eq!(queue.len(), 300);
    assert_eq!(memory_taken() >> 20, 300);
    (0..300).for_each(|_| assert_eq!(queue.try_get().unwrap().len(), 1 << 20));
}

/// Walks through all rings, up and down, with the readers behind by ever more and ever less.
fn a_backlog_of_mixed_sizes_keeps_its_order() {
    let queue = Queue::<(u32, String)>::new().unwrap();
    let text = text(3 << 20);
    let len = |n: u32| match n % 97 {
        0 => 3 << 20,
        1..5 => 200_000,
        5..20 => 9000,
        small => small as usize,
    };
    let (mut put, mut got) = (0, 0);
    for backlog in [10, 1000, 0, 50, 3, 400, 0, 20, 2000, 100, 0] {
        // Steps of unequal length bring the borders to ever other places.
        for step in [backlog / 3, backlog / 7, backlog] {
            while put - got < step {
                queue.put(&(put, text[..len(put)].to_string())).unwrap();
                put += 1;
            }
            while put - got > step / 2 {
                let (n, item) = queue.try_get().unwrap();
                assert!(n == got && item == text[..len(n)], "item {got}");
                got += 1;
            }
        }
    }
    assert!(put > 3000 && queue.is_empty());
}

fn an_item_over_a_gigabyte_goes_through() {
    let queue = Queue::<String>::new().unwrap();
    let (len, part) = (3 << 29, [b'x'].repeat(1 << 20));
    for _ in 0..2 {
        let writer = Child::fork(|| queue.put(&"x".repeat(len)).unwrap());
        let item = queue.get_timeout(SOON).unwrap();
        writer.succeed();
        let mut parts = item.as_bytes().chunks(part.len());
        assert!(item.len() == len && parts.all(|bytes| bytes == &part[..bytes.len()]));
    }
    assert!(memory_taken() < KEPT_MAX);
}

fn the_memory_of_a_backlog_is_given_back() {
    let queue = Queue::<String>::new().unwrap();
    for _ in 0..3 {
        (0..100).for_each(|_| queue.put(&text(1 << 20)).unwrap());
        assert!(memory_taken() >= 100 << 20);
        (0..100).for_each(|_| drop(queue.try_get().unwrap()));
        assert!(
            memory_taken() < KEPT_MAX,
            "{} bytes are still taken",
            memory_taken()
        );
    }
    // Small items as well.
    (0..1_000_000).for_each(|_| queue.put(&text(20)).unwrap());
    assert!(memory_taken() >= 24 << 20);
    (0..1_000_000).for_each(|_| drop(queue.try_get().unwrap()));
    assert!(
        memory_taken() < KEPT_MAX,
        "{} bytes are still taken",
        memory_taken()
    );
}

fn a_large_item_leaves_no_memory_taken() {
    let queue = Queue::<String>::new().unwrap();
    queue.put(&text(100 << 20)).unwrap();
    assert!(memory_taken() >= 100 << 20);
    assert_eq!(queue.try_get().unwrap().len(), 100 << 20);
    assert!(
        memory_taken() < KEPT_MAX,
        "{} bytes are still taken",
        memory_taken()
    );
}

fn what_a_killed_writer_had_written_is_given_back() {
    let queue = Queue::<String>::new().unwrap();
    queue.put(&"waiting".to_string()).unwrap();
    let writer = Child::fork(|| {
        let large = "x".repeat((1 << 30) - 9);
        loop {
            queue.put(&large).unwrap();
        }
    });
    while memory_taken() < 64 << 20 {
        std::thread::yield_now();
    }
    writer.kill();
    queue.put(&"next".to_string()).unwrap();
    assert_eq!(queue.get_timeout(SOON).unwrap(), "waiting");
    while queue.get_timeout(SOON).unwrap() != "next" {}
    assert!(
        memory_taken() < KEPT_MAX,
        "{} bytes are still taken",
        memory_taken()
    );
}

/// The memory of this process's own, in bytes.
fn memory_of_process() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<u64>().unwrap() << 10
}

/// CPython keeps 12 MiB and 15 MiB.
fn a_large_item_leaves_no_memory_with_those_who_had_it() {
    const LARGE: usize = 300 << 20;
    let kept_by = |who: &str, work: &dyn Fn()| {
        let before = memory_of_process();
        work();
        let kept = memory_of_process().saturating_sub(before);
        assert!(kept < 12 << 20, "{who} keeps {kept} bytes");
    };
    let queue = Queue::<Vec<u8>>::new().unwrap();
    let (ours, theirs) = pipe::<Vec<u8>, Vec<u8>>().unwrap();
    let reader = Child::fork(|| {
        kept_by("a reader", &|| {
            assert_eq!(queue.get_timeout(SOON).unwrap().len(), LARGE)
        });
        kept_by("a receiver", &|| {
            assert_eq!(theirs.recv_timeout(SOON).unwrap().len(), LARGE)
        });
    });
    kept_by("a writer", &|| queue.put(&[1].repeat(LARGE)).unwrap());
    kept_by("a sender", &|| ours.send(&[1].repeat(LARGE)).unwrap());
    reader.succeed();
    assert!(memory_taken() < KEPT_MAX);
}
