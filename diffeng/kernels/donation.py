"""Outputs in the memory of inputs that the caller gives away: new parameters where the old ones lay.

What it is: `pairs`, which says what might take whose place, and `settle`, which finds for which pairs that is right: each entry is read for the last time
in the very step of the loop that writes the new one. Those outputs get a `home`, the input's buffer; whoever writes kernels (groups.py) takes both for one
place. `overwrite` does the same for results that nobody is given.

What it is not: no promise. An output for which it is not right gets memory of its own, and the results are the same.
"""
from .fuse import Group, Indirect, Map, Product, Window, places
from .layout import View
from .tiles import inner, reads, writes

SHORT = 1 << 14                            # bytes of a vector that one thread goes through: four of them fit into the first cache


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
    buffer, an input's buffer)}; steps: in the order in which they run. in_order: see `_together`."""
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
        if len(at) == 1 and (last < at[0] or last == at[0] and _together(steps[last], out, source, in_order)):
            out.home = source
            found[k] = source.slot
    return found


def overwrite(steps, in_order=False):
    """Results between steps in the memory of what is met for the last time where they are made, entry by entry: what every step of a loop adds to stays where
    it is, and in the cache. Those buffers know their home, and lie within it. in_order: see `_together`."""
    met, last = [], {}
    for step in steps:
        found = _met(step)
        met.append((found, {key for key in found if key not in last}))
        last.update(dict.fromkeys(found, step))
    made = {key: at for at, (_, new) in enumerate(met) for key in new}
    for step, (found, new) in zip(steps, met):
        spent = [b for key, b in found.items() if last[key] is step and b is not None and key not in new]
        spent.sort(key=lambda b: -made[id(b)])                   # what was made last is likeliest to be in the cache
        for out in [b for key, b in found.items() if key in new and b is not None] if spent else ():
            like = [b for b in spent if b.dtype == out.dtype and b.bytes() == out.bytes()]
            source = next((b for beside in ((False, True) if in_order else (False,)) for b in like if _together(step, out, b, beside)), None)
            if source is not None:
                out.home = source.home or source
                out.within = out.home, 0
                spent.remove(source)


def _met(step):
    """{id of a buffer between steps that one of them reads or writes: the buffer; None where that is not all of it, entry by entry, or where it is a part of
    another one (joining.py)}."""
    found = {}
    for s in inner(step):
        if type(s) is Group:
            views = [x for o in s.operations for x in (*o.operands, o.out)]
        else:
            views = (s.left, s.right, s.onto, s.scale, s.out) if type(s) is Product else (*s.operands, s.out)
        for x in views:
            held = [x] if type(x) is View else [x.view] if type(x) is Window else [x.view, *x.arrays] if type(x) is Indirect else ()
            for v in held:
                b = v.buffer
                if not b.stored or b.kind != "arena":
                    continue
                if b.within is not None:
                    found[id(b)] = found[id(b.root()[0])] = None
                elif found.get(id(b), b) is not None:
                    found[id(b)] = b if (v.whole() if v is x else type(x) is Window and x.shift() is not None) else None
    return found


def _together(step, out, source, in_order):
    """Does one loop over entries read each of `source` before it writes the same of `out`? A second operation there gets what the first one read. So a product
    reads what it is added to. in_order: of short vectors the entries beside may be read, too, for one thread goes through them in order, and keeps the one
    before (loops.py)."""
    if type(step) is Product:
        return step.onto is not None and step.onto.buffer is source          # and no factor (accumulate.py)
    if type(step) is not Group or step.columns is not None:
        return False
    met = made = beside = False
    for o in step.operations:
        direct, others = places(o)
        mine = [v for v in direct if v.buffer is source]
        windows = [x for x in o.operands if type(x) is Window and x.view.buffer is source]
        if sum([v.buffer is source for v in others]) > len(windows) or not all([v.whole() for v in mine]) or windows and made \
                or any([x.shift() is None for x in windows]):
            return False
        met, beside = met or bool(mine or windows), beside or bool(windows)
        if type(o.out) is View and o.out.buffer is out:
            if not (met and type(o) is Map and o.out.whole()):
                return False
            made = True
    return not beside or in_order and out.bytes() <= SHORT and all([len(o.shape) == 1 for o in step.operations])
