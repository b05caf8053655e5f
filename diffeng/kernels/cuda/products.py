"""A product as cuBLAS takes it: flags, sizes, leading dimensions, and how its batch is walked.

What it is: `Gemm`, made of a fuse.Product when a program is planned; `calls` gives the arguments of gemmStridedBatched, one call for each entry of those batch
axes that no single stride walks.

What it is not: no call is made here (device.py).
"""
import itertools

from ..contract import for_blas


class Gemm:
    """left, right, out: the product's views; dtype: of out; narrow: the others hold bfloat16 (as uint16); add: to what is in out."""

    def __init__(self, step, add=False):
        self.left, self.right, self.out, self.dtype, self.add = step.left, step.right, step.out, step.out.dtype, add
        self.narrow = step.left.dtype != self.dtype
        views, self._turned, (ta, lda), (tb, ldb), ldc, dims, strides = for_blas(step)
        (m, k), n = views[0].shape[-2:], views[1].shape[-1]
        walked = max(range(len(dims)), key=lambda d: dims[d], default=None)
        outer = [d for d in range(len(dims)) if d != walked]
        self._steps = [tuple(sum(i * s[d] for i, d in zip(at, outer)) for s in strides) for at in itertools.product(*[range(dims[d]) for d in outer])]
        sa, sb, sc = [0 if walked is None else s[walked] // v.dtype.itemsize for s, v in zip(strides, views)]
        # cuBLAS counts columns first, like every BLAS: it is given C' = B'A'.
        self._front = (int(tb == ord("T")), int(ta == ord("T")), n, m, k)
        self._after = (ldb, sb), (lda, sa), (ldc, sc, 1 if walked is None else dims[walked])

    def buffers(self):
        """Those of the arena that it reads or writes."""
        return [v.buffer for v in (self.left, self.right, self.out) if v.buffer.kind == "arena"]

    def calls(self, places):
        """places: addresses of the first entries of left, right and out. (ta, tb, m, n, k, a, lda, stride, b, ldb, stride, c, ldc, stride, count) of each."""
        a, b, c = (places[1], places[0], places[2]) if self._turned else places
        after_b, after_a, after_c = self._after
        for da, db, dc in self._steps:
            yield (*self._front, b + db, *after_b, a + da, *after_a, c + dc, *after_c)
