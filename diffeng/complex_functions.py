"""Elementary functions of complex numbers, in real ones: (re, im) -> (re, im).

What it is: formulas that keep their digits where NumPy's do, and whose slopes are those of the function on the side of a branch cut that the sign of a zero says
(W. Kahan, Branch Cuts for Complex Elementary Functions, 1987). Scales, which cancel, are held constant.
What it is not: no derivative, no dtype; parts are plain or traced alike.
"""
import numpy as np

from .constants import LOG2, LOG10
from .traced import Traced
from .vocabulary import elementwise as e

MOST = 100                                       # integer powers below this are products, as NumPy has them


def _held(x):
    return e.stop_gradient(x) if isinstance(x, Traced) else x


def _like_sign(m, b):
    """m, or -m where b is negative, a zero with a sign included."""
    return e.where(e.signbit(b), -m, m)


def _or_one(x):
    """x, and 1 where it is 0: a denominator of what is 0."""
    return e.where(e.equal(x, 0), np.ones((), x.dtype)[()] if hasattr(x, "dtype") else 1.0, x)


def times(a, b, c, d):
    """(a + bi) (c + di)."""
    return a * c - b * d, a * d + b * c


def divided(a, b, c, d):
    """(a + bi) / (c + di), b may be None. Scaled, so that no square overflows."""
    size = _held(e.maximum(e.absolute(c), e.absolute(d)))
    x, y = c / size, d / size
    length = c * x + d * y
    return (a * x / length, -(a * y) / length) if b is None else ((a * x + b * y) / length, (b * x - a * y) / length)


def angle(a, b):
    """The principal value; at 0 as NumPy has it, with slope 0."""
    origin = e.logical_and(e.equal(a, 0), e.equal(b, 0))
    return e.arctan2(e.where(origin, _held(b), b), e.where(origin, _held(_like_sign(np.ones((), a.dtype)[()] if hasattr(a, "dtype") else 1.0, a)), a))


def _log_length(a, b, length):
    """log |z|; around 1 by log1p of |z|^2 - 1, whose larger part is factored."""
    near, swap = e.logical_and(e.less(length, 2), e.greater(length, 0.5)), e.less(e.absolute(a), e.absolute(b))
    large, small = e.where(near, e.where(swap, b, a), 1.0), e.where(near, e.where(swap, a, b), 0.0)
    return e.where(near, e.log1p((large - 1) * (large + 1) + small * small) / 2, e.log(e.where(near, 1.0, length)))


def _log(a, b):
    return _log_length(a, b, e.hypot(a, b)), angle(a, b)


def _log1p(a, b):
    near = e.less(e.hypot(a, b), 0.5)
    x, y = e.where(near, a, 0.0), e.where(near, b, 0.0)
    return e.where(near, e.log1p(x * (2 + x) + y * y) / 2, _log_length(1 + a, b, e.hypot(1 + a, b))), angle(1 + a, b)


def _exp(a, b):
    size = e.exp(a)
    return size * e.cos(b), size * e.sin(b)


def _expm1(a, b):
    half, size, left = e.sin(b / 2), e.exp(a), e.less(a, -1)
    return e.where(left, size * e.cos(b) - 1, e.expm1(a) * e.cos(b) - 2 * half * half), size * e.sin(b)


def _sqrt(a, b):
    """The larger part first, in which nothing cancels; the other one by the product of both, which is b/2."""
    large = e.sqrt(_like_sign(a, a) / 2 + e.hypot(a / 2, b / 2))                  # (|a| with a slope at 0, that of the side)
    small = _like_sign(b, b) / (2 * _or_one(large))
    right = e.logical_not(e.signbit(a))
    return e.where(right, large, small), _like_sign(e.where(right, small, large), b)


def _tanh(a, b):
    """(t + iu)/(1 + itu) with the tangents of both parts; 1 - t^2 by logistic functions, which have its digits where t is 1."""
    t, u = e.tanh(a), e.tan(b)
    rest = 4 * e.expit(2 * a) * e.expit(-2 * a) / (1 + (t * u) * (t * u))
    return t + t * u * u * rest, u * rest


def _roots(a, b):
    """The square roots of 1 - z and 1 + z."""
    return *_sqrt(1 - a, -b), *_sqrt(1 + a, b)


def _arcsin(a, b):
    """By these roots, whose product has no digits where z is near 1, and whose parts have (Kahan)."""
    p, q, r, s = _roots(a, b)
    return e.arctan2(a, p * r - q * s), e.arcsinh(p * s - q * r)


def _arccos(a, b):
    p, q, r, s = _roots(a, b)
    return 2 * e.arctan2(p, r), e.arcsinh(r * q - s * p)


def _arccosh(a, b):
    (p, q), (r, s) = _sqrt(a - 1, b), _sqrt(a + 1, b)
    return e.arcsinh(p * r + q * s), 2 * e.arctan2(q, r)


def _arctanh(a, b):
    """Odd in both parts. The angle does not see a scale, without which squares overflow; next to 1 the logarithm is that of a distance."""
    size = _like_sign(a, a)
    far, scale = e.hypot(1 - size, b), _held(e.maximum(e.maximum(e.absolute(a), e.absolute(b)), 1.0))
    near = e.less(far, 0.5)
    other, y = e.where(near, 1.0, far), b / scale
    length = e.where(near, (e.log(e.hypot(1 + size, b)) - e.log(e.where(near, far, 1.0))) / 2, e.log1p(4 * e.where(near, 0.0, size) / other / other) / 4)
    return _like_sign(length, a), e.arctan2(2 * y / scale, (1 - a) / scale * ((1 + a) / scale) - y * y) / 2


def _turned(function):
    """f(iz)/i of a function f: of tanh it is tan."""
    def of(a, b):
        x, y = function(-b, a)
        return y, -x
    return of


def _sign(a, b):
    length = _or_one(e.hypot(a, b))
    return a / length, b / length


def _scaled(function, factor):
    def of(a, b):
        x, y = function(a, b)
        return x / factor, y / factor
    return of


FUNCTIONS = {
    "absolute": lambda a, b: e.hypot(a, b), "square": lambda a, b: times(a, b, a, b), "reciprocal": lambda a, b: divided(1.0, None, a, b),
    "exp": _exp, "exp2": lambda a, b: _exp(a * LOG2, b * LOG2), "expm1": _expm1, "sqrt": _sqrt,
    "log": _log, "log2": _scaled(_log, LOG2), "log10": _scaled(_log, LOG10), "log1p": _log1p,
    "sin": lambda a, b: (e.sin(a) * e.cosh(b), e.cos(a) * e.sinh(b)), "cos": lambda a, b: (e.cos(a) * e.cosh(b), -(e.sin(a) * e.sinh(b))),
    "sinh": lambda a, b: (e.sinh(a) * e.cos(b), e.cosh(a) * e.sin(b)), "cosh": lambda a, b: (e.cosh(a) * e.cos(b), e.sinh(a) * e.sin(b)),
    "tanh": _tanh, "tan": _turned(_tanh),
    "arcsin": _arcsin, "arccos": _arccos, "arctan": _turned(_arctanh), "arcsinh": _turned(_arcsin), "arccosh": _arccosh, "arctanh": _arctanh,
    "sign": _sign,
}


def power(base, exponent):
    """z ** w: products for small integers, a length and an angle for real powers, exp(w log z) else."""
    (a, b), (p, q) = base, exponent
    if q is None and not isinstance(p, Traced) and not np.ndim(p):
        if p == 0.5:
            return _sqrt(a, b)
        if float(p).is_integer() and abs(p) < MOST:
            return _whole_power(a, b, int(p))
    if b is None:
        a = a if hasattr(a, "dtype") else float(a)
        b = 0.0
    length, turn = e.hypot(a, b), angle(a, b)
    if q is None:
        size, turn = length ** p, turn * p
    else:
        log = e.log(_or_one(length))
        size, turn = length ** p * e.exp(-(turn * q)), turn * p + log * q
    return size * e.cos(turn), size * e.sin(turn)


def _whole_power(a, b, n):
    if n < 0:
        return divided(1.0, None, *_whole_power(a, b, -n))
    out, factor = None, (a, b)
    while n:
        if n % 2:
            out = factor if out is None else times(*out, *factor)
        n //= 2
        factor = times(*factor, *factor) if n else None
    return out if out is not None else (np.ones(np.shape(a), a.dtype), np.zeros(np.shape(a), a.dtype))
