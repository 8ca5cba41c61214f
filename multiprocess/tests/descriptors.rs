//! The promises of `Descriptor`: files and sockets, queues and locks that go to other processes.

use std::{
    fs::{self, File},
    io::{self, PipeReader, PipeWriter, Read, Seek, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    process,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use multiprocess::{
    Connection, Descriptor, Error, Pool, Process, Queue, pipe,
    sync::{Array, Barrier, Condvar, Event, Mutex, RwLock, Semaphore, Value},
};
use nix::{
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, kill},
    },
    unistd::Pid,
};

#[macro_use]
mod support;

use support::{Child, SOON, eventually};

tests![
    whatever_std_makes_of_a_descriptor_goes_to_a_process_and_to_a_task,
    a_file_that_arrives_has_the_position_of_the_one_that_was_sent,
    a_listener_is_handed_to_several_processes,
    a_socket_closes_when_its_task_is_done_and_it_is_dropped_here,
    a_new_worker_has_no_descriptor_of_a_task_that_another_runs,
    a_task_that_is_tried_again_has_its_descriptors_again,
    the_queue_and_each_lock_are_arguments_of_tasks,
    descriptors_go_with_the_items_of_every_map,
    a_descriptor_that_waits_for_the_next_chunk_goes_with_that,
    a_pool_keeps_more_descriptors_than_a_worker_may_have,
    nothing_is_kept_of_tasks_that_are_done_cancelled_or_refused,
    a_pipe_carries_descriptors_at_any_time,
    a_message_of_a_pipe_carries_2024_descriptors_and_no_more,
    an_item_of_a_queue_and_a_result_carry_none_and_the_error_says_what_does,
    a_program_that_sends_descriptors_has_none_left,
    nothing_is_left_of_the_descriptors_of_a_killed_program,
    descriptors_of_tasks_arrive_and_close_in_a_storm_of_kills,
];

fn main() {
    support::main(TESTS)
}

/// A pipe's end for which the other end tells whether anybody has it still.
fn held() -> (PipeReader, Descriptor<PipeWriter>) {
    let (reader, writer) = io::pipe().unwrap();
    (reader, Descriptor(writer))
}

/// Whether nobody has the other end any more.
fn is_dropped(reader: &PipeReader) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
}

fn drained(queue: &Queue<u64>) -> Vec<u64> {
    queue.drain().unwrap().map(Result::unwrap).collect()
}

fn endless<T>(_kept: T) {
    thread::sleep(Duration::from_secs(600));
}

type Kinds = (
    Descriptor<File>,
    (
        Descriptor<TcpListener>,
        Descriptor<TcpStream>,
        Descriptor<UdpSocket>,
    ),
    (
        Descriptor<UnixListener>,
        Descriptor<UnixStream>,
        Descriptor<UnixDatagram>,
    ),
    Descriptor<PipeReader>,
    Option<Descriptor<OwnedFd>>,
);

/// Uses each of them.
fn use_kinds((file, net, unix, mut end, owned): Kinds) -> String {
    let mut text = String::new();
    let mut file = file.0;
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    end.0.read_to_string(&mut text).unwrap();
    let address = net.0.0.local_addr().unwrap();
    assert_eq!(net.1.0.peer_addr().unwrap(), address);
    net.2
        .0
        .send_to(b"datagram", net.2.0.local_addr().unwrap())
        .unwrap();
    assert_eq!(net.2.0.recv(&mut [0; 20]).unwrap(), 8);
    assert!(unix.0.0.local_addr().unwrap().as_pathname().is_some());
    (&unix.1.0).write_all(b"stream").unwrap();
    unix.2.0.send(b"unix").unwrap();
    let owned = File::from(owned.unwrap().0);
    text + &owned.metadata().unwrap().len().to_string()
}

fn whatever_std_makes_of_a_descriptor_goes_to_a_process_and_to_a_task() {
    let folder = tempfile::tempdir().unwrap();
    let kinds = || {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"file ").unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let path = folder.path().join("socket");
        let _ = fs::remove_file(&path);
        let (near, far) = UnixStream::pair().unwrap();
        let (left, right) = UnixDatagram::pair().unwrap();
        let (end, mut writer) = io::pipe().unwrap();
        writer.write_all(b"pipe ").unwrap();
        let owned = OwnedFd::from(file.try_clone().unwrap());
        let kinds: Kinds = (
            Descriptor(file),
            (Descriptor(listener), Descriptor(stream), Descriptor(udp)),
            (
                Descriptor(UnixListener::bind(path).unwrap()),
                Descriptor(near),
                Descriptor(left),
            ),
            Descriptor(end),
            Some(Descriptor(owned)),
        );
        (kinds, far, right)
    };
    let check = |mut far: UnixStream, right: UnixDatagram| {
        let mut text = String::new();
        far.read_to_string(&mut text).unwrap();
        assert_eq!(text, "stream");
        assert_eq!(right.recv(&mut [0; 20]).unwrap(), 4);
    };
    let (sent, far, right) = kinds();
    let process = Process::spawn_with(use_kinds, sent).unwrap();
    assert_eq!(process.join().unwrap(), "file pipe 5");
    check(far, right);
    let pool = Pool::new(1).unwrap();
    let (sent, far, right) = kinds();
    assert_eq!(pool.apply(use_kinds, sent).unwrap(), "file pipe 5");
    check(far, right);
}

fn a_file_that_arrives_has_the_position_of_the_one_that_was_sent() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    file.rewind().unwrap();
    let pool = Pool::new(1).unwrap();
    let next = |Descriptor(mut file): Descriptor<File>| {
        let mut two = [0; 2];
        file.read_exact(&mut two).unwrap();
        String::from_utf8(two.to_vec()).unwrap()
    };
    let send = || Descriptor(file.try_clone().unwrap());
    assert_eq!(pool.apply(next, send()).unwrap(), "01");
    assert_eq!(pool.apply(next, send()).unwrap(), "23");
    assert_eq!(next(send()), "45");
}

/// As a server that lets several processes accept.
fn a_listener_is_handed_to_several_processes() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = |Descriptor(listener): Descriptor<TcpListener>| {
        let pid = process::id().to_string();
        listener
            .accept()
            .unwrap()
            .0
            .write_all(pid.as_bytes())
            .unwrap();
        process::id()
    };
    let clone = || Descriptor(listener.try_clone().unwrap());
    let servers = [(); 3].map(|()| Process::spawn_with(serve, clone()).unwrap());
    let mut answers: Vec<u32> = (0..3)
        .map(|_| {
            let mut answer = String::new();
            let mut stream = TcpStream::connect(address).unwrap();
            stream.read_to_string(&mut answer).unwrap();
            answer.parse().unwrap()
        })
        .collect();
    let mut pids = servers.map(|server| server.join().unwrap());
    answers.sort_unstable();
    pids.sort_unstable();
    assert_eq!(answers, pids);
}

fn a_socket_closes_when_its_task_is_done_and_it_is_dropped_here() {
    let pool = Pool::new(2).unwrap();
    let (reader, writer) = held();
    let task = pool
        .apply_async(|_: Descriptor<PipeWriter>| 7, writer)
        .unwrap();
    assert_eq!(task.get_timeout(SOON).unwrap(), 7);
    eventually("the end of the pipe", || is_dropped(&reader));
}

fn a_new_worker_has_no_descriptor_of_a_task_that_another_runs() {
    let pool = Pool::new(2).unwrap();
    let (reader, writer) = held();
    let task = pool.apply_async(endless, writer).unwrap();
    // It is taken, else the other worker could take it.
    let runs = |()| thread::sleep(Duration::from_millis(1));
    pool.apply(runs, ()).unwrap();
    let killed = pool.apply(|()| -> u32 { process::abort() }, ());
    assert!(matches!(killed, Err(Error::Killed { signal: 6, .. })));
    let pid = pool.apply(|()| process::id(), ()).unwrap();
    assert!(!is_dropped(&reader));
    assert!(task.cancel());
    eventually("the end of the pipe", || is_dropped(&reader));
    assert!(pool.worker_pids().contains(&pid), "the new worker lives");
}

fn a_task_that_is_tried_again_has_its_descriptors_again() {
    let pool = Pool::builder().workers(1).retries(2).build().unwrap();
    let dies_twice = |(tries, held): (Queue<u32>, Descriptor<PipeWriter>)| {
        tries.put(&process::id()).unwrap();
        if tries.len() < 3 {
            process::abort();
        }
        (&held.0).write_all(b"at last").unwrap();
    };
    for _ in 0..2 {
        let tries = Queue::new().unwrap();
        let (mut reader, writer) = held();
        pool.apply(dies_twice, (tries.clone(), writer)).unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), tries.len()), ("at last", 3));
        // As an item of a chunk, of which the others are not done again.
        let tries = Queue::new().unwrap();
        let (mut reader, writer) = held();
        let second = writer.0.try_clone().unwrap();
        let items = [writer, Descriptor(second)].map(|writer| (tries.clone(), writer));
        pool.map_chunked(dies_twice, items, 2).unwrap();
        text.clear();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), tries.len()), ("at lastat last", 4));
    }
}

type Locks = (
    (Mutex<u64>, RwLock<u64>, Value<u64>, Array<u64>),
    (Semaphore, Event, Condvar, Barrier),
    (Queue<u64>, Connection<u64, u64>),
);

fn the_queue_and_each_lock_are_arguments_of_tasks() {
    let use_all = |(shared, signals, messages): Locks| {
        *shared.0.lock().unwrap() += 1;
        *shared.1.write().unwrap() += 1;
        shared.2.fetch_add(1);
        shared.3.fetch_add(0, 1);
        signals.0.release().unwrap();
        signals.1.set();
        signals.2.notify_all();
        signals.3.wait().unwrap();
        messages.0.put(&1).unwrap();
        messages.1.send(&1).unwrap();
        messages.1.recv().unwrap()
    };
    let (ours, theirs) = pipe::<u64, u64>().unwrap();
    let locks: Locks = (
        (
            Mutex::new(0).unwrap(),
            RwLock::new(0).unwrap(),
            Value::new(0).unwrap(),
            Array::new(&[0]).unwrap(),
        ),
        (
            Semaphore::new(0).unwrap(),
            Event::new().unwrap(),
            Condvar::new().unwrap(),
            Barrier::new(2).unwrap(),
        ),
        (Queue::new().unwrap(), theirs),
    );
    let (shared, signals) = (
        (
            locks.0.0.clone(),
            locks.0.1.clone(),
            locks.0.2.clone(),
            locks.0.3.clone(),
        ),
        (locks.1.0.clone(), locks.1.1.clone(), locks.1.3.clone()),
    );
    let queue = locks.2.0.clone();
    // The pool is there before all of them could be handed to its workers.
    let pool = Pool::new(1).unwrap();
    let task = pool.apply_async(use_all, locks).unwrap();
    signals.2.wait_timeout(SOON).unwrap();
    assert_eq!(ours.recv_timeout(SOON).unwrap(), 1);
    ours.send(&7).unwrap();
    assert_eq!(task.get_timeout(SOON).unwrap(), 7);
    assert_eq!(queue.get_timeout(SOON).unwrap(), 1);
    let values = (*shared.0.lock().unwrap(), *shared.1.read().unwrap());
    assert_eq!((values, shared.2.get(), shared.3.load(0)), ((1, 1), 1, 1));
    assert!(signals.0.try_acquire().is_ok() && signals.1.is_set());
}

fn descriptors_go_with_the_items_of_every_map() {
    let pool = Pool::new(2).unwrap();
    let queue = Queue::<u64>::new().unwrap();
    let items = |range: std::ops::Range<u64>| range.map(|n| (queue.clone(), n));
    let put = |(queue, n): (Queue<u64>, u64)| queue.put(&n).unwrap();
    pool.map(put, items(0..100)).unwrap();
    pool.map_chunked(put, items(100..400), 150).unwrap();
    pool.map_async(put, items(400..500)).unwrap().get().unwrap();
    pool.starmap(
        |queue: Queue<u64>, n: u64| queue.put(&n).unwrap(),
        items(500..600),
    )
    .unwrap();
    assert!(pool.imap(put, items(600..700)).all(|it| it.is_ok()));
    assert!(
        pool.imap_unordered(put, items(700..800))
            .all(|it| it.is_ok())
    );
    assert!(
        pool.imap_chunked(put, items(800..900), 7)
            .all(|it| it.is_ok())
    );
    assert!(
        pool.imap_unordered_chunked(put, items(900..1000), 7)
            .all(|it| it.is_ok())
    );
    let mut all = drained(&queue);
    all.sort_unstable();
    assert!(all.into_iter().eq(0..1000));
}

/// A chunk is cut before an item that makes it longer than 1 MiB.
fn a_descriptor_that_waits_for_the_next_chunk_goes_with_that() {
    let pool = Pool::new(1).unwrap();
    let queue = Queue::<u64>::new().unwrap();
    let put = |(text, queue, n): (String, Queue<u64>, u64)| {
        assert_eq!(text.len(), 600 << 10);
        queue.put(&n).unwrap();
        n
    };
    let items = (0..6).map(|n| ("x".repeat(600 << 10), queue.clone(), n));
    let results = pool.map_chunked(put, items, 6).unwrap();
    assert!(results.into_iter().eq(0..6));
    assert_eq!(drained(&queue), [0, 1, 2, 3, 4, 5]);
}

fn a_pool_keeps_more_descriptors_than_a_worker_may_have() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 128, hard).unwrap();
    let pool = Pool::new(1).unwrap();
    let gate = Queue::<()>::new().unwrap();
    let busy = pool
        .apply_async(|gate: Queue<()>| gate.get().unwrap(), gate.clone())
        .unwrap();
    let length = |Descriptor(file): Descriptor<File>| file.metadata().unwrap().len();
    let tasks: Vec<_> = (0..500)
        .map(|n| {
            let file = tempfile::tempfile().unwrap();
            file.set_len(n).unwrap();
            pool.apply_async(length, Descriptor(file)).unwrap()
        })
        .collect();
    gate.put(&()).unwrap();
    busy.get_timeout(SOON).unwrap();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.get_timeout(SOON).unwrap(), n);
    }
    let limits = |()| getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert_eq!(pool.apply(limits, ()).unwrap(), (128, hard));
}

/// How many descriptors the supervisor of a pool has.
fn descriptors_of(pool: &Pool) -> usize {
    let folder = format!("/proc/{}/fd", pool.supervisor_pid());
    fs::read_dir(folder).unwrap().count()
}

/// The same after a task with a descriptor, when it stays so.
fn descriptors_when_idle(pool: &Pool) -> usize {
    pool.apply(|_: Descriptor<PipeWriter>| (), held().1)
        .unwrap();
    let mut before = 0;
    eventually("an idle supervisor", || {
        std::mem::replace(&mut before, descriptors_of(pool)) == before
    });
    before
}

fn nothing_is_kept_of_tasks_that_are_done_cancelled_or_refused() {
    let pool = Pool::new(1).unwrap();
    let before = descriptors_when_idle(&pool);
    for _ in 0..20 {
        let busy = pool.apply_async(endless, held().1).unwrap();
        let waiting = pool.apply_async(endless, held().1).unwrap();
        let forgotten = pool
            .apply_async(|_: Descriptor<PipeWriter>| (), held().1)
            .unwrap();
        drop(forgotten);
        assert!(waiting.cancel() && busy.cancel());
        let items = (0..3).map(|_| (held().1, 7));
        let fails = |(_, n): (Descriptor<PipeWriter>, u64)| assert_ne!(n, 7);
        assert!(pool.map_chunked(fails, items, 2).is_err());
    }
    pool.apply(|_: Descriptor<PipeWriter>| (), held().1)
        .unwrap();
    eventually("as many descriptors as before", || {
        descriptors_of(&pool) == before
    });
    let (reader, writer) = held();
    pool.close();
    let refused = pool.apply_async(endless, writer).unwrap_err();
    assert_eq!(refused, Error::Closed);
    eventually("the end of the pipe", || is_dropped(&reader));
}

fn a_pipe_carries_descriptors_at_any_time() {
    let (ours, theirs) = pipe::<(String, Descriptor<UnixStream>), Queue<u64>>().unwrap();
    let echo = |theirs: Connection<Queue<u64>, (String, Descriptor<UnixStream>)>| {
        while let Ok((text, Descriptor(mut stream))) = theirs.recv() {
            stream.write_all(text.as_bytes()).unwrap();
            let queue = Queue::new().unwrap();
            queue.put(&(text.len() as u64)).unwrap();
            theirs.send(&queue).unwrap();
        }
    };
    let process = Process::spawn_with(echo, theirs).unwrap();
    for size in [0, 10, 3 << 20] {
        let (mut near, far) = UnixStream::pair().unwrap();
        let reader = thread::spawn(move || {
            let mut text = String::new();
            near.read_to_string(&mut text).unwrap();
            text.len()
        });
        ours.send(&("x".repeat(size), Descriptor(far))).unwrap();
        assert_eq!(reader.join().unwrap(), size);
        let queue = ours.recv_timeout(SOON).unwrap();
        assert_eq!(queue.get_timeout(SOON).unwrap(), size as u64);
    }
    drop(ours);
    process.join().unwrap();
}

fn a_message_of_a_pipe_carries_2024_descriptors_and_no_more() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(8192), hard).unwrap();
    let (ours, theirs) = pipe::<Vec<Descriptor<File>>, ()>().unwrap();
    let files = |count: usize| -> Vec<_> {
        let file = tempfile::tempfile().unwrap();
        (0..count)
            .map(|_| Descriptor(file.try_clone().unwrap()))
            .collect()
    };
    for count in [0, 1, 253, 254, 2024] {
        ours.send(&files(count)).unwrap();
        let got = theirs.recv_timeout(SOON).unwrap();
        assert_eq!(got.len(), count);
        assert!(got.iter().all(|Descriptor(file)| file.as_raw_fd() > 2));
    }
    let refused = ours.send(&files(2025)).unwrap_err();
    assert!(
        refused.to_string().contains("more than 2024 descriptors"),
        "{refused}"
    );
    ours.send(&files(1)).unwrap();
    assert_eq!(theirs.recv_timeout(SOON).unwrap().len(), 1);
}

fn an_item_of_a_queue_and_a_result_carry_none_and_the_error_says_what_does() {
    let file = || Descriptor(File::open("/dev/null").unwrap());
    let refused = Queue::new().unwrap().put(&file());
    assert_eq!(refused, Err(Error::NotAtStart));
    let text = refused.unwrap_err().to_string();
    for word in ["argument", "initializer_with", "pipe"] {
        assert!(text.contains(word), "{text}");
    }
    let value = Process::spawn_with(|()| Descriptor(File::open("/dev/null").unwrap()), ());
    assert_eq!(value.unwrap().join().unwrap_err(), Error::NotAtStart);
    let pool = Pool::new(1).unwrap();
    let result = pool.apply(|()| Descriptor(File::open("/dev/null").unwrap()), ());
    assert_eq!(result.unwrap_err(), Error::NotAtStart);
    // What came with a task is no item either.
    let refused = pool.apply(
        |queue: Queue<Descriptor<File>>| {
            let file = Descriptor(File::open("/dev/null").unwrap());
            queue.put(&file)
        },
        Queue::new().unwrap(),
    );
    assert_eq!(refused.unwrap(), Err(Error::NotAtStart));
}

/// Keeps what a worker was given.
static KEPT: OnceLock<Descriptor<PipeWriter>> = OnceLock::new();

fn a_program_that_sends_descriptors_has_none_left() {
    Pool::new(1).unwrap().apply(|()| (), ()).unwrap();
    leaves_zygote_only(|| {
        let (reader, writer) = held();
        let keep = |writer| KEPT.set(writer).unwrap();
        let pool = Pool::builder()
            .workers(1)
            .initializer_with(keep, writer)
            .build()
            .unwrap();
        pool.map(|_: Descriptor<PipeWriter>| (), (0..10).map(|_| held().1))
            .unwrap();
        assert!(!is_dropped(&reader));
        drop(pool);
        assert!(is_dropped(&reader));
        let (reader, writer) = held();
        let process = Process::spawn_with(|_: Descriptor<PipeWriter>| (), writer).unwrap();
        process.join().unwrap();
        assert!(is_dropped(&reader));
    });
}

/// The zygote of the program is there already.
fn leaves_zygote_only(mut work: impl FnMut()) {
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    work();
    let before = open();
    (0..5).for_each(|_| work());
    assert_eq!(open(), before);
}

fn nothing_is_left_of_the_descriptors_of_a_killed_program() {
    let (reader, writer) = held();
    let stored = Queue::<()>::new().unwrap();
    let program = Child::fork(|| {
        let pool = Pool::new(1).unwrap();
        let send = || Descriptor(writer.0.try_clone().unwrap());
        // One is in a task that runs, the other in one that waits.
        let tasks = [(); 2].map(|()| pool.apply_async(endless, send()).unwrap());
        stored.put(&()).unwrap();
        thread::sleep(Duration::from_secs(600));
        drop(tasks);
    });
    drop(writer);
    stored.get_timeout(SOON).unwrap();
    program.kill();
    eventually("the end of the pipe", || is_dropped(&reader));
}

fn descriptors_of_tasks_arrive_and_close_in_a_storm_of_kills() {
    const TASKS: usize = 100;
    const KILLS: u32 = 100;
    let pool = Pool::builder().workers(3).retries(1000).build().unwrap();
    let before = descriptors_when_idle(&pool);
    let write = |(first, second): (Descriptor<PipeWriter>, Descriptor<PipeWriter>)| {
        (&first.0).write_all(b"1").unwrap();
        (&second.0).write_all(b"2").unwrap();
    };
    let (kills, is_done) = (AtomicU32::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(SeqCst) {
                for pid in pool.worker_pids() {
                    // A worker's number is its own until the supervisor reaps it.
                    let killed = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
                    kills.fetch_add(u32::from(killed.is_ok()), SeqCst);
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        while kills.load(SeqCst) < KILLS {
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| {
                    let ((one, first), (two, second)) = (held(), held());
                    let task = pool.apply_async(write, (first, second)).unwrap();
                    (task, [one, two])
                })
                .collect();
            for (task, readers) in tasks {
                task.get_timeout(SOON).unwrap();
                for (mut reader, digit) in readers.into_iter().zip(["1", "2"]) {
                    let mut text = String::new();
                    // To the end: nobody has kept it.
                    reader.read_to_string(&mut text).unwrap();
                    assert!(
                        !text.is_empty() && text.replace(digit, "").is_empty(),
                        "{text}"
                    );
                }
            }
        }
        is_done.store(true, SeqCst);
    });
    eventually("as many descriptors as before", || {
        descriptors_of(&pool) == before
    });
}
