"""Indexing and choosing: np.take, np.where, np.clip, np.interp, ..."""
import functools
import math

import numpy as np

from .. import selections
from ..constants import PI
from ..errors import refuse
from ..numpy_api import arrayed, astype, axes_of, axis_of, getitem, operand, plain
from ..traced import Traced, layout_of
from ..ufunc_dtypes import cast, result_type
from ..vocabulary import elementwise as e
from ..vocabulary.indexing import places
from .table import along, counted, implements


@implements(np.take)
def take(a, indices, axis=None, mode="raise"):
    a, axis = along(a, axis)
    indices = places_of(indices if isinstance(indices, Traced) else np.asarray(indices))
    if mode == "wrap":
        indices = indices % a.shape[axis]
    elif mode == "clip":
        indices = np.clip(indices, 0, a.shape[axis] - 1)
    return getitem(a, (slice(None),) * axis + (indices,))


def places_of(indices):
    """Integers. To functions that take places, False and True are the places 0 and 1, and no mask."""
    return indices.astype(np.intp) if indices.dtype == bool else indices


@implements(np.take_along_axis)
def take_along_axis(arr, indices, axis=-1):
    arr, axis = (np.ravel(arr), 0) if axis is None else (arr, axis_of(axis, arr.ndim))
    return getitem(arr, _along_axis(arr, indices, axis))


def _along_axis(arr, indices, axis):
    """The index of what `indices` say along an axis; along the others they are broadcast against the array, as NumPy does it."""
    if np.ndim(indices) != arr.ndim:
        raise refuse(ValueError, f"take_along_axis{{here}}: indices of {np.ndim(indices)} axes for an array of {arr.ndim}: they must have as many")
    grid = [places(n).reshape([-1 if j == k else 1 for j in range(arr.ndim)]) for k, n in enumerate(arr.shape)]
    grid[axis] = indices
    return tuple(grid)


@implements(np.compress)
def compress(condition, a, axis=None):
    condition = operand(condition)
    if selections.unknown(condition) and np.ndim(condition) == 1 and (axis is None or np.ndim(a) == 1) and condition.size == np.size(a):
        return getitem(np.ravel(operand(a)), e.not_equal(condition, 0))
    return take(a, np.flatnonzero(plain(condition)), axis)


@implements(np.where)
def where(condition, x=None, y=None):
    if x is None and y is None:
        return nonzero(condition)
    if x is None or y is None:
        raise refuse(ValueError, "where{here}: give what is taken where the condition holds and where it does not, or neither")
    return e.where(operand(condition), operand(x), operand(y))


@implements(np.select)
def select(condlist, choicelist, default=0):
    choices, tests = [operand(value) for value in (*choicelist, default)], [operand(test) for test in condlist]
    if len(tests) != len(choicelist) or any(np.result_type(getattr(test, "dtype", type(test))) != bool for test in tests):
        raise refuse(ValueError, f"select{{here}}: {len(tests)} conditions for {len(choicelist)} choices: give as many, and conditions that are booleans")
    dtype = result_type(*choices)
    *choices, out = [cast(value, dtype) for value in choices]
    for test, value in reversed(list(zip(tests, choices))):
        out = e.where(test, value, out)
    return out


@implements(np.clip)
def clip(a, a_min=None, a_max=None, *, min=None, max=None, dtype=None):
    low = min if a_min is None or a_min is np._NoValue else a_min
    high = max if a_max is None or a_max is np._NoValue else a_max
    x = operand(a)
    x = x if low is None or low is np._NoValue else e.maximum(x, operand(low))
    x = x if high is None or high is np._NoValue else e.minimum(x, operand(high))
    return x if dtype is None or x.dtype == dtype else x.astype(dtype)


@implements(np.nan_to_num)
def nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None):
    x = arrayed(x)
    if x.dtype.kind != "f":
        return e.copy(x)
    top = np.finfo(x.dtype).max
    x = e.where(e.isnan(x), nan, x)
    inf = e.isinf(x)
    return e.where(inf, e.where(e.greater(x, 0), top if posinf is None else posinf, -top if neginf is None else neginf), x)


@implements(np.nonzero)
def nonzero(a):
    mask = e.not_equal(a, 0)
    return selections.places(mask) if np.ndim(mask) and selections.unknown(mask) else np.nonzero(plain(mask))


@implements(np.isposinf)
def isposinf(x):
    return e.equal(x, np.inf)


@implements(np.isneginf)
def isneginf(x):
    return e.equal(x, -np.inf)


@implements(np.fix)
def fix(x):
    return e.trunc(x)


@implements(np.round, np.around)
def round_(a, decimals=0):
    a, decimals = operand(a), int(decimals)
    if a.dtype.kind in "iu" and decimals >= 0:
        return e.copy(a)
    if decimals == 0:
        return e.rint(a)
    power = float(f"1e{abs(decimals)}")               # exact, where 0.1 and 0.01 are not
    return e.rint(a * power) / power if decimals > 0 else (e.rint(a / power) * power).astype(a.dtype)


@implements(np.sinc)
def sinc(x):
    near = e.less(e.square(x), 0.2)                      # where terms of the derivatives of sin(y) / y would cancel
    y = e.where(near, 1.0, x) * PI
    z, series = e.square(e.where(near, x, 0.0) * PI), 1.0
    for k in range(24, 0, -2):                           # 1 - y^2/3! + y^4/5! - ..., to all digits of the fourth derivative, too
        series = 1.0 - z * series / (k * (k + 1.0))
    return e.where(near, series, e.sin(y) / y)


@implements(np.i0)
def i0(x):
    from .. import special
    x = arrayed(x)
    return special.i0(x if x.dtype.kind == "f" else cast(x, np.float64))


@implements(np.interp)
def interp(x, xp, fp, left=None, right=None, period=None):
    x, xp, fp = (v if v.dtype == complex else cast(v, np.float64) for v in map(arrayed, (x, xp, fp)))                # NumPy's has no other dtypes
    if xp.ndim != 1 or xp.shape != fp.shape or not xp.size:
        raise refuse(ValueError, f"interp{{here}}: points of shape {xp.shape} with values of shape {fp.shape}: give two rows of one length, 1 at least")
    if period is not None:
        period, left, right = e.absolute(operand(period)), None, None
        x, xp = x % period, xp % period
        order = np.argsort(xp)
        xp, fp = xp[order], fp[order]
        xp, fp = np.concatenate([xp[-1:] - period, xp, xp[:1] + period]), np.concatenate([fp[-1:], fp, fp[:1]])
    first, last = xp[0], xp[-1]
    if xp.size == 1:                                             # the same value everywhere
        xp, fp = np.concatenate([xp, xp + 1]), np.concatenate([fp, fp])
    k = np.clip(searchsorted(xp, x, side="right") - 1, 0, len(xp) - 2)
    t = (np.clip(x, first, last) - take(xp, k)) / (take(xp, k + 1) - take(xp, k))
    out = take(fp, k) + t * (take(fp, k + 1) - take(fp, k))
    out = out if left is None else e.where(e.less(x, first), operand(left), out)
    return out if right is None else e.where(e.greater(x, last), operand(right), out)


# ---- positions: where nothing else can be done, looked up in the value, like an `if` -----------------------------------------


def known(x):
    """The ndarray below a traced value; None where what is computed of it is to hold for other values, too (under jit, in a graph), or for many examples."""
    from ..buffers import unwrap
    under = unwrap(x)
    while isinstance(under, Traced):
        if under.interpreter.examples or under.interpreter.lasting:
            return None
        under = unwrap(getattr(under, "below", ()))
    return None if under is None else plain(x)


@implements(np.searchsorted)
def searchsorted(a, v, side="left", sorter=None):
    if side not in ("left", "right"):
        raise refuse(ValueError, f"searchsorted{{here}}: side={side!r} is neither 'left' nor 'right'")
    a, v = arrayed(a), arrayed(v)
    a = a if sorter is None else np.take(a, sorter)
    values = known(a), known(v)
    if not any(x is None for x in values):
        return np.searchsorted(*values, side)
    return _places_among(a, v, e.less if side == "left" else e.less_equal)


def _places_among(a, v, before):
    """How many of the sorted entries of a come before each v, in log2(len(a)) steps of bisection for all of v together. NaN is sorted last."""
    if a.ndim != 1:
        raise refuse(ValueError, f"searchsorted{{here}}: the sorted entries have shape {a.shape}: give a row of them")
    place, step = np.zeros(v.shape, np.intp), 1 << a.size.bit_length()
    last = e.isnan(v)
    while (step := step // 2) and a.size:
        probe = place + (step - 1)
        entry = take(a, np.minimum(probe, a.size - 1))          # (NumPy's own asks a plain array alone)
        passed = e.logical_or(before(entry, v), e.logical_and(last, e.logical_not(e.isnan(entry)) if before is e.less else True))
        place = e.where(e.logical_and(passed, e.less(probe, a.size)), place + step, place)
    return place


_unravel_index = np.unravel_index                                       # NumPy's own: this one stands in its place while a function runs


@implements(np.unravel_index)
def unravel_index(indices, shape, order="C"):
    return _unravel_index(plain(indices), shape, order)


@implements(np.isin)
def isin(element, test_elements, assume_unique=False, invert=False):
    element, test_elements = arrayed(element), np.ravel(arrayed(test_elements))
    values = known(element), known(test_elements)
    if not any(x is None for x in values):
        return np.isin(*values, assume_unique, invert)
    found = np.any(e.equal(element[..., None], test_elements), axis=-1)
    return e.logical_not(found) if invert else found


@implements(np.unique)
def unique(ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True, sorted=True):
    ar = operand(ar)
    _, first, *others = np.unique(plain(ar), True, return_inverse, return_counts, axis, equal_nan=equal_nan)
    values = np.take(ar, first, axis)
    others = [first] * bool(return_index) + others
    return (values, *others) if others else values


@implements(np.union1d)
def union1d(ar1, ar2):
    return unique(np.concatenate([np.ravel(cast(x, result_type(operand(ar1), operand(ar2)))) for x in (operand(ar1), operand(ar2))]))


@implements(np.intersect1d)
def intersect1d(ar1, ar2, assume_unique=False, return_indices=False):
    """Of equal values that of the first array is taken."""
    ar1, ar2 = arrayed(ar1), arrayed(ar2)
    _, first, second = np.intersect1d(plain(ar1), plain(ar2), assume_unique, return_indices=True)
    values = cast(np.take(ar1, first), result_type(ar1, ar2))
    return (values, first, second) if return_indices else values


@implements(np.setdiff1d)
def setdiff1d(ar1, ar2, assume_unique=False):
    ar1 = np.ravel(arrayed(ar1)) if assume_unique else unique(arrayed(ar1))
    return compress(isin(ar1, ar2, assume_unique=True, invert=True), ar1)


@implements(np.setxor1d)
def setxor1d(ar1, ar2, assume_unique=False):
    both = np.sort(np.concatenate([np.ravel(arrayed(x)) if assume_unique else unique(arrayed(x)) for x in (ar1, ar2)]))
    alone = np.concatenate([[True], np.asarray(plain(both[1:]) != plain(both[:-1])), [True]])          # unlike the one before it, and the one behind it
    return compress(alone[1:] & alone[:-1], both) if both.size else both


@implements(np.flatnonzero)
def flatnonzero(a):
    return nonzero(np.ravel(operand(a)))[0]


@implements(np.trim_zeros)
def trim_zeros(filt, trim="fb", axis=None):
    x, trim = arrayed(filt), trim.lower()
    if trim not in ("f", "b", "fb", "bf"):
        raise refuse(ValueError, f"trim_zeros{{here}}: trim={trim!r} is none of 'f', 'b' and 'fb'")
    places = argwhere(x)
    first, last = (places.min(0), places.max(0) + 1) if len(places) else (x.shape, (0,) * x.ndim)         # of zeros alone nothing is left
    axes = axes_of(axis, x.ndim)
    return x[tuple([slice(int(first[k]) if "f" in trim else 0, int(last[k]) if "b" in trim else None) if k in axes else slice(None) for k in range(x.ndim)])]


@implements(np.argwhere)
def argwhere(a):
    return np.argwhere(plain(e.not_equal(a, 0)))


@implements(np.argpartition)
def argpartition(a, kth, axis=-1, kind="introselect", order=None):
    a = arrayed(a)
    value = known(a)
    if value is None:
        row, k = along(a, axis)
        np.argpartition(np.empty(row.shape[k]), plain(kth))          # NumPy's own error
    return np.argpartition(value, plain(kth), axis, kind) if value is not None else np.argsort(a, axis)          # (any order will do that has these in their places)


@implements(np.partition)
def partition(a, kth, axis=-1, kind="introselect", order=None):
    a, axis = (np.ravel(a), 0) if axis is None else (a, axis_of(axis, a.ndim))
    value = known(a)
    if value is None:
        np.partition(np.empty(a.shape[axis]), plain(kth))            # NumPy's own error
        return np.sort(a, axis)                                      # (any order will do that has these in their places)
    ranks = np.argsort(np.argsort(np.partition(value, plain(kth), axis, kind), axis, stable=True), axis)      # NumPy's own order, as places in the sorted one
    return np.take_along_axis(np.sort(a, axis), ranks, axis)


@implements(np.extract)
def extract(condition, arr):
    arr, condition = operand(arr), operand(condition)
    if selections.unknown(condition) and np.shape(condition) == np.shape(arr):
        return getitem(arr, e.not_equal(condition, 0))
    return take(np.ravel(arr), np.flatnonzero(plain(condition)))


@implements(np.choose)
def choose(a, choices, mode="raise"):
    parts = [operand(x) for x in choices]
    dtype = result_type(*parts)
    parts = [cast(x, dtype) for x in parts]
    a = places_of(arrayed(a))
    places = known(a)
    if mode == "raise" and places is not None and places.size:
        counted(places.min(), "choose the least place")
    shape = np.broadcast_shapes(a.shape, *[np.shape(x) for x in parts])
    which = np.broadcast_to({"wrap": a % len(parts), "clip": np.clip(a, 0, len(parts) - 1)}.get(mode, a), shape)
    return getitem(np.stack([np.broadcast_to(x, shape) for x in parts]), (which, *np.indices(shape, sparse=True)))


@implements(np.piecewise)
def piecewise(x, condlist, funclist, *args, **kwargs):
    conditions = [astype(c, bool) if selections.unknown(c) else plain(c).astype(bool) for c in (condlist if isinstance(condlist, (list, tuple)) or np.ndim(condlist) > x.ndim else [condlist])]
    if len(funclist) == len(conditions) + 1:
        conditions.append(np.logical_not(functools.reduce(np.logical_or, conditions)))
    out = np.zeros_like(x)
    for chosen, f in zip(conditions, funclist, strict=True):
        out[chosen] = f(x[chosen], *args, **kwargs) if callable(f) else f
    return out if out.shape else out[()]


# ---- assignment by function ---------------------------------------------------------------------------------------------------


def _own(a, name):
    if not isinstance(a, Traced):
        raise refuse(TypeError, f"{name}{{here}}: a traced value cannot be written into a plain array; "
                                "make it inside the function with np.zeros(...) or np.array(...)")


@implements(np.fill_diagonal)
def fill_diagonal(a, val, wrap=False):
    _own(a, "fill_diagonal")
    if a.ndim < 2 or a.ndim > 2 and len(set(a.shape)) > 1:
        raise refuse(ValueError, f"fill_diagonal{{here}}: a matrix is needed, or an array of equally long axes, and its shape is {a.shape}")
    step = sum([math.prod(a.shape[k + 1:]) for k in range(a.ndim)])
    put(a, np.arange(a.size)[:None if wrap or a.ndim > 2 else a.shape[1] ** 2:step], val)


def put_entries(x, index, value):
    """Write into entries of x that are named by one index, wherever they lie."""
    if len(x.shape) < 2:
        x[index if x.shape else ...] = value
    elif layout_of(x).flags.c_contiguous:
        np.ravel(x)[index] = value
    else:
        x[np.unravel_index(np.arange(x.size)[index], x.shape)] = value


@implements(np.put)
def put(a, ind, v, mode="raise"):
    _own(a, "put")
    ind, v = places_of(np.ravel(ind)), operand(v)
    at = ind if mode == "raise" else ind % a.size if mode == "wrap" else np.clip(ind, 0, a.size - 1)
    put_entries(a, at, np.resize(v, (ind.size,)) if np.ndim(v) else v)


@implements(np.putmask)
def putmask(a, mask, values):
    _own(a, "putmask")
    mask, values = arrayed(mask), operand(values)
    if np.shape(values) in ((), a.shape):
        a[...] = e.where(np.reshape(mask, a.shape), values, a)
    else:
        at, values = np.flatnonzero(plain(mask)), np.ravel(values)
        put_entries(a, at, np.take(values, at % values.size))


@implements(np.place)
def place(arr, mask, vals):
    _own(arr, "place")
    at = np.flatnonzero(plain(mask))
    put_entries(arr, at, np.resize(operand(vals), (at.size,)))


@implements(np.put_along_axis)
def put_along_axis(arr, indices, values, axis=-1):
    _own(arr, "put_along_axis")
    if axis is None:
        put_entries(arr, indices, values)
    else:
        arr[_along_axis(arr, indices, axis_of(axis, arr.ndim))] = values
