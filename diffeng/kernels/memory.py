"""Where the buffers between a program's steps lie: one aligned arena, planned when the program is built.

What it is: `plan` gives each buffer its place for as long as it lives, best fit first: two buffers share bytes when no step uses both. So a program holds
at its peak what is alive together, and no call allocates.

What it is not: outputs are the user's and lie elsewhere (program.py).
"""
import bisect
import ctypes
import sys

import numpy as np

from .blocks import DATA

LINE = 64                                   # bytes of a cache line, and of the widest vector


def plan(uses):
    """Sets `place` of each arena buffer; returns the size of the arena in bytes. uses: for each step in order, the buffers it reads or writes."""
    first, last, buffers, parts = {}, {}, {}, []
    for at, used in enumerate(uses):
        for b in used:
            if b.within is not None:
                parts.append(b)
                b, _ = b.root()
            buffers[id(b)] = b
            first.setdefault(id(b), at)
            last[id(b)] = at
    begins, ends = {}, {}
    for key in buffers:
        begins.setdefault(first[key], []).append(key)
        ends.setdefault(last[key], []).append(key)
    free, size = [], 0                       # free: (start, length), ascending
    for at in range(len(uses)):
        for key in sorted(begins.get(at, ()), key=lambda k: -_bytes(buffers[k])):
            need = _bytes(buffers[key])
            fit = min([(n, -start) for start, n in free if n >= need], default=None)          # of equals the last, which is likelier to be in the cache
            if fit is not None:
                n, start = fit[0], -fit[1]
                free.remove((start, n))
                if n > need:
                    bisect.insort(free, (start + need, n - need))
            elif free and sum(free[-1]) == size:          # the last gap touches the end: grow it
                start, _ = free.pop()
                size = start + need
            else:
                start, size = size, size + need
            buffers[key].place = start
        for key in ends.get(at, ()):
            _release(free, buffers[key].place, _bytes(buffers[key]))
    for b in parts:
        whole, offset = b.root()
        b.place = whole.place + offset
    return size


def _release(free, start, n):
    """Give bytes back, melted with the gaps beside them."""
    if not n:
        return
    k = bisect.bisect_left(free, (start, 0))
    if k < len(free) and free[k][0] == start + n:
        n += free.pop(k)[1]
    if k and sum(free[k - 1]) == start:
        start, before = free.pop(k - 1)
        n += before
        k -= 1
    free.insert(k, (start, n))


def _bytes(buffer):
    return -(-buffer.bytes() // LINE) * LINE


def aligned(size):
    """A byte array of that size that begins on a cache line; pages come from the system when they are first used."""
    raw = np.empty(size + LINE, np.uint8)
    start = -address(raw) % LINE
    return raw[start:start + size]


_word, _probe = ctypes.c_int64.from_address, np.zeros(1)
# NumPy makes a dict of eight entries to answer that: ten times as long as reading the word where CPython's arrays have it.
_READABLE = sys.implementation.name == "cpython" and ctypes.sizeof(ctypes.c_void_p) == 8 and np.ndarray.__basicsize__ >= DATA + 8 \
    and _word(id(_probe) + DATA).value == _probe.ctypes.data


def address(array):
    """Where an array's first entry lies."""
    return _word(id(array) + DATA).value if _READABLE and type(array) is np.ndarray else array.__array_interface__["data"][0]


def native(x, dtype):
    """x as machine code takes it, without a copy where it is so already: in C order, aligned, and with this very dtype object, as dtypes are compared by
    address. An unpickled array has an equal one of its own, which view() takes away."""
    return np.require(x, dtype, ("C", "A")).view(dtype)


class _Memory:
    """Strided memory at an address, as NumPy's array interface describes it; `owner` stays alive with it."""

    __slots__ = ("__array_interface__", "owner")

    def __init__(self, address, view, owner):
        self.__array_interface__ = {"version": 3, "data": (address, False), "shape": view.shape, "strides": view.strides, "typestr": view.dtype.str}
        self.owner = owner


def array_at(base, view, owner):
    """The ndarray of a view whose buffer begins at address `base`."""
    return np.asarray(_Memory(base + view.offset, view, owner))
