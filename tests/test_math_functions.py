"""Python's math of traced numbers."""
import functools
import math

import numpy as np
import pytest

import diffeng as de
from diffeng import math_functions

METHODS = ["symbolic", "forward", "reverse"]
OF_TWO = {"atan2", "pow", "hypot", "copysign", "fmod", "log"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", sorted(math_functions._OF_NUMBERS))
def test_of_numbers(name, method):
    own, at = getattr(math, name), np.array([1.3 if name == "acosh" else 0.4, 0.7])

    def f(x):
        function = getattr(math, name)
        return function(x[0], x[1]) * x[1] if name in OF_TWO else function(x[0]) * x[1]
    value, gradient = de.value_and_grad(f, method=method)(at)
    assert value == pytest.approx(f(at), rel=1e-15) and getattr(math, name) is own
    h = 1e-6
    np.testing.assert_allclose(gradient, [(f(at + h * e) - f(at - h * e)) / (2 * h) for e in np.eye(2)], rtol=1e-8)


def test_of_sequences_and_what_is_called_through_a_name():
    x = np.array([1.5, 0.5, 2.0])
    for f in (lambda x: math.fsum(x) * x[0], lambda x: math.prod([x[0], 2, x[2]], start=3), lambda x: math.dist(x, [x[1], 2.0, 1]), lambda x: math.hypot(*x),
              lambda x: math.hypot(-x[0]), lambda x: math.log(x[0]) * math.sqrt(4.0), lambda x: [getattr(math, "sin")][0](x[1]), lambda x: math.fsum([1.0, 2.0]) * x[0]):
        h, compiled = 1e-6, de.jit(de.value_and_grad(f))
        slope = [(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(3)]
        for value, gradient in (de.value_and_grad(f)(x), compiled(x), compiled(x)):
            assert value == pytest.approx(f(x), rel=1e-14)
            np.testing.assert_allclose(gradient, slope, rtol=1e-7, atol=1e-9)
    assert de.compare(lambda x: math.sin(x) * math.exp(math.sqrt(x)), 0.3).agree


class Held:
    sine = math.sin

    def __init__(self):
        self.root = math.sqrt


OF_NAMES, HELD, EACH, ENTRIES = {"sin": math.sin}, Held(), np.vectorize(math.sin), np.frompyfunc(math.sin, 1, 1)
closed = (lambda root: lambda x: root(x[0]) * x[1])(math.sqrt)


@pytest.mark.parametrize("f, text", [
    (closed, r"math\.sqrt"), (lambda x: OF_NAMES["sin"](x[0]), "what is called"), (lambda x: OF_NAMES["sin"](*[x[0]]), "what is called"), (lambda x: Held.sine(x[0]), r"math\.sin"),
    (lambda x: HELD.root(x[0]), r"math\.sqrt"), (lambda x, root=math.sqrt: root(x[0]), r"math\.sqrt"), (lambda x: sum([g(x[0]) for g in OF_NAMES.values()]), r"math\.sin"),
    (lambda x: EACH(x)[0], r"math\.sin"), (lambda x: ENTRIES(x)[0], "what is called"), (lambda x: functools.partial(OF_NAMES["sin"], x[0])(), "what is called"),
])
@pytest.mark.parametrize("method", ["forward", "reverse"])
def test_one_that_is_kept_elsewhere_cuts_no_derivative_without_a_word(f, text, method):
    with pytest.raises(TypeError, match=f"^{text} at test_math_functions.*cut the derivative.*math.sin"):
        de.grad(f, method=method)(np.array([0.4, 0.7]))


def test_numbers_that_are_meant_as_such():
    x = np.array([0.4, 0.7])
    for f in (lambda x: float(x[0]) * x[1], lambda x: float(x[0] if x[1] > 0 else x[1]) * x[1], lambda x: list(map(float, x))[0] * x[1],
              lambda x: x[1] * (0.4 if not math.isnan(x[0]) and math.isclose(x[1], 0.7) else 1.0), lambda x: float("%.1f" % x[0]) * x[1], lambda x: float(*[x[0]]) * x[1]):
        np.testing.assert_allclose(de.grad(f)(x), [0, 0.4])


def test_an_array_is_no_number_and_what_has_no_derivative_is_refused():
    with pytest.raises(TypeError, match=r"^math\.sin at test_math_functions.*an array of shape \(3,\)"):
        de.grad(lambda x: math.sin(x))(np.ones(3))
    with pytest.raises(TypeError, match=r"math\.ldexp at test_math_functions.*cut the derivative"):
        de.grad(lambda x: math.ldexp(x, 2))(1.5)


def test_a_whole_number_below_is_guarded_by_what_it_is():
    def f(x):
        return math.floor(x) * x + math.ceil(x) + math.trunc(-x)
    compiled = de.jit(de.value_and_grad(f))
    for k in range(80):                                   # one trace does for all of them: 64 would be an error
        x = 2.1 + k / 100
        assert compiled(x) == (pytest.approx(2 * x + 3 - 2), 2.0)
    assert compiled(5.5) == (pytest.approx(5 * 5.5 + 6 - 5), 5.0)


@pytest.mark.parametrize("method", METHODS)
def test_a_result_that_float_has_taken_out_of_the_traced_values_is_told(method):
    def distance(x):
        return math.sqrt(float(np.dot(x, x)))
    with pytest.warns(UserWarning, match=r"distance returned plain numbers.*float\(\) at test_math_functions.py:\d+"):
        assert de.grad(distance, method=method)(np.ones(4)).tolist() == [0, 0, 0, 0]
    with pytest.warns(UserWarning, match="distance returned"):
        assert de.jvp(distance, (np.ones(4),), (np.ones(4),)) == (2.0, 0.0)
    assert de.grad(lambda x: float(x[0]) * x[1], method=method)(np.ones(2)).tolist() == [0, 1]           # part of it is meant
    assert de.grad(lambda x: np.float64(3.0), method=method)(np.ones(2)).tolist() == [0, 0]
