//! What `chaos` claims and counts, and what did not hold.

use common::command_line::Text;

pub(super) const CHAOS: [Text; 94] = [
    // What chaos claims.
    (
        "200 tasks, a worker killed every 100 ms: each accounted for once, the pool healthy",
        "200 个任务，每 100 毫秒杀一个工作进程：每个任务恰有一个交代，进程池健康",
    ),
    (
        "200 tasks with retries, a worker killed every 100 ms: all succeed",
        "200 个会重试的任务，每 100 毫秒杀一个工作进程：都成功",
    ),
    (
        "the supervisor killed: every handle resolves, no process is left",
        "杀死监督进程：每个句柄都有结果，不留一个进程",
    ),
    (
        "4 writers, 4 readers, killed and replaced: none torn, doubled or out of order",
        "4 个写者、4 个读者，杀死再补上：没有撕裂的、重复的、乱序的",
    ),
    (
        "the application killed: nothing of it runs 200 ms later, nothing is in /dev/shm",
        "杀死应用：200 毫秒之后它什么也不在运行，`/dev/shm` 里什么也没有",
    ),
    (
        "a day of a server, with 3000 workers replaced: it takes no more than in the morning",
        "服务器的一天，换过 3000 个工作进程：占用不比早上多",
    ),
    (
        "20 clients that fill, never read, vanish or send calls by the thousand, for 5 s, at a manager \
         that may store 256 MiB: under 400 MiB in memory, 99 of 100 honest calls under 50 ms, nothing \
         lost",
        "20 个客户端在 5 秒里塞满、不读、突然离开、成千地发调用，而 `manager` 最多存 256 MiB：内存不到 400 MiB，\
         诚实的调用 100 次里有 99 次不到 50 毫秒，什么也不丢",
    ),
    (
        "2000 tasks, 4 workers, one killed every 500 ms: one result each",
        "2000 个任务，4 个工作进程，每 500 毫秒杀一个：每个任务一个结果",
    ),
    (
        "2000 tasks at a server of NATS, 4 workers, one killed every 500 ms: one result each",
        "一台 NATS 服务器上的 2000 个任务，4 个工作进程，每 500 毫秒杀一个：每个任务一个结果",
    ),
    (
        "a worker killed or frozen: another has its task within the lease of 2 s and a second",
        "一个工作进程被杀死或冻住：2 秒租期再加 1 秒之内，任务归了另一个",
    ),
    (
        "the only server killed and started again three times: one result each",
        "唯一的服务器三次被杀死又启动：每个任务一个结果",
    ),
    (
        "each of three nodes killed and returned, one after the other: one result each",
        "三个节点先后被杀死又回来：每个任务一个结果",
    ),
    (
        "each of three nodes cut off for 20 s: one result each, and 15 s at most without one",
        "三个节点先后断网 20 秒：每个任务一个结果，没有结果的时间最多 15 秒",
    ),
    (
        "a worker at a round trip of 200 ms: 1000 tasks within 10 s",
        "往返 200 毫秒的工作进程：10 秒之内 1000 个任务",
    ),
    ("manager-hostile for 60 s", "`manager-hostile`，持续 60 秒"),
    (
        "partitions, each node cut off for 60 s",
        "`partitions`，每个节点断网 60 秒",
    ),
    (
        "networks of its own, which root may make on most machines",
        "自己的网络，多数机器上 root 可以建",
    ),
    // What it counts.
    ("processes", "进程"),
    ("processes left", "留下的进程"),
    ("ms until all were gone", "全部消失用的毫秒"),
    (
        "ms longest until the task of one {} is another's",
        "从{}到任务归另一个，最长的毫秒",
    ),
    ("killed", "被杀死"),
    ("frozen", "被冻住"),
    ("kills", "杀死"),
    ("tasks", "任务"),
    ("results", "结果"),
    ("ms longest without progress", "没有进展的最长毫秒"),
    (
        "ms longest until a node is current again",
        "节点重新跟上用的最长毫秒",
    ),
    ("ms from the first to the last", "从头到尾的毫秒"),
    ("workers replaced", "换过的工作进程"),
    ("items of 256 KiB offered", "放过的 256 KiB 的项"),
    ("replies never read", "没有读的回答"),
    ("leases left behind", "丢下的租约"),
    ("calls sent at once", "一起发出的调用"),
    ("honest calls", "诚实的调用"),
    (
        "ms for 99 of 100 honest calls",
        "诚实的调用 100 次里 99 次用的毫秒",
    ),
    ("MiB in memory at most", "内存最多的 MiB"),
    (
        "a client did nothing of its {}",
        "有一个客户端什么也没有做：{}",
    ),
    ("it had {} MiB in memory", "它占了 {} MiB 内存"),
    ("{} items too many", "多出 {} 项"),
    ("{} acknowledged items are lost", "丢了 {} 个已确认的项"),
    ("{} items were done twice", "{} 项做了两次"),
    (
        "1 of 100 honest calls took {} or longer",
        "诚实的调用 100 次里有 1 次用了 {} 或更久",
    ),
    ("MiB of its own", "自己的 MiB"),
    ("MiB shared", "共享的 MiB"),
    ("cuts", "断网"),
    ("ok", "成功"),
    ("reported", "报告了"),
    ("PoolBroken", "`PoolBroken`"),
    ("readers killed", "杀死的读者"),
    ("put", "放入"),
    ("got", "取出"),
    ("missing", "缺少"),
    // What did not hold.
    (
        "only {} of {} tasks started",
        "只有 {} 个任务开始了，该有 {} 个",
    ),
    (
        "{} processes run {} ms later",
        "还有 {} 个进程在运行，在 {} 毫秒之后",
    ),
    ("left in /dev/shm: {}", "留在 `/dev/shm` 里的：{}"),
    (
        "the task of one {} is another's after {}",
        "{}的那个，它的任务过了 {} 才归另一个",
    ),
    ("there were {} kills and not {}", "杀死了 {} 次，不是 {} 次"),
    ("{} of {} tasks were put", "放入了 {} 个任务，该有 {} 个"),
    ("{} tasks have no result", "{} 个任务没有结果"),
    (
        "{}: {} has {} items, and is led by {}",
        "{}：{} 有 {} 项，领头的是 {}",
    ),
    (
        "{}: of {} {} wait for {}, and {} are out; it is led by {}",
        "{}：在 {} 中 {} 项等着 {}，{} 项已取走；领头的是 {}",
    ),
    (
        "the node does not say where it tells of itself",
        "节点没说在哪里报告自己的情况",
    ),
    ("{} results too many", "多出 {} 个结果"),
    ("{} results are wrong", "{} 个结果不对"),
    ("it hangs: no end in time", "它停住了：没有按时结束"),
    ("it hangs: no end after {} s", "它停住了：{} 秒之后没有结束"),
    ("the program did not end well", "程序没有好好结束"),
    ("the application did not end well", "应用没有好好结束"),
    ("the day did not come to its end", "这一天没有走到头"),
    ("{} {} became {}", "从 {} {}变成了 {}"),
    ("bytes of memory", "字节内存"),
    ("descriptors", "描述符"),
    ("the queues keep {} bytes", "队列占着 {} 字节"),
    ("it took {} s", "用了 {} 秒"),
    (
        "{} of {} workers have ended",
        "结束了 {} 个工作进程，一共 {} 个",
    ),
    ("there were {} cuts and not {}", "断网 {} 次，不是 {} 次"),
    ("there was no result for {} s", "有 {} 秒没有结果"),
    (
        "{} of {} tasks accounted for",
        "{} 个任务有交代，该有 {} 个",
    ),
    ("{} results of {} tasks", "{} 个结果，来自 {} 个任务"),
    (
        "{} tasks were started more than once",
        "{} 个任务开始了不止一次",
    ),
    (
        "{} tasks failed in spite of retries",
        "{} 个任务重试了还是失败",
    ),
    ("the pool was not healthy afterwards", "之后进程池不健康"),
    (
        "{} tasks were neither done nor reported as killed",
        "{} 个任务既没做完，也没报告被杀死",
    ),
    (
        "{} tasks failed by {} kills: innocent ones were touched",
        "{} 个任务失败，只杀死了 {} 次：牵连了无辜的",
    ),
    ("the pool has no supervisor", "进程池没有监督进程"),
    ("{} handles resolved otherwise", "{} 个句柄是别的结果"),
    ("no handle said PoolBroken", "没有一个句柄说 `PoolBroken`"),
    ("{} processes are left", "留下 {} 个进程"),
    ("{} items were got twice", "{} 个元素取出了两次"),
    (
        "{} items came that nobody had put",
        "{} 个元素没人放入却取出了",
    ),
    ("{} items were torn", "{} 个元素撕裂了"),
    (
        "{} items overtook another of their writer",
        "{} 个元素超过了同一个写者的另一个",
    ),
    (
        "{} items are missing, and only {} readers were killed",
        "缺少 {} 个元素，只杀死了 {} 个读者",
    ),
];
