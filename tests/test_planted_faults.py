"""A fault in every row of every book: named rightly each time, and nobody right is accused."""
import contextlib

import numpy as np
import pytest

import diffeng as de
from diffeng.nodes import Primitive
from diffeng.specimens import names, specimen
from diffeng.testing import KINDS, plant
from judged_once import Judgements, closed_books

METHODS = ("symbolic", "forward", "reverse")


def user_function(name, params):
    p = Primitive.registry[name]
    return lambda *operands: p(*operands, **params)          # the line that a report must name


LINE = f"test_planted_faults.py:{user_function.__code__.co_firstlineno + 2}"


def case(name, dtype):
    operands, params, slots = specimen(name, dtype)
    return user_function(name, params), operands, slots


def check_row(name, dtype, together, tally):
    """Faults of every kind in every slot of a row, in the books of one method after the other, or of several at once."""
    fun, operands, slots = case(name, dtype)

    def compare():
        return de.compare(fun, *operands, argnums=tuple(slots), kernels=False)
    with Judgements().kept:
        clean = compare()
        assert clean.agree, str(clean)
        for methods in together:
            for slot in slots:
                for kind in KINDS:
                    with contextlib.ExitStack() as faults:
                        for method in methods:
                            faults.enter_context(plant(method, name, kind, slot))
                        report = compare()
                    accused = {(c.method, c.primitive, c.slot, c.line) for c in report.culprits}
                    assert accused == {(method, name, slot, LINE) for method in methods}, f"{methods} {name} {kind} slot {slot}: {report}"
                    wrong = {m for m, r in report.methods.items() if r.verdict != "right"}
                    assert wrong == {*methods}, f"{methods} {name} {kind} slot {slot}: {report}"
                    tally["planted faults in rows, each named rightly"] += len(methods)
        assert compare().agree                                   # nothing is left behind


@pytest.mark.parametrize("name", names())
def test_every_row(name, tally):
    check_row(name, np.float64, [[method] for method in METHODS], tally)


@pytest.mark.parametrize("name", names())
def test_methods_that_agree_on_what_is_wrong(name, tally):
    """The same fault in all three: nobody is right because the others say the same."""
    check_row(name, np.float32, [METHODS], tally)


@pytest.mark.parametrize("kind,body,name,slot", [
    ("swap", lambda x: np.sum(x[0] - np.exp(x[1])), "subtract", 0), ("swap", lambda x: np.sum((x / 3) @ np.outer(x, x)), "matmul", 0),
    ("swap", lambda x: np.sum(x ** np.sin(x)), "power", 0),
    ("swap", lambda x: x[0] / x[1], "divide", 0), ("lose", lambda x: np.sum(x * x), "multiply", 0), ("lose", lambda x: np.sum(x * x), "multiply", 1),
    ("lose", lambda x: x @ x, "matmul", 1),
    ("lose", lambda x: np.sum(np.hypot(x, x)), "hypot", 1), ("lose", lambda x: np.sum(np.exp(x) + x), "add", 1),
])
def test_graph_faults(kind, body, name, slot, tally):
    x = np.array([0.7, 1.3, 0.4])
    assert de.compare(body, x).agree
    with plant("graph", name, kind, slot):
        report = de.compare(body, x)
    assert report.culprit.method == "graph" and report.culprit.primitive == name and {c.method for c in report.culprits} == {"graph"}, str(report)
    assert report.methods["forward"].verdict == "right", str(report)
    assert report.culprit.line.startswith("test_planted_faults.py:")
    assert de.compare(body, x).agree
    tally["planted faults in graphs, each named rightly"] += 1


def test_the_plant_refuses_what_it_cannot_do():
    for arguments, text in ((("reverse", "tahn"), "did you mean .*tanh"), (("reverse", "where", "sign", 0), "no derivative with respect to operand 0"),
                            (("backward", "tanh"), "choose symbolic"),
                            (("reverse", "tanh", "typo"), "choose one of"), (("forward", "tanh", "sign", 3), "no operand 3"),
                            (("graph", "sin"), "one operand, and none to swap it with"), (("graph", "sin", "lose", 1), "no operand 1, and no edge to lose")):
        with pytest.raises(ValueError, match=text):
            with plant(*arguments):
                pass


def test_the_plant_needs_a_name_and_a_number():
    for arguments in (("reverse", np.tanh), ("reverse", "tanh", "sign", "0")):
        with pytest.raises(TypeError, match="give the primitive's name"):
            with plant(*arguments):
                pass


def test_a_lost_edge_reaches_kernels_that_compute_all_the_same():
    for slot in (0, 1):
        with plant("graph", "multiply", "lose", slot):
            report = de.compare(lambda x: np.sum(x * x * np.sin(x)), np.array([1.0, 2.0, 3.0]))
        kernels = report.methods["reverse (kernels)"]
        assert report.culprit.method == "graph" and report.culprit.primitive == "multiply" and kernels.verdict == "wrong" and kernels.derivative is not None


@pytest.mark.parametrize("method", METHODS)
def test_closed_books_are_closed_to_every_method(method):
    with closed_books(), pytest.raises(AssertionError, match="asked a rule"):
        de.grad(lambda x: np.sum(np.sin(x)), method=method)(np.ones(3))
    np.testing.assert_allclose(de.grad(lambda x: np.sum(np.sin(x)), method=method)(np.ones(3)), np.cos(np.ones(3)))
