//! Whether the system's OOM killer has struck.
//!
//! The system tells nobody whom it has killed for want of memory: the dead has got SIGKILL, as from
//! anybody. But it counts such kills, for each control group and for the whole machine, and it counts
//! before it kills. So if the count has not risen, it was not the OOM killer.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// Where the control groups are: of version 1, whose memory is counted if it is in use, and of
/// version 2, alone and beside the other.
const V1: &str = "/sys/fs/cgroup/memory";
const V2: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// Where the machine's kills are counted: proc_vmstat(5).
const MACHINE: &str = "/proc/vmstat";

/// For so long a count stands for those at the start of other processes: to read it takes a tenth of
/// the time of a start.
const FRESH: Duration = Duration::from_millis(10);

/// How long a kill may be that of a worker, once it was noticed. One strike may hit several.
const SURPLUS_WITHIN: Duration = Duration::from_secs(1);

/// How many processes the OOM killer has killed, at some moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OomKills {
    /// Where the system counts them; none if it does not.
    file: Option<PathBuf>,
    count: u64,
}

impl OomKills {
    /// Those in the control group of this process, which its children inherit; at most 10 ms ago.
    pub(crate) fn now() -> Self {
        static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
        static LATEST: Mutex<Option<(Instant, OomKills)>> = Mutex::new(None);
        #[cfg(test)]
        if let Some(file) = tests::FILE.with_borrow(Clone::clone) {
            return Self::counted_in(Some(file));
        }
        let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((at, kills)) if at.elapsed() < FRESH => kills.clone(),
            _ => {
                let kills = Self::counted_in(FILE.get_or_init(|| find(Path::new("/"))).clone());
                latest.insert((Instant::now(), kills)).1.clone()
            }
        }
    }

    fn counted_in(file: Option<PathBuf>) -> Self {
        let count = file.as_deref().and_then(read).unwrap_or(0);
        Self { file, count }
    }

    /// How many more there are by now.
    pub(crate) fn more(&self) -> u64 {
        let count = self.file.as_deref().and_then(read).unwrap_or(0);
        count.saturating_sub(self.count)
    }
}

/// Tells of several processes which of them the OOM killer may have killed: no more than it has.
pub(crate) struct OomWatch {
    before: OomKills,
    /// Kills that were noticed and have not been told as the end of a process.
    surplus: u64,
    noticed: Instant,
}

impl OomWatch {
    pub(crate) fn since(before: OomKills) -> Self {
        Self {
            before,
            surplus: 0,
            noticed: Instant::now(),
        }
    }

    /// Whether the OOM killer may have killed a process that SIGKILL has ended just now.
    pub(crate) fn explains_kill(&mut self) -> bool {
        let more = self.before.more();
        // What was noticed long ago has hit others.
        if self.noticed.elapsed() > SURPLUS_WITHIN {
            self.surplus = 0;
        }
        if more > 0 {
            self.before.count += more;
            self.surplus += more;
            self.noticed = Instant::now();
        }
        let explains = self.surplus > 0;
        self.surplus -= u64::from(explains);
        explains
    }
}

/// Where the kills are counted that concern this process, as near to it as possible, below `root`.
fn find(root: &Path) -> Option<PathBuf> {
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let groups = fs::read_to_string(below("/proc/self/cgroup")).unwrap_or_default();
    let mut files = Vec::new();
    for group in groups.lines() {
        // A number, the controllers, and the path: cgroups(7).
        let mut parts = group.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let path = path.trim_start_matches('/');
        if controllers
            .split(',')
            .any(|controller| controller == "memory")
        {
            // A container may see its own group as the root of all.
            let places = [below(V1).join(path), below(V1)];
            files.extend(places.map(|place| place.join("memory.oom_control")));
        }
        if controllers.is_empty() {
            for mount in V2 {
                let places = [below(mount).join(path), below(mount)];
                files.extend(places.map(|place| place.join("memory.events")));
            }
        }
    }
    files.push(below(MACHINE));
    files.into_iter().find(|file| read(file).is_some())
}

/// The count in a file of lines of names and numbers.
fn read(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, sync::OnceLock};

    use super::*;
    use crate::{Error, Pool, Process, Queue};
    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };

    thread_local!(pub(super) static FILE: RefCell<Option<PathBuf>> = const { RefCell::new(None) });

    /// Stands for the OOM killer in a process: it counts a kill, and kills that.
    fn strike(file: &Path) {
        count(file, read(file).expect("a count") + 1);
        kill_myself();
    }

    fn kill_myself() {
        kill(Pid::this(), Signal::SIGKILL).expect("it lives");
    }

    fn count(file: &Path, kills: u64) {
        let text = format!("low 0\noom 7\noom_kill {kills}\noom_group_kill 0\n");
        fs::write(file, text).expect("a file");
    }

    /// A file where this thread's pools and processes find the count.
    fn counter() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("memory.events");
        count(&file, 5);
        FILE.set(Some(file.clone()));
        (folder, file)
    }

    #[test]
    fn a_worker_is_told_as_killed_for_want_of_memory_only_if_the_system_has_counted_it() {
        let (_folder, file) = counter();
        let pool = Pool::new(1).expect("there are processes");
        let struck = |file: PathBuf| strike(&file);
        let error = pool.apply(struck, file.clone()).expect_err("it is killed");
        let Error::OomKilled { pid } = error else {
            panic!("{error}");
        };
        assert_ne!(pid, 0);
        assert!(error.to_string().contains("max_memory_per_task"), "{error}");
        let killed = pool.apply(|()| kill_myself(), ());
        assert!(matches!(killed, Err(Error::Killed { signal: 9, .. })));
        // That is another signal's work.
        let ends = |file: PathBuf| {
            count(&file, 99);
            kill(Pid::this(), Signal::SIGTERM).expect("it lives");
        };
        let ended = pool.apply(ends, file);
        assert!(matches!(ended, Err(Error::Killed { signal: 15, .. })));
    }

    #[test]
    fn a_task_that_is_tried_again_may_succeed_after_the_oom_killer_has_struck() {
        static STRIKES: OnceLock<Queue<PathBuf>> = OnceLock::new();
        let (_folder, file) = counter();
        let strikes = Queue::new().expect("there is memory");
        strikes.put(&file).expect("it is open");
        let set = |strikes| _ = STRIKES.set(strikes);
        let pool = Pool::builder().workers(1).retries(1);
        let pool = pool.initializer_with(set, strikes).build();
        let task = |()| {
            let strikes = STRIKES.get().expect("it is set");
            if let Ok(file) = strikes.try_get() {
                strike(&file);
            }
        };
        assert_eq!(pool.expect("there are processes").apply(task, ()), Ok(()));
    }

    #[test]
    fn a_process_is_told_as_killed_for_want_of_memory_only_if_the_system_has_counted_it() {
        let (_folder, file) = counter();
        let run = |function: fn(PathBuf)| Process::spawn_with(function, file.clone());
        let struck = run(|file| strike(&file)).expect("there are processes");
        assert!(matches!(struck.join(), Err(Error::OomKilled { .. })));
        let killed = run(|_| kill_myself()).expect("there are processes");
        assert!(matches!(
            killed.join(),
            Err(Error::Killed { signal: 9, .. })
        ));
        // Whom this program has killed, the system has not.
        for with_tree in [false, true] {
            let endless = run(|_| {
                loop {
                    std::thread::park();
                }
            });
            let process = endless.expect("there are processes");
            count(&file, read(&file).expect("a count") + 1);
            let killed = match with_tree {
                false => process.kill(),
                true => process.kill_tree(),
            };
            killed.expect("it lives");
            assert!(matches!(
                process.join(),
                Err(Error::Killed { signal: 9, .. })
            ));
        }
    }

    #[test]
    fn one_strike_explains_as_many_deaths_as_it_has_killed_and_no_later_ones() {
        let (_folder, file) = counter();
        let mut watch = OomWatch::since(OomKills::now());
        assert!(!watch.explains_kill());
        count(&file, 7);
        assert_eq!([(); 3].map(|()| watch.explains_kill()), [true, true, false]);
        count(&file, 9);
        assert!(watch.explains_kill());
        watch.noticed -= 2 * SURPLUS_WITHIN;
        assert!(!watch.explains_kill());
        fs::remove_file(&file).expect("it is there");
        assert!(!watch.explains_kill());
    }

    #[test]
    fn the_count_is_that_of_the_nearest_group_and_else_of_the_machine() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let write = |path: &str, text: &str| {
            let file = root.join(path);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, text).expect("a file");
        };
        let found = || {
            let file = find(root)?;
            Some(
                file.strip_prefix(root)
                    .expect("below")
                    .to_string_lossy()
                    .into_owned(),
            )
        };
        assert_eq!(found(), None);
        write("proc/vmstat", "nr_free_pages 7\noom_kill 3\n");
        write(
            "proc/self/cgroup",
            "4:cpu,memory:/a\n1:name=systemd:/\n0::/b\n",
        );
        assert_eq!(found().as_deref(), Some("proc/vmstat"));
        let files = [
            "sys/fs/cgroup/unified/b/memory.events",
            "sys/fs/cgroup/memory.events",
            "sys/fs/cgroup/b/memory.events",
            "sys/fs/cgroup/memory/memory.oom_control",
            "sys/fs/cgroup/memory/a/memory.oom_control",
        ];
        for file in files {
            // One that does not count such kills is none.
            write(file, "low 0\noom_kill_disable 0\n");
            assert_ne!(found().as_deref(), Some(file));
            write(file, "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n");
            assert_eq!(found().as_deref(), Some(file));
        }
    }
}
