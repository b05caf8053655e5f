"""Fourier transforms in programs: in kernels, or else by NumPy and SciPy, in the memory where their result is to lie.

What it is: `transformed`, the row of lower.py, which asks for a kernel where there is one (fourier.py; `is_split` says of a call that it did), and
TRANSFORMS[name](out, x, **params) for other lengths and on a GPU's host, which writes to `out`; otherwise as in vocabulary/fourier.py. What `fft` takes there may be real
numbers in place of pairs whose second one is 0: that is half the work. Long transforms are SciPy's, in as many threads as kernels have.

What it is not: no kernel. Why a file: NumPy's transforms make new memory, and along other axes than the last one they take columns one by one: two to three times as long
where rows lie a power of two apart (256 x 256: 1.3 ms, SciPy's 0.4).
"""
import numpy as np

from . import threads
from .layout import Padded, column, columns, upright

LARGE = 1 << 12                                     # complex numbers from which on SciPy's are faster
SHARED = 1 << 17                                    # and its threads


def transformed(lowering, node, x):
    """Where the transform of an operand lies. Of a kernel's complex numbers the real and the imaginary parts lie apart, and of what it reads it is told both; NumPy's are
    pairs."""
    name, on_host = node.primitive.name, lowering.on_host
    if on_host:
        from . import fourier                               # LLVM's instructions: for who needs them
        on_host = fourier.suits(node)
    if not on_host:
        return lowering.call(node, [name == "fft" and _real_numbers(x) or lowering.filled(x)])
    parts = (lowering.filled(x), None) if name == "rfft" else columns(x) or columns(lowering.filled(x))
    return lowering.call(node, [0 if p is None else p for p in parts], None if name == "irfft" else upright(node.shape, node.dtype))


def is_split(call):
    """Was a kernel asked for, of the real and the imaginary parts?"""
    return call.node is not None and call.node.primitive.name in TRANSFORMS and len(call.operands) == 2


def _real_numbers(x):
    """The first one of pairs whose second one is 0; None for other operands."""
    return column(x.view, 0) if type(x) is Padded and not x.beyond and x.cuts == ((x.ndim - 1, 0, 1),) else None


def _fft(out, x, *, axes, inverse, norm):
    z = _numbers(out)
    _transformed(z, "ifft" if inverse else "fft", _filled(z, x) if x.ndim == out.ndim else x, axes, norm)


def _rfft(out, x, *, axes, norm):
    _transformed(_numbers(out), "rfft", x, axes, norm)


def _irfft(out, x, *, axes, n, norm):
    _transformed(out, "irfft", _filled(np.empty(x.shape[:-1], x.dtype.char.upper()), x), axes, norm, [out.shape[k] for k in axes])


TRANSFORMS = {"fft": _fft, "rfft": _rfft, "irfft": _irfft}


def _numbers(pairs):
    return pairs.view(pairs.dtype.char.upper())[..., 0]


def _filled(z, pairs):
    z.real, z.imag = pairs[..., 0], pairs[..., 1]        # (as pairs they would take four times as long where real parts lie apart from the others)
    return z


def _transformed(out, name, x, axes, norm, lengths=None):
    """NumPy's function, or SciPy's. x may be `out`."""
    if len(axes) > 1:
        name, how = name + "n", dict(axes=axes, s=lengths)
    else:                                           # in 3 us less
        how = dict(axis=axes[0], n=lengths and lengths[0])
    size = min(x.size, out.size)
    if size < LARGE:
        getattr(np.fft, name)(x, norm=norm, out=out, **how)
        return
    import scipy.fft                                # 0.1 s
    made = getattr(scipy.fft, name)(x, norm=norm, overwrite_x=x is out, workers=threads.count() if size >= SHARED else 1, **how)
    if not np.may_share_memory(made, out):
        out[...] = made
