"""jit gives what the function gives: for every expression, branch and captured value, from any thread; and tells nothing wrong. Its arguments: test_compiled_arguments.py."""
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import diffeng as de
from diffeng import kernels
from diffeng.nodes import Primitive
from expressions_numpy import EXPRESSIONS, X

rng = np.random.default_rng(4)
SCALE = np.array([1.0, 2.0, 3.0])
FACTOR = 2.0


@pytest.mark.parametrize("block", range(8))
def test_value_and_gradient_of_every_expression(block):
    for name, f in EXPRESSIONS[block::8]:
        weights = np.random.default_rng(len(name)).uniform(0.5, 1.5, np.shape(f(X.copy())))

        def scalar(x):
            return np.sum(np.asarray(f(x)) * weights)

        compiled = de.jit(de.value_and_grad(scalar))
        for x in (X, X * 1.01):
            value, gradient = compiled(x)
            plain_value, plain_gradient = de.value_and_grad(scalar)(x)
            assert type(value) is np.float64 and gradient.shape == x.shape, name
            np.testing.assert_allclose(value, plain_value, rtol=1e-13, err_msg=name)
            np.testing.assert_allclose(gradient, plain_gradient, rtol=1e-11, atol=1e-12 * np.abs(plain_gradient).max(), err_msg=name)


def test_branches_are_guarded():
    @de.jit
    def f(x):
        if x > 0:
            return x * 2
        k = 0
        while x < 0:
            x, k = x + 1.5, k + 1
        return x * k

    for x in (1.0, 2.0, -1.0, -2.0, -5.0, 1.0, -2.0):
        assert f(x) == f.__wrapped__(x)
    assert f.traces == 4                         # positive, and one, two and four steps


def test_too_many_branches_name_the_line():
    @de.jit
    def f(x):
        return x * float(int(x))

    with pytest.raises(RuntimeError, match=r"recorded 64 times.*varies at test_compiled.py:\d+"):
        for k in range(80):
            f(k + 0.5)


def test_captured_values_are_read_or_guarded():
    data, factor, table = np.array([1.0, 2.0, 3.0]), 2.0, [1.0, 2.0]

    @de.jit
    def f(x):
        return np.sum(np.exp(data) * x) * factor + table[0] + np.sum(SCALE) * FACTOR

    x = np.ones(3)
    first = f(x)
    assert first == pytest.approx(f.__wrapped__(x))
    data[0] = 5.0                                   # in place: derived values such as exp(data) follow
    assert f(x) == pytest.approx(f.__wrapped__(x)) and f.traces == 1
    data = np.array([0.5, 0.5, 0.5])                  # bound anew
    assert f(x) == pytest.approx(f.__wrapped__(x)) and f.traces == 1
    SCALE[0] += 1.0
    assert f(x) == pytest.approx(f.__wrapped__(x)) and f.traces == 1
    factor = 3.0
    assert f(x) == pytest.approx(f.__wrapped__(x)) and f.traces == 2
    table[0] = 7.0
    assert f(x) == pytest.approx(f.__wrapped__(x)) and f.traces == 3
    data = np.full((4, 3), 0.1)                          # another shape
    assert f(x) == pytest.approx(f.__wrapped__(x))
    assert first != f(x)


def helper(x):
    return x * SCALE


def test_captured_through_other_functions_and_gradients():
    gradient = de.jit(de.grad(lambda x: np.sum(helper(x) ** 2)))
    x = np.ones(3)
    np.testing.assert_allclose(gradient(x), 2 * SCALE ** 2)
    SCALE[1] = 7.0
    np.testing.assert_allclose(gradient(x), 2 * SCALE ** 2)
    assert gradient.traces == 1 and helper.__globals__["SCALE"] is SCALE and type(SCALE) is np.ndarray


def test_results_belong_to_the_caller():
    f = de.jit(lambda x: (x, x.T, x * 1.0))
    x = np.arange(6.0).reshape(2, 3)
    a, b, c = f(x)
    kept = a.copy(), b.copy(), c.copy()
    f(x * 2)
    x[:] = 0
    for now, before in zip((a, b, c), kept):
        np.testing.assert_array_equal(now, before)
    a[0, 0] = 9.0
    assert x[0, 0] == 0 and b[0, 0] == 0


def test_inside_and_outside_of_other_transformations():
    f = de.jit(lambda x: np.sum(np.sin(x) * x))
    x = np.array([0.3, 0.4])
    np.testing.assert_allclose(de.grad(f)(x), np.sin(x) + x * np.cos(x))
    np.testing.assert_allclose(de.jit(de.hessian(f))(x), np.diag(2 * np.cos(x) - x * np.sin(x)), atol=1e-14)
    np.testing.assert_allclose(de.jit(lambda x, v: de.jvp(f, (x,), (v,))[1])(x, x), np.sum((np.sin(x) + x * np.cos(x)) * x))
    np.testing.assert_allclose(de.jit(de.jacobian(lambda x: np.tanh(x)))(x), np.diag(1 - np.tanh(x) ** 2))
    assert de.compare(f, x).agree


def test_another_shape_compiles_nothing():
    f = de.jit(de.value_and_grad(lambda x, y: np.sum(np.tanh(x @ y) ** 2)))
    f(rng.normal(size=(3, 4)), rng.normal(size=(4, 5)))
    before = kernels.compilations
    x, y = rng.normal(size=(7, 2)), rng.normal(size=(2, 3))
    np.testing.assert_allclose(f(x, y)[1], de.grad(lambda x, y: np.sum(np.tanh(x @ y) ** 2))(x, y))
    assert kernels.compilations == before and f.traces == 2


def test_several_threads_share_one():
    f = de.jit(de.grad(lambda x: np.sum(np.sin(x) ** 2)))
    wrong = []

    def work(k):
        x = np.full(1000, k / 10)
        for _ in range(50):
            if not np.allclose(f(x), np.sin(2 * x)):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong and f.traces == 1


def test_without_waiting_the_answer_is_there_at_once():
    import time
    f = de.jit(lambda x: np.sum(np.exp(x) * 3), wait=False)
    assert f(1.0) == pytest.approx(3 * np.e)
    for _ in range(400):
        if f.traces:
            break
        time.sleep(0.05)
    assert f.traces == 1 and f(1.0) == pytest.approx(3 * np.e)


@pytest.mark.parametrize("call,error,text", [
    (lambda: de.jit(lambda x: x, device="tpu"), ValueError, "there are 'cpu' and 'cuda'"), (lambda: de.jit(3), TypeError, "needs a function"),
    (lambda: de.jit(lambda x: x @ np.ones(4))(np.ones(3)), ValueError, r"matmul at test_compiled.py:\d+"),
    (lambda: de.jit(lambda x: None)(1.0), TypeError, "return missing"),
])
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_what_is_large_is_not_computed_while_it_is_recorded(monkeypatch):
    """A first call takes the time and the memory of the program, not of the function in NumPy; what Python looks at is computed all the same."""
    sin, sizes = Primitive.registry["sin"], []
    original = sin.evaluate
    monkeypatch.setattr(sin, "evaluate", lambda x: sizes.append(np.size(x)) or original(x))
    x = np.linspace(0, 1, 10001)
    f = de.jit(de.value_and_grad(lambda x: np.sum(np.sin(x) * x)))
    assert np.isclose(f(x)[0], np.sum(np.sin(x) * x)) and max(sizes, default=1) == 1
    g = de.jit(lambda x: np.sin(x) * (2 if np.sum(np.sin(x)) > 0 else 3))
    assert np.allclose(g(x), np.sin(x) * 2, 1e-14) and np.allclose(g(-x), np.sin(-x) * 3, 1e-14) and g.traces == 2 and max(sizes) == x.size
    first = de.jit(lambda x, i: np.sum(x[i]))(np.ones((1, 3)), np.zeros(5000, int))
    assert first == 15000
    masked = de.jit(de.grad(lambda x: np.sum(np.sin(x[x > 0.5]))))
    np.testing.assert_allclose(masked(x), np.where(x > 0.5, np.cos(x), 0), rtol=1e-14)


@pytest.mark.parametrize("fun", [lambda x: x + np.ones(5), lambda x: np.reshape(x, (3, 3)), lambda x: x @ np.ones((7, 2)), lambda x: np.sum(x, axis=2),
                                 lambda x: np.einsum("ij,ij->i", x, x)])
def test_errors_in_what_is_not_computed_name_the_line(fun):
    with pytest.raises(ValueError, match=r"test_compiled\.py:\d+"):
        de.jit(fun)(np.ones(10000))


def test_a_loop_that_looks_goes_on_from_what_it_has_seen(monkeypatch):
    """A look computes what is new since the last one, not everything before it."""
    sin, calls = Primitive.registry["sin"], []
    original = sin.evaluate

    def solve(x):
        for _ in range(12):
            x = np.sin(x)
            if np.max(x) < 0:
                break
        return x
    monkeypatch.setattr(sin, "evaluate", lambda x: calls.append(np.size(x)) or original(x))
    de.jit(solve)(np.linspace(0, 1, 10001))
    assert sum(n > 1 for n in calls) == 12


def test_python_saw_the_sign_of_a_zero():
    import math
    f = de.jit(lambda x: x * math.copysign(2.0, float(x[0])))
    for first in (0.0, -0.0, 0.0, 1.0, -1.0):
        np.testing.assert_array_equal(f(np.array([first, 1.0])), np.array([first, 1.0]) * math.copysign(2.0, first))


def test_a_factor_made_inside_and_still_plain_is_written_in_place_after_an_inner_derivative():
    def f(x):
        factor, out = np.zeros(4), np.cos(x)
        out[1:3] *= np.tanh(factor[1:3] + 1.0)
        return np.sum(out ** 2)
    x = np.arange(4.0)
    np.testing.assert_allclose(de.jit(lambda x: de.grad(f)(x) + f(x))(x), de.grad(f)(x) + f(x))


CHANGES = {"shape": lambda r: setattr(r, "shape", (2, -1)), "dtype": lambda r: setattr(r, "dtype", np.int64), "read-only": lambda r: r.setflags(write=False),
           "size": lambda r: r.resize(10, refcheck=False)}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_result_that_was_changed_and_let_go_is_not_used_again(name):
    """Large results are written where earlier ones lay that nobody holds; not where those have become other arrays."""
    f, x = de.jit(lambda x: x * 3), np.ones(200_000)
    for _ in range(4):
        r = f(x)
        assert r.shape == x.shape and r.dtype == x.dtype and r.flags.carray and np.all(r == 3)
        CHANGES[name](r)
        del r


def test_what_cannot_be_compiled_behind_is_told_at_a_later_call():
    seen = []

    def f(x):
        seen.append(len(seen))
        return x * 2
    g, x = de.jit(f, wait=False), np.ones(3)
    with pytest.raises(RuntimeError, match="jit: f changes"):
        for _ in range(400):
            np.testing.assert_array_equal(g(x), 2 * x)
            time.sleep(0.01)


def test_assignment_by_a_mask_is_a_choice_for_any_mask():
    def f(x):
        y, z = x * 1, np.zeros(x.shape)
        y[x < 0] = 0.0
        z[x > 0.5] = x[0, 0]
        y[x[:, 0] > 1] = x[1]
        np.putmask(z, x > 1, x ** 2)
        return y * z
    compiled, random = de.jit(f), np.random.default_rng(0)
    for _ in range(70):                                        # more than there may be recordings
        x = random.normal(size=(3, 4))
        np.testing.assert_allclose(compiled(x), f(x), rtol=1e-15)


TABLE = np.array([0.2, 0.5, 0.7, 0.71, 1.3])


@pytest.mark.parametrize("f", [
    lambda x: np.interp(x, TABLE, TABLE ** 2, left=9.0), lambda x: np.interp(x, np.cumsum(x[0]), x[1], period=0.8), lambda x: x * np.searchsorted(TABLE, x),
    lambda x: x * np.searchsorted(x[0], x, "right", sorter=np.argsort(x[0])), lambda x: x * np.digitize(x, TABLE[::-1], right=True), lambda x: x * np.isin(x, x[0]),
    lambda x: np.choose((2 * x).astype(int) % 3, [x, x ** 2, 5.0]), lambda x: np.choose(x > 0.7, [x, 2 * x], mode="clip"), lambda x: np.unwrap(11 * x), lambda x: np.sort(np.partition(x, 2, axis=1)[:, :2]), lambda x: np.sort(np.take_along_axis(x, np.argpartition(x, 1, axis=0)[:2], 0)),
    lambda x: np.quantile(x[0], x[1] / 2), lambda x: np.nanquantile(np.where(x == x[1, 1], np.nan, x), 0.3, axis=1)])
def test_places_that_depend_on_values_are_computed_for_any(f):
    compiled, gradient, random = de.jit(f), de.jit(de.grad(lambda x: np.sum(f(x) ** 2))), np.random.default_rng(0)
    batch = np.stack([random.uniform(0, 1.6, (3, 4)) for _ in range(70)])                          # more than there may be recordings
    want = np.stack([f(x) for x in batch])
    np.testing.assert_allclose([compiled(x) for x in batch], want, rtol=1e-13)
    np.testing.assert_allclose(de.vmap(f)(batch), want, rtol=1e-13)
    np.testing.assert_allclose(de.trace(f, batch[0])(batch[1]), want[1], rtol=1e-13)
    for x in batch[:3]:
        np.testing.assert_allclose(gradient(x), de.grad(lambda x: np.sum(f(x) ** 2), method="forward")(x), rtol=1e-12, atol=1e-14)


def test_sorted_places_are_numpys():
    values = np.array([0.2, 0.5, np.nan, np.inf, -np.inf, 2.0, 0.71])
    for row in (TABLE, TABLE[:1], TABLE[:0], np.array([0.2, 0.2, 0.5, np.inf, np.nan, np.nan]), np.arange(7)):
        for v in (values, values.astype(np.float32), np.array([[1, 2], [0, 9]])):
            for side in ("left", "right"):
                found = de.jit(lambda v: np.searchsorted(row, v, side))(v)
                assert found.dtype == np.intp and np.array_equal(found, np.searchsorted(row, v, side))


FORKED = """
import gc, os, sys, threading
import numpy as np
import diffeng as de
begun, go, here = threading.Event(), threading.Event(), threading.get_ident()
def f(x):
    if threading.get_ident() != here:
        begun.set()
        go.wait()
    return np.sin(x)
g, x = de.jit(f, wait="wait" in sys.argv), np.ones(3)
if "wait" in sys.argv:
    threading.Thread(target=g, args=(x,)).start()
else:
    g(x)
begun.wait()
child = os.fork()
if not child:
    os._exit(not (gc.isenabled() and np.allclose(g(x), np.sin(x))))
sys.exit((go.set(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))[1])
"""


def test_without_waiting_nobody_waits_for_a_recording_either():
    begun, go, here = threading.Event(), threading.Event(), threading.get_ident()

    def f(x):
        if threading.get_ident() != here:
            begun.set()
            assert go.wait(10)
        return np.sin(x)
    g = de.jit(f, wait=False)
    try:
        g(X)
        assert begun.wait(10)
        np.testing.assert_array_equal(g(X), np.sin(X))
        assert g.traces == 0                                    # it is recorded still
    finally:
        go.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("how", ["wait", "behind"])
def test_a_child_does_not_wait_for_its_parents_recording(how):
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED, how], check=True, timeout=60)
