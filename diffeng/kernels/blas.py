"""BLAS by address, without importing scipy.

What it is: `gemm(type)`, `gemv(type)`, `threads()` and `name()`. NumPy computes its products with an OpenBLAS that lies in the process already, so it is the one
kernels call, unless Intel's MKL is installed (the extra `mkl`) and has kernels of its own for this processor: importing scipy.linalg (0.1 s and more) would bring a second OpenBLAS with a second pool of threads. NumPy offers no way to it, but a
shared library that is loaded can be opened by its path, and its symbols are public; how they are called depends on who built it:
scipy_dgemm_64_ in NumPy's wheels, dgemm_64_, dgemm_64 or dgemm_ elsewhere. A suffix with 64 tells the width of the integers.
Where no such library is found (Accelerate, a static build) scipy's pointers serve, whose integers have 32 bits.

What it is not: no product is written here, and nobody else's settings are changed here: an MKL that NumPy has loaded keeps its own.

DIFFENG_BLAS=numpy in the environment: do without MKL where it is installed.
"""
import ctypes
import functools
import glob
import os
import site
import sys
import typing

import numpy as np

_LETTERS = {"f64": "d", "f32": "s"}
_FORMS = [("scipy_{0}_64_", 64), ("{0}_64_", 64), ("scipy_{0}_", 32), ("{0}_", 32)]             # OpenBLAS's symbols, those of the wheels first
_THREADS = [("scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"), ("openblas_get_num_threads64_", "openblas_set_num_threads64_"),
            ("scipy_openblas_get_num_threads", "scipy_openblas_set_num_threads"), ("openblas_get_num_threads", "openblas_set_num_threads"),
            ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads")]
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


class Library(typing.NamedTuple):
    """A shared library, the form of its functions' names, and the bits of its integers."""

    handle: ctypes.CDLL
    form: str
    bits: int


@functools.lru_cache(maxsize=None)
def _library():
    """The Library, or None."""
    if os.environ.get("DIFFENG_BLAS") != "numpy" and (found := _mkl()):
        return found
    for path in _candidates():
        if found := _named(_loaded(path)):
            return found
    return None


def _loaded(path):
    """The library of this path if the process has it (elsewhere than on POSIX: or can have it), else None."""
    try:
        return ctypes.CDLL(path, mode=ctypes.DEFAULT_MODE | getattr(os, "RTLD_NOLOAD", 0))
    except OSError:
        return None


def _named(handle):
    for form, bits in _FORMS:
        if hasattr(handle, form.format("dgemm")) and hasattr(handle, form.format("sgemm")):
            return Library(handle, form, bits)
    return None


_SEQUENTIAL, _AUTO, _AVX512 = 1, 2, (10, 14)          # MKL_THREADING_SEQUENTIAL, MKL_CBWR_AUTO, MKL_CBWR_AVX512 and _AVX512_E1 of mkl_types.h and mkl_service.h

def _mkl():
    """The Library of Intel's MKL where pip or conda put it, if it has kernels for this processor's AVX-512 (it has none for AMD's); else None.

    Where nobody has loaded it yet, it is told to be sequential, as programs share products out themselves, and to give the same bits wherever arrays begin (its
    conditional numerical reproducibility; measured to cost nothing), unless MKL_CBWR in the environment says what it should do.
    """
    for prefix in filter(None, [sys.prefix, site.USER_BASE]):
        for path in sorted(glob.glob(os.path.join(glob.escape(prefix), "lib", "libmkl_rt.so*")), reverse=True):
            handle = _loaded(path)
            if handle is None:
                try:
                    handle = ctypes.CDLL(path)
                except OSError:
                    continue
                handle.MKL_Set_Threading_Layer(_SEQUENTIAL)
                if "MKL_CBWR" not in os.environ:
                    handle.MKL_CBWR_Set(_AUTO)
            return _named(handle) if handle.MKL_CBWR_Get_Auto_Branch() in _AVX512 else None
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
        return _address(getattr(found.handle, found.form.format(name))), found.bits
    from scipy.linalg import cython_blas
    capsule = cython_blas.__pyx_capi__[name]
    get_name, get_pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get_pointer(capsule, get_name(capsule)), 32


def threads():
    """(address of int get(), address of void set(int)) of the number of threads of OpenBLAS or MKL; (0, 0) where `gemm` is neither's.

    >>> get, set = threads()
    >>> (get == 0) == (set == 0)
    True
    """
    found = _library()
    if found is not None:
        for pair in _THREADS:
            get, set = (getattr(found.handle, name, None) for name in pair)
            if get is not None and set is not None:
                return _address(get), _address(set)
    return 0, 0


def name():
    """"MKL", "OpenBLAS", or "BLAS" where it is neither or not known.

    >>> name() in ("MKL", "OpenBLAS", "BLAS")
    True
    """
    found = _library()
    if found is not None and hasattr(found.handle, "MKL_Get_Max_Threads"):
        return "MKL"
    return "OpenBLAS" if threads() != (0, 0) else "BLAS"


@functools.lru_cache(maxsize=None)
def has_small():
    """Does `gemm` compute small products by a kernel of their own, without packing? OpenBLAS does on processors with AVX-512."""
    found = _library()
    core = found and next((getattr(found.handle, name) for name in _CORES if hasattr(found.handle, name)), None)
    if core is None:
        return False
    core.restype = ctypes.c_char_p
    return core() in (b"SkylakeX", b"Cooperlake", b"SapphireRapids")
