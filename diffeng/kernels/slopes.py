"""Of an elementwise function of a product of matrices its slope is kept for the adjoint, not everything that the slope is made of.

What it is: `by_slopes(outputs)`, a graph rewritten. Between the loop that makes h = phi(u) and the one that makes du of dh lie products, and whatever array both
loops need is written, kept and read. For a GELU that is u, 1 + tanh and the slope of tanh: du is a sum of dh times some of these. So it is written as dh times one
factor, phi'(u), which depends on nothing that the adjoint brings and is computed where u is in registers: one array instead of three, and u need not be kept.

What it is not: no rule of differentiation. It reads what is linear in dh from the graph's sums and products, whoever has written them. Terms are added before they
are multiplied by dh, not after: as many roundings, in another order. Where dh is 0 a slope that is infinite would make NaN of it, so that only functions have
slopes that grow no faster than a power does (ranges.py); and what chooses (`where`, which makes 0 of whatever it does not choose, infinite or not) is left where
it is.
"""
import math
import operator

import numpy as np

from ..nodes import Node, Outputs, Primitive, bytes_of, reachable, readers_of
from ..vocabulary.shaping import broadcast_shapes
from .ranges import tame

ARITHMETIC = {"multiply": operator.mul, "divide": operator.truediv, "negative": operator.neg, "add": operator.add, "subtract": operator.sub}


def by_slopes(outputs):
    """Nodes that compute the same as these, of whatever size. outputs: Nodes, or constants, which pass as they are. Values are not looked at."""
    order = reachable(outputs)
    seeds = [n for n in order if n.primitive.kind == "contract" and len(n.shape) > 1]
    if len(seeds) < 2:
        return outputs
    readers = readers_of(order)
    kept, found, done = {x for x in outputs if isinstance(x, Node)}, {}, set()             # found: {what is written anew: (what comes, its factor, its nodes)}
    for seed in seeds:
        made = _made_of(seed, readers)
        steady, large = tame(seed, sorted(made.keys() - {seed}, key=lambda n: n.serial))
        first = min([r.serial for n in made for r in readers.get(n, ()) if r.primitive.kind == "contract"], default=math.inf)
        coming = {x for n in made for r in readers.get(n, ()) if r not in made for x in r.operands if type(x) is Node and _may_bring(x, seed, made, first)}
        for g in sorted(coming, key=lambda n: n.serial):
            slopes, nodes = _slopes(g, made, steady, large, readers) if g not in done else ({}, ())
            end = _end(g, slopes, kept, readers)
            if end is not None and _spared(g, slopes, made, kept, readers) > bytes_of(g):
                found[end] = g, slopes[end], nodes
                done.update(slopes)
    return _rewritten(outputs, order, found) if found else outputs


def _made_of(seed, readers):
    """{what is made of a product entry by entry, and of smaller arrays beside it: the serial of the last of these}."""
    made, stack = {seed: 0}, [*readers.get(seed, ())]
    while stack:
        n = stack.pop()
        if n not in made and n.primitive.kind == "map" and n.shape == seed.shape and \
                all([type(x) is not Node or x in made or math.prod(x.shape) < math.prod(seed.shape) for x in n.operands]):
            made[n] = max([made.get(x, x.serial) for x in n.operands if type(x) is Node])
            stack += readers.get(n, ())
    return made


def _may_bring(x, seed, made, first):
    """Is it what an adjoint may bring: an array of the seed's kind that comes later than the first product of what is made of the seed?"""
    return x.serial > first and (x.shape, x.dtype) == (seed.shape, seed.dtype) and x not in made


def _slopes(g, made, steady, large, readers):
    """({what is g times some of `made`, or a sum of that: by what g is multiplied there}, the nodes of these factors in topological order): only of such as are
    steady (or divide, and are never small), and do not depend on g."""
    slopes, nodes, stack = {g: 1.0}, [], [*readers.get(g, ())]
    while stack:
        n = stack.pop()
        if n not in slopes and (n.shape, n.dtype) == (g.shape, g.dtype) and \
                all([type(x) is not Node or x in slopes or x in (large if n.primitive.name == "divide" else steady) and made[x] < g.serial for x in n.operands]):
            slope = _slope(n, slopes, nodes)
            if slope is not None:
                slopes[n] = slope
                stack += readers.get(n, ())
    return slopes, nodes


def _slope(n, slopes, nodes):
    """By what g is multiplied in n; None where n is not linear in g. What it takes is appended to the nodes."""
    linear = [type(x) is Node and x in slopes for x in n.operands]
    name, operands = n.primitive.name, [slopes[x] if of_g else x for x, of_g in zip(n.operands, linear)]
    if not _is_linear(name, linear):
        return None
    numbers = [isinstance(x, (int, float, np.floating)) for x in operands]
    if name == "multiply":
        factors = [x for x, is_number in zip(operands, numbers) if not is_number or x != 1]
        if len(factors) == 1 and type(factors[0]) is Node and factors[0].dtype == n.dtype:
            return factors[0]
    if not any([type(x) is Node for x in operands]):
        return ARITHMETIC[name](*operands) if all(numbers) and (name != "divide" or operands[1]) else None
    nodes.append(Node(n.primitive, tuple(operands), n.params, None, broadcast_shapes([*map(np.shape, operands)]), n.dtype, n.frames))
    return nodes[-1]


def _is_linear(name, linear):
    """Is a primitive linear in those of its operands together?"""
    return sum(linear) == 1 if name == "multiply" else linear[0] and not linear[1] if name == "divide" else name in ("add", "subtract", "negative") and all(linear)


def _end(g, slopes, kept, readers):
    """The one of these that others read; None where there are several."""
    found = [n for n in slopes if n is not g and (n in kept or any([r not in slopes for r in readers.get(n, ())]))]
    return found[0] if len(found) == 1 else None


def _spared(g, slopes, made, kept, readers):
    """Bytes of the arrays that need not be kept for the adjoint."""
    read = {x for n in slopes if n is not g for x in n.operands if type(x) is Node and x in made}
    return sum([bytes_of(x) for x in read if x not in kept and all([r.serial < g.serial or r in slopes or r in made for r in readers[x]])])


def _rewritten(outputs, order, found):
    now = {}

    def again(n):
        return n.on([now[x] if type(x) is Node else x for x in n.operands])
    for n in order:
        if n in found:
            g, slope, nodes = found[n]
            for m in nodes:
                now[m] = again(m)
            now[n] = Node(Primitive.registry["multiply"], (now[g], now[slope]), {}, None, n.shape, n.dtype, n.frames)
        else:
            now[n] = again(n) if n.operands else n
    return Outputs([now[x] if isinstance(x, Node) else x for x in outputs])
