"""de.while_loop in compiled programs: recorded once, however often it turns, and differentiated by every method, any number of times."""
import numpy as np
import pytest

import diffeng as de

RNG = np.random.default_rng(11)
METHODS = ("reverse", "forward", "symbolic")
A = RNG.normal(size=(3, 3)) * 0.2 + np.eye(3)


def root(a):
    """Heron's method; the condition is decided by a plain number at first."""
    return de.while_loop(lambda s: s[1] > 1e-13 * np.max(a), lambda s: ((s[0] + a / s[0]) / 2, np.max(np.abs(s[0] - a / s[0]))), (a, np.inf))[0]


def decay(x):
    """So many turns as x is large; a counter, and an array from outside."""
    out, turns, _ = de.while_loop(lambda s: np.sum(s[0] ** 2) > 0.01, lambda s: (A @ s[0] * 0.5, s[1] + 1, s[2] * 1.1), (x, 0, 1.0))
    return np.sum(out) + out[0] * x[1]


def collatz(n):
    return de.while_loop(lambda s: s[0] != 1, lambda s: (np.where(s[0] % 2 == 0, s[0] // 2, 3 * s[0] + 1), s[1] + 1), (n, 0))


def solving(x):
    """NumPy in between."""
    return np.sum(de.while_loop(lambda v: np.max(np.abs(v)) > 1e-3, lambda v: np.linalg.solve(A + np.eye(3) * 2, v) + 1e-5, x))


def within(x):
    """Loops in the body: a scan, and another while_loop."""
    def body(v):
        inner = de.scan(lambda c, a: (c * 0.9 + a * 0.01 * c, c), v, np.linspace(0, 1, 9))[0]
        return de.while_loop(lambda w: np.sum(w) > 2.0, lambda w: w * 0.7, inner)
    return np.sum(de.while_loop(lambda v: np.sum(v) > 0.5, body, x) ** 2)


def among(xs):
    """Within the body of a scan."""
    def body(c, x):
        y = de.while_loop(lambda v: v > 1.0, lambda v: v * 0.6, x * 3 + c)
        return y, y * x
    return np.sum(de.scan(body, 0.5, xs)[1])


CASES = {"root": (lambda a: np.sum(root(a)), [np.array([2.0, 3.0]), np.array([5e3, 1.0]), np.array([1e-4, 7.0])]),
         "decay": (decay, [np.ones(3), np.full(3, 50.0), np.array([1e-3, 0.0, 0.0])]),
         "solving": (solving, [np.ones(3), np.array([40.0, 2.0, -1.0])]),
         "within": (within, [np.ones(3), np.array([1.0, 20.0, 0.5]), np.full(3, 0.1)]),
         "among": (among, [RNG.random(9), RNG.random(9) * 40])}


@pytest.mark.parametrize("name", CASES)
def test_it_is_recorded_once(name):
    f, points = CASES[name]
    value = de.jit(f)
    gradients = {m: de.jit(de.value_and_grad(f, method=m)) for m in METHODS}
    for x in points:
        want, slope = de.value_and_grad(f)(x)
        np.testing.assert_allclose(value(x), want, rtol=1e-13)
        for got in gradients.values():
            np.testing.assert_allclose(got(x)[0], want, rtol=1e-13)
            np.testing.assert_allclose(got(x)[1], slope, rtol=1e-9, atol=1e-12)
    assert [c.traces for c in (value, *gradients.values())] == [1] * 4


@pytest.mark.parametrize("name", ["root", "decay", "within"])
def test_second_derivatives(name):
    f, points = CASES[name]
    compiled = [de.jit(de.hessian(f)), de.jit(lambda x: de.hvp(f, (x,), (np.ones(len(x)),))[1][0]),
                de.jit(de.grad(lambda x: de.jvp(f, (x,), (np.ones(len(x)),))[1])), de.jit(lambda x: de.jvp(de.grad(f), (x,), (np.ones(len(x)),))[1])]
    for x in points[:2]:
        want = de.hessian(f)(x)
        scale = np.max(np.abs(want)) + 1e-300
        for got in compiled:
            h = got(x)
            np.testing.assert_allclose(h / scale, (want if h.ndim == 2 else want.sum(1)) / scale, atol=1e-8)
    assert {c.traces for c in compiled} == {1}


def test_integers():
    compiled = de.jit(collatz)
    for n in (1, 2, 6, 27, 97):
        got, want = compiled(np.array(n)), collatz(np.array(n))
        assert [int(x) for x in got] == [int(x) for x in want] and all(x.dtype == np.int64 for x in got)
    assert compiled.traces == 1


def test_what_the_last_body_would_do_is_not_done():
    """The condition guards an index, a division of integers and a matrix that is singular in the end."""
    def search(a, x):
        return de.while_loop(lambda i: (i < len(a)) & (a[np.minimum(i, len(a) - 1)] < x), lambda i: i + np.where(a[i] < x, 1, 0), np.array(0))
    compiled, a = de.jit(search), np.linspace(0, 1, 5)
    assert [int(compiled(a, x)) for x in (-1.0, 0.3, 2.0)] == [0, 2, 5] and compiled.traces == 1
    with pytest.raises(IndexError, match=r"getitem at test_while_loops\.py:\d+: an index is out of bounds"):
        de.jit(lambda a, x: de.while_loop(lambda i: i < 7, lambda i: i + np.where(a[i] < x, 1, 1), np.array(0)))(a, 2.0)
    shrink = de.jit(lambda m: de.while_loop(lambda m: np.abs(m[0, 0]) > 0.5, lambda m: np.linalg.inv(m) * 0 + m - np.eye(2), m))
    np.testing.assert_array_equal(shrink(np.eye(2) * 3), np.zeros((2, 2)))          # inv of the last one would raise


def test_carries_keep_their_kinds():
    def f(x, flag):
        out = de.while_loop(lambda s: s["go"], lambda s: {"x": s["x"] * np.float32(0.5), "go": np.max(s["x"]) > 1, "n": np.zeros(2), "k": (s["k"][0] + 1,)},
                            {"x": x, "go": flag, "n": np.ones(2), "k": (np.array(3, np.int32),)})
        return out["x"], out["go"], out["n"], out["k"]
    compiled, x = de.jit(f), np.array([9.0, 2.0], np.float32)
    for flag in (np.array(True), np.array(False)):
        for got, want in zip(compiled(x, flag), f(x, flag)):
            got, want = (np.asarray(v[0] if isinstance(v, tuple) else v) for v in (got, want))
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
    assert compiled.traces == 1


def test_examples_and_bodies_that_look():
    points = np.array([2.0, 300.0, 1e-5])
    each = de.jit(de.vmap(lambda a: root(a[None])[0]))
    np.testing.assert_allclose(each(points), np.sqrt(points), rtol=1e-12)
    np.testing.assert_allclose(de.jit(de.vmap(de.grad(lambda a: root(a[None])[0])))(points), 0.5 / np.sqrt(points), rtol=1e-9)
    looks = lambda x: de.while_loop(lambda v: v > 1.0, lambda v: v * 0.5 if v > 3 else v - 1, x)          # noqa: E731
    compiled = de.jit(looks)
    for x in (0.5, 2.5, 20.0):                               # recorded turn by turn
        assert compiled(x) == looks(x)
    assert compiled.traces == 3
    counted = de.jit(lambda x: de.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * 2.0), (0, x))[1])          # plain numbers decide: three products
    assert counted(5.0) == 40.0
    with pytest.raises(TypeError, match=r"while_loop at test_while_loops\.py:\d+: <lambda> was given 1 value of shape \(2,\)"):
        de.jit(lambda x: de.while_loop(lambda v: np.sum(v) < 3, lambda v: v[:1], x))(np.ones(2))
    draws = np.random.default_rng(1)
    with pytest.raises(RuntimeError):
        de.jit(lambda x: de.while_loop(lambda v: v < 9, lambda v: v + draws.random(), x))(1.0)


def test_many_turns():
    compiled = de.jit(lambda n: de.while_loop(lambda i: i < n, lambda i: i + 1.0, 0.0 * n))
    for n in (0.0, 255.0, 256.0, 257.0, 1e5):
        assert compiled(n) == n
    assert compiled.traces == 1
