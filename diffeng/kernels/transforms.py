"""Fourier transforms in programs: in kernels, or else by NumPy and SciPy, in the memory where their result is to lie.

What it is: `transformed`, the row of lower.py, and TRANSFORMS[name](out, re, im, **params), which writes to `out`, for what has no kernel (fourier.py) and on a GPU's host.
The real and the imaginary part of what is read are told apart (im is 0 where there is none: real numbers are half the work), and those of a result lie apart, so that
what is around a transform is the same whoever computes it; otherwise as in vocabulary/fourier.py. Long transforms are SciPy's, in as many threads as kernels have.

What it is not: no kernel. Why a file: NumPy's transforms make new memory, and along other axes than the last one they take columns one by one: two to three times as long
where rows lie a power of two apart (256 x 256: 1.3 ms, SciPy's 0.4).
"""
import numpy as np

from . import threads
from .layout import columns, upright

LARGE = 1 << 12                                     # complex numbers from which on SciPy's are faster
SHARED = 1 << 17                                    # and its threads


def transformed(lowering, node, x):
    """Where the transform of an operand lies."""
    name = node.primitive.name
    parts = (lowering.filled(x), None) if name == "rfft" else columns(x) or columns(lowering.filled(x))
    out = upright(node.shape, node.dtype) if name != "irfft" and not lowering.contiguous else None
    return lowering.call(node, [0 if p is None else p for p in parts], out)


def _fft(out, re, im, *, axes, inverse, norm):
    z = np.empty(out.shape[:-1], out.dtype.char.upper())
    out[..., 0], out[..., 1] = _parts(_transformed(z, "ifft" if inverse else "fft", _numbers(re, im, z), axes, norm))


def _rfft(out, x, _, *, axes, norm):
    out[..., 0], out[..., 1] = _parts(_transformed(np.empty(out.shape[:-1], out.dtype.char.upper()), "rfft", x, axes, norm))


def _irfft(out, re, im, *, axes, n, norm):
    _transformed(out, "irfft", _numbers(re, im), axes, norm, [out.shape[k] for k in axes])


TRANSFORMS = {"fft": _fft, "rfft": _rfft, "irfft": _irfft}


def _parts(z):
    return z.real, z.imag


def _numbers(re, im, z=None):
    """Complex numbers, in z; or the real ones, where there are no others."""
    if np.ndim(im) == 0:
        return re
    z = np.empty(im.shape, im.dtype.char.upper()) if z is None else z
    z.real, z.imag = re, im
    return z


def _transformed(out, name, x, axes, norm, lengths=None):
    """By NumPy's function, or SciPy's, in `out`, which x may be; or elsewhere."""
    if len(axes) > 1:
        name, how = name + "n", dict(axes=axes, s=lengths)
    else:                                           # in 3 us less
        how = dict(axis=axes[0], n=lengths and lengths[0])
    size = min(x.size, out.size)
    if size < LARGE:
        return getattr(np.fft, name)(x, norm=norm, out=out, **how)
    import scipy.fft                                # 0.1 s
    made = getattr(scipy.fft, name)(x, norm=norm, overwrite_x=x is out, workers=threads.count() if size >= SHARED else 1, **how)
    if out.dtype.kind == "f":
        out[...] = made
    return made
