"""PyTorch's rules where they differ from NumPy's: which dtype a result has, which axes are meant.

A dtype comes from tensors with axes first, then from those without, then from Python's numbers: each only decides if it is of a higher kind
(truth values, integers, floats) than those before it. So float32 stays float32 beside 2.5, and beside a float64 of rank 0. An int64 meeting float32 is float32.
"""
import functools

import numpy as np

from ..errors import here
from ..numpy_api import astype
from ..traced import Traced

DTYPES = {n: np.dtype(n) for n in "float16 float32 float64 int8 int16 int32 int64 uint8 bool".split()}
NAMES = {np.dtype("float64"): "Double", np.dtype("float32"): "Float", np.dtype("float16"): "Half", np.dtype("int64"): "Long", np.dtype("int32"): "Int",
         np.dtype("int16"): "Short", np.dtype("int8"): "Char", np.dtype("uint8"): "Byte", np.dtype("bool"): "Bool"}
KINDS = {"b": 0, "i": 1, "u": 1, "f": 2}
BOOL, INT64, FLOAT32 = np.dtype(bool), np.dtype(np.int64), np.dtype(np.float32)
_OF_NUMBERS = {bool: BOOL, int: INT64, float: FLOAT32}
default = FLOAT32


def name_of(dtype):
    """PyTorch's word for a dtype in error messages."""
    return NAMES.get(np.dtype(dtype), str(dtype))


@functools.lru_cache(maxsize=None)
def promote_types(type1, type2):
    """The dtype that two dtypes meet in."""
    if (type1.kind == "f") != (type2.kind == "f"):
        return type1 if type1.kind == "f" else type2
    return np.promote_types(type1, type2)


def result_type(*operands):
    """The dtype of an elementwise result. operands: arrays, Tracers, Python numbers."""
    dtypes = {getattr(x, "dtype", None) for x in operands}
    if len(dtypes) == 1 and None not in dtypes:
        return dtypes.pop()
    found = [None, None, None]                     # of tensors with axes, of those without, of numbers
    for x in operands:
        if isinstance(x, (np.ndarray, Traced)):
            k, dtype = (0 if x.ndim else 1), x.dtype
        else:
            k, dtype = 2, _OF_NUMBERS.get(type(x)) or (FLOAT32 if isinstance(x, float) else INT64)
        found[k] = dtype if found[k] is None else promote_types(found[k], dtype)
    out = None
    for dtype in found:
        if dtype is not None:
            out = dtype if out is None else out if KINDS[out.kind] >= KINDS[dtype.kind] else promote_types(out, dtype) if KINDS[out.kind] == 0 else dtype
    return out


def cast(x, dtype):
    """An operand in this dtype. Python's numbers stay: NumPy gives them the dtype of what they meet."""
    if isinstance(x, (np.ndarray, Traced)):
        return x if x.dtype == dtype else astype(x, dtype)
    return np.asarray(x).astype(dtype) if type(x) is int and x < 0 and dtype.kind == "u" else x             # which wraps around


def promoted(*operands, floating=False):
    """The operands in the dtype of the result. floating: integers become float32."""
    dtype = result_type(*operands)
    if floating and dtype.kind != "f":
        dtype = default
    out = [cast(x, dtype) for x in operands]
    return out if any(isinstance(x, (np.ndarray, Traced)) for x in out) else [np.asarray(x, dtype) for x in out]


def to_float(x):
    """A tensor in floating point: integers become float32."""
    return x if x.dtype.kind == "f" else astype(x, default)


def axis(dim, ndim):
    """One axis >= 0."""
    n = max(ndim, 1)
    if not -n <= dim < n:
        raise torch_error(IndexError, f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
    return dim % n


def axes(dim, ndim):
    """A tuple of axes >= 0, or None for all."""
    if dim is None or dim == () or dim == []:
        return None
    if isinstance(dim, (tuple, list)):
        found = tuple([axis(d, ndim) for d in dim])
        if len(set(found)) < len(found):
            raise torch_error(RuntimeError, f"dim {dim[-1]} appears multiple times in the list of dims")
        return found
    return axis(dim, ndim)


def along(function):
    """A function along an axis of its first operand, which one without axes has, too: as a vector of one entry."""
    @functools.wraps(function)
    def lifted(x, *others, **params):
        if x.ndim:
            return function(x, *others, **params)
        found = function(np.reshape(x, (1,)), *others, **params)
        return tuple([_lowered(y) for y in found]) if isinstance(found, tuple) else _lowered(found)
    return lifted


def _lowered(x):
    return np.reshape(x, ()) if x.shape == (1,) else x


def torch_error(kind, text):
    """An error in PyTorch's own words, with the user's line, which core.explained leaves as it is."""
    error = kind(text.replace("{here}", here()) if "{here}" in text else text.rstrip(".") + here())
    error.torchlike = True
    return error
