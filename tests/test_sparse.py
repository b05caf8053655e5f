"""Sparse Jacobians and Hessians beside dense ones, how few directions they take, and what they cannot do."""
import numpy as np
import optree
import pytest
import scipy.optimize
import scipy.sparse

import diffeng as de
from diffeng import sparse
from diffeng.nodes import Primitive
from diffeng.specimens import names, specimen
from expressions_numpy import EXPRESSIONS, X
from test_numpy_coverage import HELD, NEW

METHODS = ("forward", "reverse", "symbolic")
ALL = {**dict(EXPRESSIONS), **NEW, **HELD}


def dense(block):
    return block.toarray() if scipy.sparse.issparse(block) else np.asarray(block)


def same(got, want):
    got, want = optree.tree_leaves(got), optree.tree_leaves(want)
    assert len(got) == len(want)
    for a, b in zip(got, want):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(dense(a), b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ALL)
def test_sparse_is_dense(name):
    """A pattern that misses an entry loses it."""
    want = de.jacobian(ALL[name])(X)
    for method in ("auto", "reverse"):
        same(de.jacobian(ALL[name], method=method, sparse=True)(X), want)


@pytest.mark.parametrize("name", names())
def test_the_pattern_of_every_primitive(name):
    operands, params, slots = specimen(name)

    def f(*moving):
        inputs = list(operands)
        for k, x in zip(slots, moving):
            inputs[k] = x
        return Primitive.registry[name](*inputs, **params)
    arguments = [operands[k] for k in slots]
    same(de.jacobian(f, tuple(range(len(slots))), sparse=True)(*arguments), de.jacobian(f, tuple(range(len(slots))))(*arguments))


def heat(u):
    d = u.copy()
    d[1:-1] += 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2])
    return np.sin(d)


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_methods_and_structures(method):
    x = np.linspace(0.2, 1, 7)
    found = de.jacobian(heat, method=method, sparse=True)(x)
    assert type(found) is scipy.sparse.csr_array and found.nnz == 2 + 3 * 5
    same(found, de.jacobian(heat)(x))
    same(de.hessian(rosenbrock, method=method, sparse=True)(x), de.hessian(rosenbrock)(x))

    def f(p, y):
        return {"a": p["w"] * y[:, None], "b": (np.sum(y), y[0], p["w"].T[0])}
    arguments = {"w": np.arange(6.0).reshape(3, 2)}, np.array([1.0, 2.0, 3.0])
    same(de.jacobian(f, (0, 1), method=method, sparse=True)(*arguments), de.jacobian(f, (0, 1))(*arguments))


def test_few_directions_are_enough(monkeypatch):
    """Three for a band of three, whatever its length; one pullback a row where rows are few and full."""
    from diffeng import forward_mode
    pushed, push = [], forward_mode.push
    monkeypatch.setattr(forward_mode, "push", lambda fun, primals, tangents: pushed.append(len(tangents[0])) or push(fun, primals, tangents))
    assert de.jacobian(heat, sparse=True)(np.ones(1000)).nnz == 2996
    assert de.hessian(rosenbrock, sparse=True)(np.ones(1000)).nnz == 2998
    assert pushed == [3, 3]
    assert de.jacobian(lambda x: np.array([np.sum(x), np.prod(x[:5])]), sparse=True)(np.ones(1000)).nnz == 1005 and pushed == [3, 3]


def test_colours_share_no_row():
    rng = np.random.default_rng(4)
    for shape, density in (((40, 60), 0.05), ((60, 40), 0.2), ((5, 5), 1.0), ((3, 0), 0.5), ((0, 3), 0.5)):
        rows = scipy.sparse.csr_array(rng.random(shape) < density)
        colour = sparse.colours(rows)
        for i in range(shape[0]):
            mine = colour[rows[[i]].indices]
            assert len(set(mine.tolist())) == len(mine)


def test_constants_that_are_zero_cut():
    """A product with a matrix is as sparse as the matrix; what no input reaches is empty."""
    A = scipy.sparse.diags_array([np.ones(9), np.arange(1.0, 11)], offsets=[1, 0]).toarray()
    found = de.jacobian(lambda x: np.sin(A @ x), sparse=True)(np.ones(10))
    assert found.nnz == 19
    same(found, de.jacobian(lambda x: np.sin(A @ x))(np.ones(10)))
    assert de.jacobian(lambda x: np.einsum("ij,j->i", A, x), sparse=True)(np.ones(10)).nnz == 19
    empty = de.jacobian(lambda x: np.where(x > 0, 1.0, 2.0), sparse=True)(np.ones(4))
    assert empty.shape == (4, 4) and empty.nnz == 0
    assert de.jacobian(lambda x: np.ones(3), sparse=True)(np.ones(4)).nnz == 0
    assert de.jacobian(lambda x: x * 2, sparse=True)(3.0) == 2.0


def test_a_function_that_is_full_inside_is_refused(monkeypatch):
    monkeypatch.setattr(sparse, "FULLEST", 1000)
    with pytest.raises(ValueError, match="leave sparse out"):
        de.jacobian(lambda x: np.sum(np.outer(np.cumsum(x), x)), sparse=True)(np.ones(30))


def test_float32_and_compiled_functions():
    x = np.linspace(0.2, 1, 9, dtype=np.float32)
    found = de.jacobian(heat, sparse=True)(x)
    assert found.dtype == np.float32
    same(de.jacobian(de.jit(heat), sparse=True)(x.astype(float)), de.jacobian(heat)(x.astype(float)))


def test_a_solver_takes_it():
    def residual(x):
        return np.concatenate([[10 * (x[1] - x[0] ** 2)], x[1:] - np.cos(x[:-1]) / 2, [1 - x[0]]])
    jacobian = de.jacobian(residual, sparse=True)
    found = scipy.optimize.least_squares(residual, np.linspace(0.5, 1, 20), jac=lambda x: scipy.sparse.csr_matrix(jacobian(x)), method="trf")
    assert found.success and np.max(np.abs(residual(found.x))) < 3


@pytest.mark.parametrize("use", [lambda x: de.jit(de.jacobian(heat, sparse=True))(x), lambda x: de.grad(lambda x: de.jacobian(heat, sparse=True)(x).sum())(x),
                                 lambda x: de.jvp(lambda x: de.jacobian(heat, sparse=True)(x).sum(), (x,), (x,))])
def test_where_there_are_no_numbers_it_says_so(use):
    with pytest.raises(TypeError, match="scipy.sparse array holds numbers"):
        use(np.ones(5))
