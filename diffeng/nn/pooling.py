"""Pooling: the largest, or the mean, of windows of the input, with PyTorch's meaning of stride, padding, dilation and ceil_mode; pixel_shuffle.

What it is: the windows are strided parts of the input, one for each place in the kernel, as in convolution.py. What it is not: no kernel of its own.
"""
import functools
import math

import numpy as np

from ..errors import refuse
from ..tensor_engine.core import Operation
from ..tensor_engine.functions import operand
from ..tensor_engine.rules import torch_error
from ..vocabulary import elementwise as e, indexing
from .convolution import each_axis, windows
from .module import Module
from .padding import pad


def _places(n, kernel, stride, padding, dilation, ceil):
    """How many windows there are along an axis of n entries; the last one begins inside of the input, or in what is padded on its left."""
    room = n + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-room // stride) if ceil else room // stride) + 1
    return count - (ceil and (count - 1) * stride >= n + padding)


def _windows(x, kernel, stride, padding, dilation, places, fill):
    """The entry at each place in the kernel, of every window, along a new last axis: (N, C, ..., prod(kernel))."""
    ends = [(p, max(0, (m - 1) * s + (k - 1) * d + 1 - n - p)) for n, k, s, p, d, m in zip(x.shape[2:], kernel, stride, padding, dilation, places)]
    if any(map(any, ends)):
        x = np.pad(x, [(0, 0), (0, 0), *ends], constant_values=fill)
    return np.stack(windows(x, kernel, stride, dilation, places), -1)


def _smallest(dtype):
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _max_pool(x, *, kernel, stride, padding, dilation, places):
    """(the largest entry of each window, its place in the input, which is counted through all of its places)."""
    read = _windows(x, kernel, stride, padding, dilation, places, _smallest(x.dtype))
    at = np.argmax(read, axis=-1, keepdims=True)
    values = np.take_along_axis(read, at, -1)[..., 0]
    inside, flat, size = np.unravel_index(np.arange(math.prod(kernel)), kernel), 0, len(kernel)
    for k in range(size):
        first = np.arange(places[k]) * stride[k] - padding[k]
        there = np.reshape(first, (-1,) + (1,) * (size - k - 1)) + (inside[k] * dilation[k])[at[..., 0]]
        flat = flat * x.shape[2 + k] + there
    return values, flat


def _avg_pool(x, *, kernel, stride, padding, places, count_include_pad, divisor):
    total = np.sum(_windows(x, kernel, stride, padding, (1,) * len(kernel), places, 0), axis=-1)
    if divisor is None:
        counts = []
        for n, k, s, p, m in zip(x.shape[2:], kernel, stride, padding, places):
            first = np.arange(m) * s - p
            last = np.minimum(first + k, n + p)
            counts.append(last - first if count_include_pad else np.minimum(last, n) - np.maximum(first, 0))
        divisor = functools.reduce(np.multiply.outer, counts)
    return total / np.asarray(divisor, x.dtype)


def _adaptive(x, *, sizes, largest):
    """Windows from floor(k n / m) to ceil((k + 1) n / m): means, or the largest entries and their places."""
    size = len(sizes)
    kernel = [max(-(-(k + 1) * n // m) - k * n // m for k in range(m)) for n, m in zip(x.shape[2:], sizes)]
    at, inside = [], []
    for k, (n, m, w) in enumerate(zip(x.shape[2:], sizes, kernel)):
        first, last = np.arange(m) * n // m, -(-np.arange(1, m + 1) * n // m)
        where = first[:, None] + np.arange(w)
        shape = [1] * (2 * size)
        shape[k], shape[size + k] = m, w
        at.append(np.reshape(np.minimum(where, n - 1), shape))
        inside.append(np.reshape(where < last[:, None], shape))
    seen = np.reshape(np.broadcast_to(functools.reduce(np.logical_and, inside), (*sizes, *kernel)), (*sizes, -1))
    read = indexing.getitem(x, *at, index=(slice(None), slice(None), *[indexing.Slot(k) for k in range(size)]))
    read = np.reshape(read, (*x.shape[:2], *sizes, -1))
    if not largest:
        return np.sum(e.where(seen, read, np.zeros((), x.dtype)), axis=-1) / seen.sum(-1).astype(x.dtype)
    found = np.argmax(e.where(seen, read, np.full((), _smallest(x.dtype), x.dtype)), axis=-1, keepdims=True)
    flat = functools.reduce(lambda place, k: place * x.shape[2 + k] + at[k], range(1, size), at[0])
    flat = np.broadcast_to(flat, (*sizes, *kernel)).reshape(*sizes, -1)
    return np.take_along_axis(read, found, -1)[..., 0], np.sum(e.where(e.equal(np.arange(flat.shape[-1]), found), flat, 0), axis=-1)


_MAX, _AVG, _ADAPTIVE = Operation(_max_pool, "max_pool"), Operation(_avg_pool, "avg_pool"), Operation(_adaptive, "adaptive_pool")


def _batched(name, size, x, pooled):
    """pooled(x) for an input of (N, C, ...), and for one of (C, ...)."""
    x = operand(x)
    if x.ndim not in (size + 1, size + 2):
        raise refuse(RuntimeError, f"{name}{{here}}: Expected {size + 1}D or {size + 2}D (batch mode) tensor for input, but got: {list(x.shape)}")
    if x.ndim == size + 2:
        return pooled(x)
    out = pooled(x.unsqueeze(0))
    return tuple([y.squeeze(0) for y in out]) if isinstance(out, tuple) else out.squeeze(0)


def _geometry(name, size, x, kernel, stride, padding, dilation, ceil):
    kernel, padding, dilation = (tuple([int(n) for n in each_axis(v, size)]) for v in (kernel, padding, dilation))
    stride = kernel if stride is None or stride == [] else tuple([int(n) for n in each_axis(stride, size)])
    if any([2 * p > k for p, k in zip(padding, kernel)]):
        raise refuse(RuntimeError, f"{name}{{here}}: pad should be at most half of effective kernel size, but got pad={padding} and kernel_size={kernel}")
    places = tuple([_places(*each, ceil) for each in zip(x.shape[2:], kernel, stride, padding, dilation)])
    if min(places) < 1:
        raise refuse(RuntimeError, f"{name}{{here}}: Given input size: {list(x.shape[1:])}. Calculated output size: {[x.shape[1], *places]}. Output size is too small")
    return dict(kernel=kernel, stride=stride, padding=padding, places=places), dilation


def _pools(size):
    """max_pool, avg_pool, adaptive_max_pool and adaptive_avg_pool of so many axes."""
    def max_pool(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        def pooled(x):
            geometry, spread = _geometry(f"max_pool{size}d", size, x, kernel_size, stride, padding, dilation, ceil_mode)
            out = _MAX(x, dilation=spread, **geometry)
            return out if return_indices else out[0]
        return _batched(f"max_pool{size}d", size, input, pooled)

    def avg_pool(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
        def pooled(x):
            geometry, _ = _geometry(f"avg_pool{size}d", size, x, kernel_size, stride, padding, 1, ceil_mode)
            return _AVG(x, count_include_pad=bool(count_include_pad), divisor=divisor_override, **geometry)
        return _batched(f"avg_pool{size}d", size, input, pooled)

    def sizes(output_size, x):
        return tuple([n if m is None else int(m) for n, m in zip(x.shape[2:], each_axis(output_size, size))])

    def adaptive_max_pool(input, output_size, return_indices=False):
        def pooled(x):
            out = _ADAPTIVE(x, sizes=sizes(output_size, x), largest=True)
            return out if return_indices else out[0]
        return _batched(f"adaptive_max_pool{size}d", size, input, pooled)

    def adaptive_avg_pool(input, output_size):
        return _batched(f"adaptive_avg_pool{size}d", size, input, lambda x: _ADAPTIVE(x, sizes=sizes(output_size, x), largest=False))

    what = "input: (N, C, ...) or (C, ...)."
    for function, text in ((max_pool, "The largest entry of each window; with return_indices their places, too. stride: the kernel_size unless given."),
                           (avg_pool, "The mean of each window; count_include_pad: zeros around the input count."),
                           (adaptive_max_pool, "The largest entries of so many windows that share out the input."), (adaptive_avg_pool, "The means of so many windows that share out the input.")):
        function.__name__ += f"{size}d"
        function.__doc__ = f"{text} {what}"
    return max_pool, avg_pool, adaptive_max_pool, adaptive_avg_pool


max_pool1d, avg_pool1d, adaptive_max_pool1d, adaptive_avg_pool1d = _pools(1)
max_pool2d, avg_pool2d, adaptive_max_pool2d, adaptive_avg_pool2d = _pools(2)
max_pool3d, avg_pool3d, adaptive_max_pool3d, adaptive_avg_pool3d = _pools(3)


def pixel_shuffle(input, upscale_factor):
    """(..., C r r, H, W) as (..., C, H r, W r) (Shi et al., CVPR 2016)."""
    r, (c, h, w) = upscale_factor, input.shape[-3:]
    if c % (r * r):
        raise torch_error(RuntimeError, f"pixel_shuffle: expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but {c} is not divisible by {r * r}")
    x = input.reshape(*input.shape[:-3], c // (r * r), r, r, h, w)
    n = x.ndim - 5
    return x.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2).reshape(*input.shape[:-3], c // (r * r), h * r, w * r)


def pixel_unshuffle(input, downscale_factor):
    """The inverse of pixel_shuffle."""
    r, (c, h, w) = downscale_factor, input.shape[-3:]
    if h % r or w % r:
        raise torch_error(RuntimeError, f"pixel_unshuffle: expects height and width to be divisible by downscale_factor, but {h} and {w} are not divisible by {r}")
    x = input.reshape(*input.shape[:-3], c, h // r, r, w // r, r)
    n = x.ndim - 5
    return x.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3).reshape(*input.shape[:-3], c * r * r, h // r, w // r)


def channel_shuffle(input, groups):
    """The channels of (N, C, ...), which come from groups one after the other, in turns (Zhang et al., CVPR 2018)."""
    n, c, *places = input.shape
    if c % groups:
        raise refuse(RuntimeError, f"channel_shuffle{{here}}: Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    return input.reshape(n, groups, c // groups, *places).transpose(1, 2).reshape(input.shape)


def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """x / (k + alpha times the mean of squares of the size channels around)^beta (Krizhevsky, Sutskever & Hinton, NeurIPS 2012). input: (N, C, ...)."""
    if input.ndim < 3:
        raise refuse(ValueError, f"local_response_norm{{here}}: Expected 3D or higher dimensionality input (got {input.ndim} dimensions)")
    around, n = pad(input * input, [0, 0] * (input.ndim - 2) + [size // 2, (size - 1) // 2]), input.shape[1]
    return input / (k + sum([around[:, j:j + n] for j in range(size)]) * (alpha / size)) ** beta


FUNCTIONS = {f.__name__: f for f in (channel_shuffle, local_response_norm, max_pool1d, avg_pool1d, adaptive_max_pool1d, adaptive_avg_pool1d, max_pool2d, avg_pool2d, adaptive_max_pool2d, adaptive_avg_pool2d,
                                     max_pool3d, avg_pool3d, adaptive_max_pool3d, adaptive_avg_pool3d, pixel_shuffle, pixel_unshuffle)}


# ---- modules --------------------------------------------------------------------------------------------------------------------------------

class _MaxPoolNd(Module):
    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False):
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.dilation, self.return_indices, self.ceil_mode = dilation, return_indices, ceil_mode

    def forward(self, x):
        return self.function(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class MaxPool1d(_MaxPoolNd):
    """The largest entry of each window: see functional.max_pool1d.

    >>> import diffeng as de
    >>> MaxPool1d(2)(de.tensor([[1.0, 3.0, 2.0, 0.0]])).tolist()
    [[3.0, 2.0]]
    """

    function = staticmethod(max_pool1d)


class MaxPool2d(_MaxPoolNd):
    """The largest entry of each window: see functional.max_pool2d."""

    function = staticmethod(max_pool2d)


class MaxPool3d(_MaxPoolNd):
    """The largest entry of each window: see functional.max_pool3d."""

    function = staticmethod(max_pool3d)


class _AvgPoolNd(Module):
    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.ceil_mode, self.count_include_pad, self.divisor_override = ceil_mode, count_include_pad, divisor_override

    def forward(self, x):
        return self.function(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override)

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPoolNd):
    """The mean of each window: see functional.avg_pool1d."""

    function = staticmethod(avg_pool1d)


class AvgPool2d(_AvgPoolNd):
    """The mean of each window: see functional.avg_pool2d."""

    function = staticmethod(avg_pool2d)


class AvgPool3d(_AvgPoolNd):
    """The mean of each window: see functional.avg_pool3d."""

    function = staticmethod(avg_pool3d)


class _AdaptiveAvgPoolNd(Module):
    def __init__(self, output_size):
        self.output_size = output_size

    def forward(self, x):
        return self.function(x, self.output_size)

    def extra_repr(self):
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """The means of output_size windows that share out the input; None: as many as there are entries."""

    function = staticmethod(adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """The means of output_size windows that share out the input, a number or one an axis; None: as many as there are entries."""

    function = staticmethod(adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """The means of output_size windows that share out the input, a number or one an axis; None: as many as there are entries."""

    function = staticmethod(adaptive_avg_pool3d)


class _AdaptiveMaxPoolNd(_AdaptiveAvgPoolNd):
    def __init__(self, output_size, return_indices=False):
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, x):
        return self.function(x, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """The largest entries of output_size windows that share out the input; return_indices: and their places."""

    function = staticmethod(adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """The largest entries of output_size windows, a number or one an axis, that share out the input; return_indices: and their places."""

    function = staticmethod(adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """The largest entries of output_size windows, a number or one an axis, that share out the input; return_indices: and their places."""

    function = staticmethod(adaptive_max_pool3d)


class PixelShuffle(Module):
    """(..., C r r, H, W) as (..., C, H r, W r)."""

    function = staticmethod(pixel_shuffle)

    def __init__(self, upscale_factor):
        self.factor = upscale_factor

    def forward(self, x):
        return self.function(x, self.factor)


class PixelUnshuffle(PixelShuffle):
    """The inverse of PixelShuffle."""

    function = staticmethod(pixel_unshuffle)

    def __init__(self, downscale_factor):
        super().__init__(downscale_factor)


class ChannelShuffle(Module):
    """functional.channel_shuffle by this number of groups."""

    def __init__(self, groups):
        self.groups = groups

    def forward(self, x):
        return channel_shuffle(x, self.groups)

    def extra_repr(self):
        return f"groups={self.groups}"


class LocalResponseNorm(Module):
    """functional.local_response_norm by these arguments."""

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0):
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x):
        return local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self):
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
