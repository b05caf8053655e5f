"""What the adjoint of an elementwise function of a product keeps: one slope, the same derivatives."""
import numpy as np
import pytest

import diffeng as de
from diffeng.kernels import slopes
from diffeng.nodes import Node, reachable
from diffeng.recording import Outline, record
from diffeng.simplify import simplify

RANDOM = np.random.default_rng(3)
ROWS, INNER, WIDE = 48, 12, 64
X, W, B, V = (RANDOM.normal(size=s) * 0.5 for s in ((ROWS, INNER), (INNER, WIDE), (WIDE,), (WIDE, INNER)))
MASK = RANDOM.random((ROWS, WIDE)) < 0.7


def gelu(u):
    return 0.5 * u * (1.0 + np.tanh(0.8 * (u + 0.04 * u * u * u)))


FUNCTIONS = {                                                     # which of them have one slope in place of several arrays
    "gelu":             (gelu, True),
    "silu":             (lambda u: u * de.special.expit(u), True),
    "scaled by columns": (lambda u: gelu(u * B), True),
    "a difference":     (lambda u: np.sin(u) * u - np.cos(u), True),
    "by a mask":        (lambda u: np.where(MASK, np.sin(u) * np.cos(2 * u), 0.0), True),
    "erf":              (lambda u: 0.5 * u * (1 + de.special.erf(u / 2 ** 0.5)), True),
    "exp":              (lambda u: u * np.exp(u / 4), False),          # which grow faster than a power
    "1/(9 + x)":              (lambda u: np.sin(u) / (9 + u), False),
    "1/(1 + exp)":      (lambda u: u / (1 + np.exp(-u)), False),
    "a quotient":       (lambda u: np.sin(u) / (2 + np.cos(u)), True),
    "relu":             (lambda u: np.maximum(u, 0), False),
    "softmax":          (lambda u: np.exp(u) / np.sum(np.exp(u), axis=-1, keepdims=True), False),
}


def loss(phi):
    return lambda x, w, b, v: np.sum(np.sin(phi(x @ w + b) @ v))


def of_the_cotangent(phi, by_slopes):
    """The primitives that lie between the cotangent of phi's result and that of its argument."""
    found = record(de.grad(loss(phi), argnums=(0, 1, 2, 3)), (X, W, B, V), Outline())
    order = reachable(by_slopes(simplify(found.outputs)))
    wide = [n for n in order if n.shape == (ROWS, WIDE)]
    cotangent = [n for n in wide if n.primitive.kind == "contract"][-1]
    after = {cotangent}
    for n in order:
        if any([x in after for x in n.operands if type(x) is Node]):
            after.add(n)
    return [n.primitive.name for n in wide if n in after and n is not cotangent]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_factor_is_left_where_there_were_several(name):
    phi, has_slope = FUNCTIONS[name]
    before, after = (of_the_cotangent(phi, f) for f in (list, slopes.by_slopes))
    if has_slope:
        assert len(before) > len(after) and [name for name in after if name != "where"] == ["multiply"]
    else:
        assert before == after


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_same_derivatives(name, dtype):
    phi, _ = FUNCTIONS[name]
    args = [a.astype(dtype) for a in (X, W, B, V)]
    gradient = de.grad(loss(phi), argnums=(0, 1, 2, 3))
    for got, want in zip(de.jit(gradient)(*args), gradient(*(a.astype(float) for a in args))):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=0, atol=(1e-13 if dtype == "float64" else 1e-5) * np.max(np.abs(want)))


def test_what_is_read_elsewhere_is_kept():
    """Where the arrays that the slope is made of are kept anyway, one more would be no gain: results of the function, and what a later product reads."""
    args = X, W, B, V

    def f(x, w, b, v):
        u = x @ w + b
        a, c = np.sin(u), np.cos(u)
        return np.sum(np.sin((a * c) @ v)) + np.sum(np.sin(c @ v) * np.cos(a @ v))
    found = record(de.grad(f, argnums=(0, 1, 2, 3)), args, Outline())
    before = simplify(found.outputs)
    assert len(reachable(slopes.by_slopes(before))) == len(reachable(before))
    gradient = de.grad(f, argnums=(0, 1, 2, 3))
    for got, want in zip(de.jit(gradient)(*args), gradient(*args)):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-13 * np.max(np.abs(want)))


@pytest.mark.parametrize("phi, penalty", [
    (lambda u: np.maximum(u, 0), np.sqrt), (lambda u: gelu(np.maximum(u, 0)), lambda h: np.abs(h) ** 0.5),
    (lambda u: np.maximum(gelu(u), 0), lambda h: np.where(h > 0, h * np.log(h), 0)),
    (lambda u: np.where(u > 0, np.sin(u) * u * np.cos(u), 0.0), np.sqrt),
    (lambda u: np.where(u > 0, np.tanh(u) * np.exp(-u), 1.0), lambda h: np.sqrt(np.abs(1 - h)))])
def test_what_is_not_chosen_may_be_infinite(phi, penalty):
    """Where the cotangent is, `where` makes 0 of it, and a slope of 0 would make NaN."""
    def f(x, w, b, v):
        h = phi(x @ w + b)
        return np.sum(np.tanh(h @ v)) + np.sum(penalty(np.abs(h)))
    gradient = de.grad(f, argnums=(0, 1, 2, 3))
    with np.errstate(all="ignore"):
        want = gradient(X, W, B, V)
    for a, b in zip(de.jit(gradient)(X, W, B, V), want):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.max(np.abs(b[np.isfinite(b)])))


@pytest.mark.parametrize("phi", [lambda u: 1 / (np.exp(u) ** 2 + np.exp(u)), lambda u: np.exp(u) * np.sinh(u) / np.cosh(u) ** 2, lambda u: np.exp(-u) ** 2 * u * u, gelu])
def test_rows_that_nobody_wants_have_no_gradient(phi):
    """However steep the function is there."""
    x, w = X.astype(np.float32), W.astype(np.float32)
    x[20:] = 0
    x[:20, 4], x[20:, 4], w[4] = 0, 1, -50

    def f(x, w, v):
        return np.sum(np.where(np.arange(ROWS)[:, None] < 20, phi(x @ w) @ v, 0) ** 2)
    gradient, v = de.grad(f, argnums=(1, 2)), V.astype(np.float32)
    with np.errstate(all="ignore"):
        want = gradient(x, w, v)
    for a, b in zip(de.jit(gradient)(x, w, v), want):
        assert np.array_equal(np.isfinite(a), np.isfinite(b))


def test_a_division_by_zero_is_the_functions_own():
    gradient = de.grad(lambda x, w, v: np.sum(np.tanh((np.sin(u := x @ w) * np.cos(2 * u) + u / 0.0) @ v)), argnums=(0, 1))
    with np.errstate(all="ignore"):
        want = gradient(X, W, V)
    for a, b in zip(de.jit(gradient)(X, W, V), want):
        assert not np.isfinite(a).any() and not np.isfinite(b).any()


def test_second_derivatives_and_two_layers():
    def f(x, w, b, v):
        return np.sum(np.sin(gelu(gelu(x @ w + b) @ v @ w) @ v))
    args = X, W, B, V
    gradient = de.grad(f, argnums=(0, 1, 2, 3))
    for got, want in zip(de.jit(gradient)(*args), gradient(*args)):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-13 * np.max(np.abs(want)))

    def along(x):
        return de.hvp(lambda w: f(x, w, B, V), (W,), (np.ones_like(W),))
    want = along(X)
    np.testing.assert_allclose(de.jit(along)(X), want, rtol=0, atol=1e-12 * np.max(np.abs(want)))



def test_a_divisor_may_be_an_array_made_inside():
    """No node, of which a range could be known."""
    gradient = de.grad(lambda x: np.sum(np.sin((x @ x) / np.linspace(1.0, 2.0, 4))))
    x = X[:4, :4].copy()
    np.testing.assert_allclose(de.jit(gradient)(x), gradient(x), rtol=1e-12, atol=1e-14)
