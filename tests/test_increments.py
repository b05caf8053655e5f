"""x[i] += v inside a function: the array's cotangent passes as it is, and what was added takes its part of it; no walk through the array for each of many."""
import numpy as np
import pytest

import diffeng as de

rng = np.random.default_rng(3)
X, V = rng.normal(size=(4, 5)), rng.normal(size=3)
ONCE, TWICE = np.array([3, 0, -3]), np.array([2, -2, 2])          # TWICE names row 2 three times: the value written last stays


def _added(k, i, v):
    k[i] += v


def _subtracted(k, i, v):
    k[i] -= v


def _written(k, i, v):
    k[i] = v + k[i]


def _kept(k, i, v):
    """The sum is read by others, too."""
    total = k[i] + v
    k[i] = total
    k[1] += np.sum(np.sin(total))


def _multiplied(k, i, v):
    """Not a sum of what is there, for all that it looks like one."""
    k[i] = k[i] * 2.0 + v


def _crossed(k, i, v):
    """What is read elsewhere is added to."""
    k[i] = k[::-1][i] + v


def _stale(k, i, v):
    """What was read before another write is added to."""
    old = k[i]
    k[i] = 3.0 * old
    k[i] = old + v


CHANGES = [_added, _subtracted, _written, _kept, _multiplied, _crossed, _stale]
INDICES = [2, slice(None, None, 2), (slice(1, 3), 4), (Ellipsis, 0), (1, 2), X > 0, ONCE, TWICE, (ONCE, np.array([4, 4, 1])), np.ix_(ONCE, TWICE), (slice(None), TWICE)]


def differentiated(f, *args):
    """Its gradient by the first two arguments, and what forward mode says of each entry."""
    forward = [np.stack([de.jvp(f, args, [direction if j == k else np.zeros(np.shape(a)) for j, a in enumerate(args)])[1]
                         for direction in np.eye(np.size(args[k])).reshape(-1, *np.shape(args[k]))]).reshape(np.shape(args[k])) for k in range(2)]
    return de.grad(f, argnums=(0, 1))(*args), forward


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__[1:])
def test_gradients_are_those_of_forward_mode(change, index):
    def f(x, v):
        k = np.cos(x)
        for c in (1.0, -2.0):
            change(k, index, c * v[0])
        change(k, index, np.reshape(np.arange(np.size(k[index])), np.shape(k[index])) * v[1])
        return np.sum(np.sin(k) * X)
    got, want = differentiated(f, X, V)
    for g in (got, de.jit(de.grad(f, argnums=(0, 1)))(X, V)):
        for mine, true in zip(g, want):
            np.testing.assert_allclose(mine, true, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [ONCE, TWICE], ids=["once", "more than once"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__[1:])
def test_places_that_are_arguments_too(change, rows):
    """A compiled function does not know whether they name a row twice."""
    def f(x, v, rows, columns):
        k = np.zeros(x.shape)
        k += x
        change(k, rows, v[:, None] * x[0])
        change(k, (rows[:, None], columns), np.exp(v)[:, None])
        return np.sum(np.sin(k) * X)
    columns = np.array([0, 4])
    want = de.grad(lambda x, v: f(x, v, rows, columns), argnums=(0, 1))(X, V)
    _, forward = differentiated(lambda x, v: f(x, v, rows, columns), X, V)
    compiled = de.jit(de.grad(f, argnums=(0, 1)))
    for _ in range(2):                          # what is not cleared holds the numbers of the last call
        for mine, known, true in zip(compiled(X, V, rows, columns), want, forward):
            np.testing.assert_allclose(mine, true, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(known, true, rtol=1e-12, atol=1e-12)


def test_second_derivatives():
    def f(x, v):
        k = np.zeros((4, 5))
        k[ONCE] += np.sin(v)[:, None] * x[1]
        k[1:3, TWICE] -= v * v
        return np.sum(np.exp(k) * X)
    _, got = de.hvp(f, (X, V), (X[::-1], V[::-1]))
    step = 1e-6
    up, down = (de.grad(f, argnums=(0, 1))(X + s * X[::-1], V + s * V[::-1]) for s in (step, -step))
    for mine, a, b in zip(got, up, down):
        np.testing.assert_allclose(mine, (a - b) / (2 * step), rtol=1e-7, atol=1e-7)


def test_cotangents_from_in_between():
    """Of the sum, and of what it is a sum of, where somebody asks."""
    for change, at_sum in (lambda g: None, 1.0), (lambda g: 3.0 * g, 3.0):
        x, v = de.tensor(X, requires_grad=True), de.tensor(V[:2], requires_grad=True)
        k = x * 1.0
        part = k[1, :2]
        total = part + v
        for t in (part, total):
            t.retain_grad()
        total.register_hook(change)
        k[1, :2] = total
        (k ** 2).sum().backward()
        want = 2.0 * at_sum * (X[1, :2] + V[:2])
        for t in (part, total, v):
            np.testing.assert_allclose(t.grad.numpy(), want, rtol=1e-13)
        np.testing.assert_allclose(x.grad.numpy(), np.vstack([2 * X[:1], np.hstack([want, 2 * X[1, 2:]]), 2 * X[2:]]), rtol=1e-13)


def assembled(n, elements):
    """A stiffness matrix, filled element by element."""
    places = [np.array([e, (7 * e + 3) % n]) for e in range(elements)]

    def f(a):
        k = np.zeros((n, n), a.dtype)
        for e, p in enumerate(places):
            k[np.ix_(p, p)] += a[e] * np.array([[2.0, -1.0], [-1.0, 2.0]])
        return np.sum(np.sin(k))
    return f


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_judge_has_a_verdict(dtype):
    """What np.ix_ reads lies in another order than the array: in the judge's run, too."""
    report = de.compare(assembled(4, 3), np.array([1.0, 2.0, 1.5], dtype), kernels=False)
    assert report.agree and {m.verdict for m in report.methods.values()} == {"right"}


@pytest.mark.parametrize("scalars", [False, True])
def test_an_element_costs_as_much_as_it_is_large(scalars):
    """And not as much as the matrix."""
    n = 30

    def single(a):
        k = np.zeros((n, n))
        for e in range(len(a)):
            k[e, 2 * e % n] += a[e]
        return np.sum(np.sin(k))

    def further(elements):
        f = single if scalars else assembled(n, elements)
        cost = de.trace(f, np.ones(elements)).cost()
        return cost.methods["reverse"].bytes - cost.bytes
    assert further(20) - further(10) < 10 * 8 * n * n / 4          # bytes


def test_a_compiled_element_costs_as_much_as_it_is_large():
    """Nothing of a program but its ends goes through the whole matrix: places that it does not know are numbered where they lie, in memory that nobody clears."""
    from diffeng.kernels import choice
    n, seen = 40, []
    made = choice.Plan.__init__

    def f(a, places):
        k = np.zeros((n, n))
        for e in range(len(a)):
            k[np.ix_(places[e], places[e])] += a[e] * np.array([[2.0, -1.0], [-1.0, 2.0]])
        return np.sum(np.sin(k))

    def watched(self, *args, **options):
        made(self, *args, **options)
        seen.append(sum([w.rows for w in self.rows if w.rows >= n]))
    counts = []
    for elements in (5, 10):
        seen.clear()
        places = np.array([[e, (7 * e + 3) % n] for e in range(elements)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DIFFENG_CACHE", "off")
            patch.setattr(choice.Plan, "__init__", watched)
            value, gradient = de.jit(de.value_and_grad(f))(np.ones(elements), places)
        np.testing.assert_allclose(gradient, de.grad(lambda a: f(a, places))(np.ones(elements)), rtol=1e-13)
        counts.append(seen[0])
    assert counts[0] == counts[1] > 0
