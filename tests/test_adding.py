"""Parts added to an array, and arrays filled part by part: the uncompiled numbers, in time that grows with the parts."""
import numpy as np
import pytest

import diffeng as de
from diffeng.kernels import planning
from diffeng.kernels.adding import MANY, added
from diffeng.nodes import reachable
from test_stacking import recorded

RNG = np.random.default_rng(5)


def entries(x):
    s = 0.0
    for k in range(x.shape[0] - 1):
        s = s + np.sin(x[k]) * x[k + 1] - x[-k] * x[0]
    return s


def differences(x):
    s = 0.0
    for k in range(1, x.shape[0] - 1):
        s = s + np.tanh(x[k + 1] - x[k]) * (x[k - 1] - x[k])
    return s


def windows(x):
    return sum([np.sum(x[k:k + 3]) ** 3 for k in range(x.shape[0] - 2)]) + np.sum(np.exp(x))


def rows(x):
    s = np.ones(5)
    for k in range(x.shape[0] // 5):
        s = s * np.cos(np.reshape(x, (-1, 5))[k])
    return np.sum(s)


def columns(x):
    s, table = 0.0, np.reshape(x, (5, -1))
    for k in range(table.shape[1]):
        s = s + table[:, k] * table[::-1, -k]
    return np.sum(s)


def corners(x):
    table = np.reshape(x, (-1, 5))
    return sum([np.sin(table[i, j]) * table[i - 1, j] for i in range(table.shape[0]) for j in range(5)])


def filled(x):
    y = np.zeros(x.shape[0])
    for k in range(1, x.shape[0]):
        y[k] = 0.5 * np.tanh(y[k - 1]) + x[k] * x[0]
    return np.sum(y * y)


def padded(x):
    y, n = np.zeros(x.shape[0]), x.shape[0]
    for k in range(n):
        y[k] = np.sin(x[k]) + y[k - 1]
        y = np.pad(x[k:k + 1], (k, n - k - 1)) - y if k % 3 else y - np.pad(x[k:k + 1], (k, n - k - 1))
    return np.sum(y * y)


def in_turn(x):
    """Entries are read, written over and added to, again and again."""
    y = np.zeros(x.shape[0] // 2)
    for k in range(x.shape[0]):
        at = (7 * k) % y.shape[0]
        y[at] += x[k] ** 2
        y[at - 1] *= x[k]
        y[at - 2] = np.cos(y[at]) + y[at - 1]
    return np.sum(y ** 2)


def stored(x):
    """The states of a recurrence, one row each, and those that were written last."""
    path, u = np.zeros((x.shape[0], 3)), x[:3]
    for k in range(x.shape[0]):
        u = np.sin(u) + x[k]
        path[k] = u
    path[0] = 2 * path[-1]
    return np.sum(path ** 3)


def everywhere(x):
    """All of an array, added to and written over like a part of it."""
    y = de.at(de.at(x, 0).set(x[1]), np.s_[:]).add(np.sin(x))
    z = de.at(de.at(y * x, ...).add(3.0), (None,)).add(y)
    return np.sum(de.at(z, np.s_[:]).set(z * y) + de.at(y, 1).set(z[0]))


FUNCTIONS = [entries, differences, windows, rows, columns, corners, filled, in_turn, stored, everywhere]


def work(f, x, monkeypatch):
    """(value, gradient, entries that loops of more than one go through) of the compiled gradient."""
    passes, own = [], planning.placed

    def placed(steps, meanwhile=None):
        out = own(steps)
        passes.append(sum([w.rows for w in out[0] if w.rows > 1]))
        return out
    monkeypatch.setattr(planning, "placed", placed)
    value, gradient = de.jit(de.value_and_grad(f))(x)
    monkeypatch.setattr(planning, "placed", own)
    return value, gradient, passes[-1]


@pytest.mark.parametrize("f", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_uncompiled_numbers_in_linear_time(f, dtype, monkeypatch):
    monkeypatch.setenv("DIFFENG_CACHE", "off")                   # whose plans would not come by here
    for n in (40, 160):
        x = (0.5 * RNG.standard_normal(n)).astype(dtype)
        value, gradient, passed = work(f, x, monkeypatch)
        want, slope = de.value_and_grad(f)(x)
        rounding = 200 * np.finfo(dtype).eps
        np.testing.assert_allclose(value, want, rtol=rounding, atol=rounding)
        np.testing.assert_allclose(gradient, slope, rtol=rounding, atol=rounding * np.max(np.abs(slope)))
        assert passed < 20 * n                                   # a pass over all of x for each part would be n times n


def graph(f, x):
    """The outputs of a function and its gradient, as a program gets them."""
    return recorded(de.grad(f), x)[1]


def test_few_parts_are_left_to_the_loops_that_make_them():
    few = graph(lambda x: sum([np.sin(x[k]) for k in range(MANY - 1)]), np.ones(100))
    assert added(few) is few
    large = graph(lambda x: sum([np.sum(np.sin(x[k:k + 50])) for k in range(MANY + 1)]), np.ones(100))
    assert added(large) is large
    shared = graph(lambda x: sum([x[k] ** 2 for k in range(MANY)]), np.ones(100))
    names = [n.primitive.name for n in reachable(added(shared))]
    assert names.count("add_at") == MANY - 1 and names.count("scatter") == 1


def test_a_difference_is_no_sum():
    x = RNG.standard_normal(20)
    for got, want in zip(de.jit(de.value_and_grad(padded))(x), de.value_and_grad(padded)(x)):
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)


def test_a_sum_that_others_read_is_not_added_to():
    def f(x):
        y = np.zeros(30)
        kept = []
        for k in range(30):
            y[k] = np.sin(x[k])
            kept.append(y.copy() if k % 7 == 0 else None)
        y[3:6] += x[:3]
        return np.sum(y ** 2) + sum([np.sum(np.cos(z)) for z in kept if z is not None]) + np.sum(x[2] * y[::-1])
    x = RNG.standard_normal(30)
    for got, want in zip(de.jit(de.value_and_grad(f))(x), de.value_and_grad(f)(x)):
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)
