//! What a Chinese text looks like, for tests of what is said in Chinese.

/// What is wrong with a Chinese text as it is set: the two characters that should not stand beside each
/// other. What is quoted by backquotes is left as it is, and has blanks around it as a number has.
///
/// # Examples
///
/// ```
/// use common::chinese::misset;
///
/// assert_eq!(misset("`Put {v} to queue...` 打印 3 次，次序不限。"), None);
/// assert_eq!(misset("打印3 次"), Some("印3".to_string()));
/// assert_eq!(misset("第几行： 5"), Some("： ".to_string()));
/// assert_eq!(misset("机器, 种子"), Some("器,".to_string()));
/// ```
pub fn misset(text: &str) -> Option<String> {
    let plain: Vec<&str> = text.split('`').step_by(2).collect();
    let letters: Vec<char> = plain.join("x").chars().collect();
    let wrong = |pair: &&[char]| {
        let [one, other] = [pair[0], pair[1]];
        let between = |is: fn(char) -> bool, of: fn(char) -> bool| {
            (is(one) && of(other)) || (of(one) && is(other))
        };
        (one == ' ' && other == ' ')
            || between(is_full_width, |c| c == ' ')
            || between(is_chinese, |c| c.is_ascii_alphanumeric())
            || between(is_chinese, |c| ",;:!?()".contains(c))
    };
    let found = letters.windows(2).find(wrong);
    found.map(|pair| pair.iter().collect())
}

/// Two English words that stand one after the other in a text, outside of its quotes.
///
/// # Examples
///
/// ```
/// use common::chinese::english;
///
/// assert_eq!(english("`cargo xtask list` 会列出 fork 和 pool"), None);
/// assert_eq!(english("依据：in order"), Some("in order".to_string()));
/// ```
pub fn english(text: &str) -> Option<String> {
    let plain: Vec<&str> = text.split('`').step_by(2).collect();
    let plain = plain.join("1");
    let is_word = |word: &&str| {
        let word = word.trim_end_matches([',', '.', ':', ';']);
        word.len() > 1 && word.chars().all(|c| c.is_ascii_alphabetic())
    };
    let pair_of = |clause: &str| {
        let words: Vec<&str> = clause.split_whitespace().collect();
        let mut pairs = words.windows(2);
        let pair = pairs.find(|pair| pair.iter().all(is_word));
        pair.map(|pair| pair.join(" "))
    };
    let mut clauses = plain.split(|c| is_chinese(c) || is_full_width(c));
    clauses.find_map(pair_of)
}

fn is_chinese(c: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&c)
}

fn is_full_width(c: char) -> bool {
    "，。：；、！？（）「」《》".contains(c)
}
