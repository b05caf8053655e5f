"""backward: cotangents from a tensor down to its leaves, by reverse_mode over the recorded Nodes.

What it is: where a backward pass begins, what it may still use (values overwritten, graphs freed), where gradients are put.
What it is not: no rule of differentiation. The walk and its rows are reverse_mode's.
"""
import numpy as np

from .. import reverse_mode
from ..errors import refuse
from ..nodes import INPUT, Node, Tracer, reachable
from ..lines import line_of
from . import core, hooks
from .aliases import array_overwritten, overwritten
from .core import ARRAYS, TRACING, TensorBase, constant, result
from .resident import at

FREED = {"name": "freed", "tensor": lambda: None}             # params of what an operation becomes once a pass has let its operands go
# What a backward pass keeps of an operation, in PyTorch's words "saved tensors": nothing, the result, the first operand of a choice; else its operands.
KEEPS_NOTHING = frozenset("add subtract negative sum mean reshape transpose broadcast_to astype copy concatenate stack pad getitem scatter setitem add_at cumsum "
                          "barrier stop_gradient input constant sign floor ceil trunc rint".split())
KEEPS_RESULT = frozenset("exp exp2 expm1 sqrt cbrt tanh tan expit reciprocal".split())
FROM_RESULT = {"tanh": np.arctanh, "expm1": np.log1p, "expit": lambda z: np.log(z) - np.log1p(-z)}          # whose derivatives are computed of the operand: that has more digits
BILINEAR = frozenset("multiply matmul dot tensordot".split())
_RETAIN = "backward(retain_graph=True)"


def cotangents(t, gradient=None, retain_graph=None, create_graph=False, inputs=None):
    """[(tensor, array or Tracer, is it of the value that the tensor holds now?)]: what a backward pass adds to the gradients."""
    if not t.requires:
        raise refuse(RuntimeError, "backward{here}: element 0 of tensors does not require grad and does not have a grad_fn: it was computed from tensors "
                                   "without requires_grad=True, or inside no_grad()")
    seed = _seed(t, gradient, "backward")
    order = reachable([t.variable()])
    if inputs is None:
        targets = [(n, n.params["tensor"]()) for n in order if n.primitive is INPUT]
        targets = [(n, x) for n, x in targets if x is not None and x.requires]
        targets += [(n, x) for n, x in ((n, _retained(n)) for n in order) if x is not None]
    else:
        targets = [(n, x) for x in ([inputs] if isinstance(inputs, TensorBase) else inputs) for n in _versions(x, order)]
    found = gradients([t], [seed], [n for n, _ in targets], retain_graph, create_graph, order)
    out, used = {}, set()
    for (n, x), g in zip(targets, found):
        if g is None:
            g = np.zeros(n.shape, n.dtype)
        current = n is x._node
        if id(x) in out:                              # two versions of one leaf
            g, current = out[id(x)][1] + g, False
        if type(g) is not Tracer and (id(g) in used or g is seed or type(g) is np.ndarray and not g.flags.owndata):
            g = g.copy()                           # memory of its own
        if type(g) is not Tracer:
            g = at(g if type(g) in ARRAYS else np.asarray(g), x.device)
        used.add(id(g))
        out[id(x)] = x, g, current
    return [*out.values()]


def _versions(x, order):
    """The nodes that stand for a tensor in a graph: a leaf that was written into has one for each value that somebody read."""
    return [n for n in order if n.primitive is INPUT and n.params["tensor"]() is x] or [x.variable()]


def _seed(t, gradient, name):
    if gradient is None:
        if t.numel() != 1:
            line = line_of(t._frames) if t._frames else ""
            raise refuse(RuntimeError, f"{name}{{here}}: grad can be implicitly created only for scalar outputs, and this tensor has shape {list(t.shape)}"
                                       f"{', made at ' + line if line else ''}. Take .sum() or .mean() of it, or pass a cotangent: backward(gradient)")
        return np.ones(t.shape, t.dtype)
    g = gradient if isinstance(gradient, TensorBase) else constant(at(np.asarray(gradient, t.dtype), t.device))
    if g.device != t.device:
        raise refuse(RuntimeError, f"{name}{{here}}: Expected all tensors to be on the same device, and the cotangent is on {g.device}, the tensor on "
                                   f"{t.device}: pass gradient.to({t.device!r})")
    if g.shape != t.shape:
        raise refuse(RuntimeError, f"{name}{{here}}: Mismatch in shape: grad_output[0] has a shape of {list(g.shape)} and output[0] has a shape of "
                                   f"{list(t.shape)}.")
    if core.mode.enabled and g.requires:
        return Tracer(TRACING, g.variable())
    return g.held() if g.dtype == t.dtype else g.held().astype(t.dtype)


def gradients(outputs, seeds, nodes, retain_graph=None, create_graph=False, order=None):
    """Cotangents of nodes (arrays, or Tracers with create_graph; None without influence); the graph is freed unless it is retained."""
    order = reachable([t.variable() for t in outputs]) if order is None else order
    _usable(order)
    if create_graph:
        def value_of(n):
            return Tracer(TRACING, n)
    else:
        def value_of(n):
            return n.value
        seeds = [g.node.value if type(g) is Tracer else g for g in seeds]
    found = reverse_mode.gradient([t.variable() for t in outputs], seeds, nodes, value_of, changed=hooks.of(order, create_graph))
    if not (create_graph if retain_graph is None else retain_graph):
        for n in order:
            if n.primitive.name not in KEEPS_NOTHING:
                n.primitive, n.operands, n.params = INPUT, (), FREED
    return found


def _usable(order):
    """Is everything there, and as it was, that the pass will read?"""
    for n in order:
        name = n.primitive.name
        if n.params is FREED:
            line = line_of(n.frames)
            raise refuse(RuntimeError, "backward{here}: Trying to backward through the graph a second time (or directly access saved tensors after they have "
                                       f"already been freed){': the operation at ' + line if line else ''} was freed by the first pass. Specify retain_graph=True in "
                                       "the first: " + _RETAIN)
        if name in KEEPS_NOTHING or n.dtype.kind != "f" or n.primitive.own is not None:          # (these look themselves)
            continue
        if name in FROM_RESULT and type(p := n.operands[0]) is Node and overwritten(p) is not None:
            with np.errstate(all="ignore"):
                p.value = FROM_RESULT[name](n.value)              # (its memory holds something else now; whoever else needs it is told so)
        saved = [n] if name in KEEPS_RESULT else n.operands[:1] if name == "where" else n.operands
        for k, p in enumerate(saved):
            if name in BILINEAR and type(n.operands[1 - k]) is not Node:
                continue
            hit = overwritten(p) if type(p) is Node else array_overwritten(p) if type(p) in ARRAYS else None
            if hit is not None and (k or hit.serial != n.serial):            # y.mul_(x) may need y as it was: it wrote over it itself
                _changed(n, p, hit)


def _changed(n, p, write):
    raise refuse(RuntimeError, "backward{here}: one of the variables needed for gradient computation has been modified by an inplace operation: "
                               f"{write.operation} at {line_of(write.frames)} wrote into the tensor of shape {list(p.shape)} and dtype {p.dtype} that {n.primitive.name} at "
                               f"{line_of(n.frames)} needs as it was. Write into a clone() of it, or make a new tensor instead (x = x + y)")


_kept = {}


def retain(t):
    """See Tensor.retain_grad."""
    import weakref
    node = t.variable()
    if not t.leaf:
        _kept[id(node)] = (weakref.ref(node, lambda _, key=id(node): _kept.pop(key, None)), weakref.ref(t))


def _retained(node):
    found = _kept.get(id(node))
    return found[1]() if found is not None else None


def grad(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, only_inputs=True, allow_unused=None, is_grads_batched=False, materialize_grads=False):
    """The gradients of outputs with respect to inputs, as a tuple; nothing is accumulated in .grad.

    outputs, inputs: tensors, or sequences of them. grad_outputs: cotangents of outputs that are no scalars. create_graph: the gradients can be
    differentiated again. allow_unused: None for inputs without influence, instead of RuntimeError; materialize_grads: zeros for them. only_inputs has no effect.

    Raises NotImplementedError for is_grads_batched: write a loop over the cotangents, with retain_graph=True.

    >>> import diffeng as de
    >>> x = de.tensor(3.0, requires_grad=True)
    >>> g, = de.autograd.grad(x**3, x, create_graph=True)
    >>> de.autograd.grad(g, x)
    (tensor(18.),)
    """
    if is_grads_batched:
        raise refuse(NotImplementedError, "grad{here}: is_grads_batched=True is not there: loop over the cotangents, with retain_graph=True, or take jacobian of a function of arrays")
    if materialize_grads and allow_unused is False:
        raise refuse(ValueError, "grad{here}: Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False")
    outputs = [outputs] if isinstance(outputs, TensorBase) else list(outputs)
    inputs = [inputs] if isinstance(inputs, TensorBase) else list(inputs)
    given = [grad_outputs] if grad_outputs is None or isinstance(grad_outputs, TensorBase) else list(grad_outputs)
    given += [None] * (len(outputs) - len(given))
    for t in (*outputs, *inputs):
        if not t.requires:
            raise refuse(RuntimeError, "grad{here}: One of the differentiated Tensors does not require grad: make it with requires_grad=True")
    seeds = [_seed(t, g, "grad") for t, g in zip(outputs, given)]
    order = reachable([t.variable() for t in outputs])
    met = [_versions(x, order) for x in inputs]
    every = iter(gradients(outputs, seeds, [n for nodes in met for n in nodes], retain_graph, create_graph, order))
    parts = [[g for _ in nodes if (g := next(every)) is not None] for nodes in met]
    found = [sum(some[1:], some[0]) if some else None for some in parts]
    if not allow_unused and not materialize_grads and any(g is None for g in found):
        raise refuse(RuntimeError, "grad{here}: One of the differentiated Tensors appears to not have been used in the graph. Set allow_unused=True if this "
                                   "is the desired behavior.")
    unused = [core.beside(x, np.zeros(x.shape, x.dtype)) if materialize_grads and g is None else None for x, g in zip(inputs, found)]
    return tuple([x if g is None else result(g if type(g) is Tracer else g.copy(), ()) for x, g in zip(unused, found)])
