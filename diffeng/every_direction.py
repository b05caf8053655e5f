"""A flat function along all directions of its leaves, in forward mode: the rows of its Jacobian, and what a cotangent makes of them.

What it is: as many directions are pushed together as memory bears (CHUNK).
What it is not: no rule (forward_mode.py), and no public face (differentiate.py).
"""
import numpy as np

CHUNK = 256               # directions pushed forward together: bounds memory, and 256 rows keep BLAS busy


def _seeds(leaves, lo, hi):
    """Unit directions lo..hi over all leaves' entries together: one (K, *shape) array a leaf, None where a leaf has no part."""
    tangents, start = [], 0
    for x in leaves:
        n = x.size
        first, last = max(lo, start), min(hi, start + n)
        if first < last:
            seed = np.zeros((hi - lo, n), x.dtype)
            seed[np.arange(first - lo, last - lo), np.arange(first - start, last - start)] = 1
            seed.flags.writeable = False                 # so a compiler knows what it is: see contractions.units
            tangents.append(seed.reshape((hi - lo,) + x.shape))
        else:
            tangents.append(None)
        start += n
    return tangents


def _bounds(leaves):
    """Chunk boundaries: a leaf larger than a chunk starts its own, so that other leaves' zeros are not carried along."""
    total, bounds = 0, [0]
    for x in leaves:
        n = x.size
        if total + n - bounds[-1] > CHUNK and total > bounds[-1]:
            bounds.append(total)
        while total + n - bounds[-1] > CHUNK:
            bounds.append(bounds[-1] + CHUNK)
        total += n
    return bounds + [total] if total > bounds[-1] or total == 0 else bounds


def forward_rows(flat, progress=None):
    """(outputs, rows): rows[j] has shape (n, *output j's shape), the derivative along each of the n input entries, or None."""
    from . import forward_mode
    bounds, values, parts = _bounds(flat.leaves), None, []
    for k, (lo, hi) in enumerate(zip(bounds, bounds[1:])):
        values, tangents = forward_mode.push(flat, flat.leaves, _seeds(flat.leaves, lo, hi))
        parts.append([np.zeros((hi - lo,) + np.shape(v)) if t is None else t for v, t in zip(values, tangents)])
        if progress is not None:
            progress(k + 1, len(bounds) - 1)
    rows = [p[0] if len(p) == 1 else np.concatenate(p) for p in zip(*parts)]
    return values, rows


def split(rows, leaves):
    """(n, ...) entries along all leaves -> one (*leaf.shape, ...) array a leaf."""
    out, start = [], 0
    for x in leaves:
        n = x.size
        part = rows[start:start + n]
        part = scalar_of(np.reshape(part, tuple(x.shape) + tuple(part.shape[1:])))
        out.append(part.astype(x.dtype) if part.dtype != x.dtype else part)
        start += n
    return out


def scalar_of(x):
    """NumPy's scalar for an array without axes, as NumPy's own functions return it."""
    return x[()] if type(x) is np.ndarray else x


def contracted(values, rows, cotangents, leaves):
    """The cotangents of the leaves: forward_rows' outputs and rows against the outputs' cotangents."""
    terms = [np.sum(r * g, axis=tuple(range(1, r.ndim))) for v, r, g in zip(values, rows, cotangents) if v.dtype.kind == "f"]
    return split(sum(terms[1:], terms[0]), leaves) if terms else [*map(np.zeros_like, leaves)]
