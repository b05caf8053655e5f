"""Stand-alone source code computes what the graph computes."""
import ctypes
import importlib.util
import itertools
import os
import shutil
import subprocess

import numpy as np
import pytest
import scipy.special as special

import diffeng as de
from diffeng.formulas import source

os.environ.setdefault("NUMBA_OPT", "0")             # before numba is imported: what the text computes is asked, not how fast; it compiles in half the time
rng = np.random.default_rng(20)
X, W, w, Q = rng.standard_normal((5, 3)), rng.standard_normal((3, 2)), rng.standard_normal(3), rng.standard_normal((3, 3))
labels = (rng.random(5) > 0.5) * 1.0


def neuron(x, w, b, y):
    a = special.expit(x * w + b)
    return -(y * np.log(a) + (1 - y) * np.log(1 - a))


def everything(x, A, v):
    y = np.concatenate([x[1:], x[:1]]) * 2 - x ** 2
    e = np.exp(A - np.max(A, axis=1, keepdims=True))
    z = e / e.sum(1, keepdims=True) @ v + A.mean(0).sum() + A.var(axis=(0, 1), ddof=1)
    q = np.einsum("ij,kj->ik", A, A) + np.tensordot(A, A, axes=([1], [1]))
    t = np.where(x > 0, x, special.expit(x)) + np.maximum(x, 0.1) + np.arctan2(x, 1.5)
    u = A[np.array([0, 1, 1]), np.array([2, 2, 0])]
    o = np.zeros(4)
    o[1] = x[0]
    o[2:] = x[:2]
    s = de.special.logsumexp(A, axis=0) + np.pad(v, (1, 1))[1:-1]
    return (np.sum(y) + np.sum(z) + q.sum() + s.sum() + t.sum() + np.sum(u * u) + A[:, None, ::-1].reshape(-1)[3] + np.sum(o * np.arange(4.0))
            + np.sum(np.cumsum(x)) + special.erf(x).min() + np.dot(A, v).max() - (x[0] - (x[1] - x[2])) / (x[0] / v[1]) - (-x[0]) ** 2 - 2.0 ** -x[1])


def gammas(x):
    return np.sum(special.gammaln(x) + special.gamma(x) + special.psi(x) * special.zeta(3, x))


def matrices(A, b):
    """Solutions, inverses, determinants and factors, of one matrix and of a stack."""
    S = np.stack([A @ A.T, A + 4 * np.eye(3)])
    signs, logarithms = np.linalg.slogdet(S)
    return (np.sum(np.linalg.solve(A, b) ** 2) + np.sum(np.linalg.solve(S, b[:, None]) ** 3) + np.sum(np.sin(np.linalg.inv(S))) + np.linalg.det(A) * np.sum(np.linalg.det(S))
            + np.sum(signs * logarithms) + np.sum(np.linalg.cholesky(S[0]) ** 3))


def few_matrices(A, b):
    return b @ np.linalg.solve(A, b) * np.linalg.det(A)


def factors(A):
    """Eigenvalues and orthonormal factors: C has none."""
    values, vectors = np.linalg.eigh(np.stack([A, A + 1]))
    q, r = np.linalg.qr(A[:, :2])
    u, s, vh = np.linalg.svd(A[:2], full_matrices=False)
    return np.sum(values[:, None] ** 2 * vectors ** 2) + np.sum(q ** 3) + np.sum(np.abs(r)) + np.sum(u ** 2 * s) + np.sum(vh ** 4)


GAMMAS = np.array([0.3, 2.75, 17.5, -0.7, -2.2])
ARGS = (np.array([0.3, -0.7, 1.2]), rng.standard_normal((3, 4)), np.array([0.4, 1.7, -0.2, 0.9]))
SCALED = np.diag([1e150, 1e150, 1e-300])
GRAPHS = {
    "everything": (de.trace(everything, *ARGS), ARGS),
    "gradient of everything": (de.trace(everything, *ARGS).derivative(1, method="reverse"), ARGS),
    "neuron": (de.trace(neuron, 1.1, 2.2, 0.0, 1.0), (1.1, 2.2, 0.0, 1.0)),
    "gradient of the neuron": (de.trace(neuron, 1.1, 2.2, 0.0, 1.0).derivative(1, method="reverse"), (1.1, 2.2, 0.0, 1.0)),
    "float32": (de.trace(lambda x: np.sqrt(x) * 2.5 + np.float32(0.1) + special.expit(x), np.float32([1, 2, 3])), (np.float32([1, 2, 3]),)),
    "gamma": (de.trace(gammas, GAMMAS), (GAMMAS,)),
    "gradient of gamma": (de.trace(gammas, GAMMAS).derivative(method="reverse"), (GAMMAS,)),
    "matrices": (de.trace(matrices, Q, w), (Q, w)),
    "gradient of matrices": (de.trace(matrices, Q, w).derivative(0, method="reverse"), (Q, w)),
    "gradient of few matrices": (de.trace(few_matrices, Q, w).derivative(0, method="reverse"), (Q, w)),          # numba compiles all of them in twenty seconds
    "factors": (de.trace(factors, Q), (Q,)),
    "gradient of factors": (de.trace(factors, Q).derivative(method="reverse"), (Q,)),
    "badly scaled": (de.trace(np.linalg.det, SCALED).derivative(method="reverse"), (SCALED,)),
    "a factor alone": (de.trace(lambda A: np.linalg.cholesky(A @ A.T + np.eye(3)), Q), (Q,)),
    "two outputs": (de.trace(lambda x, y: (x * y, np.sum(y)), 2.0, np.ones(3)), (2.0, np.array([1.0, 2.0, 4.0]))),
}
_count = itertools.count()


def load(folder, code):
    path = folder / f"generated_{next(_count)}.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("which", GRAPHS)
def test_numpy_source_computes_the_same_bits(which, tmp_path):
    graph, args = GRAPHS[which]
    code = source(graph, "numpy", name="f")
    assert "diffeng" not in code
    found, expected = load(tmp_path, code).f(*args), graph(*args)
    for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (found, expected))):
        np.testing.assert_array_equal(a, b)
        assert np.asarray(a).dtype == np.asarray(b).dtype and np.shape(a) == np.shape(b)


def some(A, v):                                     # numba compiles everything() too, in twenty seconds
    e = np.exp(A - np.max(A, axis=1, keepdims=True))
    return np.sum((e / e.sum(1, keepdims=True) @ v) ** 2) + A.var(axis=0).mean() + A[np.array([0, 1, 1]), np.array([2, 2, 0])] @ np.einsum("ij,ij->i", A, A)


def writes(x, A):
    o, B, z = np.zeros(3), A.copy(), np.zeros(())
    o[1] = x[0]
    o[2] = 0.5
    B[[0, 0, 2], 1] = x
    B[1] = 2
    B[-1, 0] += x[1]
    z[()] = x[2]
    return o * B[:, 0] + B[:, 1] + z


GRAPHS["narrow"] = (de.trace(lambda x: np.einsum("a,a,b->b", *[np.array([True, True, False])] * 2, x), ARGS[0]), ARGS[:1])
GRAPHS["writes"] = (de.trace(writes, ARGS[0], ARGS[1]), ARGS[:2])
GRAPHS["some"] = (de.trace(some, *ARGS[1:]), ARGS[1:])


@pytest.mark.parametrize("which", ["some", "writes", "gradient of the neuron", "float32", "gradient of few matrices", "gradient of factors", "badly scaled"])
def test_numba_source(which, tmp_path):
    graph, args = GRAPHS[which]
    code = source(graph, "numba", name="f")
    assert "@numba.njit" in code and "diffeng" not in code
    found, expected = load(tmp_path, code).f(*args), graph(*args)
    tolerance = 1e-6 if np.asarray(expected).dtype == np.float32 else 1e-13
    np.testing.assert_allclose(found, expected, rtol=tolerance)
    if np.ndim(expected):
        assert found.dtype == expected.dtype


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on this machine")
@pytest.mark.parametrize("which", [k for k in GRAPHS if k != "two outputs" and "factors" not in k])
def test_c_source(which, tmp_path):
    graph, args = GRAPHS[which]
    (tmp_path / "f.c").write_text(source(graph, "c", name="f"))
    subprocess.run(["cc", "-std=c99", "-O1", "-Wall", "-Wextra", "-pedantic", "-Werror", "-shared", "-fPIC", "-o", tmp_path / "f.so",
    tmp_path / "f.c", "-lm"], check=True)
    kinds = {"float64": ctypes.c_double, "float32": ctypes.c_float}
    expected = np.asarray(graph(*args))
    out = np.full(expected.shape, np.nan, expected.dtype)
    passed = []
    for k, x in zip(graph.inputs, args):
        x = np.ascontiguousarray(x, graph.nodes[k]["dtype"])
        passed.append(kinds[str(x.dtype)](x.item()) if graph.nodes[k]["shape"] == () else x.ctypes.data_as(ctypes.c_void_p))
    assert ctypes.CDLL(str(tmp_path / "f.so")).f(*passed, out.ctypes.data_as(ctypes.c_void_p)) == 0
    np.testing.assert_allclose(out, expected, rtol=1e-6 if expected.dtype == np.float32 else 1e-13)


def test_what_c_has_no_words_for():
    with pytest.raises(TypeError, match=r"c source: eigh at test_source_code.py:\d+ has no words"):
        source(GRAPHS["factors"][0], "c")


def test_large_constants_become_parameters(tmp_path):
    big = rng.standard_normal((100, 100))
    graph = de.trace(lambda v: big @ v, np.ones(100))
    code = source(graph, "numpy", name="f")
    assert len(code) < 1000 and "# c1: a constant of the graph, float64 of shape (100, 100)" in code
    np.testing.assert_array_equal(load(tmp_path, code).f(np.ones(100), big), big @ np.ones(100))


def test_names_that_a_language_refuses(tmp_path):
    graph = de.trace(lambda p, np_: p["lambda"] * p["w 1"] + np_, {"lambda": 2.0, "w 1": 3.0}, 1.0)
    assert load(tmp_path, source(graph, "numpy", name="f")).f(2.0, 3.0, 1.0) == 7.0


def test_source_refuses_clearly():
    graph = de.parse("x*y")
    with pytest.raises(ValueError, match="'numpy', 'numba' or 'c'"):
        source(graph, "fortran")
    sorting = de.trace(lambda x: np.sort(x), np.array([2.0, 1.0]))
    for language in ("numba", "c"):
        with pytest.raises(TypeError, match=r"argsort at test_source_code\.py:\d+"):
            source(sorting, language)
    chosen = de.trace(lambda x, i: x[i], np.arange(3.0), np.array([0, 2]))
    with pytest.raises(TypeError, match="computed"):
        source(chosen, "c")
