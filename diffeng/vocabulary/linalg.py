"""Whole matrices: solve, inv, det, slogdet, cholesky. The last two axes are a matrix, those before it count matrices, and all operands have the same ones.

Operands are floating-point; numpy_functions/linear_algebra.py casts and broadcasts. `work` counts operations, for whoever tells what a graph costs.
"""
import functools
import math

import numpy as np

from ..nodes import Primitive

_ANY = ((0.3, 1.5),)
_ROUND = np.array([1, 2, 0]), np.array([2, 0, 1])
WELL_CONDITIONED = 100                      # |x| |inv(x)|, by Frobenius' norms, up to which the inverse loses next to nothing
FEW_ROWS = 16                               # of matrices whose cofactors are eliminated here, many at a time; of larger ones LAPACK takes less


def _square(x):
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise np.linalg.LinAlgError(f"square matrices are needed, and the shape is {x.shape}")


def _matrix(x):
    _square(x)
    return x.shape, x.dtype


def _number(x):
    _square(x)
    return x.shape[:-2], x.dtype


def _solve(a, b, *, triangle=None):
    if triangle != "lower":                            # elimination leaves what lies above the diagonal as it is, and exchanges no rows there
        return np.linalg.solve(a, b)
    return np.linalg.solve(a[..., ::-1, ::-1], b[..., ::-1, :])[..., ::-1, :]


def _solved(a, b, *, triangle=None):
    _square(a)
    if b.shape[:-1] != a.shape[:-1]:
        raise ValueError(f"matrices of shape {a.shape} and right-hand sides of shape {b.shape} do not fit: mismatch of rows")
    return b.shape, np.result_type(a, b)


FEW_MINORS = 4                              # rows of matrices whose cofactors are differentiated as determinants of minors: of singular ones, too, and to any order


@functools.cache
def crossed(n):
    """Of an (n, n) matrix without row i and column j: the index of what is left, (n, n, n - 1, n - 1) places; and (-1)^(i + j)."""
    left = np.array([[k for k in range(n) if k != i] for i in range(n)], np.intp).reshape(n, n - 1)
    return left[:, None, :, None], left[None, :, None, :], (-1.0) ** np.add.outer(np.arange(n), np.arange(n))


def _exponents(x, axis):
    """The power of two of the largest entry along an axis."""
    return np.frexp(np.max(np.abs(x), axis=axis, keepdims=True, initial=0))[1]


def _cofactor(x):
    """det(x) inv(x).T, of singular matrices too: up to three rows as products of entries, larger ones from factors of x, of which one is diagonal: the
    determinant without one of its entries takes no division. Rows and columns are brought to one size before, by powers of two, of which the result has all but
    its own. Of many rows it is what that formula says, unless it would lose more than a third of the digits; and of a single matrix that is well-conditioned."""
    if x.shape[-1] == 3:
        after, last = _ROUND                                   # rows and columns go round: so the signs are right
        return x[..., after[:, None], after] * x[..., last[:, None], last] - x[..., after[:, None], last] * x[..., last[:, None], after]
    if x.shape[-1] == 2:
        return x[..., ::-1, ::-1] * np.array([[1, -1], [-1, 1]], x.dtype)
    if x.shape[-1] == 1:
        return np.ones_like(x)
    if x.ndim == 2 and (out := _of_one(x)) is not None:
        return out
    bad = ~np.isfinite(x).all(axis=(-2, -1), keepdims=True)
    x = np.where(bad, np.eye(x.shape[-1], dtype=x.dtype), x)
    rows = _exponents(x, -1)
    columns = _exponents(np.ldexp(x, -rows), -2)
    out = (_by_elimination if x.shape[-1] <= FEW_ROWS else _by_inverse)(np.ldexp(x, -rows - columns))
    out = np.ldexp(out, np.sum(rows, axis=-2, keepdims=True) - rows + np.sum(columns, axis=-1, keepdims=True) - columns)
    return np.where(bad, np.array(np.nan, x.dtype), out)


@np.errstate(all="ignore")
def _of_one(x):
    """Cofactors of a matrix that is well-conditioned, in five calls of NumPy's where an elimination takes a hundred and more; else None."""
    det = np.linalg.det(x)
    if abs(det) >= np.finfo(x.dtype).tiny and np.isfinite(det):
        inverse = np.linalg.inv(x)
        if np.vdot(x, x) * np.vdot(inverse, inverse) <= WELL_CONDITIONED ** 2:
            return det * inverse.T


def _without_one(d):
    """The products of all others."""
    one = np.ones_like(d[..., :1])
    before = np.cumprod(np.concatenate([one, d[..., :-1]], axis=-1), axis=-1)
    return before * np.flip(np.cumprod(np.concatenate([one, np.flip(d, -1)[..., :-1]], axis=-1), axis=-1), -1)


def _by_inverse(x):
    """Cofactors; of matrices that are singular, or nearly so, by their singular values."""
    det, norm = np.linalg.det(x)[..., None, None], np.linalg.norm
    inverse = np.swapaxes(np.linalg.inv(np.where(det == 0, np.eye(x.shape[-1], dtype=x.dtype), x)), -1, -2)
    fine = (det != 0) & np.isfinite(det) & (norm(x, axis=(-2, -1), keepdims=True) * norm(inverse, axis=(-2, -1), keepdims=True) < np.finfo(x.dtype).eps ** (-1 / 3))
    return det * inverse if fine.all() else np.where(fine, det * inverse, _by_singular_values(x))


def _by_singular_values(x):
    """Cofactors, with x = U S V."""
    u, s, v = np.linalg.svd(x)
    sign = np.sign(np.linalg.det(u) * np.linalg.det(v))[..., None, None]
    return (sign * _without_one(s)[..., None, :] * u) @ v


def _by_elimination(x):
    """Cofactors, with L D U = x after exchanges of rows and columns that bring the largest entry left to the diagonal (complete pivoting: G. Golub, C. Van Loan,
    Matrix Computations, 4th ed., 3.4.8): a diagonal entry is 0 only where nothing else is left. All matrices at once."""
    n = x.shape[-1]
    a = x.reshape(math.prod(x.shape[:-2]), n, n).copy()
    each, sign, adjoint = np.arange(len(a)), np.ones(len(a), x.dtype), np.zeros_like(a)
    adjoint[:] = np.eye(n, dtype=x.dtype)
    columns, d = np.tile(np.arange(n), (len(a), 1)), np.empty((len(a), n), x.dtype)
    for k in range(n):
        i, j = (k + place for place in np.divmod(np.argmax(np.abs(a[:, k:, k:]).reshape(len(a), (n - k) ** 2), axis=-1), n - k))
        for rows, place in (a, i), (adjoint, i), (np.swapaxes(a, -1, -2), j), (columns, j):
            rows[:, k], rows[each, place] = rows[each, place], rows[:, k].copy()
        sign *= np.where(i == k, 1, -1) * np.where(j == k, 1, -1)
        d[:, k] = a[:, k, k]
        pivot = np.where(d[:, k, None] == 0, 1, d[:, k, None])
        adjoint[:, k + 1:] -= (a[:, k + 1:, k] / pivot)[..., None] * adjoint[:, None, k]
        a[:, k, k + 1:] /= pivot
        a[:, k + 1:, k + 1:] -= a[:, k + 1:, k, None] * a[:, k, None, k + 1:]
    adjoint *= (sign[:, None] * _without_one(d))[..., None]
    for k in reversed(range(n - 1)):
        adjoint[:, k] -= np.matmul(a[:, k, None, k + 1:], adjoint[:, k + 1:])[:, 0]
    adjoint[each[:, None], columns] = adjoint.copy()
    return np.swapaxes(adjoint, -1, -2).reshape(x.shape)


def _eigh(x, *, lower):
    values, vectors = np.linalg.eigh(x, "L" if lower else "U")
    return np.concatenate([values[..., None, :], vectors], axis=-2)


def _qr(x):
    return np.concatenate(np.linalg.qr(x), axis=-2)


def _svd(x):
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    return np.concatenate([u, s[..., None, :], vh.swapaxes(-1, -2)], axis=-2)


def _singular(x):
    if x.ndim < 2:
        raise np.linalg.LinAlgError(f"matrices are needed, and the shape is {x.shape}")
    return (*x.shape[:-2], sum(x.shape[-2:]) + 1, min(x.shape[-2:])), x.dtype


def _eigen(x, *, lower):
    _square(x)
    return (*x.shape[:-2], x.shape[-1] + 1, x.shape[-1]), x.dtype


def _factors(x):
    if x.ndim < 2 or x.shape[-2] < x.shape[-1]:
        raise np.linalg.LinAlgError(f"matrices are needed with no more columns than rows, and the shape is {x.shape}")
    return (*x.shape[:-2], sum(x.shape[-2:]), x.shape[-1]), x.dtype


solve    = Primitive("solve", _solve, "linalg", None, _ANY * 2, _solved)            # b: matrices, of columns; triangle: "lower" or "upper", of which a has no other
inv      = Primitive("inv", lambda x: np.linalg.inv(x), "linalg", None, _ANY, _matrix)
det      = Primitive("det", lambda x: np.linalg.det(x), "linalg", None, _ANY, _number)
slogdet  = Primitive("slogdet", lambda x: np.linalg.slogdet(x)[1], "linalg", None, _ANY, _number)                  # log|det(x)|
cofactor = Primitive("cofactor", _cofactor, "linalg", None, _ANY, _matrix)                                         # det(x) inv(x).T
cholesky = Primitive("cholesky", lambda x: np.linalg.cholesky(x), "linalg", None, _ANY, _matrix)                   # reads the lower triangle
eigh     = Primitive("eigh", _eigh, "linalg", None, _ANY, _eigen)                   # reads one triangle; eigenvalues in a row, below it vectors as columns
qr       = Primitive("qr", _qr, "linalg", None, _ANY, _factors)                     # q, and below it r
svd      = Primitive("svd", _svd, "linalg", None, _ANY, _singular)                  # u, below it the singular values in a row, below it v
slogdet_sign = Primitive("slogdet_sign", lambda x: np.linalg.slogdet(x)[0], "linalg", (), _ANY, _number)

_PARTS = {"cholesky": 1 / 3, "det": 2 / 3, "slogdet": 2 / 3, "slogdet_sign": 2 / 3, "inv": 2, "cofactor": 8 / 3, "eigh": 9}


def work(name, shapes):
    """Operations, multiplications and additions counted apart, to leading order (G. Golub, C. Van Loan, Matrix Computations, 4th ed., 3.2, 4.2, 5.2, 8.3, 8.6)."""
    *batch, m, n = shapes[0]
    if name == "qr":                                   # both factors
        return int(math.prod(batch) * (4 * m * n * n - 4 / 3 * n ** 3))
    if name == "svd":
        m, n = max(m, n), min(m, n)
        return int(math.prod(batch) * (6 * m * n * n + 20 * n ** 3))
    each = 2 / 3 * n ** 3 + 2 * n * n * shapes[1][-1] if name == "solve" else _PARTS[name] * n ** 3
    return int(math.prod(batch) * each)
