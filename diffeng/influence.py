"""Which nodes of a graph a derivative by its inputs goes through.

What it is: walks over nodes, for those who go backwards over them.
What it is not: no rule, and nothing about values.
"""
import numpy as np

from .nodes import Node, by_serial

_FLOAT64 = np.dtype(float)


def influenced(order, inputs):
    """{node: slots} for the nodes of a topological order that depend on the inputs, through these differentiable operands of floating-point type."""
    wanted = dict.fromkeys(inputs, ())
    for n in order:
        found, slots, k = (), n.primitive.slots, 0
        for p in n.operands:
            if type(p) is Node and p in wanted and (slots is None or k in slots):
                found += (k,)
            k += 1
        if found and (n.dtype is _FLOAT64 or n.dtype.kind == "f"):
            wanted[n] = found
    return wanted


def influences(outputs, inputs):
    """(reachable(outputs), influenced(these, inputs)), in one walk where all that the outputs depend on carries a derivative."""
    wanted, every = {n: () for n in outputs if type(n) is Node}, True
    found, inputs = [*wanted], {*inputs}
    for n in found:
        slots, at, k = n.primitive.slots, (), 0
        for p in n.operands:
            if type(p) is Node:
                if slots is None or k in slots:
                    at += (k,)
                if p not in wanted:
                    wanted[p] = ()
                    found.append(p)
            k += 1
        wanted[n] = at
        if not at and n not in inputs or n.dtype is not _FLOAT64 and n.dtype.kind != "f":
            every = False
    found.sort(key=by_serial)
    return found, wanted if every else influenced(found, inputs)
