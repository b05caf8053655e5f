"""Running sums and products as kernels: NumPy's bits, in whatever order an array lies, on one thread and on several."""
import numpy as np
import pytest

import diffeng as de
from diffeng import numpy_api  # noqa: F401  what NumPy's functions mean of recorded values, whichever test comes first
from diffeng.kernels.program import Program
from diffeng.nodes import Tracing

rng = np.random.default_rng(5)

WALKS = {
    "as it lies":  lambda x: x,
    "backwards":   lambda x: x[::-1],
    "turned":      np.transpose,
    "every second": lambda x: x[..., ::2],
    "repeated":    lambda x: np.broadcast_to(x, (2, *x.shape)),
}


def program_of(function, x):
    given = Tracing().input(None, "x", x.shape, x.dtype)
    return Program([given.node], [function(given).node])


@pytest.mark.parametrize("shape", [(1,), (7,), (0, 3), (3, 5), (4, 1, 6), (2, 3, 4), (3, 1100), (1100, 3), (2, 3, 2, 3)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int32, bool])
def test_the_bits_are_numpys(shape, dtype):
    x = (rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape) * (1 if np.dtype(dtype).kind == "f" else 4)).astype(dtype)
    for walk in WALKS.values():
        for axis in range(walk(x).ndim):
            for scan in np.cumsum, np.cumprod:
                want = scan(walk(x), axis=axis)
                got, = program_of(lambda x: scan(walk(x), axis=axis), x)(x)
                assert got.dtype == want.dtype and got.tobytes() == want.tobytes(), (scan, axis)


def test_signs_of_zero_and_what_is_not_finite():
    for x in np.array([-0.0, -0.0, 1.0]), np.array([np.inf, 1.0, -np.inf, 2.0]), np.array([np.nan, 1.0]), np.array([0.0, np.inf, 1.0]):
        for scan in np.cumsum, np.cumprod:
            with np.errstate(invalid="ignore"):
                want = scan(x)
            got, = program_of(scan, x)(x)
            np.testing.assert_array_equal(got, want)
            assert np.array_equal(np.signbit(got), np.signbit(want)) or np.isnan(got).any()


@pytest.mark.parametrize("axis", [0, 1])
def test_large_ones_are_shared_out(axis):
    x = rng.standard_normal((400, 1000))
    program = program_of(lambda x: np.cumsum(np.exp(x), axis=axis), x)
    want = np.cumsum(program_of(np.exp, x)(x)[0], axis=axis)
    assert not program.calls and program.kernels == 2
    for _ in range(3):
        assert program(x)[0].tobytes() == want.tobytes()


def test_with_its_gradient_no_call_of_numpy_is_left():
    def f(x):
        return np.sum(np.log1p(np.cumsum(np.exp(-x * x)))) + np.sum(np.cumsum(x.reshape(4, -1), axis=1)[:, ::-1] ** 2)
    x = rng.standard_normal(40)
    value, gradient = de.jit(de.value_and_grad(f))(x)
    np.testing.assert_allclose(value, f(x), rtol=1e-14)
    np.testing.assert_allclose(gradient, de.grad(f)(x), rtol=1e-12)
    given = Tracing().input(None, "x", x.shape, x.dtype)
    assert not Program([given.node], [f(given).node]).calls
