"""Machine code in this process: the store of kernels by text, the way from disk, BLAS by address, and the driver.

What it is: `kernel(text)` finds a kernel in the process, else on disk (cache.py), else has it compiled (cpu.py, which imports numba only then).
All kernels have the C signature (table address, lo, hi); `driver()` is the one function that walks a program's table.

What it is not: it writes no code and knows no primitive.
"""
import ctypes
import functools
import threading

import llvmlite.binding as llvm

from . import cache, source

compilations = 0                          # kernels compiled in this process
_kernels = {}                             # text -> Kernel: the text is the structure, so it is its own key
_lock = threading.RLock()


class Kernel:
    """Machine code: its address, a ctypes function for it (which releases the interpreter lock), and what keeps both alive."""

    __slots__ = ("address", "call", "_engine")

    def __init__(self, compiled, arguments):
        self._engine = _engine()
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(compiled["code"]))
        self._engine.finalize_object()
        self.address = self._engine.get_function_address(compiled["symbol"])
        self.call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)(self.address)


@functools.lru_cache(maxsize=None)
def _target():
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for library in ("libm.so.6", "libm.dylib", "ucrtbase.dll"):            # a process need not have loaded the mathematics kernels call
        try:
            llvm.load_library_permanently(library)
            break
        except RuntimeError:
            continue
    # numba's C wrapper of a function that LLVM did not inline ends in a path that reports a Python exception.
    # Kernels raise none: the path is dead, but must link.
    for name, function in (("numba_gil_ensure", ctypes.pythonapi.PyGILState_Ensure), ("numba_gil_release", ctypes.pythonapi.PyGILState_Release)):
        if llvm.address_of_symbol(name) is None:
            llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)
    return llvm.Target.from_default_triple()


def _engine():
    """A place for one object file. Symbols it leaves open (exp, sin, ...) are those of the C library and of Python."""
    machine = _target().create_target_machine(codemodel="jitdefault", jit=True)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


def _linkable(compiled):
    _target()
    return all(llvm.address_of_symbol(name) is not None for name in compiled["needs"])


def kernel(text, arguments=3):
    """The kernel of a text, compiled at most once in a process and, with a cache on disk, once on a machine."""
    global compilations
    found = _kernels.get(text)
    if found is None:
        with _lock:
            found = _kernels.get(text)
            if found is None:
                kept = cache.find(text, arguments)
                if kept is None or not _linkable(kept):
                    from . import cpu
                    kept = cpu.compile_kernel(text, arguments)
                    compilations += 1
                    cache.keep(text, arguments, kept)
                found = _kernels[text] = Kernel(kept, arguments)
    return found


def gemm_address(name):
    """Where scipy's BLAS has dgemm or sgemm: the pointer in the capsule that scipy exports to Cython."""
    from scipy.linalg import cython_blas
    capsule = cython_blas.__pyx_capi__[{"f64": "dgemm", "f32": "sgemm"}[name]]
    get_name, get_pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get_pointer(capsule, get_name(capsule))


def driver():
    """The function that walks a table: (table, rows of it, words, bases, patches, number of patches)."""
    return kernel(source.DRIVER, 6).call
