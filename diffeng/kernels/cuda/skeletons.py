"""The code of a group for a grid of threads: the structure that groups.py made, in another order of rows and columns than loops.py's.

What it is: five skeletons around the same operations.
- entries: every thread computes entries of its own, neighbours neighbouring ones; a block may sum what it makes.
- rows: a team of lanes takes a row (a warp or a part of it, or a block); phase after phase, reductions along the row over the team.
- columns: sums over rows alone: a thread keeps one column's, for some rows; the threads of a block put theirs together.
- scatter: who owns a part of what is written to walks all rows and writes those that fall into it, in their order: no two threads meet, and the bits do not
  depend on who is first.
- combine: partial results, one a block or a team, to what they are together, in order.

What it is not: how a thread goes over its entries stands in striding.py; nothing here knows a size, an address, a primitive, or which device the code is for
(code.py).
"""
from ..code import cast, merge, neutral, select
from ..loops import wide
from .code import QUAD
from .striding import AHEAD, Skeleton, turns

LOOKS = 8                                    # entries that a thread looks at before those are written which its block owns
TALL, WIDE = 8, 4                            # squares of entries that a warp has: 128 bytes of float32 one way, 64 the other


def write(structure, rules, kind, lanes, extra, quads, code):
    """The module of a group's kernel. kind: of skeleton; lanes: of a team, as many as a block has threads where the team is the block; extra: numbers of the
    words that it has beside the structure's; quads: numbers of the views of which four entries may be read at once; code(scopes)."""
    return _SKELETONS[kind](structure, rules, lanes, extra, quads, code).module()


class _Entries(Skeleton):
    """A slot is a block. extra: nothing, or (the views that lie row after row, the word how many rows there are): then every thread has squares of entries, so
    that it reads four at once of these, too; a warp has TALL by WIDE squares."""

    def module(self):
        code, every = self.code, range(len(self.ops))
        self.totals = {k: code.cell(wide(self.ops[k]), neutral(self.ops[k][3], wide(self.ops[k]))) for k in self.of_kind("all")}
        lo, hi = self.span(code.block)
        self.offsets, self.at = self.bases, None
        if self.extra:
            with code.loop(lo + code.thread, hi, code.threads) as square:
                self.square(square, every)
        else:
            self.striding(lo, hi, code.thread, code.threads, [(every, self.flatly if self.flat else self.entry, self.totals)])
        for k, cell in self.totals.items():
            total = code.together(self.ops[k][3], cell.get(), self.lanes)
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

    def square(self, number, every):
        """QUAD rows by QUAD columns."""
        _, rows = self.extra
        across = self.columns.over(QUAD)
        line = (across + (WIDE - 1)).over(WIDE) * (WIDE * TALL)          # squares of a warp's height, those to the right of the last included
        band = number.over(line)
        number = number - band * line
        column = number.over(TALL)
        row = band * TALL + (number - column * TALL)
        with self.code.when((row * QUAD < self.code.word(rows)) & (column < across)):
            def place(r):
                self.begin(r)
                return column * QUAD
            self.down = {}
            self.several([(every, place, self.totals)], [[row * QUAD + k] * QUAD for k in range(QUAD)])

    def _memory_of(self, v, columns):
        if not self.extra or v not in self.extra[0]:
            return super()._memory_of(v, columns)
        if v not in self.down:                                # the first row asks: its columns, and with them what the next rows will ask for
            type, scope = self.views[v][0], self.views[v][5]
            self.down[v] = zip(*[self.code.load_quad(*self.place(v, c), type, scope) for c in columns])
        return next(self.down[v])


class Rows(Skeleton):
    """A slot is a team. extra: three things. First None where scratch memory and sums over rows lie in global memory; else the words that say where the teams'
    part of shared memory begins, how many bytes a team has there, and where in these each sum lies. Then the words that say which rows there are: the first,
    and so many of every so many; none for all. Then, where the last phase of a row and the first one of the next are one loop, the views that the first one
    reads, and the words where in shared memory a row of each lies from then on."""

    along_rows, waits, arriving, coming = True, {}, False, None

    def module(self):
        code = self.code
        self.extra, which, overlap = self.extra
        self.waits = {v: code.word(place) for v, place in overlap}
        teams = code.threads // self.lanes
        self.lane = code.thread & self.lanes - 1
        team = code.thread.over(self.lanes)
        slot = code.block * teams + team
        if self.extra is not None:
            self.mine = self.scratch = code.word(self.extra[0]) + team * code.word(self.extra[1])
        elif self._memory:
            self.scratch = code.word(self._memory[0]) + slot * code.word(self._memory[1])
        summed = self.of_kind("columns")
        partials = {k: code.word(self.ops[k][9][0]) + slot * code.word(self.ops[k][9][1]) for k in summed}
        self.sums = partials if self.extra is None else {k: self.mine + code.word(place) for k, place in zip(summed, self.extra[2:])}
        lo, hi = self.span(slot)
        self.totals = {k: code.cell(wide(self.ops[k]), neutral(self.ops[k][3], wide(self.ops[k]))) for k in self.of_kind("all")}
        with code.when(lo < code.rows):                       # whole teams stay away
            for k in summed:
                self.each(lambda c: self.write(self.sums[k], c, self.neutral(k, self.ops[k][4]), self.sums_scope))
            if overlap:
                self.overlapping(lo, hi)
            else:
                with code.loop(lo, hi) as r:
                    self.begin(self.row_number(r, which))
                    self.phases(-1, self.last)
            for k in summed if self.extra is not None else ():
                self.each(lambda c: code.store(partials[k], c, code.get(self.sums[k], c, self.ops[k][4])))
            self.keep_totals(slot)
        return code.finish()

    def phases(self, first, last):
        for phase in range(first, last + 1):
            self.columns_of(phase)
            self.row_of(phase)

    def overlapping(self, lo, hi):
        """Row after row, but what the first phase of the next one reads arrives while the last phase of one computes (and is on its way to the cache in the
        phases between). It takes the place of what the same lane has just read there."""
        code = self.code
        kept = {k: code.cell(op[5 if op[0] == "reduce" else 4], 0) for k, op in enumerate(self.ops) if op[2] <= 0 and "row" in (op[1], op[7])}

        def keep():
            for k, cell in kept.items():
                cell.set(self.values[k])

        def party(phase):
            mine = self.along(phase)
            own = self.own(mine)
            context = self.offsets, self.at, self.values, self.row_loaded

            def go(i):
                self.offsets, self.at, self.values, self.row_loaded = context
                self.arriving = phase == 0
                return i
            return (mine, go, {**self.totals, **own}), own
        self.begin(lo)
        self.arriving = True
        self.phases(-1, 0)
        keep()
        with code.loop(lo, hi) as r:
            following = select(r + 1 < hi, r + 1, r)         # the last one once more: nothing is written there
            self.begin(following)
            self.arriving, self.coming = False, self.offsets
            self.begin(r)
            self.values = {k: cell.get() for k, cell in kept.items()}
            self.phases(1, self.last - 1)
            self.coming = None
            here = party(self.last)
            self.begin(following)
            self.row_of(-1)
            there = party(0)
            self.striding(code.number(0), self.columns, self.lane, self.lanes, [here[0], there[0]])
            for ((_, go, _), own), phase in ((here, self.last), (there, 0)):
                go(None)
                self.reduced(own)
                self.row_of(phase)
            keep()

    def _memory_of(self, v, columns):
        if v not in self.waits:
            return super()._memory_of(v, columns)
        code, place, type, four = self.code, self.waits[v], self.views[v][0], len(columns) > 1 and v in self.quads
        if not self.arriving:
            if self.coming is not None:
                here, self.offsets = self.offsets, self.coming
                code.prefetch(*self.place(v, columns[0]), type)
                self.offsets = here
            return code.get_quad(place, columns[0], type) if four else [code.get(place, c, type) for c in columns]
        found = super()._memory_of(v, columns)
        if four:
            code.put_quad(place, columns[0], found)
        else:
            for c, x in zip(columns, found):
                code.put(place, c, x)
        return found

    def row_number(self, r, which):
        """The number of a team's row number r."""
        if not which:
            return r
        first, some, every = (self.code.word(k) for k in which)
        above = r.over(some)
        return first + above * every + (r - above * some)

    def keep_totals(self, slot):
        for k, cell in self.totals.items():
            total = self.code.together(self.ops[k][3], cell.get(), self.lanes)
            with self.code.when(self.lane.equals(0)):
                self.keep_partial(k, slot, None, total)

    def each(self, act):
        """act(column) for the columns that are this lane's in every phase: nobody else writes to its sums, so that no barrier is needed."""
        together = QUAD if self.quads else 1
        with self.code.loop(self.lane, self.columns.over(together), self.lanes) as c:
            for k in range(together):
                act(c * together + k)

    def write(self, base, column, value, scope):
        """Into what a team keeps for itself, wherever that lies."""
        if self.extra is None:
            self.code.store(base, column, value, scope)
        else:
            self.code.put(base, column, value)

    def read(self, base, column, type, scope):
        return self.code.load(base, column, type, scope) if self.extra is None else self.code.get(base, column, type)

    def read_quad(self, base, column, type, scope):
        return super().read_quad(base, column, type, scope) if self.extra is None else self.code.get_quad(base, column, type)

    def write_quad(self, base, column, values, scope):
        if self.extra is None:
            super().write_quad(base, column, values, scope)
        else:
            self.code.put_quad(base, column, values)

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
        own = self.own(mine)
        self.striding(lo, hi, self.lane, self.lanes, [(mine, lambda i: i, {**self.totals, **own})], back=self.ops[mine[0]][2] % 2 == 1)          # to and fro
        self.reduced(own)

    def own(self, mine):
        """A lane's part of each reduction along the row."""
        return {k: self.code.cell(self.ops[k][4], self.neutral(k, self.ops[k][4])) for k in mine if self.ops[k][0] == "reduce" and self.ops[k][7] == "row"}

    def reduced(self, own):
        """What the lanes of a team have of reductions along the row, put together."""
        merged = self.code.all_together([(self.ops[k][3], cell.get(), wide(self.ops[k])) for k, cell in own.items()], self.lanes)
        for k, x in zip(own, merged):
            self.keep(k, cast(x, self.ops[k][5]))
            self.store(self.ops[k][8], self.values[k], None)


class _Columns(Skeleton):
    """A slot is what the blocks of some rows share. lanes: how many columns a block has, as threads lie; extra: the word how many such blocks a slot has."""

    def module(self):
        code = self.code
        tiles = code.word(self.extra[0])
        slot = code.block.over(tiles)
        column = (code.block - slot * tiles) * self.lanes + (code.thread & self.lanes - 1)
        row = code.thread.over(self.lanes)
        lo, hi = self.span(slot)
        parts = {k: code.cell(self.ops[k][4], neutral(self.ops[k][3], self.ops[k][4])) for k in self.of_kind("columns")}

        def place(r):
            self.begin(r)
            return column
        with code.when(column < self.columns):
            self.striding(lo, hi, row, code.threads // self.lanes, [(range(len(self.ops)), place, parts)])
        for k, cell in parts.items():
            total = cast(code.down(self.ops[k][3], cast(cell.get(), wide(self.ops[k])), self.lanes), self.ops[k][4])
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


class _Scatter(Skeleton):
    """Operations that write to where the same integer arrays say. lanes: of a team (columns are theirs). extra: the word how many places of the first
    indexed axis a team owns. The block looks at LOOKS times as many entries (or rows) together as it has threads, and goes through its own, in order: every
    team takes what it owns. An index out of bounds is the first team's, which reports it."""

    def module(self):
        code = self.code
        owned, teams = code.word(self.extra[0]), code.threads // self.lanes
        team = code.block * teams + code.thread.over(self.lanes)
        lane = code.thread & self.lanes - 1
        by_row, every = along_rows(self.ops[0][7], self.views, self.flat), range(len(self.ops))
        self.offsets, self.at = self.bases, None
        looks = min(LOOKS, code.WARP)
        with code.loop(0, code.rows, code.threads * looks) as first:
            mine = []
            for k in range(looks):
                here = first + code.thread + k * code.threads
                _, at = self.target(select(here < code.rows, here, first), by_row)
                mine.append((here < code.rows) & self.belongs(at, code.block, owned * teams))
            code.ballot(mine)
            with code.those(looks) as k:
                column, at = self.target(first + k, by_row)
                with code.when(self.belongs(at, team, owned)):
                    if by_row:
                        self.striding(code.number(0), self.columns, lane, self.lanes, [(every, lambda c: c, {})])
                    else:
                        self.entries(every, column, {})
        return code.finish()

    def target(self, i, by_row):
        """Row i, or entry i of all: its column, and which place of the first indexed axis it writes to; -1 for one out of bounds."""
        place, length, _ = self.ops[0][7][2][0]
        n, column = self.code.word(length), self.go_to(i, by_row)
        self.inside, self.loaded = True, {}
        at = cast(self.memory(place, column), "i64")
        at = select(at < 0, at + n, at)
        return column, select((at < 0) | (at >= n), -1, at)

    @staticmethod
    def belongs(at, who, many):
        return (at >= who * many) & (at < (who + 1) * many) | (at < 0) & who.equals(0)

    def go_to(self, i, by_row):
        """Row i, or entry i of all; its column."""
        if self.flat:
            return i
        r = i if by_row else i.over(self.columns)
        self.begin(r)
        return None if by_row else i - r * self.columns


def along_rows(store, views, flat):
    """Does the place that an indirect store finds depend on the row alone, and are a row's entries apart from each other?"""
    return not flat and views[store[1]][1] != "z" and all([views[a][1] == "z" for a, _, _ in store[2]])


_SKELETONS = {"entries": _Entries, "rows": Rows, "columns": _Columns, "scatter": _Scatter}


def write_combine(name, type, result, width, code):
    """words: partial results, how many (slots), bytes from one to the next, out, how many columns. width: columns a block has."""
    code = code(1)
    partial, slots, stride, out, count = (code.word(k) for k in range(5))
    kind = "f64" if name == "sum" and type[0] == "f" else type
    column = code.block * width + (code.thread & width - 1)
    row, height = code.thread.over(width), code.threads // width
    total = code.cell(kind, neutral(name, kind))
    with code.when(column < count):
        whole = turns(code, row, slots - height * (AHEAD - 1), height * AHEAD)
        with code.loop(0, whole) as n:
            slot = row + n * (height * AHEAD)
            for x in [code.load(partial + (slot + height * k) * stride, column, type) for k in range(AHEAD)]:
                total.set(merge(name, total.get(), cast(x, kind)))
        with code.loop(row + whole * (height * AHEAD), slots, height) as slot:
            total.set(merge(name, total.get(), cast(code.load(partial + slot * stride, column, type), kind)))
    whole = code.down(name, total.get(), width)
    with code.when(row.equals(0) & (column < count)):
        code.store(out, column, cast(whole, result))
    return code.finish()
