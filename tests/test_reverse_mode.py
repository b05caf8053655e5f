"""PULL rows on their own: complete, accurate where it is hard, right at kinks and at the edges of shapes."""
import itertools
import tracemalloc

import mpmath

import numpy as np
import pytest
import scipy.special as sc

import diffeng as de
from diffeng import reverse_mode, reverse_rules
from diffeng.influence import influenced, influences
from diffeng.nodes import Tracing, reachable
from diffeng.reverse_mode import PULL
from diffeng.vocabulary import PRIMITIVES


def test_every_differentiable_operand_has_a_row():
    missing = []
    for name, p in PRIMITIVES.items():
        if p.slots == () or p.kind in ("input", "constant"):
            continue
        for slot in p.slots if p.slots is not None else range(len(p.domain or ((0, 1),))):
            try:
                if PULL[name][slot] is None and slot not in p.held:
                    raise KeyError
            except (KeyError, IndexError):
                missing.append(f"{name} (operand {slot})")
    assert not missing, f"rows missing in PULL: {missing}"


HARD = [
    ("tanh", np.tanh, mpmath.tanh, [18.0, -40.0, 300.0, 1e-9]), ("expit", sc.expit, lambda x: 1 / (1 + mpmath.exp(-x)), [40.0, -700.0, 0.1]),
    ("log_expit", sc.log_expit, lambda x: -mpmath.log1p(mpmath.exp(-x)), [40.0, -40.0]), ("arcsin", np.arcsin, mpmath.asin, [1 - 1e-15, -1 + 1e-13, 0.3]),
    ("arccos", np.arccos, mpmath.acos, [1 - 1e-15, 0.3]), ("arccosh", np.arccosh, mpmath.acosh, [1 + 1e-14, 1e9]),
    ("arctanh", np.arctanh, mpmath.atanh, [1 - 1e-14, 1e-8]),
    ("expm1", np.expm1, mpmath.expm1, [-40.0, 1e-12]), ("log1p", np.log1p, mpmath.log1p, [-1 + 1e-14, 1e300]), ("log", np.log, mpmath.log, [1e-29, 1e-300]),
    ("erf", sc.erf, mpmath.erf, [5.0, 20.0]), ("erfc", sc.erfc, mpmath.erfc, [5.0, 20.0]), ("arcsinh", np.arcsinh, mpmath.asinh, [1e200, 1e-9]),
    ("tan", np.tan, mpmath.tan, [1.57, 1e-3]),
    ("logit", sc.logit, lambda x: mpmath.log(x) - mpmath.log1p(-x), [1e-12, 1 - 1e-12]), ("cbrt", np.cbrt, lambda x: mpmath.cbrt(x), [1e-200, 27.0]),
    ("sqrt", np.sqrt, mpmath.sqrt, [1e-300, 2.0]),
    ("exp2", np.exp2, lambda x: mpmath.mpf(2) ** x, [-1000.0, 3.0]), ("log2", np.log2, lambda x: mpmath.log(x, 2), [1 + 1e-15]),
    ("log10", np.log10, mpmath.log10, [1e-100]),
]


@pytest.mark.parametrize("name,f,exact,points", HARD, ids=[h[0] for h in HARD])
@pytest.mark.parametrize("method", ["reverse", "forward", "symbolic"])
def test_hard_points(name, f, exact, points, method):
    with mpmath.workdps(400):
        for x in points:
            x0 = mpmath.mpf(x)
            h = abs(x0) * mpmath.mpf(10) ** -100
            truth = (exact(x0 + h) - exact(x0 - h)) / (2 * h)
            got = de.grad(f, method=method)(x)
            assert abs((mpmath.mpf(float(got)) - truth) / truth) < 1e-12, (x, float(got), float(truth))


@pytest.mark.parametrize("method", ["reverse", "forward", "symbolic"])
def test_kinks_follow_the_table(method):
    g = lambda f, *a: de.grad(f, method=method)(*a)      # noqa: E731
    assert g(np.abs, 0.0) == 0
    assert g(lambda x: np.maximum(x, x), 1.5) == 1
    assert g(lambda x: np.maximum(x, 0.0), 0.0) == 0.5
    assert g(lambda x: np.clip(x, 0.0, 1.0), 1.0) == 0.5
    assert g(lambda x: np.where(x > 0, x, 0.0), 0.0) == 0
    assert np.isposinf(g(np.sqrt, 0.0))
    np.testing.assert_allclose(g(lambda x: np.max(x), np.array([2.0, 2.0, 1.0, 2.0])), [1 / 3, 1 / 3, 0, 1 / 3])
    np.testing.assert_allclose(g(lambda x: np.linalg.norm(x), np.zeros(3)), np.zeros(3))
    assert g(np.sign, 0.0) == 0


@pytest.mark.parametrize("method", ["reverse", "forward", "symbolic"])
def test_power_at_its_edges(method):
    g = lambda f, *a: float(de.grad(f, method=method)(*a))      # noqa: E731
    assert g(lambda x: x ** 3.0, -2.0) == 12
    assert g(lambda x: x ** 2, 0.0) == 0
    assert g(lambda x: x ** 0, 0.0) == 0
    assert g(lambda x: x ** 1, 0.0) == 1
    assert g(lambda y: 0.0 ** y, 2.0) == 0
    assert g(lambda y: 2.0 ** y, 3.0) == pytest.approx(8 * np.log(2))


@pytest.mark.parametrize("method", ["reverse", "forward", "symbolic"])
def test_products_with_zeros(method):
    x = np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 5.0]])
    np.testing.assert_allclose(de.grad(lambda x: np.sum(np.prod(x, axis=1)), method=method)(x), [[0, 6, 0], [0, 0, 0]])
    np.testing.assert_allclose(de.grad(lambda x: np.sum(np.cumprod(x, axis=1)[:, -1]), method=method)(x), [[0, 6, 0], [0, 0, 0]])


@pytest.mark.parametrize("method", ["reverse", "forward", "symbolic"])
def test_shapes_at_the_edge(method):
    g = lambda f, x: de.grad(f, method=method)(x)      # noqa: E731
    assert g(lambda x: np.sum(x * 2), np.zeros((0, 3))).shape == (0, 3)
    assert g(lambda x: np.sum(x @ np.zeros((3, 2))), np.zeros((0, 3))).shape == (0, 3)
    zero_d = g(lambda x: np.sin(x) * x, np.array(0.5))
    assert np.shape(zero_d) == () and zero_d == pytest.approx(np.sin(0.5) + 0.5 * np.cos(0.5))
    a, b = np.random.default_rng(0).normal(size=(2, 3, 1)), np.random.default_rng(1).normal(size=(1, 4))
    np.testing.assert_allclose(g(lambda x: np.sum(x * b * b), a), np.full(a.shape, np.sum(b * b)))
    np.testing.assert_allclose(g(lambda x: np.sum(a * x * x), b), 2 * b * a.sum())
    strided = np.arange(24.0).reshape(4, 6)[::2, 1::2]
    np.testing.assert_allclose(g(lambda x: np.sum(x ** 2), strided), 2 * strided)
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.testing.assert_allclose(g(lambda x: np.sum(x.reshape(3, 2)[0] ** 2), fortran), [[0, 2, 0], [0, 0, 0]])
    single = g(lambda x: np.sum(np.tanh(x) * 2.5 + np.log1p(x * x) / 3), np.ones(3, np.float32))
    assert single.dtype == np.float32
    mixed = g(lambda x: np.sum(x * np.ones(3)), np.ones(3, np.float32))
    assert mixed.dtype == np.float32


def test_missing_row_names_operand_and_cure(monkeypatch):
    monkeypatch.delitem(PULL, "tanh")
    with pytest.raises(NotImplementedError, match=r"no pullback for 'tanh' \(operand 0\) at test_reverse_mode.py:\d+: "
                                                  r"add a row to PULL in diffeng/reverse_mode.py"):
        de.grad(np.tanh)(1.0) if False else de.grad(lambda x: np.tanh(x))(1.0)


def test_terms_are_added_in_place_only_where_nobody_else_holds_the_sum():
    x, seed = np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0, 100.0])

    def often(x):
        y = x + 0.0
        return y + y + y + y + x + x                                    # every pullback hands on the cotangent that came
    out, pullback = de.vjp(often, x)
    first, = pullback(seed)
    kept = first.copy()
    second, = pullback(seed)
    assert np.array_equal(first, 6 * seed) and np.array_equal(first, kept) and np.array_equal(second, kept)
    assert np.array_equal(seed, [1.0, 10.0, 100.0]) and not np.shares_memory(first, seed) and not np.shares_memory(first, second)


def test_terms_of_an_array_without_axes_are_all_counted():
    """Some of them are arrays, to which is added in place, and some NumPy's scalars, to which nothing can be."""
    terms = {"mask": lambda x: np.sum(x[x > 0]) * 2, "scalar": lambda x: x * 5, "shape": lambda x: np.sum(np.reshape(x, (1,)) * 7),
             "another mask": lambda x: np.sum(x[x > 0] * 3)}
    slopes = {"mask": 2, "scalar": 5, "shape": 7, "another mask": 3}
    for order in itertools.product(terms, repeat=4):
        assert de.grad(lambda x: sum([terms[name](x) for name in order]))(np.array(1.0)) == sum([slopes[name] for name in order]), order


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 13])
def test_cumprod_with_and_without_zeros(n):
    random = np.random.default_rng(n)
    for zeros in ((), (0,), (n - 1,), (n // 2,), (0, n - 1)):
        x, w = random.uniform(0.5, 1.5, (2, n, 3)), random.normal(size=(2, n, 3))
        x[:, list(zeros)] = 0
        for axis in (0, 1, 2):
            f = lambda x: np.sum(np.cumprod(x, axis=axis) * w)
            found = [de.grad(f, method=m)(x) for m in ("reverse", "forward", "symbolic")]
            for g in (*found[1:], de.jit(de.grad(f))(x)):
                np.testing.assert_allclose(g, found[0], rtol=1e-12, atol=1e-14)


def test_cumprod_of_many_entries_needs_little_memory():
    x = np.full(50_000, 1 + 1e-5)
    tracemalloc.start()
    slope = de.grad(lambda x: np.cumprod(x)[-1])(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(slope, np.prod(x) / x, rtol=1e-10)
    assert peak < 40 * x.nbytes                                          # n times n would be 20 GB


def test_a_reduction_takes_a_cotangent_that_is_one_number():
    x = np.random.default_rng(4).normal(size=(3, 4, 2)) ** 2 + 0.5
    for reduce in (np.sum, np.mean, np.prod, np.max, np.min, np.var):
        for axis in (1, (0, 2)):
            for after in (np.mean, lambda y: np.sum(np.sum(y, axis=0) * np.arange(1.0, 3.0))):     # the second: a row of numbers, which is spread
                found, expected = (de.grad(lambda x: after(reduce(x, axis=axis)), method=method)(x) for method in ("reverse", "forward"))
                np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
                assert found.flags.writeable


def test_the_gradient_of_a_masked_part_has_zeros_elsewhere():
    x, mask = np.arange(6.0).reshape(2, 3), np.array([[True, False, True], [False, True, False]])
    assert np.array_equal(de.grad(lambda x: np.sum(x[mask] * [2.0, 3.0, 5.0]))(x), [[2, 0, 3], [0, 5, 0]])
    assert np.array_equal(de.grad(lambda x: np.sum(x[[0, 0, 1]] * 2.0))(x), [[4, 4, 4], [2, 2, 2]])              # rows that are read twice add up


def test_the_parts_of_one_array_are_cut_from_its_cotangent_at_once(monkeypatch):
    """One call for all of them, and one by one for who asks so; a part that is no number's has none."""
    calls = []
    for rows in reverse_rules.Concatenate, reverse_rules.Stack:
        monkeypatch.setattr(rows, "every", lambda self, *args, axis, every=rows.every: calls.append(axis) or every(self, *args, axis=axis))
    x, w = np.linspace(-1, 1, 12).reshape(3, 4), np.arange(28.0).reshape(4, 7)
    found = de.grad(lambda x: np.sum(np.concatenate([x[:, 1:].T, np.ones((3, 1)), x.T[:3]], axis=1) * w[:3]))(x)
    want = np.zeros((3, 4))
    want[:, 1:] += w[:3, :3].T
    want[:, :3] += w[:3, 4:].T
    np.testing.assert_array_equal(found, want)
    assert calls == [1]
    stacked = de.grad(lambda x: np.sum(np.stack([x[i, j] for i in range(3) for j in range(4)]) * w.ravel()[:12]))(x)
    np.testing.assert_array_equal(stacked, w.ravel()[:12].reshape(3, 4))
    assert calls == [1, 0]


@pytest.mark.parametrize("f,chosen", [
    (lambda x, y: np.sum(np.tanh(x) * y), (0, 1)), (lambda x, y: np.sum(np.tanh(x) * y), (1,)),           # every leaf; a leaf that is held constant
    (lambda x, y: np.sum(np.where(x > y, x, y) * np.sign(x)), (0, 1)),                                   # operands without a derivative
    (lambda x, y: np.sum(np.floor(x) * 2.0 + np.cumsum(y)[np.argsort(x)] * x.astype(int)), (0, 1)), (lambda x, y: x[0] * 2.0, (0, 1)),
    (lambda x, y: np.sum(np.concatenate([x, np.ones(2), y, x])), (0, 1))])
def test_what_is_influenced_is_what_two_walks_find(f, chosen):
    tracing = Tracing()
    leaves = [tracing.input(np.array([0.3, -1.2, 2.5]), name) for name in "xy"]
    outputs, inputs = [f(*leaves).node], [leaves[k].node for k in chosen]
    order = reachable(outputs)
    found, wanted = influences(outputs, inputs)
    assert found == order
    assert {n: wanted.get(n) for n in order} == {n: influenced(order, inputs).get(n) for n in order}


def test_no_cotangent_is_computed_that_leads_nowhere(monkeypatch):
    asked = []

    def counted(name):
        return [lambda *a, k=k, row=row, **p: asked.append((name, k)) or row(*a, **p) for k, row in enumerate(PULL[name])]
    for name in ("matmul", "multiply", "where"):
        monkeypatch.setitem(PULL, name, counted(name) if name != "where" else [None, *[lambda *a: asked.append("where")] * 2])
    A, x = np.arange(9.0).reshape(3, 3), np.array([1.0, -2.0, 3.0])

    def f(x):
        held = 2.0 * de.stop_gradient(A * x)                             # of the product below, this factor leads to no input
        return np.sum((held @ x) * np.where(np.sign(x) > 0.0, 1.0, 2.0))

    np.testing.assert_allclose(de.grad(f)(x), np.array([1.0, 2.0, 1.0]) @ (2 * A * x))
    assert asked == [("multiply", 0), ("matmul", 1)]


def test_the_order_backwards_is_that_of_the_recording_reversed():
    seen = []

    def f(x):
        a = np.sin(x)
        b = np.exp(a)
        c = np.cos(x) * b                                                # recorded late, and read before what was recorded early is done
        return np.sum(a * c + b * x + np.tanh(a))
    rows = {name: [lambda *a, name=name, row=row, **p: seen.append(name) or row(*a, **p) for row in PULL[name]] for name in ("sin", "exp", "cos", "tanh")}
    with pytest.MonkeyPatch.context() as patch:
        for name, row in rows.items():
            patch.setitem(PULL, name, row)
        found = de.grad(f)(np.array([0.3, -0.7]))
    assert seen == ["tanh", "cos", "exp", "sin"]
    np.testing.assert_allclose(found, de.grad(f, method="forward")(np.array([0.3, -0.7])), rtol=1e-13)


@pytest.mark.parametrize("text, shapes", [("bd,baa,cd->", [(2, 4), (1, 2, 2), (3, 4)]), ("bcd,cdd,bba->a", [(1, 3, 1), (1, 4, 4), (4, 4, 2)]),
                                          ("cbb,bbd,cc->b", [(2, 1, 1), (1, 1, 2), (1, 1)]), ("aab,b->a", [(3, 3, 1), (5,)]), ("ij,jk,k->i", [(3, 1), (4, 2), (2,)])])
def test_diagonals_of_factors_that_are_repeated(text, shapes):
    """A letter that comes twice in a factor, beside one along which the factor is 1 long and others are not."""
    random = np.random.default_rng(3)
    args = [random.normal(size=shape) for shape in shapes]

    def f(*args):
        return np.sum(np.sin(np.einsum(text, *args)))
    wanted = de.grad(f, argnums=(0, 1), method="forward")(*args)
    for gradient in de.grad(f, argnums=(0, 1)), de.jit(de.grad(f, argnums=(0, 1))):
        for got, want in zip(gradient(*args), wanted):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


def test_a_choice_between_numbers_that_are_known():
    """A condition of Python's own numbers, and what is chosen is read entry by entry."""
    def f(w):
        total = 0.0
        for _ in range(3):
            total = total + 0.04 * np.where(total > 0.1, w[0], total)
        return total + w[1]
    x = np.array([0.3, -0.2])
    np.testing.assert_allclose(de.jit(de.grad(f))(x), de.grad(f)(x), rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_parts_of_a_mean_add_up_to_it_in_a_program(dtype):
    """For every n, so that it is one program: 49 times 1/49 is less than 1, and so is the sum of 80 times 1/80, as NumPy adds them."""
    for n in (1, 3, 49, 66, 80, 98, 1000):
        x, p = np.ones((n, 2), dtype), np.ones(2, dtype)
        for f, want in ((lambda p: np.mean(x[:, 0] + p[0]), [1, 0]), (lambda p: -3 * np.mean(x + p), [-1.5, -1.5]), (lambda p: np.mean(x + np.sum(p)), [1, 1])):
            np.testing.assert_array_equal(de.jit(de.grad(f))(p), np.array(want, dtype))
