"""A sympy formula as a list of calls of primitives, and the constants in it.

What it is: `Formula` walks an expression once, equal subexpressions once, and then runs on whatever the symbols stand for: arrays,
nodes, dual numbers, 100-digit arrays. Every number in it is exact: integers stay Python integers, p/q is a division done by the
arrays, and what has no float64 (pi, log 2, 0.1 - 1) is a `constants.Exact`.

What it is not: no derivative, and no text: nothing is evaluated from a string.
Why a file: it is the only place that knows how a sympy node is written in NumPy.
"""
from fractions import Fraction

import numpy as np
import sympy as sp

from ..constants import Exact
from ..traced import Traced
from ..vocabulary import PRIMITIVES, elementwise as e
from .definitions import nonzero

NAMES = {sp.exp: "exp", sp.log: "log", sp.sin: "sin", sp.cos: "cos", sp.tan: "tan", sp.asin: "arcsin", sp.acos: "arccos", sp.atan: "arctan",
         sp.atan2: "arctan2", sp.sinh: "sinh", sp.cosh: "cosh", sp.tanh: "tanh", sp.asinh: "arcsinh", sp.acosh: "arccosh", sp.atanh: "arctanh",
         sp.erf: "erf", sp.erfc: "erfc", sp.loggamma: "gammaln", sp.besselj: "jv", sp.bessely: "yv", sp.besseli: "iv", sp.besselk: "kv", sp.expint: "expn", sp.elliptic_k: "ellipk",
         sp.elliptic_e: "ellipe", sp.Ei: "expi",
         sp.Abs: "absolute", sp.sign: "sign", sp.Eq: "equal", sp.Ne: "not_equal", sp.Gt: "greater",
         sp.Ge: "greater_equal", sp.Lt: "less", sp.Le: "less_equal"}
_ROOTS = {sp.Rational(1, 2): "sqrt", sp.Rational(1, 3): "cbrt"}


# ---- constants ---------------------------------------------------------------------------------------------------------

def _digits(c, arb):
    """A sympy number at the precision in force."""
    if c.is_Integer:
        return arb(int(c))
    if c.is_Rational:
        return arb(int(c.p)) / arb(int(c.q))
    if c is sp.pi:
        return arb.pi()
    if c is sp.E:
        return arb(1).exp()
    args = [_digits(a, arb) for a in c.args]
    if c.is_Add or c.is_Mul:
        out = args[0]
        for a in args[1:]:
            out = out + a if c.is_Add else out * a
        return out
    if c.is_Pow:
        return args[0].sqrt() if c.exp == sp.Rational(1, 2) else args[0]**args[1]
    return getattr(args[0], c.func.__name__)()


def constant(c):
    """A sympy number as Python's int or float where that is exact, else as Exact."""
    if c.is_Integer:
        return int(c)
    if c.is_Rational and Fraction(int(c.p), int(c.q)) == float(c):          # (to sympy a rational number is no float)
        return float(c)
    return Exact(str(c), float(c), lambda arb: _digits(c, arb))


_ARITHMETIC = {"add": lambda a, b: a + b, "subtract": lambda a, b: a - b, "multiply": lambda a, b: a * b, "divide": lambda a, b: a / b,
               "power": lambda a, b: a**b, "negative": lambda a: -a, "square": lambda a: a * a, "reciprocal": lambda a: 1 / a, "absolute": abs}


def _fold(primitive, args):
    """A primitive of Python numbers and Exacts only: the same, kept to all digits."""
    values = [float(a) for a in args]
    with np.errstate(all="ignore"):
        out = primitive.evaluate(*values)
    if primitive.slots == ():
        return bool(out) if np.result_type(out) == bool else float(out)
    if primitive is e.where:
        return args[1] if values[0] else args[2]
    operate = _ARITHMETIC.get(primitive.name)
    if not np.isfinite(out):
        return float(out)
    rational = operate is not None and primitive.name != "power" and not any(isinstance(a, Exact) for a in args)
    if rational and operate(*[Fraction(v) for v in values]) == Fraction(float(out)):
        return float(out)

    def digits(arb):
        exact = [a.digits(arb) if isinstance(a, Exact) else arb(a) for a in args]
        return operate(*exact) if operate else getattr(exact[0], primitive.name.replace("arc", "a"))(*exact[1:])
    return Exact(f"{primitive.name}({', '.join(map(str, args))})", out, digits)


class Context:
    """What a formula runs in. dtype: of the results. lowest: the lowest interpreter among the inputs, or None. axis, count: of a reduction."""

    __slots__ = ("dtype", "lowest", "axis", "count")

    def __init__(self, dtype, inputs, axis=None, count=None):
        self.dtype, self.axis, self.count = dtype, axis, count
        self.lowest = min((v.interpreter for v in inputs if isinstance(v, Traced)), key=lambda i: i.level, default=None)


_ROUNDS_NOT = {"negative", "absolute", "where", "copy", "astype", "stop_gradient"}


def call(primitive, context, args):
    """The primitive, with what weak scalars and constants need: they must cost neither a float32 its type nor a judge his digits."""
    if not any([isinstance(a, (np.ndarray, np.generic, Traced)) for a in args]):
        return _fold(primitive, args)
    if primitive is e.where:
        if isinstance(args[0], (bool, float)):
            return args[1] if args[0] else args[2]
        if not any([isinstance(a, (np.ndarray, np.generic, Traced)) for a in args[1:]]):      # where(c, 1, 0) would be of integers
            args = (args[0], *[context.dtype.type(float(a)) for a in args[1:]])
    elif primitive is e.logical_and or primitive is e.logical_or:
        for a, b in (args, args[::-1]):
            if isinstance(a, (bool, float)):
                return b if bool(a) is (primitive is e.logical_and) else bool(a)
    if primitive.held:                                          # of Python's numbers SciPy makes float64 in some functions, whatever they meet
        args = [context.dtype.type(a) if type(a) in (int, float) else a for a in args]
    if context.lowest is not None and primitive.slots != () and primitive.name not in _ROUNDS_NOT and not any([isinstance(a, Traced) for a in args]):
        return context.lowest.apply(primitive, args, {})         # constants only: computed, or recorded, where the rest is
    return primitive(*args)


# ---- formulas ------------------------------------------------------------------------------------------------------------

class Formula:
    """An expression, ready to run: formula(context, {"x": ..., "g": ...}).

    special: {name of a sympy function or class: f(context, *values)}: what is no primitive (sums along axes, say). alike: {index: index}: symbols
    that stand for the same thing when arrays are computed as a whole, so that what differs only in them is computed once.
    """

    def __init__(self, expression, special=None, alike=None):
        self.expression, self.special, self.alike = expression, special or {}, alike or {}
        self.steps, self.known, self.symbols = [], {}, set()
        self.result = self._emit(expression)

    def __call__(self, context, values):
        done = []
        for function, args in self.steps:
            done.append(function(context, *[done[a] if how == 0 else a if how == 1 else values[a] for how, a in args]))
        how, a = self.result
        return done[a] if how == 0 else a if how == 1 else values[a]

    # Every _emit returns a reference: (0, number of a step), (1, constant) or (2, name of a symbol).

    def _step(self, function, *args):
        self.steps.append((function, args))
        return 0, len(self.steps) - 1

    def _call(self, name, *args):
        primitive = PRIMITIVES[name]
        return self._step(lambda context, *values: call(primitive, context, values), *args)

    def _emit(self, x):
        key = x.xreplace(self.alike) if self.alike and x.args else x
        if key not in self.known:
            self.known[key] = self._new(x)
        return self.known[key]

    def _new(self, x):
        if x in (sp.true, sp.false):
            return 1, bool(x)
        if x.is_Symbol or isinstance(x, sp.Indexed):
            name = str(x.base if isinstance(x, sp.Indexed) else x)
            self.symbols.add(name)
            return 2, name
        if x.is_number:
            return 1, constant(x)
        name = type(x).__name__
        if name in self.special:
            return self._step(self.special[name], *[self._emit(a) for a in (x.args[:1] if isinstance(x, (sp.Sum, sp.Product)) else x.args)])
        if x.is_Add:
            return self._sum(x)
        if x.is_Mul:
            return self._product(x)
        if x.is_Pow:
            return self._power(x.base, x.exp)
        if isinstance(x, sp.Piecewise):
            return self._choice(x)
        if isinstance(x, (sp.And, sp.Or)):
            out = self._emit(x.args[0])
            for a in x.args[1:]:
                out = self._call("logical_and" if isinstance(x, sp.And) else "logical_or", out, self._emit(a))
            return out
        if isinstance(x, nonzero):
            return self._call("where", self._call("equal", self._emit(x.args[1]), (1, 0)), (1, 1), self._emit(x.args[0]))
        name = NAMES.get(type(x), name)
        if name not in PRIMITIVES:
            raise NotImplementedError(f"the function {name} of a definition has no NumPy form: add it to NAMES in "
                                      "diffeng/symbolic/emit.py, or a primitive of that name")
        return self._call(name, *[self._emit(a) for a in x.args])

    def _sum(self, x):
        terms = sorted(x.args, key=lambda a: a.could_extract_minus_sign())       # a - b rather than -b + a
        out = self._emit(terms[0])
        for a in terms[1:]:
            minus = a.could_extract_minus_sign()
            out = self._call("subtract" if minus else "add", out, self._emit(-a if minus else a))
        return out

    def _product(self, x):
        number, rest = x.as_coeff_Mul()
        above, below = [], []
        for f in rest.args if rest.is_Mul else (rest,):
            if f.is_number:
                number = number * f
            elif f.is_Pow and f.exp.is_Rational and f.exp < 0:
                below.append(f)
            else:
                above.append(f)
        negative = number.could_extract_minus_sign()
        number = -number if negative else number
        divisor = 1
        if number.is_Rational and not isinstance(constant(number), float):
            number, divisor = sp.Integer(number.p), int(number.q)
        out = None
        for f in above:
            out = self._emit(f) if out is None else self._call("multiply", out, self._emit(f))
        if number != 1:
            out = (1, constant(number)) if out is None else self._call("multiply", out, (1, constant(number)))
        if negative and out is not None:
            out, negative = self._call("negative", out), False
        for f in below:
            base, power = f.base, -f.exp
            twice = power == 2                                   # a / b**2 as (a / b) / b: a square overflows, or underflows to 0
            b = self._power(base, sp.Integer(1) if twice else power)
            for _ in range(2 if twice else 1):
                out = self._call("reciprocal", b) if out is None else self._call("divide", out, b)
        if divisor != 1:
            out = self._call("divide", out, (1, divisor))
        return self._call("negative", out) if negative else out

    def _power(self, base, exponent):
        if exponent == 1:
            return self._emit(base)
        if exponent.is_Rational and exponent < 0:
            return self._product(sp.Pow(base, exponent))
        if exponent == 2:
            return self._call("square", self._emit(base))
        if exponent.is_Rational and sp.Rational(1, exponent.q) in _ROOTS:
            root = self._call(_ROOTS[sp.Rational(1, exponent.q)], self._emit(base))
            return root if exponent.p == 1 else self._call("square", root) if exponent.p == 2 else self._call("power", root, (1, int(exponent.p)))
        return self._call("power", self._emit(base), self._emit(exponent))

    def _choice(self, x):
        *first, (last, _) = x.args
        out = self._emit(last)
        for value, condition in reversed(first):
            out = self._call("where", self._emit(condition), self._emit(value), out)
        return out
