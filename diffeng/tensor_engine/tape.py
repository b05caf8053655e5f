"""The tape: what a program did last time, in the order in which it did it; when it does the same again, its steps are run by one compiled program.

A training step makes the same calls each time. The first time they are carried out one by one (core.compute), and each is noted as an `Entry`: the operation,
which earlier result or which outside tensor every operand is, its parameters. Entries form a tree: what has begun alike and went on differently
branches. The next time each call is only compared with the entry that is expected, and answered with a tensor that has a shape but no value yet. When
somebody looks at a value, or the step is over, all that is waiting is computed at once: by a compiled program (plans.py) whose inputs are the arrays of
outside tensors and whose outputs are the tensors that somebody still holds.

A call that was not expected ends the waiting: what was noted is carried out one by one after all (`replay`), which is also how the history of a
computed result is recorded again if a gradient is asked of it later. So the tape changes when things are computed, and never what.

A run of the tape ends, and the next begins at the root of the tree, with the first operation after a look, or after a parameter was updated, that does not go
on with what this run has recorded for a gradient.

What it is not: no meaning of any operation, no compiling. State is kept per thread.
"""
import contextlib
import sys
import weakref

import numpy as np

from . import core, rules
from .aliases import DETACH
from .core import TensorBase, mode
from .entries import OP, OUTSIDE, SNAPSHOT, SPAN, Entry, Run, is_exposed, likeness, local, matches, same_number, with_tensors
from .replaying import freed, let_go, replay

MOST, FEW, BRANCHES, ALL = 1000, 250, 32, 50_000          # entries of a run, of one without a graph, alternatives at one place, entries in the tree
OFTEN = 8                                      # times after which even a few small calls are worth a program
TURNS, PATIENCE = 16, 97                       # of a loop without looks, where a graph is recorded; calls after which noting is tried again
_new, _refs = object.__new__, sys.getrefcount


# ---- calls ---------------------------------------------------------------------------------------------------------------------------------

def call(op, *operands, **params):
    """An operation on tensors: the result, or a tensor that waits for its value."""
    run = local.run
    e = run.expected
    if e is not None and e.called is op and e.enabled is mode.enabled and e.params == params and matches(run, e, operands):
        run.here, run.expected = e, e.expected
        spec = e.single
        if spec is None:
            return tuple([placed(run, s, e.first + k) for k, s in enumerate(e.specs)])
        t = _new(core.made)                        # placed, written out
        t._key, t._spec = run.base + e.first, spec
        if spec.requires:
            t.requires, t.leaf = True, False
        run.results.append(t)
        return t
    return _unexpected(run, op, operands, params)


def _follow(run, e):
    run.here, run.expected = e, e.expected
    found = tuple([placed(run, s, e.first + k) for k, s in enumerate(e.specs)])
    return found[0] if e.single is not None else found


def placed(run, spec, key):
    t = _new(core.made)
    t._key, t._spec = run.base + key, spec
    if spec.requires:
        t.requires, t.leaf = True, False
    run.results.append(t)
    return t


def _unexpected(run, op, operands, params):
    if run.looked or run.stepped:
        run = continue_or_end(run, operands, mode.enabled, op is not DETACH)
        if not run.here.steps and not run.looked and not run.stepped and run.expected is not None and run.expected.called is op:
            return call(op, *operands, **params)
    elif _begins_again(run, op, operands, params) or run.here.steps >= FEW and not run.here.history and not run.off:
        run = end(run)
    run = of_device(run, next((x.device for x in operands if isinstance(x, TensorBase) and x.device != "cpu"), "cpu"))
    if _prepares(run, op, operands):
        return core.compute(op, operands, params)
    e = find(run, OP, op, operands, params)
    if e is not None:
        return _follow(run, e)
    stop_waiting(run)
    out = core.compute(op, operands, params)
    note(run, OP, op, operands, params, out if type(out) is tuple else (out,))
    return out


def _begins_again(run, op, operands, params):
    """Is this the first call of the run once more, in a loop that looks at nothing and derives nothing? Where a gradient might be asked for, it may be the
    first layer of a model applied to a second input: there a loop is only recognised after some turns."""
    first = run.first
    if run.off:
        run.turns += 1
        return run.turns > PATIENCE and all([not isinstance(x, TensorBase) or x.leaf for x in operands])
    if first is None or first.op is not op or run.here.steps < 2 or first.params != params or len(first.refs) != len(operands) \
            or not all([not isinstance(x, TensorBase) or not run.base <= x._key < run.base + OUTSIDE for x in operands]):
        return False
    return run.here.turns >= (TURNS if mode.enabled else 1)


def _prepares(run, op, operands):
    """Is it a view or a part of data that are there? That is taken at once and outside of the tape: minibatches at changing places are the same step."""
    if not op.views or op is DETACH:
        return False
    x, base = operands[0], run.base
    return x._array is not None and not (x.requires and mode.enabled) and (x._key < base or x._key >= base + OUTSIDE) \
        and all([type(y) is np.ndarray or isinstance(y, TensorBase) and y._array is not None for y in operands[1:]])


def continue_or_end(run, operands, enabled, records=True):
    """After a look or an update of parameters: does this call go on with what the run recorded, or does a new run begin? Returns the run. records: is there
    more for a gradient now? A loss that is detached to be looked at later is part of its run, and the next call may be the first of another."""
    for x in operands:
        if isinstance(x, TensorBase) and x.requires and not x.leaf and (run.base <= (x._key or x._last_key) < run.base + SPAN or run.off):
            if records:
                run.looked = run.stepped = False
            return run
    return end(run) if run.looked or enabled else run


def of_device(run, device):
    """A run is of one device, because a program is: one for this device."""
    return run if run.here.device in (None, device) else end(run)


def find(run, kind, op, operands, params, targets=()):
    """The entry among those that followed here before."""
    here = run.here
    if run.off or not run.waiting and here.steps:
        return None
    enabled = mode.enabled
    for k, e in enumerate(here.after):
        if e.op is op and e.kind == kind and e.enabled is enabled and e.params == params and e.targets == targets and matches(run, e, operands):
            if k:
                del here.after[k]
                here.after.insert(0, e)
            run.waiting, here.expected = True, e
            if not here.steps:
                run.first = e
            return e
    return None


# ---- notes ---------------------------------------------------------------------------------------------------------------------------------

def note(run, kind, op, operands, params, results, targets=(), varying=()):
    """An entry for a call that was carried out: a new one, unless there is one like it. varying: see Entry."""
    if run.off:
        return
    here, base = run.here, run.base
    if here.steps >= MOST:
        return stop_noting(run)
    if not varying:
        for known in here.after:
            if known.varying and known.op is op and (found := with_tensors(known.varying, operands)) is not None:
                operands, varying = found, known.varying
                break
    read = _references(run, operands)
    if read is None:
        return stop_noting(run)
    refs, consts, news, met = read
    e = Entry(kind, op, tuple(refs), tuple(consts), params, here, here.first + len(here.specs), results, news, targets)
    e.varying = varying
    first = run.first if here.steps else e
    e.turns = here.turns + (first.op is op and first.params == params and all([r < 0 or r >= OUTSIDE for r in refs]))
    for known in here.after:
        if known.like(e):
            if not all(map(same_number, known.consts, e.consts)):
                if kind != OP or op.name == "pow":                   # x**2 and x**3 are different things
                    continue
                for x in met:
                    x._key = 0
                here.after.remove(known)
                varying = tuple(sorted([*varying, *_differing(known, e, operands)]))
                return note(run, kind, op, with_tensors(varying, operands), params, results, targets, varying)
            e = known
            break
    else:
        if len(here.after) >= BRANCHES * (1 if here.steps else 2):
            del here.after[-1]
        here.after.insert(0, e)
        local.size += 1
    run.outside += len(met)
    for k, x in enumerate(results):
        x._key = base + e.first + k
    here.expected = run.here = e
    if not here.steps:
        run.first = e


def _references(run, operands):
    """(what an entry calls its operands, its numbers, the likenesses of tensors that the run has not met, these tensors); None where an operand cannot be on the
    tape."""
    refs, consts, news, met, base = [], [], [], [], run.base
    for x in operands:
        if isinstance(x, (bool, int, float)):
            consts.insert(0, x)
            refs.append(-len(consts))
        elif not isinstance(x, TensorBase):
            return None
        elif base <= x._key < base + SPAN:
            refs.append(x._key - base)
        elif x.requires and not x.leaf or x._hooks or is_exposed(x) and x._array.nbytes > SNAPSHOT:
            return None
        else:
            news.append(likeness(x))
            refs.append(OUTSIDE + run.outside + len(met))
            met.append(x)
            if not is_exposed(x):
                x._key = base + refs[-1]
    return refs, consts, news, met


def _differing(known, e, operands):
    """Where the numbers of two calls differ, and the dtype they are to have as values: that of the tensors they meet."""
    floats = [x.dtype for x in operands if isinstance(x, TensorBase) and x.dtype.kind == "f"]
    dtype = max(floats, key=lambda d: d.itemsize, default=rules.default)
    return [(k, type(x), dtype if type(x) is float else rules.INT64) for k, (x, ref) in enumerate(zip(operands, e.refs))
            if ref < 0 and not same_number(x, known.consts[ref])]


def stop_noting(run):
    """The rest of this run is not noted."""
    run.off, run.expected, run.turns = True, None, 0


# ---- computing what waits ----------------------------------------------------------------------------------------------------------------------

def look(t):
    """Somebody wants to see the value of t."""
    run = local.run
    if t._array is None:
        if not run.base <= t._key < run.base + SPAN:
            raise RuntimeError("a tensor was read whose value was not computed: an operation before it raised an error, or another thread is to compute it: "
                               "look at it there first")
        flush(run)
    if run.base <= t._key < run.base + OUTSIDE:
        run.looked = True


def flush(run):
    """Compute all that somebody still holds."""
    results = run.results
    if len(results) == run.computed:                # since the last look nothing was called
        return
    given = _given(run) if run.stepped and run.here.overwritten else ()
    signature = (run.plan, given, *map(_refs, results))
    plan = run.here.plans.get(signature)
    if plan is None:
        from . import plans
        plan = plans.plan(run, signature, seldom=run.here.seldom)
        run.here.seldom = False
    program = plan.program
    if program is None:
        plan.uses += 1
        if plan.uses == OFTEN:                      # a few small calls, but again and again
            del run.here.plans[signature]
        return stop_waiting(run)
    if plan.outputs:
        arrays = run.arrays if not run.known else run.arrays + run.known
        try:
            found = plan.call(*arrays)
            if found is None:
                found = program(*arrays)
        except Exception:
            _drop(run)
            raise
        for k, array in zip(plan.alive, found):
            results[k]._array = array
        run.known += found
        run.given = run.given or plan.given
    run.plan, run.computed = plan, len(results)


def _given(run):
    """Numbers of outside tensors whose old arrays a program may write the new ones over, so that a step needs memory for one set of parameters: nobody else
    holds them, and nothing followed here last time that might have to be carried out again."""
    arrays, e = run.arrays, run.here
    if e.expected is not None:
        return ()
    return tuple([n for n in e.overwritten if _refs(arrays[n]) == 2 and (arrays[n].base is None if e.device == "cpu" else _refs(arrays[n].data) == 2)])


def stop_waiting(run):
    """Carry out what waits; from here on calls are carried out at once."""
    if run.waiting:
        run.waiting, run.expected = False, None
        try:
            if run.given:
                let_go(run)
            else:
                replay(run)
        except Exception:
            _drop(run)
            raise
        run.outside = len(run.tensors)
        run.tensors, run.arrays, run.results, run.known, run.plan = [], [], [], [], None


def _drop(run):
    """What waits cannot be computed (an index out of bounds), and is said once: parameters are as they were, and a new run begins."""
    for t, array in zip(run.tensors, run.arrays):
        if t._array is None:
            t._array, t._node, t._spec, t._like, t._key = array, None, None, None, 0
    run.begin()


def end(run):
    """Compute what is waiting, and begin again at the root of the tree. Returns the run that begins."""
    if run.waiting:
        flush(run)
    kept = run.plan.kept if run.plan is not None else None
    if kept:
        alive = [(k, run.results[k]) for k in kept]
        alive = [(k, t) for k, t in alive if _refs(t) > 4 and (t._key or t._last_key) == run.base + k]
        if alive:
            _remember(run, alive)
            run = local.run = Run(run.tree)
    run.begin()
    if local.size > ALL:
        local.size, run.tree = 0, local.root()
        run.begin()
    run.first = run.expected = run.tree.expected
    run.waiting = run.first is not None
    return run


def _remember(run, alive):
    """Results whose history may be asked for later keep the run that has it; it does not keep them."""
    run.alive = [(k, weakref.ref(t)) for k, t in alive]
    run.versions = [t._version for t in run.tensors]
    run.results, run.known = {k: t for k, t in enumerate(run.results) if t.leaf and t.requires}, ()
    for _, t in alive:
        t._run = run


def history(t):
    """The Node of a result that a program computed: its history is recorded again."""
    run = local.run
    if run.base <= (t._key or t._last_key) < run.base + SPAN:
        off_the_tape()
    elif t._run is not None:
        replay(t._run)
        t._run = None
    if t._node is None:                            # a backward pass has let it go: it may be computed with, and another pass says so
        t._node = freed(t)
    return t._node


def off_the_tape():
    """See core.off_the_tape."""
    stop_waiting(local.run)
    stop_noting(local.run)


def settled(t):
    """See core.settled."""
    run = local.run
    run.looked = True
    if not run.waiting:
        return False
    flush(run)
    return run.base <= t._key < run.base + SPAN


@contextlib.contextmanager
def aside():
    """See core.aside."""
    run = local.run
    local.run = Run(run.tree)
    stop_noting(local.run)
    try:
        yield
    finally:
        local.run = run


core.Operation.__call__, core.look, core.history, core.settled, core.aside, core.off_the_tape = call, look, history, settled, aside, off_the_tape
