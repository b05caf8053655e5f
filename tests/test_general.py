"""A graph's sizes in a shape where nothing is equal by chance (general.py, extents.py): what must be the same is, and nothing else."""
import numpy as np
import pytest

import diffeng as de
from diffeng import nodes
from diffeng.drawn import same
from diffeng.kernels.extents import Unknowns, product
from diffeng.kernels.families import Family
from diffeng.lengths import weight
from diffeng.recording import Outline, record
from diffeng.vocabulary import indexing


def in_general(f, *shapes):
    """The shapes that arguments have in a general one; those that they have, where that is one."""
    recorded = record(f, [np.full(s, 0.5) for s in shapes], Outline(), "program")
    family = Family(recorded.inputs, recorded.outputs)
    there = family.in_general()
    return [*shapes] if there is None else [tuple(map(weight, n.shape)) for n in family.alike(there)[0]]


def distinct(*lengths):
    return len({*lengths}) == len(lengths) and min(lengths) > 1


CASES = {
    "a product": (lambda x, w: x @ w, [(5, 5), (5, 5)], lambda x, w: x[1] == w[0] and distinct(*x, w[1])),
    "general as it is": (lambda x, w: x @ w, [(7, 3), (3, 5)], lambda x, w: x + w == (7, 3, 3, 5)),
    "neighbours": (lambda x: x[1:] - x[:-1], [(2,)], lambda x: x[0] > 2),
    "three neighbours, and another": (lambda x, y: (x[2:] - 2 * x[1:-1] + x[:-2]) * y, [(8,), (6,)], lambda x, y: x[0] == y[0] + 2),
    "as long as a part, by chance": (lambda x, w: np.outer(x[1:], w), [(5,), (4,)], lambda x, w: x[0] - 1 != w[0]),
    "heads": (lambda x, y: np.sum(x.reshape(4, 2, 4) ** 2, axis=(0, 2)) * y, [(4, 8), (2,)], lambda x, y: y == (2,) and x[1] % 2 == 0 and distinct(x[0], x[1] // 2, 2)),
    "two halves": (lambda x, w: (x[:, 3:] * np.tanh(x[:, :3] @ w)), [(10, 6), (3, 3)], lambda x, w: x[1] == w[0] + w[1] and distinct(x[0], *w)),
    "as many as an input has": (lambda x, y: x[:, :1] * y, [(5, 2), (5, 1)], lambda x, y: x[0] == y[0] and y[1] > 1 and distinct(*y)),
    "a part of so many": (lambda x, y: np.outer(x[:, :3] @ np.ones(3), y), [(5, 4), (3,)], lambda x, y: y[0] not in (x[0], 3)),
    "gates": (lambda x, w: (z := x @ w)[:, :3] * z[:, 3:6] + z[:, 6:] * x, [(3, 3), (3, 9)], lambda x, w: w == (x[1], 3 * x[1]) and distinct(*x)),
    "flattened": (lambda x, y: x.reshape(-1) * y, [(3, 3), (9,)], lambda x, y: y[0] == x[0] * x[1] and distinct(*x)),
    "every second": (lambda x, y: x[::2] * y, [(6,), (3,)], lambda x, y: x[0] == 2 * y[0]),
    "one of both, every second": (lambda x: x[::2] - x[1::2], [(6,)], lambda x: x[0] % 2 == 0),
    "together": (lambda x, y, z: np.concatenate([x, y]) * z, [(3,), (3,), (6,)], lambda x, y, z: z[0] == x[0] + y[0] and distinct(x[0], y[0])),
    "equations": (lambda a, b: np.linalg.solve(a, b), [(4, 4), (4, 4)], lambda a, b: a[0] == a[1] == b[0] != b[1]),
    "repeated": (lambda x, y: x + y, [(1, 5), (4, 5)], lambda x, y: x[0] == 1 and x[1] == y[1]),
    "as long, perhaps": (lambda x, y: x + y, [(1, 5), (1, 5)], lambda x, y: x == y and x[0] > 1),
    "a row of its own": (lambda x, y: x[None] + y, [(5,), (1, 5)], lambda x, y: x[0] == y[1] and y[0] > 1),
    "one entry": (lambda x: np.sum(x * x), [(1, 1, 1)], lambda x: distinct(*x)),
    "nothing": (lambda x, y: x[1:] * 2 + y, [(1, 3), (3,)], lambda x, y: x[1] == y[0] != x[0] > 1),
    "positions": (lambda x, w: x[np.array([[0, 1], [1, 0], [2, 2]])] @ w, [(3, 3), (3, 3)], lambda x, w: x[1] == w[0] and distinct(*x, w[1])),
    "a loop": (lambda x, w: de.scan(lambda h, y: (np.tanh(h @ w + y), h), np.zeros(4), x)[1], [(4, 4), (4, 4)], lambda x, w: x[1] == w[0] == w[1] != x[0]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_must_be_as_long_is(name):
    f, shapes, holds = CASES[name]
    found = in_general(f, *shapes)
    assert holds(*found), found


def test_what_equals_what():
    known = Unknowns()
    n, m, k = map(known.unknown, (6, 4, 24))
    known.equal(product([n, m]), k)
    assert known.value(k, {0: 5, 1: 3}) == 15 and known.value(n * 2 - 1, {0: 5}) == 9
    known.equal(n - 2, m)
    assert known.value(k, {0: 5}) == 15 and known.value(m, {0: 5}) == 3
    known.equal(n * m, n * 4)                                     # m = 4, and n with it
    assert known.now(n) == 6 and type(known.now(n)) is int and known.now(k) == 24 and type(known.now(k)) is int


def test_lengths_that_cannot_be_found_stay():
    known = Unknowns()
    n, m = known.unknown(6), known.unknown(4)
    known.equal(n * n, m * m + 20)                                # of which nobody knows more
    assert (type(known.now(n)), type(known.now(m))) == (int, int)


def test_who_puts_back_is_known_by_the_index_whatever_specs_are_forgotten():
    """nodes.spec forgets what it has seen now and then: of the same function the same is recorded before and after."""
    def f(x):
        windows = np.lib.stride_tricks.sliding_window_view(x, (1, 1))[:, 1:]
        return np.sum(np.max(windows, axis=-1) * np.mean(windows, axis=-1))

    x = np.random.default_rng(0).normal(size=(4, 5))
    one = record(de.value_and_grad(f), [x], Outline(), "program")
    for key in [k for k in nodes._specs if k[0] is indexing.getitem._evaluate]:
        del nodes._specs[key]
    assert same(one.outputs, record(de.value_and_grad(f), [x], Outline(), "program").outputs)
