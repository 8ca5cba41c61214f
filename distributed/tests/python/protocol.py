"""protocol.py ADDRESS: all that a proxy of a queue can be asked, and what it must say."""

import gc
import sys
import threading
import multiprocessing
from decimal import Decimal
from fractions import Fraction
from multiprocessing.managers import BaseManager, RemoteError

try:
    import queue
except ImportError:
    import Queue as queue


class QueueManager(BaseManager):
    pass


for name in ["get_task_queue", "get_result_queue", "Queue", "JoinableQueue", "nothing"]:
    QueueManager.register(name)


def raises(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error as raised:
        return raised
    raise AssertionError("%s is not raised" % error)


def child(q, results):
    results.put(q.get(timeout=60) + 1)


def main(address):
    host, port = address.split(":")
    connect = lambda key: QueueManager(address=(host, int(port)), authkey=key)
    manager = connect(b"abc")
    manager.connect()
    raises(multiprocessing.AuthenticationError, connect(b"abd").connect)

    q = manager.get_task_queue()
    assert (q.qsize(), q.empty(), q.full()) == (0, True, False)
    raises(queue.Empty, q.get, timeout=0.01)
    raises(queue.Empty, q.get, True, 0.01)
    raises(queue.Empty, q.get, False)
    raises(queue.Empty, q.get_nowait)
    raises(queue.Empty, q.get_many, 5, timeout=0)
    assert "non-negative" in str(raises(ValueError, q.get, timeout=-1))
    q.put(1, timeout=-1)
    assert q.get() == 1
    assert "item" in str(raises(TypeError, q.put))
    raises(TypeError, q.put, 1, 2, 3, 4)
    raises(TypeError, q.put, 1, colour=2)
    raises(TypeError, q.get, timeout="soon")
    raises(queue.Empty, q.get, timeout=Fraction(1, 100))
    raises(ValueError, q.get, timeout=Fraction(-1, 100))
    raises(TypeError, q.get, timeout=Decimal("0.01"))
    raises(ValueError, q.get_many, 0)
    q.task_done()
    assert str(raises(ValueError, q.task_done)) == "task_done() called too many times"
    q.join()
    assert "KeyError" in str(raises(RemoteError, q._callmethod, "mutex"))
    raises(RemoteError, q._getvalue)
    assert "get_task_queue" in str(q) and "get_task_queue" in repr(q)
    assert "nothing" in str(raises(RemoteError, manager.nothing))

    for make in (manager.Queue, manager.JoinableQueue):
        small = make(maxsize=3)
        other = make()
        for n in range(3):
            small.put(n)
        assert small.full() and not other.full() and other.empty()
        raises(queue.Full, small.put, 3, timeout=0.01)
        raises(queue.Full, small.put_nowait, 3)
        raises(queue.Full, small.put, 3, False)
        raises(ValueError, small.put, 3, timeout=-1)
        raises(ValueError, small.put_many, range(4) if sys.version_info[0] == 2 else [0, 1, 2, 3])
        assert small.get_many(9) == [0, 1, 2]
        made = small._id
        assert made in debug_info(manager)
        del small, other
    # An exception and the frames that it went through, with the proxy in them, refer to each other.
    gc.collect()
    assert made not in debug_info(manager) or sys.version_info[0] == 2

    # A wait that another client ends: one per kind.
    small = manager.Queue(1)
    small.put(1)
    wait = [threading.Thread(target=small.put, args=(2,)), threading.Thread(target=small.join)]
    for thread in wait:
        thread.start()
    assert [small.get(), small.get()] == [1, 2]
    small.task_done()
    small.task_done()
    for thread in wait:
        thread.join()

    lease, item = (q.put(7), q.lease())[1]
    assert item == 7 and q.empty()
    q.release(lease)
    assert "over" in str(raises(ValueError, q.ack, lease))
    lease, item = q.lease(timeout=5, expires=60)
    q.ack(lease)
    assert q.empty()

    results = manager.get_result_queue()
    contexts = [multiprocessing]
    if sys.version_info[0] > 2:
        contexts = [multiprocessing.get_context(how) for how in ("fork", "spawn")]
    # A proxy that a child unpickles takes its key from the process.
    multiprocessing.current_process().authkey = b"abc"
    for context in contexts:
        process = context.Process(target=child, args=(q, results))
        process.start()
        q.put(41)
        assert results.get(timeout=60) == 42
        process.join()
        assert process.exitcode == 0
    print("ok")


def debug_info(manager):
    return manager._debug_info()


if __name__ == "__main__":
    main(sys.argv[1])
