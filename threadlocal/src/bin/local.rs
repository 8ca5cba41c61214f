//! `In [15]`: a global that each thread has for itself.

use std::cell::RefCell;
use std::{io, thread};

thread_local! {
    /// One name for all threads, one value for each.
    static STUDENT: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() -> io::Result<()> {
    thread::scope(|scope| {
        for (thread, student) in [("Thread-A", "Alice"), ("Thread-B", "Bob")] {
            thread::Builder::new()
                .name(thread.to_owned())
                .spawn_scoped(scope, || process_thread(student))?;
        }
        Ok(())
    })
}

fn process_thread(student: &str) {
    STUDENT.set(student.to_owned());
    process_student();
}

/// Takes no student as an argument: it reads the one of its own thread.
fn process_student() {
    let thread = thread::current();
    let name = thread.name().expect("the builder gave it a name");
    STUDENT.with_borrow(|student| println!("Hello, {student} (in {name})"));
}
