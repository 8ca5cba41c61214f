use common::notebook::{CELLS, CHAPTERS};

use crate::Exit;

pub(crate) fn list() -> anyhow::Result<Exit> {
    for (chapter, english, chinese) in CHAPTERS {
        println!("{chapter}. {english}  {chinese}");
        for cell in CELLS.iter().filter(|cell| cell.chapter == chapter) {
            let checks: usize = cell
                .variants
                .iter()
                .map(|variant| variant.checks.len() + variant.prints.len())
                .sum();
            println!(
                "   {:8} {:18} {:44} {checks:2} checks",
                cell.label(),
                cell.bin,
                cell.idea
            );
            for need in cell.needs {
                println!("{:31}wants {}", "", need.name());
            }
        }
    }
    Ok(Exit::Held)
}
