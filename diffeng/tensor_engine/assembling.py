"""Functions that take tensors apart, put them together, or write parts of them anew: windows, diagonals, blocks, products of sets, entries by their indices.

What it is: PyTorch's names, most of them of a line in terms of what tensors can do already. FUNCTIONS: those that are methods, too; FUNCTIONS_ONLY: the others.
"""
import itertools

import numpy as np

from ..errors import refuse
from ..numpy_api import astype
from ..vocabulary import elementwise as e, indexing as places
from . import indexing
from .core import Operation, TensorBase, beside
from .functions import cat, meshgrid, operand, stack
from .operations import OPS, in_range
from .rules import INT64, axis, cast, torch_error


# ---- windows and diagonals --------------------------------------------------------------------------------------------------------------------

def _unfold(x, at, dim):
    return np.moveaxis(places.getitem(x, at, index=(slice(None),) * dim + (places.Slot(0),)), dim + 1, -1)


def _diag_embed(x, offset, dim1, dim2):
    n = x.shape[-1]
    step, m = np.arange(n), n + abs(offset)
    at = [places.Slot(0), places.Slot(1)]
    out = places.setitem(np.zeros((*x.shape[:-1], m, m), x.dtype), x, step + max(-offset, 0), step + max(offset, 0), index=(Ellipsis, *at))
    return np.moveaxis(out, (-2, -1), (dim1, dim2))


_UNFOLD, _DIAG_EMBED = Operation(_unfold, "unfold"), Operation(_diag_embed, "diag_embed")


def unfold(input, dimension, size, step):
    """Windows of so many entries along an axis, every step of them, along a new last axis. A copy, where PyTorch gives a view.

    Raises RuntimeError for a size that is larger than the axis, or a step below 1.
    """
    dim = axis(dimension, input.ndim)
    n = input.shape[dim] if input.ndim else 1
    if size > n or step <= 0:
        raise refuse(RuntimeError, f"unfold{{here}}: maximum size for tensor at dimension {dim} is {n} but size is {size}; the step is {step}, and must be > 0")
    x = input if input.ndim else input.reshape(1)
    return _UNFOLD(x, np.arange(0, n - size + 1, step)[:, None] + np.arange(size), dim=dim) if input.ndim else x[:size]


def diag_embed(input, offset=0, dim1=-2, dim2=-1):
    """Matrices with the last axis of input on a diagonal, and 0 elsewhere, on the axes dim1 and dim2."""
    return _DIAG_EMBED(input, offset=int(offset), dim1=axis(dim1, input.ndim + 1), dim2=axis(dim2, input.ndim + 1))


def diagflat(input, offset=0):
    """A matrix with all entries on a diagonal."""
    return diag_embed(input.reshape(-1), offset)


def rot90(input, k=1, dims=(0, 1)):
    """Turned by k right angles in the plane of two axes, from the first towards the second."""
    a, b = [axis(d, input.ndim) for d in dims]
    out = input.flip(*{0: (), 1: (b,), 2: (a, b), 3: (a,)}[k % 4]) if k % 4 else input.clone()
    return out.transpose(a, b) if k % 2 else out


def fliplr(input):
    return input.flip(1)


def flipud(input):
    input._has_axes("flipud")
    return input.flip(0)


# ---- apart, together --------------------------------------------------------------------------------------------------------------------------

def tensor_split(input, indices_or_sections, dim=0):
    """Views along an axis: so many parts, the first ones longer by one where that must be, or parts that end at these indices."""
    input._has_axes("tensor_split")
    dim = axis(dim, input.ndim)
    n, given = input.shape[dim], indices_or_sections
    given = given.tolist() if isinstance(given, TensorBase) else given
    if isinstance(given, int):
        if given <= 0:
            raise refuse(RuntimeError, f"tensor_split{{here}}: number of sections must be larger than 0, got {given}")
        ends = list(itertools.accumulate([n // given + (k < n % given) for k in range(given)]))[:-1]
    else:
        ends = list(given)
    return tuple([input[(slice(None),) * dim + (slice(a, b),)] for a, b in zip([0, *ends], [*ends, n])])


def _split_along(name, dim, least):
    def split(input, indices_or_sections):
        if input.ndim < least:
            raise refuse(RuntimeError, f"{name}{{here}} requires a tensor with at least {least} dimension, but got a tensor with {input.ndim} dimensions")
        at = 0 if name == "hsplit" and input.ndim == 1 else dim
        if isinstance(indices_or_sections, int) and input.shape[at] % indices_or_sections:
            raise refuse(RuntimeError, f"{name}{{here}} attempted to split along dimension {at}, but the size of the dimension {input.shape[at]} is not divisible by the "
                                       f"split_size {indices_or_sections}")
        return tensor_split(input, indices_or_sections, at)
    split.__name__, split.__doc__ = name, f"tensor_split along axis {dim}, into parts of one length, or at these indices."
    return split


def split_with_sizes(input, split_sizes, dim=0):
    """split with a list of sizes."""
    return input.split(list(split_sizes), dim)


def _at_least(n, shape):
    def at_least(*tensors):
        tensors = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
        out = [t if t.ndim >= n else t.reshape(shape(t.shape)) for t in tensors]
        return out[0] if len(out) == 1 else tuple(out)
    at_least.__name__, at_least.__doc__ = f"atleast_{n}d", f"Tensors of {n} axes or more."
    return at_least


atleast_1d, atleast_2d = _at_least(1, lambda s: (1,)), _at_least(2, lambda s: (1, *s) if s else (1, 1))
atleast_3d = _at_least(3, lambda s: (*s, 1) if len(s) == 2 else (1, *s, 1) if s else (1, 1, 1))


def dstack(tensors):
    """Tensors one behind the other, along the third axis."""
    return cat([atleast_3d(t) for t in tensors], 2)


def column_stack(tensors):
    """Vectors as columns, and matrices, side by side."""
    return cat([t.reshape(-1, 1) if t.ndim <= 1 else t for t in tensors], 1)


def block_diag(*tensors):
    """A matrix with these matrices along its diagonal, and 0 elsewhere."""
    blocks = [atleast_2d(t) for t in tensors]
    width, left, rows = sum([b.shape[1] for b in blocks]), 0, []
    for b in blocks:
        if b.ndim > 2:
            raise refuse(RuntimeError, f"block_diag{{here}}: Input tensors must have 2 or fewer dimensions, and one has {b.ndim}")
        h, w = b.shape
        rows.append(cat([b.new_zeros(h, left), b, b.new_zeros(h, width - left - w)], 1))
        left += w
    return cat(rows, 0)


def cartesian_prod(*tensors):
    """All rows of one entry of each vector, in order: (the product of the lengths, how many)."""
    if len(tensors) == 1:
        return tensors[0]
    return stack([t.reshape(-1) for t in meshgrid(*tensors)], 1)


def combinations(input, r=2, with_replacement=False):
    """All rows of r entries of a vector, in order, each entry once, or as often as may be."""
    pick = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    at = np.asarray(list(pick(range(input.shape[0]), r)), INT64).reshape(-1, r)
    return input[beside(input, at)]


def vander(x, N=None, increasing=False):
    """The powers of each entry of a vector, N of them, as rows: the largest first, unless increasing."""
    n = x.shape[0] if N is None else N
    powers = [x.new_ones(x.shape)]
    for _ in range(n - 1):
        powers.append(powers[-1] * x)
    powers = powers[:n]
    return stack(powers if increasing else powers[::-1], 1) if powers else x.new_ones(x.shape[0], 0)


def broadcast_shapes(*shapes):
    """The shape that these broadcast to."""
    from .shapes import Size
    return Size(np.broadcast_shapes(*shapes))


# ---- entries by their indices -------------------------------------------------------------------------------------------------------------------

def take_along_dim(input, indices, dim=None):
    """gather with axes that broadcast, and with indices that count from the end; without an axis, of all entries in order."""
    if dim is None:
        return input.reshape(-1).gather(0, indices.reshape(-1))
    dim = axis(dim, input.ndim)
    if indices.ndim != input.ndim:
        raise refuse(RuntimeError, f"torch.take_along_dim(){{here}}: input and indices should have the same number of dimensions, but got {input.ndim} dimensions for input, and "
                                   f"{indices.ndim} dimensions for indices")
    indices = OPS["where"](indices < 0, indices + input.shape[dim], indices)
    shape = [*np.broadcast_shapes(*[x.shape[:dim] + (1,) + x.shape[dim + 1:] for x in (input, indices)])]
    input, indices = [x.expand(*shape[:dim], x.shape[dim], *shape[dim + 1:]) for x in (input, indices)]
    return input.gather(dim, indices)


def argwhere(input):
    """The indices of entries other than 0, one row each."""
    return input.nonzero()


def repeat_interleave(input, repeats=None, dim=None, *, output_size=None):
    """Each entry, or part along an axis, so many times: a number, or a tensor (n,) with one for each. Of repeats alone: 0, 1, ... so many times."""
    if repeats is None:
        return beside(input, np.repeat(np.arange(input.shape[0]), input.value))
    if not isinstance(repeats, TensorBase) or repeats.numel() == 1:
        return OPS["repeat"](input, repeats=int(repeats), dim=dim)
    input, dim = (input.reshape(-1), 0) if dim is None else (input, axis(dim, input.ndim))
    if repeats.ndim != 1 or repeats.shape[0] != input.shape[dim]:
        raise refuse(RuntimeError, f"repeat_interleave{{here}}: repeats must have the same size as input along dim, but repeats.size(0) = {repeats.shape[0]} and "
                                   f"input.size({dim}) = {input.shape[dim]}")
    return input.index_select(dim, beside(input, np.repeat(np.arange(input.shape[dim]), repeats.value)))


_ADD = Operation(lambda x, v, *arrays, index: places.add_at(x, cast(v, x.dtype) if hasattr(v, "dtype") else x.dtype.type(v), *arrays, index=index), "index_put")


def index_put(input, indices, values, accumulate=False):
    """A copy with values written at these indices, a tuple of tensors, or added there, as often as an index comes."""
    if not accumulate:
        return indexing.set(input, tuple(indices), values)
    arrays, template, _ = indexing.split(tuple(indices), input)
    return _ADD(input, values, *arrays, index=template)


def _at_places(input, dim, index, value):
    dim = axis(dim, input.ndim)
    if not input.ndim:
        return _at_places(input.reshape(1), dim, index, value).reshape(())
    return indexing.set(input, (slice(None),) * dim + (index,), value)


def index_fill(input, dim, index, value):
    """A copy with one value at these places along an axis."""
    return _at_places(input, dim, index, value)


def index_copy(input, dim, index, source):
    """A copy with the parts of source at these places along an axis."""
    return _at_places(input, dim, index, source)


def masked_scatter(input, mask, source):
    """A copy with the entries of source, one after the other, where the mask is true."""
    shape = np.broadcast_shapes(input.shape, mask.shape)
    mask = mask.expand(shape)
    n = int(mask.value.sum())
    if n > source.numel():
        raise refuse(RuntimeError, f"masked_scatter{{here}}: expected the number of elements in source to be at least the number of ones in mask: {source.numel()} and {n}")
    return indexing.set(input.expand(shape), mask, source.reshape(-1)[:n])


def select_scatter(input, src, dim, index):
    """A copy with src at one place along an axis."""
    return indexing.set(input, (slice(None),) * axis(dim, input.ndim) + (index,), src)


def slice_scatter(input, src, dim=0, start=None, end=None, step=1):
    """A copy with src at a slice along an axis."""
    return indexing.set(input, (slice(None),) * axis(dim, input.ndim) + (slice(start, end, step),), src)


_REDUCE = {"sum": (np.sum, 0), "prod": (np.prod, 1), "mean": (np.sum, 0), "amax": (np.max, -1), "amin": (np.min, 1)}


def _scatter_reduce(x, at, src, *, dim, reduce, include_self):
    """Each place along dim sees all of src along dim, of which those count that go there: ties of amax and amin share the derivative as np.max's do."""
    if at.ndim != x.ndim or src.ndim != x.ndim:
        raise torch_error(RuntimeError, f"scatter_reduce: Index tensor must have the same number of dimensions as self tensor: {at.ndim}, {x.ndim}, and src has {src.ndim}")
    if x.dtype != src.dtype:
        raise torch_error(RuntimeError, f"scatter(): Expected self.dtype to be equal to src.dtype, and they are {x.dtype} and {src.dtype}")
    if not x.ndim:
        return _scatter_reduce(x[None], at[None], src[None], dim=0, reduce=reduce, include_self=include_self)[0]
    function, fill = _REDUCE[reduce]
    if reduce in ("amax", "amin"):
        fill = fill * np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min if fill < 0 else np.iinfo(x.dtype).max
    part = tuple([slice(None) if k == dim else slice(0, n) for k, n in enumerate(at.shape)])
    mine, given = np.moveaxis(x[part], dim, -1), np.moveaxis(src[tuple([slice(0, n) for n in at.shape])], dim, -1)
    goes = e.equal(np.moveaxis(in_range(at, x.shape[dim], dim, "scatter_reduce"), dim, -1)[..., None, :], np.arange(x.shape[dim])[:, None])
    goes = np.concatenate([np.full((*mine.shape, 1), bool(include_self)), goes], axis=-1)
    seen = np.concatenate([mine[..., None], np.broadcast_to(given[..., None, :], goes.shape[:-1] + given.shape[-1:])], axis=-1)
    found = function(e.where(goes, seen, np.full((), fill, x.dtype)), axis=-1)
    if reduce == "mean":
        count = astype(np.maximum(np.sum(astype(goes, INT64), axis=-1), 1), x.dtype)
        found = found / count if x.dtype.kind == "f" else e.floor_divide(found, count)
    found = np.moveaxis(e.where(np.any(goes, axis=-1), astype(found, x.dtype), mine), -1, dim)
    return places.setitem(x, found, index=part)


_SCATTER_REDUCE = Operation(_scatter_reduce, "scatter_reduce")


def scatter_reduce(input, dim, index, src, reduce, *, include_self=True):
    """The entries of src that go to each place along an axis, by their "sum", "prod", "mean", "amax" or "amin", with what is there already unless include_self=False.

    index: as in scatter. Raises RuntimeError for another word, for shapes and dtypes that do not fit.
    """
    if reduce not in _REDUCE:
        raise refuse(RuntimeError, f"scatter_reduce{{here}}: reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    return _SCATTER_REDUCE(input, index, operand(src), dim=axis(dim, input.ndim), reduce=reduce, include_self=bool(include_self))


def fill_diagonal_(self, fill_value, wrap=False):
    """One value on the diagonal, in place; wrap: of a matrix with more rows, it begins anew after each block of columns and one row."""
    if self.ndim == 2 and wrap:
        at = np.arange(0, self.numel(), self.shape[1] + 1)
        self[at // self.shape[1], at % self.shape[1]] = fill_value
    elif self.ndim == 2:
        self.diagonal().fill_(fill_value)
    else:
        self[tuple([np.arange(min(self.shape))] * self.ndim)] = fill_value
    return self


def unravel_index(indices, shape):
    """The index along each axis of entries that are counted through."""
    return tuple([beside(indices, x) for x in np.unravel_index(indices.value, shape)])


def is_nonzero(input):
    """Is the one entry other than 0?"""
    return bool(input)


FUNCTIONS = {f.__name__: f for f in (
    diag_embed, diagflat, rot90, fliplr, flipud, tensor_split, split_with_sizes, take_along_dim, argwhere, repeat_interleave, index_put, index_fill, index_copy, masked_scatter,
    select_scatter, slice_scatter, scatter_reduce, is_nonzero, *[_split_along(*a) for a in (("hsplit", 1, 1), ("vsplit", 0, 2), ("dsplit", 2, 3))])}
METHODS = {"unfold": unfold, "fill_diagonal_": fill_diagonal_}
FUNCTIONS_ONLY = {f.__name__: f for f in (atleast_1d, atleast_2d, atleast_3d, dstack, column_stack, block_diag, cartesian_prod, combinations, vander, broadcast_shapes,
                                          unravel_index)} | {"row_stack": lambda tensors: cat([atleast_2d(t) for t in tensors], 0)}
