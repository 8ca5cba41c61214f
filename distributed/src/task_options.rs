use std::time::Duration;

use crate::random;

/// How urgent a task is: of those that wait, the most urgent are taken first.
///
/// # Examples
///
/// ```
/// use distributed::Priority;
///
/// assert!(Priority::High > Priority::Normal);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// When nothing else is to be done: -1 in Python.
    Low,
    /// As any task: 0 in Python.
    #[default]
    Normal,
    /// Before all others: 1 in Python.
    High,
}

impl Priority {
    pub(crate) const ALL: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::High];

    /// -1, 0 or 1.
    pub(crate) fn number(self) -> i8 {
        self as i8 - 1
    }
}

impl TryFrom<i64> for Priority {
    type Error = String;

    fn try_from(number: i64) -> Result<Priority, String> {
        let all = Priority::ALL.into_iter();
        let found = all
            .into_iter()
            .find(|priority| i64::from(priority.number()) == number);
        found.ok_or_else(|| format!("no priority {number}: there are -1, 0 and 1"))
    }
}

/// How a task that is submitted by name is to be run; see
/// [`TaskQueue::submit_with`](crate::TaskQueue::submit_with).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use distributed::{Priority, TaskOptions};
///
/// let nightly = TaskOptions::new()
///     .priority(Priority::Low)
///     .delay(Duration::from_secs(3600))
///     .retries(10)
///     .time_limit(Duration::from_secs(60));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "options alone submit nothing"]
pub struct TaskOptions {
    pub(crate) priority: Priority,
    pub(crate) delay: Duration,
    pub(crate) retries: u32,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) time_limit: Option<Duration>,
}

impl Default for TaskOptions {
    fn default() -> TaskOptions {
        TaskOptions::new()
    }
}

impl TaskOptions {
    /// A task of normal priority that may run at once and as long as it takes, and is tried three
    /// times.
    ///
    /// # Examples
    ///
    /// See [`TaskOptions`].
    pub fn new() -> TaskOptions {
        TaskOptions {
            priority: Priority::Normal,
            delay: Duration::ZERO,
            retries: 2,
            backoff: random::BACKOFF,
            time_limit: None,
        }
    }

    /// How urgent it is. A task that runs already is not interrupted for it.
    ///
    /// # Examples
    ///
    /// See [`TaskOptions`].
    pub fn priority(mut self, priority: Priority) -> TaskOptions {
        self.priority = priority;
        self
    }

    /// How long no worker gets it. When its time has come, it waits behind those of its priority. On an
    /// engine this needs nats-server 2.12 or newer: for an older one,
    /// [`submit_with`](crate::TaskQueue::submit_with) fails with an error that names both versions.
    ///
    /// # Examples
    ///
    /// See [`TaskOptions`].
    pub fn delay(mut self, time: Duration) -> TaskOptions {
        self.delay = time;
        self
    }

    /// How often it is tried again when its function fails, takes too long, or its worker dies; 2 if
    /// not said. With 0 it is begun once at most: of a worker that is killed, its submitter is told.
    ///
    /// # Examples
    ///
    /// See [`TaskOptions`].
    pub fn retries(mut self, times: u32) -> TaskOptions {
        self.retries = times;
        self
    }

    /// The pause before the first of these, which doubles with each try, and the longest: 1 s and 5
    /// minutes if not said. Each is cut short at random by up to a half, so that tasks that failed
    /// together are not tried again together. A task whose worker dies is tried again at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use distributed::TaskOptions;
    ///
    /// let often = TaskOptions::new().backoff(Duration::from_millis(100), Duration::from_secs(10));
    /// ```
    pub fn backoff(mut self, first: Duration, longest: Duration) -> TaskOptions {
        self.backoff = (first, longest.max(first));
        self
    }

    /// How long one try may take, from when a worker gets it. One that takes longer has failed, and
    /// its result does not count. Its function is told
    /// ([`TaskContext::is_cancelled`](crate::TaskContext::is_cancelled)), and a thread that does not
    /// look runs on.
    ///
    /// # Examples
    ///
    /// See [`TaskOptions`].
    pub fn time_limit(mut self, time: Duration) -> TaskOptions {
        self.time_limit = Some(time);
        self
    }
}
