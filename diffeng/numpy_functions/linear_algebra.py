"""Whole matrices: np.linalg.solve, inv, det, slogdet, cholesky, and what is made of them."""
import math
import operator
from typing import Any, NamedTuple

import numpy as np

from ..complex_values import block, is_complex, parts as complex_parts
from ..errors import refuse
from ..numpy_api import arrayed, axis_of, plain
from ..vocabulary import elementwise as e, linalg, shaping as s
from .table import implements


class EighResult(NamedTuple):
    eigenvalues: Any
    eigenvectors: Any


class QRResult(NamedTuple):
    Q: Any
    R: Any


class SlogdetResult(NamedTuple):
    sign: Any
    logabsdet: Any


def _floating(*operands):
    """Operands as NumPy casts them for LAPACK: integers become float64."""
    operands = [arrayed(x) for x in operands]
    return [x if x.dtype.kind in "fc" else e.astype(x, dtype=np.dtype(float)) for x in operands]


def _together(a, b):
    """Two stacks of matrices, as many in each."""
    batch = a.shape[:-2]
    if b.shape[:-2] == batch:
        return a, b
    batch = np.broadcast_shapes(batch, b.shape[:-2])
    return [x if x.shape[:-2] == batch else np.broadcast_to(x, batch + x.shape[-2:]) for x in (a, b)]


def _shared(a, b, triangle):
    """Solutions for matrices that others of the stack have in common, which are factored once: what lies along these axes becomes more columns. None where there are none."""
    batch = (1,) * (b.ndim - a.ndim) + a.shape[:-2]
    common = [k for k, (m, n) in enumerate(zip(batch, b.shape)) if m == 1 < n]
    if not common or a.ndim > b.ndim:
        return None
    kept = [k for k in range(len(batch)) if k not in common]
    order = (*kept, len(batch), *common, len(batch) + 1)                             # rows, and then all that are columns
    several, rank = s.transpose(b, axes=order), len(kept) + 1
    a = s.reshape(a, shape=tuple([batch[k] for k in kept]) + a.shape[-2:])
    x = linalg.solve(*_together(a, s.reshape(several, shape=(*several.shape[:rank], math.prod(several.shape[rank:])))), **triangle)
    return s.transpose(s.reshape(x, shape=x.shape[:rank] + several.shape[rank:]), axes=tuple(np.argsort(order).tolist()))


@implements(np.linalg.solve)
def solve(a, b):
    return solved(a, b)


def solved(a, b, **triangle):
    """np.linalg.solve; triangle="lower" or "upper": a has nothing else."""
    a, b = _floating(a, b)
    if b.ndim == 1:                                # one vector, for each matrix the same
        x = linalg.solve(*_together(a, s.reshape(b, shape=(*b.shape, 1))), **triangle)
        return s.reshape(x, shape=x.shape[:-1])
    if a.ndim < 2 or not b.ndim:
        return linalg.solve(a, b, **triangle)
    shared = _shared(a, b, triangle)
    return linalg.solve(*_together(a, b), **triangle) if shared is None else shared


@implements(np.linalg.inv)
def inv(a):
    return linalg.inv(*_floating(a))


@implements(np.linalg.det)
def det(a):
    return linalg.det(*_floating(a))


@implements(np.linalg.slogdet)
def slogdet(a):
    (a,) = _floating(a)
    return SlogdetResult(linalg.slogdet_sign(a), linalg.slogdet(a))


@implements(np.linalg.cholesky)
def cholesky(a, /, *, upper=False):
    (a,) = _floating(a)
    if upper:                                      # reads the upper triangle
        return np.swapaxes(linalg.cholesky(np.swapaxes(a, -1, -2)), -1, -2)
    return linalg.cholesky(a)


def _eigen(a, UPLO):
    (a,) = _floating(a)
    if UPLO not in ("L", "U", "l", "u"):
        raise refuse(ValueError, f"eigh{{here}}: UPLO is {UPLO!r}; choose 'L' or 'U'")
    return linalg.eigh(a, lower=UPLO in "Ll")


@implements(np.linalg.eigh)
def eigh(a, UPLO="L"):
    found = _eigen(a, UPLO)
    return EighResult(found[..., 0, :], found[..., 1:, :])


@implements(np.linalg.eigvalsh)
def eigvalsh(a, UPLO="L"):
    """Of complex matrices those of the real ones of twice as many rows, where each is twice."""
    a = arrayed(a)
    if is_complex(a):
        a, b = complex_parts(np.swapaxes(a, -1, -2) if UPLO in "Uu" else a)                # (conjugate, with the same eigenvalues)
        b = np.tril(b, -1)
        return eigvalsh(block(a, b - np.swapaxes(b, -1, -2)))[..., ::2]
    return _eigen(a, UPLO)[..., 0, :]


@implements(np.linalg.qr)
def qr(a, mode="reduced"):
    (a,) = _floating(a)
    m, n = a.shape[-2:] if a.ndim > 1 else (0, 0)
    if mode == "complete" and m > n or mode not in ("reduced", "complete", "r"):
        raise refuse(TypeError, f"qr{{here}}: mode={mode!r} is not supported on traced values; there are 'reduced' and 'r'")
    k = min(m, n) if a.ndim > 1 else n
    found = linalg.qr(a[..., :k] if a.ndim > 1 else a)
    q, r = found[..., :m, :], found[..., m:, :]
    if n > k:                                      # the columns behind a square are what q makes of them
        r = np.concatenate([r, np.swapaxes(q, -1, -2) @ a[..., k:]], axis=-1)
    return r if mode == "r" else QRResult(q, r)


class SVDResult(NamedTuple):
    U: Any
    S: Any
    Vh: Any


@implements(np.linalg.svd)
def svd(a, full_matrices=True, compute_uv=True, hermitian=False):
    if not compute_uv:
        return svdvals(a)
    (a,) = _floating(a)
    if hermitian or full_matrices and a.ndim > 1 and a.shape[-1] != a.shape[-2]:
        raise refuse(TypeError, "svd{here}: on traced values write np.linalg.svd(x, full_matrices=False): the vectors beyond the singular ones are any, and have "
                                "no derivative" + (" (hermitian=True is not supported: np.linalg.eigh)" if hermitian else ""))
    found, m = linalg.svd(a), a.shape[-2]
    return SVDResult(found[..., :m, :], found[..., m, :], np.swapaxes(found[..., m + 1:, :], -1, -2))


@implements(np.linalg.svdvals)
def svdvals(x, /):
    (x,) = _floating(x)
    return linalg.svd(x)[..., x.shape[-2] if x.ndim > 1 else 0, :]


def ranks(a, rtol=None, atol=0.0, hermitian=False):
    """How many singular values of each matrix are larger than atol + rtol times the largest of them (rtol: eps times the longer side): numbers, which Python sees."""
    (a,) = _floating(a)
    if not a.size:
        return np.zeros(a.shape[:-2], int)
    return _counted(e.absolute(_eigen(a, "L")[..., 0, :]) if hermitian else svdvals(a), a.shape, rtol, atol)


def _counted(values, shape, rtol, atol=0.0):
    """`ranks`, by the singular values of matrices of this shape."""
    rtol, atol = [np.asarray(plain(x))[..., None] for x in (max(shape[-2:]) * np.finfo(values.dtype).eps if rtol is None else rtol, atol)]
    return np.asarray(plain(np.sum(e.greater(values, np.max(values, axis=-1, keepdims=True) * rtol + atol), axis=-1)))


@implements(np.linalg.matrix_rank)
def matrix_rank(A, tol=None, hermitian=False, *, rtol=None):
    A = arrayed(A)
    if A.ndim < 2:
        return int(plain(np.any(e.not_equal(A, 0))))
    found = ranks(A, rtol if tol is None else 0.0, 0.0 if tol is None else tol, hermitian)
    return found if found.ndim else found[()]


@implements(np.linalg.cond)
def cond(x, p=None):
    x = arrayed(x)
    if p in (None, 2, -2):
        s = svdvals(x)
        largest, smallest = np.max(s, axis=-1), np.min(s, axis=-1)              # equal ones share alike
        return smallest / largest if p == -2 else largest / smallest
    return np.linalg.norm(x, p, axis=(-2, -1)) * np.linalg.norm(inv(x), p, axis=(-2, -1))


@implements(np.linalg.pinv)
def pinv(a, rcond=None, hermitian=False, *, rtol=np._NoValue):
    """By what its rank is; the derivative is that among matrices of this rank (Golub & Pereyra 1973)."""
    (a,) = _floating(a)
    if hermitian:
        a = np.tril(a) + np.swapaxes(np.tril(a, -1), -1, -2)
    if rcond is not None and rtol is not np._NoValue:
        raise refuse(ValueError, "pinv{here}: rcond and rtol are two names of one number; give one of them")
    return pinv_of_ranks(a, ranks(a, rcond if rcond is not None else 1e-15 if rtol is np._NoValue else rtol))


def pinv_of_ranks(a, rank):
    """Of matrices that have these ranks."""
    if rank.size and (rank != rank.flat[0]).any():
        return np.stack([pinv_of_ranks(a[k], rank[k]) for k in range(len(a))])
    return pinv_of_rank(a, int(rank.flat[0]) if rank.size else min(a.shape[-2:]))


def pinv_of_rank(a, rank):
    """a = C inv(M) B with B = U' a, C = a V and M = U' a V, where the columns of U and V, which are held, are its first singular vectors: B and C have full rank."""
    if rank == 0:
        return np.swapaxes(a * 0, -1, -2)
    if rank == min(a.shape[-2:]):
        if a.shape[-2] < a.shape[-1]:
            return np.swapaxes(pinv_of_rank(np.swapaxes(a, -1, -2), rank), -1, -2)
        q, r = qr(a)
        return solved(r, np.swapaxes(q, -1, -2), triangle="upper")
    u, _, v = svd(e.stop_gradient(a), full_matrices=False)
    u, v = np.swapaxes(u[..., :rank], -1, -2), np.swapaxes(v[..., :rank, :], -1, -2)
    return pinv_of_rank(u @ a, rank) @ (u @ a @ v) @ pinv_of_rank(a @ v, rank)


class LstsqResult(NamedTuple):
    x: Any
    residuals: Any
    rank: int
    s: Any


@implements(np.linalg.lstsq)
def lstsq(a, b, rcond=None):
    """The shortest of the solutions, by what the rank is."""
    a, b = _floating(a, b)
    both = np.result_type(a.dtype, b.dtype)
    a, b = e.astype(a, dtype=both), e.astype(b, dtype=both)
    (m, n), values = a.shape, svdvals(a)
    rank = int(_counted(values, a.shape, np.finfo(both).eps if rcond == -1 else rcond)) if a.size else 0
    x = lstsq_of_rank(a, b, rank)
    off = b - a @ x
    residuals = np.sum(np.reshape(off * off, (m, -1)), axis=0) if m > n == rank else np.zeros(0, a.dtype)
    return LstsqResult(x, residuals, np.int32(rank), values)


def lstsq_of_rank(a, b, rank):
    """The shortest x with the least |a @ x - b|, for a matrix of this rank."""
    if rank < a.shape[1] or a.shape[0] < a.shape[1]:
        return pinv_of_rank(a, rank) @ b
    q, r = qr(a)
    return solved(r, np.swapaxes(q, -1, -2) @ b, triangle="upper")


@implements(np.linalg.matrix_power)
def matrix_power(a, n):
    n, out, a = operator.index(n), None, arrayed(a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise refuse(np.linalg.LinAlgError, f"matrix_power{{here}}: square matrices are needed, and the shape is {a.shape}")
    if n < 0:
        a, n = inv(a), -n
    if n == 3:
        return a @ a @ a
    while n:                                       # by squaring, as NumPy does
        out = (a if out is None else out @ a) if n % 2 else out
        n //= 2
        a = a @ a if n else a
    return np.array(np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape)) if out is None else out


@implements(np.linalg.tensorsolve)
def tensorsolve(a, b, axes=None):
    a, b = arrayed(a), arrayed(b)
    if axes is not None:
        last = [axis_of(k, a.ndim) for k in axes]
        a = np.transpose(a, [k for k in range(a.ndim) if k not in last] + last)
    unknown = a.shape[b.ndim:]
    if math.prod(unknown) != math.prod(a.shape[:b.ndim]):
        raise refuse(np.linalg.LinAlgError, f"tensorsolve{{here}}: the axes of {a.shape} do not make a square matrix")
    return np.reshape(solve(np.reshape(a, (-1, math.prod(unknown))), np.ravel(b)), unknown)


@implements(np.linalg.tensorinv)
def tensorinv(a, ind=2):
    a = arrayed(a)
    if ind <= 0:
        raise refuse(ValueError, f"tensorinv{{here}}: ind is {ind}, and must be greater than 0")
    return np.reshape(inv(np.reshape(a, (math.prod(a.shape[:ind]), -1))), a.shape[ind:] + a.shape[:ind])
