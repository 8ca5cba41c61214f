"""A worker of each shape, for as long as it lives: it squares numbers."""

import asyncio
import ctypes
import multiprocessing
import queue
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.managers import BaseManager

EXPIRES = 3
AT_ONCE = 4


class QueueManager(BaseManager):
    pass


QueueManager.register("get_task_queue")
QueueManager.register("get_result_queue")
host, port = sys.argv[1].split(":")
manager = QueueManager(address=(host, int(port)), authkey=b"abc")
manager.connect()
task = manager.get_task_queue()
result = manager.get_result_queue()


def fetch():
    while True:
        try:
            return task.lease(timeout=1, expires=EXPIRES)
        except queue.Empty:
            pass


def work(lease, n):
    time.sleep(0.002)
    result.put(n * n)
    try:
        task.ack(lease)
    except ValueError:
        # It was late, and another has the task too.
        pass


def loop():
    while True:
        n = task.get()
        time.sleep(0.002)
        result.put(n * n)


def helper_thread():
    while True:
        fetched = []
        helper = threading.Thread(target=lambda: fetched.append(fetch()))
        helper.start()
        helper.join()
        work(*fetched[0])


def executor():
    free = threading.Semaphore(AT_ONCE)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while True:
            free.acquire()
            pool.submit(work, *fetch()).add_done_callback(lambda _: free.release())


def end_with_parent():
    PR_SET_PDEATHSIG, SIGKILL = 1, 9
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)


def pool():
    context = multiprocessing.get_context("fork")
    free = threading.Semaphore(AT_ONCE)
    with context.Pool(2, end_with_parent) as workers:
        while True:
            free.acquire()
            workers.apply_async(work, fetch(), callback=lambda _: free.release())


def to_thread():
    async def one():
        while True:
            await asyncio.to_thread(work, *await asyncio.to_thread(fetch))

    async def all():
        await asyncio.gather(*(one() for _ in range(AT_ONCE)))

    asyncio.run(all())


globals()[sys.argv[2]]()
