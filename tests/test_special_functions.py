"""Inverses of the error function, exponential integrals, incomplete gamma and beta functions, Bessel functions: SciPy's values, two derivatives by all methods,
compiled programs, ends of domains, orders that are held."""
import numpy as np
import pytest
import scipy.special as sc

import diffeng as de
from diffeng.kernels.cuda.simulator import Simulator
from diffeng.kernels.scalar import FLOAT
from diffeng.vocabulary import PRIMITIVES
from test_elementary import TYPES, kernel, same
from test_kernels import compiled

METHODS = "reverse", "forward", "symbolic"
FAR = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.5, -1.0, 1.0, 2.0, 2.5, 30.0, 1e3, 1e5])
BESSEL = np.array([0.3, 2.0, 7.5, 40.0])
UNIT = np.array([0.05, 0.3, 0.75, 0.99])

# name: (the function of x, points in the midst of its domain)
ONE = {
    "erfinv": (sc.erfinv, 2 * UNIT - 1), "erfcinv": (sc.erfcinv, np.array([1e-100, 0.2, 1.0, 1.5])), "ndtri": (sc.ndtri, np.array([1e-100, 0.2, 0.5, 0.999])),
    "erfcx": (sc.erfcx, np.array([-2.0, 0.0, 0.7, 6.0])), "dawsn": (sc.dawsn, np.array([-2.0, 0.0, 0.7, 6.0])),
    "exp1": (sc.exp1, np.array([1e-3, 0.5, 9.0])), "expi": (sc.expi, np.array([-4.0, -0.1, 0.5, 9.0])), "rgamma": (sc.rgamma, np.array([-3.0, -1.3, 0.0, 0.5, 6.5, 100.0])),
    "ellipk": (sc.ellipk, np.array([-30.0, -0.5, 0.0, 1e-9, 0.5, 0.9999])), "ellipe": (sc.ellipe, np.array([-30.0, -0.5, 0.0, 1e-9, 0.5, 0.9999])),
    **{name: (getattr(sc, name), BESSEL) for name in "j0 j1 y0 y1 i0 i1 i0e i1e k0 k1 k0e k1e".split()},
}
HELD = {
    "gammainc": (lambda x: sc.gammainc(2.5, x), np.array([0.1, 2.0, 9.0])), "gammaincc": (lambda x: sc.gammaincc(30.0, x), np.array([20.0, 28.0, 50.0])),
    "gammainc of 500": (lambda x: sc.gammainc(500.0, x), np.array([440.0, 501.0, 540.0])),
    "gammainc of many": (lambda x: sc.gammainc(np.array([0.5, 1, 20]), x), np.array([0.3, 1.0, 25.0])),
    "betaincc": (lambda x: sc.betaincc(0.5, 2.5, x), UNIT), "betainc": (lambda x: sc.betainc(0.5, 2.5, x), UNIT), "betainc of 400": (lambda x: sc.betainc(400, 300.5, x), np.array([0.5, 0.55, 0.6])),
    "hyp2f1": (lambda x: sc.hyp2f1(0.5, 1.25, 2.5, x), np.array([-3.0, 0.0, 0.5, 0.95])), "expn": (lambda x: sc.expn(3, x), np.array([0.1, 2.0, 9.0])), "yn": (lambda x: sc.yn(3, x), BESSEL), "jn": (lambda x: sc.jn(2, x), np.array([-1.0, 0.0, 3.0])),
    **{name: (lambda x, f=getattr(sc, name): f(1.75, x), BESSEL) for name in "jv yv iv ive kv kve".split()},
}
ALL = {**ONE, **HELD}


def close(got, want, units):
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=units * np.finfo(want.dtype).eps, atol=units * np.finfo(want.dtype).tiny)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ONE)
def test_values_are_scipys(name, dtype):
    f = ONE[name][0]
    with np.errstate(all="ignore"):
        for x in (ONE[name][1].astype(dtype), (FAR[FAR < 1e3] if name[0] in "jy" else FAR).astype(dtype)):
            want = f(x)
            x, want = x[(x != -np.inf) | ~np.isfinite(want) | (want == 0)], want[(x != -np.inf) | ~np.isfinite(want) | (want == 0)]
            close(de.vjp(f, x)[0], want, 250 if name[0] in "jy" else 4)


@pytest.mark.parametrize("name", "jv yv iv ive kv kve yn gammainc gammaincc expn".split())
def test_values_of_many_orders(name):
    f = getattr(sc, name)
    with np.errstate(all="ignore"):
        for order in (0, 1, 2, 5) + (() if name in ("yn", "expn") else (0.5, 3.25)):
            x = np.array([0.0, np.nan, -1.5, 0.2, 2.5, 30.0])
            close(de.vjp(lambda x: f(order, x), x)[0], f(order, x), 60)


@pytest.mark.parametrize("name", ALL)
def test_two_derivatives(name):
    f, x = ALL[name]
    weights = np.arange(1.0, x.size + 1)
    report = de.compare(lambda x: np.sum(f(x) * weights), x)
    assert report.agree, report
    slope = de.grad(lambda x: np.sum(f(x)))
    if name not in ("rgamma", "jn"):                     # next to a zero of its own a term of the second derivative has a kink, or the judge no digits
        report = de.compare(lambda x: np.sum(slope(x) * weights), x)
        assert report.agree, report
    for method in METHODS:
        np.testing.assert_allclose(de.grad(lambda x: np.sum(f(x)), method=method)(x.astype(np.float32).astype(float)), slope(x.astype(np.float32).astype(float)), rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("name", ALL)
def test_compiled(name):
    f, x = ALL[name]
    for x in (x, x.astype(np.float32)):
        with np.errstate(all="ignore"):
            (value, slope), (want, wanted) = de.jit(de.value_and_grad(lambda x: np.sum(f(x))))(x), de.value_and_grad(lambda x: np.sum(f(x)))(x)
        units = 50 * np.finfo(x.dtype).eps
        np.testing.assert_allclose(value, want, rtol=units)
        np.testing.assert_allclose(slope, wanted, rtol=units, atol=units * 1e-3)
        assert slope.dtype == x.dtype


def test_kernels_call_scipys_functions():
    """By address; what SciPy has no function for, an order of n < 0 say, is NumPy's."""
    x = np.random.default_rng(1).uniform(0.05, 0.95, 3000)
    every = [sc.erfinv, sc.erfcinv, sc.erfcx, sc.dawsn, sc.expi, sc.exp1, sc.j1, sc.i0, sc.k1e, lambda x: sc.jv(2.5 * x, x), lambda x: sc.yv(2, x), lambda x: sc.iv(3, x),
             lambda x: sc.ive(x, x), lambda x: sc.kv(x, 2.0), lambda x: sc.kve(-1, x), lambda x: sc.expn(4, x), lambda x: sc.gammainc(x, 2.0), lambda x: sc.gammaincc(2, x),
             lambda x: sc.betainc(2, x + 1, x)]
    for x in (x, x.astype(np.float32)):
        program = compiled(lambda x: [f(x) for f in every], x)
        assert not program.calls
        for f, got in zip(every, program(x)):
            close(got, f(x).astype(got.dtype), 100 if f is every[-1] else 16)             # (of float32 SciPy's betainc loses digits)
    assert compiled(lambda x: [de.special.expn(-1, x)], x).calls == ["expn"]


@pytest.mark.parametrize("T", TYPES)
def test_densities(T):
    """Kernels beside NumPy, which test_precise.py compares with the truth; at the ends, too."""
    random, dtype = np.random.default_rng(5), TYPES[T]
    with np.errstate(all="ignore"):
        a, x = (v.ravel() for v in np.meshgrid([-0.5, 0, 0.5, 1, 2, 16, 17, 1e5], [0, 1e-3, 1, 15, 1600, np.inf, np.nan, -1]))
        a, x = (np.concatenate(v).astype(dtype) for v in ((a, random.uniform(0.1, 60, 1000)), (x, random.uniform(0, 80, 1000))))
        assert same(kernel(FLOAT["gamma_density"], T, 2)(a, x), PRIMITIVES["gamma_density"](a, x), 200).all()
        a, b, x = (v.ravel() for v in np.meshgrid([0, 0.5, 1, 16, 400], [0, 0.5, 1, 17, 1e5], [0, 1e-9, 0.5, 1, -0.1, 1.1, np.nan]))
        a, b, x = (np.concatenate((v, random.uniform(0.1, high, 1000))).astype(dtype) for v, high in ((a, 60), (b, 60), (x, 1)))
        assert same(kernel(FLOAT["beta_density"], T, 3)(a, b, x), PRIMITIVES["beta_density"](a, b, x), 400).all()


def test_a_gpu_leaves_them_to_the_host(simulated, monkeypatch):
    monkeypatch.setattr(Simulator, "distant", True)
    x = np.array([0.2, 0.4, 0.7])
    f = lambda x: np.sum(sc.jv(2, x) * x)          # noqa: E731
    with pytest.warns(UserWarning, match="jv.*: computed on the host"):
        value, slope = de.jit(de.value_and_grad(f), device="cuda")(x)
    np.testing.assert_allclose(slope, de.grad(f)(x), rtol=1e-14)
    assert value == pytest.approx(f(x), rel=1e-14)


def test_vmap_and_scan():
    x = np.array([0.3, 1.5, 2.5])
    np.testing.assert_allclose(de.vmap(de.grad(lambda x: sc.jv(1, x) * sc.gammainc(2.0, x)))(x), de.grad(lambda x: np.sum(sc.jv(1, x) * sc.gammainc(2.0, x)))(x))
    many = de.jit(de.grad(lambda x: de.scan(lambda c, t: (c + sc.j0(c * t), None), x, np.arange(3.0))[0]))

    def loop(x):
        for t in range(3):
            x = x + sc.j0(x * t)
        return x
    np.testing.assert_allclose(many(0.7), de.grad(loop)(0.7), rtol=1e-14)


# the derivative at the ends of a domain, where it is finite or truly infinite
ENDS = [(sc.erfinv, 1.0, np.inf), (sc.erfinv, 0.0, np.sqrt(np.pi) / 2), (sc.erfcinv, 0.0, -np.inf), (sc.ndtri, 1.0, np.inf), (sc.j0, 0.0, 0.0), (sc.j1, 0.0, 0.5),
        (sc.i1, 0.0, 0.5), (sc.i0e, 0.0, 0.0), (sc.y0, 0.0, np.inf), (sc.k0, 0.0, -np.inf), (sc.rgamma, 0.0, 1.0), (sc.rgamma, -1.0, -1.0), (sc.rgamma, -4.0, 24.0),
        (sc.exp1, 0.0, -np.inf), (lambda x: sc.gammainc(1.0, x), 0.0, 1.0), (lambda x: sc.gammainc(0.5, x), 0.0, np.inf), (lambda x: sc.gammainc(3.0, x), 0.0, 0.0),
        (lambda x: sc.gammaincc(2.0, x), np.inf, 0.0), (lambda x: sc.betainc(1.0, 3.0, x), 0.0, 3.0), (lambda x: sc.betainc(2.0, 3.0, x), 1.0, 0.0),
        (sc.erfinv, 1.5, np.nan), (sc.k0, -1.0, np.nan), (lambda x: sc.jv(0.5, x), -1.0, np.nan), (sc.erfcx, np.nan, np.nan), (lambda x: sc.betainc(2.0, 3.0, x), 1.5, np.nan)]


@pytest.mark.parametrize("method", METHODS)
def test_slopes_at_the_ends(method):
    for f, x, want in ENDS:
        np.testing.assert_allclose(de.grad(f, method=method)(x), want, rtol=1e-14, atol=1e-300)
    second = de.grad(de.grad(lambda x: sc.gammainc(2.0, x), method=method), method=method)
    assert second(0.0) == 1 and de.grad(de.grad(sc.rgamma, method=method), method=method)(0.0) == pytest.approx(2 * np.euler_gamma, rel=1e-14)
    third = de.grad(de.grad(de.grad(sc.erfinv, method=method), method=method), method=method)
    assert third(0.0) == pytest.approx(np.pi ** 1.5 / 4, rel=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_orders_are_held(method):
    for name in "jv yv iv ive kv kve gammainc gammaincc expn".split():
        with pytest.raises(NotImplementedError, match=rf"'{name}' has no derivative by operand 0 at test_special_functions.py:\d+: .*hold the operand constant"):
            de.grad(lambda v: np.sum(getattr(sc, name)(v, np.array([0.5, 1.5]))), method=method)(2.0)
    for k in (0, 1):
        with pytest.raises(NotImplementedError, match=f"'betainc' has no derivative by operand {k}"):
            de.grad(lambda a, b: sc.betainc(a, b, 0.3), k, method=method)(2.0, 3.0)
    assert de.grad(lambda a, x: sc.gammainc(a, x), 1, method=method)(2.0, 1.5) == pytest.approx(1.5 * np.exp(-1.5), rel=1e-14)


def test_what_they_look_like():
    graph = de.trace(lambda x: sc.j0(x) * sc.gammaincc(1.25, x) - sc.erfinv(x), 0.5)
    assert graph.formula() == "jv(0, x)·gammaincc(1.25, x) − erfinv(x)"
    assert r"J_{0}\left(x\right)" in graph.latex() and r"Q\left(1.25, x\right)" in graph.latex() and r"\operatorname{erf}^{-1}" in graph.latex()
    assert str(graph.sympy()) == "besselj(0, x)*uppergamma(5/4, x)/gamma(5/4) - erfinv(x)"
    assert "special.jv(0, " in graph.source() and "special.gammaln" in graph.derivative("x").source()
    for language in ("numba", "c"):
        with pytest.raises(TypeError, match="jv .*has no words"):
            graph.source(language)
    assert de.parse("expn(2, x)*iv(1, x)")(0.5) == pytest.approx(sc.expn(2, 0.5) * sc.iv(1, 0.5), rel=1e-15)


@pytest.mark.parametrize("name, orders", [(n, ()) for n in "j0 j1 y0 y1 i0 i1 erfinv erfcinv rgamma".split()] + [(n, (2,)) for n in "jn yn iv ive gammainc gammaincc".split()]
                         + [("betainc", (2.0, 3.5)), ("multigammaln", ())])
def test_beside_autograd(name, orders):
    autograd = pytest.importorskip("autograd")
    other = pytest.importorskip("autograd.scipy.special")
    x = np.array([0.15, 0.4, 0.85])
    if name == "multigammaln":
        mine, theirs, x = lambda a: de.special.multigammaln(a, 3), lambda a: other.multigammaln(a, 3), 3.5
    else:
        mine, theirs = lambda x: np.sum(getattr(sc, name)(*orders, x)), lambda x: autograd.numpy.sum(getattr(other, name)(*orders, x))
    np.testing.assert_allclose(de.grad(mine)(x), autograd.grad(theirs)(x), rtol=1e-11)


@pytest.mark.parametrize("name, fixed", [("betaln", (2.5,)), ("beta", (2.5,)), ("rgamma", ()), ("log_ndtr", ())])
def test_what_holds_for_all_numbers_at_hand_is_computed_alone(name, fixed):
    """Not under jit, where the recording is for others, too. The same numbers to some bits as among those for which something else is computed."""
    f = getattr(de.special, name)
    near, far = np.array([0.7, 1.5, 3.0]), np.array([0.7, 1.5, 3.0, -40.0 if name == "log_ndtr" else 40.0])

    def total(x):
        return np.sum(f(*fixed, x))
    assert len(de.trace(total, near).nodes) == len(de.trace(total, far).nodes)                   # a graph holds for other numbers, too
    calls, original = [], de.nodes.Tracing.apply
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(de.nodes.Tracing, "apply", lambda self, *call: calls.append(call[0]) or original(self, *call))
        slopes = de.grad(total)(near)
        few = len(calls)
        among = de.grad(total)(far)
    assert few < (len(calls) - few) / 2
    np.testing.assert_allclose(slopes, among[:3], rtol=1e-13)
    np.testing.assert_allclose(de.jit(de.grad(total))(near), slopes, rtol=1e-13)
    np.testing.assert_allclose(f(*fixed, near), getattr(sc, name)(*fixed, near), rtol=1e-14)
    np.testing.assert_allclose(de.hessian(total)(near), de.hessian(total)(far)[:3, :3], rtol=1e-11)


@pytest.mark.parametrize("method", METHODS)
def test_logsumexp_with_a_sign(method):
    a, b = np.array([[0.5, -1.0, 700.0], [2.0, 0.3, 710.0]]), np.array([[1.0, -2.0, 1.0], [-3.0, 0.5, 0.0]])
    for options in ({"axis": 0, "b": b}, {"axis": 1, "b": b, "keepdims": True}, {"b": -b}, {"axis": 1}):
        for got in (de.vjp(lambda a: de.special.logsumexp(a, return_sign=True, **options), a)[0], de.jit(lambda a: de.special.logsumexp(a, return_sign=True, **options))(a)):
            for g, w in zip(got, sc.logsumexp(a, return_sign=True, **options), strict=True):
                np.testing.assert_allclose(g, w, rtol=1e-13)
    slope = de.grad(lambda a: np.sum(de.special.logsumexp(a, 0, b=b, return_sign=True)[0]), method=method)(a)
    weighted = b * np.exp(a - a.max(axis=0))
    np.testing.assert_allclose(slope, weighted / weighted.sum(axis=0), rtol=1e-12)
