"""Graphs that are alike but for their sizes, and the sizes for which kernels were compiled on this machine.

What it is: `Family`, of a graph: `key` says what its plans depend on, sizes left out; `kept()`, the sizes of others for which kernels were compiled; `keep()`, its own
are among them from now on; `alike`, the same graph with its lengths planned as those of another one (units.Length): what was one array in the other is one here, and
what was the longer one is taken for the longer one, so that the plan asks for the kernels that are there.

What it is not: no plan (program.py chooses among them), and nothing that a result depends on. Graphs with rules of a user's have no family.
"""
import functools
import hashlib
import json

import numpy as np

from ..nodes import Node, reachable
from ..simplify import uniform
from . import cache
from .units import Count, length

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


def without_sums(inputs, outputs):
    """(inputs, outputs) of an equal graph without sums along axes of length 1 that change nothing, such as a derivative has where an axis may be repeated
    (recording.Outline): in a longer shape it was not. None where there are none."""
    now, found = {}, False
    for n in reachable(outputs):
        x = n.operands[0] if n.primitive.name == "reshape" else None
        if type(x) is Node and x.primitive.name == "sum" and x.operands[0].shape == n.shape and x.operands[0].dtype == n.dtype \
                and all([n.shape[k] == 1 for k in x.params["axis"]]):
            now[n], found = now[x.operands[0]], True
        else:
            now[n] = n.on([now[x] if type(x) is Node else x for x in n.operands]) if n.operands else n
    return (inputs, [now[x] if type(x) is Node else x for x in outputs]) if found else None


class Family:
    """how: what else plans depend on. key: a text, or None where the graph has no family. sizes: of its nodes, in topological order, and of the arrays and numbers that
    they read, as a text."""

    def __init__(self, inputs, outputs, *how):
        self._ends, self._how, self._order = (inputs, outputs), how, reachable(outputs)

    @property
    def key(self):
        return self._described[0]

    @property
    def sizes(self):
        return self._described[1]

    @functools.cached_property
    def _described(self):
        number, sizes = {n: k for k, n in enumerate(self._order)}, []
        if len(self._order) > LARGEST:
            return None, None
        words = [_word(n, number, sizes) for n in self._order]
        if None in words:
            return None, None
        inputs, outputs = self._ends
        ends = [[number.get(n, (len(n.shape), n.dtype.str)) for n in inputs], [number[x] if type(x) is Node else type(x).__name__ for x in outputs]]
        return hashlib.sha256(repr((words, ends, self._how)).encode()).hexdigest(), json.dumps(sizes)

    def kept(self):
        """The sizes of others of this family, the last ones first."""
        return [sizes for sizes in reversed(known(self.key)) if sizes != self.sizes] if self.key is not None else []

    def keep(self):
        """Kernels were compiled for these sizes."""
        if self.key is not None:
            every = known(self.key)
            every[:] = [*reversed(self.kept()), self.sizes][-MOST:]
            code = json.dumps(every).encode()
            cache.keep(self.key, {"code": code, "symbols": {}, "needs": []}, ROOM)
            cache.bound(ROOM, MOST_BYTES, len(code))

    def simpler(self):
        """Of the graph `without_sums`, or None."""
        found = without_sums(*self._ends)
        return None if found is None else Family(*found, *self._how)

    def alike(self, sizes):
        """(inputs, outputs, lengths, turns) of this graph, planned for other sizes: {id of an array: its lengths}, {id of the outputs of a loop's turn: (its inputs, its
        outputs)}. None where one of both has nothing along an axis."""
        (inputs, outputs), now, lengths, turns, rest = self._ends, {}, {}, {}, iter(json.loads(sizes))
        for n in self._order:
            like, operands = next(rest), []
            if 0 in like or 0 in n.shape:
                return None
            if n.primitive.own is not None:
                loop = n.primitive.own
                found = Family(loop.inputs, loop.outputs).alike(next(rest))
                if found is None:
                    return None
                turns |= {id(loop.outputs): found[:2], **found[3]}
                lengths |= found[2]
            for x in n.operands:
                if type(x) is Node:
                    operands.append(now[x])
                    continue
                its = next(rest)
                if isinstance(x, np.ndarray):
                    lengths[id(x)] = its = tuple(map(length, x.shape, its))
                    if type(one := uniform(x)) is Node:
                        x = Node(one.primitive, one.operands, {"shape": its}, None, its, one.dtype, ())
                elif type(x) in (int, float) and n.dtype.kind == "f" and x in (1, -1) and repr(x) != its:
                    x = Count(x)                           # (a count that was another number)
                operands.append(x)
            shape = tuple(map(length, n.shape, like))
            params = {**n.params, "shape": shape} if "shape" in n.params else n.params
            now[n] = Node(n.primitive, tuple(operands), params, None, shape, n.dtype, n.frames)
        return [now.get(n, n) for n in inputs], [now[x] if type(x) is Node else x for x in outputs], lengths, turns


def _word(n, number, sizes):
    """What a node is, but for its sizes, which are added to those of the graph; None for what has no family."""
    operands, own = [], n.primitive.own
    sizes.append([*map(int, n.shape)])
    if own is not None:
        turn = Family(own.inputs, own.outputs, own.carried, own.read, own.reverse, own.packing) if n.primitive.name == "scan" else None
        if turn is None or turn.key is None:
            return None
        operands.append(turn.key)
        sizes.append(turn.sizes)
    for x in n.operands:
        if type(x) is Node:
            operands.append(number[x])
        elif isinstance(x, np.ndarray):
            operands.append((x.dtype.str, x.ndim))
            sizes.append([*x.shape])
        else:
            operands.append(type(x).__name__)
            sizes.append(repr(x))
    params = [(name, _without_sizes(value) if name in _SIZED else str(value)) for name, value in n.params.items() if name != "name"]
    return None if any([value is None for _, value in params]) else (n.primitive.name, n.dtype.str, len(n.shape), operands, params)


def _without_sizes(value):
    """A parameter with its integers left out; None for what holds an array (a mask)."""
    if type(value) is tuple:
        parts = [_without_sizes(x) for x in value]
        return None if None in parts else f"({','.join(parts)})"
    if type(value) is slice:
        return f"{_without_sizes(value.start)}:{_without_sizes(value.stop)}:{value.step}"
    return None if isinstance(value, np.ndarray) else "#" if isinstance(value, int) else str(value)
