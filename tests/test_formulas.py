"""Formulas are right as mathematics and read well."""

import numpy as np
import pytest
import scipy.special as special
import sympy as sp

import diffeng as de
from diffeng.formulas import formula, latex, to_sympy

rng = np.random.default_rng(20)
X, W, w, Q = rng.standard_normal((5, 3)), rng.standard_normal((3, 2)), rng.standard_normal(3), rng.standard_normal((3, 3))
labels = (rng.random(5) > 0.5) * 1.0


def neuron(x, w, b, y):
    a = special.expit(x * w + b)
    return -(y * np.log(a) + (1 - y) * np.log(1 - a))


def logistic(X, w, y):
    p = special.expit(X @ w)
    return -np.sum(y * np.log(p) + (1 - y) * np.log(1 - p))


def text(fun, *args):
    return formula(de.trace(fun, *args))


# ---- text -------------------------------------------------------------------------------------------------------------------

def test_the_single_neuron():
    graph = de.trace(neuron, 1.1, 2.2, 0.0, 1.0)
    assert formula(graph) == "−(y·log(s) + (1 − y)·log(1 − s))\nwhere s = σ(x·w + b)"
    gradient = graph.derivative("w", method="reverse")
    assert formula(gradient) == "x·(σ(x·w + b) − y)" == formula(graph.derivative("w"))
    found = eval_formula(gradient)
    assert found == pytest.approx(-0.0898262810, abs=1e-9)


def eval_formula(graph):
    """The printed formula of the neuron's derivative, read back by diffeng.parse: names in it are the inputs and s."""
    main, _, where = formula(graph).partition("\nwhere s = ")
    values = dict(x=1.1, w=2.2, b=0.0, y=1.0)

    def at(text, values):
        g = de.parse(text)
        return float(g(*[values[g.nodes[k]["name"]] for k in g.inputs]))
    return at(main, values | {"s": at(where, values)} if where else values)


@pytest.mark.parametrize("text_in", [
    "sin(x)·y + x²", "x − (y − z)", "x/(y/z)", "(x + y)·z", "−(x + y)", "x^(y^z)", "(x^y)^z", "(−x)²", "−x²", "x/(y·z)", "x·y/z", "√(x + y)·z",
    "log(x)²", "2^(−x)", "x − y·(z + 1)",
    "(x + y)/(x − y)", "x − y + z", "1/(1 + exp(−x))", "abs(x − y)³", "max(x, y)·(x + 1)", "0.1·x + 1e-05·y", "x^2.5", "(1 + x)^(y + z)", "σ(x)·(1 − σ(x))",
])
def test_what_is_printed_means_what_was_read(text_in):
    """Parentheses: a formula, printed and read again, has the same value at random points."""
    graph = de.parse(text_in)
    again = de.parse(formula(graph).replace("maximum", "max"))
    point = {"x": 1.37, "y": 0.61, "z": 2.21}
    values = [float(g(*[point[g.nodes[k]["name"]] for k in g.inputs])) for g in (graph, again)]
    assert values[0] == pytest.approx(values[1], rel=1e-13)


def test_random_expressions_survive_printing():
    """300 random trees over all arithmetic: print, read, compare."""
    r = np.random.default_rng(7)
    point = {"x": 1.37, "y": 0.61, "z": 2.21}

    def tree(depth):
        kind = int(r.integers(0, 9 if depth else 2))
        if kind < 2:
            return ("x", "y", "z", "2", "3")[int(r.integers(0, 5))]
        if kind == 2:
            return f"(-{tree(depth - 1)})"
        if kind == 3:
            return f"{('sin', 'exp', 'σ', 'abs', 'tanh')[int(r.integers(0, 5))]}({tree(depth - 1)})"
        sign = ("+", "-", "*", "/", "-")[kind - 4]
        return f"({tree(depth - 1)} {sign} {tree(depth - 1)})"
    compared = 0
    for _ in range(300):
        try:
            graph = de.parse(tree(4))
            with np.errstate(all="ignore"):
                value = float(graph(*[point[graph.nodes[k]["name"]] for k in graph.inputs]))
        except ValueError:                          # a constant division by zero
            continue
        if not np.isfinite(value) or abs(value) > 1e6:
            continue
        main, _, where = formula(graph).partition("\nwhere ")
        values = dict(point)
        for line in where.splitlines():
            name, _, definition = line.strip().partition(" = ")
            g = de.parse(definition)
            values[name] = float(g(*[values[g.nodes[k]["name"]] for k in g.inputs]))
        g = de.parse(main)
        with np.errstate(all="ignore"):
            again = float(g(*[values[g.nodes[k]["name"]] for k in g.inputs]))
        assert again == pytest.approx(value, rel=1e-4, abs=1e-4), formula(graph)          # six digits of a constant are shown
        compared += 1
    assert compared > 200


def test_safe_simplifications_only():
    assert text(lambda x: 1.0 * x + 0.0 - -x, 2.0) == "x + x"
    assert text(lambda x: -(-x) * 1, 2.0) == "x"
    assert text(lambda x: 0.0 * x, 2.0) == "0·x"                     # 0 times infinity is not 0
    assert text(lambda x: x / x, 2.0) == "x/x"
    assert text(lambda x: x - x, 2.0) == "x − x"
    assert text(lambda x: x * x, 2.0) == "x²"
    assert text(lambda x: np.reshape(np.broadcast_to(x * 3, (1, 1)), ()), 2.0) == "3·x"


def test_numbers():
    assert text(lambda x: x * 0.1 + 3 + 1e-5 * x, 2.0) == "0.1·x + 3 + 1e-05·x"
    assert text(lambda x: x * np.sqrt(2 / np.pi), 2.0) == "√(2/π)·x"
    assert text(lambda x: x * np.pi - np.inf, 2.0) == "π·x − ∞"
    from diffeng.constants import PI, SQRT_PI
    assert text(lambda x: np.exp(-x * x) * (2 / SQRT_PI), 2.0) == "2·exp(−x²)/√π" or "√π" in text(lambda x: np.exp(-x * x) * (2 / SQRT_PI), 2.0)
    assert text(lambda x: x * PI, 2.0) == "π·x"


def test_matrices():
    assert text(lambda X, w: X @ w, X, w) == "X w"
    assert text(lambda X, W: (X @ W).T @ X, X, W) == "(X W)ᵀ X"
    assert text(lambda x, Q: x @ Q @ x, w, Q) == "xᵀ Q x"
    assert text(lambda x: np.sum(x * x), w) == "Σ(x²)"
    assert text(lambda x, y: np.outer(x, y), w, labels) == "x yᵀ"
    assert text(lambda x, y: x * y, w, w + 1) == "x ⊙ y"
    assert text(lambda X, Q: X @ Q * X, X, Q) == "(X Q) ⊙ X"
    assert text(lambda X: X / np.sum(X, axis=1, keepdims=True), X) == "X/Σ₁(X)"
    assert text(lambda x: x[0] * x[1:3] @ x[::2], w) == "(x[0]·x[1:3])ᵀ x[::2]" or text(lambda x: x[0] * x[1:3] @ x[::2], w) == "x[0]·x[1:3]ᵀ x[::2]"
    assert text(lambda x: np.where(x > 0, x, 0.0).sum(), w) == "Σ(where(x > 0, x, 0))"


def test_stable_forms_are_shown_as_what_they_are():
    def softmax(x):
        e = np.exp(x - np.max(x, axis=-1, keepdims=True))
        return e / np.sum(e, axis=-1, keepdims=True)
    assert text(softmax, X) == "softmax(x, axis=1)"
    assert text(softmax, w) == "softmax(x)"
    derivative = de.trace(lambda x: np.sum(np.tanh(x)), w).derivative(0, method="reverse")
    assert formula(derivative) == "1 − tanh(x)²"
    assert text(lambda x: np.where(np.signbit(x), -x, x), w) == text(lambda x: np.abs(x), w)
    assert text(lambda x: 4 * np.exp(-2 * np.abs(x)) / (1 + np.exp(-2 * np.abs(x))) ** 2, 0.3) == "1 − tanh(x)²"
    assert text(lambda x: np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))) ** 2, 0.3) == "σ(x)·(1 − σ(x))"
    assert "tanh" not in text(lambda x: 3 * np.exp(-2 * np.abs(x)) / (1 + np.exp(-2 * np.abs(x))) ** 2, 0.3)


@pytest.mark.parametrize("spec, shapes, expected", [
    ("ij,jk->ik", "AB", "A B"), ("ij,kj->ik", "AB", "A Bᵀ"), ("ji,jk->ik", "AB", "Aᵀ B"), ("ji,kj->ik", "AB", "Aᵀ Bᵀ"), ("ij,jk->ki", "AB", "Bᵀ Aᵀ"),
    ("ij,j->i", "Ab", "A b"), ("ij,i->j", "Ab", "Aᵀ b"), ("i,ij->j", "aB", "Bᵀ a"), ("i,j->ij", "ab", "a bᵀ"), ("i,j->ji", "ab", "b aᵀ"),
    ("i,i->", "ab", "aᵀ b"),
    ("ij,ij->ij", "AB", "A ⊙ B"), ("ij->ji", "A", "Aᵀ"), ("ij->", "A", "Σ(A)"), ("ij->i", "A", "Σ₁(A)"), ("ii->", "A", "tr(A)"), ("bij,bjk->bik", "CD", "C D"),
    ("bij,bkj->bik", "CD", "C Dᵀ"), ("ij,ij->", "AB", "Σ(A ⊙ B)"), ("i,ij->ij", "aB", "[a[i]·B[i,j]]_ij"),
])
def test_einsums_are_recognised_and_right(spec, shapes, expected):
    sizes = {"A": (3, 3), "B": (3, 3), "C": (2, 3, 3), "D": (2, 3, 3), "a": (3,), "b": (3,)}
    args = [rng.standard_normal(sizes[s]) for s in shapes]
    names = list(shapes)
    fun = {1: lambda A: np.einsum(spec, A), 2: lambda A, B: np.einsum(spec, A, B)}[len(args)]
    shown = text(fun, *args)
    for i, name in enumerate(names):
        shown = shown.replace("AB"[i], "\0" + str(i))
    for i, name in enumerate(names):
        shown = shown.replace("\0" + str(i), name)
    assert shown == expected
    plain = {"A B": lambda: args[0] @ args[1], "A Bᵀ": lambda: args[0] @ args[1].T, "Aᵀ B": lambda: args[0].T @ args[1], "Aᵀ Bᵀ": lambda: args[0].T @ args[1].T,
             "Bᵀ Aᵀ": lambda: args[1].T @ args[0].T, "A b": lambda: args[0] @ args[1], "Aᵀ b": lambda: args[0].T @ args[1], "Bᵀ a": lambda: args[1].T @ args[0],
             "a bᵀ": lambda: np.outer(*args), "b aᵀ": lambda: np.outer(*args[::-1]), "aᵀ b": lambda: args[0] @ args[1], "C D": lambda: args[0] @ args[1],
             "C Dᵀ": lambda: args[0] @ args[1].swapaxes(1, 2)}
    if expected in plain:                                                  # what is printed is what einsum computes
        np.testing.assert_allclose(np.einsum(spec, *args), plain[expected](), rtol=1e-12)


def test_gradients_read_like_mathematics():
    graph = de.trace(logistic, X, w, labels)
    assert formula(graph.derivative("w", method="reverse")).startswith("Xᵀ (")
    quadratic = de.trace(lambda x, Q: x @ Q @ x, w, Q)
    assert formula(quadratic.derivative("x", method="reverse")) in ("(Qᵀ + Q) x", "(Q + Qᵀ) x")
    assert formula(quadratic.derivative("Q", method="reverse")) == "x xᵀ"
    pieces = de.trace(lambda x: np.sin(x[0]) * x[1], np.array([1.0, 2.0]))
    assert formula(pieces.derivative(0, method="reverse")) in ("[x[1]·cos(x[0]), sin(x[0])]", "[cos(x[0])·x[1], sin(x[0])]")


def test_logistic_regression_prints_the_textbook_gradient():
    X, y = np.random.default_rng(0).normal(size=(5, 3)), np.ones(5)

    def loss(X, w, y):
        p = special.expit(X @ w)
        return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))

    for method in ("symbolic", "reverse"):
        assert formula(de.trace(loss, X, np.ones(3), y).derivative("w", method)) == "Xᵀ (σ(X w) − y)/5"
    assert formula(de.trace(lambda x: np.tanh(x), 0.5).derivative()) == "1 − tanh(x)²"
    assert formula(de.trace(lambda x: x ** 3 * np.exp(-x), 0.5).derivative().derivative()) == "exp(−x)·(x³ + 6·x − 6·x²)"


@pytest.mark.parametrize("fun, gradient", [
    (lambda X, w, y: np.mean(np.logaddexp(0, X @ w) - y * (X @ w)), "Xᵀ (σ(X w) − y)/5"),
    (lambda X, w, y: np.sum((X @ w - y) ** 2), "2·Xᵀ (X w − y)"),
    (lambda X, w, y: np.mean((X @ w - y) ** 2), "2·Xᵀ (X w − y)/5")])
def test_numbers_that_are_repeated_are_numbers(fun, gradient):
    """The cotangent of a sum or a mean is the same number everywhere."""
    assert formula(de.trace(fun, X, w, labels).derivative("w")) == gradient


def test_shared_parts_get_names_where_the_formula_would_swell():
    def chain(x):
        for _ in range(40):
            x = 3.7 * x * (1 - x)
        return x
    shown = formula(de.trace(chain, 0.3))
    assert "where s₁ = " in shown and max(map(len, shown.splitlines())) < 230 and len(shown) < 4000


def test_named_intermediates_do_not_take_an_inputs_name():
    def f(s, t, u):
        a = np.exp(s * t + u)
        return a / (1 + a) ** 2 + a * np.sin(a) + np.log(1 + a * s * t * u)
    shown = formula(de.trace(f, 1.0, 2.0, 3.0))
    assert "where v = " in shown


def test_large_constants_are_described_and_several_outputs_labelled():
    assert "where A₁: constant float64 array of shape (5, 3)" in text(lambda w: X @ w, w)
    assert "A₁ᵀ" in text(lambda r, w: X.T @ (X @ w - r), labels, w)
    assert text(lambda x: (x, 2 * x), 1.0) == "output 0 = x\noutput 1 = 2·x"


def test_a_long_chain_is_no_danger():
    def f(x):
        for _ in range(5_000):
            x = np.sin(x) + 1.0
        return x
    graph = de.trace(f, 0.5)
    assert formula(graph).count("sin") == 5_000 and latex(graph).count(r"\sin") == 5_000


# ---- every term is what its node computes ------------------------------------------------------------------------------------------

def evaluate(terms, graph, args):
    """Terms computed as mathematics: an evaluator that shares nothing with the printer or the graph."""
    from diffeng.constants import Exact
    inputs = {str(graph.nodes[k]["name"]): np.asarray(x) for k, x in zip(graph.inputs, args)}
    arrays, done, stack = dict(terms.arrays), {}, list(terms.outputs)
    functions = {"expit": special.expit, "erf": special.erf, "logsumexp": None}
    compare = {"<": np.less, "≤": np.less_equal, ">": np.greater, "≥": np.greater_equal, "=": np.equal, "≠": np.not_equal}

    def turned(x):
        return np.swapaxes(x, -1, -2) if np.ndim(x) > 1 else x

    def axis(d, rank):
        return tuple(range(rank)) if "axis" not in (d or {}) else d["axis"] if isinstance(d["axis"], tuple) else (d["axis"],)

    def product(t, a, b):
        left, right = t.args
        if left.op == "T" and len(left.args[0].shape) == 1:                    # x' y, x' A
            return a @ b
        if right.op == "T" and len(right.args[0].shape) == 1 and np.ndim(a) == 1:
            return np.outer(a, b)
        return a @ b
    while stack:
        t = stack[-1]
        if t.serial in done:
            stack.pop()
            continue
        waiting = [a for a in t.args if a.serial not in done]
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        x = [done[a.serial] for a in t.args]
        if t.op == "call":
            name, data = t.data
            if name == "scatter":
                from diffeng.vocabulary.indexing import scatter
                out = scatter.evaluate(np.reshape(x[0], np.zeros(data[1])[
                                           tuple(np.asarray(x[1 + i.k]).astype(int) if hasattr(i, "k") else i for i in data[0])].shape),
                                       *[np.asarray(i).astype(int) for i in x[1:]], index=data[0], shape=data[1])
            elif name in ("mean", "max", "min", "var", "prod"):
                keep = len(t.shape) == np.ndim(x[0])
                out = getattr(np, name)(x[0], axis=axis(data, np.ndim(x[0])), keepdims=keep, **{k: v for k, v in (data or {}).items() if k == "ddof"})
            elif name == "softmax":
                out = special.softmax(x[0], axis=axis(data, np.ndim(x[0])))
            elif name == "logsumexp":
                out = special.logsumexp(x[0], axis=axis(data, np.ndim(x[0])), keepdims=len(t.shape) == np.ndim(x[0]))
            elif name == "concatenate":
                out = np.concatenate(x, axis=data["axis"])
            elif name == "pad":
                out = np.pad(x[0], data["widths"], constant_values=data["value"])
            elif name == "setitem":
                out = np.array(x[0])
                out[data["index"]] = x[1]
            elif name == "cumsum":
                out = np.cumsum(x[0], axis=data["axis"])
            elif name == "transpose":
                out = np.transpose(x[0], data["axes"])
            else:
                out = (functions.get(name) or getattr(np, name))(*x)
        elif t.op == "index":
            out = x[0][tuple(np.asarray(x[1 + i.k]).astype(int) if hasattr(i, "k") else i for i in t.data)]
        else:
            out = {"name": lambda: inputs[t.data], "number": lambda: float(t.data) if isinstance(t.data, Exact) else t.data, "array": lambda: arrays[t.data],
                   "vector": lambda: np.array([np.reshape(v, ()) for v in x]), "broadcast": lambda: np.broadcast_to(x[0], t.shape), "add": lambda: x[0] + x[1],
                   "sub": lambda: x[0] - x[1], "mul": lambda: x[0] * x[1], "div": lambda: x[0] / x[1], "neg": lambda: -np.asarray(x[0]),
                   "pow": lambda: np.power(x[0], x[1], dtype=float), "compare": lambda: compare[t.data](*x), "iverson": lambda: np.asarray(x[0]).astype(float),
                   "where": lambda: np.where(*x), "matmul": lambda: product(t, *x), "T": lambda: turned(x[0]), "reshape": lambda: np.reshape(x[0], t.shape),
                   "sum": lambda: np.sum(x[0], axis=t.data[0], keepdims=len(t.shape) == np.ndim(x[0]) and t.data[0] != ()),
                   "einsum": lambda: np.einsum(t.data, *x)}[t.op]()
        done[t.serial] = out
    return [done[t.serial] for t in terms.outputs]


def mlp(X, W, v):
    return np.sum((np.tanh(X @ W) @ W.T - v) ** 2) + np.mean(np.maximum(X, 0.1) / (1 + np.abs(X)))


def classes(X, W):
    z = X @ W
    e = np.exp(z - np.max(z, axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.mean(np.log(p[np.arange(5), np.array([0, 1, 1, 0, 1])]))


def batched(A, B):
    C = np.swapaxes(A, 1, 2) @ B
    return np.sum(np.sin(C) * np.einsum("bij,bik->bjk", A, B)) + np.sum(A[0].T @ B[1, :, 0]) + np.sum(np.outer(A[0, 0], B[0, 1]))


_A, _B = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 4))


@pytest.mark.parametrize("fun, args", [(neuron, (1.1, 2.2, 0.3, 0.7)), (logistic, (X, w, labels)), (mlp, (X, W, w)), (classes, (X, W)),
                                       (lambda x, Q: x @ Q @ x, (w, Q)),
                                       (batched, (_A, _B)), (lambda x: x[0] * np.sin(x[1]) / (x[2] - (x[0] - x[1])) - (-x[0]) ** 3, (w,))])
def test_terms_compute_what_the_graph_computes(fun, args):
    from diffeng.formulas.terms import Terms
    graph = de.trace(fun, *args)
    graphs = [graph] + [graph.derivative(k, method="reverse") for k in range(len(args))]
    for g in graphs:
        expected = np.asarray(g(*args))
        found = np.asarray(evaluate(Terms(g), g, args)[0])
        assert found.size == expected.size or found.size == 1
        np.testing.assert_allclose(np.broadcast_to(found if found.size == 1 else found.reshape(expected.shape), expected.shape), expected,
                                   rtol=1e-9, atol=1e-12)


# ---- LaTeX -------------------------------------------------------------------------------------------------------------------------

def test_latex():
    assert latex(de.parse("sin(x)/y + x**2")) == r"\frac{\sin\left(x\right)}{y} + x^{2}"
    assert latex(de.parse("exp(-x)*alpha")) == r"e^{-x}\, \alpha"
    assert latex(de.parse("sqrt(x)*abs(y)")) == r"\sqrt{x}\, \left|y\right|"
    assert latex(de.trace(lambda X, w: X.T @ (X @ w), X, w)) == r"X^{\top} \, X \, w"
    assert latex(de.trace(lambda x: np.where(x > 0, x, 0.0), 1.0)) == r"\begin{cases}x & x > 0 \\ 0 & \text{otherwise}\end{cases}"
    assert latex(de.trace(lambda w_1, rate: w_1 * rate, 1.0, 2.0)) == r"w_{1}\, \mathrm{rate}"
    kepler = de.trace(lambda e, pi: np.exp(e) * pi * np.pi - e * np.e, 0.3, 1.0)                   # variables bear the constants' names
    assert latex(kepler) == r"\pi\, \exp\left(e\right)\, \mathrm{pi} - \exp\left(1\right)\, e" and formula(kepler) == "π·exp(e)·pi − exp(1)·e"
    assert r"\begin{aligned}" in latex(de.trace(neuron, 1.1, 2.2, 0.0, 1.0))


@pytest.mark.parametrize("fun, args", [(neuron, (1.1, 2.2, 0.0, 1.0)), (logistic, (X, w, labels)), (lambda x: x[0] ** x[1] - x[2], (w,))])
def test_latex_braces_and_delimiters_match(fun, args):
    graph = de.trace(fun, *args)
    for g in (graph, *([graph.derivative(0, method="reverse")] if graph.nodes[graph.outputs[0]]["shape"] == () else [])):
        shown = latex(g)
        assert shown.count("{") == shown.count("}") and shown.count(r"\left") == shown.count(r"\right")
        assert shown.count(r"\begin") == shown.count(r"\end")
        assert not any(f"}}_{{{i}}}_" in shown for i in range(9))            # no double subscript


# ---- sympy -----------------------------------------------------------------------------------------------------------------------------

def test_sympy_of_scalars_is_the_function_itself():
    graph = de.trace(neuron, 1.1, 2.2, 0.0, 1.0)
    x, v, b, y = sp.symbols("x w b y")
    a = 1 / (1 + sp.exp(-x * v - b))
    assert sp.simplify(to_sympy(graph) + y * sp.log(a) + (1 - y) * sp.log(1 - a)) == 0


def test_sympys_own_derivative_agrees_with_the_graphs():
    graph = de.parse("sin(x)*y + x**3/(1 + y**2) + exp(-x*y) + 0.5*x")
    expr = to_sympy(graph)
    for name in "xy":
        found = to_sympy(graph.derivative(name, method="reverse"))
        for at in ({"x": 0.7, "y": 1.9}, {"x": -1.2, "y": 0.3}):
            values = {sp.Symbol(k): sp.Float(v, 30) for k, v in at.items()}
            assert abs((sp.diff(expr, sp.Symbol(name)) - found).evalf(30, subs=values)) < 1e-13


def test_constants_stay_exact_in_sympy():
    from diffeng.constants import PI, SQRT_PI
    assert to_sympy(de.trace(lambda x: x * PI + x * 0.25, 1.0)).coeff(sp.Symbol("x")) == sp.pi + sp.Rational(1, 4)
    assert to_sympy(de.trace(lambda x: x * (2 / SQRT_PI), 1.0)) == 2 * sp.Symbol("x") / sp.sqrt(sp.pi)


def test_sympy_goes_entry_by_entry_through_arrays():
    graph = de.trace(lambda A, v: np.sum((A @ v) ** 2) + np.max(v) - np.mean(A[0, ::2]) + np.prod(v > 0), Q, w)
    expr = to_sympy(graph)
    values = {**{f"A_{i}_{j}": Q[i, j] for i in range(3) for j in range(3)}, **{f"v_{i}": w[i] for i in range(3)}}
    assert float(expr.subs(values)) == pytest.approx(float(graph(Q, w)), rel=1e-12)
    out = to_sympy(de.trace(lambda v: np.concatenate([np.cumsum(v), v[1:]]), w))
    assert out.shape == (5,) and out[2] == sum(sp.symbols("v_0 v_1 v_2"))


def test_sympy_refuses_what_it_cannot_say():
    with pytest.raises(ValueError, match="formula"):
        to_sympy(de.trace(lambda x: np.sum(x), np.ones(5000)))
    with pytest.raises(TypeError, match="argsort"):
        to_sympy(de.trace(lambda x: np.sort(x), np.array([2.0, 1.0])))


@pytest.mark.parametrize("fun", [lambda x: np.linalg.norm(x), lambda x: np.std(x), lambda x: np.sum((x > 0.5) * x), lambda x: np.sum(np.where((x > 0.5) != (x < 0.2), x, x * x)),
                                 lambda x: np.sum(np.where(np.reshape(x > 0.5, (3, 1)), x, 2 * x))])
def test_truth_values_among_numbers_in_sympy(fun):
    x = np.array([0.3, 0.7, 0.1])
    graph = de.trace(fun, x)
    at = {sp.Symbol(f"x_{k}"): sp.Rational(str(v)) for k, v in enumerate(x)}
    for g, want in ((graph, fun(x)), *((graph.derivative(0, method=m), de.grad(fun)(x)) for m in ("symbolic", "reverse"))):
        got = [float(e.subs(at)) for e in sp.flatten(sp.Array(g.sympy()) if np.ndim(want) else [g.sympy()])]
        np.testing.assert_allclose(got, np.ravel(want), rtol=1e-12)
