"""Python's math of traced numbers: math.sin(x), or sin(x) after `from math import sin`, is NumPy's function of x while a function runs (buffers.py).

What it is: which function of NumPy's or SciPy's each of math's is. Where math raises (log of 0, exp of 1000, sqrt of -1) the answer is NumPy's: -inf, inf, nan.
What it is not: what takes numbers apart or counts with integers (frexp, modf, ldexp, remainder, comb): these ask for a plain number, and are refused.
"""
import functools
import math

import numpy as np

from .errors import refuse
from .traced import Traced


def _special(name):
    def call(x):
        import scipy.special
        return getattr(scipy.special, name)(x)
    return call


def _log(x, base=math.e):
    return np.log(x) if base is math.e else np.log(x) / np.log(base)


def _hypot(*coordinates):
    return functools.reduce(np.hypot, coordinates) if len(coordinates) > 1 else np.abs(*coordinates)


_OF_NUMBERS = {name: getattr(np, name) for name in "sin cos tan sinh cosh tanh exp exp2 expm1 log2 log10 log1p sqrt cbrt fabs degrees radians fmod copysign".split()
               if hasattr(math, name)} \
    | {name: getattr(np, f"arc{name[1:]}") for name in "asin acos atan atan2 asinh acosh atanh".split()} \
    | {"log": _log, "pow": np.float_power, "hypot": _hypot, "erf": _special("erf"), "erfc": _special("erfc"), "gamma": _special("gamma"), "lgamma": _special("gammaln")}
_OF_SEQUENCES = {"fsum": lambda numbers: sum(numbers, 0.0), "prod": lambda numbers, *, start=1: functools.reduce(np.multiply, numbers, start),
                 "dist": lambda p, q: _hypot(*[a - b for a, b in zip(p, q, strict=True)])}


def _of_numbers(name, ours):
    """ours, of numbers; an array is none for math."""
    def call(*args):
        for x in args:
            if isinstance(x, Traced) and x.shape:
                raise refuse(TypeError, f"math.{name}{{here}} takes numbers, and this is an array of shape {x.shape}: take its entry, or use NumPy's function")
        return ours(*args)
    return call


FUNCTIONS = {name: _of_numbers(name, ours) for name, ours in _OF_NUMBERS.items()} | _OF_SEQUENCES          # name in math -> what it is of traced numbers
