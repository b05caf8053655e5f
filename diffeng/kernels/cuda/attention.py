"""Attention in registers: a chain of products around one loop (tiles.py) as kernels whose scores never leave the chip.

What it is: `launches(tiles, precision)`, one kernel that keeps some rows of an entry and lets tiles of its columns pass by, and, where products sum over
rows, a second one that keeps columns and lets rows pass by. A warp has 16 rows (or columns); scores are made of products on the matrix units (fragments.py)
where they are needed: phase after phase of the loop (the largest, the sum, the quotient) makes them again, which costs less than to write them down and read
them again; so nothing is known here of a softmax. What is one a row is computed by the first kernel and read by the second.

What it is not: chains that do not fit (`_Chain`) are computed tile by tile (tiling.py). The kernel itself stands in attention_kernel.py.
"""
import functools

import numpy as np

from .. import groups
from ..contract import turned_over
from ..fuse import Group, Indirect, Map, Reduce, Window
from ..layout import Buffer
from ..memory import address, array_at
from ..scalar import fingerprint
from .attention_kernel import Kernel, divisor, shared_bytes
from .code import SLOT
from .fragments import HIGH, LANES
from .plan import SHARED, Launch, called

WARPS = 4                                    # of a block
WIDEST = 64                                  # features of a row: what a thread has of them lies in registers
PASSING = {2: 32, 4: 16}                     # rows of a tile that passes by, for numbers of so many bytes
RESIDENT = {"bf16": 384, "tf32": 384, "tf32 x 3": 256}          # threads that a multiprocessor shall have at once: they have 168 or 255 registers each


def launches(tiles, precision):
    """The kernels of a chain, or None where it does not fit."""
    chain = _Chain(tiles)
    return _Planned(chain, precision).launches() if chain.fits else None


def _tall(view, swapped=False):
    """A matrix as positions by features, the features of a position neighbours in memory, 16 bytes read at once; or None."""
    view = turned_over(view) if swapped else view
    d, size = view.shape[-1], view.dtype.itemsize
    if view.strides[-1] != size or d % HIGH or d > WIDEST or any(s % 16 for s in (view.offset, *view.strides[:-1])):
        return None
    return view


class _Chain:
    """What a chain consists of. scores: (buffer, rows' matrix, columns' matrix) of each product that makes some; sums: (operation that makes the factor, True
    where it is summed over columns, the other factor, the result). Matrices are tall."""

    def __init__(self, tiles):
        self.tiles, self.group, self.scores, self.sums = tiles, None, [], []
        self.fits = all([self._step(step, kind) for step, kind in tiles.steps]) and bool(self.scores and self.sums) and self._loop()

    def _step(self, step, kind):
        private = self.tiles.private
        if type(step) is Group:
            found, self.group = self.group is None, step
            return found
        if step.onto is not None or step.scale is not None or step.out.dtype != np.float32 or step.left.dtype not in (np.float32, np.uint16):
            return False
        if self.group is None:
            rows, columns = _tall(step.left), _tall(step.right, True)
            self.scores.append((step.out.buffer, rows, columns))
            return id(step.out.buffer) in private and len(self.scores) < 3 and rows is not None and columns is not None
        mine = [id(v.buffer) in private for v in (step.left, step.right)]
        if mine == [True, True] or not any(mine):
            return False
        swapped = mine[1]                                     # the result's columns are the scores'
        factor, other, out = (step.right if swapped else step.left), _tall(step.left if swapped else step.right, swapped), step.out
        self.sums.append((factor.buffer, kind == "rows", other, turned_over(out) if swapped else out))
        return other is not None and not (swapped and kind == "rows")

    def _loop(self):
        """Is the loop between them one that a fragment's lanes can do?"""
        made, private = {}, self.tiles.private
        for k, o in enumerate(self.group.operations):
            stored = o.out.buffer.stored and id(o.out.buffer) not in private if not isinstance(o.out, Indirect) else True
            if any([isinstance(x, (Indirect, Window)) for x in o.operands]) or o.level == "full" and isinstance(o, Map) and stored:
                return False
            if isinstance(o, Reduce) and (o.kind != "row" or o.level != "full"):
                return False
            made[id(o.out.buffer)] = k
        self.sums = [(made.get(id(buffer)), *rest) for buffer, *rest in self.sums]
        dtypes = {v.dtype for _, *views in self.scores for v in views} | {other.dtype for _, _, other, _ in self.sums}
        return len(dtypes) == 1 and all([k is not None for k, *_ in self.sums]) and sum([not by_rows for _, by_rows, *_ in self.sums]) < 3


class _Loop(groups.Plan):
    """The loop's structure. What a later phase needs is computed again, what products take is handed over."""

    def __init__(self, group, private):
        super().__init__(group)
        for k, o in enumerate(group.operations):
            if not isinstance(o.out, Indirect) and id(o.out.buffer) in private:
                self.stores[k] = None

    def _runs_across(self):
        return False

    def _again(self, k):
        return True

    def _strip(self, scratch):
        return None

    def _shares(self, cost):
        return self.rows, 1

    def _instruction(self, structure, rules, rows, chunk, cost):
        return structure, rules


class _Planned:
    def __init__(self, chain, precision):
        self.chain, self.tiles = chain, chain.tiles
        self.size = chain.scores[0][1].dtype.itemsize
        self.kind = "bf16" if self.size == 2 else "tf32" if precision == "tf32" else "tf32 x 3"
        self.dims = chain.scores[0][1].shape[:-2]
        self.down = not all([by_rows for _, by_rows, *_ in chain.sums])
        self.kept = {}                                        # what is one a row and made by the kernel of the rows -> where the other one finds it

    def launches(self):
        found = [self._launch(side, [s for s in self.chain.sums if s[1] == (side == "rows")]) for side in (["rows", "columns"] if self.down else ["rows"])]
        return None if None in found else found

    def _launch(self, side, sums):
        tiles, plan = self.tiles, _Loop(self.chain.group, self.tiles.private)
        (structure, rules), *_ = plan.instructions()
        if plan.outer and plan.outer[-1] % tiles.m or plan.columns != tiles.n:
            return None
        for k, w in enumerate(plan.words):
            if type(w) is tuple and id(w[0]) in tiles.private:
                plan.words[k] = 0                             # it is nowhere
        word, by_rows, rows = plan.word, side == "rows", self.tiles.batch * self.tiles.m
        for key in _kept(structure, rules) if self.down else ():
            self.kept.setdefault(key, Buffer("arena", plan.group.operations[key].out.dtype if type(key) is int else np.dtype(np.float32), rows))
        own_size, passing_size = (tiles.m, tiles.n) if by_rows else (tiles.n, tiles.m)
        matrices, found = [], {}                              # those that pass by, each once

        def described(view):
            return word((view.buffer, view.offset)), tuple(word(s) for s in view.strides[:-2]), word(view.strides[-2]), view.shape[-1]

        def passing(view):
            key = id(view.buffer), view.offset, view.strides
            if key not in found:
                found[key] = len(matrices)
                matrices.append(described(view))
            return found[key]
        scores = []
        for buffer, rows, columns in self.chain.scores:
            number = next((n for n, (v, *_) in enumerate(plan._views) if v.buffer is buffer), None)
            own, other = (rows, columns) if by_rows else (columns, rows)
            if number is not None:
                scores.append((number, described(own), passing(other)))
        sums = [(k, passing(other), (*described(out)[:3], word(out.strides[-1]))) for k, _, other, out in sums]
        a_tile, warps = PASSING[self.size], min(WARPS, -(-own_size // HIGH))
        shared = shared_bytes(self.kind, a_tile, [d * self.size for *_, d in matrices])
        if shared + LANES * warps * SLOT > SHARED:
            return None
        masks = {n: v for n, (v, *_) in enumerate(plan._views) if v.buffer.kind == "constant" and v.dtype == bool and v.shape[-2:] == (tiles.m, tiles.n)
                 and not any(v.strides[:-2])}
        order = self._order(by_rows, warps * HIGH, a_tile, masks.values())
        parts = len(order)
        spec = (side, self.kind, self.size, warps, a_tile, own_size % (warps * HIGH) > 0, passing_size % a_tile > 0, tuple(word(n) for n in self.dims),
                word(tiles.batch), word((Buffer("constant", order.dtype, order.size, array=order), 0)), word(tiles.m), word(own_size), word(passing_size),
                tuple(scores), tuple(matrices), tuple(sums), tuple([(k, word((b, 0))) for k, b in self.kept.items()]), tuple(masks))
        key = repr(("attention", spec, structure, tuple(map(fingerprint, rules))))

        def build(code):
            return Kernel(structure, rules, spec, functools.partial(code, threads=warps * LANES)).module()
        return Launch(key, build, plan.words, tiles.batch * tiles.m, parts * tiles.batch, warps * LANES, called(f"attention_{side}", self.chain.group),
                      LANES, shared, warp=LANES, resident=RESIDENT[self.kind])

    def _order(self, by_rows, own, a_tile, masks):
        """For each part that a block keeps: its number, the first tile that passes by and the one behind the last, and the same of those in which the masks
        are true everywhere; the parts with the most work first."""
        tiles = self.tiles
        n_own, n_passing = (tiles.m, tiles.n) if by_rows else (tiles.n, tiles.m)
        starts, whole = np.arange(0, n_own, own), -(-n_passing // a_tile)
        parts = len(starts)
        found = np.tile(np.array([0, 0, whole, 0, whole if masks else 0]), (parts, 1))
        found[:, 0] = np.arange(parts)
        if tiles.seen is not None:
            seen = _a_part(tiles.seen | ~tiles.seen.any(1, keepdims=True), by_rows, starts, a_tile, np.logical_or)
            found[:, 1], found[:, 2] = np.argmax(seen, 1), np.where(seen.any(1), whole - np.argmax(seen[:, ::-1], 1), 0)
        for mask in masks:
            true = _a_part(array_at(address(mask.buffer.array), mask, mask.buffer.array)[(0,) * (mask.ndim - 2)], by_rows, starts, a_tile, np.logical_and)
            for p, row in enumerate(true):
                first = np.argmax(row)
                length = np.argmin(np.append(row[first:], False)) if row.any() else 0
                found[p, 3:] = max(found[p, 3], first), min(found[p, 4], first + length)
        return np.ascontiguousarray(found[np.argsort(found[:, 1] - found[:, 2], kind="stable")], np.int64)


def _a_part(truth, by_rows, starts, a_tile, how):
    """Truth values of rows and columns, put together for each part and tile."""
    truth = truth if by_rows else truth.T
    return how.reduceat(how.reduceat(truth, starts, axis=0), np.arange(0, truth.shape[1], a_tile), axis=1)


def _kept(structure, rules):
    """The values of a row that the kernel of the columns does not make itself: numbers of reductions, and operands that are divided by, for their inverses."""
    views, ops = structure[4], structure[-1]
    return dict.fromkeys([k for k, op in enumerate(ops) if op[0] == "reduce"] + [x for x in [divisor(op, ops, views, rules) for op in ops] if x is not None])
