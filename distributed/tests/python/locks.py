"""locks.py ADDRESS CASE: what a lock says when a holder has died with it."""

import sys
import time
from multiprocessing import managers

from objects import Manager, connect, in_thread

Manager.register("lock", proxytype=managers.AcquirerProxy)
Manager.register("condition", proxytype=managers.ConditionProxy)


def mend(manager):
    """Waits for what is called `lock`, and says who died with it."""
    lock = manager.lock()
    assert lock.acquire() is True
    print(lock._callmethod("owner_died"))
    lock.release()
    # It has mended nothing yet, so the next one hears of it too.
    assert in_thread(lambda: (lock.acquire(), lock._callmethod("owner_died"), lock.release()))()[1]
    with lock:
        assert lock._callmethod("clear_owner_died") is None
        assert lock._callmethod("owner_died") is None
    with lock:
        assert lock._callmethod("owner_died") is None
    # A proxy that builds itself from what the server says has the methods.
    token = manager._create("lock")[0]
    auto = managers.AutoProxy(token, "pickle", manager=manager, authkey=b"abc")
    assert auto.acquire() and auto.owner_died() is None and auto.release() is None


def hold_condition(manager):
    condition = manager.condition()
    condition.acquire()
    print("held")
    time.sleep(600)


def mend_condition(manager):
    condition = manager.condition()
    with condition:
        assert condition._callmethod("owner_died").startswith("MainProcess at 127.0.0.1:")
        condition._callmethod("clear_owner_died")
        assert condition._callmethod("owner_died") is None


if __name__ == "__main__":
    globals()[sys.argv[2]](connect(sys.argv[1]))
    print("ok")
