"""Every row of PUSH against mathematics that is not its own.

Elementwise rows are compared with mpmath's derivatives, hundreds of digits where a region is hard; all other rows with differences of eighth
order of the primitive itself in extended precision, which knows no rule either. Then all of them over symbols, over balls and in float32.
"""
from fractions import Fraction
from functools import partial

import mpmath
import numpy as np
import pytest
from flint import arb

from diffeng import forward_mode
from diffeng.forward_mode import PUSH, push
from diffeng.nodes import Tracing
from diffeng.precise import arbs, numbers, precise, precision, radius
from diffeng.vocabulary import PRIMITIVES, elementwise as e
from diffeng.vocabulary.indexing import Slot

ULP = 2.0 ** -52


def derivative(f, x, direction=1.0):
    """The derivative of a scalar or array function of one number, by push."""
    (_,), (dy,) = push(lambda z: [f(z)], [x], [np.full((1, *np.shape(x)), direction, np.asarray(x).dtype)])
    return None if dy is None else dy[0]


def jacobian(f, *arrays, wrt=0):
    """(input..., output...) of f with respect to one argument."""
    x = np.asarray(arrays[wrt])
    basis = np.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    (_,), (dy,) = push(lambda *z: [f(*z)], arrays, [basis if k == wrt else None for k in range(len(arrays))])
    return dy


# ---- every differentiable operand has a row -------------------------------------------------------------------------------------------

def slots(primitive):
    if primitive.slots is not None:
        return primitive.slots
    every = range(3) if isinstance(PUSH.get(primitive.name), forward_mode.Variadic) else range(len(primitive.domain or (None,)))
    return [k for k in every if primitive.differentiable(k)]


def test_every_differentiable_operand_has_a_row():
    missing = []
    for p in PRIMITIVES.values():
        for k in slots(p) if p.kind not in ("input", "constant") else ():
            try:
                found = PUSH[p.name][k]
            except (LookupError, TypeError):
                found = None
            if not callable(found):
                missing.append(f"{p.name} (operand {k})")
    assert not missing, "no tangent rule in PUSH for: " + ", ".join(missing)


def test_no_row_without_a_primitive():
    assert [name for name in PUSH if name not in PRIMITIVES] == []


# ---- elementwise rows against mpmath ---------------------------------------------------------------------------------------------------

m = mpmath
REFERENCE = {
    "add": m.fadd, "subtract": m.fsub, "multiply": m.fmul, "divide": m.fdiv, "negative": m.fneg, "power": m.power, "square": lambda x: x * x,
    "remainder": lambda x, y: x - m.floor(x / y) * y, "reciprocal": lambda x: 1 / x, "absolute": abs,
    "exp": m.exp, "exp2": lambda x: m.mpf(2) ** x, "expm1": m.expm1, "log": m.log, "log2": lambda x: m.log(x) / m.log(2), "log10": m.log10,
    "log1p": lambda x: m.log(1 + x), "sqrt": m.sqrt, "cbrt": lambda x: m.sign(x) * m.cbrt(abs(x)), "logaddexp": lambda x, y: m.log(m.exp(x) + m.exp(y)),
    "sin": m.sin, "cos": m.cos, "tan": m.tan, "arcsin": m.asin, "arccos": m.acos, "arctan": m.atan, "arctan2": m.atan2, "hypot": m.hypot,
    "sinh": m.sinh, "cosh": m.cosh, "tanh": m.tanh, "arcsinh": m.asinh, "arccosh": m.acosh, "arctanh": m.atanh,
    "gauss": lambda x: m.exp(-x * x), "erf": m.erf, "erfc": m.erfc, "expit": lambda x: 1 / (1 + m.exp(-x)), "log_expit": lambda x: -m.log(1 + m.exp(-x)),
    "gammaln": lambda x: m.log(abs(m.gamma(x))), "gamma": m.gamma, "psi": m.digamma, "zeta": m.zeta,
    "erfinv": m.erfinv, "erfcinv": lambda x: m.erfinv(1 - x), "erfcx": lambda x: m.exp(x * x) * m.erfc(x), "expi": m.ei, "expn": lambda n, x: m.expint(int(n), x),
    "dawsn": lambda x: m.sqrt(m.pi) / 2 * m.exp(-x * x) * m.erfi(x), "gammainc": lambda a, x: m.gammainc(a, 0, x, regularized=True),
    "gammaincc": lambda a, x: m.gammainc(a, x, regularized=True), "gamma_density": lambda a, x: x ** (a - 1) * m.exp(-x) / m.gamma(a),
    "betainc": lambda a, b, x: m.betainc(a, b, 0, x, regularized=True), "beta_density": lambda a, b, x: x ** (a - 1) * (1 - x) ** (b - 1) / m.beta(a, b),
    "hyp2f1": m.hyp2f1, "ellipk": m.ellipk, "ellipe": m.ellipe, "jv": m.besselj, "yv": m.bessely, "iv": m.besseli, "kv": m.besselk, "ive": lambda v, x: m.besseli(v, x) * m.exp(-abs(x)),
    "kve": lambda v, x: m.besselk(v, x) * m.exp(x),
    "logit": lambda x: m.log(x / (1 - x)), "xlogy": lambda x, y: x * m.log(y), "maximum": max, "minimum": min,
}
HARD = {           # operands, in float64 exactly as they stand
    "divide": [(3e-200, 1e-160), (1e150, 1e-50)], "reciprocal": [(1e-150,), (1e200,)], "power": [(-2.5, 3.0), (1e-8, 2.5), (0.7, -300.25), (3.0, 0.1)],
    "exp": [(-700.0,), (700.0,)], "expm1": [(1e-300,)], "log": [(1e-29,), (1e300,)], "log1p": [(1e-20,), (-1 + 1e-15,), (1e18,)],
    "sqrt": [(1e-300,), (1e300,)], "cbrt": [(-1e-300,), (1e300,), (-8.0,)], "logaddexp": [(300.0, -100.0), (-100.0, 300.0), (1e10, 1e10 + 3)],
    "tan": [(1.5707963,), (1e5,)], "arcsin": [(1 - 1e-16,), (-1 + 1e-12,)], "arccos": [(1 - 1e-16,), (-1 + 1e-12,)], "arctan": [(1e100,), (1e-100,)],
    "arctan2": [(1e200, 1e190), (-1e-200, -1e-200), (1e-3, -1e3)], "hypot": [(1e200, 1e-200), (1e-200, 2e-200)], "sinh": [(700.0,), (1e-9,)],
    "cosh": [(1e-9,), (-700.0,)], "tanh": [(18.0,), (-18.0,), (300.0,), (1e-9,)], "arcsinh": [(1e200,), (-1e-9,)],
    "arccosh": [(1 + 1e-15,), (1e200,)], "arctanh": [(1 - 1e-16,), (-1 + 1e-12,)], "erf": [(5.0,), (-26.3,), (1e-9,), (0.03125,)],
    "gauss": [(26.3,), (-20.1,), (1e-200,)], "erfc": [(5.0,), (26.3,), (-20.1,), (10.96875,)], "expit": [(40.0,), (-40.0,), (700.0,), (-700.0,)], "log_expit": [(40.0,), (-700.0,), (700.0,)],
    "gammaln": [(1e-300,), (-2.5,), (1.5,), (300.0,)], "gamma": [(1e-100,), (-2.5,), (100.25,)], "psi": [(1e-100,), (-3.75,), (1e10,)],
    "logit": [(1e-300,), (1 - 1e-16,)], "xlogy": [(0.0, 2.0), (1e-300, 1e300)], "remainder": [(-7.3, 2.1), (7.3, -2.1)],
}


def exact(name, slot, point, digits):
    """The derivative by a central difference: at 900 digits its error is below 1e-590 of the largest term."""
    with mpmath.workdps(digits):
        at = [mpmath.mpf(x) for x in point]
        h = (abs(at[slot]) or 1) * mpmath.mpf(10) ** (-digits // 3)
        sides = [REFERENCE[name](*at[:slot], at[slot] + side * h, *at[slot + 1:]) for side in (1, -1)]
        return (sides[0] - sides[1]) / (2 * h)


def test_the_references_cover_the_elementwise_rows():
    smooth = {p.name for p in PRIMITIVES.values() if p.kind == "map" and p.slots != ()}
    assert smooth - set(REFERENCE) == {"where", "astype", "copy", "barrier"}


@pytest.mark.parametrize("name", REFERENCE)
def test_elementwise_row(name):
    rng = np.random.default_rng(len(name))
    primitive = PRIMITIVES[name]
    points = [(tuple(rng.uniform(low, high) for low, high in primitive.domain), 120) for _ in range(4)] + [(p, 900) for p in HARD.get(name, [])]
    for point, digits in points:
        for slot in range(len(point)):
            if point[0] < 0 and name == "power" and slot == 1 or not primitive.differentiable(slot):
                continue                                        # the exponent at a negative base has no real derivative
            arrays = [np.array([p]) for p in point]
            (_,), (got,) = push(lambda *x: [primitive(*x)], arrays, [np.array([[1.0]]) if k == slot else None for k in range(len(point))])
            truth = exact(name, slot, point, digits)
            error = float(abs(mpmath.mpf(float(got[0, 0])) - truth) / (abs(truth) if abs(truth) > 1e-300 else 1))
            assert error < (16 if primitive.held else 4) * ULP, (name, slot, point, float(got[0, 0]), mpmath.nstr(truth, 20), error / ULP)


@pytest.mark.parametrize("name, slot, point, expected", [
    ("power", 0, (0.0, 0.0), 0.0), ("power", 0, (0.0, 1.0), 1.0), ("power", 0, (0.0, 2.0), 0.0), ("power", 0, (0.0, 3), 0.0),
    ("power", 0, (0.0, 0.5), np.inf), ("power", 0, (-3.0, 0), 0.0), ("power", 0, (-3.0, 2), -6.0),
    ("power", 1, (0.0, 2.0), 0.0), ("power", 1, (0.0, 0.0), 0.0), ("power", 1, (2, 3.0), 8 * np.log(2)),
    ("absolute", 0, (0.0,), 0.0), ("sqrt", 0, (0.0,), np.inf), ("hypot", 0, (0.0, 0.0), 0.0), ("hypot", 1, (0.0, -2.0), -1.0),
    ("maximum", 0, (1.0, 1.0), 0.5), ("maximum", 1, (1.0, 1.0), 0.5), ("minimum", 0, (1.0, 1.0), 0.5), ("minimum", 1, (2.0, 1.0), 1.0),
    ("minimum", 0, (2.0, 1.0), 0.0),
    ("xlogy", 0, (0.0, 3.0), np.log(3.0)), ("xlogy", 1, (0.0, 0.0), 0.0), ("logaddexp", 0, (-np.inf, 1.0), 0.0), ("logaddexp", 1, (-np.inf, 1.0), 1.0),
    ("erf", 0, (1e301,), 0.0), ("erf", 0, (np.inf,), 0.0), ("erf", 0, (-np.inf,), 0.0), ("erfc", 0, (40.0,), 0.0), ("tanh", 0, (1e4,), 0.0),
    ("expit", 0, (-np.inf,), 0.0), ("cbrt", 0, (0.0,), np.inf),
])
def test_at_kinks_and_ends(name, slot, point, expected):
    moving = [np.array([p]) if isinstance(p, float) else p for p in point]
    (_,), (got,) = push(lambda x: [PRIMITIVES[name](*moving[:slot], x, *moving[slot + 1:])], [moving[slot]], [np.array([[1.0]])])
    assert got[0, 0] == expected


def test_a_constant_exponent_needs_no_logarithm():
    assert derivative(lambda x: x ** 3, np.array([-2.0, 0.0, 2.0])).tolist() == [12.0, 0.0, 12.0]
    assert derivative(lambda x: x ** np.array([2.0, 1.0, 0.0]), np.zeros(3)).tolist() == [0.0, 1.0, 0.0]
    assert derivative(lambda y: 2.0 ** y, np.array(3.0)) == 8 * np.log(2.0)


def test_an_entry_that_does_not_move_meets_no_infinity():
    assert jacobian(lambda x: np.sum(np.sqrt(x)), np.array([0.0, 4.0])).tolist() == [np.inf, 0.25]
    assert jacobian(lambda x: np.sum(x * np.array([np.inf, 2.0])), np.array([1.0, 1.0])).tolist() == [np.inf, 2.0]
    assert np.isnan(jacobian(lambda x: np.sum(x * np.array([np.nan, 2.0])), np.array([1.0, 1.0]))).tolist() == [True, False]


def test_the_branch_not_taken_is_not_multiplied_by_zero():
    assert derivative(lambda x: np.where(x > 0, np.sqrt(x), 5.0), np.array([0.0, 4.0])).tolist() == [0.0, 0.25]


# ---- all other rows against differences ---------------------------------------------------------------------------------------------------

def differences(primitive, operands, params, slot, h=np.longdouble(1) / 256):
    """(input..., output...) by central differences of eighth order in extended precision."""
    evaluate, wide = WIDE.get(primitive.name, primitive.evaluate), [x.astype(np.longdouble) if getattr(x, "dtype", np.dtype(int)).kind == "f" else x for x in operands]
    x = wide[slot]
    weights = [(1, np.longdouble(4) / 5), (2, -np.longdouble(1) / 5), (3, np.longdouble(4) / 105), (4, -np.longdouble(1) / 280)]
    rows = []
    for k in np.ndindex(*x.shape):
        total = 0
        for n, w in weights:
            for side in (1, -1):
                moved = np.array(x)
                moved[k] += side * n * h
                total = total + side * w * evaluate(*wide[:slot], moved, *wide[slot + 1:], **params)
        rows.append(total / h)
    shape = primitive.evaluate(*operands, **params).shape
    return np.array(rows, dtype=float).reshape(x.shape + shape) if rows else np.zeros(x.shape + shape)


def matrices(rule):
    """The rule for every matrix of a stack, in the arithmetic of its entries: NumPy's own know no extended precision."""
    def evaluate(*stacks, **params):
        parts = [rule(*[x[at] for x in stacks], **params) for at in np.ndindex(stacks[0].shape[:-2])]
        return np.reshape(parts, stacks[0].shape[:-2] + np.shape(parts[0]))
    return evaluate


def solved(a, b):
    """(x with a x = b, det(a)) by elimination; the diagonal is large, and needs no exchange of rows."""
    a, x, det = np.array(a), np.array(b), 1
    for j in range(len(a)):
        det = det * a[j, j]
        x[j], a[j] = x[j] / a[j, j], a[j] / a[j, j]
        for i in range(len(a)):
            if i != j:
                x[i], a[i] = x[i] - a[i, j] * x[j], a[i] - a[i, j] * a[j]
    return x, det


def inverse(a):
    return solved(a, np.eye(len(a), dtype=a.dtype))


def factor(a):
    z = np.zeros_like(a)
    for j in range(len(a)):
        z[j, j] = np.sqrt(a[j, j] - np.sum(z[j, :j] ** 2))
        z[j + 1:, j] = (a[j + 1:, j] - z[j + 1:, :j] @ z[j, :j]) / z[j, j]
    return z


def eigen(a, lower):
    """NumPy's, made exact by Newton's method."""
    a = np.tril(a) + np.tril(a, -1).T if lower else np.triu(a) + np.triu(a, 1).T
    v = np.linalg.eigh(a.astype(float), "L" if lower else "U")[1].astype(a.dtype)
    for _ in range(3):
        v = v @ (1.5 * np.eye(len(a), dtype=a.dtype) - 0.5 * (v.T @ v))
        inner = v.T @ a @ v
        w = np.diag(inner)
        gap = w[None] - w[:, None] + np.eye(len(a), dtype=a.dtype)
        v = v + v @ np.where(np.eye(len(a), dtype=bool), 0, inner / gap)
    v = v @ (1.5 * np.eye(len(a), dtype=a.dtype) - 0.5 * (v.T @ v))
    return np.concatenate([np.diag(v.T @ a @ v)[None], v])


def orthonormal(a):
    """By projections, twice; r's diagonal has NumPy's signs."""
    q, sign = np.array(a), np.sign(np.diag(np.linalg.qr(a.astype(float))[1]))
    for j in range(a.shape[1]):
        for _ in range(2):
            q[:, j] = q[:, j] - q[:, :j] @ (q[:, :j].T @ q[:, j])
        q[:, j] = sign[j] * q[:, j] / np.sqrt(q[:, j] @ q[:, j])
    return np.concatenate([q, np.triu(q.T @ a)])


def singular(a):
    """By the eigenvectors of a' a, or of a a'; which way they point is NumPy's choice."""
    if len(a) < a.shape[1]:
        turned = singular(a.T)
        u, row, v = turned[a.shape[1] + 1:], turned[a.shape[1]:a.shape[1] + 1], turned[:a.shape[1]]
        sign = np.sign(np.sum(u * np.linalg.svd(a.astype(float), full_matrices=False)[0], axis=0))
        return np.concatenate([u * sign, row, v * sign])
    found = eigen(a.T @ a, True)[:, ::-1]
    s, v = np.sqrt(found[0]), found[1:]
    v = v * np.sign(np.sum(v * np.linalg.svd(a.astype(float), full_matrices=False)[2].T, axis=0))
    return np.concatenate([a @ v / s, s[None], v])


WIDE = {"svd": matrices(singular), "eigh": matrices(eigen), "qr": matrices(orthonormal),
        "solve": matrices(lambda a, b: solved(a, b)[0]), "inv": matrices(lambda a: inverse(a)[0]), "det": matrices(lambda a: inverse(a)[1]),
        "slogdet": matrices(lambda a: np.log(abs(inverse(a)[1]))), "cofactor": matrices(lambda a: inverse(a)[1] * inverse(a)[0].T), "cholesky": matrices(factor)}


def A(*shape):
    size = int(np.prod(shape))                       # distinct entries, well apart: no difference crosses a kink
    return (0.4 + 1.7 * np.random.default_rng(size + len(shape)).permutation(size).reshape(shape) / max(size, 1)) if shape else np.array(0.7)


def M(*shape):
    return A(*shape) + 2 * shape[-1] * np.eye(shape[-1])


Z = A(3, 4)
Z[1, 2] = Z[2, 2] = Z[0, 1] = 0.0
P, J = np.array([2, 0, 1]), np.array([[1], [3]])
MASK = np.array([[True, False, True, True], [False, True, False, False], [True, True, False, True]])
REDUCTIONS = ("sum", "mean", "max", "min", "logsumexp", "prod")
AXES = (((0, 1, 2), False), ((1,), False), ((0, 2), True), ((), False))
PRODUCTS = [             # shapes that both matmul and dot take
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((3,), (5, 3, 2)), ((5, 2, 3), (3,))]
SUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ii->i", (3, 3)), ("ii->", (3, 3)), ("iji->j", (3, 2, 3)), ("ii,ij->j", (3, 3), (3, 2)), ("i,j,ij->", (2,), (3,), (2, 3)),
    ("bhqd,bhkd->bhqk", (2, 1, 3, 2), (2, 1, 4, 2)), ("ij->ji", (2, 3)), ("ij->", (2, 3)), ("ij,ij->ij", (1, 3), (2, 3)), (",i->i", (), (3,)),
    ("zy,yx->zx", (2, 2), (2, 2))]
READ = [                 # an index into (3, 4, 2), and the integer arrays that stand at its slots
    ((1,),), ((slice(None), slice(None, None, -2)),), ((Ellipsis, 0),), ((None, 1, Ellipsis, None),), ((slice(2, 0, -1), None, 3),), ((),), ((True,),),
    ((Slot(0),), P), ((slice(None), Slot(0)), J), ((Slot(0), Slot(1)), P, P), ((Slot(0), None, Slot(1)), P, P), ((Ellipsis, Slot(0)), np.array([[1, 0, 1]])),
    ((Slot(0), slice(None), Slot(1)), P, np.array([0, 1, 1])), ((Slot(0), slice(None), 1), P), ((0, slice(None), Slot(0)), np.array([1, 1])),
    ((Slot(0), Ellipsis, Slot(1)), P, np.array([[1], [0]])), ((Slot(0),), np.array(1)), ((Slot(0), slice(None), Slot(1)), np.array(1), np.array(0)),
    ((Slot(0),), np.zeros(0, int)), ((MASK,),), ((slice(None), MASK[0]),), ((MASK[:, 0], slice(None), Slot(0)), np.array([1]))]
WRITE = [                # the shape of what is written, an index into (3, 4, 2), integer arrays
    ((4, 2), (1,)), ((), (slice(1, None),)), ((2,), (slice(None), 2)), ((3, 1, 2), (Ellipsis,)), ((1, 3, 2), (None, Ellipsis, 1, slice(None))),
    ((0, 4, 2), (slice(0, 0),)), ((3, 4, 2), (Slot(0),), P), ((4, 1), (Slot(0),), np.array([0, 2])), ((3, 2), (Slot(0), Slot(1)), P, P),
    ((3, 4), (Slot(0), slice(None), Slot(1)), P, np.array([0, 1, 1])), ((), (Slot(0), slice(None), 1), P), ((2,), (MASK,)), ((3, 2), (slice(None), MASK[0])),
    ((4,), (Slot(0), Ellipsis, Slot(1)), P, np.array([0, 1, 1])), ((3, 3, 2), (slice(None), MASK[0]))]
CASES = [
    *[(n, [A(3, 4, 2)], dict(axis=axis, keepdims=keep)) for n in REDUCTIONS for axis, keep in AXES],
    *[(n, [A()], dict(axis=(), keepdims=keep)) for n in REDUCTIONS for keep in (False, True)],
    *[("var", [A(3, 4)], dict(axis=axis, keepdims=keep, ddof=d)) for axis, keep, d in (((0, 1), False, 0), ((1,), True, 1), ((0,), False, 1))],
    *[("prod", [Z], dict(axis=axis, keepdims=keep)) for axis, keep in (((0,), False), ((1,), True), ((0, 1), False))],
    *[(n, [A(*shape)], dict(axis=axis, keepdims=False)) for n, shape, axis in (          # empty arrays
        ("sum", (3, 0), (0,)), ("sum", (3, 0), (1,)), ("prod", (3, 0), (1,)), ("logsumexp", (0, 3), (0,)), ("max", (0, 3), (1,)))],
    *[(n, [x], dict(axis=ax)) for n in ("cumsum", "cumprod") for x, ax in ((A(7), 0), (A(3, 4, 2), 1), (Z, 0), (Z, 1), (A(2, 0), 1), (A(1), 0))],
    *[("reshape", [A(*old)], dict(shape=new)) for old, new in (((3, 4), (2, 6)), ((1,), ()), ((), (1, 1)), ((0, 3), (3, 0)))],
    ("transpose", [A(2, 3, 4)], dict(axes=(2, 0, 1))), ("transpose", [A()], dict(axes=())),
    ("broadcast_to", [A(3, 1)], dict(shape=(2, 3, 4))), ("broadcast_to", [A()], dict(shape=(2, 2))), ("broadcast_to", [A(1)], dict(shape=(0,))),
    ("concatenate", [A(2, 3), A(2, 1), A(2, 2)], dict(axis=1)), ("concatenate", [A(2), A(0)], dict(axis=0)), ("concatenate", [A(4)], dict(axis=0)),
    ("stack", [A(2, 3), A(2, 3)], dict(axis=1)), ("stack", [A(), A(), A()], dict(axis=0)), ("stack", [A(4), A(4)], dict(axis=1)), ("stack", [A(0)], dict(axis=0)),
    ("pad", [A(2, 3)], dict(widths=((1, 0), (2, 1)), value=3.0)), ("pad", [A(0)], dict(widths=((1, 2),), value=0)),
    *[(n, [A(*x), A(*y)], {}) for n in ("matmul", "dot") for x, y in PRODUCTS],
    *[("matmul", [A(*x), A(*y)], {}) for x, y in (((5, 1, 2, 3), (4, 3, 2)), ((5, 2, 3), (3, 4)), ((1, 2, 3), (5, 3, 1)), ((0, 3), (3, 2)), ((2, 0), (0, 2)))],
    ("dot", [A(4, 2, 3), A(5, 3, 2)], {}),
    *[("tensordot", [A(*x), A(*y)], dict(axes=axes)) for x, y, axes in (
        ((2, 3, 4), (4, 3, 2), ((1, 2), (1, 0))), ((2, 3), (2, 3), ((0, 1), (0, 1))), ((2,), (3,), ((), ())), ((2, 3), (4, 2), ((0,), (1,))))],
    *[("einsum", [A(*x) for x in shapes], dict(subscripts=text)) for text, *shapes in SUMS],
    *[("getitem", [A(3, 4, 2), *arrays], dict(index=index)) for index, *arrays in READ],
    ("getitem", [A()], dict(index=())), ("getitem", [A()], dict(index=(Ellipsis, None))),
    *[(n, [A(3, 4, 2), A(*v) + 1, *arrays], dict(index=index)) for n in ("setitem", "add_at") for v, index, *arrays in WRITE],
    ("setitem", [A(3, 4, 2), A(1, 1, 2)], dict(index=(0,))), ("setitem", [A(), A()], dict(index=())), ("setitem", [A(3), A(1)], dict(index=(Ellipsis,))),
    ("add_at", [A(3), A(4), np.array([1, 1, 2, 1])], dict(index=(Slot(0),))),
    ("scatter", [A(4, 2), np.array([1, 1, 2, 1])], dict(index=(Slot(0),), shape=(3, 2))),
    ("scatter", [A(2, 3)], dict(index=(slice(None, None, 2), slice(1, 4)), shape=(4, 5))),
    ("scatter", [A(2, 3), np.array([1, 1]), np.array([0, 2])], dict(index=(Slot(0), slice(None), Slot(1)), shape=(2, 3, 3))),
    ("scatter", [A(6)], dict(index=(np.eye(3, 4) + np.eye(3, 4, 1) > 0,), shape=(3, 4))),
    ("solve", [M(3, 3), A(3, 2)], {}), ("solve", [M(2, 3, 3), A(2, 3, 1)], {}), ("solve", [M(1, 1), A(1, 4)], {}),
    *[(n, [M(*shape)], {}) for n in ("inv", "det", "slogdet", "cofactor", "cholesky") for shape in ((3, 3), (2, 2, 2), (1, 1))],
    *[("eigh", [M(*shape) + np.diag(np.arange(shape[-1]))], dict(lower=lower)) for lower, shape in ((True, (3, 3)), (True, (2, 3, 3)), (False, (3, 3)), (True, (1, 1)))], *[(n, [A(*shape) + np.eye(*shape[-2:])], {}) for n in ("qr", "svd") for shape in ((4, 3), (2, 2, 2), (3, 1))], ("svd", [A(2, 3) + np.eye(2, 3)], {}),
    *[("fft", [A(3, 4, 2)], dict(axes=axes, inverse=inverse, norm=norm)) for axes, inverse, norm in (((1,), False, "backward"), ((0, 1), True, "ortho"), ((0,), True, "backward"))],
    *[("rfft", [A(3, 4)], dict(axes=axes, norm=norm)) for axes, norm in (((1,), "backward"), ((1, 0), "forward"))],
    *[("irfft", [A(3, 3, 2)], dict(axes=axes, n=n, norm=norm)) for axes, n, norm in (((1,), 5, "backward"), ((0, 1), 4, "ortho"))],
    ("astype", [A(3)], dict(dtype=np.dtype(float))), ("copy", [A(2, 2)], {}), ("barrier", [A(3, 1), A(2, 1, 4)], {}), ("where", [MASK, A(3, 1), A(4)], {}), ("where", [MASK, A(), A(3, 4)], {}),
    ("multiply", [A(3, 1), A(2, 1, 4)], {}), ("divide", [A(), A(2, 3)], {}), ("add", [A(0, 1), A(3)], {}),
]


def test_the_cases_cover_all_other_rows():
    assert set(PUSH) == set(REFERENCE) | {name for name, _, _ in CASES}


@pytest.mark.parametrize("name, operands, params", CASES, ids=[f"{n}-{k}" for k, (n, _, _) in enumerate(CASES)])
def test_row_against_differences(name, operands, params):
    primitive = PRIMITIVES[name]
    for slot, x in enumerate(operands):
        if x.dtype.kind != "f" or not primitive.differentiable(slot):
            continue
        basis = np.eye(x.size).reshape(x.size, *x.shape)
        (value,), (dy,) = push(lambda *z: [primitive(*z, **params)], operands, [basis if k == slot else None for k in range(len(operands))])
        truth = differences(primitive, operands, params, slot)
        assert np.array_equal(value, primitive.evaluate(*operands, **params))
        assert dy.shape == (x.size, *value.shape)
        np.testing.assert_allclose(dy, truth.reshape(dy.shape), rtol=1e-13, atol=1e-13)


def test_operands_that_move_together_add_up():
    rng = np.random.default_rng(5)
    x, y, dx, dy = rng.normal(size=(2, 3)), rng.normal(size=3), rng.normal(size=(4, 2, 3)), rng.normal(size=(4, 3))
    (_,), (got,) = push(lambda x, y: [(x + y) * x], [x, y], [dx, dy])
    np.testing.assert_allclose(got, (2 * x + y) * dx + x * dy[:, None], rtol=1e-14)


def test_ties_are_shared_equally_in_reductions():
    x = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    got = jacobian(lambda x: np.max(x, axis=1), x).reshape(2, 3, 2)
    assert got[0, :, 0].tolist() == [0.0, 0.5, 0.5] and got[1, :, 1].tolist() == [1 / 3] * 3
    assert jacobian(np.min, np.array([1.0, 1.0, 2.0])).tolist() == [0.5, 0.5, 0.0]


def test_logsumexp_of_large_and_of_masked_entries():
    assert jacobian(logsumexp, np.array([1e8, 1e8 - 1.0])).tolist() == pytest.approx([1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(1.0))], rel=1e-15)
    assert jacobian(logsumexp, np.array([-np.inf, 0.0, 0.0])).tolist() == [0.0, 0.5, 0.5]


def logsumexp(x):
    return PRIMITIVES["logsumexp"](x, axis=(0,), keepdims=False)


def test_the_bell_curve_in_single_precision():
    x = np.linspace(-8, 8, 33, dtype=np.float32) + np.float32(0.01)
    truth = 2 / np.sqrt(np.pi) * np.exp(-x.astype(np.float64) ** 2)
    np.testing.assert_allclose(derivative(e.erf, x), truth, rtol=5 * 2.0 ** -23)


def test_var_far_from_zero():
    x = 1e8 + np.array([0.25, 0.5, -0.75, 1.0])
    truth = 2 * np.array([0.0, 0.25, -1.0, 0.75]) / 4            # 1e8 + quarters are exact, and their mean 1e8 + 0.25 is too
    assert jacobian(np.var, x).tolist() == truth.tolist()
    x = 1e8 + np.array([0.1, 0.7, 0.4])
    exact = [Fraction(float(v)) for v in x]
    np.testing.assert_allclose(jacobian(np.var, x), [float(2 * (v - sum(exact) / 3) / 3) for v in exact], rtol=1e-14)


# ---- all rows, in every arithmetic ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", sorted(PUSH))
def test_every_row_records_over_tracers(name):
    """Symbols have no values: no row may look at one, and the recorded tangent has the shape and dtype that the numbers had."""
    cases = [(o, p) for n, o, p in CASES if n == name] or [([np.full(3, sum(d) / 2) for d in PRIMITIVES[name].domain], {})]
    for operands, params in cases[:12]:
        tracing = Tracing()
        floats = [x.dtype.kind == "f" and k not in PRIMITIVES[name].held for k, x in enumerate(operands)]
        symbols = [tracing.input(None, "x", x.shape, x.dtype) if f else x for x, f in zip(operands, floats)]
        tangents = [np.ones((2, *x.shape)) if f else None for x, f in zip(operands, floats)]
        (y,), (dy,) = push(lambda *z: [PRIMITIVES[name](*z, **params)], symbols, tangents)
        (number,), (tangent,) = push(lambda *z: [PRIMITIVES[name](*z, **params)], operands, tangents)
        assert (y.shape, dy.shape, dy.dtype) == (number.shape, tangent.shape, tangent.dtype)


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_elementwise_rows_hold_to_a_hundred_digits(name):
    """No constant in a row, and none made from operands that do not move, may be a mere float64."""
    primitive = PRIMITIVES[name]
    point = tuple(0.3 * low + 0.7 * high for low, high in primitive.domain)
    if name == "power":
        point = (0.7, 0.1)                                              # 0.1 - 1 is no float64
    with precision(110), mpmath.workdps(110):
        for slot in [k for k in range(len(point)) if primitive.differentiable(k)]:
            (_,), (dy,) = push(lambda x, k=slot: [primitive(*point[:k], x, *point[k + 1:])], [precise(np.array([point[slot]]))], [np.ones((1, 1))])
            got = mpmath.mpf(arbs(dy)[0, 0].mid().str(108, radius=False))
            truth = exact(name, slot, point, 330)
            assert abs(got - truth) <= abs(truth) * mpmath.mpf(10) ** -85


@pytest.mark.parametrize("name", sorted({name for name, _, _ in CASES}))
def test_all_rows_run_on_balls(name):
    for operands, params in [(o, p) for n, o, p in CASES if n == name]:
        floats = [x.dtype.kind == "f" for x in operands]
        tangents = [np.random.default_rng(1).normal(size=(2, *x.shape)) if f else None for x, f in zip(operands, floats)]
        fun = partial(lambda params, *z: [PRIMITIVES[name](*z, **params)], params)
        (_,), (truth,) = push(fun, operands, tangents)
        with precision(60):
            (_,), (dy,) = push(fun, [precise(x) if f else x for x, f in zip(operands, floats)], tangents)
        np.testing.assert_allclose(numbers(dy), truth, rtol=1e-13, atol=1e-14)
        assert not dy.size or np.max(radius(dy)) < 1e-40


def test_what_constants_make_alone_is_exact_over_balls():
    with precision(60):
        (_,), (dy,) = push(lambda x: [x * 0.1 * 0.3 / 0.7], [precise(np.array(2.0))], [np.ones(1)])
        error = arbs(dy)[0] * arb(0.7) - arb(0.1) * arb(0.3)
    assert abs(float(error.mid())) < 1e-50


@pytest.mark.parametrize("name", sorted(PUSH))
def test_float32_stays_float32(name):
    cases = [(o, p) for n, o, p in CASES if n == name][:12] or [([np.full(3, sum(d) / 2) for d in PRIMITIVES[name].domain], {})]
    for operands, params in cases:
        params = {**params, "dtype": np.dtype(np.float32)} if name == "astype" else params
        single = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in operands]
        tangents = [np.ones((2, *x.shape)) if x.dtype.kind == "f" and k not in PRIMITIVES[name].held else None for k, x in enumerate(single)]
        (y,), (dy,) = push(lambda *z: [PRIMITIVES[name](*z, **params)], single, tangents)
        assert y.dtype == np.float32 and dy.dtype == np.float32
