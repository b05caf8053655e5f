"""Graphs as readable mathematics: text, LaTeX, sympy. (Code to run is made by source_code.py, and reached from here as `source`.)

What it is: two alphabets for the terms of terms.py. Each writes one term from the texts of its parts, with the strength of its binding beside
it, so parentheses stand exactly where they are needed; no recursion, so a chain of any length is ordinary. What is used more than once in a
formula that would otherwise swell gets a name, and a line after "where".

What it is not: an evaluation; and no rule of mathematics stands here (terms.py has them).

Why a file: how a thing is written is one subject, in both alphabets side by side.
"""
import math
import re

import numpy as np

from .constants import Exact
from .source_code import source                        # noqa: F401  graph.source() looks for it here
from .terms import Terms, index_text, operands_of

# How strongly a text binds.
CHOICE, COMPARE, ADD, NEGATIVE, MULTIPLY, JOIN, POWER, ATOM = range(8)

_SWELL, _NAMED, _LONG = 60, 10, 200          # characters: formulas shorter than the first get no names; shared texts from the second on do; no text grows past the third
_GREEK = ("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega "
          "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega").split()
_SPECIAL = {math.pi: ("π", r"\pi"), 2 * math.pi: ("2π", r"2\pi"), math.pi / 2: ("π/2", r"\tfrac{\pi}{2}"), math.e: ("e", "e"), 2 ** 0.5: ("√2", r"\sqrt{2}"),
            0.5 ** 0.5: ("1/√2", r"\tfrac{1}{\sqrt{2}}"), math.sqrt(2 / math.pi): ("√(2/π)", r"\sqrt{2/\pi}"), math.sqrt(math.pi): ("√π", r"\sqrt{\pi}"),
            math.sqrt(2 * math.pi): ("√(2π)", r"\sqrt{2\pi}"), math.log(2): ("log(2)", r"\log 2"), 1 / 3: ("1/3", r"\tfrac{1}{3}"), 2 / 3: ("2/3", r"\tfrac{2}{3}")}


def formula(graph):
    """The graph as text: `Xᵀ (σ(X w) − y)/n`. Lines "where s = ..." name what would be repeated; several outputs give several lines.

    >>> import diffeng as de
    >>> print(formula(de.parse("sin(x)*y + x**2")))
    sin(x)·y + x²
    """
    return _write(graph, Text())


def latex(graph):
    """The graph as LaTeX mathematics, without dollar signs.

    >>> import diffeng as de
    >>> print(latex(de.parse("sin(x)/y")))
    \\frac{\\sin\\left(x\\right)}{y}
    """
    return _write(graph, Latex())


# ---- the walk ------------------------------------------------------------------------------------------------------------

def _write(graph, style):
    terms = Terms(graph)
    names = [str(graph.nodes[k].get("name", "")) for k in graph.inputs]
    letter = next((c for c in "stuvqr" if not any(n.startswith(c) for n in names)), "tmp")
    order = _needed(terms.outputs)
    texts, definitions = _texts(order, terms.outputs, style, lambda k: f"{letter}{k}")
    if len(definitions) == 1:                       # a single one needs no number
        texts, definitions = _texts(order, terms.outputs, style, lambda k: letter)
    labels = [style.output(k) for k in range(len(terms.outputs))] if len(terms.outputs) > 1 else [None]
    arrays = [(style.name(label), style.note(f"constant {value.dtype} array of shape {value.shape}")) for label, value in terms.arrays
              if any(t.op == "array" and t.data == label for t in order)]
    return style.page([(label, texts[t.serial][0]) for label, t in zip(labels, terms.outputs)], definitions, arrays)


def _needed(outputs):
    seen, stack = {}, list(outputs)
    while stack:
        t = stack.pop()
        if t.serial not in seen:
            seen[t.serial] = t
            stack.extend(t.args)
    return [seen[s] for s in sorted(seen)]


def _texts(order, outputs, style, naming):
    """{serial: (text, strength)} of every term, and the named ones as (name, text)."""
    uses, length = {}, {}
    for t in order:
        length[t.serial] = min(10 ** 6, 2 + len(str(t.data or "")) + sum(length[a.serial] for a in t.args))
        for a in t.args:
            uses[a.serial] = uses.get(a.serial, 0) + 1
    for t in outputs:
        uses[t.serial] = uses.get(t.serial, 0) + 1
    swells = sum(length[t.serial] for t in outputs) > _SWELL
    texts, definitions, final = {}, [], {t.serial for t in outputs}
    for t in order:
        text, strength = style.term(t, [texts[a.serial] for a in t.args])
        plain = len(re.sub(r"\\[a-z]+|[{}]", "", text))
        shared = swells and (uses[t.serial] > 1 and plain >= _NAMED or uses[t.serial] > 2 and plain >= _NAMED // 2) and \
            t.op not in ("number", "name", "array", "reshape", "T", "neg") and any(a.op != "number" for a in t.args)
        if t.args and (shared or plain > _LONG and t.serial not in final):
            name = style.name(naming(len(definitions) + 1))
            definitions.append((name, text))
            text, strength = name, ATOM
        texts[t.serial] = text, strength
    return texts, definitions


# ---- the alphabets -------------------------------------------------------------------------------------------------------------

class Text:
    """Mathematics in Unicode, for terminals."""

    minus, times, each = "−", "·", "⊙"
    functions = {"expit": "σ", "absolute": "abs"}

    def group(self, text):
        return f"({text})"

    def at_least(self, part, strength):
        return part[0] if part[1] >= strength else self.group(part[0])

    def term(self, t, parts):
        return getattr(self, "_" + t.op)(t, parts)

    def name(self, text):
        match = re.fullmatch(r"([^\W\d_])(\d+)", text)
        return match[1] + match[2].translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")) if match else text

    def note(self, text):
        return text

    def output(self, k):
        return f"output {k}"

    def page(self, outputs, definitions, arrays):
        lines = [text if label is None else f"{label} = {text}" for label, text in outputs]
        rows = [f"{name} = {text}" for name, text in definitions] + [f"{name}: {note}" for name, note in arrays]
        lines += [("where " if k == 0 else "      ") + row for k, row in enumerate(rows)]
        return "\n".join(lines)

    # ---- one method an operation

    def _name(self, t, parts):
        return self.name(t.data), ATOM

    _array = _name

    def _number(self, t, parts):
        return self.number(t.data)

    def number(self, value):
        if isinstance(value, (bool, np.bool_)):
            return self.word(str(value)), ATOM
        if isinstance(value, Exact):
            return self.special((value.name, value.name) if value.name != "pi" else _SPECIAL[math.pi])
        if isinstance(value, int):
            return self.signed(str(value))
        if not math.isfinite(value):
            return self.signed(self.infinity(value))
        if abs(value) in _SPECIAL:
            text, strength = self.special(_SPECIAL[abs(value)])
            return (text, strength) if value > 0 else (f"{self.minus}{text}", NEGATIVE)
        if value == int(value) and abs(value) < 1e6:
            return self.signed(str(int(value)))
        return self.signed(self.power_of_ten(repr(value) if len(repr(value)) <= 8 else f"{value:.6g}"))

    def signed(self, text):
        return (self.minus + text[1:], NEGATIVE) if text.startswith("-") else (text, ATOM)

    def special(self, both):
        text = both[0]
        return text, MULTIPLY if "/" in text and not text.startswith("√(") or text == "2π" else ATOM

    def infinity(self, value):
        return "nan" if math.isnan(value) else "∞" if value > 0 else "-∞"

    def power_of_ten(self, text):
        return text

    def word(self, text):
        return text

    def _add(self, t, parts):
        return f"{self.at_least(parts[0], ADD)} + {self.at_least(parts[1], MULTIPLY if parts[1][1] == NEGATIVE else ADD)}", ADD

    def _sub(self, t, parts):
        return f"{self.at_least(parts[0], ADD)} {self.minus} {self.at_least(parts[1], MULTIPLY)}", ADD

    def _neg(self, t, parts):
        return f"{self.minus}{self.at_least(parts[0], MULTIPLY)}", NEGATIVE

    def _mul(self, t, parts):
        a, b = (self.at_least(p, MULTIPLY) for p in parts)
        if t.args[0].scalar or t.args[1].scalar:
            return self.scaled(a, b), MULTIPLY
        a, b = (self.group(text) if strength == JOIN and p.op == "matmul" else text for text, (_, strength), p in zip((a, b), parts, t.args))
        return f"{a} {self.each} {b}", MULTIPLY

    def scaled(self, a, b):
        return f"{a}{self.times}{b}"

    def _div(self, t, parts):
        return f"{self.at_least(parts[0], MULTIPLY)}/{self.at_least(parts[1], POWER)}", MULTIPLY

    def _pow(self, t, parts):
        base, exponent = self.at_least(parts[0], ATOM), t.args[1]
        if exponent.op == "number" and isinstance(exponent.data, (int, float)) and float(exponent.data).is_integer() and abs(exponent.data) < 100:
            return base + str(int(exponent.data)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")), POWER
        return f"{base}^{self.at_least(parts[1], ATOM)}", POWER

    def _T(self, t, parts):
        return self.at_least(parts[0], ATOM) + "ᵀ", POWER

    def _matmul(self, t, parts):
        return f"{self.at_least(parts[0], JOIN)} {self.at_least(parts[1], JOIN)}", JOIN

    def _sum(self, t, parts):
        axes, n = t.data
        return ("Σ" if len(axes) == n else "Σ" + "".join(str(a) for a in axes).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))) + self.group(parts[0][0]), ATOM

    def _compare(self, t, parts):
        if len(parts) != 2:
            return self._call(t, parts)
        return f"{self.at_least(parts[0], ADD)} {t.data} {self.at_least(parts[1], ADD)}", COMPARE

    def _iverson(self, t, parts):
        return f"[{parts[0][0]}]", ATOM

    def _where(self, t, parts):
        return f"where({', '.join(p[0] for p in parts)})", ATOM

    def _vector(self, t, parts):
        return f"[{', '.join(p[0] for p in parts)}]", ATOM

    def _broadcast(self, t, parts):
        return f"broadcast({parts[0][0]}, {t.data})", ATOM

    def _reshape(self, t, parts):
        old, new = t.args[0].shape, t.data
        if [n for n in old if n != 1] == [n for n in new if n != 1]:               # axes of length 1 come and go
            index = _inserted(old, new)
            if index is not None:
                return f"{self.at_least(parts[0], ATOM)}[{index}]", ATOM
        return f"reshape({parts[0][0]}, {new})", ATOM

    def _index(self, t, parts):
        return f"{self.at_least(parts[0], ATOM)}[{index_text(t.data, [p[0] for p in parts[1:]])}]", ATOM

    def _einsum(self, t, parts):
        inside, out = t.data.split("->")
        summed = "".join(dict.fromkeys(c for c in inside if c.isalpha() and c not in out))
        factors = "·".join(f"{self.at_least(p, ATOM)}[{','.join(i)}]" if i else self.at_least(p, ATOM) for p, i in zip(parts, inside.split(",")))
        return (f"[Σ_{summed} {factors}]" if summed else f"[{factors}]") + (f"_{out}" if out else ""), ATOM

    def _call(self, t, parts):
        name, data = t.data if isinstance(t.data, tuple) else (t.data, None)
        if name == "sqrt":
            return "√" + self.at_least(parts[0], ATOM), POWER
        if name == "scatter":
            index, shape = data
            return f"zeros({shape}).at[{index_text(index, [p[0] for p in parts[1:]])}].add({parts[0][0]})", ATOM
        arguments = [p[0] for p in parts] + [f"{k}={_parameter(v, parts)}" for k, v in (data or {}).items()]
        return f"{self.functions.get(name, name)}({', '.join(arguments)})", ATOM


class Latex(Text):
    """The same for LaTeX."""

    minus, times, each = "-", r" \cdot ", r"\odot"
    functions = {**{f: "\\" + f for f in "sin cos tan sinh cosh tanh log exp max min arcsin arccos arctan".split()}, "expit": r"\sigma", "tr": r"\operatorname{tr}"}
    _SIGNS = {"<": "<", "≤": r"\le", ">": ">", "≥": r"\ge", "=": "=", "≠": r"\ne", "∧": r"\land", "∨": r"\lor", "⊻": r"\oplus"}

    def group(self, text):
        return rf"\left({text}\right)"

    def name(self, text):
        stem, _, index = text.partition("_")
        match = re.fullmatch(r"([^\W\d_]+)(\d+)", text)
        if match:
            stem, index = match[1], match[2]
        stem, index = (re.sub(r"([_#$%&{}])", r"\\\1", s) for s in (stem, index))
        stem = "\\" + stem if stem in _GREEK else stem if len(stem) == 1 else rf"\mathrm{{{stem}}}"
        return stem + (rf"_{{{index}}}" if len(index) == 1 or index.isdigit() else rf"_{{\mathrm{{{index}}}}}" if index else "")

    def note(self, text):
        return r"\text{ a " + text + "}"

    def output(self, k):
        return rf"\mathrm{{output}}_{{{k}}}"

    def page(self, outputs, definitions, arrays):
        rows = [text if label is None else f"{label} = {text}" for label, text in outputs]
        rows += [(r"\text{where } " if k == 0 else r"\phantom{\text{where }} ") + f"{name} = {text}" for k, (name, text) in enumerate(definitions + arrays)]
        return rows[0] if len(rows) == 1 else r"\begin{aligned}& " + r" \\ & ".join(rows) + r"\end{aligned}"

    def special(self, both):
        return both[1], MULTIPLY if both[1] == r"2\pi" else ATOM

    def infinity(self, value):
        return r"\mathrm{nan}" if math.isnan(value) else r"\infty" if value > 0 else r"-\infty"

    def power_of_ten(self, text):
        mantissa, _, exponent = text.partition("e")
        return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else text

    def word(self, text):
        return rf"\mathrm{{{text}}}"

    def scaled(self, a, b):
        return f"{a}{self.times if b[:1].isdigit() or a[-1:].isdigit() and b.startswith(chr(92) + 'tfrac') else chr(92) + ', '}{b}"

    def _div(self, t, parts):
        return rf"\frac{{{parts[0][0]}}}{{{parts[1][0]}}}", JOIN

    def _pow(self, t, parts):
        return f"{self.at_least(parts[0], ATOM)}^{{{parts[1][0]}}}", POWER

    def _T(self, t, parts):
        return self.at_least(parts[0], ATOM) + r"^{\top}", POWER

    def _matmul(self, t, parts):
        return rf"{self.at_least(parts[0], JOIN)} \, {self.at_least(parts[1], JOIN)}", JOIN

    def _sum(self, t, parts):
        axes, n = t.data
        which = "" if len(axes) == n else rf"_{{\text{{axis {', '.join(map(str, axes))}}}}}"
        return rf"\textstyle\sum{which} {self.group(parts[0][0])}" if which else rf"\sum {self.group(parts[0][0])}", JOIN

    def _compare(self, t, parts):
        if len(parts) != 2:
            return self._call(t, parts)
        return f"{self.at_least(parts[0], ADD)} {self._SIGNS[t.data]} {self.at_least(parts[1], ADD)}", COMPARE

    def _iverson(self, t, parts):
        return rf"\left[{parts[0][0]}\right]", ATOM

    def _where(self, t, parts):
        c, a, b = (p[0] for p in parts)
        return rf"\begin{{cases}}{a} & {c} \\ {b} & \text{{otherwise}}\end{{cases}}", ATOM

    def _vector(self, t, parts):
        return r"\begin{bmatrix}" + r" \\ ".join(p[0] for p in parts) + r"\end{bmatrix}", ATOM

    def _broadcast(self, t, parts):
        return rf"\operatorname{{broadcast}}_{{{_times(t.data)}}}{self.group(parts[0][0])}", ATOM

    def _reshape(self, t, parts):
        return rf"\operatorname{{reshape}}_{{{_times(t.data)}}}{self.group(parts[0][0])}", ATOM

    def _index(self, t, parts):
        index = index_text(t.data, [p[0] for p in parts[1:]]).replace("...", r"\ldots")
        base = self.at_least(parts[0], ATOM)
        return (f"{{{base}}}" if "_" in base else base) + (f"_{{{index}}}" if index.isalnum() else f"_{{[{index}]}}"), ATOM

    def _einsum(self, t, parts):
        inside, out = t.data.split("->")
        summed = "".join(dict.fromkeys(c for c in inside if c.isalpha() and c not in out))
        factors = r" \, ".join(f"{self.at_least(p, ATOM)}_{{{i}}}" if i else self.at_least(p, ATOM) for p, i in zip(parts, inside.split(",")))
        body = (rf"\textstyle\sum_{{{summed}}} " if summed else "") + factors
        return rf"\left[{body}\right]_{{{out}}}" if out else rf"\left[{body}\right]", POWER if out else ATOM

    def _call(self, t, parts):
        name, data = t.data if isinstance(t.data, tuple) else (t.data, None)
        first = parts[0][0] if parts else ""
        if name == "sqrt":
            return rf"\sqrt{{{first}}}", ATOM
        if name == "absolute":
            return rf"\left|{first}\right|", ATOM
        if name == "exp":
            return f"e^{{{first}}}", POWER
        if name == "scatter":
            return rf"\operatorname{{scatter}}_{{[{index_text(data[0], [p[0] for p in parts[1:]])}]}}{self.group(first)}", ATOM
        shown = self.functions.get(name) or r"\operatorname{" + name.replace("_", r"\_") + "}"
        below = ", ".join(f"{k}={_parameter(v, parts)}".replace("_", r"\_") for k, v in (data or {}).items())
        return shown + (rf"_{{\text{{{below}}}}}" if below else "") + self.group(", ".join(p[0] for p in parts)), ATOM


def _times(shape):
    return r" \times ".join(map(str, shape)) or "()"


def _parameter(value, parts):
    return f"[{index_text(value, [p[0] for p in parts[1:]])}]" if isinstance(value, tuple) and any(isinstance(i, slice) or i is Ellipsis for i in value) else \
        "..." if isinstance(value, np.ndarray) else str(value)


def _inserted(old, new):
    """The index that makes shape `new` of `old` by axes of length 1, or None."""
    out, k = [], 0
    for n in new:
        if k < len(old) and old[k] == n:
            out.append(":")
            k += 1
        elif n == 1:
            out.append("None")
        else:
            while k < len(old) and old[k] == 1:
                out.append("0")
                k += 1
            if k >= len(old) or old[k] != n:
                return None
            out.append(":")
            k += 1
    out += ["0"] * (len(old) - k) if all(n == 1 for n in old[k:]) else ["?"]
    return None if "?" in out else ", ".join(out)


# ---- sympy ---------------------------------------------------------------------------------------------------------------------------

_MOST = 2000                     # entries of one array that are worth a symbol each


def to_sympy(graph):
    """The graph as a sympy expression; entry by entry when there are arrays (then a sympy Array, and x of shape (3,) is x_0, x_1, x_2).

    Every operation is applied to arrays of symbols, so this is exact: no entry is left out and no float is made of a constant that has a name. Raises
    ValueError for arrays of more than 2000 entries and TypeError for operations sympy has no word for. Several outputs give a tuple.
    """
    import sympy as sp
    values = {}
    for k in sorted(graph.nodes):
        node = graph.nodes[k]
        shape = tuple(node["shape"])
        if math.prod(shape) > _MOST:
            raise ValueError(f"sympy: {node['primitive']} at {node.get('line') or 'the input'} has shape {shape}, more than {_MOST} entries: trace the function at "
                             "smaller arrays, or use graph.formula(), which keeps arrays whole")
        if node["primitive"] == "input":
            out = np.empty(shape, object)
            for i in np.ndindex(*shape):
                out[i] = sp.Symbol("_".join([str(node["name"]), *map(str, i)]))
        elif node["primitive"] == "constant":
            out = _numbers(node["value"], sp)
        else:
            out = _symbolic(node, [values[u] for u in operands_of(graph, k)], sp)
        out = np.asarray(out, dtype=object) if node["dtype"].kind in "fb" or node["primitive"] == "constant" and isinstance(out, np.ndarray) and out.dtype == object else np.asarray(out)
        values[k] = out if out.shape == shape else np.broadcast_to(out, shape)
    outs = [values[k].item() if values[k].size == 1 and not values[k].shape else sp.Array(values[k].ravel().tolist(), values[k].shape) for k in graph.outputs]
    return outs[0] if len(outs) == 1 else tuple(outs)


def _numbers(value, sp):
    if isinstance(value, Exact):
        return np.array(_exact(value, sp), dtype=object)
    value = np.asarray(value)
    if value.dtype.kind in "iu":
        return value                                       # an index, or an exponent: NumPy's integers do
    out = np.empty(value.shape, object)
    for i in np.ndindex(*value.shape):
        out[i] = _number(value[i].item(), sp)
    return out


def _number(v, sp):
    if isinstance(v, bool):
        return sp.true if v else sp.false
    if isinstance(v, int):
        return sp.Integer(v)
    if not math.isfinite(v):
        return sp.nan if math.isnan(v) else sp.oo if v > 0 else -sp.oo
    top, bottom = v.as_integer_ratio()
    return sp.Rational(top, bottom) if bottom <= 1024 else sp.Float(v, 17)


def _exact(value, sp):
    from .expressions import read
    words = {"add": sp.Add, "multiply": sp.Mul, "subtract": lambda a, b: a - b, "divide": lambda a, b: a / b, "negative": lambda a: -a, "sqrt": sp.sqrt, "log": sp.log}

    def lift(x):
        return sp.pi if isinstance(x, Exact) else sp.Integer(x) if isinstance(x, int) else x
    try:
        return sp.sympify(lift(read(value.name, sp.Symbol, lambda name, *xs: words[name](*map(lift, xs)))))
    except (ValueError, KeyError):
        return sp.Float(value.value, 17)


def _table(sp):
    piece = sp.Piecewise
    one = sp.Integer(1)
    return {
        "add": lambda a, b: a + b, "subtract": lambda a, b: a - b, "multiply": lambda a, b: a * b, "divide": lambda a, b: a / b, "negative": lambda a: -a,
        "power": lambda a, b: sp.Pow(a, b), "square": lambda a: a ** 2, "reciprocal": lambda a: one / a, "absolute": sp.Abs, "remainder": sp.Mod,
        "exp": sp.exp, "exp2": lambda a: 2 ** a, "expm1": lambda a: sp.exp(a) - 1, "log": sp.log, "log2": lambda a: sp.log(a) / sp.log(2),
        "log10": lambda a: sp.log(a) / sp.log(10), "log1p": lambda a: sp.log(1 + a), "sqrt": sp.sqrt, "cbrt": lambda a: sp.sign(a) * sp.Abs(a) ** sp.Rational(1, 3),
        "logaddexp": lambda a, b: sp.log(sp.exp(a) + sp.exp(b)), "sin": sp.sin, "cos": sp.cos, "tan": sp.tan, "arcsin": sp.asin, "arccos": sp.acos, "arctan": sp.atan,
        "arctan2": sp.atan2, "hypot": lambda a, b: sp.sqrt(a ** 2 + b ** 2), "sinh": sp.sinh, "cosh": sp.cosh, "tanh": sp.tanh, "arcsinh": sp.asinh, "arccosh": sp.acosh,
        "arctanh": sp.atanh, "erf": sp.erf, "erfc": sp.erfc, "expit": lambda a: one / (1 + sp.exp(-a)), "log_expit": lambda a: -sp.log(1 + sp.exp(-a)),
        "logit": lambda a: sp.log(a / (1 - a)), "xlogy": lambda a, b: piece((0, sp.Eq(a, 0)), (a * sp.log(b), True)), "maximum": sp.Max, "minimum": sp.Min,
        "where": lambda c, a, b: piece((a, c), (b, True)), "sign": sp.sign, "floor": sp.floor, "ceil": sp.ceiling,
        "floor_divide": lambda a, b: sp.floor(a / b), "less": sp.Lt, "less_equal": sp.Le, "greater": sp.Gt, "greater_equal": sp.Ge, "equal": sp.Eq, "not_equal": sp.Ne,
        "logical_and": sp.And, "logical_or": sp.Or, "logical_not": sp.Not, "logical_xor": sp.Xor, "copy": lambda a: a, "stop_gradient": lambda a: a,
        "trunc": lambda a: sp.sign(a) * sp.floor(sp.Abs(a)),
    }


def _symbolic(node, operands, sp):
    """One operation on arrays of sympy expressions."""
    from .vocabulary import PRIMITIVES
    name, params = node["primitive"], node["params"]
    lifted = [x if x.dtype == object else np.vectorize(lambda v: sp.Integer(int(v)), otypes=[object])(x) if x.size else x.astype(object) for x in operands]
    rule = _table(sp).get(name)
    if rule is not None:
        return np.frompyfunc(rule, len(lifted), 1)(*lifted)
    if name == "astype":
        return lifted[0]
    if name in ("getitem", "setitem", "add_at", "scatter"):
        many = 2 if name in ("setitem", "add_at") else 1
        return PRIMITIVES[name].evaluate(*lifted[:many], *[np.asarray(x, int) for x in operands[many:]], **params)
    from sympy.logic.boolalg import Boolean
    lifted = [np.frompyfunc(lambda a: sp.Piecewise((1, a), (0, True)) if isinstance(a, Boolean) and not a.is_Symbol else a, 1, 1)(x) for x in lifted]
    if name in ("sum", "prod", "mean", "matmul", "dot", "tensordot", "reshape", "transpose", "broadcast_to", "concatenate", "cumsum", "cumprod", "pad"):
        return PRIMITIVES[name].evaluate(*lifted, **params)
    if name == "einsum":
        return np.einsum(params["subscripts"], *lifted)
    x = lifted[0]
    if name in ("max", "min"):
        return np.frompyfunc(sp.Max if name == "max" else sp.Min, 2, 1).reduce(x, axis=params["axis"], keepdims=params["keepdims"]) if len(params["axis"]) < 2 else \
            _over_axes(x, params, sp.Max if name == "max" else sp.Min)
    if name == "logsumexp":
        total = np.sum(np.frompyfunc(sp.exp, 1, 1)(x), axis=params["axis"], keepdims=params["keepdims"])
        return np.frompyfunc(sp.log, 1, 1)(total)
    if name == "var":
        n = math.prod(x.shape[k] for k in params["axis"])
        off = x - np.sum(x, axis=params["axis"], keepdims=True) / sp.Integer(n)
        return np.sum(off * off, axis=params["axis"], keepdims=params["keepdims"]) / sp.Integer(n - params["ddof"])
    raise TypeError(f"sympy: {name} at {node.get('line') or 'an unknown line'} has no counterpart in sympy; graph.formula() shows the graph without it")


def _over_axes(x, params, operate):
    kept = [k for k in range(x.ndim) if k not in params["axis"]]
    flat = np.transpose(x, (*kept, *params["axis"])).reshape([x.shape[k] for k in kept] + [-1])
    out = np.asarray(np.frompyfunc(operate, 2, 1).reduce(flat, axis=-1), dtype=object)
    return out.reshape([1 if k in params["axis"] else x.shape[k] for k in range(x.ndim)]) if params["keepdims"] else out
