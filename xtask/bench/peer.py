"""python3 peer.py ROW: measures CPython's multiprocessing once and prints a number in the row's unit."""

import multiprocessing
import sys
import time

LONG_ENOUGH = 0.2
WORKERS = 2
GIBIBYTE = 1 << 30


def per_second(run):
    """How many a second: `run(count)` does so many, and is given more until that takes long enough."""
    count = 64
    while True:
        start = time.perf_counter()
        run(count)
        took = time.perf_counter() - start
        if took >= LONG_ENOUGH:
            return count / took
        count *= 8 if took < LONG_ENOUGH / 8 else 2


def micros(run):
    return 1e6 / per_second(run)


def put(queue, count, item=None):
    for n in range(count):
        queue.put(n if item is None else item)


def get(queue, count):
    for _ in range(count):
        queue.get()


def echo(there, back, count):
    for _ in range(count):
        back.put(there.get())


def nothing():
    pass


def same(n):
    return n


def run_all(*processes):
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def start(target, *args):
    process = multiprocessing.Process(target=target, args=args)
    process.start()
    return process


def one_to_one(count, item=None):
    queue = multiprocessing.Queue()
    writer = start(put, queue, count, item)
    get(queue, count)
    writer.join()


def four_to_four(count):
    queue = multiprocessing.Queue()
    share = count // 4
    both = [multiprocessing.Process(target=target, args=(queue, share)) for target in (put, get) for _ in range(4)]
    run_all(*both)


def round_trips(count):
    there, back = multiprocessing.Queue(), multiprocessing.Queue()
    other = start(echo, there, back, count)
    for n in range(count):
        there.put(n)
        back.get()
    other.join()


def spawn(count):
    for _ in range(count):
        start(nothing).join()


def measure(row):
    if row == "queue/u64/1p1c":
        return per_second(one_to_one)
    if row == "queue/u64/4p4c":
        return per_second(four_to_four)
    if row == "queue/roundtrip":
        return micros(round_trips)
    if row == "queue/1MiB":
        message = bytes([7]) * (1 << 20)
        return per_second(lambda count: one_to_one(count, message))
    if row == "process/spawn":
        return micros(spawn)
    if row == "process/spawn-1GiB":
        resident = bytearray(b"\1") * GIBIBYTE
        measured = micros(spawn)
        assert len(resident) == GIBIBYTE
        return measured
    with multiprocessing.Pool(WORKERS) as pool:
        if row == "pool/single":
            return per_second(lambda count: pool.map(same, range(count), chunksize=1))
        if row == "pool/roundtrip":
            return micros(lambda count: [pool.apply(same, (n,)) for n in range(count)])
        if row == "pool/map":
            return 200_000 * per_second(lambda count: [pool.map(same, range(200_000)) for _ in range(count)])
    raise SystemExit(f"error: there is no {row} of multiprocessing")


if __name__ == "__main__":
    # What was the default when the others were measured against it, on every version.
    multiprocessing.set_start_method("fork")
    print(measure(sys.argv[1]))
