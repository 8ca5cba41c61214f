//! Rust source in colours: the compiler's own tokens, in a few classes.

use std::fmt::Write;

use minijinja::HtmlEscape;
use ra_ap_rustc_lexer::{FrontmatterAllowed, TokenKind, tokenize};

const KEYWORDS: &str = " as async await break const continue crate dyn else enum extern false fn for \
     if impl in let loop match mod move mut pub ref return self Self static struct super trait true \
     type unsafe use where while ";

/// The source as HTML: escaped, with a `span` around what has a colour.
pub(crate) fn html(source: &str) -> String {
    let mut html = String::new();
    let mut rest = source;
    let tokens: Vec<_> = tokenize(source, FrontmatterAllowed::No).collect();
    for (at, token) in tokens.iter().enumerate() {
        let (text, after) = rest.split_at(token.len as usize);
        rest = after;
        let next = tokens.get(at + 1).map(|next| next.kind);
        let escaped = HtmlEscape(text);
        let _ = match class(token.kind, text, next) {
            Some(class) => write!(html, r#"<span class="{class}">{escaped}</span>"#),
            None => write!(html, "{escaped}"),
        };
    }
    html
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_is_escaped_and_its_words_are_told_apart() {
        let source = "let x: Vec<u8> = f(\"a<b\"); // fn";
        assert_eq!(
            html(source),
            "<span class=\"hk\">let</span> x: <span class=\"ht\">Vec</span>&lt;u8&gt; = \
             <span class=\"hf\">f</span>(<span class=\"hl\">&quot;a&lt;b&quot;</span>); \
             <span class=\"hc\">&#x2f;&#x2f; fn</span>"
        );
    }
}
