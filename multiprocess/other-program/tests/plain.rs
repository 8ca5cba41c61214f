//! Plain tests, which the harness runs in threads of one process, and nextest in a process each.

use multiprocess::{Error, Pool, Process};
use other_program::{Job, POOL, square, through_queues};

fn jobs() -> Vec<Job> {
    (0..20).map(|id| Job { id, priority: None }).collect()
}

#[test]
fn a_pool_of_the_test_works() {
    let pool = Pool::new(2).unwrap();
    let squares = pool.map(square, jobs()).unwrap();
    assert_eq!(
        squares[3],
        Job {
            id: 9,
            priority: None
        }
    );
}

#[test]
fn a_pool_of_the_program_works() {
    assert_eq!(
        POOL.apply(
            square,
            Job {
                id: 5,
                priority: Some(2)
            }
        )
        .unwrap()
        .id,
        25
    );
}

#[test]
fn a_pool_of_the_program_works_in_another_test_too() {
    assert_eq!(POOL.map(square, jobs()).unwrap().len(), 20);
}

#[test]
fn a_worker_that_dies_is_an_error_of_the_test() {
    let die = |_: u8| -> u8 { std::process::abort() };
    let error = Process::spawn_with(die, 1).unwrap().join().unwrap_err();
    assert!(matches!(error, Error::Killed { signal: 6, .. }), "{error}");
}

#[test]
fn queues_and_processes_work() {
    let mut squares = through_queues(&jobs()).unwrap();
    squares.sort_by_key(|job| job.id);
    assert_eq!(squares[4].id, 16);
}

#[test]
fn a_failed_assertion_of_a_process_comes_back() {
    let check = |n: u8| assert_eq!(n, 2, "in the process");
    let error = Process::spawn_with(check, 1).unwrap().join().unwrap_err();
    assert!(error.to_string().contains("in the process"), "{error}");
}
