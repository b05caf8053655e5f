"""Axes of length 1 as any others (lengths.py, general.py): such a shape compiles nothing, and no guess about it changes a result."""
import numpy as np
import pytest

import diffeng as de
import test_random_programs as random_functions
from diffeng import kernels
from diffeng.kernels import choice, machine
from diffeng.kernels.families import Family
from diffeng.kernels.sizes import Sizes
from diffeng.lengths import Count, length, weight
from diffeng.trees import flatten
from diffeng.vocabulary.shaping import is_repeated


def cross_entropy(h, labels):
    logits = h - np.max(h, axis=1, keepdims=True)
    return -np.mean((logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True)))[np.arange(len(labels)), labels])


def network(x, labels, w, b, v, c):
    return cross_entropy(np.tanh(x @ w + b) @ v + c, labels)


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def normalised(x, gain, bias):
    centre = x - np.mean(x, axis=-1, keepdims=True)
    return np.sum(np.sin(centre / np.sqrt(np.mean(centre ** 2, axis=-1, keepdims=True) + 1e-5) * gain + bias))


def shares(x, y):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return np.sum((e / np.sum(e, axis=-1, keepdims=True) - y) ** 2)


def logistic(w, x, y):
    return np.mean(np.logaddexp(0, -y * (x @ w))) + 0.01 * np.sum(w * w)


def recurrent(x, w, u, b):
    h = np.zeros((x.shape[1], u.shape[0]))
    for t in range(4):
        z = x[t] @ w + h @ u + b
        h = np.tanh(z) * h + 1 / (1 + np.exp(-z))
    return np.sum(h * h)


def attention(x, w, heads=2):
    batch, context, width = x.shape
    q, k, v = (np.swapaxes((x @ w[j]).reshape(batch, context, heads, width // heads), 1, 2) for j in range(3))
    scores = np.where(np.tri(context, dtype=bool), q @ np.swapaxes(k, -1, -2) / np.sqrt(width // heads), -1e9)
    e = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    return np.mean((np.swapaxes(e / np.sum(e, axis=-1, keepdims=True) @ v, 1, 2).reshape(batch, context, width)) ** 2)


def mixture(log_weights, means, log_scales, x):
    apart = (x[:, None, :] - means) / np.exp(log_scales)
    q = log_weights - 0.5 * np.sum(apart * apart, axis=-1) - np.sum(log_scales, axis=-1)
    return np.sum(np.log(np.sum(np.exp(q), axis=1)))


# function, the shapes of its arguments by letters (of labels: and below which length they are), and the letters that become 1, with what they are else
FUNCTIONS = {
    "chain": (lambda x: np.sum(np.exp(np.sin(x)) * np.tanh(x)), ["n"], dict(n=100)),
    "means": (lambda x, y: np.mean((x - y) ** 2) + np.mean(np.abs(x)), ["n", "n"], dict(n=100)),
    "spread": (lambda x, b: np.sum(np.tanh(x * b + 1) ** 2), ["nk", "k"], dict(n=50, k=30)),
    "rosenbrock": (rosenbrock, ["m"], dict(m=101)),
    "network": (network, ["nk", ("n", "c"), "kh", "h", "hc", "c"], dict(n=32, k=40, h=64)),
    "layer norm": (normalised, ["nk", "k", "k"], dict(n=100)),
    "logistic": (logistic, ["k", "nk", "n"], dict(n=100)),
    "shrinkage": (lambda w, X, y: np.mean((y - X @ w) ** 2) + 0.1 * np.abs(w).sum() + 0.05 * w @ w, ["k", "nk", "n"], dict(n=100)),
    "recurrent": (recurrent, ["tnk", "kh", "hh", "h"], dict(n=16)),
    "shares": (shares, ["nk", "nk"], dict(n=100, k=30)),
    "attention": (attention, ["ntk", "akk"], dict(n=3, t=20)),
    "mixture": (mixture, ["c", "ck", "ck", "nk"], dict(n=100, c=5)),
    "flat": (lambda x: np.sum(np.sin(x.reshape(-1)) * np.arange(x.size)), ["nkc"], dict(n=3, k=4, c=5)),
    "batches": (lambda a, b: np.sum(np.tanh(a @ b)), ["nkc", "nch"], dict(n=3, k=40, c=5, h=6)),
    "three factors": (lambda a, b, c: np.sum(np.tanh(np.einsum("ij,jk,kl->il", a, b, c))), ["nk", "kc", "ch"], dict(n=5, h=7)),
    "rows": (lambda x: np.sum(np.max(np.sin(x), axis=1) + np.min(x, axis=1)), ["nk"], dict(n=30, k=40)),
}
LENGTHS = dict(k=40, h=64, c=10, t=4, a=3)


def arguments(random, shapes, lengths):
    made = []
    for shape in shapes:
        letters, below = shape if type(shape) is tuple else (shape, None)
        lengths = {**LENGTHS, **lengths}
        size = [lengths[c] for c in letters]
        made.append(random.integers(0, lengths[below], size) if below else random.normal(size=size))
    return made


def agree(f, compiled, given):
    for got, want in zip(flatten(compiled(*given))[0], flatten(f(*given))[0], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.fixture
def fresh(monkeypatch):
    """Nothing is compiled."""
    def clear():
        machine.settle()
        monkeypatch.setattr(machine, "_kernels", {})
    monkeypatch.setenv("DIFFENG_CACHE", "off")
    clear()
    return clear


def derivative(f, given):
    return de.value_and_grad(f, argnums=tuple([k for k, x in enumerate(given) if x.dtype.kind == "f"]))


def test_a_batch_of_one_in_a_loop_compiles_nothing(fresh):
    """Nor does another number of turns, one among them: a loop's results have the lengths that its turn has."""
    f = derivative(lambda w, x: np.sum(de.scan(lambda h, x: (np.tanh(h @ w + x), h), np.zeros(x.shape[1:]), x)[1] ** 2), [np.zeros(1)] * 2)
    fresh()
    random, counts = np.random.default_rng(7), []
    for turns, batch in ((4, 16), (4, 1), (9, 3), (9, 1), (1, 16), (2, 5), (1, 1)):
        before = kernels.compilations
        agree(f, de.jit(f), [random.normal(size=(40, 40)) / 7, random.normal(size=(turns, batch, 40))])
        counts.append(kernels.compilations - before)
    assert counts[0] > 0 and not any(counts[1:]), counts


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_axis_that_becomes_one_long_compiles_nothing(name, fresh):
    """Nor one that was, and becomes longer."""
    f, shapes, lengths = FUNCTIONS[name]
    for letter, length in lengths.items():
        one = 2 if letter == "m" else 1                      # (of rosenbrock's the parts)
        for order in ((length, one, length + 1), (one, length)):
            fresh()
            random, counts = np.random.default_rng(7), []
            for n in order:
                given = arguments(random, shapes, {**lengths, letter: n})
                plain = derivative(f, given)
                before = kernels.compilations
                agree(plain, de.jit(plain), given)
                counts.append(kernels.compilations - before)
            assert counts[0] > 0 and not any(counts[1:]), (letter, order, counts)


def test_every_axis_at_once_compiles_nothing(fresh):
    f, shapes, lengths = FUNCTIONS["spread"]
    random = np.random.default_rng(7)
    for n, k in ((50, 30), (1, 1)):
        before, given = kernels.compilations, arguments(random, shapes, dict(n=n, k=k))
        agree(derivative(f, given), de.jit(derivative(f, given)), given)
    assert kernels.compilations == before


# ---- guesses ------------------------------------------------------------------------------------------------------------------------

@pytest.fixture(params=[True, False], ids=["short", "long"])
def guessed(request, monkeypatch, fresh):
    """Every program's plan is that of a general shape; how many there were that are not general as they are."""
    made = []

    def plans(graph, ahead=False):
        given, inputs, outputs, *more = graph
        family = Family(inputs, outputs, *more)
        there = family.in_general()
        found = None if there is None else next(choice._alike(graph, family, there), None)
        made.append(found is not None)
        graph, sizes = found or (graph, Sizes())
        return [choice.Plan(graph, Sizes(request.param, lengths=sizes.lengths, turns=sizes.turns))]
    monkeypatch.setattr(choice, "plans", plans)
    return made


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_guess_changes_no_result(name, guessed):
    f, shapes, lengths = FUNCTIONS[name]
    random = np.random.default_rng(8)
    for ones in ("n", "t", "nt") if name == "attention" else ("n", "k", "c", "h", "nk", "kc", "nkch"):
        given = arguments(random, shapes, {**lengths, **dict.fromkeys(ones, 1)})
        agree(derivative(f, given), de.jit(derivative(f, given)), given)
    assert any(guessed) or name == "rosenbrock"


REPEATED = {
    "an entry": (lambda x, y: np.sum(y[1:2] * x) + np.sum(y[-1:] - x), (1, 5), (4, 5)),
    "rows": (lambda x, y: np.sum(np.sin(x * y) + x - y / (2 + np.cos(x))), (1, 5), (4, 5)),
    "columns": (lambda x, y: np.sum(np.exp(x - y), axis=1) @ np.arange(4.0), (4, 1), (4, 5)),
    "both": (lambda x, y: np.sum(np.maximum(x, y) ** 2) + np.sum((x + y)[:, :1]), (4, 1), (1, 5)),
    "a batch of matrices": (lambda x, y: np.sum(np.tanh(x @ y)), (1, 3, 4), (5, 4, 2)),
    "what is written": (lambda x, y: np.sum(np.where(np.arange(4)[:, None] > 1, x, y) * np.concatenate([x, y[:3]], axis=0)), (1, 5), (4, 5)),
    "a sum that keeps its axes": (lambda x, y: np.sum(x / (1 + np.sum(y * y, axis=0, keepdims=True)) * y), (1, 5), (4, 5)),
    "a sum of what is spread": (lambda x, y: np.sum(np.broadcast_to(np.sin(x) * y[0], (2, 4, 5))) + np.sum(np.broadcast_to(x, (2, 4, 5)), axis=(0, 1)) @ y[1], (1, 5), (4, 5)),
    "turned": (lambda x, y: np.sum((x.T * y.T).reshape(5, -1) @ np.sin(y)), (1, 5), (4, 5)),
    "put together": (lambda x, y: np.sum(np.reshape(x * y, (2, 2, 5)) * np.reshape(x, (1, 1, 5))), (1, 5), (4, 5)),
    "equations": (lambda x, y: np.sum(np.linalg.solve(y @ y.T + 9 * np.eye(4), y * x) ** 2), (1, 5), (4, 5)),
}


WRONG = {
    "a sum whose adjoint is": (lambda x, y: np.sum(x * np.sum(np.reshape(y, (2, 2, 5)) + x[0], axis=1, keepdims=True)), (1, 5), (4, 5)),
    "letters": (lambda x, y: np.sum(np.einsum("ij,kj->ik", x, y) ** 2), (1, 6), (5, 6)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_guess_changes_no_result(name, guessed):
    """An axis that is 1 long because somebody wrote 1."""
    f, *shapes = WRONG[name]
    given = [np.random.default_rng(9).normal(size=s) for s in shapes]
    agree(derivative(f, given), de.jit(derivative(f, given)), given)
    assert any(guessed)


@pytest.mark.parametrize("name", REPEATED)
def test_what_is_repeated_is_no_guess(name, fresh, monkeypatch):
    """An argument of which an axis is 1 long because it is repeated: it is 1 long in a general shape, too."""
    f, *shapes = REPEATED[name]
    given, found, plans = [np.random.default_rng(9).normal(size=s) for s in shapes], [], choice.plans

    def looked(graph, ahead=False):
        family = Family(graph[1], graph[2])
        there = family.in_general()
        found.append(graph[1][0].shape if there is None else family.alike(there)[0][0].shape)
        return plans(graph, ahead)
    monkeypatch.setattr(choice, "plans", looked)
    agree(derivative(f, given), de.jit(derivative(f, given)), given)
    assert [weight(n) for n, m in zip(found[-1], shapes[0]) if m == 1] == [1] * shapes[0].count(1)


@pytest.mark.parametrize("seed", range(16))
def test_a_guess_changes_no_random_function(seed, guessed):
    f, args = random_functions.program(np.random.default_rng(100 + seed))
    args = [x.astype(float) for x in args]

    def fun(*args):
        return f(*args)[0]
    with np.errstate(all="ignore"):
        plain = de.value_and_grad(fun, argnums=(0, 1, 2, 3))
        want = flatten(plain(*args))[0]
    for got, w in zip(flatten(de.jit(plain)(*args))[0], want, strict=True):
        if np.all(np.isfinite(w)):
            np.testing.assert_allclose(got, w, rtol=0, atol=1e-9 * (np.max(np.abs(w), initial=0) + 1e-3))


def test_lengths_of_one():
    u = length(1, 7)
    assert [int(x) for x in (u, 8 * u, 8 * u * u, u + u, 3 + u, -u, 6 * u // 2)] == [1, 8, 8, 2, 4, -1, 3]
    assert u != 1 and u > 1 and u < 2 and not u == 1 and 8 * u != 8 and u * u != u and 4 * u == 2 * u + 2 * u
    assert 8 * u // u == 8 and 8 * u // 8 == u and type(8 * u // (8 * u)) is int and len({u, length(1, 7), 1}) == 2
    assert is_repeated(1, u) and is_repeated(u, 5) and is_repeated(1, 5) and not any([is_repeated(*pair) for pair in ((1, 1), (u, u), (5, 5 * u), (5 * u, 5), (u, 1))])
    assert Count(1) != 1 and not Count(1) == 1 and not 1 <= abs(Count(1)) and type(-Count(1)) is Count and float(-Count(1)) == -1.0
