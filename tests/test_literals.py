"""The grammar behind --at: what it means, and which column an error names."""
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from diffeng.literals import LiteralError, parse


@pytest.mark.parametrize("text, value, kind", [
    ("1", 1.0, np.float64), ("-2.5", -2.5, np.float64), ("+.5", 0.5, np.float64), ("3.", 3.0, np.float64), ("1e-3", 1e-3, np.float64),
    ("-inf", -np.inf, np.float64), ("3i", 3, int), ("-3i", -3, int), ("true", True, bool), ("False", False, bool), ("'a, b=1'", "a, b=1", str), ('""', "", str),
])
def test_single_values(text, value, kind):
    got = parse(f" x = {text} ")["x"]
    assert got == value and type(got) is kind


def test_nan():
    assert np.isnan(parse("x=nan")["x"])


@pytest.mark.parametrize("text, value", [
    ("[]", np.zeros(0)), ("[1]", np.array([1.0])), ("[[1,2],[3,4],]", np.array([[1.0, 2.0], [3.0, 4.0]])), ("[1i, 2i]", np.array([1, 2])),
    ("[true,false]", np.array([True, False])), ("[[],[]]", np.zeros((2, 0))), ("[[[-1e2]]]", np.array([[[-100.0]]])),
])
def test_lists_are_arrays(text, value):
    got = parse("x=" + text)["x"]
    assert isinstance(got, np.ndarray) and got.dtype == value.dtype and got.shape == value.shape and np.array_equal(got, value)


def test_pairs_keep_their_order_and_dtype():
    found = parse("b=1,a=[2,3],n=4i,", np.float32)
    assert list(found) == ["b", "a", "n"]
    assert found["b"].dtype == found["a"].dtype == np.float32 and found["n"] == 4
    assert parse("") == parse("  ") == {}


@pytest.mark.parametrize("text, column, word", [
    ("x", 2, "'='"), ("x=", 3, "value"), ("x=1 y=2", 5, "','"), ("=3", 1, "name"), ("x=[1,2", 7, "']'"), ("x=[1,", 6, "inside a list"),
    ("x=[1,[2]]", 3, "side by side"), ("x=[[1],[2,3]]", 3, "lengths, 1 and 2"), ("y=1,x=abc", 7, "value"), ("x=1.5i", 3, "no integer"), ("x=1,x=2", 5, "twice"),
    ("x=1..2", 5, "followed"), ("x=1_0", 4, "followed"), ("x=2j", 4, "followed"), ("x=[1,,2]", 6, "value"), ("x=['a']", 3, "string"),
    ("x=[1,2i]", 3, "float and integer"), ("x=1,2,3", 5, "name"), ("x=" + "[" * 40, 35, "brackets"), ("x='abc", 3, "quotes"),
    ("x=99999999999999999999i", 3, "64 bits"), ("x=(1,2)", 3, "value"), ("x=1)", 4, "','"),
])
def test_errors_name_the_column(text, column, word):
    with pytest.raises(LiteralError) as caught:
        parse(text)
    assert f"column {column}" in str(caught.value) and word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_is_evaluated():
    for text in ("x=__import__('os')", "x=1+1", "x=[i for i in 'a']", "x=y", "x={}", "x=1;y=2"):
        with pytest.raises(LiteralError):
            parse(text)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=4), st.integers(-2 ** 62, 2 ** 62))
def test_floats_come_back_to_the_bit(numbers, whole):
    found = parse(f"a=[{','.join(map(repr, numbers))}], n={whole}i, b={numbers[0]!r}")
    assert found["a"].tolist() == numbers and found["n"] == whole and found["b"] == numbers[0]


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.text("x=1.,[]i'e+- truenaf", max_size=20))
def test_any_text_is_read_or_refused(text):
    try:
        found = parse(text)
    except LiteralError as error:
        assert "column" in str(error)
    else:
        assert all(name.isidentifier() for name in found)
