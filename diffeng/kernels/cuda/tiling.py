"""Chains of products and loops over the same rows, tile by tile on a GPU: what kernels/tiles.py does in a processor's cache.

What it is: `launches(tiles, grid)`, the steps of a chain once for each tile, with its private buffers in scratch memory that all tiles share. A tile is as many
batch entries as a set share of the GPU's memory holds of the private buffers, or some rows of one entry where that is larger: so memory is linear in the number
of rows. Under a causal mask an entry is cut into parts of its rows anyway, because the first ones need few columns.

What it is not: it finds no chain (tiles.py) and knows no product's flags (products.py).
"""
import itertools
import math

import numpy as np

from ..fuse import Product
from ..layout import Buffer, View
from ..tiles import reach_of
from .plan import tile_of_rows
from .products import Gemm, part

PARTS = 2                                    # of the rows of an entry, where a mask makes that worth it
FEWEST = 128                                 # rows of a part
_BYTE = np.dtype(np.uint8)


def launches(tiles, grid):
    """Launches and Gemms in order."""
    dims, m = tiles.steps[0][0].out.shape[:-2], tiles.m
    a_row = {b: buffer.size // (tiles.batch * m) * buffer.dtype.itemsize for b, buffer in tiles.private.items()}
    longest = max(a_row.values())
    regions = _regions(dims, max(1, grid.tile // (m * longest)))
    entries = max(math.prod([n for _, n in region]) for region in regions)
    width = m if entries * m * longest <= grid.tile else max(FEWEST, grid.tile // longest // FEWEST * FEWEST)
    if tiles.seen is not None:
        width = min(width, max(FEWEST, -(-m // PARTS)))
    width = min(width, m)
    parts = -(-m // width)
    reach = reach_of(tiles, width)
    scratch = {b: Buffer("arena", _BYTE, ((entries - 1) * m + width) * n) for b, n in a_row.items()}
    planned = [None if type(step) is Product else tile_of_rows(step, grid, entries * width) for step, _ in tiles.steps]
    out = []
    for region in regions:
        for band in range(parts) if reach is None else range(parts)[::-1]:     # with a mask the last part is first: it reaches all columns
            tile = _Tile(region, dims, m, band * width, min(width, m - band * width), None if reach is None else int(reach[band]), scratch, a_row)
            begins = band == (0 if reach is None else parts - 1)
            out += [tile.product(step, kind, begins) if plan is None else tile.group(plan) for (step, kind), plan in zip(tiles.steps, planned)]
    return out


def _regions(dims, most):
    """Batch axes cut into regions of at most so many entries, neighbours in memory: (start, count) of each axis.

    >>> _regions((4, 3), 7)
    [((0, 2), (0, 3)), ((2, 2), (0, 3))]
    """
    if not dims:
        return [()]
    axis = next(k for k in range(len(dims)) if math.prod(dims[k + 1:]) <= most)
    some = -(-dims[axis] // -(-dims[axis] // min(dims[axis], most // math.prod(dims[axis + 1:]))))
    return [(*[(i, 1) for i in index], (start, min(some, dims[axis] - start)), *[(0, n) for n in dims[axis + 1:]])
            for index in itertools.product(*map(range, dims[:axis])) for start in range(0, dims[axis], some)]


class _Tile:
    """Rows first .. first + count of each batch entry of a region."""

    def __init__(self, region, dims, m, first, count, columns, scratch, a_row):
        self.region, self.m, self.first, self.count, self.columns, self.scratch, self.a_row = region, m, first, count, columns, scratch, a_row
        self.entries = math.prod([n for _, n in region])
        self.entry = sum([start * math.prod(dims[k + 1:]) for k, (start, _) in enumerate(region)])          # the first one's number

    def group(self, plan):
        launch, row_words = plan
        words = list(launch.words)
        for k, w in enumerate(words):
            if type(w) is tuple and id(w[0]) in self.scratch:
                b = id(w[0])
                words[k] = self.scratch[b], w[1] - (self.entry * self.m + self.first) * self.a_row[b]
        if self.columns is not None:
            words[1] = self.columns
        for k, value in zip(row_words, (self.entry * self.m + self.first, self.count, self.m)):
            words[k] = value
        return launch.with_words(words, rows=self.entries * self.count)

    def _view(self, v, axis):
        """The part of a product's operand that is this tile's: its batch entries, and its rows along `axis` (None: all there is)."""
        offset = v.offset + sum([start * s for (start, _), s in zip(self.region, v.strides)])
        shape, strides = [*[n for _, n in self.region], *v.shape[-2:]], v.strides
        if axis is not None:
            offset += self.first * strides[axis]
            shape[axis] = self.count
        buffer = self.scratch.get(id(v.buffer))
        if buffer is not None:
            offset -= (self.entry * self.m + self.first) * self.a_row[id(v.buffer)]
        return View(buffer or v.buffer, offset, shape, strides, v.dtype)

    def product(self, step, kind, begins):
        left, right, out = step.left, step.right, step.out
        by_rows = kind == "rows"
        mine = [id(v.buffer) in self.scratch for v in (left, right, out)]
        left = self._view(left, -2 if by_rows else -1)
        right = self._view(right, None if by_rows else -2)
        out = self._view(out, -2 if by_rows else None)
        if self.columns is not None:
            if mine[2]:                                          # scores: the columns that are seen
                right, out = (part(v, -1, 0, self.columns) for v in (right, out))
            elif by_rows and mine[0]:                            # what is seen, summed over the columns
                left, right = part(left, -1, 0, self.columns), part(right, -2, 0, self.columns)
            elif mine[0]:                                        # summed over rows: the result's rows are columns of what is seen
                left, out = (part(v, -2, 0, self.columns) for v in (left, out))
            elif mine[1]:
                right, out = (part(v, -1, 0, self.columns) for v in (right, out))
        return Gemm(Product(left, right, out), add=not by_rows and not begins)
