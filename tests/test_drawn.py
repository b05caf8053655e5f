"""What jit cannot compile because it is another one each time, and what it holds as a constant: nothing that changes is answered with what it was."""
import array
import enum
import itertools
import logging
import random
import time
import types
from collections import deque

import numpy as np
import pytest
import scipy.sparse

import diffeng as de

X = np.array([0.5, -1.0, 2.0])


def test_what_differs_each_time_it_runs_is_refused():
    from numpy.random import default_rng
    drawing = [lambda x: x * np.random.default_rng().normal(), lambda x: x * default_rng().normal(size=3), lambda x: x + np.random.RandomState().normal(),
               lambda x: x * random.Random().random(), lambda x: x * (time.perf_counter() % 1), lambda x: x * random.SystemRandom().random()]
    for f in drawing:
        with pytest.raises(RuntimeError, match="others each time it runs .* the same ones for ever.*diffeng.random"):
            de.jit(f)(X)

    def timed(x):
        began = time.perf_counter()                # for a log, say: it stands nowhere in the result
        y = x * np.random.default_rng(3).normal(size=3)
        logging.getLogger("timed").debug("%s", time.perf_counter() - began)
        return np.where(y > 0, y, x)[np.array([True, False, True])]
    np.testing.assert_array_equal(de.jit(timed)(X), timed(X))


def test_values_taken_from_an_iterator_are_refused():
    count, numbers, squares = itertools.count(), iter([1.0, 2.0]), (k * k for k in range(3))
    for f, kind in ((lambda x: x + next(count), "count"), (lambda x: x + next(numbers), "list_iterator"), (lambda x: x * sum(squares), "generator")):
        with pytest.raises(RuntimeError, match=f"takes values from a {kind}"):
            de.jit(f)(X)
    with pytest.raises(RuntimeError, match="takes values from a generator"):
        de.jit(lambda x, many: x * sum(many))(X, (k for k in range(4)))


def held():
    """name: (function of x and something held, the thing, how it is changed)"""
    def first(box):
        box[0] = 7

    def inner(box):
        box[0][0] = 7
    lists = np.empty(2, object)
    lists[:] = [[1.0], [2.0, 3.0]]
    table, record = {"a": 1.0}, np.zeros(1500, [("a", float), ("b", int)])
    return {
        "deque": (lambda x, d: x * d[0], deque([1.0, 2.0]), first), "bytearray": (lambda x, b: x * b[0], bytearray(b"abc"), first),
        "memoryview": (lambda x, m: x * m[0], memoryview(bytearray(b"abc")), first), "array.array": (lambda x, a: x * a[0], array.array("d", [1, 2]), first),
        "an array of lists": (lambda x, a: x * a[0][0], lists, inner), "records": (lambda x, r: x * r["a"][900], record, lambda r: r["a"].__setitem__(900, 7)),
        "a view of a dict": (lambda x, m: x * m["a"], types.MappingProxyType(table), lambda m: table.update(a=7)),
        "a sparse array": (lambda x, a: x * a.data.sum(), scipy.sparse.csr_array(np.eye(3)), lambda a: first(a.data)),
        "a polynomial": (lambda x, p: x * p.coeffs[0], np.poly1d([1.0, 2.0]), lambda p: first(p.coeffs)),
    }


@pytest.mark.parametrize("name", held())
def test_what_is_held_is_seen_when_it_changes(name):
    """As an argument and captured alike."""
    for jitted_of in (lambda f, thing: (lambda g: lambda x: g(x, thing))(de.jit(f)), lambda f, thing: de.jit(lambda x: f(x, thing))):
        f, thing, change = held()[name]
        g = jitted_of(f, thing)
        for _ in range(2):
            np.testing.assert_array_equal(g(X), f(X, thing))
        change(thing)
        for _ in range(2):
            np.testing.assert_array_equal(g(X), f(X, thing))


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_masked_arrays_and_matrices_are_what_they_are():
    masked, matrix = np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0]), np.matrix([[1.0, 2.0], [3.0, 4.0]])

    def f(x):
        return x * np.sum(masked) + (matrix * matrix)[0, 0]
    g = de.jit(f)
    np.testing.assert_array_equal(g(X), f(X))
    masked.mask = [1, 0, 0]
    np.testing.assert_array_equal(g(X), f(X))


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_matrices_do_not_meet_traced_values():
    """Their * is another one."""
    matrix = np.matrix(np.eye(2))
    for f in (lambda x: x * matrix, lambda x: matrix * x, lambda x: np.multiply(x, matrix)):
        with pytest.raises(TypeError, match=r"matrix at test_drawn\.py:\d+: what makes it more than an array .* pass np.asarray of it"):
            de.jacobian(f)(np.ones(2))


def test_a_list_that_is_in_itself():
    ring = [2.0]
    ring.append(ring)
    np.testing.assert_array_equal(de.jit(lambda x: x * ring[1][1][0])(X), X * 2)


class Places(enum.IntEnum):
    LAST = 2


def test_integers_of_a_class_of_their_own():
    for f in (lambda x: x * Places.LAST, lambda x: x ** Places.LAST, lambda x: x[Places.LAST], lambda x, k=Places.LAST: np.where(x > k, x, k)):
        np.testing.assert_array_equal(de.jit(f)(X), f(X))
        assert de.compare(lambda x: np.sum(f(x)), X).agree


def test_random_numbers_drawn_while_it_runs_are_refused():
    rng, old = np.random.default_rng(0), np.random.RandomState(0)
    for f in (lambda x: x * np.random.rand(), lambda x: x * np.random.normal(size=3), lambda x: x * rng.normal(), lambda x: x * old.normal(),
              lambda x: x * random.random()):
        with pytest.raises(RuntimeError, match="draws random numbers .* the same ones for ever.*diffeng.random"):
            de.jit(f)(X)
    with pytest.raises(RuntimeError, match="from a Generator"):
        de.jit(lambda x, rng: x * rng.normal())(X, rng)
    assert de.jit(lambda x, rng: x * 2)(X, rng) == pytest.approx(2 * X)
