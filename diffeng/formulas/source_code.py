"""Graphs as stand-alone source code: NumPy here, numba in source_numba.py, C in source_c.py.

What it is: a printer. Every operation becomes the expression it was recorded from, in the graph's own order and association, so the NumPy text
computes the same bits; an expression used once stands inside the next one while the line stays short.

What it is not: a compiler. kernels/ makes fast programs; this makes text that people read, keep and take elsewhere. Nothing here runs it.

Why a file: terms.py shows what is meant, this shows what is done.
"""
import keyword
import math
import re

import numpy as np

from ..constants import Exact
from .source_matrices import COFACTOR, EIGH, IN_NUMPY, QR, SOLVE_LOWER, SVD
from .terms import index_text, operands_of
from ..vocabulary import indexing
from ..vocabulary.contraction import ordered
from ..vocabulary.elementwise import SCIPY

COMPARE, ADD, MULTIPLY, UNARY, POWER, ATOM = range(6)
_INFIX = {"add": ("+", ADD), "subtract": ("-", ADD), "multiply": ("*", MULTIPLY), "divide": ("/", MULTIPLY), "remainder": ("%", MULTIPLY),
          "floor_divide": ("//", MULTIPLY), "matmul": ("@", MULTIPLY), "power": ("**", POWER), "less": ("<", COMPARE), "less_equal": ("<=", COMPARE),
          "greater": (">", COMPARE), "greater_equal": (">=", COMPARE), "equal": ("==", COMPARE), "not_equal": ("!=", COMPARE)}
_LONG = 88                      # characters of an expression that may still stand inside another
_WRITTEN = 4096                 # entries of a constant that is written out; a larger one becomes a parameter


def source(graph, language="numpy", name=None):
    """Stand-alone code of a function that computes the graph: its inputs in order, its outputs returned (a tuple when there are several).

    language: "numpy", "numba" or "c" (C99: scalars by value, arrays as pointers in C order, results into pointers at the end, 0 returned).
    Constants of more than 4096 entries become parameters after the inputs; the head of the text names them. Raises ValueError for another language,
    and TypeError naming an operation that a language has no words for.

    >>> import diffeng as de
    >>> print(source(de.parse("sin(x)*y"), name="f"))
    import numpy as np
    <BLANKLINE>
    <BLANKLINE>
    def f(x, y):
        x = np.asarray(x, np.float64)[()]
        y = np.asarray(y, np.float64)[()]
        return np.sin(x) * y
    <BLANKLINE>
    """
    graph = graph.written_out()
    if language == "numpy":
        return NumPy(graph, name).text()
    if language == "numba":
        from .source_numba import Numba
        return Numba(graph, name).text()
    if language in ("c", "C"):
        from .source_c import C
        return C(graph, name).text()
    raise ValueError(f"language={language!r}: choose 'numpy', 'numba' or 'c'")


# ---- what the languages share --------------------------------------------------------------------------------------------------

class Names:
    """Identifiers that no language refuses and no two things share."""

    def __init__(self, taken):
        self.taken = set(taken) | set(keyword.kwlist)

    def new(self, wish):
        wish = re.sub(r"\W", "_", wish, flags=re.ASCII).strip("_") or "x"
        wish = wish if wish[0].isalpha() else f"x{wish}"
        name, n = wish, 1
        while name in self.taken:
            n += 1
            name = f"{wish}_{n}"
        self.taken.add(name)
        return name


def needed(graph):
    """The nodes that the outputs depend on, in order."""
    seen, stack = set(), list(graph.outputs)
    while stack:
        k = stack.pop()
        if k not in seen:
            seen.add(k)
            stack.extend(graph.predecessors(k))
    return sorted(seen)


def refuse(graph, k, language, why=""):
    node = graph.nodes[k]
    where = f" at {node['line']}" if node.get("line") else ""
    if node["primitive"] == "scan":
        return TypeError(f"{language} source: scan{where} is one operation, which stand-alone code has no words for: write the loop with Python's for")
    return TypeError(f"{language} source: {node['primitive']}{where} {why or 'has no words in this language'}"
                     + ("; graph.source('numpy') writes every other graph" if language != "numpy" else ""))


def static_index(graph, operands, index, first):
    """The index with its integer arrays filled in, or None when one of them is computed."""
    arrays = operands[first:]
    if any(graph.nodes[u]["primitive"] != "constant" for u in arrays):
        return None
    return indexing.join(index, [np.asarray(graph.nodes[u]["value"]) for u in arrays])


def positions(graph, k):
    """For an index map of one array: the flat position in it of every entry of the result. None when that is not known beforehand."""
    node = graph.nodes[k]
    name, params = node["primitive"], node["params"]
    operands = operands_of(graph, k)
    shape = tuple(graph.nodes[operands[0]]["shape"])
    grid = np.arange(math.prod(shape)).reshape(shape)
    if name == "getitem":
        index = static_index(graph, operands, params["index"], 1)
        return None if index is None else np.asarray(grid[index])
    if name == "transpose":
        return np.transpose(grid, params["axes"])
    return np.broadcast_to(grid, params["shape"])


def targets(graph, k):
    """For setitem, add_at and scatter: the flat positions in the result that are written, or None."""
    node = graph.nodes[k]
    operands = operands_of(graph, k)
    index = static_index(graph, operands, node["params"]["index"], 1 if node["primitive"] == "scatter" else 2)
    return None if index is None else np.asarray(np.arange(math.prod(node["shape"])).reshape(node["shape"])[index])


def inner_positions(node):
    """For pad: the flat positions in the result where the operand lands."""
    inside = tuple(slice(lo, n - hi) for (lo, hi), n in zip(node["params"]["widths"], node["shape"]))
    return np.arange(math.prod(node["shape"])).reshape(node["shape"])[inside]


# ---- NumPy -------------------------------------------------------------------------------------------------------------------------

_HELPERS = {
    "solve_lower": SOLVE_LOWER, "cofactor": COFACTOR, "eigh": EIGH, "qr": QR, "svd": SVD,
    "numbers": '''def numbers(pairs):
    return np.ascontiguousarray(pairs).view(pairs.dtype.char.upper())[..., 0]
''',
    "pairs": '''def pairs(numbers):
    return np.stack([numbers.real, numbers.imag], axis=-1)
''',
    "logsumexp": '''def logsumexp(x, axis, keepdims):
    top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, np.zeros((), top.dtype))
    with np.errstate(divide="ignore"):
        out = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return out if keepdims else np.squeeze(out, axis=axis)
''',
    "setitem": '''def setitem(x, v, index):
    out = np.array(x)
    out[index] = v
    return out
''',
    "add_at": '''def add_at(x, v, index):
    out = np.array(x)
    np.add.at(out, index, np.broadcast_to(v, out[index].shape))
    return out
''',
    "scatter": '''def scatter(v, index, shape):
    out = np.zeros(shape, np.asarray(v).dtype)
    np.add.at(out, index, np.broadcast_to(v, out[index].shape))
    return out
''',
}


class NumPy:
    language = "numpy"
    imports = ("import numpy as np",)
    reserved = ()

    def __init__(self, graph, name):
        self.graph = graph
        self.names = Names({"np", "special", "numba", "math", *_HELPERS, *self.reserved})
        self.function = self.names.new(name or name_of_function(graph))
        self.single = all(np.dtype(graph.nodes[k]["dtype"]) != np.float32 and np.dtype(graph.nodes[k]["dtype"]) != np.float16 for k in graph.nodes)
        self.order = needed(graph)
        self.uses = {}
        for k in self.order:
            for u in operands_of(graph, k):
                self.uses[u] = self.uses.get(u, 0) + 1
        for k in graph.outputs:
            self.uses[k] = self.uses.get(k, 0) + 1
        self.expression = {}                      # node -> (text, strength)
        self.lines, self.constants, self.parameters, self.notes = [], [], [], []
        self.helpers, self.extra = {}, set()
        self.count, self.written = 0, []          # temporaries that have names; (name, array) of constants

    def text(self):
        graph = self.graph
        for k in graph.inputs:
            name = self.names.new(str(graph.nodes[k]["name"]))
            self.parameters.append(name)
            self.expression[k] = name, ATOM
            line = self.receive(k, name)
            if line:
                self.lines.append(line)
        for k in self.order:
            if k in self.expression:
                continue
            node = graph.nodes[k]
            if node["primitive"] == "constant":
                self.expression[k] = self.constant(k, node["value"])
                continue
            text, strength = self.operation(k, node["primitive"], operands_of(graph, k), node["params"])
            if self.uses[k] == 1 and len(text) <= _LONG and self.may_stand_inside(k):
                self.expression[k] = text, strength
            else:
                name = self._next()
                self.lines.append(f"{name} = {text}")
                self.expression[k] = name, ATOM
        results = [self.expression[k][0] for k in graph.outputs]
        self.lines.append("return " + (results[0] if len(results) == 1 else "(" + ", ".join(results) + ")"))
        imports = [*self.imports, *sorted(self.extra)]
        head = "\n".join(imports) + "\n"
        blocks = [head, *self.notes, *([("\n".join(self.constants) + "\n")] if self.constants else [])]
        body = "".join(f"    {line}\n" for line in self.lines)
        functions = [*self.helpers.values(), f"{self.decorator()}def {self.function}({', '.join(self.parameters)}):\n{body}"]
        return "\n".join(blocks) + "\n\n" + "\n\n".join(functions)

    def _next(self):
        self.count += 1
        while f"t{self.count}" in self.names.taken:
            self.count += 1
        return self.names.new(f"t{self.count}")

    # ---- pieces a language may say otherwise

    def decorator(self):
        return ""

    def may_stand_inside(self, k):
        return True

    def receive(self, k, name):
        return f"{name} = np.asarray({name}, np.{self.graph.nodes[k]['dtype']})[()]"

    def constant(self, k, value):
        if isinstance(value, Exact):
            return self.literal(value.value)
        if type(value) in (bool, int, float):
            return self.weak(k, value)
        value = np.asarray(value)
        if value.ndim == 0:
            text, strength = self.literal(value.item())
            plain = value.dtype == np.float64 and self.single or value.dtype == bool
            return (text, strength) if plain else (f"np.{value.dtype}({text})", ATOM)
        return self.array(value), ATOM

    def weak(self, k, value):
        return self.literal(value)                        # NEP 50: a Python number takes the precision of what it meets

    def array(self, value):
        for name, known in self.written:
            if known.shape == value.shape and known.dtype == value.dtype and np.array_equal(known, value):
                return name
        if value.size > _WRITTEN:
            name = self.names.new(f"c{len(self.written) + 1}")
            self.parameters.append(name)
            self.notes.append(f"# {name}: a constant of the graph, {value.dtype} of shape {value.shape}, too large to be written here\n")
        else:
            name = self.names.new(f"C{len(self.written) + 1}")
            flat = value.ravel()
            if value.size and np.all(flat == flat[0]):
                text = f"np.full({value.shape}, {self.literal(flat[0].item())[0]}, np.{value.dtype})"
            else:
                entries = ", ".join(self.literal(v)[0] for v in flat.tolist())
                text = f"np.array([{entries}], np.{value.dtype})" + (f".reshape({value.shape})" if value.ndim != 1 else "")
            self.constants.append(f"{name} = {text}")
        self.written.append((name, value))
        return name

    def literal(self, value):
        if isinstance(value, float) and not math.isfinite(value):
            return ("np.nan", ATOM) if math.isnan(value) else ("np.inf", ATOM) if value > 0 else ("-np.inf", UNARY)
        text = repr(value)
        return text, UNARY if text.startswith("-") else ATOM

    # ---- operations

    def at_least(self, u, strength):
        text, own = self.expression[u]
        return text if own >= strength else f"({text})"

    def plain(self, u):
        return self.expression[u][0]

    def operation(self, k, name, operands, params):
        if name in _INFIX and (name != "matmul" or self.infix_matmul(operands)):
            sign, strength = _INFIX[name]
            left = self.at_least(operands[0], strength + (name == "power" or strength == COMPARE))
            right = self.at_least(operands[1], UNARY if name == "power" else strength + 1)
            return f"{left} {sign} {right}", strength
        if name == "negative":
            return f"-{self.at_least(operands[0], UNARY)}", UNARY
        method = getattr(self, "_" + name, None)
        if method is not None:
            return method(k, operands, params), ATOM
        return self.call(k, name, operands, params), ATOM

    def infix_matmul(self, operands):
        return True

    def call(self, k, name, operands, params):
        arguments = [self.plain(u) for u in operands]
        if name in SCIPY:
            self.extra.add("from scipy import special")
            return f"special.{name}({', '.join(arguments)})"
        if name in ("sum", "mean", "var", "prod", "max", "min", "any", "all"):
            rank = len(self.graph.nodes[operands[0]]["shape"])
            axis = params["axis"]
            if len(axis) != rank or params["keepdims"] or not rank:
                arguments.append(f"axis={axis[0] if len(axis) == 1 else axis}")
            arguments += [f"{key}={value}" for key, value in params.items() if key not in ("axis",) and value]
            return f"np.{name}({', '.join(arguments)})"
        if name in ("cumsum", "cumprod", "argmax", "argmin", "argsort"):
            kind = ", kind='stable'" if name == "argsort" else ""
            return f"np.{name}({arguments[0]}, axis={params['axis']}{kind})"
        if name in IN_NUMPY:
            return self.of_matrix(k, name, operands, arguments, params)
        if getattr(np, name, None) is None or params:
            raise refuse(self.graph, k, self.language)
        return f"np.{name}({', '.join(arguments)})"

    def of_matrix(self, k, name, operands, arguments, params):
        if params.get("triangle") == "lower":
            return f"{self.helper('solve_lower')}({', '.join(arguments)})"
        if name in _HELPERS:
            self.helper(name)
        return IN_NUMPY[name].format(", ".join(arguments), **params)

    def helper(self, name):
        self.helpers.setdefault(name, _HELPERS[name])
        return name

    def _fft(self, k, operands, params):
        transform = "np.fft.ifftn" if params["inverse"] else "np.fft.fftn"
        return f"{self.helper('pairs')}({transform}({self.helper('numbers')}({self.plain(operands[0])}), axes={params['axes']}, norm={params['norm']!r}))"

    def _rfft(self, k, operands, params):
        return f"{self.helper('pairs')}(np.fft.rfftn({self.plain(operands[0])}, axes={params['axes']}, norm={params['norm']!r}))"

    def _irfft(self, k, operands, params):
        lengths, axes = [self.graph.nodes[k]["shape"][a] for a in params["axes"]], params["axes"]
        return f"np.fft.irfftn({self.helper('numbers')}({self.plain(operands[0])}), {lengths}, {axes}, {params['norm']!r})"

    def _logsumexp(self, k, operands, params):
        return f"{self.helper('logsumexp')}({self.plain(operands[0])}, {params['axis']}, {params['keepdims']})"

    def _gamma_density(self, k, operands, params):
        self.extra.add("from scipy import special")
        a, x = [self.at_least(u, ATOM) for u in operands]
        return f"np.exp(special.xlogy({a} - 1, {x}) - {x} - special.gammaln({a}))"

    def _beta_density(self, k, operands, params):
        self.extra.add("from scipy import special")
        a, b, x = [self.at_least(u, ATOM) for u in operands]
        return f"np.exp(special.xlogy({a} - 1, {x}) + special.xlog1py({b} - 1, -{x}) - special.betaln({a}, {b}))"

    def _gauss(self, k, operands, params):
        return f"np.exp(-np.square({self.plain(operands[0])}))"

    def _reshape(self, k, operands, params):
        return f"np.reshape({self.plain(operands[0])}, {params['shape']})"

    def _broadcast_to(self, k, operands, params):
        return f"np.broadcast_to({self.plain(operands[0])}, {params['shape']})"

    def _transpose(self, k, operands, params):
        axes = tuple(params["axes"])
        return f"{self.at_least(operands[0], ATOM)}.T" if axes == tuple(range(len(axes)))[::-1] else f"np.transpose({self.plain(operands[0])}, {axes})"

    def _concatenate(self, k, operands, params):
        return f"np.concatenate([{', '.join(self.plain(u) for u in operands)}], axis={params['axis']})"

    def _pad(self, k, operands, params):
        return f"np.pad({self.plain(operands[0])}, {params['widths']}, constant_values={params['value']!r})"

    def _dot(self, k, operands, params):
        return f"np.dot({self.plain(operands[0])}, {self.plain(operands[1])})"

    def _tensordot(self, k, operands, params):
        return f"np.tensordot({self.plain(operands[0])}, {self.plain(operands[1])}, {params['axes']})"

    def _einsum(self, k, operands, params):
        if len(operands) == 1:
            return f"np.einsum({params['subscripts']!r}, {self.plain(operands[0])})"
        nodes, dtype = self.graph.nodes, self.graph.nodes[k]["dtype"]                  # optimised it multiplies pairs, which narrow integers would wrap in
        arguments = [self.plain(u) if nodes[u]["dtype"] == dtype else f"np.asarray({self.plain(u)}, np.{dtype})" for u in operands]
        few, _ = ordered(params["subscripts"], tuple([tuple(nodes[u]["shape"]) for u in operands]))
        return f"np.einsum({params['subscripts']!r}, {', '.join(arguments)}{'' if few else ', optimize=True'})"

    def _astype(self, k, operands, params):
        return f"np.asarray({self.plain(operands[0])}).astype(np.{np.dtype(params['dtype'])})[()]"

    def _copy(self, k, operands, params):
        return f"np.array({self.plain(operands[0])})"

    def _stop_gradient(self, k, operands, params):
        return f"np.array({self.plain(operands[0])})"

    def _barrier(self, k, operands, params):
        x, shape = operands[0], tuple(self.graph.nodes[k]["shape"])
        return self.at_least(x, ATOM) if tuple(self.graph.nodes[x]["shape"]) == shape else f"np.broadcast_to({self.plain(x)}, {shape})"

    def _index_text(self, params, arrays):
        """The inside of x[...]; masks are constants of their own."""
        texts = [self.plain(u) for u in arrays]
        index = []
        for i in params["index"]:
            if isinstance(i, np.ndarray):
                texts.append(self.array(i))
                i = indexing.Slot(len(texts) - 1)
            index.append(i)
        return index_text(tuple(index), texts) or "()"

    def _tuple_text(self, params, arrays):
        inside = self._index_text(params, arrays)
        return f"np.index_exp[{inside}]"

    def _getitem(self, k, operands, params):
        return f"{self.at_least(operands[0], ATOM)}[{self._index_text(params, operands[1:])}]"

    def _setitem(self, k, operands, params):
        return f"{self.helper('setitem')}({self.plain(operands[0])}, {self.plain(operands[1])}, {self._tuple_text(params, operands[2:])})"

    def _add_at(self, k, operands, params):
        return f"{self.helper('add_at')}({self.plain(operands[0])}, {self.plain(operands[1])}, {self._tuple_text(params, operands[2:])})"

    def _scatter(self, k, operands, params):
        return f"{self.helper('scatter')}({self.plain(operands[0])}, {self._tuple_text(params, operands[1:])}, {params['shape']})"


def name_of_function(graph):
    title = getattr(graph, "title", "") or "f"
    return title if title.isidentifier() else "f"
