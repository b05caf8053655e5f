"""Irrational constants that stay exact: a float where floats are computed, any number of digits where the judge computes.

A formula such as erf'(x) = 2/sqrt(pi) exp(-x*x) holds in every arithmetic only if its constant does. `Exact` meets NumPy as a
Python float (so float32 stays float32) and a 100-digit array as the number itself.
"""
import sys

import numpy as np


class Exact:
    """A real constant: `value`, its float64, and `digits(arb) -> arb`, computed at the precision in force."""

    __slots__ = ("name", "value", "digits")
    shape, ndim = (), 0

    def __init__(self, name, value, digits):
        self.name, self.value, self.digits = name, float(value), digits

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        from .traced import Traced
        if any(isinstance(x, Traced) for x in inputs):
            return NotImplemented
        return getattr(ufunc, method)(*[x.value if isinstance(x, Exact) else x for x in inputs], **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        if not {Exact, np.ndarray}.issuperset(types):
            return NotImplemented
        return function(*[x.value if isinstance(x, Exact) else x for x in args], **kwargs)

    def __float__(self):
        return self.value

    def __repr__(self):
        return self.name

    def _combine(self, other, symbol, operate, turned=False):
        if isinstance(other, (int, Exact)):
            a, b = (other, self) if turned else (self, other)
            names = [f"({x})" if isinstance(x, Exact) and not x.name.isalnum() else str(x) for x in (a, b)]

            def digits(arb):
                return operate(*[x.digits(arb) if isinstance(x, Exact) else arb(x) for x in (a, b)])
            return Exact(symbol.join(names), operate(*[x.value if isinstance(x, Exact) else x for x in (a, b)]), digits)
        ufunc = {"*": np.multiply, "/": np.divide, "+": np.add, "-": np.subtract}[symbol]
        return ufunc(other, self) if turned else ufunc(self, other)

    def __mul__(self, other): return self._combine(other, "*", lambda a, b: a * b)
    def __rmul__(self, other): return self._combine(other, "*", lambda a, b: a * b, True)
    def __truediv__(self, other): return self._combine(other, "/", lambda a, b: a / b)
    def __rtruediv__(self, other): return self._combine(other, "/", lambda a, b: a / b, True)
    def __add__(self, other): return self._combine(other, "+", lambda a, b: a + b)
    def __radd__(self, other): return self._combine(other, "+", lambda a, b: a + b, True)
    def __sub__(self, other): return self._combine(other, "-", lambda a, b: a - b)
    def __rsub__(self, other): return self._combine(other, "-", lambda a, b: a - b, True)
    def __neg__(self): return Exact(f"-{self.name}", -self.value, lambda arb: -self.digits(arb))
    def log(self): return Exact(f"log({self.name})", np.log(self.value), lambda arb: self.digits(arb).log())


PI = Exact("pi", np.pi, lambda arb: arb.pi())
SQRT_PI = Exact("sqrt(pi)", np.sqrt(np.pi), lambda arb: arb.pi().sqrt())
LOG2 = Exact("log(2)", np.log(2.0), lambda arb: arb(2).log())
LOG10 = Exact("log(10)", np.log(10.0), lambda arb: arb(10).log())


def unchanging(x):
    """Is x an array that nobody can write into: a read-only view of memory that no one else has? Then what it says may decide what is computed."""
    return type(x) is np.ndarray and not x.flags.writeable and type(x.base) is np.ndarray and sys.getrefcount(x.base) <= 2          # the view's, this call's


def unchanged(x):
    """An array that was just made, and that nobody else has, as such a one."""
    x.flags.writeable = False
    return x[...]
