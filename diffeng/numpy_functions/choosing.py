"""Indexing and choosing: np.take, np.where, np.clip, np.interp, ..."""
import numpy as np

from ..errors import refuse
from ..numpy_api import axis_of, getitem, operand, plain
from ..traced import Traced
from ..vocabulary import elementwise as e
from .table import implements


@implements(np.take)
def take(a, indices, axis=None, mode="raise"):
    a, axis = (np.ravel(a), 0) if axis is None else (a, axis_of(axis, a.ndim))
    indices = indices if isinstance(indices, Traced) else np.asarray(indices)
    return getitem(a, (slice(None),) * axis + (indices,))


@implements(np.take_along_axis)
def take_along_axis(arr, indices, axis=-1):
    axis = axis_of(axis, arr.ndim)
    grid = [np.arange(n).reshape([-1 if j == k else 1 for j in range(arr.ndim)]) for k, n in enumerate(indices.shape)]
    grid[axis] = indices
    return getitem(arr, tuple(grid))


@implements(np.compress)
def compress(condition, a, axis=None):
    return take(a, np.flatnonzero(plain(condition)), axis)


@implements(np.where)
def where(condition, x=None, y=None):
    if x is None or y is None:
        return nonzero(condition)
    return e.where(operand(condition), operand(x), operand(y))


@implements(np.select)
def select(condlist, choicelist, default=0):
    out = operand(default)
    for test, value in reversed(list(zip(condlist, choicelist))):
        out = e.where(operand(test), operand(value), out)
    return out


@implements(np.clip)
def clip(a, a_min=None, a_max=None, min=None, max=None):
    low = min if a_min is None or a_min is np._NoValue else a_min
    high = max if a_max is None or a_max is np._NoValue else a_max
    x = operand(a)
    x = x if low is None or low is np._NoValue else e.maximum(x, operand(low))
    return x if high is None or high is np._NoValue else e.minimum(x, operand(high))


@implements(np.nan_to_num)
def nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None):
    top = np.finfo(x.dtype).max
    x = e.where(e.isnan(x), nan, x)
    inf = e.isinf(x)
    return e.where(inf, e.where(e.greater(x, 0), top if posinf is None else posinf, -top if neginf is None else neginf), x)


@implements(np.nonzero)
def nonzero(a):
    return np.nonzero(plain(e.not_equal(a, 0)))


@implements(np.round, np.around)
def round_(a, decimals=0):
    return e.rint(a) if decimals == 0 else e.rint(a * 10.0 ** decimals) / 10.0 ** decimals


@implements(np.sinc)
def sinc(x):
    from ..constants import PI
    zero = e.equal(x, 0)
    y = e.where(zero, 1.0, x) * PI
    return e.where(zero, 1.0 - e.square(x), e.sin(y) / y)


@implements(np.interp)
def interp(x, xp, fp, left=None, right=None, period=None):
    if period is not None or left is not None or right is not None:
        raise refuse(TypeError, "interp{here}: left, right and period are not supported on traced values")
    xp = operand(xp)
    k = np.clip(np.searchsorted(plain(xp), plain(x)) - 1, 0, len(xp) - 2)
    x = np.clip(x, xp[0], xp[-1])
    t = (x - np.take(xp, k)) / (np.take(xp, k + 1) - np.take(xp, k))
    return np.take(fp, k) + t * (np.take(fp, k + 1) - np.take(fp, k))


@implements(np.searchsorted)
def searchsorted(a, v, side="left", sorter=None):
    return np.searchsorted(plain(a), plain(v), side, sorter)
