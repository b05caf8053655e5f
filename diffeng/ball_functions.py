"""The special functions in balls that balls.py has not: inverses and relatives of the error function, exponential integrals, incomplete gamma and beta functions,
Bessel functions.

What it is: Flint's functions, and beside each what the function is at the ends of its domain and outside, where Flint has no number, as SciPy has it.
What it is not: no derivative, as in balls.py. Why a file: balls.py would be too long to read.
"""
import numpy as np
from flint import acb, arb, ctx

from .balls import HALF, INF, NAN, ONE, ZERO, unary, infinite, unsure


def _erfcx(x):
    """exp(x^2) erfc(x), for large x by Kummer's function (DLMF 7.11.5): exp(x^2) would leave even a ball's range."""
    return (x * x).hypgeom_u(HALF, HALF) / arb.pi().sqrt() if x > 5 else (x * x).exp() * x.erfc()


def _dawsn(x):
    return x * (-x * x).hypgeom_1f1(1, ONE + HALF)          # DLMF 7.11.4 and 13.2.39


def _expi(x):
    if x.is_nan() or infinite(x):
        return x if not x <= 0 else ZERO
    if x.is_zero():
        return -INF
    y = x.ei()
    if not y.is_finite():
        raise unsure("expi", x)
    return y


def _of(name, function, ends, operands=2):
    """function where ends(*x) has no answer (None)."""
    def one(*x):
        if any([v.is_nan() for v in x]):
            return NAN
        y = ends(*x)
        if y is not None:
            return y
        y = function(*x)
        if y.rel_accuracy_bits() < ctx.prec // 2:          # of small values Flint may have no digit: these are for what cancels
            with ctx.workprec(4 * ctx.prec):
                y = function(*x)
        if not y.is_finite():
            raise unsure(name, *x)
        return y
    return np.frompyfunc(one, operands, 1)


def _whole_part(n):
    """SciPy's expn takes the whole part of its order."""
    return n.floor() if n > 0 else n.ceil()


def _ends_expn(n, x):
    if x < 0:
        return NAN
    if infinite(x):
        return ZERO
    n = _whole_part(n)
    return None if not x.is_zero() else INF if n <= 1 else ONE / (n - ONE)


def _ends_gammainc(a, x):
    if a < 0 or x < 0 or a.is_zero() and x.is_zero() or infinite(a) and infinite(x):
        return NAN
    if infinite(a) or x.is_zero():
        return ZERO
    return ONE if a.is_zero() or infinite(x) else None


def _ends_gammaincc(a, x):
    other = _ends_gammainc(a, x)
    return None if other is None else ONE - other


def _ends_gamma_density(a, x):
    if x < 0:
        return NAN
    if infinite(x) or a <= 0 and a.is_integer():
        return ZERO
    if x.is_zero():
        return ONE if a == 1 else ZERO if a > 1 else INF * a.rgamma().sgn()
    return None


def _ends_betainc(a, b, x):
    if a < 0 or b < 0 or x < 0 or x > 1 or a.is_zero() and b.is_zero():
        return NAN
    return ZERO if x.is_zero() else ONE if x == 1 else ONE if a.is_zero() else ZERO if b.is_zero() else None


def _ends_beta_density(a, b, x):
    if x < 0 or x > 1:
        return NAN
    if a.is_zero() or b.is_zero():
        return ZERO
    for c, other, end in ((a, b, 0), (b, a, 1)):
        if x == end:
            return other if c == 1 else ZERO if c > 1 else INF
    return None


def _beta_density(a, b, x):
    return x ** (a - ONE) * (ONE - x) ** (b - ONE) * (a + b).gamma() * a.rgamma() * b.rgamma()


def _ends_regular(v, x):
    """Of J and I, which are entire where v is a whole number."""
    if infinite(x) or x < 0 and not v.is_integer():
        return NAN
    if x.is_zero():
        return ONE if v.is_zero() else ZERO if v > 0 or v.is_integer() else INF * (v + ONE).rgamma().sgn()
    return None


def _ends_yv(v, x):
    if infinite(x) or x < 0:
        return NAN
    if x.is_zero():
        return -INF if v >= 0 else ZERO if (v + HALF).is_integer() else -INF * v.cos_pi().sgn()
    return None


def _ends_kv(at_infinity):
    return lambda v, x: NAN if x < 0 else at_infinity if infinite(x) else INF if x.is_zero() else None


def _ellipk(x):
    return arb.pi() / (ONE.agm((ONE - x).sqrt()) * 2)


def _ends_hyp2f1(a, b, c, x):
    return NAN if x > 1 else ONE if x.is_zero() else INF if x == 1 and c <= a + b else None


FUNCTIONS = {
    "erfinv":        unary("erfinv", arb.erfinv, NAN, NAN, -1, -INF, 1, INF),
    "erfcinv":       unary("erfcinv", arb.erfcinv, NAN, NAN, 0, INF, 2, -INF),
    "erfcx":         unary("erfcx", _erfcx, INF, ZERO),
    "dawsn":         unary("dawsn", _dawsn, ZERO, ZERO),
    "expi":          np.frompyfunc(_expi, 1, 1),
    "expn":          _of("expn", lambda n, x: x.expint(_whole_part(n)), _ends_expn),
    "gammainc":      _of("gammainc", lambda a, x: x.gamma_lower(a, 1), _ends_gammainc),
    "gammaincc":     _of("gammaincc", lambda a, x: x.gamma_upper(a, 1), _ends_gammaincc),
    "gamma_density": _of("gamma_density", lambda a, x: x ** (a - ONE) * (-x).exp() * a.rgamma(), _ends_gamma_density),
    "betainc":       _of("betainc", lambda a, b, x: x.beta_lower(a, b, 1), _ends_betainc, 3),
    "beta_density":  _of("beta_density", _beta_density, _ends_beta_density, 3),
    "hyp2f1":        _of("hyp2f1", lambda a, b, c, x: x.hypgeom_2f1(a, b, c), _ends_hyp2f1, 4),
    "ellipk":        unary("ellipk", _ellipk, ZERO, NAN, None, None, 1, INF),
    "ellipe":        unary("ellipe", lambda x: acb(x).elliptic_e().real if x < 1 else NAN, INF, NAN, None, None, 1, ONE),
    "jv":            _of("jv", lambda v, x: x.bessel_j(v), _ends_regular),
    "yv":            _of("yv", lambda v, x: x.bessel_y(v), _ends_yv),
    "iv":            _of("iv", lambda v, x: x.bessel_i(v), _ends_regular),
    "ive":           _of("ive", lambda v, x: x.bessel_i(v) * (-abs(x)).exp(), _ends_regular),
    "kv":            _of("kv", lambda v, x: x.bessel_k(v), _ends_kv(ZERO)),
    "kve":           _of("kve", lambda v, x: x.bessel_k(v) * x.exp(), _ends_kv(NAN)),
}
