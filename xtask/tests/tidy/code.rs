//! The rules that code keeps: where `unsafe` is, how long a file and a function are, who prints.

use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use crate::{parsed, read, root, rust_files, sources};

#[test]
fn unsafe_stays_where_it_belongs() {
    let unsafe_block = concat!("un", "safe {");
    for file in rust_files() {
        let path = file.to_str().expect("our paths are text");
        // The limits that `bench` measures are bare system calls, in a package of their own.
        let allowed = path.starts_with("multiprocess/src/sys/")
            || ["multiprocess/src/bin/fork.rs", "xtask/bench/src/limit.rs"].contains(&path);
        assert!(allowed || !read(&file).contains(unsafe_block), "{path}");
    }
}

#[test]
fn no_file_is_too_long_to_be_read() {
    for file in rust_files() {
        let code = |line: &&str| !line.trim_start().starts_with("//");
        let lines = read(&file).lines().filter(code).count();
        // A test file is a list of claims, and read one claim at a time.
        let most = if file.iter().any(|part| part == "tests") {
            650
        } else {
            500
        };
        assert!(
            lines <= most,
            "{} has {lines} lines of code",
            file.display()
        );
    }
}

/// The functions of a file that take more than a page, with their lines.
#[derive(Default)]
struct LongFunctions(Vec<(String, usize)>);

impl LongFunctions {
    fn note(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        let lines = last - first + 1;
        if lines > 70 {
            self.0.push((signature.ident.to_string(), lines));
        }
    }
}

impl<'ast> Visit<'ast> for LongFunctions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.note(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[test]
fn a_function_is_read_without_turning_the_page() {
    let mut found = Vec::new();
    for file in rust_files() {
        let mut long = LongFunctions::default();
        long.visit_file(&parsed(&file));
        for (name, lines) in long.0 {
            found.push(format!("{}: {name} has {lines} lines", file.display()));
        }
    }
    assert!(
        found.is_empty(),
        "a function has at most 70 lines:\n{}",
        found.join("\n")
    );
}

/// Notes the macros that print, and what ends the program: `process::exit`, clap's `exit`.
fn note_prints_and_exits(tokens: TokenStream, found: &mut Vec<String>) {
    const PRINTS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let sign = |at: usize, signs: &[char]| match tokens.get(at) {
        Some(TokenTree::Punct(punct)) => signs.contains(&punct.as_char()),
        _ => false,
    };
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => note_prints_and_exits(group.stream(), found),
            TokenTree::Ident(name) => {
                let prints = PRINTS.iter().any(|print| name == print) && sign(at + 1, &['!']);
                let exits = name == "exit" && at > 0 && sign(at - 1, &['.', ':']);
                if prints || exits {
                    found.push(format!("{}: {name}", name.span().start().line));
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

#[test]
fn no_library_prints_or_exits() {
    let of_a_library = |file: &PathBuf| {
        let package = file.iter().next().expect("a file is in a package");
        root().join(package).join("src/lib.rs").exists()
            && !file.iter().any(|part| part == "bin" || part == "bench")
            // The usage errors of the cells, which have no options of their own.
            && file != Path::new("common/src/environment.rs")
    };
    let mut all = Vec::new();
    for file in sources().into_iter().filter(of_a_library) {
        let mut found = Vec::new();
        let tokens: TokenStream = read(&file).parse().expect("Rust is made of tokens");
        note_prints_and_exits(tokens, &mut found);
        let file = file.display();
        all.extend(found.into_iter().map(|place| format!("{file}:{place}")));
    }
    assert!(
        all.is_empty(),
        "a library leaves to the program what is printed and when it ends:\n{}",
        all.join("\n")
    );
}
