//! Claims about `compare`, one after another on the only thread: it forks.

use std::time::Duration;

use multiprocess::Error;
use multithread::compare::{self, Both, Ends};

fn main() {
    a_thread_is_faster_to_start_than_a_process();
    a_thread_takes_less_memory_than_a_process();
    work_is_shared_by_threads_and_by_processes();
    threads_share_memory_and_processes_do_not();
    a_panic_ends_only_where_it_happened();
    an_abort_ends_the_threads_program_but_not_the_processs();
    a_program_with_threads_is_refused();
}

fn a_thread_is_faster_to_start_than_a_process() {
    let processors = || std::thread::available_parallelism().expect("the mask can be read");
    let before = processors();
    let start = compare::start_and_join().expect("both start");
    assert!(start.thread > Duration::ZERO, "{start:?}");
    assert!(start.thread < start.process, "{start:?}");
    assert_eq!(processors(), before, "the measurement keeps one for itself");
}

fn a_thread_takes_less_memory_than_a_process() {
    let memory = compare::memory_of_one_more().expect("both start");
    assert!(memory.thread > 0, "{memory:?}");
    assert!(memory.thread < memory.process, "{memory:?}");
}

/// The bounds are wide, since other programs may have the processors.
fn work_is_shared_by_threads_and_by_processes() {
    let (at_once, speed_up) = compare::cpu_work().expect("both start");
    let possible = 0.2..at_once.get() as f64 * 4.0;
    assert!(possible.contains(&speed_up.thread), "{speed_up:?}");
    assert!(possible.contains(&speed_up.process), "{speed_up:?}");
}

fn threads_share_memory_and_processes_do_not() {
    for _ in 0..2 {
        let seen = compare::a_write_is_seen().expect("both start");
        let (thread, process) = (true, false);
        assert_eq!(seen, Both { thread, process });
    }
}

fn a_panic_ends_only_where_it_happened() {
    let (thread, process) = (Ends::Itself, Ends::Itself);
    let ends = compare::a_panic_ends().expect("both start");
    assert_eq!(ends, Both { thread, process });
}

fn an_abort_ends_the_threads_program_but_not_the_processs() {
    let (thread, process) = (Ends::All, Ends::Itself);
    let ends = compare::an_abort_ends().expect("both start");
    assert_eq!(ends, Both { thread, process });
}

fn a_program_with_threads_is_refused() {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || stopped.recv());
    let refused = compare::start_and_join();
    assert!(
        matches!(refused, Err(Error::Threaded { threads: 2 })),
        "{refused:?}"
    );
    drop(stop);
    assert!(other.join().expect("it only waits").is_err());
}
