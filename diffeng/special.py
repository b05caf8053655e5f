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


def logsumexp(a, axis=None, keepdims=False):
    """log(sum(exp(a))) along axes, without overflow. a: array, any shape; the result loses the axes unless keepdims."""
    return api.logsumexp(api.operand(a), axis, keepdims)


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
    """x log(1 + y), and 0 where x = 0."""
    zero = e.equal(x, 0)
    return e.where(zero, x * 0.0, x * e.log1p(e.where(zero, 0.0, y)))


def entr(x):
    """-x log(x)."""
    return -e.xlogy(x, x)


def rel_entr(x, y):
    """x log(x / y)."""
    return e.xlogy(x, x) - e.xlogy(x, y)


def exp10(x):
    """10**x."""
    return e.power(10.0, x)


def ndtr(x):
    """The standard normal distribution function."""
    return e.erfc(-x / 2 ** 0.5) / 2
