"""Reductions and scans along axes. `axis` is always a sorted tuple of axes >= 0 (numpy_api.py sees to it)."""
import math

import numpy as np

from ..nodes import Primitive

MANY, MOST_EQUAL = 1 << 12, 16             # numbers whose order is worth two looks, one in so many of them equal to another


def _shape(x, axis, keepdims):
    return tuple(1 if k in axis else n for k, n in enumerate(x.shape) if keepdims or k not in axis)


def _reduce(name, evaluate, slots=None, quick=None):
    def infer(x, *, axis, keepdims, **other):
        tiny = evaluate(np.ones((2 + int(other.get("ddof", 0)),) * x.ndim, x.dtype), axis=axis, keepdims=keepdims, **other)
        return _shape(x, axis, keepdims), tiny.dtype
    return Primitive(name, evaluate, "reduce", slots, ((0.3, 2.0),), infer, quick)


def sum_of_equal(part, count):
    """The sum of so many equal numbers; of what may be that, so that each is its n-th part in floating point, the one with the fewest digits: the n-th parts of 1,
    a mean's cotangents, make 1 for every n, and a program that is the same for every n.

    >>> sum_of_equal(np.float64(1 / 49), 49) - 1, np.float64(1 / 49) * 49 - 1 != 0
    (np.float64(0.0), np.True_)
    """
    count = part.dtype.type(count)
    total = part * count
    if not np.isfinite(total) or not total:
        return total
    near = [x for x in (total, np.nextafter(total, -np.inf, dtype=part.dtype), np.nextafter(total, np.inf, dtype=part.dtype)) if x / count == part]
    return sorted(near or [total], key=_digits)[0]


def _digits(x):
    """How many bits there are between the first that is set and the last."""
    n = int(abs(math.ldexp(math.frexp(x)[0], 53)))
    return n.bit_length() - (n & -n).bit_length()


def _log_sum_exp(x, axis, keepdims):
    """log(sum(exp(x))) with the largest entry taken out first (Blanchard, Higham & Higham, IMA J. Numer. Anal. 41, 2021)."""
    top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, np.zeros((), top.dtype))
    with np.errstate(divide="ignore"):
        out = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return out if keepdims else np.squeeze(out, axis=axis)


def _mean(x, *, axis, keepdims):
    """x.mean, in NumPy's own two steps where these are all there is to it: it does them in Python, and asks more than the steps cost on small arrays."""
    if not x.size or x.dtype.char not in "df":
        return x.mean(axis=axis, keepdims=keepdims)
    total = np.add.reduce(x, axis=axis, keepdims=keepdims)
    return total / (x.size // total.size)


def _var(x, *, axis, keepdims, ddof):
    """x.var, likewise."""
    n, char = math.prod([x.shape[k] for k in axis]), x.dtype.char
    if n <= ddof or char not in "df":
        return np.var(x, axis=axis, keepdims=keepdims, ddof=ddof)
    off = x - np.add.reduce(x, axis=axis, keepdims=True) / n
    return np.add.reduce(off * off, axis=axis, keepdims=keepdims) / (n - ddof)


def _argsort(x, *, axis):
    """NumPy's stable order. Its other one takes a fifth of the time or less where there are vectors for it, and what is equal is put in order afterwards, where little is."""
    if x.size < MANY or x.dtype.char not in "fd":
        return np.argsort(x, axis=axis, kind="stable")
    rows = np.moveaxis(x, axis, -1)
    order = np.argsort(rows, axis=-1)
    found = np.take_along_axis(rows, order, -1)
    same = (found[..., 1:] == found[..., :-1]) | np.isnan(found[..., :-1])              # NaN comes last
    equal = np.count_nonzero(same)
    if equal > x.size // MOST_EQUAL:
        return np.argsort(x, axis=axis, kind="stable")
    if equal:
        begins = np.ones(found.shape, bool)                                             # a stretch of equal numbers
        begins[..., 1:] = ~same
        tied = ~begins
        tied[..., :-1] |= same
        places = order[tied]
        order[tied] = places[np.lexsort((places, np.cumsum(begins[tied])))]
    return np.ascontiguousarray(np.moveaxis(order, -1, axis))


# (what np.sum, np.max, np.cumsum, ... call in the end: a third of the time on small arrays)
sum       = _reduce("sum", lambda x, *, axis, keepdims: np.add.reduce(x, axis=axis, keepdims=keepdims))
mean      = _reduce("mean", lambda x, *, axis, keepdims: np.mean(x, axis=axis, keepdims=keepdims), None, _mean)
var       = _reduce("var", lambda x, *, axis, keepdims, ddof: np.var(x, axis=axis, keepdims=keepdims, ddof=ddof), None, _var)
prod      = _reduce("prod", lambda x, *, axis, keepdims: np.multiply.reduce(x, axis=axis, keepdims=keepdims))
max       = _reduce("max", lambda x, *, axis, keepdims: np.maximum.reduce(x, axis=axis, keepdims=keepdims))
min       = _reduce("min", lambda x, *, axis, keepdims: np.minimum.reduce(x, axis=axis, keepdims=keepdims))
logsumexp = _reduce("logsumexp", lambda x, *, axis, keepdims: _log_sum_exp(x, axis, keepdims))
any       = _reduce("any", lambda x, *, axis, keepdims: np.any(x, axis=axis, keepdims=keepdims), slots=())
all       = _reduce("all", lambda x, *, axis, keepdims: np.all(x, axis=axis, keepdims=keepdims), slots=())

# Running totals keep the shape; `axis` is one integer >= 0.
cumsum    = Primitive("cumsum", lambda x, *, axis: np.add.accumulate(x, axis=axis), "opaque", None, ((0.3, 2.0),))
cumprod   = Primitive("cumprod", lambda x, *, axis: np.multiply.accumulate(x, axis=axis), "opaque", None, ((0.3, 2.0),))

# Positions: integers, constant between jumps.
argmax    = Primitive("argmax", lambda x, *, axis: np.argmax(x, axis=axis), "opaque", ())
argmin    = Primitive("argmin", lambda x, *, axis: np.argmin(x, axis=axis), "opaque", ())
argsort   = Primitive("argsort", _argsort, "opaque", ())
