"""Python's min and max of traced numbers: for a compiler, and of many examples, a choice that holds for any values."""
import builtins

import numpy as np
import pytest

import diffeng as de

rng = np.random.default_rng(8)


def aligned(x, y):
    """Dynamic time warping, as it is written in Python."""
    d = np.full((len(x) + 1, len(y) + 1), 1e3)
    d[0, 0] = 0.0
    for i in range(1, len(x) + 1):
        for j in range(1, len(y) + 1):
            d[i, j] = (x[i - 1] - y[j - 1]) ** 2 + min(d[i - 1, j], d[i, j - 1], d[i - 1, j - 1])
    return d[-1, -1]


def clipped(w):
    """Of lists, arrays and generators, with Python's numbers among them."""
    return sum([max(0, w[k], -0.5) * k for k in range(len(w))]) + max(w) * min(list(w)) - min(2 * v for v in w) + w[min(1, len(w))]


@pytest.mark.parametrize("f,make", [(aligned, lambda: (rng.normal(size=6), rng.normal(size=5))), (clipped, lambda: (rng.normal(size=7),))], ids=["aligned", "clipped"])
def test_one_recording_for_all_values(f, make):
    compiled = de.jit(de.value_and_grad(f))
    for _ in range(5):
        args = make()
        value, gradient = compiled(*args)
        want, slope = de.value_and_grad(f)(*args)
        assert value == want == f(*args)
        np.testing.assert_allclose(gradient, slope, rtol=1e-13)
        np.testing.assert_allclose(de.grad(f, method="forward")(*args), slope, rtol=1e-13)
    assert compiled.traces == 1


def test_of_many_examples():
    w = rng.normal(size=(4, 7))
    np.testing.assert_array_equal(de.vmap(clipped)(w), [clipped(row) for row in w])


def test_the_first_of_equal_ones():
    """And what Python says of NaN."""
    def f(x):
        return max(x[0], x[1]) + 2 * min(x[1], 0.0) + 3 * min(0.0, x[0])
    for g in (de.grad(f), de.jit(de.grad(f)), de.grad(f, method="forward")):
        np.testing.assert_array_equal(g(np.zeros(2)), [1.0, 2.0])
    for x in (np.array([np.nan, 1.0]), np.array([1.0, np.nan])):
        np.testing.assert_array_equal(de.jit(lambda x: (min(x), max(x), min(x[1], x[0])))(x), (min(x), max(x), min(x[1], x[0])))


def test_anything_else_is_pythons():
    own = builtins.min, builtins.max

    def f(x):
        rows = [x[0] * np.ones(2), x[1] * np.ones(2)]
        longest = max(["a", "bcd"], key=len)
        return min(rows, key=lambda row: float(row[0])).sum() + len(longest) * max(range(3)) * min([], default=x[2])
    x = np.array([3.0, 2.0, 5.0])
    assert f(x) == de.value_and_grad(f)(x)[0] == 34.0
    for wrong, error, text in ((lambda x: min([]) * x[0], ValueError, "empty"), (lambda x: max(3) * x[0], TypeError, "not iterable"),
                               (lambda x: min(x, 2 * x).sum(), ValueError, "ambiguous"), (lambda x: min() * x, TypeError, "at least 1")):
        with pytest.raises(error, match=text):
            de.jit(wrong)(x)
    assert (builtins.min, builtins.max) == own
