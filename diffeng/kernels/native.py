"""The machinery around kernels, as LLVM IR: what checks a call, walks a program's table and shares rows among threads.

What it is: `build()`, one module of a few functions over two blocks of 8-byte words: a program's context (runtime.py fills it) and the process's
pool (threads.py). Compiled and kept like any kernel.

What it is not: nothing of a program's meaning is known. The only Python objects made here are what a call returns: an integer, or fresh results.

The pool in one paragraph. A region publishes a job (kernel, words, rows, chunk, threads) by making GENERATION odd, takes chunks like everybody, closes the
job by making GENERATION even, and waits until nobody is INSIDE. A worker counts itself INSIDE before it looks whether the job is open: so either it sees the
job closed, or the region sees the worker and waits for it, and no job is replaced while somebody reads it (both sides write first and read then, sequentially
consistent). A worker that finds nothing spins for a while, then sleeps in a futex on GENERATION; it counts itself among the SLEEPERS first, so a region that
sees none need not call the system.

Each thread has its share of the chunks, the same share of all rows in every region, and takes them by adding to its NEXT; only then does it take those that
others have left. So what a thread wrote it mostly reads itself: lines that another core has changed are slow to come (two loops over 100 000 entries, the
second reading what the first wrote: 70 us on one thread, 250 us on two that took chunks as they came, 36 us on two with shares).
"""
import contextlib
import platform

from llvmlite import ir

from .blocks import (STATUS, BUSY, INPUTS, ARGUMENTS, TABLE, ROWS, WORDS, PATCHES, PATCHED, SPECS, RELEASE, PRODUCTS, NDARRAY, POOL, OUTPUTS, FRESH,
                     SINGLE, NONE, TAKEN, GENERATION, INSIDE, SLEEPERS, STOP, WORKERS, SPINS, JOB, USERS, BEFORE, GET, SET, MOST, NEXT, TYPE, VALUE, DATA,
                     ND, DIMENSIONS, DESCR, FLAGS, LENGTH, ITEMS, FIRST, SECOND, WANTED, CONVERT, REENTERED, FUTEX)

_WAIT, _WAKE = 128, 129                    # FUTEX_WAIT and FUTEX_WAKE, private to the process

_I64, _I32, _VOID = ir.IntType(64), ir.IntType(32), ir.VoidType()


class Writer(ir.IRBuilder):
    """A builder of one function whose values are 64-bit integers, addresses among them."""

    def __init__(self, module, name, arguments, result=_I64, internal=True):
        function = ir.Function(module, ir.FunctionType(result, [_I64] * arguments), name)
        function.linkage = "internal" if internal else "external"
        super().__init__(function.append_basic_block("entry"))
        self.args = function.args

    def at(self, address, word=0):
        """A pointer to a word."""
        return self.inttoptr(self.add(address, _I64(8 * word)) if word else address, _I64.as_pointer())

    def word(self, address, word=0):
        return self.load(self.at(address, word))

    def half(self, address, offset):
        """32 bits at a byte offset."""
        return self.load(self.inttoptr(self.add(address, _I64(offset)), _I32.as_pointer()))

    def look(self, address, word):
        """A word that other threads write."""
        return self.load_atomic(self.at(address, word), "seq_cst", 8)

    def change(self, address, word, by):
        """Add to a word that other threads write; its value before."""
        return self.atomic_rmw("add", self.at(address, word), by if isinstance(by, ir.Value) else _I64(by), "seq_cst")

    def variable(self, value):
        with self.goto_entry_block():
            place = self.alloca(_I64)
        self.store(value, place)
        return place

    @contextlib.contextmanager
    def loop(self, condition):
        """while condition(): ..."""
        head, body, done = (self.append_basic_block(n) for n in ("head", "body", "done"))
        self.branch(head)
        self.position_at_end(head)
        self.cbranch(condition(), body, done)
        self.position_at_end(body)
        yield
        self.branch(head)
        self.position_at_end(done)

    @contextlib.contextmanager
    def count(self, first, last):
        """for i in range(first, last): ..."""
        i = self.variable(first)
        with self.loop(lambda: self.icmp_signed("<", self.load(i), last)):
            at = self.load(i)
            yield at
            self.store(self.add(at, _I64(1)), i)

    def leave_if(self, condition, value):
        with self.if_then(condition):
            self.ret(_I64(value))

    def smaller(self, a, b):
        return self.select(self.icmp_signed("<", a, b), a, b)

    def apply(self, address, *arguments, result=_VOID, kind=_I64):
        """A call by address."""
        function = ir.FunctionType(result, [kind] * len(arguments))
        return self.call(self.inttoptr(address, function.as_pointer()), arguments)


def build():
    """The module. External: run, results, begin, stretch, end (METH_FASTCALL functions of Python), first_or_second (a method of Python), walk, worker, halt
    and rest (for ctypes), region (for a loop's kernel)."""
    module = ir.Module("runtime")
    outside(module)
    for write in (_rest, _chunks, _region, _worker, _halt, _walk, _take, _run, _results, _parts, _first_or_second):
        write(module)
    return module


def outside(module):
    """Functions of the C library, of Python and of NumPy."""
    ir.Function(module, ir.FunctionType(_I64, [_I64]), "PyLong_FromLongLong")
    ir.Function(module, ir.FunctionType(_I64, [_I64]), "PyLong_AsLongLong")
    ir.Function(module, ir.FunctionType(_I64, []), "PyEval_SaveThread")
    ir.Function(module, ir.FunctionType(_VOID, [_I64]), "PyEval_RestoreThread")
    ir.Function(module, ir.FunctionType(_VOID, [_I64]), "Py_IncRef")
    ir.Function(module, ir.FunctionType(_VOID, [_I64]), "Py_DecRef")
    ir.Function(module, ir.FunctionType(_I64, [_I64]), "PyTuple_New")
    ir.Function(module, ir.FunctionType(_I32, [_I64] * 3), "PyTuple_SetItem")
    ir.Function(module, ir.FunctionType(_I64, [_I32, _I64, _I64, _I32]), "PyArray_Empty")
    ir.Function(module, ir.FunctionType(_I64, [_I64] * 3), "PyArray_Scalar")
    ir.Function(module, ir.FunctionType(_I64, [_I64] * 4), "PyObject_Vectorcall")
    ir.Function(module, ir.FunctionType(_VOID, []), "_Py_NoneStruct")          # no function, but as one it has an address
    if FUTEX:
        ir.Function(module, ir.FunctionType(_I64, [_I64], var_arg=True), "syscall")
        ir.Function(module, ir.FunctionType(_I32, []), "sched_yield")


# ---- threads ---------------------------------------------------------------------------------------------------------------

def _pause(b):
    """What tells the processor that it is spinning."""
    if platform.machine() in ("x86_64", "AMD64"):
        b.call(b.module.declare_intrinsic("llvm.x86.sse2.pause", fnty=ir.FunctionType(_VOID, [])), [])
    elif platform.machine() in ("aarch64", "arm64"):
        b.call(b.module.declare_intrinsic("llvm.aarch64.hint", fnty=ir.FunctionType(_VOID, [_I32])), [_I32(1)])


def _futex(b, pool, operation, value):
    if FUTEX:
        b.call(b.module.get_global("syscall"), [_I64(FUTEX), b.add(pool, _I64(8 * GENERATION)), _I64(operation), value, _I64(0), _I64(0), _I64(0)])


def odd(b, value):
    return b.trunc(value, ir.IntType(1))


def _rest(module):
    """rest(n): n pauses; ctypes times it once, so that a worker can spin for so many microseconds without asking a clock."""
    b = Writer(module, "rest", 1, _VOID, internal=False)
    with b.count(_I64(0), b.args[0]):
        _pause(b)
    b.ret_void()


def _chunks(module):
    """chunks(pool, thread, kernel, words, rows, chunk, threads): those of this thread's share, then what the others have left."""
    b = Writer(module, "chunks", 7, _VOID)
    pool, thread, kernel, words, rows, chunk, threads = b.args
    total = b.sdiv(b.add(rows, b.sub(chunk, _I64(1))), chunk)
    with b.count(_I64(0), threads) as k:
        owner = b.srem(b.add(thread, k), threads)
        first, end = (b.sdiv(b.mul(b.add(owner, _I64(j)), total), threads) for j in (0, 1))
        taken = b.add(pool, b.mul(owner, _I64(64)))
        at = b.variable(b.add(first, b.change(taken, NEXT, 1)))
        with b.loop(lambda: b.icmp_signed("<", b.load(at), end)):
            here = b.mul(b.load(at), chunk)
            b.apply(kernel, words, here, b.smaller(b.add(here, chunk), rows))
            b.store(b.add(first, b.change(taken, NEXT, 1)), at)
    b.ret_void()


def _region(module):
    """region(pool, kernel, words, rows, chunk): all rows, by whoever has time."""
    b = Writer(module, "region", 5, _VOID, internal=False)
    pool, kernel, words, rows, chunk = b.args
    alone = b.append_basic_block("alone")
    workers = b.word(pool, WORKERS)
    with b.if_then(b.icmp_signed("!=", workers, _I64(0))):
        job = (*b.args[1:], b.add(workers, _I64(1)))
        free = b.extract_value(b.cmpxchg(b.at(pool, TAKEN), _I64(0), _I64(1), "seq_cst"), 1)
        with b.if_then(free):
            for k, x in enumerate(job):
                b.store(x, b.at(pool, JOB + k))
            with b.count(_I64(0), job[-1]) as k:
                b.store(_I64(0), b.at(b.add(pool, b.mul(k, _I64(64))), NEXT))
            b.change(pool, GENERATION, 1)                              # open
            with b.if_then(b.icmp_signed(">", b.look(pool, SLEEPERS), _I64(0))):
                _futex(b, pool, _WAKE, b.sdiv(rows, chunk))           # chunks after the first, which is ours
            b.call(module.get_global("chunks"), [pool, _I64(0), *job])
            b.change(pool, GENERATION, 1)                              # closed
            turns = b.variable(_I64(0))
            with b.loop(lambda: b.icmp_signed("!=", b.look(pool, INSIDE), _I64(0))):
                _pause(b)
                b.store(b.add(b.load(turns), _I64(1)), turns)
                if FUTEX:                                          # its processor may be somebody else's for the moment: offer ours
                    with b.if_then(b.icmp_signed(">", b.load(turns), _I64(1000))):
                        b.call(module.get_global("sched_yield"), [])
            b.store_atomic(_I64(0), b.at(pool, TAKEN), "seq_cst", 8)
            b.ret_void()
    b.branch(alone)
    b.position_at_end(alone)                                           # no workers, or another Python thread has them: the same chunks in order
    lo = b.variable(_I64(0))
    with b.loop(lambda: b.icmp_signed("<", b.load(lo), rows)):
        here = b.load(lo)
        following = b.add(here, chunk)
        b.apply(kernel, words, here, b.smaller(following, rows))
        b.store(following, lo)
    b.ret_void()


def _worker(module):
    """worker(pool + number of the thread): until STOP."""
    b = Writer(module, "worker", 1, _VOID, internal=False)
    thread = b.and_(b.args[0], _I64(MOST - 1))
    pool = b.sub(b.args[0], thread)
    done, spins = b.variable(_I64(0)), b.variable(_I64(0))
    with b.loop(lambda: b.icmp_signed("==", b.look(pool, STOP), _I64(0))):
        generation = b.look(pool, GENERATION)
        with b.if_else(b.and_(odd(b, generation), b.icmp_signed("!=", generation, b.load(done)))) as (work, idle):
            with work:
                b.change(pool, INSIDE, 1)
                now = b.look(pool, GENERATION)
                with b.if_then(odd(b, now)):
                    b.call(module.get_global("chunks"), [pool, thread, *(b.word(pool, JOB + k) for k in range(5))])
                    b.store(now, done)
                b.change(pool, INSIDE, -1)
                b.store(_I64(0), spins)
            with idle:
                spun = b.load(spins)
                with b.if_else(b.icmp_signed("<", spun, b.word(pool, SPINS))) as (spin, sleep):
                    with spin:
                        _pause(b)
                        b.store(b.add(spun, _I64(1)), spins)
                    with sleep:
                        b.change(pool, SLEEPERS, 1)
                        _futex(b, pool, _WAIT, generation)             # returns at once if there is another job by now
                        b.change(pool, SLEEPERS, -1)
                        b.store(_I64(0), spins)
    b.ret_void()


def _halt(module):
    """halt(pool): workers leave; later regions run alone."""
    b = Writer(module, "halt", 1, _VOID, internal=False)
    pool, = b.args
    b.store_atomic(_I64(0), b.at(pool, WORKERS), "seq_cst", 8)
    b.store_atomic(_I64(1), b.at(pool, STOP), "seq_cst", 8)
    b.change(pool, GENERATION, 2)                                      # who is on the way to sleep does not
    _futex(b, pool, _WAKE, _I64(2 ** 31 - 1))
    b.ret_void()


# ---- calls -------------------------------------------------------------------------------------------------------------------

def entry(module, name):
    """A function of Python's METH_FASTCALL kind: its `self` is the array that holds the context."""
    b = Writer(module, name, 3, internal=False)
    return b, b.word(b.add(b.args[0], _I64(DATA)))


def answer(b, value):
    b.ret(b.call(b.module.get_global("PyLong_FromLongLong"), [value]))


def finish(b, context):
    """The program's memory is free again; the status its kernels left."""
    status = b.word(context, STATUS)
    code = b.word(status)
    b.store(_I64(0), b.at(status))
    b.store(_I64(0), b.at(context, BUSY))
    return code


def rows_of(b, table, first, last, share):
    """Rows of a table: kernel, words, rows, rows of a chunk. share: of these, shares a kernel's rows out."""
    with b.count(first, last) as i:
        row = b.add(table, b.mul(i, _I64(32)))
        kernel, words, rows, chunk = (b.word(row, k) for k in range(4))
        with b.if_else(b.icmp_signed(">=", chunk, rows)) as (small, large):
            with small:
                b.apply(kernel, words, _I64(0), rows)
            with large:
                share(kernel, words, rows, chunk)


def _walk(module):
    """walk(context, first, last): rows of the table. Called with the interpreter lock, which guards the counts of BLAS's users."""
    b = Writer(module, "walk", 3, _VOID, internal=False)
    context, first, last = b.args
    pool, release, products = b.word(context, POOL), b.word(context, RELEASE), b.word(context, PRODUCTS)
    thread = b.variable(_I64(0))
    yes = lambda x: b.icmp_signed("!=", x, _I64(0))
    with b.if_then(yes(products)):
        users = b.word(pool, USERS)
        with b.if_then(b.icmp_signed("==", users, _I64(0))):
            before = b.apply(b.word(pool, GET), result=_I32)
            b.store(b.sext(before, _I64), b.at(pool, BEFORE))
            with b.if_then(b.icmp_signed("!=", before, _I32(1))):
                b.apply(b.word(pool, SET), _I32(1), kind=_I32)
        b.store(b.add(users, _I64(1)), b.at(pool, USERS))
    with b.if_then(yes(release)):
        b.store(b.call(module.get_global("PyEval_SaveThread"), []), thread)
    rows_of(b, b.word(context, TABLE), first, last, lambda *row: b.call(module.get_global("region"), [pool, *row]))
    with b.if_then(yes(release)):
        b.call(module.get_global("PyEval_RestoreThread"), [b.load(thread)])
    with b.if_then(yes(products)):
        left = b.sub(b.word(pool, USERS), _I64(1))
        b.store(left, b.at(pool, USERS))
        before = b.word(pool, BEFORE)
        with b.if_then(b.and_(b.icmp_signed("==", left, _I64(0)), b.icmp_signed("!=", before, _I64(1)))):
            b.apply(b.word(pool, SET), b.trunc(before, _I32), kind=_I32)
    b.ret_void()


def _run(module):
    """run(*arguments): 0, and the whole program has run; or a status."""
    b, context = entry(module, "run")
    refused = b.call(module.get_global("take"), [context, *b.args[1:]])
    with b.if_then(b.icmp_signed("!=", refused, _I64(0))):
        answer(b, refused)
    b.call(module.get_global("walk"), [context, _I64(0), b.word(context, ROWS)])
    answer(b, finish(b, context))


def _parts(module):
    """begin(*arguments), stretch(first, last), ..., end(): a program in parts."""
    b, context = entry(module, "begin")
    answer(b, b.call(module.get_global("take"), [context, *b.args[1:]]))

    b, context = entry(module, "stretch")
    b.call(module.get_global("walk"), [context, *(b.call(module.get_global("PyLong_AsLongLong"), [b.word(b.args[1], k)]) for k in range(2))])
    answer(b, _I64(0))

    b, context = entry(module, "end")
    answer(b, finish(b, context))


def _take(module):
    """take(context, arguments, count): 0, and the addresses of this call stand in the words; or CONVERT or REENTERED, and nothing was touched."""
    b = Writer(module, "take", 3)
    context, arguments, count = b.args
    argument = lambda slot: b.word(b.add(arguments, b.mul(slot, _I64(8))))
    ndarray = b.word(context, NDARRAY)
    b.leave_if(b.icmp_signed("!=", count, b.word(context, ARGUMENTS)), CONVERT)
    spec = b.variable(b.word(context, SPECS))                          # of each input: descriptor, ndim, two types of scalars or 0, lengths of the axes
    with b.count(_I64(0), b.word(context, INPUTS)) as slot:
        x, here = argument(slot), b.load(spec)
        kind, ndim = b.word(b.add(x, _I64(TYPE))), b.word(here, 1)
        with b.if_else(b.icmp_signed("==", kind, ndarray)) as (array, scalar):
            with array:
                b.leave_if(b.icmp_signed("!=", b.word(b.add(x, _I64(DESCR))), b.word(here, 0)), CONVERT)
                b.leave_if(b.icmp_signed("!=", b.half(x, ND), b.trunc(ndim, _I32)), CONVERT)
                b.leave_if(b.icmp_signed("!=", b.and_(b.half(x, FLAGS), _I32(WANTED)), _I32(WANTED)), CONVERT)
                lengths, wanted = b.word(b.add(x, _I64(DIMENSIONS))), b.add(here, _I64(32))
                with b.count(_I64(0), ndim) as axis:
                    at = b.mul(axis, _I64(8))
                    b.leave_if(b.icmp_signed("!=", b.word(b.add(lengths, at)), b.word(b.add(wanted, at))), CONVERT)
            with scalar:
                known = b.or_(*(b.icmp_signed("==", kind, b.word(here, k)) for k in (2, 3)))
                b.leave_if(b.not_(known), CONVERT)
        b.store(b.add(here, b.mul(b.add(ndim, _I64(4)), _I64(8))), spec)
    b.leave_if(b.icmp_signed("!=", b.word(context, BUSY), _I64(0)), REENTERED)
    b.store(_I64(1), b.at(context, BUSY))
    with patches(b, context) as (put, number):
        x = argument(number)
        is_array = b.icmp_signed("==", b.word(b.add(x, _I64(TYPE))), ndarray)
        data = b.variable(b.add(x, _I64(VALUE)))
        with b.if_then(is_array):
            b.store(b.word(b.add(x, _I64(DATA))), data)
        put(b.load(data))
    b.ret(_I64(0))


@contextlib.contextmanager
def patches(b, context):
    """Of each word that is the address of an argument: put(address), which writes it, and the number of the argument."""
    words, first = b.word(context, WORDS), b.word(context, PATCHES)
    with b.count(_I64(0), b.word(context, PATCHED)) as k:              # (word, slot, byte offset)
        patch = b.add(first, b.mul(k, _I64(24)))
        yield lambda address: b.store(b.add(address, b.word(patch, 2)), b.at(b.add(words, b.mul(b.word(patch, 0), _I64(8))))), b.word(patch, 1)


def _first_or_second(module):
    """first_or_second(self, *arguments): what the object in the first slot of self gives, called with the arguments; where that is None, or arguments are
    given by name, what the one in the second slot gives, called with self and the arguments. Of Python's METH_FASTCALL | METH_KEYWORDS kind."""
    b = Writer(module, "first_or_second", 4, internal=False)
    given, arguments, count, names = b.args
    none = b.ptrtoint(module.get_global("_Py_NoneStruct"), _I64)
    call = lambda name, *these: b.call(module.get_global(name), these)
    with b.if_then(b.icmp_signed("==", names, _I64(0))):
        first = b.word(b.add(given, _I64(FIRST)))
        call("Py_IncRef", first)                                       # another one may be put there meanwhile
        result = call("PyObject_Vectorcall", first, arguments, count, names)
        call("Py_DecRef", first)
        with b.if_then(b.icmp_signed("!=", result, none)):
            b.ret(result)
        call("Py_DecRef", none)
    named = b.variable(_I64(0))
    with b.if_then(b.icmp_signed("!=", names, _I64(0))):               # a tuple
        b.store(b.word(b.add(names, _I64(LENGTH))), named)
    every = b.add(count, b.load(named))
    whole = b.ptrtoint(b.alloca(_I64, b.add(every, _I64(1))), _I64)
    b.store(given, b.at(whole))
    with b.count(_I64(0), every) as k:
        at = b.mul(k, _I64(8))
        b.store(b.word(b.add(arguments, at)), b.at(b.add(whole, at), 1))
    b.ret(call("PyObject_Vectorcall", b.word(b.add(given, _I64(SECOND))), whole, b.add(count, _I64(1)), names))


def _results(module):
    """results(*inputs): as run, into fresh arrays, which it returns with the scalars among the results: a tuple, or the one that there is. None where run would
    return another status than 0. An array is made before it is known whether it is needed: making one may run others' code, which may call this program."""
    b, context = entry(module, "results")
    call = lambda name, *arguments: b.call(module.get_global(name), arguments)
    inputs, outputs, none = b.word(context, INPUTS), b.word(context, OUTPUTS), b.word(context, NONE)

    def give(x):
        call("Py_IncRef", x)
        b.ret(x)
    with b.if_then(b.icmp_signed("!=", b.args[2], inputs)):
        give(none)
    count = b.add(inputs, outputs)
    arguments = b.ptrtoint(b.alloca(_I64, count), _I64)
    with b.count(_I64(0), inputs) as k:
        b.store(b.word(b.add(b.args[1], b.mul(k, _I64(8)))), b.at(b.add(arguments, b.mul(k, _I64(8)))))
    made = call("PyTuple_New", outputs)
    with b.if_then(b.icmp_signed("==", made, _I64(0))):
        b.ret(_I64(0))

    @contextlib.contextmanager
    def each():
        """Of each output: its place, and where its words begin: array of a scalar or 0, descriptor, ndim, lengths of the axes."""
        fresh = b.variable(b.word(context, FRESH))
        with b.count(_I64(0), outputs) as k:
            here = b.load(fresh)
            yield k, here, b.word(here, 0)
            b.store(b.add(here, b.mul(b.add(b.word(here, 2), _I64(3)), _I64(8))), fresh)

    def put(k, x):
        with b.if_then(b.icmp_signed("==", x, _I64(0))):              # no memory: NumPy has said so
            call("Py_DecRef", made)
            b.ret(_I64(0))
        call("PyTuple_SetItem", made, k, x)
    with each() as (k, here, held):
        array = b.variable(held)
        with b.if_then(b.icmp_signed("==", held, _I64(0))):
            descriptor = b.word(here, 1)
            call("Py_IncRef", descriptor)                              # PyArray_Empty keeps a reference
            b.store(call("PyArray_Empty", b.trunc(b.word(here, 2), _I32), b.add(here, _I64(24)), descriptor, _I32(0)), array)
            put(k, b.load(array))
        b.store(b.load(array), b.at(b.add(arguments, b.mul(b.add(inputs, k), _I64(8)))))
    code = b.variable(call("take", context, arguments, count))
    with b.if_then(b.icmp_signed("==", b.load(code), _I64(0))):
        call("walk", context, _I64(0), b.word(context, ROWS))
        b.store(finish(b, context), code)
    with b.if_then(b.icmp_signed("!=", b.load(code), _I64(0))):
        call("Py_DecRef", made)
        give(none)
    with each() as (k, here, held):
        with b.if_then(b.icmp_signed("!=", held, _I64(0))):
            put(k, call("PyArray_Scalar", b.word(b.add(held, _I64(DATA))), b.word(here, 1), _I64(0)))
    with b.if_then(b.icmp_signed("!=", b.word(context, SINGLE), _I64(0))):
        only = b.word(b.add(made, _I64(ITEMS)))
        call("Py_IncRef", only)
        call("Py_DecRef", made)
        b.ret(only)
    b.ret(made)
