"""jit gives what the function gives: for every expression, structure, branch and captured value; and tells nothing wrong."""
import collections
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


def test_structures_and_python_constants():
    @de.jit
    def f(p, n, flag="a"):
        return {"s": p["a"] * n, "t": [np.sum(p["b"][0]), 3.0, n]}, p["a"] if flag == "a" else -p["a"]

    p = {"a": np.ones(2), "b": [np.arange(3.0)]}
    out, same = f(p, 3)
    np.testing.assert_array_equal(out["s"], [3, 3])
    assert out["t"][0] == 3 and out["t"][1] == 3.0 and out["t"][2] == 3
    np.testing.assert_array_equal(f(p, 4)[0]["s"], [4, 4])
    np.testing.assert_array_equal(f(p, 3, "b")[1], [-1, -1])
    assert f.traces == 3 and f.__wrapped__.__name__ == "f"
    assert f(dict(p, a=np.ones(2, np.float32)), 3)[1].dtype == np.float32


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


def test_unpickled_arrays_have_dtypes_of_their_own():
    """Equal to NumPy's and to one another, but other objects; such arrays are not copied at each call, either."""
    import pickle
    x = np.linspace(0, 1, 5)
    there = [pickle.loads(pickle.dumps(x)) for _ in range(3)]
    assert len({id(a.dtype) for a in [x, *there]}) == 4
    f = de.jit(lambda x: np.sum(np.sin(x)))
    assert {f(a) for a in [*there, x, x[::-1][::-1]]} == {f(x)} and f.traces == 1
    (trace,) = f._traces[next(iter(f._traces))]
    assert np.shares_memory(trace.program._checked([there[1]])[0], there[1])


def test_a_list_is_no_tuple():
    """Arguments that differ only in what holds the leaves are recorded apart: Python may do other things with them."""
    def f(p):
        return (p * 2)[2] + (10.0 if isinstance(p, list) else 20.0)
    jitted = de.jit(f)
    assert [jitted(p) for p in ([1.0, 2.0], (1.0, 2.0), [3.0, 4.0])] == [11.0, 21.0, 13.0] and jitted.traces == 2


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


def keywords(a, b=2.0, /, c=3.0, *rest, d, e=np.ones(2), **more):
    return (a * 1 + b * 10 + c * 100 + d * 1000) * np.sum(e) + sum(v * w for v, w in zip(rest, (2, 3))) + sum((k + 1) * v for k, v in enumerate(more.values()))


@pytest.mark.parametrize("args,options", [
    ((1.0,), dict(d=4.0)), ((1.0, 5.0), dict(c=6.0, d=4.0)), ((1.0, 5.0, 6.0, 7.0), dict(d=4.0, e=np.arange(3.0))), ((1.0,), dict(c=np.ones(2), d=4)),
    ((1.0,), dict(d=4.0, x=1.0, y=2.0)), ((1.0,), dict(d=4.0, y=1.0, x=2.0)), ((1.0,), dict(d=1.0, b=2.5, a=3.5))])
def test_arguments_by_name(args, options):
    jitted = de.jit(keywords)
    for scale in (1.0, 2.0):
        given = {k: v * scale for k, v in options.items()}
        np.testing.assert_allclose(jitted(*args, **given), keywords(*args, **given), rtol=1e-14)
    both = de.jit(de.value_and_grad(lambda *a, **k: np.sum(keywords(*a, **k))))
    for a, b in zip(both(*args, **options), de.value_and_grad(lambda a: np.sum(keywords(a, *args[1:], **options)))(args[0])):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_arguments_by_name_are_the_same_as_by_position():
    f = de.jit(lambda x, k=2, how="a": x * k + (1 if how == "a" else 2))
    assert f(1.0, 3) == f(1.0, k=3) == f(k=3, x=1.0) == 4.0 and f.traces == 1
    assert f(1.0) == 3.0 and f(1.0, how="b") == 4.0 and f(x=1.0, how="b", k=5) == 7.0 and f.traces == 4
    g = de.jit(de.grad(lambda x, y=3.0: x * y ** 2, argnums=1))
    assert g(2.0) == 12.0 and g(2.0, y=4.0) == g(y=4.0, x=2.0) == g(2.0, 4.0) == 16.0
    assert de.hessian(lambda x, k: x ** k)(k=3, x=2.0) == 12.0 and de.jacobian(lambda x, *, k: x * k)(x=2.0, k=5.0) == 5.0
    assert de.grad(lambda x, y: x * y, argnums=(0, 1))(y=3.0, x=2.0) == (3.0, 2.0)


@pytest.mark.parametrize("wrapped", [de.jit, de.grad, lambda f: de.jit(de.grad(f)), de.jacobian, de.hessian, de.value_and_grad])
def test_names_that_a_function_does_not_have(wrapped):
    def f(x, k=3):
        return x * k
    for args, options, text in (((1.0,), dict(z=3), r"f\(\) got an unexpected keyword argument 'z'"), ((1.0, 3), dict(k=3), "multiple values for argument 'k'"),
                                ((1.0,), dict(x=3.0), "multiple values for argument 'x'")):
        with pytest.raises(TypeError, match=text):
            wrapped(f)(*args, **options)
    with pytest.raises(TypeError, match=r"missing 1 required (positional|keyword-only) argument"):
        de.jit(lambda x, *, k: x * k)(1.0)


def test_the_order_of_a_dict_is_seen():
    """Python may loop over a dict: its order is part of the arguments' structure."""
    f = de.jit(lambda p: [*p.values()][0] * 10 + [*p["c"].values()][0])
    assert f({"a": 1.0, "c": {"x": 2.0, "y": 3.0}}) == 12.0 and f({"a": 1.0, "c": {"y": 3.0, "x": 2.0}}) == 13.0
    g = de.jit(lambda **options: [*options.values()][0] * 1)
    assert g(b=1.0, a=2.0) == 1.0 and g(a=2.0, b=1.0) == 2.0 and g.traces == 2


@pytest.mark.parametrize("f", [lambda x, s: x * s, lambda x, s: x - (2 * s + 1) * np.sum(x), lambda x, s: np.where(x > s, x, s), lambda x, s: x * (s * np.ones(2)),
                               lambda x, s: x * np.sin(s), lambda x, s: x ** -s, lambda x, s: x.astype(float) * s, lambda x, s: (x > 1) * s])
def test_a_python_float_takes_the_dtype_of_what_it_meets_as_in_numpy(f):
    for x in (np.float32([1, 2]), np.array([1.0, 2.0])):
        for s in (2.0, np.float64(2.0), np.float32(2.0)):
            expected = f(x, s)
            for g in (de.jit(f), de.trace(f, x, s)):
                found = g(x, s)
                assert found.dtype == expected.dtype and found == pytest.approx(expected, rel=1e-6)


def test_a_step_in_float32_stays_there():
    step = de.jit(lambda p, rate: {k: v - rate * g for (k, v), g in zip(p.items(), de.grad(lambda p: np.sum(p["w"] ** 2) + p["b"] ** 2)(p).values())})
    p = {"w": np.float32([1, 2]), "b": np.float32(1)}
    for rate in (0.1, 0.05, 0.025):
        p = step(p, rate)
    assert {v.dtype for v in p.values()} == {np.dtype(np.float32)} and step.traces == 1


def test_arrays_that_are_more_than_arrays_are_refused(tmp_path):
    total = de.jit(lambda x: np.sum(x))
    assert total(np.array([1.0, 2.0])) == 3
    class Metres(np.ndarray):
        pass
    for x in (np.ma.array([1.0, 2.0], mask=[0, 1]), np.array([1.0, 2.0]).view(Metres)):
        with pytest.raises(TypeError, match="is a (MaskedArray|Metres).*pass np.asarray"):
            total(x)
    assert total(np.memmap(tmp_path / "x", "f8", "w+", shape=(2,))) == 0


def test_a_named_tuple_stays_one():
    Pair = collections.namedtuple("Pair", "a b")
    f = de.jit(lambda p: Pair(p.a * 2, p.b))
    assert type(f(Pair(1.0, X))) is Pair and type(f(Pair(2.0, X))) is Pair
    assert type(de.jit(de.grad(lambda p: p.a * np.sum(p.b)))(Pair(1.0, X))) is Pair


def test_a_small_call_and_all_others_are_the_same_function():
    """Once a small program is there a call begins in machine code: names, other shapes, wrong numbers of arguments, errors and methods work as before."""
    f = de.jit(lambda x, y=2.0: np.max(x) * y)
    top = np.max(X)
    for _ in range(3):
        assert f(X, 4.0) == 4 * top and f(x=X, y=4.0) == 4 * top and f(X) == 2 * top and f(X[:1], 4.0) == 4 * np.max(X[0])
        with pytest.raises(TypeError, match="missing 1 required"):
            f()
        with pytest.raises(TypeError, match="unexpected keyword"):
            f(X, z=1.0)
    assert f.traces == 3 and f.__wrapped__(X) == 2 * top and callable(f) and f.__name__ == "<lambda>"

    class Model:
        scale = 2.0

        @de.jit
        def __call__(self, x):
            return x * self.scale

        @de.jit
        def twice(self, x):
            return x + x
    model = Model()
    assert [model(X).tolist(), model.twice(X).tolist()] * 2 == [(X * 2).tolist(), (X + X).tolist()] * 2


def test_arguments_nested_as_before_are_taken_apart_quickly_and_others_noticed():
    f = de.jit(lambda p: p["b"] * 1 + (p["a"][0] if isinstance(p["a"], list) else 2 * p["a"][0]))
    assert f({"b": X, "a": (X,)}).tolist() == (3 * X).tolist() == f({"b": X, "a": (X,)}).tolist()
    assert f({"b": X, "a": [X]}).tolist() == (2 * X).tolist() and f({"b": X, "a": (X,)}).tolist() == (3 * X).tolist()
    with pytest.raises(KeyError):
        f({"b": X})
    with pytest.raises(ValueError, match="mismatch"):
        f({"b": X, "a": (X.tolist(),)})                                 # a list is no array: twice a list is a longer one


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


def test_arrays_in_another_machines_order_of_bytes():
    """Single entries of them, in each way that they are handed on; arguments, captured, and given to a program."""
    w, k, s, x = np.array([1.0, 2.0, 3.0], ">f8"), np.array([2, 0, 1], ">i4"), np.array(2.5, ">f8"), np.arange(3.0)
    for f, *args in ((lambda w: w[0], w), (lambda w: list(w), w), (lambda w: np.full(3, w[0]), w), (lambda w: np.sin(w) * w[1], w), (lambda s: s * 2, s),
                     (lambda x, k: x[k], x, k), (lambda x: x[k] * w[2] + s, x), (lambda w: w[1] * w, w.astype(">f4")), (lambda d: d["a"][0] * d["a"], {"a": w})):
        g = de.jit(f)
        for _ in range(3):
            np.testing.assert_array_equal(g(*args), f(*args))
    program = de.trace(lambda w: w[0] * w, w.astype(float)).compile()
    np.testing.assert_array_equal(program(w)[0], [1, 2, 3])
    np.testing.assert_array_equal(de.jit(de.grad(lambda w: np.sum(w * w)))(w), [2, 4, 6])


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


@pytest.mark.parametrize("f", [lambda x, k: x * k, lambda x, k: de.vmap(lambda a: a * k)(x), lambda x, k: de.scan(lambda c, z: (c * k, c), x, np.zeros(9))[1]])
def test_the_dtype_of_a_result_does_not_depend_on_earlier_calls(f):
    """A float takes the dtype of a float32 array; NumPy's number, and an array without axes, does not."""
    x, numbers = np.ones(3, np.float32), [2.0, np.float64(2), np.array(2.0)]
    for first in range(3):
        g, nested = de.jit(f), de.jit(lambda x, d: f(x, d["k"]))
        for k in (numbers[first:] + numbers[:first]) * 2:
            assert g(x, k).dtype == nested(x, {"k": k}).dtype == de.jit(f)(x, k).dtype == (np.float32 if type(k) is float else np.float64)


def test_no_number_is_looked_at_where_its_kind_cannot_matter():
    f = de.jit(lambda x, k: x * k)
    assert [f(np.ones(3), k).dtype for k in (2.0, 2.0, np.float64(2))] == [float] * 3
    assert f.traces == 1


def test_only_arguments_can_be_given_away():
    with pytest.raises(TypeError, match="takes 1 argument"):
        de.jit(lambda x: x + 1, donate_argnums=1)


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
import os, sys, threading
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
    os._exit(not np.allclose(g(x), np.sin(x)))
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
