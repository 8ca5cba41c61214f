use serde::{Serialize, de::DeserializeOwned};

/// A value that can cross to another process: whatever serde can write and read again.
///
/// Every type that is [`Serialize`] and [`DeserializeOwned`] has it, most by a derive. What holds a
/// reference has not, since the other process has other memory: a `String` crosses, a `&str` does
/// not.
///
/// A value arrives as what it was, or is refused where it enters with [`Error::Serial`], which
/// names the field. serde's attributes are borne as `serde_json` bears them; keys that are not
/// strings, bytes, 128-bit integers, every `f32` and `f64` and `Some(None)` cross besides. A value
/// may be nested 128 deep.
///
/// What serde itself loses is lost here too: a skipped field arrives as its default, an untagged enum
/// as the first variant that its parts fit, and 128-bit integers are refused in a flattened struct or
/// an enum that is tagged or untagged. A `PathBuf` that is not UTF-8 is refused; an `OsString` crosses.
///
/// A value of a type that is not the standard library's is read back once before it is sent, since a
/// type may write less than it needs to be read. So its `Deserialize` and its `Drop` run in the
/// sending process too.
///
/// [`Error::Serial`]: crate::Error::Serial
///
/// # Examples
///
/// ```
/// use multiprocess::Queue;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, PartialEq, Debug)]
/// struct Job {
///     #[serde(skip_serializing_if = "Option::is_none", default)]
///     priority: Option<u8>,
///     retries: u8,
/// }
///
/// let jobs = Queue::new()?;
/// jobs.put(&Job { priority: None, retries: 3 })?;
/// assert_eq!(jobs.get()?, Job { priority: None, retries: 3 });
/// # Ok::<(), multiprocess::Error>(())
/// ```
///
/// A type that serde does not know is refused by the compiler:
///
/// ```compile_fail
/// struct Job;
///
/// let jobs = multiprocess::Queue::new()?;
/// jobs.put(&Job)?;
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a `{Self}` cannot cross to another process",
    label = "it must be serialised here and deserialised there",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it",
    note = "for a type that is not yours: an error crosses as its text, a file or socket as a `Descriptor`",
    note = "a reference stays in its process: take an owned value, such as `String` for `&str`",
    note = "name the result of a function that never returns: `|| -> () {{ … }}`"
)]
pub trait Serializable: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Serializable for T {}
