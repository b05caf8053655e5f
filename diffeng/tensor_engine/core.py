"""The state of a tensor, and how an operation on tensors is carried out.

What it is: `TensorBase`, the fields of a tensor; `Operation`, NumPy code applied to tensors.
A tensor holds an array, and a Node of the one graph (nodes.py) where a gradient is asked of it; operands without a gradient enter
the graph as constants, so that nothing is kept which no derivative needs.

What it is not: no derivative (backward.py asks reverse_mode), no meaning of any operation (operations.py), no compiling (tape.py);
who shares memory with whom, and what a write does, is in aliases.py.
"""
import contextlib
import weakref

import numpy as np

from ..errors import refuse
from ..nodes import INPUT, Node, Tracer, Tracing
from ..lines import line_of, user_line
from ..vocabulary import elementwise
from .grad_mode import mode
from .resident import Resident, at

ARRAYS = frozenset({np.ndarray, Resident})          # the types of what a tensor holds
TRACING = Tracing()                        # of all tensors: nodes with their values
TRACING.level = 0.5                        # no function runs in it, so no interpreter that runs one is inside of it; above arrays on a GPU (0)
_new = object.__new__


class TensorBase:
    """The fields of a tensor, most of them with defaults on the class: a tensor is made in a fifth of a microsecond.

    What it holds   _array: None while it is still to be computed, and then _spec says what is known of it (entries.Spec). _node: the Node of its value, where a
                    gradient is asked of it. _version: how often it was written into. _where, _name: where it was made, by which operation.
    Gradients       requires: is one asked of it? leaf: made by the user, not by an operation. _grad. _hooks, _after: of a leaf, see hooks.py.
    Shared memory   _base, _views: see aliases.link. _detached, _detached_from: see aliases.detached. _exposed: NumPy code outside holds it. _linked: any of these; where it
                    is False, nobody need be asked.
    On the tape     _key: which value of which run it is, 0: of none; _last_key: what that was before it was given to NumPy. _like: see entries.likeness. _run: the run
                    that made it, where its history has to be recorded again; _past: a tensor that has this history, where it was written into since.
    """

    _array = _node = _base = _detached_from = _past = _spec = _like = _run = _grad = _hooks = _after = None
    _where, _name = (), ""
    _views = ()
    requires = _exposed = _detached = _linked = False
    _key = _last_key = _version = 0
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

    def variable(self):
        """The Node in the graph of a tensor that requires a gradient."""
        node = self._node
        if node is None:
            if not self.leaf and self._past is None:
                return history(self)
            node = self._node = leaf_node(self, self.held()) if self.leaf else renewed(self._past.variable(), self.held())
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


def renewed(node, array):
    """The Node of a value that was written beside its history, which goes on."""
    return Node(elementwise.copy, (node,), {}, array, node.shape, node.dtype, node.frames)


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
        if isinstance(x, TensorBase):
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
    met = {x.device: x for x in operands[::-1] if isinstance(x, TensorBase) and (x.ndim or x.device != "cpu")}
    if len(met) > 1:
        where = [f"the one of shape {list(x.shape)}{', made at ' + line_of(x._frames) if x._frames else ''}, is on {k}" for k, x in sorted(met.items())[::-1]]
        raise refuse(RuntimeError, f"{op.name}{{here}}: Expected all tensors to be on the same device, but found at least two devices, cuda and cpu: "
                                   f"{'; '.join(where)}. Move one of them: t.to('cuda')")
    return next(iter(met))


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
        if isinstance(x, TensorBase):
            line = line_of(x._frames) if x._frames else ""
            parts.append(f"{x.shape} {x.dtype}" + (f", made at {line}" if line else ""))
        else:
            parts.append(f"the {type(x).__name__} {x!r}"[:60])
    cause = error.__cause__ if getattr(error, "explained", False) and error.__cause__ is not None else error       # without what the primitive said of itself
    text = str(cause).strip().rstrip(".")
    hint = ". Reshape one of them, or insert axes of length 1 (x[:, None]), so that the shapes fit" if "broadcast" in text or "mismatch" in text else ""
    kind = {ValueError: RuntimeError, np.linalg.LinAlgError: LinAlgError}.get(type(error), type(error))           # as PyTorch has it
    return refuse(kind, f"{op.name}{{here}}: {text}. Operands: {'; '.join(parts)}{hint}")
