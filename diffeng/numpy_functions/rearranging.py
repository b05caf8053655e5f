"""Entries in other places: np.flipud, np.rot90, np.block, np.insert, np.delete, np.pad, sliding windows, ... Gathers and concatenations."""
import numpy as np

from ..constants import unchanged
from ..errors import refuse
from ..numpy_api import arrayed, axes_of, axis_of, getitem, operand, plain
from ..traced import Traced, layout_of, viewing
from ..ufunc_dtypes import cast
from ..vocabulary import shaping as s
from ..vocabulary.indexing import places
from .table import counted, implements


@implements(np.flip)
def flip(m, axis=None):
    axes = axes_of(axis, m.ndim)
    return m[tuple(slice(None, None, -1) if k in axes else slice(None) for k in range(m.ndim))]


@implements(np.flipud)
def flipud(m):
    return m[::-1]


@implements(np.fliplr)
def fliplr(m):
    return m[:, ::-1]


@implements(np.rot90)
def rot90(m, k=1, axes=(0, 1)):
    first, second = (axis_of(a, m.ndim) for a in axes)
    if first == second:
        raise refuse(ValueError, f"rot90{{here}}: axes={tuple(axes)} are one and the same: a plane has two")
    k %= 4
    if k in (0, 2):
        return flip(m, (first, second)) if k else m[:]
    return np.swapaxes(flip(m, second), first, second) if k == 1 else flip(np.swapaxes(m, first, second), second)


@implements(np.roll)
def roll(a, shift, axis=None):
    if axis is None:
        return np.reshape(roll(np.ravel(a), shift, 0), a.shape)
    for n, k in ((shift, axis),) if type(shift) is type(axis) is int else np.broadcast(plain(operand(shift)), axis):
        k = axis_of(k, a.ndim)
        before, cut = (slice(None),) * k, -int(n) % max(a.shape[k], 1)
        a = s.concatenate(getitem(a, (*before, slice(cut, None))), getitem(a, (*before, slice(cut))), axis=k)
    return a


def _halved(sign):
    def shift(x, axes=None):
        x = operand(x)
        axes = axes_of(axes, x.ndim)
        return roll(x, [sign * (x.shape[k] // 2) for k in axes], axes)
    return shift


implements(np.fft.fftshift)(_halved(1))
implements(np.fft.ifftshift)(_halved(-1))


@implements(np.block)
def block(arrays):
    def depth(x):
        depths = {depth(y) for y in x} if isinstance(x, list) else {-1}
        if len(depths) != 1:
            raise refuse(ValueError, f"block{{here}}: {'an empty list' if not depths else 'lists of different depths'}: write one list for each row")
        return 1 + depths.pop()

    levels = depth(arrays)

    def rank(x):
        return max(map(rank, x)) if isinstance(x, list) else np.ndim(operand(x))

    ndim = max(levels, rank(arrays))

    def joined(x, level):
        if isinstance(x, list):
            return np.concatenate([joined(y, level + 1) for y in x], axis=level - levels)
        x = operand(x)
        return np.reshape(x, (1,) * (ndim - np.ndim(x)) + np.shape(x))

    return joined(arrays, 0)


@implements(np.insert)
def insert(arr, obj, values, axis=None):
    arr, values = operand(arr), arrayed(values)
    values = cast(values, arr.dtype)
    obj = plain(obj) if isinstance(obj, Traced) else obj
    arr, axis = (np.ravel(arr), 0) if axis is None else (arr, axis_of(axis, arr.ndim))
    single = np.ndim(obj) == 0 and not isinstance(obj, slice)
    values = np.reshape(values, (1,) * (arr.ndim - np.ndim(values)) + np.shape(values))
    if single and arr.ndim > 1:
        values = np.moveaxis(values, 0, axis)
    n = arr.shape[axis]
    m = values.shape[axis] if single else len(np.arange(n)[obj]) if isinstance(obj, slice) or np.asarray(obj).dtype == bool else np.size(obj)
    values = np.broadcast_to(values, arr.shape[:axis] + (m,) + arr.shape[axis + 1:])
    return np.take(np.concatenate([arr, values], axis=axis), np.insert(np.arange(n), obj, n + np.arange(m)), axis)


@implements(np.delete)
def delete(arr, obj, axis=None):
    arr, axis = (np.ravel(arr), 0) if axis is None else (arr, axis_of(axis, arr.ndim))
    return np.take(arr, np.delete(np.arange(arr.shape[axis]), obj if isinstance(obj, slice) else plain(obj)), axis)


@implements(np.resize)
def resize(a, new_shape):
    a, new_shape = np.ravel(operand(a)), [counted(n, "resize length") for n in np.ravel(plain(operand(new_shape)))]
    if not a.size:
        return np.zeros(new_shape, a.dtype)
    return np.reshape(np.take(a, np.arange(int(np.prod(new_shape))) % a.size), new_shape)


@implements(np.pad)
def pad(array, pad_width, mode="constant", constant_values=0, reflect_type="even", stat_length=None, end_values=0):
    a = operand(array)
    if isinstance(pad_width, dict):                                      # NumPy 2.2: an axis' widths by its name, none elsewhere
        sides, pad_width = pad_width, np.zeros((a.ndim, 2), int)
        for k, width in sides.items():
            pad_width[axis_of(k, a.ndim)] = width
    if a.ndim == 0:
        return a.copy()
    widths = np.array(((pad_width,) * 2,) * a.ndim) if type(pad_width) is int else \
        np.broadcast_to(plain(operand(pad_width)).astype(int, casting="same_kind"), (a.ndim, 2))
    if (widths < 0).any():
        raise refuse(ValueError, "pad{here}: widths are 0 or more; cut with an index: x[1:-1]")
    if mode == "constant" and np.ndim(constant_values) == 0 and not isinstance(constant_values, Traced):
        return s.pad(a, widths=tuple(map(tuple, widths.tolist())), value=constant_values)
    if mode == "constant":                                               # a value for each side of each axis, and traced ones
        values = np.broadcast_to(cast(arrayed(constant_values), a.dtype), (a.ndim, 2))
        for k in range(a.ndim):
            ends = [np.broadcast_to(values[k, side], a.shape[:k] + (int(widths[k, side]),) + a.shape[k + 1:]) for side in (0, 1)]
            a = np.concatenate([ends[0], a, ends[1]], axis=k)
        return a
    if mode in _STATISTICS or mode == "linear_ramp":
        return _ended(a, widths, mode, stat_length, end_values)
    odd = mode in ("reflect", "symmetric") and reflect_type == "odd"
    if mode not in ("edge", "reflect", "symmetric", "wrap") or not odd and reflect_type != "even":
        raise refuse(TypeError, f"pad{{here}}: mode={mode!r} is not supported on traced values like this: there are 'constant', 'edge', 'linear_ramp', 'maximum', "
                                "'mean', 'median', 'minimum', 'reflect', 'symmetric' and 'wrap'; concatenate the parts of other modes")
    for k, width in enumerate(widths):
        if width.any() and odd and a.shape[k] > 1:
            before, after = [_mirrored(x, k, int(n), mode) for x, n in zip((np.flip(a, k), a), width)]
            a = np.concatenate([np.flip(before, k), a, after], axis=k)
        elif width.any():
            a = np.take(a, np.pad(np.arange(a.shape[k]), width, mode), k)
    return a


def _mirrored(a, axis, width, mode):
    """What follows a at its end: turn after turn a goes on as it came, turned about its last entry ("reflect"), or about the place behind it."""
    n, edge, parts = a.shape[axis], int(mode == "reflect"), []
    part = lambda x, start, stop: x[(slice(None),) * axis + (slice(start, stop),)]
    while width > 0:
        last, m = part(a, n - 1, n), min(width, n - edge)
        parts.append(2 * last - np.flip(part(a, n - edge - m, n - edge), axis))
        a, width = np.concatenate([last, parts[-1]], axis=axis) if edge else parts[-1], width - m
    return np.concatenate([part(a, 0, 0), *parts], axis=axis)


_STATISTICS = {"maximum": np.max, "mean": np.mean, "median": np.median, "minimum": np.min}


def _ended(a, widths, mode, stat_length, end_values):
    """Padded, axis by axis, by ramps from the edges to end_values, or by statistics of the first and the last stat_length entries."""
    lengths = None if stat_length is None else np.broadcast_to(plain(operand(stat_length)), (a.ndim, 2))
    values = np.broadcast_to(cast(arrayed(end_values), a.dtype), (a.ndim, 2))
    for k in range(a.ndim):
        parts = [a]
        for side, width in enumerate(map(int, widths[k])):
            if not width:
                continue
            count = 1 if mode == "linear_ramp" else a.shape[k] if lengths is None else min(int(lengths[k, side]), a.shape[k])
            near = a[(slice(None),) * k + (slice(a.shape[k] - count, None) if side else slice(count),)]
            if mode == "linear_ramp":
                ramp = np.linspace(values[k, side], np.squeeze(near, k), width, endpoint=False, dtype=a.dtype, axis=k)
                parts.insert(2 * side, np.flip(ramp, k) if side else ramp)
            else:
                level = _STATISTICS[mode](near, axis=k, keepdims=True)
                level = cast(np.rint(level) if a.dtype.kind in "iu" else level, a.dtype)
                parts.insert(2 * side, np.broadcast_to(level, a.shape[:k] + (width,) + a.shape[k + 1:]))
        a = np.concatenate(parts, axis=k)
    return a


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(x, window_shape, axis=None, subok=False, writeable=False):
    window = tuple(window_shape) if np.ndim(window_shape) else (window_shape,)
    axes = tuple(range(x.ndim)) if axis is None else tuple(axis_of(k, x.ndim) for k in (axis if np.ndim(axis) else (axis,)))
    out = x
    for w, k in zip(window, axes, strict=True):
        out = np.moveaxis(np.take(out, unchanged(np.arange(out.shape[k] - w + 1)[:, None] + np.arange(w)), k), k + 1, -1)
    return viewing(out, x, lambda y: np.lib.stride_tricks.sliding_window_view(y, window, axes))


def as_strided(x, shape=None, strides=None, subok=False, writeable=True, **others):
    """np.lib.stride_tricks.as_strided of entries that lie one after the other. What it returns can be read only."""
    x = arrayed(x)
    shape, strides = tuple(x.shape if shape is None else shape), tuple(layout_of(x).strides if strides is None else strides)
    if others or not layout_of(x).flags.c_contiguous or len(shape) != len(strides) or any(k % x.itemsize for k in strides):
        raise refuse(ValueError, "as_strided{here}: of traced values it takes whole entries of an array that lies in C order, by shape and strides of one length. Give it "
                                 "x.copy(), or use np.lib.stride_tricks.sliding_window_view")
    at = sum([places(n).reshape([-1 if j == k else 1 for j in range(len(shape))]) * (stride // x.itemsize) for k, (n, stride) in enumerate(zip(shape, strides))],
             np.zeros(shape, np.intp))
    if at.size and not 0 <= at.min() <= at.max() < x.size:
        raise refuse(ValueError, f"as_strided{{here}}: shape {shape} and strides {strides} reach beyond the {x.size} entries of the array")
    return viewing(np.take(np.ravel(x), unchanged(at)), x, lambda y: np.lib.stride_tricks.as_strided(y, shape, strides))


@implements(np.ix_)
def ix_(*args):
    if not all(np.ndim(a) == 1 for a in args):
        raise refuse(ValueError, f"ix_{{here}}: it takes arrays of one axis, and was given {', '.join(str(np.shape(a)) for a in args)}")
    at = [np.nonzero(a)[0] if a.dtype.kind == "b" else a if a.size else cast(a, np.dtype(np.intp)) for a in map(operand, args)]
    return tuple([np.reshape(a, [-1 if j == k else 1 for j in range(len(at))]) for k, a in enumerate(at)])


@implements(np.apply_along_axis)
def apply_along_axis(func1d, axis, arr, *args, **kwargs):
    """All at once, unless func1d looks at values."""
    from ..batching import mapping
    x = np.moveaxis(arr, axis_of(axis, arr.ndim), -1)
    if not x.size:
        raise refuse(ValueError, f"apply_along_axis{{here}}: there is nothing along an axis of shape {arr.shape}")
    made = mapping(lambda row: operand(func1d(row, *args, **kwargs)), branches=True)(np.reshape(x, (-1, x.shape[-1])))
    out = np.reshape(made, x.shape[:-1] + made.shape[1:])
    rank = made.ndim - 1
    return np.moveaxis(out, list(range(out.ndim - rank, out.ndim)), [axis_of(axis, arr.ndim) + k for k in range(rank)]) if rank else out


@implements(np.apply_over_axes)
def apply_over_axes(func, a, axes):
    for k in np.ravel(axes):
        k = axis_of(k, a.ndim)
        out = func(a, k)
        a = out if np.ndim(out) == a.ndim else np.expand_dims(out, k)
    return a
