"""Calling a compiled program: from Python's arguments to its kernels in a tenth of a microsecond.

What it is: `Entry`, a program's table, words and patches behind a function of Python's own kind (a builtin made from native.py's machine code), which
checks its arguments, fills in their addresses and walks the table. Where Python's or NumPy's objects do not look as expected (another
implementation of Python, a build without the interpreter lock) a Python function with the same meaning takes its place.

What it is not: it converts nothing and decides nothing about threads (threads.py); outputs are the caller's, except where `returning` can make them.
"""
import contextlib
import ctypes
import functools
import os
import sys
import threading
import weakref

import numpy as np

from . import blas, blocks, compile, machine, threads
from .blocks import CONVERT, REENTERED
from .memory import address

_FASTCALL, _KEYWORDS = 0x0080, 0x0002       # METH_FASTCALL, METH_KEYWORDS
_PYTHON = ("PyLong_FromLongLong", "PyLong_AsLongLong", "PyEval_SaveThread", "PyEval_RestoreThread", "Py_IncRef", "Py_DecRef", "PyTuple_New", "PyTuple_SetItem",
           "PyObject_Vectorcall", "_Py_NoneStruct")
_NUMPY = {"PyArray_Scalar": 60, "PyArray_Empty": 184}              # places in NumPy's table of functions, which only ever grows


class _MethodDef(ctypes.Structure):
    """PyMethodDef."""
    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


@functools.lru_cache(maxsize=None)
def _provide():
    """What native.py's code calls has an address."""
    for name in _PYTHON:
        machine.provide(name, ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = pointer(np._core._multiarray_umath._ARRAY_API, None)
    for name, place in _NUMPY.items():
        machine.provide(name, ctypes.c_void_p.from_address(table + 8 * place).value)


@functools.lru_cache(maxsize=None)
def _addresses():
    _provide()
    return machine.kernel("runtime", _module, quick=True).addresses


def _module():
    from . import native                    # and with it what writes LLVM's IR
    return native.build()


@functools.lru_cache(maxsize=None)
def _turns():
    machine.provide("diffeng_walk", _addresses()["walk"])

    def module():
        from . import native_turns
        return native_turns.build_turns()
    return machine.kernel("turns", module, quick=True).addresses


def ahead():
    """Where native.py's code is not on disk, LLVM will be needed: it is loaded while a function is recorded."""
    _provide()
    if machine.known("runtime") is None:
        from . import image, planning           # noqa: F401  what the first plan asks for; first, for extension modules wait for a library that is being loaded
        compile.load_meanwhile()


def begin():
    """LLVM begins with native.py's code, where it is not on disk: every program needs it, and its graph is planned meanwhile."""
    _provide()
    machine.begin("runtime", _module, quick=True)


@functools.lru_cache(maxsize=None)
def function(name):
    """native.py's rest, worker or halt: a ctypes function of one 64-bit integer that releases the interpreter lock; but for `rest`, which is timed, and would wait for
    that lock for 5 ms behind a thread that compiles."""
    return (ctypes.PYFUNCTYPE if name == "rest" else ctypes.CFUNCTYPE)(None, ctypes.c_int64)(_addresses()[name])


def region():
    """The address of native.py's region."""
    return _addresses()["region"]


@functools.lru_cache(maxsize=None)
def _walk():
    """native.py's walk, for calls with the interpreter lock."""
    return ctypes.PYFUNCTYPE(None, *[ctypes.c_int64] * 3)(_addresses()["walk"])


_methods = {}


def _builtin(name, block):
    """A builtin whose `self` is the block. Builtins point to their PyMethodDef, so it stays: setdefault, for two threads may make it at once."""
    addresses = _turns() if name == "repeat" else _addresses()
    method = _methods.setdefault(name, _MethodDef(name.encode(), addresses[name], _FASTCALL, None))
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    return new(ctypes.addressof(method), block, None)


@functools.lru_cache(maxsize=None)
def dispatching(cls):
    """A method for a class whose __slots__ begin with two callables: `self(*arguments)` is `first(*arguments)`, or, where that is None, `second(self,
    *arguments)`. Python finds a class's `__call__` that is a builtin method in a third of the time that it takes to run one of its own."""
    method = _methods.setdefault("first_or_second", _MethodDef(b"__call__", _addresses()["first_or_second"], _FASTCALL | _KEYWORDS, None))
    new = ctypes.pythonapi.PyDescr_NewMethod
    new.restype, new.argtypes = ctypes.py_object, [ctypes.py_object, ctypes.c_void_p]
    return new(cls, ctypes.addressof(method))


@functools.lru_cache(maxsize=None)
def as_expected():
    """Do objects look as native.py reads them? Tried on arrays and scalars of known content."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8 or np.ndarray.__basicsize__ < blocks.FLAGS + 8:
        return False
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False

    def word(x, offset, kind=ctypes.c_int64):
        return kind.from_address(id(x) + offset).value
    whole = np.arange(24.0).reshape(2, 3, 4)
    for x in (whole, whole[:, 1:], whole.astype(np.float32), np.array(3), np.zeros((5, 0), bool)):
        lengths = (ctypes.c_int64 * x.ndim).from_address(word(x, blocks.DIMENSIONS)) if x.ndim else ()
        seen = (word(x, blocks.TYPE), word(x, blocks.DATA), word(x, blocks.ND, ctypes.c_int32), tuple(lengths), word(x, blocks.DESCR),
                word(x, blocks.FLAGS, ctypes.c_int32) & blocks.WANTED == blocks.WANTED)
        if seen != (id(np.ndarray), x.ctypes.data, x.ndim, x.shape, id(x.dtype), x.flags.c_contiguous and x.flags.aligned):
            return False
    pair = 1.5, whole
    if word(pair, blocks.LENGTH) != 2 or word(pair, blocks.ITEMS + 8) != id(whole):
        return False
    slots = _Slots()
    slots.first, slots.second = pair
    if (word(slots, blocks.FIRST), word(slots, blocks.SECOND)) != (id(pair[0]), id(whole)):
        return False
    pairs = ((1.5, ctypes.c_double), (np.float64(-2.25), ctypes.c_double), (np.float32(0.75), ctypes.c_float), (np.int64(-7), ctypes.c_int64))
    return all(word(x, blocks.TYPE) == id(type(x)) and word(x, blocks.VALUE, kind) == x for x, kind in pairs)


class _Slots:
    """As `dispatching` expects it."""
    __slots__ = ("first", "second", "__dict__", "__weakref__")


def _scalars(shape, dtype):
    """The types of scalars that may stand for an input: their value lies in the object. None but for axes-less numbers of plain kinds."""
    if shape or dtype.kind not in "fiub" or dtype.itemsize > 8:
        return 0, 0
    return id(dtype.type), id(float) if dtype == np.float64 else id(dtype.type)


class _Block(np.ndarray):
    """The context's words. A builtin holds its block, and the block holds whatever the words point to."""


class Entry:
    """A program that can be called.

    inputs: (shape, dtype) of each. outputs: how many. words: int64 array, the operand tables of all kernels one after the other; patches: (word,
    slot, byte offset), the words that are the address of an argument (inputs first, then outputs) plus an offset. table: (address of a kernel,
    index of its first word, rows, rows a chunk: see threads.split). status: int64 array of one word, where kernels leave a code that is not 0.
    release: give up the interpreter lock (worth it above some 20 us). products: kernels call BLAS, which must be serial meanwhile. wide: do several threads
    share rows (None: as the table says)?
    keep: what must live as long as the program (arena, constants).

    run(*inputs, *outputs) computes and returns the status (0: fine), or CONVERT, with nothing touched, if an input is not an aligned C-contiguous
    ndarray of exactly its shape and dtype (or, for a float64 without axes, a float; likewise NumPy's scalars): the caller converts with
    np.array(x, dtype, order="C") and calls again. Outputs are trusted: fresh arrays.

    repeat(slots, first, last, until) is many calls in a row, those number first .. last - 1, without Python between them. slots: int64 array, four words for each
    argument: its address in call 0, in odd calls, in even calls after it, and the bytes that are added with each call. until: None, or two int64 words: a call
    that leaves 0 in the first byte, as an output may do, is the last one; its number is in the second word then, and its status of no account. Nothing is
    checked but for a call under way.

    A program with work for NumPy in between uses

        with entry.call(*inputs, *outputs) as (code, stretch):
            stretch(first, last)                   rows of the table

    where code is 0 or CONVERT, and `entry.code` has the status afterwards.

    >>> nothing = Entry([((3,), np.float64)], 1, np.zeros(1, np.int64), [], [], np.zeros(1, np.int64))
    >>> nothing.run(np.zeros(3), np.zeros(3)), nothing.run(np.zeros(4), np.zeros(3))
    (0, -1)
    """

    def __init__(self, inputs, outputs, words, patches, table, status, release=False, products=False, wide=None, keep=()):
        inputs = [(tuple(shape), np.dtype(dtype)) for shape, dtype in inputs]
        specs = [x for shape, dtype in inputs for x in (id(dtype), len(shape), *_scalars(shape, dtype), *shape)]
        patches = np.array(patches, np.int64).reshape(-1, 3)
        base = address(words)
        rows = np.array([(kernel, base + 8 * first, n, chunk) for kernel, first, n, chunk in table], np.int64).reshape(-1, 4)
        specs = np.array(specs, np.int64)
        block = np.zeros(blocks.CONTEXT, np.int64).view(_Block)
        for k, x in ((blocks.STATUS, address(status)), (blocks.INPUTS, len(inputs)), (blocks.ARGUMENTS, len(inputs) + outputs), (blocks.TABLE, address(rows)),
                     (blocks.ROWS, len(rows)), (blocks.WORDS, base), (blocks.PATCHES, address(patches)), (blocks.PATCHED, len(patches)),
                     (blocks.SPECS, address(specs)), (blocks.RELEASE, release), (blocks.PRODUCTS, products and blas.threads()[0] != 0),
                     (blocks.NDARRAY, id(np.ndarray)), (blocks.POOL, threads.pool())):
            block[k] = x
        block.keep = (words, patches, rows, specs, status, [dtype for _, dtype in inputs], keep)
        self._block, self.lock, self.code, self.release = block, threading.RLock(), 0, release
        wide = bool(np.any(rows[:, 3] < rows[:, 2])) if wide is None else wide
        native_calls = as_expected()
        if native_calls:
            run, self._begin, self._stretch, self._end = (_builtin(name, block) for name in ("run", "begin", "stretch", "end"))
            self._repeating = lambda: _builtin("repeat", block)
        else:
            python = _InPython(block, inputs, words, patches, status)
            run, self._begin, self._stretch, self._end, self._repeating = python.run, python.begin, python.stretch, python.end, lambda: python.repeat
        self._ready = threads.start if wide else None
        # With the interpreter lock held from beginning to end nobody else can be in the same memory, and the builtin is all there is.
        self._alone = native_calls and not release and not wide
        self.run, self._repeat = self._shared(run), None
        _entries.add(self)

    def repeat(self, slots, first, last, until=None):
        """See the class."""
        if self._repeat is None:
            self._repeat = self._shared(self._repeating())
        return self._repeat(address(slots), first, last, 0 if until is None else address(until))

    def _shared(self, function):
        return function if self._alone else _guarded(function, self.lock, self._ready)

    def returning(self, outputs, single=False, scalars=True):
        """results(*inputs), which makes the arrays that run writes into: a tuple of them, `scalars` where there is no axis; with `single` the one. None
        where run would return another status than 0. outputs: (shape, dtype) of each. No such function (None) for a program that other threads may meet.

        >>> nothing = Entry([((3,), np.float64)], 1, np.zeros(1, np.int64), [], [], np.zeros(1, np.int64))
        >>> nothing.returning([((2,), np.dtype(bool))], single=True)(np.zeros(3)).shape
        (2,)
        """
        if not self._alone:
            return None
        scalars = [None if shape or not scalars else np.zeros((), dtype) for shape, dtype in outputs]
        words = [x for held, (shape, dtype) in zip(scalars, outputs) for x in (0 if held is None else id(held), id(dtype), len(shape), *shape)]
        fresh = np.array(words, np.int64)
        for k, x in ((blocks.OUTPUTS, len(outputs)), (blocks.FRESH, address(fresh)), (blocks.SINGLE, single), (blocks.NONE, id(None))):
            self._block[k] = x
        self._block.made = (scalars, fresh, outputs)
        return _builtin("results", self._block)

    @contextlib.contextmanager
    def call(self, *arrays):
        """See the class."""
        within = self.lock._is_owned()                       # a call of this thread's is under way
        with self.lock:
            if self._ready is not None:
                self._ready()
            if self._block[blocks.BUSY]:
                if within:
                    raise _reentered()
                self._end()                                  # which a signal kept the last call from
            try:
                yield self._begin(*arrays), self._stretch
            finally:                                         # wherever a signal came
                if self._block[blocks.BUSY]:
                    self.code = self._end()


def _guarded(run, lock, ready):
    """run, where another Python thread could come in between: it waits. The lock costs 0.2 us, a hundredth of what such programs take.

    A function and not a method: an entry that held its own method would not be freed, nor its arena, before the next garbage collection.
    """
    def guarded(*arrays):
        with lock:
            if ready is not None:
                ready()
            code = run(*arrays)
        if code == REENTERED:
            raise _reentered()
        return code
    return guarded


class _InPython:
    """The same functions in Python, but for the walk itself."""

    def __init__(self, block, inputs, words, patches, status):
        self.block, self.inputs, self.words, self.patches, self.status = block, inputs, words, patches.tolist(), status

    def run(self, *arrays):
        code = self.begin(*arrays)
        if code:
            return code
        self.stretch(0, int(self.block[blocks.ROWS]))
        return self.end()

    def repeat(self, slots, first, last, until):
        if self.block[blocks.BUSY]:
            return REENTERED
        self.block[blocks.BUSY] = 1
        rows = [(ctypes.c_int64 * 4).from_address(slots + 32 * k) for k in range(self.block[blocks.ARGUMENTS])]
        for turn in range(first, last):
            for word, slot, offset in self.patches:
                self.words[word] = rows[slot][0 if turn == 0 else 1 if turn % 2 else 2] + turn * rows[slot][3] + offset
            self.stretch(0, int(self.block[blocks.ROWS]))
            if until and not ctypes.c_uint8.from_address(until).value:
                ctypes.c_int64.from_address(until + 8).value = turn
                self.end()
                return 0
            if until and self.status[0]:
                break
        return self.end()

    def begin(self, *arrays):
        if len(arrays) != self.block[blocks.ARGUMENTS]:
            return CONVERT
        for x, (shape, dtype) in zip(arrays, self.inputs):
            if type(x) is not np.ndarray or x.dtype != dtype or x.shape != shape or not (x.flags.c_contiguous and x.flags.aligned):
                return CONVERT
        if self.block[blocks.BUSY]:
            return REENTERED
        self.block[blocks.BUSY] = 1
        for word, slot, offset in self.patches:
            self.words[word] = address(arrays[slot]) + offset
        return 0

    def stretch(self, first, last):
        _walk()(address(self.block), first, last)
        return 0

    def end(self):
        code = int(self.status[0])
        self.status[0] = self.block[blocks.BUSY] = 0
        return code


def _reentered():
    return RuntimeError("a compiled program was called from within its own call (by a finalizer or a signal handler): its memory serves one call at a time; "
                        "call it outside")


_entries = weakref.WeakSet()


def _after_fork():
    """Another thread of the parent may have been inside: the child has no such thread."""
    for entry in list(_entries):
        entry.lock._at_fork_reinit()
        entry._block[blocks.BUSY] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
