"""Chains of products and loops over the same rows, tile by tile: what is between them never exists as a whole.

What it is: `tiled(steps)`, which finds such chains among a program's steps, and `instructions`, which makes one kernel of each. Attention is the case that
matters: scores = Q K', their softmax, and its product with V; backwards, the same scores again (recompute.py), their cotangents, and the products that those
go into. Scores of all positions with all others would be written and read many times; here some rows of them stay in the cache until they are used up.
Memory is linear in the number of positions (Rabe & Staats 2021; Dao et al. 2022). Whatever is done to the scores (scaled, masked, capped) is part of the chain.

How: the steps' own kernels are called, for a tile's rows alone, with a copy of their words in which the addresses of what is between them (the private
buffers) point into scratch memory: at the tile, minus the tile's place in the whole. A product that sums over the rows adds up tile after tile.

What it is not: no arithmetic of its own, and no change of what is computed: the same steps without it are its oracle.
"""
import math

import numpy as np

from . import contract, groups, threads, zeros
from .code import Code
from .fuse import Call, Group, Indirect, Map, Product, Reduce, column_stride, is_chain, places
from .groups import Instruction
from .layout import Buffer, View, transposed
from .memory import LINE
from .scalar import type_name
from .sizes import is_large, is_square
from .values import select, smaller

CACHED = 1 << 21                            # bytes of private buffers of one tile, and of the matrix that its rows meet
FEWEST_ROWS = 16                            # of a tile
STRETCHES = 4                               # of tiles that there should be at least, where sums over rows go on from tile to tile: each has sums of its own
SLOTS = 2                                   # tiles in work, for each thread
_BYTE = np.dtype(np.uint8)


class Tiles:
    """steps: (product or group, "rows" or "terms": how it goes through the tiles), in order. private: the buffers between them. batch, m, n: entries, rows of
    each, columns. seen: truth values (m, n), where everything that the chain's products read is not 0; None if that is not known."""

    __slots__ = ("steps", "private", "batch", "m", "n", "seen")

    def __init__(self, steps, private, shape):
        self.steps, self.private, self.batch, self.m, self.n = steps, private, math.prod(shape[:-2]), *shape[-2:]
        self.seen = zeros.seen(self)


def inner(step):
    """The loops and products that a step consists of: those of a chain, which are one step tile by tile; else itself alone."""
    return [s for s, _ in step.steps] if type(step) is Tiles else [step]


def reads(step):
    """The ids of the buffers that a step reads from memory."""
    if type(step) is Product:
        views = [x for x in (step.left, step.right, step.onto, step.scale) if type(x) is View]
    elif type(step) is Call:
        views = [x for x in step.operands if type(x) is View]
    else:
        views = [v for o in step.operations for found in places(o) for v in found if id(v.buffer) not in step.levels]
    return {id(v.buffer) for v in views}


def writes(step):
    """The ids of the buffers that a step writes."""
    return {id(b) for b in written(step)}


def written(step):
    """The buffers that a step writes."""
    if type(step) is Tiles:
        return [b for s in inner(step) for b in written(s)]
    if not isinstance(step, Group):
        return [step.out.buffer]
    outs = [o.out.view if isinstance(o.out, Indirect) else o.out for o in step.operations]
    return [v.buffer for v in outs if v.buffer.stored]


# ---- finding them --------------------------------------------------------------------------------------------------------------------

def tiled(steps):
    """The same steps, with Tiles in the place of those that are chains."""
    if not any([_is_seed(s) for s in steps]):
        return steps
    readers, todo, out = {}, list(steps), []
    for s in steps:
        for b in reads(s):
            readers.setdefault(b, []).append(s)
    while todo:
        step = todo.pop(0)
        found = _grown(step, todo, readers) if _is_seed(step) else None
        if found is None:
            out.append(step)
            continue
        tiles, before, after, rest = found
        out += [*before, tiles]
        todo = after + rest
    return out


def _is_seed(step):
    if type(step) is not Product or step.out.buffer.kind != "arena" or not step.out.whole():
        return False
    m, n = step.out.shape[-2:]
    k, size = step.right.shape[-2], step.out.dtype.itemsize                # the result is what is large
    return is_large(step.out.shape, step.out.size * size) and (k * 2 <= n or is_square(step.out.shape)) and m > 1 and k * n * size <= CACHED


def _grown(seed, following, readers):
    """(tiles, steps before them, steps after them, the rest) from a product on, or None."""
    chain = _Chain(seed, readers)
    if not chain.grow(following) or not chain.private or not chain.gathers():
        return None
    return Tiles(chain.steps, chain.private, seed.out.shape), chain.before, chain.after, following[chain.seen:]


class _Chain:
    """A chain as it grows. aligned: buffers whose rows are made, row by row, from rows of the first product's result."""

    def __init__(self, seed, readers):
        self.readers = readers
        self.shape, self.m, self.n = seed.out.shape, *seed.out.shape[-2:]
        self.steps, self.before, self.after, self.seen = [(seed, "rows")], [], [], 0
        self.private, self.aligned, self._waiting, self._later = {}, set(), set(), set()          # _later: what is written when the chain is done
        self._made(seed.out)

    def _made(self, view):
        """A buffer that is written in the chain: private if all who read it belong to the chain, too."""
        b = view.buffer
        self.aligned.add(id(b))
        if b.kind == "arena" and id(b) in self.readers:
            self.private[id(b)] = b
            self._waiting.update(map(id, self.readers[id(b)]))

    def grow(self, following):
        """Does the chain come to its end, nobody outside reading what is private? (To keep a part of it in the cache, where the rest is kept as a whole, has
        gained nothing: a block of 4 heads and 512 positions took 4.5 ms so, 3.2 without.)"""
        for k, step in enumerate(following):
            if not self._waiting:
                break
            self.seen = k + 1
            needed = reads(step)
            met = needed | writes(step)                    # a part that is written over comes after what the chain wrote there
            forced, known = ([b for b in met if b in those] for those in (self.private, self.aligned))
            late = not self._later.isdisjoint(met)
            if known and not late and self._joins(step, needed):
                pass
            elif forced:
                return False
            elif known or late:
                self.after.append(step)
                self._later.update(writes(step))
            else:
                self.before.append(step)
            self._waiting.discard(id(step))
        return not self._waiting

    def gathers(self):
        """Is there a reduction of rows, or are the results of many products multiplied? To keep what is only elementwise in the cache has gained nothing, nor to keep a hidden layer."""
        return any([any([isinstance(o, Reduce) for o in s.operations]) if type(s) is Group else len(self.shape) > 2 for s, _ in self.steps[1:]])

    def _joins(self, step, needed):
        """Take a step in, if its rows go with ours."""
        if type(step) is Product:
            kind = self._product(step)
            if kind is None:
                return False
            self.steps.append((step, kind))
            (self.aligned if kind == "rows" and step.out.whole() else self._later).update(writes(step))         # turned, its rows lie apart
            return True
        if type(step) is not Group or not self._group(step):
            return False
        for b in needed:                                   # a product that nobody else needs is made here, too
            made = next((s for s in self.before if type(s) is Product and id(s.out.buffer) == b), None)
            if made is not None and made.out.buffer.kind == "arena" and made.out.whole() and made.out.shape == self.shape \
                    and _by_rows(step, b):
                self.before.remove(made)
                self.steps.append((made, "rows"))
                self._made(made.out)
        self.steps.append((step, "rows"))
        for o in step.operations:
            if o.out.buffer.stored:
                self.aligned.add(id(o.out.buffer))
                if o.level == "full" and isinstance(o, Map):
                    self._made(o.out)
        return True

    def _product(self, step):
        """"rows", "terms" or None: how a product goes through the tiles."""
        left, right, out = step.left, step.right, step.out
        mine = [id(v.buffer) in self.aligned for v in (left, right)]
        if out.shape[:-2] != self.shape[:-2] or id(out.buffer) in self.aligned:
            return None
        if mine == [True, False] and left.whole() and left.shape[-2] == self.m:
            return "rows"
        if left.shape[-1] != self.m:
            return None
        upright = transposed(left, (*range(left.ndim - 2), left.ndim - 1, left.ndim - 2))
        if (not mine[0] or upright.whole()) and (not mine[1] or right.whole()):
            return "terms"
        return None

    def _group(self, group):
        if group.n != math.prod(self.shape) or any([isinstance(o, Reduce) and o.kind != "row" for o in group.operations]):
            return False
        for o in group.operations:
            direct, others = places(o)
            if any([isinstance(x, Indirect) for x in (*o.operands, o.out)]) or not (isinstance(o, Reduce) or o.out.whole()):
                return False
            for v in direct:
                if id(v.buffer) in self.aligned and id(v.buffer) not in group.levels and not (v.whole() or _one_a_row(v, self.n)):
                    return False
            if any([id(v.buffer) in self.aligned for v in others]):
                return False
        if group.columns is None and is_chain(group.cuts | {self.n}) and all([column_stride(v, self.n) is not None for v in group.memory]):
            group.columns = self.n
            group.cuts |= {self.n}
        return group.columns == self.n


def _by_rows(group, b):
    """Do those of a group's operations that read a buffer read it entry by entry, no other rows of it than their own?"""
    found = [places(o) for o in group.operations]
    return all([id(v.buffer) != b or v.whole() for direct, _ in found for v in direct]) and not any([id(v.buffer) == b for _, others in found for v in others])


def _one_a_row(v, columns):
    return v.buffer.size * columns == v.size and column_stride(v, columns) == 0


# ---- one kernel of each ---------------------------------------------------------------------------------------------------------------

class KernelOf:
    """A word: the address of an instruction's kernel."""

    __slots__ = ("instruction",)

    def __init__(self, instruction):
        self.instruction = instruction


class WordsOf(KernelOf):
    """A word: the address of an instruction's words, from that of some number on."""

    __slots__ = ("first",)

    def __init__(self, instruction, first=0):
        self.instruction, self.first = instruction, first


def instructions(tiles):
    """The kernel of a chain, and what puts the sums of its stretches together. Its words: parts of an entry, rows of an entry, rows of a tile, tiles of a chunk, scratch,
    bytes of it for one chunk, columns that each part needs, stretches of an entry, parts of each; bytes of a row and place in scratch of each private buffer; kernel and
    words of each step, and bytes from its sums of one stretch to those of the next."""
    m, private = tiles.m, list(tiles.private.values())
    a_row = [b.size // (tiles.batch * m) * b.dtype.itemsize for b in private]
    width = max(FEWEST_ROWS, CACHED // sum(a_row) // 16 * 16)
    width = m if width >= m else width
    parts = -(-m // width)
    sums = [step for step, kind in tiles.steps if kind == "terms"]
    stretch = -(-parts // (-(-STRETCHES // tiles.batch) if sums and all([_is_dense(step) for step in sums]) else 1))
    stretches = -(-parts // stretch)
    reach = reach_of(tiles, width, stretch)
    offsets, size = [], 0
    for r in a_row:
        offsets.append(size)
        size += -(-r * width // LINE) * LINE
    number, subs, described, apart, rest, ready = {id(b): k for k, b in enumerate(private)}, [], [], [], [], []
    for step, kind in tiles.steps:
        apart.append(0)
        if kind == "terms":
            name, out = type_name(step.out.dtype), step.out
            ready.append(groups.to_be_there(*groups.combine_kernel("sum", name, name)))
            if stretches > 1:
                partial, apart[-1], added_up = groups.partial_sums(name, stretches, out)
                rest.append(added_up)
                step = Product(step.left, step.right, View(partial, 0, out.shape, out.strides, out.dtype))
        sub, own = (contract.product(step, (kind, width))[0], None) if type(step) is Product else _rows_of(step)
        patches = []
        for k, w in enumerate(sub.words):
            if type(w) is tuple and id(w[0]) in number:
                patches.append((k, number[id(w[0])]))
                sub.words[k] = 0
            elif type(w) is tuple and w[0] is own:                # what a row keeps for itself: no place in the whole
                patches.append((k, len(offsets)))
                sub.words[k] = 0
                offsets.append(size)
                size += -(-own.size // LINE) * LINE
        subs.append(sub)
        described.append((kind == "terms", type(step) is Group, len(sub.words), tuple(patches), () if reach is None else _sizes(step, tiles.private)))
    summed = bool(sums)
    units = tiles.batch * (stretches if summed else parts)
    chunk = -(-units // min(units, SLOTS * threads.count()))
    cost = sum([s.cost * (m if by_row else parts) for s, (_, by_row, *_) in zip(subs, described)]) / (stretches if summed else parts)
    scratch = Buffer("arena", _BYTE, size * -(-units // chunk))
    words = [parts, m, width, chunk, (scratch, 0), size, 0 if reach is None else (Buffer("constant", reach.dtype, parts, array=reach), 0), stretches, stretch]
    for k, offset in enumerate(offsets):
        words += [a_row[k] if k < len(a_row) else 0, offset]
    for s, step in zip(subs, apart):
        words += [KernelOf(s), WordsOf(s), step]
    structure = summed, reach is not None, len(offsets), tuple(described)
    return [Instruction(repr(("tiles", structure)), lambda: _write(*structure), words, units, chunk, cost, subs + ready), *rest]


def _is_dense(product):
    """Could its result, but for where it begins, be a piece of memory without gaps, to which nothing is added?"""
    out = product.out
    return product.onto is None and sum([(n - 1) * s for n, s in zip(out.shape, out.strides)]) == (out.size - 1) * out.dtype.itemsize and min(out.strides) > 0


def reach_of(tiles, width, stretch=None):
    """How many columns each tile needs, or None: all of them. The last tile of a stretch is computed first, and all of its columns, as what sums over rows begins there."""
    if tiles.seen is None:
        return None
    last = np.where(tiles.seen.any(1), tiles.n - np.argmax(tiles.seen[:, ::-1], axis=1), tiles.n)
    reach = np.maximum.reduceat(last, np.arange(0, tiles.m, width)).astype(np.int64)
    stretch = stretch or len(reach)
    reach[stretch - 1::stretch] = reach[-1] = tiles.n
    return reach


def _sizes(step, private):
    """The words of a step that say how many columns there are."""
    if type(step) is Group:
        return (1,)
    rows, columns = (contract.COLUMNS, contract.ROWS) if contract.is_turned(step.out) else (contract.ROWS, contract.COLUMNS)
    mine = [id(v.buffer) in private for v in (step.left, step.right, step.out)]
    return tuple([w for w, it in zip((contract.INNER if step.left.whole() else rows, columns, columns), mine) if it])


def _rows_of(group):
    """(its instruction, the buffer in which a chunk of its rows keeps values for itself, or None): for calls with any rows, all of them in the first chunk."""
    sub, = groups.instructions(group, in_order=True)
    known = {id(v.buffer) for o in group.operations for found in places(o) for v in found} | {id(o.out.buffer) for o in group.operations}
    own = next((w[0] for w in sub.words if type(w) is tuple and id(w[0]) not in known), None)
    if own is not None:
        own.size //= -(-sub.rows // sub.chunk)
    sub.words[0] = 1 << 62
    return sub, own


def _write(summed, reaching, n_places, described):
    code = Code()
    word = code.word
    first = 9 + 2 * n_places
    copies = []
    for s, (_, _, n, _, _) in enumerate(described):
        copy, source = code.stack(8 * n), word(first + 3 * s + 1)
        with code.loop(0, n) as k:
            code.store(copy, k, code.load(source, k, "i64"))
        copies.append(copy)
    with code.loop(code.lo, code.hi) as unit:
        scratch = word(4) + unit.over(word(3)) * word(5)
        entry = unit.over(word(7) if summed else word(0))
        begin = (unit - entry * word(7)) * word(8) if summed else unit - entry * word(0)
        last = smaller(begin + word(8), word(0)) - 1 if summed else begin
        for s, (sums, *_) in enumerate(described):
            if sums:
                code.store(copies[s], code.number(contract.FIRST), last if reaching else begin)
                code.store(copies[s], code.number(contract.OUT), code.load(word(first + 3 * s + 1), code.number(contract.OUT), "i64") + (unit - entry * word(7)) * word(first + 3 * s + 2))
        with code.loop(begin, last + 1) as part:
            if summed and reaching:                                   # backwards
                part = begin + last - part
            tile = entry * word(0) + part
            if reaching:
                columns = code.load(word(6), part, "i64")
            lo = entry * word(1) + part * word(2)
            end = entry * word(1) + word(1)
            hi = select(lo + word(2) < end, lo + word(2), end)
            for s, (_, by_row, _, patches, sizes) in enumerate(described):
                for k, place in patches:
                    code.store(copies[s], code.number(k), scratch + word(9 + 2 * place + 1) - lo * word(9 + 2 * place))
                for k in sizes:
                    code.store(copies[s], code.number(k), columns)
                code.call(word(first + 3 * s), copies[s], *((lo, hi) if by_row else (tile, tile + 1)))
    return code.finish()
