//! How many times as much: one rounding for what a cell says and for what a picture of it shows.

/// The ratio with as many digits as say something.
///
/// # Examples
///
/// ```
/// use common::ratio::times;
///
/// assert_eq!([times(0.246), times(6.0), times(25.6)], ["0.25", "6.0", "26"]);
/// assert_eq!(times(0.0125), "0.013");
/// ```
pub fn times(ratio: f64) -> String {
    match ratio {
        ratio if ratio > 0.0 && ratio < 0.1 => {
            let digits = 1 + (-ratio.log10()).ceil() as usize;
            format!("{ratio:.digits$}")
        }
        ratio if ratio < 1.0 => format!("{ratio:.2}"),
        ratio if ratio < 10.0 => format!("{ratio:.1}"),
        ratio => format!("{ratio:.0}"),
    }
}
