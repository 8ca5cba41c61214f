//! Runs one cell. Each line is stamped with its arrival, the cell is ended at a deadline, and what
//! it left behind is found and ended.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, io, iter};

use crate::notebook::{self, Cell, Need, Statistic, Variant};
use crate::observed::{Ended, Observed};
use crate::pattern::Pattern;
use crate::printout::Printout;
use crate::transcript::{Printed, Source};
use crate::verdict::{CellOutcome, Run, is_zero};
use crate::{draw, stand_in};

mod leftovers;
mod lines;
mod running;

use leftovers::GRACE;
pub use leftovers::{MARK, mark_of};
use running::{Environment, Running};

/// How cells are run.
pub struct Replay<'a> {
    /// The folder with the programs.
    pub bins: PathBuf,
    /// The factor on all pauses, see [`pace`](crate::pace).
    pub pace: f64,
    /// The seed of all draws, see [`draw`]; none for the system's randomness.
    pub seed: Option<u64>,
    /// Draw what the notebook drew, as far as its output shows it.
    pub as_recorded: bool,
    /// How often to run a cell that has trials; as often as the table says, if not given.
    pub trials: Option<usize>,
    /// How long one run may take.
    pub timeout: Duration,
    /// Run the real programs of the outside world, not their stand-ins.
    pub online: bool,
    /// Set from outside when everything is to stop.
    pub stop: &'a AtomicBool,
    /// Called with each line as it arrives.
    pub on_line: &'a mut dyn FnMut(&Printed),
}

/// A process runs one replay at a time. Arrival times are evidence, so nothing of ours may run beside
/// the cell. And every orphan that comes to us must be that cell's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Replay<'_> {
    /// Replays a variant of a cell, as often as its trials want, and judges it.
    ///
    /// # Errors
    ///
    /// Fails when a program of the cell cannot be started, or when no port is to be had.
    pub fn variant(
        &mut self,
        cell: &'static Cell,
        variant: &'static Variant,
    ) -> io::Result<CellOutcome> {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        let mut runs = Vec::new();
        let in_table = variant.trials.as_ref().map(|trials| trials.runs);
        let natural = in_table.map_or(1, |runs| self.trials.unwrap_or(runs));
        for _ in 0..natural {
            runs.push(self.run(cell, cell.program(variant), variant)?);
            // A run that hangs fails the cell. Others would hang too, each until its deadline.
            let hung = runs.last().is_some_and(has_hung);
            if hung || self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        if let Some(trials) = &variant.trials
            && trials.statistic == Statistic::AnyNonZero
            && let Some(widened) = trials.widened
        {
            // The natural race shows nothing on one processor; the widened one shows it there too.
            // Sixty tries that each fail less than half of the time do not all fail.
            let mut tries = 0;
            while !runs.iter().any(|run| is_zero(trials, run) == Some(false))
                && !runs.iter().any(has_hung)
                && tries < 60
                && !self.stop.load(Ordering::Relaxed)
            {
                runs.push(self.run(cell, widened, variant)?);
                tries += 1;
            }
        }
        Ok(CellOutcome::new(
            cell,
            variant,
            runs,
            natural,
            self.uses_stand_in(cell),
            begun.elapsed(),
        ))
    }

    /// Whether a stand-in answers for a program of the outside world.
    fn uses_stand_in(&self, cell: &Cell) -> bool {
        cell.needs.contains(&Need::Nslookup) && !self.online
    }

    fn run(&mut self, cell: &Cell, bin: &'static str, variant: &Variant) -> io::Result<Run> {
        let port = variant
            .args
            .contains(&"{address}")
            .then(free_port)
            .transpose()?;
        leftovers::adopt_orphans();
        let start = Instant::now();
        let mut running = Running::new(start, self.environment(cell, variant, port));
        let main = running.start(
            &self.bins.join(bin),
            variant.args,
            [Source::Out, Source::Err],
        )?;
        self.watch(&mut running, variant)?;
        // The port is looked at before the leftovers are ended: one of them may hold it.
        let port_free = port.map(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
        let left = running.clear(GRACE);
        let ended = |who: usize| running.programs.get(who).and_then(|program| program.ended);
        Ok(Run {
            bin,
            observed: Observed {
                pid: main,
                ended: ended(0).unwrap_or(Ended::Hung),
                companion: ended(1),
                left,
                port_free,
                port,
                pace: self.pace,
                took: start.elapsed(),
                stall: running.stall,
            },
            printout: Printout::read(variant, running.printed),
        })
    }

    /// What the programs of a run find in their environment and in their arguments.
    fn environment(&self, cell: &Cell, variant: &Variant, port: Option<u16>) -> Environment {
        let mut variables = vec![("PACE", self.pace.to_string().into())];
        variables.extend(self.seed.map(|seed| ("SEED", seed.to_string().into())));
        if self.as_recorded && !variant.draws.is_empty() {
            variables.push((draw::DRAWS, draw::written(variant.draws).into()));
        }
        if self.uses_stand_in(cell) {
            let path = env::var_os("PATH").unwrap_or_default();
            let dirs = iter::once(stand_in::dir().to_path_buf()).chain(env::split_paths(&path));
            variables.extend(env::join_paths(dirs).map(|path| ("PATH", path)));
        }
        let address = port.map_or(String::new(), |port| format!("127.0.0.1:{port}"));
        let timeout = 10.0 * self.pace;
        Environment {
            variables,
            address,
            timeout: timeout.to_string(),
        }
    }

    /// Follows the run until all its programs have ended and all their output has arrived. A deadline
    /// or an interruption ends it earlier.
    fn watch(&mut self, running: &mut Running, variant: &Variant) -> io::Result<()> {
        let after = variant.companion.as_ref().map(|companion| {
            let line = variant
                .prints
                .iter()
                .find(|line| line.event == companion.after);
            (
                companion,
                Pattern::new(line.expect("the table names a line that exists").text),
            )
        });
        let mut grace_ends = None;
        loop {
            match running.next(Duration::from_millis(20)) {
                Some(printed) => {
                    (self.on_line)(&printed);
                    if let Some((companion, pattern)) = &after
                        && running.programs.len() == 1
                        && pattern.captures(&printed.text).is_some()
                    {
                        let program = self.bins.join(companion.bin);
                        running.start(
                            &program,
                            companion.args,
                            [Source::Companion, Source::Err],
                        )?;
                    }
                    running.printed.push(printed);
                }
                None if running.is_over() => return Ok(()),
                // A process that holds a pipe open after the programs have ended was left behind.
                None if running
                    .programs
                    .iter()
                    .all(|program| program.ended.is_some()) =>
                {
                    let end = *grace_ends.get_or_insert_with(|| Instant::now() + GRACE);
                    if Instant::now() > end {
                        return Ok(());
                    }
                }
                None => {}
            }
            let why = match () {
                () if self.stop.load(Ordering::Relaxed) => Ended::Interrupted,
                () if running.start.elapsed() > self.timeout => Ended::Hung,
                () => continue,
            };
            running.end(why);
            return Ok(());
        }
    }
}

fn has_hung(run: &Run) -> bool {
    run.observed.ended == Ended::Hung
}

/// One that the system chooses. The notebook's port, 5000, is for those who start the programs
/// themselves: their workers would join the master of a replay, and those of one replay another's.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Replays the cell of a program in all its variants, without its pauses. A sleep that did a lock's
/// work would show there. The test of each cell calls this.
///
/// # Panics
///
/// Panics when a check does not hold, with all that was found. Also panics when the table does not
/// have the program, or when it cannot be started.
#[track_caller]
pub fn assert_holds(program: &Path) {
    let name = program.file_name().and_then(|name| name.to_str());
    let cell = name
        .and_then(notebook::cell)
        .expect("the table has the program");
    for variant in cell.variants {
        let mut replay = Replay {
            bins: program
                .parent()
                .expect("a program is in a folder")
                .to_path_buf(),
            pace: 0.0,
            seed: None,
            as_recorded: false,
            trials: None,
            timeout: Duration::from_secs(60),
            online: false,
            stop: &AtomicBool::new(false),
            on_line: &mut |_| {},
        };
        let outcome = replay.variant(cell, variant).expect("the cell starts");
        assert!(
            outcome.held(),
            "{:#?}\n{:#?}",
            outcome.verdicts,
            outcome.runs
        );
    }
}
