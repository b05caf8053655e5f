"""What incomplete gamma and beta functions have for derivatives, without branches: the densities of vocabulary/elementwise.py, by the same formulas.

What it is: rules like those of gamma.py, in float64 for either type. What it is not: no incomplete function (scipys.py). Why a file: gamma.py is about gamma alone.
"""
import math

from ..vocabulary.elementwise import STIRLING
from .elementary import exp, log, log1p, pow
from .gamma import gamma
from .inverse import _in_double
from .values import absolute, floor, polynomial, select, sqrt

_INF, _NAN = float("inf"), float("nan")
_ATANH = tuple(1 / j for j in range(3, 23, 2))


def _of_stirling(k):
    """log(k!) - (k + 1/2) log(k) + k - log(2 pi)/2 for k >= 15."""
    h = 1.0 / k
    return h * polynomial(h * h, STIRLING)


def _deviance(x, k):
    """k u - k log(1 + u) for x = k (1 + u) (C. Loader, Fast and accurate computation of binomial probabilities, 2000)."""
    u = (x - k) / k
    near = absolute(u) < 0.3
    r = select(near, u / (2.0 + u), 0.0)
    w = r * r
    return select(near, (x - k) * r - 2.0 * k * r * w * polynomial(w, _ATANH), (x - k) - k * log(select(near, 1.0, x / k)))


def _reciprocal_gamma(a):
    """For a <= 33: 0 at 0, -1, -2, ..."""
    return select((a <= 0.0) & floor(a).equals(a), 0.0, 1.0 / gamma(a))


@_in_double
def gamma_density(a, x, T):
    """x^(a - 1) exp(-x) / gamma(a); NaN for x < 0."""
    large, half = a > 16.0, exp(x * -0.5)
    k = select(large, a - 1.0, 16.0)
    far = exp(-_of_stirling(k) - _deviance(x, k)) / sqrt(k * (2 * math.pi))
    scale = _reciprocal_gamma(select(large, 1.0, a))
    near = pow(select(x < 1500.0, x, 1500.0), select(large, 0.0, a - 1.0)) * half * half * scale
    near = select(scale.equals(0.0) | (x > 1500.0), 0.0, near)
    y = select(large, select(absolute(x).equals(_INF), 0.0, far), near)
    return select(x >= 0.0, select(a.equals(a), y, a), _NAN)


@_in_double
def beta_density(a, b, x, T):
    """x^(a - 1) (1 - x)^(b - 1) / B(a, b); NaN outside of [0, 1]."""
    large = (a > 16.0) & (b > 16.0)
    k, m = select(large, a - 1.0, 16.0), select(large, b - 1.0, 16.0)
    n = k + m
    far = exp(_of_stirling(n) - _of_stirling(k) - _of_stirling(m) - _deviance(n * x, k) - _deviance(n * (1.0 - x), m)) * sqrt(n / (k * m * (2 * math.pi))) * (n + 1.0)
    p, q = select(large, 1.0, a), select(large, 1.0, b)
    less, more = select(p < q, p, q), select(p < q, q, p)
    z, few = select(more > 16.0, more, 16.0), select(more > 16.0, 16.0, more)
    many = pow(z, less) * exp((z + less - 0.5) * log1p(less / z) - less + _of_stirling(z + less) - _of_stirling(z))
    quotient = select(more > 16.0, many, _reciprocal_gamma(few) / _reciprocal_gamma(few + less))
    rest = select(x < 0.5, exp((q - 1.0) * log1p(-select(x < 0.5, x, 0.5))), pow(1.0 - x, q - 1.0))
    scale = _reciprocal_gamma(less)
    y = select(large, far, select((scale * _reciprocal_gamma(few)).equals(0.0), 0.0, pow(x, p - 1.0) * rest * scale * quotient))
    return select((x >= 0.0) & (x <= 1.0), y, _NAN)
