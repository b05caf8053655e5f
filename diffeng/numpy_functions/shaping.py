"""Shapes: np.reshape, np.transpose, np.concatenate, np.split, np.tile, np.diag, ... Reshapes and transpositions are views."""
import math

import numpy as np

from ..errors import refuse
from ..numpy_api import arrayed, astype, axes_of, axis_of, getitem, operand, plain
from ..traced import TRACED, Traced, layout_of, reshapes, viewing
from ..vocabulary import elementwise as e, shaping as s
from ..vocabulary.indexing import Slot, lower, places, scatter
from .choosing import take
from .reducing import at_hand, total
from .table import along, counted, implements


def reshaped(x, shape, same=False):
    """reshape to a full shape: a view, so that writes go through to x, where it is one in NumPy. same: but for axes of length 1 it is x's shape."""
    old, shape = x.shape, tuple(shape)
    out = s.reshape(x, shape=shape)
    if not (same or reshapes(x, shape)):
        return out
    return viewing(out, x, lambda y: s.reshape(y, shape=shape), lambda y, v: s.reshape(v, shape=old))


def transposed(x, axes):
    axes = tuple(axes)
    return viewing(s.transpose(x, axes=axes), x, lambda y: s.transpose(y, axes=axes),
                   lambda y, v: s.transpose(v, axes=tuple([axes.index(k) for k in range(len(axes))])))


def in_memory(x, order):
    """The permutation of x's axes after which C order is this order ("F", "A", "K") of x; None where that is C order as it is."""
    back = list(range(x.ndim))[::-1]
    if order == "F":
        return back
    layout = layout_of(x)
    if layout.flags.c_contiguous:
        return None
    if order == "A" or layout.flags.f_contiguous:
        return back if layout.flags.f_contiguous else None
    axes = sorted(range(x.ndim), key=lambda k: -abs(layout.strides[k]))
    return axes if axes != back[::-1] else None


@implements(np.reshape)
def reshape(a, /, shape=None, order="C", newshape=None, copy=None):
    if order not in ("C", "F", "A"):
        raise refuse(ValueError, f"reshape{{here}}: order={order!r} is none of 'C', 'F' and 'A'")
    shape = newshape if shape is None else shape
    shape = [int(n) for n in (shape if isinstance(shape, (tuple, list)) else np.ravel(plain(shape)))]
    if -1 in shape:
        known = -math.prod(shape)
        if known == 0 or a.size % known:
            raise refuse(ValueError, f"reshape{{here}}: cannot reshape {a.shape} into {tuple(shape)}: {a.size} entries do not divide")
        shape[shape.index(-1)] = a.size // known
    a = a.copy() if copy else a
    if order != "C" and in_memory(a, order) is not None:
        return transposed(reshaped(transposed(a, range(a.ndim)[::-1]), shape[::-1]), range(len(shape))[::-1])
    return reshaped(a, shape)


@implements(np.ravel)
def ravel(a, order="C"):
    axes = in_memory(a, order) if order != "C" else None
    a = a if axes is None else transposed(a, axes)
    return reshaped(a, (a.size,)) if layout_of(a).flags.c_contiguous else s.reshape(a, shape=(a.size,))


@implements(np.squeeze)
def squeeze(a, axis=None):
    drop = [k for k, n in enumerate(a.shape) if n == 1] if axis is None else axes_of(axis, a.ndim)
    if any(a.shape[k] != 1 for k in drop):
        raise refuse(ValueError, f"squeeze{{here}}: an axis to drop has a length other than 1 in shape {a.shape}")
    return reshaped(a, [n for k, n in enumerate(a.shape) if k not in drop], same=True)


@implements(np.expand_dims)
def expand_dims(a, axis):
    axis = axis if isinstance(axis, (tuple, list)) else (axis,)
    new = axes_of(axis, a.ndim + len(axis))
    old = iter(a.shape)
    return reshaped(a, [1 if k in new else next(old) for k in range(a.ndim + len(new))], same=True)


@implements(np.atleast_1d)
def atleast_1d(*arys):
    out = [reshaped(a, (1,)) if np.ndim(a) == 0 else a for a in map(arrayed, arys)]
    return out[0] if len(out) == 1 else tuple(out)


@implements(np.atleast_2d)
def atleast_2d(*arys):
    out = [a if a.ndim > 1 else reshaped(a, (1, a.size)) for a in map(arrayed, arys)]
    return out[0] if len(out) == 1 else tuple(out)


@implements(np.atleast_3d)
def atleast_3d(*arys):
    out = [a if a.ndim > 2 else reshaped(a, (1, a.size, 1) if a.ndim < 2 else (*a.shape, 1)) for a in map(arrayed, arys)]
    return out[0] if len(out) == 1 else tuple(out)


@implements(np.transpose, np.permute_dims)
def transpose(a, axes=None):
    return transposed(a, range(a.ndim)[::-1] if axes is None else [axis_of(k, a.ndim) for k in axes])


@implements(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x):
    return swapaxes(x, -1, -2)


@implements(np.swapaxes)
def swapaxes(a, axis1, axis2):
    axes = list(range(a.ndim))
    i, j = axis_of(axis1, a.ndim), axis_of(axis2, a.ndim)
    axes[i], axes[j] = axes[j], axes[i]
    return transposed(a, axes)


@implements(np.moveaxis)
def moveaxis(a, source, destination):
    source, destination = (list(np.lib.array_utils.normalize_axis_tuple(k, a.ndim)) for k in (source, destination))
    order = [k for k in range(a.ndim) if k not in source]
    for to, of in sorted(zip(destination, source)):
        order.insert(to, of)
    return transposed(a, order)


@implements(np.rollaxis)
def rollaxis(a, axis, start=0):
    axis = axis_of(axis, a.ndim)
    return moveaxis(a, axis, start - (start > axis))


@implements(np.broadcast_to)
def broadcast_to(array, shape, subok=False):
    shape = tuple(int(n) for n in (shape if isinstance(shape, (tuple, list)) else (shape,)))
    return viewing(s.broadcast_to(array, shape=shape), array, lambda y: s.broadcast_to(y, shape=shape))


@implements(np.broadcast_arrays)
def broadcast_arrays(*args, subok=False):
    shape = np.broadcast_shapes(*[np.shape(a) for a in args])
    return tuple(broadcast_to(a, shape) if isinstance(a, Traced) else np.broadcast_to(a, shape) for a in args)


@implements(np.concatenate)
def concatenate(arrays, /, axis=0, *, dtype=None, casting=None):
    parts = [operand(a) for a in arrays]
    if axis is None:
        parts, axis = [np.ravel(p) for p in parts], 0
    out = s.concatenate(*parts, axis=axis_of(axis, np.ndim(parts[0])))
    return out if dtype is None else astype(out, dtype)


def stacks(parts):
    """Are they stacked in one operation? That takes less of a recording's time than three for each part, which a compiler knows better."""
    return all([type(p) not in TRACED or at_hand(p) is not None for p in parts])


@implements(np.stack)
def stack(arrays, axis=0, *, dtype=None, casting=None):
    parts = [operand(a) for a in arrays]
    axis = axis_of(axis, len(np.shape(parts[0])) + 1)
    if stacks(parts):
        out = s.stack(*parts, axis=axis)
        return out if dtype is None else astype(out, dtype)
    return concatenate([s.reshape(p, shape=(*(shape := np.shape(p))[:axis], 1, *shape[axis:])) for p in parts], axis, dtype=dtype)


@implements(np.hstack)
def hstack(tup, *, dtype=None, casting=None):
    parts = [a if len(np.shape(a)) else np.atleast_1d(a) for a in map(operand, tup)]
    return concatenate(parts, 0 if parts[0].ndim == 1 else 1, dtype=dtype)


@implements(np.vstack)
def vstack(tup, *, dtype=None, casting=None):
    return concatenate([np.atleast_2d(operand(a)) for a in tup], 0, dtype=dtype)


@implements(np.dstack)
def dstack(tup):
    return concatenate([np.atleast_3d(operand(a)) for a in tup], 2)


@implements(np.column_stack)
def column_stack(tup):
    return concatenate([np.reshape(a, (-1, 1)) if np.ndim(a) < 2 else a for a in map(operand, tup)], 1)


@implements(np.append)
def append(arr, values, axis=None):
    return concatenate([operand(arr), operand(values)], axis)


def _pieces(a, where, axis):
    at = [slice(None)] * a.ndim
    out = []
    for lo, hi in zip([0, *where], [*where, a.shape[axis]]):
        at[axis] = slice(int(lo), int(hi))
        out.append(a[tuple(at)])
    return out


@implements(np.array_split)
def array_split(ary, indices_or_sections, axis=0):
    axis, where = axis_of(axis, ary.ndim), indices_or_sections
    if isinstance(where, (int, np.integer)):
        n, where = ary.shape[axis], counted(where, "array_split sections", 1)
        where = list(np.cumsum([n // where + (k < n % where) for k in range(where)])[:-1])
    return _pieces(ary, where, axis)


@implements(np.split)
def split(ary, indices_or_sections, axis=0):
    if isinstance(indices_or_sections, (int, np.integer)) and ary.shape[axis_of(axis, ary.ndim)] % indices_or_sections:
        raise refuse(ValueError, f"split{{here}}: axis {axis} of {ary.shape} does not divide into {indices_or_sections} equal parts; use np.array_split")
    return array_split(ary, indices_or_sections, axis)


@implements(np.vsplit)
def vsplit(ary, indices_or_sections):
    if ary.ndim < 2:
        raise refuse(ValueError, f"vsplit{{here}}: it divides rows, and there is an array of {ary.ndim} axes; use np.split")
    return split(ary, indices_or_sections, 0)


@implements(np.hsplit)
def hsplit(ary, indices_or_sections):
    return split(ary, indices_or_sections, 1 if ary.ndim > 1 else 0)


@implements(np.dsplit)
def dsplit(ary, indices_or_sections):
    return split(ary, indices_or_sections, 2)


@implements(np.unstack)
def unstack(x, *, axis=0):
    return tuple(moveaxis(x, axis, 0))


@implements(np.tile)
def tile(A, reps):
    reps = tuple([int(n) for n in np.ravel(plain(operand(reps)))])
    rank = max(len(reps), A.ndim)
    reps, shape = (1,) * (rank - len(reps)) + reps, (1,) * (rank - A.ndim) + A.shape
    spread = s.reshape(A, shape=tuple([n for k in shape for n in (1, k)]))                    # a copy, not a view, for whoever writes into it
    wide = s.broadcast_to(spread, shape=tuple([n for p in zip(reps, shape) for n in p]))
    return s.reshape(wide, shape=tuple([i * j for i, j in zip(reps, shape)]))


@implements(np.repeat)
def repeat(a, repeats, axis=None):
    a, axis = along(a, axis)
    return take(a, np.repeat(places(a.shape[axis]), plain(operand(repeats))), axis)


@implements(np.tril)
def tril(m, k=0):
    return e.where(lower(*m.shape[-2:], k=k), m, np.zeros((), m.dtype))


@implements(np.triu)
def triu(m, k=0):
    return e.where(lower(*m.shape[-2:], k=k - 1), np.zeros((), m.dtype), m)


@implements(np.tril_indices_from)
def tril_indices_from(arr, k=0):
    return np.tril_indices(arr.shape[-2], k, arr.shape[-1])


@implements(np.triu_indices_from)
def triu_indices_from(arr, k=0):
    return np.triu_indices(arr.shape[-2], k, arr.shape[-1])


@implements(np.diag_indices_from)
def diag_indices_from(arr):
    return np.diag_indices_from(np.broadcast_to(0, arr.shape))


@implements(np.diagonal)
def diagonal(a, offset=0, axis1=0, axis2=1):
    if len(a.shape) != 2 or (axis1, axis2) != (0, 1):
        a = moveaxis(a, (axis1, axis2), (-2, -1))
    rows, columns = a.shape[-2:]
    n = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    at = [places(n) + k if k else places(n) for k in (max(-offset, 0), max(offset, 0))]
    entries = getitem(a, (..., *at))
    return viewing(entries, a, lambda y: np.diagonal(y, offset, -2, -1))


@implements(np.linalg.diagonal)
def linalg_diagonal(x, offset=0):
    return diagonal(x, offset, -2, -1)


@implements(np.diag)
def diag(v, k=0):
    v = operand(v)
    if v.ndim == 2:
        return diagonal(v, k)
    k = int(k)
    n = v.shape[0] + abs(k)
    rows = np.arange(v.shape[0]) + max(-k, 0)
    return scatter(v, rows, rows + k, index=(Slot(0), Slot(1)), shape=(n, n))


@implements(np.diagflat)
def diagflat(v, k=0):
    return diag(np.ravel(operand(v)), k)


@implements(np.trace)
def trace(a, offset=0, axis1=0, axis2=1, dtype=None):
    return total(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@implements(np.linalg.trace)
def linalg_trace(x, *, offset=0, dtype=None):
    return trace(x, offset, -2, -1, dtype)
