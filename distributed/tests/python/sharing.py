"""sharing.py ADDRESS CASE: what programs do with what they have made, and with what others have."""

import gc
import multiprocessing
import sys
import time

from multiprocessing import managers
from multiprocessing.managers import RemoteError

from objects import Manager, connect, queue, raises


def fill(manager):
    """Takes all that objects may store, by a large value after the other and by many objects."""
    table, log = manager.dict(), manager.list()
    piece = "x" * (64 << 10)

    def store_all():
        for n in range(1000):
            table[n] = piece

    assert "--max-memory" in str(raises(MemoryError, store_all))
    assert 0 < len(table) < 1000
    raises(MemoryError, log.append, piece)
    raises(MemoryError, log.extend, [piece, piece])
    raises(MemoryError, table.update, {"a": piece})
    assert len(log) == 0 and "a" not in table
    table.clear()
    table["a"] = piece
    made = []

    def make_all():
        for n in range(5000):
            made.append(manager.Event())

    assert "MemoryError: no room for an object" in str(raises(RemoteError, make_all))
    assert 100 < len(made) < 5000 and not made[-1].is_set()
    # Who is there goes on, and queues have room of their own.
    del table["a"]
    table["b"] = 1
    jobs = manager.Queue()
    jobs.put(7)
    assert jobs.get() == 7


def options(manager):
    """Uses what these options name: `--factory jobs --factory last:LifoQueue --factory tables:dict
    --object slots:Semaphore:2 --object settings:dict --queue top:2:PriorityQueue`.
    """
    for name in ("jobs", "last", "top"):
        Manager.register(name)
    for name in ("tables", "settings"):
        Manager.register(name, proxytype=managers.DictProxy)
    Manager.register("slots", proxytype=managers.AcquirerProxy)
    for make, said in ((manager.jobs, [1, 2]), (manager.last, [2, 1])):
        one, other = make(2), make()
        one.put(1)
        one.put(2)
        raises(queue.Full, one.put, 3, False)
        assert [one.get(), one.get()] == said
        assert other.empty()
    table, other = manager.tables({"a": 1}), manager.tables()
    assert table.copy() == {"a": 1} and other.copy() == {}
    manager.settings()["depth"] = 3
    assert manager.settings()["depth"] == 3
    slots = manager.slots()
    assert slots.acquire() and slots.acquire() and not manager.slots().acquire(False)
    manager.top().put(2)
    manager.top().put(1)
    raises(queue.Full, manager.top().put, 3, False)
    assert [manager.top().get(), manager.top().get()] == [1, 2]


def send_proxies(manager):
    """Puts proxies into an item of the queue `tasks`, and keeps none."""
    Manager.register("tasks")
    results, table = manager.Queue(), manager.dict()
    table["nested"] = manager.list([1, 2])
    # One that only an item of a queue names that only an item names.
    inner = manager.Queue()
    inner.put("inner")
    results.put(inner)
    manager.tasks().put((7, results, table))


def use_proxies(manager):
    """Takes them, and uses them."""
    Manager.register("tasks")
    number, results, table = manager.tasks().get(timeout=60)
    inner = results.get()
    assert inner.get() == "inner"
    results.put(number * 6)
    assert results.get() == 42
    assert table["nested"][:] == [1, 2]
    nested = table["nested"]
    del table["nested"], table, results
    gc.collect()
    nested.append(3)
    assert nested[:] == [1, 2, 3]


def leave_proxies(manager):
    """Leaves proxies in an object with a name, and in copies of a list, and finds them there."""
    Manager.register("table", proxytype=managers.DictProxy)
    table, jobs = manager.table(), manager.Queue()
    jobs.put(34)
    table["jobs"] = [jobs]
    copies = manager.list([jobs])
    copies *= 2
    del jobs, copies[0]
    gc.collect()
    copies[0].put(35)
    assert [table["jobs"][0].get(), table["jobs"][0].get()] == [34, 35]
    table.clear()


def take(manager):
    """Takes an item, and keeps it until it is killed."""
    Manager.register("tasks")
    item = manager.tasks().get()
    print("taken")
    time.sleep(600)
    del item


def main(address, case):
    # A proxy that is unpickled takes its key from the process.
    multiprocessing.current_process().authkey = b"abc"

    manager = connect(address)
    globals()[case](manager)
    gc.collect()
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
