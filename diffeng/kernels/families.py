"""Graphs that are alike but for their sizes, and the sizes for which kernels were compiled on this machine.

What it is: `Family`, of a graph: `key` says what its plans depend on, sizes left out; `kept()`, the sizes of others for which kernels were compiled; `keep()`, its own
are among them from now on; `alike`, the same graph with its lengths planned as those of another one (lengths.Length): what was one array in the other is one here, and
what was the longer one is taken for the longer one, so that the plan asks for the kernels that are there.

What it is not: no plan (choice.py chooses among them), and nothing that a result depends on. Graphs with rules of a user's have no family.
"""
import functools
import hashlib
import json

import numpy as np

from ..lengths import Count, length
from ..nodes import Node, Primitive, reachable
from ..simplify import uniform
from . import cache

ROOM = "families"
MOST_BYTES = 16 << 20                       # of the room
MOST = 4                                    # sizes of one family that are kept, the last ones
LARGEST = 10_000                            # nodes of a graph: to describe it takes a microsecond each
_SIZED = ("shape", "index", "widths")       # parameters whose integers are sizes


@functools.lru_cache(maxsize=256)
def known(key):
    """Sizes for which kernels of a family were compiled, as texts, the last ones last: a list that grows."""
    found = cache.find(key, ROOM)
    return json.loads(found["code"]) if found is not None else []


class Family:
    """how: what else plans depend on. key: a text, or None where the graph has no family. sizes: of its nodes, in topological order, and of the arrays and numbers that
    they read, as a text. Whether somebody reads an array, or its sum along axes that are kept, is a matter of sizes, too: see `_Edges`."""

    def __init__(self, inputs, outputs, *how):
        self._ends, self._how, self._all = (inputs, outputs), how, reachable(outputs)

    @property
    def key(self):
        return self._described[0]

    @property
    def sizes(self):
        return self._described[1]

    @functools.cached_property
    def _edges(self):
        return _Edges(self._all, self._ends[1])

    @functools.cached_property
    def _described(self):
        if len(self._all) > LARGEST:
            return None, None
        words, sizes = self._words(AsTheyAre)
        if None in words:
            return None, None
        number, (inputs, outputs), edges = self._number, self._ends, self._edges
        ends = [[number.get(n, (len(n.shape), n.dtype.str)) for n in inputs], [number[edges.of(x)[0]] if type(x) is Node else type(x).__name__ for x in outputs]]
        return hashlib.sha256(repr((words, ends, self._how)).encode()).hexdigest(), sizes

    @functools.cached_property
    def _number(self):
        return {n: k for k, n in enumerate(self._edges.order)}

    def _words(self, lengths):
        """(what each node is, or None for what has no family; sizes, of these lengths, see AsTheyAre)"""
        edges, words, sizes = self._edges, [], []
        for n in edges.order:
            sizes.append([[self._number[x], *added] for x, *added in edges.before[n]])
            words.append(_word(n, self._number, sizes, lengths, edges.of))
        sizes.append([[self._number[x], *added] for x, *added in edges.before[None]])
        sizes.append([edges.of(x)[1:] for x in self._ends[1] if type(x) is Node])
        return words, json.dumps(sizes)

    def in_general(self):
        """The sizes of this graph in a general shape; None where it has one, or no family."""
        if self.key is None:
            return None
        from .general import general
        return general(self._all, self._ends[0], lambda lengths: self._words(lengths)[1])

    def kept(self):
        """The sizes of others of this family, the last ones first."""
        return [sizes for sizes in reversed(known(self.key)) if sizes != self.sizes] if self.key is not None else []

    def keep(self, sizes=None):
        """Kernels were compiled for these sizes; None: its own."""
        if self.key is not None:
            every = known(self.key)
            every[:] = [*reversed(self.kept()), sizes or self.sizes][-MOST:]
            code = json.dumps(every).encode()
            cache.keep(self.key, {"code": code, "symbols": {}, "needs": []}, ROOM)
            cache.bound(ROOM, MOST_BYTES, len(code))

    def alike(self, sizes):
        """(inputs, outputs, lengths, turns) of this graph, planned for other sizes: {id of an array: its lengths}, {id of the outputs of a loop's turn: (its inputs, its
        outputs)}. None where the other one has nothing along an axis, or adds up along one that is longer here, and is not added up."""
        try:
            return self._alike(json.loads(sizes))
        except _Unlike:
            return None

    def _alike(self, sizes):
        (inputs, outputs), edges, rest = self._ends, self._edges, iter(sizes)
        now, sums, lengths, turns = {}, {}, {}, {}

        def read(x, there):
            """What somebody reads, if there it was added up along these axes."""
            n, axes, _ = edges.of(x)
            if any([n.shape[k] != 1 for k in {*axes} ^ {*there[0]}]):
                raise _Unlike
            return sums[n, str(there)] if there[0] else now[n]

        def add_up():
            for number, *added in next(rest):
                x = edges.order[number]
                sums[x, str(added)] = _summed(now[x], *added)
        for n in edges.order:
            add_up()
            like, operands = next(rest), []
            if 0 in like:
                raise _Unlike
            if n.primitive.own is not None:
                loop = n.primitive.own
                *turn, its, inner = Family(loop.inputs, loop.outputs)._alike(json.loads(next(rest)))
                turns |= {id(loop.outputs): tuple(turn), **inner}
                lengths |= its
            for x in n.operands:
                its = next(rest)
                if type(x) is Node:
                    x = read(x, its)
                elif isinstance(x, np.ndarray):
                    lengths[id(x)] = its = tuple(map(length, x.shape, its))
                    if type(one := uniform(x, least=1)) is Node:
                        x = Node(one.primitive, one.operands, {"shape": its}, None, its, one.dtype, ())
                elif isinstance(x, (int, float, np.floating)) and n.dtype.kind == "f" and x in (1, -1) and repr(x) != its:
                    x = Count(x)                           # (a count that was another number)
                operands.append(x)
            shape, params = tuple(map(length, n.shape, like)), n.params
            if "index" in params:
                bounds = iter(next(rest))
                params = {**params, "index": tuple([_taken(i, bounds) for i in params["index"]])}
            if "shape" in params:
                params = {**params, "shape": shape}
            now[n] = Node(n.primitive, tuple(operands), params, None, shape, n.dtype, n.frames)
        add_up()
        ends = iter(next(rest))
        return [now.get(n, n) for n in inputs], [read(x, next(ends)) if type(x) is Node else x for x in outputs], lengths, turns


class _Unlike(Exception):
    """A graph cannot be planned for such sizes."""


class _Edges:
    """A graph without sums along axes that are kept, as derivatives have them where something was repeated: a shape in which that is 1 long may have none, or others
    where a guess was wrong (recording.Outline). order: the nodes; of(x): (the node that is read in place of x, the axes along which it is added up on the way, does
    one sum take these and the first ones together?); before: {a node, or None: such sums that were made before it}."""

    def __init__(self, order, outputs):
        self._through, self._sums = {}, {}
        for n in order:
            found = _kept(n)
            if found is not None:
                x, first, axes = found
                base, before, merged = self.of(x)
                if not first:                                          # of what was added up along others already: along all of them
                    self._through[n] = base, tuple(sorted({*before, *axes})), merged
                elif not before:
                    added, params = n.operands[0], {"axis": tuple(range(first)), "keepdims": False}
                    whole = self._sums.setdefault(added, Node(added.primitive, (x,), params, None, x.shape[first:], x.dtype, added.frames))
                    self._through[n] = whole, axes, True
        used = {self.of(x)[0] for x in outputs if type(x) is Node}
        for n in reversed(order):
            for m in (n, self._sums.get(n)):
                if m in used:
                    used.update([self.of(x)[0] for x in m.operands if type(x) is Node])
        self.order, self.before, waiting = [], {}, []
        for n in order:
            for m in (self._sums.get(n), n):
                if m in used:
                    self.order.append(m)
                    self.before[m], waiting = waiting, []
            if n in self._through:
                waiting.append(self._through[n])
        self.before[None] = waiting

    def of(self, x):
        return self._through.get(x) or (x, (), False)


def _kept(n):
    """(x, first, axes) where n is the sum of x along so many first axes, which are dropped (by a reshape), and along others, which are kept; else None."""
    s = n.operands[0] if n.primitive.name == "reshape" else n
    if type(s) is not Node or s.primitive.name != "sum" or not s.params["keepdims"] or type(x := s.operands[0]) is not Node or x.dtype != n.dtype:
        return None
    first, axes = len(x.shape) - len(n.shape), sorted(s.params["axis"])
    if first < 0 or (first == 0) is (s is not n) or axes[:first] != [*range(first)] or s.shape[first:] != n.shape or len(axes) == first:
        return None
    return x, first, tuple([k - first for k in axes[first:]])


def _summed(x, axes, merged):
    """What `_kept` finds, of a node, or of what it is the sum of."""
    first, kept = 0, tuple([1 if k in axes else m for k, m in enumerate(x.shape)])
    if merged:
        first, x = len(x.params["axis"]), x.operands[0]
    axes = (*range(first), *[k + first for k in axes])
    added = Node(Primitive.registry["sum"], (x,), {"axis": axes, "keepdims": True}, None, (1,) * first + kept, x.dtype, x.frames)
    return Node(Primitive.registry["reshape"], (added,), {"shape": kept}, None, kept, x.dtype, x.frames) if merged else added


class AsTheyAre:
    """The sizes of a node or an array, of the slices in a node's index, of a number that it reads."""

    @staticmethod
    def shape(x):
        return [*map(int, x.shape)]

    @staticmethod
    def bounds(n):
        return [int(b) for i in n.params["index"] if type(i) is slice for b in (i.start, i.stop) if b is not None]

    @staticmethod
    def number(n, x):
        return repr(x)


def _word(n, number, sizes, lengths, edge):
    """What a node is, but for its sizes, which are added to those of the graph; None for what has no family."""
    operands, own = [], n.primitive.own
    sizes.append(lengths.shape(n))
    if own is not None:
        turn = Family(own.inputs, own.outputs, own.carried, own.read, own.reverse, own.packing) if n.primitive.name == "scan" else None
        if turn is None or turn.key is None:
            return None
        operands.append(turn.key)
        sizes.append(turn.sizes if lengths is AsTheyAre else turn._words(lengths)[1])
    for x in n.operands:
        if type(x) is Node:
            x, *added = edge(x)
            operands.append(number[x])
            sizes.append(added)
        elif isinstance(x, np.ndarray):
            operands.append((x.dtype.str, x.ndim))
            sizes.append(lengths.shape(x))
        else:
            operands.append(type(x).__name__)
            sizes.append(lengths.number(n, x))
    params = [(name, _without_sizes(value) if name in _SIZED else str(value)) for name, value in n.params.items() if name != "name"]
    sizes += [lengths.bounds(n)] if "index" in n.params else []
    return None if any([value is None for _, value in params]) else (n.primitive.name, n.dtype.str, len(n.shape), operands, params)


def _taken(i, bounds):
    """A slice as it is planned, with the next bounds."""
    if type(i) is not slice:
        return i
    return slice(*[b if b is None else length(b, next(bounds)) for b in (i.start, i.stop)], i.step)


def _without_sizes(value):
    """A parameter with its integers left out; None for what holds an array (a mask)."""
    if type(value) is tuple:
        parts = [_without_sizes(x) for x in value]
        return None if None in parts else f"({','.join(parts)})"
    if type(value) is slice:
        return f"{_without_sizes(value.start)}:{_without_sizes(value.stop)}:{value.step}"
    return None if isinstance(value, np.ndarray) else "#" if isinstance(value, int) else str(value)
