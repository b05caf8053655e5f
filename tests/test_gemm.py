"""The product of our own: right for every shape, layout and scale, nothing beside the result is written, and programs call it where BLAS is held back."""
import ctypes

import numpy as np
import pytest
from test_kernels import compiled

import diffeng as de
from diffeng import kernels
from diffeng.kernels import blas, gemm, machine, threads

RNG = np.random.default_rng(11)
SHAPES = [(1, 1, 1), (3, 5, 7), (gemm.ROWS, 48, 16), (9, 49, 17), (20, 100, 300), (7, 200, 2 * gemm.DEPTH + 1), (100, 23, gemm.DEPTH), (33, 47, 1000)]


def called(a, b, out, alpha, beta):
    """out = alpha a b + beta out, as BLAS is called: for the transposes, columns first."""
    (m, k), n, size = a.shape, b.shape[1], a.itemsize
    address, bits = blas.routine("own_" + blas.name_of("gemm", f"f{8 * size}"))
    number, integer = np.ctypeslib.as_ctypes_type(a.dtype), getattr(ctypes, f"c_int{bits}")
    flags = [("N", x.strides[0]) if x.strides[1] == size else ("T", x.strides[1]) for x in (b, a)]
    (tb, ldb), (ta, lda) = [(ctypes.c_char(flag.encode()), integer(step // size)) for flag, step in flags]
    at = lambda x: ctypes.c_void_p(x.ctypes.data)
    scalars = integer(n), integer(m), integer(k), number(alpha), number(beta), integer(out.strides[0] // size)
    by = [ctypes.byref(x) for x in (tb, ta, *scalars, ldb, lda)]
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(address)(*by[:6], at(b), by[8], at(a), by[9], by[6], at(out), by[7])


def laid(rows, columns, turned, dtype):
    x = RNG.normal(size=(columns, rows) if turned else (rows, columns)).astype(dtype)
    return x.T if turned else x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("alpha, beta", [(1.0, 0.0), (1.0, 1.0), (-2.0, 0.5)])
def test_every_shape_and_layout(dtype, alpha, beta):
    """Within the error of k additions; what is not to be kept may be NaN, and what lies around it stays so."""
    for m, n, k in SHAPES:
        for turned in (False, False), (True, False), (False, True), (True, True):
            a, b = laid(m, k, turned[0], dtype), laid(k, n, turned[1], dtype)
            whole = np.full((m + 2, n + 3), np.nan, dtype)
            out = whole[1:-1, 1:n + 1]
            if beta:
                out[...] = RNG.normal(size=(m, n))
            terms = np.abs(a).astype(float) @ np.abs(b) + np.abs(np.nan_to_num(out))
            want = alpha * (a.astype(float) @ b) + (beta * out.astype(float) if beta else 0.0)
            called(a, b, out, alpha, beta)
            assert np.all(np.abs(out - want) <= 4 * np.finfo(dtype).eps * np.sqrt(k + 1) * terms)
            assert np.isnan(whole).sum() == whole.size - m * n


def test_what_is_not_finite_stays_where_it_is():
    a, b = RNG.normal(size=(20, 300)), RNG.normal(size=(300, 60))
    a[3, 7], b[5, 40] = np.inf, np.nan
    out = np.empty((20, 60))
    called(a, b, out, 1.0, 0.0)
    assert not np.isfinite(out[3]).any() and np.isnan(out[:, 40]).all()
    assert np.isfinite(np.delete(np.delete(out, 3, 0), 40, 1)).all()


@pytest.fixture
def held_back(monkeypatch):
    """As if NumPy's OpenBLAS had taken the processor for an old one."""
    monkeypatch.setenv("DIFFENG_CACHE", "off")
    monkeypatch.setattr(blas, "has_mkl", lambda: False)
    monkeypatch.setattr(blas, "is_held_back", lambda: True)
    asked = []
    monkeypatch.setattr(blas, "routine", lambda name, routine=blas.routine: asked.append(name) or routine(name))
    return asked


def test_programs_call_it(held_back):
    """For all but small products, and those with vectors; the same bits for any number of threads."""
    def f(x, w):
        return np.tanh(x @ w) @ w.T
    small, large, v = RNG.normal(size=(10, 12)), RNG.normal(size=(150, 120)), RNG.normal(size=700)
    np.testing.assert_allclose(compiled(f, small, small.T @ small)(small, small.T @ small)[0], f(small, small.T @ small), rtol=1e-12)
    compiled(lambda v, w: v @ w, v, np.outer(v, v))
    assert not [name for name in held_back if name.startswith("own_")]
    w = RNG.normal(size=(120, 130)) / 10
    np.testing.assert_allclose(compiled(f, large, w)(large, w)[0], f(large, w), rtol=1e-12, atol=1e-12)
    assert "own_dgemm" in held_back


def test_the_bits_do_not_depend_on_the_threads(held_back, monkeypatch):
    x, w = RNG.normal(size=(150, 300)).astype(np.float32), RNG.normal(size=(300, 200)).astype(np.float32)
    made = []
    for count in 1, 2, 3:
        monkeypatch.setattr(threads, "count", lambda: count)
        made.append(compiled(lambda x, w: x @ w, x, w)(x, w)[0])
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[0], made[2])


def test_another_shape_compiles_nothing(held_back, monkeypatch):
    """Though it is the first that is large enough."""
    monkeypatch.setattr(machine, "_kernels", {})
    f = de.jit(de.value_and_grad(lambda w, x: np.sum(np.tanh(x @ w))))
    f(np.ones((20, 30)), np.ones((17, 20)))
    before = kernels.compilations
    f(np.ones((200, 300)), np.ones((170, 200)))
    assert kernels.compilations == before > 0


@pytest.mark.parametrize("first, thick", [((20, 30), (200, 300)), ((200, 300), (400, 500))])
def test_what_is_not_thin_is_ours_where_openblas_is_outdone(monkeypatch, tmp_path, first, thick):
    """If its kernel is there, or kernels are compiled anyway; a first shape that has no need of it does not wait for it, and a later one compiles nothing."""
    monkeypatch.setenv("DIFFENG_CACHE", str(tmp_path))
    monkeypatch.setattr(machine, "_kernels", {})
    monkeypatch.setattr(blas, "has_mkl", lambda: False)
    monkeypatch.setattr(blas, "is_held_back", lambda: False)
    monkeypatch.setattr(blas, "is_outdone", lambda: True)
    monkeypatch.setattr(blas, "libraries", lambda: "outdone")
    f, asked = de.jit(de.value_and_grad(lambda w, x: np.sum(np.tanh(x @ w)))), []
    monkeypatch.setattr(blas, "routine", lambda name, routine=blas.routine: asked.append(name) or routine(name))
    for k, n in first, thick:
        w, x = RNG.normal(size=(k, n)) / k, RNG.normal(size=(170, k))
        before = kernels.compilations
        value, slope = f(w, x)
        assert (kernels.compilations > before) is (k == first[0])
        y = np.tanh(x @ w)
        np.testing.assert_allclose(value, np.sum(y), rtol=1e-10)
        np.testing.assert_allclose(slope, x.T @ (1 - y * y), rtol=1e-9, atol=1e-12)
        assert ("own_dgemm" in asked) is (first != (20, 30))
