"""Behind np.where, maximum and max, what was not chosen has no derivative, however steep it is, or without a value: no 0 times infinity."""
import numpy as np
import pytest

import diffeng as de

X = np.array([-1.0, 0.0, 2.0, 0.5])
# f of four numbers, and its derivatives at X: each function is smooth, or constant, near each of these, but for what is not chosen
CASES = {
    "log":            (lambda x: np.where(x > 0, np.log(x), x), [1, 1, 0.5, 2]),
    "root":           (lambda x: np.where(x > 0, np.sqrt(x), 0.0), [0, 0, 0.5 / np.sqrt(2), np.sqrt(0.5)]),
    "quotient":       (lambda x: np.where(x != 0, np.sin(x) / x, 1.0), [(np.cos(v) * v - np.sin(v)) / v ** 2 if v else 0 for v in X]),
    "other branch":   (lambda x: np.where(x <= 0, x ** 2, np.log(x) * x), [-2, 0, np.log(2) + 1, np.log(0.5) + 1]),
    "chain":          (lambda x: np.where(x > 0, np.exp(-1 / np.sqrt(x) + 3 * np.log(x)), 0.0),
                       [0, 0] + [np.exp(-v ** -0.5) * v ** 3 * (0.5 * v ** -1.5 + 3 / v) for v in X[2:]]),
    "overflow":       (lambda x: np.where(x > 1, x, np.exp(x ** 12)), [-12 * np.e, 0, 1, 12 * 0.5 ** 11 * np.exp(0.5 ** 12)]),
    "nested":         (lambda x: np.where(x > 0, np.where(x > 1, np.log(x - 1), np.sqrt(1 - x)), x), [1, 1, 1, -0.5 / np.sqrt(0.5)]),
    "maximum":        (lambda x: np.maximum(np.log(x * x), -9.0), [-2, 0, 1, 4]),
    "minimum":        (lambda x: np.minimum(1 / x ** 2, 3.0), [2, 0, -0.25, 0]),
    "shared":         (lambda x: np.where(x > 0, (r := np.sqrt(x)), 0.0) + np.where(x > 1, r * r, 0.0), [0, 0, 0.5 / np.sqrt(2) + 1, np.sqrt(0.5)]),
    "shifted":        (lambda x: np.where(x > 0, 2 * np.log(x) - np.reshape(np.stack([np.sqrt(x), x], 1)[:, 0], 4) / 4, 0.0), [0, 0] + [2 / v - 0.125 / np.sqrt(v) for v in X[2:]]),
    "of rows":        (lambda x: np.where(np.abs(x) > 0, np.sqrt(np.sum(np.stack([x, 2 * x]) ** 2, axis=0)), 0.0), [-np.sqrt(5), 0, np.sqrt(5), np.sqrt(5)]),
    "by one of rows": (lambda x: np.where((x > 0)[:, None], np.sum(np.sqrt(np.stack([np.stack([x, x], 1)] * 2)), axis=0), 0.0), [0, 0, 2 / np.sqrt(2), 2 / np.sqrt(0.5)]),
    "turned":         (lambda x: np.where(x > 0, np.log(x), 0.0).reshape(2, 2).T.ravel()[::-1], [0, 0, 0.5, 2]),
    "behind a turn":  (lambda x: np.where(np.arange(2) > 0, np.sqrt(x * [0, 0, 1, 1]).reshape(2, 2).T, 0.0), [0, 0, 0.5 / np.sqrt(2), np.sqrt(0.5)]),
    "behind a sum":   (lambda x: np.where(np.arange(2) > 0, np.sum(np.sqrt(np.outer(x - [9, 9, 0, 0], [1, 4])).reshape(2, 2, 2), axis=(1, 2)), 0.0),
                       [0, 0, 1.5 / np.sqrt(2), 1.5 / np.sqrt(0.5)]),
    "largest":        (lambda x: np.max(np.log(x * x)), [0, 0, 1, 0]),
    "piecewise":      (lambda x: np.piecewise(x, [x > 0], [lambda t: np.log(t), lambda t: t]), [1, 1, 0.5, 2]),
    "clipped":        (lambda x: np.clip(np.log(np.abs(x)), -2.0, 9.0), [-1, 0, 0.5, 2]),
    "beside":         (lambda x: np.where(x > 0, np.sqrt(x[2] - 2.0 + x * 0 + np.where(x > 0, 1.0, 0.0)), 1.0), [0, 0, 1, 0]),
    "by a length":    (lambda x: np.sum(np.where(np.abs(x)[:, None] > 0, np.stack([x, x * x], 1) / np.abs(x)[:, None], 0.0), axis=1), [-1, 0, 1, 1]),
    "by places":      (lambda x: np.sqrt(x * x)[np.array([0, 2, 2])], [-1, 0, 2, 0]),
    "by a mask":      (lambda x: np.log(x + 1.0)[np.array([False, True, True, False])] * 3, [0, 3, 1, 0]),
    "written over":   (lambda x: _written(np.sqrt(x * x), np.array([1]), 5.0), [-1, 0, 1, 1]),
    "distances":      (lambda x: np.sqrt((x[:, None] - x) ** 2)[np.triu_indices(4, 1)], [-3, -1, 3, 1]),
    "energies":       (lambda x: _inverted(np.sqrt((x[:, None] - x) ** 2)), None),
    "one for all":    (lambda x: np.where(x > 0, np.sqrt(x * x[3]), 0.0), [0, 0, 0.25, 1 + 0.5 * np.sqrt(2 / 0.5)]),
}


def _written(x, index, value):
    x[index] = value
    return x


def _inverted(r):
    """As codes of N bodies have it: no distance of a body from itself."""
    r[r > 0] = 1.0 / r[r > 0]
    return np.triu(r, 1) + np.tril(r, -1).T * 0.5


@pytest.mark.filterwarnings("ignore:.*encountered")
@pytest.mark.parametrize("name", CASES)
def test_what_is_not_chosen_has_no_derivative(name):
    f, want = CASES[name]
    total = lambda x: np.sum(f(x))
    want = de.grad(total, method="forward")(X) if want is None else want
    for method in ("reverse", "forward", "symbolic"):
        np.testing.assert_allclose(de.grad(total, method=method)(X), want, rtol=1e-12, atol=1e-300, err_msg=method)
        np.testing.assert_allclose(de.jit(de.grad(total, method=method))(X), want, rtol=1e-12, atol=1e-300, err_msg=f"jit, {method}")
    report = de.compare(total, X + [0.01, -0.01, 0.01, 0.01])
    assert report.agree and all([m.error < 1e-14 for m in report.methods.values()]), str(report)


@pytest.mark.filterwarnings("ignore:.*encountered")
@pytest.mark.parametrize("name", CASES)
def test_second_derivatives(name):
    f, want = CASES[name]
    total = lambda x: np.sum(f(x))
    away = X + [0.01, -0.01, 0.01, 0.01]                        # from kinks; what is not chosen is NaN, or has a steep slope, all the same
    h = 1e-5
    for x in (X, away) if name in ("log", "nested", "piecewise", "shifted") else (away,):
        slopes = [[(de.grad(total, method="forward")(x + s * h * e) / (2 * h * s)) for s in (1, -1)] for e in np.eye(4)]
        numeric = np.array([a + b for a, b in slopes])
        for method in ("reverse", "forward", "symbolic"):
            found = de.hessian(total, method=method)(x)
            if x is away:
                np.testing.assert_allclose(found, numeric, rtol=1e-5, atol=1e-5, err_msg=method)
            assert np.all(np.isfinite(found))
            np.testing.assert_allclose(de.jit(de.hessian(total, method=method))(x), found, rtol=1e-9, atol=1e-9, err_msg=f"jit, {method}")


BROADCAST = {
    "shares":     lambda x, w: np.where(np.arange(6) % 3 > 0, np.exp(x) / np.sum(np.exp(x)), 0.0) * w,
    "rows":       lambda x, w: np.where(w[:, None] > 0, np.outer(x, x) / (x * x)[:, None] + np.outer(w * w, x) ** x[:, None] * np.hypot(w[:, None], x), w[:, None]),
    "by columns": lambda x, w: np.where(np.tri(6, dtype=bool), (x[:, None] - x) / w, -w[:, None]) @ x,
    "softmax":    lambda x, w: (lambda s: np.exp(s - np.max(s, 1, keepdims=True)) / np.sum(np.exp(s - np.max(s, 1, keepdims=True)), 1, keepdims=True))(
        np.where(np.tri(6, dtype=bool), np.outer(x, w), -1e10)),
    "dropped":    lambda x, w: de.random.dropout(np.tanh(np.outer(x, w)) + de.random.dropout(np.outer(w, x), 0.3, 1, 0) / np.mean(w * w), 0.4, 1, 100),
    "largest":    lambda x, w: np.max(np.outer(x, w) ** 2 / (1 + x * x)[:, None], axis=0) * np.maximum(x * np.sum(x * w), w) - np.min(np.sin(np.outer(x, x)), axis=(0, 1)),
    "of parts":   lambda x, w: np.where(x[1:] > 0, np.concatenate([x[:2], w[2:5]]) / x[-1], np.var(np.outer(x, w), axis=1)[1:] * np.prod(x)),
}


@pytest.mark.parametrize("name", BROADCAST)
def test_operands_that_are_broadcast_behind_choices(name):
    x, w = np.abs(np.random.default_rng(1).normal(size=6)) + 0.2, np.random.default_rng(2).normal(size=6)
    x[0] = 2.5
    total = lambda x, w: np.sum(np.sin(BROADCAST[name](x, w)) * 0.7)
    want = de.grad(total, argnums=(0, 1), method="forward")(x, w)
    for method in ("reverse", "symbolic"):
        for g in (de.grad(total, argnums=(0, 1), method=method), de.jit(de.grad(total, argnums=(0, 1), method=method))):
            for got, right in zip(g(x, w), want):
                np.testing.assert_allclose(got, right, rtol=1e-10, atol=1e-12, err_msg=method)


ROWS = np.array([True, False, True])
SCORES = np.array([[[1.0, 4.0, 0.25], [0.0, 0.0, 0.0], [2.0, 1.0, 9.0]]] * 2) * [[[1.0]], [[2.0]]]           # (2, 3, 3), whose middle rows are 0
FEWER = {                                                       # the condition has fewer axes than what it chooses of
    "rows":      lambda s: np.sum(np.where(ROWS, np.sum(np.sqrt(s), axis=2), 0.0)),
    "columns":   lambda s: np.sum(np.where(ROWS[:, None], np.sum(np.sqrt(s).transpose(1, 0, 2), axis=1), 0.0)),
    "products":  lambda s: np.sum(np.where(ROWS, np.prod(np.sqrt(s), axis=2), 0.0)),
    "of all":    lambda s: np.sum(np.where(np.sum(s) > 1e9, np.max(np.sqrt(s), axis=2), s[:, :, 0])),
    "lengths":   lambda s: np.sum(np.where(ROWS[:, None], np.sum(np.sqrt(s), axis=2, keepdims=True), 0.0)),
    "parts":     lambda s: np.sum(np.where(ROWS, np.sum(np.sqrt(s), axis=2, keepdims=True)[..., 0], 0.0)),
    "units":     lambda s: np.sum(np.where(np.sum(s, axis=2)[..., None] > 0, s ** 2 / np.sqrt(np.sum(s * s, axis=2))[..., None], 0.0)),
    "computed":  lambda s: np.sum(np.where(np.sum(s, axis=(0, 2)) > 0, np.sum(np.sqrt(s), axis=2, keepdims=True)[..., 0], 0.0)),
}


@pytest.mark.filterwarnings("ignore:.*encountered")
@pytest.mark.parametrize("name", FEWER)
def test_a_condition_of_fewer_axes(name):
    want = de.grad(FEWER[name], method="forward")(SCORES)
    assert np.isfinite(want).all()
    for method in ("reverse", "symbolic"):
        np.testing.assert_allclose(de.grad(FEWER[name], method=method)(SCORES), want, rtol=1e-14)
        compiled = de.jit(de.grad(FEWER[name], method=method))
        np.testing.assert_allclose(compiled(SCORES), want, rtol=1e-14)
        np.testing.assert_allclose(compiled(SCORES[:1]), want[:1], rtol=1e-14)
        np.testing.assert_allclose(de.jit(de.grad(FEWER[name], method=method))(SCORES[:1]), want[:1], rtol=1e-14)


@pytest.mark.filterwarnings("ignore:.*encountered")
def test_as_many_choices_as_there_are():
    def f(x):
        y = np.log(x)
        for _ in range(3000):
            y = np.where(x > -1, y, 0.0) + np.maximum(y, x) * 1e-9
        return np.sum(np.where(x > 0, y, 0.0))
    for method in ("reverse", "symbolic"):
        np.testing.assert_allclose(de.grad(f, method=method)(np.array([0.0, 1.0, 2.0])), de.grad(f, method="forward")(np.array([0.0, 1.0, 2.0])), rtol=1e-10)


def test_a_rule_of_ones_own_meets_no_nan():
    """A result that is not finite is computed again; what somebody else has written is asked with the numbers that count."""
    met = []

    @de.custom
    def same(x):
        return x * 1.0

    @same.pull
    def pulled(x, out, g):
        met.append(g)
        return g
    found = de.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(same(x)), 0.0)))(np.array([0.0, 1.0, 4.0]))
    np.testing.assert_allclose(found, [0.0, 0.5, 0.25], rtol=1e-14)
    assert len(met) == 1 and np.isfinite(met[0]).all()
