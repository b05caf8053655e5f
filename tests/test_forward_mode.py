"""Dual numbers as users meet them: nesting, levels, looks, assignment, dtypes, and what is said when a row is missing. (The rows: test_forward_rows.py.)"""
import numpy as np
import pytest
import scipy.special
from test_forward_rows import REFERENCE, derivative, jacobian

from diffeng.forward_mode import PUSH, Dual, Pushing, push
from diffeng.nodes import Tracing
from diffeng.vocabulary import PRIMITIVES, elementwise as e


# ---- dual numbers as users meet them -----------------------------------------------------------------------------------------------------------

def test_no_perturbation_confusion():
    """d/dx (x * d/dy (x + y)) is 1: the inner derivative must not see the outer x move."""
    assert derivative(lambda x: x * derivative(lambda y: x + y, np.array(1.0)), np.array(2.0)) == 1.0
    assert derivative(lambda x: x * derivative(lambda y: x * y * y, np.array(3.0)), np.array(2.0)) == 24.0


def test_nested_to_the_third_derivative():
    def nth(f, n):
        return f if n == 0 else nth(lambda x: derivative_of_dual(f, x), n - 1)

    def derivative_of_dual(f, x):
        (_,), (dy,) = push(lambda z: [f(z)], [x], [np.ones((1,))])
        return dy[0]

    x = np.array(0.3)
    t = np.tanh(0.3)
    assert float(nth(np.tanh, 2)(x)) == pytest.approx(-2 * t * (1 - t * t), rel=1e-14)
    assert float(nth(np.tanh, 3)(x)) == pytest.approx((1 - t * t) * (6 * t * t - 2), rel=1e-14)
    assert float(nth(lambda x: x ** 4, 3)(np.array(0.0))) == 0.0
    assert float(nth(e.erf, 2)(x)) == pytest.approx(-2 * 0.3 * 2 / np.sqrt(np.pi) * np.exp(-0.09), rel=1e-14)


@pytest.mark.parametrize("name", sorted(set(REFERENCE) - {"remainder", "absolute", "maximum", "minimum"}))
def test_rows_can_be_pushed_again(name):
    """Second derivatives: the row of a row against differences of the row in float64."""
    primitive, rng = PRIMITIVES[name], np.random.default_rng(7)
    point = [np.array(0.25 * low + 0.75 * high + 0.01 * rng.normal()) for low, high in primitive.domain]
    for slot in [k for k in range(len(point)) if primitive.differentiable(k)]:
        def first(x, slot=slot):
            (_,), (dy,) = push(lambda z: [primitive(*point[:slot], z, *point[slot + 1:])], [x], [np.ones(1)])
            return dy[0]
        h = 1e-3
        truth = (8 * (first(point[slot] + h) - first(point[slot] - h)) - (first(point[slot] + 2 * h) - first(point[slot] - 2 * h))) / (12 * h)
        got = derivative(first, point[slot])
        assert float(0.0 if got is None else got) == pytest.approx(float(truth), rel=1e-8, abs=1e-9)


def test_mixed_second_derivative_where_a_tangent_happens_to_be_zero():
    """d/dx d/dy sqrt(1 + x*y) at x = 0: the inner tangent x is 0 and must still be differentiated."""
    def inner(x):
        return derivative(lambda y: np.sqrt(1 + x * y), np.array(2.0))
    assert derivative(inner, np.array(0.0)) == 0.5


def test_second_derivatives_of_products_with_zeros():
    def first(x):
        (_,), (dy,) = push(lambda z: [np.prod(z)], [x], [np.eye(3)])
        return dy
    x = np.array([0.0, 2.0, 0.0])
    assert jacobian(first, x).tolist() == [[0.0, 0.0, 2.0], [0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]


def test_a_tangent_over_tracers_is_a_graph():
    tracing = Tracing()
    x = tracing.input(np.array([0.5, 1.5]), "x")
    (y,), (dy,) = push(lambda x: [np.sum(np.sin(x) * x)], [x], [np.eye(2)])
    assert dy.node.shape == (2,)
    np.testing.assert_allclose(dy.node.value, np.cos([0.5, 1.5]) * [0.5, 1.5] + np.sin([0.5, 1.5]), rtol=1e-15)
    symbol = Tracing().input(None, "x", (3, 4), np.float32)            # no values: shapes and dtypes only
    (y,), (dy,) = push(lambda x: [np.exp(x[1:] @ np.ones((4, 2), np.float32))[:, [0, 1, 1]] * np.max(x)], [symbol], [np.ones((5, 3, 4), np.float32)])
    assert y.shape == (2, 3) and dy.shape == (5, 2, 3) and dy.dtype == np.float32


def test_python_numbers_are_weak():
    x = np.array([0.5, 2.0], np.float32)
    for f in (lambda x: 2.0 ** x, lambda x: x ** 2.5, lambda x: np.logaddexp(x, 0.0), lambda x: np.hypot(3, x), lambda x: np.maximum(x, 1.0), lambda x: 1 / x,
              lambda x: np.where(x > 1, x, 0.0), lambda x: np.arctan2(1.0, x), scipy.special.erf, lambda x: x ** 0):
        assert derivative(f, x).dtype == np.float32
    assert derivative(lambda x: x * np.float64(3.0), x).dtype == np.float64          # as NumPy has it
    assert derivative(lambda x: x.astype(np.float64), x).dtype == np.float64
    assert derivative(lambda x: x.astype(np.float64).astype(np.float16), x).dtype == np.float16


def test_what_does_not_move_has_no_tangent():
    x = np.array([0.5, 2.0])
    outputs, tangents = push(lambda x, y: [y * 2, np.floor(x), x > 1, np.argmax(x), x.astype(int), 3.0, x * y], [x, x], [np.ones((1, 2)), None])
    assert [t is None for t in tangents] == [True] * 6 + [False]
    assert not any(isinstance(o, Dual) for o in outputs) and outputs[4].tolist() == [0, 2]


def test_python_looks_at_primals():
    def f(x, n):
        total = 0.0
        for k in range(n):
            total = total + (x[k] if x[k] > 0 else -2 * x[k]) * float(k + 1)
        return total * int(n) + len(x)
    x = np.array([1.0, -1.0, 2.0])
    (_,), (dy,) = push(lambda x, n: [f(x, n)], [x, np.array(3)], [np.eye(3), None])
    assert dy.tolist() == [3.0, -12.0, 9.0]


def test_filling_assigning_and_aliases():
    def f(x):
        out = np.zeros(3)
        out[0] = x[0] * x[1]
        row = out[1:]
        row[0] = x[0]
        out += 2 * x[0]
        z = np.floor(x)                      # does not move, until something that moves is written into it
        z[1] = x[0] * 5
        y = x.copy()
        y[:] = 1.0
        return np.array([np.sum(out), z.sum(), y.sum() * x[1]])
    assert jacobian(f, np.array([3.0, 4.0])).tolist() == [[4 + 1 + 6, 5, 0], [3, 0, 2]]


def test_an_inner_value_cannot_be_hidden_in_an_outer_array():
    def outer(x):
        kept = x * 1.0

        def inner(y):
            kept[0] = y[0]
            return kept
        return derivative(inner, np.array([1.0]))
    with pytest.raises(TypeError, match="assigned at test_forward_mode.py:.* np.zeros"):
        derivative(outer, np.array([1.0]))


def test_zero_directions_and_empty_arrays():
    (y,), (dy,) = push(lambda x: [np.sum(np.exp(x) * 2)], [np.zeros((0, 3))], [np.zeros((0, 0, 3))])
    assert y == 0.0 and dy.shape == (0,)
    (y,), (dy,) = push(lambda x: [np.sqrt(x) @ np.zeros((3, 2))], [np.zeros((0, 3))], [np.ones((4, 0, 3))])
    assert dy.shape == (4, 0, 2)


def test_zero_dimensional():
    (y,), (dy,) = push(lambda x: [np.exp(x) * x], [2.0], [np.ones(1)])
    assert y.shape == () and dy.shape == (1,) and dy[0] == pytest.approx(3 * np.exp(2.0), rel=1e-15)


def test_strided_and_fortran_ordered():
    x = np.asfortranarray(np.random.default_rng(3).uniform(1, 2, (4, 6)))[::2, ::-1]
    np.testing.assert_allclose(jacobian(lambda x: np.sum(x ** 2 * np.arange(6.0)), x).reshape(2, 6), 2 * x * np.arange(6.0), rtol=1e-15)


def test_directions_are_independent():
    rng = np.random.default_rng(0)
    x, d = rng.normal(size=(3, 4)), rng.normal(size=(5, 3, 4))

    def f(x):
        z = np.tanh(x @ x.T) - np.mean(x, axis=1, keepdims=True)
        return np.concatenate([z[::-1, [0, 2]].ravel(), np.cumprod(x)[:3], [np.var(x), np.max(x)]])
    (_,), (together,) = push(lambda x: [f(x)], [x], [d])
    for k in range(5):
        (_,), (alone,) = push(lambda x: [f(x)], [x], [d[k:k + 1]])
        np.testing.assert_allclose(together[k], alone[0], rtol=1e-13)


def test_a_long_chain_costs_the_same_per_step():
    def chain(x):
        for _ in range(20_000):
            x = np.sin(x)
        return x
    assert 0 < derivative(chain, np.array(1.0)) < 1e-4


# ---- rows are looked up, and their absence is told --------------------------------------------------------------------------------------------------

def test_a_missing_row_names_primitive_operand_line_and_cure(monkeypatch):
    monkeypatch.delitem(PUSH, "erf")
    with pytest.raises(NotImplementedError, match=r"no tangent rule for 'erf' \(operand 0\): add a row to PUSH in diffeng/forward_mode.py "
                                                  r"\(needed at test_forward_mode.py:\d+\)"):
        derivative(lambda x: scipy.special.erf(x), np.array(1.0))
    monkeypatch.setitem(PUSH, "multiply", PUSH["multiply"][:1])
    with pytest.raises(NotImplementedError, match=r"'multiply' \(operand 1\)"):
        derivative(lambda x: 2 * x, np.array(1.0))


def test_a_replaced_row_is_used_at_once(monkeypatch):
    class Planted:
        def __getitem__(self, slot):
            return lambda dx, x: -dx
    assert derivative(np.exp, np.array(0.0)) == 1.0
    monkeypatch.setitem(PUSH, "exp", Planted())
    assert derivative(np.exp, np.array(0.0)) == -1.0


def test_bad_tangents_are_refused():
    with pytest.raises(TypeError, match="int64 cannot move"):
        push(lambda x: [x], [np.arange(3)], [np.ones((1, 3))])
    with pytest.raises(ValueError, match=r"shape \(3,\) does not fit a value of shape \(3,\)"):
        push(lambda x: [x], [np.ones(3)], [np.ones(3)])
    with pytest.raises(ValueError):
        push(lambda x: [x], [np.ones(3)], [])


def test_levels_grow_inwards():
    assert Pushing().level < Pushing().level
