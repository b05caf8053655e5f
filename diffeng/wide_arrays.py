"""Large arrays in the judge's arithmetic, which are never spelled out in balls: a hundred million weights would take sixteen gigabytes of them.

What it is: `Wide`, a sum of terms: arrays of floats as they are (times a number), products of two thin matrices of balls, and balls scattered into zeros. So a
point x + h w and a gradient of any size are exact, and what is done with weights costs what it should: matrix products go through slices (slices.py), lookups
are lookups, index maps move the floats, the adjoint of a product with a weight keeps its two thin factors, and `inner`, a sum of entries times weights,
contracts those.
Any other operation spells the array out while it has no more than MOST entries, and is refused beyond.

What it is not: no derivative, no protocol (precise.py), nothing for small arrays (ball_arrays.py). Why a file: what decides how large a function may be is
here.
"""
import functools
import math

import numpy as np
from flint import arb

from .balls import Refused, ZERO, all_finite, box, enclose
from .errors import refuse
from .slices import product

LARGE = 1 << 18                # entries of an array beyond which it stays what it is
MOST = 1 << 22                 # entries that are spelled out in balls at most: half a gigabyte

_near = np.frompyfunc(float, 1, 1)


def _magnitude(factor):
    """log2 |factor|, about."""
    return float(abs(factor).mid().log_base(2)) if factor.is_finite() and not factor.mid().is_zero() else 0.0


def large(x):
    """Does an array, or one of this shape, stay what it is?"""
    return math.prod(x if type(x) is tuple else np.shape(x)) > LARGE


def held(x):
    """A plain real array as balls, or as it is when it is large."""
    return Wide(x.shape, [Dense(arb(1), x)]) if large(x) and x.dtype.kind == "f" and np.isfinite(x).all() else enclose(x)


def spelled(x):
    """An object array of balls, whatever it was."""
    return x.spelled() if type(x) is Wide else x


class Wide:
    """An array of this shape: the sum of its terms."""

    __slots__ = ("shape", "terms")
    dtype = np.dtype(object)

    def __init__(self, shape, terms):
        self.shape, self.terms = tuple(shape), terms

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))

    def _each(self, change, shape=None):
        return Wide(self.shape if shape is None else shape, [change(t) for t in self.terms])

    # ---- what moves numbers about -------------------------------------------------------------------------------------------------

    def _view(self, there, back, shape):
        return self._each(lambda t: t.viewed(there, back), shape)

    def reshape(self, *shape):
        shape = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        shape, before = np.broadcast_to(np.zeros(()), self.shape).reshape(shape).shape, self.shape
        return self if shape == before else self._view(lambda x: x.reshape(shape), lambda x: x.reshape(before), shape)

    def transpose(self, axes):
        back = tuple(np.argsort(axes))
        return self._view(lambda x: x.transpose(axes), lambda x: x.transpose(back), [self.shape[k] for k in axes])

    def __getitem__(self, where):
        """Part of it: large when that is large, too, else balls."""
        parts = [t.part(where) for t in self.terms]
        if large(parts[0]):
            return Wide(parts[0].shape, [Dense(t.factor, p) for t, p in zip(self.terms, parts)])
        return functools.reduce(np.add, [box(enclose(np.asarray(p)) * t.factor) for t, p in zip(self.terms, parts)])

    def __iter__(self):
        return (self[k] for k in range(self.shape[0]))

    # ---- sums and multiples -----------------------------------------------------------------------------------------------------------

    def __add__(self, other):
        return Wide(self.shape, self.terms + other.terms)

    def __mul__(self, factor):
        return self._each(lambda t: t.times(factor))

    def left(self, a):
        """a @ self, a: (m, k) balls."""
        parts = [t.part(...) for t in self.terms]
        small = max(_magnitude(t.factor) for t in self.terms)
        return functools.reduce(np.add, [box(product(a, x, int(small - _magnitude(t.factor))) * t.factor) for t, x in zip(self.terms, parts)])

    # ---- numbers of it ---------------------------------------------------------------------------------------------------------------------

    def spelled(self):
        if self.size > MOST:
            raise refuse(Refused, f"the operation{{here}} needs {self.size:,} numbers one by one in many digits, and the judge spells out {MOST:,} at most: "
                                  "compare with smaller arrays")
        return functools.reduce(np.add, [box(t.balls()) for t in self.terms])

    def numbers(self):
        """The nearest float64 array, but for the rounding of a sum of products."""
        return functools.reduce(np.add, [t.numbers() for t in self.terms])

    def inner(self, weights):
        """The sum over all entries times weights, floats of this shape: a ball."""
        return sum([t.inner(weights) for t in self.terms], ZERO)


# ---- terms -----------------------------------------------------------------------------------------------------------------------------

class Dense:
    """factor times floats."""

    __slots__ = ("factor", "x")

    def __init__(self, factor, x):
        self.factor, self.x = factor, x

    def viewed(self, there, back):
        return Dense(self.factor, there(self.x))

    def times(self, factor):
        return Dense(self.factor * factor, self.x)

    def part(self, where):
        return self.x[where]

    def balls(self):
        return enclose(self.x) * self.factor

    def numbers(self):
        return self.x.astype(float) * float(self.factor)

    def inner(self, weights):
        flat, w = self.x.reshape(-1), np.broadcast_to(weights, self.x.shape).reshape(-1)
        if flat.size > MOST:
            raise refuse(Refused, f"a sum of {flat.size:,} products{{here}} is too long for the judge: compare with smaller arrays")
        return product(enclose(flat)[None], w[:, None])[0, 0] * self.factor


class _Seen:
    """A term that is made of balls, seen through index maps: pairs (there, back) of functions on arrays."""

    __slots__ = ("views",)

    def viewed(self, there, back):
        return self._with(self.views + ((there, back),))

    def part(self, where):
        raise refuse(Refused, "a part or a product of a large derivative{here} is more than the judge takes on: compare with smaller arrays")

    def numbers(self):
        x = self._numbers()
        for there, _ in self.views:
            x = there(x)
        return x

    def balls(self):
        x = self._balls()
        for there, _ in self.views:
            x = there(x)
        return x

    def inner(self, weights):
        for _, back in reversed(self.views):
            weights = back(weights)
        return self._inner(weights)


class Outer(_Seen):
    """a @ b: balls (m, k) and (k, n) with k small, as the adjoint of a product with a weight has them."""

    __slots__ = ("a", "b")

    def __init__(self, a, b, views=()):
        self.a, self.b, self.views = a, b, views

    def _with(self, views):
        return Outer(self.a, self.b, views)

    def times(self, factor):
        return Outer(self.a * factor, self.b, self.views)

    def _numbers(self):
        return _near(self.a).astype(float) @ _near(self.b).astype(float)

    def _balls(self):
        return self.a @ self.b

    def _inner(self, weights):
        return np.sum(product(self.a.T, weights) * self.b) if len(self.a) > self.b.shape[1] else np.sum(product(self.b, weights.T) * self.a.T)


class Scattered(_Seen):
    """Zeros of a shape with v added at an index."""

    __slots__ = ("v", "where", "shape")

    def __init__(self, v, where, shape, views=()):
        self.v, self.where, self.shape, self.views = v, where, shape, views

    def _with(self, views):
        return Scattered(self.v, self.where, self.shape, views)

    def times(self, factor):
        return Scattered(self.v * factor, self.where, self.shape, self.views)

    def _filled(self, out, v):
        np.add.at(out, self.where, v)
        return out

    def _numbers(self):
        return self._filled(np.zeros(self.shape), _near(self.v).astype(float))

    def _balls(self):
        return self._filled(np.full(self.shape, ZERO, object), self.v)

    def _inner(self, weights):
        return np.sum(self.v * enclose(np.asarray(weights[self.where])))


def outer(a, b):
    """The product of thin matrices, kept as it is; None where it is not worth it."""
    (m, k), n = a.shape, b.shape[1]
    if not large((m, n)) or 2 * k * (m + n) > m * n:
        return None
    a, b = spelled(a), spelled(b)
    return Wide((m, n), [Outer(a, b)]) if all_finite(a) and all_finite(b) else None


def times(a, b):
    """(m, k) @ (k, n) where at least one is a Wide."""
    if type(a) is Wide and type(b) is Wide:
        a, b = (spelled(a), b) if a.size < b.size else (a, spelled(b))
    if type(b) is Wide:
        return b.left(a)
    return a.transpose((1, 0)).left(b.transpose((1, 0))).transpose((1, 0))


# ---- primitives ---------------------------------------------------------------------------------------------------------------------------

def _scale(name):
    def rule(x, y):
        x, y = (x, y) if type(x) is Wide or name == "divide" else (y, x)
        if type(x) is Wide and type(y) is np.ndarray and y.size == 1 and y.ndim <= x.ndim:
            factor = 1 / y.reshape(-1)[0] if name == "divide" else y.reshape(-1)[0]
            return x * factor if factor.is_finite() else None
    return rule


def _sum_of(sign):
    def rule(x, y):
        if type(x) is Wide and type(y) is Wide and x.shape == y.shape:
            return x + (y if sign > 0 else y * arb(sign))
    return rule


WIDE = {
    "copy": lambda x: x, "stop_gradient": lambda x: x, "constant": lambda x: x, "astype": lambda x, *, dtype: x,
    "barrier": lambda x, y: x if x.shape == np.broadcast_shapes(x.shape, y.shape) else None,
    "negative": lambda x: x * arb(-1), "add": _sum_of(1), "subtract": _sum_of(-1), "multiply": _scale("multiply"), "divide": _scale("divide"),
    "reshape": lambda x, *, shape: x.reshape(shape), "transpose": lambda x, *, axes: x.transpose(axes),
    "broadcast_to": lambda x, *, shape: x if x.shape == tuple(shape) else None,
}
