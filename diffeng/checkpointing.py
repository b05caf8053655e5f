"""checkpoint: compute again instead of storing.

What it is: `checkpoint(fun)`, which after each call lets go of the values between the arguments and the results, and marks the nodes that had them as one
segment; and `recomputing`, through which a walk backwards asks for values: those of a segment are computed again from what was kept, when the walk
enters it, and dropped as the walk passes them. Segments nest: an inner one is let go again while the outer one is recomputed.

On traced values (a graph's derivative, `jit`) the recomputation is recorded like everything else, behind the primitive `barrier`, which ties it to the
cotangent that comes in: it is another expression than the first computation, and nothing can compute it before the walk has come there.

What it is not: no rule of differentiation, and no plan of what to keep: the user says it.
Why a file: reverse_mode and symbolic both walk, and neither imports the other.
"""
import functools

from .buffers import unwrap
from .nodes import Node, Tracer, restored, upcoming
from .traced import Traced
from .trees import flatten
from .vocabulary.elementwise import barrier


def checkpoint(fun):
    """fun itself, whose intermediate values a walk backwards computes again instead of keeping them.

    Also a decorator. Values and derivatives are the same to the last bit. Without `jit` a segment's values are gone when the call returns, so that a chain of n
    equal steps in segments of k needs memory for about n/k + k of them, for the time of one more evaluation; nested segments need less still. Under `jit`, and in
    graph.derivative, the second computation is part of the graph. Forward mode stores nothing, and just calls fun; so do plain arrays.

    fun may be anything that can be differentiated: nested arguments and results, closures, branches on values, assignment in place. What it computes from
    constants alone is kept, and derivatives of derivatives keep what the inner one computed again. Raises TypeError when fun is no function.

    >>> import numpy as np, diffeng as de
    >>> step = de.checkpoint(lambda x: x + 0.1 * np.sin(x) * np.cos(x))
    >>> def chain(x):
    ...     for _ in range(10):
    ...         x = step(x)
    ...     return np.sum(x)
    >>> print(de.grad(chain)(np.array([0.0, 1.0])).round(4))
    [2.5937 0.4886]
    """
    if not callable(fun):
        raise TypeError(f"checkpoint needs a function, not {type(fun).__name__}: write de.checkpoint(f)(x) for the value of f at x")

    @functools.wraps(fun)
    def checkpointed(*args, **options):
        start = upcoming()
        result = fun(*args, **options)
        _let_go(flatten(result)[0], flatten((args, options))[0], start)
        return result
    return checkpointed


class Segment:
    """One call of a checkpointed function. within: the call around it, known when that has returned."""

    __slots__ = ("within",)
    made = False                   # as long as there is none, nobody has to look for one

    def __init__(self):
        Segment.made, self.within = True, None

    def around(self):
        """This segment and those it lies in, innermost first."""
        found, segment = [], self
        while segment is not None:
            found.append(segment)
            segment = segment.within
        return found


def _let_go(results, arguments, start):
    """Mark what was recorded since `start` on the way to the results, and drop its values. Kept: the results, and arguments that were assigned to.
    Values of nested derivatives are traced themselves: every level is treated alike."""
    kept, ends, pending = set(), {}, [(x, True) for x in results] + [(x, False) for x in arguments]
    while pending:
        x, is_end = pending.pop()
        x = unwrap(x)
        if isinstance(x, Tracer):
            kept.add(id(x.node))
            if is_end:
                ends.setdefault(x.interpreter, []).append(x.node)
            pending.append((x.node.value, is_end))
        elif isinstance(x, Traced):                                        # a dual number: of both its parts
            pending += [(getattr(x, "below", None), is_end), (getattr(x, "tangent", None), is_end)]
    if not ends:
        return
    segment = Segment()
    for tracing, nodes in ends.items():
        for node in _since(start, nodes):
            if not hasattr(node, "segment"):
                node.segment = segment
            elif (inner := node.segment.around()[-1]) is not segment:
                inner.within = segment
            if id(node) not in kept and tracing.log is None:               # a log is kept to look at values
                node.value = None


def _since(start, ends):
    """The operations the ends depend on that were recorded from `start` on."""
    seen, stack = {}, list(ends)
    while stack:
        n = stack.pop()
        if n.serial >= start and n.operands and id(n) not in seen:
            seen[id(n)] = n
            stack.extend([p for p in n.operands if type(p) is Node])
    return seen.values()


# ---- walking backwards --------------------------------------------------------------------------------------------------------------

def recomputing(order, value_of, at=None):
    """(value_of, at) for a walk backwards over `order` (topological): as they came, or such that the values of segments are computed again.

    value_of(node): the value of a node. at(node, cotangent): called before the adjoint of each node, last node first, or None.
    """
    if not Segment.made or not any([hasattr(n, "segment") for n in order]):
        return value_of, at
    walk = _Walk(order, value_of, at)
    return walk.value_of, walk.at


class _Walk:
    """Where a walk stands, and the values that it has at hand."""

    def __init__(self, order, value_of, at):
        self._stored, self._told = value_of, at
        self._home, self._nodes = _homes(order), {}                       # _nodes: what a segment computes again
        for n in order:
            home = self._home.get(id(n))
            for segment in home.around() if home is not None else ():
                self._nodes.setdefault(segment, []).append(n)
        self._values, self._held = {}, []                                 # of segments, and whose they are, in the order of dropping
        self._entered = {}                                                # segment -> what comes into it
        self._position, self._around, self._there = None, [], set()

    def at(self, node, cotangent):
        """The walk comes to a node: what lies behind is dropped."""
        self._position = node, cotangent
        self._around = node.segment.around() if hasattr(node, "segment") else []
        for left in [s for s in self._entered if s not in self._around]:
            del self._entered[left]
        while self._held and self._held[-1].serial > node.serial:
            del self._values[id(self._held.pop())]
        if self._told is not None:
            self._told(node, cotangent)

    def value_of(self, node):
        """The value of a node for the adjoint of the one where the walk stands: computed again, come into a segment, or kept."""
        for segment in reversed(self._around):
            if segment in self._nodes and segment not in self._there:
                self._compute(segment)
        if node is self._position[0] and self._around and id(node) not in self._values:
            return self._result(node)
        return self._at_hand(node)

    def _result(self, node):
        """A result of a segment for its own adjoint: recorded operands that are computed again may be summed in another order, and who is the largest of them
        can only be told from a maximum of the same numbers."""
        operands = [self._at_hand(p) if type(p) is Node else p for p in node.operands]
        return node.primitive(*operands, **node.params) if any([isinstance(x, Traced) for x in operands]) else self._at_hand(node)

    def _at_hand(self, node):
        if id(node) in self._values:
            return self._values[id(node)]
        for segment in self._around:
            if id(node) in self._entered.get(segment, ()):
                return self._entered[segment][id(node)]
        value = self._stored(node)
        return restored(node) if value is None else value

    def _compute(self, segment):
        """All values of a segment, from those outside of it. Of segments inside only what is read outside of them remains."""
        at, cotangent = self._position
        wait, spaces, entered, before = _wait(cotangent), {segment: {}}, {}, None
        for n in self._nodes[segment]:
            if n.segment is not before:
                around, before = n.segment.around(), n.segment
                for left in [s for s in spaces if s is not segment and s not in around]:
                    del spaces[left]
            operands = []
            for p in n.operands:
                if type(p) is Node:
                    space = spaces.get(self._home.get(id(p)))
                    if space is None and id(p) not in entered:
                        entered[id(p)] = wait(self._at_hand(p))
                    p = (entered if space is None else space)[id(p)]
                operands.append(p)
            if self._told is not None:
                self._told(n, cotangent)                                  # it is recorded where the first computation stands
            spaces.setdefault(self._home[id(n)], {})[id(n)] = n.primitive(*operands, **n.params)
        if self._told is not None:
            self._told(at, cotangent)
        self._there.add(segment)
        self._values.update(spaces[segment])
        self._held += [n for n in self._nodes[segment] if self._home[id(n)] is segment]
        self._entered[segment] = entered


def _wait(cotangent):
    """What lets a value pass only when the cotangent is there. Plain values are there, and no graph is made of them."""
    first = cotangent[(0,) * cotangent.ndim] if cotangent.size else None
    return lambda x: barrier(x, first) if isinstance(x, Traced) and first is not None else x


def _homes(order):
    """{id of a node: the innermost segment that all its readers lie in}. Its value is there for as long as that is recomputed; what is read outside of
    every segment, or by nobody, has no home and was kept."""
    home = {}
    for n in order:
        around = n.segment.around() if hasattr(n, "segment") else ()
        for p in n.operands:
            if type(p) is Node and hasattr(p, "segment"):
                segment = home.get(id(p), p.segment)
                while segment is not None and segment not in around:
                    segment = segment.within
                home[id(p)] = segment
    return {node: segment for node, segment in home.items() if segment is not None}
