"""Writes docs/accuracy.md: python docs/make_accuracy.py, three minutes. What compiled kernels make of elementary functions, against balls of 200 bits."""
import math
import sys
from pathlib import Path

import flint
import numpy as np
import scipy.special

sys.path.insert(0, str(Path(__file__).parent.parent))          # the package beside this file, whatever is installed

import diffeng as de          # noqa: E402

METHODS = "symbolic", "forward", "reverse", "reverse (kernels)"

HEAD = """# How accurate compiled functions are

Written by `python docs/make_accuracy.py`. Under `de.jit` elementary functions are polynomials of our own (`diffeng/kernels/elementary.py`), which LLVM turns into vector
code. Here is the largest error found, in units of the last place of the true value, which balls of 200 bits decide; and where it was found.

float32: every 1009th of the 2^32 bit patterns, and one in 64 of those between -32 and 32; float64: 40,000 random bit patterns, so that every power of 2 is as
likely as any other, and 40,000 points where the function is neither flat nor overflows. Special values are both zeros, infinities, NaN, the smallest subnormal and normal
numbers and the largest one, with both signs: they are right where NumPy's result is met to 2 ULP, signs of zeros included.

Longer searches found more than the table says in float64 for arctan (2.9 next to x = 1) and expit (2.02), and one number where the C library, to which huge arguments
of cos and tan go, is 8 and 14 units off: 5.319372648326541e+255, which lies next to a multiple of pi/2.

Powers with an exponent that the program knows are not in the table: `x ** n` for whole n from -32 to 32 consists of products that keep what rounding lost (0.50 ULP; 1.3
where the result is subnormal), those with 1.5, -0.5 and -1.5 go by way of the square root (1.8 ULP).

| function | float32: worst ULP | at | float64: worst ULP | at | special values |
|---|---:|---:|---:|---:|---|
"""


def far_from_0(ball):
    """psi is 0 at 1.46 and between its poles: no unit in the last place is small enough there (the tables say what the error is)."""
    return ball if abs(ball) > 0.5 else flint.arb("nan")


def of_size(x):
    return scipy.special.gammaln(np.abs(x))


LOG2, LOG10 = flint.arb(2).log, flint.arb(10).log
FUNCTIONS = {                                     # name: (NumPy code, truth, where it is neither flat nor overflows in float64)
    "exp":   (np.exp, lambda a: a.exp(), (-745, 709)),
    "exp2":  (np.exp2, lambda a: flint.arb(2) ** a, (-1074, 1023)),
    "expm1": (np.expm1, lambda a: a.expm1(), (-40, 709)),
    "log":   (np.log, lambda a: a.log(), (0.2, 5)),
    "log2":  (np.log2, lambda a: a.log() / LOG2(), (0.2, 5)),
    "log10": (np.log10, lambda a: a.log() / LOG10(), (0.2, 5)),
    "log1p": (np.log1p, lambda a: a.log1p(), (-0.999, 4)),
    "sin":   (np.sin, lambda a: a.sin(), (-1e5, 1e5)),
    "cos":   (np.cos, lambda a: a.cos(), (-1e5, 1e5)),
    "tan":   (np.tan, lambda a: a.tan(), (-1e5, 1e5)),
    "sinh":  (np.sinh, lambda a: a.sinh(), (-710, 710)),
    "cosh":  (np.cosh, lambda a: a.cosh(), (-710, 710)),
    "tanh":  (np.tanh, lambda a: a.tanh(), (-20, 20)),
    "erf":   (scipy.special.erf, lambda a: a.erf(), (-6, 6)),
    "erfc":  (scipy.special.erfc, lambda a: a.erfc(), (-6, 26.5)),
    "cbrt": (np.cbrt, lambda a: a.root(3) if a > 0 else -(-a).root(3), (-8, 8)),
    "arcsin": (np.arcsin, lambda a: a.asin(), (-1, 1)),
    "arccos": (np.arccos, lambda a: a.acos(), (-1, 1)),
    "arctan": (np.arctan, lambda a: a.atan(), (-8, 8)),
    "arcsinh": (np.arcsinh, lambda a: a.asinh(), (-8, 8)),
    "arccosh": (np.arccosh, lambda a: a.acosh(), (1, 4)),
    "arctanh": (np.arctanh, lambda a: a.atanh(), (-1, 1)),
    "logit": (scipy.special.logit, lambda a: (a / (1 - a)).log(), (0, 1)),
    "log_expit": (scipy.special.log_expit, lambda a: a - a.exp().log1p() if a < 0 else -(-a).exp().log1p(), (-740, 740)),
    "gammaln(abs(x))": (of_size, lambda a: abs(a).lgamma(), (0, 20)),
    "gamma": (scipy.special.gamma, lambda a: a.gamma(), (-60, 171.6)),
    "psi": (scipy.special.psi, lambda a: far_from_0(a.digamma()), (-20, 20)),
    "expit": (scipy.special.expit, lambda a: a.exp() / (1 + a.exp()) if a < 0 else 1 / (1 + (-a).exp()), (-745, 40)),
}
# Derivatives are asked where they are no subnormal numbers (SciPy's expit is 0 among them).
SLOPES = {**{name: (FUNCTIONS[name][0], domain) for name, domain in (
    ("exp", (-700, 700)), ("expm1", (-700, 700)), ("log", (0, np.inf)), ("log1p", (-1, np.inf)), ("sin", (-1e5, 1e5)), ("cos", (-1e5, 1e5)), ("tan", (-1e4, 1e4)),
    ("sinh", (-700, 700)), ("cosh", (-700, 700)), ("tanh", (-350, 350)), ("erf", (-26.5, 26.5)), ("erfc", (-26.5, 26.5)), ("expit", (-700, 700)), ("log_expit", (-700, 700)),
    ("logit", (0, 1)), ("cbrt", (-1e300, 1e300)), ("arcsin", (-1, 1)), ("arccos", (-1, 1)), ("arctan", (-1e150, 1e150)), ("arcsinh", (-np.inf, np.inf)),
    ("arccosh", (1, np.inf)), ("arctanh", (-1, 1)))},
          "gammaln": (scipy.special.gammaln, (0.01, 1e300)), "gamma": (scipy.special.gamma, (0.1, 170)), "psi": (scipy.special.psi, (0.01, 1e100)),
          "zeta(3, x)": (lambda x: scipy.special.zeta(3, x), (0.1, 1e50)),
          "sqrt": (np.sqrt, (0, np.inf)), "divide": (np.divide, [(-1e100, 1e100)] * 2), "power": (np.power, [(0.01, 100), (-100, 100)]),
          "xlogy": (scipy.special.xlogy, [(0, 1e100), (1e-100, 1e100)]), "hypot": (np.hypot, [(-1e300, 1e300)] * 2),
          "arctan2": (np.arctan2, [(-1e150, 1e150)] * 2), "logaddexp": (np.logaddexp, [(-700, 0)] * 2)}
POWER = "x**y"
GAMMA = """psi is looked at where |psi(x)| > 1/2. Next to a zero of psi, and of gammaln for x < 0, the error is absolute: below 1e-16 in float64; at 1 and 2 gammaln has
all its digits. zeta(s, x) loses at most 2.5 units for x > 0, at most 2.5 of its largest term for x < 0 (of an odd s the terms cancel there), and half a unit in
float32 (tests/test_gamma.py).

"""
GELU = "GELU, x/2 (1 + erf(x/sqrt 2))"


def gelu(x):
    return 0.5 * x * (1 + scipy.special.erf(x / math.sqrt(2)))


def gelu_in_float64(x):
    """With the digits that gelu loses, for float32's rounded root of 2."""
    return 0.5 * x * scipy.special.erfc(-x / float(np.float32(math.sqrt(2))))


def gelu_of(root):
    return lambda a: a / 2 * (-(a / root)).erfc()


def ulps(got, ball):
    """Of a float from the truth; 0 for an infinity where the truth rounds to it, and where there is no truth."""
    info = np.finfo(type(got))
    if not ball.is_finite():
        return 0.0
    size, top = abs(ball), flint.arb(float(info.max))
    if not np.isfinite(got):
        return 0.0 if np.isinf(got) and size > top and (ball > 0) == (got > 0) else np.inf
    last = flint.arb(float(np.spacing(type(got)(float(size))))) if size < top else flint.arb(2) ** (int(info.maxexp) - 1 - int(info.nmant))
    return float(abs(flint.arb(float(got)) - ball) / last)


def worst(xs, ys, truth, chosen):
    """(ULP, where) over chosen places of xs."""
    with flint.ctx.workprec(200):
        found = [(ulps(ys[k], truth(*[flint.arb(float(x[k])) for x in xs])), xs[0][k]) for k in chosen]
    return max(found, key=lambda pair: pair[0])


def singles():
    every = np.arange(0, 2 ** 32, 1009, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = np.concatenate([sign * np.arange(0, np.float32(32).view(np.uint32), 64, dtype=np.uint32).view(np.float32) for sign in (1, -1)])
    x = np.concatenate([every, near])
    return x[np.isfinite(x)]


def doubles(random, lo, hi):
    x = np.concatenate([random.integers(0, 2 ** 64, 40_000, dtype=np.uint64).view(np.float64), random.uniform(lo, hi, 40_000)])
    return x[np.isfinite(x)]


def row(name, function, truth, span, random):
    compiled = de.jit(lambda x: function(x))
    with np.errstate(all="ignore"):
        x = singles()
        y, near = compiled(x), (gelu_in_float64 if function is gelu else function)(x.astype(np.float64))
        apart = np.abs(y - near) / np.spacing(np.abs(near).astype(np.float32))
        apart = np.where(np.isfinite(near) & (np.abs(near) < 3.4e38), np.where(np.isfinite(y), apart, np.inf), -1.0)
        compiled(np.zeros(1))
    truths = [truth(np.float32), truth(np.float64)] if truth in (gelu_truth,) else [truth, truth]
    first = worst([x], y, truths[0], np.argsort(apart)[-40:])
    x = doubles(random, *span)
    y = compiled(x)
    with np.errstate(all="ignore"):
        defined = np.flatnonzero(np.isfinite(y) | np.isfinite(function(x)))
    second = worst([x], y, truths[1], defined)
    return first, second, all(special(compiled, function, dtype) for dtype in (np.float32, np.float64))


def gelu_truth(dtype):
    return gelu_of(flint.arb(float(dtype(math.sqrt(2)))))


def special(compiled, function, dtype):
    info = np.finfo(dtype)
    x = np.array([0, np.inf, np.nan, info.smallest_subnormal, info.tiny, info.max, 1e22], dtype)
    x = np.concatenate([x, -x])
    with np.errstate(all="ignore"):
        got, want = compiled(x), function(x)
        near = (got == want) | (np.abs(got - want) <= 2 * np.spacing(np.abs(want)))
    if function is of_size:                           # SciPy's gammaln has infinity for subnormal numbers
        near |= np.isinf(want) & np.isfinite(got) & (np.abs(x) == info.smallest_subnormal)
    if function is gelu:                              # NumPy's loses its digits, and NaN where -inf times 0 stands
        near |= (x < 0) & ((got == 0) | np.isnan(got))
    return bool(np.all(near & (np.signbit(got) == np.signbit(want)) | np.isnan(got) & np.isnan(want) | (function is gelu) & near))


def powers(random):
    """The worst of x**y, over bases and exponents whose power is finite and not 0."""
    compiled, out = de.jit(lambda x, y: x ** y), []
    for dtype, n in ((np.float32, 200_000), (np.float64, 40_000)):
        x = np.exp2(random.uniform(-100, 100, n)).astype(dtype)
        y = (random.uniform(-120 if dtype is np.float32 else -1000, 120 if dtype is np.float32 else 1000, n) / np.maximum(np.abs(np.log2(x)), 1)).astype(dtype)
        z = compiled(x, y)
        chosen = np.arange(n)
        if dtype is np.float32:
            near = x.astype(float) ** y.astype(float)
            chosen = np.argsort(np.abs(z - near) / np.spacing(np.abs(near).astype(np.float32)))[-40:]
        out.append(worst([x, y], z, lambda a, b: a ** b, chosen))
    return *out, None


def text(progress=lambda name: None):
    random, lines = np.random.default_rng(0), []
    for name, (function, truth, span) in {**FUNCTIONS, GELU: (gelu, gelu_truth, (-37, 9))}.items():
        progress(name)
        lines.append(_line(name, *row(name, function, truth, span, random)))
    lines.append(_line(POWER, *powers(random)))
    return HEAD + "\n".join(lines) + ("\n\nGELU is meant as users write it: `1 + erf(u)` becomes `erfc(-u)`, and erfc takes the quotient with all its digits "
                                      "and is multiplied before it is scaled, so that none are lost next to the subnormal numbers. "
                                      "`x**y` at special values is C's (tests/test_elementary.py).\n\n" + GAMMA + slopes(progress))


def slopes(progress):
    """The table of derivatives."""
    lines = ["## Derivatives", "", "`de.accuracy` at 500 points of each domain, float64: the worst derivative by any operand, in units of the last place of the true one.", "",
             f"| function | domain | {' | '.join(METHODS)} |", "|---|---|" + "---:|" * len(METHODS)]
    for name, (function, domain) in SLOPES.items():
        progress(f"{name}'")
        found = de.accuracy(function, domain)
        worst = [max(row.ulp for row in found.rows if row.what != "value" and row.method == method) for method in METHODS]
        spans = ", ".join(f"({lo:g}, {hi:g})" for lo, hi in ([domain] if np.ndim(domain) == 1 else domain))
        lines.append(f"| {name} | {spans} | {' | '.join(f'{u:.2f}' for u in worst)} |")
    return "\n".join(lines) + "\n\n" + (
        "`logaddexp`: the slope of the operand that does not count, exp(-|x - y|), has the rounding of the difference in its exponent: |x - y|/2 units, where it is that small. "
        "`x**y` by x: likewise up to |y log(x)| units, from the rounding of y - 1, where y is no short number.\n")


def _line(name, first, second, special):
    (a, x), (b, y) = first, second
    return f"| {name} | {a:.2f} | {x:.6g} | {b:.2f} | {y:.6g} | {'' if special is None else 'right' if special else '**not right**'} |"


if __name__ == "__main__":
    Path(__file__).with_name("accuracy.md").write_text(text(lambda name: print(name, flush=True)))
