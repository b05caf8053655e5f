"""Tiny kernels written in LLVM IR by hand: what the tests of the store and of the runtime call."""
import numpy as np
from llvmlite import ir

from diffeng.kernels import compile, machine, runtime

I64, I32, F64, VOID = ir.IntType(64), ir.IntType(32), ir.DoubleType(), ir.VoidType()


def kernel():
    """(module, builder, the words as a pointer, lo, hi)"""
    module = ir.Module("by hand")
    function = ir.Function(module, ir.FunctionType(VOID, [I64] * 3), "kernel")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    return module, b, b.inttoptr(function.args[0], I64.as_pointer()), *function.args[1:]


def rows(b, lo, hi):
    """Starts a loop over rows; returns the row and what ends it."""
    before, body, done = b.block, b.append_basic_block("body"), b.append_basic_block("done")
    b.cbranch(b.icmp_signed("<", lo, hi), body, done)
    b.position_at_end(body)
    row = b.phi(I64)
    row.add_incoming(lo, before)

    def end():
        following = b.add(row, I64(1))
        row.add_incoming(following, b.block)
        b.cbranch(b.icmp_signed("<", following, hi), body, done)
        b.position_at_end(done)
        b.ret_void()
    return row, end


def array(b, words, k):
    return b.inttoptr(b.load(b.gep(words, [I64(k)])), F64.as_pointer())


def add(constant, function=None):
    """out[row] = function(in[row]) + constant; words: in, out."""
    def build():
        module, b, words, lo, hi = kernel()
        source, target = array(b, words, 0), array(b, words, 1)
        row, end = rows(b, lo, hi)
        x = b.load(b.gep(source, [row]))
        if function is not None:
            x = b.call(ir.Function(module, ir.FunctionType(F64, [F64]), function), [x])
        b.store(b.fadd(x, F64(constant)), b.gep(target, [row]))
        end()
        return module
    return machine.kernel(f"test: {function} + {constant}", build)


def accumulate():
    """out[row] += in[row]: a row that is computed twice shows."""
    def build():
        module, b, words, lo, hi = kernel()
        source, target = array(b, words, 0), array(b, words, 1)
        row, end = rows(b, lo, hi)
        place = b.gep(target, [row])
        b.store(b.fadd(b.load(place), b.load(b.gep(source, [row]))), place)
        end()
        return module
    return machine.kernel("test: accumulate", build)


def bounds():
    """out[row] = the first row of the call that computed it; words: unused, out."""
    def build():
        module, b, words, lo, hi = kernel()
        target = array(b, words, 1)
        row, end = rows(b, lo, hi)
        b.store(b.sitofp(lo, F64), b.gep(target, [row]))
        end()
        return module
    return machine.kernel("test: bounds", build)


def store():
    """*words[0] = words[1]: a status."""
    def build():
        module, b, words, lo, hi = kernel()
        b.store(b.load(b.gep(words, [I64(1)])), b.inttoptr(b.load(words), I64.as_pointer()))
        b.ret_void()
        return module
    return machine.kernel("test: store", build)


def ask():
    """out[0] = words[2](), a function that returns a C int."""
    def build():
        module, b, words, lo, hi = kernel()
        function = b.inttoptr(b.load(b.gep(words, [I64(2)])), ir.FunctionType(I32, []).as_pointer())
        b.store(b.sitofp(b.call(function, []), F64), array(b, words, 1))
        b.ret_void()
        return module
    return machine.kernel("test: ask", build)


def total(times):
    """out[0] = the sum of in[lo..hi], in `times` interleaved vectors."""
    def build():
        module, b, words, lo, hi = kernel()
        source, target = array(b, words, 0), array(b, words, 1)
        before, body, done = b.block, b.append_basic_block("body"), b.append_basic_block("done")
        b.branch(body)
        b.position_at_end(body)
        row, s = b.phi(I64), b.phi(F64)
        longer, following = b.fadd(s, b.load(b.gep(source, [row])), flags=("reassoc", "nsz")), b.add(row, I64(1))
        for phi, first, again in ((row, lo, following), (s, F64(0), longer)):
            phi.add_incoming(first, before)
            phi.add_incoming(again, body)
        compile.interleave(b.cbranch(b.icmp_signed("<", following, hi), body, done), times)
        b.position_at_end(done)
        b.store(longer, target)
        b.ret_void()
        return module
    return machine.kernel(f"test: total {times}", build)


def wait():
    """Returns when in[0] is no longer 0."""
    def build():
        module, b, words, lo, hi = kernel()
        place = b.inttoptr(b.load(words), I64.as_pointer())
        body, done = b.append_basic_block("body"), b.append_basic_block("done")
        b.branch(body)
        b.position_at_end(body)
        b.cbranch(b.icmp_signed("==", b.load_atomic(place, "seq_cst", 8), I64(0)), body, done)
        b.position_at_end(done)
        b.ret_void()
        return module
    return machine.kernel("test: wait", build)


def entry(kernel, shape, chunk=None, dtype=np.float64, more=(), **options):
    """A program of one kernel: one input, one output, both of this shape; words: their addresses, then `more`."""
    n = int(np.prod(shape))
    words = np.array([0, 0, *more], np.int64)
    return runtime.Entry([(shape, dtype)], 1, words, [(0, 0, 0), (1, 1, 0)], [(kernel.address, 0, n, chunk or max(n, 1))], np.zeros(1, np.int64), **options)
