"""DEFINITION: what each primitive is, in sympy. REWRITES: what sympy needs help with, and why.

What it is: one row a primitive, as a textbook has it. x, y are the operands, z the value of the primitive.
What it is not: no derivative; sp.diff finds them.
Why a file: it is what one reads to believe the symbolic witness.
"""
import string
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import sympy as sp

from ..vocabulary import linalg
from ..vocabulary.contraction import subscripts

x, y, z, g = sp.symbols("x y z g", real=True)         # operands, saved output, cotangent
n, ddof = sp.symbols("n ddof")                        # how many entries a reduction meets; var's parameter
i, k, l, r = sp.symbols("i k l r", integer=True)      # multi-indices: i the kept axes, k and l the reduced ones, r the entry differentiated by
p, q, m = sp.symbols("p q m", integer=True)           # rows and columns of matrices


# ---- functions sympy has not -----------------------------------------------------------------------------------------

class _Constant(sp.Function):
    """Constant between jumps: sympy would answer with DiracDelta, or not at all."""

    def fdiff(self, argindex=1):
        return sp.Integer(0)


class floor_divide(_Constant):
    """floor(x / y)"""


class largest(_Constant):
    """The largest entry along the reduced axes: which one it is does not change between ties."""


class smallest(_Constant):
    """The smallest entry along the reduced axes."""


class shift(_Constant):
    """The largest entry, or 0 where that is infinite. Only used where a shift cancels, so that it may count as a constant."""


class nonzero(sp.Function):
    """nonzero(e, test): e, but 1 where test is 0: a denominator, or the argument of a logarithm, that must not be 0 there."""


expit, hypot, log1p, expm1, gauss, psi = (sp.Function(name, real=True) for name in "expit hypot log1p expm1 gauss psi".split())
erfcx, dawsn, gammainc, gammaincc, gamma_density, betainc, beta_density, hyp2f1, ive, kve = (
    sp.Function(name, real=True) for name in "erfcx dawsn gammainc gammaincc gamma_density betainc beta_density hyp2f1 ive kve".split())


def total(e):
    """Sum over the reduced axes."""
    return sp.Sum(e, (k, 1, n))


def product(e):
    return sp.Product(e, (k, 1, n))


def _share(e, best):
    """The mean of the entries that equal the best: each of m ties has 1/m of it."""
    chosen = sp.Eq(e, best(e))
    return total(sp.Piecewise((e, chosen), (0, True))) / total(sp.Piecewise((1, chosen), (0, True)))


# ---- kinds of rows that are not elementwise ----------------------------------------------------------------------------

class Reduction(NamedTuple):
    """formula(x[i, k]) -> the value at i, with `total` and `product` over k."""
    formula: Callable


class Running(NamedTuple):
    """formula(x[i, l], limits) -> the value at (i, k): sums or products over l = 1..k along one axis."""
    formula: Callable


class Contraction(NamedTuple):
    """subscripts(ranks, params) -> "ab,bc->ac": the sum over all letters that the output has not, of the product of the operands.

    An output letter that no operand has repeats; an axis of length 1 under a longer letter stands still at index 0.
    """
    subscripts: Callable


class IndexMap(NamedTuple):
    """out[p] = operand[phi(p)]; phi is what the primitive does to positions. none: parameters under which an entry from nowhere shows as -1."""
    none: dict


class Accumulation(NamedTuple):
    """out = base + the sum over all p with psi(p) = position of v[p]; psi(p) is what index reads at p. has_base: is operand 0 the base?"""
    has_base: bool


class Equation(NamedTuple):
    """residual(z, x, ...) of matrices is 0 at [p, q], and that is what the result z is; lower: at places on and below the diagonal, and z has no others."""
    residual: Callable
    lower: bool = False


class Factors(NamedTuple):
    """residuals(u, w, x) of a matrix u and what stands with it in the packed result, a row of numbers or the matrix below: all are 0 at [p, q]. upper: the second is a
    matrix with nothing below its diagonal; else a row, and of x, which is symmetric, the lower triangle is read."""
    residuals: Callable
    upper: bool


class Singular(NamedTuple):
    """residuals(u, s, v, x) of the singular value decomposition, packed as u, a row s, and v: all are 0 at [p, q]. Of a matrix with no more columns than rows; of
    others that of the transposed matrix, with u and v exchanged."""
    residuals: Callable


class Expansion(NamedTuple):
    """formula(the determinant of x), which is expanded by a row p (Laplace): the sum of x[p, m] c[p, m], whose cofactors c have no entry of that row."""
    formula: Callable


class Transform(NamedTuple):
    """formula(x, y, t, w) -> what is summed over all entries of the operand, for the real and the imaginary part of each of the result (or for what is real): x, y are
    the parts of an entry (y is 0 where it is real), t = 2 pi (j k / n + ...) of where both stand, and w the number of entries of the whole spectrum that it is:
    1, or 2 where a conjugate is left out. of, to: what operand and result are, "pairs", "half" of them along the last axis, or "real" numbers."""
    formula: Callable
    of: str
    to: str


class Composition(NamedTuple):
    """formula(x, ...), written with other primitives."""
    formula: Callable


def _cofactor(x):
    """The determinants of what is left without a row and a column; of many rows det(x) inv(x)'."""
    n = x.shape[-1]
    if n == 1:
        return x * 0 + 1
    if n > linalg.FEW_MINORS:
        return linalg.det(x)[..., None, None] * np.swapaxes(linalg.inv(x), -1, -2)
    rows, columns, sign = linalg.crossed(n)
    return linalg.det(x[..., rows, columns]) * sign.astype(x.dtype)


def _letters(rank):
    return string.ascii_letters[:rank]


DEFINITION = {
    # ---- arithmetic
    "add":           lambda x, y: x + y,
    "subtract":      lambda x, y: x - y,
    "multiply":      lambda x, y: x * y,
    "divide":        lambda x, y: x / y,
    "negative":      lambda x: -x,
    "power":         lambda x, y: x**y,
    "remainder":     lambda x, y: x - y * floor_divide(x, y),
    "square":        lambda x: x**2,
    "reciprocal":    lambda x: 1 / x,
    "absolute":      lambda x: sp.Abs(x),
    # ---- exponentials and logarithms
    "exp":           lambda x: sp.exp(x),
    "exp2":          lambda x: 2**x,
    "expm1":         lambda x: sp.exp(x) - 1,
    "log":           lambda x: sp.log(x),
    "log2":          lambda x: sp.log(x) / sp.log(2),
    "log10":         lambda x: sp.log(x) / sp.log(10),
    "log1p":         lambda x: sp.log(1 + x),
    "sqrt":          lambda x: sp.sqrt(x),
    "cbrt":          lambda x: sp.Piecewise((sp.cbrt(x), x > 0), (-sp.cbrt(-x), True)),
    "logaddexp":     lambda x, y: sp.log(sp.exp(x) + sp.exp(y)),
    # ---- trigonometric and hyperbolic functions
    "sin":           lambda x: sp.sin(x),
    "cos":           lambda x: sp.cos(x),
    "tan":           lambda x: sp.tan(x),
    "arcsin":        lambda x: sp.asin(x),
    "arccos":        lambda x: sp.acos(x),
    "arctan":        lambda x: sp.atan(x),
    "arctan2":       lambda x, y: sp.atan2(x, y),
    "hypot":         lambda x, y: sp.sqrt(x**2 + y**2),
    "sinh":          lambda x: sp.sinh(x),
    "cosh":          lambda x: sp.cosh(x),
    "tanh":          lambda x: sp.tanh(x),
    "arcsinh":       lambda x: sp.asinh(x),
    "arccosh":       lambda x: sp.acosh(x),
    "arctanh":       lambda x: sp.atanh(x),
    # ---- special functions
    "gauss":         lambda x: sp.exp(-x**2),
    "erf":           lambda x: sp.erf(x),
    "erfc":          lambda x: sp.erfc(x),
    "expit":         lambda x: 1 / (1 + sp.exp(-x)),
    "log_expit":     lambda x: -sp.log(1 + sp.exp(-x)),
    "logit":         lambda x: sp.log(x) - sp.log(1 - x),
    "gammaln":       lambda x: sp.loggamma(x),
    "gamma":         lambda x: sp.gamma(x),
    "psi":           lambda x: sp.polygamma(0, x),
    "zeta":          lambda x, y: sp.zeta(x, y),
    "erfinv":        lambda x: sp.erfinv(x),
    "erfcinv":       lambda x: sp.erfcinv(x),
    "erfcx":         lambda x: sp.exp(x**2) * sp.erfc(x),
    "dawsn":         lambda x: sp.sqrt(sp.pi) / 2 * sp.exp(-x**2) * sp.erfi(x),
    "expi":          lambda x: sp.Ei(x),
    "expn":          lambda n, x: sp.expint(n, x),
    "gammainc":      lambda a, x: sp.lowergamma(a, x) / sp.gamma(a),
    "gammaincc":     lambda a, x: sp.uppergamma(a, x) / sp.gamma(a),
    "gamma_density": lambda a, x: x**(a - 1) * sp.exp(-x) / sp.gamma(a),
    "betainc":       lambda a, b, x: sp.betainc_regularized(a, b, 0, x),
    "beta_density":  lambda a, b, x: x**(a - 1) * (1 - x)**(b - 1) / sp.beta(a, b),
    "hyp2f1":        lambda a, b, c, x: sp.hyper((a, b), (c,), x),
    "ellipk":        lambda x: sp.elliptic_k(x),
    "ellipe":        lambda x: sp.elliptic_e(x),
    "jv":            lambda v, x: sp.besselj(v, x),
    "yv":            lambda v, x: sp.bessely(v, x),
    "iv":            lambda v, x: sp.besseli(v, x),
    "ive":           lambda v, x: sp.besseli(v, x) * sp.exp(-sp.Abs(x)),
    "kv":            lambda v, x: sp.besselk(v, x),
    "kve":           lambda v, x: sp.besselk(v, x) * sp.exp(x),
    "xlogy":         lambda x, y: x * sp.log(y),
    # ---- choices: ties are shared equally
    "maximum":       lambda x, y: sp.Piecewise((x, x > y), (y, x < y), ((x + y) / 2, sp.Eq(x, y)), (sp.nan, True)),
    "minimum":       lambda x, y: sp.Piecewise((x, x < y), (y, x > y), ((x + y) / 2, sp.Eq(x, y)), (sp.nan, True)),
    "where":         lambda condition, x, y: sp.Piecewise((x, sp.Ne(condition, 0)), (y, True)),
    # ---- the same value, seen otherwise
    "astype":        lambda x: x,
    "copy":          lambda x: x,
    "barrier":       lambda x, y: x,
    # ---- reductions and scans
    "sum":           Reduction(lambda x: total(x)),
    "mean":          Reduction(lambda x: total(x) / n),
    "var":           Reduction(lambda x: total((x - total(x) / n)**2) / (n - ddof)),
    "prod":          Reduction(lambda x: product(x)),
    "logsumexp":     Reduction(lambda x: sp.log(total(sp.exp(x)))),
    "max":           Reduction(lambda x: _share(x, largest)),
    "min":           Reduction(lambda x: _share(x, smallest)),
    "cumsum":        Running(lambda x, limits: sp.Sum(x, limits)),
    "cumprod":       Running(lambda x, limits: sp.Product(x, limits)),
    # ---- sums of products
    "matmul":        Contraction(lambda ranks, params: subscripts("matmul", ranks, params)),
    "dot":           Contraction(lambda ranks, params: subscripts("dot", ranks, params)),
    "tensordot":     Contraction(lambda ranks, params: subscripts("tensordot", ranks, params)),
    "einsum":        Contraction(lambda ranks, params: subscripts("einsum", ranks, params)),
    "transpose":     Contraction(lambda ranks, axes: f"{_letters(ranks[0])}->{''.join(_letters(ranks[0])[a] for a in axes['axes'])}"),
    "broadcast_to":  Contraction(lambda ranks, to: f"{_letters(len(to['shape']))[len(to['shape']) - ranks[0]:]}->{_letters(len(to['shape']))}"),
    # ---- whole matrices
    "solve":         Equation(lambda z, x, y: sp.Sum(x[p, m] * z[m, q], (m, 1, n)) - y[p, q]),
    "inv":           Equation(lambda z, x: sp.Sum(x[p, m] * z[m, q], (m, 1, n)) - sp.KroneckerDelta(p, q)),
    "cholesky":      Equation(lambda z, x: sp.Sum(z[p, m] * z[q, m], (m, 1, n)) - x[p, q], lower=True),
    "eigh":          Factors(lambda u, w, x: (sp.Sum(x[p, m] * u[m, q], (m, 1, n)) - u[p, q] * w[q],
                                              sp.Sum(u[m, p] * u[m, q], (m, 1, n)) - sp.KroneckerDelta(p, q)), upper=False),
    "qr":            Factors(lambda u, w, x: (sp.Sum(u[p, m] * w[m, q], (m, 1, n)) - x[p, q],
                                              sp.Sum(u[m, p] * u[m, q], (m, 1, n)) - sp.KroneckerDelta(p, q)), upper=True),
    "svd":           Singular(lambda u, s, v, x: (sp.Sum(x[p, m] * v[m, q], (m, 1, n)) - u[p, q] * s[q],
                                                  sp.Sum(u[m, p] * u[m, q], (m, 1, n)) - sp.KroneckerDelta(p, q),
                                                  sp.Sum(v[m, p] * v[m, q], (m, 1, n)) - sp.KroneckerDelta(p, q))),
    "det":           Expansion(lambda d: d),
    "slogdet":       Expansion(lambda d: sp.log(sp.Abs(d))),
    "cofactor":      Composition(_cofactor),
    # ---- Fourier transforms
    "fft":           Transform(lambda x, y, t, w: (x * sp.cos(t) + y * sp.sin(t), y * sp.cos(t) - x * sp.sin(t)), "pairs", "pairs"),
    "rfft":          Transform(lambda x, y, t, w: (x * sp.cos(t), -x * sp.sin(t)), "real", "half"),
    "irfft":         Transform(lambda x, y, t, w: (w * (x * sp.cos(t) - y * sp.sin(t)),), "half", "real"),
    # ---- index maps
    "reshape":       IndexMap({}),
    "concatenate":   IndexMap({}),
    "stack":         IndexMap({}),
    "pad":           IndexMap({"value": -1}),
    "getitem":       IndexMap({}),
    "setitem":       IndexMap({}),
    "add_at":        Accumulation(True),
    "scatter":       Accumulation(False),
}


class Rewrite(NamedTuple):
    """An identity for one primitive: `before` becomes `after` in its derivative by operand `slot`, or in its value (slot None)."""
    primitive: str
    slot: int | None
    before: sp.Expr
    after: sp.Expr
    reason: str


FIRST = sp.symbols("other condition", real=True)       # of three operands, and of four, what comes before x and y
_b, _a = FIRST
_half, _legendre = sp.Rational(1, 2), "the quotient is 0/0 at x = 0; the integral is a hypergeometric function, whose derivative is one: DLMF 19.5.1, 19.5.2, 15.5.1"
_of_gamma, _of_beta = y**(x - 1) * sp.exp(-y) / sp.gamma(x), y**(_a - 1) * (1 - y)**(x - 1) / sp.beta(_a, x)
_low, _high = x < -sp.Rational(1, 16), x > sp.Rational(15, 16)


def _over(value, flip, low, high, ends):
    """exp(value^2) by erfc(|value|), which is `low` where value is to be flipped, `high` elsewhere, and 0 at the ends."""
    known = sp.Piecewise((low, flip), (high, True))
    return sp.Piecewise((sp.exp(value**2), ends), (erfcx(sp.Piecewise((-value, flip), (value, True))) / nonzero(known, known), True))


_entry, _each = sp.IndexedBase("x")[i, r], sp.IndexedBase("x")[i, k]          # where the primitive is a reduction
_near = sp.exp(-sp.Abs(x))
_SAVED = "the value is saved: by the equation of the definition"
_ROUNDED = "rounding the square is raised to an exponent: 2 x*x units in the last place"
_SQUARE = "a square overflows where the result does not"
_NAME = "what sympy calls a polygamma function"
_CANCEL = "1 - x*x has lost its digits where x is near 1; each factor is exact there"
_KNOWN = "rounding z is raised to an exponent; erfc(|z|) is known, and exp(z^2) times it is erfcx(|z|)"
_FAR = "powers and gamma functions overflow, and lose digits where they are large"
_NO_NAME = "sympy has no name for the regularized function of these operands"

REWRITES = [
    # ---- derivatives: saved outputs
    Rewrite("exp", 0, sp.exp(x), z, _SAVED),
    Rewrite("exp2", 0, 2**x, z, _SAVED),
    Rewrite("sqrt", 0, sp.sqrt(x), z, _SAVED),
    Rewrite("tan", 0, sp.tan(x), z, _SAVED),
    Rewrite("cbrt", 0, x**sp.Rational(2, 3), z**2, _SAVED),
    Rewrite("cbrt", 0, sp.cbrt(-x) / x, -1 / z**2, _SAVED),
    Rewrite("gauss", 0, sp.exp(-x**2), z, _SAVED),
    Rewrite("gamma", 0, sp.gamma(x), z, _SAVED),
    Rewrite("hypot", 0, sp.sqrt(x**2 + y**2), nonzero(z, z), _SAVED + "; at the origin 0/1 = 0, the convention at kinks"),
    Rewrite("hypot", 1, sp.sqrt(x**2 + y**2), nonzero(z, z), _SAVED + "; at the origin 0/1 = 0, the convention at kinks"),
    # ---- derivatives: digits and overflow
    Rewrite("tanh", 0, 1 - sp.tanh(x)**2, 4 * expit(2 * x) * expit(-2 * x),
            "1 - z*z is 0 from x = 19 on; a form with abs(x) would spoil the third derivative at 0"),
    Rewrite("expit", 0, sp.exp(-x) / (1 + sp.exp(-x))**2, z * expit(-x), "exp(-x) overflows, and 1 - z has no digits for a large x"),
    Rewrite("log_expit", 0, sp.exp(-x) / (1 + sp.exp(-x)), expit(-x), "exp(-x) overflows"),
    Rewrite("logaddexp", 0, sp.exp(x) / (sp.exp(x) + sp.exp(y)), expit(x - y), "exp overflows; only the difference matters"),
    Rewrite("logaddexp", 1, sp.exp(y) / (sp.exp(x) + sp.exp(y)), expit(y - x), "exp overflows; only the difference matters"),
    Rewrite("logsumexp", 0, sp.exp(_entry) / total(sp.exp(_each)), sp.exp(_entry - shift(_entry)) / total(sp.exp(_each - shift(_each))),
            "exp overflows; the quotient does not see a shift, so the largest is taken out of both"),
    Rewrite("erf", 0, sp.exp(-x**2), gauss(x), _ROUNDED),
    Rewrite("erfc", 0, sp.exp(-x**2), gauss(x), _ROUNDED),
    Rewrite("gammaln", 0, sp.polygamma(0, x), psi(x), _NAME),
    Rewrite("gamma", 0, sp.polygamma(0, x), psi(x), _NAME),
    Rewrite("psi", 0, sp.polygamma(1, x), sp.zeta(2, x), _NAME + ": DLMF 25.11.12"),
    Rewrite("erfinv", 0, sp.exp(sp.erfinv(x)**2), _over(z, _low, 1 + x, 1 - x, sp.Eq(sp.Abs(x), 1)), _KNOWN),
    Rewrite("erfcinv", 0, sp.exp(sp.erfcinv(x)**2), _over(z, _high, 2 - x, x, sp.Eq(sp.Abs(x - 1), 1)), _KNOWN),
    Rewrite("erfcx", 0, sp.exp(x**2) * sp.erfc(x), z, _SAVED),
    Rewrite("dawsn", 0, sp.exp(-x**2) * sp.erfi(x), 2 * z / sp.sqrt(sp.pi), _SAVED),
    Rewrite("gammainc", 1, _of_gamma, gamma_density(x, y), _FAR),
    Rewrite("gammaincc", 1, _of_gamma, gamma_density(x, y), _FAR),
    Rewrite("gamma_density", 1, _of_gamma * (x - 1) / y, gamma_density(x - 1, y), _FAR + "; (x - 1)/gamma(x) is 1/gamma(x - 1)"),
    Rewrite("gamma_density", 1, _of_gamma, z, _SAVED),
    Rewrite("betainc", 2, _of_beta, beta_density(_a, x, y), _FAR),
    Rewrite("beta_density", 2, _of_beta, z, _SAVED),
    Rewrite("hyp2f1", 3, sp.hyper((_b + 1, _a + 1), (x + 1,), y), hyp2f1(_b + 1, _a + 1, x + 1, y), _NO_NAME),
    Rewrite("ellipk", 0, sp.diff(sp.elliptic_k(x), x), sp.pi / 8 * hyp2f1(3 * _half, 3 * _half, 2, x), _legendre),
    Rewrite("ellipe", 0, sp.diff(sp.elliptic_e(x), x), -sp.pi / 8 * hyp2f1(_half, 3 * _half, 2, x), _legendre),
    Rewrite("ive", 1, (sp.besseli(x - 1, y) / 2 + sp.besseli(x + 1, y) / 2) * sp.exp(-sp.Abs(y)), (ive(x - 1, y) + ive(x + 1, y)) / 2, "besseli overflows"),
    Rewrite("ive", 1, sp.besseli(x, y) * sp.exp(-sp.Abs(y)), z, _SAVED),
    Rewrite("kve", 1, (-sp.besselk(x - 1, y) / 2 - sp.besselk(x + 1, y) / 2) * sp.exp(y), -(kve(x - 1, y) + kve(x + 1, y)) / 2, "exp(y) overflows"),
    Rewrite("kve", 1, sp.besselk(x, y) * sp.exp(y), z, _SAVED),
    Rewrite("arcsin", 0, 1 - x**2, (1 - x) * (1 + x), _CANCEL),
    Rewrite("arccos", 0, 1 - x**2, (1 - x) * (1 + x), _CANCEL),
    Rewrite("arctanh", 0, 1 - x**2, (1 - x) * (1 + x), _CANCEL),
    Rewrite("arcsinh", 0, sp.sqrt(x**2 + 1), hypot(x, 1), _SQUARE),
    Rewrite("arctan", 0, x**2 + 1, hypot(x, 1)**2, _SQUARE),
    Rewrite("arctan2", 0, x**2 + y**2, hypot(x, y)**2, _SQUARE),
    Rewrite("arctan2", 1, x**2 + y**2, hypot(x, y)**2, _SQUARE),
    # ---- derivatives: 0/0
    Rewrite("power", 0, x**y * y / x, y * x**sp.Piecewise((0, sp.And(sp.Eq(x, 0), sp.Eq(y, 0))), (y - 1, True)), "0**y * y/0; and x**0 is 1 at x = 0 too"),
    Rewrite("power", 1, x**y * sp.log(x), z * sp.log(nonzero(x, x)), _SAVED + "; 0**y is 0 for all y > 0, but 0 * log(0) is NaN"),
    Rewrite("xlogy", 1, x / y, x / sp.Piecewise((1, sp.And(sp.Eq(x, 0), sp.Eq(y, 0))), (y, True)), "0 log(0) is 0; elsewhere x may follow"),
    # ---- values
    Rewrite("psi", None, sp.polygamma(0, x), psi(x), _NAME),
    Rewrite("erfcx", None, sp.exp(x**2) * sp.erfc(x), erfcx(x), "exp(x^2) overflows"),
    Rewrite("dawsn", None, sp.sqrt(sp.pi) / 2 * sp.exp(-x**2) * sp.erfi(x), dawsn(x), "erfi overflows"),
    Rewrite("gammainc", None, sp.lowergamma(x, y) / sp.gamma(x), gammainc(x, y), _NO_NAME),
    Rewrite("gammaincc", None, sp.uppergamma(x, y) / sp.gamma(x), gammaincc(x, y), _NO_NAME),
    Rewrite("gamma_density", None, _of_gamma, gamma_density(x, y), _FAR),
    Rewrite("betainc", None, sp.betainc_regularized(_a, x, 0, y), betainc(_a, x, y), _NO_NAME),
    Rewrite("beta_density", None, _of_beta, beta_density(_a, x, y), _FAR),
    Rewrite("hyp2f1", None, sp.hyper((_b, _a), (x,), y), hyp2f1(_b, _a, x, y), _NO_NAME),
    Rewrite("ive", None, sp.besseli(x, y) * sp.exp(-sp.Abs(y)), ive(x, y), "besseli overflows"),
    Rewrite("kve", None, sp.besselk(x, y) * sp.exp(y), kve(x, y), "exp(y) overflows"),
    Rewrite("expm1", None, sp.exp(x) - 1, expm1(x), "exp(x) - 1 has lost its digits near 0"),
    Rewrite("gauss", None, sp.exp(-x**2), gauss(x), _ROUNDED),
    Rewrite("xlogy", None, x * sp.log(y), x * sp.log(nonzero(y, x)), "0 log(y) is 0 for every y, 0 included"),
    Rewrite("log1p", None, sp.log(1 + x), log1p(x), "1 + x has lost the digits of a small x"),
    Rewrite("log_expit", None, -sp.log(1 + sp.exp(-x)), sp.Piecewise((x, x < 0), (0, True)) - log1p(_near), "exp(-x) overflows"),
    Rewrite("logaddexp", None, sp.log(sp.exp(x) + sp.exp(y)), sp.Piecewise((x, sp.Eq(x, y)), (sp.Piecewise((x, x > y), (y, True)), True))
            + log1p(sp.Piecewise((1, sp.Eq(x, y)), (sp.exp(-sp.Abs(x - y)), True))), "exp overflows; infinities have no difference"),
    Rewrite("logit", None, sp.log(1 - x), log1p(-x), "1 - x has lost the digits of a small x"),
    Rewrite("hypot", None, sp.sqrt(x**2 + y**2), hypot(x, y), _SQUARE),
    Rewrite("logsumexp", None, sp.log(total(sp.exp(_each))), shift(_each) + sp.log(total(sp.exp(_each - shift(_each)))), "exp overflows"),
]
