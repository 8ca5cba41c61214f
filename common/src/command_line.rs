//! The command line of a program in the language of its reader.
//!
//! clap writes help and errors in English alone. A program has one table from its own English texts to
//! Chinese ones; what clap itself says is in this module.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};

use clap::builder::{Str, StyledStr};
use clap::error::{ContextKind, ContextValue, ErrorFormatter, ErrorKind};
use clap::{Arg, Command, CommandFactory, Parser};

use crate::locale;

/// Whether this program is to speak Chinese: by `--lang` among its arguments, before clap has read them,
/// or else by the locale.
pub fn is_chinese() -> bool {
    chosen(env::args_os().skip(1)).unwrap_or_else(locale::is_chinese)
}

/// Whether the language that `--lang` names is Chinese, if there is one.
fn chosen(arguments: impl Iterator<Item = OsString>) -> Option<bool> {
    let texts = arguments.map_while(|argument| argument.into_string().ok());
    let words: Vec<String> = texts.take_while(|word| word != "--").collect();
    let apart = words.windows(2).filter(|pair| pair[0] == "--lang");
    let apart = apart.map(|pair| pair[1].as_str());
    let joined = words.iter().filter_map(|word| word.strip_prefix("--lang="));
    let mut known = apart
        .chain(joined)
        .filter(|name| ["en", "zh"].contains(name));
    known.next().map(|name| name == "zh")
}

/// English texts with their Chinese ones. `{}` stands for whatever is there, in the same order in both.
pub type Texts = [Text];

/// An English text, and its Chinese one.
pub type Text = (&'static str, &'static str);

/// What clap says of itself in each help, and std of numbers.
const OF_CLAP: [Text; 9] = [
    ("Print help", "显示帮助"),
    (
        "Print help (see more with '--help')",
        "显示帮助（用 `--help` 看更多）",
    ),
    (
        "Print help (see a summary with '-h')",
        "显示帮助（用 `-h` 看摘要）",
    ),
    (
        "Print this message or the help of the given subcommand(s)",
        "显示这段文字，或某个命令的帮助",
    ),
    ("Print help for the subcommand(s)", "显示这个命令的帮助"),
    ("invalid digit found in string", "要一个整数"),
    ("cannot parse integer from empty string", "要一个整数"),
    ("number too large to fit in target type", "数太大"),
    ("{} is not in {}", "{} 不在 {} 之内"),
];

/// The Chinese text of an English one, if the table has it.
///
/// # Examples
///
/// ```
/// use common::command_line::chinese;
///
/// let texts = [("a name", "名称"), ("read {}", "读不了 {}"), ("read the run in {}", "读不了 {} 里的运行")];
/// assert_eq!(chinese(&texts, "a name"), Some("名称".to_string()));
/// assert_eq!(chinese(&texts, "read /x"), Some("读不了 /x".to_string()));
/// assert_eq!(chinese(&texts, "read the run in /x"), Some("读不了 /x 里的运行".to_string()));
/// assert_eq!(chinese(&texts, "a number"), None);
/// ```
pub fn chinese(texts: &Texts, english: &str) -> Option<String> {
    // Of several that fit, the one with most words of its own is meant.
    let holes = || {
        let fitting = OF_CLAP
            .iter()
            .chain(texts)
            .filter_map(|entry| Some((entry.0.len(), filled(entry, texts, english)?)));
        fitting
            .max_by_key(|(length, _)| *length)
            .map(|(_, text)| text)
    };
    whole(texts, english).map(str::to_string).or_else(holes)
}

fn whole(texts: &Texts, english: &str) -> Option<&'static str> {
    let mut all = OF_CLAP.iter().chain(texts);
    let entry = all.find(|(known, _)| *known == english);
    entry.map(|(_, chinese)| *chinese)
}

/// The Chinese text with what stands in the holes of the English one, in Chinese too if the table has it.
fn filled((known, own): &(&str, &str), texts: &Texts, english: &str) -> Option<String> {
    let mut pieces = known.split("{}");
    let mut rest = english.strip_prefix(pieces.next()?)?;
    let mut text = own.to_string();
    let pieces: Vec<&str> = pieces.collect();
    for (at, piece) in pieces.iter().enumerate() {
        let is_last = at + 1 == pieces.len();
        let end = match is_last {
            true => rest.strip_suffix(piece)?.len(),
            false => rest.find(piece)?,
        };
        let hole = &rest[..end];
        let said = chinese(texts, hole);
        text = text.replacen("{}", said.as_deref().unwrap_or(hole), 1);
        rest = &rest[end + piece.len()..];
    }
    rest.is_empty().then_some(text)
}

/// Parses the arguments of this program. Help and errors are in Chinese if [`is_chinese`] says so.
///
/// # Errors
///
/// When they are no command line of the program's, or ask for help: `exit` then says what there is to
/// say.
pub fn parse<Options: Parser>(texts: &Texts) -> Result<Options, clap::error::Error<Chinese>> {
    if is_chinese() {
        return parse_from(texts, env::args_os());
    }
    let mut command = with_negative_numbers(Options::command());
    let parsed = command.try_get_matches_from_mut(env::args_os());
    let options = parsed.and_then(|mut matches| Options::from_arg_matches_mut(&mut matches));
    options.map_err(|error| {
        let mut error = error.format(&mut command);
        let text = error.render();
        error.insert(ContextKind::Custom, ContextValue::StyledStr(text));
        error.apply()
    })
}

/// The command, to which `-5` is the wrong value of the option before it, and no option.
fn with_negative_numbers(command: Command) -> Command {
    let command = command.mut_args(|arg| match arg.get_action().takes_values() {
        true => arg.allow_negative_numbers(true),
        false => arg,
    });
    command.mut_subcommands(with_negative_numbers)
}

/// Says what there is to say of a command line, an error or the help that was asked for, and gives the
/// code that the program then ends with. A help that cannot be written, as on a full disk, is an error.
/// A reader who has gone away, as `head` does, is no reason to fail.
pub fn tell(error: &clap::error::Error<Chinese>) -> i32 {
    let written = error.print().and_then(|()| io::stdout().flush());
    match written {
        Err(why) if !error.use_stderr() && why.kind() != io::ErrorKind::BrokenPipe => {
            let said = match is_chinese() {
                true => format!("错误：写不进标准输出：{why}\n"),
                false => format!("error: write to standard output: {why}\n"),
            };
            // Where that is gone too, the code has to say it.
            let _ = io::stderr().write_all(said.as_bytes());
            1
        }
        _ => error.exit_code(),
    }
}

/// Parses arguments, the first of them the program's name, with help and errors in Chinese.
///
/// # Errors
///
/// As those of [`parse`].
pub fn parse_from<Options: Parser>(
    texts: &Texts,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Options, clap::error::Error<Chinese>> {
    let mut command = in_chinese(with_negative_numbers(Options::command()), texts);
    let parsed = command.try_get_matches_from_mut(arguments);
    let options = parsed.and_then(|mut matches| Options::from_arg_matches_mut(&mut matches));
    options.map_err(|error| Chinese::of(error, texts))
}

/// The error of a command line that a program refuses once clap has taken it: the reason, then the usage.
pub fn refusal<Options: CommandFactory>(
    texts: &Texts,
    reason: &str,
) -> clap::error::Error<Chinese> {
    let mut command = Options::command();
    let mut error = clap::Error::new(ErrorKind::ValueValidation);
    if !is_chinese() {
        return command.error(error.kind(), reason).apply();
    }
    let usage = StyledStr::from(usage_of(&mut command));
    error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    let reason = chinese(texts, reason).unwrap_or_else(|| reason.to_string());
    Chinese::with(error, &reason)
}

/// The command with all its texts in Chinese. A text without a Chinese one stays as it is.
pub fn in_chinese(mut command: Command, texts: &Texts) -> Command {
    command.build();
    translated(command, texts)
}

/// The English texts of the command, of its subcommands and of their arguments that have no Chinese one.
pub fn untranslated(command: &Command, texts: &Texts) -> Vec<String> {
    let own = [
        command.get_about(),
        command.get_long_about(),
        command.get_after_help(),
    ];
    let own = own.into_iter().flatten().map(ToString::to_string);
    let of_arguments = command.get_arguments().flat_map(|arg| {
        let values = arg.get_possible_values();
        let of_values = values
            .iter()
            .filter_map(|value| value.get_help().map(ToString::to_string));
        let helps = [arg.get_help(), arg.get_long_help()].into_iter().flatten();
        let helps = helps.map(ToString::to_string);
        helps.chain(of_values).collect::<Vec<_>>()
    });
    let shown = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set());
    let below = shown.flat_map(|below| untranslated(below, texts));
    let all = own.chain(of_arguments).chain(below);
    all.filter(|text| chinese(texts, text).is_none()).collect()
}

fn translated(command: Command, texts: &Texts) -> Command {
    let say = |english: &StyledStr| {
        let english = english.to_string();
        chinese(texts, &english).unwrap_or(english)
    };
    let mut command = command
        .mut_subcommands(|subcommand| translated(subcommand, texts))
        .mut_args(|arg| argument(arg, texts));
    if let Some(about) = command.get_about().map(say) {
        command = command.about(about);
    }
    if let Some(about) = command.get_long_about().map(say) {
        command = command.long_about(about);
    }
    if let Some(after) = command.get_after_help().map(say) {
        command = command.after_help(after);
    }
    let usage = usage_of(&mut command);
    let header = *command.get_styles().get_header();
    let heading = |text: &str| format!("{header}{text}：{header:#}");
    let mut template = format!("{{about-with-newline}}\n{}{{usage}}", heading("用法"));
    let sections = [
        ("命令", "subcommands", command.has_subcommands()),
        (
            "参数",
            "positionals",
            command.get_positionals().next().is_some(),
        ),
        (
            "选项",
            "options",
            command.get_opts().next().is_some() || !command.is_disable_help_flag_set(),
        ),
    ];
    for (name, tag, has) in sections {
        if has {
            template += &format!("\n\n{}\n{{{tag}}}", heading(name));
        }
    }
    command
        .override_usage(usage)
        .help_template(template + "{after-help}")
}

/// How the command is called.
fn usage_of(command: &mut Command) -> String {
    let usage = command.render_usage().to_string();
    let usage = usage
        .trim_start_matches("Usage: ")
        .replace("[OPTIONS]", "[选项]");
    usage
        .replace("<COMMAND>", "<命令>")
        .replace("[COMMAND]", "[命令]")
}

/// An argument with its texts in Chinese, the values that it may have among them.
fn argument(arg: Arg, texts: &Texts) -> Arg {
    let say = |english: &StyledStr| {
        let english = english.to_string();
        chinese(texts, &english).unwrap_or(english)
    };
    let takes_values = arg.get_action().takes_values();
    let values = match takes_values && !arg.is_hide_possible_values_set() {
        true => arg.get_possible_values(),
        false => Vec::new(),
    };
    let mut notes = String::new();
    let defaults = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy());
    let defaults: Vec<_> = defaults.collect();
    if takes_values && !defaults.is_empty() && !arg.is_hide_default_value_set() {
        notes += &format!("[默认：{}]", defaults.join("、"));
    }
    let names: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
    let mut long_notes = notes.clone();
    if !names.is_empty() {
        notes += &format!("[可选：{}]", names.join("、"));
    }
    for value in &values {
        let help = value.get_help().map(|help| format!("：{}", say(help)));
        long_notes += &format!("\n- {}{}", value.get_name(), help.unwrap_or_default());
    }
    let short = arg.get_help().map(say).unwrap_or_default();
    let long = arg.get_long_help().map(say);
    let has_help = values.iter().any(|value| value.get_help().is_some());
    let names = arg.get_value_names().unwrap_or_default().iter();
    let names = names.map(|name| whole(texts, name).map_or_else(|| name.clone(), Str::from));
    let names: Vec<Str> = names.collect();
    let arg = match names.is_empty() || !takes_values {
        true => arg,
        false => arg.value_names(names),
    };
    let arg = arg.hide_possible_values(true).hide_default_value(true);
    let arg = match long {
        Some(long) => arg.long_help(format!(
            "{long}{}",
            if has_help { &long_notes } else { &notes }
        )),
        None if has_help => arg.long_help(format!("{short}{long_notes}")),
        None => arg,
    };
    arg.help(format!("{short}{notes}"))
}

/// What clap says of a command line that it refuses, in Chinese.
#[derive(Debug)]
pub struct Chinese;

impl Chinese {
    fn of(error: clap::Error, texts: &Texts) -> clap::error::Error<Chinese> {
        let wrong = wrong(&error, texts);
        Chinese::with(error, &wrong)
    }

    fn with(mut error: clap::Error, wrong: &str) -> clap::error::Error<Chinese> {
        let text = StyledStr::from(sentence(&error, wrong));
        error.insert(ContextKind::Custom, ContextValue::StyledStr(text));
        error.apply()
    }
}

impl ErrorFormatter for Chinese {
    fn format_error(error: &clap::error::Error<Chinese>) -> StyledStr {
        match error.get(ContextKind::Custom) {
            Some(ContextValue::StyledStr(text)) => text.clone(),
            _ => StyledStr::new(),
        }
    }
}

/// What is wrong.
fn wrong(error: &clap::Error, texts: &Texts) -> String {
    let said = |kind| error.get(kind).map(words);
    let argument = said(ContextKind::InvalidArg).unwrap_or_default();
    let value = said(ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::InvalidValue if value.is_empty() => format!("`{argument}` 要有一个值"),
        ErrorKind::InvalidValue => format!("`{argument}` 的值不能是 `{value}`"),
        ErrorKind::ValueValidation => {
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            let reason = chinese(texts, &reason).unwrap_or(reason);
            format!("`{argument}` 的值不能是 `{value}`：{reason}")
        }
        ErrorKind::UnknownArgument => format!("没有 `{argument}` 这个参数"),
        ErrorKind::InvalidSubcommand => {
            let command = said(ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("没有 `{command}` 这个命令")
        }
        ErrorKind::MissingRequiredArgument => format!("还缺 `{argument}`"),
        ErrorKind::MissingSubcommand => "还缺一个命令".to_string(),
        ErrorKind::ArgumentConflict if argument.is_empty() => {
            let command = said(ContextKind::InvalidSubcommand).unwrap_or_default();
            let prior = said(ContextKind::PriorArg).unwrap_or_default();
            format!("`{prior}` 不能写在命令 `{command}` 前面")
        }
        ErrorKind::ArgumentConflict => match said(ContextKind::PriorArg) {
            Some(prior) if prior != argument => format!("`{argument}` 不能和 `{prior}` 一起用"),
            _ => format!("`{argument}` 只能出现一次"),
        },
        ErrorKind::TooManyValues => format!("`{argument}` 的值太多：`{value}` 多了"),
        ErrorKind::InvalidUtf8 => "有个参数不是 UTF-8 文本".to_string(),
        _ => "命令行不成立".to_string(),
    }
}

/// What is wrong, what would be right, and the usage.
fn sentence(error: &clap::Error, wrong: &str) -> String {
    let said = |kind| error.get(kind).map(words);
    let mut text = format!("错误：{wrong}\n");
    if let Some(values) = said(ContextKind::ValidValue).filter(|values| !values.is_empty()) {
        text += &format!("  [可选：`{values}`]\n");
    }
    let suggested = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ];
    if let Some(near) = suggested.into_iter().find_map(said) {
        text += &format!("\n是不是 `{near}`？\n");
    }
    if let Some(usage) = said(ContextKind::Usage) {
        text += &format!("\n用法：{}\n", usage.trim_start_matches("Usage: "));
    }
    text + "\n`--help` 会说明更多。\n"
}

/// One or several values, to be quoted by backquotes.
fn words(value: &ContextValue) -> String {
    match value {
        ContextValue::Strings(all) => all.join("`、`"),
        value => value.to_string(),
    }
}
