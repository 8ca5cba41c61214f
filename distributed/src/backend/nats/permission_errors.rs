//! What a server forbids. It does not answer such a message, so that its sender runs out of time,
//! and says why apart from that.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// More than the kinds of messages that one client sends.
const KEPT: usize = 64;

/// What was forbidden to one client, in the server's words.
#[derive(Clone, Default)]
pub(super) struct PermissionErrors(Arc<Mutex<VecDeque<(Instant, String)>>>);

impl PermissionErrors {
    /// Keeps what the server says, if it is of this kind and of what a call needs: whoever may not
    /// say that he is there is not counted, and that is all.
    pub(super) fn note(&self, said: &str, presence: &str) {
        let is_needed = !said.contains("Publish to \"_INBOX.") && !said.contains(presence);
        if said.starts_with("Permissions Violation") && is_needed {
            let mut said_before = self.0.lock().unwrap();
            said_before.retain(|(_, before)| before != said);
            said_before.push_back((Instant::now(), said.to_string()));
            if said_before.len() > KEPT {
                said_before.pop_front();
            }
        }
    }

    /// Whether it said so of that subject, or of one below it, since then.
    pub(super) fn has(&self, subject: &str, since: Instant) -> bool {
        let (this, below) = (format!("\"{subject}\""), format!("\"{subject}."));
        let said = self.0.lock().unwrap();
        let mut lately = said.iter().filter(|(moment, _)| *moment >= since);
        lately.any(|(_, said)| said.contains(&this) || said.contains(&below))
    }

    /// The last that it said, if that is not longer ago.
    pub(super) fn last(&self, ago: Duration) -> Option<String> {
        let said = self.0.lock().unwrap();
        let (moment, said) = said.back()?;
        (moment.elapsed() < ago).then(|| said.clone())
    }
}
