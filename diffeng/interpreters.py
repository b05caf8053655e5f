"""What it means to apply a primitive: recording it, pushing tangents along, all examples at once, 100 digits.

What it is: `Interpreter`, the base of them all, and how they are nested.
What it is not: none of them (nodes.py, forward_mode.py, batching.py, precise.py), and no primitive.
"""
import itertools

from .refusals import leaked
from .traced import TRACED, Traced

_level = itertools.count(1)
newest = [0]                                 # the highest level there was (not a class attribute: setting one makes Python forget what it knows of the class)


class OneByOne(Exception):
    """Raised where examples have to be seen one at a time: vmap, which holds many at once, catches it."""


class Interpreter:
    """What it means to apply a primitive; `level` orders nested ones (an inner derivative has the higher level)."""

    examples = False                             # do its values hold many examples at once?
    lasting = False                              # is what it computes to hold for other values, too?
    log = None                                   # a list of all that it applies, where somebody compares that with another run
    ended = False                                # has the function ended that it ran?
    number_taken = None                          # where float(x) last took a number out of one of its values: (code, offset)
    values = True                                # does it know the values of what it applies?
    selections = ()                              # of masks among its values (selections.py)

    def __init__(self):
        self.level = newest[0] = next(_level)

    def apply(self, primitive, operands, params):
        """The result of the primitive, as a Traced value of this interpreter. Operands of lower levels are constants here."""
        raise NotImplementedError

    def end(self):
        """The function has returned: what it kept elsewhere is of no use any more, and whoever computes with it would lose a derivative without a word."""
        self.ended, self.apply = True, _ended

    def mine(self, x):
        return type(x) in TRACED and x.interpreter is self

    def lift(self, primitive, operands, params):
        """The operands of a primitive whose values are this interpreter's, as a rule of differentiation should meet them."""
        return operands

    def held(self, x):
        """A plain array beside this interpreter's values, as it is now."""
        return x

    def is_number(self, x):
        """Does this traced value stand for a Python number, so that it takes the dtype of what it meets?"""
        return False


def layers(x):
    """x and the traced values below it: one for each derivative, recording or vmap that it stands in, the innermost first."""
    while isinstance(x := getattr(x, "held", x), Traced):                # what a buffer holds
        yield x
        x = getattr(x, "below", None)


def differs(x):
    """Does it differ between examples of a vmap, here or below the derivatives that are taken inside of it?"""
    return any([value.interpreter.examples for value in layers(x)])


def complex_result(primitive, operands, params):
    """The result of a primitive of which an interpreter of real numbers has found out that it is complex: by what makes pairs of real ones of it."""
    from .complex_values import PAIRS
    return PAIRS.apply(primitive, operands, params)


def _ended(primitive, operands, params):
    raise leaked(primitive.name)


def exactly(primitive, operands, params):
    """Constants beside traced values, as precise as these: a rule that computes log(2) for 2**x must not round under the judge."""
    for x in operands:
        if isinstance(x, Traced):
            return x.interpreter.lift(primitive, operands, params)
    return operands
