"""python3 peer.py ROW: measures CPython's multiprocessing once and prints a number in the row's unit.

With an ADDRESS after a row of the manager, its server is the one that listens there; for the
server's own time the number is then that of the calls.
"""

import multiprocessing
import os
import queue
import sys
import threading
import time
from multiprocessing.managers import AcquirerProxy, BaseManager, DictProxy, Value, ValueProxy

LONG_ENOUGH = 0.2
WORKERS = 2
ELEMENTS = 1000
GIBIBYTE = 1 << 30


def per_second(run):
    """How many a second: `run(count)` does so many, and is given more until that takes long enough."""
    count = 64
    while True:
        start = time.perf_counter()
        run(count)
        took = time.perf_counter() - start
        if took >= LONG_ENOUGH:
            return count / took
        count *= 8 if took < LONG_ENOUGH / 8 else 2


def micros(run):
    return 1e6 / per_second(run)


def put(queue, count, item=None):
    for n in range(count):
        queue.put(n if item is None else item)


def get(queue, count):
    for _ in range(count):
        queue.get()


def echo(there, back, count):
    for _ in range(count):
        back.put(there.get())


def nothing():
    pass


def same(n):
    return n


def maps(pool, count):
    """The results of a map are the items of the next."""
    items = [bytes([n]) * (1 << 20) for n in range(64)]
    for _ in range(count // 64):
        items = pool.map(same, items)


def run_all(*processes):
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def start(target, *args):
    process = multiprocessing.Process(target=target, args=args)
    process.start()
    return process


def one_to_one(count, item=None):
    queue = multiprocessing.Queue()
    writer = start(put, queue, count, item)
    get(queue, count)
    writer.join()


def four_to_four(count):
    queue = multiprocessing.Queue()
    share = count // 4
    both = [multiprocessing.Process(target=target, args=(queue, share)) for target in (put, get) for _ in range(4)]
    run_all(*both)


def round_trips(count):
    there, back = multiprocessing.Queue(), multiprocessing.Queue()
    other = start(echo, there, back, count)
    for n in range(count):
        there.put(n)
        back.get()
    other.join()


def spawn(count):
    for _ in range(count):
        start(nothing).join()


class QueueManager(BaseManager):
    pass


served = queue.Queue()
QueueManager.register("get_queue", callable=lambda: served)

table, lock, value = {}, threading.Lock(), Value("i", 0)
QueueManager.register("get_dict", callable=lambda: table, proxytype=DictProxy)
QueueManager.register("get_lock", callable=lambda: lock, proxytype=AcquirerProxy)
QueueManager.register("get_value", callable=lambda: value, proxytype=ValueProxy)


def connect(address, name="get_queue"):
    manager = QueueManager(address=address, authkey=b"abc")
    manager.connect()
    return getattr(manager, name)()


def pairs(queue, count, item=7):
    for _ in range(count):
        queue.put(item)
        queue.get()


def dict_calls(table, count):
    for n in range(count):
        table[n % 64] = n
        table[n % 64]


def lock_calls(lock, count):
    """What a program does that counts behind a lock, all at the same one."""
    for _ in range(count):
        lock.acquire()
        lock.release()


def value_calls(value, count):
    for n in range(count):
        value.value = n
        value.value


# What four clients do with one object, each time round in two calls.
OBJECTS = {"dict": dict_calls, "lock": lock_calls, "value": value_calls}


def connected(address, ready, name, work, count):
    """A client that is timed only once it has its connection, which is slow and another row."""
    proxy = connect(address, name)
    str(proxy)
    ready.wait()
    work(proxy, count)


def clients(address, works, count, name="get_queue"):
    """Seconds that the clients take, each with one of the works, after all have connected."""
    ready = multiprocessing.Barrier(len(works) + 1)
    processes = [start(connected, address, ready, name, work, count) for work in works]
    ready.wait()
    begin = time.perf_counter()
    for process in processes:
        process.join()
    return time.perf_counter() - begin


def long_enough(address, works, name="get_queue"):
    """So many times each work is done, and the seconds that this takes."""
    count = 500
    while True:
        took = clients(address, works, count, name)
        if took >= LONG_ENOUGH:
            return count, took
        count *= 4


def first_calls(address, count):
    for _ in range(count):
        queue = connect(address)
        queue.qsize()
        # The next one is as new as a program's first.
        del queue._tls.connection


def processor_seconds(pid):
    with open("/proc/%d/stat" % pid) as stat:
        user, system = stat.read().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def measure_manager(row, address):
    if address is not None:
        return of_server(row, address, None)
    manager = QueueManager(address=("127.0.0.1", 0), authkey=b"abc")
    manager.start()
    try:
        return of_server(row, manager.address, manager._process.pid)
    finally:
        manager.shutdown()


def of_server(row, address, pid):
    if row == "manager/calls":
        count, took = long_enough(address, [pairs])
        return 2 * count / took
    if row == "manager/4clients":
        count, took = long_enough(address, 4 * [pairs])
        return 8 * count / took
    if row == "manager/items":
        count, took = long_enough(address, [put, get])
        return count / took
    if row == "manager/first-call":
        return micros(lambda count: first_calls(address, count))
    if row == "manager/20KB":
        queue = connect(address)
        queue.qsize()
        return micros(lambda count: pairs(queue, count, b"x" * 20000))
    kind = row.removeprefix("manager/").removesuffix("-cpu")
    name, work = "get_" + kind, OBJECTS.get(kind)
    if work and not row.endswith("-cpu"):
        count, took = long_enough(address, 4 * [work], name)
        return 8 * count / took
    if work or row == "manager/server-cpu":
        begin = processor_seconds(pid) if pid else 0
        clients(address, 4 * [work or pairs], 5000, name if work else "get_queue")
        return 1e6 * (processor_seconds(pid) - begin) / 40000 if pid else 40000
    raise SystemExit(f"error: there is no {row} of multiprocessing")


tasks, results = queue.Queue(), queue.Queue()
QueueManager.register("get_tasks", callable=lambda: tasks)
QueueManager.register("get_results", callable=lambda: results)


def work_off(address):
    manager = QueueManager(address=address, authkey=b"abc")
    manager.connect()
    tasks, results = manager.get_tasks(), manager.get_results()
    results.put(None)
    try:
        while True:
            n = tasks.get()
            results.put(n * n)
    except EOFError:
        pass


def measure_tasks(workers):
    """Tasks per second from end to end, with so many workers of BaseManager's queues."""
    count = 2000
    manager = QueueManager(address=("127.0.0.1", 0), authkey=b"abc")
    manager.start()
    processes = [start(work_off, manager.address) for _ in range(workers)]
    tasks, results = manager.get_tasks(), manager.get_results()
    for _ in processes:
        results.get()
    begin = time.perf_counter()
    for n in range(count):
        tasks.put(n)
    for _ in range(count):
        results.get()
    took = time.perf_counter() - begin
    for process in processes:
        process.kill()
    manager.shutdown()
    return count / took


def with_lock(lock, count):
    for _ in range(count):
        with lock:
            pass


def count_up(value, count):
    for _ in range(count):
        with value.get_lock():
            value.value += 1


def count_up_each(array, count):
    for n in range(count):
        with array.get_lock():
            array[n % ELEMENTS] += 1


def contended(count):
    value = multiprocessing.Value("Q", 0)
    run_all(*[multiprocessing.Process(target=count_up, args=(value, count // 4)) for _ in range(4)])


def answer(mine, other, count):
    for _ in range(count):
        mine.wait()
        mine.clear()
        other.set()


def events(count):
    there, back = multiprocessing.Event(), multiprocessing.Event()
    echo = start(answer, there, back, count)
    there.set()
    answer(back, there, count - 1)
    back.wait()
    echo.join()


def turns(value, changed, me, count):
    for _ in range(count):
        with changed:
            changed.wait_for(lambda: value.value % 2 == me)
            value.value += 1
            changed.notify()


def notifications(count):
    value, changed = multiprocessing.RawValue("Q", 0), multiprocessing.Condition()
    other = start(turns, value, changed, 1, count)
    turns(value, changed, 0, count)
    other.join()


def measure_sync(row):
    if row == "sync/lock":
        lock = multiprocessing.Lock()
        return per_second(lambda count: with_lock(lock, count))
    if row == "sync/lock-4p":
        return per_second(contended)
    if row == "sync/semaphore":
        semaphore = multiprocessing.Semaphore(1)
        return per_second(lambda count: with_lock(semaphore, count))
    if row == "sync/value":
        value = multiprocessing.Value("Q", 0)
        return per_second(lambda count: count_up(value, count))
    if row == "sync/array":
        array = multiprocessing.Array("Q", ELEMENTS)
        return per_second(lambda count: count_up_each(array, count))
    if row == "sync/event":
        return micros(events)
    return micros(notifications)


def measure(row, address):
    if row.startswith("distributed/"):
        return measure_tasks(int(row.rsplit("-", 1)[1].rstrip("w")))
    if row.startswith("manager/"):
        return measure_manager(row, address)
    if row.startswith("sync/"):
        return measure_sync(row)
    # One by one in both: there is no call for many.
    if row in ("queue/u64/1p1c", "queue/u64/batch64"):
        return per_second(one_to_one)
    if row.endswith("/one-core"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        row = row.removesuffix("/one-core")
    if row == "queue/u64/4p4c":
        return per_second(four_to_four)
    if row == "queue/roundtrip":
        return micros(round_trips)
    if row == "queue/1MiB":
        message = bytes([7]) * (1 << 20)
        return per_second(lambda count: one_to_one(count, message))
    if row == "process/spawn":
        return micros(spawn)
    if row == "process/spawn-1GiB":
        resident = bytearray(b"\1") * GIBIBYTE
        measured = micros(spawn)
        assert len(resident) == GIBIBYTE
        return measured
    with multiprocessing.Pool(WORKERS) as pool:
        if row == "pool/single":
            return per_second(lambda count: pool.map(same, range(count), chunksize=1))
        if row == "pool/roundtrip":
            return micros(lambda count: [pool.apply(same, (n,)) for n in range(count)])
        if row == "pool/map":
            return 200_000 * per_second(lambda count: [pool.map(same, range(200_000)) for _ in range(count)])
        if row == "pool/imap":
            imap = lambda: sum(1 for _ in pool.imap(same, range(200_000), chunksize=1000))
            return 200_000 * per_second(lambda count: [imap() for _ in range(count)])
        if row == "pool/map-1MiB":
            # Each item is a MiB.
            return per_second(lambda count: maps(pool, count))
    raise SystemExit(f"error: there is no {row} of multiprocessing")


if __name__ == "__main__":
    # What was the default when the others were measured against it, on every version.
    multiprocessing.set_start_method("fork")
    address = None
    if len(sys.argv) > 2:
        host, port = sys.argv[2].split(":")
        address = (host, int(port))
    print(measure(sys.argv[1], address))
