"""Whole matrices: what is defined by an equation is differentiated through it; a determinant by its expansion.

With F[p, q](z, x) = 0, sympy differentiates Sum(l[p, q] F[p, q]) by every entry of z, which must be the cotangent g of z: that is an equation for l. Then what x
receives is minus the derivative by x. Both are sums of products again (contract.py). The equations for l are of two kinds, A' l = g, and (l + l') z = g on and
below the diagonal, and their solutions are algebra: no derivative of anything is written down here. Where factors with orthonormal columns are
unknown, too, there are as many equations and multipliers, and three kinds more.

What it is not: no row (definitions.py). Why a file: implicit functions, where index_notation.py has explicit ones.
"""
import numpy as np
import sympy as sp

from ..nodes import Tracing, reachable
from ..recording import computed
from ..vocabulary import elementwise as e, linalg, reductions
from .contract import Plan, plan_of
from .definitions import m, n, p, q

L, H, K, Z, U, V, S, T, X0 = (sp.IndexedBase(name) for name in ("g", "h", "k", "z", "u", "w", "s", "v", "A0"))          # multipliers; unknowns; the first operand
R = sp.symbols("r0 r1", integer=True)
_UNSOLVED = "no solution is known for the equations of this definition: add it to diffeng/symbolic/equations.py"


# ---- by sympy -------------------------------------------------------------------------------------------------------------------------


def _products(expression):
    """(coefficient, product, letters summed over) of each term of a sum."""
    for term in sp.Add.make_args(sp.expand(expression)):
        coefficient, rest = term.as_coeff_Mul()
        if coefficient != 0:
            yield (coefficient, rest.function, {limits[0] for limits in rest.limits}) if isinstance(rest, sp.Sum) else (coefficient, rest, set())


def _plans(residuals):
    """[(coefficient, Plan)] of each residual."""
    return [[(c, plan_of(part, bound, (p, q))) for c, part, bound in _products(r)] for r in residuals]


def _by(residuals, base, at=R):
    """[(coefficient, Plan)]: the derivative of the sum of all residuals, each times its multiplier g, h, k, by base[at]."""
    return [(coefficient * factor, plan_of(part, bound | {p, q}, at)) for multiplier, residual in zip((L, H, K), residuals)
            for coefficient, product, bound in _products(residual) for factor, part, _ in _products(sp.diff(multiplier[p, q] * product, base[at]))]


def _spelled(terms):
    """Plans as texts, to be compared."""
    def factor(which, letters):
        return f"{f'A{which}' if type(which) is int else which}[{','.join(map(str, letters))}]"
    return {f"{c} " + " ".join(sorted([factor(*f) for f in plan.factors])) for c, plan in terms}


_TURNED = {"lower": "upper", "upper": "lower"}


class Implicit:
    """An Equation row, differentiated: what sympy found, once for all shapes."""

    def __init__(self, row):
        bases = [sp.IndexedBase(f"A{k}") for k in range(row.residual.__code__.co_argcount - 1)]
        residual = row.residual(Z, *bases)
        (self.terms,), self.slopes, self.lower = _plans([residual]), [_by([residual], base) for base in bases], row.lower
        if _spelled(_by([residual], Z)) != ({"1 g[p,r0] z[p,r1]", "1 g[r0,q] z[q,r1]"} if row.lower else {"1 A0[p,r0] g[p,r1]"}):
            raise NotImplementedError(_UNSOLVED)

    def pull(self, slot, g, z, operands, triangle=None):
        solution = _solve_factor(g, z) if self.lower else linalg.solve(_flip(operands[0]), g, **_of(_TURNED.get(triangle)))
        return -_total(self.slopes[slot], dict(enumerate(operands)) | {"g": solution, "z": z}, np.shape(operands[slot]))

    def value(self, z, operands, triangle=None):
        """One step of Newton's from the primitive's value: it stays where it is when it fulfils the equation."""
        residual = _total(self.terms, dict(enumerate(operands)) | {"z": z}, np.shape(z))
        if not self.lower:
            return z - linalg.solve(operands[0], residual, **_of(triangle))
        both = linalg.solve(z, _flip(linalg.solve(z, _mirrored(residual), triangle="lower")), triangle="lower")
        return z - z @ _below(both)


def _of(triangle):
    return {} if triangle is None else {"triangle": triangle}


def _total(terms, arrays, shape):
    """The sum of plans, on stacks of matrices."""
    batch, out = tuple([f"stack{k}" for k in range(len(shape) - 2)]), None
    for coefficient, plan in terms:
        plan = Plan([(which, (*batch, *letters)) for which, letters in plan.factors] or [(None, ())], (*batch, *plan.out), plan.equal)
        part = float(coefficient) * plan({**arrays, None: np.ones(())}, shape)
        out = part if out is None else out + part
    return out


# ---- what solves these equations: algebra -----------------------------------------------------------------------------------------------


def _flip(x):
    return np.swapaxes(x, -1, -2)


def _at(x, places):
    return e.where(places, x, np.zeros((), x.dtype))


def _below(x):
    """On and below the diagonal, the diagonal halved."""
    n = np.shape(x)[-1]
    return _at(x, np.tri(n, k=-1, dtype=bool)) + _at(x, np.eye(n, dtype=bool)) / 2


def _mirrored(x):
    """The symmetric matrix that is x on and below the diagonal."""
    n = np.shape(x)[-1]
    return _at(x, np.tri(n, dtype=bool)) + _flip(_at(x, np.tri(n, k=-1, dtype=bool)))


def _solve_factor(g, z):
    """l with (l + l') z = g on and below the diagonal, l and z with nothing above it: there z' (l + l') z is z' g, and it is symmetric."""
    known = _mirrored(_flip(z) @ _at(g, np.tri(np.shape(z)[-1], dtype=bool)))
    return _below(linalg.solve(_flip(z), _flip(linalg.solve(_flip(z), known, triangle="upper")), triangle="upper"))


# ---- orthonormal factors ----------------------------------------------------------------------------------------------------------------

_ORTHONORMAL = {"1 h[p,r1] u[r0,p]", "1 h[r1,q] u[r0,q]"}
_UNKNOWNS = {          # the sums that are the cotangent of u, and that of what stands with it
    False: ({"1 A0[p,r0] g[p,r1]", "-1 g[r0,r1] w[r1]", *_ORTHONORMAL}, {"-1 g[p,r0] u[p,r0]"}),
    True:  ({"1 g[r0,q] w[r1,q]", *_ORTHONORMAL}, {"1 g[p,r1] u[p,r0]"})}


class Orthonormal:
    """A Factors row, differentiated."""

    def __init__(self, row):
        residuals, places = row.residuals(U, V, X0), R if row.upper else R[:1]
        self.upper, self.residuals = row.upper, _plans(residuals)
        self.slope = _by(residuals, X0)
        if (_spelled(_by(residuals, U)), _spelled(_by(residuals, V, places))) != _UNKNOWNS[row.upper]:
            raise NotImplementedError(_UNSOLVED)

    def _parts(self, z, x):
        """(u, what stands with it): the row of a packed result is first, the matrix last."""
        rows = np.shape(x)[-2]
        return (z[..., :rows, :], z[..., rows:, :]) if self.upper else (z[..., 1:, :], z[..., 0, :])

    def pull(self, g, z, x, lower=True):
        (u, w), (gu, gw) = self._parts(z, x), self._parts(g, x)
        solution = _solve_factors(gu, gw, u, w) if self.upper else _solve_eigenvectors(gu, gw, u, w)
        found = -_total(self.slope, {0: x, "g": solution, "u": u, "w": w}, np.shape(x))
        if self.upper:
            return found
        triangle = np.tri(np.shape(x)[-1], dtype=bool)
        return _at(found + _flip(found), triangle if lower else triangle.T) - _at(found, np.eye(np.shape(x)[-1], dtype=bool))

    def value(self, z, x, lower=True):
        """The primitive's value, less what its residuals say of it."""
        (u, w), n = self._parts(z, x), np.shape(x)[-1]
        x = x if self.upper else _mirrored(x if lower else _flip(x))
        off, skew = (_total(r, {0: x, "u": u, "w": w}, shape) for r, shape in zip(self.residuals, (np.shape(x), (*np.shape(x)[:-2], n, n))))
        size = np.max(np.abs(x), axis=(-2, -1), keepdims=True) if np.size(x) else 1.0
        u = u - off / np.where(np.equal(size, 0), 1, size) - u @ skew
        if self.upper:
            return np.concatenate([u, w + _flip(u) @ off], axis=-2)
        return np.concatenate([(w + np.sum(u * off, axis=-2))[..., None, :], u], axis=-2)


def _solve_eigenvectors(gu, gw, u, w):
    """g with A' g - g diag(w) + u (h + h') = gu and -(u' g)_jj = gw_j: of u c with a symmetric c, (w_i - w_j) 2 c_ij is what is antisymmetric of u' gu; 0 where two
    eigenvalues are equal."""
    turned = _flip(u) @ gu
    apart = w[..., :, None] - w[..., None, :]
    equal = np.equal(w[..., :, None], w[..., None, :])
    c = np.where(equal, 0, (turned - _flip(turned)) / (2 * np.where(equal, 1, apart)))
    return u @ (c - gw[..., None, :] * np.identity(np.shape(u)[-1], u.dtype))


def _solve_factors(gu, gw, u, w):
    """g with g w' + u (h + h') = gu and u' g = gw on and above the diagonal: with h + h' = u' gu - (u' g) w', of which the upper half is known."""
    known = _flip(u) @ gu - _at(gw, ~np.tri(np.shape(w)[-1], k=-1, dtype=bool)) @ _flip(w)
    return _flip(linalg.solve(w, _flip(gu - u @ _mirrored(_flip(known))), triangle="upper"))


# ---- singular values -----------------------------------------------------------------------------------------------------------------------

_SINGULAR = ({"-1 g[r0,r1] s[r1]", *_ORTHONORMAL}, {"-1 g[p,r0] u[p,r0]"}, {"1 A0[p,r0] g[p,r1]", "1 k[p,r1] v[r0,p]", "1 k[r1,q] v[r0,q]"})


class Decomposition:
    """A Singular row, differentiated."""

    def __init__(self, row):
        residuals = row.residuals(U, S, T, X0)
        self.residuals, self.slope = _plans(residuals), _by(residuals, X0)
        if tuple(_spelled(_by(residuals, base, at)) for base, at in ((U, R), (S, R[:1]), (T, R))) != _SINGULAR:
            raise NotImplementedError(_UNSOLVED)

    @staticmethod
    def _parts(z, x):
        rows = np.shape(x)[-2]
        return z[..., :rows, :], z[..., rows, :], z[..., rows + 1:, :]

    def pull(self, g, z, x):
        (u, s, v), (gu, gs, gv) = self._parts(z, x), self._parts(g, x)
        if np.shape(x)[-2] < np.shape(x)[-1]:
            return _flip(self._tall(gv, gs, gu, v, s, u, _flip(x)))
        return self._tall(gu, gs, gv, u, s, v, x)

    def _tall(self, gu, gs, gv, u, s, v, x):
        return -_total(self.slope, {0: x, "g": _solve_singular(gu, gs, gv, u, s, v), "u": u, "s": s, "v": v}, np.shape(x))

    def value(self, z, x):
        """The primitive's value, less what its residuals say of it."""
        u, s, v = self._parts(z, x)
        tall = np.shape(x)[-2] >= np.shape(x)[-1]
        a, b, y = (u, v, x) if tall else (v, u, _flip(x))
        n = np.shape(b)[-1]
        off, left, right = (_total(r, {0: y, "u": a, "s": s, "v": b}, shape)
                            for r, shape in zip(self.residuals, (np.shape(y), (*np.shape(y)[:-2], n, n), (*np.shape(y)[:-2], n, n))))
        size = np.max(np.abs(x), axis=(-2, -1), keepdims=True) if np.size(x) else 1.0
        a, b = a + off / np.where(np.equal(size, 0), 1, size) - a @ left, b - b @ right
        row = (s + np.sum(u * off if tall else v * off, axis=-2))[..., None, :]
        return np.concatenate([a, row, b] if tall else [b, row, a], axis=-2)


def _solve_singular(gu, gs, gv, u, s, v):
    """g with u (h + h') - g diag(s) = gu, A' g + v (k + k') = gv and -(u' g)_jj = gs_j. Of u c + the rest, with A = u diag(s) v', what is antisymmetric of the first
    times u', and of the second times v', are two equations for c_ij and c_ji; 0 where two singular values are equal. The rest is that of -gu over s."""
    first, second = _flip(u) @ gu, _flip(v) @ gv
    first, second = first - _flip(first), second - _flip(second)
    row, column = s[..., None, :], s[..., :, None]
    equal, apart = np.equal(row, column), column * column - row * row
    c = np.where(equal, 0, (first * row + column * second) / np.where(equal, 1, apart)) - gs[..., None, :] * np.identity(np.shape(s)[-1], s.dtype)
    out = u @ c
    if np.shape(u)[-2] == np.shape(u)[-1]:
        return out
    zero = np.equal(row, 0)
    return out - np.where(zero, 0, (gu - u @ (_flip(u) @ gu)) / np.where(zero, 1, row))


# ---- determinants -------------------------------------------------------------------------------------------------------------------------

_x, _c, _d = sp.IndexedBase("x"), sp.IndexedBase("g"), sp.Symbol("d", real=True, nonzero=True)


class Determinant:
    """An Expansion row, differentiated: by x[p, r1] the determinant d has the slope c[p, r1], as row p has no other cofactor of that entry. Where the formula's
    slope has d below the line, c / d is the inverse, transposed (Cramer's rule), which does not overflow."""

    def __init__(self, row):
        (_, product, bound), = _products(sp.diff(sp.Sum(_x[p, m] * _c[p, m], (m, 1, n)), _x[p, R[1]]))
        self.plan = plan_of(product, bound, (p, R[1]))
        slope = sp.simplify(sp.diff(row.formula(_d), _d))
        self.relative = slope.has(_d)
        self.factor = slope * _d if self.relative else slope
        if self.factor.has(_d):
            raise NotImplementedError("no derivative is known for such a function of a determinant: add it to diffeng/symbolic/equations.py")

    def pull(self, g, x):
        cofactors = _flip(linalg.inv(x)) if self.relative else linalg.cofactor(x)
        return float(self.factor) * g[..., None, None] * _total([(1, self.plan)], {"g": cofactors}, np.shape(x))

    def value(self, z, x):
        """Expanded by the first row. z: the primitive's value, beside which a logarithm's expansion is 1, or the row is wrong."""
        if 0 in np.shape(x):
            return z
        row = _flip(linalg.inv(x)) if self.relative else linalg.cofactor(x)
        expanded = reductions.sum(x[..., 0, :] * row[..., 0, :], axis=(np.ndim(x) - 2,), keepdims=False)
        return z + float(self.factor) * e.log(e.absolute(expanded)) if self.relative else expanded


# ---- compositions ---------------------------------------------------------------------------------------------------------------------------


def recorded(row, operands):
    """(outputs, inputs): the nodes of a Composition, and what they are at these operands, as a dict."""
    tracing = Tracing(values=False)
    inputs = [tracing.input(None, f"operand {k}", np.shape(x), x.dtype) for k, x in enumerate(operands)]
    output, inputs = row.formula(*inputs).node, [t.node for t in inputs]
    return output, inputs, computed(reachable([output]), dict(zip(inputs, operands)))
