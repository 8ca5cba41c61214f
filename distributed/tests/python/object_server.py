"""object_server.py: CPython's own server of the objects of SyncManager, with a lock and a class of its
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

    def itself(self):
        return self


gate = threading.Lock()
Manager.register("gate", callable=lambda: gate)
Manager.register("Account", Account)
Manager.register("Itself", create_method=False)
Manager.register("Nested", Account, method_to_typeid={"itself": "Itself"})

if __name__ == "__main__":
    serve(Manager)
