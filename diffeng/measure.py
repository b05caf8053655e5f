"""How far numbers are from the truth: the worst entry of an array, in relative terms and in units in the last place; and a derivative along a direction.

What it is: arithmetic on errors. An error counts in the size of what was summed (magnitude.py), so a true 0 is no division by 0.
What it is not: no verdict (hearing.py). Why a file: the same measure for every method and for arrays of every size.
"""
import numpy as np

from .precise import numbers, precise, precision
from .wide_arrays import Wide


def worst_entry(g, truth, scale, dtype, coarse, digits, bounds=None):
    """(relative error, ULP error, index) of the entry of g that is farthest from the truth.

    truth: a PreciseArray. scale: the size of the terms behind each entry; None where the truth, a large array, knows it. coarse: the dtype that counts ULP.
    bounds: (low, high) of entries at a kink, NaN elsewhere.
    """
    g = np.asarray(g)
    if not g.size:
        return 0.0, 0.0, ()
    with precision(digits), np.errstate(all="ignore"):
        if type(truth.data) is Wide:
            exact, size = truth.data.numbers(), truth.data.sizes()
            np.maximum(size, np.absolute(exact), out=size)
            error = np.subtract(exact, g, out=exact)
            np.absolute(error, out=error)
            error[np.isnan(error)] = np.inf                                    # the truth of a large array is finite
        else:
            error, exact = numbers(np.absolute(precise(g.astype(dtype)) - truth)), numbers(truth)
            size = np.maximum(np.absolute(exact), np.asarray(scale, float))
            finite = np.isfinite(exact)
            error = np.where(np.isnan(error) & finite, np.inf, np.where(finite, error, np.where(np.isfinite(g), np.inf, 0)))
        if bounds is not None:
            error = np.where((bounds[0] <= g) & (g <= bounds[1]), 0.0, error)
        error = np.asarray(error)
        error[error < np.finfo(dtype).tiny] = 0.0                              # an underflow is no error
        size = np.asarray(np.maximum(size, np.finfo(dtype).tiny))
        relative = np.asarray(error / size)                                    # 0 / tiny is 0, inf / anything is inf
        relative[np.isnan(relative)] = np.inf                                  # inf / inf
        at = int(np.argmax(relative))
        spacing = np.spacing(np.maximum(size, np.finfo(coarse).tiny).astype(coarse)).astype(float)
        return float(relative.reshape(-1)[at]), float(np.max(error / spacing)), tuple(int(i) for i in np.unravel_index(at, g.shape))


def along(got, parts):
    """The relative error of a derivative along a direction. parts: (derivative, size of its terms) of each array that moves, in balls."""
    truth, size = (sum([p[k] for p in parts[1:]], parts[0][k]) for k in (0, 1))
    off, size = abs(float(numbers(truth - precise(float(got))))), float(numbers(size))
    return 0.0 if off == 0 else off / size if size else np.inf
