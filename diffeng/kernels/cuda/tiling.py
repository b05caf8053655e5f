"""Chains of products and loops over the same rows, tile by tile on a GPU: what kernels/tiles.py does in a processor's cache.

What it is: `launches(tiles, grid)`, the steps of a chain once for each tile, with its private buffers in scratch memory that all tiles share. A tile is as many
batch entries as the GPU's second-level cache holds of the private buffers, or some rows of one entry where that is larger: so memory is linear in the number of
rows. Under a causal mask an entry is cut into parts of its rows anyway, because the first ones need few columns.

What it is not: it finds no chain (tiles.py) and knows no product's flags (products.py).
"""
import itertools
import math

import numpy as np

from ..fuse import Product
from ..layout import Buffer, View
from ..tiles import reach_of
from .plan import tile_of_rows
from .products import Gemm

LIMIT = 64 << 20                             # bytes of a private buffer's part
PARTS = 4                                    # of the rows of an entry, where a mask makes that worth it
FEWEST = 128                                 # rows of a part
_BYTE = np.dtype(np.uint8)


def launches(tiles, grid):
    """Launches and Gemms in order."""
    dims, m = tiles.steps[0][0].out.shape[:-2], tiles.m
    private = list(tiles.private.values())
    a_row = [b.size // (tiles.batch * m) * b.dtype.itemsize for b in private]
    fixed = next((k for k in range(len(dims)) if math.prod(dims[k:]) * m * max(a_row) <= LIMIT), len(dims))
    entries = math.prod(dims[fixed:])
    width = m if entries * m * max(a_row) <= LIMIT else max(FEWEST, LIMIT // max(a_row) // FEWEST * FEWEST)
    if tiles.seen is not None:
        width = min(width, max(FEWEST, -(-m // PARTS)))
    width = min(width, m)
    parts = -(-m // width)
    reach = reach_of(tiles, width)
    scratch = {id(b): Buffer("arena", _BYTE, ((entries - 1) * m + width) * r) for b, r in zip(private, a_row)}
    planned = [None if type(step) is Product else tile_of_rows(step, grid, entries * width) for step, _ in tiles.steps]
    order = range(parts) if reach is None else range(parts)[::-1]              # with a mask the last part is first: it reaches all columns
    out = []
    for index in itertools.product(*[range(n) for n in dims[:fixed]]):
        entry = sum(i * math.prod(dims[k + 1:]) for k, i in enumerate(index))
        for n, part in enumerate(order):
            tile = _Tile(index, entry, entries, m, part * width, min(width, m - part * width), None if reach is None else int(reach[part]), n == 0, scratch, a_row,
                         private)
            out += [tile.product(step, kind) if plan is None else tile.group(plan) for (step, kind), plan in zip(tiles.steps, planned)]
    return out


class _Tile:
    """Rows first .. first + count of the entries that begin at number `entry` (the batch axes' leading indices are `index`)."""

    def __init__(self, index, entry, entries, m, first, count, columns, begins, scratch, a_row, private):
        self.index, self.entry, self.entries, self.m, self.first, self.count = index, entry, entries, m, first, count
        self.columns, self.begins, self.scratch = columns, begins, scratch
        self.a_row = {id(b): r for b, r in zip(private, a_row)}

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
        offset = v.offset + sum(i * s for i, s in zip(self.index, v.strides))
        shape, strides = list(v.shape[len(self.index):]), v.strides[len(self.index):]
        if axis is not None:
            offset += self.first * strides[axis]
            shape[axis] = self.count
        buffer = self.scratch.get(id(v.buffer))
        if buffer is not None:
            offset -= (self.entry * self.m + self.first) * self.a_row[id(v.buffer)]
        return View(buffer or v.buffer, offset, shape, strides, v.dtype)

    def product(self, step, kind):
        left, right, out = step.left, step.right, step.out
        by_rows = kind == "rows"
        mine = [id(v.buffer) in self.scratch for v in (left, right, out)]
        left = self._view(left, -2 if by_rows else -1)
        right = self._view(right, None if by_rows else -2)
        out = self._view(out, -2 if by_rows else None)
        if self.columns is not None:
            if mine[2]:                                          # scores: the columns that are seen
                right, out = (_cut(v, -1, self.columns) for v in (right, out))
            elif by_rows and mine[0]:                            # what is seen, summed over the columns
                left, right = _cut(left, -1, self.columns), _cut(right, -2, self.columns)
            elif mine[0]:                                        # summed over rows: the result's rows are columns of what is seen
                left, out = (_cut(v, -2, self.columns) for v in (left, out))
            elif mine[1]:
                right, out = (_cut(v, -1, self.columns) for v in (right, out))
        return Gemm(Product(left, right, out), add=not by_rows and not self.begins)


def _cut(v, axis, n):
    shape = list(v.shape)
    shape[axis] = n
    return View(v.buffer, v.offset, shape, v.strides, v.dtype)
