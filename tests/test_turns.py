"""Loops whose turns are the rows of one kernel: the same results as turn by turn, whatever a turn reads of the carry."""
import gc

import numpy as np
import pytest

import diffeng as de
from diffeng.kernels import repeated, turns
from diffeng.loops import Loop
from diffeng.trees import flatten
from test_control import calls

RANDOM = np.random.default_rng(0)
X, ROWS, P = RANDOM.normal(size=40), RANDOM.normal(size=(40, 3)), np.array([0.1, 0.2, 0.7])


def variance(p, x):
    def turn(h, x):
        h = p[0] + p[1] * x * x + p[2] * h
        return h, np.log(h) + x * x / h
    return de.scan(turn, 1.0, x)


def exchanged(p, x):
    """What one carry was another one becomes."""
    return de.scan(lambda s, x: ((p[0] * s[0] + p[1] * s[1] + x, s[0]), s[0] - s[1]), (0.3, 0.5), x)


def backwards(p, x):
    return de.scan(lambda s, x: (np.sin(s) * p[1] + x, s), 0.0, x[::-1])


def mixed(p, x):
    """Numbers and rows, of several dtypes; a row that is summed, a number that all of the row get."""
    def turn(s, x):
        count, high, row = s
        row = np.tanh(p * row + x + 0.1 * np.sum(row) * high)
        return (count + 1, np.sum(row) > 0.2, row), (np.where(high, row, 2 * row), count, np.sum(row * row))
    return de.scan(turn, (0, True, np.zeros(3)), x)


def apart(p, x):
    """Two recurrences that have nothing to do with each other, and one that reads what the other one was."""
    def turn(s, x):
        a, b, c = s
        return (np.cos(a) * x[0], np.tanh(b + x), c + 0.1 * np.sum(b)), c
    return de.scan(turn, (0.5, np.ones(3), 0.0), x)


def pendulum(p, x):
    """A point that is taken apart and put together again."""
    def turn(s, x):
        angle, speed = s
        return np.array([angle + 0.01 * speed, speed - 0.01 * (p[0] * np.sin(angle) + p[1] * x)]), s[0]
    return de.scan(turn, np.array([1.0, 0.0]), x)


def small_matrices(p, x):
    """Products, sums, largest entries and assignments of few entries."""
    turning = np.array([[0.9, -0.3], [0.3, 0.8]])

    def turn(s, x):
        m = np.outer(s, s) * p[0] + turning
        s = np.tanh(m @ s + x) + 0.1 * np.max(s)
        row = np.zeros(3)
        row[1:] = s
        row[0] += np.sum(m)
        return s, (row, np.mean(m, axis=0), np.where(s > 0, s, -s))
    return de.scan(turn, np.array([0.2, -0.1]), x)


def marked(p, x):
    """A y that is the carry but for an entry, where no carry waits for another one."""
    return de.scan(lambda s, x: (np.linspace(1, 2, 10) * p[0] * x, de.at(s, 0).set(x)), np.zeros(10), x)


CASES = [(variance, X), (pendulum, X), (small_matrices, X), (exchanged, X), (backwards, X), (mixed, ROWS), (apart, ROWS), (marked, X)]


@pytest.mark.parametrize("f, x", CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_values_and_derivatives(f, x):
    def loss(p, x):
        return sum([np.sum(np.cos(y * 1.0)) for y in flatten(f(p, x))[0]])
    compiled = de.jit(f)
    for got, want in zip(flatten(compiled(P, x))[0], flatten(f(P, x))[0]):
        assert got.dtype == np.asarray(want).dtype and got.shape == np.shape(want)
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-15)
    assert "scan" not in calls(compiled)
    want = de.grad(loss, (0, 1))(P, x)
    for method in "reverse", "forward":
        compiled = de.jit(de.grad(loss, (0, 1), method=method))
        for g, w in zip(compiled(P, x), want):
            np.testing.assert_allclose(g, w, rtol=1e-11, atol=1e-13)
        assert "scan" not in calls(compiled)


@pytest.mark.parametrize("longest", [1e8, 0.0], ids=["one instruction", "Python"])
@pytest.mark.parametrize("f, x", CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_turn_by_turn_they_are_the_same(monkeypatch, f, x, longest):
    at_once = flatten(de.jit(f)(P, x))[0]
    monkeypatch.setenv("DIFFENG_CACHE", "off")          # where plans are kept
    monkeypatch.setattr(turns, "MOST_BYTES", 100)
    monkeypatch.setattr(repeated, "LONGEST", longest)
    one_by_one = de.jit(f)
    for a, b in zip(at_once, flatten(one_by_one(P, x))[0]):
        np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-16)
    assert ("scan" in calls(one_by_one)) == (not longest)


def test_lengths_of_one_structure_compile_nothing():
    from diffeng import kernels
    de.jit(variance)(P, X)
    before = kernels.compilations
    for n in (8, 39, 5000):
        x = RANDOM.normal(size=n)
        np.testing.assert_allclose(de.jit(variance)(P, x)[1], variance(P, x)[1], rtol=1e-13)
    assert kernels.compilations == before


@pytest.mark.parametrize("longest", [1e8, 0.0], ids=["one instruction", "Python"])
def test_what_is_no_such_loop(monkeypatch, longest):
    """Products of many entries, rows that are long, and places that the carry says: a turn is a table of kernels, or a call."""
    monkeypatch.setenv("DIFFENG_CACHE", "off")          # where plans are kept
    monkeypatch.setattr(repeated, "LONGEST", longest)
    table, weights = np.array([2, 0, 1]), RANDOM.normal(size=(20, 20)) * 0.3
    for f, x in [(lambda p, x: de.scan(lambda s, x: (np.tanh(weights @ s + x), s), np.zeros(20) + p[0], x), X),
                 (lambda p, x: de.scan(lambda s, x: (np.tanh(s + x), s), np.zeros(100) + p[0], x), X),
                 (lambda p, x: de.scan(lambda s, x: (de.stop_gradient(np.asarray(table)[s]), p[s] * x), 0, x), X)]:
        compiled = de.jit(f)
        for got, want in zip(flatten(compiled(P, x))[0], flatten(f(P, x))[0]):
            np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-14)
        assert ("scan" in calls(compiled)) == (not longest)


def test_a_sum_over_turns_is_no_recurrence_that_goes_wrong():
    """Each turn adds to what all turns before have added, one number for each entry of a parameter: 40 rows of sums in one array."""
    def loss(p):
        return de.scan(lambda s, x: (np.tanh(p * s + x), np.sum(s * s)), np.zeros(3), ROWS)[1].sum()
    np.testing.assert_allclose(de.jit(de.hessian(loss))(P), de.hessian(loss)(P), rtol=1e-10)
    np.testing.assert_allclose(de.jit(de.vmap(de.grad(loss)))(np.stack([P, 2 * P])), [de.grad(loss)(P), de.grad(loss)(2 * P)], rtol=1e-11)


def test_loops_go_with_their_function():
    def left():
        de.jit(de.grad(lambda p: np.sum(variance(p, X)[1])))(P)
        gc.collect()
        return sum([type(x) is Loop for x in gc.get_objects()])
    assert left() == left()
