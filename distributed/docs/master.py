import queue
import sys
from multiprocessing.managers import BaseManager

task_queue = queue.Queue()
result_queue = queue.Queue()


def get_task_queue():
    return task_queue


def get_result_queue():
    return result_queue


class QueueManager(BaseManager):
    pass


QueueManager.register("get_task_queue", callable=get_task_queue)
QueueManager.register("get_result_queue", callable=get_result_queue)

if __name__ == "__main__":
    manager = QueueManager(address=("127.0.0.1", 0), authkey=b"abc")
    manager.start()
    print("%s:%d" % manager.address)
    sys.stdout.flush()
    tasks = manager.get_task_queue()
    results = manager.get_result_queue()
    for n in range(10):
        tasks.put(n)
    for _ in range(10):
        print("Result: %s" % results.get(timeout=60))
    manager.shutdown()
