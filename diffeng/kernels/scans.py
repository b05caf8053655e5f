"""Running sums and products along an axis: the loops that carry a value from one entry to the next.

What it is: `instruction(call)`, the kernel of an np.cumsum or np.cumprod. It adds in NumPy's order, so that its bits are NumPy's; entries beside each other that
are not along the axis are computed together, by vectors, and shared out among threads.

What it is not: it joins no other loop (fuse.py), and no loop of its own is cut: two threads would need the first one's last value. A GPU leaves it to NumPy.
"""
import math

from . import threads
from .code import SIZES, Code, merge
from .groups import Instruction
from .layout import collapse
from .scalar import type_name
from .values import smaller

NAMES = {"cumsum": "sum", "cumprod": "prod"}
BLOCK = 512                                # columns that one thread takes at once
LATENCY, THROUGHPUT = 1.2, 0.3             # nanoseconds an entry: where each waits for the one before it, and where a vector of them does


def instruction(call):
    """The instruction that does what a Call does; None where there is no kernel for it."""
    if call.node is None or call.node.primitive.name not in NAMES:
        return None
    (x,), out, axis = call.operands, call.out, call.node.params["axis"]
    type = type_name(x.dtype)
    if type is None or type == "b1" or x.dtype != out.dtype or 0 in x.shape:
        return None
    inner, (across, _) = collapse(x.shape[axis + 1:], [v.strides[axis + 1:] for v in (x, out)])
    outer, strides = collapse(x.shape[:axis], [v.strides[:axis] for v in (x, out)])
    if len(inner) > 1:
        return None
    length, columns = x.shape[axis], math.prod(inner)
    width = min(columns, BLOCK)
    blocks, unit = -(-columns // width), not inner or across[0] == x.dtype.itemsize
    words = [(out.buffer, out.offset), (x.buffer, x.offset), length, out.strides[axis], x.strides[axis], columns, width, blocks, across[0] if inner else 0]
    for n, *s in zip(outer, *strides):
        words += [n, *s]
    rows, cost = math.prod(outer) * blocks, length * (width * THROUGHPUT if inner else LATENCY)
    structure = NAMES[call.node.primitive.name], type, len(outer), not inner, unit
    return Instruction(repr(("scan", *structure)), lambda: write(*structure), words, rows, threads.split(rows, cost), cost)


def write(name, type, depth, alone, unit):
    """words: out, x; entries along the axis and the strides of out and x there; columns, those of a block, blocks, x's stride from column to column; for each
    axis before: its length, the strides of x and out. alone: there is one column. unit: x's columns follow each other. Rows are blocks."""
    code = Code()
    word, size = code.word, SIZES[type]
    with code.loop(code.lo, code.hi) as row:
        entry = row.over(word(7))
        first = (row - entry * word(7)) * word(6)
        to, source = word(0) + first * size, word(1) + first * word(8)
        source, to = code.entry([source, to], entry, 9, depth)
        if alone:
            held = code.cell(type, code.load(source, None, type))
            code.store(to, None, held.get())
            with code.loop(1, word(2)) as i:
                held.set(merge(name, held.get(), code.load(source + i * word(4), None, type)))
                code.store(to + i * word(3), None, held.get())
        else:
            def read(at, c):
                return code.load(at, c, type) if unit else code.load(at + c * word(8), None, type)
            width = smaller(word(5) - first, word(6))
            with code.loop(0, width) as c:
                code.store(to, c, read(source, c))
            with code.loop(1, word(2)) as i:
                here = to + i * word(3)
                with code.loop(0, width) as c:
                    code.store(here, c, merge(name, code.load(here - word(3), c, type), read(source + i * word(4), c)))
    return code.finish()
