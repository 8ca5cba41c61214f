//! Shared values and arrays.

use std::fs;

use multiprocess::sync::{
    Array, Barrier, Condvar, Event, Mutex, RwLock, Semaphore, TryLockError, Value,
};
use multiprocess::zerocopy::{FromBytes, Immutable, IntoBytes};
use multiprocess::{Process, Queue};

use crate::support::deaths::Deaths;
use crate::support::memory::{is_in_use, shared_memory_of};
use crate::support::{Child, SOON, eventually, kills};

tests![
    r25_additions_of_two_processes_are_all_counted,
    integers_that_share_a_word_do_not_change_each_other,
    a_process_killed_within_a_change_has_not_made_it,
    the_example_of_pythons_page,
    an_array_says_which_owner_died,
    owners_killed_at_any_moment_leave_whole_values_and_elements,
    an_element_of_any_size_is_as_it_was_set,
    a_range_is_copied_and_its_neighbours_stay,
    values_and_arrays_go_to_a_process_at_its_start,
    the_memory_goes_with_the_last_process_though_all_are_killed,
    nothing_is_left_of_any_of_them_when_all_that_have_it_are_killed,
];

fn r25_additions_of_two_processes_are_all_counted() {
    let value = Value::new(0i16).unwrap();
    let array = Array::new(&[0u8; 3]).unwrap();
    let add = || {
        for _ in 0..10_000 {
            value.fetch_add(1);
            array.fetch_add(1, 1);
        }
    };
    let children = [(); 3].map(|()| Child::fork(add));
    children.iter().for_each(Child::succeed);
    assert_eq!(value.load(), 30_000);
    assert_eq!(array.load(1), (30_000 % 256) as u8);
}

fn integers_that_share_a_word_do_not_change_each_other() {
    let array = Array::new(&[0u16; 8]).unwrap();
    let children = [0, 1, 2].map(|me| {
        let array = &array;
        Child::fork(move || {
            for _ in 0..10_000 {
                match me {
                    // By the lock, beside those who do without it.
                    0 => {
                        let guard = array.lock().unwrap();
                        guard.set(0, guard.get(0) + 1);
                    }
                    _ => drop(array.fetch_add(me, 1)),
                }
            }
        })
    });
    children.iter().for_each(Child::succeed);
    let counts = array.lock().unwrap().to_vec();
    assert_eq!(counts, [10_000, 10_000, 10_000, 0, 0, 0, 0, 0]);
}

fn a_process_killed_within_a_change_has_not_made_it() {
    let value = Value::new([1.0; 4]).unwrap();
    let holds = Queue::new().unwrap();
    let child = Child::fork(|| {
        value.with_lock(|value| {
            value[0] = 2.0;
            holds.put(&()).unwrap();
            std::thread::sleep(SOON);
        });
    });
    holds.get_timeout(SOON).unwrap();
    child.kill();
    assert_eq!(value.get(), [1.0; 4]);
    value.set([3.0; 4]);
    assert_eq!(value.get(), [3.0; 4]);
}

#[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable)]
#[zerocopy(crate = "multiprocess::zerocopy")]
#[repr(C)]
struct Point {
    x: f64,
    y: f64,
}

/// The example "sharedctypes" of the documentation of Python's `multiprocessing`: a string, of
/// bytes here, becomes upper case, and numbers and points are squared.
fn the_example_of_pythons_page() {
    let n = Value::new(7i16).unwrap();
    let x = Value::new(1.0 / 3.0).unwrap();
    let s = Array::new(b"hello world").unwrap();
    let a = Array::new(&[(1.875, -6.25), (-5.75, 2.0)].map(|(x, y)| Point { x, y })).unwrap();
    let modify = || {
        n.with_lock(|n| *n *= *n);
        x.with_lock(|x| *x *= *x);
        let s = s.lock().unwrap();
        (0..11).for_each(|i| s.set(i, s.get(i).to_ascii_uppercase()));
        let points = a.lock().unwrap();
        for i in 0..a.len() {
            let Point { x, y } = points.get(i);
            points.set(i, Point { x: x * x, y: y * y });
        }
    };
    Process::spawn(modify).unwrap().join().unwrap();
    assert_eq!((n.get(), x.get()), (49, 1.0 / 9.0));
    assert_eq!(s.lock().unwrap().to_vec(), b"HELLO WORLD");
    let squares = [(3.515625, 39.0625), (33.0625, 4.0)].map(|(x, y)| Point { x, y });
    assert_eq!(a.lock().unwrap().to_vec(), squares);
}

fn an_array_says_which_owner_died() {
    let array = Array::new(&[1, 2]).unwrap();
    let holds = Queue::new().unwrap();
    let owner = Child::fork(|| {
        let guard = array.lock().unwrap();
        guard.set(0, 7);
        holds.put(&()).unwrap();
        std::thread::sleep(SOON);
    });
    holds.get_timeout(SOON).unwrap();
    assert_eq!(array.holder(), Some(owner.pid.as_raw().cast_unsigned()));
    assert!(matches!(array.try_lock(), Err(TryLockError::WouldBlock)));
    owner.kill();
    let died = array.lock().unwrap_err();
    assert_eq!(died.pid(), owner.pid.as_raw().cast_unsigned());
    assert_eq!(died.into_inner().to_vec(), [7, 2]);
    array.clear_poison();
    assert!(array.lock().is_ok());
}

fn owners_killed_at_any_moment_leave_whole_values_and_elements() {
    let value = Value::new([0u64; 3]).unwrap();
    let array = Array::new(&[0u64; 3]).unwrap();
    let mut heard = Deaths::new();
    for round in 0..kills(300) {
        let started = Queue::new().unwrap();
        let owner = Child::fork(|| {
            started.put(&()).unwrap();
            loop {
                value.with_lock(|value| *value = value.map(|word| word + 1));
                let guard = array.lock().unwrap();
                (0..3).for_each(|index| guard.set(index, guard.get(index) + 1));
            }
        });
        started.get_timeout(SOON).unwrap();
        std::thread::sleep(std::time::Duration::from_micros(2 * (round % 300)));
        let killed = heard.now();
        owner.signal();
        let lock = || match array.lock_timeout(SOON) {
            Ok(_) => None,
            Err(TryLockError::OwnerDied(died)) => {
                let known = heard.now();
                let guard = died.into_inner();
                // Those that it had set are changed, and the others are not.
                assert!(
                    guard
                        .to_vec()
                        .array_windows()
                        .all(|[a, b]| a == b || *a == b + 1)
                );
                guard.write(0, &[guard.get(0); 3]);
                array.clear_poison();
                Some(known)
            }
            Err(TryLockError::WouldBlock) => panic!("round {round}: the dead have it"),
        };
        let first = lock();
        owner.end();
        if let Some(known) = first.or(lock()) {
            heard.known(killed, known);
        }
        let whole = value.get();
        assert!(whole.iter().all(|&word| word == whole[0]), "{whole:?}");
    }
    assert!(heard.count() > 0, "nobody was killed with the array");
    heard.tell("who locks an array hears of its owner");
}

fn a_range_is_copied_and_its_neighbours_stay() {
    for (start, len) in (0..20).flat_map(|start| (0..=20 - start).map(move |len| (start, len))) {
        let array = Array::new(&[1u8; 20]).unwrap();
        let range = start..start + len;
        array.lock().unwrap().write(start, &vec![2; len]);
        let all = array.lock().unwrap().to_vec();
        let is_right = |(index, &byte)| byte == 1 + u8::from(range.contains(&index));
        assert!(all.iter().enumerate().all(is_right), "{range:?}: {all:?}");
        let mut part = vec![0; len];
        array.lock().unwrap().read(start, &mut part);
        assert_eq!(part, vec![2; len]);
    }
    let array = Array::new(&[1u8; 20]).unwrap();
    for start in [18, usize::MAX] {
        let beyond = std::panic::catch_unwind(|| array.lock().unwrap().write(start, &[0; 3]));
        assert!(beyond.is_err());
        array.clear_poison();
    }
}

fn an_element_of_any_size_is_as_it_was_set() {
    fn holds<const N: usize>() {
        let array = Array::new(&[[1u8; N]; 5]).unwrap();
        let guard = array.lock().unwrap();
        guard.set(2, [9; N]);
        assert_eq!(guard.to_vec(), [[1; N], [1; N], [9; N], [1; N], [1; N]]);
        drop(guard);
        let mutex = Mutex::new([3u8; N]).unwrap();
        mutex.lock().unwrap().fill(4);
        assert_eq!(*mutex.lock().unwrap(), [4; N]);
    }
    holds::<0>();
    holds::<1>();
    holds::<3>();
    holds::<7>();
    holds::<8>();
    holds::<9>();
    holds::<17>();
}

fn values_and_arrays_go_to_a_process_at_its_start() {
    let value = Value::new(1u64).unwrap();
    let array = Array::new(&[1u32; 100]).unwrap();
    let work = |(value, array): (Value<u64>, Array<u32>)| {
        assert_eq!(array.len(), 100);
        value.fetch_add(array.fetch_add(99, 5).into());
    };
    let process = Process::spawn_with(work, (value.clone(), array.clone()));
    process.unwrap().join().unwrap();
    assert_eq!((value.get(), array.load(99)), (2, 6));
}

/// How much shared memory the machine has in use, in KiB.
fn shared_memory_kib() -> u64 {
    let all = fs::read_to_string("/proc/meminfo").unwrap();
    let line = all.lines().find(|line| line.starts_with("Shmem:")).unwrap();
    let number = line.split_ascii_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

fn the_memory_goes_with_the_last_process_though_all_are_killed() {
    const MIB: u64 = 64;
    let before = shared_memory_kib();
    let listed = fs::read_dir("/dev/shm").map_or(0, Iterator::count);
    let ready = Queue::new().unwrap();
    let first = Child::fork(|| {
        let array = Array::<u64>::zeroed((MIB << 20) as usize / 8).unwrap();
        (0..array.len()).step_by(512).for_each(|i| {
            array.swap(i, 1);
        });
        let _second = Process::spawn(|| {
            let _held = array.lock().unwrap();
            ready.put(&std::process::id()).unwrap();
            std::thread::sleep(SOON);
        });
        std::thread::sleep(SOON);
    });
    let second: u32 = ready.get_timeout(SOON).unwrap();
    assert!(shared_memory_kib() >= before + MIB * 1024 / 2);
    assert_eq!(fs::read_dir("/dev/shm").map_or(0, Iterator::count), listed);
    first.kill();
    let second = nix::unistd::Pid::from_raw(second.cast_signed());
    let _ = nix::sys::signal::kill(second, nix::sys::signal::Signal::SIGKILL);
    eventually("the memory is free", || {
        shared_memory_kib() < before + MIB * 1024 / 2
    });
}

/// How many files of this crate there are where files without a name might have one.
fn files() -> usize {
    let all = ["/dev/shm", "/tmp"].map(|folder| fs::read_dir(folder).into_iter().flatten());
    let names = all
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    names
        .filter(|name| name.to_string_lossy().contains("multiprocess-"))
        .count()
}

fn nothing_is_left_of_any_of_them_when_all_that_have_it_are_killed() {
    let (before, ready) = (files(), Queue::new().unwrap());
    let first = Child::fork(|| {
        let mutex = Mutex::new([0u64; 3]).unwrap();
        let lock = RwLock::new(0u64).unwrap();
        let (semaphore, barrier) = (Semaphore::new(2).unwrap(), Barrier::new(3).unwrap());
        let (event, condvar) = (Event::new().unwrap(), Condvar::new().unwrap());
        let (value, array) = (Value::new(0u64).unwrap(), Array::new(&[0u64; 9]).unwrap());
        let _second = Process::spawn(|| {
            let _held = (
                mutex.lock().unwrap(),
                array.lock().unwrap(),
                lock.read().unwrap(),
            );
            let _held = (semaphore.acquire(), barrier.attend().unwrap());
            value.set(1);
            ready.put(&std::process::id()).unwrap();
            event.wait();
            condvar.notify_all();
        });
        event.wait();
    });
    let second: u32 = ready.get_timeout(SOON).unwrap();
    let memory = shared_memory_of(second);
    let own = shared_memory_of(std::process::id());
    let theirs: Vec<u64> = memory
        .into_iter()
        .filter(|number| !own.contains(number))
        .collect();
    assert!(theirs.len() >= 8, "{theirs:?}");
    assert!(is_in_use(&theirs));
    first.kill();
    let second = nix::unistd::Pid::from_raw(second.cast_signed());
    let _ = nix::sys::signal::kill(second, nix::sys::signal::Signal::SIGKILL);
    eventually("nobody has it", || !is_in_use(&theirs));
    assert_eq!(files(), before);
}
