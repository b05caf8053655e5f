"""A kernel for a grid of threads while it is written: what code.py has, and threads, barriers, memory that a block shares, sums over a team.

What it is: `Threads`, the words in which skeletons.py speaks, and two that say them: `Cuda` in LLVM's instructions for NVIDIA's GPUs, and `Simulated` for the
processor we are on, where every thread of a block is a thread of the system and a barrier is pthread's (simulator.py runs it). The kernels of both are the same
but for these few words, so what the simulator proves of a kernel's logic is true of the other.

A kernel is a function (address of its words, rows). Threads work in teams of `lanes` neighbours: a power of two within a warp, or a whole block.

What it is not: no skeleton, no launch.
"""
from contextlib import contextmanager

from llvmlite import ir

from ..code import SIZES, Code, merge, neutral, select
from ..values import _TYPES, GPU, Value, cast, ones
from .fragments import Fragments, SimulatedFragments

_I32, _I64, _I8 = ir.IntType(32), ir.IntType(64), ir.IntType(8)
LAYOUT = "e-i64:64-i128:128-v16:16-v32:32-n16:32:64"          # LLVM's description of memory there: 64-bit numbers are aligned
QUAD = 4                                     # entries that a thread reads or writes at once
SLOT = 8                                     # bytes of an entry of shared memory: one for each thread of a block


def _stored(type):
    """The type of what lies in memory: truth values are bytes there."""
    return "u8" if type == "b1" else type


class Threads(Code):
    """thread: of its block; block: of the grid; threads: how many a block has, a number. WARP: lanes that exchange values among themselves.

    Memory that a block shares begins with a slot for each thread; what follows is whoever's asks for it when the kernel is launched.
    """

    def __init__(self, scopes=0, threads=None):
        super().__init__(scopes)
        self.threads = threads

    def butterfly(self, name, x, lanes, first=1, whole=False):
        """x of all lanes of a team within a warp, merged; every lane gets the result, the same bits. first: those that are so many apart, a power of two.
        whole: do all lanes of the warp come by at once, whatever their team? Then they are served at once; teams are one after the other."""
        mask = first
        while mask < lanes:
            x = merge(name, x, self.shuffled(x, mask, self.WARP if whole else lanes))
            mask *= 2
        return x

    def together(self, name, x, lanes):
        """x of all lanes of a team, merged."""
        return self.all_together([(name, x, x.type)], lanes)[0]

    def all_together(self, several, lanes):
        """Some (name, x, type), each x of all lanes of a team merged, from warp to warp in that type: they wait for each other once."""
        if lanes <= self.WARP:
            return [cast(self.butterfly(name, x, lanes), type) for name, x, type in several]
        if len(several) > self.WARP:                          # as many as there are slots for
            return self.all_together(several[:self.WARP], lanes) + self.all_together(several[self.WARP:], lanes)
        several = [(name, cast(self.butterfly(name, x, self.WARP), type)) for name, x, type in several]
        warps, lane = self.threads // self.WARP, self.thread & self.WARP - 1
        if warps == 1:
            return [x for _, x in several]
        with self.when(lane.equals(0)):
            for k, (_, x) in enumerate(several):
                self.share(self.thread.over(self.WARP) + k * warps, x)
        self.barrier()
        enough = 1 << (warps - 1).bit_length()                # lanes that hold all of them; the others hold the same
        lane = lane & enough - 1
        mine = lane < warps
        found = [select(mine, self.shared(select(mine, lane, 0) + k * warps, x.type), self.number(neutral(name, x.type), x.type))
                 for k, (name, x) in enumerate(several)]
        found = [self.butterfly(name, x, enough, whole=True) for (name, _), x in zip(several, found)]
        self.barrier()
        return found

    def down(self, name, x, columns):
        """x of all threads (row, column) of a block, which lie row after row, merged along the rows; the result is the first row's. columns: a power of two,
        no more than a warp has lanes."""
        warp = min(self.WARP, self.threads)
        x = self.butterfly(name, x, warp, columns)
        self.barrier()
        self.share(self.thread, x)
        self.barrier()
        column = self.thread & columns - 1
        total = self.cell(x.type, neutral(name, x.type))
        with self.loop(0, self.threads // warp) as k:
            total.set(merge(name, total.get(), self.shared(k * warp + column, x.type)))
        return total.get()

    def ballot(self, conditions):
        """Which threads of the block say yes, to some questions (no more than a warp has lanes): puts a word for each warp and question into the warp's slots,
        bit by bit; for `those`."""
        lane = self.thread & self.WARP - 1
        words = [self.butterfly("any", select(yes, self.number(1) << lane, 0), self.WARP) for yes in conditions]
        self.barrier()
        with self.when(lane.equals(0)):
            for k, word in enumerate(words):
                self.share(self.thread + k, word)
        self.barrier()

    @contextmanager
    def those(self, questions):
        """for each yes of the last ballot, question by question, in the order of threads. Yields the thread's number, and the question's times the threads of a
        block."""
        with self.loop(0, questions) as question, self.loop(0, self.threads, self.WARP) as first:
            word = self.shared(first + question, "i64")
            left = self.cell("i64", word)
            with self.loop(0, ones(word)):
                bits = left.get()
                left.set(bits & bits - 1)
                yield question * self.threads + first + ones((bits & -bits) - 1)

    def share(self, slot, x):
        """Put x into a thread's slot."""
        self.put(slot * SLOT, None, x)

    def shared(self, slot, type):
        return self.get(slot * SLOT, None, type)

    # ---- four entries at once ---------------------------------------------------------------------------------------------------------------

    def load_quad(self, base, index, type, scope=None):
        """Entries index .. index + 3 of an array; the first lies at a multiple of the bytes of four, or of 16."""
        kind = _stored(type)
        return self._parts(self._marked(self.builder.load(self._quad(self._address(base, index, kind), kind), align=self._alignment(kind)), scope), type)

    def store_quad(self, base, index, values, scope=None):
        kind = _stored(values[0].type)
        self._marked(self.builder.store(self._whole(values, kind), self._quad(self._address(base, index, kind), kind), align=self._alignment(kind)), scope)

    def get_quad(self, offset, index, type):
        kind = _stored(type)
        return self._parts(self.builder.load(self._quad(self._shared_place(offset, index, kind), kind), align=self._alignment(kind)), type)

    def put_quad(self, offset, index, values):
        kind = _stored(values[0].type)
        self.builder.store(self._whole(values, kind), self._quad(self._shared_place(offset, index, kind), kind), align=self._alignment(kind))

    @staticmethod
    def _alignment(kind):
        return min(16, QUAD * SIZES[kind])

    def _quad(self, pointer, kind):
        return self.builder.bitcast(pointer, ir.VectorType(_TYPES[kind], QUAD).as_pointer(pointer.type.addrspace))

    def _parts(self, vector, type):
        kind = _stored(type)
        return [cast(Value(self.builder, self.builder.extract_element(vector, _I32(k)), kind), type) for k in range(QUAD)]

    def _whole(self, values, kind):
        vector = ir.Constant(ir.VectorType(_TYPES[kind], QUAD), ir.Undefined)
        for k, x in enumerate(values):
            vector = self.builder.insert_element(vector, cast(x, kind).ir, _I32(k))
        return vector

    # ---- shared memory ----------------------------------------------------------------------------------------------------------------------

    def put(self, offset, index, x):
        """x into shared memory: entry `index` of an array that begins at so many bytes."""
        x = cast(x, _stored(x.type))
        self.builder.store(x.ir, self._shared_place(offset, index, x.type))

    def get(self, offset, index, type):
        kind = _stored(type)
        return cast(Value(self.builder, self.builder.load(self._shared_place(offset, index, kind)), kind), type)


class Cuda(Fragments, Threads):
    """For a GPU. Operands lie in its global memory: address space 1; what a block shares in 3."""

    ARGUMENTS = "t", "rows"
    SPACE, WARP = 1, 32

    def __init__(self, scopes=0, threads=None):
        super().__init__(scopes, threads)
        self.module.triple, self.module.data_layout = GPU, LAYOUT
        self._function.calling_convention = "ptx_kernel"
        self.thread, self.block = (self._register(name) for name in ("tid.x", "ctaid.x"))
        self._shared = ir.GlobalVariable(self.module, ir.ArrayType(_I8, 0), "shared", addrspace=3)
        self._shared.linkage, self._shared.align = "external", 16

    def _intrinsic(self, name, result, arguments):
        full = f"llvm.nvvm.{name}"
        return self.module.globals.get(full) or ir.Function(self.module, ir.FunctionType(result, arguments), full)

    def _register(self, name):
        value = self._head.call(self._intrinsic(f"read.ptx.sreg.{name}", _I32, []), [])
        return Value(self.builder, self._head.zext(value, _I64), "i64")

    def barrier(self):
        self.builder.call(self._intrinsic("barrier0", ir.VoidType(), []), [])

    def shuffled(self, x, mask, lanes):
        """x of the lane whose number differs in the bit `mask`. Only the lanes of this team take part, so that teams may go different ways."""
        b = self.builder
        members = _I32(-1)
        if lanes < self.WARP:
            first = self.thread & self.WARP - lanes
            members = b.trunc((self.number((1 << lanes) - 1) << first).ir, _I32)

        def exchanged(word):
            function = self._intrinsic("shfl.sync.bfly.i32", _I32, [_I32] * 4)
            return b.call(function, [members, word, _I32(mask), _I32(self.WARP - 1)])
        size = SIZES[x.type]
        if size < 4:
            return x._make(b.trunc(exchanged(b.zext(x.ir, _I32)), _TYPES[x.type]))
        if size == 4:
            word = exchanged(b.bitcast(x.ir, _I32))
            return x._make(b.bitcast(word, _TYPES[x.type]))
        bits = b.bitcast(x.ir, _I64)
        low, high = exchanged(b.trunc(bits, _I32)), exchanged(b.trunc(b.lshr(bits, _I64(32)), _I32))
        whole = b.or_(b.zext(low, _I64), b.shl(b.zext(high, _I64), _I64(32)))
        return x._make(b.bitcast(whole, _TYPES[x.type]))

    def prefetch(self, base, index, type):
        """An entry's line of memory shall come to the cache that all multiprocessors share."""
        b, kind = self.builder, ir.FunctionType(ir.VoidType(), [_I64])
        place = base if index is None else base + index * SIZES[type]
        b.call(ir.InlineAsm(kind, "prefetch.global.L2 [$0];", "l", side_effect=True), [place.ir])

    def _shared_place(self, offset, index, type):
        b = self.builder
        place = b.bitcast(b.gep(self._shared, [_I64(0), offset.ir]), _TYPES[type].as_pointer(3))
        return place if index is None else b.gep(place, [index.ir])


class Simulated(SimulatedFragments, Threads):
    """For the processor we are on. context: the address of the words in which simulator.py says who the thread is."""

    ARGUMENTS = "t", "rows", "context"
    THREAD, BLOCK, SHARED, EXCHANGE, WAIT, EVERYBODY, NEIGHBOURS = range(7)
    WARP = 4
    EXCHANGED = 32                           # bytes in which a thread shows what it has to others of its warp

    def __init__(self, scopes=0, threads=None):
        super().__init__(scopes, threads)
        b = self._head
        words = b.inttoptr(self.context.ir, _I64.as_pointer())
        self._context = [Value(self.builder, b.load(b.gep(words, [_I64(k)])), "i64") for k in range(7)]
        self.thread, self.block = self._context[self.THREAD], self._context[self.BLOCK]

    def finish(self):
        self.barrier()                       # the next block of this thread uses the same shared memory
        return super().finish()

    def _wait(self, whom):
        b = self.builder
        function = ir.FunctionType(_I32, [_I64])
        b.call(b.inttoptr(self._context[self.WAIT].ir, function.as_pointer()), [self._context[whom].ir])

    def barrier(self):
        self._wait(self.EVERYBODY)

    def shuffled(self, x, mask, lanes):
        exchange = self._context[self.EXCHANGE]
        self.store(exchange + self.thread * self.EXCHANGED, None, x)
        self._wait(self.NEIGHBOURS)
        found = self.load(exchange + (self.thread ^ mask) * self.EXCHANGED, None, x.type)
        self._wait(self.NEIGHBOURS)
        return found

    def prefetch(self, base, index, type):
        pass

    def _shared_place(self, offset, index, type):
        return self._address(self._context[self.SHARED] + offset, index, type)
