"""The turns of a loop that was recorded turn by turn: `Turns`, which find out what a turn reads, make a loops.Loop of it, and say what it has made.

What a turn reads, of operations that are the same in all turns:

    made in the same turn                                                       a `Made`
    made in the turn before, or some turns before                               a carry, or several that are handed on
    the same in all turns                                                       read from outside; constants stay constants
    of each turn another, all known before the loop                             a row of x

What is read elsewhere of all turns, the loop returns as rows. Of a function's values a gradient reads many, most of them in the turns of another loop: those that are a few
additions and products of others are made again there, and not kept.
"""
import collections
import math

import numpy as np

from ..batching import vmap
from ..constants import Exact
from ..loops import Loop
from ..nodes import INPUT, Node, Outputs, Tracer, bytes_of
from ..recording import computed
from ..vocabulary import elementwise as e

CHEAP = frozenset("add subtract multiply divide negative square absolute maximum minimum".split())
AGAIN, WIDER = 4, 1.25                   # of these, so many make a value again where it is read; how much more of other values may be kept for it
FEW = 4                                  # turns of which a value may be read outside of loops, and be made again there
LONG = 1e8                               # operations of all turns
LONGEST = 8                              # turns that a value may be handed on
MOST_CUTS = 32                           # loops that follow one another without anything in between
WIDE, MOST_ROWS = 1 << 19, 1 << 26        # bytes of an array, and of its rows of all turns, from which on turns of operations on entries had better be fused
_VIEWS = frozenset(("reshape", "broadcast_to", "transpose"))         # of which elementwise functions are fused

Made = collections.namedtuple("Made", "place")


class Refused(Exception):
    """These operations are no loop."""


class Turns:
    """`count` turns of `period` operations each, from number `first` of a Rewriting's order on; a place is the number of an operation in its turn.

    sources: of each place the operands: each is a Made, a node that stands for what a turn reads or that is made again in it, or a constant; for a place that is a row of
    something before the loop, only the node that stands for it. kept: {Made, or such a node: its rows}, of what is known of all turns after the loop. given: {node that
    stands for what is the same in all turns: that}. cuts: how many loops were cut off in front of it.
    """

    def __init__(self, graph, first, period, count, cuts=0):
        self.graph, self.first, self.period, self.count, self.end, self._cuts = graph, first, period, count, first + period * count, cuts

    def parts(self):
        """These turns, and without the first or the last, which may be others: they begin with a constant, say. Nothing, where they are not worth a loop."""
        turn = self.graph.order[self.first:self.first + self.period]
        widest = max(map(bytes_of, turn))
        if (widest > WIDE or self.count * widest > MOST_ROWS) and all([n.primitive.kind == "map" or n.primitive.name in _VIEWS for n in turn]):
            return                                               # fused, they are one loop over the entries of arrays, and keep nothing
        if self.count * sum(map(_work, turn)) > LONG:
            return                                               # so long that Python would go from turn to turn, to hear a signal (kernels/repeated.py)
        for skipped, fewer in (0, 0), (0, 1), (1, 1), (1, 2):    # at the beginning, and in all
            if self.count - fewer >= self.graph.fewest:
                yield Turns(self.graph, self.first + skipped * self.period, self.period, self.count - fewer)

    def halves(self):
        """The turns before the first one that reads what was made long before it, and the others: a loop goes on where an equal one has ended, and reads its rows."""
        for turn in range(1, self.count if self._cuts < MOST_CUTS else 1):
            begin = self.first + turn * self.period
            if any([self.first <= w < begin - LONGEST * self.period for wires in self.graph.wires[begin:begin + self.period] for w in wires]):
                halves = [Turns(self.graph, self.first, self.period, turn), Turns(self.graph, begin, self.period, self.count - turn, self._cuts + 1)]
                return halves if turn >= 2 * self.graph.fewest else []          # (a shorter one is not worth its rows)
        return []

    def become_a_loop(self):
        """Can they?"""
        self.graph.copied = 0
        self._carries, self._rows = {}, {}                       # {a key: (what is read, the node that stands for it in the turn, ...)}
        self._outer, self._again, self.given = {}, {}, {}        # {a key: the node}
        try:
            self.sources = []
            for place in range(self.period):
                self.sources.append(self._sources(place))
            self._make()
        except Refused:
            return False
        for k, n in enumerate(self.graph.order[self.first:self.end]):
            self.graph.made[n] = self, *divmod(k, self.period)
        return True

    def _column(self, place):
        """The same operation of all turns."""
        return self.graph.order[self.first + place:self.end:self.period]

    # ---- what a turn reads --------------------------------------------------------------------------------------------------------------

    def _sources(self, place):
        column = self._column(place)
        n, index = column[0], column[0].params.get("index")
        if index is None or all([x.params["index"] == index for x in column]):
            sources = [self._source(n, slot, [x.operands[slot] for x in column]) for slot in range(len(n.operands))]
            if not all(map(self._stays, sources)):
                return sources
            self.graph.copy(n)                                   # the same in all turns: it is computed before
            return self._same(n)
        if n.primitive.name != "getitem" or len(n.operands) > 1 or any([x.operands[0] is not n.operands[0] for x in column]) or not self._is_before(n.operands[0]):
            raise Refused
        for x in column:
            self.graph.copy(x)                                   # it waits for no turn
        return self._row_of(column)

    def _stays(self, x):
        """Is an operand the same in all turns?"""
        x = self.sources[x.place] if type(x) is Made else x
        return type(x) is not list and (type(x) is not Node or x in self.given)

    def _is_before(self, x):
        return type(x) is not Node or self.graph.place[x] < self.first

    def _source(self, n, slot, values):
        """An operand of an operation n. values: what it is in each turn."""
        first, last = values[0], values[-1]
        if all([x is first for x in values]) or _are_equal(values):
            if type(first) is Node and not self._is_before(first):
                raise Refused
            return self._same(first) if type(first) is Node else first
        if not self._is_before(last):
            places = [self.graph.place[x] - self.first - k * self.period if type(x) is Node else None for k, x in enumerate(values)]
            turns, place = divmod(places[-1], self.period)       # (turns: none, or -1 for the one before)
            if -turns > LONGEST or any([p != places[-1] for p in places[-turns:]]) or not all(map(self._is_before, values[:-turns])):
                raise Refused
            return Made(place) if not turns else self._carry_of(place, values[:-turns], n.primitive.kind == "map")
        if not all(map(self._is_before, values)):
            raise Refused
        return self._row_of(values if any([type(x) is Node for x in values]) else _numbers(n, slot, values))

    def _same(self, x):
        if id(x) not in self._outer:
            self._outer[id(x)] = n = _input("outer", x)
            self.given[n] = x
        return self._outer[id(x)]

    def _carry_of(self, place, begin, spread):
        """What an operation made so many turns ago. begin: what the first turns read in place of that; may it be spread out?"""
        like = self._column(place)[0]
        if like.dtype.kind != "f" or not all([_may_begin(x, like, spread) for x in begin]):
            raise Refused
        for k in range(len(begin) - 1, -1, -1):                  # a turn hands on what it was handed, the last one what it has made
            self._carries.setdefault((place, *map(id, begin[k:])), (begin[k], _input("carry", like), Made(place) if k == len(begin) - 1 else (place, *map(id, begin[k + 1:]))))
        return self._carries[place, *map(id, begin)][1]

    def _row_of(self, values):
        if not all([hasattr(x, "dtype") for x in values]):       # a Python number among them, of which nobody knows the dtype
            raise Refused
        found = self.graph.series(values)
        if found is None:
            return self._row(tuple(map(id, values)), values[0], lambda: self.graph.as_rows(values), values)
        turns, place, first, step = found
        return self._made_again(turns, Made(place), first, step)

    def _row(self, key, like, rows, *held):
        """rows(): the rows, which are made once it is certain that there is a loop. held: that whose identity is the key."""
        return self._rows.setdefault(key, (rows, _input("x", like), *held))[1]

    def _made_again(self, turns, x, first, step):
        """What stands in this turn for x of another loop's turns, the first of which is `first`, and the next `step` further."""
        def leaf(x):
            return self._same(turns.given[x]) if x in turns.given else self._row((x, turns, first, step), turns.like(x), lambda: turns.rows(x, first, step, self.count))

        def apply(x, n, operands):
            return self._again.setdefault((x, turns, first, step), n.on(operands))
        return turns.made_of_what_is_kept(x, leaf, apply)

    # ---- the loop ---------------------------------------------------------------------------------------------------------------------------

    def _make(self):
        """The Loop, in the graph; of turns that wait for none, their operations on all rows at once."""
        turn, (every, last) = self._as_nodes(), self._read()
        for place in last:                                       # of which no row is wanted: a carry, though the turns may not read it
            if not any([x == Made(place) for _, _, x in self._carries.values()]):
                self._carries[place, "last"] = np.zeros((), turn[place].dtype), _input("carry", turn[place]), Made(place)
        carried, chosen = [*self._carries.values()], self._chosen(every)
        kept = [x for x, again in chosen.items() if not again]
        if not all([self.like(x).dtype.kind == "f" for _, _, x in carried if type(x) is Made]) or not all([self.like(x).dtype.kind in "fb" for x in kept]):
            raise Refused                                        # integers would be another loop's
        if not carried and not (kept and self._rows):
            raise Refused
        self._rows = {key: (rows(), *more) for key, (rows, *more) in self._rows.items()}
        after = [turn[x.place] if type(x) is Made else self._carries[x][1] for _, _, x in carried]
        results = self._results(carried, after, [turn[x.place] if type(x) is Made else x for x in kept])
        self._last = {x: value for (_, _, x), value in zip(carried, results) if type(x) is Made}
        self.kept = {x: rows if self.like(x).dtype.kind == "f" else rows != 0 for x, rows in zip(kept, results[len(carried):])} | {n: rows for rows, n, *_ in self._rows.values()}

    def _as_nodes(self):
        """The operations of one turn, on what stands there for what it reads."""
        turn = []
        for place, sources in enumerate(self.sources):
            turn.append(sources if type(sources) is Node else self._column(place)[0].on([turn[x.place] if type(x) is Made else x for x in sources]))
        return turn

    def _read(self):
        """(the places that are read after the loop, those of which only the last turn is)."""
        read = [np.flatnonzero(self.graph.last_read[self.first + place:self.end:self.period] >= self.end) for place in range(self.period)]
        last = [place for place, turns in enumerate(read) if self._carries and turns.tolist() == [self.count - 1]]
        return [place for place, turns in enumerate(read) if len(turns) and place not in last], last

    def _results(self, carried, after, kept):
        """What the loop returns: each carry at last, and the rows of what is kept. after: the next carry, in a turn."""
        from . import rerolled
        ends = [x if x.dtype.kind == "f" else e.astype(Tracer(self.graph.tracing, x), dtype=np.dtype(np.float32)).node for x in kept]
        rows = self._rows.values()
        loop = Loop([*[n for _, n, *_ in (*carried, *rows)], *self.given], rerolled(Outputs([*after, *ends])), len(carried), len(rows), self.count)
        numbers = [*[self._begun(x, n) for x, n, _ in carried], *[x for x, *_ in rows], *map(self.graph.traced, self.given.values())]
        if not any([type(x) is Tracer for x in numbers]):        # it is the same for all inputs
            raise Refused

        def at_once(*numbers):
            known = computed(loop.order, dict(zip(loop.inputs, numbers)), self.graph.apply)
            return [known[x] for x in loop.outputs]
        return loop.every(numbers) if carried else vmap(at_once, (0,) * len(rows) + (None,) * len(self.given))(*numbers)

    def _begun(self, x, like):
        x = self.graph.traced(x) if hasattr(x, "dtype") else np.asarray(x, like.dtype)
        return x if x.shape == like.shape else np.broadcast_to(x, like.shape)

    def like(self, x):
        return self._column(x.place)[0] if type(x) is Made else x

    # ---- what it has made ---------------------------------------------------------------------------------------------------------------

    def _chosen(self, places):
        """{Made, or a carry: is it made again where it is read?}, of what is read of all turns, and of what is kept for it."""
        found, states = {Made(place): False for place in places}, {n for _, n, _ in self._carries.values()}
        for x in [*found]:
            leaves, left, like = {}, AGAIN, self.like(x)
            free = type(self.sources[x.place]) is Node or self.graph.singly[self.first + x.place:self.end:self.period].sum() <= FEW
            stack = [x] if free else []
            while stack and left >= 0:
                y = stack.pop()
                if type(y) is Made and (y == x or found.get(y, True)):
                    sources, n = self.sources[y.place], self.like(y)
                    stack += [sources] if type(sources) is Node else sources
                    left = left - (n.primitive.kind == "map") if type(sources) is Node or _is_cheap(n) else -1
                elif type(y) is Node and y.primitive is not INPUT:           # made again in this turn itself
                    left = -1
                elif type(y) is Node and y in states and y not in found:
                    leaves[y] = False
            if free and left >= 0 and sum(map(bytes_of, leaves)) <= WIDER * bytes_of(like):
                found[x] = True
                found |= leaves
        return found

    def begun(self, place, begin):
        """The rows of what each turn begins with of what is made at this place, the first one with `begin`; None where they are not kept."""
        _, carry, made = self._carries.get((place, id(begin)), (None, None, None))
        return self.kept.get(carry) if made == Made(place) else None

    def made_of_what_is_kept(self, x, leaf, apply):
        """x, Made or a node, of one turn or of several. leaf(x): of what is kept, or given; apply(x, n, operands): of an operation on such."""
        if type(x) is not Made or x in self.kept:
            return leaf(x) if type(x) in (Made, Node) else x
        sources = self.sources[x.place]
        if type(sources) is Node:
            return leaf(sources)
        return apply(x, self.like(x), [self.made_of_what_is_kept(y, leaf, apply) for y in sources])

    def value(self, turn, place):
        """What the turn with this number has made there."""
        if turn == self.count - 1 and Made(place) in self._last:
            return self._last[Made(place)]
        return self.made_of_what_is_kept(Made(place), lambda x: self.graph.traced(self.given[x]) if x in self.given else self.kept[x][turn],
                                         lambda x, n, operands: self.graph.apply(n, operands))

    def rows(self, x, first, step, count):
        """What stands for x in so many turns, as rows: of the turn `first`, the one that is `step` further, ..."""
        def leaf(x):
            if x in self.given:
                return self.graph.traced(self.given[x]), None
            return self.kept[x][progression(first, step, count)], 0

        def apply(x, n, operands):
            values, axes = zip(*[y if type(y) is tuple else (y, None) for y in operands])
            if not any([axis == 0 for axis in axes]):
                return self.graph.apply(n, values), None
            return vmap(lambda *values: self.graph.apply(n, values), axes)(*values), 0
        value, axis = self.made_of_what_is_kept(x, leaf, apply)
        return value if axis == 0 else np.broadcast_to(value, (count, *np.shape(value)))


def progression(first, step, count):
    """The slice that reads so many entries, from this one on."""
    end = first + count * step
    return slice(first, None if end < 0 else end, step)


def _work(n):
    """Operations, roughly: of a product of matrices as many as entries of both and of the result make, for others one an entry."""
    sizes = [math.prod(n.shape), *[math.prod(np.shape(x)) for x in n.operands if n.primitive.kind == "contract"]]
    return math.prod(sizes) ** 0.5 if len(sizes) > 1 else sizes[0]


def _numbers(n, slot, values):
    """Constants that n computes with, as arrays of one dtype."""
    if n.primitive.kind != "map" or len({(type(x), np.shape(x), getattr(x, "dtype", None)) for x in values}) > 1 or type(values[0]) is Exact:
        raise Refused
    if hasattr(values[0], "dtype"):
        return values
    dtype = np.result_type(*[x.dtype if hasattr(x, "dtype") else x for k, x in enumerate(n.operands) if k != slot], values[0])
    return [np.asarray(x, dtype) for x in values]


def _may_begin(x, like, spread):
    if not hasattr(x, "dtype"):
        return type(x) in (int, float) and (spread or not like.shape)
    return x.dtype == like.dtype and (x.shape == like.shape or spread and np.broadcast_shapes(x.shape, like.shape) == like.shape)


def _are_equal(values):
    """Are these the same constant?"""
    x, kind = values[0], type(values[0])
    if kind is Node or kind is Exact or any([type(y) is not kind for y in values]):
        return False
    if kind is np.ndarray:
        return all([(y.shape, y.dtype) == (x.shape, x.dtype) and y.tobytes() == x.tobytes() for y in values])
    return all([repr(y) == repr(x) for y in values])


def _is_cheap(n):
    return n.primitive.kind == "view" or n.primitive.name in CHEAP or n.primitive.name == "getitem" and len(n.operands) == 1


def _input(name, like):
    return Node(INPUT, (), {"name": name}, None, np.shape(like), like.dtype, ())
