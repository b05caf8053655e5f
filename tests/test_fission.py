"""Loops whose products are made of all turns at once."""
import numpy as np
import pytest

import diffeng as de
from diffeng import fission
from diffeng.own_rules import inlined

RANDOM = np.random.default_rng(12)
W, V, B, H = RANDOM.normal(size=(5, 5)) * 0.4, RANDOM.normal(size=(3, 5)), RANDOM.normal(size=5), RANDOM.normal(size=(2, 5))
X = RANDOM.normal(size=(9, 2, 3))


def recurrent(w, v, b, h, xs):
    def step(h, x):
        h = np.tanh(x @ v + h @ w + b)
        return h, h @ v.T
    h, ys = de.scan(step, h, xs)
    return np.sum(ys * ys) + np.sum(h)


def backwards(w, v, b, h, xs):
    def step(h, x):
        h = np.tanh(np.einsum("ni,ih->nh", np.cos(x), v) + h @ w)
        return h, (x, np.exp(-np.sum((h @ w + b) ** 2, axis=1)) @ np.sin(h), x @ v)
    h, (xs, ys, zs) = de.scan(step, h, xs, reverse=True)
    return np.sum(ys * ys) + np.sum(zs[1] * (xs[2] @ v)) + np.sum(h)


def summed(w, v, b, h, xs):
    """Sums of products and of others, which begin with something."""
    def step(state, x):
        h, total, other = state
        h = np.sin(h @ w) + x[:, :1]
        return (h, total + (h.T @ x + np.outer(h[0], x[1])) + v.T, other + h[0] * x[0, 0]), None
    h, total, other = de.scan(step, (h, v.T * 2, b), xs)[0]
    return np.sum(total * total) + np.sum(other * other)


def columns(w, v, b, h, xs):
    """Parts of a weight, products of products, one of which the next turn reads."""
    def step(h, x):
        gate = np.tanh(x @ v[:, :2] @ w[:2])
        return np.tanh((h[:, 1:] @ w[1:]) * gate), (np.dot(h, b), gate @ w @ v.T)
    h, (ys, zs) = de.scan(step, h, xs)
    return np.sum(ys ** 2) + np.sum(zs * xs) + np.sum(h)


def vectors(w, v, b, h, xs):
    def step(x, o):
        k = w @ x
        x = x + 0.1 * (w @ (x + 0.05 * k)) + o[0] @ v
        return x, np.sum((x - b) ** 2)
    return np.mean(de.scan(step, h[0], xs)[1])


def chosen(w, v, b, h, xs):
    """Comparisons, of floats and of an integer that is carried, decide what becomes of products."""
    def step(state, x):
        h, k = state
        y = np.where((h > 0) & (x[:, :1] < 0.5), h @ w, b) * (1 + (h[:, 1:2] > h[:, :1]))
        return (np.tanh(h @ w + x @ v), k + 1), (y, np.where(k > 3, 1.0, 0.5) * (h @ v.T))
    (h, _), (ys, zs) = de.scan(step, (h, 0), xs)
    return np.sum(np.cos(ys)) + np.sum(zs * xs) + np.sum(h)


def within(w, v, b, h, xs):
    """A loop in a loop, whose numbers a turn makes."""
    def step(h, x):
        return np.tanh(h + de.scan(lambda s, y: (np.sin(s @ (w * 0.5) + y @ (v * b)), s @ w), h, np.stack([x, x + h[:, :3]]))[0]), h @ w
    h, ys = de.scan(step, h, xs)
    return np.sum(h * ys[3])


FUNCTIONS = [recurrent, backwards, summed, columns, vectors, chosen, within]


def split(f, by):
    """(products in the turns of the loops of value and gradient, as they are recorded and without unread results, and split)."""
    graph = de.trace(de.value_and_grad(f, argnums=by), W, V, B, H, X)
    before = inlined(graph.output_nodes)
    return [[sum([n.primitive.kind == "contract" for n in loop.primitive.own.order]) for loop in loops(outputs)] for outputs in (before, fission.apart(before))]


def loops(outputs):
    from diffeng.nodes import reachable
    return [n for n in reachable(outputs) if n.primitive.name == "scan"]


@pytest.mark.parametrize("f", FUNCTIONS)
@pytest.mark.parametrize("by", [(0,), (1,), (4,), (2, 3), (0, 1, 2, 3, 4)])
def test_values(f, by):
    value, found = de.jit(de.value_and_grad(f, argnums=by))(W, V, B, H, X)
    want, each = de.value_and_grad(f, argnums=by)(W, V, B, H, X)
    np.testing.assert_allclose(value, want, rtol=1e-13)
    for g, e in zip(found, each):
        np.testing.assert_allclose(g, e, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("f, before, after", [(recurrent, [3, 8], [1, 1]), (vectors, [3, 6], [2, 2])])
def test_what_a_turn_multiplies(f, before, after):
    """Each turn of a recurrent network multiplies its state by the weights, and each turn back its cotangent: nothing else. Of an Euler step of second order, two."""
    assert split(f, (0, 1, 2, 3, 4)) == [before, after]


@pytest.mark.parametrize("f", FUNCTIONS)
def test_what_would_take_too_much_memory_stays(monkeypatch, f):
    monkeypatch.setattr(fission, "MOST_BYTES", -1)
    monkeypatch.setenv("DIFFENG_CACHE", "off")
    before, after = split(f, (0, 1, 2, 3, 4))
    assert before == after
    np.testing.assert_allclose(de.jit(f)(W, V, B, H, X), f(W, V, B, H, X), rtol=1e-13)


@pytest.mark.parametrize("turns", [1, 2, 40])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_lengths_and_dtypes(turns, dtype):
    args = [x.astype(dtype) for x in (W, V, B, H, RANDOM.normal(size=(turns, 2, 3)))]
    for f in (recurrent, summed, columns, vectors):          # (the others read row number 2, or ask NumPy for float64)
        got, want = (de.value_and_grad(f, argnums=(0, 1))(*args) if plain else de.jit(de.value_and_grad(f, argnums=(0, 1)))(*args) for plain in (False, True))
        for a, b in zip((got[0], *got[1]), (want[0], *want[1])):
            assert a.dtype == dtype
            np.testing.assert_allclose(a, b, rtol=1e-10 if dtype == np.float64 else 3e-3, atol=1e-12 if dtype == np.float64 else 3e-4 * np.max(np.abs(b)))


def test_what_has_no_product_is_left_alone():
    graph = de.trace(lambda b, xs: de.scan(lambda h, x: (np.tanh(h * x[0, 0] + b), h), b, xs), B, X)
    outputs = inlined(graph.output_nodes)
    assert fission.apart(outputs) is outputs


def test_numbers_that_the_user_holds_are_added_to():
    """The sum begins with the user's own zeros, which he writes into: they are no constant."""
    total = np.zeros((5, 3))

    def f(h, xs):
        return de.scan(lambda state, x: ((np.sin(state[0] @ W), state[1] + state[0].T @ x), None), (h, total), xs)[0][1]
    compiled = de.jit(f)
    for _ in range(2):
        np.testing.assert_allclose(compiled(H, X), f(H, X), rtol=1e-13)
        total += 1.5


def test_products_of_constants():
    """Of all turns they are made once, when nothing else is recorded."""
    ones = np.ones((4, 3))

    def f(z):
        (total, c), (ys, zs) = de.scan(lambda s, x: ((s[0] + np.outer(x, x), np.tanh(s[1] * z)), (np.ones((2, 3)) @ x, s[1])), (np.zeros((3, 3)), np.ones(3)), ones)
        return np.sum(total) + np.sum(c * ys[0, 0]) + np.sum(zs)
    z = np.array([0.3, 0.5, 0.7])
    np.testing.assert_allclose(de.jit(f)(z), f(z), rtol=1e-13)
    np.testing.assert_allclose(de.jit(de.grad(f))(z), de.grad(f)(z), rtol=1e-13)
    np.testing.assert_array_equal(de.jit(lambda z: de.scan(lambda c, x: (np.tanh(c * z), np.ones((3, 3)) @ x), np.ones(3), ones)[1])(z), np.full((4, 3), 3.0))


@pytest.mark.parametrize("step, init", [(lambda c, x: (c, (x @ V, 1.0)), 0.0), (lambda c, x: (np.tanh(c), (x @ V, np.ones(3))), np.ones(2)),
                                        (lambda c, x: ((c[0], c[1] + np.outer(x[0], x[1])), (np.zeros(3), x @ V)), (0.0, np.zeros((3, 3))))])
def test_what_is_left_is_the_same_in_every_turn(step, init):
    def f(xs):
        carry, ys = de.scan(step, init, xs)
        return (carry[1] if isinstance(carry, tuple) else carry), ys[0], ys[1]
    for got, want in zip(de.jit(f)(X), f(X)):
        np.testing.assert_allclose(got, want, rtol=1e-13)


@pytest.mark.parametrize("examples", [1, 2, 3, 9, 40])
def test_integers_that_no_turn_changes(examples):
    """Of many examples: their loop has no carry, when nobody reads it, and nothing that moves."""
    many = de.vmap(lambda v: de.scan(lambda c, _: (c + 1.0, v > 0), 0.0, None, length=3))
    v = np.linspace(-1, 1, 3 * examples).reshape(examples, 3)
    for got, want in zip(de.jit(many)(v), many(v)):
        np.testing.assert_array_equal(got, want)
