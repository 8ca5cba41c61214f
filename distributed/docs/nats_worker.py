"""A worker in Python on the engine: python3 nats_worker.py nats://127.0.0.1:4222 [IDLE SECONDS]"""
import asyncio
import json
import sys

import nats


async def main(url, idle=1.0):
    connection = await nats.connect(url)
    engine = connection.jetstream()
    tasks = await engine.pull_subscribe_bind("workers", "tm-queue-get_task_queue")
    while True:
        try:
            [task] = await tasks.fetch(1, timeout=idle)
        except nats.errors.TimeoutError:
            break
        n = json.loads(task.data)
        print(f"run task {n} * {n}...", flush=True)
        result = json.dumps(f"{n} * {n} = {n * n}").encode()
        # As the result of its task, so that it counts once; then the task is done.
        id = task.header["Nats-Msg-Id"]
        headers = {"Nats-Msg-Id": id, "Result-Of": id}
        await engine.publish("tm.queue.get_result_queue", result, headers=headers)
        await task.ack_sync()
    await connection.close()


asyncio.run(main(sys.argv[1], *map(float, sys.argv[2:])))
