"""The tape: what a program did last time, in the order in which it did it; when it does the same again, its steps are run by one compiled program.

A training step makes the same calls each time. The first time they are carried out one by one (core.compute), and each is noted as an `Entry`: the operation,
which earlier result or which outside tensor every operand is, its parameters. Entries form a tree: what has begun alike and went on differently
branches. The next time each call is only compared with the entry that is expected, and answered with a tensor that has a shape but no value yet. When
somebody looks at a value, or the step is over, all that is waiting is computed at once: by a compiled program (plans.py) whose inputs are the arrays of
outside tensors and whose outputs are the tensors that somebody still holds.

A call that was not expected ends the waiting: what was noted is carried out one by one after all (`replay`), which is also how the history of a
computed result is recorded again if a gradient is asked of it later. So the tape changes when things are computed, and never what.

A run of the tape ends, and the next begins at the root of the tree, with the first operation after a look, or after a parameter was updated, that does not go on
with what this run has recorded for a gradient.

What it is not: no meaning of any operation, no compiling. State is kept per thread.
"""
import contextlib
import itertools
import sys
import threading
import weakref

import numpy as np

from . import backward as backward_pass, core, rules
from ..errors import refuse
from .core import Operation, Plain, constant, leaf_node, mode, root, user_line
from .rules import torch_error

SPAN, OUTSIDE = 1 << 20, 1 << 19               # keys of one run; from where on they are outside tensors
MOST, FEW, BRANCHES, ALL = 1000, 250, 32, 50_000          # entries of a run, of one without a graph, alternatives at one place, entries in the tree
OFTEN = 8                                      # times after which even a few small calls are worth a program
TURNS, PATIENCE = 16, 97                       # of a loop without looks, where a graph is recorded; calls after which noting is tried again
SNAPSHOT = 1 << 20                             # bytes of shared memory that are copied for a later computation; what is larger is computed at once
_bases = itertools.count(1)
_new, _refs = object.__new__, sys.getrefcount

OP, WRITE, BACKWARD = range(3)


class Entry:
    """One call, at its place in the tree.

    refs: a key (relative to the run's) for every tensor among the operands, a negative number for one that stands in consts. first: the key of the first result.
    specs: of the results. news: (shape, dtype, requires, leaf) of outside tensors met here first. outside: how many were met before. called: op, of an ordinary call.
    varying: (operand, type, dtype) of numbers that were not the same each time, and are values therefore. targets: of a backward pass, (ref of the leaf, had it a gradient?). after: the calls that followed; expected: the last of them.
    turns: how often the run's first call has come. history: does one of the results up to here require a gradient? plans: compiled programs that end here. nodes, inputs, serial: its part of the graph, once a plan needed it.
    """

    __slots__ = ("kind", "op", "refs", "consts", "params", "enabled", "parent", "first", "specs", "news", "outside", "targets", "frames", "after", "expected", "plans",
                 "nodes", "inputs", "serial", "steps", "single", "called", "varying", "turns", "history", "seldom")

    def __init__(self, kind, op, refs, consts, params, parent, first, specs, news, targets=()):
        self.kind, self.op, self.refs, self.consts, self.params, self.parent = kind, op, refs, consts, params, parent
        self.first, self.news, self.targets, self.enabled = first, news, targets, mode.enabled
        self.outside = parent.outside + len(parent.news) if parent is not None else 0
        self.called = op if kind == OP else None
        self.steps = parent.steps + 1 if parent is not None else 0
        self.turns, self.seldom = 0, True
        self.frames = user_line()
        self.specs = tuple([Spec(x, op.name, self.frames) for x in specs])
        self.single = self.specs[0] if len(specs) == 1 else None
        self.history = parent is not None and parent.history or any([s.requires for s in self.specs])
        self.after, self.expected, self.plans, self.nodes, self.varying = [], None, {}, None, ()

    def like(self, e):
        """The same call in the same place, up to the values of numbers?"""
        return self.op is e.op and self.kind == e.kind and self.enabled is e.enabled and self.refs == e.refs and self.params == e.params and len(self.specs) == len(e.specs) \
            and all([a.like(b) for a, b in zip(self.specs, e.specs)]) and self.news == e.news and self.targets == e.targets and [*map(type, self.consts)] == [*map(type, e.consts)]


class Run:
    """Where one thread stands. waiting: are calls noted only? expected: the entry that a call is compared with first. While calls wait: tensors, arrays: outside
    tensors and what they held; results: tensors by key; known: arrays that programs of this run have computed for later ones. Else outside: how many outside tensors
    were met. off: the rest of the run is not noted. looked, stepped: was a value looked at, a parameter updated? alive: results that may ask for their history."""

    def __init__(self, tree):
        self.tree = tree
        self.begin()

    def begin(self):
        self.base = next(_bases) * SPAN
        self.here = self.tree
        self.waiting = self.off = self.looked = self.stepped = False
        self.expected = self.plan = self.first = None
        self.tensors, self.arrays, self.results, self.known = [], [], [], []
        self.outside, self.turns, self.alive = 0, 0, ()


class _PerThread(threading.local):
    def __init__(self):
        self.size = 0
        self.run = Run(self._root())

    def _root(self):
        return Entry(OP, None, (), (), None, None, 0, (), ())


_local = _PerThread()
BACKWARD_PASS = Operation(lambda *_: None, "backward")
_KEEP = Operation(lambda t, new: new, "assign")


# ---- calls ---------------------------------------------------------------------------------------------------------------------------------

def call(op, operands, params):
    """An operation on tensors: the result, or a tensor that waits for its value."""
    run = _local.run
    e = run.expected
    if e is not None and e.called is op and e.enabled is mode.enabled and e.params == params and _matches(run, e, operands):
        run.here, run.expected = e, e.expected
        spec = e.single
        if spec is None:
            return tuple([_placed(run, s, e.first + k) for k, s in enumerate(e.specs)])
        t = _new(core.made)                        # _placed, written out
        t._key, t._spec = run.base + e.first, spec
        if spec.requires:
            t.requires, t.leaf = True, False
        run.results.append(t)
        return t
    return _unexpected(run, op, operands, params)


def _matches(run, e, operands):
    """Are these the operands of the entry? Outside tensors that are met first are noted."""
    base, refs = run.base, e.refs
    if len(operands) != len(refs):
        return False
    try:
        for x, ref in zip(operands, refs):
            if ref >= 0:
                key = x._key
                if key == base + ref:
                    continue
                if ref < OUTSIDE or base <= key < base + SPAN:
                    break
                arrays = run.arrays
                n = len(arrays)
                if ref - OUTSIDE == n:
                    array, like = x._array, e.news[n - e.outside]
                    if x._like is like and array is not None:
                        x._key = base + ref
                        arrays.append(array)
                        run.tensors.append(x)
                        continue
                    if _enters(run, x, like):
                        continue
                break
            c = e.consts[ref]
            if type(x) is not type(c) or x != c or x == 0 and str(x) != str(c):
                break
        else:
            return True
    except AttributeError:                         # a number where a tensor stood
        if e.varying:
            _forget(run, e.outside)
            operands = _with_tensors(e.varying, operands)
            return operands is not None and _matches(run, e, operands)
    _forget(run, e.outside)
    return False


def _with_tensors(varying, operands):
    """The operands with tensors for the numbers at these places; None if others stand there."""
    operands = list(operands)
    for k, kind, dtype in varying:
        if type(operands[k]) is not kind:
            return None
        operands[k] = constant(np.asarray(operands[k], dtype), ())
    return operands


def _likeness(x):
    """(shape, dtype, requires, leaf) of an outside tensor: one object for all that are alike."""
    like = (x.shape, x.dtype, x.requires, x.leaf)
    like = _likenesses.setdefault(like, like)
    if x._base is None and not x._exposed:
        x._like = like                             # whoever changes one of them takes it away
    return like


_likenesses = {}


def _enters(run, x, like):
    """Is this outside tensor like the one that stood here? Then it becomes an input."""
    array = x._array
    if array is None or _likeness(x) is not like or x.requires and not x.leaf:
        return False
    if x._exposed or x._base is not None and root(x)._exposed:
        if array.nbytes > SNAPSHOT:
            return False
        array = array.copy()                       # as it is now: NumPy code may write into it before it is read
    x._key = run.base + OUTSIDE + len(run.arrays)
    run.arrays.append(array)
    run.tensors.append(x)
    return True


def _forget(run, count):
    for x in run.tensors[count:]:
        x._key = 0
    del run.tensors[count:], run.arrays[count:]


def _same_number(x, c):
    return type(x) is type(c) and x == c and (x != 0 or str(x) == str(c))


def _follow(run, e):
    run.here, run.expected = e, e.expected
    found = tuple([_placed(run, s, e.first + k) for k, s in enumerate(e.specs)])
    return found[0] if e.single is not None else found


def _placed(run, spec, key):
    t = _new(core.made)
    t._key, t._spec = run.base + key, spec
    if spec.requires:
        t.requires, t.leaf = True, False
    run.results.append(t)
    return t


def _unexpected(run, op, operands, params):
    if run.looked or run.stepped:
        run = _continue_or_end(run, operands, mode.enabled)
        if not run.here.steps and run.expected is not None and run.expected.called is op:
            return call(op, operands, params)
    elif _begins_again(run, op, operands, params) or run.here.steps >= FEW and not run.here.history and not run.off:
        run = end(run)
    if _prepares(run, op, operands):
        return core.compute(op, operands, params)
    e = _find(run, OP, op, operands, params)
    if e is not None:
        return _follow(run, e)
    _stop_waiting(run)
    out = core.compute(op, operands, params)
    _note(run, OP, op, operands, params, out if type(out) is tuple else (out,))
    return out


def _begins_again(run, op, operands, params):
    """Is this the first call of the run once more, in a loop that looks at nothing and derives nothing? Where a gradient might be asked for, it may be the
    first layer of a model applied to a second input: there a loop is only recognised after some turns."""
    first = run.first
    if run.off:
        run.turns += 1
        return run.turns > PATIENCE and all([not isinstance(x, Plain) or x.leaf for x in operands])
    if first is None or first.op is not op or run.here.steps < 2 or first.params != params or len(first.refs) != len(operands) \
            or not all([not isinstance(x, Plain) or not run.base <= x._key < run.base + OUTSIDE for x in operands]):
        return False
    return run.here.turns >= (TURNS if mode.enabled else 1)


def _prepares(run, op, operands):
    """Is it a view or a part of data that are there? That is taken at once and outside of the tape: minibatches at changing places are the same step."""
    if op.name not in ("getitem", "view", "permute", "expand"):
        return False
    x, base = operands[0], run.base
    return x._array is not None and not (x.requires and mode.enabled) and (x._key < base or x._key >= base + OUTSIDE) \
        and all([type(y) is np.ndarray or isinstance(y, Plain) and y._array is not None for y in operands[1:]])


def _continue_or_end(run, operands, enabled):
    """After a look or an update of parameters: does this call go on with what the run recorded, or does a new run begin? Returns the run."""
    for x in operands:
        if isinstance(x, Plain) and x.requires and not x.leaf and (run.base <= x._key < run.base + SPAN or run.off):
            run.looked = run.stepped = False
            return run
    return end(run) if run.looked or enabled else run


def _find(run, kind, op, operands, params, targets=()):
    """The entry among those that followed here before."""
    here = run.here
    if run.off or not run.waiting and here.steps:
        return None
    enabled = mode.enabled
    for k, e in enumerate(here.after):
        if e.op is op and e.kind == kind and e.enabled is enabled and e.params == params and e.targets == targets and _matches(run, e, operands):
            if k:
                del here.after[k]
                here.after.insert(0, e)
            run.waiting, here.expected = True, e
            if not here.steps:
                run.first = e
            return e
    return None


def _note(run, kind, op, operands, params, results, targets=(), varying=()):
    """An entry for a call that was carried out: a new one, unless there is one like it. varying: see Entry."""
    if run.off:
        return
    here, base = run.here, run.base
    if here.steps >= MOST:
        return _off(run)
    if not varying:
        for known in here.after:
            if known.varying and known.op is op and (found := _with_tensors(known.varying, operands)) is not None:
                operands, varying = found, known.varying
                break
    refs, consts, news, met = [], [], [], []
    for x in operands:
        ref = None
        if isinstance(x, Plain):
            if not base <= x._key < base + SPAN:
                if x.requires and not x.leaf or x._exposed and x._array.nbytes > SNAPSHOT:
                    return _off(run)
                news.append(_likeness(x))
                x._key = base + OUTSIDE + run.outside + len(met)
                met.append(x)
            ref = x._key - base
        elif isinstance(x, (bool, int, float)):
            consts.insert(0, x)
            ref = -len(consts)
        else:
            return _off(run)
        refs.append(ref)
    e = Entry(kind, op, tuple(refs), tuple(consts), params, here, here.first + len(here.specs), results, news, targets)
    e.varying = varying
    first = run.first if here.steps else e
    e.turns = here.turns + (first.op is op and first.params == params and all([r < 0 or r >= OUTSIDE for r in refs]))
    for known in here.after:
        if known.like(e):
            if not all(map(_same_number, known.consts, e.consts)):
                if kind != OP or op.name == "pow":                   # x**2 and x**3 are different things
                    continue
                for x in met:
                    x._key = 0
                here.after.remove(known)
                varying = tuple(sorted([*varying, *_differing(known, e, operands)]))
                return _note(run, kind, op, _with_tensors(varying, operands), params, results, targets, varying)
            e = known
            break
    else:
        if len(here.after) >= BRANCHES * (1 if here.steps else 2):
            del here.after[-1]
        here.after.insert(0, e)
        _local.size += 1
    run.outside += len(met)
    for k, x in enumerate(results):
        x._key = base + e.first + k
    here.expected = run.here = e
    if not here.steps:
        run.first = e


def _differing(known, e, operands):
    """Where the numbers of two calls differ, and the dtype they are to have as values: that of the tensors they meet."""
    floats = [x.dtype for x in operands if isinstance(x, Plain) and x.dtype.kind == "f"]
    dtype = max(floats, key=lambda d: d.itemsize, default=rules.default)
    return [(k, type(x), dtype if type(x) is float else rules.INT64) for k, (x, ref) in enumerate(zip(operands, e.refs))
            if ref < 0 and not _same_number(x, known.consts[ref])]


class Spec:
    """What is known of a result before it is computed. by: the operation; frames: where it was called."""

    __slots__ = ("shape", "dtype", "strides", "requires", "by", "frames")

    def __init__(self, t, by, frames):
        self.shape, self.dtype, self.strides, self.requires, self.by, self.frames = t.shape, t.dtype, t.strides(), t.requires and not t.leaf, by, frames

    def like(self, other):
        return self.shape == other.shape and self.dtype == other.dtype and self.strides == other.strides and self.requires is other.requires


def _off(run):
    """The rest of this run is not noted."""
    run.off, run.expected, run.turns = True, None, 0


def _stop_waiting(run):
    """Carry out what waits; from here on calls are carried out at once."""
    if run.waiting:
        run.waiting, run.expected = False, None
        replay(run)
        run.outside = len(run.tensors)
        run.tensors, run.arrays, run.results, run.known, run.plan = [], [], [], [], None


def end(run):
    """Compute what is waiting, and begin again at the root of the tree. Returns the run that begins."""
    if run.waiting:
        flush(run)
    kept = run.plan.kept if run.plan is not None else None
    if kept:
        alive = [(k, run.results[k]) for k in kept]
        alive = [(k, t) for k, t in alive if _refs(t) > 4 and t._key == run.base + k]
        if alive:
            _remember(run, alive)
            run = _local.run = Run(run.tree)
    run.begin()
    if _local.size > ALL:
        _local.size, run.tree = 0, _local._root()
        run.begin()
    run.first = run.expected = run.tree.expected
    run.waiting = run.first is not None
    return run


def _remember(run, alive):
    """Results whose history may be asked for later keep the run that has it; it does not keep them."""
    run.alive = [(k, weakref.ref(t)) for k, t in alive]
    run.results, run.known = {k: t for k, t in enumerate(run.results) if t.leaf and t.requires}, ()
    for _, t in alive:
        t._run = run


# ---- looks -----------------------------------------------------------------------------------------------------------------------------------

def look(t):
    """Somebody wants to see the value of t."""
    run = _local.run
    if t._array is None:
        if not run.base <= t._key < run.base + SPAN:
            raise RuntimeError("a tensor that waits for its value was read in another thread than the one that computes it: look at it there first")
        flush(run)
    if run.base <= t._key < run.base + OUTSIDE:
        run.looked = True


def flush(run):
    """Compute all that somebody still holds."""
    results = run.results
    if not results:
        return
    signature = (run.plan, *map(_refs, results))
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
        return _stop_waiting(run)
    if plan.outputs:
        arrays = run.arrays if not run.known else run.arrays + run.known
        found = program.exactly(*arrays)
        if found is None:
            found = program(*arrays)
        for k, array in zip(plan.alive, found):
            results[k]._array = array
        run.known += found
    run.plan = plan


# ---- writing in place ---------------------------------------------------------------------------------------------------------------------------

def _plain(run, t):
    """May it be written into later? Not if its memory is shared, or if it has a history that goes on."""
    if t._of is not None:
        core.relinked(t)
    if t._views:
        for reference, _ in t._views:
            view = reference()
            if view is not None and not (run.waiting and view._key >= run.base and _refs(view) <= 3):
                return False
        t._views = ()
        t._odd = t._exposed or t._base is not None
    if t._exposed and t._base is None and _refs(t._array) <= 2 + (t._node is not None and t._node.value is t._array):
        t._exposed = t._odd = False                 # the array that numpy() gave away is gone
    return not t._exposed and t._base is None and (t.leaf or not t.requires)


def assign(t, new, name):
    """t takes the value of another tensor of its shape and dtype, and so does all that shares its memory."""
    run = _local.run
    if (t._odd or not t.leaf) and not _plain(run, t) or new.requires and mode.enabled:
        if run.waiting or not run.off:
            _stop_waiting(run)
            _off(run)
        core.write_into(t, new, name)
        _stepped(run, (t,))
    else:
        _write(run, _KEEP, (t,), (t, new), {}, name)


def update(function, targets, operands=(), **params):
    """function(*targets, *operands, **params) -> as many arrays as there are targets, which take their values; nothing of it enters the graph.

    One entry of the tape for a whole step of an optimiser: update(sgd, parameters, (*gradients, lr)). Numbers that change from step to step stand among the
    operands: they are values there, in the dtype of the first target; in params they would be another step. function: NumPy code, as for Operation; it must be the
    same object at every call.
    """
    run = _local.run
    op = _operations.get(function) or _operation_of(function)
    together = [*targets, *operands]
    for k in range(len(targets), len(together)):
        if type(together[k]) in _NUMBERS:
            together[k] = _number(together[k], targets[0].dtype)
    for t in targets:
        if (t._odd or not t.leaf) and not _plain(run, t):
            break
    else:
        e = run.expected
        if e is not None and e.op is op and e.kind == WRITE and e.params == params and len(e.specs) == len(targets) and _matches(run, e, together):
            return _written(run, e, targets)
        return _write(run, op, targets, together, params, op.name)
    _stop_waiting(run)
    _off(run)
    with _without_grad():
        found = core.compute(op, together, params)
        for t, new in zip(targets, found if type(found) is tuple else (found,)):
            core.write_into(t, constant(new._array.astype(t.dtype, copy=False), ()), op.name)
    _stepped(run, targets)


_operations, _numbers, _NUMBERS = {}, {}, (float, int)


def _written(run, e, targets):
    """Tensors that take the results of an entry."""
    run.here, run.expected = e, e.expected
    key = run.base + e.first
    for t, spec in zip(targets, e.specs):
        t._key, t._array, t._node, t._spec = key, None, None, spec
        key += 1
    run.results += targets
    if not run.stepped:
        _stepped(run, targets)


def _number(x, dtype):
    """A Python number as an outside tensor."""
    t = _numbers.get((x, dtype))
    if t is None:
        if len(_numbers) > 100:
            _numbers.clear()
        t = _numbers[x, dtype] = constant(np.asarray(x, dtype), ())
    return t


def _operation_of(function):
    if len(_operations) > 1000:
        _operations.clear()
    op = _operations[function] = function if isinstance(function, Operation) else Operation(function)
    return op


@contextlib.contextmanager
def _without_grad():
    enabled, mode.enabled = mode.enabled, False
    try:
        yield
    finally:
        mode.enabled = enabled


def _stepped(run, targets):
    for t in targets:
        if t.requires:
            run.stepped = True
            return


def _write(run, op, targets, operands, params, name):
    enabled, mode.enabled = mode.enabled, False
    try:
        if run.looked:
            run = _continue_or_end(run, operands, False)
        e = _find(run, WRITE, op, operands, params)
        if e is not None and len(e.specs) == len(targets):
            return _written(run, e, targets)
        _stop_waiting(run)
        found = core.compute(op, operands, params)
        found = found if type(found) is tuple else (found,)
        if len(found) != len(targets):
            raise torch_error(RuntimeError, f"update: {op.name} returned {len(found)} arrays for {len(targets)} tensors")
        new = [constant(x._array.astype(t.dtype, copy=False), ()) for x, t in zip(found, targets)]
        _note(run, WRITE, op, operands, params, new)
        for t, x in zip(targets, new):
            core.write_into(t, x, name)
            t._key = x._key
    finally:
        mode.enabled = enabled
    _stepped(run, targets)


# ---- backward ---------------------------------------------------------------------------------------------------------------------------------------

def backward(t, gradient=None, retain_graph=None, create_graph=False, inputs=None):
    """See Tensor.backward."""
    run = _local.run
    e = run.expected
    if e is not None and e.kind == BACKWARD and gradient is None and not create_graph and inputs is None and e.params["retain_graph"] is bool(retain_graph) \
            and t._key == run.base + e.refs[0] and _pulled(run, e, (t,)):
        return
    params = {"retain_graph": bool(retain_graph)}
    given = () if gradient is None else (gradient,)
    simple = not create_graph and inputs is None and not run.off and t.requires and not t.leaf and all([isinstance(g, Plain) and not g.requires for g in given])
    if simple:
        if run.expected is None and (run.looked or run.stepped):
            run = _continue_or_end(run, (t,), mode.enabled)
        if run.waiting:
            for e in run.here.after:
                if e.kind == BACKWARD and e.params == params and e.refs[0] == t._key - run.base and _pulled(run, e, (t, *given)):
                    return
    _stop_waiting(run)
    found = backward_pass.cotangents(t, gradient, retain_graph, create_graph, inputs)
    leaves = [x for x, _, _ in found]
    old = [x.grad for x in leaves]
    foreign = not simple or not all([current for _, _, current in found]) or any([not x.leaf or not run.base <= x._key < run.base + SPAN for x in leaves]) \
        or not run.base <= t._key < run.base + OUTSIDE or any([g is not None and not _plain(run, g) for g in old])
    keys = [x._key - run.base for x in leaves]
    sums = []
    for (x, g, _), before in zip(found, old):
        new = core.result(g, x._frames or (), "backward")
        if create_graph:
            x.grad = new if before is None else before + new
        elif before is None:
            x.grad = new
        else:
            sums.append((before, constant(before.held() + new._array, ())))
    if foreign:
        _off(run)
    else:
        results = [x.grad for x in leaves]
        stand = [next((n for b, n in sums if b is x.grad), x.grad) for x in leaves]
        with _without_grad():
            _note(run, BACKWARD, BACKWARD_PASS, (t, *given, *[g for g in old if g is not None]), params, stand, tuple(zip(keys, [g is not None for g in old])))
        for g, n in zip(results, stand):
            g._key = n._key
    for before, new in sums:
        key = before._key
        with _without_grad():
            core.write_into(before, new, "backward")
        before._key = key


def _pulled(run, e, operands):
    """The gradients of an expected backward pass, put in their places; False if they are not as they were."""
    base, tensors, results = run.base, run.tensors, run.results
    leaves, had_any = [], False
    for ref, had in e.targets:
        x = tensors[ref - OUTSIDE] if ref >= OUTSIDE else results[ref]
        g = x.grad
        if (g is not None) is not had or x._key != base + ref:
            return False
        if had:
            had_any = True
            if (g._odd or not g.leaf) and not _plain(run, g):
                return False
            operands = (*operands, g)
        leaves.append(x)
    if not _matches(run, e, operands):
        return False
    run.here.expected = run.here = e
    run.expected = e.expected
    if not had_any:
        key = base + e.first
        for x, spec in zip(leaves, e.specs):
            g = x.grad = _new(core.made)
            g._key, g._spec = key, spec
            results.append(g)
            key += 1
    else:
        _accumulated(run, e, leaves)
    return True


def _accumulated(run, e, leaves):
    for k, (x, spec) in enumerate(zip(leaves, e.specs)):
        if x.grad is None:
            x.grad = _placed(run, spec, e.first + k)
        else:
            g = x.grad
            g._key, g._array, g._node, g._spec = run.base + e.first + k, None, None, spec
            run.results.append(g)


# ---- one by one after all -----------------------------------------------------------------------------------------------------------------------------

def path(e):
    """The entries from the first of a run to this one."""
    out = []
    while e.parent is not None:
        out.append(e)
        e = e.parent
    return out[::-1]


def replay(run):
    """Carry out what was noted, so that every tensor that somebody holds has its value and its history."""
    tensors = {OUTSIDE + n: _stand_in(run, n) for n in range(len(run.tensors))}
    enabled = mode.enabled
    try:
        for e in path(run.here):
            mode.enabled = e.enabled
            operands = [tensors[r] if r >= 0 else e.consts[r] for r in e.refs]
            if e.kind == BACKWARD:
                given = operands[1] if len(operands) - sum([had for _, had in e.targets]) > 1 else None
                found = {id(x): g for x, g, _ in backward_pass.cotangents(operands[0], given, e.params["retain_graph"])}
                old = iter(operands[1 + (given is not None):])
                for k, (ref, had) in enumerate(e.targets):
                    real = _owner(run, ref)
                    g = found.get(id(real), np.zeros(e.specs[k].shape, e.specs[k].dtype))
                    tensors[e.first + k] = constant(next(old).held() + g if had else g, e.frames)
                continue
            if e.kind == WRITE:
                mode.enabled = False
            out = core.compute(e.op, operands, e.params)
            for k, x in enumerate(out if type(out) is tuple else (out,)):
                x._where = e.frames
                if e.kind == WRITE:
                    old = operands[k]
                    core._writing[:] = e.op.name, e.frames
                    core._mark(old)
                    x = constant(x._array.astype(e.specs[k].dtype, copy=False), e.frames)
                    x.requires = old.requires
                    if x.requires:
                        x._node = leaf_node(_owner(run, e.refs[k]), x._array)
                tensors[e.first + k] = x
    finally:
        mode.enabled = enabled
    for k, t in enumerate(run.results) if not run.alive else [(k, r()) for k, r in run.alive]:
        if t is not None and t._key == run.base + k:
            x = tensors[k]
            if t._array is None:
                t._array = x._array
            if x._node is not None and (not t.leaf or t._array is x._array):
                t._node = x._node


def _owner(run, ref):
    """The tensor of the user's that a leaf's gradient belongs to."""
    return run.tensors[ref - OUTSIDE] if ref >= OUTSIDE else run.results[ref]


def _stand_in(run, n):
    """An outside tensor as it was when it was met."""
    t = run.tensors[n]
    if t._array is run.arrays[n]:
        return t
    out = constant(run.arrays[n], t._frames or ())
    out.requires = t.requires
    if t.requires:
        out._node = leaf_node(t, out._array)
        if t._key != run.base + OUTSIDE + n and run.alive:
            core._writing[:] = "an update", ()
            core._mark(out)
    return out


def history(t):
    """The Node of a result that a program computed: its history is recorded again."""
    run = _local.run
    if run.base <= t._key < run.base + SPAN:
        _stop_waiting(run)
        _off(run)
    elif t._run is not None:
        replay(t._run)
        t._run = None
    if t._node is None:
        raise refuse(RuntimeError, "backward{here}: Trying to backward through the graph a second time (or directly access saved tensors after they have already been "
                                   "freed). Specify retain_graph=True in the first: backward(retain_graph=True)")
    return t._node


core.call, core.look, core.history = call, look, history
