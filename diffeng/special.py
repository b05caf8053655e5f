"""scipy.special's functions for traced and plain arrays alike, the twins of those that convert their arguments included; of tensors, torch.special's.

>>> import numpy as np, diffeng as de
>>> float(de.special.logsumexp(np.array([0.0, 0.0])).round(6))
0.693147
"""
import numpy as np

from . import numpy_api as api
from .errors import absent, refuse
from .nodes import Primitive
from .numpy_functions.reducing import at_hand
from .shared_names import either
from .vocabulary import elementwise as e

UFUNC_NAMES = ("xlog1py", "entr", "rel_entr", "kl_div", "exp10", "ndtr", "log_ndtr", "softplus", "cosm1", "huber", "pseudo_huber", "digamma", "loggamma", "gammasgn",
               "betaln", "beta", "betaincc", "exprel", "boxcox", "inv_boxcox",
               "cbrt", "exp2", "expm1", "log1p", "round",
               "ndtri", "exp1", "rgamma", "j0", "j1", "y0", "y1", "yn", "i0", "i1", "i0e", "i1e", "k0", "k1", "kn", "k0e", "k1e")          # scipy ufuncs that are compositions, or NumPy's functions, below
TWINS = ("logsumexp", "softmax", "log_softmax", "polygamma", "multigammaln")          # scipy functions that convert their arguments, and so cannot see a traced one

erf, erfc, expit, log_expit, logit, xlogy = e.erf, e.erfc, e.expit, e.log_expit, e.logit, e.xlogy
gammaln, gamma, psi, digamma, zeta = e.gammaln, e.gamma, e.psi, e.psi, e.zeta
erfinv, erfcinv, erfcx, dawsn, expi, expn = e.erfinv, e.erfcinv, e.erfcx, e.dawsn, e.expi, e.expn
gammainc, gammaincc, betainc = e.gammainc, e.gammaincc, e.betainc
ellipk, ellipe, hyp2f1 = e.ellipk, e.ellipe, e.hyp2f1
jv, jn, yv, iv, ive, kv, kve = e.jv, e.jv, e.yv, e.iv, e.ive, e.kv, e.kve


def _elementwise(primitive, meaning):
    """A function of one primitive that is no primitive: SciPy's dtypes of integers are not NumPy's."""
    def function(x):
        return primitive(x)
    function.__doc__ = meaning
    return function


cbrt, exp2, log1p = _elementwise(e.cbrt, "The cube root."), _elementwise(e.exp2, "2**x."), _elementwise(e.log1p, "log(1 + x), without cancellation near 0.")
expm1, round = _elementwise(e.expm1, "exp(x) - 1, without cancellation near 0."), _elementwise(e.rint, "The nearest integer; of two, the even one.")


def _everywhere(condition):
    """Is it known of the numbers at hand that it holds for all of them? Then nothing is computed for others."""
    known = at_hand(condition)
    return known is not None and np.all(known)


def logsumexp(a, axis=None, keepdims=False, *, b=None, return_sign=False):
    """log(sum(exp(a))) along axes, without overflow. a: array, any shape; the result loses the axes unless keepdims.

    b: weights that broadcast against a: log(sum(b exp(a))), NaN where the sum is negative.
    return_sign: (log|sum|, the sum's sign) instead.
    """
    a = api.operand(a)
    if b is None and not return_sign:
        return api.logsumexp(a, axis, keepdims)
    top = np.max(a, axis=axis, keepdims=True)
    top = e.stop_gradient(e.where(e.isfinite(top), top, 0.0))
    total = np.sum((1.0 if b is None else api.operand(b)) * e.exp(a - top), axis=axis, keepdims=True)
    with np.errstate(divide="ignore"):
        out = e.log(e.absolute(total) if return_sign else total) + top
    out, sign = [x if keepdims else np.squeeze(x, api.axes_of(axis, np.ndim(a))) for x in (out, e.sign(total))]
    return (out, sign) if return_sign else out


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
    return _entropy(x, y, _times_log_of_quotient, 0.0)


def kl_div(x, y):
    """x log(x / y) - x + y; y where x = 0 and y >= 0, infinite where one is negative or only y is 0."""
    return _entropy(x, y, lambda x, y: _times_log_of_quotient(x, y) - x + y, y)


def _entropy(x, y, inside_of, at_0):
    """A function of positive numbers, which is at_0 where only x is 0 (or both are), and infinite elsewhere."""
    inside = e.logical_and(e.greater(x, 0), e.greater(y, 0))
    nothing = e.logical_and(e.equal(x, 0), e.greater_equal(y, 0))
    missing = e.logical_or(e.isnan(x), e.isnan(y))
    return e.where(inside, inside_of(*(e.where(inside, v, 1.0) for v in (x, y))), e.where(nothing, at_0, e.where(missing, np.nan, np.inf)))


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


def ndtri(p):
    """The inverse of ndtr."""
    return -2 ** 0.5 * e.erfcinv(2 * p)


def log_ndtr(x):
    """log(ndtr(x)), also where ndtr is 0: far below by the asymptotic series of the error function (DLMF 7.12.1), whose first omitted term is 5e-18 of the whole."""
    far, above = e.less(x, -10.3 if x.dtype == np.float32 else -20.3), e.greater(x, 0)
    high, between = e.where(above, x, 1.0), e.where(e.logical_or(far, above), -1.0, x)
    near = e.where(above, e.log1p(-ndtr(-high)), e.log(ndtr(between)))
    if _everywhere(e.logical_not(far)):
        return near
    low = e.where(far, x, -21.0)
    w, rest = 1 / low / low, 1.0
    for k in (17, 15, 13, 11, 9, 7, 5, 3):
        rest = 1 - k * w * rest
    tail = e.log1p(-w * rest) - e.log(-low) - 0.5 * np.log(2 * np.pi) - low * low / 2
    return e.where(far, tail, near)


def cosm1(x):
    """cos(x) - 1, as -2 sin(x/2)^2: near 0 nothing is subtracted."""
    return -2 * e.square(e.sin(x / 2))


def exprel(x):
    """(exp(x) - 1) / x, and 1 at 0: near it by its series, as quotients would lose the digits of derivatives."""
    near, last = e.less(e.square(x), 0.9), e.equal(x, np.inf)
    z, y, series = e.where(near, x, 0.0), e.where(e.logical_or(near, last), 1.0, x), 1.0
    for k in range(24, 1, -1):                               # 1 + x/2! + x^2/3! + ..., to all digits of the fourth derivative, too
        series = 1.0 + z * series / k
    return e.where(last, np.inf, e.where(near, series, e.expm1(y) / y))


def betaincc(a, b, x):
    """1 - betainc(a, b, x), without cancellation."""
    return e.betainc(b, a, 1 - x)


def boxcox(x, lmbda):
    """(x**lmbda - 1) / lmbda, and log(x) where lmbda is 0 (G. Box, D. Cox, J. Royal Statistical Society B 26, 1964)."""
    far = e.greater(e.square(lmbda * e.log(x)), 0.9)
    x_near, x_far, lmbda_near, lmbda_far = e.where(far, 1.0, x), e.where(far, x, 1.0), e.where(far, 0.0, lmbda), e.where(far, lmbda, 1.0)
    log = e.log(x_near)
    end = e.logical_and(e.isinf(log), e.equal(lmbda_near, 0))
    near = e.where(end, log, log * exprel(lmbda_near * e.where(end, 0.0, log)))
    return e.where(far, (e.power(x_far, lmbda_far) - 1) / lmbda_far, near)


def inv_boxcox(y, lmbda):
    """The inverse of boxcox: (1 + lmbda y)**(1/lmbda), and exp(y) where lmbda is 0. The logarithm by 2 arctanh(t / (2 + t)), whose series in t = lmbda y near 0
    keeps the digits of derivatives."""
    t = lmbda * y
    near = e.less(e.square(t), 0.2)
    z, lmbda_far, t_far, series = e.where(near, t, 0.0), e.where(near, 1.0, lmbda), e.where(near, 1.0, t), 0.0
    s = e.square(z / (2 + z))
    for k in range(51, 0, -2):
        series = series * s + 1.0 / k
    return e.exp(e.where(near, e.where(near, y, 0.0) * series * (2 / (2 + z)), e.log1p(t_far) / lmbda_far))


def huber(delta, r):
    """r^2 / 2 where |r| <= delta, else delta (|r| - delta / 2); infinite where delta < 0."""
    size, outside = e.absolute(r), e.less(delta, 0)
    near = e.less_equal(size, delta)
    edge = e.where(e.logical_or(near, outside), 0.0, delta)
    return e.where(outside, np.inf, e.where(near, e.square(e.where(near, r, 0.0)) / 2, edge * (size - edge / 2)))


def pseudo_huber(delta, r):
    """delta^2 (sqrt(1 + (r / delta)^2) - 1), as r^2 / (1 + sqrt(...)): nothing is subtracted. 0 where delta is 0, infinite where it is negative."""
    v = r / e.where(e.equal(delta, 0), 1.0, delta)
    far = e.isinf(v)
    bent = r * (r / (1 + e.hypot(1.0, e.where(far, 0.0, v))))
    return e.where(e.less(delta, 0), np.inf, e.where(e.equal(delta, 0), 0.0, e.where(far, delta * e.absolute(r), bent)))


# ---- Bessel functions, exponential integrals -----------------------------------------------------------------------------

def _bessel(primitive, order, meaning):
    def function(x):
        return primitive(order, x)
    function.__doc__ = meaning
    return function


j0, j1 = (_bessel(e.jv, v, f"The Bessel function of the first kind of order {v}.") for v in (0, 1))
y0, y1 = (_bessel(e.yv, v, f"The Bessel function of the second kind of order {v}.") for v in (0, 1))
i0, i1 = (_bessel(e.iv, v, f"The modified Bessel function of the first kind of order {v}.") for v in (0, 1))
k0, k1 = (_bessel(e.kv, v, f"The modified Bessel function of the second kind of order {v}.") for v in (0, 1))
i0e, i1e = (_bessel(e.ive, v, f"exp(-|x|) i{v}(x).") for v in (0, 1))
k0e, k1e = (_bessel(e.kve, v, f"exp(x) k{v}(x).") for v in (0, 1))


def _whole(n):
    return n if isinstance(n, int) else e.trunc(n)


def yn(n, x):
    """The Bessel function of the second kind of whole order n, which is held."""
    return e.yv(_whole(n), x)


def kn(n, x):
    """The modified Bessel function of the second kind of whole order n, which is held."""
    return e.kv(_whole(n), x)


def exp1(x):
    """The exponential integral E_1(x); NaN for x < 0."""
    return e.expn(1.0, x)


# ---- the gamma function's relatives -------------------------------------------------------------------------------------

def polygamma(n, x):
    """The n-th derivative of psi: (-1)^(n + 1) n! zeta(n + 1, x) for n > 0 (DLMF 25.11.12). n: whole numbers, as an array or one; they have no derivative."""
    orders, x = np.asarray(n), api.operand(x)
    if orders.dtype.kind not in "iuf" or np.any(orders != np.floor(orders)) or np.any(orders < 0):
        raise refuse(ValueError, f"polygamma{{here}}: the order {n!r} is no whole number >= 0")
    if not orders.any():
        return e.psi(x) + np.zeros(orders.shape) if orders.ndim else e.psi(x)
    s = orders + 1.0 if orders.ndim else float(orders) + 1
    factor = np.where(orders % 2, 1.0, -1.0) * e.gamma(s)
    if orders.all():
        return float(factor) * e.zeta(s, x) if not orders.ndim else factor * e.zeta(s, x)
    return e.where(orders == 0, e.psi(x), factor * e.zeta(np.maximum(s, 2.0), x))


def loggamma(x):
    """gammaln(x), and NaN below 0, where the logarithm is none of a positive number."""
    below = e.less(x, 0)
    return e.where(below, np.nan, e.gammaln(e.where(below, 1.0, x)))


def rgamma(x):
    """1 / gamma(x), and 0 at 0, -1, -2, ... and at infinity: below -1/2 by reflection (DLMF 5.5.3), which has the slopes at the zeros, too."""
    if _everywhere(e.logical_and(e.greater_equal(x, 0.5625), e.less(x, 30))):
        return 1 / e.gamma(x)
    end = e.isinf(x)
    x = e.where(end, 1.0, x)
    below, near = e.less(x, -0.4375), e.logical_and(e.greater_equal(x, -0.4375), e.less(x, 0.5625))
    size, beside, z = e.where(below, -x, 1.5), e.where(near, x, 0.25), e.where(e.logical_or(below, near), 1.5, x)
    pole = e.floor(size + 0.5625)
    factor = e.where(e.logical_and(e.equal(size, pole), e.isinf(e.gamma(size))), 0.0, size * (e.gamma(size) / np.pi))
    reflected = e.where(e.equal(e.remainder(pole, 2.0), 0), -1.0, 1.0) * (e.sin(np.pi * (size - pole)) * factor)
    far = e.isinf(e.gamma(z))
    above = e.where(far, e.exp(-e.gammaln(z)), 1 / e.gamma(e.where(far, 1.5, z)))
    return e.where(end, 0.0, e.where(below, reflected, e.where(near, beside / e.gamma(1 + beside), above)))


def gammasgn(x):
    """The sign of gamma(x); NaN at -1, -2, ... and -infinity."""
    down = e.floor(x)
    below = e.where(e.equal(down, x), np.nan, e.where(e.equal(e.remainder(down, 2.0), 0), 1.0, -1.0))
    return e.where(e.less(x, 0), below, e.where(e.signbit(x), -1.0, e.where(e.isnan(x), x, 1.0)))


def betaln(x, y):
    """log|beta(x, y)|. Where the larger operand is 16 or more, log(gamma) of it and of the sum are large and nearly the same: by the difference of their series
    (A. Didonato, A. Morris, ACM Trans. Math. Softw. 18, 1992), which has the digits that subtracting them would lose."""
    if _everywhere(e.logical_and(e.less(x, 16), e.less(y, 16))):
        return e.gammaln(x) + e.gammaln(y) - e.gammaln(x + y)
    first = e.less_equal(x, y)                               # (maximum would share the slope where they are equal, and have no second one)
    small, large = e.where(first, x, y), e.where(first, y, x)
    series = e.logical_and(e.greater_equal(large, 16), e.logical_and(e.greater(small, 0), e.less(large, np.inf)))
    a, b = e.where(series, small, 1.0), e.where(series, large, 16.0)
    both = a + b
    far = e.gammaln(a) + (0.5 - b) * e.log1p(a / b) - a * e.log(both) + a + (e.of_stirling(b) - e.of_stirling(both))
    p, q = e.where(series, 1.0, x), e.where(series, 1.0, y)
    return e.where(series, far, e.gammaln(p) + e.gammaln(q) - e.gammaln(p + q))


def beta(x, y):
    """gamma(x) gamma(y) / gamma(x + y), by logarithms where one of them is large or overflows."""
    direct = e.logical_and(e.logical_and(e.less(x, 16), e.less(y, 16)), e.logical_and(e.greater(x, -150), e.greater(y, -150)))
    if _everywhere(direct):
        return e.gamma(x) / e.gamma(x + y) * e.gamma(y)
    p, q = e.where(direct, x, 1.0), e.where(direct, y, 1.0)
    a, b = e.where(direct, 1.0, x), e.where(direct, 1.0, y)
    sign = gammasgn(a) * gammasgn(b) * gammasgn(a + b)
    return e.where(direct, e.gamma(p) / e.gamma(p + q) * e.gamma(q), sign * e.exp(betaln(a, b)))


def multigammaln(a, d):
    """log of the multivariate gamma function of dimension d: d (d - 1)/4 log(pi) + the sum of gammaln(a - j/2) over j = 0, ..., d - 1 (DLMF 35.3.4), a > (d - 1)/2."""
    if d != int(d) or d < 1:
        raise refuse(ValueError, f"multigammaln{{here}}: the dimension {d!r} is no whole number > 0")
    total = d * (d - 1) * 0.25 * np.log(np.pi)
    for j in range(int(d)):
        total = total + e.gammaln(a - j / 2)
    return total


# ---- of tensors ---------------------------------------------------------------------------------------------------------

def _of_tensors(name):
    def function(tensors):
        from .tensor_engine import special
        return special.named(name)
    return function


_shared = {}                                                   # two names of one function are one
for _name, _function in [*globals().items()]:
    if _name[0] != "_" and (type(_function) is Primitive or getattr(_function, "__module__", None) == __name__):
        _both = globals()[_name] = _shared.setdefault(_function, either(_function, _of_tensors(_name)))
        _both.__name__, _both.__module__ = _name, __name__


def __getattr__(name):
    if name[:1] != "_":
        from .tensor_engine import special
        if name in special.ALIASES or name in special.OWN or name == "sinc":
            return special.named(name)
    raise absent(f"module {__name__!r}", name, {}, [n for n, f in globals().items() if f in _shared.values()])
