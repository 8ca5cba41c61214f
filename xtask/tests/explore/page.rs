//! The page in a browser: played by keys and by buttons, against the model and the real threads.

use std::path::Path;

use common::chinese::{english, misset};
use serde_json::{Value, json};

use crate::browser::{self, Browser, LOOK, SETTINGS};
use crate::{NAMES, data, explore, page};

/// Presses keys one after the other: letters, `\t` for Tab, a blank for the space bar.
fn press(browser: &Browser, keys: &str) {
    for key in keys.chars() {
        let (name, code) = match key {
            '\t' => ("Tab".to_string(), 9),
            key => (key.to_string(), key.to_ascii_uppercase() as u32),
        };
        let mut event = json!({ "type": "keyDown", "key": name, "windowsVirtualKeyCode": code });
        if key != '\t' {
            event["text"] = json!(name);
        }
        browser.devtools("Input.dispatchKeyEvent", event.clone());
        event["type"] = json!("keyUp");
        browser.devtools("Input.dispatchKeyEvent", event);
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("it is a number")
}

fn text(browser: &Browser, selector: &str) -> String {
    let script = format!("return document.querySelector({selector:?}).textContent.trim();");
    let found = browser.run(&script);
    found.as_str().expect("it is text").to_string()
}

#[test]
fn every_goal_can_be_reached_by_keys_alone() {
    let Some(browser) = Browser::here() else {
        return;
    };
    for name in NAMES {
        let file = page(name, "en", "keys");
        let data = data(&file);
        browser.open(&file);
        let goals = data["goals"].as_array().expect("there are goals");
        for (at, goal) in goals.iter().enumerate() {
            let Some(schedule) = goal["schedule"].as_str() else {
                continue;
            };
            press(&browser, &format!("r{}", schedule.to_lowercase()));
            let said = text(
                &browser,
                &format!("#goals li:nth-child({}).good .reached", at + 1),
            );
            assert_eq!(said, "reached", "{name} {schedule}: {goal}");
        }
        // That no order spoils the balance behind the lock is seen once both were tried.
        press(&browser, "raaaaaabbbbbbrbbbbbbaaaaaa");
        let script = "return [...document.querySelectorAll('#goals li')]
            .filter((goal) => !goal.matches('.good')).map((goal) => goal.textContent);";
        assert_eq!(browser.run(script), json!([]), "{name}");
    }
    browser.stayed_at_home();
}

#[test]
fn the_buttons_are_reached_by_tab_and_keep_the_focus() {
    let Some(browser) = Browser::here() else {
        return;
    };
    browser.open(&page("lock", "en", "tab"));
    let focus = || browser.run("return document.activeElement.id;");
    press(&browser, "\t ");
    assert_eq!(focus(), "step-A");
    assert_eq!(
        text(&browser, "#said"),
        "A holds lock. B waits for lock, which A holds. Goal reached: Make B wait for A."
    );
    press(&browser, "\t ");
    assert_eq!(
        focus(),
        "step-B",
        "a button that can do nothing keeps the focus"
    );
    assert_eq!(text(&browser, "#said"), "B waits for lock, which A holds.");
    let disabled = "return document.querySelector('#step-B').getAttribute('aria-disabled');";
    assert_eq!(browser.run(disabled), "true");
    press(&browser, "\t ");
    assert_eq!(focus(), "undo");
    assert_eq!(text(&browser, "#said"), "The last step is undone.");
    assert_eq!(browser.run(disabled), "false");
    press(&browser, "u");
    assert_eq!(text(&browser, "#said"), "Nobody has taken a step.");
    // Undo, start again, and the box that turns the letter keys off.
    press(&browser, "\t\t a");
    assert_eq!(focus(), "keys");
    assert_eq!(text(&browser, "#said"), "Nobody has taken a step.");
    press(&browser, " a");
    assert!(text(&browser, "#said").starts_with("A holds lock."));
    browser.stayed_at_home();
}

/// Clicks through the schedules, and gives what was said after each step and at the end.
const PLAY: &str = "
const click = (id) => document.getElementById(id).click();
const said = () => {
  const copy = document.getElementById('said').cloneNode(true);
  copy.querySelectorAll('code').forEach((code) => code.replaceWith('`' + code.textContent + '`'));
  return copy.textContent;
};
return SCHEDULES.map((schedule) => {
  click('restart');
  return [...schedule].map((letter) => { click('step-' + letter); return said(); });
});";

#[test]
fn a_hundred_drawn_orders_end_on_the_page_as_with_real_threads() {
    let Some(browser) = Browser::here() else {
        return;
    };
    for name in NAMES {
        let orders = if name == "race" { 100 } else { 25 };
        let native: Vec<Vec<String>> = (0..orders)
            .map(|seed| {
                let (code, out, err) = explore(&[name, "--seed", &seed.to_string()]);
                assert_eq!((code, err.as_str()), (0, ""), "{name} {seed}");
                out.lines().map(str::to_string).collect()
            })
            .collect();
        let schedules: Vec<&str> = native
            .iter()
            .map(|lines| lines[1].rsplit(' ').next().expect("it ends with the order"))
            .collect();
        browser.open(&page(name, "en", "hundred"));
        let script = PLAY.replace("SCHEDULES", &json!(schedules).to_string());
        let played = browser.run(&script);
        for (lines, said) in native.iter().zip(played.as_array().expect("a list")) {
            let said: Vec<&str> = said
                .as_array()
                .expect("a list")
                .iter()
                .map(|text| text.as_str().expect("it is text"))
                .collect();
            assert!(!said.is_empty());
            for (line, said) in lines[2..].iter().zip(&said) {
                let (_, happened) = line.rsplit_once("  ").expect("columns");
                assert!(
                    said.starts_with(&format!("{happened}. ")),
                    "{name}: {line}: {said}"
                );
            }
            let last = said.last().expect("there are steps");
            let ended = &lines[lines.len() - 2];
            assert!(
                last.contains(&format!("{ended}. ")),
                "{name}: {ended}: {last}"
            );
        }
    }
    browser.stayed_at_home();
}

#[test]
fn the_script_counts_as_the_program_does() {
    let Some(browser) = Browser::here() else {
        return;
    };
    const COUNTS: &str = "return ['.count', '.here'].map((column) =>
        [...document.querySelectorAll(`#outcomes ${column}`)].map((cell) => Number(cell.textContent)));";
    let sum = |counts: &Value| -> u64 {
        let counts = counts.as_array().expect("it is a column");
        counts.iter().map(number).sum()
    };
    for name in NAMES {
        let file = page(name, "en", "counts");
        browser.open(&file);
        let counts = browser.run(COUNTS);
        assert_eq!(counts[0], counts[1], "{name}");
        let orders = sum(&counts[1]);
        assert_eq!(json!(orders), data(&file)["orders"], "{name}");
        // Each order goes on by a step of A or by one of B.
        press(&browser, "a");
        let by_a = sum(&browser.run(COUNTS)[1]);
        press(&browser, "rb");
        let by_b = sum(&browser.run(COUNTS)[1]);
        assert_eq!(by_a + by_b, orders, "{name}");
    }
}

#[test]
fn each_step_has_the_memory_beside_it_as_it_was_then() {
    let Some(browser) = Browser::here() else {
        return;
    };
    const COLUMN: &str = "return [...document.querySelectorAll('#steps tbody tr')]
        .map((row) => row.lastElementChild.textContent);";
    browser.open(&page("queue", "en", "memory"));
    press(&browser, "aabab");
    let slots = [
        "[–, –, –]",
        "[1, –, –]",
        "[1, –, –]",
        "[1, –, –]",
        "[3, –, –]",
    ];
    assert_eq!(browser.run(COLUMN), json!(slots));
    let lost =
        "return [...document.querySelectorAll('#steps .lost')].map((box) => box.textContent);";
    let overwritten = "slots[at] = 1overwritten in step 5";
    assert_eq!(browser.run(lost), json!([overwritten]));
    browser.open(&page("deadlock", "en", "memory"));
    press(&browser, "aab");
    assert_eq!(browser.run(COLUMN), json!(["free", "A"]));
}

#[test]
fn each_button_shows_an_order_that_ends_as_it_says_and_reaches_no_goal() {
    let Some(browser) = Browser::here() else {
        return;
    };
    const SHOW: &str = "return [...document.querySelectorAll('#outcomes tbody tr')].map((row) => {
        row.querySelector('button').click();
        return [...document.querySelectorAll('#outcomes .came')].map((came) => came === row);
    });";
    const REACHED: &str = "return [...document.querySelectorAll('#goals button')].map((button) => {
        button.click();
        return document.querySelectorAll('#goals .good').length;
    });";
    for name in NAMES {
        browser.open(&page(name, "en", "show"));
        let shown = browser.run(SHOW);
        let shown = shown.as_array().expect("it is a list");
        assert!(
            shown.iter().all(|shown| *shown == json!([true])),
            "{name}: {shown:?}"
        );
        let reached = browser.run(REACHED);
        let reached = reached.as_array().expect("it is a list");
        assert!(
            reached.iter().all(|goals| *goals == 0),
            "{name}: {reached:?}"
        );
    }
    browser.stayed_at_home();
}

/// Reaches every goal that can be reached by one order, and ends with the order of the last outcome.
const PLAY_ALL: &str = "
const click = (id) => document.getElementById(id).click();
for (const button of document.querySelectorAll('[data-schedule]')) {
  click('restart');
  for (const letter of button.dataset.schedule) click('step-' + letter);
}
return document.querySelectorAll('#goals .good').length;";

#[test]
fn the_page_reads_well_in_both_languages_themes_and_sizes() {
    let Some(browser) = Browser::here() else {
        return;
    };
    for name in NAMES {
        for (lang, theme, width) in SETTINGS {
            let file = page(name, lang, "look");
            let at = format!("{name} {lang} {theme} {width}");
            browser.device(width, theme);
            browser.open(&file);
            assert!(
                number(&browser.run(PLAY_ALL)) > 1,
                "{at}: goals are reached"
            );
            let look = browser.run(LOOK);
            let picture = format!("explore-{name}-{lang}-{theme}-{width}.png");
            browser.screenshot(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(picture));
            for fault in ["wider", "pale", "nameless"] {
                assert_eq!(look[fault], json!([]), "{at}: {fault}");
            }
            assert!(
                number(&look["compared"]) > 60,
                "{at}: contrast was computed"
            );
            assert_eq!(look["lang"], if lang == "en" { "en" } else { "zh-CN" });
        }
    }
    browser.stayed_at_home();
}

#[test]
fn axe_core_finds_no_barrier_on_the_page_in_any_language_theme_or_size() {
    let (Some(browser), Some(axe)) = (Browser::here(), browser::axe()) else {
        return;
    };
    for name in NAMES {
        for (lang, theme, width) in SETTINGS {
            let file = page(name, lang, "axe");
            browser.device(width, theme);
            browser.open(&file);
            let at = format!("{name} {lang} {theme} {width}");
            let fresh = browser.barriers(&axe);
            assert!(fresh.is_empty(), "{at}: {fresh:#?}");
            browser.run(PLAY_ALL);
            let played = browser.barriers(&axe);
            assert!(played.is_empty(), "{at}, played: {played:#?}");
        }
    }
}

/// All that is said and shown, with code as code: each element that has text of its own.
const TEXTS: &str = "
document.querySelectorAll('code, kbd').forEach((code) => code.replaceWith('`code`'));
document.body.normalize();
const own = (element) => [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim());
const elements = [...document.querySelectorAll('body, body *:not(script)')];
return elements.flatMap(own).filter(Boolean);";

#[test]
fn the_chinese_page_says_nothing_in_english_and_is_set_as_chinese_is() {
    let Some(browser) = Browser::here() else {
        return;
    };
    for name in NAMES {
        let file = page(name, "zh", "chinese");
        browser.open(&file);
        let data = data(&file);
        let goals = data["goals"].as_array().expect("there are goals");
        for goal in goals.iter().filter_map(|goal| goal["schedule"].as_str()) {
            press(&browser, &format!("r{}", goal.to_lowercase()));
        }
        let texts = browser.run(TEXTS);
        let texts = texts.as_array().expect("it is a list");
        assert!(texts.len() > 50, "{name}: {} texts", texts.len());
        for text in texts {
            let text = text.as_str().expect("it is text");
            let wrong = english(text).or_else(|| misset(text));
            assert_eq!(wrong, None, "{name}: {text}");
        }
    }
}
