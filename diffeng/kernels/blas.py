"""BLAS by address, without importing scipy.

What it is: `routine(name)` (`gemm(type)`) and `threads()`. NumPy computes its products with an OpenBLAS that lies in the process already, so it is
the one kernels call: importing scipy.linalg (0.1 s and more) would bring a second OpenBLAS with a second pool of threads. NumPy offers no way to it, but a
shared library that is loaded can be opened by its path, and its symbols are public; how they are called depends on who built it:
scipy_dgemm_64_ in NumPy's wheels, dgemm_64_, dgemm_64 or dgemm_ elsewhere. A suffix with 64 tells the width of the integers.
Where no such library is found (Accelerate, a static build) scipy's pointers serve, whose integers have 32 bits.

Beside it, `has_mkl()`: Intel's MKL, where it is installed (the extra `mkl`) and has kernels of its own for the processor; it is loaded when its first routine is
asked for ("mkl_dgemm", ...), and `mkl_threads`, `int MKL_Set_Num_Threads_Local(int)`, keeps it on the thread that calls it. DIFFENG_BLAS=numpy in the environment
does without it.

"own_dgemm" and "own_sgemm" are gemm.py's: where OpenBLAS is held back (`is_held_back`) or outdone (`is_outdone`), and for what it packs slowly (cutting.whose).

What it is not: no product is written here, and nobody else's settings are changed here.
"""
import ctypes
import functools
import glob
import os
import site
import sys

import numpy as np

from . import cache, capsules

_LETTERS = {"f64": "d", "f32": "s"}
_FORMS = [("scipy_{0}_64_", 64), ("{0}_64_", 64), ("scipy_{0}_", 32), ("{0}_", 32)]             # OpenBLAS's symbols, those of the wheels first
_THREADS = ["scipy_openblas_{0}_num_threads64_", "openblas_{0}_num_threads64_", "scipy_openblas_{0}_num_threads", "openblas_{0}_num_threads"]
_MKL_AUTO = 2                               # MKL_CBWR_AUTO of mkl_types.h
_LOCAL = ["openblas_set_num_threads_local", "scipy_openblas_set_num_threads_local64_", "scipy_openblas_set_num_threads_local"]
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
    """(library, form of its names, bits of its integers), or None. Only what is loaded already is opened."""
    for library in filter(None, map(_loaded, _candidates())):
        for form, bits in _FORMS:
            if hasattr(library, form.format("dgemm")) and hasattr(library, form.format("sgemm")):
                return library, form, bits
    return None


def _loaded(path):
    """The library at a path that the process has loaded already (where it can be asked: RTLD_NOLOAD), else None."""
    try:
        return ctypes.CDLL(path, mode=ctypes.DEFAULT_MODE | getattr(os, "RTLD_NOLOAD", 0))
    except OSError:
        return None


def _address(function):
    return ctypes.cast(function, ctypes.c_void_p).value


def name_of(kind, type):
    """dgemm, sgemv, dpotrf, ...: kind "gemm" or another, type "f64" or "f32"."""
    return _LETTERS[type] + kind


def gemm(type):
    """(address, bits of its integers) of Fortran's dgemm for "f64", sgemm for "f32": every argument by reference.

    >>> address, bits = gemm("f64")
    >>> address != 0 and bits in (32, 64)
    True
    """
    return routine(name_of("gemm", type))


class Routine:
    """A word: the address of one of BLAS's functions, by the name that `routine` knows."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name


def routine(name):
    """(address, bits of its integers) of a function of BLAS or LAPACK by its name in Fortran, after "mkl_" if it is to be MKL's; or "mkl_threads", or
    OpenBLAS's function of that kind: "openblas_threads", whose address is 0 where there is none."""
    if name == "openblas_threads":
        found = _library()
        return next((_address(getattr(found[0], form)) for form in _LOCAL if found and hasattr(found[0], form)), 0), 32
    if name.startswith("own_"):
        from . import machine
        return machine.kernel(*own(name)).address, routine(name[4:])[1]
    if name.startswith("mkl_"):
        bits = routine("dgemm")[1]
        return _address(getattr(_mkl(), "MKL_Set_Num_Threads_Local" if name == "mkl_threads" else name[4:] + ("_64_" if bits == 64 else "_"))), bits
    found = _library()
    if found is not None and hasattr(found[0], found[1].format(name)):          # a library of BLAS alone has no LAPACK
        library, form, bits = found
        return _address(getattr(library, form.format(name))), bits
    from scipy.linalg import cython_blas, cython_lapack
    return capsules.pointer({**cython_lapack.__pyx_capi__, **cython_blas.__pyx_capi__}[name]), 32


def own(name):
    """(key, build) of a product of our own, by its name after "own_"."""
    def build():
        from .gemm import write
        return write(type, bits)
    type, bits = next(t for t, letter in _LETTERS.items() if name == f"own_{letter}gemm"), routine(name[4:])[1]
    return repr(("gemm", type, bits)).ljust(1200), build             # so long, for it takes long: LLVM begins with what says most


@functools.lru_cache(maxsize=None)
def _mkl_path():
    """Where pip or conda put MKL, if this is a processor of Intel's with AVX-512: for others it has slower kernels, or none. None elsewhere. Loads nothing."""
    if os.environ.get("DIFFENG_BLAS") == "numpy":
        return None
    found = [path for prefix in (sys.prefix, site.USER_BASE) if prefix for path in sorted(glob.glob(os.path.join(glob.escape(prefix), "lib", "libmkl_rt.so.*")))]
    return found[-1] if found and all([word in cache.processor() for word in ("GenuineIntel", "avx512f")]) else None


@functools.lru_cache(maxsize=None)
def _mkl():
    """MKL, or None where it cannot be loaded.

    If nobody else has loaded it, it is told to give the same bits wherever arrays begin (its conditional numerical reproducibility, which costs nothing
    measurable), unless MKL_CBWR in the environment says what it should do. Its layer of threads stays what it is by default: PyTorch, imported later, would
    find a sequential one, and be sequential, too.
    """
    path = _mkl_path()
    if path is None:
        return None
    library = _loaded(path)
    if library is None:
        try:
            library = ctypes.CDLL(path)
            if "MKL_CBWR" not in os.environ:
                library.MKL_CBWR_Set(_MKL_AUTO)
        except (OSError, AttributeError):
            return None
    return library


def has_mkl():
    """Is there an MKL that is worth it? Asking loads it.

    >>> has_mkl() in (True, False)
    True
    """
    return _mkl() is not None


@functools.lru_cache(maxsize=None)
def is_wide():
    """Has the processor vectors of 64 bytes, so that products of our own are at its peak (and may be used)?

    >>> is_wide() in (True, False)
    True
    """
    return os.environ.get("DIFFENG_BLAS") != "numpy" and "avx512f" in cache.processor()


def is_outdone():
    """Are large products of our own faster than OpenBLAS's best ones? On AMD's processors they are, by a twentieth to a third (docs/performance-zen5.md); Intel's have MKL.

    >>> is_wide() or not is_outdone()
    True
    """
    return is_wide() and "AuthenticAMD" in cache.processor()


def is_held_back():
    """Has NumPy's OpenBLAS taken such a processor for another one?

    >>> is_wide() or not is_held_back()
    True
    """
    return is_wide() and core() is not None and not has_small()


def libraries():
    """What may multiply, in words: decides plans. Loads nothing.

    >>> "64" in libraries() or "32" in libraries()
    True
    """
    return f"{gemm('f64')[1]} {_mkl_path()} {is_wide()} {is_outdone()} {is_held_back()}"


def available(name):
    """Has `routine` an answer? Not where an MKL that another process found does not load in this one."""
    return not name.startswith("mkl_") or has_mkl()


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
def core():
    """The processor whose kernels NumPy's OpenBLAS computes with, as it calls it ("Haswell", "SkylakeX"): the one it finds, or OPENBLAS_CORETYPE in the environment.
    None for another library.

    >>> core() is None or core().isalnum()
    True
    """
    found = _library()
    name = found and next((getattr(found[0], name) for name in _CORES if hasattr(found[0], name)), None)
    if name is None:
        return None
    name.restype = ctypes.c_char_p
    return name().decode()


def has_small():
    """Does `gemm` compute small products by a kernel of their own, without packing? OpenBLAS does on processors with AVX-512."""
    return core() in ("SkylakeX", "Cooperlake", "SapphireRapids")
