"""Conv1d and Conv2d, and their functions: sums of products with windows of the input, with PyTorch's meaning of stride, padding, dilation and groups.

What it is: the windows are strided parts of the input, laid side by side for one product. What it is not: no transform, no kernel of its own.
"""
import itertools
import math

import numpy as np

from . import init
from ..errors import refuse
from ..tensors import zeros
from ..tensor_engine.core import Operation
from ..tensor_engine.functions import operand
from ..tensor_engine.rules import torch_error
from .module import FRESH, Module, Parameter
from .padding import pad


def windows(x, kernel, stride, dilation, places):
    """[the entry at a place in the kernel, of every window: (N, C, *places)], for each place. x: (N, C, ...), padded."""
    return [x[(slice(None), slice(None), *[slice(k * d, k * d + s * (n - 1) + 1, s) for k, d, s, n in zip(at, dilation, stride, places)])]
            for at in itertools.product(*map(range, kernel))]


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


_CONV = {1: Operation(_conv, "conv1d"), 2: Operation(_conv, "conv2d")}


def _each(x, size):
    """One an axis, of a number, of a sequence of one, or of one an axis."""
    return (*x,) * (size if len(x) == 1 else 1) if isinstance(x, (tuple, list)) else (x,) * size


_PADDING = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def _ends(padding, kernel, dilation):
    """How much is padded before and after each axis."""
    if padding == "same":
        return tuple([(d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2) for k, d in zip(kernel, dilation)])
    return tuple([(p, p) for p in _each(0 if padding == "valid" else padding, len(kernel))])


def _function(size):
    def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        x, single = operand(input), input.ndim == size + 1
        if x.ndim not in (size + 1, size + 2):
            raise refuse(RuntimeError, f"conv{size}d{{here}}: Expected {size + 1}D (unbatched) or {size + 2}D (batched) input to conv{size}d, but got input of size: {list(x.shape)}")
        stride, dilation, kernel = _each(stride, size), _each(dilation, size), weight.shape[2:]
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


conv1d, conv2d = _function(1), _function(2)


class Conv1d(Module):
    """functional.conv1d with a weight (out_channels, in_channels / groups, kernel_size) and a bias, both uniform in +-1 / sqrt(fan in). padding_mode: "zeros", or one of
    functional.pad's, "reflect", "replicate", "circular".

    >>> import diffeng as de
    >>> Conv1d(3, 8, kernel_size=5, padding=2)(de.zeros(2, 3, 10)).shape
    (2, 8, 10)
    """

    size, function = 1, staticmethod(conv1d)

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, padding_mode="zeros", device=None, dtype=None):
        if padding_mode not in _PADDING:
            raise refuse(ValueError, f"{type(self).__name__}{{here}}: padding_mode must be one of {', '.join(_PADDING)}, but got padding_mode={padding_mode!r}")
        if in_channels % groups or out_channels % groups:
            raise refuse(ValueError, f"{type(self).__name__}{{here}}: {'in' if in_channels % groups else 'out'}_channels must be divisible by groups")
        if padding == "same" and any([s != 1 for s in _each(stride, self.size)]):
            raise refuse(ValueError, f"{type(self).__name__}{{here}}: padding='same' is not supported for strided convolutions")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = (_each(x, self.size) for x in (kernel_size, stride, dilation))
        self.padding, self.padding_mode = padding if isinstance(padding, str) else _each(padding, self.size), padding_mode
        self.weight = Parameter(zeros(out_channels, in_channels // groups, *self.kernel_size, dtype=dtype, device=device))
        self.bias = Parameter(zeros(out_channels, dtype=dtype, device=device)) if bias else None
        self.reset_parameters()

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
        options = [f"{name}={getattr(self, name)}" for name, usual in (("padding", (0,) * self.size), ("dilation", one), ("groups", 1)) if getattr(self, name) != usual]
        return ", ".join([f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}", *options, *["bias=False"] * (self.bias is None),
                          *[f"padding_mode={self.padding_mode}"] * (self.padding_mode != "zeros")])


class Conv2d(Conv1d):
    """functional.conv2d with a weight (out_channels, in_channels / groups, *kernel_size), like Conv1d."""

    size, function = 2, staticmethod(conv2d)


FRESH |= {Conv1d, Conv2d}
