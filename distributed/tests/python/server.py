"""server.py [ADDRESS]: CPython's own server of two queues; prints its address, ends with its standard
input."""

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
    host, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:0").split(":")
    server = manager(address=(host, int(port)), authkey=b"abc").get_server()
    print("%s:%d" % server.address)
    sys.stdout.flush()
    thread = threading.Thread(target=server.serve_forever)
    thread.daemon = True
    thread.start()
    sys.stdin.read()


if __name__ == "__main__":
    serve(QueueManager)
