"""Graphs as stand-alone C99: one function of scalars and pointers, one loop nest an operation.

What it is: text for a C compiler (cc -O2 -lm). Scalars are values, arrays are C-ordered pointers, results go into pointers at the end, intermediate
arrays lie in one allocation. A view or gather is a loop over positions: strides where the positions are affine, a table of numbers where they are not.

What it is not: fast code with fused loops and BLAS; kernels/ does that. Shapes are those of the trace.

Why a file: C has no arrays, so hardly a line could be shared with the NumPy printer.
"""
import math
import re

import numpy as np

from ..constants import Exact
from .source_code import Names, name_of_function, inner_positions, needed, positions, refuse, targets
from .source_matrices import IN_C, in_c
from .terms import operands_of
from ..vocabulary import contraction

_TYPES = {"float64": "double", "float32": "float", "bool": "unsigned char", "int64": "int64_t", "int32": "int32_t"}
_KEYWORDS = set("auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return short "
                "signed sizeof static struct switch typedef union unsigned void volatile while work main exp log sin cos tan sqrt"
                " pow y0 y1 yn j0 j1 jn gamma".split())
_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==",
          "not_equal": "!=", "logical_and": "&&", "logical_or": "||"}
_CALLS = {**{f: f for f in ("exp exp2 expm1 log log2 log10 log1p sqrt cbrt sin cos tan sinh cosh tanh hypot floor ceil trunc rint erf erfc "
                            "isnan isinf isfinite signbit").split()},
          "power": "pow", "gamma": "tgamma", "absolute": "fabs", "arctan2": "atan2", **{f"arc{f}": f"a{f}" for f in "sin cos tan sinh cosh tanh".split()}}
_FORMS = {"negative": "-{0}", "square": "{0} * {0}", "reciprocal": "1 / {0}", "gauss": "exp(-({0} * {0}))",
          "where": "{0} ? {1} : {2}", "copy": "{0}", "barrier": "{0}", "stop_gradient": "{0}",
          "astype": "{0}", "logical_not": "!{0}", "logical_xor": "!{0} != !{1}", "sign": "({0} > 0) - ({0} < 0)",
          "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}",
          "minimum": "{0} < {1} || {0} != {0} ? {0} : {1}"}
_HELPERS = {
    "expit": "static double expit(double x) { return x > -700 ? 1 / (1 + exp(-x)) : exp(x); }",
    "log_expit": "static double log_expit(double x) { return x > 0 ? -log1p(exp(-x)) : x - log1p(exp(x)); }",
    "logit": "static double logit(double x) { return log(x / (1 - x)); }",
    "xlogy": "static double xlogy(double x, double y) { return x == 0 && y == y ? 0 : x * log(y); }",
    "gammaln": "static double gammaln(double x) { return isinf(x) ? x : lgamma(x); }",
    "psi": """static double psi(double x)
{
    double total = 0;
    if (x < 0) {
        total = x == floor(x) ? NAN : 3.141592653589793 / tan(3.141592653589793 * (rint(x) - x));
        x = 1 - x;
    }
    for (; x < 8; x++) total -= 1 / x;
    double w = 1 / (x * x), tail = w * (1 / 12. - w * (1 / 120. - w * (1 / 252. - w * (1 / 240. - w * (1 / 132. - w * (691 / 32760. - w / 12))))));
    return total + (log(x) - 0.5 / x - tail);
}""",
    "zeta": """static double zeta(double s, double q)
{
    static const double c[] = {1 / 12., -1 / 720., 1 / 30240., -1 / 1209600., 1 / 47900160., -691 / 1307674368e3, 1 / 74724249600., -3617 / 10670622842880e3};
    double total = 0, tail = 0, h, f, first, less = 1 / (s - 1);
    if (!(s > 1) || q != q || (q < 0 && s != floor(s) && q != floor(q))) return s == 1 ? INFINITY : NAN;
    if (q <= 0 && q == floor(q)) return INFINITY;
    for (; q < 9; q++) total += pow(q, -s);
    h = 1 / q, f = s * h * h, first = pow(q, 1 - s);
    for (int j = 0; j < 8; j++, s += 2) tail += c[j] * f, f *= (s + 1) * (s + 2) * h * h;
    return total + first * (tail + 0.5 * h + less);
}""",
    "logaddexp": "static double logaddexp(double x, double y) { return x == y ? x + log(2.0) : (x > y ? x : y) + log1p(exp(-fabs(x - y))); }",
    "remainder": "static double remainder_(double x, double y) { double r = fmod(x, y); return r != 0 && (r < 0) != (y < 0) ? r + y : r; }",
    "floor_divide": "static double floor_divide(double x, double y) { return floor(x / y); }",
}
_WRITTEN = 200_000               # numbers in tables that are still worth compiling


class C:
    def __init__(self, graph, name):
        self.graph, self.order = graph, needed(graph)
        self.names = Names(_KEYWORDS | set(_CALLS) | set(_CALLS.values()) | set(_HELPERS) | {"i", "n", "m", "remainder_", "eliminate", "cofactors", "cholesky"} | {f"i{k}" for k in range(32)})
        self.function = self.names.new(name or name_of_function(graph))
        self.where, self.tables, self.body, self.helpers, self.bytes, self.numbers, self.count = {}, [], [], {}, 0, 0, 0

    def text(self):
        graph, parameters = self.graph, []
        for k in graph.inputs:
            name = self.names.new(re.sub(r"[^0-9A-Za-z_]", "_", str(graph.nodes[k]["name"])))
            parameters.append(f"{self.type(k)} {name}" if self.scalar(k) else f"const {self.type(k)} *{name}")
            self.where[k] = name
        for k in self.order:
            if k not in self.where:
                self.node(k, graph.nodes[k]["primitive"], operands_of(graph, k), graph.nodes[k]["params"])
        used = set(self.order)
        self.body += [f"(void){self.where[k]};" for k in graph.inputs if k not in used]
        for n, k in enumerate(graph.outputs):
            out = self.names.new("out" if len(graph.outputs) == 1 else f"out{n}")
            parameters.append(f"{self.type(k)} *{out}")
            size = self.size(k)
            self.body.append(f"*{out} = {self.where[k]};" if self.scalar(k) else f"for (int64_t i = 0; i < {size}; i++) {out}[i] = {self.where[k]}[i];")
        shapes = ", ".join(f"{self.where[k]}: {tuple(graph.nodes[k]['shape'])}" for k in graph.inputs if not self.scalar(k))
        head = ["#include <math.h>", "#include <stdint.h>", "#include <stdlib.h>", ""]
        head += [*self.helpers.values(), ""] if self.helpers else []
        head += [*self.tables, ""] if self.tables else []
        note = f"/* {'shapes: ' + shapes + '; ' if shapes else ''}returns 0, or 1 when there is no memory */"
        lines = [*self.body, "return 0;"]
        if self.bytes:
            lines = [f"char *work = malloc({self.bytes});", "if (!work) return 1;", *self.body, "free(work);", "return 0;"]
        lines = ["    " + line.replace("\n", "\n    ") for line in lines]
        return "\n".join([*head, note, f"int {self.function}({', '.join(parameters)})", "{", *lines, "}", ""])

    # ---- what a node is in C

    def type(self, k):
        dtype = str(np.dtype(self.graph.nodes[k]["dtype"]))
        if dtype not in _TYPES:
            raise refuse(self.graph, k, "c", f"has dtype {dtype}, which has no type here")
        return _TYPES[dtype]

    def shape(self, k):
        return tuple(self.graph.nodes[k]["shape"])

    def size(self, k):
        return math.prod(self.shape(k))

    def scalar(self, k):
        return self.shape(k) == ()

    def new(self):
        self.count += 1
        return self.names.new(f"t{self.count}")

    def scratch(self, size):
        """A name for so many doubles."""
        name = self.new()
        self.body.append(f"double *{name} = (double *)(work + {self.bytes});")
        self.bytes += -(-max(size, 1) * 8 // 64) * 64
        return name

    def buffer(self, k):
        """A name for the array k, with memory of its own."""
        name, size = self.new(), max(self.size(k), 1) * np.dtype(self.graph.nodes[k]["dtype"]).itemsize
        self.body.append(f"{self.type(k)} *{name} = ({self.type(k)} *)(work + {self.bytes});")
        self.bytes += -(-size // 64) * 64
        self.where[k] = name
        return name

    def literal(self, value, dtype="float64"):
        value = value.value if isinstance(value, Exact) else value.item() if isinstance(value, (np.generic, np.ndarray)) else value
        if isinstance(value, bool):
            return "1" if value else "0"
        if isinstance(value, float):
            text = "NAN" if math.isnan(value) else "INFINITY" if value > 0 else "-INFINITY"
            text = repr(value) if math.isfinite(value) else text
        else:
            text = f"{value}.0" if np.dtype(dtype).kind == "f" else str(value)
        text += "f" if str(dtype) == "float32" and math.isfinite(value) else ""
        return f"({text})" if text.startswith("-") else text

    def table(self, values, kind):
        self.numbers += values.size
        if self.numbers > _WRITTEN:
            raise TypeError(f"c source: more than {_WRITTEN} numbers would have to be written into the text: make large constants inputs of the function")
        name = self.names.new(f"c{len(self.tables) + 1}")
        rows = ", ".join(self.literal(v, values.dtype) for v in values.ravel())
        self.tables.append(f"static const {kind} {name}[{max(values.size, 1)}] = {{{rows or 0}}};")
        return name

    # ---- loops

    def loops(self, shape, statement):
        """statement inside loops i0 < n0, i1 < n1, ..."""
        lines = [f"{'    ' * d}for (int64_t i{d} = 0; i{d} < {n}; i{d}++)" for d, n in enumerate(shape)]
        return "\n".join([*lines, "    " * len(shape) + statement])

    def at(self, k, shape):
        """The text of operand k's entry inside loops over `shape`, after broadcasting."""
        if self.scalar(k):
            return self.where[k]
        own = self.shape(k)
        steps = np.cumprod([1, *own[::-1]])[::-1][1:]
        lead = len(shape) - len(own)
        return f"{self.where[k]}[{_sum((f'i{lead + d}', int(s)) for d, (n, s) in enumerate(zip(own, steps)) if n != 1)}]"

    def place(self, at):
        """Text of a flat position inside loops over at.shape: strides, or a table."""
        if at.size == 0:
            return "0"
        first = int(at.flat[0])
        steps = []
        for d, n in enumerate(at.shape):
            corner = [0] * at.ndim
            corner[d] = 1 if n > 1 else 0
            steps.append(int(at[tuple(corner)]) - first)
        grid = np.full(at.shape, first)
        for d, (n, s) in enumerate(zip(at.shape, steps)):
            grid += np.arange(n).reshape([-1 if j == d else 1 for j in range(at.ndim)]) * s
        if np.array_equal(grid, at):
            return _sum([(f"i{d}", s) for d, s in enumerate(steps) if s and at.shape[d] > 1], first)
        name = self.table(at.astype(np.int64), "int64_t")
        steps = np.cumprod([1, *at.shape[::-1]])[::-1][1:]
        return f"{name}[{_sum((f'i{d}', int(s)) for d, s in enumerate(steps))}]"

    # ---- operations

    def node(self, k, name, operands, params):
        if name == "constant":
            return self.constant(k, self.graph.nodes[k]["value"])
        if name in _SIGNS or name in _CALLS or name in _FORMS or name in _HELPERS:
            return self.elementwise(k, name, operands)
        if name in ("sum", "mean", "prod", "max", "min", "var", "logsumexp", "any", "all"):
            return self.reduction(k, name, operands[0], params)
        if name == "reshape":
            x = operands[0]
            if self.scalar(k) or self.scalar(x):
                return self.view(k, x, np.zeros(self.shape(k), int))
            self.where[k] = self.where[x]
            return None
        if name in ("transpose", "broadcast_to", "getitem"):
            at = positions(self.graph, k)
            if at is None:
                raise refuse(self.graph, k, "c", "takes an index that is computed")
            return self.view(k, operands[0], at)
        if name in ("matmul", "dot", "tensordot", "einsum"):
            return self.contraction(k, name, operands, params)
        if name == "concatenate":
            return self.concatenation(k, operands, params["axis"])
        if name == "pad":
            out = self.buffer(k)
            self.body.append(f"for (int64_t i = 0; i < {self.size(k)}; i++) {out}[i] = {self.literal(params['value'], self.graph.nodes[k]['dtype'])};")
            return self.land(k, operands[0], inner_positions(self.graph.nodes[k]), "=")
        if name in ("scatter", "setitem", "add_at") and self.scalar(k):          # y[()] = v, y[()] += v
            x, v = self.where[operands[0]], self.where[operands[-1]]
            self.where[k] = f"({x} + {v})" if name == "add_at" else v
            return None
        if name in ("scatter", "setitem", "add_at"):
            at = targets(self.graph, k)
            if at is None:
                raise refuse(self.graph, k, "c", "takes an index that is computed")
            out = self.buffer(k)
            source = "0" if name == "scatter" else self.where[operands[0]] + "[i]"
            self.body.append(f"for (int64_t i = 0; i < {self.size(k)}; i++) {out}[i] = {source};")
            return self.land(k, operands[0 if name == "scatter" else 1], at, "=" if name == "setitem" else "+=")
        if name in IN_C:
            return in_c(self, k, name, operands)
        if name in ("cumsum", "cumprod"):
            return self.scan(k, operands[0], params["axis"], "+" if name == "cumsum" else "*")
        raise refuse(self.graph, k, "c")

    def constant(self, k, value):
        users = [self.graph.nodes[u] for u in self.graph.successors(k)]
        if isinstance(value, Exact) or np.ndim(value) == 0:
            narrow = users and all(str(u["dtype"]) == "float32" for u in users)
            real = isinstance(value, (float, Exact)) or np.asarray(value).dtype.kind == "f"
            kind = "float32" if narrow else "float64" if real else str(self.graph.nodes[k]["dtype"])
            if kind.startswith("int") and any(np.dtype(u["dtype"]).kind == "f" for u in users):
                kind = "float64"
            self.where[k] = self.literal(value, kind)
            return
        value = np.asarray(value)
        if any(u["primitive"] in ("getitem", "setitem", "add_at", "scatter") for u in users) and value.dtype.kind in "iu" and all(
                operands_of(self.graph, u).index(k) > 0 for u in self.graph.successors(k)):
            self.where[k] = "0"                     # an index: its positions are written where it is used
            return
        self.where[k] = self.table(value, self.type(k))

    def elementwise(self, k, name, operands):
        shape = self.shape(k)
        flat = all(self.scalar(u) or self.shape(u) == shape for u in operands)
        texts = [self.where[u] if self.scalar(u) else f"{self.where[u]}[i]" if flat else self.at(u, shape) for u in operands]
        if name in _SIGNS:
            value = f"{texts[0]} {_SIGNS[name]} {texts[1]}"
        elif name in _FORMS:
            value = _FORMS[name].format(*texts)
        elif name in _HELPERS:
            self.helpers[name] = _HELPERS[name]
            value = f"{'remainder_' if name == 'remainder' else name}({', '.join(texts)})"
        else:
            value = f"{_CALLS[name]}({', '.join(texts)})"
        if self.scalar(k):
            self.where[k] = self.new()
            self.body.append(f"const {self.type(k)} {self.where[k]} = {value};")
            return
        out = self.buffer(k)
        if flat:
            self.body.append(f"for (int64_t i = 0; i < {self.size(k)}; i++) {out}[i] = {value};")
        else:
            self.body.append(self.loops(shape, f"{out}[{_flat(shape)}] = {value};"))

    def view(self, k, x, at):
        if self.scalar(k):
            self.where[k] = f"{self.where[x]}[{int(at)}]" if not self.scalar(x) else self.where[x]
            return
        out = self.buffer(k)
        value = self.where[x] if self.scalar(x) else f"{self.where[x]}[{self.place(at)}]"
        self.body.append(self.loops(at.shape, f"{out}[{_flat(at.shape)}] = {value};"))

    def land(self, k, v, at, sign):
        self.body.append(self.loops(at.shape, f"{self.where[k]}[{self.place(at)}] {sign} {self.at(v, at.shape)};"))

    def concatenation(self, k, operands, axis):
        self.buffer(k)
        grid = np.arange(self.size(k)).reshape(self.shape(k))
        start = 0
        for u in operands:
            n = self.shape(u)[axis]
            self.land(k, u, grid[(slice(None),) * axis + (slice(start, start + n),)], "=")
            start += n

    def scan(self, k, x, axis, sign):
        out, shape = self.buffer(k), self.shape(k)
        step = math.prod(shape[axis + 1:])
        here = _flat(shape)
        self.body.append(self.loops(shape, f"{out}[{here}] = i{axis} ? {out}[{here} - {step}] {sign} {self.where[x]}[{here}] : {self.where[x]}[{here}];"))

    def accumulate(self, k, start, loop, statement):
        """out = start everywhere, then the loops."""
        kind = self.type(k)
        if self.scalar(k):
            self.where[k] = self.new()
            self.body.append(f"{kind} {self.where[k]} = {start};")
        else:
            out = self.buffer(k)
            self.body.append(f"for (int64_t i = 0; i < {self.size(k)}; i++) {out}[i] = {start};")
        self.body.append(self.loops(loop, statement.replace("\0", self.where[k])))       # \0 stands for a name that did not exist yet

    def reduction(self, k, name, x, params):
        shape, axes = self.shape(x), params["axis"]
        kept = tuple(1 if d in axes else n for d, n in enumerate(shape))
        steps = np.cumprod([1, *kept[::-1]])[::-1][1:]
        place = _sum((f"i{d}", int(s)) for d, s in enumerate(steps) if d not in axes)
        v = self.at(x, shape)
        n = math.prod(shape[d] for d in axes)

        def into(start, statement):
            self.accumulate(k, start, shape, statement.replace("OUT", self.target(k, place)).replace("V", v))

        if name in ("sum", "prod", "mean"):
            into("1" if name == "prod" else "0", f"OUT {'*' if name == 'prod' else '+'}= V;")
            if name == "mean":
                self.each(k, f"OUT /= {n};")
        elif name in ("any", "all"):
            into("0" if name == "any" else "1", "OUT = OUT || V;" if name == "any" else "OUT = OUT && V;")
        elif name in ("max", "min"):
            into("-INFINITY" if name == "max" else "INFINITY", f"if (V {'>' if name == 'max' else '<'} OUT || V != V) OUT = V;")
        else:                                              # var and logsumexp go over the data twice
            size = math.prod(kept)
            first = self.scratch(size)
            self.body.append(f"for (int64_t i = 0; i < {size}; i++) {first}[i] = {'0' if name == 'var' else '-INFINITY'};")
            at = f"{first}[{place}]"
            self.body.append(self.loops(shape, f"{at} += {v} / {n};" if name == "var" else f"if ({v} > {at}) {at} = {v};"))
            if name == "var":
                into("0", f"OUT += (V - {at}) * (V - {at});")
                self.each(k, f"OUT /= {n - params['ddof']};")
            else:
                self.body.append(f"for (int64_t i = 0; i < {size}; i++) if (isinf({first}[i])) {first}[i] = 0;")
                into("0", f"OUT += exp(V - {at});")
                self.each(k, f"OUT = log(OUT) + {first}[i];")

    def target(self, k, place):
        """The entry of the result; its name is not known before `accumulate` made it."""
        return "\0" if self.scalar(k) else f"\0[{place}]"

    def each(self, k, statement):
        self.body.append(statement.replace("OUT", self.where[k]).replace("[i]", "[0]") if self.scalar(k) else
                         f"for (int64_t i = 0; i < {self.size(k)}; i++) " + statement.replace("OUT", f"{self.where[k]}[i]"))

    def contraction(self, k, name, operands, params):
        spec = contraction.subscripts(name, [len(self.shape(u)) for u in operands], params)
        left, out = spec.split("->")
        terms, size = left.split(","), {}
        for u, t in zip(operands, terms):
            for c, n in zip(t, self.shape(u)):
                size[c] = n if size.get(c, 1) == 1 else size[c]
        letters = list(out) + [c for c in dict.fromkeys("".join(terms)) if c not in out]
        loop = {c: f"i{d}" for d, c in enumerate(letters)}

        def entry(name, t, shape):
            steps = np.cumprod([1, *shape[::-1]])[::-1][1:]
            return f"{name}[{_sum((loop[c], int(s)) for c, n, s in zip(t, shape, steps) if n != 1)}]"
        factors = [self.where[u] if self.scalar(u) else entry(self.where[u], t, self.shape(u)) for u, t in zip(operands, terms)]
        target = "\0" if self.scalar(k) else entry("\0", out, self.shape(k))
        self.accumulate(k, "0", [size[c] for c in letters], f"{target} += {' * '.join(factors)};")


def _sum(parts, start=0):
    """"i0 * 12 + i1": an index as text."""
    out = [name if step == 1 else f"{name} * {step}" for name, step in parts if step] + ([str(start)] if start else [])
    return " + ".join(out).replace("+ -", "- ") or "0"


def _flat(shape):
    steps = np.cumprod([1, *shape[::-1]])[::-1][1:]
    return _sum((f"i{d}", int(s)) for d, s in enumerate(steps))
