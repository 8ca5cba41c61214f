use common::notebook::{CELLS, CHAPTERS};

use crate::Exit;
use crate::output::say;

pub(crate) fn list() -> anyhow::Result<Exit> {
    for (chapter, english, chinese) in CHAPTERS {
        say!("{chapter}. {english}  {chinese}")?;
        for cell in CELLS.iter().filter(|cell| cell.chapter == chapter) {
            let checks: usize = cell
                .variants
                .iter()
                .map(|variant| variant.checks.len() + variant.prints.len())
                .sum();
            say!(
                "   {:8} {:18} {:44} {checks:2} checks",
                cell.label(),
                cell.bin,
                cell.idea
            )?;
            for need in cell.needs {
                say!("{:31}wants {}", "", need.name())?;
            }
        }
    }
    Ok(Exit::Held)
}
