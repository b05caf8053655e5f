"""Kernel texts: from a step to Python source, and the only place where text becomes a function.

What it is: `Instruction`, a text over the closed vocabulary of cpu.py and scalar.py with the words of its operand table, and `loop`, which
writes that of a fused group (reductions.py and contract.py write the others). Sizes, strides, addresses and constants are words; the text depends on
structure and types only, so it is its own key.

What it is not: no user text ever reaches `define`, and nothing is compiled here.

A kernel is `kernel(t, lo, hi)`: t is the address of its words, rows lo..hi are computed. Names in texts: p are addresses, o the same moved to
the row, s inner strides, a loaded entries, v values, k immediates, g entries found by integer arrays, x positions.
"""
from .fuse import Immediate, Indirect
from .layout import collapse
from .scalar import type_name

STATUS = "status"                          # the word that stands for the address where an index out of range is reported

DRIVER = """
def walk(table, count, words, bases, patches, patched):
    for r in range(patched):
        store_i64(words, word(patches, 3 * r), word(bases, word(patches, 3 * r + 1)) + word(patches, 3 * r + 2))
    for r in range(count):
        call_kernel(word(table, 4 * r), word(table, 4 * r + 1), 0, word(table, 4 * r + 2))
"""


class Instruction:
    """One row of a program's table to be. words: integers, (buffer, offset) addresses, Immediates, STATUS. cost: nanoseconds a row, roughly.

    divisible: may rows be computed by several threads at once?
    """

    __slots__ = ("text", "words", "rows", "cost", "divisible")

    def __init__(self, lines, words, rows, cost, divisible=True):
        self.text = "\n".join(["def kernel(t, lo, hi):", *indent(lines), ""])
        self.words, self.rows, self.cost, self.divisible = words, rows, cost, divisible


def define(text, names):
    """The function a kernel text defines. Texts come from this package and its closed vocabulary alone."""
    scope = dict(names)
    exec(compile(text, "<diffeng kernel>", "exec"), scope)       # noqa: S102
    return next(scope[name] for name in ("kernel", "walk") if name in scope)


# ---- pieces of text ------------------------------------------------------------------------------------------------------------

def indent(lines):
    return ["    " + line for line in lines]


def element(type):
    """The name of a type in memory: truth values are bytes."""
    return "u8" if type == "b1" else type


def size_of(type):
    return 1 if type == "b1" else int(type[1:]) // 8


def loaded(type, base, index):
    text = f"load_{element(type)}({base}, {index})"
    return f"{text} != u8(0)" if type == "b1" else text


def cast(name, have, want):
    if have == want:
        return name
    if want == "b1":
        return f"({name} != {have}(0))"
    return f"{want}({name})"


def walk(row, depth, table, moving):
    """Lines that move addresses to a row; the table is what `table_of` made."""
    return [f"{name} = {base} + moved(t, {table}, {depth}, {j}, {row})" for j, (name, base) in enumerate(moving)]


def table_of(dims, strides):
    """What `moved` reads: lengths, then strides of each operand, innermost axis first. dims and strides: outermost first."""
    out = list(reversed(dims))
    for s in strides:
        out += reversed(s[:len(dims)])
    return out


def product_of(numbers):
    out = 1
    for n in numbers:
        out *= n
    return out


# ---- elementwise loops -----------------------------------------------------------------------------------------------------------

def loop(step):
    """The kernel of a fused group: rows are entries where one stride does for each operand, else the outer axes, with the last one inside."""
    return _Loop(step).instruction()


class _Loop:
    """One group being written: `head` runs once, `row` before the columns of a row, `body` for each entry."""

    def __init__(self, step):
        self.step, self.head, self.row, self.body = step, [], [], []
        self._views, self._numbers, self._values, self._flag = [], {}, {}, None
        self._written = {id(o.out.buffer): o.out for o in step.operations if not isinstance(o.out, Indirect)}
        for o in step.operations:               # every place in memory, in order of use: together they decide the shape of the loop
            for x in o.operands:
                self._meet(x)
            if isinstance(o.out, Indirect) or o.out.buffer.stored:
                self._meet(o.out, True)
        self._dims, self._strides = collapse(step.shape, [v.strides for v in self._views])
        self._flat = len(self._dims) <= 1
        self._columns = self._dims[-1] if self._dims else 1
        self.words = [len(self._dims) - 1, self._columns]
        self._base = "p" if self._flat else "o"
        # u: one entry after the other; z: the same for the whole row; s: a stride of its own, known at run time.
        self._classes = []
        for j, v in enumerate(self._views):
            self.head.append(f"p{j} = word(t, {self._entry((v.buffer, v.offset))})")
        for j, (v, s) in enumerate(zip(self._views, self._strides)):
            stride, size = s[-1] if s else v.dtype.itemsize, v.dtype.itemsize
            self._classes.append("u" if stride == size else "z" if stride == 0 else "s")
            if self._classes[j] == "s":
                self.head.append(f"s{j} = word(t, {self._entry(stride)})")

    def _entry(self, x):
        """Another word; its number."""
        self.words.append(x)
        return len(self.words) - 1

    def _meet(self, x, out=False):
        if isinstance(x, Indirect):
            for view in (x.view, *x.arrays):
                self._number(view)
        elif not isinstance(x, Immediate) and (out or not self._inside(x)):
            self._number(x)

    def _number(self, view):
        found = self._numbers.get(view.key())
        if found is None:
            found = self._numbers[view.key()] = len(self._views)
            self._views.append(view)
        return found

    def _inside(self, view):
        """Is this computed by the group itself? (Strides of axes of length 1 say nothing, so keys may differ.)"""
        out = self._written.get(id(view.buffer))
        return out is not None and out.whole() and view.whole()

    def _place(self, j):
        """(base, index) of the current entry of operand j."""
        return {"u": (f"{self._base}{j}", "i"), "z": (f"{self._base}{j}", "0"), "s": (f"{self._base}{j} + i * s{j}", "0")}[self._classes[j]]

    def _load(self, view):
        """(name, type) of an entry read from memory: once, and before the columns where it is the same for all of them."""
        j = self._number(view)
        if j not in self._values:
            type = type_name(view.dtype)
            (self.row if self._classes[j] == "z" else self.body).append(f"a{j} = {loaded(type, *self._place(j))}")
            self._values[j] = (f"a{j}", type)
        return self._values[j]

    def _address(self, x, name):
        """(base, index, lines) of a place found by integer arrays. What is out of range is reported and the first entry taken, nothing else touched."""
        j = self._number(x.view)
        still = all(self._classes[self._number(a)] == "z" for a in x.arrays)
        lines, moves = self.row if still else self.body, []
        code = self._entry(x.origin)
        for m, (array, (length, stride)) in enumerate(zip(x.arrays, x.places)):
            value, _ = self._load(array)
            at, n = f"{name}_{m}", self._entry(length)
            self._flag = self._flag or self._entry(STATUS)
            lines += [f"{at} = int64({value})",
                      f"if {at} < 0:",
                      f"    {at} += word(t, {n})",
                      f"if {at} < 0 or {at} >= word(t, {n}):",
                      f"    poke_i64(word(t, {self._flag}), 0, word(t, {code}))",
                      f"    {at} = 0"]
            moves.append(f"{at} * word(t, {self._entry(stride)})")
        lines.append(f"{name} = {' + '.join([f'{self._base}{j}', *moves])}")
        base, index = self._place(j)
        return base.replace(f"{self._base}{j}", name, 1), index, self.row if still and self._classes[j] == "z" else self.body

    def _operand(self, x, name):
        """(name, type) of an operand."""
        if isinstance(x, Immediate):
            at = self._entry(x) * (8 // size_of(x.type))
            self.head.append(f"{name} = {loaded(x.type, 't', at)}")
            return name, x.type
        if isinstance(x, Indirect):
            base, index, lines = self._address(x, f"x{name[1:]}")
            lines.append(f"{name} = {loaded(type_name(x.view.dtype), base, index)}")
            return name, type_name(x.view.dtype)
        return self._values[id(x.buffer)] if self._inside(x) else self._load(x)

    def _operate(self, o, n):
        names = []
        for j, (x, want) in enumerate(zip(o.operands, o.casts)):
            name, have = self._operand(x, f"{'k' if isinstance(x, Immediate) else 'g'}{n}_{j}")
            names.append(cast(name, have, want))
        self.body += _statements(o, names, f"v{n}")
        stored = cast(f"v{n}", o.result, element(o.result))
        if isinstance(o.out, Indirect):
            base, index, _ = self._address(o.out, f"y{n}")
            self.body.append(f"{'bump' if o.accumulate else 'poke'}_{element(o.result)}({base}, {index}, {stored})")
            return
        self._values[id(o.out.buffer)] = (f"v{n}", o.result)
        if o.out.buffer.stored:
            self.body.append(f"store_{element(o.result)}({', '.join(self._place(self._number(o.out)))}, {stored})")

    def instruction(self):
        for n, o in enumerate(self.step.operations):
            self._operate(o, n)
        cost = sum(o.cost for o in self.step.operations) + 0.3 * len(self._views)
        divisible = not any(isinstance(o.out, Indirect) for o in self.step.operations)        # two rows may meet at one place
        if self._flat:
            return Instruction([*self.head, *self.row, "for i in range(lo, hi):", *indent(self.body)], self.words, self._columns, cost, divisible)
        table, outer = len(self.words), self._dims[:-1]
        moves = [(f"o{j}", f"p{j}") for j in range(len(self._views))]
        lines = [*self.head, "depth = word(t, 0)", "columns = word(t, 1)", "for r in range(lo, hi):",
                 *indent([*walk("r", "depth", table, moves), *self.row, "for i in range(columns):", *indent(self.body)])]
        return Instruction(lines, self.words + table_of(outer, self._strides), product_of(outer), cost * self._columns + 2 * len(moves), divisible)


def _statements(o, names, result):
    """The lines that compute one operation into `result`."""
    *locals_, expression = o.rule.split("; ")
    fields, lines, used = {"T": o.type}, [], []
    for j, name in enumerate(names):
        if not name.isidentifier():                      # a cast: computed once, however often the rule has it
            lines.append(f"{result}_{j} = {name}")
            name = f"{result}_{j}"
        used.append(name)
    for local in locals_:
        left, right = local.split(" := ")
        lines.append(f"{result}{left} = {right.format(*used, **fields)}")
        fields[left] = f"{result}{left}"
    value = expression.format(*used, **fields)
    exact = o.result == "b1" or o.type == o.result and o.type in ("f64", "f32", "i64")          # small integers grow in Python's arithmetic
    return [*lines, f"{result} = {value if exact else f'{o.result}({value})'}"]
