"""The tangent rules that need more than a line, and what rows of PUSH share.

What it is: functions that forward_mode.py's book names. As there, a tangent (K, ...) has an axis of directions in front.
What it is not: no book, no dual numbers. Why a file: the book is a table that one reads in one go.

Reference: W. Hillis, G. Steele, Data Parallel Algorithms, CACM 29, 1986 (the scan in push_cumprod).
"""
import math
from functools import partial

import numpy as np

from .nodes import Tracer
from .traced import Traced
from .vocabulary import contraction as c, elementwise as e, indexing as ix, linalg, reductions as r, shaping as s
from .vocabulary.shaping import aligned

# ---- what rows share: axes -----------------------------------------------------------------------------------------------


def behind(axes):
    """Axes of the primal as axes of its tangent, where the directions come first."""
    return tuple([k + 1 for k in axes])


def moved(x, source, target):
    """x with one axis in another place."""
    source, target = source % x.ndim, target % x.ndim
    order = [k for k in range(x.ndim) if k != source]
    order.insert(target, source)
    return x if source == target else s.transpose(x, axes=tuple(order))


# ---- what rows share: functions of one number ------------------------------------------------------------------------------


def ground(x):
    """What a dual number of any depth stands on: an array, or a traced value of another kind."""
    while hasattr(type(x), "primal"):
        x = x.primal
    return x


def widened(constant, x):
    """A constant in the dtype in which it meets x: what is computed from an int8 alone wraps, and its logarithm is taken in float16."""
    dtype = np.result_type(constant.dtype, x.dtype) if hasattr(constant, "dtype") else None
    return constant if dtype is None or constant.dtype == dtype else e.astype(constant, dtype=dtype)


def lifted(constant, x):
    """A plain constant in the arithmetic x stands on: what is computed from constants alone must have 100 digits where x has. A compiled program
    has float64's, so for recorded values a constant stays one."""
    constant, x = widened(constant, x), ground(x)
    if isinstance(constant, Traced) or not isinstance(x, Traced) or isinstance(x, Tracer):
        return constant
    return np.where(False, x, constant)


def one_less(y, x):
    """The exponent y - 1, as x**(y - 1) needs it: 0 instead of -1 where the factor y is 0, and never rounded against 100-digit bases."""
    if type(y) is int:
        return y - 1 if y else 0
    y = widened(y, x)
    if isinstance(y, Traced):
        return np.where(np.logical_and(np.equal(x, 0), np.equal(y, 0)), 0, y - 1)       # at x != 0 this may be differentiated by y again
    less = y - 1
    if np.any(np.not_equal(less + 1, y)):
        less = lifted(y, x) - 1
    return np.where(np.equal(y, 0), 0, less) if np.any(np.equal(y, 0)) else less


def squared_exp(z, negative, left, right):
    """exp(z^2) as erfcx(|z|)/erfc(|z|), as rounding z would be raised to an exponent. erfc(|z|) is left where z is negative and right elsewhere (next to z = 0 either);
    where it is 0, exp(z^2) is infinite."""
    rest = np.where(negative, left, right)
    end = np.equal(rest, 0)
    return np.where(end, np.exp(z * z), e.erfcx(np.where(negative, -z, z)) / np.where(end, 1, rest))


def log_base(x, y):
    """log(x) in x**y, and 0 at x = 0: 0**y does not move with y > 0."""
    x = lifted(float(x) if type(x) is int else x, y)                             # an integer of Python's may be larger than any of NumPy's
    return np.log(np.where(np.equal(x, 0), 1, x))


def length(x, y):
    """hypot(x, y) to divide by: 1 at the origin, where the derivative of hypot is 0."""
    h = np.hypot(x, y)
    return np.where(np.equal(h, 0), 1, h)


def push_tanh(dx, x):
    """dx / cosh(x)^2: 1 - tanh(x)^2 cancels at 18. Of what may be differentiated again by the logistic function: a cosh that overflows has slope inf / inf."""
    if not isinstance(x, Traced):
        return dx * np.square(1 / np.cosh(x))
    y = x + x                                      # the kernels' tanh takes the exponential of it, too, and shares it
    return dx * (4 * e.expit(y) * e.expit(-y))


def larger(dx, x, y):
    """The tangent of x where x > y, half of it at a tie, else 0. Selected, not multiplied: what is not taken may be infinite."""
    return np.where(np.greater(x, y), dx, np.where(np.equal(x, y), dx / 2, 0))


# ---- reductions and scans -----------------------------------------------------------------------------------------------------


def push_var(dx, x, *, axis, keepdims, ddof):
    n = math.prod([x.shape[k] for k in axis])
    centred = x - r.mean(x, axis=axis, keepdims=True)
    centred = centred - r.mean(centred, axis=axis, keepdims=True)            # the mean was rounded: at 1e8 + noise this is eight digits
    return 2 * r.sum(dx * centred, axis=behind(axis), keepdims=keepdims) / (n - ddof)


def push_prod(dx, x, *, axis, keepdims):
    """sum_k dx_k prod_{j != k} x_j: products of all entries before and all after, so that zeros need no division."""
    kept = tuple([k for k in range(x.ndim) if k not in axis])
    shape = tuple([x.shape[k] for k in kept])
    rows = s.reshape(s.transpose(x, axes=kept + axis), shape=shape + (math.prod([x.shape[k] for k in axis]),))               # (kept..., n)
    moves = s.reshape(s.transpose(dx, axes=(0,) + behind(kept + axis)), shape=dx.shape[:1] + rows.shape)               # (K, kept..., n)

    def before(rows):
        one = np.ones(shape + (1,), x.dtype)
        return s.concatenate(one, r.cumprod(rows, axis=len(shape)), axis=len(shape))[..., :-1]

    out = r.sum(moves * before(rows) * before(rows[..., ::-1])[..., ::-1], axis=(len(shape) + 1,), keepdims=False)         # (K, kept...)
    return s.reshape(out, shape=dx.shape[:1] + tuple([1 if k in axis else n for k, n in enumerate(x.shape)])) if keepdims else out


def push_extreme(top):
    """max or min: the mean of the tangents at the extreme entries, so that ties share equally."""
    def rule(dx, x, *, axis, keepdims):
        hit = np.equal(x, top(x, axis=axis, keepdims=True))
        taken = r.sum(np.where(hit, dx, 0), axis=behind(axis), keepdims=keepdims)
        ties = r.sum(e.astype(hit, dtype=x.dtype), axis=axis, keepdims=keepdims)
        return taken / np.where(np.equal(ties, 0), 1, ties)                      # a NaN equals nothing
    return rule


def push_logsumexp(dx, x, *, axis, keepdims):
    """The mean of the tangents with weights exp(x - z), z = logsumexp(x). Divided by their own sum: when x is large z is rounded, all weights alike.
    Entries of -inf weigh nothing."""
    z = r.logsumexp(x, axis=axis, keepdims=True)
    weight = np.exp(x - np.where(np.isfinite(z), z, 0))
    total = r.sum(weight, axis=axis, keepdims=keepdims)
    return r.sum(dx * weight, axis=behind(axis), keepdims=keepdims) / np.where(np.equal(total, 0), 1, total)


def push_cumprod(dx, x, *, axis):
    """Running products of the dual numbers x + dx, by doubling: after each step an entry has taken in twice as many before it."""
    p, d = moved(x, axis, -1), moved(dx, axis + 1, -1)                       # (..., n), (K, ..., n)
    step = 1
    while step < x.shape[axis]:
        q = s.concatenate(np.ones(p.shape[:-1] + (step,), x.dtype), p[..., :-step], axis=p.ndim - 1)
        f = s.concatenate(np.zeros(d.shape[:-1] + (step,), x.dtype), d[..., :-step], axis=d.ndim - 1)
        p, d = p * q, d * q + p * f
        step *= 2
    return moved(d, -1, axis + 1)


# ---- contractions -----------------------------------------------------------------------------------------------------------------


def push_matmul_left(dx, x, y):
    """dx @ y, where a vector x is a matrix of one row, and leading axes of x and y align from the right."""
    if np.ndim(y) == 1:
        return c.matmul(dx, y)                                                       # (K, ..., n, m) @ (m,) -> (K, ..., n)
    if np.ndim(x) > 1:
        return c.matmul(aligned(dx, np.ndim(y)), y)                                  # (K, ..., n, m) @ (..., m, p) -> (K, ..., n, p)
    row = aligned(s.reshape(dx, shape=(dx.shape[0], 1, dx.shape[1])), np.ndim(y))    # (K, m) -> (K, ..., 1, m)
    return c.matmul(row, y)[..., 0, :]                                               # -> (K, ..., p)


def push_matmul_right(dy, x, y):
    """x @ dy, where a vector y is a matrix of one column."""
    if np.ndim(y) > 1:
        return c.matmul(x, aligned(dy, np.ndim(x)))                                  # (..., n, m) @ (K, ..., m, p); or (m,) @ (K, ..., m, p)
    if np.ndim(x) == 1:
        return c.matmul(dy, x)                                                       # (K, m) @ (m,) -> (K,)
    column = aligned(s.reshape(dy, shape=dy.shape + (1,)), np.ndim(x))               # (K, m) -> (K, ..., m, 1)
    return c.matmul(x, column)[..., 0]                                               # -> (K, ..., n)


def push_tensordot_left(dx, x, y, *, axes):
    return c.tensordot(dx, y, axes=(behind(axes[0]), axes[1]))                       # (K, rest of x, rest of y)


def push_tensordot_right(dy, x, y, *, axes):
    out = c.tensordot(x, dy, axes=(axes[0], behind(axes[1])))                        # (rest of x, K, rest of y)
    return moved(out, np.ndim(x) - len(axes[0]), 0)


def push_einsum(k, dx, *operands, subscripts):
    """The same sum with dx in place of operand k, and one letter more for the directions, in that operand and in the result."""
    inputs, out = subscripts.split("->")
    letter = next(a for a in "zyxwvutsrqponmlkjihgfedcbaZYXWVUTSRQPONMLKJIHGFEDCBA" if a not in subscripts)
    terms = inputs.split(",")
    terms[k] = letter + terms[k]
    return c.einsum(*operands[:k], dx, *operands[k + 1:], subscripts=f"{','.join(terms)}->{letter}{out}")


# ---- whole matrices -------------------------------------------------------------------------------------------------------------------


def turned(x):
    """Matrices transposed."""
    return moved(x, -1, -2)


def solved(a, rhs, **triangle):
    """solve(a, rhs[k]) for each direction k: the directions become columns, so that a is factored once."""
    if a.ndim == rhs.ndim:
        return linalg.solve(a, rhs, **triangle)
    columns = moved(rhs, 0, -2)                                                      # (K, ..., n, m) -> (..., n, K, m)
    flat = linalg.solve(a, s.reshape(columns, shape=columns.shape[:-2] + (columns.shape[-2] * columns.shape[-1],)), **triangle)
    return moved(s.reshape(flat, shape=columns.shape), -2, 0)


def push_solve_matrix(da, a, b, **triangle):
    return -solved(a, c.matmul(da, linalg.solve(a, b, **triangle)), **triangle)


def push_inv(dx, x):
    z = linalg.inv(x)
    return -c.matmul(c.matmul(z, dx), z)


def push_slogdet(dx, x):
    """The trace of inv(x) dx."""
    return np.trace(solved(x, dx), axis1=-2, axis2=-1)


def push_cofactor(dx, x):
    """C = det(x) inv(x)': a product; of singular matrices it has no derivative here. Of few rows by Laplace's expansion of each minor, which has one."""
    n = x.shape[-1]
    if n == 1:
        return dx * 0
    if n <= linalg.FEW_MINORS:
        rows, columns, sign = linalg.crossed(n)
        index = (Ellipsis, ix.Slot(0), ix.Slot(1))
        moving = ix.getitem(dx, rows, columns, index=index) * linalg.cofactor(ix.getitem(x, rows, columns, index=index))
        return r.sum(moving, axis=(moving.ndim - 2, moving.ndim - 1), keepdims=False) * sign.astype(dx.dtype)
    z = linalg.cofactor(x)
    rate = np.trace(solved(x, dx), axis1=-2, axis2=-1)
    return rate[..., None, None] * z - c.matmul(solved(turned(x), turned(dx)), z)


def lower_half(x):
    """The part of a matrix on and below its diagonal, the diagonal halved."""
    n = x.shape[-1]
    return np.where(np.tri(n, dtype=bool), x, 0) * (1 - np.eye(n, dtype=x.dtype) / 2)


def symmetric(dx):
    """The tangent of a symmetric matrix of which the lower triangle is read."""
    n = dx.shape[-1]
    return np.where(np.tri(n, dtype=bool), dx, 0) + turned(np.where(np.tri(n, k=-1, dtype=bool), dx, 0))


def push_cholesky(dx, x):
    """z lower_half(inv(z) dx inv(z)') (I. Murray, Differentiation of the Cholesky decomposition, 2016)."""
    z = linalg.cholesky(x)
    left = solved(z, symmetric(dx), triangle="lower")                                # inv(z) dx
    return c.matmul(z, lower_half(solved(z, turned(left), triangle="lower")))


def push_eigh(dx, x, *, lower):
    """Eigenvalues move as v' dx v does, a vector towards the others by v_i' dx v_j / (w_j - w_i) (Golub, Van Loan, 8.1); not towards one of an equal eigenvalue,
    with which it could be exchanged."""
    n, z = x.shape[-1], linalg.eigh(x, lower=lower)
    w, v = z[..., 0, :], z[..., 1:, :]
    moved_to = c.matmul(c.matmul(turned(v), symmetric(dx if lower else turned(dx))), v)                       # (K, ..., n, n)
    across, down = w[..., None, :], w[..., :, None]
    equal, gap = np.equal(across, down), across - down
    vectors = c.matmul(v, np.where(equal, 0, moved_to / np.where(equal, 1, gap)))
    values = r.sum(moved_to * np.eye(n, dtype=x.dtype), axis=(moved_to.ndim - 2,), keepdims=True)
    return s.concatenate(values, vectors, axis=vectors.ndim - 2)


def push_svd(dx, x):
    """With p = u' dx v: singular values move as its diagonal, u and v turn by (p s + s p') and (s p + p' s) over s_j^2 - s_i^2, not towards a vector of an equal value;
    and u, where it is longer, by what of dx v / s it does not span (J. Townsend, Differentiating the singular value decomposition, 2016)."""
    rows, columns = x.shape[-2:]
    z = linalg.svd(x)
    u, row, v = z[..., :rows, :], z[..., rows:rows + 1, :], z[..., rows + 1:, :]
    n, column = row.shape[-1], turned(row)
    p = c.matmul(c.matmul(turned(u), dx), v)
    equal, apart = np.equal(row, column), np.square(row) - np.square(column)

    def turn(a):
        return np.where(equal, 0, a / np.where(equal, 1, apart))

    def beyond(basis, image):
        return np.where(np.equal(row, 0), 0, (image - c.matmul(basis, c.matmul(turned(basis), image))) / np.where(np.equal(row, 0), 1, row))
    du, dv = c.matmul(u, turn(p * row + column * turned(p))), c.matmul(v, turn(column * p + turned(p) * row))
    du = du + beyond(u, c.matmul(dx, v)) if rows > n else du
    dv = dv + beyond(v, c.matmul(turned(dx), u)) if columns > n else dv
    values = r.sum(p * np.eye(n, dtype=x.dtype), axis=(p.ndim - 2,), keepdims=True)
    return s.concatenate(du, values, dv, axis=dx.ndim - 2)


def push_qr(dx, x):
    """With c = q' dx inv(r), whose part below the diagonal says how q turns (S. Walter, L. Lehmann, Algorithmic differentiation of linear algebra functions, 2010)."""
    n, z = x.shape[-1], linalg.qr(x)
    q, upper = z[..., :x.shape[-2], :], z[..., x.shape[-2]:, :]
    right = turned(solved(turned(upper), turned(dx), triangle="lower"))              # dx inv(r)
    inner = c.matmul(turned(q), right)
    below = np.where(np.tri(n, k=-1, dtype=bool), inner, 0)
    rest = inner - (below - turned(below))                                           # dr inv(r): upper
    return s.concatenate(right - c.matmul(q, rest), c.matmul(rest, upper), axis=dx.ndim - 2)


# ---- parts of arrays ------------------------------------------------------------------------------------------------------------------


def directed(index, arrays):
    """(index for arrays with an axis of directions, where that axis stands: 0 or -1).

    NumPy moves the axes of integer arrays to the front when a slice stands between them (x[i, :, j]); then the directions must come last,
    where no axis moves past them.
    """
    fancy = bool(arrays) or any(isinstance(k, (np.ndarray, bool, np.bool_)) for k in index)
    at = [n for n, k in enumerate(index) if fancy and not (k is None or k is Ellipsis or isinstance(k, slice))]
    if not at or at[-1] - at[0] == len(at) - 1:
        return (slice(None), *index), 0
    return ((*index, slice(None)) if any(k is Ellipsis for k in index) else index), -1


def fitted(dv, shape, arrays, index):
    """dv (K, *v.shape) with the rank of the part x[index] that v is written to: NumPy lets v have fewer axes, or more of length 1."""
    hollow = [a if isinstance(a, np.ndarray) else np.zeros(np.shape(a), int) for a in arrays]
    part = np.broadcast_to(np.zeros(()), shape)[ix.join(index, hollow)]
    own = dv.shape[1:]
    return aligned(dv, part.ndim) if len(own) <= part.ndim else s.reshape(dv, shape=dv.shape[:1] + own[len(own) - part.ndim:])


def push_getitem(dx, x, *arrays, index):
    index, at = directed(index, arrays)
    return moved(ix.getitem(moved(dx, 0, at), *arrays, index=index), at, 0)


def push_setitem_array(dx, x, v, *arrays, index):
    index, at = directed(index, arrays)
    return moved(ix.setitem(moved(dx, 0, at), 0.0, *arrays, index=index), at, 0)


def push_setitem_value(dv, x, v, *arrays, index):
    dv = fitted(dv, np.shape(x), arrays, index)
    index, at = directed(index, arrays)
    still = np.zeros(np.shape(x) + dv.shape[:1] if at else dv.shape[:1] + np.shape(x), dv.dtype)
    return moved(ix.setitem(still, moved(dv, 0, at), *arrays, index=index), at, 0)


def push_scatter(dv, v, *arrays, index, shape):
    dv = fitted(dv, shape, arrays, index)
    index, at = directed(index, arrays)
    return moved(ix.scatter(moved(dv, 0, at), *arrays, index=index, shape=shape + dv.shape[:1] if at else dv.shape[:1] + shape), at, 0)


def push_concatenate(k, dx, *parts, axis):
    """dx among zeros, in the place of part k."""
    start = sum([np.shape(p)[axis] for p in parts[:k]])
    whole = list(dx.shape)
    whole[axis + 1] = sum([np.shape(p)[axis] for p in parts])
    place = (slice(None),) * (axis + 1) + (slice(start, start + dx.shape[axis + 1]),)
    return ix.scatter(dx, index=place, shape=tuple(whole))


def push_stack(k, dx, *parts, axis):
    """Likewise."""
    index = (slice(None),) * (axis + 1) + (k,)
    return ix.scatter(dx, index=index, shape=(*dx.shape[:axis + 1], len(parts), *dx.shape[axis + 1:]))


class Variadic:
    """Rows of a primitive with any number of operands: row k is the rule with k as its first argument."""

    def __init__(self, rule):
        self.rule = rule

    def __getitem__(self, k):
        return partial(self.rule, k)
