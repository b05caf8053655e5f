"""BLAS by address: found without scipy, and right whichever library it is."""
import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

from diffeng.kernels import blas


@pytest.fixture(params=["of NumPy", "of scipy"])
def library(request, monkeypatch):
    if request.param == "of scipy":
        pytest.importorskip("scipy.linalg.cython_blas")
        monkeypatch.setattr(blas, "_library", lambda: None)
    return request.param


@pytest.fixture(params=["", "mkl_", "own_"])
def prefix(request):
    if request.param == "mkl_" and not blas.has_mkl():
        pytest.skip("no MKL, or none for this processor")
    return request.param


@pytest.mark.parametrize("type, dtype", [("f64", np.float64), ("f32", np.float32)])
def test_gemm(library, prefix, type, dtype):
    address, bits = blas.routine(prefix + blas.name_of("gemm", type))
    assert bits == blas.gemm(type)[1]
    number, size = np.ctypeslib.as_ctypes_type(dtype), getattr(ctypes, f"c_int{bits}")
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=s).astype(dtype) for s in ((3, 5), (5, 4)))
    c = np.zeros((3, 4), dtype)
    by = ctypes.byref
    m, n, k = map(size, (3, 4, 5))
    at = lambda x: x.ctypes.data_as(ctypes.c_void_p)
    # rows are Fortran's columns: c' = b' a'
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(address)(
        by(ctypes.c_char(b"N")), by(ctypes.c_char(b"N")), by(n), by(m), by(k), by(number(1)), at(b), by(n), at(a), by(k), by(number(0)), at(c), by(n))
    np.testing.assert_allclose(c, a @ b, rtol=1e-5 if type == "f32" else 1e-14)


@pytest.mark.parametrize("type, dtype", [("f64", np.float64), ("f32", np.float32)])
def test_gemv_overwrites_what_was_there(library, prefix, type, dtype):
    prefix = prefix.removeprefix("own_")                       # there is no gemv of our own
    address, bits = blas.routine(prefix + blas.name_of("gemv", type))
    number, size = np.ctypeslib.as_ctypes_type(dtype), getattr(ctypes, f"c_int{bits}")
    rng = np.random.default_rng(0)
    x, b = rng.normal(size=50).astype(dtype), rng.normal(size=(50, 40)).astype(dtype)
    y = np.full((40, 3), np.nan, dtype)
    by, at = ctypes.byref, lambda x: x.ctypes.data_as(ctypes.c_void_p)
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 11)(address)(
        by(ctypes.c_char(b"N")), by(size(40)), by(size(50)), by(number(1)), at(b), by(size(40)), at(x), by(size(1)), by(number(0)), at(y), by(size(3)))
    np.testing.assert_allclose(y[:, 0], x @ b, rtol=1e-4 if type == "f32" else 1e-12)
    assert np.isnan(y[:, 1:]).all()


def test_threads_come_in_pairs(library):
    get, set = blas.threads()
    assert (get == 0) == (set == 0)
    if library == "of scipy":
        assert get == 0
    elif get:
        assert ctypes.CFUNCTYPE(ctypes.c_int)(get)() >= 1


def printed(code, **env):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env={**os.environ, **env}).stdout.strip()


def test_numpy_brings_what_is_needed():
    """No scipy, where NumPy is one of PyPI's wheels."""
    if blas._library() is None:
        pytest.skip("this NumPy has no OpenBLAS of its own")
    code = "import sys; from diffeng.kernels import blas; blas.gemm('f64'); blas.threads(); print([m for m in sys.modules if m.startswith('scipy')])"
    assert printed(code, DIFFENG_BLAS="numpy") == "[]"


def test_mkl_where_it_is_installed():
    """Large products are MKL's, unless it is told not to be used; it stays on the threads that call it, gives the same bits wherever arrays begin, and small
    products do not load it."""
    if not blas.has_mkl():
        pytest.skip("no MKL, or none for this processor")
    code = """
import numpy as np, diffeng as de
from diffeng.kernels import blas
def loaded():
    with open("/proc/self/maps") as file:
        return "libmkl_rt" in file.read()
run, found, threads = de.jit(np.matmul), set(), []
run(np.ones((9, 9)), np.ones((9, 9)))
threads.append(loaded())
for at in range(5):
    a, b = (np.empty(100 * 100 + 8)[at:at + 10_000].reshape(100, 100) for _ in range(2))
    a[:], b[:] = (np.random.default_rng(k).normal(size=(100, 100)) for k in (0, 1))
    if blas.has_mkl():
        blas._mkl().MKL_Set_Num_Threads_Local(3)
    found.add(run(a, b).tobytes())
    np.testing.assert_allclose(run(a, b), a @ b, rtol=1e-12, atol=1e-12)
print(*threads, loaded(), len(found), blas.has_mkl() and blas._mkl().MKL_Set_Num_Threads_Local(0))"""
    assert printed(code, DIFFENG_BLAS="") == "False True 1 3"
    assert printed(code, DIFFENG_BLAS="numpy") == "False False 1 False"


def test_pytorch_that_comes_later_keeps_its_threads():
    """PyTorch has an MKL inside, whose symbols another one that is loaded before it takes the place of."""
    pytest.importorskip("torch")
    if not blas.has_mkl():
        pytest.skip("no MKL, or none for this processor")
    code = """
import numpy as np, diffeng as de
de.jit(np.matmul)(np.ones((200, 200)), np.ones((200, 200)))
import torch
torch.set_num_threads(2)
print(torch.get_num_threads(), "mkl_get_max_threads() : 2" in torch.__config__.parallel_info())"""
    assert printed(code, DIFFENG_BLAS="") == "2 True"
