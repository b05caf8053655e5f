"""Equal groups are planned once: the steps of a loop, the layers of a network, the thousands of scalar operations of a long function.

What it is: `Plans.instructions`, which hands a group to groups.py, or finds that an equal one was there before, and puts this one's buffers and numbers into
a copy of its words. Equal: the same operations on views of the same shapes and strides, which coincide where the other's do.

What it is not: no planning (groups.py); kernels are shared by all programs anyway (machine.py), whatever the sizes.
"""
from . import groups
from .fuse import Immediate, Indirect, Reduce, Window
from .layout import Buffer


class Plans:
    """The groups of one program. plan: what plans one group (groups.instructions); aligned: it takes offsets for alike that leave the same rest by this.
    factors: of its matrices (matrices.py)."""

    def __init__(self, plan=groups.instructions, aligned=1):
        self._plan, self._aligned, self._known, self.factors = plan, aligned, {}, {}

    def instructions(self, group):
        """The plan of a group."""
        found = _Description(group, self._aligned)
        if not found.simple:
            return self._plan(group)
        pattern = self._known.get(found.key)
        if pattern is None:
            made = self._plan(group)
            self._known[found.key] = _pattern(made, found)
            return made
        own = {}
        return [instruction.with_words([_word(w, found, own) for w in words]) for instruction, words in pattern]


class _Description:
    """key: all that a plan depends on. places: the (buffer, offset) of every view, by number; buffers: those of views, and their homes, by number; numbers: the
    Immediates."""

    def __init__(self, group, aligned):
        self._aligned = aligned
        self._buffers, self._at, self.places, self.buffers, self.numbers, self.simple = {}, {}, [], [], [], True
        self.key = (group.columns, group.n, group.cuts, *[self._operation(o) for o in group.operations])

    def _operation(self, o):
        out = self._operand(o.out)
        if isinstance(o, Reduce):
            return o.shape, o.name, o.type, o.kind, o.columns, o.level, self._operand(o.operands[0]), out
        return o.shape, o.rule, o.result, o.casts, o.accumulate, o.cost, o.level, *[self._operand(x) for x in o.operands], out

    def _operand(self, x):
        if type(x) is Immediate:
            self.numbers.append(x)
            return x.type
        if type(x) is Window:
            return "window", x.cuts, x.view.offset, self._operand(x.view), *[b and (b.offset, self._operand(b)) for b in x.beyond]
        if type(x) is Indirect:
            self.simple = False
            return None
        buffer, offset = x.buffer, x.offset
        at = self._at.get((id(buffer), offset))
        if at is None:
            at = self._at[id(buffer), offset] = len(self.places)
            self.places.append((buffer, offset))
            return at, self._buffer(buffer), offset == 0, offset % self._aligned, x.shape, x.strides, x.dtype
        return at, x.shape, x.strides, x.dtype

    def _buffer(self, buffer):
        """What a plan depends on of a buffer: told once, where it is met first."""
        k = self._buffers.get(id(buffer))
        if k is not None:
            return k
        k = self._buffers[id(buffer)] = len(self._buffers)
        self.buffers.append(buffer)
        home = None if buffer.home is None else self._buffer(buffer.home)
        return k, home, buffer.size, buffer.stored, buffer.short, buffer.pitch


def _pattern(made, found):
    """Instructions with places and numbers by their number, and buffers of the group's own by theirs."""
    places = {(id(b), 0): ~k for k, b in enumerate(found.buffers)}           # (where a window is written over, its buffer's beginning stands for it: groups.py)
    places |= {(id(b), offset): k for k, (b, offset) in enumerate(found.places)}
    numbers = {id(x): k for k, x in enumerate(found.numbers)}
    own = {}

    def word(w):
        if type(w) is tuple:
            buffer, offset = w
            known = places.get((id(buffer), offset))
            return ("place", known) if known is not None else ("own", own.setdefault(id(buffer), len(own)), buffer.kind, buffer.dtype, buffer.size, offset)
        return ("number", numbers[id(w)]) if isinstance(w, Immediate) else w
    return [(i, [word(w) for w in i.words]) for i in made]


def _word(w, found, own):
    if type(w) is not tuple:
        return w
    if w[0] == "place":
        return found.places[w[1]] if w[1] >= 0 else (found.buffers[~w[1]], 0)
    if w[0] == "number":
        return found.numbers[w[1]]
    _, k, kind, dtype, size, offset = w
    if k not in own:
        own[k] = Buffer(kind, dtype, size)
    return own[k], offset
