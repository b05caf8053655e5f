"""Function: an operation on tensors with a backward of the user's own, and gradcheck, which holds it to differences.

What it is: each call is one Node whose primitive has rules of its own, as those of own_rules.py have; forward and backward work on tensors, as PyTorch's do, and are
carried out outside of the tape. For functions of arrays, whose rules `compare` judges, there is de.custom.
"""
import numpy as np

from ..errors import refuse
from ..nodes import Node, Primitive, Tracer
from ..lines import user_line
from ..vocabulary import shaping
from . import core
from .core import TRACING, TensorBase, constant, mode, result
from .grad_mode import no_grad, set_grad_enabled
from .backward import grad
from .hooks import as_gradient, taken
from .operations import OPS
from .resident import at


class Context:
    """What forward keeps for backward: any attributes, and tensors by save_for_backward. needs_input_grad: for each argument, is its gradient asked for?"""

    _saved, _constant = (), ()

    def save_for_backward(self, *tensors):
        """Keep tensors (arguments and results among them, or None); self.saved_tensors are they."""
        self._saved = tuple([(t, getattr(t, "_version", 0)) for t in tensors])

    @property
    def saved_tensors(self):
        """Raises RuntimeError where one was written into since."""
        for t, version in self._saved:
            if t is not None and t._version != version:
                raise refuse(RuntimeError, f"saved_tensors{{here}}: one of the variables needed for gradient computation has been modified by an inplace operation: the one of "
                                           f"shape {list(t.shape)}. Write into a clone() of it")
        return tuple([t for t, _ in self._saved])

    def mark_non_differentiable(self, *tensors):
        """These results have no gradient."""
        self._constant = tuple(map(id, tensors))

    def set_materialize_grads(self, value):
        """Accepted, and without effect: a result without influence has a gradient of zeros."""


class Function:
    """An operation with a derivative of one's own: subclasses define two static methods, and are called by apply.

    forward(ctx, *args) -> a tensor or a tuple of them: no graph is recorded in it. Or forward(*args) and setup_context(ctx, inputs, output).
    backward(ctx, *gradients) -> the gradients of the arguments, one each, None for what has none. It may be differentiated again (create_graph=True).
    Several results must have one dtype.

    >>> import diffeng as de
    >>> class Cube(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x ** 3
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         x, = ctx.saved_tensors
    ...         return g * 3 * x ** 2
    >>> x = de.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    @staticmethod
    def forward(*args):
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def backward(ctx, *gradients):
        raise NotImplementedError("You must implement the backward function for custom autograd.Function.")

    setup_context = None

    def __new__(cls, *args):
        raise refuse(RuntimeError, f"{cls.__name__}{{here}}: a Function is not made, but applied: {cls.__name__}.apply(...)")

    @classmethod
    def apply(cls, *args):
        """Call the operation. Returns what forward returned."""
        ctx = Context()
        ctx.needs_input_grad = tuple([isinstance(x, TensorBase) and x.requires for x in args])
        with no_grad():
            if cls.setup_context is None:
                out = cls.forward(ctx, *args)
            else:
                out = cls.forward(*args)
                cls.setup_context(ctx, args, out)
        if not mode.enabled or not any(ctx.needs_input_grad):
            return out
        several = isinstance(out, (tuple, list))
        results = [*out] if several else [out]
        derived = [k for k, t in enumerate(results) if isinstance(t, TensorBase) and t.dtype.kind == "f" and id(t) not in ctx._constant]
        if derived:
            _recorded(cls, ctx, args, results, derived)
        return tuple(results) if several else results[0]


def _recorded(cls, ctx, args, results, derived):
    """Give the results that have a derivative their history. They stay the tensors that forward made (backward may read them), unless they are somebody else's."""
    own = [results[k] for k in derived]
    if len({t.dtype for t in own}) > 1:
        raise refuse(TypeError, f"{cls.__name__}{{here}}: results of one Function must have one dtype, and they are {', '.join(sorted({t.dtype.name for t in own}))}: mark those "
                                "without a gradient as ctx.mark_non_differentiable(t)")
    with no_grad():
        packed = (own[0] if len(own) == 1 else OPS["cat"](*[t.reshape(-1) for t in own])).held()
    operands = tuple([x.variable() for x in args if isinstance(x, TensorBase) and x.requires])
    rule = _Rule(cls, ctx, args, results, derived)
    primitive = Primitive(f"{cls.__name__}.apply", None, "opaque", tuple(range(len(operands))), own=rule)
    node = Node(primitive, operands, {}, packed, packed.shape, packed.dtype, user_line())
    parts = [Tracer(TRACING, node)] if len(own) == 1 else shaping.pieces(Tracer(TRACING, node), rule.shapes)
    for k, part in zip(derived, parts):
        t, new = results[k], result(part, node.frames, cls.__name__)
        if t._linked or t.requires or any([t is x for x in args]):
            results[k] = new
        else:
            t._array, t._node, t.requires, t.leaf, t._key, t._spec, t._like, t._name = t.held(), new._node, True, False, 0, None, None, new._name


class _Rule:
    """The backward of one call, as reverse_mode asks a primitive with rules of its own."""

    whole = True

    def __init__(self, cls, ctx, args, results, derived):
        self._cls, self._ctx, self._count = cls, ctx, len(args)
        self._like = [(k, x.shape, x.dtype, x.device) for k, x in enumerate(args) if isinstance(x, TensorBase) and x.requires]
        self._results = [(t.shape, t.dtype, t.device) if isinstance(t, TensorBase) else None for t in results]
        self._derived, self.shapes = derived, [results[k].shape for k in derived]

    def pulled(self, g, z, numbers):
        """{slot: cotangent}: what backward returns for the arguments that are asked for."""
        parts = [g] if len(self.shapes) == 1 else shaping.pieces(g, self.shapes)
        given = [constant(at(np.zeros(like[0], like[1]), like[2]), ()) if like else None for like in self._results]
        for k, part in zip(self._derived, parts):
            given[k] = as_gradient(part)
        with set_grad_enabled(type(z) is Tracer), core.aside():                # create_graph
            found = self._cls.backward(self._ctx, *given)
            found = list(found) if isinstance(found, (tuple, list)) else [found]
            if len(found) < self._count or any([x is not None for x in found[self._count:]]):
                raise refuse(RuntimeError, f"{self._cls.__name__}{{here}}: backward returned an incorrect number of gradients (expected {self._count}, got {len(found)}): "
                                           "one for each argument of forward, None for what has none")
            return {slot: self._checked(found[k], k, *like) for slot, (k, *like) in enumerate(self._like)}

    def _checked(self, x, k, shape, dtype, device):
        if x is None:
            return at(np.zeros(shape, dtype), device)
        name = f"{self._cls.__name__}.backward"
        x = taken(x, dtype, device, name)
        try:
            fits = np.broadcast_shapes(x.shape, shape) == x.shape              # what is larger is summed, as broadcasting of the argument asks for
        except ValueError:
            fits = False
        if not fits:
            raise refuse(RuntimeError, f"{name}{{here}}: returned an invalid gradient at index {k} - got {list(x.shape)} but expected shape compatible with {list(shape)}")
        return x


def gradcheck(func, inputs, eps=1e-6, atol=1e-5, rtol=1e-3, raise_exception=True):
    """Are the gradients of a function of tensors those that central differences show? True, or RuntimeError with both (False with raise_exception=False).

    func(*inputs) -> a tensor or a tuple of them. inputs: a tensor or a tuple; those that require a gradient are moved by eps, and should be float64, else ValueError.

    >>> import diffeng as de
    >>> gradcheck(lambda x: x.sin() * x, de.linspace(-1, 1, 3, dtype=de.float64, requires_grad=True))
    True
    """
    inputs = (inputs,) if isinstance(inputs, TensorBase) else tuple(inputs)
    moved = [k for k, x in enumerate(inputs) if isinstance(x, TensorBase) and x.requires]
    if not moved:
        raise refuse(ValueError, "gradcheck{here} expects at least one input tensor to require gradient, but none of the them have requires_grad=True.")
    if any([inputs[k].dtype != np.float64 for k in moved]):
        raise refuse(ValueError, "gradcheck{here}: differences need float64: make the inputs with dtype=de.float64")

    def outputs(inputs):
        out = func(*inputs)
        return [t for t in (out if isinstance(out, (tuple, list)) else (out,)) if t.dtype.kind == "f"]

    def values(k, array):
        with no_grad():
            return [t.value.ravel().copy() for t in outputs([constant(array, ()) if j == k else x for j, x in enumerate(inputs)])]
    for k in moved:
        x, columns = inputs[k].value.copy(), []
        for entry in np.ndindex(x.shape):
            ends = []
            for step in (eps, -eps):
                y = x.copy()
                y[entry] += step
                ends.append(values(k, y))
            columns.append([(a - b) / (2 * eps) for a, b in zip(*ends)])
        for j, t in enumerate(outputs(inputs)):
            numerical = np.stack([column[j] for column in columns])             # (entries of the input, entries of the output)
            analytical = np.zeros_like(numerical)
            for i in range(numerical.shape[1] if t.requires else 0):
                g, = grad(t, inputs[k], constant(np.eye(numerical.shape[1])[i].reshape(t.shape), ()), retain_graph=True, allow_unused=True)
                analytical[:, i] = 0 if g is None else g.value.ravel()
            if not np.allclose(analytical, numerical, rtol, atol):
                if not raise_exception:
                    return False
                raise refuse(RuntimeError, f"gradcheck{{here}}: Jacobian mismatch for output {j} with respect to input {k},\nnumerical:{numerical}\nanalytical:{analytical}\n")
    return True
