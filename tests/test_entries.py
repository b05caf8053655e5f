"""What NumPy calls, reads or takes entry by entry: np.vectorize, np.frompyfunc, np.nditer, sets, histograms, polynomials. Against differences of the plain function."""
import numpy as np
import pytest
from numpy import vectorize
from numpy.lib.stride_tricks import sliding_window_view
from numpy.polynomial import Chebyshev, Polynomial, chebyshev, hermite, legendre, polynomial

import diffeng as de

X, OTHER = np.array([1.0, 2.0, 3.5]), np.array([2.5, 3.0, 7.0])
branches = np.vectorize(lambda t, u=2.0: t * t if t > 1.5 else u * t)
several = np.vectorize(lambda t: (t * t, t + 1))
product = np.frompyfunc(lambda a, b: a * b + a, 2, 1)
plain = Polynomial([1.0, 2.0, 3.0])


@np.vectorize
def decorated(t):
    return np.exp(t) if t < 3 else t


def enumerated(x):
    out = np.zeros(x.shape)
    for at, v in np.ndenumerate(x):
        out[at] = v * v * at[0]
    return out


def read_together(x):
    return sum([a * a * b for a, b in np.nditer([x, OTHER])])


def places_read(x):
    walk = np.nditer(x, flags=["multi_index"])
    return sum([a * a * walk.multi_index[0] for a in walk])


CASES = {
    "vectorize": lambda x: branches(x), "a default": lambda x: branches(x, 3.0), "of a matrix": lambda x: np.vectorize(lambda t: t**3)(np.outer(x, x)),
    "several results": lambda x: np.stack(several(x)), "broadcast": lambda x: np.vectorize(lambda a, b: a * b)(x[:, None], x), "decorator": lambda x: decorated(x),
    "signature": lambda x: np.vectorize(lambda a, b: a @ b, signature="(n),(n)->()")(np.outer(x, x), x), "keyword": lambda x: np.vectorize(lambda t, c: t * c)(x, c=3.0),
    "otypes": lambda x: np.vectorize(lambda t: np.sin(t), otypes=[float])(x), "excluded": lambda x: np.vectorize(lambda t, c: t * c[0], excluded=[1])(x, [2.0, 3.0]),
    "by name": lambda x: vectorize(lambda t: t * t)(x), "frompyfunc": lambda x: product(x, x), "with a number": lambda x: product(x, 2.0), "reduce": lambda x: np.frompyfunc(lambda a, b: a * b, 2, 1).reduce(x),
    "ndenumerate": enumerated, "nditer": lambda x: sum([v * v for v in np.nditer(x)]), "nditer of two": read_together, "nditer, places": places_read,
    "nditer, memory": lambda x: np.stack([v * k for k, v in enumerate(np.nditer(np.outer(x, x + 1).T))]),
    "union1d": lambda x: np.union1d(x, OTHER), "union1d twice": lambda x: np.union1d(x, x[::-1]), "setdiff1d": lambda x: np.setdiff1d(x, OTHER),
    "of plain": lambda x: np.setdiff1d(OTHER, x) * x,
    "setxor1d": lambda x: np.setxor1d(x, OTHER), "setxor1d unique": lambda x: np.setxor1d(x, OTHER, assume_unique=True), "intersect1d": lambda x: np.intersect1d(x, x[1:]), "i0": np.i0,
    "histogram2d": lambda x: np.histogram2d([0.1, 0.5, 0.9], [0.2, 0.2, 0.7], bins=2, weights=x)[0], "edges": lambda x: np.histogram2d(x, x**2, bins=3)[1],
    "histogramdd": lambda x: np.histogramdd(np.array([[0.1, 0.2], [0.5, 0.2], [0.9, 0.7]]), bins=[2, 3], weights=x, density=True)[0],
    "histogram2d, both": lambda x: np.histogram2d(x, x**2, bins=[2, 3], density=True, weights=x)[0],
    "Polynomial": lambda x: Polynomial(x)(2.0), "at x": lambda x: Polynomial(x)(x), "plain": lambda x: plain(x), "deriv": lambda x: Polynomial(x).deriv()(x),
    "integ": lambda x: Polynomial(x).integ()(x), "times": lambda x: (Polynomial(x) * Polynomial(x))(x), "domain": lambda x: Polynomial(x, domain=[0.0, 2.0])(x),
    "Chebyshev": lambda x: Chebyshev(x)(x / 4), "chebval": lambda x: chebyshev.chebval(x, x), "legval": lambda x: legendre.legval(x, x), "hermval": lambda x: hermite.hermval(0.3, x),
    "polyval": lambda x: polynomial.polyval(2.0, x), "chebder": lambda x: chebyshev.chebder(x), "polyvander": lambda x: polynomial.polyvander(x, 3),
    "polyval of columns": lambda x: polynomial.polyval(x, np.arange(9.0).reshape(3, 3)), "of a list": lambda x: polynomial.polyval([x[0], x[1]], np.arange(9.0).reshape(3, 3)),
    "at points made inside": lambda x: polynomial.polyval(np.linspace(0.0, 1.0, 3), np.arange(9.0).reshape(3, 3)) @ x,
    "of traced columns": lambda x: chebyshev.chebval(x, np.outer(x, x)), "tensor=False": lambda x: polynomial.polyval(x, np.outer(x, x), tensor=False),
    "polyval2d": lambda x: polynomial.polyval2d(x, x, np.outer(x, x)), "polyfit": lambda x: polynomial.polyfit(np.arange(3.0), x, 1),
    "as_strided": lambda x: np.lib.stride_tricks.as_strided(x, (2, 2), (8, 8)), "zero strides": lambda x: np.lib.stride_tricks.as_strided(x * 1, (2, 3), (0, 8)),
    "sliding": lambda x: sliding_window_view(x, 2), "range": lambda x: x[range(2)], "ranges": lambda x: np.outer(x, x)[range(2), range(2)],
}


@pytest.mark.parametrize("name", CASES)
def test_entries_by_every_method_compiled_and_not(name):
    f = CASES[name]
    value = np.asarray(f(X), float)
    jacobian = np.stack([(np.asarray(f(X + h), float) - np.asarray(f(X - h), float)) / 2e-6 for h in 1e-6 * np.eye(3)], -1)
    for got in (de.vjp(f, X)[0], de.jit(f)(X)):
        assert np.shape(got) == value.shape and np.allclose(got, value, rtol=1e-14)
    for method in ("symbolic", "forward", "reverse"):
        assert np.allclose(de.jacobian(f, method=method)(X), jacobian, rtol=1e-5, atol=1e-5)
    assert np.allclose(de.jit(de.jacobian(f))(X), jacobian, rtol=1e-5, atol=1e-5)


def test_of_equal_values_in_both_that_of_the_first_is_taken():
    assert de.jacobian(lambda x: np.intersect1d(x, [2.0, 3.5, 7.0]))(X).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert np.array_equal(np.intersect1d(X, [2.0, 7.0], return_indices=True)[1], [1])


def test_vectorize_takes_the_dtype_of_its_first_result_as_numpy_does():
    f = np.vectorize(lambda t: 0 if t < 1.5 else t)
    assert de.vjp(lambda x: f(x) * x, X)[0].tolist() == (f(X) * X).tolist() == [0, 4, 10.5]


def test_numpys_own_are_back_in_their_places():
    de.grad(lambda x: np.sum(branches(x)))(X)
    assert np.vectorize._vectorize_call.__module__ == np.vectorize.__call__.__module__ and isinstance(np.nditer, type)


@pytest.mark.parametrize("f,text", [
    (lambda x: np.lib.stride_tricks.as_strided(x, (4,), (8,)), r"^as_strided at test_entries.*beyond"),
    (lambda x: np.lib.stride_tricks.as_strided(np.outer(x, x).T, (3,), (8,)), r"^as_strided at test_entries.*x\.copy"),
    (lambda x: np.vectorize(lambda t: t)(x[:0]), r"^vectorize at test_entries.*otypes"),
    (lambda x: np.nditer(x, flags=["external_loop"]), r"^nditer at test_entries.*ndindex"),
    (lambda x: np.histogramdd(x, bins=[2, 2]), r"^histogramdd at test_entries.*give one for each"),
])
def test_what_cannot_be_done_is_refused_with_the_line(f, text):
    with pytest.raises((TypeError, ValueError), match=text):
        de.vjp(f, X)


def test_sequences_inside_an_index():
    m = np.arange(12.0).reshape(3, 4)
    for index in (slice(None), (0, 2)), ((0, 1), [1, 2]), (slice(None), range(1, 3)), ((True, False, True),):
        w = np.cos(1.0 + np.arange(m[index].size)).reshape(m[index].shape)
        want = np.zeros((3, 4))
        want[index] = w
        for call in (de.grad(lambda m: np.sum(w * m[index])), de.jit(de.grad(lambda m: np.sum(w * m[index]))), de.grad(lambda m: np.sum(w * m[index]), method="forward")):
            np.testing.assert_array_equal(call(m), want)


class Series:
    """As pandas has them: numbers by __array__, and operators that leave it to whoever has a higher priority."""
    __array_priority__, __pandas_priority__ = 1000, 3000

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        return NotImplemented

    def __mul__(self, other):
        return NotImplemented if getattr(other, "__pandas_priority__", 0) > 3000 else Series(self.values * np.asarray(other))

    __rmul__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__


def test_what_has_an_array_is_an_operand_and_an_index():
    plain = np.array([1.0, 3.0, -2.0]), np.array([2, 0, 2]), np.array([True, False, True])
    series = [*map(Series, plain)]
    for f in (lambda x, s, i, m: np.sum(s * x * x), lambda x, s, i, m: np.sum(x * s), lambda x, s, i, m: np.sum((s - x) ** 2), lambda x, s, i, m: np.sum(np.multiply(s, x) ** 2),
              lambda x, s, i, m: np.sum(np.exp(x[i] * s)), lambda x, s, i, m: np.sum(x[m] ** 3), lambda x, s, i, m: x @ s, lambda x, s, i, m: np.dot(s, x)):
        x = np.array([0.3, 1.2, -0.7])
        want = de.value_and_grad(lambda x: f(x, *plain))(x)
        for call in (de.value_and_grad, lambda f: de.jit(de.value_and_grad(f)), lambda f: de.value_and_grad(f, method="forward")):
            np.testing.assert_allclose(np.hstack(call(lambda x: f(x, *series))(x)), np.hstack(want), rtol=1e-14)
