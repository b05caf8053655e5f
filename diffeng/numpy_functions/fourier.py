"""np.fft: transforms of real and complex values, by the primitives of vocabulary/fourier.py, which know pairs of real numbers on a last axis."""
import numpy as np

from ..complex_values import is_complex, joined, parts
from ..errors import refuse
from ..numpy_api import arrayed, axis_of
from ..vocabulary import elementwise as e, fourier, indexing, shaping as s
from .table import implements

_NORMS = ("backward", "ortho", "forward")


def _paired(z):
    """(..., 2) of a complex or real value."""
    a, b = parts(z)
    if b is None:
        return indexing.scatter(a, index=(Ellipsis, 0), shape=(*a.shape, 2))
    return s.concatenate(*[s.reshape(x, shape=(*x.shape, 1)) for x in (a, b)], axis=a.ndim)


def _unpaired(pairs):
    return joined(*[indexing.getitem(pairs, index=(Ellipsis, k)) for k in (0, 1)])


def _axes(name, x, lengths, axes):
    """(axes, the lengths that are asked for along these, None where none is)."""
    if axes is None:
        axes = range(x.ndim) if lengths is None else range(-len(lengths), 0)
    if not x.ndim and [*axes]:
        raise refuse(ValueError, f"{name}{{here}}: an array with an axis is needed, and this is one number")
    axes = [axis_of(k, x.ndim) for k in axes]
    if lengths is not None and len(lengths) != len(axes):
        raise refuse(ValueError, f"{name}{{here}}: {len(lengths)} lengths for {len(axes)} axes: s= and axes= must be as many")
    return axes, [None] * len(axes) if lengths is None else [x.shape[k] if n == -1 else n for n, k in zip(lengths, axes)]


def _resized(name, x, axes, lengths):
    """x cut off, or with zeros behind."""
    for axis, n in zip(axes, lengths):
        if n is None:
            continue
        if n < 1:
            raise refuse(ValueError, f"{name}{{here}}: invalid number of data points ({n}) along axis {axis}: give 1 or more")
        if n < x.shape[axis]:
            x = x[(slice(None),) * axis + (slice(n),)]
        elif n > x.shape[axis]:
            x = s.pad(x, widths=tuple([(0, n - m if k == axis else 0) for k, m in enumerate(x.shape)]), value=0)
    return x


def _value(name, a, norm):
    """(an array of floating-point or complex numbers, the norm's name)."""
    norm = "backward" if norm is None else norm
    if norm not in _NORMS:
        raise refuse(ValueError, f"{name}{{here}}: norm is {norm!r}; choose 'backward', 'ortho' or 'forward'")
    a = arrayed(a)
    return a if a.dtype.kind in "fc" and a.dtype.itemsize > 2 else e.astype(a, dtype=np.dtype(np.float32 if a.dtype.kind == "f" else float)), norm


def _transformed(name, a, lengths, axes, norm, inverse):
    given, (a, norm) = a, _value(name, a, norm)
    axes, lengths = _axes(name, a, lengths, axes)
    if not axes:
        return e.copy(given)
    if len({*axes}) < len(axes):                             # one is transformed twice
        for k, n in [*zip(axes, lengths)][::-1]:
            a = _transformed(name, a, (n,), (k,), norm, inverse)
        return a
    return _unpaired(fourier.fft(_paired(_resized(name, a, axes, lengths)), axes=tuple(axes), inverse=inverse, norm=norm))


def _from_real(name, a, lengths, axes, norm):
    a, norm = _value(name, a, norm)
    if is_complex(a):
        raise refuse(TypeError, f"{name}{{here}} takes real values, and these are complex: use np.fft.{name[1:]}, or z.real")
    axes, lengths = _axes(name, a, lengths, axes)
    _once(name, axes)
    return _unpaired(fourier.rfft(_resized(name, a, axes, lengths), axes=tuple(axes), norm=norm))


def _to_real(name, a, lengths, axes, norm):
    a, norm = _value(name, a, norm)
    axes, lengths = _axes(name, a, lengths, axes)
    _once(name, axes)
    n = 2 * (a.shape[axes[-1]] - 1) if lengths[-1] is None else lengths[-1]
    if n < 1:
        raise refuse(ValueError, f"{name}{{here}}: invalid number of data points ({n}): give the length of the result")
    pairs = _paired(_resized(name, a, axes, [*lengths[:-1], n // 2 + 1]))
    return fourier.irfft(pairs, axes=tuple(axes), n=int(n), norm=norm)


def _once(name, axes):
    if not axes or len({*axes}) < len(axes):
        raise refuse(ValueError, f"{name}{{here}}: axes are {axes}: at least one is needed, and each once")


def _family(transform, names, **how):
    """NumPy's three functions: of one axis, of two, and of any."""
    one, two, several = names

    def of_one(a, n=None, axis=-1, norm=None):
        return transform(one, a, (n,), (axis,), norm, **how)

    def of_two(a, s=None, axes=(-2, -1), norm=None):
        return transform(two, a, s, axes, norm, **how)

    def of_several(a, s=None, axes=None, norm=None):
        return transform(several, a, s, axes, norm, **how)
    for name, handler in zip(names, (of_one, of_two, of_several)):
        handler.__name__ = name
        implements(getattr(np.fft, name))(handler)


_family(_transformed, ("fft", "fft2", "fftn"), inverse=False)
_family(_transformed, ("ifft", "ifft2", "ifftn"), inverse=True)
_family(_from_real, ("rfft", "rfft2", "rfftn"))
_family(_to_real, ("irfft", "irfft2", "irfftn"))


@implements(np.fft.hfft)
def hfft(a, n=None, axis=-1, norm=None):
    """The transform of what is real in the other domain: an irfft the other way round."""
    return _to_real("hfft", np.conj(arrayed(a)), (n,), (axis,), fourier.TURNED[_value("hfft", a, norm)[1]])


@implements(np.fft.ihfft)
def ihfft(a, n=None, axis=-1, norm=None):
    return np.conj(_from_real("ihfft", a, (n,), (axis,), fourier.TURNED[_value("ihfft", a, norm)[1]]))
