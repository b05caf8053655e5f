"""scan as one operation: its body is recorded once, for a compiler or a graph, however often it turns.

What it is: `Loop`, what the books ask of such an operation (as of any with rules of its own): its tangent and its cotangents are loops again, over the body's own
tangents and cotangents. A pullback turns forward once more, keeping the carries, and then backwards.

What it is not: no rule of differentiation: the body's are asked. Where values are computed as they are recorded, a scan is recorded turn by turn (control.py).
Why a file: control.py is what a user calls, this is what a graph holds.
"""
import functools
import itertools
import math
import sys

import numpy as np

from .buffers import unwrap
from .constants import Exact
from .errors import refuse
from .interpreters import layers
from .nodes import Node, Primitive, by_serial, reachable, upcoming
from .recording import Body, computed, of_some, outlining
from .traced import Traced
from .trees import flatten, function_name
from .vocabulary import elementwise as e, shaping

LEAST = 8                              # turns of a loop in a graph, in another loop, or for a GPU: fewer are recorded one by one, and fused


def recorded(fun, init, xs, length, reverse=False):
    """(carry, ys) of a scan as one operation, or None where it has to be recorded turn by turn: the body looks at values, does not keep the carry's dtypes, or
    computes with nothing that is traced. xs: arrays nested in any way, or None."""
    if length < (1 if outlining.get() == "program" else LEAST):
        return None
    found = whole("scan", fun, fun, init, xs)
    if found is None:
        return None
    turn, carry, xs_leaves, outer = found
    try:
        loop = Loop(turn.inputs, turn.outputs, len(carry), len(xs_leaves), length, reverse)
    except OverflowError:
        return None
    found = loop.every((*carry, *xs_leaves, *outer))
    return flatten(init)[1](found[:len(carry)]), None if turn.y is None else flatten(turn.y)[1](found[len(carry):])


def whole(what, shown, fun, init, xs):
    """(a Turn, the numbers of the carry, those of xs, those that it reads from outside) of fun(carry, x) -> (carry, y), where all turns are the same one; else
    None. what, shown: the loop and the function that errors name."""
    carry, xs_leaves = ([_array(x) for x in flatten(tree)[0]] if tree is not None else [] for tree in (init, xs))
    if not all([x is not None for x in (*carry, *xs_leaves)]) or any(map(_by_turns, (*carry, *xs_leaves))):
        return None
    token = outlining.set("device" if outlining.get() == "program" else outlining.get())          # a loop of a few turns in this one is a part of its turn
    try:
        first, again = (_turn(fun, init, xs, carry, xs_leaves) for _ in range(2))
    finally:
        outlining.reset(token)
    if first is None:
        return None
    if again is None or again.told() != first.told():
        raise refuse(RuntimeError, f"{what}{{here}}: {function_name(shown)} is another one each time it runs (it draws random numbers, or changes a variable or an array outside), "
                                   "and under jit or in a graph it is recorded once. Return what it computes and pass what it needs in the carry or in xs (diffeng.random draws "
                                   "by a key), or write the loop with Python's for")
    outer = [x for x, _ in first.outer]
    weak = any([type(x) is int for x in flatten(init)[0]]) and any([x.dtype == np.float32 for x in (*carry, *xs_leaves, *outer)])          # 1 * float32 is float32
    if weak or any(map(_by_turns, outer)) or not any([isinstance(x, Traced) for x in (*carry, *xs_leaves, *outer)]):
        return None
    return first, carry, xs_leaves, outer


class Turn:
    """One turn, as it was recorded. inputs: nodes of the carry, of x, and of what is read from outside; outputs: nodes, or plain values, of the next carry and of
    y; y: nested, as the body returned it; outer: (a traced value from outside, what stands for it); since: the serial number from which on nodes were made by it."""

    def __init__(self, tracing, inputs, after, y, since):
        results = [tracing.inside(unwrap(x)) for tree in (after, y) if tree is not None for x in flatten(tree)[0]]
        tracing.end()
        self.y, self.outer, self._since = y, [*tracing.outer.values()], since
        self.inputs, self.outputs = [*inputs, *[t.node for _, t in self.outer]], [x.node if tracing.mine(x) else x for x in results]

    def told(self):
        """All that it computes, to be compared with another's."""
        number = {n: k for k, n in enumerate(self.inputs)}
        nodes = [n for n in reachable([x for x in self.outputs if type(x) is Node]) if n not in number]
        return [self._plain(x, {}) for x, _ in self.outer], self._told(nodes, number), [self._plain(x, number) for x in self.outputs]

    def _told(self, nodes, number):
        """What nodes compute, in topological order; each gets a number."""
        told = []
        for n in nodes:
            told.append((n.primitive.name, repr(n.params), *[self._plain(x, number) for x in n.operands]))
            number[n] = len(number)
        return told

    def _plain(self, x, number):
        """What is the same where two operands are. A value from outside is what was there before the turn, and what the turn has computed of that."""
        if type(x) is Exact:                                     # whose bytes are its address
            return "Exact", x.name
        if isinstance(x, Traced):
            return [self._plain(getattr(x, name), {}) for name in x._state if name != "interpreter"]
        if type(x) is not Node:
            return str(getattr(x, "dtype", type(x))), np.shape(x), np.asarray(x).tobytes()
        if x in number:
            return number[x],
        nodes, stack = set(), [x]
        while stack:
            n = stack.pop()
            if n.serial > self._since and n.operands and n not in nodes:          # (what stands for something from outside of an outer loop is made once)
                nodes.add(n)
                stack += [p for p in n.operands if type(p) is Node]
        if not nodes:
            return id(x), "a node from before"
        number = {}
        return self._told(sorted(nodes, key=by_serial), number), number[x]


def _turn(fun, init, xs, carry, xs_leaves):
    """The Turn of a body; None where it cannot be one operation."""
    tracing, since = Body(), upcoming()
    inputs = [tracing.input(None, "carry", x.shape, x.dtype) for x in carry]
    tracing.numbers.update([t.node for t, x in zip(inputs, flatten(init)[0]) if type(x) is float])
    inputs += [tracing.input(None, "x", x.shape[1:], x.dtype) for x in xs_leaves]
    nodes = [t.node for t in inputs]                     # (the body may write into its carry)
    try:
        out = fun(flatten(init)[1](inputs[:len(carry)]), None if xs is None else flatten(xs)[1](inputs[len(carry):]))
    except (TypeError, ValueError):                      # it looks at a value, or is wrong: then the first turn says so
        return None
    if not isinstance(out, (tuple, list)) or len(out) != 2 or flatten(out[0])[2] != flatten(init)[2]:
        return None
    ends = [(np.shape(x), np.dtype(getattr(x, "dtype", type(x)))) for tree in out if tree is not None for x in map(unwrap, flatten(tree)[0])]
    if ends[:len(carry)] != [(x.shape, x.dtype) for x in carry] or not all([d.kind in "biuf" for _, d in ends]):
        return None
    return Turn(tracing, nodes, *out, since)


def _array(x):
    """A leaf as an array; None for what is no number."""
    x = unwrap(x)
    return x if isinstance(x, Traced) else np.asarray(x) if isinstance(x, (np.ndarray, np.generic, float, int)) else None


def laid(x, dtype, whole):
    """An array that is C-contiguous as a whole, or of which each row is: where they lie backwards they are read so."""
    flags = x.flags
    return x if x.dtype == dtype and flags.aligned and (flags.c_contiguous or not whole and x[0].flags.c_contiguous) else np.require(x, dtype, "CA")


def _by_turns(x):
    """Is a value of the judge's somewhere below?"""
    precise = sys.modules.get(f"{__package__}.precise")          # (who imports it for nothing waits for it: no value of the judge's is there before it is)
    return precise is not None and any([isinstance(value, precise.PreciseArray) for value in layers(x)])


def _of_loops(rule):
    """A rule of a loop, which makes loops."""
    def run(*args):
        token = outlining.set(outlining.get() or "graph")
        try:
            return rule(*args)
        finally:
            outlining.reset(token)
    return run


class Loop:
    """inputs: nodes of the carry, of x, and of what the body reads from outside; outputs: nodes, or plain values, of the next carry and of y. Numbers are those of
    the carry, of all x, each stacked, and of what is outside; the floating-point results are packed in one array. Integers and truth values, which have no
    derivative, are the results of another Loop of the same body (`others`)."""

    whole, name = True, "scan"               # a program calls it as it is

    def __init__(self, inputs, outputs, carried, read, length, reverse=False, of=None, integers=False):
        self.of, self._keeping, self.integers = of, None, integers        # of: the loop whose results are the first of this one's
        self.inputs, self.outputs, self.carried, self.read, self.length, self.reverse = inputs, outputs, carried, read, length, reverse
        self.order = [n for n in reachable([x for x in outputs if type(x) is Node]) if n not in {*self.inputs}]
        ends = [(np.shape(x), np.dtype(getattr(x, "dtype", type(x)))) for x in outputs]
        self.results = [(s if k < carried else (length, *s), d) for k, (s, d) in enumerate(ends)]
        self.packing = [k for k, (_, d) in enumerate(self.results) if (d.kind != "f") == integers]
        self.dtype = np.result_type(*[self.results[k][1] for k in self.packing]) if self.packing else np.dtype(float)
        if integers and self.dtype.kind == "f":
            raise OverflowError("no integer type holds all of these")
        self.size = sum([math.prod(self.results[k][0]) for k in self.packing])
        self.moves = [] if integers else [k for k, n in enumerate(self.inputs) if n.dtype.kind == "f"]
        self._program, self._mapped, self._written = None, {}, None
        self.others = None if integers or len(self.packing) == len(outputs) else self._of_integers()
        self.primitive = Primitive(self.name, self.body, "opaque", tuple(self.moves), infer=lambda *numbers: ((self.size,), self.dtype), own=self)

    def _of_integers(self):
        return self.like(self.inputs, self.outputs, integers=True)

    def like(self, inputs, outputs, carried=None, read=None, **more):
        """A Loop of as many turns, in the same order."""
        return Loop(inputs, outputs, self.carried if carried is None else carried, self.read if read is None else read, self.length, self.reverse,
                          **{"integers": self.integers} | more)

    def every(self, numbers):
        """All results, of both loops."""
        found = dict(zip(self.packing, self.unpacked(self.primitive(*numbers)))) if self.packing else {}
        if self.others is not None:
            found |= dict(zip(self.others.packing, self.others.unpacked(self.others.primitive(*numbers))))
        return [found[k] for k in range(len(self.outputs))]

    # ---- numbers ------------------------------------------------------------------------------------------------------------------

    def split(self, numbers):
        return numbers[:self.carried], numbers[self.carried:self.carried + self.read], numbers[self.carried + self.read:]

    def step(self, *numbers):
        """One turn: [the next carry's numbers, then y's]."""
        values = computed(self.order, dict(zip(self.inputs, numbers)))
        return [values[x] if type(x) is Node else np.asarray(x) for x in self.outputs]

    way = property(lambda self: slice(None, None, -1 if self.reverse else 1))          # rows in the order of turns, and turns in that of rows

    def body(self, *numbers):
        carry, xs, outer = self.split(numbers)
        ys = [[] for _ in self.outputs[self.carried:]]
        for k in range(self.length)[self.way]:
            out = self.step(*carry, *[x[k] for x in xs], *outer)
            carry = out[:self.carried]
            for rows, y in zip(ys, out[self.carried:]):
                rows.append(y)
        return self.packed([*carry, *[np.stack(rows[self.way]) for rows in ys]])

    def compiled(self, *numbers):
        """As body, by a program of one turn."""
        if self._program is None:
            from .kernels import Program
            self._program = Program(self.inputs, self.outputs, remembered=True)
        carry, xs, outer = self.split([laid(x, n.dtype, x.shape == n.shape) for x, n in zip(numbers, self.inputs)])
        packed, stretches = np.empty(self.size, self.dtype), self.stretches if all([self.results[k][1] == self.dtype for k in self.packing]) else {}
        results = [packed[stretches[k]].reshape(s) if k in stretches else np.empty(s, d) for k, (s, d) in enumerate(self.results)]
        for out, x in zip(results, self.outputs):
            if type(x) is not Node:
                out[...] = x
        last, ys = results[:self.carried], results[self.carried:]
        xs, ys = ([x[self.way] for x in rows] for rows in (xs, ys))
        pair = [[x.copy() for x in last] for _ in range(2)]          # a program does not write over what it reads
        for out, x in zip(last, self._program.turns(carry, xs, outer, pair, ys, self.length)):
            out[...] = x
        return packed if stretches else self.packed(results)

    @functools.cached_property
    def stretches(self):
        """{the number of a result: where it lies in what is packed}"""
        ends = [*itertools.accumulate([math.prod(self.results[k][0]) for k in self.packing], initial=0)]
        return {k: slice(*ends[j:j + 2]) for j, k in enumerate(self.packing)}

    def packed(self, results):
        """results: all of them."""
        parts = [np.reshape(results[k], (-1,)) for k in self.packing]
        return shaping.concatenate(*[x if x.dtype == self.dtype else e.astype(x, dtype=self.dtype) for x in parts], axis=0)

    def unpacked(self, packed):
        """Those of `packing`."""
        kinds = [self.results[k] for k in self.packing]
        parts = shaping.pieces(packed, [s for s, _ in kinds])
        return [x if x.dtype == d else e.astype(x, dtype=d) for x, (_, d) in zip(parts, kinds)]

    def keeping(self):
        """This loop, its results followed by every carry as a turn began with it."""
        if self._keeping is None:
            self._keeping = self.like(self.inputs, [*self.outputs, *self.inputs[:self.carried]], of=self)
            if self.others is not None:
                self._keeping.others.of = self.others
        return self._keeping

    def reading(self, places):
        """(a Loop with those of these results of which an entry is in one of the places, (first, end), and with all that these need; which of the numbers it takes;
        where those results lay that it has not)."""
        wanted = {k for k, s in self.stretches.items() if any([s.start < end and first < s.stop for first, end in places])} or {*self.packing[:1]}
        while True:
            nodes = {*reachable([self.outputs[k] for k in wanted if type(self.outputs[k]) is Node])}
            needed = {k for k in range(self.carried) if self.inputs[k] in nodes} - wanted
            if not needed:
                break
            wanted |= needed
        given = [k for k, n in enumerate(self.inputs) if n in nodes or k in wanted and k < self.carried]
        if len(wanted) == len(self.outputs) and len(given) == len(self.inputs):
            return self, given, ()
        carried, xs, _ = self.split(range(len(self.inputs)))
        loop = self.like([self.inputs[k] for k in given], [self.outputs[k] for k in sorted(wanted)], *[len({*given} & {*some}) for some in (carried, xs)])
        return (loop, given, [s for k, s in self.stretches.items() if k not in wanted]) if loop.dtype == self.dtype else (self, range(len(self.inputs)), ())

    def written_out(self, inlined):
        """This loop, functions with rules of their own replaced in its turn by what they compute (own_rules.inlined)."""
        if all([n.primitive.own is None for n in self.order]):
            return self
        if self._written is None:
            self._written = self.like(self.inputs, inlined(self.outputs))
        return self._written

    # ---- rules ----------------------------------------------------------------------------------------------------------------------

    def batched(self, numbers, mine, size):
        """The results for many examples, (size, all results): a loop over all of them at once. mine: which numbers have an axis of examples, in front."""
        loop = self.mapped(size, *[m or k < self.carried for k, m in enumerate(mine)])
        given = [x if m or k >= self.carried else np.broadcast_to(x, (size, *np.shape(x))) for k, (x, m) in enumerate(zip(numbers, mine))]
        carry, xs, outer = self.split([np.swapaxes(x, 0, 1) if m and self.carried <= k < self.carried + self.read else x for k, (x, m) in enumerate(zip(given, mine))])
        found = zip(loop.packing, loop.unpacked(loop.primitive(*carry, *xs, *outer)))
        return self._in_rows([x if k < self.carried else np.swapaxes(x, 0, 1) for k, x in found], size)

    def mapped(self, size, *mine):
        """The loop whose step is this one's for many examples: the same one for the same."""
        key = size, *mine
        if key not in self._mapped:
            self._mapped[key] = self._for_many(size, *mine)
        return self._mapped[key]

    def _for_many(self, size, *mine):
        from .batching import vmap
        tracing = Body()
        inputs = [tracing.input(None, "of all examples", (size, *n.shape) if m else n.shape, n.dtype) for n, m in zip(self.inputs, mine)]
        after = [tracing.inside(x) for x in vmap(self.step, tuple([0 if m else None for m in mine]))(*inputs)]
        tracing.end()
        nodes, of = [x.node if tracing.mine(x) else x for x in after], self.of and self.of.mapped(size, *mine)
        return self.like([t.node for t in inputs], nodes, of=of)

    @_of_loops
    def push(self, primals, tangents, value):
        """The tangent of all results, (K, size): a loop over numbers and their tangents."""
        from .control import scan
        carry, xs, outer = self.split(primals)
        count, moving, start, fixed = self._moving(primals, tangents)
        read = [np.swapaxes(tangents[s], 0, 1) for s in moving if self.carried <= s < self.carried + self.read]          # (n, K, ...)

        def turn(state, item):
            (c, dc), (x, dx) = state, item
            values, moved = self._step_pushed([*c, *x, *outer], dict(zip(moving, (*dc, *dx, *fixed))), count)
            return ([*values[:self.carried]], [moved[s] for s in moving if s < self.carried]), moved[self.carried:]
        (_, last), rows = scan(turn, ([*carry], start), ([*xs], read), self.length, self.reverse)
        held = dict(zip([s for s in moving if s < self.carried], last)) | {self.carried + k: np.swapaxes(t, 0, 1) for k, t in enumerate(rows)}
        return self._in_rows([held[k] for k in self.packing], count)

    def _moving(self, primals, tangents):
        """(how many directions, which numbers move, the tangents that the carry begins with, those of what is outside). A carry may begin to move in any turn."""
        count = next(iter(tangents.values())).shape[0]
        moving = [s for s in self.moves if s < self.carried or s in tangents]
        start = [tangents[s] if s in tangents else np.zeros((count, *np.shape(primals[s])), primals[s].dtype) for s in moving if s < self.carried]
        return count, moving, start, [tangents[s] for s in moving if s >= self.carried + self.read]

    def _step_pushed(self, numbers, tangents, count):
        """One turn: the results, and the tangents (K, ...) of all of them."""
        from .forward_mode import push
        values, moved = push(self.step, numbers, [tangents.get(s) for s in range(len(self.inputs))])
        return values, [np.zeros((count, *np.shape(v)), v.dtype) if t is None else t for v, t in zip(values, moved)]

    def _in_rows(self, results, count):
        """Those of `packing`, each with an axis of so many in front, packed one beside the other."""
        parts = [np.reshape(x, (count, -1)) for x in results]
        return np.concatenate([x if x.dtype == self.dtype else x.astype(self.dtype) for x in parts], axis=1)

    def pulled(self, g, z, numbers):
        return self.through("reverse", g, numbers)

    @_of_loops
    def through(self, method, g, numbers):
        """{slot: cotangent}: the loop turns again, and keeps its carries (a program turns once for both, own_rules.inlined); then it turns backwards."""
        from .control import scan
        from .differentiate import vjp
        carry, xs, outer = self.split(numbers)
        floats, given = self.packing, dict(zip(self.packing, self.unpacked(g)))
        of_carry, of_y = [given[k] for k in floats if k < self.carried], [given[k] for k in floats if k >= self.carried]
        before = self.keeping().every(numbers)[len(self.outputs):]

        def turn(state, item):
            (gc, total), (c, x, gy) = state, item
            every = [*c, *x, *outer]

            def one(*now):
                out = self.step(*now)
                return [out[k] for k in floats]
            found = vjp(of_some(one, every, self.moves), *[every[s] for s in self.moves], method=method)[1]([*gc, *gy])
            parts = [[f for s, f in zip(self.moves, found) if low <= s < high] for low, high in
                     ((0, self.carried), (self.carried, self.carried + self.read), (self.carried + self.read, len(every)))]
            return (parts[0], [a + b for a, b in zip(total, parts[2])]), parts[1]
        nothing = [np.broadcast_to(np.zeros((), numbers[s].dtype), np.shape(numbers[s])) for s in self.moves if s >= self.carried + self.read]
        (first, total), read = scan(turn, (of_carry, nothing), (before, [*xs], of_y), self.length, not self.reverse)
        return dict(zip(self.moves, [*first, *read, *total]))
