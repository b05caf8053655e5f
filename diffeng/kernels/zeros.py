"""Where a chain of steps (tiles.py) computes nothing but zeros: what a causal mask hides.

What it is: `seen(tiles)`. A mask known beforehand, where(mask, scores, -1e10) say, and everything behind it through exp(scores - a number for each row): the
hidden entries are exact zeros then, and stay it when they are multiplied, divided by something, or masked once more. If all that products and sums along rows
read is zero there, the columns that a whole tile does not see need not be computed.

Taken for granted: no row sees scores of -1e9 or less, which would let the hidden ones through; and a cotangent, key or value that is infinite or NaN is not
looked at where it is hidden (the composition has 0 inf = NaN there).
"""
import numpy as np

from . import scalar
from .fuse import Group, Immediate, Map
from .layout import View
from .memory import address, array_at

HIDDEN = -1e9                               # a score that is no score

_MULTIPLY, _DIVIDE, _EXP, _MINUS, _NEGATIVE, _PLUS = (scalar.FLOAT[n] for n in "multiply divide exp subtract negative add".split())


def seen(tiles):
    """Truth values (rows, columns of an entry), or None."""
    mask, masked, apart, zero = None, set(), set(), set()            # ids of buffers: masked scores; those less a number a row; zeros where hidden
    for step, kind in tiles.steps:
        if type(step) is not Group:
            if any([id(v.buffer) in tiles.private and id(v.buffer) not in zero for v in (step.left, step.right)]):
                return None
            continue
        for o in step.operations:
            if o.level == "row":
                continue
            x = [id(v.buffer) if type(v) is View else None for v in o.operands]
            out = id(o.out.buffer)
            if not isinstance(o, Map):
                if not (x[0] in zero and o.name == "sum" or x[0] in masked and o.name == "max"):         # zeros change the least number of a row, say
                    return None
                continue
            if o.out.buffer.stored and out not in tiles.private:
                return None
            if any([i in masked for i in x]) and not (o.rule is _MINUS and x[0] in masked and _a_row(o.operands[1], tiles.n)) \
                    or any([i in apart for i in x]) and o.rule is not _EXP:
                return None
            found = _mask(o, tiles)
            if found is not None and mask is None:
                mask = found[0]
            if found is not None and (found[0].key() == mask.key()):
                if found[1] <= HIDDEN:
                    masked.add(out)
                elif found[1] == 0.0:
                    zero.add(out)
            elif o.rule is _MINUS and x[0] in masked:
                apart.add(out)
            elif o.rule is _EXP and x[0] in apart or o.rule is _MULTIPLY and any([i in zero for i in x]) or o.rule is _DIVIDE and x[0] in zero \
                    or o.rule in (_NEGATIVE, scalar.CAST, scalar.BFLOAT16) and x[0] in zero or o.rule in (_PLUS, _MINUS) and all([i in zero for i in x]):
                zero.add(out)
    return None if mask is None or not masked else array_at(address(mask.buffer.array), mask, mask.buffer.array).astype(bool)


def _a_row(x, columns):
    return type(x) is View and x.strides[-1:] == (0,) and x.shape[-1:] == (columns,)


def _mask(o, tiles):
    """(view of a constant mask over the rows and columns of an entry, number where it says no) of a choice between values and a number, else None."""
    if o.rule is not scalar.SELECT or type(o.operands[0]) is not View or not isinstance(o.operands[2], Immediate):
        return None
    v = o.operands[0]
    if v.buffer.kind != "constant" or v.shape[-2:] != (tiles.m, tiles.n) or any(v.strides[:-2]) or v.dtype != np.dtype(bool):
        return None
    return View(v.buffer, v.offset, v.shape[-2:], v.strides[-2:], v.dtype), float(o.operands[2].value)
