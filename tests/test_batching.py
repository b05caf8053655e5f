"""vmap: what one call for all examples gives is what a loop over the examples gives."""
import itertools

import numpy as np
import pytest
import scipy.special

import diffeng as de
from diffeng import specimens
from diffeng.batching import Batched, Batching
from diffeng.vocabulary import PRIMITIVES, indexing
from diffeng.vocabulary.indexing import Slot

RNG = np.random.default_rng(11)
EXAMPLES = 4
OTHERS = {          # primitives without a derivative that are not elementwise
    "any": ([RNG.random((2, 3)) > 0.7], dict(axis=(1,), keepdims=False)), "all": ([RNG.random((2, 3)) > 0.3], dict(axis=(0,), keepdims=True)),
    "argmax": ([RNG.random((2, 3))], dict(axis=1)), "argmin": ([RNG.random((2, 3))], dict(axis=None)), "argsort": ([RNG.random((2, 3))], dict(axis=0)),
    "slogdet_sign": ([RNG.normal(size=(2, 3, 3))], {}), "random_bits": ([np.array(3), np.array(5)], dict(shape=(2, 3))),
}


def operands_of(name):
    if name in specimens.names():
        operands, params, _ = specimens.specimen(name)
        return operands, params
    if name in OTHERS:
        return OTHERS[name]
    assert PRIMITIVES[name].kind == "map", f"no example of {name}: add one to OTHERS"
    for make in (lambda s: RNG.uniform(0.3, 2, s), lambda s: RNG.integers(0, 9, s), lambda s: RNG.random(s) > 0.5):
        for shapes in ([(2, 3)], [(2, 3), (3,)]):
            try:
                operands = [make(s) for s in shapes]
                PRIMITIVES[name](*operands)
                return operands, {}
            except TypeError:
                continue
    raise AssertionError(f"no operands for {name}")


def varied(x):
    """As many examples like this one, all different where that leaves an index an index."""
    x = np.asarray(x)
    if x.dtype == bool:
        return RNG.random((EXAMPLES, *x.shape)) > 0.5
    if x.dtype.kind in "iu":
        return np.stack([np.roll(x.ravel(), k).reshape(x.shape) if x.ndim else (x + k) % 3 for k in range(EXAMPLES)])
    return np.stack([x * (1 - 0.07 * k) for k in range(EXAMPLES)])


def check(primitive, operands, params):
    """Every choice of operands that differ between examples, against one call an example."""
    for chosen in itertools.product((False, True), repeat=len(operands)):
        if any(chosen):
            given = [varied(x) if c else x for x, c in zip(operands, chosen)]
            level = Batching(EXAMPLES)
            got = primitive(*[Batched(level, x) if c else x for x, c in zip(given, chosen)], **params)
            want = np.stack([primitive(*[x[k] if c else x for x, c in zip(given, chosen)], **params) for k in range(EXAMPLES)])
            assert got.shape == want.shape[1:] and got.dtype == want.dtype, (primitive.name, params, chosen, got.shape, want.shape[1:])
            np.testing.assert_allclose(got.data, want, rtol=1e-13, err_msg=f"{primitive.name} {params} {chosen}")


@pytest.mark.parametrize("name", [n for n, p in PRIMITIVES.items() if p.kind not in ("input", "constant")])
def test_every_primitive(name):
    with np.errstate(all="ignore"):
        check(PRIMITIVES[name], *operands_of(name))


I, J, MASK = np.array([2, 0, 2]), np.array([[1], [0]]), np.array([True, False, True])
INDICES = [((1,), ()), ((slice(None), -1), ()), ((..., None, slice(None, None, -1)), ()), ((Slot(0),), (I,)), ((slice(None), Slot(0)), (I,)),
           ((..., Slot(0)), (I,)), ((Slot(0), Slot(1)), (I, J)), ((slice(1, None), Slot(0), Slot(1)), (I, J)), ((Slot(0), slice(None), Slot(1)), (I, J)),
           ((0, slice(None), Slot(0)), (I,)), ((slice(None), 0, Slot(0)), (J,)), ((None, Slot(0), slice(2)), (J,)), ((Slot(0), None, Slot(1)), (I, J)),
           ((Slot(0), ..., 1), (I,)), ((slice(None), MASK), ()), ((MASK, slice(None), 1), ()), ((..., MASK, Slot(0)), (np.array([1, 0]),)),
           ((slice(None), Slot(0), None, slice(1)), (np.array(2),))]


@pytest.mark.parametrize("index, arrays", INDICES, ids=[str(i) for i, _ in INDICES])
def test_every_kind_of_index(index, arrays):
    """Where NumPy puts what integer arrays find depends on what stands between them."""
    x = RNG.random((3, 3, 4))
    part = indexing.getitem(x, *arrays, index=index)
    check(PRIMITIVES["getitem"], [x, *arrays], dict(index=index))
    for value in (RNG.random(part.shape), RNG.random((1, *part.shape)), RNG.random(part.shape[-1:]), np.array(0.5)):
        if value.ndim <= part.ndim:
            check(PRIMITIVES["add_at"], [x, value, *arrays], dict(index=index))
        if not any(len(np.unique(a)) < a.size for a in arrays):            # of values for one place any may stay
            check(PRIMITIVES["setitem"], [x, value, *arrays], dict(index=index))
    check(PRIMITIVES["scatter"], [RNG.random(part.shape), *arrays], dict(index=index, shape=x.shape))


# ---- functions ------------------------------------------------------------------------------------------------------------------------------

W = RNG.normal(size=(5, 3))


def network(x):
    h = np.tanh(x @ W)
    return np.sum(h * scipy.special.expit(h[::-1]))


def filled(x):
    y = np.zeros(x.shape[0])
    for k in range(1, x.shape[0]):
        y[k] = 0.5 * y[k - 1] + x[k] * x[0]
    y[:2] *= x[-1]
    y += np.sort(x)
    return y


def chosen(x):
    return np.where(x > 0, np.log(np.where(x > 0, x, 1.0)), x ** 2).mean() + np.max(x) + de.special.logsumexp(x) + np.median(x) + np.interp(0.3, np.arange(5.0), x)


def attention(x):
    q = np.outer(x, W[:, 0])
    return np.einsum("ij,jk->k", de.special.softmax(q @ q.T, axis=-1), q)


def pieces(x):
    return np.concatenate([x[:2], np.cumsum(x)[[0, 0, -1]], np.pad(x, 1), np.stack([x, x * 2]).ravel(), np.array([x[0], 1.0, np.prod(x)]), np.roll(x, 2)])


FUNCTIONS = [network, filled, chosen, attention, pieces]


def each(f, *args):
    return np.stack([f(*a) for a in zip(*args)])


@pytest.mark.parametrize("f", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values_and_derivatives_are_those_of_a_loop(f, dtype):
    x = RNG.normal(size=(EXAMPLES, 5)).astype(dtype)
    close = dict(rtol=1e-12, atol=1e-13) if dtype == np.float64 else dict(rtol=2e-5, atol=2e-6)

    def total(x):
        return np.sum(np.sin(f(x)))
    want, slopes = each(f, x), each(de.grad(total), x)
    for g in (de.vmap(f), de.jit(de.vmap(f)), de.vmap(de.jit(f))):
        got = g(x)
        assert got.dtype == want.dtype and got.flags.writeable
        np.testing.assert_allclose(got, want, **close)
    for method in ("reverse", "forward", "symbolic"):
        np.testing.assert_allclose(de.vmap(de.grad(total, method=method))(x), slopes, **close)
        np.testing.assert_allclose(de.grad(lambda x: np.sum(de.vmap(total)(x)), method=method)(x), slopes, **close)
    np.testing.assert_allclose(de.jit(de.vmap(de.grad(total)))(x), slopes, **close)
    np.testing.assert_allclose(de.vmap(lambda x, v: de.jvp(f, (x,), (v,))[1])(x, x * 0.5), each(lambda x: de.jvp(f, (x,), (x * dtype(0.5),))[1], x), **close)


@pytest.mark.parametrize("f", [network, attention])
def test_second_derivatives(f):
    x = RNG.normal(size=(EXAMPLES, 5))

    def total(x):
        return np.sum(f(x))
    for g in (de.vmap(de.hessian(total)), de.jit(de.vmap(de.hessian(total))), de.vmap(lambda x: de.jacobian(de.grad(total))(x))):
        np.testing.assert_allclose(g(x), each(de.hessian(total), x), rtol=1e-10, atol=1e-12)
    blocks = de.jacobian(de.vmap(f))(x)
    np.testing.assert_allclose(blocks[2, ..., 2, :], de.jacobian(f)(x[2]), rtol=1e-12, atol=1e-13)
    assert not np.any(blocks[1, ..., 2, :])


def test_a_judged_vmap():
    x = RNG.normal(size=(3, 5))
    for f in (network, chosen, attention):
        assert de.compare(lambda x: np.sum(de.vmap(f)(x) ** 2), x).agree
    assert de.compare(lambda x: np.sum(de.vmap(de.grad(network))(x) ** 2), x).agree


def test_checkpoints_and_stopped_gradients():
    x = RNG.normal(size=(EXAMPLES, 5))

    def f(x):
        return np.sum(de.checkpoint(lambda x: np.sin(x) * x)(x) * de.stop_gradient(x))
    want = each(de.grad(f), x)
    for g in (de.vmap(de.grad(f)), de.jit(de.vmap(de.grad(f))), de.grad(lambda x: np.sum(de.vmap(f)(x))), de.jit(de.grad(lambda x: np.sum(de.vmap(f)(x))))):
        np.testing.assert_allclose(g(x), want, rtol=1e-13)


def test_axes():
    x, y = RNG.random((2, 3, 4)), RNG.random((3, 2))
    np.testing.assert_array_equal(de.vmap(lambda x, y: x * y[0], in_axes=(1, 0))(x, y), np.stack([x[:, k] * y[k, 0] for k in range(3)]))
    np.testing.assert_array_equal(de.vmap(lambda x, y: x * y[0, 0], in_axes=(-1, None), out_axes=1)(x, y), np.stack([x[..., k] * y[0, 0] for k in range(4)], 1))
    np.testing.assert_array_equal(de.vmap(lambda x: x, 2, -1)(x), x)
    outer = de.vmap(de.vmap(lambda a, b: a - b, (None, 0)), (0, None))
    np.testing.assert_array_equal(outer(x[0, 0], y[:, 0]), x[0, 0][:, None] - y[:, 0])
    out, same = de.vmap(lambda x: (x.sum(), 3.0), out_axes=(0, None))(x)
    assert out.shape == (2,) and same == 3.0
    np.testing.assert_array_equal(de.vmap(lambda x: 3.0)(x), [3.0, 3.0])
    assert de.vmap(lambda x: np.sum(np.sin(x)))(np.zeros((0, 3))).shape == (0,)


def test_containers_and_names():
    p = {"w": RNG.random((3, 5)), "b": [RNG.random(3), 2.0]}

    def f(p, x, *, scale=1.0):
        return {"y": p["w"] @ x * scale, "z": (p["b"][0], p["b"][1])}
    x = RNG.random((4, 5))
    got = de.vmap(f, in_axes=({"w": None, "b": None}, 0), out_axes={"y": 1, "z": None})(p, x, scale=np.arange(4.0))
    np.testing.assert_allclose(got["y"], (p["w"] @ x.T) * np.arange(4.0))
    assert np.array_equal(got["z"][0], p["b"][0]) and not np.shares_memory(got["z"][0], p["b"][0]) and got["z"][1] == 2.0
    stacked = {"w": np.stack([p["w"]] * 4), "b": [RNG.random((4, 3)), np.arange(4.0)]}
    assert de.vmap(f)(stacked, x)["z"][1].tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(de.vmap(lambda x, how: getattr(np, how)(x))(x, "sin"), np.sin(x))


def test_results_are_the_callers_own():
    x = RNG.random((3, 2))
    for f in (lambda x: x, lambda x: x[:1], lambda x: np.ones(2)):
        kept = x.copy()
        de.vmap(f)(x)[...] = 7
        np.testing.assert_array_equal(x, kept)


def test_another_number_of_examples_compiles_nothing():
    f = de.jit(de.vmap(de.value_and_grad(network)))
    f(RNG.random((6, 5)))
    before = de.kernels.compilations
    for n in (3, 50, 100):
        x = RNG.random((n, 5))
        np.testing.assert_allclose(f(x)[1], each(de.grad(network), x), rtol=1e-12)
    assert de.kernels.compilations == before


def branching(x):
    return x if x.sum() > 0 else -x


@pytest.mark.parametrize("call, error, words", [
    (lambda x: de.vmap(branching)(x), TypeError, ["test_batching.py:", "differs between examples", "np.where"]),
    (lambda x: de.vmap(lambda x: float(x[0]))(x), TypeError, ["differs between examples"]),
    (lambda x: de.vmap(3.0), TypeError, ["vmap needs a function"]),
    (lambda x: de.vmap(np.add)(x, x[:2]), ValueError, ["'x2' of add has 2", "3 examples"]),
    (lambda x: de.vmap(np.add)(x, 1.0), ValueError, ["'x2' of add", "shape ()", "in_axes=None"]),
    (lambda x: de.vmap(np.add, (0, 5))(x, x), ValueError, ["no axis 5"]),
    (lambda x: de.vmap(np.add, (0,))(x, x), ValueError, ["1 entries", "2 argument"]),
    (lambda x: de.vmap(np.sin, None)(x), ValueError, ["no argument of sin has an axis"]),
    (lambda x: de.vmap(lambda p: p["a"], ({"b": 0},))({"a": x}), ValueError, ["in_axes", "{'b': 0}", "'p'"]),
    (lambda x: de.vmap(np.sin, out_axes=None)(x), ValueError, ["differs between examples", "out_axes"]),
    (lambda x: de.vmap(np.sum, out_axes=1)(x), ValueError, ["out_axes=1", "1 axes"]),
    (lambda x: de.vmap(lambda x: "text")(x), TypeError, ["object of type str"]),
    (lambda x: de.vmap(lambda x: x @ np.ones(3))(x), ValueError, ["matmul", "test_batching.py:"])])
def test_errors(call, error, words):
    with pytest.raises(error) as caught:
        call(RNG.random((3, 2)))
    for word in words:
        assert word in str(caught.value), (word, str(caught.value))


@pytest.mark.parametrize("method", ["symbolic", "forward", "reverse"])
def test_constants_beside_examples_are_the_same_for_all(method):
    """As many examples as entries: nothing says which axis is which, but for the axes themselves."""
    p = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(de.vmap(de.grad(lambda x: np.sum(p * x ** 2), method=method))(np.ones((3, 3))), [2 * p] * 3)
    np.testing.assert_allclose(de.jit(de.vmap(de.grad(lambda x: np.sum(x ** p), method=method)))(np.ones((2, 3))), [p] * 2)


def test_a_shared_array_is_indexed_by_examples():
    table, i = RNG.random((4, 3)), np.array([1, 3, 0])
    np.testing.assert_array_equal(de.vmap(lambda T, i: T[i], in_axes=(None, 0))(table, i), table[i])
    np.testing.assert_array_equal(de.vmap(lambda T, i: T[i, 1:], in_axes=(None, 0))(np.arange(12).reshape(4, 3), i), np.arange(12).reshape(4, 3)[i, 1:])
    gradient = de.grad(lambda T: np.sum(de.vmap(lambda T, i: T[i] ** 2, in_axes=(None, 0))(T, i)))(table)
    np.testing.assert_allclose(gradient, 2 * table * np.array([1, 1, 0, 1])[:, None])


def per_example(f, x):
    return [f(row) for row in x]


BY_VALUES = {
    "interp": lambda x: np.interp(x, np.sort(x), x), "partition": lambda x: np.partition(x, 2), "unwrap": lambda x: np.unwrap(9 * x), "quantile": lambda x: np.quantile(x, x[0]),
    "nanquantile": lambda x: np.nanquantile(x, 0.3), "a mask": lambda x: np.sum(x[x > 0.5]), "nanargmax": lambda x: x[np.nanargmax(x)],
    "searchsorted": lambda x: np.searchsorted(np.sort(x), 0.5)}


@pytest.mark.parametrize("name", BY_VALUES)
def test_numpy_may_look_at_values_of_examples(name):
    f, x = BY_VALUES[name], np.random.default_rng(5).random((3, 4))
    np.testing.assert_allclose(de.vmap(f)(x), per_example(f, x))
    np.testing.assert_allclose(de.jit(de.vmap(f))(x), per_example(f, x))
    if name != "searchsorted":
        np.testing.assert_allclose(de.vmap(de.grad(lambda x: np.sum(f(x) ** 2)))(x), per_example(de.grad(lambda x: np.sum(f(x) ** 2)), x))


def test_results_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="vmap.*shapes .*np.where"):
        de.vmap(lambda x: x[x > 0.5])(np.array([[0.1, 0.9], [0.8, 0.9]]))


@pytest.mark.parametrize("index", [True, False, np.array(True), (True, slice(None, None, 2)), (slice(1), True), (np.True_, 0), (slice(None), np.newaxis, False)])
def test_truth_values_as_indices(index):
    x = RNG.random((3, 4))

    def f(x, v):
        y = x * 1
        y[index] = v
        return y, (x * 1)[index]
    for v in (lambda x: x[0], lambda x: 7.0):
        got = de.vmap(lambda x: f(x, v(x)))(x)
        for a, b in zip(got, zip(*[f(row, v(row)) for row in x])):
            np.testing.assert_array_equal(a, b)


def test_masked_assignment():
    def f(x, v):
        y = x * 1
        y[x > 0.5] = v
        return y
    x = RNG.random((3, 4))
    np.testing.assert_array_equal(de.vmap(lambda x: f(x, 2.0))(x), np.where(x > 0.5, 2.0, x))
    np.testing.assert_array_equal(de.vmap(lambda x: f(x, x[0]))(x), np.where(x > 0.5, x[:, :1], x))


def test_results_of_a_function_that_goes_one_by_one():
    def f(x):
        return np.zeros(2), de.while_loop(lambda s: s < 3, lambda s: s + 1, x)
    constant, last = de.vmap(f)(np.array([0.25, 0.75]))
    assert type(constant) is np.ndarray and constant.shape == (2, 2) and last.tolist() == [3.25, 3.75]
    assert de.vmap(f, out_axes=(None, 0))(np.array([0.25, 0.75]))[0].shape == (2,)
    assert [x.shape for x in de.vmap(f)(np.zeros(0))] == [(0, 2), (0,)]
    with pytest.raises(ValueError, match="out_axes is None"):
        de.vmap(f, out_axes=None)(np.array([0.25, 0.75]))
