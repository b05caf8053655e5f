"""Plans on disk: an equal graph is not planned again; what decides a plan is told apart; what is damaged is made anew."""
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import diffeng as de
from diffeng.kernels import Program, blas, image, machine, planning
from diffeng.trees import structure

HERE = str(pathlib.Path(__file__).parent)
RNG = np.random.default_rng(6)
X, Y = RNG.normal(size=(6, 5)), RNG.normal(size=(5, 4))


@pytest.fixture
def plans(monkeypatch, tmp_path):
    """The number of plans made, as a list that grows; a folder of its own."""
    monkeypatch.setenv("DIFFENG_CACHE", str(tmp_path))
    made, original = [], planning.steps_of

    def steps_of(program, *graph, **codes):
        if program not in made and type(program) is Program:          # some are planned a second time at once, as if their rows were long; turns of loops are no programs
            made.append(program)
        return original(program, *graph, **codes)
    monkeypatch.setattr(planning, "steps_of", steps_of)
    return made


def same(got, want):
    got, want = structure(got)[0], structure(want)[0]
    assert len(got) == len(want) and all([np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(got, want)])


def close(got, want):
    for a, b in zip(structure(got)[0], structure(want)[0], strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


def lstm_like(w, xs):
    h = np.zeros(4)
    for x in xs:
        h = np.tanh(x @ w + h) * 0.5
    return np.sum(h)


def looped(turn, start=np.zeros(4)):
    return lambda w, xs: np.sum(de.scan(lambda h, x: turn(w, h, x), start, xs)[1])


def nested(w, h, x):
    h = de.scan(lambda h, k: (np.tanh(h + x @ w * k), None), h, np.linspace(0, 1, 9))[0]
    return h, np.sum(h * h)


FUNCTIONS = {
    "elementwise":      (lambda x: np.sin(x) * 2 + x, (X,)),
    "products":         (lambda x, y: np.tanh(x @ y), (X, Y)),
    "a loop":           (de.value_and_grad(lstm_like, argnums=(0, 1)), (Y, X)),
    "a scan":           (de.value_and_grad(looped(lambda w, h, x: (np.tanh(x @ w + h) * 0.5, np.sum(h)))), (Y, X)),
    "scans in a scan":  (de.value_and_grad(looped(nested), argnums=(0, 1)), (Y, X)),
    "softmax":          (de.grad(lambda x: np.sum(np.exp(x - np.max(x, 1, keepdims=True)) / np.sum(np.exp(x), 1, keepdims=True))), (X,)),
    "several outputs":  (lambda x: {"a": np.sum(x, 0), "b": [x * x, np.float64(3.0)]}["b"], (X,)),
    "a causal mask":    (lambda x: np.sum(np.where(np.tri(6, 5, dtype=bool), x, -1e10).clip(-5), 1), (X,)),
    "made inside":      (lambda x: x * np.arange(5.0) + np.eye(6, 5), (X,)),
    "neighbours":       (lambda x: np.concatenate([x[:1], x[1:] - x[:-1]]), (X,)),
    "gathered":         (lambda x: x[np.array([0, 3, 3])], (X,)),
    "random":           (lambda x, k: x + de.random.uniform(k, 0, (6, 5)), (X, np.array(7))),
    "a view of it":     (lambda x: x.T, (X,)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_equal_graph_is_not_planned_again(name, plans):
    f, args = FUNCTIONS[name]
    first = de.jit(f)(*args)
    assert len(plans) == 1
    again = de.jit(f)
    same(again(*args), first)
    same(again(*args), first)
    assert len(plans) == 1


@pytest.mark.parametrize("f, g", [
    (lambda x: x * 2.0, lambda x: x * 3.0), (lambda x: x * 2, lambda x: x * 2.5), (lambda x: x - 0.0, lambda x: x - -0.0), (lambda x: x + 1, lambda x: x + True * 2),
    (lambda x: np.sum(x, 0), lambda x: np.sum(x, 1)), (lambda x: x[1:], lambda x: x[:-1]), (lambda x: x[1], lambda x: x[True]),
    (lambda x: x - x, lambda x: 0 - x), (lambda x: np.maximum(np.sin(x), 1), lambda x: np.maximum(np.sin(x), np.sin(x))),          # 0, 1: nodes, and numbers
    (lambda x: x - np.sin(x), lambda x: np.sin(x) - x), (lambda x: (x, np.sin(x)), lambda x: (np.sin(x), x)),
    (lambda x: np.where(np.tri(6, 5, dtype=bool), x, 0), lambda x: np.where(np.tri(6, 5, k=1, dtype=bool), x, 0)),
    (lambda x: x * np.float32(2), lambda x: x * np.float64(2)), (lambda x: x.astype(np.float32), lambda x: x)])
def test_other_graphs_have_other_plans(f, g, plans):
    for h in (f, g):
        close(de.jit(h)(X), h(X))
    assert len(plans) == 2


def test_loops_differ_in_their_turns(plans):
    """In what a turn computes, in its numbers, in how often it turns, and in what it begins with."""
    turns = [lambda w, h, x: (h + x @ w, h), lambda w, h, x: (h - x @ w, h), lambda w, h, x: (h + x @ w, h * 2.0), lambda w, h, x: (h + x @ w, h * 2.5),
             lambda w, h, x: (h + x @ w, 1.5), lambda w, h, x: (h + x @ w, 2.5), lambda w, h, x: (x @ w, h)]
    for turn in turns:
        for f, xs in ((looped(turn), X), (looped(turn), X[:5]), (looped(turn, np.arange(4.0)), X)):
            close(de.jit(f)(Y, xs), f(Y, xs))
    assert len(plans) == 2 * len(turns)                # what it begins with is read where it lies


def test_shapes_types_and_what_is_given_away(plans):
    f = lambda x: np.sin(x) + 1.0          # noqa: E731
    for x, options in ((X, {}), (X[:5], {}), (X.astype(np.float32), {}), (X.T, {}), (X.copy(), {"donate_argnums": 0})):
        want = f(x)
        np.testing.assert_allclose(de.jit(f, **options)(x), want, rtol=1e-6)
    assert len(plans) == 5


def test_threads_and_arguments_in_another_order(plans, monkeypatch):
    f, big = (lambda x, y: x - np.exp(y)), RNG.normal(size=(300, 300))
    same(de.jit(f)(big, X[0, 0]), f(big, X[0, 0]))
    same(de.jit(lambda y, x: f(x, y))(X[0, 0], big), f(big, X[0, 0]))
    monkeypatch.setenv("DIFFENG_THREADS", "1")
    same(de.jit(f)(big, X[0, 0]), f(big, X[0, 0]))
    assert len(plans) == 3


def test_libraries_that_multiply(plans, monkeypatch):
    """Each has plans of its own, and where the one of a plan is gone it is made anew."""
    a = RNG.normal(size=(90, 90))
    for libraries, planned in (("one", 1), ("another", 2), ("one", 2)):
        monkeypatch.setattr(blas, "libraries", lambda: libraries)
        np.testing.assert_allclose(de.jit(np.matmul)(a, a), a @ a)
        assert len(plans) == planned
    monkeypatch.setattr(blas, "available", lambda name: False)
    np.testing.assert_allclose(de.jit(np.matmul)(a, a), a @ a)
    assert len(plans) == 3


def test_constants_are_read_where_they_lie(plans):
    """Those of the graph at hand, not those of the one that was planned."""
    def scaled(by):
        table = np.full((6, 5), by)
        return de.jit(lambda x: x * table), table
    (f, _), (g, two) = scaled(2.0), scaled(3.0)
    same(f(X), X * 2)
    same(g(X), X * 3)
    two[:] = 4.0
    same(g(X), X * 4)
    same(f(X), X * 2)
    assert len(plans) == 1


def test_directions_of_a_jacobian(plans):
    """Constants that nobody can write into may decide what is computed."""
    f = lambda x: np.tanh(Y.T @ x)          # noqa: E731
    for row in X[:2]:
        np.testing.assert_allclose(de.jit(de.jacobian(f))(row), de.jacobian(f)(row), rtol=1e-12)
    assert len(plans) == 1


@pytest.mark.parametrize("f", [lambda x, k: np.sum(x[k] * 2.0), lambda x, k: np.sum(de.scan(lambda c, k: (np.sin(c + x[k]), c), x[0], k)[1])],
                         ids=["alone", "in a loop"])
def test_an_index_out_of_bounds_names_its_line(f, plans):
    for _ in range(2):
        g = de.jit(f)
        close(g(X, np.array([1, 2])), f(X, np.array([1, 2])))
        with pytest.raises(IndexError, match=r"getitem at test_image.py:\d+: an index is out of bounds"):
            g(X, np.array([1, 7]))
    assert len(plans) == 1


def test_what_numpy_computes_is_planned_every_time(plans):
    for _ in range(2):
        same(de.jit(lambda x: np.argsort(x * 2.0, axis=0))(X), np.argsort(X * 2.0, axis=0))
    assert len(plans) == 2


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:-5] + bytes([b[-5] ^ 1]) + b[-4:], lambda b: b"", lambda b: b"{}\n" + b])
def test_a_damaged_plan_is_made_anew(damage, plans, tmp_path):
    f, args = FUNCTIONS["products"]
    want = de.jit(f)(*args)
    file, = (tmp_path / image.ROOM).iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    same(de.jit(f)(*args), want)
    assert len(plans) == 2 and file.read_bytes() == whole


def test_a_plan_whose_kernels_are_gone_is_made_anew(plans, tmp_path, monkeypatch):
    f, args = FUNCTIONS["products"]
    want = de.jit(f)(*args)
    machine.settle()
    monkeypatch.setattr(machine, "_kernels", {})
    for file in tmp_path.iterdir():
        if file.is_file():
            file.unlink()
    same(de.jit(f)(*args), want)
    assert len(plans) == 2


def test_the_room_stays_small(plans, tmp_path, monkeypatch):
    for k in range(7):
        same(de.jit(lambda x, k=k: x * (k + 0.5))(X), X * (k + 0.5))
        if k == 0:
            monkeypatch.setattr(image, "MOST_BYTES", 4 * sum([f.stat().st_size for f in (tmp_path / image.ROOM).iterdir()]) + 100)
    assert len(list((tmp_path / image.ROOM).iterdir())) == 4
    same(de.jit(lambda x: x * 6.5)(X), X * 6.5)
    assert len(plans) == 7                                        # the last one is there


def test_every_source_that_decides_a_plan_is_told():
    package, no_part = pathlib.Path(de.__file__).parent, {"errors", "interpreters", "lines", "refusals", "traced", "vocabulary"}
    outside = {name for file in (package / "kernels").glob("*.py") for name in re.findall(r"^\s*from \.\.(\w+)[ .]", file.read_text(), re.M)}
    outside |= {name for file in image.SOURCES for name in re.findall(r"^\s*from \.(\w+)[ .]", (package / f"{file}.py").read_text(), re.M)}
    assert outside - no_part == {*image.SOURCES}


def test_a_second_process_imports_nothing_that_plans(tmp_path):
    code = ("import sys, numpy as np, diffeng as de\n"
            "f = de.jit(de.value_and_grad(lambda w, x: np.sum(np.tanh(x @ w))))\n"
            "value, gradient = f(np.full((3, 2), 0.1), np.arange(6.0).reshape(2, 3))\n"
            "print(value.hex(), gradient.tobytes().hex(), *[m in sys.modules for m in ('diffeng.kernels.planning', 'diffeng.kernels.fuse', 'scipy')])\n")
    env = {**os.environ, "DIFFENG_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join([HERE, *sys.path])}
    first, second = (subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=120).stdout.split() for _ in range(2))
    assert first[:2] == second[:2] and first[2:] == ["True", "True", "False"] and second[2:] == ["False"] * 3


def test_threads_compile_the_same_code(tmp_path):
    code = ("import numpy as np, diffeng as de\n"
            "f = lambda w, x: np.sum(np.tanh(x @ w)) + np.mean(np.exp(x), 0) @ np.sin(w) @ np.cos(np.max(w, 0))\n"
            "print(*[g.tobytes().hex() for g in de.jit(de.grad(f, argnums=(0, 1)))(np.full((3, 2), 0.1), np.arange(6.0).reshape(2, 3))])\n")
    found = []
    for count in ("1", "4"):
        env = {**os.environ, "DIFFENG_CACHE": str(tmp_path / count), "DIFFENG_THREADS": count, "PYTHONPATH": os.pathsep.join([HERE, *sys.path])}
        out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=120).stdout
        found.append((out, {f.name: f.read_bytes() for f in (tmp_path / count).iterdir() if f.is_file()}))
    assert found[0] == found[1] and len(found[0][1]) > 4
