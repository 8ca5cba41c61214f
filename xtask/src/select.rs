//! Which cells the words on the command line name.

use common::notebook::{CELLS, Cell};

use crate::cli::{Lang, Options};

/// The cells that are named (all, if none is), within `--from` and `--until` and without
/// `--skip`, in the notebook's order; or a sentence about the word that names none.
pub(crate) fn select(
    names: &[String],
    options: &Options,
    lang: Lang,
) -> Result<Vec<&'static Cell>, String> {
    let every = options
        .from
        .iter()
        .chain(&options.until)
        .chain(&options.skip)
        .chain(names);
    named(&every.cloned().collect::<Vec<_>>(), lang)?;
    let place = |name: &Option<String>, last: bool| {
        let named = |cell: &&Cell| name.as_ref().is_none_or(|name| cell.is_named(name));
        if last {
            CELLS.iter().copied().rposition(|cell| named(&cell))
        } else {
            CELLS.iter().position(named)
        }
    };
    let from = place(&options.from, false).unwrap_or(0);
    let until = place(&options.until, true).unwrap_or(CELLS.len() - 1);
    let wanted = |cell: &Cell| {
        (names.is_empty() || names.iter().any(|name| cell.is_named(name)))
            && !options.skip.iter().any(|name| cell.is_named(name))
    };
    let within = CELLS
        .iter()
        .enumerate()
        .filter(|(at, _)| (from..=until).contains(at));
    let cells: Vec<&Cell> = within
        .map(|(_, cell)| *cell)
        .filter(|cell| wanted(cell))
        .collect();
    if cells.is_empty() {
        let none = lang.pick(
            "no cell is left between --from, --until and --skip",
            "--from、--until 和 --skip 没有留下任何单元格",
        );
        return Err(none.to_string());
    }
    Ok(cells)
}

/// The cells that are named, all if none is; or a sentence about the word that names none.
pub(crate) fn named(names: &[String], lang: Lang) -> Result<Vec<&'static Cell>, String> {
    if let Some(name) = names
        .iter()
        .find(|name| !CELLS.iter().any(|cell| cell.is_named(name)))
    {
        return Err(match lang {
            Lang::En => format!("no cell is called {name:?}{}", did_you_mean(name, lang)),
            Lang::Zh => format!("没有叫 {name:?} 的单元格{}", did_you_mean(name, lang)),
        });
    }
    let wanted = |cell: &&Cell| names.is_empty() || names.iter().any(|name| cell.is_named(name));
    Ok(CELLS.iter().copied().filter(wanted).collect())
}

fn did_you_mean(name: &str, lang: Lang) -> String {
    let distance = |cell: &&&Cell| strsim::damerau_levenshtein(cell.bin, &name.to_lowercase());
    let near = CELLS
        .iter()
        .min_by_key(distance)
        .filter(|cell| distance(cell) <= cell.bin.len().min(name.len()) / 2 + 1);
    match (near, lang) {
        (Some(cell), Lang::En) => format!(": did you mean `{}`?", cell.bin),
        (Some(cell), Lang::Zh) => format!("：是不是 `{}`？", cell.bin),
        (None, Lang::En) => ": `cargo xtask list` shows them".to_string(),
        (None, Lang::Zh) => "：`cargo xtask list` 会列出它们".to_string(),
    }
}

/// Those whose names begin with a word that is named (all, if none is); or the word with which none
/// begins.
pub(crate) fn beginning_with<'w, 't, T>(
    words: &'w [String],
    all: &'t [T],
    name: fn(&T) -> &str,
) -> Result<Vec<&'t T>, &'w str> {
    let begins = |one: &T, word: &String| name(one).starts_with(word.as_str());
    let is_unknown = |word: &&String| !all.iter().any(|one| begins(one, word));
    if let Some(unknown) = words.iter().find(is_unknown) {
        return Err(unknown);
    }
    let is_wanted = |one: &&T| words.is_empty() || words.iter().any(|word| begins(one, word));
    Ok(all.iter().filter(is_wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_cell_is_answered_with_the_nearest() {
        assert_eq!(did_you_mean("lokc", Lang::En), ": did you mean `lock`?");
        assert_eq!(
            did_you_mean("comunicate", Lang::En),
            ": did you mean `communicate`?"
        );
        assert_eq!(
            did_you_mean("xyzzy-nothing", Lang::En),
            ": `cargo xtask list` shows them"
        );
    }

    #[test]
    fn a_cell_goes_by_program_number_and_chapter() {
        for name in ["lock", "14", "in14", "In[14]", "In [14]", "ch2"] {
            let found = CELLS
                .iter()
                .any(|cell| cell.is_named(name) && cell.bin == "lock");
            assert!(found, "{name}");
        }
        assert!(!CELLS.iter().any(|cell| cell.is_named("4")));
    }
}
