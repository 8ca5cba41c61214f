"""object_server.py [ADDRESS]: CPython's own server of the objects of SyncManager, with a lock and a class of its
own under names; prints its address, ends with its standard input."""

import threading
from multiprocessing.managers import SyncManager

from server import serve


class Manager(SyncManager):
    pass


class Account:
    balance = 3

    def deposit(self, amount):
        self.balance += amount
        return self.balance

    def copy(self):
        return Account()


gate = threading.Lock()
Manager.register("gate", callable=lambda: gate)
Manager.register("Account", Account)
Manager.register("Copy", create_method=False)
Manager.register("Copied", Account, method_to_typeid={"copy": "Copy"})

if __name__ == "__main__":
    serve(Manager)
