"""Results of loops that nobody reads, and what a turn computes for these alone.

What it is: `without_unread`, a walk backwards from a graph's outputs. The rule of a loop makes the cotangents of all its numbers, for it does not know which
derivative is asked for, and keeps all its carries on the way, of which it may need none.

What it is not: a look into a turn: what a smaller loop computes follows from its results (Loop.reading).
"""
import collections

from .nodes import Node, Outputs, Primitive, reachable


def without_unread(outputs):
    """The nodes of a graph, its scans replaced by such with the results that are read; the outputs themselves where that is all of them. For evaluation only."""
    order = reachable(outputs)
    part = parts(order)
    if not part:
        return outputs
    places, alive, smaller = collections.defaultdict(list), set(), {}          # places: {scan: (first, end) of the entries that are read}

    def read(operands):
        for x in operands:
            if type(x) is Node:
                if x in part:
                    scan, *place = part[x]
                    places[scan].append(place)
                else:
                    alive.add(x)
    read(outputs)
    for n in reversed(order):
        if n in places:
            smaller[n] = found = n.primitive.own.reading(places[n])
            read([n.operands[k] for k in found[1]])
        elif n in alive:
            read(n.operands)
    if all([loop is n.primitive.own for n, (loop, *_) in smaller.items()]):
        return outputs
    now = {}

    def there(x):
        """What stands for an operand."""
        if type(x) is Node and x not in now:                     # a part of a scan
            (scan, first, end), (loop, _, dropped) = part[x], smaller[part[x][0]]
            begin = first - sum([s.stop - s.start for s in dropped if s.stop <= first])
            now[x] = Node(Primitive.registry["getitem"], (now[scan],), {"index": (slice(begin, begin + end - first),)}, None, x.shape, loop.dtype, x.frames)
        return now[x] if type(x) is Node else x
    for n in order:
        if n in smaller:
            loop, given, _ = smaller[n]
            now[n] = Node(loop.primitive, tuple([there(n.operands[k]) for k in given]), n.params, None, (loop.size,), loop.dtype, n.frames)
        elif n in alive:
            now[n] = n.on(map(there, n.operands)) if n.operands else n
    return Outputs(map(there, outputs))


def parts(order):
    """{node: (scan, first, end)} of the nodes that are entries first ... end of a scan's packed results."""
    part = {}
    for n in order:
        if n.primitive.name == "scan":
            part[n] = n, 0, n.shape[0]
        elif part and n.primitive.name == "getitem" and len(n.operands) == 1 and n.operands[0] in part and len(n.shape) == 1:
            index, (scan, first, _) = n.params["index"][0], part[n.operands[0]]
            if type(index) is slice and index.step in (None, 1):
                first += index.indices(n.operands[0].shape[0])[0]
                part[n] = scan, first, first + n.shape[0]
    return part
