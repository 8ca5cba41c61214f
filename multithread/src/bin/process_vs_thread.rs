//! Chapter 4: what a thread and a process each cost, share and survive, measured here and now.

use multithread::compare;

fn main() -> anyhow::Result<()> {
    let start = compare::start_and_join()?;
    println!(
        "start and join       thread {} us    process {} us",
        start.thread.as_micros(),
        start.process.as_micros()
    );
    let memory = compare::memory_of_one_more()?;
    println!(
        "memory of one more   thread {} kB    process {} kB",
        memory.thread, memory.process
    );
    let (at_once, speed_up) = compare::cpu_work()?;
    println!(
        "CPU work, {at_once} at once   threads x{:.2}    processes x{:.2}",
        speed_up.thread, speed_up.process
    );
    let seen = compare::a_write_is_seen()?.map(|seen| if seen { "yes" } else { "no" });
    println!(
        "a write is seen      thread {}    process {}",
        seen.thread, seen.process
    );
    let panic = compare::a_panic_ends()?;
    println!(
        "a panic ends         thread {}    process {}",
        panic.thread, panic.process
    );
    let abort = compare::an_abort_ends()?;
    println!(
        "an abort ends        thread {}    process {}",
        abort.thread, abort.process
    );
    Ok(())
}
