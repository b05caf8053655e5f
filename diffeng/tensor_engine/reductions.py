"""What reductions, scans, orders and products of tensors mean: NumPy code on arrays (or Tracers), with PyTorch's rules and names.

What it is not: no derivative, no tensor; elementwise meanings and the table of all of them stand in operations.py.
"""
import math

import numpy as np

from .. import special
from ..numpy_api import astype
from ..vocabulary import contraction, elementwise as e
from .rules import BOOL, INT64, along, axes, axis, cast, name_of, promoted, to_float, torch_error

# ---- reductions ------------------------------------------------------------------------------------------------------------------------------

def _dims(dim, x):
    found = axes(dim, x.ndim)
    return found if x.ndim else None


def _accumulated(x, dtype):
    """In the dtype asked for; integers and truth values add up in int64."""
    return cast(x, dtype) if dtype is not None else astype(x, INT64) if x.dtype.kind in "iub" and x.dtype != INT64 else x


def sum(x, dim=None, keepdim=False, dtype=None):
    x = _accumulated(x, dtype)
    return np.sum(x, axis=_dims(dim, x), keepdims=keepdim)


def _float_only(x, name):
    if x.dtype.kind != "f":
        raise torch_error(RuntimeError, f"{name}(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
                                        f"Got: {name_of(x.dtype)}. Convert it with .float()")


def mean(x, dim=None, keepdim=False, dtype=None):
    x = cast(x, dtype) if dtype is not None else x
    _float_only(x, "mean")
    return np.mean(x, axis=_dims(dim, x), keepdims=keepdim)


def spread_over(dim, unbiased, correction):
    """(axes, correction) of a variance. PyTorch has two meanings of its first argument: axes, or a truth value, which is `unbiased`, of all entries."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    return dim, int(unbiased) if unbiased is not None else 1 if correction is None else correction


def var(x, dim=None, correction=1, keepdim=False, function=np.var):
    _float_only(x, function.__name__)
    dims = _dims(dim, x)
    count = x.size if dims is None else math.prod(x.shape[d] for d in ([dims] if isinstance(dims, int) else dims))
    if count <= correction:
        return np.mean(x, axis=dims, keepdims=keepdim) * np.asarray(np.nan, x.dtype)
    return function(x, axis=dims, ddof=correction, keepdims=keepdim)


def std(x, dim=None, correction=1, keepdim=False):
    return var(x, dim, correction, keepdim, np.std)                # 0 where all entries are equal has a derivative of 0, which sqrt alone has not


def prod(x, dim=None, keepdim=False, dtype=None):
    x = _accumulated(x, dtype)
    return np.prod(x, axis=_dims(dim, x), keepdims=keepdim)


def _some(x, dims, name):
    """The axes, along which there have to be entries."""
    for d in range(x.ndim) if dims is None else dims if isinstance(dims, tuple) else (dims,):
        if not x.shape[d]:
            raise torch_error(IndexError, f"{name}{{here}}: Expected reduction dim {d} to have non-zero size: there is no largest or smallest entry of none")
    return dims


def amax(x, dim=None, keepdim=False):
    return np.max(x, axis=_some(x, _dims(dim, x), "amax"), keepdims=keepdim)


def amin(x, dim=None, keepdim=False):
    return np.min(x, axis=_some(x, _dims(dim, x), "amin"), keepdims=keepdim)


def picked(position):
    def pick(x, dim, keepdim=False):
        """(values, indices) along one axis: the derivative goes to the one entry that was picked."""
        if not x.ndim:
            return np.reshape(x, ()), np.zeros((), INT64)
        dim = _some(x, axis(dim, x.ndim), position.__name__[3:])
        at = position(x, axis=dim, keepdims=True)
        values = np.take_along_axis(x, at, dim)
        if not keepdim:
            shape = x.shape[:dim] + x.shape[dim + 1:]
            values, at = np.reshape(values, shape), np.reshape(at, shape)
        return values, cast(at, INT64)
    return pick


def position(function):
    def find(x, dim=None, keepdim=False):
        if x.dtype == BOOL:
            raise torch_error(NotImplementedError, f"\"{function.__name__}_cpu\" not implemented for 'Bool'")
        if dim is None:
            _some(x, None, function.__name__)
            out = function(np.ravel(x), axis=0)
            return np.reshape(out, (1,) * x.ndim) if keepdim else out
        return function(x, axis=_some(x, axis(dim, x.ndim), function.__name__), keepdims=keepdim) if x.ndim else np.zeros((), INT64)
    return find


def any(x, dim=None, keepdim=False):
    return np.any(x, axis=_dims(dim, x), keepdims=keepdim)


def all(x, dim=None, keepdim=False):
    return np.all(x, axis=_dims(dim, x), keepdims=keepdim)


def count_nonzero(x, dim=None):
    return np.sum(astype(e.not_equal(x, 0), INT64), axis=_dims(dim, x))


def logsumexp(x, dim, keepdim=False):
    x, dims = to_float(x), _dims(dim, x)
    return special.logsumexp(x, dims, keepdim) if x.size else e.log(np.sum(x, axis=dims, keepdims=keepdim))


def _given(dim, x, name):
    if dim is None:
        raise torch_error(TypeError, f"{name}{{here}}: the dim is missing along which it sums to 1: pass it, dim=-1 for the last")
    return axis(dim, x.ndim)


def softmax(x, dim=None, dtype=None):
    x = to_float(x) if dtype is None else cast(x, dtype)
    dim = _given(dim, x, "softmax")
    return (special.softmax(x, dim) if x.ndim else x * 0 + 1) if x.size else e.copy(x)


def log_softmax(x, dim=None, dtype=None):
    x = to_float(x) if dtype is None else cast(x, dtype)
    dim = _given(dim, x, "log_softmax")
    return (special.log_softmax(x, dim) if x.ndim else x * 0) if x.size else e.copy(x)


def norm(x, p=2, dim=None, keepdim=False):
    _float_only(x, "norm")
    p = 2 if p is None or p == "fro" else p
    if p == "nuc":
        dims = tuple(range(x.ndim)) if dim is None else _dims(dim, x)
        if not isinstance(dims, tuple) or len(dims) != 2:
            raise torch_error(RuntimeError, f"norm: p='nuc' is a norm of matrices: give it two axes, dim=(-2, -1), of the {x.ndim} that there are")
        return np.linalg.norm(x, p, axis=dims, keepdims=keepdim)
    if dim is None:
        out = np.linalg.norm(np.ravel(x), p)
        return np.reshape(out, (1,) * x.ndim) if keepdim else out
    return np.linalg.vector_norm(x, axis=_dims(dim, x), keepdims=keepdim, ord=p)


def cumsum(x, dim, dtype=None):
    x = _accumulated(x, dtype)
    return np.cumsum(x, axis=axis(dim, x.ndim)) if x.ndim else x


def cumprod(x, dim, dtype=None):
    x = _accumulated(x, dtype)
    return np.cumprod(x, axis=axis(dim, x.ndim)) if x.ndim else x


def argsort(x, dim=-1, descending=False, stable=True):
    return sort(x, dim, descending)[1]


@along
def sort(x, dim=-1, descending=False):
    """(values, indices); stable."""
    dim = axis(dim, x.ndim)
    if descending:                      # stable from the largest down: the reversed order of the reversed entries
        at = x.shape[dim] - 1 - np.flip(np.argsort(np.flip(x, dim), axis=dim, kind="stable"), dim)
    else:
        at = np.argsort(x, axis=dim, kind="stable")
    return np.take_along_axis(x, at, dim), at


@along
def topk(x, k, dim=-1, largest=True):
    """(values, indices) of the k largest or smallest entries, in order."""
    dim = axis(dim, x.ndim)
    if k > x.shape[dim]:
        raise torch_error(RuntimeError, "selected index k out of range")
    values, at = sort(x, dim, largest)
    part = (slice(None),) * dim + (slice(0, k),)
    return values[part], at[part]


def median(x, dim=None, keepdim=False):
    """The lower one; NaN, which is sorted to the end, where there is one."""
    flat = dim is None
    x, dim = (np.ravel(x), 0) if flat else (x, axis(dim, x.ndim))
    if flat and not x.size:
        return np.full((), np.nan, x.dtype)
    found = sort(x, dim)
    if x.ndim:
        n, ahead = x.shape[dim], (slice(None),) * dim
        last, found = [y[(*ahead, n - 1)] for y in found], [y[(*ahead, (n - 1) // 2)] for y in found]
        if x.dtype.kind == "f":
            broken = e.isnan(last[0])
            found = [e.where(broken, a, b) for a, b in zip(last, found)]
        found = [np.expand_dims(y, dim) for y in found] if keepdim else found
    return found[0] if flat else tuple(found)


# ---- products ---------------------------------------------------------------------------------------------------------------------------------

def _same_dtype(x, y):
    if x.dtype != y.dtype:
        raise torch_error(RuntimeError, f"expected m1 and m2 to have the same dtype{{here}}, but got: {_c_name(x.dtype)} != {_c_name(y.dtype)}. "
                                        "Convert one of them with .to(dtype)")


def _c_name(dtype):
    return {"float32": "float", "float64": "double", "int64": "long long", "int32": "int", "float16": "c10::Half"}.get(dtype.name, dtype.name)


def matmul(x, y):
    _same_dtype(x, y)
    if not x.ndim or not y.ndim:
        raise torch_error(RuntimeError, f"both arguments to matmul need to be at least 1D, but they are {x.ndim}D and {y.ndim}D")
    m, n = x.shape[-1], y.shape[max(y.ndim - 2, 0)]
    if m != n:
        if x.ndim == 2 and y.ndim == 2:
            raise ValueError(f"mat1 and mat2 shapes cannot be multiplied ({x.shape[0]}x{m} and {n}x{y.shape[1]})")
        raise ValueError(f"the summed axes have {m} and {n} entries (mismatch)")
    return contraction.matmul(x, y)


def mm(x, y):
    if x.ndim != 2 or y.ndim != 2:
        raise torch_error(RuntimeError, f"{'self' if x.ndim != 2 else 'mat2'} must be a matrix")
    return matmul(x, y)


def bmm(x, y):
    if x.ndim != 3 or y.ndim != 3:
        raise torch_error(RuntimeError, f"batch{1 if x.ndim != 3 else 2} must be a 3D tensor")
    if x.shape[0] != y.shape[0]:
        raise ValueError(f"the batches have {x.shape[0]} and {y.shape[0]} matrices (mismatch)")
    return matmul(x, y)


def mv(x, y):
    if x.ndim != 2 or y.ndim != 1:
        raise torch_error(RuntimeError, f"vector + matrix @ vector expected, got {x.ndim}, {y.ndim}")
    return matmul(x, y)


def dot(x, y):
    if x.ndim != 1 or y.ndim != 1:
        raise torch_error(RuntimeError, f"1D tensors expected, but got {x.ndim}D and {y.ndim}D tensors")
    if x.shape != y.shape:
        raise torch_error(RuntimeError, f"inconsistent tensor size, expected tensor [{x.shape[0]}] and src [{y.shape[0]}] to have the same number of elements, "
                                        f"but got {x.shape[0]} and {y.shape[0]} elements respectively")
    return matmul(x, y)


def outer(x, y):
    return e.multiply(*promoted(np.reshape(x, (-1, 1)), y))


def einsum(*operands, equation):
    equation = equation.replace(" ", "")
    return np.einsum(equation, *operands)


def tensordot(x, y, dims=2):
    """Of axes that are paired, one may have length 1: it broadcasts."""
    _same_dtype(x, y)
    if isinstance(dims, int):
        if dims > min(x.ndim, y.ndim):
            raise torch_error(RuntimeError, f"tensordot expects dims < ndim_a + 1, but got {dims} of {x.ndim} and {y.ndim} axes")
        dims = range(x.ndim - dims, x.ndim), range(dims)
    mine, others = [tuple([axis(d, v.ndim) for d in given]) for v, given in zip((x, y), dims)]
    x, y = _summed(x, [a for a, b in zip(mine, others) if y.shape[b] == 1]), _summed(y, [b for a, b in zip(mine, others) if x.shape[a] == 1])
    return np.tensordot(x, y, axes=(mine, others))


def _summed(x, dims):
    dims = tuple([d for d in dims if x.shape[d] != 1])
    return np.sum(x, axis=dims, keepdims=True) if dims else x
