"""The symbolic witness in every arithmetic and on whole graphs: digits, derivatives of derivatives, the chain rule, rows that are missing or spoilt."""
import mpmath as mp
import numpy as np
import pytest
import sympy as sp

import diffeng as de
from diffeng import symbolic
from diffeng.nodes import Node, Tracing, reachable
from diffeng.precise import numbers, precise, precision
from diffeng.vocabulary import PRIMITIVES
from diffeng.vocabulary.indexing import Slot
from test_symbolic import MAPS, TRUE, U, difference, is_float, local, rng          # noqa: F401


# ---- types and digits -------------------------------------------------------------------------------------------------------------

CASES = [(name, [rng.uniform(*d, (2, 3)) for d in PRIMITIVES[name].domain], {}) for name in MAPS if name != "where"]
CASES += [(name, [U(2, 3)], dict(axis=(0,), keepdims=False)) for name in "sum mean prod max min logsumexp".split()]
CASES += [("var", [U(2, 3)], dict(axis=(1,), keepdims=False, ddof=1)), ("cumsum", [U(2, 3)], dict(axis=1)), ("cumprod", [U(2, 3)], dict(axis=1)),
          ("matmul", [U(2, 3), U(3, 2)], {}), ("einsum", [U(2, 2)], dict(subscripts="ii->i")), ("concatenate", [U(2, 3), U(1, 3)], dict(axis=0)),
          ("pad", [U(3)], dict(widths=((1, 2),), value=0.5)),
          ("getitem", [U(3, 2), np.array([0, 0, 2])], dict(index=(Slot(0),))), ("broadcast_to", [U(3, 1)], dict(shape=(2, 3, 4))),
          ("setitem", [U(3, 2), U(2)], dict(index=(1,))),
          ("where", [np.array([True, False]), U(2), U(2)], {})]


@pytest.mark.parametrize("name, operands, params", CASES, ids=[c[0] for c in CASES])
def test_float32_stays_float32(name, operands, params):
    primitive = PRIMITIVES[name]
    small = [x.astype(np.float32) if is_float(x) else x for x in operands]
    z, z32 = (np.asarray(primitive(*x, **params)) for x in (operands, small))
    g = rng.uniform(0.5, 2.0, z.shape)
    for slot in range(len(operands)):
        if is_float(operands[slot]) and primitive.differentiable(slot):
            found = symbolic.pull(primitive, slot, g.astype(np.float32), z32, small, params)
            assert found.dtype == np.float32 and np.allclose(found, symbolic.pull(primitive, slot, g, z, operands, params), rtol=5e-5)
    tracing = Tracing()
    nodes = [tracing.input(x, "x") if is_float(x) else x for x in small]
    for slot in range(len(operands)):
        if is_float(operands[slot]) and primitive.differentiable(slot):
            out = symbolic.pull(primitive, slot, tracing.input(g.astype(np.float32), "g"), primitive(*nodes, **params), nodes, params)
            wide = [k for k in reachable([out.node]) if k.dtype == np.float64]
            assert not wide, f"computed in float64: {wide}"


@pytest.mark.parametrize("name, operands, params", CASES, ids=[c[0] for c in CASES])
def test_hundred_digits(name, operands, params):
    """The same rule in 100 digits agrees with float64, and differs from itself in 140 digits by nothing a float sees."""
    primitive = PRIMITIVES[name]
    z = np.asarray(primitive(*operands, **params))
    g = rng.uniform(0.5, 2.0, z.shape)
    for slot in range(len(operands)):
        if not (is_float(operands[slot]) and primitive.differentiable(slot)):
            continue
        found = []
        for digits in (100, 140):
            with precision(digits):
                exact = [precise(x) if is_float(x) else x for x in operands]
                found.append(symbolic.pull(primitive, slot, precise(g), primitive(*exact, **params), exact, params))
        with precision(140):
            assert np.max(np.abs(numbers(found[0] - found[1]))) < 1e-90
        assert np.allclose(numbers(found[0]), symbolic.pull(primitive, slot, g, z, operands, params), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", [m for m in MAPS if m != "where" and len(PRIMITIVES[m].domain) == 2])
@pytest.mark.parametrize("kind", [float, np.float64, np.array, lambda c: np.array([c, c / 3])])
def test_closed_over_constants_keep_their_digits(name, kind):
    """y - 1 for a constant y = 0.3 has no float64: in 100 digits it must be computed there."""
    primitive = PRIMITIVES[name]
    for slot in [k for k in (0, 1) if primitive.differentiable(k)]:
        c = kind(0.5 * sum(PRIMITIVES[name].domain[1 - slot]) + 0.1)
        x = rng.uniform(*primitive.domain[slot], (3, 2))
        with precision(100):
            operands, exact = ([precise(x) if k == slot else f(c) for k in (0, 1)] for f in (lambda c: c, precise))
            found, true = (symbolic.pull(primitive, slot, precise(x), primitive(*o), o, {}) for o in (operands, exact))
            assert np.max(np.abs(numbers(found - true))) < 1e-90


def test_constants_are_exact():
    with precision(100):
        x = precise(np.array(0.0))
        slope = symbolic.pull(PRIMITIVES["erf"], 0, precise(np.array(1.0)), PRIMITIVES["erf"](x), (x,), {})
        true = 2 / precise(de.constants.SQRT_PI)
        assert abs(numbers(slope - true)) < 1e-98
        slope = symbolic.pull(PRIMITIVES["mean"], 0, np.array(1.0), PRIMITIVES["mean"](precise(np.ones(3)), axis=(0,), keepdims=False),
        (precise(np.ones(3)),), dict(axis=(0,), keepdims=False))
        assert np.all(np.abs(numbers(3 * slope - 1)) < 1e-98)


# ---- derivatives as graphs ----------------------------------------------------------------------------------------------------------

def test_derivative_is_a_graph_and_can_be_differentiated_again():
    A = U(3, 3)

    def f(x):
        return np.sum(np.tanh(A @ x) * x[::-1]) + np.prod(x) + np.var(x) + np.max(x) ** 3 + np.sum(np.cumprod(x)) + np.sum(x ** 2.5) + np.hypot(x[0], x[1])
    x = U(3)
    graph = de.trace(f, x).derivative(method="symbolic")
    other = U(3)
    for at in (x, other):
        true = difference(_Whole(f), [at], 0, np.array(1.0), {})
        assert np.allclose(graph(at), true, rtol=1e-13)
    hessian = de.hessian(f, method="symbolic")(x)
    for k in range(3):
        true = difference(_Whole(lambda y: graph(y)[k]), [x], 0, np.array(1.0), {})
        assert np.allclose(hessian[k], true, rtol=1e-12)


@pytest.mark.parametrize("name", "exp expm1 log1p sin cos tan arcsin arctan sinh cosh tanh arcsinh arctanh erf expit log_expit".split())
def test_higher_derivatives_at_zero(name):
    """Up to the fourth, against Taylor coefficients: an accurate form of the first must not have a kink where the function has none."""
    def f(x):
        return PRIMITIVES[name](x)
    taylor = mp.taylor(TRUE[name], 0, 4)
    for order in range(1, 5):
        f = de.grad(f, method="symbolic")
        assert f(0.0) == pytest.approx(float(taylor[order] * mp.factorial(order)), abs=1e-12), order


class _Whole:
    """A user's function where a primitive is expected."""

    def __init__(self, f):
        self.f = f

    def __call__(self, x):
        return self.f(x)


def test_traced_indices_become_part_of_the_graph():
    x = U(4, 3)
    for f in (lambda x, i: np.sum(x[i] ** 2), lambda x, i: np.sum(x[:, i] ** 3), lambda x, i: np.sum(de.special.xlogy(x[i, i], 2.0)),
              lambda x, i: np.sum(x[np.array([0, 1]), i[:2]] ** 2)):
        graph = de.trace(f, x, np.array([0, 1, 2])).derivative(0, method="symbolic")
        for i in ([0, 0, 2], [2, 1, 1]):
            assert np.allclose(graph(x, np.array(i)), difference(_Whole(lambda y: f(y, np.array(i))), [x], 0, np.array(1.0), {}), rtol=1e-13)

    def written(x, i):
        y = np.zeros(4)
        y[i] = x[:, 0][i] * 2
        return np.sum(y ** 2)
    graph = de.trace(written, x, np.array(1)).derivative(0, method="symbolic")
    assert np.allclose(graph(x, np.array(3))[:, 0], [0, 0, 0, 8 * x[3, 0]])


def test_no_intermediate_of_a_contraction_is_larger_than_its_operands():
    for name, shapes, params in (("matmul", [(20, 30), (30, 40)], {}), ("einsum", [(4, 20, 30), (4, 30, 25)], {"subscripts": "bij,bjk->bik"}),
                                 ("tensordot", [(6, 7, 8), (8, 6, 9)], {"axes": ((0, 2), (1, 0))})):
        tracing = Tracing()
        operands = [tracing.input(U(*s), "x") for s in shapes]
        z = PRIMITIVES[name](*operands, **params)
        most = max([z.size] + [x.size for x in operands])
        for slot in range(2):
            out = symbolic.pull(PRIMITIVES[name], slot, z, z, operands, params)
            assert max(int(np.prod(k.shape)) for k in reachable([out.node])) <= most
            assert "matmul" in [k.primitive.name for k in reachable([out.node])]


def test_readable():
    X, y = U(5, 3), (U(5) > 1).astype(float)

    def loss(w):
        return np.sum((X @ w - y) ** 2)
    names = [k.primitive.name for k in de.trace(loss, np.ones(3)).derivative(method="symbolic").order]
    assert names.count("matmul") == 2 and "einsum" not in names and "scatter" not in names
    graph = de.trace(lambda x: np.sum(np.concatenate([x, x * 2])[1:].reshape(-1) ** 2), np.ones((2, 2)))
    names = [k.primitive.name for k in graph.derivative(method="symbolic").order]
    assert "where" not in names and names.count("scatter") == 1                    # slices stay slices


# ---- the chain rule -------------------------------------------------------------------------------------------------------------------

def recorded(f, *args):
    tracing = Tracing()
    inputs = [tracing.input(np.asarray(x), f"x{k}") for k, x in enumerate(args)]
    out = f(*inputs)
    return out.node, [t.node for t in inputs]


def test_gradient_of_shared_and_repeated_operands():
    out, (x, y) = recorded(lambda x, y: (x * x + x) * (x * x + x), 3.0, 2.0)
    found = symbolic.gradient([out], [np.array(1.0)], [x, y], lambda node: node.value)
    assert found[0] == 2 * 12 * 7 and found[1] is None
    out, (x,) = recorded(lambda x: np.floor(x) * 2.0, 3.5)
    assert symbolic.gradient([out], [np.array(1.0)], [x], lambda node: node.value) == [None]
    assert symbolic.gradient([x], [np.array(4.0)], [x], lambda node: node.value) == [4.0]


def test_gradient_of_several_outputs_and_of_inner_nodes():
    tracing = Tracing()
    x = tracing.input(np.array([1.0, 2.0]), "x")
    inner = np.exp(x)
    a, b = inner * 3.0, np.sum(inner)
    nodes, seen = [x.node, inner.node], []
    found = symbolic.gradient([a.node, b.node], [np.array([1.0, 10.0]), np.array(5.0)], nodes, lambda node: node.value, at=lambda node, g: seen.append(node))
    assert np.allclose(found[1], [8, 35]) and np.allclose(found[0], np.exp([1.0, 2.0]) * [8, 35])
    assert all(isinstance(node, Node) for node in seen) and inner.node in seen
    assert symbolic.gradient([a.node, b.node], [None, np.array(1.0)], [inner.node], lambda node: node.value)[0].tolist() == [1, 1]


def test_long_chains_need_no_recursion():
    def f(x):
        for _ in range(5000):
            x = x + np.sin(x) * 0.001
        return x
    out, (x,) = recorded(f, 0.5)
    found = symbolic.gradient([out], [np.array(1.0)], [x], lambda node: node.value)[0]
    y, slope = 0.5, 1.0
    for _ in range(5000):
        slope, y = slope * (1 + np.cos(y) * 0.001), y + np.sin(y) * 0.001
    assert np.isclose(found, slope, rtol=1e-12)


# ---- rows that are missing, changed, or spoilt on purpose ------------------------------------------------------------------------------------

def test_missing_row_names_the_cure(monkeypatch):
    monkeypatch.delitem(symbolic.DEFINITION, "erf")
    with pytest.raises(NotImplementedError, match=r"no definition for 'erf'.*add a row to DEFINITION in diffeng/symbolic"):
        local("erf", 0, np.array([1.0]))


def test_a_new_row_is_differentiated_anew(monkeypatch):
    x = np.array([2.0])
    assert local("square", 0, x) == 4
    monkeypatch.setitem(symbolic.DEFINITION, "square", lambda x: x**3)
    assert local("square", 0, x) == 12 and symbolic.value(PRIMITIVES["square"], (x,), {}) == 8
    monkeypatch.undo()
    assert local("square", 0, x) == 4 and symbolic.value(PRIMITIVES["square"], (x,), {}) == 4


def test_unknown_function_in_a_definition_is_named(monkeypatch):
    monkeypatch.setitem(symbolic.DEFINITION, "square", lambda x: sp.airyai(x))
    with pytest.raises(NotImplementedError, match="airyai"):
        local("square", 0, np.array([2.0]))


def test_planted_fault(monkeypatch):
    monkeypatch.setitem(symbolic.FAULTS, "multiply", lambda slot, c: -c if slot == 1 else c)
    assert local("multiply", 1, np.array([2.0]), np.array([3.0])) == -2 and local("multiply", 0, np.array([2.0]), np.array([3.0])) == 3
    monkeypatch.undo()
    assert local("multiply", 1, np.array([2.0]), np.array([3.0])) == 2


def test_var_takes_its_ddof():
    x = U(5)
    for d in (0, 1, 2):
        found = local("var", 0, x, axis=(0,), keepdims=False, ddof=d)
        assert np.allclose(found, 2 * (x - x.mean()) / (5 - d), rtol=1e-13)
