"""SciPy's special functions in kernels, at their addresses: one entry at a time, in float64 for either type.

What it is: `found(name, dtypes)`, the rule of a primitive that has none of its own in scalar.py: a call of what SciPy publishes for Cython (capsules.py).

What it is not: no mathematics; nothing for a GPU, where such a primitive is a call of the host. Why a file: scalar.py's rules are for every device.
"""
import functools

import numpy as np
from llvmlite import ir

from ..vocabulary.elementwise import OF_ORDER
from . import capsules
from .inverse import _in_double
from .values import Value

OPERANDS = {**dict.fromkeys("erfinv erfcinv erfcx dawsn expi ellipk ellipe".split(), 1), **dict.fromkeys(
            "expn gammainc gammaincc jv yv iv ive kv kve".split(), 2), "betainc": 3, "hyp2f1": 4}
COST = 150.0                                 # nanoseconds an entry, roughly


def found(name, dtypes, dtype):
    """(rule, dtype of each used operand, used operands) of a primitive, or None. dtypes: those of arrays, values of scalars; dtype: of the result."""
    count = OPERANDS.get(name)
    if count is None:
        return None
    order, used = dtypes[0], tuple(range(count))
    if name == "expn":                                   # SciPy's is for n = 0, 1, ...
        if isinstance(order, np.dtype) or order < 0 or order != int(order):
            return None
        name, used = ("exp1", (1,)) if order == 1 else (name, used)
    if name in OF_ORDER and not isinstance(order, np.dtype) and abs(order) in (0, 1):
        name, used = OF_ORDER[name][abs(int(order))], (1,)
    return (_rule(name, len(used)), (dtype,) * len(used), used) if capsules.function(name, len(used)) is not None else None


@functools.cache
def _rule(name, count):
    @_in_double
    def rule(*operands):
        x, module = operands[:count], operands[0].builder.module
        symbol = capsules.symbol(name, count)
        function = module.globals.get(symbol)
        if function is None:
            function = ir.Function(module, ir.FunctionType(ir.DoubleType(), [ir.DoubleType()] * count + [ir.IntType(32)]), symbol)
            for attribute in ("nounwind", "readnone"):
                function.attributes.add(attribute)
        return Value(x[0].builder, x[0].builder.call(function, [*[v.ir for v in x], ir.Constant(ir.IntType(32), 0)]), "f64")
    return rule
