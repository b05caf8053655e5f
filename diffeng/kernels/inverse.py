"""Elementary functions without branches, the second half: roots, inverse trigonometric and inverse hyperbolic functions, logit.

What it is: cbrt, hypot, arcsin, arccos, arctan, arctan2, arcsinh, arccosh, arctanh and logit, rules like those of elementary.py, under the same promises.
float32 is computed in float64, with polynomials as short as it needs. The inverse hyperbolic functions are logarithms of a number in two parts, u + lost, where
lost holds what u's rounding threw away: near 1 that is all there is.

What it is not: no function of which the C library has to compute an entry. Why a file: elementary.py would be too long to read.
"""
import functools

from .coefficients import ASIN, ATAN, HALF_TURN
from .elementary import _at_the_ends, _log_of_sum, _normal, exp, log
from .values import absolute, constant, copysign, fused, mad, polynomial, select, sqrt

_INF = float("inf")
_PI, _PI_LOW = HALF_TURN
_QUARTERS, _QUARTERS_LOW = _PI / 2, _PI_LOW / 2


def _in_double(rule):
    """rule(*float64 Values, type of the operands), rounded to that type."""
    @functools.wraps(rule)
    def wide(*operands):
        T = operands[0].type
        return rule(*[x.double() for x in operands], T).rounded(T)
    return wide


def _two_sum(a, b):
    """(a + b rounded, what that lost), in either order of size (Knuth)."""
    total = a + b
    v = total - a
    return total, (a - (total - v)) + (b - v)


# ---- roots ------------------------------------------------------------------------------------------------------------------------

@_in_double
def cbrt(x, T):
    """exp(log(x) / 3) and, for float64, a step of Newton's: the rest of a relative error e is e^2."""
    a = absolute(x)
    y = exp(log(a) * (1 / 3))
    if T == "f64":
        y = y - (y - a / (y * y)) * (1 / 3)
    return select((a > 0.0) & (a < _INF), copysign(y, x), x)


@_in_double
def hypot(x, y, T):
    """Scaled, so that no square leaves the range; infinite beside an infinity, NaN or not."""
    a, b = absolute(x), absolute(y)
    high, low = select(a > b, a, b), select(a > b, b, a)
    if T == "f32":
        r = sqrt(mad(high, high, low * low))
    else:
        large, small = high > 2.0 ** 500, high < 2.0 ** -500
        scale, back = (select(large, up, select(small, down, constant(1.0, high))) for up, down in ((2.0 ** -600, 2.0 ** 600), (2.0 ** 600, 2.0 ** -600)))
        high, low = high * scale, low * scale
        r = sqrt(mad(high, high, low * low)) * back
    return select(a.equals(_INF), a, select(b.equals(_INF), b, r))


# ---- angles -------------------------------------------------------------------------------------------------------------------------

def _arctan_of_quotient(low, high, T):
    """arctan(low / high), 0 <= low <= high."""
    q = low / high
    z = q * q
    return mad(q, z * polynomial(z, ATAN[T]), q)


@_in_double
def arctan(x, T):
    a = absolute(x)
    steep = a > 1.0
    t = _arctan_of_quotient(select(steep, 1.0, a), select(steep, a, 1.0), T)
    return copysign(select(steep, _QUARTERS - (t - _QUARTERS_LOW), t), x)


@_in_double
def arctan2(y, x, T):
    """Zeros and infinities as C's: their quotient is 0 or 1."""
    a, b = absolute(y), absolute(x)
    steep, behind = a > b, copysign(constant(1.0, x), x) < 0.0
    low, high = select(steep, b, a), select(steep, a, b)
    both = low.equals(_INF) & high.equals(_INF)
    t = _arctan_of_quotient(select(both, 1.0, low), select(both | high.equals(0.0), 1.0, high), T)
    t = select(steep ^ behind, -t, t)
    turn, turn_low = (select(steep, quarter, select(behind, half, constant(0.0, x))) for quarter, half in ((_QUARTERS, _PI), (_QUARTERS_LOW, _PI_LOW)))
    return copysign(turn + (turn_low + t), y)


def _arcsine(x, T):
    """(s, arcsin(s) - s, whether a > 1/2), a = |x|: s is a, but beyond 1/2 the root of (1 - a) / 2: arcsin(a) = pi/2 - 2 arcsin(sqrt((1 - a) / 2))."""
    a = absolute(x)
    near = a > 0.5
    z = select(near, (1.0 - a) * 0.5, a * a)
    s = select(near, sqrt(z), a)
    return s, s * (z * polynomial(z, ASIN[T])), near


@_in_double
def arcsin(x, T):
    s, rest, near = _arcsine(x, T)
    twice = 2.0 * s
    beside = _QUARTERS - twice
    beside = beside + (((_QUARTERS - beside) - twice) + (_QUARTERS_LOW - 2.0 * rest))
    return copysign(select(near, beside, s + rest), x)


@_in_double
def arccos(x, T):
    s, rest, near = _arcsine(x, T)
    t = s + rest
    return select(near, select(x > 0.0, 2.0 * t, _PI - (2.0 * t - _PI_LOW)), _QUARTERS - (copysign(t, x) - _QUARTERS_LOW))


# ---- logarithms of a sum ------------------------------------------------------------------------------------------------------------------

_ONE = 2.0 ** 28                                                           # beyond, x and sqrt(x^2 + 1) are the same


def _doubled(x, u, lost, T):
    """log(u + lost), and log(2 x) where x is so large that its square would not do."""
    large = x > _ONE
    y = _log_of_sum(select(large, x, u), select(large, 0.0, lost), select(large, constant(1.0, x), 0.0), T)
    return _at_the_ends(x, y)


def _root(p, lost):
    """(the root of p, what its rounding and that of p lost)."""
    s = sqrt(p)
    return s, select(p > 0.0, (fused(-s, s, p) + lost) * (0.5 / s), 0.0)


@_in_double
def arcsinh(x, T):
    """log(a + sqrt(a^2 + 1))."""
    a = absolute(x)
    b = select(a > _ONE, 1.0, a)
    square = b * b
    p, lost = _two_sum(square, constant(1.0, square))
    s, s_lost = _root(p, lost + fused(b, b, -square))
    u, lost = _two_sum(s, b)
    y = _doubled(a, u, lost + s_lost, T)
    return select(a < 2.0 ** -28, x, copysign(y, x))


@_in_double
def arccosh(x, T):
    """log(x + sqrt((x - 1) (x + 1)))."""
    b = select(x > _ONE, 2.0, x)
    t = b - 1.0
    c, c_lost = _two_sum(b, constant(1.0, b))
    p = t * c
    s, s_lost = _root(p, fused(t, c, -p) + t * c_lost)
    u, lost = _two_sum(b, s)
    return select(x < 1.0, constant(float("nan"), x), _doubled(x, u, lost + s_lost, T))


def _log_of_quotient(above, above_lost, below, below_lost, T, shift=0.0):
    u = above / below
    lost = (fused(-u, below, above) + (above_lost - u * below_lost)) / below
    return _at_the_ends(u, _log_of_sum(u, lost, shift, T))


@_in_double
def arctanh(x, T):
    """log((1 + a) / (1 - a)) / 2."""
    a = absolute(x)
    above, below = 1.0 + a, 1.0 - a
    y = 0.5 * _log_of_quotient(above, a - (above - 1.0), below, (1.0 - below) - a, T)
    return select(a < 2.0 ** -28, x, copysign(y, x))


@_in_double
def logit(x, T):
    """log(x / (1 - x))."""
    y, shift = _normal(x) if T == "f64" else (x, constant(0.0, x))
    below = 1.0 - x
    return _log_of_quotient(y, 0.0, below, (1.0 - below) - x, T, -shift)


# Of one number, but for the last two.
RULES = {f.__name__: f for f in (cbrt, arcsin, arccos, arctan, arcsinh, arccosh, arctanh, logit, hypot, arctan2)}
