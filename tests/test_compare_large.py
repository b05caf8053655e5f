"""Large functions before the judge: products by slices, arrays that are never spelled out, verdicts that are those of small ones, and `diffeng compare gpt2`."""
import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from flint import arb

import diffeng as de
from diffeng import blame, cli, forward_mode, parts, reverse_mode, symbolic, verdict, wide_arrays
from diffeng.balls import box, enclose
from diffeng.llm import GPT2Config
from diffeng.llm.model import init_parameters, loss
from diffeng.llm.tokenizers import ByteTokenizer, CharacterTokenizer
from diffeng.llm.weights import save
from diffeng.nodes import Primitive
from diffeng.precise import PreciseArray, Refused, numbers, precise, precision
from diffeng.slices import product
from diffeng.specimens import names, specimen
from diffeng.testing import plant
from judged_once import Judgements

CONFIG = GPT2Config(vocab_size=300, context_length=16, emb_dim=16, n_heads=2, n_layers=1, drop_rate=0.0)
TOKENS = np.array([72, 101, 108, 108, 111, 32, 72])
RNG = np.random.default_rng(0)
P = {k: v + (0.1 * RNG.normal(size=v.shape) if v.ndim == 1 else 0) for k, v in init_parameters(CONFIG).items()}

JUDGED = Judgements()


def gpt2(parameters):
    return loss(parameters, TOKENS[:-1], TOKENS[1:], CONFIG)


def parameters(dtype):
    return {k: v.astype(dtype) for k, v in P.items()}


@pytest.fixture
def small_is_large(monkeypatch):
    """wte (300, 16) and the larger matrices of a block are large; forward mode goes along directions; operations are checked in part."""
    monkeypatch.setattr(wide_arrays, "LARGE", 1000)
    monkeypatch.setattr(verdict, "FORWARD", 10 ** 4)
    monkeypatch.setattr(blame, "BUDGET", 10 ** 4)


# ---- products by slices ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("digits", [30, 100, 250])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m, k, n", [(1, 1, 1), (3, 50, 7), (2, 1500, 3), (2, 5, 0), (0, 5, 2)])
def test_products_are_exact_to_the_digits_in_force(m, k, n, dtype, digits):
    rng = np.random.default_rng(1)
    b = (rng.normal(size=(n, k)) * np.exp(6 * rng.normal(size=(n, k)))).astype(dtype).T                      # strided, over many orders of magnitude
    with precision(2 * digits + 20):
        a = box(enclose(rng.normal(size=(m, k))) / arb(3))
        exact = a @ enclose(b) if m * n else np.empty((m, n), object)
        with precision(digits):
            got = product(a, b)
        size = float(np.max(np.abs(b), initial=1)) * k
        assert got.shape == (m, n)
        for x, y in zip(got.reshape(-1), exact.reshape(-1)):
            assert x.overlaps(y) and abs(float(x.mid() - y.mid())) <= size * 10.0 ** -digits and float(x.rad()) <= size * 10.0 ** -digits


def test_products_with_zeros_and_what_is_not_finite():
    with precision(50):
        a = enclose(np.array([[0.0, 0.0]]))
        assert product(a, np.ones((2, 2)))[0, 0] == 0 and product(enclose(np.ones((1, 2))), np.zeros((2, 1)))[0, 0] == 0
        a[0, 0] = arb("nan")
        assert product(a, np.ones((2, 2)))[0, 1].is_nan()
        tiny = product(enclose(np.array([[1e-300]])), np.array([[1e-300]]))[0, 0]
        assert abs(tiny * arb(10) ** 600 - 1) < arb(10) ** -12


# ---- large arrays -----------------------------------------------------------------------------------------------------------------------------

W = np.random.default_rng(2).normal(size=(40, 30))
X = np.random.default_rng(3).normal(size=(5, 40))


@pytest.mark.parametrize("name, fun", [
    ("product", lambda w: X @ w), ("from the right", lambda w: w @ X.T[:30]), ("transposed", lambda w: X[:, :30] @ w.T),
    ("einsum", lambda w: np.einsum("ij,jk->ki", X, w)), ("tensordot", lambda w: np.tensordot(X, w, axes=((1,), (0,)))), ("vector", lambda w: X[0] @ w),
    ("lookup", lambda w: w[np.array([3, 3, 1])]), ("slices", lambda w: w[::7, 2:5]), ("reshaped", lambda w: X[:, :30] @ w.reshape(30, 40)),
    ("multiples", lambda w: X @ (-(w * 3.0) / 7.0 + w)), ("difference", lambda w: X @ (w - 2.0 * w)), ("batch", lambda w: X[None] @ w[None]),
    ("spelled out", lambda w: np.sum(np.tanh(w) * w)), ("two large ones", lambda w: w.T[:5] @ w),
])
def test_what_is_done_with_a_large_array_is_what_balls_give(monkeypatch, name, fun):
    with precision(60):
        want = fun(precise(W))
        monkeypatch.setattr(wide_arrays, "LARGE", 1000)
        got = fun(precise(W))
        assert type(precise(W).data) is wide_arrays.Wide and got.shape == want.shape
        off = numbers(np.absolute(got - want))
        assert np.max(off) <= 1e-50 * np.max(np.abs(numbers(want))), (name, off)


def test_gradients_of_large_arrays_keep_thin_factors(monkeypatch):
    weights = np.random.default_rng(4).normal(size=W.shape)

    def fun(w):
        return np.sum(np.sin(X @ w) * w[np.array([1, 1, 2, 3, 4])]) + np.sum(np.cos(X[:, :30] @ w.T))

    with precision(60):
        want = de.grad(fun)(precise(W))
        monkeypatch.setattr(wide_arrays, "LARGE", 1000)
        for method in ("reverse", "symbolic"):
            got = de.grad(fun, method=method)(precise(W))
            assert type(got.data) is wide_arrays.Wide and {type(t).__name__ for t in got.data.terms} == {"Outer", "Scattered"}
            assert np.max(np.abs(got.data.numbers() - numbers(want))) < 1e-13
            inner = PreciseArray(box(got.data.inner(weights)), np.dtype(float))
            assert abs(float(numbers(inner - np.sum(want * weights)))) < 1e-45
            assert np.max(numbers(np.absolute(PreciseArray(got.data.spelled(), got.dtype) - want))) < 1e-45


def test_what_would_need_too_many_balls_is_refused_with_its_line(monkeypatch):
    monkeypatch.setattr(wide_arrays, "LARGE", 100)
    monkeypatch.setattr(wide_arrays, "MOST", 1000)
    with pytest.raises(Refused, match=r"test_compare_large\.py:\d+ needs 1,200 numbers"):
        np.exp(precise(W))


# ---- operations on their own ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", names())
def test_part_of_an_operation_is_the_operation_on_parts(name):
    operands, params, _ = specimen(name, np.float64)
    primitive = Primitive.registry[name]
    z = np.asarray(primitive(*operands, **params))
    found = parts.part(primitive, operands, z, params, 2)
    if primitive.kind in ("view", "gather", "scatter"):
        assert found is None
        return
    small, part = found
    np.testing.assert_allclose(np.asarray(primitive(*small, **params)), part, rtol=1e-15)
    assert sum(map(np.size, small)) < sum(map(np.size, operands)) or not z.ndim
    fewer, value = parts.part(primitive, operands, z, params, 2, sums=True)
    np.testing.assert_array_equal(np.asarray(primitive(*fewer, **params)), value)
    assert max(map(np.size, fewer)) <= (2 if name != "irfft" else operands[0].shape[2] * 2)          # half a spectrum is as long as its result says


@pytest.mark.parametrize("name", [n for n in names() if Primitive.registry[n].kind in ("view", "gather", "scatter")])
def test_index_maps_on_integers(name, tally):
    operands, params, slots = specimen(name, np.float64)
    primitive = Primitive.registry[name]

    def wrong(slot):
        return parts.index_map(primitive, operands, slot, params, {"symbolic": symbolic.pull, "reverse": reverse_mode.pull}, forward_mode.push, 0)
    for slot in slots:
        assert wrong(slot) == {}
        for method in ("symbolic", "forward", "reverse"):
            for kind in ("factor", "sign", "drop"):
                with plant(method, name, kind, slot):
                    assert set(wrong(slot)) == {method}, (slot, method, kind)
                tally["planted faults in index maps, each seen on integers"] += 1


# ---- verdicts --------------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_large_function_has_the_verdict_of_a_small_one(monkeypatch, dtype):
    before = de.compare(gpt2, parameters(dtype), kernels=False)
    monkeypatch.setattr(wide_arrays, "LARGE", 1000)
    monkeypatch.setattr(verdict, "FORWARD", 10 ** 4)
    report = de.compare(gpt2, parameters(dtype), kernels=False)
    assert before.agree and report.agree, str(report)
    assert report.coverage["digits"] >= 25 > 20 and report.coverage["precision"] == 81 and report.coverage["directions"] == 2
    assert report.methods["forward"].note == "asked along 2 directions and 16 of single arrays" and report.methods["forward"].derivative is None
    for method in ("symbolic", "reverse"):
        for (error, _, at), (was, _, then), (name, shape) in zip(report.methods[method].per_leaf, before.methods[method].per_leaf, report.rows):
            assert abs(error - was) <= 1e-3 * was + (3e-15 if dtype == np.float64 else 1e-12), (method, name, error, was)
    for name in P:
        np.testing.assert_allclose(report.truth[name], before.truth[name], rtol=1e-12, atol=1e-13 * np.max(np.abs(before.truth[name])))
    data = json.loads(report.to_json())
    assert data["agree"] and len(data["methods"]["forward"]["arrays"]) == 16 and "along a direction" in report.table(verbose=True)


@pytest.mark.parametrize("method, name, kind, slot, file", [
    ("reverse", "matmul", "factor", 1, "model.py"), ("symbolic", "matmul", "factor", 0, "block.py"), ("forward", "matmul", "drop", 1, "block.py"),
    ("reverse", "getitem", "factor", 0, "model.py"), ("symbolic", "getitem", "sign", 0, "model.py"), ("forward", "transpose", "factor", 0, "block.py"),
    ("reverse", "transpose", "factor", 0, "block.py"), ("reverse", "tanh", "factor", 0, "block.py"), ("forward", "mean", "factor", 0, "block.py"),
    ("symbolic", "exp", "factor", 0, "block.py"), ("graph", "subtract", "swap", 0, "block.py"), ("graph", "matmul", "swap", 0, "block.py")])
def test_every_planted_fault_in_a_large_function_is_named(small_is_large, method, name, kind, slot, file, tally):
    with JUDGED.kept if method != "graph" else contextlib.nullcontext(), plant(method, name, kind, slot):
        report = de.compare(gpt2, P, kernels=False)
    assert report.culprit is not None and (report.culprit.method, report.culprit.primitive) == (method, name), str(report)
    assert any(c.line.startswith(file) for c in report.culprits) and {(c.method, c.primitive) for c in report.culprits} == {(method, name)}, str(report)
    if method != "graph":
        assert {m for m, r in report.methods.items() if r.verdict != "right"} == {method}, str(report)
        assert report.coverage["parts"] > 0 and report.coverage["integers"] > 0
    tally["planted faults in a large GPT-2, each named rightly"] += 1


def test_one_wrong_entry_of_a_large_gradient_is_found(small_is_large):
    right = de.grad(gpt2)

    def off(p):
        g = right(p)
        g["wte.weight"][108, 3] *= 1 + 1e-5
        return g
    report = de.compare(gpt2, P, candidates={"right": right, "off": off}, kernels=False)
    assert report.methods["right"].verdict == "right" and report.methods["off"].verdict == "wrong" and "wte.weight[108, 3]" in report.methods["off"].note


def test_more_directions(small_is_large):
    report = de.compare(gpt2, P, directions=3, seed=5, kernels=False)
    assert report.agree and report.coverage["directions"] == 3 and "along 3 random directions" in str(report)
    with pytest.raises(ValueError, match="directions=0"):
        de.compare(gpt2, P, directions=0)


def test_a_function_beyond_the_judge_ends_without_a_verdict_and_says_why():
    x = np.random.default_rng(6).normal(size=(5, 1 << 20)).astype(np.float32)                  # five million numbers
    report = de.compare(lambda x: np.sum(np.sin(x) * x), x)
    assert not report.agree and report.culprit is None and "smaller arrays" in str(report)
    assert report.coverage["operations"] >= 4                                                  # each on its own, at some entries
    with plant("reverse", "sin"):
        report = de.compare(lambda x: np.sum(np.sin(x) * x), x, kernels=False)
    assert (report.culprit.method, report.culprit.primitive) == ("reverse", "sin")


# ---- the command line ----------------------------------------------------------------------------------------------------------------------------------

@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("model", CONFIG, parameters(np.float32))
    return tmp_path


def run(capsys, *arguments):
    status = cli.main(["compare", "gpt2", *map(str, arguments)])
    seen = capsys.readouterr()
    return status, seen.out, seen.err


def test_compare_a_checkpoint(model, small_is_large, capsys):
    status, out, err = run(capsys, "--load", "model", "--context", 5, "--directions", 1, "--seed", 3)
    assert status == 0, out + err
    assert "2,8" not in out and f"{CONFIG.parameter_count:,} parameters" in out and "no tokenizer: bytes: 65 108 108 32 104 97" in out and "float32" in out
    assert "along 1 random directions" in out and "All methods agree" in out and "judge: differences along directions" in err
    data = json.loads(Path("diffeng-report/report.json").read_text())
    assert data["agree"] and data["coverage"]["directions"] == 1 and data["coverage"]["digits"] >= 25
    assert "<svg" in Path("diffeng-report/graph.svg").read_text()


def test_a_planted_fault_in_a_checkpoint_is_named(model, small_is_large, capsys):
    status, out, _ = run(capsys, "--load", "model", "--tokens", "72 101 108 108", "--dtype", "float64", "--plant", "reverse:tanh")
    assert status == 1 and "Wrong: reverse: tanh, operand 0, at block.py:" in out and "these tokens: 72 101 108 108" in out and "float64" in out


def test_the_tokenizer_of_the_directory(model, capsys):
    ByteTokenizer().save("model")
    status, out, _ = run(capsys, "--load", "model", "--text", "Hello", "--context", 3)
    assert status == 0 and "tokens: 72 101 108 108" in out
    CharacterTokenizer("no capitals").save("model")
    status, _, err = run(capsys, "--load", "model")
    assert status == 2 and "cannot be encoded by the tokenizer of model: character 'A'" in err and "--text, or --tokens" in err


@pytest.mark.parametrize("arguments, words", [
    ([], "--load DIR config.json model.safetensors"), (["--load", "nowhere"], "nowhere directory"), (["--load", "empty"], "config.json"),
    (["--load", "half"], "safetensors"), (["--load", "model", "--width", "8"], "--width gpt2-block"), (["--load", "model", "--at", "x=1"], "--at --load"),
    (["--load", "model", "--tokens", "1,a"], "--tokens whole numbers"), (["--load", "model", "--tokens", "1"], "--tokens two"),
    (["--load", "model", "--tokens", "1,300"], "1 300 from 0"), (["--load", "model", "--text", "a", "--tokens", "1,2"], "--text --tokens one"),
    (["--load", "model", "--context", "17"], "--context 17 16"), (["--load", "model", "--context", "0"], "--context 1 or more"),
    (["--load", "model", "--text", "a"], "--text 2"), (["--load", "model", "--text", "abc", "--context", "5"], "--context 5 6 3"),
    (["--load", "model", "--seed", "-1"], "--seed 0 or more"), (["--load", "model", "--directions", "0"], "--directions 0")])
def test_wrong_input(model, capsys, arguments, words):
    Path("empty").mkdir()
    Path("half").mkdir()
    Path("half/config.json").write_text(Path("model/config.json").read_text())
    status, out, err = run(capsys, *arguments)
    assert status == 2 and "Traceback" not in err and "fault of diffeng" not in err, (out, err)
    assert [w for w in words.split() if w not in err] == [], err


def test_options_of_a_checkpoint_belong_to_it(model, capsys):
    for arguments in (["gpt2-block", "--load", "model"], ["gpt2-block", "--tokens", "1,2"]):
        assert cli.main(["compare", *arguments]) == 2
        assert "belongs to gpt2;" in capsys.readouterr().err
