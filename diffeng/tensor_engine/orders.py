"""Functions that ask which entries are larger: quantiles, running maxima, places in sorted sequences, counts.

What it is: PyTorch's names, each a function whose first argument is a tensor, and a method of tensors (FUNCTIONS). What has a derivative is an operation; places and
counts have none, and are computed from values at once.
"""
import collections

import numpy as np

from ..errors import refuse
from ..numpy_api import FUNCTIONS as IN_NUMPY, astype
from ..vocabulary import elementwise as e
from .core import Operation, TensorBase, beside
from .operations import OPS
from .reductions import sort as _sorted
from .rules import INT64, along, axis, name_of, to_float, torch_error

_Pair = {n: collections.namedtuple(n, "values indices") for n in "cummax cummin kthvalue mode nanmedian".split()}
_MinMax = collections.namedtuple("aminmax", "min max")


# ---- running values -------------------------------------------------------------------------------------------------------------------------

def _running(ufunc):
    def running(x, dim):
        """(values, indices): of equal ones the last."""
        if not x.ndim:
            return e.copy(x), np.zeros((), INT64)
        dim = axis(dim, x.ndim)
        most = ufunc.accumulate(e.stop_gradient(x) if x.dtype.kind == "f" else x, axis=dim)
        where = np.reshape(np.arange(x.shape[dim]), [-1 if k == dim else 1 for k in range(x.ndim)])
        here = e.equal(x, most)
        at = np.maximum.accumulate(e.where(e.logical_or(here, e.isnan(x)) if x.dtype.kind == "f" else here, where, 0), axis=dim)
        return np.take_along_axis(x, at, dim), at
    return running


def _logcumsumexp(x, dim):
    x = to_float(x)
    return np.logaddexp.accumulate(x, axis=axis(dim, x.ndim)) if x.ndim else e.copy(x)


_CUMMAX, _CUMMIN, _LOGCUMSUMEXP = Operation(_running(np.maximum), "cummax"), Operation(_running(np.minimum), "cummin"), Operation(_logcumsumexp, "logcumsumexp")


def cummax(input, dim):
    """(values, indices) of the largest entry so far along an axis."""
    return _Pair["cummax"](*_CUMMAX(input, dim=dim))


def cummin(input, dim):
    """(values, indices) of the smallest entry so far along an axis."""
    return _Pair["cummin"](*_CUMMIN(input, dim=dim))


def logcumsumexp(input, dim):
    """log(cumsum(exp(x))) along an axis, where no exponential overflows."""
    return _LOGCUMSUMEXP(input, dim=dim)


# ---- quantiles ------------------------------------------------------------------------------------------------------------------------------

def _of(function):
    """NumPy's function as it is on traced values, which does not warn of rows without a number."""
    return along(lambda x, *, q, dim, keepdim, interpolation: astype(IN_NUMPY[function](x, np.asarray(q, x.dtype), axis=dim, method=interpolation, keepdims=keepdim), x.dtype))


_QUANTILE, _NANQUANTILE = (Operation(_of(f), f.__name__) for f in (np.quantile, np.nanquantile))
_WAYS = "linear lower higher midpoint nearest".split()


def _quantiles(op):
    def quantile(input, q, dim=None, keepdim=False, *, interpolation="linear"):
        if input.dtype.name not in ("float32", "float64"):
            raise refuse(RuntimeError, f"{op.name}(){{here}} input tensor must be either float or double dtype, and it is {name_of(input.dtype)}: convert it with .float()")
        if isinstance(q, TensorBase) and q.dtype != input.dtype:
            raise refuse(RuntimeError, f"{op.name}(){{here}} q tensor must be same dtype as the input tensor: {name_of(q.dtype)} and {name_of(input.dtype)}")
        if interpolation not in _WAYS:
            raise refuse(RuntimeError, f"{op.name}(){{here}} interpolation must be one of {', '.join(_WAYS)}, but got {interpolation}")
        if not input.numel():
            raise refuse(RuntimeError, f"{op.name}(){{here}} input tensor must be non-empty")
        if isinstance(q, TensorBase) and q.requires:
            raise refuse(RuntimeError, f"{op.name}(){{here}} has no derivative by q: pass q.detach(), or place it between sorted entries by hand")
        q = q.tolist() if isinstance(q, TensorBase) else float(q)
        if not all([0 <= p <= 1 for p in np.ravel(q)]):
            raise refuse(RuntimeError, f"{op.name}(){{here}} q values must be in the range [0, 1], and are {q}")
        return op(input, q=tuple(q) if isinstance(q, list) else q, dim=dim, keepdim=bool(keepdim), interpolation=interpolation)
    quantile.__name__ = op.name
    quantile.__doc__ = ("The values below which parts q of the entries lie" + (", without those that are not numbers" if op is _NANQUANTILE else "; NaN where an entry is") +
                        ". q: a number, or a tensor (n,), whose entries come first in the result. interpolation: " + ", ".join(_WAYS) + ".")
    return quantile


quantile, nanquantile = _quantiles(_QUANTILE), _quantiles(_NANQUANTILE)


@along
def _nanmedian(x, dim=None, keepdim=False):
    flat = dim is None
    x, dim = (np.ravel(x), 0) if flat else (x, axis(dim, x.ndim))
    if flat and not x.size:
        return np.full((), np.nan, x.dtype)
    values, at = _sorted(x, dim)
    there = np.sum(astype(e.logical_not(e.isnan(x)), INT64), axis=dim, keepdims=True) if x.dtype.kind == "f" else np.full((1,) * x.ndim, x.shape[dim])
    middle = np.broadcast_to(np.maximum(there - 1, 0) // 2, x.shape[:dim] + (1,) + x.shape[dim + 1:])
    found = [np.take_along_axis(y, middle, dim) for y in (values, at)]
    found = found if keepdim else [np.reshape(y, x.shape[:dim] + x.shape[dim + 1:]) for y in found]
    return found[0] if flat else tuple(found)


@along
def _kthvalue(x, k, dim, keepdim):
    dim = axis(dim, x.ndim)
    if not 1 <= k <= x.shape[dim]:
        raise torch_error(RuntimeError if x.shape[dim] else IndexError, f"kthvalue: selected number k out of range for dimension {dim}: k is {k}")
    found = [y[(slice(None),) * dim + (slice(k - 1, k),)] for y in _sorted(x, dim)]
    return tuple(found if keepdim else [np.reshape(y, x.shape[:dim] + x.shape[dim + 1:]) for y in found])


_NANMEDIAN, _KTHVALUE = Operation(_nanmedian, "nanmedian"), Operation(_kthvalue, "kthvalue")


def nanmedian(input, dim=None, keepdim=False):
    """The lower median of the entries that are numbers; along an axis (values, indices)."""
    return _NANMEDIAN(input) if dim is None else _Pair["nanmedian"](*_NANMEDIAN(input, dim=dim, keepdim=keepdim))


def kthvalue(input, k, dim=-1, keepdim=False):
    """(values, indices) of the k-th smallest entry along an axis; the first is number 1."""
    return _Pair["kthvalue"](*_KTHVALUE(input, k=int(k), dim=dim, keepdim=bool(keepdim)))


def mode(input, dim=-1, keepdim=False):
    """(values, indices) of the entry that occurs most often along an axis, the smallest of those, where it stands last."""
    dim = axis(dim, input.ndim)
    rows = np.moveaxis(input.value, dim, -1) if input.ndim else input.value[None]
    def last(row):
        values, counts = np.unique(row, return_counts=True)
        return np.flatnonzero(row == values[counts.argmax()])[-1]
    at = np.expand_dims(np.apply_along_axis(last, -1, rows), dim).astype(INT64) if input.ndim else np.zeros(1, INT64)
    at = beside(input, at if input.ndim else at[0])
    values = input.gather(dim, at) if input.ndim else input
    return _Pair["mode"](*[x if keepdim or not input.ndim else x.squeeze(dim) for x in (values, at)])


def msort(input):
    """Sorted along the first axis."""
    return OPS["sort"](input, dim=0)[0]


def aminmax(input, *, dim=None, keepdim=False):
    """(min, max) of all entries, or along an axis."""
    return _MinMax(OPS["amin"](input, dim=dim, keepdim=keepdim), OPS["amax"](input, dim=dim, keepdim=keepdim))


# ---- places and counts ----------------------------------------------------------------------------------------------------------------------

def searchsorted(sorted_sequence, input, *, out_int32=False, right=False, side=None, sorter=None):
    """Where entries would go in sorted rows, so that they stay sorted: before equal ones, or after them (right=True, side="right"). Indices int64.

    sorted_sequence: (n,), or (..., n) with the first axes of input; sorter: what sorts it. Raises RuntimeError for shapes that do not fit.
    """
    side = side or ("right" if right else "left")
    rows = sorted_sequence.value if sorter is None else np.take_along_axis(sorted_sequence.value, sorter.value, -1)
    values = input.value if isinstance(input, TensorBase) else np.asarray(input)
    if rows.ndim > 1 and rows.shape[:-1] != values.shape[:-1]:
        raise refuse(RuntimeError, f"searchsorted{{here}}: boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and input value tensor must "
                                   f"match, but we got boundaries tensor {list(rows.shape)} and input value tensor {list(values.shape)}")
    if rows.ndim == 1:
        found = np.searchsorted(rows, values, side)
    else:
        found = np.empty(values.shape, INT64)
        for k in np.ndindex(rows.shape[:-1]):
            found[k] = np.searchsorted(rows[k], values[k], side)
    return beside(sorted_sequence, np.asarray(found).astype(np.int32 if out_int32 else INT64))


def bucketize(input, boundaries, *, out_int32=False, right=False):
    """The number of the interval between boundaries (n,) that each entry is in: boundaries[i - 1] < x <= boundaries[i], or with right <= x <."""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def histc(input, bins=100, min=0, max=0):
    """How many entries lie in each of so many equal intervals between min and max; where these are equal, between the entries' own. In the dtype of input."""
    value = input.value
    if value.dtype.kind != "f":
        raise refuse(NotImplementedError, f"\"histogram_cpu\" not implemented for '{name_of(value.dtype)}'{{here}}: convert it with .float()")
    low, high = (value.min(), value.max()) if min == max and value.size else (min, max)
    low, high = (low - 1, high + 1) if low == high else (low, high)
    if low > high:
        raise refuse(RuntimeError, f"histc{{here}}: max must be larger than min: {max} and {min}")
    return beside(input, np.histogram(value, bins, (float(low), float(high)))[0].astype(value.dtype))


def bincount(input, weights=None, minlength=0):
    """How often each integer 0, 1, ... occurs, or the sums of the weights of where it does."""
    return beside(input, np.bincount(input.value, None if weights is None else weights.value, minlength).astype(
        INT64 if weights is None else weights.dtype if weights.dtype == np.float32 else np.float64))


def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """The distinct entries, or parts along an axis, sorted; with them where each is among them, and how often each occurs."""
    found = np.unique(input.value, return_inverse=return_inverse, return_counts=return_counts, axis=None if dim is None else axis(dim, input.ndim))
    if not return_inverse and not return_counts:
        return beside(input, found)
    found = list(found)
    if return_inverse:
        found[1] = np.reshape(found[1], input.shape if dim is None else -1)
    return tuple([beside(input, x) for x in found])


def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """The entries, or parts along an axis, without those that equal the one before."""
    value = input.value.reshape(-1) if dim is None else np.moveaxis(input.value, axis(dim, input.ndim), 0)
    new = np.ones(len(value), bool)
    new[1:] = np.any((value[1:] != value[:-1]).reshape(len(value) - 1, -1), axis=1) if len(value) > 1 else ()
    out, group = value[new], np.cumsum(new) - 1
    found = [out if dim is None else np.moveaxis(out, 0, axis(dim, input.ndim))]
    found += [np.reshape(group, input.shape if dim is None else -1)] * return_inverse + [np.bincount(group)] * return_counts
    found = tuple([beside(input, x) for x in found])
    return found if len(found) > 1 else found[0]


FUNCTIONS = {f.__name__: f for f in (cummax, cummin, logcumsumexp, quantile, nanquantile, nanmedian, kthvalue, mode, msort, aminmax, histc, bincount, unique, unique_consecutive)}
FUNCTIONS_ONLY = {"searchsorted": searchsorted, "bucketize": bucketize}
