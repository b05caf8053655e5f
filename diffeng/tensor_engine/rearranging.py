"""The methods of tensors that rearrange entries: views, repetitions, parts, gathers and scatters.

What it is not: what these do to memory stands in shapes.py, what they compute in operations.py. A file of its own because the face (tensors.py) is long enough.
"""
import numpy as np

from ..errors import refuse
from . import shapes
from .core import TensorBase
from .operations import OPS
from .rules import axis


class Rearranged(TensorBase):
    """The part of Tensor that gives entries another place."""

    # ---- shapes ---------------------------------------------------------------------------------------------------------------------------------

    def view(self, *shape, size=()):
        """The same memory in another shape. Raises RuntimeError where the memory's order does not allow it."""
        if len(shape) == 1 and isinstance(shape[0], np.dtype):
            raise refuse(RuntimeError, "view{here}: the bytes of a tensor cannot be seen as another dtype; convert it with .to(dtype)")
        shape = shapes.inferred(shapes.sizes(shape or size), self.numel(), self.shape)
        if not shapes.viewable(self, shape):
            raise refuse(RuntimeError, f"view{{here}}: view size is not compatible with input tensor's size and stride (at least one dimension spans across "
                                       f"two contiguous subspaces): shape {list(self.shape)}, strides {list(self.stride())}. Use .reshape(...) instead.")
        return shapes.reshape(self, shape=shape)

    def reshape(self, *sizes, shape=()):
        """Another shape: a view where the memory's order allows it, else a copy."""
        shape = shapes.inferred(shapes.sizes(sizes or shape), self.numel(), self.shape)
        if shapes.viewable(self, shape):
            return shapes.reshape(self, shape=shape)
        return shapes.reshaped_copy(self, shape=shape)

    def view_as(self, other):
        return self.view(other.shape)

    def reshape_as(self, other):
        return self.reshape(other.shape)

    def permute(self, *axes, dims=()):
        dims = tuple(axis(int(d), self.ndim) for d in shapes.sizes(axes or dims))
        if sorted(dims) != [*range(self.ndim)]:
            raise refuse(RuntimeError, f"permute(sparse_coo){{here}}: number of dimensions in the tensor input does not match the length of the desired "
                                       f"ordering of dimensions i.e. input.dim() = {self.ndim} is not equal to len(dims) = {len(dims)}, or a dim is repeated")
        return shapes.permute(self, dims=dims)

    def transpose(self, dim0, dim1):
        dims = [*range(self.ndim)]
        if not dims:
            return self
        a, b = axis(dim0, self.ndim), axis(dim1, self.ndim)
        dims[a], dims[b] = dims[b], dims[a]
        return shapes.permute(self, dims=tuple(dims))

    swapaxes = swapdims = transpose

    def t(self):
        if self.ndim > 2:
            raise refuse(RuntimeError, f"t(){{here}} expects a tensor with <= 2 dimensions, but self is {self.ndim}D")
        return self.transpose(0, 1) if self.ndim == 2 else self

    def movedim(self, source, destination):
        return self if not self.ndim else self.permute(*shapes.moved(self.ndim, source, destination))

    moveaxis = movedim

    def flatten(self, start_dim=0, end_dim=-1):
        return self.reshape(shapes.flattened(self.shape, start_dim, end_dim))

    def ravel(self):
        return self.reshape(-1)

    def unflatten(self, dim, sizes):
        dim = axis(dim, self.ndim)
        return self.view(self.shape[:dim] + shapes.inferred(sizes, self.shape[dim], (self.shape[dim],)) + self.shape[dim + 1:])

    def squeeze(self, dim=None):
        return self._same_order(shapes.squeezed(self.shape, dim))

    def unsqueeze(self, dim):
        dim = axis(dim, self.ndim + 1)
        return self._same_order(self.shape[:dim] + (1,) + self.shape[dim:])

    def _same_order(self, shape):
        return shapes.reshape(self, shape=shape)

    def expand(self, *sizes, size=()):
        return shapes.expand(self, shape=shapes.expanded(shapes.sizes(sizes or size), self.shape))

    def expand_as(self, other):
        return self.expand(other.shape)

    def repeat(self, *sizes, repeats=()):
        """The tensor tiled: repeat(2, 3)."""
        sizes = shapes.sizes(sizes or repeats)
        if len(sizes) < self.ndim:
            raise refuse(RuntimeError, "repeat{here}: Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
        return OPS["tile"](self, reps=sizes)

    def tile(self, *reps, dims=()):
        """repeat, for fewer numbers than axes, too: the first axes are there once then."""
        reps = shapes.sizes(reps or dims)
        return self.repeat((1,) * (self.ndim - len(reps)) + reps)

    def flip(self, *axes, dims=()):
        return OPS["flip"](self, dims=tuple(axis(d, self.ndim) for d in shapes.sizes(axes or dims)))

    def roll(self, shifts, dims=None):
        return OPS["roll"](self, shifts=shifts, dims=dims)

    def tril(self, diagonal=0):
        return OPS["tril"](self, diagonal=diagonal)

    def triu(self, diagonal=0):
        return OPS["triu"](self, diagonal=diagonal)

    def diagonal(self, offset=0, dim1=0, dim2=1):
        """The entries whose indices along two axes differ by offset, as the last axis of a view."""
        return shapes.diagonal(self, offset=offset, dim1=axis(dim1, self.ndim), dim2=axis(dim2, self.ndim))

    def diag(self, diagonal=0):
        return OPS["diag"](self, diagonal=diagonal)

    def trace(self):
        return self.diagonal().sum()

    def split(self, split_size, dim=0):
        """Views of this many entries along an axis (an int, or a list of sizes)."""
        self._has_axes("split")
        dim = axis(dim, self.ndim)
        n = self.shape[dim]
        sizes = list(split_size) if isinstance(split_size, (list, tuple)) else [min(split_size, n - k) for k in range(0, n, split_size)] or [0]
        if sum(sizes) != n:
            raise refuse(RuntimeError, f"split_with_sizes{{here}} expects split_sizes to sum exactly to {n} (input tensor's size at dimension {dim}), but got "
                                       f"split_sizes={sizes}")
        starts = [sum(sizes[:k]) for k in range(len(sizes))]
        return tuple(self.narrow(dim, s, m) for s, m in zip(starts, sizes))

    def chunk(self, chunks, dim=0):
        self._has_axes("chunk")
        n = self.shape[axis(dim, self.ndim)]
        return self.split(-(-n // chunks) if n else [0] * chunks, dim)

    def unbind(self, dim=0):
        return tuple(self.select(dim, k) for k in range(self.shape[axis(dim, self.ndim)]))

    def _has_axes(self, name):
        if not self.ndim:
            raise refuse(RuntimeError, f"{name}{{here}} expects at least a 1-dimensional tensor: reshape(1) makes one of a number")

    def narrow(self, dim, start, length):
        self._has_axes("narrow")
        dim = axis(dim, self.ndim)
        if not 0 <= start <= start + length <= self.shape[dim]:
            raise refuse(RuntimeError, f"narrow{{here}}: start ({start}) + length ({length}) exceeds dimension size ({self.shape[dim]}).")
        return self[(slice(None),) * dim + (slice(start, start + length),)]

    def select(self, dim, index):
        return self[(slice(None),) * axis(dim, self.ndim) + (index,)]

    def index_select(self, dim, index):
        """The parts at these places along an axis. Raises IndexError for a place that is not there; none is counted from the end."""
        return OPS["index_select"](self, index, dim=axis(dim, self.ndim))

    def masked_select(self, mask):
        shape = np.broadcast_shapes(self.shape, mask.shape)
        return self.expand(shape)[mask.expand(shape)]

    def take(self, index):
        return self.reshape(-1)[index]

    def gather(self, dim, index, *, sparse_grad=False):
        """The entries at these places along an axis, and elsewhere entry by entry. Raises IndexError for a place that is not there (none is counted from the
        end), RuntimeError for an index of another rank, or larger than the tensor along another axis."""
        return OPS["gather"](self, index, dim=axis(dim, self.ndim))

    def scatter(self, dim, index, src=None, *, value=None, reduce=None):
        """A copy with src, or one value, at these places along an axis. reduce: "add" or "multiply" with what is there."""
        src = value if src is None else src
        if reduce == "multiply":
            src = src if isinstance(src, TensorBase) else self.new_full(index.shape, src)
            return self.scatter_reduce(dim, index, src, "prod")
        if reduce not in (None, "add"):
            raise refuse(RuntimeError, f"scatter{{here}}: reduce argument must be either add or multiply, and is {reduce!r}; see scatter_reduce")
        return OPS["scatter"](self, index, src, dim=axis(dim, self.ndim), add=reduce == "add")

    def scatter_add(self, dim, index, src):
        return OPS["scatter"](self, index, src, dim=axis(dim, self.ndim), add=True)

    def index_add(self, dim, index, source, *, alpha=1):
        """A copy with alpha times the parts of source added at these places along an axis, as often as a place comes."""
        return OPS["index_add"](self, source, index, dim=axis(dim, self.ndim), alpha=alpha)
