"""Rows whose entries stay in registers from phase to phase: what is read is read once, and nothing is computed again.

What it is: `write`, the kernel of a group whose rows are so short that each lane has at most a few dozen entries. All of a phase's loads come before its
operations; what a later phase needs is still there; sums over rows stay with the lanes that have their columns until the last row is done.

What it is not: longer rows, and those found by integers or through windows, are skeletons.Rows'.
"""
import functools

from ..code import SIZES, cast, merge, select
from ..loops import wide
from .code import QUAD, SLOT
from .skeletons import Rows


def write(structure, rules, lanes, extra, quads, code):
    """As skeletons.write. extra: (how many entries a lane has, whether these are all there is, so that nobody asks, and whether a team reads its next row
    before it computes one), and the words that say which rows there are, as for skeletons.Rows."""
    return _Held(structure, rules, lanes, extra, quads, code).module()


class _Held(Rows):
    """A slot is a block, whose teams take its rows in turn."""

    def module(self):
        code = self.code
        (entries, self.exact, ahead), which = self.extra
        self.extra = None
        self.teams = code.threads // self.lanes
        self.lane = code.thread if self.teams == 1 else code.thread & self.lanes - 1
        self.team = code.thread.over(self.lanes)
        together = QUAD if self.quads else 1
        self.groups = []                                      # (columns of neighbours, whether they are there)
        for n in range(-(-entries // together)):
            column = (self.lane + n * self.lanes) * together
            inside = None if self.exact else column < self.columns
            column = column if self.exact else select(inside, column, 0)
            self.groups.append(([column + k if k else column for k in range(together)], inside))
        self.sum_cells = {k: [[self._cell(k) for _ in columns] for columns, _ in self.groups] for k in self.of_kind("columns")}
        self.totals = {k: code.cell(wide(self.ops[k]), self.neutral(k, wide(self.ops[k]))) for k in self.of_kind("all")}
        lo, hi = self.span(code.block)
        first, following = lo + self.team, None
        if ahead:
            following = self._cells(select(first < hi, first, lo), which)
        with code.loop(first, hi, self.teams) as r:
            self.state = [[({}, {}) for _ in columns] for columns, _ in self.groups]              # of each entry: what was read, what was computed
            if following is not None:
                for (n, at, v), cell in following.items():
                    self.state[n][at][0][v] = cell.get()
                after = r + self.teams
                self._read(select(after < hi, after, r), which, lambda key, x: following[key].set(x))
            self.begin(self.row_number(r, which))
            self.phases(-1, self.last)
        for k, cells in self.sum_cells.items():
            partial = code.word(self.ops[k][9][0]) + code.block * code.word(self.ops[k][9][1])
            self._add_teams(k, cells, partial) if self.teams > 1 else self._put(cells, lambda c, x: code.store(partial, c, x))
        for k, cell in self.totals.items():
            total = code.together(self.ops[k][3], cell.get(), self.lanes)
            if self.teams > 1:
                code.barrier()
                with code.when(self.lane.equals(0)):
                    code.share(self.team, total)
                code.barrier()
                total = self._merged(k, [code.shared(code.number(n), total.type) for n in range(self.teams)])
            with code.when(code.thread.equals(0)):
                self.keep_partial(k, code.block, None, total)
        return code.finish()

    def _read(self, r, which, act):
        """act(which entry of which group and which view, its value) for all that a row's first phase reads."""
        self.begin(self.row_number(r, which))
        early = [op for op in self.ops if op[1] == "full" and op[2] <= 0]
        for v in dict.fromkeys([x[1] for op in early for x in self._operands(op) if x[0] == "memory" and self.views[x[1]][1] != "z"]):
            for n, (columns, _) in enumerate(self.groups):
                for at, x in enumerate(self._memory_of(v, columns)):
                    act((n, at, v), x)

    def _cells(self, r, which):
        found = {}
        self._read(r, which, lambda key, x: found.update({key: self.code.cell(x.type, x)}))
        return found

    def _put(self, cells, write):
        """The sums of a team's lanes."""
        for (columns, inside), mine in zip(self.groups, cells):
            with self.code.when(inside):
                for c, x in zip(columns, mine):
                    write(c, x.get())

    def _add_teams(self, k, cells, partial):
        """What the teams of a block have of a sum over rows, put together in shared memory."""
        code, type = self.code, self.ops[k][4]
        places = [code.number(SLOT * code.threads) + self.columns * (n * SIZES[type]) for n in range(self.teams)]
        mine = code.number(SLOT * code.threads) + self.team * self.columns * SIZES[type]
        code.barrier()
        self._put(cells, lambda c, x: code.put(mine, c, x))
        code.barrier()
        with code.loop(code.thread, self.columns, code.threads) as c:
            code.store(partial, c, self._merged(k, [code.get(place, c, type) for place in places]))

    def _merged(self, k, parts):
        return functools.reduce(functools.partial(merge, self.ops[k][3]), parts)

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
