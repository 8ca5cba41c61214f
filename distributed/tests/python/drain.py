"""drain.py ADDRESS QUEUE: takes all items. What cannot be looked up may fail, what cannot be read may not."""

import sys
from multiprocessing.managers import BaseManager
import pickle
import queue


class QueueManager(BaseManager):
    pass


QueueManager.register(sys.argv[2])
host, port = sys.argv[1].split(":")
manager = QueueManager(address=(host, int(port)), authkey=b"abc")
manager.connect()
q = getattr(manager, sys.argv[2])()
count = 0
while True:
    try:
        q.get_nowait()
    except queue.Empty:
        break
    except (pickle.UnpicklingError, UnicodeError, EOFError, MemoryError, OverflowError, KeyError, IndexError):
        raise
    except Exception:
        pass  # A class that is not there, or arguments that it does not take.
    count += 1
print(count)
