"""Where the buffers between a program's steps lie: one aligned arena, planned when the program is built.

What it is: `plan` gives each arena buffer that is stored at all its place. Every buffer has a place of its own; sharing places by lifetime is a
change of this function alone, as everybody else asks for `buffer.place`.
"""
import numpy as np

LINE = 64                                   # bytes of a cache line, and of the widest vector


def plan(buffers):
    """Sets `place` of each buffer; returns the size of the arena in bytes. buffers: in the order in which they are first written."""
    size = 0
    for b in buffers:
        b.place = size
        size += -(-b.size * b.dtype.itemsize // LINE) * LINE
    return size


def aligned(size):
    """A byte array of that size that begins on a cache line."""
    raw = np.zeros(size + LINE, np.uint8)
    start = -address(raw) % LINE
    return raw[start:start + size]


def address(array):
    """Where an array's first entry lies."""
    return array.__array_interface__["data"][0]


class _Memory:
    """Strided memory at an address, as NumPy's array interface describes it; `owner` stays alive with it."""

    __slots__ = ("__array_interface__", "owner")

    def __init__(self, address, view, owner):
        self.__array_interface__ = {"version": 3, "data": (address, False), "shape": view.shape, "strides": view.strides, "typestr": view.dtype.str}
        self.owner = owner


def array_at(base, view, owner):
    """The ndarray of a view whose buffer begins at address `base`."""
    return np.asarray(_Memory(base + view.offset, view, owner))
