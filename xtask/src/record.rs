//! `run.json`: what a replay found, for every other view of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fmt, fs, io};

use anyhow::{Context, anyhow};
use common::observed::Ended;
use common::printout::Printout;
use common::transcript::{Printed, Source};
use common::verdict::{CellOutcome, Reordering, Verdict};
use serde::{Deserialize, Serialize};

/// The version of the form. It grows when a field changes its meaning or goes.
pub(crate) const VERSION: u32 = 4;

/// One replay.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReplayRecord {
    pub(crate) version: u32,
    /// When it began, in UTC, as RFC 3339 has it.
    pub(crate) started: String,
    pub(crate) seed: u64,
    pub(crate) pace: f64,
    pub(crate) online: bool,
    /// The notebook's own draws were made again, as far as its output tells them.
    pub(crate) as_recorded: bool,
    pub(crate) interrupted: bool,
    /// What a reader types to run this again.
    pub(crate) again: String,
    pub(crate) machine: Machine,
    /// Which of the needs were there, as far as they were looked at.
    pub(crate) needs: BTreeMap<String, bool>,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    pub(crate) seconds: f64,
    pub(crate) cells: Vec<CellRecord>,
}

/// Where it ran.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processors: usize,
    pub(crate) os: String,
    pub(crate) arch: String,
    /// What `rustc --version` says; none where it cannot be asked.
    pub(crate) rustc: Option<String>,
    /// The commit of the sources; none outside a checkout.
    pub(crate) commit: Option<String>,
}

/// One variant of one cell.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CellRecord {
    pub(crate) number: Option<u8>,
    pub(crate) chapter: u8,
    pub(crate) bin: String,
    pub(crate) variant: String,
    pub(crate) held: bool,
    pub(crate) stand_in: bool,
    pub(crate) seconds: f64,
    pub(crate) verdicts: Vec<Verdict>,
    #[serde(rename = "freedoms")]
    pub(crate) reorderings: Vec<Reordering>,
    pub(crate) runs: Vec<RunRecord>,
}

/// One run of a program.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub(crate) bin: String,
    pub(crate) pid: i32,
    /// The exit code; a signal's number, negated; nothing for a program that was killed here.
    pub(crate) exit: Option<i32>,
    pub(crate) port: Option<u16>,
    pub(crate) seconds: f64,
    pub(crate) lines: Vec<LineRecord>,
}

/// One line that was printed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LineRecord {
    /// When it arrived, in seconds after the start.
    pub(crate) at: f64,
    pub(crate) source: Source,
    pub(crate) text: String,
    pub(crate) whole: bool,
    /// The line's name in the table; none for a line that the cell may not print.
    pub(crate) event: Option<String>,
    /// The role of the process or thread that said it.
    pub(crate) who: Option<String>,
}

impl RunRecord {
    /// Its lines, as they arrived.
    pub(crate) fn printed(&self) -> Vec<Printed> {
        self.lines.iter().map(LineRecord::printed).collect()
    }
}

impl LineRecord {
    fn printed(&self) -> Printed {
        Printed {
            source: self.source,
            at: Some(Duration::from_secs_f64(self.at.clamp(0.0, 1e9))),
            text: self.text.clone(),
            whole: self.whole,
        }
    }
}

impl From<&CellOutcome> for CellRecord {
    fn from(outcome: &CellOutcome) -> CellRecord {
        let exit = |ended| match ended {
            Ended::Code(code) => Some(code),
            Ended::Signal(signal) => Some(-signal),
            Ended::Hung | Ended::Interrupted => None,
        };
        let runs = outcome.runs.iter().map(|run| RunRecord {
            bin: run.bin.to_string(),
            pid: run.observed.pid,
            exit: exit(run.observed.ended),
            port: run.observed.port,
            seconds: run.observed.took.as_secs_f64(),
            lines: lines(&run.printout),
        });
        CellRecord {
            number: outcome.cell.number,
            chapter: outcome.cell.chapter,
            bin: outcome.cell.bin.to_string(),
            variant: outcome.variant.name.to_string(),
            held: outcome.held(),
            stand_in: outcome.stand_in,
            seconds: outcome.took.as_secs_f64(),
            verdicts: outcome.verdicts.clone(),
            reorderings: outcome.reorderings.clone(),
            runs: runs.collect(),
        }
    }
}

fn lines(printout: &Printout) -> Vec<LineRecord> {
    let line = |(at, printed): (usize, &Printed)| LineRecord {
        at: printed.at.unwrap_or_default().as_secs_f64(),
        source: printed.source,
        text: printed.text.clone(),
        whole: printed.whole,
        event: printout.event(at + 1).map(|event| event.name.to_string()),
        who: printout
            .speaker(at + 1)
            .map(|who| printout.speakers.all[who].mark.clone()),
    };
    printout.printed.iter().enumerate().map(line).collect()
}

/// Why there is no run to show: what a view says then, with an exit code of its own.
#[derive(Debug)]
pub(crate) struct NoRun(pub(crate) String);

impl fmt::Display for NoRun {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The folder of what replays leave for the views: `target/replay`.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    let exe = env::current_exe().context("find this program's own folder")?;
    let target = exe.ancestors().nth(2);
    let target = target.context("find the folder target: this program is not in it")?;
    Ok(target.join("replay"))
}

/// What the file name of a replay begins with that is no longer the last one.
const EARLIER: &str = "earlier-";

impl ReplayRecord {
    /// Keeps it as the last replay. Earlier ones stay as long as they have a cell that no later one
    /// has, so that the views show the last run of every cell.
    pub(crate) fn keep(&self) -> anyhow::Result<()> {
        self.keep_in(&folder()?)
    }

    fn keep_in(&self, folder: &Path) -> anyhow::Result<()> {
        // One that was interrupted before its first cell ended shows nothing.
        if self.cells.is_empty() {
            return Ok(());
        }
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let last = folder.join("run.json");
        if let Ok(before) = read(&last) {
            let name = format!("{EARLIER}{}.json", before.started.replace(':', ""));
            // Another replay that ends now may have moved it.
            let _ = fs::rename(&last, folder.join(name));
        }
        write_whole(&last, &self.text()?)?;
        let mut known = BTreeSet::new();
        for file in files(folder) {
            let shows_more = read(&file).is_ok_and(|replay| {
                let cells = replay.cells.iter().map(CellRecord::key);
                cells.fold(false, |more, key| known.insert(key) | more)
            });
            if !shows_more {
                let _ = fs::remove_file(file);
            }
        }
        Ok(())
    }

    /// It as JSON.
    pub(crate) fn text(&self) -> anyhow::Result<String> {
        let text = serde_json::to_string_pretty(self).context("write down the replay")?;
        Ok(text + "\n")
    }

    /// Reads a replay: that of the file, or the last one and behind it the earlier ones that are kept,
    /// the latest first.
    pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<Vec<ReplayRecord>> {
        if let Some(file) = file {
            return match read(file) {
                Err(error) if is_missing(&error) || !error.is::<io::Error>() => {
                    let name = file.display();
                    let mend = format!("cargo xtask all --json {name} writes one");
                    Err(mended(&error, mend))
                }
                replay => Ok(vec![replay?]),
            };
        }
        let folder = folder()?;
        let mut replays = vec![last(&folder)?];
        let earlier = files(&folder).into_iter().skip(1);
        replays.extend(earlier.filter_map(|file| read(&file).ok()));
        Ok(replays)
    }
}

impl CellRecord {
    /// What tells it from all others of a replay.
    pub(crate) fn key(&self) -> (String, String) {
        (self.bin.clone(), self.variant.clone())
    }
}

/// The replays of the folder, the latest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut earlier: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(EARLIER))
        .map(|entry| entry.path())
        .collect();
    // The names have their times.
    earlier.sort();
    earlier.push(folder.join("run.json"));
    earlier.reverse();
    earlier
}

/// Whether there is nothing at all where a run was looked for.
pub(crate) fn is_missing(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound)
}

/// The error with what mends it behind its cause.
fn mended(error: &anyhow::Error, mend: String) -> anyhow::Error {
    let links: Vec<String> = error.chain().map(ToString::to_string).collect();
    let (first, causes) = links.split_first().expect("an error says what failed");
    let causes = causes.iter().rev().cloned();
    let cause = causes.fold(anyhow!(mend), anyhow::Error::context);
    cause.context(NoRun(first.clone()))
}

/// The last replay of the folder.
fn last(folder: &Path) -> anyhow::Result<ReplayRecord> {
    let file = folder.join("run.json");
    read(&file).map_err(|error| {
        let earlier = files(folder).into_iter().skip(1);
        let earlier = earlier.into_iter().find(|file| read(file).is_ok());
        if is_missing(&error) && earlier.is_none() {
            let name = file.display();
            let sentence = NoRun(format!(
                "read {name} (cargo xtask all replays the notebook and leaves its run there)"
            ));
            return match error.downcast::<io::Error>() {
                Ok(cause) => anyhow::Error::new(cause).context(sentence),
                Err(error) => error.context(sentence),
            };
        }
        let mend = match earlier {
            Some(file) => {
                let name = file.display();
                format!("cargo xtask all writes a new one; --run {name} shows an earlier one")
            }
            None => "cargo xtask all writes a new one".to_string(),
        };
        mended(&error, mend)
    })
}

fn read(file: &Path) -> anyhow::Result<ReplayRecord> {
    let text =
        fs::read_to_string(file).with_context(|| NoRun(format!("read {}", file.display())))?;
    #[derive(Deserialize)]
    struct VersionOnly {
        version: u32,
    }
    let name = file.display();
    let head: VersionOnly = serde_json::from_str(&text)
        .with_context(|| NoRun(format!("{name} is not the run of a replay")))?;
    if head.version != VERSION {
        return Err(anyhow!(NoRun(format!(
            "{name} has version {} of run.json, and this xtask reads version {VERSION}",
            head.version
        ))));
    }
    serde_json::from_str(&text).with_context(|| NoRun(format!("read the run in {name}")))
}

/// Writes the file whole or not at all: a reader never finds half of it, whoever else writes.
pub(crate) fn write_whole(file: &Path, text: &str) -> anyhow::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let write = || -> io::Result<()> {
        // A device or a pipe is written to, and not replaced by a file.
        if fs::metadata(file).is_ok_and(|old| !old.is_file()) {
            return fs::write(file, text);
        }
        let part = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)?;
        fs::write(part.path(), text)?;
        part.persist(file)?;
        Ok(())
    };
    write().with_context(|| format!("write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(started: &str, bins: &[&str]) -> ReplayRecord {
        let cell = |bin: &&str| CellRecord {
            number: None,
            chapter: 1,
            bin: bin.to_string(),
            variant: String::new(),
            held: true,
            stand_in: false,
            seconds: 0.0,
            verdicts: Vec::new(),
            reorderings: Vec::new(),
            runs: Vec::new(),
        };
        ReplayRecord {
            version: VERSION,
            started: started.to_string(),
            seed: 1,
            pace: 1.0,
            online: false,
            as_recorded: false,
            interrupted: bins.is_empty(),
            again: String::new(),
            machine: Machine {
                processors: 1,
                os: String::new(),
                arch: String::new(),
                rustc: None,
                commit: None,
            },
            needs: BTreeMap::new(),
            passed: bins.len(),
            failed: 0,
            skipped: 0,
            seconds: 0.0,
            cells: bins.iter().map(cell).collect(),
        }
    }

    #[test]
    fn a_replay_in_which_no_cell_ended_leaves_the_last_one_where_it_is() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let folder = folder.path();
        replay("2026-11-28T00:00:00Z", &["fork", "pool"]).keep_in(folder)?;
        replay("2026-11-28T00:00:01Z", &[]).keep_in(folder)?;
        assert_eq!(last(folder)?.cells.len(), 2);
        // One that shows less than the last one comes before it.
        replay("2026-11-28T00:00:02Z", &["pool"]).keep_in(folder)?;
        assert_eq!(last(folder)?.cells.len(), 1);
        assert_eq!(files(folder).len(), 2);
        // Where somebody has removed it, an earlier one is named.
        fs::remove_file(folder.join("run.json"))?;
        let error = format!("{:#}", last(folder).expect_err("it is gone"));
        assert!(error.ends_with("shows an earlier one"), "{error}");
        Ok(())
    }
}
