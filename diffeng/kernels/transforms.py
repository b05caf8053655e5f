"""Fourier transforms in programs: in the memory where their result is to lie, and long ones by SciPy, in as many threads as kernels have.

What it is: COMPUTED[name](out, x, **params), which writes to `out`; otherwise as in vocabulary/fourier.py. What `fft` takes may be real numbers in place of pairs whose
second one is 0 (`real_numbers`): that is half the work.

What it is not: no kernel. Why a file: NumPy's transforms make new memory, and along other axes than the last one they take columns one by one: two to three times as long
where rows lie a power of two apart (256 x 256: 1.3 ms, SciPy's 0.4).
"""
import numpy as np

from . import threads
from .layout import Padded, column

LARGE = 1 << 14                                     # complex numbers from which on SciPy's are faster
SHARED = 1 << 17                                    # and its threads


def real_numbers(x):
    """The first one of pairs whose second one is 0; None for other operands."""
    return column(x.view, 0) if type(x) is Padded and not x.beyond and x.cuts == ((x.ndim - 1, 0, 1),) else None


def _fft(out, x, *, axes, inverse, norm):
    given = x if x.ndim < out.ndim else _numbers(x, out)
    _store(out, _several("ifft" if inverse else "fft", given, out.size // 2, axes, norm, overwrite_x=True))


def _rfft(out, x, *, axes, norm):
    _store(out, _several("rfft", x, out.size // 2, axes, norm))


def _irfft(out, x, *, axes, n, norm):
    out[...] = _several("irfft", _numbers(x, np.empty(x.shape, x.dtype)), x.size // 2, axes, norm, s=[out.shape[k] for k in axes])


COMPUTED = {"fft": _fft, "rfft": _rfft, "irfft": _irfft}


def _several(name, x, size, axes, norm, overwrite_x=False, **how):
    """NumPy's function, or SciPy's, along several axes."""
    if size < LARGE:
        return getattr(np.fft, name + "n")(x, axes=axes, norm=norm, **how)
    import scipy.fft                                # 0.1 s
    return getattr(scipy.fft, name + "n")(x, axes=axes, norm=norm, overwrite_x=overwrite_x, workers=threads.count() if size >= SHARED else 1, **how)


def _numbers(pairs, memory):
    """Complex numbers in this memory. (Copied as pairs, they would take four times as long where real parts lie apart from the others.)"""
    z = memory.view(memory.dtype.char.upper())[..., 0]
    z.real, z.imag = pairs[..., 0], pairs[..., 1]
    return z


def _store(out, z):
    if not np.may_share_memory(out, z):
        out[..., 0], out[..., 1] = z.real, z.imag
