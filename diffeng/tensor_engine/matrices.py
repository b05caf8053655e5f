"""torch.linalg's functions: of the matrices on the last two axes of tensors.

What it is: PyTorch's signatures and named results; each is one operation, numpy.linalg's of the same name, whose derivative the engine has. diffeng.linalg calls
them where an argument is a tensor. Raises RuntimeError for singular matrices and for integers, as PyTorch does.
"""
import collections

import numpy as np

from .. import linalg as plain
from ..errors import refuse
from ..numpy_functions.linear_algebra import lstsq_of_rank, pinv_of_rank
from ..vocabulary.elementwise import stop_gradient
from .core import Operation, TensorBase, beside, constant
from .functions import FUNCTIONS as OF_TENSORS, operand, stack
from .keywords import answering
from .operations import OPS
from .rules import axis, name_of, torch_error


def _operation(name, function):
    def checked(*operands, **params):
        for x in operands:
            if hasattr(x, "dtype") and x.dtype.kind != "f":
                raise torch_error(RuntimeError, f"linalg.{name}: Expected a floating point or complex tensor as input. Got {name_of(x.dtype)}: convert it with .float()")
        out = function(*operands, **params)
        return tuple(out) if isinstance(out, tuple) else out
    return Operation(checked, name)


def _solve(a, b, left):
    if not left:
        return np.swapaxes(_solve(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2), True), -1, -2)
    if b.ndim > 1 and b.ndim == a.ndim - 1 and b.shape == a.shape[:-1]:          # a vector for each matrix
        return np.linalg.solve(a, b[..., None])[..., 0]
    return np.linalg.solve(a, b)


def _solve_triangular(a, b, upper, left, unitriangular):
    if not left:
        return np.swapaxes(_solve_triangular(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2), not upper, True, unitriangular), -1, -2)
    return plain.solve_triangular(a, b, lower=not upper, unit_diagonal=unitriangular)


def _symmetric(a, lower):
    """The symmetric matrix of which a has one triangle, whose gradient is shared out between both, as PyTorch has it."""
    half = (a + np.swapaxes(a, -1, -2)) / 2
    return half + stop_gradient(plain._mirrored(a, lower) - half)


def _cholesky(a, upper):
    low = np.linalg.cholesky(_symmetric(a, True))
    return np.swapaxes(low, -1, -2) if upper else low


def _eigh(a, UPLO):
    return np.linalg.eigh(_symmetric(a, UPLO in "Ll"))


_OPS = {name: _operation(name, function) for name, function in {
    "solve": _solve, "solve_triangular": _solve_triangular, "inv": np.linalg.inv, "det": np.linalg.det, "slogdet": np.linalg.slogdet, "cholesky": _cholesky,
    "eigh": _eigh, "qr": np.linalg.qr, "svd": np.linalg.svd, "svdvals": lambda a: np.linalg.svd(a, compute_uv=False), "pinv": pinv_of_rank, "symmetric": _symmetric, "lstsq": lstsq_of_rank,
    "matrix_power": np.linalg.matrix_power, "matrix_exp": plain.expm, "matrix_norm": np.linalg.norm, "cond": np.linalg.cond, "cross": np.cross,
    "tensorsolve": np.linalg.tensorsolve, "tensorinv": np.linalg.tensorinv}.items()}
_RETURNS = {name: collections.namedtuple(name, fields) for name, fields in {
    "slogdet": "sign logabsdet", "eigh": "eigenvalues eigenvectors", "qr": "Q R", "svd": "U S Vh", "lstsq": "solution residuals rank singular_values"}.items()}


def solve(A, B, *, left=True):
    """X with A @ X = B, or X @ A = B. A: (..., n, n). B: (n,), (..., n) or (..., n, k)."""
    return _OPS["solve"](operand(A), operand(B), left=left)


def solve_triangular(A, B, *, upper, left=True, unitriangular=False):
    """X with A @ X = B, or X @ A = B, for a triangular A: the other triangle is not read. A: (..., n, n). B: (..., n, k)."""
    return _OPS["solve_triangular"](operand(A), operand(B), upper=upper, left=left, unitriangular=unitriangular)


def inv(A):
    """The inverse of each matrix."""
    return _OPS["inv"](A)


def det(A):
    """The determinant of each matrix."""
    return _OPS["det"](A)


def slogdet(A):
    """(sign, logabsdet): the determinant's sign, and the logarithm of its absolute value."""
    return _RETURNS["slogdet"](*_OPS["slogdet"](A))


def logdet(A):
    """The logarithm of the determinant; NaN where it is negative."""
    sign, value = slogdet(A)
    return OPS["where"](OPS["lt"](sign, 0.0), float("nan"), value)


def cholesky(A, *, upper=False):
    """L, lower triangular, with A = L @ L.T, or its transpose. A: symmetric positive definite, else RuntimeError."""
    return _OPS["cholesky"](A, upper=upper)


def eigh(A, UPLO="L"):
    """(eigenvalues in ascending order, eigenvectors as columns) of symmetric matrices, of which one triangle is read."""
    return _RETURNS["eigh"](*_OPS["eigh"](A, UPLO=UPLO))


def eigvalsh(A, UPLO="L"):
    """The eigenvalues of eigh."""
    return eigh(A, UPLO)[0]


def qr(A, mode="reduced"):
    """(Q, R) with A = Q @ R. mode: "reduced", "complete" (with a gradient only where there are no more rows than columns), or "r", for which Q is empty."""
    if mode == "r":
        return _RETURNS["qr"](constant(np.zeros(0, A.dtype), ()), _OPS["qr"](A, mode="r"))
    return _RETURNS["qr"](*_OPS["qr"](A, mode=mode))


def svd(A, full_matrices=True, *, driver=None):
    """(U, S, Vh) with A = U @ diag(S) @ Vh. driver has no effect. full_matrices=True has a gradient only for square ones: further vectors are any."""
    return _RETURNS["svd"](*_OPS["svd"](A, full_matrices=full_matrices))


def svdvals(A, *, driver=None):
    """The singular values, the largest first. driver has no effect."""
    return _OPS["svdvals"](A)


def pinv(A, rcond=None, *, atol=None, rtol=None, hermitian=False):
    """The pseudo-inverse of each matrix, in which singular values up to the tolerance of matrix_rank count as 0. rcond: another name of rtol.

    The gradient is that among matrices of this rank. hermitian: A is symmetric, and its lower triangle is read.
    """
    A = _OPS["symmetric"](A, lower=True) if hermitian else A
    ranks = np.unique(_ranks(A, atol, rcond if rtol is None else rtol, False))
    if len(ranks) > 1:
        return stack([pinv(a, atol=atol, rtol=rcond if rtol is None else rtol) for a in A])
    return _OPS["pinv"](A, rank=int(ranks[0]) if len(ranks) else 0)


def lstsq(A, B, rcond=None, *, driver=None):
    """(solution, residuals, rank, singular_values): the shortest of the solutions with the least |A @ X - B|. A: (..., m, n). B: (..., m, k).

    rcond: singular values up to this part of the largest one count as 0. driver: PyTorch's word for the routine, which decides what else there is: with "gelsy" (the usual
    one) the rank, with "gels" residuals, with "gelsd" and "gelss" all. residuals: sums of squares, where m > n and the rank is full.
    """
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise refuse(RuntimeError, f"linalg.lstsq{{here}}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), and is {driver!r}")
    A, B = operand(A), operand(B)
    if B.ndim == A.ndim - 1 and B.shape == A.shape[:-1]:          # a vector for each matrix
        found = lstsq(A, B.unsqueeze(-1), rcond, driver=driver)
        return found._replace(solution=found.solution.squeeze(-1))
    (m, n), ranks = A.shape[-2:], _ranks(A, None, rcond, False)
    full = bool(np.all(ranks == min(m, n)))
    X = _OPS["lstsq"](A, B, rank=int(ranks)) if A.ndim == 2 else OPS["matmul"](pinv(A, rcond), B)
    none = A.new_zeros(0)
    residuals = OPS["sum"](OPS["square"](OPS["sub"](OPS["matmul"](A, X), B)), dim=-2) if m > n and full and driver not in (None, "gelsy") else none
    return _RETURNS["lstsq"](X, residuals, none.long() if driver == "gels" else beside(A, ranks), svdvals(A) if driver in ("gelsd", "gelss") else none)


def matrix_power(A, n):
    """A @ A @ ... of n factors; of a negative n, of the inverse."""
    return _OPS["matrix_power"](A, n=n)


def matrix_exp(A):
    """The exponential of each matrix."""
    return _OPS["matrix_exp"](A)


def _ranks(A, atol, rtol, hermitian):
    a, atol, rtol = A.value, *[x.value[..., None] if isinstance(x, TensorBase) else x for x in (atol, rtol)]
    if a.ndim < 2:
        raise refuse(RuntimeError, f"linalg{{here}}: The input tensor A must have at least 2 dimensions, and has shape {list(a.shape)}: x[:, None] makes a column of a vector")
    if a.dtype.kind != "f":
        raise refuse(RuntimeError, f"linalg{{here}}: Expected a floating point or complex tensor as input. Got {name_of(a.dtype)}: convert it with .float()")
    if not a.size:
        return np.zeros(a.shape[:-2], np.int64)
    if rtol is None:
        rtol = max(a.shape[-2:]) * np.finfo(a.dtype).eps if atol is None else 0.0
    s = abs(np.linalg.eigvalsh(a)) if hermitian else np.linalg.svd(a, compute_uv=False)
    return np.sum(s > np.maximum(0.0 if atol is None else atol, rtol * s.max(-1, keepdims=True)), -1, dtype=np.int64)


def matrix_rank(A, tol=None, *, atol=None, rtol=None, hermitian=False):
    """How many singular values are larger than both atol (tol) and rtol times the largest of them; without either, eps times the larger side is rtol. int64.

    atol, rtol: numbers, or a tensor with one for each matrix. hermitian: A is symmetric; its eigenvalues are looked at.
    """
    return beside(A, _ranks(A, tol if atol is None else atol, rtol, hermitian))


def vander(x, N=None):
    """The powers 0, 1, ..., N - 1 of each entry, along a new last axis; N: by default the length of the last axis."""
    n = x.shape[-1] if N is None else N
    return stack([OPS["pow"](x, k) for k in range(n)], -1) if n else x.new_zeros(*x.shape, 0)


def multi_dot(tensors):
    """The product of several matrices."""
    first, *others = tensors
    for t in others:
        first = OPS["matmul"](first, t)
    return first


def cross(input, other, *, dim=-1):
    """The vector product along an axis of length 3."""
    return _OPS["cross"](operand(input), operand(other), axis=dim)


def cond(A, p=None):
    """The condition number of each matrix, by the 2-norm, or another."""
    return _OPS["cond"](A, p=p)


def _as(x, dtype):
    return x if dtype is None else x.to(dtype)


def vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None):
    """(sum |x|^ord)^(1/ord) over axes, by default all of them; dtype: computed in this one."""
    return OPS["norm"](_as(x, dtype), p=ord, dim=tuple(dim) if isinstance(dim, list) else dim, keepdim=keepdim)


def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None):
    """The norm of each matrix: "fro", "nuc", inf, -inf, 1, -1, 2 or -2."""
    return _OPS["matrix_norm"](_as(A, dtype), ord=ord, axis=tuple([axis(d, A.ndim) for d in dim]), keepdims=keepdim)


def norm(A, ord=None, dim=None, keepdim=False, *, dtype=None):
    """matrix_norm where ord is given, or a text, and there are two axes; else vector_norm."""
    if isinstance(dim, (tuple, list)) and len(dim) == 2 and ord is not None or dim is None and ord is not None and A.ndim == 2:
        return matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    if isinstance(ord, str):
        raise refuse(RuntimeError, f"linalg.norm{{here}}: ord={ord!r} is a norm of matrices: give dim=(one axis, another), and a tensor that has both")
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


def tensorsolve(A, B, dims=None):
    """X with tensordot(A, X, X.ndim) = B."""
    return _OPS["tensorsolve"](operand(A), operand(B), axes=dims)


def tensorinv(A, ind=2):
    """The inverse of tensordot(A, ., ind)."""
    return _OPS["tensorinv"](A, ind=ind)


def vecdot(x, y, *, dim=-1):
    """Sums of products along an axis."""
    return OPS["sum"](OPS["mul"](operand(x), operand(y)), dim=dim)


def diagonal(A, *, offset=0, dim1=-2, dim2=-1):
    """The diagonals of matrices."""
    return A.diagonal(offset, dim1, dim2)


matmul = OF_TENSORS["matmul"]
FUNCTIONS = {"expm": matrix_exp, **{f.__name__: f for f in (solve, solve_triangular, inv, det, slogdet, cholesky, eigh, eigvalsh, qr, svd, svdvals, pinv, lstsq, matrix_power, matrix_exp, matrix_rank,
                                     multi_dot, cross, cond, vector_norm, matrix_norm, norm, tensorsolve, tensorinv, vander, vecdot, diagonal, matmul)}}
IN_TORCH = {name: answering(f) for name, f in {
    "inverse": inv, "det": det, "logdet": logdet, "slogdet": slogdet, "pinverse": pinv, "matrix_power": matrix_power, "matrix_exp": matrix_exp,          # PyTorch's
            "cholesky": lambda input, upper=False: cholesky(input, upper=upper), "cross": lambda input, other, dim=-1: cross(input, other, dim=dim)}.items()}       # own namespace
