"""What a loop writes into an array part by part, or adds to it, is written there, in place: not by one pass over the whole array for each part.

What it is: `added(outputs)`, a graph rewritten. The cotangent of an array that is read entry by entry, or row by row, is a sum of as many parts among zeros
(x[0] here, x[1] there): where there are many small ones, the sum becomes zeros to which one part after the other is added, as soon as it is known; and a part
is added to an array that was just written into. `in_place(nodes, outputs)` says what may be written where the array before lies: lower.py does it.

What it is not: no arithmetic but the order of a sum. A few parts, or large ones (the steps of a stencil), are added by the loop that computes them (shifted.py).
"""
import collections
import math
import operator

import numpy as np

from ..nodes import Node, Outputs, Primitive, reachable

MANY = 8                                   # parts of one sum from which on they are added in place
SMALL = 8                                  # how much smaller than the array each of them is at least
WRITERS = ("setitem", "add_at")


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
    writes = any(map(_is_written, order))
    if not writes and sum(map(_is_part, order)) < MANY:
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
    return _rewritten(outputs, order, above, top, chosen) if chosen or writes else outputs


def _is_written(x):
    return type(x) is Node and x.primitive.name in WRITERS


def in_place(nodes, outputs):
    """{a node that writes a part of an array: parts of it that are read}, where nobody else reads that array as it was before; these come first, and are copied.
    One that writes into a constant array, of which then nobody reads anything else, is there, too: the rest of it can be anything.
    nodes: all of a program, in topological order."""
    readers, kept, found = {}, {x for x in outputs if isinstance(x, Node)}, {}
    for n in nodes if any(map(_is_written, nodes)) else ():
        for x in n.operands:
            if type(x) is Node and x.primitive.kind == "scatter":
                readers.setdefault(x, []).append(n)
    for x, those in readers.items():
        writers = [n for n in those if _is_written(n) and n.operands[0] is x]
        parts = [n for n in those if n.primitive.name == "getitem" and _is_small(n, n.operands[0])]
        if len(writers) == 1 and len(parts) == len(those) - 1 and x not in kept and writers[0].dtype == x.dtype:
            found[writers[0]] = parts
        if x.primitive.name == "setitem" and type(x.operands[0]) is not Node and x not in kept and all([_reads_it(n, x) for n in those]):
            found[x] = []
    return found


def _reads_it(n, x):
    """Does n read what x has written, and nothing else?"""
    (array, *places), index, written = n.operands, n.params.get("index"), x.params["index"]
    return n.primitive.name == "getitem" and array is x and len(places) == len(x.operands) - 2 and all(map(operator.is_, places, x.operands[2:])) \
        and np.ndarray not in map(type, (*index, *written)) and index == written


def _is_part(n):
    """Is it something small among zeros?"""
    return n.primitive.name == "scatter" and len(n.operands) == 1 and type(n.operands[0]) is Node and n.dtype.kind == "f" and n.operands[0].dtype == n.dtype \
        and _is_small(n.operands[0], n)


def _is_small(part, whole):
    return SMALL * math.prod(part.shape) <= math.prod(whole.shape)


def _rewritten(outputs, order, above, top, chosen):
    new, state = {}, {}                    # state: {a sum that is chosen: zeros with the parts that are known}
    for n in order:
        root = top[n]
        if root not in chosen:
            now = [new[x] if type(x) is Node else x for x in n.operands]
            new[n] = _onto_written(n, now, above) or (n.on(now) if now else n)
        elif n is not root and _is_part(n):
            state[root], new[n] = _with(state.get(root), n, new[n.operands[0]], above[n]), None             # (None: nothing is left of it here)
        else:
            rest = _without_parts(n, *[new[x] if type(x) is Node else x for x in n.operands])
            new[n] = rest if n is not root else state[root] if rest is None else _node("add", n, rest, state[root])
    return Outputs([new[x] if isinstance(x, Node) else x for x in outputs])


def _onto_written(n, now, above):
    """The sum n of its operands as they are now, as an array that was written into with a part added to it; None for what is no such sum."""
    for slot in {"add": (0, 1), "subtract": (1,)}.get(n.primitive.name, ()):
        part, onto = n.operands[slot], now[1 - slot]
        if type(part) is Node and above.get(part) is n and _is_part(part) and _is_written(onto) and onto.shape == n.shape and onto.dtype == n.dtype:
            return _with(onto, part, now[slot].operands[0], n)
    return None


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
