"""Arrays made like a traced one, and questions about shapes, types and values."""

import numpy as np

from .. import complex_functions
from ..complex_values import is_complex, parts as complex_parts
from ..constants import PI
from ..errors import refuse
from ..numpy_api import arrayed, astype, copy, operand, setitem, without_axes
from ..traced import Traced, layout_of, write
from ..ufunc_dtypes import cast, result_type
from ..vocabulary import elementwise as e
from .choosing import known
from .table import counted, implements


@implements(np.copy)
def copy_(a, order="K", subok=False):
    return without_axes(copy(a, order))


@implements(np.astype)
def astype_(x, dtype, copy=True, device=None):
    return x.astype(dtype, copy=copy)


def _full(x, value, dtype, order, shape):
    out = np.empty_like(layout_of(x), x.dtype if dtype is None else dtype, order, shape=shape)
    if not isinstance(value, Traced):
        out[...] = value
        return _fillable(out)
    return copy(np.broadcast_to(astype(value, out.dtype), out.shape))


def _fillable(plain_array):
    from ..buffers import buffer
    return buffer(plain_array)


@implements(np.zeros_like, np.empty_like)
def zeros_like(a, dtype=None, order="K", subok=True, shape=None):
    return _full(a, 0, dtype, order, shape)


@implements(np.ones_like)
def ones_like(a, dtype=None, order="K", subok=True, shape=None):
    return _full(a, 1, dtype, order, shape)


@implements(np.full_like)
def full_like(a, fill_value, dtype=None, order="K", subok=True, shape=None):
    return _full(a, fill_value, dtype, order, shape)


def full(shape, fill_value, dtype=None, order="C"):
    """np.full of a traced number or row."""
    return copy(np.broadcast_to(fill_value if dtype is None else astype(fill_value, dtype), shape))


@implements(np.linspace)
def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0):
    start, stop = operand(start), operand(stop)
    num, inexact = counted(num, "linspace num"), result_type(start, stop, 0.0)
    start, stop = cast(start, inexact), cast(stop, inexact)
    n = num - 1 if endpoint else num
    t = np.arange(num, dtype=inexact) / inexact.type(max(n, 1))
    out = start + (stop - start) * t.reshape((-1,) + (1,) * max(np.ndim(start), np.ndim(stop)))
    if endpoint and num > 1:
        out = _ending(out, stop)
    out = np.moveaxis(out, 0, axis) if axis else out
    if dtype is not None:
        out = astype(e.floor(out) if np.dtype(dtype).kind in "iu" else out, dtype)
    return (out, (stop - start) / n if n > 0 else np.nan) if retstep else out


def _ending(out, stop):
    """The last one is stop, whatever rounding made of it."""
    return np.concatenate([out[:-1], np.broadcast_to(stop, out.shape[1:])[None]])


@implements(np.logspace)
def logspace(start, stop, num=50, endpoint=True, base=10.0, dtype=None, axis=0):
    out = e.power(operand(base), linspace(start, stop, num, endpoint, axis=axis))
    return out if dtype is None else astype(out, dtype)


@implements(np.geomspace)
def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    start, stop = operand(start), operand(stop)
    wide = result_type(start, stop, np.zeros((), dtype))
    start, stop = cast(start, wide), cast(stop, wide)
    if any(end is not None and (end == 0).any() for end in map(known, (start, stop))):
        raise refuse(ValueError, "geomspace{here}: an end is 0, which no factor leads to or away from")
    t = linspace(np.zeros((), wide), np.ones((), wide), num, endpoint)
    out = start * e.power(stop / start, t.reshape((-1,) + (1,) * max(np.ndim(start), np.ndim(stop))))
    if endpoint and num > 1:
        out = _ending(out, stop)
    out = np.moveaxis(out, 0, axis) if axis else out
    return out if dtype is None else astype(out, dtype)


@implements(np.meshgrid)
def meshgrid(*xi, indexing="xy", sparse=False, copy=True):
    if indexing not in ("xy", "ij"):
        raise refuse(ValueError, f"meshgrid{{here}}: indexing={indexing!r} is neither 'xy' nor 'ij'")
    shape = [np.size(x) for x in xi]
    out = [np.reshape(operand(x), [-1 if j == k else 1 for j in range(len(xi))]) for k, x in enumerate(xi)]
    out = out if sparse else [np.broadcast_to(x, shape) for x in out]
    out = [np.swapaxes(x, 0, 1) if indexing == "xy" and len(xi) > 1 else x for x in out]
    return tuple([x.copy() for x in out] if copy else out)


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
def result_type_(*arrays):
    return np.result_type(*[a.dtype if isinstance(a, Traced) and not a.interpreter.is_number(a) else 0.0 if isinstance(a, Traced) else a for a in arrays])


@implements(np.common_type)
def common_type(*arrays):
    return np.common_type(*[np.empty(0, a.dtype) for a in arrays])


@implements(np.can_cast)
def can_cast(from_, to, casting="safe"):
    return np.can_cast(from_.dtype if isinstance(from_, Traced) else from_, to, casting)


@implements(np.iscomplexobj)
def iscomplexobj(x):
    return is_complex(x)


@implements(np.isrealobj)
def isrealobj(x):
    return not is_complex(x)


@implements(np.iscomplex)
def iscomplex(x):
    return e.not_equal(x.imag, 0) if is_complex(x) else np.zeros(x.shape, bool)[()]


@implements(np.isreal)
def isreal(x):
    return e.equal(x.imag, 0) if is_complex(x) else np.ones(x.shape, bool)[()]


@implements(np.real)
def real(val):
    return operand(val).real


@implements(np.imag)
def imag(val):
    return operand(val).imag if is_complex(operand(val)) else np.zeros(val.shape, val.dtype)[()]


@implements(np.real_if_close)
def real_if_close(a, tol=100):
    a = operand(a)
    if not is_complex(a) or not np.all(np.abs(a.imag) < (tol * np.finfo(a.dtype).eps if tol > 1 else tol)):
        return a
    return a.real


@implements(np.angle)
def angle(z, deg=False):
    """Of real numbers: pi where the sign is negative, and constant between."""
    z = arrayed(z)
    if is_complex(z):
        turned = complex_functions.angle(*complex_parts(z))
        return turned * (180 / PI) if deg else turned
    turned = e.where(e.isnan(z), z, e.where(e.signbit(z), 1.0, 0.0) * (180.0 if deg else PI))
    return cast(turned, np.arctan2.resolve_dtypes((int, z.dtype, None))[-1])


@implements(np.isclose)
def isclose(a, b, rtol=1e-5, atol=1e-8, equal_nan=False):
    a, b = operand(a), operand(b)
    b = cast(b, result_type(b, 1.0))
    with np.errstate(invalid="ignore"):
        near = e.logical_and(e.less_equal(np.abs(a - b), atol + rtol * np.abs(b)), e.isfinite(b))
    near = e.logical_or(near, e.equal(a, b))                             # infinities
    return e.logical_or(near, e.logical_and(e.isnan(a), e.isnan(b))) if equal_nan else near


@implements(np.allclose)
def allclose(a, b, rtol=1e-5, atol=1e-8, equal_nan=False):
    return bool(np.all(isclose(a, b, rtol, atol, equal_nan)))


@implements(np.array_equiv)
def array_equiv(a1, a2):
    a1, a2 = operand(a1), operand(a2)
    try:
        np.broadcast_shapes(np.shape(a1), np.shape(a2))
    except ValueError:
        return False
    return bool(np.all(e.equal(a1, a2)))


@implements(np.array_equal)
def array_equal(a1, a2, equal_nan=False):
    a1, a2 = operand(a1), operand(a2)
    if np.shape(a1) != np.shape(a2):
        return False
    same = e.equal(a1, a2)
    return bool(np.all(e.logical_or(same, e.logical_and(e.isnan(a1), e.isnan(a2))) if equal_nan else same))


@implements(np.copyto)
def copyto(dst, src, casting="same_kind", where=True):
    if not isinstance(dst, Traced):
        raise refuse(TypeError, "copyto{here}: a traced value cannot be written into a plain array; make it inside the function with np.zeros(...)")
    value = operand(src) if where is True else e.where(where, operand(src), dst)
    write(dst, setitem(dst, ..., value))
