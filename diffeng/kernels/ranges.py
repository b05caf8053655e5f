"""How fast elementwise functions grow: which of them are, whatever their argument, at most about a power of it.

What it is: `tame(seed, nodes)` and what is never small, by intervals: exp(-u*u) lies between 0 and 1 as u*u is at least 0, a quotient by 1 + exp(-u*u) is no
larger than what is divided. Who multiplies tame numbers in another order gets no infinity where there was none before, unless the argument itself is almost one.

What it is not: no values are looked at, and what no rule here speaks of may be anything.
"""
import math

import numpy as np

from ..nodes import Node

LEAST = 1e-3                                # a divisor this far from 0, and a quotient is as tame as what is divided
ALL, UNIT, PERCENT = (-math.inf, math.inf), (-1.0, 1.0), (0.0, 1.0)
POWERS = frozenset("add subtract multiply negative square absolute where maximum minimum sqrt".split())          # tame as far as their operands are


def tame(seed, nodes):
    """(those of some elementwise nodes, given in topological order, that grow no faster than a power of the seed does; those that are never close to 0, however they
    grow). What else they are made of is taken for ordinary numbers.

    >>> from diffeng.nodes import Tracing, reachable
    >>> u = Tracing().input(None, "u", (3,), np.float64)
    >>> parts = [np.exp(u), np.exp(-(u * u)), u / (1 + np.exp(-(u * u)))]
    >>> slow, large = tame(u.node, reachable([p.node for p in parts])[1:])
    >>> [p.node in slow for p in parts], len(large)
    ([False, True, True], 1)
    """
    ranges, found, large = {seed: ALL}, {seed}, set()

    def of(x):
        if type(x) is Node:
            return ranges.get(x, ALL)
        return (float(np.min(x)), float(np.max(x))) if np.size(x) and np.asarray(x).dtype.kind in "fiub" else ALL
    for n in nodes:
        name, operands = n.primitive.name, n.operands
        given = [of(x) for x in operands]
        if name == "multiply" and operands[0] is operands[1]:
            name, given = "square", given[:1]
        low, high = ranges[n] = _absolute(n) or RANGES.get(name, lambda *_: ALL)(*given)
        ordinary = [type(x) is not Node or x in found or x not in ranges for x in operands]
        if low >= LEAST or high <= -LEAST:
            large.add(n)
        if -math.inf < low and high < math.inf or name in POWERS and all(ordinary) or name == "divide" and ordinary[0] and type(operands[1]) is Node and operands[1] in large:
            found.add(n)
    return found, large


def _absolute(n):
    """The range of |x|, where it is written as a choice between -x and x."""
    if n.primitive.name == "where":
        condition, negative, x = n.operands
        if type(condition) is type(x) is Node and condition.primitive.name == "signbit" and condition.operands[0] is x and _are_opposite(negative, x):
            return 0.0, math.inf
    return None


def _are_opposite(a, b):
    """Is a node minus the other one: as such, or by the factors of the same?"""
    if type(a) is not Node or a.primitive.name == "negative":
        return type(a) is Node and a.operands[0] is b
    if not a.primitive.name == b.primitive.name == "multiply":
        return False
    (c, x), (d, y) = (sorted(n.operands, key=lambda x: type(x) is Node) for n in (a, b))
    return x is y and type(c) is not Node and type(d) is not Node and np.size(c) == 1 and bool(np.all(c == -d))


def _times(x, y):
    products = [0.0 if 0 in (p, q) else p * q for p in x for q in y]
    return min(products), max(products)


def _exp(x):
    return tuple([math.exp(p) if p < 700 else math.inf for p in x])


def _square(x):
    low, high = sorted([abs(p) for p in x])
    return (0.0 if x[0] <= 0 <= x[1] else low * low), high * high


RANGES = {
    **dict.fromkeys("tanh sin cos erf sign".split(), lambda x: UNIT),
    **dict.fromkeys("expit gauss signbit less less_equal greater greater_equal equal not_equal logical_and logical_or logical_not isnan".split(), lambda *_: PERCENT),
    **dict.fromkeys("erfc erfc_of_quotient".split(), lambda *_: (0.0, 2.0)),
    "arctan":   lambda x: (-math.pi / 2, math.pi / 2),
    "cosh":     lambda x: (1.0, math.inf),
    "exp":      _exp,
    "add":      lambda x, y: (x[0] + y[0], x[1] + y[1]),
    "subtract": lambda x, y: (x[0] - y[1], x[1] - y[0]),
    "negative": lambda x: (-x[1], -x[0]),
    "multiply": _times,
    "divide":   lambda x, y: _times(x, (1 / y[1], 1 / y[0])) if y[0] >= LEAST or y[1] <= -LEAST else ALL,
    "square":   _square,
    "absolute": lambda x: (0.0, max(map(abs, x))),
    "where":    lambda c, x, y: (min(x[0], y[0]), max(x[1], y[1])),
    "maximum":  lambda x, y: (max(x[0], y[0]), max(x[1], y[1])),
    "minimum":  lambda x, y: (min(x[0], y[0]), min(x[1], y[1])),
}
