//! Who says a line: the processes and threads of a run, found in what they print.
//!
//! A process has another number in every run, but its role stays. So a view can show the same worker
//! in the same colour in the notebook's output and in this run's, and a comparison can put `W2` where
//! the numbers stood.

use crate::notebook::{Role, Variant};
use crate::transcript::{Event, Transcript, line_and_field};

/// One process or thread.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// What it does in the cell.
    pub role: &'static Role,
    /// Its process number or its name, where it is printed.
    pub id: Option<String>,
    /// What stands for it in every run: `P`, `W2`, `Thread-A`.
    pub mark: String,
}

/// The processes and threads of one run.
#[derive(Clone, Debug)]
pub struct Speakers {
    /// All of them, the same ones at the same places in every right run of a cell.
    pub all: Vec<Speaker>,
}

impl Speakers {
    /// Who takes part in a run with these lines.
    ///
    /// Several speakers of one role are sorted by what their first lines say besides the numbers. So
    /// the worker that began with task 0 is the first, whichever worker spoke first.
    pub fn of(variant: &Variant, lines: &Transcript) -> Speakers {
        let mut all = Vec::new();
        for role in variant.roles {
            let mut ids: Vec<(Vec<&str>, &str)> = Vec::new();
            for event in &lines.events {
                for field in role.fields(event) {
                    let id = event.value(field);
                    if !ids.iter().any(|(_, known)| *known == id) {
                        ids.push((role.rest(event), id));
                    }
                }
            }
            ids.sort_by(|(one, _), (other, _)| one.cmp(other));
            let several = ids.len() > 1;
            all.extend(ids.iter().enumerate().map(|(at, (_, id))| Speaker {
                role,
                id: Some((*id).to_string()),
                mark: match role.mark {
                    "" => (*id).to_string(),
                    mark if several => format!("{mark}{}", at + 1),
                    mark => mark.to_string(),
                },
            }));
            if role.ids.is_empty() {
                all.push(Speaker {
                    role,
                    id: None,
                    mark: role.mark.to_string(),
                });
            }
        }
        Speakers { all }
    }

    /// The place among the speakers of the one who said the line.
    pub fn speaker(&self, lines: &Transcript, event: &Event) -> Option<usize> {
        let says = |name: &str| {
            let of_role = |speaker: &Speaker| speaker.role.says.contains(&name);
            self.all.iter().position(of_role)
        };
        let first = says(event.name).or_else(|| says("*"))?;
        let role = self.all[first].role;
        let known = |event: &Event| {
            let field = role.fields(event).next()?;
            self.of_role(role, event.value(field))
        };
        // A line without its speaker's number is by the one who said the like just before:
        // `Task 2 runs` by the worker of `Run task 2`.
        let alike = |earlier: &&Event| {
            let shared = |(name, value): &(&str, String)| earlier.value(name) == value;
            earlier.line < event.line && event.captures.iter().any(shared)
        };
        known(event).or_else(|| {
            let several = self.all.get(first + 1).map(|next| &next.role.name) == Some(&role.name);
            match several {
                false => Some(first),
                true => lines.events.iter().rev().filter(alike).find_map(known),
            }
        })
    }

    /// What the line says besides the numbers and names of speakers.
    pub fn rest<'a>(&self, event: &'a Event) -> Vec<&'a str> {
        let other = |(field, value): &'a (&'static str, String)| {
            self.named_in(event, field)
                .is_none()
                .then_some(value.as_str())
        };
        event.captures.iter().filter_map(other).collect()
    }

    /// The speaker whose number or name stands in this field of a line.
    pub fn named_in(&self, event: &Event, field: &str) -> Option<usize> {
        let full = format!("{}.{field}", event.name);
        let in_role = |speaker: &&Speaker| speaker.role.ids.contains(&full.as_str());
        let role = self.all.iter().find(in_role)?.role;
        self.of_role(role, event.value(field))
    }

    fn of_role(&self, role: &Role, id: &str) -> Option<usize> {
        let same = |speaker: &Speaker| {
            std::ptr::eq(speaker.role, role) && speaker.id.as_deref() == Some(id)
        };
        self.all.iter().position(same)
    }
}

impl Role {
    /// The fields of this line that hold a speaker's number or name.
    fn fields<'a>(&'a self, event: &'a Event) -> impl Iterator<Item = &'static str> + 'a {
        self.ids.iter().filter_map(move |id| {
            let (line, field) = line_and_field(id);
            (line == event.name).then_some(field)
        })
    }

    /// What the line says besides numbers and names of speakers.
    fn rest<'a>(&self, event: &'a Event) -> Vec<&'a str> {
        let ids: Vec<&str> = self.fields(event).collect();
        let other = |(name, value): &'a (&'static str, String)| {
            (!ids.contains(name)).then_some(value.as_str())
        };
        event.captures.iter().filter_map(other).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notebook;
    use crate::transcript::recorded_lines;

    fn marks(bin: &str, text: &str) -> Vec<String> {
        let variant = &notebook::cell(bin).expect("it is in the table").variants[0];
        let lines = Transcript::read(variant, &recorded_lines(text, ""));
        let speakers = Speakers::of(variant, &lines);
        let mark = |event| {
            speakers
                .speaker(&lines, event)
                .map(|who| speakers.all[who].mark.clone())
        };
        lines
            .events
            .iter()
            .map(|event| mark(event).unwrap_or_default())
            .collect()
    }

    #[test]
    fn a_worker_goes_by_its_first_task_and_its_later_lines_are_its_own() {
        let recorded = notebook::cell("pool").expect("it is there").variants[0].recorded;
        assert_eq!(
            marks("pool", recorded),
            [
                "P", "W3", "W2", "W1", "W4", "W2", "W2", "P", "W1", "W3", "W2", "W4", "P"
            ]
        );
    }

    #[test]
    fn parent_and_child_keep_their_marks_when_the_child_speaks_first() {
        let child_first = "Process (7) start...\n\
            I am child process (9) and my parent is 7\n\
            I (7) just created a child process (9).\n";
        assert_eq!(marks("fork", child_first), ["P", "C", "P"]);
    }

    #[test]
    fn threads_go_by_their_names_whoever_speaks_first() {
        let hello = "Hello, Bob (in Thread-B)\nHello, Alice (in Thread-A)\n";
        assert_eq!(marks("local", hello), ["Thread-B", "Thread-A"]);
    }
}
