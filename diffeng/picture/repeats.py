"""Equal blocks that follow one another in a list of operations: twelve layers called in a loop are one layer, times twelve.

What it is: a search for consecutive windows with the same signatures and the same wiring inside; blocks inside a block are found the same way.
What it is not: graph isomorphism. Operations are compared in the order in which they were recorded, which is what a loop makes.

Why a file: a picture folds with it, and it knows nothing of pictures.
"""
from dataclasses import dataclass

_CANDIDATES = 12              # how many later occurrences of an operation are tried as the start of the second block


@dataclass(frozen=True)
class Repeat:
    """Operations start, ..., start + period - 1, and then the same again, `count` times in all. depth: 0 for outermost."""
    start: int
    period: int
    count: int
    depth: int


def find(signatures, wires, shortest=2, fewest=2):
    """Repeats in a list of operations, outermost first, none overlapping another at the same depth.

    signatures: something hashable for each operation. wires: for each operation a list of the positions of its operands, None for what is no operation.
    shortest: operations in a block (single operations count from six repetitions on: fewer are rather q, k and v); fewest: repetitions.

    >>> find("abcabcabcd", [[None]] + [[k] for k in range(9)])
    [Repeat(start=0, period=3, count=3, depth=0)]
    """
    numbers = {}
    ids = [numbers.setdefault(s, len(numbers)) for s in signatures]
    places = {}
    for k, i in enumerate(ids):
        places.setdefault(i, []).append(k)
    found, todo = [], [(0, len(ids), 0)]
    while todo:
        low, high, depth = todo.pop()
        k = low
        while k < high:
            best = None
            for start in _after(places[ids[k]], k, high):
                period = start - k
                count = 1
                while k + (count + 1) * period <= high and _equal(ids, wires, k, k + count * period, period):
                    count += 1
                enough = count >= max(fewest, 6) if period < shortest else count >= fewest
                if enough and (best is None or count * period > best[0] * best[1]):
                    best = (count, period)
            if best is None:
                k += 1
                continue
            count, period = best
            found.append(Repeat(k, period, count, depth))
            todo.append((k, k + period, depth + 1))
            k += count * period
    return sorted(found, key=lambda r: (r.depth, r.start))


def _after(places, k, high):
    from bisect import bisect_right
    first = bisect_right(places, k)
    return [p for p in places[first:first + _CANDIDATES] if p < high]


def _equal(ids, wires, a, b, period):
    """Windows at a and b: same signatures, and every operand comes from the same place inside, or from outside in both."""
    if ids[a:a + period] != ids[b:b + period]:
        return False
    for t in range(period):
        for u, v in zip(wires[a + t], wires[b + t]):
            inside_a, inside_b = u is not None and u >= a, v is not None and v >= b
            if inside_a != inside_b or inside_a and u - a != v - b:
                return False
    return True
