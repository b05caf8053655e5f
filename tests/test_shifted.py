"""Cheap values read at shifted places: the same bits, and fewer loops where that pays."""
import numpy as np
import pytest

import diffeng as de
from diffeng import kernels
from diffeng.kernels.shifted import shifted
from diffeng.simplify import simplify
from test_kernels import compiled
from test_stacking import recorded

RNG = np.random.default_rng(6)
U, K, A, ROW = RNG.normal(size=50), RNG.normal(size=49), RNG.normal(size=(20, 30)), RNG.normal(size=30)


def among_zeros(v, lo, n):
    """v from entry lo on, zeros around it: the adjoint of a part."""
    return de.grad(lambda x: np.sum(x[lo:lo + v.shape[0]] * v))(np.zeros((n, *v.shape[1:]), v.dtype))


def flux(u, k):
    f = k * (u[1:] - u[:-1])
    return u[1:-1] + (f[1:] - f[:-1])


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def spreads(a, row):
    f = (a[1:] - a[:-1]) * row
    return f[1:, 1:] - f[:-1, :-1]


def along_both(a, row):
    f, g = (a[1:] - a[:-1]) * 0.5, np.square(a[:, 1:]) - a[:, :-1]
    return f[1:, 1:-1] - f[:-1, 1:-1] + g[1:-1, 1:] - g[1:-1, :-1]


def diffused(u, k, steps=5, edge=1):
    """Misfit after steps of diffusion, ends held, with a coefficient between the points."""
    for _ in range(steps):
        f = k * (u[edge:] - u[:-edge])
        u = np.concatenate([u[:edge], u[edge:-edge] + 0.1 * (f[edge:] - f[:-edge]), u[-edge:]])
    return np.mean(u ** 2)


def two_fluxes(u, k):
    for _ in range(3):
        f, g = k * (u[1:] - u[:-1]), np.square(k) * np.maximum(u[1:], 0.5) - u[:-1]
        u = np.concatenate([u[:1], u[1:-1] + 0.1 * (f[1:] - f[:-1]) - 0.2 * (g[1:] - g[:-1]), u[-1:]])
    return np.sum(u * u)


def padded(a, row):
    """Steps with a coefficient along each axis, nothing flowing out."""
    for _ in range(3):
        f, g = (a[1:] - a[:-1]) * row, (a[:, 1:] - a[:, :-1]) * row[1:]
        a = a + np.pad(f, ((0, 1), (0, 0))) - np.pad(f, ((1, 0), (0, 0))) + np.pad(g, ((0, 0), (0, 1))) - np.pad(g, ((0, 0), (1, 0)))
    return a


CASES = {                                                   # whether anything changes
    "flux": (flux, (U, K), True),
    "gradient of rosenbrock": (de.grad(rosenbrock), (U,), True),
    "gradient of flux": (de.grad(lambda u, k: np.sum(flux(u, k) ** 2), argnums=(0, 1)), (U, K), True),
    "two axes": (along_both, (A, ROW), True),
    "gradient along two axes": (de.grad(lambda a, row: np.sum(along_both(a, row) ** 2)), (A, ROW), True),
    "differences of differences": (lambda u, k: np.diff(u, 5), (U, K), True),
    "a row spread": (spreads, (A, ROW), True),
    "gradient with a row spread": (de.grad(lambda a, row: np.sum(spreads(a, row) ** 2), argnums=(0, 1)), (A, ROW), True),
    "gradient of steps": (de.grad(diffused, argnums=(0, 1)), (U, K), True),
    "gradient of steps of a coefficient alone": (de.grad(diffused, argnums=1), (U, K), True),
    "gradient of steps along rows": (de.grad(diffused, argnums=(0, 1)), (A, A[:-1]), True),
    "gradient of steps and of what else is made of the sum": (lambda u, k: np.exp(de.grad(diffused, argnums=1)(u, k)), (U, K), True),
    "gradient of two fluxes": (de.grad(two_fluxes, argnums=(0, 1)), (U, K), True),
    "fluxes padded": (padded, (A, ROW), True),
    "gradient of fluxes padded": (de.grad(lambda a, row: np.sum(padded(a, row) ** 2), argnums=(0, 1)), (A, ROW), True),
    "numbers among zeros": (lambda u, k: among_zeros(3.0 - k, 0, 50) + among_zeros(np.maximum(k, 1.0), 1, 50), (U, K), True),
    "a factor among zeros": (lambda u, k: among_zeros(k * np.sum(k) * 2.0, 0, 50) - u, (U, K), True),
    "twice among zeros": (lambda u, k: among_zeros(among_zeros(-k[2:] * 2.0, 1, 49), 1, 50) + u, (U, K), True),
    "few entries among many zeros": (lambda u, k: among_zeros(k[:20] * 3.0, 5, 50) + u, (U, K), False),
    "what is dear is kept": (lambda u, k: (e := np.exp(u))[1:] - e[:-1], (U, K), False),
    "what is an output is kept": (lambda u, k: (f := u[1:] - u[:-1], f[1:] - f[:-1]), (U, K), False),
    "what is read as it is, too": (lambda u, k: ((f := u[1:] - u[:-1])[1:] - f[:-1], np.sin(f)), (U, K), False),
    "steps and integers": (lambda u, k: ((f := u[1:] - u[:-1])[::2], f[::-1], f[3]), (U, K), False),
    "masks, places and new axes": (lambda u, k: ((f := u[1:] - u[:-1])[np.arange(49) % 3 > 0], f[[1, 2, 2]], f[None, 1:]), (U, K), False),
    "too much to do twice": (lambda u, k: (f := sum(np.square(u - c) * c for c in (0.1, 0.2, 0.3, 0.4, 0.5)))[1:] - f[:-1], (U, K), False),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_the_same_bits(name, dtype):
    f, args, changes = CASES[name]
    args = [a.astype(dtype) for a in args]
    inputs, outputs = recorded(f, *args)
    outputs = simplify(outputs)
    again = shifted(outputs)
    assert all(a is b for a, b in zip(outputs, again)) is not changes
    assert [(n.shape, n.dtype) for n in again] == [(n.shape, n.dtype) for n in outputs]
    for special in ((), (np.inf, np.nan, -np.inf)):
        for place, value in enumerate(special):
            args[0].flat[7 + 5 * place] = value
        wanted = kernels.Program(inputs, outputs, as_recorded=True)(*args)
        for got, want in zip(kernels.Program(inputs, again, as_recorded=True)(*args), wanted):
            np.testing.assert_array_equal(got, want)
        for got, want in zip(kernels.Program(inputs, outputs)(*args), wanted):
            np.testing.assert_array_equal(got, want)


def test_no_loop_in_between():
    """A step of diffusion is one loop, and two passes are all of a Rosenbrock gradient."""
    inputs, outputs = recorded(flux, U, K)
    assert kernels.Program(inputs, outputs).kernels == 1 < kernels.Program(inputs, outputs, as_recorded=True).kernels
    inputs, outputs = recorded(lambda u: np.diff(u, 6), U)
    assert kernels.Program(inputs, outputs).kernels == 3
    inputs, outputs = recorded(de.grad(rosenbrock), U)
    program = kernels.Program(inputs, outputs)
    assert program.kernels == 1 and program.peak_bytes == 0


@pytest.mark.parametrize("n, lo, length", [(n, lo, length) for n in (1, 2, 3, 5, 40)
                                           for lo, length in ((0, 0), (0, 1), (0, 2), (1, 1), (2, 3), (3, 30), (0, 39), (1, 39), (0, 40)) if lo + length <= n])
def test_windows_of_any_length(n, lo, length):
    """The middle, where everything is inside of every window, may be empty, or all there is."""
    v, w = RNG.normal(size=length), RNG.normal(size=n)
    def f(v, w):
        return among_zeros(v, lo, n) + w * among_zeros(v, n - length, n)
    got = de.jit(f)(v, w)
    want = w * 0
    want[lo:lo + length] += v
    want[n - length:] += v * w[n - length:]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("empty", [slice(3, -1), slice(2, 1), slice(-9, None, -1), slice(0, 0), slice(9, 12), slice(-1, -9)])
def test_what_is_empty_is_read_nowhere(empty):
    """Parts that end before they begin: read, written, put among zeros beside others, and parts of them. A window of such had every entry in it."""
    x = np.random.default_rng(5).normal(size=(3, 70))

    def f(x):
        z = x * 1.0
        z[empty] = z[empty] * 0.4 - 0.9
        return np.sum(np.tanh(z)) + np.sum(np.sin(x)[empty][::-1]) + np.sum(x[:1] * z[2:]) + np.sum(np.concatenate([x[empty], np.cos(x)])) \
            + np.sum(np.diff(z[empty]))
    want, found = de.value_and_grad(f)(x), de.jit(de.value_and_grad(f))(x)
    np.testing.assert_allclose(found[0], want[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], want[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 16, 17, 18, 19, 33, 100, 1037])
@pytest.mark.parametrize("edge", [1, 2])
def test_steps_of_any_length(n, edge):
    """Value and gradient, of arguments that lie anyhow; empty windows among them."""
    rng = np.random.default_rng(n)
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 2e-4)):
        u, k = rng.normal(size=n).astype(dtype), rng.normal(size=max(0, n - edge)).astype(dtype)
        f = de.value_and_grad(lambda u, k: diffused(u, k, 5, edge) if n >= 2 * edge else np.sum(u) * np.sum(k), argnums=(0, 1))
        want, compiled = f(u, k), de.jit(f)
        for a, b in ((u, k), (u[::-1].copy()[::-1], np.repeat(k, 3)[::3])):
            found = compiled(a, b)
            for got, right in zip((found[0], *found[1]), (want[0], *want[1])):
                assert got.dtype == dtype
                np.testing.assert_allclose(got, right, rtol=rtol, atol=rtol * np.max(np.abs(right), initial=0))


def test_a_step_of_an_adjoint_is_one_loop():
    """Each step more is a loop for the points between, one for the ends, and one for both cotangents."""
    def loops(steps, **kwargs):
        inputs, outputs = recorded(de.grad(lambda u, k: diffused(u, k, steps), argnums=(0, 1)), U, K)
        return kernels.Program(inputs, outputs, **kwargs).kernels
    assert loops(12) - loops(11) == 3 < loops(12, as_recorded=True) - loops(11, as_recorded=True)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [600, 1037, 100003])
def test_windows_begin_anywhere(n, dtype):
    """In the middle vectors are cache lines of what is written, wherever that and the windows begin, and whichever thread writes it."""
    rng = np.random.default_rng(n)
    w = rng.normal(size=n).astype(dtype)
    for lo in (0, 1, 2, 7, 8, 17, 590):
        for cut in (0, 1, 5):
            v = rng.normal(size=n - lo - cut).astype(dtype)
            want = w * 0.5
            want[lo:n - cut] -= v
            got = de.jit(lambda v, w: np.concatenate([w[:cut], w * 0.5 - among_zeros(v, lo, n)]))(v, w)
            np.testing.assert_array_equal(got, np.concatenate([w[:cut], want]))


def test_what_lies_among_zeros_along_several_axes_is_read_where_it_lies():
    """The adjoint of a stencil is one loop, whose memory is that of its result: no array of zeros for each neighbour."""
    def plane(u):
        return np.sum(np.square(u[1:-1, 2:] + u[1:-1, :-2] + u[2:, 1:-1] + u[:-2, 1:-1] - 4.0 * u[1:-1, 1:-1]))

    def space(u):
        c = u[1:-1, 1:-1, 1:-1]
        return np.sum(np.tanh(c * (u[2:, 1:-1, 1:-1] - u[:-2, 1:-1, 1:-1] + u[1:-1, 2:, 1:-1] - u[1:-1, 1:-1, :-2])))

    def corners(u):
        return np.sum(np.sin(u[3:, :-2]) * u[:-3, 2:]) + np.sum(u[2, 1:4] ** 2) + u[5, 6] * u[4, 3]
    for f, shape in ((plane, (20, 30)), (plane, (300, 4)), (space, (9, 8, 12)), (space, (40, 30, 5)), (corners, (12, 30))):
        for dtype in (np.float64, np.float32):
            u = np.random.default_rng(2).normal(size=shape).astype(dtype)
            np.testing.assert_allclose(de.jit(de.grad(f))(u), de.grad(f)(u), rtol=0, atol=100 * np.finfo(dtype).eps)
    u = np.random.default_rng(2).normal(size=(100, 100))
    program = compiled(de.grad(plane), u)
    assert program.peak_bytes < 2 * u.nbytes                 # what the stencil made, and a little
