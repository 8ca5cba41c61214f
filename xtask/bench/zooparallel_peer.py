"""python3 zooparallel_peer.py ROW: zooparallel's lock, once, as locks per second."""

import multiprocessing
import os
import sys

from zooparallel import ZooLock

import peer


def count_up(name, value, count):
    lock = ZooLock(name)
    for _ in range(count):
        with lock:
            value.value += 1


def contended(name, count):
    value = multiprocessing.RawValue("Q", 0)
    work = [multiprocessing.Process(target=count_up, args=(name, value, count // 4)) for _ in range(4)]
    peer.run_all(*work)


def main(row):
    name = f"bench-{os.getpid()}"
    lock = ZooLock(name)
    try:
        if row == "sync/lock":
            return peer.per_second(lambda count: peer.with_lock(lock, count))
        return peer.per_second(lambda count: contended(name, count))
    finally:
        ZooLock.unlink(name)


if __name__ == "__main__":
    print(main(sys.argv[1]))
