"""objects.py ADDRESS CASE: what a proxy of an object of SyncManager can be asked, and what it says.

With `own` in place of the address it asks CPython's own server, which must say the same.
"""

import array
import gc
import os
import signal
import sys
import threading
import time
import multiprocessing
from multiprocessing import managers
from multiprocessing.connection import Client
from multiprocessing.managers import SyncManager, RemoteError

PYTHON_2 = sys.version_info[0] == 2


try:
    import queue
except ImportError:
    import Queue as queue


class Manager(SyncManager):
    pass


for name in ("LifoQueue", "PriorityQueue", "SimpleQueue"):
    Manager.register(name, getattr(queue, name, queue.Queue))


def connect(address):
    if address == "own":
        manager = Manager(authkey=b"abc")
        manager.start()
        return manager
    if address[0] in "/@":
        address = address.replace("@", "\0")
    else:
        host, port = address.split(":")
        address = (host, int(port))
    manager = Manager(address=address, authkey=b"abc")
    manager.connect()
    return manager


def raises(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error as raised:
        return raised
    raise AssertionError("%s is not raised" % error)


class Point(object):
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return self.x == other.x

    __hash__ = None


def dicts(manager, is_ours):
    d = manager.dict({"a": 1, 2: "two"}, named=[3])
    assert (len(d), d["a"], d[2], d["named"]) == (3, 1, "two", [3])
    assert d[2.0] == "two" and 2 in d and "b" not in d
    assert raises(KeyError, lambda: d["b"]).args == ("b",)
    assert raises(KeyError, d.__delitem__, (1, "x")).args == ((1, "x"),)
    assert raises(KeyError, d.pop, 9).args == (9,)
    raises(TypeError, lambda: d[[]])
    d["a"] += 41
    d[True] = b"\0\xff"
    d[None] = (1, [2, {"x": None}])
    d[2.5] = 2 ** 100
    assert d.get("a") == 42 and d.get("b") is None and d.get("b", 7) == 7
    assert d[1] == b"\0\xff" and d[None] == (1, [2, {"x": None}])
    assert d.setdefault("a", 0) == 42 and d.setdefault("new", 5) == 5 and d["new"] == 5
    assert d.pop("new") == 5 and d.pop("new", None) is None
    d.update({"a": 1})
    d.update([("b", 2), ((1, 2), 3)], c=4)
    assert (d["a"], d["b"], d[1, 2], d["c"]) == (1, 2, 3, 4)
    copy = d.copy()
    assert isinstance(copy, dict) and copy == d._getvalue() and copy["c"] == 4
    assert sorted(map(str, d.keys())) == sorted(map(str, copy))
    assert len(d.values()) == len(d) and dict(d.items()) == copy
    if is_ours or sys.version_info >= (3, 7):
        assert d.popitem() == ("c", 4)
    else:
        d.popitem()
        d["a"] = 1
    del d["a"]
    raises(KeyError, lambda: d["a"])
    d.clear()
    assert len(d) == 0
    raises(KeyError, d.popitem)
    big = manager.dict()
    for n in range(50):
        big[n] = n
    if not PYTHON_2:
        assert list(big) == list(range(50))
    if PYTHON_2 or hasattr(big, "__iter__"):
        assert sorted(iter(big)) == list(range(50))
    assert str(manager.dict({"a": [1, "x"]})) == "{'a': [1, 'x']}" or PYTHON_2
    assert "KeyError" in str(raises(RemoteError, d._callmethod, "frob"))
    if is_ours:
        raises(TypeError, d.__setitem__, Point(1), 1)
    # A value may be anything, and is not read.
    d["point"] = Point(3)
    assert d["point"].x == 3
    again = d
    d = manager.dict(again.copy())
    assert d["point"].x == 3


def lists(manager, is_ours):
    l = manager.list(range(5))
    assert len(l) == 5 and l[0] == 0 and l[-1] == 4 and l[1:3] == [1, 2]
    assert l[::-2] == [4, 2, 0] and list(l) == [0, 1, 2, 3, 4]
    raises(IndexError, lambda: l[5])
    raises(IndexError, lambda: l[-6])
    if not PYTHON_2:
        raises(IndexError, lambda: l[10 ** 30])
        raises(IndexError, lambda: l[-10 ** 30])
    l.append("x")
    l.extend([None, 2.0])
    l += (7,)
    l.insert(0, "first")
    l.insert(-1, "before last")
    assert l[:] == ["first", 0, 1, 2, 3, 4, "x", None, 2.0, "before last", 7]
    assert 2.0 in l and "y" not in l and l.count(2) == 2 and l.index(2) == 3
    assert l.index(2, 4) == 8
    raises(ValueError, l.index, 2, 4, 8)
    assert "list.remove(x): x not in list" in str(raises(ValueError, l.remove, 99))
    l.remove(None)
    assert l.pop() == 7 and l.pop(0) == "first"
    raises(IndexError, l.pop, 99)
    l[0] = "zero"
    l[1:3] = ["a", "b", "c"]
    assert l[:5] == ["zero", "a", "b", "c", 3]
    l[::2] = [0] * len(l[::2])
    raises(ValueError, l.__setitem__, slice(None, None, 2), [1])
    assert l[0] == 0 and l[1] == "a"
    del l[0]
    del l[1:]
    assert l[:] == ["a"]
    raises(IndexError, l.__delitem__, 5)
    assert l + ["b"] == ["a", "b"] and l * 3 == 3 * l == ["a"] * 3
    l *= 2
    assert l[:] == ["a", "a"]
    l = manager.list([3, 1.5, True, -2])
    l.sort()
    assert l[:] == [-2, 1, 1.5, 3]
    l.sort(reverse=True)
    assert l[:] == [3, 1.5, 1, -2]
    l.reverse()
    assert l[:] == [-2, 1, 1.5, 3]
    if is_ours or not PYTHON_2:
        assert list(reversed(l)) == [3, 1.5, 1, -2]
    assert str(l) == "[-2, True, 1.5, 3]"
    assert manager.list("abc")[:] == ["a", "b", "c"]
    assert manager.list()[:] == [] and manager.list({1, 2})[:] in ([1, 2], [2, 1])
    raises(IndexError, manager.list().pop)
    if not PYTHON_2:
        raises(TypeError, manager.list([1, "a"]).sort)
    points = manager.list([Point(1)])
    assert points[0].x == 1
    if is_ours:
        assert "cannot read" in str(raises(TypeError, points.index, Point(1)))
        raises(TypeError, l.sort, key=len)
        # A type that the server cannot make is an error of the call that makes it.
        raises(RemoteError, manager.list, Point(1))
    assert l._getvalue() == [-2, 1, 1.5, 3]


def long_texts(count):
    return [str(n).rjust(1000, "x") for n in range(count)]


def long_answers(manager, is_ours):
    texts = long_texts(3000)
    l = manager.list(texts)
    assert l[:] == texts and (l * 2)[3000:] == texts
    d = manager.dict(dict(enumerate(texts)))
    assert d.copy() == dict(enumerate(texts)) and sorted(d.values()) == sorted(texts)
    assert manager.list(["x" * 2000000])[:] == ["x" * 2000000]
    assert len(manager.list([0]) * 1000000) == 1000000
    # A row that all have in common: a short request, and much to store.
    row = [0.5] * 1000
    assert manager.list([row] * 1000)[-1] == row


def too_long_answers(manager, is_ours):
    """Of a server whose messages have 16 MiB at most, and which has 64 MiB."""
    # More than the kernel keeps of an answer that nobody reads.
    l = manager.list(long_texts(12000))
    for times in (2, 10 ** 12):
        try:
            l * times
            assert False, times
        except ValueError as error:
            assert "over the limit of 16777216 for a message" in str(error), error
    assert len(l[:]) == 12000
    # Whoever does not read an answer holds its memory, and no more than there is for objects.
    unread = []
    while True:
        try:
            l[:]
        except MemoryError as error:
            assert "max_memory" in str(error), error
            break
        connection = Client(l._token.address, authkey=b"abc")
        connection.send((None, "accept_connection", ("unread",), {}))
        connection.recv()
        connection.send((l._id, "copy", (), {}))
        unread.append(connection)
        assert len(unread) < 100
    for connection in unread:
        connection.close()
    while True:
        try:
            assert len(l[:]) == 12000
            return
        except MemoryError:
            time.sleep(0.01)


def values(manager, is_ours):
    n = manager.Namespace(x=1, y="two")
    assert n.x == 1 and n.y == "two"
    n.z = [3]
    n.x += 1
    assert n.x == 2 and n.z == [3]
    del n.y
    assert "no attribute 'y'" in str(raises(AttributeError, lambda: n.y))
    raises(AttributeError, n.__delattr__, "y")
    assert "x=2" in str(n) and n._getvalue().z == [3]

    v = manager.Value("i", 7)
    assert v.value == 7 and v.get() == 7
    v.value += 1
    v.set(v.get() * 2)
    assert v.value == 16 and str(v) in ("Value('i', 16)", "Value(i, 16)")
    v.value = Point(1)
    assert v.value.x == 1

    a = manager.Array("i", range(5))
    assert len(a) == 5 and a[0] == 0 and a[-1] == 4
    a[1] = -7
    assert a[1:3] == array.array("i", [-7, 2]) and a[1] == -7
    a[0:2] = array.array("i", [8, 9])
    assert list(a[:]) == [8, 9, 2, 3, 4] and list(a) == [8, 9, 2, 3, 4]
    raises(IndexError, lambda: a[5])
    raises(IndexError, a.__setitem__, 5, 1)
    raises(TypeError, a.__setitem__, 0, "x")
    raises(TypeError, a.__setitem__, 0, None)
    raises(OverflowError, a.__setitem__, 0, 2 ** 31)
    assert a._getvalue() == array.array("i", [8, 9, 2, 3, 4])
    assert str(a) == "array('i', [8, 9, 2, 3, 4])"
    d = manager.Array("d", array.array("d", [0.5, -1.0]))
    assert list(d) == [0.5, -1.0]
    d[0] = 3
    assert d[0] == 3.0 and isinstance(d[0], float)
    f = manager.Array("f", [0.1])
    assert f[0] == array.array("f", [0.1])[0]


def in_thread(act, *args):
    """Begins `act` in a thread, which has a connection of its own. A function that waits for it."""
    said = []

    def run():
        try:
            said.append(act(*args))
        except Exception as error:
            said.append(error)

    thread = threading.Thread(target=run)
    thread.daemon = True
    thread.start()

    def wait():
        thread.join(60)
        return said[0]

    return wait


def locks(manager, is_ours):
    for lock in (manager.Lock(), manager.RLock(), manager.Semaphore(), manager.Semaphore(1)):
        with lock:
            assert in_thread(lock.acquire, False)() is False
            if not PYTHON_2:
                assert in_thread(lock.acquire, True, 0.01)() is False
                assert in_thread(lock.acquire, True, 0)() is False
            waiting = in_thread(lambda: (lock.acquire(), lock.release()))
        assert waiting()[0] is True
        assert lock.acquire() is True and lock.release() is None
    if not PYTHON_2:
        lock = manager.Lock()
        assert lock.acquire(timeout=1) and not lock.acquire(timeout=0.01)
        raises(ValueError, lock.acquire, True, -2)
        raises(ValueError, lock.acquire, False, 1)
        # Another thread may release it.
        assert in_thread(lock.release)() is None
        raises(RuntimeError, lock.release)

    lock = manager.RLock()
    assert lock.acquire() and lock.acquire()
    raises(RuntimeError, lambda: raises_again(in_thread(lock.release)()))
    lock.release()
    assert not in_thread(lock.acquire, False)()
    lock.release()
    raises(RuntimeError, lock.release)
    assert in_thread(lambda: (lock.acquire(False), lock.release()))()[0]

    slots = manager.Semaphore(2)
    assert slots.acquire() and slots.acquire() and not slots.acquire(False)
    for _ in range(3):
        slots.release()
    assert slots.acquire() and slots.acquire() and slots.acquire() and not slots.acquire(False)
    bounded = manager.BoundedSemaphore(1)
    assert bounded.acquire() and bounded.release() is None
    raises(ValueError, bounded.release)
    raises(RemoteError, manager.Semaphore, -1)


def raises_again(said):
    if isinstance(said, Exception):
        raise said
    return said


def events(manager, is_ours):
    event = manager.Event()
    assert not event.is_set() and not event.wait(0.01) and not event.wait(0)
    waiting = [in_thread(event.wait), in_thread(event.wait, 60)]
    event.set()
    assert event.is_set() and event.wait() and event.wait(-1)
    assert [wait() for wait in waiting] == [True, True]
    event.clear()
    assert not event.is_set()


def conditions(manager, is_ours):
    condition = manager.Condition()
    raises(RuntimeError, condition.wait)
    raises(RuntimeError, condition.notify)
    raises(RuntimeError, condition.notify_all)
    raises(RuntimeError, condition.release)
    ready = manager.list()

    def consume():
        with condition:
            ready.append(1)
            if PYTHON_2:
                condition.wait(60)
                return True
            return condition.wait(60)

    def until(count):
        while True:
            with condition:
                if len(ready) == count:
                    return

    waiting = [in_thread(consume), in_thread(consume), in_thread(consume)]
    until(3)
    with condition:
        # What waits has let the lock go, also where it had it twice.
        with condition:
            condition.notify()
            if not PYTHON_2:
                assert condition.wait(0.01) is False
        condition.notify_all()
    assert [wait() for wait in waiting] == [True] * 3
    if not PYTHON_2:
        done = manager.Value("i", 0)
        with condition:
            assert condition.wait_for(lambda: done.value == 1, timeout=0.01) is False
            waiting = in_thread(lambda: with_notice(condition, done))
            assert condition.wait_for(lambda: done.value == 1, timeout=60)
        waiting()


def with_notice(condition, done):
    with condition:
        done.value = 1
        condition.notify_all()


def barriers(manager, is_ours):
    if PYTHON_2:
        return
    broken = threading.BrokenBarrierError
    barrier = manager.Barrier(3)
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)
    for _ in range(3):
        waiting = [in_thread(barrier.wait), in_thread(barrier.wait, 60)]
        said = [barrier.wait()] + [wait() for wait in waiting]
        assert sorted(said) == [0, 1, 2]
    waiting = in_thread(barrier.wait)
    raises(broken, barrier.wait, 0.01)
    assert isinstance(waiting(), broken) and barrier.broken
    raises(broken, barrier.wait)
    barrier.reset()
    assert not barrier.broken
    waiting = in_thread(barrier.wait)
    while barrier.n_waiting < 1:
        pass
    barrier.abort()
    assert isinstance(waiting(), broken) and barrier.broken
    barrier.reset()
    waiting = in_thread(barrier.wait)
    while barrier.n_waiting < 1:
        pass
    barrier.reset()
    assert isinstance(waiting(), broken) and not barrier.broken
    raises(broken, manager.Barrier(2, timeout=0.01).wait)
    assert manager.Barrier(1).wait() == 0
    if is_ours:
        raises(RemoteError, manager.Barrier, 2, sorted)


def queues(manager, is_ours):
    last = manager.LifoQueue(3)
    for item in (1, [2], "three"):
        last.put(item)
    assert last.full() and last.qsize() == 3
    raises(queue.Full, last.put, 4, False)
    assert [last.get(), last.get(), last.get(timeout=1)] == ["three", [2], 1]
    raises(queue.Empty, last.get_nowait)
    waiting = in_thread(last.join)
    for _ in range(3):
        last.task_done()
    waiting()

    least = manager.PriorityQueue()
    for item in (3, 1, 2.5, True, -(2 ** 70), 0):
        least.put(item)
    assert [least.get() for _ in range(6)] == [-(2 ** 70), 0, 1, True, 2.5, 3]
    for item in ((2, "b"), (1, "z"), (2, "a"), (1, None)):
        least.put(item)
        assert least.qsize() > 0
        if item[1] is None:
            break
        if item[1] == "a":
            assert [least.get() for _ in range(3)] == [(1, "z"), (2, "a"), (2, "b")]
    assert least.get() == (1, None)
    # Only as much is compared as decides.
    least.put((2, Point(2)))
    least.put((1, Point(1)))
    assert [least.get()[1].x, least.get()[1].x] == [1, 2]
    if not PYTHON_2:
        least.put(1)
        raises(TypeError, least.put, "a")

    simple = manager.SimpleQueue()
    simple.put(1)
    simple.put(2)
    assert (simple.get(), simple.get(), simple.empty()) == (1, 2, True)
    joinable = manager.JoinableQueue()
    joinable.put(1)
    waiting = in_thread(joinable.join)
    assert joinable.get() == 1
    joinable.task_done()
    waiting()
    raises(ValueError, joinable.task_done)


def shared_lock(manager, is_ours):
    """A lock and a condition of it; of ours only, where the lock keeps its holder."""
    lock = manager.Lock()
    condition = manager.Condition(lock)
    with lock:
        assert not in_thread(condition.acquire, False)()
        condition.notify()
    with condition:
        assert not in_thread(lock.acquire, False)()
    raises(RemoteError, manager.Condition, manager.Event())


def named(manager, is_ours):
    """Two proxies of one object, and one that goes away while the other holds the lock."""
    Manager.register("lock", proxytype=managers.AcquirerProxy)
    Manager.register("table", proxytype=managers.DictProxy)
    manager.table()["x"] = 1
    assert manager.table()["x"] == 1
    lock, other = manager.lock(), manager.lock()
    assert lock.acquire()
    del other
    gc.collect()
    assert not in_thread(manager.lock().acquire, False)()
    lock.release()


def hold(manager, is_ours):
    """Acquires what is called `lock`, says so, and keeps it until it is killed."""
    Manager.register("lock", proxytype=managers.AcquirerProxy)
    lock = manager.lock()
    lock.acquire()
    print("held")
    time.sleep(600)


def meet(manager, is_ours):
    """Waits at what is called `gate`, and says what became of it."""
    Manager.register("gate", proxytype=managers.BarrierProxy)
    gate = manager.gate()
    print("here")
    try:
        gate.wait()
    except threading.BrokenBarrierError as error:
        print("broken: %s" % error)
        sys.stdout.flush()
        os._exit(0)


def wait_for_notice(manager, is_ours):
    """Waits in what is called `condition`, and says what it was told."""
    Manager.register("condition", proxytype=managers.ConditionProxy)
    condition = manager.condition()
    with condition:
        print("waits")
        condition.wait()
        print("notified")


def watch(manager, is_ours):
    """Returns when what the server says of an object has a text in it."""
    name, text = sys.argv[3:]
    Manager.register(name, proxytype=managers.EventProxy)
    proxy = getattr(manager, name)()
    while text not in str(proxy):
        time.sleep(0.001)


def notify(manager, is_ours):
    """Notifies one that waits in what is called `condition`."""
    Manager.register("condition", proxytype=managers.ConditionProxy)
    condition = manager.condition()
    with condition:
        condition.notify()


def main(address, case):
    manager = connect(address)
    globals()[case](manager, address != "own")
    gc.collect()
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
