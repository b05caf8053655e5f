"""Somebody else's gradient where terms cancel, matrices are ill-conditioned or values tie: a wrong one is not excused, a right one not accused."""
import numpy as np
import pytest
from scipy.special import expit

import diffeng as de

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(20, 3)), RNG.normal(size=20)
NEAR = np.linalg.lstsq(X, Y, rcond=None)[0] + 1e-9
ONES = np.ones(8)


def hilbert(n):
    return 1 / (np.arange(n)[:, None] + np.arange(n) + 1.0)


def logdet(a):
    return np.linalg.slogdet(a)[1]


def squared(a):
    return np.sum(np.linalg.solve(a, ONES[:len(a)]) ** 2)


def by_adjoint(a):
    x = np.linalg.solve(a, ONES[:len(a)])
    return -np.outer(np.linalg.solve(a.T, 2 * x), x)


def misfit(w):
    return np.sum((X @ w - Y) ** 2)


CASES = {                                # function, argument, right gradients, factors that make it wrong
    "logdet 7": (logdet, hilbert(7), [lambda a: np.linalg.inv(a).T], (-1, 2)),
    "logdet 8": (logdet, hilbert(8), [lambda a: np.linalg.inv(a).T], (0.5, 100)),
    "logdet 4": (logdet, hilbert(4), [lambda a: np.linalg.inv(a).T], (1.0001, 0)),
    "solve": (squared, hilbert(5), [by_adjoint], (1.001, -1)),
    "optimum": (misfit, NEAR, [lambda w: 2 * X.T @ (X @ w - Y), lambda w: 2 * (X.T @ X @ w - X.T @ Y)], (-1, 0.5, 0)),
    "cancelling": (lambda x: (1 + x) ** 2 - 1 - 2 * x, 1e-9, [lambda x: 2 * x, lambda x: 2 * (1 + x) - 2], (-1, 0, 1.01)),
    "tiny": (lambda x: 1 + np.square(x), 1e-300, [lambda x: 2 * x], (0, -1, 1.5)),
    "large and small": (lambda x: np.sum(x ** 2), np.array([1e150, 1e-150, 3.0]), [lambda x: 2 * x], (0.9, -1)),
}


@pytest.mark.parametrize("name", CASES)
def test_what_cancels_excuses_no_wrong_gradient(name):
    f, x, right, factors = CASES[name]
    candidates = {f"right {k}": g for k, g in enumerate(right)} | {f"times {c}": lambda x, c=c: right[0](x) * c for c in factors}
    report = de.compare(f, x, candidates=candidates, kernels=False)
    found = {k: report.methods[k].verdict for k in candidates}
    assert found == {k: "right" if k.startswith("right") else "wrong" for k in candidates}, report
    assert not report.agree and {report.methods[k].verdict for k in ("reverse", "forward", "symbolic")} == {"right"}


def test_where_rounding_might_explain_it_there_is_no_verdict():
    report = de.compare(squared, hilbert(8), candidates={"right": by_adjoint, "half": lambda a: by_adjoint(a) / 2}, kernels=False)
    assert report.methods["right"].verdict == "right" and report.methods["half"].verdict == "no verdict" and not report.agree
    assert "methods are closer: worst at a[" in report.methods["half"].note


def test_a_formula_that_loses_small_entries_is_inaccurate():
    z = np.linspace(-5, 40, 7)
    for f, naive in ((expit, lambda x: expit(x) * (1 - expit(x))), (np.tanh, lambda x: 1 - np.tanh(x) ** 2)):
        report = de.compare(lambda x: np.sum(f(x)), z, candidates={"naive": naive, "wrong": lambda x: naive(x) + 1e-9}, kernels=False)
        assert [report.methods[k].verdict for k in ("naive", "wrong")] == ["inaccurate", "wrong"]
    small = {"sign": lambda x: 2 * x * np.array([1, -1, 1]), "none": lambda x: 2 * x * np.array([1, 0, 1])}
    report = de.compare(lambda x: np.sum(x ** 2), np.array([1e150, 1e-150, 3.0]), candidates=small, kernels=False)
    assert {report.methods[k].verdict for k in small} == {"inaccurate"} and "worst at x[1]" in report.methods["sign"].note


def test_at_ties_a_gradient_is_judged_as_the_methods_are():
    x = np.array([2.0, 2, 2, 1, 3])
    report = de.compare(np.median, x, candidates={"same": de.grad(np.median)}, kernels=False)
    assert {m.verdict for m in report.methods.values()} == {"no verdict"} and "at a kink" in report.methods["same"].note
    report = de.compare(lambda x: np.sum(np.abs(x)), np.array([0.0, 1.0]), kernels=False,
                        candidates={"sign": np.sign, "right side": lambda x: np.ones(2), "beyond": lambda x: np.array([2.0, 1.0])})
    assert [report.methods[k].verdict for k in ("sign", "right side", "beyond")] == ["right", "right", "wrong"]


def test_a_gradient_of_fewer_digits_or_other_keys_is_told_so():
    def judged(fun, gradient, *args):
        return de.compare(fun, *args, candidates={"mine": gradient}, kernels=False).methods["mine"]
    x = np.array([0.3, 1.7])
    coarse = judged(lambda x: np.sum(np.sin(x)), lambda x: np.cos(x.astype(np.float32)), x)
    assert (coarse.verdict, coarse.note.partition("; ")[2]) == ("inaccurate", "it is float32, the argument float64")
    assert judged(lambda x: np.sum(np.sin(x)), lambda x: np.sin(x.astype(np.float32)), x).verdict == "wrong"
    assert judged(lambda x: np.sum(np.sin(x)), lambda x: (np.cos(x),), x).verdict == "right"
    parameters = {"a": 2.0, "b": 3.0}
    assert judged(lambda p: p["a"] * p["b"], lambda p: {"b": p["a"], "a": p["b"]}, parameters).verdict == "right"
    other = judged(lambda p: p["a"] * p["b"], lambda p: {"c": p["a"], "b": p["b"]}, parameters)
    assert other.verdict == "wrong" and "arrays named b, c for those of a, b: return what de.grad returns" in other.note
    few = judged(lambda x: np.sum(x), lambda x: [1.0, 1.0], x)
    assert "it returned 2 arrays for the one of x: return what de.grad returns" in few.note


def test_what_a_method_loses_too_is_no_fault():
    x = 1e8 + np.random.default_rng(0).normal(size=10)                        # the mean is rounded at 1e-8, and one entry is near it
    x[3] = np.mean(x) + 0.02
    near = {"formula": lambda x: 2 * (x - np.mean(x)) / x.size, "as reverse": de.grad(np.var), "factor": lambda x: 2.01 * (x - np.mean(x)) / x.size}
    report = de.compare(lambda x: np.var(x), x, candidates=near, kernels=False)
    assert [report.methods[k].verdict for k in near] == ["right", "right", "wrong"], str(report)
