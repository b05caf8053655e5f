"""Counted costs: known by hand for small graphs, and in the proportions that theory says."""
import numpy as np

import diffeng as de


def test_operations_and_bytes_by_hand():
    graph = de.trace(lambda x, w: np.sum(np.tanh(x @ w)), np.ones((4, 3)), np.ones((3, 2)))
    found = graph.cost()
    assert found["operations"] == 2 * 4 * 3 * 2 + 4 * 2 + 4 * 2          # product, tanh, sum
    assert found["bytes"] == 8 * (8 + 8 + 1)


def test_methods_in_the_proportions_of_theory():
    """Reverse mode costs a few times the function, whatever the number of inputs; forward mode that for each of them."""
    small, large = (de.trace(lambda x: np.sum(np.sin(x) * np.exp(x)), np.ones(n)).cost() for n in (10, 1000))
    for found in (small, large):
        assert 2 < found["methods"]["reverse"]["operations"] / found["operations"] < 6
        assert 1 < found["methods"]["symbolic"]["operations"] / found["operations"] < 8
    assert large["methods"]["forward"]["operations"] > 100 * large["methods"]["reverse"]["operations"]
    assert de.trace(lambda x: x * 2, np.ones(3)).cost()["methods"] == {}          # no scalar output, no gradient


def test_nothing_is_computed():
    x = de.symbols("x", shape=(10 ** 6, 10 ** 6))          # eight terabytes
    assert de.to_graph(np.sum(x * x)).cost()["operations"] == 2 * 10 ** 12
