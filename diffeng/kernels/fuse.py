"""Which operations share a loop: elementwise ones of one shape, as long as nothing outside needs what is between them.

What it is: `Fuser` takes operations in topological order and returns steps in an order that may be run: `Loop` (elementwise operations fused),
`Reduce`, `Product` (BLAS) and `Call` (a primitive that NumPy computes).

How: a group is open until something outside of it reads what it writes, then it is emitted. An open group therefore has no reader, open groups
do not depend on each other, and two of them merge whenever one operation reads both; an operation that reads none joins one that reads the same
memory. One pass, no search, no cycle possible.

What it is not: it knows no primitive (lower.py) and writes no code (source.py).
"""

MOST_OPERATIONS = 64                      # a loop: compile time is linear in them, registers are not
SCALARS_FUSED = 400                       # beyond so many scalar operations each is its own (shared) kernel: see Fuser.operate


class Immediate:
    """A number known when the program is built: an entry of the operand table, never part of a kernel's text."""

    __slots__ = ("value", "type")

    def __init__(self, value, type):
        self.value, self.type = value, type


class Indirect:
    """Entries found by integer arrays: `view` and each of `arrays` over the axes of the result; places: (length, stride in bytes) of each indexed axis."""

    __slots__ = ("view", "arrays", "places", "origin")

    def __init__(self, view, arrays, places, origin):
        self.view, self.arrays, self.places, self.origin = view, arrays, places, origin


class Operation:
    """One elementwise step: out = rule(operands), each operand cast to its type first.

    rule: a scalar expression (scalar.py). type: what it is computed in; result: what comes out. operands: Views, Immediates, Indirects.
    out: a View, or an Indirect (positions may repeat there if `accumulate`, which adds to what is there).
    """

    __slots__ = ("rule", "type", "result", "casts", "operands", "out", "accumulate", "cost")

    def __init__(self, rule, type, result, casts, operands, out, accumulate=False, cost=0.5):
        self.rule, self.type, self.result, self.casts, self.operands = rule, type, result, casts, operands
        self.out, self.accumulate, self.cost = out, accumulate, cost


class Loop:
    """Operations over one shape."""

    __slots__ = ("shape", "operations", "open")

    def __init__(self, shape):
        self.shape, self.operations, self.open = shape, [], True


class Reduce:
    """name: sum, mean, ...; view: the operand; axes: the reduced ones; out: in C order over the others; divisor: mean's and var's."""

    __slots__ = ("name", "view", "axes", "out", "divisor")

    def __init__(self, name, view, axes, out, divisor):
        self.name, self.view, self.axes, self.out, self.divisor = name, view, axes, out, divisor


class Product:
    """out[b, i, j] = sum of left[b, i, k] right[b, k, j] over k: views of shapes batch + (m, k), batch + (k, n), batch + (m, n) that BLAS can walk."""

    __slots__ = ("left", "right", "out")

    def __init__(self, left, right, out):
        self.left, self.right, self.out = left, right, out


class Call:
    """A primitive in NumPy. operands: Views, and constants as they came."""

    __slots__ = ("node", "operands", "out")

    def __init__(self, node, operands, out):
        self.node, self.operands, self.out = node, operands, out


class Fuser:
    """Collects operations; `steps` is the program's order once `finish` was called."""

    def __init__(self):
        self.steps, self._open, self._scalars, self._readers = [], {}, 0, {}

    def need(self, *views):
        """What follows reads these from memory: close the groups that write them."""
        for view in views:
            view.buffer.stored = True
            for group in list(view.buffer.writers):
                self._close(group)

    def step(self, step, reads):
        """A step of its own, which writes a fresh buffer."""
        self.need(*reads)
        step.out.buffer.stored = True
        self.steps.append(step)

    def operate(self, shape, operation):
        """Add an elementwise operation over `shape`, to an open group where possible.

        A program of very many scalar operations would be compiled for minutes as fused text, but consists of few different ones: unfused, their
        kernels are shared and cost some nanoseconds a call.
        """
        out, alone = operation.out, operation.accumulate or isinstance(operation.out, Indirect)
        if shape == ():
            self._scalars += 1
            alone |= self._scalars > SCALARS_FUSED
        direct = [x for x in operation.operands if not isinstance(x, (Immediate, Indirect))]
        joined = []
        for x in direct:
            group = None if alone else self._producer(shape, x)
            if group is None:
                self.need(x)
            elif group not in joined:
                joined.append(group)
        for x in (*operation.operands, out):
            if isinstance(x, Indirect):
                self.need(x.view, *x.arrays)
        if not isinstance(out, Indirect):
            for group in list(out.buffer.writers):           # a partial write comes after what was there before
                self._close(group)
        joined = [g for g in joined if g.open]
        while joined and sum(len(g.operations) for g in joined) >= MOST_OPERATIONS:
            self._close(joined.pop(0))
        for x in direct:                                     # groups closed meanwhile are read from memory after all
            if not any(g in joined for g in x.buffer.writers):
                x.buffer.stored = True
        group = joined[0] if joined else None if alone else self._beside(shape, direct)
        group = group or Loop(shape)
        for other in joined[1:]:
            self._merge(group, other)
        self._open[id(group)] = group
        self._readers.update({(id(x.buffer), shape): group for x in direct})
        group.operations.append(operation)
        if isinstance(out, Indirect):
            self._close(group)
        else:
            out.buffer.writers = [group]

    def _producer(self, shape, view):
        """The open group over this shape that computes exactly this operand, entry for entry; None otherwise."""
        writers = view.buffer.writers
        if len(writers) == 1 and writers[0].shape == shape == view.shape and view.whole():
            if any(o.out.buffer is view.buffer and o.out.whole() for o in reversed(writers[0].operations)):
                return writers[0]
        return None

    def _beside(self, shape, views):
        """An open group that reads one of these anyway: it has no part in computing them, and reads them once for both."""
        for x in views:
            group = self._readers.get((id(x.buffer), shape))
            if group is not None and group.open and len(group.operations) < MOST_OPERATIONS:
                return group
        return None

    def _merge(self, group, other):
        group.operations += other.operations
        for o in other.operations:
            o.out.buffer.writers = [group]
        other.open = False
        self._open.pop(id(other))

    def _close(self, group):
        if group.open:
            group.open = False
            self._open.pop(id(group), None)
            self.steps.append(group)
            for o in group.operations:
                if not isinstance(o.out, Indirect):
                    o.out.buffer.writers = []

    def finish(self):
        for group in list(self._open.values()):
            self._close(group)
        return self.steps
