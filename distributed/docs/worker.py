import sys
from multiprocessing.managers import BaseManager


class QueueManager(BaseManager):
    pass


QueueManager.register("get_task_queue")
QueueManager.register("get_result_queue")

host, port = sys.argv[1].split(":")
manager = QueueManager(address=(host, int(port)), authkey=b"abc")
manager.connect()
tasks = manager.get_task_queue()
results = manager.get_result_queue()
while True:
    n = tasks.get()
    if n is None:
        break
    results.put("%d * %d = %d" % (n, n, n * n))
