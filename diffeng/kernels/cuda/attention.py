"""Attention in registers: a chain of products around one loop (tiles.py) as kernels whose scores never leave the chip.

What it is: `launches(tiles, grid, precision)`, one kernel that keeps some rows of an entry and lets tiles of its columns pass by, and, where products sum over
rows, a second one that keeps columns and lets rows pass by. A warp has 16 rows (or columns); scores are made of products on the matrix units (fragments.py)
where they are needed: phase after phase of the loop (the largest, the sum, the quotient) makes them again, which costs less than to write them down and read
them again; so nothing is known here of a softmax. What is one a row is computed by the first kernel and read by the second.

How products are made: of bfloat16 as they are; TF32 rounds both factors to 11 binary digits; of float32 each factor is the sum of two such numbers, high and
low, and three products are added, low high + high low + high high: what is missing is some 2^-22 of a product (Ootomo and Yokota, "Recovering single precision
accuracy from Tensor Cores", 2022), where float32 rounds every term of the sum to 2^-24.

What it is not: chains that do not fit (`_Chain`) are computed tile by tile (tiling.py). It knows nothing of a processor but fragments.py's words.
"""
import functools

import numpy as np
from llvmlite import ir

from .. import groups
from ..code import cast, merge, neutral, select
from ..fuse import Group, Indirect, Map, Reduce, Window
from ..layout import Buffer, transposed
from ..loops import Loops, wide
from ..memory import address, array_at
from ..scalar import FLOAT, fingerprint
from ..values import Value, mad
from .code import SLOT
from .fragments import DEEP, HIGH, LANES, TF32, WIDE
from .plan import Launch

WARPS = 4                                    # of a block
WIDEST = 64                                  # features of a row: what a thread has of them lies in registers
PASSING = {2: 64, 4: 32}                     # rows of a tile that passes by, for numbers of so many bytes
SHARED = 48 << 10                            # bytes that a block may share without asking
PAD = 16                                     # bytes between rows of a tile, so that lanes read from different banks
RESIDENT = 256                               # threads that a multiprocessor shall have at once: 255 registers a thread
_I32, _DIVIDE = ir.IntType(32), FLOAT["divide"]


def launches(tiles, precision):
    """The kernels of a chain, or None where it does not fit."""
    chain = _Chain(tiles)
    return _Planned(chain, precision).launches() if chain.fits else None


def _tall(view, swapped=False):
    """A matrix as positions by features, the features of a position neighbours in memory, 16 bytes read at once; or None."""
    n = view.ndim
    view = transposed(view, (*range(n - 2), n - 1, n - 2)) if swapped else view
    d, size = view.shape[-1], view.dtype.itemsize
    if view.strides[-1] != size or d % HIGH or d > WIDEST or any(s % 16 for s in (view.offset, *view.strides[:-1])):
        return None
    return view


class _Chain:
    """What a chain consists of. scores: (buffer, rows' matrix, columns' matrix) of each product that makes some; sums: (operation that makes the factor, True
    where it is summed over columns, the other factor, the result). All matrices are tall."""

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
        factor, other, out = (step.right if swapped else step.left), _tall(step.left if swapped else step.right, swapped), _tall(step.out, swapped)
        self.sums.append((factor.buffer, kind == "rows", other, out))
        return other is not None and out is not None and not (swapped and kind == "rows")

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
        return all([k is not None for k, *_ in self.sums]) and sum([not by_rows for _, by_rows, *_ in self.sums]) < 3


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
        for key, kind in _kept(structure, rules) if self.down else ():
            self.kept.setdefault(key, Buffer("arena", np.dtype(kind.replace("f", "float").replace("b1", "bool")), rows))
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
        sums = [(k, passing(other), described(out)) for k, _, other, out in sums]
        a_tile = max(PASSING[self.size], HIGH)
        row_bytes = [d * self.size + PAD for *_, d in matrices]
        while a_tile > HIGH and 2 * a_tile * sum(row_bytes) + LANES * WARPS * SLOT + 64 > SHARED:
            a_tile //= 2
        if 2 * a_tile * sum(row_bytes) + LANES * WARPS * SLOT + 64 > SHARED:
            return None
        warps = min(WARPS, -(-own_size // HIGH))
        masks = {n: v for n, (v, *_) in enumerate(plan._views) if v.buffer.kind == "constant" and v.dtype == bool and v.shape[-2:] == (tiles.m, tiles.n)
                 and not any(v.strides[:-2])}
        order = self._order(by_rows, warps * HIGH, a_tile, masks.values())
        parts = len(order)
        spec = (side, self.kind, self.size, warps, a_tile, own_size % (warps * HIGH) > 0, passing_size % a_tile > 0, tuple(word(n) for n in self.dims),
                word(tiles.batch), word((Buffer("constant", order.dtype, order.size, array=order), 0)), word(tiles.m), word(own_size), word(passing_size),
                tuple(scores), tuple(matrices), tuple(sums), tuple([(k, word((b, 0))) for k, b in self.kept.items()]), tuple(masks))
        key = repr(("attention", spec, structure, tuple(map(fingerprint, rules))))

        def build(code):
            return _Kernel(structure, rules, spec, functools.partial(code, threads=warps * LANES)).module()
        name = f"attention_{side}_" + "_".join(dict.fromkeys(o.name if isinstance(o, Reduce) else o.rule.__name__.strip("_<>")
                                                              for o in self.chain.group.operations))
        return Launch(key, build, plan.words, tiles.batch * tiles.m, parts * tiles.batch, warps * LANES, name[:60], LANES, 2 * a_tile * sum(row_bytes) + 64,
                      warp=LANES, resident=RESIDENT)

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


def _divisor(op, ops, views, rules):
    """The operand that an operation divides by, if it is float32 and the same along a row; else None."""
    if op[0] != "map" or op[1] != "full" or rules[op[3]] is not _DIVIDE or op[4] != "f32":
        return None
    x = op[6][1]
    alike = x[0] == "memory" and views[x[1]][1] == "z" or x[0] == "value" and (ops[x[1]][0] == "reduce" or ops[x[1]][1] == "row")
    return x if alike else None


def _kept(structure, rules):
    """(number of an operation, or the operand that is divided by; type) of each value of a row that the kernel of the columns does not make itself."""
    views, ops = structure[4], structure[-1]
    found = {k: op[5] for k, op in enumerate(ops) if op[0] == "reduce"}
    found.update({x: "f32" for x in [_divisor(op, ops, views, rules) for op in ops] if x is not None})
    return found.items()


class _Row:
    """What is known of a row of scores: where it lies in every place, and what is the same along it."""

    __slots__ = ("offsets", "at", "values", "loaded")

    def __init__(self, offsets, at):
        self.offsets, self.at, self.values, self.loaded = offsets, at, {}, {}


class _Kernel(Loops):
    def __init__(self, structure, rules, spec, code):
        super().__init__(structure, rules, code)
        (side, self.kind, self.size, self.warps, self.a_tile, self.own_ragged, self.ragged, self.dims, self.batch, self.order, self.m, own, passing,
         self.scores, self.matrices, self.sums, kept, self.masks) = spec
        self.by_rows, self.kept, self.unit = side == "rows", dict(kept), self.kind.split()[0]
        self.own_size, self.passing_size = self.code.word(own), self.code.word(passing)
        read = {x[1] for op in self.ops for x in (op[6] if op[0] == "map" else (op[6],)) if x[0] == "memory"}
        self.along_rows = [v for v in sorted(read) if self.views[v][1] == "z"]
        self.divisors, self.unmasked = dict.fromkeys([x for x in [_divisor(op, self.ops, self.views, rules) for op in self.ops] if x is not None]), False

    def module(self):
        code = self.code
        batch = code.word(self.batch)
        turn = code.block.over(batch)
        entry = code.block - turn * batch
        part, self.first, self.stop, *self.whole = (code.load(code.word(self.order) + turn * 40, code.number(k), "i64") for k in range(5))
        self.digits, rest = [], entry
        for w in reversed(self.dims):
            above = rest.over(code.word(w))
            self.digits.insert(0, rest - above * code.word(w))
            rest = above
        self.lane = code.thread & LANES - 1
        self.g, self.t = self.lane.over(4), self.lane & 3
        own = part * (self.warps * HIGH) + code.thread.over(LANES) * HIGH + self.g
        self.own, self.inside_own = [own, own + 8], [None, None]
        if self.own_ragged:
            self.inside_own = [x < self.own_size for x in self.own]
            self.own = [select(ok, x, self.own_size - 1) for ok, x in zip(self.inside_own, self.own)]
        self.begin(entry * code.word(self.m))
        self.entry_offsets, self.entry_row = self.offsets, entry * code.word(self.m)
        self.bases_of = [self._base(x) for x in self.matrices]
        self.places, at = [], code.number(SLOT * LANES * self.warps)
        for *_, d in self.matrices:
            self.places.append(at)
            at = at + 2 * self.a_tile * self._row_bytes(d)
        self.fragments = [self._own_fragments(x) for _, x, _ in self.scores]
        if self.by_rows:
            self._keep_rows()
        else:
            self._keep_columns()
        return code.finish()

    # ---- matrices ---------------------------------------------------------------------------------------------------------------------------

    def _row_bytes(self, d):
        return d * self.size + PAD

    def _base(self, matrix):
        """Where an entry's matrix begins."""
        base, strides, _, _ = matrix
        at = self.code.word(base)
        for digit, s in zip(self.digits, strides):
            at = at + digit * self.code.word(s)
        return at

    def _own_fragments(self, matrix):
        """The block's own rows of a matrix, for each product along some of its features: four words."""
        code, (_, _, stride, d) = self.code, matrix
        base, step = self._base(matrix), DEEP[self.unit]
        rows = [base + x * code.word(stride) for x in self.own]
        return [[code.load(rows[h] + (k * step * self.size + half * 16), self.t, "i32") for half in (0, 1) for h in (0, 1)] for k in range(d // step)]

    def _fetch(self, tile):
        """The rows of a tile of all matrices, on their way into one of two places. Behind the last row there are zeros."""
        code, threads = self.code, LANES * self.warps
        for (_, _, stride, d), base, place in zip(self.matrices, self.bases_of, self.places):
            pieces = d * self.size // 16                      # of a row
            row_bytes, many = self._row_bytes(d), self.a_tile * d * self.size // 16
            place = place + (tile & 1) * (self.a_tile * row_bytes)

            def piece(q, base=base, place=place, stride=stride, pieces=pieces, row_bytes=row_bytes):
                row = q.over(pieces)
                at, part, bytes = tile * self.a_tile + row, q - row * pieces, code.number(16)
                if self.ragged:
                    bytes = select(at < self.passing_size, bytes, code.number(0))
                    at = select(at < self.passing_size, at, self.passing_size - 1)
                code.fetch(place + row * row_bytes + part * 16, base + at * code.word(stride) + part * 16, bytes)
            for k in range(many // threads):
                piece(code.thread + k * threads)
            if many % threads:
                with code.when(code.thread < many % threads):
                    piece(code.thread + many // threads * threads)

    def _passing(self, act):
        """act(tile, places): for each tile that passes by, when it is there."""
        code = self.code
        with code.when(self.first < self.stop):
            self._fetch(self.first)
        with code.loop(self.first, self.stop) as tile:
            code.fetched()
            code.barrier()
            with code.when(tile + 1 < self.stop):
                self._fetch(tile + 1)
            places = [place + (tile & 1) * (self.a_tile * self._row_bytes(d)) for (*_, d), place in zip(self.matrices, self.places)]
            whole = (tile >= self.whole[0]) & (tile < self.whole[1])
            for self.unmasked, here in ((True, whole), (False, ~whole)) if self.masks else ((False, None),):
                self._if(here, lambda: act(tile, places))
        code.barrier()

    def _multiplied(self, c, a, b):
        """c + a b. a: four words, b: two, of numbers as they lie in memory or come out of the loop."""
        code = self.code
        if self.kind == "bf16":
            return code.multiply("bf16", c, a, b)
        if self.kind == "tf32":
            return code.multiply("tf32", c, [x + 0x1000 for x in a], [x + 0x1000 for x in b])
        (a, a_low), (b, b_low) = ([list(x) for x in zip(*map(self._halves, y))] for y in (a, b))
        return code.multiply("tf32", code.multiply("tf32", code.multiply("tf32", c, a_low, b), a, b_low), a, b)

    @staticmethod
    def _halves(x):
        """A float32 as the sum of two numbers of 11 binary digits, as words; the second one of what is infinite is 0."""
        high = x + 0x1000 & TF32
        low = x.real() - high.real()
        return high, select(low.equals(low), low, 0.0).bits() + 0x1000

    def _scores(self, places):
        """{place in memory where the scores would lie: fragments, one for every 8 columns of the tile}."""
        code, out = self.code, {}
        for (view, (_, _, _, d), m), own in zip(self.scores, self.fragments):
            at, row_bytes = places[m], self._row_bytes(d)
            line = at + (self.lane & 7) * row_bytes + self.lane.over(8) * 16
            found = [[code.number(0.0, "f32")] * 4 for _ in range(self.a_tile // WIDE)]
            for k in range(0, len(own), 2):                   # 64 bytes of a row are two steps
                for j in range(len(found)):
                    words = code.matrices(line + (j * WIDE * row_bytes + k * 32))
                    found[j] = self._multiplied(found[j], own[k], words[:2])
                    if k + 1 < len(own):
                        found[j] = self._multiplied(found[j], own[k + 1], words[2:])
            out[view] = found
        return out

    def _summed(self, cells, factors, m, place):
        """Add factors times a tile to a result. factors: for every 8 columns, what a lane has of them: (row g, row g + 8) of column 2t, and of column 2t + 1.

        A matrix unit cuts off what it adds up where it should round: sums of float32 are of a tile at most, and are then added by the usual addition.
        """
        code, d = self.code, self.matrices[m][3]
        row_bytes, step, apart = self._row_bytes(d), DEEP[self.unit] // WIDE, self.kind == "tf32 x 3"
        left, lines = [], []
        for j in range(0, len(factors), step):
            if self.kind == "bf16":
                left.append([self._pair(factors[j + back][0][h], factors[j + back][1][h]) for back in (0, 1) for h in (0, 1)])
                lines.append(place + (j * WIDE + (self.lane & 15)) * row_bytes + self.lane.over(16) * 16)
            else:                                             # columns 2t and 2t + 1 are terms t and t + 4
                left.append([factors[j][e][h].bits() for e in (0, 1) for h in (0, 1)])
                lines.append(place + (self.t * 2 + j * WIDE) * row_bytes + self.g * 4)
        for n in range(0, d // WIDE, step):
            mine = cells[n:n + step]
            sums = [[code.number(0.0, "f32") if apart else c.get() for c in four] for four in mine]
            for a, line in zip(left, lines):
                if self.kind == "bf16":
                    words = code.matrices(line + n * 16, turned=True)
                    right = [words[:2], words[2:]]
                else:
                    right = [[code.get(line + n * 32, None, "i32"), code.get(line + (n * 32 + row_bytes), None, "i32")]]
                sums = [self._multiplied(c, a, b) for c, b in zip(sums, right)]
            for four, found in zip(mine, sums):
                for cell, x in zip(four, found):
                    cell.set(cell.get() + x if apart else x)

    def _pair(self, low, high):
        b = self.code.builder
        low, high = (b.zext(x.ir, _I32) for x in (low, high))
        return Value(b, b.or_(low, b.shl(high, _I32(16))), "i32")

    def _results(self):
        return [[[self.code.cell("f32", 0.0) for _ in range(4)] for _ in range(self.matrices[m][3] // WIDE)] for _, m, _ in self.sums]

    def _write(self, results):
        code = self.code
        for cells, (_, _, out) in zip(results, self.sums):
            base, stride = self._base(out), code.word(out[2])
            for h in (0, 1):
                row = base + self.own[h] * stride + self.t * 8
                self._if(self.inside_own[h], lambda row=row, cells=cells, h=h: [
                    code.store(row + (n * 32 + e * 4), None, mine[2 * h + e].get()) for n, mine in enumerate(cells) for e in (0, 1)])

    def _if(self, condition, act):
        if condition is None:
            return act()
        with self.code.when(condition):
            act()

    # ---- the loop's operations ----------------------------------------------------------------------------------------------------------------

    def _row(self, r):
        """Row r of the entry."""
        code = self.code
        row = _Row([at + r * code.word(outer[-1]) if outer and outer != "unit" else at for at, (_, _, _, _, outer, _) in zip(self.entry_offsets, self.views)],
                   self.entry_row + r)
        self._go_to(row)
        for v in self.along_rows:
            self.memory(v)
        return row

    def neutral(self, name, type):
        return self.code.number(neutral(name, type), type)

    def _go_to(self, row):
        self.offsets, self.at, self.values, self.row_loaded, self.loaded, self.inside = row.offsets, row.at, row.values, row.loaded, {}, False

    def _entry(self, row, column, scores, wanted):
        """The operations `wanted`, of one entry."""
        self._go_to(row)
        self.values, self.loaded, self.inside = dict(row.values), scores, True
        found = [self.operand(x, column) for x in wanted]
        self.inside = False
        return found

    def memory(self, v, i=None):
        return self.code.number(1, "b1") if self.unmasked and v in self.masks else super().memory(v, i)

    def compute(self, op, i):
        """As everywhere; but what the entries of a row are divided by is inverted once. The quotient is mended by what remains: it is rounded correctly where
        nothing is subnormal (Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", 1990)."""
        x = _divisor(op, self.ops, self.views, self.rules)
        if x is None:
            return super().compute(op, i)
        dividend, divisor, inverse = cast(self.operand(op[6][0], i), "f32"), cast(self.operand(x, i), "f32"), self.values[x]
        quotient = dividend * inverse
        better = mad(mad(-quotient, divisor, dividend), inverse, quotient)
        return select(better.equals(better), better, quotient)          # of what is infinite nothing remains that is a number

    def _invert(self):
        """What the entries of the current row will be divided by, as far as it is known."""
        for x in self.divisors:
            known = x[1] in (self.values if x[0] == "value" else self.row_loaded)
            if known and x not in self.values:
                self.values[x] = 1.0 / cast(self.operand(x, None), "f32")
                if x in self.kept:
                    self._if(self._first_lane, lambda x=x: self.code.store(self.code.word(self.kept[x]), self.at, self.values[x]))

    def operand(self, x, i):
        if x[0] == "value" and x[1] not in self.values and self.ops[x[1]][0] == "map":
            self.values[x[1]] = self.compute(self.ops[x[1]], i)
        return super().operand(x, i)

    def _rows_of(self, phase):
        """What is one a row after a phase, of the current row."""
        for k, op in enumerate(self.ops):
            if op[0] == "map" and op[1] == "row" and op[2] == phase:
                self.values[k] = self.compute(op, None)
                self._if(self._first_lane, lambda k=k, op=op: self.store(op[7], self.values[k], None))

    def _keep_rows(self):
        code = self.code
        rows, results = [self._row(r) for r in self.own], self._results()
        first = self.t.equals(0)
        first_lanes = [first if inside is None else first & inside for inside in self.inside_own]
        for phase in range(-1, self.last + 1):
            mine = [k for k, op in enumerate(self.ops) if op[0] == "reduce" and op[2] == phase]
            sums = self.sums if phase == self.last else ()
            if mine or sums:
                cells = {k: [code.cell(self.ops[k][4], self.neutral(self.ops[k][3], self.ops[k][4])) for _ in rows] for k in mine}
                self._passing(lambda tile, places, mine=mine, cells=cells, sums=sums: self._swept(rows, tile, places, mine, cells, results if sums else ()))
            for h, row in enumerate(rows):
                self._go_to(row)
                self._first_lane = first_lanes[h]
                for k in mine:
                    op = self.ops[k]
                    self.values[k] = cast(code.butterfly(op[3], cast(cells[k][h].get(), wide(op)), 4), op[5])

                    def store(k=k, op=op):
                        self.store(op[8], self.values[k], None)
                        if k in self.kept:
                            code.store(code.word(self.kept[k]), self.at, self.values[k])
                    self._if(self._first_lane, store)
                self._rows_of(phase)
                self._invert()
        self._write(results)

    def _swept(self, rows, tile, places, mine, cells, results):
        """A tile of columns for the rows that are kept."""
        scores, factors = self._scores(places), []
        wanted = [self.ops[k][6] for k in mine] + [("value", k) for k, _, _ in (self.sums if results else ())]
        for j in range(self.a_tile // WIDE):
            found = [[None, None], [None, None]]
            for e in (0, 1):
                column, inside = self._at(tile, j, e)
                for h, row in enumerate(rows):
                    got = self._entry(row, column, {v: x[j][2 * h + e] for v, x in scores.items()}, wanted)
                    for k, x in zip(mine, got):
                        op, cell = self.ops[k], cells[k][h]
                        x = cast(x, op[4])
                        x = x if inside is None else select(inside, x, self.neutral(op[3], x.type))
                        cell.set(merge(op[3], cell.get(), x))
                    found[e][h] = [self._or_zero(inside, x) for x in got[len(mine):]]
            factors.append(found)
        for s, cells_of in enumerate(results):
            m = self.sums[s][1]
            self._summed(cells_of, [[[found[e][h][s] for h in (0, 1)] for e in (0, 1)] for found in factors], m, places[m])

    def _keep_columns(self):
        results = self._results()
        self._passing(lambda tile, places: self._swept_down(tile, places, results))
        self._write(results)

    def _swept_down(self, tile, places, results):
        """A tile of rows for the columns that are kept."""
        scores, factors = self._scores(places), []
        for j in range(self.a_tile // WIDE):
            found = [[None, None], [None, None]]
            for e in (0, 1):
                r, inside = self._at(tile, j, e)
                row = self._row(r)
                for k, place in self.kept.items():
                    self.values[k] = self.code.load(self.code.word(place), self.at, self.ops[k][5] if type(k) is int else "f32")
                for phase in range(-1, self.last + 1):
                    for k, op in enumerate(self.ops):
                        if op[0] == "map" and op[1] == "row" and op[2] == phase:
                            self.values[k] = self.compute(op, None)
                for h, column in enumerate(self.own):
                    got = self._entry(row, column, {v: x[j][2 * h + e] for v, x in scores.items()}, [("value", k) for k, _, _ in self.sums])
                    found[e][h] = [self._or_zero(inside, x) for x in got]
            factors.append(found)
        for s, cells in enumerate(results):
            m = self.sums[s][1]
            self._summed(cells, [[[found[e][h][s] for h in (0, 1)] for e in (0, 1)] for found in factors], m, places[m])

    def _at(self, tile, j, e):
        """Which one of those that pass by a lane has in a fragment, and whether there is such a one (None: there is)."""
        at = tile * self.a_tile + self.t * 2 + (j * WIDE + e)
        if not self.ragged:
            return at, None
        inside = at < self.passing_size
        return select(inside, at, self.passing_size - 1), inside

    def _or_zero(self, inside, x):
        return x if inside is None else select(inside, x, self.code.number(0.0 if x.type[0] == "f" else 0, x.type))
