"""restart.py ADDRESS: what a client sees of a server that is killed, and the line that mends it."""

import sys
from multiprocessing.managers import BaseManager


class QueueManager(BaseManager):
    pass


QueueManager.register("get_result_queue")
host, port = sys.argv[1].split(":")
manager = QueueManager(address=(host, int(port)), authkey=b"abc")
manager.connect()
results = manager.get_result_queue()
results.qsize()
print("connected")
sys.stdout.flush()
sys.stdin.read()
for _ in range(2):
    try:
        results.qsize()
        raise AssertionError("the server of this connection is dead")
    except (EOFError, EnvironmentError):
        pass
del results._tls.connection
assert results.qsize() == 0
print("goes on")
