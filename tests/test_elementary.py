"""diffeng.kernels.elementary and inverse against arb balls of 200 bits: units of the last place, special values, identities that hold exactly.

`python tests/test_elementary.py` also times every function against NumPy and against the C library, one core, 10^6 entries.
"""
import ctypes
import math
import platform
import sys
import time

import flint
import llvmlite.binding
import numpy as np
import pytest
import scipy.special

import diffeng as de
from diffeng.kernels import elementary, inverse, machine
from diffeng.kernels.code import Code
from diffeng.kernels.scalar import POWERS, fingerprint
from diffeng.kernels.values import absolute, quotient, select
from diffeng.vocabulary import PRIMITIVES

TYPES = {"f64": np.float64, "f32": np.float32}
RULES = {**elementary.RULES, **inverse.RULES}
TWO = "pow", "hypot", "arctan2"
ONE = [name for name in RULES if name not in TWO]
EXACT = {**{name: getattr(flint.arb, name) for name in "exp expm1 log log1p sin cos tan sinh cosh tanh erf erfc".split()},
         "gauss": lambda a: (-a * a).exp(), "exp2": lambda a: flint.arb(2) ** a, "log2": lambda a: a.log() / flint.arb(2).log(), "log10": lambda a: a.log() / flint.arb(10).log(),
         "cbrt": lambda a: a.root(3) if a > 0 else -(-a).root(3), "logit": lambda a: (a / (1 - a)).log(),
         **{f"arc{name}": getattr(flint.arb, f"a{name}") for name in "sin cos tan sinh cosh tanh".split()},
         "expit": lambda a: a.exp() / (1 + a.exp()) if a < 0 else 1 / (1 + (-a).exp())}
ABOVE = {"log": 0.0, "log2": 0.0, "log10": 0.0, "log1p": -1.0, "logit": 0.0, "arccosh": 1.0, **dict.fromkeys(("arcsin", "arccos", "arctanh"), -1.0)}          # the ends of
BELOW = dict.fromkeys(("arcsin", "arccos", "arctanh", "logit"), 1.0)                                                                                         # domains
HARD = {                               # where digits are easily lost, overflow and underflow included
    "exp": (-750, 712), "gauss": (-28, 28), "expm1": (-40, 2), "exp2": (-1080, 1026), "sinh": (-712, 712), "cosh": (-712, 712), "tanh": (-2, 2), "expit": (-750, 40),
    "erf": (-6.5, 6.5), "erfc": (-6.5, 28), "log": (0.3, 3), "log2": (0.3, 3), "log10": (0.3, 3), "log1p": (-0.99, 2),
    "sin": (-400, 400), "cos": (-400, 400), "tan": (-400, 400), "cbrt": (-8, 8), "arcsin": (-1, 1), "arccos": (-1, 1), "arctan": (-8, 8), "arcsinh": (-8, 8),
    "arccosh": (1, 3), "arctanh": (-1, 1), "logit": (0, 1)}
HARD32 = {**HARD, "exp": (-106, 90), "gauss": (-11, 11), "exp2": (-152, 129), "sinh": (-91, 91), "cosh": (-91, 91), "expit": (-106, 20), "erfc": (-4.5, 10.5)}


def kernel(name, T, operands=1):
    """A function of arrays. name: of a rule, or a rule itself."""
    rule = RULES.get(name, name)

    def build():
        code = Code(operands + 1)
        places = [code.word(j) for j in range(operands + 1)]
        with code.loop(code.lo, code.hi) as i:
            code.store(places[-1], i, rule(*[code.load(place, i, T, j) for j, place in enumerate(places[:-1])]), operands)
        return code.finish()
    compiled = machine.kernel(f"test: {fingerprint(rule)} of {T}", build)

    def call(*arrays):
        out = np.empty_like(arrays[0])
        words = np.array([a.ctypes.data for a in (*arrays, out)])
        compiled(words.ctypes.data, 0, out.size)
        return out
    return call


def numpy_function(name):
    return PRIMITIVES[name].evaluate if name == "gauss" else getattr(np, name, None) or getattr(scipy.special, name)


def ulps(got, ball):
    """The distance of a float from the truth, in units of the truth's last place; 0 for an infinity where the truth rounds to it."""
    info = np.finfo(type(got))
    size, top = abs(ball), flint.arb(float(info.max))
    last = flint.arb(float(np.spacing(type(got)(float(size))))) if size < top else flint.arb(2) ** (int(info.maxexp) - 1 - int(info.nmant))
    if np.isinf(got):
        return np.inf if size < top + last / 2 or (ball < 0 if got > 0 else ball > 0) else 0.0          # what is certainly wrong
    return float(abs(flint.arb(float(got)) - ball) / last)


def points(name, dtype, random, count):
    """All binades with either sign, those around 1 more often, and where the function is hard."""
    info = np.finfo(dtype)
    signs = random.choice([-1.0, 1.0], (2, count))
    x = [signs[0] * np.exp2(random.uniform(info.minexp - info.nmant, info.maxexp, count)), signs[1] * np.exp2(random.uniform(-12, 3, count)),
         random.uniform(*(HARD if dtype is np.float64 else HARD32)[name], 2 * count)]
    if name in ("sin", "cos", "tan"):
        x += [random.uniform(-1e5, 1e5, count), np.arange(1, count) * (np.pi / 2), [1e5, 100001.0, 1e22]]          # near multiples of pi / 2
    x = np.concatenate(x).astype(dtype)
    return x[(x > ABOVE.get(name, -np.inf)) & (x < BELOW.get(name, np.inf)) & np.isfinite(x) & ((x != 0) | (name != "cbrt"))]


@pytest.mark.parametrize("T", TYPES)
def test_accuracy(T, capsys):
    random, worst = np.random.default_rng(3), {}
    with flint.ctx.workprec(200), np.errstate(all="ignore"):
        for name in ONE:
            x = points(name, TYPES[T], random, 500)
            worst[name] = max((ulps(y, EXACT[name](flint.arb(float(a)))), a) for a, y in zip(x, kernel(name, T)(x)))
    with capsys.disabled():
        print(f"\nelementary {T}, worst ULP: " + ", ".join(f"{name} {w:.2f}" for name, (w, _) in worst.items()))
    fused = llvmlite.binding.get_host_cpu_features().get("fma", False)
    assert all(w <= (2 if fused or name != "erfc" else 2.6) for name, (w, _) in worst.items()), worst


@pytest.mark.parametrize("T", TYPES)
def test_accuracy_of_powers(T, capsys):
    random, info, count = np.random.default_rng(4), np.finfo(TYPES[T]), 700
    wide = np.exp2(random.uniform(info.minexp - info.nmant, info.maxexp, count))
    near = 1 + random.choice([-1, 1], count) * np.exp2(random.uniform(-22, -2, count))
    usual = np.exp2(random.uniform(-5, 5, count))
    x = np.concatenate([wide, near, usual]).astype(TYPES[T])
    y = np.concatenate([random.uniform(-1.05, 1.05, 2 * count) * info.maxexp / np.maximum(np.abs(np.log2(x[:2 * count])), 1e-6),
                        random.choice([0.5, 1.5, 2, -3, 4, 10, 1 / 3, -0.25, 7], count)]).astype(TYPES[T])
    with flint.ctx.workprec(200), np.errstate(all="ignore"):
        worst = max((ulps(z, flint.arb(float(a)) ** flint.arb(float(b))), a, b) for a, b, z in zip(x, y, kernel("pow", T, 2)(x, y)))
    with capsys.disabled():
        print(f"\nelementary {T}, worst ULP: pow {worst[0]:.2f}")
    assert worst[0] <= 1, worst


@pytest.mark.parametrize("T", TYPES)
def test_accuracy_of_the_powers_that_a_program_knows(T, capsys):
    """Half a unit of the last place for integers but where what rounding lost is subnormal; zeros, infinities, NaN and signs are pow's."""
    random, dtype = np.random.default_rng(6), TYPES[T]
    special, top, worst = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1], dtype), np.finfo(dtype).maxexp, {}
    for n in [-32, -31, -12, -7, -6, -3, -2, -1, 2, 3, 4, 5, 6, 7, 8, 12, 15, 16, 31, 32, 0.5, -0.5, 1.5, -1.5]:
        call = kernel(POWERS[n], T)
        exponents = np.concatenate([random.uniform(-1.06, 1, 60) * top / abs(n), random.uniform(-1.06, -0.98, 60) * top / n, random.uniform(-3, 3, 60)])
        x = np.exp2(np.clip(exponents, -1.04 * top, top - 0.01)) * random.choice([-1, 1] if n == int(n) else [1], 180)
        x = x.astype(dtype)
        with flint.ctx.workprec(300), np.errstate(all="ignore"):
            exact = [flint.arb(float(a)) ** (n if n == int(n) else flint.arb(n)) if a else flint.arb(0) for a in x]
            errors = [(ulps(y, e) if a else 0.0, abs(e) < float(np.finfo(dtype).tiny / np.finfo(dtype).eps), a) for a, y, e in zip(x, call(x), exact)]
            assert same(call(special), np.power(special, np.full_like(special, n)), 0).all(), n
        worst[n] = max([e for e, tiny, _ in errors if not tiny]), max([e for e, tiny, _ in errors if tiny], default=0.0)
    with capsys.disabled():
        print(f"\nx ** n, {T}, worst ULP: " + ", ".join(f"{n}: {w:.2f}" for n, (w, _) in worst.items()))
    assert all(w <= (0.51 if n == int(n) else 2) and tiny <= 2 for n, (w, tiny) in worst.items()), worst


def same(got, want, ulp):
    """Signs of zeros and infinities included; all NaNs are one."""
    with np.errstate(all="ignore"):
        near = np.isfinite(want) & (np.abs(got - want) <= ulp * np.spacing(np.abs(want)))
    return ((got == want) | near) & (np.signbit(got) == np.signbit(want)) | np.isnan(got) & np.isnan(want)


def test_accuracy_of_erfc_where_its_factors_lose_most():
    """Each of them is rounded to as much as is left of 2 ULP: what they lose is carried along."""
    fused, x = llvmlite.binding.get_host_cpu_features().get("fma", False), np.random.default_rng(8).uniform(0.5, 2.2, 20_000)
    with flint.ctx.workprec(200):
        worst = max((ulps(y, flint.arb(float(a)).erfc()), a) for a, y in zip(x, kernel("erfc", "f64")(x)))
    assert worst[0] <= (1.5 if fused else 2.6), worst


@pytest.mark.parametrize("T", TYPES)
def test_accuracy_of_gelu(T, capsys):
    """As users write it, compiled, into the subnormal numbers and beyond: the argument's rounding alone would cost 2000 ULP at x = -35."""
    random, dtype = np.random.default_rng(5), TYPES[T]
    least = -39.0 if T == "f64" else -15.0
    x = np.concatenate([random.uniform(least, 9, 4000), random.uniform(-2.6, -0.5, 4000), random.uniform(least, 0.9 * least, 1000), -np.exp2(random.uniform(-60, 5, 500)), np.exp2(random.uniform(-60, 60, 500)),
                        [0.0, -0.0, np.inf, 30.0]]).astype(dtype)
    root = flint.arb(float(dtype(math.sqrt(2))))
    for name, f, u in (("quotient", lambda x: 0.5 * x * (1 + scipy.special.erf(x / math.sqrt(2))), lambda a: a / root),
                       ("product", lambda x: x * (scipy.special.erf(x * math.sqrt(0.5)) + 1) * 0.5, lambda a: a * flint.arb(float(dtype(math.sqrt(0.5)))))):
        y = de.jit(f)(x)
        with flint.ctx.workprec(300):
            worst = max((ulps(b, flint.arb(float(a)) / 2 * (-u(flint.arb(float(a)))).erfc()), a) for a, b in zip(x, y) if np.isfinite(a) and a != 0)
        with capsys.disabled():
            print(f"\nGELU, {name}, {T}, worst ULP: {worst[0]:.2f}")
        assert worst[0] <= 2, worst
        assert np.array_equal(y[-4:], [0, 0, np.inf, 30]) and np.isnan(de.jit(f)(np.array([np.nan], dtype))[0])


@pytest.mark.parametrize("T", TYPES)
def test_special_values(T):
    """Zeros, infinities, NaN, subnormals, the largest numbers, huge arguments; long enough that vector code sees them too, and its remainder."""
    info = np.finfo(TYPES[T])
    tiny, least, most = float(info.tiny), float(info.smallest_subnormal), float(info.max)
    x = np.array([0.0, np.inf, np.nan, 1.0, 2.0, 3.0 * least, tiny, least, most, 1e5, 1e6, 1e22, 800.0, 1e-3])
    x = np.tile(np.concatenate([x, -x]), 3).astype(TYPES[T])
    with np.errstate(all="ignore"):
        for name in ONE:
            want = numpy_function(name)(x)
            ok = same(kernel(name, T)(x), want, 2.01)
            assert ok.all(), (name, x[~ok], kernel(name, T)(x)[~ok], want[~ok])


@pytest.mark.parametrize("T", TYPES)
def test_special_powers(T):
    v = np.array([0.0, 1.0, 0.5, 2.0, 3.0, 4.0, 1.5, 1 / 3, 1e-40, 1e30, 2.0 ** 24 - 1, 2.0 ** 53 - 1, 2.0 ** 53 + 2, 1 - 2.0 ** -24, 5e-324, 1e300,
                  np.inf, np.nan])
    with np.errstate(all="ignore"):
        v = np.concatenate([v, -v]).astype(TYPES[T])
        x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(v, v))
        got, want = kernel("pow", T, 2)(x, y), np.power(x, y)
    ok = same(got, want, 1.01)
    assert ok.all(), list(zip(x[~ok], y[~ok], got[~ok], want[~ok]))


@pytest.mark.parametrize("T", TYPES)
def test_two_sides_of_a_triangle(T):
    """hypot and arctan2: over all sizes, at zeros, infinities, NaN and what lies beside them."""
    random, info, count = np.random.default_rng(7), np.finfo(TYPES[T]), 400
    wide = random.choice([-1, 1], count) * np.exp2(random.uniform(info.minexp, info.maxexp - 1, count))
    x = np.concatenate([random.normal(size=count), wide]).astype(TYPES[T])
    y = np.concatenate([random.normal(size=count), (wide * np.exp2(random.uniform(-30, 0, count)))]).astype(TYPES[T])
    v = np.array([0.0, 1.0, np.inf, np.nan, info.smallest_subnormal, info.tiny, info.max, 3.0])
    a, b = (np.ascontiguousarray(c.ravel()) for c in np.meshgrid(np.concatenate([v, -v]).astype(TYPES[T]), np.concatenate([v, -v]).astype(TYPES[T])))
    for name, truth in (("hypot", lambda a, b: (a * a + b * b).sqrt()), ("arctan2", flint.arb.atan2)):
        with flint.ctx.workprec(200):
            worst = max((ulps(z, truth(flint.arb(float(p)), flint.arb(float(q)))), p, q) for p, q, z in zip(x, y, kernel(name, T, 2)(x, y)))
        assert worst[0] <= 2, (name, worst)
        with np.errstate(all="ignore"):
            want = getattr(np, name)(a, b)
        ok = same(kernel(name, T, 2)(a, b), want, 2.01)
        assert ok.all(), (name, a[~ok], b[~ok], kernel(name, T, 2)(a, b)[~ok], want[~ok])


@pytest.mark.parametrize("T", TYPES)
def test_exact_results(T):
    """What is representable where a user expects it: powers of integers, of 2 and of 10, and their logarithms."""
    info = np.finfo(TYPES[T])
    x, y = (a.ravel().astype(TYPES[T]) for a in np.meshgrid(np.arange(-40, 41), np.arange(0, 30)))
    exact = np.array([int(a) ** int(b) for a, b in zip(x, y)], dtype=object)
    small = np.abs(exact) <= 2 ** (info.nmant + 1)
    assert small.sum() > 300 and np.array_equal(kernel("pow", T, 2)(x, y)[small], exact[small].astype(TYPES[T]))
    n = np.arange(info.minexp - info.nmant, info.maxexp)
    assert np.array_equal(kernel("exp2", T)(n.astype(TYPES[T])), np.ldexp(TYPES[T](1), n))
    assert np.array_equal(kernel("log2", T)(np.ldexp(TYPES[T](1), n)), n)
    n = np.arange(0, 23 if T == "f64" else 11)
    assert np.array_equal(kernel("log10", T)((10.0 ** n).astype(TYPES[T])), n)


@pytest.mark.parametrize("T", TYPES)
def test_log_expit_vanishes_from_below(T):
    y = de.jit(scipy.special.log_expit)(np.array([np.inf, 1e22, -np.inf, 0.5], TYPES[T]))
    assert np.array_equal(np.signbit(y), [True] * 4) and np.array_equal(y[:3], [0, 0, -np.inf])


@pytest.mark.parametrize("T", TYPES)
def test_symmetry(T):
    x = points("sin", TYPES[T], np.random.default_rng(5), 300)
    for name in "sin tan sinh tanh erf".split():
        assert np.array_equal(kernel(name, T)(x), -kernel(name, T)(-x)), name
    for name in "cos cosh".split():
        assert np.array_equal(kernel(name, T)(x), kernel(name, T)(-x)), name


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="the number of a flag of the processor")
@pytest.mark.parametrize("T", TYPES)
def test_what_vanishes_is_nowhere_too_small_for_a_float(T):
    """Each such product takes some processors 150 cycles; masked scores are such arguments of exp."""
    libm, underflow = ctypes.CDLL("libm.so.6"), 0x10
    for name, *arguments in (("exp", -1e9, -1e4, -np.inf, -750, 0), ("exp2", -1e9, -1100, -np.inf), ("gauss", 1e9, 28, -np.inf), ("expm1", -1e9, -100, -np.inf),
                             ("expit", -1e9, -750, -np.inf), ("tanh", 1e9, -400, np.inf), ("erf", 1e9, -30, -9, np.inf)):
        call, x = kernel(name, T), np.resize(np.array(arguments, TYPES[T]), 40)
        libm.feclearexcept(underflow)
        call(x)
        assert not libm.fetestexcept(underflow), name
    libm.feclearexcept(underflow)
    call = kernel("exp", T)
    call(np.full(40, -740 if T == "f64" else -95, TYPES[T]))
    assert libm.fetestexcept(underflow), "what is not quite 0 is: the flag is the right one"


def test_every_length_gives_the_same_bits():
    """Vector code and the remainder of a loop agree, whatever the length."""
    x = np.random.default_rng(6).uniform(-3, 3, 67)
    for name in ("exp", "tanh", "sin", "erf"):
        for T in TYPES:
            whole, function = kernel(name, T)(x.astype(TYPES[T])), kernel(name, T)
            for n in (1, 2, 3, 5, 7, 8, 15, 31, 66):
                assert np.array_equal(function(x[:n].astype(TYPES[T])), whole[:n]), (name, T, n)


@pytest.mark.parametrize("T", TYPES)
def test_remainders_are_numpys(T):
    """Whatever the quotient: next to an integer, of 2^52 and more, infinite; and at every pair of special values."""
    T, rng = TYPES[T], np.random.default_rng(5)
    compiled = de.jit(lambda x, y: (np.remainder(x, y), np.floor_divide(x, y), np.fmod(x, y)))
    special = np.array([0.0, 1.0, 3.0, 0.1, np.inf, np.nan, np.finfo(T).tiny / 4, np.finfo(T).max, 2.0 ** 52, 2.0 ** 53 + 2, 2 * np.pi], T)
    special = np.concatenate([special, -special])
    x, y = (a.ravel() for a in np.meshgrid(special, special))
    spread = (rng.normal(size=4001) * 10.0 ** rng.uniform(-18, 18, 4001)).astype(T)
    steps = rng.permutation(spread)
    whole = (rng.integers(-10 ** 6, 10 ** 6, 4001) * steps).astype(T)
    pairs = [(x, y), (spread, steps), (whole, steps), (np.nextafter(whole, T(np.inf)), steps), (np.nextafter(whole, T(-np.inf)), steps), (spread, np.full(4001, 0.1, T))]
    for x, y in pairs:
        with np.errstate(all="ignore"):
            want = np.remainder(x, y), np.floor_divide(x, y), np.fmod(x, y)
        for got, right in zip(compiled(x, y), want):
            np.testing.assert_array_equal(got, right)
            np.testing.assert_array_equal(np.signbit(got)[~np.isnan(right)], np.signbit(right)[~np.isnan(right)])


@pytest.mark.parametrize("off", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("T", TYPES)
def test_quotient_is_division(T, off):
    """To the last bit, from reciprocals that are a little off; within an ulp where digits are lost; and at 0, infinities and NaN."""
    dtype, random, n = TYPES[T], np.random.default_rng(0), 200_000
    info, off = np.finfo(dtype), off if T == "f32" else off << 29

    def reciprocal(d):
        r = 1.0 / d
        return select((absolute(r) < float("inf")) & (absolute(r) > 0.0), (r.bits() + off).real(), r)
    divide = kernel(lambda x, d: quotient(x, d, reciprocal), T, 2)

    def wrong(x, d):
        with np.errstate(all="ignore"):
            want = x / d
        got = divide(x, d)
        return ~((got == want) & (np.signbit(got) == np.signbit(want)) | np.isnan(got) & np.isnan(want)), got, want
    x, d = random.standard_normal((2, n)).astype(dtype)
    assert not wrong(x, d)[0].any()
    with np.errstate(all="ignore"):
        x, d = (np.exp2(random.uniform(info.minexp - info.nmant, info.maxexp, (2, n))) * random.choice([-1, 1], (2, n))).astype(dtype)
    found, got, want = wrong(x, d)
    assert found.mean() < 0.02 and np.all(np.abs(got[found] - want[found]) <= np.spacing(np.abs(want[found])))
    least = info.tiny * 2.0 ** (info.nmant + 4)
    assert not (found & (np.abs(x) > least) & (np.abs(want) > 4 * info.tiny)).any()
    special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, info.max, -info.max, info.tiny, info.smallest_subnormal, 2.5], dtype)
    assert not wrong(*(a.ravel().copy() for a in np.meshgrid(special, special)))[0].any()


def timings(seconds=0.1):
    """Lines of a table: name, type, ms for 10^6 entries here and in NumPy or SciPy."""
    random = np.random.default_rng(0)
    for T, dtype in TYPES.items():
        for name in RULES:
            x = [random.uniform(0.1, 0.9, 10 ** 6).astype(dtype) + (name == "arccosh") for _ in range(1 + (name in TWO))]
            best = []
            for function in (kernel(name, T, len(x)), np.power if name == "pow" else numpy_function(name)):
                end, fastest = time.perf_counter() + seconds, np.inf
                while time.perf_counter() < end or fastest == np.inf:
                    start = time.perf_counter()
                    function(*x)
                    fastest = min(fastest, time.perf_counter() - start)
                best.append(fastest * 1e3)
            yield f"{T} {name:6s} {best[0]:6.2f} ms, NumPy {best[1]:6.2f} ms"


if __name__ == "__main__":
    for line in timings():
        print(line)
        sys.stdout.flush()
