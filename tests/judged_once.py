"""The judge's differences, taken once for many comparisons of one function in which only rules differ.

They may be kept, for no rule has a part in them: each is taken twice when it comes first, the second time with every book closed, so that whoever asks a
rule for anything fails, at the places where `plant` puts its faults.
"""
import contextlib
import types

import numpy as np
import pytest

from diffeng.forward_mode import PUSH
from diffeng.judge import Judge
from diffeng.nodes import Primitive
from diffeng.precise import PreciseArray, numbers
from diffeng.reverse_mode import PULL
from diffeng.symbolic import FAULTS


class _Closed:
    def __getitem__(self, slot):
        raise AssertionError("the judge asked a rule")

    def __call__(self, slot, contribution):
        self[slot]


@contextlib.contextmanager
def closed_books():
    with pytest.MonkeyPatch.context() as patch:
        for book in PUSH, PULL, FAULTS:
            for name in Primitive.registry:
                patch.setitem(book, name, _Closed())
        yield


def _told(x):
    """What tells an argument, or a function with what it closes over, from others: a key of a dict."""
    if isinstance(x, PreciseArray):
        x = numbers(x)
    if isinstance(x, (np.ndarray, np.generic)):
        return x.dtype.str, x.shape, x.tobytes()
    if isinstance(x, (list, tuple)):
        return type(x), *map(_told, x)
    if isinstance(x, dict):
        return tuple([(k, _told(v)) for k, v in x.items()])
    if isinstance(x, slice):
        return slice, x.start, x.stop, x.step
    if isinstance(x, types.MethodType):                            # Hearing._against
        return x.__self__.flat.fun, _told(x.__self__.cotangents)
    if isinstance(x, types.FunctionType) and x.__module__.startswith("diffeng."):
        return x.__code__, *[_told(cell.cell_contents) for cell in x.__closure__ or ()]
    return x


class Judgements:
    """with kept: comparisons of the same function, whose constant arguments are the same, too."""

    def __init__(self):
        self.known = {}

    @property
    @contextlib.contextmanager
    def kept(self):
        own = Judge.along

        def along(court, directions):
            looks = [(kind, seen) for kind, seen, _ in court.looks or ()]
            key = _told([court.fun, court.args, directions, court.digits, court.growth, looks])
            if key not in self.known:
                found = own(court, directions)
                court.base.clear()
                with closed_books():
                    assert _said(own(court, directions)) == _said(found)
                self.known[key] = found
            return self.known[key]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Judge, "along", along)
            yield


def _said(d):
    """Everything of a Difference but the time that it took."""
    arrays = [[str(b) for b in np.ravel(x.data)] for name in ("value", "left", "right") for x in getattr(d, name)]
    return arrays, _told([d.kink, d.decided, d.scale]), d.sure, d.reason, d.precision
