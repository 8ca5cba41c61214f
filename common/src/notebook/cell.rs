//! What the table says of a cell: its programs, their lines, and what these must satisfy.

use std::path::Path;

use super::check::Check;
use crate::pattern::Pattern;

/// One cell of the notebook, rebuilt as one program.
#[derive(Debug)]
pub struct Cell {
    /// Its number, as in `In [14]`. Chapter 4 has a heading in the notebook, and no cell.
    pub number: Option<u8>,
    /// The chapter, from 1.
    pub chapter: u8,
    /// The package that holds the program.
    pub package: &'static str,
    /// The program.
    pub bin: &'static str,
    /// Other programs of the same package that belong to the cell.
    pub companions: &'static [&'static str],
    /// The idea, in a few English words.
    pub idea: &'static str,
    /// The idea, in a few Chinese words.
    pub idea_zh: &'static str,
    /// What Python calls it.
    pub python: &'static str,
    /// What Python calls it, where that is a phrase and not a name, in Chinese.
    pub python_zh: &'static str,
    /// What it teaches, in some sentences.
    pub teaches: &'static str,
    /// What it teaches, in Chinese.
    pub teaches_zh: &'static str,
    /// Something to try with it.
    pub hint: &'static str,
    /// Something to try with it, in Chinese.
    pub hint_zh: &'static str,
    /// What of the outside world it wants.
    pub needs: &'static [Need],
    /// How a view draws its runs.
    pub picture: PictureKind,
    /// How it is replayed: most cells in one way.
    pub variants: &'static [Variant],
}

impl Cell {
    /// How a reader names it: `In [14]`, or the chapter where there is no cell.
    pub fn label(&self) -> String {
        match self.number {
            Some(number) => format!("In [{number}]"),
            None => format!("ch. {}", self.chapter),
        }
    }

    /// Whether `name` names this cell: by program (`lock`), number (`14`, `in14`, `In[14]`) or
    /// chapter (`ch2`).
    pub fn is_named(&self, name: &str) -> bool {
        let plain: String = name.to_lowercase().replace(['[', ']', ' '], "");
        let number = self.number.map(|number| number.to_string());
        plain == self.bin
            || plain == format!("ch{}", self.chapter)
            || number.is_some_and(|number| plain.trim_start_matches("in") == number)
    }

    /// The program of one of its variants.
    pub fn program(&self, variant: &Variant) -> &'static str {
        variant.bin.unwrap_or(self.bin)
    }

    /// All programs of the cell, its own first.
    pub fn bins(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.bin).chain(self.companions.iter().copied())
    }

    /// The file of a program, from the root of the workspace: one with many options is a folder.
    pub fn source(&self, root: &Path, bin: &str) -> String {
        let folder = format!("{}/src/bin/{bin}/main.rs", self.package);
        match root.join(&folder).exists() {
            true => folder,
            false => format!("{}/src/bin/{bin}.rs", self.package),
        }
    }
}

/// One way to replay a cell.
#[derive(Debug)]
pub struct Variant {
    /// Its name, where a cell has several.
    pub name: &'static str,
    /// Its name in Chinese.
    pub name_zh: &'static str,
    /// The program, where it is a companion and not the cell's own.
    pub bin: Option<&'static str>,
    /// The program's arguments. `{address}` and `{timeout}` are filled in by the replay.
    pub args: &'static [&'static str],
    /// The lines that it may print.
    pub prints: &'static [Line],
    /// The lines that it may print on standard error.
    pub errors: &'static [Line],
    /// What lines of prose say in Chinese: the line, and its text with the same fields in braces.
    pub in_chinese: &'static [(&'static str, &'static str)],
    /// How it must end.
    pub end: ExpectedEnd,
    /// A second program that takes part.
    pub companion: Option<Companion>,
    /// What the lines must satisfy, beyond the count that each line states.
    pub checks: &'static [Check],
    /// Pairs of lines whose order is free: either may come first, and both are right.
    pub free: &'static [(&'static str, &'static str)],
    /// Who says the lines.
    pub roles: &'static [Role],
    /// What lasts, from one line to another.
    pub spans: &'static [TimeSpan],
    /// What is handed over: the line that sends it and the line that receives it, as `line.field`,
    /// with the same value in both fields.
    pub arrows: &'static [(&'static str, &'static str)],
    /// The draws that stand in the notebook's output, one list for each stream of
    /// [`draw`](crate::draw), each draw as a fraction of its range.
    pub draws: &'static [&'static [f64]],
    /// How often it is run, and what the runs together must show; once, and nothing, if `None`.
    pub trials: Option<Trials>,
    /// What the notebook printed.
    pub recorded: &'static str,
    /// What the notebook printed as an error.
    pub recorded_error: &'static str,
}

impl Variant {
    /// A variant that prints nothing and exits with 0: the rest of a variant is said with
    /// `..Variant::PLAIN`.
    pub const PLAIN: Variant = Variant {
        name: "",
        name_zh: "",
        bin: None,
        args: &[],
        prints: &[],
        errors: &[],
        in_chinese: &[],
        end: ExpectedEnd::Code(0),
        companion: None,
        checks: &[],
        free: &[],
        roles: &[ALONE],
        spans: &[],
        arrows: &[],
        draws: &[],
        trials: None,
        recorded: "",
        recorded_error: "",
    };
}

/// The one speaker of a cell in which nobody else says anything.
const ALONE: Role = Role {
    mark: "P",
    name: "program",
    name_zh: "程序",
    ids: &[],
    says: &["*"],
};

/// What one process or thread of a cell does, or several of them alike.
#[derive(Debug)]
pub struct Role {
    /// A letter for it; empty where each member goes by the name that it prints.
    pub mark: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// What it is called in Chinese.
    pub name_zh: &'static str,
    /// The fields that hold its process number or its name, as `line.field`.
    pub ids: &'static [&'static str],
    /// The lines that it says; `*` is every line that no other role says.
    pub says: &'static [&'static str],
}

/// How a view draws the runs of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureKind {
    /// Not at all: the lines say it.
    None,
    /// Parent over child, each with the lines that it says.
    Tree,
    /// A row for each worker, with a bar for each of the spans.
    Gantt,
    /// A lane for the sender and one for the receiver, with an arrow for each item.
    ItemLanes,
    /// A lane for each thread, with a dot for each line that repeats.
    TickLanes,
    /// A lane for the master, one for the queues and one for the worker.
    TaskLanes,
    /// How two threads lose an update, step by step; and how often which outcome came, over all
    /// trials of the notebook.
    Histogram,
    /// What a change costs without a lock, as one step and with a lock, over the same trials.
    Cost,
    /// One name, with a slot for each thread.
    Slots,
    /// Measured figures side by side, as bars.
    Compare,
}

/// Something that lasts from one line to another.
#[derive(Clone, Copy, Debug)]
pub struct TimeSpan {
    /// The line that opens it.
    pub open: &'static str,
    /// The line that closes it.
    pub close: &'static str,
    /// The field that joins them.
    pub on: &'static str,
    /// The field of `close` with the seconds that it lasted, where they are printed.
    pub seconds: Option<&'static str>,
}

/// A line that a cell may print.
#[derive(Debug)]
pub struct Line {
    /// Its name in the checks.
    pub event: &'static str,
    /// How often it is printed: at least, and at most.
    pub times: (usize, usize),
    /// The pattern, see [`Pattern::new`](crate::pattern::Pattern::new).
    pub text: &'static str,
}

impl Line {
    /// The line as a sentence quotes it: `Run task {i} ({w})...`, each value by its name, and one
    /// blank where tabs or several blanks stand.
    pub fn quote(&self) -> String {
        let sketch = Pattern::new(self.text).sketch();
        let words: Vec<&str> = sketch.split_whitespace().collect();
        words.join(" ")
    }
}

/// A line that is printed exactly so many times.
pub(super) const fn line(event: &'static str, times: usize, text: &'static str) -> Line {
    Line {
        event,
        times: (times, times),
        text,
    }
}

/// A line that is printed any number of times, also never.
pub(super) const fn any(event: &'static str, text: &'static str) -> Line {
    Line {
        event,
        times: (0, usize::MAX),
        text,
    }
}

/// How a program must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedEnd {
    /// With this exit code.
    Code(i32),
    /// With any exit code but 0: a failure, as recorded.
    Failure,
    /// By this signal.
    Signal(i32),
}

/// A second program that takes part in a cell, and must exit with 0.
#[derive(Debug)]
pub struct Companion {
    /// The program, of the cell's package.
    pub bin: &'static str,
    /// Its arguments, filled in as the cell's.
    pub args: &'static [&'static str],
    /// The line of the cell after which it is started.
    pub after: &'static str,
    /// The lines that it may print.
    pub prints: &'static [Line],
}

/// What several runs of a cell together must show.
#[derive(Debug)]
pub struct Trials {
    /// How many runs.
    pub runs: usize,
    /// The field that holds each run's outcome.
    pub outcome: &'static str,
    /// What the outcomes must be.
    pub statistic: Statistic,
    /// How many changes one run makes, each of which adds a number and takes it away again.
    pub changes: usize,
    /// What the program does about the race, in English and in Chinese.
    pub label: (&'static str, &'static str),
    /// A companion with the same race held open longer, to be run only where the natural one
    /// shows nothing, as it does on one processor.
    pub widened: Option<&'static str>,
    /// The label of the widened race.
    pub widened_label: (&'static str, &'static str),
}

/// A statement on the outcomes of all runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// At least one is not 0.
    AnyNonZero,
    /// All are 0.
    AllZero,
}

/// Something of the outside world that a cell wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The program `nslookup`.
    Nslookup,
    /// A name server that answers.
    Dns,
    /// At least two processors.
    TwoCpus,
}

impl Need {
    /// All needs, in the order in which the notebook meets them.
    pub const ALL: [Need; 3] = [Need::Nslookup, Need::Dns, Need::TwoCpus];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Need::Nslookup => "nslookup",
            Need::Dns => "dns",
            Need::TwoCpus => "two-cpus",
        }
    }

    /// What is so where it is missing.
    pub fn absence(self) -> &'static str {
        match self {
            Need::Nslookup => "nslookup is not installed",
            Need::Dns => "no name server answers",
            Need::TwoCpus => "there is one processor only",
        }
    }

    /// What is so where it is missing, in Chinese.
    pub fn absence_zh(self) -> &'static str {
        match self {
            Need::Nslookup => "没有安装 nslookup",
            Need::Dns => "没有域名服务器应答",
            Need::TwoCpus => "只有一个处理器",
        }
    }

    /// What happens without it, and how to mend that, in Chinese.
    pub fn without_zh(self) -> &'static str {
        match self {
            Need::Nslookup => {
                "In [7] 与 In [9] 用替身运行；安装 nslookup（Debian：`apt install dnsutils`）"
            }
            Need::Dns => "In [7] 与 In [9] 用替身运行；把这台机器接到有域名服务器的网络",
            Need::TwoCpus => "In [13] 的竞争只能靠拉长窗口显现；请在两个或更多处理器上运行",
        }
    }

    /// What happens without it, and how to mend that.
    pub fn without(self) -> &'static str {
        match self {
            Need::Nslookup => {
                "In [7] and In [9] run with a stand-in; install nslookup (Debian: apt install dnsutils)"
            }
            Need::Dns => {
                "In [7] and In [9] run with a stand-in; connect this machine to a network with a name server"
            }
            Need::TwoCpus => {
                "In [13] shows its race only in the widened form; run on two processors or more"
            }
        }
    }
}
