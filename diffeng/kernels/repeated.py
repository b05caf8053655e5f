"""A loop (de.scan) as one instruction of the program that it is in: its turn is a table of kernels, and one kernel more goes through that table as often as it turns.

What it is: `instructions(call)`. The turn is planned like any graph, into the same arena. Where a turn reads its row, and where the carry lies, is another place in every
turn: these words of its kernels are written by the loop before each (native_turns.py), as a call writes the addresses of its arguments.

What it is not: no loop whose turns call NumPy, or take so long together that a signal should be heard in between. Those are run by Python
(loops.py), turn by turn; the shortest turns are rows of one kernel (turns.py).
"""
import math

import numpy as np

from .contract import copy
from .fuse import Call, Fuser
from .groups import REGION, THREADS, Instruction
from .image import buffers, with_parts
from .layout import Buffer, View, backwards, c_strides, new
from .lower import Lowering
from .memory import plan
from .tiles import KernelOf, WordsOf, written

KEY = repr(("loop",))
ROOM, DEEPER = 1 << 40, 20                 # from one code to the next, where there may be a loop between; powers of 2 less in a turn
LONGEST = 1e8                              # nanoseconds, roughly, that Python is kept from hearing a signal


def instructions(call, planned):
    """(steps that come before, the instructions that do what a Call of a loop does, steps that come after them); None where Python does it. The call says then what
    the kernels report, and whether there are products. planned(inputs, outputs, codes): of a graph ((step, its instructions and calls) in order, reports, has it
    products?)."""
    loop = call.node.primitive.own if call.node is not None and call.node.primitive.name == "scan" else None
    between = next((step for step in (ROOM, ROOM >> DEEPER) if call.origin % step == 0), 0) >> DEEPER          # 0: of a loop in a loop in a loop
    if loop is None or not between:
        return None
    made, reports, products = planned(loop.inputs, loop.outputs, (call.origin, between))
    if any([type(w) is Call for _, work in made for w in work]):
        return None
    moving = loop.carried + loop.read
    once, turn, peak = _apart(made, moving)
    cost = loop.length * sum([w.rows * w.cost for w in turn])
    if cost > LONGEST:
        return None
    before, after = (Lowering(Fuser(), []) for _ in range(2))
    held, patches = Buffer("arena", np.dtype(np.uint8), peak), []
    given = [_given(before, x, n, loop.carried <= k < moving, loop.reverse) for k, (x, n) in enumerate(zip(call.operands, loop.inputs))]
    results = _results(loop, call.out, before, after)
    read = [(v, *results[k][1::-1], 0) if k < loop.carried else (v, v, v, v.strides[0] if k < moving else 0) for k, v in enumerate(given)]
    places = {"input": read, "output": [(even, odd, even, step) for odd, even, step in results]}
    for w in with_parts(once + turn):
        w.words = [_word(x, held, places, WordsOf(w, k), patches) for k, x in enumerate(w.words)]
    words = [REGION, THREADS, loop.length, len(turn), len(patches) // 5]
    for w in turn:
        words += [KernelOf(w), WordsOf(w), w.rows, w.chunk]
    call.products, call.reports = products, reports
    return before.fuser.finish(), [*once, Instruction(KEY, _build, words + patches, 1, 1, cost, tuple(turn))], after.fuser.finish()


def _apart(made, moving):
    """(the instructions of steps that compute the same in every turn, those of the others, bytes of an arena for both). made: (step, its instructions) in order.
    moving: how many of the turn's inputs are others in each turn."""
    results = [{id(b): b for b in map(_whole, written(step))} for step, _ in made]
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
    """A word of a turn's kernel. What is another one in each turn is `patches`': its place, what it is in the first turn, in odd ones and in even ones after that, and
    what is added with every turn."""
    if type(x) is not tuple or x[0].kind == "constant":
        return x
    buffer, offset = x
    if buffer.kind == "arena":
        return held, buffer.place + offset
    *views, step = places[buffer.kind][buffer.slot]
    words = [(v.buffer, v.offset + offset) for v in views]
    if not step and words[0] == words[1] == words[2]:
        return words[0]
    patches += [here, *words, step]
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


def _results(loop, out, before, after):
    """[(view in odd turns, in even ones, bytes from turn to turn)] of each result: a carry is written into one of two places, in the last turn into that where it is to
    lie. Turns are counted from 0."""
    pieces, at = {}, 0
    for k in loop.packing:
        shape, _ = loop.results[k]
        pieces[k] = View(out.buffer, out.offset + at * out.dtype.itemsize, shape, c_strides(shape, out.dtype.itemsize), out.dtype)
        at += math.prod(shape)
    made = []
    for k, ((shape, dtype), x) in enumerate(zip(loop.results, loop.outputs)):
        there = pieces[k] if k in pieces and dtype == out.dtype else _stored(shape, dtype)
        if k in pieces and there is not pieces[k] and 0 not in shape:
            after.cast(there, pieces[k], shape)
        other = _stored(shape, dtype) if k < loop.carried else None
        rows = backwards(there) if loop.reverse and other is None else there
        made.append((rows, rows, rows.strides[0]) if other is None else (other, there, 0) if loop.length % 2 else (there, other, 0))
        if not hasattr(x, "primitive") and 0 not in shape:       # it is the same in every turn
            for v in filter(None, (there, other)):
                before.cast(before.view(x), v, v.shape)
    return made


def _stored(shape, dtype):
    made = new("arena", shape, dtype)
    made.buffer.stored = True
    return made
