"""Plans: the waiting calls of a run as one compiled program.

What it is: entries of the tape carried out on nodes without values (their part of the graph stays with them, for they are the same calls each time), and a
Program from the arrays of outside tensors to the tensors that somebody holds. Where values are looked at in the middle of a run (print(loss.item())
before loss.backward()), the program up to there also returns what the calls that are expected later will need of it, so that nothing is computed twice.

What it is not: no decision when to compute (tape.py).
"""
import math
import sys

import numpy as np

from ..nodes import CONSTANT, INPUT, Node, Tracer, Tracing, reachable
from ..reverse_mode import gradient
from ..shifts import without_shifts
from ..vocabulary import elementwise
from .entries import BACKWARD, OUTSIDE, path
from .grad_mode import set_grad_enabled
from .resident import compiled
from .tape import MOST

SMALL, LITTLE = 4, 10_000              # results and numbers that are not worth a program
DEAD = [*map(sys.getrefcount, [object()])][0]              # references to what only a run's list holds
PLANS = 16                             # at one place: more is no repetition


class Plan:
    """program: None to carry the calls out one by one. call: gives its results, or None for arrays that must be converted first. alive: keys of the results
    among its outputs. known: the nodes that are computed then. kept: keys of results that may be asked for their history. given: does the program write over
    inputs? uses: how often it did without a program."""

    __slots__ = ("program", "call", "alive", "known", "kept", "given", "outputs", "uses")

    def __init__(self, program=None, alive=(), known=(), kept=(), given=False, uses=0):
        self.call = program and (program.returning(scalars=False) or program.exactly)
        self.program, self.alive, self.known, self.kept, self.given = program, alive, known, kept, given
        self.outputs, self.uses = len(known), uses


_TRACING = Tracing(values=False)


def plan(run, signature, seldom):
    """The plan for what waits in this run. seldom: is it the first time, so that a few small calls need no program yet?"""
    e = run.here
    if len(e.plans) >= PLANS:
        e.plans.clear()
    entries = path(e)
    alive = [k for k, t in enumerate(run.results) if t._array is None and t._key == run.base + k and signature[2 + k] > DEAD]
    kept = [k for k, t in enumerate(run.results) if t.requires and not t.leaf]
    if kept:
        freed = _freed(entries)
        kept = [k for k in kept if k not in freed]
    shapes = [s.shape for x in entries for s in x.specs]
    found = None
    if len(shapes) >= SMALL or sum(map(math.prod, shapes)) > LITTLE or not seldom:
        found = _compiled(run, e, entries, alive, kept, () if kept else signature[1])
    found = e.plans[signature] = found or Plan(uses=0 if seldom else sys.maxsize)
    return found


def _freed(entries):
    """Keys of results whose history a backward pass has let go."""
    parents = {}
    for e in entries:
        for k in range(len(e.specs)):
            parents[e.first + k] = e.refs if e.kind != BACKWARD else ()
    out = set()
    for e in entries:
        if e.kind == BACKWARD and not e.params["retain_graph"]:
            stack = [e.refs[0]]
            while stack:
                k = stack.pop()
                if k not in out and 0 <= k < OUTSIDE:
                    out.add(k)
                    stack.extend(parents[k])
    return out


def _compiled(run, e, entries, alive, kept, given):
    before = run.plan.known if run.plan is not None else ()
    try:
        _to_nodes(entries)
        later = _expected(e)
        _to_nodes(entries + later)
        nodes = {k: n for x in entries for k, n in x.nodes.items()}
        outputs = [nodes[k] for k in alive]
        known = {id(n) for n in (*before, *outputs)}
        outputs += [n for n in _needed(e, later) if id(n) not in known]
        inputs = [n for x in entries for n in x.inputs]
        stand_ins = [Node(INPUT, (), {"name": f"computed before {k}"}, None, n.shape, n.dtype, ()) for k, n in enumerate(before)]
        given = {alive.index(k): n for n in given if (k := run.tensors[n]._key - run.base) in alive and inputs[n].shape}
        program = compiled(inputs + stand_ins, _cut(outputs, dict(zip(map(id, before), stand_ins))), e.device, given)
    except (NotImplementedError, ValueError, TypeError, IndexError, KeyError):
        return None
    return Plan(program, alive, (*before, *outputs), kept, bool(given))


def _expected(e):
    """The entries that came after this one last time."""
    out = []
    while e.expected is not None and len(out) < MOST:
        e = e.expected
        out.append(e)
    return out


def _needed(e, later):
    """Nodes of the graph up to e that entries after it read, without those that are inputs or another view of the same memory."""
    found, seen = {}, set()
    stack = [n for x in later for n in x.nodes.values()]
    while stack:
        n = stack.pop()
        if id(n) in seen or n.primitive is INPUT:
            continue
        seen.add(id(n))
        if n.serial > e.serial or n.primitive.kind in ("view", "constant") or n.primitive is elementwise.stop_gradient:
            stack.extend([p for p in n.operands if type(p) is Node])
        else:
            found[id(n)] = n
    return sorted(found.values(), key=lambda n: n.serial)


def _cut(outputs, replaced):
    """The outputs with these nodes as inputs."""
    if not replaced:
        return outputs
    now = dict(replaced)
    order, stack, seen = [], list(outputs), set()
    while stack:
        n = stack.pop()
        if id(n) in seen or id(n) in now:
            continue
        seen.add(id(n))
        order.append(n)
        stack.extend([p for p in n.operands if type(p) is Node])
    for n in sorted(order, key=lambda n: n.serial):
        if n.primitive is INPUT:
            now[id(n)] = n
            continue
        now[id(n)] = n.on([now[id(p)] if type(p) is Node else p for p in n.operands])
    return [now[id(n)] for n in outputs]


# ---- entries as nodes ------------------------------------------------------------------------------------------------------------------------------

def _to_nodes(entries):
    """Give every entry its part of the graph."""
    known = {}                                   # key -> (Node, requires)
    outside = 0
    for e in entries:
        if e.nodes is None:
            e.inputs = [Node(INPUT, (), {"name": f"outside {outside + k}"}, None, shape, dtype, e.frames) for k, (shape, dtype, *_) in enumerate(e.news)]
        for k, n in enumerate(e.inputs):
            known[OUTSIDE + outside + k] = n
        outside += len(e.inputs)
        if e.nodes is None:
            _TRACING.frames = e.frames
            with np.errstate(all="ignore"):
                e.nodes = _gradients(e, known) if e.kind == BACKWARD else _results(e, known)
            e.serial = Node(INPUT, (), {}, None, (), np.dtype(float), ()).serial
        known.update(e.nodes)


def _results(e, known):
    with set_grad_enabled(e.enabled):
        found = e.op.function(*[Tracer(_TRACING, known[r]) if r >= 0 else e.consts[r] for r in e.refs], **e.params)
    return {e.first + k: _node(x, s) for k, (x, s) in enumerate(zip(found if type(found) is tuple else (found,), e.specs))}


def _node(x, spec):
    """The Node of a result, behind which nothing is derived unless it requires a gradient."""
    if type(x) is not Tracer:
        x = np.broadcast_to(np.asarray(x), spec.shape)
        return elementwise.stop_gradient(Tracer(_TRACING, Node(CONSTANT, (x,), {}, None, x.shape, x.dtype, ()))).node
    if x.dtype != spec.dtype:
        x = elementwise.astype(x, dtype=spec.dtype)
    if x.shape != spec.shape:
        raise ValueError("not the shape that was computed")
    return x.node if spec.requires else elementwise.stop_gradient(x).node


def _gradients(e, known):
    """What a backward pass gives the leaves."""
    loss = known[e.refs[0]]
    targets = [known[ref] for ref, _ in e.targets]
    given = e.refs[1:len(e.refs) - sum([had for _, had in e.targets])]
    seed = Tracer(_TRACING, known[given[0]]) if given else np.ones(loss.shape, loss.dtype)
    if given and seed.dtype != loss.dtype:
        seed = elementwise.astype(seed, dtype=loss.dtype)
    skip = without_shifts(reachable([loss]), [loss])
    found = gradient([loss], [seed], targets, lambda n: Tracer(_TRACING, n), skip=skip)
    old = iter(e.refs[len(e.refs) - sum([had for _, had in e.targets]):])
    out = {}
    for k, (g, n, (_, had)) in enumerate(zip(found, targets, e.targets)):
        g = np.zeros(n.shape, n.dtype) if g is None else g
        if had:
            g = Tracer(_TRACING, known[next(old)]) + g
        out[e.first + k] = _node(g, e.specs[k])
    return out
