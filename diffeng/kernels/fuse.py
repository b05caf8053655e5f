"""Which operations share a loop: elementwise ones and reductions over one space of rows and columns, as long as nothing outside needs what is between them.

What it is: `Fuser` takes operations in topological order and returns steps in an order that may be run: `Group` (operations in one loop nest over rows),
`Product` (BLAS) and `Call` (a primitive that NumPy computes).

How: a group is open until something outside of it reads what it writes, then it is emitted. An open group therefore has no reader, open groups
do not depend on each other, and two of them merge whenever one operation reads both; an operation that reads none joins one that reads the same
memory. One pass, no search, no cycle possible.

A group's space has n entries. Once a reduction along its last axes has joined, they are cut into rows of `columns`: a value is then "full" (one an entry),
"row" (one a row: what such a reduction gives, and what is computed from that) or "done" (a sum over rows: known when the loop has ended, so nobody
inside may read it). A softmax with what feeds and follows it is one group, a layer norm too, and a bias gradient joins the loop that makes its terms.

What it is not: it knows no primitive (lower.py) and writes no code (groups.py).
"""
import functools
import math

import numpy as np

from ..lengths import divides, rank, weight
from .layout import Buffer, View, collapse, cut_at, disjoint

MOST_OPERATIONS = 64                      # a group: compile time is linear in them, registers are not
SCALARS_FUSED = MOST_OPERATIONS             # beyond so many scalar operations each is its own (shared) kernel: see Fuser.operate
APART = 4                                 # groups that may write parts of one buffer at a time: each is asked about each new part


class Immediate:
    """A number known when the program is built: an entry of the operand table, never part of a kernel's structure."""

    __slots__ = ("value", "type")

    def __init__(self, value, type):
        self.value, self.type = value, type

    def word(self):
        """Its bytes, as a 64-bit integer."""
        return int.from_bytes(np.asarray(self.value).tobytes().ljust(8, b"\0"), "little", signed=True)


class Indirect:
    """Entries found by integer arrays: `view` and each of `arrays` over the axes of the result; places: (length, stride in bytes) of each indexed axis."""

    __slots__ = ("view", "arrays", "places", "origin")

    def __init__(self, view, arrays, places, origin):
        self.view, self.arrays, self.places, self.origin = view, arrays, places, origin


class Window:
    """Entries of `view` (over the axes of the result, its offset moved so that equal indices meet) where lo <= index < hi on each axis of cuts, (axis, lo, hi),
    and 0 elsewhere, or what is `beyond`: see layout.Padded.

    positions: those indices, as views of no memory: stride 1 along the axis, 0 along the others.
    """

    __slots__ = ("view", "cuts", "beyond", "positions")

    def __init__(self, view, cuts, beyond=()):
        self.view, self.cuts, self.beyond = view, cuts, beyond
        self.positions = [View(Buffer("none", view.dtype, 0), 0, view.shape, [int(k == axis) for k in range(view.ndim)], view.dtype) for axis, _, _ in cuts]

    def shift(self):
        """How many entries behind the one that is computed an entry of a vector is read: -1, 0 or 1; None for all others, and of what is no vector."""
        v, size = self.view, self.view.dtype.itemsize
        if self.beyond:
            return None
        return v.offset // size if v.strides == (size,) and v.offset in (-size, 0, size) and v.size == v.buffer.size > 1 else None


class Map:
    """One elementwise step over a shape: out = rule(operands), each operand cast to its type first.

    rule: a function of Values (scalar.py). result: the type of what comes out. operands: Views over the shape, Immediates, Indirects, Windows.
    out: a View, or an Indirect (positions may repeat there if `accumulate`, which adds to what is there).
    """

    __slots__ = ("shape", "rule", "result", "casts", "operands", "out", "accumulate", "cost", "level")

    def __init__(self, shape, rule, result, casts, operands, out, accumulate=False, cost=0.5):
        self.shape, self.rule, self.result, self.casts, self.operands = tuple(shape), rule, result, casts, operands
        self.out, self.accumulate, self.cost, self.level = out, accumulate, cost, "full"


class Reduce:
    """name: sum, prod, max, min, any or all of the entries of a view, cast to `type` first.

    kind: "row" (over the last axes, `columns` entries together), "columns" (over the axes before the last ones, `columns` entries together) or "all".
    out: in C order over what is left.
    """

    __slots__ = ("shape", "name", "type", "operands", "kind", "columns", "out", "cost", "level")

    def __init__(self, name, type, view, kind, columns, out):
        self.shape, self.name, self.type, self.operands, self.kind, self.columns = view.shape, name, type, (view,), kind, columns
        self.out, self.cost, self.level = out, 0.5, "full"


class Group:
    """Operations in one loop nest. levels: what of a buffer's values is known inside, by id. cuts: where axes of the operations' shapes begin."""

    __slots__ = ("operations", "n", "columns", "levels", "cuts", "open", "memory")

    def __init__(self, n, columns=None):
        self.n, self.columns = n, columns
        self.operations, self.levels, self.open, self.memory = [], {}, True, []
        self.cuts = frozenset({1, n, columns or 1})


class Sequential(Group):
    """A Group whose rows read what the ones before them have written: they are computed in order, by one thread."""

    __slots__ = ()

    @classmethod
    def of(cls, group):
        made = cls(group.n, group.columns)
        for name in Group.__slots__:
            setattr(made, name, getattr(group, name))
        return made


class Product:
    """out[b, i, j] = sum of left[b, i, k] right[b, k, j] over k: views of shapes batch + (m, k), batch + (k, n), batch + (m, n) that BLAS can walk.

    onto: a view with out's strides, or None: out = onto + scale * sums. scale: 1 (None), an Immediate, or a View of one number. negative: onto - scale * sums.
    """

    __slots__ = ("left", "right", "out", "onto", "scale", "negative")

    def __init__(self, left, right, out, onto=None, scale=None, negative=False):
        self.left, self.right, self.out, self.onto, self.scale, self.negative = left, right, out, onto, scale, negative


class Call:
    """A primitive in NumPy. operands: Views, and constants as they came. origin: what a kernel in its place reports by, see Lowering. Of a loop whose turns are kernels
    (repeated.py): products: do they call BLAS? reports: {code: (primitive, frames)} of what they check."""

    __slots__ = ("node", "operands", "out", "origin", "products", "reports")

    def __init__(self, node, operands, out, origin=0):
        self.node, self.operands, self.out, self.origin, self.products, self.reports = node, operands, out, origin, False, {}


# ---- where a view lies in a space of rows and columns -----------------------------------------------------------------------------------

def column_stride(view, columns):
    """The one stride that walks along a row of so many entries, or None where there is no such."""
    k = cut_at(view.shape, columns)
    if k is None:
        return None
    dims, (strides,) = collapse(view.shape[k:], [view.strides[k:]])
    return None if len(dims) > 1 else strides[0] if strides else 0


def is_row(view, columns):
    """Is it a whole buffer with one entry a row, repeated along the columns?"""
    if column_stride(view, columns) != 0:
        return False
    k = cut_at(view.shape, columns)
    return View(view.buffer, view.offset, view.shape[:k], view.strides[:k], view.dtype).complete()


@functools.lru_cache(maxsize=1000)
def cuts_of(shape, scale=1):
    """Numbers of entries that the last axes of a shape have together."""
    out, product = set(), scale
    for n in reversed(shape):
        product *= n
        out.add(product)
    return frozenset(out)


@functools.lru_cache(maxsize=1000)
def is_chain(cuts):
    """Can axes be cut at all of them at once? cuts: a frozenset."""
    cuts = sorted(cuts, key=rank)
    return all(map(divides, cuts, cuts[1:]))


def _apart(operation, group):
    """Does an operation write no entry that a group writes? The parts of a concatenation lie beside each other."""
    out = operation.out
    return type(operation) is Map and not operation.accumulate and all([
        isinstance(o.out, Indirect) or o.out.buffer is not out.buffer or type(o) is Map and disjoint(o.out, out) for o in group.operations])


def places(operation):
    """The views by which an operation reaches memory, unless the group has their values: (views read directly, others)."""
    direct, others = [], []
    for x in operation.operands:
        kind = type(x)
        if kind is View:
            direct.append(x)
        elif kind is Indirect:
            others += [x.view, *x.arrays]
        elif kind is Window:
            others += [x.view, *x.positions, *filter(None, x.beyond)]
    if type(operation.out) is Indirect:
        others += [operation.out.view, *operation.out.arrays]
    return direct, others


def is_read(buffer, group):
    """Does an operation of a loop read it?"""
    return any([v.buffer is buffer for o in group.operations for views in places(o) for v in views])


class Fuser:
    """Collects operations; `steps` is the program's order once `finish` was called. narrow: products of float32 take bfloat16 operands (contract.py);
    aligned: bytes at multiples of which rows of large factors and results of products begin, 0 for anywhere."""

    def __init__(self, narrow=False, aligned=0):
        self.steps, self._open, self._scalars, self._readers = [], {}, 0, {}
        self.aligned, self.narrow, self.narrowed = aligned, narrow, {}                  # narrowed: {id of a buffer: {place and walk: the view of its bfloat16}}

    def need(self, *views):
        """What follows reads these from memory: close the groups that write them."""
        for view in views:
            buffer = view.buffer
            buffer.stored = True
            if buffer.writers:
                for group in list(buffer.writers):
                    self._close(group)

    def written(self, buffer):
        """What follows writes over what was there: close the groups that read it."""
        for group in list(self._open.values()):
            if is_read(buffer, group):
                self._close(group)

    def step(self, step, reads, *outs):
        """A step of its own, which writes fresh buffers."""
        self.need(*reads)
        for out in outs:
            out.buffer.stored = True
        self.steps.append(step)

    def passes(self, read, made):
        """Does an open group that computes `made` read the memory of `read` anyway?"""
        return any([v.buffer is read.buffer for g in made.buffer.writers for v in g.memory])

    def operate(self, operation):
        """Add an operation, to an open group where possible.

        A program of very many scalar operations would be compiled for minutes as fused code, but consists of few different ones: unfused, their
        kernels are shared and cost some nanoseconds a call.
        """
        out = operation.out
        alone = type(out) is Indirect or type(operation) is Map and operation.accumulate
        n = math.prod(operation.shape)
        if n < 2 and type(n) is int:
            self._scalars += 1
            alone |= self._scalars > SCALARS_FUSED
        direct, others = places(operation)
        if others:
            self.need(*others)
        if type(out) is View:
            for group in list(out.buffer.writers):           # a partial write comes after what was there before
                if len(out.buffer.writers) > APART or not _apart(operation, group):
                    self._close(group)
        group = None if alone else self._home(operation, direct, others)
        read = direct if group is None else [v for v in direct if id(v.buffer) not in group.levels]
        if read:
            self.need(*read)
        if group is None and not alone:
            group = self._beside(operation, direct, others)
        if group is None:
            group = Group(n, operation.columns if type(operation) is Reduce and operation.kind != "all" else None)
        self._add(group, operation, others + read)
        if alone:
            self._close(group)

    def together(self, operations):
        """Operations of one shape in a loop of their own: parts of one array, say, of which one pass makes all."""
        group = Group(math.prod(operations[0].shape))
        found = [(o, *places(o)) for o in operations]
        self.need(*[v for _, direct, others in found for v in (*direct, *others)], *[o.out for o in operations if not isinstance(o.out, Indirect)])
        for o, direct, others in found:
            self._add(group, o, others + [v for v in direct if id(v.buffer) not in group.levels])
        self._close(group)

    # ---- finding a group -----------------------------------------------------------------------------------------------------------------

    def _home(self, operation, direct, others):
        """The open group that computes operands of this operation and can hold it, made of several where need be; None where there is none."""
        writers = [*dict.fromkeys([g for v in direct for g in v.buffer.writers])]
        home = None
        for g in sorted(writers, key=lambda g: -weight(g.n)) if len(writers) > 1 else writers:
            if not g.open:
                continue
            if len(g.operations) + (len(home.operations) if home else 0) >= MOST_OPERATIONS or not self._stretch(g, operation) \
                    or home is not None and not self._merged(home, g):
                self._close(g)
            elif home is None:
                home = g
        if home is None:
            return None
        level = self._level(home, operation, direct, others)
        if level is None:
            self._close(home)
            return None
        operation.level = level
        return home

    def _beside(self, operation, direct, others):
        """An open group that reads entries of one of these anyway: it has no part in computing them, and reads them once for both. (Single entries of one array are
        read together: calls count there.)"""
        for v in direct:
            g = self._readers.get(id(v.buffer))
            if g is not None and g.open and len(g.operations) < MOST_OPERATIONS and g.n == math.prod(operation.shape) \
                    and (g.n == 1 or not all([m.buffer is not v.buffer or disjoint(m, v) for m in g.memory])) and self._level(g, operation, direct, others) == "full":
                return g
        return None

    def _level(self, group, operation, direct, others):
        """"full" or "row": as what the operation can join; None if it cannot."""
        n = math.prod(operation.shape)
        for level in ("full", "row"):
            if n * (1 if level == "full" else group.columns or 0) == group.n and self._fits(group, operation, level, direct, others):
                return level
        return None

    def _fits(self, group, operation, level, direct, others):
        columns = group.columns
        if type(operation) is Reduce and operation.kind != "all":
            if level == "row" or columns not in (None, operation.columns) or columns is None and not self._splits(group, operation.columns):
                return False
            columns = operation.columns
        cuts = cuts_of(operation.shape, columns if level == "row" else 1)
        if not (cuts <= group.cuts and (columns or 1) in group.cuts) and not is_chain(group.cuts | cuts | {columns or 1}):
            return False
        for v in direct:
            known = group.levels.get(id(v.buffer))
            if known is not None and not (known == "row" and v.complete() if level == "row" else v.complete() if known == "full"
                                          else known == "row" and is_row(v, columns)):
                return False
        if level == "row" or columns is None:
            return True
        memory = others + [v for v in direct if id(v.buffer) not in group.levels]
        if type(operation) is Map and type(operation.out) is View:
            memory.append(operation.out)
        return all([column_stride(v, columns) is not None for v in memory])

    def _splits(self, group, columns):
        """Can a group without rows get rows of so many columns?"""
        return is_chain(group.cuts | {columns}) and all(column_stride(v, columns) is not None for v in group.memory)

    def _stretch(self, group, operation):
        """Make a group of row values part of a space with columns, if that is what the operation reads it along (not of a single value: nobody could share in the
        one row that it has). True unless nothing helps."""
        n = math.prod(operation.shape)
        if n <= group.n or group.columns is not None or not divides(group.n, n):
            return n <= group.n or group.columns is not None
        columns = n // group.n
        mine = [v for v in operation.operands if not isinstance(v, (Immediate, Indirect, Window)) and group in v.buffer.writers]
        return len(group.operations) <= MOST_OPERATIONS // 2 and all([is_row(v, columns) for v in mine]) and self._to_rows(group, columns, mine)

    def _to_rows(self, group, columns, views):
        """Make a group of values that are read as these views part of a space with so many columns, one for each row. True if that can be."""
        if columns == 1 or group.n == 1 or any([group.levels[id(v.buffer)] != "full" for v in views]) or any([isinstance(o, Reduce) for o in group.operations]):
            return False
        group.n, group.columns = group.n * columns, columns
        group.cuts = frozenset([c * columns for c in group.cuts]) | {1}
        group.levels = dict.fromkeys(group.levels, "row")
        group.memory = []                                    # rows reach memory by any strides
        for o in group.operations:
            o.level = "row"
        return True

    def _merged(self, group, other):
        """Take in the operations of another open group, if both can share rows and columns."""
        columns = group.columns or other.columns
        if other.columns is None and columns and other.n * columns == group.n and is_chain(group.cuts | {c * columns for c in other.cuts}):
            self._to_rows(other, columns, ())
        if group.n != other.n or other.columns not in (None, columns) or not is_chain(group.cuts | other.cuts):
            return False
        for g in (group, other):
            if columns is not None and g.columns is None and not self._splits(g, columns):
                return False
        group.columns = columns
        group.operations += other.operations
        group.levels |= other.levels
        group.cuts |= other.cuts
        group.memory += other.memory
        for o in other.operations:
            o.out.buffer.writers = [group, *[g for g in o.out.buffer.writers if g is not other and g is not group]]
        other.open = False
        self._open.pop(id(other))
        for v in other.memory:
            self._readers[id(v.buffer)] = group
        return True

    # ---- keeping them ---------------------------------------------------------------------------------------------------------------------

    def _add(self, group, operation, memory):
        """memory: what it reads from there."""
        level, reduces = operation.level, type(operation) is Reduce
        if reduces and operation.kind != "all":
            group.columns = operation.columns
            group.cuts |= {operation.columns}
        cuts = cuts_of(operation.shape, group.columns if level == "row" else 1)
        if not cuts <= group.cuts:
            group.cuts |= cuts
        if level == "full":
            group.memory += memory
            for v in memory:
                self._readers[id(v.buffer)] = group
        group.operations.append(operation)
        self._open[id(group)] = group
        out = operation.out
        if type(out) is View:
            if group not in out.buffer.writers:
                out.buffer.writers = [*out.buffer.writers, group]
            if reduces:
                group.levels[id(out.buffer)] = "row" if operation.kind == "row" else "done"
            elif out.complete():
                group.levels[id(out.buffer)] = level
                if level == "full" and not out.whole():          # where it will be stored, rows of another length would be no single walk
                    group.memory.append(out)
            else:
                group.levels[id(out.buffer)] = "done"        # a part of a buffer: whoever reads it reads memory
                if level == "full":
                    group.memory.append(out)

    def _close(self, group):
        if group.open:
            group.open = False
            self._open.pop(id(group), None)
            self.steps.append(group)
            for o in group.operations:
                if not isinstance(o.out, Indirect):
                    o.out.buffer.writers = [g for g in o.out.buffer.writers if g is not group]

    def finish(self):
        for group in list(self._open.values()):
            self._close(group)
        return self.steps
