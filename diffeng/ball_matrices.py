"""Whole matrices of balls: solve, inv, det, ... of the matrices on the last two axes, by flint, in as many digits as are in force.

What it is not: no derivative. Why a file: linear algebra, where ball_arrays.py has sums and places.
"""
import numpy as np
from flint import acb_mat, arb, arb_mat

from .balls import INF, NAN, ONE, ZERO, Undecided, all_finite, box, unsure


def _flint(x):
    return arb_mat(*x.shape, x.ravel().tolist())


def _array(m):
    out = np.empty(m.nrows() * m.ncols(), object)
    out[:] = m.entries()
    return out.reshape(m.nrows(), m.ncols())


def _each(rule, shape=lambda rows, columns: (rows, columns)):
    """The rule applied to every matrix of a stack; where a number is not finite, NaN. shape: of what it answers for one of so many rows and columns."""
    def function(*stacks, **params):
        *batch, rows, columns = stacks[-1].shape
        out = np.empty((*batch, *shape(rows, columns)), object)
        for at in np.ndindex(*batch):
            matrices = [x[at] for x in stacks]
            answer = rule(*matrices, **params) if all(map(all_finite, matrices)) else NAN
            if shape(rows, columns):
                out[at][...] = answer
            else:
                out[at] = answer
        return box(out)
    return function


def _regular(what, compute, *matrices):
    """What needs an inverse: more digits may tell that there is one."""
    if not matrices[0].size:
        return np.zeros(matrices[-1].shape, object)
    try:
        return _array(compute(*map(_flint, matrices)))
    except ZeroDivisionError:
        raise Undecided(f"{what}: the digits do not decide whether the matrix is singular") from None


def _solve(a, b, triangle=None):
    return _regular("solve", lambda a, b: a.solve(b), a, b)


def _inv(x):
    return _regular("inv", lambda x: x.inv(), x)


def _det(x):
    return _flint(x).det() if x.size else ONE


def _slogdet(x):
    value = abs(_det(x))
    if value.contains(0):
        if value.is_zero():
            return -INF
        raise unsure("slogdet", value)
    return value.log()


def _sign(x):
    value = _det(x)
    if value.contains(0) and not value.is_zero():
        raise unsure("slogdet", value)
    return ONE if value > 0 else -ONE if value < 0 else ZERO


def _cofactor(x):
    """By the inverse, or else by the determinants of what is left without a row and a column."""
    try:
        return _det(x) * _inv(x).T
    except Undecided:
        n = len(x)
        out = [(-1) ** (i + j) * _det(np.delete(np.delete(x, i, 0), j, 1)) for i in range(n) for j in range(n)]
        return np.array(out + [None], object)[:-1].reshape(n, n)


def _cholesky(x):
    """Column by column (G. Golub, C. Van Loan, Matrix Computations, 4th ed., 4.2.9)."""
    n = len(x)
    out = np.full((n, n), ZERO, object)
    for j in range(n):
        rest = x[j:, j] - (_array(_flint(out[j:, :j]) * _flint(out[j:j + 1, :j].T))[:, 0] if j else ZERO)
        if not rest[0] > 0:
            if rest[0] < 0 or rest[0].is_zero():
                raise np.linalg.LinAlgError("Matrix is not positive definite")
            raise unsure("cholesky", rest[0])
        root = arb.sqrt(rest[0])
        out[j, j], out[j + 1:, j] = root, rest[1:] / root
    return out


def _floats(x):
    """The matrix of which NumPy is asked where it has a choice: beside the point that is differenced the one at the point itself. There a zero may not be one,
    for which LAPACK needs no reflection, and the signs would jump."""
    from .precise import current_run
    floats, run = np.array([float(v.mid()) for v in x.ravel()]).reshape(x.shape), current_run()
    return floats if run is None else run.hold(floats, "a matrix is factored")


_ANY = arb(0, INF)                       # a vector that no digits tell: a ball without bounds


def _values(matrix):
    """Eigenvalues, of which some may be equal."""
    try:
        return matrix.eig(multiple=True)
    except ValueError:
        raise Undecided("eigh: the digits do not tell eigenvalues apart") from None


def _eigh(x, *, lower):
    """By flint's enclosures of a general matrix's; which way a vector points is NumPy's choice. Equal eigenvalues have no vectors of their own: no digits tell.
    The values do without."""
    n, low = len(x), np.tri(len(x), dtype=bool) if lower else np.tri(len(x), dtype=bool).T
    whole = np.where(low, x, x.T)
    matrix, chosen = acb_mat(n, n, whole.ravel().tolist()), np.linalg.eigh(_floats(whole), "L" if lower else "U")[1]
    try:
        values, vectors = matrix.eig(right=True)
    except ValueError:
        values, vectors = _values(matrix), None
    order, v = sorted(range(n), key=lambda k: float(values[k].real.mid())), np.full((n + 1, n), _ANY, object)
    if vectors is None:
        v[0] = [values[k].real for k in order]
        return v
    for to, k in enumerate(order):
        column = [vectors[i, k] for i in range(n)]
        top = int(np.argmax(np.abs(chosen[:, to])))
        column = [(c / column[top]).real for c in column]                          # flint's are scaled by a complex number
        length = sum([c * c for c in column], ZERO).sqrt()
        sign = ONE if chosen[top, to] > 0 else -ONE
        v[0, to], v[1:, to] = values[k].real, [sign * c / length for c in column]
    return v


def _svd(x):
    """By the eigenvectors of x' x, or of x x' if that is smaller; which way they point is NumPy's choice."""
    u, _, v = np.linalg.svd(_floats(x), full_matrices=False)
    if len(x) >= x.shape[1]:
        return _svd_tall(x, v.T)
    turned = _svd_tall(x.T, u)
    return np.concatenate([turned[x.shape[1] + 1:], turned[x.shape[1]:x.shape[1] + 1], turned[:x.shape[1]]])


def _svd_tall(x, v):
    """v: NumPy's."""
    found = _eigh(_array(_flint(x.T) * _flint(x)), lower=True)[:, ::-1] if x.size else np.zeros((x.shape[1] + 1, x.shape[1]), object)
    for j in range(x.shape[1]):
        top = int(np.argmax(np.abs(v[:, j])))
        found[0, j] = _root(found[0, j])
        if (v[top, j] > 0) != bool(found[1 + top, j] > 0):
            found[1:, j] = -found[1:, j]
    u = _array(_flint(x) * _flint(found[1:]))
    for j in range(x.shape[1]):
        u[:, j] = u[:, j] / found[0, j] if found[0, j] > 0 else _ANY
    return np.concatenate([u, found])


def _root(x):
    """The square root of what is no less than 0, even where its digits do not tell."""
    return x.sqrt() if x >= 0 else arb(0, x.abs_upper().sqrt().abs_upper()).abs_upper() * arb(0.5, 0.5)


def _qr(x):
    """By the factor of x' x; the signs of r's diagonal are NumPy's."""
    if not x.shape[1]:
        return np.zeros((len(x), 0), object)
    try:
        upper = _cholesky(_array(_flint(x.T) * _flint(x))).T
    except np.linalg.LinAlgError:
        raise Undecided("qr: the digits do not decide whether the columns depend on each other") from None
    sign = np.where(np.diag(np.linalg.qr(_floats(x))[1]) < 0, -1, 1)
    r = np.array([arb(int(k)) for k in sign] + [None], object)[:-1, None] * upper
    return np.concatenate([_array(_flint(r.T).solve(_flint(x.T))).T, r])


def _number(rows, columns):
    return ()


MATRICES = {
    "solve": _each(_solve), "inv": _each(_inv), "cofactor": _each(_cofactor), "cholesky": _each(_cholesky),
    "eigh": _each(_eigh, lambda m, n: (n + 1, n)), "qr": _each(_qr, lambda m, n: (m + n, n)), "svd": _each(_svd, lambda m, n: (m + n + 1, min(m, n))),
    "det": _each(_det, _number), "slogdet": _each(_slogdet, _number), "slogdet_sign": _each(_sign, _number),
}
