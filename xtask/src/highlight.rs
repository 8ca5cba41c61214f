//! Source in colours, in a few classes: Rust by the compiler's own tokens, Python by a few of its.

use std::fmt::Write;

use minijinja::HtmlEscape;
use ra_ap_rustc_lexer::{FrontmatterAllowed, TokenKind, tokenize};

const KEYWORDS: &str = " as async await break const continue crate dyn else enum extern false fn for \
     if impl in let loop match mod move mut pub ref return self Self static struct super trait true \
     type unsafe use where while ";

const PYTHON_KEYWORDS: &str = " False None True and as assert async await break class continue def \
     del elif else except finally for from global if import in is lambda nonlocal not or pass raise \
     return try while with yield ";

/// Rust as HTML: escaped, with a `span` around what has a colour.
pub(crate) fn rust(source: &str) -> String {
    let mut html = String::new();
    let mut rest = source;
    let tokens: Vec<_> = tokenize(source, FrontmatterAllowed::No).collect();
    for (at, token) in tokens.iter().enumerate() {
        let (text, after) = rest.split_at(token.len as usize);
        rest = after;
        let next = tokens.get(at + 1).map(|next| next.kind);
        push(&mut html, text, class(token.kind, text, next));
    }
    html
}

fn push(html: &mut String, text: &str, class: Option<&str>) {
    let escaped = HtmlEscape(text);
    let _ = match class {
        Some(class) => write!(html, r#"<span class="{class}">{escaped}</span>"#),
        None => write!(html, "{escaped}"),
    };
}

fn class(kind: TokenKind, text: &str, next: Option<TokenKind>) -> Option<&'static str> {
    match kind {
        TokenKind::LineComment { .. } | TokenKind::BlockComment { .. } => Some("hc"),
        TokenKind::Literal { .. } => Some("hl"),
        TokenKind::Lifetime { .. } => Some("hk"),
        TokenKind::Ident if KEYWORDS.contains(&format!(" {text} ")) => Some("hk"),
        TokenKind::Ident if text.starts_with(char::is_uppercase) => Some("ht"),
        TokenKind::Ident if matches!(next, Some(TokenKind::Bang)) => Some("hm"),
        TokenKind::Ident if matches!(next, Some(TokenKind::OpenParen)) => Some("hf"),
        _ => None,
    }
}

/// Python as HTML, likewise.
pub(crate) fn python(source: &str) -> String {
    let mut html = String::new();
    let mut rest = source;
    while !rest.is_empty() {
        let (length, class) = python_token(rest);
        let (text, after) = rest.split_at(length);
        push(&mut html, text, class);
        rest = after;
    }
    html
}

/// How long the token is that a text begins with, and its class.
fn python_token(text: &str) -> (usize, Option<&'static str>) {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let length = text.find(|c| !in_word(c)).unwrap_or(text.len());
    let (word, after) = text.split_at(length);
    let is_prefix = length <= 2 && word.chars().all(|c| "rRbBuUfF".contains(c));
    if is_prefix && after.starts_with(['\'', '"']) {
        return (length + python_string(after), Some("hl"));
    }
    let Some(first) = word.chars().next() else {
        return match text.starts_with('#') {
            true => (text.find('\n').unwrap_or(text.len()), Some("hc")),
            false => (text.chars().next().map_or(0, char::len_utf8), None),
        };
    };
    let class = match first {
        '0'..='9' => Some("hl"),
        _ if PYTHON_KEYWORDS.contains(&format!(" {word} ")) => Some("hk"),
        _ if first.is_uppercase() => Some("ht"),
        _ => after.starts_with('(').then_some("hf"),
    };
    (length, class)
}

/// How long a string is, quotes and all. One that does not end reaches to the end of its line.
fn python_string(text: &str) -> usize {
    let quote = &text[..1];
    let long = text.starts_with(&quote.repeat(3));
    let end = quote.repeat(if long { 3 } else { 1 });
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(end.len()) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' if !long => return at,
            _ if text[at..].starts_with(&end) => return at + end.len(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_is_escaped_and_its_words_are_told_apart() {
        let source = "def f(x): # a<b\n    return g(b'\\'%s', \"\"\"\n'\"\"\", Lock, 'open\n5.5 ü";
        assert_eq!(
            python(source),
            "<span class=\"hk\">def</span> <span class=\"hf\">f</span>(x): \
             <span class=\"hc\"># a&lt;b</span>\n    <span class=\"hk\">return</span> \
             <span class=\"hf\">g</span>(<span class=\"hl\">b&#x27;\\&#x27;%s&#x27;</span>, \
             <span class=\"hl\">&quot;&quot;&quot;\n&#x27;&quot;&quot;&quot;</span>, \
             <span class=\"ht\">Lock</span>, <span class=\"hl\">&#x27;open</span>\n\
             <span class=\"hl\">5</span>.<span class=\"hl\">5</span> ü"
        );
    }

    #[test]
    fn source_is_escaped_and_its_words_are_told_apart() {
        let source = "let x: Vec<u8> = f(\"a<b\"); // fn";
        assert_eq!(
            rust(source),
            "<span class=\"hk\">let</span> x: <span class=\"ht\">Vec</span>&lt;u8&gt; = \
             <span class=\"hf\">f</span>(<span class=\"hl\">&quot;a&lt;b&quot;</span>); \
             <span class=\"hc\">&#x2f;&#x2f; fn</span>"
        );
    }
}
