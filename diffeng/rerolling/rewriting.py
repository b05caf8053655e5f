"""A graph, rewritten from its first operation to its last: `Rewriting`, which copies what is no loop, and says what stands for what loops have made.

What it is not: what a turn is made of (turns.py).
"""
import math

import numpy as np

from ..nodes import Node, Outputs, Tracer, Tracing, bytes_of, reachable
from .periods import stretches
from .turns import Made, Refused, Turns, progression

MOST_BYTES = 1 << 20                     # that are copied to make the rows of one loop out of single values
A_LOOP = 30                              # operations that one of the loops of a graph saves
TOGETHER, MOST_BY_TURNS = 8, 4           # operands of a concatenation that are joined, at least; values of a turn that come there one after the other
_COMPUTE = frozenset("map reduce contract linalg".split())
LOOK = 64                                # operations in the middle of many that are looked at


class Rewriting:
    """order: nodes; wires: of each the places of its operands in it, -1 for constants; last_read: where each is read last, the number of nodes for outputs; singly: how
    often each is read by what stands in no loop. now: {node: what stands for it}; made: {node: (the Turns that make it, which of them, its place in the turn)}.
    fewest: turns of a loop, and parts of a concatenation in which its rows are looked for."""

    def __init__(self, order, outputs, fewest):
        self.order, self._outputs, self.fewest, self.now, self.made, self.copied = order, outputs, fewest, {}, {}, 0
        self.place = {n: k for k, n in enumerate(order)}
        self.wires = [[self.place[x] if type(x) is Node else -1 for x in n.operands] for n in order]
        self.last_read, self.singly = np.zeros(len(order) + 1, int), np.zeros(len(order) + 1, int)
        self.tracing = Tracing(values=False, frames=())

    def outputs(self, codes, least):
        """The outputs themselves where nothing becomes a loop. codes: of the operations, equal where these are; least: operations that loops save."""
        found = stretches(codes, self.fewest, min(least, A_LOOP), self._is_a_turn)
        if sum([end - first - period for first, end, period in found]) < least:
            return self._outputs
        self._look_who_reads(found)
        left, at, changed = [Turns(self, *self._cut(*each)) for each in found][::-1], 0, False
        while left:
            turns = left.pop()
            for part in turns.parts():
                self._copy(at, part.first)
                at = part.first
                if part.become_a_loop():
                    changed, at = True, part.end
                    break
            else:
                left += turns.halves()[::-1]
        if not changed:
            return self._outputs
        self._copy(at, len(self.order))
        found = Outputs([self.node(x) for x in self._outputs])
        return found if len(self.order) - len(reachable(found)) >= least else self._outputs          # who is no loop reads one row after the other

    # ---- where turns are ----------------------------------------------------------------------------------------------------------------

    def _is_a_turn(self, first, end, period):
        """Do they compute something, and do some in between read what was made as far before them as those of the next turn do, or before all of them?"""
        middle = first + int(0.38 * (end - first)) // period * period          # (not in the very middle, where the second of two equal loops begins)
        for k in range(middle, min(middle + max(period, LOOK), end - 2 * period)):          # (the last turn may be another)
            if any([b != a + period and (a >= first or b >= first) for a, b in zip(self.wires[k], self.wires[k + period])]):
                return False
        return any([n.primitive.kind in _COMPUTE for n in self.order[middle:middle + period]])

    def _cut(self, first, end, period):
        """(where turns begin, so that little goes from one to the next; period; how many there are)."""
        middle, last = first + (end - first) // (2 * period) * period, {}
        for k in range(middle - period, middle + 2 * period):
            for w in self.wires[k]:
                if w >= middle - period:
                    last[w] = k
        alive = np.zeros(period + 1, int)
        for w, k in last.items():
            begin, until = max(w + 1 - middle, 0), min(k + 1 - middle, period)
            if begin < until:
                alive[begin] += math.prod(self.order[w].shape)
                alive[until] -= math.prod(self.order[w].shape)
        shift = int(np.argmin(np.cumsum(alive[:-1])))
        return first + shift, period, (end - first - shift) // period

    def _look_who_reads(self, found):
        inside = np.zeros(len(self.order), bool)
        for first, end, _ in found:
            inside[first:end] = True
        for k, wires in enumerate(self.wires):
            for w in wires:
                self.last_read[w] = k
                self.singly[w] += not inside[k]
        for x in self._outputs:
            if type(x) is Node:
                self.last_read[self.place[x]] = len(self.order)
                self.singly[self.place[x]] += 1

    # ---- what stands for nodes ------------------------------------------------------------------------------------------------------------

    def _copy(self, first, end):
        for n in self.order[first:end]:
            self.copy(n)

    def copy(self, n):
        if n not in self.now:
            operands = self._joined(n) if n.primitive.name == "concatenate" and len(n.operands) >= self.fewest else [self.node(x) for x in n.operands]
            self.now[n] = n.with_operands(operands)

    def node(self, x):
        """What stands for an operand now."""
        if type(x) is not Node:
            return x
        if x not in self.now:
            turns, turn, place = self.made[x]
            self.now[x] = _as_operand(turns.value(turn, place))
        return self.now[x]

    def traced(self, x):
        x = self.node(x)
        return Tracer(self.tracing, x) if type(x) is Node else x

    def apply(self, n, operands):
        """An operation on these, at its line."""
        self.tracing.frames = n.frames
        return n.primitive(*operands, **n.params)

    def _joined(self, n):
        """The operands of a concatenation, what a loop's turns make one after the other as one."""
        axis, k, operands = n.params["axis"], 0, []
        while k < len(n.operands):
            several = self._in_turns(n.operands[k:], axis)
            operands.append(self.node(n.operands[k]) if several is None else _as_operand(np.moveaxis(several, 0, axis)))
            k += 1 if several is None else len(several)
        return operands

    def _in_turns(self, parts, axis):
        """The rows of a loop that the first of these parts are, with an axis of length 1 each, or of several of its values by turns; None where they are not."""
        found = []
        for x in parts:
            inner = x.operands[0] if type(x) is Node and x.primitive.name == "reshape" and x not in self.made else None
            if inner not in self.made or x.shape != (*inner.shape[:axis], 1, *inner.shape[axis:]):
                break
            found.append(self.made[inner])
        for several in range(1, min(MOST_BY_TURNS, len(found) // 2) + 1):
            step, end = found[several][1] - found[0][1], several
            while step and end < len(found) and found[end] == (found[end - several][0], found[end - several][1] + step, found[end - several][2]):
                end += 1
            if end >= max(2 * several, TOGETHER):
                count = end // several
                rows = [turns.rows(Made(place), turn, step, count) for turns, turn, place in found[:several]]
                return rows[0] if several == 1 else np.reshape(np.stack(rows, axis=1), (count * several, *rows[0].shape[1:]))
        return None

    # ---- rows ---------------------------------------------------------------------------------------------------------------------------

    def series(self, values):
        """(Turns, a place in them, which turn makes the first, how many further is the next) of values that one loop has made; None for others."""
        found = [self.made.get(x) if type(x) is Node else None for x in values]
        if None in found:
            return None
        (turns, turn, place), (_, after, _) = found[:2]
        step = after - turn
        return (turns, place, turn, step) if step and all([x == (turns, turn + k * step, place) for k, x in enumerate(found)]) else None

    def as_rows(self, values):
        """Values, one of each turn, as the rows of one array. Raises Refused where too much would have to be copied for it."""
        if all([type(x) is Node for x in values]):
            for known in self._of_loop, self._of_carry, self._of_array, self._of_reshaped:
                found = known(values)
                if found is not None:
                    return found
        if len({(np.shape(x), getattr(x, "dtype", None)) for x in values}) > 1 or not hasattr(values[0], "dtype"):
            raise Refused
        self.copied += len(values) * bytes_of(values[0])
        if self.copied > MOST_BYTES:
            raise Refused
        for one, first, end in (values[-1], 0, -1), (values[0], 1, None):          # what a loop began with is often read beside what it has made
            rows = self._of_loop(values[first:end])
            if rows is not None:
                one = np.expand_dims(self.traced(one), 0)
                return np.concatenate([one, rows] if first else [rows, one])
        if len({type(x) for x in values}) > 1 or type(values[0]) is Node and len(values) < 2 * self.fewest:          # (layers of a network)
            raise Refused
        return np.stack([self.traced(x) for x in values])

    def _of_loop(self, values):
        found = self.series(values)
        return None if found is None else found[0].rows(Made(found[1]), *found[2:], len(values))

    def _of_carry(self, values):
        """What turns have begun with, from the first one on, or back to it."""
        for begin, made, first, step in (values[0], values[1:], 0, 1), (values[-1], values[:-1], len(values) - 2, -1):
            found = self.series(made) if len(made) > 1 else None
            if found is not None and found[2:] == (first, step):
                turns, place, *_ = found
                rows = turns.begun(place, begin)
                return None if rows is None or len(made) == turns.count else rows[progression(len(made) if first else 0, step, len(values))]
        return None

    def _of_array(self, values):
        """Entries of an array, or parts of it, that follow one another along an axis."""
        n = values[0]
        if n.primitive.name != "getitem" or len(n.operands) > 1 or any([x.primitive is not n.primitive or x.operands[0] is not n.operands[0] or x in self.made for x in values]):
            return None
        indices = [x.params["index"] for x in values]
        varies = [axis for axis, some in enumerate(zip(*indices)) if any([i != some[0] for i in some])] if all([type(i) is tuple for i in indices]) else ()
        if len(varies) != 1 or not all([type(i) in (int, slice) for i in indices[0]]):
            return None
        axis, = varies
        at = [i[axis] for i in indices]
        widths = {part_of(i) for i in at}
        at = [i.start if type(i) is slice else i for i in at]
        if len(widths) > 1 or None in widths or min(at) < 0 or at[0] == at[1] or at != [*range(at[0], at[0] + len(at) * (at[1] - at[0]), at[1] - at[0])]:
            return None
        width, = widths
        x = self.traced(n.operands[0])[(*indices[0][:axis], slice(None), *indices[0][axis + 1:])]
        axis = sum([type(i) is slice for i in indices[0][:axis]])
        x = np.moveaxis(np.lib.stride_tricks.sliding_window_view(x, width, axis) if width else x, axis, 0)[progression(at[0], at[1] - at[0], len(at))]
        return np.moveaxis(x, -1, axis + 1) if width else x

    def _of_reshaped(self, values):
        n = values[0]
        if n.primitive.name != "reshape" or any([x.primitive is not n.primitive or x.shape != n.shape or x.operands[0].shape != n.operands[0].shape or x in self.made for x in values]):
            return None
        return np.reshape(self.as_rows([x.operands[0] for x in values]), (len(values), *n.shape))


def _as_operand(x):
    """A Node, or a constant."""
    return x.node if type(x) is Tracer else x


def part_of(index):
    """How many entries a part has that begins and ends at numbers; 0 for a number, which reads one; None for others."""
    if type(index) is int:
        return 0
    plain = type(index) is slice and index.step in (None, 1) and type(index.start) is type(index.stop) is int and 0 <= index.start < index.stop
    return index.stop - index.start if plain else None
