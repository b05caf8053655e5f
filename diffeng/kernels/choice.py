"""Which plan a graph gets: its own, or one for other sizes whose kernels are there.

What it is: `plans(graph)`. Kernels do for any size, but a plan asks a few questions of sizes (sizes.py: is a row short? are two axes the same one?), and another answer
asks for other kernels. So before anything is compiled the graph is planned for other answers, too: if a plan is as right here and its kernels are there, it is
taken, though another one might be faster; if not, what the other answers need is compiled after the rest, when nobody waits for it any more (machine.later), and the next shape compiles nothing.

What it is not: no planning (planning.py), and no rule about sizes (sizes.py, general.py, families.py). Values depend on the choice in the order of their sums alone.
"""
import itertools
import math

from ..nodes import reachable
from . import cache, image, machine, planning, threads
from .families import Family
from .fuse import Call
from .sizes import Sizes, planned_for

LONG = 1100                                 # letters of a kernel's structure from which on LLVM has work for some 20 ms
PREPARED = 1000                             # nodes of a graph that is planned, at its first shape, for a general shape, too


class Plan:
    """A graph's plan for these Sizes. graph: steps_of's arguments; met: what the Sizes were asked. steps, origins, taken: what steps_of returns; work: instructions
    and calls in order, of which `rows` are instructions; peak: bytes of the arena. meanwhile: see planning.placed."""

    def __init__(self, graph, sizes, meanwhile=None):
        with planned_for(sizes):
            self.steps, self.origins, self.taken = planning.steps_of(*graph)
            self.work, self.peak = planning.placed(self.steps, meanwhile)
            self.origins |= planning.reported(self.steps)
        self.rows, self.met = [w for w in self.work if type(w) is not Call], sizes.met

    def kernels(self):
        """{key: build}."""
        return {w.key: w.build for w in image.with_parts(self.rows)}

    def missing(self):
        """The keys of those that are neither there nor coming."""
        return [key for key in self.kernels() if not machine.has(key)]


def plans(graph, ahead=False):
    """[the plan to use, *others]: what the others need is to be compiled, too. graph: steps_of's arguments. ahead: is it about to be compiled, so that LLVM may begin
    while it is planned?

    The graph's own plan, alone, if all of its kernels are there; else one for other sizes, alone, if that needs no new kernel, or, where something of the graph is
    known, at most half as many; else its own, with those for all other answers to what it asked, and for a general shape.
    """
    program, inputs, outputs, *how = graph
    nodes, family = reachable(outputs), Family(inputs, outputs, type(program).__name__, *how)
    met = _was_met(nodes)
    kept = family.kept() if met else ()
    first = met and not kept
    general = family.in_general() if first and len(nodes) <= PREPARED else None
    sizes, begun = Sizes(), []
    own = Plan(graph, sizes, _ahead(nodes, sizes, begun) if ahead and not kept and general is None else None)
    missing = len(own.missing())
    if not missing:
        return [own]
    known = met and (not first or missing < len(own.kernels()))
    if known and general is None and any([1 in n.shape for n in nodes]):
        general = family.in_general()
    answers = [((graph, other) for other in sizes.others(known)), _alike(graph, family, general) if general is not None else ()]
    others = []
    if "tiny" in sizes.met or begun:                         # what is written out for each length is for no other; what LLVM has begun with is to be used
        others += _made(*answers)
    else:
        def candidates():
            yield from _made(*[_alike(graph, family, each) for each in kept] if known else ())
            for plan in _made(*answers):
                others.append(plan)
                yield plan
        fewest, plan = _best(candidates(), "large" in sizes.met)
        if not fewest or known and 2 * fewest <= missing:
            return [plan]
    if met and ahead:
        family.keep(general)
    return [own, *others]


def _made(*answers):
    """The plans of these (graph, sizes), without those that cannot be made: what is possible for other sizes may not be for a graph's own."""
    for graph, sizes in itertools.chain(*answers):
        try:
            plan = Plan(graph, sizes)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
            continue
        yield plan


def _best(plans, large):
    """(how many kernels it lacks, the plan) of that which lacks fewest; of equals one for scores that are as large. large: are a graph's own? A plan that would keep
    all of these is out of the question."""
    best = math.inf, True, None
    for plan in plans:
        differs = ("large" in plan.met) is not large
        if differs and large:
            continue
        rank = len(plan.missing()), differs
        if rank < best[:2]:
            best = *rank, plan
        if rank == (0, False):
            break
    return best[0], best[2]


def _alike(graph, family, sizes):
    """(graph, sizes), one after the other: a graph, to be planned as the one of its family with these sizes."""
    program, _, _, *how = graph
    found = family.alike(sizes)
    if found is not None:
        *again, lengths, turns = found
        sizes = Sizes(lengths=lengths, turns=turns)
        yield (program, *again, *how), sizes
        yield from [((program, *again, *how), other) for other in sizes.others()]


_families = set()                          # of large graphs that this process has planned


def _was_met(nodes):
    """Has a graph like this one been planned on this machine, in some shape? All kernels of another plan can be there only then. Whoever asks is about to plan it. A
    small graph may have been: it is planned once more in no time."""
    if len(nodes) <= PREPARED:
        return True
    family = repr(sorted({(n.primitive.name, len(n.shape), n.dtype.str) for n in nodes}))
    met = family in _families or cache.find(family, "families") is not None
    if not met:
        _families.add(family)
        cache.keep(family, {"code": b"", "symbols": {}, "needs": []}, "families")
    return met


def _ahead(nodes, sizes, begun):
    """What LLVM begins with while a graph of these nodes is planned, for placed's `meanwhile`: a long kernel for each other thread. begun: their keys; the plan is taken
    then, so that what was made is counted. Not where another plan is likely to be: where these Sizes were asked, or an axis is 1 long; where a vector lies matters only
    if something of the plan is known."""
    if any([1 in n.shape and (len(nodes) <= PREPARED or len(n.shape) > 1 or not n.operands) for n in nodes]):          # (not the ends of a long loop's vectors)
        return None
    idle, known, seen = threads.count() - 1, [], set()

    def begin(work):
        if len(begun) >= idle or not sizes.met.keys() <= {"in place"}:
            return
        for w in image.with_parts([w for w in work if type(w) is not Call]):
            if w.key in seen:
                continue
            seen.add(w.key)
            if machine.has(w.key):
                known.append(w.key)
            elif len(w.key) > LONG and len(begun) < idle and not (known and sizes.met):
                machine.begin(w.key, w.build)
                begun.append(w.key)
    return begin
