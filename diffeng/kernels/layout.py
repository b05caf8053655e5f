"""Where the entries of an array lie: views as offsets and strides into buffers, and index maps on them.

What it is: `View` and the few index maps that need no copy (transpose, broadcast, reshape where it can be, slices, diagonals, integer
arrays as indirect axes), and `collapse`, which melts an iteration space down to the axes that matter.

What it is not: nothing here holds numbers or knows NumPy's arrays; a view is five small tuples.

Why a file: whoever groups, generates or calls kernels speaks of operands by these.
"""
import functools
import itertools
import math

import numpy as np

from ..constants import unchanging
from ..lengths import by_chance, extent, part, rank
from ..vocabulary.indexing import Slot, expand
from ..vocabulary.shaping import broadcast_shapes, is_repeated
from .memory import address, array_at


PITCHED = 1 << 20                            # bytes of an array from which on room between its rows may pay,
ROOMY = 8                                    # and how many times as long as the room at most its rows are
FEW_ROUND = 8                                # entries that go round: each is asked where it lies


class Buffer:
    """A stretch of memory with one dtype. kind: "arena" (between steps), "input", "output" (the user's, at number `slot`) or "constant" (`array`;
    slot: the array of the graph that it is, or roots.py's words for it)."""

    __slots__ = ("kind", "slot", "array", "dtype", "size", "place", "stored", "writers", "home", "short", "within", "pitch")

    def __init__(self, kind, dtype, size, slot=None, array=None):
        self.kind, self.slot, self.array, self.dtype, self.size = kind, slot, array, dtype, size
        self.place = 0               # byte offset in the arena, from memory.py
        self.stored = False          # does anything read it from memory?
        self.writers = []            # open groups that write it (fuse.py)
        self.home = None             # another buffer, in whose memory it lies (donation.py)
        self.within = None           # (buffer, bytes from its beginning): the stretch of another buffer that this is (joining.py)
        self.short = None            # its last axis' length, where its columns lie one after the other, not its rows
        self.pitch = None            # (its last axis' length, entries from row to row), where there is room between the rows

    def bytes(self):
        row, step = self.pitch or (1, 1)
        return self.size // row * step * self.dtype.itemsize

    def root(self):
        """(the buffer within which it lies after all, bytes from there)."""
        buffer, offset = self, 0
        while buffer.within is not None:
            buffer, more = buffer.within
            offset += more
        return buffer, offset


class View:
    """Entries of a buffer in some order: offset and strides in bytes."""

    __slots__ = ("buffer", "offset", "shape", "strides", "dtype", "_whole")

    def __init__(self, buffer, offset, shape, strides, dtype):
        self.buffer, self.offset, self.shape, self.strides, self.dtype, self._whole = buffer, offset, tuple(shape), tuple(strides), dtype, None

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))

    def key(self):
        return id(self.buffer), self.offset, self.strides

    def whole(self):
        """Is this the entire buffer in C order? It is asked again and again."""
        if self._whole is None:
            self._whole = self.offset == 0 and self.size == self.buffer.size and self.contiguous()
        return self._whole

    def complete(self):
        """Is this the entire buffer, entry by entry as an operation on all of it goes through it?"""
        short, pitch = self.buffer.short, self.buffer.pitch
        if short is pitch is None:
            return self.whole()
        if self.offset or self.size != self.buffer.size or (k := cut_at(self.shape, short or pitch[0])) is None:
            return False
        size = self.dtype.itemsize
        outer, inner = (pitch[1] * size, size) if short is None else (size, self.size // short * size)
        return same_walk(self.shape, self.strides, c_strides(self.shape[:k], outer) + c_strides(self.shape[k:], inner))

    def contiguous(self):
        expected = c_strides(self.shape, self.dtype.itemsize)
        return self.strides == expected or same_walk(self.shape, self.strides, expected)


class Padded:
    """Zeros of a shape, with the entries of `view` where lo <= index < hi on each axis of cuts, (axis, lo, hi); view is over the whole shape, as if it went on
    outside. beyond: instead of zeros, where there is one cut: (the view before lo, the view from hi on), each over the whole shape, too; None for what is empty."""

    __slots__ = ("view", "cuts", "beyond", "held")

    def __init__(self, view, cuts, beyond=()):
        self.view, self.cuts, self.beyond = view, tuple([(axis, int(lo), int(hi)) for axis, lo, hi in cuts]), beyond          # places, not lengths
        self.held = None             # the same written to memory, once somebody needed that

    shape = property(lambda self: self.view.shape)
    dtype = property(lambda self: self.view.dtype)
    ndim = property(lambda self: self.view.ndim)


class Columns:
    """Many short rows by their columns: a view of each, None for zeros. The cotangent of what columns were cut from is such; nothing puts it together."""

    __slots__ = ("shape", "dtype", "columns", "held")

    def __init__(self, shape, dtype, columns):
        self.shape, self.dtype, self.columns = tuple(shape), dtype, columns
        self.held = None             # as Padded's

    ndim = property(lambda self: len(self.shape))


class Deferred:
    """What comes after a sum over rows, computed where it is first read: who reads such a sum ends the loop that takes it, which others may still join.
    make(): its view."""

    __slots__ = ("shape", "dtype", "make", "held")

    def __init__(self, shape, dtype, make):
        self.shape, self.dtype, self.make, self.held = tuple(shape), dtype, make, None

    ndim = property(lambda self: len(self.shape))


def column(v, k):
    """A view of what lies at k on the last axis."""
    return View(v.buffer, v.offset + k * v.strides[-1], v.shape[:-1], v.strides[:-1], v.dtype)


def columns(x):
    """Of a View, all its columns; of Columns, and of what is Padded along the last axis alone, those too, None for zeros; None for another."""
    if type(x) is Columns:
        return x.columns
    if type(x) is View:
        return [column(x, k) for k in range(x.shape[-1])]
    if type(x) is Padded and x.cuts[0][0] == x.ndim - 1 and not x.beyond:
        [(_, lo, hi)] = x.cuts
        return [column(x.view, k) if lo <= k < hi else None for k in range(x.shape[-1])]
    return None


def stretch(v):
    """(first byte, end) of what a view reaches; of one that walks backwards, everything."""
    if min(v.strides, default=0) < 0:
        return 0, v.buffer.size * v.dtype.itemsize
    return v.offset, v.offset + sum([(n - 1) * s for n, s in zip(v.shape, v.strides)]) + v.dtype.itemsize


def disjoint(a, b):
    """Have two views of one buffer no entry in common, for they lie one behind the other, or are columns or boxes of one array in C order? False where that is not plain."""
    (_, end), (begin, _) = sorted([stretch(a), stretch(b)])
    if end <= begin:
        return True
    if a.strides != b.strides or list(a.strides) != sorted(a.strides, reverse=True) or 0 in a.strides or a.strides and a.strides[-1] < 0:
        return False
    step, size = (a.strides or (0,))[-1], a.dtype.itemsize
    if step and all([s % step == 0 for s in a.strides]) and size <= (a.offset - b.offset) % step <= step - size:          # columns of one array
        return True
    spans = []                                   # of each: where it begins and ends on each axis
    for v in (a, b):
        rest, own = v.offset, []
        for n, s in zip(v.shape, v.strides):
            first, rest = divmod(rest, s)
            own.append((first, first + n))
        spans.append(own)
    for (_, end), (_, other), outer, inner in zip(spans[0][1:], spans[1][1:], a.strides, a.strides[1:]):
        if max(end, other) * inner > outer:      # an axis that runs into the next one
            return False
    return any([end <= first or last <= begin for (begin, end), (first, last) in zip(*spans)])


def c_strides(shape, itemsize):
    return _c_strides(tuple(shape), itemsize)


@functools.lru_cache(maxsize=1000)
def _c_strides(shape, itemsize):
    out = []
    for n in reversed(shape):
        out.append(itemsize)
        itemsize *= max(n, 1)
    return tuple(reversed(out))


def upright(shape, dtype):
    """A view of a fresh buffer whose columns lie one after the other: many short rows."""
    rows, size = math.prod(shape[:-1]), dtype.itemsize
    out = View(Buffer("arena", dtype, rows * shape[-1]), 0, shape, (*c_strides(shape[:-1], size), rows * size), dtype)
    out.buffer.short = shape[-1]
    return out


def pitched(shape, dtype, alignment, axes=1):
    """A view of a fresh buffer in C order whose rows begin at multiples of so many bytes (0: wherever they do), if it is large: a little of it is wasted.
    axes: how many of the last ones make a row; nothing is between them, so that BLAS may walk them as one."""
    if not alignment:
        return new("arena", shape, dtype)
    outer, inner, size = shape[:len(shape) - axes], shape[len(shape) - axes:], dtype.itemsize
    row = math.prod(inner)
    if row * size % alignment == 0 or math.prod(shape) * size < PITCHED or row < ROOMY * alignment:
        return new("arena", shape, dtype)
    step = -(-row * size // alignment) * alignment
    out = View(Buffer("arena", dtype, math.prod(shape)), 0, shape, (*c_strides(outer, step), *c_strides(inner, size)), dtype)
    out.buffer.pitch = row, step // size
    return out


def same_walk(shape, a, b):
    """Do two strides reach the same places? Those of axes of length 1 do not matter."""
    return 0 in shape or all([n == 1 or s == t for n, s, t in zip(shape, a, b)])


def new(kind, shape, dtype, slot=None):
    """A view of a fresh buffer in C order."""
    out = View(Buffer(kind, dtype, math.prod(shape), slot), 0, shape, c_strides(shape, dtype.itemsize), dtype)
    out._whole = True
    return out


# ---- index maps ------------------------------------------------------------------------------------------------------------

def transposed(v, axes):
    return View(v.buffer, v.offset, [v.shape[k] for k in axes], [v.strides[k] for k in axes], v.dtype)


def backwards(v):
    """v along its first axis from the last entry on."""
    return View(v.buffer, v.offset + (int(v.shape[0]) - 1) * v.strides[0], v.shape, [-v.strides[0], *v.strides[1:]], v.dtype)


def gone_round(parts, shape, axis):
    """Two or three parts of one array, side by side, of which one is all but a few entries, as np.roll has them: Padded, and read where it lies. None for others."""
    lengths = [p.shape[axis] for p in parts]
    main = lengths.index(max(lengths))
    if not 2 <= len(parts) <= 3 or len(parts) == 3 and main != 1 or 0 in shape or sum(lengths) - lengths[main] > FEW_ROUND \
            or len({(id(p.buffer), p.strides, p.dtype) for p in parts}) > 1:
        return None
    starts = [0, *itertools.accumulate(lengths)]
    over = [View(p.buffer, p.offset - start * p.strides[axis], shape, p.strides, p.dtype) for p, start in zip(parts, starts)]
    before, after = over[:main], over[main + 1:]
    return Padded(over[main], [(axis, starts[main], starts[main + 1])], (before[0] if before else None, after[0] if after else None))


def broadcast(v, shape):
    """v with new leading axes and axes of length 1 repeated: stride 0."""
    if v.shape == shape:
        return v
    lead = len(shape) - v.ndim
    strides = [0] * lead + [s if n == m or not is_repeated(n, m) else 0 for n, m, s in zip(v.shape, shape[lead:], v.strides)]
    return View(v.buffer, v.offset, shape, strides, v.dtype)


def reshaped(v, shape):
    """v in another shape without a copy, or None where there is no way."""
    if 0 in shape:
        return View(v.buffer, v.offset, shape, c_strides(shape, v.dtype.itemsize), v.dtype)
    strides = _in_shape(v.shape, v.strides, shape)
    if strides is None and any([type(n) is not int for n in (*v.shape, *shape)]):               # what is 1 long may be anywhere, and what was made here has no other length
        old, new = tuple(map(int, v.shape)), tuple(map(int, shape))
        strides = _in_shape(old, v.strides, new) or _in_shape(old, tuple(map(int, v.strides)), new)
        strides = c_strides(shape, v.dtype.itemsize) if v.contiguous() else \
            strides and [v.dtype.itemsize if by_chance(n) else s for n, s in zip(shape, strides)]
    return None if strides is None else View(v.buffer, v.offset, shape, strides, v.dtype)


def _in_shape(old, strides, shape):
    """The strides of an array of one shape in another one; None where no strides walk there."""
    dims, (strides,) = collapse(old, [strides])
    want, out, k = [n for n in shape if n != 1], [], 0
    for n, s in zip(dims, strides):
        taken, product = [], 1
        while rank(product) < rank(n) and k < len(want):
            taken.append(want[k])
            product *= want[k]
            k += 1
        if product != n:
            return None
        s *= n
        for m in taken:
            s //= m
            out.append(s)
    rest = iter(out)
    return [0 if n == 1 else next(rest) for n in shape] if k == len(want) else None


def sliced(v, index):
    """(view, places): the slices, integers and None of an index applied; places: (output axis, axis length, stride) of each Slot, in order.

    Returns None for what is no plain index: masks, more than one Ellipsis. Where the axes of integer arrays go is NumPy's rule: to the place
    of the first if they stand side by side, to the front otherwise; integers count among them.
    """
    if any([not (i is None or i is Ellipsis or type(i) in (slice, int, Slot)) for i in index]):
        return None
    offset, shape, strides, places, advanced, axis = v.offset, [], [], {}, [], 0
    for k, i in enumerate(expand(index, v.ndim)):
        if i is Ellipsis:
            continue
        if i is None:
            shape.append(1)
            strides.append(0)
            continue
        n, s = v.shape[axis], v.strides[axis]
        axis += 1
        if type(i) is slice:
            p = part(i, n)
            m = n if p == range(int(n)) else extent(p)
            offset += p.start * s if m else 0
            shape.append(m)
            strides.append(s * p.step)
            continue
        advanced.append((k, len(shape)))
        if type(i) is int:
            if not -n <= i < n:
                raise IndexError(f"index {i} is out of bounds for axis {axis - 1} with size {n}")
            offset += (i + n if i < 0 else i) * s
        else:
            places[i.k] = (n, s)
    return View(v.buffer, offset, shape, strides, v.dtype), of_arrays(advanced), [places[k] for k in sorted(places)]


def of_arrays(advanced):
    """Before which axis of the result those of integer arrays go. advanced: (place in the index, axes of the result before it) of each array, and of each integer."""
    side_by_side = advanced and advanced[-1][0] - advanced[0][0] == len(advanced) - 1
    return advanced[0][1] if side_by_side else 0


def indirect(v, index, arrays):
    """An index with integer arrays: (v over the axes of the result, arrays over the same axes, (length, stride) of each indexed axis), or None."""
    found = sliced(v, index)
    if found is None:
        return None
    base, at, places = found
    shape = broadcast_shapes([a.shape for a in arrays])
    full = base.shape[:at] + shape + base.shape[at:]
    rest = base.ndim - at
    over = View(base.buffer, base.offset, full, base.strides[:at] + (0,) * len(shape) + base.strides[at:], v.dtype)
    wide = [broadcast(a, shape) for a in arrays]
    wide = [View(a.buffer, a.offset, full, (0,) * at + a.strides + (0,) * rest, a.dtype) for a in wide]
    return over, wide, places


def strided(over, wide, places):
    """What arrays of places that walk evenly, and that nobody can change, name of a view, as a view: windows are read where they lie. None for other arrays."""
    offset, strides = over.offset, over.strides
    for v, (n, s) in zip(wide, places):
        walk = _even(v, n)
        if walk is None:
            return None
        offset, strides = offset + walk[0] * s, [t + k * s for t, k in zip(strides, walk[1])]
    return View(over.buffer, offset, over.shape, strides, over.dtype)


def _even(v, n):
    """(first, step along each axis) of places on an axis of length n, where each is the same step from the one before it."""
    held = v.buffer.array if v.buffer.kind == "constant" else None
    if held is None or not unchanging(held) or v.dtype.kind != "i":
        return None
    own = [int(m) if s else 1 for m, s in zip(v.shape, v.strides)]
    array = array_at(address(held), View(v.buffer, v.offset, own, v.strides, v.dtype), held)
    first, steps = array[(0,) * array.ndim], []
    for k, (m, s) in enumerate(zip(own, v.strides)):         # (one place says no step: as if the next one followed)
        steps.append(int(array[tuple([int(j == k) for j in range(array.ndim)])] - first) if m > 1 else int(s != 0))
    want = first + sum([np.arange(m).reshape([-1 if j == k else 1 for j in range(array.ndim)]) * step for k, (m, step) in enumerate(zip(own, steps))])
    return (int(first), steps) if np.array_equal(array, np.broadcast_to(want, array.shape)) and 0 <= array.min() and array.max() < int(n) else None


def diagonal(v, letters):
    """(view, letters) with every letter once: a repeated one walks along the diagonal."""
    out = {}
    for c, n, s in zip(letters, v.shape, v.strides):
        out[c] = (n, out[c][1] + s) if c in out else (n, s)
    return View(v.buffer, v.offset, [n for n, _ in out.values()], [s for _, s in out.values()], v.dtype), "".join(out)


def cut_at(shape, n):
    """The axis from which on a shape has n entries; None if it has no such."""
    product, k = 1, len(shape)
    while rank(product) < rank(n) and k:
        k -= 1
        product *= shape[k]
    return k if product == n else None


# ---- iteration spaces ---------------------------------------------------------------------------------------------------------

def refined(shape, strides, cuts):
    """Strides of an array over axes that are cut finer: cuts are the numbers of entries that the new last axes have together, ascending from 1."""
    out, at, product = [], 0, 1
    for n, s in zip(reversed(shape), reversed(strides)):
        if n == 1:
            continue
        begin, product = product, product * n
        while rank(cuts[at]) < rank(product):
            out.append(s * (cuts[at] // begin))
            at += 1
    return out[::-1]


def collapse(shape, strides):
    """(dims, strides): axes of length 1 dropped, and neighbours melted into one where every operand walks straight through them."""
    keep = [k for k, n in enumerate(shape) if n != 1]
    dims, out = [], [[] for _ in strides]
    for k in keep:
        if dims and all([o[-1] == s[k] * shape[k] for o, s in zip(out, strides)]):
            dims[-1] *= shape[k]
            for o, s in zip(out, strides):
                o[-1] = s[k]
        else:
            dims.append(shape[k])
            for o, s in zip(out, strides):
                o.append(s[k])
    return dims, out
