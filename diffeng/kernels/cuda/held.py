"""Rows whose entries stay in registers from phase to phase: what is read is read once, and nothing is computed again.

What it is: `write`, the kernel of a group whose rows are so short that each lane has at most a few dozen entries. All of a phase's loads come before its
operations; what a later phase needs is still there; sums over rows stay with the lanes that have their columns until the last row is done.

What it is not: longer rows, and those found by integers or through windows, are skeletons.Rows'.
"""
from ..code import cast, merge, select
from ..loops import wide
from .code import QUAD
from .skeletons import Rows


def write(structure, rules, lanes, extra, quads, code):
    """As skeletons.write. extra: (how many entries a lane has, whether these are all there is, so that nobody asks), and the words that say which rows there
    are, as for skeletons.Rows."""
    return _Held(structure, rules, lanes, extra, quads, code).module()


class _Held(Rows):
    def module(self):
        code = self.code
        (entries, self.exact), which = self.extra
        self.extra = None
        teams = code.threads // self.lanes
        self.lane = code.thread if teams == 1 else code.thread & self.lanes - 1
        slot = code.block * teams + code.thread.over(self.lanes)
        together = QUAD if self.quads else 1
        self.groups = []                                      # (columns of neighbours, whether they are there)
        for n in range(-(-entries // together)):
            column = (self.lane + n * self.lanes) * together
            inside = None if self.exact else column < self.columns
            column = column if self.exact else select(inside, column, 0)
            self.groups.append(([column + k if k else column for k in range(together)], inside))
        self.sum_cells = {k: [[self._cell(k) for _ in columns] for columns, _ in self.groups] for k in self.of_kind("columns")}
        self.totals = {k: code.cell(wide(self.ops[k]), self.neutral(k, wide(self.ops[k]))) for k in self.of_kind("all")}
        lo, hi = self.span(slot)
        with code.when(lo < code.rows):                       # whole teams stay away
            with code.loop(lo, hi) as r:
                self.begin(self.row_number(r, which))
                self.state = [[({}, {}) for _ in columns] for columns, _ in self.groups]          # of each entry: what was read, what was computed
                for phase in range(-1, self.last + 1):
                    self.columns_of(phase)
                    self.row_of(phase)
            for k, cells in self.sum_cells.items():
                base = code.word(self.ops[k][9][0]) + slot * code.word(self.ops[k][9][1])
                for (columns, inside), mine in zip(self.groups, cells):
                    with code.when(inside):
                        for c, x in zip(columns, mine):
                            code.store(base, c, x.get())
            self.keep_totals(slot)
        return code.finish()

    def _cell(self, k):
        return self.code.cell(self.ops[k][4], self.neutral(k, self.ops[k][4]))

    def sweep(self, lo, hi, mine):
        own = {k: self._cell(k) for k in mine if self.ops[k][0] == "reduce" and self.ops[k][7] == "row"}
        parts, before = {**self.totals, **own}, self.values
        self.inside = True
        for (columns, _), ready in zip(self.groups, self.state):
            for k in mine:
                for x in self._operands(self.ops[k]):
                    self._fetch(x, columns, ready, mine)
        for n, ((columns, self.there), ready) in enumerate(zip(self.groups, self.state)):
            self.gathered, self.late = {} if len(columns) > 1 else None, []
            for at, (column, (self.loaded, known)) in enumerate(zip(columns, ready)):
                self.values, self.here = {**before, **known}, (n, at)
                for k in mine:
                    self.operate(k, column, parts)
                known.update({k: self.values[k] for k in mine if k in self.values})
            with self.code.when(self.there):
                self._write_all(columns[0])
        self.inside, self.loaded, self.gathered, self.values = False, {}, None, before
        self.reduced(own)

    def _fetch(self, x, columns, ready, mine):
        if x[0] != "value" or x[1] not in ready[0][1]:
            super()._fetch(x, columns, ready, mine)

    def operate(self, k, i, parts):
        op = self.ops[k]
        if op[0] == "map" or not self.inside:
            return super().operate(k, i, parts)
        x = cast(self.operand(op[6], i), op[4])
        x = x if self.there is None else select(self.there, x, self.neutral(k, x.type))
        n, at = self.here
        part = parts[k] if op[7] != "columns" else self.sum_cells[k][n][at]
        part.set(merge(op[3], part.get(), cast(x, part.type)))

    def store(self, store, value, i):
        """Late, where not all entries are there: what is computed for none is not written."""
        if store is not None and self.inside and self.there is not None and (self.gathered is None or store[1] not in self.quads):
            self.late.append((store, value, i))
        else:
            super().store(store, value, i)

    def _write_all(self, column):
        self.there = None
        for late in self.late:
            self.store(*late)
        self._write_gathered(column)
