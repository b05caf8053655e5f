"""Matrices in kernels: systems of equations, inverses, determinants and Cholesky factors of every layout, of batches, and of what is singular."""
import itertools

import numpy as np
import pytest

import diffeng as de
from diffeng.kernels import choice, machine
from diffeng.vocabulary import linalg
from test_kernels import compiled

FUNCTIONS = {
    "solve": lambda a, s, b: np.linalg.solve(a, b),
    "of a transpose": lambda a, s, b: np.linalg.solve(np.swapaxes(a, -1, -2), b),
    "backwards": lambda a, s, b: np.linalg.solve(a[..., ::-1, ::-1], b[..., ::-1, :]),
    "inv": lambda a, s, b: np.linalg.inv(a) @ b,
    "det": lambda a, s, b: np.linalg.det(a)[..., None, None] * b,
    "slogdet": lambda a, s, b: np.linalg.slogdet(a)[0][..., None, None] * b + np.linalg.slogdet(a)[1][..., None, None],
    "cholesky": lambda a, s, b: np.linalg.cholesky(s) @ b,
    "lower": lambda a, s, b: de.linalg.solve_triangular(a, b, lower=True),
    "upper": lambda a, s, b: de.linalg.solve_triangular(a, b),
    "of a triangle's transpose": lambda a, s, b: de.linalg.solve_triangular(np.swapaxes(a, -1, -2), b),
}


def matrices(batch, n, m, dtype=np.float64):
    random = np.random.default_rng(n)
    a = random.standard_normal((*batch, n, n)) / (3 * np.sqrt(n)) + np.eye(n)
    return [x.astype(dtype) for x in (a, a @ np.swapaxes(a, -1, -2), random.standard_normal((*batch, n, m)))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name):
    f = de.jit(FUNCTIONS[name])
    for dtype in (np.float64, np.float32):
        for batch, n, m in (((), 1, 1), ((), 5, 1), ((), 33, 4), ((3,), 2, 2), ((2, 3), 4, 3), ((700,), 3, 1)):
            arguments = matrices(batch, n, m, dtype)
            got, want = f(*arguments), FUNCTIONS[name](*arguments)
            assert got.dtype == want.dtype and got.shape == want.shape
            assert np.max(np.abs(got - want)) <= 40 * np.finfo(dtype).eps * np.max(np.abs(want)), (batch, n, m, dtype)


def test_no_numpy_is_called_in_between():
    a, s, b = matrices((), 4, 2)
    assert compiled(lambda a, s, b: [f(a, s, b) for f in (FUNCTIONS[name] for name in FUNCTIONS if name not in ("backwards",))], a, s, b).calls == []


def test_a_matrix_is_factored_once():
    a, s, b = matrices((2,), 6, 3)

    def several(first, second):
        return np.linalg.solve(first, b), np.linalg.solve(np.swapaxes(second, -1, -2), b), np.linalg.inv(second), np.linalg.slogdet(first)[1]
    program = compiled(lambda a, s: several(a, a), a, s)
    for got, want in zip(program(a, s), several(a, a), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)
    assert program.kernels == compiled(several, a, s).kernels - 1


def test_a_matrix_that_the_function_makes_is_factored_once(monkeypatch):
    """However often a system has it, and whoever asks for its transpose; unless it was written into."""
    def f(u, written):
        a = np.eye(9) + np.diag(0.1 * np.arange(1.0, 9.0), 1)
        for k in range(4):
            u = np.linalg.solve(a, np.sin(u)) + np.linalg.solve(np.stack([a, a.T]), np.stack([u, u])[..., None])[1, :, 0]
            if written:
                a[0, 3] += 0.5
        return np.sum(u * u)
    found, made = [], choice.Plan.__init__
    monkeypatch.setenv("DIFFENG_CACHE", "off")
    monkeypatch.setattr(choice.Plan, "__init__", lambda self, *args, **options: (made(self, *args, **options), found.append(self))[0])
    u = np.linspace(0.0, 1.0, 9)
    for written, factored in ((False, 5), (True, 8)):          # (what is stacked is another array each time)
        value, gradient = de.jit(de.value_and_grad(lambda u: f(u, written)))(u)
        assert sum(["'lu'" in w.key for w in found[-1].rows]) == factored
        want, slope = de.value_and_grad(lambda u: f(u, written), method="forward")(u)
        assert value == pytest.approx(want, rel=1e-13)
        np.testing.assert_allclose(gradient, slope, rtol=1e-12)


def test_a_matrix_that_is_written_over_is_another():
    a, _, b = matrices((), 4, 1)

    def f(a):
        a = a.copy()
        first = np.linalg.solve(a, b)
        a[0, 1] += 2.0
        return first, np.linalg.solve(a, b)
    for got, want in zip(de.jit(f)(a), f(a), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13)


def test_singular_matrices():
    singular = np.ones((3, 2, 2)) * np.array([1.0, 0.0, -2.0])[:, None, None]
    np.testing.assert_array_equal(de.jit(np.linalg.det)(singular), np.zeros(3))
    sign, logs = de.jit(lambda x: tuple(np.linalg.slogdet(x)))(singular)
    assert not sign.any() and np.isneginf(logs).all()
    stack = np.stack([np.eye(2), np.ones((2, 2)), np.eye(2)])
    for f, x, text in ((np.linalg.inv, stack, "inv at test_kernel_matrices.py.*Singular matrix"),
                       (lambda x: de.linalg.solve_triangular(x, np.ones((3, 2, 1))), stack * [[1, 1], [1, 0]], "solve at test_kernel_matrices.py.*Singular matrix"),
                       (np.linalg.cholesky, -stack, "cholesky at test_kernel_matrices.py.*Matrix is not positive definite")):
        compiled_f = de.jit(lambda x, f=f: f(x) + 0.0)
        with pytest.raises(np.linalg.LinAlgError, match=text):
            compiled_f(x)
        np.testing.assert_allclose(compiled_f(np.tile(np.eye(2), (3, 1, 1))), f(np.tile(np.eye(2), (3, 1, 1))))          # the program goes on


def test_an_error_names_what_went_wrong_first():
    """And not its adjoint, which has no line."""
    for f, wrong, error, text in ((lambda a: np.sum(np.linalg.solve(a, np.ones((2, 1))) ** 2), np.ones((2, 2)), np.linalg.LinAlgError, "solve at .*Singular matrix"),
                                  (lambda a: np.sum(np.sin(a[np.argmax(a) + np.array([0, 1])])), np.arange(5.0), IndexError, "getitem at .*out of bounds")):
        for g in (de.grad(f), de.value_and_grad(f)):
            with pytest.raises(error, match=text.replace("at ", r"at test_kernel_matrices\.py:\d+: ")):
                de.jit(g)(wrong)


def test_infinities_and_nan_are_numpys():
    for bad in (np.nan, np.inf):
        x = np.array([[bad, 1.0], [2.0, 3.0]])
        for f in (np.linalg.inv, np.linalg.det):
            with np.errstate(invalid="ignore"):
                np.testing.assert_array_equal(np.isnan(de.jit(lambda x, f=f: f(x))(x)), np.isnan(f(x)))


def test_large_ones_beside_products():
    a, s, b = matrices((), 300, 300)
    f = lambda a, s, b: np.linalg.solve(a, b) @ s + np.linalg.cholesky(s) @ b                                # noqa: E731
    want = f(a, s, b)
    np.testing.assert_allclose(de.jit(f)(a, s, b), want, atol=1e-12 * np.max(np.abs(want)))


def test_gradients_of_a_likelihood():
    def likelihood(p, x, y):
        k = np.exp(p[0] - 0.5 * (x[:, None] - x) ** 2 * np.exp(p[1])) + np.exp(p[2]) * np.eye(len(y))
        return 0.5 * y @ np.linalg.solve(k, y) + np.sum(np.log(np.diagonal(np.linalg.cholesky(k))))
    p, x, y = np.array([0.1, 0.2, -2.0]), np.linspace(0, 3, 20), np.sin(np.arange(20.0))
    value, gradient = de.jit(de.value_and_grad(likelihood))(p, x, y)
    eager, other = de.value_and_grad(likelihood, method="forward")(p, x, y)
    np.testing.assert_allclose(value, eager, rtol=1e-12)
    np.testing.assert_allclose(gradient, other, rtol=1e-10)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_determinants_of_small_matrices_are_elementwise(dtype, monkeypatch):
    """As good as by LAPACK, also where the matrices are nearly of rank 1, and whichever entry is the pivot."""
    monkeypatch.setenv("DIFFENG_CACHE", "off")
    rng, eps = np.random.default_rng(4), np.finfo(dtype).eps
    for shape in ((1, 1), (2, 2), (3, 3), (6, 1, 1), (5, 4, 2, 2), (300, 3, 3)):
        for decay in (1, eps ** 0.4):
            u, s, v = np.linalg.svd(rng.standard_normal(shape))
            x = ((u * s[..., None, :] * decay ** np.arange(shape[-1])) @ v).astype(dtype)
            machine.settle()
            monkeypatch.setattr(machine, "_kernels", {})                # (a single one takes LAPACK's kernel where that is there)
            program, want = compiled(np.linalg.det, x), np.linalg.det(x.astype(float))
            assert program.calls == [] and program.kernels == 1
            got, others = program(x)[0], np.abs(np.linalg.det(x.astype(float))[..., None, None] * np.swapaxes(np.linalg.inv(x.astype(float)), -1, -2))
            assert got.dtype == dtype
            assert np.all(np.abs(got - want) <= 30 * eps * np.max(np.abs(x), axis=(-2, -1)) * np.max(others, axis=(-2, -1)))
    turns = np.eye(3, dtype=dtype)[np.array([*itertools.permutations(range(3))])]
    a = np.concatenate([turns, 0 * turns[:1], np.diag([1e15, 1e15, 1e-25]).astype(dtype)[None], np.array([[[np.nan, 1, 2], [1, 2, 3], [1, 1, 1]]], dtype)])
    np.testing.assert_allclose(compiled(np.linalg.det, np.zeros_like(a))(a)[0], np.array([1, -1, -1, 1, 1, -1, 0, 1e5, np.nan]), rtol=4 * eps)
    big = float(np.finfo(dtype).max) ** 0.75
    a = np.stack([np.diag(d).astype(dtype) for d in ((1 / big, big, big), (big, 1 / big, 1 / big), (big, big, 1 / big))])
    np.testing.assert_allclose(compiled(np.linalg.det, a)(a)[0], [big, 1 / big, big], rtol=16 * eps)
    assert compiled(np.linalg.det, a[0, :2, :2])(np.full((2, 2), big, dtype))[0] == 0
    assert np.array_equal(compiled(np.linalg.det, np.zeros((2, 0, 0)))(np.zeros((2, 0, 0)))[0], [1, 1])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_cofactors_of_small_matrices_are_kernels(dtype):
    for shape in ((1, 1), (2, 2), (3, 3), (6, 1, 1), (5, 4, 2, 2), (300, 3, 3), (4, 4), (2, 5, 16, 16), (300, 4, 4)):
        x = np.random.default_rng(3).standard_normal(shape).astype(dtype)
        program, want = compiled(linalg.cofactor, x), np.linalg.det(x)[..., None, None] * np.swapaxes(np.linalg.inv(x), -1, -2)
        assert program.calls == []
        for got in (program(x)[0], linalg.cofactor(x)):
            assert got.dtype == dtype
            np.testing.assert_allclose(got, want, rtol=0, atol=200 * np.finfo(dtype).eps * np.max(np.abs(want)))
    a = np.zeros((3, 3), dtype)
    a[0, 1] = a[2, 0] = 2                                    # two rows of a matrix of rank 2
    for got in (compiled(linalg.cofactor, a)(a)[0], linalg.cofactor(a)):
        assert np.array_equal(got, [[0, 0, 0], [0, 0, 4], [0, 0, 0]])
