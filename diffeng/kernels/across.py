"""The code of a group whose rows are short and many: loops.py's nest with its two loops exchanged, so that vectors run across rows.

What it is: strips of rows; within one, phase after phase, a loop over columns, and inside it one over the rows of the strip. What is one a row lies in an array
for the strip meanwhile; a reduction along the columns adds to it.

What it is not: no other structure than groups.py's: there, the roles of rows and columns of every place in memory have been exchanged; no gathers or scatters.
Why a file: three entries are no vector, and a loop over them costs more than what is in it (a row sum of 3: 3.9 ns a row by loops.py, 0.9 so).
"""
from .code import SIZES, Code, cast, merge, neutral, select
from .loops import Loops, wide

STRIP = 128                                # rows of a strip at most


def write(structure, rules):
    """The module of such a group's kernel."""
    return Across(structure, rules).module()


class Across(Loops):
    """See the file. A place's kind and stride are those from row to row; the last of its other strides is that from column to column."""

    def __init__(self, structure, rules):
        super().__init__(structure, rules, lambda scopes: Code(scopes + len(structure[-1])))

    def strips(self):
        code, rows = self.code, self.code.word(self._lengths[-1])
        for k, op in enumerate(self.ops):
            if op[1] == "row" and op[0] == "map" or op[0] == "reduce" and op[7] == "row":
                self.waiting[k] = code.stack(8 * STRIP)
        if any(x[0] == "window" for op in self.ops if op[0] == "map" for x in op[6]):
            self.zeros = code.stack(8 * STRIP)
            with code.loop(0, STRIP) as at:
                code.store(self.zeros, at, code.number(0))
        with code.stretches(code.lo, code.hi, STRIP, rows) as (start, stop):
            above = start.over(rows)
            self.first = start - above * rows
            self.until = self.first + (stop - start)
            bases = list(self.bases)
            for k in reversed(range(len(self._lengths) - 1)):               # the innermost axis first
                length = code.word(self._lengths[k])
                rest = above.over(length) if k else None
                digit = above - rest * length if k else above
                bases = [b + digit * code.word(view[4][k]) if view[4] else b for b, view in zip(bases, self.views)]
                above = rest
            for phase in range(-1, self.last + 1):
                self._full(bases, [k for k, op in enumerate(self.ops) if op[1] == "full" and op[2] == phase])
                self._rows(bases, [k for k, op in enumerate(self.ops) if op[1] == "row" and op[2] == phase])

    def _full(self, bases, mine):
        """The operations `mine`, column after column."""
        code, sums = self.code, [k for k in mine if self.ops[k][0] == "reduce" and self.ops[k][7] == "row"]
        if not mine:
            return
        for k in sums:
            op = self.ops[k]
            with code.loop(0, STRIP) as at:
                code.store(self.waiting[k], at, code.number(neutral(op[3], wide(op)), wide(op)), self._scope(k))
        with code.loop(0, self.columns) as c:
            self.column = c
            self._begin([b + c * code.word(view[4][-1]) if view[4] else b for b, view in zip(bases, self.views)])
            for k in mine:                                      # what is the same for all rows is read before them
                for x in self.ops[k][6] if self.ops[k][0] == "map" else (self.ops[k][6],):
                    if x[0] == "memory" and self.views[x[1]][1] == "z":
                        self.memory(x[1])
            self._along(mine)
        stored = [k for k in sums if self.ops[k][8] is not None]
        if stored:
            self._begin(bases)
            with code.loop(self.first, self.until) as i:
                self.place_in_strip = i - self.first
                for k in stored:
                    self.store(self.ops[k][8], self._waiting(k), i)

    def _rows(self, bases, mine):
        if mine:
            self._begin(bases)
            self._along(mine)

    def _begin(self, offsets):
        self.offsets, self.values, self.row_loaded = offsets, {}, {}

    def _along(self, mine):
        """One loop over the rows of the strip."""
        code = self.code
        parts = {k: code.cell(self.ops[k][4], neutral(*self.ops[k][3:5])) for k in mine if self.ops[k][0] == "reduce" and self.ops[k][7] != "row"}
        with code.loop(self.first, self.until) as i:
            self.place_in_strip = i - self.first
            self.entries(mine, i, parts)
        for k, part in parts.items():
            if k in self.totals:
                self.totals[k].set(merge(self.ops[k][3], self.totals[k].get(), cast(part.get(), self.totals[k].type)))
            else:
                self.add_up(k, self.column, part.get())

    # ---- one operation ----------------------------------------------------------------------------------------------------------------

    def operate(self, k, i, parts):
        op, code = self.ops[k], self.code
        if op[0] == "map":
            super().operate(k, i, parts)
        elif op[7] == "row":
            x = cast(cast(self.operand(op[6], i), op[4]), wide(op))
            old = code.load(self.waiting[k], self.place_in_strip, wide(op), self._scope(k))
            code.store(self.waiting[k], self.place_in_strip, merge(op[3], old, x), self._scope(k))
        else:
            x = cast(self.operand(op[6], i), op[4])
            parts[k].set(merge(op[3], parts[k].get(), x, any_order=True))

    def operand(self, x, i):
        if x[0] == "value" and x[1] in self.waiting and x[1] not in self.values:
            self.values[x[1]] = self._waiting(x[1])
        if x[0] == "window" and not x[4:] and all([self.views[p][1] == "z" for p, _, _ in x[2]]):
            return self._part(x, i)
        return super().operand(x, i)

    def _part(self, x, i):
        """A window that all rows are in, or none: its memory, or zeros in the place of it. No load needs to be guarded then."""
        v, within = x[1], self.within(x[2], None)
        type, kind = self.views[v][:2]
        base = select(within, self.offsets[v], self.zeros - self.first * SIZES[type] if kind == "u" else self.zeros)
        if kind == "s":
            base = base + i * select(within, self.strides[v], self.code.number(0))
        return self.code.load(base, i if kind == "u" else None, type)

    def _waiting(self, k):
        op = self.ops[k]
        value = self.code.load(self.waiting[k], self.place_in_strip, wide(op) if op[0] == "reduce" else op[4], self._scope(k))
        return cast(value, op[5]) if op[0] == "reduce" else value

    def keep(self, k, value):
        self.values[k] = value
        if k in self.waiting:
            self.code.store(self.waiting[k], self.place_in_strip, value, self._scope(k))

    def _scope(self, k):
        """Of what waits of an operation: arrays of their own."""
        return self.sums_scope + 1 + k

    def write(self, base, index, value, scope):
        super().write(base, self._index(index, scope), value, scope)

    def read(self, base, index, type, scope):
        return super().read(base, self._index(index, scope), type, scope)

    def _index(self, index, scope):
        """What a later phase reads again lies column after column, each for the rows of the strip."""
        return self.column * STRIP + self.place_in_strip if scope == self.scratch_scope else index
