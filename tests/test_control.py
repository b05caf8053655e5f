"""cond, while_loop, scan and jet, by every method, compiled and mapped."""
import math

import numpy as np
import pytest

import diffeng as de

METHODS = ("symbolic", "forward", "reverse")
RNG = np.random.default_rng(8)
W, XS = RNG.normal(size=(3, 3)), RNG.normal(size=(7, 3))


def choose(x):
    return de.cond(x > 0, lambda x, y: {"a": x ** 2 * y}, lambda x, y: {"a": -x}, x, 3.0)["a"]


def root(a):
    return de.while_loop(lambda x: abs(x * x - a) > 1e-12, lambda x: (x + a / x) / 2, a)


def network(w, xs):
    """A recurrent network: a nested carry, an integer among it, and a closed-over argument."""
    def step(state, x):
        h = np.tanh(w @ state["h"] + x)
        return {"h": h, "count": state["count"] + 1}, (h, np.sum(h))
    state, (hs, sums) = de.scan(step, {"h": np.zeros(3), "count": 0}, xs)
    return np.sum(state["h"]) * state["count"] + np.sum(hs ** 2) + np.prod(sums)


def by_hand(w, xs):
    h, hs = np.zeros(3), []
    for x in xs:
        h = np.tanh(w @ h + x)
        hs.append(h)
    return np.sum(h) * len(xs) + np.sum(np.stack(hs) ** 2) + np.prod(np.stack([np.sum(h) for h in hs]))


# ---- cond -----------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", METHODS)
def test_cond(method):
    slope = de.grad(choose, method=method)
    assert (slope(2.0), slope(-2.0)) == (12.0, -1.0)
    assert de.compare(choose, 2.0).agree
    compiled = de.jit(slope)
    assert (compiled(2.0), compiled(-2.0), compiled.traces) == (12.0, -1.0, 2)
    np.testing.assert_array_equal(de.vmap(choose)(np.array([2.0, -2.0])), [12.0, 2.0])
    np.testing.assert_array_equal(de.vmap(slope)(np.array([2.0, -2.0])), [12.0, -1.0])


def test_cond_takes_one_branch():
    called = []
    assert de.cond(True, lambda x: called.append(x) or 5, lambda x: 1 / 0, 3) == 5 and called == [3]
    assert de.cond(np.array(0), lambda: 1, lambda: 2) == 2


def test_cond_errors():
    with pytest.raises(TypeError, match=r"cond at test_control\.py:\d+: the condition has shape \(2,\).*np\.where"):
        de.grad(lambda x: np.sum(de.cond(x > 0, lambda x: x, lambda x: -x, x)))(np.ones(2))
    with pytest.raises(TypeError, match="cond: false_fun must be a function, and is of type int"):
        de.cond(True, lambda: 1, 2)
    with pytest.raises(TypeError, match=r"cond at test_control\.py:\d+ of a condition that differs .* same shapes"):
        de.vmap(lambda x: de.cond(x > 0, lambda x: (x, x), lambda x: x, x))(np.ones(2))


# ---- while_loop -------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", METHODS)
def test_while_loop(method):
    assert de.grad(root, method=method)(2.0) == pytest.approx(0.5 / math.sqrt(2), rel=1e-14)
    compiled = de.jit(de.value_and_grad(root, method=method))
    for a in (2.0, 2.1, 1e4):                         # another number of turns is another recording
        assert compiled(a) == pytest.approx((math.sqrt(a), 0.5 / math.sqrt(a)), rel=1e-13)
    assert compiled.traces == 2
    np.testing.assert_allclose(de.vmap(de.grad(root, method=method))(np.array([2.0, 1e4])), [0.5 / math.sqrt(2), 0.005], rtol=1e-13)
    assert de.compare(root, 2.0).agree


def test_while_loop_keeps_what_it_turns():
    assert de.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * 2), (0, np.ones(2)))[1].tolist() == [8, 8]
    assert de.while_loop(lambda x: False, lambda x: 1 / 0, 4) == 4
    with pytest.raises(TypeError, match=r"while_loop at test_control\.py:\d+: <lambda> was given 1 value of shape \(2,\), and returned 1 value of shape \(4,\)"):
        de.grad(lambda x: np.sum(de.while_loop(lambda x: x[0] < 3, lambda x: np.concatenate([x, x]), x)))(np.ones(2))
    with pytest.raises(TypeError, match=r"while_loop.*condition has shape \(2,\)"):
        de.while_loop(lambda x: x < 3, lambda x: x + 1, np.ones(2))


# ---- scan -------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", METHODS)
def test_scan(method):
    assert network(W, XS) == pytest.approx(by_hand(W, XS), rel=1e-14)
    got, want = (de.grad(f, (0, 1), method=method)(W, XS) for f in (network, by_hand))
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    report = de.compare(network, W, XS)
    assert report.agree, str(report)


def test_scan_of_nothing_none_and_lengths():
    assert de.scan(lambda c, x: (c + 1, None), 0, None, length=4) == (4, None)
    carry, ys = de.scan(lambda c, x: (c * 2, c), 1.0, None, 3)
    assert carry == 8.0 and ys.tolist() == [1, 2, 4]
    assert de.scan(lambda c, x: (c, x), 5.0, np.zeros((0, 2)))[0] == 5.0
    with pytest.raises(ValueError, match=r"scan at .*shapes \(3,\), \(4,\)"):
        de.scan(lambda c, x: (c, x), 0.0, (np.ones(3), np.ones(4)))
    with pytest.raises(ValueError, match=r"scan.*no xs"):
        de.scan(lambda c, x: (c, x), 0.0, None)
    with pytest.raises(TypeError, match=r"scan at test_control\.py:\d+: <lambda> must return a pair"):
        de.grad(lambda x: de.scan(lambda c, x: c + x, 0.0, x)[0])(np.ones(3))
    with pytest.raises(TypeError, match=r"given 1 value of shape \(\), and returned 1 value of shape \(3,\)"):
        de.scan(lambda c, x: (x, x), 0.0, np.ones((2, 3)))


# ---- jet ------------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("function, derivatives, x", [
    (np.exp, [np.exp] * 5, 0.3), (np.sin, [np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin, np.cos], 0.7),
    (lambda x: 1 / x, [lambda x, n=n: (-1) ** n * math.factorial(n) / x ** (n + 1) for n in range(1, 6)], 1.7)])
def test_jet_along_a_line(function, derivatives, x):
    out, series = de.jet(function, (x,), ([1.0, 0.0, 0.0, 0.0, 0.0],))
    assert out == function(x)
    np.testing.assert_allclose(series, [d(x) for d in derivatives], rtol=1e-13)


def test_jet_along_a_curve():
    """f(x(t), y(t)) with x = 1 + 2t + 3t^2/2, y = 2 - t: a product of polynomials."""
    out, series = de.jet(lambda x, y: {"product": x * y, "both": np.stack([x, y])}, (1.0, 2.0), ([2.0, 3.0, 0.0], [-1.0, 0.0, 0.0]))
    assert out["product"] == 2.0
    np.testing.assert_allclose([s["product"] for s in series], [3.0, 2.0, -9.0])          # 2 + 3 t + t^2 - 3/2 t^3
    np.testing.assert_allclose([s["both"] for s in series], [[2, -1], [3, 0], [0, 0]])


def test_jet_can_be_differentiated_compiled_and_judged():
    def third(x):
        return np.sum(de.jet(lambda z: np.tanh(z) * z, (x,), ([np.ones(2), x, np.zeros(2)],))[1][2])
    x = np.array([0.3, -0.4])
    np.testing.assert_allclose(de.jit(de.grad(third))(x), de.grad(third)(x), rtol=1e-12)
    assert de.compare(third, x).agree
    single = de.jet(np.sin, (np.float32(0.3),), ([np.float32(1), np.float32(0)],))
    assert single[1][1].dtype == np.float32


def test_jet_errors():
    with pytest.raises(TypeError, match="jet: primals and series are tuples"):
        de.jet(np.sin, 0.3, [1.0])
    with pytest.raises(ValueError, match="jet: 1 primals and 2 series"):
        de.jet(np.sin, (0.3,), ([1.0], [1.0]))
    with pytest.raises(ValueError, match="jet: the series have 1, 2 terms"):
        de.jet(np.arctan2, (0.3, 1.0), ([1.0], [1.0, 2.0]))
    with pytest.raises(ValueError, match=r"jet at test_control\.py:\d+: argument 0 of sin has the shapes \[\(2,\)\]"):
        de.jet(np.sin, (np.ones(2),), ([np.ones(3)],))
