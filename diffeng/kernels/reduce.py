"""Reductions as the fuser takes them: over the last axes, over the first ones, or over all; and what consists of several.

What it is: `total` brings a reduction over any axes into those three forms (transposing the view, or one run of axes after another); `mean`, `var`,
`logsumexp` and `position` are reductions with elementwise steps around them, which end up in one loop nest.

Accuracy: means, variances and the sums of logsumexp are kept in float64 until the last step. logsumexp takes the largest entry out first
(Blanchard, Higham & Higham 2021).
"""
import math

import numpy as np

from . import scalar
from .fuse import Immediate, Map, Reduce
from .layout import Deferred, View, broadcast, collapse, new, reshaped, transposed
from .scalar import type_name

DOUBLE, _PLACE = np.dtype(float), np.dtype(np.int64)


def reduced(lowering, node, x, *, axis, keepdims, ddof=0):
    """The row of lower.py for reductions: a view, or what is Deferred; None where NumPy has to do it."""
    name = node.primitive.name
    have, want = type_name(x.dtype), type_name(node.dtype)
    if have is None or want is None or 0 in x.shape or have == "b1" and name in ("max", "min", "prod"):
        return None
    if name in ("var", "logsumexp", "mean") and want[0] != "f" or name in ("max", "min") and have != want:
        return None
    if name == "mean":
        sums = total(lowering.fuser, "sum", x, axis, DOUBLE)

        def divided():
            return reshaped(mean(lowering.fuser, sums, math.prod([x.shape[k] for k in axis]), node.dtype), node.shape)
        return Deferred(node.shape, node.dtype, divided) if over_rows(node) else divided()
    if name == "logsumexp":
        out = logsumexp(lowering.fuser, x, axis, node.dtype)
    elif name == "var":
        out = var(lowering.fuser, x, axis, node.dtype, ddof)
    else:
        out = total(lowering.fuser, name, x, axis, node.dtype)
    return reshaped(out, node.shape)


def positions(lowering, node, x, *, axis):
    """The row of lower.py for argmax and argmin."""
    if type_name(x.dtype) in (None, "b1") or 0 in x.shape:
        return None
    axes = tuple(range(x.ndim)) if axis is None else (axis,)
    places = lowering.constant(np.arange(math.prod([x.shape[k] for k in axes])))
    places = reshaped(places, x.shape) if axis is None else broadcast(reshaped(places, (x.shape[axis], *[1] * (x.ndim - axis - 1))), x.shape)
    return reshaped(position(lowering.fuser, node.primitive.name.removeprefix("arg"), x, axes, places), node.shape)


def over_rows(node):
    """Is a reduction one over other axes than the last ones?"""
    axis, rank = node.params["axis"], len(node.operands[0].shape)
    return len(axis) > 0 and (sorted(axis) != [*range(rank - len(axis), rank)] or len(axis) == rank)


def total(fuser, name, view, axes, dtype):
    """A view of the reduction over some axes, in C order over the others. name: sum, prod, max, min, any, all. dtype: of the result."""
    shape = [n for k, n in enumerate(view.shape) if k not in axes]
    axes = tuple(k for k in sorted(axes) if view.shape[k] != 1)
    if not axes:
        return reshaped(_elementwise(fuser, scalar.CAST, (view,), dtype, type_name(dtype)), shape)
    kept = [k for k in range(view.ndim) if k not in axes]
    runs, last = [], None
    for k in axes:                                     # neighbouring axes together
        between = range(last + 1, k) if last is not None else ()
        if last is not None and all(view.shape[j] == 1 for j in between):
            runs[-1].append(k)
        else:
            runs.append([k])
        last = k
    if len(runs) > 1:
        middle = DOUBLE if name == "sum" and dtype.kind == "f" else dtype
        inner = total(fuser, name, view, tuple(runs[-1]), middle)
        at = {k: j for j, k in enumerate([k for k in range(view.ndim) if k not in runs[-1]])}
        return reshaped(total(fuser, name, inner, tuple([at[k] for run in runs[:-1] for k in run]), dtype), shape)
    run = runs[0]
    before = [k for k in kept if k < run[0]]
    after = [k for k in kept if k > run[-1] and view.shape[k] != 1]
    kind = "all" if all(view.shape[k] == 1 for k in kept) else "row" if not after else "columns" if all(view.shape[k] == 1 for k in before) else "middle"
    if kind == "middle":                               # each row is read along a long stride
        view = transposed(view, before + [k for k in kept if k > run[-1]] + run)
        kind, run = "row", list(range(view.ndim - len(run), view.ndim))
    ends = [view.shape[k] for k in (run if kind == "row" else range(run[-1] + 1, view.ndim))]
    strides = [view.strides[k] for k in (run if kind == "row" else range(run[-1] + 1, view.ndim))]
    if kind != "all" and len(collapse(ends, [strides])[0]) > 1:      # no one stride walks along a row
        view = _elementwise(fuser, scalar.CAST, (view,), view.dtype, type_name(view.dtype))
    out = new("arena", shape, dtype)
    want = "b1" if name in ("any", "all") else type_name(view.dtype if dtype.kind == "f" and view.dtype.kind == "f" else dtype)
    fuser.operate(Reduce(name, want, view, kind, math.prod(ends) if kind != "all" else None, out))
    return out


def _elementwise(fuser, rule, operands, dtype, within, cost=0.5):
    """One elementwise step over the shape of the first view; computed in the type `within`."""
    shape = next(x.shape for x in operands if type(x) is View)
    out = new("arena", shape, dtype)
    operands = [broadcast(x, shape) if type(x) is View else x for x in operands]
    fuser.operate(Map(shape, rule, type_name(dtype), (within,) * len(operands), tuple(operands), out, cost=cost))
    return out


def _spread(v, shape, axes):
    """A reduction's result along the axes it reduced."""
    rest = iter(v.strides)
    strides = [0 if k in axes else next(rest) for k in range(len(shape))]
    return broadcast(View(v.buffer, v.offset, [1 if k in axes else n for k, n in enumerate(shape)], strides, v.dtype), shape)


def mean(fuser, sums, count, dtype):
    """sums: in float64."""
    return _elementwise(fuser, scalar.FLOAT["divide"], (sums, Immediate(np.float64(count), "f64")), dtype, "f64")


def var(fuser, view, axes, dtype, ddof):
    count = math.prod([view.shape[k] for k in axes])
    centre = _spread(mean(fuser, total(fuser, "sum", view, axes, DOUBLE), count, DOUBLE), view.shape, axes)
    apart = _elementwise(fuser, scalar.FLOAT["subtract"], (view, centre), DOUBLE, "f64")
    squares = _elementwise(fuser, scalar.FLOAT["square"], (apart,), DOUBLE, "f64")
    return mean(fuser, total(fuser, "sum", squares, axes, DOUBLE), max(count - ddof, 0), dtype)


def logsumexp(fuser, view, axes, dtype):
    type = type_name(dtype)
    top = total(fuser, "max", view, axes, view.dtype)
    safe = _elementwise(fuser, _finite, (top,), dtype, type)
    apart = _elementwise(fuser, scalar.FLOAT["subtract"], (view, _spread(safe, view.shape, axes)), dtype, type)
    weights = _elementwise(fuser, scalar.FLOAT["exp"], (apart,), dtype, type, scalar.COST["exp"])
    logs = _elementwise(fuser, scalar.FLOAT["log"], (total(fuser, "sum", weights, axes, DOUBLE),), DOUBLE, "f64", scalar.COST["log"])
    return _elementwise(fuser, scalar.FLOAT["add"], (logs, safe), dtype, "f64")


def position(fuser, name, view, axes, places):
    """Where along some axes the largest ("max") or smallest ("min") entry lies, the first of equals; a NaN is larger and smaller than all. places: a view of
    the numbers of entries along these axes, over the shape."""
    type, size = type_name(view.dtype), math.prod([view.shape[k] for k in axes])
    extreme = _spread(total(fuser, name, view, axes, view.dtype), view.shape, axes)
    found = new("arena", view.shape, _PLACE)
    operands = view, extreme, places, Immediate(_PLACE.type(size), "i64")
    fuser.operate(Map(view.shape, _place, "i64", (type, type, "i64", "i64"), operands, found))
    return total(fuser, "min", found, axes, _PLACE)


def _place(x, extreme, place, none):
    """The place of what is as large as the largest entry, or NaN."""
    return scalar.select(x.equals(extreme) | x.differs(x), place, none)


def _finite(x):
    """What is taken out of a row: its largest entry, unless that is infinite or NaN; then the sum says what the result is."""
    return scalar.select(scalar.absolute(x) < scalar.INF, x, scalar.constant(0.0, x))
