//! What a forked child does with the objects of its parent: it calls over connections of its own, as
//! Python's proxies do, and ends nothing that its parent has.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use distributed::{Client, Error, Queue};
use libtest_mimic::{Arguments, Trial};
use multiprocess::Process;
use support::{LONG, python, some_pythons};

mod support;

/// How many processes share a queue, and how many items each of them moves.
const CHILDREN: u32 = 4;
const ITEMS: u32 = 300;

/// A claim, and what tries it with a client of a server.
type Test = (&'static str, fn(&Client));

fn main() {
    let tests: [Test; 9] = [
        ("every_process_gets_the_answers_to_its_own_calls", answers),
        ("the_end_of_a_child_leaves_its_parent_the_lease", lease),
        ("the_end_of_a_child_leaves_its_parent_the_lock", lock),
        ("a_child_uses_what_has_a_name_and_was_moved_to_it", moved),
        (
            "a_child_that_borrows_an_object_leaves_no_reference",
            borrowed,
        ),
        ("what_a_parent_drops_comes_back_while_its_child_lives", idle),
        (
            "an_object_of_cpython_outlives_the_child_that_used_it",
            cpython,
        ),
        (
            "a_queue_of_cpython_is_found_by_its_name_where_it_was_moved",
            cpython_queue,
        ),
        ("a_child_that_submits_opens_a_task_queue_of_its_own", tasks),
    ];
    let mut args = Arguments::from_args();
    // A program with more threads is not forked.
    args.test_threads = Some(1);
    let trials = tests.map(|(name, test)| {
        Trial::test(name, move || {
            let (_server, client) = server();
            test(&client);
            Ok(())
        })
    });
    libtest_mimic::run(&args, trials.into()).exit()
}

/// A program that serves, killed when it is dropped.
struct Manager(Child);

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server, which is read without a thread.
fn start(command: &mut Command) -> (Manager, Client) {
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut server = Manager(command.spawn().expect("the server starts"));
    let mut address = String::new();
    let out = server.0.stdout.as_mut().expect("it is a pipe");
    let read = BufReader::new(out).read_line(&mut address);
    read.expect("it says where it is");
    let client = Client::connect(address.trim(), b"abc").expect("it is there");
    (server, client)
}

fn server() -> (Manager, Client) {
    let mut command = Command::new(cargo_bin("manager"));
    command.env("MANAGER_AUTHKEY", "abc").env("RUST_LOG", "off");
    let arguments = "--bind 127.0.0.1:0 --queue items --queue numbers --queue results \
                     --redeliver items --object gate:Lock --sync-manager";
    start(command.args(arguments.split_whitespace()))
}

/// Runs it in a child to its end.
fn in_child<T: multiprocess::Serializable>(work: impl FnOnce() -> T) -> T {
    let mut child = Process::spawn(work).expect("a child");
    let value = child.join_timeout(LONG);
    value.expect("the child ends, and ends well")
}

fn answers(client: &Client) {
    let (items, results): (Queue<u32>, Queue<u32>) =
        (open(client, "numbers"), open(client, "results"));
    // The connections are there when the children are forked.
    assert_eq!((items.len().unwrap(), results.len().unwrap()), (0, 0));
    let echo = || {
        for _ in 0..ITEMS {
            results.put(&items.get_timeout(LONG).unwrap()).unwrap();
        }
    };
    let children: Vec<_> = (0..CHILDREN)
        .map(|_| Process::spawn(echo).expect("a child"))
        .collect();
    let all = CHILDREN * ITEMS;
    (0..all).for_each(|n| items.put(&n).unwrap());
    let mut came: Vec<u32> = (0..all)
        .map(|_| results.get_timeout(LONG).unwrap())
        .collect();
    for mut child in children {
        child
            .join_timeout(LONG)
            .expect("the child ends, and ends well");
    }
    came.sort_unstable();
    assert!(came == Vec::from_iter(0..all), "every item came once");
}

fn lease(client: &Client) {
    let items: Queue<u32> = open(client, "items");
    items.put(&7).unwrap();
    let mut lease = Some(items.lease().unwrap());
    in_child(|| drop(lease.take()));
    let again = items.lease_timeout(Duration::ZERO);
    assert!(matches!(again, Err(Error::Empty)), "{again:?}");
    lease.expect("it is here").done().unwrap();
}

fn lock(client: &Client) {
    let gate = client.proxy("gate", ()).unwrap();
    let mut held = Some(gate.acquire().unwrap());
    let is_free = |gate: &distributed::Proxy| {
        let tried = gate.acquire_timeout(Duration::ZERO).unwrap();
        tried.is_some()
    };
    in_child(|| {
        assert!(!is_free(&gate), "the parent has it");
        let refused = held.take().expect("it is here").release();
        assert!(refused.is_err_and(|error| error.to_string().ends_with("release it there")));
        assert!(!is_free(&gate), "the parent has it still");
    });
    in_child(|| drop(held.take()));
    assert!(!is_free(&gate.try_clone().unwrap()));
    held.expect("it is here").release().unwrap();
    assert!(is_free(&gate));
}

fn moved(client: &Client) {
    let items: Queue<u32> = open(client, "items");
    items.put(&7).unwrap();
    assert_eq!(in_child(move || items.get_timeout(LONG).unwrap()), 7);
    let gate = client.proxy("gate", ()).unwrap();
    gate.call::<()>("owner_died", ()).unwrap();
    assert!(in_child(move || gate
        .acquire_timeout(LONG)
        .unwrap()
        .is_some()));
}

/// Of a queue that a call has made, nobody has another.
fn borrowed(client: &Client) {
    let made: Queue<u32> = open(client, "Queue");
    in_child(|| made.put(&7).unwrap());
    assert_eq!(made.get_timeout(LONG).unwrap(), 7);
    let queues = || client.status().unwrap().queues.len();
    let before = queues();
    drop(made);
    assert_eq!(queues(), before - 1);
    let made: Queue<u32> = open(client, "Queue");
    made.put(&7).unwrap();
    let gone = in_child(move || made.try_get().map_err(|error| error.to_string()));
    assert!(gone.is_err_and(|said| said.ends_with("a closure without `move` does")));
}

fn idle(client: &Client) {
    let (items, numbers): (Queue<u32>, Queue<u32>) =
        (open(client, "items"), open(client, "numbers"));
    items.put(&7).unwrap();
    assert_eq!(items.get_timeout(LONG).unwrap(), 7);
    let mut child = Process::spawn(|| numbers.get_timeout(2 * LONG).unwrap()).expect("a child");
    drop(items);
    let items: Queue<u32> = open(client, "items");
    assert_eq!(items.get_timeout(LONG).unwrap(), 7, "it came back");
    numbers.put(&1).unwrap();
    assert_eq!(child.join_timeout(LONG).expect("it ends well"), 1);
}

/// CPython counts who refers to an object.
fn cpython(_: &Client) {
    for (version, path) in some_pythons() {
        let (_server, client) = start(&mut python(&path, "object_server.py"));
        let mut shared = Some(client.proxy("list", (vec!["parent"],)).unwrap());
        in_child(|| {
            let here = shared.take().expect("it is here");
            here.call::<()>("append", ("child",)).unwrap();
        });
        let list = shared.as_ref().expect("it is here");
        let second = list.call::<String>("__getitem__", (1,));
        assert_eq!(second.unwrap(), "child", "{version}");
        in_child(|| drop(shared.take()));
        let len = shared.map(|list| list.call::<usize>("__len__", ()));
        assert_eq!(len.expect("it is here").unwrap(), 2, "{version}");
    }
}

/// It ends the reference of a queue that is moved, and has the queue under its name.
fn cpython_queue(_: &Client) {
    for (version, path) in some_pythons() {
        let (_server, client) = start(&mut python(&path, "server.py"));
        let tasks: Queue<u32> = open(&client, "get_task_queue");
        tasks.put(&7).unwrap();
        let got = in_child(move || tasks.get_timeout(LONG).unwrap());
        assert_eq!(got, 7, "{version}");
    }
}

fn tasks(client: &Client) {
    let tasks = client.task_queue("items").unwrap();
    let handle = tasks.submit::<u32>("one", &(1,)).unwrap();
    let mut submitted = Some((tasks, handle));
    let said = in_child(|| {
        let here = client.task_queue("items").unwrap();
        here.submit::<u32>("two", &(2,)).unwrap().cancel().unwrap();
        let (tasks, _handle) = submitted.take().expect("it is here");
        let refused = tasks.submit::<u32>("three", &(3,)).map(drop);
        refused
            .expect_err("its outcome would be the parent's")
            .to_string()
    });
    assert!(
        said.contains("open the task queue in this process"),
        "{said}"
    );
    let worker = distributed::Worker::new().task("one", |(n,): (u32,)| Ok::<_, Error>(n));
    let worker = worker.idle(Duration::from_millis(50));
    worker.serve(client, "items").unwrap();
    let (_tasks, handle) = submitted.expect("it is here");
    assert_eq!(handle.result(Some(LONG)).unwrap(), 1);
}

fn open(client: &Client, name: &str) -> Queue<u32> {
    client.queue(name).expect("the manager has it")
}
