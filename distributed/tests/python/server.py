"""server.py: CPython's own server of two queues; prints its address, ends with its standard input."""

import sys
import threading
from multiprocessing.managers import BaseManager

try:
    import queue
except ImportError:
    import Queue as queue


class QueueManager(BaseManager):
    pass


tasks, results = queue.Queue(), queue.Queue(3)
QueueManager.register("get_task_queue", callable=lambda: tasks)
QueueManager.register("get_result_queue", callable=lambda: results)

def serve(manager):
    server = manager(address=("127.0.0.1", 0), authkey=b"abc").get_server()
    print("%s:%d" % server.address)
    sys.stdout.flush()
    thread = threading.Thread(target=server.serve_forever)
    thread.daemon = True
    thread.start()
    sys.stdin.read()


if __name__ == "__main__":
    serve(QueueManager)
