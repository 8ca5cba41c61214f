"""interrupt.py ADDRESS: Ctrl-C in get, twice, and what the proxy is told after each."""

import signal
import sys
from multiprocessing.managers import BaseManager

signal.signal(signal.SIGINT, signal.default_int_handler)
host, port = sys.argv[1].split(":")
BaseManager.register("tasks")
manager = BaseManager(address=(host, int(port)), authkey=b"abc")
manager.connect()
tasks = manager.tasks()


def interrupted():
    try:
        tasks.get()
    except KeyboardInterrupt:
        print("interrupted")


interrupted()
# Each call gets its own answer.
print("%d %s" % (tasks.qsize(), tasks.empty()))
tasks.put(7)
print("%d %d" % (tasks.get(), tasks.qsize()))
interrupted()
# Until the test has put an item, which goes to the call that was given up.
sys.stdin.readline()
del tasks._tls.connection
print(tasks.get(True, 60))
