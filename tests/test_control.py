"""cond, while_loop, scan and jet, by every method, compiled and mapped."""
import math

import numpy as np
import pytest
from scipy import special

import diffeng as de
from diffeng.kernels import repeated, turns
from diffeng.trees import flatten

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


@pytest.mark.parametrize("method", METHODS)
def test_slopes_of_the_branch_not_taken_stay_out(method):
    """The slope of sqrt is infinite at 0, and NaN below."""
    def f(x):
        return de.cond(x > 0, lambda a: np.sqrt(a["x"]) * a["k"], lambda a: -a["x"] ** 2, {"x": x, "k": 3})

    x = np.array([-2.0, 0.0, 4.0])
    with np.errstate(all="ignore"):
        slope = de.vmap(de.grad(f, method=method))
        total = de.grad(lambda x: np.sum(de.vmap(f)(x)), method=method)
        curve = de.vmap(de.grad(de.grad(f, method=method), method=method))
        for g in (slope, total):
            np.testing.assert_array_equal(g(x), [4, 0, 0.75])
            np.testing.assert_array_equal(de.jit(g)(x), [4, 0, 0.75])
        for g in (curve, de.jit(curve)):
            np.testing.assert_array_equal(g(x), [-2, -2, -3 / 32])


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
    for a in (2.0, 2.1, 1e4):
        assert compiled(a) == pytest.approx((math.sqrt(a), 0.5 / math.sqrt(a)), rel=1e-13)
    assert compiled.traces == 1                       # however often it turns
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


# ---- scan as one operation -----------------------------------------------------------------------------------------------------------

LONG = RNG.normal(size=(20, 3))


def programs(compiled):
    return [t.program for traces in compiled._traces.values() for t in traces]


def calls(compiled):
    return [name for program in programs(compiled) for name in program.calls]


@pytest.mark.parametrize("method", METHODS)
def test_a_compiled_scan_is_one_operation(method):
    chosen, counts = (0,) if method == "forward" else (0, 1), set()
    for n in (200, 400):                                 # however long
        xs = RNG.normal(size=(n, 3)) * 0.3
        compiled = de.jit(de.value_and_grad(network, chosen, method=method))
        value, gradient = compiled(W, xs)
        want, slopes = de.value_and_grad(by_hand, chosen)(W, xs)
        assert value == pytest.approx(want, rel=1e-13)
        for a, b in zip(gradient, slopes):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)
        assert calls(compiled) == []
        counts |= {p.kernels for p in programs(compiled)}
    assert len(counts) == 1 and counts.pop() < 40
    for n in (1000, 7, 5, 3, 2, 1):
        before, xs = de.kernels.compilations, RNG.normal(size=(n, 3)) * 0.3
        got, want = (f(W, xs) for f in (de.jit(de.value_and_grad(network, chosen, method=method)), de.value_and_grad(by_hand, chosen)))
        np.testing.assert_allclose(got[1][0], want[1][0], rtol=1e-10, atol=1e-13)
        assert de.kernels.compilations == before or n < 4           # another length compiles nothing (but what is as long as the state, or 1)


ROWS = {"as made": lambda x: x, "backwards": lambda x: x[::-1], "one for all": lambda x: np.broadcast_to(x[:1], x.shape), "columns": lambda x: np.asarray(x, order="F"),
        "every second": lambda x: np.repeat(x, 2, 0)[::2], "float32": lambda x: x.astype(np.float32)}


@pytest.mark.parametrize("through, most, longest", [(lambda c, x: c, turns.MOST_BYTES, 1e8), (lambda c, x: c, 0, 1e8), (lambda c, x: c, 0, 0.0),
                                                    (lambda c, x: np.linalg.solve(np.eye(2) * 3 + x[0] ** 2, c), 0, 1e8),
                                                    (lambda c, x: np.linalg.eigh(np.eye(2) * 3 + x[0] ** 2)[0] * c * 0.1, 0, 1e8)],
                         ids=["one kernel", "kernels", "Python between calls", "LAPACK", "NumPy in between"])
@pytest.mark.parametrize("rows", ROWS)
def test_turns_without_python_between(monkeypatch, rows, through, most, longest):
    """Rows that lie anyhow, an even and an odd number of turns, more of them than are made together; a carry of several arrays and numbers."""
    def body(state, item):
        (c, t), (x, w) = state, item
        new = through(np.sin(c) * 0.5 + x[:2] * w, x)
        return (new, t + new[0] * w), (c + w, t)

    def f(start, xs, ws):
        (c, t), (ys, ts) = de.scan(body, (start, 0.25), (xs, ws))
        return c * t, ys, ts * 2, xs[:, 0]
    monkeypatch.setenv("DIFFENG_CACHE", "off")          # where plans are kept
    monkeypatch.setattr(turns, "MOST_BYTES", most)
    monkeypatch.setattr(repeated, "LONGEST", longest)
    compiled, rng = de.jit(f), np.random.default_rng(9)
    for n in (1, 2, 8, 9, 257, 600):
        xs, ws, start = ROWS[rows](rng.normal(size=(n, 3))), rng.normal(size=n)[::-1], np.array([0.1, -0.2])
        for got, want in zip(compiled(start, xs, ws), f(start, xs, ws)):
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=1e-6 if rows == "float32" else 1e-12, atol=1e-14)
        assert ("scan" in calls(compiled)) == (not longest or "eigh" in through.__code__.co_names)


def test_an_index_out_of_range_in_one_of_many_turns():
    f = de.jit(lambda x, i: de.scan(lambda c, k: (c + x[k], c), 0.0, i)[0])
    i = np.arange(300) % 4
    assert f(np.ones(4), i) == 300
    i[100] = 4
    with pytest.raises(IndexError, match=r"getitem at test_control\.py:\d+: an index is out of bounds"):
        f(np.ones(4), i)
    assert f(np.ones(4), i % 4) == 300


def test_second_derivatives_through_a_scan():
    product = lambda w: de.hvp(lambda w: network(w, LONG * 0.3), (w,), (np.ones((3, 3)),))[1]          # noqa: E731
    np.testing.assert_allclose(de.jit(product)(W), product(W), rtol=1e-10)
    for method in METHODS:
        np.testing.assert_allclose(de.jit(de.grad(lambda w: np.sum(de.grad(network)(w, LONG * 0.3)), method=method))(W),
                                   de.grad(lambda w: np.sum(de.grad(by_hand)(w, LONG * 0.3)))(W), rtol=1e-9)
    jacobian = lambda x: de.jacobian(lambda x: de.scan(lambda h, a: (np.sin(h) * a + h, h), x, LONG[:, 0])[1], method="forward")(x)          # noqa: E731
    np.testing.assert_allclose(de.jit(jacobian)(np.ones(2)), jacobian(np.ones(2)), rtol=1e-12)


def test_scans_inside_of_scans_and_functions_in_them():
    @de.custom
    def double(x):
        return 2 * x
    double.pull(lambda x, out, g: 2 * g)

    def inner(c, x):
        return de.scan(lambda d, k: (d + np.sin(d * k) * double(x), d), c, np.linspace(0, 0.3, 9))

    def outer(c, xs):
        total, rows = de.scan(lambda c, x: (inner(c, x)[0], de.checkpoint(lambda c: np.sum(inner(c, x)[1]))(c)), c, xs)
        return np.sum(total) + np.sum(rows ** 2)
    args = np.array([0.3, 0.4]), np.linspace(0.1, 0.5, 10)
    want = de.grad(outer, (0, 1))(*args)
    compiled = de.jit(de.grad(outer, (0, 1)))
    for a, b in zip(compiled(*args), want):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    assert set(calls(compiled)) <= {"astype"}
    assert de.compare(lambda c: outer(c, args[1][:3]), args[0]).agree


def test_what_is_turned_one_by_one():
    """Few turns, a body that looks at values, a carry that changes its dtype, examples of a vmap: the same numbers."""
    def looks(x):
        return np.sum(de.scan(lambda c, a: (c * a if a > 0 else c + a, c), x, LONG[:, 0])[1])

    def widens(x):
        return de.scan(lambda c, a: (c + a, c), 0.0, x)[0]

    def counts(x):
        return np.sum(de.scan(lambda c, a: (c + 1, a * c), 1, x)[1])
    single = LONG[:, 1].astype(np.float32)
    for f, x in ((looks, np.ones(2)), (widens, single), (counts, single), (widens, LONG[:, 1]), (counts, LONG[:, 1]), (widens, LONG[:3, 1])):
        got, want = de.jit(f)(x), f(x)
        assert got.dtype == np.asarray(want).dtype, f.__name__
        np.testing.assert_allclose(got, want, rtol=1e-6 if got.dtype == np.float32 else 1e-13)
    for constant in (3, True):                                           # Python's numbers have a dtype, too
        def fixes(x):
            return np.sum(de.scan(lambda c, a: (constant, c * a), 0.5, x)[1])
        np.testing.assert_allclose(de.jit(fixes)(LONG[:, 1]), fixes(LONG[:, 1]), rtol=1e-13)
        np.testing.assert_allclose(de.jit(de.grad(fixes))(LONG[:, 1]), de.grad(fixes)(LONG[:, 1]), rtol=1e-13)
    assert set(de.jit(lambda x: de.scan(lambda c, a: (c + a, "a word"), 0.5, x)[1])(LONG[:, 1])) == {"a word"}
    stack = np.stack([LONG, LONG + 0.1]) * 0.3
    np.testing.assert_allclose(de.jit(de.vmap(lambda xs: network(W, xs)))(stack), [by_hand(W, xs) for xs in stack], rtol=1e-12)
    compiled = de.jit(lambda x: de.scan(lambda c, a: (np.zeros(2), c + a), x, LONG[:, :2])[1])          # a carry that is constant from the first turn on
    np.testing.assert_array_equal(compiled(np.ones(2))[:3], np.array([[1, 1], [0, 0], [0, 0]]) + LONG[:3, :2])


SHARED = {"all": (0, 0, 0), "weights": (None, 0, 0), "rows": (0, None, 0), "start": (0, 0, None), "rows and start": (0, None, None)}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shared", SHARED)
def test_a_scan_of_many_examples_is_one_operation(shared, method):
    def f(w, xs, start):
        def step(state, x):
            h = np.tanh(w @ state[0] + x)
            return (h, state[1] + 1), (np.sum(h * h), x[0] * state[1])
        (h, n), (a, b) = de.scan(step, (start, 0), xs)
        return np.sum(h) * n + np.sum(a) + np.sum(b * a)
    every = W + RNG.normal(size=(4, 3, 3)) * 0.1, RNG.normal(size=(4, 12, 3)), RNG.normal(size=(4, 3))
    args = [x if axis == 0 else x[0] for x, axis in zip(every, SHARED[shared])]
    one = de.value_and_grad(f, (0,) if method == "forward" else (0, 1, 2))
    want = [one(*[x[k] if axis == 0 else x for x, axis in zip(args, SHARED[shared])]) for k in range(4)]
    gradient = de.value_and_grad(f, (0,) if method == "forward" else (0, 1, 2), method=method)
    compiled = de.jit(de.vmap(gradient, SHARED[shared]))
    value, slopes = compiled(*args)
    np.testing.assert_allclose(value, [v for v, _ in want], rtol=1e-12)
    for k, slope in enumerate(slopes):
        np.testing.assert_allclose(slope, [g[k] for _, g in want], rtol=1e-10, atol=1e-13)
    assert "scan" not in calls(compiled) and programs(compiled)[0].kernels < 80
    total = de.jit(de.grad(lambda *args: np.sum(de.vmap(f, SHARED[shared])(*args))))(*args)          # and the other way round
    np.testing.assert_allclose(total, np.sum([g[0] for _, g in want], 0) if SHARED[shared][0] is None else [g[0] for _, g in want], rtol=1e-10, atol=1e-13)


def test_integers_keep_their_digits():
    f = lambda i: de.scan(lambda c, a: (a, c), np.int64(0), i)          # noqa: E731
    i = np.arange(10) + 2 ** 60
    for got, want in zip(de.jit(f)(i), f(i)):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)

    def hashed(x):
        return de.scan(lambda c, a: ((c[0] * 69069 % 2 ** 40 + 1, c[1] + a * (c[0] % 7)), None), (np.int64(12345), 0.0 * x[0]), x)[0][1]
    x = np.ones(20)
    for method in METHODS:
        np.testing.assert_array_equal(de.jit(de.grad(hashed, method=method))(x), de.grad(hashed)(x))


def test_a_body_that_is_another_one_each_time_is_refused():
    def counts(x):
        n = [0]

        def turn(c, a):
            n[0] += 1
            return c + a * n[0], None
        return de.scan(turn, 0.0, x)[0]

    def draws(x):
        rng = np.random.default_rng(5)
        return de.scan(lambda c, a: (c + a * rng.normal(), None), 0.0, x)[0]
    for f in (counts, draws):
        f(np.ones(9))
        for run in (de.jit(f), lambda x: de.trace(f, x)):
            with pytest.raises(RuntimeError, match=r"scan at test_control\.py:\d+: .* another one each time it runs"):
                run(np.ones(9))


def test_constants_that_rules_make_anew_are_the_same():
    """2/sqrt(pi) is another object each time a rule computes it."""
    def loss(x):
        return np.sum(de.scan(lambda c, a: (special.erf(c + a), c), 0.3, x)[1])
    x = LONG[:, 0]
    for method in METHODS:
        np.testing.assert_allclose(de.jit(de.grad(loss, method=method))(x), de.grad(loss)(x), rtol=1e-12)


def test_a_body_that_writes_into_its_carry():
    def f(x):
        def turn(c, a):
            c[0] += a
            return c, None
        return de.scan(turn, np.zeros(1), x)[0]
    for n in (3, 9):
        x = np.ones(n)
        assert de.jit(f)(x) == de.trace(f, x)(x) == f(x) == n
        np.testing.assert_array_equal(de.jit(de.grad(lambda x: np.sum(f(x))))(x), np.ones(n))


def test_dicts_in_another_order():
    f = lambda xs: de.scan(lambda c, a: ({"b": c["b"] * a, "a": c["a"]}, None), {"a": 1.0, "b": 2.0}, xs)[0]["b"]          # noqa: E731
    for n in (3, 12):
        np.testing.assert_allclose(de.jit(de.grad(f))(np.full(n, 1.1)), np.full(n, 2 * 1.1 ** (n - 1)), rtol=1e-13)
    assert de.cond(True, lambda: {"a": 1, "b": 2}, lambda: {"b": 1, "a": 2})["a"] == 1


def test_a_graph_holds_the_body_once():
    graph = de.trace(network, W, LONG * 0.3)
    assert [d["primitive"] for _, d in graph.nodes(data=True)].count("scan") == 2 and len(graph) < 40          # one of them for the integer
    assert float(graph(W, LONG * 0.3)) == pytest.approx(by_hand(W, LONG * 0.3), rel=1e-13)
    assert "scan(" in graph.formula() and graph.cost().operations > 20 * 9
    slope = de.grad(by_hand)(W, LONG * 0.3)
    for method in METHODS:
        derivative = graph.derivative(0, method=method)
        assert len(derivative) < 150, method
        np.testing.assert_allclose(derivative(W, LONG * 0.3), slope, rtol=1e-11)
    np.testing.assert_allclose(graph.derivative(0, method="reverse").compile()(W, LONG * 0.3)[0], slope, rtol=1e-11)


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


def test_a_scan_of_no_turns_has_ys_of_length_0():
    def f(x):
        return de.scan(lambda c, z: (c + z, {"a": c * z, "b": z[None]}), x, np.zeros((0, 3)))[1]
    for g in (f, de.jit(f)):
        assert [y.shape for y in g(np.ones(3)).values()] == [(0, 3), (0, 1, 3)]
    assert de.vmap(f)(np.ones((2, 3)))["a"].shape == (2, 0, 3)
    assert de.scan(lambda c, z: (c + 1, c), np.ones(2, np.float32), None, 0)[1].dtype == np.float32
    assert de.scan(lambda c, z: (c, None), 1.0, np.zeros(0)) == (1.0, None)


def test_a_jet_keeps_its_dtype_wherever_it_is_taken():
    x = np.ones(3, np.float32)

    def second(x):
        return de.jet(lambda x: x * x, (x,), ([x, x],))[1][1]
    for g in (second, de.jit(second), de.vmap(second), de.grad(lambda x: np.sum(second(x)))):
        assert g(x).dtype == np.float32


# ---- values from outside, and the other way round --------------------------------------------------------------------------------------

def test_a_turn_that_changes_what_is_outside_is_refused():
    """Each turn would see another one; and it is seen though it is made of traced values."""
    A = np.arange(16.0).reshape(4, 4) / 10

    def grows(A):
        s = np.zeros(4)

        def body(c, _):
            nonlocal s
            s = s + A[0]
            return np.tanh(c * s), None
        return de.scan(body, np.ones(4), None, 3)[0]

    def writes(A):
        B = A * 2

        def body(c, _):
            X = c @ B
            B[0] = B[0] * 0.5
            return np.tanh(X), None
        return de.scan(body, np.ones(4), None, 9)[0]
    for f in (grows, writes):
        for g in (f, lambda A: de.grad(lambda A: np.sum(f(A)))(A)):
            with pytest.raises(RuntimeError, match=r"scan at test_control\.py:\d+: body is another one each time it runs"):
                de.jit(g)(A)


def test_what_a_turn_makes_of_values_from_outside():
    """Of which some are differentiated and others are not, in a loop and in one within it."""
    random = np.random.default_rng(31)
    w, h, xs = random.normal(size=(3, 3)), random.normal(size=3), random.normal(size=(4, 3))

    def f(w, h, xs, s):
        def body(h, x):
            z = h * w[1] + x @ (w * s)
            z = z + de.scan(lambda c, y: (np.sin(c * y) * w[0] + s, c * z), z, xs[:2] * w[2])[0]
            return z, z
        return np.sum(de.scan(body, h, xs)[1])
    for by in (0,), (1,), (2,), (3,), (0, 3), (0, 1, 2, 3):
        got, want = (run(de.grad(f, argnums=by))(w, h, xs, 0.7) for run in (de.jit, lambda g: g))
        for a, b in zip(got, want):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_a_scan_from_the_last_to_the_first(method):
    """As the same one of flipped arrays, whose ys are flipped; compiled too, and in a derivative of a derivative."""
    random = np.random.default_rng(32)
    xs = {"x": random.normal(size=(12, 2)), "y": np.arange(12.0)}

    def step(h, x):
        h = np.sin(h * x["x"]) + x["y"] * 0.1
        return h, (h, x["y"] - h[0])

    def f(h, xs, reverse):
        flipped = xs if reverse else {k: x[::-1] for k, x in xs.items()}
        h, (hs, ys) = de.scan(step, h, flipped, reverse=reverse)
        hs, ys = (hs, ys) if reverse else (hs[::-1], ys[::-1])
        return np.sum(hs[3] * ys[2]) + np.sum(np.cos(hs.T * ys)) + h[1]
    h = np.array([0.3, 0.7])
    want = de.value_and_grad(lambda h, xs: f(h, xs, False), argnums=(0, 1))(h, xs)
    for run in de.jit, lambda g: g:
        got = run(de.value_and_grad(lambda h, xs: f(h, xs, True), argnums=(0, 1), method=method))(h, xs)
        for a, b in zip(flatten(got)[0], flatten(want)[0]):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    second = [run(de.hessian(lambda h: f(h, xs, reverse), method=method))(h) for run in (de.jit, lambda g: g) for reverse in (True, False)]
    for one in second[1:]:
        np.testing.assert_allclose(one, second[0], rtol=1e-10, atol=1e-12)
