"""Arrays made inside of a function that hold nothing traced, given to functions that are not NumPy's."""
import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
import scipy.linalg
import scipy.signal
import scipy.sparse
import scipy.sparse.linalg
import scipy.spatial
import scipy.special

import diffeng as de
from diffeng.nodes import reachable

X = np.array([1.0, 2.0, 3.0])
PYTHON = {
    "toeplitz": lambda x: scipy.linalg.toeplitz(np.arange(1.0, 4)) @ x,
    "circulant": lambda x: scipy.linalg.circulant(np.arange(1.0, 4)) @ x,
    "csr_array": lambda x: scipy.sparse.csr_array((np.ones(3), (np.arange(3), np.arange(3)))) @ x,
    "multivariate_normal": lambda x: np.random.default_rng(0).multivariate_normal(np.zeros(3), np.eye(3)) * x,
    "KDTree": lambda x: scipy.spatial.cKDTree(np.eye(3)).query(np.zeros((3, 3)))[0] + x,
    "savgol_filter": lambda x: scipy.signal.savgol_filter(np.arange(5.0), 3, 1)[:3] * x,
    "cumulative_trapezoid": lambda x: scipy.integrate.cumulative_trapezoid(np.arange(3.0), initial=0) * x,
    "masked_array": lambda x: np.ma.masked_array(np.arange(3.0), [0, 1, 0]).filled(0) * x,
    "as_strided": lambda x: np.lib.stride_tricks.as_strided(np.arange(5.0), (3, 3), (8, 8)) @ x,
    "structured": lambda x: np.zeros(3, dtype=[("a", float)])["a"] + x,
}


def agrees(f):
    value, gradient = f(X), np.array([(np.sum(f(X + h)) - np.sum(f(X - h))) / 2e-6 for h in 1e-6 * np.eye(3)])
    assert np.allclose(de.vjp(f, X)[0], value) and np.allclose(de.jvp(f, (X,), (X,))[0], value) and np.allclose(de.jit(f)(X), value)
    total = lambda x: np.sum(f(x))                                                  # noqa: E731
    for got in (de.grad(total)(X), de.grad(total, method="forward")(X), de.jit(de.grad(total))(X)):
        assert np.allclose(got, gradient, rtol=1e-6)


@pytest.mark.parametrize("name", PYTHON)
def test_functions_of_scipy_take_plain_arrays_made_inside(name):
    agrees(PYTHON[name])


def shuffled(x, y):
    row = y[1]                                                                      # a view, which sees what comes to lie there
    np.random.default_rng(3).shuffle(y)
    return (y @ x) * np.sum(row)


@pytest.mark.filterwarnings("ignore:you are shuffling:UserWarning")
@pytest.mark.parametrize("make", [lambda x: np.outer(np.arange(1.0, 5), x), lambda x: np.arange(12.0).reshape(4, 3), lambda x: np.eye(3),
                                  lambda x: np.multiply.outer(np.arange(1.0, 4), np.outer(x, x))])
def test_rows_are_shuffled_as_numpy_does(make):
    agrees(lambda x: shuffled(x, make(x)))


@pytest.mark.filterwarnings("ignore:you are shuffling:UserWarning")
def test_entries_are_shuffled_and_the_real_part_is_written():
    def f(x):
        y = x * x
        np.random.default_rng(3).shuffle(y)
        z = x.copy()
        z.real = x[::-1]
        return y * z
    agrees(f)


COMPILED = {
    "splu": lambda x: scipy.sparse.linalg.splu(scipy.sparse.csc_matrix(np.eye(3) * 2)).solve(np.ones(3)) * x,
    "cg": lambda x: scipy.sparse.linalg.cg(np.eye(3) * 2, np.ones(3))[0] * x,
    "eigsh": lambda x: scipy.sparse.linalg.eigsh(np.diag(np.arange(5.0)), 2, v0=np.ones(5))[0][1] * x,
    "standard_normal": lambda x: np.random.default_rng(0).standard_normal(out=np.zeros(3)) * x,
    "frombuffer": lambda x: np.frombuffer(np.ones(3)) * x, "memoryview": lambda x: memoryview(np.ones(3))[0] * x,
    "isinstance": lambda x: x * 2 if isinstance(np.ones(3), np.ndarray) else x, "tobytes": lambda x: len(np.ones(3).tobytes()) * x,
}


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_functions_read_the_memory_of_arrays_made_inside(name):
    agrees(COMPILED[name])


def sums(f):
    """What compiled code reads of an array after a function has done with it what it does."""
    def g(x):
        a = np.arange(1.0, 4)
        return f(a, x) + np.sum(np.frombuffer(memoryview(a))) * x
    return g


def used_and_written(a, x):
    y = a * x                                                                       # what the interpreter holds must stay what it was
    a[0] = 7.0
    a[1] = 8.0
    return y


def written_through_a_view(a, x):
    row = a[1:]
    row[0] = 5.0
    return a * x + np.sum(np.frombuffer(memoryview(row)))


def filled_by_another(a, x):
    y = a * 2
    np.random.default_rng(1).standard_normal(out=y)
    return y * x


@pytest.mark.parametrize("f", [used_and_written, written_through_a_view, filled_by_another])
def test_the_memory_is_what_the_array_holds(f):
    agrees(sums(f))


def test_asarray_of_what_was_made_inside_is_that_array():
    def f(x, plain):
        b = np.zeros(3)
        v, w = np.asarray(b), np.ascontiguousarray(b)
        v[0] = 3.0 if plain else x[0]
        w[1] = 2 * v[0]
        b[2] = 5.0
        assert v is b
        return b + v * w * x
    for plain in (True, False):
        agrees(lambda x, plain=plain: f(x, plain))


def squares(x, *shape):
    a = np.zeros((3, *shape))
    for k in range(3):
        a[k] = x[k] ** 2
    return a


@pytest.mark.parametrize("product", [
    lambda A, x: A @ squares(x), lambda A, x: squares(x) @ A, lambda A, x: A.dot(squares(x)), lambda A, x: A @ squares(x, 2), lambda A, x: squares(x, 2).T @ A,
    lambda A, x: A @ np.ones(3) * x, lambda A, x: np.ones(3) @ A * x, lambda A, x: scipy.sparse.csr_matrix(A) * squares(x),
])
def test_sparse_arrays_times_what_was_filled(product):
    agrees(lambda x: product(scipy.sparse.csr_array(np.arange(9.0).reshape(3, 3)), x))


@pytest.mark.parametrize("read,text", [
    (lambda a: scipy.linalg.toeplitz(a) @ a, "would cut the derivative"), (lambda a: np.asarray(memoryview(a)).astype(float), "would cut the derivative"),
    (lambda a: np.random.default_rng(0).random(3).__setitem__(slice(None), a), "assigned into a plain array"),
    (lambda a: scipy.special.logsumexp(a), "logsumexp at test_buffers.py:.*diffeng.special"),
    (lambda a: scipy.interpolate.CubicSpline(np.arange(3.0), a), "would cut the derivative"),
])
def test_what_reads_the_memory_once_it_is_traced_is_refused(read, text):
    def f(x):
        a = np.zeros(3)
        a[0] = x[0]
        read(a)
        return np.sum(a)
    for method in ("reverse", "forward"):
        with pytest.raises(TypeError, match=text):
            de.grad(f, method=method)(X)
    with pytest.raises(TypeError, match=text):
        de.jit(f)(X)


@pytest.mark.parametrize("requirements", [None, [], "C", ["F", "A"], ["C_CONTIGUOUS", "W", "O"], "A"])
def test_require(requirements):
    def f(x):
        y = np.require(x.T, np.float64, requirements)
        z = np.require([x[0, 0], x[1, 1]], requirements=requirements)
        return np.sum(np.ravel(y, "K") * np.arange(6.0)) * z[1] + np.sum(np.require(np.ones(3), np.float32, "W"))         # "K": as it lies in memory
    x = np.arange(1.0, 7).reshape(2, 3)
    value, gradient = de.value_and_grad(f)(x)
    assert value == f(x) and value == de.jit(f)(x)
    order = np.arange(6.0).reshape(2, 3) if requirements is None or "C" not in requirements and "C_CONTIGUOUS" not in requirements else np.arange(6.0).reshape(3, 2).T
    np.testing.assert_allclose(gradient, order * 5 + np.sum(order * x) * np.array([[0, 0, 0], [0, 1, 0]]))


@pytest.mark.parametrize("items", [
    lambda a, b: [a, b, a * b], lambda a, b: (a, 2, True, b), lambda a, b: [[a, 1.0, b], [0, b, a], (a, a, 3.5)], lambda a, b: [[[a], [b]], [[1.0], [a]]], lambda a, b: [a],
    lambda a, b: [[a * np.ones(2), np.zeros(2)], [np.ones(2), b * np.ones(2)]], lambda a, b: [[a, b], np.array([1.0, 2.0])]])
def test_an_array_of_traced_numbers_is_one_operation_where_nothing_is_compiled(items):
    """Of arrays one for each level. Whoever compiles gets what compilers know: parts that are concatenated."""
    def f(v):
        m = np.array(items(v[0], v[1]))
        return np.sum(np.sin(m) * np.reshape(np.arange(1.0, m.size + 1), m.shape))
    v = np.array([0.4, -1.2])
    for method in ("reverse", "forward", "symbolic"):
        found = de.grad(f, method=method)(v)
        np.testing.assert_allclose(found, [(f(v + h) - f(v - h)) / 2e-6 for h in 1e-6 * np.eye(2)], rtol=1e-8)
    used = []
    de.grad(lambda v: used.extend(n.primitive.name for n in reachable([np.array(items(v[0], v[1])).node])) or v[0])(v)
    assert "stack" in used and "concatenate" not in used
    np.testing.assert_allclose(de.jit(de.grad(f))(v), found, rtol=1e-14)
    assert "stack" not in {node["primitive"] for _, node in de.trace(f, v).nodes.items()}
    hessian = de.hessian(f)(v)
    np.testing.assert_allclose(hessian, [(de.grad(f)(v + h) - de.grad(f)(v - h)) / 2e-6 for h in 1e-6 * np.eye(2)], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(de.jit(de.hessian(f))(v), hessian, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(de.vmap(f)(np.stack([v, 2 * v])), [f(v), f(2 * v)], rtol=1e-14)
    assert "disagree" not in str(de.compare(f, v)).lower()


def test_parts_that_fit_no_array_are_refused():
    for items in (lambda x: [x[0], x], lambda x: [[x[0]], [x[0], x[1]]], lambda x: [x, x[:1]]):
        with pytest.raises(ValueError, match=r"test_buffers.py:\d+"):
            de.grad(lambda x: np.sum(np.array(items(x))))(np.ones(2))
    with pytest.raises(ValueError, match="stack|shape"):
        de.grad(lambda x: np.sum(np.stack([x, x[:1]])))(np.ones(2))
