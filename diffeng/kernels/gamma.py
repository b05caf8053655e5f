"""The gamma function and its relatives without branches: gammaln, gamma, psi and Hurwitz's zeta(s, q).

What it is: rules like those of elementary.py, under the same promises, in float64 for either type. Positive arguments are shifted upwards by the recurrence to
where the asymptotic series holds (DLMF 5.5.1, 5.11; 25.11.43), negative ones are reflected (DLMF 5.5.3, 5.5.4). Where two large terms cancel, a number is
the sum of two, (head, what its rounding lost), so that the digits left are right: next to the zeros of gammaln and psi about 1e-17 of absolute error remains.

What it is not: no beta function, nothing of two of these (special.py composes them). Why a file: elementary.py would be too long to read.
"""
from .coefficients import BERNOULLI, GAMMALN, GAMMALN_HEAD, HALF_LOG_TURN, HALF_TURN, PSI, STIRLING
from .elementary import _exp_of_sum, _long_log, _within_a_quarter, pow
from .inverse import _in_double, _two_sum
from .values import absolute, constant, copysign, floor, fused, nearest, polynomial, select

_INF, _NAN = float("inf"), float("nan")
_PI, _PI_LOW = HALF_TURN
_TINY = 2.0 ** -60                       # below, 1 / x is all that counts of gamma(x), and x is not reflected
_NEAR, _FAR = 2.5, 8.5                   # up to the first a polynomial about 2 has log(gamma), from the second on the series does without a shift


# ---- numbers in two parts ------------------------------------------------------------------------------------------------------------

def _plus(x, y):
    total, lost = _two_sum(x[0], y[0])
    return total, lost + (x[1] + y[1])


def _minus(x, y):
    return _plus(x, (-y[0], -y[1]))


def _times(x, y):
    product = x[0] * y[0]
    return product, fused(x[0], y[0], -product) + (x[0] * y[1] + x[1] * y[0])


def _by(x, y):
    q = x[0] / y[0]
    return q, (fused(-q, y[0], x[0]) + (x[1] - q * y[1])) / y[0]


def _and(a, k):
    """a + k for a < 32 and a small whole number k: exact, in two parts."""
    total = a + k
    return total, a - (total - k)


def _exactly(x):
    return x, constant(0.0, x)


def _if(condition, x, y):
    return select(condition, x[0], y[0]), select(condition, x[1], y[1])


def _pi(x):
    return constant(_PI, x), constant(_PI_LOW, x)


# ---- log(gamma) ------------------------------------------------------------------------------------------------------------------------

def _factors(a):
    """a (a + 5), (a + 1) (a + 4) and (a + 2) (a + 3), each in two parts: what a shift by six multiplies."""
    first = _times(_exactly(a), _and(a, 5.0))
    four, six = (first[0] + more for more in (4.0, 6.0))
    return first, (four, (first[0] - (four - 4.0)) + first[1]), (six, (first[0] - (six - 6.0)) + first[1])


def _shifted(a):
    """a + 6, and a itself where the series needs no shift, in two parts."""
    return _if(a < _FAR, _and(a, 6.0), _exactly(a))


def _turns(a):
    """The sine and the cosine of pi a for a > 0, in two parts each and without their signs, and whether they differ in sign."""
    r = a - nearest(a)
    z = absolute(r)
    odd = z > 0.25
    angle = _times(_exactly(select(odd, 0.5 - z, z)), _pi(a))
    s, c, s_lost, c_lost = _within_a_quarter(*angle)
    return _if(odd, (c, c_lost), (s, s_lost)), _if(odd, (s, s_lost), (c, c_lost)), r < 0.0


def _log_gamma(x, T):
    """log|gamma(x)| in two parts; 0, infinite and whole negative x are the caller's."""
    a = absolute(x)
    near, first, reflected = a < _NEAR, a < 0.45, x < -_TINY
    # gamma(a) = gamma(b) / p, with b = a + 2, a + 1 or a about 2, or with b = a + 6 or a large enough
    once = a < 1.45
    u = select(first, a, select(once, a - 1.0, a - 2.0))
    beside_2 = _exactly(u * polynomial(u, GAMMALN[T]))
    for head, lost in GAMMALN_HEAD[::-1]:
        beside_2 = _times(_exactly(u), _plus((constant(head, u), lost), beside_2))
    b = _shifted(a)
    log_b = _long_log(b[0])
    below = log_b[0] - 1.0
    product = _times((b[0] - 0.5, b[1]), (below, log_b[1] + ((log_b[0] - below) - 1.0)))          # (b - 1/2) (log(b) - 1) - 1/2 is (b - 1/2) log(b) - b
    h = 1.0 / b[0]
    series = _plus(product, (constant(HALF_LOG_TURN[0], a), h * polynomial(h * h, STIRLING[T]) + (HALF_LOG_TURN[1] + b[1])))
    y, four, six = _factors(a)
    beside = _if(first, _times(_exactly(a), _and(a, 1.0)), _exactly(select(once, a, 1.0)))
    p = _if(near, beside, _if(a < _FAR, _times(_times(y, four), six), _exactly(constant(1.0, a))))
    sine, _, _ = _turns(a)
    p = _if(reflected, _by(_times(p, _pi(a)), _times(_exactly(a), sine)), p)          # gamma(-a) = -pi / (a sin(pi a) gamma(a))
    log_p = _long_log(p[0])
    high, low = _minus(_if(near, beside_2, series), (log_p[0], log_p[1] + p[1] / p[0]))
    low = select(absolute(high) < _INF, low, 0.0)
    return select(reflected, -high, high), select(reflected, -low, low)


def _whole(x):
    return floor(x).equals(x)


@_in_double
def gammaln(x, T):
    """log|gamma(x)|: infinite at 0, -1, -2, ..., and x itself where that is infinite, as SciPy has it."""
    high, low = _log_gamma(x, T)
    y = select(absolute(x) < _INF, high + low, x)
    return select((x < 1.0) & (x > -_INF) & _whole(x), _INF, y)


@_in_double
def gamma(x, T):
    """NaN at -1, -2, ..., and an infinity with the sign of x at 0."""
    y = _exp_of_sum(*_log_gamma(x, T))
    half = floor(x) * 0.5
    y = select(x < 0.0, select(_whole(half), y, -y), copysign(y, x))
    y = select(absolute(x) < 2.0 ** -1000, 1.0 / x, y)
    y = select((x < 0.0) & _whole(x), _NAN, y)
    return select(absolute(x) < _INF, y, select(x > 0.0, x, _NAN))


# ---- psi -----------------------------------------------------------------------------------------------------------------------------------

@_in_double
def psi(x, T):
    """NaN at -1, -2, ..., and -1 / x at 0."""
    a = absolute(x)
    b = _shifted(a)
    log_b = _long_log(b[0])
    h = 1.0 / b[0]
    w = h * h
    total = log_b[0], log_b[1] - (h * (0.5 - b[1]) + w * polynomial(w, PSI[T]))
    twice = _and(a + a, 5.0)                                               # 1 / (a + k) + 1 / (a + 5 - k) has the numerator 2 a + 5
    steps = [_by(twice, factor) for factor in _factors(a)]
    for step in steps[::-1]:
        total = _minus(total, _if(a < _FAR, step, _exactly(constant(0.0, a))))
    sine, cosine, minus = _turns(a)
    cotangent = _times(_by(cosine, sine), _pi(a))
    more = _plus(_by(_exactly(constant(1.0, a)), _exactly(a)), _if(minus, (-cotangent[0], -cotangent[1]), cotangent))
    total = _if(x < 0.0, _plus(total, more), total)                       # psi(-a) = psi(a) + 1 / a + pi cot(pi a)
    y = select(a < _TINY, -1.0 / x, total[0] + total[1])
    y = select((x < 0.0) & _whole(x), _NAN, y)
    return select(a < _INF, y, select(x > 0.0, x, _NAN))


# ---- zeta -----------------------------------------------------------------------------------------------------------------------------------

_SHIFT, _TERMS = {"f64": 9, "f32": 5}, {"f64": 11, "f32": 5}


def _hurwitz(s, b, T, power, power_less):
    """The sum of (b + k)^-s over k = 1, 2, ..., b >= -1/2, by Euler and Maclaurin (DLMF 25.11.5, 2.10.1). power(a) is a^-s, power_less(a) is a^(1 - s).
    Small terms are added first, and what the rounding of b + k costs at the end."""
    coefficients, rising = [], s
    for j, c in enumerate(BERNOULLI[:_TERMS[T]]):
        coefficients.append(rising * c)
        rising = rising * (s + (2 * j + 1.0)) * (s + (2 * j + 2.0))
    a, a_lost = _two_sum(b, constant(float(_SHIFT[T]), b))
    h = 1.0 / a
    w = h * h
    less = power_less(a)
    rest = less * (h * 0.5 + w * polynomial(w, coefficients) + 1.0 / (s - 1.0))
    total, slope = None, less * h * a_lost
    for k in range(_SHIFT[T] - 1, 0, -1):
        c, c_lost = _two_sum(b, constant(float(k), b))
        term = power(c)
        total = term if total is None else total + term
        slope = slope + term / c * c_lost * s
    return rest + select(total < _INF, total - slope, total)


def _zeta(s, q, T, power, power_less, turned):
    """d = q - n with the whole number n next to a negative q: of its terms (q + k)^-s the first |n| are those of -d, backwards. turned(y): y times (-1)^s."""
    d = q - nearest(q)
    own, after, before = (_hurwitz(s, b, T, power, power_less) for b in (absolute(q), d, -d))
    total = select(q > 0.0, own, after + turned(before - own)) + power(select(q > 0.0, q, d))
    total = select(absolute(q) < _INF, total, select(q > 0.0, 0.0, q))
    return select((q <= 0.0) & _whole(q), _INF, total)


def zeta_of(s, power, power_less):
    """The rule for a whole s >= 2 that a program knows, and functions that compute a^-s and a^(1 - s)."""
    @_in_double
    def zeta(q, T):
        return _zeta(float(s), q, T, power, power_less, (lambda y: -y) if s % 2 else lambda y: y)
    return zeta


@_in_double
def zeta(s, q, T):
    """As SciPy's: infinite for s = 1 and at q = 0, -1, -2, ...; NaN for s < 1, and for q < 0 and an s that is no whole number."""
    less = 1.0 - s
    bounded = select(s > 1e6, 1e6, s)                                      # beyond, all terms but the first few are 0, and their factors must not overflow
    half = s * 0.5
    y = _zeta(bounded, q, T, lambda a: pow(a, -s), lambda a: pow(a, less), lambda y: select(nearest(half).equals(half), y, -y))
    y = select((q < 0.0) & s.differs(nearest(s)), _NAN, y)
    y = select((q <= 0.0) & _whole(q), _INF, y)
    y = select(s.differs(s) & (q > 0.0), s, y)
    return select(s < 1.0, _NAN, select(s.equals(1.0), _INF, y))


RULES = {f.__name__: f for f in (gammaln, gamma, psi, zeta)}
