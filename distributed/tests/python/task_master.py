"""The notebook's master with connect() for start() and no shutdown(); address and count are given."""

import random
import sys
from multiprocessing.managers import BaseManager

count = int(sys.argv[2])


class QueueManager(BaseManager):
    pass


QueueManager.register("get_task_queue")
QueueManager.register("get_result_queue")
host, port = sys.argv[1].split(":")
manager = QueueManager(address=(host, int(port)), authkey=b"abc")
manager.connect()
task = manager.get_task_queue()
result = manager.get_result_queue()
for i in range(count):
    n = random.randint(0, 10000)
    print("Put task %d..." % n)
    task.put(n)
print("Try get results...")
for i in range(count):
    r = result.get(timeout=60)
    print("Result: %s" % r)
print("master exit.")
