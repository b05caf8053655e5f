"""Sliding windows and strided arrays in programs: read where they lie, no place is looked up, and the same numbers as without a compiler."""
import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided, sliding_window_view

import diffeng as de
from diffeng import kernels
from diffeng.kernels import Program, machine
from diffeng.kernels.choice import plans
from diffeng.nodes import Tracing
from diffeng.recording import record


@pytest.fixture
def random():
    return np.random.default_rng(0)


def convolved(x, w):
    return np.sum(np.tanh(np.einsum("ijkl,kl->ij", sliding_window_view(x, w.shape), w)))


def highest(x, w):
    return np.sum(np.max(sliding_window_view(x, 6, axis=0), axis=-1) @ w)


def hankel(x, w):
    return np.sum((as_strided(np.ravel(x).copy(), (300, 20), (8, 8)) @ np.ravel(w)[:20]) ** 2)


def framed(x, w):
    return np.sum((sliding_window_view(np.ravel(x), 20)[::7, ::-1] * np.ravel(w)[:20]) ** 2)


def written(x, w):
    y = sliding_window_view(x, w.shape)[1:, :, 0].copy()
    y[:, 2:] *= y[:, :-2]
    return np.sum(y * w[0, 0]) + np.sum(np.sort(sliding_window_view(x, 3, axis=1), axis=-1) * [1, 2, 3])


@pytest.mark.parametrize("fun", [convolved, highest, hankel, framed, written])
def test_values_and_derivatives(fun, random):
    x, w = random.normal(size=(40, 30)), random.normal(size=(5, 4))
    if fun is highest:
        w = random.normal(size=(30, 2))
    value, gradients = de.value_and_grad(fun, argnums=(0, 1))(x, w)
    compiled = de.jit(de.value_and_grad(fun, argnums=(0, 1)))
    for _ in range(2):
        again, found = compiled(x, w)
        np.testing.assert_allclose(again, value, rtol=1e-13)
        for g, h in zip(found, gradients):
            np.testing.assert_allclose(g, h, rtol=1e-11, atol=1e-12)
    moved = de.jit(lambda x, w: de.jvp(fun, (x, w), (x, w)))(x, w)[1]
    np.testing.assert_allclose(moved, sum(np.sum(g * y) for g, y in zip(gradients, (x, w))), rtol=1e-10)


@pytest.mark.parametrize("fun", [
    lambda x: np.sum(np.max(sliding_window_view(x, 50), axis=1)),
    lambda x: np.sum(np.max(as_strided(x.copy(), (1900, 50), (8, 8)), axis=1)),
    lambda x: np.sum(np.mean(sliding_window_view(np.reshape(x, (50, 40)), (7, 5)), axis=(2, 3)) ** 2),
    lambda x: np.sum(np.max(x[np.arange(60)[:, None] * 32 + np.arange(64)], axis=1)),
])
def test_windows_are_read_where_they_lie(fun, random):
    x = random.normal(size=2000)
    holder = record(fun, [x])
    program = Program(holder.inputs, holder.outputs)
    plan, *_ = plans((program, holder.inputs, holder.outputs))
    assert "indirect" not in repr([w.key for w in plan.rows])
    np.testing.assert_allclose(program(x)[0], fun(x), rtol=1e-13)


def test_places_that_can_be_changed_are_read_each_time(random):
    x, places = random.normal(size=30), np.arange(10)[:, None] + np.arange(3)
    traced = Tracing().input(None, "x", x.shape, x.dtype)
    program = Program([traced.node], [traced[places].node])
    np.testing.assert_array_equal(program(x)[0], x[places])
    places[:] = places[::-1].copy()
    np.testing.assert_array_equal(program(x)[0], x[places])


def test_one_window_asks_for_no_other_kernels(random, monkeypatch):
    monkeypatch.setenv("DIFFENG_CACHE", "off")                      # what another process compiled would not count here
    monkeypatch.setattr(machine, "_kernels", {})
    made = []
    for n, width in ((11, 4), (40, 9), (5, 5)):
        x, w = random.normal(size=(3, n)), random.normal(size=width)
        f = de.value_and_grad(lambda x, w: np.sum(np.tanh(sliding_window_view(x, w.size, 1) @ w) ** 2), argnums=(0, 1))
        before = kernels.compilations
        found = de.jit(f)(x, w)
        made.append(kernels.compilations - before)
        for a, b in zip(found[1], f(x, w)[1]):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    assert made[0] > 0 and not any(made[1:]), made


def test_a_sum_on_the_way_has_one_order_wherever_the_results_lie():
    """Vectors begin where a cache line of what is written does, but for sums: their order would depend on what memory the allocator had."""
    def f(p, x, y):
        z = y - 0.1 * np.mean(x)
        z = np.concatenate([z[:1], z[1:-1] + 0.1 * (p[2:] - p[:-2]), z[-1:]])
        return np.sum(np.where(p > z, np.sin(p), np.sin(0.5 * z)) + z * z)
    gradient, (p, x, y) = de.jit(de.grad(f, argnums=(0, 1, 2))), np.random.default_rng(0).standard_normal((3, 700))
    results = [gradient(p, x, y) for _ in range(60)]                     # kept: so that each lies somewhere else
    assert len({g.ctypes.data % 64 for g, *_ in results}) > 1
    assert len({tuple([g.tobytes() for g in r]) for r in results}) == 1
