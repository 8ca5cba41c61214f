"""count.py ADDRESS: how many objects a server of this very Python counts."""

import sys
from multiprocessing.managers import BaseManager

host, port = sys.argv[1].split(":")
manager = BaseManager(address=(host, int(port)), authkey=b"abc")
manager.connect()
count = getattr(manager, "_number_of_objects", None)
print(count() if count else manager._debug_info().count("refcount"))
