"""A loop whose turns are the rows of one kernel, where a turn is short and elementwise: a turn of numbers costs what its operations take, without the 10 to 20 ns of
calling a kernel.

What it is: `in_turns(lowering, node, operands)`, the row of lower.py for loops.Loop. The body is lowered as for all turns at once, where each carry is a view of rows 0 to
n - 1 of an array, and what it becomes is written into rows 1 to n of the same. That is right where the loop nest that writes them goes through its rows in order
(fuse.Sequential), and whoever else reads them comes after it. What does not depend on a carry may be computed for all turns before.

What it is not: loops with larger products, calls of NumPy or long rows. Those are gone through turn by turn (repeated.py), which is as fast there.
"""
import math

import numpy as np

from ..nodes import Node, reachable
from ..simplify import simplify
from .entries import by_entries, objects
from .fuse import Fuser, Group, Immediate, Sequential
from .layout import View, backwards, c_strides, new
from .sizes import is_short
from .tiles import inner, reads, writes

LONGEST = 64                               # entries of a row
MOST_BYTES = 1 << 26                       # of all carries of all turns


def in_turns(lowering, node, *operands):
    """A view of a loop's results, packed; None where it has to be run otherwise. operands: views, and constants as they came."""
    loop = node.primitive.own
    if not lowering.in_order or not hasattr(loop, "mapped") or (loop.length + 1) * sum([math.prod(n.shape) * n.dtype.itemsize for n in loop.inputs[:loop.carried]]) > MOST_BYTES \
            or 0 in [math.prod(shape) for shape, _ in loop.results]:
        return None
    every, part = None if _is_vector(loop) else by_entries(loop), _entry                             # part: a view of what a node stands for
    if every is None:
        every, part = _rows(loop), lambda v, at, turns: v
    given = [lowering.view(lowering.filled(x), n.dtype) for x, n in zip(operands, loop.inputs)]
    lowering.fuser.need(*given)
    if every is None or [v.dtype for v in given] != [n.dtype for n in loop.inputs] or not is_short(max([math.prod(n.shape) for n in loop.order], default=1), LONGEST):
        return None
    inputs, outputs = every
    found = iter(simplify([x for cells in outputs for x in cells.flat]))
    outputs = [[(at, next(found)) for at in np.ndindex(cells.shape)] for cells in outputs]

    carried, length = loop.carried, loop.length
    nodes = reachable([x for cells in outputs for _, x in cells if type(x) is Node])
    body = type(lowering)(Fuser(), nodes, scipys=True)
    places, held = {}, []
    for k, (cells, v) in enumerate(zip(inputs, given)):
        for at, n in np.ndenumerate(cells):
            moves = k >= carried and k < carried + loop.read
            begin = part(backwards(v) if moves and loop.reverse else v, at, moves)
            if k < carried:
                held.append((begin, new("arena", (length + 1, *begin.shape), v.dtype)))
                held[-1][1].buffer.stored = True
                begin = _turns(held[-1][1], 0, length)
            places[id(n)] = begin
    body.lower_all([n for n in nodes if id(n) not in places], places)
    if body.origins:                                                     # indices that are looked at are reported by the turn
        return None

    def value(x):
        return body.filled(places[id(x)]) if type(x) is Node else body.view(x)
    packed, pieces, end = new("arena", node.shape, node.dtype), {}, 0
    packed.buffer.stored = True
    for k in loop.packing:
        shape, _ = loop.results[k]
        pieces[k], end = View(packed.buffer, end * packed.dtype.itemsize, shape, c_strides(shape, packed.dtype.itemsize), packed.dtype), end + math.prod(shape)
        for at, x in outputs[k] if k >= carried else ():
            to = part(backwards(pieces[k]) if loop.reverse else pieces[k], at, True)
            body.cast(value(x), to, to.shape)
    after = [_computed(body, value(x), v) for (_, x), (_, v) in zip([x for cells in outputs[:carried] for x in cells], held)]           # all is read before anything is written
    for x, (_, v) in zip(after, held):
        to = _turns(v, 1, length)
        body.cast(x, to, to.shape)
    steps = _ordered(body.fuser.finish(), {id(v.buffer) for _, v in held})
    if steps is None:
        return None

    for begin, v in held:
        lowering.cast(begin, _turn(v, 0), begin.shape)
    lowering.fuser.need(*[v for _, v in held])
    lowering.fuser.steps += steps
    last = iter(held)
    for k in range(carried):
        for (at, _), (_, v) in zip(outputs[k], last):
            if k in pieces:
                to = part(pieces[k], at, False)
                lowering.cast(_turn(v, length), to, to.shape)
    return packed


def _is_vector(loop):
    """Are all arrays of a turn one vector's, whose entries do not meet? One instruction computes them all."""
    return len({n.shape for n in loop.order}) == 1 and all([n.primitive.kind == "map" and math.prod(n.shape) > 1 for n in loop.order])


def _entry(v, at, turns):
    """Of a view the entry at a place. turns: is its first axis that of all turns?"""
    return View(v.buffer, v.offset + sum([i * s for i, s in zip(at, v.strides[turns:])]), v.shape[:turns], v.strides[:turns], v.dtype)


def _rows(loop):
    """As by_entries, where each array is a row of a kernel; None where rows are long, or are no rows, or nothing is another one in each turn."""
    moving = loop.carried + loop.read
    if not moving or not all([0 < math.prod(n.shape) <= LONGEST and n.primitive.kind not in ("contract", "linalg", "opaque") for n in (*loop.inputs[:moving], *loop.order)]):
        return None
    every = loop.mapped(loop.length, *[k < moving for k in range(len(loop.inputs))])
    return [objects((), [n]) for n in every.inputs], [objects((), [x]) for x in every.outputs]


def _turns(v, first, count):
    return View(v.buffer, first * v.strides[0], (count, *v.shape[1:]), v.strides, v.dtype)


def _turn(v, k):
    return View(v.buffer, k * v.strides[0], v.shape[1:], v.strides[1:], v.dtype)


def _computed(body, x, like):
    """A view of what is computed here: of what lies in memory before, a copy."""
    if x.buffer.writers:
        return x
    copy = new("arena", (like.shape[0] - 1, *like.shape[1:]), like.dtype)
    body.cast(x, copy, copy.shape)
    return copy


def _ordered(steps, carries):
    """The steps, each after those that write what it reads, carries, too, and after those before it that write where it does, as entries of a copy are set; those
    that write carries go through their rows in order. None where that is not enough: two wait for each other, or a row for the one after it. carries: ids of
    their buffers."""
    read, written = ([set().union(*map(of, inner(step))) for step in steps] for of in (reads, writes))
    left, made = [*range(len(steps))], []
    while left:
        k = next((k for k in left if all([j == k or read[k].isdisjoint(written[j]) and (j > k or written[k].isdisjoint(written[j])) for j in left])), None)
        if k is None or not carries.isdisjoint(written[k]) and not _by_rows(steps[k]):
            return None
        left.remove(k)
        made.append(steps[k] if carries.isdisjoint(written[k]) else Sequential.of(steps[k]))
    return made


def _by_rows(step):
    """Is a step a loop nest that is done with a row before it begins with the next one?"""
    return type(step) is Group and all([type(o.out) is View and getattr(o, "kind", "row") == "row" and all([type(x) in (View, Immediate) for x in o.operands])
                                        for o in step.operations])
