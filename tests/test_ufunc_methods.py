"""Options and methods of ufuncs on traced values: where=, out=, reduce, accumulate, reduceat, at, by every method and compiled."""
import numpy as np
import pytest

import diffeng as de

X = np.random.default_rng(3).uniform(0.2, 1.2, (3, 4))
M = X > 0.6

FUNCTIONS = {
    "divide where": lambda x: np.divide(x, x - x * M, out=np.zeros_like(x), where=~M),
    "log where": lambda x: np.log(x * M, where=M, out=np.ones((3, 4))),
    "where of a traced mask": lambda x: np.sqrt(x - 0.6, where=x > 0.6, out=np.full((3, 4), 0.5)),
    "where broadcast": lambda x: np.arctan2(x, x[0], out=np.zeros((3, 4)), where=np.array([True, False, True, True])),
    "how, not what": lambda x: np.add(x, x, casting="same_kind", order="F", subok=False),
    "maximum.accumulate": lambda x: np.maximum.accumulate(x, axis=1),
    "minimum.accumulate": lambda x: np.minimum.accumulate(x),
    "hypot.reduce": lambda x: np.hypot.reduce(x, axis=1),
    "fmax.reduce of axes": lambda x: np.fmax.reduce(x[None], axis=(0, 2)) * np.fmin.reduce(x, axis=None, keepdims=True)[0],
    "methods into arrays": lambda x: _into_arrays(x), "subtract.outer": lambda x: np.subtract.outer(x, x[0]) ** 2,
    "subtract.reduce": lambda x: np.subtract.reduce(x, axis=-1, keepdims=True),
    "divide.accumulate": lambda x: np.divide.accumulate(x),
    "add.reduceat": lambda x: np.add.reduceat(x, [0, 3, 1], axis=1),
    "maximum.reduceat": lambda x: np.maximum.reduceat(x, [0, 2]),
    "multiply.at": lambda x: _at(np.multiply, x, ([0, 2, 0], [1, 1, 1]), x[0, :3]),
    "maximum.at": lambda x: _at(np.maximum, x, [2, 0], x[1]),
    "divide.at": lambda x: _at(np.divide, x, [0, 0], x[1:]),
    "exp.at": lambda x: _at(np.exp, x, [0, 0, 1]),
    "nansum where": lambda x: np.nansum(np.where(x > 1, np.nan, x), axis=0, where=M, initial=2.0),
    "nanmean where": lambda x: np.nanmean(x, axis=1, where=M | (np.arange(4) == 0)),
    "nanmax where": lambda x: np.nanmax(x, axis=1, where=M, initial=0.1),
    "nanvar where": lambda x: np.nanvar(x, where=M),
    "cumulative_sum": lambda x: np.cumulative_sum(x, axis=1, include_initial=True),
    "cumulative_prod": lambda x: np.cumulative_prod(x, axis=0, include_initial=True),
    "logaddexp.reduce": lambda x: np.logaddexp.reduce(x, axis=1, where=M, initial=0.5) + np.logaddexp.reduce(x, 1, initial=x[0, 0], keepdims=True)[:, 0],
    "hypot.accumulate": lambda x: np.hypot.accumulate(x, axis=1),
    "fftshift": lambda x: np.fft.fftshift(x) * 2, "fftshift along an axis": lambda x: np.fft.fftshift(x, axes=0) + np.fft.ifftshift(x, axes=(0,)),
    "ifftshift": lambda x: np.fft.ifftshift(x[:, :3]) * 2,
    "astype": lambda x: np.astype(x, np.float64) * 2,
}


def _into_arrays(x):
    y, z, w = x.copy(), np.zeros(4), np.zeros((4, 4))
    np.maximum.accumulate(y, axis=0, out=y)
    np.hypot.reduce(y, axis=0, out=z)
    np.subtract.outer(x[0], x[1], out=w)
    np.add.reduce(w, axis=0, out=(w[3],))
    return y * z + w[1:]


def _at(f, x, *rest):
    y = x * 1.0
    f.at(y, *rest)
    return y


@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_in_numpy_by_every_method(name):
    f = FUNCTIONS[name]
    plain = f(X)
    weights = np.random.default_rng(1).normal(size=plain.shape)
    total = lambda x: np.sum(f(x) * weights)
    truth = [(total(X + d) - total(X - d)) / 2e-6 for d in np.eye(X.size).reshape(-1, *X.shape) * 1e-6]
    for method in ("reverse", "forward", "symbolic"):
        value, gradient = de.value_and_grad(total, method=method)(X)
        assert value == pytest.approx(total(X), rel=1e-13), method
        assert gradient.ravel() == pytest.approx(truth, abs=1e-6), method
    np.testing.assert_allclose(de.jit(f)(X), plain, rtol=1e-13)


def test_dtypes_that_are_asked_for():
    x = np.float32([1, 2, 3])
    for f in (lambda x: np.cumprod(x, dtype=np.float64), lambda x: np.mean(x * 1.5, dtype=int)):
        assert de.jit(f)(x).dtype == f(x).dtype and np.all(de.jit(f)(x) == f(x))


def test_dtypes_of_means_and_variances_without_what_is_missing():
    for x in (np.where(M, np.nan, X), np.where(M, np.nan, X).astype(np.float32)):
        for f in (np.nanmean, np.nanvar, np.nanstd):
            for dtype in (np.float64, np.float32, np.float16):
                want, got = f(x, axis=0, dtype=dtype), de.vjp(lambda x: f(x, axis=0, dtype=dtype), x)[0]
                assert got.dtype == want.dtype == dtype
                np.testing.assert_allclose(got, want, rtol=4 * np.finfo(np.promote_types(dtype, np.float16)).eps)


@pytest.mark.parametrize("f", [np.logical_and, np.logical_or, np.logical_xor])
def test_truth_along_an_axis_is_truth(f):
    x = np.array([[2.0, 0.0, 3.0], [1.0, 0.0, 0.0], [0.0, 5.0, 1.0]])
    for g in (lambda x: f.accumulate(x, axis=1), lambda x: f.reduceat(x, [0, 2, 1]), lambda x: f.reduce(x[:1])):
        for got in (de.vjp(g, x)[0], de.jit(g)(x)):
            assert got.dtype == bool and np.array_equal(got, g(x))


def test_where_needs_what_stands_elsewhere():
    with pytest.raises(TypeError, match=r"log at .*where= it needs out="):
        de.grad(lambda x: np.sum(np.log(x, where=M)))(X)


def test_the_largest_of_nothing():
    x = X[:, :0]
    for f in (lambda x: np.max(x, initial=2.0), lambda x: np.min(x, axis=1, keepdims=True, initial=3.0), lambda x: np.linalg.norm(x, 1), lambda x: np.linalg.norm(x, 2),
              lambda x: np.linalg.norm(x, np.inf), lambda x: np.linalg.norm(x[0], np.inf), lambda x: np.linalg.norm(x.T, np.inf)):
        for got in (de.vjp(f, x)[0], de.jit(f)(x)):
            assert got.dtype == np.asarray(f(x)).dtype and np.array_equal(got, f(x))
    for method in ("reverse", "forward", "symbolic"):
        slope = de.grad(lambda x: np.max(x[x > 9], initial=x[0, 1]), method=method)(X)
        np.testing.assert_array_equal(slope, np.eye(12)[1].reshape(3, 4))


def test_nothing_to_reduce():
    with pytest.raises(ValueError, match=r"subtract.*not reorderable"):
        de.grad(lambda x: np.sum(np.subtract.reduce(x, axis=None)))(X)
    with pytest.raises(ValueError, match=r"hypot.reduce at .*nothing along axis 0"):
        de.grad(lambda x: np.sum(np.subtract.reduce(np.hypot.reduce(x[:0]))))(X)


LONG = {
    "maximum.accumulate": lambda x: np.maximum.accumulate(x, axis=1) * np.arange(40),
    "minimum.accumulate": lambda x: np.minimum.accumulate(np.cumsum(x, axis=1), axis=1) - x,
    "logaddexp.accumulate": lambda x: np.logaddexp.accumulate(x.T) ** 2,
    "subtract.accumulate": lambda x: np.subtract.accumulate(x, axis=1) ** 2,
    "hypot.reduce": lambda x: np.hypot.reduce(x, axis=1, keepdims=True) * x[:, :3],
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_axis_is_a_loop(name):
    """One operation of what is recorded, however long: of each entry one would take a millisecond to compile."""
    f = lambda x: np.sum(LONG[name](x))
    x = np.random.default_rng(3).normal(size=(3, 40))
    x[:, 7] = x[:, 3]
    assert len(de.trace(f, x).nodes) < 20
    value, slope = de.value_and_grad(f)(x)
    compiled, there = de.jit(de.value_and_grad(f))(x)
    np.testing.assert_allclose([compiled, value], f(x), rtol=1e-13)
    np.testing.assert_allclose(there, slope, rtol=1e-12, atol=1e-13)
    for method in ("forward", "symbolic"):
        np.testing.assert_allclose(de.grad(f, method=method)(x), slope, rtol=1e-12, atol=1e-13)
