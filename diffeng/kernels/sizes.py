"""What a plan asks of sizes: which lengths are short, and which products are larger than the cache. Kernels depend on the answers, so they may be asked for others.

What it is: `is_short` of a length, for which there are kernels of their own; the others do for any length, though they take longer. `many_short_rows` of a shape
(vectors run across such rows, see across.py; no count of rows is asked for), and what a view of them is like: `walks_across`, `lies_close`. `is_large` of a
product's result (tiles.py, recompute.py). `with_reductions`, the nodes of a graph that belong to reductions along rows. `others`, under which a graph is planned
once more where it met such a question, so that what another shape needs is there, and compiles nothing (choice.py).

What it is not: no loop nest (groups.py), no buffer (lower.py), and no rule that a count of entries decides without asking here. Nobody asks whether a size is a power of
two, or how many rows there are: how rows are shared among threads is said by words.
"""
import contextlib
import contextvars
import math

from ..lengths import Length, weight
from ..nodes import Node

NARROW = 16                                # columns of a short row at most: two vectors of float64
IN_PLACE = 1 << 14                         # bytes of a vector that one thread goes through: four of them fit into the first cache
LARGE = 1 << 22                            # bytes of a product's result that the cache had better not hold
FAR = 16                                   # times as many bytes as a bound has: these count, whatever there are kernels for


_SHORT, _EXACT = {"short", "tiny", "few"}, {"tiny", "few"}


class Sizes:
    """What is called short and large in a plan, and what was met there.

    short: is anything? scores: are products of every position with every other large? in_place: is a vector made where it is read, entry by entry? None: as they
    are. lengths: {id of an array: as what it is planned}, turns: {id of the outputs of a loop's turn: its (inputs,
    outputs), likewise} (families.py). met: the lengths that were asked for, of what is "short" or "tiny", and of scores ("small",
    "large"); "in place": the answer.
    """

    def __init__(self, short=True, scores=None, in_place=None, lengths=(), turns=()):
        self.short, self.scores, self.in_place, self.met = short, scores, in_place, {}
        self.lengths, self.turns = dict(lengths), dict(turns)

    def others(self, known=True):
        """Of the same graph in other shapes: lengths that are not short where they were, scores that are large where they were not, or the other way round; where
        something of the plan is known, vectors in place that were not, too."""
        same = {"lengths": self.lengths, "turns": self.turns}
        if not _SHORT.isdisjoint(self.met):
            yield Sizes(False, **same)
        for name, longest in self.met.items():
            if name in ("small", "large"):
                yield Sizes(longest > NARROW, name == "small", **same)
        if known and "in place" in self.met:
            yield Sizes(in_place=not self.met["in place"], **same)


_here = contextvars.ContextVar("what a plan calls short and large", default=Sizes())


@contextlib.contextmanager
def planned_for(sizes):
    """What is planned here goes by these Sizes."""
    token = _here.set(sizes)
    try:
        yield sizes
    finally:
        _here.reset(token)


# ---- what is short ----------------------------------------------------------------------------------------------------------------------

def is_short(length, most=NARROW, name="short"):
    """Is a length such as has kernels of its own: at most so many? name: "tiny" where each is written out, and others take many times as long; "few" where there are
    too few of these for that to matter."""
    here = _here.get()
    if max(int(length), weight(length)) > most or not here.short or name in _EXACT and type(length) is Length:
        return False                                        # (what is written out for each length is for no other)
    here.met[name] = length
    return True


def many_short_rows(shape):
    """Are there short rows, and more than one?"""
    return len(shape) > 1 and shape[-1] > 1 and math.prod(shape[:-1]) > 1 and is_short(shape[-1])


def walks_across(v):
    """Do the entries of a view's columns follow each other in memory (or stand still)?"""
    return v.strides[-2] in (0, v.dtype.itemsize) or v.shape[-2] == 1


def lies_close(v):
    """Do its rows follow each other without gaps?"""
    return v.strides[-2] == v.shape[-1] * v.dtype.itemsize


def turn_of(inputs, outputs):
    """A loop's turn, as it is planned."""
    return _here.get().turns.get(id(outputs), (inputs, outputs))


def lengths_of(array):
    """The shape of an array that a graph holds, which is planned."""
    return _here.get().lengths.get(id(array)) or array.shape


def is_made_in_place(bytes):
    """Is a vector of so many bytes made where the one is whose neighbours it is made of? One thread goes through it then."""
    here = _here.get()
    found = here.met["in place"] = not _reaches(bytes, IN_PLACE + 1) if here.in_place is None else here.in_place
    return found


def _reaches(n, bound):
    """Is n at least so many? Of what is planned as something else that is asked, unless there are far more."""
    return n >= bound * FAR or weight(n) >= weight(bound)


# ---- products that are large ------------------------------------------------------------------------------------------------------------

def is_large(shape, bytes, least=0):
    """Is a product's result of so many bytes large, if what is has at least so many?"""
    scores = _here.get().scores
    return _reaches(bytes, max(LARGE, least)) if scores is None or not is_square(shape) else scores


def is_square(shape):
    """Could a result be scores, of every position with every other, of several sequences?"""
    return len(shape) > 2 and shape[-1] == shape[-2] > 1


def meet_scores(nodes, large):
    """Take note of scores among the nodes of a graph, in topological order; large: those nodes that were found to be large."""
    if any([n.primitive.kind == "contract" and is_square(n.shape) for n in nodes]):
        found = [n for n in with_reductions(nodes, is_square) if n.primitive.kind == "contract"]
        if found:
            _here.get().met["large" if any([n in large for n in found]) else "small"] = max([n.shape[-1] for n in found])


def with_reductions(nodes, belongs):
    """Those of some nodes, in topological order, whose rows somebody reduces, or that are elementwise from or beside such: a softmax, and what is around it.
    belongs(shape): of what shapes."""
    above, found = {}, set()

    def top(n):
        while n in above:
            n = above[n]
        return n
    for n in nodes:
        if n.primitive.kind == "map" and belongs(n.shape):
            for x in n.operands:
                if type(x) is Node and x.shape == n.shape and (root := top(x)) is not top(n):
                    above[root] = n
        elif n.primitive.kind == "reduce":
            x, axis = n.operands[0], n.params.get("axis")
            if type(x) is Node and belongs(x.shape) and axis in (len(x.shape) - 1, (len(x.shape) - 1,)):
                found.add(x)
    found = {top(x) for x in found}
    return {n for n in nodes if top(n) in found} if found else found
