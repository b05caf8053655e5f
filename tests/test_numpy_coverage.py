"""NumPy beyond the everyday: options, lists of traced values, arrays filled in the function; and what would cut a derivative is refused.
By all three methods."""
import collections
import functools
import json
import math
import operator
import statistics
import threading

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special

import diffeng as de
from expressions_numpy import X

METHODS = ["symbolic", "forward", "reverse"]
COORDINATES = np.array([0.0, 1.0, 3.0, 3.5])
T = 2 * np.ones((2, 1, 1))
windows = np.lib.stride_tricks.sliding_window_view


def leaves(tree):
    import optree
    return optree.tree_leaves(tree)


def changed(x, change):
    """A copy of x after an assignment."""
    y = x.copy()
    change(y)
    return y * x


def filled(make, x):
    a = make()
    a[1] = x[0, 0]
    return a * a


def flat_assignment(x):
    y = np.zeros((3, 4))
    y.flat[3] = x[0, 0]
    y.flat[::5] = x[1, 1]
    y.ravel()[1] = x[0, 1]
    return y * y


def rotation(x):
    R = np.eye(3)
    R[0, 0] = R[1, 1] = np.cos(x[0, 0])
    R[0, 1], R[1, 0] = -np.sin(x[0, 0]), np.sin(x[0, 0])
    return R @ x


def scaled_ones(x):
    a = 2 * np.ones(4) + 1
    a[0] = x[0, 0]
    b = a.copy()
    b[1:3] = x[1, :2]
    return a * b


def plain_inside(x):
    A = np.eye(4)
    A[0, 1] = 2.0
    t = np.linspace(0, 1, 4)
    return x @ np.linalg.inv(A) + np.fft.fft(t).real + scipy.special.jv(0, t)


NEW = {
    "gradient": lambda x: np.gradient(x), "gradient steps": lambda x: np.gradient(x, 0.3, 0.2, edge_order=2),
    "gradient points": lambda x: np.gradient(x, COORDINATES, axis=1, edge_order=2),
    "gradient traced points": lambda x: np.gradient(x[0], np.cumsum(x[1])), "gradient of three": lambda x: np.gradient(x, axis=0, edge_order=2),
    "trapezoid": lambda x: np.trapezoid(x, axis=0).sum() + np.trapezoid(x[0], np.cumsum(x[1])) + np.trapezoid(x, COORDINATES, axis=1),
    "ediff1d": lambda x: np.ediff1d(x, to_begin=x[0, 0], to_end=[1.0, 2.0]) ** 2, "diff ends": lambda x: np.diff(x, prepend=0.0, append=x[:, :1], axis=1) ** 2,
    "polyval": lambda x: np.polyval(x[0], x[1]) + np.polyval([1.0, 2, 3], x[0]),
    "polynomials": lambda x: np.polymul(x[0], np.polyder(x[1])) + np.polyadd(np.polyint(x[0])[:3], x[0, 0]).sum(),
    "vander": lambda x: np.vander(x[0], 3) * np.vander(x[1], 3, increasing=True), "unwrap": lambda x: np.unwrap(x * 10) ** 2,
    "unwrap period": lambda x: np.unwrap(x * 10, period=4.0, axis=0) ** 2,
    "convolve": lambda x: np.convolve(x[0], [1.0, 2.0, 1.0]), "nansum": lambda x: np.nansum(np.where(X > 1.0, np.nan, x), axis=0),
    "nanmean": lambda x: np.nanmean(np.where(X > 1.0, np.nan, x), axis=0),
    "nanstd": lambda x: np.nanstd(np.where(X > 1.0, np.nan, x), ddof=1), "nanmax": lambda x: np.nanmax(x, axis=0) * np.nanmin(x, axis=0),
    "nanmedian": lambda x: np.nanmedian(np.where(X > 1.0, np.nan, x), axis=0) * np.nanmedian(np.where(X > 1.0, np.nan, x)),
    "nanmedian axes": lambda x: np.nanmedian(np.where(X > 1.1, np.nan, x)[None], axis=(0, 2), keepdims=True), "divmod of a number": lambda x: divmod(2, x)[1] * x,
    "nanprod": lambda x: np.nanprod(x, axis=1, keepdims=True),
    "nancumsum": lambda x: np.nancumsum(x, axis=1) * np.nancumprod(x, axis=1), "cov": lambda x: np.cov(x),
    "cov of two": lambda x: np.cov(x[0], x[1], bias=True), "cov columns": lambda x: np.cov(x, rowvar=False),
    "corrcoef": lambda x: np.corrcoef(x)[0, 1:], "median axes": lambda x: np.median(x, axis=(0, 1), keepdims=True) * np.median(x, keepdims=True),
    "percentile": lambda x: np.percentile(x, [10, 90], axis=1),
    "flips": lambda x: np.flipud(x) * np.fliplr(x), "rot90": lambda x: np.rot90(x) ** 2 + np.rot90(x, -1),
    "rot90 axes": lambda x: np.rot90(x, 3, axes=(1, 0)) ** 2, "block": lambda x: np.block([[x, x**2], [np.ones((1, 4)), x[:1]]]),
    "dstack": lambda x: np.dstack([x, x**2]), "atleast_3d": lambda x: np.atleast_3d(x) * np.atleast_3d(x[0, 0]), "hsplit": lambda x: np.hsplit(x, 2),
    "vsplit": lambda x: np.vsplit(x**2, 3),
    "insert": lambda x: np.insert(x, 1, x[0]**2, axis=0), "insert two": lambda x: np.insert(x, [1, 3], x[:, :2], axis=1),
    "delete": lambda x: np.delete(x, 1, axis=0) ** 2, "resize": lambda x: np.resize(x, (5, 3)) ** 2,
    "diagflat": lambda x: np.diagflat(x[:2, :2], 1), "windows": lambda x: windows(x, (2, 2)).sum((-1, -2)) ** 2,
    "windows axis": lambda x: windows(x, 3, axis=1) ** 2,
    "nanquantile": lambda x: np.nanquantile(np.where(X > 1.1, np.nan, x), [0.3, 0.9], axis=0) * np.nanquantile(x, 0.4),
    "nanpercentile": lambda x: np.nanpercentile(np.where(X > 1.1, np.nan, x), [[30, 80]], axis=(0, 1), method="midpoint", keepdims=True) * x,
    "nanquantile by q": lambda x: np.nanquantile(np.where(X > 1.1, np.nan, x), x[0] / 3, axis=1),
    "nanargmax": lambda x: x[np.nanargmax(np.where(X > 1.1, np.nan, x), axis=0), [0, 1, 2, 3]] * x.ravel()[np.nanargmin(x)],
    "indices from": lambda x: x[np.triu_indices_from(x, 1)] * x[np.tril_indices_from(x, 1)][-6:] * x[:, :3][np.diag_indices_from(x[:, :3])][0],
    "common_type": lambda x: x.astype(np.common_type(x, x)) * x,
    "lexsort": lambda x: x[:, np.lexsort((x[1], np.floor(x[0])))] * X, "apply_over_axes": lambda x: np.apply_over_axes(np.prod, x, [1, -2]) * x,
    "poly": lambda x: np.poly(x[0]) * np.arange(5), "pad of a number": lambda x: np.pad(x[0, 0], 2) * x[1],
    "apply_along_axis": lambda x: np.apply_along_axis(lambda r: r[:2] * r[0], 0, x),
    "apply_along_axis branches": lambda x: np.apply_along_axis(lambda r, c: np.max(r) * c if r[0] > 0.6 else r[r > 0.5].sum(), 1, x, 2.0),
    "apply_along_axis outer": lambda x: np.apply_along_axis(lambda r: np.outer(r, r) + [1.0, r[0], 2.0], 0, x),
    "ix_": lambda x: x[np.ix_([0, 2], np.array([True, False, True, True]))] * x[np.ix_(np.argsort(x[:, 0])[:2], [3])],
    "functions of integers": lambda x: x[np.gcd(np.argsort(x[:, 1]) * 2, 4) % 3] * x.ravel()[np.ravel_multi_index((np.argsort(x[:, 0]), [1, 2, 3]), x.shape)][0],
    "reduceat of pieces": lambda x: np.add.reduceat(x, [1, 2], axis=1) ** 2 * np.add.reduceat(x, [0, 1, 3], axis=1)[:, :2],
    "piecewise": lambda x: np.piecewise(x, [x < 0.6, x > 1.0], [lambda v: v**2, np.sin, 3.0]),
    "pad edge": lambda x: np.pad(x, ((1, 2), (0, 3)), mode="edge") ** 2, "pad reflect": lambda x: np.pad(x, 2, mode="reflect") ** 2,
    "logspace": lambda x: np.logspace(x[0, 0], x[1, 1], 5, base=2),
    "geomspace": lambda x: np.geomspace(x[0], x[1], 5, axis=1), "linspace axis": lambda x: np.linspace(x[0], x[1], 5, axis=-1),
    "linspace step": lambda x: np.linspace(0, x[1, 1], 5, retstep=True),
    "partition": lambda x: np.partition(x, 2) * np.arange(4), "argpartition": lambda x: x[0, np.argpartition(x[0], 1)[:2]].sum(),
    "choose": lambda x: np.choose([5, 1, -1, 0], list(x), mode="clip") ** 2,
    "extract": lambda x: np.extract(x > 0.8, x) ** 2, "argwhere": lambda x: x[tuple(np.argwhere(x > 0.8).T)] ** 2,
    "unravel": lambda x: x[np.unravel_index(np.argmax(x), x.shape)] ** 2,
    "bincount": lambda x: np.bincount([0, 1, 1, 2], weights=x[0]) ** 2, "unique": lambda x: np.unique(x) * np.arange(12),
    "digitize": lambda x: x * np.digitize(x, [0.5, 0.9]), "isin": lambda x: x * ~np.isin(x, [0.5]),
    "vector norms": lambda x: sum(np.linalg.norm(x, ord=p, axis=1) for p in (1, 2, 3, 2.5, np.inf, -np.inf)),
    "matrix norms": lambda x: sum(np.linalg.norm(x[None] * T, ord=p, axis=(2, 0)) for p in ("fro", 1, -1, np.inf, -np.inf)),
    "linalg": lambda x: np.linalg.matrix_power(x[:, :3], 5) + np.linalg.vector_norm(x) + np.linalg.vecdot(x, x)[:, None] + np.linalg.outer(x[:, 0], x[:, 1]),
    "divmod modf": lambda x: np.divmod(x, 0.3)[1] * np.modf(x * 3)[0],
    "matvec": lambda x: (x[None] @ x[0][:, None])[..., 0] if not hasattr(np, "matvec") else np.matvec(x, x[0]) + np.vecmat(x[:, 0], x)[:3],
    "cross axes": lambda x: np.cross(x.T[:, :3], x.T, axisa=1, axisb=1, axisc=0),
    "einsum lists": lambda x: np.einsum(x, [0, 1], x, [2, 1], [0, 2]), "take wrap": lambda x: np.take(x, [5, -7], axis=1, mode="wrap") ** 2,
    "interp traced": lambda x: np.interp([0.1, 0.5, 0.9, 1.0], np.cumsum(x[0]), x[1], left=x[0, 0]),
    "r_ and c_": lambda x: (np.r_[x[0], 1.0, x[1, 1], 0:3] ** 2, np.c_[x, x[:, 0], np.ones(3)] ** 2),
    "where in reductions": lambda x: np.mean(x, where=X > 0.8) + np.var(x, where=X > 0.4) + np.max(x, axis=0, where=X > 0.8, initial=0.1),
    "average": lambda x: np.average(x, axis=0, weights=[1.0, 2.0, 3.0], returned=True),
    "average axes": lambda x: np.average(x.reshape(3, 2, 2), axis=(-1, 0), weights=x[0, 0] * np.arange(1.0, 7).reshape(2, 3)),
    "histogram_bin_edges": lambda x: np.histogram_bin_edges(x, 3) + np.histogram_bin_edges(x, 3, range=(0, 1)) + np.histogram_bin_edges(x, np.cumsum(x[0])),
    "pad reflect odd": lambda x: np.pad(x, ((1, 5), (0, 11)), "reflect", reflect_type="odd"), "pad symmetric odd": lambda x: np.pad(x[:, :2], ((7, 2), (3, 0)), "symmetric", reflect_type="odd"),
    "argmax keepdims": lambda x: np.take_along_axis(x, np.argmax(x, axis=1, keepdims=True), axis=1) ** 2,
    "accumulate axis": lambda x: np.multiply.accumulate(x, 1), "reduce keepdims": lambda x: np.add.reduce(x, axis=1, keepdims=True) ** 2,
    "trim_zeros": lambda x: np.trim_zeros(np.pad(x, 2), "b", axis=1) ** 2 * np.trim_zeros(np.zeros(3)).size + np.trim_zeros(np.r_[0, x[0], 0, 0]).sum() * x[0, 0],
    "polyint constants": lambda x: np.polyint(x[0], 2, k=[x[1, 1], 3]) * np.polyint(x[1], 2, k=x[0, 0]),
    "interp period": lambda x: np.interp(x[0] * 3, [0.1, 0.5, 0.3], x[1, :3], period=0.9, left=9.0) * np.interp(0.2, x[2, :3], x[1, :3], period=-0.9),
    "pad ramp": lambda x: np.pad(x, ((2, 1), (0, 3)), "linear_ramp", end_values=((1, 2), (3, 9))) ** 2,
    "pad with few": lambda x: np.pad(x, ((2, 1), (0, 3)), "mean", stat_length=((1, 2), (3, 9))) ** 2,
    "polyfit": lambda x: np.polyfit(COORDINATES, x.T, 1)[:, :2] * np.polyfit(x[0] + COORDINATES, x[1], 1, w=[1, 2, 3, 4.0])[:, None],
    "polydiv": lambda x: np.polydiv(x[0], x[1, :2])[0] * np.polydiv(x[0], x[1, :2])[1] + np.polydiv(x[0, :2], x[1])[1].sum(),
    "histogram": lambda x: np.histogram(X, 4, weights=x)[0] ** 2 * np.histogram(x, 4, density=True)[0] + np.histogram(x, [0.2, 0.5, 0.8])[1].sum() * x[0],
    "matrix_rank": lambda x: x * np.linalg.matrix_rank(x),
    "angle": lambda x: x * np.real(x) + np.imag(x) + np.angle(x) + np.real_if_close(x),
}
for _m in ("full", "same", "valid"):
    for _n, _k in ((4, 3), (3, 4), (4, 2), (2, 4), (1, 4)):
        NEW[f"convolve {_m} {_n}, {_k}"] = lambda x, m=_m, n=_n, k=_k: np.convolve(x[0, :n], x[1, :k], m)
        NEW[f"correlate {_m} {_n}, {_k}"] = lambda x, m=_m, n=_n, k=_k: np.correlate(x[0, :n], x[1, :k], m)
for _q in (0.3, 0, 1, [0.1, 0.9]):
    NEW[f"quantile {_q}"] = lambda x, q=_q: np.quantile(x, q, axis=1, keepdims=True)
for _m in ("linear lower higher nearest midpoint inverted_cdf averaged_inverted_cdf closest_observation interpolated_inverted_cdf hazen weibull median_unbiased "
           "normal_unbiased").split():
    NEW[f"quantile {_m}"] = lambda x, m=_m: np.quantile(x, [0.0, 0.37, 0.375, 0.5, 1.0], axis=1, method=m)
    NEW[f"nanquantile {_m}"] = lambda x, m=_m: np.nanquantile(np.where(X > 1.1, np.nan, x), 0.63, axis=1, method=m)
for _m in ("maximum", "mean", "median", "minimum", "linear_ramp"):
    NEW[f"pad {_m}"] = lambda x, m=_m: np.pad(x, ((1, 2), (0, 3)), m) ** 2

HELD = {
    "array of calls": lambda x: np.array([np.sin(x[0, 0]), np.cos(x[1, 1])]),
    "array of longer calls": lambda x: np.array([np.sum(x, axis=0)[0], np.hypot(x[0, 0], x[1, 1]), np.where(x > 0.8, x, 0).sum()], dtype=float),
    "matrix of calls": lambda x: np.array([[np.cos(x[0, 0]), -np.sin(x[0, 0])], [np.sin(x[0, 0]), np.cos(x[0, 0])]]) @ x[:2],
    "asarray of calls": lambda x: np.asarray([np.prod(x[:1]), np.dot(x[0], x[1])]) * np.array((np.exp(x[0, 0]), np.maximum(x[0, 1], 0.1))),
    "mean of a list": lambda x: np.mean([x[0, 0], x[1, 1]**2]), "sum of a list": lambda x: np.sum([r.sum()**2 for r in x]),
    "norm of a list": lambda x: np.linalg.norm([x[0, 0], x[1, 1]]),
    "dot of lists": lambda x: np.dot([x[0, 0], x[1, 1]], [1.0, 2.0]), "max of a tuple": lambda x: np.max((x[0, 0], x[1, 1])),
    "lists of arrays": lambda x: np.sum([x, x**2], axis=0), "where of lists": lambda x: np.where([True, False], [x[0, 0], 1.0], [2.0, x[1, 1]]),
    "concatenate lists": lambda x: np.concatenate([[x[0, 0]], [x[1, 1], 1.0]]) ** 2, "stack lists": lambda x: np.stack([[x[0, 0], 1.0], [2.0, x[1, 1]]]) ** 2,
    "append lists": lambda x: np.append([x[0, 0]], [x[1, 1]]) ** 2,
    "einsum of lists": lambda x: np.einsum("i,i->", [x[0, 0], x[1, 1]], [1.0, 2.0]), "array ndmin": lambda x: np.array([x[0, 0], 1.0], ndmin=2) ** 2,
    "fromiter": lambda x: np.fromiter((v * v for v in x[0]), float),
    "eye": lambda x: filled(lambda: np.eye(3), x), "arange": lambda x: filled(lambda: np.arange(4.0), x),
    "linspace": lambda x: filled(lambda: np.linspace(0, 1, 4), x), "identity": lambda x: filled(lambda: np.identity(3), x),
    "diag": lambda x: filled(lambda: np.diag([1.0, 2.0]), x), "copy of another": lambda x: filled(lambda: np.copy(X), x),
    "array of another": lambda x: filled(lambda: np.array(X), x), "rotation": rotation, "computed and filled": scaled_ones,
    "flat": lambda x: sum(x.flat) * x.flat[3] + x.flat[2:7].sum(), "flat assignment": flat_assignment,
    "item": lambda x: x.item(3) * x.item((1, 2)) * x[0, 0].item(), "plain inside": plain_inside, "isscalar": lambda x: x * np.isscalar(x[0, 0]),
    "fill_diagonal": lambda x: changed(x, lambda y: np.fill_diagonal(y, y[0, 1])), "fill_diagonal wrap": lambda x: changed(x.reshape(6, 2), lambda y: np.fill_diagonal(y, y[0] * 2, wrap=True)),
    "fill_diagonal cube": lambda x: changed(x.ravel()[:8].reshape(2, 2, 2), lambda y: np.fill_diagonal(y, [3.0, 4.0, 5.0])),
    "resize nothing": lambda x: np.resize(x[:0], (3, 4)) + x, "put": lambda x: changed(x, lambda y: np.put(y, [0, 2], y[0, 1])),
    "put_along_axis": lambda x: changed(x, lambda y: np.put_along_axis(y, np.array([[0], [1], [2]]), 9.0, 1)),
    "putmask": lambda x: changed(x, lambda y: np.putmask(y, y > 0.8, y * 2)), "place": lambda x: changed(x, lambda y: np.place(y, y > 0.8, [0.5, 1.5])),
    "partition in place": lambda x: changed(x, lambda y: y.partition(1)),
    "view": lambda x: changed(x, lambda y: y.view().__setitem__(0, 2.0)), "compress": lambda x: x.compress([True, False, True], axis=0) ** 2,
}


@pytest.mark.parametrize("name,f", [*NEW.items(), *HELD.items()], ids=[*NEW, *HELD])
def test_expression(name, f):
    rng = np.random.default_rng(len(name))
    want = [np.asarray(w) for w in leaves(f(X.copy()))]
    weights, v, h = [rng.uniform(0.5, 1.5, w.shape) for w in want], rng.uniform(-1, 1, X.shape), 1e-4

    def scalar(x):
        return sum(np.sum(np.asarray(w) * c) for w, c in zip(leaves(f(x.copy())), weights))

    slope = (8 * (scalar(X + h * v) - scalar(X - h * v)) - (scalar(X + 2 * h * v) - scalar(X - 2 * h * v))) / (12 * h)
    for method in METHODS:
        out, tangent = de.jvp(f, (X,), (v,), method=method)
        for got, w in zip(leaves(out), want, strict=True):
            assert type(got) in (np.ndarray, np.float64) and got.shape == w.shape, method
            np.testing.assert_allclose(got, w, rtol=1e-12, atol=1e-14, err_msg=method)
        assert sum(np.sum(t * c) for t, c in zip(leaves(tangent), weights)) == pytest.approx(slope, rel=1e-7, abs=1e-7), method
        gradient = de.grad(lambda x: sum(np.sum(y * c) for y, c in zip(leaves(f(x)), weights)), method=method)(X)
        assert type(gradient) is np.ndarray and gradient.shape == X.shape
        assert np.sum(gradient * v) == pytest.approx(slope, rel=1e-7, abs=1e-7), method


@pytest.mark.parametrize("method", METHODS)
def test_the_standard_deviation_of_equal_numbers_is_a_norm_at_0(method):
    np.testing.assert_array_equal(de.grad(lambda x: np.std(x), method=method)(np.full(3, 2.0)), np.zeros(3))


# ---- arguments and results ----------------------------------------------------------------------------------------------------

Pair = collections.namedtuple("Pair", "a b")


class Model:
    def __call__(self, x, scale=1.0, *, power=2):
        return scale * np.sum(x ** power)


@pytest.mark.parametrize("method", METHODS)
def test_arguments(method):
    x = np.array([1.0, 2.0, 3.0])
    g = de.grad(lambda p: np.sum(p.a) * p.b ** 2, method=method)(Pair(x, 3.0))
    assert type(g) is Pair and type(g.b) is np.float64 and g.b == 36.0
    g = de.grad(lambda p: np.sum(p[1]) * p["b"], method=method)({1: x, "b": 2.0, "none": None, "empty": []})
    assert set(g) == {1, "b", "none", "empty"} and g["none"] is None and g["b"] == 6.0
    assert de.grad(operator.mul, -1, method=method)(2.0, 3.0) == 2.0
    assert de.grad(operator.mul, [1, -2], method=method)(2.0, 3.0) == (2.0, 3.0)
    np.testing.assert_array_equal(de.grad(Model(), method=method)(x, 2.0, power=3), 6 * x ** 2)
    np.testing.assert_array_equal(de.jacobian(Model(), method=method)(x, power=1), np.ones(3))
    np.testing.assert_array_equal(de.grad(functools.partial(Model(), scale=3.0), method=method)(x), 6 * x)
    with pytest.raises(TypeError, match="only be given by keyword are held constant"):
        de.grad(lambda *, x: x, method=method)(x=2.0)
    with pytest.raises(TypeError, match="argnums='x'"):
        de.grad(np.sin, "x", method=method)(2.0)


@pytest.mark.parametrize("method", METHODS)
def test_a_function_of_numpy_itself_takes_lists(method):
    for gradient in (de.grad(np.mean, method=method)([1.0, 2.0]), de.jit(de.grad(np.mean, method=method))([1.0, 2.0])):
        assert gradient == [0.5, 0.5] and [type(g) for g in gradient] == [np.float64] * 2
    rows = functools.partial(np.append, axis=0)
    np.testing.assert_array_equal(de.jacobian(rows, argnums=(0, 1), method=method)([[1.0, 2.0]], [[3.0, 4.0]])[1][0][1], [[0, 0], [0, 1]])


@pytest.mark.parametrize("method", METHODS)
def test_weights_of_a_logsumexp(method):
    a, b = X, np.array([0.5, 0.0, 2.0, 1e-3])
    for options in ({"axis": 1}, {"axis": (0, 1), "keepdims": True}, {}):
        want = scipy.special.logsumexp(a, b=b, **options)
        out, pullback = de.vjp(lambda a, b: de.special.logsumexp(a, b=b, **options), a, b, method=method)
        np.testing.assert_allclose(out, want, rtol=1e-14)
        assert np.shape(out) == np.shape(want)
        by_a, by_b = pullback(np.ones_like(want))
        shares = np.exp(a - np.reshape(want, (-1, 1)))
        np.testing.assert_allclose(by_a, b * shares, rtol=1e-13)
        np.testing.assert_allclose(by_b, np.sum(shares, axis=0), rtol=1e-13)
    assert de.special.logsumexp(np.full(2, -np.inf), b=np.ones(2)) == -np.inf


@pytest.mark.parametrize("method", METHODS)
def test_what_comes_out_beside_the_value_is_plain(method):
    g, aux = de.grad(lambda x: (x[0] * x[1], {"h": x * 2, "n": 3, "list": [x[0]], "text": "t", "zeros": np.zeros(2)}),
                     has_aux=True, method=method)(np.array([1.0, 2.0]))
    assert type(aux["h"]) is np.ndarray and type(aux["list"][0]) is np.float64 and type(aux["zeros"]) is np.ndarray and aux["n"] == 3 and aux["text"] == "t"
    outer = de.grad(lambda x: de.grad(lambda y: (y ** 2, y * x), has_aux=True, method=method)(x)[1], method=method)
    assert outer(3.0) == 6.0                                       # y * x at y = x: a value of the outer derivative


@pytest.mark.parametrize("method", METHODS)
def test_integers_and_None_stand_still(method):
    x = np.array([1.0, 2.0])
    assert de.jvp(lambda a, n, b: np.sum(a * n * b), (x, 3, 2.0), (None, None, 1.0), method=method)[1] == 9.0
    assert de.jvp(lambda a, n: np.sum(a) * n, (x, 3), (x, 0), method=method)[1] == 9.0
    out, pullback = de.vjp(lambda a, n: np.sum(a) ** n, x, 2, method=method)
    g, nothing = pullback(1.0)
    assert nothing is None and g.tolist() == [6.0, 6.0]
    with pytest.raises(ValueError, match="another structure"):
        de.jvp(lambda p: p["a"] * p["b"], ({"a": 1.0, "b": 2.0},), ({"a": 1.0, "b": None},), method=method)


class Metres(np.ndarray):
    pass


@pytest.mark.parametrize("x,text", [
    (np.ma.array([1.0, 2.0], mask=[0, 1]), "MaskedArray"), (np.ones(2).view(Metres), "Metres"), (np.ones(2, np.float16), "float16"),
    (np.zeros(2, [("f", float)]), "dtype"), (np.ones(2, object), "object"),
    (np.ones(2, np.longdouble), "float128|longdouble|float64"),
])
def test_arrays_that_are_more_or_less_than_arrays(x, text):
    if x.dtype == np.float64 and type(x) is np.ndarray:
        pytest.skip("long double is double here")
    with pytest.raises(TypeError, match=f"argument 'x'.*({text})"):
        de.grad(lambda x: np.sum(x))(x)


# ---- nothing is cut without a word ------------------------------------------------------------------------------------------------

OUTSIDE = np.zeros(3)
cached = functools.lru_cache(lambda t: t * t)
KEPT = [np.mean]                         # not by name: nobody replaces it while a function runs


@pytest.mark.parametrize("f,text", [
    (lambda x: OUTSIDE.fill(x[0]), "assigned into a plain array"), (lambda x: operator.setitem(OUTSIDE, 0, x[0]), "assigned into a plain array"),
    (lambda x: OUTSIDE.__setitem__(0, x[0]), "assigned into a plain array"),
    (lambda x: np.put(OUTSIDE, 0, x[0]), "plain array"), (lambda x: np.float64(x[0]), r"np\.float64.*astype"), (lambda x, dtype=np.float32: dtype(x), r"np\.float32.*astype"),
    (lambda x: math.remainder(x[0], 2), r"math\.remainder.*cut"), (lambda x: np.eye(3)[1:].copy().dot(x) @ OUTSIDE.dot(x), r"^dot at.*X @ x"),
    (lambda x: OUTSIDE.searchsorted(x), r"^searchsorted at.*np\.searchsorted"),
    (lambda x: scipy.integrate.quad(lambda s: s * x[0], 0, 1)[0], "function of (numpy|scipy)"),
    (lambda x: scipy.integrate.quad(lambda s: s, 0, x[0])[0], "function of (numpy|scipy)"),
    (lambda x: scipy.special.logsumexp(x), r"logsumexp.*diffeng\.special\.logsumexp"),
    (lambda x: {x[0]: 1.0}[x[0]], r"^hash at.*index or a name"), (lambda x: len(set(x.tolist())), r"^hash at"), (lambda x: cached(x[0]), r"^hash at"),
    (lambda x: setattr(x.copy(), "shape", (3, 1)), r"^y\.shape.*reshape"), (lambda x: setattr(x.copy(), "dtype", int), r"^y\.dtype.*astype"),
    (lambda x: np.ndarray.mean(x), r"'mean'.*x\.mean\("), (lambda x: statistics.mean(x), "numerator.*traced value"), (lambda x: json.dumps(x.tolist()), "JSON.*traced value"),
    (lambda x: memoryview(x), "bytes-like.*traced value"), (lambda x: np.broadcast(x, x), r"^broadcast at.*np\.broadcast_shapes"),
    (lambda x: np.random.default_rng(0).permutation(x), r"^permutation at.*x\[rng\.permutation"), (lambda x: np.random.default_rng(0).choice(x, 2), r"^choice at.*x\[rng\.choice"),
    (lambda x: np.random.default_rng(0).shuffle(np.outer(x, x), axis=1), r"^Axis argument.*rng\.permutation"),
    (lambda x: np.nditer(x, op_flags=["readwrite"]), r"^nditer at.*np\.ndindex"), (lambda x: np.poly(np.outer(x, x)), r"poly.*eigenvalues"),
    (lambda x: KEPT[0]([x[0], x[1]]), r"mean.*give it an array, not a list of traced values: np\.array"),
    (lambda x: np.exp([x[0], x[1]]), r"np\.array\(\[\.\.\.\]\) first|np\.array\(\[\.\.\.\]\)"),
    (lambda x: np.linalg.eigvals(np.outer(x, x)), r"numpy\.linalg\.eigvals.*no derivative.*inv, .*solve"), (lambda x: np.linalg.inv(np.outer(x, x)), r"^inv.*test_numpy.*Singular"), (lambda x: np.sum(x, axis=3), "sum.*axis 3"),
    (lambda x: x[x[0]], "dtype float64 is no index"), (lambda x: x.tobytes(), r"ndarray\.tobytes"),
    (lambda x: np.array([x, x[:2]]), r"array.*shapes \(2,\), \(3,\)"), (lambda x: np.pad(x, 1, "empty"), "pad.*mode='empty'"),
    (lambda x: np.fft.rfft(x * 1j), r"^rfft at.*complex.*np\.fft\.fft"),
    (lambda x: np.quantile(x, -0.2), "quantile.*between 0 and 1"), (lambda x: np.nanpercentile(x, [20, 120]), "quantile.*0 and 100"),
])
@pytest.mark.parametrize("method", ["forward", "reverse"])
@pytest.mark.filterwarnings("ignore:you are shuffling:UserWarning")
def test_refused_with_the_line_and_the_cure(f, text, method):
    with pytest.raises((TypeError, ValueError, IndexError, AttributeError), match=text) as error:
        de.grad(f, method=method)(np.array([1.0, 2.0, 3.0]))
    assert "test_numpy_coverage.py:" in str(error.value)
    assert not OUTSIDE.any()


REFUSED = {
    "diff": lambda x: np.diff(x, n=-1), "bincount": lambda x: np.bincount([-1, 2], weights=x[0, :2]), "linspace": lambda x: np.linspace(x[0, 0], 1, -2),
    "rot90": lambda x: np.rot90(x, axes=(0, -2)), "cov ddof": lambda x: np.cov(x, ddof=0.5), "cov": lambda x: np.cov(x, fweights=[-1, 2, 3, 4]),
    "average": lambda x: np.average(x.reshape(3, 2, 2), axis=(1, 0), weights=np.ones((3, 2))), "average axis": lambda x: np.average(x, weights=[1.0, 2.0, 3.0]),
    "take_along_axis": lambda x: np.take_along_axis(x, np.array([0]), 0), "select": lambda x: np.select([x > 0], [x, x]), "select numbers": lambda x: np.select([x], [x]),
    "histogram": lambda x: np.histogram(x, 0), "histogram edges": lambda x: np.histogram(x, [2, 1]), "histogram range": lambda x: np.histogram(x, 2, range=(2, 1)),
    "histogram weights": lambda x: np.histogram(x, weights=[1, 2]), "block": lambda x: np.block([x, [x]]), "array_split": lambda x: np.array_split(x, 0),
    "resize": lambda x: np.resize(x, (-1, 2)), "meshgrid": lambda x: np.meshgrid(x, indexing="yx"), "multi_dot": lambda x: np.linalg.multi_dot([x]),
    "polyder": lambda x: np.polyder(x[0], -1), "polyint": lambda x: np.polyint(x[0], 3, [1, 2]), "geomspace": lambda x: np.geomspace(0.0, x[0, 0], 3),
    "choose": lambda x: np.choose([0, -1], [x[0, :2], x[1, :2]]), "axis": lambda x: np.sum(x, axis=0.5), "quantile": lambda x: np.quantile(x, [0.5, -0.1]), "searchsorted": lambda x: np.searchsorted(x[0], x, "middle"),
    "convolve": lambda x: np.convolve(x, x[0]), "correlate": lambda x: np.correlate(x[0, :0], x[0]), "vsplit": lambda x: np.vsplit(x[0], 2), "partition": lambda x: np.partition(x, 4),
    "argpartition": lambda x: np.argpartition(x, [0, -5]), "matvec": lambda x: np.linalg.vecdot(x, x[0, :1]), "ediff1d": lambda x: x[0] * np.ediff1d(x > 0)[:4],
    "trim_zeros": lambda x: np.trim_zeros(x, "fbf"), "polyfit": lambda x: np.polyfit(x[0], x[1], -1)}


@pytest.mark.parametrize("name", REFUSED)
def test_what_numpy_refuses_is_refused(name):
    for call in (REFUSED[name], lambda x: de.vjp(REFUSED[name], x), de.jit(REFUSED[name])):
        with pytest.raises((TypeError, ValueError)):
            call(X)


# ---- NumPy outside ------------------------------------------------------------------------------------------------------------------

def test_threads_and_errors_leave_numpy_alone():
    own, done, wrong = {n: f for n, f in vars(np).items() if callable(f)}, threading.Event(), []
    x = np.arange(4.0)

    def f(x):
        a = np.zeros(4)
        a[:] = x
        return np.sum(a ** 2) + np.mean([x[0], x[1]])

    def derive(method):
        for _ in range(40):
            if not np.array_equal(de.grad(f, method=method)(x), 2 * x + [0.5, 0.5, 0, 0]):
                wrong.append(method)

    def use():
        while not done.is_set():
            if not all(type(a) is np.ndarray for a in (np.zeros(3), np.array([1.0]), np.eye(2), np.r_[1.0, 2.0])) or np.sum([1.0, 2.0]) != 3.0:
                wrong.append("a thread that derives nothing")

    user, deriving = threading.Thread(target=use), [threading.Thread(target=derive, args=(m,)) for m in ("forward", "reverse")]
    for thread in [user, *deriving]:
        thread.start()
    for thread in deriving:
        thread.join()
    done.set()
    user.join()
    assert not wrong
    with pytest.raises(KeyError):
        de.grad(lambda x: {}[0])(1.0)
    assert all(getattr(np, n) is f for n, f in own.items())


def test_results_serve_scipy():
    def rosenbrock(z):
        return np.sum(100 * (z[1:] - z[:-1] ** 2) ** 2 + (1 - z[:-1]) ** 2)

    found = scipy.optimize.minimize(de.value_and_grad(rosenbrock), np.zeros(3), jac=True, method="BFGS")
    np.testing.assert_allclose(found.x, 1, atol=1e-4)
    found = scipy.optimize.minimize(rosenbrock, np.zeros(3), jac=de.grad(rosenbrock), hess=de.hessian(rosenbrock), method="trust-exact")
    np.testing.assert_allclose(found.x, 1, atol=1e-4)
    t = np.arange(5.0)
    found = scipy.optimize.least_squares(lambda p: p[0] * np.exp(-p[1] * t) - np.exp(-t), [2.0, 0.5],
                                         jac=de.jacobian(lambda p: p[0] * np.exp(-p[1] * t) - np.exp(-t)))
    np.testing.assert_allclose(found.x, [1, 1], rtol=1e-6)
    found = scipy.integrate.solve_ivp(lambda s, y: -y ** 3, (0, 1), [1.0, 2.0], method="Radau", jac=lambda s, y: de.jacobian(lambda y: -y ** 3)(y))
    np.testing.assert_allclose(found.y[:, -1], 1 / np.sqrt(2 + 1 / np.array([1.0, 4.0])), rtol=1e-2)


@pytest.mark.parametrize("method", METHODS)
def test_a_power_of_0_is_differentiated_by_its_exponent_too(method):
    """d/dy d/dx x**y = 1/x at y = 0; and x**0 is 1 at 0 and at infinity, too."""
    slope = de.grad(lambda y: de.grad(lambda x: x ** y, method=method)(2.0), method=method)
    assert slope(0.0) == de.jit(slope)(0.0) == 0.5
    np.testing.assert_array_equal(de.grad(lambda x: np.sum(x ** np.array([0.0, 0.0, 2.0])), method=method)(np.array([0.0, np.inf, 3.0])), [0, 0, 6])
    assert de.grad(lambda x: x ** 0, method=method)(np.inf) == 0


def test_captured_integers_go_where_only_numpy_goes():
    """What diffeng does not know is NumPy's, of integers: their values are looked at, and guarded."""
    rows, columns = np.array([0, 2]), np.array([1, 1, 3])

    def f(x):
        return np.sum(x[np.ix_(rows, columns)] ** 2) + np.sum(x.ravel()[np.lcm(rows, 3)] ** 3) + x.ravel()[np.ravel_multi_index((rows, columns[:2]), x.shape)].sum()
    x, compiled = np.random.default_rng(0).normal(size=(4, 5)), de.jit(de.value_and_grad(f))
    for _ in range(2):
        value, slope = compiled(x)
        np.testing.assert_allclose(value, f(x), rtol=1e-14)
        np.testing.assert_allclose(slope, de.grad(f)(x), rtol=1e-14)
        columns = columns[::-1] + 1
