"""Scalars that instructions are appended for: `x * y + 1` on Values writes LLVM's instructions, for whichever device its builder is.

What it is: `Value` with its operators, the few functions rules need beside them (mad, select, bits, ...), `polynomial`, and `rescue`, the one branch.

Why not kernel texts: a line of text costs the compiler 1-2 ms, an instruction written this way a twentieth of it; and each rounds as written, with no
flags that would let it be reassociated.

What it is not: no rule (elementary.py, scalar.py), no loop (code.py).
"""
from llvmlite import ir

_DOUBLE, _FLOAT = ir.DoubleType(), ir.FloatType()
_TYPES = {"f64": _DOUBLE, "f32": _FLOAT, "b1": ir.IntType(1), **{f"{sign}{bits}": ir.IntType(bits) for sign in "iu" for bits in (8, 16, 32, 64)}}
_BITS = {"f64": "i64", "f32": "i32"}
_INFINITE = float("inf")
HUGE = 100000.0                                           # beyond it, sin, cos and tan are left to the C library


class Value:
    """A scalar that instructions are appended for: `x * y + 1` with Values of one type and Python numbers. Or a vector of some of them, which is added to others."""

    __slots__ = ("builder", "ir", "type")

    def __init__(self, builder, value, type):
        self.builder, self.ir, self.type = builder, value, type

    def _of(self, other):
        return other.ir if isinstance(other, Value) else ir.Constant(_TYPES[self.type], other)

    def _make(self, value, type=None):
        return Value(self.builder, value, type or self.type)

    def _binary(self, real, whole, other, swap=False):
        a, b = self.ir, self._of(other)
        return self._make(getattr(self.builder, real if self.type[0] == "f" else whole)(*((b, a) if swap else (a, b))))

    def __add__(self, other):
        return self._binary("fadd", "add", other)

    def __sub__(self, other):
        return self._binary("fsub", "sub", other)

    def __rsub__(self, other):
        return self._binary("fsub", "sub", other, True)

    def __mul__(self, other):
        return self._binary("fmul", "mul", other)

    def __truediv__(self, other):
        return quotient(self, other) if type(other) is Steady else self._binary("fdiv", "", other)

    def __rtruediv__(self, other):
        return self._binary("fdiv", "", other, True)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self._make(self.builder.fneg(self.ir) if self.type[0] == "f" else self.builder.neg(self.ir))

    def __and__(self, other):
        return self._make(self.builder.and_(self.ir, self._of(other)))

    def __or__(self, other):
        return self._make(self.builder.or_(self.ir, self._of(other)))

    def __xor__(self, other):
        return self._make(self.builder.xor(self.ir, self._of(other)))

    def over(self, other):
        """An integer >= 0 divided by one > 0, without the checks a signed division brings along."""
        return self._make(self.builder.udiv(self.ir, self._of(other)))

    def __lshift__(self, count):
        return self._make(self.builder.shl(self.ir, self._of(count)))

    def __rshift__(self, count):                          # of the bits: no sign
        return self._make(self.builder.lshr(self.ir, self._of(count)))

    def _compare(self, sign, other):
        b = self.builder
        compare = b.fcmp_ordered if self.type[0] == "f" else b.icmp_signed if self.type[0] == "i" else b.icmp_unsigned
        return self._make(compare(sign, self.ir, self._of(other)), "b1")

    def __lt__(self, other):
        return self._compare("<", other)

    def __gt__(self, other):
        return self._compare(">", other)

    def __le__(self, other):
        return self._compare("<=", other)

    def __ge__(self, other):
        return self._compare(">=", other)

    def equals(self, other):
        return self._compare("==", other)

    def differs(self, other):
        """!=, which is true of NaN and anything."""
        if self.type[0] == "f":
            return self._make(self.builder.fcmp_unordered("!=", self.ir, self._of(other)), "b1")
        return self._compare("!=", other)

    def __invert__(self):
        return self._make(self.builder.not_(self.ir))

    def bits(self):
        return self._make(self.builder.bitcast(self.ir, _TYPES[_BITS[self.type]]), _BITS[self.type])

    def real(self):
        """The float with these bits."""
        type = {"i64": "f64", "i32": "f32"}[self.type]
        return self._make(self.builder.bitcast(self.ir, _TYPES[type]), type)

    def double(self):
        return self if self.type == "f64" else self._make(self.builder.fpext(self.ir, _DOUBLE), "f64")

    def rounded(self, type):
        return self if self.type == type else self._make(self.builder.fptrunc(self.ir, _FLOAT), "f32")


class Small(Value):
    """A result that may be subnormal, and so have lost digits: a product of it is taken of 2^k times its true value, and loses them only if it is subnormal
    itself. lifted(): (that, 2^-k), whose instructions are appended where they are asked for. Where nothing is subnormal the product's bits are the usual ones."""

    __slots__ = ("_lifted",)

    def __init__(self, value, lifted):
        super().__init__(value.builder, value.ir, value.type)
        self._lifted = lifted

    def __mul__(self, other):
        high, back = self._lifted()
        return high * other * back

    __rmul__ = __mul__


class Steady(Value):
    """What does not change in a loop: `quotient` divides by it."""

    __slots__ = ()

    def __init__(self, value):
        super().__init__(value.builder, value.ir, value.type)


def cast(x, want):
    """x in another type, as NumPy's astype; floats that no integer can hold are left to NumPy (lower.castable)."""
    have, b, kind = x.type, x.builder, _TYPES[want]
    if have == want:
        return x
    if isinstance(x.ir.type, ir.VectorType):
        kind = ir.VectorType(kind, x.ir.type.count)
    if want == "b1":
        return x.differs(0.0 if have[0] == "f" else 0)
    if have[0] == "f":
        widen = b.fpext if want == "f64" else b.fptrunc
        return Value(b, widen(x.ir, kind) if want[0] == "f" else (b.fptosi if want[0] == "i" else b.fptoui)(x.ir, kind), want)
    if want[0] == "f":
        return Value(b, (b.sitofp if have[0] == "i" else b.uitofp)(x.ir, kind), want)
    if have == "b1":
        return Value(b, b.zext(x.ir, kind), want)
    bits, to = int(have[1:]), int(want[1:])
    if to == bits:
        return Value(b, x.ir, want)
    return Value(b, b.trunc(x.ir, kind) if to < bits else (b.sext if have[0] == "i" else b.zext)(x.ir, kind), want)


GPU = "nvptx64-nvidia-cuda"                               # the triple of a module for a GPU


def library_name(module, name, type):
    """What a function of C's mathematics is called where a module will run: on a GPU it is libdevice's."""
    return ("__nv_" if module.triple == GPU else "") + name + ("f" if type == "f32" else "")


def library(name, *values):
    """A function of the C library: one entry at a time."""
    kind, builder = _TYPES[values[0].type], values[0].builder
    full = library_name(builder.module, name, values[0].type)
    function = builder.module.globals.get(full)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(kind, [kind] * len(values)), full)
        for attribute in ("nounwind", "readnone"):                         # no errno: a loop around it may still be vectorised
            function.attributes.add(attribute)
    return Value(builder, builder.call(function, [v.ir for v in values]), values[0].type)


def divided(x, y, remainder=False):
    """Integers: the quotient rounded down, or what remains, y != 0 (and not -1 for signed ones)."""
    b = x.builder
    if x.type[0] == "u":
        return x._make((b.urem if remainder else b.udiv)(x.ir, y.ir))
    q, m = x._make(b.sdiv(x.ir, y.ir)), x._make(b.srem(x.ir, y.ir))
    off = m.differs(0) & ((m ^ y) < 0)
    return select(off, m + y, m) if remainder else select(off, q - 1, q)


def _intrinsic(name, *values):
    kind, builder = _TYPES[values[0].type], values[0].builder
    function = builder.module.declare_intrinsic(f"llvm.{name}", [kind], ir.FunctionType(kind, [kind] * len(values)))
    return Value(builder, builder.call(function, [v.ir for v in values]), values[0].type)


def ones(x):
    """How many bits of an integer are 1."""
    return _intrinsic("ctpop", x)


def mad(a, b, c):
    """a * b + c, fused where the processor can."""
    return _intrinsic("fmuladd", a, *(x if isinstance(x, Value) else Value(a.builder, a._of(x), a.type) for x in (b, c)))


def absolute(x):
    return _intrinsic("fabs", x)


def sqrt(x):
    return _intrinsic("sqrt", x)


def floor(x):
    return _intrinsic("floor", x)


def ceil(x):
    return _intrinsic("ceil", x)


def trunc(x):
    return _intrinsic("trunc", x)


def larger(x, y):
    """The larger of two; NaN if one is. LLVM vectorises a reduction over it, which it does not with a comparison and a test for NaN."""
    return _intrinsic("maximum", x, y) if x.type[0] == "f" else select(x > y, x, y)


def smaller(x, y):
    return _intrinsic("minimum", x, y) if x.type[0] == "f" else select(x < y, x, y)


def copysign(x, sign):
    return _intrinsic("copysign", x, sign)


def select(condition, a, b):
    like = a if isinstance(a, Value) else b
    return like._make(condition.builder.select(condition.ir, like._of(a), like._of(b)))


def constant(number, like):
    return like._make(like._of(number))


def polynomial(x, coefficients):
    """Lowest coefficient first. Even and odd powers apart: half as many steps wait for each other, for one multiplication, which mostly is there already."""
    def horner(x, coefficients):
        out = constant(coefficients[-1], x)
        for c in coefficients[-2::-1]:
            out = mad(x, out, c)
        return out
    if len(coefficients) < 5:
        return horner(x, coefficients)
    z = x * x
    return mad(x, horner(z, coefficients[1::2]), horner(z, coefficients[::2]))


def fused(a, b, c):
    """a * b + c rounded once: what a product lost is fused(a, b, -(a * b)). A slow call on a processor that cannot."""
    return _intrinsic("fma", a, b, c)


_ENDS = {"f32": (2.0 ** -125, 2.0 ** 125), "f64": (2.0 ** -1021, 2.0 ** 1021)}          # between them numbers and their reciprocals have all their digits


def quotient(x, d, reciprocal=None):
    """x / d without a branch, rounded correctly. What depends on d alone comes first, so that the compiler takes it out of a loop over x: one x more costs two
    products, two fused ones and a comparison. reciprocal(d): 1 / d for d > 0, good to 22 binary digits, and 0 or infinite where it should be.

    Within an ulp only where the remainder has lost digits (|x| < 2^-100, 2^-960 in float64, or a subnormal quotient, or one next to overflow) or d's digits
    are all 1. Source: Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", 1990 (a quotient that its remainder corrects)."""
    low, high = _ENDS[d.type]
    size, one = absolute(d), constant(1.0, d)
    scale = select(size > high, constant(2.0 ** -3, d), select(size < low, constant(2.0 ** 64, d), one))
    size = size * scale
    near = rough = (reciprocal or _reciprocal)(size)
    rest = fused(-size, near, one)
    regular = absolute(rest) < 1.0                            # no, if d is 0, infinite or NaN: what is left of it then is NaN, and nothing is corrected
    for _ in range({"f32": 1, "f64": 2}[d.type]):
        near = fused(near, rest, near)
        rest = fused(-size, near, one)
    x = x * copysign(scale, d)
    q = x * select(regular, near, rough)
    rest = fused(size, q, -x)
    return fused(select(regular, -near, -0.0), select(absolute(rest) < _INFINITE, rest, 0.0), q)


def _reciprocal(d):
    if d.builder.module.triple != GPU:
        return 1.0 / d
    kind, name = _TYPES[d.type], "llvm.nvvm.rcp.approx.ftz." + {"f32": "f", "f64": "d"}[d.type]
    return d._make(d.builder.call(_declared(d.builder.module, name, kind), [d.ir]))


def nearest(x):
    """The nearest integer, ties to even."""
    return _intrinsic("rint", x)


def rescue(name, test, out, *operands, limit=HUGE):
    """out, and where |test| > limit what the C library says of the operands: a call that the vectoriser keeps, to a function that looks at all lanes and mostly
    returns."""
    builder, module = out.builder, out.builder.module
    own, kind, given = f"diffeng_{name}_{out.type}", _TYPES[out.type], [x.ir for x in (test, out, *operands)]
    function = module.globals.get(own)
    if function is None:
        function = _function(module, own, kind, [kind] * len(given), "readnone", *(() if module.triple == GPU else ("noinline",)))
        _rescue_one(ir.IRBuilder(function.append_basic_block("entry")), name, out.type, limit, *function.args)
        if module.triple != GPU:
            _add_vector_variants(module, function, kind, limit)
    return out._make(builder.call(function, given))


def _function(module, name, result, arguments, *attributes):
    function = ir.Function(module, ir.FunctionType(result, arguments), name)
    function.linkage = "internal"
    for attribute in ("nounwind", *attributes):
        function.attributes.add(attribute)
    set.add(function.attributes, "willreturn")
    return function


def _rescue_one(b, name, type, limit, test, out, *operands):
    kind, module = _TYPES[type], b.module
    huge = (absolute(Value(b, test, type)) > limit).ir
    with b.if_then(huge, likely=False):
        full = f"llvm.{name}.{type}" if name in _LLVMS and module.triple != GPU else library_name(module, name, type)
        b.ret(b.call(_declared(module, full, kind, len(operands)), operands))
    b.ret(out)


_LLVMS = ("sin", "cos", "tan")                            # functions of the C library that LLVM has a name for


def _declared(module, name, kind, count=1):
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(kind, [kind] * count), name)


def _add_vector_variants(module, function, kind, limit):
    """What the vectoriser may call in the place of the function. They are put where they are called once it is done (compile.py): a call
    that no register survives would cost more than the sine."""
    widths, own, count = (2, 4, 8), function.name, len(function.args)      # lanes of the float64s that either type computes in
    set.add(function.attributes, '"vector-function-abi-variant"="' + ",".join(f"_ZGV_LLVM_N{w}{'v' * count}_{own}({own}_{w})" for w in widths) + '"')
    lane = _lane_by_lane(module, function, kind)
    kept = [_rescue_many(module, own, lane, ir.VectorType(kind, w), count, limit) for w in widths]
    byte = ir.IntType(8).as_pointer()                                      # an array that is never written out, but keeps them until the vectoriser has run
    used = ir.GlobalVariable(module, ir.ArrayType(byte, len(kept)), f"{own}_kept")
    used.linkage, used.section = "appending", "llvm.metadata"
    used.initializer = ir.Constant(used.value_type, [f.bitcast(byte) for f in kept])


def _rescue_many(module, own, lane_by_lane, kind, count, limit):
    lanes = kind.count
    function = _function(module, f"{own}_{lanes}", kind, [kind] * count, "readnone", "alwaysinline")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    fabs = f"llvm.fabs.v{lanes}{'f64' if kind.element == _DOUBLE else 'f32'}"
    huge = b.fcmp_ordered(">", b.call(_declared(module, fabs, kind), [function.args[0]]), ir.Constant(kind, [limit] * lanes))
    places = [b.alloca(kind) for _ in range(count)]
    with b.if_then(b.icmp_unsigned("!=", b.bitcast(huge, ir.IntType(lanes)), ir.IntType(lanes)(0)), likely=False):
        for place, x in zip(places, function.args):
            b.store(x, place)
        b.call(lane_by_lane, [*(b.bitcast(p, kind.element.as_pointer()) for p in places), ir.IntType(64)(lanes)])
        b.ret(b.load(places[1]))
    b.ret(function.args[1])
    return function


def _lane_by_lane(module, one, kind):
    """(test, out, operands, lanes): out[k] = one(test[k], out[k], those of the operands)."""
    index = ir.IntType(64)
    function = _function(module, f"{one.name}_lanes", ir.VoidType(), [kind.as_pointer()] * len(one.args) + [index], "noinline", "cold")
    *arrays, lanes = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    first, body, done = b.block, function.append_basic_block("body"), function.append_basic_block("done")
    b.branch(body)
    b.position_at_end(body)
    k = b.phi(index)
    b.store(b.call(one, [b.load(b.gep(x, [k])) for x in arrays]), b.gep(arrays[1], [k]))
    following = b.add(k, index(1))
    k.add_incoming(index(0), first)
    k.add_incoming(following, body)
    b.cbranch(b.icmp_unsigned("<", following, lanes), body, done)
    b.position_at_end(done)
    b.ret_void()
    return function
