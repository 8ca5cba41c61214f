//! Chapter 4: what a thread and a process each cost, share and survive, measured here and now.

use common::{environment, pace};
use multithread::compare::{self, Findings, START_DECIMALS, TRIP_DECIMALS, lines};

fn main() -> anyhow::Result<()> {
    environment::check();
    let rounds = if pace::factor() < 1.0 { 7 } else { 31 };
    println!("median  (5th to 95th percentile, N rounds)");
    let (start, left_out) = compare::start_and_join(rounds)?;
    print!("{}", lines(&start, "start, {} MiB", "us", START_DECIMALS));
    for (size, free) in left_out {
        println!("start, {size} MiB is left out: {free} MiB are free");
    }
    let memory = compare::memory_of_one_more(rounds.min(9))?;
    print!("{}", lines(&memory, "memory of {}", "kB", 0));
    let trip = compare::round_trip(rounds)?;
    print!("{}", lines(&trip, "echo, {} B", "us", TRIP_DECIMALS));
    let rate = compare::throughput(rounds.min(9))?;
    print!("{}", lines(&rate, "rate, {} B", "MB/s", 0));
    let work = compare::cpu_work(rounds.min(9))?;
    print!("{}", lines(&work, "work, {} CPUs", "times", 2));
    let seen = compare::a_write_is_seen()?;
    println!("a write is seen      {seen}");
    println!("a panic ends         {}", compare::a_panic_ends()?);
    println!("an abort ends        {}", compare::an_abort_ends()?);
    let crash = compare::a_sigsegv_ends()?;
    println!("a SIGSEGV ends       {crash}");
    let stopped = compare::can_be_stopped()?;
    println!("it can be stopped    {stopped}");
    let figures = (start, trip, work);
    for sentence in Findings::new(figures, seen, crash, stopped).conclusion() {
        println!("So {sentence}.");
    }
    Ok(())
}
