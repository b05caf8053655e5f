"""pad and the padding layers: entries before and after those of a tensor, of one value, or its own by reflection, repetition or going round.

What it is: an index along each axis, one for each entry of the result. What it is not: the zeros around a convolution's input, which convolution.py adds itself.
"""
import numpy as np

from ..errors import refuse
from ..tensor_engine.core import Operation
from ..tensor_engine.functions import operand
from ..vocabulary import indexing
from .module import FRESH, Module

_INDEX = {"reflect": lambda at, n, first, end: n - 1 - abs(n - 1 - abs(at)), "replicate": lambda at, n, first, end: np.clip(at, 0, n - 1),
          "circular": lambda at, n, first, end: first + (at - first) % (end - first)}                     # of what is left between first and end, where something is cut
_MODES = {"reflect": "reflection", "replicate": "replication", "circular": "circular", "constant": "constant"}


def _pad(x, pairs, value):
    x = x[tuple([slice(max(-a, 0), x.shape[k] - max(-b, 0)) for k, (a, b) in enumerate(pairs)])]
    return np.pad(x, [(max(a, 0), max(b, 0)) for a, b in pairs], constant_values=value)


def _pad_by_its_own(x, pairs, mode):
    for k, (a, b) in enumerate(pairs):
        if a or b:
            n = x.shape[k]
            at = _INDEX[mode](np.arange(-a, n + b), n, max(-a, 0), n - max(-b, 0))
            x = indexing.getitem(x, at, index=(slice(None),) * k + (indexing.Slot(0),))
    return x


_PAD, _OWN = Operation(_pad, "pad"), Operation(_pad_by_its_own, "pad")


def pad(input, pad, mode="constant", value=None):
    """Entries before and after: pad = (left, right, top, bottom, ...), the last axis first; a negative number cuts.

    mode: "constant", one value (0); "reflect", the entries beyond the edge, mirrored; "replicate", the edge; "circular", those of the other end. All but the first take the
    last one, two or three axes of a tensor (C, ...) or (N, C, ...). Raises RuntimeError for an odd count of numbers, more than there are axes, or more than can be reflected.

    >>> import diffeng as de
    >>> de.nn.functional.pad(de.tensor([[1.0, 2.0, 3.0]]), (2, 1), mode="reflect")
    tensor([[3., 2., 1., 2., 3., 2.]])
    """
    input, widths = operand(input), [int(n) for n in pad]
    if mode not in _MODES:
        raise refuse(NotImplementedError, f"pad{{here}}: Unrecognised padding mode {mode!r}: there are {', '.join(_MODES)}")
    if len(widths) % 2 or len(widths) > 2 * input.ndim:
        raise refuse(RuntimeError, f"pad{{here}}: Padding length must be divisible by 2 and at most twice the number of dimensions of the input: {len(widths)} numbers for "
                                   f"{input.ndim} dimensions")
    pairs = [(0, 0)] * (input.ndim - len(widths) // 2) + list(zip(widths[::2], widths[1::2]))[::-1]
    if any([n + a + b < 0 for n, (a, b) in zip(input.shape, pairs)]):
        raise refuse(RuntimeError, f"pad{{here}}: more is cut than there is: the widths are {tuple(widths)}, the input has shape {list(input.shape)}")
    if mode == "constant":
        return _PAD(input, pairs=tuple(pairs), value=0 if value is None else value)
    if value is not None:
        raise refuse(RuntimeError, f"pad{{here}}: Padding mode {mode!r} doesn't take in value argument")
    if len(widths) not in (2, 4, 6) or input.ndim - len(widths) // 2 not in (1, 2):
        raise refuse(NotImplementedError, f"pad{{here}}: mode={mode!r} pads the last axis of two or three, the last two of three or four, or three of four or five: the input has "
                                          f"shape {list(input.shape)}, and there are {len(widths)} numbers")
    for n, pair in zip(input.shape, pairs):
        if max(pair) > 0 and (not n or mode == "reflect" and max(pair) >= n or mode == "circular" and max(pair) > n):
            raise refuse(RuntimeError, f"pad{{here}}: Padding size should be less than the corresponding input dimension, but got: padding {pair} along an axis of {n} entries, "
                                       f"mode {mode!r}")
    return _OWN(input, pairs=tuple(pairs), mode=mode)


class _Pad(Module):
    mode, value = "constant", None

    def __init__(self, padding):
        self.padding = (padding,) * (2 * self.size) if isinstance(padding, int) else tuple(padding)

    def forward(self, x):
        return pad(x, self.padding, self.mode, self.value)

    def extra_repr(self):
        return str(self.padding)


class _ConstantPad(_Pad):
    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def extra_repr(self):
        return f"padding={self.padding}, value={self.value}"


def _classes():
    for word, base, mode, what in (("Reflection", _Pad, "reflect", "The entries beyond each edge, mirrored"), ("Replication", _Pad, "replicate", "Each edge, repeated"),
                                   ("Circular", _Pad, "circular", "The entries of the other end"), ("Zero", _Pad, "constant", "Zeros"),
                                   ("Constant", _ConstantPad, "constant", "One value")):
        for size in (1, 2, 3):
            doc = f"{what}, around the last {size} axes: padding is a number, or ({'left, right, top, bottom, front, back'[:(11, 24, 37)[size - 1]]}). See functional.pad."
            yield type(f"{word}Pad{size}d", (base,), {"__doc__": doc, "__module__": __name__, "size": size, "mode": mode})


MODULES = {c.__name__: c for c in _classes()}
globals().update(MODULES)
FRESH |= set(MODULES.values())
