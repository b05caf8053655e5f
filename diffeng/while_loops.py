"""while_loop as one operation of a compiled program: its body and its condition are recorded once, however often it turns.

What it is: `While`, a loop whose number of turns the numbers decide. Its tangent is a while_loop again, over numbers and their tangents. For cotangents it has to
be known how often it turned: `Counted` is what a while_loop computes, or a derivative of any order of that, by the rules of a scan of as many turns (loops.py),
recorded and compiled when the program runs and has counted them.

What it is not: nothing of a graph that the user holds, or of a derivative that is not compiled: there a while_loop is recorded turn by turn (control.py).
"""
import functools

import numpy as np

from .loops import Loop, laid, whole
from .nodes import Node, Primitive, reachable
from .recording import Outline, computed, of_some, record
from .trees import flatten, lend
from .vocabulary import elementwise as e, shaping

KEPT = 16                              # programs of one derivative, for so many numbers of turns


def recorded(cond_fun, body_fun, init):
    """(the last carry of a while_loop as one operation,); None where it has to be recorded turn by turn: see loops.whole."""
    found = whole("while_loop", body_fun, lambda carry, _: (body_fun(lend(carry)), cond_fun(carry)), init, None)
    if found is None:
        return None
    turn, carry, _, outer = found
    *after, going = turn.outputs
    if len(after) != len(carry) or type(going) is not Node or going.shape or going.dtype.kind != "b":
        return None
    try:
        loop = While(turn.inputs, after, going, len(carry))
    except OverflowError:
        return None
    return flatten(init)[1](loop.every((*carry, *outer))),


class While(Loop):
    """A Loop that turns as long as `going`, a node of a truth value, holds of the carry. Nothing is read turn by turn, and nothing kept."""

    name = "while_loop"

    def __init__(self, inputs, outputs, going, carried, integers=False):
        self.going, self._asked = going, [n for n in reachable([going]) if n not in {*inputs}]
        super().__init__(inputs, outputs, carried, 0, 1, integers=integers)

    def _of_integers(self):
        return While(self.inputs, self.outputs, self.going, self.carried, integers=True)

    def holds(self, *numbers):
        return computed(self._asked, dict(zip(self.inputs, numbers)))[self.going]

    def body(self, *numbers):
        carry, outer = numbers[:self.carried], numbers[self.carried:]
        while self.holds(*carry, *outer):
            carry = self.step(*carry, *outer)
        return self.packed(carry)

    def compiled(self, *numbers):
        last = self._turned(numbers)[1]
        return np.reshape(last[0], (-1,)) if len(last) == 1 and self.packing else self.packed(last)

    def count(self, *numbers):
        """How often it turns."""
        return self._turned(numbers)[0]

    def _turned(self, numbers):
        """(how often, the carry then), by a program."""
        from .kernels import Program
        numbers = [laid(x, n.dtype, True) for x, n in zip(numbers, self.inputs)]
        carry, outer = numbers[:self.carried], numbers[self.carried:]
        if self._program is None:
            self._program = Program(self.inputs, [*self.outputs, self.going], remembered=True)
        if not self._program.calls:
            pair = [[np.empty(n.shape, n.dtype) if type(x) is Node else np.array(x, n.dtype) for x, n in zip(self.outputs, self.inputs)] for _ in range(2)]
            return self._program.turns_while(carry, outer, pair)
        (asked, turn), turns = self._apart, 0
        while asked(*carry, *outer)[0]:
            carry, turns = turn(*carry, *outer), turns + 1
        return turns, carry

    @functools.cached_property
    def _apart(self):
        """Programs of the condition and of the body, where NumPy is called in between, which may raise where the condition does not hold."""
        from .kernels import Program
        return Program(self.inputs, [self.going]), Program(self.inputs, self.outputs)

    def counted(self, turns, *numbers):
        """What it computes in so many turns."""
        from .control import scan
        carry, outer = numbers[:self.carried], numbers[self.carried:]
        return self.packed(scan(lambda c, _: (self.step(*c, *outer), None), [*carry], None, turns)[0])

    # ---- rules ----------------------------------------------------------------------------------------------------------------------

    def batched(self, numbers, mine, size):
        """Each example turns as often as it does."""

    def push(self, primals, tangents, value):
        """The tangent of all results, (K, size): a while_loop over numbers and their tangents."""
        from .control import while_loop
        count, moving, start, fixed = self._moving(primals, tangents)
        outer = primals[self.carried:]

        def turn(state):
            c, dc = state
            values, moved = self._step_pushed([*c, *outer], dict(zip(moving, (*dc, *fixed))), count)
            return values, [moved[s] for s in moving if s < self.carried]
        last = while_loop(lambda state: self.holds(*state[0], *outer), turn, ([*primals[:self.carried]], start))[1]
        return self._in_rows(last, count)

    def through(self, method, g, numbers):
        return Counted(self, self.counted, numbers).through(method, g, numbers)


class Counted:
    """What a loop computes, or a derivative of it, in as many turns as it makes. fun(turns, *numbers) -> an array; the first of the numbers are the loop's."""

    whole, of, length = True, None, 1

    def __init__(self, loop, fun, numbers):
        self.loop, self.fun, self.order = loop, fun, loop.order
        self.moves = [k for k, x in enumerate(numbers) if x.dtype.kind == "f"]
        self.primitive = Primitive(loop.name, self.body, "opaque", tuple(self.moves), infer=self._inferred, own=self)
        self._program = functools.lru_cache(maxsize=KEPT)(self._compiled)

    def _count(self, numbers):
        return self.loop.count(*numbers[:len(self.loop.inputs)])

    def body(self, *numbers):
        return self.fun(self._count(numbers), *numbers)

    def compiled(self, *numbers):
        return self._program(self._count(numbers), tuple([(x.shape, x.dtype) for x in map(np.asarray, numbers)]))(*numbers)[0]

    def _compiled(self, turns, specs):
        from .kernels import Program
        from .own_rules import inlined
        recording = record(lambda *numbers: self.fun(turns, *numbers), [np.zeros(*spec) for spec in specs], Outline(), whole_loops="program")
        return Program(recording.inputs, inlined(recording.outputs))

    def _inferred(self, *numbers):
        """(shape, dtype): the same for all numbers of turns."""
        out = record(lambda *numbers: self.fun(1, *numbers), numbers, Outline()).outputs[0]
        return out.shape, out.dtype

    # ---- rules ----------------------------------------------------------------------------------------------------------------------

    def batched(self, numbers, mine, size):
        """Each example by itself."""

    def push(self, primals, tangents, value):
        """The tangent, (K, *value.shape)."""
        from .forward_mode import push
        slots, count = [*tangents], len(primals)

        def pushed(turns, *every):
            numbers = every[:count]
            return push(of_some(lambda *x: [self.fun(turns, *x)], numbers, slots), [numbers[s] for s in slots], every[count:])[1][0]
        every = (*primals, *tangents.values())
        return Counted(self.loop, pushed, every).primitive(*every)

    def pulled(self, g, z, numbers):
        return self.through("reverse", g, numbers)

    def through(self, method, g, numbers):
        """{slot: cotangent}"""
        from .differentiate import vjp

        def pulled(turns, *every):
            *numbers, g = every
            found = vjp(of_some(functools.partial(self.fun, turns), numbers, self.moves), *[numbers[s] for s in self.moves], method=method)[1](g)
            return shaping.concatenate(*[np.reshape(x, (-1,)) for x in found], axis=0)
        every = (*numbers, g)
        packed = Counted(self.loop, pulled, every).primitive(*every)
        parts = shaping.pieces(packed, [np.shape(numbers[s]) for s in self.moves])
        return {s: x if x.dtype == numbers[s].dtype else e.astype(x, dtype=numbers[s].dtype) for s, x in zip(self.moves, parts)}
