"""Products as BLAS is given them: cut, copied by parts and written in whatever order, the numbers are those of NumPy's product of integers, which is exact."""
import numpy as np
import pytest

from diffeng.kernels import contract, machine
from diffeng.kernels.code import Code
from diffeng.kernels.program import Program
from diffeng.nodes import Tracing

rng = np.random.default_rng(11)


def whole(*shape, dtype=np.float32):
    return rng.integers(-9, 10, shape).astype(dtype)


def checked(function, *arrays):
    """function's Program gives what function gives, twice with other numbers."""
    tracing = Tracing()
    inputs = [tracing.input(None, f"operand {k}", x.shape, x.dtype) for k, x in enumerate(arrays)]
    program = Program([x.node for x in inputs], [function(*inputs).node])
    for _ in range(2):
        np.testing.assert_array_equal(program(*arrays)[0], function(*[x.astype(float) for x in arrays]))
        arrays = [whole(*x.shape, dtype=x.dtype) for x in arrays]
    return program


SHAPES = [(128, 256, 784), (64, 128, 100), (37, 61, 53), (9, 300, 17), (512, 130, 8), (3, 5000, 300), (130, 33, 9), (2, 700, 3000), (128, 10, 128), (1, 90, 300),
          (600, 40, 60), (40, 50, 7), (2, 601, 5000)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m, n, k", SHAPES)
def test_a_matrix_that_runs_along_the_terms(m, n, k, dtype):
    checked(lambda x, w: x @ w.T, whole(m, k, dtype=dtype), whole(n, k, dtype=dtype))
    checked(lambda x, w: (w @ x.T).T, whole(m, k, dtype=dtype), whole(n, k, dtype=dtype))


@pytest.mark.parametrize("m, n, k", [(40, 64, 32), (20, 300, 33), (128, 70, 64)])
@pytest.mark.parametrize("batch", [1, 2, 3, 41])
def test_many_of_them(batch, m, n, k):
    checked(lambda x, w: x @ w.transpose(0, 2, 1), whole(batch, m, k), whole(batch, n, k))
    checked(lambda x, w: x @ w.T, whole(batch, m, k), whole(n, k))
    checked(lambda x, w: np.einsum("ibk,jbk->bij", x, w), whole(m, batch, k), whole(n, batch, k))


def test_which_matrices_are_copied():
    """float32 that runs along the terms, for few rows; no copy is larger than what parts at work need."""
    n, t = ord("N"), ord("T")
    assert contract._is_laid("f32", t, 128, 256, 784)
    assert not any([contract._is_laid("f64", t, 128, 256, 784), contract._is_laid("f32", n, 128, 256, 784), contract._is_laid("f32", t, 1024, 256, 784),
                    contract._is_laid("f32", t, 10, 100, 784), contract._is_laid("f32", t, 128, 256, 1 << 20)])
    program = checked(lambda x, w: x @ w.T, whole(16, 64), whole(50_000, 64))
    assert program.peak_bytes <= contract.SLOTS * contract.threads.count() * (contract.LAID + 2 * contract.STEP * 4 * 64)


@pytest.mark.parametrize("type, dtype", [("f32", np.float32), ("f64", np.float64)])
@pytest.mark.parametrize("rows, columns", [(8, 8), (16, 24), (1, 1), (7, 9), (9, 7), (30, 17), (3, 40), (40, 3)])
def test_turning_a_matrix(type, dtype, rows, columns):
    def build():
        code = Code()
        code.turn(type, *[code.word(k) for k in range(6)])
        return code.finish()
    x, out = rng.standard_normal((rows, columns + 3)).astype(dtype), np.full((columns, rows + 5), 7.0, dtype)
    words = np.array([x.ctypes.data, x.strides[0], out.ctypes.data, out.strides[0], rows, columns])
    machine.kernel(f"a test's turn {type}", build)(words.ctypes.data, 0, 1)
    np.testing.assert_array_equal(out[:, :rows], x[:, :columns].T)
    assert (out[:, rows:] == 7.0).all()
