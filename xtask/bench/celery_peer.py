"""python3 celery_peer.py ROW: Celery on Redis, once, as tasks per second from end to end.

As a module it is also what the worker runs: `celery -A celery_peer worker`.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time

from celery import Celery, group

TASKS = 2000
app = Celery("celery_peer", broker=os.environ.get("PEER_URL"), backend=os.environ.get("PEER_URL"))
app.conf.broker_connection_retry_on_startup = True


@app.task
def square(n):
    return n * n


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def measure(workers):
    group(square.s(n) for n in range(workers * 8)).apply_async().get(timeout=20)
    start = time.perf_counter()
    results = group(square.s(n) for n in range(TASKS)).apply_async().get(timeout=25)
    took = time.perf_counter() - start
    assert results == [n * n for n in range(TASKS)]
    return TASKS / took


def main(row):
    workers = row.rsplit("-", 1)[1].rstrip("w")
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    app.conf.update(broker_url=url, result_backend=url)
    with tempfile.TemporaryDirectory() as folder:
        redis = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "celery_peer", "worker", "--loglevel", "CRITICAL",
             "--concurrency", workers, "--without-gossip", "--without-mingle"],
            cwd=os.path.dirname(os.path.abspath(__file__)),
            env={**os.environ, "PEER_URL": url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            print(measure(int(workers)))
        finally:
            worker.terminate()
            try:
                worker.wait(timeout=5)
            except subprocess.TimeoutExpired:
                worker.kill()
            redis.kill()
            redis.wait()


if __name__ == "__main__":
    main(sys.argv[1])
