"""Does a function draw random numbers while it is recorded? A compiled call would return the ones of the recording for ever.

What it is: the states, before and after, of NumPy's and Python's generators that the function's code may reach.
What it is not: random.py, whose numbers are functions of a key and may be drawn anywhere.
"""
import random

import numpy as np

from .errors import refuse

_KINDS = (np.random.Generator, np.random.RandomState, random.Random)


def draws(x):
    """A generator of random numbers, or a module that has one."""
    return isinstance(x, _KINDS) or x is random or x is np.random


class Watch:
    """The states of the generators that `held` lists. check(name) raises RuntimeError when one has been drawn from."""

    def __init__(self, held):
        self._known = [(x, _state(x)) for x in held if draws(x)]

    def check(self, name):
        for x, before in self._known:
            if _state(x) != before:
                what = x.__name__ if x in (random, np.random) else f"a {type(x).__name__}"
                raise refuse(RuntimeError, f"jit: {name} draws random numbers from {what} while it runs, and a compiled call would return the same ones for "
                                           "ever. Draw them outside and pass them as an argument, or use diffeng.random, whose numbers come from a key")


def _state(x):
    if isinstance(x, random.Random) or x is random:
        return x.getstate()
    return _flat(x.bit_generator.state if isinstance(x, np.random.Generator) else x.get_state(legacy=False))


def _flat(state):
    """A state, which is a dict with arrays in it, as something that == compares."""
    return {k: _flat(x) if isinstance(x, dict) else x.tobytes() if isinstance(x, np.ndarray) else x for k, x in state.items()}
