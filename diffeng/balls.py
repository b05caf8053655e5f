"""Elementwise functions on object arrays of balls (arb: a midpoint of any number of digits and a radius that bounds its error).

What it is: ELEMENTWISE, one function a primitive. Values only. A result is an enclosure: the true value lies in the ball. What NumPy says at the
edges of a domain (log(0), 1/0, 0**0, infinities) is said here too, and where a ball reaches across an edge or a jump, so that its digits do not
tell on which side the number lies, `Undecided` is raised: more digits may tell.

What it is not: no derivative, no dtype, no protocol (precise.py), nothing along axes (ball_arrays.py).

Why a file: the table is read beside vocabulary/elementwise.py, row by row.

Two balls with the same midpoint and radius count as one number: equal computations give equal balls, and different numbers that agree to
a hundred digits part company when the digits are doubled, which the judge always does.
"""
import functools

import numpy as np
from flint import arb

ZERO, ONE, TWO, HALF = arb(0), arb(1), arb(2), arb(0.5)
INF, NAN = arb(float("inf")), arb(float("nan"))


class Undecided(ArithmeticError):
    """The digits in force do not tell on which side of a jump or of the edge of a domain a number lies."""


class Refused(TypeError):
    """The function cannot be judged: it leaves NumPy, behaves differently from run to run, or is too large. The text says where, and what to do."""


def box(x):
    """NumPy returns bare objects for 0-d results: an array again. Large arrays (wide_arrays.py) pass."""
    if type(x) is np.ndarray:
        return x
    if type(x) is not arb:
        return x if hasattr(x, "terms") else np.asarray(x)
    out = np.empty((), object)
    out[()] = x
    return out


_enclose = np.frompyfunc(arb, 1, 1)          # every binary float and every integer is exactly a ball
_finite = np.frompyfunc(arb.is_finite, 1, 1)


def enclose(x):
    """A plain real array as balls of radius 0."""
    return box(_enclose(x.astype(np.int8) if x.dtype == bool else x))


def all_finite(x):
    finite = _finite(x)
    return finite if type(finite) is bool else bool(finite.all())


def equal_balls(a, b):
    """Are these one number: the same object, or balls that cannot be told apart?"""
    return a is b or a.rad() == b.rad() and a.mid() == b.mid()


def infinite(x):
    """Plus or minus infinity itself, not a ball without bounds."""
    return not x.is_finite() and x.is_exact() and not x.is_nan()


def unsure(what, *balls):
    return Undecided(f"{what}: the digits do not decide it for {', '.join(b.str(8) for b in balls)}")


# ---- one operand --------------------------------------------------------------------------------------------------------------

def unary(name, fast, at_minus_infinity, at_infinity, low=None, at_low=None, high=None, at_high=None):
    """fast everywhere; where that gives no finite ball, NumPy's value at infinities, at the ends of [low, high] and outside."""
    def careful(x):
        y = fast(x)
        if y.is_finite() or x.is_nan():
            return y
        if infinite(x):
            return at_infinity if x > 0 else at_minus_infinity
        if low is not None and x <= low:
            return at_low if x == low else NAN
        if high is not None and x >= high:
            return at_high if x == high else NAN
        raise unsure(name, x)
    quick, slow = np.frompyfunc(fast, 1, 1), np.frompyfunc(careful, 1, 1)

    def function(x):
        out = quick(x)
        return out if all_finite(out) else slow(x)
    return function


def _cbrt(x):
    return -((-x).root(3)) if x < 0 else x.root(3)


def _sin(x):
    return NAN if infinite(x) else x.sin()                  # arb answers the interval [-1, 1]


def _cos(x):
    return NAN if infinite(x) else x.cos()


def _asin(x):
    return NAN if x.is_nan() else x.asin()                  # arb answers -pi/2 for NaN


def _acos(x):
    return NAN if x.is_nan() else x.acos()


def _expit(x):
    if x < 0:                                               # exp(-x) would leave even a ball's range
        e = x.exp()
        return e / (ONE + e)
    return ONE / (ONE + (-x).exp())


def _log_expit(x):
    return x - x.exp().log1p() if x < 0 else -((-x).exp().log1p())


def _logit(x):
    return (x / (ONE - x)).log()


def _jump(name, rule):
    """Piecewise constant functions: rule(x) is None where the digits do not decide."""
    def one(x):
        y = rule(x) if x.is_finite() else NAN if x.is_nan() else None if not infinite(x) else x if name != "sign" else ONE if x > 0 else -ONE
        if y is None:
            raise unsure(name, x)
        return y
    return np.frompyfunc(one, 1, 1)


def _sign(x):
    return ONE if x > 0 else -ONE if x < 0 else ZERO if x.is_zero() else None


def _floor(x):
    y = x.floor()
    return y if y.is_exact() else None


def _ceil(x):
    y = x.ceil()
    return y if y.is_exact() else None


def _trunc(x):
    return ZERO if abs(x) < 1 else _floor(x) if x > 0 else _ceil(x)


def _rint(x):
    if x.is_integer():
        return x
    t = x + HALF
    up = _floor(t)
    if up is None or up < t:
        return up
    return None if up != t and not t.is_exact() else up - ONE if int(up.unique_fmpz()) % 2 else up          # halves go to even numbers


def whole(x):
    """The integer towards 0 of a ball, as int() has it."""
    y = _trunc(x) if x.is_finite() else None
    if y is None:
        raise unsure("int", x)
    return int(y.unique_fmpz())


def nonzero(x):
    """Truth values of an array of balls."""
    return compare("not_equal", x, box(ZERO))


def _test(rule):
    apply = np.frompyfunc(rule, 1, 1)
    return lambda x: box(apply(x)).astype(bool)


def _with_poles(name, fast, at_pole, at_minus_infinity):
    """The gamma function's kind: infinite at infinity, at_pole(x) at 0, -1, -2, ..."""
    def one(x):
        if x.is_nan():
            return x
        if infinite(x):
            return INF if x > 0 else at_minus_infinity
        if x <= 0 and x.is_integer():
            return at_pole(x)
        y = fast(x)
        if not y.is_finite():
            raise unsure(name, x)
        return y
    return np.frompyfunc(one, 1, 1)


def _gammaln(x):
    return x.lgamma() if x > 0 else abs(x.gamma()).log()


# ---- two operands ---------------------------------------------------------------------------------------------------------------

def _subtract(x, y):
    return ZERO if x is y and x.is_finite() else x - y          # x - max(x): one number less itself is 0, not a ball around it


def _binary(fast, careful):
    slow = np.frompyfunc(careful, 2, 1)

    def function(x, y):
        out = fast(x, y)
        return out if all_finite(out) else slow(x, y)
    return function


def _divide(x, y):
    if x.is_nan() or y.is_nan() or x.is_zero() and y.is_zero():
        return NAN
    if y.is_zero():
        sign = ONE if x > 0 else -ONE if x < 0 else None
        if sign is None:
            raise unsure("divide", x, y)
        return INF * sign
    out = x / y
    if not out.is_finite() and not infinite(x):
        raise unsure("divide", x, y)
    return out


def _power(x, y):
    out = x ** y
    if out.is_finite():
        return out
    if x == 1:
        return ONE
    if x.is_nan() or y.is_nan():
        return NAN
    if infinite(x) or infinite(y):
        return arb(float(np.power(float(x), float(y))))
    if x.is_zero() and y < 0:
        return INF
    if x < 0 and not y.contains_integer():
        return NAN
    raise unsure("power", x, y)


def _floor_divide(x, y):
    if infinite(x) and not y.is_zero():
        return NAN
    if infinite(y) and not x.is_nan():
        return ZERO if x.is_zero() or (x > 0) == (y > 0) else -ONE
    quotient = _divide(x, y)
    if not quotient.is_finite():
        return quotient
    out = _floor(quotient)
    if out is None:
        raise unsure("floor_divide", x, y)
    return out


def _remainder(x, y):
    """Python's and NumPy's: the sign of y."""
    if x.is_nan() or y.is_nan() or y.is_zero() or infinite(x):
        return NAN
    if infinite(y):
        return x if x.is_zero() or (x > 0) == (y > 0) else y
    return x - _floor_divide(x, y) * y


def _logaddexp(x, y):
    if x.is_nan() or y.is_nan():
        return NAN
    for a, b in ((x, y), (y, x)):
        if infinite(a):
            return a if a > 0 else b
    if x.mid() < y.mid():
        x, y = y, x
    return x + (y - x).exp().log1p()                  # right for either order


def _xlogy(x, y):
    return NAN if y.is_nan() else ZERO if x.is_zero() else x * _log(y)


def _zeta(s, q):
    """Flint's Hurwitz zeta function is for q > 0: of the terms (q + k)^-s, k = 0, 1, ..., those before the one that is next to 0 are such a
    sum as well, backwards."""
    if s == 1:
        return INF
    if q.is_nan() or s < 1:
        return NAN
    if q <= 0 and (infinite(q) or q.is_integer()):
        return INF
    if s.is_nan():
        return NAN
    if infinite(q):
        return ZERO
    if infinite(s):
        return ONE if q == 1 else INF if q < 1 else ZERO
    if q < 0 and not s.is_integer():
        return NAN
    if q > 0:
        out = s.zeta(q)
    else:
        d = q - (q.mid() + HALF).floor()
        before = s.zeta(ONE - d) - s.zeta(ONE - q)
        out = d ** -s + s.zeta(ONE + d) + (before if (s / 2).is_integer() else -before)
    if not out.is_finite():
        raise unsure("zeta", s, q)
    return out


def _arctan2(y, x):
    if x.is_nan() or y.is_nan():
        return NAN
    if infinite(x) and infinite(y):
        x, y = (ONE if a > 0 else -ONE for a in (x, y))
    return arb.atan2(y, x)


def _hypot(x, y):
    return INF if infinite(x) or infinite(y) else _sqrt(x * x + y * y)


def larger_ball(x, y):
    """The larger ball itself where that is certain, else the ball that holds both possibilities: an enclosure either way."""
    return x if x >= y else y if x < y else x if equal_balls(x, y) else x.max(y)


def smaller_ball(x, y):
    return x if x <= y else y if x > y else x if equal_balls(x, y) else x.min(y)


# ---- comparisons -------------------------------------------------------------------------------------------------------------------

_CERTAIN = {"less": (np.less, np.greater_equal, False), "less_equal": (np.less_equal, np.greater, True),
            "greater": (np.greater, np.less_equal, False), "greater_equal": (np.greater_equal, np.less, True),
            "equal": (np.equal, np.not_equal, True), "not_equal": (np.not_equal, np.equal, False)}


def compare(name, x, y):
    """A boolean array. Certain comparisons of balls; equal balls are a tie; NaN is unequal to everything."""
    yes, no, tie = _CERTAIN[name]
    out = np.array(yes(x, y), bool)
    open_ = ~(out | np.asarray(no(x, y), bool))           # neither is certain
    if open_.any():
        x, y = (np.broadcast_to(box(a), out.shape)[open_] for a in (x, y))
        out[open_] = [_settle(name, a, b, tie) for a, b in zip(x, y)]
    return out


def _settle(name, a, b, tie):
    if a.is_nan() or b.is_nan():
        return name == "not_equal"
    if equal_balls(a, b):
        return tie
    raise unsure(name, a, b)


def _logical(name):
    return lambda *x: getattr(np, name)(*[nonzero(a) for a in x])


# ---- the table -------------------------------------------------------------------------------------------------------------------------

_SMOOTH = {
    #            on finite balls          at -inf  at +inf   its domain, and values at the ends
    "exp":       (arb.exp,                 ZERO,   INF),
    "exp2":      (lambda x: TWO ** x,      ZERO,   INF),
    "expm1":     (arb.expm1,               -ONE,   INF),
    "log":       (arb.log,                 NAN,    INF,      0, -INF),
    "log2":      (lambda x: x.log_base(2), NAN,    INF,      0, -INF),
    "log10":     (lambda x: x.log_base(10), NAN,   INF,      0, -INF),
    "log1p":     (arb.log1p,               NAN,    INF,      -1, -INF),
    "sqrt":      (arb.sqrt,                NAN,    INF,      0, ZERO),
    "cbrt":      (_cbrt,                   -INF,   INF),
    "sin":       (_sin,                    NAN,    NAN),
    "cos":       (_cos,                    NAN,    NAN),
    "tan":       (arb.tan,                 NAN,    NAN),
    "arcsin":    (_asin,                   NAN,    NAN,      -1, NAN, 1, NAN),       # finite at the ends: outside only
    "arccos":    (_acos,                   NAN,    NAN,      -1, NAN, 1, NAN),
    "arctan":    (arb.atan,                NAN,    NAN),                             # finite at infinity
    "sinh":      (arb.sinh,                -INF,   INF),
    "cosh":      (arb.cosh,                INF,    INF),
    "tanh":      (arb.tanh,                -ONE,   ONE),
    "arcsinh":   (arb.asinh,               -INF,   INF),
    "arccosh":   (arb.acosh,               NAN,    INF,      1, ZERO),
    "arctanh":   (arb.atanh,               NAN,    NAN,      -1, -INF, 1, INF),
    "gauss":     (lambda x: (-x * x).exp(), ZERO, ZERO),
    "erf":       (arb.erf,                 -ONE,   ONE),
    "erfc":      (arb.erfc,                TWO,    ZERO),
    "expit":     (_expit,                  ZERO,   ONE),
    "log_expit": (_log_expit,              -INF,   ZERO),
    "logit":     (_logit,                  NAN,    NAN,      0, -INF, 1, INF),
}

ELEMENTWISE = {
    **{name: unary(name, *row) for name, row in _SMOOTH.items()},
    # arithmetic: NumPy's own loops call the balls' operators
    "add": np.add, "subtract": np.frompyfunc(_subtract, 2, 1), "multiply": np.multiply, "negative": np.negative, "absolute": np.absolute,
    "square":       lambda x: x * x,
    "reciprocal":   lambda x: ELEMENTWISE["divide"](box(ONE), x),
    "divide":       _binary(np.true_divide, _divide),
    "power":        _binary(np.power, _power),
    "remainder":    np.frompyfunc(_remainder, 2, 1),
    "floor_divide": np.frompyfunc(_floor_divide, 2, 1),
    "arctan2":      np.frompyfunc(_arctan2, 2, 1),
    "hypot":        np.frompyfunc(_hypot, 2, 1),
    "logaddexp":    np.frompyfunc(_logaddexp, 2, 1),
    "xlogy":        np.frompyfunc(_xlogy, 2, 1),
    "gammaln":      _with_poles("gammaln", _gammaln, lambda x: INF, -INF),          # as SciPy has it, at -infinity too
    "gamma":        _with_poles("gamma", arb.gamma, lambda x: INF if x.is_zero() else NAN, NAN),
    "psi":          _with_poles("psi", arb.digamma, lambda x: -INF if x.is_zero() else NAN, NAN),
    "zeta":         np.frompyfunc(_zeta, 2, 1),
    # choices and jumps
    "maximum": np.frompyfunc(larger_ball, 2, 1),
    "minimum": np.frompyfunc(smaller_ball, 2, 1),
    "where":   np.where,                                  # the condition is boolean by now
    "sign": _jump("sign", _sign), "floor": _jump("floor", _floor), "ceil": _jump("ceil", _ceil),
    "trunc": _jump("trunc", _trunc), "rint": _jump("rint", _rint),
    **{name: functools.partial(compare, name) for name in _CERTAIN},
    **{name: _logical(name) for name in ("logical_and", "logical_or", "logical_xor", "logical_not")},
    "isnan": _test(arb.is_nan), "isinf": _test(infinite), "isfinite": _test(arb.is_finite),
    "signbit": lambda x: compare("less", x, box(ZERO)),
    # the same numbers
    "copy": lambda x: x, "barrier": lambda x, y: np.broadcast_to(x, np.broadcast_shapes(x.shape, y.shape)), "stop_gradient": lambda x: x, "constant": lambda x: x, "astype": lambda x, *, dtype: x,
}

_log, _sqrt = ELEMENTWISE["log"], ELEMENTWISE["sqrt"]
