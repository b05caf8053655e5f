"""Functions of NumPy's that a module has imported by name know traced values, too, while a function runs, and for no longer."""
import importlib
import math
import sys
import threading

import numpy as np
import pytest

import diffeng as de
from diffeng import by_name

CODE = '''
from math import sqrt, sin as sine
from numpy import array, asarray, zeros, zeros as make, r_, sum
from numpy.linalg import norm
from numpy.lib.stride_tricks import as_strided


class Model:
    def __init__(self):
        self.weights = [1.0, 2.0, 3.0]

    def loss(self, x):
        out, kept = zeros(3), make(3)
        for k, w in enumerate(self.weights):
            out[k] = w * x[k] ** 2
            kept[k] = sqrt(x[k])
        return sum(out) * norm([x[0], x[1]]) + sum(asarray([x[0], sine(x[2])]) * kept[1]) + sum(r_[x[0], kept] ** 2)


def loss(x):
    out = make(4)
    out[:3] = x
    return sum(as_strided(out, (2, 2), (8, 8)) ** 2) * array([x[0], x[1]])[1]
'''
X = np.array([1.0, 2.0, 3.0])


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    (tmp_path / "written_by_others.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("written_by_others")
    del sys.modules["written_by_others"]


def slope(f, x, h=1e-6):
    return np.array([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(x.size)])


@pytest.mark.parametrize("method", ["symbolic", "forward", "reverse"])
def test_code_that_imports_by_name(theirs, method):
    model = theirs.Model()
    for f in (theirs.loss, model.loss, lambda x: theirs.loss(x) + model.loss(2 * x)):
        value, gradient = de.value_and_grad(f, method=method)(X)
        assert value == f(X)
        np.testing.assert_allclose(gradient, slope(f, X), rtol=1e-6)
        compiled = de.jit(de.value_and_grad(f, method=method))
        for x in (X, X + 0.5):
            np.testing.assert_allclose(compiled(x)[0], f(x), rtol=1e-14)
            np.testing.assert_allclose(compiled(x)[1], slope(f, x), rtol=1e-6)
        assert theirs.zeros is theirs.make is np.zeros and type(np.zeros) is type(np.empty) and theirs.sqrt is math.sqrt and theirs.as_strided is np.lib.stride_tricks.as_strided
    assert de.compare(model.loss, X).agree


def test_what_the_module_means_by_a_name_stays_what_it_means(theirs, monkeypatch):
    de.grad(theirs.loss)(X)
    monkeypatch.setattr(theirs, "make", lambda n: np.zeros(n) + 1.0)
    np.testing.assert_allclose(de.grad(theirs.loss)(X), slope(theirs.loss, X), rtol=1e-6)
    model = theirs.Model()
    model.loss(X)
    other = lambda n: np.ones(n)                     # noqa: E731

    def rebinds(x):
        theirs.zeros = other
        return np.sum(x * x)
    de.grad(rebinds)(X)
    assert theirs.zeros is other
    de.grad(model.loss)(X)
    assert theirs.zeros is other


def test_modules_that_come_later_and_names_that_come_later(theirs):
    found = by_name.places()
    assert (vars(theirs), "zeros") in found and (vars(theirs), "make") in found and by_name.places() is found
    theirs.later = np.ones
    assert (vars(theirs), "later") in by_name.places() and (vars(theirs), "loss") not in by_name.places()


def test_nested_and_in_threads(theirs):
    model, wrong = theirs.Model(), []

    def outer(x):
        return np.sum(de.grad(model.loss)(x) * theirs.array([x[0], x[0], 1.0]))
    np.testing.assert_allclose(de.grad(outer)(X), slope(outer, X), rtol=1e-5)
    wanted = [de.grad(f)(X) for f in (model.loss, theirs.loss)]

    def work(k):
        for n in range(30):
            f = (model.loss, theirs.loss)[(k + n) % 2]
            if not np.array_equal(de.grad(f)(X), wanted[(k + n) % 2]) or type(theirs.zeros(2)) is not np.ndarray:
                wrong.append((k, n))
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong and theirs.zeros is theirs.make is np.zeros and not by_name._needed
