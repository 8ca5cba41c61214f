//! Who says a line: the processes and threads of a run, told apart by what they print.
//!
//! A process has another number in every run, and the notebook's had theirs. What stays is its
//! role. So a view can show the same worker in the same colour on both sides, and a comparison can
//! put `W2` where the numbers stood.

use crate::notebook::Variant;
use crate::transcript::{Event, Transcript};

/// A part in a cell, played by one process or thread, or by several.
#[derive(Debug)]
pub struct Role {
    /// A letter for it; empty where each member goes by the name that it prints.
    pub mark: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// What it is called in Chinese.
    pub name_zh: &'static str,
    /// The holes that hold its process number or its name, as `line.hole`.
    pub ids: &'static [&'static str],
    /// The lines that it says; `*` is every line that no other role says.
    pub says: &'static [&'static str],
}

/// One process or thread.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its part.
    pub role: &'static Role,
    /// Its process number or its name, where it is printed.
    pub id: Option<String>,
    /// What stands for it in every run: `P`, `W2`, `Thread-A`.
    pub mark: String,
}

/// The processes and threads of one run.
#[derive(Debug)]
pub struct Cast {
    /// All of them, the same ones at the same places in every right run of a cell.
    pub members: Vec<Member>,
}

impl Cast {
    /// Who takes part in a run with these lines.
    ///
    /// Several members of a role are put in the order of what their first lines say, numbers aside:
    /// the worker that began with task 0 is the first, in whatever order the workers spoke.
    pub fn of(variant: &Variant, lines: &Transcript) -> Cast {
        let mut members = Vec::new();
        for role in variant.roles {
            let mut ids: Vec<(Vec<&str>, &str)> = Vec::new();
            for event in &lines.events {
                for hole in role.holes(event) {
                    let id = event.value(hole);
                    if !ids.iter().any(|(_, known)| *known == id) {
                        ids.push((role.rest(event), id));
                    }
                }
            }
            ids.sort_by(|(one, _), (other, _)| one.cmp(other));
            let several = ids.len() > 1;
            members.extend(ids.iter().enumerate().map(|(at, (_, id))| Member {
                role,
                id: Some((*id).to_string()),
                mark: match role.mark {
                    "" => (*id).to_string(),
                    mark if several => format!("{mark}{}", at + 1),
                    mark => mark.to_string(),
                },
            }));
            if role.ids.is_empty() {
                members.push(Member {
                    role,
                    id: None,
                    mark: role.mark.to_string(),
                });
            }
        }
        Cast { members }
    }

    /// The place among the members of the one who said the line.
    pub fn speaker(&self, lines: &Transcript, event: &Event) -> Option<usize> {
        let says = |name: &str| {
            let of_role = |member: &Member| member.role.says.contains(&name);
            self.members.iter().position(of_role)
        };
        let first = says(event.name).or_else(|| says("*"))?;
        let role = self.members[first].role;
        let known = |event: &Event| {
            let hole = role.holes(event).next()?;
            self.member(role, event.value(hole))
        };
        // A line without its speaker's number is by the one who said the like just before:
        // `Task 2 runs` by the worker of `Run task 2`.
        let alike = |earlier: &&Event| {
            let shared = |(name, value): &(&str, String)| earlier.value(name) == value;
            earlier.line < event.line && event.captures.iter().any(shared)
        };
        known(event).or_else(|| {
            let several =
                self.members.get(first + 1).map(|next| &next.role.name) == Some(&role.name);
            match several {
                false => Some(first),
                true => lines.events.iter().rev().filter(alike).find_map(known),
            }
        })
    }

    /// What the line says besides the numbers and names of members.
    pub fn rest<'a>(&self, event: &'a Event) -> Vec<&'a str> {
        let other = |(hole, value): &'a (&'static str, String)| {
            self.named_in(event, hole)
                .is_none()
                .then_some(value.as_str())
        };
        event.captures.iter().filter_map(other).collect()
    }

    /// The member whose number or name stands in this hole of a line.
    pub fn named_in(&self, event: &Event, hole: &str) -> Option<usize> {
        let full = format!("{}.{hole}", event.name);
        let in_role = |member: &&Member| member.role.ids.contains(&full.as_str());
        let role = self.members.iter().find(in_role)?.role;
        self.member(role, event.value(hole))
    }

    fn member(&self, role: &Role, id: &str) -> Option<usize> {
        let same =
            |member: &Member| std::ptr::eq(member.role, role) && member.id.as_deref() == Some(id);
        self.members.iter().position(same)
    }
}

impl Role {
    /// The holes of this line that hold a member's number or name.
    fn holes<'a>(&'a self, event: &'a Event) -> impl Iterator<Item = &'static str> + 'a {
        self.ids.iter().filter_map(move |id| {
            let (line, hole) = id.split_once('.').expect("a hole is named line.hole");
            (line == event.name).then_some(hole)
        })
    }

    /// What the line says besides numbers and names of members.
    fn rest<'a>(&self, event: &'a Event) -> Vec<&'a str> {
        let ids: Vec<&str> = self.holes(event).collect();
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
    use crate::transcript::{Printed, Source};

    fn marks(bin: &str, text: &str) -> Vec<String> {
        let variant = &notebook::cell(bin).expect("it is in the table").variants[0];
        let printed: Vec<Printed> = text
            .lines()
            .map(|line| Printed {
                source: Source::Out,
                at: None,
                text: line.to_string(),
                whole: true,
            })
            .collect();
        let lines = Transcript::read(variant, &printed);
        let cast = Cast::of(variant, &lines);
        let mark = |event| {
            cast.speaker(&lines, event)
                .map(|who| cast.members[who].mark.clone())
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
