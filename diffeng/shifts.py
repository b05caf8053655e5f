"""Shifts: a maximum taken out of an exponential, and put back, has no derivative.

softmax, logsumexp, cross-entropy and mixtures subtract m = max(x) before they exponentiate, so that nothing overflows. Mathematically the result does not depend
on m at all; its adjoint through max (who is the largest? how many ties?) is an exact zero, computed in some eight passes. Here that is proved, on the
recorded graph: when m becomes m + c, a value v becomes

    v + k c          ("add", k)          x - m, its sums by the number of entries, (x - m) / T
    v exp(k c)       ("scale", k)        exp(x - m), its sums, products with what does not depend on m
    v                (no state)          exp(x - m) / sum(exp(x - m)): k - k = 0

for every c of m's shape, which spreads like m. If no output has a state, the cotangent of m is zero, whatever the values. k is an exact fraction. Anything else
that meets a state ends the proof, and the sweep pulls through max as ever. Comparisons, signs and indices have no derivative, so they count as constants.

What it is not: no rule of differentiation, and no rewriting: `without_shifts` only names edges that need no pull. Why a file: reverse mode asks for it while an
adjoint is recorded for a compiler or another derivative; a witness under judgement never does.
"""
import heapq
import math

import numpy as np

from .nodes import Node
from .vocabulary.contraction import subscripts
from .vocabulary.indexing import Slot, expand

LARGEST = 200              # nodes that one maximum may reach before the proof is given up: the search stays linear


def without_shifts(order, outputs):
    """{(id of a node, slot)}: the operands that are a maximum without influence on the outputs, as frozenset.

    order: nodes in topological order. outputs: those of them that are differentiated. Values are not looked at.

    >>> import numpy as np
    >>> from diffeng.nodes import Tracing, reachable
    >>> x = Tracing().input(None, "x", (3,), np.float64)
    >>> e = np.exp(x - np.max(x))
    >>> [len(without_shifts(reachable([y.node]), [y.node])) for y in (e / np.sum(e), e)]
    [1, 0]
    """
    tops = [n for n in order if n.primitive.name in ("max", "min") and n.dtype.kind == "f"]
    if not tops:
        return frozenset()
    readers = {}
    for n in order:
        for slot, x in enumerate(n.operands):
            if type(x) is Node and n.primitive.differentiable(slot) and n.dtype.kind == "f":
                readers.setdefault(id(x), []).append((n, slot))
    same, last = {}, {id(n) for n in outputs}
    for m in tops:                                 # a maximum that was written twice is one
        same.setdefault((m.primitive.name, id(m.operands[0]), *m.params.items()), []).append(m)
    return frozenset([(id(n), slot) for maxima in same.values() if _invariant(maxima, readers, last) for m in maxima for n, slot in readers.get(id(m), ())])


class _Unknown(Exception):
    """The proof ends here."""


class _State:
    """v + k c, or v exp(k c) if scale. along[i]: the axis of m along which c varies with axis i of v, or None where it does not. A part of an axis is another
    axis, named by what was taken. Every axis along which c varies stands in `along`: two states with the same `along` meet the same c."""

    __slots__ = ("scale", "k", "along")

    def __init__(self, scale, k, along):
        self.scale, self.k, self.along = scale, k, tuple(along)

    def times(self, k):
        return _State(self.scale, self.k * k, self.along)

    def over(self, along):
        return _State(self.scale, self.k, along)

    def only(self, scale):
        """This state, if it is of that kind."""
        if self.scale is not scale:
            raise _Unknown
        return self

    def like(self, other, same_k=True):
        """Is the other of the same kind, with the same c (and the same k)?"""
        if self.scale is not other.scale or self.along != other.along or same_k and self.k != other.k:
            raise _Unknown
        return self


def _invariant(maxima, readers, outputs):
    """Do none of the outputs move with this maximum (nodes of equal value)? Its readers, theirs, ... in topological order, as far as there are states."""
    states = {id(m): _State(False, _fraction(1), [k if n > 1 else None for k, n in enumerate(m.shape)]) for m in maxima}
    met, ahead = set(states), [(m.serial, id(m), m) for m in maxima]
    while ahead:
        n = heapq.heappop(ahead)[2]
        if n not in maxima:
            try:
                state = _state(n, states)
            except _Unknown:
                return False
            if state is None or state.k == 0:
                continue
            states[id(n)] = state
        if id(n) in outputs or len(met) > LARGEST:
            return False
        for reader in readers.get(id(n), ()):
            if id(reader[0]) not in met:
                met.add(id(reader[0]))
                heapq.heappush(ahead, (reader[0].serial, id(reader[0]), reader[0]))
    return True


def _state(n, states):
    """The state of a node whose operands' states are known; None: it does not move."""
    found = [states.get(id(x)) if n.primitive.differentiable(slot) else None for slot, x in enumerate(n.operands)]
    rule = RULES.get(n.primitive.name)
    if rule is None:
        raise _Unknown
    if n.primitive.kind == "map":                  # broadcasting aligns axes from the right
        found = [s and s.over((None,) * (len(n.shape) - len(s.along)) + s.along) for s in found]
    return rule(n, *found)


# ---- elementwise ---------------------------------------------------------------------------------------------------------------

def _number(x):
    """A finite Python or NumPy number as a fraction."""
    if not isinstance(x, (int, float, np.floating)) or isinstance(x, bool) or not math.isfinite(x):
        raise _Unknown
    return _fraction(x if isinstance(x, int) else float(x))


def _fraction(x, below=1):
    from fractions import Fraction           # 2 ms of a first call, where there is a maximum
    return Fraction(x) / below


def _add(n, s, t, sign=1):
    if s is None:
        return t.only(False).times(sign)
    if t is None:
        return s.only(False)
    return s.like(t) if s.scale else _State(False, s.like(t, False).k + sign * t.k, s.along)


def _multiply(n, s, t):
    if s is not None and t is not None:
        return _State(True, s.like(t, False).only(True).k + t.k, s.along)
    one, other = (s, n.operands[1]) if t is None else (t, n.operands[0])
    return one if one.scale else one.times(_number(other))


def _power(n, s, t):
    if s is None or t is not None:
        raise _Unknown
    return s.only(True).times(_number(n.operands[1]))


def _divide(n, s, t):
    if s is not None and t is not None:
        return _State(True, s.like(t, False).only(True).k - t.k, s.along)
    if s is None:
        return t.only(True).times(-1)
    if s.scale:
        return s
    if _number(n.operands[1]) == 0:
        raise _Unknown
    return s.times(1 / _number(n.operands[1]))


def _alike(n, *found):
    """Both move alike, whichever is taken; or one is a number that moves like anything: 0 is 0 exp(k c), and -inf is -inf + k c."""
    moving = [s for s in found if s is not None]
    for x, s in zip(n.operands[-2:], found):
        if s is None and not (isinstance(x, (int, float, np.floating)) and (x == 0 if moving[0].scale else math.isinf(x))):
            raise _Unknown
    return moving[0].like(moving[-1])


# ---- reductions and index maps ------------------------------------------------------------------------------------------------------

def _reduced(n, s, k=1):
    """A reduction along axes where c does not vary."""
    axis = n.params["axis"]
    if any([s.along[i] is not None for i in axis]):
        raise _Unknown
    return s.over([a for i, a in enumerate(s.along) if n.params["keepdims"] or i not in axis]).times(k)


def _count(n):
    return math.prod([n.operands[0].shape[i] for i in n.params["axis"]])


def _reshape(n, s):
    """Axes that stay whole keep their names; those that are split or melted must have none."""
    old = [(m, a) for m, a in zip(n.operands[0].shape, s.along) if m != 1]
    new = [k for k, m in enumerate(n.shape) if m != 1]
    if 0 in n.shape or any([m == 1 and a is not None for m, a in zip(n.operands[0].shape, s.along)]):
        raise _Unknown
    along, i, j = [None] * len(n.shape), 0, 0
    while i < len(old):
        left, right, names, first = old[i][0], n.shape[new[j]], [old[i][1]], new[j]
        i, j = i + 1, j + 1
        whole = left == right
        while left != right:
            if left < right:
                left, names, i = left * old[i][0], names + [old[i][1]], i + 1
            else:
                right, j = right * n.shape[new[j]], j + 1
        if whole:
            along[first] = names[0]
        elif any([a is not None for a in names]):
            raise _Unknown
    return s.over(along)


def _getitem(n, s, *_):
    x, index = n.operands[0], n.params["index"]
    if not all([type(i) in (slice, int, type(None), type(Ellipsis), Slot) for i in index]):
        raise _Unknown
    index = expand(index, len(x.shape))
    arrays = any([type(i) is Slot for i in index])
    block = [k for k, i in enumerate(index) if type(i) is Slot or arrays and type(i) is int]
    if block and block[-1] - block[0] >= len(block):                # NumPy puts the axes of arrays that stand apart first
        raise _Unknown
    ranks = [len(a.shape) for a in n.operands[1:]]
    along, axis, drawn = [], 0, [None] * max(ranks, default=0)
    for k, i in enumerate(index):
        if i is Ellipsis:
            continue
        name = None if i is None else s.along[axis]
        if i is None:
            along.append(None)
        elif type(i) is slice:
            part = i.indices(x.shape[axis])
            along.append(name if name is None or part == (0, x.shape[axis], 1) else (name, part))
        elif name is not None:
            place, name = _gathered(name, x.shape[axis], n.operands[1 + i.k]) if type(i) is Slot else (None, None)
            if place is None or any([a is not None for a in drawn]):
                raise _Unknown
            drawn[place] = name
        axis += i is not None
        if block and k == block[-1]:
            along += drawn
    return s.over(along)


def _gathered(name, length, array):
    """(which axis from the right varies, its name) of an axis read through an array of integers: 0, 1, 2, ... reads it as it is."""
    long = [k - len(array.shape) for k, m in enumerate(array.shape) if m != 1]
    if len(long) != 1:
        return None, None
    straight = type(array) is np.ndarray and np.array_equal(array.ravel(), np.arange(length))
    return long[0], name if straight else (name, id(array))


def _contract(n, *found):
    """Sums of products with one factor that moves: along what is not summed."""
    moving = [(k, s) for k, s in enumerate(found) if s is not None]
    if len(moving) > 1:
        raise _Unknown
    (slot, s), = moving
    s.only(True)
    inputs, out = subscripts(n.primitive.name, [len(np.shape(x)) for x in n.operands], n.params).split("->")
    term = inputs.split(",")[slot]
    names = dict(zip(term, s.along))
    if len(names) < len(term) or any([a is not None and c not in out for c, a in names.items()]):
        raise _Unknown
    return s.over([names.get(c) for c in out])


# ---- the book: a primitive -> (n, states of the operands) -> state of n. Whatever is not here ends the proof. ------------------------------

RULES = {
    "add":          _add,
    "subtract":     lambda n, s, t: _add(n, s, t, -1),
    "multiply":     _multiply,
    "divide":       _divide,
    "negative":     lambda n, s: s if s.scale else s.times(-1),
    "exp":          lambda n, s: _State(True, s.only(False).k, s.along),
    "log":          lambda n, s: _State(False, s.only(True).k, s.along),
    "square":       lambda n, s: s.only(True).times(2),
    "sqrt":         lambda n, s: s.only(True).times(_fraction(1, 2)),
    "reciprocal":   lambda n, s: s.only(True).times(-1),
    "absolute":     lambda n, s: s.only(True),
    "power":        _power,
    "logaddexp":    lambda n, s, t: _alike(n, s, t).only(False),
    "maximum":      _alike,
    "minimum":      _alike,
    "where":        lambda n, c, s, t: _alike(n, s, t),
    "astype":       lambda n, s: s,
    "copy":         lambda n, s: s,
    "sum":          lambda n, s: _reduced(n, s, 1 if s.scale else _count(n)),
    "mean":         _reduced,
    "max":          _reduced,
    "min":          _reduced,
    "prod":         lambda n, s: _reduced(n, s.only(True), _count(n)),
    "logsumexp":    lambda n, s: _reduced(n, s.only(False)),
    "var":          lambda n, s: _reduced(n, s, 2 if s.scale else 0),
    "reshape":      _reshape,
    "transpose":    lambda n, s: s.over([s.along[k] for k in n.params["axes"]]),
    "broadcast_to": lambda n, s: s.over((None,) * (len(n.shape) - len(s.along)) + s.along),
    "getitem":      _getitem,
    **dict.fromkeys("matmul dot tensordot einsum".split(), _contract),
}
