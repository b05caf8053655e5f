"""grid_sample and affine_grid: images read at places that are computed (spatial transformers, Jaderberg et al., NeurIPS 2015).

What it is: entries read by index, whose weights have derivatives with respect to the places. What it is not: no resizing (resampling.py).
"""
import itertools

import numpy as np

from ..errors import refuse
from ..numpy_api import astype
from ..tensor_engine.core import Operation
from ..tensor_engine.functions import operand
from ..tensor_engine.rules import INT64
from ..tensors import tensor
from ..vocabulary import elementwise as e, indexing


def _reflected(at, low, high):
    """at, mirrored at low and high as often as it takes."""
    span = high - low
    if span <= 0:
        return at * 0
    far = e.absolute(at - low)
    turns = np.floor(far / span)
    rest = far - turns * span
    return e.where(e.equal(turns - 2 * np.floor(turns / 2), 0), rest + low, high - rest)


def _places(grid, n, align, padding):
    """Where -1 to 1 lies among n entries: from the centres of the outermost ones, aligned, or from their edges."""
    at = (grid + 1) * ((n - 1) / 2) if align else ((grid + 1) * n - 1) / 2
    if padding == "reflection":
        at = _reflected(at, 0.0, n - 1.0) if align else _reflected(at, -0.5, n - 0.5)
    if padding == "zeros":
        return at
    return e.where(e.less(at, 0), np.zeros((), at.dtype), e.where(e.greater(at, n - 1), np.full((), n - 1, at.dtype), at))


def _grid_sample(x, grid, *, mode, padding, align):
    """x: (N, C, *sizes), grid: (N, *places, axes), the last axis of x first -> (N, C, *places)."""
    sizes, rows = x.shape[2:], np.moveaxis(x, 1, -1)
    at = [_places(grid[..., len(sizes) - 1 - k], n, align, padding) for k, n in enumerate(sizes)]
    first = np.reshape(np.arange(x.shape[0]), (-1,) + (1,) * len(sizes))
    total, below = None, [np.rint(p) if mode == "nearest" else np.floor(p) for p in at]
    for corner in itertools.product((0,) if mode == "nearest" else (0, 1), repeat=len(sizes)):
        inside, weight, index = None, None, []
        for n, p, low, step in zip(sizes, at, below, corner):
            here = low + step
            there = e.logical_and(e.greater_equal(here, 0), e.less(here, n))
            inside = there if inside is None else e.logical_and(inside, there)
            index.append(astype(e.where(there, here, np.zeros((), here.dtype)), INT64))
            part = None if mode == "nearest" else p - low if step else 1 - (p - low)
            weight = part if weight is None else weight * part
        read = indexing.getitem(rows, first, *index, index=tuple([indexing.Slot(k) for k in range(len(sizes) + 1)]))
        read = e.where(inside[..., None], read if weight is None else read * weight[..., None], np.zeros((), x.dtype))
        total = read if total is None else total + read
    return np.moveaxis(total, -1, 1)


_GRID_SAMPLE = Operation(_grid_sample, "grid_sample")


def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """Entries of input at the places of grid, between entries by linear interpolation. input: (N, C, H, W), grid: (N, h, w, 2) of x and y, -1 to 1 -> (N, C, h, w); or three axes.

    mode: "bilinear" or "nearest". padding_mode: what is outside, "zeros", "border" or "reflection". align_corners: -1 and 1 are the centres of the outermost entries, else their
    edges. Raises NotImplementedError for mode="bicubic".
    """
    input, grid = operand(input), operand(grid)
    if mode not in ("bilinear", "nearest"):
        raise refuse(NotImplementedError if mode == "bicubic" else ValueError, f"grid_sample{{here}}: expected mode to be 'bilinear' or 'nearest', but got: {mode!r}; interpolate has 'bicubic'")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise refuse(ValueError, f"grid_sample{{here}}: expected padding_mode to be 'zeros', 'border', or 'reflection', but got: {padding_mode!r}")
    size = input.ndim - 2
    if size not in (2, 3) or grid.ndim != input.ndim or grid.shape[-1] != size or grid.shape[0] != input.shape[0]:
        raise refuse(RuntimeError, f"grid_sample{{here}}: expected input and grid to have the same batch size, (N, C, H, W) and (N, h, w, 2), or (N, C, D, H, W) and (N, d, h, w, 3), but they "
                                   f"have shapes {list(input.shape)} and {list(grid.shape)}")
    return _GRID_SAMPLE(input, grid, mode=mode, padding=padding_mode, align=bool(align_corners))


def affine_grid(theta, size, align_corners=None):
    """Places for grid_sample: theta (N, 2, 3), or (N, 3, 4), times (x, y, 1) of each place of a result of this size, (N, C, h, w) -> (N, h, w, 2)."""
    places = tuple(size)[2:]
    if theta.ndim != 3 or tuple(theta.shape[1:]) != (len(places), len(places) + 1) or len(places) not in (2, 3):
        raise refuse(ValueError, f"affine_grid{{here}}: Expected a batch of 2D affine matrices of shape Nx2x3 for size {tuple(size)}, or Nx3x4 for three axes. Got {list(theta.shape)}")
    axes = [np.linspace(-1, 1, n) * (1 if align_corners else (n - 1) / n) if n > 1 else np.zeros(1) for n in places]
    ones = np.ones(places)
    base = np.stack([*[at for at in np.meshgrid(*axes, indexing="ij")][::-1], ones], -1)
    points = tensor(base.reshape(-1, len(places) + 1), dtype=theta.dtype, device=theta.device)
    return (points @ theta.mT).reshape(theta.shape[0], *places, len(places))


FUNCTIONS = {"grid_sample": grid_sample, "affine_grid": affine_grid}
