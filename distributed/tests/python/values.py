# -*- coding: utf-8 -*-
"""values.py forms|put|get ADDRESS QUEUE... : many kinds of values, through every way to put them."""

import array
import collections
import datetime
import decimal
import fractions
import functools
import re
import sys
from multiprocessing.managers import BaseManager

try:
    import queue
except ImportError:
    import Queue as queue


class QueueManager(BaseManager):
    pass


class Point(object):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return type(other) is Point and (self.x, self.y) == (other.x, other.y)

    __hash__ = None


class Old:
    def __init__(self):
        self.n = 7

    def __eq__(self, other):
        return other.__class__ is Old and self.n == other.n


class Slots(object):
    __slots__ = ("a", "b")

    def __eq__(self, other):
        return type(other) is Slots and (self.a, self.b) == (other.a, other.b)


Pair = collections.namedtuple("Pair", "left right")


def slots():
    value = Slots()
    value.a, value.b = 1, [2]
    return value


def recursive_list():
    value = [1]
    value.append(value)
    return value


def recursive_dict():
    value = {}
    value["me"] = value
    return value


def recursive_tuple():
    inner = []
    value = (inner, 2)
    inner.append(value)
    return value


def recursive_instance():
    value = Point(1, None)
    value.y = [value]
    return value


def shared():
    value = [1]
    return [value, value, (value,)]


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def same_names():
    names = ["name-%d" % n for n in range(300)]
    return [names, list(names), tuple(names)]


ANY, SAME = "any Python", "the same major version"

# Each with what must hold of it besides equality.
VALUES = [
    (None, ANY, None), (True, ANY, None), (False, ANY, None), (0, ANY, None), (255, ANY, None),
    (256, ANY, None), (65536, ANY, None), (-1, ANY, None), (2**31 - 1, ANY, None), (-2**31, ANY, None),
    (2**31, ANY, None), (2**63, ANY, None), (-2**63, ANY, None), (2**100, ANY, None), (-2**5000, ANY, None),
    (0.0, ANY, None), (-0.0, ANY, lambda v: repr(v) == "-0.0"), (1.5, ANY, None), (1e-300, ANY, None),
    (float("inf"), ANY, None), (float("nan"), ANY, lambda v: v != v), (1 + 2j, SAME, None),
    (u"", ANY, None), (u"text", ANY, None), (u"\xe9\u597d\U0001f980", ANY, None), (u"\ud800x", ANY, None),
    (u"long" * 20000, ANY, None), ("native", ANY, None), (b"", SAME, None), (b"xyz", SAME, None),
    (b"\xff\x00\n", SAME, None), (b"0123456789" * 20000, SAME, None), (bytearray(b"bytes"), SAME, None),
    ((), ANY, None), ((1,), ANY, None), ((1, 2), ANY, None), ((1, 2, 3), ANY, None), ((1, 2, 3, 4), ANY, None),
    ([], ANY, None), ([1, [2, [3]]], ANY, None), (list(range(5000)), ANY, None), (nested(150), ANY, None),
    ({}, ANY, None), ({1: u"a", u"b": [2], (3, 4): None}, ANY, None), (dict((n, n) for n in range(2500)), ANY, None),
    (set(), SAME, None), (set([1, 2]), SAME, None), (frozenset([1, 2]), SAME, None),
    (same_names(), ANY, lambda v: v[0][299] == v[2][299]), (shared(), ANY, lambda v: v[0] is v[1] is v[2][0]),
    (recursive_list(), ANY, lambda v: v[0] == 1 and v[1] is v),
    (recursive_dict(), ANY, lambda v: v[u"me"] is v), (recursive_tuple(), ANY, lambda v: v[0][0] is v and v[1] == 2),
    (recursive_instance(), SAME, lambda v: v.x == 1 and v.y[0] is v),
    (datetime.datetime(2026, 11, 24, 7, 12), SAME, None), (datetime.timedelta(3, 4), SAME, None),
    (decimal.Decimal("1.10"), SAME, None), (fractions.Fraction(1, 3), SAME, None),
    (collections.OrderedDict([(u"b", 1), (u"a", 2)]), SAME, lambda v: list(v) == [u"b", u"a"]),
    (collections.defaultdict(list, {1: [2]}), SAME, lambda v: v[9] == []), (collections.deque([1, 2]), SAME, None),
    (collections.Counter("abca"), SAME, None), (array.array("i", [1, 2]), SAME, None),
    (Point(1, [2]), SAME, None), ([Point(1, 2), Point(1, 2)], SAME, None), (Old(), SAME, None), (slots(), SAME, None), (Pair(1, 2), SAME, None),
    (len, SAME, None), (int, SAME, None), (Point, SAME, None), (functools.partial(int, base=2), SAME, lambda v: v("10") == 2),
    (re.compile("a+"), SAME, None), (ValueError("no", 1), SAME, lambda v: type(v) is ValueError and v.args == ("no", 1)),
]
if sys.version_info[0] > 2:
    import enum

    class Colour(enum.Enum):
        RED = 1

    VALUES += [(Ellipsis, SAME, None), (range(3), SAME, None), (Colour.RED, SAME, lambda v: v is Colour.RED)]


def check(got, number):
    value, _, holds = VALUES[number]
    if holds:
        assert holds(got), (number, value)
    elif isinstance(value, functools.partial) or not got == value:
        raise AssertionError((number, str(value)[:80], str(got)[:80]))
    text = (str, type(u""))
    assert type(got) is type(value) or (isinstance(got, text) and isinstance(value, text)) or isinstance(value, int), number


def forms(q):
    ways = [
        lambda v: q.put(v), lambda v: q.put(item=v), lambda v: q.put(v, True, 5), lambda v: q.put(v, block=False),
        lambda v: q.put(v, timeout=5), lambda v: q.put_nowait(v), lambda v: q.put_many([v]),
        lambda v: q.put(timeout=None, block=True, item=v),
    ]
    for number, (value, _, _) in enumerate(VALUES):
        for way in ways:
            way(value)
            check(q.get(), number)
        q.put([q._id, "put", value])
        check(q.get()[2], number)
    values = [value for value, _, _ in VALUES]
    q.put_many(values)
    for start in range(0, len(values), 10):
        for at, got in enumerate(q.get_many(10, timeout=5)):
            check(got, start + at)
    assert q.empty()


def put(q, times):
    for _ in range(times):
        q.put_many([(sys.version_info[0], number, value) for number, (value, _, _) in enumerate(VALUES)
                    if value is not Ellipsis and VALUES[number][1] == ANY])
        for number, (value, _, _) in enumerate(VALUES):
            q.put((sys.version_info[0], number))
            q.put(value)
        q.put((sys.version_info[0], None))


def get(q):
    """Of another major version, what it cannot read raises: nothing else does."""
    for _ in [value for value in VALUES if value[1] == ANY]:
        major, number, value = q.get(timeout=60)
        check(value, number)
    while True:
        major, number = q.get_nowait()
        if number is None:
            return
        alike = major == sys.version_info[0]
        readable = alike or (number < len(VALUES) and VALUES[number][1] == ANY)
        try:
            got = q.get()
        except Exception:
            assert not readable, number
        else:
            if readable:
                check(got, number)


if __name__ == "__main__":
    what, address = sys.argv[1:3]
    host, port = address.split(":")
    for name in sys.argv[3:]:
        QueueManager.register(name)
    manager = QueueManager(address=(host, int(port)), authkey=b"abc")
    manager.connect()
    for name in sys.argv[3:]:
        q = getattr(manager, name)()
        if what == "forms":
            forms(q)
        elif what == "put":
            put(q, int(sys.argv[4]))
            break
        else:
            get(q)
    print("%d values" % len(VALUES))
