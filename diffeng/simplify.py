"""Simplify: a graph rewritten before it is compiled: shared subexpressions, identities of arithmetic, views and sums in their shortest form.

What it is: `simplify(outputs)`: two walks in topological order. The first applies IDENTITIES and shares what is equal (hash-consing: a node's key is its
primitive, operands and parameters); the second, which knows how often a node is read, applies CONTRACTIONS, where one of them applies at all. Every rule is
one line of a table with its reason.

What it is not: no tidying for readers (formulas/tidying.py), no fusing (kernels/). The result is for evaluation only: stop_gradient is gone from it, so it must
not be differentiated. Values of nodes are never looked at, and arrays are constants by identity: whoever holds one may still write into it.

Exact: the rules of IDENTITIES keep every bit, for infinities, signed zeros and subnormals too (which NaN a NaN is, IEEE 754 leaves open). The exceptions, marked ~,
are at least as accurate and no dearer. CONTRACTIONS change the order of a sum, as any compiler of sums does.
"""
import collections
import itertools
import math
import sys

import numpy as np

from . import contractions
from .constants import Exact
from .contractions import floats as _floats, inner as _inner, shape_of as _shape
from .index_maps import added_neighbours, neighbours, part_beside, part_of_gather, part_of_part, part_of_scatter, put, put_at_part, put_twice, spans
from .lengths import part
from .nodes import CONSTANT, INPUT, Node, Outputs, Primitive, reachable
from .vocabulary.indexing import Slot
from .vocabulary.reductions import sum_of_equal
from .vocabulary.shaping import broadcast_shapes, is_repeated

PARTS = 64                # operands of a merged concatenation


def simplify(outputs):
    """Nodes that compute the same as these with fewer operations: the same shapes and dtypes, the same input nodes, frames of the user's lines.

    outputs: Nodes, or constants, which pass as they are. Linear in the number of nodes.

    >>> import numpy as np
    >>> from diffeng.nodes import Tracing
    >>> x = Tracing().input(None, "x", (3,), np.float64)
    >>> simplify([(np.sin(x) * 1.0 + -(-np.sin(x))).node, 2.0])
    [<add (3,) float64>, 2.0]
    >>> [n.primitive.name for n in reachable(simplify([(np.sin(x) * 1.0 + -(-np.sin(x))).node]))]
    ['input', 'sin', 'add']
    """
    outputs = _Walk(IDENTITIES).over(outputs)
    order = reachable(outputs)
    asked = [n for n in order if n.primitive.name in _CONTRACTED]
    if asked:
        uses = collections.Counter(map(id, itertools.chain(outputs, *[n.operands for n in order])))
        if _Walk(CONTRACTIONS, uses=uses, results=outputs).finds(asked):                  # mostly it does not, and a walk takes as long as the first one
            return _Walk(IDENTITIES, CONTRACTIONS, uses=uses, results=outputs).over(outputs)
    return outputs


class _Walk:
    """One walk: `known` holds a node for every key, `uses` how often each node of the graph walked is read, `results` its outputs, by id."""

    def __init__(self, *tables, uses=None, results=()):
        self._rows, self._chosen = [row for table in tables for row in table], {}
        self.known, self.uses, self.results = {}, uses, {id(x): x for x in results}
        self._frozen, self.written = {}, {}  # id of parameters -> (these, their key); see index_maps.part_beside

    def over(self, outputs):
        now = {}
        for node in reachable(outputs):
            operands = [now[x] if type(x) is Node else uniform(x) if type(x) is np.ndarray else x for x in node.operands]
            # Made anew even if nothing changed: nodes are ordered by when they were made, and this order is to stay what it was.
            again = node.on(operands) if operands else node
            if id(node) in self.results:
                self.results[id(again)] = again
            now[node] = found = self.settle(again)
            if self.uses is not None:
                self.uses.setdefault(id(found), self.uses.get(id(node), 0))
        return Outputs([_as_node(now[n], n) if isinstance(n, Node) else n for n in outputs])

    def finds(self, nodes):
        """Does a rule apply to any of these?"""
        return any(rule(self, n, *n.operands) is not None for n in nodes for rule in self._asked(n))

    def settle(self, n):
        """The simplest thing known to be equal to n: a Node, or a NumPy scalar. A rule's answer has n's dtype, or it is none; its shape is spread to n's."""
        if n.primitive is INPUT:
            return n
        for rule in self._asked(n):
            found = rule(self, n, *n.operands)
            if found is not None and getattr(found, "dtype", None) == n.dtype:
                return found if found.shape == n.shape else self.make(n, "broadcast_to", found, params={"shape": n.shape})
        return self.known.setdefault(self._key(n), n)

    def _key(self, n):
        """By what n is known: equal keys, equal values."""
        name, floating = n.primitive.name if n.primitive.own is None else n.primitive, n.dtype.kind == "f"
        operands = [x if type(x) is Node else _frozen(x, floating) for x in n.operands]
        if name in _COMMUTE:
            operands.sort(key=hash)
        if not n.params:
            return name, n.dtype, *operands
        held = self._frozen.get(id(n.params))
        if held is None:
            held = self._frozen[id(n.params)] = n.params, tuple([(k, _frozen(v)) for k, v in n.params.items()])
        return name, n.dtype, *operands, held[1]

    def _asked(self, n):
        kinds = (n.primitive, *[x.primitive if type(x) is Node else None for x in n.operands])
        rules = self._chosen.get(kinds)
        if rules is None:
            rules = self._chosen[kinds] = self._rules(n)
        return rules

    def _rules(self, n):
        """Those that may apply to what reads such operands: a row's last entry says which it asks for."""
        met = {x.primitive.name if type(x) is Node else "number" for x in n.operands}
        rows = [row for row in self._rows if row[0] == n.primitive.name]
        rows = [*[(None, None, *row) for row in _ELEMENTWISE], *rows] if n.primitive.kind == "map" else rows
        return tuple([rule for _, _, rule, *asked in rows if not asked or not met.isdisjoint(asked[0].split())])

    def make(self, n, name, *operands, params=None, shape=None, dtype=None):
        """The result of another primitive in the place of n (its shape and dtype, unless told), simplified."""
        return self.settle(Node(Primitive.registry[name], operands, params or {}, None, n.shape if shape is None else tuple(shape), dtype or n.dtype, n.frames))

    def once(self, x, *names):
        """Is x a node of such a primitive that is read once, so that taking it apart computes nothing twice?"""
        return type(x) is Node and x.primitive.name in names and self.uses is not None and self.uses.get(id(x), 0) == 1


# ---- keys -------------------------------------------------------------------------------------------------------------------------

_COMMUTE = ("add", "multiply")


def _frozen(x, floating=False):
    """A key: nodes and arrays by identity, numbers by type and bits. Beside floats 2 is 2.0."""
    kind = type(x)
    if kind is Node or kind is np.ndarray:
        return id(x)
    if kind is float or floating and kind is int and abs(x) < 2 ** 53:
        return "float", float(x).hex()
    if isinstance(x, np.generic):
        return x.dtype, x.tobytes()
    if isinstance(x, float):
        return kind, float(x)
    if kind is tuple or kind is list:
        return tuple([_frozen(i) for i in x])
    if kind is slice:
        return "slice", x.start, x.stop, x.step
    if kind is Exact:
        return "Exact", x.name
    return (kind, x) if isinstance(x, (int, np.dtype)) or kind in (str, type(None), type(Ellipsis), Slot) else id(x)


# ---- what rules ask ------------------------------------------------------------------------------------------------------------------

def _number(x):
    """A scalar as a number that can be computed with, else None. Python's stay Python's: float32 stays float32 beside them."""
    return float(x) if type(x) in (int, float, Exact) else x if isinstance(x, (float, np.floating)) else None


def _is(x, value):
    """Is it this number, down to the sign of zero? A Python or NumPy scalar, not an array, which may be written into."""
    x = _number(x)
    return x is not None and x == value and math.copysign(1, x) == math.copysign(1, value)


def uniform(array, least=2):
    """A broadcast scalar of so many entries that nobody else can write into, such as the cotangent of a sum, as the Node of that broadcast; any other array as it is."""
    if array.size >= least and not any(array.strides) and not array.flags.writeable and type(array.base) is np.ndarray and array.base.size == 1 \
            and sys.getrefcount(array.base) <= 2:                # the view's and this call's: no one else has it
        return Node(Primitive.registry["broadcast_to"], (array[(0,) * array.ndim],), {"shape": array.shape}, None, array.shape, array.dtype, ())
    return array


def _as_node(x, like):
    """A constant result as a Node."""
    return x if type(x) is Node else Node(CONSTANT, (x,), {}, x, like.shape, like.dtype, like.frames)


def _subtraction(walk, n, name, x, y):
    y = _inner(y, "negative")
    return None if y is None or not _floats(n) else walk.make(n, name, x, y)


def _without(walk, n, x, y):
    """x + (zeros with -a in them) = x - (zeros with a in them)."""
    a = _inner(_inner(y, "scatter"), "negative")
    if a is None or len(y.operands) > 1 or not _floats(n) or y.dtype != n.dtype:
        return None
    return walk.make(n, "subtract", x, walk.make(y, "scatter", a, params=y.params))


def _negation(walk, n, x):
    return walk.make(n, "negative", x, shape=_shape(x), dtype=n.dtype) if _floats(n) and x.dtype == n.dtype else None


def _view_of(walk, n, x):
    y = _inner(x, n.primitive.name)
    return None if y is None else walk.make(n, n.primitive.name, y, params=n.params)


# ---- rules of more than a line: (walk, n, *operands) -> what n is, or None ----------------------------------------------------------------

def _fold(walk, n, *operands):
    if any([type(x) is Node or type(x) is np.ndarray for x in operands]):
        return None
    with np.errstate(all="ignore"):
        return np.asarray(n.primitive.compute([x.value if type(x) is Exact else x for x in operands], n.params))[()]


def _spread_last(walk, n, *operands):
    small = [x.operands[0] if _inner(x, "broadcast_to") is not None else x for x in operands]
    if all([a is b for a, b in zip(small, operands)]):
        return None
    return walk.make(n, n.primitive.name, *small, params=n.params, shape=broadcast_shapes([*map(_shape, small)]))


def _minus_out(walk, n, x, y):
    """(-x) y and x (-y), x / (-y) too: rounding is symmetric. A number takes the sign; else the product is negated, if that costs no more than it did."""
    a, b, name = _inner(x, "negative"), _inner(y, "negative"), n.primitive.name
    if a is not None and b is not None:
        return walk.make(n, name, a, b)
    if a is not None:
        c = _number(y)
        return walk.make(n, name, a, -c) if c is not None else walk.make(n, "negative", walk.make(n, name, a, y)) if a.shape == n.shape else None
    if b is not None:
        c = _number(x)
        return walk.make(n, name, -c, b) if c is not None else walk.make(n, "negative", walk.make(n, name, x, b)) if b.shape == n.shape else None
    return None


def _minus_in(walk, n, x):
    """-(x c) = x (-c), and so for quotients."""
    if type(x) is not Node or x.primitive.name not in ("multiply", "divide") or not _floats(x):
        return None
    a, b = x.operands
    c, d = _number(a), _number(b)
    return walk.make(n, x.primitive.name, -c, b) if c is not None else walk.make(n, x.primitive.name, a, -d) if d is not None else None


def _doubled(walk, n, x, c):
    """(x 2) c = x (2 c) for c from 1 on: what overflows in the middle overflows at the end. A smaller c, or one half, loses digits of subnormals. (Other powers
    of two would be as exact, but may be somebody's size: another shape is to compile nothing, and so n does not divide by multiplying where it is one.)"""
    d = _number(c)
    if d is None or not 1 <= abs(d) < math.inf or _inner(x, "multiply") is None or not _floats(x):
        return None
    for a, b in (x.operands, x.operands[::-1]):
        e = _number(b)
        if e is not None and abs(e) == 2 and abs(d * e) <= np.finfo(n.dtype).max:
            return walk.make(n, "multiply", a, d * e)
    return None


def _cast_of_cast(walk, n, x):
    y = _inner(x, "astype")
    if type(y) is Node and n.dtype.kind == "f" and x.dtype.kind == "f" and (y.dtype.kind == "b" or y.dtype.kind == "f" and y.dtype.itemsize <= x.dtype.itemsize):
        return y if y.dtype == n.dtype else walk.make(n, "astype", y, params=n.params)
    return None


def _one_plus_erf(walk, n, x, u, minus):
    """1 + erf(u) has no digits for u << 0, and 1 - erf(u) none for u >> 0; erfc has them all."""
    if not _is(x, 1.0) or u is None or u.dtype != n.dtype:
        return None
    return walk.make(n, "erfc", u if minus else walk.make(n, "negative", u))


class _Compiled(Primitive):
    """What kernels can do at once. Nobody records it, so it stands in no registry and in no book."""

    __slots__ = ()

    def __init__(self, name, evaluate):
        self.name, self.evaluate, self.kind, self.slots, self.domain, self.infer, self.own = name, evaluate, "map", (), None, None, None


_ERFC_OF = {"divide": _Compiled("erfc_of_quotient", lambda x, c: Primitive.registry["erfc"](x / c)),
            "multiply": _Compiled("erfc_of_product", lambda x, c: Primitive.registry["erfc"](x * c))}


def _erfc_of(walk, n, u):
    """erfc(u) loses 2 u^2 ULP by the rounding of u = x / c or x c: GELU's argument."""
    if type(u) is not Node or u.primitive.name not in _ERFC_OF or not _floats(u) or u.dtype != n.dtype:
        return None
    x, c = u.operands if u.primitive.name == "divide" or _number(u.operands[1]) is not None else u.operands[::-1]
    return walk.settle(Node(_ERFC_OF[u.primitive.name], (x, c), {}, None, n.shape, n.dtype, n.frames)) if type(x) is Node and _number(c) is not None else None


def _pick(walk, n, c, x, y):
    """A choice within a choice by the same condition is made already."""
    a = x.operands[1] if _inner(x, "where") is c and x.dtype == n.dtype else x
    b = y.operands[2] if _inner(y, "where") is c and y.dtype == n.dtype else y
    if a is b and type(a) is Node:
        return a
    return walk.make(n, "where", c, a, b, shape=broadcast_shapes([*map(_shape, (c, a, b))])) if a is not x or b is not y else None


def _transposed_twice(walk, n, x):
    y = _inner(x, "transpose")
    return None if y is None else walk.make(n, "transpose", y, params={"axes": tuple([x.params["axes"][k] for k in n.params["axes"]])})


def _negated_view(walk, n, x, *arrays):
    y = _inner(x, "negative")
    return None if y is None or not _floats(n) else walk.make(n, "negative", walk.make(n, n.primitive.name, y, *arrays, params=n.params))


def _whole(n, shape):
    """Is the index of n a run of plain slices that leave everything of this shape?"""
    return n.shape == shape and _is_all(n.params["index"], shape)


def _is_all(index, shape):
    parts = spans(index, shape)
    return parts is not None and all([s == part(slice(None), k) for s, k in zip(parts, shape)])


def _everywhere(walk, n, x):
    """x, or x without the axes of length 1 that the index of the scatter n takes for new ones, where the rest of the index leaves everything."""
    if math.prod(_shape(x)) != math.prod(n.shape) or not _is_all(tuple([i for i in n.params["index"] if i is not None]), n.shape):
        return None
    return x if _shape(x) == n.shape else walk.make(n, "reshape", x, params={"shape": n.shape})


def _is_column(n, x):
    """Is n x[..., 0], or x[:, 0], where x has one entry along its last axis?"""
    index = n.params["index"]
    return _shape(x) == (*n.shape, 1) and type(index) is tuple and type(index[-1]) is int and not index[-1] and \
        all([k is Ellipsis or type(k) is slice and k == slice(None) for k in index[:-1]])


def _joined(walk, n, *parts):
    if len(parts) == 1:
        return parts[0]
    flat = []
    for p in parts:
        inside = _inner(p, "concatenate") is not None and p.params["axis"] == n.params["axis"] and p.dtype == n.dtype
        flat += p.operands if inside else [p]
    return walk.make(n, "concatenate", *flat, params=n.params) if len(parts) < len(flat) <= PARTS else None


def _stacked(walk, n, *parts):
    axis, shape = n.params["axis"], _shape(parts[0])
    longer = (*shape[:axis], 1, *shape[axis:])
    pieces = [walk.make(n, "reshape", p, params={"shape": longer}, shape=longer, dtype=p.dtype) if type(p) is Node else np.reshape(p, longer) for p in parts]
    return walk.make(n, "concatenate", *pieces, params={"axis": axis})


def _sum_of_spread(walk, n, x):
    """A sum along axes that were stretched is a multiple: one rounding in place of many."""
    y, axis = _inner(x, "broadcast_to"), n.params["axis"]
    if y is None or not _floats(n) or x.dtype != n.dtype or 0 in x.shape:
        return None
    extra = len(x.shape) - len(_shape(y))
    stretched = [k for k in axis if k < extra or is_repeated(_shape(y)[k - extra], x.shape[k])]
    if not stretched:
        return None
    rest = tuple([k - extra for k in axis if k not in stretched])
    if rest:
        y = walk.make(n, n.primitive.name, y, params={"axis": rest, "keepdims": True}, shape=[1 if k in rest else m for k, m in enumerate(_shape(y))])
    if n.primitive.name == "sum":
        count = float(math.prod([x.shape[k] for k in stretched]))
        y = sum_of_equal(y, count) if isinstance(y, np.floating) else walk.make(n, "multiply", y, count, shape=_shape(y))
    shape = tuple([m for k, m in enumerate((1,) * extra + _shape(y)) if n.params["keepdims"] or k not in axis])
    return walk.make(n, "reshape", y, params={"shape": shape}, shape=shape)


def _sum_of_one(walk, n, x):
    alone = x.dtype == n.dtype and all([x.shape[k] == 1 for k in n.params["axis"]])
    return walk.make(n, "reshape", x, params={"shape": n.shape}) if alone else None


# ---- the tables: (primitive, what is equal and why, rule, operands of which one must be there: primitives, or a number) -----------------------------

_ELEMENTWISE = (
    (_fold,         "number"),                          # of numbers: NumPy computes it here
    (_spread_last,  "broadcast_to"),                    # f(spread x) = spread f(x): fewer entries, and elementwise operations spread by themselves
)

IDENTITIES = (
    # ---- signs and units
    ("negative",     "--x = x",                         lambda w, n, x: _inner(x, "negative"), "negative"),
    ("negative",     "-(x c) = x (-c)",                 lambda w, n, x: _floats(n) and _minus_in(w, n, x) or None, "multiply divide"),
    ("add",          "x + -y = x - y",                  lambda w, n, x, y: _subtraction(w, n, "subtract", x, y), "negative"),
    ("add",          "-x + y = y - x",                  lambda w, n, x, y: _subtraction(w, n, "subtract", y, x), "negative"),
    ("add",          "x + part of -y = x - part of y, ~ 0 + -0 was 0", lambda w, n, x, y: _without(w, n, x, y) or _without(w, n, y, x), "scatter"),
    ("add",          "x + -0 = x; +0 would make +0 of -0", lambda w, n, x, y: x if _is(y, -0.0) else y if _is(x, -0.0) else None, "number"),
    ("subtract",     "x - -y = x + y",                  lambda w, n, x, y: _subtraction(w, n, "add", x, y), "negative"),
    ("subtract",     "x - 0 = x",                       lambda w, n, x, y: x if _is(y, 0.0) else None, "number"),
    ("multiply",     "x 1 = x",                         lambda w, n, x, y: x if _is(y, 1) else y if _is(x, 1) else None, "number"),
    ("multiply",     "x (-1) = -x",                     lambda w, n, x, y: _negation(w, n, x) if _is(y, -1) else None, "number"),
    ("multiply",     "(-1) x = -x",                     lambda w, n, x, y: _negation(w, n, y) if _is(x, -1) else None, "number"),
    ("multiply",     "(-x) y = -(x y)",                 lambda w, n, x, y: _floats(n) and _minus_out(w, n, x, y) or None, "negative"),
    ("multiply",     "(x 2) c = x (2 c)",               lambda w, n, x, y: _floats(n) and (_doubled(w, n, x, y) or _doubled(w, n, y, x)) or None, "number"),
    ("multiply",     "x x = square(x): one operand is read", lambda w, n, x, y: w.make(n, "square", x) if x is y and _floats(n) else None),
    ("divide",       "x / 1 = x",                       lambda w, n, x, y: x if _is(y, 1) else None, "number"),
    ("divide",       "(-x) / y = -(x / y)",             lambda w, n, x, y: _floats(n) and _minus_out(w, n, x, y) or None, "negative"),
    ("power",        "x**1 = x",                        lambda w, n, x, y: x if _is(y, 1) else None, "number"),
    ("power",        "x**2 = square(x), ~ rounded once", lambda w, n, x, y: w.make(n, "square", x) if _is(y, 2) and _floats(n) else None, "number"),
    # ---- digits
    ("add",          "1 + erf(u) = erfc(-u), ~ with its digits", lambda w, n, x, y: _one_plus_erf(w, n, x, _inner(y, "erf"), False), "erf"),
    ("add",          "erf(u) + 1 = erfc(-u), ~ likewise", lambda w, n, x, y: _one_plus_erf(w, n, y, _inner(x, "erf"), False), "erf"),
    ("subtract",     "1 - erf(u) = erfc(u), ~ likewise", lambda w, n, x, y: _one_plus_erf(w, n, x, _inner(y, "erf"), True), "erf"),
    ("erfc",         "erfc(x / c), erfc(x c), ~ with the digits that rounding the argument costs", _erfc_of, "divide multiply"),
    # ---- the same value
    ("copy",         "values never change",             lambda w, n, x: x),
    ("stop_gradient", "and nobody differentiates here", lambda w, n, x: x),
    ("astype",       "to its own dtype",                lambda w, n, x: x),
    ("astype",       "through a wider format: nothing is lost there", lambda w, n, x: _cast_of_cast(w, n, x), "astype"),
    ("where",        "the same condition twice, or twice the same", _pick),
    ("where",        "-x where the sign is set, else x: |x|, as adjoints write it that have to be differentiable at 0",
     lambda w, n, c, x, y: w.make(n, "absolute", y) if _inner(c, "signbit") is y is _inner(x, "negative") and n.dtype.kind == "f" else None,
     "signbit"),
    # ---- index maps
    ("reshape",      "to its own shape",                lambda w, n, x: x if _shape(x) in ((), n.shape) else None),
    ("reshape",      "reshape of reshape",              lambda w, n, x: _view_of(w, n, x), "reshape"),
    ("broadcast_to", "to its own shape",                lambda w, n, x: x if _shape(x) == n.shape else None),
    ("broadcast_to", "spread of spread",                lambda w, n, x: _view_of(w, n, x), "broadcast_to"),
    ("transpose",    "transpose of transpose",          _transposed_twice, "transpose"),
    ("transpose",    "in order",                        lambda w, n, x: x if n.params["axes"] == tuple(range(len(n.shape))) else None),
    ("getitem",      "all of it",                       lambda w, n, x, *i: x if not i and _whole(n, _shape(x)) else None),
    ("getitem",      "the one entry along the last axis", lambda w, n, x, *i: w.make(n, "reshape", x, params={"shape": n.shape}) if not i and _is_column(n, x) else None),
    ("getitem",      "x[a][b] = x[c]",                  part_of_part, "getitem"),
    ("getitem",      "what a scatter put there",        part_of_scatter, "scatter"),
    ("getitem",      "what was written, or written elsewhere", part_beside, "setitem"),
    ("scatter",      "put everywhere",                  lambda w, n, x, *i: None if i else _everywhere(w, n, x)),
    ("scatter",      "of a scatter",                    put_twice, "scatter"),
    ("add",          "neighbours put into zeros, ~ 0 + -0 was 0", neighbours, "scatter"),
    ("pad",          "put among zeros, where it is zeros that are added", lambda w, n, x: put(w, n, x) if _is(n.params["value"], 0) else None),
    ("concatenate",  "of concatenations; of one",       _joined),
    ("stack",        "a concatenation of parts with one more axis", _stacked),
    ("reshape",      "view of -x = -(view of x): the sign may meet a sum", _negated_view, "negative"),
    ("transpose",    "likewise",                        _negated_view, "negative"),
    ("getitem",      "likewise",                        _negated_view, "negative"),
    # ---- reductions
    ("sum",          "over axes of length 1, ~ 0 + -0 was 0", _sum_of_one),
    ("mean",         "likewise",                        _sum_of_one),
    ("sum",          "of -x = -(sum of x)",             lambda w, n, x: _floats(n) and _negated_view(w, n, x) or None, "negative"),
    ("sum",          "of equal entries, ~ rounded once", _sum_of_spread, "broadcast_to"),
    ("mean",         "likewise",                        _sum_of_spread, "broadcast_to"),
)

CONTRACTIONS = (
    *contractions.CONTRACTIONS, *[(name, "neighbours put into zeros, one after the other", added_neighbours, "scatter") for name in ("add", "subtract")],
    ("getitem", "part of what arrays name = what their parts name", part_of_gather, "getitem"), ("scatter", "likewise, of what is added there", put_at_part, "scatter"))
_CONTRACTED = {name for name, *_ in CONTRACTIONS}
