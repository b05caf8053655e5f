"""interpolate, unfold and fold: images of another size, and images as columns of windows.

What it is: weighted sums of entries that are read by index along one axis after the other. What it is not: pooling (pooling.py), products with windows (convolution.py).
"""
import math

import numpy as np

from ..errors import refuse
from ..tensor_engine.core import Operation
from ..tensor_engine.functions import operand
from ..tensor_engine.rules import torch_error
from ..vocabulary import indexing
from . import pooling
from .convolution import each_axis, folded, windows
from .module import FRESH, Module

_LINEAR = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}          # how many axes each is for
_A = -0.75                                                                  # of the cubic (Keys, IEEE Trans. Acoust. Speech Signal Process. 29, 1981)


# ---- interpolation --------------------------------------------------------------------------------------------------------------------------

def _places(n, m, step, align):
    """Where the centres of m entries lie among n: of the outermost ones where the edges do, or, aligned, where theirs do."""
    return np.arange(m) * ((n - 1) / (m - 1) if m > 1 else 0.0) if align else (np.arange(m) + 0.5) * step - 0.5


def _taps(mode, n, m, step, align):
    """[(which entry, with which weight)], for the m entries of the result along an axis of n."""
    if mode in ("nearest", "nearest-exact"):
        at = np.arange(m, dtype=np.float32) + np.float32(0.5 if mode == "nearest-exact" else 0.0)          # PyTorch rounds in float32
        return [(np.minimum(np.floor(at * np.float32(step)).astype(np.int64), n - 1), None)]
    at = _places(n, m, step, align)
    if mode != "bicubic":
        at = np.maximum(at, 0.0)
        low = np.minimum(np.floor(at).astype(np.int64), n - 1)
        share = np.clip(at - low, 0.0, 1.0)
        return [(low, 1 - share), (np.minimum(low + 1, n - 1), share)]
    low = np.floor(at).astype(np.int64)
    t = at - low
    near, far = (lambda d: ((_A + 2) * d - (_A + 3)) * d * d + 1), (lambda d: ((_A * d - 5 * _A) * d + 8 * _A) * d - 4 * _A)
    return [(np.clip(low + k, 0, n - 1), w) for k, w in ((-1, far(t + 1)), (0, near(t)), (1, near(1 - t)), (2, far(2 - t)))]


def _interpolate(x, *, mode, sizes, steps, align):
    for k, (m, step) in enumerate(zip(sizes, steps), 2):
        if m == x.shape[k] and mode not in ("nearest-exact", "bicubic"):          # whatever the factor, as in PyTorch
            continue
        total, shape = None, (-1,) + (1,) * (x.ndim - k - 1)
        for at, weight in _taps(mode, x.shape[k], m, step, align):
            part = indexing.getitem(x, at, index=(slice(None),) * k + (indexing.Slot(0),))
            part = part if weight is None else part * np.reshape(weight, shape).astype(x.dtype)
            total = part if total is None else total + part
        x = total
    return x


_INTERPOLATE = Operation(_interpolate, "interpolate")


def interpolate(input, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None, antialias=False):
    """The input (N, C, ...), with one to three axes of places, in another size, or scaled by a factor: a number, or one an axis.

    mode: "nearest" (of each entry's first corner), "nearest-exact" (of its centre), "linear", "bilinear", "bicubic" or "trilinear" for one, two or three axes, "area": means.
    align_corners: the outermost entries keep their places, else the outermost edges. recompute_scale_factor: by the sizes, not by the factor that was given.
    Raises ValueError for a size and a factor, or neither; NotImplementedError for axes that do not fit the mode.

    >>> import diffeng as de
    >>> interpolate(de.tensor([[[0.0, 1.0]]]), size=3, mode="linear", align_corners=True)
    tensor([[[0.0000, 0.5000, 1.0000]]])
    """
    input, axes = operand(input), input.ndim - 2
    if antialias:
        raise refuse(NotImplementedError, "interpolate{here}: antialias=True is not there: blur, or take means (mode='area'), before")
    if mode not in _LINEAR and mode not in ("nearest", "nearest-exact", "area") or not 1 <= axes <= 3 or _LINEAR.get(mode, axes) != axes:
        raise refuse(NotImplementedError, f"interpolate{{here}}: Input Error: mode {mode!r} does not take an input of shape {list(input.shape)}: 'linear' is for "
                                          "(N, C, L), 'bilinear' and 'bicubic' for (N, C, H, W), 'trilinear' for (N, C, D, H, W), 'nearest', 'nearest-exact' and 'area' for each")
    if align_corners is not None and mode not in _LINEAR:
        raise refuse(ValueError, f"interpolate{{here}}: align_corners option can only be set with the interpolating modes: {', '.join(_LINEAR)}")
    if (size is None) == (scale_factor is None):
        raise refuse(ValueError, "interpolate{here}: only one of size or scale_factor should be defined, and one of them must be")
    given = size if scale_factor is None else scale_factor
    if isinstance(given, (tuple, list)) and len(given) != axes:
        raise refuse(ValueError, f"interpolate{{here}}: Input and size or scale_factor must have the same number of spatial dimensions: {len(given)} "
                                 f"numbers for {list(input.shape[2:])}")
    given = each_axis(given, axes)
    places = input.shape[2:]
    sizes = tuple([int(m) for m in given] if scale_factor is None else [math.floor(n * f) for n, f in zip(places, given)])
    if min((*sizes, *places)) < 1:
        raise refuse(RuntimeError, f"interpolate{{here}}: Input and output sizes should be greater than 0, but got input {list(places)} and output {list(sizes)}")
    if mode == "area":
        return _means(input, sizes)
    by_factor = scale_factor is not None and not recompute_scale_factor
    steps = tuple([1 / f if by_factor else n / m for n, m, f in zip(places, sizes, given)])
    return _INTERPOLATE(input, mode=mode, sizes=sizes, steps=steps, align=bool(align_corners))


def _means(x, sizes):
    """Of windows that share out each axis, one axis after the other."""
    for k, m in enumerate(sizes, 2):
        rows = x.movedim(k, -1)
        x = pooling.adaptive_avg_pool1d(rows.reshape(1, -1, rows.shape[-1]), m).reshape(*rows.shape[:-1], m).movedim(-1, k)
    return x


# ---- windows as columns ---------------------------------------------------------------------------------------------------------------------

def _geometry(name, places, kernel, dilation, padding, stride):
    """How many windows there are along each axis."""
    counts = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(places, kernel, dilation, padding, stride)]
    if min(counts) < 1:
        raise torch_error(RuntimeError, f"{name}: with kernel_size={kernel}, dilation={dilation}, padding={padding}, stride={stride} there are {counts} windows in "
                                        f"{list(places)}: they must be at least one")
    return counts


def _unfold(x, *, kernel, dilation, padding, stride):
    counts = _geometry("unfold", x.shape[2:], kernel, dilation, padding, stride)
    x = np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in padding]]) if any(padding) else x
    return np.reshape(np.stack(windows(x, kernel, stride, dilation, counts), 2), (x.shape[0], x.shape[1] * math.prod(kernel), math.prod(counts)))


def _fold(x, *, places, kernel, dilation, padding, stride):
    counts, count = _geometry("fold", places, kernel, dilation, padding, stride), math.prod(kernel)
    if x.shape[1] % count or x.shape[2] != math.prod(counts):
        raise torch_error(RuntimeError, f"fold: Given output_size={places}, kernel_size={kernel}, dilation={dilation}, padding={padding}, stride={stride}, expected input of shape "
                                        f"(N, C * {count}, {math.prod(counts)}), but got {list(x.shape)}")
    parts = np.reshape(x, (x.shape[0], x.shape[1] // count, count, *counts))
    return folded(parts, [n + 2 * p for n, p in zip(places, padding)], kernel, stride, dilation)[(slice(None), slice(None), *[slice(p, p + n) for n, p in zip(places, padding)])]


_UNFOLD, _FOLD = Operation(_unfold, "unfold"), Operation(_fold, "fold")


def _batched(name, x, ndim, applied):
    if x.ndim not in (ndim - 1, ndim):
        raise refuse(RuntimeError, f"{name}{{here}}: Expected {ndim - 1}D or {ndim}D (batch mode) tensor, but got input of size {list(x.shape)}")
    return applied(x) if x.ndim == ndim else applied(x.unsqueeze(0)).squeeze(0)


def _pairs(**options):
    return {name: tuple([int(n) for n in each_axis(x, 2)]) for name, x in options.items()}


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """The windows of images (N, C, H, W) as columns: (N, C * the entries of a window, how many windows there are)."""
    options = _pairs(kernel=kernel_size, dilation=dilation, padding=padding, stride=stride)
    return _batched("unfold", operand(input), 4, lambda x: _UNFOLD(x, **options))


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Images (N, C, *output_size) of columns (N, C * the entries of a window, how many windows there are), which are added where windows overlap."""
    options = _pairs(places=output_size, kernel=kernel_size, dilation=dilation, padding=padding, stride=stride)
    return _batched("fold", operand(input), 3, lambda x: _FOLD(x, **options))


FUNCTIONS = {f.__name__: f for f in (interpolate, unfold, fold)} | {"upsample": interpolate}


# ---- modules --------------------------------------------------------------------------------------------------------------------------------

class Upsample(Module):
    """functional.interpolate by these arguments."""

    def __init__(self, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None):
        self.size, self.mode, self.align_corners, self.recompute_scale_factor = size, mode, align_corners, recompute_scale_factor
        self.scale_factor = tuple(map(float, scale_factor)) if isinstance(scale_factor, (tuple, list)) else scale_factor and float(scale_factor)

    def forward(self, x):
        return interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor)

    def extra_repr(self):
        return (f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}") + f", mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Upsample of images by the nearest entry."""

    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor)


class UpsamplingBilinear2d(Upsample):
    """Upsample of images, linear along both axes, with corners that keep their places."""

    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor, "bilinear", True)


class Unfold(Module):
    """functional.unfold by these arguments."""

    def __init__(self, kernel_size, dilation=1, padding=0, stride=1):
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, x):
        return unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Unfold):
    """functional.fold by these arguments."""

    def __init__(self, output_size, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = output_size

    def forward(self, x):
        return fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self):
        return f"output_size={self.output_size}, {super().extra_repr()}"


FRESH |= {Upsample, UpsamplingNearest2d, UpsamplingBilinear2d, Unfold, Fold}
