"""Machine code in this process: the store of kernels by key, and the way there from disk or from LLVM IR.

What it is: `kernel(key, build)` finds a kernel in the process, else on disk (cache.py), else builds its IR and compiles it (compile.py).
A kernel is a C function (address of a table of words, lo, hi) that computes rows lo..hi.

What it is not: it writes no code and knows no primitive.
"""
import ctypes
import functools
import hashlib
import os
import threading

import llvmlite.binding as llvm

from . import cache, compile

compilations = 0                          # kernels compiled in this process
_kernels = {}                             # key -> Kernel
_lock = threading.RLock()


class Kernel:
    """Machine code, alive until the process ends. addresses: of each exported function by name; address: of the one named "kernel"."""

    __slots__ = ("addresses", "address")

    def __init__(self, compiled):
        engine = _engine()
        engine.add_object_file(llvm.ObjectFileRef.from_data(compiled["code"]))
        engine.finalize_object()
        self.addresses = {name: engine.get_function_address(symbol) for name, symbol in compiled["symbols"].items()}
        self.address = self.addresses.get("kernel")

    def __call__(self, table, lo, hi):
        """The kernel as a call from Python, without the interpreter lock: for tests and for looking at one kernel alone."""
        ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(self.address)(table, lo, hi)


@functools.lru_cache(maxsize=None)
def _engine():
    """The place of all object code. Symbols it leaves open (exp, memcpy, ...) are those of the C library."""
    machine = compile.target_machine()
    for library in ("libm.so.6", "libm.dylib", "ucrtbase.dll"):            # a process need not have loaded the mathematics kernels call
        try:
            llvm.load_library_permanently(library)
            break
        except RuntimeError:
            continue
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


def _missing(compiled):
    _engine()
    return [name for name in compiled["needs"] if llvm.address_of_symbol(name) is None]


def kernel(key, build, quick=False):
    """The kernel of a key, compiled at most once in a process and, with a cache on disk, once on a machine.

    key: a string that says all the code depends on. build(): an llvmlite.ir.Module in which the functions to call ("kernel") are external and
    all helpers internal; called only if the kernel is found nowhere. quick: compile fast rather than well. Raises RuntimeError if the code needs a
    function that this process lacks.
    """
    found = _kernels.get(key)
    if found is None:
        with _lock:
            found = _kernels.get(key)
            if found is None:
                found = _kernels[key] = Kernel(_from_disk(key) or _compiled(key, build, quick))
    return found


def known(key):
    """A kernel that is in the process or on disk, else None."""
    found = _kernels.get(key)
    if found is None:
        with _lock:
            found = _kernels.get(key)
            kept = _from_disk(key) if found is None else None
            if kept is not None:
                found = _kernels[key] = Kernel(kept)
    return found


def _from_disk(key):
    kept = cache.find(key)
    return kept if kept is not None and not _missing(kept) else None      # a symbol may be gone where the C library changed


def _compiled(key, build, quick):
    global compilations
    made = compile.compile_module(build(), hashlib.sha256(key.encode()).hexdigest()[:24], quick)
    missing = _missing(made)
    if missing:                            # LLVM would end the process
        raise RuntimeError(f"a kernel calls {', '.join(missing)}, which no library of this process has: "
                           "load the library first (llvm.load_library_permanently)")
    compilations += 1
    cache.keep(key, made)
    return made


if hasattr(os, "register_at_fork"):        # a child of a process that is compiling would wait for ever for a thread it does not have
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
