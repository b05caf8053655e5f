"""How a function enters the table that `Traced.__array_function__` looks into."""
import operator

import numpy as np

from ..errors import refuse
from ..numpy_api import FUNCTIONS, axis_of, operand


def counted(n, what, least=0):
    """A whole number of things; ValueError for fewer than `least`. what: the function and its argument."""
    n = operator.index(n)
    if n < least:
        raise refuse(ValueError, f"{what.replace(' ', '{here}: ', 1)} is {n}: give {least} or more")
    return n


def along(a, axis):
    """(a, an axis of it): None means all of its entries, one after the other, and a number is one entry."""
    a = operand(a)
    a = np.ravel(a) if axis is None or not a.ndim else a
    return a, axis_of(0 if axis is None else axis, a.ndim)


def implements(*functions):
    """Decorator: the function below is what these NumPy functions mean on traced values."""
    def register(handler):
        for f in functions:
            FUNCTIONS[f] = handler
        return handler
    return register
