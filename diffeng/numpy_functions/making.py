"""Arrays made like a traced one, and questions about shapes, types and values."""
import numpy as np

from ..errors import refuse
from ..numpy_api import astype, copy, operand
from ..traced import Traced, write
from ..vocabulary import elementwise as e
from .table import implements


@implements(np.copy)
def copy_(a, order="K", subok=False):
    return copy(a)


def _full(x, value, dtype, shape):
    shape = x.shape if shape is None else shape
    out = np.empty(shape, x.dtype if dtype is None else dtype)
    if not isinstance(value, Traced):
        out[...] = value
        return _fillable(out)
    return copy(np.broadcast_to(astype(value, out.dtype), out.shape))


def _fillable(plain_array):
    from ..buffers import Buffer
    return Buffer(plain_array)


@implements(np.zeros_like)
def zeros_like(a, dtype=None, order="K", subok=True, shape=None):
    return _full(a, 0, dtype, shape)


@implements(np.ones_like)
def ones_like(a, dtype=None, order="K", subok=True, shape=None):
    return _full(a, 1, dtype, shape)


@implements(np.empty_like)
def empty_like(a, dtype=None, order="K", subok=True, shape=None):
    return _full(a, 0, dtype, shape)


@implements(np.full_like)
def full_like(a, fill_value, dtype=None, order="K", subok=True, shape=None):
    return _full(a, fill_value, dtype, shape)


@implements(np.linspace)
def linspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    n = num - 1 if endpoint else num
    t = np.arange(num) / max(n, 1)
    t = t.reshape((-1,) + (1,) * max(np.ndim(start), np.ndim(stop)))
    return start + (stop - start) * t


@implements(np.meshgrid)
def meshgrid(*xi, indexing="xy", sparse=False, copy=True):
    shape = [np.size(x) for x in xi]
    out = [np.reshape(operand(x), [-1 if j == k else 1 for j in range(len(xi))]) for k, x in enumerate(xi)]
    out = out if sparse else [np.broadcast_to(x, shape) for x in out]
    return [np.swapaxes(x, 0, 1) if indexing == "xy" and len(xi) > 1 else x for x in out]


@implements(np.array2string, np.array_repr, np.array_str)
def text(a, *args, **kwargs):
    return repr(a)


@implements(np.shape)
def shape(a):
    return a.shape


@implements(np.ndim)
def ndim(a):
    return a.ndim


@implements(np.size)
def size(a, axis=None):
    return a.size if axis is None else a.shape[axis]


@implements(np.result_type)
def result_type(*arrays):
    return np.result_type(*[a.dtype if isinstance(a, Traced) else a for a in arrays])


@implements(np.can_cast)
def can_cast(from_, to, casting="safe"):
    return np.can_cast(from_.dtype if isinstance(from_, Traced) else from_, to, casting)


@implements(np.iscomplexobj)
def iscomplexobj(x):
    return False


@implements(np.isrealobj)
def isrealobj(x):
    return True


@implements(np.real)
def real(val):
    return val


@implements(np.isclose)
def isclose(a, b, rtol=1e-5, atol=1e-8, equal_nan=False):
    return e.less_equal(np.abs(a - b), atol + rtol * np.abs(b))


@implements(np.allclose)
def allclose(a, b, rtol=1e-5, atol=1e-8, equal_nan=False):
    return bool(np.all(isclose(a, b, rtol, atol)))


@implements(np.array_equal)
def array_equal(a1, a2, equal_nan=False):
    return np.shape(a1) == np.shape(a2) and bool(np.all(e.equal(a1, a2)))


@implements(np.copyto)
def copyto(dst, src, casting="same_kind", where=True):
    if not isinstance(dst, Traced):
        raise refuse(TypeError, "copyto{here}: a traced value cannot be written into a plain array; make it inside the function with np.zeros(...)")
    value = operand(src) if where is True else e.where(where, operand(src), dst)
    write(dst, astype(np.broadcast_to(value, dst.shape), dst.dtype))
