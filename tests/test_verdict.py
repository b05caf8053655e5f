"""compare on hard and ordinary functions: right verdicts, honest silence, no false accusation."""
import json
import math

import numpy as np
import pytest

import diffeng as de
from diffeng.testing import assert_derivatives_agree, check_grads, plant

X = np.array([0.7, 1.3, 0.4])


@pytest.mark.parametrize("name,fun,args", [
    ("x*x", lambda x: x * x, (3.0,)), ("diamond", lambda x: (lambda y: y * y + np.sin(y) * y)(np.exp(x)), (0.3,)),
    ("shared", lambda x: sum(np.tanh(x[0]) * v for v in x), (X,)),
    ("perturbation", lambda x: x * de.grad(lambda y: x + y)(x), (2.0,)),
    ("gradient inside", lambda x: np.sum(de.grad(lambda y: np.sum(np.sin(y) * y))(x) * x), (X,)),
    ("jvp inside", lambda x: de.jvp(np.sin, (x,), (x * x,))[1], (0.4,)), ("log at 1e-29", np.log, (1e-29,)),
    ("steep tanh", lambda x: np.tanh(1e30 * x), (1e-30,)),
    ("steep tanh at 0", lambda x: np.tanh(1e30 * x), (0.0,)), ("saturated", lambda x: np.tanh(1e30 * x), (1.0,)),
    ("cube of a negative", lambda x: x ** 3, (-2.0,)), ("x**3.0", lambda x: x ** 3.0, (-2.0,)),
    ("square at 0", lambda x: x ** 2, (0.0,)), ("newton", lambda x: newton(x), (2.0,)), ("branch", lambda x: x * 2 if x > 1 else x * x, (0.5,)),
    ("float32", lambda x: np.sum(np.tanh(x) * 2.5 / 3), (X.astype(np.float32),)),
    ("vector", lambda x: np.sin(x) * x[0], (X,)), ("tuple", lambda x: (x * 2, {"s": np.sum(x ** 3)}), (X,)),
    ("empty", lambda x: np.sum(x * 2), (np.zeros((0, 3)),)),
    ("fortran", lambda x: np.sum(np.sin(x) @ x.T), (np.asfortranarray(np.arange(6.0).reshape(2, 3) / 7),)),
    ("strided", lambda x: np.sum(x @ x.T), ((np.arange(24.0).reshape(4, 6) / 7)[::2, ::3],)),
    ("0-d", lambda x: np.sin(x) * x, (np.array(0.5),)), ("held integers", lambda p, n: np.sum(p["a"] * p["b"][0]) * n, ({"a": X, "b": [X]}, 3)),
    ("constant", lambda x: 3.0, (1.0,)),
    ("safe where", lambda x: np.sum(np.where(x > 0, np.log(np.where(x > 0, x, 1.0)), 0)), (np.array([1.5, -1.0]),)),
    ("integer indices", lambda x, i: np.sum(x[i] ** 2), (X, np.array([0, 0, 2]))),
    ("zero by cancellation", lambda b: np.sum(np.sin(X[:, None] + b) - np.sin(b + X[:, None])), (X,)),
    ("stop_gradient", lambda x: np.sum(de.stop_gradient(x) * x), (X,)),
    ("in place", lambda x: in_place(x), (X,)), ("no float64 tie", lambda x: np.maximum(x * 0.1 + 0.2, 0.3), (1.0,)),
])
def test_right_functions_are_found_right(name, fun, args):
    report = de.compare(fun, *args)
    assert report.agree, str(report)
    assert all(m.error is not None and m.error < 1e-6 for m in report.methods.values()), str(report)
    assert set(report.methods) == {"symbolic", "forward", "reverse", "reverse (kernels)"}


def newton(x):
    y = x
    while abs(y * y - x) > 1e-13:
        y = 0.5 * (y + x / y)
    return y


def in_place(x):
    y = np.zeros(4)
    y[1:] = x
    y[0] += y[1] * 2
    return np.sum(y ** 2)


def test_kinks_are_reported_and_every_method_lies_between():
    for fun, at in ((np.abs, 0.0), (lambda x: np.maximum(x, x * 2), 0.0), (lambda x: np.max(np.stack([x, x, x])), 1.0), (lambda x: np.clip(x, 0.0, 1.0), 1.0),
                    (lambda x: np.where(x > 0, x, 0.0), 0.0)):
        report = de.compare(fun, at)
        assert report.agree, str(report)
    assert de.compare(np.abs, 0.0).kinks[0]["primitive"] == "absolute"
    assert "Kink: absolute" in str(de.compare(np.abs, 0.0))
    report = de.compare(np.abs, 0.0, candidates={"right derivative": lambda x: 1.0, "outside": lambda x: 1.5})
    assert report.methods["right derivative"].verdict == "right" and report.methods["outside"].verdict == "wrong"


def logistic(x):
    for _ in range(200):
        x = 3.9 * x * (1 - x)
    return x


@pytest.mark.parametrize("fun,args,reason", [
    (lambda x: math.remainder(x, 0.7) * x, (1.0,), r"float\(\) at test_verdict.py:\d+"), (logistic, (0.3,), "ill-conditioned"),
    (lambda x: x ** 0.5, (0.0,), "one-sided|above"),
    (lambda x: np.sum(x * 2), (np.array([1.0, np.nan]),), "NaN"), (lambda x: np.random.default_rng().normal() * x, (1.0,), "does not return the same twice"),
    (lambda x: np.floor(x), (2.0,), "jump"),
])
def test_no_verdict_is_said_with_its_reason(fun, args, reason):
    import re
    with np.errstate(all="ignore"):
        report = de.compare(fun, *args)
    assert not report.agree and report.culprit is None, str(report)
    assert {m.verdict for m in report.methods.values()} == {"no verdict"}, str(report)
    assert re.search(reason, str(report)), str(report)


def test_nonfinite_names_the_first_operation():
    with np.errstate(all="ignore"):
        report = de.compare(lambda x: np.sum(np.exp(x) / np.exp(x)), np.array([1.0, 800.0]))
        adjoint = de.compare(lambda x: np.sum(np.sqrt(x * 2)), np.array([1.0, 0.0]))
    assert report.nonfinite["primitive"] == "exp" and report.nonfinite["what"] == "value" and report.nonfinite["line"].startswith("test_verdict.py:")
    assert adjoint.nonfinite["what"] == "adjoint" and adjoint.nonfinite["primitive"] == "multiply"


def test_candidates_stand_in_the_dock():
    report = de.compare(lambda x: np.sum(x ** 3), X, candidates={"mine": lambda x: 3 * x ** 2,
                                                                 "slightly off": lambda x: 3 * x ** 2 * np.array([1, 1 + 1e-6, 1]),
                                                                 "crashes": lambda x: x[9], "scalar": lambda x: 1.0})
    verdicts = {k: m.verdict for k, m in report.methods.items()}
    assert verdicts["mine"] == "right" and verdicts["slightly off"] == verdicts["crashes"] == verdicts["scalar"] == "wrong"
    assert "x[1]" in report.methods["slightly off"].note and report.culprit is None and not report.agree
    with pytest.raises(AssertionError, match="slightly off"):
        report.raise_if_wrong()


def test_report_for_machines_and_people():
    with plant("forward", "multiply", "sign", 1):
        report = de.compare(lambda p: np.sum(p["w"] * p["v"]), {"w": X, "v": X})
    data = json.loads(report.to_json(derivatives=True))
    assert data["culprit"]["method"] == "forward" and data["culprit"]["slot"] == 1 and data["methods"]["forward"]["verdict"] == "wrong"
    assert data["methods"]["reverse"]["arrays"][0]["name"] == "v" and len(data["methods"]["reverse"]["derivative"]) == 2
    assert "forward: multiply, operand 1, at test_verdict.py:" in str(report)
    assert "multiply" in report.picture().source and report._repr_html_().startswith("<table>")
    assert set(report.methods["reverse"].derivative) == {"w", "v"} and report.methods["reverse"].value == pytest.approx(np.sum(X * X))


def test_a_faulty_kernel_is_told_from_a_faulty_rule(monkeypatch, tmp_path):
    """Whatever is on disk: a right program there would hide the fault, and a wrong one must not stay there."""
    from diffeng.kernels import scalar
    monkeypatch.setenv("DIFFENG_CACHE", str(tmp_path))
    judged = lambda: de.compare(lambda x: np.sum(np.sin(x) * x), X[:2])                  # noqa: E731
    assert judged().agree
    with monkeypatch.context() as patched:
        patched.setitem(scalar.FLOAT, "sin", scalar.FLOAT["cos"])
        report = judged()
    assert judged().agree
    assert report.culprit.method == "reverse (kernels)" and report.culprit.primitive == "sin", str(report)
    assert report.methods["reverse"].verdict == "right" and report.methods["reverse (kernels)"].verdict == "wrong"


def test_a_missing_rule_is_wrong_and_named(monkeypatch):
    from diffeng.forward_mode import PUSH
    monkeypatch.delitem(PUSH, "sinh")
    report = de.compare(lambda x: np.sum(np.sinh(x)), X)
    assert report.culprit.kind == "missing" and report.culprit.method == "forward" and "no tangent rule for 'sinh'" in report.methods["forward"].note


def test_an_inaccurate_rule_is_told_from_a_wrong_one(monkeypatch):
    from diffeng.reverse_mode import PULL
    monkeypatch.setitem(PULL, "tanh", [lambda g, z, x: g * (1 - z * z)])
    report = de.compare(lambda x: np.sum(np.tanh(x)), np.array([18.0, 0.3]))
    assert report.culprit.kind == "inaccurate" and report.culprit.method == "reverse" and report.methods["reverse"].verdict == "inaccurate", str(report)
    assert report.methods["forward"].verdict == "right"


@pytest.mark.parametrize("call,text", [
    (lambda: de.compare(lambda x: None, 1.0), "returned None"), (lambda: de.compare(lambda x: "no", 1.0), "type str"),
    (lambda: de.compare(lambda x: x, 1), "no floating-point argument"),
    (lambda: de.compare(lambda x: x > 0, 1.0), "no floating-point value"),
    (lambda: de.compare(lambda x: np.sum(np.roots(x)), X), r"numpy\.roots at test_verdict.py:\d+ is not known"),
    (lambda: de.compare(lambda x, n: x, 1.0, 2, argnums=(0, 1)), "integer"),
])
def test_bad_input(call, text):
    with pytest.raises(TypeError, match=text):
        call()


def test_testing_helpers():
    assert assert_derivatives_agree(lambda x: np.sum(x ** 2), X).agree
    assert check_grads(lambda x, y: np.sum(x * y), (X, X))
    with plant("reverse", "power", "factor"):
        assert check_grads(lambda x: np.sum(x ** 2), X, atol=1e-12, rtol=1e-9, raise_exception=False) is False
        with pytest.raises(AssertionError, match="reverse: power"):
            assert_derivatives_agree(lambda x: np.sum(x ** 2), X)
