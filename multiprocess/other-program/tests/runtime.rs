//! Tests in an async runtime, and the program as a whole.

use std::{process::Command, time::Duration};

use multiprocess::{Pool, Queue};
use other_program::square;

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_works_in_an_async_test() {
    let squares = tokio::task::spawn_blocking(|| {
        let pool = Pool::new(2)?;
        let id = |id| other_program::Job { id, priority: None };
        pool.map(square, (0..4).map(id))
    });
    assert_eq!(squares.await.unwrap().unwrap()[2].id, 4);
}

#[tokio::test]
async fn a_queue_is_waited_for_beside_a_timer() {
    let queue = Queue::<u32>::new().unwrap();
    let waiting = tokio::task::spawn_blocking({
        let queue = queue.clone();
        move || queue.get()
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    queue.put(&7).unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 7);
}

#[test]
fn the_program_with_an_async_main_works() {
    let output = Command::new(env!("CARGO_BIN_EXE_other-program"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // 9 + 16 + (0 + 1 + 4 + 9) + 1
    assert_eq!(output.stdout, b"40\n");
}
