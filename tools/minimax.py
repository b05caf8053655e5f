"""The coefficients of diffeng/kernels/elementary.py and its sequels: `python tools/minimax.py > diffeng/kernels/coefficients.py` writes them.

Each is the polynomial through a function at the Chebyshev nodes of an interval (a factor of about two from the best one, for which at most one more
coefficient pays), computed by mpmath at 60 digits and rounded to float64 at the end. The error noted beside each is the largest one over the interval,
times `weight`, in units of 2^-53.

What it is not: needed at run time.
"""
import textwrap

import mpmath
from mpmath import mpf

mpmath.mp.dps = 60


def chebyshev(low, high, count):
    """The nodes of an interval."""
    low, high = mpf(low), mpf(high)
    return [(low + high) / 2 + (high - low) / 2 * mpmath.cos(mpmath.pi * (2 * k + 1) / (2 * count)) for k in range(count)]


def polynomial(function, low, high, count):
    """The `count` coefficients, lowest first, of the polynomial through `function` at the Chebyshev nodes of [low, high]."""
    nodes = chebyshev(low, high, count)
    matrix = mpmath.matrix(count, count)
    for i, x in enumerate(nodes):
        for j in range(count):
            matrix[i, j] = x ** j
    return list(mpmath.lu_solve(matrix, mpmath.matrix([function(x) for x in nodes])))


def rational(function, low, high, above, below):
    """(the `above` coefficients of P, the `below` ones of Q and its leading 1), of the P / Q through `function` at the Chebyshev nodes."""
    count = above + below
    nodes = chebyshev(low, high, count)
    matrix = mpmath.matrix(count, count)
    for i, x in enumerate(nodes):
        for j in range(above):
            matrix[i, j] = x ** j
        for j in range(below):
            matrix[i, above + j] = -function(x) * x ** j
    found = list(mpmath.lu_solve(matrix, mpmath.matrix([function(x) * x ** below for x in nodes])))
    return found[:above], [*found[above:], mpf(1)]


def error(function, approximation, low, high, weight, points=400):
    low, high, worst = mpf(low), mpf(high), mpf(0)
    for k in range(points + 1):
        x = low + (high - low) * k / points
        if x != 0:
            worst = max(worst, abs((approximation(x) - function(x)) * weight(x)))
    return worst * mpf(2) ** 53


def exp_tail(r):
    return (mpmath.exp(r) - 1 - r) / r ** 2 if abs(r) > mpf(10) ** -20 else mpf(1) / 2


def log_tail(z):
    """log(1 + f) = 2 s + s z tail(z), s = f / (2 + f), z = s^2."""
    s = mpmath.sqrt(abs(z))
    return (2 * mpmath.atanh(s) / s - 2) / z if z > mpf(10) ** -40 else mpf(2) / 3


def log_tail2(z):
    """The same after its first term: log(1 + f) = 2 s + s z (2/3 + z tail(z))."""
    return (log_tail(z) - mpf(2) / 3) / z if z > mpf(10) ** -40 else mpf(2) / 5


def sin_tail(z):
    s = mpmath.sqrt(abs(z))
    return (mpmath.sin(s) / s - 1) / z if z > mpf(10) ** -40 else -mpf(1) / 6


def cos_tail(z):
    return (mpmath.cos(mpmath.sqrt(abs(z))) - 1 + z / 2) / z ** 2 if z > mpf(10) ** -25 else mpf(1) / 24


def erf_tail(z):
    """erf(x) = x + x tail(x^2)."""
    s = mpmath.sqrt(abs(z))
    return (mpmath.erf(s) / s if s > mpf(10) ** -25 else 2 / mpmath.sqrt(mpmath.pi)) - 1


def asin_tail(z):
    """asin(x) = x + x z tail(z), z = x^2."""
    s = mpmath.sqrt(abs(z))
    return (mpmath.asin(s) / s - 1) / z if z > mpf(10) ** -40 else mpf(1) / 6


def atan_tail(z):
    """atan(x) = x + x z tail(z)."""
    s = mpmath.sqrt(abs(z))
    return (mpmath.atan(s) / s - 1) / z if z > mpf(10) ** -40 else -mpf(1) / 3


def tanh_tail(z):
    """tanh(x) = x - x z tail(z), z = x^2."""
    s = mpmath.sqrt(abs(z))
    return (1 - mpmath.tanh(s) / s) / z if z > mpf(10) ** -40 else mpf(1) / 3


ERFC_CENTRE = mpf(4)


def erfc_scaled(t):
    """(1 + 2 x) exp(x^2) erfc(x) as a function of t = (x - 4) / (x + 4) (Shepherd and Laframboise 1981)."""
    x = ERFC_CENTRE * (1 + t) / (1 - t)
    return (1 + 2 * x) * mpmath.exp(x * x) * mpmath.erfc(x)


def log_gamma_tail(u):
    """log(Gamma(2 + u)) = u (1 - gamma) + u^2 (zeta(2) - 1)/2 + u^3 tail(u), with Euler's constant gamma (DLMF 5.7.3)."""
    first, second = 1 - mpmath.euler, (mpmath.zeta(2) - 1) / 2
    return ((mpmath.loggamma(2 + u) / u - first) / u - second) / u if abs(u) > mpf(10) ** -18 else (1 - mpmath.zeta(3)) / 3


def stirling(w):
    """log(Gamma(a)) = (a - 1/2) log(a) - a + log(2 pi)/2 + stirling(w) / a, w = 1 / a^2 (DLMF 5.11.1)."""
    if w < mpf(10) ** -12:
        return mpf(1) / 12 - w / 360
    a = 1 / mpmath.sqrt(w)
    return (mpmath.loggamma(a) - (a - mpf(1) / 2) * mpmath.log(a) + a - mpmath.log(2 * mpmath.pi) / 2) * a


def psi_tail(w):
    """psi(a) = log(a) - 1 / (2 a) - w tail(w), w = 1 / a^2 (DLMF 5.11.2)."""
    if w < mpf(10) ** -12:
        return mpf(1) / 12 - w / 120
    a = 1 / mpmath.sqrt(w)
    return (mpmath.log(a) - 1 / (2 * a) - mpmath.digamma(a)) / w


H, Q, L, E = mpf("0.3467"), mpf("0.6170"), mpf("0.029438"), mpf("0.95") ** 2      # a little more than log(2)/2, (pi/4)^2, (3 - 2 sqrt 2)^2; a piece's end
B = (mpf("0.4") - 4) / (mpf("0.4") + 4), (mpf("28") - 4) / (mpf("28") + 4)
TABLES = [
    ("EXP", exp_tail, -H, H, {"f64": 10, "f32": 5}, lambda r: r ** 2),
    ("LOG", log_tail, 0, L, {"f64": 7, "f32": 4}, lambda z: z / 2),
    ("LOG_LONG", log_tail2, 0, L, {"f64": 9}, lambda z: z * z / 2),
    ("SIN", sin_tail, 0, Q, {"f64": 7, "f32": 4}, lambda z: z),
    ("COS", cos_tail, 0, Q, {"f64": 7, "f32": 4}, lambda z: z ** 2),
    ("ASIN", asin_tail, 0, mpf("0.25"), {"f64": 13, "f32": 6}, lambda z: z),
    ("ATAN", atan_tail, 0, 1, {"f64": 22, "f32": 10}, lambda z: z),
    ("ERF", erf_tail, 0, E, {"f64": 13, "f32": 8}, lambda z: 1),
    ("ERFC_LOG", lambda x: mpmath.log(mpmath.erfc(x)), mpf("0.94"), 4, {"f32": 10}, mpmath.erfc),
    ("ERFC", erfc_scaled, *B, {"f64": 25, "f32": 13}, lambda t: 1),
    ("GAMMALN", log_gamma_tail, mpf("-0.55"), mpf("0.5"), {"f64": 19, "f32": 9}, lambda u: u ** 3 / mpmath.loggamma(2 + u)),
    ("STIRLING", stirling, 0, mpf("8.4999") ** -2, {"f64": 7, "f32": 3}, lambda w: mpmath.sqrt(w)),
    ("PSI", psi_tail, 0, mpf("5.9999") ** -2, {"f64": 8, "f32": 4}, lambda w: w),
]
RATIONALS = [
    ("TANH", tanh_tail, 0, mpmath.atanh(mpf("0.5001")) ** 2, {"f64": (3, 3), "f32": (2, 1)}, lambda z: z),
]


def at(coefficients, x):
    return mpmath.polyval(coefficients[::-1], x)


def split(x, bits):
    """The leading bits of a number, and the rest."""
    _, exponent = mpmath.frexp(x)
    head = mpmath.ldexp(mpmath.floor(mpmath.ldexp(x, bits - exponent)), exponent - bits)
    return head, x - head


def lines():
    yield '''"""Coefficients of elementary.py, inverse.py and gamma.py, lowest first, written by tools/minimax.py, which says what each approximates. Not for editing.

What it is not: rounded to float32. The tables f32 are as long as that type needs; some rules evaluate them in float64.
"""'''
    for name, function, low, high, counts, weight in TABLES:
        yield f"{name} = {{"
        for type, count in counts.items():
            c = [float(x) for x in polynomial(function, low, high, count)]
            yield f"    # {mpmath.nstr(error(function, lambda x: at(c, x), low, high, weight), 2)} * 2^-53"
            yield from textwrap.wrap(f'"{type}": {c},', 150, initial_indent="    ", subsequent_indent=" " * 12)
        yield "}"
    for name, function, low, high, counts, weight in RATIONALS:
        yield f"{name} = {{                               # of the numerator, then of the denominator"
        for type, count in counts.items():
            above, below = ([float(x) for x in part] for part in rational(function, low, high, *count))
            yield f"    # {mpmath.nstr(error(function, lambda x: at(above, x) / at(below, x), low, high, weight), 2)} * 2^-53"
            yield f'    "{type}": ({above},'
            yield f"            {below}),"
        yield "}"
    yield "# Numbers in two parts, the first with so few bits that its product with an exponent, or with the head of a logarithm, is exact."
    for name, value, bits in (("LN2", mpmath.log(2), (32, 13)), ("LOG10_2", mpmath.log(2, 10), (32, 13)), ("LOG10_E", 1 / mpmath.log(10), (27, 12)),
                              ("LOG2_E", 1 / mpmath.log(2), (27, 12))):
        parts = {type: tuple(float(x) for x in split(value, n)) for type, n in zip(("f64", "f32"), bits)}
        yield f"{name} = {parts}".replace("'", '"')
    yield f"TWO_THIRDS = {(2 / 3, float(mpf(2) / 3 - mpf(2 / 3)))}"
    yield f"HALF_TURN = {(float(mpmath.pi), float(mpmath.pi - mpf(float(mpmath.pi))))}          # pi"
    half = mpmath.log(2 * mpmath.pi) / 2 - mpf(1) / 2
    yield f"HALF_LOG_TURN = {(float(half), float(half - mpf(float(half))))}          # log(2 pi)/2 - 1/2"
    yield "# The first coefficients of log(Gamma(2 + u)), each in two parts."
    yield f"GAMMALN_HEAD = {tuple((float(c), float(c - mpf(float(c)))) for c in (1 - mpmath.euler, (mpmath.zeta(2) - 1) / 2))}"
    yield "# Bernoulli's number of 2 j by the factorial of 2 j, j = 1, 2, ..."
    yield from textwrap.wrap(f"BERNOULLI = {[float(mpmath.bernoulli(2 * j) / mpmath.factorial(2 * j)) for j in range(1, 12)]}", 150, subsequent_indent=" " * 13)
    rest, pieces = mpmath.pi / 2, []
    for _ in range(2):
        head, rest = split(rest, 33)
        pieces.append(float(head))
    yield f"HALF_PI = {(*pieces, float(rest))}          # 33 bits each, then the rest"


if __name__ == "__main__":
    print("\n".join(lines()))
