"""In which dtypes NumPy computes a ufunc: the ufunc is asked.

What it is not: a table of dtypes, nor a rule of promotion. np.fabs of integers is float64 and np.float_power of float32 too, because NumPy has no other
loop for them; a composition of primitives that stands for such a ufunc takes its operands in the dtypes of that loop, and returns its results in theirs.

Why a file: numpy_api.py says what a ufunc means; this, in which dtype.
"""
import numpy as np

from .constants import Exact
from .errors import refuse
from .traced import Traced
from .vocabulary import elementwise as e


def promoting(x):
    """What promotion sees in an operand: a dtype, or the type of a Python number, which has none."""
    kind = type(x)
    if kind is Exact:
        return float
    if kind is float or kind is int:
        return kind
    if kind is bool:
        return np.dtype(bool)
    interpreter = getattr(x, "interpreter", None)
    if interpreter is not None and interpreter.is_number(x):
        return float if x.dtype.kind == "f" else complex
    return x.dtype


def resolved(ufunc, operands, dtype=None):
    """(operands in the dtypes of the loop that NumPy would choose, the dtypes of its results). dtype: of the results, where the user asks for one."""
    given = (*[promoting(x) for x in operands], *[None] * ufunc.nout)
    try:
        found = ufunc.resolve_dtypes(given, **({} if dtype is None else {"signature": (*[None] * ufunc.nin, *[np.dtype(dtype)] * ufunc.nout)}))
    except TypeError as error:
        raise refuse(TypeError, f"{ufunc.__name__}{{here}}: {error}") from error
    return [cast(x, to) for x, to in zip(operands, found)], found[ufunc.nin:]


def result_type(*operands):
    """np.result_type of operands, Python numbers among them (which ask for a kind of dtype, and for no size)."""
    return np.result_type(*[kind if isinstance(kind, np.dtype) else kind(1) for kind in map(promoting, operands)])


def cast(x, dtype):
    """An operand in this dtype; one of the constants that are exact to any number of digits stays as it is."""
    kind = promoting(x)
    if type(x) is Exact or kind == dtype and hasattr(x, "dtype") and kind is not float:
        return x
    return e.astype(x, dtype=dtype) if isinstance(x, (Traced, np.ndarray)) else np.asarray(x, dtype)[()]


def returned(results, dtypes):
    """What a composition returned, in the dtypes of the ufunc's results."""
    if type(results) is tuple:
        return tuple([returned(r, dtypes[k:k + 1]) for k, r in enumerate(results)])
    return results if results.dtype == dtypes[0] else e.astype(results, dtype=dtypes[0])
