"""NumPy functions on traced values, as compositions of primitives. The right-hand sides run in every interpreter.

One entry a function, in NumPy's own signature as far as it is supported; call_function names an option that is not.
"""
import numpy as np

from .errors import refuse
from .numpy_api import FUNCTIONS, array, astype, axes_of, axis_of, copy, getitem, operand, plain
from .traced import Traced, viewing, write
from .vocabulary import contraction as c, elementwise as e, reductions as r, shaping as s


def implements(*functions):
    def register(handler):
        for f in functions:
            FUNCTIONS[f] = handler
        return handler
    return register


# ---- reductions ---------------------------------------------------------------------------------------------------------

def _reducer(primitive):
    def reduce(a, axis=None, dtype=None, keepdims=False, initial=None, where=None):
        x = operand(a)
        if where is not None and where is not np._NoValue:
            neutral = {"sum": 0.0, "prod": 1.0}.get(primitive.name)
            if neutral is None:
                raise refuse(TypeError, f"{primitive.name}{{here}}: where= is not supported here on traced values; select with np.where first")
            x = e.where(where, x, neutral)
        if dtype is not None:
            x = astype(x, dtype)
        out = primitive(x, axis=axes_of(axis, x.ndim), keepdims=_flag(keepdims))
        if initial is not None and initial is not np._NoValue:
            out = {"sum": e.add, "prod": e.multiply, "max": e.maximum, "min": e.minimum}[primitive.name](out, initial)
        return out
    return reduce


def _flag(keepdims):
    return bool(keepdims) and keepdims is not np._NoValue


for _f, _p in ((np.sum, r.sum), (np.prod, r.prod), (np.max, r.max), (np.min, r.min), (np.amax, r.max), (np.amin, r.min), (np.any, r.any), (np.all, r.all)):
    implements(_f)(_reducer(_p))


@implements(np.mean)
def mean(a, axis=None, dtype=None, keepdims=False):
    x = operand(a) if dtype is None else astype(a, dtype)
    return r.mean(x, axis=axes_of(axis, x.ndim), keepdims=_flag(keepdims))


@implements(np.var)
def var(a, axis=None, dtype=None, ddof=0, keepdims=False, correction=None):
    ddof = correction if correction not in (None, np._NoValue) else ddof
    x = operand(a) if dtype is None else astype(a, dtype)
    return r.var(x, axis=axes_of(axis, x.ndim), keepdims=_flag(keepdims), ddof=ddof)


@implements(np.std)
def std(a, axis=None, dtype=None, ddof=0, keepdims=False, correction=None):
    return e.sqrt(var(a, axis, dtype, ddof, keepdims, correction))


@implements(np.average)
def average(a, axis=None, weights=None, keepdims=False):
    if weights is None:
        return mean(a, axis, keepdims=keepdims)
    return np.sum(a * weights, axis=axis, keepdims=_flag(keepdims)) / np.sum(np.broadcast_to(weights, np.shape(a)), axis=axis, keepdims=_flag(keepdims))


@implements(np.ptp)
def ptp(a, axis=None, keepdims=False):
    return np.max(a, axis=axis, keepdims=_flag(keepdims)) - np.min(a, axis=axis, keepdims=_flag(keepdims))


@implements(np.cumsum)
def cumsum(a, axis=None, dtype=None):
    x = operand(a) if axis is not None else np.ravel(a)
    x = x if dtype is None else astype(x, dtype)
    return r.cumsum(x, axis=axis_of(0 if axis is None else axis, x.ndim))


@implements(np.cumprod)
def cumprod(a, axis=None, dtype=None):
    x = operand(a) if axis is not None else np.ravel(a)
    return r.cumprod(x, axis=axis_of(0 if axis is None else axis, x.ndim))


@implements(np.diff)
def diff(a, n=1, axis=-1):
    x = operand(a)
    axis = axis_of(axis, x.ndim)
    for _ in range(n):
        after, before = [slice(None)] * x.ndim, [slice(None)] * x.ndim
        after[axis], before[axis] = slice(1, None), slice(None, -1)
        x = getitem(x, tuple(after)) - getitem(x, tuple(before))
    return x


@implements(np.argmax)
def argmax(a, axis=None, keepdims=False):
    return r.argmax(a, axis=None if axis is None else axis_of(axis, a.ndim))


@implements(np.argmin)
def argmin(a, axis=None, keepdims=False):
    return r.argmin(a, axis=None if axis is None else axis_of(axis, a.ndim))


@implements(np.argsort)
def argsort(a, axis=-1, kind=None, order=None, stable=None):
    return r.argsort(a, axis=axis_of(axis, a.ndim)) if axis is not None else r.argsort(np.ravel(a), axis=0)


@implements(np.sort)
def sort(a, axis=-1, kind=None, order=None, stable=None):
    a = np.ravel(a) if axis is None else a
    axis = axis_of(-1 if axis is None else axis, a.ndim)
    return take_along_axis(a, r.argsort(a, axis=axis), axis)


@implements(np.median)
def median(a, axis=None, keepdims=False):
    x = sort(a, axis)
    axis = 0 if axis is None else axis_of(axis, a.ndim)
    n, at = x.shape[axis], [slice(None)] * x.ndim
    at[axis] = slice((n - 1) // 2, n // 2 + 1)
    return np.mean(getitem(x, tuple(at)), axis=axis, keepdims=_flag(keepdims))


@implements(np.count_nonzero)
def count_nonzero(a, axis=None, keepdims=False):
    return np.sum(astype(e.not_equal(a, 0), np.intp), axis=axis, keepdims=_flag(keepdims))


@implements(np.linalg.norm)
def norm(x, ord=None, axis=None, keepdims=False):
    if ord not in (None, 2, "fro") or ord == 2 and axis is None and x.ndim == 2:
        raise refuse(TypeError, f"numpy.linalg.norm{{here}}: ord={ord!r} is not supported on traced values; write it with np.abs, np.sum and np.max")
    squares = np.sum(e.square(x), axis=axis, keepdims=_flag(keepdims))
    zero = e.equal(squares, 0)                      # the norm at 0 has derivative 0 (docs/kinks.md), not 0 * inf
    return e.where(zero, e.absolute(squares), e.sqrt(e.where(zero, 1.0, squares)))


# ---- shapes ---------------------------------------------------------------------------------------------------------------

def reshaped(x, shape):
    """reshape to a full shape, as a view: writes go through to x."""
    old = x.shape
    return viewing(s.reshape(x, shape=tuple(shape)), x, lambda y: s.reshape(y, shape=tuple(shape)), lambda y, v: s.reshape(v, shape=old))


def transposed(x, axes):
    back = tuple(int(k) for k in np.argsort(axes))
    return viewing(s.transpose(x, axes=tuple(axes)), x, lambda y: s.transpose(y, axes=tuple(axes)), lambda y, v: s.transpose(v, axes=back))


@implements(np.reshape)
def reshape(a, /, shape=None, order="C", newshape=None, copy=None):
    if order not in ("C", "A", "K"):
        raise refuse(TypeError, f"reshape{{here}}: order={order!r} is not supported on traced values; transpose, reshape, transpose back")
    shape = newshape if shape is None else shape
    shape = [int(n) for n in (shape if isinstance(shape, (tuple, list)) else (shape,))]
    if -1 in shape:
        known = -int(np.prod(shape))
        if known == 0 or a.size % known:
            raise refuse(ValueError, f"reshape{{here}}: cannot reshape {a.shape} into {tuple(shape)}: {a.size} entries do not divide")
        shape[shape.index(-1)] = a.size // known
    return reshaped(a, shape)


@implements(np.ravel)
def ravel(a, order="C"):
    return reshape(a, (a.size,), order)


@implements(np.squeeze)
def squeeze(a, axis=None):
    drop = [k for k, n in enumerate(a.shape) if n == 1] if axis is None else axes_of(axis, a.ndim)
    if any(a.shape[k] != 1 for k in drop):
        raise refuse(ValueError, f"squeeze{{here}}: an axis to drop has a length other than 1 in shape {a.shape}")
    return reshaped(a, [n for k, n in enumerate(a.shape) if k not in drop])


@implements(np.expand_dims)
def expand_dims(a, axis):
    axis = axis if isinstance(axis, (tuple, list)) else (axis,)
    new = axes_of(axis, a.ndim + len(axis))
    old = iter(a.shape)
    return reshaped(a, [1 if k in new else next(old) for k in range(a.ndim + len(new))])


@implements(np.atleast_1d)
def atleast_1d(*arrays):
    out = [reshaped(a, (1,)) if np.ndim(a) == 0 else a for a in map(operand, arrays)]
    return out[0] if len(out) == 1 else out


@implements(np.atleast_2d)
def atleast_2d(*arrays):
    out = [a if a.ndim > 1 else reshaped(a, (1, a.size)) for a in map(operand, arrays)]
    return out[0] if len(out) == 1 else out


@implements(np.transpose, np.permute_dims)
def transpose(a, axes=None):
    return transposed(a, range(a.ndim)[::-1] if axes is None else [axis_of(k, a.ndim) for k in axes])


@implements(np.matrix_transpose)
def matrix_transpose(a):
    return swapaxes(a, -1, -2)


@implements(np.swapaxes)
def swapaxes(a, axis1, axis2):
    axes = list(range(a.ndim))
    i, j = axis_of(axis1, a.ndim), axis_of(axis2, a.ndim)
    axes[i], axes[j] = axes[j], axes[i]
    return transposed(a, axes)


@implements(np.moveaxis)
def moveaxis(a, source, destination):
    source, destination = (list(np.lib.array_utils.normalize_axis_tuple(k, a.ndim)) for k in (source, destination))
    order = [k for k in range(a.ndim) if k not in source]
    for to, of in sorted(zip(destination, source)):
        order.insert(to, of)
    return transposed(a, order)


@implements(np.rollaxis)
def rollaxis(a, axis, start=0):
    axis = axis_of(axis, a.ndim)
    return moveaxis(a, axis, start - (start > axis))


@implements(np.broadcast_to)
def broadcast_to(a, shape, subok=False):
    return s.broadcast_to(a, shape=tuple(int(n) for n in (shape if isinstance(shape, (tuple, list)) else (shape,))))


@implements(np.broadcast_arrays)
def broadcast_arrays(*arrays, subok=False):
    shape = np.broadcast_shapes(*[np.shape(a) for a in arrays])
    return tuple(broadcast_to(a, shape) if isinstance(a, Traced) else np.broadcast_to(a, shape) for a in arrays)


@implements(np.concatenate)
def concatenate(arrays, /, axis=0, dtype=None, casting=None):
    parts = [operand(a) for a in arrays]
    if axis is None:
        parts, axis = [np.ravel(p) for p in parts], 0
    out = s.concatenate(*parts, axis=axis_of(axis, np.ndim(parts[0])))
    return out if dtype is None else astype(out, dtype)


@implements(np.stack)
def stack(arrays, axis=0, dtype=None, casting=None):
    parts = [operand(a) for a in arrays]
    return concatenate([np.expand_dims(p, axis) for p in parts], axis if axis >= 0 else axis_of(axis, np.ndim(parts[0]) + 1), dtype)


@implements(np.hstack)
def hstack(arrays, dtype=None, casting=None):
    parts = [np.atleast_1d(operand(a)) for a in arrays]
    return concatenate(parts, 0 if parts[0].ndim == 1 else 1)


@implements(np.vstack)
def vstack(arrays, dtype=None, casting=None):
    return concatenate([np.atleast_2d(operand(a)) for a in arrays], 0)


@implements(np.column_stack)
def column_stack(arrays):
    return concatenate([np.reshape(a, (-1, 1)) if np.ndim(a) < 2 else a for a in map(operand, arrays)], 1)


@implements(np.append)
def append(arr, values, axis=None):
    return concatenate([operand(arr), operand(values)], axis)


def _pieces(a, where, axis):
    at = [slice(None)] * a.ndim
    out = []
    for lo, hi in zip([0, *where], [*where, a.shape[axis]]):
        at[axis] = slice(int(lo), int(hi))
        out.append(a[tuple(at)])
    return out


@implements(np.array_split)
def array_split(a, sections, axis=0):
    axis = axis_of(axis, a.ndim)
    if isinstance(sections, (int, np.integer)):
        n = a.shape[axis]
        sizes = [n // sections + (k < n % sections) for k in range(sections)]
        sections = list(np.cumsum(sizes)[:-1])
    return _pieces(a, sections, axis)


@implements(np.split)
def split(a, sections, axis=0):
    if isinstance(sections, (int, np.integer)) and a.shape[axis_of(axis, a.ndim)] % sections:
        raise refuse(ValueError, f"split{{here}}: axis {axis} of {a.shape} does not divide into {sections} equal parts; use np.array_split")
    return array_split(a, sections, axis)


@implements(np.unstack)
def unstack(a, axis=0):
    return tuple(moveaxis(a, axis, 0))


@implements(np.pad)
def pad(a, pad_width, mode="constant", constant_values=0):
    if mode != "constant" or np.ndim(constant_values):
        raise refuse(TypeError, f"pad{{here}}: only mode='constant' with one value is supported on traced values; concatenate the parts of other modes")
    widths = np.broadcast_to(np.asarray(pad_width, int), (a.ndim, 2))
    return s.pad(a, widths=tuple((int(lo), int(hi)) for lo, hi in widths), value=constant_values)


@implements(np.flip)
def flip(m, axis=None):
    axes = axes_of(axis, m.ndim)
    return m[tuple(slice(None, None, -1) if k in axes else slice(None) for k in range(m.ndim))]


@implements(np.roll)
def roll(a, shift, axis=None):
    if axis is None:
        return np.reshape(roll(np.ravel(a), shift, 0), a.shape)
    for n, k in np.broadcast(shift, axis):
        k = axis_of(k, a.ndim)
        a = take(a, (np.arange(a.shape[k]) - n) % max(a.shape[k], 1), k)
    return a


@implements(np.tile)
def tile(A, reps):
    reps = tuple(reps) if np.ndim(reps) else (int(reps),)
    rank = max(len(reps), A.ndim)
    reps, shape = (1,) * (rank - len(reps)) + reps, (1,) * (rank - A.ndim) + A.shape
    wide = broadcast_to(reshaped(A, [n for k in shape for n in (1, k)]), [n for p in zip(reps, shape) for n in p])
    return reshaped(wide, [i * j for i, j in zip(reps, shape)])


@implements(np.repeat)
def repeat(a, repeats, axis=None):
    a, axis = (np.ravel(a), 0) if axis is None else (a, axis_of(axis, a.ndim))
    return take(a, np.repeat(np.arange(a.shape[axis]), repeats), axis)


@implements(np.tril)
def tril(m, k=0):
    return e.where(np.tri(*m.shape[-2:], k=k, dtype=bool), m, np.zeros((), m.dtype))


@implements(np.triu)
def triu(m, k=0):
    return e.where(np.tri(*m.shape[-2:], k=k - 1, dtype=bool), np.zeros((), m.dtype), m)


@implements(np.diagonal)
def diagonal(a, offset=0, axis1=0, axis2=1):
    a = moveaxis(a, (axis1, axis2), (-2, -1))
    rows, columns = a.shape[-2:]
    n = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    return getitem(a, (..., np.arange(n) + max(-offset, 0), np.arange(n) + max(offset, 0)))


@implements(np.diag)
def diag(v, k=0):
    if v.ndim == 2:
        return diagonal(v, k)
    n = v.shape[0] + abs(k)
    from .vocabulary.indexing import Slot, scatter
    rows = np.arange(v.shape[0]) + max(-k, 0)
    return scatter(v, rows, rows + k, index=(Slot(0), Slot(1)), shape=(n, n))


@implements(np.trace)
def trace(a, offset=0, axis1=0, axis2=1):
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1)


# ---- indexing and choosing ---------------------------------------------------------------------------------------------------

@implements(np.take)
def take(a, indices, axis=None, mode="raise"):
    a, axis = (np.ravel(a), 0) if axis is None else (a, axis_of(axis, a.ndim))
    indices = indices if isinstance(indices, Traced) else np.asarray(indices)
    return getitem(a, (slice(None),) * axis + (indices,))


@implements(np.take_along_axis)
def take_along_axis(arr, indices, axis=-1):
    axis = axis_of(axis, arr.ndim)
    grid = [np.arange(n).reshape([-1 if j == k else 1 for j in range(arr.ndim)]) for k, n in enumerate(indices.shape)]
    grid[axis] = indices
    return getitem(arr, tuple(grid))


@implements(np.compress)
def compress(condition, a, axis=None):
    return take(a, np.flatnonzero(plain(condition)), axis)


@implements(np.where)
def where(condition, x=None, y=None):
    if x is None or y is None:
        return nonzero(condition)
    return e.where(operand(condition), operand(x), operand(y))


@implements(np.select)
def select(condlist, choicelist, default=0):
    out = operand(default)
    for test, value in reversed(list(zip(condlist, choicelist))):
        out = e.where(operand(test), operand(value), out)
    return out


@implements(np.clip)
def clip(a, a_min=None, a_max=None, min=None, max=None):
    low = min if a_min is None or a_min is np._NoValue else a_min
    high = max if a_max is None or a_max is np._NoValue else a_max
    x = operand(a)
    x = x if low is None or low is np._NoValue else e.maximum(x, operand(low))
    return x if high is None or high is np._NoValue else e.minimum(x, operand(high))


@implements(np.nan_to_num)
def nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None):
    top = np.finfo(x.dtype).max
    x = e.where(e.isnan(x), nan, x)
    inf = e.isinf(x)
    return e.where(inf, e.where(e.greater(x, 0), top if posinf is None else posinf, -top if neginf is None else neginf), x)


@implements(np.nonzero)
def nonzero(a):
    return np.nonzero(plain(e.not_equal(a, 0)))


@implements(np.round, np.around)
def round_(a, decimals=0):
    return e.rint(a) if decimals == 0 else e.rint(a * 10.0 ** decimals) / 10.0 ** decimals


@implements(np.sinc)
def sinc(x):
    from .constants import PI
    zero = e.equal(x, 0)
    y = e.where(zero, 1.0, x) * PI
    return e.where(zero, 1.0 - e.square(x), e.sin(y) / y)


@implements(np.interp)
def interp(x, xp, fp, left=None, right=None, period=None):
    if period is not None or left is not None or right is not None:
        raise refuse(TypeError, "interp{here}: left, right and period are not supported on traced values")
    xp = operand(xp)
    k = np.clip(np.searchsorted(plain(xp), plain(x)) - 1, 0, len(xp) - 2)
    x = np.clip(x, xp[0], xp[-1])
    t = (x - np.take(xp, k)) / (np.take(xp, k + 1) - np.take(xp, k))
    return np.take(fp, k) + t * (np.take(fp, k + 1) - np.take(fp, k))


@implements(np.searchsorted)
def searchsorted(a, v, side="left", sorter=None):
    return np.searchsorted(plain(a), plain(v), side, sorter)


# ---- products ---------------------------------------------------------------------------------------------------------------------

@implements(np.dot)
def dot(a, b):
    a, b = operand(a), operand(b)
    return e.multiply(a, b) if np.ndim(a) == 0 or np.ndim(b) == 0 else c.dot(a, b)


@implements(np.vdot)
def vdot(a, b):
    return c.dot(np.ravel(a), np.ravel(b))


@implements(np.inner)
def inner(a, b):
    a, b = operand(a), operand(b)
    return e.multiply(a, b) if np.ndim(a) == 0 or np.ndim(b) == 0 else c.tensordot(a, b, axes=((np.ndim(a) - 1,), (np.ndim(b) - 1,)))


@implements(np.outer)
def outer(a, b):
    return e.multiply(np.reshape(operand(a), (-1, 1)), np.reshape(operand(b), (1, -1)))


@implements(np.tensordot)
def tensordot(a, b, axes=2):
    a, b = operand(a), operand(b)
    m, n = np.ndim(a), np.ndim(b)
    left, right = (range(m - axes, m), range(axes)) if isinstance(axes, (int, np.integer)) else axes
    left, right = ((k,) if isinstance(k, (int, np.integer)) else k for k in (left, right))
    return c.tensordot(a, b, axes=(tuple(axis_of(k, m) for k in left), tuple(axis_of(k, n) for k in right)))


@implements(np.kron)
def kron(a, b):
    a, b = operand(a), operand(b)
    n = max(a.ndim, b.ndim)
    sa, sb = (1,) * (n - a.ndim) + a.shape, (1,) * (n - b.ndim) + b.shape
    wide = np.reshape(a, [k for p in sa for k in (p, 1)]) * np.reshape(b, [k for p in sb for k in (1, p)])
    return np.reshape(wide, [p * q for p, q in zip(sa, sb)])


@implements(np.cross)
def cross(a, b, axis=-1):
    a, b = operand(a), operand(b)
    x, y = ([np.moveaxis(v, axis, 0)[k] for k in range(3)] for v in (a, b))
    return np.stack([x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]], axis)


@implements(np.linalg.multi_dot)
def multi_dot(arrays):
    out = operand(arrays[0])
    for a in arrays[1:]:
        out = np.dot(out, operand(a))
    return out


@implements(np.einsum)
def einsum(*operands, optimize=False, **kwargs):
    from opt_einsum.parser import parse_einsum_input
    if kwargs:
        raise TypeError(f"unexpected keyword {sorted(kwargs)[0]}")
    spec, arrays = operands[0], [operand(x) for x in operands[1:]]
    if not isinstance(spec, str):
        raise refuse(TypeError, "einsum{here}: on traced values the subscripts must be a string, as in np.einsum('ij,jk->ik', A, B)")
    left, out, _ = parse_einsum_input((spec, *[np.shape(x) for x in arrays]), shapes=True)
    return c.einsum(*arrays, subscripts=f"{left}->{out}")


# ---- making arrays ----------------------------------------------------------------------------------------------------------------

@implements(np.copy)
def copy_(a, order="K", subok=False):
    return copy(a)


def _full(x, value, dtype, shape):
    shape = x.shape if shape is None else shape
    out = np.empty(shape, x.dtype if dtype is None else dtype)
    if not isinstance(value, Traced):
        out[...] = value
        return _fillable(out)
    return copy(broadcast_to(astype(value, out.dtype), out.shape))


def _fillable(plain_array):
    from .buffers import Buffer
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


# ---- what is asked of shapes and values ----------------------------------------------------------------------------------------------

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


