use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use common::chinese::{english, misset};
use common::command_line::{chinese, untranslated};
use proc_macro2::{TokenStream, TokenTree};

use super::TEXTS;
use crate::cli::Cli;

#[test]
fn every_text_of_the_help_has_its_chinese() {
    let mut command = Cli::command();
    command.build();
    assert_eq!(untranslated(&command, &TEXTS), [""; 0]);
}

#[test]
fn every_chinese_text_is_set_as_chinese_is() {
    for &(known, text) in TEXTS.iter() {
        for line in text.lines() {
            assert_eq!(
                (english(line), misset(line)),
                (None, None),
                "{known}: {line}"
            );
        }
        let holes = |text: &str| text.matches("{}").count();
        assert_eq!(holes(known), holes(text), "{known}");
    }
}

/// A format string with each of its holes empty.
fn emptied(text: &str) -> String {
    let mut pieces = text.split('{');
    let first = pieces.next().unwrap_or_default().to_string();
    pieces.fold(first, |text, piece| {
        let after = piece.split_once('}').map_or("", |(_, after)| after);
        format!("{text}{{}}{after}")
    })
}

/// All strings among the tokens.
fn strings(tokens: TokenStream, found: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => strings(group.stream(), found),
            TokenTree::Literal(literal) => {
                let text = syn::parse_str::<syn::LitStr>(&literal.to_string());
                let text = text.map(|text| emptied(&text.value()));
                // What has no letter of its own is said by what stands in its holes.
                found.extend(text.ok().filter(|text| text.contains(char::is_alphabetic)));
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// What is handed to functions of these names, `claim(…)`, and to macros, `bail!(…)`; and what fields of
/// these names hold, `claim: …`.
fn handed(names: &[&str], tokens: TokenStream, found: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(name) if names.iter().any(|known| name == known) => {
                let text = match &tokens[at + 1..] {
                    [TokenTree::Group(group), ..] => group.stream(),
                    [TokenTree::Punct(sign), text, ..] if [':', '!'].contains(&sign.as_char()) => {
                        text.clone().into()
                    }
                    _ => TokenStream::new(),
                };
                strings(text, found);
            }
            TokenTree::Group(group) => handed(names, group.stream(), found),
            _ => {}
        }
    }
}

/// The strings that sources hand to functions and macros of these names.
fn said(files: &[PathBuf], names: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files {
        let source = fs::read_to_string(file).expect("it can be read");
        let (source, _) = source.split_once("#[cfg(test)]").unwrap_or((&source, ""));
        let tokens = source.parse().expect("Rust is made of tokens");
        handed(names, tokens, &mut found);
    }
    found
}

/// Those without Chinese, which is said to the reader in its place.
fn without_chinese(found: &BTreeSet<String>) -> Vec<&String> {
    let missing = found.iter().filter(|text| chinese(&TEXTS, text).is_none());
    missing.collect()
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).expect("it can be read");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    paths.filter(|path| path.is_file()).collect()
}

#[test]
fn all_that_chaos_claims_and_counts_has_its_chinese() {
    let mut files = sources("src/chaos");
    files.extend(
        sources("src")
            .into_iter()
            .filter(|file| file.ends_with("chaos.rs")),
    );
    let found = said(&files, &["claim", "count"]);
    assert!(found.len() > 60, "{found:?}");
    assert_eq!(without_chinese(&found), Vec::<&String>::new());
}

#[test]
fn all_that_fails_in_a_command_for_readers_has_its_chinese() {
    let folders = [
        "src",
        "src/explore",
        "src/export",
        "src/report",
        "src/picture",
    ];
    let files: Vec<PathBuf> = folders.into_iter().flat_map(sources).collect();
    let files: Vec<PathBuf> = files
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    let mut found = said(
        &files,
        &[
            "context",
            "with_context",
            "bail",
            "ensure",
            "anyhow",
            "NoRun",
        ],
    );
    assert!(found.len() > 30, "{found:?}");
    // What a peer's own error begins with, which is taken away.
    found.remove("error: ");
    assert_eq!(without_chinese(&found), Vec::<&String>::new());
}
