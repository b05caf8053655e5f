"""Cheap values that are read at shifted places, computed where they are read instead of being written to memory in between.

What it is: `shifted(outputs)`, a graph rewritten. A difference u[1:] - u[:-1], a flux made of it, read as flux[1:] and flux[:-1]: who reads another entry than
the one that his own loop computes reads memory, so such a value is a loop of its own, written and read again. Where it consists of a few additions and
products, the part is taken before the operation and not after: (a + b)[1:] is a[1:] + b[1:], and what lies among zeros likewise, for all operations here make
zero of zeros. Then one loop is left that reads its operands at several places. A sum that every step of a recurrence adds to, the cotangent of a coefficient
between the points say, is shorter than what the points have; where its terms are made of what is computed among zeros anyway, it lies among zeros, too, and
the step's adjoint is one loop.

What it is not: no rule of arithmetic: every entry is computed by the same operations on the same numbers.
"""
import math

import numpy as np

from ..contractions import shape_of
from ..nodes import INPUT, Node, Outputs, Primitive, reachable, readers_of
from ..index_maps import spans, steps
from .sizes import is_short

CHEAP = frozenset("add subtract multiply negative square absolute maximum minimum".split())        # all of them: zeros make zero
MOST = 12                                  # operations computed again for one part
STORE = 2                                  # what writing an array costs, in arrays read: a cache line is fetched before it is written
WIDER = 1.25                               # how many more entries there may be with the zeros around, which are computed, too
EDGE, EDGES = 8, 2                         # how much longer a vector, or each axis, may be anyway: the same for all lengths (halves of a few columns are no edges)


def shifted(outputs):
    """Nodes that compute the same as these. outputs: Nodes, or constants, which pass as they are.

    >>> from diffeng import numpy_api                # what is recorded can be indexed
    >>> from diffeng.nodes import Tracing
    >>> u = Tracing().input(None, "u", (100,), np.float64)
    >>> flux = (u[1:] - u[:-1]) * 0.1
    >>> [n.primitive.name for n in reachable(shifted([(flux[1:] - flux[:-1]).node])) if n.operands]
    ['getitem', 'getitem', 'subtract', 'multiply', 'getitem', 'getitem', 'subtract', 'multiply', 'subtract']
    """
    return _Rewriting(outputs, reachable(outputs)).outputs


def among_zeros(inputs, outputs, carried, others=()):
    """(inputs, outputs, {number of a carry: (lo, hi) of each axis}) of a loop's turn, of whose carries some lie among zeros: those that only add up what is computed
    among zeros anyway. inputs, outputs: the carries' come first. others: carries that lie somewhere else."""
    rewriting = _Rewriting(outputs, reachable(outputs))
    found = {k: wide for k, wide in rewriting.widened(inputs[:carried]).items() if k not in others}
    if not found:
        return inputs, outputs, {}
    inputs, outputs = [*inputs], Outputs(rewriting.outputs)
    for k, (term, _) in found.items():
        inputs[k] = Node(INPUT, (), inputs[k].params, None, term.shape, term.dtype, ())
        outputs[k] = Node(Primitive.registry["add"], (inputs[k], term), {}, None, term.shape, term.dtype, term.frames)
    return inputs, outputs, {k: block for k, (_, block) in found.items()}


def _block(index, whole):
    """(lo, hi) of each axis where an index reads a block of an array; None for another."""
    parts = spans(index, whole)
    return tuple([(r.start, r.stop) for r in parts]) if parts is not None and steps(parts) else None


class _Rewriting:
    """outputs: the new ones."""

    def __init__(self, outputs, order):
        self.outputs, self._before, self._among, self._blocks, self._params = outputs, outputs, {}, {}, {}
        self._parts = {n: p for n in order if (p := self._part(n)) is not None}
        for x in {x for n in order if self._parts and n.primitive.name == "concatenate" and self._goes_round(n) for x in n.operands}:
            del self._parts[x]
        if not self._parts:
            return
        self._readers, self._kept, self._new, self._made, self._cheap = readers_of(order), {x for x in outputs if isinstance(x, Node)}, {}, {}, {}
        self._chosen = chosen = self._worth(order)
        if chosen:
            new, sums = self._new, self._sums(order, chosen)
            for n in order:
                if n in chosen:
                    new[n] = self._taken(n, n.operands[0])
                elif n in sums:
                    new[n] = self._out_of(self._taken(sums[n], n), sums[n])
                else:
                    new[n] = n.on([self._now(x) for x in n.operands]) if n.operands else n
            self.outputs = Outputs([self._now(x) for x in outputs])

    def _part(self, n):
        """(lo, hi) of each axis for a node that reads a block of an array, or puts one among zeros; None for others."""
        name = n.primitive.name
        if name != "getitem" and name != "scatter" or len(n.operands) != 1 or type(n.operands[0]) is not Node:
            return None
        whole = n.operands[0].shape if name == "getitem" else n.shape
        if not whole or 0 in n.shape:
            return None
        key = id(n.params), whole                                # those of the steps of a loop are one object
        if key not in self._blocks:
            self._blocks[key] = n.params, _block(n.params["index"], whole)
        return self._blocks[key][1]

    def _goes_round(self, n):
        """Are these parts of one array, which are read where they lie?"""
        read = {x.operands if type(x) is Node and x in self._parts else None for x in n.operands}
        return len(read) == 1 and None not in read

    def _now(self, x):
        return self._new[x] if isinstance(x, Node) else x

    # ---- what is worth it -------------------------------------------------------------------------------------------------------------

    def _worth(self, order):
        """The parts that are taken before the operation."""
        chosen = set()
        for m in order:
            readers = self._readers.get(m, ())
            if not readers or math.prod(m.shape) == 1 or m in self._kept or any([r not in self._parts for r in readers]) \
                    or any([_much_wider(r.shape, m.shape) for r in readers]) or not _is_cheap(m):
                continue
            name, *others = {r.primitive.name for r in readers}
            if others:
                continue
            places, again = self._below(m, chosen)
            if not self._few(again, name, chosen):
                continue
            read = {(x, *self._moved(first, r)) if first else (x,) for r in readers for x, *first in places}          # as far from there as r lies from m
            read -= {self._source(x, (0,) * len(r.shape)) for r in readers for c in self._readers.get(r, ()) for x in c.operands if type(x) is Node}
            own = len(places) if name == "getitem" else 0                      # among zeros: its own loop reads them for others, too
            if len(read) <= own + len(readers) + STORE:
                chosen.update(readers)
        return chosen

    def _again(self, x, shape):
        """Is an operand computed again?"""
        if type(x) is not Node or x.shape != shape:
            return False
        if x not in self._cheap:
            self._cheap[x] = x not in self._kept and _is_cheap(x) and all([r.primitive.kind == "map" or r in self._parts for r in self._readers[x]])
        return self._cheap[x]

    def _below(self, m, chosen):
        """({what is read of which array, from which entry on}, {the cheap operations behind m, m among them, and from which entry on}) where m is computed;
        what is chosen to be made among zeros is made of what it is made of. Of more operations than MOST, some."""
        first = m, (0,) * len(m.shape)
        stack, again, read = [first], {first}, set()
        while stack and len(again) <= MOST:
            n, first = stack.pop()
            for x in n.operands:
                if type(x) is not Node:
                    continue
                inner = (x.operands[0], self._moved(first, x)) if x in chosen and x.shape == n.shape and x.primitive.name == "scatter" else \
                    (x, first) if self._again(x, n.shape) else None
                if inner is None:
                    read.add(self._source(x, first if x.shape == n.shape else ()))
                elif inner not in again:
                    again.add(inner)
                    stack.append(inner)
        return read, again

    def _few(self, again, name, chosen):
        """Are these few enough to be computed again for such parts? Of differences of differences every second one is kept."""
        return len(again) <= MOST and not any([x in chosen and not name == x.primitive.name == "scatter" for n, _ in again for x in n.operands])

    def _moved(self, first, part):
        """The entry that entry `first` of a part is of what it is a part of; of what lies among zeros, as if it went on there."""
        if part.primitive.name == "getitem":
            return tuple([a + lo for a, (lo, _) in zip(first, self._parts[part])])
        return tuple([a - lo for a, (lo, _) in zip(first, self._parts[part])])

    def _source(self, x, first):
        """(array, entry of it on each axis) that entry `first` of x is."""
        while x in self._parts and len(x.shape) == len(first):
            x, first = x.operands[0], self._moved(first, x)
        return x, *first

    def _sums(self, order, chosen):
        """{a sum that is only added to: a part, among whose zeros its terms are computed anyway}."""
        self._among, found, seen = {}, {}, set()
        for r in order:
            if r in chosen and r.primitive.name == "scatter" and r.operands[0] not in seen:
                seen.add(r.operands[0])
                for x, _ in self._below(r.operands[0], ())[1]:
                    self._among.setdefault(x, r)
        for n in order if self._among else ():
            if _is_sum(n) and all([_is_sum(r) and r.shape == n.shape for r in self._readers.get(n, ())]) \
                    and (n not in self._kept or not found.keys().isdisjoint(n.operands)):
                left, right = (found[x] if x in found else self._like(x, n) for x in n.operands)
                if left is not None and right is not None and (self._parts[left], left.shape) == (self._parts[right], right.shape):
                    found[n] = left
        return found

    def _like(self, x, n):
        """Such a part for a term of a sum, of what that is made of."""
        again = self._below(x, self._chosen)[1] if self._again(x, n.shape) else ()
        parts = [self._among[y] for y, _ in again if y in self._among and y.shape == n.shape] if self._few(again, "scatter", self._chosen) else ()
        return min(parts, key=lambda r: r.serial, default=None)

    def widened(self, carry):
        """{number of a carry that only adds up: (what it adds, among zeros as it is computed anyway; (lo, hi) of each axis: where it lies there)}. carry: its nodes; the
        first outputs are what they become."""
        found = {}
        for k, (x, out) in enumerate(zip(carry, self._before)) if self._among else ():
            if type(out) is Node and out.primitive.name == "add" and x in out.operands and out.shape == x.shape and self._readers.get(x) == [out] and out not in self._readers \
                    and sum([y is out for y in self._before]) == 1:
                term = out.operands[out.operands[0] is x]
                part = self._like(term, out)
                if part is not None:
                    found[k] = self._taken(part, term), self._parts[part]
        return found

    # ---- making it --------------------------------------------------------------------------------------------------------------------------

    def _taken(self, part, x):
        """A part of x (or x among zeros), made of parts of what x is made of. The recursion ends after MOST operations."""
        key = part.primitive, self._parts[part], part.shape, x
        if key not in self._made:
            operands = [self._operand(part, y, x) for y in x.operands]
            self._made[key] = Node(x.primitive, tuple(operands), x.params, None, part.shape, x.dtype, x.frames)
        return self._made[key]

    def _out_of(self, y, part):
        """What lies in y where a part lies among zeros."""
        return _node("getitem", y, {"index": tuple([slice(lo, hi) for lo, hi in self._parts[part]])}, part.operands[0].shape, part)

    def _operand(self, part, y, x):
        if self._again(y, x.shape):
            return self._taken(part, y)
        if type(y) is Node and y in self._chosen and y.shape == x.shape and part.primitive.name == y.primitive.name == "scatter":
            return self._taken(self._joined(part, y), y.operands[0])
        if not shape_of(y) and (part.primitive.name == "getitem" or x.primitive.name == "multiply" and not isinstance(y, Node)):
            return self._now(y)
        key = part.primitive, self._parts[part], part.shape, x.shape, id(y)
        if key not in self._made:
            self._made[key] = self._cut(part, self._now(y), x)
        return self._made[key]

    def _joined(self, part, inner):
        """What is among zeros among zeros, as one part."""
        made = _node("scatter", inner.operands[0], part.params, part.shape, part)
        self._parts[made] = tuple(_together(self._parts[inner], self._parts[part], False))
        return made

    def _cut(self, part, y, x):
        """The same part of an operand of x, or that among zeros, which is read where it lies."""
        shape, cut, made, reads = shape_of(y), self._parts[part], part.shape, part.primitive.name == "getitem"
        if reads:
            cut = [(0, 1) if n < 2 else place for n, place in zip(shape, cut[len(cut) - len(shape):])]
            made = tuple([n if n < 2 else m for n, m in zip(shape, made[len(made) - len(shape):])])
        elif shape != x.shape:
            y = _node("broadcast_to", y if isinstance(y, Node) else np.asarray(y, x.dtype), {"shape": x.shape}, x.shape, part)
        inner = self._part(y) if isinstance(y, Node) and y.primitive is part.primitive else None
        if inner is not None and len(y.operands[0].shape) == len(cut):          # a part of a part
            y, cut = y.operands[0], _together(inner, cut, reads)
        key = reads, part.shape, *cut
        if key not in self._params:
            index = {"index": tuple([slice(lo, hi) for lo, hi in cut])}
            self._params[key] = index if reads else index | {"shape": part.shape}
        return _node(part.primitive.name, y, self._params[key], made, part)


def _together(inner, cut, reads):
    """(lo, hi) of each axis for a part of a part, or for one among zeros among zeros."""
    return [(a + lo, (a if reads else b - hi + lo) + hi) for (a, b), (lo, hi) in zip(inner, cut)]


def _much_wider(shape, part):
    """Is it, as arrays of that kind mostly are? (A stencil's edges are most of a small array, and little of a large one.)"""
    alike = len(shape) == len(part)
    if alike and len(shape) == 1:
        return shape[0] > part[0] + EDGE
    edges = alike and all([n <= m + EDGES for n, m in zip(shape, part)])
    return math.prod(shape) > WIDER * math.prod(part) and (not edges or is_short(min(part)))


def _is_cheap(m):
    return m.primitive.name in CHEAP and m.dtype.kind == "f" and all([x.dtype == m.dtype if type(x) is Node else _is_number(x) for x in m.operands])


def _is_sum(n):
    return n.primitive.name in ("add", "subtract") and _is_cheap(n)


def _is_number(x):
    """Zero times it is zero, and nobody can write into it."""
    return isinstance(x, (int, float, np.generic)) and math.isfinite(x)


def _node(name, x, params, shape, like):
    return Node(Primitive.registry[name], (x,), params, None, shape, x.dtype, like.frames)
