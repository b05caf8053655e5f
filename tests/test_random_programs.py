"""Random functions: what is compiled equals what is not, values and gradients."""
import numpy as np
import pytest
import scipy.special

import diffeng as de

ONE = [np.tanh, lambda x: np.exp(-x * x), np.sin, lambda x: x.T, lambda x: x[::-1], lambda x: 1 / (1 + np.exp(-x)), lambda x: np.log1p(x * x),
       lambda x: np.sqrt(x * x + 0.3), np.sum, np.negative, lambda x: x ** 3, np.absolute, lambda x: 0.5 * x * (1 + scipy.special.erf(x / 1.4142135623730951)),
       lambda x: np.stack([x, x * 2.0])[1], lambda x: x[1:], lambda x: x[:, 1:-1], lambda x: x.reshape(-1), lambda x: np.einsum("ij,ij->i", x, x),
       lambda x: np.einsum("ij,kj->ik", x, x), lambda x: np.where(x > 0.1, x, 0.5), lambda x: np.mean(x, axis=0, keepdims=True), lambda x: np.max(x, axis=-1),
       lambda x: np.sum(x, axis=0), lambda x: np.sum(x, axis=-1, keepdims=True), lambda x: np.var(x, axis=-1),
       lambda x: (e := np.exp(x - np.max(x, axis=-1, keepdims=True))) / np.sum(e, axis=-1, keepdims=True),
       lambda x: (x - np.mean(x, axis=-1, keepdims=True)) / np.sqrt(np.var(x, axis=-1, keepdims=True) + 1e-2), lambda x: every_other(x)]
TWO = [np.add, np.multiply, np.subtract, lambda x, y: x / (y * y + 1.5), np.maximum, lambda x, y: x @ y, lambda x, y: np.concatenate([x, y])]


def every_other(x):
    z = np.zeros(x.shape, x.dtype)
    z[::2] = x[::2] * 2
    return z


def program(rng):
    """(function, arguments): some of the functions above after each other, where their shapes allow it."""
    n, m = rng.choice([1, 2, 3, 5, 8, 17, 40]), rng.choice([1, 2, 4, 7, 16, 33])
    args = [rng.normal(size=s).astype(rng.choice([np.float64, np.float32])) for s in ((n, m), (m, n), (m,), (n, 1))]
    args = [a.astype(args[0].dtype) for a in args]
    chosen = [((ONE[rng.integers(len(ONE))], 1) if rng.random() < 0.65 else (TWO[rng.integers(len(TWO))], 2)) + (rng.integers(0, 1000, 2),)
              for _ in range(rng.integers(4, 22))]

    def f(*leaves):
        pool = list(leaves)
        for step, count, which in chosen:
            try:
                z = step(*[pool[k % len(pool)] for k in which[:count]])
            except (ValueError, IndexError, np.exceptions.AxisError):
                continue
            if 0 < z.size < 4000:
                pool.append(z)
        return sum(np.mean(np.tanh(p) * 0.7 + p * 0.01) for p in pool[-6:]), pool[-1]
    return f, args


@pytest.mark.parametrize("seed", range(36))
def test_compiled_equals_uncompiled(seed):
    f, args = program(np.random.default_rng(seed))
    tolerance = 1e-9 if args[0].dtype == np.float64 else 1e-3
    gradient = de.grad(lambda *x: f(*x)[0], argnums=(0, 1, 2, 3))
    with np.errstate(all="ignore"):
        want = [*f(*args), *gradient(*args)]
    for got, w in zip([*de.jit(f)(*args), *de.jit(gradient)(*args)], map(np.asarray, want), strict=True):
        assert np.shape(got) == w.shape and np.asarray(got).dtype == w.dtype
        if np.all(np.isfinite(w)):
            np.testing.assert_allclose(got, w, rtol=0, atol=tolerance * (np.max(np.abs(w), initial=0) + 1e-3))
