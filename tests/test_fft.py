"""np.fft: NumPy's values, gradients of one transform, every method, the judge's own transform, spectral codes.

Seeds: default_rng(0) to (3).
"""
import itertools
from unittest import mock

import numpy as np
import pytest

import diffeng as de
from diffeng.kernels import Program, transforms
from diffeng.precise import numbers, precise, precision
from diffeng.vocabulary import PRIMITIVES, fourier

METHODS = ("symbolic", "forward", "reverse")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5))
Z = RNG.normal(size=(4, 5)) + 1j * RNG.normal(size=(4, 5))
ONE = [dict(n=n, axis=axis, norm=norm) for n, axis, norm in ((None, -1, None), (None, 0, "ortho"), (3, 1, "forward"), (7, 0, "backward"), (1, -1, "ortho"))]
SEVERAL = [dict(s=s, axes=axes, norm=norm)
           for s, axes, norm in ((None, None, None), (None, (1, 0), "ortho"), ((3, 6), (0, 1), "forward"), ((6, -1), (0, 1), None), ((7,), (0,), "ortho"))]
CASES = [(name, how) for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft") for how in ONE] + \
        [(name, how) for name in ("fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn") for how in SEVERAL if how["axes"] is not None or not name.endswith("2")]
OF_REAL = ("rfft", "rfft2", "rfftn", "ihfft")


@pytest.mark.parametrize("name, how", CASES, ids=[f"{name}-{k}" for k, (name, _) in enumerate(CASES)])
def test_values_are_numpys_and_gradients_those_of_the_matrix(name, how):
    """The derivative of a linear function is itself: each method's Jacobian, of inputs and of a real and an imaginary direction."""
    transform = getattr(np.fft, name)

    def parts(x, y=None):
        z = transform(x if y is None else x + 1j * y, **how)
        return np.stack([z.real, z.imag]) if np.iscomplexobj(z) else z
    args = (X,) if name in OF_REAL else (Z.real, Z.imag)
    want = parts(*args)
    unit = np.eye(X.size).reshape(X.size, *X.shape)
    for k in range(len(args)):
        columns = np.moveaxis(np.stack([parts(*[u if j == k else np.zeros_like(u) for j in range(len(args))]) for u in unit]), 0, -1)
        for method in METHODS:
            found = de.jacobian(parts, k, method=method)(*args)
            np.testing.assert_allclose(found.reshape(columns.shape), columns, rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(np.asarray(de.jvp(parts, args, args)[0]), want)
    np.testing.assert_allclose(de.jit(parts)(*args), want, rtol=1e-13, atol=1e-14)
    examples = [np.stack([2 * a, a]) for a in args]
    np.testing.assert_allclose(de.vmap(parts)(*examples)[1], want, rtol=1e-13, atol=1e-14)


def test_repeated_axes_and_empty_ones():
    for how in (dict(axes=(0, 0)), dict(axes=()), dict(axes=(1, 0, 1), s=(5, 4, 6))):
        f = lambda x: np.fft.fftn(x + 2j, **how).imag          # noqa: E731
        np.testing.assert_allclose(de.jvp(f, (X,), (X,))[0], f(X), rtol=1e-13, atol=1e-13)


def test_what_passes_through():
    k = np.fft.fftfreq(5)
    f = lambda x: np.sum(np.abs(np.fft.fftshift(np.fft.ifftshift(x, axes=0) * k * np.fft.rfftfreq(8)) + 1j) ** 2)          # noqa: E731
    np.testing.assert_allclose(de.value_and_grad(f)(X)[0], f(X), rtol=1e-15)


# ---- the primitives -----------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 12, 15, 16, 30])
def test_the_judges_transform_is_numpys(n):
    rng = np.random.default_rng(1)
    x, z = rng.normal(size=(2, n, 3)), rng.normal(size=(2, n, 3, 2))
    cases = [("fft", z, dict(axes=axes, inverse=inverse)) for axes in ((1,), (2, 1)) for inverse in (False, True)] + [("rfft", x, dict(axes=axes)) for axes in ((1,), (0, 1))]
    half = rng.normal(size=(2, n // 2 + 1, 3, 2))
    cases += [("irfft", half, dict(axes=axes, n=n)) for axes in ((1,), (2, 1))]
    for (name, operand, params), norm in itertools.product(cases, fourier.TURNED):
        want = PRIMITIVES[name](operand, norm=norm, **params)
        with precision(60):
            found = numbers(PRIMITIVES[name](precise(operand), norm=norm, **params))
        assert found.shape == want.shape
        np.testing.assert_allclose(found, want, rtol=1e-13, atol=2e-14)


def test_a_gradient_is_one_transform():
    """Compiled, and without."""
    def energy(x):
        return np.sum(np.abs(np.fft.fft(x) * Z) ** 2)
    graph = de.trace(de.grad(energy), X)
    used = [graph.nodes[k]["primitive"] for k in graph.nodes]
    assert used.count("fft") == 2 and not {"matmul", "einsum", "dot"} & {*used}
    x = np.random.default_rng(2).normal(size=1 << 17)
    spectrum = np.exp(1j * np.arange(x.size))
    for gradient in (de.grad(lambda x: np.sum(np.abs(np.fft.fft(x) * spectrum) ** 2)), de.jit(de.grad(lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2)))):
        np.testing.assert_allclose(gradient(x), 2 * x.size * x, rtol=1e-10, atol=1e-8 * x.size)          # Parseval; n^2 numbers would take 137 GB


def test_odd_numbers_of_real_ones_and_large_primes_are_numpys():
    def calls(f, x):
        graph = de.trace(f, x)
        return {*Program(graph.input_nodes, graph.output_nodes).calls}
    assert calls(lambda x: np.fft.irfft(np.fft.rfft(x) ** 2, 5), X) == {"rfft", "irfft"}
    assert calls(lambda x: np.fft.fft(x, 2 * 131).real, X) == {"fft"}
    assert not calls(lambda x: np.fft.irfft(np.fft.rfftn(np.fft.fft2(x).imag, (4, 6), (0, 1)) ** 2, 8), X)


@pytest.mark.parametrize("shape, axes", [((64, 48), (0, 1)), ((128, 136), (0, 1)), ((128, 136), (0,)), ((128, 131), (0, 1)), ((131, 136), (0,)), ((3, 300, 200), (2, 1)),
                                         ((1 << 17,), (0,)), ((131 << 10,), (0,))])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_long_transforms_of_programs(shape, axes, dtype):
    """By kernels, and by SciPy, in the memory of the result; there of real values alone where the imaginary ones are 0, forward and backward."""
    x, w = np.random.default_rng(3).normal(size=(2, *shape)).astype(dtype)

    def f(x):
        z = np.fft.ifftn(np.fft.fftn(x, axes=axes, norm="ortho") * (1 + w * 1j), axes=axes, norm="forward")
        half = np.fft.irfftn(np.fft.rfftn(x * w, axes=axes) * 2j, s=[shape[k] for k in axes], axes=axes)
        return z.real, z.imag, half
    rtol = 1e-4 if dtype == np.float32 else 1e-11
    found, want = de.jit(f)(x), f(x)
    total = lambda x: np.sum([np.vdot(a, a) / np.vdot(b, b) for a, b in zip(f(x), want)])          # noqa: E731
    for a, b in zip([*found, de.jit(de.grad(total))(x)], [*want, de.grad(total)(x)]):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.max(np.abs(b)))


def test_half_the_work_where_imaginary_parts_are_zeros():
    imaginary, real = [], transforms.TRANSFORMS["fft"]
    x = RNG.normal(size=(6, 131))                               # a large prime: without a kernel
    gradient = de.grad(lambda x: np.sum(np.fft.ifft2(np.fft.fft2(x) * (2 + 1j)).real ** 3))

    def seen(out, re, im, **params):
        imaginary.append(np.shape(im))
        real(out, re, im, **params)
    with mock.patch.dict(transforms.TRANSFORMS, fft=seen):
        np.testing.assert_allclose(de.jit(gradient)(x), gradient(x), rtol=1e-10, atol=1e-10)
    assert sorted(imaginary) == [(), (), (6, 131), (6, 131)]          # the function's own, and that of its real part's cotangent


def test_transforms_of_what_is_not_finite():
    x = np.array([1.0, np.inf, 2.0])
    f = lambda x: np.fft.fft(x).real[0] + np.sum(np.where(np.isfinite(x), x, 0.0))          # noqa: E731
    with np.errstate(invalid="ignore"):
        assert de.grad(f)(x).tolist() == [2, 1, 2]


def test_cost_and_words():
    graph = de.trace(lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2), X[0])
    assert graph.cost().operations >= 5 * 5 * 3
    assert "fft(" in graph.formula() and r"\operatorname{fft}" in graph.latex()
    for f in (lambda x: np.fft.ifft2(np.fft.fft2(x) ** 2).real, lambda x: np.fft.irfft2(np.fft.rfft2(x) ** 2, s=(4, 5))):
        text, space = de.trace(f, X).source(), {}
        exec(text, space)
        np.testing.assert_allclose([*space.values()][-1](X), f(X), rtol=1e-14, atol=1e-14)
    for language in ("c", "numba"):
        with pytest.raises(TypeError, match=rf"{language} source: r?fft at test_fft\.py:\d+ has no words"):
            de.trace(f, X).source(language)


@pytest.mark.parametrize("f, error, words", [
    (lambda x: np.abs(np.fft.fft(x, norm="x")), ValueError, r"fft at test_fft\.py:\d+: norm is 'x'; choose 'backward', 'ortho' or 'forward'"),
    (lambda x: np.abs(np.fft.fft(x, 0)), ValueError, r"fft at test_fft\.py:\d+: invalid number of data points \(0\)"),
    (lambda x: np.abs(np.fft.rfft(1j * x)), TypeError, r"rfft at test_fft\.py:\d+ takes real values, and these are complex: use np\.fft\.fft"),
    (lambda x: np.abs(np.fft.fftn(x, s=(2, 3), axes=(0,))), ValueError, r"fftn at test_fft\.py:\d+: 2 lengths for 1 axes"),
    (lambda x: np.abs(np.fft.rfftn(x, axes=(0, 0))), ValueError, r"rfftn at test_fft\.py:\d+: axes are \[0, 0\].*each once"),
    (lambda x: np.abs(np.fft.fft(x[0, 0])), ValueError, r"fft at test_fft\.py:\d+: an array with an axis is needed"),
    (lambda x: np.fft.irfft(x[:, :1]), ValueError, r"irfft at test_fft\.py:\d+: invalid number of data points \(0\)"),
])
def test_errors(f, error, words):
    with pytest.raises(error, match=words):
        de.grad(lambda x: np.sum(f(x)))(X)


def test_scipys_transforms_name_numpys():
    scipy_fft = pytest.importorskip("scipy.fft")
    with pytest.raises(TypeError, match=r"fftn at test_fft\.py:\d+, a function of scipy.*use np\.fft\.fftn"):
        de.grad(lambda x: np.sum(np.abs(scipy_fft.fftn(x))))(X)


# ---- spectral codes, as their users write them ------------------------------------------------------------------------------------------------

def _wavenumbers(n):
    k = np.fft.ifftshift(2 * np.pi * np.arange(-n / 2, n / 2))
    return np.meshgrid(k, k)


def navier_stokes(vx, vy, viscosity, steps=2, dt=0.001):
    """Incompressible flow on a periodic square: advection without the upper third of the waves, pressure, implicit diffusion. The sum of squared vorticity."""
    kx, ky = _wavenumbers(vx.shape[0])
    k2 = kx ** 2 + ky ** 2
    inverse = 1 / np.where(k2 == 0, 1, k2)
    kept = (np.abs(kx) < 2 / 3 * np.max(kx)) & (np.abs(ky) < 2 / 3 * np.max(ky))

    def slopes(v):
        hat = np.fft.fftn(v)
        return np.real(np.fft.ifftn(1j * kx * hat)), np.real(np.fft.ifftn(1j * ky * hat))

    def through(factor, v):
        return np.real(np.fft.ifftn(factor * np.fft.fftn(v)))
    for _ in range(steps):
        (xx, xy), (yx, yy) = slopes(vx), slopes(vy)
        ax, ay = through(kept, -(vx * xx + vy * xy)), through(kept, -(vx * yx + vy * yy))
        vx += dt * ax
        vy += dt * ay
        px, py = slopes(through(-inverse, slopes(ax)[0] + slopes(ay)[1]))
        vx, vy = through(1 / (1 + dt * viscosity * k2), vx - dt * px), through(1 / (1 + dt * viscosity * k2), vy - dt * py)
    return np.sum((slopes(vy)[0] - slopes(vx)[1]) ** 2)


def schroedinger_poisson(density, strength, steps=2, dt=1e-4):
    """A wave in its own potential, by split steps: how it is concentrated, and its phases."""
    kx, ky = _wavenumbers(density.shape[0])
    k2, psi = kx ** 2 + ky ** 2, np.sqrt(density / np.mean(density))

    def potential(psi):
        hat = -np.fft.fftn(4 * np.pi * strength * (np.abs(psi) ** 2 - 1)) / (k2 + (k2 == 0))
        return np.real(np.fft.ifftn(hat))
    v = potential(psi)
    for _ in range(steps):
        psi = np.exp(-1j * dt / 2 * v) * psi
        psi = np.fft.ifftn(np.exp(dt * (-1j * k2 / 2)) * np.fft.fftn(psi))
        v = potential(psi)
        psi = np.exp(-1j * dt / 2 * v) * psi
    return np.sum(np.abs(psi) ** 4) + np.sum(np.cos(np.angle(psi)))


def deconvolution(kernel, signal, noise):
    """Wiener's, and the power spectrum of what is left."""
    hat = np.fft.rfft(kernel, signal.size)
    found = np.fft.irfft(np.conj(hat) * np.fft.rfft(signal) / (np.abs(hat) ** 2 + noise), signal.size)
    return np.sum(np.abs(np.fft.rfft(found)) ** 2)


_X, _Y = np.meshgrid(np.arange(8) / 8, np.arange(8) / 8)
CODES = {
    "navier-stokes": (navier_stokes, (-np.sin(2 * np.pi * _Y) + 0.1, np.sin(4 * np.pi * _X), 0.01)),
    "schroedinger-poisson": (schroedinger_poisson, (1 + np.exp(-((_X - 0.5) ** 2 + (_Y - 0.4) ** 2) * 20), 400.0)),
    "deconvolution": (deconvolution, (np.array([1.0, 0.7, 0.2]), np.random.default_rng(3).normal(size=16), 0.1)),
}


@pytest.mark.parametrize("name", CODES)
def test_spectral_codes(name):
    f, args = CODES[name]
    everything = tuple(range(len(args)))
    values, gradients = {}, {}
    for method in METHODS:
        values[method], gradients[method] = de.value_and_grad(f, everything, method=method)(*args)
    values["jit"], gradients["jit"] = de.jit(de.value_and_grad(f, everything))(*args)
    plain = f(*[np.array(a) for a in args])
    rng = np.random.default_rng(4)
    along = [np.asarray(rng.normal(size=np.shape(a))) * (0.1 if np.ndim(a) else 0.1 * a) for a in args]
    h = 1e-5
    slope = (f(*[a + h * d for a, d in zip(args, along)]) - f(*[a - h * d for a, d in zip(args, along)])) / (2 * h)
    for way, found in gradients.items():
        assert abs(values[way] - plain) <= 1e-12 * abs(plain)
        assert abs(sum(np.sum(g * d) for g, d in zip(found, along)) - slope) <= 1e-6 * abs(slope), way
        for g, want in zip(found, gradients["reverse"]):
            np.testing.assert_allclose(g, want, rtol=1e-9, atol=1e-11 * np.abs(want).max())


def test_the_judge_certifies_a_spectral_code():
    f, args = CODES["deconvolution"]
    report = de.compare(f, *args, argnums=(0, 2), kernels=False)
    assert report.agree and all([m.verdict == "right" for m in report.methods.values()]), str(report)
