"""Whatever jit is called with: structures, names, dtypes and kinds of its arguments give what they give in the function itself."""
import collections

import numpy as np
import pytest

import diffeng as de
from expressions_numpy import X


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
