"""Whole programs of kernels: what fuses and is shared, random ones, threads and processes, vectors across short rows."""
import gc
import math
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import scipy.special

import diffeng as de
from diffeng import kernels, rerolling
from diffeng.bench.workloads import WORKLOADS
from diffeng.kernels import choice, families, machine, threads
from diffeng.nodes import Tracing
from test_kernels import agree, close, compiled, random          # noqa: F401


# ---- programs ---------------------------------------------------------------------------------------------------------------------------

def mlp(x, w1, b1, w2, b2):
    return np.tanh(x @ w1 + b1) @ w2 + b2


def attention(x, wq, wk, wv, n_heads=2):
    T, C = x.shape[-2:]
    q, k, v = [np.swapaxes((x @ w).reshape(x.shape[:-1] + (n_heads, C // n_heads)), -2, -3) for w in (wq, wk, wv)]
    s = np.where(np.tri(T, dtype=bool), q @ np.swapaxes(k, -1, -2) / (C // n_heads) ** 0.5, -1e10)
    z = np.exp(s - np.max(s, axis=-1, keepdims=True))
    return np.swapaxes(z / np.sum(z, axis=-1, keepdims=True) @ v, -2, -3).reshape(x.shape)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_mlp_and_attention(random, dtype):
    x, w1, b1, w2, b2 = (random.standard_normal(s).astype(dtype) for s in ((7, 5), (5, 8), (8,), (8, 3), (3,)))
    assert not close(mlp, x, w1, b1, w2, b2).calls
    x, q, k, v = (random.standard_normal(s).astype(dtype) for s in ((3, 6, 8), (8, 8), (8, 8), (8, 8)))
    assert not close(attention, x, q, k, v).calls


@pytest.mark.parametrize("shape, axes", [((40, 3, 3), (2,)), ((9, 5, 2, 6, 2, 8), (2, 4)), ((9, 5, 2, 6, 2, 8), (0, 4)), ((200, 3, 4), (1,)), ((3, 200, 4), (2,)),
                                         ((5, 30, 7, 3), (0, 3)), ((2, 3, 150, 2, 2), (1, 3))])
def test_short_rows_of_several_axes(random, shape, axes):
    """Whichever axis runs fastest: sums, what is read along some axes only, what lies turned, sums over rows."""
    x = random.integers(-9, 10, shape).astype(float)
    kept = random.integers(-9, 10, [1 if k in axes else n for k, n in enumerate(shape)]).astype(float)

    def f(x, kept):
        top = np.max(x, axis=axes, keepdims=True)
        y = np.where(x == top, x * kept, x - 1.0)
        return top, y, np.sum(y, axis=axes), np.sum(y, axis=0), np.sum(x.T * x.T, axis=0), np.concatenate([y, x], axis=-1)
    for got, want in zip(compiled(f, x, kept)(x, kept), f(x, kept), strict=True):
        np.testing.assert_array_equal(got, want)


def test_nothing_is_stale(random):
    x, w = random.standard_normal((4, 3)), random.standard_normal((3, 2))
    program = compiled(lambda x, w: (np.tanh(x @ w) * 2.0, np.argsort(x, axis=0) + 1.0, x), x, w)
    first = program(x, w)
    kept = [o.copy() for o in first]
    for _ in range(3):
        x, w = random.standard_normal((4, 3)), random.standard_normal((3, 2))
        y, c, same = program(x, w)
        assert np.allclose(y, np.tanh(x @ w) * 2) and np.allclose(c, np.argsort(x, axis=0) + 1) and np.array_equal(same, x)
    assert all(np.array_equal(a, b) for a, b in zip(first, kept))                      # results belong to the user


def test_outputs_are_fresh(random):
    x = random.standard_normal((3, 4))
    held = np.arange(3.0)
    program = compiled(lambda x: (x, x.T, x * 2, x * 2, np.sum(x), 3.5, held, x + held[:, None]), x)
    out = program(x)
    again = program(x)
    for a, b in zip(out, again):
        assert np.array_equal(a, b) and not np.shares_memory(a, b) and not np.shares_memory(a, x) and not np.shares_memory(a, held)
        a[...] = 0
    assert np.array_equal(again[1], x.T) and held[1] == 1
    y = Tracing().input(x, "x")
    node = (y * 2.0).node
    a, b, c = kernels.Program([y.node], [node, node, np.transpose(y).node])(x)
    assert np.array_equal(a, b) and not np.shares_memory(a, b) and np.array_equal(c, x.T)


def test_wrong_arguments(random):
    program = compiled(lambda x, y: x + y, np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match=r"input 'x0' has the shape \(4,\) where the program was built for \(3,\)"):
        program(np.ones(4), np.ones(3))
    with pytest.raises(TypeError, match="input 'x1' is float32 where the program was built for float64"):
        program(np.ones(3), np.ones(3, np.float32))
    with pytest.raises(TypeError, match="takes 2 arrays"):
        program(np.ones(3))
    x, y = (Tracing().input(np.ones(3), n) for n in "xy")
    with pytest.raises(ValueError, match="the input 'x', which is not among"):
        kernels.Program([y.node], [(x * 2.0).node])


def test_another_shape_compiles_nothing(random, monkeypatch):
    monkeypatch.setenv("DIFFENG_CACHE", "off")                     # what another process compiled would not count here
    monkeypatch.setattr(machine, "_kernels", {})
    def build(n, m, c):
        x, w = random.standard_normal((n, m)), random.standard_normal((m, m))
        return close(lambda x, w: np.sum(np.tanh(x @ w + c) * x / np.sum(x * x + c, axis=1, keepdims=True), axis=0), x, w)
    build(4, 9, 0.5)
    before = kernels.compilations
    build(7, 13, 0.25)
    build(30, 11, 4.0)
    assert kernels.compilations == before and isinstance(before, int) and before > 0


SIZES = {
    "rosenbrock-2": [dict(n=n) for n in (2, 3, 5, 16, 100, 128, 100_000)], "chain-10000": [dict(n=n) for n in (1, 4, 10, 64, 100_000)],
    "logistic": [dict(n=n, d=d) for n, d in ((1, 3), (5, 3), (50, 10), (64, 16))], "heat": [dict(n=n, steps=6) for n in (6, 10, 64, 1000, 5000)],
    "mlp": [dict(batch=batch, widths=widths) for batch, widths in ((1, (5, 7, 6, 3)), (3, (2, 4, 3, 2)), (8, (5, 7, 6, 3)), (16, (32, 64, 64, 10)), (100, (30, 60, 60, 10)),
                                                                   (129, (30, 60, 60, 10)), (4000, (30, 60, 70, 20)))],
    "mixture": [dict(n=n, d=d, k=k) for n, d, k in ((20, 10, 5), (100, 10, 5), (1000, 10, 25))],
    "bundle": [dict(cameras=cameras, points=points, observations=n) for cameras, points, n in ((2, 3, 5), (5, 20, 50), (20, 300, 4000))],
    "lstm": [dict(steps=3, batch=batch, inputs=inputs, hidden=hidden) for batch, inputs, hidden in ((1, 2, 3), (2, 2, 3), (4, 8, 16), (16, 32, 64), (32, 32, 64), (100, 30, 50))],
    "block-2x8x16x2": [dict(zip(("batch", "context", "width", "heads"), sizes)) for sizes in ((1, 8, 16, 2), (2, 8, 16, 2), (2, 4, 16, 2), (3, 8, 16, 2), (2, 64, 32, 4), (8, 64, 128, 4),
                                                                                                        (8, 256, 128, 4))]}


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("name", SIZES)
def test_another_size_compiles_nothing(name, step, monkeypatch):
    """From a few entries to what several threads share and what is larger than the cache, a power of two or not; and back."""
    monkeypatch.setenv("DIFFENG_CACHE", "off")
    monkeypatch.setattr(machine, "_kernels", {})
    made = []
    for sizes in SIZES[name][::step]:
        problem, before = WORKLOADS[name].problem(sizes), kernels.compilations
        de.jit(de.value_and_grad(problem.bound(), argnums=problem.argnums))(*problem.parameters, *problem.data)
        made.append(kernels.compilations - before)
    assert made[0] > 0 and not any(made[1:]), made


def stencil(x, w):
    parts = [x[i:x.shape[0] - 2 + i, j:x.shape[1] - 2 + j] * w[i, j] for i in range(3) for j in range(3)]
    return np.sum(np.tanh(sum(parts[1:], start=parts[0])))


def recurrent(x, w):
    h = np.zeros_like(x[0])
    for t in range(len(x)):
        h = np.tanh(h @ w + x[t])
    return np.sum(h * h)


SHAPES = {
    "softmax": (lambda x: np.sum(np.square(np.exp(x - np.max(x, 1, keepdims=True)) / np.sum(np.exp(x - np.max(x, 1, keepdims=True)), 1, keepdims=True))),
                [((n, m),) for n, m in ((64, 100), (64, 10), (300, 3), (7, 1000))]),
    "middle": (lambda x: np.sum(np.sin((x - np.mean(x, 1, keepdims=True)) / np.sqrt(np.mean(x * x, 1, keepdims=True) + 1))),
               [((n, m, k),) for n, m, k in ((100, 50, 64), (2, 30, 3), (16, 100, 2))]),
    "stencil": (stencil, [((n, m), (3, 3)) for n, m in ((28, 64), (5, 6), (10, 12), (100, 90))]),
    "recurrent": (recurrent, [((8, n, m), (m, m)) for n, m in ((8, 16), (300, 12), (4, 3), (100, 50))]),
}


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("name", SHAPES)
def test_short_lengths_and_others(name, step, random, monkeypatch):
    """What was compiled for any length does for short ones that are met later, too."""
    monkeypatch.setenv("DIFFENG_CACHE", "off")
    monkeypatch.setattr(machine, "_kernels", {})
    made, (f, shapes) = [], SHAPES[name]
    for shape in shapes[::step]:
        args, before = [random.normal(size=s) / 2 for s in shape], kernels.compilations
        argnums = tuple(range(len(args)))
        got, want = de.jit(de.value_and_grad(f, argnums=argnums))(*args), de.value_and_grad(f, argnums=argnums)(*args)
        for a, b in zip((got[0], *got[1]), (want[0], *want[1])):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11)
        made.append(kernels.compilations - before)
    assert made[0] > 0 and not any(made[1:]), made


@pytest.mark.parametrize("n, m, k", [(3, 0, 2), (0, 4, 2), (3, 4, 0), (1, 4, 2), (3, 1, 2), (3, 4, 1), (3, 4, 5)])
@pytest.mark.parametrize("f", [
    lambda x, y, s: np.transpose(np.sin(x @ y) * s), lambda x, y, s: np.transpose(np.sin(x @ y) * s[None, :] + np.sum(s)),
    lambda x, y, s: (x * 2) @ (np.exp(np.transpose(np.transpose(y) + 1)) * s), lambda x, y, s: np.transpose(np.where(x @ y > 0, x @ y, s)),
    lambda x, y, s: (x @ np.transpose(y)[:, :, None])[..., 0], lambda x, y, s: np.transpose((x @ np.transpose(y)[:, :, None])[..., 0] * 3)])
def test_products_and_what_is_made_of_them_in_another_order(f, n, m, k, random):
    """With axes of one entry, and of none."""
    x, y, s = random.normal(size=(n, k)), random.normal(size=(k, m)), random.normal(size=m)
    got, want = de.jit(f)(x, y, s), f(x, y, s)
    assert got.shape == want.shape and got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


def test_llvm_begins_with_a_long_kernel_while_the_rest_is_planned(random, monkeypatch):
    """With one for each other thread, that nobody has made yet; and what it has begun with is not made twice."""
    begun, begin = [], machine.begin
    monkeypatch.setenv("DIFFENG_CACHE", "off")
    monkeypatch.setattr(machine, "_kernels", {})
    monkeypatch.setattr(machine, "begin", lambda key, build, quick=False: quick or begun.append(key) or begin(key, build))
    x = random.normal(size=(4, 50))

    def f(x):
        u = np.cumsum(np.exp(np.sin(x)) * np.tanh(x) + np.cosh(x) * np.arctan(x) - np.expm1(x) / np.log1p(x * x), axis=0)
        return np.sum(np.sinh(u) * np.tanh(u) / (1.0 + np.exp(np.cos(u) * u) * np.sqrt(1.0 + u * u)), axis=1)
    monkeypatch.setattr(choice, "LONG", 300)
    for count, expected in (1, 0), (2, 1):
        monkeypatch.setattr(threads, "count", lambda: count)
        machine._kernels.clear()
        before = kernels.compilations
        for _ in range(2):
            close(f, x)
            assert len(begun) == expected and kernels.compilations - before == len(machine._kernels) > 1
    machine._kernels.clear()
    families.known.cache_clear()
    close(f, x[:, :5])                         # of short rows there are two plans, and the kernel may belong to that which is not taken
    assert len(begun) == expected
    machine._kernels.clear()
    for shape in ((4, 50), (1, 50)):           # nor where an axis is 1 long
        families.known.cache_clear()
        close(f, random.normal(size=shape))
        assert len(begun) == expected + 1


def test_equal_layers_share_kernels(random):
    x, b = random.standard_normal((4, 8)), random.standard_normal(8)
    w = random.standard_normal((8, 8)) / 3

    def layers(n):
        def f(x, w, b):
            for _ in range(n):
                x = np.tanh(x @ w + b) * 1.5 + x
            return x
        return f
    close(layers(2), x, w, b)
    before = kernels.compilations
    close(layers(12), x, w, b)
    assert kernels.compilations == before


def test_chains_become_one_loop(random):
    x, y = random.standard_normal((2, 50, 20))
    program = agree(lambda x, y: np.where(x > 0, np.exp(-x * x) * y, np.sin(y)) / (1.0 + x * x), x, y)
    assert program.kernels == 1


def test_a_mean_is_summed_where_its_terms_are(random):
    # The differences end the loop of the sines, which the sum of squares has joined: nobody reads the mean before the end.
    def f(x):
        d = np.sin(x)
        return np.mean(d * d), d[1:] - d[:-1]
    x = random.standard_normal(1000)
    close(f, x)
    assert compiled(f, x).kernels == 3


def test_groups_in_a_cycle_are_not_fused(random):
    # c reads a (its own shape) and the sum, which reads a: a and c in one loop would need the sum before it exists.
    x = random.standard_normal((5, 6))
    close(lambda x: np.exp(x) / np.sum(np.exp(x), axis=1, keepdims=True) + np.cos(x), x)

    def f(x):
        a, b = np.exp(x), np.sin(x)
        c = a * np.sum(b)
        return c + b * np.sum(a), a + b.T.reshape(5, 6), np.concatenate([a, c], axis=1) * np.max(b)
    close(f, x)


def recipe(random, n):
    """A random function of x and y: steps of every kind on whatever is there."""
    steps = random.integers(0, 1 << 30, (n, 4)).tolist()

    def function(x, y):
        pool = [x, y, np.sum(x, axis=0)]
        for kind, a, b, c in steps:
            u, w, k = pool[a % len(pool)], pool[b % len(pool)], kind % 15
            axis = c % max(u.ndim, 1)
            if k < 5 and u.shape == w.shape:
                out = (u + w, u * w * 0.5, np.maximum(u, w), u - 2.0 * w, np.concatenate([u, w], axis=axis) if u.ndim else u * w)[k]
            elif u.ndim == 0:
                out = np.tanh(u) * pool[b % len(pool)]
            elif k == 5:
                out = np.sum(u, axis=axis, keepdims=bool(c & 8)) * 0.25
            elif k == 6:
                out = np.swapaxes(u, 0, -1)
            elif k == 7:
                out = u.reshape(u.shape[1:] + u.shape[:1])
            elif k == 8:
                out = u[1:] if u.shape[0] > 1 else u[::-1]
            elif k == 9 and u.ndim == 2:
                out = u @ u.T * 0.2
            elif k == 10:
                out = u[np.array([0, -1, c % u.shape[0]])]
            elif k == 11:
                out = u.copy()
                out[0] = 1.5
                out[-1] += u[0]
            elif k == 12:
                out = np.max(u, axis=axis)
            elif k == 13:
                out = np.cumsum(u, axis=axis) * 0.1
            else:
                out = np.where(u > 0, u, 0.1 * u)
            if out.ndim < 4 and out.size < 2000:
                pool.append(out)
        return pool[-6:] + pool[3:5]
    return function


@pytest.mark.parametrize("seed", range(8))
def test_random_programs(seed):
    random = np.random.default_rng(seed)
    x, y = random.standard_normal((2, *random.integers(1, 6, 2)))
    close(recipe(random, int(random.integers(5, 40))), x, y)


def test_axes_of_length_one_are_one_group(random):
    x = random.standard_normal((3, 1))
    program = agree(lambda x: np.cos(np.reshape(np.sin(x), (3, 1))[:, :, None][..., 0] * 2.0), x)
    assert program.kernels == 1
    agree(lambda x: np.cos(np.transpose(np.sin(x[:1]))) + np.sin(x[:1]), x)


def test_very_many_scalars(random):
    def f(x):
        for k in range(3000):
            x = x * 0.999 + (k % 7)
        return x
    x = np.array(1.5)
    before = kernels.compilations
    agree(f, x, ulp=16)
    assert kernels.compilations - before < 12


def test_symbols_without_values(random):
    x = random.standard_normal((3, 4))
    agree(lambda x: np.sum(np.exp(x) @ x.T, axis=0), x, ulp=20, program=compiled(lambda x: np.sum(np.exp(x) @ x.T, axis=0), x, values=False))


def test_the_same_bits_every_time(random):
    x, w = random.standard_normal((700, 300)), random.standard_normal((300, 300))
    program = compiled(lambda x, w: np.sum(np.exp(np.tanh(x @ w)), axis=0) * np.mean(x), x, w)
    first = program(x, w)[0]
    assert all(np.array_equal(program(x, w)[0], first) for _ in range(5))


def test_parallel_and_serial_are_the_same(random, monkeypatch):
    x = random.standard_normal((900, 700))
    f = (lambda x: (np.tanh(x) * x, np.sum(x, axis=0), np.var(x, axis=1), (np.exp(x.T) + x[:700].T[:, :1]), np.max(x.reshape(30, 30, 700), axis=1)))
    monkeypatch.setenv("DIFFENG_THREADS", "1")
    serial = compiled(f, x)
    one = serial(x)
    monkeypatch.setenv("DIFFENG_THREADS", "3")
    assert all(np.array_equal(a, b) for a, b in zip(one, compiled(f, x)(x)))


def test_threads(random):
    x = random.standard_normal((400, 400))
    program, out = compiled(lambda x: np.tanh(x @ x) + np.sum(x, axis=0), x), {}
    inputs = [x + k for k in range(4)]
    want = [program(i)[0] for i in inputs]

    def work(k):
        out[k] = all(np.array_equal(program(inputs[k])[0], want[k]) for _ in range(5))
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert out == dict.fromkeys(range(4), True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_fork():
    code = """
import os, numpy as np
from diffeng import kernels, rerolling
from diffeng.nodes import Tracing
x = np.linspace(0, 1, 600_000)
t = Tracing().input(x, "x")
program = kernels.Program([t.node], [np.tanh(t).node])
program(x)
pid = os.fork()
if not pid:
    os._exit(0 if np.allclose(program(x)[0], np.tanh(x)) else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    child = subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", code], env={**os.environ, "DIFFENG_THREADS": "2"}, timeout=60)
    assert child.returncode == 0


def test_import_without_numba():
    code = "import sys, diffeng.kernels as k; assert k.compilations == 0 and 'numba' not in sys.modules and 'scipy' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_special_functions_are_scipys(random):
    x = random.uniform(-6, 6, 400)
    agree(lambda x: (scipy.special.expit(x), scipy.special.log_expit(x), scipy.special.erf(x)), x)
    agree(lambda x: scipy.special.xlogy(x * x, np.abs(x)), x)


def test_an_error_in_numpy_names_the_primitive():
    bad = de.nodes.Primitive("test_kernels_bad", lambda x: np.linalg.cholesky(x), "opaque", infer=lambda x: (x.shape, x.dtype))
    try:
        program = compiled(lambda x: bad(x), np.eye(2), values=False)
        assert program.calls == ["test_kernels_bad"] and np.array_equal(program(np.eye(2))[0], np.eye(2))
        with pytest.raises(ValueError, match="test_kernels_bad"):
            program(np.array([[1.0, 2.0], [2.0, 1.0]]))
    finally:
        del de.nodes.Primitive.registry["test_kernels_bad"]


def test_a_number_that_many_entries_need_does_not_make_them_one_row():
    """One row would be one thread's work."""
    program = compiled(lambda x, s: x * (s * 2.0 + 1.0), np.ones((64, 1024)), np.array(3.0))
    assert program.kernels == 2
    assert np.array_equal(program(np.ones((64, 1024)), np.array(3.0))[0], np.full((64, 1024), 7.0))
    assert compiled(lambda x, s: x * (s * 2.0 + 1.0), np.ones(8), np.array(3.0)).kernels == 2              # however few they are: another shape compiles nothing


# ---- vectors across short rows ---------------------------------------------------------------------------------------------------------

def _points(x, w, at):
    """Short rows in every role: read, made of columns, summed, divided by what is one a row, gathered, cut and put together again."""
    y = x[at] * w - np.mean(x, axis=0)
    z = y / np.sqrt(1.0 + np.sum(y * y, axis=-1))[..., None]
    top = np.max(z, axis=-1, keepdims=True)
    soft = np.exp(z - top) / np.sum(np.exp(z - top), axis=-1, keepdims=True)
    return np.sum(z[..., 0] * z[..., -1]) + np.sum(z[..., :-1] ** 2 * soft[..., 1:]) + np.sum((soft @ w.T) ** 2) + np.sum(np.sum(x, axis=-2) ** 3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(300, 3), (2, 150, 3), (129, 11), (4, 200, 11), (130, 16)])
def test_short_rows(shape, dtype):
    random = np.random.default_rng(0)
    x = random.normal(size=shape).astype(dtype)
    w, at = random.normal(size=(1, shape[-1])).astype(dtype), random.integers(shape[0], size=shape[0])
    derivative = de.value_and_grad(_points, argnums=(0, 1))
    value, gradients = derivative(x.astype(float), w.astype(float), at)
    program = de.jit(derivative)
    first, second = program(x, w, at), program(x, w, at)
    assert any("'across'" in key for key in machine._kernels)
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    np.testing.assert_allclose(first[0], value, rtol=tolerance)
    for a, b, c in zip(first[1], second[1], gradients):
        assert a.dtype == dtype and np.array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=0, atol=tolerance * np.max(np.abs(c)))


def test_short_rows_of_another_length_compile_nothing():
    f = de.jit(de.value_and_grad(lambda x: np.sum(np.sqrt(1.0 + np.sum(x * x, axis=1)) * x[:, 0])))
    f(np.ones((300, 3)))
    before = machine.compilations
    f(np.ones((500, 4)))
    assert machine.compilations == before


@pytest.mark.parametrize("shape", [(3, 50, 8), (2, 1000, 10), (5, 7, 300)])
def test_sums_over_a_middle_axis(shape):
    x = np.random.default_rng(0).normal(size=shape)
    sums = de.jit(lambda x: (np.sum(x, axis=1), np.max(np.exp(x), axis=1), np.mean(x * x, axis=1)))(x)
    for a, b in zip(sums, (np.sum(x, axis=1), np.max(np.exp(x), axis=1), np.mean(x * x, axis=1))):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_planning_leaves_no_cycles(random):
    """What is planned is gone before the garbage collector, which stands still meanwhile, starts again."""
    x = Tracing().input(None, "x", (40, 50), np.float64)
    steps = x
    for _ in range(20):
        steps = steps + np.sum(np.sin(steps[1:] - steps[:-1]), axis=0)
    steps = (steps.node,)
    kernels.Program([x.node], steps)                  # its kernels are compiled: what writes LLVM's IR has cycles
    gc.collect()
    try:
        gc.disable()
        kernels.Program([x.node], steps)
        assert gc.collect() < 50
    finally:
        gc.enable()


def test_a_large_graph_of_a_new_kind_is_planned_once(random, monkeypatch, tmp_path):
    """Though some of its kernels are there; another shape, whose own plan needs a new one, takes a plan that needs none."""
    monkeypatch.setenv("DIFFENG_CACHE", str(tmp_path))
    monkeypatch.setattr(machine, "_kernels", {})
    monkeypatch.setattr(choice, "_families", set())
    monkeypatch.setattr(rerolling, "LEAST", math.inf)            # which would make a small one of it
    made, plan = [], choice.Plan
    monkeypatch.setattr(choice, "Plan", lambda *graph: made.append(graph) or plan(*graph))

    def steps(count):
        def f(u, k):
            for _ in range(count):
                u = np.concatenate([u[:1], u[1:-1] + k * (u[2:] - 2 * u[1:-1] + u[:-2]), u[-1:]])
            return np.sum(u * u)
        return de.jit(de.grad(f, (0, 1)))
    de.jit(lambda x: np.concatenate([x[:1], x]))(random.normal(size=5))
    for n, count in (1000, 1), (3000, 2):                    # one vector of 1000 is made in the place of another one
        made.clear()
        before, (u, k) = kernels.compilations, (random.normal(size=n), random.normal(size=n - 2) * 0.1)
        steps(70)(u, k)
        assert len(made) == count and (kernels.compilations > before) == (n == 1000)
