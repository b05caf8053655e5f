"""Loops as one instruction: what is the same in every turn is computed before, unless something else is written where it lies."""
import numpy as np
import pytest

import diffeng as de
from diffeng.kernels import repeated
from diffeng.trees import flatten


def in_place(c, A):
    """A cofactor that is the same in every turn, and over which the turn writes."""
    return de.scan(lambda c, _: (c + np.linalg.det(np.diag(c) * 0.1), None), c[:1], None, 9)[0]


def one_after_the_other(c, A):
    """B lies where A lay, and both are the same in every turn; what reads A is not."""
    @de.custom
    def turn(c, A):
        first = A @ A.T
        X = np.tanh(c @ first)
        Q = np.cos(first @ A) @ A
        return np.tanh(X @ (first + Q @ A))
    return de.scan(lambda c, _: (turn(c, A), None), c, None, 9)[0]


def attention(c, A):
    def body(q, _):
        s = q @ np.swapaxes(q, -1, -2)
        s = np.exp(s - np.max(s, axis=-1, keepdims=True))
        return s / np.sum(s, axis=-1, keepdims=True) @ q, None
    return de.scan(body, np.zeros((2, 600, 4)) + c, None, 2)[0]


def written_after(c, A):
    """An array of outer values, which is read before it is written into, and after."""
    def body(c, _):
        B = A * 2
        row, X = B[1], c @ B
        B[2] = 0.5
        Y = c @ B
        B *= 0.5
        return np.tanh(X - Y * row), c @ B
    return de.scan(body, c, None, 3)


def written_while(c, A):
    def body(s):
        B = A * 2
        X = s[0] @ B
        B[1] = 100.0
        return np.tanh(X) + s[0] * 1.5 + B[1], s[1] + 1
    return de.while_loop(lambda s: np.sum(s[0]) < 1e4, body, (c, 0.0))


@pytest.mark.parametrize("f", [in_place, one_after_the_other, attention, written_after, written_while], ids=lambda f: f.__name__)
def test_what_is_the_same_in_every_turn(f):
    c, A = np.array([0.7, 0.2, -0.4, 0.1]), np.arange(16.0).reshape(4, 4) / 10
    for g in (f, de.jacobian(lambda c, A: np.sum(np.sin(flatten(f(c, A))[0][0])), argnums=(0, 1))):
        for got, want in zip(flatten(de.jit(g)(c, A))[0], flatten(g(c, A))[0]):
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-13)


def conjugate_gradients(c, A):
    """Rows of a carry as turns begin with it, and of another one as they leave it."""
    def body(carry, _):
        p, square, x, r = carry
        Ap = A @ p
        step = square / (p @ Ap)
        r = r - step * Ap
        return (r + r @ r / square * p, r @ r, x + step * p, r), (r @ r, p)
    A = A @ A.T + np.diag(np.arange(1.0, 1 + len(A)))
    return de.scan(body, (c, c @ c, np.zeros_like(c), c), None, length=3)


def handed_on(c, A):
    """A carry that becomes another one, with rows of both, of some of them twice."""
    def body(carry, x):
        before, now = carry
        after = np.tanh(A @ now + before * x)
        return (now, after), (before, now, after, after)
    return de.scan(body, (c, c * 2), np.arange(4.0), reverse=True)


def of_two_types(c, A):
    """A carry of float32 beside float64, and rows that are the same in all turns."""
    def body(carry, x):
        small, large = carry
        small = np.tanh(small * x)
        return (small, large + small @ A), (small, small, large, 1.5)
    return de.scan(body, (c.astype(np.float32), c), np.arange(5, dtype=np.float32))


def left_as_it_is(c, A):
    return de.scan(lambda carry, x: ((carry[0], np.tanh(A @ carry[1] + carry[0])), (carry[0], carry[1])), (c, c), None, length=1)


@pytest.mark.parametrize("f", [conjugate_gradients, handed_on, of_two_types, left_as_it_is], ids=lambda f: f.__name__)
@pytest.mark.parametrize("n", [6, 70])
def test_results_that_lie_where_a_carry_does(f, n):
    c, A = np.linspace(0.1, 0.7, n), np.cos(np.arange(n * n).reshape(n, n)) / n
    rounding = 1e-5 if f is of_two_types else 1e-10
    for g in (f, de.grad(lambda c, A: sum([np.sum(np.sin(x) * (1 + np.arange(np.size(x)).reshape(np.shape(x)))) for x in flatten(f(c, A))[0]]), argnums=(0, 1))):
        for got, want in zip(flatten(de.jit(g)(c, A))[0], flatten(g(c, A))[0], strict=True):
            assert got.dtype == np.asarray(want).dtype
            np.testing.assert_allclose(got, want, rtol=rounding, atol=rounding * np.max(np.abs(want)))


def where_it_was(n):
    """A carry that is made of its neighbours, one that only adds up, one that is turned round."""
    def turn(c, x):
        u, total, back = c
        du = np.concatenate([u[:1] * 0, 0.2 * (u[2:] - 2 * u[1:-1] + u[:-2]), u[-1:] * 0])
        return (u + du + 0.1 * x, total + u * x, 0.5 * back[::-1]), None
    return lambda u, xs: de.scan(turn, (u, u * 0, np.cos(u)), xs)[0]


@pytest.mark.parametrize("turns", [8, 9, 40])
@pytest.mark.parametrize("n", [5, 70, 1000, 3000])
def test_carries_that_each_turn_makes_where_they_were(n, turns):
    f, (u, *xs) = where_it_was(n), np.random.default_rng(n).standard_normal((turns + 1, n))
    xs = np.array(xs)
    for g in (f, de.grad(lambda u, xs: sum(np.sum(np.sin(x)) for x in f(u, xs)), argnums=(0, 1))):
        for got, want in zip(flatten(de.jit(g)(u, xs))[0], flatten(g(u, xs))[0]):
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_a_stencils_carry_lies_in_one_place(monkeypatch):
    """The first two carries: what is read of them is read before it is written over."""
    asked, planned = [], repeated.instructions

    def instructions(call, turn):
        def seen(*args):
            found = turn(*args)
            asked.append(found[-1])
            return found
        return planned(call, seen)
    monkeypatch.setattr(repeated, "instructions", instructions)
    monkeypatch.setenv("DIFFENG_CACHE", "off")
    u, *xs = np.random.default_rng(3).standard_normal((20, 500))
    de.trace(where_it_was(500), u, np.array(xs)).compile()
    assert {0, 1} <= set(asked[0]) and 2 not in asked[0]
