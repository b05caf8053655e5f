"""Products with scipy.sparse matrices of plain numbers, against the same of dense ones."""
import numpy as np
import pytest
import scipy.sparse as sparse

import diffeng as de

RANDOM = np.random.default_rng(0)
DENSE = RANDOM.normal(size=(5, 3)) * (RANDOM.random((5, 3)) < 0.6)
VECTOR, COLUMNS, ROW, ROWS = (RANDOM.normal(size=shape) for shape in ((3,), (3, 2), (5,), (2, 5)))
CLASSES = [getattr(sparse, f"{form}_{kind}") for form in "csr csc coo bsr dia lil dok".split() for kind in ("array", "matrix")]


@pytest.mark.parametrize("method", ["symbolic", "forward", "reverse"])
@pytest.mark.parametrize("x, product", [(VECTOR, lambda a, x: a @ x), (COLUMNS, lambda a, x: a @ x), (ROW, lambda a, x: x @ a), (ROWS, lambda a, x: x @ a), (ROW, lambda a, x: a.T @ x)])
def test_derivatives(method, x, product):
    a = sparse.csr_array(DENSE)
    value, gradient = de.value_and_grad(lambda x: np.sum(product(a, x) ** 3), method=method)(x)
    want, slope = de.value_and_grad(lambda x: np.sum(product(DENSE, x) ** 3))(x)
    np.testing.assert_allclose(value, want, rtol=1e-13)
    np.testing.assert_allclose(gradient, slope, rtol=1e-12)


@pytest.mark.parametrize("make", CLASSES, ids=lambda c: c.__name__)
def test_every_class_of_sparse_arrays(make):
    a = make(DENSE)
    for f, x in [(lambda x: a @ x, VECTOR), (lambda x: x @ a, ROWS)] + [(lambda x: a * x, COLUMNS), (lambda x: x * a, ROW)] * isinstance(a, sparse.spmatrix):
        np.testing.assert_allclose(de.jacobian(lambda x: np.tanh(f(x)))(x), de.jacobian(lambda x: np.tanh(DENSE @ x if f(x).shape[0] == 5 else x @ DENSE))(x), rtol=1e-13)


def test_dtypes_are_scipys():
    for of_a in (np.float32, np.float64, np.int32, bool):
        a = sparse.csr_array(DENSE.astype(of_a))
        for of_x in (np.float32, np.float64):
            out, _ = de.jvp(lambda x: a @ x, (VECTOR.astype(of_x),), (VECTOR.astype(of_x),))
            assert out.dtype == (a @ VECTOR.astype(of_x)).dtype


def test_integers_are_not_looked_at():
    """A look would be guarded, and another vector traced anew."""
    a = sparse.csr_array(DENSE)
    compiled = de.jit(lambda x: (a @ x, (x > 3) @ a.T))
    for k in range(70):
        x = np.arange(k, k + 3)
        for got, want in zip(compiled(x), (a @ x, (x > 3) @ a.T)):
            np.testing.assert_allclose(got, want, rtol=1e-15)


def test_the_judge_sees_them():
    a = sparse.csr_array(DENSE)
    report = de.compare(lambda x: np.sum(np.tanh(a @ x)), VECTOR)
    assert report.agree and all(m.ulp < 4 for m in report.methods.values())
    with de.testing.plant("reverse", "scatter"):
        assert de.compare(lambda x: np.sum(np.tanh(a @ x)), VECTOR).culprit.primitive == "scatter"


def test_jit_follows_the_matrix():
    a = sparse.csr_array(DENSE)
    compiled = de.jit(lambda x: a @ x)
    for change in (lambda: None, lambda: a.data.__imul__(2), lambda: a.__setitem__((0, 0), 17.0)):
        change()
        np.testing.assert_allclose(compiled(VECTOR), a.toarray() @ VECTOR, rtol=1e-15)


def test_empty_ones():
    for a, x in ((sparse.csr_array((4, 3)), VECTOR), (sparse.csr_array((0, 3)), VECTOR), (sparse.csr_array((2, 0)), np.zeros(0))):
        assert np.array_equal(de.jacobian(lambda x: a @ x)(x), np.zeros(a.shape))


@pytest.mark.parametrize("f, said", [
    (lambda a, x: a @ np.concatenate([x, x]), r"matmul at test_sparse_products.py:\d+: a sparse array of shape \(5, 3\) times an array of shape \(6,\)"),
    (lambda a, x: (sparse.csr_matrix(a) * x[0]) @ x, r"at test_sparse_products.py:\d+.* a \* \(A @ x\) for \(a \* A\) @ x"),
    (lambda a, x: (x[0] * sparse.csr_matrix(a)) @ x, r"matmul at test_sparse_products.py:\d+.* a \* \(A @ x\) for \(a \* A\) @ x"),
    (lambda a, x: a.multiply(x), r"multiply at test_sparse_products.py:\d+.* of a sparse array there are A @ x and x @ A"),
    (lambda a, x: sparse.coo_array(a).dot(x), r"dot at test_sparse_products.py:\d+.* of a sparse array there are A @ x and x @ A")])
def test_errors(f, said):
    with pytest.raises((TypeError, ValueError), match=said):
        de.grad(lambda x: np.sum(f(sparse.csr_array(DENSE), x)))(VECTOR)
