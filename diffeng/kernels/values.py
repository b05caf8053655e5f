"""Scalars that instructions are appended for: `x * y + 1` on Values writes LLVM's instructions, for whichever device its builder is.

What it is: `Value` with its operators, the few functions rules need beside them (mad, select, bits, ...), `polynomial`, and `rescue`, the one branch.

Why not kernel texts: a line of text costs the compiler 1-2 ms, an instruction written this way a twentieth of it; and each rounds as written, with no
flags that would let it be reassociated.

What it is not: no rule (elementary.py), no numba.
"""
from llvmlite import ir

_DOUBLE, _FLOAT = ir.DoubleType(), ir.FloatType()
_TYPES = {"f64": _DOUBLE, "f32": _FLOAT, "i64": ir.IntType(64), "i32": ir.IntType(32), "b1": ir.IntType(1)}
_BITS = {"f64": "i64", "f32": "i32"}
HUGE = 100000.0                                           # beyond it, sin, cos and tan are left to the C library


class Value:
    """A scalar that instructions are appended for: `x * y + 1` with Values of one type and Python numbers."""

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
        return self._binary("fdiv", "", other)

    def __rtruediv__(self, other):
        return self._binary("fdiv", "", other, True)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self._make(self.builder.fneg(self.ir))

    def __and__(self, other):
        return self._make(self.builder.and_(self.ir, self._of(other)))

    def __or__(self, other):
        return self._make(self.builder.or_(self.ir, self._of(other)))

    def __xor__(self, other):
        return self._make(self.builder.xor(self.ir, self._of(other)))

    def __lshift__(self, count):
        return self._make(self.builder.shl(self.ir, self._of(count)))

    def __rshift__(self, count):                          # of the bits: no sign
        return self._make(self.builder.lshr(self.ir, self._of(count)))

    def _compare(self, sign, other):
        compare = self.builder.fcmp_ordered if self.type[0] == "f" else self.builder.icmp_signed
        return self._make(compare(sign, self.ir, self._of(other)), "b1")

    def __lt__(self, other):
        return self._compare("<", other)

    def __gt__(self, other):
        return self._compare(">", other)

    def equals(self, other):
        return self._compare("==", other)

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


def _intrinsic(name, *values):
    kind, builder = _TYPES[values[0].type], values[0].builder
    function = builder.module.declare_intrinsic(f"llvm.{name}", [kind], ir.FunctionType(kind, [kind] * len(values)))
    return Value(builder, builder.call(function, [v.ir for v in values]), values[0].type)


def mad(a, b, c):
    """a * b + c, fused where the processor can."""
    return _intrinsic("fmuladd", a, *(x if isinstance(x, Value) else Value(a.builder, a._of(x), a.type) for x in (b, c)))


def absolute(x):
    return _intrinsic("fabs", x)


def copysign(x, sign):
    return _intrinsic("copysign", x, sign)


def select(condition, a, b):
    like = a if isinstance(a, Value) else b
    return like._make(condition.builder.select(condition.ir, like._of(a), like._of(b)))


def constant(number, like):
    return like._make(like._of(number))


def polynomial(x, coefficients):
    """Lowest coefficient first."""
    out = constant(coefficients[-1], x)
    for c in coefficients[-2::-1]:
        out = mad(x, out, c)
    return out


def fused(a, b, c):
    """a * b + c rounded once: what a product lost is fused(a, b, -(a * b)). A slow call on a processor that cannot."""
    return _intrinsic("fma", a, b, c)


def nearest(x):
    """The nearest integer, ties to even."""
    return _intrinsic("rint", x)


def rescue(name, x, y):
    """y, and where |x| > HUGE what the C library says: a call that the vectoriser keeps, to a function that looks at all lanes and mostly returns."""
    builder, module = x.builder, x.builder.module
    own = f"diffeng_{name}_{x.type}"
    function = module.globals.get(own)
    if function is None:
        widths = (2, 4, 8)                                                 # lanes of the float64s that either type computes in
        function = _rescuer(module, own, name, _TYPES[x.type])
        set.add(function.attributes, '"vector-function-abi-variant"="' + ",".join(f"_ZGV_LLVM_N{w}vv_{own}({own}_{w})" for w in widths) + '"')
        kept = [_rescuer(module, f"{own}_{w}", name, ir.VectorType(_TYPES[x.type], w)) for w in widths]
        byte = ir.IntType(8).as_pointer()                                  # an array that is never written out, but keeps them until the vectoriser has run
        used = ir.GlobalVariable(module, ir.ArrayType(byte, len(kept)), f"{own}_kept")
        used.linkage, used.section = "appending", "llvm.metadata"
        used.initializer = ir.Constant(used.value_type, [f.bitcast(byte) for f in kept])
    return x._make(builder.call(function, [x.ir, y.ir]))


def _rescuer(module, own, name, kind):
    function = ir.Function(module, ir.FunctionType(kind, [kind, kind]), own)
    function.linkage = "internal"
    for attribute in ("noinline", "readnone", "nounwind"):
        function.attributes.add(attribute)
    set.add(function.attributes, "willreturn")
    x, y = function.args
    lanes = kind.count if isinstance(kind, ir.VectorType) else 1
    suffix = f"v{lanes}" if lanes > 1 else ""
    element = "f64" if (kind.element if lanes > 1 else kind) == _DOUBLE else "f32"

    def declared(operation):
        full = f"llvm.{operation}.{suffix}{element}"
        return module.globals.get(full) or ir.Function(module, ir.FunctionType(kind, [kind]), full)
    b = ir.IRBuilder(function.append_basic_block("entry"))
    limit = ir.Constant(kind, [HUGE] * lanes if lanes > 1 else HUGE)
    huge = b.fcmp_ordered(">", b.call(declared("fabs"), [x]), limit)
    any_huge = b.icmp_unsigned("!=", b.bitcast(huge, ir.IntType(lanes)), ir.IntType(lanes)(0)) if lanes > 1 else huge
    rare, usual = function.append_basic_block("rare"), function.append_basic_block("usual")
    b.cbranch(any_huge, rare, usual)
    b.position_at_end(usual)
    b.ret(y)
    b.position_at_end(rare)
    b.ret(b.select(huge, b.call(declared(name), [x]), y))
    return function
