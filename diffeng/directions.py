"""Directions through all arguments at once: how far each entry moves, and what a gradient says of that.

What it is: `scale_of` and `weights`, which make a direction; `way`, the direction itself in the judge's arithmetic, and `tangent`, in floats; `inner`, the
derivative along it that a gradient stands for.
What it is not: no difference is taken here (judge.py), nothing decided (hearing.py).

Entry i moves by w_i s_i. In an ordinary array s_i = |x_i| (1 where that is 0) and w_i is a random real number. In a large one (wide_arrays.LARGE) all s are one
power of two near the array's root mean square, and w_i has 17 bits, so that the direction is exact, four bytes an entry, and one slice for slices.py: a wrong
gradient then passes a direction unseen with a probability below 1e-5, not 0.
"""
import numpy as np
from flint import arb

from .balls import box
from .precise import PreciseArray, arbs, precise
from .wide_arrays import Dense, Wide, large

DIRECTIONS = 2
GRID = 1 << 16


def scale_of(x):
    """s: how far an entry moves at step 1."""
    x = np.asarray(x)
    if large(x):
        mean = float(np.vdot(x, x)) / x.size
        return np.broadcast_to(np.exp2(np.round(np.log2(mean) / 2)) if 0 < mean < np.inf else 1.0, x.shape)
    x = np.absolute(x.astype(float))
    return np.where(x == 0, 1.0, x)


def weights(leaves, count=DIRECTIONS, seed=1):
    """For each direction one array of relative weights a leaf, between 1/2 and 3/2 in size."""
    rng = np.random.default_rng(seed)

    def one(x):
        if large(x):
            w = rng.integers(GRID // 2, GRID // 2 + GRID, x.shape, np.int32).astype(np.float32)
            w *= 1.0 / GRID
            return np.negative(w, out=w, where=rng.integers(0, 2, x.shape, np.uint8).astype(bool))
        return rng.uniform(0.5, 1.5, x.shape) * rng.choice([-1.0, 1.0], x.shape)
    return [[one(np.asarray(x)) for x in leaves] for _ in range(count)]


def way(w, s):
    """w s, exactly."""
    if large(w):
        return PreciseArray(Wide(w.shape, [Dense(arb(float(s[(0,) * s.ndim])), w)]), np.dtype(float))
    return PreciseArray(box(arbs(w) * arbs(s)), np.dtype(float))


def tangent(w, s, dtype):
    """w s in floats."""
    return np.multiply(w, dtype.type(s[(0,) * s.ndim]), dtype=dtype) if large(w) else np.asarray(w * s, dtype)


def inner(g, w, s):
    """(the sum over g w s, the sum over |g w s|), a ball each, for a gradient g in any arithmetic; of a large array the second is a float64 estimate."""
    data = precise(g).data
    if type(data) is not Wide:
        terms = g * way(w, s)
        return np.sum(terms), np.sum(np.absolute(terms))
    s = float(s[(0,) * s.ndim])
    sizes = np.absolute(data.numbers())
    sizes *= np.absolute(w)
    return PreciseArray(box(data.inner(w) * arb(s)), np.dtype(float)), precise(float(np.sum(sizes)) * s)
