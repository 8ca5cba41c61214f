//! In which language a reader reads.

use std::env;

/// Whether the locale of messages, as POSIX has it, is a Chinese one.
///
/// # Examples
///
/// ```
/// use common::locale::is_chinese;
///
/// let greeting = if is_chinese() { "你好" } else { "hello" };
/// # assert!(!greeting.is_empty());
/// ```
pub fn is_chinese() -> bool {
    let variables = ["LC_ALL", "LC_MESSAGES", "LANG"].map(env::var_os);
    let mut set = variables
        .into_iter()
        .flatten()
        .filter(|value| !value.is_empty());
    let locale = set.next().unwrap_or_default();
    locale.to_string_lossy().starts_with("zh")
}
