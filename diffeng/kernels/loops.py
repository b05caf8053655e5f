"""The code of a group: its structure (groups.py) in, LLVM's instructions out.

What it is: one loop over rows, inside it a loop over columns for each phase, row values between them; or, where one stride does for each operand, one flat
loop over entries. Sums are taken in blocks: inside a block vectorised, that is in another order, always the same one; blocks are added in order, in float64.

What it is not: nothing here knows a size, an address or a primitive.
"""
import contextlib

from .code import LANES, SIZES, Code, cast, merge, neutral, select
from .memory import LINE

STRIP = 32                                 # rows of a strip at most
BLOCK = 512                                # entries of one plain partial sum
FEW, LIGHT = 2, 6                          # operations of a loop up to which its last entries are not masked; of a sum's loop up to which it is interleaved,
UNROLLED = 32                              # so many entries at a time
VECTOR = 64                                # bytes of the longest vector there is
WHOLE = 1 << 63                            # minus a power of 2: what of a count goes into such groups (it is not negative, which LLVM is to know)
MANY = 64                                  # entries in the middle of windows from which on it begins where a cache line does


def write(structure, rules):
    """The module of a group's kernel. rules: the functions that operations name by number."""
    return Loops(structure, rules).module()


class Loops:
    """A kernel of a group, on whatever `code` makes of it: cuda/skeletons.py has another order of its rows and columns."""

    def __init__(self, structure, rules, code=Code):
        self.flat, self._chunk, self._columns, self._lengths, self.views, scopes, self.last, self._memory, self._strip, self._copies, self.ops = structure
        self.rules = rules
        self.code = code(scopes + 2)
        self.scratch_scope, self.sums_scope = scopes, scopes + 1
        self.values, self.loaded, self.row_loaded = {}, {}, {}
        self.bases = [self.code.word(base) for _, _, base, _, _, _ in self.views]
        self.strides = [None if s is None else self.code.word(s) for _, _, _, s, _, _ in self.views]
        self.inside, self.within_all = False, False          # in a column loop? where everything is inside of the windows along it?
        self.waiting, self.place_in_strip, self.at = {}, None, None
        self.before = {}                                     # place in memory -> a cell: the entry before, which has been written over
        self.outside = {}                                    # what reports an index -> a cell, negative once there was one out of range

    def module(self):
        code = self.code
        self.slot = None
        if self.flat and not any([op[0] == "map" and op[7] and op[7][0] == "indirect" for op in self.ops]):          # it may be vectorised
            self.outside = {x[3:]: code.cell("i64", 0) for op in self.ops for x in reaches(op) if x[0] == "indirect"}
        if self._memory or self._copies or any(op[0] == "reduce" and op[9] for op in self.ops):
            self.slot = code.lo.over(code.word(self._chunk))
        if self._memory:
            self.scratch = code.word(self._memory[0]) + self.slot * code.word(self._memory[1])
        self.columns = code.word(self._columns)
        self.before = {x[1]: code.cell(self.views[x[1]][0], 0) for op in self.ops for x in reaches(op) if x[0] == "window" and x[3] == -1}
        for base, count, stride, kind, views in self._copies:
            apart = self.slot * code.word(stride)
            for v in views:
                self.bases[v] = self.bases[v] + apart
            with code.loop(0, code.word(count)) as i:
                code.store(code.word(base) + apart, i, code.number(neutral("sum", kind), kind))
        self.totals, self.sums = {}, {}
        for k, op in enumerate(self.ops):
            if op[0] == "reduce" and op[7] == "all":
                self.totals[k] = code.cell(wide(op), neutral(op[3], wide(op)))
            elif op[0] == "reduce" and op[7] == "columns":
                self.sums[k] = code.word(op[9][0]) + self.slot * code.word(op[9][1])
        for k, base in self.sums.items():
            start = code.number(neutral(self.ops[k][3], self.ops[k][4]), self.ops[k][4])
            with code.loop(0, self.columns) as c:
                code.store(base, c, start, self.sums_scope)
        if self.flat:
            self.offsets = self.bases
            self.sweep(code.lo, code.hi, range(len(self.ops)))
        elif type(self._strip) is tuple:
            by_columns, (rows, columns) = code.word(self._strip[0]).differs(0), ((code.number(0), code.word(self._strip[1])), (code.number(0), self.columns))
            with self._rows(*[select(by_columns, *ends) for ends in zip(rows, (code.lo, code.hi))]):
                self.columns_of(0, *[select(by_columns, *ends) for ends in zip((code.lo, code.hi), columns)])
        elif self._strip is None:
            with self._rows(code.lo, code.hi):
                for phase in range(-1, self.last + 1):
                    self.columns_of(phase)
                    self.row_of(phase)
        else:
            self.strips()
        for k, total in self.totals.items():
            code.store(code.word(self.ops[k][9][0]) + self.slot * code.word(self.ops[k][9][1]), None, total.get())
        for (origin, status), cell in self.outside.items():
            code.report(cell.get() < 0, code.word(status), code.word(origin))
        return code.finish()

    # ---- rows ---------------------------------------------------------------------------------------------------------------------------

    def begin(self, r):
        """Where a row lies in every place, and what is the same all along it."""
        code = self.code
        digits, rest = [], r
        for k in reversed(range(1, len(self._lengths))):        # the innermost axis first
            length = code.word(self._lengths[k])
            above = rest.over(length)
            digits.insert(0, rest - above * length)
            rest = above
        digits.insert(0, rest)
        self.offsets, self.at = [], r
        for base, (_, _, _, _, outer, _) in zip(self.bases, self.views):
            for digit, word in zip(digits, outer if outer != "unit" else ()):
                base = base + digit * code.word(word)
            self.offsets.append(base)
        self.values, self.row_loaded = {}, {}

    @contextlib.contextmanager
    def _rows(self, lo, hi):
        """A loop over rows lo..hi; of several axes the last one has a loop of its own, for dividing to find a short row would take longer than all the rest."""
        code = self.code
        if len(self._lengths) < 2:
            with code.loop(lo, hi) as r:
                self.begin(r)
                yield r
            return
        with code.stretches(lo, hi, hi, code.word(self._lengths[-1])) as (start, stop):
            self.begin(start)
            first = self.offsets
            with code.loop(start, stop) as r:
                self.at, self.values, self.row_loaded = r, {}, {}
                self.offsets = [at + (r - start) * code.word(outer[-1]) if outer and outer != "unit" else at
                                for at, (_, _, _, _, outer, _) in zip(first, self.views)]
                yield r

    def columns_of(self, phase, lo=None, hi=None):
        """The column loop of a phase, if it has one; lo, hi: of some columns only."""
        mine = self.along(phase)
        if not mine:
            return
        self.sweep(self.code.number(0) if lo is None else lo, self.columns if hi is None else hi, mine)

    def along(self, phase):
        """The operations of a phase's column loop; what is the same along a row for them is read before its columns."""
        mine = [k for k, op in enumerate(self.ops) if op[1] == "full" and op[2] == phase]
        for k in mine:
            op = self.ops[k]
            for x in reaches(op):
                if x[0] == "memory" and self.views[x[1]][1] == "z":
                    self.memory(x[1])
                elif x[0] == "indirect" and all(self.views[a][1] == "z" for a, _, _ in x[2]):
                    self.found(x)
                elif x[0] == "value" and x[1] in self.waiting:
                    self.operand(x, None)
        return mine

    def row_of(self, phase):
        for k, op in enumerate(self.ops):
            if op[1] == "row" and op[2] == phase:
                self.operate(k, None, self.totals)

    def strips(self):
        """Phase after phase for some rows together; what is one a row waits in an array for each operation."""
        code, longest = self.code, 8 * STRIP
        for k, op in enumerate(self.ops):
            if op[1] == "row" and op[0] == "map" or op[0] == "reduce" and op[7] == "row":
                self.waiting[k] = code.stack(longest)
        length = code.word(self._strip)
        with code.loop(code.lo, code.hi, length) as start:
            stop = start + length
            stop = select(stop < code.hi, stop, code.hi)
            for phase in range(-1, self.last + 1):
                for part, where in ((self.columns_of, "full"), (self.row_of, "row")):
                    if any([op[1:3] == (where, phase) for op in self.ops]):
                        with code.loop(start, stop) as r:
                            self.begin(r)
                            self.place_in_strip = r - start
                            part(phase)

    def sweep(self, lo, hi, mine):
        """One loop over columns (or entries): the operations `mine`, with their reductions along it."""
        code, own = self.code, {}
        for k in mine:
            op = self.ops[k]
            if op[0] == "reduce" and op[7] == "row":
                own[k] = code.cell(wide(op), neutral(op[3], wide(op)))
        totals = {**{k: t for k, t in self.totals.items() if k in mine}, **own}
        if any(self.ops[k][3] == "sum" and self.ops[k][4][0] == "f" for k in totals):
            with code.loop(lo, hi, BLOCK) as start:
                stop = start + BLOCK
                parts = {k: code.cell(self.ops[k][4], neutral(self.ops[k][3], self.ops[k][4])) for k in totals}
                stop = select(stop < hi, stop, hi)
                light = len(mine) <= LIGHT and not self.cuts(mine)
                if light:                                     # additions that wait for each other would take longer than all the rest
                    whole = (stop - start) & WHOLE - UNROLLED
                    with code.loop(0, whole, interleaved=True) as i:
                        self.entries(mine, start + i, parts)
                    start = start + whole
                self.swept(start, stop, mine, parts, light)
                for k, total in totals.items():
                    total.set(merge(self.ops[k][3], total.get(), cast(parts[k].get(), total.type)))
        else:
            self.swept(lo, hi, mine, totals)
        for k, cell in own.items():
            op = self.ops[k]
            self.keep(k, cast(cell.get(), op[5]))
            self.store(op[8], self.values[k], None)

    def cuts(self, mine):
        """Those of all windows of some operations."""
        return dict.fromkeys([cut for k in mine if self.ops[k][0] == "map" for x in self.ops[k][6] if x[0] == "window" for cut in x[2]])

    def swept(self, lo, hi, mine, totals, rest=False):
        """The loop itself. Where there are windows it is cut: in the middle everything is inside of all of them, and nobody asks. The first entries of that, up
        to a cache line, are a loop of their own. rest: see `each`."""
        code, cuts = self.code, self.cuts(mine)
        windows, others = ([cut for cut in cuts if (self.views[cut[0]][1] == "u") == along] for along in (True, False))
        if not cuts:
            if self.single():
                self.entries(mine, lo, totals)
            else:
                self.each(lo, hi, mine, totals, rest)
            return
        first, last = lo, hi
        for p, begin, end in windows:
            base, _ = self.place(p, None)
            begin, end = code.word(begin) - base, code.word(end) - base
            first, last = select(begin > first, begin, first), select(end < last, end, last)
        first = select(first < hi, first, hi)
        last = select(last > first, last, first)
        if others:                                               # a row that is not inside of all windows along the other axes has no middle
            last = select(self.within(others, None), last, first)
        line = self.aligned(first, last, mine)
        with code.loop(0, 3) as part:
            start, stop = (select(part < 1, x, select(part < 2, y, z)) for x, y, z in ((lo, first, last), (first, last, hi)))
            with code.when(part.differs(1)), code.loop(start, stop) as i:
                self.entries(mine, i, totals)
            self.within_all = True
            with code.when(part.equals(1)), code.loop(0, 2) as half:
                begin, end = select(half < 1, start, line), select(half < 1, line, stop)
                with code.loop(begin, end) as i:
                    self.entries(mine, i, totals)
        self.within_all = False

    def each(self, lo, hi, mine, totals, rest=False):
        """The entries lo..hi: whole vectors, and a masked one for those that are left, which each row may have (what goes through everything has them but once, and
        of few operations one entry after the other is as fast). The rest of a sum: masked ones alone, as to put a vector together takes as long as to add some."""
        code, masked = self.code, not self.flat and len(mine) > FEW
        if masked and not rest:
            widest = max([SIZES[kind] for op in (self.ops[k] for k in mine) for kind in (op[4], *(op[5] if op[0] == "map" else ()))])
            whole = (hi - lo) & WHOLE - VECTOR // widest
            with code.loop(0, whole) as i:
                self.entries(mine, lo + i, totals)
            lo = lo + whole
        with code.loop(lo, hi, masked=masked) as i:
            self.entries(mine, i, totals)

    def single(self):
        """Is there one entry alone? Every operation writes to memory that does not go on, and each entry once. It needs no loop: functions of numbers have
        many such kernels, and LLVM takes a third of the time for each."""
        return self.flat and all([op[0] == "map" and not op[9] and (op[7] is None or op[7][0] == "memory" and self.views[op[7][1]][1] == "z") for op in self.ops])

    def aligned(self, first, last, mine):
        """The entry from which on vectors are whole cache lines of what is written, where there are many up to `last`: half of one and half of the next take
        twice as long. Not where something is summed up on the way: the order of a sum would depend on where an array happens to lie."""
        ops = [self.ops[k] for k in mine]
        stores = [op[7][1] for op in ops if op[0] == "map" and op[7] and op[7][0] == "memory" and self.views[op[7][1]][1] == "u"]
        if not stores or any([op[0] == "reduce" and op[7] != "columns" for op in ops]):
            return first
        size = SIZES[self.views[stores[0]][0]]
        base, _ = self.place(stores[0], None)
        wait = (self.code.number(0) - base - first * size) & LINE - 1
        return select(last - first < MANY, first, first + wait.over(self.code.number(size)))

    def entries(self, mine, i, parts):
        self.inside, self.loaded = True, {}
        here = dict(self.values)
        for v in self.before:                                    # read before anything is written
            self.memory(v, i)
        for k in mine:
            self.operate(k, i, parts)
        for v, cell in self.before.items():
            cell.set(self.memory(v, i))
        self.values = here                                       # what was computed in the loop is known inside of it alone
        self.inside, self.loaded = False, {}

    # ---- one operation ------------------------------------------------------------------------------------------------------------------

    def operate(self, k, i, parts):
        op, code = self.ops[k], self.code
        if op[0] == "reduce":
            x = cast(self.operand(op[6], i), op[4])
            if op[7] == "columns":
                self.add_up(k, i, x)
            else:
                part = parts[k]
                part.set(merge(op[3], part.get(), cast(x, part.type), any_order=True))
            return
        store, kept, accumulate = op[7:]
        value = self.compute(op, i)
        self.keep(k, value)
        if store is not None and store[0] == "indirect":
            base, index, type = self.found(store, i)
            scope = self.views[store[1]][5]
            code.store(base, index, merge("sum", code.load(base, index, type, scope), value) if accumulate else value, scope)
        else:
            self.store(store, value, i)
        if kept is not None and kept[0] == "scratch":
            self.put_aside(kept[1], i, value)

    def compute(self, op, i):
        _, _, _, rule, result, casts, operands, *_ = op
        return cast(self.rules[rule](*[cast(self.operand(x, i), want) for x, want in zip(operands, casts)]), result)

    def add_up(self, k, column, x):
        """A term of a sum over rows."""
        old = self.read(self.sums[k], column, x.type, self.sums_scope)
        self.write(self.sums[k], column, merge(self.ops[k][3], old, x), self.sums_scope)

    def put_aside(self, place, column, value):
        """A value that a later phase reads again. place: the word that says where in a row's scratch memory."""
        self.write(self.scratch + self.code.word(place), column, value, self.scratch_scope)

    def write(self, base, column, value, scope):
        """Into memory of the kernel's own: sums over rows, and values that a later phase reads again."""
        self.code.store(base, column, value, scope)

    def read(self, base, column, type, scope):
        return self.code.load(base, column, type, scope)

    def keep(self, k, value):
        self.values[k] = value
        if k in self.waiting:
            self.code.store(self.waiting[k], self.place_in_strip, value, self.scratch_scope)

    def store(self, store, value, i):
        if store is not None:
            type, _, _, _, _, scope = self.views[store[1]]
            self.code.store(*self.place(store[1], i), cast(value, type), scope)

    def place(self, v, i):
        """(base, index) of an entry of a place in memory."""
        _, kind, _, _, outer, _ = self.views[v]
        base = self.offsets[v]
        if outer == "unit":                                      # the next row's entry follows: loops over rows see that
            return base, self.at
        if kind == "z" or i is None:
            return base, None
        return (base, i) if kind == "u" else (base + i * self.strides[v], None)

    def memory(self, v, i=None):
        """An entry read from memory: once, and before the columns where it is the same for all of them."""
        for known in (self.row_loaded, self.loaded):
            if v in known:
                return known[v]
        value = self.code.load(*self.place(v, i), self.views[v][0], self.views[v][5])
        (self.loaded if self.inside else self.row_loaded)[v] = value
        return value

    def operand(self, x, i):
        code = self.code
        if x[0] == "number":
            return code.immediate(x[1], x[2])
        if x[0] == "memory":
            return self.memory(x[1], i)
        if x[0] == "value":
            if x[1] in self.waiting and x[1] not in self.values:
                type = self.ops[x[1]][5 if self.ops[x[1]][0] == "reduce" else 4]
                self.values[x[1]] = code.load(self.waiting[x[1]], self.place_in_strip, type, self.scratch_scope)
            if x[1] in self.values:
                return self.values[x[1]]
            op = self.ops[x[1]]                              # from an earlier phase
            kept = op[8]
            if kept is None or kept[0] == "again":          # None: what such an operation is made of
                self.values[x[1]] = self.compute(op, i)
                return self.values[x[1]]
            if kept[0] == "scratch":
                return self.read(self.scratch + code.word(kept[1]), i, op[4], self.scratch_scope)
            return code.load(*self.place(op[7][1], i), op[4], self.views[op[7][1]][5])
        if x[0] == "window":
            v, shift, asked, beyond = x[1], x[3], () if self.within_all else x[2], x[4:]
            if not asked and not shift:
                return self.memory(v, i)
            at, kind, scope = i + shift if shift else i, self.views[v][0], self.views[v][5]

            def read():
                return self.before[v].get() if shift == -1 else code.load(*self.place(v, at), kind, scope)
            if not asked:
                return read()
            rest = {"f": 0.0, "b": False}.get(kind[0], 0)
            for other, is_there in zip(beyond, self.around(asked, i) if beyond else ()):
                rest = rest if other is None else code.guarded(is_there, lambda: code.load(*self.place(other, i), kind, scope), rest)
            return code.guarded(self.within(asked, i), read, rest)
        return code.load(*self.found(x, i))

    def within(self, cuts, i):
        """Is an entry inside of all these cuts of a window?"""
        inside = None
        for p, lo, hi in cuts:
            base, index = self.place(p, i)
            lo, hi = self.code.word(lo), self.code.word(hi)
            position = (base if index is None else base + index) - lo
            here = position._make(self.code.builder.icmp_unsigned("<", position.ir, (hi - lo).ir), "b1")
            inside = here if inside is None else inside & here
        return inside

    def around(self, cuts, i):
        """(is an entry before, is it behind) the one cut of a window?"""
        (p, lo, hi), = cuts
        base, index = self.place(p, i)
        position = base if index is None else base + index
        return position < self.code.word(lo), ~(position < self.code.word(hi))

    def found(self, x, i=None):
        """(base, index, type) of a place found by integer arrays. What is out of range is reported, and the first entry taken."""
        v = x[1]
        base, row = self.place(v, None)
        kind, size = self.views[v][1], SIZES[self.views[v][0]]
        base = base if row is None else base + row * size        # a row is the next entry
        base = base + self.distance(x[2:], i)
        if kind == "z" or i is None:
            return base, None, self.views[v][0]
        return (base, i, self.views[v][0]) if kind == "u" else (base + i * self.strides[v], None, self.views[v][0])

    def distance(self, where, i):
        """Bytes from the first entry to one that integer arrays say, worked out once for all that is there (columns of one array, say)."""
        for known in (self.row_loaded, self.loaded):
            if where in known:
                return known[where]
        code, out = self.code, self.code.number(0)
        places, *report = where
        for a, length, stride in places:
            at, n = cast(self.memory(a, i), "i64"), code.word(length)
            at = select(at < 0, at + n, at)
            wrong = at | n - 1 - at                              # negative where it is out of range
            self.report(wrong, *report)
            out = out + select(wrong < 0, code.number(0), at) * code.word(stride)
        (self.loaded if self.inside else self.row_loaded)[where] = out
        return out

    def report(self, wrong, origin, status):
        """Say so if it is negative: at once, or, as a branch would keep a loop from being vectorised, in the end."""
        if (origin, status) in self.outside:
            cell = self.outside[origin, status]
            cell.set(cell.get() | wrong)
        else:
            self.code.report(wrong < 0, self.code.word(status), self.code.word(origin))


def reaches(op):
    """What an operation reads, and what it writes by integer arrays."""
    return (op[6],) if op[0] == "reduce" else (*op[6], op[7]) if op[7] and op[7][0] == "indirect" else op[6]


def wide(op):
    """The type a total is kept in: float32 is summed in float64 (a sum of 10^6 entries would lose half its digits)."""
    return "f64" if op[3] == "sum" and op[4][0] == "f" else op[4]


def write_combine(name, type, result, onto=False):
    """words: partial results, how many (slots), bytes from one to the next, out: columns lo..hi put together, in order; onto: onto what is there. The slots of
    one column after the other, of a sum of floats those of some columns at once: from one result to the next there is room for whole vectors. (A loop along the
    columns for each slot would leave vectors to LLVM, and take twice as long to compile, for every program that sums.)"""
    code = Code(2)
    partial, slots, stride, out = (code.word(k) for k in range(4))
    wide = "f64" if name == "sum" and type[0] == "f" else type
    several = name == "sum" and type[0] == result[0] == "f"
    with code.loop(code.lo, code.hi, LANES if several else 1) as c:
        total = code.cell(wide, neutral(name, wide), LANES if several else 0)
        if onto:
            total.set(cast(code.lanes(out, c, result, below=code.hi) if several else code.load(out, c, result), wide))
        with code.loop(0, slots) as s:
            one = partial + s * stride
            total.set(merge(name, total.get(), cast(code.lanes(one, c, type) if several else code.load(one, c, type), wide)))
        if several:
            code.store_lanes(out, c, cast(total.get(), result), below=code.hi)
        else:
            code.store(out, c, cast(total.get(), result))
    module = code.finish()
    module.vectors = several
    return module

