"""The compiler for the processor: what generated kernels are made of, and `compile_kernel(text, arguments)`, text in, object code out.

What it is: tiny intrinsics on raw addresses (load, store, words of an operand table, BLAS's gemm) over which kernel texts are written.

What it is not: no grouping, no memory, no decision about threads, no store of kernels (machine.py). Only this file imports numba, and it is
imported when a kernel is neither in the process's store nor on disk.

Aliasing: a kernel never stores to what it loads, so every load carries an alias scope and every store declares that it touches none of
them; LLVM then vectorises without checking each pair of operands. Accumulation in place (`bump`) claims nothing.
"""
import math

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import elementary, reductions, source, values
from .scalar import INF, LOG2

_I64 = ir.IntType(64)

# what LLVM has intrinsics for and the C library computes
LIBRARY = "fma exp exp2 exp10 log log2 log10 pow sin cos tan asin acos atan atan2 sinh cosh tanh".split()

# Names of element types in kernel texts: numba's type, LLVM's, bytes. Truth values lie in memory as bytes.
ELEMENTS = {
    "f64": (types.float64, ir.DoubleType(), 8), "f32": (types.float32, ir.FloatType(), 4),
    "i64": (types.int64, _I64, 8), "i32": (types.int32, ir.IntType(32), 4), "i16": (types.int16, ir.IntType(16), 2), "i8": (types.int8, ir.IntType(8), 1),
    "u64": (types.uint64, _I64, 8), "u32": (types.uint32, ir.IntType(32), 4), "u16": (types.uint16, ir.IntType(16), 2), "u8": (types.uint8, ir.IntType(8), 1),
}


# ---- intrinsics ------------------------------------------------------------------------------------------------------------

def _scoped(builder, instruction, loads):
    """Loads are in one alias scope, stores in another, and neither touches the other."""
    module = builder.module
    domain = module.add_metadata(["diffeng"])
    scopes = [module.add_metadata([module.add_metadata([name, domain])]) for name in ("diffeng.load", "diffeng.store")]
    instruction.set_metadata("alias.scope", scopes[0 if loads else 1])
    instruction.set_metadata("noalias", scopes[1 if loads else 0])


def _address(builder, base, index, element):
    return builder.gep(builder.inttoptr(base, element.as_pointer()), [index])


def _load(number, element):
    @intrinsic
    def load(typing, base, index):
        def codegen(context, builder, signature, args):
            out = builder.load(_address(builder, args[0], args[1], element))
            _scoped(builder, out, True)
            return out
        return number(types.int64, types.int64), codegen
    return load


def _store(number, element):
    @intrinsic
    def store(typing, base, index, value):
        def codegen(context, builder, signature, args):
            _scoped(builder, builder.store(args[2], _address(builder, args[0], args[1], element)), False)
            return context.get_dummy_value()
        return types.void(types.int64, types.int64, number), codegen
    return store


def _bump(number, element):
    """Add to what is there already."""
    @intrinsic
    def bump(typing, base, index, value):
        def codegen(context, builder, signature, args):
            place = _address(builder, args[0], args[1], element)
            add = builder.fadd if isinstance(number, types.Float) else builder.add
            builder.store(add(builder.load(place), args[2]), place)
            return context.get_dummy_value()
        return types.void(types.int64, types.int64, number), codegen
    return bump


def _peek(number, element):
    """A load that may read what the same kernel wrote."""
    @intrinsic
    def peek(typing, base, index):
        def codegen(context, builder, signature, args):
            return builder.load(_address(builder, args[0], args[1], element))
        return number(types.int64, types.int64), codegen
    return peek


def _poke(number, element):
    @intrinsic
    def poke(typing, base, index, value):
        def codegen(context, builder, signature, args):
            builder.store(args[2], _address(builder, args[0], args[1], element))
            return context.get_dummy_value()
        return types.void(types.int64, types.int64, number), codegen
    return poke


def _gather_add(number):
    """s + x that may be summed in any order: what lets a sum be vectorised, and no other operation has it."""
    @intrinsic
    def accumulate(typing, s, x):
        def codegen(context, builder, signature, args):
            if isinstance(number, types.Float):
                return builder.fadd(*args, flags=("reassoc", "nsz"))
            return builder.add(*args)
        return number(number, number), codegen
    return accumulate


def _extreme(number, element, name, comparison):
    """The larger (smaller) of two; NaN if one is. LLVM vectorises a reduction over it, which it does not with a comparison and a test for NaN."""
    @intrinsic
    def extreme(typing, a, b):
        def codegen(context, builder, signature, args):
            if isinstance(number, types.Float):
                return builder.call(builder.module.declare_intrinsic(f"llvm.{name}", [element], ir.FunctionType(element, [element] * 2)), args)
            compare = builder.icmp_signed if number.signed else builder.icmp_unsigned
            return builder.select(compare(comparison, *args), *args)
        return number(number, number), codegen
    return extreme


@intrinsic
def udiv(typing, a, b):
    """a // b for a >= 0, b > 0, without the checks a signed division brings along."""
    def codegen(context, builder, signature, args):
        return builder.udiv(*args)
    return types.int64(types.int64, types.int64), codegen


@intrinsic
def moved(typing, t, table, depth, operand, row):
    """The bytes operand number `operand` moves to reach a row: t[table:] has the lengths of `depth` axes, innermost first, then the strides of each operand.

    A function of LLVM and not lines of every kernel's text: compiling such a loop through numba costs 10 ms each time.
    """
    def codegen(context, builder, signature, args):
        t, table, depth, operand, row = args
        one = _I64(1)
        at = builder.add(table, builder.mul(depth, builder.add(operand, one)))
        place = cgutils.alloca_once(builder, _I64)
        with builder.if_else(builder.icmp_signed("==", depth, one)) as (flat, deep):
            with flat:                                    # rows along one axis: no division
                builder.store(builder.mul(row, _word(builder, t, at)), place)
            with deep:
                module, name = builder.module, "diffeng.digits"
                function = module.globals.get(name) or _digits(module, name)
                builder.store(builder.call(function, [t, table, at, depth, row]), place)
        return builder.load(place)
    return types.int64(*[types.int64] * 5), codegen


def _word(builder, t, at):
    out = builder.load(_address(builder, t, at, _I64))
    _scoped(builder, out, True)
    return out


def _digits(module, name):
    """The sum of digit times stride, where the digits are those of the row number in the mixed base of the axes' lengths."""
    function = ir.Function(module, ir.FunctionType(_I64, [_I64] * 5), name)
    function.linkage = "internal"
    for attribute in ("noinline", "minsize"):             # inlined, it would be unrolled and vectorised once an operand
        function.attributes.add(attribute)
    t, lengths, strides, depth, row = function.args
    entry, body, done = (function.append_basic_block(n) for n in ("entry", "body", "done"))
    b = ir.IRBuilder(entry)
    b.cbranch(b.icmp_signed(">", depth, _I64(0)), body, done)
    b.position_at_end(body)
    axis, rest, total = b.phi(_I64), b.phi(_I64), b.phi(_I64)
    length = _word(b, t, b.add(lengths, axis))
    quotient = b.udiv(rest, length)
    digit = b.sub(rest, b.mul(quotient, length))
    further = b.add(total, b.mul(digit, _word(b, t, b.add(strides, axis))))
    following = b.add(axis, _I64(1))
    for phi, first, again in ((axis, _I64(0), following), (rest, row, quotient), (total, _I64(0), further)):
        phi.add_incoming(first, entry)
        phi.add_incoming(again, body)
    b.cbranch(b.icmp_signed("<", following, depth), body, done)
    b.position_at_end(done)
    result = b.phi(_I64)
    result.add_incoming(_I64(0), entry)
    result.add_incoming(further, body)
    b.ret(result)
    return function


@intrinsic
def scratch(typing):
    """The address of 2 KB on the stack: the accumulators of a tile of columns."""
    def codegen(context, builder, signature, args):
        return builder.ptrtoint(cgutils.alloca_once(builder, ir.ArrayType(ir.DoubleType(), reductions.TILE)), _I64)
    return types.int64(), codegen


@intrinsic
def call_kernel(typing, address, table, lo, hi):
    def codegen(context, builder, signature, args):
        function = ir.FunctionType(ir.VoidType(), [_I64] * 3)
        builder.call(builder.inttoptr(args[0], function.as_pointer()), args[1:])
        return context.get_dummy_value()
    return types.void(*[types.int64] * 4), codegen


def _gemm(element):
    """BLAS's gemm at an address: every argument by reference, sizes as 32-bit integers, alpha 1 and beta 0."""
    @intrinsic
    def gemm(typing, address, ta, tb, m, n, k, a, lda, b, ldb, c, ldc):
        def codegen(context, builder, signature, args):
            i8, i32 = ir.IntType(8), ir.IntType(32)

            def at(value, kind):
                place = cgutils.alloca_once(builder, kind)
                builder.store(value, place)
                return place
            address, ta, tb, m, n, k, a, lda, b, ldb, c, ldc = args
            small = {name: at(builder.trunc(x, i32), i32) for name, x in dict(m=m, n=n, k=k, lda=lda, ldb=ldb, ldc=ldc).items()}
            flags = [at(builder.trunc(x, i8), i8) for x in (ta, tb)]
            one, zero = at(element(1.0), element), at(element(0.0), element)
            pointer = element.as_pointer()
            a, b, c = (builder.inttoptr(x, pointer) for x in (a, b, c))
            letter, size = i8.as_pointer(), i32.as_pointer()
            kinds = [letter, letter, size, size, size, pointer, pointer, size, pointer, size, pointer, pointer, size]
            function = ir.FunctionType(ir.VoidType(), kinds)
            builder.call(builder.inttoptr(address, function.as_pointer()),
                         [*flags, small["m"], small["n"], small["k"], one, a, small["lda"], b, small["ldb"], zero, c, small["ldc"]])
            return context.get_dummy_value()
        return types.void(*[types.int64] * 12), codegen
    return gemm


def _rule(rule, operands):
    """A function of elementary.py, for float64 and float32; of anything else a kernel text has none."""
    def codegen(context, builder, signature, args):
        type = "f64" if signature.return_type == types.float64 else "f32"
        return rule(*(values.Value(builder, a, type) for a in args)).ir

    def typed(*kinds):
        return (kinds[0](*kinds), codegen) if kinds[0] in (types.float64, types.float32) and len(set(kinds)) == 1 else None
    if operands == 1:
        return intrinsic(lambda typing, x: typed(x))
    return intrinsic(lambda typing, x, y: typed(x, y))


def _vocabulary():
    """Every name a kernel text may use."""
    names = {"udiv": udiv, "moved": moved, "scratch": scratch, "word": _load(types.int64, _I64), "call_kernel": call_kernel, "INF": INF, "LOG2": LOG2,
             "fabs": math.fabs, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "rint": np.rint,
             "cbrt": np.cbrt, "fmod": np.fmod,
             "int64": types.int64, "boolean": types.boolean, "range": range}
    for name in "sqrt asin acos atan atan2 hypot asinh acosh atanh copysign".split():
        names[name] = getattr(math, name)
    names.update({name: _rule(rule, rule.__code__.co_argcount) for name, rule in elementary.RULES.items()})
    for name, (number, element, _) in ELEMENTS.items():
        names.update({name: number, f"load_{name}": _load(number, element), f"store_{name}": _store(number, element), f"bump_{name}": _bump(number, element),
                      f"peek_{name}": _peek(number, element), f"poke_{name}": _poke(number, element), f"accumulate_{name}": _gather_add(number),
                      f"max_{name}": _extreme(number, element, "maximum", ">"), f"min_{name}": _extreme(number, element, "minimum", "<")})
    names.update({"gemm_f64": _gemm(ir.DoubleType()), "gemm_f32": _gemm(ir.FloatType())})
    return names


_NAMES = _vocabulary()


# ---- compiling ---------------------------------------------------------------------------------------------------------------

def _linked(name):
    """The symbol that a declaration ends up as: LLVM's own functions of mathematics are calls of the C library, its others are instructions."""
    if not name.startswith("llvm."):
        return name
    _, function, *kind = name.split(".")
    return function + {"f64": "", "f32": "f"}[kind[0]] if function in LIBRARY and kind and kind[0] in ("f64", "f32") else None


def compile_kernel(text, arguments):
    """A kernel's text -> {"code": object code, "symbol": its name there, "needs": symbols it leaves open}: a C function of so many 64-bit integers."""
    # error_model "numpy": a division by zero gives inf or nan, as in NumPy, and raises nothing.
    # Kernels own nothing and need no rewriting of array expressions: without both, compiling takes a tenth less.
    compiled = numba.cfunc(types.void(*[types.int64] * arguments), error_model="numpy", no_rewrites=True, _nrt=False)(source.define(text, _NAMES))
    library = compiled._library
    _, _, (code, _) = library.serialize_using_object_code()
    needs = sorted({_linked(f.name) for f in library._final_module.functions if f.is_declaration} - {None})
    return {"code": code, "symbol": compiled.native_name, "needs": needs}
