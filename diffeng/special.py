"""scipy.special's functions for traced and plain arrays alike, the twins of those that convert their arguments included.

>>> import numpy as np, diffeng as de
>>> float(de.special.logsumexp(np.array([0.0, 0.0])).round(6))
0.693147
"""
import numpy as np

from . import numpy_api as api
from .vocabulary import elementwise as e

UFUNC_NAMES = ("xlog1py", "entr", "rel_entr", "exp10", "ndtr", "softplus")          # scipy ufuncs written as compositions below
TWINS = ("logsumexp", "softmax", "log_softmax")          # scipy functions that convert their arguments, and so cannot see a traced one

erf, erfc, expit, log_expit, logit, xlogy = e.erf, e.erfc, e.expit, e.log_expit, e.logit, e.xlogy


def logsumexp(a, axis=None, keepdims=False, *, b=None):
    """log(sum(exp(a))) along axes, without overflow. a: array, any shape; the result loses the axes unless keepdims.

    b: weights that broadcast against a: log(sum(b exp(a))), NaN where the sum is negative.
    """
    a = api.operand(a)
    if b is None:
        return api.logsumexp(a, axis, keepdims)
    top = np.max(a, axis=axis, keepdims=True)
    top = e.stop_gradient(e.where(e.isfinite(top), top, 0.0))
    with np.errstate(divide="ignore"):
        out = e.log(np.sum(api.operand(b) * e.exp(a - top), axis=axis, keepdims=True)) + top
    return out if keepdims else np.squeeze(out, api.axes_of(axis, np.ndim(a)))


def softmax(x, axis=None):
    """exp(x) / sum(exp(x)) along axes; the shape of x."""
    x = api.operand(x)
    z = e.exp(x - e.stop_gradient(np.max(x, axis=axis, keepdims=True)))
    return z / np.sum(z, axis=axis, keepdims=True)


def log_softmax(x, axis=None):
    """x - logsumexp(x) along axes; the shape of x."""
    x = api.operand(x)
    return x - api.logsumexp(x, axis, True)


def softplus(x):
    """log(1 + exp(x)), without overflow."""
    return e.logaddexp(x, 0.0)


def xlog1py(x, y):
    """x log(1 + y), and 0 where x = 0, whatever the logarithm."""
    nothing = e.logical_and(e.equal(x, 0), e.logical_or(e.less_equal(y, -1), e.equal(y, np.inf)))
    return e.where(nothing, 0.0, x * e.log1p(e.where(nothing, 0.0, y)))


def entr(x):
    """-x log(x); 0 at 0, -inf below."""
    outside = e.less(x, 0)
    inside = e.where(outside, 1.0, x)
    return e.where(outside, -np.inf, -e.xlogy(inside, inside))


def rel_entr(x, y):
    """x log(x / y); 0 where x = 0 and y >= 0, infinite where one is negative or only y is 0."""
    inside = e.logical_and(e.greater(x, 0), e.greater(y, 0))
    nothing = e.logical_and(e.equal(x, 0), e.greater_equal(y, 0))
    missing = e.logical_or(e.isnan(x), e.isnan(y))
    return e.where(inside, _times_log_of_quotient(*(e.where(inside, v, 1.0) for v in (x, y))), e.where(nothing, 0.0, e.where(missing, np.nan, np.inf)))


def _times_log_of_quotient(x, y):
    """x log(x / y) of positive numbers: the logarithm of a quotient near 1 needs their difference, that of one out of range theirs."""
    ratio = x / y
    near, far = e.logical_and(e.greater(ratio, 0.5), e.less(ratio, 2)), e.logical_or(e.less(ratio, np.finfo(ratio.dtype).tiny), e.isinf(ratio))
    (x_near, y_near), (x_far, y_far) = ([e.where(chosen, v, 1.0) for v in (x, y)] for chosen in (near, far))
    between = e.where(far, 1.0, x) / e.where(far, 1.0, y)
    return x * e.where(near, e.log1p((x_near - y_near) / y_near), e.where(far, e.log(x_far) - e.log(y_far), e.log(between)))


def exp10(x):
    """10**x."""
    return e.power(10.0, x)


def ndtr(x):
    """The standard normal distribution function."""
    return e.erfc(-x / 2 ** 0.5) / 2
