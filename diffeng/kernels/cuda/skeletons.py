"""The code of a group for a grid of threads: the structure that groups.py made, in another order of rows and columns than loops.py's.

What it is: five skeletons around the same operations.
- entries: every thread computes entries of its own, neighbours neighbouring ones; a block may sum what it makes.
- rows: a team of lanes takes a row (a warp or a part of it, or a block); phase after phase, reductions along the row over the team.
- columns: sums over rows alone: a thread keeps one column's, for some rows; the threads of a block put theirs together.
- scatter: who owns a part of what is written to walks all rows and writes those that fall into it, in their order: no two threads meet, and the bits do not
  depend on who is first.
- combine: partial results, one a block or a team, to what they are together, in order.
Several entries are loaded before the first is computed, because a GPU hides the time of a load behind other loads.

What it is not: nothing here knows a size, an address, a primitive, or which device the code is for (code.py).
"""
from ..code import cast, merge, neutral, select
from ..loops import Loops, wide

AHEAD = 4                                    # entries whose operands are loaded together at most,
LOADS_AHEAD = 12                             # as long as these are no more loads than so many: they take registers


def write(structure, rules, kind, extra, code):
    """The module of a group's kernel. kind: of skeleton; extra: numbers of the words that it has beside the structure's."""
    return _SKELETONS[kind](structure, rules, extra, code).module()


class _Skeleton(Loops):
    def __init__(self, structure, rules, extra, code):
        super().__init__(structure, rules, code)
        self.extra = [self.code.word(k) for k in extra]
        self.columns = self.code.word(self._columns)
        self.totals, self.sums, self.offsets = {}, {}, None

    def of_kind(self, kind):
        return [k for k, op in enumerate(self.ops) if op[0] == "reduce" and op[7] == kind]

    def neutral(self, k, type):
        return self.code.number(neutral(self.ops[k][3], type), type)

    def keep_partial(self, k, slot, column, value):
        """A partial result where `combine` looks for it."""
        base, stride = self.ops[k][9]
        self.code.store(self.code.word(base) + slot * self.code.word(stride), column, value)

    def span(self, slot):
        """First and last of the chunk that is a slot's."""
        chunk = self.code.word(self._chunk)
        lo = slot * chunk
        return lo, select(lo + chunk < self.code.rows, lo + chunk, self.code.rows)

    def striding(self, start, stop, step, mine, place, parts):
        """The operations `mine` for start, start + step, ... below stop; place(i) goes to an entry and returns its column."""
        code = self.code
        loads = len({x[1] for k in mine for x in self._operands(self.ops[k]) if x[0] == "memory"})
        ahead = min(AHEAD, LOADS_AHEAD // max(loads, 1))
        if loads and ahead > 1:
            last = stop - step * (ahead - 1)
            whole = select(start < last, (last - start + step * ahead - 1).over(step * ahead), code.number(0))
            with code.loop(0, whole) as n:
                first = start + n * (step * ahead)
                self.several(mine, [first + step * k for k in range(ahead)], place, parts)
            start = start + whole * (step * ahead)
        with code.loop(start, stop, step) as i:
            self.several(mine, [i], place, parts)

    def several(self, mine, indices, place, parts):
        states = []
        before = self.values, self.row_loaded, self.at, self.offsets
        for i in indices:
            column = place(i)
            self.inside, self.loaded = True, {}
            for k in mine:
                for x in self._operands(self.ops[k]):
                    if x[0] == "memory":
                        self.memory(x[1], column)
            states.append((column, self.loaded, self.row_loaded, self.at, self.offsets))
        for column, self.loaded, self.row_loaded, self.at, self.offsets in states:
            self.values = dict(before[0])
            for k in mine:
                self.operate(k, column, parts)
        self.inside, self.loaded = False, {}
        self.values, self.row_loaded, self.at, self.offsets = before

    @staticmethod
    def _operands(op):
        return op[6] if op[0] == "map" else (op[6],)


class _Entries(_Skeleton):
    """A slot is a block. extra: 1 word, not 0 where row and column of an entry need 64 bits."""

    def module(self):
        code = self.code
        self.totals = {k: code.cell(wide(self.ops[k]), neutral(self.ops[k][3], wide(self.ops[k]))) for k in self.of_kind("all")}
        lo, hi = self.span(code.block)
        self.offsets, self.at = self.bases, None
        self.striding(lo + code.thread, hi, code.threads, range(len(self.ops)), self.flatly if self.flat else self.entry, self.totals)
        for k, cell in self.totals.items():
            total = code.together(self.ops[k][3], cell.get(), None)
            with code.when(code.thread.equals(0)):
                self.keep_partial(k, code.block, None, total)
        return code.finish()

    @staticmethod
    def flatly(i):
        return i

    def entry(self, e):
        r = e.over(self.columns)
        self.begin(r)
        return e - r * self.columns


class _Rows(_Skeleton):
    """A slot is a team. extra: one word, the lanes of a team within a warp; none if the team is a block."""

    def module(self):
        code = self.code
        if self.extra:
            self.lanes = self.extra[0]
            self.lane = code.number_of(code.thread, self.lanes)
            slot = code.block * code.threads.over(self.lanes) + code.thread.over(self.lanes)
        else:
            self.lanes, self.lane, slot = None, code.thread, code.block
        self.width = code.threads if self.lanes is None else self.lanes
        if self._memory:
            self.scratch = code.word(self._memory[0]) + slot * code.word(self._memory[1])
        lo, hi = self.span(slot)
        self.totals = {k: code.cell(wide(self.ops[k]), neutral(self.ops[k][3], wide(self.ops[k]))) for k in self.of_kind("all")}
        with code.when(lo < code.rows):                       # whole teams stay away
            for k in self.of_kind("columns"):
                self.sums[k] = code.word(self.ops[k][9][0]) + slot * code.word(self.ops[k][9][1])
                with code.loop(self.lane, self.columns, self.width) as c:
                    code.store(self.sums[k], c, self.neutral(k, self.ops[k][4]), self.sums_scope)
            with code.loop(lo, hi) as r:
                self.begin(r)
                for phase in range(-1, self.last + 1):
                    self.columns_of(phase)
                    self.row_of(phase)
            for k, cell in self.totals.items():
                total = code.together(self.ops[k][3], cell.get(), self.lanes)
                with code.when(self.lane.equals(0)):
                    self.keep_partial(k, slot, None, total)
        return code.finish()

    def row_of(self, phase):
        """Every lane computes what is one a row; the first one stores it and counts it."""
        for k, op in enumerate(self.ops):
            if op[1] != "row" or op[2] != phase:
                continue
            if op[0] == "reduce":
                x = cast(cast(self.operand(op[6], None), op[4]), self.totals[k].type)
                x = select(self.lane.equals(0), x, self.neutral(k, x.type))
                self.totals[k].set(merge(op[3], self.totals[k].get(), x))
            else:
                self.operate(k, None, self.totals)

    def store(self, store, value, i):
        if store is None or self.inside:
            return super().store(store, value, i)
        with self.code.when(self.lane.equals(0)):
            super().store(store, value, i)

    def sweep(self, lo, hi, mine):
        code = self.code
        own = {k: code.cell(self.ops[k][4], neutral(self.ops[k][3], self.ops[k][4])) for k in mine if self.ops[k][0] == "reduce" and self.ops[k][7] == "row"}
        self.striding(self.lane, hi, self.width, mine, lambda i: i, {**self.totals, **own})
        for k, cell in own.items():
            op = self.ops[k]
            self.keep(k, cast(code.together(op[3], cast(cell.get(), wide(op)), self.lanes), op[5]))
            self.store(op[8], self.values[k], None)


class _Columns(_Skeleton):
    """A slot is what the blocks of some rows share. extra: how many columns a block has, as threads lie; how many such blocks a slot has."""

    def module(self):
        code = self.code
        width, tiles = self.extra
        slot = code.block.over(tiles)
        column = (code.block - slot * tiles) * width + code.number_of(code.thread, width)
        row, height = code.thread.over(width), code.threads.over(width)
        lo, hi = self.span(slot)
        parts = {k: code.cell(self.ops[k][4], neutral(self.ops[k][3], self.ops[k][4])) for k in self.of_kind("columns")}
        def place(r):
            self.begin(r)
            return column
        with code.when(column < self.columns):
            self.striding(lo + row, hi, height, range(len(self.ops)), place, parts)
        for k, cell in parts.items():
            total = cast(code.down(self.ops[k][3], cast(cell.get(), wide(self.ops[k])), height, width), self.ops[k][4])
            with code.when(row.equals(0) & (column < self.columns)):
                self.keep_partial(k, slot, column, total)
        return code.finish()

    def operate(self, k, i, parts):
        op = self.ops[k]
        if op[0] == "reduce":                                # also what loops.py adds to memory stays with the thread
            x = cast(cast(self.operand(op[6], i), op[4]), parts[k].type)
            parts[k].set(merge(op[3], parts[k].get(), x))
        else:
            super().operate(k, i, parts)


class _Scatter(_Skeleton):
    """One operation, written to where integer arrays say. extra: lanes of a team (columns are theirs), and how many places of the first indexed axis
    a team owns. The whole block is one team where the lanes are as many as it has threads."""

    def module(self):
        code = self.code
        lanes, owned = self.extra
        team = code.block * code.threads.over(lanes) + code.thread.over(lanes)
        lane = code.number_of(code.thread, lanes)
        lo = team * owned
        place, length, _ = self.ops[0][7][2][0]

        def mine(i):
            at, n = cast(self.memory(place, i), "i64"), code.word(length)
            at = select(at < 0, at + n, at)
            outside = (at < 0) | (at >= n)
            return (at >= lo) & (at < lo + owned) & ~outside | outside & team.equals(0)

        def write(i):
            with code.when(mine(i)):
                self.entries([0], i, {})
        self.offsets, self.at = self.bases, None
        if self.flat:
            with code.loop(lane, code.rows, lanes) as i:
                self.inside, self.loaded = True, {}
                write(i)
            return code.finish()
        with code.loop(0, code.rows) as r:
            self.begin(r)
            if along_rows(self.ops[0][7], self.views, self.flat):
                with code.when(mine(None)):
                    with code.loop(lane, self.columns, lanes) as c:
                        self.entries([0], c, {})
            else:
                with code.loop(lane, self.columns, lanes) as c:
                    self.inside, self.loaded = True, {}
                    write(c)
        return code.finish()


def along_rows(store, views, flat):
    """Does the place that an indirect store finds depend on the row alone, and are a row's entries apart from each other?"""
    return not flat and views[store[1]][1] != "z" and all([views[a][1] == "z" for a, _, _ in store[2]])


_SKELETONS = {"entries": _Entries, "rows": _Rows, "columns": _Columns, "scatter": _Scatter}


def write_combine(name, type, result, code):
    """words: partial results, how many (slots), bytes from one to the next, out, how many columns, columns a block has."""
    code = code(1)
    partial, slots, stride, out, count, width = (code.word(k) for k in range(6))
    kind = "f64" if name == "sum" and type[0] == "f" else type
    column = code.block * width + code.number_of(code.thread, width)
    row, height = code.thread.over(width), code.threads.over(width)
    total = code.cell(kind, neutral(name, kind))
    with code.when(column < count):
        with code.loop(row, slots, height) as slot:
            total.set(merge(name, total.get(), cast(code.load(partial + slot * stride, column, type), kind)))
    whole = code.down(name, total.get(), height, width)
    with code.when(row.equals(0) & (column < count)):
        code.store(out, column, cast(whole, result))
    return code.finish()
