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


def _special(name, *domain, held=None, around=None):
    """around(SciPy's function, *x): what is computed instead of SciPy's function itself.

    scipy.special costs half a second to import: only when it is used. What comes of float64 alone, or float32, is known without it."""
    @functools.cache
    def ufunc():
        import scipy.special
        return getattr(scipy.special, name)

    def evaluate(*x):
        return ufunc()(*x) if around is None else around(ufunc(), *x)

    def infer(*x):
        dtypes = {getattr(a, "dtype", None) for a in x}                  # of Python numbers SciPy makes float64, whatever they meet
        known = len(dtypes) == 1 and dtypes <= {np.dtype("f8"), np.dtype("f4")}
        return np.broadcast_shapes(*map(np.shape, x)), dtypes.pop() if known else evaluate(*x).dtype
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
