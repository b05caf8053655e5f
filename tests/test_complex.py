"""Complex numbers between real inputs and real results: NumPy's values, slopes of the analytic functions, every way in and out, and what is refused.

Seeds: default_rng(0), (1), (2).
"""
import doctest
from pathlib import Path

import mpmath
import numpy as np
import pytest

import diffeng as de

METHODS = ("symbolic", "forward", "reverse")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4))
C = RNG.normal(size=(3, 4)) + 1j * RNG.normal(size=(3, 4))
M = RNG.normal(size=(4, 4)) + 1j * RNG.normal(size=(4, 4))


def real(z):
    """A real number that hangs on every part of every entry."""
    z = np.asarray(z)
    weights = np.cos(np.arange(np.size(z))).reshape(np.shape(z))
    return np.sum(weights * z.real) + np.sum(weights ** 2 * z.imag) if np.iscomplexobj(z) else np.sum(weights * z)


def differences(f, x, h=1e-6):
    out = np.zeros_like(x)
    for k in np.ndindex(*x.shape):
        d = np.zeros_like(x)
        d[k] = h
        out[k] = (f(x + d) - f(x - d)) / (2 * h)
    return out


# ---- values and gradients of everything that there is -------------------------------------------------------------------------------------

EXPRESSIONS = """z*C; C*z; z/C; C/z; 1j/z; 2.0/z; z/2; z/x; x/z; z-C; C-x; -z; z**2; z**3; z**-2; z**0; z**0.5; z**1.5; z**x; (x**2+1)**z; z**C; C**x; 2**z
np.exp(z); np.exp2(z); np.expm1(z); np.log(z); np.log2(z); np.log10(z); np.log1p(z); np.sqrt(z); np.sqrt(-z); np.square(z); np.reciprocal(z); np.sign(z)
np.sin(z); np.cos(z); np.tan(z); np.sinh(z); np.cosh(z); np.tanh(z); np.arcsin(z); np.arccos(z); np.arctan(z); np.arcsinh(z); np.arccosh(z); np.arctanh(z)
np.abs(z); np.angle(z); np.angle(-z, deg=True); np.conj(z)*C; z.conj(); np.real(z); np.imag(z); np.real_if_close(x + 0j); np.real_if_close(z); np.round(z, 1)*0 + z
np.sum(z, axis=0); z.mean(axis=1, keepdims=True); np.prod(z); np.prod(z, axis=0, keepdims=True); np.cumsum(z, axis=1); np.cumprod(z, axis=1); np.var(z, axis=0, ddof=1); np.std(z)
np.linalg.norm(z); np.linalg.norm(z, axis=1); np.linalg.norm(z[0], 3); np.linalg.norm(z, np.inf); np.cov(z); np.average(z, axis=1, weights=[1.0, 2, 3, 4])
z @ M; M @ z.T; x @ M; M @ x.T; z @ z.conj().T; np.dot(z, M); np.vdot(z, C); np.vdot(C, x); np.inner(z, C); np.outer(z[0], C[1]); np.tensordot(z, C, 2); np.kron(z, C)
np.einsum('ij,kj->ik', z, C); np.einsum('ij,jk,lk->il', z, M, C); np.einsum('ij,jk,lk->il', z, M, x); np.vecdot(z, C); np.trace(z[:, :3]); np.linalg.matrix_power(z[:, :3], 3)
np.convolve(z[0], C[1]); np.correlate(z[0], C[1], 'full'); np.correlate(C[0], x[1], 'same'); np.polyval(z[0], C[1]); np.diff(z, axis=1); np.gradient(z, axis=1); np.trapezoid(z, axis=1)
np.linalg.solve(M, z.T); np.linalg.solve(z[:, :3], x[:, 0]); np.linalg.solve(x[:, :3], z[:, 0]); np.linalg.inv(z[:, :3])
np.linalg.eigvalsh(z @ z.conj().T); np.linalg.eigvalsh(z[:, :3], 'U')
z.T; z.reshape(4, 3); z[1]; z[..., None]; z[[0, 2], [1, 3]]; z[x > 0]; z[:, ::-1]; np.concatenate([x, z], axis=1); np.stack([z, C])
np.array([z[0], x[1]]); np.array([[1j*x[0, 0], 2], [x[1, 1], 3j]])
np.pad(z, ((1, 0), (0, 2)), constant_values=1j); np.roll(z, 1, axis=1); np.flip(z); np.where(x > 0, z, C); np.where(x > 0, C, 0)
np.where(C.real > 0, C, x); np.tril(z); np.diag(z[0]); np.repeat(z, 2, axis=0)
np.select([x > 0, x < -1], [z, C], 0); np.take_along_axis(z, np.argsort(x, axis=1), axis=1); np.insert(z, 1, C[:, 0], axis=1); np.block([[z, C], [x, z]]); np.broadcast_to(z[0], (3, 4))
(z == z)*x; (z != C)*x; np.isfinite(z)*x; np.iscomplexobj(z)*x; np.isreal(x + 0j)*x; np.allclose(z, z + 1e-20)*x; np.any(z)*x; np.nan_to_num(z)
np.zeros_like(z) + x; np.divide(z, C, where=C.real > 0, out=np.zeros((3, 4), complex))
x.astype(complex)*1j; np.sqrt(x*(1+0j)); np.log(x + 0j); (x + 0j)**0.3; np.exp(1j*np.pi*x); sum(z); abs(z); np.add.reduce(z, axis=0)
np.multiply.outer(z[0], x[0])""".replace("\n", "; ").split("; ")


def named(text):
    """The expression as a function of x, z = x + i x^2."""
    body = eval(f"lambda x, z: real({text})", {"np": np, "real": real, "C": C, "M": M})
    return lambda x: body(x, x + 1j * x ** 2)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_values_are_numpys_and_gradients_agree(text):
    f = named(text)
    value, gradient = de.value_and_grad(f)(X)
    np.testing.assert_allclose(value, f(X), rtol=1e-13, atol=1e-13)
    want = differences(f, X)
    np.testing.assert_allclose(gradient, want, rtol=1e-6, atol=2e-7 * max(1, np.abs(want).max()))
    for method in ("forward", "symbolic"):
        np.testing.assert_allclose(de.grad(f, method=method)(X), gradient, rtol=1e-11, atol=1e-11 * max(1, np.abs(want).max()))


def test_compiled_and_for_many_examples():
    texts = [t for t in EXPRESSIONS if not t.startswith(("np.real_if_close(z", "np.allclose", "np.real_if_close(x"))]          # these look at values

    def f(x):
        return np.stack([named(t)(x) for t in texts])
    want, slopes = f(X), de.jacobian(f)(X)
    np.testing.assert_allclose(de.jit(f)(X), want, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(de.jit(de.jacobian(f))(X), slopes, rtol=1e-10, atol=1e-10 * np.abs(slopes).max())
    np.testing.assert_allclose(de.vmap(f)(np.stack([2 * X, X]))[1], want, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(de.vmap(de.jacobian(f))(np.stack([2 * X, X]))[1], slopes, rtol=1e-10, atol=1e-10 * np.abs(slopes).max())


def test_second_derivatives():
    def f(x):
        z = np.exp(1j * x) * np.sqrt(x + 2j) / (x + 1j)
        return np.sum(np.abs(z) ** 2) + np.sum(np.log(z).imag) + np.prod(z).real
    gradient, x = de.grad(f), X[0]
    want = np.stack([(gradient(x + 1e-6 * d) - gradient(x - 1e-6 * d)) / 2e-6 for d in np.eye(4)])
    for method in METHODS:
        np.testing.assert_allclose(de.hessian(f, method=method)(x), want, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(de.jit(de.hessian(f))(x), de.hessian(f)(x), rtol=1e-11, atol=1e-11)


VERDICTS = {
    "waves":      lambda x: np.sum(np.abs(np.exp(1j * x) + np.exp(2j * x[::-1])) ** 2),
    "resonator":  lambda x: np.abs(1 / (1j * x[0] + 1 / (x[1] + 1j * x[2]))),
    "logarithms": lambda x: np.sum(np.log(x * (1 + 2j)).real * np.angle(x + 1j)) + np.sum(np.sqrt(-x + 0j).imag),
    "powers":     lambda x: np.sum(((x + 1j) ** 3 / (x - 2j) ** x).real),
    "state":      lambda x: np.vdot(x + 1j * x[::-1], M[:3, :3] @ (x * 1j)).real,
    "system":     lambda x: np.abs(np.linalg.solve(M[:3, :3] + np.diag(x), np.ones(3) * 1j)[0]),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_the_judge_agrees(name):
    report = de.compare(VERDICTS[name], np.array([0.7, 1.3, 0.4]), kernels=name == "waves")
    assert report.agree and all([m.verdict == "right" for m in report.methods.values()]), str(report)


# ---- digits, branches, signed zeros -------------------------------------------------------------------------------------------------------

SLOPES = dict(sqrt=lambda z: 1 / (2 * mpmath.sqrt(z)), log=lambda z: 1 / z, exp=mpmath.exp, sin=mpmath.cos, cos=lambda z: -mpmath.sin(z), tan=lambda z: 1 / mpmath.cos(z) ** 2,
              sinh=mpmath.cosh, cosh=mpmath.sinh, tanh=lambda z: 1 / mpmath.cosh(z) ** 2, arcsin=lambda z: 1 / (mpmath.sqrt(1 - z) * mpmath.sqrt(1 + z)),
              arccos=lambda z: -1 / (mpmath.sqrt(1 - z) * mpmath.sqrt(1 + z)), arctan=lambda z: 1 / (1 + z * z), arcsinh=lambda z: 1 / mpmath.sqrt(1 + z * z),
              arccosh=lambda z: 1 / (mpmath.sqrt(z - 1) * mpmath.sqrt(z + 1)), arctanh=lambda z: 1 / (1 - z * z), log1p=lambda z: 1 / (1 + z), expm1=mpmath.exp,
              reciprocal=lambda z: -1 / z ** 2)
EDGES = np.array([0.0, -0.0, 1.0, -1.0, 0.3, -2.5, 1 + 1e-9, 1e-20, -1e-150, 1e150, -30.0])
RE, IM = [np.ravel(x) for x in np.meshgrid(EDGES, EDGES)]


def of_parts(re, im):
    z = np.empty(re.shape, complex)
    z.real, z.imag = re, im
    return z


@pytest.mark.parametrize("name", SLOPES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_elementary_functions_on_both_sides_of_their_cuts(name):
    """Values, with the signs of zeros, are NumPy's; slopes are those of the analytic function, to all digits, except where they are infinite."""
    function = getattr(np, name)

    def both(re, im):
        z = function(of_parts(re, im))
        return z.real, z.imag
    want = function(of_parts(RE, IM))
    (re, im), (dre, dim) = de.jvp(both, (RE, IM), (np.ones_like(RE), np.zeros_like(RE)))
    back = de.vjp(both, RE, IM)[1]((np.ones_like(RE), np.zeros_like(RE)))
    slopes = {"forward": dre + 1j * dim, "reverse": back[0] - 1j * back[1]}
    with mpmath.workdps(450):
        tiny = mpmath.mpf("1e-350")
        for k, (x, y) in enumerate(zip(RE, IM)):
            if np.isfinite(want[k]) and name != "log1p":             # whose digits NumPy loses
                for got, expected in ((re[k], want[k].real), (im[k], want[k].imag)):
                    assert got == expected == 0 and np.signbit(got) == np.signbit(expected) or abs(got - expected) <= 2e-13 * abs(expected), (name, x, y, got, expected)
            at = mpmath.mpc(*[mpmath.mpf(v) if v else -tiny if np.signbit(v) else tiny for v in (x, y)])
            true = complex(SLOPES[name](at))
            if np.isfinite(true) and abs(true) < 1e160:
                for method, found in slopes.items():
                    assert abs(found[k] - true) <= 1e-12 * abs(true), (name, method, x, y, found[k], true)


def test_division_and_length_do_not_overflow():
    x = np.array([3e200, 4e-200, 2e300])
    f = lambda x: (np.abs(x + 1j * x), ((1 + 2j) * x / ((3 + 4j) * x)).real, (1 / (x * (1 + 1j))).imag)          # noqa: E731
    for got, want in zip(de.jvp(f, (x,), (x,))[0], f(x)):
        np.testing.assert_allclose(got, want, rtol=1e-14)
        assert np.isfinite(want).all()


@pytest.mark.parametrize("dtype, narrow", [(np.float64, np.complex128), (np.float32, np.complex64)])
def test_dtypes_are_numpys(dtype, narrow):
    x = X.astype(dtype)
    for f in (lambda x: 1j * x, lambda x: np.exp(1j * x), lambda x: x * np.complex64(1j), lambda x: x + np.ones(4, np.complex64), lambda x: x.astype(complex),
              lambda x: (2 + 1j) ** x, lambda x: np.sum(x * 1j), lambda x: x * np.complex128(1), lambda x: np.stack([x, 1j * x]), lambda x: np.where(x > 0, 1j, x),
              lambda x: np.fft.fft(x), lambda x: np.arange(4) * 1j + x, lambda x: x + 1j, lambda x: x - np.array(1j), lambda x: x / (3 + 4j), lambda x: (3 + 4j) / (x + 1j)):
        assert de.jit(f)(x).dtype == f(x).dtype
    assert (1j * x).dtype == narrow and de.grad(lambda x: np.sum(np.abs(1j * x + 2)))(x).dtype == dtype


# ---- assignment, views ---------------------------------------------------------------------------------------------------------------------

def written(x):
    z = np.zeros(6, complex)
    z[0] = x[0]
    z[1:3] = 1j * x[1:3]
    z.real[3:] = x[3:]
    z.imag[4] += x[4] * 2
    z *= 2
    z += x
    z[x > 0] *= 1j
    part = z[:2]
    part *= 3
    copy, full, turned = np.array(C[0]), np.full(4, 1j), np.fft.fft(np.ones(4))
    copy[1] *= x[1]
    full.imag = x[:4]
    turned[0] = 1j * x[2]
    return np.sum(np.abs(z) ** 2) + np.sum(z.real) + np.sum((copy * full * turned).imag)


def test_assignment_in_place():
    x = np.array([0.3, -0.5, 0.7, 1.1, -0.2, 0.9])
    for f in (de.jit(written), lambda x: de.vmap(written)(np.stack([-x, x]))[1]):
        np.testing.assert_allclose([f(x), f(-x)], [written(x), written(-x)], rtol=1e-14)
    for method in METHODS:
        np.testing.assert_allclose(de.grad(written, method=method)(x), differences(written, x), rtol=1e-7)
    np.testing.assert_allclose(de.jit(de.grad(written))(x), de.grad(written)(x), rtol=1e-13)


def test_a_real_array_that_becomes_complex_is_no_view():
    def f(x):
        y = x * 2
        z = y.astype(complex)
        y[0] = 5
        w = np.zeros(4, complex)
        w[:] = y
        y *= 3
        return np.sum(np.abs(z) ** 2) + np.sum((w * w).real)
    x = X[0]
    for method in METHODS:
        np.testing.assert_allclose(de.grad(f, method=method)(x), differences(f, x), rtol=1e-7)
    with pytest.raises(TypeError, match=r"imag at test_complex\.py:\d+: a real array has no imaginary part"):
        de.grad(lambda x: np.sum(setattr(x * 1, "imag", 1.0) or x))(x)


def test_half_precision_becomes_complex64():
    f = lambda x: (x.astype(np.float16) * 1j).dtype == np.complex64          # noqa: E731
    assert f(X) and de.jit(lambda x: x * f(x))(X).any()


# ---- ways in and out -----------------------------------------------------------------------------------------------------------------------

def test_complex_data_is_an_argument_and_a_result():
    x, z = X[0], C[0]
    f = de.jit(lambda x, z: {"a": z * np.exp(1j * x), "b": np.abs(z)})
    for data in (z, 2 * z, C[:, 0].repeat(2)[:4], np.stack([z, z], 1)[:, 0]):          # (the last one is strided)
        got = f(x, data)
        np.testing.assert_allclose(got["a"], data * np.exp(1j * x), rtol=1e-14)
        assert got["a"].dtype == complex and type(got["a"]) is np.ndarray
    assert f.traces == 1
    np.testing.assert_allclose(f(x, z.real)["a"], z.real * np.exp(1j * x), rtol=1e-14)
    assert f.traces == 2
    assert de.jit(lambda x, c: c * x)(2.0, np.complex64(1j)) == 2j

    def misfit(x, z):
        return np.sum(np.abs(z - np.exp(1j * x)) ** 2)
    want = differences(lambda x: misfit(x, z), x)
    closed = de.grad(lambda x: misfit(x, z))
    for got in (de.grad(misfit)(x, z), de.jit(de.grad(misfit))(x, z), closed(x), de.jit(closed)(x), de.vmap(de.grad(misfit), (None, 0))(x, np.stack([z, z]))[1]):
        np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-8)
    (_, aux), _ = de.jit(de.value_and_grad(lambda x: (np.sum(x), 1j * x), has_aux=True))(x)
    np.testing.assert_array_equal(aux, 1j * x)
    assert de.compare(misfit, x, z).agree


def test_many_examples():
    np.testing.assert_allclose(de.vmap(lambda x, z: z * x, in_axes=(0, 1), out_axes=1)(X, C.T), (C * X).T)
    np.testing.assert_allclose(de.vmap(lambda z: np.exp(z).real)(C), np.exp(C).real)


def test_loops():
    def step(z, x):
        z = z * np.exp(1j * x) + 0.1
        return z, np.abs(z) ** 2 + z.real

    def scanned(x):
        z, ys = de.scan(step, np.ones(2) + 0j, x)
        return np.sum(ys) + np.sum(z.imag)

    def looped(x):
        z, total = np.ones(2) + 0j, 0
        for k in range(len(x)):
            z, y = step(z, x[k])
            total = total + np.sum(y)
        return total + np.sum(z.imag)
    x = X.ravel()[:6]
    np.testing.assert_allclose(scanned(x), looped(x), rtol=1e-14)
    for f in (de.grad(scanned), de.jit(de.grad(scanned)), de.grad(lambda x: de.checkpoint(scanned)(x))):
        np.testing.assert_allclose(f(x), de.grad(looped)(x), rtol=1e-12)
    grown = de.while_loop(lambda s: np.abs(s[0]) < 10, lambda s: (s[0] * (1 + 1j), s[1] + 1), (1 + 0j, 0))
    compiled = de.jit(lambda x: de.while_loop(lambda s: np.abs(s[0]) < 10, lambda s: (s[0] * (1 + 1j), s[1] + 1), (x + 0j, 0))[0])
    assert grown == (8 - 8j, 7) and compiled(1.0) == 8 - 8j
    chosen = de.jit(lambda x: de.cond(x[0] > 0, lambda x: 1j * x, lambda x: x * (1 + 0j), x))
    np.testing.assert_array_equal(chosen(np.abs(x)), 1j * np.abs(x))
    np.testing.assert_array_equal(chosen(-np.abs(x)), -np.abs(x) + 0j)


def test_masks_under_jit_hold_for_every_mask():
    f = de.jit(lambda x: np.sum((1j * x + x)[x > 0].imag) + np.abs(np.mean((x + 2j)[x > 0.5])))
    x = np.array([1.0, -2.0, 3.0, 0.7])
    for data in (x, -x + 2, x[::-1]):
        np.testing.assert_allclose(f(data), np.sum(data[data > 0]) + np.abs(np.mean((data + 2j)[data > 0.5])))
    assert f.traces == 1


def test_python_looks_at_complex_values():
    x = np.array([0.5, -1.5])
    assert de.grad(lambda x: x[0] if (1j * x)[0] else x[1])(x).tolist() == [1, 0]
    assert de.grad(lambda x: x[0] if (1j * x)[0] == 1 else x[1])(x).tolist() == [0, 1]
    said = []
    de.grad(lambda x: (said.append(f"{(1j * x)[1]:.2f}"), x[0])[1])(x)
    assert said == ["-0.00-1.50j"] or said == ["0.00-1.50j"]


@pytest.mark.parametrize("f, words", [
    (lambda x: np.sum(np.sort(1j * x).real), r"argsort at test_complex\.py:\d+ of complex numbers is not known.*z\.real"),
    (lambda x: np.sum(x[(1j * x) > 0]), r"greater at test_complex\.py:\d+ of complex numbers"),
    (lambda x: np.max(1j * x).real, r"max at test_complex\.py:\d+ of complex numbers"),
    (lambda x: np.linalg.det(np.diag(1j * x)).real, r"det at test_complex\.py:\d+ of complex numbers"),
    (lambda x: float((1j * x)[0]), r"float\(z\) at test_complex\.py:\d+ of a complex number: write z\.real"),
    (lambda x: 1j * x, r"returned a complex value.*np\.abs\(z\)\*\*2"),
    (lambda x: x * np.clongdouble(1j), r"complex256.*complex128"),
])
def test_what_is_refused(f, words):
    with pytest.raises(TypeError, match=words):
        de.grad(f)(np.array([1.0, 2.0]))


def test_arguments_to_differentiate_are_real():
    for f, argument, name in ((lambda z: np.abs(z), 1 + 2j, "z"), (lambda z: np.sum(np.abs(z)), C, "z"), (lambda d: np.sum(np.abs(d["a"])), {"a": C, "b": X}, r"d\.a")):
        with pytest.raises(TypeError, match=rf"argument '{name}' of <lambda> is complex at test_complex\.py:\d+.*real and its imaginary part.*re \+ 1j \* im"):
            de.grad(f)(argument)


def test_a_complex_value_that_is_kept_elsewhere_is_refused():
    kept = []
    de.grad(lambda x: (kept.append(1j * x), np.sum(x))[1])(X)
    with pytest.raises(RuntimeError, match="has ended"):
        kept[0] * 2


def test_casting_to_real_warns_as_numpy_does():
    with pytest.warns(np.exceptions.ComplexWarning):
        assert de.grad(lambda x: np.sum((x + 1j).astype(float)))(X[0]).tolist() == [1, 1, 1, 1]


def test_the_page_prints_what_it_says():
    page = Path(__file__).parent.parent / "docs" / "complex.md"
    result = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted >= 8 and result.failed == 0
