"""What the tape is made of: entries in a tree, the run that stands in it, and when two calls are alike.

What it is not: nothing is decided here (tape.py), computed or written.
"""
import itertools
import threading

import numpy as np

from ..lines import user_line
from .aliases import above, held_outside, root
from .core import constant, mode

SPAN, OUTSIDE = 1 << 20, 1 << 19               # keys of one run; from where on they are outside tensors
LARGE = 1 << 16                                # bytes from which on memory is worth writing over
SNAPSHOT = 1 << 26                             # bytes of shared memory that are copied for a later computation; what is larger is computed at once
_bases = itertools.count(1)

OP, WRITE, BACKWARD = range(3)


class Entry:
    """One call, at its place in the tree.

    refs: a key (relative to the run's) for every tensor among the operands, a negative number for one that stands in consts; lead: the first of them, up to
    one that is not known before. varying: (operand, type, dtype) of numbers that were not the same each time, and are values therefore. first: the key of the
    first result; specs: of the results; device: where they are. called: op, of an ordinary call. news: (shape, dtype, requires, leaf, device) of outside
    tensors met here first; outside: how many were met before. targets: of a backward pass, (ref of the leaf, had it a gradient?). after: the calls that
    followed; expected: the last of them. turns: how often the run's first call has come. history: does one of the results up to here require a gradient?
    overwritten: numbers of outside tensors that got a new value on the way here; on the CPU, of large ones. plans: compiled programs that end
    here; seldom: was no program worth it yet?
    nodes, inputs, serial: its part of the graph, once a plan needed it.
    """

    __slots__ = tuple("kind op refs lead consts varying params enabled parent steps first specs single device called news outside targets frames after "
                      "expected turns history overwritten plans seldom nodes inputs serial".split())

    def __init__(self, kind, op, refs, consts, params, parent, first, specs, news, targets=()):
        self.kind, self.op, self.refs, self.consts, self.params, self.parent = kind, op, refs, consts, params, parent
        self.first, self.news, self.targets, self.enabled = first, news, targets, mode.enabled
        self.outside = parent.outside + len(parent.news) if parent is not None else 0
        self.lead = [*itertools.takewhile(lambda ref: 0 <= ref < OUTSIDE + self.outside, refs)]
        self.called = op if kind == OP else None
        self.steps = parent.steps + 1 if parent is not None else 0
        self.turns, self.seldom = 0, True
        self.frames = user_line()
        self.specs = tuple([Spec(x, op.name, self.frames) for x in specs])
        self.single = self.specs[0] if len(specs) == 1 else None
        self.device = self.specs[0].device if specs else parent and parent.device
        self.history = parent is not None and parent.history or any([s.requires for s in self.specs])
        self.overwritten = parent.overwritten if parent is not None else ()
        if kind == WRITE:
            self.overwritten += tuple([ref - OUTSIDE for ref, x in zip(refs, specs) if ref >= OUTSIDE and (x.nbytes >= LARGE or self.device != "cpu")])
        self.after, self.expected, self.plans, self.nodes, self.varying = [], None, {}, None, ()

    def like(self, e):
        """The same call in the same place, up to the values of numbers?"""
        return self.op is e.op and self.kind == e.kind and self.enabled is e.enabled and self.refs == e.refs and self.params == e.params \
            and len(self.specs) == len(e.specs) and all([a.like(b) for a, b in zip(self.specs, e.specs)]) and self.news == e.news \
            and self.targets == e.targets and [*map(type, self.consts)] == [*map(type, e.consts)]


class Spec:
    """What is known of a result before it is computed. by: the operation; frames: where it was called."""

    __slots__ = ("shape", "dtype", "strides", "requires", "device", "by", "frames")

    def __init__(self, t, by, frames):
        self.shape, self.dtype, self.strides, self.requires, self.device = t.shape, t.dtype, t.strides(), t.requires and not t.leaf, t.device
        self.by, self.frames = by, frames

    def like(self, other):
        return self.shape == other.shape and self.dtype == other.dtype and self.strides == other.strides and self.requires is other.requires \
            and self.device == other.device


class Run:
    """Where one thread stands.

    waiting: are calls noted only? expected: the entry that a call is compared with first. While calls wait: tensors, arrays: outside tensors and what they
    held; results: tensors by key; known: arrays that programs of this run have computed for later ones; computed: how many results there were then. Else
    outside: how many outside tensors were met. off: the rest of the run is not noted. looked, stepped: was a value looked at, a parameter updated? given: has
    a program written over what the run began with, so that nothing of it can be carried out again? alive: results that may ask for their history. versions:
    how often each outside tensor had been written into when the run ended.
    """

    def __init__(self, tree):
        self.tree = tree
        self.begin()

    def begin(self):
        self.base = next(_bases) * SPAN
        self.here = self.tree
        self.waiting = self.off = self.looked = self.stepped = self.given = False
        self.expected = self.plan = self.first = None
        self.tensors, self.arrays, self.results, self.known = [], [], [], []
        self.outside = self.turns = self.computed = 0
        self.alive = self.versions = ()


class PerThread(threading.local):
    def __init__(self):
        self.size = 0
        self.run = Run(self.root())

    def root(self):
        return Entry(OP, None, (), (), None, None, 0, (), ())


local = PerThread()


# ---- when are two calls alike? ----------------------------------------------------------------------------------------------------------------------

def matches(run, e, operands):
    """Are these the operands of the entry? Outside tensors that are met first are noted."""
    base, refs = run.base, e.refs
    if len(operands) != len(refs):
        return False
    try:
        if len(e.lead) > 3 and [x._key - base for x in operands[:len(e.lead)]] == e.lead:          # many, all at once
            operands, refs = operands[len(e.lead):], refs[len(e.lead):]
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
                    like = e.news[n - e.outside]
                    if x._like is like and x._array is not None:
                        x._key = base + ref
                        arrays.append(x._array)
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
            operands = with_tensors(e.varying, operands)
            return operands is not None and matches(run, e, operands)
    _forget(run, e.outside)
    return False


def _forget(run, count):
    for x in run.tensors[count:]:
        x._key = 0
    del run.tensors[count:], run.arrays[count:]


def _enters(run, x, like):
    """Is this outside tensor like the one that stood here? Then it becomes an input."""
    if x._array is None or likeness(x) is not like or x.requires and not x.leaf or x._hooks:
        return False
    exposed = is_exposed(x)                        # asked before its array has a name here, for references are counted
    array = x._array
    if not exposed:
        x._key = run.base + OUTSIDE + len(run.arrays)
    elif array.nbytes <= SNAPSHOT:
        array = array.copy()                       # as it is now: NumPy code may write into it before it is read, and between two reads
    else:
        return False
    run.arrays.append(array)
    run.tensors.append(x)
    return True


def is_exposed(x):
    """Does NumPy code outside hold its memory?"""
    if above(x) is not None:
        return root(x)._exposed
    if x._exposed and not any([r() is not None for r, _ in x._views]) and not held_outside(x):
        x._exposed, x._views = False, ()            # the array that numpy() gave away is gone
        x._linked = False
    return x._exposed


def likeness(x):
    """(shape, dtype, requires, leaf, device) of an outside tensor: one object for all that are alike."""
    like = (x.shape, x.dtype, x.requires, x.leaf, x.device)
    like = _likenesses.setdefault(like, like)
    if x._base is None and not x._exposed:
        x._like = like                             # whoever changes one of them takes it away
    return like


_likenesses = {}


def with_tensors(varying, operands):
    """The operands with tensors for the numbers at these places; None if others stand there."""
    operands = list(operands)
    for k, kind, dtype in varying:
        if type(operands[k]) is not kind:
            return None
        operands[k] = constant(np.asarray(operands[k], dtype), ())
    return operands


def same_number(x, c):
    return type(x) is type(c) and x == c and (x != 0 or str(x) == str(c))


def path(e):
    """The entries from the first of a run to this one."""
    out = []
    while e.parent is not None:
        out.append(e)
        e = e.parent
    return out[::-1]
