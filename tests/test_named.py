"""Which of NumPy's functions are replaced while a function runs: those its code may ask for, in its thread alone, and for no longer."""
import functools
import math
import threading
import types

import numpy as np
import pytest
import scipy.special

import diffeng as de
from diffeng import named
from diffeng.buffers import constructors
from diffeng.named import swaps

X = np.array([1.0, 2.0, 3.0])


def untouched():
    return all(space[name] is f for space, own, _ in constructors.parts for name, f in own.items())


@pytest.fixture(autouse=True)
def nothing_stays():
    yield
    assert untouched()


def names(f, *args):
    found = swaps(f, args, constructors)
    return None if found is constructors else {name for _, _, ours in found.parts for name in ours}


def squares(x):
    out = np.zeros(3)
    for k in range(3):
        out[k] = x[k] ** 2
    return np.sum(out)


def calls(x):
    return squares(x) + np.mean(x)


def recursive(x, n=3):
    return np.prod(x) if n == 0 else recursive(x, n - 1)


def test_what_code_names():
    held = [squares]

    def inner(x):
        return np.max([squares(y) for y in (x, x)])
    assert names(lambda x: x * x, X) == set() and names(squares, X) == {"zeros", "sum"} and names(calls, X) == {"zeros", "sum", "mean"}
    assert names(recursive, X) == {"prod"} and names(lambda x: (lambda y: np.ones(3) * y)(x), X) == {"ones"}
    assert names(inner, X) == {"max", "zeros", "sum"} and names(functools.partial(recursive, n=2), X) == {"prod"}
    assert names(lambda x: np.linalg.norm(x), X) == {"norm"}
    for f in (lambda x: held[0](x), lambda x: getattr(np, "zeros")(3) * x, functools.partial(lambda g, x: g(x), squares), types.MethodType(squares, X),
              np.sin, lambda x: not_there(x), de.jit(squares), lambda x: types.FunctionType(squares.__code__, {"np": np})(x)):      # noqa: F821
        assert names(f, X) is None
    assert names(lambda g, x: g(x), squares, X) is None and names(lambda p, x: p, {"f": [squares]}, X) is None

    def importing(x):
        import numpy
        return numpy.ones(3) * x
    assert names(importing, X) is None


class Settings:
    scale = 2.0


AN_OBJECT = Settings()                                       # (its name stands before math's)


def test_an_object_beside_math():
    def f(x):
        return math.exp(x) * AN_OBJECT.scale
    assert names(f, X) is None
    assert de.grad(f)(1.0) == pytest.approx(2 * np.e)


def test_modules_that_are_given_are_those_that_are_named():
    """By an argument, a closure or a list: a function is then asked for by its attribute's name, as in np.sum."""
    def of(np, x):
        return np.sum(np.array([x[0], x[1]])) + np.mean(x)
    used = [np, scipy.special]
    for f, args in ((of, (np, X)), (functools.partial(of, np), (X,)), (lambda x: of(np, x), (X,)), (lambda x: of(used[0], x), (X,))):
        assert names(f, *args) == {"sum", "array", "mean"}
    np.testing.assert_allclose(de.grad(of, 1)(np, X), de.grad(functools.partial(of, np))(X))
    assert names(lambda m, x: m.exp(x), math, X) is None              # which is replaced in place of math's functions: by no attribute's name


def test_one_function_that_may_reach_more_leaves_the_next_of_its_code_alone():
    def maker(g):
        return lambda x: g(x)
    assert names(maker(AN_OBJECT), X) is None and names(maker(squares), X) == {"zeros", "sum"} and names(maker(AN_OBJECT), X) is None
    first = maker(AN_OBJECT)
    assert names(first, X) is None
    found = named._known[id(first.__code__)]
    assert names(first, X) is None and named._known[id(first.__code__)] is found
    for settings in [Settings() for _ in range(named._RETRIES + 2)]:          # ... unless that comes too often
        assert names(maker(settings), X) is None
    assert names(maker(squares), X) is None


def test_a_derivative_names_nothing_itself():
    """Whatever it is of: the user's function is asked about when it is called in turn. So one answer holds for all of them, which share their code."""
    assert names(de.grad(squares), X) == names(de.grad(calls), X) == names(de.grad(de.jit(calls)), X) == set()
    found = named._known[id(de.grad(calls).__code__)]
    assert found.holds_for(de.grad(squares)) and named._known[id(de.grad(squares).__code__)] is found
    assert names(lambda x, g=de.grad(squares): g(x), X) == {"zeros", "sum"}
    np.testing.assert_array_equal(de.hvp(calls, (X,), (X,))[1][0], 2 * X)


def test_functions_in_defaults_are_followed():
    def maker(h, n=2):
        return lambda x, h=h, *, k=h: h(x) + k(x) * n            # one code object, other defaults each time
    one, two = maker(np.exp), maker(squares)
    for _ in range(2):
        assert names(one, X) == set() and names(two, X) == {"zeros", "sum"} and names(maker(squares, 3), X) == {"zeros", "sum"}
    assert names(lambda x, h=two: h(x), X) == {"zeros", "sum"} and names(lambda x, h=[squares]: x, X) is None
    np.testing.assert_array_equal(de.grad(two)(X), 6 * X)
    found = swaps(two, (X,), constructors)
    assert swaps(two, (X,), constructors) is found               # looked at once
    two.__defaults__ = (calls,)
    assert names(two, X) == {"zeros", "sum", "mean"}
    two.__defaults__ = two.__kwdefaults__ = None
    assert names(two, X) == set()


def test_only_these_are_replaced_and_only_here():
    seen = {}

    def look():
        seen["elsewhere"] = type(np.zeros(2)), type(np.ones(2))

    def f(x):
        seen["zeros"], seen["stack"] = type(np.zeros(2)).__name__, vars(np)["stack"]
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return np.sum(x * x)
    np.testing.assert_array_equal(de.grad(f)(X), 2 * X)
    assert seen["zeros"] == "ArrayBuffer" and seen["elsewhere"] == (np.ndarray, np.ndarray)

    def failing(x):
        np.zeros(3)[0] = x[0]
        raise KeyError("mine")
    with pytest.raises(KeyError, match="mine"):
        de.grad(failing)(X)


def test_another_function_in_the_place_of_one_is_followed():
    step = [lambda x: x * 2.0]
    helper = lambda x: x * 2.0                       # noqa: E731

    def f(x):
        return np.sum(helper(x))
    g = de.grad(f)
    np.testing.assert_array_equal(g(X), [2, 2, 2])

    def helper(x):                                   # noqa: F811
        out = np.empty(3)
        out[:] = x * x
        return out
    np.testing.assert_array_equal(g(X), 2 * X)
    for make in (lambda x: x, lambda x: np.array([x[0], x[1] * x[2], x[0]])):            # the same code, with other cells
        def made(x, make=make):
            return np.sum(make(x) * step[0](X))
        np.testing.assert_allclose(de.grad(made)(X), de.grad(lambda x: made(x))(X))

    def factory(h):
        return lambda x: np.sum(h(x))
    np.testing.assert_array_equal(de.grad(factory(np.sin))(X), np.cos(X))
    np.testing.assert_array_equal(de.grad(factory(squares))(X), 2 * X)
    np.testing.assert_array_equal(de.grad(factory(np.cos))(X), -np.sin(X))


def test_nested_runs_need_different_ones():
    def outer(x):
        inner = de.grad(lambda y: np.sum(np.array([y[0] * y[1], y[1] ** 2])))(x)
        return np.dot(inner, np.array([x[0], x[0]]))
    h = 1e-6

    def plain(x):
        return x[1] * x[0] + (x[0] + 2 * x[1]) * x[0]                 # the inner gradient is (y1, y0 + 2 y1)
    at = np.array([3.0, 5.0])
    numeric = [(plain(at + h * e) - plain(at - h * e)) / (2 * h) for e in np.eye(2)]
    np.testing.assert_allclose(de.grad(outer)(at), numeric, rtol=1e-8)


def test_threads_with_different_needs_overlap():
    functions = [lambda x: np.sum(np.array([x[0], x[1]])), squares, lambda x: np.mean(np.stack([x, x * 2])), lambda x: [np.ones(3)][0] @ x,
                 functools.partial(lambda f, x: f(x), squares), lambda x: np.max(np.concatenate([x, [x[0]]]))]
    wanted = [de.grad(f)(X) for f in functions]
    wrong = []

    def work(k):
        for n in range(60):
            f, w = functions[(k + n) % len(functions)], wanted[(k + n) % len(functions)]
            if not np.array_equal(de.grad(f)(X), w) or type(np.zeros(2)) is not np.ndarray:
                wrong.append((k, n))
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong


def test_runs_that_need_all_and_runs_that_need_one_leave_each_other_alone():
    own, zeros, ones = np.zeros, constructors.named({"zeros"}), constructors.named({"ones"})
    for outer, inner in ((constructors, zeros), (zeros, constructors), (zeros, zeros), (zeros, ones)):
        with outer:
            for _ in range(2):
                with inner:
                    assert np.zeros is not own
                assert np.zeros is not own
        assert np.zeros is own
    first, second = zeros, constructors           # of two threads: they need not end in order
    for one, other in ((first, second), (second, first)):
        one.__enter__()
        other.__enter__()
        one.__exit__()
        assert np.zeros is not own
        other.__exit__()
        assert np.zeros is own
