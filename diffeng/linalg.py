"""scipy.linalg's and numpy.linalg's functions of matrices, for traced and plain arrays alike. In SciPy's signatures where both have a function.

NumPy's own work on traced values, too; SciPy's convert their arguments to plain arrays. Options that only spend or save time (overwrite_a, check_finite, ...)
are taken, and change nothing.

>>> import numpy as np, diffeng as de
>>> A, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([1.0, 2.0])
>>> print(de.grad(lambda A: de.linalg.solve(A, b, assume_a="pos")[0])(A).round(2))          # of a symmetric matrix one triangle is read
[[-0.12 -0.32]
 [ 0.    0.12]]

Where an argument is a tensor they are torch.linalg's, in its signatures (tensor_engine/matrices.py), and so are the names that only PyTorch has.
"""
import numpy as np

from .interpreters import differs
from .errors import absent, refuse
from .interpreters import OneByOne
from .numpy_api import arrayed
from .numpy_functions import linear_algebra as la
from .shared_names import either

slogdet, matrix_power, tensorsolve, tensorinv = la.slogdet, la.matrix_power, la.tensorsolve, la.tensorinv

TWINS = ("solve", "inv", "det", "cholesky", "cho_factor", "cho_solve", "solve_triangular", "expm", "norm", "eigh", "eigvalsh",
         "qr", "pinv", "lstsq", "svd", "svdvals")          # scipy.linalg's, which convert their arguments

_SYMMETRIC = ("sym", "her", "pos", "symmetric", "hermitian", "positive definite")
_THETA = 5.371920351148152             # the 1-norm up to which the Padé approximant of degree 13 has all digits of float64
_PADE = (64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600, 670442572800, 33522128640, 1323241920,
         40840800, 960960, 16380, 182, 1)


def _last_two(x):
    return np.swapaxes(x, -1, -2)


def _mirrored(a, lower):
    """The symmetric matrix of which a has one triangle."""
    part = np.tril(a) if lower else np.triu(a)
    return part + _last_two(np.tril(a, -1) if lower else np.triu(a, 1))


def solve(a, b, lower=False, overwrite_a=False, overwrite_b=False, check_finite=True, assume_a=None, transposed=False):
    """x with a @ x = b. a: (..., n, n). b: (n,), or (..., n, k).

    assume_a: "gen", "sym", "her" or "pos" (the last three read one triangle of a, the lower one if `lower`), "diagonal", "tridiagonal", "upper triangular", ...
    (what lies outside is not read). transposed: solve a.T @ x = b. Raises LinAlgError for a singular matrix.
    """
    a = arrayed(a)
    if assume_a in _SYMMETRIC:
        a = _mirrored(a, lower)
    elif assume_a in ("upper triangular", "lower triangular"):
        return solve_triangular(a, b, int(transposed), assume_a.startswith("lower"))
    elif assume_a in ("diagonal", "tridiagonal"):
        reach = 0 if assume_a == "diagonal" else 1
        a = np.triu(np.tril(a, reach), -reach)
    elif assume_a not in ("gen", "general", "banded", None):
        raise refuse(ValueError, f"solve{{here}}: assume_a is {assume_a!r}; choose 'gen', 'sym', 'pos', 'diagonal', 'tridiagonal', 'upper triangular' or "
                                 "'lower triangular'")
    return la.solve(_last_two(a) if transposed else a, b)


def inv(a, overwrite_a=False, check_finite=True):
    """The inverse of each matrix. a: (..., n, n). Raises LinAlgError for a singular one."""
    return la.inv(a)


def det(a, overwrite_a=False, check_finite=True):
    """The determinant of each matrix. a: (..., n, n)."""
    return la.det(a)


def norm(a, ord=None, axis=None, keepdims=False, check_finite=True):
    """numpy.linalg.norm."""
    return np.linalg.norm(a, ord, axis, keepdims)


def cholesky(a, lower=False, overwrite_a=False, check_finite=True):
    """The triangular factor of a symmetric positive definite matrix, a = u.T @ u, or l @ l.T if `lower`: of a, that triangle is read. a: (..., n, n). (NumPy's
    cholesky answers l.) Raises LinAlgError where a is not positive definite."""
    return la.cholesky(a, upper=not lower)


def cho_factor(a, lower=False, overwrite_a=False, check_finite=True):
    """(the factor, lower), for cho_solve. What lies in the other triangle is 0."""
    return cholesky(a, lower), lower


def cho_solve(c_and_lower, b, overwrite_b=False, check_finite=True):
    """x with a @ x = b, from cho_factor(a). b: (n,) or (n, k)."""
    c, lower = c_and_lower
    if np.ndim(b) == 1:                            # the same for each of a stack
        x = cho_solve(c_and_lower, np.reshape(b, (-1, 1)))
        return np.reshape(x, x.shape[:-1])
    first, second = (c, _last_two(c)) if lower else (_last_two(c), c)
    return solve_triangular(second, solve_triangular(first, b, lower=True), lower=False)


def solve_triangular(a, b, trans=0, lower=False, unit_diagonal=False, overwrite_b=False, check_finite=True):
    """x with a @ x = b (trans=1 or "T": a.T @ x = b) for a triangular matrix: the other triangle is not read; with unit_diagonal nor is the diagonal, which counts
    as 1. a: (..., n, n). b: (n,), or (..., n, k)."""
    a = np.tril(a, -int(unit_diagonal)) if lower else np.triu(a, int(unit_diagonal))
    if unit_diagonal:
        a = a + np.identity(a.shape[-1], a.dtype)
    if trans not in (0, 1, 2, "N", "T", "C"):
        raise refuse(ValueError, f"solve_triangular{{here}}: trans is {trans!r}; choose 0, 1, 'N' or 'T'")
    if trans not in (0, "N"):
        a, lower = _last_two(a), not lower
    return la.solved(a, b, triangle="lower" if lower else "upper")


def eigh(a, b=None, *, lower=True, eigvals_only=False, overwrite_a=False, overwrite_b=False, check_finite=True):
    """(eigenvalues in ascending order, eigenvectors as columns) of a symmetric matrix, of which one triangle is read: a @ v = v * w, or a @ v = b @ v * w with a
    symmetric positive definite b. a, b: (..., n, n). eigvals_only: the eigenvalues alone."""
    if b is None:
        found = la.eigh(a, "L" if lower else "U")
        return found[0] if eigvals_only else tuple(found)
    factor = la.cholesky(b, upper=not lower)
    factor = factor if lower else _last_two(factor)                       # b = factor @ factor.T
    half = la.solved(factor, _mirrored(arrayed(a), lower), triangle="lower")
    values, vectors = la.eigh(la.solved(factor, _last_two(half), triangle="lower"), "L" if lower else "U")
    return values if eigvals_only else (values, la.solved(_last_two(factor), vectors, triangle="upper"))


def eigvalsh(a, b=None, *, lower=True, overwrite_a=False, overwrite_b=False, check_finite=True):
    """The eigenvalues of eigh."""
    return eigh(a, b, lower=lower, eigvals_only=True)


def qr(a, overwrite_a=False, lwork=None, mode="full", pivoting=False, check_finite=True):
    """(q, r) with a = q @ r: orthonormal columns, and nothing below the diagonal. a: (..., m, n). mode: "economic" (q has as many columns as the smaller of m and n),
    "full" where there are no more rows than columns, or "r"."""
    a = arrayed(a)
    if pivoting or mode == "full" and a.shape[-2] > a.shape[-1] or mode not in ("full", "economic", "r"):
        raise refuse(ValueError, f"qr{{here}}: mode={mode!r}{' with pivoting' if pivoting else ''} has no derivative here; there is mode='economic'")
    return (la.qr(a, "r"),) if mode == "r" else tuple(la.qr(a))


def svd(a, full_matrices=True, overwrite_a=False, compute_uv=True, check_finite=True, lapack_driver="gesdd"):
    """(u, s, vh) with a = u @ diag(s) @ vh, or s alone. a: (..., m, n). full_matrices=True only of square ones: further vectors are any."""
    found = la.svd(a, full_matrices, compute_uv)
    return tuple(found) if compute_uv else found


def svdvals(a, overwrite_a=False, check_finite=True):
    """The singular values, the largest first."""
    return la.svdvals(a)


def pinv(a, *, atol=None, rtol=None, return_rank=False, check_finite=True):
    """The pseudo-inverse of each matrix, in which singular values up to atol + rtol times the largest one count as 0; rtol: eps times the longer side by default.
    With return_rank also how many are left. The derivative is that among matrices of this rank. a: (..., m, n)."""
    a = arrayed(a)
    rank = la.ranks(a, rtol, 0.0 if atol is None else atol)
    found = la.pinv_of_ranks(a, rank)
    return (found, rank) if return_rank else found


def lstsq(a, b, cond=None, overwrite_a=False, overwrite_b=False, check_finite=True, lapack_driver=None):
    """(x, residuals, rank, singular values): the shortest x with the least |a @ x - b|, where singular values up to cond (eps by default) times the largest one count as 0.
    a: (m, n). b: (m,) or (m, k)."""
    x, residuals, rank, s = la.lstsq(a, b, -1 if cond is None else cond)
    return x, residuals if np.ndim(b) > 1 or not residuals.shape[0] else residuals[0], rank, s


def expm(A):
    """The exponential of each matrix. A: (..., n, n).

    Scaling and squaring of the Padé approximant of degree 13 (N. Higham, The scaling and squaring method for the matrix exponential revisited, SIAM J. Matrix
    Anal. Appl. 26, 2005). How often is decided by the largest 1-norm of all, and is looked at when it is compiled.
    """
    A = arrayed(A)
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise refuse(np.linalg.LinAlgError, f"expm{{here}}: square matrices are needed, and the shape is {A.shape}")
    if 0 in A.shape:
        return A
    size, halvings = np.max(np.sum(np.abs(A), axis=-2)), 0
    if differs(size):
        raise OneByOne
    if size < np.inf:
        while size > _THETA * 2.0 ** halvings:
            halvings += 1
    A = A / 2.0 ** halvings
    even, b, one = A @ A, [c / _PADE[0] for c in _PADE], np.identity(A.shape[-1], A.dtype)
    fourth = even @ even
    sixth = fourth @ even
    odd = A @ (sixth @ (b[13] * sixth + b[11] * fourth + b[9] * even) + b[7] * sixth + b[5] * fourth + b[3] * even + b[1] * one)
    whole = sixth @ (b[12] * sixth + b[10] * fourth + b[8] * even) + b[6] * sixth + b[4] * fourth + b[2] * even + b[0] * one
    out = la.solve(whole - odd, whole + odd)
    for _ in range(halvings):
        out = out @ out
    return out


def _of_tensors(name):
    def function(tensors):
        from .tensor_engine import matrices
        if name not in matrices.FUNCTIONS:
            raise refuse(TypeError, f"{name}{{here}}: takes arrays; of tensors there are linalg.cholesky and linalg.solve_triangular")
        return matrices.FUNCTIONS[name]
    return function


for _name in (*TWINS, "slogdet", "matrix_power", "tensorsolve", "tensorinv"):
    globals()[_name] = either(globals()[_name], _of_tensors(_name))

_INSTEAD = dict.fromkeys(("eig", "eigvals"), "there are no complex tensors; of symmetric matrices there are eigh and eigvalsh")


def __getattr__(name):
    if name == "LinAlgError":
        return np.linalg.LinAlgError
    from .tensor_engine import matrices
    if name in matrices.FUNCTIONS:
        return matrices.FUNCTIONS[name]
    raise absent(f"module {__name__!r}", name, _INSTEAD)
