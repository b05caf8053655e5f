"""BLAS by address, without importing scipy.

What it is: `gemm(type)`, `gemv(type)` and `threads()`. NumPy computes its products with an OpenBLAS that lies in the process already, so it is the one kernels
call: importing scipy.linalg (0.1 s and more) would bring a second OpenBLAS with a second pool of threads. NumPy offers no way to it, but a
shared library that is loaded can be opened by its path, and its symbols are public; how they are called depends on who built it:
scipy_dgemm_64_ in NumPy's wheels, dgemm_64_, dgemm_64 or dgemm_ elsewhere. A suffix with 64 tells the width of the integers.
Where no such library is found (Accelerate, MKL under a single name, a static build) scipy's pointers serve, whose integers have 32 bits.

What it is not: no product is written here, and nobody else's settings are changed here.
"""
import ctypes
import functools
import glob
import os

import numpy as np

_LETTERS = {"f64": "d", "f32": "s"}
_FORMS = [("scipy_{0}_64_", 64), ("{0}_64_", 64), ("scipy_{0}_", 32), ("{0}_", 32)]             # OpenBLAS's symbols, those of the wheels first
_THREADS = ["scipy_openblas_{0}_num_threads64_", "openblas_{0}_num_threads64_", "scipy_openblas_{0}_num_threads", "openblas_{0}_num_threads"]
_CORES = ["scipy_openblas_get_corename64_", "openblas_get_corename64_", "scipy_openblas_get_corename", "openblas_get_corename"]

def _candidates():
    """Paths of libraries that NumPy may have its BLAS from: beside the package in a wheel, else what the process has loaded."""
    package = os.path.dirname(np.__file__)
    for folder in (os.path.join(os.path.dirname(package), "numpy.libs"), os.path.join(package, ".libs"), os.path.join(package, ".dylibs")):
        yield from sorted(glob.glob(os.path.join(glob.escape(folder), "*openblas*")))
    try:
        with open("/proc/self/maps") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    yield from sorted({line[line.index("/"):] for line in lines if "/" in line and any(name in os.path.basename(line) for name in ("openblas", "libblas"))
                       and "scipy.libs" not in line})


@functools.lru_cache(maxsize=None)
def _library():
    """(library, form of its names, bits of its integers), or None. Only what is loaded already is opened: RTLD_NOLOAD."""
    loaded = getattr(os, "RTLD_NOLOAD", 0)
    for path in _candidates():
        try:
            library = ctypes.CDLL(path, mode=ctypes.DEFAULT_MODE | loaded)
        except OSError:
            continue
        for form, bits in _FORMS:
            if hasattr(library, form.format("dgemm")) and hasattr(library, form.format("sgemm")):
                return library, form, bits
    return None


def _address(function):
    return ctypes.cast(function, ctypes.c_void_p).value


def name_of(kind, type):
    """dgemm, sgemv, ...: kind "gemm" or "gemv", type "f64" or "f32"."""
    return _LETTERS[type] + kind


def gemm(type):
    """(address, bits of its integers) of Fortran's dgemm for "f64", sgemm for "f32": every argument by reference.

    >>> address, bits = gemm("f64")
    >>> address != 0 and bits in (32, 64)
    True
    """
    return routine(name_of("gemm", type))


def gemv(type):
    """(address, bits of its integers) of dgemv for "f64", sgemv for "f32"."""
    return routine(name_of("gemv", type))


class Routine:
    """A word: the address of one of BLAS's functions, by its name in Fortran."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name


def routine(name):
    """(address, bits of its integers) of a function of BLAS by its name in Fortran."""
    found = _library()
    if found is not None:
        library, form, bits = found
        return _address(getattr(library, form.format(name))), bits
    from scipy.linalg import cython_blas
    capsule = cython_blas.__pyx_capi__[name]
    get_name, get_pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get_pointer(capsule, get_name(capsule)), 32


def threads():
    """(address of int get(), address of void set(int)) of OpenBLAS's number of threads; (0, 0) where `gemm` is no OpenBLAS.

    >>> get, set = threads()
    >>> (get == 0) == (set == 0)
    True
    """
    found = _library()
    if found is not None:
        for form in _THREADS:
            get, set = (getattr(found[0], form.format(verb), None) for verb in ("get", "set"))
            if get is not None and set is not None:
                return _address(get), _address(set)
    return 0, 0


@functools.lru_cache(maxsize=None)
def has_small():
    """Does `gemm` compute small products by a kernel of their own, without packing? OpenBLAS does on processors with AVX-512."""
    found = _library()
    core = found and next((getattr(found[0], name) for name in _CORES if hasattr(found[0], name)), None)
    if core is None:
        return False
    core.restype = ctypes.c_char_p
    return core() in (b"SkylakeX", b"Cooperlake", b"SapphireRapids")
