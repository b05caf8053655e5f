"""Reverse mode: PULL rows, and the walk that accumulates cotangents over recorded nodes.

PULL[name][k](g, z, x, y, **params) -> cotangent of operand k: g the cotangent of the output, z the saved output, x, y the operands. Rows are plain NumPy,
so on arrays they compute, on tracers they record the adjoint graph (to differentiate, print, draw or compile), on 100-digit arrays they
are judged. Rows ignore broadcasting and dtype: `fit` sums and casts a cotangent to its operand once, for all of them.

What it is not: no forward rule, no definition; it shares no expression with the other two witnesses.
"""
import itertools
from heapq import heappop, heappush

import numpy as np

from .checkpointing import Segment, recomputing
from .constants import LOG2, LOG10, SQRT_PI
from .errors import refuse
from .influence import influences
from .nodes import STORED, Node
from .traced import Traced
from .vocabulary import contraction, indexing, linalg
from .vocabulary.elementwise import expit, gauss, psi, zeta
from .lines import line_of

# ---- shapes --------------------------------------------------------------------------------------------------------------


def fit(g, shape, dtype):
    """Undo broadcasting: sum the axes that were added or stretched; keep the operand's dtype. A cotangent that is still to be spread passes."""
    have = g.shape
    if have != shape and (extra := len(have) - len(shape)) >= 0:
        stretched = tuple(range(extra)) if have[extra:] == shape else tuple([k for k, n in enumerate(have) if k < extra or n != 1 and shape[k - extra] == 1])
        if stretched:
            g = np.add.reduce(g, axis=stretched)
            if g.shape != shape:
                g = g.reshape(shape)
    return g if g.dtype == dtype else g.astype(dtype)


def _spread(g, x, axis, keepdims):
    """A reduction's cotangent along the axes it reduced (length 1 there, broadcasting does the rest)."""
    return g if keepdims or not g.shape else g.reshape(tuple([1 if k in axis else n for k, n in enumerate(x.shape)]))


def _count(x, axis):
    n = 1
    for k in axis:
        n *= x.shape[k]
    return n


# ---- rules that need more than a line ----------------------------------------------------------------------------------------


def _tanh(g, x):
    a = np.where(np.signbit(x), -x, x) if isinstance(x, Traced) else abs(x)      # |x|, with a slope at 0: the third derivative there is its square times -2
    e = np.exp(-(a + a))                           # 1 - z*z has no digits left at x = 18; written as the kernels' tanh has it, which shares it
    t = 1 + e
    return g * (4 * e / (t * t))


_WRITTEN = frozenset({int, float})


def _power_base(g, x, y):
    if type(y) in _WRITTEN:                      # the exponent that is written as a number: float32 stays float32
        return g * 0 if y == 0 else g if y == 1 else g * (2 * x) if y == 2 else g * (y * x ** (y - 1))
    flat = np.equal(y, 0)                          # x**0 is 1 everywhere, 0**0 included
    if isinstance(y, Traced):
        flat = np.logical_and(flat, np.equal(x, 0))          # at x != 0 this may be differentiated by y again
    return g * (y * np.power(x, np.where(flat, 0, y - 1)))


def _power_exponent(g, z, x):
    return g * z * np.log(np.where(np.equal(x, 0), 1, x))      # z log(x) -> 0 as x -> 0


def _all_but_one(x):
    """For each entry along the last axis the product of the others; exact where entries are 0."""
    one = np.ones_like(x[..., :1]) if x.shape[-1] else x
    before = np.cumprod(np.concatenate([one, x[..., :-1]], axis=-1), axis=-1)
    after = np.flip(np.cumprod(np.concatenate([one, np.flip(x, -1)[..., :-1]], axis=-1), axis=-1), -1)
    return before * after


def _prod(g, x, axis, keepdims):
    kept = [k for k in range(x.ndim) if k not in axis]
    order = kept + list(axis)
    rows = np.reshape(np.transpose(x, order), tuple(x.shape[k] for k in kept) + (_count(x, axis),))
    others = np.reshape(_all_but_one(rows), tuple(x.shape[k] for k in order))
    return _spread(g, x, axis, keepdims) * np.transpose(others, np.argsort(order))


def _cumprod(g, x, axis):
    """s_i times the product of all before x_i, where s_i = g_i + x_(i+1) s_(i+1): nothing is divided by, for entries may be 0. By doubling: after each step s_i
    has the terms of twice as many entries, and `far` as many factors."""
    x, s = np.moveaxis(x, axis, -1), np.moveaxis(g, axis, -1)
    before = np.cumprod(np.concatenate([np.ones_like(x[..., :1]), x[..., :-1]], axis=-1), axis=-1)
    far, reach = x[..., 1:], 1
    while reach < x.shape[-1]:
        s = np.concatenate([s[..., :-reach] + far * s[..., reach:], s[..., -reach:]], axis=-1)
        far = far[..., :-reach] * far[..., reach:]
        reach *= 2
    return np.moveaxis(before * s, -1, axis)


def _extreme(g, z, x, axis, keepdims):
    chosen = np.equal(x, _spread(z, x, axis, keepdims))
    ties = np.add.reduce(chosen.astype(g.dtype), axis=axis, keepdims=True)
    return np.where(chosen, _spread(g, x, axis, keepdims) / ties, 0)


def _softmax(z, x, axis, keepdims):
    """exp(x - z), divided by its sum: where x is large z = logsumexp(x) is rounded, and all weights alike."""
    e = np.exp(x - _spread(z, x, axis, keepdims))
    return e / np.sum(e, axis=axis, keepdims=True)


def _matmul(g, x, y, slot):
    m, n = x.ndim, y.ndim
    if m == 1 and n == 1:
        return g * (y if slot == 0 else x)
    if m == 2 and n == 1:                          # (m, k) @ (k,) -> (m,)
        return g.reshape(g.shape[0], 1) * y if slot == 0 else np.matmul(g, x)
    if m == 1 and n == 2:                          # (k,) @ (k, n) -> (n,)
        return np.matmul(y, g) if slot == 0 else x.reshape(x.shape[0], 1) * g
    a = x if m > 1 else x.reshape(1, x.shape[0])
    b = y if n > 1 else y.reshape(y.shape[0], 1)
    if m == 1 or n == 1:
        batch = g.shape[:g.ndim - (m > 1) - (n > 1)]
        g = g.reshape(batch + (a.shape[-2], b.shape[-1]))
    out = np.matmul(g, b.swapaxes(-1, -2)) if slot == 0 else np.matmul(a.swapaxes(-1, -2), g)
    whole, shape = (a.shape, x.shape) if slot == 0 else (b.shape, y.shape)
    out = fit(out, whole, out.dtype)
    return out if out.shape == shape else out.reshape(shape)


def _tensordot(g, x, y, axes, slot):
    mine, other = (x, y) if slot == 0 else (y, x)
    summed, theirs = (axes[0], axes[1]) if slot == 0 else (axes[1], axes[0])
    free = [k for k in range(mine.ndim) if k not in summed]
    other_free = [k for k in range(other.ndim) if k not in theirs]
    at = range(len(free), g.ndim) if slot == 0 else range(g.ndim - len(free))       # the other operand's free axes in g
    out = np.tensordot(g, other, axes=(tuple(at), tuple(other_free)))                  # axes: free ones of mine, then theirs in order
    came = free + [summed[theirs.index(k)] for k in sorted(theirs)]
    return np.transpose(out, [came.index(k) for k in range(mine.ndim)])


def _dot(g, x, y, slot):
    if x.ndim <= 2 and y.ndim <= 2:
        return _matmul(g, x, y, slot)
    return _tensordot(g, x, y, ((x.ndim - 1,), (max(y.ndim - 2, 0),)), slot)


class _Einsum:
    """The adjoint of a sum of products with respect to one factor is a sum of products of the others."""

    def __getitem__(self, slot):
        def rule(g, z, *operands, subscripts):
            inputs, out = subscripts.split("->")
            terms = inputs.split(",")
            mine, x = terms[slot], operands[slot]
            others = [(t, o) for k, (t, o) in enumerate(zip(terms, operands)) if k != slot]
            elsewhere = set(out).union(*[t for t, _ in others])
            letters = "".join(dict.fromkeys(c for c in mine if c in elsewhere))
            c = contraction.einsum(g, *[o for _, o in others], subscripts=",".join([out] + [t for t, _ in others]) + "->" + letters)
            distinct = "".join(dict.fromkeys(mine))
            sizes = dict(zip(mine, x.shape))
            have = dict(zip(letters, c.shape))
            c = np.reshape(c, tuple(have.get(i, 1) for i in distinct))                    # a letter of this factor alone was summed: spread it
            full = tuple(max(sizes[i], have.get(i, 1)) if sizes[i] else 0 for i in distinct)
            c = np.broadcast_to(c, full) if c.shape != full else c
            if distinct == mine:
                return c
            grid = [np.arange(sizes[i]).reshape([-1 if i == j else 1 for j in distinct]) for i in mine]      # a repeated letter reads a diagonal
            return indexing.scatter(c, *grid, index=tuple(indexing.Slot(k) for k in range(len(grid))), shape=x.shape)
        return rule


class _Getitem:
    """What was read is added where it came from: to zeros, or in place to a sum of cotangents that nobody else holds."""

    def __call__(self, g, z, x, *arrays, index):
        return indexing.scatter(g, *arrays, index=index, shape=x.shape)

    def onto(self, known, g, x, *arrays, index):
        if arrays:
            np.add.at(known, indexing.join(index, arrays), g)
        else:
            known[index] += g


class _Every:
    """Rows of a primitive that has the cotangents of several operands at once: `every` returns {slot: cotangent}."""

    def __getitem__(self, slot):
        return lambda g, z, *operands, **params: self.every(g, z, (slot,), *operands, **params)[slot]


class _Concatenate(_Every):
    """Each part has its own piece. `every` cuts those of many slots at once: asked for one by one, those of n parts would take n^2 steps."""

    def every(self, g, z, slots, *parts, axis):
        before, ends = (slice(None),) * axis, [0, *itertools.accumulate([np.shape(p)[axis] for p in parts])]
        return {k: g[(*before, slice(ends[k], ends[k + 1]))] for k in slots}


class _Own(_Every):
    """What a primitive with rules of its own says."""

    def __init__(self, own):
        self._own = own

    def every(self, g, z, slots, *numbers):
        return self._own.pulled(g, z, numbers)


def _rows(primitive):
    """A primitive's rows, looked up at every use: they may be replaced."""
    return PULL.get(primitive.name, ()) if primitive.own is None else _Own(primitive.own)


def _written(g, x, arrays, index):
    """setitem's cotangent of the values: where index arrays name a position more than once, only the value that was written last is there."""
    g = indexing.getitem(g, *arrays, index=index)
    if max([np.size(i) for i in arrays], default=1) == 1:
        return g
    number = np.arange(g.size).reshape(g.shape)
    last = indexing.getitem(indexing.setitem(np.zeros(np.shape(x), int), number, *arrays, index=index), *arrays, index=index) == number
    return g if type(last) is np.ndarray and last.all() else np.where(last, g, 0)


def _unpad(g, widths):
    return g[tuple(slice(lo, n - hi) for (lo, hi), n in zip(widths, g.shape))]


def _flipped(x):
    return x.swapaxes(-1, -2)


def _each(g):
    """One number a matrix, to be multiplied by whole matrices."""
    return g.reshape(g.shape + (1, 1))


def _solve(g, z, a):
    """The cotangent of a in a z = b: that of b times -z'."""
    return -np.matmul(linalg.solve(_flipped(a), g), _flipped(z))


def _inverse(g, z):
    t = _flipped(z)
    return -np.matmul(np.matmul(t, g), t)


def _cofactor(g, z, x):
    t = _flipped(linalg.inv(x))
    return _each(np.sum(g * t, axis=(-2, -1))) * z - np.matmul(np.matmul(z, _flipped(g)), t)


def _cholesky(g, z):
    """What lies above the diagonal is not read, and has no cotangent (I. Murray, Differentiation of the Cholesky decomposition, 2016, section 3.2)."""
    up, halved = _flipped(z), np.tril(np.ones(z.shape[-2:], z.dtype)) - 0.5 * np.identity(z.shape[-1], z.dtype)
    inner = np.tril(np.matmul(up, np.tril(g))) * halved
    s = linalg.solve(up, _flipped(linalg.solve(up, _flipped(inner))))                # inv(z)' inner inv(z), in two solutions
    return np.tril(s + _flipped(s)) * halved


# ---- the book ------------------------------------------------------------------------------------------------------------------------

PULL = {
    # ---- arithmetic
    "add":         [lambda g, z, x, y: g,                                     lambda g, z, x, y: g],
    "subtract":    [lambda g, z, x, y: g,                                     lambda g, z, x, y: -g],
    "multiply":    [lambda g, z, x, y: g * y,                                 lambda g, z, x, y: g * x],
    "divide":      [lambda g, z, x, y: g / y,                                 lambda g, z, x, y: -fit(g * z, np.shape(y), g.dtype) / y],          # summed first: fewer to divide
    "power":       [lambda g, z, x, y: _power_base(g, x, y),                  lambda g, z, x, y: _power_exponent(g, z, x)],
    "remainder":   [lambda g, z, x, y: g,                                     lambda g, z, x, y: -g * np.floor_divide(x, y)],
    "negative":    [lambda g, z, x: -g],
    "square":      [lambda g, z, x: g * (2 * x)],
    "reciprocal":  [lambda g, z, x: -g * np.square(z)],
    "absolute":    [lambda g, z, x: g * np.sign(x)],
    # ---- exponentials and logarithms
    "exp":         [lambda g, z, x: g * z],
    "exp2":        [lambda g, z, x: g * z * LOG2],
    "expm1":       [lambda g, z, x: g * np.exp(x)],                           # z + 1 loses the digits of exp(-40)
    "log":         [lambda g, z, x: g / x],
    "log2":        [lambda g, z, x: g / x / LOG2],
    "log10":       [lambda g, z, x: g / x / LOG10],
    "log1p":       [lambda g, z, x: g / (1 + x)],
    "sqrt":        [lambda g, z, x: g / (2 * z)],                             # infinite at 0
    "cbrt":        [lambda g, z, x: g / (3 * np.square(z))],
    "logaddexp":   [lambda g, z, x, y: g * expit(x - y),                     lambda g, z, x, y: g * expit(y - x)],
    # ---- trigonometric and hyperbolic functions (DLMF 4.20, 4.24, 4.34, 4.38)
    "sin":         [lambda g, z, x: g * np.cos(x)],
    "cos":         [lambda g, z, x: -g * np.sin(x)],
    "tan":         [lambda g, z, x: g * (1 + np.square(z))],
    "arcsin":      [lambda g, z, x: g / np.sqrt((1 - x) * (1 + x))],          # 1 - x*x would lose the digits next to 1
    "arccos":      [lambda g, z, x: -g / np.sqrt((1 - x) * (1 + x))],
    "arctan":      [lambda g, z, x: g / (1 + np.square(x))],
    "arctan2":     [lambda g, z, x, y: g * (y / np.hypot(x, y) / np.hypot(x, y)), lambda g, z, x, y: -g * (x / np.hypot(x, y) / np.hypot(x, y))],
    "hypot":       [lambda g, z, x, y: g * (x / np.where(np.equal(z, 0), 1, z)),
                    lambda g, z, x, y: g * (y / np.where(np.equal(z, 0), 1, z))],   # 0 at the origin
    "sinh":        [lambda g, z, x: g * np.cosh(x)],
    "cosh":        [lambda g, z, x: g * np.sinh(x)],
    "tanh":        [lambda g, z, x: _tanh(g, x)],
    "arcsinh":     [lambda g, z, x: g / np.hypot(x, 1)],
    "arccosh":     [lambda g, z, x: g / (np.sqrt(x - 1) * np.sqrt(x + 1))],
    "arctanh":     [lambda g, z, x: g / ((1 - x) * (1 + x))],
    # ---- special functions (DLMF 7.10.1, 5.2.2, 5.15.1, 25.11.17; the logistic function s has s' = s(x) s(-x))
    "gauss":       [lambda g, z, x: g * (-2 * x * z)],
    "erf":         [lambda g, z, x: g * (gauss(x) * (2 / SQRT_PI))],
    "erfc":        [lambda g, z, x: -g * (gauss(x) * (2 / SQRT_PI))],
    "expit":       [lambda g, z, x: g * (z * expit(-x))],                    # 1 - z loses the digits of exp(-40)
    "log_expit":   [lambda g, z, x: g * expit(-x)],
    "logit":       [lambda g, z, x: g / (x * (1 - x))],
    "gammaln":     [lambda g, z, x: g * psi(x)],
    "gamma":       [lambda g, z, x: g * (z * psi(x))],
    "psi":         [lambda g, z, x: g * zeta(2, x)],
    "zeta":        [None, lambda g, z, s, q: g * (-s * zeta(s + 1, q))],
    "xlogy":       [lambda g, z, x, y: g * np.log(y),                         lambda g, z, x, y: g * (x / np.where((x == 0) & (y == 0), 1, y))],
    # ---- choices: equal shares among ties
    "maximum":     [lambda g, z, x, y: np.where(np.equal(x, y), g / 2, np.where(np.equal(x, z), g, 0)),
                    lambda g, z, x, y: np.where(np.equal(x, y), g / 2, np.where(np.equal(y, z), g, 0))],
    "minimum":     [lambda g, z, x, y: np.where(np.equal(x, y), g / 2, np.where(np.equal(x, z), g, 0)),
                    lambda g, z, x, y: np.where(np.equal(x, y), g / 2, np.where(np.equal(y, z), g, 0))],
    "where":       [None, lambda g, z, c, x, y: np.where(c, g, 0),           lambda g, z, c, x, y: np.where(c, 0, g)],
    # ---- the same value
    "astype":      [lambda g, z, x, *, dtype: g],
    "copy":        [lambda g, z, x: g],
    "barrier":     [lambda g, z, x, y: g],                                    # y only says when
    # ---- reductions and scans
    "sum":         [lambda g, z, x, *, axis, keepdims: _spread(g, x, axis, keepdims)],
    "mean":        [lambda g, z, x, *, axis, keepdims: _spread(g, x, axis, keepdims) / _count(x, axis)],
    "var":         [lambda g, z, x, *, axis, keepdims, ddof: _spread(g, x, axis, keepdims) / (_count(x, axis) - ddof)
                    * (2 * (x - np.mean(x, axis=axis, keepdims=True)))],
    "prod":        [lambda g, z, x, *, axis, keepdims: _prod(g, x, axis, keepdims)],
    "max":         [lambda g, z, x, *, axis, keepdims: _extreme(g, z, x, axis, keepdims)],
    "min":         [lambda g, z, x, *, axis, keepdims: _extreme(g, z, x, axis, keepdims)],
    "logsumexp":   [lambda g, z, x, *, axis, keepdims: _spread(g, x, axis, keepdims) * _softmax(z, x, axis, keepdims)],
    "cumsum":      [lambda g, z, x, *, axis: np.flip(np.cumsum(np.flip(g, axis), axis=axis), axis)],
    "cumprod":     [lambda g, z, x, *, axis: _cumprod(g, x, axis)],
    # ---- index maps
    "reshape":     [lambda g, z, x, *, shape: g.reshape(x.shape)],
    "transpose":   [lambda g, z, x, *, axes: np.transpose(g, [axes.index(k) for k in range(len(axes))])],
    "broadcast_to": [lambda g, z, x, *, shape: g],
    "concatenate": _Concatenate(),
    "pad":         [lambda g, z, x, *, widths, value: _unpad(g, widths)],
    "getitem":     [_Getitem()],
    "scatter":     [lambda g, z, v, *i, index, shape: indexing.getitem(g, *i, index=index)],
    "setitem":     [lambda g, z, x, v, *i, index: indexing.setitem(g, np.zeros((), g.dtype), *i, index=index),
                    lambda g, z, x, v, *i, index: _written(g, x, i, index)],
    "add_at":      [lambda g, z, x, v, *i, index: g,                          lambda g, z, x, v, *i, index: indexing.getitem(g, *i, index=index)],
    # ---- sums of products
    "matmul":      [lambda g, z, x, y: _matmul(g, x, y, 0),                   lambda g, z, x, y: _matmul(g, x, y, 1)],
    "dot":         [lambda g, z, x, y: _dot(g, x, y, 0),                      lambda g, z, x, y: _dot(g, x, y, 1)],
    "tensordot":   [lambda g, z, x, y, *, axes: _tensordot(g, x, y, axes, 0), lambda g, z, x, y, *, axes: _tensordot(g, x, y, axes, 1)],
    "einsum":      _Einsum(),
    # ---- whole matrices
    "solve":       [lambda g, z, a, b: _solve(g, z, a),                       lambda g, z, a, b: linalg.solve(_flipped(a), g)],
    "inv":         [lambda g, z, x: _inverse(g, z)],
    "det":         [lambda g, z, x: _each(g) * linalg.cofactor(x)],           # z inv(x)' is NaN where x is singular
    "slogdet":     [lambda g, z, x: _each(g) * _flipped(linalg.inv(x))],
    "cofactor":    [lambda g, z, x: _cofactor(g, z, x)],
    "cholesky":    [lambda g, z, x: _cholesky(g, z)],
}


# ---- the walk --------------------------------------------------------------------------------------------------------------------------

def _missing(primitive, slot, frames):
    if slot in primitive.held:
        return primitive.not_held(slot, f" at {line_of(frames)}")
    return refuse(NotImplementedError, f"no pullback for '{primitive.name}' (operand {slot}) at {line_of(frames)}: "
                                       "add a row to PULL in diffeng/reverse_mode.py")


def pull(primitive, slot, g, z, operands, params, frames=()):
    """The cotangent of one operand, in its shape and dtype."""
    x = operands[slot]
    try:
        row = _rows(primitive)[slot]
    except LookupError:
        row = None
    if row is None:
        raise _missing(primitive, slot, frames)
    return _whole(fit(row(g, z, *operands, **params), np.shape(x), x.dtype), np.shape(x))


def _whole(g, shape):
    return g if g.shape == shape else np.broadcast_to(g, shape)


@np.errstate(all="ignore")                        # (as a decorator half of what it takes around a block)
def gradient(outputs, cotangents, inputs, value_of, at=None, skip=frozenset()):
    """Cotangents of `inputs`, given those of `outputs`: a list, with None where an input has no influence.

    outputs, inputs: Nodes. value_of(node): the array (or tracer, or 100-digit array) to use for a node; with STORED, what was computed as it was recorded, the
    inputs are all that were recorded, and `live` says what hangs on them. at(node, cotangent): told whose adjoint is recorded next.
    skip: (id of a node, slot) of operands known to have no influence (shifts.py): nothing is pulled there.

    A cotangent waits with fewer axes, or axes of length 1, while it is constant along them (behind a sum, say): elementwise rows broadcast
    it anyway, those of reductions take a number as it is, and only where the operation is no such row, or broadcast its operand, is it spread out.
    """
    wanted, stored = None, value_of is STORED      # (stored: read without a call, that often it is asked for)
    if not stored or Segment.made:                 # else no walk has to come before this one
        order, wanted = influences(outputs, inputs)
        value_of, at = recomputing(order, value_of, at)
        stored = value_of is STORED
    cotangent, found, waiting = {}, dict.fromkeys(inputs), []
    own = set()                                    # nodes whose cotangent is an array made here, which nobody else holds: the next term is added in place
    for node, g in zip(outputs, cotangents):
        if node in cotangent:
            cotangent[node] = cotangent[node] + g
        elif wanted is None or node in wanted:
            cotangent[node] = g
            heappush(waiting, (-node.serial, node))
    while waiting:
        node = heappop(waiting)[1]             # the latest of those that wait: all that read it are done
        g = cotangent.pop(node)
        if node in found:
            found[node] = g
        primitive, operands, params = node.primitive, node.operands, node.params
        if wanted is not None:
            slots = wanted[node]
            if not slots:
                continue
            if at is not None:
                at(node, g)
            values = [g, node.value if stored else value_of(node)]
            for q in operands:
                if type(q) is Node:
                    q = q.value if stored else value_of(q)
                values.append(q)
        else:
            slots, values, every, k = [], [g, node.value], primitive.slots, 0
            for q in operands:
                if type(q) is Node:
                    if q.live and (every is None or k in every):
                        slots.append(k)
                    q = q.value
                values.append(q)
                k += 1
            if not slots:
                continue
        if g.shape != node.shape and not (primitive.kind == "map" and all([operands[k].shape == node.shape for k in slots])
                                          or primitive.kind == "reduce" and not g.shape):
            values[0] = g = np.broadcast_to(g, node.shape)
        rows = _rows(primitive)
        pieces = rows.every(*values[:2], slots, *values[2:], **params) if len(slots) > 1 and isinstance(rows, _Every) else None
        for k in slots:
            if skip and (id(node), k) in skip:
                continue
            p = operands[k]
            try:
                row = rows[k]
            except LookupError:
                row = None
            if row is None:
                raise _missing(primitive, k, node.frames)
            known = cotangent.get(p)
            if known is not None and type(row) is _Getitem and p in own and known.shape == p.shape and type(g) is np.ndarray:
                row.onto(known, g, *values[2:], **params)
                continue
            new = pieces[k] if pieces is not None else row(*values, **params) if params else row(*values)
            if new.dtype is not p.dtype or new.shape != p.shape:
                new = fit(new, p.shape, p.dtype)
            if known is None:
                cotangent[p] = new
                heappush(waiting, (-p.serial, p))
                if type(row) is _Getitem and type(new) is np.ndarray:
                    own.add(p)
            elif p in own and known.shape == new.shape and type(new) is np.ndarray:
                known += new
            else:
                cotangent[p] = new = known + new
                if type(new) is np.ndarray:
                    own.add(p)
                else:                              # NumPy's scalar: nothing can be added to it in place
                    own.discard(p)
    return [None if found[n] is None else _whole(found[n], n.shape) for n in inputs]
