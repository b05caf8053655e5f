"""Attention in registers: the kernel of a chain of products around one loop (attention.py) for a warp's matrix units.

What it is: `Kernel`, whose block keeps 16 rows (or columns) for each warp, in registers, and lets tiles of the others pass by in shared memory, two at a time:
one is used while the next one comes. The loop's operations are loops.py's, entry by entry of what a lane has of a fragment.

How products are made: of bfloat16 as they are; TF32 rounds both factors to 11 binary digits; of float32 each factor is the sum of two such numbers, high and
low, and three products are added, low high + high low + high high: what is missing is some 2^-22 of a product (Ootomo and Yokota, "Recovering single precision
accuracy from Tensor Cores while surpassing the FP32 theoretical peak performance", 2022), where float32 rounds every term of the sum to 2^-24.

What it is not: it decides nothing (attention.py), and knows nothing of a processor but fragments.py's words.
"""
from llvmlite import ir

from ..code import cast, merge, neutral, select
from ..loops import Loops, wide
from ..scalar import FLOAT
from ..values import Value, mad
from .code import SLOT
from .fragments import DEEP, HIGH, LANES, TF32, WIDE

PAD = 16                                     # bytes between rows of a tile, so that lanes read from different banks
BEHIND = 64                                  # bytes behind the last row, which are read with it and not used
_I32, _DIVIDE = ir.IntType(32), FLOAT["divide"]


def shared_bytes(kind, rows, widths):
    """Bytes that a block shares: tiles of so many rows, of as many bytes each as widths says. Of each matrix there are the tile that is used and the one that
    comes, and, of numbers in two halves, the low ones of the first."""
    return _planes(kind) * rows * sum([width + PAD for width in widths]) + BEHIND


def _planes(kind):
    return 3 if kind == "tf32 x 3" else 2


def divisor(op, ops, views, rules):
    """The operand that an operation divides by, if it is float32 and the same along a row; else None."""
    if op[0] != "map" or op[1] != "full" or rules[op[3]] is not _DIVIDE or op[4] != "f32":
        return None
    x = op[6][1]
    alike = x[0] == "memory" and views[x[1]][1] == "z" or x[0] == "value" and (ops[x[1]][0] == "reduce" or ops[x[1]][1] == "row")
    return x if alike else None


class _Row:
    """What is known of a row of scores: where it lies in every place, and what is the same along it."""

    __slots__ = ("offsets", "at", "values", "loaded")

    def __init__(self, offsets, at):
        self.offsets, self.at, self.values, self.loaded = offsets, at, {}, {}


class Kernel(Loops):
    def __init__(self, structure, rules, spec, code):
        super().__init__(structure, rules, code)
        (side, self.kind, self.size, self.warps, self.a_tile, self.own_ragged, self.ragged, self.dims, self.batch, self.order, self.m, own, passing,
         self.scores, self.matrices, self.sums, kept, self.masks) = spec
        self.by_rows, self.kept, self.unit = side == "rows", dict(kept), self.kind.split()[0]
        self.own_size, self.passing_size = self.code.word(own), self.code.word(passing)
        read = {x[1] for op in self.ops for x in (op[6] if op[0] == "map" else (op[6],)) if x[0] == "memory"}
        self.along_rows = [v for v in sorted(read) if self.views[v][1] == "z"]
        self.divisors, self.unmasked = dict.fromkeys([x for x in [divisor(op, self.ops, self.views, rules) for op in self.ops] if x is not None]), False

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
            at = at + _planes(self.kind) * self.a_tile * self._row_bytes(d)
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

    def _pieces(self, d, act):
        """act(row, byte) for the pieces of 16 bytes of a tile that are this thread's."""
        code, threads, pieces = self.code, LANES * self.warps, d * self.size // 16
        many = self.a_tile * pieces

        def piece(q):
            row = q.over(pieces)
            act(row, (q - row * pieces) * 16)
        for k in range(many // threads):
            piece(code.thread + k * threads)
        if many % threads:
            with code.when(code.thread < many % threads):
                piece(code.thread + many // threads * threads)

    def _fetch(self, tile):
        """The rows of a tile of all matrices, on their way into one of two places. Behind the last row there are zeros."""
        code = self.code
        for (_, _, stride, d), base, place in zip(self.matrices, self.bases_of, self._places(tile)):
            def piece(row, byte, base=base, place=place, stride=stride, d=d):
                at, bytes = tile * self.a_tile + row, code.number(16)
                if self.ragged:
                    bytes = select(at < self.passing_size, bytes, code.number(0))
                    at = select(at < self.passing_size, at, self.passing_size - 1)
                code.fetch(place + row * self._row_bytes(d) + byte, base + at * code.word(stride) + byte, bytes)
            self._pieces(d, piece)

    def _places(self, tile):
        return [place + (tile & 1) * (self.a_tile * self._row_bytes(d)) for (*_, d), place in zip(self.matrices, self.places)]

    def _halve(self):
        """Numbers in two halves: the low ones apart, the high ones where they were."""
        code = self.code
        for (*_, d), place, low in zip(self.matrices, self._here, self._low_places()):
            def piece(row, byte, place=place, low=low, d=d):
                at = row * self._row_bytes(d) + byte
                halves = [self._halves(x) for x in code.get_quad(place + at, None, "i32")]
                for k, target in enumerate((place, low)):
                    code.put_quad(target + at, None, [x[k] for x in halves])
            self._pieces(d, piece)
        code.barrier()

    def _low_places(self):
        return [place + 2 * self.a_tile * self._row_bytes(d) for (*_, d), place in zip(self.matrices, self.places)]

    def _passing(self, act):
        """act(tile) for each tile that passes by, when it is there."""
        code = self.code
        with code.when(self.first < self.stop):
            self._fetch(self.first)
        with code.loop(self.first, self.stop) as tile:
            code.fetched()
            code.barrier()
            with code.when(tile + 1 < self.stop):
                self._fetch(tile + 1)
            self._here = self._places(tile)
            if self.kind == "tf32 x 3":
                self._halve()
            whole = (tile >= self.whole[0]) & (tile < self.whole[1])
            for self.unmasked, here in ((True, whole), (False, ~whole)) if self.masks else ((False, None),):
                with code.when(here):
                    act(tile)
        code.barrier()

    def _read(self, m, offset, read):
        """What read(place) finds so many bytes behind the beginning of a tile of matrix m: words, or pairs of words, high and low."""
        found = read(self._here[m] + offset)
        return found if self.kind != "tf32 x 3" else list(zip(found, read(self._low_places()[m] + offset)))

    def _multiplied(self, c, a, b):
        """c + a b. a: four words of numbers as they lie in memory or come out of the loop; b: two of what `_read` found."""
        code = self.code
        if self.kind == "bf16":
            return code.multiply("bf16", c, a, b)
        if self.kind == "tf32":
            return code.multiply("tf32", c, [x + 0x1000 for x in a], [x + 0x1000 for x in b])
        (a, a_low), (b, b_low) = ([list(x) for x in zip(*y)] for y in (map(self._halves, a), b))
        return code.multiply("tf32", code.multiply("tf32", code.multiply("tf32", c, a_low, b), a, b_low), a, b)

    @staticmethod
    def _halves(x):
        """A float32 as the sum of two numbers of 11 binary digits, as words. There is no such sum of what is infinite: it becomes NaN."""
        high = x + 0x1000 & TF32
        return high, (x.real() - high.real()).bits() + 0x1000

    def _scores(self):
        """{place in memory where the scores would lie: fragments, one for every 8 columns of the tile}."""
        code, out = self.code, {}
        for (view, (_, _, _, d), m), own in zip(self.scores, self.fragments):
            row_bytes = self._row_bytes(d)
            line = (self.lane & 7) * row_bytes + self.lane.over(8) * 16
            found = [[code.number(0.0, "f32")] * 4 for _ in range(self.a_tile // WIDE)]
            for k in range(0, len(own), 2):                   # 64 bytes of a row are two steps
                for j in range(len(found)):
                    words = self._read(m, line + (j * WIDE * row_bytes + k * 32), code.matrices)
                    found[j] = self._multiplied(found[j], own[k], words[:2])
                    if k + 1 < len(own):
                        found[j] = self._multiplied(found[j], own[k + 1], words[2:])
            out[view] = found
        return out

    def _summed(self, cells, factors, m):
        """Add factors times a tile to a result. factors: for every 8 columns, what a lane has of them: (row g, row g + 8) of column 2t, and of column 2t + 1.

        A matrix unit cuts off what it adds up where it should round: sums of float32 are of a tile at most, and are then added by the usual addition.
        """
        code, d = self.code, self.matrices[m][3]
        row_bytes, step, apart = self._row_bytes(d), DEEP[self.unit] // WIDE, self.kind == "tf32 x 3"
        left, lines = [], []
        for j in range(0, len(factors), step):
            if self.kind == "bf16":
                left.append([self._pair(factors[j + back][0][h], factors[j + back][1][h]) for back in (0, 1) for h in (0, 1)])
                lines.append((self.lane & 15) * row_bytes + j * WIDE * row_bytes + self.lane.over(16) * 16)
            else:                                             # columns 2t and 2t + 1 are terms t and t + 4
                left.append([factors[j][e][h].bits() for e in (0, 1) for h in (0, 1)])
                lines.append((self.t * 2 + j * WIDE) * row_bytes + self.g * 4)
        for n in range(0, d // WIDE, step):
            mine = cells[n:n + step]
            sums = [[code.number(0.0, "f32") if apart else c.get() for c in four] for four in mine]
            for a, line in zip(left, lines):
                if self.kind == "bf16":
                    words = self._read(m, line + n * 16, lambda at: code.matrices(at, turned=True))
                    right = [words[:2], words[2:]]
                else:
                    right = [self._read(m, line + n * 32, lambda at: [code.get(at + k * row_bytes, None, "i32") for k in (0, 1)])]
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
            base, (_, _, stride, step) = self._base(out), out
            for h in (0, 1):
                row = base + self.own[h] * code.word(stride)
                with code.when(self.inside_own[h]):
                    for n, mine in enumerate(cells):
                        for e in (0, 1):
                            code.store(row + (self.t * 2 + n * WIDE + e) * code.word(step), None, mine[2 * h + e].get())

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
        x = divisor(op, self.ops, self.views, self.rules)
        if x is None:
            return super().compute(op, i)
        dividend, by, inverse = cast(self.operand(op[6][0], i), "f32"), cast(self.operand(x, i), "f32"), self.values[x]
        quotient = dividend * inverse
        better = mad(mad(-quotient, by, dividend), inverse, quotient)
        return select(better.equals(better), better, quotient)          # of what is infinite nothing remains that is a number

    def _invert(self):
        """What the entries of the current row will be divided by, as far as it is known."""
        for x in self.divisors:
            known = x[1] in (self.values if x[0] == "value" else self.row_loaded)
            if known and x not in self.values:
                self.values[x] = 1.0 / cast(self.operand(x, None), "f32")
                if x in self.kept:
                    with self.code.when(self._first_lane):
                        self.code.store(self.code.word(self.kept[x]), self.at, self.values[x])

    def operand(self, x, i):
        if x[0] == "value" and x[1] not in self.values and self.ops[x[1]][0] == "map":
            self.values[x[1]] = self.compute(self.ops[x[1]], i)
        return super().operand(x, i)

    def _rows_of(self, phase, store=True):
        """What is one a row after a phase, of the current row."""
        for k, op in enumerate(self.ops):
            if op[0] == "map" and op[1] == "row" and op[2] == phase:
                self.values[k] = self.compute(op, None)
                if store:
                    with self.code.when(self._first_lane):
                        self.store(op[7], self.values[k], None)

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
                self._passing(lambda tile, mine=mine, cells=cells, sums=sums: self._swept(rows, tile, mine, cells, results if sums else ()))
            for h, row in enumerate(rows):
                self._go_to(row)
                self._first_lane = first_lanes[h]
                for k in mine:
                    op = self.ops[k]
                    self.values[k] = cast(code.butterfly(op[3], cast(cells[k][h].get(), wide(op)), 4, whole=True), op[5])
                    with code.when(self._first_lane):
                        self.store(op[8], self.values[k], None)
                        if k in self.kept:
                            code.store(code.word(self.kept[k]), self.at, self.values[k])
                self._rows_of(phase)
                self._invert()
        self._write(results)

    def _swept(self, rows, tile, mine, cells, results):
        """A tile of columns for the rows that are kept."""
        scores, factors = self._scores(), []
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
        self._sum_up(results, factors)

    def _keep_columns(self):
        results = self._results()
        self._passing(lambda tile: self._swept_down(tile, results))
        self._write(results)

    def _swept_down(self, tile, results):
        """A tile of rows for the columns that are kept."""
        scores, factors = self._scores(), []
        for j in range(self.a_tile // WIDE):
            found = [[None, None], [None, None]]
            for e in (0, 1):
                r, inside = self._at(tile, j, e)
                row = self._row(r)
                for k, place in self.kept.items():
                    self.values[k] = self.code.load(self.code.word(place), self.at, self.ops[k][5] if type(k) is int else "f32")
                for phase in range(-1, self.last + 1):
                    self._rows_of(phase, store=False)
                for h, column in enumerate(self.own):
                    got = self._entry(row, column, {v: x[j][2 * h + e] for v, x in scores.items()}, [("value", k) for k, _, _ in self.sums])
                    found[e][h] = [self._or_zero(inside, x) for x in got]
            factors.append(found)
        self._sum_up(results, factors)

    def _sum_up(self, results, factors):
        """factors: as `_summed` takes them, but each a list, of one for every result."""
        for s, (cells, (_, m, _)) in enumerate(zip(results, self.sums)):
            self._summed(cells, [[[found[e][h][s] for h in (0, 1)] for e in (0, 1)] for found in factors], m)

    def _at(self, tile, j, e):
        """Which one of those that pass by a lane has in a fragment, and whether there is such a one (None: there is)."""
        at = tile * self.a_tile + self.t * 2 + (j * WIDE + e)
        if not self.ragged:
            return at, None
        inside = at < self.passing_size
        return select(inside, at, self.passing_size - 1), inside

    def _or_zero(self, inside, x):
        return x if inside is None else select(inside, x, self.code.number(0.0 if x.type[0] == "f" else 0, x.type))
