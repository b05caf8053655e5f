"""de.custom: functions with derivative rules of the user's own."""
import numpy as np
import pytest
import scipy.linalg

import diffeng as de
from diffeng.nodes import Primitive

METHODS = ("symbolic", "forward", "reverse")
X = np.array([0.3, 1.2, -0.7])


def made(**rules):
    """A fresh log(sum(exp(x))) with rules that count their calls."""
    calls = []

    @de.custom
    def lse(x):
        return np.log(np.sum(np.exp(x)))

    def counted(name, rule):
        def run(*args):
            calls.append(name)
            return rule(*args)
        return run
    for name, rule in rules.items():
        getattr(lse, name)(counted(name, rule))
    return lse, calls


PUSH, PULL = (lambda x, out, dx: np.sum(np.exp(x - out) * dx)), (lambda x, out, g: g * np.exp(x - out))


def test_each_method_asks_its_own_rule():
    f, calls = made(push=PUSH, pull=PULL)
    want = np.exp(X) / np.sum(np.exp(X))
    for method, asked in (("symbolic", set()), ("forward", {"push"}), ("reverse", {"pull"})):
        np.testing.assert_allclose(de.grad(lambda x: f(x), method=method)(X), want, rtol=1e-14)
        assert set(calls) == asked, method
        calls.clear()
    assert f(X) == np.log(np.sum(np.exp(X))) and f.__name__ == "lse" and not calls


def test_rules_can_be_differentiated_again():
    f, _ = made(push=PUSH, pull=PULL)
    p = np.exp(X) / np.sum(np.exp(X))
    for method in METHODS:
        np.testing.assert_allclose(de.hessian(lambda x: f(x), method=method)(X), np.diag(p) - np.outer(p, p), rtol=1e-13)
    np.testing.assert_allclose(de.hessian(lambda x: f(x))(X), np.diag(p) - np.outer(p, p), rtol=1e-13)


def test_what_has_no_rule_is_differentiated_as_it_stands():
    f, _ = made()
    for method in METHODS:
        np.testing.assert_allclose(de.grad(lambda x: f(2 * x), method=method)(X), 2 * np.exp(2 * X) / np.sum(np.exp(2 * X)), rtol=1e-14)
    assert f.check(X).agree


def test_a_right_rule_is_right_and_both_are_adjoint():
    f, _ = made(push=PUSH, pull=PULL)
    report = f.check(X)
    assert report.agree and report.adjoint < 1e-14 and "differ by" in str(report) and "one operand of an operation on its own" in str(report)


@pytest.mark.parametrize("rule, method", [("push", "forward"), ("pull", "reverse")])
@pytest.mark.parametrize("off", [1 + 1e-6, -1.0, 0.0])
def test_a_wrong_rule_is_named_with_its_line(rule, method, off):
    right = {"push": PUSH, "pull": PULL}
    f, _ = made(**right | {rule: lambda *a: off * right[rule](*a)})
    report = de.compare(lambda x: np.sum(x) * f(x), X)
    assert {(c.method, c.primitive, c.slot) for c in report.culprits} == {(method, "lse", 0)}, str(report)
    assert report.culprit.line == f"test_own_rules.py:{test_a_wrong_rule_is_named_with_its_line.__code__.co_firstlineno + 5}"
    assert {m for m, r in report.methods.items() if r.verdict == "wrong"} >= {method} and report.methods["symbolic"].verdict == "right"
    checked = f.check(X)
    assert not checked.agree and checked.adjoint > 1e-8
    assert checked.culprit.line.startswith("test_own_rules.py:")          # where the function stands: the call is the engine's


def test_nested_arguments_several_results_and_constants():
    @de.custom
    def many(p, n, mode="plain"):
        return {"a": p["w"] * n, "b": np.sum(p["w"]) * p["c"]}
    args = {"w": X, "c": 2.0}, 3
    report = de.compare(lambda p: sum(np.sum(v ** 2) for v in many(p, 3, mode="plain").values()), args[0])
    assert report.agree, str(report)
    many.push(lambda p, n, mode, out, dp, dn, dmode: {"a": dp["w"] * n, "b": np.sum(dp["w"]) * p["c"] + np.sum(p["w"]) * dp["c"]})
    many.pull(lambda p, n, mode, out, g: ({"w": g["a"] * n + g["b"] * p["c"], "c": np.sum(p["w"]) * g["b"]}, None, None))
    for k in (3, 5):
        report = de.compare(lambda p: sum(np.sum(v ** 2) for v in many(p, k, "plain").values()), args[0])
        assert report.agree, str(report)
    assert many(*args)["b"] == np.sum(X) * 2.0
    assert many.check(*args, "plain").agree


def test_two_arguments_of_which_one_may_stand_still():
    @de.custom
    def times(x, y):
        return np.sin(x) * y
    times.push(lambda x, y, out, dx, dy: np.cos(x) * y * dx + np.sin(x) * dy)
    times.pull(lambda x, y, out, g: (g * np.cos(x) * y, g * np.sin(x)))
    for f in (lambda x: np.sum(times(x, X)), lambda x: np.sum(times(X, x)), lambda x: np.sum(times(x, x ** 2)), lambda x: times(x[0], 2.0)):
        report = de.compare(f, X + 1)
        assert report.agree, str(report)
    indices = np.array([2, 0])

    @de.custom
    def taken(x, i):
        return x[i]
    taken.pull(lambda x, i, out, g: (de.at(np.zeros(3), i).add(g), None))
    np.testing.assert_array_equal(de.grad(lambda x, i: np.sum(taken(x, i) * np.array([1.0, 10.0])))(X, indices), [10, 0, 1])


def test_compiled():
    f, _ = made()
    f.push(PUSH)
    f.pull(PULL)
    loss = de.value_and_grad(lambda x: f(2 * x) * np.sum(x))
    compiled = de.jit(loss)
    for x in (X, X + 1):
        np.testing.assert_allclose(compiled(x)[1], loss(x)[1], rtol=1e-14)
    assert compiled.traces == 1 and not compiled._last.program.calls                     # kernels of what the function consists of
    f.pull(lambda x, out, g: 0 * x)                                                       # another rule: seen
    np.testing.assert_allclose(compiled(X)[1], np.full(3, f(2 * X)), rtol=1e-14)
    outline = de.jit(lambda x: f(x) + 1)
    np.testing.assert_allclose(outline(X), f(X) + 1, rtol=1e-15)


W = np.array([1.0, 2.0])


@de.custom
def scaled(x):
    return x * W


scaled.pull(lambda x, out, g: g * W)


def test_a_function_that_reads_arrays_from_outside():
    """Under jit they are read at every call; in the rules, too."""
    loss, slope = de.jit(lambda x: np.sum(scaled(x) ** 2)), de.jit(de.grad(lambda x: np.sum(scaled(x) ** 2)))
    curved = de.jit(de.hessian(lambda x: np.sum(scaled(x) ** 2)))
    x = np.ones(2)
    try:
        for W[0] in (1.0, 5.0):
            assert loss(x) == W[0] ** 2 + 4
            np.testing.assert_array_equal(slope(x), 2 * W ** 2)
            np.testing.assert_array_equal(curved(x), np.diag(2 * W ** 2))
    finally:
        W[0] = 1.0
    np.testing.assert_array_equal(de.vmap(scaled)(np.ones((3, 2))), [[1, 2]] * 3)
    turned = de.jit(lambda x: de.scan(lambda c, a: (scaled(c) * a, np.sum(c)), x, np.full(9, 0.5))[1])
    np.testing.assert_allclose(turned(x), de.scan(lambda c, a: (scaled(c) * a, np.sum(c)), x, np.full(9, 0.5))[1], rtol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_a_function_that_reads_what_is_differentiated(method):
    """Without rules it is one like any other; with rules that know nothing of it, an error."""
    def f(w, x, ruled):
        @de.custom
        def inner(x):
            return np.sin(x * w)
        if ruled:
            inner.pull(lambda x, out, g: g * np.cos(x * w) * w)
        return inner(x)
    np.testing.assert_allclose(de.grad(f, (0, 1), method=method)(2.0, 0.5, False), [0.5 * np.cos(1.0), 2 * np.cos(1.0)], rtol=1e-14)
    assert de.grad(f, 1, method=method)(2.0, 0.5, True) == pytest.approx(2 * np.cos(1.0), rel=1e-14)
    with pytest.raises(TypeError, match=r"inner at test_own_rules\.py:\d+ has derivative rules, and reads a value from outside that is differentiated"):
        de.grad(f, (0, 1), method=method)(2.0, 0.5, True)


def test_results_of_other_shapes_at_other_calls():
    @de.custom
    def two(x, y):
        return np.sum(x) * np.ones(len(x)), np.sum(y) * np.ones(len(y))
    two.pull(lambda x, y, out, g: (np.sum(g[0]) * np.ones(len(x)), np.sum(g[1]) * np.ones(len(y))))

    def f(a, b):
        u, v = two(a, b)
        s, t = two(b, a)
        return np.sum(u) + 10 * np.sum(v) + 100 * np.sum(s) + 1000 * np.sum(t)
    a, b = np.array([0.1, 0.2]), np.array([0.3, 0.4, 0.5])
    for transform in (lambda f: f, de.jit):
        for method in METHODS:
            found = transform(de.grad(f, (0, 1), method=method))(a, b)
            np.testing.assert_allclose(found[0], [2002, 2002], rtol=1e-14)
            np.testing.assert_allclose(found[1], [330, 330, 330], rtol=1e-14)
    assert de.compare(f, a, b).agree


def test_a_wrong_rule_inside_of_a_function_without_rules_is_named():
    @de.custom
    def inner(x):
        return np.sin(x) * x
    inner.pull(lambda x, out, g: g * np.cos(x))

    @de.custom
    def outer(x):
        return inner(x) + x
    report = de.compare(lambda x: outer(x), 0.7)
    assert [(c.method, c.primitive) for c in report.culprits] == [("reverse", "inner")] and report.culprit.line.startswith("test_own_rules.py:")


def test_source_and_names():
    @de.custom
    def kw(x, n=2, mode="a"):
        return x ** n
    kw.pull(lambda x, n, mode, out, g: (g * n * x ** (n - 1), None, None))
    assert de.grad(lambda x: kw(x, mode="b"))(2.0) == 4.0 and kw(3.0, mode="c") == 9.0
    graph = de.trace(lambda x: kw(x) + 1, 2.0)
    assert graph.formula() == "kw(x) + 1" and "x ** 2 + 1" in graph.source("numpy") and "t1 + 1" in graph.source("c")


def test_a_function_that_looks_at_values():
    @de.custom
    def relu(x):
        return x if x > 0 else 0.0 * x
    relu.pull(lambda x, out, g: g * (x > 0))
    for transform in (lambda f: f, de.jit):
        slope = transform(de.grad(lambda x: 3 * relu(x)))
        assert (slope(2.0), slope(-2.0)) == (3.0, 0.0)
    assert relu.check(1.5).agree and relu.check(-1.5).agree


def test_vmap_checkpoint_and_float32():
    f, calls = made(pull=PULL)
    stack = np.stack([X, X + 1])
    np.testing.assert_allclose(de.vmap(lambda x: f(x))(stack), [f(X), f(X + 1)], rtol=1e-14)
    np.testing.assert_allclose(de.vmap(de.grad(lambda x: f(x)))(stack), np.stack([np.exp(X) / np.sum(np.exp(X))] * 2), rtol=1e-13)
    assert calls
    np.testing.assert_allclose(de.grad(lambda x: np.sum(de.checkpoint(lambda x: f(x) * x)(x)))(X), de.grad(lambda x: np.sum(f(x) * x))(X), rtol=1e-15)
    single = de.grad(lambda x: f(x))(X.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, np.exp(X) / np.sum(np.exp(X)), rtol=1e-6)


def test_functions_of_one_name_are_two():
    """Sharing of equal operations, and verdicts on equal operations at equal values, go by the function, not by its name; nor is a name the vocabulary's."""
    def one(factor):
        @de.custom
        def tanh(x):
            return factor * np.tanh(x)
        tanh.pull(lambda x, out, g: g * factor * (1 - (out / factor) ** 2))
        return tanh
    first, second = one(1.0), one(2.0)
    x = np.array(0.4)
    np.testing.assert_allclose(de.jit(lambda x: first(x) + second(x))(x), 3 * np.tanh(x), rtol=1e-14)
    np.testing.assert_allclose(de.grad(lambda x: first(x) + second(x))(x), 3 * (1 - np.tanh(x) ** 2), rtol=1e-14)
    second.pull(lambda x, out, g: g)
    report = de.compare(lambda x: first(x) + second(x), x)
    assert len(report.culprits) == 1 and report.culprit.primitive == "tanh (custom)"
    assert Primitive.registry["tanh"].own is None


@pytest.mark.parametrize("off", [1, -1])
@pytest.mark.parametrize("n", [6, 8, 9])
def test_rounding_inside_of_a_function_is_not_a_rules_fault(n, off):
    """A Hilbert matrix: what a solution loses (7e-8 of itself for n = 8) is no wrong value, and hides no wrong rule."""
    a = 1 / (np.arange(n)[:, None] + np.arange(n) + 1.0)
    solve, logdet = de.custom(lambda a, b: np.linalg.solve(a, b)), de.custom(lambda a: np.linalg.slogdet(a)[1])

    def pull(a, b, x, g):
        back = np.linalg.solve(a.T, g)
        return -off * np.outer(back, x), back
    solve.pull(pull)
    logdet.pull(lambda a, out, g: off * g * np.linalg.inv(a).T)
    for report in (solve.check(a, np.ones(n)), logdet.check(a)):
        assert {(c.method, c.slot, c.kind) for c in report.culprits} == ({("reverse", 0, "wrong")} if off < 0 else set()), str(report)
        assert {report.methods[m].verdict for m in ("symbolic", "forward")} <= {"right", "no verdict"}


@pytest.mark.parametrize("rule, result, text", [
    ("pull", lambda x, out, g: 1j * x, r"lse\.pull returned a complex cotangent for argument 0, which is real at test_own_rules"),
    ("pull", lambda x, out, g: np.ones(2), r"lse\.pull returned one of shape \(2,\) for a number of shape \(3,\) at test_own_rules"),
    ("pull", lambda x, out, g: None, r"lse\.pull returned none"), ("pull", lambda x, out, g: {"a": x, "b": x}, r"lse\.pull returned 2 arrays for argument 0, which has 1"),
    ("push", lambda x, out, dx: dx, r"lse\.push returned a tangent of shape \(3,\) for a result of shape \(\) at test_own_rules")])
def test_what_a_rule_may_not_return(rule, result, text):
    f, _ = made(**{rule: result})
    with pytest.raises(ValueError, match=text):
        de.grad(lambda x: f(x), method={"push": "forward", "pull": "reverse"}[rule])(X)


def test_other_errors():
    @de.custom
    def two(x, y):
        return x * y
    two.pull(lambda x, y, out, g: g * y)
    with pytest.raises(ValueError, match=r"two\.pull returned one value for 2 arguments: return a tuple .* at test_own_rules\.py"):
        de.grad(lambda x: two(x, 2.0))(1.0)
    with pytest.raises(TypeError, match="two.pull needs a function, not int"):
        two.pull(3)
    with pytest.raises(TypeError, match="custom needs a function, not float"):
        de.custom(3.0)

    @de.custom
    def mixed(x):
        return x, np.arange(3)
    mixed.pull(lambda x, out, g: g[0])
    with pytest.raises(TypeError, match="several results .* one dtype, and they are float64, int64"):
        de.grad(lambda x: mixed(x)[0])(1.0)

    @de.custom
    def named(x, *, scale):
        return x * scale
    named.pull(lambda x, scale, out, g: g * scale)
    with pytest.raises(TypeError, match=r"named at test_own_rules\.py:\d+ has derivative rules, and 'scale' can only be given by name"):
        de.grad(lambda x: named(x, scale=2.0))(1.0)


def test_a_rule_that_is_wrong_where_a_derivative_inside_asks_it_is_named():
    x, one = np.array([0.7, 1.3]), np.ones(2)
    for rules, method, text in (({"pull": lambda x, out, g: g * 3 * x * x, "push": lambda x, out, dx: 3 * x * x * dx}, None, None),
                                ({"pull": lambda x, out, g: g * 3 * x * de.stop_gradient(x)}, "reverse", "differentiated again"),
                                ({"pull": lambda x, out, g: g * (3 * x * x + 1)}, "reverse", "is wrong"),              # its own derivative is right
                                ({"push": lambda x, out, dx: dx * 3 * x * de.stop_gradient(x)}, "forward", "differentiated again")):
        @de.custom
        def cube(x):
            return x * x * x
        for name, rule in rules.items():
            getattr(cube, name)(rule)
        inner = (lambda x: de.jvp(cube, (x,), (one,))[1]) if method == "forward" else de.grad(lambda x: np.sum(cube(x)))
        report = de.compare(inner, x)
        assert report.agree == (method is None), str(report)
        if method:
            assert (report.culprit.method, report.culprit.primitive) == (method, "cube") and text in report.culprit.text
            assert report.culprit.line.startswith("test_own_rules.py:")


def test_a_function_that_is_made_where_it_is_called_is_judged():
    def loss(x, slope):
        square = de.custom(lambda x: x * x)
        square.pull(lambda x, out, g: slope * g * x)
        return np.sum(square(x) * x)
    assert de.compare(lambda x: loss(x, 2.0), X).agree
    report = de.compare(lambda x: loss(x, 2.1), X)
    assert report.culprit.method == "reverse" and {c.method for c in report.culprits} == {"reverse"}


def test_a_rule_that_looks_at_values_accuses_no_kernel():
    @de.custom
    def f(x):
        return x ** 2 if np.sum(x) > 0 else -x
    f.pull(lambda x, out, g: 2 * x * g if np.sum(x) > 0 else -g)
    for x in (X, -X):
        report = de.compare(lambda x: np.sum(f(x) ** 2 * x), x)
        assert report.agree, str(report)


HELD = np.arange(4.0) + 1


def test_what_nobody_uses_of_an_array_from_outside():
    """A compiled function is run again where it is written out, after the recording in which that was made."""
    inner = {"a": HELD * 2}

    @de.custom
    def f(x):
        np.sum(HELD * 2), inner["a"] + 1
        return np.sum(x * x)
    f.pull(lambda x, out, g: 3 * g * x)
    x = np.ones(3)
    assert de.jit(f)(x) == 3.0 and np.array_equal(de.jit(de.grad(f))(x), 3 * x)
    loop = de.jit(de.grad(lambda x: de.scan(lambda c, _: (c * 0.5 + f(x), None), x[0], None, length=4)[0]))
    assert loop(x).shape == (3,)


def test_a_function_that_asks_for_certain_numbers_is_compiled_with_those_of_the_call():
    """Ones, say, are no positive definite matrix; what a derivative, a vmap or a recording holds is asked for its numbers, too."""
    @de.custom
    def factor(m):
        assert m[0, 0] > 1.5
        return scipy.linalg.cholesky(m, lower=True)
    factor.pull(lambda m, out, g: np.linalg.inv(out).T @ np.tril(out.T @ g) @ np.linalg.inv(out) / 2)
    m = np.array([[2.0, 0.3], [0.3, 1.0]])
    want = de.grad(lambda m: np.sum(factor(2 * m)[1]))(m)
    np.testing.assert_allclose(de.jit(de.grad(lambda m: np.sum(factor(2 * m)[1])))(m), want, rtol=1e-14)
    np.testing.assert_allclose(de.jit(lambda m: factor(m + m.T))(m), scipy.linalg.cholesky(2 * m, lower=True), rtol=1e-14)


def test_a_closure_that_asks_for_the_memory_of_an_array():
    def made(n):
        @de.custom
        def windows(x):
            return np.sum(np.frombuffer(x.tobytes()).reshape(-1, n), axis=1)
        windows.pull(lambda x, out, g: np.repeat(g, n))
        return windows
    x, w = np.arange(6.0), np.array([1.0, 2.0, 3.0])
    for call in (de.grad(lambda x: w @ made(2)(x)), de.jit(de.grad(lambda x: w @ made(2)(x)))):
        np.testing.assert_array_equal(call(x), [1, 1, 2, 2, 3, 3])
