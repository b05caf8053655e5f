"""Reductions, scans and orders: np.sum, np.mean, np.cumsum, np.sort, np.linalg.norm, ..."""
import numpy as np

from ..errors import refuse
from ..numpy_api import astype, axes_of, axis_of, getitem, operand
from ..vocabulary import elementwise as e, reductions as r
from .table import implements


def _reducer(primitive):
    def reduce(a, axis=None, dtype=None, keepdims=False, initial=None, where=None):
        x = operand(a)
        if where is not None and where is not np._NoValue:
            neutral = {"sum": 0.0, "prod": 1.0}.get(primitive.name)
            if neutral is None:
                raise refuse(TypeError, f"{primitive.name}{{here}}: where= is not supported here on traced values; select with np.where first")
            x = e.where(where, x, neutral)
        if dtype is not None:
            x = astype(x, dtype)
        out = primitive(x, axis=axes_of(axis, x.ndim), keepdims=_flag(keepdims))
        if initial is not None and initial is not np._NoValue:
            out = {"sum": e.add, "prod": e.multiply, "max": e.maximum, "min": e.minimum}[primitive.name](out, initial)
        return out
    return reduce


def _flag(keepdims):
    return bool(keepdims) and keepdims is not np._NoValue


for _f, _p in ((np.sum, r.sum), (np.prod, r.prod), (np.max, r.max), (np.min, r.min), (np.amax, r.max), (np.amin, r.min), (np.any, r.any), (np.all, r.all)):
    implements(_f)(_reducer(_p))


@implements(np.mean)
def mean(a, axis=None, dtype=None, keepdims=False):
    x = operand(a) if dtype is None else astype(a, dtype)
    return r.mean(x, axis=axes_of(axis, x.ndim), keepdims=_flag(keepdims))


@implements(np.var)
def var(a, axis=None, dtype=None, ddof=0, keepdims=False, correction=None):
    ddof = correction if correction not in (None, np._NoValue) else ddof
    x = operand(a) if dtype is None else astype(a, dtype)
    return r.var(x, axis=axes_of(axis, x.ndim), keepdims=_flag(keepdims), ddof=ddof)


@implements(np.std)
def std(a, axis=None, dtype=None, ddof=0, keepdims=False, correction=None):
    return e.sqrt(var(a, axis, dtype, ddof, keepdims, correction))


@implements(np.average)
def average(a, axis=None, weights=None, keepdims=False):
    if weights is None:
        return mean(a, axis, keepdims=keepdims)
    return np.sum(a * weights, axis=axis, keepdims=_flag(keepdims)) / np.sum(np.broadcast_to(weights, np.shape(a)), axis=axis, keepdims=_flag(keepdims))


@implements(np.ptp)
def ptp(a, axis=None, keepdims=False):
    return np.max(a, axis=axis, keepdims=_flag(keepdims)) - np.min(a, axis=axis, keepdims=_flag(keepdims))


@implements(np.cumsum)
def cumsum(a, axis=None, dtype=None):
    x = operand(a) if axis is not None else np.ravel(a)
    x = x if dtype is None else astype(x, dtype)
    return r.cumsum(x, axis=axis_of(0 if axis is None else axis, x.ndim))


@implements(np.cumprod)
def cumprod(a, axis=None, dtype=None):
    x = operand(a) if axis is not None else np.ravel(a)
    return r.cumprod(x, axis=axis_of(0 if axis is None else axis, x.ndim))


@implements(np.diff)
def diff(a, n=1, axis=-1):
    x = operand(a)
    axis = axis_of(axis, x.ndim)
    for _ in range(n):
        after, before = [slice(None)] * x.ndim, [slice(None)] * x.ndim
        after[axis], before[axis] = slice(1, None), slice(None, -1)
        x = getitem(x, tuple(after)) - getitem(x, tuple(before))
    return x


@implements(np.argmax)
def argmax(a, axis=None, keepdims=False):
    return r.argmax(a, axis=None if axis is None else axis_of(axis, a.ndim))


@implements(np.argmin)
def argmin(a, axis=None, keepdims=False):
    return r.argmin(a, axis=None if axis is None else axis_of(axis, a.ndim))


@implements(np.argsort)
def argsort(a, axis=-1, kind=None, order=None, stable=None):
    return r.argsort(a, axis=axis_of(axis, a.ndim)) if axis is not None else r.argsort(np.ravel(a), axis=0)


@implements(np.sort)
def sort(a, axis=-1, kind=None, order=None, stable=None):
    a = np.ravel(a) if axis is None else a
    axis = axis_of(-1 if axis is None else axis, a.ndim)
    return np.take_along_axis(a, r.argsort(a, axis=axis), axis)


@implements(np.median)
def median(a, axis=None, keepdims=False):
    x = sort(a, axis)
    axis = 0 if axis is None else axis_of(axis, a.ndim)
    n, at = x.shape[axis], [slice(None)] * x.ndim
    at[axis] = slice((n - 1) // 2, n // 2 + 1)
    return np.mean(getitem(x, tuple(at)), axis=axis, keepdims=_flag(keepdims))


@implements(np.count_nonzero)
def count_nonzero(a, axis=None, keepdims=False):
    return np.sum(astype(e.not_equal(a, 0), np.intp), axis=axis, keepdims=_flag(keepdims))


@implements(np.linalg.norm)
def norm(x, ord=None, axis=None, keepdims=False):
    if ord not in (None, 2, "fro") or ord == 2 and axis is None and x.ndim == 2:
        raise refuse(TypeError, f"numpy.linalg.norm{{here}}: ord={ord!r} is not supported on traced values; write it with np.abs, np.sum and np.max")
    squares = np.sum(e.square(x), axis=axis, keepdims=_flag(keepdims))
    zero = e.equal(squares, 0)                      # the norm at 0 has derivative 0 (docs/kinks.md), not 0 * inf
    return e.where(zero, e.absolute(squares), e.sqrt(e.where(zero, 1.0, squares)))
