"""From a group of operations to kernels: what is computed where in the loop nest, and the words that say sizes, strides and addresses.

What it is: `instructions(group)`. A group is one loop over rows with loops over columns inside, one for each phase: a reduction along the columns closes a
phase, and what needs its result goes into the next one. Values needed again in a later phase lie in a row of scratch memory, or are read back from where
they are stored. Sums over rows are partial results of each chunk of rows, put together in order afterwards: the bits do not depend on which thread ran
what. The structure (a tuple of strings and small integers) is all that the code depends on (loops.py writes it), and so is its key.

What it is not: no grouping (fuse.py), no LLVM.
"""
import math

import numpy as np

from ..lengths import rank
from . import across, loops, threads
from .code import SIZES
from .fuse import Immediate, Indirect, Map, Reduce, Window
from .layout import Buffer, View, collapse, refined
from .memory import LINE
from .scalar import fingerprint, type_name
from .sizes import is_short

_BYTE = np.dtype(np.uint8)
STATUS = "status"                          # the word that stands for the address where an index out of range is reported
REGION, THREADS = "region", "threads"      # those of native.py's `region`, which shares rows out, and of what it wants to know of the threads
APART = 128                                # bytes: what different threads write all the time shares no cache line, nor a pair that is fetched together
STRIP_BYTES = 1 << 15                      # of one operand: rows that wait for each other, see loops.STRIP
DEAR = 3.0                                 # nanoseconds a row
MANY, FEW = 128, 4                         # rows of the last axis from which on it stays the last one; of an axis that vectors may run along
LONGEST_SUM = 512                          # rows of one plain float32 sum over rows; partial sums are put together in float64
STRETCH = 256                              # bytes of a row that one chunk of columns goes through at least
OWN_COPY = 1.3                             # nanoseconds an entry that is added to costs a chunk that has its own: cleared, and put together afterwards


class Instruction:
    """One row of a program's table to be. key, build: of its kernel (machine.kernel). words: integers, (buffer, offset) addresses, Immediates, STATUS.

    rows are computed `chunk` at a time, by several threads where chunk < rows; cost: nanoseconds a row, roughly. parts: instructions whose kernels this one
    calls, or whose kernels are to be there when there are more rows: another shape compiles nothing.
    """

    __slots__ = ("key", "build", "words", "rows", "chunk", "cost", "parts")

    def __init__(self, key, build, words, rows, chunk, cost, parts=()):
        self.key, self.build, self.words, self.rows, self.chunk, self.cost, self.parts = key, build, words, rows, chunk, cost, parts

    def with_words(self, words):
        """The same kernel on other operands."""
        return Instruction(self.key, self.build, words, self.rows, self.chunk, self.cost, self.parts)


def to_be_there(key, build):
    """A part of an Instruction: a kernel that it does not call, but needs in other sizes."""
    return Instruction(key, build, (), 0, 0, 0)


def instructions(group, in_order=False):
    """The kernel of a group, and those that put partial sums together. in_order: row number k is that of the C order, for whoever calls it for some rows."""
    return Plan(group, in_order).instructions()


def combined(name, type, partial, slots, stride, count, out, onto=False):
    """What puts partial results of chunks together, in order. partial: a buffer, `stride` bytes from one to the next; each has `count` entries, which in `out`
    follow each other, too. onto: onto what is there."""
    words, chunk = [(partial, 0), slots, stride, (out.buffer, out.offset)], threads.split(count, slots * 0.5)
    return Instruction(*combine_kernel(name, type, type_name(out.dtype), onto), words, count, min(count, chunk + -chunk % LINE), slots * 0.5)


def partial_sums(type, slots, out):
    """(a buffer of so many partial results of `out`, a view without gaps, bytes from one to the next, what adds them up into it)"""
    stride = -(-out.size * SIZES[type] // APART) * APART
    partial = Buffer("arena", _BYTE, stride * slots)
    return partial, stride, combined("sum", type, partial, slots, stride, out.size, out)


def combine_kernel(name, type, result, onto=False):
    return repr(("combine", name, type, result, onto)), lambda: loops.write_combine(name, type, result, onto)


class Plan:
    """Words and structure of one group, and the instruction for the processor we are on; cuda/plan.py has one for a grid of threads."""

    def __init__(self, group, in_order=False):
        self.group, self.words, self.rules, self.ready, self.in_order = group, [], [], [], in_order              # ready: see Instruction
        self._cuts, self._numbers, self._views, self._scopes, self._where = sorted(group.cuts, key=rank), {}, [], {}, {}
        self.produced = {}                                   # id of a buffer -> the operation that makes it here
        for k, o in enumerate(group.operations):
            if isinstance(o, Reduce) or not isinstance(o.out, Indirect) and o.out.complete():
                self.produced[id(o.out.buffer)] = k
        over = {id(o.out.buffer.home) for o in group.operations if isinstance(o.out, View)}          # whose windows go by shifts
        windows = [x for o in group.operations for x in o.operands if isinstance(x, Window)]
        self._over = {x: x.shift() for x in windows if id(x.view.buffer.home or x.view.buffer) in over}
        self._reach()
        self._shape()
        self._phases()
        self.across = self._runs_across()
        self.adds = self.alone = self.by_columns = False         # of a scatter whose rows may meet: see _scatter_shares

    # ---- places in memory -------------------------------------------------------------------------------------------------------------

    def _inner(self, v):
        """The operation of this group that a view's values come from, or None: they are read from memory."""
        return self.produced.get(id(v.buffer))

    def _place(self, v, level, shape, scope=None):
        """The number of a place in memory, as strides over the group's finest axes. shape: of the operation that reaches it."""
        strides = v.strides
        if level == "row":
            shape, strides = (*shape, self.group.columns), (*strides, 0)
        fine = tuple(refined(shape, strides, self._cuts))
        home = id(v.buffer.home or v.buffer)
        key = (home, v.offset, fine)
        if scope is not None:
            key = (scope, fine)
        if key not in self._numbers:
            self._numbers[key] = len(self._views)
            self._views.append((v, fine, self._scopes.setdefault(scope or home, len(self._scopes))))
        return self._numbers[key]

    def _reach(self):
        """Every place in memory that some operation reads or writes."""
        self.reads, self.stores = [], []
        for k, o in enumerate(self.group.operations):
            found = []
            for x in o.operands:
                if isinstance(x, Indirect):
                    found.append(self._found(x, o))
                elif isinstance(x, Window):
                    v = x.view if x not in self._over else View(x.view.buffer, 0, x.view.shape, x.view.strides, x.view.dtype)
                    positions = [self._place(p, o.level, o.shape, ("position", axis, x.view.shape)) for p, (axis, _, _) in zip(x.positions, x.cuts)]
                    beyond = tuple([b and self._place(b, o.level, o.shape) for b in x.beyond])
                    found.append((self._place(v, o.level, o.shape), positions, beyond))
                elif isinstance(x, Immediate) or self._inner(x) is not None:
                    found.append(None)
                else:
                    found.append(self._place(x, o.level, o.shape))
            self.reads.append(found)
            out = o.out
            if isinstance(out, Indirect):
                self.stores.append(self._found(out, o))
            elif not out.buffer.stored or isinstance(o, Reduce) and o.kind != "row":
                self.stores.append(None)
            elif isinstance(o, Reduce):
                self.stores.append(self._place(View(out.buffer, 0, (out.buffer.size,), (out.dtype.itemsize,), out.dtype), "row", (out.buffer.size,)))
            else:
                self.stores.append(self._place(out, o.level, o.shape))

    def _found(self, x, o):
        return self._place(x.view, o.level, o.shape), [self._place(a, o.level, o.shape) for a in x.arrays]

    def _shape(self):
        """The axes that remain when those are melted along which every operand walks straight on."""
        lengths = [b // a for a, b in zip(self._cuts, self._cuts[1:])][::-1]
        strides = [s for _, s, _ in self._views]
        inner = 0 if self.group.columns is None else len(lengths) - self._cuts.index(self.group.columns)
        if self.group.columns is None:
            dims, strides = collapse(lengths, strides)
            self.outer, last = dims[:-1], dims[-1:]
            self.outer_strides, inner_strides = [s[:-1] for s in strides], [s[-1] if s else 0 for s in strides]
        else:
            self.outer, self.outer_strides = collapse(lengths[:inner], [s[:inner] for s in strides])
            last, along = collapse(lengths[inner:], [s[inner:] for s in strides])
            if len(last) > 1:
                raise RuntimeError(f"a row of {self.group.columns} entries is no single walk for an operand of {self.group.operations}: fuse.py let it in")
            inner_strides = [s[0] if s else 0 for s in along]
        self.columns = last[0] if last else 1
        self.rows = math.prod(self.outer)
        self.flat = self.group.columns is None and not self.outer
        self._inner_strides = inner_strides

    def _runs_across(self):
        """Do vectors better run across rows than along them? Rows are short, and operands walk straight on from row to row, or stand still; or those of a sum
        over an axis in the middle, which would be read at a long stride."""
        ops = self.group.operations
        if not self.outer or self.columns == 1 or any([isinstance(x, Indirect) for o in ops for x in (*o.operands, o.out)]):
            return False
        short = is_short(self.columns)
        if short and self.outer[-1] < MANY and not self.in_order:
            self._put_last(max(range(len(self.outer)), key=self._suits))
        straight = self._straight(-1)
        if short:
            return all(self._close(-1)) or 2 * sum(straight) > len(straight)
        apart = [s not in (0, v.dtype.itemsize) for (v, *_), s in zip(self._views, self._inner_strides)]
        return any(apart) and all(straight) and not self.needed_later and not is_short(self.outer[-1], FEW - 1)

    def _straight(self, k):
        """Of each operand: does it walk straight on along axis k of the rows, or stand still?"""
        return [s[k] in (0, v.dtype.itemsize) for (v, *_), s in zip(self._views, self.outer_strides) if v.buffer.kind != "none"]

    def _close(self, k):
        """Of each operand: does it walk straight on along axis k of the rows, or was it given so that short rows follow each other without gaps?"""
        known = [(v.dtype.itemsize, s[k], v.buffer.kind != "arena") for (v, *_), s in zip(self._views, self.outer_strides) if v.buffer.kind != "none"]
        return [step in (0, size) or given and step == self.columns * size for size, step, given in known]

    def _suits(self, k):
        """How well axis k of the rows would be the one that runs fastest: long enough, with memory that lies close together; the later one of equals."""
        return self.outer[k] >= FEW, sum(self._straight(k)), -sum([abs(s[k]) for s in self.outer_strides if s]), k

    def _put_last(self, k):
        """Another order of the rows."""
        def put(axes):
            return [*axes[:k], *axes[k + 1:], axes[k]] if axes else axes
        self.outer, self.outer_strides = put(self.outer), [put(s) for s in self.outer_strides]

    # ---- phases -----------------------------------------------------------------------------------------------------------------------------

    def _sources(self, o):
        """(number, operation) of what an operation reads inside the group."""
        for x in o.operands:
            if not isinstance(x, (Immediate, Indirect, Window)):
                k = self._inner(x)
                if k is not None:
                    yield k, self.group.operations[k]

    def _phases(self):
        """When each operation runs: full ones in the column loop number `phase`, row ones after it (-1: before the first).

        As early as possible first; then elementwise ones that nobody needs before a later loop move there, so that fewer values wait in memory.
        """
        ops, early = self.group.operations, []
        for o in ops:
            ready = -1 if o.level == "row" else 0
            for k, p in self._sources(o):
                after = early[k] + (o.level == "full" and (p.level == "row" or isinstance(p, Reduce)))
                ready = max(ready, after)
            early.append(ready)
        last = max([e for e, o in zip(early, ops) if o.level == "full"], default=0)
        late = [None] * len(ops)
        for k in reversed(range(len(ops))):
            o = ops[k]
            if late[k] is None or o.level == "row" or isinstance(o, Reduce) and o.kind == "row":
                late[k] = early[k]
            moved = not (isinstance(o, Reduce) and o.kind != "row")
            for j, p in self._sources(o):
                if moved and p.level == "full" and not isinstance(p, Reduce):
                    late[j] = late[k] if late[j] is None else min(late[j], late[k])
        for k, o in enumerate(ops):                              # sums of terms go where the terms are made
            if isinstance(o, Reduce) and o.kind != "row" and o.level == "full":
                late[k] = max([late[j] for j, p in self._sources(o) if p.level == "full" and not isinstance(p, Reduce)], default=early[k])
        self.phase, self.last = late, max([p for p, o in zip(late, ops) if o.level == "full"] + [last])
        self.needed_later = set()
        for k, o in enumerate(ops):
            for j, p in self._sources(o):
                if o.level == "full" and p.level == "full" and not isinstance(p, Reduce) and late[j] < late[k]:
                    self.needed_later.add(j)

    # ---- words and structure ------------------------------------------------------------------------------------------------------------------

    def word(self, x):
        self.words.append(x)
        return len(self.words) - 1

    def _rule(self, rule):
        if rule not in self.rules:
            self.rules.append(rule)
        return self.rules.index(rule)

    def instructions(self):
        ops = self.group.operations
        chunk_word, columns_word = self.word(0), self.word(self.columns)
        lengths = [self.word(n) for n in self.outer]
        views = []
        for (v, _, scope), outer, s in zip(self._views, self.outer_strides, self._inner_strides):
            unit = 1 if v.buffer.kind == "none" else v.dtype.itemsize
            if self.across:
                outer, s = [*outer[:-1], s], outer[-1]
            kind = "z" if s == 0 else "u" if s == unit else "s"
            base = self.word(0 if v.buffer.kind == "none" else (v.buffer, v.offset))
            rows = () if not any(outer) else "unit" if outer == [unit] and kind == "z" and not self.across else tuple([self.word(t) for t in outer])
            views.append(("pos" if v.buffer.kind == "none" else type_name(v.dtype), kind, base, self.word(s) if kind == "s" else None, rows, scope))
        kept, scratch = {}, 0
        for k in sorted(self.needed_later):
            if self.stores[k] is not None:
                kept[k] = ("stored",)
            elif self._again(k):
                kept[k] = ("again",)
            else:
                kept[k] = ("scratch", self.word(scratch))
                scratch += -(-self.columns * (across.STRIP if self.across else 1) * SIZES[ops[k].result] // LINE) * LINE
        partials, described, cost = {}, [], self._cost(ops, views)
        for k, o in enumerate(ops):
            described.append(self._reduction(k, o, partials) if isinstance(o, Reduce) else self._operation(k, o, kept))
        rows, chunk = self._shares(cost)
        self.words[chunk_word] = chunk
        slots = -(-rows // chunk)
        memory = None
        if scratch:
            memory = (self.word((Buffer("arena", _BYTE, scratch * slots), 0)), self.word(scratch))
        combining = []
        for k, (base, count, type, stride) in partials.items():
            o = ops[k]
            if slots == 1 and type == type_name(o.out.dtype) and o.out.buffer.home is None:          # nothing to put together
                self.words[base] = (o.out.buffer, o.out.offset)
                self.ready.append(to_be_there(*combine_kernel(o.name, type, type)))
                continue
            partial = Buffer("arena", _BYTE, stride * slots)
            self.words[base] = (partial, 0)
            combining.append(self._combine(o.name, type, partial, slots, stride, count, o.out))
        copies = self._copies(views, 1 if self.by_columns else slots, combining) if self.adds else ()
        strip = self._strip(scratch)
        structure = (self.flat, chunk_word, columns_word, tuple(lengths), tuple(views), len(self._scopes), self.last, memory, strip, copies, tuple(described))
        return [self._instruction(structure, tuple(self.rules), rows, chunk, cost), *combining]

    def _again(self, k):
        """Is an operation computed again where a later phase needs it, and not kept?"""
        return False

    def _instruction(self, structure, rules, rows, chunk, cost):
        key = repr(("group", structure, tuple(map(fingerprint, rules))))
        return Instruction(key, lambda: (across if self.across else loops).write(structure, rules), self.words, rows, chunk, cost, tuple(self.ready))

    def _strip(self, scratch):
        """"across" where vectors run across rows; where chunks may be of columns instead of rows, the words that say whether they are and how many rows there
        are; else the word that says how many rows a strip has, or None where it is not worth while to compute what is one a row for many rows at once: then it
        is vectorised, but the rows wait in the cache meanwhile."""
        if self.across:
            return "across"
        if self.alone:
            return self.word(int(self.by_columns)), self.word(self.rows)
        ops = self.group.operations
        dear = sum([o.cost for o in ops if o.level == "row" and isinstance(o, Map)]) >= DEAR
        if dear and not scratch and not self.flat and not any([isinstance(x, (Indirect, Window)) for o in ops for x in (*o.operands, o.out)]):
            return self.word(max(1, min(loops.STRIP, STRIP_BYTES // (self.columns * 8))))
        return None

    def _operand(self, x, found):
        if isinstance(x, Immediate):
            return "number", self.word(x), x.type
        if isinstance(x, Indirect):
            return self._indirect(x, found)
        if isinstance(x, Window):
            return "window", found[0], tuple([(p, self.word(lo), self.word(hi)) for p, (_, lo, hi) in zip(found[1], x.cuts)]), self._over.get(x), *found[2]
        return ("value", self._inner(x)) if found is None else ("memory", found)

    def _indirect(self, x, found):
        key = x.origin, *found[1], *x.places                     # columns of one array are found by the same words: loops.py works them out once
        if key not in self._where:
            places = tuple([(a, self.word(length), self.word(stride)) for a, (length, stride) in zip(found[1], x.places)])
            self._where[key] = places, self.word(x.origin), self.word(STATUS)
        return "indirect", found[0], *self._where[key]

    def _operation(self, k, o, kept):
        operands = tuple([self._operand(x, found) for x, found in zip(o.operands, self.reads[k])])
        store = self.stores[k]
        store = self._indirect(o.out, store) if isinstance(o.out, Indirect) else None if store is None else ("memory", store)
        return "map", o.level, self.phase[k], self._rule(o.rule), o.result, o.casts, operands, store, kept.get(k), o.accumulate

    def _reduction(self, k, o, partials):
        base = None
        if o.kind != "row":
            count = self.columns if o.kind == "columns" else 1
            type = o.type if o.kind == "columns" or o.name != "sum" or o.type[0] != "f" else "f64"
            stride = -(-count * SIZES[type] // APART) * APART
            base = self.word(0), self.word(stride)
            partials[k] = base[0], count, type, stride
        operand = self._operand(o.operands[0], self.reads[k][0])
        store = None if self.stores[k] is None else ("memory", self.stores[k])
        return "reduce", o.level, self.phase[k], o.name, o.type, type_name(o.out.dtype), operand, o.kind, store, base

    def _cost(self, ops, views):
        """Nanoseconds a row."""
        entry = sum(o.cost for o in ops if o.level == "full") + 0.2 * len(views)
        if self.flat:
            return entry
        return entry * self.columns + sum(o.cost for o in ops if o.level == "row") * 2 + 2 * len(views) + 10 * (self.last + 1)

    def _shares(self, cost):
        """(rows, rows of a chunk)."""
        ops, rows = self.group.operations, self.columns if self.flat else self.rows
        if self._scattering() and (self.flat or not self._apart(self.outer_strides)):        # rows may meet
            return self._scatter_shares(rows, cost)
        if self._over:                                           # entry after entry: each reads what the one before it has written over
            return rows, rows
        chunk = threads.split(rows, cost)
        if any(isinstance(o, Reduce) and o.kind == "columns" and o.type == "f32" and o.name == "sum" for o in ops):
            chunk = min(chunk, LONGEST_SUM)
        if self.across and chunk < rows:                         # whole strips
            chunk += -chunk % min(across.STRIP, self.outer[-1])
        if self.flat and loops.MANY <= chunk < rows:             # whole cache lines: vectors begin with one, and no two threads write one
            chunk += -chunk % LINE
        return rows, max(1, min(rows, chunk))

    def _scattering(self):
        """(operation, (number of its place, those of the arrays)) of each that writes to where integer arrays say."""
        return [(o, store) for o, store in zip(self.group.operations, self.stores) if isinstance(o.out, Indirect) and o.out.arrays]

    def _apart(self, strides):
        """Does what integer arrays write to lie apart along these axes (the strides of every place along them)? Not where an array moves along them: it may say
        the same place twice; nor where the place itself does not move."""
        return all([all(strides[target]) and not any([any(strides[a]) for a in arrays]) for _, (target, arrays) in self._scattering()])

    def _scatter_shares(self, rows, cost):
        """(rows, rows of a chunk) where two rows may meet at one place. Chunks that add have a copy each of what they add to, if that is small beside the work;
        else chunks of columns go through all rows, if a row is long enough, and no two columns meet."""
        scattering, chunk = [o for o, _ in self._scattering()], threads.split(rows, cost)
        targets = {id(o.out.view.buffer): o.out.view for o in scattering}
        copy = sum([v.buffer.size for v in targets.values()]) * OWN_COPY
        self.adds = all([o.accumulate for o in scattering])
        self.alone = len(scattering) == 1 and not self.flat and not self.last and self._apart([[s] for s in self._inner_strides])
        apart = self.columns * scattering[0].out.view.dtype.itemsize // STRETCH if self.alone else 1
        most = 8 if apart < 2 else 20                            # what copies may cost: so small a part of the work
        slots = min(-(-rows // chunk), int(rows * cost / (most * copy))) if self.adds else 1
        if slots > 1:
            return rows, -(-rows // slots)
        if chunk < rows and apart > 1:
            self.by_columns, each = True, -(-self.columns // min(apart, -(-rows // chunk)))
            return self.columns, each + -each % (APART // scattering[0].out.view.dtype.itemsize)
        return rows, max(rows, 1)

    def _copies(self, views, slots, combining):
        """A copy for each chunk of what integer arrays add to: the base, length, stride and type of each, and the numbers of the views that lie in it. A single
        chunk adds to the thing itself: of its copy, nothing is cleared, and the stride is 0."""
        made = {}
        for o, (v, _) in self._scattering():
            out = o.out.view.buffer
            if id(out) not in made:
                stride = -(-out.size * out.dtype.itemsize // APART) * APART if slots > 1 else 0
                made[id(out)] = Buffer("arena", _BYTE, stride * slots), stride, out, []
            if slots > 1:
                self.words[views[v][2]] = (made[id(out)][0], o.out.view.offset)
            made[id(out)][3].append(v)
        described = []
        for copy, stride, out, numbers in made.values():
            type = type_name(out.dtype)
            if slots > 1:
                combining.append(self._combine("sum", type, copy, slots, stride, out.size, View(out, 0, (), (), out.dtype), onto=True))
            else:
                self.ready.append(to_be_there(*combine_kernel("sum", type, type, True)))
            cleared = [(copy, 0), out.size, stride] if slots > 1 else [0, 0, 0]
            described.append((*map(self.word, cleared), type, tuple(dict.fromkeys(numbers))))
        return tuple(described)

    _combine = staticmethod(combined)


class Rows(Plan):
    """Of rows that read what the ones before them have written (fuse.Sequential): one after the other, by one thread."""

    def _runs_across(self):
        return False

    def _strip(self, scratch):
        return None

    def _shares(self, cost):
        rows = self.columns if self.flat else self.rows
        return rows, rows
