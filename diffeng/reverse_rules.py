"""The cotangent rules that need more than a line, and what rows of PULL share.

What it is: functions that reverse_mode.py's book names, in its arguments: g the cotangent of the result, z the result, x, y the operands.
What it is not: no book, no walk. Why a file: the book is a table that one reads in one go.
"""
import functools
import itertools
import math

import numpy as np

from .constants import Exact
from .nodes import Node, Tracer
from .traced import TRACED, Traced
from .vocabulary import contraction, fourier, indexing, linalg
from .vocabulary.elementwise import erfcx, hyp2f1, zeta
from .vocabulary.reductions import sum_of_equal

# ---- shapes --------------------------------------------------------------------------------------------------------------


def fit(g, shape, dtype):
    """Undo broadcasting: sum the axes that were added or stretched; keep the operand's dtype. A cotangent that is still to be spread passes."""
    have = g.shape
    if have != shape and (extra := len(have) - len(shape)) >= 0:
        stretched = tuple(range(extra)) if have[extra:] == shape else tuple([k for k, n in enumerate(have) if k < extra or n != 1 and shape[k - extra] == 1])
        if stretched:
            if type(g) is np.ndarray and g.size > 1 and not any(g.strides) and g.dtype.kind == "f":          # equal entries: what a sum, or a mean, has begun with
                total = sum_of_equal(g[(0,) * g.ndim], math.prod([have[k] for k in stretched]))
                g = np.broadcast_to(total, shape) if shape else total
            else:
                g = np.add.reduce(g, axis=stretched, keepdims=len(stretched) > extra)
            if g.shape != shape:
                g = g.reshape(shape)
    return g if g.dtype == dtype else g.astype(dtype)


def summed(g, x):
    """A cotangent that fits x, as Tracing.summed has it. (A vector is repeated by whoever has more axes.)"""
    return g.interpreter.summed(g, x) if type(g) is Tracer and len(g.shape) > 1 and 1 in g.shape and g.shape == np.shape(x) else g


def spread(g, x, axis, keepdims):
    """A reduction's cotangent along the axes it reduced (length 1 there, broadcasting does the rest)."""
    return g if keepdims or not g.shape else g.reshape(tuple([1 if k in axis else n for k, n in enumerate(x.shape)]))


def count(x, axis):
    n = 1
    for k in axis:
        n *= x.shape[k]
    return n


# ---- rules that need more than a line ----------------------------------------------------------------------------------------


def exp_of_square(z, flipped, low, high):
    """exp(z^2) = erfcx(|z|) / erfc(|z|), where erfc(|z|) is known, as low where z is to be flipped, as high elsewhere: better than the square of a z that was rounded.
    Infinite where it is 0."""
    known = np.where(flipped, low, high)
    last = np.equal(known, 0)
    return np.where(last, np.exp(np.square(z)), erfcx(np.where(flipped, -z, z)) / np.where(last, 1, known))


def tanh(g, x):
    y = x + x
    a = np.where(np.signbit(y), -y, y) if isinstance(y, Traced) else abs(y)      # |2x|, with a slope at 0: the third derivative there is its square times -1/2
    e = np.exp(-a)                                 # 1 - z*z has no digits left at x = 18; written as the kernels' tanh has it, which shares it
    t = 1 + e
    return g * (4 * e / (t * t))


_WRITTEN = frozenset({int, float, Exact})


def lifted(x, dtype):
    """An operand in the dtype of the result, where something is computed from it alone: int8 would wrap, and the logarithm of one is taken in float16. (A Python
    integer may be larger than any of NumPy's.)"""
    if type(x) is int:
        return float(x)
    return x if getattr(x, "dtype", dtype) == dtype else x.astype(dtype)


def power_base(g, x, y):
    if type(y) in _WRITTEN:                      # the exponent that is written as a number: float32 stays float32
        return g * 0 if y == 0 else g if y == 1 else (g * (2 * x) if g.shape else 2 * g * x) if y == 2 else g * (y * x ** (y - 1))
    y = lifted(y, g.dtype)
    flat = np.equal(y, 0)                          # x**0 is 1 everywhere, 0**0 included
    if isinstance(y, Traced):
        flat = np.logical_and(flat, np.equal(x, 0))          # at x != 0 this may be differentiated by y again
    return g * (y * np.power(x, np.where(flat, 0, y - 1)))


def power_exponent(g, z, x):
    x = lifted(x, z.dtype)
    if type(x) is Exact:
        return g * z * x.log()
    return g * z * np.log(np.where(np.equal(x, 0), 1, x))      # z log(x) -> 0 as x -> 0


def hurwitz(g, s, q):
    s = lifted(s, g.dtype)
    return g * (-s * zeta(s + 1, q))


def hypergeometric(x, a, b, c):
    """DLMF 15.5.1."""
    return a / c * b * hyp2f1(a + 1, b + 1, c + 1, x)


def all_but_one(x):
    """For each entry along the last axis the product of the others; exact where entries are 0."""
    one = np.ones_like(x[..., :1]) if x.shape[-1] else x
    before = np.cumprod(np.concatenate([one, x[..., :-1]], axis=-1), axis=-1)
    after = np.flip(np.cumprod(np.concatenate([one, np.flip(x, -1)[..., :-1]], axis=-1), axis=-1), -1)
    return before * after


def prod(g, x, axis, keepdims):
    kept = [k for k in range(x.ndim) if k not in axis]
    order = kept + list(axis)
    rows = np.reshape(np.transpose(x, order), tuple(x.shape[k] for k in kept) + (count(x, axis),))
    others = np.reshape(all_but_one(rows), tuple(x.shape[k] for k in order))
    return spread(g, x, axis, keepdims) * np.transpose(others, np.argsort(order))


def cumprod(g, x, axis):
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


def backwards(x, axis):
    """x[::-1] along an axis. (np.flip says the same in six times as many steps.)"""
    return x[tuple([slice(None, None, -1) if k == axis else slice(None) for k in range(len(x.shape))])]


def extreme(g, z, x, axis, keepdims):
    chosen = np.equal(x, spread(z, x, axis, keepdims))
    ties = np.add.reduce(chosen.astype(g.dtype), axis=axis, keepdims=True)
    return np.where(chosen, spread(g, x, axis, keepdims) / ties, 0)


def softmax(z, x, axis, keepdims):
    """exp(x - z), divided by its sum: where x is large z = logsumexp(x) is rounded, and all weights alike."""
    e = np.exp(x - spread(z, x, axis, keepdims))
    return e / np.sum(e, axis=axis, keepdims=True)


def matmul(g, x, y, slot):
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


def tensordot(g, x, y, axes, slot):
    mine, other = (x, y) if slot == 0 else (y, x)
    own, theirs = (axes[0], axes[1]) if slot == 0 else (axes[1], axes[0])
    free = [k for k in range(mine.ndim) if k not in own]
    other_free = [k for k in range(other.ndim) if k not in theirs]
    at = range(len(free), g.ndim) if slot == 0 else range(g.ndim - len(free))       # the other operand's free axes in g
    out = contraction.tensordot(g, other, axes=(tuple(at), tuple(other_free)))                  # axes: free ones of mine, then theirs in order
    came = free + [own[theirs.index(k)] for k in sorted(theirs)]
    return np.transpose(out, [came.index(k) for k in range(mine.ndim)])


def dot(g, x, y, slot):
    if x.ndim <= 2 and y.ndim <= 2:
        return matmul(g, x, y, slot)
    return tensordot(g, x, y, ((x.ndim - 1,), (max(y.ndim - 2, 0),)), slot)


class Einsum:
    """The adjoint of a sum of products with respect to one factor is a sum of products of the others."""

    def __getitem__(self, slot):
        def rule(g, z, *operands, subscripts):
            x, others = operands[slot], operands[:slot] + operands[slot + 1:]
            product, kept, full, own, grid = _adjoint(subscripts, slot, tuple([np.shape(o) for o in operands]))
            c = contraction.einsum(g, *others, subscripts=product)
            if c.shape != kept:
                c = c.reshape(kept)
            if full != kept:
                c = np.broadcast_to(c, full)
            if grid is None:
                return c
            c = fit(c, own, c.dtype)                      # (here, for nobody sees afterwards which axes were stretched)
            return indexing.scatter(c, *grid, index=tuple([indexing.Slot(k) for k in range(len(grid))]), shape=x.shape)
        return rule


@functools.lru_cache(maxsize=1000)
def _adjoint(subscripts, slot, shapes):
    """(subscripts of g with the other factors; the shape of that with axes of length 1 for letters of this factor alone, which were summed: they are spread; to
    what; what the factor has of these; the index of where its entries lie, if a repeated letter reads a diagonal, or None)."""
    inputs, out = subscripts.split("->")
    terms = inputs.split(",")
    mine, shape = terms[slot], shapes[slot]
    others, sizes = terms[:slot] + terms[slot + 1:], dict(zip(mine, shape))
    elsewhere, have = set(out).union(*others), {}
    for k, (letters, lengths) in enumerate(zip(terms, shapes)):
        have.update({c: n for c, n in zip(letters, lengths) if (c in out or k != slot) and have.get(c, 1) == 1})
    distinct = [*dict.fromkeys(mine)]
    letters = [c for c in distinct if c in elsewhere]
    kept = tuple([have[c] if c in letters else 1 for c in distinct])
    full = tuple([max(sizes[c], n) if sizes[c] and n else 0 for c, n in zip(distinct, kept)])
    grid = None if len(distinct) == len(mine) else [np.arange(sizes[c]).reshape([-1 if c == d else 1 for d in distinct]) for c in mine]
    return ",".join([out, *others]) + "->" + "".join(letters), kept, full, tuple([sizes[c] for c in distinct]), grid


class Getitem:
    """What was read is added where it came from: to zeros, or in place to a sum of cotangents that nobody else holds."""

    def __call__(self, g, z, x, *arrays, index):
        return indexing.scatter(g, *arrays, index=index, shape=x.shape)

    def onto(self, known, g, x, *arrays, index):
        if arrays:
            np.add.at(known, indexing.join(index, arrays), g)
        else:
            part = known[index]
            if type(part) is np.ndarray and part.base is known:          # a view of it: not written back
                part += g
            else:
                known[index] = part + g


class Every:
    """Rows of a primitive that has the cotangents of several operands at once: `every` returns {slot: cotangent}."""

    def __getitem__(self, slot):
        return lambda g, z, *operands, **params: self.every(g, z, (slot,), *operands, **params)[slot]


class Concatenate(Every):
    """Each part has its own piece. `every` cuts those of many slots at once: asked for one by one, those of n parts would take n^2 steps."""

    def every(self, g, z, slots, *parts, axis):
        before, ends = (slice(None),) * axis, [0, *itertools.accumulate([np.shape(p)[axis] for p in parts])]
        return {k: g[(*before, slice(ends[k], ends[k + 1]))] for k in slots}


class Stack(Every):
    """Each part is a piece of length 1."""

    def every(self, g, z, slots, *parts, axis):
        before = (slice(None),) * axis
        return {k: g[(*before, k)] for k in slots}


class Own(Every):
    """What a primitive with rules of its own says."""

    def __init__(self, own):
        self._own = own

    def every(self, g, z, slots, *numbers):
        return self._own.pulled(g, z, numbers)


def setitem_value(g, x, arrays, index):
    """setitem's cotangent of the values: where index arrays name a position more than once, only the value that was written last is there."""
    g = indexing.getitem(g, *arrays, index=index)
    if max([np.size(i) for i in arrays], default=1) == 1:
        return g
    number = np.arange(g.size).reshape(g.shape)
    if any([type(i) in TRACED for i in arrays]):
        last = indexing.getitem(indexing.setitem(np.zeros(np.shape(x), int), number, *arrays, index=index), *arrays, index=index) == number
        return np.where(last, g, 0)
    place, numbers = indexing.join(index, arrays), np.empty(np.shape(x), int)          # (empty: only what is written is read)
    numbers[place] = number
    last = numbers[place] == number
    return g if last.all() else np.where(last, g, 0)


def increment(node):
    """(number of an operand, sum) of a setitem that adds this operand: it writes the sum x[i] + v, v + x[i] or x[i] - v where it has read x[i]. (None, None) for any other."""
    x, total, *arrays = node.operands
    if type(total) is Node and total.primitive.name in ("add", "subtract") and total.dtype is x.dtype:
        for slot, part in enumerate(total.operands[:1 + (total.primitive.name == "add")]):
            if type(part) is Node and part.primitive.name == "getitem" and part.operands[0] is x and part.shape == total.shape \
                    and _same(part.operands[1:], arrays) and _same(part.params["index"], node.params["index"]):
                return 1 - slot, total
    return None, None


def _same(index, other):
    return len(index) == len(other) and all(map(_is, index, other))


def _is(item, other):
    if item is other or type(item) is not type(other):
        return item is other
    if type(item) is Tracer:                           # of an outer recording
        return item.node is other.node
    return np.array_equal(item, other) if type(item) is np.ndarray else type(item) not in (Node, *TRACED) and item == other


def pad(g, widths):
    return g[tuple(slice(lo, n - hi) for (lo, hi), n in zip(widths, g.shape))]


def flipped(x):
    return x.swapaxes(-1, -2)


def tril(x, k=0):
    """np.tril, which makes its mask anew each time."""
    return np.tril(x, k) if isinstance(x, Traced) else np.where(indexing.lower(*x.shape[-2:], k=k), x, 0)


def each(g):
    """One number a matrix, to be multiplied by whole matrices."""
    return g.reshape(g.shape + (1, 1))


def solve_turned(a, g, triangle):
    """a' x = g."""
    return linalg.solve(flipped(a), g, **({"triangle": {"lower": "upper", "upper": "lower"}[triangle["triangle"]]} if triangle else {}))


def solve_matrix(g, z, a, triangle):
    """The cotangent of a in a z = b: that of b times -z'."""
    return -np.matmul(solve_turned(a, g, triangle), flipped(z))


def inv(g, z):
    t = flipped(z)
    return -np.matmul(np.matmul(t, g), t)


def cofactor(g, z, x):
    if x.shape[-1] == 1:                           # of one entry it is 1
        return np.zeros(x.shape, g.dtype)
    if x.shape[-1] <= linalg.FEW_MINORS:           # each is a determinant of what is left, whose gradient are cofactors: no inverse
        rows, columns, sign = linalg.crossed(x.shape[-1])
        index = (Ellipsis, indexing.Slot(0), indexing.Slot(1))
        inner = linalg.cofactor(indexing.getitem(x, rows, columns, index=index))
        return indexing.scatter(each(g * sign.astype(g.dtype)) * inner, rows, columns, index=index, shape=x.shape)
    t = flipped(linalg.inv(x))
    return each(np.sum(g * t, axis=(-2, -1))) * z - np.matmul(np.matmul(z, flipped(g)), t)


def eigh(g, z, lower):
    """v (diag(gw) + F o (v' gv)) v', F_ij = 1 / (w_j - w_i), and 0 for equal ones, which could be exchanged (M. Giles, 2008, section 3.1); of the
    triangle that is read."""
    w, v, n = z[..., 0, :], z[..., 1:, :], z.shape[-1]
    far, apart = np.not_equal(w[..., None, :], w[..., :, None]), w[..., None, :] - w[..., :, None]
    inner = np.where(far, np.matmul(flipped(v), g[..., 1:, :]) / np.where(far, apart, 1), 0) + g[..., :1, :] * np.identity(n, z.dtype)
    s = np.matmul(np.matmul(v, inner), flipped(v))
    s = s + flipped(s) - s * np.identity(n, z.dtype)
    return tril(s) if lower else np.triu(s)


def qr(g, z, x):
    """(gq + q copyltu(m)) inv(r)' with m = r gr' - gq' q (S. Walter, L. Lehmann, 2010; M. Seeger et al., Auto-differentiating linear algebra, 2017, for
    its transpose)."""
    rows = x.shape[-2]
    q, r, gq, gr = z[..., :rows, :], z[..., rows:, :], g[..., :rows, :], np.triu(g[..., rows:, :])
    m = np.matmul(r, flipped(gr)) - np.matmul(flipped(gq), q)
    low = tril(m, -1)
    whole = gq + np.matmul(q, low + flipped(low) + m * np.identity(x.shape[-1], x.dtype))
    return flipped(linalg.solve(r, flipped(whole), triangle="upper"))


def svd(g, z, x):
    """u ((F o (u' gu - gu' u)) s + s (F o (v' gv - gv' v)) + diag(gs)) v' with F_ij = 1 / (s_j^2 - s_i^2), 0 for equal ones, and what gu and gv have outside of what u
    and v span, over s (J. Townsend, Differentiating the singular value decomposition, 2016)."""
    m, n = x.shape[-2:]
    u, s, v, gu, gs, gv = [a[..., cut, :] for a in (z, g) for cut in (slice(0, m), slice(m, m + 1), slice(m + 1, None))]
    far, apart = np.not_equal(s, flipped(s)), s * s - flipped(s * s)

    def twisted(a, ga):
        inner = np.matmul(flipped(a), ga)
        return np.where(far, (inner - flipped(inner)) / np.where(far, apart, 1), 0)
    inner = twisted(u, gu) * s + flipped(s) * twisted(v, gv) + gs * np.identity(s.shape[-1], x.dtype)
    out = np.matmul(np.matmul(u, inner), flipped(v))
    if m != n:
        over_s = np.where(np.equal(s, 0), 0, 1 / np.where(np.equal(s, 0), 1, s))
        a, ga = (u, gu) if m > n else (v, gv)
        rest = (ga - np.matmul(a, np.matmul(flipped(a), ga))) * over_s
        out = out + (np.matmul(rest, flipped(v)) if m > n else np.matmul(u, flipped(rest)))
    return out


def cholesky(g, z):
    """What lies above the diagonal is not read, and has no cotangent (I. Murray, Differentiation of the Cholesky decomposition, 2016, section 3.2)."""
    up, halved = flipped(z), indexing.lower(*z.shape[-2:]) - 0.5 * np.identity(z.shape[-1], z.dtype)
    inner = tril(np.matmul(up, tril(g))) * halved
    s = linalg.solve(up, flipped(linalg.solve(up, flipped(inner), triangle="upper")), triangle="upper")                # inv(z)' inner inv(z), in two solutions
    return tril(s + flipped(s)) * halved


def _numbers(m, n, axes, g):
    """How many entries of the whole spectrum each of the first m stands for, along the axis where that is."""
    k = np.arange(m)
    return np.where((k == 0) | (2 * k == n), 1, 2).astype(g.dtype).reshape([m if k == axes[-1] else 1 for k in range(g.ndim)])


def rfft(g, x, axes, norm):
    """irfft counts an entry twice that stands for two."""
    n = x.shape[axes[-1]]
    return fourier.irfft(g / _numbers(n // 2 + 1, n, axes, g), axes=axes, n=n, norm=fourier.TURNED[norm])


def irfft(g, x, axes, n, norm):
    out = fourier.rfft(g, axes=axes, norm=fourier.TURNED[norm])
    return out * _numbers(n // 2 + 1, n, axes, out)
