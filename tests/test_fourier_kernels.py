"""Fourier transforms in kernels beside NumPy's: every radix and prime, every way in which columns and rows lie, and what is left of a batch.

Seed: default_rng(0).
"""
from unittest import mock

import flint
import numpy as np
import pytest

import diffeng as de
from diffeng.kernels import Program, machine, roots

RTOL = {np.float64: 4e-15, np.float32: 2e-6}
# Each radix alone, twice and beside others; primes without code of their own, also twice; rows that are 3, 4, 5, 7 and 8 columns; the longest.
LENGTHS = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 20, 22, 25, 26, 32, 35, 49, 60, 64, 72, 96, 97, 99, 100, 121, 125, 127, 128, 254, 288, 315, 360, 508, 512, 1000]
LONG = [4096, 5000, 8192, 3 * 4096, 1 << 17]


def agree(f, x, rtol):
    """f, compiled, is f, and NumPy computes nothing of it."""
    graph = de.trace(f, *x)
    program = Program(graph.input_nodes, graph.output_nodes)
    assert not program.calls
    for found, want in zip(program(*x), f(*x), strict=True):
        assert found.dtype == want.dtype and found.shape == want.shape
        assert np.linalg.norm(found - want) <= rtol * np.linalg.norm(want), (found.shape, np.linalg.norm(found - want) / np.linalg.norm(want))


def both(z):
    return z.real, z.imag


def transforms(x, y, axis, norm):
    return [*both(np.fft.fft(x + 1j * y, axis=axis, norm=norm)), *both(np.fft.ifft(x * 1j, axis=axis, norm=norm)), *both(np.fft.ifft(x - 1j * y, axis=axis, norm=norm)),
            np.fft.fft(y, axis=axis).real]


def of_real(x, y, axis, norm):
    z = np.fft.rfft(x, axis=axis, norm=norm)
    n = 2 * x.shape[axis]
    return [*both(z), np.fft.irfft(z * (1 - 2j), axis=axis, norm=norm), np.fft.irfft(x + 1j * y, n, axis=axis, norm=norm), np.fft.irfft(y, n, axis=axis)]


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("n", LENGTHS)
def test_rows_and_columns(n, dtype):
    """One, a few, and some more than vectors are wide: side by side, one behind the other, and neither."""
    random = np.random.default_rng(0)
    for batch, norm in ((1, None), (3, "ortho"), (13, "forward")):
        x, y = random.normal(size=(2, batch, n)).astype(dtype)
        agree(lambda x, y: transforms(x, y, 1, norm), (x, y), RTOL[dtype])
        agree(lambda x, y: transforms(x.T, y.T, 0, norm), (x, y), RTOL[dtype])
        agree(lambda x, y: transforms(x[:, ::-1, None] * 1, y[:, :, None], 1, norm), (x, y), RTOL[dtype])
        wide = np.stack([x, y], -1)
        agree(lambda w: transforms(w[..., 0], w[..., 1], 1, norm), (wide,), RTOL[dtype])
        if n > 2 and n % 2 == 0:
            agree(lambda x, y: of_real(x, y, 1, norm), (x, y), RTOL[dtype])
            agree(lambda x, y: of_real(x.T, y.T, 0, norm), (x, y), RTOL[dtype])
            agree(lambda w: of_real(w[..., 0], w[..., 1], 1, norm), (wide,), RTOL[dtype])


@pytest.mark.parametrize("n", LONG)
def test_long_rows(n):
    x, y = np.random.default_rng(0).normal(size=(2, 3, n))
    agree(lambda x, y: transforms(x, y, 1, None), (x, y), 1e-14)
    agree(lambda x, y: of_real(x, y, 1, None), (x[:, :n // 2], y[:, :n // 2]), 1e-14)
    if n <= 8192:
        for columns in (3, 9):                                  # those that are few are taken one by one
            x, y = np.random.default_rng(0).normal(size=(2, n, columns))
            agree(lambda x, y: [*transforms(x, y, 0, None), *of_real(x, y, 0, None)], (x, y), 1e-14)


@pytest.mark.parametrize("shape, axes", [((12, 20), (0, 1)), ((9, 4, 6), (2, 0)), ((5, 7, 8), (1, 2)), ((3, 11, 10), (0, 1, 2)), ((1, 16), (0, 1)), ((6, 1), (1, 0)),
                                         ((2, 130, 6), (1, 0, 2))])
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_several_axes(shape, axes, norm):
    """The first one from an array to another, the others in place: a prime, too, whose pass reads what it has written."""
    x, y = np.random.default_rng(0).normal(size=(2, *shape))
    agree(lambda x, y: [*both(np.fft.fftn(x + 1j * y, axes=axes, norm=norm)), *both(np.fft.ifftn(y, axes=axes, norm=norm))], (x, y), RTOL[np.float64])
    if shape[axes[-1]] % 2 == 0:
        lengths = [shape[k] for k in axes]
        agree(lambda x, y: [*both(np.fft.rfftn(x, axes=axes, norm=norm)), np.fft.irfftn(np.fft.rfftn(x, axes=axes) * (1j + y.max()), lengths, axes, norm)], (x, y),
              RTOL[np.float64])


@pytest.mark.parametrize("shape", [(3, 3, 9, 6), (5, 5, 16, 8), (2, 2, 3, 24)])
def test_parts_of_one_array_that_walk_differently(shape):
    """Real and imaginary parts alternate along the axis, but what is beside one row is not beside the other: cotangents are read where they lie."""
    x, w = np.random.default_rng(0).normal(size=(2, *shape)), np.random.default_rng(1).normal(size=(*shape, 2))

    def gradient(x, w):
        def f(x):
            z = np.fft.fft(x)
            return np.sum(z.real * w[..., 0] + z.imag * np.swapaxes(w[..., 1], 0, 1))
        return [de.grad(f)(x)]
    agree(gradient, (x[0], w), RTOL[np.float64])


def test_what_is_imaginary_at_the_ends_counts_for_nothing():
    """The first and the last number of a real transform are real, as NumPy has it."""
    z = np.random.default_rng(0).normal(size=(2, 65)) + 5j
    for rows in (z, z[:1], z[:, :9]):
        agree(lambda a, b: [np.fft.irfft(a + 1j * b), np.fft.irfft(a.T + 1j * b.T, axis=0)], (rows.real, rows.imag), RTOL[np.float64])


@pytest.mark.parametrize("n", [12, 97, 360, 1000, 4096])
def test_roots_are_right_to_half_a_unit(n):
    found = roots.roots(np.arange(n), n)
    with flint.ctx.workprec(100):
        for part, exact in ((found.real, flint.arb.cos_pi), (found.imag, flint.arb.sin_pi)):
            assert max(abs(float(float(p) - exact(flint.arb(-2 * k) / n))) for k, p in enumerate(part)) <= 2.0 ** -53


def test_another_length_compiles_nothing():
    f = de.jit(de.grad(lambda x: np.sum(np.abs(np.fft.fft(np.fft.irfft(np.fft.rfft(x) ** 2)) + 1) ** 2)))
    random = np.random.default_rng(0)
    f(random.normal(size=(5, 64)))
    machine.settle()
    before = machine.compilations
    for shape in ((5, 48), (20, 100), (9, 1000), (2, 256), (5, 14), (3, 65 * 2), (5, 2 * 131), (4, 33)):          # the last ones are NumPy's
        f(random.normal(size=shape))
    assert machine.compilations == before


def test_plans_of_long_transforms_are_kept():
    """Without their tables, which are longer than all that a plan may keep."""
    x = np.random.default_rng(0).normal(size=1 << 17)
    graph = de.trace(lambda x: np.fft.irfft(np.fft.rfft(x) ** 2), x)
    [made] = Program(graph.input_nodes, graph.output_nodes, remembered=True)(x)
    with mock.patch.object(Program, "_planned", side_effect=AssertionError):
        [found] = Program(graph.input_nodes, graph.output_nodes, remembered=True)(x)
    np.testing.assert_array_equal(found, made)


def test_loops_of_transforms_are_kernels():
    """A split step of a wave function, 50 times: no NumPy is called in between, and all methods agree."""
    k = np.fft.fftfreq(64, 1 / 64)

    def end(psi):
        def step(state, _):
            z = np.fft.ifft(np.exp(-0.005j * k ** 2) * np.fft.fft(state[0] + 1j * state[1]))
            z = z * np.exp(-0.01j * np.abs(z) ** 2)
            return np.stack([z.real, z.imag]), None
        state, _ = de.scan(step, np.stack([psi, 0 * psi]), None, length=50)
        return np.sum(state[0] ** 2 * np.cos(np.arange(64)))
    x = np.random.default_rng(0).normal(size=64)
    graph = de.trace(de.grad(end), x)
    assert not Program(graph.input_nodes, graph.output_nodes).calls
    np.testing.assert_allclose(de.jit(de.grad(end))(x), de.grad(end, method="forward")(x), rtol=1e-10, atol=1e-10)


def test_what_is_not_finite_stays_in_its_row():
    x = np.random.default_rng(0).normal(size=(12, 40))
    x[3, 5], x[7, 0] = np.inf, np.nan
    f = lambda x: np.fft.fft(x).real          # noqa: E731
    found = de.jit(f)(x)
    assert np.array_equal(np.isfinite(found).all(1), [k not in (3, 7) for k in range(12)])
    fine = np.isfinite(found)
    np.testing.assert_allclose(found[fine], f(x)[fine], rtol=1e-12, atol=1e-12)


def test_lengths():
    assert roots.factors(131) is None and roots.factors(2 * 127) == [2, 127]
    for n in range(2, 2000):
        found = roots.factors(n)
        assert found is None or np.prod(found) == n
