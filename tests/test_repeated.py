"""Loops as one instruction: what is the same in every turn is computed before, unless something else is written where it lies."""
import numpy as np
import pytest

import diffeng as de
from diffeng.trees import flatten


def in_place(c, A):
    """A cofactor that is the same in every turn, and over which the turn writes."""
    return de.scan(lambda c, _: (c + np.linalg.det(np.diag(c) * 0.1), None), c[:1], None, 9)[0]


def one_after_the_other(c, A):
    """B lies where A lay, and both are the same in every turn; what reads A is not."""
    @de.custom
    def turn(c, A):
        first = A @ A.T
        X = np.tanh(c @ first)
        Q = np.cos(first @ A) @ A
        return np.tanh(X @ (first + Q @ A))
    return de.scan(lambda c, _: (turn(c, A), None), c, None, 9)[0]


def attention(c, A):
    def body(q, _):
        s = q @ np.swapaxes(q, -1, -2)
        s = np.exp(s - np.max(s, axis=-1, keepdims=True))
        return s / np.sum(s, axis=-1, keepdims=True) @ q, None
    return de.scan(body, np.zeros((2, 600, 4)) + c, None, 2)[0]


def written_after(c, A):
    """An array of outer values, which is read before it is written into, and after."""
    def body(c, _):
        B = A * 2
        row, X = B[1], c @ B
        B[2] = 0.5
        Y = c @ B
        B *= 0.5
        return np.tanh(X - Y * row), c @ B
    return de.scan(body, c, None, 3)


def written_while(c, A):
    def body(s):
        B = A * 2
        X = s[0] @ B
        B[1] = 100.0
        return np.tanh(X) + s[0] * 1.5 + B[1], s[1] + 1
    return de.while_loop(lambda s: np.sum(s[0]) < 1e4, body, (c, 0.0))


@pytest.mark.parametrize("f", [in_place, one_after_the_other, attention, written_after, written_while], ids=lambda f: f.__name__)
def test_what_is_the_same_in_every_turn(f):
    c, A = np.array([0.7, 0.2, -0.4, 0.1]), np.arange(16.0).reshape(4, 4) / 10
    for g in (f, de.jacobian(lambda c, A: np.sum(np.sin(flatten(f(c, A))[0][0])), argnums=(0, 1))):
        for got, want in zip(flatten(de.jit(g)(c, A))[0], flatten(g(c, A))[0]):
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-13)
