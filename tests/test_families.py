"""Plans for a shape that go by another one's sizes (families.py): they compile nothing, and no size changes a result."""
import random as orders
import subprocess
import sys

import numpy as np
import pytest

import diffeng as de
from diffeng import kernels
from diffeng.kernels import choice, families, machine
from diffeng.kernels.sizes import Sizes
from diffeng.lengths import Length, length, rank
from diffeng.nodes import Tracing, reachable
from diffeng.trees import flatten
from test_lengths import attention, mixture, normalised


def bodies(x, v):
    """Of so many bodies in three dimensions: of three, both are as long by chance."""
    apart = x[:, None, :] - x[None, :, :]
    return np.sum(v * v) - np.sum(1 / np.sqrt(np.sum(apart * apart, axis=-1) + 0.1))


def three_factors(a, b, c):
    return np.sum(np.einsum("ir,jr,kr->ijk", a, b, c) ** 2)


def trilinear(x, w, y):
    return np.sum(np.tanh(np.einsum("bi,oij,bj->bo", x, w, y)))


def kronecker(a, b):
    return np.sum(np.sin(np.kron(a, b) @ np.kron(b, a)))


def pooled(x, w):
    n, c, h, m = x.shape
    y = np.mean((x * w[:, None, None]).reshape(n, c, h // 2, 2, m // 2, 2), axis=(3, 5))
    return np.sum(np.tanh(np.mean(y, axis=(2, 3))))


def coupled(x, w, b):
    """One coupling layer: half of each point moves the other half."""
    fixed, moved = x[:, :x.shape[1] // 2], x[:, x.shape[1] // 2:]
    scale = np.tanh(fixed @ w + b)
    return np.sum((moved * np.exp(scale)) ** 2) - np.sum(scale)


def transport(x, y):
    cost = np.sum((x[:, None] - y[None]) ** 2, axis=-1)
    f, g = np.zeros(len(x)), np.zeros(len(y))
    for _ in range(3):
        f = -np.log(np.mean(np.exp(g[None] - cost), axis=1))
        g = -np.log(np.mean(np.exp(f[:, None] - cost), axis=0))
    return np.mean(f) + np.mean(g)


def filtered(a, c, x):
    """A loop with matrices of any size."""
    def turn(carry, y):
        p, s = carry
        m = c @ p @ c.T + np.eye(c.shape[0])
        p = a @ (p - p @ c.T @ np.linalg.solve(m, c @ p)) @ a.T + np.eye(len(a))
        return (p, s + np.linalg.slogdet(m)[1] + y @ np.linalg.solve(m, y)), None
    return de.scan(turn, (np.eye(len(a)), np.zeros(())), x)[0][1]


def largest(x, w):
    """Positions are an array of the program's own."""
    return np.sum(np.tanh(x @ w)[np.arange(len(x)), np.argmax(x @ w, axis=1)]) + np.ravel(x)[np.argmin(x)]


def chained(x, w, b):
    """Three factors, of which one is what a sum's gradient is: the same everywhere."""
    return np.sum(np.einsum("ij,jk,k->i", x, w, b)) + np.sum(np.tanh(x @ w + b))


def edges(x, y):
    """Parts of arrays, and what is put among zeros."""
    inner = y[:, 2:] + y[:, :-2]
    return np.sum((inner - x[:, 2:]) ** 2) + np.sum(np.pad(inner, ((0, 0), (1, 1))) * x)


def shared(w, x, b):
    """One bias for all: of one example, and of one feature, a shape does not say so."""
    z = x @ w + b
    return np.mean(np.logaddexp(0, -z)) + 0.01 * w @ w + np.sum(np.cumsum(x, axis=0)[-1] * w)


def centred(x, y):
    """Scores of every row with every other."""
    s = x @ y.T
    s = s - np.max(s, axis=1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(s), axis=1)) - np.trace(s) / len(s))


def measured(s, x):
    """One spread for all: its cotangent is a sum of n-th parts."""
    s = s * s + 1
    return np.mean(0.5 * (x / s) ** 2 + np.log(s))


def penalised(w, x):
    return np.sum(np.tanh(x @ w) ** 2) + np.sum(w ** 2)


def decayed(x, k):
    """A Python loop on entries alone, of which one kernel takes a few through all turns."""
    for _ in range(60):
        x = x - 0.1 * k * np.sin(x)
    return np.sum(x)


SHAPES = {
    measured: [lambda n: ((), (n,)), (66,), (80,), (49,), (100,)],
    penalised: [lambda n, k, m: ((k, m), (n, k)), (100, 20, 30), (400, 20, 30), (90, 5, 3), (3000, 50, 60)],
    decayed: [lambda n: ((n,), ()), (30,), (65,), (300,), (20_000,)],
    bodies: [lambda n: ((n, 3), (n, 3)), (10,), (2,), (3,), (37,)],
    three_factors: [lambda i, j, k, r: ((i, r), (j, r), (k, r)), (5, 7, 9, 4), (40, 3, 5, 2), (6, 6, 6, 6), (2, 30, 3, 8)],
    trilinear: [lambda b, i, o, j: ((b, i), (o, i, j), (b, j)), (7, 11, 13, 3), (100, 5, 9, 6), (8, 8, 8, 8), (20, 2, 12, 30)],
    kronecker: [lambda n, m: ((n, m), (m, n)), (2, 3), (5, 4), (6, 6), (3, 7)],
    pooled: [lambda n, c, h, m: ((n, c, h, m), (c,)), (3, 5, 6, 8), (1, 2, 4, 6), (4, 4, 4, 4)],
    coupled: [lambda n, d: ((n, d), (d // 2, d // 2), (d // 2,)), (10, 6), (33, 8), (8, 8)],
    transport: [lambda n, m, d: ((n, d), (m, d)), (9, 13, 3), (1, 6, 2), (20, 20, 2), (5, 3, 4)],
    filtered: [lambda d, m, t: ((d, d), (m, d), (t, m)), (5, 4, 9), (4, 2, 20), (3, 3, 7)],
    largest: [lambda n, d, k: ((n, d), (d, k)), (9, 5, 7), (30, 2, 3), (4, 4, 4)],
    chained: [lambda n, d, k: ((n, d), (d, k), (k,)), (20, 5, 3), (7, 9, 4), (3, 1, 8), (6, 6, 6)],
    centred: [lambda n, d: ((n, d), (n, d)), (50, 8), (900, 5), (16, 16), (7, 3)],
    edges: [lambda n, k: ((n, k), (n, k)), (7, 9), (30, 12), (5, 40), (9, 9)],
    shared: [lambda n, k: ((k,), (n, k), (1,)), (9, 4), (1, 5), (8, 1), (6, 6)],
    attention: [lambda b, t, w: ((b, t, w), (3, w, w)), (2, 5, 8), (1, 7, 4), (8, 8, 8), (3, 1, 6)],
    mixture: [lambda n, d, k: ((k,), (k, d), (k, d), (n, d)), (20, 4, 3), (5, 1, 2), (4, 4, 4), (30, 2, 1)],
    normalised: [lambda n, d: ((n, d), (d,), (d,)), (9, 20), (20, 20), (1, 7), (33, 1)],
}

SPECIAL = {edges: [(1, 6), (4, 4), (2, 3)], pooled: [(2, 3, 2, 2)], filtered: [(2, 1, 5)], coupled: [(20, 2), (1, 2)]}          # where an axis of length 1 makes a graph another one


def arrays(shapes, seed=0):
    random = np.random.default_rng(seed)
    return [0.3 * random.standard_normal(shape) for shape in shapes]


def checked(f, args, g):
    found, expected = (flatten(h(*args))[0] for h in (g, de.value_and_grad(f, argnums=tuple(range(len(args))))))
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11 * max(1, np.max(np.abs(b), initial=0)))


def compiled(f, args):
    return de.jit(de.value_and_grad(f, argnums=tuple(range(len(args)))))


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """A machine that has compiled nothing."""
    monkeypatch.setenv("DIFFENG_CACHE", str(tmp_path))
    monkeypatch.setattr(machine, "_kernels", {})
    families.known.cache_clear()
    monkeypatch.setattr(choice, "_families", set())


@pytest.mark.parametrize("f", SHAPES, ids=lambda f: f.__name__)
def test_another_shape_compiles_nothing(f, alone):
    shapes, *sizes = SHAPES[f]
    made = []
    for each in sizes:
        args, before = arrays(shapes(*each)), kernels.compilations
        checked(f, args, compiled(f, args))
        made.append(kernels.compilations - before)
    assert made[0] > 0 and not any(made[1:]), made


@pytest.mark.parametrize("f", SHAPES, ids=lambda f: f.__name__)
def test_no_sizes_of_others_change_a_result(f, alone, monkeypatch):
    """Whatever was there before, in all orders: planned for it, even where nothing asks for that."""
    monkeypatch.setenv("DIFFENG_CACHE", "off")
    forced = []

    def plans(graph, ahead=False):
        made, inputs, outputs, *how = graph
        family = families.Family(inputs, outputs, type(made).__name__, *how)
        others = [other for there in family.kept() for other in choice._alike(graph, family, there)]
        family.keep()
        forced.append(bool(others))
        return [choice.Plan(*(others[0] if others else (graph, Sizes())))]
    monkeypatch.setattr(choice, "plans", plans)
    shapes, *sizes = SHAPES[f]
    sizes += SPECIAL.get(f, [])
    for turn in range(4):
        families.known.cache_clear()
        for each in orders.Random(turn).sample(sizes, len(sizes)):
            args = arrays(shapes(*each), turn)
            checked(f, args, compiled(f, args))
    assert sum(forced) >= 4


def test_another_process_knows_the_sizes(tmp_path):
    code = ("import sys, numpy as np, diffeng as de; from test_families import *\n"
            "args = arrays(SHAPES[trilinear][0](*map(int, sys.argv[1:])))\n"
            "checked(trilinear, args, compiled(trilinear, args)); print(kernels.compilations)")
    import os
    made = [int(subprocess.run([sys.executable, "-c", code, *map(str, sizes)], cwd=os.path.dirname(__file__), capture_output=True, text=True, check=True,
                               env={**os.environ, "DIFFENG_CACHE": str(tmp_path)}).stdout.split()[-1]) for sizes in SHAPES[trilinear][1:4]]
    assert made[0] > 0 and not any(made[1:]), made


def test_a_damaged_record_is_none(alone, tmp_path):
    x = Tracing().input(None, "x", (3, 4), np.float64)
    family = families.Family([x.node], [np.tanh(x).node])
    family.keep()
    other = families.Family([(y := Tracing().input(None, "x", (5, 1), np.float64)).node], [np.tanh(y).node])
    assert other.key == family.key and other.kept() == [family.sizes]
    (path,) = (tmp_path / families.ROOM).iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    families.known.cache_clear()
    assert other.kept() == []


def test_sums_along_kept_axes_are_a_matter_of_sizes():
    """One shape adds up where another one has one entry, and may have no sum: they are one family, and each is planned as the other, if nothing is lost."""
    def family(shape, axes):
        x = Tracing().input(None, "x", shape, np.float64)
        y = np.tanh(x)
        y = np.add.reduce(y, axis=axes, keepdims=True) if axes else y
        return families.Family([x.node], [np.exp(y[0] if len(shape) > 2 else y).node])
    added, one = family((3, 4), (1,)), family((3, 1), ())
    assert added.key == one.key and added.sizes != one.sizes
    (x,), (out,), *_ = one.alike(added.sizes)
    assert [n.primitive.name for n in reachable([out])] == ["input", "tanh", "sum", "exp"] and [*map(int, out.shape)] == [3, 1] and x.shape[1].like == 4
    assert added.alike(one.sizes) is None                          # four entries cannot be one
    (x,), (out,), *_ = family((3, 1), (1,)).alike(one.sizes)
    assert [n.primitive.name for n in reachable([out])] == ["input", "tanh", "exp"]


def test_first_axes_and_kept_ones_are_added_up_together():
    def family(shape, kept):
        x = Tracing().input(None, "x", shape, np.float64)
        y = np.reshape(np.add.reduce(x, axis=(0, 1), keepdims=True), (1, shape[2])) if kept else np.add.reduce(x, axis=0)
        return families.Family([x.node], [np.exp(y).node])
    added, one = family((5, 3, 4), True), family((5, 1, 4), False)
    assert added.key == one.key
    _, (out,), *_ = one.alike(added.sizes)
    assert [(n.primitive.name, n.params.get("axis")) for n in reachable([out])] == [("input", None), ("sum", (0, 1)), ("reshape", None), ("exp", None)]


def test_a_length_is_what_it_is():
    n, one = length(7, 30), length(1, 30)
    assert type(n) is Length and int(n) == 7 and n != 7 and n == length(7, 30) and not n < 7 and 7 < n < 8 and length(7, 2) != 7
    assert not length(7, 2) < 7 and not length(7, 2) > 7 and rank(length(7, 2)) < rank(7) < rank(n)
    assert one * 8 == length(8, 240) and 8 * n // n == 8 and type(8 * n // n) is int and n - one == length(6, 0) == 6
    assert n % 4 == 3 and [*range(one)] == [0] and np.zeros((n, one)).shape == (7, 1)
