"""Submits tasks by name as plain data, and prints what became of them."""
import os
import sys
from multiprocessing.managers import BaseManager

mine = "tasks@%d" % os.getpid()
for name in ["tasks", mine]:
    BaseManager.register(name)
host, port = sys.argv[1].split(":")
manager = BaseManager(address=(host, int(port)), authkey=b"abc")
manager.connect()
tasks = getattr(manager, "tasks")()
outcomes = getattr(manager, mine)()
calls = [{"task": "add", "args": (3, 4)}, {"task": "fail", "args": [7]}]
ids = tasks.submit(calls, mine, retries=0, priority=1)
late = tasks.submit([{"task": "add", "args": (1, 1)}], mine, delay=3600)
assert tasks.cancel(late[0]) and not tasks.cancel(late[0])
told = {}
for _ in range(3):
    outcome = outcomes.get_outcome(timeout=60)
    told[outcome.pop("id")] = outcome
assert told[ids[0]] == {"state": "done", "result": 7}, told
failed = told[ids[1]]
assert failed["state"] == "failed" and failed["error"] == "7 is odd", told
assert failed["tries"] == 1 and "/" in failed["worker"], told
assert told[late[0]]["state"] == "cancelled", told
for wrong in [dict(priority=2), dict(retries=-1), dict(retries=2**40), dict(delay=-1), dict(ids=["a"])]:
    try:
        tasks.submit(calls, **wrong)
    except ValueError as error:
        print(error)
for wrong in [5, "add", {"task": "add"}, {"args": 1}, {"task": 5, "args": 1}]:
    try:
        tasks.submit([calls[0], wrong], mine)
        print("taken: %r" % (wrong,))
    except TypeError as error:
        told["no call"] = str(error)
print(told["no call"])
