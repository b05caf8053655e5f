"""Operations that give another shape to the same memory: views, and how to write through them.

Every view is a pair: again(parent) makes it anew, put(parent, value) is the parent with `value` where the view was (aliases.link keeps both).
"""
import math

import numpy as np

from ..vocabulary import indexing, shaping
from .aliases import link
from .core import Operation
from .rules import axis, torch_error


class Size(tuple):
    """A shape: a tuple that also says how many entries there are."""

    __slots__ = ()

    def numel(self):
        return math.prod(self)


def _view(name, forward, backward):
    """forward(x, **params) -> the view; backward(parent, value, **params) -> the parent holding value."""
    again = Operation(forward, name, views=True)
    put = Operation(lambda x, v, **params: backward(x, v, **params), name)

    def view(t, **params):
        return link(again(t, **params), t, lambda p: again(p, **params), lambda p, v: put(p, v, **params))
    return view


reshape = _view("view", lambda x, shape: shaping.reshape(x, shape=shape), lambda x, v, shape: shaping.reshape(v, shape=x.shape))
permute = _view("permute", lambda x, dims: shaping.transpose(x, axes=dims), lambda x, v, dims: shaping.transpose(v, axes=tuple(np.argsort(dims).tolist())))
expand = _view("expand", lambda x, shape: np.broadcast_to(x, shape), None)


def _diagonal(x, offset, dim1, dim2):
    out = np.diagonal(x, offset, dim1, dim2)
    if type(out) is np.ndarray and x.flags.writeable:
        out.flags.writeable = True                              # NumPy makes it read-only
    return out


def _with_diagonal(x, v, offset, dim1, dim2):
    steps, index = np.arange(v.shape[-1]), [slice(None)] * x.ndim
    index[dim1], index[dim2] = indexing.Slot(0), indexing.Slot(1)
    ahead = min(dim1, dim2) if abs(dim1 - dim2) == 1 else 0      # where NumPy puts the axis of two index arrays
    return indexing.setitem(x, np.moveaxis(v, -1, ahead), steps + max(-offset, 0), steps + max(offset, 0), index=tuple(index))


diagonal = _view("diagonal", _diagonal, _with_diagonal)
reshaped_copy = Operation(lambda x, shape: shaping.reshape(x, shape=shape), "reshape")


def inferred(shape, size, old):
    """A shape with at most one -1, filled in."""
    shape = tuple(int(n) for n in shape)
    if shape.count(-1) > 1:
        raise torch_error(RuntimeError, "only one dimension can be inferred")
    known = math.prod(n for n in shape if n != -1)
    if -1 in shape:
        if known == 0:
            raise torch_error(RuntimeError, f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified dimension size -1 can be "
                                            "any value and is ambiguous")
        if size % known:
            raise _invalid(shape, size, old)
        shape = tuple(size // known if n == -1 else n for n in shape)
    if math.prod(shape) != size:
        raise _invalid(shape, size, old)
    return shape


def _invalid(shape, size, old):
    return torch_error(RuntimeError, f"shape '{list(shape)}' is invalid for input of size {size} (its shape is {list(old)})")


def expanded(shape, old):
    """The sizes of expand: -1 keeps, 1 stretches."""
    if len(shape) < len(old):
        raise torch_error(RuntimeError, f"expand: the number of sizes provided ({len(shape)}) must be greater or equal to the number of dimensions in the "
                                        f"tensor ({len(old)})")
    lead, out = len(shape) - len(old), []
    for k, n in enumerate(shape):
        have = old[k - lead] if k >= lead else 1
        if n == -1 and k < lead:
            raise torch_error(RuntimeError, f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {k}")
        if n not in (-1, have) and have != 1:
            raise torch_error(RuntimeError, f"The expanded size of the tensor ({n}) must match the existing size ({have}) at non-singleton dimension {k}.  "
                                            f"Target sizes: {list(shape)}.  Tensor sizes: {list(old)}")
        out.append(have if n == -1 else n)
    return tuple(out)


def squeezed(shape, dim):
    """The shape without axes of length 1, or without those of `dim` that are."""
    if dim is None:
        return tuple(n for n in shape if n != 1)
    chosen = {axis(d, len(shape)) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))}
    return tuple(n for k, n in enumerate(shape) if n != 1 or k not in chosen)


def flattened(shape, start, end):
    """The shape with axes start..end melted into one."""
    if not shape:
        return (1,)
    start, end = axis(start, len(shape)), axis(end, len(shape))
    if start > end:
        raise torch_error(RuntimeError, "flatten() has invalid args: start_dim cannot come after end_dim")
    return shape[:start] + (math.prod(shape[start:end + 1]),) + shape[end + 1:]


def sizes(args):
    """Sizes given as view(2, 3), view((2, 3)) or view([2, 3]); by its name, a number alone stands for one."""
    if isinstance(args, int):
        args = (args,)
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = args[0]
    return tuple([int(n) for n in args])


def contiguous(t):
    """Do its entries lie in order, without gaps?"""
    expected = t.dtype.itemsize
    for s, n in zip(t.strides()[::-1], t.shape[::-1]):
        if n != 1 and s != expected:
            return t.numel() == 0
        expected *= n
    return True


def viewable(t, shape):
    """Can this tensor be seen in the other shape without a copy?"""
    if contiguous(t):
        return True
    like = np.lib.stride_tricks.as_strided(np.empty(0, t.dtype), t.shape, t.strides(), writeable=False)
    try:
        like.view().shape = shape
    except AttributeError:
        return False
    return True


def moved(ndim, source, destination):
    """The permutation that moves axes from source to destination."""
    source, destination = [[axis(d, ndim) for d in (x if isinstance(x, (tuple, list)) else (x,))] for x in (source, destination)]
    order = [k for k in range(ndim) if k not in source]
    for d, s in sorted(zip(destination, source)):
        order.insert(d, s)
    return order
