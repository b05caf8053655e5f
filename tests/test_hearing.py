"""The hearing against hard cases: nobody right is accused, no fault is missed, and the time is bounded."""
import contextlib
import json

import numpy as np
import pytest
import scipy.special

import diffeng as de
from diffeng import hearing, numpy_api, verdict
from diffeng.nodes import Node, Primitive, Tracing
from diffeng.reverse_mode import PULL

X = np.array([0.7, 1.3, 0.4])
NAMES = ("symbolic", "forward", "reverse")


def judged(fun, *args, **options):
    with np.errstate(all="ignore"):
        return de.compare(fun, *args, kernels=False, **options)


# ---- nobody right is accused -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name,fun", [
    ("2**x", lambda x: 2 ** x), ("2.5**x", lambda x: 2.5 ** x), ("x**0.1", lambda x: x ** 0.1), ("x**-0.3", lambda x: x ** -0.3),
    ("x**1.7", lambda x: np.abs(x) ** 1.7),
    ("xlogy", lambda x: scipy.special.xlogy(x, 2.1)), ("xlogy y", lambda x: scipy.special.xlogy(2.1, x)),
    ("integers**x", lambda x: np.sum(np.power(np.array([2, 3]), x))),
    ("deg2rad", lambda x: np.deg2rad(x)), ("sinc", lambda x: np.sinc(x)), ("logaddexp2", lambda x: np.logaddexp2(x, 0.1)),
    ("hypot", lambda x: np.hypot(x, 0.1)), ("arctan2", lambda x: np.arctan2(0.1, x)),
])
def test_constants_beside_the_variable_do_not_round_under_the_judge(name, fun, dtype):
    report = judged(fun, dtype(1.3))
    assert report.agree, str(report)


SMALL = np.array([[1.0, -2.0], [3.0, 0.5]])


@pytest.mark.parametrize("name,fun,args", [
    ("products that underflow", lambda x: np.sum(np.einsum("ij,kj->ik", x, x)) + np.sum(x), (SMALL.astype(np.float32) * np.float32(1e-30),)),
    ("a variance that underflows", lambda x: x + np.var(x), (SMALL.astype(np.float32) * np.float32(1e-30),)),
    ("expit far out", lambda x: np.sum(scipy.special.expit(x)), (np.array([-1e200, 3.0, 1e200]),)),
    ("log_expit far out", lambda x: np.sum(scipy.special.log_expit(x)), (np.array([-1e100, 3.0, 1e100]),)),
    ("arctan far out", lambda x: np.sum(np.arctan(x)), (np.array([1e200, 1.0]),)),
    ("0 by cancellation", lambda x: np.arctan(x ** 3 - np.mean(x ** 3, axis=1, keepdims=True)), (np.array([[0.3], [0.7], [1e-3]]),)),
    ("tiny beside huge", lambda x: np.sum(np.outer(x, x) + 1e8 - 1e8), (np.array([1e-200, 2e-200]),)),
    ("float32 data, float64 weights", lambda x, w: np.sum(np.log1p(x ** 2) @ w), (SMALL.astype(np.float32), np.array([0.3, 0.7]))),
    ("largest less itself", lambda x: np.sum(np.where(x - np.max(x) < 0, x * x, x)), (X * 0.1 + 0.3,)),
    ("mask of infinities", lambda x: np.sum(np.exp(np.where(np.tri(3, dtype=bool), x, -np.inf) - np.max(x)) * np.arange(9).reshape(3, 3)),
     (np.arange(9.0).reshape(3, 3) / 7,)),
    ("remainder of a huge number", lambda x: np.mod(x, 0.77), (1.3e150,)),
])
def test_hard_scales_accuse_nobody(name, fun, args):
    report = judged(fun, *args)
    assert report.agree, str(report)


def steps():
    """What the random functions below are made of: arrays of any shape in, any shape out."""
    def rows(f):
        return lambda x: f(x) if x.ndim else x

    def newton(x):
        y = a = x * x + 1
        for _ in range(60):
            y, before = (y + a / y) / 2, y
            if np.all(np.abs(y - before) <= 1e-6 * np.abs(y)):
                break
        return y

    def stored(x):
        y = np.zeros(x.shape, x.dtype)
        y[...] = x
        if y.ndim:
            y[0] *= 2
        return y

    return [
        rows(lambda x: np.sum(x, axis=0, keepdims=True)), rows(lambda x: x - np.mean(x, axis=-1, keepdims=True)),
        rows(lambda x: x / np.sqrt(np.var(x, axis=-1, keepdims=True) + 1e-5)),
        rows(lambda x: np.prod(x, axis=0, keepdims=True) + x), rows(lambda x: np.cumprod(x, axis=-1)), rows(lambda x: np.cumsum(x, axis=0)),
        rows(lambda x: x[np.array([0, 0, -1])]),
        rows(lambda x: np.exp(100 * (x - np.max(x, axis=-1, keepdims=True)))), rows(lambda x: de.special.logsumexp(10 * x, axis=-1, keepdims=True) + x),
        rows(lambda x: np.sort(x, axis=-1)),
        rows(lambda x: np.reshape(x, (-1, 1))), lambda x: x.T @ x if x.ndim == 2 else x, lambda x: np.flip(x), lambda x: np.where(x > 0, x, x / 10),
        lambda x: np.pad(x, 1), lambda x: np.tanh(x),
        lambda x: np.log1p(x * x), lambda x: np.sqrt(x * x + 1), lambda x: np.abs(x) ** 1.7, lambda x: x ** 3, lambda x: np.clip(x, -0.5, 0.7),
        lambda x: x * np.min(x), lambda x: 0.1 * x + 0.3,
        lambda x: np.hypot(x, np.flip(x)), lambda x: np.logaddexp(x, -x), lambda x: x / (np.linalg.norm(x) + 1e-3), lambda x: (x + 1e4) - 1e4,
        lambda x: np.mod(x, 0.77), newton, stored,
        lambda x: x.astype(np.float32) * 1.5, lambda x: scipy.special.expit(x) + scipy.special.erf(x), lambda x: 1.5 ** np.tanh(x),
        lambda x: x * de.grad(lambda t: np.sum(np.sin(t) * x))(x) if x.size < 5 else x,
    ]


@pytest.mark.parametrize("block", range(6))
def test_random_functions_of_rough_ingredients_accuse_nobody(block):
    kinds = steps()
    for seed in range(10 * block, 10 * block + 10):
        rng = np.random.default_rng(seed)
        dtype = (np.float64, np.float64, np.float32)[rng.integers(3)]
        x = (rng.standard_normal(rng.integers(1, 5, 2)) * (1, 1, 1e3, 1e-3, 1e-25, 1e25)[rng.integers(6)]).astype(dtype)
        chosen, whole = [kinds[k] for k in rng.integers(0, len(kinds), rng.integers(2, 8))], rng.integers(2)

        def fun(x):
            for step in chosen:
                x = step(x)
                x = np.ravel(x)[:12] if x.size > 40 else x
            return np.sum(x) if whole else {"a": x, "n": [3, np.sum(x * x)]}

        report = judged(fun, x)
        assert report.culprit is None and not {m.verdict for m in report.methods.values()} & {"wrong", "inaccurate"}, f"seed {seed}: {report}"


def relu(x):
    return np.where(x > 0, x, 0.0)


def test_terms_that_cancel_to_the_last_bit_in_numpy_alone_accuse_no_kernel():
    report = de.compare(lambda x: np.sum(de.linalg.expm(x)), -50 * np.ones((4, 4)))          # 0 there, and 5.5e-87 by the judge; kernels sum in another order
    assert report.culprit is None and "wrong" not in {m.verdict for m in report.methods.values()}, str(report)


def test_python_integers_beyond_64_bits_are_numbers_like_others():
    for f in (lambda x, n: x * n, lambda x, n: np.sin(x) + n, lambda x, n: n / x, lambda x, n: np.maximum(x, n), lambda x, n: np.where(x > n, x, x * x)):
        for dtype in (np.float64, np.float32):
            assert judged(f, dtype(1.5), 2 ** 70).agree


def test_a_mask_is_looked_at_in_one_place_however_often_the_function_ran():
    def f(x):
        return np.sum(x[x > 0] ** 2)
    for _ in range(20):                                                        # CPython specialises x[...] meanwhile, and then says otherwise where it stands
        de.grad(f)(X)
    assert judged(f, X).agree


def test_eigenvalues_that_float32_does_not_tell_apart_accuse_no_rule():
    a = (np.eye(3) + 1e-10 * np.random.default_rng(0).normal(size=(3, 3))).astype(np.float32)          # the vectors are any that LAPACK likes
    for f in (lambda a: np.sum(np.linalg.eigh(a + a.T)[0] ** 2), lambda a: np.sum(np.linalg.svd(a)[1] ** 3)):
        report = judged(f, a)
        assert report.culprit is None and not {"wrong", "inaccurate"} & {m.verdict for m in report.methods.values()}, str(report)


def test_conventions_at_a_kink_do_not_compose_and_nobody_is_wrong():
    for fun in (lambda x: relu(x) - relu(-x), lambda x: np.abs(x) - 2 * relu(x)):
        report = judged(fun, 0.0)
        assert report.culprit is None and {m.verdict for m in report.methods.values()} == {"no verdict"}, str(report)
        assert "at a kink" in report.methods["reverse"].note


def test_a_kink_says_what_each_method_returned():
    (kink,) = judged(np.abs, 0.0).kinks
    assert kink["between"] == [-1.0, 1.0] and kink["methods"] == {"symbolic": 0.0, "forward": 0.0, "reverse": 0.0}
    (kink,) = judged(lambda x: np.sum(relu(x)), np.array([0.0, 1.0])).kinks
    assert kink["primitive"] == "greater" and kink["line"].startswith("test_hearing.py:")
    assert judged(lambda x: np.sum(np.where(x >= 1, x * x, 2 * x - 1)), np.array([1.0, 2.0])).kinks == []          # smooth, whatever the branch
    ties = np.array([1.0, 2.0, 2.0, 3.0, 2.0])                                           # each slope of the median is 0 here, and not their sum
    for f in (lambda x: np.median(x), lambda x: np.partition(x, 2)[2]):
        report = judged(f, ties)
        assert [(k["primitive"], k["entries"]) for k in report.kinks] == [("argsort", 2)] and report.methods["reverse"].verdict == "no verdict"


def test_0_log_0_is_defined_by_all():
    assert judged(lambda x: scipy.special.xlogy(x, x), 0.0).culprit is None


def test_a_value_that_is_not_finite_is_said_to_be_so():
    report = judged(lambda x: np.sum(x * x * x), np.array([1e30], np.float32) * np.float32(1e3))
    assert not report.agree and "not finite" in str(report) and "ill-conditioned" not in str(report)
    json.loads(report.to_json(derivatives=True), parse_constant=pytest.fail)


# ---- no fault is missed ------------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def pulled_by(monkeypatch, name, row):
    with monkeypatch.context() as m:
        m.setitem(PULL, name, row)
        yield


def tanh_row(factor):
    return [lambda g, z, x: g * (1 - z * z) * factor(x)]


def test_a_rule_that_is_wrong_at_some_points_only(monkeypatch):
    with pulled_by(monkeypatch, "tanh", tanh_row(lambda x: np.where(x < 0, 1 + 1e-5, 1))):
        assert judged(lambda x: np.sum(np.tanh(x)), X).agree
        report = judged(lambda x: np.sum(np.tanh(x)), X * [1, -1, 1])
        assert (report.culprit.method, report.culprit.primitive) == ("reverse", "tanh")
        one = np.where(np.arange(9000) == 777, -0.5, 1.0) * np.linspace(0.2, 1, 9000)                         # among more entries than are sampled
        report = judged(lambda x: np.sum(np.tanh(x)), one)
        assert report.culprit.method == "reverse" and report.culprit.line.startswith("test_hearing.py:"), str(report)
    with pulled_by(monkeypatch, "tanh", tanh_row(lambda x: np.where(np.absolute(x - 0.6) < 1e-4, 2, 1))):        # no extreme entry: the sample misses it
        report = judged(lambda x: np.sum(np.tanh(x)), np.where(np.arange(9000) == 777, 0.6, 0.3) * np.ones(9000))
        assert report.culprit.method == "reverse" and report.culprit.primitive == "tanh", str(report)
    with pulled_by(monkeypatch, "tanh", tanh_row(lambda x: 1 + 2.0 ** -40)):
        assert judged(lambda x: np.sum(np.tanh(x)), X).methods["reverse"].verdict == "wrong"


@pytest.mark.parametrize("rule", [lambda g, z, x: {}["weights"], lambda g, z, x: None, lambda g, z, x: 0.0, lambda g, z, x: (g * z)[:2],
                                  lambda g, z, x: g * np.nan, lambda g, z, x: g * np.inf])
def test_whatever_a_rule_does_the_report_names_it(monkeypatch, rule):
    with pulled_by(monkeypatch, "exp", [rule]):
        report = judged(lambda x: np.sum(np.exp(x)), X)
    assert {(c.method, c.primitive, c.slot) for c in report.culprits} == {("reverse", "exp", 0)}, str(report)
    assert {k: m.verdict for k, m in report.methods.items()} == {"symbolic": "right", "forward": "right", "reverse": "wrong"}


@pytest.mark.parametrize("function,read", [("std", lambda original: lambda *a, **k: original(*a, **k) * (1 + 1e-5)),
                                           ("mean", lambda original: lambda x, *a, **k: np.max(x))])
def test_a_numpy_function_that_is_read_as_something_else(monkeypatch, function, read):
    monkeypatch.setitem(numpy_api.FUNCTIONS, getattr(np, function), read(numpy_api.FUNCTIONS[getattr(np, function)]))
    report = judged(lambda x: getattr(np, function)(x) * x[0], X)
    assert (report.culprit.method, report.culprit.primitive) == ("graph", function) and report.culprit.line.startswith("test_hearing.py:"), str(report)
    assert {m.verdict for m in report.methods.values()} == {"wrong"}


@pytest.mark.parametrize("read", [Primitive.registry["tanh"], lambda x: Primitive.registry["sinh"](x) * (1 + 1e-5)])
def test_a_ufunc_that_is_read_as_something_else(monkeypatch, read):
    monkeypatch.setitem(numpy_api.UFUNCS, np.sinh, read)
    report = judged(lambda x: np.sum(np.sinh(x) * x), X)
    assert (report.culprit.method, report.culprit.primitive) == ("graph", "sinh") and not report.agree, str(report)


def test_a_fault_in_a_numpy_evaluation(monkeypatch):
    sin = Primitive.registry["sin"]
    original = sin.evaluate
    monkeypatch.setattr(sin, "evaluate", lambda x: original(x) * (1 + 1e-5))
    report = judged(lambda x: np.sum(np.sin(x) * x), X)
    assert {(c.method, c.primitive) for c in report.culprits} == {("graph", "sin")} and not report.agree, str(report)


def redirected(node, count):
    if count == 2:
        node.operands = node.operands[:1] * 2


def detached(node, count):
    node.operands = tuple(p.value if type(p) is Node else p for p in node.operands)


def other_axis(node, count):
    node.params = {**node.params, "axis": (1,)} if node.params["axis"] == (0,) else node.params


def other_value(node, count):
    node.value = node.value * 1.0000001


def other_primitive(node, count):
    node.primitive = Primitive.registry["cos"]


@pytest.mark.parametrize("fault,name,fun,x", [
    (redirected, "multiply", lambda x: np.sum(x * np.sin(x) * np.exp(x)), X), (detached, "sin", lambda x: np.sum(np.sin(x) * x), X),
    (other_value, "sin", lambda x: np.sum(np.sin(x) * x), X),
    (other_axis, "sum", lambda x: np.sum(np.sum(x, axis=0) * X), np.arange(9.0).reshape(3, 3)),
    (other_axis, "sum", lambda x: np.sum(np.sum(x, axis=0) * X), np.ones((3, 3))),
    (other_primitive, "sin", lambda x: np.sum(np.sin(x) * x), X),
])
def test_graph_faults_of_other_kinds(monkeypatch, fault, name, fun, x):
    original, seen = Tracing.apply, [0]

    def apply(self, primitive, operands, params):
        tracer = original(self, primitive, operands, params)
        if primitive.name == name:
            seen[0] += 1
            fault(tracer.node, seen[0])
        return tracer

    monkeypatch.setattr(Tracing, "apply", apply)
    report = judged(fun, x)
    assert {(c.method, c.primitive) for c in report.culprits} == {("graph", name)}, str(report)
    assert {k: m.verdict for k, m in report.methods.items()} == {"symbolic": "wrong", "forward": "right", "reverse": "wrong"}, str(report)


def test_candidates_of_every_kind():
    x = np.random.default_rng(0).standard_normal(3000)

    def right(x):
        return np.cos(x) * x ** 2 + 2 * x * np.sin(x)

    def off(x, by, at=1234):
        g = right(x)
        g[at] *= by
        return g

    def writes(x):
        g = right(x)
        x[:] = 0
        return g

    def fails(x):
        raise KeyError("weights")

    candidates = {"right": right, "writes": writes, "1e-6": lambda x: off(x, 1 + 1e-6), "nan": lambda x: off(x, np.nan), "inf": lambda x: off(x, np.inf),
                  "fails": fails, "none": lambda x: None,
                  "complex": lambda x: right(x) + 1j, "text": lambda x: "no", "float32": lambda x: right(x).astype(np.float32)}
    report = judged(lambda x: np.sum(np.sin(x) * x ** 2), x, candidates=candidates)
    assert {k for k, m in report.methods.items() if m.verdict == "right"} == {*NAMES, "right", "writes"}, str(report)
    assert ({k for k, m in report.methods.items() if m.verdict == "inaccurate"} == {"float32"} and "x[1234]" in report.methods["1e-6"].note
            and "KeyError" in report.methods["fails"].note)
    a = np.random.default_rng(1).standard_normal((4, 4))
    report = judged(lambda w: np.sum(np.tanh(w @ a)), a, candidates={"transposed": lambda w: ((1 - np.tanh(w @ a) ** 2) @ a.T).T})
    assert report.methods["transposed"].verdict == "wrong"
    assert judged(lambda x: x * 2, X, candidates={"mine": lambda x: x}).methods["mine"].verdict == "no verdict"          # it was not asked


# ---- the time is bounded ----------------------------------------------------------------------------------------------------------------

def test_forward_mode_answers_along_directions_where_entries_are_very_many(monkeypatch):
    monkeypatch.setattr(verdict, "FORWARD", 10 ** 4)
    report = judged(lambda p: np.sum(np.sin(p["a"]) * p["b"]), {"a": np.linspace(0, 1, 500), "b": np.linspace(1, 2, 500)})
    assert report.agree and "asked along 2 directions and 2 of single arrays" in str(report), str(report)
    with de.testing.plant("forward", "sin"):
        report = judged(lambda x: np.sum(np.sin(x) * x), np.linspace(0.1, 1, 500))
    assert report.methods["forward"].verdict == "wrong" and report.culprit.method == "forward"


def test_the_judge_declines_what_would_take_hours(monkeypatch):
    monkeypatch.setattr(hearing, "PATIENCE", 10 ** 4)
    report = judged(lambda x: np.sum(x @ x), np.ones((30, 30)))
    assert not report.agree and report.culprit is None and {m.verdict for m in report.methods.values()} == {"no verdict"}
    assert "smaller arrays" in str(report)


def test_operations_too_large_to_check_alone_are_counted(monkeypatch):
    from diffeng import blame
    monkeypatch.setattr(blame, "LARGE", 100)
    report = judged(lambda x: np.sum(x * x), np.ones(200) * 0.3)
    assert report.agree and report.coverage["undecided"] == 3 and "too many" in str(report)


# ---- derivatives inside, and bad input --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name,fun", [
    ("hessian", lambda x: np.sum(de.hessian(lambda y: np.sum(y ** 3))(x))), ("jacobian", lambda x: np.sum(de.jacobian(lambda y: y ** 3 * y[0])(x))),
    ("hvp", lambda x: np.sum(de.hvp(lambda y: np.sum(y ** 3), (x,), (x,))[1])), ("vjp", lambda x: np.sum(de.vjp(lambda y: np.sin(y) * y[1], x)[1](x * x)[0])),
    ("gradient with x in its closure", lambda x: np.sum(de.grad(lambda t: np.sum(np.sin(t) * t * x))(np.ones(3)))),
])
def test_the_judge_takes_derivatives_inside_by_differences(name, fun):
    report = judged(fun, X)
    assert report.agree and "takes a derivative inside" in str(report), str(report)


def test_what_compare_refuses():
    for options, error, text in ((dict(candidates=[abs]), TypeError, "dict of functions"), (dict(candidates={"mine": 3}), TypeError, "dict of functions"),
                                 (dict(digits=1), ValueError, "20 to 400"), (dict(candidates={"reverse": abs}), ValueError, "name of a method"),
                                 (dict(digits=2000), ValueError, "20 to 400"), (dict(argnums=()), ValueError, "empty"),
                                 (dict(argnums=0.5), TypeError, "argnums=0.5: give the number"), (dict(digits="a"), ValueError, "digits='a': the judge"),
                                 (dict(digits=50.5), ValueError, "digits=50.5"), (dict(seed=-1), ValueError, "seed=-1: give 0 or more"),
                                 (dict(progress=3), TypeError, "progress is of type int: give a function")):
        with pytest.raises(error, match=text):
            de.compare(np.sin, 1.0, **options)
    for x in (np.float16(1), np.longdouble(1)):
        with pytest.raises(TypeError, match="float64 or float32"):
            de.compare(np.sin, x)
