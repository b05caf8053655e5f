"""Elementary functions without branches: one scalar rule a function, which the compiler turns into vector code inside a kernel's loop.

What it is: exp, exp(-x^2), exp2, expm1, log, log2, log10, log1p, sin, cos, tan, sinh, cosh, tanh, erf, erfc, expit and pow of float32 and float64. A rule
reads a `Value` (values.py), whose operators append instructions to an LLVM builder, whichever device that builder is for. Every
operation rounds as written, except in `mad`, where it does not matter whether the sum is fused: no rule relies on either, none may be reassociated.

Why by hand: the C library computes one entry at a time, ten times slower (13 ms against 1 ms for 10^6 exponentials). What is measured of accuracy
and time is printed by tests/test_elementary.py. What is exact or special is said at each rule; selects take the place of branches, so each rule
must be harmless (though wrong) where another piece is chosen. Rounding is to nearest, and subnormals are kept.

What it is not: no inverse functions and no roots (inverse.py), no gamma functions (gamma.py), no loop, no types other than the two, no branch except `rescue`,
which leaves the rare huge arguments of sin, cos and tan, whose reduction needs hundreds of bits, to the C library.

Coefficients (coefficients.py) come from tools/minimax.py, which says what they approximate and how well.
"""
from .coefficients import COS, ERF, ERFC, ERFC_LOG, EXP, HALF_PI, LN2, LOG, LOG2_E, LOG10_2, LOG10_E, LOG_LONG, SIN, TANH, TWO_THIRDS
from .values import Small, absolute, constant, copysign, fused, larger, mad, nearest, polynomial, rescue, select

_MANTISSA = {"f64": 52, "f32": 23}
_ROUNDER = {"f64": 1.5 * 2.0 ** 52, "f32": 1.5 * 2.0 ** 23}            # plus a float: the integer next to it, in the lowest bits
_ROUNDER_BITS = {"f64": 0x4338000000000000, "f32": 0x4B400000}
_BIAS = {"f64": 1023, "f32": 127}
_INF = float("inf")
_LOG2_E, _LOG_2, _2_OVER_PI = 1.4426950408889634, 0.6931471805599453, 0.6366197723675814
_SQRT_HALF = {"f64": 0x3FE6A09E667F3BCD, "f32": 0x3F3504F3}               # sqrt(1/2) in bits

# Where exp vanishes, and overflows.
_EXP_RANGE = {"f64": (-746.0, 710.0), "f32": (-104.0, 89.0)}
_EXP2_RANGE = {"f64": (-1080.0, 1024.0), "f32": (-152.0, 128.0)}
_TINY = {"f64": 2.0 ** -54, "f32": 2.0 ** -25}                           # |x| below which x + x^2 rounds to x


def _clamp(x, low, high):
    """x between two numbers; NaN stays NaN."""
    if high is not None:
        x = select(x > high, high, x)
    return x if low is None else select(x < low, low, x)


# ---- exponentials -----------------------------------------------------------------------------------------------------------------

def _within(x, low, high, vanishing):
    """x, or where a power of it overflows `high`, or where it vanishes, below `low`, the number whose power is 2^(-2 bias): `_scaled` makes 0 of that, and no
    product is too small for a float (which takes Intel's processors 150 cycles each time, and of masked scores there are many)."""
    return select(x < low, vanishing, _clamp(x, None, high))


def _exp_within(x, positive=True):
    """positive: may it be above 0?"""
    low, high = _EXP_RANGE[x.type]
    return _within(x, low, high if positive else None, -2 * _BIAS[x.type] * _LOG_2)


def _reduce(x):
    """x = n log(2) + r + c, |r| <= log(2)/2: (an integer that ends in the bits of n + twice the exponent's bias, r, c)."""
    T = x.type
    twice = 2 * _BIAS[T]
    t = mad(x, _LOG2_E, _ROUNDER[T] + twice)
    n = t - (_ROUNDER[T] + twice)
    high, low = LN2[T]
    first = mad(n, -high, x)                                               # n * high is exact, and so is the difference
    r = mad(n, -low, first)
    return t.bits(), r, mad(n, -low, first - r)


def _power_of_2(exponent, T):
    """2^(exponent - bias), for 0 < exponent <= 2 bias, which are an integer's last bits: those before them are shifted out. 0 for 0."""
    return (exponent << _MANTISSA[T]).real()


def _scaled(p, m):
    """p 2^n for m, of `_reduce`: in two factors, as 2^n itself may be out of range; only the last product rounds."""
    half = m >> 1
    return p * _power_of_2(half, p.type) * _power_of_2(m - half, p.type)


def _exp_of_rest(r):
    return mad(r * r, polynomial(r, EXP[r.type]), r) + 1.0


def exp(x):
    m, r, _ = _reduce(_exp_within(x))
    return _scaled(_exp_of_rest(r), m)


def gauss(x):
    """exp(-x^2): what rounding the square has lost is known, and would be raised to an exponent."""
    s = x * x
    m, r, _ = _reduce(_exp_within(-s, positive=False))
    e = _exp_of_rest(r)
    return _scaled(e - e * select(s < 1000.0, fused(x, x, -s), 0.0), m)


def exp2(x):
    T = x.type
    x = _within(x, *_EXP2_RANGE[T], -2.0 * _BIAS[T])
    t = x + (_ROUNDER[T] + 2 * _BIAS[T])
    r = (x - (t - (_ROUNDER[T] + 2 * _BIAS[T]))) * _LOG_2
    return _scaled(_exp_of_rest(r), t.bits())


def _expm1(x):
    """(y, what y's rounding lost, `_reduce`'s integer, r), y = exp(x) - 1, for x that are clamped. Digits of subnormal x are lost. Clamped and reduced as exp
    does it, exp(x) beside it is cheap."""
    T = x.type
    m, r, c = _reduce(x)
    half = _power_of_2(larger(m - (_ROUNDER_BITS[T] + _BIAS[T] + 1), _BIAS[T] - 64), T)          # 2^(n - 1), as 2^n may be too large; 2^-64 vanishes below
    tail = half * mad(r * r, polynomial(r, EXP[T]), c)
    base, step = half - 0.5, half * r                                      # base is 0 or the larger one: the sum's error is known
    total = base + step
    rest = (step - (total - base)) + tail
    y = total + rest
    return y * 2.0, (rest - (y - total)) * 2.0, m, r


def expm1(x):
    y, _, _, _ = _expm1(_exp_within(x))
    return select(absolute(x) < _TINY[x.type], x, y)


def _half_exp(m, r):
    """exp(x) / 2, which is finite where sinh and cosh are."""
    return _exp_of_rest(r) * _power_of_2(m - (_BIAS[r.type] + 2), r.type) * 2.0


_COSH_END = {"f64": 710.5, "f32": 89.5}


def sinh(x):
    T, a = x.type, _clamp(absolute(x), None, _COSH_END[x.type])
    e, lost, m, r = _expm1(a)
    y = select(a < 22.0, 0.5 * (e + (e / (e + 1.0) + lost)), _half_exp(m, r))
    return select(absolute(x) < _TINY[T], x, copysign(y, x))


def cosh(x):
    m, r, _ = _reduce(_clamp(absolute(x), None, _COSH_END[x.type]))
    t = _half_exp(m, r)
    return t + 0.25 / t


def tanh(x):
    """Up to 1/2 a - a z P(z) / Q(z), with z = a^2; beyond 1 - 2e / (1 + e), with e = exp(-2a): one division does for both. The derivative asks for e too."""
    T, a = x.type, absolute(x)
    e = exp(-absolute(x + x))
    z, (above, below) = a * a, TANH[T]
    near = a < 0.5493061443340549                                          # where tanh is 1/2
    rest = select(near, a * z * polynomial(z, above), e + e) / select(near, polynomial(z, below), e + 1.0)
    return copysign(select(near, a, 1.0) - rest, x)


def expit(x):
    """1 / (1 + exp(-x)); for x < 0 as exp(x) / (1 + exp(x)), which underflows where it should."""
    e = exp(-absolute(x))
    below = 1.0 + e
    y = select(x < 0.0, e, 1.0) / below
    return y - y * (e - (below - 1.0)) * select(x < 0.0, 1.0 - y, y)          # 1 / below is one of these


# ---- logarithms --------------------------------------------------------------------------------------------------------------------

def _normal(x):
    """(x times a power of 2 that makes it normal, what the exponent grew by)."""
    T = x.type
    small = x < 2.0 ** (2 - _BIAS[T])
    shift = _MANTISSA[T] + 2
    return select(small, x * 2.0 ** shift, x), select(small, constant(float(shift), x), constant(0.0, x))


def _mantissa(x):
    """x = 2^k m with sqrt(1/2) <= m < sqrt(2), x normal: (k as a float, m, the exponent k + bias as an integer)."""
    T = x.type
    one = _BIAS[T] << _MANTISSA[T]
    t = x.bits() + (one - _SQRT_HALF[T])
    exponent = t >> _MANTISSA[T]
    m = ((t & ((1 << _MANTISSA[T]) - 1)) + _SQRT_HALF[T]).real()
    base = 2.0 ** _MANTISSA[T]                                             # an integer below it in its lowest bits is the float itself
    whole = {"f64": 0x4330000000000000, "f32": 0x4B000000}[T]
    return (exponent | whole).real() - (base + _BIAS[T]), m, exponent


def _log1p_parts(f, digits=None):
    """log(1 + f) = f - half + rest, half = f^2 / 2, for sqrt(1/2) <= 1 + f < sqrt(2)."""
    s = f / (f + 2.0)
    z = s * s
    half = 0.5 * f * f
    # s (half + z tail / ...): log(1 + f) = 2s + s z tail and 2s = f - s f, s f = half - s half
    return half, s * mad(z, polynomial(z, LOG[digits or f.type]), half)


def _at_the_ends(x, y):
    """y, a logarithm of x > 0, with its values at 0, infinity, below 0 and at NaN."""
    y = select(x < _INF, y, x)
    return select(x > 0.0, y, select(x.equals(0.0), constant(-_INF, x), constant(float("nan"), x)))


def _joined(k, f, half, rest):
    high, low = LN2[f.type]
    return k * high - ((half - mad(k, low, rest)) - f)


def log(x):
    y, shift = _normal(x)
    k, m, _ = _mantissa(y)
    f = m - 1.0
    return _at_the_ends(x, _joined(k - shift, f, *_log1p_parts(f)))


def _log_of_sum(u, lost, more=0.0, digits=None):
    """log(u + lost) + more log(2), u > 0 and normal, and lost so small that u is their sum, rounded."""
    T = u.type
    k, m, exponent = _mantissa(u)
    f = mad(0.5 * lost, _power_of_2(2 * _BIAS[T] + 1 - exponent, T), m - 1.0)          # 2^(1 - k): k reaches one more than the bias
    return _joined(k + more, f, *_log1p_parts(f, digits))


def log1p(x):
    """The logarithm of u = 1 + x rounded, with what the rounding lost added to u's mantissa."""
    T = x.type
    u = x + 1.0
    v = u - x
    lost = (1.0 - v) + (x - (u - v))
    return select(absolute(x) < _TINY[T], x, _at_the_ends(u, _log_of_sum(u, lost)))


_HEAD = {"f64": -1 << 32, "f32": -1 << 12}


def _log_in_base(x, scale, of_2):
    """The logarithm in another base: log(m) in two parts, times `scale` in two parts, plus k times `of_2` in two parts. Powers of 2 are exact in base 2."""
    T = x.type
    y, shift = _normal(x)
    k, m, _ = _mantissa(y)
    k, f = k - shift, m - 1.0
    half, rest = _log1p_parts(f)
    high = ((f - half).bits() & _HEAD[T]).real()                           # so few bits that its product with the first part is exact
    low = ((f - high) - half) + rest
    head = k * of_2[0]
    product = high * scale[0]
    total = head + product
    return _at_the_ends(x, total + (((head - total) + product) + (mad(low + high, scale[1], low * scale[0]) + k * of_2[1])))


def log2(x):
    return _log_in_base(x, LOG2_E[x.type], (1.0, 0.0))


def log10(x):
    return _log_in_base(x, LOG10_E[x.type], LOG10_2[x.type])


# ---- angles ------------------------------------------------------------------------------------------------------------------------


def _quarter(x):
    """x = n pi/2 + r + c, |x| <= 1e5: (n modulo 4 in the lowest bits, r, c). Products of n with the first two parts of pi/2 are exact. Where the second
    product is the larger one, their difference is exact too, as both are short then; so what it lost is known in either order of size."""
    t = mad(x, _2_OVER_PI, _ROUNDER["f64"])
    n = t - _ROUNDER["f64"]
    r = mad(n, -HALF_PI[0], x)
    w = n * HALF_PI[1]
    d = r - w
    lost = mad(n, -HALF_PI[2], (r - d) - w)
    r = d + lost
    return t.bits(), r, lost - (r - d)


def _within_a_quarter(r, c):
    """The sine of r + c, |r| <= pi/4, the cosine, and what rounding them lost, in float64."""
    z = r * r
    half = 0.5 * z
    w = 1.0 - half
    tail = mad(z * r, polynomial(z, SIN["f64"]), c * w)
    sine = r + tail
    rest = ((1.0 - w) - half) + mad(z * z, polynomial(z, COS["f64"]), -(r * c))
    cosine = w + rest
    return sine, cosine, tail - (sine - r), rest - (cosine - w)


def _sine_and_cosine(x):
    """(quarter turns, the rest's sine, cosine, and what rounding them lost) in float64; for float32 with what float32 needs, and nothing lost."""
    T = x.type
    if T == "f64":
        q, r, c = _quarter(x)
        return q, *_within_a_quarter(r, c)
    x = x.double()
    t = mad(x, _2_OVER_PI, _ROUNDER["f64"])
    n = t - _ROUNDER["f64"]
    r = mad(n, -HALF_PI[1], mad(n, -HALF_PI[0], x))
    z = r * r
    return t.bits(), mad(z * r, polynomial(z, SIN[T]), r), mad(z * z, polynomial(z, COS[T]), 1.0 - 0.5 * z), None, None


def _turned(value, q):
    """The value, negated if the second bit of q is set."""
    return (value.bits() ^ ((q & 2) << 62)).real()


def sin(x):
    q, s, c, _, _ = _sine_and_cosine(x)
    y = _turned(select((q & 1).equals(1), c, s), q).rounded(x.type)
    return rescue("sin", x, select(absolute(x) < _TINY[x.type], x, y), x)


def cos(x):
    q, s, c, _, _ = _sine_and_cosine(x)
    return rescue("cos", x, _turned(select((q & 1).equals(1), s, c), q + 1).rounded(x.type), x)


def tan(x):
    q, s, c, s_lost, c_lost = _sine_and_cosine(x)
    odd = (q & 1).equals(1)
    above, below = select(odd, c, s), select(odd, s, c)
    y = above / below
    if s_lost is not None:                                                 # a correction: few digits of 1 / below do
        y = y + (select(odd, c_lost, s_lost) - y * select(odd, s_lost, c_lost)) * (1.0 / below.rounded("f32")).double()
    y = _turned(y, q << 1).rounded(x.type)
    return rescue("tan", x, select(absolute(x) < _TINY[x.type], x, y), x)


# ---- the error function --------------------------------------------------------------------------------------------------------------

_ERFC_SMALL = {"f64": 26.0, "f32": 8.8}                                    # beyond, erfc is next to the subnormal numbers, or among them


def _erf_near_0(x, T):
    return mad(x, polynomial(x * x, ERF[T]), x)


def _erfc_beyond(a, T, corrected=True, lost=None):
    """(w, m), erfc(a) = w 2^(m - 2 bias) for a >= 1/2 in float64: exp(-a^2) g(t) / (1 + 2a), with what rounding its factors lost, if asked. lost: by the
    rounding of a itself."""
    a = _clamp(a, None, 28.0)
    head = (a.bits() & (-1 << 27)).real()                                  # its square is exact
    m, r, c = _reduce(-(head * head))
    step = c - (a - head) * (a + head)
    if lost is not None:
        step = step - 2.0 * a * lost
    s = r + step
    below, top, bottom = 2.0 * a + 1.0, a - 4.0, a + 4.0
    t = top / bottom
    bend = t * polynomial(t, ERFC[T][1:])
    g = bend + ERFC[T][0]
    q = g / below
    if T == "f32" or not corrected:
        return (mad(s * s, polynomial(s, EXP[T]), s) + 1.0) * q, m
    first, rest = 1.0 + s, s * s * polynomial(s, EXP[T])
    p = first + rest
    p_lost = (s - (first - 1.0)) + (rest - (p - first))
    # What t lost counts where g is steep, below a = 1: there its slope is nearly this.
    t_lost = (fused(-t, bottom, top) + ((a - (top + 4.0)) - t * (a - (bottom - 4.0)))) / bottom
    g_lost = (bend - (g - ERFC[T][0])) + larger(-0.94 - 1.88 * t, constant(0.0, t)) * t_lost
    below_lost = 1.0 - (below - 2.0 * a)
    # 1.07 < g < 1.29, so 1 / g is 0.87 and 1 / below is 0.87 q: close enough for corrections.
    correction = (step - (s - r)) + 0.87 * (fused(-q, below, g) + (g_lost - q * below_lost))
    if lost is not None:
        correction = correction - 1.74 * q * lost
    return mad(p, q, q * mad(p, correction, p_lost)), m


def erf(x):
    """Beyond 0.95 through erfc, for float32 as 1 - exp(polynomial)."""
    a = absolute(x)
    if x.type == "f32":
        beyond = exp(polynomial(_clamp(a, None, 4.0), ERFC_LOG["f32"]))
    else:
        beyond = _scaled(*_erfc_beyond(_clamp(a, None, 7.0), "f64", corrected=False))          # there it is 1
    return select(a < 0.95, _erf_near_0(x, x.type), copysign(1.0 - beyond, x))


def _erfc(x, T, lost=None):
    a = absolute(x)
    w, m = _erfc_beyond(a, T, lost=None if lost is None else select(a < 28.0, select(x > 0.0, lost, -lost), 0.0))
    near = 1.0 - _erf_near_0(x, T)

    def times(m):
        far = _scaled(w, m)
        return select(a < 0.5, near, select(x > 0.0, far, 2.0 - far)).rounded(T)

    def lifted():
        up, small = _MANTISSA[T] + 1, x > _ERFC_SMALL[T]
        y = times(m + select(small, constant(up, m), 0))
        return y, select(small, constant(2.0 ** -up, y), 1.0)
    return Small(times(m), lifted)


def erfc(x):
    return _erfc(x.double(), x.type)


def erfc_of_quotient(x, c):
    """erfc(x / c) with the digits that rounding the quotient would cost, 2 u^2 ULP of them: GELU, and what else is made of the normal distribution."""
    T, x, c = x.type, x.double(), c.double()
    u = x / c
    return _erfc(u, T, None if T == "f32" else fused(-u, c, x) / c)


def erfc_of_product(x, c):
    """erfc(x c), likewise."""
    T, x, c = x.type, x.double(), c.double()
    u = x * c
    return _erfc(u, T, None if T == "f32" else fused(x, c, -u))


# ---- powers ----------------------------------------------------------------------------------------------------------------------------

def _long_log(x):
    """log(x) of a positive float64 as a sum of two, to 65 bits: 2 s + s z (2/3 + z tail), z = s^2, with each leading term in two parts."""
    y, shift = _normal(x)
    k, m, _ = _mantissa(y)
    k = k - shift
    f, below = m - 1.0, m + 1.0
    lost = m - (below - 1.0)
    s = f / below
    s2 = (fused(-s, below, f) - s * lost) / below
    z = s * s
    z2 = fused(s, s, -z) + 2.0 * s * s2
    inner = z * polynomial(z, LOG_LONG["f64"])
    t = inner + TWO_THIRDS[0]
    t2 = (inner - (t - TWO_THIRDS[0])) + TWO_THIRDS[1]
    u = s * z
    u2 = fused(s, z, -u) + mad(s, z2, s2 * z)
    v = u * t
    v2 = fused(u, t, -v) + mad(u, t2, u2 * t)
    high, low = LN2["f64"]
    first, second = k * high, 2.0 * s                                      # in falling order of size: each sum's error is known
    a = first + second
    a2 = second - (a - first)
    b = a + v
    b2 = v - (b - a)
    rest = (a2 + b2) + (mad(k, low, 2.0 * s2) + v2)
    total = b + rest
    return total, rest - (total - b)


def _exp_of_sum(p, p2):
    """exp(p + p2) in float64, to 0.6 ULP, so that powers of integers are exact."""
    p2 = select(absolute(p) < 800.0, p2, 0.0)
    m, r, c = _reduce(_exp_within(p))
    base, low = r + 1.0, c + p2
    s = r + low
    tail = mad(s * s, polynomial(s, EXP["f64"]), low + (r - (base - 1.0)))
    return _scaled(base + tail, m)


def pow(x, y):
    """As C's: 1 for y = 0 and for x = 1, NaN for x < 0 and a y that is no integer, the sign of x for odd y. float32 through float64."""
    T, x, y = x.type, x.double(), y.double()
    a = absolute(x)
    if T == "f64":
        log_a, log_a2 = _long_log(a)
        p = y * log_a
        out = _exp_of_sum(p, mad(y, log_a2, fused(y, log_a, -p)))
    else:
        k, mantissa, _ = _mantissa(a)                                      # a float32 is normal as a float64
        f = mantissa - 1.0
        m, r, _ = _reduce(_clamp(y * _joined(k, f, *_log1p_parts(f, T)), -200.0, 200.0))
        out = (mad(r * r, polynomial(r, EXP[T]), r) + 1.0) * _power_of_2(m - _BIAS["f64"], "f64")
    grows = y > 0.0
    out = select(a < _INF, out, select(grows, constant(_INF, x), 0.0))
    out = select(a > 0.0, out, select(grows, constant(0.0, x), _INF))
    out = select(a.equals(1.0), 1.0, out)                                  # where y is infinite, the product with a logarithm of 0 is none
    half = y * 0.5
    whole, even = nearest(y).equals(y), nearest(half).equals(half)
    nan = constant(float("nan"), x)
    signed = select(whole, select(even, out, copysign(out, x)), select(a < _INF, select(a > 0.0, nan, out), out))
    out = select(x > 0.0, out, signed)
    out = select(x.equals(x), select(y.equals(y), out, y), x)
    out = select(x.equals(1.0), 1.0, out)
    return select(y.equals(0.0), 1.0, out).rounded(T)


# Of one number, but for pow.
RULES = {f.__name__: f for f in (exp, gauss, exp2, expm1, log, log2, log10, log1p, sin, cos, tan, sinh, cosh, tanh, expit, erf, erfc, pow)}
