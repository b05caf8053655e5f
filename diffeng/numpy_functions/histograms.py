"""Counting by value: np.bincount, np.histogram, np.histogram2d, np.histogramdd, np.digitize. Which bin an entry falls into has no derivative; weights and edges have."""
import builtins

import numpy as np

from ..errors import refuse
from ..numpy_api import arrayed, operand, plain
from ..ufunc_dtypes import cast
from ..vocabulary import elementwise as e, indexing
from .choosing import known, places_of, searchsorted
from .table import counted, implements


@implements(np.bincount)
def bincount(x, weights=None, minlength=0):
    x = places_of(plain(x))
    if weights is None:
        return np.bincount(x, None, minlength)
    if x.size:
        counted(x.min(), "bincount the least entry")
    out = np.zeros(max(int(x.max()) + 1 if x.size else 0, minlength))
    return indexing.add_at(out, operand(weights), x, index=(indexing.Slot(0),))


def _edges(a, bins, range, name):
    """The edges of the bins of a row of values: those that are given, or so many bins of equal width."""
    if isinstance(bins, str):
        raise refuse(TypeError, f"{name}{{here}}: bins={bins!r} is not supported on traced values: give their number, or their edges")
    bins = arrayed(bins)
    if bins.ndim == 0:
        lo, hi = (np.min(a), np.max(a)) if range is None and a.size else range or (0.0, 1.0)
        same = e.equal(lo, hi)
        bins = np.linspace(e.where(same, lo - 0.5, lo), e.where(same, hi + 0.5, hi), counted(plain(bins), f"{name} bins", 1) + 1)
    edges = known(bins)
    if edges is not None and (np.diff(edges) < 0).any():
        raise refuse(ValueError, f"{name}{{here}}: the edges of the bins do not increase")
    return bins


def _bin(edges, a):
    """The number of the bin, counted from 1: 0 and one more than there are are outside."""
    place = searchsorted(edges, a, "right")
    return e.where(e.equal(a, edges[-1]), edges.size - 1, place)                         # the last edge is of the last bin


def _filled(shape, places, weights, dtype):
    """How much falls into each of the bins, those outside left out."""
    one = np.ones(np.shape(places[0]), dtype) if weights is None else np.ravel(operand(weights))
    counts = indexing.add_at(np.zeros([n + 2 for n in shape], dtype), one, *places, index=tuple([indexing.Slot(k) for k in builtins.range(len(shape))]))
    return counts[(slice(1, -1),) * len(shape)]


@implements(np.histogram_bin_edges)
def histogram_bin_edges(a, bins=10, range=None, weights=None):
    return _edges(np.ravel(arrayed(a)), bins, range, "histogram_bin_edges")


@implements(np.histogram)
def histogram(a, bins=10, range=None, density=None, weights=None):
    if weights is not None and np.shape(weights) != np.shape(a):
        raise refuse(ValueError, f"histogram{{here}}: weights of shape {np.shape(weights)} for values of shape {np.shape(a)}: give one a value")
    a = np.ravel(arrayed(a))
    edges = _edges(a, bins, range, "histogram")
    counts = _filled((edges.size - 1,), [_bin(edges, a)], weights, np.intp if weights is None else arrayed(weights).dtype)
    return (counts / np.diff(edges) / np.sum(counts) if density else counts), edges


@implements(np.histogramdd)
def histogramdd(sample, bins=10, range=None, density=None, weights=None):
    columns = [arrayed(x) for x in (sample if isinstance(sample, (list, tuple)) else sample.T if np.ndim(sample) == 2 else [sample])]
    n = len(columns)
    bins = [bins] * n if np.ndim(bins) == 0 else list(bins)
    if len(bins) != n or range is not None and len(range) != n:
        raise refuse(ValueError, f"histogramdd{{here}}: bins or a range of {len(bins)} axes for values of {n}: give one for each")
    edges = [_edges(x, b, r, "histogramdd") for x, b, r in zip(columns, bins, [None] * n if range is None else range)]
    counts = _filled([x.size - 1 for x in edges], [_bin(b, x) for b, x in zip(edges, columns)], weights, float)
    if density:
        total = np.sum(counts)
        for k, b in enumerate(edges):
            counts = counts / np.reshape(np.diff(b), [-1 if j == k else 1 for j in builtins.range(n)])
        counts = counts / total
    return counts, tuple(edges)


@implements(np.histogram2d)
def histogram2d(x, y, bins=10, range=None, density=None, weights=None):
    bins = [bins, bins] if np.ndim(bins) == 0 or len(bins) not in (1, 2) else list(bins) * (3 - len(bins))
    x, y = arrayed(x), arrayed(y)
    both = np.result_type(x.dtype, y.dtype)
    counts, edges = histogramdd([cast(x, both), cast(y, both)], bins, range, density, weights)
    return counts, *edges


@implements(np.digitize)
def digitize(x, bins, right=False):
    bins, side = arrayed(bins), "left" if right else "right"
    ends = plain(bins)
    np.digitize(np.zeros(0), ends)                                   # NumPy's error where they are not monotonic
    if ends.size and ends[0] > ends[-1]:
        return len(bins) - searchsorted(bins[::-1], x, side)
    return searchsorted(bins, x, side)
