"""Text and sympy expressions become graphs; what text may not do, it cannot."""
import math

import numpy as np
import pytest
import sympy as sp

import diffeng as de


def value(text, *args):
    return float(de.parse(text)(*args))


@pytest.mark.parametrize("text, args, expected", [
    ("sin(x)*y + x**2", (0.7, 1.3), math.sin(0.7) * 1.3 + 0.49),
    ("-x**2", (3.0,), -9.0),
    ("2**-x*y", (2.0, 5.0), 1.25),
    ("x**y**2", (2.0, 3.0), 512.0),
    ("a-b-c", (10.0, 3.0, 2.0), 5.0),
    ("a/b/c", (12.0, 3.0, 2.0), 2.0),
    ("a-(b-c)", (10.0, 3.0, 2.0), 9.0),
    ("max(x, y+1)*-3", (1.0, 4.0), -15.0),
    ("x^3 + x² + x³", (2.0,), 20.0),
    ("  - - +x ", (4.0,), 4.0),
    ("1e-3*x + .5 + 2.", (1000.0,), 3.5),
    ("ln(x) + abs(-x) + sigmoid(0*x)", (1.0,), 1.5),
    ("cos(pi*x) + e", (1.0,), math.e - 1),
    ("σ(x)·2 − √(y) × 3", (0.0, 4.0), -5.0),
    ("1/4 + 0*x", (1.0,), 0.25),
])
def test_values_and_precedence(text, args, expected):
    assert value(text, *args) == pytest.approx(expected, rel=1e-15)


def test_inputs_come_in_order_of_first_appearance():
    graph = de.parse("sin(b)*a + b*c")
    assert [graph.nodes[k]["name"] for k in graph.inputs] == ["b", "a", "c"]
    assert all(graph.nodes[k]["shape"] == () and graph.nodes[k]["dtype"] == np.float64 for k in graph.inputs)


def test_one_name_is_one_node_and_both_edges_are_there():
    graph = de.parse("x*x")
    assert len(graph.inputs) == 1 and sorted(key for *_, key in graph.in_edges(graph.outputs[0], keys=True)) == [0, 1]


def test_a_constant_formula_has_no_inputs():
    graph = de.parse("2*3 + sqrt(16)")
    assert graph.inputs == [] and float(graph()) == 10.0


@pytest.mark.parametrize("text, column, words", [
    ("sin(x", 1, "never closed"),
    ("x + (y", 5, "never closed"),
    ("sin x", 4, "expected '('"),
    ("x y", 3, "expected an operator"),
    ("2x", 2, "written with *"),
    ("", 1, "expected a number"),
    ("x+*y", 3, "found '*'"),
    ("foo(x)", 1, "no function"),
    ("sni(x)", 1, "did you mean sin"),
    ("max(x)", 6, "takes 2 operands"),
    ("sin(x, y)", 9, "takes 1 operand"),
    ("(a, b)", 3, "comma"),
    ("x)", 2, "never opened"),
    ("x ? 1", 3, "found '?'"),
    ("?", 1, "found '?'"),
    ("x*1/0 + 1/0", 10, "division by zero"),
    ("log(-1)*x", 1, "invalid value"),
    ("9**9**9**9", 5, "overflow"),
    ("x.real", 2, "found '.'"),
    ("__import__('os').system('true')", 1, "no function"),
    ("x[0]", 2, "found '['"),
])
def test_errors_point_at_the_column(text, column, words):
    with pytest.raises(ValueError) as caught:
        de.parse(text)
    message = str(caught.value)
    assert message.startswith(f"column {column}: ") and words in message
    assert message.splitlines()[-1].index("^") == 4 + column - 1


def test_the_caret_stays_under_its_column_in_a_long_text():
    text = "x + " * 100 + "?"
    with pytest.raises(ValueError) as caught:
        de.parse(text)
    _, shown, caret = str(caught.value).splitlines()
    assert shown[caret.index("^")] == "?" and len(shown) < 120


@pytest.mark.parametrize("wrong", [None, 3, b"x", ["x"]])
def test_only_text_is_parsed(wrong):
    with pytest.raises(TypeError, match="as text"):
        de.parse(wrong)


def test_depth_and_length_are_no_danger():
    n = 5_000
    assert value("(" * n + "x" + ")" * n, 2.0) == 2.0
    assert value("-" * (2 * n) + "x", 2.0) == 2.0
    assert value("+".join(["x"] * n), 1.0) == n
    assert value("sin(" * 1000 + "x" + ")" * 1000, 0.0) == 0.0


# ---- sympy -------------------------------------------------------------------------------------------------------------------

x, y = sp.symbols("x y")


@pytest.mark.parametrize("expr", [
    sp.sqrt(x) / y, 1 / sp.sqrt(x), x ** 2 / 3, -x * y, sp.Rational(2, 3) * x - y, x ** -3, sp.exp(-x) * sp.sin(y), x ** y, x ** sp.pi, x ** sp.Rational(1, 3),
    sp.Piecewise((x ** 2, x > y), (-y, True)), sp.Max(x, y, sp.Rational(1, 2)), sp.Min(x, y), sp.pi * x + sp.E, sp.sec(x) + sp.coth(y),
    sp.atan2(x, y), sp.log(x * y),
    sp.asinh(x) + sp.erf(y) + sp.erfc(x), -(x + 1) / (2 * y), sp.Abs(x - y), sp.tanh(x) ** 2, y - x - 3, sp.floor(x) + sp.sign(x - y), sp.S(7),
    sp.GoldenRatio * x,
    sp.diff(sp.exp(-x ** 2) / (1 + y ** 2), x, y),
])
def test_from_sympy_means_what_sympy_means(expr):
    graph = de.from_sympy(expr, inputs=[x, y])
    for a, b in ((0.7, 0.4), (1.3, 2.9)):
        expected = float(expr.evalf(30, subs={x: sp.Float(a, 30), y: sp.Float(b, 30)}))
        assert float(graph(a, b)) == pytest.approx(expected, rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("expr", [x ** sp.pi, sp.pi ** x, sp.Piecewise((sp.pi * x, x > 2), (sp.pi, True))], ids=str)
def test_irrational_constants_of_sympy_have_every_method(expr):
    graph = de.from_sympy(expr, inputs=[x])
    for at in (1.7, 2.3):
        assert de.compare(lambda x: graph(x), at).agree
        assert float(graph(at)) == pytest.approx(float(expr.subs(x, at)), rel=1e-15)


def test_inputs_of_from_sympy():
    assert [n["name"] for n in (lambda g: [g.nodes[k] for k in g.inputs])(de.from_sympy(y - x))] == ["x", "y"]
    assert float(de.from_sympy(y - x, inputs=["y", "x"])(5.0, 3.0)) == 2.0
    with pytest.raises(ValueError, match="'y' is no input"):
        de.from_sympy(x + y, inputs=[x])


def test_from_sympy_shares_what_sympy_shares():
    shared = sp.sin(x)
    graph = de.from_sympy(sp.exp(shared) + shared)
    assert [graph.nodes[k]["primitive"] for k in graph].count("sin") == 1


@pytest.mark.parametrize("expr, kind, words", [
    (sp.airyai(x), ValueError, "airyai has no primitive"),
    (sp.I * x, ValueError, "no real number"),
    (sp.Piecewise((x, x > 0)), ValueError, "last piece"),
    (sp.Matrix([x, y]), TypeError, "scalar sympy expression"),
    ("x + y", TypeError, "diffeng.parse"),
])
def test_from_sympy_refuses_clearly(expr, kind, words):
    with pytest.raises(kind, match=words):
        de.from_sympy(expr)


def test_a_deep_sympy_expression():
    expr = x
    for _ in range(60):
        expr = sp.sin(expr) + 1
    reference = 0.3
    for _ in range(60):
        reference = math.sin(reference) + 1
    assert float(de.from_sympy(expr)(0.3)) == pytest.approx(reference, rel=1e-13)
