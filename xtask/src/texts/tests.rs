use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

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
    for (known, text) in TEXTS {
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
                found.extend(text.map(|text| emptied(&text.value())));
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// What is claimed and counted: `claim(…)` and `count(…)` of a round, `claim: …` of a case.
fn claimed(tokens: TokenStream, found: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(name) if name == "claim" || name == "count" => {
                let handed = match &tokens[at + 1..] {
                    [TokenTree::Group(group), ..] => group.stream(),
                    [TokenTree::Punct(colon), text, ..] if colon.as_char() == ':' => {
                        text.clone().into()
                    }
                    _ => TokenStream::new(),
                };
                strings(handed, found);
            }
            TokenTree::Group(group) => claimed(group.stream(), found),
            _ => {}
        }
    }
}

#[test]
fn all_that_chaos_claims_and_counts_has_its_chinese() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folder = fs::read_dir(sources.join("chaos")).expect("it can be read");
    let files = folder.map(|entry| entry.expect("it can be read").path());
    let mut found = BTreeSet::new();
    for file in files.chain([sources.join("chaos.rs")]) {
        let source = fs::read_to_string(file).expect("it can be read");
        claimed(source.parse().expect("Rust is made of tokens"), &mut found);
    }
    assert!(found.len() > 60, "{found:?}");
    let missing = found.iter().filter(|text| chinese(&TEXTS, text).is_none());
    let missing: Vec<&String> = missing.collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
