"""What every ufunc can besides a call: f(x, where=mask, out=y), f.reduce, f.accumulate, f.reduceat, f.at, f.outer.

Methods with a primitive of their own (np.add.reduce is np.sum) are in numpy_api.py; here stand the rest, entry by entry along the axis, as NumPy defines
them: for running maxima, products by index and the like. Along a long axis that is a loop (control.scan).
"""
import numpy as np

from ..control import scan
from ..errors import refuse
from ..numpy_api import astype, axes_of, axis_of, logsumexp, operand, plain, split_index
from ..recording import outlining
from ..ufunc_dtypes import cast, resolved
from ..vocabulary import elementwise as e, indexing
from ..vocabulary.indexing import join


WRITTEN_OUT = 16            # rows, up to which what is recorded has an operation for each


def where_chosen(primitive, operands, mask):
    """The operands with a number of the primitive's smooth domain where the result is not wanted: log(x, where=x > 0) is never asked for log(0), whose
    slope would make NaN of a cotangent of 0."""
    domain = getattr(primitive, "domain", None) or ((0.25, 0.75),) * len(operands)
    return [x if np.result_type(getattr(x, "dtype", x)).kind != "f" else e.where(mask, x, np.asarray(sum(d) / 2, getattr(x, "dtype", None))[()])
            for x, d in zip(operands, domain)]


def _along(f, x, axis):
    """What f goes along, in front, in the dtype of f's results: the first entry is one of them."""
    x = operand(x)
    return np.moveaxis(cast(x, resolved(f, [x, x])[1][0]), axis_of(axis, x.ndim), 0)


def _is_loop(rows):
    """Is what goes along so many rows one operation of what is recorded?"""
    return outlining.get() is not None and len(rows) > WRITTEN_OUT


def reduce(f, x, axis=0, keepdims=False):
    x = operand(x)
    if axis is None or isinstance(axis, tuple):
        axes = axes_of(axis, x.ndim)
        if len(axes) > 1:
            f.reduce(np.ones((1, 1), x.dtype), axis=(0, 1))                # NumPy's own error, where the order counts
        rest = [n for k, n in enumerate(x.shape) if k not in axes]
        out = reduce(f, np.reshape(np.moveaxis(x, axes, range(len(axes))), [-1, *rest]))
        return np.expand_dims(out, axes) if keepdims else out
    rows = _along(f, x, axis)
    if not len(rows):
        raise refuse(ValueError, f"{f.__name__}.reduce{{here}}: there is nothing along axis {axis}, and no value stands for nothing")
    out = rows[0]
    if _is_loop(rows):
        out, _ = scan(lambda out, row: (f(out, row), None), out, rows[1:])
    else:
        for k in range(1, len(rows)):
            out = f(out, rows[k])
    return np.expand_dims(out, axis) if keepdims else out


def logaddexp_reduce(f, x, axis=0, dtype=None, keepdims=False, initial=-np.inf, where=True):
    """By logsumexp, whose largest term is found once."""
    x = operand(x) if dtype is None else astype(operand(x), dtype)
    out = logsumexp(cast(x, resolved(f, [x, x])[1][0]) if where is True else e.where(operand(where), x, -np.inf), axis, keepdims)
    return out if initial is None or type(initial) is float and initial == -np.inf else f(out, initial)


def accumulate(f, x, axis=0):
    rows = _along(f, x, axis)
    if _is_loop(rows):
        def turn(out, row):
            out = f(out, row)
            return out, out
        return np.moveaxis(np.concatenate([rows[:1], scan(turn, rows[0], rows[1:])[1]]), 0, axis)
    out = [rows[k] for k in range(min(len(rows), 1))]
    for k in range(1, len(rows)):
        out.append(f(out[-1], rows[k]))
    return np.stack(out, axis) if out else np.moveaxis(rows, 0, axis)


def reduceat(f, x, indices, axis=0):
    rows, at = _along(f, x, axis), [int(k) for k in indices]
    if f is np.add and at and 0 <= at[0] and at[-1] < len(rows) and all(map(int.__lt__, at, at[1:])):          # sums of pieces: each row is added to its own
        piece = np.repeat(np.arange(len(at)), np.diff([*at, len(rows)]))
        return np.moveaxis(indexing.scatter(rows[at[0]:], piece, index=(indexing.Slot(0),), shape=(len(at), *rows.shape[1:])), 0, axis)
    ends = [*at[1:], len(rows)]
    return np.stack([f.reduce(rows[lo:hi], axis=0) if hi > lo else rows[lo] for lo, hi in zip(at, ends)], axis)


def outer(f, x, y):
    x, y = map(operand, (x, y))
    return f(np.reshape(x, np.shape(x) + (1,) * np.ndim(y)), y)


def at(f, target, index, *values):
    """target[i] = f(target[i], value) for each i of the index, one after the other where an i comes more than once."""
    arrays, template = split_index(index)
    places = np.arange(target.size).reshape(target.shape)[join(template, [plain(a) for a in arrays])]
    values = [np.ravel(np.broadcast_to(operand(v), places.shape)) for v in values]
    places = places.ravel()
    order = np.argsort(places, kind="stable")
    first = np.searchsorted(places[order], places[order])
    turn = np.empty(places.size, int)
    turn[order] = np.arange(places.size) - first                 # how often its place was named before
    for k in range(turn.max(initial=-1) + 1):
        now = np.flatnonzero(turn == k)
        here = np.unravel_index(places[now], target.shape)
        target[here] = f(target[here], *[v[now] for v in values])
