"""sharing.py ADDRESS CASE: what programs do with what they have made, and with what others have."""

import gc
import sys

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


def main(address, case):
    manager = connect(address)
    globals()[case](manager)
    gc.collect()
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
