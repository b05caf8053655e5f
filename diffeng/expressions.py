"""Formulas as text and as sympy expressions, made into graphs: `parse("sin(x)*y")`, `from_sympy(expr)`.

What it is: a tokeniser and an operator-precedence parser of our own (Dijkstra's shunting yard: two stacks, no recursion, so depth is no
danger), and a walk over sympy's trees, also with a stack. Both end in the same place: primitives called on symbols without values.

What it is not: nothing is ever handed to eval, exec or sympify, and no name is looked up anywhere but in the lists below.

Why a file: it is the only way in for text, so it is the only place to check for what text may do.

    expression  sum of terms           + and -
    term        product of factors     * and /                (also · and ×)
    factor      - factor | power
    power       atom ** factor         right to left, ^ means the same; -x**2 is -(x**2), 2**-1 is 0.5; x² and x³ too
    atom        number | name | function(expression, ...) | (expression)
"""
import functools
import math
import operator
import re

import numpy as np

from .constants import PI
from .nodes import Tracing
from .traced import Traced
from .vocabulary import PRIMITIVES as P

_ONE = ("sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh exp exp2 expm1 log log2 log10 log1p sqrt cbrt "
        "square reciprocal sign floor ceil trunc erf erfc expit log_expit logit gammaln gamma psi erfinv erfcinv erfcx dawsn expi ellipk ellipe").split()
_TWO = "maximum minimum power hypot arctan2 logaddexp xlogy remainder zeta expn gammainc gammaincc jv yv iv ive kv kve".split()
_ALIASES = {"ln": "log", "abs": "absolute", "fabs": "absolute", "absolute": "absolute", "sigmoid": "expit", "σ": "expit", "pow": "power",
            "max": "maximum", "min": "minimum", "atan2": "arctan2", "mod": "remainder", "√": "sqrt",
            **{f"a{f}": f"arc{f}" for f in "sin cos tan sinh cosh tanh".split()}}
FUNCTIONS = {**{name: (name, 1) for name in _ONE}, **{name: (name, 2) for name in _TWO},
             **{alias: (name, 2 if name in _TWO else 1) for alias, name in _ALIASES.items()}}      # name: (primitive, operands)
CONSTANTS = {"pi": PI, "π": PI, "e": math.e}

_TOKEN = re.compile(r"""\s*(?:
    (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
  | (?P<name>[^\W\d²³][^\W²³]*|√)
  | (?P<operator>\*\*|[-+*/^(),·×−²³])
  | (?P<end>$)
  | (?P<wrong>.)
)""", re.VERBOSE | re.DOTALL)
_SAME = {"^": "**", "·": "*", "×": "*", "−": "-"}

_BINARY = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "**": "power"}
_SUPERSCRIPTS = {"²": 2, "³": 3}
_STRENGTH = {"add": 1, "subtract": 1, "multiply": 2, "divide": 2, "negative": 3, "power": 4}
_OPERAND, _OPERATOR = "a number, a name, a function or '('", "an operator"


def parse(text):
    """The graph of a formula. Its inputs are float64 scalars, in the order in which their names first appear.

    text: numbers, names, + - * / ** ^, parentheses, pi, e and the functions of `FUNCTIONS`. Raises ValueError with the column, and with what
    was expected there.

    >>> import diffeng as de
    >>> float(de.parse("sin(x)*y + x**2")(0.0, 3.0))
    0.0
    """
    if not isinstance(text, str):
        raise TypeError(f"parse() wants a formula as text, such as 'sin(x)*y', not {type(text).__name__}")
    tracing, names = Tracing(), {}

    def name_of(name):
        if name not in names:
            names[name] = tracing.input(None, name, (), float)
        return names[name]

    out = read(text, name_of, lambda name, *operands: _apply(name, operands))
    return _graph(list(names.values()), out)


def read(text, name_of, apply):
    """Run the grammar over `text`: name_of(name) makes a variable, apply(primitive name, *operands) an operation; returns the last value made.

    Numbers arrive as int and float, `pi` as an Exact. The formula printer reads the names of exact constants with it.
    """
    reader = _Reader(text, name_of, apply)
    step = reader.operand
    for kind, token, column in _tokens(text):
        step = step(kind, _SAME.get(token, token), column)
        if step is None:
            return reader.values.pop()


class _Reader:
    """The two stacks. `operand`, `opening` and `operator` take the token of which that is expected, and return who takes the next one; None behind the last."""

    def __init__(self, text, name_of, apply):
        self.text, self.name_of, self.apply = text, name_of, apply
        self.values, self.operators = [], []           # operators: (name, column, operands); of an open parenthesis "(", or "call", with the function's name behind it

    def operand(self, kind, token, column):
        if kind == "number":
            self.values.append(_number(token))
        elif kind == "name" and token in FUNCTIONS:
            if not _next_is_open(self.text, column + len(token)):
                self.fail(column + len(token), f"expected '(' after the function {token}")
            self.operators.append(("call", column, 1, token))
            return self.opening
        elif kind == "name":
            if _next_is_open(self.text, column + len(token)):
                self.fail(column, f"expected {_OPERAND}, but {token!r} is no function diffeng.parse knows: {_near(token)} (for a product write {token}*(...))")
            self.values.append(CONSTANTS[token] if token in CONSTANTS else self.name_of(token))
        elif token == "(":
            self.operators.append(("(", column, 0))
            return self.operand
        elif token == "-":
            self.operators.append(("negative", column, 1))
            return self.operand
        elif token == "+":                                           # a leading + changes nothing
            return self.operand
        else:
            self.fail(column, f"expected {_OPERAND}, found {_found(kind, token)}")
        return self.operator

    def opening(self, kind, token, column):
        """The parenthesis behind a function's name: it is there."""
        return self.operand

    def operator(self, kind, token, column):
        if kind == "end":
            self.close(0)
            if self.operators:
                self.fail(self.operators[-1][1], "this parenthesis is never closed: expected ')' before the end")
            return None
        if token in _SUPERSCRIPTS:
            self.operators.append(("power", column, 2))
            self.values.append(_SUPERSCRIPTS[token])
            self.reduce()
            return self.operator
        if token in _BINARY:
            self.close(_STRENGTH[_BINARY[token]] + (token == "**"))        # ** goes from right to left
            self.operators.append((_BINARY[token], column, 2))
            return self.operand
        if token == ")":
            self.close(0)
            if not self.operators:
                self.fail(column, "this parenthesis was never opened: expected an operator or the end")
            opened = self.operators.pop()
            if opened[0] == "call":
                self.call(*opened[1:], column)
            return self.operator
        if token == ",":
            self.close(0)
            if not self.operators or self.operators[-1][0] != "call":
                self.fail(column, "a comma stands between the operands of a function only: expected an operator or ')'")
            _, start, count, name = self.operators.pop()
            self.operators.append(("call", start, count + 1, name))
            return self.operand
        self.fail(column, f"expected {_OPERATOR}{' or a parenthesis' if self.operators else ' or the end'}, found {_found(kind, token)}"
                          + (" (a product is written with *)" if kind in ("number", "name") or token == "(" else ""))

    def close(self, strength):
        """Finish what binds at least as strongly."""
        while self.operators and _STRENGTH.get(self.operators[-1][0], -1) >= strength:
            self.reduce()

    def reduce(self):
        name, column, count = self.operators.pop()
        operands = self.values[len(self.values) - count:]
        del self.values[len(self.values) - count:]
        try:
            self.values.append(self.apply(name, *operands))
        except (ArithmeticError, ValueError) as error:
            self.fail(column, f"{name} cannot be computed here: {error}")

    def call(self, start, count, name, column):
        primitive, wanted = FUNCTIONS[name]
        if count != wanted:
            self.fail(column, f"{name} takes {wanted} operand{'s' * (wanted > 1)}, found {count}"
                              f": expected {'a comma and the other' if count < wanted else 'a parenthesis after the first' if wanted == 1 else 'no third'}")
        self.operators.append((primitive, start, count))
        self.reduce()

    def fail(self, column, problem):
        raise ValueError(_pointing(self.text, column, problem))


def _tokens(text):
    at = 0
    while True:
        match = _TOKEN.match(text, at)
        kind = match.lastgroup
        yield kind, match.group(kind), match.start(kind)
        at = match.end()


def _next_is_open(text, at):
    return text[at:].lstrip()[:1] == "(" if at < len(text) else False


def _number(token):
    number = float(token)
    return int(token) if token.isdigit() and number < 2 ** 53 else number


def _found(kind, token):
    return "the end" if kind == "end" else repr(token)


def _near(name):
    import difflib
    close = difflib.get_close_matches(name, FUNCTIONS, 1)
    return f"did you mean {close[0]}?" if close else "it knows " + ", ".join(sorted(FUNCTIONS))


def _pointing(text, column, problem):
    """The text with a caret under the column; a window of it when it is long."""
    shown = "".join(" " if c.isspace() else c for c in text)
    start = max(0, column - 50) if len(text) > 100 else 0
    window = shown[start:start + 100]
    return f"column {column + 1}: {problem}\n    {window}\n    {' ' * (column - start)}^"


# ---- constants are computed while reading -------------------------------------------------------------------------------------

_OF_PYTHON = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv}          # integers and exact constants stay so


def _apply(name, operands):
    if any(isinstance(x, Traced) for x in operands):
        return P[name](*operands)
    if name in _OF_PYTHON and not all(isinstance(x, float) for x in operands):
        a, b = operands
        if name == "divide" and isinstance(b, (int, float)) and b == 0:
            raise ZeroDivisionError("division by zero")
        out = _OF_PYTHON[name](a, b)
        return float(out) if isinstance(out, (np.generic, np.ndarray)) or isinstance(out, int) and abs(out) >= 2 ** 53 else out
    if name == "negative":
        return -operands[0]
    with np.errstate(all="raise"):
        out = float(P[name](*[float(x) for x in operands]))
    return int(out) if out.is_integer() and abs(out) < 2 ** 53 and all(isinstance(x, int) for x in operands) else out


def _graph(inputs, out):
    from .graph import Graph
    out = out.node if isinstance(out, Traced) else np.asarray(out if isinstance(out, bool) else float(out))[()]
    return Graph([x.node for x in inputs], [out])


# ---- sympy -----------------------------------------------------------------------------------------------------------------------

_SYMPY = {"Abs": "absolute", "ceiling": "ceil", "Max": "maximum", "Min": "minimum", "Mod": "remainder", "atan2": "arctan2", "loggamma": "gammaln",
          **{f: f for f in "sin cos tan sinh cosh tanh exp log sign floor erf erfc gamma zeta erfinv erfcinv".split()}, "elliptic_k": "ellipk", "elliptic_e": "ellipe",
          "Ei": "expi", "expint": "expn", **{f"bessel{f}": f"{f}v" for f in "jyik"},
          **{f"a{f}": f"arc{f}" for f in "sin cos tan sinh cosh tanh".split()},
          "StrictGreaterThan": "greater", "GreaterThan": "greater_equal", "StrictLessThan": "less", "LessThan": "less_equal",
          "Equality": "equal", "Unequality": "not_equal", "And": "logical_and", "Or": "logical_or", "Not": "logical_not", "Xor": "logical_xor"}
_RECIPROCAL = {"sec": "cos", "csc": "sin", "cot": "tan", "sech": "cosh", "csch": "sinh", "coth": "tanh"}


def from_sympy(expr, inputs=None):
    """The graph of a scalar sympy expression.

    inputs: its symbols, or their names, in the order in which the graph takes them; None: by name. Each is a float64 scalar; one that the
    expression does not mention is an input all the same. Raises ValueError for a symbol that is no input and for a function without a primitive.

    >>> import sympy, diffeng as de
    >>> x, y = sympy.symbols("x y")
    >>> float(de.from_sympy(sympy.exp(x) / y, inputs=[x, y])(0.0, 4.0))
    0.25
    """
    import sympy as sp
    expr = sp.sympify(expr) if not isinstance(expr, (str, bytes)) else None
    if not isinstance(expr, sp.Basic) or isinstance(expr, sp.MatrixBase) or getattr(expr, "is_Matrix", False):
        raise TypeError("from_sympy() wants a scalar sympy expression; for text there is diffeng.parse, and a matrix goes entry by entry")
    free = sorted(expr.free_symbols, key=str)
    wanted = free if inputs is None else list(inputs)
    names = [str(s) for s in wanted]
    missing = [str(s) for s in free if str(s) not in names]
    if missing or len(set(names)) < len(names):
        raise ValueError(f"from_sympy: the symbol {missing[0]!r} is no input: pass inputs=[{', '.join(map(str, free))}]" if missing
                         else f"from_sympy: an input is named twice: {names}")
    tracing = Tracing()
    tracers = {name: tracing.input(None, name, (), float) for name in names}
    done, stack = {}, [expr]
    while stack:                                                  # operands first; shared subexpressions once
        node = stack[-1]
        if node in done:
            stack.pop()
            continue
        operands = _operands(node, sp)
        waiting = [x for x in operands if x not in done]
        if waiting:
            stack.extend(waiting)
        else:
            stack.pop()
            done[node] = tracers[str(node)] if node.is_Symbol else _convert(node, [done[x] for x in operands], sp)
    return _graph(list(tracers.values()), done[expr])


def _operands(node, sp):
    if isinstance(node, sp.Piecewise):
        return [x for pair in node.args for x in pair.args]
    if node.is_Pow and _is_root(node.exp):
        return [node.base]
    if node.is_Mul:
        return [part for f in node.args for part in _factor(f, sp)[0]]
    if node.is_Add:
        return [term for term, _ in _terms(node)]
    return list(node.args) if not node.is_Atom else []


def _is_root(power):
    return power.is_Rational and abs(power.p) == 1 and power.q == 2 or power.is_Integer


def _terms(node):
    """[(term, subtracted?)], one that is added first: -x + y is y - x."""
    def negative(term):
        first = term.args[0] if term.is_Mul else term
        return bool(first.is_Rational and first.is_negative)
    terms = [(-t, True) if negative(t) else (t, False) for t in node.args]
    return sorted(terms, key=lambda pair: pair[1]) if not all(minus for _, minus in terms) else [(t, False) for t in node.args]


def _factor(f, sp):
    """(parts, in the denominator?): x**-n is below the line, p/q on both sides of it."""
    if f.is_Rational and not f.is_Integer:
        return [sp.Integer(f.p), sp.Integer(f.q)], None
    if f.is_Pow and f.exp.is_Rational and f.exp.is_negative:
        return [f.base if f.exp == -1 else sp.Pow(f.base, -f.exp)], True
    return [f], False


def _convert(node, operands, sp):
    """One sympy node on operands that are tracers or numbers."""
    if node.is_Atom:
        return _sympy_constant(node, sp)
    if node.is_Add:
        out = operands[0]
        for (_, minus), x in zip(_terms(node)[1:], operands[1:]):
            out = _apply("subtract" if minus else "add", (out, x))
        return out
    if node.is_Mul:
        return _multiplied(node, operands, sp)
    if node.is_Pow:
        return _powered(node.exp, *operands)
    if isinstance(node, sp.Piecewise):
        *pairs, (out, otherwise) = zip(operands[::2], operands[1::2])
        if otherwise is not True:
            raise ValueError("from_sympy: a Piecewise needs a last piece for all other cases: (..., True)")
        for value, condition in reversed(pairs):
            out = P["where"](condition, value, out)
        return out
    name = type(node).__name__
    if name == "polygamma" and node.args[0].is_Integer:
        from .special import polygamma
        return polygamma(int(node.args[0]), operands[1])
    if name in _RECIPROCAL:
        return _apply("divide", (1, _apply(_RECIPROCAL[name], tuple(operands))))
    primitive = _SYMPY.get(name)
    if primitive is None:
        raise ValueError(f"from_sympy: {name} has no primitive (in {str(node)[:80]}): rewrite the expression with one of "
                         f"{', '.join(sorted([*_SYMPY, *_RECIPROCAL]))}, a power or a Piecewise (sympy's .rewrite() and .doit() help)")
    if len(operands) > 2 or len(operands) == 2 and name in ("Max", "Min", "And", "Or", "Xor"):
        return _joined(primitive, operands)
    return _apply(primitive, tuple(operands))


def _multiplied(node, operands, sp):
    above, below, rest = [], [], iter(operands)
    for f in node.args:
        parts, under = _factor(f, sp)
        for k, _ in enumerate(parts):
            (below if under or under is None and k else above).append(next(rest))
    negative = len(above) > 1 and isinstance(above[0], int) and above[0] == -1
    above = [x for x in (above[1:] if negative else above) if not (isinstance(x, int) and x == 1)] or [1]
    out = _joined("multiply", above)
    if below:
        out = _apply("divide", (out, _joined("multiply", below)))
    return _apply("negative", (out,)) if negative else out


def _powered(power, base, exponent=None):
    """power: the exponent as sympy has it; where that is a root or an integer, there is no operand for it."""
    if exponent is not None:
        return _apply("power", (base, exponent))
    if power.q == 2:
        out = _apply("sqrt", (base,))
    elif abs(power) == 1:
        out = base
    elif abs(power) == 2:
        out = _apply("square", (base,))
    else:
        out = _apply("power", (base, abs(int(power))))
    return _apply("divide", (1, out)) if power.is_negative else out


def _joined(primitive, operands):
    return functools.reduce(lambda x, y: _apply(primitive, (x, y)), operands)


def _sympy_constant(node, sp):
    if node.is_Integer:
        return int(node) if abs(int(node)) < 2 ** 53 else float(node)
    if node is sp.pi:
        return PI
    if node in (sp.true, sp.false):
        return bool(node)
    if node.is_number and node.is_real:
        return float(node)
    raise ValueError(f"from_sympy: {node} is no real number: diffeng differentiates real functions")
