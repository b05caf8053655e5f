"""Parts of an array that are computed where they will lie: the same numbers, no copies, and nobody's memory is anybody else's."""
import numpy as np
import pytest
from test_kernels import compiled

import diffeng as de
from diffeng.kernels.memory import LINE, plan
from diffeng.kernels.layout import new

RNG = np.random.default_rng(7)
W = RNG.normal(size=(16, 16)) / 4
X = RNG.normal(size=(6, 8, 16))


def states(w, x, steps=6):
    h, all_of_them = x[0], []
    for t in range(steps):
        h = np.tanh(h @ w + x[t])
        all_of_them.append(h)
    return all_of_them


CASES = {                                                # kernels: a product and a loop a step, and what is done with the whole
    "a recurrence, stacked": (lambda w, x: np.concatenate(states(w, x)) @ (w + 1), 14),
    "a part read later, too": (lambda w, x: np.concatenate((s := states(w, x))) @ (w + 1) + s[2][:1], 15),
    "one part in two wholes": (lambda w, x: (np.concatenate((s := states(w, x))[:3]) @ (w + 1), np.concatenate(s[2:5]) @ (w - 1)), None),
    "a part twice": (lambda w, x: np.concatenate([*(s := states(w, x))[:3], s[1]]) @ (w + 1), None),
    "a whole within a whole": (lambda w, x: (np.concatenate([a := np.concatenate((s := states(w, x))[:3]) @ w, s[3]]) @ w, a @ w), None),
    "parts that are set and set again": (lambda w, x: overwritten(w, x) @ w, None),
    "narrow parts": (lambda w, x: np.concatenate([s[:, :3] @ w[:3] for s in states(w, x)], axis=1).T @ np.concatenate(states(w, x)[:1]), None),
}


def overwritten(w, x):
    out = np.zeros((24, 16))
    for t, s in enumerate(states(w, x, 4)):
        out[4 * t:4 * t + 8] = s
    return out


@pytest.mark.parametrize("name", CASES)
def test_the_same_numbers(name):
    f, count = CASES[name]
    got, want = compiled(f, W, X), f(W, X)
    assert count is None or got.kernels == count
    for a, b in zip(got(W, X), want if isinstance(want, tuple) else (want,)):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_memory_does_not_grow_for_it():
    """A whole that comes late is not there all the time because one small part of it came early."""
    def late(w, x):
        first = np.tanh(x[0] @ w)
        h = x[1]
        for t in range(40):
            h = np.tanh(h @ w)
        return np.concatenate([first, np.repeat(h, 400, axis=0)]) @ w
    f = compiled(late, W, X)
    np.testing.assert_allclose(f(W, X)[0], late(W, X), rtol=1e-12, atol=1e-12)
    whole = (8 + 3200) * 16 * 8
    assert f.peak_bytes < 2 * whole + 40_000


def test_a_stretch_keeps_the_whole_alive():
    whole, part, other, deeper = (new("arena", (n,), np.dtype(float)).buffer for n in (64, 16, 64, 8))
    part.within, deeper.within = (whole, 2 * LINE), (part, LINE)
    size = plan([[deeper], [other], [part, other], [whole]])
    assert (part.place, deeper.place) == (whole.place + 2 * LINE, whole.place + 3 * LINE)
    assert size == 2 * 64 * 8 and other.place != whole.place


def test_the_gradient_of_a_recurrence():
    def loss(w, x):
        return np.mean(np.concatenate(states(w, x)) ** 2)
    gradient = de.grad(loss, argnums=(0, 1))
    for got, want in zip(de.jit(gradient)(W, X), gradient(W, X)):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("shape", [(3, 1), (4, 16), (8, 64)])
def test_what_is_scattered_into_is_nobody_elses_memory(shape):
    """An array is copied, integers say where something is written into the copy, and the array itself is read once more."""
    k = np.array([0, 0])

    def f(x):
        z = np.sin(x)
        z[:, k] = x[:, k[:1]] * 2
        return np.sum(z ** 2)
    x = RNG.normal(size=shape)
    np.testing.assert_allclose(de.jit(de.grad(f))(x), de.grad(f)(x), rtol=1e-12)


@pytest.mark.parametrize("first", [0, 1])
def test_what_is_written_over_is_copied(first):
    """Two values at one place of an array, the later one on top, and both of them read once more."""
    def f(w, x):
        parts, out = states(w, x, 3), np.zeros((24, 16))
        out[:8] = parts[first]
        out[:8] = parts[1 - first]
        out[8:16] = parts[2]
        return out @ w + np.sum(parts[0] @ w) - np.sum(parts[1] @ w)
    np.testing.assert_allclose(compiled(f, W, X)(W, X)[0], f(W, X), rtol=1e-12, atol=1e-12)
