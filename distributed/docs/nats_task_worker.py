"""A worker of tasks by name on the engine: python3 nats_task_worker.py nats://127.0.0.1:4222 QUEUE"""
import asyncio
import json
import os
import socket
import sys
import time
import traceback

import nats

functions = {"add": lambda a, b: a + b, "shout": lambda text, times=1: text.upper() + "!" * times}
me = f"{socket.gethostname()}/{os.getpid()}"


def run(data):
    call = json.loads(data)
    args, function = call["args"], functions[call["task"]]
    result = function(**args) if isinstance(args, dict) else function(*args)
    return json.dumps({"state": "done", "result": result}, allow_nan=False)


async def has(engine, stream, subject):
    try:
        return bool(await engine.get_last_msg(stream, subject))
    except nats.js.errors.NotFoundError:
        return False


async def work(engine, queue, task, lease):
    submitter, number = task.subject.split(".")[-1].split("-")
    outcome_of = f"tm.outcomes.{queue}.{submitter}.{number}"
    early = int(task.header.get("Due", 0)) / 1000 - time.time()
    if early > 0 and task.metadata.num_delivered <= 3:  # A delayed task comes some tenths of a second early.
        return await task.nak(delay=early)
    if "Due" in task.header and await has(engine, f"tm-outcomes-{queue}", outcome_of):
        return await task.ack()  # It was cancelled just as its time came.
    job = asyncio.create_task(asyncio.to_thread(run, task.data))
    while not (await asyncio.wait([job], timeout=lease / 3))[0]:
        await task.in_progress()
    try:
        outcome = await job
    except Exception:
        tries = max(1, task.metadata.num_delivered - ("Due" in task.header))
        if tries <= int(task.header["Retries"]):
            return await task.nak(delay=int(task.header["Backoff"]) / 1000 * 2 ** (tries - 1))
        error = traceback.format_exc().encode(errors="replace").decode()
        failed = {"state": "failed", "error": error, "tries": tries, "worker": me}
        outcome = json.dumps(failed)
    try:
        await engine.publish(outcome_of, outcome.encode())
    except nats.js.errors.APIError:
        pass  # It has its outcome: it was cancelled, or another worker was faster.
    await task.ack_sync()


async def main(url, queue):
    engine = (await nats.connect(url)).jetstream()
    subscribe = [engine.pull_subscribe_bind(name, f"tm-tasks-{queue}") for name in ("high", "normal", "low")]
    consumers = await asyncio.gather(*subscribe)
    lease = (await consumers[0].consumer_info()).config.ack_wait
    while True:
        for consumer in consumers:
            try:
                [task] = await consumer.fetch(1, timeout=0.1)
            except nats.errors.TimeoutError:
                continue
            await work(engine, queue, task, lease)
            break


asyncio.run(main(*sys.argv[1:]))
