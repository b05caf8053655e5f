"""Which axes of length 1 are so by chance.

What it is: `marked`, an equal graph in whose shapes those are Units (units.py): the axes of arguments and constants, and of what is made of them; the one entry of
x[1:] where x has two. Not those that a sum keeps, or that an index adds. It is a guess from shapes alone; where it is wrong, the plan asks for another kernel than a
longer axis has. `repeated`, the axes along which an array is repeated by that guess: its cotangent is summed there, as along longer axes (recording.Outline).

What it is not: no plan (planning.py), and nothing that a result depends on.
"""
import math
from types import SimpleNamespace

import numpy as np

from ..contractions import units
from ..nodes import Node, reachable
from ..vocabulary.contraction import subscripts
from ..vocabulary.shaping import broadcast_shapes
from .layout import View, expand, indirect
from .units import Count, Unit, lengths, power_of


def marked(inputs, outputs):
    """(inputs, outputs) of such a graph; None where nothing is marked."""
    order = reachable(outputs)
    if not any([1 in n.shape for n in order]):
        return None
    now, counted, found = {}, any(map(_counts_one, order)), False
    for n in order:
        operands = [now[x] if type(x) is Node else x for x in n.operands]
        if counted and n.primitive.name in ("multiply", "divide") and n.dtype.kind == "f" and (1 in n.shape or not n.shape):          # (others have cotangents' beginnings)
            operands = [Count(x) if _is_one(x) or _is_one(x, -1) else x for x in operands]
        shape = _shape(n, operands)
        params = {**n.params, "shape": shape} if "shape" in n.params and shape != n.shape else n.params
        now[n] = Node(n.primitive, tuple(operands), params, None, shape, n.dtype, n.frames)
        found = found or shape != n.shape
    return ([now.get(n, n) for n in inputs], [now[x] if type(x) is Node else x for x in outputs]) if found else None


def repeated(x, of, known):
    """The axes, 1 long both, along which array x is repeated where array `of` is not, both nodes without marks. known: {a node: its shape, marked}, which grows."""
    stack = [x, of]
    while stack:
        n = stack.pop()
        if n in known:
            continue
        waiting = [p for p in n.operands if type(p) is Node and 1 in p.shape and p not in known]          # (of others all axes are longer)
        if waiting:
            stack += [n, *waiting]
        else:
            known[n] = _shape(n, [SimpleNamespace(shape=known[p]) if type(p) is Node and p in known else p for p in n.operands])
    return tuple([k for k, (m, longer) in enumerate(zip(known[x], known[of])) if m == 1 and power_of(longer)])


def _shape(n, operands):
    """A node's shape, from those of its operands; that of a loop's result from its turn."""
    if n.primitive.name in ("getitem", "reshape") and (result := _of_loop(n)) is not None:
        return result
    if 1 not in n.shape and not any([power_of(m) for x in operands for m in _lengths(x)]):
        return n.shape
    rule = _RULES.get(n.primitive.name) or _RULES.get(n.primitive.kind) or _as_operand
    found = rule(n, *operands)
    return tuple(found) if found is not None and [*map(int, found)] == [*n.shape] else n.shape


def _lengths(x):
    """The shape of an operand. (The new axis of a Jacobian's directions is none by chance.)"""
    if type(x) is not np.ndarray:
        return np.shape(x)
    return x.shape if 1 not in x.shape or units(x) else lengths(x)


def _of_loop(n):
    """The shape of a node that is one of the results of a loop, which come packed in one array; None for others."""
    part = n.operands[0] if n.primitive.name == "reshape" else n
    packed = part.operands[0] if type(part) is Node and part.primitive.name == "getitem" and len(part.operands) == 1 else None
    if 1 not in n.shape or type(packed) is not Node or packed.primitive.name != "scan":
        return None
    loop, (index,), at = packed.primitive.own, part.params["index"], 0
    for k in loop.packing:
        shape, _ = loop.results[k]
        if type(index) is slice and (index.start, index.stop) == (at, at := at + math.prod(shape)) and shape == n.shape:
            turn = marked(loop.inputs, loop.outputs)
            one = np.shape(loop.outputs[k] if turn is None else turn[1][k])
            return one if k < loop.carried else (Unit(1) if loop.length == 1 else loop.length, *one)
    return None


# ---- counts of one --------------------------------------------------------------------------------------------------------------------

def _is_one(x, one=1):
    return type(x) not in (Node, np.ndarray) and not np.ndim(x) and x == one


def _counts_one(n):
    """Does it divide or multiply by a count that is 1? Who says 1 / n says it in numbers that were folded, so that other factors may be such, too."""
    if n.primitive.name in ("mean", "var"):
        return math.prod([np.shape(n.operands[0])[k] for k in n.params["axis"]]) == 1
    return n.primitive.name == "divide" and _is_one(n.operands[1]) or n.primitive.name == "multiply" and 1 in [x for x in n.operands if type(x) is int]


# ---- rules: (node, *operands) -> shape ---------------------------------------------------------------------------------------------------

def _by_chance(n, *operands):
    return [Unit(1) if m == 1 else m for m in n.shape]


def _as_operand(n, *operands):
    return next((shape for x in operands if [*map(int, shape := _lengths(x))] == [*n.shape]), None)


def _broadcast(n, *operands):
    return broadcast_shapes([*map(_lengths, operands)])


def _reduced(n, x):
    return [1 if k in n.params["axis"] else m for k, m in enumerate(_lengths(x)) if n.params["keepdims"] or k not in n.params["axis"]]


def _contracted(n, *operands):
    shapes = [*map(_lengths, operands)]
    terms, out = subscripts(n.primitive.name, [*map(len, shapes)], n.params).split("->")
    size = {}
    for letters, shape in zip(terms.split(","), shapes):
        size.update({c: m for c, m in zip(letters, shape) if size.get(c, 1) == 1})
    return [size[c] for c in out]


def _reshaped(n, x):
    """Units stay where they are among the entries: an axis of length 1 with as many entries behind it is one, or the axis that they become a part of."""
    old, new, ones = _lengths(x), [*n.shape], {}              # ones: entries behind -> of each axis of length 1 there, is it a Unit?
    for m, count in zip(old, _behind(old)):
        if power_of(m):
            ones.setdefault(count * int(m), []).extend([True] * m.power)
        elif m == 1:
            ones.setdefault(count, []).append(False)
    behind = _behind(new)
    for count, marks in ones.items():
        there = [k for k, m in enumerate(n.shape) if m == 1 and behind[k] == count]
        chosen = [k for k, mark in zip(there, marks) if mark] if len(there) == len(marks) else there[:sum(marks)]
        chosen += [k for k, m in enumerate(n.shape) if m > 1 and behind[k] <= count][:1] * (sum(marks) - len(chosen))
        for k in chosen:
            new[k] = new[k] * Unit(1)
    return new


def _behind(shape):
    """Of each axis, how many entries those behind it have together."""
    return [math.prod(map(int, shape[k + 1:])) for k in range(len(shape))]


def _part(n, x, *arrays):
    """Of slices: those that would be longer, were the axis."""
    index, shape, out = n.params["index"], _lengths(x), []
    if arrays:
        def view(a):
            return View(None, 0, _lengths(a), (0,) * len(_lengths(a)), None)
        found = indirect(view(x), index, [*map(view, arrays)])
        return found and found[0].shape
    rest = iter(shape)
    for i in expand(index, len(shape)):
        m = 1 if i is None else next(rest)
        if i is None:
            out.append(m)
        elif type(i) is slice:
            count = len(range(m)[i])
            out.append(Unit(1) if count == 1 < len(range(int(m) + abs(i.step or 1))[i]) else count)
    return out


def _scattered(n, v, *arrays):
    """As what is put there, where that is all."""
    return _lengths(v) if not arrays and [*map(int, _lengths(v))] == [*n.shape] else _by_chance(n)


def _joined(n, *parts):
    axis, shapes = n.params["axis"], [*map(_lengths, parts)]
    return [sum(each) if k == axis else max(each) for k, each in enumerate(zip(*shapes))]


_RULES = {
    "input": _by_chance, "random_bits": _by_chance, "broadcast_to": _by_chance, "scatter": _scattered,
    "map": _broadcast, "reduce": _reduced, "contract": _contracted, "reshape": _reshaped, "getitem": _part, "concatenate": _joined,
    "transpose": lambda n, x: [_lengths(x)[k] for k in n.params["axes"]],
}
