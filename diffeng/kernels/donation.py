"""Outputs in the memory of inputs that the caller gives away: new parameters where the old ones lay.

What it is: `pairs`, which says what might take whose place, and `settle`, which finds for which pairs that is right: each entry is read for the last time
in the very step of the loop that writes the new one. Those outputs get a `home`, the input's buffer; whoever writes kernels (groups.py) takes both for one
place. `overwrite` does the same for results between steps, and with an output for all that it is made over.

What it is not: no promise. An output for which it is not right gets memory of its own, and the results are the same.
"""
from .fuse import Fuser, Group, Indirect, Map, Product, Reduce, Window
from .layout import Buffer, View
from .scalar import CAST, type_name
from .sizes import is_made_in_place
from .tiles import inner, reads, writes


def pairs(inputs, outputs, donated):
    """{number of an output: number of an input}, of the same shape and dtype, first come, first served. inputs, outputs: (shape, dtype) each; donated: input
    numbers.

    >>> pairs([((3,), float), ((3,), float), ((), float)], [((3,), float), ((2,), float), ((3,), float), ((), float)], (1, 2))
    {0: 1}
    """
    free, found = {}, {}
    for k in donated:
        if inputs[k][0] != ():
            free.setdefault(inputs[k], []).append(k)
    for k, spec in enumerate(outputs):
        if free.get(spec):
            found[k] = free[spec].pop(0)
    return found


def settle(steps, candidates, in_order=False):
    """{number of an output: number of the input in whose memory it is written}, and these buffers know their home. candidates: {number of an output: (its
    buffer, an input's buffer)}; steps: in the order in which they run. in_order: see `_Met.together`."""
    read, written = {}, {}
    for at, step in enumerate(steps):
        for s in inner(step):
            for b in reads(s):
                read[b] = at
            for b in writes(s):
                written.setdefault(b, []).append(at)
    found = {}
    for k, (out, source) in candidates.items():
        at = written.get(id(out), [])
        last = read.get(id(source), -1)
        if len(at) == 1 and (last < at[0] or last == at[0] and _Met(steps[last]).together(out, source, in_order)):
            out.home = source
            found[k] = source.slot
    return found


def overwrite(steps, in_order=False):
    """Results between steps in the memory of what is met for the last time where they are made, entry by entry: what every step of a loop adds to stays where
    it is, and in the cache. Those buffers know their home, and lie within it. Where an output is made so, it is the output's memory that all of them lie in; a
    short vector is copied there in the end, for arrays of the user begin anywhere in a cache line. in_order: see `_Met.together`."""
    seen, first, last, lie, parted = [_Met(step) for step in steps], {}, {}, {}, set()          # lie: {id of a home: all there}; parted: see _Met
    for at, met in enumerate(seen):
        for key in (*met.buffers, *met.results):
            first.setdefault(key, at)
            last[key] = at
        parted |= met.parted
    steps.clear()
    for at, met in enumerate(seen):
        steps.append(met.step)
        new = [b for key, b in met.buffers.items() if b is not None and first[key] == at]
        new += [b for key, b in met.results.items() if in_order and b.home is None and first[key] == at]
        spent = [b for key, b in met.buffers.items() if b is not None and first[key] < at == last[key]] if new else ()
        for out in new if spent else ():
            like = [(met.together(out, b, in_order), first[id(b)], b) for b in spent if b.dtype == out.dtype and b.bytes() == out.bytes()]
            how, _, source = max(like, key=lambda found: found[:2], default=(0, 0, None))          # what was made last is likeliest to be in the cache
            if how:
                if how == 1 and out.kind == "output":
                    out, copy = _apart(met.step, out)
                    steps.append(copy)
                home = source.home or source
                there = lie.setdefault(id(home), [home])
                if out.kind == "output" and any([id(b) in parted for b in there]):
                    continue
                out.home, out.within = home, (home, 0)
                there.append(out)
                spent.remove(source)
                if out.kind == "output":
                    for b in there:
                        b.kind, b.slot, b.within = "output", out.slot, None


def _apart(group, out):
    """(a buffer between steps that a group makes in the place of an output, the step that copies it there)."""
    made, type_, fuser = Buffer("arena", out.dtype, out.size), type_name(out.dtype), Fuser()
    made.stored = True

    def instead(x):
        return View(made, x.offset, x.shape, x.strides, x.dtype) if type(x) is View and x.buffer is out else x
    for o in group.operations:
        to, o.operands, o.out = o.out, tuple(map(instead, o.operands)), instead(o.out)
        if to is not o.out:
            copy = Map(to.shape, CAST, type_, (type_,), (o.out,), to)
    fuser.together([copy])
    return made, *fuser.finish()


class _Met:
    """What a step reads and writes.

    buffers: {id of one between steps: the buffer; None where that is not all of it, entry by entry, or where it is a part of another one (joining.py)}.
    results: {id of an output: the buffer}. parted: ids of those that others are parts of. Of a loop over entries, by id of a buffer, the number of an
    operation: read: the first that reads it as it is, None where one reads a part; beside: the last that reads neighbours, or 0 at the ends; made: the one that
    writes it, None where that is not all of it.
    """

    def __init__(self, step):
        self.step, self.buffers, self.results, self.parted, self.read, self.beside, self.made = step, {}, {}, set(), {}, {}, {}
        for s in inner(step):
            if isinstance(s, Group):
                for k, o in enumerate(s.operations):
                    for x in o.operands:
                        self._reads(x, k)
                    if type(o.out) is View:
                        self._look(o.out, o.out.whole())
                        self.made[id(o.out.buffer)] = k if type(o) is Map and o.out.whole() and id(o.out.buffer) not in self.made else None
                    else:
                        self._reads(o.out, k)
            else:
                for x in (s.left, s.right, s.onto, s.scale, s.out) if type(s) is Product else (*s.operands, s.out):
                    self._reads(x, 0)

    def _reads(self, x, k):
        kind = type(x)
        if kind is View:
            whole, views = x.whole(), (x,)
        elif kind is Window:
            whole, views = x.shift() is not None, (x.view, *filter(None, x.beyond))
        elif kind is Indirect:
            whole, views = False, (x.view, *x.arrays)
        else:
            return
        for v in views:
            self._look(v, whole)
            key = id(v.buffer)
            if not whole:
                self.read[key] = None
            elif kind is Window:
                self.beside[key] = k
            else:
                self.read.setdefault(key, k)

    def _look(self, v, whole):
        b = v.buffer
        if b.kind == "output":
            self.results[id(b)] = b
        elif b.kind == "arena" and b.stored:
            if b.within is not None:
                root = id(b.root()[0])
                self.buffers[id(b)] = self.buffers[root] = None
                self.parted.add(root)
            elif not whole:
                self.buffers[id(b)] = None
            elif id(b) not in self.buffers:
                self.buffers[id(b)] = b

    def together(self, out, source, in_order):
        """Does one loop over entries read each of `source` before it writes the same of `out`? A second operation there gets what the first one read, if both read
        it as it is. So a product reads what it is added to. 2: it does. 1: entries beside are read, too, and in_order says that one thread goes through a short vector entry by
        entry, and keeps the one before (loops.py). 0: it does not."""
        step = self.step
        if type(step) is Product:
            times = type(step.scale) is View and step.scale.buffer is source                  # BLAS reads that number as it goes
            return 2 if step.onto is not None and step.onto.buffer is source and not times else 0          # and no factor (accumulate.py)
        beside = self.beside.get(id(source))
        made, read = self.made.get(id(out)), self.read.get(id(source), beside)
        if type(step) is not Group or made is None or read is None or read > made or any([type(o) is Reduce and o.kind == "row" for o in step.operations]):
            return 0
        if beside is None:
            return 2
        return int(in_order and beside <= made and all([len(o.shape) == 1 for o in step.operations]) and is_made_in_place(out.bytes()))
