"""torch.autograd.functional: jacobian, hessian, vjp, jvp, hvp, vhp of functions of tensors; each by backward passes, and jvp by two of them.

What it is not: the derivatives of functions of arrays are de.jacobian, de.hessian, ..., which are compiled, and know forward mode.
"""
from ..errors import refuse
from ..tensor_engine.backward import grad
from ..tensor_engine.core import TensorBase
from ..tensor_engine.functions import stack
from ..tensor_engine.grad_mode import enable_grad
from ..tensors import ones_like, zeros_like


def _several(x, what, name):
    found = x if isinstance(x, tuple) else (x,)
    if not all([isinstance(t, TensorBase) for t in found]):
        raise refuse(TypeError, f"{name}{{here}}: the {what} must be either a Tensor or a tuple of Tensors, but got {type(x).__name__}")
    return found


def _run(func, inputs, create_graph, name):
    """(inputs of which a gradient can be asked, outputs, are outputs a tuple?). With create_graph the inputs go on to have their history."""
    xs = tuple([x.view_as(x) if create_graph and x.requires else x.detach().requires_grad_() for x in _several(inputs, "inputs", name)])
    out = func(*xs)
    return xs, _several(out, "outputs of the function", name), isinstance(out, tuple)


def _grad(outputs, inputs, seeds, create_graph, strict, name):
    """The gradients, zeros for what has no influence; with strict that is an error."""
    asked = [(t, s) for t, s in zip(outputs, seeds) if t.requires]
    found = grad([t for t, _ in asked], inputs, [s for _, s in asked], retain_graph=True, create_graph=create_graph, allow_unused=True) if asked else (None,) * len(inputs)
    if strict and any([g is None for g in found]):
        raise refuse(RuntimeError, f"{name}{{here}}: an output of the function is independent of an input: this is not allowed in strict mode; strict=False gives zeros")
    return tuple([zeros_like(x) if g is None else g for g, x in zip(found, inputs)])


def _like(found, single):
    return found[0] if single else tuple(found)


def _finished(found, create_graph):
    return tuple([t if create_graph else t.detach() for t in found])


def _scalar(outputs, name):
    if len(outputs) != 1 or outputs[0].numel() != 1:
        raise refuse(RuntimeError, f"{name}{{here}}: The function given to {name} should return a single Tensor with a single element")


def _vectors(v, like, name):
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise refuse(RuntimeError, f"{name}{{here}}: The vector v can only be None if there is one tensor with a single element")
        return tuple(map(ones_like, like))
    given = _several(v, "v", name)
    if [t.shape for t in given] != [t.shape for t in like]:
        raise refuse(RuntimeError, f"{name}{{here}}: v has shapes {[list(t.shape) for t in given]}, and {[list(t.shape) for t in like]} are asked for")
    return given


def jacobian(func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"):
    """The derivative of each output of func(*inputs) with respect to each input, of shape output.shape + input.shape; tuples where there are tuples, outputs first.

    vectorize, strategy have no effect: it takes a backward pass for each entry of the outputs. create_graph: the result has a graph.

    >>> import diffeng as de
    >>> jacobian(lambda x: x * x, de.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    with enable_grad():
        xs, outputs, several = _run(func, inputs, create_graph, "jacobian")
        rows = []
        for out in outputs:
            of_entries = [_grad((entry,), xs, (ones_like(entry),), create_graph, strict, "jacobian") for entry in out.reshape(-1)]
            found = [stack(parts, 0).reshape(tuple(out.shape) + tuple(x.shape)) if parts else x.new_zeros(*out.shape, *x.shape) for x, parts in
                     zip(xs, zip(*of_entries) if of_entries else [()] * len(xs))]
            rows.append(_like(_finished(found, create_graph), not isinstance(inputs, tuple)))
    return _like(rows, not several)


def hessian(func, inputs, create_graph=False, strict=False, vectorize=False, outer_jacobian_strategy="reverse-mode"):
    """The second derivatives of a function with one scalar result: of shape input.shape + input.shape, tuples of tuples for a tuple of inputs.

    >>> import diffeng as de
    >>> hessian(lambda x: (x**3).sum(), de.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    def gradient(*xs):
        out = func(*xs)
        _scalar(_several(out, "outputs of the function", "hessian"), "hessian")
        return _like(_grad((out,), xs, (ones_like(out),), True, strict, "hessian"), not isinstance(inputs, tuple))
    return jacobian(gradient, inputs, create_graph, strict)


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(*inputs), v^T J): the product of a vector of the outputs' shape with the Jacobian. v None: 1, for one scalar output."""
    with enable_grad():
        xs, outputs, several = _run(func, inputs, create_graph, "vjp")
        found = _grad(outputs, xs, _vectors(v, outputs, "vjp"), create_graph, strict, "vjp")
    return _like(_finished(outputs, create_graph), not several), _like(_finished(found, create_graph), not isinstance(inputs, tuple))


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(*inputs), J v): the product of the Jacobian with a vector of the inputs' shape. v None: 1, for one scalar input."""
    with enable_grad():
        xs, outputs, several = _run(func, inputs, create_graph, "jvp")
        direction = _vectors(v, xs, "jvp")
        cotangents = tuple([zeros_like(t).requires_grad_() for t in outputs])
        pulled = _grad(outputs, xs, cotangents, True, strict, "jvp")                     # linear in the cotangents: its derivative is J
        found = _grad(pulled, cotangents, direction, create_graph, strict, "jvp")
    return _like(_finished(outputs, create_graph), not several), _like(_finished(found, create_graph), not several)


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(*inputs), H v): the product of the second derivatives of a scalar with a vector of the inputs' shape."""
    with enable_grad():
        xs, outputs, _ = _run(func, inputs, create_graph, "hvp")
        _scalar(outputs, "hvp")
        first = _grad(outputs, xs, (ones_like(outputs[0]),), True, strict, "hvp")
        found = _grad(first, xs, _vectors(v, xs, "hvp"), create_graph, strict, "hvp")
    return _finished(outputs, create_graph)[0], _like(_finished(found, create_graph), not isinstance(inputs, tuple))


vhp = hvp                                   # H is symmetric
