"""Statistics: np.median, np.quantile, np.cov, np.nanmean, ... Orders and missing entries are those of the value, as NumPy finds them."""
import numpy as np

from ..errors import refuse
from ..numpy_api import astype, axes_of, operand
from ..vocabulary import elementwise as e, reductions as r
from .reducing import asked, given, norm_of, reduced_shape
from .table import implements


def _columns(x, axis):
    """The reduced axes as one in front, sorted along it: (n, kept...)."""
    axes = axes_of(axis, x.ndim)
    kept = tuple(k for k in range(x.ndim) if k not in axes)
    n = int(np.prod([x.shape[k] for k in axes], dtype=int))
    return np.sort(np.reshape(np.transpose(x, axes + kept), (n,) + tuple(x.shape[k] for k in kept)), axis=0)


def _or_nan(result, rows):
    """A NaN was sorted last, and is the result wherever there is one."""
    return np.where(e.isnan(rows[-1]), rows[-1], result) if rows.shape[0] else result


@implements(np.median)
def median(a, axis=None, overwrite_input=False, keepdims=False):
    x = operand(a)
    rows = _columns(x, axis)
    n = rows.shape[0]
    return np.reshape(_or_nan(np.mean(rows[(n - 1) // 2:n // 2 + 1], axis=0), rows), reduced_shape(x, axis, keepdims))


@implements(np.quantile)
def quantile(a, q, axis=None, overwrite_input=False, method="linear", keepdims=False):
    if method not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise refuse(TypeError, f"quantile{{here}}: method={method!r} is not supported on traced values; "
                                "use 'linear', 'lower', 'higher', 'midpoint' or 'nearest'")
    x = operand(a)
    q = np.asarray(q, x.dtype if isinstance(q, (int, float)) else None)
    rows = _columns(x, axis)
    at = q * (rows.shape[0] - 1)                                             # where in the sorted row, a fraction
    at = {"lower": np.floor, "higher": np.ceil, "nearest": np.rint}.get(method, lambda p: p)(at)
    low, high = np.floor(at).astype(int), np.ceil(at).astype(int)
    t = np.reshape(np.where(low == high, 0, 0.5) if method == "midpoint" else at - low, q.shape + (1,) * (rows.ndim - 1)).astype(at.dtype)
    below, above = np.take(rows, low, 0), np.take(rows, high, 0)
    late = t >= 0.5                                                          # NumPy goes from the nearer one, which tells where one is infinite
    between = np.where(late, above, below) + (above - below) * np.where(late, t - 1, t)
    return np.reshape(_or_nan(between, rows), q.shape + reduced_shape(x, axis, keepdims))


@implements(np.percentile)
def percentile(a, q, axis=None, overwrite_input=False, method="linear", keepdims=False):
    return quantile(a, q / 100 if isinstance(q, (int, float)) else np.true_divide(q, 100), axis, method=method, keepdims=keepdims)


@implements(np.cov)
def cov(m, y=None, rowvar=True, bias=False, ddof=None):
    x = np.atleast_2d(operand(m))
    x = x if rowvar or np.ndim(m) < 2 else x.T
    if y is not None:
        other = np.atleast_2d(operand(y))
        x = np.concatenate([x, other if rowvar or np.ndim(y) < 2 else other.T], axis=0)
    ddof = ddof if ddof is not None else int(not bias)
    x = x - np.mean(x, axis=1, keepdims=True)
    return np.squeeze(x @ x.T / (x.shape[1] - ddof))


@implements(np.corrcoef)
def corrcoef(x, y=None, rowvar=True):
    c = cov(x, y, rowvar)
    if not c.shape:
        return c / c
    d = np.sqrt(np.diagonal(c))
    return c / d[:, None] / d[None, :]


# ---- what is missing is NaN --------------------------------------------------------------------------------------------------


def _filled(a, neutral, where=None):
    x = operand(a)
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
    return np.max(_filled(a, -np.inf, where)[0], axis=axis, keepdims=asked(keepdims), **_begun(initial))


@implements(np.nanmin)
def nanmin(a, axis=None, keepdims=False, initial=None, where=None):
    return np.min(_filled(a, np.inf, where)[0], axis=axis, keepdims=asked(keepdims), **_begun(initial))


@implements(np.nanmean)
def nanmean(a, axis=None, dtype=None, keepdims=False, where=None):
    x, missing = _filled(a, 0.0, where)
    return np.sum(x, axis=axis, dtype=dtype, keepdims=asked(keepdims)) / _counted(missing, x, axis, keepdims)


@implements(np.nanvar)
def nanvar(a, axis=None, dtype=None, ddof=0, keepdims=False, correction=None, where=None):
    ddof = correction if correction not in (None, np._NoValue) else ddof
    x, missing = _filled(a, 0.0, where)
    away = e.where(missing, 0.0, x - nanmean(a, axis, keepdims=True, where=where))
    return np.sum(e.square(away), axis=axis, keepdims=asked(keepdims)) / (_counted(missing, x, axis, keepdims) - ddof)


@implements(np.nanstd)
def nanstd(a, axis=None, dtype=None, ddof=0, keepdims=False, correction=None, where=None):
    return norm_of(nanvar(a, axis, dtype, ddof, keepdims, correction, where))
