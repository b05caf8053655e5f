"""Terms made shorter: the arithmetic between functions, as sympy cancels and factors it.

What it is: one pass over the terms of a formula (terms.py). A maximal piece of sums, products, quotients and whole powers becomes a rational expression
of what is between them; when a cancelled or factored form is shorter, it takes its place: (y/s) s (1 - s) becomes y (1 - s), x' a + x' b becomes x' (a + b).

What it is not: it computes nothing, and no derivative is known here. Why a file: sympy does the work, and it is imported only when a formula is asked for.
"""
import functools
from fractions import Fraction

import numpy as np

from .terms import below, half_of

_ARITHMETIC = ("add", "sub", "mul", "div", "neg")
_LARGEST = 60                     # operations in a piece: beyond that a reader is not helped, and sympy takes its time
_SIMPLE = 1000                     # a float is shown as a fraction when that is exact and the denominator at most this


def tidy(terms, outputs):
    """The same outputs, shorter where possible: new terms made by `terms`."""
    done, order = {}, below(outputs)
    ends = {a.serial for t in order if not _is_piece(t) for a in t.args} | {t.serial for t in outputs}         # where a piece ends
    for t in order:
        args = [done[a.serial] for a in t.args]
        new = t if all(x is y for x, y in zip(args, t.args)) else _again(terms, t, args)
        done[t.serial] = _shorter(terms, new) if t.serial in ends else new
    return [done[t.serial] for t in outputs]


def _again(terms, t, args):
    """The same term over other arguments, through the constructors that simplify."""
    make = {"add": terms._add, "sub": terms._subtract, "mul": terms._multiply, "div": terms._divide, "neg": terms._negative, "pow": terms._power}.get(t.op)
    if make is not None:
        return make(*args)
    if t.op == "matmul":
        return terms.product(*args, t.shape)
    if t.op == "T":
        return terms.transposed(*args)
    if t.op == "reshape":
        return terms.reshape(args[0], t.shape)
    if t.op == "call":
        return terms.call(t.data[0], args, t.shape, t.data[1])
    return terms.make(t.op, args, t.data, t.shape, key=repr(t.data))


def _is_piece(t):
    return t.op in _ARITHMETIC or t.op == "pow" and t.args[1].op == "number" and isinstance(t.args[1].data, int) and 0 < t.args[1].data < 10


def _shorter(terms, t):
    """A shorter form of the arithmetic that ends in this term, or the term."""
    if not _is_piece(t):
        return t
    size, gain, stack = 0, 2, [t]               # as it was written, unless much is gained; tanh instead of logistic functions is worth it sooner
    while stack:
        piece = stack.pop()
        if _is_piece(piece):
            size += 1
            stack.extend(piece.args)
            if size > _LARGEST:
                return t
        elif _twice(piece) is not None:
            gain = 1
    if size <= gain:
        return t
    import sympy
    atoms = {}
    try:
        expression = _rational(sympy, t, atoms, terms)
        cancelled = sympy.cancel(expression)
        forms = [cancelled, sympy.factor(cancelled), sympy.factor_terms(cancelled)]
    except (ZeroDivisionError, ArithmeticError, sympy.PolynomialError):
        return t
    if any(f.has(sympy.nan, sympy.zoo, sympy.oo) for f in forms):
        return t
    best = min(forms, key=_cost)
    if best.count_ops() > size - gain or len(best.free_symbols) < len(atoms):         # and 0 x may not be 0
        return t
    new = _term(sympy, terms, best, {symbol: term for symbol, term in atoms.values()})
    return new if new.shape == t.shape else t


def _cost(expression):
    return expression.count_ops(visual=False) + sum(a.count_ops() == 0 for a in expression.atoms()) / 100


def _rational(sympy, t, atoms, terms):
    """The term as a rational expression of symbols for what is no arithmetic. atoms: serial of a term -> (symbol, term)."""
    def convert(t):
        if t.op == "number":
            exact = _fraction(t.data)
            if exact is not None:
                return sympy.Rational(exact.numerator, exact.denominator)
        if t.op == "broadcast" and t.args[0].op == "number":
            return convert(t.args[0])
        if _is_piece(t):
            parts = [convert(a) for a in t.args]
            if t.op == "neg":
                return -parts[0]
            a, b = parts
            return {"add": lambda: a + b, "sub": lambda: a - b, "mul": lambda: a * b, "div": lambda: a / b, "pow": lambda: a ** b}[t.op]()
        twice = _twice(t)
        if twice is not None:                         # the logistic function of 2 z is (1 + tanh(z))/2
            sign, z = twice
            return (1 + sign * symbol(terms.map("tanh", [z]))) / 2
        return symbol(t)

    def symbol(t):
        if t.serial not in atoms:
            atoms[t.serial] = sympy.Symbol(f"a{len(atoms):04d}"), t
        return atoms[t.serial][0]
    return convert(t)


def _twice(t):
    if t.op == "call" and t.data[0] == "expit":
        z, sign = t.args[0], 1
        if z.op == "neg":
            z, sign = z.args[0], -1
        if z.op == "mul" and z.args[0].op == "number" and z.args[0].data == -2:
            return -sign, z.args[1]
        half = half_of(z)
        if half is not None:
            return sign, half
    return None


def _fraction(value):
    """A number as an exact simple fraction, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        return None
    near = Fraction(value).limit_denominator(_SIMPLE)
    return near if float(near) == float(value) else None


def _term(sympy, terms, expression, known):
    """A rational expression as terms again: quotients as quotients, what is subtracted last."""
    def number(value):
        return terms.number(int(value)) if value.is_Integer else terms._divide(terms.number(int(value.p)), terms.number(int(value.q)))

    def convert(x):
        if x.is_Symbol:
            return known[x]
        if x.is_Number:
            return number(x)
        if x.is_Pow:
            base = convert(x.base)
            if x.exp.is_negative:
                return terms._divide(terms.number(1), convert(x.base ** -x.exp))
            return terms._square(base) if x.exp == 2 else terms.make("pow", (base, terms.number(int(x.exp))))
        if x.is_Add:
            parts = sorted(x.args, key=lambda p: (p.could_extract_minus_sign(), _first(p)))
            return functools.reduce(lambda a, p: terms._subtract(a, convert(-p)) if p.could_extract_minus_sign() else terms._add(a, convert(p)), parts[1:],
                                    convert(parts[0]))
        above, below = sympy.fraction(x)
        if below != 1:
            return terms._divide(convert(above), convert(below))
        if x.could_extract_minus_sign():
            return terms._negative(convert(-x))
        return functools.reduce(terms._multiply, [convert(p) for p in sorted(x.args, key=lambda p: (not p.is_Number, p.is_Add, _first(p)))])

    def _first(p):
        return min((s.name for s in p.free_symbols), default="")
    return convert(expression)
