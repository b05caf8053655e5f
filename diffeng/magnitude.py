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
from .vocabulary import fourier

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
    if name in fourier.NAMES:
        return fourier.largest(pull(primitive, slot, np.absolute(g), z, operands, params), params["axes"], name != "rfft")
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
    scales = _Scales(module, reachable(outputs), inputs, large)
    with np.errstate(all="ignore"):
        scales.backwards(outputs, cotangents)
    return [scales.of(n) for n in inputs], {key: c for key, c in scales.cotangent.items() if c is not None}


class _Scales:
    """A walk backwards. By the id of a node: its cotangent (None: not computed, as what it leads to is large); scale, an array, a function that computes it, or None;
    summed: does the scale come from a sum inside of an operation? meeting: contributions so far, (cotangent, scale, summed) each."""

    def __init__(self, module, order, inputs, large):
        self.module, self.order, self.large = module, order, large
        self.wanted, self.leaves = influenced(order, inputs), set(inputs)
        for n in order:
            if n.primitive.kind == "view" and n.operands[0] in self.leaves:
                self.leaves.add(n)
        self.cotangent, self.scale, self.summed, self.meeting = {}, {}, {}, {}

    def backwards(self, outputs, cotangents):
        for n, c in zip(outputs, cotangents):
            if n in self.wanted:
                self._meet(n, c, np.absolute(c), False)
        for n in reversed(self.order):
            if id(n) in self.meeting:
                self._settle(n)
                for k in self.wanted[n]:
                    self._hand_on(n, k)

    def of(self, n):
        """The scale of an input."""
        size = self.scale.get(id(n), np.zeros(n.shape, n.dtype))
        return size if size is None or callable(size) else np.absolute(size)

    def _meet(self, n, cotangent, scale, summed):
        self.meeting.setdefault(id(n), []).append((cotangent, scale, summed))

    def _settle(self, n):
        """All contributions to a node are there: add them up."""
        parts = self.meeting.pop(id(n))
        if parts[0][0] is None:
            sizes = [size for _, size, _ in parts]
            self.cotangent[id(n)] = None
            self.scale[id(n)] = None if None in sizes else lambda: sum([size() for size in sizes[1:]], sizes[0]())
            return
        self.cotangent[id(n)] = sum((c for c, _, _ in parts[1:]), parts[0][0])
        sizes = [size if inside or len(parts) == 1 else np.absolute(c) for c, size, inside in parts]
        self.scale[id(n)], self.summed[id(n)] = sum(sizes[1:], sizes[0]), any(inside for _, _, inside in parts)

    def _hand_on(self, n, k):
        """What a node whose contributions are all there gives to operand k."""
        p, g = n.operands[k], self.cotangent[id(n)]
        if g is None or p in self.leaves and self.large(p.shape):
            known = g is not None or self.scale[id(n)] is not None and n.primitive.kind in _HAND_ON
            self._meet(p, None, partial(self._size, n, k, True) if known else None, True)
            return
        c = self.module.pull(n.primitive, k, g, n.value, _values(n), n.params)
        inside = self.summed[id(n)] or n.primitive.kind in ("contract", "scatter", "reduce", "linalg", "opaque") or np.shape(p.value) != np.shape(n.value)
        self._meet(p, c, self._size(n, k, p in self.leaves), inside)

    def _size(self, n, k, last):
        """The scale of that. last: is the operand an input, or a view of one?"""
        size = self.scale[id(n)]
        if last and n.primitive.kind == "contract":
            sizes = [_operand_scale(p) if type(p) is Node else np.absolute(p) for p in n.operands]
            return np.absolute(self.module.pull(n.primitive, k, size, np.absolute(n.value), sizes, n.params))
        return pulled(self.module.pull, n.primitive, k, self.cotangent[id(n)], size() if callable(size) else size, n.value, _values(n), n.params)


def _values(n):
    return [p.value if type(p) is Node else p for p in n.operands]


def _operand_scale(n):
    """How large a factor counts, entry by entry: its value, the |terms| it was summed from, or its row's root mean square: what is far smaller than its
    neighbours is so by cancellation, further back than one operation perhaps, and has their rounding. Through views."""
    if n.primitive.kind == "view":
        return n.primitive(_operand_scale(n.operands[0]) if type(n.operands[0]) is Node else np.absolute(n.operands[0]), **n.params)
    size = value_scale(n.primitive, _values(n), n.value, n.params) if n.operands else np.absolute(n.value)
    return np.maximum(size, np.sqrt(np.mean(np.square(n.value), axis=-1, keepdims=True))) if n.shape else size


def value_scale(primitive, operands, z, params):
    """Sum of |terms| of a value: what rounding in the primitive itself can be measured against."""
    name = primitive.name
    sizes = [np.absolute(x) if not isinstance(x, (bool, np.bool_)) and getattr(x, "dtype", np.dtype(float)).kind == "f" else x for x in operands]
    if primitive.kind == "contract" or name in ("sum", "mean", "cumsum", "prod", "cumprod", "add_at", "scatter"):
        return np.absolute(primitive(*sizes, **params))
    if name in fourier.NAMES:
        return fourier.largest(primitive(*sizes, **params), params["axes"], name != "irfft")
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
