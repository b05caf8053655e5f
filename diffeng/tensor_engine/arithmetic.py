"""Further functions of PyTorch's namespace that are arithmetic: sums that skip, distances, integrals, statistics, less usual functions of numbers.

What it is: a function each whose first argument is a tensor, a method of tensors, too (FUNCTIONS), in terms of the operations that are there.
"""
import math

import numpy as np

from ..errors import refuse
from ..numpy_api import astype
from ..traced import Traced
from ..vocabulary import elementwise as e
from . import operations as o, reductions as r
from .core import Operation, TensorBase, beside
from .functions import cat, operand
from .operations import OPS
from .rules import axis, promoted, to_float


# ---- of numbers ---------------------------------------------------------------------------------------------------------------------------------

def _arrays(x, y):
    """Promoted operands, numbers among them in the dtype of the other."""
    dtype = (x if isinstance(x, (np.ndarray, Traced)) else y).dtype
    return o._array(x, dtype), o._array(y, dtype)


def _xlogy(x, y):
    """As the primitive, but for the slope where x = 0 and y has no logarithm, which is 0."""
    x, y = _arrays(*promoted(x, y, floating=True))
    return e.xlogy(x, e.where(e.logical_and(e.equal(x, 0), e.less_equal(y, 0)), np.ones((), y.dtype), y))


def _first_of(pick):
    """maximum and minimum that take the number where the other is none."""
    return lambda x, y: pick(*_arrays(*promoted(x, y)))


def _heaviside(x, values):
    x, values = promoted(x, values)
    return e.where(e.equal(x, 0), values, astype(e.greater(x, 0), x.dtype))


def _nansum(x, dim=None, keepdim=False, dtype=None):
    return r.sum(e.where(e.isnan(x), np.zeros((), x.dtype), x) if x.dtype.kind == "f" else x, dim, keepdim, dtype)


def _nanmean(x, dim=None, keepdim=False, dtype=None):
    return _nansum(x, dim, keepdim, dtype) / astype(r.sum(e.logical_not(e.isnan(x)), dim, keepdim), x.dtype)


def _renorm(x, *, p, dim, maxnorm):
    others = tuple([k for k in range(x.ndim) if k != dim])
    size = r.norm(x, p, others, True)
    over = e.greater(size, maxnorm)
    return e.where(over, x * (maxnorm / (e.where(over, size, np.ones((), x.dtype)) + 1e-7)), x)


def _logit(x, eps=None):
    x = to_float(x)
    return e.logit(x if eps is None else o.clamp(x, eps, 1 - eps))


_OF_TWO = {"xlogy": _xlogy, "fmax": _first_of(np.fmax), "fmin": _first_of(np.fmin), "heaviside": _heaviside,
           "logaddexp2": lambda x, y: np.logaddexp2(*promoted(x, y)), "float_power": lambda x, y: o.pow(*[astype(v, np.dtype(np.float64)) if hasattr(v, "dtype") else float(v) for v in (x, y)]),
           "inner": lambda x, y: np.inner(*promoted(x, y)), "ldexp": lambda x, y: o.mul(x, o.pow(2.0, y))}
_OF_ONE = {"frac": lambda x: x - e.trunc(x), "deg2rad": lambda x: to_float(x) * (math.pi / 180), "rad2deg": lambda x: to_float(x) * (180 / math.pi), "sinc": lambda x: np.sinc(to_float(x)),
           "isposinf": lambda x: e.equal(x, np.inf), "isneginf": lambda x: e.equal(x, -np.inf)}


def _function(name, count, function):
    op = Operation(function, name)

    def one(input):
        return op(operand(input))

    def two(input, other):
        return op(operand(input), operand(other))
    f = one if count == 1 else two
    f.__name__, f.__doc__ = name, f"{name} of tensors, as PyTorch's."
    return f


FUNCTIONS = {name: _function(name, count, f) for count, table in ((1, _OF_ONE), (2, _OF_TWO)) for name, f in table.items()}
_NANSUM, _NANMEAN, _RENORM, _LOGIT = Operation(_nansum, "nansum"), Operation(_nanmean, "nanmean"), Operation(_renorm, "renorm"), Operation(_logit, "logit")


def signbit(input):
    """Is there a minus, also before 0?"""
    return beside(input, np.signbit(input.value) if input.dtype.kind != "b" else np.zeros(input.shape, bool))


def copysign(input, other):
    """|x| with the sign of the other."""
    size = abs(input if input.dtype.kind == "f" else input.float())
    if not isinstance(other, TensorBase):
        return -size if math.copysign(1.0, other) < 0 else size
    return OPS["where"](signbit(other), -size, size)


def logit(input, eps=None):
    """log(x / (1 - x)); eps: of x between eps and 1 - eps."""
    return _LOGIT(input, eps=eps)


def nansum(input, dim=None, keepdim=False, dtype=None):
    """The sum of what is a number."""
    return _NANSUM(input, dim=tuple(dim) if isinstance(dim, list) else dim, keepdim=keepdim, dtype=dtype)


def nanmean(input, dim=None, keepdim=False, *, dtype=None):
    """The mean of what is a number."""
    r._float_only(input, "nanmean")
    return _NANMEAN(input, dim=tuple(dim) if isinstance(dim, list) else dim, keepdim=keepdim, dtype=dtype)


# ---- distances ----------------------------------------------------------------------------------------------------------------------------------

def cdist(x1, x2, p=2.0, compute_mode=None):
    """The p-norms of the differences of all rows of x1 (..., m, d) from all rows of x2 (..., n, d): (..., m, n)."""
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise refuse(RuntimeError, f"cdist{{here}}: X1 and X2 must have the same number of columns, and at least two dimensions: they have the shapes {list(x1.shape)} and "
                                   f"{list(x2.shape)}")
    return (x1.unsqueeze(-2) - x2.unsqueeze(-3)).norm(p, -1)


def dist(input, other, p=2):
    """The p-norm of the difference."""
    return (input - other).norm(p)


def renorm(input, p, dim, maxnorm):
    """Parts along an axis whose p-norm is larger than maxnorm, scaled down to it."""
    return _RENORM(input, p=p, dim=axis(dim, input.ndim), maxnorm=float(maxnorm))


def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """The p-norm of x1 - x2 + eps along the last axis."""
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)


# ---- integrals and statistics ---------------------------------------------------------------------------------------------------------------------

_DIFF = Operation(lambda x, n, dim: np.diff(x, n, axis=dim), "diff")


def diff(input, n=1, dim=-1, prepend=None, append=None):
    """The n-th differences of neighbours along an axis. prepend, append: what is joined to input there before, tensors of its shape apart from this axis.

    >>> import diffeng as de
    >>> diff(de.tensor([1.0, 4.0, 9.0]), prepend=de.zeros(1))
    tensor([1., 3., 5.])
    """
    if not input.ndim:
        raise refuse(RuntimeError, "diff{here} expects input to be at least one-dimensional")
    dim = axis(dim, input.ndim)
    given = [x for x in (prepend, input, append) if x is not None]
    if any([x.ndim != input.ndim for x in given]):
        raise refuse(RuntimeError, f"diff{{here}} expects prepend or append to be the same dimension as input, which has {input.ndim}")
    return _DIFF(cat(given, dim) if len(given) > 1 else input, n=n, dim=dim)


def _pieces(y, x, dx, dim):
    n = y.shape[dim]
    a, b = y.narrow(dim, 0, max(n - 1, 0)), y.narrow(dim, min(1, n), max(n - 1, 0))
    if x is None:
        return (a + b) * (dx / 2)
    x = x if x.ndim > 1 or y.ndim == 1 else x.reshape([-1 if k == dim else 1 for k in range(y.ndim)])
    return (a + b) * diff(x, dim=dim) / 2


def trapezoid(y, x=None, *, dx=1.0, dim=-1):
    """The integral along an axis by the rule of trapezoids, at places x, or in steps of dx."""
    return _pieces(y, x, dx, axis(dim, y.ndim)).sum(dim)


def cumulative_trapezoid(y, x=None, *, dx=1.0, dim=-1):
    """The integrals from the first place to each of the others."""
    return _pieces(y, x, dx, axis(dim, y.ndim)).cumsum(dim)


def cov(input, *, correction=1, fweights=None, aweights=None):
    """The covariances of the rows, whose columns are observations."""
    if fweights is not None or aweights is not None:
        raise refuse(NotImplementedError, "cov{here}: there are no weights: repeat columns, or write the weighted sums")
    rows = input.reshape(1, -1) if input.ndim < 2 else input
    d = rows - rows.mean(1, keepdim=True)
    out = d @ d.T / max(rows.shape[1] - correction, 0)
    return out if rows.shape[0] != 1 else out.reshape(())


def corrcoef(input):
    """The correlations of the rows."""
    c = cov(input)
    if not c.ndim:
        return c / c
    s = c.diagonal().sqrt()
    return (c / s[:, None] / s[None]).clamp(-1.0, 1.0)


def addmv(input, mat, vec, *, beta=1, alpha=1):
    """beta input + alpha mat @ vec."""
    return input * beta + OPS["mv"](mat, vec) * alpha


def addr(input, vec1, vec2, *, beta=1, alpha=1):
    """beta input + alpha outer(vec1, vec2)."""
    return input * beta + OPS["outer"](vec1, vec2) * alpha


def addbmm(input, batch1, batch2, *, beta=1, alpha=1):
    """beta input + alpha times the sum of the products of matrices."""
    return input * beta + OPS["bmm"](batch1, batch2).sum(0) * alpha


def gcd(input, other):
    """The greatest common divisors."""
    return beside(input, np.gcd(input.value, other.value if isinstance(other, TensorBase) else other))


def lcm(input, other):
    """The least common multiples."""
    return beside(input, np.lcm(input.value, other.value if isinstance(other, TensorBase) else other))


def rsub(input, other, *, alpha=1):
    """other - alpha input."""
    return OPS["sub"](operand(other), input, alpha=alpha)


def positive(input):
    return input


FUNCTIONS.update({f.__name__: f for f in (signbit, copysign, logit, diff, nansum, nanmean, dist, renorm, cov, corrcoef, addmv, addr, addbmm, gcd, lcm, positive, rsub)})
FUNCTIONS_ONLY = {f.__name__: f for f in (cdist, trapezoid, cumulative_trapezoid, pairwise_distance)} | {"trapz": trapezoid}
