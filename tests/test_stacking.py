"""Products of matrices put together: the same results, and fewer products where that pays."""
import numpy as np
import pytest

import diffeng as de
from diffeng import kernels
from diffeng.buffers import call
from diffeng.kernels.stacking import MOST, stacked
from diffeng.nodes import Tracing, reachable
from diffeng.simplify import simplify

RNG = np.random.default_rng(4)
X, Y, W, U, BIG = (RNG.normal(size=s) for s in ((9, 6, 16), (9, 6, 24), (16, 24), (24, 16), (9, 300, 16)))


def recorded(f, *args):
    tracing = Tracing()
    inputs = [tracing.input(a, f"x{k}") for k, a in enumerate(args)]
    out = call(f, inputs)
    return [i.node for i in inputs], [o.node for o in (out if isinstance(out, tuple) else (out,))]


def weights_gradient(x, y, w):
    return sum(np.sin(x[t]).T @ y[t] for t in range(9))


CASES = {                                                   # products, and how many remain
    "gradient of a weight": (weights_gradient, (X, Y, W), 9, 1),
    "its transpose": (lambda x, y, w: sum(y[t].T @ x[t] for t in range(9)), (X, Y, W), 9, 1),
    "rows by columns": (lambda x, y, w: sum(np.cos(x[t]).T @ (y[t] * 2) + x[t].T @ y[t] for t in range(9)), (X, Y, W), 18, 1),
    "turned on both sides": (lambda x, y, w: sum((x[t] * 1.5).T @ np.swapaxes(np.sin(y[t].T), 0, 1) for t in range(3)), (X, Y, W), 3, 1),
    "right turned": (lambda x, y, w: sum(np.cos(x[t].T) @ (np.sin(y[t].T)).T for t in range(3)), (X, Y, W), 3, 1),
    "with other terms": (lambda x, y, w: w * 3 + x[0].T @ y[0] + np.sin(w) + (x[1].T @ y[1] + (w + x[2].T @ y[2])), (X, Y, W), 3, 1),
    "a layer step by step": (lambda x, y, w: sum(np.tanh(x[t] @ w) for t in range(9)), (X, Y, W), 9, 1),
    "two layers": (lambda x, y, w: sum(np.tanh(np.tanh(x[t] @ w) @ w.T) for t in range(9)), (X, Y, W), 18, 2),
    "one after the other": (lambda x, y, w: np.tanh(np.tanh(np.tanh(x[0] @ w) @ w.T) @ w), (X, Y, W), 3, 3),
    "one read elsewhere": (lambda x, y, w: ((p := x[0].T @ y[0]) + x[1].T @ y[1] + x[2].T @ y[2], np.sin(p)), (X, Y, W), 3, 2),
    "a sum read elsewhere": (lambda x, y, w: ((p := x[0].T @ y[0] + x[1].T @ y[1]) + x[2].T @ y[2] + x[3].T @ y[3], p), (X, Y, W), 4, 2),
    "a sum that is an output": (lambda x, y, w: (p := x[0].T @ y[0] + x[1].T @ y[1], p * 2), (X, Y, W), 2, 1),
    "tall operands": (lambda x, y, w: sum(x[t].T @ np.tile(y[t], (50, 1)) for t in range(3)), (BIG, Y, W), 3, 1),
    "wide operands": (lambda x, y, w: sum(np.sin(x[t] @ w) for t in range(3)), (BIG, Y, W), 3, 1),
    "deeper ones first": (lambda x, y, w: (np.tanh(np.tanh(x[1] @ w) @ w.T)).T @ y[1] + x[0].T @ y[0] + np.tanh(x[2] @ w @ w.T).T @ y[2], (X, Y, W), 7, 3),
    "of different shapes": (lambda x, y, w: np.sum(np.sin(x[0].T @ y[0])) + np.sum(np.sin(x[1].T @ x[2])), (X, Y, W), 2, 2),
    "spread": (lambda x, y, w: (x[0, :1].T @ y[0, :1])[:1] + x[1].T @ y[1] + x[2].T @ y[2], (X, Y, W), 3, 2),
}


@pytest.mark.parametrize("name", CASES)
def test_products(name):
    f, args, before, after = CASES[name]
    inputs, outputs = recorded(f, *args)
    outputs = simplify(outputs)
    again = stacked(outputs)
    count = [sum(n.primitive.name == "matmul" for n in reachable(o)) for o in (outputs, again)]
    assert count == [before, after]
    want = f(*args)
    for got, value, node in zip(kernels.Program(inputs, outputs)(*args), want if isinstance(want, tuple) else (want,), again):
        assert node.shape == got.shape and node.dtype == got.dtype
        np.testing.assert_allclose(got, value, rtol=1e-12, atol=1e-12)


def test_stacks_are_not_endless():
    """Many steps are several products, so that no step's operands wait for the last one's."""
    x, y = RNG.normal(size=(2, 200, 8, 40))
    inputs, outputs = recorded(lambda x, y: sum(x[t].T @ y[t] for t in range(200)), x, y)
    sizes = [n.operands[0].shape[1] for n in reachable(stacked(simplify(outputs))) if n.primitive.name == "matmul"]
    assert max(sizes) == 8 * MOST and sum(sizes) == 1600
    np.testing.assert_allclose(kernels.Program(inputs, outputs)(x, y)[0], np.einsum("tij,tik->jk", x, y), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("order, copies", [(range(9), 0), (reversed(range(9)), 0), ((0, 1, 2, 4), 1), ((0, 2, 1), 0)])
def test_what_one_array_was_cut_into_needs_no_copy(order, copies):
    """Steps of one array are stacked as they lie in it, whichever of them came first; where one is missing they are copied."""
    order = list(order)
    inputs, outputs = recorded(lambda x, y: sum(x[t].T @ y[t] for t in order), X, Y)
    again = stacked(simplify(outputs))
    assert sum(n.primitive.name == "concatenate" for n in reachable(again)) == 2 * copies
    np.testing.assert_allclose(kernels.Program(inputs, outputs)(X, Y)[0], sum(X[t].T @ Y[t] for t in order), rtol=1e-12, atol=1e-12)


def cell(h, x, w, u):
    return np.tanh(x @ w @ u + h)


def product_last(h, x, w, u):
    return np.tanh(x @ w + h) @ u @ w


def gated(h, x, w, u):
    z = 1 / (1 + np.exp(-(x @ w) - h @ u @ w))
    return z * h + (1 - z) * np.tanh(x @ w @ u @ w)


@pytest.mark.parametrize("step, width", [(cell, 16), (product_last, 24), (gated, 24)])
@pytest.mark.parametrize("method", ["reverse", "symbolic"])
def test_a_recurrence(step, width, method):
    """The gradient of a loop over time equals the uncompiled one."""
    def loss(w, u, xs):
        h = np.zeros((6, width))
        for t in range(len(xs)):
            h = step(h, xs[t], w, u)
        return np.mean(h ** 2)
    gradient = de.grad(loss, argnums=(0, 1, 2), method=method)
    for got, want in zip(de.jit(gradient)(W, U, X), gradient(W, U, X)):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12 * np.max(np.abs(want)))


def test_sums_of_nothing():
    """An inner axis of length 0."""
    a, b = np.ones((3, 0)), np.ones((0, 4))
    f = de.value_and_grad(lambda a, b, c, d: np.sum((a @ b + c @ d) * a.shape[0]), argnums=(0, 1))
    value, gradients = de.jit(f)(a, b, a, b)
    assert value == 0 and [g.shape for g in gradients] == [(3, 0), (0, 4)]
