"""Conv1d, Conv2d and Conv3d, ConvTranspose1d to ConvTranspose3d, and their functions: sums of products with windows of the input, and their adjoints, with PyTorch's meaning of
stride, padding, dilation and groups.

What it is: the windows are strided parts of the input, laid side by side for one product. What it is not: no transform, no kernel of its own.
"""
import functools
import itertools
import math

import numpy as np

from . import init
from ..errors import refuse
from ..tensors import zeros
from ..tensor_engine.core import Operation
from ..tensor_engine.functions import operand
from ..tensor_engine.rules import torch_error
from ..vocabulary import indexing
from .module import FRESH, Module, Parameter
from .padding import pad


def windows(x, kernel, stride, dilation, places):
    """[the entry at a place in the kernel, of every window: (N, C, *places)], for each place. x: (N, C, ...), padded."""
    return [x[(slice(None), slice(None), *[slice(k * d, k * d + s * (n - 1) + 1, s) for k, d, s, n in zip(at, dilation, stride, places)])]
            for at in itertools.product(*map(range, kernel))]


def folded(parts, sizes, kernel, stride, dilation):
    """The adjoint of windows: (N, C, *sizes), in which the entry at each place in the kernel, of every window, parts (N, C, prod(kernel), *places), is added where it was read."""
    places, out = parts.shape[3:], np.zeros((*parts.shape[:2], *sizes), parts.dtype)
    for k, at in enumerate(itertools.product(*map(range, kernel))):
        index = tuple([slice(j * d, j * d + s * (n - 1) + 1, s) for j, d, s, n in zip(at, dilation, stride, places)])
        out = indexing.add_at(out, parts[:, :, k], index=(slice(None), slice(None), *index))
    return out


def _conv(x, weight, bias=None, *, stride, padding, dilation, groups):
    """x: (N, C, ...). weight: (O, C / groups, ...) -> (N, O, ...)."""
    size, (batch, channels, *_), (out, share, *kernel) = len(weight.shape) - 2, x.shape, weight.shape
    if channels != share * groups or out % groups:
        raise torch_error(RuntimeError, f"conv{size}d: Given groups={groups}, weight of size {list(weight.shape)}, expected input{list(x.shape)} to have {share * groups} channels, "
                                        f"but got {channels} channels instead")
    if any(map(any, padding)):
        x = np.pad(x, [(0, 0), (0, 0), *padding])
    places = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation)]
    if min(places) < 1:
        raise torch_error(RuntimeError, f"conv{size}d: Calculated padded input size per channel: {list(x.shape[2:])}. Kernel size: {kernel}. Kernel size can't be greater than "
                                        "actual input size")
    read = np.reshape(np.stack(windows(x, kernel, stride, dilation, places), 2), (batch, groups, share * math.prod(kernel), math.prod(places)))
    found = np.reshape(weight, (groups, out // groups, share * math.prod(kernel))) @ read
    found = np.reshape(found, (batch, out, *places))
    return found if bias is None else found + np.reshape(bias, (out,) + (1,) * size)


def _conv_transpose(x, weight, bias=None, *, stride, padding, output_padding, dilation, groups):
    """x: (N, C, ...). weight: (C, O / groups, ...) -> (N, O, ...)."""
    size, (batch, channels, *places), (given, share, *kernel) = len(weight.shape) - 2, x.shape, weight.shape
    if channels != given or channels % groups:
        raise torch_error(RuntimeError, f"conv_transpose{size}d: Given transposed=1, groups={groups}, weight of size {list(weight.shape)}, expected "
                                        f"input{list(x.shape)} to have {given} channels, but got {channels} channels instead")
    if any([more >= max(s, d) for more, s, d in zip(output_padding, stride, dilation)]):
        raise torch_error(RuntimeError, f"conv_transpose{size}d: output padding must be smaller than either stride or dilation, but got output_padding={output_padding}, "
                                        f"stride={stride}, dilation={dilation}")
    sizes = [(n - 1) * s + d * (k - 1) + 1 + more for n, s, d, k, more in zip(places, stride, dilation, kernel, output_padding)]
    if any([n - 2 * p < 1 for n, p in zip(sizes, padding)]):
        raise torch_error(RuntimeError, f"conv_transpose{size}d: Given input size per channel: {places}. Calculated output size per channel: "
                                        f"{[n - 2 * p for n, p in zip(sizes, padding)]}. Output size is too small")
    matrices = np.swapaxes(np.reshape(weight, (groups, channels // groups, share * math.prod(kernel))), -1, -2)
    parts = np.reshape(matrices @ np.reshape(x, (batch, groups, channels // groups, -1)), (batch, groups * share, math.prod(kernel), *places))
    out = folded(parts, sizes, kernel, stride, dilation)[(slice(None), slice(None), *[slice(p, n - p) for n, p in zip(sizes, padding)])]
    return out if bias is None else out + np.reshape(bias, (-1,) + (1,) * size)


_TRANSPOSED = {size: Operation(_conv_transpose, f"conv_transpose{size}d") for size in (1, 2, 3)}
_CONV = {size: Operation(_conv, f"conv{size}d") for size in (1, 2, 3)}


def each_axis(x, size):
    """One an axis, of a number, of a sequence of one, or of one an axis."""
    return (*x,) * (size if len(x) == 1 else 1) if isinstance(x, (tuple, list)) else (x,) * size


_single, _pair, _triple = [functools.partial(each_axis, size=n) for n in (1, 2, 3)]          # nn.modules.utils, in other people's layers


_PADDING = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def _ends(padding, kernel, dilation):
    """How much is padded before and after each axis."""
    if padding == "same":
        return tuple([(d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2) for k, d in zip(kernel, dilation)])
    return tuple([(p, p) for p in each_axis(0 if padding == "valid" else padding, len(kernel))])


def _function(size):
    def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        x, single = operand(input), input.ndim == size + 1
        if x.ndim not in (size + 1, size + 2):
            raise refuse(RuntimeError, f"conv{size}d{{here}}: Expected {size + 1}D (unbatched) or {size + 2}D (batched) input to conv{size}d, but got input of size: {list(x.shape)}")
        stride, dilation, kernel = each_axis(stride, size), each_axis(dilation, size), weight.shape[2:]
        if padding == "same" and any([s != 1 for s in stride]):
            raise refuse(RuntimeError, f"conv{size}d{{here}}: padding='same' is not supported for strided convolutions")
        padding = _ends(padding, kernel, dilation)
        given = [x.unsqueeze(0) if single else x, weight] + ([] if bias is None else [bias])
        out = _CONV[size](*given, stride=stride, padding=padding, dilation=dilation, groups=groups)
        return out.squeeze(0) if single else out
    conv.__name__ = f"conv{size}d"
    conv.__doc__ = f"""Sums of products with windows of the input. input: (N, C, ...) or (C, ...), {size} axes of places. weight: (O, C / groups, ...). bias: (O,).

    stride, padding, dilation: a number, or one an axis; padding also "same" or "valid". groups: parts of the channels that do not meet. Raises RuntimeError for shapes that
    do not fit.
    """
    return conv


def _transposed(size):
    def conv_transpose(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
        x, single = operand(input), input.ndim == size + 1
        if x.ndim not in (size + 1, size + 2):
            raise refuse(RuntimeError, f"conv_transpose{size}d{{here}}: Expected {size + 1}D (unbatched) or {size + 2}D (batched) input, but got input of size: {list(x.shape)}")
        stride, padding, output_padding, dilation = (each_axis(n, size) for n in (stride, padding, output_padding, dilation))
        given = [x.unsqueeze(0) if single else x, weight] + ([] if bias is None else [bias])
        out = _TRANSPOSED[size](*given, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation, groups=groups)
        return out.squeeze(0) if single else out
    conv_transpose.__name__ = f"conv_transpose{size}d"
    conv_transpose.__doc__ = f"""The adjoint of conv{size}d, with its stride, padding, dilation and groups. input: (N, C, ...) or (C, ...). weight: (C, O / groups, ...). bias: (O,).

    Along each axis (n - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1 entries. Raises RuntimeError for shapes that do not fit, and for an output_padding
    that is neither below the stride nor below the dilation.
    """
    return conv_transpose


conv1d, conv2d, conv3d = map(_function, (1, 2, 3))
conv_transpose1d, conv_transpose2d, conv_transpose3d = map(_transposed, (1, 2, 3))


class _ConvNd(Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, padding_mode="zeros", device=None, dtype=None):
        if padding_mode not in _PADDING:
            raise refuse(ValueError, f"{type(self).__name__}{{here}}: padding_mode must be one of {', '.join(_PADDING)}, but got padding_mode={padding_mode!r}")
        if in_channels % groups or out_channels % groups:
            raise refuse(ValueError, f"{type(self).__name__}{{here}}: {'in' if in_channels % groups else 'out'}_channels must be divisible by groups")
        if padding == "same" and any([s != 1 for s in each_axis(stride, self.size)]):
            raise refuse(ValueError, f"{type(self).__name__}{{here}}: padding='same' is not supported for strided convolutions")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = (each_axis(x, self.size) for x in (kernel_size, stride, dilation))
        self.padding, self.padding_mode = padding if isinstance(padding, str) else each_axis(padding, self.size), padding_mode
        self.weight = Parameter(zeros(*self._channels(), *self.kernel_size, dtype=dtype, device=device))
        self.bias = Parameter(zeros(out_channels, dtype=dtype, device=device)) if bias else None
        self.reset_parameters()

    def _channels(self):
        return self.out_channels, self.in_channels // self.groups

    def reset_parameters(self):
        """Draw new values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]) or 1)
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x):
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = pad(x, [n for pair in _ends(padding, self.kernel_size, self.dilation)[::-1] for n in pair], _PADDING[self.padding_mode]), 0
        return self.function(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self):
        one = (1,) * self.size
        options = [f"{name}={getattr(self, name)}" for name, usual in (("padding", (0,) * self.size), ("dilation", one), ("output_padding", (0,) * self.size), ("groups", 1))
                   if getattr(self, name, usual) != usual]
        return ", ".join([f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}", *options, *["bias=False"] * (self.bias is None),
                          *[f"padding_mode={self.padding_mode}"] * (self.padding_mode != "zeros")])


class Conv1d(_ConvNd):
    """functional.conv1d with a weight (out_channels, in_channels / groups, kernel_size) and a bias, both uniform in +-1 / sqrt(fan in). padding_mode: "zeros", or one of
    functional.pad's, "reflect", "replicate", "circular".

    >>> import diffeng as de
    >>> Conv1d(3, 8, kernel_size=5, padding=2)(de.zeros(2, 3, 10)).shape
    (2, 8, 10)
    """

    size, function = 1, staticmethod(conv1d)


class Conv2d(_ConvNd):
    """functional.conv2d with a weight (out_channels, in_channels / groups, *kernel_size), like Conv1d."""

    size, function = 2, staticmethod(conv2d)


class Conv3d(_ConvNd):
    """functional.conv3d with a weight (out_channels, in_channels / groups, *kernel_size), like Conv1d."""

    size, function = 3, staticmethod(conv3d)


class _ConvTransposeNd(_ConvNd):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1, bias=True, dilation=1, padding_mode="zeros", device=None, dtype=None):
        if padding_mode != "zeros":
            raise refuse(ValueError, f"{type(self).__name__}{{here}}: Only \"zeros\" padding mode is supported, and it is {padding_mode!r}")
        self.output_padding = each_axis(output_padding, self.size)
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, device=device, dtype=dtype)

    def _channels(self):
        return self.in_channels, self.out_channels // self.groups

    def forward(self, x, output_size=None):
        """output_size: which of the sizes that belong to inputs of this one, in place of the output_padding."""
        more = self.output_padding if output_size is None else self._towards(x, output_size)
        return self.function(x, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation)

    def _towards(self, x, wanted):
        wanted, places = tuple(wanted)[-self.size:], x.shape[-self.size:]
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in zip(places, self.stride, self.padding, self.dilation, self.kernel_size)]
        more = tuple([m - n for m, n in zip(wanted, least)])
        if len(more) < self.size or any([not 0 <= m < s for m, s in zip(more, self.stride)]):
            raise refuse(ValueError, f"{type(self).__name__}{{here}}: requested an output size of {wanted}, but valid sizes range from {least} to "
                                     f"{[n + s - 1 for n, s in zip(least, self.stride)]} for an input of {list(places)}")
        return more


class ConvTranspose1d(_ConvTransposeNd):
    """functional.conv_transpose1d with a weight (in_channels, out_channels / groups, kernel_size) and a bias, both uniform in +-1 / sqrt(fan in).

    >>> import diffeng as de
    >>> ConvTranspose1d(3, 8, kernel_size=4, stride=2, padding=1)(de.zeros(2, 3, 10)).shape
    (2, 8, 20)
    """

    size, function = 1, staticmethod(conv_transpose1d)


class ConvTranspose2d(_ConvTransposeNd):
    """functional.conv_transpose2d with a weight (in_channels, out_channels / groups, *kernel_size), like ConvTranspose1d."""

    size, function = 2, staticmethod(conv_transpose2d)


class ConvTranspose3d(_ConvTransposeNd):
    """functional.conv_transpose3d with a weight (in_channels, out_channels / groups, *kernel_size), like ConvTranspose1d."""

    size, function = 3, staticmethod(conv_transpose3d)


FRESH |= {Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d}
