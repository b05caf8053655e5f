"""Maxima without influence: the proof says yes where mathematics does, and no wherever anything of the maximum is left."""
import numpy as np
import pytest

import diffeng as de
from diffeng import reverse_mode
from diffeng.differentiate import Recorded
from diffeng.nodes import Tracing, reachable
from diffeng.shifts import LARGEST, without_shifts
from diffeng.testing import plant
from diffeng.trees import Flat

X = np.random.default_rng(5).normal(size=(4, 6))
W = np.random.default_rng(6).normal(size=(6, 3))
LABELS = np.array([2, 0, 5, 1])
ROWS = np.arange(4)
BAND = np.tri(4, 6, 2, dtype=bool)


def top(x):
    return np.max(x, axis=1, keepdims=True)


def softmax(x):
    e = np.exp(x - top(x))
    return e / np.sum(e, axis=1, keepdims=True)


def logsumexp(x):
    m = np.max(x, axis=1)
    return m + np.log(np.sum(np.exp(x - m[:, None]), axis=1))


def cross_entropy(x, rows=ROWS):
    z = x - top(x)
    return -np.mean((z - np.log(np.sum(np.exp(z), axis=1, keepdims=True)))[rows, LABELS])


def picked(x, rows=ROWS):
    """The label's score and the logarithm apart: both move, and along the same axis."""
    z = x - top(x)
    return np.sum(np.log(np.sum(np.exp(z), axis=1)) - z[rows, LABELS])


def mixture(x):
    """Log-likelihood of points under Gaussians with weights of their own."""
    centres, weights = x[:, :2], x[:, 2]
    points = np.array([[0.1, 0.2], [0.3, -1.0], [2.0, 0.0]])
    terms = weights - np.sum((points[:, None, :] - centres) ** 2, axis=2)
    m = np.max(terms, axis=1)
    return np.sum(m + np.log(np.sum(np.exp(terms - m[:, None]), axis=1))) - 3 * (np.max(weights) + np.log(np.sum(np.exp(weights - np.max(weights)))))


def flash(x):
    """Attention as it is computed in tiles: divided after the product."""
    e = np.exp(x - top(x))
    return np.sum(np.sin((e @ W) / np.sum(e, axis=-1, keepdims=True)))


def masked(x):
    scores = np.where(BAND, x, -1e10)
    return np.sum(softmax(scores) ** 2)


def masked_late(x):
    z = np.where(BAND, x - top(x), -np.inf)
    e = np.where(BAND, np.exp(z), 0)
    return np.sum((e / np.sum(e, axis=1, keepdims=True))[:, 1] ** 2)


def tempered(x, scale=lambda z: z / 3 * 2.5):
    e = np.exp(scale(x - top(x)))
    return np.sum((e / np.sum(e, axis=1, keepdims=True)) ** 2)


def sqrt_of_square(x):
    e = np.exp(x - top(x))
    return np.sum(np.sqrt(np.sum(np.square(e), axis=1)) / np.mean(e, axis=1) + np.absolute(-e)[:, 0] ** 3 * np.sum(e, axis=1) ** -3)


def transposed(x):
    e = np.transpose(np.exp(x - top(x)))
    return np.sum(np.reshape(e / np.sum(e, axis=0), (2, 3, 4)) ** 2)


def over_all(x):
    z = np.exp(x - np.max(x))
    return np.sum(z[1:, ::2] ** 2) / np.sum(z) ** 2


def centred(x):
    """A variance does not notice what is added everywhere."""
    return np.sum(np.var(x - top(x), axis=1) + (np.mean(x - top(x), axis=1) - np.min(x - top(x), axis=1)) ** 2)


def twice(x):
    return np.sum(softmax(softmax(x) * 5)[:, 0] ** 2)


def of_maxima(x):
    """A maximum of what was shifted by one."""
    z = x - top(x)
    e = np.exp(z - top(z))
    return np.sum(e[:, 0] / np.sum(e, axis=1))


YES = {"softmax": lambda x: np.sum(softmax(x) ** 2), "logsumexp": lambda x: np.sum(logsumexp(x) ** 2), "cross_entropy": cross_entropy, "picked": picked,
       "mixture": mixture, "flash": flash, "masked": masked, "masked_late": masked_late, "tempered": tempered,
       "doubled": lambda x: tempered(x, lambda z: z * 2), "sqrt_of_square": sqrt_of_square, "transposed": transposed, "over_all": over_all, "centred": centred,
       "twice": twice, "of_maxima": of_maxima,
       "row of the same": lambda x: np.sum((z := np.exp(x - top(x)))[:, 1:3] / z[:, 3:]  [:, :1]),
       "einsum": lambda x: np.sum(np.einsum("ij,jk->ki", e := np.exp(x - top(x)), W) / np.sum(e, axis=1)),
       "labels along": lambda x: np.sum(np.take_along_axis(z := x - top(x), LABELS[:, None], 1) - np.log(np.sum(np.exp(z), axis=1, keepdims=True)))}

E_ = lambda x: np.exp(x - top(x))        # noqa: E731
NO = {
    "the maximum itself":   lambda x: np.sum(softmax(x) ** 2 + top(x)),
    "the exponential alone": lambda x: np.sum(E_(x)),
    "the difference alone": lambda x: np.sum((x - top(x)) * W[:, 0]),
    "another axis":         lambda x: np.sum((e := np.exp(x - top(x))) / np.sum(e, axis=0)),
    "summed over all":      lambda x: np.sum(E_(x)[:, 0] / np.sum(E_(x))),
    "two temperatures":     lambda x: np.sum(np.exp((x - top(x)) / 2)[:, 0] / np.sum(E_(x), axis=1)),
    "nearly the same":      lambda x: np.sum(np.exp((x - top(x)) * 0.1 * 3)[:, 0] / np.sum(np.exp((x - top(x)) * 0.3), axis=1)),
    "not divided enough":   lambda x: np.sum(E_(x)[:, 0] ** 2 / np.sum(E_(x), axis=1)),
    "something added":      lambda x: np.sum(E_(x)[:, 0] / (1 + np.sum(E_(x), axis=1))),
    "an array's temperature": lambda x: np.sum((e := np.exp((x - top(x)) * W[:, 0])) / np.sum(e, axis=1, keepdims=True)),
    "a traced temperature": lambda x: np.sum(e := np.exp((x - top(x)) * x[0, 0])) / np.sum(e),
    "another row":          lambda x: np.sum((e := E_(x))[1:, 0] / np.sum(e, axis=1)[:-1]),
    "one row for all":      lambda x: np.sum(np.reshape((e := E_(x))[0:1], (6,)) / np.reshape(e[1:2], (6,))),
    "a row by number":      lambda x: np.sum((e := E_(x))[0] / e[1]),
    "rows in another order": lambda x: picked(x, np.array([1, 0, 2, 3])),
    "backwards":            lambda x: np.sum((e := E_(x))[::-1, 0] / np.sum(e, axis=1)),
    "the transpose":        lambda x: np.sum((e := np.exp((y := x[:, :4]) - top(y))) / np.transpose(e)),
    "melted axes":          lambda x: np.sum((e := E_(x)).ravel()[:4] / np.sum(e, axis=1)),
    "summed over rows":     lambda x: np.sum((e := E_(x)).T @ np.ones(4)) / np.sum(e),
    "a product of both":    lambda x: np.sum((e := E_(x)) @ e.T) / np.sum(e) ** 2,
    "log1p":                lambda x: np.sum((z := x - top(x))[:, 0] - np.log1p(np.sum(np.exp(z), axis=1))),
    "masked with a number": lambda x: np.sum((e := np.exp(np.where(BAND, x - top(x), -1e3))) / np.sum(e, axis=1, keepdims=True)),
    "masked with one":      lambda x: np.sum((e := np.where(BAND, E_(x), 1.0))[:, 0] / np.sum(e, axis=1)),
    "a power of it":        lambda x: np.sum(2.0 ** (x - top(x))),
    "a clipped difference": lambda x: np.sum((e := np.exp(np.maximum(x - top(x), -1.0))) [:, 0] / np.sum(e, axis=1)),
    "weighted by itself":   lambda x: np.sum(softmax(x)[:, 0] * np.max(x, axis=1)),
    "through another":      lambda x: np.sum(np.max(x - top(x) / 2, axis=1)),
    "a leaky mean":         lambda x: np.sum(np.mean(x - top(x), axis=1) * 6 - np.sum(x - top(x) * 0.99, axis=1)),
}


def edges(fun, *args):
    recorded = Recorded(Flat(fun, args))
    outputs = [o for o in recorded.outputs if o is not None]
    order = reachable(outputs)
    return recorded, outputs, without_shifts(order, outputs), [n for n in order if n.primitive.name == "max"]


def pulled(recorded, outputs, skip):
    return reverse_mode.gradient(outputs, [np.ones(())], recorded.nodes, lambda n: n.value, skip=skip)[0]


@pytest.mark.parametrize("name", YES)
def test_no_influence(name):
    recorded, outputs, skip, tops = edges(YES[name], X)
    assert skip and {k for k, _ in skip} & {id(n) for n in reachable(outputs)}
    readers = [(id(n), k) for n in reachable(outputs) for k, p in enumerate(n.operands) if any(p is m for m in tops) and n.primitive.differentiable(k)]
    if name != "centred":
        assert skip == set(readers)
    np.testing.assert_allclose(pulled(recorded, outputs, skip), pulled(recorded, outputs, frozenset()), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", NO)
def test_some_influence(name):
    recorded, outputs, skip, tops = edges(NO[name], X)
    proved = [n for n in tops if any((id(r), k) in skip for r in reachable(outputs) for k, p in enumerate(r.operands) if p is n)]
    assert len(proved) < len(tops)
    np.testing.assert_allclose(pulled(recorded, outputs, skip), pulled(recorded, outputs, frozenset()), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", [*YES, *NO])
def test_compiled_and_nested(name):
    """jit and second derivatives take the short way; plain reverse and forward mode do not."""
    fun = {**YES, **NO}[name]
    want = de.grad(fun)(X)
    np.testing.assert_allclose(de.grad(fun, method="forward")(X), want, rtol=1e-10, atol=1e-12)
    v = np.random.default_rng(9).normal(size=X.shape)
    _, forward = de.jvp(de.grad(fun), (X,), (v,))                              # forward over plain reverse
    back = de.grad(lambda x: np.sum(de.grad(fun)(x) * v))(X)                     # reverse over recorded reverse
    np.testing.assert_allclose(back, forward, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["softmax", "cross_entropy", "mixture", "the maximum itself"])
def test_jit(name):
    fun = {**YES, **NO}[name]
    np.testing.assert_allclose(de.jit(de.grad(fun))(X), de.grad(fun)(X), rtol=1e-12, atol=1e-14)


def test_ties():
    """With equal largest entries the shares add up to the same zero."""
    x = np.array([[1.0, 1.0, 1.0, 0.0, -1.0, 1.0]])
    recorded, outputs, skip, _ = edges(lambda x: np.sum(softmax(x)[:, 1] ** 2), x)
    np.testing.assert_allclose(pulled(recorded, outputs, skip), pulled(recorded, outputs, frozenset()), rtol=1e-12, atol=1e-16)


def test_recorded_adjoints_are_shorter():
    from diffeng.recording import record
    names = [n.primitive.name for n in reachable(record(de.grad(lambda x: np.sum(softmax(x) ** 2)), [X]).outputs)]
    assert names.count("max") == 1 and "equal" not in names and "where" not in names


def test_a_planted_fault_in_max_is_still_found():
    with plant("reverse", "max"):
        report = de.compare(lambda x: np.sum(softmax(x) ** 2), X[:2, :3])
    assert (report.culprit.method, report.culprit.primitive) == ("reverse", "max")


def test_bounds():
    """Many maxima, each with a short proof; one with a long one is given up."""
    tracing = Tracing()
    x = y = tracing.input(None, "x", (3,), np.float64)
    for _ in range(2_000):
        e = np.exp(y - np.max(y))
        y = e / np.sum(e)
    assert len(without_shifts(reachable([y.node]), [y.node])) == 2_000
    z = x - np.max(x)
    for _ in range(LARGEST + 10):
        z = z + 1.0
    y = np.exp(z) / np.sum(np.exp(z))
    assert not without_shifts(reachable([y.node]), [y.node])
