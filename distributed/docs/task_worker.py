"""A worker of tasks by name: python3 task_worker.py HOST:PORT QUEUE, with the key b"abc"."""
import os
import socket
import sys
import traceback
from multiprocessing.managers import BaseManager


def add(a, b):
    return a + b


def shout(text, times=1):
    return text.upper() + "!" * times


functions = {"add": add, "shout": shout}
address, name = sys.argv[1:]
host, port = address.split(":")
BaseManager.register(name)
manager = BaseManager(address=(host, int(port)), authkey=b"abc")
manager.connect()
tasks = getattr(manager, name)()
me = "%s/%d" % (socket.gethostname(), os.getpid())
while True:
    task = tasks.take_task(me)
    try:
        args, function = task["call"]["args"], functions[task["call"]["task"]]
        result = function(**args) if isinstance(args, dict) else function(*args)
        tasks.finish(task["lease"], result)
    except Exception:  # Of the function, or the server takes no such result.
        try:
            tasks.fail(traceback.format_exc()[:1000], task["lease"])
        except ValueError:
            pass  # It was cancelled, or its time was over.
