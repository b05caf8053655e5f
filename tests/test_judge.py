"""The judge on points where careless differences fail, against closed forms in mpmath; and what it refuses to judge."""
import math
import threading

import mpmath
import numpy as np
import pytest
from flint import arb, ctx

import diffeng.numpy_api            # noqa: F401
from diffeng.judge import Judge, directional, nested_jvp, nested_value_and_gradient
from diffeng.nodes import Tracing
from diffeng.precise import PreciseArray, arbs, digits_in_force, numbers, precise, precision
from diffeng.vocabulary import elementwise as e

ONE = np.array(1.0)


def along(fun, x, **options):
    x = np.asarray(x)
    return directional(lambda y: [fun(y)], [x], [np.ones(x.shape)], **options)


def nested_gradient(fun, x):
    return nested_value_and_gradient(fun, [x])[1][0]


def digits_right(d, truth):
    """How many digits of the first output agree with an mpmath number."""
    with precision(400):
        value, truth = arbs(d.value[0])[()], arb(mpmath.nstr(truth, 300))
        error = abs(value - truth) / abs(truth)
        return float("inf") if error.is_zero() else -float(error.abs_upper().log_base(10))


# ---- closed forms --------------------------------------------------------------------------------------------------------------------

SMOOTH = {          # name: (function, point, x f'(x) in mpmath)
    "log at 1e-29":       (np.log, 1e-29, lambda x: mpmath.mpf(1)),
    "log at 1e-300":      (np.log, 1e-300, lambda x: mpmath.mpf(1)),
    "tanh(1e30 x)":       (lambda x: np.tanh(1e30 * x), 1e-30, lambda x: x * mpmath.mpf(1e30) * mpmath.sech(mpmath.mpf(1e30) * x) ** 2),
    "tanh at 18":         (np.tanh, 18.0, lambda x: x * mpmath.sech(x) ** 2),
    "tanh at 200":        (np.tanh, 200.0, lambda x: x * mpmath.sech(x) ** 2),
    "expit at 40":        (e.expit, 40.0, lambda x: x * mpmath.exp(-x) / (1 + mpmath.exp(-x)) ** 2),
    "x**3. at -1.5":      (lambda x: x ** 3.0, -1.5, lambda x: 3 * x * x * abs(x)),
    "arcsin near 1":      (np.arcsin, np.nextafter(1.0, 0.0), lambda x: x / mpmath.sqrt(1 - x * x)),
    "1e40 + x":           (lambda x: 1e40 + x, 1.0, lambda x: x),
    "1 + 1e-60 x**2":     (lambda x: 1.0 + 1e-60 * x ** 2, 2.0, lambda x: 2 * mpmath.mpf(1e-60) * x ** 2),
    "sin at 1e22":        (np.sin, 1e22, lambda x: x * mpmath.cos(x)),
    "exp(-x**2) at 30":   (lambda x: np.exp(-x * x), 30.0, lambda x: -2 * x * x * mpmath.exp(-x * x)),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth(name):
    fun, x, truth = SMOOTH[name]
    d = along(fun, x)
    with mpmath.workdps(330):
        right = digits_right(d, truth(mpmath.mpf(x)))
    assert d.sure >= 50 and right >= d.sure - 1, d               # what it says it is sure of is right
    assert not d.kink[0].any() and d.decided[0].all() and d.reason == ""


def test_tanh_of_a_huge_slope_at_zero():
    """One step of 1e-30 would say 0.76e30."""
    d = along(lambda x: np.tanh(1e30 * x), 0.0)
    assert d.sure >= 50 and numbers(d.value[0]) == 1e30 and d.precision == 400


def test_float32_points_are_exact_and_constants_rounded():
    x = np.float32(0.1)
    d = along(lambda x: 0.1 * x, x)
    assert d.value[0].dtype == np.float32 and numbers(d.value[0]) == float(np.float32(0.1)) ** 2


def test_two_hundred_steps_of_the_logistic_map():
    def orbit(x):
        for _ in range(200):
            x = 3.9 * x * (1 - x)
        return x
    d = along(orbit, 0.3)
    with mpmath.workdps(300):
        r, x, slope = mpmath.mpf(3.9), mpmath.mpf(0.3), mpmath.mpf(1)
        for _ in range(200):
            slope, x = slope * r * (1 - 2 * x), r * x * (1 - x)
        assert d.sure >= 50 and digits_right(d, slope * mpmath.mpf(0.3)) >= d.sure - 1
    assert d.precision > 200                                     # 1e-60 is still too large a step


def test_directions_scales_and_arguments_held():
    A, x = np.array([[1.0, 2.0], [0.0, -3.0]]), np.array([0.5, -4.0])
    w, v = np.array([[1.0, 0.0], [2.0, -1.0]]), np.array([1.0, 3.0])
    d = directional(lambda A, x: [A @ x, np.sum(A)], [A, x], [w, v])
    s, t = d.scale
    np.testing.assert_array_equal(s, [[1, 2], [1, 3]])
    np.testing.assert_array_equal(numbers(d.value[0]), (w * s) @ x + A @ (v * t))
    np.testing.assert_array_equal(numbers(d.value[1]), np.sum(w * s))
    d = directional(lambda A, x: [A @ x, np.sum(A)], [A, x], [None, v])
    np.testing.assert_array_equal(numbers(d.value[0]), A @ (v * t))
    assert numbers(d.value[1]) == 0 and d.sure >= 50
    d = directional(lambda A, x: [3.0, x[0] > 0], [A, x], [None, v])       # constants and booleans
    assert numbers(d.value[0]) == 0 and numbers(d.value[1]) == 0


def test_a_judge_keeps_the_base_run():
    judge = Judge(lambda x: [np.exp(x)], [ONE])
    assert judge.along([ONE]).evaluations == 6 and judge.along([2 * ONE]).evaluations == 4
    with precision(100):
        assert abs(arbs(judge.value()[0])[()] - arb(1).exp()) < 1e-95


# ---- zero ------------------------------------------------------------------------------------------------------------------------------

def test_zero_by_cancellation():
    """A softmax does not see a shift: the gradient is exactly 0, and no digits show it relatively."""
    z = np.array([1.0, 2.0, 3.0])

    def fun(x):
        p = np.exp(x + z)
        return np.sum(p / np.sum(p) * z)
    d = along(fun, 0.3)
    assert d.sure >= 50 and numbers(d.value[0]) == 0 and not d.kink[0].any()
    for fun, x in ((lambda x: np.sin(x) ** 2 + np.cos(x) ** 2 - 1, 0.7), (lambda x: np.exp(np.log(x)) - x, 1.0)):
        d = along(fun, x)
        assert d.sure >= 50 and numbers(d.value[0]) == 0


@pytest.mark.parametrize("x", [1e-30, -1e-160, 1e-300])
@pytest.mark.parametrize("fun, slope", [(lambda x: 1 + np.square(x), lambda x: 2 * x), (lambda x: 1e300 + x * 1e-8, lambda x: 1e-8)])
def test_what_is_small_beside_its_terms_is_not_zero(fun, slope, x):
    d = along(fun, x)
    with precision(50):                                  # (float64 has no number for the derivative times x)
        assert d.sure >= 50 and float(numbers(d.value[0] / precise(abs(x)))) == pytest.approx(slope(x), rel=1e-14)


@pytest.mark.parametrize("fun, x", [(np.cos, 0.0), (lambda x: x ** 3, 0.0), (lambda x: 1 + (x - 1) ** 3, 1.0), (np.floor, 2.5),
                                    (lambda x: np.absolute(x) ** 1.5 * np.sign(x), 0.0), (lambda x: x - x, 5.0),
                                    (lambda x: np.where(x > 0, np.exp(-1 / np.where(x > 0, x, 1.0)), 0.0), 0.0)])
def test_zero_at_flat_points(fun, x):
    d = along(fun, x)
    assert d.sure >= 50 and numbers(d.value[0]) == 0 and not d.kink[0].any(), d


# ---- kinks and jumps ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("fun, left, right", [
    (np.abs, -1, 1), (lambda x: np.maximum(x, 0.0), 0, 1), (lambda x: np.minimum(x, -x), 1, -1), (lambda x: np.where(x > 0, x, 0.0), 0, 1),
    (lambda x: np.max(np.stack([x, 2 * x, -x])), -1, 2), (lambda x: np.where(x > 0, x * x, x), 1, 0), (lambda x: np.sqrt(x * x), -1, 1)])
def test_kinks(fun, left, right):
    d = along(fun, 0.0)
    assert d.kink[0].all() and d.sure >= 50
    assert numbers(d.left[0]) == left and numbers(d.right[0]) == right
    assert min(left, right) <= numbers(d.value[0]) <= max(left, right)


def test_kinks_are_found_entry_by_entry():
    d = along(np.abs, np.array([-1.0, 0.0, 2.0]))
    assert list(d.kink[0]) == [False, True, False]
    np.testing.assert_array_equal(numbers(d.left[0]), [-1, -1, 2])
    np.testing.assert_array_equal(numbers(d.right[0]), [-1, 1, 2])


def test_a_strong_curvature_and_a_near_kink_are_no_kinks():
    assert not along(lambda x: 1e20 * x * x, 1.0).kink[0].any()
    d = along(lambda x: np.abs(x + 1e-40), 0.0)                           # the first step is across the kink
    assert not d.kink[0].any() and numbers(d.value[0]) == 1 and d.precision == 400


def test_a_tie_of_equal_numbers_is_smooth():
    d = along(lambda x: np.maximum(np.exp(x), np.exp(x)) + np.max(np.stack([x, x])), 1.5)
    assert d.sure >= 50 and not d.kink[0].any() and np.isclose(numbers(d.value[0]), 1.5 * (np.exp(1.5) + 1), rtol=1e-15)


@pytest.mark.parametrize("fun, x, reason", [
    (np.sign, 0.0, "jump"), (np.floor, 2.0, "jump"), (np.cbrt, 0.0, "infinite slope"), (np.sqrt, 0.0, "only above"), (np.arccos, 1.0, "only below"),
    (lambda x: x ** 2.5, 0.0, "only above"), (lambda y: 0.0 ** y, 0.0, "only above"), (lambda x: x ** 2.5, -1.5, "NaN here"),
    (np.log, 0.0, "infinite here"), (np.log, np.nan, "argument 0"), (np.log, np.inf, "argument 0")])
def test_honest_no_verdict(fun, x, reason):
    d = along(fun, x)
    assert d.sure is None and reason in d.reason
    assert not any(decided.any() for decided in d.decided)


def test_one_sided_functions_have_one_sided_derivatives():
    d = along(lambda x: x ** 2.5, 0.0)
    assert np.isnan(numbers(d.left[0])) and numbers(d.right[0]) == 0 and d.kink[0].all()
    assert numbers(along(np.sqrt, 0.0).right[0]) == np.inf


def test_one_bad_entry_does_not_hide_the_others():
    d = along(np.sqrt, np.array([4.0, 0.0]))
    assert d.sure is None and list(d.decided[0]) == [True, False] and numbers(d.value[0])[0] == 1


def test_what_stays_undecided_has_no_verdict():
    d = along(lambda x: np.where(np.sqrt(x) * np.sqrt(x) > x, x, 2 * x), 2.0)
    assert d.sure is None and "1600 digits" in d.reason and "greater" in d.reason


# ---- what is refused, replayed, held ---------------------------------------------------------------------------------------------------------

def test_a_function_of_plain_numbers_is_refused_with_the_line_and_the_cure():
    assert along(lambda x: x * math.sin(x), 1.0).sure > 50
    d = along(lambda x: x * math.remainder(x, 0.7), 1.0)
    assert d.sure is None and "test_judge.py:" in d.reason and "np.sin" in d.reason


def looks_of(fun, x):
    from diffeng.buffers import call
    t = Tracing()
    call(fun, [t.input(np.asarray(x), "x")])
    return t.looks


def relu(x):
    return x if x > 0 else 0 * x


def test_the_branches_taken_are_float64s():
    assert along(relu, 0.0).kink[0].all()                                        # the precise values decide
    d = along(relu, 0.0, looks=looks_of(relu, 0.0))
    assert not d.kink[0].any() and numbers(d.value[0]) == 0

    def newton(a):
        x = a
        while abs(x * x - a) > 1e-12:
            x = (x + a / x) / 2
        return x
    d = along(newton, 2.0, looks=looks_of(newton, 2.0))
    assert d.sure >= 50 and np.isclose(numbers(d.value[0]), 2 ** 0.5 / 2, rtol=1e-12)


def test_random_numbers_are_refused():
    rng = np.random.default_rng(0)
    calls = []

    def fun(x):
        calls.append(0)
        return x * 2 if len(calls) > 1 or x > 0 else x
    d = along(fun, 1.0, looks=[("bool", True, ())] * 2)
    assert d.sure is None and "differently from run to run" in d.reason
    d = along(lambda x: x * rng.standard_normal(), 1.0)
    assert d.sure is None and "jump" in d.reason


def test_stop_gradient_is_a_held_constant():
    d = along(lambda x: e.stop_gradient(x ** 2) * x + e.stop_gradient(np.exp(x)), 3.0)
    assert d.sure >= 50 and numbers(d.value[0]) == 27


def test_a_function_that_returns_nothing_is_an_error():
    with pytest.raises(TypeError, match="return numbers or arrays"):
        directional(lambda x: [None], [ONE], [ONE])
    with pytest.raises(TypeError, match="return numbers or arrays"):
        directional(lambda x: ["text"], [ONE], [ONE])


# ---- derivatives inside ------------------------------------------------------------------------------------------------------------------------

def test_nested_gradient_and_jvp():
    x = np.array([1.0, -2.0, 0.0, 1e-20])
    with precision(60):
        g = nested_gradient(lambda x: np.sum(x ** 3) + x[0] * x[1], precise(x))
        assert isinstance(g, PreciseArray) and g.shape == (4,)
        np.testing.assert_allclose(numbers(g), 3 * x ** 2 + np.array([-2, 1, 0, 0]), atol=1e-60)
        value, (a, b) = nested_value_and_gradient(lambda x, y: x * np.exp(y), [precise(2.0), precise(np.float32(0))])
        assert numbers(value) == 2 and numbers(a) == 1 and numbers(b) == 2 and b.dtype == np.float32
        _, dy = nested_jvp(np.sin, [precise(x)], [precise(np.array([1.0, 1e-25, 2.0, 0.0]))])
        np.testing.assert_allclose(numbers(dy), np.cos(x) * [1, 1e-25, 2, 0], rtol=1e-15)
        outs, tangents = nested_jvp(lambda x: [x, x * x], [precise(3.0)], [precise(0.0)])
        assert [float(numbers(t)) for t in tangents] == [0, 0] and numbers(outs[1]) == 9
        assert digits_in_force() == 60
    with pytest.raises(TypeError, match="scalar"):
        nested_gradient(lambda x: x * x, precise(x))


def test_nested_differences_of_inexact_points():
    with precision(60):
        x = np.exp(precise(np.array([1.0, 2.0])))                         # balls with a radius
        g = arbs(nested_gradient(lambda x: np.sum(np.log(x) * x), x))
        for ball, want in zip(g, (2, 3)):
            assert abs(ball - want) < 1e-50


def test_a_derivative_inside_the_judged_function():
    """d/dx of x d/dy (x y**2 + y) at y = x: the inner variable is not the outer one."""
    def fun(x):
        return x * nested_gradient(lambda y: x * y ** 2 + y, x)           # x (2 x y + 1) = 2 x**3 + x
    d = along(fun, 1.3)
    with mpmath.workdps(330):
        x = mpmath.mpf(1.3)
        assert d.sure >= 50 and digits_right(d, x * (6 * x * x + 1)) >= 50

    def newton(x):                                                         # a derivative of a derivative inside
        return nested_gradient(lambda y: nested_gradient(lambda z: z ** 4, y), x)
    d = along(newton, 1.5)
    assert d.sure >= 50 and np.isclose(numbers(d.value[0]), 24 * 1.5 ** 2, rtol=1e-15)


def test_inner_functions_branch_and_hold_like_the_recording():
    from diffeng.precise import Run, call

    def inner(y):
        return e.stop_gradient(y) * y ** 2 if y > 0 else -y

    def fun(x):
        g = nested_gradient(inner, x)
        return g if x > 1 else 2 * g
    d = along(fun, 0.5, looks=[("bool", True, ()), ("bool", False, ())])
    assert d.sure >= 50 and numbers(d.value[0]) == 0.5 * 2 * 2 * 0.5        # 2 * stop(y) 2 y: stop(y) is held
    run = Run(record=True)
    with precision(100):
        call(fun, [precise(0.5)], run)
    assert run.derivatives == 1 and [p.name for p, _, _, _ in run.calls][-1] == "multiply"


# ---- precision is left as it was ----------------------------------------------------------------------------------------------------------------

def test_precision_is_restored_whatever_happens():
    before = ctx.prec
    along(np.sin, 1.0)
    along(lambda x: x * math.remainder(x, 0.7), 1.0)
    assert ctx.prec == before
    with pytest.raises(ZeroDivisionError):
        along(lambda x: x * (1 // 0), 1.0)
    assert ctx.prec == before


def test_precision_belongs_to_one_thread_at_a_time():
    seen, inside = [], threading.Event()

    def other():
        inside.set()
        with precision(50):
            seen.append(digits_in_force())

    with precision(70):
        thread = threading.Thread(target=other)
        thread.start()
        inside.wait(5)
        thread.join(0.05)
        assert seen == [] and digits_in_force() == 70
    thread.join(5)
    assert seen == [50]


# ---- speed ---------------------------------------------------------------------------------------------------------------------------------------

def test_no_python_loop_over_the_terms_of_a_product():
    """A 64 x 64 x 64 product has 262,144 terms: a tenth of a second by flint, a second and more by Python objects."""
    import time
    a = np.random.default_rng(0).standard_normal((64, 64))
    with precision(100):
        x = precise(a)
        times = []
        for _ in range(3):
            t = time.process_time()
            x @ x
            times.append(time.process_time() - t)
    assert min(times) < 0.5
