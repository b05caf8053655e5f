"""The stable order of many numbers, by way of NumPy's faster one.

Seed: default_rng(0).
"""
import numpy as np
import pytest

import diffeng as de
from diffeng.vocabulary import reductions


@pytest.mark.parametrize("shape, axis", [((5000,), 0), ((40_000,), 0), ((90, 100), 0), ((90, 100), 1), ((15, 20, 30), 1), ((3, 2), 1)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32])
@pytest.mark.parametrize("equal", ["none", "few", "many", "all", "zeros", "NaN"])
def test_equal_numbers_keep_their_order(shape, axis, dtype, equal):
    random = np.random.default_rng(0)
    x = (1000 * random.normal(size=shape)).astype(dtype)
    if equal == "few":
        x[random.random(shape) < 0.01] = 7
    if equal == "many":
        x = np.round(x / 100)
    if equal == "all":
        x[...] = 3
    if equal == "zeros" and x.dtype.kind == "f":
        x[random.random(shape) < 0.01], x[random.random(shape) < 0.01] = 0.0, -0.0
    if equal == "NaN" and x.dtype.kind == "f":
        x[random.random(shape) < 0.01] = np.nan
    found = reductions.argsort(x, axis=axis)
    np.testing.assert_array_equal(found, np.argsort(x, axis=axis, kind="stable"))
    assert found.dtype == np.intp and found.flags.c_contiguous


def test_slopes_of_what_is_equal_follow_the_order():
    random = np.random.default_rng(0)
    x = np.round(random.normal(size=6000), 5)
    assert 0 < x.size - np.unique(x).size < x.size // 16
    weights = random.normal(size=x.size)
    want = np.empty(x.size)
    want[np.argsort(x, kind="stable")] = weights
    for gradient in (de.grad(lambda x: weights @ np.sort(x)), de.jit(de.grad(lambda x: weights @ np.sort(x)))):
        np.testing.assert_array_equal(gradient(x), want)
    tangent = de.jvp(np.sort, (x,), (want,))[1]
    np.testing.assert_array_equal(tangent, want[np.argsort(x, kind="stable")])
