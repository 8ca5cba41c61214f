use clap::ValueEnum;
use common::notebook::{CELLS, CHAPTERS};
use common::verdict::verdicts;

use crate::Exit;
use crate::cli::{Explored, Lang};
use crate::output::say;
use crate::translations::padded;

pub(crate) fn list(lang: Lang) -> anyhow::Result<Exit> {
    for (chapter, ..) in CHAPTERS {
        say!("{chapter}. {}", lang.chapter_heading(chapter))?;
        for cell in CELLS.iter().filter(|cell| cell.chapter == chapter) {
            let checks = cell.variants.iter().map(|variant| {
                let (name, checks) = (lang.variant(variant), verdicts(variant));
                format!("{name} {checks}").trim_start().to_string()
            });
            let checks = checks.collect::<Vec<_>>().join(lang.comma());
            say!(
                "   {} {:18} {}  {checks} {}",
                padded(&lang.label(cell), 8),
                cell.bin,
                padded(lang.idea(cell), 44),
                lang.pick("checks", "项检查")
            )?;
            for need in cell.needs {
                say!("{:31}{} {}", "", lang.pick("wants", "需要"), need.name())?;
            }
        }
    }
    let scheduler = lang.pick(
        "be the scheduler of two threads",
        "由你来当两个线程的调度器",
    );
    let names = Explored::value_variants().iter();
    let names: Vec<String> = names
        .filter_map(|explored| explored.to_possible_value())
        .map(|value| value.get_name().to_string())
        .collect();
    say!(
        "`cargo xtask explore {}`{}{scheduler}",
        names.join("|"),
        lang.colon()
    )?;
    Ok(Exit::Held)
}
