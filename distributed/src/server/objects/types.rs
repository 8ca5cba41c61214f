//! The types of objects that a server has.

use std::str::FromStr;

/// A type of the objects that clients share: those of Python's `SyncManager`.
///
/// Its text is Python's name of it, `dict` or `Lock`, and for some a number after a colon:
/// `Semaphore:4`, `Barrier:3`.
///
/// # Examples
///
/// ```
/// use distributed::{Error, ObjectType, Server};
///
/// let four: ObjectType = "Semaphore:4".parse().expect("it is a type");
/// assert_eq!(four, ObjectType::Semaphore(4));
/// let builder = Server::builder().object("settings", ObjectType::Dict).object("slots", four);
/// let server = builder.serve("127.0.0.1:0", b"abc")?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ObjectType {
    /// `dict`: values by their keys.
    Dict,
    /// `list`.
    List,
    /// `set`, which Python's `SyncManager` has from 3.15 on.
    Set,
    /// `Namespace`: values that are attributes.
    Namespace,
    /// `Value`: one value, at first 0.
    Value,
    /// `Array`: whole numbers of 64 bits, at first 0, and how many there are.
    Array(u32),
    /// `Lock`.
    Lock,
    /// `RLock`, which its holder may acquire again.
    RLock,
    /// `Semaphore`, and how many may hold it at once.
    Semaphore(u32),
    /// `BoundedSemaphore`, which refuses to be released more often than it was acquired.
    BoundedSemaphore(u32),
    /// `Event`.
    Event,
    /// `Condition`, with an `RLock` of its own.
    Condition,
    /// `Barrier`, and how many parties it waits for.
    Barrier(u32),
}

/// The types of Python's `SyncManager` under its names of them.
pub(in crate::server) const SYNC_MANAGER: [(&str, ObjectType); 13] = [
    ("dict", ObjectType::Dict),
    ("list", ObjectType::List),
    ("set", ObjectType::Set),
    ("Namespace", ObjectType::Namespace),
    ("Value", ObjectType::Value),
    ("Array", ObjectType::Array(0)),
    ("Lock", ObjectType::Lock),
    ("RLock", ObjectType::RLock),
    ("Semaphore", ObjectType::Semaphore(1)),
    ("BoundedSemaphore", ObjectType::BoundedSemaphore(1)),
    ("Event", ObjectType::Event),
    ("Condition", ObjectType::Condition),
    ("Barrier", ObjectType::Barrier(1)),
];

impl FromStr for ObjectType {
    type Err = String;

    fn from_str(text: &str) -> Result<ObjectType, String> {
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number)),
            None => (text, None),
        };
        let known = SYNC_MANAGER.iter().find(|(known, _)| *known == name);
        let Some((_, known)) = known else {
            let names: Vec<&str> = SYNC_MANAGER.iter().map(|(name, _)| *name).collect();
            return Err(format!("no type '{name}': there are {}", names.join(", ")));
        };
        let Some(number) = number else {
            return Ok(*known);
        };
        let wrong = |_| format!("'{number}' after {name}: expected a number");
        let number = number.parse().map_err(wrong)?;
        match known {
            ObjectType::Array(_) => Ok(ObjectType::Array(number)),
            ObjectType::Semaphore(_) => Ok(ObjectType::Semaphore(number)),
            ObjectType::BoundedSemaphore(_) => Ok(ObjectType::BoundedSemaphore(number)),
            ObjectType::Barrier(_) => Ok(ObjectType::Barrier(number)),
            _ => Err(format!("{name} takes no number")),
        }
    }
}
