"""made.py ADDRESS: makes ten queues, and uses them until its input ends and once more."""

import sys
from multiprocessing.managers import BaseManager

host, port = sys.argv[1].split(":")
BaseManager.register("Queue")
manager = BaseManager(address=(host, int(port)), authkey=b"abc")
manager.connect()
queues = []
for n in range(10):
    queues.append(manager.Queue())
    queues[n].put(n)
print("%d made" % len(queues))
sys.stdin.readline()
assert [queue.get() for queue in queues] == list(range(10))
print("%d in use" % len(queues))
