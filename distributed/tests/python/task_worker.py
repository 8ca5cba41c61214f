"""The worker that goes with the notebook's master."""

import sys
import time
from multiprocessing.managers import BaseManager

try:
    import queue
except ImportError:
    import Queue as queue


class QueueManager(BaseManager):
    pass


QueueManager.register("get_task_queue")
QueueManager.register("get_result_queue")
host, port = sys.argv[1].split(":")
seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0
manager = QueueManager(address=(host, int(port)), authkey=b"abc")
manager.connect()
task = manager.get_task_queue()
result = manager.get_result_queue()
while True:
    try:
        n = task.get(timeout=60)
    except (EOFError, EnvironmentError, queue.Empty):
        break
    if n is None:
        break
    print("run task %d * %d..." % (n, n))
    sys.stdout.flush()
    time.sleep(seconds)
    result.put("%d * %d = %d" % (n, n, n * n))
print("worker exit.")
