"""The state of a tensor, and how an operation on tensors is carried out.

What it is: `Plain`, the fields of a tensor; `Operation`, NumPy code applied to tensors; how a tensor is written into, with all that shares its memory.
A tensor holds an array, and a Node of the one graph (nodes.py) where a gradient is asked of it; operands without a gradient enter
the graph as constants, so that nothing is kept which no derivative needs.

What it is not: no derivative (backward.py asks reverse_mode), no meaning of any operation (operations.py), no compiling (tape.py).
"""
import contextlib
import sys
import weakref

import numpy as np

from ..errors import refuse
from ..nodes import INPUT, Node, Tracer, Tracing
from ..lines import line_of, user_line
from ..vocabulary import elementwise
from .grad_mode import mode, no_grad
from .resident import Resident, at

ARRAYS = frozenset({np.ndarray, Resident})          # the types of what a tensor holds
TRACING = Tracing()                        # of all tensors: nodes with their values
TRACING.level = 0.5                        # no function runs in it, so no interpreter that runs one is inside of it; above arrays on a GPU (0)
_new = object.__new__


class Plain:
    """The fields of a tensor, most of them with defaults on the class: a tensor is made in a fifth of a microsecond.

    _array: what it holds, or None while that is still to be computed (tape.py). _node: the Node of its value where a gradient is asked of it. requires: is it?
    leaf: made by the user, not by an operation. _key: which value of which run of the tape it is; _was: before it was given to NumPy. _spec: what is known of
    a result of the tape. _like: see entries.likeness. _run: the run that made it, where its history has to be recorded again; _past: what it was then, where it
    was written into since. _base, _views: see `link`; _of, _detached: see `detached`. _exposed: NumPy code outside holds this memory.
    _odd: there is a base, a view, or somebody outside. _version: how often it was written into. _hooks, _after: of a leaf, see hooks.py. _where, _name: where it was made, by which operation.
    """

    _array = _node = _base = _of = _past = _spec = _like = _run = _grad = _hooks = _after = None
    _where, _name = (), ""
    _views = ()
    requires = _exposed = _detached = _odd = False
    _key = _was = _version = 0
    leaf = True

    @property
    def value(self):
        """The ndarray, for somebody outside: what was recorded is computed now, and comes from the device where it lies."""
        look(self)
        return at(self._array, "cpu")

    def held(self):
        """The ndarray or Resident, for the engine."""
        if self._array is None:
            look(self)
        return self._array

    def _adopt(self, other, history):
        """Hold what the other holds, and have its history; or, without it, one's own: a parameter stays one, and what has a history keeps it."""
        array, node, past, leaf, requires = other.held(), None, None, self.leaf, self.requires
        if history:
            node, leaf, requires = other._node, other.leaf, other.requires
        elif requires and not leaf and self._node is not None:
            node = _renewed(self._node, array)
        elif requires and not leaf:
            past = _as_it_was(self) if self._run is not None else self._past
        note_replaced(self)
        self._where, self._name = other._frames, other._by
        self._array, self._node, self.requires, self.leaf, self._spec, self._like = array, node, requires, leaf, None, None
        self._past = past
        self._version += 1

    def variable(self):
        """The Node in the graph of a tensor that requires a gradient."""
        node = self._node
        if node is None:
            if not self.leaf and self._past is None:
                return history(self)
            node = self._node = leaf_node(self, self.held()) if self.leaf else _renewed(self._past.variable(), self.held())
        return node

    @property
    def device(self):
        """The name of the device in whose memory it lies: "cpu" or "cuda"."""
        return self._array.device if self._array is not None else self._spec.device

    def strides(self):
        """As NumPy would lay out the result, in bytes."""
        return self._array.strides if self._spec is None else self._spec.strides

    @property
    def _frames(self):
        return self._where if self._spec is None else self._spec.frames

    @property
    def _by(self):
        return self._name if self._spec is None else self._spec.by


def leaf_node(t, array):
    """A Node that says: the gradient of t goes here."""
    node = Node(INPUT, (), {"name": getattr(t, "name", None) or "leaf", "tensor": weakref.ref(t)}, array, array.shape, array.dtype, t._frames or ())
    if t._hooks is not None:
        node.hooks = t._hooks
    return node


def _renewed(node, array):
    """The Node of a value that was written beside its history, which goes on."""
    return Node(elementwise.copy, (node,), {}, array, node.shape, node.dtype, node.frames)


def _as_it_was(t):
    """A tensor in place of t, which is about to be written into, for the run that has its history: to be recorded again only if somebody asks."""
    old, run = constant(t.held(), t._frames), t._run
    old.requires, old.leaf, old._key, old._run, t._run, t._key, t._was = True, False, t._key or t._was, run, None, 0, 0
    run.alive = [(k, weakref.ref(old) if r() is t else r) for k, r in run.alive]
    return old


made = None                                # the class of results: Tensor, once tensors.py has set it


def become_the_class_of_results(cls):
    global made
    made = cls


def constant(array, frames=None):
    """A tensor of an array (NumPy's or Resident) that is nobody else's."""
    t = _new(made)
    t._array = array if type(array) in ARRAYS else np.asarray(array)
    t._where = user_line() if frames is None else frames
    return t


def _array(x):
    return x if type(x) in ARRAYS else np.asarray(x)


moves = 0                                    # how often a parameter has changed its device: optimisers look whether theirs have (optim/)


def own(array):
    """A copy of what a tensor holds, in memory of its own."""
    return np.array(array) if type(array) is np.ndarray else array.interpreter.put(array.interpreter.memory.copy(array.data))


def beside(t, array):
    """A tensor of NumPy's array, on the device of another tensor."""
    return constant(at(np.asarray(array), t.device))


def moved(t, device):
    """A copy on another device, through which gradients pass: not on the tape, which has programs of one device each."""
    array, out = at(t.held(), device), None
    if mode.enabled and t.requires:
        n = t.variable()
        out = result(Tracer(TRACING, Node(elementwise.copy, (n,), {}, array, n.shape, n.dtype, user_line())), user_line(), "to")
    return constant(array) if out is None else out


class LinAlgError(RuntimeError, np.linalg.LinAlgError):
    """Of a matrix that is singular, or not positive definite: an error of PyTorch's kind, and of NumPy's."""


class Operation:
    """NumPy code as an operation on tensors: function(*operands, **params) -> an array, or a tuple of them.

    operands: tensors, arrays, Python numbers. The function meets arrays, or Tracers where a gradient is asked for, and must be written so that
    it records: with NumPy's functions and diffeng's primitives, no look at a value, and nothing that changes from call to call but its operands (random
    numbers, counters and switches among them are operands or params, not globals). params are compared by ==. views: may the result be the memory of an
    operand? Results of other operations lie in C order, whatever carried them out.

    >>> import numpy as np, diffeng as de
    >>> twice = Operation(lambda x: x * 2.0, "twice")
    >>> twice(de.tensor([1.0, 2.0]))
    tensor([2., 4.])
    """

    __slots__ = ("function", "name", "views")

    def __init__(self, function, name=None, views=False):
        self.function, self.name, self.views = function, name or function.__name__, views

    def __call__(self, *operands, **params):
        return compute(self, operands, params)             # tape.py puts its own `call` here: there operations may wait

    def __repr__(self):
        return f"<operation {self.name}>"


operation = Operation


def compute(op, operands, params):
    """Carry out an operation: values at once, and the graph where a gradient is asked for."""
    args, enabled, device = [], mode.enabled, "cpu"
    for x in operands:
        if isinstance(x, Plain):
            args.append(Tracer(TRACING, x.variable()) if enabled and x.requires else x.held())
            if type(x._array) is Resident and device == "cpu":
                device = _common(op, operands)
        elif isinstance(x, np.generic):
            args.append(x.item())
        else:
            args.append(x)
    try:
        with np.errstate(all="ignore"):
            out = op.function(*args, **params)
    except (ValueError, TypeError, IndexError) as error:
        raise explained(error, op, operands) from error
    frames = user_line()
    if type(out) is tuple:
        return tuple([result(x, frames, op.name, device) for x in out])
    if type(out) in ARRAYS and not op.views and (any([out is a for a in args]) or not _in_order(out)):
        out = out.copy()                          # memory of its own
    t = result(out, frames, op.name, device)
    if not op.views and not _in_order(t._array):
        t._array = np.ascontiguousarray(t._array)
    return t


def _in_order(array):
    return type(array) is Resident or array.flags.c_contiguous


def _common(op, operands):
    """The one device that an operation's tensors are on; a tensor without axes on the CPU may meet others. Raises RuntimeError for two."""
    met = {x.device: x for x in operands[::-1] if isinstance(x, Plain) and (x.ndim or x.device != "cpu")}
    if len(met) > 1:
        where = [f"the one of shape {list(x.shape)}{', made at ' + line_of(x._frames) if x._frames else ''}, is on {k}" for k, x in sorted(met.items())[::-1]]
        raise refuse(RuntimeError, f"{op.name}{{here}}: Expected all tensors to be on the same device, but found at least two devices, cuda and cpu: "
                                   f"{'; '.join(where)}. Move one of them: t.to('cuda')")
    return next(iter(met))


def _same(x):
    return x


def result(x, frames, by="", device="cpu"):
    """A tensor of what an operation returned. device: where it belongs, if not on the CPU."""
    t = _new(made)
    if type(x) is Tracer:
        node = x.node
        t._array = _array(node.value)
        if node.dtype.kind == "f":
            t._node, t.requires, t.leaf = node, True, False
    else:
        t._array = _array(x)
    if device != "cpu":
        t._array = at(t._array, device)
    t._where, t._name = frames, by
    return t


# ---- what tape.py puts in place of these -----------------------------------------------------------------------------------------------------------

def look(t):
    """Somebody wants to see what t holds."""


def history(t):
    """The Node of a result that was computed by a program."""


def off_the_tape():
    """What has been noted is carried out, and the rest of the run is not noted."""


aside = contextlib.nullcontext              # calls inside are no part of what the user's program does


def settled(t):
    """Compute what waits, before somebody outside may write into t. True if the memory of t is still needed as it is."""
    return False


def explained(error, op, operands):
    """The error with what a user needs: the operation, shapes and dtypes, and the lines where the operands were made."""
    if getattr(error, "torchlike", False):
        return error
    parts = []
    for x in operands:
        if isinstance(x, Plain):
            line = line_of(x._frames) if x._frames else ""
            parts.append(f"{x.shape} {x.dtype}" + (f", made at {line}" if line else ""))
        else:
            parts.append(f"the {type(x).__name__} {x!r}"[:60])
    cause = error.__cause__ if getattr(error, "explained", False) and error.__cause__ is not None else error       # without what the primitive said of itself
    text = str(cause).strip().rstrip(".")
    hint = ". Reshape one of them, or insert axes of length 1 (x[:, None]), so that the shapes fit" if "broadcast" in text or "mismatch" in text else ""
    kind = {ValueError: RuntimeError, np.linalg.LinAlgError: LinAlgError}.get(type(error), type(error))           # as PyTorch has it
    return refuse(kind, f"{op.name}{{here}}: {text}. Operands: {'; '.join(parts)}{hint}")


# ---- writing in place -------------------------------------------------------------------------------------------------------------------

_nodes, _arrays = weakref.WeakKeyDictionary(), {}            # values a backward pass may need as they were: Node, id of an array -> write_under_way
write_under_way = ["", (), None]                                     # the write that is being carried out: operation, frames, serial of the value's Node


def note_replaced(t):
    """What t holds is about to be replaced."""
    hit = tuple(write_under_way)
    if t._node is not None:
        _nodes[t._node] = hit
    array, key = t._array, id(t._array)
    _arrays[key] = (weakref.ref(array, lambda _: _arrays.pop(key, None)), hit)


def array_overwritten(array):
    """As `overwritten`, for a constant of the graph."""
    found = _arrays.get(id(array))
    return found[1] if found is not None and found[0]() is array else None


def overwritten(node):
    """(operation, frames, serial) of the write that followed, if the value of this node was one of a tensor written into since; else None."""
    while True:
        found = _nodes.get(node)
        shares = node.primitive.kind == "view" or node.primitive.name == "getitem" and len(node.operands) == 1          # by integers, entries are copied
        if found is not None or not shares or not node.operands or type(node.operands[0]) is not Node:
            return found
        node = node.operands[0]


def above(t):
    """The tensor whose memory t shares, if there is one (of what was detached, it may be gone)."""
    return t._base[0] if t._base is not None else t._of and t._of()


def root(t):
    """The tensor whose memory t shares in the end."""
    while (up := above(t)) is not None:
        t = up
    return t


def link(out, of, again, put):
    """Remember that `out` shares the memory of `of`: again(parent) makes it anew, put(parent, value) is the parent's new value. Returns out."""
    out._base, out._odd, of._odd = (of, put, again), True, True
    views = of._views
    if not views:
        views = of._views = []
    if not len(views) & (len(views) - 1):                           # at 1, 2, 4, ... of them: a loop over rows stays linear
        views[:] = [(r, f) for r, f in views if r() is not None]
    views.append((weakref.ref(out), again))
    return out


def detached(t):
    """The same memory without history: a view of a tensor that has none, as it must not keep one alive; of a result that has, in _of, not in _base."""
    of, put, again, history = t, as_it_is, DETACH, t.requires and not t.leaf
    if history and t._base is not None:
        of, put, again = t._base
        of = _without_history(of)
    elif history:
        of = next(_detached_of(t), t)
    with no_grad():
        out = link(again(of), of, again, put)
    out._detached = True
    if history and of is t:
        out._base, out._of = None, weakref.ref(t)
    return out


def _without_history(t):
    if t.leaf or not t.requires:
        return t
    found = next(_detached_of(t), None)
    return detached(t) if found is None else found


def _detached_of(t):
    """What was detached of a result and is still there: who is detached of it later shares its memory with that one, when the result is gone, too."""
    return (view for r, _ in t._views if (view := r()) is not None and view._of is not None)


def as_it_is(parent, value):
    return value


DETACH = Operation(_same, "detach", views=True)


def writable(t, name):
    """PyTorch's rules: is it allowed to write into this tensor now?"""
    if mode.enabled:
        if t.leaf and t.requires:
            raise refuse(RuntimeError, f"{name}{{here}}: a leaf Variable that requires grad is being used in an in-place operation: its gradient would be "
                                       "lost. Update it inside `with no_grad():`, or write x = x + y")
        base = _attached(t)
        if base is not t and base.leaf and base.requires:
            raise refuse(RuntimeError, f"{name}{{here}}: a view of a leaf Variable that requires grad is being used in an in-place operation: its gradient "
                                       "would be lost. Update it inside `with no_grad():`, or work on a clone()")
    if any([s == 0 and n > 1 for s, n in zip(t.strides(), t.shape)]):
        raise refuse(RuntimeError, f"{name}{{here}}: unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
                                   "It was made by expand: clone() it before the operation")


def _attached(t):
    """The tensor at the end of the views, without passing detach()."""
    while t._base is not None and not t._detached:
        t = t._base[0]
    return t


def write_into(t, new, name):
    """t takes the value of another tensor of its shape and dtype, and so does all that shares its memory. While a graph is recorded, what t is a view of, and
    its views, have the history of the new value; what is detached of them, and what they were detached from, keep their own."""
    owner, enabled = root(t), mode.enabled
    held = owner.held()
    write_under_way[:] = name, user_line(), new._node and new._node.serial
    top = _attached(t)
    while t is not top:
        t, put, _ = t._base
        new = put(t, new)
    value, mode.enabled = new, False
    try:
        while t is not owner:
            put = t._base[1] if t._base is not None else as_it_is
            t = above(t)
            value = put(t, value)
        if owner._exposed:
            np.copyto(held, value.held())                 # NumPy code outside sees it
        stale = [(owner, value, False)]
        while stale:
            x, value, recorded = stale.pop()
            if x is top:
                value, recorded = new, enabled
            x._adopt(value, recorded)
            for reference, again in x._views:
                view = reference()
                if view is not None:
                    mode.enabled = recorded and not view._detached
                    stale.append((view, again(x), mode.enabled))
        if owner._exposed:
            owner._array = held.view()                    # the same memory, but no longer the value that a graph may have saved
            _share(owner)
    finally:
        mode.enabled = enabled


def expose(t):
    """The array of a tensor for NumPy code outside: from now on tensor and array are one memory, and operations on it run at once."""
    top = root(t)
    if not top._exposed:
        if settled(top) or not top.held().flags.writeable or held_outside(top):            # another tensor's too, perhaps
            top._array = np.array(top.value)
        top._exposed, top._odd, top._like, top._key, top._was = True, True, None, 0, top._key
    elif t is top or np.may_share_memory(t.value, top._array):
        return t.value
    with aside():                                # a view that a program made since is a copy
        _share(top)
    return t.value


def held_outside(x):
    """Does somebody else hold its array, or the one that this is a view of? (Not counted: the tensor and its Node, the names here, the question.)"""
    array = x._array
    owner = array if array.base is None else array.base
    return sys.getrefcount(array) > 3 + (owner is array) + (x._node is not None and x._node.value is array) or owner is not array and sys.getrefcount(owner) > 3


@no_grad()
def _share(top):
    """All views of an exposed tensor as NumPy's own views of its memory."""
    stale = [top]
    while stale:
        parent = stale.pop()
        for reference, again in parent._views:
            view = reference()
            if view is not None:
                view._array, view._key, view._was, view._like = again(parent).held(), 0, view._key, None
                if view._of is not None:                  # as long as it is there, it is known that the memory is exposed
                    view._base, view._of = (parent, as_it_is, again), None
                stale.append(view)
