"""Whole matrices: numpy.linalg's functions, and diffeng.linalg's, by every method."""
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import scipy.linalg

import diffeng as de
from diffeng.symbolic.definitions import DEFINITION, Equation, Expansion
from diffeng.vocabulary import linalg

METHODS = ("symbolic", "forward", "reverse")
RNG = np.random.default_rng(3)
A, W, B, B2 = RNG.normal(size=(4, 4)) + 4 * np.eye(4), RNG.normal(size=(4, 4)), RNG.normal(size=4), RNG.normal(size=(4, 2))
S = W @ W.T + np.eye(4)
STACK = RNG.normal(size=(2, 1, 3, 3)) + 3 * np.eye(3)
OTHERWISE = ("cholesky upper", "eigvalsh", "svdvals", "norm", "cond", "qr wide", "pinv", "lstsq", "principal",          # made of what LAPACK has a routine of its own for
             "solve", "inv", "det", "slogdet", "cholesky", "matrix_power", "tensorinv", "tensorsolve", "likelihood", "in place")          # kernels, not NumPy's calls
FUNCTIONS = {
    "solve": (lambda a, b: np.linalg.solve(a, b), A, B), "solve matrix": (lambda a, b: np.linalg.solve(a, b), A, B2),
    "solve stack": (lambda a, b: np.linalg.solve(a, b), STACK, RNG.normal(size=(5, 3, 2))), "solve stack vector": (lambda a, b: np.linalg.solve(a, b), STACK, B[:3]),
    "inv": (lambda a: np.linalg.inv(a), A), "inv stack": (lambda a: np.linalg.inv(a), STACK), "det": (lambda a: np.linalg.det(a), A),
    "det stack": (lambda a: np.linalg.det(a), STACK), "slogdet": (lambda a: np.linalg.slogdet(a)[1], -A[:3, :3]),
    "sign": (lambda a: np.prod(np.linalg.slogdet(a)), -A[:3, :3]), "slogdet stack": (lambda a: np.linalg.slogdet(a).logabsdet, STACK),
    "cholesky": (lambda a: np.linalg.cholesky(a), S), "cholesky upper": (lambda a: np.linalg.cholesky(a, upper=True), S),
    "cholesky stack": (lambda a: np.linalg.cholesky(a), np.stack([S, S + np.eye(4)])),
    "matrix_power": (lambda a: np.linalg.matrix_power(a, -3), A), "tensorinv": (lambda a: np.linalg.tensorinv(a, ind=1), A[:, :, None].reshape(4, 2, 2)),
    "tensorsolve": (lambda a, b: np.linalg.tensorsolve(a.reshape(2, 2, 4), b.reshape(2, 2)), A, B),
    "tensorsolve axes": (lambda a, b: np.linalg.tensorsolve(a.reshape(4, 2, 2), b.reshape(2, 2), axes=(0,)), A, B),
    "eigvalsh": (lambda a: np.linalg.eigvalsh(a), A), "eigvalsh upper": (lambda a: np.linalg.eigvalsh(a, UPLO="U"), A),
    "eigh upper": (lambda a: np.linalg.eigh(a, "U")[1], A), "eigh": (lambda a: np.concatenate(np.linalg.eigh(a)[1] ** 2) + np.linalg.eigh(a).eigenvalues[1], A), "eigh stack": (lambda a: np.linalg.eigh(a)[1], STACK),
    "svd": (lambda a: np.concatenate([np.linalg.svd(a, full_matrices=False)[0], np.linalg.svd(a, full_matrices=False)[2]], axis=0), W[:, :3]),
    "svd wide": (lambda a: np.linalg.svd(a, full_matrices=False).Vh, W[:2]), "svd square": (lambda a: np.linalg.svd(a)[0] * np.linalg.svd(a)[1], W),
    "svd stack": (lambda a: np.linalg.svd(a).U, STACK), "svdvals": (lambda a: np.linalg.svdvals(a), W[:, :2]), "norm 2": (lambda a: np.linalg.norm(a, 2), W[:, :2]),
    "norm nuc": (lambda a: np.linalg.norm(a, "nuc", axis=(2, 0)), STACK[:, 0]), "norm -2": (lambda a: np.linalg.norm(a, -2), W), "cond": (lambda a: np.linalg.cond(a), W),
    "cond 1": (lambda a: np.linalg.cond(a, 1), W), "qr": (lambda a: np.linalg.qr(a)[0], W[:, :3]), "qr r": (lambda a: np.linalg.qr(a, mode="r"), W), "qr wide": (lambda a: np.linalg.qr(a).R, W[:3]),
    "qr stack": (lambda a: np.linalg.qr(a).Q, STACK), "pinv": (lambda a: np.linalg.pinv(a), W[:, :2]), "pinv wide": (lambda a: np.linalg.pinv(a), W[:2]),
    "lstsq": (lambda a, b: np.linalg.lstsq(a, b)[0], W[:, :2], B), "lstsq residuals": (lambda a, b: np.concatenate([np.linalg.lstsq(a, b)[1], np.linalg.lstsq(a, b)[3]]), W[:, :2], B2),
    "principal": (lambda a: np.linalg.eigh(a.T @ a)[1][:, -1] ** 2, W), "likelihood": (lambda a, b: -0.5 * b @ np.linalg.solve(a @ a.T, b) - 0.5 * np.linalg.slogdet(a @ a.T)[1], W, B),
    "in place": (lambda a, b: _solved_in_place(a, b), A, B),
}
TWINS = {
    "solve pos": (lambda m, a, b: m.solve(a, b, assume_a="pos"), S, B), "solve sym": (lambda m, a, b: m.solve(a, b, assume_a="sym"), A, B2),
    "solve sym lower": (lambda m, a, b: m.solve(a, b, assume_a="sym", lower=True), A, B), "solve transposed": (lambda m, a, b: m.solve(a, b, transposed=True), A, B),
    "solve tridiagonal": (lambda m, a, b: m.solve(a, b, assume_a="tridiagonal"), np.triu(np.tril(A, 1), -1), B),
    "solve triangular": (lambda m, a, b: m.solve(a, b, assume_a="upper triangular"), np.triu(A), B),
    "inv": (lambda m, a: m.inv(a), A), "det": (lambda m, a: m.det(a), A), "norm": (lambda m, a: m.norm(a), A),
    "cholesky": (lambda m, a: m.cholesky(a), S), "cholesky lower": (lambda m, a: m.cholesky(a, lower=True), S),
    "cho_solve": (lambda m, a, b: m.cho_solve(m.cho_factor(a), b), S, B2), "cho_solve lower": (lambda m, a, b: m.cho_solve(m.cho_factor(a, lower=True), b), S, B),
    "solve_triangular": (lambda m, a, b: m.solve_triangular(a, b), A, B),
    "solve_triangular lower": (lambda m, a, b: m.solve_triangular(a, b, trans="T", lower=True, unit_diagonal=True), A, B2),
    "eigh": (lambda m, a: m.eigh(a)[1] ** 2, A), "eigh of two": (lambda m, a, b: np.concatenate([m.eigh(a, b)[1] ** 2, m.eigvalsh(a, b)[None]]), A, S),
    "eigh of two upper": (lambda m, a, b: m.eigh(a, b, lower=False)[1], A, S), "eigvalsh": (lambda m, a: m.eigvalsh(a, lower=False), A),
    "qr": (lambda m, a: m.qr(a, mode="economic")[0], W[:, :2]), "qr r": (lambda m, a: m.qr(a, mode="r")[0], W[:2]), "qr full": (lambda m, a: m.qr(a)[1], W),
    "pinv": (lambda m, a: m.pinv(a), W[:2]), "lstsq": (lambda m, a, b: m.lstsq(a, b)[0], W[:, :2], B), "lstsq residual": (lambda m, a, b: m.lstsq(a, b)[1], W[:, :2], B),
    "svd": (lambda m, a: m.svd(a, full_matrices=False)[0], W[:, :2]), "svd square": (lambda m, a: m.svd(a)[2], W), "svdvals": (lambda m, a: m.svdvals(a), W[:2]),
    "expm": (lambda m, a: m.expm(a), W / 4), "expm large": (lambda m, a: m.expm(a), 2 * W), "expm stack": (lambda m, a: m.expm(a), STACK / 9),
}


def _solved_in_place(a, b):
    a, b = a.copy(), b.copy()
    a[0, 0] += b[1]
    b[1:] = np.linalg.solve(a, b)[:3]
    return b


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_verdict(name):
    f, *args = FUNCTIONS[name]
    report = de.compare(f, *args)
    assert report.agree, str(report)
    assert all(m.ulp < 200 for m in report.methods.values()), str(report)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_numpys_and_second_derivatives_agree(name):
    f, *args = FUNCTIONS[name]
    want, both = f(*args), tuple(range(len(args)))
    compiled = de.jit(f)
    np.testing.assert_allclose(compiled(*args), want, rtol=3e-14 if name.split()[0] in OTHERWISE or name in OTHERWISE else 0)
    assert compiled(*[x.astype(np.float32) for x in args]).dtype == np.float32

    def curved(*args):
        return np.sum(np.sin(f(*args)))
    weights = [RNG.normal(size=x.shape) for x in args]
    products = [de.hvp(curved, args, tuple(weights), method=m) for m in METHODS]
    gradient = de.grad(curved, both)
    first, second = de.jit(gradient)(*args), gradient(*args)
    for k in range(len(args)):
        np.testing.assert_allclose(products[0][1][k], products[2][1][k], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(products[1][1][k], products[2][1][k], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(first[k], second[k], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", TWINS)
def test_twins_of_scipy(name):
    f, *args = TWINS[name]
    np.testing.assert_allclose(f(de.linalg, *args), f(scipy.linalg, *args), rtol=3e-12)
    report = de.compare(lambda *x: f(de.linalg, *x), *args)
    assert report.agree, str(report)
    if name != "norm":                                   # SciPy 1.17's runs on traced values
        with pytest.raises(TypeError, match=r"at test_linalg\.py:\d+, a function of scipy, converts .*use diffeng\.linalg\."):
            de.grad(lambda *x: np.sum(f(scipy.linalg, *x)))(*args)


def test_the_exponential_has_its_digits():
    for scale in (1e-3, 0.7, 4.0, 20.0):
        with mpmath.workdps(60):
            truth = np.array(mpmath.expm(mpmath.matrix((scale * W).tolist())).tolist(), object)
            error = np.max(np.abs(truth - de.linalg.expm(scale * W))) / np.max(np.abs(truth))
        assert error < 2e-15 * (1 + scale * np.abs(W).sum(0).max()), scale
    assert np.array_equal(de.linalg.expm(np.zeros((2, 2))), np.eye(2)) and de.linalg.expm(np.zeros((0, 3, 3))).shape == (0, 3, 3)
    assert np.isnan(de.linalg.expm(np.full((2, 2), np.nan))).all()


# ---- edges --------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", METHODS)
def test_the_determinant_of_a_singular_matrix_has_a_derivative(method):
    singular = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])
    np.testing.assert_allclose(de.grad(np.linalg.det, method=method)(singular), [[4, 4, -4], [-2, -2, 2], [0, 0, 0]], atol=1e-14)
    np.testing.assert_allclose(de.grad(np.linalg.det, method=method)(np.zeros((3, 3))), np.zeros((3, 3)))
    np.testing.assert_allclose(de.grad(np.linalg.det, method=method)(np.array([[0.0]])), [[1.0]])
    report = de.compare(np.linalg.det, singular)
    assert report.agree, str(report)


def _second_of_det(a):
    """Determinants without two rows and two columns, (n, n, n, n)."""
    n, out = len(a), np.zeros(a.shape * 2)
    for i, j, k, m in np.ndindex(out.shape):
        if i != k and j != m:
            left = np.delete(np.delete(a, [i, k], 0), [j, m], 1)
            out[i, j, k, m] = (-1.0) ** (i + j + k + m) * (1 if k < i else -1) * (1 if m < j else -1) * (np.linalg.det(left) if n > 2 else 1)
    return out


@pytest.mark.parametrize("method", ["symbolic", "forward", "reverse"])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_second_and_third_derivatives_of_determinants_of_singular_matrices(n, method):
    rng = np.random.default_rng(n)
    a = rng.normal(size=(n, n))
    for x in (a, np.outer(a[0], a[:, 0]), np.zeros((n, n)), np.vstack([a[:-1], a[:1]]), np.eye(n)):
        want = _second_of_det(x)
        for hessian in (de.hessian(np.linalg.det, method=method), de.jit(de.hessian(np.linalg.det, method=method))):
            np.testing.assert_allclose(hessian(x), want, atol=1e-13)
    if n == 3:                                           # of which the second derivative is linear
        x, way = np.outer(a[0], a[1]), rng.normal(size=(n, n))
        third = de.jvp(de.hessian(np.linalg.det, method=method), (x,), (way,))[1]
        np.testing.assert_allclose(third, _second_of_det(way), atol=1e-13)


def exact_cofactors(a):
    """By Gauss's elimination in fractions."""
    def det(rows):
        rows, out = [[*r] for r in rows], Fraction(1)
        for k in range(len(rows)):
            p = next((i for i in range(k, len(rows)) if rows[i][k]), None)
            if p is None:
                return Fraction(0)
            if p != k:
                rows[p], rows[k], out = rows[k], rows[p], -out
            out *= rows[k][k]
            for i in range(k + 1, len(rows)):
                rows[i] = [x - rows[i][k] / rows[k][k] * y for x, y in zip(rows[i], rows[k])]
        return out
    rows, n = [[Fraction(float(x)) for x in r] for r in a], range(len(a))
    return np.array([[float((-1) ** (i + j) * det([[rows[p][q] for q in n if q != j] for p in n if p != i])) for j in n] for i in n])


@pytest.mark.parametrize("n", [4, 5, 7])
def test_cofactors_of_regular_and_singular_matrices(n):
    """Of any rank, badly scaled, in stacks: to some units in the last place of the largest one."""
    random = np.random.default_rng(n)
    whole = np.round(4 * random.normal(size=(n, n)))
    twice, thrice = whole.copy(), whole.copy()
    twice[:, 1], thrice[:, 1], thrice[:, 3] = 2 * twice[:, 0], 2 * thrice[:, 0], thrice[:, 2]
    graded = random.normal(size=(n, n)) * 2.0 ** np.linspace(-200, 200, n)
    stack = np.stack([random.normal(size=(n, n)), whole, twice, thrice, np.zeros((n, n)), np.eye(n)[random.permutation(n)], graded, graded.T[::-1]])
    for dtype, several in (np.float64, stack), (np.float32, stack[:6]):
        several = several.astype(dtype)
        want, eps = np.stack([exact_cofactors(x) for x in several]), np.finfo(dtype).eps
        size = np.max(np.abs(want), axis=(1, 2), keepdims=True)
        most = np.where(size == 0, eps * np.linalg.norm(whole) ** (n - 1), 8 * eps * size)          # 0: of rank n - 2
        for f in linalg.cofactor, de.jit(lambda a: linalg.cofactor(a)), de.jit(lambda a: np.swapaxes(linalg.cofactor(np.swapaxes(a, -1, -2)), -1, -2)):
            got = f(several.reshape(2, -1, n, n)).reshape(-1, n, n)
            assert got.dtype == dtype and np.all(np.abs(got - want) <= most)
    for f in linalg.cofactor, de.jit(lambda a: linalg.cofactor(a)):
        for what in np.inf, np.nan:
            spoilt = stack.copy()
            spoilt[::2, n - 1, 0] = what
            assert np.isnan(f(spoilt)[::2]).all() and np.isfinite(f(spoilt)[1::2]).all()
        assert f(stack[:0]).shape == (0, n, n)
        extreme = np.stack([np.diag([2.0 ** -1060] + [2.0 ** 150] * (n - 1)), np.diag([2.0 ** -1074] * n)])
        np.testing.assert_array_equal(f(extreme), [exact_cofactors(x) for x in extreme])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [4, 7])
def test_cofactors_of_one_matrix_are_those_of_its_inverse_where_that_loses_nothing(n, dtype):
    random = np.random.default_rng(n)
    well = np.eye(n) + random.normal(size=(n, n)) / n
    near = well.copy()
    near[0] = near[1] + 0.001 * near[0]
    singular = well.copy()
    singular[0] = singular[1]
    tiny = np.diag([2.0 ** -1060 if dtype == np.float64 else 2.0 ** -140] + [2.0 ** 150 if dtype == np.float64 else 2.0 ** 20] * (n - 1))
    for x, quick in (well, True), (2.0 ** 30 * well if n == 4 else well.T, True), (near, False), (singular, False), (tiny, False), (np.full((n, n), np.nan), False):
        x = x.astype(dtype)
        assert (linalg._of_one(x) is not None) == quick
        got = linalg.cofactor(x)
        assert got.dtype == dtype
        if np.isfinite(x).all():
            want = exact_cofactors(x)
            np.testing.assert_allclose(got, want, rtol=0, atol=12 * np.finfo(dtype).eps * np.max(np.abs(want)))


@pytest.mark.parametrize("dtype, digits", [(np.float64, 12), (np.float32, 5)])
def test_cofactors_of_many_rows(dtype, digits):
    """By the inverse, but for those that are singular, or nearly so: by what a row more or less would lose."""
    import mpmath
    random = np.random.default_rng(17)
    regular, near, singular = random.normal(size=(3, 21, 21)).astype(dtype)
    near[:, 0] = near[:, 1] + np.finfo(dtype).eps ** 0.75 * near[:, 0]
    several = np.stack([regular, near, singular, 2.0 ** np.linspace(-30, 30, 21, dtype=dtype) * regular, 2.0 ** -47 * regular if dtype == np.float64 else near.T])
    several[2, :, 0] = several[2, :, 1]
    with mpmath.workdps(80):
        def exact(a):
            a = mpmath.matrix(a.astype(float).tolist())
            a[0, 0] += mpmath.mpf(10) ** -60                     # (so that it has an inverse)
            return np.array((mpmath.det(a) * (a ** -1).T).tolist(), float)
        want = np.stack([*map(exact, several)])
    size = np.max(np.abs(want), axis=(1, 2), keepdims=True)
    for f in linalg.cofactor, de.jit(lambda a: linalg.cofactor(a)), de.jit(lambda a: np.swapaxes(linalg.cofactor(np.swapaxes(a, -1, -2)), -1, -2)):
        assert np.max(np.abs(f(several) - want) / size) < 10.0 ** -digits
    compiled = de.jit(lambda a: (np.linalg.det(a), np.linalg.inv(a), linalg.cofactor(a)))          # which share their factors
    np.testing.assert_allclose(compiled(regular)[2], want[0], rtol=0, atol=10.0 ** -digits * size[0, 0, 0])
    program, = [t.program for traces in compiled._traces.values() for t in traces]
    assert program.calls == []


@pytest.mark.parametrize("method", METHODS)
def test_equal_and_zero_singular_values(method):
    """What does not see which of equal vectors is which has a derivative: nuclear norms and functions of eigenvalues."""
    np.testing.assert_allclose(de.grad(lambda a: np.linalg.norm(a, "nuc"), method=method)(np.eye(3)), np.eye(3), atol=1e-15)
    np.testing.assert_allclose(de.grad(lambda a: np.sum(np.linalg.eigvalsh(a) ** 2), method=method)(2 * np.eye(3)), 4 * np.eye(3), atol=1e-15)
    tall = np.outer(np.arange(1.0, 5), np.ones(2))       # of rank 1
    slope = de.grad(lambda a: np.linalg.norm(a, 2), method=method)(tall)
    np.testing.assert_allclose(slope, tall / np.linalg.norm(tall), atol=1e-14)
    assert np.isfinite(de.grad(lambda a: np.linalg.norm(a, "nuc"), method=method)(np.zeros((3, 2)))).all()


@pytest.mark.parametrize("method", METHODS)
def test_only_the_triangle_that_is_read_has_a_derivative(method):
    gradient = de.grad(lambda a: np.sum(np.linalg.cholesky(a) ** 3), method=method)(S)
    assert np.all(gradient[np.triu_indices(4, 1)] == 0) and np.all(gradient[np.tril_indices(4)] != 0)
    upper = de.grad(lambda a: np.sum(np.linalg.cholesky(a, upper=True) ** 3), method=method)(S)
    np.testing.assert_allclose(upper, gradient.T)


@pytest.mark.parametrize("function, x, text", [
    (np.linalg.inv, np.ones((3, 3)), "inv at test_linalg.py:.*Singular"), (np.linalg.inv, np.ones((2, 3)), "inv at .*square"), (np.linalg.det, np.ones(3), "det at .*(two-dim|square)"),
    (np.linalg.cholesky, -np.eye(2), "cholesky at .*not positive definite"), (lambda x: np.linalg.solve(x, np.ones(3)), np.ones((3, 3)), "solve at .*Singular"),
    (lambda x: np.linalg.solve(np.eye(3), x), np.ones(2), "solve at .*mismatch"), (lambda x: np.linalg.tensorsolve(x, x[0]), np.ones((3, 2)), "tensorsolve at .*square"),
    (lambda x: de.linalg.expm(x), np.ones((3, 2)), "expm at .*square"), (lambda x: np.linalg.matrix_power(x, -1), np.ones((2, 2)), "inv at .*Singular")])
def test_errors_are_numpys_with_the_line(function, x, text):
    def fun(x):
        return np.sum(function(x))
    for run in (de.grad(fun), de.grad(fun, method="forward"), de.jit(fun)):
        with pytest.raises((np.linalg.LinAlgError, ValueError), match=text):
            run(x)
    if "square" in text or "ingular" in text:
        with pytest.raises(np.linalg.LinAlgError):
            de.grad(fun)(x)


def test_a_compiled_program_says_which_matrix_is_singular():
    inverse = de.jit(lambda x: np.linalg.inv(x) + 1)
    inverse(A)
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        inverse(np.zeros((4, 4)))
    np.testing.assert_array_equal(inverse(A), np.linalg.inv(A) + 1)


def test_empty_matrices_and_stacks():
    for shape in ((0, 3, 3), (0, 0), (2, 0, 0)):
        x = np.zeros(shape)
        for name in ("inv", "det", "cholesky"):
            f = getattr(np.linalg, name)
            for method in METHODS:
                out, pullback = de.vjp(f, x, method=method)
                np.testing.assert_array_equal(out, f(x))
                assert pullback(np.zeros(out.shape))[0].shape == shape
            np.testing.assert_array_equal(de.jit(f)(x), f(x))


def test_integers_become_floats_and_float32_stays():
    integers = np.array([[2, 1], [1, 3]])
    out = de.jit(lambda b: np.linalg.solve(integers, b))(np.array([1.0, 2.0]))
    np.testing.assert_allclose(out, np.linalg.solve(integers, [1.0, 2.0]), rtol=1e-15)
    assert de.grad(lambda x: np.linalg.det(x))(S.astype(np.float32)).dtype == np.float32


def test_an_ill_conditioned_matrix_accuses_nobody():
    hilbert = scipy.linalg.hilbert(7)                    # the condition number is 5e8
    for f in (lambda a: np.sum(np.linalg.solve(a, np.arange(7.0))), lambda a: np.sum(np.linalg.inv(a)), lambda a: np.linalg.slogdet(a)[1], np.linalg.det,
              lambda a: np.sum(np.linalg.cholesky(a))):
        report = de.compare(f, hilbert)
        assert not report.culprits, str(report)
        assert report.agree, str(report)


def test_triangular_systems_are_substituted():
    """As SciPy does: whatever the condition is, every entry has its digits; and so have gradients."""
    rng = np.random.default_rng(60)
    a, b = np.tril(rng.normal(size=(60, 60))), rng.normal(size=60)
    for m, lower, trans in ((a, True, 0), (a.T, False, 0), (a, True, 1), (a.T, False, "T")):
        np.testing.assert_allclose(de.linalg.solve_triangular(m, b, trans, lower), scipy.linalg.solve_triangular(m, b, trans, lower), rtol=1e-12)
    assert not np.triu(de.linalg.solve_triangular(a[:5, :5], np.eye(5), lower=True), 1).any()
    weights = rng.normal(size=60)
    for method in ("symbolic", "reverse"):
        got = de.grad(lambda b: weights @ de.linalg.solve_triangular(a, b, lower=True), method=method)(b)
        np.testing.assert_allclose(got, scipy.linalg.solve_triangular(a, weights, trans=1, lower=True), rtol=1e-12)
    stack = np.stack([S, 2 * S])
    np.testing.assert_allclose(de.linalg.cho_solve(de.linalg.cho_factor(stack), B), [np.linalg.solve(S, B), np.linalg.solve(2 * S, B)], rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_determinants_of_badly_scaled_matrices(method):
    a = np.diag([1e-9, 1, 1, 1e9]) @ np.array([[2.0, 1, 0, 1], [1, 3, 1, 0], [0, 1, 4, 1], [1, 0, 1, 5]])
    np.testing.assert_allclose(de.grad(np.linalg.det, method=method)(a), np.linalg.det(a) * np.linalg.inv(a).T, rtol=1e-12)
    np.testing.assert_allclose(de.grad(np.linalg.det, method=method)(np.diag([1e150, 1e150, 1e-300])).diagonal(), [1e-150, 1e-150, 1e300], rtol=1e-12)
    with np.errstate(invalid="ignore"):
        assert np.isnan(de.grad(np.linalg.det, method=method)(np.full((2, 2), np.nan))).all()


@pytest.mark.parametrize("function, x", [
    (lambda a: np.linalg.solve(a, np.diag([1 / 3, 2 / 3])), np.array([[1.0, 0], [3, 1]])), (np.linalg.inv, np.array([[0.1, 0, 0], [0.3, 0.7, 0], [0.7, 0.9, 0.3]])),
    (lambda x: np.linalg.det(np.outer(x, x)) + np.sum(x), np.array([0.3, 0.7, -1.1])), (np.linalg.det, scipy.linalg.hilbert(10)),
    (np.linalg.cholesky, scipy.linalg.hilbert(10)), (lambda a: de.grad(np.linalg.det)(a), np.arange(16.0).reshape(4, 4)),
    (lambda a: de.grad(np.linalg.det)(a), np.ones((3, 3)))])
def test_zeros_and_singular_matrices_accuse_nobody(function, x):
    report = de.compare(function, x)
    assert not report.culprits, str(report)


@pytest.mark.parametrize("a", [np.eye(3), np.diag([1.0, -2, 3]), np.vstack([np.eye(3), np.zeros((2, 3))]), np.triu(np.arange(1.0, 10).reshape(3, 3)),
                               np.column_stack([[1.0, 0, 0, 0], [1, 2, 3, 4], [1, 4, 9, 7]])], ids=["one", "diagonal", "tall", "upper", "first column"])
def test_factors_keep_their_signs_beside_the_point(a):
    """LAPACK reflects no column that is zero below the diagonal already, and another way where it is nearly so: r's sign jumps, and no derivative does."""
    b, weights = np.arange(1.0, len(a) + 1), np.arange(1.0, 10).reshape(3, 3)
    for f in (lambda a: np.sum(np.linalg.qr(a)[1] * weights), lambda a: np.sum(np.linalg.qr(a)[0][:3] * weights)):
        report = de.compare(f, a)
        assert report.agree, str(report)
    for f in (lambda a: np.sum(np.linalg.lstsq(a, b, rcond=None)[0] ** 2), lambda a: np.sum(np.linalg.pinv(a) ** 2)):          # equal singular values have no vectors
        report = de.compare(f, a)
        assert not report.culprits and {m.verdict for m in report.methods.values()} <= {"right", "no verdict"}, str(report)


def test_a_singular_matrix_is_the_functions_and_no_methods_fault():
    report = de.compare(lambda a: np.linalg.slogdet(a)[1], np.ones((4, 4)))
    assert {m.verdict for m in report.methods.values()} == {"no verdict"} and "certified" not in str(report), str(report)


def test_expm_under_vmap_and_of_nothing():
    stack = np.stack([W / 9, W, 3 * W])
    np.testing.assert_allclose(de.vmap(de.linalg.expm)(stack), [de.linalg.expm(a) for a in stack], rtol=1e-12)
    np.testing.assert_allclose(de.vmap(de.grad(lambda a: np.sum(de.linalg.expm(a))))(stack)[2], de.grad(lambda a: np.sum(de.linalg.expm(a)))(3 * W), rtol=1e-11)
    assert de.jit(de.linalg.expm)(np.zeros((0, 0))).shape == (0, 0) and de.grad(lambda a: np.sum(de.linalg.expm(a)))(np.zeros((0, 2, 2))).shape == (0, 2, 2)


def test_powers_are_numpys():
    np.testing.assert_array_equal(de.jit(lambda a: np.linalg.matrix_power(a, 0))(np.full((2, 2), np.inf)), np.eye(2))
    for n, x in ((1.5, S), (1, S[:2])):
        with pytest.raises((TypeError, np.linalg.LinAlgError)):
            de.jit(lambda a: np.linalg.matrix_power(a, n))(x)


# ---- what else knows of matrices -----------------------------------------------------------------------------------------------------------

def test_formulas():
    graph = de.trace(lambda A, b: b @ np.linalg.solve(A, b) + np.linalg.slogdet(A)[1], A, B)
    assert graph.formula() == "bᵀ A⁻¹ b + log(abs(det(A)))"
    assert graph.latex() == r"b^{\top} \, A^{-1} \, b + \log\left(\left|\det\left(A\right)\right|\right)"
    for method in ("symbolic", "reverse"):
        assert de.trace(lambda A: np.linalg.slogdet(A)[1], A).derivative(method=method).formula() == "A⁻ᵀ"
        assert de.trace(lambda A: np.linalg.det(A), A).derivative(method=method).formula() == "det(A)·A⁻ᵀ"
        assert de.trace(lambda A, b: b @ np.linalg.solve(A, b), A, B).derivative(1, method=method).formula() == "(A⁻¹ + A⁻ᵀ) b"


def test_sympy_has_the_entries():
    graph = de.trace(lambda A, b: np.linalg.solve(A, b)[0] + np.linalg.det(A) + np.linalg.inv(A)[0, 1] + np.linalg.cholesky(A)[1, 1], S[:2, :2], B[:2])
    expression = graph.sympy()
    values = {s: float({"A": S, "b": B}[s.name[0]][tuple(int(k) for k in s.name.split("_")[1:])]) for s in expression.free_symbols}
    assert float(expression.subs(values)) == pytest.approx(float(graph(S[:2, :2], B[:2])), rel=1e-13)


def test_operations_are_counted():
    assert linalg.work("solve", [(50, 50), (50, 3)]) == int(2 / 3 * 50 ** 3 + 2 * 50 * 50 * 3)
    assert de.trace(lambda x: np.linalg.inv(x), np.eye(30)[None] + np.zeros((4, 1, 1))).cost().operations == 4 * 2 * 30 ** 3


def test_a_wrong_definition_is_found(monkeypatch):
    """One whose value is another is accused, and so is one whose derivative is."""
    for name, row in {"inv": Equation(lambda z, x: DEFINITION_INV(z, 1.001 * x)), "solve": Equation(lambda z, x, y: DEFINITION_SOLVE(z, x, y) * 2 - y[0, 0] * 0 - DEFINITION_SOLVE(z, x, 1.001 * y)),
                      "slogdet": Expansion(lambda d: 1.001 * EXPANSION(d))}.items():
        f, *args = FUNCTIONS[name]
        with monkeypatch.context() as patched:
            patched.setitem(DEFINITION, name, row)
            report = de.compare(f, *args)
            assert report.culprit is not None and (report.culprit.method, report.culprit.primitive) == ("symbolic", name), str(report)
        assert de.compare(f, *args).agree


DEFINITION_INV, DEFINITION_SOLVE, EXPANSION = DEFINITION["inv"].residual, DEFINITION["solve"].residual, DEFINITION["slogdet"].formula


def test_vmap_and_a_sparse_jacobian_know_the_stacks():
    stack = np.stack([A, A + 1])
    np.testing.assert_allclose(de.vmap(np.linalg.inv)(stack), np.linalg.inv(stack), rtol=1e-13)
    np.testing.assert_allclose(de.vmap(np.linalg.solve, in_axes=(None, 0))(A, RNG.normal(size=(3, 4))).shape, (3, 4))
    jacobian = de.jacobian(lambda x: np.linalg.det(x), sparse=True)(STACK[:, 0])
    assert jacobian.nnz == 2 * 9
    np.testing.assert_allclose(jacobian.toarray().reshape(2, 2, 3, 3), de.jacobian(np.linalg.det)(STACK[:, 0]))


@pytest.mark.parametrize("a, b, factored", [
    ((3, 3), (4, 3, 2), (3, 3)), ((1, 3, 3), (4, 3, 1), (3, 3)), ((2, 1, 3, 3), (2, 5, 3, 1), (2, 3, 3)), ((2, 3, 3), (4, 2, 3, 1), (2, 3, 3)),
    ((3, 1, 3, 3), (1, 4, 3, 2), (3, 3, 3)), ((3, 3), (0, 3, 2), (0, 3, 3)), ((1, 3, 3), (1, 3, 2), (1, 3, 3)), ((5, 2, 3, 3), (2, 3, 1), (5, 2, 3, 3))])
def test_a_matrix_that_many_right_sides_share_is_factored_once(a, b, factored):
    a, b = RNG.normal(size=a) + 3 * np.eye(3), RNG.normal(size=b)
    graph = de.trace(lambda a, b: np.linalg.solve(a, b), a, b)
    node, = [n for n in graph.order if n.primitive.name == "solve"]
    assert np.shape(node.operands[0]) == factored
    np.testing.assert_allclose(graph(a, b), np.linalg.solve(a, b), rtol=1e-12)
    np.testing.assert_allclose(de.jit(np.linalg.solve)(a, b), np.linalg.solve(a, b), rtol=1e-12)
    got = [de.grad(lambda a, b: np.sum(np.sin(np.linalg.solve(a, b))), argnums=(0, 1), method=method)(a, b) for method in ("symbolic", "forward", "reverse")]
    z = np.linalg.solve(np.swapaxes(a, -1, -2), np.cos(np.linalg.solve(a, b)))
    want = [-z @ np.swapaxes(np.linalg.solve(a, b), -1, -2), z]
    for found in got:
        for x, y, like in zip(found, want, (a, b)):
            extra = tuple(range(y.ndim - like.ndim))
            y = np.sum(y, extra + tuple([k + len(extra) for k, n in enumerate(like.shape) if n == 1 < y.shape[k + len(extra)]]), keepdims=True)
            np.testing.assert_allclose(x, y.reshape(like.shape), rtol=1e-9, atol=1e-12)


def test_vmap_factors_a_matrix_of_all_examples_once():
    a, b = RNG.normal(size=(2, 3, 3)) + 3 * np.eye(3), RNG.normal(size=(5, 2, 3, 1))
    np.testing.assert_allclose(de.vmap(lambda b: np.linalg.solve(a, b))(b), np.linalg.solve(a, b), rtol=1e-12, atol=1e-15)
    graph = de.trace(lambda a, b: de.vmap(lambda b: np.linalg.solve(a, b))(b), a[0], b[:, 0, :, 0])
    assert [np.shape(n.operands[0]) for n in graph.order if n.primitive.name == "solve"] == [(3, 3)]
    np.testing.assert_allclose(graph(a[0], b[:, 0, :, 0]), np.linalg.solve(a[0], b[:, 0])[..., 0], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shape, rank", [((4, 3), 2), ((3, 5), 2), ((4, 4), 3), ((2, 3), 0), ((4, 3), 3), ((2, 4, 3), 2), ((2, 4, 3), (2, 3))])
def test_pseudo_inverses_of_any_rank(shape, rank):
    """The differential is Golub & Pereyra's, along matrices that keep the rank or do not."""
    factors = [np.where(np.arange(n)[:, None] < r, RNG.normal(size=(n, shape[-1])), 0) for n in shape[-2:-1] for r in np.atleast_1d(rank)]
    a = np.reshape([RNG.normal(size=shape[-2:-1] * 2) @ f for f in factors] * (2 if len(shape) > 2 and len(factors) == 1 else 1), shape)
    b, w, d = np.linalg.pinv(a), RNG.normal(size=shape[:-2] + shape[:-3:-1]), RNG.normal(size=shape)
    turned = lambda x: np.swapaxes(x, -1, -2)          # noqa: E731
    moved = -b @ d @ b + b @ turned(b) @ turned(d) @ (np.eye(shape[-2]) - a @ b) + (np.eye(shape[-1]) - b @ a) @ turned(d) @ turned(b) @ b
    f = lambda a: np.sum(w * np.linalg.pinv(a))          # noqa: E731
    for call in (de.value_and_grad(f), de.jit(de.value_and_grad(f)), de.value_and_grad(f, method="forward"), de.value_and_grad(f, method="symbolic")):
        value, slope = call(a)
        np.testing.assert_allclose(value, np.sum(w * b), rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(np.sum(slope * d), np.sum(w * moved), rtol=1e-9, atol=1e-11)
    assert np.array_equal(de.jit(np.linalg.matrix_rank)(a), np.linalg.matrix_rank(a))


def test_which_singular_values_count():
    a, s = np.diag([1.0, 1e-3]), np.array([[2.0, 1.0, 3.0], [1.0, 1.0, 2.0], [3.0, 2.0, 5.0]])
    for call in (lambda a: np.linalg.pinv(a, 1e-2), lambda a: np.linalg.pinv(a, rtol=1e-2), lambda a: de.linalg.pinv(a, atol=1e-2), lambda a: de.linalg.pinv(a, rtol=1e-2)):
        np.testing.assert_allclose(de.jit(call)(a), np.diag([1.0, 0.0]), atol=1e-15)
    np.testing.assert_allclose(de.jit(lambda s: np.linalg.pinv(np.triu(s) * 0 + np.tril(s), hermitian=True))(s), np.linalg.pinv((s + s.T) / 2, rcond=1e-12), rtol=1e-9, atol=1e-12)
    assert de.linalg.pinv(s, return_rank=True)[1] == de.jit(lambda s: np.linalg.matrix_rank(s))(s) == 2
    found = de.jit(de.value_and_grad(lambda s: np.sum(np.linalg.pinv(s)) * np.linalg.matrix_rank(s, 1e-8)))          # another matrix of this rank is not recorded anew
    for k in range(1, 70):
        assert np.isclose(found(k * s)[0], 2 * np.sum(np.linalg.pinv(s)) / k)


@pytest.mark.parametrize("m, n, rank", [(5, 3, 2), (2, 4, 2), (5, 3, 3), (3, 4, 1)])
def test_least_squares_of_any_rank(m, n, rank):
    a, b, direction = RNG.normal(size=(m, rank)) @ RNG.normal(size=(rank, n)), RNG.normal(size=(m, 2)), RNG.normal(size=(m, 2))
    for module in (np.linalg, de.linalg):
        for got, want in zip(de.jit(lambda a, b: module.lstsq(a, b))(a, b), np.linalg.lstsq(a, b)):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    slope = de.grad(lambda b: np.sum(np.linalg.lstsq(a, b)[0] ** 2))(b)
    x, dx = np.linalg.pinv(a) @ b, np.linalg.pinv(a) @ direction
    np.testing.assert_allclose(np.sum(slope * direction), 2 * np.sum(x * dx), rtol=1e-9)


def test_the_norm_of_negative_order_of_what_is_infinite_or_empty():
    for x in (np.full(2, np.inf), np.zeros(0), np.array([0.0, 2.0])):
        with np.errstate(all="ignore"):
            want = np.linalg.vector_norm(x, ord=-1)
            assert de.vjp(lambda x: np.linalg.vector_norm(x, ord=-1), x)[0] == de.jit(lambda x: np.linalg.vector_norm(x, ord=-1))(x) == want
