"""The fixture `derivatives`, as a user's test-suite meets it."""
import numpy as np
import pytest

from diffeng.pytest_plugin import derivatives          # noqa: F401  also installed as an entry point


def test_right_gradient_passes(derivatives):           # noqa: F811
    assert derivatives(lambda x: np.sum(x ** 2), np.ones(2), candidates={"mine": lambda x: 2 * x}).agree


def test_wrong_gradient_fails_with_the_report(derivatives):           # noqa: F811
    with pytest.raises(AssertionError, match="mine .*wrong: worst at x"):
        derivatives(lambda x: np.sum(x ** 2), np.ones(2), candidates={"mine": lambda x: 3 * x})
