//! The explorations: threads of the notebook as steps, and what a learner is to bring about.

use super::model::Action::{Acquire, Load, Put, Release, Store};
use super::model::{Action, Condition, Exploration, Goal, Said, Statement};

pub(super) static EXPLORATIONS: [Exploration; 4] = [RACE, LOCK, DEADLOCK, QUEUE];

const RACE: Exploration = Exploration {
    name: "race",
    title: ("In [13]: two threads, no lock", "In [13]：两个线程，没有锁"),
    lesson: (
        "Each thread adds its number to the balance and takes it away again; In [13] does so a million times. Each line is two steps: one reads, one writes. Whatever comes between the two is overwritten.",
        "两个线程各自先给余额加上一个数，再减去它；In [13] 把这件事做一百万次。每一行都是两步：先读，后写。在这两步之间写进去的，会被覆盖。",
    ),
    variable: "balance",
    register: "x",
    locks: &[],
    slots: 0,
    programs: [&[PLUS_5, MINUS_5], &[PLUS_8, MINUS_8]],
    goals: &[
        goal(
            ("End with the balance `-5`", "让余额最后是 `-5`"),
            Condition::Ends("-5"),
        ),
        goal(
            ("End with the balance `3`", "让余额最后是 `3`"),
            Condition::Ends("3"),
        ),
        goal(
            (
                "End with `0` although a store was overwritten",
                "有写入被覆盖，余额最后却是 `0`",
            ),
            Condition::EndsDespiteOverwriting("0"),
        ),
    ],
};

const LOCK: Exploration = Exploration {
    name: "lock",
    title: (
        "In [14]: the same balance behind a lock",
        "In [14]：同一个余额，加了锁",
    ),
    lesson: (
        "The same lines, and around them a lock. Who wants a lock that the other holds has to wait. Of the 70 orders of In [13], two are left.",
        "还是那几行，外面加了一把锁。锁在对方手里，就只能等。In [13] 的 70 种次序只剩下两种。",
    ),
    variable: "balance",
    register: "x",
    locks: &["lock"],
    slots: 0,
    programs: [
        &[
            line("lock.acquire()", &[Acquire { lock: 0 }]),
            PLUS_5,
            MINUS_5,
            line("lock.release()", &[Release { lock: 0 }]),
        ],
        &[
            line("lock.acquire()", &[Acquire { lock: 0 }]),
            PLUS_8,
            MINUS_8,
            line("lock.release()", &[Release { lock: 0 }]),
        ],
    ],
    goals: &[
        goal(("Make B wait for A", "让 B 等 A"), Condition::Waits(1)),
        goal(("Make A wait for B", "让 A 等 B"), Condition::Waits(0)),
        goal(
            (
                "End with a balance other than `0`, or see that no order does",
                "让余额最后不是 `0`，或者看清没有这样的次序",
            ),
            Condition::EndsOtherThan("0"),
        ),
    ],
};

const DEADLOCK: Exploration = Exploration {
    name: "deadlock",
    title: (
        "Two locks, taken in opposite orders",
        "两把锁，拿的次序相反",
    ),
    lesson: (
        "In [14] has one lock. With two, each thread can hold one and want the other: A takes `lock1` first, B takes `lock2` first. If both took them in the same order, this could not happen.",
        "In [14] 只有一把锁。有了两把，就可能各拿一把、又都要对方那一把：A 先拿 `lock1`，B 先拿 `lock2`。如果两边次序相同，就不会这样。",
    ),
    variable: "balance",
    register: "x",
    locks: &["lock1", "lock2"],
    slots: 0,
    programs: [
        &[
            line("lock1.acquire()", &[Acquire { lock: 0 }]),
            line("lock2.acquire()", &[Acquire { lock: 1 }]),
            PLUS_5,
            line("lock2.release()", &[Release { lock: 1 }]),
            line("lock1.release()", &[Release { lock: 0 }]),
        ],
        &[
            line("lock2.acquire()", &[Acquire { lock: 1 }]),
            line("lock1.acquire()", &[Acquire { lock: 0 }]),
            PLUS_8,
            line("lock1.release()", &[Release { lock: 0 }]),
            line("lock2.release()", &[Release { lock: 1 }]),
        ],
    ],
    goals: &[
        goal(
            ("Make both threads wait for ever", "让两个线程永远等下去"),
            Condition::Ends("deadlock"),
        ),
        goal(
            ("Let both threads finish", "让两个线程都走完"),
            Condition::Ends("13"),
        ),
    ],
};

const QUEUE: Exploration = Exploration {
    name: "queue",
    title: (
        "The queue of In [10], without its lock",
        "In [10] 的队列，去掉它的锁",
    ),
    lesson: (
        "A puts 1 and 2 into a queue, B puts 3. Each put reads the tail, fills the slot there and moves the tail on. Python's queue holds a lock meanwhile; this one does not.",
        "A 往队列里放 1 和 2，B 放 3。每次放都是先读队尾，再填那一格，然后把队尾后移。Python 的队列这时拿着一把锁；这个队列没有锁。",
    ),
    variable: "tail",
    register: "at",
    locks: &[],
    slots: 3,
    programs: [
        &[
            line("q.put(1)", &[Load, Put { item: 1 }, Store { add: 1 }]),
            line("q.put(2)", &[Load, Put { item: 2 }, Store { add: 1 }]),
        ],
        &[line("q.put(3)", &[Load, Put { item: 3 }, Store { add: 1 }])],
    ],
    goals: &[
        goal(("Lose an item", "丢一个元素"), Condition::Loses(1)),
        goal(("Lose two items", "丢两个元素"), Condition::Loses(2)),
        goal(
            ("End with `[1, 3, 2]`", "让队列最后是 `[1, 3, 2]`"),
            Condition::Ends("[1, 3, 2]"),
        ),
    ],
};

const PLUS_5: Statement = line("balance = balance + 5", &[Load, Store { add: 5 }]);
const MINUS_5: Statement = line("balance = balance - 5", &[Load, Store { add: -5 }]);
const PLUS_8: Statement = line("balance = balance + 8", &[Load, Store { add: 8 }]);
const MINUS_8: Statement = line("balance = balance - 8", &[Load, Store { add: -8 }]);

const fn line(python: &'static str, actions: &'static [Action]) -> Statement {
    Statement { python, actions }
}

const fn goal(text: Said, when: Condition) -> Goal {
    Goal { text, when }
}
