"""Loop rerolling: what a Python loop has recorded turn by turn becomes a loop again, whose turn is planned and compiled once.

What it is: `rerolled(outputs)`. A graph's operations may repeat themselves, in the order in which they were recorded (periods.py). If their operands are alike in all turns,
made in the same turn or in one before (a carry), or the same, or rows of something that is known before the loop, then the turns are one loops.Loop (turns.py). A gradient
has two, of which the second reads the rows that the first one keeps. So a compiler sees a tenth, or a hundredth, of the operations, and the same ones for any number of turns.

What it is not: no search for equal subgraphs: what a loop has made stands in the order of its turns. It is for evaluation only: no method of differentiation sees it.
"""
import collections

import numpy as np

from ..nodes import reachable
from ..vocabulary.indexing import Slot

FEWEST = 8                               # turns of a loop
LEAST = 60                               # operations that the loops of a graph save
LOOK = 2000                              # operations of a graph up to which a look at what occurs often is shorter than one for loops


def rerolled(outputs):
    """The nodes of a graph with its repeated operations as loops; the outputs themselves where there are none.

    >>> import numpy as np
    >>> from diffeng import numpy_api                # what is recorded can be computed with
    >>> from diffeng.nodes import Tracing
    >>> x = y = Tracing().input(None, "x", (3,), np.float64)
    >>> for k in range(100):
    ...     y = y + 0.1 * np.sin(y * k)
    >>> len(reachable([y.node])), [n.primitive.name for n in reachable(rerolled([y.node]))]
    (401, ['input', 'scan', 'getitem', 'reshape'])
    """
    order = reachable(outputs)
    if len(order) < LOOK and not _may_be_loops(order):          # mostly: nothing is imported for it
        return outputs
    from .rewriting import Rewriting, part_of
    from .written_rows import by_rows
    rows = by_rows(outputs, FEWEST)
    order = reachable(rows)
    again = Rewriting(order, rows, FEWEST).outputs(_codes(order, part_of), LEAST)
    return outputs if again is rows else again


def _may_be_loops(order):
    """Do enough operations occur often enough?"""
    return sum([count for count in collections.Counter([(n.primitive, n.shape) for n in order]).values() if count >= FEWEST]) >= LEAST


def _codes(order, part_of):
    """Numbers that are equal where operations are, but for their operands, and for the place of a row, or part, that they read."""
    codes, kinds = {}, {}

    def kind(n):
        return n if not n.operands else (n.primitive, n.shape, n.dtype, len(n.operands), _kind(n, kinds, part_of) if n.params else ())
    return [codes.setdefault(kind(n), len(codes)) for n in order]


def _kind(n, kinds, part_of):
    """What the parameters of an operation are, as a key. kinds: those that are known, by identity."""
    if id(n.params) not in kinds:
        kinds[id(n.params)] = tuple([(name, tuple([_told(i) if part_of(i) is None else ("part", part_of(i)) for i in value]) if name == "index" and type(value) is tuple
                                      else _told(value)) for name, value in n.params.items()])
    return kinds[id(n.params)]


def _told(value):
    return repr(value) if isinstance(value, (int, float, str, tuple, slice, type(None), np.dtype, Slot)) else id(value)
