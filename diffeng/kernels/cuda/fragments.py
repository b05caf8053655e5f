"""What a warp has on the matrix units: fragments of matrices, their products, and tiles of shared memory that fragments come from.

What it is: `Fragments`, words of code.Cuda, and `SimulatedFragments`, their twins of code.Simulated. A fragment is what the 32 lanes of a warp hold of a small
matrix, in the places that PTX's mma.sync says ("Warp-level matrix instructions" in NVIDIA's PTX ISA): lane 4 g + t has, of a 16 x 8 result, columns 2t and
2t + 1 of the rows g and g + 8. Words are of 32 bits, whatever they hold.

    multiply(kind, c, a, b)   c + a b, where c is 16 x 8 float32; kind "bf16": a is 16 x 16, b 16 x 8, two numbers a word; "tf32": a is 16 x 8, b 8 x 8
    matrices(place, turned)   four 8 x 8 matrices of 16-bit numbers from shared memory, whose rows begin where lanes 0-7, 8-15, 16-23 and 24-31 say
    fetch(place, address, k)  16 bytes from global memory to shared memory while the thread goes on; only k of them are read (0 or 16), the others are 0
    fetched()                 wait for this thread's

What it is not: it knows no chain (attention.py).
"""
from llvmlite import ir

from ..values import Value

LANES, HIGH, WIDE, DEEP = 32, 16, 8, {"bf16": 16, "tf32": 8}          # lanes of a warp; rows and columns of a result; terms of a sum
TF32 = -1 << 13                              # the bits of a float32 that a matrix unit looks at
_I32, _I64, _I8, _F32 = ir.IntType(32), ir.IntType(64), ir.IntType(8), ir.FloatType()
_FOUR_WORDS, _FOUR_FLOATS = ir.LiteralStructType([_I32] * 4), ir.LiteralStructType([_F32] * 4)
_PRODUCTS = {"bf16": "mma.m16n8k16.row.col.bf16", "tf32": "mma.m16n8k8.row.col.tf32"}


class Fragments:
    def multiply(self, kind, c, a, b):
        function = self._intrinsic(_PRODUCTS[kind], _FOUR_FLOATS, [_I32] * 6 + [_F32] * 4)
        return self._four(self.builder.call(function, [x.ir for x in (*a, *b, *c)]), "f32")

    def matrices(self, place, turned=False):
        name = f"ldmatrix.sync.aligned.m8n8.x4.{'trans.' if turned else ''}b16.p3"
        function = self._intrinsic(name, _FOUR_WORDS, [_I8.as_pointer(3)])
        return self._four(self.builder.call(function, [self._shared_place(place, None, "i8")]), "i32")

    def fetch(self, place, address, bytes):
        b = self.builder
        function = self._intrinsic("cp.async.cg.shared.global.16.s", ir.VoidType(), [_I8.as_pointer(3), _I8.as_pointer(1), _I32])
        b.call(function, [self._shared_place(place, None, "i8"), b.inttoptr(address.ir, _I8.as_pointer(1)), b.trunc(bytes.ir, _I32)])

    def fetched(self):
        self.builder.call(self._intrinsic("cp.async.wait.all", ir.VoidType(), []), [])

    def _four(self, struct, type):
        return [Value(self.builder, self.builder.extract_value(struct, k), type) for k in range(4)]


class SimulatedFragments:
    """Lanes show each other what they have, word by word."""

    def multiply(self, kind, c, a, b):
        exchange, thread = self._context[self.EXCHANGE], self.thread
        wait, near = self._context[self.WAIT], self._context[self.NEIGHBOURS]
        function = self.module.globals.get(f"multiply_{kind}") or self._multiplier(kind)
        found = self.builder.call(function, [x.ir for x in (exchange, thread, wait, near, *a, *b, *c)])
        return [Value(self.builder, self.builder.extract_value(found, k), "f32") for k in range(4)]

    def _multiplier(self, kind):
        """A function of its own, as there are many calls."""
        function = ir.Function(self.module, ir.FunctionType(_FOUR_FLOATS, [_I64] * 4 + [_I32] * 6 + [_F32] * 4), f"multiply_{kind}")
        function.attributes.add("noinline")
        b = ir.IRBuilder(function.append_basic_block())
        exchange, thread, wait, near, *words = function.args
        wait = b.inttoptr(wait, ir.FunctionType(_I32, [_I64]).as_pointer())
        lane = b.and_(thread, _I64(LANES - 1))
        first, g, t = b.sub(thread, lane), b.lshr(lane, _I64(2)), b.and_(lane, _I64(3))
        deep, pairs, seen = DEEP[kind], DEEP[kind] // 8, {}

        def place(lane):
            return b.inttoptr(b.add(exchange, b.mul(b.add(first, lane), _I64(self.EXCHANGED))), _I32.as_pointer())
        for k in range(6):
            b.store(words[k], b.gep(place(lane), [_I32(k)]))
        b.call(wait, [near])

        def word(of, k):
            """Word k of the lane that has row or column `of` there: it is one of the four that do."""
            def entries(number):
                key = of, k, number
                if key not in seen:
                    seen[key] = b.load(b.gep(place(b.add(b.shl(rows[of], _I64(2)), _I64(number))), [_I32(k)]))
                return seen[key]
            return entries
        rows = {"g": g, "even": b.shl(t, _I64(1)), "odd": b.add(b.shl(t, _I64(1)), _I64(1))}
        out = ir.Constant(_FOUR_FLOATS, ir.Undefined)
        for k in range(4):
            total = words[6 + k]
            for d in range(deep):
                number, half, back = d // pairs % 4, d % pairs, d // (4 * pairs)          # lane among four, number in a word, word
                x = word("g", (k >> 1) + 2 * back)(number)
                y = word("odd" if k & 1 else "even", 4 + back)(number)
                x, y = (b.bitcast(self._number(b, w, kind, half), _F32) for w in (x, y))
                total = b.fadd(total, b.fmul(x, y))
            out = b.insert_value(out, total, k)
        b.call(wait, [near])
        b.ret(out)
        return function

    @staticmethod
    def _number(b, word, kind, half):
        if kind == "tf32":
            return b.and_(word, _I32(TF32))
        return b.shl(word, _I32(16)) if half == 0 else b.and_(word, _I32(-1 << 16))

    def matrices(self, place, turned=False):
        exchange, lane = self._context[self.EXCHANGE], self.thread & LANES - 1
        first = self.thread - lane
        self.store(exchange + self.thread * self.EXCHANGED, None, place)
        self._wait(self.NEIGHBOURS)
        g, t, out = lane.over(4), lane & 3, []
        for q in range(4):
            def row(k):
                return self.load(exchange + (first + k + 8 * q) * self.EXCHANGED, None, "i64")
            if turned:
                low, high = (self.get(row(t * 2 + k) + g * 2, None, "u16") for k in range(2))
                word = self._widened(low) | self._widened(high) << 16
            else:
                word = self.get(row(g) + t * 4, None, "i32")
            out.append(word)
        self._wait(self.NEIGHBOURS)
        return out

    def _widened(self, x):
        return Value(self.builder, self.builder.zext(x.ir, _I32), "i32")

    def fetch(self, place, address, bytes):
        for k in range(0, 16, 4):
            word = self.guarded(bytes > 0, lambda k=k: self.load(address + k, None, "i32"), 0)
            self.put(place + k, None, word)

    def fetched(self):
        """It is there already."""
