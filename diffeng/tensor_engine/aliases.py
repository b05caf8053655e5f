"""Aliases: tensors that share memory, with each other and with NumPy code outside, and what is written into one of them.

What it is: `link`, `detached`, `sharing` and `expose`, which say who shares memory with whom; `write_into`, by which a tensor takes a new value, with all that shares its
memory; `overwritten`, what a backward pass asks.

How. The engine never writes into an array: t.add_(1) computes a new one, and t and all that shares its memory take their parts of it, so that what a graph has
saved stays what it was. Who shares is said by references, not by addresses:

    view._base             (parent, put, again): put(parent, value) is the parent's new value, again(parent) makes the view anew
    parent._views          [(weak reference to the view, again)]
    view._detached_from    a weak reference to the parent, in the place of _base: what is detached of a result must not keep its history alive
    t._exposed             NumPy code outside holds this memory: only that is written in place, and no call on it waits on the tape

What it is not: no decision what may wait (writes.py), no view (shapes.py, indexing.py).
"""
import sys
import typing
import weakref

import numpy as np

from ..errors import refuse
from ..lines import user_line
from ..nodes import Node
from . import core
from .core import Operation, constant, mode, renewed
from .grad_mode import no_grad


# ---- who shares memory ------------------------------------------------------------------------------------------------------------------

def above(t):
    """The tensor whose memory t shares, if there is one (of what was detached, it may be gone)."""
    return t._base[0] if t._base is not None else t._detached_from and t._detached_from()


def root(t):
    """The tensor whose memory t shares in the end."""
    while (up := above(t)) is not None:
        t = up
    return t


def link(out, of, again, put):
    """Remember that `out` shares the memory of `of`: again(parent) makes it anew, put(parent, value) is the parent's new value. Returns out."""
    out._base, out._linked, of._linked = (of, put, again), True, True
    views = of._views
    if not views:
        views = of._views = []
    if not len(views) & (len(views) - 1):                           # at 1, 2, 4, ... of them: a loop over rows stays linear
        views[:] = [(r, f) for r, f in views if r() is not None]
    views.append((weakref.ref(out), again))
    return out


def hand_over(t, other):
    """The views of t are views of another tensor from now on, which holds the memory that t held."""
    other._views = [(r, again) for r, again in t._views if r() is not None]
    for reference, again in other._views:
        view = reference()
        if view is not None:
            view._base, view._detached_from = (other, view._base[1] if view._base else as_it_is, again), None


def detached(t):
    """The same memory without history: a view of a tensor that has none, as it must not keep one alive; of a result that has, by _detached_from, not by _base."""
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
        out._base, out._detached_from = None, weakref.ref(t)
    return out


def _without_history(t):
    if t.leaf or not t.requires:
        return t
    found = next(_detached_of(t), None)
    return detached(t) if found is None else found


def _detached_of(t):
    """What was detached of a result and is still there: who is detached of it later shares its memory with that one, when the result is gone, too."""
    return (view for r, _ in t._views if (view := r()) is not None and view._detached_from is not None)


def as_it_is(parent, value):
    return value


DETACH = Operation(lambda x: x, "detach", views=True)


def sharing(array, frames=None):
    """A tensor of memory that NumPy code outside holds, too."""
    t = constant(array, frames)
    t._exposed = t._linked = True
    return t


def expose(t):
    """The array of a tensor for NumPy code outside: from now on tensor and array are one memory, and operations on it run at once."""
    top = root(t)
    if not top._exposed:
        if core.settled(top) or not top.held().flags.writeable or held_outside(top):            # another tensor's too, perhaps
            top._array = np.array(top.value)
        top._exposed, top._linked, top._like, top._key, top._last_key = True, True, None, 0, top._key
    elif t is top or np.may_share_memory(t.value, top._array):
        return t.value
    with core.aside():                                # a view that a program made since is a copy
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
                view._array, view._key, view._last_key, view._like = again(parent).held(), 0, view._key, None
                if view._detached_from is not None:                  # as long as it is there, it is known that the memory is exposed
                    view._base, view._detached_from = (parent, as_it_is, again), None
                stale.append(view)


# ---- what was replaced ------------------------------------------------------------------------------------------------------------------

class Write(typing.NamedTuple):
    """What wrote into a tensor: the operation, where, and the serial of the new value's Node, if it has one."""

    operation: str
    frames: tuple
    serial: int | None = None


_nodes, _arrays = weakref.WeakKeyDictionary(), {}            # values a backward pass may need as they were: Node -> Write, id of an array -> (it, Write)


def note_replaced(t, write):
    """What t holds is about to be replaced by a Write."""
    if t._node is not None:
        _nodes[t._node] = write
    array, key = t._array, id(t._array)
    _arrays[key] = (weakref.ref(array, lambda _: _arrays.pop(key, None)), write)


def array_overwritten(array):
    """As `overwritten`, for a constant of the graph."""
    found = _arrays.get(id(array))
    return found[1] if found is not None and found[0]() is array else None


def overwritten(node):
    """The Write that followed, if the value of this node was one of a tensor written into since; else None."""
    while True:
        found = _nodes.get(node)
        shares = node.primitive.kind == "view" or node.primitive.name == "getitem" and len(node.operands) == 1          # by integers, entries are copied
        if found is not None or not shares or not node.operands or type(node.operands[0]) is not Node:
            return found
        node = node.operands[0]


# ---- writing ----------------------------------------------------------------------------------------------------------------------------

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
    write = Write(name, user_line(), new._node and new._node.serial)
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
            _adopt(x, value, recorded, write)
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


def _adopt(t, other, history, write):
    """t holds what the other holds, and has its history; or, without it, its own: a parameter stays one, and what has a history keeps it. write: a Write."""
    array, node, past, leaf, requires = other.held(), None, None, t.leaf, t.requires
    if history:
        node, leaf, requires = other._node, other.leaf, other.requires
    elif requires and not leaf and t._node is not None:
        node = renewed(t._node, array)
    elif requires and not leaf:
        past = _as_it_was(t) if t._run is not None else t._past
    note_replaced(t, write)
    t._where, t._name = other._frames, other._by
    t._array, t._node, t.requires, t.leaf, t._spec, t._like = array, node, requires, leaf, None, None
    t._past = past
    t._version += 1


def _as_it_was(t):
    """A tensor in place of t, which is about to be written into, for the run that has its history: to be recorded again only if somebody asks."""
    old, run = constant(t.held(), t._frames), t._run
    old.requires, old.leaf, old._key, old._run, t._run, t._key, t._last_key = True, False, t._key or t._last_key, run, None, 0, 0
    run.alive = [(k, weakref.ref(old) if r() is t else r) for k, r in run.alive]
    return old
