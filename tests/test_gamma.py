"""gammaln, gamma, psi, zeta and what is made of them: values of kernels in units of the last place, derivatives to the third order, special values, errors.

Truths are arb balls of 300 bits, and SciPy's values where there is no number.
"""
import flint
import mpmath
import numpy as np
import pytest
import scipy.special as sc
from flint import arb

import diffeng as de
from diffeng.balls import ELEMENTWISE
from diffeng.kernels.scalar import FLOAT, ZETAS
from diffeng.vocabulary import PRIMITIVES
from test_elementary import TYPES, kernel, same, ulps

METHODS = "reverse", "forward", "symbolic"
NAMES = "gammaln", "gamma", "psi"


def exact(name, *x):
    """The ball of a primitive at floats, by way of the judge's functions, which test_precise.py compares with mpmath's."""
    return ELEMENTWISE[name](*[arb(float(v)) for v in x])


def truth(name, *operands):
    """The nearest floats; where there is no number, SciPy's."""
    found = PRIMITIVES[name](*operands)
    with flint.ctx.workprec(300):
        for place in np.ndindex(found.shape):
            x = [np.broadcast_to(a, found.shape)[place] for a in operands]
            if np.isfinite(x).all() and (x[0] < 1e6 or len(x) == 1) and (np.isfinite(found[place]) or x[-1] > 0 or x[-1] != np.floor(x[-1])):
                ball = exact(name, *x)
                found[place] = float(ball) if ball.is_finite() or ball.is_exact() else found[place]
    return found


def apart(got, balls):
    """(worst error in ULP, worst absolute error)."""
    pairs = [(ulps(g, b), float(abs(arb(float(g)) - b))) for g, b in zip(got, balls) if abs(b) < float(np.finfo(got.dtype).max)]
    return max(u for u, _ in pairs), max(a for _, a in pairs)


def spans(T, random, count=400):
    """Positive arguments of every size and between 0 and 12; close to 1, 2 and the root of psi; negative ones."""
    info = np.finfo(TYPES[T])
    near = random.choice([-1, 1], count) * np.exp2(random.uniform(-30, -2, count))
    x = {"positive": np.concatenate([random.uniform(0, 3, 2 * count), random.uniform(3, 40, count), np.exp2(random.uniform(info.minexp, info.maxexp - 12, count))]),
         "zeros of gammaln": np.concatenate([1 + near, 2 + near]), "the root of psi": 1.4616321449683622 + near, "negative": -random.uniform(0, 25, 2 * count),
         "far below": -np.exp2(random.uniform(info.minexp, 17, count))}
    x = {where: v.astype(TYPES[T]) for where, v in x.items()}
    return {where: v[(v > 0) | (v != np.floor(v))] for where, v in x.items()}


# What remains of gammaln and psi next to their zeros is absolute.
LIMITS = {"gammaln": {"negative": 3e-16, "far below": 3e-16}, "gamma": {}, "psi": {where: 3e-16 for where in ("positive", "the root of psi", "negative", "far below")}}


@pytest.mark.parametrize("T", TYPES)
@pytest.mark.parametrize("name", NAMES)
def test_kernels(name, T, capsys):
    call, said = kernel(FLOAT[name], T), []
    for where, x in spans(T, np.random.default_rng(len(name))).items():
        y = call(x)
        with flint.ctx.workprec(300):
            balls = [exact(name, v) for v in x]
            ulp, _ = apart(y, balls)
            said.append(f"{where} {ulp:.2f}")
            if where in LIMITS[name]:
                large = [abs(b) > 1 for b in balls]
                small = [not a for a in large]
                assert not any(large) or apart(y[large], [b for b, a in zip(balls, large) if a])[0] <= 2, (name, where)
                assert not any(small) or apart(y[small], [b for b, a in zip(balls, small) if a])[1] <= (LIMITS[name][where] if T == "f64" else 6e-8), (name, where)
            else:
                assert ulp <= 2, (name, where, ulp)
    with capsys.disabled():
        print(f"\n{name} {T}, worst ULP: " + ", ".join(said))


@pytest.mark.parametrize("T", TYPES)
def test_zeta_kernels(T, capsys):
    """Both rules: for any s, and for one that a program knows. Of an odd s positive and negative terms cancel between the poles: the largest counts."""
    random, said, dtype = np.random.default_rng(9), [], TYPES[T]
    for s in (1.25, 2.0, 2.75, 3.0, 4.0, 5.0, 8.0, 10.0, 40.0):
        below = -random.uniform(0, 30, 150) if s == int(s) else []
        q = np.concatenate([random.uniform(0.02, 4, 150), random.uniform(4, 60, 100), np.exp2(random.uniform(-8, 20, 60)), below]).astype(dtype)
        found = [kernel(FLOAT["zeta"], T, 2)(np.full_like(q, s), q)] + ([kernel(ZETAS[s], T)(q)] if s in ZETAS else [])
        with flint.ctx.workprec(300):
            balls = [exact("zeta", s, v) for v in q]
            largest = [abs(arb(float(v - np.rint(v)))) ** -s if v < 0 else b for v, b in zip(q, balls)]
            for y in found:
                worst = max(float(abs(arb(float(g)) - b)) / float(np.spacing(dtype(float(t)))) for g, b, t in zip(y, balls, largest)
                            if float(np.finfo(dtype).tiny) < t < float(np.finfo(dtype).max))
                said.append(f"{s}: {worst:.2f}")
                assert worst <= 2.5, (s, worst)
    with capsys.disabled():
        print(f"\nzeta {T}, worst ULP of the largest term: " + ", ".join(said))


@pytest.mark.parametrize("T", TYPES)
def test_special_values(T):
    dtype, info = TYPES[T], np.finfo(TYPES[T])
    x = np.array([0.0, np.inf, np.nan, 1.0, 2.0, 0.5, 1.5, 3.0, 171.0, 172.0, 170.5, 1e5, 1e16, 1e300, 2.5e305, 2.6e305, 1e-300, 1e-30, 5e-324, 8.5, 2.5, 12.0,
                  float(info.tiny), float(info.smallest_subnormal), float(info.max), 20.5, 185.5])
    with np.errstate(all="ignore"):
        x = np.tile(np.concatenate([x, -x]), 3).astype(dtype)
        for name in NAMES:
            got, want = kernel(FLOAT[name], T)(x), truth(name, x)
            ok = same(got, want, 2.01) | (name == "psi") & (np.abs(got - want) <= 1e-16)          # psi(-0.5) is next to 0
            assert ok.all(), (name, x[~ok], got[~ok], want[~ok])
        s, q = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(np.array([2, 3, 7, 1, 0.5, -1, 2.5, 1e5, np.inf, np.nan], dtype), x[:54]))
        got, want = kernel(FLOAT["zeta"], T, 2)(s, q), truth("zeta", s, q)
        cancels = (q < 0) & (np.abs(got - want) <= 4 * info.eps * np.abs(q - np.rint(q)) ** -s)
        ok = same(got, want, 2.01) | cancels
        assert ok.all(), list(zip(s[~ok], q[~ok], got[~ok], want[~ok]))
        for n in (2.0, 3.0, 7.0):
            got, want = kernel(ZETAS[n], T)(x), truth("zeta", dtype(n), x)
            assert np.all(same(got, want, 2.01) | (x < 0) & (np.abs(got - want) <= 4 * info.eps * np.abs(x - np.rint(x)) ** -n)), n


def test_far_below_zero_numpy_ends():
    """SciPy's zeta adds as many terms as q is below 0."""
    q = np.array([-1e9 - 0.25, -20.3, -2.0 ** 45 + 0.5, -17.0, -16.5, 3.0])
    for s in (2, 3):
        np.testing.assert_allclose(PRIMITIVES["zeta"](s, q), truth("zeta", np.float64(s), q), rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(PRIMITIVES["zeta"](s, q[[1, 4, 5]]), sc.zeta(s, q[[1, 4, 5]]), rtol=1e-13, atol=1e-13)


# ---- derivatives ---------------------------------------------------------------------------------------------------------------------------

X = np.array([1.0, 2.0, 0.3, 1.4616321449683622, 7.5, 150.25, 1e-3, -0.3, -1.5, -2.25, -17.6])


def slopes(f, method, x):
    """The first, second and third derivative of elementwise f."""
    out = []
    for _ in range(3):
        f = de.grad(lambda x, f=f: np.sum(f(x)), method=method)
        out.append(f(x))
    return out


def derivatives(name, x):
    """The same by mpmath."""
    with mpmath.workdps(40):
        p = [mpmath.psi(n, x) for n in range(4)]
        z = mpmath.gamma(x)
        return {"gammaln": p[:3], "psi": p[1:], "gamma": [z * p[0], z * (p[0] ** 2 + p[1]), z * (p[0] ** 3 + 3 * p[0] * p[1] + p[2])]}[name]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_three_derivatives(name, method):
    for dtype, digits in ((np.float64, 2e-14), (np.float32, 1e-5)):
        x = (X if name != "gamma" else X[np.abs(X) < 10]).astype(dtype)
        want = np.array([[float(d) for d in derivatives(name, float(v))] for v in x]).T
        for n, (found, true) in enumerate(zip(slopes(getattr(sc, name), method, x), want)):
            assert found.dtype == dtype
            scale = np.abs(true) + (n * np.abs(true[0]) if name == "gamma" else 0) + (np.abs(x) < 10)          # the higher derivatives of gamma are sums that cancel
            assert np.all(np.abs(found - true) <= digits * scale), (n, x, found, true)


@pytest.mark.parametrize("method", METHODS)
def test_compiled_derivatives(method):
    for name in NAMES:
        f = getattr(sc, name)
        third = de.grad(lambda x: np.sum(de.grad(lambda x: np.sum(de.grad(lambda x: np.sum(f(x)), method=method)(x)), method=method)(x)), method=method)
        x = X[:5]
        np.testing.assert_allclose(de.jit(third)(x), third(x), rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_the_ends(method):
    """Far out and next to 0, where derivatives are finite or truly infinite."""
    def slope(f, x):
        return de.grad(f, method=method)(x)
    assert slope(sc.gammaln, 1e300) == pytest.approx(np.log(1e300), rel=1e-15) and slope(sc.psi, 1e300) == pytest.approx(1e-300, rel=1e-15)
    assert slope(sc.gammaln, 1e-300) == pytest.approx(-1e300, rel=1e-15) and slope(sc.psi, 1e-100) == pytest.approx(1e200, rel=1e-15)
    assert slope(sc.gammaln, 0.0) == -np.inf and np.isnan(slope(sc.gammaln, -2.0)) and np.isnan(slope(sc.gammaln, np.nan))
    assert slope(sc.gammaln, np.inf) == np.inf and slope(sc.psi, np.inf) == 0 and slope(sc.psi, -1.0) == np.inf
    assert slope(lambda q: sc.zeta(3, q), 2.0) == pytest.approx(-3 * sc.zeta(4, 2.0), rel=1e-15)
    assert np.isnan(slope(lambda q: sc.zeta(2.5, q), -0.5))


def test_the_first_operand_of_zeta_is_held():
    q = np.array([1.0, 2.5])
    for method in METHODS:
        with pytest.raises(NotImplementedError, match=r"'zeta' has no derivative by operand 0 at test_gamma.py:\d+: .*hold the operand constant"):
            de.grad(lambda s: np.sum(sc.zeta(s, q)), method=method)(2.5)
        with pytest.raises(NotImplementedError, match="hold the operand constant"):
            de.grad(lambda s: np.sum(sc.zeta(s, q * s)), method=method)(2.5)
        assert de.grad(lambda s: np.sum(sc.zeta(de.stop_gradient(s), q * s)), method=method)(2.5) == pytest.approx(np.sum(q * -2.5 * sc.zeta(3.5, q * 2.5)))
        assert de.grad(lambda s, q: sc.zeta(s, q), 1, method=method)(2.5, 2.0) == pytest.approx(-2.5 * sc.zeta(3.5, 2.0))
        f = de.jit(de.grad(lambda s: np.sum(sc.zeta(s, q)), method=method))
        with pytest.raises(NotImplementedError, match="hold the operand constant"):
            f(2.5)
        with pytest.raises(NotImplementedError, match="hold the operand constant"):
            de.parse("zeta(s, q)").derivative("s", method=method)
    assert de.jit(lambda s, q: sc.zeta(s, q))(2.5, q) == pytest.approx(sc.zeta(2.5, q), rel=1e-15)


# ---- what is made of them ----------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("span", [(0.05, 6), (6, 60), (100, 1e9)])
def test_beta_and_its_logarithm(span):
    random = np.random.default_rng(2)
    x, y = random.uniform(0.05, 8, 200), random.uniform(*span, 200)
    with mpmath.workdps(40):
        want = np.array([float(mpmath.loggamma(a) + mpmath.loggamma(b) - mpmath.loggamma(mpmath.mpf(a) + b)) for a, b in zip(x, y)])
        slope = np.array([float(mpmath.digamma(b) - mpmath.digamma(mpmath.mpf(a) + b)) for a, b in zip(x, y)])
        whole = np.array([float(mpmath.beta(a, b)) for a, b in zip(x, y)])
    for f in (de.special.betaln, lambda *z: de.vjp(sc.betaln, *z)[0], de.jit(sc.betaln)):
        np.testing.assert_allclose(f(x, y), want, rtol=1e-14, atol=2e-14)
    for f in (de.special.beta, lambda *z: de.vjp(sc.beta, *z)[0], de.jit(sc.beta)):
        np.testing.assert_allclose(f(x, y), whole, rtol=1e-13 if span[1] < 100 else 2e-13)
    for method in METHODS:
        np.testing.assert_allclose(de.grad(lambda y: np.sum(sc.betaln(x, y)), method=method)(y), slope, rtol=1e-13)
        np.testing.assert_allclose(de.grad(lambda y: np.sum(sc.beta(x, y)), method=method)(y), slope * whole, rtol=3e-13)


def test_beta_of_negative_numbers():
    x, y = np.array([-0.5, -2.5, 1.5, -30.25, np.nan]), np.array([2.25, -0.75, -3.3, 20.5, 1.0])
    np.testing.assert_allclose(de.vjp(sc.beta, x, y)[0], sc.beta(x, y), rtol=1e-12)
    np.testing.assert_allclose(de.vjp(sc.betaln, x, y)[0], sc.betaln(x, y), rtol=1e-12)


def test_polygamma():
    x = np.array([0.3, 1.0, 4.5, -1.5])
    for n in (0, 1, 2, 5, np.array([0, 1, 2, 3]), np.array([1, 2, 3, 4])):
        np.testing.assert_allclose(de.special.polygamma(n, x), sc.polygamma(n, x), rtol=1e-14)
        for method in METHODS:
            np.testing.assert_allclose(de.grad(lambda x: np.sum(de.special.polygamma(n, x)), method=method)(x), sc.polygamma(np.add(n, 1), x), rtol=1e-13)
    for n in (-1, 0.5, "x"):
        with pytest.raises(ValueError, match="no whole number"):
            de.special.polygamma(n, x)
    with pytest.raises(TypeError, match="use diffeng.special.polygamma"):
        de.grad(lambda x: sc.polygamma(1, x))(2.0)


def test_multigammaln_and_the_others():
    a = np.array([3.0, 7.25])
    np.testing.assert_allclose(de.special.multigammaln(a, 3), sc.multigammaln(a, 3), rtol=1e-15)
    np.testing.assert_allclose(de.grad(lambda a: np.sum(de.special.multigammaln(a, 3)))(a), sum(sc.psi(a - j / 2) for j in range(3)), rtol=1e-15)
    with pytest.raises(ValueError, match="no whole number"):
        de.special.multigammaln(a, 1.5)
    assert sc.digamma is sc.psi and de.special.digamma is de.special.psi


LIKELIHOODS = {
    "poisson": (lambda mu, k: np.sum(sc.xlogy(k, mu) - mu - sc.gammaln(k + 1)), (2.5, np.array([0.5, 3.0, 7.0]))),
    "gamma": (lambda a, b, x: np.sum(sc.xlogy(a, b) - sc.gammaln(a) + (a - 1) * np.log(x) - b * x), (2.5, 1.5, np.array([0.5, 3.0, 7.0]))),
    "beta": (lambda a, b, x: np.sum((a - 1) * np.log(x) + (b - 1) * np.log1p(-x) - sc.betaln(a, b)), (2.5, 40.0, np.array([0.5, 0.3, 0.7]))),
    "dirichlet": (lambda a, p: sc.gammaln(np.sum(a)) - np.sum(sc.gammaln(a)) + np.sum((a - 1) * np.log(p)), (np.array([0.7, 2.0, 30.0]), np.array([0.2, 0.3, 0.5]))),
    "negative binomial": (lambda r, p, k: np.sum(sc.gammaln(k + r) - sc.gammaln(k + 1) - sc.gammaln(r) + r * np.log(p) + k * np.log1p(-p)),
                          (3.5, 0.3, np.array([1.0, 4.0, 2.0]))),
    "student": (lambda v, x: np.sum(sc.gammaln((v + 1) / 2) - sc.gammaln(v / 2) - np.log(np.pi * v) / 2 - (v + 1) / 2 * np.log1p(x * x / v)),
                (4.5, np.array([0.1, -2.0, 1.5]))),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_likelihoods(name):
    f, arguments = LIKELIHOODS[name]
    report = de.compare(f, *arguments)
    assert report.agree, report
    h = de.hessian(f)(*arguments)
    np.testing.assert_allclose(de.jit(de.hessian(f))(*arguments), h, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(de.hessian(f, method="symbolic")(*arguments), h, rtol=1e-12, atol=1e-14)


# ---- as text ------------------------------------------------------------------------------------------------------------------------------------

def test_formulas():
    graph = de.parse("gammaln(x) + gamma(x)*psi(y) - zeta(3, y)")
    assert graph.formula() == "gammaln(x) + gamma(x)·psi(y) − zeta(3, y)"
    assert graph.latex().count("\\Gamma") == 2 and "\\psi" in graph.latex() and "\\zeta" in graph.latex()
    x, y = 2.5, 0.75
    want = sc.gammaln(x) + sc.gamma(x) * sc.psi(y) - sc.zeta(3, y)
    assert float(graph(x, y)) == pytest.approx(want, rel=1e-15)
    import sympy as sp
    expression = graph.sympy()
    assert float(expression.subs({"x": x, "y": y})) == pytest.approx(want, rel=1e-13)
    a, b = sp.symbols("x y")
    assert float(de.from_sympy(sp.diff(expression, b).subs(sp.Symbol("y"), b), inputs=[a, b])(x, y)) == pytest.approx(
        sc.gamma(x) * sc.zeta(2, y) + 3 * sc.zeta(4, y), rel=1e-14)


@pytest.mark.parametrize("x", [3.0, 20.0])
def test_second_derivatives_of_betaln_of_equal_operands(x):
    """psi'(x) - psi'(x + y), and -psi'(x + y) mixed."""
    own, both = (sc.polygamma(1, v) for v in (x, 2 * x))
    for method in ("symbolic", "forward", "reverse"):
        found = de.hessian(lambda v: sc.betaln(v[0], v[1]), method=method)(np.array([x, x]))
        np.testing.assert_allclose(found, [[own - both, -both], [-both, own - both]], rtol=1e-10)
