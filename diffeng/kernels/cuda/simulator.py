"""A grid of threads on the processor we are on: proves a kernel's logic where there is no GPU.

What it is: a device (device.py says what that is) whose blocks run one after the other and whose threads are threads of the system, so that a barrier that is
missing, or that not all reach, shows. The kernels are those of the GPU but for the few words of code.Simulated; a warp has 4 lanes and a block 16 threads.

What it is not: fast (a barrier costs some 50 us), or a proof of PTX (compile.py makes it, the driver accepts it or not).
"""
import ctypes
import functools

import numpy as np

from .. import machine
from ..memory import address, aligned, array_at
from .code import SLOT, Simulated
from .plan import Grid

_BARRIER = 64                                # bytes that hold a pthread_barrier_t everywhere
_KERNEL, _TABLE, _ROWS, _BLOCKS = range(7, 11)          # of a thread's context, behind the words that a kernel reads (code.Simulated)


class Memory(np.ndarray):
    """An array in the simulator's memory. It is NumPy's, and told apart by its class, so that it shows what crosses over."""


class Simulator:
    """Kernels run when they are launched."""

    grid = Grid(Simulated.WARP, 1, 16, 16, 1 << 20, 64 << 10)
    distant = False                          # does its memory lie elsewhere, so that what the host computes is worth a warning?
    name = "the simulator"

    def array(self, x):
        return np.require(x, requirements="C") if self.holds(x) else np.array(x, order="C").view(Memory)

    @staticmethod
    def holds(x):
        return isinstance(x, Memory)

    def copy(self, x):
        return x.copy()

    def empty(self, shape, dtype):
        return np.empty(shape, dtype).view(Memory)

    def memory(self, size):
        return aligned(size)

    @staticmethod
    def address(x):
        return address(x)

    @staticmethod
    def host(x):
        return np.array(x)

    def view(self, place, view):
        """The array of a view whose buffer begins at an address, and lives as long as the array is used."""
        return array_at(place, view, None)

    def upload(self, array, target):
        target[...] = array

    def synchronize(self):
        """Nothing runs behind the caller's back here."""

    def kernel(self, launch):
        return machine.kernel("simulated " + launch.key, lambda: launch.build(Simulated), quick=True).address

    def launcher(self, kernel, launch, words):
        return lambda: self._run(kernel, launch, words)

    def captured(self, work):
        return work

    def product(self, product, places, precision):
        return lambda: self._multiply(product, places)

    @staticmethod
    def _multiply(product, places):
        left, right, out = (array_at(p - v.offset, v, None) for p, v in zip(places, (product.left, product.right, product.out)))
        if product.narrow:
            left, right = ((x.astype(np.uint32) << 16).view(np.float32) for x in (left, right))
        if product.add:
            out += left @ right
        else:
            np.matmul(left, right, out=out)

    def _run(self, kernel, launch, words):
        threads = launch.threads
        wait, start, stop = (getattr(_pthread(), f"pthread_barrier_{verb}") for verb in ("wait", "init", "destroy"))
        near = launch.warp or min(launch.lanes, Simulated.WARP)
        groups = -(-threads // near)
        barriers = np.zeros((groups + 1) * _BARRIER, np.uint8)
        at = [address(barriers) + _BARRIER * k for k in range(groups + 1)]
        for k, place in enumerate(at):
            start(ctypes.c_void_p(place), None, threads if k == 0 else min(near, threads))
        shared, exchange = np.full(threads * SLOT + launch.shared, 0xA5, np.uint8), np.full(threads * Simulated.EXCHANGED, 0xA5, np.uint8)
        contexts, handles = np.zeros((threads, _BLOCKS + 1), np.int64), np.zeros(threads, np.int64)
        for k, context in enumerate(contexts):
            context[[Simulated.THREAD, Simulated.SHARED, Simulated.EXCHANGE]] = k, address(shared), address(exchange)
            context[[Simulated.WAIT, Simulated.EVERYBODY, Simulated.NEIGHBOURS]] = ctypes.cast(wait, ctypes.c_void_p).value, at[0], at[1 + k // near]
            context[[_KERNEL, _TABLE, _ROWS, _BLOCKS]] = kernel, words, launch.rows, launch.blocks
        if _crew()(address(contexts), contexts.strides[0], address(handles), threads) != threads:
            raise RuntimeError(f"the system has no {threads} threads for a block of the simulator")
        for place in at:
            stop(ctypes.c_void_p(place))


@functools.cache
def _pthread():
    return ctypes.CDLL(None)


@functools.cache
def _crew():
    """crew(address of the first context, bytes to the next, room for a handle each, how many): so many threads of the system run a kernel, block after block.
    Python's own threads take twenty times as long to start. Returns how many were started: it waits for all or, where one was not, for none."""
    return ctypes.CFUNCTYPE(*[ctypes.c_int64] * 5)(machine.kernel("the simulator's threads", _crew_code, quick=True).address)


def _crew_code():
    from llvmlite import ir
    from ..native import Writer
    word, half = ir.IntType(64), ir.IntType(32)
    module = ir.Module("crew")
    create = ir.Function(module, ir.FunctionType(half, [word] * 4), "pthread_create")
    join = ir.Function(module, ir.FunctionType(half, [word] * 2), "pthread_join")

    b = Writer(module, "thread", 1)
    context, = b.args
    with b.count(word(0), b.word(context, _BLOCKS)) as block:
        b.store(block, b.at(context, Simulated.BLOCK))
        b.apply(b.word(context, _KERNEL), b.word(context, _TABLE), b.word(context, _ROWS), context)
    b.ret(word(0))
    thread = b.function

    b = Writer(module, "kernel", 4, internal=False)
    context, stride, handles, count = b.args
    with b.count(word(0), count) as k:
        found = b.call(create, [b.add(handles, b.mul(k, word(8))), word(0), b.ptrtoint(thread, word), b.add(context, b.mul(k, stride))])
        b.leave_if(b.icmp_signed("!=", found, half(0)), 0)
    with b.count(word(0), count) as k:
        b.call(join, [b.word(b.add(handles, b.mul(k, word(8)))), word(0)])
    b.ret(count)
    return module
