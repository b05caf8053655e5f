"""Fourier transforms of balls: fast ones, in any number of digits.

What it is: the definition for the smallest prime factors of a length, put together by decimation in time (J. Cooley, J. Tukey, An Algorithm for the Machine Calculation of
Complex Fourier Series, Math. Comp. 19, 1965). Every operation is arb's, so bounds are bounds. What it is not: no derivative.
"""
import functools

import numpy as np
from flint import arb, ctx, fmpq

from .balls import ZERO
from .vocabulary import fourier


@functools.lru_cache(maxsize=64)
def _waves(n, digits):
    """cos and sin of 2 pi k / n, k < n."""
    found = np.empty((2, n), object)
    for k in range(n):
        sine, cosine = arb.sin_cos_pi_fmpq(fmpq(2 * k, n))
        found[:, k] = cosine, sine
    return found


def _times(a, b, c, d):
    return a * c - b * d, a * d + b * c


def _along(re, im, turn):
    """The sums of z[j] exp(turn 2 pi i j k / n) over the last axis."""
    n = re.shape[-1]
    p = next((p for p in range(2, n + 1) if n % p == 0), 1)
    if n == 1:
        return re, im
    cos, sin = _waves(n, ctx.prec)
    m, shape = n // p, re.shape[:-1]
    re, im = [np.swapaxes(x.reshape(*shape, m, p), -1, -2) for x in (re, im)]              # of every p-th entry, from the first p on
    re, im = _along(re, im, turn)                                                           # (..., p, m)
    at = np.arange(p)[:, None] * np.arange(m) % n
    re, im = _times(re, im, cos[at], sin[at] * turn)
    at = np.arange(p)[:, None] * np.arange(p) * m % n                                       # p sums of p terms each
    c, s = cos[at][..., None], sin[at][..., None] * turn
    re, im = _times(re[..., None, :, :], im[..., None, :, :], c, s)
    return [np.add.reduce(x, axis=-2).reshape(*shape, n) for x in (re, im)]


def _transform(re, im, axes, turn, scale):
    for k in axes:
        re, im = [np.moveaxis(x, -1, k) for x in _along(np.moveaxis(re, k, -1), np.moveaxis(im, k, -1), turn)]
    return re * scale, im * scale


def _scale(lengths, inverse, norm):
    count = arb(int(np.prod(lengths)))
    return 1 / count.sqrt() if norm == "ortho" else 1 / count if (norm == "backward") is inverse else arb(1)


def _fft(x, *, axes, inverse, norm):
    scale = _scale([x.shape[k] for k in axes], inverse, norm)
    return np.stack(_transform(x[..., 0], x[..., 1], axes, 1 if inverse else -1, scale), axis=-1)


def _rfft(x, *, axes, norm):
    scale = _scale([x.shape[k] for k in axes], False, norm)
    pair = _transform(x, np.full(x.shape, ZERO, object), axes, -1, scale)
    return np.stack(pair, axis=-1)[(slice(None),) * axes[-1] + (slice(x.shape[axes[-1]] // 2 + 1),)]


def _irfft(x, *, axes, n, norm):
    """All other axes first; then what is missing is the conjugate of what is there."""
    last, scale = axes[-1], _scale([n if k == axes[-1] else x.shape[k] for k in axes], True, norm)
    re, im = [np.moveaxis(part, last, -1) for part in _transform(x[..., 0], x[..., 1], axes[:-1], 1, scale)]
    k = np.arange(n)
    at, sign = np.minimum(k, n - k), np.where(k == 0, 0, np.where(2 * k == n, 0, np.where(2 * k < n, 1, -1)))
    return np.moveaxis(_along(re[..., at], im[..., at] * sign, 1)[0], -1, last)


TRANSFORMS = {"fft": _fft, "rfft": _rfft, "irfft": _irfft}
