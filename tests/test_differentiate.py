"""grad, jacobian, hessian, jvp, vjp, hvp: interchangeable methods, nesting, containers, errors."""
import numpy as np
import pytest

import diffeng as de

METHODS = ["symbolic", "forward", "reverse"]
R = np.random.default_rng(3)
A, x0 = R.normal(size=(4, 3)), R.normal(size=3)


def quadratic(x):
    return np.sum((A @ x) ** 2) / 2 + np.sum(np.sin(x))


GRADIENT = A.T @ A @ x0 + np.cos(x0)
HESSIAN = A.T @ A - np.diag(np.sin(x0))


@pytest.mark.parametrize("method", METHODS)
def test_first_derivatives(method):
    value, gradient = de.value_and_grad(quadratic, method=method)(x0)
    assert value == pytest.approx(quadratic(x0))
    np.testing.assert_allclose(gradient, GRADIENT, rtol=1e-13)
    np.testing.assert_allclose(de.jacobian(lambda x: A @ np.tanh(x), method=method)(x0), A * (1 - np.tanh(x0) ** 2), rtol=1e-12)
    v, g = R.normal(size=3), R.normal(size=4)
    out, tangent = de.jvp(lambda x: A @ np.exp(x), (x0,), (v,), method=method)
    np.testing.assert_allclose(tangent, A @ (np.exp(x0) * v), rtol=1e-13)
    np.testing.assert_allclose(out, A @ np.exp(x0))
    out, pullback = de.vjp(lambda x: A @ np.exp(x), x0, method=method)
    np.testing.assert_allclose(pullback(g)[0], (A.T @ g) * np.exp(x0), rtol=1e-13)


def test_linearize_is_jvp_without_running_again():
    runs = []

    def f(x, y):
        runs.append(1)
        return {"p": A @ np.sin(x) * y, "q": np.sum(x) * y}

    out, linear = de.linearize(f, x0, 2.0)
    for _ in range(3):
        v, u = R.normal(size=3), float(R.normal())
        got, (want_out, want) = linear(v, u), de.jvp(f, (x0, 2.0), (v, u))
        np.testing.assert_allclose(out["p"], want_out["p"])
        np.testing.assert_allclose(got["p"], want["p"], rtol=1e-12)
        assert got["q"] == pytest.approx(want["q"], rel=1e-12)
    assert len(runs) == 4                      # one for linearize, one for each jvp
    with pytest.raises(ValueError, match="one a primal"):
        linear(x0)
    with pytest.raises(ValueError, match="linearize: the tangent of x has shape"):
        linear(np.ones(2), 1.0)


@pytest.mark.parametrize("method", METHODS + ["auto"])
def test_second_derivatives(method):
    np.testing.assert_allclose(de.hessian(quadratic, method=method)(x0), HESSIAN, rtol=1e-12, atol=1e-13)
    v = R.normal(size=3)
    gradient, product = de.hvp(quadratic, (x0,), (v,), method=method)
    np.testing.assert_allclose(gradient[0], GRADIENT, rtol=1e-12)
    np.testing.assert_allclose(product[0], HESSIAN @ v, rtol=1e-12)


@pytest.mark.parametrize("outer", METHODS)
@pytest.mark.parametrize("inner", METHODS)
def test_nesting_does_not_confuse_perturbations(outer, inner):
    f = lambda x: x * de.grad(lambda y: x + y, method=inner)(x)      # noqa: E731
    assert de.grad(f, method=outer)(2.0) == 1
    g = lambda x: x * de.grad(lambda y: x * y * y, method=inner)(x)      # noqa: E731  2 x^3
    assert de.grad(g, method=outer)(2.0) == pytest.approx(24)
    third = de.grad(de.grad(de.grad(lambda x: x ** 5, method=inner), method=outer), method=inner)
    assert third(2.0) == pytest.approx(240)


@pytest.mark.parametrize("method", METHODS)
def test_containers_keep_their_structure(method):
    def loss(p, x):
        h = np.tanh(x @ p["w"][0] + p["b"])
        return np.sum(h @ p["w"][1]), {"hidden": h}

    p = {"w": [R.normal(size=(3, 4)), R.normal(size=(4,))], "b": np.zeros(4, np.float32)}
    (value, aux), g = de.value_and_grad(loss, has_aux=True, method=method)(p, x0)
    assert set(g) == {"w", "b"} and isinstance(g["w"], list) and g["b"].dtype == np.float32 and g["w"][0].shape == (3, 4)
    assert np.shape(aux["hidden"]) == (4,)
    both = de.grad(lambda x, y: np.sum(x * y), argnums=(0, 1), method=method)(x0, 2 * x0)
    np.testing.assert_allclose(both[0], 2 * x0)
    np.testing.assert_allclose(both[1], x0)
    J = de.jacobian(lambda q: {"s": q["a"] * q["b"]}, method=method)({"a": np.ones(2), "b": np.full(2, 3.0)})
    np.testing.assert_allclose(J["s"]["a"], 3 * np.eye(2))


@pytest.mark.parametrize("method", METHODS)
def test_no_influence_is_zero(method):
    np.testing.assert_array_equal(de.grad(lambda x: 3.0 + 0 * np.sum(np.floor(x)), method=method)(x0), np.zeros(3))
    np.testing.assert_array_equal(de.grad(lambda x, y: np.sum(y), method=method)(x0, x0), np.zeros(3))
    np.testing.assert_array_equal(de.jacobian(lambda x: np.ones(2), method=method)(x0), np.zeros((2, 3)))
    np.testing.assert_array_equal(de.grad(lambda x: np.sum(de.stop_gradient(x) * x), method=method)(x0), x0)


@pytest.mark.parametrize("call,text", [
    (lambda: de.grad(lambda x: x * 2)(x0), r"scalar output, and <lambda> returned shape \(3,\), made by multiply at test_differentiate.py:\d+.*jacobian"),
    (lambda: de.grad(lambda x: x * 2)(3), "integer.*3.0 instead of 3"),
    (lambda: de.grad(lambda x: x * 2)(np.arange(3)), "integer"),
    (lambda: de.grad(lambda x: x * 2)("a"), "type str"),
    (lambda: de.grad(lambda x: x * 2)(1j), "complex"),
    (lambda: de.grad(lambda x: None)(1.0), "returned None.*return missing"),
    (lambda: de.grad(lambda x: "no")(1.0), "returned an object of type str"),
    (lambda: de.grad(lambda x: x > 0)(1.0), "dtype bool, which has no derivative"),
    (lambda: de.grad(lambda x: x, argnums=2)(1.0), "argnums=2"),
    (lambda: de.grad(5), "needs a function, not int"),
    (lambda: de.jvp(np.sin, (x0,), (np.ones(2),)), "shape"),
    (lambda: de.jvp(np.sin, x0, x0), r"jvp\(f, \(x,\), \(v,\)\)"), (lambda: de.hvp(np.sin, 1.0, 2.0), r"hvp\(f, \(x,\), \(v,\)\)"),
    (lambda: de.jit(lambda x: None)(1.0), "^<lambda> returned None"), (lambda: de.trace(de.ones(2, 2)), r"trace needs a function to record, not Tensor: .*x\.trace\(\)"),
    (lambda: de.grad(lambda x: x @ np.ones(4))(x0), r"matmul at test_differentiate.py:\d+.*\(3,\) float64, \(4,\) float64"),
    (lambda: de.grad(lambda x: np.sum(x + np.ones(4)))(x0), r"add at test_differentiate.py:\d+.*broadcast.*x\[:, None\]"),
    (lambda: de.grad(lambda x: x[7])(x0), r"getitem at test_differentiate.py:\d+"),
])
def test_errors_say_what_to_do(call, text):
    with pytest.raises((TypeError, ValueError, IndexError), match=text):
        call()


def test_an_error_runs_the_function_once_more_to_say_where():
    runs = []

    def vector(x):
        runs.append(len(runs))
        return np.exp(x) * 2.0

    def once(x):
        if not runs:
            raise RuntimeError("one run is all there is")
        return x * runs.pop()
    de.vjp(vector, x0)
    assert runs == [0]                                                   # nobody asks where
    with pytest.raises(TypeError, match=r"shape \(3,\), made by multiply at test_differentiate.py:\d+"):
        de.grad(vector)(x0)
    assert runs == [0, 1, 2]
    runs[:] = [1.0]
    with pytest.raises(TypeError, match=r"shape \(3,\), made by multiply\. Take np.sum"):
        de.grad(once)(x0)


def test_unknown_method():
    with pytest.raises(ValueError, match="choose one of symbolic, forward, reverse"):
        de.grad(np.sin, method="backward")


@pytest.mark.parametrize("method", ["forward", "reverse"])
def test_a_hundred_thousand_operations_need_no_recursion(method):
    def chain(x):
        for _ in range(50_000):
            x = x * 0.5 + 0.25
        return x

    assert de.grad(chain, method=method)(3.0) == pytest.approx(0.5 ** 50_000, abs=1e-300)


def test_import_is_light():
    import subprocess
    import sys
    code = ("import sys, numpy; before = set(sys.modules); import diffeng; "
            "heavy = {'sympy', 'numba', 'scipy', 'networkx', 'flint', 'graphviz', 'optree'} & (set(sys.modules) - before);"
            "assert not heavy, heavy; diffeng.grad(lambda x: x * x)(1.0); "
            "heavy = {'sympy', 'numba', 'networkx', 'flint'} & set(sys.modules); assert not heavy, heavy")
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("method", METHODS)
def test_a_pullback_remembers_what_the_caller_writes_over(method):
    x, w = np.array([0.5, 1.5]), np.array([2.0, 3.0])
    out, pullback = de.vjp(lambda x, w: np.exp(x) * w, x, w, method=method)
    want = pullback(np.ones(2))
    out[...], x[...], w[...] = 0.0, 7.0, 9.0
    for got, before in zip(pullback(np.ones(2)), want):
        np.testing.assert_array_equal(got, before)


def test_a_linear_function_remembers_what_the_caller_writes_over():
    x = np.array([0.5, 1.5])
    out, linear = de.linearize(lambda x: np.exp(x) * x, x)
    want = linear(np.ones(2))
    out[...], x[...] = 0.0, 7.0
    np.testing.assert_array_equal(linear(np.ones(2)), want)


def test_stop_gradient_nests():
    g = de.grad(lambda d: np.sum(de.stop_gradient(d)["a"][0] * d["a"][0]))({"a": [np.array([1.0, 2.0])]})
    assert g["a"][0].tolist() == [1, 2]


@pytest.mark.parametrize("method", METHODS)
def test_an_argument_chosen_twice_has_two_gradients(method):
    for f in (de.grad, de.jacobian, de.hessian):
        first, second = f(lambda x: np.sum(x ** 3), argnums=(0, 0), method=method)(np.array([1.0, 2.0]))
        if f is de.hessian:
            assert not np.shares_memory(first[0], first[1])
            first, second = first[1], second[0]
        assert not np.shares_memory(first, second) and np.array_equal(first, second)


@pytest.mark.parametrize("method", METHODS)
def test_directions_may_be_integers_and_not_complex(method):
    """As scipy.sparse.linalg.LinearOperator asks, which looks at the dtype of a product with a vector of int8."""
    x = np.array([1.0, 2.0], np.float32)
    out, tangent = de.jvp(np.square, (x,), (np.array([1, -1], np.int8),), method=method)
    assert tangent.dtype == np.float32 and tangent.tolist() == [2.0, -4.0]
    gradient, product = de.hvp(lambda x: np.sum(x ** 3), (x,), (np.array([True, False]),), method=method)
    assert product[0].dtype == np.float32 and product[0].tolist() == [6.0, 0.0]
    pull = de.vjp(np.square, x, method=method)[1]
    assert pull(np.array([1, -1]))[0].tolist() == [2.0, -4.0]
    for call in (lambda: pull(x * 1j), lambda: de.jvp(np.square, (x,), (x * 1j,), method=method)):
        with pytest.raises(TypeError, match="complex"):
            call()


@pytest.mark.parametrize("method", METHODS)
def test_a_number_that_is_differentiated_by_is_float64_compiled_or_not(method):
    x = np.float32([1, 2])
    both = de.value_and_grad(lambda a, x: np.sum(a * x), method=method)
    for f in (both, de.jit(both), lambda a, x: de.jit(lambda b, x: both(b / 2, x))(2 * a, x)):
        value, gradient = f(2.0, x)
        assert value == 6 and gradient == 3 and value.dtype == gradient.dtype == np.float64


def test_names_and_functions_that_are_none_are_told_at_once():
    for name, near in (("compair", "compare"), ("Grad", "grad")):
        with pytest.raises(AttributeError, match=f"did you mean {near}"):
            getattr(de, name)
    for transform in (de.grad, de.jacobian, de.hessian):
        with pytest.raises(TypeError, match="needs a function, not int"):
            transform(3)
    with pytest.raises(TypeError, match="inputs are symbols in a tuple"):
        de.to_graph(de.sin(de.symbols("x")), inputs=3)
    with pytest.raises(TypeError, match="values is of type int: give a dict"):
        de.parse("sin(x)").picture(values=3)
    with pytest.raises(ValueError, match="give identifiers"):
        de.symbols(3)


@pytest.mark.parametrize("method", ["symbolic", "forward", "reverse"])
def test_a_result_without_a_derivative_has_cotangents_of_zero(method):
    out, pull = de.vjp(lambda x, y: x == y, np.array([1.0, 2.0]), np.array([1.0, 3.0]), method=method)
    assert out.tolist() == [True, False] and [g.tolist() for g in pull(np.ones(2))] == [[0.0, 0.0]] * 2
