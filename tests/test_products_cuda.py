"""Products on a GPU as cuBLAS likes them (kernels/cuda/products.py, layout.pitched), in the simulator."""
import numpy as np
import pytest
from test_cuda import agree, both, random  # noqa: F401  random: a fixture

import diffeng as de
from diffeng.kernels import layout
from diffeng.kernels.cuda.products import Gemm
from diffeng.llm.block import softmax


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rows_of_large_factors_begin_where_cublas_likes_them(random, monkeypatch, precision):
    """Scores of an odd vocabulary: room between the rows of what products write and read, no copies, the same values; small arrays stay as they are."""
    def f(x, w):
        return np.sum(np.sin(softmax(x @ w.T).reshape(2, -1, len(w)) * 3.0) @ w)
    args = [random.standard_normal(shape, np.float32) for shape in ((30, 16), (203, 16))]
    plain = agree(de.grad(f, argnums=(0, 1)), *args, precision=precision, rtol=0.05 if precision == "bfloat16" else 1e-6)
    monkeypatch.setattr(layout, "PITCHED", 1 << 10)
    program = agree(de.grad(f, argnums=(0, 1)), *args, precision=precision, rtol=0.05 if precision == "bfloat16" else 1e-6)
    assert len(program._work) == len(plain._work)
    leading = [s // v.dtype.itemsize for w in program._work if type(w) is Gemm for v in (w.left, w.right, w.out)
               if v.buffer.short is None for s in v.strides[-2:] if s > 16 * 4]
    assert leading and all([n == 204 if precision == "float32" else n in (204, 208) for n in leading])
    assert plain.peak_bytes < program.peak_bytes < plain.peak_bytes * 1.2


def test_products_are_cut_where_cublas_would_read_number_by_number(random, monkeypatch):
    """Rows, columns and terms that are no multiple of 16 bytes, of arrays whose rows are."""
    monkeypatch.setattr(layout, "PITCHED", 1 << 18)
    def f(x, w, b):
        scores = np.sin(x @ w.T)                                          # 1001 columns
        return scores @ w, scores.T @ x, b @ scores                       # 1001 terms, rows, columns again
    args = [random.standard_normal(shape, np.float32) for shape in ((300, 16), (1001, 16), (9, 300))]
    for precision, unit in (("float32", 4), ("bfloat16", 8)):
        program = agree(f, *args, precision=precision, rtol=0.05 if unit == 8 else 1e-5)
        products = [w for w in program._work if type(w) is Gemm]
        sizes = [(w.out.shape[-2], w.out.shape[-1], w.left.shape[-1], w.add) for w in products]
        assert [(300, 1001 - 1001 % unit, 16, False), (300, 1001 % unit, 16, False)] == sizes[:2]
        assert (300, 16, 1001 % unit, True) in sizes and (1001 % unit, 16, 300, False) in sizes and (9, 1001 % unit, 300, False) in sizes
    assert len([w for w in agree(lambda x, w: x @ w.T, args[0][:, :15].copy(), args[1][:, :15].copy(), rtol=1e-5)._work if type(w) is Gemm]) == 2


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("f, shapes", [
    (lambda x, w: np.einsum("ij,jkl->ikl", x, w) * 2.0, [(6, 5), (5, 3, 129)]),                    # a row of two axes, and no room between them
    (lambda x, w: np.einsum("abj,jkl->klab", x, w) * 2.0, [(3, 129, 5), (5, 3, 129)]),
    (lambda x, w: np.matmul(np.sin(x @ w), np.swapaxes(w, -1, -2)) * 2.0, [(2, 7, 131), (2, 131, 133)]),
    (lambda x, w: np.sin(x.T @ w.T) @ w, [(9, 131), (133, 9)]),
    (lambda x, w: (x @ w + (x * 2.0) @ w + x @ (w * 3.0)) * 0.5, [(7, 9), (9, 131)]),
    (lambda x, w: np.sin(x @ w)[1:, 3:] @ w.T[3:], [(7, 9), (9, 131)])], ids=["columns", "both", "batched", "transposed", "added", "parts"])
def test_products_with_room_between_rows(random, monkeypatch, f, shapes, precision):
    """The values without that room, to rounding, and no further launch; in float32 the CPU's."""
    args = [random.standard_normal(shape, np.float32) for shape in shapes]
    want, cpu, plain = both(f, *args, precision=precision)
    monkeypatch.setattr(layout, "PITCHED", 1 << 10)
    got, _, program = both(f, *args, precision=precision)
    np.testing.assert_allclose(got[0], want[0], rtol=0, atol=1e-5 * np.max(np.abs(want[0])))
    if precision == "float32":
        np.testing.assert_allclose(got[0], cpu[0], rtol=0, atol=1e-5 * np.max(np.abs(cpu[0])))
    assert program.kernels == plain.kernels
    assert any([v.buffer.pitch for w in program._work if type(w) is Gemm for v in (w.left, w.right, w.out)])
