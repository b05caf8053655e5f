"""What each operation on tensors means: NumPy code on arrays (or Tracers), with PyTorch's rules of dtypes and PyTorch's names.

What it is not: no derivative, no tensor. Functions here meet arrays, Tracers and Python numbers; `Operation` (core.py) makes them operations on tensors.
"""
import builtins
import math

import numpy as np

from .. import special
from ..numpy_api import astype
from ..traced import Traced
from ..vocabulary import elementwise as e, indexing
from . import reductions as r
from .core import Operation
from .rules import BOOL, along, axis, cast, default, name_of, promote_types, promoted, result_type, to_float, torch_error

# ---- arithmetic --------------------------------------------------------------------------------------------------------------------


def add(x, y, alpha=1):
    if alpha != 1:
        y = _times(y, alpha)
    x, y = promoted(x, y)
    return e.logical_or(x, y) if result_type(x, y) == BOOL else e.add(x, y)


def sub(x, y, alpha=1):
    if any([isinstance(v, builtins.bool) or getattr(v, "dtype", None) == BOOL for v in (x, y)]):
        raise torch_error(RuntimeError, "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, "
                                        "use the `~` or `logical_not()` operator instead.")
    return e.subtract(*promoted(x, y if alpha == 1 else _times(y, alpha)))


def _times(y, alpha):
    """A number stays a number, which takes the dtype of what it meets."""
    return mul(y, alpha) if isinstance(y, (np.ndarray, Traced)) else y * alpha


def mul(x, y):
    return e.multiply(*promoted(x, y))


def div(x, y, rounding_mode=None):
    if rounding_mode == "floor":
        return floor_divide(x, y)
    x, y = promoted(x, y, floating=rounding_mode is None)
    if rounding_mode is None:
        return e.divide(x, y)
    return e.trunc(e.divide(x, y)) if result_type(x, y).kind == "f" else astype(e.trunc(np.true_divide(x, y)), result_type(x, y))


def floor_divide(x, y):
    x, y = promoted(x, y)
    if result_type(x, y).kind != "f" and not isinstance(y, Traced) and np.any(np.equal(y, 0)):
        raise torch_error(RuntimeError, "ZeroDivisionError")
    return e.floor_divide(x, y)


def remainder(x, y):
    return e.remainder(*promoted(x, y))


def fmod(x, y):
    x, y = promoted(x, y)
    return np.fmod(x, _array(y, x.dtype))


def pow(x, y):
    if isinstance(y, int) and not isinstance(y, builtins.bool) and y < 0 and isinstance(x, (np.ndarray, Traced)) and x.dtype.kind in "iub":
        raise torch_error(RuntimeError, "Integers to negative integer powers are not allowed.")
    x, y = promoted(x, y)
    return e.power(x, y)


def neg(x):
    if x.dtype == BOOL:
        raise torch_error(RuntimeError, "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, "
                                        "use the `~` or `logical_not()` operator instead.")
    return e.negative(x)


def addcmul(x, y, z, value=1):
    return add(x, mul(y, z) if value == 1 else mul(mul(y, z), value))


def addcdiv(x, y, z, value=1):
    return add(x, div(y, z) if value == 1 else mul(div(y, z), value))


def addmm(bias, x, y, beta=1, alpha=1):
    out = r.matmul(x, y)
    return add(mul(bias, beta) if beta != 1 else bias, mul(out, alpha) if alpha != 1 else out)


def kron(x, y):
    return np.kron(*promoted(x, y))


def lerp(x, y, weight):
    return add(x, mul(weight, sub(y, x)))


# ---- one value in, one out -----------------------------------------------------------------------------------------------------------

def _floating(function):
    return lambda x: function(to_float(x))


def _keeping(function):
    return lambda x: x if x.dtype.kind in "iub" else function(x)


def _log_sigmoid(x):
    return special.log_expit(to_float(x))


def relu(x):
    return e.where(e.greater(x, 0), x, cast(np.zeros((), x.dtype), x.dtype))


def softplus(x, beta=1.0, threshold=20.0):
    """log(1 + exp(beta x)) / beta; x itself where beta x is above the threshold, as PyTorch has it."""
    x = to_float(x)
    scaled = x if beta == 1 else x * beta
    soft = special.softplus(scaled)
    return e.where(e.greater(scaled, threshold), x, soft if beta == 1 else soft / beta)


def gelu(x, approximate="none"):
    """x Phi(x), or its approximation by tanh (Hendrycks & Gimpel, 2016)."""
    if approximate == "tanh":
        return x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return x * 0.5 * (1 + special.erf(x * (1 / math.sqrt(2))))


def leaky_relu(x, negative_slope=0.01):
    return e.where(e.greater(x, 0), x, x * negative_slope)


def silu(x):
    return x * special.expit(x)


def sign(x):
    return x if x.dtype == BOOL else e.sign(x)


def round(x, decimals=0):
    if x.dtype.kind in "iub":
        return x
    return e.rint(x) if decimals == 0 else e.rint(x * 10.0 ** decimals) / 10.0 ** decimals


def clamp(x, low=None, high=None):
    """Between the bounds; the derivative is 1 inside and at the bounds, as PyTorch has it."""
    if low is None and high is None:
        raise torch_error(RuntimeError, "torch.clamp: At least one of 'min' or 'max' must not be None")
    bounds = [b for b in (low, high) if b is not None]
    dtype = result_type(x, *bounds)
    x = cast(x, dtype)
    if low is not None:
        x = e.where(e.less(x, low), cast(_array(low, dtype), dtype), x)
    if high is not None:
        x = e.where(e.greater(x, high), cast(_array(high, dtype), dtype), x)
    return x


def _array(x, dtype):
    return x if isinstance(x, (np.ndarray, Traced)) else np.asarray(x, dtype)


def nan_to_num(x, nan=0.0, posinf=None, neginf=None):
    if x.dtype.kind != "f":
        return x
    info = np.finfo(x.dtype)
    x = e.where(e.isnan(x), np.asarray(nan, x.dtype), x)
    x = e.where(e.equal(x, np.inf), np.asarray(info.max if posinf is None else posinf, x.dtype), x)
    return e.where(e.equal(x, -np.inf), np.asarray(info.min if neginf is None else neginf, x.dtype), x)


FLOATING = {"exp": e.exp, "exp2": e.exp2, "expm1": e.expm1, "log": e.log, "log2": e.log2, "log10": e.log10, "log1p": e.log1p, "sqrt": e.sqrt, "sin": e.sin,
            "cos": e.cos, "tan": e.tan, "asin": e.arcsin, "acos": e.arccos, "atan": e.arctan, "sinh": e.sinh, "cosh": e.cosh, "tanh": e.tanh,
            "asinh": e.arcsinh, "acosh": e.arccosh, "atanh": e.arctanh, "erf": e.erf, "erfc": e.erfc, "sigmoid": e.expit, "reciprocal": e.reciprocal,
            "logit": e.logit, "lgamma": e.gammaln, "digamma": e.psi, "rsqrt": lambda x: e.reciprocal(e.sqrt(x))}
KEEPING = {"floor": e.floor, "ceil": e.ceil, "trunc": e.trunc}
CLASSIFY = {"isnan": e.isnan, "isinf": e.isinf, "isfinite": e.isfinite}

# ---- comparisons, logic ------------------------------------------------------------------------------------------------------------------


def _compare(primitive):
    def compare(x, y):
        if isinstance(y, float) and isinstance(x, (np.ndarray, Traced)) and x.dtype.kind in "iu":
            x = astype(x, default)
        return primitive(*promoted(x, y))
    return compare


def _bitwise(primitive, function):
    def bitwise(x, y):
        x, y = promoted(x, y)
        if result_type(x, y).kind == "f":
            raise torch_error(NotImplementedError, f"\"{function.__name__}_cpu\" not implemented for '{name_of(result_type(x, y))}'")
        if result_type(x, y) == BOOL:
            return primitive(x, y)
        return function(*_integers(x, y))
    return bitwise


def _integers(*operands):
    """Bits of integers are NumPy's business: there is no such primitive to record."""
    if any(isinstance(x, Traced) for x in operands):
        raise NotImplementedError("bits of integers are not recorded")
    return operands


def logical_not(x):
    return e.logical_not(x)


def bitwise_not(x):
    if x.dtype.kind == "f":
        raise torch_error(TypeError, "~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return e.logical_not(x) if x.dtype == BOOL else np.invert(*_integers(x))


def isclose(x, y, rtol=1e-5, atol=1e-8, equal_nan=False):
    near = np.less_equal(np.abs(x - y), atol + rtol * np.abs(y)) | np.equal(x, y)
    return near | (e.isnan(x) & e.isnan(y)) if equal_nan else near


# ---- choices --------------------------------------------------------------------------------------------------------------------------------

def where(condition, x, y):
    x, y = promoted(x, y)
    return e.where(condition, x, y)


def maximum(x, y):
    return e.maximum(*promoted(x, y))


def minimum(x, y):
    return e.minimum(*promoted(x, y))


def masked_fill(x, mask, value):
    if mask.dtype != BOOL:
        raise torch_error(RuntimeError, f"masked_fill only supports boolean masks, but got mask with dtype {mask.dtype}")
    return e.where(mask, cast(_array(value, x.dtype), x.dtype), x)


# ---- entries elsewhere ----------------------------------------------------------------------------------------------------------------------------

def _dims_of(dims):
    return tuple(dims) if isinstance(dims, (tuple, list)) else dims


def tile(x, reps):
    return np.tile(x, reps)


def repeat(x, repeats, dim=None):
    return np.repeat(x, repeats, axis=None if dim is None else axis(dim, x.ndim))


@along
def flip(x, dims):
    if len(set(dims)) < len(dims):
        raise torch_error(RuntimeError, "flip: a dim appears multiple times in the list of dims")
    return np.flip(x, dims)


def roll(x, shifts, dims=None):
    return np.roll(x, _dims_of(shifts), _dims_of(dims))


def _band(keep_lower):
    def band(x, diagonal=0):
        if x.ndim < 2:
            raise torch_error(RuntimeError, f"{'tril' if keep_lower else 'triu'}: input tensor must have at least 2 dimensions")
        lower = np.tri(*x.shape[-2:], k=diagonal if keep_lower else diagonal - 1, dtype=np.bool_)
        return e.where(lower if keep_lower else ~lower, x, np.zeros((), x.dtype))
    return band


def diag(x, diagonal=0):
    return np.diag(x, diagonal)


def in_range(at, n, dim, name):
    """Indices into n places. NumPy counts those below 0 from the end, PyTorch has none: where they are recorded, they become too large."""
    if type(at) is not np.ndarray:
        return e.where(e.less(at, 0), np.asarray(n, at.dtype), at)
    wrong = at[(at < 0) | (at >= n)]
    if wrong.size:
        raise torch_error(IndexError, f"{name}{{here}}: index {wrong.flat[0]} is out of bounds for dimension {dim} with size {n}: indices from 0 to {n - 1} are "
                                      "allowed")
    return at


def _grid(x, at, dim, name):
    """The index that reads, along dim, at `at`, and elsewhere entry by entry. Neither is without axes: one entry is a vector of one."""
    if at.ndim != x.ndim:
        raise torch_error(RuntimeError, f"{name}{{here}}: Index tensor must have the same number of dimensions as input tensor, and has shape {list(at.shape)}; "
                                        f"the input has {list(x.shape)}")
    if any(k != dim and n > m for k, (n, m) in enumerate(zip(at.shape, x.shape))):
        raise torch_error(RuntimeError, f"{name}{{here}}: Size does not match: index {list(at.shape)} must not be larger than input {list(x.shape)} apart from "
                                        f"dimension {dim}")
    at = in_range(at, x.shape[dim] if x.ndim else 1, dim, name)
    return [at if k == dim else np.arange(n).reshape([-1 if j == k else 1 for j in range(at.ndim)]) for k, n in enumerate(at.shape)]


def _vector(x):
    return x if x.ndim else np.reshape(x, (1,))


def gather(x, at, dim):
    grid = _grid(_vector(x), _vector(at), dim, "gather")
    found = indexing.getitem(_vector(x), *grid, index=tuple(indexing.Slot(k) for k in range(len(grid))))
    return found if at.ndim else np.reshape(found, ())


@along
def scatter(x, at, v, dim, add=False):
    at = _vector(at)
    grid = _grid(x, at, dim, "scatter_add" if add else "scatter")
    v = v if hasattr(v, "dtype") else x.dtype.type(v)
    v = v[tuple(slice(0, n) for n in at.shape)] if v.ndim and v.shape != at.shape else v
    return (indexing.add_at if add else indexing.setitem)(x, v, *grid, index=tuple(indexing.Slot(k) for k in range(len(grid))))


@along
def index_add(x, v, at, dim, alpha=1):
    at, v = _vector(at), _vector(v)
    at, v = in_range(at, x.shape[dim], dim, "index_add"), v if alpha == 1 else v * x.dtype.type(alpha)
    return indexing.add_at(x, v, at, index=(slice(None),) * dim + (indexing.Slot(0),))


def index_select(x, at, dim):
    if at.ndim > 1 or not x.ndim and at.size != 1:
        raise torch_error(IndexError if at.ndim > 1 else RuntimeError, f"index_select{{here}}: Index is supposed to be a vector, of one entry "
                                                                               f"where the input has no axes, and has shape {list(at.shape)}")
    at = in_range(at.reshape(-1), x.shape[dim] if x.ndim else 1, dim, "index_select")
    return indexing.getitem(x, at, index=(slice(None),) * dim + (indexing.Slot(0),)) if x.ndim else x


def copy(x, v):
    """v in the shape and dtype of x."""
    v = cast(v, x.dtype) if isinstance(v, (np.ndarray, Traced)) else np.asarray(v).astype(x.dtype)
    if np.broadcast_shapes(v.shape, x.shape) != x.shape:
        raise torch_error(RuntimeError, f"output with shape {list(x.shape)} doesn't match the broadcast shape {list(np.broadcast_shapes(v.shape, x.shape))}")
    return indexing.setitem(x, v, index=(Ellipsis,))          # x as an operand: what required a gradient still does


# ---- the table ----------------------------------------------------------------------------------------------------------------------------------

OPERATIONS = {f.__name__: f for f in (
    add, sub, mul, div, floor_divide, remainder, fmod, pow, neg, addcmul, addcdiv, addmm, kron, lerp, relu, softplus, gelu, leaky_relu, silu, sign, round, clamp,
    nan_to_num, logical_not, bitwise_not, isclose, where, maximum, minimum, masked_fill, tile, repeat, flip, roll, diag, gather, scatter, index_add, index_select,
    copy,
    r.sum, r.mean, r.var, r.std, r.prod, r.amax, r.amin, r.any, r.all, r.count_nonzero, r.logsumexp, r.softmax, r.log_softmax, r.norm, r.cumsum, r.cumprod,
    r.argsort, r.sort, r.topk, r.median, r.matmul, r.mm, r.bmm, r.mv, r.dot, r.outer, r.einsum, r.tensordot)}
OPERATIONS.update({n: _floating(f) for n, f in FLOATING.items()})
OPERATIONS.update({n: _keeping(f) for n, f in KEEPING.items()})
OPERATIONS.update({n: (lambda f: lambda x: f(x))(f) for n, f in CLASSIFY.items()})
OPERATIONS.update({n: _compare(p) for n, p in dict(eq=e.equal, ne=e.not_equal, lt=e.less, le=e.less_equal, gt=e.greater, ge=e.greater_equal).items()})
OPERATIONS.update(abs=lambda x: e.absolute(x), square=lambda x: e.square(x), logsigmoid=_log_sigmoid,
                  atan2=lambda x, y: e.arctan2(*promoted(x, y, floating=True)),
                  hypot=lambda x, y: e.hypot(*promoted(x, y)), logaddexp=lambda x, y: e.logaddexp(*promoted(x, y)),
                  logical_and=lambda x, y: e.logical_and(x, y), logical_or=lambda x, y: e.logical_or(x, y), logical_xor=lambda x, y: e.logical_xor(x, y),
                  bitwise_and=_bitwise(e.logical_and, np.bitwise_and), bitwise_or=_bitwise(e.logical_or, np.bitwise_or),
                  bitwise_xor=_bitwise(e.logical_xor, np.bitwise_xor), max_along=r.picked(np.argmax), min_along=r.picked(np.argmin),
                  argmax=r.position(np.argmax), argmin=r.position(np.argmin), to=lambda x, dtype: astype(x, dtype), clone=lambda x: e.copy(x),
                  tril=_band(True), triu=_band(False), cat=lambda *parts, dim=0: _cat(parts, dim), stack=lambda *parts, dim=0: _stack(parts, dim))


def _joined(parts):
    dtype = parts[0].dtype
    for p in parts[1:]:
        dtype = promote_types(dtype, p.dtype)
    return [cast(p, dtype) for p in parts]


def _cat(parts, dim):
    kept = [p for p in parts if p.shape != (0,)] or parts[:1]
    if not kept[0].ndim:
        raise torch_error(RuntimeError, "zero-dimensional tensor (at position 0) cannot be concatenated")
    dim = axis(dim, kept[0].ndim)
    if len({p.ndim for p in kept}) > 1:
        raise torch_error(RuntimeError, f"cat: Tensors must have same number of dimensions: got {' and '.join(map(str, sorted({p.ndim for p in kept})))}")
    return np.concatenate(_joined(kept), axis=dim)


def _stack(parts, dim):
    for k, p in enumerate(parts):
        if p.shape != parts[0].shape:
            raise torch_error(RuntimeError, f"stack expects each tensor to be equal size, but got {list(parts[0].shape)} at entry 0 and {list(p.shape)} at "
                                            f"entry {k}")
    return np.stack(_joined(parts), axis=axis(dim, parts[0].ndim + 1))


OPS = {name: Operation(function, name) for name, function in OPERATIONS.items()}
