"""Fourier transforms in kernels: columns side by side, rows turned into columns, and long rows alone.

What it is: `instructions(call)`, one for each axis. The operands of such a call are the real and the imaginary parts (0: there are none). What is transformed are LANES
columns at once, by butterflies.py. Those of an array whose entries lie side by side are read and written where they are; rows are turned into columns and back, in a
stretch of memory that stays in the cache; others, and what is left of a batch, are copied entry by entry. Too few rows for that, and too long ones, are some columns
each, which are transformed, multiplied by roots, and transformed across.

Real numbers: n of them are taken for n / 2 complex ones, whose transform is then taken apart, or made so that it comes out (Cooley, Lewis, Welch 1970).

What it is not: lengths with large primes, odd lengths of real numbers, and millions of numbers are the work of transforms.py.
"""
import functools
import math

import numpy as np

from . import butterflies, fourier_loops, roots, threads
from .code import LANES
from .fourier_loops import AS_IT_IS, COLUMNS_OF_ONE, ENTRIES, FOLLOWS, NOTHING, PAIRED, STAGES, TURNED
from .fuse import Immediate
from .groups import Instruction, to_be_there
from .layout import Buffer, View, collapse, column, new, same_walk
from .scalar import type_name
from .tiles import KernelOf

LONGEST, LONGEST_ROW = 1 << 17, 1 << 20     # what is transformed at once, as columns and alone
FEW, LONG = 4, 1 << 12                      # rows that are transformed one by one; numbers of a row that is: LANES of them would not fit into the second cache
APART = 2112                                # bytes between parts of scratch memory: those a power of two from each other would share a few lines of the cache
LARGE = 1 << 22                             # bytes of scratch memory
SPEED = 30.0                                # operations a nanosecond
AXES = 3                                    # of a batch, at least: who has less needs no other kernel
_POWER = {"backward": (0.0, -1.0), "ortho": (-0.5, -0.5), "forward": (-1.0, 0.0)}          # of the number of entries, for a scale: there, and back


def _fits(n, real, last):
    """Is there a way to transform n numbers, or n real ones, along an axis that is, or is not, the last one?"""
    if real and n % 2:
        return False
    n = n // 2 if real else n
    return n > 1 and roots.factors(n) is not None and (n <= LONGEST or last and n <= LONGEST_ROW and _columns(n) > 0)


def _columns(n):
    """How many columns of at least LANES rows such a row is taken for; 0: it cannot be."""
    return next((c for c in COLUMNS_OF_ONE if n % c == 0 and n // c >= LANES), 0)


def instructions(call):
    """The instructions that do what a Call of a transform does; None where kernels do not."""
    name, params, out, source = call.node.primitive.name, call.node.params, call.out, call.operands
    views = [v for v in source if type(v) is View]
    if not views or type_name(out.dtype) not in ("f64", "f32") or any([v.dtype != out.dtype for v in views]):
        return None
    like, last, inverse = out if name == "irfft" else views[0], params["axes"][-1], params.get("inverse", name == "irfft")
    axes = [k for k in params["axes"] if like.shape[k] != 1 or name != "fft" and k == last]          # along one that is 1 long nothing is
    axes = axes if name == "irfft" else axes[::-1]
    if not axes or not all([_fits(int(like.shape[k]), name != "fft" and k == last, k == like.ndim - 1) for k in axes]):
        return None
    scale = math.prod([int(like.shape[k]) for k in axes]) ** _POWER[params["norm"]][inverse]
    target, made = [out] if name == "irfft" else [column(out, k) for k in (0, 1)], []
    for k, axis in enumerate(axes):
        kind = name if axis == last else "fft"
        to = target
        if name == "irfft" and kind == "fft":                    # in memory of their own
            to = source if k else [new("arena", views[0].shape, out.dtype) for _ in "ri"]
        made.append(_instruction(kind, _halves(source, axis) if kind == "rfft" else source, _halves(to, axis) if kind == "irfft" else to, axis, inverse, 1.0 if k else scale))
        source = to
    return made


def _halves(x, axis):
    """Entries 0, 2, ... along an axis, and 1, 3, ..."""
    [x] = [v for v in x if type(v) is View]
    shape, strides = [*x.shape], [*x.strides]
    shape[axis], strides[axis] = shape[axis] // 2, 2 * strides[axis]
    return [View(x.buffer, x.offset + k * x.strides[axis], shape, strides, x.dtype) for k in (0, 1)]


def _instruction(kind, source, target, axis, inverse, scale):
    """One axis. source, target: views of the real and the imaginary part."""
    if inverse and kind == "fft":
        source, target = source[::-1], target[::-1]
    parts, like = [v if type(v) is View else None for v in (*source, *target)], target[0]
    n, dtype, type_ = int((like if kind != "rfft" else source[0]).shape[axis]), like.dtype, type_name(like.dtype)
    size, steps = dtype.itemsize, [v.strides[axis] if v else 0 for v in parts]
    dims, strides = collapse(_without(like.shape, axis), [_without(v.strides, axis) if v else (0,) * (like.ndim - 1) for v in parts])
    lane, width, batch = _lanes(dims, strides)
    alone = _columns(n) if width < FEW or n > LONG and (width < LANES or {*steps} <= {0, size, 2 * size}) or n > LONGEST else 0
    m = n // alone if alone else n
    ways = _ways(parts[:2], steps[:2], lane[:2], size, alone), _ways(parts[2:], steps[2:], lane[2:], size, alone)
    if alone % LANES:                                            # vectors would reach beyond the end
        ways = _copied(ways[0]), ways[1]
    elif not alone and len(roots.factors(n)) == 1 and n not in roots.FACTORS:          # it reads again what it would have written over
        ways = ways[0], _copied(ways[1])
    blocks, lanes = (width, 1) if alone else (-(-width // LANES), LANES)
    batch.append([blocks, *[s * lanes for s in lane]])
    rows, cost = math.prod([d for d, *_ in batch]), 5 * n * math.log2(n) / SPEED * lanes + 20
    part = (m + 2) * LANES * size + APART
    shares = threads.count() * (2 if STAGES * part < LARGE else 1)           # each has scratch memory
    chunk = rows if threads.split(rows, cost) == rows else -(-rows // shares)
    scratch = Buffer("arena", np.dtype(np.uint8), STAGES * part * -(-rows // chunk))
    called = _called(type_)
    words = [*map(KernelOf, called), _table("passes", m, type_), m, n, alone, *steps, *ways[0], *ways[1], *lane, width, blocks, Immediate(dtype.type(scale), type_),
             _table("across", n, m, LANES, type_) if alone else 0, _table("halfway", n, type_) if kind != "fft" else 0, (scratch, 0), part, chunk,
             *[(v.buffer, v.offset) if v else _table("zeros", LANES, type_) for v in parts]]
    batch = [[1] * 5] * (AXES - len(batch)) + batch
    words += [word for axis in batch for word in axis]
    this, other = (_kernel(kind, type_, len(batch), which) for which in (alone > 0, alone == 0))
    return Instruction(*this, words, rows, chunk, cost, [*called, to_be_there(*other)])


def _without(x, axis):
    return (*x[:axis], *x[axis + 1:])


def _lanes(dims, strides):
    """(bytes from lane to lane of each part, how many lanes there are, [(length, strides)] of other axes): the last axis that has enough of them, or has most."""
    axes = [[int(d), *s] for d, *s in zip(dims, *strides)] or [[1] + [0] * len(strides)]
    width, *lane = axes.pop(max(range(len(axes)), key=lambda k: (min(axes[k][0], LANES), k)))
    return lane, width, axes


def _table(*how):
    """A word: where a table of roots.py lies."""
    array = roots.made(*how)
    return Buffer("constant", array.dtype, array.size, slot=how, array=array), 0


def _ways(parts, steps, lanes, size, alone):
    """How both parts are read, or written."""
    if parts[0] and parts[1] and steps[0] == 2 * size and parts[0].buffer is parts[1].buffer and same_walk(parts[0].shape, parts[0].strides, parts[1].strides):
        between = parts[1].offset - parts[0].offset
        if abs(between) == size:
            return [PAIRED, FOLLOWS] if between > 0 else [FOLLOWS, PAIRED]
    return [NOTHING if not v else AS_IT_IS if (step if alone else lane) == size else TURNED if step == size else ENTRIES for v, step, lane in zip(parts, steps, lanes)]


def _copied(ways):
    return [ENTRIES if way == AS_IT_IS else way for way in ways]


def _called(type):
    """butterflies.py's function, and those that copy what is not to be read, or written, where it lies."""
    copiers = [(repr(("fourier", what, type)), functools.partial(fourier_loops.write_copier, what, type)) for what in ("read", "write")]
    return [to_be_there(*kernel) for kernel in (butterflies.kernel(type), *copiers)]


def _kernel(*structure):
    return repr(("transform", *structure)), functools.partial(fourier_loops.write, *structure)
