"""settings.py ADDRESS: prints what a program in Rust put into a shared dict, and puts something itself."""

import sys
from multiprocessing.managers import BaseManager, DictProxy


class Settings(BaseManager):
    pass


Settings.register("settings", proxytype=DictProxy)
host, port = sys.argv[1].split(":")
manager = Settings(address=(host, int(port)), authkey=b"abc")
manager.connect()
settings = manager.settings()
sys.stdout.buffer.write((repr(settings["from Rust"]) + "\n").encode("utf-8"))
settings["from Python"] = ("ü", [3, 4], None)
