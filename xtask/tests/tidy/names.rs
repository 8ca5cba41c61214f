//! One name for one type.

use std::collections::{BTreeMap, BTreeSet};

use crate::{parsed, sources};

/// Names that two types have, each with the reason.
const SHARED_NAMES: [(&str, &str); 20] = [
    (
        "Builder",
        "as in std, each type that is built has one in its own module",
    ),
    (
        "Connection",
        "a pipe's end, as in Python, and a socket to a manager",
    ),
    ("Encoder", "each of the two formats has one"),
    (
        "Error",
        "each library has one, and so has the pickle format",
    ),
    (
        "Event",
        "that processes wait for, as in Python, and what a printed line says",
    ),
    (
        "Failure",
        "why a call of a session or a step of the codec has no value",
    ),
    (
        "Form",
        "of the last run that is exported, and of the tasks of an imap",
    ),
    (
        "Head",
        "of a message to a manager, and of Linux's list of robust locks",
    ),
    ("Out", "an item that is out, on each backend"),
    (
        "Party",
        "one thread's part in a barrier, and a client that waits at one of the manager's",
    ),
    (
        "Parts",
        "the parts of a value: the codec writes them and reads them",
    ),
    (
        "Master",
        "of tasks with ids, and the options of the program",
    ),
    (
        "Queue",
        "between processes and over the network, as in Python",
    ),
    ("Result", "each library has one, of its error"),
    ("Submitted", "what is under way of an imap, and of a map"),
    ("Step", "of a handshake, and of a worker in its chunk"),
    ("State", "what a lock holds, on each backend"),
    (
        "Value",
        "in memory that processes share, as in Python, and what a pickle says",
    ),
    (
        "Variant",
        "of a cell in the table, and of an enum in the codec",
    ),
    ("Worker", "of a pool, and of a queue of tasks"),
];

/// The names of the types of a module and its inner modules, but for its tests.
fn types_of(items: &[syn::Item], names: &mut BTreeSet<String>) {
    for item in items {
        let name = match item {
            syn::Item::Struct(item) => &item.ident,
            syn::Item::Enum(item) => &item.ident,
            syn::Item::Union(item) => &item.ident,
            syn::Item::Trait(item) => &item.ident,
            syn::Item::Type(item) => &item.ident,
            syn::Item::Mod(module) if module.ident != "tests" => {
                let inner = module.content.as_ref();
                types_of(inner.map_or(&[], |(_, items)| items), names);
                continue;
            }
            _ => continue,
        };
        names.insert(name.to_string());
    }
}

#[test]
fn one_type_has_one_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in sources() {
        let mut names = BTreeSet::new();
        types_of(&parsed(&file).items, &mut names);
        for name in names {
            places
                .entry(name)
                .or_default()
                .push(file.display().to_string());
        }
    }
    places.retain(|_, files| files.len() > 1);
    let allowed: BTreeMap<&str, &str> = SHARED_NAMES.into();
    for (name, why) in &allowed {
        assert!(
            places.remove(*name).is_some(),
            "{name} is no name of two types; take it off the list ({why})"
        );
    }
    let found: Vec<String> = places
        .iter()
        .map(|(name, files)| format!("{name}: {}", files.join(", ")))
        .collect();
    assert!(
        found.is_empty(),
        "two types have one name, and the list has no reason for it:\n{}",
        found.join("\n")
    );
}
