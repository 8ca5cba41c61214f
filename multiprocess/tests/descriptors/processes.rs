//! Descriptors as arguments of processes and as messages of pipes, and what is left of them.

use std::{
    fs::{self, File},
    io::{self, PipeReader, PipeWriter, Read, Seek, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    process,
    sync::OnceLock,
    thread,
    time::Duration,
};

use multiprocess::{Connection, Descriptor, Error, Pool, Process, Queue, pipe};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{
    endless, held, is_dropped,
    support::{Child, SOON, eventually},
};

tests![
    whatever_std_makes_of_a_descriptor_goes_to_a_process_and_to_a_task,
    a_file_that_arrives_has_the_position_of_the_one_that_was_sent,
    a_listener_is_handed_to_several_processes,
    a_pipe_carries_descriptors_at_any_time,
    a_message_of_a_pipe_carries_2024_descriptors_and_no_more,
    an_item_of_a_queue_and_a_result_carry_none_and_the_error_says_what_does,
    a_program_that_sends_descriptors_has_none_left,
    nothing_is_left_of_the_descriptors_of_a_killed_program,
];

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
