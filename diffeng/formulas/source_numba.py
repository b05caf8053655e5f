"""Graphs as stand-alone numba code: the NumPy text with a decorator, and loops for what numba does not compile.

What it is: overrides of the NumPy printer, operation by operation: reductions over any axes, contractions and gathers become loops in small functions of
their own, special functions become scalar ones.

What it is not: the package's own compiled kernels (kernels/); and nothing here imports numba: only the text does.

Why a file: what numba cannot do changes with its versions; here is all of it.
"""
import math

import numpy as np

from .source_code import ADD, ATOM, NumPy, inner_positions, positions, refuse, targets
from .source_matrices import IN_NUMPY, NUMBA_HELPERS, in_numba
from ..vocabulary import contraction
from ..vocabulary.elementwise import SCIPY

_VECTORIZED = {
    "expit": ("x", "1 / (1 + math.exp(-x)) if x > -700 else math.exp(x)"),
    "log_expit": ("x", "-math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))"),
    "gauss": ("x", "math.exp(-x * x)"), "logit": ("x", "math.log(x / (1 - x))"), "erf": ("x", "math.erf(x)"), "erfc": ("x", "math.erfc(x)"),
    "gammaln": ("x", "math.lgamma(x) if x > 0 or x != math.floor(x) else math.inf"),
    "gamma": ("x", "math.gamma(x) if x >= 0 or x != math.floor(x) else math.nan"),
    "psi": ("x", """total = 0.0
if x < 0:
    total = math.nan if x == math.floor(x) else math.pi / math.tan(math.pi * (round(x) - x))
    x = 1 - x
while x < 8:
    total = total - (1 / x if x != 0 else math.inf)
    x = x + 1
w = 1 / (x * x)
tail = w * (1 / 12 - w * (1 / 120 - w * (1 / 252 - w * (1 / 240 - w * (1 / 132 - w * (691 / 32760 - w / 12))))))
return total + (math.log(x) - 0.5 / x - tail)"""),
    "zeta": ("s, q", """if not s > 1 or q != q or q < 0 and s != math.floor(s) and q != math.floor(q):
    return math.inf if s == 1 else math.nan
if q <= 0 and q == math.floor(q):
    return math.inf
total, tail = 0.0, 0.0
while q < 9:
    total = total + q ** -s
    q = q + 1
h, first, less = 1 / q, q ** (1 - s), 1 / (s - 1)
f = s * h * h
for c in (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600, -3617 / 10670622842880000):
    tail = tail + c * f
    f = f * (s + 1) * (s + 2) * h * h
    s = s + 2
return total + first * (tail + 0.5 * h + less)"""),
    "xlogy": ("x, y", "x * 0 if x == 0 else x * math.log(y)"),
    "where": ("c, x, y", "x if c else y"), "square": ("x", "x * x"), "reciprocal": ("x", "1 / x"), "cbrt": ("x", "math.copysign(abs(x) ** (1 / 3), x)"),
    "logaddexp": ("x, y", "max(x, y) + math.log1p(math.exp(-abs(x - y))) if x != y else x + math.log(2.0)"),
}
_REDUCE = {"sum": ("0.0", "total + v"), "prod": ("1.0", "total * v"),
           "max": ("-np.inf", "v if v > total or v != v else total"), "min": ("np.inf", "v if v < total or v != v else total")}
_NUMBA_HELPERS = ("flat", "gathered", "scattered", "written", "added", *_VECTORIZED, *[f"reduce_{r}" for r in _REDUCE], *[f"{name}_each" for name in IN_NUMPY])
_NUMBA_TEXTS = {
    "flat": '''@numba.njit
def flat(x):
    return np.ascontiguousarray(x).reshape(x.size)
''',
    "gathered": '''@numba.njit
def gathered(x, positions, shape):
    return np.take(np.ascontiguousarray(x), positions).reshape(shape)
''',
    "scattered": '''@numba.njit
def scattered(v, positions, size, shape):
    out = np.zeros(size, v.dtype)
    v = np.ascontiguousarray(v).reshape(v.size)
    for i in range(positions.size):
        out[positions[i]] += v[i]
    return out.reshape(shape)
''',
    "written": '''@numba.njit
def written(x, v, positions, shape):
    out = np.ascontiguousarray(x).copy().reshape(x.size)
    v = np.ascontiguousarray(v).reshape(v.size)
    for i in range(positions.size):
        out[positions[i]] = v[i]
    return out.reshape(shape)
''',
}


class Numba(NumPy):
    """The NumPy text with a decorator; what numba does not compile is written as a loop or a helper beside it."""

    language = "numba"
    imports = ("import math\n", "import numba", "import numpy as np")
    reserved = _NUMBA_HELPERS

    def decorator(self):
        return "@numba.njit\n"

    def receive(self, k, name):
        node = self.graph.nodes[k]
        return None if tuple(node["shape"]) else f"{name} = np.{node['dtype']}({name})"

    def shape(self, u):
        return tuple(self.graph.nodes[u]["shape"])

    def infix_matmul(self, operands):
        return False

    def call(self, k, name, operands, params):
        arguments = [self.plain(u) for u in operands]
        if name in _VECTORIZED:
            return self.narrowed(k, f"{self.vectorized(name)}({', '.join(arguments)})")
        if name in ("sum", "prod", "max", "min", "mean", "var"):
            return self.reduced(name, operands[0], self.plain(operands[0]), params, self.shape(k))
        if name in ("argmax", "argmin", "argsort", "any", "all", "cumprod") or name == "cumsum" and len(self.shape(k)) != 1:
            raise refuse(self.graph, k, "numba")
        if name in SCIPY:                              # numba compiles none of SciPy's
            raise refuse(self.graph, k, "numba")
        if name == "cumsum":
            return f"np.cumsum({arguments[0]})"
        return super().call(k, name, operands, params)

    def of_matrix(self, k, name, operands, arguments, params):
        if name in NUMBA_HELPERS:
            self.helpers[name] = NUMBA_HELPERS[name]
        shapes = [self.shape(u) for u in operands]
        whole = len(self.shape(k)) == len(shapes[0])
        own = [*(self.shape(k)[-2:] if whole else ()), *[key for key, v in params.items() if v]]          # one a shape, and a triangle
        helper = "_".join([f"{name}_each", *map(str, own)])
        self.helpers.setdefault(helper, in_numba(name, len(operands), whole, self.shape(k)[-2:], params).replace(f"{name}_each", helper))
        stacks = [f"np.ascontiguousarray({x}).reshape({(math.prod(s[:-2]), *s[-2:])})" for x, s in zip(arguments, shapes)]
        return f"{helper}({', '.join(stacks)})" + (f".reshape({self.shape(k)})" if self.shape(k) else "[0]")

    def _absent(self, k, operands, params):
        raise refuse(self.graph, k, "numba")

    _gamma_density = _beta_density = _fft = _rfft = _irfft = _absent

    def weak(self, k, value):
        """numba would widen float32 by a float64 literal."""
        graph = self.graph
        others = [graph.nodes[u] for user in graph.successors(k) for u in graph.predecessors(user)]
        kinds = {np.dtype(node["dtype"]) for node in others if node["primitive"] != "constant"}
        text, strength = self.literal(value)
        return (f"np.float32({text})", ATOM) if kinds and all(d == np.float32 or d.kind == "b" for d in kinds) else (text, strength)

    def narrowed(self, k, text):
        if np.dtype(self.graph.nodes[k]["dtype"]) != np.float32:
            return text
        return f"np.float32({text})" if not self.shape(k) else f"{text}.astype(np.float32)"

    def vectorized(self, name):
        arguments, body = _VECTORIZED[name]
        lines = body.split("\n") if "\n" in body else [f"return {body}"]
        self.helpers.setdefault(name, "\n".join([f"@numba.vectorize\ndef {name}({arguments}):", *[f"    {line}" for line in lines], ""]))
        return name

    def reduced(self, name, u, text, params, shape):
        axes, old = params["axis"], self.shape(u)
        if not old or not axes:
            return text if name != "var" else f"{text} * 0.0"
        if name in ("mean", "var"):
            n = math.prod(old[a] for a in axes)
            kept = tuple(1 if a in axes else m for a, m in enumerate(old))
            if name == "mean":
                return f"({self.reduced('sum', u, text, params, shape)} / {n})"
            middle = self.reduced("sum", u, text, {**params, "keepdims": True}, kept)
            return f"({self.reduced('sum', u, f'({text} - {middle} / {n}) ** 2', params, shape)} / {n - params['ddof']})"
        order = tuple(a for a in range(len(old)) if a not in axes) + tuple(axes)
        helper = f"reduce_{name}"
        start, step = _REDUCE[name]
        self.helpers.setdefault(helper, f'''@numba.njit
def {helper}(x, rows, columns):
    x = np.ascontiguousarray(x).reshape((rows, columns))
    out = np.empty(rows, x.dtype)
    for i in range(rows):
        total = {start}
        for j in range(columns):
            v = x[i, j]
            total = {step}
        out[i] = total
    return out
''')
        columns = math.prod(old[a] for a in axes)
        rows = math.prod(old) // max(columns, 1) if columns else math.prod(shape)
        turned = text if order == tuple(range(len(old))) else f"np.transpose({text}, {order})"
        call = f"{helper}({turned}, {rows}, {columns})"
        return f"{call}[0]" if shape == () else call if shape == (rows,) else f"{call}.reshape({shape})"

    def _logsumexp(self, k, operands, params):
        old = self.shape(operands[0])
        x = self.plain(operands[0])
        kept = tuple(1 if a in params["axis"] else m for a, m in enumerate(old))
        top = self.reduced("max", operands[0], x, {**params, "keepdims": True}, kept)
        name = self._next()
        self.lines.append(f"{name} = {top}")
        total = self.reduced("sum", operands[0], f"np.exp({self.at_least(operands[0], ATOM)} - {name})", params, self.shape(k))
        shaped = name if self.shape(k) == kept else f"flat({name})[0]" if self.shape(k) == () else f"{name}.reshape({self.shape(k)})"
        if "flat(" in shaped:
            self.helpers.setdefault("flat", _NUMBA_TEXTS["flat"])
        return f"(np.log({total}) + {shaped})"

    def _reshape(self, k, operands, params):
        if not self.shape(operands[0]):
            return f"np.full({params['shape']}, {self.plain(operands[0])})"
        if not params["shape"]:
            self.helpers.setdefault("flat", _NUMBA_TEXTS["flat"])
            return f"flat({self.plain(operands[0])})[0]"
        return f"np.ascontiguousarray({self.plain(operands[0])}).reshape({params['shape']})"

    def _broadcast_to(self, k, operands, params):
        if not params["shape"]:
            return self.at_least(operands[0], ATOM)
        if not self.shape(operands[0]):
            return f"np.full({params['shape']}, {self.plain(operands[0])})"
        return f"np.broadcast_to({self.plain(operands[0])}, {params['shape']})"

    def _transpose(self, k, operands, params):
        return f"np.transpose({self.plain(operands[0])}, {tuple(params['axes'])})"

    def _concatenate(self, k, operands, params):
        return f"np.concatenate(({', '.join(self.plain(u) for u in operands)},), axis={params['axis']})"

    def _astype(self, k, operands, params):
        dtype = np.dtype(params["dtype"])
        return f"{self.at_least(operands[0], ATOM)}.astype(np.{dtype})" if self.shape(operands[0]) else f"np.{dtype}({self.plain(operands[0])})"

    def _copy(self, k, operands, params):
        return f"{self.at_least(operands[0], ATOM)}.copy()" if self.shape(operands[0]) else self.at_least(operands[0], ATOM)

    _stop_gradient = _copy

    def _absolute(self, k, operands, params):
        return f"np.abs({self.plain(operands[0])})"

    def _pad(self, k, operands, params):
        at = inner_positions(self.graph.nodes[k])
        inside = self.landed(operands[0], at, k)
        return inside if params["value"] == 0 else self._kept(k, at, repr(params["value"]), inside)

    def _kept(self, k, at, outside, inside):
        kept = np.ones(self.shape(k))
        kept.reshape(-1)[at.ravel()] = 0
        return f"{self.vectorized('where')}({self.array(kept)}, {outside}, {inside})"

    def _getitem(self, k, operands, params):
        index = params["index"]
        if all(isinstance(i, (int, slice)) or i is Ellipsis for i in index):
            return super()._getitem(k, operands, params)
        at = positions(self.graph, k)
        if at is None:
            raise refuse(self.graph, k, "numba", "takes an index that is computed")
        self.helpers.setdefault("gathered", _NUMBA_TEXTS["gathered"])
        if self.shape(k) == ():
            self.helpers.setdefault("flat", _NUMBA_TEXTS["flat"])
            return f"flat({self.plain(operands[0])})[{int(at)}]"
        return f"gathered({self.plain(operands[0])}, {self.array(at.ravel())}, {self.shape(k)})"

    def _scatter(self, k, operands, params):
        return self.scattered(k, operands[0])

    def scattered(self, k, v):
        at = targets(self.graph, k)
        if at is None:
            raise refuse(self.graph, k, "numba", "takes an index that is computed")
        return self.landed(v, at, k)

    def landed(self, v, at, k):
        """v added to zeros at flat positions."""
        self.helpers.setdefault("scattered", _NUMBA_TEXTS["scattered"])
        return f"scattered({self.spread(v, at)}, {self.array(at.ravel())}, {math.prod(self.shape(k))}, {self.shape(k)})"

    def spread(self, v, at):
        """v as an array with an entry for each of the positions."""
        if not self.shape(v):
            return f"np.full({at.size}, {self.plain(v)})"
        return self.plain(v) if self.shape(v) == at.shape else f"np.broadcast_to({self.plain(v)}, {at.shape})"

    def _add_at(self, k, operands, params):
        return f"({self.at_least(operands[0], ADD)} + {self.scattered(k, operands[1])})"

    def _setitem(self, k, operands, params):
        at = targets(self.graph, k)
        if at is None:
            raise refuse(self.graph, k, "numba", "takes an index that is computed")
        if not self.shape(k):
            return self.at_least(operands[1], ATOM)
        self.helpers.setdefault("written", _NUMBA_TEXTS["written"])
        return f"written({self.plain(operands[0])}, {self.spread(operands[1], at)}, {self.array(at.ravel())}, {self.shape(k)})"

    def contracted(self, k, operands, params):
        """Nested loops in a function of their own."""
        node = self.graph.nodes[k]
        spec = contraction.subscripts(node["primitive"], [len(self.shape(u)) for u in operands], params)
        left, out = spec.split("->")
        terms = left.split(",")
        names = [f"a{j}" for j in range(len(operands))]
        size = {}
        for u, t in zip(operands, terms):
            for c, n in zip(t, self.shape(u)):
                size[c] = n if size.get(c, 1) == 1 else size[c]

        def at(u, t):
            return ", ".join("0" if n == 1 and size[c] != 1 else c for c, n in zip(t, self.shape(u)))
        order = list(out) + [c for c in dict.fromkeys("".join(terms)) if c not in out]
        product = " * ".join(f"{n}[{at(u, t)}]" if t else n for n, u, t in zip(names, operands, terms))
        body, indent = "", "    "
        for c in order:
            body += f"{indent}for {c} in range({size[c]}):\n"
            indent += "    "
        body += f"{indent}out[{', '.join(out) or '0'}] += {product}\n"
        shape = tuple(size[c] for c in out) or (1,)
        text = f"({', '.join(names)}):\n    out = np.zeros({shape}, np.{node['dtype']})\n{body}    return out{'' if out else '[0]'}\n"
        for name, known in self.helpers.items():
            if known == f"@numba.njit\ndef {name}{text}":
                break
        else:
            name = self.names.new("product")
            self.helpers[name] = f"@numba.njit\ndef {name}{text}"
        return f"{name}({', '.join(self.plain(u) for u in operands)})"

    def _matmul(self, k, operands, params):
        if all(len(self.shape(u)) == 2 for u in operands) and len({np.dtype(self.graph.nodes[u]["dtype"]) for u in (*operands, k)}) == 1:
            return "np.dot(" + ", ".join(f"np.ascontiguousarray({self.plain(u)})" for u in operands) + ")"
        return self.contracted(k, operands, params)

    _dot = _tensordot = _einsum = contracted
