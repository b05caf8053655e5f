"""Parts of a larger array that are computed where they will lie there, so that nobody copies them.

What it is: `joined(steps)`. Where all that a loop does with a value is to copy it to its place among others (the steps of a recurrence, stacked for one large
product), the value's buffer becomes a stretch of that array's (`Buffer.within`), and the copy is left out.

What it is not: no places in memory (memory.py); what a loop has in a register it writes where it belongs anyway (fuse.py).
"""
from .fuse import Group, Map, is_read
from .layout import View, stretch
from .scalar import CAST, type_name
from .tiles import Tiles, reads, writes

WAITS = 3                       # how many times the bytes that parts occupy until they are copied, times steps, may the whole occupy for being there earlier


def joined(steps):
    """The same steps without the copies; those buffers know within which they lie."""
    # Who reads there in the same loop has the value from the copy, or orders memory by what it is called.
    copies = [(k, o) for k, s in enumerate(steps) if type(s) is Group for o in s.operations if _is_copy(o) and not is_read(o.out.buffer, s)]
    if not copies:
        return steps
    written, parts = {}, {}                              # by id of a buffer: (first, last) step that writes it; the views that are written
    excluded = set()                                     # ids of buffers that tiles use, or that are scattered into
    for k, s in enumerate(steps):
        if type(s) is Tiles:
            for inner, _ in s.steps:
                excluded |= reads(inner) | writes(inner)
            continue
        for b in writes(s):
            written[b] = written.get(b, (k,))[0], k
        for out in [o.out for o in s.operations] if isinstance(s, Group) else [s.out]:
            if type(out) is View:
                parts.setdefault(id(out.buffer), []).append(out)
            else:                                        # where integer arrays say
                excluded.add(id(out.view.buffer))
    wholes = {}
    for k, o in copies:
        part, whole = o.operands[0].buffer, o.out.buffer
        if part.within is None and not excluded & {id(part), id(whole)} and written.get(id(part), (k, k + 1))[1] <= k:
            wholes.setdefault(id(whole), []).append((k, o, part))
    gone = set()
    for key, mine in wholes.items():
        stretches = sorted(map(stretch, parts[key]))
        if any([a[1] > b[0] for a, b in zip(stretches, stretches[1:])]):
            continue                                     # something is written over
        saved = sum([part.size * (k - written[id(part)][0]) for k, _, part in mine])
        earlier = written[key][0] - min([written[id(part)][0] for *_, part in mine])
        if earlier * mine[0][1].out.buffer.size > WAITS * saved:
            continue
        for k, o, part in mine:
            if part.within is None and part is not o.out.buffer.root()[0]:
                part.within = o.out.buffer, o.out.offset
                gone.add(id(o))
    for s in steps:
        if type(s) is Group and gone:
            s.operations = [o for o in s.operations if id(o) not in gone]
    return [s for s in steps if type(s) is not Group or s.operations]


def _is_copy(o):
    """Does it copy all of a buffer to a stretch of another one?"""
    if type(o) is not Map or o.rule is not CAST or type(o.operands[0]) is not View or type(o.out) is not View or o.level != "full" or o.accumulate:
        return False
    (source,), out = o.operands, o.out
    return source.buffer.kind == out.buffer.kind == "arena" and source.buffer is not out.buffer and source.buffer.stored and out.buffer.stored \
        and source.dtype == out.dtype and (type_name(out.dtype),) == o.casts and source.whole() and out.contiguous() \
        and source.buffer.short is out.buffer.short is None
