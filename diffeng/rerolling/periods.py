"""Where a list repeats itself: `stretches`, for whoever looks for the turns of a loop in what was recorded of them.

What it is: one comparison of the list with itself, moved by a period, for each period that occurs often.
What it is not: a picture's search (picture/repeats.py), which wants blocks in blocks, of two repetitions, too, and can take its time.
"""
import numpy as np

_WINDOWS = 8, 64                         # codes that are looked at together: inner loops show in the shorter ones, outer ones in the longer
_PERIODS = 6                             # of each, those that occur most often are tried
MULTIPLES = 16                           # of the shortest period that are tried, for all operations of a turn may be alike


def stretches(codes, fewest, least, fits=lambda first, end, period: True):
    """[(first, end, period)], in order, none overlapping another: between `first` and `end` every code is followed by the same a period later, `fewest` times at least,
    and so that at least `least` codes repeat others. Where there is more than one way the one that repeats more is found, with the shortest period that fits.

    >>> stretches([7, 7, *[1, 2, 1, 3] * 20, 9], 5, 10)
    [(2, 82, 4)]
    """
    codes = np.asarray(codes)
    left, found, candidates = np.ones(len(codes), bool), [], _periods(codes, fewest)
    while True:
        best = max([(sum([end - first for first, end in runs]), -period, runs) for period in candidates
                    if (runs := _runs(codes, left, period, max(least, (fewest - 1) * period)))], default=None)
        if best is None:
            return sorted(found)
        period, runs = -best[1], best[2]
        for first, end in [(first, end + period) for first, end in runs]:
            if left[first:end].all():
                left[first:end] = False
                shortest = next(p for p in candidates if period % p == 0 and (codes[first:end - p] == codes[first + p:end]).all())
                fitting = [p for p in range(shortest, min(MULTIPLES * shortest, (end - first) // fewest) + 1, shortest) if fits(first, end, p)]
                found += [(first, end, p) for p in fitting[:1]]


def _periods(codes, fewest):
    """Distances between equal windows, those that occur often."""
    found = set()
    hashes, wide = codes.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1), 1
    for window in _WINDOWS:
        while wide < window and len(hashes) > wide:
            hashes = hashes[:-wide] * np.uint64(0xBF58476D1CE4E5B9 + 2 * wide) + hashes[wide:]
            wide *= 2
        order = np.argsort(hashes, kind="stable")
        gaps = np.diff(order)[hashes[order[1:]] == hashes[order[:-1]]]
        gaps, counts = np.unique(gaps[gaps <= len(codes) // fewest], return_counts=True)
        found.update(gaps[np.argsort(-counts, kind="stable")[:_PERIODS]].tolist())
    return sorted(found)


def _runs(codes, left, period, least):
    """[(first, end)] of what equals that which comes a period later, where that is long enough."""
    same = (codes[:-period] == codes[period:]) & left[:-period] & left[period:]
    edges = np.flatnonzero(np.diff(same, prepend=False, append=False)).reshape(-1, 2)
    return [(first, end) for first, end in edges.tolist() if end - first >= least]
