"""Every supported NumPy function, as its user writes it: same value as NumPy, same gradient as a difference quotient, by reverse and forward mode."""
import numpy as np
import pytest

import diffeng as de
from diffeng.vocabulary import reductions
from expressions_numpy import EXPRESSIONS, X


def quotient(f, x, v):
    """A fourth-order central difference: good to some 1e-11 here."""
    h = 1e-3
    return (8 * (f(x + h * v) - f(x - h * v)) - (f(x + 2 * h * v) - f(x - 2 * h * v))) / (12 * h)


@pytest.mark.parametrize("name,f", EXPRESSIONS, ids=[n for n, _ in EXPRESSIONS])
def test_expression(name, f):
    rng = np.random.default_rng(len(name))
    want = np.asarray(f(X.copy()))
    g, v = rng.uniform(0.5, 1.5, want.shape), rng.uniform(-1, 1, X.shape) * 1e-2

    def scalar(x):
        return np.sum(np.asarray(f(x)) * g)

    value, gradient = de.value_and_grad(scalar)(X)
    assert value == pytest.approx(scalar(X.copy()), rel=1e-13)
    assert gradient.shape == X.shape and gradient.dtype == X.dtype
    slope = quotient(scalar, X.copy(), v)
    size = np.sum(np.abs(gradient * v)) + 1e-300
    assert size > 1e-4, "uninformative point"
    assert abs(np.sum(gradient * v) - slope) / size < 1e-6
    out, tangent = de.jvp(f, (X,), (v,))
    np.testing.assert_allclose(np.asarray(out), want, rtol=1e-13, atol=1e-15)
    assert abs(np.sum(g * tangent) - np.sum(gradient * v)) / size < 1e-12
    forward = de.grad(scalar, method="forward")(X)
    np.testing.assert_allclose(forward, gradient, rtol=1e-11, atol=1e-12 * np.abs(gradient).max())


def test_trace_replays_to_the_same_value():
    for name, f in EXPRESSIONS:
        graph = de.trace(f, X)
        np.testing.assert_allclose(np.asarray(graph(X)), np.asarray(f(X.copy())), rtol=1e-13, err_msg=name)


def test_unknown_function_names_itself_and_the_line():
    with pytest.raises(TypeError, match=r"numpy\.roots at test_numpy_functions.py:\d+ is not known"):
        de.grad(lambda x: np.sum(np.roots(x)))(X)


def test_unsupported_option_is_named():
    with pytest.raises(TypeError, match="where"):
        de.grad(lambda x: np.sum(np.exp(x, where=X > 1)))(X)


def test_plain_array_refuses_traced_entries():
    outside = np.zeros(3)

    def f(x):
        outside[0] = x[0, 0]
        return np.sum(outside)

    with pytest.raises(TypeError, match=r"plain array at test_numpy_functions.py:\d+"):
        de.grad(f)(X)
    with pytest.raises(TypeError, match="plain array"):
        de.grad(lambda x: np.sum(np.add(np.ones(4), x[0], out=outside)))(X)


def test_aliases_are_numpys():
    def f(x):
        y = x * 1.0
        row = y[1]
        row += x[0]
        y[1, 0] = 5.0
        flat = y.reshape(-1)
        flat[11] *= 2.0
        return y * np.sum(row)

    np.testing.assert_allclose(np.asarray(de.trace(f, X)(X)), f(X.copy()))
    np.testing.assert_allclose(de.jvp(f, (X,), (X,))[0], f(X.copy()))


def test_scalars_rebind_and_arrays_mutate():
    def f(x):
        a = x[0, 0]
        b = a
        b += 1.0
        y = x.copy()
        z = y
        z += 1.0
        return a + np.sum(y)

    assert de.value_and_grad(f)(X)[0] == pytest.approx(f(X.copy()))
    assert f(X.copy()) == pytest.approx(X[0, 0] + np.sum(X + 1))


def test_numpy_is_itself_again_afterwards():
    before = {n: getattr(np, n) for n in ("zeros", "array", "full", "zeros_like", "asarray")}
    with pytest.raises(ZeroDivisionError):
        de.grad(lambda x: x / (1 / 0))(1.0)
    de.grad(lambda x: x * x)(1.0)
    assert all(getattr(np, n) is f for n, f in before.items())
    assert type(np.zeros(2)) is np.ndarray


def filled_where(x):
    z = np.zeros(x.shape)
    z[x > 0] = 1
    return z * x


def put_along(x):
    z = x.copy()
    np.put_along_axis(z, np.array([[[0]], [[1]]]), 9.0, 1)
    return z


def put_at_booleans(x):
    z = x.copy()
    np.put(z, np.array([True, False]), [7.0, 8.0])
    return z


@pytest.mark.parametrize("f", [
    lambda x: np.take(x, [True, False], 0), lambda x: np.take(x[0, 0], x[0, 1] > 0), lambda x: np.choose(x > 0, [x * 2, x ** 2]),
    lambda x: np.take_along_axis(x, np.array([[[0]], [[1]]]), axis=1), lambda x: np.take_along_axis(x, np.argsort(x, None), None),
    put_along, put_at_booleans, filled_where, np.linalg.trace, lambda x: np.linalg.trace(x, offset=-1)])
def test_places_are_read_as_numpy_reads_them(f):
    """Booleans are the places 0 and 1 where places are asked for, indices along an axis are broadcast, numpy.linalg looks at the last two axes."""
    x = np.random.default_rng(2).normal(size=(2, 3, 4))
    want = f(x.copy())
    value, tangent = de.jvp(f, (x,), (x,))
    np.testing.assert_allclose(value, want)
    np.testing.assert_allclose(de.jit(f)(x), want)
    weights = np.cos(np.arange(want.size)).reshape(want.shape)
    np.testing.assert_allclose(np.vdot(de.grad(lambda x: np.sum(f(x) * weights))(x), x), np.vdot(weights, tangent))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.bool_])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 4), (4, 1, 3)])
def test_the_mean_of_plain_arrays_is_numpys(dtype, shape):
    """The primitive computes it in two steps of its own where these are all there is to it."""
    x = (np.random.default_rng(11).normal(size=shape) * 3).astype(dtype)
    axes = [tuple(range(len(shape))), *[(k,) for k in range(len(shape))], *([(0, len(shape) - 1)] if len(shape) > 1 else [])]
    for axis in axes:
        for keepdims in (False, True):
            got, want = reductions.mean.quick(x, axis=axis, keepdims=keepdims), np.mean(x, axis=axis, keepdims=keepdims)
            assert type(got) is type(want) and got.dtype == want.dtype and got.shape == want.shape
            np.testing.assert_array_equal(got, want)


def halved(i):
    i = i + 0
    i /= 2
    return i


def counted(b):
    b = b | b
    b += 1
    return b


@pytest.mark.parametrize("f, x, error, words", [
    (halved, np.array([1, 2, 3]), TypeError, ["divide at test_numpy_functions.py:", "int64", "float64", "astype"]),
    (counted, np.array([True, False]), TypeError, ["add at test_numpy_functions.py:", "bool", "int64"]),
    (lambda x: x @ 2, np.ones(3), ValueError, ["matmul at test_numpy_functions.py:"]),
    (lambda x: np.where(x > 1, x), np.ones(3), ValueError, ["where at test_numpy_functions.py:", "or neither"]),
    (lambda x: np.interp(x, [0, 1], [0, 1, 2]), np.ones(3), ValueError, ["interp at test_numpy_functions.py:", "(2,)", "(3,)"])])
def test_what_numpy_refuses_is_refused(f, x, error, words):
    with pytest.raises((error, ValueError)):
        f(x)
    with pytest.raises(error) as caught:
        de.jit(f)(x)
    assert all([word in str(caught.value) for word in words]), str(caught.value)


def test_one_point_and_a_copied_number():
    x = np.array([0.5, 1.0, 3.0])
    for f in (lambda x: np.interp(x, [2.0], [3.0]) * x, lambda x: np.interp(x, [2.0], [3.0], left=1.0, right=7.0) * x, lambda x: np.interp(1.0, x[:1], x[1:2])):
        np.testing.assert_array_equal(de.jit(f)(x), f(x))

    def copied(x):
        y = x * 2
        np.copyto(y, 1.5, where=x > 0.7)
        return y * x
    np.testing.assert_array_equal(de.jit(copied)(x), copied(x))
    np.testing.assert_array_equal(de.grad(lambda x: np.sum(copied(x)))(x), np.where(x > 0.7, 1.5, 4 * x))


TABLE = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize("f", [lambda z: np.sum(TABLE[np.argsort(z)] * z[:, None]), lambda z: np.sum(TABLE[z > 1.5] * z[0]), lambda z: np.sum(TABLE[np.argmax(z)] * z[0])])
def test_a_plain_array_is_indexed_by_places_and_truth_values(f):
    """They carry no derivative, so NumPy may look at them; a compiled call looks again."""
    zs = np.array([[2.0, 1.0, 3.0], [3.0, 1.0, 2.0]])
    truth = [[(f(z + d) - f(z - d)) / 2e-4 for d in np.eye(3) * 1e-4] for z in zs]
    compiled = de.jit(de.grad(f))
    for z, slope in zip(zs, truth):
        for g in (*[de.grad(f, method=m) for m in ("reverse", "forward", "symbolic")], compiled):
            np.testing.assert_allclose(g(z), slope, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(de.vmap(de.grad(f))(zs), truth, rtol=1e-8, atol=1e-8)


def test_a_plain_array_is_indexed_by_examples():
    np.testing.assert_array_equal(de.vmap(lambda i: TABLE[i])(np.array([2, 1])), TABLE[[2, 1]])
    with pytest.raises(TypeError, match="a traced value was converted to a plain array"):
        de.grad(lambda z: np.sum(np.multiply(TABLE[0].__array__()[:3], z.__array__())))(np.ones(3))


@pytest.mark.parametrize("f", [lambda s: np.cumsum(s, axis=0), lambda s: np.cumprod(s, axis=-1), lambda s: np.take(s, [0, -1], axis=0), lambda s: np.repeat(s, 3, axis=0),
                               lambda s: s * np.argmax(s, axis=0), lambda s: s + np.argsort(s)], ids="cumsum cumprod take repeat argmax argsort".split())
def test_a_number_is_one_entry_along_its_only_axis(f):
    x = np.array([3.0, 1.0])
    expected = f(x[0] * 1)
    for g in (lambda x: de.vjp(lambda x: f(x[0] * 1), x)[0], de.jit(lambda x: f(x[0] * 1))):
        np.testing.assert_array_equal(g(x), expected)
        assert np.shape(g(x)) == np.shape(expected)


def test_ldexp_where_the_power_alone_is_too_large_or_too_small():
    x, n = np.array([1e-300, 1e300, 0.0, 1.5, 5e-324, -1.0]), np.array([1100, -1100, 5000, -1074, 2097, 0])
    for got in (de.vjp(lambda x: np.ldexp(x, n), x)[0], de.jit(np.ldexp)(x, n)):
        np.testing.assert_array_equal(got, np.ldexp(x, n))
