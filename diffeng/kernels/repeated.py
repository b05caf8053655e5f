"""A loop (de.scan) as one instruction of the program that it is in: its turn is a table of kernels, and one kernel more goes through that table as often as it turns.

What it is: `instructions(call)`. The turn is planned like any graph, into the same arena. Where a turn reads its row, and where the carry lies, is another place in every
turn: these words of its kernels are written by the loop before each (native_turns.py), as a call writes the addresses of its arguments.

What it is not: no loop whose turns call NumPy, or take so long together that a signal should be heard in between. Those are run by Python
(loops.py), turn by turn; the shortest turns are rows of one kernel (turns.py).
"""
import math

import numpy as np

from ..nodes import Node
from .contract import copy
from .fuse import Call, Fuser
from .groups import REGION, THREADS, Instruction
from .image import buffers, with_parts
from .layout import Buffer, View, backwards, c_strides, new
from .lower import Lowering
from .memory import plan
from .sizes import turn_of
from .tiles import KernelOf, WordsOf

KEY = repr(("loop",))
ROOM, DEEPER = 1 << 40, 20                 # from one code to the next, where there may be a loop between; powers of 2 less in a turn
LONGEST = 1e8                              # nanoseconds, roughly, that Python is kept from hearing a signal


def instructions(call, planned):
    """(steps that come before, the instructions that do what a Call of a loop does, steps that come after them); None where Python does it. The call says then what
    the kernels report, and whether there are products. planned(loop, kept, codes): of its turn ((the buffers that a step writes, its instructions and calls) in order,
    reports, has it products?, {number of a carry that lies among zeros there: (shape, where it lies)}, the numbers of those that each turn makes where they were). kept:
    results that it does not make."""
    loop = call.node.primitive.own if call.node is not None and call.node.primitive.name == "scan" else None
    between = next((step for step in (ROOM, ROOM >> DEEPER) if call.origin % step == 0), 0) >> DEEPER          # 0: of a loop in a loop in a loop
    if loop is None or not between:
        return None
    kept = _kept(loop)
    made, reports, products, wider, staying = planned(loop, kept, (call.origin, between))
    if any([type(w) is Call for _, work in made for w in work]):
        return None
    moving = loop.carried + loop.read
    once, turn, peak = _apart(made, moving)
    cost = loop.length * sum([w.rows * w.cost for w in turn])
    if cost > LONGEST:
        return None
    before, after = Lowering(Fuser(), []), []                # after: what is copied to where
    held, patches = Buffer("arena", np.dtype(np.uint8), peak), []
    given = [_given(before, x, n, loop.carried <= k < moving, loop.reverse) for k, (x, n) in enumerate(zip(call.operands, loop.inputs))]
    pieces = _pieces(loop, call.out, before, after)
    carries = [_carry(loop, k, k in staying, pieces, kept, given[k], before, after) if k not in wider else
               _wide(loop, k in staying, pieces[k], *wider[k], given[k], before, after) for k in range(loop.carried)]
    places = {"input": [read for read, _ in carries] + [_rows(v, loop.length) if k < moving else _same(v) for k, v in enumerate(given) if k >= loop.carried],
              "output": [made for _, made in carries] + [_rows(backwards(v) if loop.reverse else v, loop.length) for v in pieces[loop.carried:]]}
    for w in with_parts(once + turn):
        w.words = [_word(x, held, places, WordsOf(w, k), patches) for k, x in enumerate(w.words)]
    words = [REGION, THREADS, loop.length, len(turn), len(patches) // 6]
    for w in turn:
        words += [KernelOf(w), WordsOf(w), w.rows, w.chunk]
    call.products, call.reports = products, reports
    before, copying = before.fuser.finish(), Lowering(Fuser(), [])           # (finished first: a buffer knows who writes it)
    for x, there in after:
        copying.fuser.need(there)                            # results lie in one buffer, which is written and read
        copying.cast(x, there, there.shape)
    return before, [*once, Instruction(KEY, _build, words + patches, 1, 1, cost, tuple(turn))], copying.fuser.finish()


def _apart(made, moving):
    """(the instructions of steps that compute the same in every turn, those of the others, bytes of an arena for both). made: (the buffers that a step writes, its
    instructions) in order. moving: how many of the turn's inputs are others in each turn."""
    results = [{id(b): b for b in map(_whole, written)} for written, _ in made]
    touched = [{id(b): b for w in work for b in map(_whole, buffers(w))} | out for (_, work), out in zip(made, results)]
    changing = {key for found in touched for key, b in found.items() if b.kind == "output" or b.kind == "input" and b.slot < moving}
    before = None
    while before != len(changing):
        before, met = len(changing), set()
        for found, out in zip(touched, results):
            if changing.isdisjoint(found):
                changing |= met & out.keys()           # a step that stays finds there what was before
            else:
                changing |= out.keys()                 # what is made of what changes
                met |= found.keys()
    once, turn = ([w for (_, work), found in zip(made, touched) if changing.isdisjoint(found) is same for w in work] for same in (True, False))
    kept = [*{id(b): b for w in once for b in _between(w)}.values()]
    peak = plan([_between(w) for w in once] + [kept + _between(w) for w in turn])
    return once, turn, peak


def _whole(buffer):
    """That in whose memory it lies."""
    return buffer.root()[0]


def _between(w):
    return [b for b in buffers(w) if b.kind == "arena"]


def _build():
    from . import native_turns
    return native_turns.build_loop()


def _word(x, held, places, here, patches):
    """A word of a turn's kernel. What is another one in each turn is `patches`': its place, what it is in the first turn, in odd ones and in even ones after that, what
    is added with every turn, and what it is in the last one. Turns are counted from 0."""
    if type(x) is not tuple or x[0].kind == "constant":
        return x
    buffer, offset = x
    if buffer.kind == "arena":
        return held, buffer.place + offset
    first, odd, even, step, last = places[buffer.kind][buffer.slot]
    first, odd, even, last = ((b, at + offset) for b, at in (first, odd, even, last))
    if not step and first == odd == even == last:
        return first
    patches += [here, first, odd, even, step, last]
    return 0


def _given(before, x, n, moves, reverse):
    """An operand as turns read it: rows, where they `move`, in C order each."""
    v = x if type(x) is View else before.constant(np.asarray(x, n.dtype))
    inner = v.shape[1:] if moves else v.shape
    strides = v.strides[1:] if moves else v.strides
    laid = all([m == 1 or s == t for m, s, t in zip(inner, strides, c_strides(inner, v.dtype.itemsize))])
    if not laid or v.dtype != n.dtype:
        v = copy(before.fuser, v, n.dtype)
    v.buffer.stored = True
    return backwards(v) if moves and reverse else v


def _kept(loop):
    """{the number of a result: the number of a carry}: results that are a carry as every turn begins with it, or as it leaves it. It lies in those rows then, and nobody
    copies it."""
    kept, carries = {}, [c for c, x in enumerate(loop.outputs[:loop.carried]) if type(x) is Node and 0 not in x.shape and x.dtype == loop.dtype]
    for k, x in enumerate(loop.outputs[loop.carried:], loop.carried):
        c = next((c for c in carries if (x is loop.inputs[c] or x is loop.outputs[c]) and c not in kept.values()), None)
        if c is not None:
            kept[k] = c
    return kept


def _results(loop):
    """Shape and dtype of each result, of the lengths that are planned."""
    _, outputs = turn_of(loop.inputs, loop.outputs)
    return [((*shape[:len(shape) - len(x.shape)], *x.shape) if type(x) is Node else shape, dtype) for (shape, dtype), x in zip(loop.results, outputs)]


def _pieces(loop, out, before, after):
    """A view of each result."""
    pieces, at = {}, 0
    results = _results(loop)
    for k in loop.packing:
        shape, _ = results[k]
        pieces[k] = View(out.buffer, out.offset + at * out.dtype.itemsize, shape, c_strides(shape, out.dtype.itemsize), out.dtype)
        at += int(math.prod(shape))
    made = []
    for k, ((shape, dtype), x) in enumerate(zip(results, loop.outputs)):
        made.append(pieces[k] if k in pieces and dtype == out.dtype else _stored(shape, dtype))
        if k in pieces and made[k] is not pieces[k] and 0 not in shape:
            after.append((made[k], pieces[k]))
        if type(x) is not Node and 0 not in shape:       # it is the same in every turn
            before.cast(before.view(x), made[k], shape)
    return made


def _carry(loop, c, stays, pieces, kept, begin, before, after):
    """(where turns read a carry, where they write it): what a turn has written the next one reads, and the last one writes it where it is to lie."""
    there, x = pieces[c], loop.outputs[c]
    shape, dtype = there.shape, there.dtype
    k = next((k for k, number in kept.items() if number == c), None)
    if k is not None:
        rows = backwards(pieces[k]) if loop.reverse else pieces[k]
        (buffer, at), *_, step, last = in_rows = _rows(rows, loop.length)

        def row(place):
            return View(*place, shape, c_strides(shape, dtype.itemsize), dtype)
        if loop.outputs[k] is x:
            after.append((row(last), there))
            return (_at(begin), (buffer, at - step), (buffer, at - step), step, (last[0], last[1] - step) if loop.length > 1 else _at(begin)), in_rows
        before.cast(begin, row((buffer, at)), shape)
        return in_rows, ((buffer, at + step),) * 3 + (step, _at(there))
    if stays:
        before.cast(begin, there, shape)
        return _same(there), _same(there)
    other = _stored(shape, dtype)
    if type(x) is not Node and 0 not in shape:
        before.cast(before.view(x), other, shape)
    return _alternating(loop.length, begin, there, other)


def _wide(loop, stays, there, shape, block, begin, before, after):
    """As _carry, of one that lies among zeros as long as it turns."""
    dtype = there.dtype
    last = _stored(shape, dtype)
    other = last if stays else _stored(shape, dtype)
    first = other if loop.length % 2 else last               # into the other one the first turn writes
    before.cast(before.view(np.zeros((), dtype)), first, shape)
    before.fuser.need(first)

    def inside(v):
        return View(v.buffer, v.offset + sum([lo * s for (lo, _), s in zip(block, v.strides)]), there.shape, v.strides, dtype)
    before.cast(begin, inside(first), there.shape)
    after.append((inside(last), there))
    return _alternating(loop.length, first, last, other)


def _alternating(length, begin, last, other):
    """(where turns read a carry, where they write it) that is written into two places by turns, at last into `last`."""
    odd, even = (other, last) if length % 2 else (last, other)
    return (_at(begin), _at(even), _at(odd), 0, _at(other if length > 1 else begin)), (_at(even), _at(odd), _at(even), 0, _at(last))


def _at(view):
    return view.buffer, view.offset


def _same(view):
    """The same place in every turn."""
    return (_at(view),) * 3 + (0, _at(view))


def _rows(view, length):
    """A row each turn."""
    return (_at(view),) * 3 + (view.strides[0], (view.buffer, view.offset + (length - 1) * view.strides[0]))


def _stored(shape, dtype):
    made = new("arena", shape, dtype)
    made.buffer.stored = True
    return made
