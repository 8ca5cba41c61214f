//! The page on which a learner is the scheduler: a template, a style, and a script that plays the
//! steps of the model.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use minijinja::context;
use minijinja::value::Serde;
use serde::Serialize;
use serde_json::{Value, json};

use super::model::{Action, Condition, Exploration, letter};
use super::words;
use crate::cli::Lang;
use crate::record;
use crate::report::templates;

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("style.css");
/// The colours and letters of the report.
const REPORT_STYLE: &str = include_str!("../report/style.css");

/// A step for the script.
#[derive(Serialize)]
struct PageStep {
    #[serde(flatten)]
    action: Action,
    code: String,
}

/// A goal, for the template and for the script.
#[derive(Serialize)]
struct PageGoal {
    text: &'static str,
    when: Condition,
    /// How many orders reach it, and the first of them as far as it is reached.
    count: usize,
    share: String,
    schedule: Option<String>,
}

/// An ending, for the template.
#[derive(Serialize)]
struct PageOutcome {
    ending: String,
    label: String,
    count: usize,
    schedule: String,
    /// How long its bar is; that of the most frequent ending is 100.
    percent: usize,
}

/// Writes the page, to `target/replay` if no file is given, and says where it is.
pub(super) fn write(
    exploration: &'static Exploration,
    lang: Lang,
    output: Option<&Path>,
) -> anyhow::Result<PathBuf> {
    let file = match output {
        Some(file) => file.to_path_buf(),
        None => {
            let folder = record::folder()?;
            fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
            let end = lang.pick("html", "zh-CN.html");
            folder.join(format!("explore-{}.{end}", exploration.name))
        }
    };
    record::write_whole(&file, &page(exploration, lang)?)?;
    Ok(file)
}

pub(super) fn page(exploration: &'static Exploration, lang: Lang) -> anyhow::Result<String> {
    let goals = goals(exploration, lang);
    let outcomes = outcomes(exploration, lang);
    let orders = outcomes.iter().map(|outcome| outcome.count).sum();
    let environment = templates(PAGE)?;
    let template = environment.get_template("page.html")?;
    template
        .render(context! {
            lang => lang.tag(),
            w => words::of_page(lang),
            report_style => REPORT_STYLE,
            style => STYLE,
            script => SCRIPT,
            title => lang.pick(exploration.title.0, exploration.title.1),
            lesson => lang.pick(exploration.lesson.0, exploration.lesson.1),
            counted => words::counted(orders, lang),
            threads => Serde([0, 1].map(|thread| column(exploration, thread, lang))),
            data => data(exploration, &goals, orders, lang),
            goals => Serde(goals),
            outcomes => Serde(outcomes),
            variable => exploration.variable,
            locks => Serde(exploration.locks),
            slots => exploration.slots,
        })
        .context("write the page")
}

/// What the script plays, as JSON that can stand in a page.
fn data(exploration: &Exploration, goals: &[PageGoal], orders: usize, lang: Lang) -> String {
    let steps = |thread| -> Vec<PageStep> {
        let step = |action| PageStep {
            action,
            code: words::code(exploration, action),
        };
        exploration.actions(thread).map(step).collect()
    };
    let data = json!({
        "name": exploration.name,
        "variable": exploration.variable,
        "register": exploration.register,
        "locks": exploration.locks,
        "slots": exploration.slots,
        "programs": [steps(0), steps(1)],
        "goals": goals,
        "orders": orders,
        "sentences": words::sentences(lang),
    });
    data.to_string().replace('<', "\\u003c")
}

/// A thread's program for the template.
fn column(exploration: &Exploration, thread: usize, lang: Lang) -> Value {
    let statements = exploration.programs[thread].iter().map(|statement| {
        let actions = statement.actions.iter();
        let steps: Vec<String> = actions
            .map(|action| words::code(exploration, *action))
            .collect();
        json!({ "python": statement.python, "steps": steps })
    });
    let name = letter(thread);
    json!({
        "name": name,
        "key": name.to_ascii_lowercase(),
        "label": words::let_step(name, lang),
        "statements": statements.collect::<Vec<Value>>(),
    })
}

fn goals(exploration: &'static Exploration, lang: Lang) -> Vec<PageGoal> {
    let plays = exploration.plays();
    let goals = exploration.goals.iter();
    goals
        .map(|goal| {
            let mut reaching = plays.iter().filter_map(|play| play.until(goal.when));
            let count = reaching.clone().count();
            PageGoal {
                text: lang.pick(goal.text.0, goal.text.1),
                when: goal.when,
                count,
                share: words::share("reached_by", count, plays.len(), lang),
                schedule: reaching.next().map(|play| play.schedule()),
            }
        })
        .collect()
}

fn outcomes(exploration: &'static Exploration, lang: Lang) -> Vec<PageOutcome> {
    let outcomes = exploration.outcomes();
    let most = outcomes.values().map(|(count, _)| *count).max();
    let most = most.expect("every play ends");
    outcomes
        .iter()
        .map(|(ending, (count, play))| PageOutcome {
            ending: ending.to_string(),
            label: words::ending(ending, lang),
            count: *count,
            schedule: play.schedule(),
            percent: (100 * count).div_ceil(most),
        })
        .collect()
}
