//! What the programs say to a reader of Chinese.

use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use common::chinese::{english, misset};
use distributed::{Client, Result};

mod support;

const LOCALE: &str = "zh_CN.UTF-8";

/// The exit code, and what is said on either stream.
fn said(program: &str, arguments: &[&str], locale: &str) -> (i32, String) {
    let mut command = Command::new(cargo_bin(program));
    let output = command
        .args(arguments)
        .env("LC_ALL", locale)
        .env("MANAGER_AUTHKEY", "abc")
        .output();
    let output = output.expect("the program starts");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("it prints text");
    (output.status.code().unwrap_or(-1), text)
}

/// That each line is set as Chinese is, and has no English sentence.
fn assert_chinese(text: &str) {
    for line in text.lines() {
        // What is typed as it stands there is in brackets or begins with a dash.
        let words = line
            .split(' ')
            .filter(|word| !word.starts_with(['-', '<', '[']));
        let words: Vec<&str> = words.collect();
        assert_eq!(english(&words.join(" ")), None, "{line}");
        let set = line.split("  ").map(str::trim).find_map(misset);
        assert_eq!(set, None, "{line}");
    }
}

#[test]
fn help_is_chinese_in_a_chinese_locale_or_when_told() {
    let help = |program: &str, arguments: &[&str], locale: &str| {
        let (code, text) = said(program, arguments, locale);
        assert_eq!(code, 0, "{text}");
        let called = [&[program], &arguments[..arguments.len() - 1]].concat();
        let called = format!("用法：{}", called.join(" "));
        assert!(text.contains(&called), "{text}");
        assert_chinese(&text.replace(&called, "用法：`"));
    };
    for flag in ["--help", "-h"] {
        for asked in ["status", "metrics", "top", "dead"] {
            help("manager", &[asked, flag], LOCALE);
        }
        for program in ["manager", "task_master", "task_worker"] {
            help(program, &[flag], LOCALE);
        }
    }
    let (_, text) = said("manager", &["--lang", "zh", "--help"], "C");
    assert!(text.contains("用法：manager"), "{text}");
    let (_, text) = said("manager", &["--lang=en", "--help"], LOCALE);
    assert!(text.contains("Usage: manager"), "{text}");
}

#[test]
fn what_is_wrong_with_a_command_line_is_said_in_chinese_in_a_chinese_locale() {
    for (arguments, sentence) in [
        (
            &[][..],
            "没有什么可提供：写 `--queue`、`--object`、`--factory` 或 `--sync-manager`",
        ),
        (
            &["--queue", "q", "--redeliver", "p"],
            "`--redeliver p` 要有 `--queue p`",
        ),
        (
            &["--queue", ":3"],
            "`--queue <NAME[:MAXSIZE][:TYPE]>` 的值不能是 `:3`：队列要有名字",
        ),
        (
            &["--object", "a:dic"],
            "`--object <NAME:TYPE[:NUMBER]>` 的值不能是 `a:dic`：没有类型 `dic`：有 ",
        ),
        (
            &["--object", "a:dict:3"],
            "`--object <NAME:TYPE[:NUMBER]>` 的值不能是 `a:dict:3`：`dict` 不带数",
        ),
        (
            &["--max-memory", "1X"],
            "`--max-memory <BYTES>` 的值不能是 `1X`：要字节数，如 ",
        ),
        (
            &["--max-connections", "x"],
            "`--max-connections <NUMBER>` 的值不能是 `x`：要一个整数",
        ),
        (
            &["--handshake-timeout", "-5"],
            "`--handshake-timeout <SECONDS>` 的值不能是 `-5`：要一个秒数",
        ),
        (&["statsu"], "没有 `statsu` 这个命令\n\n是不是 `status`？"),
        (
            &["dead", "q", "--retry", "--purge"],
            "`--retry` 不能和 `--purge` 一起用",
        ),
        (&["top"], "`top` 要一个终端；"),
    ] {
        let (code, text) = said("manager", arguments, LOCALE);
        // A manager without the feature has no top at all.
        let sentence = match arguments {
            ["top"] if !cfg!(feature = "top") => "这个 manager 编译时没有 `top`：",
            _ => sentence,
        };
        assert_eq!(code, 2, "{text}");
        assert!(text.starts_with(&format!("错误：{sentence}")), "{text}");
        assert!(
            text.contains("\n用法：manager") || text.contains("的值不能是"),
            "{text}"
        );
    }
}

#[test]
fn a_number_out_of_its_range_is_told_with_the_range() {
    for (number, locale, sentence) in [
        ("-1", "C", "'-1' for '--count <COUNT>': -1 is not in 0..="),
        (
            "99999999999",
            LOCALE,
            "`99999999999`：99999999999 不在 0..=",
        ),
        ("-1", LOCALE, "`-1`：-1 不在 0..="),
    ] {
        let (code, text) = said("task_master", &["--count", number], locale);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(sentence), "{text}");
    }
}

#[test]
fn an_address_that_is_none_is_refused_with_those_that_there_are() {
    for (program, arguments, english, chinese) in [
        (
            "task_master",
            &["--queues", "http://localhost:1"][..],
            "no queues are reached by http://: expected tcp://HOST:PORT, ",
            "`http://` 那里没有队列：要 `tcp://HOST:PORT`、",
        ),
        (
            "task_master",
            &["--queues", "localhost:1"],
            "expected tcp://HOST:PORT, ",
            "要 `tcp://HOST:PORT`、",
        ),
        (
            "task_worker",
            &["--queues", "unix://localhost:1"],
            "expected tcp://HOST:PORT or unix:///PATH",
            "要 `tcp://HOST:PORT` 或 `unix:///PATH`",
        ),
        (
            "manager",
            &["status", "localhost"],
            "expected HOST:PORT, as 127.0.0.1:5000, or a Unix socket, ",
            "要 HOST:PORT，如 `127.0.0.1:5000`，或 Unix 套接字，",
        ),
        (
            "task_worker",
            &["http://localhost:1"],
            "a URL is for `distributed::connect` and for `--queues`: ",
            "URL 用于 `distributed::connect` 和 `--queues`：",
        ),
    ] {
        for (locale, sentence) in [("C", english), (LOCALE, chinese)] {
            let (code, text) = said(program, arguments, locale);
            assert_eq!(code, 2, "{text}");
            assert!(text.contains(sentence), "{text}");
        }
    }
}

#[test]
fn what_failed_is_said_in_chinese_in_a_chinese_locale_but_for_the_words_of_the_system() {
    let (_manager, address) = support::manager(&["--queue=tasks"]);
    let folder = tempfile::tempdir().expect("there is room");
    let [other, empty] = ["other", "empty"].map(|name| folder.path().join(name));
    std::fs::write(&other, "other").expect("there is room");
    std::fs::write(&empty, "").expect("there is room");
    let [other, empty] = [&other, &empty].map(|file| file.to_str().expect("it is text"));
    let nobody = "/nowhere/socket";
    let url = format!("tcp://{address}");
    for (program, arguments, sentences) in [
        (
            "task_worker",
            &[address.as_str(), "--authkey-file", other][..],
            &[
                "请用主进程的密钥（",
                "的服务器用另一个密钥：请给出服务器所用的密钥",
            ][..],
        ),
        (
            "task_worker",
            &[&address, "--authkey-file", "/nowhere/key"],
            &["读不了 /nowhere/key 里的密钥：No such file"],
        ),
        (
            "task_master",
            &["--bind", &address],
            &[
                "不能提供队列（`--bind` 换一个地址）：监听 ",
                "：Address already in use",
            ],
        ),
        (
            "task_master",
            &["--authkey-file", empty],
            &["不能提供队列（密钥来自 `", "：密钥是空的：至少要一个字节\n"],
        ),
        (
            "task_master",
            &["--bind", "127.0.0.1:0", "--timeout", "0.01"],
            &[
                "Empty：0.01 秒内没有结果：用 `cargo run -p distributed --bin task_worker -- 127.0.0.1:",
            ],
        ),
        (
            "manager",
            &["status", &url, "--authkey-file", other],
            &["的服务器用另一个密钥：请给出服务器所用的密钥"],
        ),
        (
            "manager",
            &["dead", "nope", &address],
            &["服务器没有队列 `nope`：KeyError: 'nope' (there are: tasks)"],
        ),
        (
            "manager",
            &["--queue", "q", "--bind", nobody],
            &["不能提供队列：监听 /nowhere/socket：No such file"],
        ),
    ] {
        let (code, text) = said(program, arguments, LOCALE);
        assert_eq!(code, 1, "{text}");
        for sentence in sentences {
            assert!(text.contains(sentence), "{sentence} in {text}");
        }
    }
}

#[test]
fn status_and_dead_letters_have_chinese_heads() -> Result<()> {
    let (_manager, address) = support::manager(&["--queue=tasks", "--queue=long name of a queue"]);
    let client = Client::connect(&address, b"abc")?;
    let tasks = client.queue("tasks")?;
    tasks.put_many(&[1; 22])?;
    let (code, english) = said("manager", &["status", &address], "C");
    assert_eq!(code, 0, "{english}");
    let (code, chinese) = said("manager", &["status", &address], LOCALE);
    assert_eq!(code, 0, "{chinese}");
    let lines: Vec<&str> = chinese.lines().collect();
    assert!(lines[0].starts_with("连接："), "{chinese}");
    assert!(lines[1].starts_with("内存："), "{chinese}");
    let heads: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!(heads.len(), 11, "{chinese}");
    // Each Chinese letter is as wide as two Latin ones, and the columns stay where they were.
    let as_wide = |chinese: &str, english: &str| {
        let wide = chinese.chars().filter(|c| *c >= '\u{2e80}').count();
        assert_eq!(chinese.chars().count() + wide, english.chars().count());
    };
    let english: Vec<&str> = english.lines().collect();
    as_wide(lines[2], english[2]);
    assert_eq!(lines[3..], english[3..]);
    let _leases = (0..22).map(|_| tasks.lease()).collect::<Result<Vec<_>>>()?;
    let (_, english) = said("manager", &["status", &address], "C");
    let (_, chinese) = said("manager", &["status", &address], LOCALE);
    let (english, lines): (Vec<_>, Vec<_>) = (english.lines().collect(), chinese.lines().collect());
    let heads: Vec<&str> = lines[5].split_whitespace().collect();
    assert_eq!(heads, ["持有", "种类", "秒", "谁"]);
    as_wide(lines[5], english[5]);
    assert_eq!(lines[26..], ["还有 2 个，持有的时间更短"]);
    let (_, dead) = said("manager", &["dead", "tasks", &address], LOCALE);
    assert_eq!(dead, " 次数        字节 原因\n");
    let (_, dead) = said("manager", &["dead", "tasks", &address, "--retry"], LOCALE);
    assert_eq!(dead, "0 个放回了 tasks\n");
    Ok(())
}
