"""np.convolve and np.correlate: kernels short and long, values and derivatives, what is not finite, memory.

Seed: default_rng(0).
"""
import numpy as np
import pytest

import diffeng as de
from diffeng.kernels import Program, machine

LENGTHS = [(1, 1), (30, 16), (30, 17), (17, 30), (40, 40), (100, 33), (64, 97), (250, 100), (90, 340)]          # sums of slices, and products; rows of 16, 32 and more


@pytest.mark.parametrize("n, m", LENGTHS)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_values_and_derivatives(n, m, mode):
    random = np.random.default_rng(0)
    a, v = random.normal(size=n), random.normal(size=m)
    for function in (np.convolve, np.correlate):
        def f(a, v):
            return function(a, v, mode)
        want = f(a, v)
        close = dict(rtol=1e-13, atol=1e-13 * np.max(np.abs(want)))
        for found in (de.jvp(f, (a, v), (a, 0 * v))[1], de.jit(f)(a, v), de.vmap(f)(a[None], v[None])[0]):          # linear in each
            np.testing.assert_allclose(found, want, **close)
        weights = random.normal(size=want.size)
        total = lambda a, v: weights @ f(a, v)          # noqa: E731
        rows = [np.array([weights @ f(e, v) for e in np.eye(n)]), np.array([weights @ f(a, e) for e in np.eye(m)])]
        for gradient in (de.grad(total, (0, 1)), de.jit(de.grad(total, (0, 1)))):
            for found, row in zip(gradient(a, v), rows):
                np.testing.assert_allclose(found, row, rtol=1e-12, atol=1e-12 * np.max(np.abs(row)))


def test_complex_numbers():
    random = np.random.default_rng(0)
    a, v = random.normal(size=(2, 60)), random.normal(size=(2, 40))
    f = lambda a, v: np.abs(np.convolve(a[0] + 1j * a[1], v[0] - 1j * v[1])) ** 2          # noqa: E731
    np.testing.assert_allclose(de.jit(f)(a, v), f(a, v), rtol=1e-12)


@pytest.mark.parametrize("m", [16, 40, 100])
def test_what_is_not_finite_stays_in_its_windows(m):
    """0 times infinity would be NaN beyond them."""
    a, v = np.random.default_rng(0).normal(size=300), np.random.default_rng(1).normal(size=m)
    a[40], a[180] = np.nan, np.inf
    want = np.convolve(a, v)
    f = de.jit(np.convolve)
    np.testing.assert_allclose(f(np.nan_to_num(a, posinf=0), v), np.convolve(np.nan_to_num(a, posinf=0), v), rtol=1e-11, atol=1e-12)
    for found in (f(a, v), de.jvp(np.convolve, (a, v), (a, v))[0]):
        np.testing.assert_array_equal(np.isnan(found), np.isnan(want))
        np.testing.assert_array_equal(found[np.isinf(want)], want[np.isinf(want)])
    for found in (f(v, a), de.vmap(np.convolve)(a[None], v[None])[0], de.jit(de.vmap(np.convolve))(v[None], a[None])[0]):
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(want))
        np.testing.assert_allclose(found[np.isfinite(want)], want[np.isfinite(want)], rtol=1e-11, atol=1e-12)


def test_a_long_kernel_takes_no_matrix_of_windows():
    """Which would have 10^8 entries; and another number of taps, about as many, compiles nothing."""
    a, v = np.random.default_rng(0).normal(size=100_000), np.random.default_rng(1).normal(size=1000)
    graph = de.trace(de.grad(lambda a, v: np.sum(np.convolve(a, v, "same") ** 2), (0, 1)), a, v)
    assert Program.peak(graph.input_nodes, graph.output_nodes) < 20 * a.nbytes
    f = de.jit(de.grad(lambda a, v: np.sum(np.convolve(a, v) ** 2), (0, 1)))
    for m in (100, 140):
        f(a[:3000], v[:m])
    machine.settle()
    before = machine.compilations
    for n, m in ((500, 80), (4000, 190), (2000, 130), (777, 111)):
        f(a[:n], v[:m])
    assert machine.compilations == before


def test_compare_has_a_verdict():
    a, v = np.random.default_rng(0).normal(size=50), np.random.default_rng(1).normal(size=20)
    assert de.compare(lambda a, v: np.sum(np.tanh(np.convolve(a, v, "same")) ** 2), a, v).agree
