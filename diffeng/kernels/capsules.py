"""Functions of SciPy's by address: Cython's capsules.

What it is: `pointer(capsule)`; `function(name, count)`, one of scipy.special.cython_special of float64; `symbol` and `address`, the name by which object code calls it
and where it lies in this process: code on disk has names only.

What it is not: no code, and LLVM is not loaded. Why a file: blas.py and machine.py both need it.
"""
import ctypes
import functools

_PREFIX = "scipy_special_"


def symbol(name, count):
    """What code calls the function of this name and number of operands."""
    return f"{_PREFIX}{name}_{count}"


def address(symbol):
    """The address of what `symbol` named, or None."""
    if not symbol.startswith(_PREFIX):
        return None
    name, _, count = symbol.removeprefix(_PREFIX).rpartition("_")
    found = function(name, int(count))
    return None if found is None else pointer(found)


@functools.lru_cache(maxsize=None)
def function(name, count):
    """The capsule of double f(double, ..., int), or None. Cython numbers the variants of a function for several types: this one is known by its signature."""
    from scipy.special import cython_special
    table, wanted = cython_special.__pyx_capi__, f"double ({'double, ' * count}int __pyx_skip_dispatch)".encode()
    every = [table.get(form + name) for form in ("", "__pyx_fuse_0", "__pyx_fuse_1", "__pyx_fuse_2")]
    return next((capsule for capsule in every if capsule is not None and _name(capsule) == wanted), None)


def _name(capsule):
    get = ctypes.pythonapi.PyCapsule_GetName
    get.restype, get.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return get(capsule)


def pointer(capsule):
    """The address in a capsule."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get(capsule, _name(capsule))
