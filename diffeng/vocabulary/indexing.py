"""Reading and writing parts of arrays.

An index is split in two: `index`, a tuple of slices, integers, None, Ellipsis, boolean masks and `Slot(k)` marks, is a parameter; the integer arrays
that stand at the marks are operands, so that they may be traced (tokens, say). Operand order: the arrays with a derivative first.
"""
import functools

import numpy as np

from ..constants import unchanged
from ..nodes import Primitive


class Slot:
    """The place in an index where the k-th integer-array operand goes."""

    __slots__ = ("k",)

    def __init__(self, k):
        self.k = k

    def __repr__(self):
        return f"Slot({self.k})"

    def __eq__(self, other):
        return type(other) is Slot and other.k == self.k

    def __hash__(self):
        return hash(("Slot", self.k))


def join(index, arrays):
    """The index NumPy understands: parameter and operands together."""
    return tuple([arrays[i.k] if type(i) is Slot else i for i in index])


def expand(index, ndim):
    """The items of an index, with the Ellipsis and missing trailing axes written out as slices. An Ellipsis that stands for no axis stays: integer arrays on both
    sides of it do not stand side by side."""
    rest = [slice(None)] * (ndim - len([i for i in index if i is not None and i is not Ellipsis]))
    if Ellipsis not in index:
        return [*index, *rest]
    at = index.index(Ellipsis)
    return [*index[:at], *(rest or [Ellipsis]), *index[at + 1:]]


def _getitem(x, *arrays, index):
    return x[join(index, arrays) if arrays else index]


def _setitem(x, v, *arrays, index):
    out = np.array(x)
    out[join(index, arrays)] = v
    return out


def _pile(out, v, arrays, index):
    """Add v in place; at a position that comes more than once it adds up. Into one row of numbers NumPy's function reads beyond a v of fewer axes than the index:
    such a v is spread out before."""
    place = join(index, arrays)
    if out.ndim == 1 and 0 < np.ndim(v) < max(map(np.ndim, arrays)):
        v = np.broadcast_to(v, out[place].shape)
    np.add.at(out, place, v)


def _add_at(x, v, *arrays, index):
    out = np.array(x)
    if arrays:
        _pile(out, v, arrays, index)
    else:                                              # a mask names no position twice
        out[index] += v
    return out


def _zeros_add_at(v, *arrays, index, shape):
    out = np.zeros(shape, np.asarray(v).dtype)
    if arrays:
        _pile(out, v, arrays, index)
    else:
        out[index] = v
    return out


_A = (0.3, 2.0)
getitem = Primitive("getitem", _getitem, "gather", (0,), (_A,))                # x[index]
setitem = Primitive("setitem", _setitem, "scatter", (0, 1), (_A, _A))          # x with x[index] = v; of values for one position the last stays
add_at  = Primitive("add_at", _add_at, "scatter", (0, 1), (_A, _A))            # x with v added at index
scatter = Primitive("scatter", _zeros_add_at, "scatter", (0,), (_A,))          # zeros of `shape` with v added at index: getitem's adjoint


# ---- index arrays that are asked for again and again ----------------------------------------------------------------------------------------

FEW = 64                                    # of an axis: so short ones' triangles are made once


def places(n):
    """np.arange(n), for nobody to change: what walks evenly a compiled program reads where it lies (kernels.layout.strided). (Each time another array: a program
    reads two in two places, whatever their length.)"""
    return unchanged(np.arange(n))


def lower(*shape, k=0):
    """np.tri(*shape, k) as truth values, nobody's to change where it is short: which entries of a matrix lie on its k-th diagonal, or below it."""
    return _kept(*shape, k=k)[:] if max(shape) <= FEW else np.tri(*shape, k=k, dtype=bool)


@functools.lru_cache(maxsize=256)
def _kept(*shape, k):
    return unchanged(np.tri(*shape, k=k, dtype=bool))
