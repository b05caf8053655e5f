"""A graph as mathematics: terms, with the noise of computing taken away.

What it is: one bottom-up pass over a graph that gives every node a `Term`, by constructors that know the few rewritings a reader would make
without thinking: 1*x is x, a + (-b) is a - b, `ij,ik->jk` is A' B, a scatter of scalars is a vector. Equal terms are one object.

What it is not: the arithmetic. A term equals its node as mathematics, not bit by bit (a*(b/c) is shown as a*b/c), so nothing is ever
computed from terms; source_code.py starts from the graph instead. No derivative is known here.

Why a file: __init__.py prints terms in two alphabets, and must not mix what is meant with how it is written.
"""
import math

import numpy as np

from ..constants import Exact
from .products import Products
from ..vocabulary import PRIMITIVES, indexing

# Terms are (op, args, data):
#   name "w"          number 2.5            array "A1"         vector (a, b, c)        broadcast x to a shape
#   add sub mul div neg pow                 call f(x, ...)     compare a > b           where(c, a, b)      iverson [c]
#   matmul A B (a vector is a column)       T A'               sum over axes           index x[...]
#   inverse A^-1                            inverse_T A'^-1
#   reshape, einsum, and anything else as a call with its parameters


class Term:
    __slots__ = ("op", "args", "data", "shape", "serial")

    def __init__(self, op, args, data, shape, serial):
        self.op, self.args, self.data, self.shape, self.serial = op, args, data, shape, serial

    @property
    def scalar(self):
        return math.prod(self.shape) == 1

    def __repr__(self):
        return f"<{self.op} {self.data if self.data is not None else ''} {self.shape}>"


_COMPARISONS = {"less": "<", "less_equal": "≤", "greater": ">", "greater_equal": "≥", "equal": "=", "not_equal": "≠",
                "logical_and": "∧", "logical_or": "∨", "logical_xor": "⊻"}
_REDUCTIONS = "sum mean var prod max min logsumexp any all".split()
_TURNED = {"inverse": "inverse_T", "inverse_T": "inverse"}
_SMALL = 8                      # entries of a vector that is written out


class Terms(Products):
    """The terms of one graph. `of(graph)` fills `outputs`; `arrays` lists constants too large to write: (label, value)."""

    def __init__(self, graph=None):
        self.known, self.arrays = {}, []
        self.outputs = self.of(graph) if graph is not None else []

    # ---- making terms -------------------------------------------------------------------------------------------------

    def make(self, op, args=(), data=None, shape=None, key=None):
        if shape is None:
            shape = np.broadcast_shapes(*[a.shape for a in args])
        key = (op, tuple([a.serial for a in args]), data if key is None else key, tuple(shape))
        term = self.known.get(key)
        if term is None:
            term = self.known[key] = Term(op, tuple(args), data, tuple(shape), len(self.known))
        return term

    def number(self, value):
        if isinstance(value, Exact):
            return self._exact(value)
        value = value.item() if isinstance(value, (np.generic, np.ndarray)) else value
        return self.make("number", (), value, (), key=(type(value).__name__, repr(value)))

    def _exact(self, value):
        if value.name == "pi":
            return self.make("number", (), value, (), key="pi")
        from ..expressions import read
        try:
            tree = read(value.name, self.name, lambda name, *xs: self.map(name, [x if isinstance(x, Term) else self.number(x) for x in xs]))
        except ValueError:                                        # a name that is no formula: shown as it is
            tree = value.name
        return tree if isinstance(tree, Term) else self.name(str(value.name)) if isinstance(tree, str) else self.number(tree)

    def name(self, text, shape=()):
        return self.make("name", (), text, shape)

    def constant(self, value):
        if isinstance(value, Exact) or np.size(value) == 1:
            return self.number(value if isinstance(value, Exact) or np.ndim(value) == 0 else np.reshape(value, ()))
        value = np.asarray(value)
        if value.size and np.all(value == value.flat[0]):
            return self.make("broadcast", (self.number(value.flat[0]),), value.shape, value.shape)
        if value.ndim == 1 and value.size <= _SMALL:
            return self.vector([self.number(v) for v in value])
        for label, known in self.arrays:
            if known.shape == value.shape and (known is value or np.array_equal(known, value)):
                return self.make("array", (), label, value.shape)
            if value.ndim == 2 and known.shape == value.shape[::-1] and np.array_equal(known, value.T):
                return self.transposed(self.make("array", (), label, known.shape))
        self.arrays.append((f"A{len(self.arrays) + 1}", value))
        return self.make("array", (), self.arrays[-1][0], value.shape)

    def vector(self, entries):
        return self.make("vector", entries, None, (len(entries),))

    def call(self, name, args, shape, data=None, key=None):
        return self.make("call", args, (name, data), shape, key=(name, repr(data) if key is None else key))

    # ---- elementwise ---------------------------------------------------------------------------------------------------

    def map(self, name, args):
        """An elementwise primitive of terms; broadcasts that the other operands make anyway are left away."""
        shape = np.broadcast_shapes(*[a.shape for a in args])
        numbers = [a.args[0] if a.op == "broadcast" else a for a in args]
        if numbers != args and all([a.scalar for a in numbers]):
            return self.make("broadcast", (self.map(name, numbers),), shape, shape)
        for k, a in enumerate(args):
            if a.op == "broadcast":
                others = [b.shape for j, b in enumerate(args) if j != k]
                if others and np.broadcast_shapes(a.args[0].shape, *others) == shape:
                    args = [*args[:k], a.args[0], *args[k + 1:]]
        rule = getattr(self, "_" + name, None)
        if rule is not None:
            return rule(*args)
        if name in _COMPARISONS:
            return self.make("compare", args, _COMPARISONS[name])
        return self.call(name, args, np.broadcast_shapes(*[a.shape for a in args]))

    def _same(self, x, *others):
        """x alone may stand for a combination of x and others: it has the whole shape."""
        return np.broadcast_shapes(x.shape, *[o.shape for o in others]) == x.shape

    def _fold(self, a, b, operate):
        """Numbers that combine to a whole number, or None."""
        if a.op == b.op == "number" and all(isinstance(t.data, (int, float)) and math.isfinite(t.data) for t in (a, b)):
            try:
                out = operate(a.data, b.data)
            except ArithmeticError:
                return None
            if float(out).is_integer() and abs(out) < 2 ** 53:
                return self.number(out)
        return None

    def _add(self, a, b):
        if _is(a, 0) and self._same(b, a):
            return b
        if _is(b, 0) and self._same(a, b):
            return a
        if b.op == "neg":
            return self._subtract(a, b.args[0])
        if a.op == "neg":
            return self._subtract(b, a.args[0])
        if a.op == b.op == "vector" and a.shape == b.shape:
            return self.vector([self._add(p, q) for p, q in zip(a.args, b.args)])
        if _below_zero(b):
            return self._subtract(a, self._negative(b))
        return self._gathered(a, b, self._add) or self._fold(a, b, lambda p, q: p + q) or self.make("add", (a, b))

    def _subtract(self, a, b):
        if _is(b, 0) and self._same(a, b):
            return a
        if _is(a, 0) and self._same(b, a):
            return self._negative(b)
        if b.op == "neg":
            return self._add(a, b.args[0])
        if a.op == "neg":
            return self._negative(self._add(a.args[0], b))
        if _below_zero(b):
            return self._add(a, self._negative(b))
        return self._gathered(a, b, self._subtract) or self._fold(a, b, lambda p, q: p - q) or self.make("sub", (a, b))

    def _gathered(self, a, b, combine):
        """A B + A C is A (B + C), and so from the other side; a/n + b/n is (a + b)/n."""
        if a.op == b.op == "div" and a.args[1] is b.args[1] and a.args[0].shape == b.args[0].shape:
            return self._divide(combine(a.args[0], b.args[0]), a.args[1])
        if a.op == b.op == "matmul":
            if a.args[0] is b.args[0] and a.args[1].shape == b.args[1].shape:
                return self.product(a.args[0], combine(a.args[1], b.args[1]), a.shape)
            if a.args[1] is b.args[1] and a.args[0].shape == b.args[0].shape:
                return self.product(combine(a.args[0], b.args[0]), a.args[1], a.shape)
        return None

    def _negative(self, a):
        if a.op == "neg":
            return a.args[0]
        if a.op == "sub" and a.args[0].op != "number":              # -(1 - y) keeps its sign outside: it mostly meets another
            return self._subtract(a.args[1], a.args[0])
        if a.op == "number" and isinstance(a.data, (int, float)) and not isinstance(a.data, bool):
            return self.number(-a.data)
        if a.op == "vector":
            return self.vector([self._negative(p) for p in a.args])
        return self.make("neg", (a,))

    def _multiply(self, a, b):
        if _is(a, 1) and self._same(b, a):
            return b
        if _is(b, 1) and self._same(a, b):
            return a
        for p, q in ((a, b), (b, a)):
            if _below_zero(p) and q.op != "number":                 # signs step in front, where they may meet another
                return self._negative(self._multiply(self._negative(p), q))
            if p.op == "neg":
                return self._negative(self._multiply(p.args[0], q) if p is a else self._multiply(q, p.args[0]))
        folded = self._fold(a, b, lambda p, q: p * q)
        if folded:
            return folded
        if b.op == "number" and a.op != "number":
            a, b = b, a
        if a.op == "div":
            return self._divide(self._multiply(a.args[0], b), a.args[1])
        if b.op == "div":
            return self._divide(self._multiply(a, b.args[0]), b.args[1])
        if a is b:
            return self._square(a)
        if a.op == "number" and b.op == "mul" and b.args[0].op == "number":
            folded = self._fold(a, b.args[0], lambda p, q: p * q)
            if folded:
                return self._multiply(folded, b.args[1])
        if b.op == "mul" and b.args[0].op == "number" and a.op != "number":          # numbers lead
            return self._multiply(b.args[0], self._multiply(a, b.args[1]))
        for p, q in ((a, b), (b, a)):               # a column times a row
            if p.op == "reshape" and p.args[0].shape == (p.shape[0],) and p.shape[1:] == (1,) and len(q.shape) in (1, 2):
                row = q.args[0] if q.op == "reshape" and q.shape[0] == 1 and len(q.args[0].shape) == 1 else q
                if len(row.shape) == 1 and row.shape[0] > 1 and p.shape[0] > 1:
                    return self.product(p.args[0], self.transposed(row), (p.shape[0], row.shape[0]))
        return self.make("mul", (a, b))

    def _divide(self, a, b):
        if _is(b, 1) and self._same(a, b):
            return a
        if a.op == "neg":
            return self._negative(self._divide(a.args[0], b))
        if b.op == "neg":
            return self._negative(self._divide(a, b.args[0]))
        if a.op == "div":
            return self._divide(a.args[0], self._multiply(a.args[1], b))
        if b.op == "div":
            return self._divide(self._multiply(a, b.args[1]), b.args[0])
        for p, rest in ((a, lambda q: self._divide(q, b)), (b, lambda q: self._divide(a, q))):
            if _below_zero(p) and not (a.op == b.op == "number"):
                return self._negative(rest(self._negative(p)))
        known = self._slope(a, b) or self._softmax(a, b)
        if known is not None:
            return known
        return self._fold(a, b, lambda p, q: p / q) or self.make("div", (a, b))

    def _slope(self, a, b):
        """4 e/(1 + e)^2 with e = exp(-2|z|), or exp(-|z + z|), is the form of 1 - tanh(z)^2 that does not cancel; e/(1 + e)^2 with exp(-|z|) that of
        s (1 - s), s = expit(z)."""
        if not (b.op == "pow" and _is(b.args[1], 2) and b.args[0].op == "add" and _is(b.args[0].args[0], 1)):
            return None
        e = b.args[0].args[1]
        inner = e.args[0].args[0] if e.op == "call" and e.data[0] == "exp" and e.args[0].op == "neg" else None
        outside = inner and half_of(inner)
        z = outside or inner
        if z is None or z.op != "call" or z.data[0] != "absolute":
            return None
        z, factors = z.args[0], _factors(a)
        twice = outside or half_of(z)
        if e not in factors or twice and not any(_is(f, 4) for f in factors):
            return None
        factors.remove(e)
        if twice:
            z = z if outside else twice
            factors.remove(next(f for f in factors if _is(f, 4)))
            slope = self._subtract(self.number(1), self._square(self.map("tanh", [z])))
        else:
            s = self.map("expit", [z])
            slope = self._multiply(s, self._subtract(self.number(1), s))
        out = None
        for f in factors:
            out = f if out is None else self._multiply(out, f)
        return slope if out is None else self._multiply(out, slope)

    def _softmax(self, a, b):
        """exp(z - max(z))/sum(exp(z - max(z))), the form that does not overflow, or with logsumexp(z) in the place of max(z)."""
        if b.op != "sum" or b.args[0] is not a or a.op != "call" or a.data[0] != "exp" or a.args[0].op != "sub":
            return None
        z, top = a.args[0].args
        while top.op in ("reshape", "broadcast") or top.op == "call" and top.data[0] == "stop_gradient":
            top = top.args[0]
        axes, rank = b.data
        over = {} if len(axes) == rank else {"axis": _one(axes)}
        if top.op != "call" or top.data[0] not in ("max", "logsumexp") or top.args[0] is not z or (top.data[1] or {}) != over:
            return None
        return self.call("softmax", (z,), a.shape, over)

    def _expit(self, z):
        turned = self.known.get(("call", (self._negative(z).serial,), ("expit", "None"), z.shape))
        if turned is not None:                                  # the other one is in the formula already
            return self._subtract(self.number(1), turned)
        return self.call("expit", [z], z.shape)

    def _power(self, a, b):
        if _is(b, 1) and self._same(a, b):
            return a
        if _is(b, -1):
            return self._divide(self.number(1), a)
        return self.make("pow", (a, b))

    def _gauss(self, a):
        return self.map("exp", [self._negative(self._square(a))])

    def _square(self, a):
        return self.make("pow", (a, self.number(2)))

    def _reciprocal(self, a):
        return self._divide(self.number(1), a)

    def _copy(self, a):
        return a

    def _barrier(self, a, b):
        return a

    def _where(self, c, a, b):
        if c.op == "call" and c.data[0] == "signbit" and a.op == "neg" and c.args[0] is a.args[0] is b:
            return self.map("absolute", [b])
        return self.make("where", (c, a, b))

    # ---- shapes -----------------------------------------------------------------------------------------------------------

    def reshape(self, a, shape):
        if a.shape == shape or math.prod(shape) == 1 and a.scalar:
            return a
        if a.op == "reshape":
            return self.reshape(a.args[0], shape)
        if a.op == "broadcast" and a.args[0].scalar:
            return self.make("broadcast", a.args, shape, shape)
        return self.make("reshape", (a,), shape, shape)

    def transposed(self, a, axes=None):
        """The last two axes exchanged, or a vector as a row."""
        if a.op == "T" or a.scalar:
            return a.args[0] if a.op == "T" else a
        shape = a.shape if len(a.shape) < 2 else (*a.shape[:-2], a.shape[-1], a.shape[-2])
        if a.op in _TURNED:
            return self.make(_TURNED[a.op], a.args)
        if a.op == "matmul" and any(p.op == "T" for p in a.args):
            return self.product(self.transposed(a.args[1]), self.transposed(a.args[0]), shape)
        if a.op == "broadcast" and a.args[0].scalar:
            return self.make("broadcast", a.args, shape, shape)
        if a.op == "reshape" and len(a.shape) == 2 and len(a.args[0].shape) == 1:
            return self.reshape(a.args[0], shape)
        return self.make("T", (a,), None, shape)

    def index(self, x, arrays, index, shape):
        plain = index[0] if len(index) == 1 else None
        if x.op == "vector" and type(plain) is int:
            return x.args[plain]
        if all(i is Ellipsis or i == slice(None) for i in index if not isinstance(i, np.ndarray)) and not any(isinstance(i, np.ndarray) for i in index):
            return x
        return self.make("index", (x, *arrays), index, shape, key=repr(index))

    def scattered(self, v, arrays, index, shape, out):
        plain = index[0] if len(index) == 1 else None
        if len(out) == 1 and out[0] <= _SMALL and v.scalar and type(plain) is int:
            zero = self.number(0)
            return self.vector([v if k == plain % out[0] else zero for k in range(out[0])])
        return self.call("scatter", (v, *arrays), out, (index, shape), key=repr((index, shape)))

    def joined(self, parts, axis, shape):
        if axis == 0 and len(shape) == 1 and shape[0] <= _SMALL and all(p.shape == (1,) or p.scalar for p in parts) and len(parts) == shape[0]:
            return self.vector([p.args[0] if p.op == "reshape" else p for p in parts])
        return self.call("concatenate", parts, shape, {"axis": axis})

    # ---- the pass over a graph --------------------------------------------------------------------------------------------------

    def of(self, graph):
        done, names = {}, set()
        for k in sorted(graph.nodes):
            node = graph.nodes[k]
            args = [done[u] for u in operands_of(graph, k)]
            done[k] = self.node(node["primitive"], args, node.get("params") or {}, tuple(node["shape"]), node, names)
        return [done[k] for k in graph.outputs]

    def node(self, name, args, params, shape, node, names):
        if name == "input":
            label = str(node.get("name") or params.get("name") or "x")
            names.add(label)
            return self.name(label, shape)
        if name == "constant":
            return self.constant(node["value"])
        if name in ("matmul", "dot", "tensordot", "einsum"):
            return self.contraction(name, args, params, shape)
        if name in PRIMITIVES and PRIMITIVES[name].kind == "linalg":
            return self.of_matrix(name, args, shape, params)
        if name == "sum":
            if not params["axis"]:
                return args[0]
            return self.make("sum", args, (params["axis"], len(args[0].shape)), shape) if not args[0].scalar else self.reshape(args[0], shape)
        if name in _REDUCTIONS:
            over_all = len(params["axis"]) == len(args[0].shape)
            extra = {k: v for k, v in params.items() if k == "ddof" and v}
            return self.call(name, args, shape, {**({} if over_all else {"axis": _one(params["axis"])}), **extra})
        if name == "reshape":
            return self.reshape(args[0], shape)
        if name == "broadcast_to":
            a = args[0]
            if math.prod(shape) == 1:
                return self.reshape(a, shape)
            return a if a.shape == shape else self.make("broadcast", a.args if a.op == "broadcast" and a.args[0].scalar else (a,), shape, shape)
        if name == "transpose":
            axes = params["axes"]
            n = len(axes)
            if tuple(axes) == tuple(range(n)):
                return args[0]
            if n >= 2 and tuple(axes) == (*range(n - 2), n - 1, n - 2):
                return self.transposed(args[0])
            return self.call("transpose", args, shape, {"axes": tuple(axes)})
        if name == "getitem":
            return self.index(args[0], args[1:], params["index"], shape)
        if name == "scatter":
            return self.scattered(args[0], args[1:], params["index"], params["shape"], shape)
        if name == "concatenate":
            return self.joined(args, params["axis"], shape)
        if name == "astype":
            return self.make("iverson", args) if args[0].op == "compare" else args[0]
        if not params and name in PRIMITIVES and PRIMITIVES[name].kind == "map":
            return self.map(name, args)
        return self.call(name, args, shape, params)


def operands_of(graph, k):
    """The nodes at the operand slots of k, in order."""
    return [u for u, _, _ in sorted(graph.in_edges(k, keys=True), key=lambda edge: edge[2])]


def below(outputs):
    """Every term the outputs are made of, parts first."""
    seen, stack = {}, list(outputs)
    while stack:
        t = stack.pop()
        if t.serial not in seen:
            seen[t.serial] = t
            stack.extend(t.args)
    return [seen[s] for s in sorted(seen)]


def index_text(index, arrays):
    """x[...]'s inside as NumPy writes it; arrays: the texts of the integer-array operands."""
    def part(i):
        if isinstance(i, slice):
            text = ":".join("" if j is None else str(j) for j in (i.start, i.stop))
            return text if i.step in (None, 1) else f"{text}:{i.step}"
        if isinstance(i, indexing.Slot):
            return arrays[i.k]
        return "..." if i is Ellipsis else "mask" if isinstance(i, np.ndarray) else str(i)
    return ", ".join(part(i) for i in index)


def _one(axes):
    return axes[0] if len(axes) == 1 else tuple(axes)


def _is(term, value):
    if term.op == "broadcast":
        return _is(term.args[0], value)
    return term.op == "number" and isinstance(term.data, (int, float)) and term.data == value


def _below_zero(term):
    return term.op == "number" and isinstance(term.data, (int, float)) and not isinstance(term.data, bool) and term.data < 0


def half_of(t):
    """z of 2 z, or of z + z; None of others."""
    return t.args[1] if t.op == "mul" and _is(t.args[0], 2) or t.op == "add" and t.args[0] is t.args[1] else None


def _factors(term):
    """The factors of a product, along its first operands; bounded, as it is asked for often."""
    out = []
    while term.op == "mul" and len(out) < 16:
        out.extend(_factors(term.args[1]) if term.args[1].op == "mul" and len(out) < 8 else [term.args[1]])
        term = term.args[0]
    return [term, *reversed(out)]
