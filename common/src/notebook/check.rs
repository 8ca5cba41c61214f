//! The closed set of checks, as data: what the lines of a cell must satisfy.

/// One statement on the lines of a run. It names lines as the table does (`*` is every line), and
/// values as `line.field`.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// It is the first line of its source: of the cell's output, of its errors, of its companion.
    First(&'static str),
    /// It is the last line of its source.
    Last(&'static str),
    /// Every line of the first name comes before every line of the second.
    Before(&'static str, &'static str),
    /// `Before`, for each name and the next.
    Order(&'static [&'static str]),
    /// Each `first` comes before the `then` with the same value in the field `on`.
    BeforeEach {
        /// The line that comes first.
        first: &'static str,
        /// The line that comes later.
        then: &'static str,
        /// The field that joins them.
        on: &'static str,
    },
    /// The values are these, in any order.
    Set(&'static str, &'static [&'static str]),
    /// The values are these, in this order.
    Sequence(&'static str, &'static [&'static str]),
    /// The values of two fields are the same, in the same order.
    SameSequence(&'static str, &'static str),
    /// Every value is this one.
    Every(&'static str, &'static str),
    /// The values of two fields of a line go together in these pairs, in any order.
    Pairs(
        &'static str,
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
    ),
    /// All values of all these fields are one and the same.
    Same(&'static [&'static str]),
    /// No value of the first field is a value of the second.
    Differ(&'static str, &'static str),
    /// There are so many different values, from the one to the other.
    Distinct(&'static str, usize, usize),
    /// Every value is a number from the one to the other.
    Range(&'static str, f64, f64),
    /// Every value is a time from the one to the other in seconds, at the notebook's pace.
    Seconds(&'static str, f64, f64),
    /// The first number is less than the second, line by line.
    Less(&'static str, &'static str),
    /// The first number times the second is the third, line by line.
    Product(&'static str, &'static str, &'static str),
    /// At most so many are open at any moment.
    AtMostOpen {
        /// The line that opens.
        open: &'static str,
        /// The line that closes.
        close: &'static str,
        /// The field that joins them.
        on: &'static str,
        /// How many may be open.
        limit: usize,
    },
    /// Each process opens the next only after it has closed the last.
    OneAtATime {
        /// The line that opens.
        open: &'static str,
        /// The line that closes.
        close: &'static str,
        /// The field that joins them.
        on: &'static str,
        /// The field of `open` that says who.
        by: &'static str,
    },
    /// The printed seconds are those that passed between the arrivals of two lines.
    Lasts {
        /// The line with which it starts.
        from: &'static str,
        /// The line with which it ends.
        to: &'static str,
        /// The field that joins them.
        on: &'static str,
        /// The field of `to` with the seconds.
        printed: &'static str,
    },
    /// Lines of this name arrive so many seconds apart, at the notebook's pace.
    Gaps(&'static str, f64),
    /// The second line arrives so many seconds after the first, at the notebook's pace.
    After(&'static str, &'static str, f64),
    /// The printed process number is that of the process that the replay started.
    Started(&'static str),
    /// The printed parent is the process that the replay started.
    Parent(&'static str),
    /// The processes with the printed numbers are gone when the cell has ended.
    Gone(&'static str),
    /// The port that the cell served is free when it has ended.
    PortFree,
}
