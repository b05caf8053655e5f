"""How a function enters the table that `Traced.__array_function__` looks into."""
import functools
import operator

import numpy as np

from ..errors import refuse
from ..numpy_api import FUNCTIONS


def counted(n, what, least=0):
    """A whole number of things; ValueError for fewer than `least`. what: the function and its argument."""
    n = operator.index(n)
    if n < least:
        raise refuse(ValueError, f"{what.replace(' ', '{here}: ', 1)} is {n}: give {least} or more")
    return n


FEW = 64                                    # of an axis: so short ones' places are made once


@functools.lru_cache(maxsize=256)
def _frozen(make, *sizes, **options):
    made = make(*sizes, **options)
    made.flags.writeable = False
    return made


def places(n):
    """np.arange(n), nobody's to change where it is short."""
    return _frozen(np.arange, n) if n <= FEW else np.arange(n)


def lower(m, n, k=0):
    """np.tri(m, n, k) as truth values, likewise: which entries of a matrix lie on its k-th diagonal, or below it."""
    return _frozen(np.tri, m, n, k=k, dtype=bool) if max(m, n) <= FEW else np.tri(m, n, k=k, dtype=bool)


def implements(*functions):
    """Decorator: the function below is what these NumPy functions mean on traced values."""
    def register(handler):
        for f in functions:
            FUNCTIONS[f] = handler
        return handler
    return register
