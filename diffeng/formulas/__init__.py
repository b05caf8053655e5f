"""Graphs as readable mathematics: text and LaTeX. (sympy expressions are made by as_sympy.py, code to run by source_code.py; both are reached from here.)

What it is: two alphabets for the terms of terms.py. Each writes one term from the texts of its parts, with the strength of its binding beside
it, so parentheses stand exactly where they are needed; no recursion, so a chain of any length is ordinary. What is used more than once in a
formula that would otherwise swell gets a name, and a line after "where".

What it is not: an evaluation; and no rule of mathematics stands here (terms.py has them).

Why a file: how a thing is written is one subject, in both alphabets side by side.
"""
import math
import re

import numpy as np

from .as_sympy import to_sympy                          # noqa: F401  graph.sympy() looks for it here
from ..constants import Exact
from .source_code import source                        # noqa: F401  graph.source() looks for it here
from .terms import Terms, below, index_text
from .tidying import tidy

# How strongly a text binds.
CHOICE, COMPARE, ADD, NEGATIVE, MULTIPLY, JOIN, POWER, ATOM = range(8)

_SWELL = 60                   # characters: a shorter formula gets no names,
_NAMED = 10                   # a longer one names what is shared and has that many,
_LONG = 200                   # and no text grows past this one
_LOWER, _UPPER = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"), str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_GREEK = ("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega "
          "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega").split()
_SPECIAL = {math.pi: ("π", r"\pi"), 2 * math.pi: ("2π", r"2\pi"), math.pi / 2: ("π/2", r"\tfrac{\pi}{2}"), math.e: ("e", "e"),
            2 ** 0.5: ("√2", r"\sqrt{2}"), 0.5 ** 0.5: ("1/√2", r"\tfrac{1}{\sqrt{2}}"), math.sqrt(2 / math.pi): ("√(2/π)", r"\sqrt{2/\pi}"),
            math.sqrt(math.pi): ("√π", r"\sqrt{\pi}"),
            math.sqrt(2 * math.pi): ("√(2π)", r"\sqrt{2\pi}"), math.log(2): ("log(2)", r"\log 2"), 1 / 3: ("1/3", r"\tfrac{1}{3}"),
            2 / 3: ("2/3", r"\tfrac{2}{3}")}


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
    terms.outputs = tidy(terms, terms.outputs)
    names = [str(graph.nodes[k].get("name", "")) for k in graph.inputs]
    style.e_is_taken = "e" in names
    letter = next((c for c in "stuvqr" if not any(n.startswith(c) for n in names)), "tmp")
    order = below(terms.outputs)
    texts, definitions = _texts(order, terms.outputs, style, lambda k: f"{letter}{k}")
    if len(definitions) == 1:                       # a single one needs no number
        texts, definitions = _texts(order, terms.outputs, style, lambda k: letter)
    labels = [style.output(k) for k in range(len(terms.outputs))] if len(terms.outputs) > 1 else [None]
    arrays = [(style.name(label), style.note(f"constant {value.dtype} array of shape {value.shape}")) for label, value in terms.arrays
              if any(t.op == "array" and t.data == label for t in order)]
    return style.page([(label, texts[t.serial][0]) for label, t in zip(labels, terms.outputs)], definitions, arrays)


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
    e_is_taken = False                # by a variable: then Euler's number is written as a function's value

    def group(self, text):
        return f"({text})"

    def at_least(self, part, strength):
        return part[0] if part[1] >= strength else self.group(part[0])

    def term(self, t, parts):
        return getattr(self, "_" + t.op)(t, parts)

    def name(self, text):
        text = "pi" if text == "π" else text                       # the letter is the constant's
        match = re.fullmatch(r"([^\W\d_])(\d+)", text)
        return match[1] + match[2].translate(_LOWER) if match else text

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
        if abs(value) == math.e and self.e_is_taken:
            return self.signed(f"{'-' if value < 0 else ''}{self.functions.get('exp', 'exp')}{self.group('1')}")
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
            return base + str(int(exponent.data)).translate(_UPPER), POWER
        return f"{base}^{self.at_least(parts[1], ATOM)}", POWER

    def _T(self, t, parts):
        return self.at_least(parts[0], ATOM) + "ᵀ", POWER

    def _inverse(self, t, parts):
        return self.at_least(parts[0], ATOM) + "⁻¹", POWER

    def _inverse_T(self, t, parts):
        return self.at_least(parts[0], ATOM) + "⁻ᵀ", POWER

    def _matmul(self, t, parts):
        return f"{self.at_least(parts[0], JOIN)} {self.at_least(parts[1], JOIN)}", JOIN

    def _sum(self, t, parts):
        axes, n = t.data
        below = "" if len(axes) == n else "".join(str(a) for a in axes).translate(_LOWER)
        return f"Σ{below}{self.group(parts[0][0])}", ATOM

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
    functions = {**{f: "\\" + f for f in "sin cos tan sinh cosh tanh log exp max min arcsin arccos arctan det".split()}, "expit": r"\sigma",
                 "gammaln": r"\ln\Gamma", "gamma": r"\Gamma", "psi": r"\psi", "zeta": r"\zeta",
                 "gammainc": "P", "gammaincc": "Q", "ellipk": "K",
                 "ellipe": "E", "hyp2f1": "{}_2F_1", "expi": r"\operatorname{Ei}", "erfinv": r"\operatorname{erf}^{-1}", "erfcinv": r"\operatorname{erfc}^{-1}"}
    _ORDERED = {"jv": "J", "yv": "Y", "iv": "I", "kv": "K", "expn": "E"}                # the first operand stands below
    _SIGNS = {"<": "<", "≤": r"\le", ">": ">", "≥": r"\ge", "=": "=", "≠": r"\ne", "∧": r"\land", "∨": r"\lor", "⊻": r"\oplus"}

    def group(self, text):
        return rf"\left({text}\right)"

    def name(self, text):
        stem, _, index = text.partition("_")
        match = re.fullmatch(r"([^\W\d_]+)(\d+)", text)
        if match:
            stem, index = match[1], match[2]
        stem, index = (re.sub(r"([_#$%&{}])", r"\\\1", s) for s in (stem, index))
        stem = r"\mathrm{pi}" if stem in ("pi", "π") and not index else "\\" + stem if stem in _GREEK else stem if len(stem) == 1 else rf"\mathrm{{{stem}}}"
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

    def _inverse(self, t, parts):
        return self.at_least(parts[0], ATOM) + "^{-1}", POWER

    def _inverse_T(self, t, parts):
        return self.at_least(parts[0], ATOM) + r"^{-\top}", POWER

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
        if name == "exp" and not self.e_is_taken:
            return f"e^{{{first}}}", POWER
        if name in self._ORDERED:
            return rf"{self._ORDERED[name]}_{{{first}}}{self.group(parts[1][0])}", ATOM
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
