//! Writers and readers of one queue, killed at any instruction and replaced.
//!
//! Each process notes in a file of its own what it has put or got. A process can be killed between
//! the queue and the note, so for each writer that was killed one item more may turn up than it
//! noted, and for each reader that was killed one item may be missing: the one in its hand.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use multiprocess::{Error, Process, Queue};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use super::Round;
use super::watch;

const EACH: usize = 4;
const KILLS: u64 = 100;
/// Of the writers and readers that come last, are not killed, and show that the queue still works.
const LAST_ITEMS: u64 = 200;
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize, PartialEq, Serialize)]
enum Message {
    Item(Item),
    Stop,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Item {
    writer: u32,
    number: u64,
    filler: Vec<u8>,
}

impl Item {
    /// All of it follows from the two numbers, so that a reader sees whether any of it is torn.
    fn of(writer: u32, number: u64) -> Item {
        let length = match number {
            n if n % 1024 == 1023 => 60_000,
            n if n % 64 == 63 => 5_000,
            n => n * 7 % 200,
        };
        let filler = (0..length)
            .map(|at| (u64::from(writer) * 31 + number * 17 + at) as u8)
            .collect();
        Item {
            writer,
            number,
            filler,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum QueueSide {
    Writer,
    Reader,
}

/// A writer or a reader at work.
struct Participant {
    side: QueueSide,
    process: Process<Result<(), String>>,
}

pub(super) fn judge(seed: u64) -> anyhow::Result<Round> {
    let mut program = watch::start("queue", seed)?;
    let deadline = Instant::now() + DEADLINE;
    let mut round = match program.line(deadline) {
        Ok(line) => serde_json::from_str(&line).context("read what the round counted")?,
        Err(_) => Round {
            broken: vec![format!(
                "it hangs or failed: no result after {} s at most",
                DEADLINE.as_secs()
            )],
            ..Round::default()
        },
    };
    let ended = watch::ends_well(&mut program, deadline)?;
    round.claim(ended, || "the application did not end well".to_string());
    let left = program.running().len();
    round.claim(left == 0, || format!("{left} processes are left"));
    Ok(round)
}

pub(super) fn program(seed: u64) -> anyhow::Result<()> {
    let mut dice = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().context("make a folder for the notes")?;
    let folder = folder.path();
    let queue = Queue::new()?;
    let mut round = Round::default();
    let mut started = 0;
    let mut start = |side| {
        started += 1;
        spawn(side, started, u64::MAX, &queue, folder)
    };
    let mut participants = Vec::new();
    for _ in 0..EACH {
        participants.push(start(QueueSide::Writer)?);
        participants.push(start(QueueSide::Reader)?);
    }
    for _ in 0..KILLS {
        thread::sleep(Duration::from_micros(dice.random_range(0..3_000)));
        let victim = dice.random_range(0..participants.len());
        let next = start(participants[victim].side)?;
        let participant = std::mem::replace(&mut participants[victim], next);
        end(participant, &mut round)?;
    }
    for participant in participants {
        end(participant, &mut round)?;
    }
    let last = started;
    finish(&queue, folder, last)?;
    match queue.try_get() {
        Err(Error::Empty) => {}
        other => round
            .broken
            .push(format!("the drained queue gives {other:?}")),
    }
    count(folder, &mut round)?;
    println!("{}", serde_json::to_string(&round)?);
    Ok(())
}

fn spawn(
    side: QueueSide,
    id: u32,
    items: u64,
    queue: &Queue<Message>,
    folder: &Path,
) -> anyhow::Result<Participant> {
    let process = match side {
        QueueSide::Writer => Process::builder()
            .daemon(true)
            .spawn(|| write(queue, id, items, folder).map_err(|error| format!("{error:#}"))),
        QueueSide::Reader => Process::builder()
            .daemon(true)
            .spawn(|| read(queue, id, folder).map_err(|error| format!("{error:#}"))),
    };
    let process = process.context("start a writer or a reader")?;
    Ok(Participant { side, process })
}

/// Kills it, and makes sure that it was this that ended it.
fn end(participant: Participant, round: &mut Round) -> anyhow::Result<()> {
    participant.process.kill()?;
    match participant.process.join() {
        Err(Error::Killed { signal: 9, .. }) => {}
        other => round.broken.push(format!("it ended by itself: {other:?}")),
    }
    round.count("kills", 1);
    round.count(
        "readers killed",
        u64::from(participant.side == QueueSide::Reader),
    );
    Ok(())
}

/// New writers and readers, which end by themselves, drain what the others left.
fn finish(queue: &Queue<Message>, folder: &Path, last: u32) -> anyhow::Result<()> {
    let participants = |side, from: u32| -> anyhow::Result<Vec<Participant>> {
        let ids = from..from + EACH as u32;
        ids.map(|id| spawn(side, id, LAST_ITEMS, queue, folder))
            .collect()
    };
    let readers = participants(QueueSide::Reader, last + 1)?;
    let writers = participants(QueueSide::Writer, last + 1 + EACH as u32)?;
    let join = |participant: Participant| match participant.process.join()? {
        Ok(()) => Ok(()),
        Err(error) => bail!("one of the last failed: {error}"),
    };
    writers.into_iter().try_for_each(join)?;
    for _ in 0..EACH {
        queue.put(&Message::Stop)?;
    }
    readers.into_iter().try_for_each(join)
}

/// Notes have a power of two as their length, so that none crosses a page: the kernel looks for a
/// SIGKILL between two pages of a write, and never within one.
fn write(queue: &Queue<Message>, id: u32, items: u64, folder: &Path) -> anyhow::Result<()> {
    let mut notes = File::create(folder.join(format!("writer {id}")))?;
    for number in 0..items {
        queue.put(&Message::Item(Item::of(id, number)))?;
        notes.write_all(&number.to_le_bytes())?;
    }
    Ok(())
}

fn read(queue: &Queue<Message>, id: u32, folder: &Path) -> anyhow::Result<()> {
    let mut notes = File::create(folder.join(format!("reader {id}")))?;
    while let Message::Item(item) = queue.get()? {
        let whole = u32::from(item == Item::of(item.writer, item.number));
        let mut note = [0; 16];
        note[..4].copy_from_slice(&item.writer.to_le_bytes());
        note[4..8].copy_from_slice(&whole.to_le_bytes());
        note[8..].copy_from_slice(&item.number.to_le_bytes());
        notes.write_all(&note)?;
    }
    Ok(())
}

/// What is in the notes.
#[derive(Default)]
struct Notes {
    /// How many items each writer knew that it had put.
    put: BTreeMap<u32, u64>,
    /// For each writer, how often each of its items was got.
    got: BTreeMap<u32, BTreeMap<u64, u64>>,
    torn: u64,
    out_of_order: u64,
}

impl Notes {
    fn read(folder: &Path) -> anyhow::Result<Notes> {
        let mut notes = Notes::default();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .context("our names")?;
            let bytes = fs::read(&path).with_context(|| format!("read the notes of {name}"))?;
            match name.split_once(' ') {
                Some(("writer", id)) => drop(notes.put.insert(id.parse()?, bytes.len() as u64 / 8)),
                _ => notes.take(&bytes),
            }
        }
        Ok(notes)
    }

    /// One reader's notes. Of each writer it must have got later items later.
    fn take(&mut self, bytes: &[u8]) {
        let mut last = BTreeMap::new();
        let (notes, _) = bytes.as_chunks::<16>();
        for note in notes {
            let [low, high] = [&note[..8], &note[8..]]
                .map(|half| u64::from_le_bytes(half.try_into().expect("it has 8 bytes")));
            let (writer, whole, number) = (low as u32, low >> 32, high);
            self.torn += u64::from(whole != 1);
            let before = last.insert(writer, number);
            self.out_of_order += u64::from(before.is_some_and(|before| before >= number));
            *self
                .got
                .entry(writer)
                .or_default()
                .entry(number)
                .or_default() += 1;
        }
    }
}

fn count(folder: &Path, round: &mut Round) -> anyhow::Result<()> {
    let notes = Notes::read(folder)?;
    let (mut put, mut unknown) = (0, 0);
    for (writer, numbers) in &notes.got {
        // The item after the last noted one may have been put by a writer that died at that.
        let noted = notes.put.get(writer).copied().unwrap_or(0);
        unknown += numbers.range(noted + 1..).count();
    }
    let mut missing = 0;
    for (writer, noted) in &notes.put {
        let numbers = notes.got.get(writer);
        let unnoted = numbers.is_some_and(|numbers| numbers.contains_key(noted));
        let got = numbers.map_or(0, BTreeMap::len) as u64;
        let all = noted + u64::from(unnoted);
        put += all;
        missing += all.saturating_sub(got);
    }
    let got = notes.got.values().flat_map(BTreeMap::values);
    let doubled = got.clone().filter(|times| **times > 1).count();
    round.count("put", put);
    round.count("got", got.sum());
    round.count("missing", missing);
    let readers = round.figures.get("readers killed").copied().unwrap_or(0);
    round.claim(doubled == 0, || format!("{doubled} items were got twice"));
    round.claim(unknown == 0, || {
        format!("{unknown} items came that nobody had put")
    });
    round.claim(notes.torn == 0, || {
        format!("{} items were torn", notes.torn)
    });
    round.claim(notes.out_of_order == 0, || {
        format!(
            "{} items overtook another of their writer",
            notes.out_of_order
        )
    });
    round.claim(missing <= readers, || {
        format!("{missing} items are missing, and only {readers} readers were killed")
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges a writer that noted three items, and what a reader noted: number and wholeness.
    fn broken(readers_killed: u64, got: &[(u64, u32)]) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let notes: Vec<u8> = got
            .iter()
            .flat_map(|(number, whole)| [u64::from(*whole) << 32 | 1, *number])
            .flat_map(u64::to_le_bytes)
            .collect();
        fs::write(folder.path().join("reader 2"), notes).expect("it can be written");
        fs::write(folder.path().join("writer 1"), [0; 24]).expect("it can be written");
        let mut round = Round::default();
        round.count("readers killed", readers_killed);
        count(folder.path(), &mut round).expect("the notes can be read");
        round.broken
    }

    #[test]
    fn the_judge_accepts_what_a_kill_explains_and_nothing_else() {
        assert!(broken(0, &[(0, 1), (1, 1), (2, 1)]).is_empty());
        assert!(
            broken(0, &[(0, 1), (1, 1), (2, 1), (3, 1)]).is_empty(),
            "put, not noted"
        );
        assert!(
            broken(1, &[(0, 1), (2, 1)]).is_empty(),
            "in a killed reader's hand"
        );
        for (got, word) in [
            (&[(0, 1), (2, 1)][..], "missing"),
            (&[(0, 1), (1, 1), (1, 1), (2, 1)], "twice"),
            (&[(0, 1), (2, 1), (1, 1)], "overtook"),
            (&[(0, 1), (1, 0), (2, 1)], "torn"),
            (&[(0, 1), (1, 1), (2, 1), (4, 1)], "nobody"),
        ] {
            let broken = broken(0, got).join("; ");
            assert!(broken.contains(word), "{got:?}: {broken}");
        }
    }
}
