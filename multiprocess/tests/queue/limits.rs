//! What holds under limits of address space and of file sizes, as hosts and clusters set them.
//!
//! Each test has a process of its own, so that it may lower the limits.

use multiprocess::{Error, Pool, Queue, pipe};
use nix::sys::resource::{Resource, setrlimit};

use crate::support::{Child, SOON};

tests![
    queues_work_under_a_limit_of_address_space,
    a_pool_works_under_a_limit_of_address_space,
    many_queues_leave_address_space_to_the_program,
    queues_work_under_a_limit_of_file_sizes,
    a_pool_works_under_a_limit_of_file_sizes,
    a_limit_that_leaves_no_room_is_named,
    an_item_beyond_the_limit_is_refused_with_its_length_and_the_limit,
    a_batch_with_an_item_beyond_the_limit_is_refused_as_a_whole,
    a_writer_under_a_smaller_limit_than_the_queues_is_not_killed,
];

/// As `ulimit -v` and `ulimit -f` count.
const KIB: u64 = 1024;

fn limit(resource: Resource, bytes: u64) {
    setrlimit(resource, bytes, bytes).unwrap();
}

/// A queue carries what any queue carries: small items, a backlog, and long items.
fn works(queue: &Queue<String>) {
    let child = Child::fork(|| {
        for len in (0..200).chain([10_000, 50_000]) {
            queue.put(&"x".repeat(len)).unwrap();
        }
    });
    for len in (0..200).chain([10_000, 50_000]) {
        assert_eq!(queue.get_timeout(SOON).unwrap().len(), len);
    }
    child.succeed();
    let mut put = 0;
    while put < 5000 && queue.try_put(&"y".repeat(100)).is_ok() {
        put += 1;
    }
    assert!(put >= 1000, "{put} items of 100 bytes");
    (0..put).for_each(|_| assert_eq!(queue.try_get().unwrap().len(), 100));
}

fn queues_work_under_a_limit_of_address_space() {
    for kib in [100_000_000, 8_000_000, 1_000_000, 200_000] {
        Child::fork(|| {
            limit(Resource::RLIMIT_AS, kib * KIB);
            let queues = [(); 4].map(|()| Queue::new().unwrap());
            queues.iter().for_each(works);
        })
        .succeed();
    }
}

fn a_pool_works_under_a_limit_of_address_space() {
    for kib in [100_000_000, 8_000_000] {
        Child::fork(|| {
            limit(Resource::RLIMIT_AS, kib * KIB);
            let pool = Pool::new(2).unwrap();
            assert_eq!(pool.map(|n: u64| n * n, 0..100).unwrap()[99], 9801);
            pool.join().unwrap();
        })
        .succeed();
    }
}

fn many_queues_leave_address_space_to_the_program() {
    limit(Resource::RLIMIT_AS, 8_000_000 * KIB);
    let queues: Vec<_> = (0..50).map(|_| Queue::<u64>::new().unwrap()).collect();
    queues.iter().for_each(|queue| queue.put(&1).unwrap());
    let thread = std::thread::spawn(|| vec![1u8; 64 << 20].len());
    assert_eq!(thread.join().unwrap(), 64 << 20);
}

fn queues_work_under_a_limit_of_file_sizes() {
    for kib in [1_000_000, 20_000, 1000] {
        Child::fork(|| {
            limit(Resource::RLIMIT_FSIZE, kib * KIB);
            works(&Queue::new().unwrap());
            let (ours, theirs) = pipe::<u8, u8>().unwrap();
            ours.send(&1).unwrap();
            assert_eq!(theirs.recv().unwrap(), 1);
        })
        .succeed();
    }
}

fn a_pool_works_under_a_limit_of_file_sizes() {
    limit(Resource::RLIMIT_FSIZE, 1000 * KIB);
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(|n: u64| n * n, 0..100).unwrap()[99], 9801);
    pool.join().unwrap();
}

fn a_limit_that_leaves_no_room_is_named() {
    Child::fork(|| {
        limit(Resource::RLIMIT_FSIZE, 1000);
        let refused = Queue::<u8>::new().unwrap_err().to_string();
        assert!(refused.contains("`ulimit -f`"), "{refused}");
        let refused = pipe::<u8, u8>().unwrap_err().to_string();
        assert!(refused.contains("`ulimit -f`"), "{refused}");
        let refused = Pool::new(1).unwrap_err().to_string();
        assert!(refused.contains("`ulimit -f`"), "{refused}");
    })
    .succeed();
    Child::fork(|| {
        limit(Resource::RLIMIT_AS, 1000);
        let refused = Queue::<u8>::new().unwrap_err().to_string();
        assert!(refused.contains("`ulimit -v`"), "{refused}");
    })
    .succeed();
}

fn an_item_beyond_the_limit_is_refused_with_its_length_and_the_limit() {
    limit(Resource::RLIMIT_FSIZE, 1000 * KIB);
    let queue = Queue::<String>::new().unwrap();
    let item = "x".repeat(1 << 20);
    let refused = queue.put(&item).unwrap_err();
    let Error::TooLarge { len, max } = refused else {
        panic!("{refused}")
    };
    assert!(len > 1 << 20 && max < len);
    let text = refused.to_string();
    assert!(text.contains("`ulimit -f`") && text.contains(&max.to_string()));
    // An item of the greatest length goes through, again and again.
    let envelope = len as usize - item.len();
    for _ in 0..20 {
        queue
            .try_put(&item[..max as usize - envelope].to_string())
            .unwrap();
        assert!(
            queue
                .try_put(&item[..max as usize - envelope + 1].to_string())
                .is_err()
        );
        assert_eq!(queue.try_get().unwrap().len(), max as usize - envelope);
    }
}

/// The file may be longer than what this process may write to a file.
fn a_batch_with_an_item_beyond_the_limit_is_refused_as_a_whole() {
    limit(Resource::RLIMIT_FSIZE, 1000 * KIB);
    let queue = Queue::<String>::new().unwrap();
    let items = [1, 1 << 20].map(|len| "x".repeat(len));
    assert!(matches!(
        queue.put_many(&items),
        Err(Error::TooLarge { .. })
    ));
    assert!(queue.is_empty());
}

fn a_writer_under_a_smaller_limit_than_the_queues_is_not_killed() {
    let queue = Queue::<String>::new().unwrap();
    limit(Resource::RLIMIT_FSIZE, 100 * KIB);
    let item = "x".repeat(1 << 20);
    (0..30).for_each(|_| queue.put(&item).unwrap());
    (0..30).for_each(|_| assert!(queue.try_get().unwrap() == item));
}
