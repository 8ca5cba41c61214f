//! In which language a reader reads.

use std::env;

/// Whether the locale of messages, as POSIX has it, is a Chinese one. One that names another encoding
/// than UTF-8 is none here, for what is said is UTF-8.
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
    let locale = locale.to_string_lossy().to_ascii_lowercase();
    let (language, encoding) = locale.split_once('.').unwrap_or((&locale, "utf-8"));
    let encoding = encoding.split('@').next().unwrap_or_default();
    language.starts_with("zh") && matches!(encoding, "utf-8" | "utf8")
}
