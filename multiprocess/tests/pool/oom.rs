//! What is told of those whom the system's OOM killer has killed. A control group with little memory
//! has it strike; where no such group can be made, the unit tests of `oom_kills.rs` stand for it.

use std::{
    fs,
    hint::black_box,
    io,
    path::{Path, PathBuf},
    process,
};

use multiprocess::{Error, Pool, Process};

use crate::{
    healthy, kill_myself,
    support::{Child, SOON, eventually, is_root},
};

tests![a_worker_and_a_process_that_the_oom_killer_has_killed_are_told_as_that];

const MIB: usize = 1 << 20;

/// How much memory the group has.
const LIMIT: usize = 96 * MIB;

/// A control group of its own, below that of this process or beside it.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = |start: &str| groups.lines().find_map(|line| line.split_once(start));
        let name = format!("multiprocess-test-{}", process::id());
        let v1 = path(":memory:/").map(|(_, path)| {
            let place = Path::new("/sys/fs/cgroup/memory").join(path);
            (place.join(&name), "memory.limit_in_bytes")
        });
        let v2 = path("0::/").map(|(_, path)| Path::new("/sys/fs/cgroup").join(path));
        let beside = v2
            .as_ref()
            .and_then(|place| Some(place.parent()?.to_path_buf()));
        let v2 = [v2, beside].into_iter().flatten();
        let v2 = v2.map(|place| (place.join(&name), "memory.max"));
        v1.into_iter().chain(v2).find_map(|(place, limit)| {
            fs::create_dir(&place).ok()?;
            let group = Self(place);
            let is_limited = group.write(limit, LIMIT as u64).is_ok();
            // Where there is swap.
            let _ = group.write("memory.swap.max", 0);
            let _ = group.write("memory.memsw.limit_in_bytes", LIMIT as u64);
            is_limited.then_some(group)
        })
    }

    fn write(&self, file: &str, number: u64) -> io::Result<()> {
        // A file that the group does not have is not to be made.
        let mut file = fs::OpenOptions::new().write(true).open(self.0.join(file))?;
        io::Write::write_all(&mut file, number.to_string().as_bytes())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Those in it end soon.
        eventually("the end of the group", || {
            fs::remove_dir(&self.0).is_ok() || !self.0.exists()
        });
    }
}

fn take(len: usize) -> usize {
    black_box(vec![1_u8; len]).len()
}

fn a_worker_and_a_process_that_the_oom_killer_has_killed_are_told_as_that() {
    let Some(group) = Group::new().filter(|_| is_root()) else {
        eprintln!("skipped: no control group with a limit of memory can be made here");
        return;
    };
    let child = Child::fork(|| {
        group.write("cgroup.procs", process::id().into()).unwrap();
        let pool = Pool::new(2).unwrap();
        for _ in 0..2 {
            let hungry = pool.apply_async(take, 2 * LIMIT).unwrap();
            let error = hungry.get_timeout(SOON).unwrap_err();
            assert!(matches!(error, Error::OomKilled { .. }), "{error}");
            healthy(&pool);
            let killed = pool.apply_async(|()| kill_myself(), ()).unwrap();
            let error = killed.get_timeout(SOON).unwrap_err();
            assert!(matches!(error, Error::Killed { signal: 9, .. }), "{error}");
        }
        let mut hungry = Process::spawn_with(take, 2 * LIMIT).unwrap();
        let error = hungry.join_timeout(SOON).unwrap_err();
        assert!(matches!(error, Error::OomKilled { .. }), "{error}");
        assert_eq!(hungry.join_timeout(SOON), Err(error), "asked again");
        let mut killed = Process::spawn_with(|()| kill_myself(), ()).unwrap();
        let error = killed.join_timeout(SOON).unwrap_err();
        assert!(matches!(error, Error::Killed { signal: 9, .. }), "{error}");
    });
    child.succeed();
}
