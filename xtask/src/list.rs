use common::notebook::{CELLS, CHAPTERS};

use crate::Exit;
use crate::cli::Lang;
use crate::output::say;
use crate::translations::padded;

pub(crate) fn list(lang: Lang) -> anyhow::Result<Exit> {
    for (chapter, ..) in CHAPTERS {
        say!("{chapter}. {}", lang.chapter_heading(chapter))?;
        for cell in CELLS.iter().filter(|cell| cell.chapter == chapter) {
            let checks: usize = cell
                .variants
                .iter()
                .map(|variant| variant.checks.len() + variant.prints.len())
                .sum();
            say!(
                "   {} {:18} {} {checks:2} {}",
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
    Ok(Exit::Held)
}
