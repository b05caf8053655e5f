"""jet: Taylor coefficients of a function along a path.

What it is: derivatives along one parameter, one inside the other, by forward mode. What it is not: no rule. Why a file: it is about orders, not about methods.
"""
import math

import numpy as np

from .differentiate import jvp
from .errors import refuse
from .trees import as_array, flatten, function_name, is_float


def jet(fun, primals, series):
    """(out, out_series): fun along the path x(t) = primal + s[0] t + s[1] t^2/2! + s[2] t^3/3! + ..., and the derivatives of fun(x(t)) at t = 0, of order 1, 2, ...

    primals: a tuple with one entry an argument; series: a tuple with, for each, the list of the path's derivatives, each in the shape of the primal; as many for
    every argument as orders are wanted. (The convention is JAX's: derivatives, without the factorials.) out_series: a list of what fun returns, for each order.
    The path is the judge's, too: it knows no rule. Each order costs twice the one before.

    Raises TypeError for primals or series that are no tuples, and for integers, ValueError for series that do not fit.

    >>> import numpy as np, diffeng as de
    >>> out, series = de.jet(np.exp, (0.0,), ([1.0, 0.0, 0.0],))          # exp(t)
    >>> print(out, *series)
    1.0 1.0 1.0 1.0
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(series, (tuple, list)):
        raise TypeError("jet: primals and series are tuples with one entry an argument: jet(f, (x,), ([first, second],))")
    if len(primals) != len(series):
        raise ValueError(f"jet: {len(primals)} primals and {len(series)} series: give one a primal")
    orders = {len(s) for s in series}
    if len(orders) != 1 or not min(orders):
        raise ValueError(f"jet: the series have {', '.join(str(len(s)) for s in series)} terms: give every argument as many, and at least one")
    order = orders.pop()
    paths = [_path(x, terms, k, fun) for k, (x, terms) in enumerate(zip(primals, series))]

    def along(t):
        return fun(*[path(t) for path in paths])
    found = [along]
    for _ in range(order):
        found.append(_derivative(found[-1]))
    zero = np.zeros((), max([getattr(x, "dtype", np.dtype(float)) for x in flatten(primals)[0] if is_float(x)], default=np.dtype(float)))[()]
    return fun(*primals), [f(zero) for f in found[1:]]


def _derivative(f):
    return lambda t: jvp(f, (t,), (t * 0 + 1,))[1]


def _path(x, terms, k, fun):
    """x(t), a polynomial."""
    leaves, rebuild, paths = flatten(x)
    leaves = [as_array(a, f"argument {k} of {function_name(fun)}") for a in leaves]
    each = [flatten(term) for term in terms]
    for term, _, where in each:
        if where != paths or any(np.shape(a) != np.shape(b) for a, b in zip(term, leaves)):
            raise refuse(ValueError, f"jet{{here}}: argument {k} of {function_name(fun)} has the shapes {[np.shape(a) for a in leaves]}, and a term of its series "
                                     f"{[np.shape(a) for a in term]}: they must be equal")

    def path(t):
        out = []
        for j, a in enumerate(leaves):
            moved = 0
            for n in range(len(terms), 0, -1):                     # Horner
                moved = (moved + each[n - 1][0][j] * (1 / math.factorial(n))) * t
            out.append(a + moved)
        return rebuild(out)
    return path
