"""Many short rows, along whose columns vectors run (kernels/across.py): arrays that lie column after column are read by whoever wants them otherwise."""
import itertools

import numpy as np
import pytest

import diffeng as de
from test_kernels import compiled

SHAPES = [(3, 3, 3), (4, 2, 3), (2, 4, 5), (8, 4, 3), (3, 6, 2), (5, 7, 4), (16, 16, 40), (17, 17, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("axes", [*itertools.permutations(range(2))], ids=str)
@pytest.mark.parametrize("other", [*itertools.permutations(range(2))], ids=str)
def test_sums_of_rows_in_one_order_meet_rows_in_another(shape, axes, other):
    """As many rows as columns, or as many times as many: a value of each row is not one of the rows that are read."""
    a = np.random.default_rng(0).normal(size=shape)

    def f(a):
        return np.transpose(np.transpose(a.sum(-1), axes) * 0.2, other)[:, :, None] * (a if axes == other else np.swapaxes(a, 0, 1))
    np.testing.assert_allclose(de.jit(f)(a), f(a), rtol=1e-12, atol=1e-13)
    gradient = de.grad(lambda a: np.sum(np.sin(f(a))))
    np.testing.assert_allclose(de.jit(gradient)(a), gradient(a), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_of_products_with_sums(shape):
    n, m, k = shape
    a = np.random.default_rng(0).normal(size=(n, n, k) if n < 10 else (4, 4, m))

    def f(a):
        part = np.einsum("ijk->ji", a)
        return np.sum(np.einsum("ijk,il,li->kl", a, 0.2 * part, 0.2 * part) ** 2)
    np.testing.assert_allclose(de.jit(de.grad(f))(a), de.grad(f)(a), rtol=1e-10, atol=1e-12)


def test_what_a_row_has_one_of_is_computed_in_the_loop_over_rows():
    """The gradient of rows of length 1: twice the length divides, which another loop had computed beforehand."""
    def f(x, weights):
        return np.sum(np.sin(x / np.sqrt(np.sum(x * x, axis=1))[:, None]) * weights)
    x, weights = np.random.default_rng(0).normal(size=(3000, 5)), np.arange(5.0)
    assert compiled(de.value_and_grad(f), x, weights).kernels == 2
    np.testing.assert_allclose(de.jit(de.grad(f))(x, weights), de.grad(f)(x, weights), rtol=1e-11, atol=1e-13)
