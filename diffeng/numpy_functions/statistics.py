"""Statistics: np.median, np.quantile, np.cov, np.nanmean, ... Orders and missing entries are those of the value, as NumPy finds them."""
import operator

import numpy as np

from ..errors import refuse
from ..numpy_api import arrayed, astype, axes_of, operand, plain
from ..ufunc_dtypes import cast, promoting, result_type
from ..vocabulary import elementwise as e, reductions as r
from .choosing import known, take, take_along_axis
from .reducing import asked, deviation, given, norm_of, reduced_shape
from .table import implements


def _columns(x, axis, missing=False):
    """The reduced axes as one in front, sorted along it: (n, kept...). missing: of no entry at all one is missing."""
    axes = axes_of(axis, x.ndim)
    kept = tuple(k for k in range(x.ndim) if k not in axes)
    n = int(np.prod([x.shape[k] for k in axes], dtype=int))
    if not n and missing:
        return np.full((1, *[x.shape[k] for k in kept]), np.nan, x.dtype)
    return np.sort(np.reshape(np.transpose(x, axes + kept), (n,) + tuple(x.shape[k] for k in kept)), axis=0)


def _or_nan(result, rows):
    """A NaN was sorted last, and is the result wherever there is one."""
    return np.where(e.isnan(rows[-1]), rows[-1], result) if rows.shape[0] else result


@implements(np.median)
def median(a, axis=None, overwrite_input=False, keepdims=False):
    x = arrayed(a)
    rows = _columns(x, axis)
    n = rows.shape[0]
    return np.reshape(_or_nan(np.mean(rows[(n - 1) // 2:n // 2 + 1], axis=0), rows), reduced_shape(x, axis, keepdims))


@implements(np.quantile)
def quantile(a, q, axis=None, overwrite_input=False, method="linear", keepdims=False):
    return _quantile(arrayed(a), _asked_for(q, arrayed(a)), axis, method, keepdims)


@implements(np.nanquantile)
def nanquantile(a, q, axis=None, overwrite_input=False, method="linear", keepdims=False):
    return _quantile(arrayed(a), _asked_for(q, arrayed(a)), axis, method, asked(keepdims), arrayed(a).dtype.kind == "f")


def _asked_for(q, x):
    q = operand(q)
    number = isinstance(promoting(q), type)                                  # of Python's, which has the precision of what it is asked of
    return cast(q, x.dtype) if number and x.dtype.kind == "f" else arrayed(q)


def _at_entry(position):
    """What is an entry of the row, and has its dtype."""
    return lambda q, n: astype(np.clip(position(q, n), 0, n - 1), np.intp)


def _between(alpha, beta):
    return lambda q, n: np.clip(n * q + (alpha + q * (1.0 - alpha - beta)) - 1, 0, n - 1)


def _averaged(at):
    return np.where(e.equal(at, np.floor(at)), np.floor(at) + 0.5, np.ceil(at))


def _closest(at):
    """The nearer one; of two as near, that whose number, counted from 1, is even."""
    below = np.floor(at)
    return np.where(e.logical_and(e.equal(at, below + 0.5), e.equal(below % 2, 1)), below, np.floor(at + 0.5))


# Where in a sorted row of n a quantile lies, counted from 0, with a fraction: methods 1 to 9 of Hyndman and Fan (The American Statistician 50, 1996) and what
# method 7, "linear", has between its points.
_PLACES = {
    "inverted_cdf": _at_entry(lambda q, n: np.ceil(n * q - 1)), "averaged_inverted_cdf": lambda q, n: np.clip(_averaged(n * q - 1), 0, n - 1),
    "closest_observation": _at_entry(lambda q, n: _closest(n * q - 1)), "interpolated_inverted_cdf": _between(0, 1),
    "hazen": _between(0.5, 0.5), "weibull": _between(0, 0), "linear": lambda q, n: q * (n - 1),
    "median_unbiased": _between(1 / 3, 1 / 3), "normal_unbiased": _between(3 / 8, 3 / 8),
    "lower": _at_entry(lambda q, n: np.floor(q * (n - 1))), "higher": _at_entry(lambda q, n: np.ceil(q * (n - 1))),
    "midpoint": lambda q, n: q * (n - 1.0), "nearest": _at_entry(lambda q, n: np.rint(q * (n - 1))),
}


def _quantile(x, q, axis, method, keepdims, missing=False):
    """missing: entries that are NaN do not count. They are sorted last, and each row has a number of its own of others."""
    if method not in _PLACES:
        raise refuse(ValueError, f"quantile{{here}}: method={method!r} is none of {', '.join(_PLACES)}")
    asked_for = known(q)
    if asked_for is not None and not ((asked_for >= 0) & (asked_for <= 1) | np.isnan(asked_for)).all():
        raise refuse(ValueError, "quantile{here}: quantiles lie between 0 and 1, percentiles between 0 and 100")
    rows = _columns(x, axis, missing)
    n = rows.shape[0]
    if missing:
        n, q_shape, q = _counted(e.isnan(rows), rows, 0, True), q.shape, np.reshape(q, (-1,) + (1,) * (rows.ndim - 1))
    at = _PLACES[method](q, n)
    low, high = (astype(f(at), np.intp) for f in (np.floor, np.ceil))
    below, above = (take_along_axis(rows, k, 0) if missing else take(rows, k, 0) for k in (low, high))
    if at.dtype.kind in "iu":                                                # nothing lies between
        between = below
    else:
        t = np.where(low == high, 0, 0.5) if method == "midpoint" else at - low
        t = (t if missing else np.reshape(t, q.shape + (1,) * (rows.ndim - 1))).astype(at.dtype)
        late = t >= 0.5                                                      # NumPy goes from the nearer one, which tells where one is infinite
        between = np.where(late, above, below) + (above - below) * np.where(late, t - 1, t)
    return np.reshape(between if missing else _or_nan(between, rows), (q_shape if missing else q.shape) + reduced_shape(x, axis, keepdims))


@implements(np.percentile)
def percentile(a, q, axis=None, overwrite_input=False, method="linear", keepdims=False):
    return _quantile(arrayed(a), _hundredths(q, arrayed(a)), axis, method, keepdims)


@implements(np.nanpercentile)
def nanpercentile(a, q, axis=None, overwrite_input=False, method="linear", keepdims=False):
    return _quantile(arrayed(a), _hundredths(q, arrayed(a)), axis, method, asked(keepdims), arrayed(a).dtype.kind == "f")


def _hundredths(q, x):
    return arrayed(np.true_divide(operand(q), x.dtype.type(100) if x.dtype.kind == "f" else 100))


@implements(np.cov)
def cov(m, y=None, rowvar=True, bias=False, ddof=None, fweights=None, aweights=None, *, dtype=None):
    m = operand(m)
    dtype = result_type(m, *([] if y is None else [operand(y)]), np.float64(0)) if dtype is None else np.dtype(dtype)
    x = cast(np.atleast_2d(m), dtype)
    x = x if rowvar or np.ndim(m) < 2 else x.T
    if y is not None:
        other = cast(np.atleast_2d(operand(y)), dtype)
        x = np.concatenate([x, other if rowvar or other.shape[0] == 1 else other.T], axis=0)
    ddof = operator.index(ddof) if ddof is not None else int(not bias)
    if any(w is not None and (known(w) is not None and (known(w) < 0).any()) for w in (fweights, aweights)):
        raise refuse(ValueError, "cov{here}: a weight is negative")
    if fweights is None and aweights is None:
        x = x - np.mean(x, axis=1, keepdims=True)
        return np.squeeze(x @ x.T.conj() / max(x.shape[1] - ddof, 0))
    counts, importance = (1.0 if w is None else operand(w) for w in (fweights, aweights))
    weights = counts * importance
    total = np.sum(weights)
    free = total - (ddof if aweights is None else ddof * np.sum(weights * importance) / total)
    x = x - np.sum(x * weights, axis=1, keepdims=True) / total
    return np.squeeze(x @ (x * weights).T.conj() / np.maximum(free, 0))


@implements(np.corrcoef)
def corrcoef(x, y=None, rowvar=True, *, dtype=None):
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.shape:
        return c / c
    d = np.sqrt(np.diagonal(c))
    return c / d[:, None] / d[None, :]


# ---- what is missing is NaN --------------------------------------------------------------------------------------------------


def _filled(a, neutral, where=None):
    x = arrayed(a)
    if x.dtype.kind != "f" and (not given(where) or where is True):          # integers miss nothing, and stay integers
        return x, np.zeros(x.shape, bool)
    missing = e.isnan(x)
    if given(where) and where is not True:
        missing = e.logical_or(missing, e.logical_not(operand(where)))
    return e.where(missing, neutral, x), missing


def _begun(initial):
    return {"initial": initial} if given(initial) else {}


def _counted(missing, x, axis, keepdims):
    return r.sum(astype(e.logical_not(missing), x.dtype), axis=axes_of(axis, x.ndim), keepdims=asked(keepdims))


@implements(np.nansum)
def nansum(a, axis=None, dtype=None, keepdims=False, initial=None, where=None):
    return np.sum(_filled(a, 0.0, where)[0], axis=axis, dtype=dtype, keepdims=asked(keepdims), **_begun(initial))


@implements(np.nanprod)
def nanprod(a, axis=None, dtype=None, keepdims=False, initial=None, where=None):
    return np.prod(_filled(a, 1.0, where)[0], axis=axis, dtype=dtype, keepdims=asked(keepdims), **_begun(initial))


@implements(np.nancumsum)
def nancumsum(a, axis=None, dtype=None):
    return np.cumsum(_filled(a, 0.0)[0], axis=axis, dtype=dtype)


@implements(np.nancumprod)
def nancumprod(a, axis=None, dtype=None):
    return np.cumprod(_filled(a, 1.0)[0], axis=axis, dtype=dtype)


@implements(np.nanmax)
def nanmax(a, axis=None, keepdims=False, initial=None, where=None):
    return _extreme(np.max, -np.inf, a, axis, keepdims, initial, where)


@implements(np.nanmin)
def nanmin(a, axis=None, keepdims=False, initial=None, where=None):
    return _extreme(np.min, np.inf, a, axis, keepdims, initial, where)


def _extreme(reduce, neutral, a, axis, keepdims, initial, where):
    x, missing = _filled(a, neutral, where)
    out = reduce(x, axis=axis, keepdims=asked(keepdims), **_begun(initial))
    return out if given(initial) or x.dtype.kind != "f" else np.where(np.all(missing, axis=axis, keepdims=asked(keepdims)), x.dtype.type(np.nan), out)


def _nan_position(position, neutral):
    def find(a, axis=None, *, keepdims=False):
        x, missing = _filled(a, neutral)
        if plain(np.all(missing, axis=axis)).any():
            raise refuse(ValueError, "nanargmax, nanargmin{here}: all entries are NaN along the axis, at some place")
        return position(x, axis, keepdims=asked(keepdims))
    return find


implements(np.nanargmax)(_nan_position(np.argmax, -np.inf))
implements(np.nanargmin)(_nan_position(np.argmin, np.inf))


@implements(np.nanmedian)
def nanmedian(a, axis=None, overwrite_input=False, keepdims=False):
    x = arrayed(a)
    rows = _columns(x, axis, missing=x.dtype.kind == "f")                    # what is missing is sorted last
    n = np.sum(astype(e.logical_not(e.isnan(rows)), np.intp), axis=0, keepdims=True)
    middle = np.take_along_axis(rows, np.concatenate([(n - 1) // 2, n // 2]), 0)          # of none at all: two that are missing
    return np.reshape(np.mean(middle, axis=0), reduced_shape(x, axis, keepdims))


@implements(np.nanmean)
def nanmean(a, axis=None, dtype=None, keepdims=False, *, where=None):
    x, missing = _filled(a, 0.0, where)
    total = np.sum(x, axis=axis, dtype=dtype, keepdims=asked(keepdims))
    out = total / _counted(missing, x, axis, keepdims)
    return cast(out, total.dtype) if total.dtype.kind == "f" else out


@implements(np.nanvar)
def nanvar(a, axis=None, dtype=None, ddof=0, keepdims=False, *, where=None, mean=None, correction=None):
    ddof = correction if correction not in (None, np._NoValue) else ddof
    x, missing = _filled(a, 0.0, where)
    centre = mean if given(mean) else nanmean(a, axis, dtype, keepdims=True, where=where)
    away = e.where(missing, 0.0, x - centre)
    away = cast(away, x.dtype) if x.dtype.kind == "f" else away              # where NumPy has room for them
    total = np.sum(e.square(away), axis=axis, dtype=dtype, keepdims=asked(keepdims))
    return cast(total / (_counted(missing, x, axis, keepdims) - ddof), total.dtype)


@implements(np.nanstd)
def nanstd(a, axis=None, dtype=None, ddof=0, keepdims=False, *, where=None, mean=None, correction=None):
    squares = nanvar(a, axis, dtype, ddof, keepdims, where=where, mean=mean, correction=correction)
    x, missing = _filled(a, 0.0, where)
    return norm_of(squares) if given(mean) else deviation(squares, x, axis, keepdims, e.logical_not(missing))
