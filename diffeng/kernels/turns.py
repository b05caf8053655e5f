"""A loop whose turns are the rows of one kernel, where a turn is short and elementwise: a turn of numbers costs what its operations take, without the 10 to 20 ns of
calling a kernel.

What it is: `in_turns(lowering, node, operands)`, the row of lower.py for loops.Loop. The body is lowered as for all turns at once, where each carry is a view of rows 0 to
n - 1 of an array, and what it becomes is written into rows 1 to n of the same. That is right where the loop nest that writes them goes through its rows in order
(fuse.Sequential), and whoever else reads them comes after it. What does not depend on a carry may be computed for all turns before.

What it is not: loops with products, calls of NumPy or long rows. Those are run turn by turn (program.py), which is as fast there.
"""
import math

from ..nodes import Node, reachable
from ..simplify import simplify
from .fuse import Fuser, Group, Immediate, Sequential
from .layout import View, c_strides, new
from .tiles import inner, reads, writes

LONGEST = 64                               # entries of a row
MOST_BYTES = 1 << 26                       # of all carries of all turns


def in_turns(lowering, node, *operands):
    """A view of a loop's results, packed; None where it has to be run otherwise. operands: views, and constants as they came."""
    loop = node.primitive.own
    if not lowering.in_order or not hasattr(loop, "mapped") or not _is_short(loop):
        return None
    carried, length, moving = loop.carried, loop.length, loop.carried + loop.read
    given = [lowering.view(lowering.filled(x), n.dtype) for x, n in zip(operands, loop.inputs)]
    lowering.fuser.need(*given)
    if [v.dtype for v in given] != [n.dtype for n in loop.inputs]:
        return None
    every = loop.mapped(length, *[k < moving for k in range(len(given))])
    outputs = simplify(every.outputs)
    if not all([type(x) is Node for x in outputs[:carried]]):
        return None

    body = type(lowering)(Fuser(), reachable(outputs), scipys=True)
    places = {id(n): v for n, v in zip(every.inputs, given)}
    held = [new("arena", (length + 1, *v.shape), v.dtype) for v in given[:carried]]
    for n, v in zip(every.inputs, held):
        v.buffer.stored = True
        places[id(n)] = _rows(v, 0, length)
    body.lower_all([n for n in reachable(outputs) if id(n) not in places], places)
    if body.origins:                                                     # indices that are looked at are reported by the turn
        return None
    packed, pieces, end = new("arena", node.shape, node.dtype), {}, 0
    packed.buffer.stored = True
    for k in loop.packing:
        shape, _ = loop.results[k]
        pieces[k], end = View(packed.buffer, end * packed.dtype.itemsize, shape, c_strides(shape, packed.dtype.itemsize), packed.dtype), end + math.prod(shape)
        if k >= carried:
            body.cast(body.filled(places[id(outputs[k])]) if type(outputs[k]) is Node else body.view(outputs[k]), pieces[k], shape)
    after = [_computed(body, places[id(x)]) for x in outputs[:carried]]           # all of it is read before anything is written
    for x, v in zip(after, held):
        body.cast(x, _rows(v, 1, length), x.shape)
    steps = _ordered(body.fuser.finish(), {id(v.buffer) for v in held})
    if steps is None:
        return None

    for x, v in zip(given, held):
        lowering.cast(x, _row(v, 0), x.shape)
    lowering.fuser.need(*held)
    lowering.fuser.steps += steps
    for k in loop.packing[:sum([k < carried for k in loop.packing])]:
        lowering.cast(_row(held[k], length), pieces[k], pieces[k].shape)
    return packed


def _is_short(loop):
    """May a kernel that goes through all turns be the better one?"""
    nodes, moving = (*loop.inputs[:loop.carried + loop.read], *loop.order), loop.inputs[:loop.carried]
    return all([0 < math.prod(n.shape) <= LONGEST and n.primitive.kind not in ("contract", "linalg", "opaque") for n in nodes]) \
        and all([math.prod(shape) for shape, _ in loop.results]) \
        and (loop.length + 1) * sum([math.prod(n.shape) * n.dtype.itemsize for n in moving]) <= MOST_BYTES


def _rows(v, first, count):
    return View(v.buffer, first * v.strides[0], (count, *v.shape[1:]), v.strides, v.dtype)


def _row(v, k):
    return View(v.buffer, k * v.strides[0], v.shape[1:], v.strides[1:], v.dtype)


def _computed(body, x):
    """A view of what is computed here: of what lies in memory before, a copy."""
    x = body.filled(x)
    if x.buffer.writers:
        return x
    copy = new("arena", x.shape, x.dtype)
    body.cast(x, copy, x.shape)
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
