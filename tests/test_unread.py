"""Results of loops that nobody reads."""
import numpy as np
import pytest

import diffeng as de

RANDOM = np.random.default_rng(11)
A, X, B, U = RANDOM.normal(size=(4, 4)) * 0.4, RANDOM.normal(size=(9, 4)), RANDOM.normal(size=4), RANDOM.normal(size=4)


def loops(graph):
    """Those of a graph, in order."""
    return [n.primitive.own for n in graph.order if n.primitive.name == "scan"]


def linear(u, a, b, xs):
    """Of which a derivative by u asks for no carry."""
    def step(state, x):
        u, v = state
        v = v + b * (a @ u)
        return (u + 0.1 * v, v), (u * x, np.sum(v))
    (u, v), (ys, sums) = de.scan(step, (u, 0.5 * u), xs)
    return np.sum(u) + np.sum(ys)


def recurrent(u, a, b, xs):
    def step(h, x):
        h = np.tanh(a @ h + b * x)
        return h, (h, np.sum(h), x - 1)
    h, (hs, _, moved) = de.scan(step, u, xs)
    return np.sum(hs * hs) + h[0] + moved[-1, 2]


def mixed(u, a, b, xs):
    """Carries of other dtypes, which are needed, or not."""
    def step(state, x):
        h, k, half, n = state
        return (np.tanh(a @ h + b * x) * (k % 3), k + 1, half * np.float32(2), n - k), (h[0], half)
    (h, k, half, n), (ys, _) = de.scan(step, (u, 0, np.float32(1) * np.ones(2, np.float32), 7), xs)
    return np.sum(h * ys[2]) + 0 * n


@pytest.mark.parametrize("f", [linear, recurrent, mixed])
@pytest.mark.parametrize("by", [(0,), (1,), (2,), (3,), (0, 2), (1, 3), (0, 1, 2, 3)])
def test_each_derivative_is_what_it_is_among_all(f, by):
    compiled = de.jit(de.value_and_grad(f, argnums=by))
    want, each = de.value_and_grad(f, argnums=(0, 1, 2, 3))(U, A, B, X)
    value, found = compiled(U, A, B, X)
    np.testing.assert_allclose(value, want, rtol=1e-14)
    for k, g in zip(by, found):
        np.testing.assert_allclose(g, each[k], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("wrt, forward, back", [((0,), None, [(4,), (4,)]), ((0, 1), [(4,), (4,), (9, 4)], [(4,), (4,), (4, 4)])])
def test_what_a_derivative_asks_for(wrt, forward, back):
    """By u, a linear loop needs no carry of any turn, and its way back has the cotangents of u and v alone; by a, it needs u."""
    found = loops(de.trace(linear, U, A, B, X).derivative(wrt, method="reverse").written_out())
    assert [sorted([shape for shape, _ in loop.results]) for loop in found] == [shapes for shapes in (forward, back) if shapes]


def test_a_loop_of_which_all_is_read_stays():
    graph = de.trace(lambda u, xs: de.scan(lambda h, x: (np.tanh(h * x), h), u, xs), U, X)
    assert loops(graph.written_out()) == loops(graph)


def test_parts_that_are_read_in_other_ways():
    """Rows, and results without entries, of what is packed; a loop within a loop."""
    def inner(u, xs):
        return de.scan(lambda s, x: (s * np.cos(x), (s + x, np.zeros((0, 2)), x * x)), u, xs)

    def f(u, xs):
        s, (ys, none, _) = inner(u, xs)
        t, (zs, *_) = de.scan(lambda t, x: (np.sin(t) + inner(t, xs)[1][0][3], (t, x)), s, xs)
        return np.sum(ys[2:5] * zs[0]) + np.sum(none), none, t[1]
    for got, want in zip(de.jit(f)(U, X), f(U, X)):
        np.testing.assert_allclose(got, want, rtol=1e-13)
    got, want = (g(lambda u: f(u, X)[0])(U) for g in (lambda h: de.jit(de.grad(h)), de.grad))
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("wrt", [0, 1])
def test_second_derivatives(wrt):
    def f(*args):
        return recurrent(*args[:3], X)
    got, want = (np.asarray(m(de.hessian(f, argnums=wrt))(U, A, B)) for m in (de.jit, lambda h: h))
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
