"""Hooks: functions of the user's that a backward pass calls with the cotangent of a tensor, and that may put another in its place.

What it is: where they are kept. Those of a result stand at its Node, for the graph needs them when the tensor is gone; those of a leaf at the tensor, which gets
another Node after each step. What is hooked is carried out at once, outside of the tape: a program could not call them.
What it is not: no walk (reverse_mode.gradient calls them).
"""
import itertools

from ..errors import refuse
from ..nodes import Tracer
from . import core
from .core import TensorBase, constant, mode, result
from .grad_mode import set_grad_enabled
from .resident import Resident

_numbers = itertools.count()


class Handle:
    """What registering a hook returns: remove() takes it away again; so does the end of a `with` block."""

    def __init__(self, hooks, hook, after=lambda: None):
        self._hooks, self._number, self._after = hooks, next(_numbers), after
        hooks[self._number] = hook

    def remove(self):
        self._hooks.pop(self._number, None)
        self._after()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def register(t, hook):
    """See Tensor.register_hook."""
    if not t.requires:
        raise refuse(RuntimeError, "register_hook{here}: cannot register a hook on a tensor that doesn't require gradient")
    node = t.variable()
    if t.leaf:
        t._hooks = {} if t._hooks is None else t._hooks
        node.hooks, t._like, t._key = t._hooks, None, 0
    elif not hasattr(node, "hooks"):
        node.hooks = {}
    core.off_the_tape()
    return Handle(node.hooks, hook)


def register_after(t, hook):
    """See Tensor.register_post_accumulate_grad_hook."""
    if not t.leaf or not t.requires:
        raise refuse(RuntimeError, "register_post_accumulate_grad_hook{here}: post accumulate grad hooks can only be registered on leaf tensors that require a gradient: register_hook is for "
                                   "others")
    t._after = {} if t._after is None else t._after
    return Handle(t._after, hook, register(t, lambda g: None).remove)          # which keeps it off the tape


def of(order, create_graph):
    """{Node: function(cotangent) -> cotangent} of those that are hooked."""
    return {n: _called(n, create_graph) for n in order if hasattr(n, "hooks") and n.hooks}


def _called(node, create_graph):
    def changed(g):
        for hook in [*node.hooks.values()]:
            with set_grad_enabled(create_graph):
                with core.aside():
                    new = hook(as_gradient(g))
                if new is not None:
                    g = taken(new, node.dtype, g.device if type(g) is Resident else "cpu", "register_hook")
            if g.shape != node.shape:
                raise refuse(RuntimeError, f"register_hook{{here}}: the hook has changed the size of the gradient: from {list(node.shape)} to {list(g.shape)}")
        return g
    return changed


def as_gradient(g):
    """A cotangent as a tensor."""
    return result(g, ()) if type(g) is Tracer else constant(g, ())


def taken(new, dtype, device, name):
    """The array or Tracer of a tensor that a user's function returned as a gradient. Raises TypeError where it is none."""
    if not isinstance(new, TensorBase):
        raise refuse(TypeError, f"{name}{{here}}: expected a Tensor or None as a gradient, but got {type(new).__name__}")
    new = new.to(device=device, dtype=dtype)
    return Tracer(core.TRACING, new.variable()) if mode.enabled and new.requires else new.held()
