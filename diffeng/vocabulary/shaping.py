"""Index maps: out[p] = in[phi(p)], no arithmetic. Parameters are canonical: full shapes, permutations, axes >= 0."""
import itertools
import math

import numpy as np

from ..nodes import Primitive

_ANY = ((0.3, 2.0),)

reshape      = Primitive("reshape", lambda x, *, shape: np.reshape(x, shape), "view", None, _ANY, quick=lambda x, *, shape: x.reshape(shape))
transpose    = Primitive("transpose", lambda x, *, axes: np.transpose(x, axes), "view", None, _ANY, quick=lambda x, *, axes: x.transpose(axes))   # a permutation
broadcast_to = Primitive("broadcast_to", lambda x, *, shape: np.broadcast_to(x, shape), "view", None, _ANY)
concatenate  = Primitive("concatenate", lambda *parts, axis: np.concatenate(parts, axis=axis), "gather", None, _ANY * 2)
stack        = Primitive("stack", lambda *parts, axis: np.stack(parts, axis=axis), "gather", None, _ANY * 2,          # (numpy_functions/shaping.py says when)
                         quick=lambda *parts, axis: np.stack(parts, axis=axis) if axis else np.array(parts))
pad          = Primitive("pad", lambda x, *, widths, value: np.pad(x, widths, constant_values=value), "gather", None,
                         _ANY, quick=lambda x, *, widths, value: _padded(x, widths, value))   # widths: ((before, after), ...) per axis


def _padded(x, widths, value):
    """np.pad, in a few steps."""
    out = np.full([lo + n + hi for n, (lo, hi) in zip(x.shape, widths)], value, x.dtype)
    out[tuple([slice(lo, lo + n) for n, (lo, _) in zip(x.shape, widths)])] = x
    return out


def pieces(x, shapes):
    """A vector, cut into arrays of these shapes."""
    ends = [*itertools.accumulate([math.prod(s) for s in shapes])]
    return [reshape(x[end - math.prod(s):end], shape=tuple(s)) for end, s in zip(ends, shapes)]


def aligned(x, rank):
    """x (K, ...) with axes of length 1 inserted behind the first until the rest has this rank: a leading axis more than the operands it meets."""
    missing = rank + 1 - x.ndim
    return x if missing <= 0 else reshape(x, shape=x.shape[:1] + (1,) * missing + x.shape[1:])


def broadcast_shapes(shapes):
    """The shape of what is elementwise of arrays of these shapes, which fit. (NumPy's own makes plain integers of lengths, see lengths.py.)"""
    rank = max(map(len, shapes), default=0)
    return tuple([0 if 0 in lengths else max(lengths) for lengths in zip(*[(1,) * (rank - len(s)) + tuple(s) for s in shapes])])


def is_repeated(n, m):
    """Is an axis of length n repeated along one of length m? (Where there are as many entries nothing is, whatever is guessed of them, see lengths.py.)"""
    return int(n) != int(m) or n == 1 and m != 1
