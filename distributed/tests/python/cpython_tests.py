"""cpython_tests.py ADDRESS: CPython's own tests of what a SyncManager serves, run on the server there.

The tests are those of the installed Python. Nothing of them is changed but the manager that they
ask. Without ADDRESS it says whether this Python has them.
"""

import multiprocessing
import sys
import unittest
from multiprocessing.managers import SyncManager
from test import _test_multiprocessing as tests

# The classes of tests that ask a manager for its objects.
SERVED = (
    "Queue", "Lock", "Semaphore", "Condition", "Event", "Barrier", "Value", "Array", "Containers",
    "ManagerRestart",
)
# What the server does not do, and why: these must fail, so that an entry that is over is noticed.
EXCEPTIONS = {
    "Barrier.test_action": "the action of a barrier is code, and the server runs none",
    "Containers.test_dict_iter": "an iterator goes through the keys that were there, and never raises",
}


class ServedManager(SyncManager):
    def join(self, timeout=None):
        pass

    def shutdown(self):
        pass


def main(address):
    host, port = address.split(":")
    multiprocessing.current_process().authkey = b"abc"

    def manager():
        manager = ServedManager(address=(host, int(port)), authkey=b"abc")
        manager.connect()
        return manager

    multiprocessing.Manager = manager
    multiprocessing.set_start_method("fork", force=True)
    suite = unittest.TestSuite()
    for name in SERVED:
        base = getattr(tests, "_Test" + name, None)
        if base is None or "manager" not in base.ALLOWED_TYPES:
            continue
        case = type(name, (base, tests.ManagerMixin, unittest.TestCase), {"__module__": __name__})
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    failed = {test.id().split(".", 1)[1] for test, _ in result.failures + result.errors}
    print("%d run, %d skipped, failed: %s" % (
        result.testsRun, len(result.skipped), sorted(failed)))
    assert result.testsRun > 30, "the tests are elsewhere in this Python"
    assert failed == set(EXCEPTIONS), sorted(failed ^ set(EXCEPTIONS))
    print("ok")


if len(sys.argv) > 1:
    main(sys.argv[1])

