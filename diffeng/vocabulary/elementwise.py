"""Elementwise primitives: one value out for each value in, after broadcasting.

`domain` is an interval for each operand on which the primitive is smooth and its derivative is not small: where tests
plant their faults and the accuracy report starts. Primitives with slots=() are constant between their jumps.
"""
import functools
import operator

import numpy as np

from ..nodes import Primitive

_ANY = (-2.0, 2.0)
_POS = (0.2, 3.0)
_UNIT = (-0.9, 0.9)


def _map(name, evaluate=None, *domain, slots=None, quick=None, infer=None, held=None):
    return Primitive(name, evaluate or getattr(np, name), "map", slots, domain or (_ANY,), infer, quick, held)


SCIPY = []                                   # the names of SciPy's ufuncs that are primitives


def _special(name, *domain, held=None, around=None, of=None):
    """around(SciPy's function, *x): what is computed instead of SciPy's function itself. of: the name of that function, where SciPy has none of this name.

    scipy.special costs half a second to import: only when it is used. What comes of float64 alone, or float32, is known without it."""
    @functools.cache
    def ufunc():
        import scipy.special
        return getattr(scipy.special, of or name)

    def evaluate(*x):
        return ufunc()(*x) if around is None else around(ufunc(), *x)

    def infer(*x):
        dtypes = {getattr(a, "dtype", None) for a in x}                  # of Python numbers SciPy makes float64, whatever they meet
        known = len(dtypes) == 1 and dtypes <= {np.dtype("f8"), np.dtype("f4")}
        return np.broadcast_shapes(*map(np.shape, x)), dtypes.pop() if known else evaluate(*x).dtype
    if of is None:
        SCIPY.append(name)
    return _map(name, evaluate, *domain, infer=infer, held=held)


def _gauss(x):
    """exp(-x*x). Rounding the square would be raised to an exponent: h has so few digits that its own is exact, which tells what s has lost."""
    h = np.rint(x * 128) / 128
    s = np.square(x)
    lost = np.square(h) - s + (h + x) * (x - h)
    return np.exp(-s) * (1 - np.where(np.less(s, 1000), lost, 0).astype(s.dtype))


def _zeta(hurwitz, s, q):
    """Hurwitz's zeta function, the sum of (q + k)^-s over k = 0, 1, 2, ... For q < 0 SciPy's adds one term after the other until q + k is large: for ever, if q
    is -1e15. With the whole number n next to q the first |n| terms are those of n - q, backwards. Of a huge s one term is left, where SciPy has NaN."""
    huge = np.greater(s, 1e6) & np.greater(q, 0)
    far = np.less(q, -16) & np.not_equal(q, np.floor(q)) & np.greater(s, 1) & np.less(s, 1e6) & np.equal(s, np.rint(s))
    out = hurwitz(s, np.where(far, 1, q) if far.any() else q)
    if huge.any():
        out = np.where(huge, np.power(q, np.negative(s), dtype=out.dtype), out)[()]
    if far.any():
        beyond = np.where(far, q, -16.5)
        d = beyond - np.rint(beyond)
        before = hurwitz(s, 1 - d) - hurwitz(s, 1 - beyond)
        out = np.where(far, hurwitz(s, d) + np.where(np.equal(s % 2, 0), before, -before), out)[()]
    return out


OF_ORDER = {"iv": ("i0", "i1"), "ive": ("i0e", "i1e"), "kv": ("k0", "k1"), "kve": ("k0e", "k1e")}


def _of_order(name):
    """A modified Bessel function, by SciPy's functions for the orders 0 and 1 (and -1), which are right to more digits, and farther out."""
    def evaluate(bessel, v, x):
        if type(v) in (int, float) and abs(v) in (0, 1):
            import scipy.special
            return getattr(scipy.special, OF_ORDER[name][abs(int(v))])(x)
        return bessel(v, x)
    return evaluate


def _expn(expn, n, x):
    """E_n(x), also for n < 0, where SciPy has NaN: E_(m - 1) = (exp(-x) - (m - 1) E_m)/x (DLMF 8.19.12), whose terms are positive for m <= 0."""
    if type(n) is float and n == 1:                # (of a float32 and an integer SciPy's expn makes float64)
        import scipy.special
        return scipy.special.exp1(x)
    whole = np.trunc(n)                            # what SciPy takes of the order, with a warning
    if np.any(np.not_equal(whole, n)):
        n = type(n)(whole) if type(n) is float else whole
    out, lowest = expn(n, x), np.min(n, initial=0)
    if lowest < 0:
        step, lower = expn(0, x), np.exp(-x)
        for m in range(int(lowest) + 1, 1)[::-1]:
            step = (lower - (m - 1) * step) / (x + 0.0)          # (-0 is 0)
            out = np.where(np.equal(n, m - 1), step, out)[()]
    return out


def _in_double(function):
    """Computed in float64, and rounded to what SciPy's dtypes are."""
    def evaluate(ufunc, *x):
        out = function(ufunc, *[np.asarray(v, float) for v in x])
        common = np.result_type(*x)
        return out.astype(np.float32 if common.kind == "f" and common.itemsize <= 4 else float)[()]
    return evaluate


STIRLING = 1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156          # of log(gamma), in 1 / k (DLMF 5.11.1)


def of_stirling(k):
    """log(k!) - (k + 1/2) log(k) + k - log(2 pi)/2, which is log(gamma(k)) - (k - 1/2) log(k) + k - log(2 pi)/2, for k >= 15."""
    w, total = 1 / (k * k), 0.0
    for c in STIRLING[::-1]:
        total = total * w + c
    return total / k


def _deviance(x, k):
    """k u - k log(1 + u) for x = k (1 + u): by 2 arctanh(r) = log(1 + u), r = u/(2 + u), next to u = 0, where its two terms cancel (C. Loader, Fast and accurate
    computation of binomial probabilities, 2000)."""
    u = (x - k) / k
    near = np.abs(u) < 0.3
    r = np.where(near, u / (2 + u), 0)
    w, total = r * r, 0.0
    for j in range(21, 1, -2):
        total = (total + 1 / j) * w
    return np.where(near, (x - k) * r - 2 * k * r * total, (x - k) - k * np.log(np.where(near, 1, x / k)))


@_in_double
def _gamma_density(rgamma, a, x):
    """x^(a - 1) exp(-x) / gamma(a), the derivative of gammainc; for x < 0 NaN, as that is. For a large a from Stirling's series: a log(x), which is rounded, would be
    raised to an exponent."""
    large, half = a > 16, np.exp(-x / 2)
    k = np.where(large, a - 1, 16)
    far = np.exp(-of_stirling(k) - _deviance(x, k)) / np.sqrt(2 * np.pi * k)
    scale = rgamma(np.where(large, 1, a))
    near = np.where((scale == 0) | (x > 1500), 0, np.power(np.minimum(x, 1500), np.where(large, 0, a - 1)) * half * half * scale)
    return np.where((x < 0) | np.isnan(x + a), np.nan, np.where(large, np.where(np.isinf(x), 0, far), near))


@_in_double
def _beta_density(rgamma, a, b, x):
    """x^(a - 1) (1 - x)^(b - 1) / B(a, b), the derivative of betainc by x; outside of [0, 1] NaN, as that is. For large a and b as the density of a binomial
    distribution (C. Loader, as above), for one that is large by the quotient of its gamma functions."""
    large, x = (a > 16) & (b > 16), np.where((x >= 0) & (x <= 1), x, np.nan)
    k, m = np.where(large, a - 1, 16), np.where(large, b - 1, 16)
    n = k + m
    far = np.exp(of_stirling(n) - of_stirling(k) - of_stirling(m) - _deviance(n * x, k) - _deviance(n * (1 - x), m)) * np.sqrt(n / (2 * np.pi * k * m)) * (n + 1)
    p, q = np.where(large, 1, a), np.where(large, 1, b)
    less, more = np.minimum(p, q), np.maximum(p, q)
    z = np.maximum(more, 16)
    quotient = np.where(more > 16, np.power(z, less) * np.exp((z + less - 0.5) * np.log1p(less / z) - less + of_stirling(z + less) - of_stirling(z)),
                        rgamma(np.minimum(more, 16)) / rgamma(np.minimum(more, 16) + less))          # gamma(more + less) / gamma(more)
    rest = np.where(x < 0.5, np.exp((q - 1) * np.log1p(-np.minimum(x, 0.5))), np.power(1 - x, q - 1))          # 1 - x has lost the digits of a small x
    return np.where(np.isnan(x), np.nan, np.where(large, far, np.where(rgamma(less) * rgamma(np.minimum(more, 16)) == 0, 0, np.power(x, p - 1) * rest * rgamma(less) * quotient)))


# ---- arithmetic ------------------------------------------------------------------------------------------------
add           = _map("add", None, _ANY, _ANY, quick=operator.add)
subtract      = _map("subtract", None, _ANY, _ANY, quick=operator.sub)
multiply      = _map("multiply", None, _POS, _POS, quick=operator.mul)
divide        = _map("divide", None, _POS, _POS, quick=operator.truediv)
negative      = _map("negative", quick=operator.neg)
power         = _map("power", None, _POS, (1.2, 3.0), quick=operator.pow)
remainder     = _map("remainder", None, (2.1, 2.9), (0.91, 0.99))
square        = _map("square", None, _POS)
reciprocal    = _map("reciprocal", None, _POS)
absolute      = _map("absolute", None, (0.1, 2.0), quick=operator.abs)

# ---- exponentials and logarithms ----------------------------------------------------------------------------------
exp           = _map("exp")
exp2          = _map("exp2")
expm1         = _map("expm1")
log           = _map("log", None, (1.2, 3.0))
log2          = _map("log2", None, (1.2, 3.0))
log10         = _map("log10", None, (1.2, 3.0))
log1p         = _map("log1p", None, (-0.6, 2.0))
sqrt          = _map("sqrt", None, _POS)
cbrt          = _map("cbrt", None, _POS)
logaddexp     = _map("logaddexp", None, _ANY, _ANY)

# ---- trigonometric and hyperbolic functions -------------------------------------------------------------------------
sin           = _map("sin", None, (-1.0, 1.0))
cos           = _map("cos", None, (0.3, 2.0))
tan           = _map("tan", None, (-1.2, 1.2))
arcsin        = _map("arcsin", None, _UNIT)
arccos        = _map("arccos", None, _UNIT)
arctan        = _map("arctan")
arctan2       = _map("arctan2", None, _POS, _POS)
hypot         = _map("hypot", None, _POS, _POS)
sinh          = _map("sinh")
cosh          = _map("cosh", None, (0.3, 2.0))
tanh          = _map("tanh")
arcsinh       = _map("arcsinh")
arccosh       = _map("arccosh", None, (1.2, 3.0))
arctanh       = _map("arctanh", None, _UNIT)

# ---- special functions ------------------------------------------------------------------------------------------------
gauss         = _map("gauss", _gauss, (0.3, 2.0))          # what erf and erfc have for a derivative
erf           = _special("erf")
erfc          = _special("erfc")
expit         = _special("expit")
log_expit     = _special("log_expit")
logit         = _special("logit", (0.1, 0.9))
xlogy         = _special("xlogy", _POS, (1.2, 3.0))
gammaln       = _special("gammaln", (2.0, 4.0))            # log|gamma(x)|
gamma         = _special("gamma", (2.0, 4.0))
psi           = _special("psi", (0.2, 3.0))                # the derivative of gammaln, digamma
zeta          = _special("zeta", (1.5, 4.0), (0.5, 3.0), held=(0,), around=_zeta)          # zeta(s, q)
erfinv        = _special("erfinv", (-0.9, 0.9))
erfcinv       = _special("erfcinv", (0.1, 1.9))
erfcx         = _special("erfcx", (-2.0, 0.5))                     # exp(x^2) erfc(x)
dawsn         = _special("dawsn", (-0.8, 0.8))             # Dawson's integral, exp(-x^2) times that of exp(t^2) from 0 to x
expi          = _special("expi", (0.2, 3.0))
expn          = _special("expn", (1.0, 4.0), (0.2, 3.0), held=(0,), around=_expn)              # E_n(x)

# ---- ... of a parameter, which is held: incomplete gamma and beta functions, Bessel functions ---------------------------
gammainc      = _special("gammainc", (0.5, 4.0), (0.5, 3.0), held=(0,))                        # P(a, x)
gammaincc     = _special("gammaincc", (0.5, 4.0), (0.5, 3.0), held=(0,))                       # Q(a, x) = 1 - P(a, x)
gamma_density = _special("gamma_density", (2.5, 4.0), (0.2, 1.2), held=(0,), around=_gamma_density, of="rgamma")
betainc       = _special("betainc", (1.5, 4.0), (1.5, 4.0), (0.2, 0.8), held=(0, 1), around=_in_double(lambda betainc, *x: betainc(*x)))     # I_x(a, b); SciPy's of float32 loses digits
beta_density  = _special("beta_density", (2.5, 4.0), (2.5, 4.0), (0.1, 0.3), held=(0, 1), around=_beta_density, of="rgamma")
hyp2f1        = _special("hyp2f1", (0.5, 2.0), (0.5, 2.0), (1.5, 3.0), (-0.5, 0.5), held=(0, 1, 2))          # F(a, b; c; x)
ellipk        = _special("ellipk", (-0.5, 0.7))            # K, of the parameter m = k^2
ellipe        = _special("ellipe", (-0.5, 0.7))            # E
jv            = _special("jv", (1.0, 3.0), (0.3, 1.2), held=(0,))
yv            = _special("yv", (1.0, 3.0), (0.3, 1.2), held=(0,))
iv            = _special("iv", (1.0, 3.0), (0.3, 1.2), held=(0,), around=_of_order("iv"))
ive           = _special("ive", (1.0, 3.0), (0.3, 1.2), held=(0,), around=_of_order("ive"))          # exp(-|x|) iv(v, x)
kv            = _special("kv", (1.0, 3.0), (0.3, 1.2), held=(0,), around=_of_order("kv"))
kve           = _special("kve", (1.0, 3.0), (0.3, 1.2), held=(0,), around=_of_order("kve"))          # exp(x) kv(v, x)

# ---- choices: ties are shared equally (docs/kinks.md) --------------------------------------------------------------------
maximum       = _map("maximum", None, _ANY, _ANY)
minimum       = _map("minimum", None, _ANY, _ANY)
where         = _map("where", np.where, (0.0, 1.0), _ANY, _ANY, slots=(1, 2))

# ---- constant between jumps -----------------------------------------------------------------------------------------------
sign, floor, ceil, trunc, rint = (_map(n, slots=()) for n in "sign floor ceil trunc rint".split())
floor_divide  = _map("floor_divide", None, _POS, _POS, slots=())
less, less_equal, greater, greater_equal, equal, not_equal = (_map(n, None, _ANY, _ANY, slots=(), quick=q) for n, q in zip(
    "less less_equal greater greater_equal equal not_equal".split(), (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne)))
logical_and, logical_or, logical_xor = (_map(n, None, _ANY, _ANY, slots=()) for n in "logical_and logical_or logical_xor".split())
logical_not, isnan, isinf, isfinite, signbit = (_map(n, slots=()) for n in "logical_not isnan isinf isfinite signbit".split())

# ---- of integers: no real number is in their domain -------------------------------------------------------------------------
bitwise_and, bitwise_or, bitwise_xor, left_shift, right_shift, invert = (
    Primitive(n, getattr(np, n), "map", ()) for n in "bitwise_and bitwise_or bitwise_xor left_shift right_shift invert".split())

# ---- the same value, seen otherwise ------------------------------------------------------------------------------------------
astype        = _map("astype", lambda x, *, dtype: np.asarray(x).astype(dtype))
copy          = _map("copy", lambda x: np.array(x, order="C"))
stop_gradient = _map("stop_gradient", lambda x: np.array(x), slots=())
# x, not before y is there, whatever y is: what a checkpoint computes again is not the same expression as before, and has to wait for the cotangent.
barrier       = _map("barrier", lambda x, y: np.broadcast_to(x, np.broadcast_shapes(np.shape(x), np.shape(y)))[()], _ANY, _ANY, slots=(0,))
