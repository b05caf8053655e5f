"""de.checkpoint: the same numbers to the last bit, in every method; less memory; a recomputation that nothing can merge with the first computation."""
import gc
import tracemalloc

import numpy as np
import pytest

import diffeng as de
from diffeng.checkpointing import recomputing
from diffeng.graph import adjoint
from diffeng.nodes import Tracing, reachable, restored

X = np.random.default_rng(0).uniform(0.3, 1.2, (3, 4))
B = np.random.default_rng(1).normal(size=(4, 4))


def step(x):
    return x + 0.1 * np.sin(x) * np.cos(x)


def steps(x, n):
    for _ in range(n):
        x = step(x)
    return x


def plain(fun):
    return fun


# Every function takes the transformation: with de.checkpoint and without it must be the same.

def one(x, c):
    return np.sum(c(lambda x: np.tanh(x @ B) * x)(x))


def in_a_row(x, c):
    segment = c(lambda x: steps(x, 3))
    for _ in range(4):
        x = segment(x)
    return np.sum(x)


def nested(x, c):
    inner = c(lambda x: steps(x, 2))
    middle = c(lambda x: inner(np.exp(-inner(x))) * x)
    outer = c(lambda x: middle(middle(x) + 0.1) * np.sin(x))
    return np.sum(outer(outer(x)) * inner(x))


def closure(x, c):
    y = np.exp(x)
    return np.sum(c(lambda: np.sin(y) * np.cos(y) * x)()) + np.sum(c(lambda z: z * y * z)(np.sqrt(x)))


def trees(x, c):
    def fun(pair, *, more):
        a, b = pair
        return {"product": a * np.sin(b), "list": [np.cos(a) * more["y"], 3.0], "same": b}
    out = c(fun)((x, np.log(x)), more={"y": np.square(x)})
    return np.sum(out["product"]) + np.sum(out["list"][0]) * out["list"][1] + np.sum(out["same"])


def branches(x, c):
    def fun(x):
        while np.sum(x) > 5:
            x = x * np.cos(x) * 0.9
        return np.sin(x) * x if x[0, 0] > 0.1 else np.exp(x)
    return np.sum(c(fun)(x) ** 2)


def in_place(x, c):
    def fun(x):
        y = np.zeros(4)
        for k in range(3):
            y[k] = np.sin(x[k, k]) * (y[k - 1] if k else 1.0)
        x[1] = np.cos(x[0]) * x[1]                               # the caller's array, too
        x += 0.5 * np.sin(x)
        return y
    z = np.array(x)
    y = c(fun)(z)
    return np.sum(y) + np.sum(z * z)


def leaks(x, c):
    kept = []

    def fun(x):
        y = np.sin(x)
        kept.append(np.exp(y))
        kept.append(y)
        return np.cos(y) * y
    z = c(fun)(x)
    return np.sum(z * kept[0]) + np.sum(np.sin(kept[1])) + (2.0 if kept[1][0, 0] > 0 else 3.0) * np.sum(x)


def unused(x, c):
    c(lambda x: np.exp(x))(x)
    return np.sum(c(lambda x: (np.sin(x), np.cos(np.sin(x))))(x)[0])


def inner_gradient(x, c):
    def energy(x):
        return np.sum(c(lambda x: np.sin(x) * np.exp(x) * np.cos(x))(c(step)(x)))
    return np.sum(c(lambda x: de.grad(energy)(np.tanh(x)) * x)(x))


def order_and_masks(x, c):
    def fun(x):
        i = np.argsort(x[0])
        return np.where(x > 0.7, np.sin(x)[:, i], np.exp(x)), np.max(np.exp(x) * x, axis=1), x[np.argmax(np.sin(x), axis=0), 0]
    a, b, d = c(fun)(x)
    return np.sum(a * a) + np.sum(b) + np.sum(d * d)


FUNCTIONS = [one, in_a_row, nested, closure, trees, branches, in_place, leaks, unused, inner_gradient, order_and_masks]


@pytest.mark.parametrize("fun", FUNCTIONS)
@pytest.mark.parametrize("method", ["symbolic", "forward", "reverse"])
def test_values_and_gradients_are_the_same_bits(fun, method):
    value, gradient = de.value_and_grad(lambda x: fun(x, de.checkpoint), method=method)(X)
    want, slope = de.value_and_grad(lambda x: fun(x, plain), method=method)(X)
    assert value == want == fun(X, de.checkpoint)
    if fun is inner_gradient:                # what is computed again is a node of its own there: contributions are added in another order
        np.testing.assert_allclose(gradient, slope, rtol=1e-14, atol=1e-15)
    else:
        assert np.array_equal(gradient, slope)


@pytest.mark.parametrize("fun", FUNCTIONS)
def test_the_judge_agrees(fun):
    x = X[:2, :2] if fun not in (one, in_place) else X
    report = de.compare(lambda x: fun(x, de.checkpoint), x)
    assert report.agree and report.culprit is None and all(m.verdict == "right" for m in report.methods.values()), report


@pytest.mark.parametrize("fun", FUNCTIONS)
def test_compiled(fun):
    function = de.jit(de.value_and_grad(lambda x: fun(x, de.checkpoint)))
    value, gradient = function(X)
    want, slope = de.value_and_grad(lambda x: fun(x, plain))(X)
    np.testing.assert_allclose(value, want, rtol=1e-13)
    np.testing.assert_allclose(gradient, slope, rtol=1e-12, atol=1e-14)
    assert np.array_equal(function(X)[1], gradient)


@pytest.mark.parametrize("outer", ["symbolic", "forward", "reverse"])
@pytest.mark.parametrize("inner", ["symbolic", "forward", "reverse"])
def test_second_derivatives(outer, inner):
    x = X[0]
    for fun in (in_a_row, nested, closure):
        got = de.jacobian(de.grad(lambda x: fun(x, de.checkpoint), method=inner), method=outer)(x)
        want = de.jacobian(de.grad(lambda x: fun(x, plain), method=inner), method=outer)(x)
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-15)


def test_other_transformations():
    fun = de.checkpoint(lambda x, y: (np.sin(x) * np.exp(y), x * np.tanh(x)))
    out, pullback = de.vjp(fun, X, 2 * X)
    for _ in range(2):                                                    # a pullback may be asked again
        for got, want in zip(pullback((X, np.ones_like(X))), (X * np.cos(X) * np.exp(2 * X) + np.tanh(X) + X / np.cosh(X) ** 2, X * np.sin(X) * np.exp(2 * X))):
            np.testing.assert_allclose(got, want, rtol=1e-13)
    for method in ("symbolic", "forward", "reverse"):
        np.testing.assert_allclose(de.jvp(fun, (X, X), (X, None), method=method)[1][0], X * np.cos(X) * np.exp(X), rtol=1e-13)
    np.testing.assert_allclose(de.jacobian(de.checkpoint(lambda x: np.cumsum(np.sin(x))), method="reverse")(X[0]), np.tri(4) * np.cos(X[0]), rtol=1e-13)
    np.testing.assert_array_equal(de.grad(de.checkpoint(lambda x: np.sum(x[:0])))(X), 0 * X)
    (value, aux), slope = de.value_and_grad(de.checkpoint(lambda x: (np.sum(np.sin(x)), {"a": np.cos(x)})), has_aux=True)(X)
    assert np.array_equal(aux["a"], np.cos(X)) and np.array_equal(slope, np.cos(X))


def test_a_decorator_that_keeps_the_name():
    @de.checkpoint
    def activation(x, scale=2.0):
        """Squashes."""
        return np.tanh(scale * x)
    assert activation.__name__ == "activation" and activation.__doc__ == "Squashes." and activation(X, scale=1.0) is not None
    with pytest.raises(TypeError, match=r"checkpoint needs a function, not ndarray: write de.checkpoint\(f\)\(x\)"):
        de.checkpoint(X)


def test_an_error_inside_leaves_nothing_behind():
    def fun(x):
        y = np.sin(x)
        try:
            de.checkpoint(lambda y: np.cos(y) @ np.zeros(7))(y)
        except ValueError as error:
            assert "matmul" in str(error)
        return np.sum(y * y)
    np.testing.assert_array_equal(de.grad(fun)(X), de.grad(lambda x: np.sum(np.sin(x) * np.sin(x)))(X))


# ---- memory ---------------------------------------------------------------------------------------------------------------------------

def peak(fun, x, method="reverse"):
    """Of the gradient, in arrays of the size of x."""
    gc.collect()
    tracemalloc.start()
    de.grad(fun, method=method)(x)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return used / x.nbytes


def test_memory_falls():
    x = np.linspace(0, 1, 2 * 10 ** 5)

    def chain(x, c):
        segment = c(lambda x: steps(x, 5))
        for _ in range(6):
            x = segment(x)
        return np.sum(x)
    assert peak(lambda x: chain(x, plain), x) > 3 * peak(lambda x: chain(x, de.checkpoint), x)


@pytest.mark.parametrize("method", ["reverse", "symbolic"])
def test_nested_segments_need_still_less(method):
    x = np.linspace(0, 1, 10 ** 4)                                     # whose nodes themselves take as much memory as 20 arrays

    def tree(x, depth, c):
        half = c(lambda x: tree(x, depth - 1, c))
        return half(half(x)) if depth else steps(x, 1)
    once = de.checkpoint(lambda x: tree(x, 7, plain))
    used = [peak(lambda x: np.sum(f(x)), x, method) for f in (lambda x: tree(x, 7, plain), once, lambda x: tree(x, 7, de.checkpoint))]
    assert used[0] > 500 and used[1] > 500 and used[2] < 80, used


def test_values_go_without_the_garbage_collector():
    x, gradient = np.linspace(0, 1, 10 ** 5), de.grad(lambda x: in_a_row(x, de.checkpoint))
    gradient(x)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(3):
            gradient(x)
        assert tracemalloc.get_traced_memory()[0] < x.nbytes
    finally:
        tracemalloc.stop()
        gc.enable()


def test_a_long_chain_takes_no_recursion_and_linear_time():
    def chain(x):
        segment = de.checkpoint(lambda x: [x := x + 1e-4 * x for _ in range(100)][-1])
        for _ in range(100):
            x = segment(x)
        return x
    assert abs(de.grad(de.checkpoint(chain))(1.0) / (1 + 1e-4) ** 10_000 - 1) < 1e-11


# ---- graphs ----------------------------------------------------------------------------------------------------------------------------

def test_the_adjoint_graph_computes_again_behind_barriers():
    graph = de.trace(lambda x: in_a_row(x, de.checkpoint), X)
    for method in ("reverse", "symbolic"):
        derivative = graph.derivative(method=method)
        names = [derivative.nodes[k]["primitive"] for k in derivative]
        assert names.count("barrier") == 4 and names.count("sin") >= 9 + 4 * 3       # once forward (but in the last segment), once again
        np.testing.assert_allclose(derivative(X), de.grad(lambda x: in_a_row(x, plain))(X), rtol=1e-13)
        cotangents = [k for k in derivative if derivative.nodes[k]["primitive"] == "barrier"]
        feeds = [{slot: derivative.nodes[k]["primitive"] for k, _, slot in derivative.in_edges(b, keys=True)} for b in cotangents]
        assert sorted(f[1] for f in feeds) == ["constant", "getitem", "getitem", "getitem"]
    assert "sin" in derivative.formula() and "barrier" not in derivative.formula()
    space = {}
    exec(derivative.source(), space)
    np.testing.assert_allclose(space[[n for n in space if callable(space[n])][-1]](X), derivative(X), rtol=1e-14)


def test_the_compiled_graph_computes_again(monkeypatch):
    from diffeng import kernels
    seen = []

    class Watched(kernels.Program):
        def __init__(self, inputs, outputs, *options, **more):
            seen.extend([n.primitive.name for n in reachable(outputs)])
            super().__init__(inputs, outputs, *options, **more)
    monkeypatch.setattr(kernels, "Program", Watched)
    de.jit(de.grad(lambda x: in_a_row(x, de.checkpoint)))(X)
    assert seen.count("barrier") == 4 and seen.count("sin") >= 9 + 4 * 3


def test_barriers_survive_other_dtypes():
    def fun(x):
        i = np.argmax(x, axis=0)
        return np.sum(de.checkpoint(lambda x, i: np.sin(x)[i] * np.exp(x)[i])(x.astype(np.float32), i) * x[0, 0].astype(np.float32))
    np.testing.assert_allclose(de.jit(de.grad(fun))(X), de.grad(fun)(X), rtol=1e-5)
    x = X.astype(np.float32)
    got = de.grad(lambda x: nested(x, de.checkpoint))(x)
    assert got.dtype == np.float32 and np.array_equal(got, de.grad(lambda x: nested(x, plain))(x))


def test_symbols():
    x = de.symbols("x")
    graph = de.to_graph(de.checkpoint(lambda x: de.sin(x) * de.exp(x))(x) + x)
    assert graph.formula() == "sin(x)·exp(x) + x" and abs(graph.derivative()(0.5) - (np.cos(0.5) + np.sin(0.5)) * np.exp(0.5) - 1) < 1e-14


def test_only_what_is_marked_costs():
    tracing = Tracing()
    x = tracing.input(X, "x")
    y = np.sin(x)
    order, value_of = reachable([y.node]), lambda n: n.value
    assert recomputing(order, value_of, None) == (value_of, None)
    z = de.checkpoint(lambda x: np.cos(np.exp(x)))(x)
    exp = z.node.operands[0]
    assert exp.value is None and z.node.value is not None and np.array_equal(restored(exp), np.exp(X)) and exp.value is not None
    assert adjoint([np.sum(z).node], [x.node])[0].shape == X.shape


def test_the_largest_is_told_from_numbers_that_were_computed_again():
    """Sums of the second computation may come in another order, and a maximum of the first one then equals none of them."""
    random = np.random.default_rng(0)
    weights, x, w = random.standard_normal(21), random.standard_normal((65, 1)), random.standard_normal((4, 4))

    def f(x, w):
        u, states = x * 1.0, []
        for _ in range(21):
            u = np.tanh(np.sin(u * 1.3))
            states.append(u)
        return np.min(np.einsum("ij,klm->mk", w, np.stack(states)), axis=0)
    want = de.grad(lambda x, w: np.sum(f(x, w) * weights), (0, 1))(x, w)
    got = de.jit(de.grad(lambda x, w: np.sum(de.checkpoint(f)(x, w) * weights), (0, 1)))(x, w)
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)
