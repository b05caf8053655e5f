"""Calls that change tensors: writing in place, steps of optimisers, backward passes; each is one entry of the tape.

What it is not: how memory is shared is aliases.py's business, what a backward pass computes backward.py's.
"""
import sys

import numpy as np

from . import backward as backward_pass, core
from .aliases import Write, above, hand_over, note_replaced, write_into
from .core import Operation, TensorBase, constant, mode, own
from .grad_mode import no_grad
from .resident import at
from .entries import BACKWARD, OUTSIDE, SPAN, WRITE, is_exposed, local, matches
from .rules import torch_error
from .tape import continue_or_end, find, note, of_device, placed, stop_noting, stop_waiting

_new, _refs = object.__new__, sys.getrefcount
BACKWARD_PASS = Operation(lambda *_: None, "backward")
_KEEP = Operation(lambda t, new: new, "assign")


def _may_wait(run, t):
    """May a write into it wait? Not if its memory is shared, or if it has a history that goes on."""
    up = above(t)
    if t._views:
        for reference, _ in t._views:
            view = reference()
            if view is not None and not (run.waiting and view._key >= run.base and _refs(view) <= 3):
                return False
        t._views = ()
        t._linked = t._exposed or up is not None
    return up is None and not is_exposed(t) and (t.leaf or not t.requires)


def assign(t, new, name):
    """t takes the value of another tensor of its shape and dtype, and so does all that shares its memory."""
    run = local.run
    if new.device != t.device:
        new = constant(at(new.held(), t.device), ())
    if (t._linked or not t.leaf) and not _may_wait(run, t) or new.requires and mode.enabled:
        if run.waiting or not run.off:
            stop_waiting(run)
            stop_noting(run)
        write_into(t, new, name)
        _stepped(run, (t,))
    else:
        _write(run, _KEEP, (t,), (t, new), {}, name)


def rebind(t, new):
    """t takes other memory with the value of a tensor that is nobody else's. Who shared the old memory goes on to share it, NumPy code outside too."""
    if t._linked:
        old = constant(t.held(), t._frames)
        hand_over(t, old)
        old._exposed, old._linked = t._exposed, True
        up = above(t)
        if up is not None:
            up._views = [(r, again) for r, again in up._views if r() is not t]
        t._base, t._detached_from, t._views, t._exposed, t._linked = None, None, (), False, False
    assign(t, new, "data")


def update(function, targets, operands=(), **params):
    """function(*targets, *operands, **params) -> as many arrays as there are targets, which take their values; nothing of it enters the graph.

    One entry of the tape for a whole step of an optimiser: update(sgd, parameters, (*gradients, lr)). Numbers that change from step to step stand among the
    operands: they are values there, in the dtype of the first target; in params they would be another step. function: NumPy code, as for Operation; it must
    be the same object at every call.
    """
    updated(function, targets, [*targets, *as_tensors(operands, targets[0].dtype)], params)


def updated(function, targets, together, params):
    """update, of one list of targets and operands, none of them a number, and a dict, which is the step's from now on."""
    run = local.run
    op = _operations.get(function) or _operation_of(function)
    for t in targets:
        if (t._linked or not t.leaf) and not _may_wait(run, t):
            break
    else:
        e = run.expected
        if e is not None and e.op is op and e.kind == WRITE and (e.params is params or e.params == params) and len(e.specs) == len(targets) \
                and matches(run, e, together):
            return _written(run, e, targets)
        return _write(run, op, targets, together, params, op.name)
    stop_waiting(run)
    stop_noting(run)
    with no_grad():
        found = core.compute(op, together, params)
        for t, new in zip(targets, found if type(found) is tuple else (found,)):
            write_into(t, _kept(new, t, together), op.name)
    _stepped(run, targets)


_operations, _numbers, _NUMBERS = {}, {}, (float, int)


def _write(run, op, targets, operands, params, name):
    enabled, mode.enabled = mode.enabled, False
    try:
        if run.looked:
            run = continue_or_end(run, operands, False)
        run = of_device(run, targets[0].device)
        e = find(run, WRITE, op, operands, params)
        if e is not None and len(e.specs) == len(targets):
            return _written(run, e, targets)
        stop_waiting(run)
        found = core.compute(op, operands, params)
        found = found if type(found) is tuple else (found,)
        if len(found) != len(targets):
            raise torch_error(RuntimeError, f"update: {op.name} returned {len(found)} arrays for {len(targets)} tensors")
        new = [_kept(x, t, operands) for x, t in zip(found, targets)]
        note(run, WRITE, op, operands, params, new)
        for t, x in zip(targets, new):
            write_into(t, x, name)
            t._key = x._key
    finally:
        mode.enabled = enabled
    _stepped(run, targets)


def _kept(x, t, operands):
    """What t is to hold from now on. An operand that is the result (the first momentum is the gradient) may lie in memory that NumPy code outside has, too."""
    array = x._array.astype(t.dtype, copy=False)
    outside = [o._array for o in operands if isinstance(o, TensorBase) and o is not t and is_exposed(o)]
    return constant(own(array) if any([np.may_share_memory(array, a) for a in outside]) else array, ())


def _written(run, e, targets):
    """Tensors that take the results of an entry."""
    run.here, run.expected = e, e.expected
    key = run.base + e.first
    for t, spec in zip(targets, e.specs):
        if t._node is not None or not t.requires and t._array is not None and _refs(t._array) > 3:          # a graph may hold the old value
            note_replaced(t, Write(e.op.name, e.frames))
        t._key, t._array, t._node, t._spec = key, None, None, spec
        t._version += 1
        key += 1
    run.results += targets
    if not run.stepped:
        _stepped(run, targets)


def as_tensors(operands, dtype):
    """Python numbers among operands as outside tensors: for every operand of a run another one, as numbers that are equal in this step (a decay of 1 - 0 and a
    norm of at most 1) are not the same operand in the next."""
    out, base = [], local.run.base
    for x in operands:
        if type(x) in _NUMBERS:
            key = x, len(out), dtype
            t = _numbers.get(key)
            if t is None or t._key >= base:
                if len(_numbers) > 100:
                    _numbers.clear()
                t = _numbers[key] = constant(np.asarray(x, dtype), ())
            x = t
        out.append(x)
    return out


def _operation_of(function):
    if len(_operations) > 1000:
        _operations.clear()
    op = _operations[function] = function if isinstance(function, Operation) else Operation(function)
    return op


def _stepped(run, targets):
    for t in targets:
        if t.requires:
            run.stepped = True
            return


# ---- backward ---------------------------------------------------------------------------------------------------------------------------------------

def backward(t, gradient=None, retain_graph=None, create_graph=False, inputs=None):
    """See Tensor.backward."""
    run = local.run
    if t._last_key:                                     # what NumPy code may do to its value is no matter for a backward pass
        t._key, t._last_key = t._last_key, 0
    e = run.expected
    if e is not None and e.kind == BACKWARD and gradient is None and not create_graph and inputs is None and e.params["retain_graph"] is bool(retain_graph) \
            and t._key == run.base + e.refs[0] and _pulled(run, e, (t,)):
        return
    params = {"retain_graph": bool(retain_graph)}
    given = () if gradient is None else (gradient,)
    simple = not create_graph and inputs is None and not run.off and t.requires and not t.leaf and all([isinstance(g, TensorBase) and not g.requires for g in given])
    if simple:
        if run.expected is None and (run.looked or run.stepped):
            run = continue_or_end(run, (t,), mode.enabled)
        if run.waiting:
            for e in run.here.after:
                if e.kind == BACKWARD and e.params == params and e.refs[0] == t._key - run.base and _pulled(run, e, (t, *given)):
                    return
    stop_waiting(run)
    found = backward_pass.cotangents(t, gradient, retain_graph, create_graph, inputs)
    leaves = [x for x, _, _ in found]
    old = [x._grad for x in leaves]
    foreign = not simple or not all([current for _, _, current in found]) or any([not x.leaf or not run.base <= x._key < run.base + SPAN for x in leaves]) \
        or not run.base <= t._key < run.base + OUTSIDE or any([g is not None and not _may_wait(run, g) for g in old])
    sums = _put_in_place(found, create_graph)
    if foreign:
        stop_noting(run)
    else:
        _noted(run, (t, *given, *[g for g in old if g is not None]), params, leaves, old, sums)
    for before, new in sums:
        key = before._key
        with no_grad():
            write_into(before, new, "backward")
        before._key = key
    for x in leaves:
        for hook in [*(x._after or {}).values()]:
            hook(x)


def _put_in_place(found, create_graph):
    """Give the leaves their gradients. [(one that is there, its sum with the new one)]: what is still to be written into those that are there."""
    sums = []
    for x, g, _ in found:
        before, new = x._grad, core.result(g, x._frames or (), "backward")
        if before is None:
            x._grad = new
        elif create_graph:
            x._grad = before + new
        else:
            sums.append((before, constant(before.held() + new._array, ())))
    return sums


def _noted(run, operands, params, leaves, old, sums):
    """The entry of a backward pass that was carried out. old: the gradients that were there; in the place of one that is added to, its sum is noted."""
    results = [x._grad for x in leaves]
    stand = [next((new for before, new in sums if before is g), g) for g in results]
    targets = tuple([(x._key - run.base, g is not None) for x, g in zip(leaves, old)])
    with no_grad():
        note(run, BACKWARD, BACKWARD_PASS, operands, params, stand, targets)
    for g, n in zip(results, stand):
        g._key = n._key


def _pulled(run, e, operands):
    """The gradients of an expected backward pass, put in their places; False if they are not as they were."""
    base, tensors, results = run.base, run.tensors, run.results
    leaves, had_any = [], False
    for ref, had in e.targets:
        x = tensors[ref - OUTSIDE] if ref >= OUTSIDE else results[ref]
        g = x._grad
        if (g is not None) is not had or x._key != base + ref:
            return False
        if had:
            had_any = True
            if (g._linked or not g.leaf) and not _may_wait(run, g):
                return False
            operands = (*operands, g)
        leaves.append(x)
    if not matches(run, e, operands):
        return False
    run.here.expected = run.here = e
    run.expected = e.expected
    if not had_any:
        key = base + e.first
        for x, spec in zip(leaves, e.specs):
            g = x._grad = _new(core.made)
            g._key, g._spec = key, spec
            results.append(g)
            key += 1
    else:
        _accumulated(run, e, leaves)
    return True


def _accumulated(run, e, leaves):
    for k, (x, spec) in enumerate(zip(leaves, e.specs)):
        if x._grad is None:
            x._grad = placed(run, spec, e.first + k)
        else:
            g = x._grad
            g._key, g._array, g._node, g._spec = run.base + e.first + k, None, None, spec
            run.results.append(g)
