"""No false accusation: 200 random correct functions, made of the vocabulary's own operations; every one must be found right."""
import numpy as np
import pytest

import diffeng as de

UNARY = [np.sin, np.cos, np.tanh, np.exp, np.arctan, np.sqrt, np.log1p, np.square, lambda x: 1 / (1 + x * x), lambda x: x - np.mean(x),
         lambda x: x / (1 + np.max(x)), np.arcsinh, np.cumsum,
         lambda x: x[::-1], lambda x: np.sort(x), lambda x: np.concatenate([x[1:], x[:1]]), lambda x: np.where(x > 0.5, x, x ** 2),
         lambda x: np.abs(x - 0.123) + 0.1, de.special.expit, de.special.erf,
         lambda x: de.special.softmax(x), lambda x: np.log(np.sum(np.exp(x))) + x, lambda x: np.maximum(x, 0.4321), lambda x: x / np.linalg.norm(x)]
BINARY = [np.add, np.subtract, np.multiply, lambda x, y: x / (2 + y * y), np.hypot, np.arctan2, np.logaddexp, np.maximum, lambda x, y: np.outer(x, y) @ y,
          lambda x, y: (x @ y) * y, lambda x, y: np.abs(x) ** (0.5 + y * y), lambda x, y: np.einsum("i,j->i", x, y), lambda x, y: np.where(x > y, x, y * y)]


def random_function(seed):
    """A program over a growing list of vectors, some shared, ending in a sum."""
    plan = np.random.default_rng(seed)
    steps = [(plan.integers(len(UNARY)), plan.integers(10 ** 6)) if plan.random() < 0.6
             else (-1 - plan.integers(len(BINARY)), plan.integers(10 ** 6), plan.integers(10 ** 6)) for _ in range(plan.integers(3, 9))]

    def fun(x):
        values = [x, np.abs(x) + 0.2]
        for op, *picks in steps:
            chosen = [values[p % len(values)] for p in picks]
            y = UNARY[op](np.abs(chosen[0]) + 0.1) if op >= 0 else BINARY[-1 - op](*chosen)
            values.append(y / (1 + np.abs(np.sum(y)) / 10))                # keep numbers of moderate size
        return np.sum(values[-1] * np.arange(1, 4)) + np.sum(values[-2])
    return fun


@pytest.mark.parametrize("block", range(20))
def test_two_hundred_random_functions(block, tally):
    for seed in range(10 * block, 10 * block + 10):
        x = np.random.default_rng(1000 + seed).uniform(0.2, 1.5, 3)
        report = de.compare(random_function(seed), x, kernels=False)
        assert report.culprit is None and report.agree, f"seed {seed}: {report}"
        tally["random correct functions, none accused"] += 1
