"""Reductions, scans, sums of products and index maps on object arrays of balls; with balls.py the whole vocabulary: BALLS.

What it is: one function a primitive, in the primitive's own parameters. Sums of products go to flint's matrices (a hundred times faster than sums of
Python objects); what only moves numbers about is NumPy itself on object arrays, so an entry stays the very object it was.

What it is not: no derivative, no dtype, no protocol (precise.py).

Why a file: whole arrays, where balls.py knows single numbers.
"""
import functools
import math

import numpy as np
from flint import arb, arb_mat

from .ball_matrices import MATRICES
from .ball_functions import FUNCTIONS
from .ball_transforms import TRANSFORMS
from .balls import ELEMENTWISE, INF, NAN, ONE, ZERO, box, enclose, equal_balls, nonzero, unsure, larger_ball, smaller_ball, whole
from .vocabulary.contraction import subscripts as subscripts_of
from .vocabulary.indexing import join
from .vocabulary.random import random_bits
from .wide_arrays import Scattered, Wide, large, outer, spelled, times

# ---- along axes --------------------------------------------------------------------------------------------------------------------

def _last(x, axis):
    """The axes to reduce moved to the end and joined."""
    keep = [k for k in range(x.ndim) if k not in axis]
    n = math.prod([x.shape[k] for k in axis])
    return x.transpose(keep + list(axis)).reshape([x.shape[k] for k in keep] + [n])


def _kept(out, x, axis, keepdims):
    return box(out).reshape([1 if k in axis else n for k, n in enumerate(x.shape)]) if keepdims else out


def _fold(name, rule):
    ufunc = np.frompyfunc(rule, 2, 1)

    def function(x, *, axis, keepdims):
        if not axis:
            return x
        rows = _last(x, axis)
        if not rows.shape[-1]:
            raise ValueError(f"zero-size array to reduction operation {name} which has no identity")
        return _kept(ufunc.reduce(rows, axis=-1), x, axis, keepdims)
    return function


def _sum(x, *, axis, keepdims):
    return np.sum(x, axis=axis, keepdims=keepdims, initial=ZERO)


def _count(x, axis):
    return math.prod([x.shape[k] for k in axis])


def _mean(x, *, axis, keepdims):
    n = _count(x, axis)
    return np.true_divide(_sum(x, axis=axis, keepdims=keepdims), arb(n) if n else NAN)


def _var(x, *, axis, keepdims, ddof):
    n = _count(x, axis) - ddof
    d = x - _mean(x, axis=axis, keepdims=True)
    return np.true_divide(_sum(d * d, axis=axis, keepdims=keepdims), arb(n) if n > 0 else NAN)


_approximate = np.frompyfunc(lambda x: float(x) if x.is_finite() else 0.0, 1, 1)


def _logsumexp(x, *, axis, keepdims):
    if not x.size:
        return np.full(np.sum(np.ones(x.shape), axis=axis, keepdims=keepdims).shape, -INF, object)
    top = box(_approximate(x)).astype(float).max(axis=axis, keepdims=True)            # any shift is right: it need not be the largest
    top = enclose(np.where(np.isfinite(top), top, 0.0))
    out = box(ELEMENTWISE["log"](_sum(ELEMENTWISE["exp"](x - top), axis=axis, keepdims=True)) + top)
    return out if keepdims else np.squeeze(out, axis=axis)


def _order(a, b):
    """-1, 0, 1 as sort wants it; NaN last."""
    if a is b:
        return 0
    if a.is_nan() or b.is_nan():
        return int(a.is_nan()) - int(b.is_nan())
    if a < b:
        return -1
    if a > b:
        return 1
    if equal_balls(a, b):
        return 0
    raise unsure("sorting", a, b)


def _first(row, sign):
    best = 0
    for k in range(1, len(row)):
        if row[best].is_nan():
            break
        if row[k].is_nan() or sign * _order(row[k], row[best]) > 0:
            best = k
    return best


def _positions(name, sign):
    def function(x, *, axis):
        x, axis = (x.reshape(-1), 0) if axis is None else (x, axis)
        rows = _last(x, (axis,))
        if not rows.shape[-1]:
            raise ValueError(f"attempt to get {name} of an empty sequence")
        return np.array([_first(r, sign) for r in rows.reshape(-1, rows.shape[-1])], np.intp).reshape(rows.shape[:-1])
    return function


def _argsort(x, *, axis):
    rows = np.moveaxis(x, axis, -1)
    out = np.empty(rows.shape, np.intp)
    key = functools.cmp_to_key(_order)
    for at in np.ndindex(rows.shape[:-1]):
        row = rows[at]
        out[at] = sorted(range(len(row)), key=lambda k: key(row[k]))
    return np.moveaxis(out, -1, axis)


# ---- sums of products --------------------------------------------------------------------------------------------------------------

def _prepare(letters, x, elsewhere, sizes):
    """Diagonals taken, lengths of 1 that meet longer ones dropped, letters that nobody else has summed."""
    if len(set(letters)) < len(letters):
        x = spelled(x)
        once = "".join(dict.fromkeys(letters))
        x, letters = np.einsum(f"{letters}->{once}", x), once
    stay = [k for k, c in enumerate(letters) if x.shape[k] == sizes[c]]
    if len(stay) < len(letters):
        x, letters = x.reshape([x.shape[k] for k in stay]), "".join(letters[k] for k in stay)
    alone = tuple(k for k, c in enumerate(letters) if c not in elsewhere)
    return "".join(c for k, c in enumerate(letters) if k not in alone), box(_sum(spelled(x), axis=alone, keepdims=False)) if alone else x


def _arrange(x, letters, *groups):
    """Axes in groups: transposed, each group joined into one axis."""
    order = [letters.index(c) for g in groups for c in g]
    size = dict(zip(letters, x.shape))
    return x.transpose(order).reshape([math.prod([size[c] for c in g]) for g in groups])


def _product(a, b):
    """(m, k) @ (k, n) of balls by flint's own matrices: far faster than sums of Python objects."""
    (m, k), n = a.shape, b.shape[1]
    whole = outer(a, b)
    if whole is not None:
        return whole
    if type(a) is Wide or type(b) is Wide:
        return times(a, b)
    out = np.empty(m * n, object)
    out[:] = (arb_mat(m, k, a.ravel().tolist()) * arb_mat(k, n, b.ravel().tolist())).entries() if m * n * k else ZERO
    return out.reshape(m, n)


def _pair(left, right, out, x, y):
    """An einsum of two operands as products of matrices."""
    sizes = {}
    for c, n in list(zip(left, x.shape)) + list(zip(right, y.shape)):
        if n != 1 and sizes.get(c, 1) not in (1, n):
            raise ValueError(f"{left},{right}->{out}: mismatch of lengths {sizes[c]} and {n} along {c!r}")
        sizes[c] = n if sizes.get(c, 1) == 1 else sizes[c]
    left, x = _prepare(left, x, right + out, sizes)
    right, y = _prepare(right, y, left + out, sizes)
    left, x = _prepare(left, x, right + out, sizes)                 # a letter of the right may just have gone
    both = [c for c in left if c in right]
    batch, inner = [c for c in both if c in out], [c for c in both if c not in out]
    rows, columns = [c for c in left if c not in both], [c for c in right if c not in both]
    x, y = _arrange(x, left, batch, rows, inner), _arrange(y, right, batch, inner, columns)
    if inner:
        parts = [_product(a, b) for a, b in zip(x, y)]
        z = (parts[0].reshape((1, *parts[0].shape)) if len(parts) == 1 else np.stack([spelled(p) for p in parts]) if parts
             else np.empty((0, x.shape[1], y.shape[2]), object))
    else:
        z = spelled(x) * spelled(y)                                 # (batch, rows, 1) * (batch, 1, columns)
    have = batch + rows + columns
    return z.reshape([sizes[c] for c in have]).transpose([have.index(c) for c in out])


def _einsum(*operands, subscripts):
    inputs, out = subscripts.split("->")
    terms, operands = inputs.split(","), list(operands)
    if len(operands) == 1:
        letters, x = _prepare(terms[0], operands[0], out, dict(zip(terms[0], operands[0].shape)))
        return x.transpose([letters.index(c) for c in out])
    for pair in _order_of(subscripts, *[x.shape for x in operands]):
        a, b = (terms.pop(k) for k in pair)
        x, y = (operands.pop(k) for k in pair)
        later = set("".join(terms) + out)
        between = "".join(c for c in dict.fromkeys(a + b) if c in later) if terms else out
        terms, operands = terms + [between], operands + [_pair(a, b, between, x, y)]
    return operands[0]


@functools.lru_cache(maxsize=256)
def _order_of(subscripts, *shapes):
    """Which two operands to contract next, the later one first; results go to the end."""
    if len(shapes) == 2:
        return [(1, 0)]
    import opt_einsum
    path = opt_einsum.contract_path(subscripts, *shapes, shapes=True, optimize="greedy")[0]
    return [tuple(sorted(pair, reverse=True)) for pair in path if len(pair) == 2]


def _contraction(name):
    def function(x, y, **params):
        if name == "matmul" and not (x.ndim and y.ndim):
            raise ValueError("matmul: a scalar is no operand; use * instead")
        if name == "dot" and not (x.ndim and y.ndim):
            return x * y
        terms, out = subscripts_of(name, (x.ndim, y.ndim), params).split("->")
        return _pair(*terms.split(","), out, x, y)
    return function


# ---- reading and writing parts ---------------------------------------------------------------------------------------------------------

def _put(out, where, v):
    out[where] = v[()] if not v.ndim else v              # a 0-d object array would be stored as an array
    return out


def _setitem(x, v, *arrays, index):
    return _put(x.copy(), join(index, arrays), v)


def _add_at(x, v, *arrays, index):
    out, where = x.copy(), join(index, arrays)
    if arrays or any(isinstance(i, np.ndarray) for i in index):
        np.add.at(out, where, v)                         # repeated positions add up
        return out
    return _put(out, where, box(out[where] + v))


def _scatter(v, *arrays, index, shape):
    where = join(index, arrays)
    if large(tuple(shape)):
        return Wide(shape, [Scattered(v, where, shape)])
    return _add_at(np.full(shape, ZERO, object), v, *arrays, index=index)


def _pad(x, *, widths, value):
    out = np.full([lo + n + hi for n, (lo, hi) in zip(x.shape, widths)], enclose(np.asarray(value))[()], object)
    out[tuple(slice(lo, lo + n) for n, (lo, hi) in zip(x.shape, widths))] = x
    return out


# ---- the table --------------------------------------------------------------------------------------------------------------------------

BALLS = {
    **ELEMENTWISE, **FUNCTIONS,
    **MATRICES, **TRANSFORMS,
    # reductions: axis is a sorted tuple
    "sum": _sum, "mean": _mean, "var": _var, "logsumexp": _logsumexp,
    "prod": lambda x, *, axis, keepdims: np.prod(x, axis=axis, keepdims=keepdims, initial=ONE),
    "max": _fold("max", larger_ball), "min": _fold("min", smaller_ball),
    "any": lambda x, *, axis, keepdims: np.any(nonzero(x), axis=axis, keepdims=keepdims),
    "all": lambda x, *, axis, keepdims: np.all(nonzero(x), axis=axis, keepdims=keepdims),
    # scans and positions
    "cumsum":  lambda x, *, axis: np.add.accumulate(x, axis=axis),
    "cumprod": lambda x, *, axis: np.multiply.accumulate(x, axis=axis),
    "random_bits": lambda *words, shape: random_bits.evaluate(*[np.asarray(np.frompyfunc(whole, 1, 1)(x), np.uint64) if np.asarray(x).dtype == object else x for x in words], shape=shape),
    "argmax": _positions("argmax", 1), "argmin": _positions("argmin", -1), "argsort": _argsort,
    # sums of products
    "matmul": _contraction("matmul"), "dot": _contraction("dot"), "tensordot": _contraction("tensordot"), "einsum": _einsum,
    # the same numbers at other places
    "reshape":      lambda x, *, shape: x.reshape(shape),
    "transpose":    lambda x, *, axes: x.transpose(axes),
    "broadcast_to": lambda x, *, shape: np.broadcast_to(x, shape),
    "concatenate":  lambda *parts, axis: np.concatenate(parts, axis=axis),
    "stack":        lambda *parts, axis: np.stack(parts, axis=axis),
    "pad":          _pad,
    "getitem":      lambda x, *arrays, index: x[join(index, arrays)],
    "setitem":      _setitem,
    "add_at":       _add_at,
    "scatter":      _scatter,
}
