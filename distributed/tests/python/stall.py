"""stall.py ADDRESS N: N first calls on new connections, N items of 20 KB; milliseconds for each."""

import sys
import time
from multiprocessing.managers import BaseManager

clock = getattr(time, "perf_counter", time.time)


class QueueManager(BaseManager):
    pass


QueueManager.register("get_task_queue")
host, port = sys.argv[1].split(":")
count = int(sys.argv[2])
start = clock()
for _ in range(count):
    manager = QueueManager(address=(host, int(port)), authkey=b"abc")
    manager.connect()
    queue = manager.get_task_queue()
    queue.qsize()
    del queue._tls.connection
first = 1000 * (clock() - start) / count
start = clock()
for _ in range(count):
    queue.put(b"x" * 20000)
    queue.get()
print("first call %.2f ms, 20 KB there and back %.2f ms" % (first, 1000 * (clock() - start) / count))
