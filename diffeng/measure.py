"""How far numbers are from the truth: the worst entry of an array, in relative terms and in units in the last place; and a derivative along a direction.

What it is: arithmetic on errors. An error counts in the size of what was summed (magnitude.py), so a true 0 is no division by 0.
What it is not: no verdict (hearing.py). Why a file: the same measure for every method and for arrays of every size.
"""
import numpy as np

from .precise import numbers, precise, precision
from .wide_arrays import Wide

BLOCK = 1 << 22             # entries that are measured at once: bounds memory
SHAKEN = 100.0              # see shaken


def worst_entry(g, truth, scale, dtype, coarse, digits, bounds=None):
    """(relative error, ULP error, index) of the entry of g that is farthest from the truth.

    truth: a PreciseArray. scale: the size of the terms behind each entry, or a function that computes it. coarse: the dtype that counts ULP.
    bounds: (low, high) of entries at a kink, NaN elsewhere.
    """
    g = np.asarray(g)
    if not g.size:
        return 0.0, 0.0, ()
    with precision(digits), np.errstate(all="ignore"):
        if type(truth.data) is Wide:
            exact = truth.data.numbers()
            size = np.absolute(exact)
            error = np.absolute(np.subtract(exact, g, out=exact), out=exact)           # rounding of the truth is 1e-15 of its size
        else:
            error, exact = np.asarray(numbers(np.absolute(precise(g.astype(dtype)) - truth))), numbers(truth)
            size = np.array(np.absolute(exact))
            error = np.where(np.isfinite(exact), error, np.where(np.isfinite(g), np.inf, 0))
        if scale is not None:
            np.fmax(size, scale() if callable(scale) else scale, out=size)                  # NaN: of terms that a choice passes over, such as the root of -1
        if bounds is not None:
            error = np.where((bounds[0] <= g) & (g <= bounds[1]), 0.0, error)
    return _worst(error.reshape(-1), size.reshape(-1), np.finfo(dtype).tiny, coarse, g.shape)


def _worst(error, size, tiny, coarse, shape):
    relative, ulp, at = 0.0, 0.0, 0
    with np.errstate(all="ignore"):
        for start in range(0, error.size, BLOCK):
            e, s = error[start:start + BLOCK], np.maximum(size[start:start + BLOCK], tiny)
            e = np.where(np.isnan(e), np.inf, np.where(e < tiny, 0.0, e))                # an underflow is no error, a NaN is no number
            r = e / s
            r[np.isnan(r)] = np.inf                                                      # inf / inf
            k = int(np.argmax(r))
            if r[k] > relative:
                relative, at = float(r[k]), start + k
            ulp = max(ulp, float(np.max(e / np.spacing(np.maximum(s, np.finfo(coarse).tiny).astype(coarse)).astype(float))))
    return relative, ulp, tuple(int(i) for i in np.unravel_index(at, shape))


def shaken(compute, values, z):
    """What the rounding inside of computations that nobody looks into may do to z = compute(values): SHAKEN times as much as the last bits of the values do."""
    rng, most = np.random.default_rng(5), np.zeros(np.shape(z))
    for _ in range(2):
        other = [v * (1 + 2 * np.finfo(v.dtype).eps * rng.choice([-1, 1], np.shape(v))).astype(v.dtype)
                 if isinstance(v, (np.ndarray, np.generic)) and v.dtype.kind == "f" else v for v in values]
        with np.errstate(all="ignore"):
            most = np.maximum(most, np.absolute(np.asarray(compute(other), float) - z))
    return SHAKEN * np.where(np.isfinite(most), most, 0)


def along(got, parts):
    """The relative error of a derivative along a direction. parts: (derivative, size of its terms) of each array that moves, in balls."""
    truth, size = (sum([p[k] for p in parts[1:]], parts[0][k]) for k in (0, 1))
    off, size = abs(float(numbers(truth - precise(float(got))))), float(numbers(size))
    return 0.0 if off == 0 else off / size if size else np.inf


def apart(got, want):
    """How far two arrays are apart that ought to be the same, in units of the last place of the largest entry (integers, truth values: 0, or infinity).

    >>> apart(np.array([1.0, 2.0]), np.array([1.0, 2.0 + 2.0 ** -51]))
    1.0
    """
    got, want = np.asarray(got), np.asarray(want)
    if want.dtype.kind != "f" or want.size == 0:
        return 0.0 if np.array_equal(got, want) else np.inf
    finite = np.isfinite(want)
    if not np.array_equal(np.isfinite(got), finite):
        return np.inf
    size = np.max(np.abs(want[finite]), initial=0.0)
    return float(np.max(np.abs(got[finite].astype(float) - want[finite]), initial=0.0) / np.spacing(np.maximum(size, np.finfo(want.dtype).tiny)))
