"""The turn of a loop entry by entry: what it computes of few numbers, with no arrays among them.

What it is: `by_entries(loop)`. A point that is taken apart, x, y = state, and put together again, a sum of three squares, a product of matrices of two rows: NumPy computes these on
arrays of objects as well, each of which stands for one entry in all turns, and so says which entries are made of which.

What it is not: for long rows, which are loops of their own.
"""
import math

import numpy as np

from ..nodes import Node, Tracing
from ..vocabulary import elementwise as e
from ..vocabulary.indexing import join

SHORT, MOST = 8, 1024                       # entries of an array; of all arrays of a turn: each is code of its own
_KINDS = frozenset("map view gather scatter reduce contract".split())
_EXTREMES = {"max": e.maximum, "min": e.minimum}


def by_entries(loop):
    """([nodes of each input, its entries in all turns], [nodes or numbers of each output]), arrays of objects; None where there are too many, or what they are made of
    cannot be told. An entry of what moves from turn to turn is a row of so many numbers as there are turns, the others are numbers."""
    if any([n.primitive.kind not in _KINDS or math.prod(n.shape) > SHORT for n in loop.order]) or sum([math.prod(n.shape) for n in (*loop.inputs, *loop.order)]) > MOST:
        return None
    tracing, known = Tracing(values=False), {}
    for k, n in enumerate(loop.inputs):
        known[n] = objects(n.shape, [tracing.input(None, "entry", (loop.length,) if k < loop.carried + loop.read else (), n.dtype) for _ in range(math.prod(n.shape))])
    try:
        for n in loop.order:
            tracing.frames = n.frames
            found = _computed(n, [known[x] if type(x) is Node else x for x in n.operands])
            known[n] = objects(n.shape, found.flat if isinstance(found, np.ndarray) else [found])
            if any([getattr(x, "dtype", n.dtype) != n.dtype for x in known[n].flat]):          # NumPy mixed arrays of objects with what is in them
                return None
    except (TypeError, ValueError, IndexError, AttributeError):            # an entry decides what is computed, or is a place
        return None

    def nodes(found):
        return objects(found.shape, [getattr(x, "node", x) for x in found.flat])
    return [nodes(known[n]) for n in loop.inputs], [nodes(known[x]) if type(x) is Node else np.asarray(x) for x in loop.outputs]


def objects(shape, entries):
    """An array of objects, whatever these are."""
    out = np.empty(shape, object)
    for at, x in zip(np.ndindex(shape), entries, strict=True):
        out[at] = x
    return out


def _computed(n, operands):
    """A node's entries. operands: arrays of objects, and constants."""
    if n.primitive.kind == "map":
        spread = [np.broadcast_to(x, n.shape) if isinstance(x, np.ndarray) else x for x in operands]
        return objects(n.shape, [n.primitive(*[x[at] if isinstance(x, np.ndarray) else x for x in spread], **n.params) for at in np.ndindex(n.shape)])
    operands = [x.astype(object) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in operands]
    if n.primitive.kind == "scatter":
        x, v, *arrays = operands if n.primitive.name != "scatter" else (np.zeros(n.shape, object), *operands)
        out, places = [*x.flat], np.arange(x.size).reshape(x.shape)[join(n.params["index"], arrays)]
        for place, term in zip(places.flat, np.broadcast_to(v, places.shape).flat):
            out[place] = term if n.primitive.name == "setitem" or not arrays and n.primitive.name == "scatter" else out[place] + term
        return objects(n.shape, out)
    if n.primitive.name in _EXTREMES:
        axis, = n.params["axis"]
        return np.frompyfunc(_EXTREMES[n.primitive.name], 2, 1).reduce(*operands, axis=axis, keepdims=n.params["keepdims"])
    return n.primitive.evaluate(*operands, **n.params)
