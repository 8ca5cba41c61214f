"""fail.py ADDRESS: a worker that takes two tasks and fails at each."""

import sys
from multiprocessing.managers import BaseManager

host, port = sys.argv[1].split(":")
BaseManager.register("tasks")
manager = BaseManager(address=(host, int(port)), authkey=b"abc")
manager.connect()
tasks = manager.tasks()
first = tasks.take()
tasks.fail("no database")
try:
    tasks.fail("twice")
except ValueError as error:
    twice = type(error).__name__
lease, second = tasks.lease()
tasks.fail("no disk", lease)
print("%s %s %s" % (first, twice, second))
