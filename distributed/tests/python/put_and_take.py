"""A worker that hands in a result and takes the next task in one call."""

import sys
from multiprocessing.managers import BaseManager

try:
    import queue
except ImportError:
    import Queue as queue


class QueueManager(BaseManager):
    pass


QueueManager.register("tasks")
host, port = sys.argv[1].split(":")
manager = QueueManager(address=(host, int(port)), authkey=b"abc")
manager.connect()
tasks = manager.tasks()
n = tasks.take()
try:
    while True:
        n = tasks.put_and_take(n * n, "results")
except queue.Empty:
    print("worker exit.")
