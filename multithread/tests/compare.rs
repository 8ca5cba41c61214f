//! Claims about `compare`, one after another on the only thread: it forks.

use multiprocess::Error;
use multithread::compare::{self, Both, Ends, Row, Way};

fn main() {
    a_thread_is_faster_to_start_than_a_process();
    a_thread_takes_less_memory_than_a_process();
    messages_arrive_whole_and_take_their_time();
    work_is_shared_by_threads_and_by_processes();
    threads_share_memory_and_processes_do_not();
    a_panic_ends_only_where_it_happened();
    an_abort_ends_the_threads_program_but_not_the_processs();
    a_sigsegv_ends_the_threads_program_but_not_the_processs();
    a_process_can_be_stopped_from_outside();
    a_program_with_threads_is_refused();
}

fn median(rows: &[Row], way: Way, size: usize) -> f64 {
    let row = rows.iter().find(|row| row.way == way && row.size == size);
    row.unwrap_or_else(|| panic!("{way} {size} in {rows:?}"))
        .figure
        .median
}

fn a_thread_is_faster_to_start_than_a_process() {
    let processors = || std::thread::available_parallelism().expect("the mask can be read");
    let before = processors();
    let (start, left_out) = compare::start_and_join(5).expect("all start");
    for size in [0, 64, 256, 1024] {
        if left_out.iter().any(|(known, _)| *known == size) {
            continue;
        }
        let thread = median(&start, Way::Thread, size);
        assert!(thread > 0.0, "{start:?}");
        assert!(thread < median(&start, Way::Fork, size), "{start:?}");
        assert!(thread < median(&start, Way::Zygote, size), "{start:?}");
        assert!(thread < median(&start, Way::Spawn, size), "{start:?}");
    }
    assert!(left_out.iter().all(|(size, _)| *size > 0), "{left_out:?}");
    assert_eq!(processors(), before, "the measurement keeps one for itself");
}

fn a_thread_takes_less_memory_than_a_process() {
    let memory = compare::memory_of_one_more(5).expect("all start");
    let thread = median(&memory, Way::Thread, 1);
    assert!(thread > 0.0, "{memory:?}");
    assert!(thread < median(&memory, Way::Fork, 1), "{memory:?}");
    assert!(median(&memory, Way::Spawn, 1) > 0.0, "{memory:?}");
}

fn messages_arrive_whole_and_take_their_time() {
    // The measurements themselves see that every byte arrives.
    for rows in [compare::round_trip(3), compare::throughput(3)] {
        let rows = rows.expect("threads and processes start");
        assert_eq!(rows.len(), 4, "{rows:?}");
        assert!(rows.iter().all(|row| row.figure.median > 0.0), "{rows:?}");
        assert!(rows.iter().all(|row| row.figure.rounds >= 3), "{rows:?}");
    }
}

/// The bounds are wide, since other programs may have the processors.
fn work_is_shared_by_threads_and_by_processes() {
    let work = compare::cpu_work(3).expect("both start");
    let at_once = work[0].size;
    let possible = 0.2..at_once as f64 * 4.0;
    for way in [Way::Thread, Way::Fork] {
        assert!(possible.contains(&median(&work, way, at_once)), "{work:?}");
    }
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

fn a_sigsegv_ends_the_threads_program_but_not_the_processs() {
    let (thread, process) = (Ends::All, Ends::Itself);
    let ends = compare::a_sigsegv_ends().expect("both start");
    assert_eq!(ends, Both { thread, process });
}

fn a_process_can_be_stopped_from_outside() {
    let (thread, process) = (false, true);
    let stopped = compare::can_be_stopped().expect("the process starts");
    assert_eq!(stopped, Both { thread, process });
}

fn a_program_with_threads_is_refused() {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || stopped.recv());
    let refused = compare::start_and_join(1);
    assert!(
        matches!(refused, Err(Error::Threaded { threads: 2 })),
        "{refused:?}"
    );
    drop(stop);
    assert!(other.join().expect("it only waits").is_err());
}
