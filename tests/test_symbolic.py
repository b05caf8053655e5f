"""The symbolic witness: every row against differences in 60 digits, the list of rewrites, hard regions against mpmath, kinks and corners."""
import mpmath as mp
import numpy as np
import pytest
import sympy as sp

from diffeng import symbolic
from diffeng.precise import numbers, precise, precision
from diffeng.symbolic.chain import _arguments
from diffeng.symbolic.definitions import REWRITES, n
from diffeng.vocabulary import PRIMITIVES
from diffeng.vocabulary.indexing import Slot

DIFFERENTIABLE = [p for p in PRIMITIVES.values() if p.slots != ()]
MAPS = [p.name for p in DIFFERENTIABLE if p.kind == "map" and p.name != "astype"]
rng = np.random.default_rng(7)


def U(*shape):
    return rng.uniform(0.3, 2.0, shape)


def is_float(x):
    return isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind == "f"


def difference(primitive, operands, slot, g, params):
    """d/dx Sum(g * primitive) entry by entry, by central differences in 60 digits."""
    out = np.zeros(np.shape(operands[slot]))
    with precision(60):
        exact = [precise(x) if is_float(x) else x for x in operands]
        step = precise(np.array(2.0 ** -70))
        for at in np.ndindex(*out.shape):
            one = np.zeros(out.shape)
            one[at] = 1.0
            ends = [primitive(*[x + step * one * s if k == slot else x for k, x in enumerate(exact)], **params) for s in (1, -1)]
            out[at] = numbers(np.sum(precise(g) * (ends[0] - ends[1])) / (2 * step))
    return out


def check(name, *operands, **params):
    """Value and all derivatives of one primitive; shapes and dtypes too."""
    primitive = PRIMITIVES[name]
    z = np.asarray(primitive(*operands, **params))
    g = rng.uniform(0.5, 2.0, z.shape)
    value = symbolic.value(primitive, operands, params)
    assert np.shape(value) == z.shape and np.allclose(value, z, rtol=1e-13, atol=1e-300), "value"
    slots = [k for k, x in enumerate(operands) if primitive.differentiable(k) and is_float(x)]
    for slot in slots:
        found = symbolic.pull(primitive, slot, g, z, operands, params)
        true = difference(primitive, operands, slot, g, params)
        assert np.shape(found) == operands[slot].shape and found.dtype == operands[slot].dtype
        assert np.allclose(found, true, rtol=1e-12, atol=1e-12), (name, slot)
    return len(slots)


# ---- every row ------------------------------------------------------------------------------------------------------------

def test_every_differentiable_primitive_has_a_row():
    missing = [p.name for p in DIFFERENTIABLE if p.name not in symbolic.DEFINITION]
    assert not missing, f"no DEFINITION for {missing}"
    assert not set(symbolic.DEFINITION) - set(PRIMITIVES)


@pytest.mark.parametrize("name", MAPS)
def test_elementwise(name):
    domain = PRIMITIVES[name].domain
    for shapes in ([(3, 4)] * 4, [(3, 1), (2, 1, 4), (4,), ()], [(), (2,), (), ()]):
        operands = [rng.uniform(*d, s) for d, s in zip(domain, shapes)]
        if name == "where":
            operands[0] = np.asarray(operands[0] > 0.5)
        assert check(name, *map(np.asarray, operands)) > 0


AXES = [((0,), (2, 3)), ((1,), (2, 3)), ((0, 2), (2, 3, 2)), ((0, 1), (2, 3)), ((), (3,)), ((1,), (3, 1))]


@pytest.mark.parametrize("name", "sum mean var prod max min logsumexp".split())
@pytest.mark.parametrize("axis, shape", AXES)
def test_reductions(name, axis, shape):
    for keepdims in (False, True):
        extra = {"ddof": 1 if axis and shape[axis[0]] > 1 else 0} if name == "var" else {}
        assert check(name, U(*shape), axis=axis, keepdims=keepdims, **extra)


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
@pytest.mark.parametrize("shape, axis", [((5,), 0), ((3, 4), 0), ((2, 3, 2), 1), ((2, 7), 1), ((2, 1), 1)])
def test_running(name, shape, axis):
    assert check(name, U(*shape), axis=axis)


MATMULS = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((2, 2, 3), (3, 4)), ((2, 3), (2, 3, 2)), ((2, 2, 3), (2, 3, 2)), ((1, 2, 3), (2, 3, 2)),
    ((2, 1, 2, 3), (1, 2, 3, 2)), ((3,), (2, 3, 2)), ((2, 2, 3), (3,)), ((1, 1), (1, 1)), ((4, 1), (1, 3)), ((2, 2, 3), (1, 3, 2))]


@pytest.mark.parametrize("a, b", MATMULS)
def test_matmul(a, b):
    assert check("matmul", U(*a), U(*b)) == 2


@pytest.mark.parametrize("a, b", [((3,), (3,)), ((2, 3), (3,)), ((2, 3), (3, 4)), ((2, 2, 3), (2, 3, 2)), ((3,), (2, 3, 2))])
def test_dot(a, b):
    assert check("dot", U(*a), U(*b)) == 2


@pytest.mark.parametrize("a, b, axes", [((2, 3, 2), (2, 3, 2), ((1, 2), (1, 0))), ((2, 3), (2,), ((), ())), ((2, 3), (3, 2), ((0, 1), (1, 0)))])
def test_tensordot(a, b, axes):
    assert check("tensordot", U(*a), U(*b), axes=axes) == 2


EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 2)), ("ii->i", (3, 3)), ("ii->", (3, 3)), ("iij->ji", (2, 2, 3)), ("ij->ji", (2, 3)), ("ij->", (2, 3)),
    ("i,j->ij", (2,), (3,)), ("ij,jk,kl->il", (2, 3), (3, 2), (2, 2)), ("iji,j->i", (2, 3, 2), (3,)), ("bij,bjk->bik", (2, 2, 3), (2, 3, 2)),
    ("bhtd,bhsd->bhts", (1, 2, 2, 3), (1, 2, 2, 3)), ("i,i,i->", (3,), (3,), (3,)), ("ij,ij->i", (2, 3), (2, 3)), (",i->i", (), (3,)),
    ("ij,kj->ki", (1, 3), (2, 3)), ("bij,bji->b", (2, 3, 2), (2, 2, 3)), ("ij,jk->i", (2, 3), (3, 2)), ("aij,bij->ab", (2, 2, 3), (3, 2, 3)),
    ("ij,jk->ik", (2, 1), (3, 2)), ("iij,jj->", (2, 2, 3), (3, 3))]


@pytest.mark.parametrize("case", EINSUMS)
def test_einsum(case):
    assert check("einsum", *[U(*s) for s in case[1:]], subscripts=case[0]) == len(case) - 1


def test_shaping():
    assert check("reshape", U(2, 6), shape=(3, 4)) and check("reshape", U(1, 1), shape=()) and check("transpose", U(2, 3, 2), axes=(2, 0, 1))
    for x in (U(3, 1), np.array(2.0), U(2, 3, 2), U(2)):
        assert check("broadcast_to", x, shape=(2, 3, 2))
    assert check("concatenate", U(2, 3), U(1, 3), U(2, 3), axis=0) == 3 and check("concatenate", U(2, 3), U(2, 1), axis=1) == 2
    assert check("concatenate", U(2, 3), U(0, 3), axis=0) == 2
    assert check("pad", U(2, 3), widths=((1, 0), (2, 3)), value=1.5) and check("pad", U(3), widths=((0, 0),), value=0)


INDICES = [
    ((4, 3), (slice(1, 3),), ()), ((4, 3), (slice(None, None, -2), 2), ()), ((4, 3), (None, Ellipsis, 1), ()), ((4, 3), (1, 2), ()),
    ((5,), (slice(3, None, -1),), ()),
    ((4, 3), (Slot(0),), ([0, 2, 2, -1],)), ((4, 3), (Slot(0), Slot(1)), ([0, 2, 2], [1, 1, 1])), ((3, 4, 2), (slice(None), Slot(0)), ([[0, 2], [2, 3]],)),
    ((3, 4, 2), (Slot(0), slice(None), Slot(1)), ([0, 2], [0, 0])), ((4,), (np.array([True, False, True, True]),), ()), ((2, 1, 3), (Slot(0),), ([0, 0],)),
    ((3, 4), (Slot(0), Slot(1)), ([[0], [1]], [[2, 3]])), ((3, 3, 2), (Slot(0), Slot(1)), ([0, 1, 2], [0, 1, 2])),
    ((4, 3), (Slot(0), slice(1, None)), ([3, 1],))]


@pytest.mark.parametrize("shape, index, arrays", INDICES)
def test_indexing(shape, index, arrays):
    x, arrays = U(*shape), [np.array(a) for a in arrays]
    at = tuple(arrays[i.k] if isinstance(i, Slot) else i for i in index)
    v = x[at]
    assert check("getitem", x, *arrays, index=index) == 1
    assert check("add_at", x, U(*v.shape), *arrays, index=index) == 2 and check("add_at", x, np.array(1.3), *arrays, index=index) == 2
    assert check("scatter", U(*v.shape), *arrays, index=index, shape=shape) == 1
    if np.unique(np.arange(x.size).reshape(shape)[at]).size == v.size:
        assert check("setitem", x, U(*v.shape), *arrays, index=index) == 2 and check("setitem", x, np.array(1.3), *arrays, index=index) == 2
        if v.ndim:
            assert check("setitem", x, U(v.shape[-1]), *arrays, index=index) == 2


# ---- the list of rewrites --------------------------------------------------------------------------------------------------

MEANT = {"erfcinv": lambda a: sp.erfinv(1 - a), "erfcx": lambda a: sp.exp(a**2) * sp.erfc(a), "dawsn": lambda a: sp.sqrt(sp.pi) / 2 * sp.exp(-a**2) * sp.erfi(a),
         **{name: symbolic.DEFINITION[name] for name in "gammainc gammaincc gamma_density betainc beta_density hyp2f1 ive kve".split()}}


def test_every_rewrite_is_an_identity_and_is_used():
    x, y, z = sp.symbols("x y z", real=True)
    i, r = sp.symbols("i r", integer=True)
    base = sp.IndexedBase("x")
    meaning = {**MEANT, "expit": lambda a: 1 / (1 + sp.exp(-a)), "hypot": lambda a, b: sp.sqrt(a**2 + b**2), "log1p": lambda a: sp.log(1 + a),
               "expm1": lambda a: sp.exp(a) - 1, "gauss": lambda a: sp.exp(-a**2), "psi": lambda a: sp.polygamma(0, a), "nonzero": lambda a, b: a, "shift": lambda a: sp.Rational(7, 5), "largest": lambda a: sp.Rational(7, 5)}

    def number(e, name, at):
        if name in MAPS:
            e = e.xreplace({z: symbolic.DEFINITION[name](*_arguments(symbolic.DEFINITION[name]))})
        for function, f in meaning.items():
            e = e.replace(lambda t: type(t).__name__ == function, lambda t: f(*t.args))
        e = e.subs({n: 3, r: 2}).doit().subs({base[i, 1]: 0.3, base[i, 2]: 1.1, base[i, 3]: -0.4})
        return complex(e.subs(at))

    for rule in REWRITES:
        domain = PRIMITIVES[rule.primitive].domain
        seen = 0
        for sign in (1, -1):
            at = {s: sign * rng.uniform(*d) for s, d in zip(_arguments(symbolic.DEFINITION[rule.primitive]) if rule.primitive in MAPS else (x, y), domain)}
            if (all(lo < v < hi for v, (lo, hi) in zip(at.values(), domain))
                    or rule.primitive in ("tanh", "expit", "log_expit", "logaddexp", "arctan", "arcsinh")):
                branch = at[x] > 0 if rule.primitive == "cbrt" and rule.before.has(-x) else False
                at = at if not branch else {x: -at[x]}
                assert number(rule.before, rule.primitive, at) == pytest.approx(number(rule.after, rule.primitive, at), rel=1e-12), rule
                seen += 1
        assert seen and len(rule.reason) > 5
        if rule.primitive in MAPS:
            row = symbolic.DEFINITION[rule.primitive]
            arguments = _arguments(row)
            derived = row(*arguments) if rule.slot is None else sp.diff(row(*arguments), arguments[rule.slot])
            before = derived
            for other in REWRITES:
                if (other.primitive, other.slot) == (rule.primitive, rule.slot):
                    before, derived = derived, derived.subs(other.before, other.after)
                    if other is rule:
                        break
            assert before != derived, f"never used: {rule}"


def test_derivative_expressions_are_sympy():
    x, y, z = sp.symbols("x y z", real=True)
    assert symbolic.derivative_expression("multiply", 0) == y and symbolic.derivative_expression("exp", 0) == z
    slope = symbolic.derivative_expression("erf", 0).replace(lambda t: type(t).__name__ == "gauss", lambda t: sp.exp(-t.args[0]**2))
    assert sp.simplify(slope - sp.diff(sp.erf(x), x)) == 0
    assert symbolic.derivative_expression("sin", 0) == sp.cos(x)
    with pytest.raises(ValueError, match="not elementwise"):
        symbolic.derivative_expression("matmul", 0)


# ---- hard regions ------------------------------------------------------------------------------------------------------------

TRUE = {"exp": mp.exp, "exp2": lambda x: mp.mpf(2)**x, "expm1": mp.expm1, "log": mp.log, "log2": lambda x: mp.log(x, 2), "log10": mp.log10, "log1p": mp.log1p,
        "sqrt": mp.sqrt, "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)), "sin": mp.sin, "cos": mp.cos, "tan": mp.tan, "arcsin": mp.asin, "arccos": mp.acos,
        "arctan": mp.atan, "sinh": mp.sinh,
        "cosh": mp.cosh, "tanh": mp.tanh, "arcsinh": mp.asinh, "arccosh": mp.acosh, "arctanh": mp.atanh, "erf": mp.erf, "erfc": mp.erfc,
        "expit": lambda x: 1 / (1 + mp.exp(-x)),
        "log_expit": lambda x: -mp.log(1 + mp.exp(-x)), "logit": lambda x: mp.log(x / (1 - x)), "reciprocal": lambda x: 1 / x, "square": lambda x: x * x,
        "arctan2": mp.atan2, "hypot": lambda x, y: mp.sqrt(x * x + y * y), "logaddexp": lambda x, y: mp.log(mp.exp(x) + mp.exp(y)), "power": lambda x, y: x**y,
        "gammaln": mp.loggamma, "gamma": mp.gamma, "psi": mp.digamma, "zeta": mp.zeta, "xlogy": lambda x, y: x * mp.log(y), "divide": lambda x, y: x / y, "remainder": lambda x, y: x - y * mp.floor(x / y)}
HARD = {"exp": [-700, -30, 0, 1e-300, 700], "exp2": [-1000, 0.3, 1000], "expm1": [-50, -1e-10, 1e-18, 50, 700],
        "log": [1e-300, 1e-29, 1 - 1e-15, 1 + 1e-15, 1e300],
        "log2": [1e-300, 1.5, 1e300], "log10": [1e-300, 1e300], "log1p": [-1 + 1e-15, -1e-18, 1e-18, 1e200], "sqrt": [1e-300, 1e300],
        "cbrt": [1e-290, -1e-200, -8, 1e300],
        "sin": [1.5707963, 1e5], "cos": [1e-8, 3.14159], "tan": [1.5707963, 1.0], "arcsin": [1 - 1e-15, -1 + 1e-15, 1e-10], "arccos": [1 - 1e-15, -1 + 1e-15],
        "arctan": [1e-300, 1e8, 1e150], "sinh": [1e-10, 700, -700], "cosh": [1e-10, 700, -1e-300], "tanh": [1e-300, -9.010914, 18, 19, 25, 300, -350],
        "arcsinh": [1e-10, 1e160, -1e300], "arccosh": [1 + 1e-15, 1e160], "arctanh": [1 - 1e-15, -1 + 1e-15, 1e-10], "erf": [1e-10, 5, 26],
        "erfc": [1e-10, 5, -26],
        "expit": [-700, -40, 0, 40, 700], "log_expit": [-700, -1e-8, 40, 700], "logit": [1e-300, 1 - 1e-15, 0.5], "reciprocal": [1e-150, 1e154],
        "square": [1e150],
        "arctan2": [(1e200, 1e200), (1e-200, 3e-200), (1, -1), (1e-10, 5)], "hypot": [(1e200, 1e200), (1e-200, 1e-200), (3, 4), (1e-10, 5)],
        "logaddexp": [(1000, 999), (-1000, -1003), (1e10, 1e10 + 1), (1e-9, 40), (0, 700)], "power": [(1e-10, 3.5), (1e10, -2.5), (1 + 1e-12, 1e5),
        (2, 0.5), (1e-300, 1.01)],
        "gammaln": [1e-300, 1, 1e-8, 2, 1.5, 300, 1e300], "gamma": [1e-150, -2.5, 1, 170.5, -100.25], "psi": [1e-100, 1.4616, -3.7, 1e10, 1e300],
        "xlogy": [(1e-300, 1e-300), (2, 1 + 1e-15)], "divide": [(1e200, 1e180), (1e-200, 1e-150), (1e300, 1e200)], "remainder": [(1000, 300), (-3, 0.7)]}


@pytest.mark.parametrize("name", HARD)
def test_hard_regions(name):
    points = np.array(HARD[name], float)
    operands = (points,) if points.ndim == 1 else tuple(points.T)
    primitive = PRIMITIVES[name]
    z = primitive(*operands)
    assert np.allclose(symbolic.value(primitive, operands, {}), z, rtol=1e-14, atol=0)
    for slot in range(len(operands)):
        found = symbolic.pull(primitive, slot, np.ones_like(z), z, operands, {})
        for j in range(len(z)):
            with mp.workdps(700):                               # cosh is 1 + 5e-601 at 1e-300, and the step 1e-345; the truths are those of 1200 digits
                at = [mp.mpf(float(x[j])) for x in operands]
                h = (abs(at[slot]) or 1) * mp.mpf(10)**-45
                ends = [TRUE[name](*[x + s * h if k == slot else x for k, x in enumerate(at)]) for s in (1, -1)]
                true = (ends[0] - ends[1]) / (2 * h)
                assert abs(found[j] - true) <= 1e-14 * abs(true), (name, slot, points[j], found[j], mp.nstr(true, 17))


def test_logsumexp_far_out_and_with_masks():
    x = np.array([1e9, 1e9 + 1, 1e9 - 30])
    p = PRIMITIVES["logsumexp"]
    found = symbolic.pull(p, 0, np.array(1.0), p(x, axis=(0,), keepdims=False), (x,), dict(axis=(0,), keepdims=False))
    true = np.exp([-1.0, 0.0, -31.0]) / np.sum(np.exp([-1.0, 0.0, -31.0]))
    assert np.allclose(found, true, rtol=1e-15, atol=0)
    x = np.array([0.5, -np.inf])
    for axis in ((0,),):
        z = p(x, axis=axis, keepdims=False)
        assert symbolic.value(p, (x,), dict(axis=axis, keepdims=False)) == z
        assert np.array_equal(symbolic.pull(p, 0, np.array(2.0), z, (x,), dict(axis=axis, keepdims=False)), [2.0, 0.0])


# ---- kinks and corners ---------------------------------------------------------------------------------------------------------

def local(name, slot, *operands, g=None, **params):
    primitive = PRIMITIVES[name]
    with np.errstate(all="ignore"):
        z = np.asarray(primitive(*operands, **params))
    return symbolic.pull(primitive, slot, np.ones_like(z) if g is None else g, z, operands, params)


def test_ties_share_equally():
    a = np.array([1.0, 2.0, 3.0])
    b = np.array([1.0, 3.0, 2.0])
    assert local("maximum", 0, a, b).tolist() == [0.5, 0, 1] and local("maximum", 1, a, b).tolist() == [0.5, 1, 0]
    assert local("minimum", 0, a, b).tolist() == [0.5, 1, 0] and local("minimum", 1, a, b).tolist() == [0.5, 0, 1]
    x = np.array([[3.0, 1.0, 3.0], [2.0, 2.0, 2.0], [0.0, -np.inf, -np.inf]])
    assert np.array_equal(local("max", 0, x, axis=(1,), keepdims=False), [[0.5, 0, 0.5], [1 / 3] * 3, [1, 0, 0]])
    assert np.array_equal(local("min", 0, x[:2], axis=(1,), keepdims=True), [[0, 1, 0], [1 / 3] * 3])
    assert np.array_equal(local("max", 0, x[:2], axis=(0, 1), keepdims=False), [[0.5, 0, 0.5], [0, 0, 0]])


def test_kinks():
    zero = np.array([0.0])
    assert local("absolute", 0, zero) == 0 and local("sqrt", 0, zero) == np.inf and local("cbrt", 0, zero) == np.inf
    assert local("hypot", 0, zero, zero) == 0 and local("hypot", 1, zero, zero) == 0
    assert local("xlogy", 1, zero, zero) == 0 and local("xlogy", 1, zero, np.array([2.0])) == 0


def test_power_at_zero_and_below():
    x = np.array([0.0, 0.0, 0.0, -2.0, -2.0, 3.0])
    y = np.array([2.0, 1.0, 0.0, 3.0, 2.0, 0.0])
    assert local("power", 0, x, y).tolist() == [0, 1, 0, 12, -4, 0]
    assert local("power", 1, x[:2], y[:2]).tolist() == [0, 0]
    assert local("power", 0, x, 2).tolist() == (2 * x).tolist() and local("power", 0, x, 2.0).tolist() == (2 * x).tolist()
    assert local("power", 0, np.array([2.0]), 0).tolist() == [0]


def test_choice_keeps_an_infinite_cotangent_out_of_the_other_branch():
    g = np.array([np.inf, np.nan])
    assert local("where", 1, np.array([False, False]), np.ones(2), np.ones(2), g=g).tolist() == [0, 0]
    assert local("maximum", 0, np.zeros(2), np.ones(2), g=g).tolist() == [0, 0]
    assert local("max", 0, np.array([1.0, 2.0]), axis=(0,), keepdims=False, g=np.array(np.inf)).tolist() == [0, np.inf]


def test_products_with_zeros():
    for x in ([0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [2.0, 3.0, 0.0], [5.0]):
        x = np.array(x)
        others = [np.prod(np.delete(x, k)) for k in range(len(x))]
        assert local("prod", 0, x, axis=(0,), keepdims=False).tolist() == others
        running = [sum(np.prod(np.delete(x[:k + 1], j)) for k in range(j, len(x))) for j in range(len(x))]
        assert local("cumprod", 0, x, axis=0).tolist() == running
    x = np.array([[0.0, 2.0], [3.0, 4.0]])
    assert local("prod", 0, x, axis=(0, 1), keepdims=False).tolist() == [[24, 0], [0, 0]]


def test_empty_and_scalar_arrays():
    for name, shape, params in (("sum", (0, 3), dict(axis=(0,), keepdims=False)), ("prod", (0,), dict(axis=(0,), keepdims=False)), ("cumsum",
    (0,), dict(axis=0)),
                                ("logsumexp", (0,), dict(axis=(0,), keepdims=False)), ("exp", (0, 2), {}), ("reshape", (0, 2), dict(shape=(2, 0)))):
        x = np.zeros(shape)
        out = local(name, 0, x, **params)
        assert out.shape == shape
        z = PRIMITIVES[name](x, **params)
        assert np.array_equal(symbolic.value(PRIMITIVES[name], (x,), params), z)
    assert local("matmul", 0, np.ones((2, 0)), np.ones((0, 3))).shape == (2, 0)
    assert local("matmul", 0, np.ones((2, 3)), np.ones((3, 0))).tolist() == [[0] * 3] * 2
    assert local("multiply", 1, np.ones((0, 3)), np.array([1.0, 2.0, 3.0])).tolist() == [0, 0, 0]
    assert local("sin", 0, np.array(0.0)) == 1 and np.shape(local("multiply", 0, np.array(2.0), U(3))) == ()
