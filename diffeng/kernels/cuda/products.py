"""A product as cuBLAS takes it: flags, sizes, leading dimensions, and how its batch is walked.

What it is: `Gemm`, made of a fuse.Product when a program is planned; `calls` gives the arguments of gemmStridedBatched, one call for each entry of those batch
axes that no single stride walks.

What it is not: no call is made here (device.py).
"""
import itertools

from ..contract import flag, is_turned, turned_over
from ..layout import collapse


class Gemm:
    """left, right, out: the product's views; dtype: of out; narrow: the others hold bfloat16 (as uint16); add: to what is in out."""

    def __init__(self, step, add=False):
        self.left, self.right, self.out, self.dtype, self.add = step.left, step.right, step.out, step.out.dtype, add
        self.narrow = step.left.dtype != self.dtype
        self._turned = is_turned(step.out)
        a, b, c = self.views()
        size, operand = self.dtype.itemsize, step.left.dtype.itemsize
        m, k, n = *a.shape[-2:], b.shape[-1]
        (ta, lda), (tb, ldb) = flag(a, operand), flag(b, operand)
        ldc = c.strides[-2] // size if m > 1 else n
        dims, strides = collapse(a.shape[:-2], [v.strides[:-2] for v in (a, b, c)])
        walked = max(range(len(dims)), key=lambda d: dims[d], default=None)
        outer = [d for d in range(len(dims)) if d != walked]
        self._steps = [tuple(sum(i * s[d] for i, d in zip(at, outer)) for s in strides) for at in itertools.product(*[range(dims[d]) for d in outer])]
        sa, sb, sc = [0 if walked is None else s[walked] // unit for s, unit in zip(strides, (operand, operand, size))]
        # cuBLAS counts columns first, like every BLAS: it is given C' = B'A'.
        self._front = (int(tb == ord("T")), int(ta == ord("T")), n, m, k)
        self._after = (max(ldb, 1), sb), (max(lda, 1), sa), (max(ldc, 1), sc, 1 if walked is None else dims[walked])

    def views(self):
        """Left, right and out, as BLAS is given them: a result that runs along its rows is the transpose of the transposes' product."""
        if self._turned:
            return turned_over(self.right), turned_over(self.left), turned_over(self.out)
        return self.left, self.right, self.out

    def calls(self, places):
        """places: addresses of the first entries of left, right and out. (ta, tb, m, n, k, a, lda, stride, b, ldb, stride, c, ldc, stride, count) of each."""
        a, b, c = (places[1], places[0], places[2]) if self._turned else places
        after_b, after_a, after_c = self._after
        for da, db, dc in self._steps:
            yield (*self._front, b + db, *after_b, a + da, *after_a, c + dc, *after_c)
