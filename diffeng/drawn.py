"""Does a function draw random numbers, or the next value of an iterator, while it is recorded? A compiled call would return those of the recording for ever.

What it is: the states, before and after, of NumPy's and Python's generators, and of iterators, that the function's code may reach; and, for a function that names
what makes a new generator or asks a clock (NAMES), whether a second recording has the same numbers (`same`).
What it is not: random.py, whose numbers are functions of a key and may be drawn anywhere.
"""
import collections.abc
import io
import operator
import random
import types

import numpy as np

from .errors import refuse
from .nodes import Node, reachable

NAMES = frozenset("default_rng RandomState Random SystemRandom SeedSequence urandom token_bytes token_hex randbits randbelow uuid1 uuid4 time time_ns perf_counter "
                  "perf_counter_ns monotonic now".split())
_KINDS = (np.random.Generator, np.random.RandomState, random.Random)


def draws(x):
    """A generator of random numbers, a module that has one, or an iterator (files, which are read elsewhere, aside)."""
    return isinstance(x, _KINDS) or x is random or x is np.random or isinstance(x, collections.abc.Iterator) and not isinstance(x, io.IOBase)


class Watch:
    """The states of the generators that `held` lists. check(name) raises RuntimeError when one has been drawn from."""

    def __init__(self, held):
        self._known = [(x, _state(x)) for x in held if draws(x)]

    def check(self, name):
        for x, before in self._known:
            if _state(x) != before:
                if isinstance(x, collections.abc.Iterator):
                    raise refuse(RuntimeError, f"jit: {name} takes values from a {type(x).__name__} while it runs, and a compiled call would have the same ones for "
                                               "ever. Take them outside, in a list, and pass that as an argument")
                what = x.__name__ if x in (random, np.random) else f"a {type(x).__name__}"
                raise refuse(RuntimeError, f"jit: {name} draws random numbers from {what} while it runs, and a compiled call would return the same ones for "
                                           "ever. Draw them outside and pass them as an argument, or use diffeng.random, whose numbers come from a key")


def _state(x):
    if isinstance(x, types.GeneratorType):
        return x.gi_frame.f_lasti if x.gi_frame is not None else None
    if isinstance(x, collections.abc.Iterator):
        return repr(x), operator.length_hint(x, -1)              # what a count says, and what is left of a list
    if isinstance(x, random.Random) or x is random:
        return x.getstate()
    return _flat(x.bit_generator.state if isinstance(x, np.random.Generator) else x.get_state(legacy=False))


def _flat(state):
    """A state, which is a dict with arrays in it, as something that == compares."""
    return {k: _flat(x) if isinstance(x, dict) else x.tobytes() if isinstance(x, np.ndarray) else x for k, x in state.items()}


# ---- two recordings -----------------------------------------------------------------------------------------------------------------

def same(outputs, others):
    """Do two recordings of a function, by their outputs, compute the same?"""
    place, order, other = {}, reachable(outputs), reachable(others)
    if len(order) != len(other):
        return False

    def alike(a, b):
        if isinstance(a, Node):
            return place.get(a) is b
        if type(a) is not type(b):
            return False
        if isinstance(a, (np.ndarray, np.generic)):
            return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        if isinstance(a, dict):
            return a.keys() == b.keys() and all([alike(a[k], b[k]) for k in a])
        if isinstance(a, (tuple, list)):
            return len(a) == len(b) and all(map(alike, a, b))
        return repr(a) == repr(b)
    for n, m in zip(order, other):
        if n.primitive is not m.primitive or not alike(n.operands, m.operands) or n.operands and not alike(n.params, m.params):
            return False
        place[n] = m
    return alike([*outputs], [*others])
