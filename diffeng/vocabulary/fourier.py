"""Discrete Fourier transforms of real arrays: a complex number is a pair of real ones, on a last axis of length 2.

What it is: NumPy's fftn and ifftn (`fft`), rfftn and irfftn. They are linear, and what is transposed is one of them again: the other way round, with the other norm.
Complex values (complex_values.py) and NumPy's names (numpy_functions/fourier.py) are made of these. `work` counts operations.
"""
import math

import numpy as np

from ..nodes import Primitive

_ANY = ((0.3, 2.0),)
TURNED = {"backward": "forward", "forward": "backward", "ortho": "ortho"}          # the norm of the transposed transform, which goes the other way
NAMES = ("fft", "rfft", "irfft")


def _numbers(pairs):
    """Complex numbers, in the memory of the pairs where that can be."""
    return np.ascontiguousarray(pairs).view(pairs.dtype.char.upper())[..., 0]


def _pairs(numbers):
    return np.ascontiguousarray(numbers)[..., None].view(numbers.real.dtype)


def _along(transform, z, axes, norm, out=None):
    """One axis after the other, the second in the memory of the first: fftn has new memory for each, which takes longer than the transform of a megabyte."""
    for k in axes:
        z = out = transform(z, axis=k, norm=norm, out=out)
    return z


def _fft(x, *, axes, inverse, norm):
    return _pairs(_along(np.fft.ifft if inverse else np.fft.fft, _numbers(x), axes[::-1], norm))


def _rfft(x, *, axes, norm):
    first = np.fft.rfft(x, axis=axes[-1], norm=norm)
    return _pairs(_along(np.fft.fft, first, axes[-2::-1], norm, first))


def _irfft(x, *, axes, n, norm):
    return np.fft.irfft(_along(np.fft.ifft, _numbers(x), axes[:-1], norm), n, axes[-1], norm)


def _halved(x, *, axes, norm):
    return (*[n // 2 + 1 if k == axes[-1] else n for k, n in enumerate(x.shape)], 2), x.dtype


def _whole(x, *, axes, n, norm):
    return tuple([n if k == axes[-1] else m for k, m in enumerate(x.shape[:-1])]), x.dtype


# `axes` >= 0, each once; of rfft and irfft the last one has n // 2 + 1 entries for n. norm: NumPy's, as is the scale that it means for each.
fft   = Primitive("fft", _fft, "opaque", None, _ANY, infer=lambda x, **params: (x.shape, x.dtype))
rfft  = Primitive("rfft", _rfft, "opaque", None, _ANY, infer=_halved)
irfft = Primitive("irfft", _irfft, "opaque", None, _ANY, infer=_whole)


def largest(of_sizes, axes, pairs):
    """At least the sum of |terms| of each entry, by the transform of sizes, whose entry 0 has them all. pairs: has it an axis of them?"""
    out = np.absolute(of_sizes)
    return np.broadcast_to(np.max(out, axis=(*axes, out.ndim - 1) if pairs else axes, keepdims=True, initial=0), out.shape)


def work(shape, axes):
    """Operations on complex numbers of this shape (5 n log2 n of a power of two: Cooley, Tukey)."""
    return 5 * math.prod(shape) * math.ceil(math.log2(max(math.prod([shape[k] for k in axes]), 2)))
