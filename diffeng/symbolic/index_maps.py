"""Index maps: out[p] = operand[phi(p)], whose adjoint sums g over the preimage of phi.

phi is not written down: the primitive itself, run on positions in place of values (one array a coordinate, -1 for every other operand), says where each
output entry came from. Where phi turns out to be a box of slices, or keeps the order of all entries, the sum over the preimage is a slice or a reshape;
else it is `scatter` at phi. Where index operands are traced, phi is traced too and becomes part of the graph.

Why a file: no sympy and no mathematics of values here; it is about positions only.
"""
from functools import lru_cache

import numpy as np

from ..traced import Traced
from ..vocabulary import PRIMITIVES, elementwise as e, reductions, shaping
from ..vocabulary.indexing import Slot, getitem, scatter


def _stand_in(a, fill):
    return np.broadcast_to(np.array(fill), np.shape(a))


def coordinates(primitive, row, slot, operands, params):
    """phi, as one integer array of the output's shape for each axis of the operand (one for a scalar); -1 where another operand stands."""
    inputs = [_stand_in(a, -1) if primitive.differentiable(q) else a for q, a in enumerate(operands)]
    shape, out = np.shape(operands[slot]), []
    for axis, length in enumerate(shape or (1,)):
        along = np.arange(length).reshape((-1,) + (1,) * (len(shape) - axis - 1)) if shape else np.array(0)
        inputs[slot] = np.broadcast_to(along, shape)
        out.append(primitive(*inputs, **(params | row.none)))
    return out


@lru_cache(512)
def _keeps_order(name, shape, params):
    """Does this view of all entries leave them in order? Then the adjoint is a reshape."""
    out = PRIMITIVES[name](np.arange(int(np.prod(shape))).reshape(shape), **dict(params))
    return bool(np.all(out.ravel() == np.arange(out.size)))


def preimage_sum(primitive, row, slot, g, operands, params):
    """The sum of g[p] over all p with phi(p) = r, for every position r of the operand."""
    shape = np.shape(operands[slot])
    if primitive.kind == "view" and _keeps_order(primitive.name, shape, tuple(params.items())):
        return shaping.reshape(g, shape=shape)
    phi = coordinates(primitive, row, slot, operands, params)
    several = sum(primitive.differentiable(q) for q in range(len(operands))) > 1 or bool(row.none)
    if any(isinstance(c, Traced) for c in phi):
        if several:
            g = e.where(e.greater_equal(phi[0], 0), g, np.zeros((), g.dtype))
            phi = [e.maximum(c, 0) for c in phi]
        return _scattered(g, phi, shape)
    return _known(g, phi, shape, several)


def _known(g, phi, shape, several):
    """phi as numbers: slices where it is made of slices."""
    if several:
        valid = phi[0] >= 0
        if not valid.all():
            box = _box(valid)
            if box is not None:
                g, phi = getitem(g, index=box), [c[box] for c in phi]
            else:
                g = e.where(valid, g, np.zeros((), g.dtype))
                if phi[0].shape == shape and all(np.all((c == np.arange(m).reshape((-1,) + (1,) * (len(shape) - a - 1))) | ~valid)
                                                 for a, (c, m) in enumerate(zip(phi, shape))):
                    return g                                     # every entry that is left stands in its place
                phi = [np.where(valid, c, 0) for c in phi]
    if not shape:
        return _gathered(g)
    slices = _slices(phi, shape)
    if slices is None:
        return _scattered(g, phi, shape)
    index, lengths = slices
    g = g if np.shape(g) == lengths else shaping.reshape(g, shape=lengths)
    return g if all(s == slice(0, m, 1) for s, m in zip(index, shape)) else scatter(g, index=index, shape=shape)


def _gathered(g):
    """All entries of g come from one scalar."""
    return reductions.sum(g, axis=tuple(range(np.ndim(g))), keepdims=False) if np.ndim(g) else g


def _box(valid):
    """Slices around the True entries, if they fill them."""
    if not valid.any():
        return None
    index = []
    for axis in range(valid.ndim):
        hit = np.flatnonzero(valid.any(axis=tuple(a for a in range(valid.ndim) if a != axis)))
        index.append(slice(int(hit[0]), int(hit[-1]) + 1, None))
    return tuple(index) if valid[tuple(index)].all() else None


def _varies(c):
    """The axes along which an array varies."""
    return [a for a in range(c.ndim) if c.shape[a] > 1 and np.any(c != c.take([0], axis=a))]


def _progression(line):
    """slice(start, stop, step) for 3, 5, 7; None where it is no such thing."""
    start, step = int(line[0]), int(line[1] - line[0]) if len(line) > 1 else 1
    if step == 0 or np.any(np.diff(line) != step):
        return None
    stop = start + step * len(line)
    return slice(start, stop if stop >= 0 else None, step)


def _slices(phi, shape):
    """(one slice an axis, their lengths) if phi is made of slices in the order of the axes and meets no entry twice."""
    if phi[0].size == 0:
        return None
    index, used = [], []
    for c in phi:
        axes = _varies(c)
        if len(axes) > 1 or axes and used and axes[0] <= used[-1]:
            return None
        used += axes
        s = _progression(np.moveaxis(c, axes[0], 0).reshape(c.shape[axes[0]], -1)[:, 0] if axes else c.reshape(-1)[:1])
        if s is None:
            return None
        index.append(s)
    if any(m > 1 and a not in used for a, m in enumerate(phi[0].shape)):
        return None
    return tuple(index), tuple(len(range(*s.indices(m))) for s, m in zip(index, shape))


def _scattered(g, phi, shape):
    """g added up at phi. Trailing axes that are copied whole, as in table[tokens], stay slices."""
    if not shape:
        return _gathered(g)
    arrays, whole = list(phi), 0
    while len(arrays) > 1 and not any(isinstance(c, Traced) for c in arrays) and arrays[0].ndim and _is_position(arrays[-1], shape[len(arrays) - 1]) \
            and not any(arrays[0].ndim - 1 in _varies(c) for c in arrays[:-1]):
        arrays, whole = [c[..., 0] for c in arrays[:-1]], whole + 1
    return scatter(g, *arrays, index=tuple(Slot(m) for m in range(len(arrays))) + (slice(None),) * whole, shape=shape)


def _is_position(c, length):
    """Does a coordinate count 0, 1, ... along its last axis?"""
    return c.shape[-1] == length > 0 and bool(np.all(c == np.arange(length)))


def gather(primitive, row, operands, params):
    """The value by phi: out[p] = operand[phi(p)] for the operand it comes from; else the primitive's constant (pad's value)."""
    out = params.get("value", 0)
    for slot, a in enumerate(operands):
        if not primitive.differentiable(slot):
            continue
        if primitive.kind == "view":                            # one coordinate: the place in the flattened operand
            place = primitive(np.arange(int(np.prod(np.shape(a)))).reshape(np.shape(a)), **params)
            return getitem(shaping.reshape(a, shape=(int(np.size(a)),)), place, index=(Slot(0),))
        if np.size(a) == 0:
            continue
        phi = coordinates(primitive, row, slot, operands, params)
        at = [e.maximum(c, 0) for c in phi]
        part = getitem(a, *at, index=tuple(Slot(m) for m in range(len(at)))) if np.ndim(a) else a
        out = e.where(e.greater_equal(phi[0], 0), part, out)
    return out
