"""Planning: from a graph to instructions in order, their buffers placed.

What it is: the graph is rewritten, its nodes are put in an order that fuses well and lowered to steps (lower.py), steps grouped (fuse.py), tiled (tiles.py)
and melted with the products that they add (accumulate.py), and parts of arrays join those (joining.py);
`placed` makes the instructions of groups (groups.py), products and chains, and places buffers (memory.py).

What it is not: no addresses, and no machine code (program.py).
"""
import heapq

import numpy as np

from ..nodes import Node, Outputs, reachable
from ..simplify import simplify
from . import contract, donation, groups, image, matrices, repeated, scans, sizes, tiles
from .accumulate import accumulated
from .adding import WRITERS, added, in_place
from .fuse import Call, Fuser, Group, Product, Sequential
from .joining import joined
from .layout import Columns, View, new
from .lower import Lowering
from .memory import plan
from .plans import Plans
from .recompute import recomputed
from .reduce import over_rows
from .scalar import type_name
from .shifted import among_zeros, shifted
from .slopes import by_slopes
from .stacking import stacked
from .tiles import Tiles, written
from .transforms import TRANSFORMS

STEPS = {Group: lambda step, plans: plans.instructions(step), Sequential: lambda step, plans: groups.Rows(step).instructions(),
         Product: lambda step, plans: contract.product(step), Tiles: lambda step, plans: tiles.instructions(step), Call: lambda step, plans: _call(step, plans)}


def steps_of(program, inputs, outputs, donated=(), as_recorded=False, codes=None):
    """(steps in order, {code: (primitive, frames)} of what is checked at run time, {number of an output: number of the input whose memory it takes}). codes: see
    Lowering; None: those of a program."""
    outputs = outputs if as_recorded else recomputed(by_slopes(shifted(added(stacked(simplify(outputs))))))
    fuser = Fuser(program.narrow, program.aligned_rows)
    places = {id(n): new("input", n.shape, np.dtype(n.dtype), k) for k, n in enumerate(inputs)}
    recorded = [n for n in reachable(outputs) if id(n) not in places]
    writing = in_place(recorded, outputs)
    nodes = _schedule(recorded, writing)
    factors = _factors(nodes) if program.narrow or program.aligned_rows else ()
    lowering = Lowering(fuser, recorded, program.contiguous_constants, () if program.narrow else factors, writing, program.scipys, program.in_order,
                        codes or (0, repeated.ROOM if program.in_order else 1))
    lowering.lower_all(nodes, places, factors if program.narrow else ())
    made = _finish(outputs, places, lowering)
    steps = tiles.tiled(fuser.finish())
    steps = joined(accumulated(steps) if program.accumulates else steps)
    candidates = donated if isinstance(donated, dict) else donation.pairs([tuple(spec) for _, *spec in program.inputs], program.outputs, donated)
    candidates = {k: (made[k], places[id(inputs[j])].buffer) for k, j in candidates.items() if k in made}
    taken = donation.settle(steps, candidates, program.in_order) if candidates else {}
    donation.overwrite(steps, program.in_order)
    return steps, {code: (n.primitive.name, n.frames) for code, n in lowering.origins.items()}, taken


def _finish(outputs, places, lowering):
    """Each output in a buffer of its own, {its number: the buffer}: the one it is computed in where that is possible, else a copy."""
    made = {}
    for k, output in enumerate(outputs):
        if not isinstance(output, Node):
            continue
        view = places[id(output)]
        apart = view if type(view) is Columns and view.held is None else None
        view = lowering.filled(view) if apart is None else new("arena", view.shape, view.dtype)
        if view.buffer.kind == "arena" and view.whole():
            view.buffer.kind, view.buffer.slot = "output", k
            view.buffer.stored = True
            made[k] = view.buffer
            if apart is not None:
                apart.held = view
                lowering.write(apart, view)
        elif 0 not in output.shape:
            out = new("output", output.shape, view.dtype, k)
            out.buffer.stored = True              # whoever writes it
            made[k] = out.buffer
            if type_name(view.dtype) is None:
                lowering.fuser.step(Call(None, [view], out), [view], out)
            else:
                lowering.cast(view, out, view.shape)
    return made


def placed(steps, meanwhile=None):
    """(instructions and calls in order, with their buffers placed; bytes of the arena). meanwhile: is told of each of them as soon as it is made."""
    plans, work = Plans(), []
    for step in steps:
        made = STEPS[type(step)](step, plans)
        work += made
        if meanwhile is not None:
            meanwhile(made)
    return work, plan([buffers(w) for w in work])


def _call(step, plans):
    """NumPy's work as kernels, where there are such."""
    scan = scans.instruction(step)
    if scan is not None:
        return [scan]
    loop = repeated.instructions(step, _turn)
    if loop is not None:
        before, work, after = loop
        before, after = ([i for s in steps for i in STEPS[type(s)](s, plans)] for steps in (before, after))
        return [*before, *work, *after]
    if step.node is not None and step.node.primitive.name in TRANSFORMS:
        from . import fourier                               # for who needs it
        return fourier.instructions(step) or [step]
    return matrices.instructions(step, plans.factors) or [step]


def _turn(loop, kept, codes):
    """See repeated.instructions."""
    from .program import Program
    inputs, outputs = sizes.turn_of(loop.inputs, loop.outputs)
    inputs, outputs, wider = among_zeros(inputs, simplify(Outputs([0.0 if k in kept else x for k, x in enumerate(outputs)])), loop.carried, kept.values())
    steps, reports, staying = steps_of(Program, inputs, outputs, {k: k for k in range(loop.carried) if k not in kept.values()}, codes=codes)
    plans = Plans()
    made, factors = [], set()
    for step in steps:
        work = STEPS[type(step)](step, plans)
        new = {held.view.buffer for _, held in plans.factors.values()} - factors
        if new:                                              # a factorisation, which may be the same in every turn, though what is solved with it is not
            made.append((new, work[:-1]))
            work, factors = work[-1:], factors | new
        made.append((written(step), work))
    return made, reports | reported(steps), has_products(steps), {k: (inputs[k].shape, block) for k, block in wider.items()}, staying


def reported(steps):
    """{code: (primitive, frames)} of what loops among steps check, once they are `placed`."""
    return {code: what for s in steps if type(s) is Call for code, what in s.reports.items()}


def called(work):
    """The names of the primitives that NumPy computes."""
    return [w.node.primitive.name for w in work if type(w) is Call and w.node is not None]


def has_products(steps):
    """Do kernels call BLAS?"""
    return any([type(s) in (Product, Tiles) or type(s) is Call and s.products for s in steps])


def buffers(w):
    """The arena buffers that a step reads or writes."""
    found = [x.buffer for x in (*w.operands, w.out) if type(x) is View] if type(w) is Call else image.buffers(w)
    return [b for b in found if b.kind == "arena"]


def _factors(nodes):
    """Nodes of float32, elementwise but for few entries, that enter products as they are: what bfloat16 there is made of them is made where they are, or their rows are aligned."""
    found, views = set(), []
    for n in nodes:
        if n.primitive.kind == "contract":
            views += n.operands
    while views:
        n = views.pop()
        if type(n) is Node and n not in found:
            if n.primitive.name in ("transpose", "reshape"):
                views += n.operands
            elif (n.primitive.kind == "map" or n.primitive.name == "add_at") and n.dtype == np.float32 and len(n.shape) > 1:
                found.add(n)
    return found


def _schedule(nodes, first):
    """Nodes in an order that keeps together what may share a loop: whatever is ready comes in the order of `_rank`. nodes: in topological order. first: {a node:
    others that come before it}."""
    over = {n for n in nodes if n.primitive.kind == "reduce" and over_rows(n)}
    ranks = [_rank(n, over) for n in nodes]
    if not first and not any(ranks):                                  # they are in order
        return nodes
    place, waits, readers, turns = {n: k for k, n in enumerate(nodes)}, [], [[] for _ in nodes], []          # turns: by rank, then by place, as one number
    for k, (n, rank) in enumerate(zip(nodes, ranks)):
        before = [place[p] for p in (*n.operands, *first.get(n, ())) if type(p) is Node and p in place]
        for p in before:
            readers[p].append(k)
        waits.append(len(before))
        turns.append(rank * len(nodes) + k)
    ready = [turns[k] for k in range(len(nodes)) if not waits[k]]
    heapq.heapify(ready)
    out = []
    while ready:
        k = heapq.heappop(ready) % len(nodes)
        out.append(nodes[k])
        for j in readers[k]:
            waits[j] -= 1
            if not waits[j]:
                heapq.heappush(ready, turns[j])
    return out


def _rank(n, over):
    """0: may join a loop that is open. 1: reads a sum over rows, which is known when a loop has ended. 2: needs its operands in memory, as products do, or is a
    loop of its own.
    over: the nodes that are reductions over rows."""
    kind = n.primitive.kind
    if kind == "contract":
        return 0 if any([len(x.shape) < 2 for x in n.operands]) else 2               # by a vector: lowered to terms and sums
    if kind in ("opaque", "linalg") or kind == "scatter" and len(n.operands) > 1 + (n.primitive.name in WRITERS):               # where integer arrays say
        return 2
    return int(bool(over) and (n in over and n.primitive.name in ("var", "logsumexp") or any([type(x) is Node and x in over for x in n.operands])))
