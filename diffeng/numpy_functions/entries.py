"""Functions that Python calls entry by entry: np.vectorize, np.frompyfunc; and walks over entries: np.ndenumerate, np.nditer.

What the user's function computes of an entry is recorded like anything else, so that a large array is a large graph: a function of whole arrays is faster.
NumPy does not ask anybody here: buffers.py puts `vectorized`, `ndenumerate` and `nditer` in the places of NumPy's own while a function is traced.
"""
import numpy as np

from ..errors import refuse
from ..numpy_api import array, arrayed, astype, operand
from ..traced import Traced
from .shaping import in_memory

_READ = {"readonly"}, {"multi_index", "c_index", "refs_ok", "zerosize_ok", "buffered"}         # what nditer is for here: its operands' flags, its own


def _objects(x):
    """An object array of the entries, Python's numbers where they are plain."""
    x = operand(x)
    if not isinstance(x, Traced):
        return np.asarray(x, object)
    out = np.empty(x.shape, object)
    for at in np.ndindex(x.shape):
        out[at] = x[at]
    return out


def by_entries(ufunc, method, inputs, kwargs):
    """A ufunc of Python objects, as np.frompyfunc makes them: on traced values its results are an array of numbers."""
    if kwargs.get("out") is not None or method == "at":
        raise refuse(TypeError, f"{ufunc.__name__}{{here}}, a Python function of entries, writes into no array of traced values; use what it returns")
    found = getattr(ufunc, method)(*[_objects(x) if isinstance(x, (Traced, np.ndarray, list, tuple)) else x for x in inputs], **kwargs)
    return tuple(map(_joined, found)) if isinstance(found, tuple) else _joined(found)


def _joined(x):
    return array(x.tolist()) if isinstance(x, np.ndarray) else x


def vectorized(function, func, args):
    """The results of np.vectorize(func), whose object is `function`, for these arguments: what its method _vectorize_call answers for plain arrays."""
    if function.signature is not None:
        return _by_parts(function, func, args)
    spread = [_objects(x) for x in args]
    shape = np.broadcast_shapes(*[x.shape for x in spread])
    spread = [np.broadcast_to(x, shape) for x in spread]
    made = [func(*[x[at] for x in spread]) for at in np.ndindex(shape)]
    return _results(made, shape, function.otypes, "vectorize")


def _by_parts(function, func, args):
    """With a signature: func has the last axes of each argument, and is called for all places along the others."""
    inside, _ = function._in_and_out_core_dims
    args = [arrayed(x) for x in args]
    if len(args) != len(inside):
        raise refuse(TypeError, f"vectorize{{here}}: signature {function.signature!r} has {len(inside)} arguments, there are {len(args)}")
    split = [x.ndim - len(names) for x, names in zip(args, inside)]
    shape = np.broadcast_shapes(*[x.shape[:k] for x, k in zip(args, split)])
    args = [np.broadcast_to(x, shape + x.shape[k:]) for x, k in zip(args, split)]
    return _results([func(*[x[at] for x in args]) for at in np.ndindex(shape)], shape, function.otypes, "vectorize")


def _results(made, shape, dtypes, name):
    if not made:
        if not dtypes:
            raise refuse(ValueError, f"{name}{{here}}: of no entries at all the dtype of the result is not known; give otypes")
        out = [np.zeros(shape, dtype) for dtype in dtypes]
    else:
        columns = list(zip(*made)) if isinstance(made[0], tuple) else [made]
        dtypes = dtypes or [arrayed(column[0]).dtype for column in columns]                       # as NumPy has it: that of the first result
        out = [np.reshape(astype(array(list(column)), dtype), shape + np.shape(column[0])) for column, dtype in zip(columns, dtypes)]
    return tuple(out) if len(out) > 1 else out[0]


def ndenumerate(x):
    x = arrayed(x)
    return ((at, x[at]) for at in np.ndindex(x.shape))


def _in_order(shape, axes):
    """The places of an array, those along the first of these axes last."""
    back = [axes.index(k) for k in range(len(axes))]
    return [tuple([at[k] for k in back]) for at in np.ndindex(*[shape[k] for k in axes])]


class nditer:
    """np.nditer of arrays that are read, one entry at a time: of one array in the order in which it lies in memory, else in C order."""

    def __init__(self, op, flags=(), op_flags=(), op_dtypes=None, order="K", casting="safe", **others):
        ops = op if isinstance(op, (list, tuple)) else [op]
        asked = {f for each in op_flags or () for f in ([each] if isinstance(each, str) else each)}
        if not asked <= _READ[0] or not set(flags or ()) <= _READ[1] or op_dtypes is not None or others or order not in ("K", "C"):
            raise refuse(TypeError, "nditer{here}: traced values can be read with it one by one, and nothing else; write with x[i] = ... over np.ndindex(x.shape)")
        first = arrayed(ops[0])
        axes = in_memory(first, "K") if order == "K" and isinstance(first, Traced) and len(ops) == 1 else None
        self.operands = np.broadcast_arrays(*[arrayed(x) for x in ops])
        self.shape, self.multi_index, self.index = np.shape(self.operands[0]), None, -1
        self._places = list(np.ndindex(self.shape)) if axes is None else _in_order(self.shape, axes)

    def __len__(self):
        return len(self._places)

    def __iter__(self):
        return self

    def __next__(self):
        if self.index + 1 == len(self._places):
            raise StopIteration
        self.index += 1
        self.multi_index = self._places[self.index]
        found = tuple([x[self.multi_index] for x in self.operands])
        return found if len(found) > 1 else found[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass
