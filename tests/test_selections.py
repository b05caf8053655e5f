"""What a mask chooses under jit, in loops and of many examples: one recording for all masks, and the numbers of NumPy."""
import numpy as np
import pytest

import diffeng as de

W = np.array([[1.0, 0.5], [-0.3, 2.0], [0.7, -1.0]])


def pieces(x, a):
    y, m = np.zeros_like(x), x > 0
    y[m] = a * np.log(x[m])
    y[~m] = x[~m] ** 2 - a
    return y


def by_one_name(x, a):
    y = x.copy()
    y[y < 0] *= a
    y[y > 1] += np.sqrt(y[y > 1] - 1)
    return y


def statistics(x, a):
    chosen = x[x > 0.2]
    return np.array([chosen.sum(), np.mean(chosen * a), np.var(chosen), chosen.std(ddof=1), np.prod(1 + 0.1 * chosen), chosen.max(), np.min(a * chosen),
                     np.linalg.norm(chosen), np.dot(chosen, np.sin(chosen)), chosen @ chosen])


def truths(x, a):
    return np.where(np.any(x[x > 0.2] > 1.5), a, 2 * a) * np.where(np.all(np.isfinite(x[x > 0])), x, 0.0) + np.count_nonzero(x[x > 0] < 1)


def rows(x, a):
    X = np.stack([x, a * x ** 2, np.cos(x)], axis=1)
    m = X[:, 0] > 0.1
    part = X[m]
    return np.sum(part, axis=0).sum() + np.sum(part[:, 0] * part[:, 1]) + np.sum(np.tanh(part @ W), axis=1).sum() + np.max(part, axis=0)[2] + np.sum(X[m, 2]) + \
        np.sum(part[..., 1] * part[:, None, 2][:, 0]) + part.mean(axis=0, keepdims=True)[0, 1] + np.sum(np.linalg.norm(part, axis=1)) + np.sum(part * [1.0, 2.0, 3.0])


def written_rows(x, a):
    X = np.stack([x, a * x ** 2], axis=1)
    m = x > 0.1
    X[m] = X[m] * a + np.array([1.0, -1.0])
    X[m, 0] = np.exp(X[m, 0])
    return X


def of_a_matrix(x, a):
    X = np.outer(x, x)
    m = X > 0.3
    out = np.zeros_like(X)
    out[m] = np.log(X[m]) * a
    return np.sum(out) + np.mean(X[m]) + np.max(X[m]) + np.sum(X[m], keepdims=True)[0]


def twice(x, a):
    chosen = x[x > 0]
    return np.sum(chosen[chosen < 1] * a) + np.sum(np.sqrt(chosen[chosen > 0.5]))


def by_names(x, a):
    return np.piecewise(x, [x < -0.5, x > 0.5], [lambda t: a * t, lambda t: np.log(t), lambda t: t ** 3]) + np.extract(x > 0, x).sum() + np.compress(x > 0, x).sum() * a


def of_scalars(x, a):
    """A parameter beside the chosen ones, whose derivative is a sum over these alone."""
    m = x > 0
    return np.sum(np.log(x[m]) ** 2 * a + np.sqrt(x[m] * a)) + np.sum((np.abs(x[~m]) * a - 1 / (x[~m] - 3)) ** a)


def one_after_another(x, a):
    for _ in range(3):
        m = np.abs(x) > 0.7
        x = x + 0.0
        x[m] = x[m] - 0.3 * np.sin(a * x[m])
    return x


def kept(x, a):
    """What was chosen stays, whatever is written afterwards into what it was chosen of, into the mask, or into itself."""
    x = x * 1.0
    m = x > 0
    chosen = x[m]
    other = chosen
    x[m] = 7.0 * a
    m[:2] = False
    chosen *= a
    return np.sum(chosen) + np.sum(other ** 2) + np.sum(x[m])


def changed_mask(x, a):
    m = x > 0
    before = np.sum(x[m])
    m &= x < 1
    return before * np.sum(a * x[m]) + np.sum(x[m | (x < -1)])


def by_places(x, a):
    i = np.where(x > 0)[0]
    y = x * a
    y[i] = np.sqrt(x[i]) + x[i - 1] * y[i]
    X = np.outer(x, x)
    rows, columns = np.nonzero(X > 0.3)
    X[rows, columns] *= a
    return y + np.sum(X[rows, columns] ** 2) + np.sum(x[rows] / x[columns]) + np.take(x, np.flatnonzero(X < 0) % 3).sum() + np.sum(i * a) + np.sum(np.stack([x, y], 1)[i, 1])


def of_numbers_without_a_root(x, a):
    """What stands in place of what is not chosen has no root here, and whatever is beside it has a derivative all the same."""
    m, table = np.abs(x) < 0.8, np.stack([-a, -2 * a, a])
    X, k, part = np.stack([np.abs(x), np.ones_like(x)], axis=1), np.where(m, 2, 0), np.abs(x[m])
    return np.sum(np.sqrt(X[m] @ np.stack([-a, 0.9 * a]))) + np.sum(np.sqrt(table[k[m]] * x[m] ** 2)) + np.sum(table[k[m] * 50 - 98]) + part @ np.sqrt(0.9 - part) + \
        np.sum(np.log(0.9 * a - part * a))


def derivative_inside(x, a):
    """By an inner variable, of what the same mask chooses before and within."""
    m = x > 0
    inner = de.grad(lambda y, s: np.sum(y[m] ** 3 * s) * np.sum(x[m]) + np.sum(np.log(y[m]) * x[m]), argnums=(0, 1))
    dy, ds = inner(x * a, np.mean(x[m]))
    return dy[m].sum() * x + ds * a


FUNCTIONS = [derivative_inside, by_places, of_numbers_without_a_root, pieces, by_one_name, statistics, truths, rows, written_rows, of_a_matrix, twice, by_names, of_scalars, one_after_another, kept, changed_mask]


def points(n=12):
    random = np.random.default_rng(5)
    for k in range(5):
        yield random.normal(size=n) + (0.5 if k % 2 else 0.0), 1.5 + 0.1 * k


def total(f):
    return lambda x, a: np.sum(f(x, a) * np.cos(np.arange(np.size(f(x, a)))).reshape(np.shape(f(x, a))))


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_one_recording_for_all_masks(f):
    compiled, slopes = de.jit(f), de.jit(de.value_and_grad(total(f), argnums=(0, 1)))
    for x, a in points():
        np.testing.assert_allclose(compiled(x, a), f(x, a), rtol=1e-12)
        value, gradient = slopes(x, a)
        want, there = de.value_and_grad(total(f), argnums=(0, 1))(x, a)
        np.testing.assert_allclose(value, want, rtol=1e-12)
        for got, right in zip(gradient, there):
            np.testing.assert_allclose(got, right, rtol=1e-10, atol=1e-12)
    assert compiled.traces == 1 and slopes.traces == 1


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_other_derivatives(f):
    """Forward mode, second derivatives, and single precision."""
    g = total(f)
    for x, a in [*points(6)][:2]:
        direction = np.cos(np.arange(6.0))
        got, want = [de.jit(lambda x, h=h: h(lambda x: g(x, a), x))(x) for h in (lambda f, x: de.jvp(f, (x,), (direction,))[1], lambda f, x: de.hessian(f)(x))], \
                    [de.jvp(lambda x: g(x, a), (x,), (direction,))[1], de.hessian(lambda x: g(x, a))(x)]
        np.testing.assert_allclose(got[0], want[0], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(got[1], want[1], rtol=1e-9, atol=1e-10)
        narrow = de.jit(f)(x.astype("f4"), np.float32(a))
        assert narrow.dtype == np.asarray(f(x.astype("f4"), np.float32(a))).dtype
        np.testing.assert_allclose(narrow, f(x, a), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_many_examples(f):
    examples = np.stack([x for x, _ in points()])
    a = 1.3
    for g in (f, de.grad(total(f))):
        want = np.stack([g(x, a) for x in examples])
        np.testing.assert_allclose(de.vmap(g, in_axes=(0, None))(examples, a), want, rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(de.jit(de.vmap(g, in_axes=(0, None)))(examples, a), want, rtol=1e-10, atol=1e-11)


def test_in_the_body_of_a_loop():
    """Where no turn's values are known."""
    def step(x, a):
        y = x * 1.0
        y[x > 0.2] = np.cos(x[x > 0.2] * a)
        return y, np.sum(y[y > 0.5])

    def looped(x, rates):
        x, sums = de.scan(step, x, rates)
        return np.sum(x) + np.sum(sums ** 2)

    def plain(x, rates):
        sums = 0.0
        for a in rates:
            x, more = step(x, a)
            sums = sums + more ** 2
        return np.sum(x) + sums
    x, rates = np.linspace(-1, 2, 9), np.linspace(0.5, 1.5, 6)
    for g in (looped, de.jit(looped)):
        np.testing.assert_allclose(g(x, rates), plain(x, rates), rtol=1e-12)
    want = de.grad(plain, argnums=(0, 1))(x, rates)
    for got, right in zip(de.jit(de.grad(looped, argnums=(0, 1)))(x, rates), want):
        np.testing.assert_allclose(got, right, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("x", [np.zeros(5), -np.arange(1.0, 6), np.arange(1.0, 6), np.ones(1), np.array([np.nan, 1.0, -1.0])], ids=["none", "below", "all", "one", "nan"])
def test_none_and_all(x):
    def f(x):
        y, m = x * 0, x > 0
        y[m] = np.log(x[m]) / x[m]
        return np.sum(y) + np.sum(x[m]) + np.prod(x[m]) + np.any(x[m] > 2) + x[~m].sum()
    known = np.array([0.5, -0.5, 3.0])[:len(x)] if len(x) < 5 else np.array([0.5, -0.5, 3.0, 1.0, -1.0])
    g = de.jit(de.value_and_grad(f))
    g(known[:len(x)])
    value, slope = g(x)
    np.testing.assert_allclose(value, f(x), rtol=1e-14)
    np.testing.assert_allclose(slope, de.grad(f)(x), rtol=1e-14)
    assert g.traces == 1


def test_the_largest_of_none_is_numpys_error():
    f = de.jit(lambda x: np.max(x[x > 0]))
    assert f(np.array([1.0, 2.0])) == 2.0
    with pytest.raises(ValueError, match="zero-size"):
        f(np.array([-1.0, -2.0]))
    assert de.jit(lambda x: np.max(x[x > 0], initial=-5.0))(np.array([-1.0])) == -5.0


OTHERS = {
    "sorted": lambda x: np.sort(x[x > 0]), "length": lambda x: np.sum(x[x > 0]) / len(x[x > 0]), "returned": lambda x: x[x > 0] * 2, "first": lambda x: x[x > 0][0],
    "median": lambda x: np.median(x[x > 0]), "beside a constant": lambda x: np.sum(x[x > 0] * np.arange(6.0)[np.asarray(x > 0)]),
    "both": lambda x: np.concatenate([x[x > 0], x[x <= 0] ** 2]), "two masks": lambda x: x[x > 0][:2] + x[x < 0][:2], "stacked": lambda x: np.stack([x[x > 0], x[x > 0] ** 2]).sum(0),
    "iterated": lambda x: sum(t * t for t in x[x > 0]), "filled": lambda x: np.ones_like(x[x > 0]) * x[x > 0], "shape": lambda x: np.zeros(x[x > 0].shape) + x[x > 0],
    "cumulated": lambda x: np.cumsum(x[x > 0]), "written": lambda x: _set(x[x > 0], 0, 9.0), "position": lambda x: np.argmax(x[x > 0]) + x[0],
    "reshaped": lambda x: x[x > 0].reshape(-1, 1) * np.ones(2), "by place": lambda x: x[x > 0][np.array([1, 0])], "a view": lambda x: _set((t := x[x > 0])[1:], 0, 5.0).sum() + t.sum(),
    "differences": lambda x: np.diff(x[x > 0]), "of integers": lambda x: np.arange(6)[np.asarray(x > 0)] * x[x > 0], "a truth": lambda x: x[0] if x[x > 0][0] > 1 else x[1],
}


def _set(x, index, value):
    x[index] = value
    return x


@pytest.mark.parametrize("name", OTHERS)
def test_what_asks_for_those_that_are_chosen_now(name):
    f = OTHERS[name]
    compiled = de.jit(f)
    for x in (np.array([3.0, -1.0, 0.5, -2.0, 1.5, 0.2]), np.array([-3.0, 1.0, 0.5, -2.0, -1.5, 0.2]), np.array([3.0, -1.0, 0.25, -2.0, 1.0, 0.2])):
        np.testing.assert_allclose(compiled(x), f(x), rtol=1e-14)
        g = de.grad(lambda x: np.sum(np.sin(f(x))))
        np.testing.assert_allclose(de.jit(g)(x), g(x), rtol=1e-12, atol=1e-14)


def placed(x):
    """Into an array that is longer than the mask, at places that the mask says."""
    y, at = np.zeros((8, 2)) * x[0], np.nonzero(x > 0)[0]
    y[at, 1] = x[at]
    y[at] += y[at] ** 2
    return y


def of_integers(x):
    k = np.floor(x).astype(int)
    return x * (np.sum(2 ** (k[k > 1] - 2)) + np.sum(k[k > 1] ** (k[k > 1] - 2)))


def zeros_apart(x):
    """Two masks that differ by the sign of a 0 alone."""
    nothing = np.abs(x) * 0
    return np.sum(x[np.arctan2(nothing, 0.0) > 1]) + 2 * np.sum(x[np.arctan2(nothing, -0.0) > 1]) + x


@pytest.mark.parametrize("f", [
    placed, of_integers, zeros_apart,
    lambda x: np.sum(x[x[0] > 0], axis=0, keepdims=True) + np.sum(np.stack([x, x])[x[0] > 0], axis=(0, 1), keepdims=True),
    lambda x: x * np.sum(np.arange(6)[np.nonzero(x > 0)[0]]),
    lambda x: x * 2 if (at := np.nonzero(x == x[0])[0]).size == 1 and not bool(at) else x * 3,
], ids=["placed", "integers", "zeros", "without axes", "places", "a place's truth"])
def test_as_numpy_has_it(f):
    compiled, slope = de.jit(f), de.jit(de.grad(lambda x: np.sum(np.sin(f(x)))))
    for x in (np.array([3.0, -1.0, 0.5, -2.0, 1.5, 0.2]), np.array([-3.0, 1.0, 2.5, -2.0, -1.5, 0.2]), -np.ones(6)):
        want = f(x)
        np.testing.assert_allclose(compiled(x), want, rtol=1e-14)
        assert compiled(x).shape == want.shape
        np.testing.assert_allclose(slope(x), de.grad(lambda x: np.sum(np.sin(f(x))), method="forward")(x), rtol=1e-12, atol=1e-14)


def _spread_rows(x):
    y = np.zeros((6, 1))
    y[x > 0] = np.stack([x, x], axis=1)[x > 0]
    return y


def _spread_one(x):
    y = np.outer(x, [1.0])
    y[x > 0] = np.array([1.0, 2.0])
    return y


def _in_place(x):
    part = np.outer(x, [1.0])[x > 0]
    part += np.stack([x, x], axis=1)[x > 0]
    return part


def _another_length(x):
    y = np.zeros(1) * x[0]
    y[x > 0] = x[x > 0]
    return y


@pytest.mark.parametrize("f", [_spread_rows, _spread_one, _in_place, _another_length], ids=lambda f: f.__name__)
def test_what_numpy_refuses(f):
    x = np.array([3.0, -1.0, 0.5, -2.0, 1.5, 0.2])
    for g in (f, de.jit(f)):
        with pytest.raises((ValueError, IndexError)):
            g(x)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_a_python_number_takes_the_dtype_of_what_is_chosen(dtype):
    x = np.array([3.0, -1.0, 0.5, -2.0], dtype)
    for f in (lambda x, a: np.sum(x[x > 0] * a), lambda x, a: x[x > 0] + a, lambda x, a: np.mean(np.where(x[x > 0] > 1, x[x > 0], a)), lambda x, a: (x > 0)[x > 0] * a):
        for got, want in ((de.jit(f)(x, 1.25), f(x, 1.25)), (de.jit(f)(x, np.float64(1.25)), f(x, np.float64(1.25)))):
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=1e-2 if dtype == "f2" else 1e-6)


def test_the_judge_of_many_examples():
    """Who runs them all in 100 digits, with masks that are the same where they are computed anew."""
    def f(x, a):
        y, m = x.copy(), x < 1
        y[x > a] = np.log(x[x > a] - a) * np.sum(x[x > a])
        y[m] *= np.mean(y[m])
        return y
    x = np.array([0.5, -0.5, 1.5, -1.2, 0.1])
    report = de.compare(lambda x: np.sum(np.sin(de.vmap(f, in_axes=(0, None))(np.stack([x, 2 * x + 0.01]), 0.05))), x)
    assert report.agree, str(report)


def test_a_loop_of_many_masks(monkeypatch):
    """Each is compared with a few others."""
    from diffeng import selections
    compared, original = [], selections._are_alike
    monkeypatch.setattr(selections, "_are_alike", lambda x, y: compared.append(1) or original(x, y))

    def f(x):
        y = x.copy()
        for _ in range(100):
            y[y > 1] *= 0.99
        return y
    x = np.array([3.0, -1.0, 0.5, 2.0])
    np.testing.assert_allclose(de.jit(f)(x), f(x), rtol=1e-12)
    assert len(compared) < 2500


def test_the_largest_and_an_initial_value():
    """Which is there where nobody can know whether a mask chooses anything."""
    def turn(x, a):
        y = x * a
        return y, np.max(y[y > 0.5], initial=0.2) + np.min(np.stack([x, y], 1)[y > 0.5], axis=0, initial=2.0)[1] + np.max(y[y > 0.5], initial=-9.0, keepdims=True)[0]
    looped = lambda x: (lambda last, sums: np.sum(last) + np.sum(np.sin(sums)))(*de.scan(turn, x, np.array([0.9, 0.7, 0.3])))

    def plain(x):
        total = 0.0
        for a in (0.9, 0.7, 0.3):
            x, one = turn(x, a)
            total = total + np.sin(one)
        return np.sum(x) + total
    for x in (np.array([3.0, -1.0, 0.75]), np.array([-1.0, 0.625, -2.0])):
        for g in (looped, de.jit(looped)):
            np.testing.assert_allclose(g(x), plain(x), rtol=1e-14)
        for g in (de.grad(looped), de.jit(de.grad(looped)), de.jit(de.grad(looped, method="forward"))):
            np.testing.assert_allclose(g(x), de.grad(plain)(x), rtol=1e-13)


def again(x):
    """Of what was chosen a part, by masks of as many axes or fewer; and written into it."""
    X = np.stack([x, x ** 2 - 1, np.sin(x)], axis=1)
    part = X[x > -1]
    part[part > 0.5] = np.sqrt(part[part > 0.5]) * 1.5
    part[part[:, 1] > 0] *= [1.0, 2.0, 3.0]
    part[part[:, 0] < 0.3, 1] = 0.7
    X[x > -1] = part
    return X.sum(axis=1) + np.sum(np.exp(part[part < 0.4])) + np.sum(part[part[:, 2] > 0.1], axis=0)[1] * np.sum(part[part[:, 0] > 0, 2])


def test_chosen_of_what_was_chosen():
    compiled, slope = de.jit(again), de.jit(de.grad(lambda x: np.sum(np.sin(again(x)))))
    for x in (np.array([3.0, -0.9, 0.5, -2.0, 1.5, 0.2]), np.array([-3.0, 1.1, 2.5, -2.0, -0.5, 0.25]), -1.5 * np.ones(6)):
        np.testing.assert_allclose(compiled(x), again(x), rtol=1e-13)
        np.testing.assert_allclose(slope(x), de.grad(lambda x: np.sum(np.sin(again(x))), method="forward")(x), rtol=1e-11, atol=1e-13)
    assert compiled.traces == slope.traces == 1
    examples = np.random.default_rng(0).normal(size=(4, 6))
    np.testing.assert_allclose(de.vmap(again)(examples), [again(x) for x in examples], rtol=1e-12)


def test_what_a_loop_cannot_hold():
    """A turn that asks what is chosen now is run by Python."""
    f = lambda x: de.scan(lambda c, a: (c * a, np.sum(np.sort(c[c > 0])[:1])), x, np.array([1.0, -2.0, 3.0]))[1]
    for x in (np.array([1.0, -1.0, 0.5]), np.array([-1.0, -1.5, 0.5])):
        np.testing.assert_allclose(f(x), np.array([np.sum(np.sort(c[c > 0])[:1]) for c in (x, x, -2 * x)]), rtol=1e-14)
        np.testing.assert_allclose(de.jit(f)(x), f(x), rtol=1e-14)
