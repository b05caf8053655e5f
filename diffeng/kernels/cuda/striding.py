"""How lanes go over entries that are theirs: several are loaded before the first is computed, four neighbours at once where memory lies so.

What it is: `Skeleton`, what the skeletons of skeletons.py have in common beside loops.py's operations: a GPU hides the time of a load behind other loads, so
the operands of some entries come first, and then the operations, entry by entry.

What it is not: it does not say which entries a thread has (skeletons.py), nor what a load is (code.py).
"""
from contextlib import contextmanager

from ..code import cast, merge, neutral, select
from ..loops import Loops
from ..values import Steady
from .code import QUAD

AHEAD = 8                                    # entries whose operands are loaded together at most,
LOADS_AHEAD = 8                              # as long as these are no more loads than so many: they take registers


def turns(code, first, stop, step):
    """How many of first, first + step, ... lie below stop: Values, and a number."""
    return select(first < stop, (stop - first + (step - 1)).over(step), code.number(0))


class Skeleton(Loops):
    along_rows = False                       # does a thread go through a row, or from row to row?

    def __init__(self, structure, rules, lanes, extra, quads, code):
        super().__init__(structure, rules, code)
        self.lanes, self.extra, self.quads, self.gathered = lanes, extra, frozenset(quads), None
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

    def striding(self, first, stop, lane, lanes, parties, back=False):
        """Operations for the entries first .. stop, shared by lanes. parties: each (numbers of operations; place(i), which goes to an entry and returns its
        column; where reductions add up): one, or several that go through different rows together. back: the last ones come first, whose memory was read
        last. A lane has the same entries either way."""
        code = self.code

        @contextmanager
        def strides(begin, stop, step):
            n = turns(code, begin, stop, step)
            with code.loop(0, n) as k:
                yield begin + (n - 1 - k if back else k) * step
        loads = len({x[1] for mine, _, _ in parties for k in mine for x in self._operands(self.ops[k]) if x[0] == "memory"})
        ahead = min(AHEAD, LOADS_AHEAD // max(loads, 1))
        if self.quads:
            ahead = max(1, min(2, ahead // 2))
            step = lanes * ahead
            count = select(first < stop, (stop - first).over(QUAD), code.number(0))
            with strides(lane, count - lanes * (ahead - 1), step) as q:
                self.several(parties, [[first + (q + lanes * n) * QUAD + k for k in range(QUAD)] for n in range(ahead)])
            if ahead > 1:
                with code.loop(lane + turns(code, lane, count - lanes * (ahead - 1), step) * step, count, lanes) as q:
                    self.several(parties, [[first + q * QUAD + k for k in range(QUAD)]])
            first = first + count * QUAD
        elif loads and ahead > 1:
            step = lanes * ahead
            with strides(first + lane, stop - lanes * (ahead - 1), step) as i:
                self.several(parties, [[i + lanes * k] for k in range(ahead)])
            first = first + turns(code, first + lane, stop - lanes * (ahead - 1), step) * step
        with code.loop(first + lane, stop, lanes) as i:
            self.several(parties, [[i]])

    def compute(self, op, i):
        """As everywhere, but what is the same for many entries is said to be so."""
        found = []
        for x, want in zip(op[6], op[5]):
            value = cast(self.operand(x, i), want)
            found.append(Steady(value) if want[0] == "f" and (x[0] == "number" or i is not None and self.along_rows and self.of_a_row(x)) else value)
        return cast(self.rules[op[3]](*found), op[4])

    def of_a_row(self, x):
        """Is an operand the same for all entries of a row?"""
        if x[0] == "value":
            op = self.ops[x[1]]
            return op[1] == "row" or op[0] == "reduce" and op[7] == "row"
        return x[0] == "memory" and self.views[x[1]][1] == "z"

    def several(self, parties, groups):
        """The operations of all parties for some entries: all loads first. groups: of one index, or of four neighbours, which are read and written at once."""
        states = []
        before = self.values, self.row_loaded, self.at, self.offsets
        for mine, place, parts in parties:
            for indices in groups:
                column = place(indices[0])
                columns = [column + k if k else column for k in range(len(indices))]
                self.inside = True
                ready = [({}, {}) for _ in columns]            # of each entry: what is loaded, what an earlier phase computed
                for k in mine:
                    for x in self._operands(self.ops[k]):
                        self._fetch(x, columns, ready, mine)
                states.append((mine, parts, columns, ready, self.values, self.row_loaded, self.at, self.offsets))
        for mine, parts, columns, ready, values, self.row_loaded, self.at, self.offsets in states:
            self.gathered = {} if len(columns) > 1 else None
            for column, (self.loaded, known) in zip(columns, ready):
                self.values = {**values, **known}
                for k in mine:
                    self.operate(k, column, parts)
            self._write_gathered(columns[0])
        self.inside, self.loaded, self.gathered = False, {}, None
        self.values, self.row_loaded, self.at, self.offsets = before

    def _fetch(self, x, columns, ready, mine):
        """Load an operand for every column."""
        if x[0] == "value" and x[1] not in mine and x[1] not in self.values:          # from an earlier phase
            op = self.ops[x[1]]
            if op[8] is None or op[8][0] == "again":
                for y in self._operands(op):
                    self._fetch(y, columns, ready, mine)
            elif x[1] not in ready[0][1] and len(columns) > 1:
                if op[8][0] == "scratch":
                    found = self.read_quad(self.scratch + self.code.word(op[8][1]), columns[0], op[4], self.scratch_scope)
                else:
                    found = self._memory_of(op[7][1], columns)
                for (_, known), value in zip(ready, found):
                    known[x[1]] = value
        elif x[0] == "memory" and x[1] not in self.row_loaded and x[1] not in ready[0][0]:
            for (loaded, _), value in zip(ready, self._memory_of(x[1], columns)):
                loaded[x[1]] = value

    def _memory_of(self, v, columns):
        type, scope = self.views[v][0], self.views[v][5]
        if len(columns) > 1 and v in self.quads:
            return self.code.load_quad(*self.place(v, columns[0]), type, scope)
        if self.views[v][1] == "z":
            return [self.code.load(*self.place(v, columns[0]), type, scope)] * len(columns)
        return [self.code.load(*self.place(v, c), type, scope) for c in columns]

    def _write_gathered(self, column):
        for (kind, what), values in (self.gathered or {}).items():
            if kind == "memory":
                self.code.store_quad(*self.place(what, column), values, self.views[what][5])
            elif kind == "sum":
                old = self.read_quad(self.sums[what], column, values[0].type, self.sums_scope)
                self.write_quad(self.sums[what], column, [merge(self.ops[what][3], x, y) for x, y in zip(old, values)], self.sums_scope)
            else:
                self.write_quad(self.scratch + self.code.word(what), column, values, self.scratch_scope)

    def read_quad(self, base, column, type, scope):
        return self.code.load_quad(base, column, type, scope)

    def write_quad(self, base, column, values, scope):
        self.code.store_quad(base, column, values, scope)

    def store(self, store, value, i):
        if store is not None and self.gathered is not None and store[1] in self.quads:
            self.gathered.setdefault(("memory", store[1]), []).append(cast(value, self.views[store[1]][0]))
        else:
            super().store(store, value, i)

    def put_aside(self, place, column, value):
        if self.gathered is None:
            return super().put_aside(place, column, value)
        self.gathered.setdefault(("scratch", place), []).append(value)

    def add_up(self, k, column, x):
        if self.gathered is None:
            return super().add_up(k, column, x)
        self.gathered.setdefault(("sum", k), []).append(x)

    @staticmethod
    def _operands(op):
        return op[6] if op[0] == "map" else (op[6],)
