"""What goes round (np.roll, edges that are repeated) is read where it lies, forwards and backwards."""
import numpy as np
import pytest

import diffeng as de
from diffeng.nodes import reachable
from diffeng.simplify import simplify

RNG = np.random.default_rng(8)


def quadratic(u):
    return (np.roll(u, -1) - np.roll(u, 2)) * np.roll(u, 1) - u


def diffusion(u):
    return u + 0.1 * (np.roll(u, 1, 0) + np.roll(u, -1, 0) + np.roll(u, 1, -1) + np.roll(u, -1, -1) - 4 * u)


def negative(u):
    return -np.roll(u, 2, 0) - np.roll(u, -1, 0) * np.mean(np.roll(u, 1, -1) * u)


def wrapped(u):
    p = np.pad(u, [(1, 1)] + [(0, 0)] * (u.ndim - 1), mode="wrap")
    return np.sin(p[2:] - p[:-2]) + p[1:-1]


def repeated(u):
    p = np.pad(u, [(0, 0)] * (u.ndim - 1) + [(1, 1)], mode="edge")
    return p[..., 2:] * p[..., :-2] - np.roll(u, u.shape[-1] // 2, -1)


STEPS = [quadratic, diffusion, negative, wrapped, repeated]


def many(step, turns=3):
    def f(u):
        for _ in range(turns):
            u = step(u)
        return np.sum(np.sin(u))
    return f


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values(step, dtype):
    for shape in (1,), (2,), (3,), (5,), (40,), (1000,), (4, 3), (7, 40), (40, 20), (3, 5, 33), (2, 33, 17):
        u = RNG.normal(size=shape).astype(dtype) * dtype(0.5)
        got, want = (run(de.value_and_grad(many(step)))(u) for run in (de.jit, lambda g: g))
        tolerance = 1e-11 if dtype == np.float64 else 2e-3
        np.testing.assert_allclose(got[0], want[0], rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(got[1], want[1], rtol=tolerance, atol=tolerance * np.max(np.abs(want[1])))


def test_every_bit_forwards():
    """Infinities and NaNs stay where they are, and so does the sign of a zero."""
    for shape in (33,), (5, 40):
        u = RNG.normal(size=shape)
        u.flat[[0, 1, -1, 20]] = np.inf, -0.0, np.nan, 0.0
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(de.jit(lambda u: np.roll(u, 1, -1) * np.roll(u, -2, 0))(u), np.roll(u, 1, -1) * np.roll(u, -2, 0))
            assert np.array_equal(np.signbit(de.jit(lambda u: -np.roll(u, 1, -1))(u)), np.signbit(-np.roll(u, 1, -1)))


@pytest.mark.parametrize("step, shape", [(quadratic, (40,)), (diffusion, (20, 30))])
def test_a_step_is_one_loop_each_way(step, shape):
    for function, loops in (lambda f: f, 3), (de.grad, 6):
        compiled = de.jit(function(many(step)))
        compiled(RNG.normal(size=shape))
        assert [t.program.kernels for traces in compiled._traces.values() for t in traces] == [loops]


def test_the_adjoint_goes_round():
    """No zeros are made, to add few entries to."""
    derivative = de.trace(many(quadratic, 2), RNG.normal(size=40)).derivative(method="reverse")
    assert "scatter" not in {n.primitive.name for n in reachable(simplify(derivative.output_nodes))}


def test_windows_along_rows_alone():
    """What lies among zeros along rows is as fast to read as what does not: each row asks once. (Its values.)"""
    u = RNG.normal(size=(40, 50))
    for f in (lambda u: np.sum(np.sin(np.diff(u, axis=0)) ** 2), lambda u: np.sum((np.pad(u, ((2, 0), (0, 0)))[:-2] * u) ** 2)):
        np.testing.assert_allclose(de.jit(de.grad(f))(u), de.grad(f)(u), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("step", [quadratic, diffusion, wrapped])
def test_on_a_gpu(simulated, step):
    for shape in (3,), (40,), (7, 40):
        u = RNG.normal(size=shape) * 0.5
        got, want = de.jit(de.value_and_grad(many(step, 2)), device="cuda")(u), de.value_and_grad(many(step, 2))(u)
        np.testing.assert_allclose(got[0], want[0], rtol=1e-11)
        np.testing.assert_allclose(got[1], want[1], rtol=1e-10, atol=1e-11)
