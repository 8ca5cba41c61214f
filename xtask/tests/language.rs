//! What a user reads in Chinese.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use common::chinese::{english, misset};
use support::xtask;

mod support;

/// What a command prints when it is told to speak Chinese.
fn in_chinese(arguments: &[&str]) -> String {
    let (code, out, err) = xtask(&[arguments, &["--lang", "zh"]].concat());
    assert!(
        code == 0 || arguments[0] == "diff",
        "{arguments:?}: {out}{err}"
    );
    out
}

#[test]
fn every_command_that_speaks_of_cells_speaks_chinese_when_told() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let run = path("run.json");
    let cells = ["fork", "call", "local", "task_master"];
    let replayed = [&["run"][..], &cells, &["--fast", "--json", &run]].concat();
    let said = [
        (in_chinese(&["list"]), "四个进程分担五个任务"),
        (in_chinese(&["doctor"]), "个单元格"),
        (in_chinese(&replayed), "通过 5，未通过 0，跳过 0；"),
        (in_chinese(&["race", "-n", "3", "-q"]), "没有锁：3 次中"),
    ];
    for (out, word) in &said {
        assert!(out.contains(word), "{word}: {out}");
        for line in out.lines() {
            assert_eq!(english(line), None, "{line}");
        }
    }
    // These show what was printed, and the sources, too.
    let of_run = |arguments: &[&str]| in_chinese(&[arguments, &["--run", &run]].concat());
    for (out, word) in [
        (
            of_run(&["show", "fork"]),
            "`Process ({p}) start...` 是第一行",
        ),
        (of_run(&["diff", "fork"]), "行有变化，"),
        (
            of_run(&["export", "md", "-o", "-"]),
            "以退出码 0 结束：退出码 0",
        ),
        (
            of_run(&["export", "junit", "-o", "-"]),
            "In [16] 修复后 task_master",
        ),
        (
            of_run(&["export", "ipynb", "-o", "-"]),
            "一次调用，两次返回：fork",
        ),
        (of_run(&["export", "trace", "-o", "-"]), "子进程"),
    ] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let page = path("report.html");
    of_run(&["report", "-o", &page]);
    let page = fs::read_to_string(page).expect("it was written");
    assert!(page.contains("<html lang=\"zh-CN\">"), "{page}");
    let (_, _, err) = xtask(&["run", "lokc", "--lang", "zh"]);
    assert!(
        err.contains("没有叫 \"lokc\" 的单元格：是不是 `lock`？"),
        "{err}"
    );
}

/// All commands with a help, the words of each.
const COMMANDS: [&[&str]; 18] = [
    &[],
    &["all"],
    &["run"],
    &["race"],
    &["report"],
    &["show"],
    &["diff"],
    &["export"],
    &["explore"],
    &["list"],
    &["doctor"],
    &["bench"],
    &["chaos"],
    &["cluster"],
    &["cluster", "up"],
    &["cluster", "down"],
    &["cluster", "status"],
    &["ci"],
];

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
fn the_help_of_every_command_is_chinese_when_told() {
    for command in COMMANDS {
        for help in ["--help", "-h"] {
            let (code, out, err) = xtask(&[command, &[help, "--lang", "zh"]].concat());
            assert_eq!((code, err.as_str()), (0, ""), "{command:?}");
            assert!(out.contains("\n用法：cargo xtask"), "{out}");
            let called = [&["cargo", "xtask"], command].concat().join(" ");
            assert_chinese(&out.replace(&called, "`"));
        }
    }
    let (_, english, _) = xtask(&["--help"]);
    let listed = english
        .lines()
        .filter(|line| line.starts_with("  ") && !line.contains("--"));
    let listed: BTreeSet<&str> = listed
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let tried = COMMANDS.iter().filter_map(|words| words.first().copied());
    let known: BTreeSet<&str> = tried.chain(["help"]).collect();
    assert_eq!(listed, known, "each command of the help is tried");
}

#[test]
fn what_is_wrong_with_a_command_line_is_said_in_chinese_when_told() {
    for (arguments, sentence) in [
        (
            &["lst"][..],
            "没有 `lst` 这个命令\n\n是不是 `cluster`、`list`？\n\n用法：cargo xtask [选项] <命令>",
        ),
        (
            &["run", "--fats"],
            "没有 `--fats` 这个参数\n\n是不是 `--fast`？",
        ),
        (&["run"], "还缺 `<CELL>...`"),
        (
            &["export", "pdf"],
            "`<FORM>` 的值不能是 `pdf`\n  [可选：`ipynb`、`junit`、`md`、`trace`、`svg`]",
        ),
        (&["all", "--from"], "`--from <CELL>` 要有一个值"),
        (
            &["all", "--timeout", "0"],
            "`--timeout <SECONDS>` 的值不能是 `0`：要秒数，大于 0，最多 86400",
        ),
        (
            &["all", "--seed", "x"],
            "`--seed <N>` 的值不能是 `x`：要一个 0 到 18446744073709551615 的数",
        ),
        (
            &["all", "-n", "0"],
            "`--trials <N>` 的值不能是 `0`：要次数，从 1 到 100000",
        ),
        (
            &["bench", "--rounds", "0"],
            "`--rounds <N>` 的值不能是 `0`：要轮数，从 1 到 100000",
        ),
        (
            &["chaos", "--json", "/nowhere/x"],
            "`--json <FILE>` 的值不能是 `/nowhere/x`：没有文件夹 /nowhere",
        ),
        (&["all", "--fast", "--fast"], "`--fast` 只能出现一次"),
        (
            &["explore", "race", "--open", "--seed", "1"],
            "`--open` 不能和 `--seed <N>` 一起用",
        ),
        (&["list", "all"], "没有 `all` 这个参数"),
        (
            &["all", "--require", "moon"],
            "没有叫 \"moon\" 的需要：有 nslookup、",
        ),
    ] {
        let (code, _, err) = xtask(&[arguments, &["--lang=zh"]].concat());
        assert_eq!(code, 2, "{arguments:?}: {err}");
        assert!(err.starts_with(&format!("错误：{sentence}")), "{err}");
        assert_chinese(&err.replace("cargo xtask ", "`"));
    }
    let (code, _, err) = xtask(&["--lang", "zh"]);
    assert_eq!(code, 2);
    assert!(err.contains("\n用法：cargo xtask [选项] <命令>"), "{err}");
    let (code, _, err) = xtask(&["report", "--run", "/nowhere", "--lang", "zh"]);
    assert_eq!(code, 6);
    assert!(err.starts_with("错误：读不了 /nowhere："), "{err}");
}

#[test]
fn bench_chaos_and_cluster_speak_chinese_when_told() {
    let (code, out, err) = xtask(&["chaos", "pool-retries", "--rounds", "1", "--lang", "zh"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.starts_with("pool-retries：200 个会重试的任务，每 100 毫秒杀一个工作进程：都成功\n"),
        "{out}"
    );
    assert!(out.contains("1 轮中 1 轮成立，"), "{out}");
    assert_chinese(&out);
    for command in ["bench", "chaos"] {
        let (code, _, err) = xtask(&[command, "moon", "--lang", "zh"]);
        assert_eq!(code, 4, "{err}");
        assert!(err.contains("以 moon 开头：有 "), "{err}");
        assert_chinese(&err);
    }
    let (_, out, err) = xtask(&["cluster", "status", "--lang", "zh"]);
    assert!(out.starts_with("node1，端口 4222："), "{out}{err}");
    assert_chinese(&out);
}

#[test]
fn the_language_is_that_of_the_locale_if_nobody_says() {
    let list = |variables: &[(&str, &str)]| {
        let mut command = Command::new(cargo_bin("xtask"));
        for variable in ["LC_ALL", "LC_MESSAGES", "LANG"] {
            command.env_remove(variable);
        }
        let output = command.arg("list").envs(variables.iter().copied()).output();
        let output = output.expect("xtask starts");
        String::from_utf8_lossy(&output.stdout).contains("四个进程")
    };
    let zh = "zh_CN.UTF-8";
    assert!(list(&[("LANG", zh)]));
    assert!(list(&[("LANG", "C"), ("LC_MESSAGES", zh)]));
    assert!(list(&[("LANG", "C"), ("LC_MESSAGES", "C"), ("LC_ALL", zh)]));
    // An empty variable counts as none.
    assert!(list(&[("LANG", zh), ("LC_ALL", "")]));
    assert!(!list(&[("LANG", zh), ("LC_ALL", "C.UTF-8")]));
    // Whose terminal would show other characters.
    assert!(!list(&[("LANG", "zh_CN.GB18030")]));
    assert!(list(&[("LANG", "zh_CN.utf8")]) && list(&[("LANG", "zh_TW")]));
    assert!(!list(&[]));
}
