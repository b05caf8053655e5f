"""What each elementwise primitive computes on one entry: a Python expression over {0}, {1}, {2}, for every compiled device.

{T} is the type computed in, so that float32 stays float32: numbers are written {T}(1), never 1. `name := expression;` before
the result makes a local that is used as {name}. Functions are those of elementary.py (exp, log1p, expit, ...) and, for the rest (atan, fmod, ...), of
C's mathematics library. Infinities, NaN and zeros follow NumPy; where an expression is longer than the mathematics, that is why.

What it is not: no derivative, no loop, no type rules (lower.py decides what is computed in which type).
"""
import numpy as np

_TYPES = {np.dtype(bool): "b1", np.dtype(np.float64): "f64", np.dtype(np.float32): "f32",
          **{np.dtype(f"{u}int{n}"): f"{u or 'i'}{n}" for u in ("", "u") for n in (8, 16, 32, 64)}}


def type_name(dtype):
    """The name kernels have for a dtype (float64: f64), or None where they have no such type (float16, big-endian)."""
    return _TYPES.get(dtype)


INF = float("inf")
LOG2 = 0.6931471805599453                # log(2), in float64; {T}(LOG2) rounds it

FLOAT = {
    "add":          "{0} + {1}",
    "subtract":     "{0} - {1}",
    "multiply":     "{0} * {1}",
    "divide":       "{0} / {1}",
    "negative":     "-{0}",
    "power":        "pow({0}, {1})",
    "remainder":    "m := fmod({0}, {1}); copysign({T}(0), {1}) if {m} == {T}(0) else ({m} + {1} if ({1} < {T}(0)) != ({m} < {T}(0)) else {m})",
    # Exact where (x - m) / y is, else rounded to the nearest integer as Python's float // does.
    "floor_divide": "m := fmod({0}, {1}); d := ({0} - {m}) / {1}; "
                    "s := {d} - {T}(1) if {m} != {T}(0) and ({1} < {T}(0)) != ({m} < {T}(0)) else {d}; f := floor({s}); "
                    "{0} / {1} if {1} == {T}(0) else (copysign({T}(0), {0} / {1}) if {s} == {T}(0) else ({f} + {T}(1) if {s} - {f} > {T}(0.5) else {f}))",
    "square":       "{0} * {0}",
    "reciprocal":   "{T}(1) / {0}",
    "absolute":     "fabs({0})",
    "exp":          "exp({0})",
    "exp2":         "exp2({0})",
    "expm1":        "expm1({0})",
    "log":          "log({0})",
    "log2":         "log2({0})",
    "log10":        "log10({0})",
    "log1p":        "log1p({0})",
    "sqrt":         "sqrt({0})",
    # A Newton step on a power with the exponent 1/3, which alone is 3 ULP off; not at 0 and infinity.
    "cbrt":         "c := cbrt({0}); {c} - ({c} - {0} / ({c} * {c})) / {T}(3) if fabs({0}) > {T}(0) and fabs({0}) < {T}(INF) else {c}",
    # The larger one plus a correction; equal infinities would give inf - inf.
    "logaddexp":    "{0} + {T}(LOG2) if {0} == {1} else "
                    "({0} if {0} >= {1} or {0} != {0} else {1}) + log1p(exp(-fabs({0} - {1})))",
    "sin":          "sin({0})",
    "cos":          "cos({0})",
    "tan":          "tan({0})",
    "arcsin":       "asin({0})",
    "arccos":       "acos({0})",
    "arctan":       "atan({0})",
    "arctan2":      "atan2({0}, {1})",
    "hypot":        "hypot({0}, {1})",
    "sinh":         "sinh({0})",
    "cosh":         "cosh({0})",
    "tanh":         "tanh({0})",
    "arcsinh":      "asinh({0})",
    "arccosh":      "acosh({0})",
    "arctanh":      "atanh({0})",
    "erf":          "erf({0})",
    "erfc":         "erfc({0})",
    "expit":        "expit({0})",
    "log_expit":    "({0} if {0} < {T}(0) else {T}(0)) - log1p(exp(-fabs({0})))",
    # Near 1/2 the quotient is near 1 and its logarithm loses digits: log1p of s = 2x - 1, which is exact there.
    "logit":        "s := {T}(2) * ({0} - {T}(0.5)); log1p({s}) - log1p(-{s}) if fabs({s}) < {T}(0.4) else log({0} / ({T}(1) - {0}))",
    "xlogy":        "{T}(0) if {0} == {T}(0) and {1} == {1} else {0} * log({1})",
    "maximum":      "{0} if {0} >= {1} or {0} != {0} else {1}",
    "minimum":      "{0} if {0} <= {1} or {0} != {0} else {1}",
    "sign":         "{T}(1) if {0} > {T}(0) else ({T}(-1) if {0} < {T}(0) else ({T}(0) if {0} == {T}(0) else {0}))",
    "floor":        "floor({0})",
    "ceil":         "ceil({0})",
    "trunc":        "trunc({0})",
    "rint":         "rint({0})",
}

# Signed integers wrap. A division by 0 gives 0, and -1 is apart because the processor traps on the smallest integer / -1.
INTEGER = {
    "remainder":    "{T}(0) if {1} == {T}(0) or {1} == {T}(-1) else {0} % {1}",
    "floor_divide": "{T}(0) if {1} == {T}(0) else (-{0} if {1} == {T}(-1) else {0} // {1})",
    "absolute":     "-{0} if {0} < {T}(0) else {0}",
    "sign":         "{T}(1) if {0} > {T}(0) else ({T}(-1) if {0} < {T}(0) else {T}(0))",
    **{name: FLOAT[name] for name in "add subtract multiply negative square".split()},
    "maximum":      "{0} if {0} >= {1} else {1}",
    "minimum":      "{0} if {0} <= {1} else {1}",
    **dict.fromkeys("floor ceil trunc rint".split(), "{0}"),
}
UNSIGNED = {name: INTEGER[name] for name in "add subtract multiply square maximum minimum floor ceil trunc rint".split()}

# Exponents that a program knows: a product is a tenth of the price of pow. Others, and those of arrays, take pow.
# The square root differs from pow at -inf and -0 unless told.
POWERS = {
    2.0:  "{0} * {0}",
    3.0:  "{0} * {0} * {0}",
    -1.0: "{T}(1) / {0}",
    0.5:  "{T}(INF) if {0} == {T}(-INF) else sqrt({0}) + {T}(0)",
}
INTEGER_POWERS = {2: POWERS[2.0], 3: POWERS[3.0]}

# Operands in their common type, the result a truth value.
COMPARE = {
    "less":          "{0} < {1}",
    "less_equal":    "{0} <= {1}",
    "greater":       "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "equal":         "{0} == {1}",
    "not_equal":     "{0} != {1}",
}
CLASSIFY = {                            # of floats
    "isnan":         "{0} != {0}",
    "isinf":         "fabs({0}) == {T}(INF)",
    "isfinite":      "fabs({0}) < {T}(INF)",
    "signbit":       "copysign({T}(1), {0}) < {T}(0)",
}
LOGICAL = {                             # of truth values
    "logical_and":   "{0} & {1}",
    "logical_or":    "{0} | {1}",
    "logical_xor":   "{0} ^ {1}",
    "logical_not":   "not {0}",
}
SELECT = "{1} if {0} else {2}"          # where: a truth value and two of the result's type
SAME = ("astype", "copy", "stop_gradient", "fill")                # the value itself, cast

# Nanoseconds an entry, roughly, for the choice between one thread and several. What is not named costs 0.5.
COST = {**dict.fromkeys("exp exp2 expm1 log log2 log10 log1p sqrt sin cos tan sinh cosh tanh expit xlogy".split(), 1.5),
        **dict.fromkeys("erf erfc log_expit logit logaddexp power".split(), 4.0),
        **dict.fromkeys("cbrt arcsin arccos arctan arctan2 hypot arcsinh arccosh arctanh remainder floor_divide".split(), 15.0)}
