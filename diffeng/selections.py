"""What a mask chooses of an array while nobody knows how many that is: under jit, in the body of a loop, of many examples at once.

What it is: `chosen(x, items)`, x[mask] as a `Chosen` value, which is all of x beside the mask. Elementwise operations and reductions compute with all of it, and
y[mask] = v is a choice, so that what is recorded holds for every mask. Whatever else is done (its length is asked for, it is sorted or returned) takes the mask
as it is for these arguments, as an `if` does.

Where the mask does not choose, 1 stands in place of the entries, and nothing that is made of it is seen: no value, and no derivative, of what is beside it neither.
What it is not: no np.ma.
"""
import numpy as np

from .interpreters import Interpreter, complex_result, differs, layers
from .nodes import Node, Tracer
from .numpy_api import cast, is_basic, plain
from .refusals import fixed
from .traced import ALIASES, Traced, unaliased
from .vocabulary import contraction, elementwise as e, indexing, shaping

MOST = 100                                   # nodes that are compared at most to find two masks equal
RECENT = 16                                  # masks that a new one is compared with: a loop that makes a thousand of them stays linear


def unknown(x):
    """Is this a traced value that differs between the calls, turns or examples that what is computed here is for?"""
    return any([value.interpreter.examples or not value.interpreter.values for value in layers(x)])


def chosen(x, items):
    """x[items] where the first of these is a mask that is not known, or they begin with the places where one is true, and the others are slices, integers and the like;
    None for another index."""
    mask, rest = _parsed(items)
    if mask is None or mask.ndim > x.ndim or not unknown(mask):
        return None
    x = getattr(x, "held", x)
    if type(x) is Chosen and x.is_open():                    # a choice among what was chosen
        return chosen(x.full, (x.both(mask), *rest)) if x.takes(mask) else None
    if type(mask) is Chosen or mask.shape != x.shape[:mask.ndim]:
        return None
    selection = _selection(mask, x)
    out = Chosen(selection, selection.cleared(x))
    return out[(slice(None), *rest)] if rest else out


def written(x, items, value):
    """x with x[items] = value, where these are as `chosen` has them, and value is one for all, or what the same mask chose: a choice, for which nobody need know the
    mask. None for what is no such thing. value: of x's dtype, or without one."""
    mask, rest = _parsed(items)
    if mask is None:
        return None
    if type(x) is Chosen and x.is_open():
        full = written(x.full, (x.both(mask), *rest), value) if x.takes(mask) else None
        return None if full is None else Chosen(x.interpreter, full)
    if type(mask) is Chosen or mask.shape != x.shape[:mask.ndim]:
        return None
    part = (*[slice(None)] * mask.ndim, *rest)
    old = indexing.getitem(x, index=part) if rest else x
    most = old.ndim - mask.ndim
    if type(value) is Chosen and value.is_open():
        if not _is_same(mask, value.interpreter.mask):
            return None
        value, most = value.full, old.ndim
    if np.ndim(value) > most or not all([m in (1, n) for m, n in zip(np.shape(value)[::-1], old.shape[::-1])]):
        return None                                          # NumPy's error
    new = e.where(_beside(mask, old), cast(value, x.dtype), old)
    return indexing.setitem(x, new, index=part) if rest else new


def places(mask):
    """Where a mask that is not known is true, as np.nonzero says it: an array of places along each axis."""
    selection = _selection(mask, mask)
    return tuple([Chosen(selection, np.broadcast_to(at, mask.shape), axis) for axis, at in enumerate(np.indices(mask.shape, sparse=True))])


def _parsed(items):
    """(the mask that an index begins with, or whose places, and the rest of it), or (None, None)."""
    mask, rest = getattr(items[0], "held", items[0]), items[1:]
    if type(mask) is Chosen and mask.axis is not None and mask.is_open():
        selection = mask.interpreter
        mask, rest = selection.mask, items[selection.mask.ndim:]
        for axis, x in enumerate(items[:mask.ndim]):
            if type(x) is not Chosen or not selection.mine(x) or x.axis != axis or len(items) < mask.ndim:
                return None, None
    elif not isinstance(mask, Traced) or mask.dtype != bool:
        return None, None
    return (mask, rest) if is_basic(rest) else (None, None)


def has_none(x, axes):
    """Has x no entry along one of these axes, whatever a mask may choose?"""
    if type(x) is not Chosen or not x.is_open():
        return 0 in [x.shape[k] for k in axes]
    return 0 in [x.full.shape[k] for k in x.interpreter.across(axes)]


def extreme(primitive, x, params):
    """The largest or smallest of x; of none that a mask chose the number that is below or above all others."""
    if type(x) is Chosen and x.is_open():
        return _reduced(x.interpreter, primitive, (x,), params, none=True)
    return primitive(x, **params)


def _beside(mask, x):
    """The mask, with axes of length 1 for those of x that it does not have."""
    more = np.ndim(x) - mask.ndim
    return indexing.getitem(mask, index=(Ellipsis, *[None] * more)) if more else mask


class Chosen(Traced):
    """What a mask chose. full: all entries, of which those count that the mask chooses, and the mask's axes come first; or `settled`: the chosen ones, once the mask was
    looked at for their sake. axis: of the mask, along which these are the places where it is true."""

    __slots__ = ("interpreter", "full", "settled", "axis", *ALIASES)

    def __init__(self, interpreter, full, axis=None):
        self.interpreter, self.full, self.settled, self.axis = interpreter, full, None, axis

    shape = fixed(lambda self: (self.interpreter.count(), *self.full.shape[self.interpreter.mask.ndim:]) if self.is_open() else self.settled.shape, "shape")
    dtype = fixed(lambda self: self.full.dtype, "dtype")
    ndim = property(lambda self: self.full.ndim - self.interpreter.mask.ndim + 1)
    below = property(lambda self: self.full if isinstance(self.full, Traced) else self.interpreter.mask)

    def is_open(self):
        return self.settled is None

    def share(self):
        """The entries that are chosen now, for whoever does something else with them."""
        if self.is_open():
            self.settled = indexing.getitem(self.full, index=(self.interpreter.seen(),))
        return self.settled

    def takes(self, other):
        """Is the other one, of the same first axes, chosen by the same mask?"""
        return self.is_open() and self.interpreter.mine(other) and other.full.shape == self.full.shape[:other.full.ndim]

    def both(self, mask):
        """What the mask has chosen and then this one of that, as a mask of all entries."""
        return e.logical_and(_beside(self.interpreter.mask, mask.full), mask.full)

    def _adopt(self, other):
        other = getattr(other, "held", other)
        self.axis = None
        if type(other) is Chosen and self.interpreter.mine(other):
            self.full = other.full
        else:
            self.settled = other.share() if type(other) is Chosen else other

    def _look(self, kind, convert):
        found = self.share()
        return found._look(kind, convert) if isinstance(found, Traced) else convert(found)

    def __repr__(self):
        return f"<what a mask chose of {self.full!r}>"


class Selection(Interpreter):
    """Applies a primitive to all entries, of which a mask chooses. level: above that of the mask, and of what it chooses of."""

    lasting = True

    def __init__(self, mask, level):
        self.mask, self.level, self._seen, self._count = unaliased(mask), level, None, None

    def mine(self, x):
        """Has this mask chosen it, of what an outer derivative or this one has?"""
        if type(x) is not Chosen or not x.is_open():
            return False
        return x.interpreter is self or x.interpreter.level < self.level and _is_same(x.interpreter.mask, self.mask)

    def apply(self, primitive, operands, params):
        rule = _RULES.get(primitive.name) or (_elementwise if primitive.kind == "map" and primitive.own is None else None)
        out = rule and rule(self, primitive, operands, params)
        if out is not None and out.dtype.kind == "c":
            return complex_result(primitive, operands, params)
        return primitive(*[x.share() if type(x) is Chosen else x for x in operands], **params) if out is None else out

    def seen(self):
        """The mask's own values."""
        if self._seen is None:
            self._seen = plain(self.mask)
        return self._seen

    def count(self):
        """How many are chosen now."""
        if self._count is None:
            look = self._seen is not None or differs(self.mask)
            self._count = int(np.count_nonzero(self.seen() if look else self.mask))
        return self._count

    def is_empty(self):
        return not (self.count() if differs(self.mask) else np.any(self.mask))

    def cleared(self, x, by=1):
        """x with a number in place of what is not chosen."""
        return e.where(_beside(self.mask, x), x, np.asarray(by, x.dtype)[()])

    def across(self, axes):
        """Axes of all entries, by those of what is chosen."""
        k = self.mask.ndim
        return tuple([j for a in axes for j in (range(k) if a == 0 else (a + k - 1,))])


def _selection(mask, x):
    """The one of this mask, or of one that is computed in the same way: y[x > 0] = f(x[x > 0])."""
    known, level = mask.interpreter.selections, max([v.interpreter.level for v in (mask, x) if isinstance(v, Traced)]) + 0.5
    for other in reversed(known):
        if other.level == level and _is_same(mask, other.mask):
            return other
    found = Selection(mask, level)
    mask.interpreter.selections = (*known[1 - RECENT:], found)
    return found


_APART = frozenset({"interpreter", "origin"})          # what of a traced value says nothing of the numbers (the latter: of the judge's, where they come from)


def _is_same(x, y):
    """Are these two masks, or parts of them, equal for all values that they stand for?"""
    if x is y or type(x) is not type(y):
        return x is y
    if type(x) is np.ndarray:
        return np.array_equal(x, y)
    if not isinstance(x, Traced):
        return isinstance(x, np.dtype) and x == y
    if x.interpreter is not y.interpreter:
        return False
    return _are_alike(x.node, y.node) if type(x) is Tracer else all([_is_same(getattr(x, name), getattr(y, name)) for name in x._state if name not in _APART])


def _is_plain(primitive, params):
    """Elementwise, or a part by slices?"""
    return primitive.own is None and (primitive.kind == "map" or primitive.name == "getitem" and is_basic(params["index"]))


def _are_alike(x, y):
    """Do two nodes have one value? Where they are the same elementwise operations, or parts, of the same ones."""
    pairs = [(x, y)]
    for k, (x, y) in enumerate(pairs):
        if x is y:
            continue
        if k > MOST or type(x) is not type(y):
            return False
        if type(x) is not Node:
            if not (_is_same(x, y) if isinstance(x, Traced) else type(x) is not np.ndarray and x == y and repr(x) == repr(y)):          # (0.0 is no -0.0)
                return False
        elif x.primitive is not y.primitive or not _is_plain(x.primitive, x.params) or x.params != y.params:
            return False
        else:
            pairs += zip(x.operands, y.operands)
    return True


# ---- rules: (selection, primitive, operands, parameters) -> the result, or None: of what is chosen now ------------------------------------------------


_quietly = np.errstate(all="ignore")              # what becomes of entries that are not chosen is no warning


@_quietly
def _elementwise(selection, primitive, operands, params):
    mine = [selection.mine(x) for x in operands]
    ranks = {x.ndim for x, m in zip(operands, mine) if m}
    if len(ranks) != 1 or any([np.ndim(x) >= min(ranks) for x, m in zip(operands, mine) if not m]):
        return None
    full = [x.full for x, m in zip(operands, mine) if m]
    clear = selection.cleared if primitive.name == "power" else lambda full: full          # a negative power of an integer is NumPy's error
    return Chosen(selection, primitive(*[clear(x.full) if m else _shown(selection, x, full) for x, m in zip(operands, mine)], **params))


def _shown(selection, x, full):
    """What stands beside all entries of `full`, whose derivative is to come from those alone that are chosen: 0 times what becomes of the others may be NaN."""
    if not isinstance(x, Traced) or x.dtype.kind != "f":
        return x
    if x.interpreter.is_number(x):                           # which takes the dtype of what it meets, and that is not the mask
        x = e.astype(x, dtype=np.result_type(*[v.dtype for v in full], 1.0))
    return e.where(_beside(selection.mask, full[0]), x, np.ones((), x.dtype)[()])


_REDUCTIONS = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "var": np.var, "any": np.any, "all": np.all}


@_quietly
def _reduced(selection, primitive, operands, params, none=False):
    (x,), params = operands, dict(params)
    axes, keepdims, name = params.pop("axis"), params.pop("keepdims"), primitive.name
    if not selection.mine(x):
        return None
    axis, mask = selection.across(axes), _beside(selection.mask, x.full)
    if 0 not in axes:
        return Chosen(selection, primitive(x.full, axis=axis, keepdims=keepdims, **params))
    if name in _REDUCTIONS:
        out = _REDUCTIONS[name](x.full, axis=axis, keepdims=keepdims, where=mask, **params)
    elif not none and selection.is_empty():
        return None                                          # NumPy knows no largest of none
    else:
        out = primitive(selection.cleared(x.full, _LEAST[name](x.dtype)), axis=axis, keepdims=keepdims, **params)
    return shaping.reshape(out, shape=(1, *out.shape[selection.mask.ndim:])) if keepdims and selection.mask.ndim != 1 else out


def _lowest(dtype):
    return -np.inf if dtype.kind == "f" else False if dtype.kind == "b" else np.iinfo(dtype).min


def _highest(dtype):
    return np.inf if dtype.kind == "f" else True if dtype.kind == "b" else np.iinfo(dtype).max


_LEAST = {"max": _lowest, "min": _highest, "logsumexp": _lowest}


def _part(selection, primitive, operands, params):
    """A part of each that is chosen, x[mask][:, 0], or entries of something else at places that are chosen, x[at[mask]]."""
    (x, *at), index = operands, params["index"]
    if len(at) == 1 and selection.mine(at[0]) and at[0].ndim == 1 and not selection.mine(x) and type(index[0]) is indexing.Slot and is_basic(index[1:]) and np.shape(x)[0]:
        return Chosen(selection, selection.cleared(indexing.getitem(x, selection.cleared(at[0].full, 0), index=index)))
    if at or not selection.mine(x):
        return None
    if index and index[0] is Ellipsis:
        taken = sum([i is not None for i in index[1:]])
        index = (slice(None), *[slice(None)] * (x.ndim - 1 - taken), *index[1:]) if taken < x.ndim else ()
    if not index or type(index[0]) is not slice or index[0] != slice(None) or Ellipsis in index:
        return None
    return Chosen(selection, indexing.getitem(x.full, index=(*[slice(None)] * selection.mask.ndim, *index[1:])))


@_quietly
def _multiplied(selection, primitive, operands, params):
    """Rows by a matrix or a vector, or a vector by as many rows or entries."""
    (x, y), k = operands, selection.mask.ndim
    mine = selection.mine(x), selection.mine(y)
    if mine == (True, False) and x.ndim == 2 and np.ndim(y) in (1, 2):
        return Chosen(selection, selection.cleared(contraction.matmul(selection.cleared(x.full), y)))
    if all(mine) and x.ndim == 1 and y.ndim < 3 and k == 1:
        return contraction.matmul(selection.cleared(x.full, 0), selection.cleared(y.full))
    return None


_RULES = {name: _reduced for name in (*_REDUCTIONS, *_LEAST)} | {"getitem": _part, "matmul": _multiplied, "dot": _multiplied}
