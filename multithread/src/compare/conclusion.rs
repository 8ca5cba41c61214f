//! What follows from the figures of one run.

use common::ratio;

use super::{Both, Ends, Row, START_DECIMALS, TRIP_DECIMALS, Way};

/// All that was found in one run.
#[derive(Debug)]
pub struct Findings {
    /// [`start_and_join`](super::start_and_join).
    pub start: Vec<Row>,
    /// [`round_trip`](super::round_trip).
    pub trip: Vec<Row>,
    /// [`cpu_work`](super::cpu_work).
    pub work: Vec<Row>,
    /// [`a_write_is_seen`](super::a_write_is_seen).
    pub seen: Both<bool>,
    /// [`a_sigsegv_ends`](super::a_sigsegv_ends).
    pub crash: Both<Ends>,
    /// [`can_be_stopped`](super::can_be_stopped).
    pub stopped: Both<bool>,
}

impl Findings {
    /// What was found of starts, round trips and work, and of what one does to the others.
    pub fn new(
        (start, trip, work): (Vec<Row>, Vec<Row>, Vec<Row>),
        seen: Both<bool>,
        crash: Both<Ends>,
        stopped: Both<bool>,
    ) -> Findings {
        Findings {
            start,
            trip,
            work,
            seen,
            crash,
            stopped,
        }
    }

    /// Three sentences: on starting, on messages, and on which to take.
    ///
    /// They compare medians as [`lines`](super::lines) says them: whoever divides two printed figures
    /// finds the same.
    pub fn conclusion(&self) -> [String; 3] {
        [self.on_starting(), self.on_messages(), self.on_choosing()]
    }

    fn on_starting(&self) -> String {
        let largest = self.start.iter().map(|row| row.size).max().unwrap_or(0);
        let start = |way, size| printed(median(&self.start, way, size), START_DECIMALS);
        let times = |way, size| start(way, size) / start(Way::Thread, size);
        format!(
            "a thread started {} times as fast as a forked process and {} times as fast as another \
             program; with {largest} MiB in the parent, {} and {} times as fast",
            ratio::times(times(Way::Fork, 0)),
            ratio::times(times(Way::Spawn, 0)),
            ratio::times(times(Way::Fork, largest)),
            ratio::times(times(Way::Spawn, largest)),
        )
    }

    fn on_messages(&self) -> String {
        let sizes = |pick: fn(usize, usize) -> usize| {
            self.trip
                .iter()
                .map(|row| row.size)
                .reduce(pick)
                .unwrap_or(0)
        };
        let (small, large) = (sizes(usize::min), sizes(usize::max));
        let trip = |way, size| printed(median(&self.trip, way, size), TRIP_DECIMALS);
        let times = |size| trip(Way::Fork, size) / trip(Way::Thread, size);
        format!(
            "{small} B there and back took processes {} times as long as threads, and {large} B {} \
             times, since a thread hands over a pointer and a process copies",
            ratio::times(times(small)),
            ratio::times(times(large)),
        )
    }

    fn on_choosing(&self) -> String {
        let at_once = self.work.first().map_or(1, |row| row.size);
        let work = |way| median(&self.work, way, at_once);
        let kept = !self.seen.process && self.crash.process == Ends::Itself && self.stopped.process;
        format!(
            "on {at_once} processors threads did {:.2} times and processes {:.2} times the work of \
             one thread: {}",
            work(Way::Thread),
            work(Way::Fork),
            match kept {
                true =>
                    "take threads for what shares much, and processes for what may crash or must be \
                     stopped",
                false =>
                    "but here a process did not keep its crash, its memory or its end to itself",
            }
        )
    }
}

fn median(rows: &[Row], way: Way, size: usize) -> f64 {
    let row = rows.iter().find(|row| row.way == way && row.size == size);
    row.map_or(f64::NAN, |row| row.figure.median)
}

/// The figure as it is printed.
fn printed(figure: f64, decimals: usize) -> f64 {
    let text = format!("{figure:.decimals$}");
    text.parse().expect("a number is one as it is printed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Figure;

    #[test]
    fn ratios_are_of_the_figures_as_they_stand_in_the_lines() {
        // In binary it is a little less, and so it is printed; times 100 it is not.
        assert_eq!(format!("{:.2}", 1.115), "1.11");
        assert_eq!(printed(1.115, 2), 1.11);
    }

    fn rows(figures: &[(usize, Way, f64)]) -> Vec<Row> {
        let row = |(size, way, median): &(usize, Way, f64)| Row {
            size: *size,
            way: *way,
            figure: Figure::of(vec![*median]),
        };
        figures.iter().map(row).collect()
    }

    fn found(fork_small: f64) -> Findings {
        let start = [
            (0, Way::Thread, 30.0),
            (0, Way::Fork, 180.0),
            (0, Way::Spawn, 600.0),
            (1024, Way::Thread, 30.0),
            (1024, Way::Fork, 36_000.0),
            (1024, Way::Spawn, 600.0),
        ];
        let trip = [
            (64, Way::Thread, 40.0),
            (64, Way::Fork, fork_small),
            (1 << 20, Way::Thread, 40.0),
            (1 << 20, Way::Fork, 800.0),
        ];
        Findings {
            start: rows(&start),
            trip: rows(&trip),
            work: rows(&[(2, Way::Thread, 1.98), (2, Way::Fork, 2.0)]),
            seen: Both {
                thread: true,
                process: false,
            },
            crash: Both {
                thread: Ends::All,
                process: Ends::Itself,
            },
            stopped: Both {
                thread: false,
                process: true,
            },
        }
    }

    #[test]
    fn a_ratio_is_that_of_the_figures_as_printed() {
        let mut found = found(42.0);
        // 1000 / 39.4 is 25.4, and what is printed, 1000 and 39, are 25.6.
        found.start = rows(&[
            (0, Way::Thread, 39.4),
            (0, Way::Fork, 1000.0),
            (0, Way::Spawn, 1000.0),
        ]);
        let [start, ..] = found.conclusion();
        assert!(start.contains("26 times as fast as a forked"), "{start}");
    }

    #[test]
    fn the_conclusion_says_what_the_figures_say() {
        let [start, messages, choose] = found(42.0).conclusion();
        assert!(
            start.contains("6.0 times as fast as a forked process"),
            "{start}"
        );
        assert!(
            start.contains("with 1024 MiB in the parent, 1200 and 20 times as fast"),
            "{start}"
        );
        assert!(
            messages.contains("64 B there and back took processes 1.1 times as long"),
            "{messages}"
        );
        assert!(messages.contains("1048576 B 20 times, since"), "{messages}");
        assert!(
            choose.contains("1.98 times and processes 2.00 times"),
            "{choose}"
        );
    }

    #[test]
    fn other_figures_lead_to_another_conclusion() {
        let [_, messages, _] = found(8.0).conclusion();
        assert!(
            messages.contains("0.20 times as long as threads"),
            "{messages}"
        );
        let mut crashed = found(42.0);
        crashed.crash.process = Ends::All;
        assert!(crashed.conclusion()[2].contains("did not keep its crash"));
    }
}
