"""Calls a Rust function with values that Rust does not have, or returns such values to a Rust program."""
import datetime
import decimal
import os
import sys
from multiprocessing.managers import BaseManager

recursive = []
recursive.append(recursive)
deep = []
for _ in range(300):
    deep = [deep]
lone = b"\xed\xa0\x80".decode("utf-8", "surrogatepass") if sys.version_info[0] > 2 else u"\ud800"
values = [decimal.Decimal(1), lone, deep, 2**1000, datetime.date(2020, 1, 1), len, recursive, 1j]

mine = "tasks@%d" % os.getpid()
for name in ["tasks", mine]:
    BaseManager.register(name)
host, port = sys.argv[1].split(":")
manager = BaseManager(address=(host, int(port)), authkey=b"abc")
manager.connect()
tasks = manager.tasks()
if sys.argv[2] == "call":
    outcomes = getattr(manager, mine)()
    calls = [{"task": "echo", "args": value} for value in values] + [{"task": "echo", "args": 7}]
    ids = tasks.submit(calls, mine, retries=0)
    told = {}
    for _ in ids:
        outcome = outcomes.get_outcome(timeout=60)
        told[outcome.pop("id")] = outcome
    for id in ids[:-1]:
        assert told[id]["state"] == "failed" and "the arguments of `echo`" in told[id]["error"], told[id]
    assert told[ids[-1]] == {"state": "done", "result": 7}, told
    print("all failed but the last")
while sys.argv[2] == "work":
    task = tasks.take_task("odd/1")
    number = task["call"]["args"]
    if number == 4:
        tasks.fail(u"no UTF-8: " + lone, task["lease"])
    else:
        tasks.finish(task["lease"], number if number == 5 else values[number])
