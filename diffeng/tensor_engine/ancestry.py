"""grad_fn: the recorded history of a tensor, to be looked at.

What it is: the graph's own Nodes under PyTorch's words. An operation may be several of them (a softmax is an exponential, a sum, a quotient), so there are more than in PyTorch.
"""
from ..nodes import INPUT, Node


def backward_name(operation):
    """MulBackward0 of mul."""
    return "".join([word.capitalize() for word in operation.split("_")]) + "Backward0"


class GradFn:
    """What made a tensor: name(), and next_functions, ((GradFn of an operand, 0), ...), with None for what no gradient is asked of. variable: the leaf of an AccumulateGrad.

    >>> import diffeng as de
    >>> x = de.tensor(2.0, requires_grad=True)
    >>> made = (x.sin() * 3).grad_fn
    >>> made, made.next_functions[0][0], made.next_functions[0][0].next_functions[0][0].variable is x
    (<MulBackward0>, <SinBackward0>, True)
    """

    def __init__(self, name, tensor=None, node=None):
        self._name, self._tensor, self._known = name, tensor, node

    @property
    def _node(self):
        if self._known is None:                              # recorded again where a program computed it: only if somebody looks
            self._known = self._tensor.variable()
        return self._known

    def name(self):
        return self._name

    @property
    def variable(self):
        """The leaf, of an AccumulateGrad; else AttributeError."""
        if self._name != "AccumulateGrad":
            raise AttributeError(f"{self._name} has no attribute 'variable'")
        return self._node.params["tensor"]()

    @property
    def next_functions(self):
        return tuple([(_of(n) if type(n) is Node else None, 0) for n in self._node.operands])

    def __eq__(self, other):
        return isinstance(other, GradFn) and self._node is other._node

    def __hash__(self):
        return id(self._node)

    def __repr__(self):
        return f"<{self._name}>"


def _of(node):
    return GradFn("AccumulateGrad" if node.primitive is INPUT else backward_name(node.primitive.name.replace("multiply", "mul").replace("subtract", "sub").replace("divide", "div")), node=node)
