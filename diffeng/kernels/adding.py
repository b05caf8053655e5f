"""What a loop adds to an array part by part is added there, in place: not by one pass over the whole array for each part.

What it is: `added(outputs)`, a graph rewritten. The cotangent of an array that is read entry by entry, or row by row, is a sum of as many parts among zeros
(x[0] here, x[1] there): where there are many small ones, the sum becomes zeros to which one part after the other is added, as soon as it is known. lower.py
writes each into the memory of the one before.

What it is not: no arithmetic but the order of a sum. A few parts, or large ones (the steps of a stencil), are added by the loop that computes them (shifted.py).
"""
import collections
import math

from ..nodes import Node, Outputs, Primitive, reachable

MANY = 8                                   # parts of one sum from which on they are added in place
SMALL = 8                                  # how much smaller than the array each of them is at least


def added(outputs):
    """Nodes that compute the same as these. outputs: Nodes, or constants, which pass as they are.

    >>> import numpy as np
    >>> from diffeng import numpy_api                # what is recorded can be indexed
    >>> from diffeng.nodes import Tracing
    >>> x = Tracing().input(None, "x", (9,), np.float64)
    >>> parts = [Node(Primitive.registry["scatter"], (x[k].node,), {"index": (k,), "shape": (9,)}, None, (9,), x.dtype, ()) for k in range(9)]
    >>> total = parts[0]
    >>> for part in parts[1:]:
    ...     total = Node(Primitive.registry["add"], (total, part), {}, None, (9,), x.dtype, ())
    >>> [n.primitive.name for n in reachable(added([total])) if n.operands][-3:]
    ['add_at', 'getitem', 'add_at']
    """
    order = reachable(outputs)
    if sum(map(_is_part, order)) < MANY:
        return outputs
    uses = collections.Counter([x for n in order for x in n.operands if type(x) is Node] + [x for x in outputs if isinstance(x, Node)])
    above = {}                             # {what is added: the sum}, where nobody else reads it
    for n in order:
        if n.primitive.name in ("add", "subtract"):
            for slot, x in enumerate(n.operands):
                if type(x) is Node and uses[x] == 1 and x.shape == n.shape and x.dtype == n.dtype and (slot == 0 or n.primitive.name == "add" or _is_part(x)):
                    above[x] = n
    top, parts = {}, collections.Counter()
    for n in reversed(order):
        top[n] = top[above[n]] if n in above and (n.primitive.name in ("add", "subtract") or _is_part(n)) else n
        parts[top[n]] += top[n] is not n and _is_part(n)
    chosen = {n for n, count in parts.items() if count >= MANY}
    return _rewritten(outputs, order, above, top, chosen) if chosen else outputs


def _is_part(n):
    """Is it something small among zeros?"""
    return n.primitive.name == "scatter" and len(n.operands) == 1 and type(n.operands[0]) is Node and n.dtype.kind == "f" and n.operands[0].dtype == n.dtype \
        and SMALL * math.prod(n.operands[0].shape) <= math.prod(n.shape)


def _rewritten(outputs, order, above, top, chosen):
    new, state = {}, {}                    # state: {a sum that is chosen: zeros with the parts that are known}
    for n in order:
        root = top[n]
        if root not in chosen:
            new[n] = n.on([new[x] if type(x) is Node else x for x in n.operands]) if n.operands else n
        elif n is not root and _is_part(n):
            state[root], new[n] = _with(state.get(root), n, new[n.operands[0]], above[n]), None
        else:
            rest = _without_parts(n, *[new[x] if type(x) is Node else x for x in n.operands])
            new[n] = rest if n is not root else state[root] if rest is None else _node("add", n, rest, state[root])
    return Outputs([new[x] if isinstance(x, Node) else x for x in outputs])


def _with(known, part, value, reader):
    """Zeros (None), or what is known of a sum, with a part of it added."""
    if reader.primitive.name == "subtract" and reader.operands[1] is part:
        value = Node(Primitive.registry["negative"], (value,), {}, None, value.shape, value.dtype, part.frames)
    return part.on([value]) if known is None else _node("add_at", part, known, value, index=part.params["index"])


def _without_parts(n, a, b):
    """A sum or difference without those operands that are None; None where nothing is left."""
    if b is None:
        return a
    if a is None:
        return _node("negative", n, b) if n.primitive.name == "subtract" else b
    return n.on([a, b])


def _node(name, like, *operands, **params):
    return Node(Primitive.registry[name], operands, params, None, like.shape, like.dtype, like.frames)
