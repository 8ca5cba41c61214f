"""sets.py ADDRESS CASE: what a proxy of a set can be asked, and what it says.

With `own` in place of the address it asks CPython's own server, which must say the same.
"""

import sys
from multiprocessing import managers
from multiprocessing.managers import MakeProxyType, RemoteError

from objects import PYTHON_2, Manager, Point, connect, raises

METHODS = (
    "__and__", "__contains__", "__iand__", "__ior__", "__isub__", "__iter__", "__ixor__",
    "__len__", "__or__", "__rand__", "__ror__", "__rsub__", "__rxor__", "__sub__", "__xor__",
    "__ge__", "__gt__", "__le__", "__lt__", "add", "clear", "copy", "difference",
    "difference_update", "discard", "intersection", "intersection_update", "isdisjoint",
    "issubset", "issuperset", "pop", "remove", "symmetric_difference",
    "symmetric_difference_update", "union", "update",
)


# CPython has this class from 3.15 on; older ones get it so.
class SetProxy(MakeProxyType("BaseSetProxy", METHODS)):
    def __iand__(self, value):
        self._callmethod("__iand__", (value,))
        return self

    def __ior__(self, value):
        self._callmethod("__ior__", (value,))
        return self

    def __isub__(self, value):
        self._callmethod("__isub__", (value,))
        return self

    def __ixor__(self, value):
        self._callmethod("__ixor__", (value,))
        return self


if not hasattr(managers, "SetProxy"):
    Manager.register("set", set, SetProxy)
Manager.register("words", set)


def listed(s, is_ours):
    """Its elements. CPython 2.7 cannot send an iterator."""
    return list(iter(s)) if is_ours or not PYTHON_2 else list(s.copy())


def sets(manager, is_ours):
    s = manager.set([3, "a", 3.0, None, (1, "x")])
    assert len(s) == 4 and 3 in s and True not in s and (1.0, "x") in s and "b" not in s
    s.add(True)
    s.add(1)
    assert len(s) == 5 and 1.0 in s and s._getvalue() == {1, 3, "a", None, (1, "x")}
    s.remove("a")
    assert raises(KeyError, s.remove, "a").args == ("a",)
    s.discard("a")
    s.discard(None)
    assert s.copy() == {1, 3, (1, "x")} and type(s.copy()) is set
    assert len(listed(s, is_ours)) == 3 and set(listed(s, is_ours)) == {1, 3, (1, "x")}
    taken = {s.pop() for _ in range(3)}
    assert taken == {1, 3, (1, "x")} and len(s) == 0
    assert "pop from an empty set" in str(raises(KeyError, s.pop))
    if sys.version_info[0] > 2:
        shown = [set(), frozenset(), {1}, frozenset([1])]
        assert str(manager.list(shown)) == str(shown), str(manager.list(shown))
    assert str(s) in ("set()", "set([])") and str(manager.set([7])) in ("{7}", "set([7])")
    s.update([1, 2], {3}, "ab", {4: 5}, range(6, 8))
    assert s.copy() == {1, 2, 3, "a", "b", 4, 6, 7}
    s.update()
    s.clear()
    assert s.copy() == manager.set().copy() == set() and listed(s, is_ours) == []
    # What cannot be in a set.
    raises(TypeError, s.add, [1])
    raises(TypeError, s.update, [1], [[2]])
    assert len(s) in (0, 1)
    raises(TypeError, s.add)
    raises(TypeError, s.update, 5)
    assert "KeyError" in str(raises(RemoteError, s._callmethod, "frob"))
    if is_ours:
        assert "cannot read" in str(raises(TypeError, s.add, Point(1)))
        assert "pass one of them" in str(raises(TypeError, s.update, s))
        # All of them, or none.
        s.clear()
        raises(TypeError, s.update, [1], [[2]])
        assert len(s) == 0


def operators(manager, is_ours):
    def same(found, wanted):
        assert found == wanted and type(found) is type(wanted), (found, wanted)

    s = manager.set(range(5))
    own = set(range(5))
    for other in ({3, 4, 5}, frozenset([0, 9]), set(), {0, 1, 2, 3, 4}, set(range(9))):
        same(s & other, own & other)
        same(other & s, other & own)
        same(s | other, own | other)
        same(other | s, other | own)
        same(s - other, own - other)
        same(other - s, other - own)
        same(s ^ other, own ^ other)
        same(other ^ s, other ^ own)
        for compared in ("__le__", "__lt__", "__ge__", "__gt__"):
            same(getattr(s, compared)(other), getattr(own, compared)(other))
        for method in ("union", "intersection", "difference", "symmetric_difference"):
            same(getattr(s, method)(other), getattr(own, method)(other))
            same(getattr(s, method)(list(other)), getattr(own, method)(list(other)))
        for method in ("isdisjoint", "issubset", "issuperset"):
            same(getattr(s, method)(list(other)), getattr(own, method)(list(other)))
        for method in ("intersection_update", "difference_update", "symmetric_difference_update"):
            changed, own_changed = manager.set(own), set(own)
            assert getattr(changed, method)(list(other)) is None
            getattr(own_changed, method)(list(other))
            same(changed.copy(), own_changed)
    assert s.union() == own and s.intersection({1, 2}, [2, 3]) == {2}
    assert s.difference([1], (2,)) == {0, 3, 4}
    raises(TypeError, s.symmetric_difference)
    raises(TypeError, s.symmetric_difference, [1], [2])
    if is_ours or not PYTHON_2:
        # As of a set, another type is no operand.
        raises(TypeError, lambda: s & [1])
        raises(TypeError, lambda: [1] | s)
        assert s._callmethod("__le__", ([1],)) is NotImplemented
    again = s
    s &= {1, 2, 3}
    s |= {7}
    s -= {1}
    s ^= {2, 8}
    assert s is again and s.copy() == {3, 7, 8}
    s |= frozenset([9])
    assert sorted(listed(s, is_ours)) == [3, 7, 8, 9]


def by_itself(manager, is_ours):
    """A proxy that builds itself from what the server says of a set."""
    words = manager.words(["a"])
    words.add("b")
    assert words.copy() == {"a", "b"} and words.union("c") == {"a", "b", "c"}
    if is_ours:
        assert sorted(words) == ["a", "b"] and "a" in words and len(words) == 2
        assert words & {"a", "z"} == {"a"}


if __name__ == "__main__":
    globals()[sys.argv[2]](connect(sys.argv[1]), sys.argv[1] != "own")
    print("ok")
