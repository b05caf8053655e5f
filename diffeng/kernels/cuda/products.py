"""A product as cuBLAS takes it: flags, sizes, leading dimensions, and how its batch is walked.

What it is: `gemms(product)`, made when a program is planned; a Gemm's `calls` gives the arguments of gemmStridedBatched, one call for each entry of those batch
axes that no single stride walks.

Why some products are several: cuBLAS keeps to kernels that read number by number where a size is no multiple of 16 bytes, even if all rows begin where they
should. Of a product with 50257 scores it makes 50256 in a fifth of the time that all of them took, and the last one for next to nothing.

What it is not: no call is made here (device.py).
"""
import itertools

from ..contract import for_blas
from ..fuse import Product
from ..layout import View

PIECE, FEWEST = 16, 64                       # bytes that are read at once; pieces of a row from which on it pays to cut off what is no whole piece


def gemms(product):
    """A product as Gemms, which are to be called in order."""
    size, pieces = min([v.dtype.itemsize for v in (product.left, product.right, product.out)]), [(product, False)]
    for axes in ((-2, None, -2), (None, -1, -1), (-1, -2, None)):          # rows, columns, terms: where left, right and out have them
        pieces = [p for step, add in pieces for p in _cut(step, add, axes, PIECE // size)]
    return [Gemm(step, add) for step, add in pieces]


def _cut(product, add, axes, unit):
    """A product cut in two along rows, columns or terms, where memory follows these and lies in whole pieces of so many entries."""
    views = product.left, product.right, product.out
    length = next(v.shape[axis] for v, axis in zip(views, axes) if axis is not None)
    rest = length % unit
    follows = [v.strides[axis] == v.dtype.itemsize and v.strides[-3 - axis] % PIECE == 0 for v, axis in zip(views, axes) if axis is not None]
    if not rest or length < FEWEST * unit or not any(follows):
        return [(product, add)]
    spans = (0, length - rest), (length - rest, length)
    return [(Product(*[v if axis is None else part(v, axis, *span) for v, axis in zip(views, axes)]), add or k > 0 and axes[2] is None)
            for k, span in enumerate(spans)]


def part(v, axis, start, stop):
    """Entries start .. stop of a view along an axis."""
    shape = list(v.shape)
    shape[axis] = stop - start
    return View(v.buffer, v.offset + start * v.strides[axis], shape, v.strides, v.dtype)


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
