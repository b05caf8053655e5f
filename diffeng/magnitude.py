"""What an error is measured against: the sum of |terms| in the last accumulating operation.

A gradient entry that is zero by cancellation (the key bias of softmax attention) has no relative error of its own; what rounding can do to it
is set by the terms that were added. `gradient_scale` carries that sum backwards: contractions and broadcasts start it anew; maps, views and gathers hand
it on; where contributions from several consumers meet, they are the terms (with what a contraction handed them, but not what an earlier meeting
did: in a long chain of x*(1-x) the sums would compound until they excuse everything). In the product that makes a gradient, a factor
counts no less than its neighbours: among millions of entries some are small by cancellation. Magnitudes judge nobody: they only turn an error into
digits and ULP.
"""
from functools import partial

import numpy as np

from . import conditioning
from .influence import influenced
from .nodes import Node, reachable

_HAND_ON = ("view", "gather", "scatter")


def pulled(pull, primitive, slot, g, s, z, operands, params):
    """Sum of |terms| of one cotangent contribution. g: cotangent, s: its own scale; operands and z: float arrays. Shape: operand `slot`'s."""
    shape = np.shape(operands[slot])
    kind, name = primitive.kind, primitive.name
    if kind == "contract":
        sizes = [np.absolute(x) for x in operands]
        return np.absolute(pull(primitive, slot, np.absolute(g), np.absolute(z), sizes, params))
    if kind == "map":
        full = [np.broadcast_to(x, np.shape(z)) if np.ndim(x) else x for x in operands]
        if np.shape(full[slot]) != np.shape(z):
            full[slot] = np.broadcast_to(full[slot], np.shape(z))
        each = np.absolute(pull(primitive, slot, s if shape == np.shape(z) else np.absolute(g), z, full, params))
        return _summed(each, shape)
    if kind == "linalg":
        return conditioning.pulled(name, slot, s, operands, z)
    if name == "broadcast_to":
        return _summed(np.absolute(g), shape)
    if name == "var":
        x, axis = operands[0], params["axis"]
        n = max(1, int(np.prod([x.shape[k] for k in axis])) - params["ddof"])
        spread = np.reshape(s, tuple(1 if k in axis else m for k, m in enumerate(x.shape)))
        return 2 * spread / n * (np.absolute(x) + np.absolute(np.mean(x, axis=axis, keepdims=True)))
    if kind in _HAND_ON:
        return np.absolute(pull(primitive, slot, s, z, operands, params))
    return np.absolute(pull(primitive, slot, np.absolute(g), z, operands, params))


def _summed(each, shape):
    extra = each.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(k + extra for k, n in enumerate(shape) if n == 1 and each.shape[k + extra] != 1)
    return np.reshape(np.sum(each, axis=axes), shape) if axes else each


def gradient_scale(module, outputs, cotangents, inputs, large=lambda shape: False):
    """(one array an input: the scale of each gradient entry; adjoints by id of the node). module: reverse_mode or symbolic, whichever was certified.

    Of an input that is large(its shape): a function that computes its scale, so that one at a time need be there, or None where it is not known; no adjoint.
    """
    order = reachable(outputs)
    wanted, leaves = influenced(order, inputs), set(inputs)
    for n in order:
        if n.primitive.kind == "view" and n.operands[0] in leaves:
            leaves.add(n)
    g, s, summed = {}, {}, {}                  # cotangent; scale; does the scale come from a sum inside of an operation?
    meeting = {}                                # contributions so far: (cotangent, scale, summed)

    def settle(n):
        """All contributions to a node are there: add them up."""
        parts = meeting.pop(id(n))
        if parts[0][0] is None:
            sizes = [size for _, size, _ in parts]
            g[id(n)], s[id(n)] = None, None if None in sizes else lambda: sum([size() for size in sizes[1:]], sizes[0]())
            return
        g[id(n)] = sum((c for c, _, _ in parts[1:]), parts[0][0])
        sizes = [size if inside or len(parts) == 1 else np.absolute(c) for c, size, inside in parts]
        s[id(n)], summed[id(n)] = sum(sizes[1:], sizes[0]), any(inside for _, _, inside in parts)

    def size_of(n, k, last):
        """What n hands to operand k."""
        values = [p.value if type(p) is Node else p for p in n.operands]
        if last and n.primitive.kind == "contract":
            sizes = [_operand_scale(p) if type(p) is Node else np.absolute(p) for p in n.operands]
            return np.absolute(module.pull(n.primitive, k, s[id(n)], np.absolute(n.value), sizes, n.params))
        incoming = s[id(n)]() if callable(s[id(n)]) else s[id(n)]
        return pulled(module.pull, n.primitive, k, g[id(n)], incoming, n.value, values, n.params)

    with np.errstate(all="ignore"):
        for n, c in zip(outputs, cotangents):
            if n in wanted:
                meeting.setdefault(id(n), []).append((c, np.absolute(c), False))
        for n in reversed(order):
            if id(n) not in meeting:
                continue
            settle(n)
            values = [p.value if type(p) is Node else p for p in n.operands]
            for k in wanted[n]:
                p = n.operands[k]
                if g[id(n)] is None or p in leaves and large(p.shape):
                    known = g[id(n)] is not None or s[id(n)] is not None and n.primitive.kind in _HAND_ON
                    meeting.setdefault(id(p), []).append((None, partial(size_of, n, k, True) if known else None, True))
                    continue
                c = module.pull(n.primitive, k, g[id(n)], n.value, values, n.params)
                inside = summed[id(n)] or n.primitive.kind in ("contract", "scatter", "reduce", "linalg", "opaque") or np.shape(p.value) != np.shape(n.value)
                meeting.setdefault(id(p), []).append((c, size_of(n, k, p in leaves), inside))

    def found(n):
        size = s.get(id(n), np.zeros(n.shape, n.dtype))
        return size if size is None or callable(size) else np.absolute(size)
    return [found(n) for n in inputs], {key: c for key, c in g.items() if c is not None}


def _operand_scale(n):
    """How large a factor counts, entry by entry: its value, the |terms| it was summed from, or its row's root mean square: what is far smaller than its
    neighbours is so by cancellation, further back than one operation perhaps, and has their rounding. Through views."""
    if n.primitive.kind == "view":
        return n.primitive(_operand_scale(n.operands[0]) if type(n.operands[0]) is Node else np.absolute(n.operands[0]), **n.params)
    size = value_scale(n.primitive, [p.value if type(p) is Node else p for p in n.operands], n.value, n.params) if n.operands else np.absolute(n.value)
    return np.maximum(size, np.sqrt(np.mean(np.square(n.value), axis=-1, keepdims=True))) if n.shape else size


def value_scale(primitive, operands, z, params):
    """Sum of |terms| of a value: what rounding in the primitive itself can be measured against."""
    name = primitive.name
    sizes = [np.absolute(x) if not isinstance(x, (bool, np.bool_)) and getattr(x, "dtype", np.dtype(float)).kind == "f" else x for x in operands]
    if primitive.kind == "contract" or name in ("sum", "mean", "cumsum", "prod", "cumprod", "add_at", "scatter"):
        return np.absolute(primitive(*sizes, **params))
    if primitive.kind == "linalg":
        return conditioning.of_value(name, operands, z)
    if name in ("add", "subtract"):
        return np.absolute(sizes[0]) + np.absolute(sizes[1])
    if name == "remainder":
        return np.absolute(z) + sizes[0] + sizes[1]
    if name == "var":
        return np.absolute(z) + np.mean(np.square(sizes[0]), axis=params["axis"], keepdims=params["keepdims"])
    if name == "logsumexp":
        return np.absolute(z) + np.max(sizes[0], axis=params["axis"], keepdims=params["keepdims"], initial=1)
    return np.absolute(z)
