"""pytest: the fixture `derivatives`, installed with the package.

    def test_loss(derivatives):
        derivatives(loss, parameters, candidates={"mine": my_gradient})

fails with the whole report when a method, or a candidate, is wrong. Nothing of the engine is imported before the fixture is used.
"""
import pytest


@pytest.fixture
def derivatives():
    """diffeng.testing.assert_derivatives_agree: call it with a function and its arguments; it returns the Report."""
    from .testing import assert_derivatives_agree
    return assert_derivatives_agree
