"""What each elementwise primitive computes on one entry: a function of Values (values.py), for every compiled device.

Python's operators append instructions; numbers beside a Value take its type, so that float32 stays float32. Functions are those of elementary.py (exp,
log1p, expit, ...), inverse.py (arctan, cbrt, ...) and gamma.py. Infinities, NaN and zeros follow NumPy; where a rule is longer than
the mathematics, that is why.

What it is not: no derivative, no loop, no type rules (lower.py decides what is computed in which type).
"""
import functools
import hashlib
import types

import numpy as np

from . import densities, elementary as m, gamma, inverse
from ..vocabulary.random import MULTIPLIERS, ROUNDS, WEYL
from .values import GPU, absolute, cast, ceil, constant, copysign, divided, floor, fused, library, nearest, rescue, select, sqrt, trunc

_TYPES = {np.dtype(bool): "b1", np.dtype(np.float64): "f64", np.dtype(np.float32): "f32",
          **{np.dtype(f"{u}int{n}"): f"{u or 'i'}{n}" for u in ("", "u") for n in (8, 16, 32, 64)}}


def type_name(dtype):
    """The name kernels have for a dtype (float64: f64), or None where they have no such type (float16, big-endian)."""
    return _TYPES.get(dtype)


@functools.lru_cache(maxsize=None)
def fingerprint(rule):
    """A rule as part of a kernel's key: what its code says (what it calls is part of the package, whose source is in every key on disk) and what it encloses."""
    enclosed = [fingerprint(x) if hasattr(x, "__code__") else x for x in (cell.cell_contents for cell in rule.__closure__ or ())]
    return hashlib.sha256(repr((_told(rule.__code__), rule.__name__, enclosed)).encode()).hexdigest()[:16]


def _told(x):
    """What code says, or one of its constants, in every process the same: the repr of a comprehension or a lambda among them is an address, that of a set in an order of
    this process."""
    if isinstance(x, types.CodeType):
        return x.co_code, [*map(_told, x.co_consts)], x.co_names
    return sorted(map(repr, x)) if isinstance(x, frozenset) else x


INF = float("inf")
LOG2 = 0.6931471805599453                # log(2), in float64; a float32 beside it rounds it


# ---- rules that need more than a line -----------------------------------------------------------------------------------------

def _fmod(x, y):
    """What is left of x by the quotient rounded towards 0, as C has it but for the sign of a zero: exact. A quotient of less than 2^52 is at most one too large once it
    is rounded, and what it leaves a product rounded once tells; a larger one is the C library's work, as is all of it on a GPU, whose float64 is slow."""
    if x.builder.module.triple == GPU:
        return library("fmod", x, y)
    if x.type == "f32":
        return cast(_fmod(cast(x, "f64"), cast(y, "f64")), "f32")
    q = x / y
    whole = trunc(q)
    r = fused(-whole, y, x)
    r = select(((r < 0.0) ^ (x < 0.0)) & r.differs(0.0), r + copysign(y, x), r)
    return rescue("fmod", q, select(whole.equals(0.0), x, r), x, y, limit=2.0 ** 52)          # (infinity times 0 is none of it)


def _remainder(x, y):
    r = _fmod(x, y)
    return select(r.equals(0.0), copysign(constant(0.0, x), y), select((y < 0.0) ^ (r < 0.0), r + y, r))


def _floor_divide(x, y):
    """Exact where (x - r) / y is, else rounded to the nearest integer as Python's float // does."""
    r = _fmod(x, y)
    d = (x - r) / y
    s = select(r.differs(0.0) & ((y < 0.0) ^ (r < 0.0)), d - 1.0, d)
    f = floor(s)
    return select(y.equals(0.0), x / y, select(s.equals(0.0), copysign(constant(0.0, x), x / y), select(s - f > 0.5, f + 1.0, f)))


def _logaddexp(x, y):
    """The larger one plus a correction; equal infinities would give inf - inf."""
    top = select((x >= y) | x.differs(x), x, y)
    return select(x.equals(y), x + LOG2, top + m.log1p(m.exp(-absolute(x - y))))


def _log_expit(x):
    return select(x < 0.0, x, -0.0) - m.log1p(m.exp(-absolute(x)))          # -0 where it vanishes


def _sign(x):
    return select(x > 0.0, 1.0, select(x < 0.0, constant(-1.0, x), select(x.equals(0.0), constant(0.0, x), x)))


def _reciprocal(x):
    return 1.0 / x


def _square_root(x):
    """x ** 0.5, which differs from the square root at -inf and -0."""
    return select(x.equals(-INF), INF, sqrt(x) + 0.0)


def _of_negative(rule, at_minus_infinity):
    """A power by way of the square root; of -inf pow has one, the square root has none."""
    return lambda x: select(x.equals(-INF), at_minus_infinity, rule(x))


def _times(x, y):
    """The product of two numbers, each with what it lost by rounding (None: nothing), likewise (T. Dekker, Numer. Math. 18, 1971)."""
    (a, b), (c, d) = x, y
    product = a * c
    lost = fused(a, c, -product)
    for more in ([] if d is None else [a * d]) + ([] if b is None else [b * c]):
        lost = lost + more
    return product, lost


def _whole_power(n):
    """x ** n for an integer n, by squaring: half a unit in the last place, where products alone have n / 2 of them."""
    def rule(x):
        base, result = (x, None), None
        if n < 0:
            turned = 1.0 / x
            base = turned, fused(-x, turned, constant(1.0, x)) * turned
        for k in range(abs(n).bit_length()):
            base = _times(base, base) if k else base
            if abs(n) >> k & 1:
                result = base if result is None else _times(result, base)
        high, low = result
        return select(absolute(high) < INF, select(high.equals(0.0), high, high + low), high)          # 0, infinite and NaN have lost nothing
    return rule


def _whole_remainder(x, y):
    """A division by 0 gives 0, and -1 is apart because the processor traps on the smallest integer / -1."""
    bad = y.equals(0) | y.equals(-1)
    return select(bad, constant(0, x), divided(x, select(bad, 1, y), remainder=True))


def _whole_quotient(x, y):
    bad = y.equals(0) | y.equals(-1)
    return select(y.equals(0), constant(0, x), select(y.equals(-1), -x, divided(x, select(bad, 1, y))))


def _same(x):
    return x


FLOAT = {
    "add":          lambda x, y: x + y,
    "subtract":     lambda x, y: x - y,
    "multiply":     lambda x, y: x * y,
    "divide":       lambda x, y: x / y,
    "negative":     lambda x: -x,
    "power":        m.pow,
    "remainder":    _remainder,
    "floor_divide": _floor_divide,
    "square":       lambda x: x * x,
    "reciprocal":   _reciprocal,
    "absolute":     absolute,
    "exp":          m.exp,
    "exp2":         m.exp2,
    "expm1":        m.expm1,
    "log":          m.log,
    "log2":         m.log2,
    "log10":        m.log10,
    "log1p":        m.log1p,
    "sqrt":         sqrt,
    "cbrt":         inverse.cbrt,
    "logaddexp":    _logaddexp,
    "sin":          m.sin,
    "cos":          m.cos,
    "tan":          m.tan,
    "arcsin":       inverse.arcsin,
    "arccos":       inverse.arccos,
    "arctan":       inverse.arctan,
    "arctan2":      inverse.arctan2,
    "hypot":        inverse.hypot,
    "sinh":         m.sinh,
    "cosh":         m.cosh,
    "tanh":         m.tanh,
    "arcsinh":      inverse.arcsinh,
    "arccosh":      inverse.arccosh,
    "arctanh":      inverse.arctanh,
    "gauss":        m.gauss,
    "erf":          m.erf,
    "erfc":         m.erfc,
    "erfc_of_quotient": m.erfc_of_quotient,
    "erfc_of_product": m.erfc_of_product,
    "expit":        m.expit,
    "log_expit":    _log_expit,
    "logit":        inverse.logit,
    "xlogy":        lambda x, y: select(x.equals(0.0) & y.equals(y), constant(0.0, x), x * m.log(y)),
    "gammaln":      gamma.gammaln,
    "gamma":        gamma.gamma,
    "psi":          gamma.psi,
    "zeta":         gamma.zeta,
    "gamma_density": densities.gamma_density,
    "beta_density": densities.beta_density,
    "maximum":      lambda x, y: select((x >= y) | x.differs(x), x, y),
    "minimum":      lambda x, y: select((x <= y) | x.differs(x), x, y),
    "sign":         _sign,
    "floor":        floor,
    "ceil":         ceil,
    "trunc":        trunc,
    "rint":         nearest,
}

# Signed integers wrap.
INTEGER = {
    "remainder":    _whole_remainder,
    "floor_divide": _whole_quotient,
    "absolute":     lambda x: select(x < 0, -x, x),
    "sign":         lambda x: select(x > 0, 1, select(x < 0, constant(-1, x), constant(0, x))),
    **{name: FLOAT[name] for name in "add subtract multiply negative square".split()},
    "maximum":      lambda x, y: select(x >= y, x, y),
    "minimum":      lambda x, y: select(x <= y, x, y),
    **dict.fromkeys("floor ceil trunc rint".split(), _same),
    "bitwise_and":  lambda x, y: x & y,
    "bitwise_or":   lambda x, y: x | y,
    "bitwise_xor":  lambda x, y: x ^ y,
    "invert":       lambda x: ~x,
}
UNSIGNED = {name: INTEGER[name] for name in ("add subtract multiply square maximum minimum floor ceil trunc rint "
                                              "bitwise_and bitwise_or bitwise_xor invert").split()}

# Exponents that a program knows: products are a tenth of the price of pow, and less. Others, and those of arrays, take pow.
# The square root differs from pow at -inf and -0 unless told.
POWERS = {
    **{float(n): _whole_power(n) for k in range(3, 33) for n in (k, -k)},
    2.0:  FLOAT["square"],
    -1.0: _reciprocal,
    -2.0: _whole_power(-2),
    0.5:  _square_root,
    1.5:  _of_negative(lambda x: x * sqrt(x), INF),
    -0.5: _of_negative(lambda x: 1.0 / (sqrt(x) + 0.0), 0.0),
    -1.5: _of_negative(lambda x: (1.0 / x) / sqrt(x), 0.0),
}
# The derivatives of psi have one s each, which a program knows.
ZETAS = {float(s): gamma.zeta_of(s, _whole_power(-s), _whole_power(1 - s)) for s in range(2, 9)}
INTEGER_POWERS = {2: FLOAT["square"], 3: lambda x: x * x * x}

# Operands in their common type, the result a truth value.
COMPARE = {
    "less":          lambda x, y: x < y,
    "less_equal":    lambda x, y: x <= y,
    "greater":       lambda x, y: x > y,
    "greater_equal": lambda x, y: x >= y,
    "equal":         lambda x, y: x.equals(y),
    "not_equal":     lambda x, y: x.differs(y),
}
CLASSIFY = {                            # of floats
    "isnan":         lambda x: x.differs(x),
    "isinf":         lambda x: absolute(x).equals(INF),
    "isfinite":      lambda x: absolute(x) < INF,
    "signbit":       lambda x: copysign(constant(1.0, x), x) < 0.0,
}
LOGICAL = {                             # of truth values, which are one bit
    "logical_and":   INTEGER["bitwise_and"],
    "logical_or":    INTEGER["bitwise_or"],
    "logical_xor":   INTEGER["bitwise_xor"],
    "logical_not":   INTEGER["invert"],
}
SELECT = lambda condition, x, y: select(condition, x, y)                   # noqa: E731  where: a truth value and two of the result's type
BARRIER = lambda x, y: x                                                    # noqa: E731  x, once y is there


def _random_bits(place, key, counter):
    """vocabulary/random.py's word for entry `place`, in integers of 64 bits without sign."""
    low = 0xFFFFFFFF
    a, b, c, d = place >> 2, constant(0, place), counter & low, counter >> 32
    k, m = key & low, key >> 32
    for _ in range(ROUNDS):
        left, right = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b, c, d = (right >> 32) ^ b ^ k, right & low, (left >> 32) ^ d ^ m, left & low
        k, m = (k + WEYL[0]) & low, (m + WEYL[1]) & low
    word = place & 3
    return cast(select(word < 2, select(word.equals(0), a, b), select(word.equals(2), c, d)), "u32")


BITS = _random_bits                                                         # place, key, counter


def _bfloat16(x):
    """A float32 as the bits of the nearest bfloat16, ties to even: its upper half."""
    bits = cast(x.bits(), "u32")
    return cast(select(x.differs(x), constant(0x7FC0, bits), (bits + 0x7FFF + (bits >> 16 & 1)) >> 16), "u16")


BFLOAT16 = _bfloat16
SAME = ("astype", "copy", "stop_gradient", "fill")                # the value itself, cast
CAST = _same

# Nanoseconds an entry, roughly, for the choice between one thread and several. What is not named costs 0.5.
COST = {**dict.fromkeys("exp exp2 expm1 log log2 log10 log1p sqrt sin cos tan sinh cosh tanh gauss expit xlogy remainder floor_divide".split(), 1.5),
        **dict.fromkeys("erf erfc erfc_of_quotient erfc_of_product log_expit logit logaddexp power cbrt arcsin arccos arctan arctan2 hypot arcsinh arccosh "
                        "arctanh".split(), 4.0),
        "gammaln": 30.0, "gamma": 40.0, "psi": 30.0, "zeta": 200.0, "gamma_density": 80.0, "beta_density": 200.0}

TABLES = FLOAT, INTEGER, UNSIGNED, POWERS, ZETAS, INTEGER_POWERS, COMPARE, CLASSIFY, LOGICAL
_WRITTEN = [dict(table) for table in TABLES]


def as_written():
    """Are the tables what this file says? A fault that is planted in one is not to be found in a plan on disk, nor left in one."""
    return [*TABLES] == _WRITTEN
