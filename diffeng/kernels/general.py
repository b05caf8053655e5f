"""Sizes of a graph in which nothing is equal by chance.

What it is: `Extents`, the lengths of a graph's axes as extents (extents.py), unknown ones those of its inputs and constants: what meets what says which are the same.
`general`, the sizes that the graph would have in a general shape: two axes that are equally long without having to be are not, and an axis of length 1 is longer,
unless something is repeated along it. A plan for those (families.py) has the kernels that other shapes need. `repeated`, the axes of length 1 along which something is
repeated: its cotangent is summed there (recording.Outline).

What it is not: no plan, and nothing that a result depends on. It is a guess from shapes and indices alone (x[:4] may be half of x); where it is wrong, another shape
asks for another kernel.
"""
import math

import numpy as np

from ..nodes import Node
from ..vocabulary.contraction import subscripts
from ..vocabulary.indexing import Slot, expand
from .extents import Extent, Unknowns, entries, extent, product
from .families import AsTheyAre
from .layout import of_arrays


class Extents(Unknowns):
    """The shapes of nodes, and of arrays that they read, as extents. Both are kept."""

    def __init__(self):
        super().__init__()
        self._shapes, self._ends, self._bounds, self._read, self._results, self._stretches = {}, {}, {}, {}, {}, {}

    def met(self, n):
        return id(n) in self._shapes

    def over(self, order):
        """Those of nodes, in topological order."""
        for n in order:
            if not self.met(n):
                rule = _RULES.get(n.primitive.name) or _RULES.get(n.primitive.kind) or _as_operand
                shapes = [self.of(x) for x in n.operands]
                found = rule(self, n, *shapes)
                self._shapes[id(n)] = (tuple(found) if found is not None and [*map(int, found)] == [*n.shape] else n.shape), n

    def of(self, x):
        """The shape of a node that was met, of an array or a number."""
        if id(x) not in self._shapes:
            if type(x) is not np.ndarray:
                return x.shape if type(x) is Node else ()
            self._shapes[id(x)] = tuple([self.unknown(n) if n > 1 or _is_length(x, k) else n for k, n in enumerate(x.shape)]), x
        return self._shapes[id(x)][0]

    def every(self):
        return [n for shape, _ in self._shapes.values() for n in shape]

    def begun(self, n, shape):
        """A node has this shape: an input, or one of a loop's turn. It may have another already, which is the same."""
        if id(n) in self._shapes:
            for a, b in zip(self.of(n), shape):
                self.equal(a, b)
        self._shapes.setdefault(id(n), (tuple(shape), n))

    def part(self, n, shape, arrays):
        """The shape of what a node's index reads of an array; None for masks. See `bounds`."""
        index = n.params["index"]
        if any([type(i) not in (slice, int, Slot, type(None), type(Ellipsis)) for i in index]):
            return None
        out, rest, advanced, bounds = [], iter(shape), [], []
        indirect = any([type(i) is Slot for i in index])
        for k, i in enumerate(expand(index, len(shape))):
            if i is Ellipsis:
                continue
            m = 1 if i is None else next(rest)
            if i is None:
                out.append(m)
            elif type(i) is slice:
                first, end = self._end(m, i.start), m if i.stop == int(m) else self._end(m, i.stop)          # (what is its end is its end)
                bounds += [b for b in (first, end) if b is not None]
                out.append(self._taken(m, i, first, end))
            elif indirect:
                advanced.append((k, len(out)))
        at = of_arrays(advanced)
        out[at:at] = self.together(arrays)
        self._bounds[id(n)] = bounds
        return out

    def reads(self, n, shape):
        """A node reads an array of this shape, by its index."""
        self._read[_by(n, shape)] = shape

    def read(self, n):
        """The shape of what somebody else read by a node's index; None where nobody did."""
        return self._read.get(_by(n, n.shape))

    def _end(self, n, b):
        """Where a slice of an axis of length n begins or ends: there is where others do that say the same number."""
        n = self.now(n)
        if type(n) is not Extent or b is None or b <= 0 or b > int(n):
            return b
        key = tuple(sorted(n.terms.items())), b
        if key not in self._ends:
            self._ends[key] = self.unknown(b, written_out=True)
        return self._ends[key]

    def _taken(self, n, i, first, end):
        """How much a slice takes of an axis."""
        count, step = len(range(int(n))[i]), i.step or 1
        if type(n) is not Extent:
            return count
        if i.start is None and i.stop is None and abs(step) == 1:
            return n
        if step < 0:
            return count
        first, end = (default if b is None else n + b if b < 0 else n if b > int(n) else b for b, default in ((first, 0), (end, n)))
        apart = self.now(end - first)
        if int(apart) < 0:
            return 0
        if step == 1 or type(apart) is int:
            return apart if step == 1 else count
        if not any([a % step for m, a in apart.terms.items() if m]):
            return extent(count, {m: -(-a // step) for m, a in apart.terms.items()})
        made = self.unknown(count)
        self.equal(apart, made * step - (count * step - int(apart)))
        return made

    def bounds(self, n):
        """Those of the slices in a node's index, as extents; None where nothing is read."""
        return self._bounds.get(id(n))

    def packed(self, n, results):
        """The shape of a loop's results; {number of a result: its shape}."""
        self._results[id(n)] = n.primitive.own.stretches, results
        return [sum(map(entries, results.values()))]

    def stretch(self, n):
        """The shape of a node that is the entries of a loop's result; None for others. See `results`."""
        loop = self._results.get(id(n.operands[0]))
        found = loop and next((k for k in loop[1] if (loop[0][k],) == n.params["index"]), None)
        if found is None:
            return None
        stretches, results = loop
        before = sum([entries(s) for k, s in results.items() if stretches[k].stop <= stretches[found].start])
        count = entries(results[found])
        self._bounds[id(n)], self._stretches[id(n)] = [before, before + count], results[found]
        return [count]

    def results(self, x):
        """The shape of a loop's result, of which x are the entries; None for other nodes."""
        return self._stretches.get(id(x))


def _by(n, shape):
    """A node's index into an array of this shape: who reads and who puts back have equal ones, which are one object only for as long as nodes.spec remembers them."""
    return repr(n.params["index"]), tuple(map(int, shape))


def _is_length(array, k):
    """Is an axis of length 1 of an array like any other? Not if it stands still along it, nor in one column of several numbers, which is mostly meant."""
    return array.strides[k] and (array.size == 1 or k < array.ndim - 1 or array.strides[k] != array.itemsize or array.dtype.kind == "b")


class _Lengths:
    """As families.AsTheyAre, where unknown lengths are what numbers say."""

    def __init__(self, extents, numbers, counted):
        self._extents, self._numbers, self._counted = extents, numbers, counted

    def _length(self, n):
        return self._extents.value(n, self._numbers)

    def shape(self, x):
        if type(x) is Node:
            self._extents.over([x])                    # (a sum along some of its axes is nobody's)
        return [*map(self._length, self._extents.of(x))]

    def bounds(self, n):
        found = self._extents.bounds(n)
        return AsTheyAre.bounds(n) if found is None else [*map(self._length, found)]

    def number(self, n, x):
        one = self._counted and n.primitive.name in ("multiply", "divide") and (1 in n.shape or not n.shape) and _is_one(x)
        return "a count" if one else repr(x)


def general(order, inputs, told):
    """told(lengths), the sizes that the nodes of a graph have in a general shape; None where they have, or none is found."""
    extents = Extents()
    for n in inputs:
        shape = [extents.unknown(k) for k in n.shape]
        for k, e in enumerate(shape):
            if type(e) is Extent:
                extents.trailing[next(iter(e.terms))[0]] = int(k == len(shape) - 1)
        extents.begun(n, shape)
    extents.over(order)
    numbers = extents.numbers(extents.every())
    return None if numbers is None else told(_Lengths(extents, numbers, any(map(_counts_one, order))))


def _counts_one(n):
    """Does it divide or multiply by a count that is 1? Who says 1 / n says it in numbers that were folded, so that other factors may be such, too."""
    if n.primitive.name in ("mean", "var"):
        return math.prod([np.shape(n.operands[0])[k] for k in n.params["axis"]]) == 1
    return n.primitive.name == "divide" and _is_one(n.operands[1]) or n.primitive.name == "multiply" and 1 in [x for x in n.operands if type(x) is int]


def _is_one(x):
    return type(x) not in (Node, np.ndarray) and not np.ndim(x) and x in (1, -1)


def repeated(x, of, extents):
    """The axes, 1 long both, along which array x is repeated where array `of` is not, both nodes; extents: those of what was asked before."""
    stack = [x, of]
    while stack:
        n = stack.pop()
        waiting = [p for p in n.operands if type(p) is Node and not extents.met(p)]
        if waiting:
            stack += [n, *waiting]
        else:
            extents.over([n])
    return tuple([k for k, (m, longer) in enumerate(zip(extents.of(x), extents.of(of))) if m == 1 and type(m) is int and extents.is_length(longer)])


# ---- rules: (extents, node, *shapes of its operands) -> shape ----------------------------------------------------------------------------

def _as_operand(extents, n, *shapes):
    return next((s for s in shapes if [*map(int, s)] == [*n.shape]), None)


def _new(extents, n, *shapes):
    return [*map(extents.unknown, n.shape)]


def _broadcast_to(extents, n, x):
    return extents.together([x, _new(extents, n)])


def _reduced(extents, n, x):
    axes = n.params["axis"]
    axes = range(len(x)) if axes is None else (axes,) if type(axes) is int else axes
    return [1 if k in axes else m for k, m in enumerate(x) if n.params.get("keepdims") or k not in axes]


def _contracted(extents, n, *shapes):
    terms, out = subscripts(n.primitive.name, [*map(len, shapes)], n.params).split("->")
    size = {}
    for letters, shape in zip(terms.split(","), shapes):
        for c, m in zip(letters, shape):
            size[c] = extents.meet(size[c], m) if c in size else m
    return [size[c] for c in out]


def _reshaped(extents, n, x):
    """Groups of axes with as many entries, from the left. Axes of length 1 keep their place among the entries; where fewer are there afterwards, they become a part of
    the next axis."""
    if 0 in x:
        return None
    x = extents.results(n.operands[0]) or x
    old = [f for e in x for f in (type(e) is Extent and e.factors or (e,))]
    new, k, j, waiting = [], 0, 0, []
    while k < len(old) or j < len(n.shape):
        ones, places = [], 0
        while k < len(old) and int(old[k]) == 1:
            ones, k = [*ones, old[k]], k + 1
        while j < len(n.shape) and n.shape[j] == 1:
            places, j = places + 1, j + 1
        if len(ones) != places:
            ones = [e for e in ones if type(e) is Extent]
            ones, waiting = [*ones[:places], *[1] * (places - len(ones))], waiting + ones[places:]
        new += ones
        if k == len(old) or j == len(n.shape):
            break
        before, after = [old[k]], [n.shape[j]]
        k, j = k + 1, j + 1
        while (a := math.prod(map(int, before))) != (b := math.prod(after)):
            if a < b:
                before.append(old[k])
                k += 1
            else:
                after.append(n.shape[j])
                j += 1
        made = _group(extents, before, after)
        new += [product([*waiting, made[0]]), *made[1:]]
        waiting = []
    if waiting and new:
        at = next((i for i in reversed(range(len(new))) if int(new[i]) > 1), len(new) - 1)
        new[at] = product([new[at], *waiting])
    return new


def _group(extents, before, after):
    """What axes of as many entries become."""
    if len(after) == 1:
        return [product(before)]
    if len(before) > 1:
        return after
    largest = after.index(max(after))
    made = [*after[:largest], extents.unknown(after[largest]), *after[largest + 1:]]          # so many heads stay so many
    extents.equal(product(made), before[0])
    return made


def _part(extents, n, x, *arrays):
    """Of slices and arrays of integers."""
    extents.reads(n, x)
    return extents.stretch(n) or extents.part(n, x, arrays)


def _scattered(extents, n, v, *arrays):
    """Zeros like what was read there: who reads and who puts back share an index."""
    return _written(extents, n, extents.read(n) or _new(extents, n), v, *arrays)


def _written(extents, n, x, v, *arrays):
    there = extents.part(n, x, arrays)
    if there is not None and len(there) >= len(v):
        extents.together([there, v])
    return x


def _joined(extents, n, *shapes):
    axis = n.params["axis"]
    others = extents.together([s[:axis] + s[axis + 1:] for s in shapes])
    return [*others[:axis], sum([s[axis] for s in shapes]), *others[axis:]]


def _stacked(extents, n, *shapes):
    axis, shape = n.params["axis"], extents.together(shapes)
    return [*shape[:axis], len(shapes), *shape[axis:]]


def _padded(extents, n, x):
    return [lo + m + hi for m, (lo, hi) in zip(x, n.params["widths"])]


def _matrix(extents, n, a, *others):
    """Square, and as long as what stands on the right."""
    extents.equal(a[-1], a[-2])
    if n.primitive.name == "solve":
        b = others[0]
        extents.equal(a[-1], b[-2] if len(b) > 1 else b[-1])
    return next((s for s in (*others, a, a[:-2]) if [*map(int, s)] == [*n.shape]), None)


def _turned(extents, n, *shapes):
    """A loop: its turn's inputs are the carry, a row of each of what it reads, and what is outside; all results are packed in one array."""
    loop = n.primitive.own
    if loop.name != "scan":
        return None
    carry, rows, outer = loop.split(shapes)
    turns = loop.length
    for s in rows:
        turns = extents.meet(turns, s[0]) if type(turns) is Extent else s[0]
    for inside, shape in zip(loop.inputs, (*carry, *[s[1:] for s in rows], *outer)):
        extents.begun(inside, shape)
    extents.over(loop.order)
    after = [extents.of(x) for x in loop.outputs]
    for before, now in zip(loop.inputs, after[:loop.carried]):
        for a, b in zip(extents.of(before), now):
            extents.meet(a, b)
    results = [extents.of(loop.inputs[k]) if k < loop.carried else (turns, *after[k]) for k in range(len(after))]
    return extents.packed(n, {k: results[k] for k in loop.packing})


_RULES = {
    "input": _new, "random_bits": _new, "broadcast_to": _broadcast_to, "scatter": _scattered, "setitem": _written, "add_at": _written, "scan": _turned,
    "map": lambda extents, n, *shapes: extents.together(shapes), "reduce": _reduced, "argmax": _reduced, "argmin": _reduced, "contract": _contracted,
    "reshape": _reshaped, "getitem": _part, "concatenate": _joined, "stack": _stacked, "pad": _padded, "linalg": _matrix,
    "transpose": lambda extents, n, x: [x[k] for k in n.params["axes"]],
}
