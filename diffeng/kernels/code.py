"""A kernel while it is written: LLVM's instructions by way of Values, with loops, words of the operand table, and memory.

What it is: `Code` is one function `kernel(t, lo, hi)` in a module of its own: t is the address of its words, rows lo..hi are computed. Whoever writes a
kernel (loops.py, contract.py, tiles.py) speaks of Values and loops only.

What it is not: no decision about what is computed; nothing is compiled here (machine.py).

Aliasing: the memory a kernel touches is cut into scopes (one a buffer, one for its own scratch) that do not overlap; LLVM is told so, and vectorises
without checking each pair of operands. Words never change while a kernel runs.
"""
from contextlib import contextmanager

from llvmlite import ir

from .compile import interleave, mask
from .values import _TYPES, Value, cast, larger, select, smaller  # noqa: F401  select and cast: for whoever writes with it

_I64, _I8 = ir.IntType(64), ir.IntType(8)
SQUARE = 8                                       # rows and columns that are transposed at once
LANES = 8                                        # of a vector that is asked for: LLVM makes others of loops
SIZES = {"b1": 1, **{t: int(t[1:]) // 8 for t in _TYPES if t != "b1"}}


class Code:
    """scopes: how many disjoint stretches of memory will be named (0 .. scopes - 1); those accessed without a scope may overlap with any."""

    ARGUMENTS = "t", "lo", "hi"                  # of the kernel, 64-bit integers: Values of these names
    SPACE = 0                                    # LLVM's number of the address space that words and operands lie in

    def __init__(self, scopes=0):
        self.module = ir.Module("diffeng")
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [_I64] * len(self.ARGUMENTS)), "kernel")
        self._head = ir.IRBuilder(function.append_basic_block("entry"))
        self._body = function.append_basic_block("body")
        self.builder = ir.IRBuilder(self._body)
        self._function, self._words = function, {}
        for name, argument in zip(self.ARGUMENTS, function.args):
            setattr(self, name, Value(self.builder, argument, "i64"))
        domain = self.module.add_metadata(["diffeng"])
        every = [self.module.add_metadata([f"diffeng.{k}", domain]) for k in range(scopes + 1)]          # the last one: the words
        self._scopes = [(self.module.add_metadata([s]), self.module.add_metadata([o for o in every if o is not s])) for s in every]

    def finish(self):
        """The module, done."""
        self.builder.ret_void()
        self._head.branch(self._body)
        return self.module

    # ---- numbers --------------------------------------------------------------------------------------------------------------

    def number(self, value, type="i64"):
        return Value(self.builder, ir.Constant(_TYPES[type], value), type)

    def word(self, k):
        """Word k of the table, read once, before everything else."""
        if k not in self._words:
            b = self._head
            place = b.gep(b.inttoptr(self.t.ir, _I64.as_pointer(self.SPACE)), [_I64(k)])
            self._words[k] = self._marked(b.load(place), len(self._scopes) - 1)
        return Value(self.builder, self._words[k], "i64")

    def immediate(self, k, type):
        """The number of some type that word k is (its first bytes are)."""
        x = self.word(k)
        b, bits = self._head, 8 * SIZES[type]
        value = x.ir if bits == 64 else b.trunc(x.ir, ir.IntType(bits))
        if type[0] == "f":
            value = b.bitcast(value, _TYPES[type])
        return cast(Value(self.builder, value, "u8"), "b1") if type == "b1" else Value(self.builder, value, type)

    # ---- memory ------------------------------------------------------------------------------------------------------------------

    def entry(self, places, number, first, depth):
        """Where entry `number` of a batch lies, whose first one lies at these places (addresses). first: a word; from there on for each of `depth` axes its length
        and a stride for each place."""
        for d in reversed(range(depth)):
            at = first + (1 + len(places)) * d
            above = number.over(self.word(at)) if d else None
            digit = number - above * self.word(at) if d else number
            places = [p + digit * self.word(at + 1 + k) for k, p in enumerate(places)]
            number = above
        return places

    def _marked(self, instruction, scope):
        if scope is not None:
            own, others = self._scopes[scope]
            instruction.set_metadata("alias.scope", own)
            instruction.set_metadata("noalias", others)
        return instruction

    def _address(self, base, index, type):
        kind = _I8 if type == "b1" else _TYPES[type]
        b = self.builder
        pointer = b.inttoptr(base.ir, kind.as_pointer(self.SPACE))
        return pointer if index is None else b.gep(pointer, [index.ir])

    def load(self, base, index, type, scope=None):
        """Entry `index` (None: the first) of an array of `type` at an address. Truth values lie in memory as bytes."""
        value = self._marked(self.builder.load(self._address(base, index, type)), scope)
        return cast(Value(self.builder, value, "u8"), "b1") if type == "b1" else Value(self.builder, value, type)

    def store(self, base, index, value, scope=None):
        type = value.type
        value = cast(value, "u8") if type == "b1" else value
        self._marked(self.builder.store(value.ir, self._address(base, index, type)), scope)

    def lanes(self, base, index, type, below=None, count=LANES):
        """So many floats from entry `index` on, as one vector; of those that are not below some number nothing is read."""
        vector = ir.VectorType(_TYPES[type], count)
        if below is None:
            place = self.builder.bitcast(self._address(base, index, type), vector.as_pointer(self.SPACE))
            return Value(self.builder, self.builder.load(place, align=SIZES[type]), type)
        return Value(self.builder, self._masked("load", vector, type, base, index, below, ir.Constant(vector, [0.0] * count)), type)

    def first(self, some, count):
        """Which of so many lanes are the first ones: lanes and store_lanes take it for what is below some number, where many ask the same."""
        return Value(self.builder, self.builder.icmp_signed("<", ir.Constant(ir.VectorType(_I64, count), list(range(count))), self.splat(some, count).ir), "b1")

    def store_lanes(self, base, index, value, below):
        """A vector, of which what is not below some number is not written."""
        self._masked("store", ir.VoidType(), value.type, base, index, below, value.ir)

    def _masked(self, what, result, type, base, index, below, vector):
        """LLVM's function for some of the lanes: store takes the vector first, load takes last what the other lanes are."""
        b, count = self.builder, vector.type.count
        mask = below.ir if below.type == "b1" else self.first(below - index, count).ir
        given = [b.bitcast(self._address(base, index, type), vector.type.as_pointer(self.SPACE)), ir.IntType(32)(SIZES[type]), mask]
        given.insert(0 if what == "store" else 3, vector)
        return self._llvms(f"llvm.masked.{what}.v{count}{type}.p0", result, given)

    def _llvms(self, name, result, given):
        """A call of one of LLVM's own functions."""
        function = self.module.globals.get(name) or ir.Function(self.module, ir.FunctionType(result, [x.type for x in given]), name)
        return self.builder.call(function, given)

    def put_lanes(self, base, value):
        """All of a vector, to any address."""
        self.builder.store(value.ir, self.builder.inttoptr(base.ir, value.ir.type.as_pointer()), align=SIZES[value.type])

    def store_vector(self, base, value):
        """All of a vector, to an address that is a multiple of its size."""
        self.builder.store(value.ir, self.builder.inttoptr(base.ir, value.ir.type.as_pointer()))

    def splat(self, value, count):
        """A vector of so many times the same number."""
        b, vector = self.builder, ir.VectorType(value.ir.type, count)
        one = b.insert_element(ir.Constant(vector, ir.Undefined), value.ir, ir.IntType(32)(0))
        return Value(b, b.shuffle_vector(one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)), value.type)

    def prefetch(self, base):
        """What lies at an address will be read."""
        self._llvms("llvm.prefetch.p0", ir.VoidType(), [self.builder.inttoptr(base.ir, _I8.as_pointer()), *map(ir.IntType(32), (0, 2, 1))])

    def fused(self, x, y, z):
        """x y + z of vectors, rounded once."""
        return Value(self.builder, self._llvms(f"llvm.fma.v{x.ir.type.count}{x.type}", x.ir.type, [x.ir, y.ir, z.ir]), x.type)

    def report(self, condition, status, origin):
        """Where a truth value holds, something is wrong with what a node reads. Of several such nodes the first that was recorded is named, and so the user's own and
        not its derivative, which reads the same."""
        with self.when(condition):
            known = self.load(status, None, "i64")
            with self.when(known.equals(0) | (origin < known)):
                self.store(status, None, origin)

    def turn(self, type, source, down, target, along, rows, columns):
        """A transposed copy: entry (r, c) of a matrix at `source`, from row to row `down` bytes, becomes entry (c, r) of one at `target`, from row to row
        `along` bytes. Square by square in registers: each row of a square is loaded and stored at once."""
        size = SIZES[type]
        whole, wide = (x.over(self.number(SQUARE)) * SQUARE for x in (rows, columns))
        with self.loop(0, whole, SQUARE) as r, self.loop(0, wide, SQUARE) as c:
            self._turned(type, source + r * down + c * size, down, target + c * along + r * size, along)
        with self.loop(0, rows) as r, self.loop(select(r < whole, wide, self.number(0)), columns) as c:
            self.store(target + c * along + r * size, None, self.load(source + r * down + c * size, None, type))

    def _turned(self, type, source, down, target, along):
        """One square."""
        for k, x in enumerate(self.exchanged([self.lanes(source + down * k, None, type, count=SQUARE).ir for k in range(SQUARE)])):
            self.put_lanes(target + along * k, Value(self.builder, x, type))

    def exchanged(self, rows):
        """SQUARE vectors of as many entries, LLVM's values, transposed. Blocks off the diagonal change places: of one entry, then of two by two, then of four by four."""
        b, lanes = self.builder, range(SQUARE)
        for bit in (1, 2, 4):
            masks = [SQUARE + (k ^ bit) if k & bit else k for k in lanes], [SQUARE + k if k & bit else k | bit for k in lanes]
            masks = [ir.Constant(ir.VectorType(ir.IntType(32), SQUARE), m) for m in masks]
            for k in lanes:
                if not k & bit:
                    rows[k], rows[k | bit] = (b.shuffle_vector(rows[k], rows[k | bit], m) for m in masks)
        return rows

    def cell(self, type, value, lanes=0):
        """A variable, which LLVM keeps in a register; so many of them, as one vector."""
        return Cell(self, type, Value(self.builder, ir.Constant(ir.VectorType(_TYPES[type], lanes), [value] * lanes), type) if lanes else value)

    def stack(self, size):
        """The address of so many bytes on the stack, aligned to a cache line."""
        place = self._head.alloca(ir.ArrayType(_I8, size))
        place.align = 64
        return Value(self.builder, self._head.ptrtoint(place, _I64), "i64")

    # ---- control -------------------------------------------------------------------------------------------------------------------

    @contextmanager
    def loop(self, lo, hi, step=1, interleaved=False, masked=False):
        """for i in range(lo, hi, step), all of them i64 Values or numbers; step > 0, or a function of i. Yields i. interleaved, masked: see compile.py."""
        b = self.builder
        lo, hi = (x.ir if isinstance(x, Value) else _I64(x) for x in (lo, hi))
        head, body, done = (self._function.append_basic_block(n) for n in ("head", "loop", "done"))
        before = b.block
        b.branch(head)
        b.position_at_end(head)
        i = b.phi(_I64)
        i.add_incoming(lo, before)
        b.cbranch(b.icmp_signed("<", i, hi), body, done)
        b.position_at_end(body)
        at = Value(b, i, "i64")
        step = step(at) if callable(step) else step
        step = step.ir if isinstance(step, Value) else _I64(step)
        yield at
        i.add_incoming(b.add(i, step, flags=["nsw", "nuw"]), b.block)
        back = b.branch(head)
        if interleaved or masked:
            (interleave if interleaved else mask)(back)
        b.position_at_end(done)

    @contextmanager
    def stretches(self, lo, hi, most, length):
        """lo .. hi in stretches of at most `most`, none across a multiple of `length`. Yields (start, stop) of each."""
        stop = None

        def step(start):
            nonlocal stop
            ends = [(start.over(length) + 1) * length, hi]
            stop = start + most
            for end in ends:
                stop = select(stop < end, stop, end)
            return stop - start
        with self.loop(lo, hi, step) as start:
            yield start, stop

    @contextmanager
    def when(self, condition):
        """Where a truth value holds; everywhere, where it is None."""
        if condition is None:
            yield
            return
        b = self.builder
        then, after = (self._function.append_basic_block(n) for n in ("then", "after"))
        b.cbranch(condition.ir, then, after)
        b.position_at_end(then)
        yield
        b.branch(after)
        b.position_at_end(after)

    def guarded(self, condition, make, otherwise):
        """make() where the condition holds, else `otherwise`: for a load that must not happen."""
        b = self.builder
        before = b.block
        then, after = (self._function.append_basic_block(n) for n in ("then", "after"))
        b.cbranch(condition.ir, then, after)
        b.position_at_end(then)
        value = make()
        last = b.block
        b.branch(after)
        b.position_at_end(after)
        out = b.phi(value.ir.type)
        out.add_incoming(value.ir, last)
        out.add_incoming(value._of(otherwise), before)
        return Value(b, out, value.type)

    def call(self, address, *arguments):
        """A kernel, or another function of addresses and 64-bit integers, at an address."""
        b = self.builder
        b.call(b.inttoptr(address.ir, ir.FunctionType(ir.VoidType(), [_I64] * len(arguments)).as_pointer()), [x.ir for x in arguments])

    @contextmanager
    def set_meanwhile(self, setter, value):
        """What is inside, while the function `int setter(int)` at an address (0: none) has set a value; it returns the one before, which is set again."""
        b, kind = self.builder, ir.FunctionType(ir.IntType(32), [ir.IntType(32)])
        before = self._head.alloca(ir.IntType(32))
        with self.when(setter.differs(0)):
            value = b.trunc(value.ir, ir.IntType(32)) if isinstance(value, Value) else ir.IntType(32)(value)
            b.store(b.call(b.inttoptr(setter.ir, kind.as_pointer()), [value]), before)
        yield
        with self.when(setter.differs(0)):
            b.call(b.inttoptr(setter.ir, kind.as_pointer()), [b.load(before)])

    # ---- products -----------------------------------------------------------------------------------------------------------------------

    def gemm(self, type, bits, address, ta, tb, m, n, k, a, lda, b, ldb, c, ldc, alpha=1.0, beta=0.0):
        """BLAS's gemm at an address, columns first: C = alpha op(A) op(B) + beta C. ta, tb: ord("N") or ord("T"), as Values; a, b, c: addresses."""
        self.fortran(type, bits, address, [("flag", ta), ("flag", tb), ("size", m), ("size", n), ("size", k), ("scale", alpha), ("array", a), ("size", lda),
                                         ("array", b), ("size", ldb), ("scale", beta), ("array", c), ("size", ldc)])

    def gemv(self, type, bits, address, ta, m, n, a, lda, x, incx, y, incy):
        """BLAS's gemv at an address, columns first: y = op(A) x, where A has m rows and n columns."""
        self.fortran(type, bits, address, [("flag", ta), ("size", m), ("size", n), ("scale", 1.0), ("array", a), ("size", lda), ("array", x), ("size", incx),
                                         ("scale", 0.0), ("array", y), ("size", incy)])

    def fortran(self, type, bits, address, arguments, answers=False):
        """A call of a routine of BLAS or LAPACK: every argument by reference. arguments: (what it is, a Value or a number), "flag", "size", "scale" or "array".
        answers: there is one more, a status, which is returned."""
        builder, kind = self.builder, _TYPES[type]
        kinds = {"flag": _I8, "size": ir.IntType(bits), "scale": kind, "array": kind}

        def reference(what, x):
            if what == "array":
                return builder.inttoptr(x.ir, kind.as_pointer())
            place = self._head.alloca(kinds[what])
            narrow = what == "flag" or what == "size" and bits < 64
            builder.store(builder.trunc(x.ir, kinds[what]) if narrow else x.ir if isinstance(x, Value) else kind(x), place)
            return place
        given, status = [reference(what, x) for what, x in arguments], None
        types = [kinds[what].as_pointer() for what, _ in arguments]
        if answers:
            status = self._head.alloca(kinds["size"])
            builder.store(kinds["size"](0), status)
            given, types = [*given, status], [*types, kinds["size"].as_pointer()]
        builder.call(builder.inttoptr(address.ir, ir.FunctionType(ir.VoidType(), types).as_pointer()), given)
        return cast(Value(builder, builder.load(status), f"i{bits}"), "i64") if answers else None


class Cell:
    """A variable of a kernel."""

    def __init__(self, code, type, value):
        self.code, self.type = code, type
        value = value if isinstance(value, Value) else code.number(value, type)
        self._place = code._head.alloca(value.ir.type)
        self.set(value)

    def get(self):
        return Value(self.code.builder, self.code.builder.load(self._place), self.type)

    def set(self, value):
        self.code.builder.store(value.ir, self._place)


# ---- reductions: how two partial results become one -------------------------------------------------------------------------------------

def neutral(name, type):
    """What a reduction starts from."""
    if name in ("sum", "any"):
        return 0.0 if type[0] == "f" else 0
    if name in ("prod", "all"):
        return 1.0 if type[0] == "f" else 1
    if type[0] == "f":
        return float("-inf") if name == "max" else float("inf")
    bits = int(type[1:])
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if type[0] == "i" else (0, (1 << bits) - 1)
    return low if name == "max" else high


def merge(name, a, b, any_order=False):
    """Two partial results as one. any_order: a sum may be taken in another order, which is what lets it be vectorised; no other operation may."""
    if name == "sum" and a.type[0] == "f" and any_order:
        return Value(a.builder, a.builder.fadd(a.ir, b.ir, flags=("reassoc", "nsz")), a.type)
    if name == "sum":
        return a + b
    if name == "prod":
        return a * b
    return {"max": larger, "min": smaller, "any": Value.__or__, "all": Value.__and__}[name](a, b)

