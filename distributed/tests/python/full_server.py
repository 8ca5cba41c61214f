"""full_server.py ADDRESS: connects, and prints the OSError that it hears where there is no place."""

import sys
from multiprocessing.managers import BaseManager

host, port = sys.argv[1].split(":")
try:
    BaseManager(address=(host, int(port)), authkey=b"abc").connect()
except OSError as error:
    print(error)
