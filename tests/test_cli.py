"""The command line: exit statuses, one-paragraph errors with a cure, what is printed where, and what is written."""
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffeng import cli, loading
from diffeng.llm import compared

USER = '''
import numpy as np

def f(x, y=2.0):
    return np.sum(np.tanh(x) * y)

def product(x, w):
    return np.sum(x @ w)

def none(x):
    np.sin(x)

def text(x):
    return "x"

def broken(x):
    return x + undefined_name

def where_nan(x):
    return np.sum(np.log(x))

def twice(x, *, n):
    return n * x

def unknown(x):
    return np.sum(np.roots(x))

def assigned(x):
    out = np.zeros(2)
    GLOBAL[0] = x
    return GLOBAL[0]

def shapes(x, y):
    return np.sum(x + y)

def complex_result(x):
    return np.fft.fft(x)

GLOBAL = np.zeros(2)
number = 3
'''


@pytest.fixture
def user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("user.py").write_text(USER)
    return tmp_path


def run(capsys, *arguments):
    """(exit status, stdout, stderr)"""
    status = cli.main([*map(str, arguments)])
    seen = capsys.readouterr()
    return status, seen.out, seen.err


# ---- wrong input: status 2, one paragraph, the cure -----------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments, words", [
    (["compare", "user.py:f"], "needs a value for x --at"),
    (["compare", "nothing"], "nothing gpt2-block FILE.py:FUNCTION"),
    (["compare", "usr.py:f"], "usr.py did mean user.py?"),
    (["compare", "elsewhere/deep.py:f"], "deep.py path"),
    (["compare", "user.py:g"], "'g'. It defines f, product"),
    (["compare", "user.py:prodct"], "did mean product?"),
    (["compare", "user.py:number"], "number int function"),
    (["compare", "user.py:f", "--at", "x=abc"], "--at column 3 number"),
    (["compare", "user.py:f", "--at", "x=[1,2"], "--at column 7 ']'"),
    (["compare", "user.py:f", "--at", "z=1"], "parameter 'z' x, y"),
    (["compare", "user.py:f", "--at", "x=3i"], "floating-point 3i"),
    (["compare", "user.py:f", "--at", "x=[1,nan,2]"], "x NaN"),
    (["compare", "user.py:none", "--at", "x=1"], "none None user.py:10 return"),
    (["compare", "user.py:text", "--at", "x=1"], "text str user.py:13 return"),
    (["compare", "user.py:broken", "--at", "x=1"], "NameError undefined_name user.py:17"),
    (["compare", "user.py:shapes", "--at", "x=[1,2],y=[1,2,3]"], "ValueError broadcast user.py:34"),
    (["compare", "user.py:unknown", "--at", "x=[1,2]"], "roots user.py:26 docs/vocabulary.md"),
    (["compare", "user.py:assigned", "--at", "x=1"], "plain array user.py:30 diffeng.at"),
    (["compare", "user.py:twice", "--at", "x=1"], "twice n by name wrap"),
    (["compare", "user.py:twice", "--at", "x=1,n=2"], "n positional wrap"),
    (["compare", "user.py:f", "--at", "x=1", "--width", "8"], "--width gpt2-block --at"),
    (["compare", "user.py:f", "--at", "x=1", "--text", "a"], "--text gpt2-block"),
    (["compare", "user.py:f", "--at", "x=1", "--plant", "reverse"], "--plant METHOD:PRIMITIVE"),
    (["compare", "user.py:f", "--at", "x=1", "--plant", "reverse:tnh"], "'tnh' did mean tan"),
    (["compare", "user.py:f", "--at", "x=1", "--plant", "backward:tanh"], "backward symbolic forward reverse"),
    (["compare", "user.py:f", "--at", "x=1", "--plant", "reverse:tanh:louder"], "louder factor sign drop"),
    (["compare", "user.py:f", "--at", "x=1", "--plant", "reverse:tanh:sign:x"], "slot 'x' number"),
    (["compare", "user.py:f", "--at", "x=1", "--plant", "reverse:where:sign:0"], "where operand 0"),
    (["compare", "user.py:f", "--at", "x=1", "--out", "user.py"], "user.py"),
    (["compare", "user.py:f", "--at", "x=1", "--out", "user.py/deep"], "--out directory"),
    (["compare", "gpt2-block", "--at", "x=1"], "--at FILE.py:FUNCTION --text"),
    (["compare", "gpt2-block", "--heads", "5"], "--heads 5 --width 32 30"),
    (["compare", "gpt2-block", "--layers", "0"], "--layers 1 or more"),
    (["compare", "gpt2-block", "--context", "-1"], "--context 1 or more"),
    (["compare", "gpt2-block", "--seed", "-1"], "--seed 0 or more"),
    (["compare", "gpt2-block", "--text", "a"], "--text 1 byte"),
    (["compare", "gpt2-block", "--text", "abc", "--context", "16"], "--context 16 17 bytes 3"),
    (["compare", "gpt2-block", "--dtype", "float16"], "float16 float64"),
    (["compare", "gpt2-block", "--nonsense"], "--nonsense"),
    (["nonsense"], "nonsense"),
    (["formula", "sin(x"], "column parenthesis"),
    (["formula", "sin(x)*y", "--wrt", "z"], "z x, y"),
    (["formula", "sin(x)", "--at", "x=1"], "--at FILE.py:FUNCTION"),
    (["formula", "sin(x)", "--latex", "--source", "numpy"], "--latex --source one"),
    (["formula", "sin(x)", "--source", "fortran"], "fortran numpy"),
    (["formula", "user.py:product"], "scalar symbol --at"),
    (["picture", "user.py:f", "--at", "x=1", "-o", "nowhere/graph.svg"], "directory nowhere"),
    (["card", "tnh"], "'tnh' did mean tan"),
], ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_wrong_input(user, capsys, arguments, words):
    status, out, err = run(capsys, *arguments)
    assert status == 2, (out, err)
    message = err[err.index("Error: "):]
    assert "Traceback" not in err and "fault of diffeng" not in err
    assert "\n\n" not in message.strip()
    assert [w for w in words.split() if w not in message] == [], message
    assert not (user / "diffeng-report" / "report.json").exists()


def test_no_line_where_none_is_the_users(user, capsys):
    _, _, err = run(capsys, "compare", "user.py:complex_result", "--at", "x=[1.0, 2.0]")
    assert "returned a complex value: derivatives" in err


@pytest.mark.parametrize("source, words", [
    ("def f(x:\n    pass\n", "user.py:1 mend"), ("import nothing_of_that_name\n", "ModuleNotFoundError user.py:1"),
    ("x = 1 / 0\n", "ZeroDivisionError user.py:1"),
    ("import sys\nsys.exit(3)\n", "SystemExit user.py:2 __main__"),
])
def test_files_that_cannot_be_imported(user, capsys, source, words):
    Path("user.py").write_text(source)
    status, out, err = run(capsys, "compare", "user.py:f", "--at", "x=1")
    assert status == 2 and "Traceback" not in err
    assert [w for w in words.split() if w not in err] == [], err


def test_a_file_that_is_no_text(user, capsys):
    Path("user.py").write_bytes(b"\xff\xfe\x00")
    status, _, err = run(capsys, "compare", "user.py:f", "--at", "x=1")
    assert status == 2 and "user.py" in err and "Traceback" not in err


def test_an_internal_error_is_not_blamed_on_the_input(user, capsys, monkeypatch):
    import diffeng
    diffeng.compare          # there before it is replaced

    def fail(*_, **__):
        raise KeyError("lost")
    monkeypatch.setattr(diffeng, "compare", fail, raising=False)
    status, out, err = run(capsys, "compare", "user.py:f", "--at", "x=1")
    assert status == 2 and "fault of diffeng" in err and "lost" in err and "Traceback" not in err
    status, out, err = run(capsys, "compare", "user.py:f", "--at", "x=1", "--verbose")
    assert status == 2 and "Traceback" in err


def test_interruption_is_130_and_leaves_no_report(user, capsys, monkeypatch):
    import diffeng
    diffeng.compare

    def interrupt(*_, **__):
        raise KeyboardInterrupt
    monkeypatch.setattr(diffeng, "compare", interrupt, raising=False)
    status, out, err = run(capsys, "compare", "user.py:f", "--at", "x=1")
    assert status == 130 and "interrupted" in err and "Traceback" not in err
    assert list((user / "diffeng-report").iterdir()) == []


# ---- compare -----------------------------------------------------------------------------------------------------------------------------

def test_compare_of_a_function(user, capsys):
    status, out, err = run(capsys, "compare", "user.py:f", "--at", "x=[0.1,0.2,0.3], y=[1,2,3]")
    assert status == 0, out + err
    assert all(m in out for m in ("symbolic", "forward", "reverse", "kernels"))
    assert "..." in err                                  # progress, a line a stage, when stderr is no terminal
    assert "graph.svg" in out and "report.json" in out
    assert "<svg" in (user / "diffeng-report" / "graph.svg").read_text(encoding="utf-8")
    assert json.loads((user / "diffeng-report" / "report.json").read_text(encoding="utf-8"))["agree"] is True
    assert sorted(p.name for p in (user / "diffeng-report").iterdir()) == ["graph.svg", "report.json"]          # nothing half-written


def test_defaults_of_the_function_stay(user, capsys):
    status, out, err = run(capsys, "compare", "user.py:f", "--at", "x=0.5", "--out", "there")
    assert status == 0, out + err
    assert (user / "there" / "report.json").exists()


@pytest.mark.parametrize("method", ["symbolic", "forward", "reverse"])
def test_a_planted_fault_is_named_and_gives_status_1(user, capsys, method):
    status, out, err = run(capsys, "compare", "user.py:f", "--at", "x=[0.1,0.2,0.3], y=[1,2,3]", "--plant", f"{method}:multiply:sign:1")
    assert status == 1, out + err
    assert "multiply" in out and method in out and "user.py:5" in out
    report = json.loads((user / "diffeng-report" / "report.json").read_text(encoding="utf-8"))
    assert report["agree"] is False
    assert run(capsys, "compare", "user.py:f", "--at", "x=[0.1,0.2,0.3], y=[1,2,3]")[0] == 0           # the fault left nothing behind


def test_a_fault_in_what_is_not_used_is_said_to_be_absent(user, capsys):
    status, out, err = run(capsys, "compare", "user.py:f", "--at", "x=0.5", "--plant", "reverse:arcsin")
    assert status == 0 and "arcsin" in err and "never uses" in err


def test_float32_reaches_the_function(user, capsys, monkeypatch):
    seen = []
    import diffeng
    true_compare = diffeng.compare

    def spy(fun, *args, **options):
        seen.append([a.dtype for a in args])
        return true_compare(fun, *args, **options)
    monkeypatch.setattr(diffeng, "compare", spy, raising=False)
    status, out, err = run(capsys, "compare", "user.py:product", "--at", "x=[[1,2]], w=[[3],[4]]", "--dtype", "float32")
    assert status == 0 and seen == [[np.float32, np.float32]]


SMALL = ["compare", "gpt2-block", "--context", "3", "--width", "4", "--heads", "2"]


def test_the_main_job_in_small(user, capsys):
    status, out, err = run(capsys, *SMALL, "--verbose")
    assert status == 0, out + err
    assert "All " in out and "parameters" in out
    for name in ("wte.weight", "h.0.attn.c_attn.bias", "h.0.mlp.c_fc.weight", "ln_f.bias"):
        assert name in out
    assert "block" in (user / "diffeng-report" / "graph.svg").read_text(encoding="utf-8")


def test_the_main_job_finds_a_planted_fault(user, capsys):
    status, out, err = run(capsys, *SMALL, "--plant", "reverse:tanh")
    assert status == 1, out + err
    assert "tanh" in out and "block.py:" in out


def test_a_short_text_shortens_the_context():
    fun, (parameters,), _, note = compared.block("abcd", None, 8, 2, dtype="float32")
    assert "context shortened to 3" in note
    assert parameters["wpe.weight"].shape == (3, 8) and parameters["wte.weight"].dtype == np.float32
    assert fun(parameters).dtype == np.float32


def test_the_defaults_are_the_issues():
    fun, (parameters,), what, _ = compared.block()
    assert sum(p.size for p in parameters.values()) == 21_472
    assert "21,472 parameters" in what and "float64" in what
    assert fun(parameters) == pytest.approx(np.log(256), abs=0.1)


def test_text_of_any_alphabet_is_its_bytes():
    fun, (parameters,), what, _ = compared.block("Все счастливые семьи", 20, 8, 2, 2, 1)
    assert "2 blocks" in what and "h.1.ln_1.weight" in parameters
    assert np.isfinite(fun(parameters))


def test_a_picture_that_cannot_be_drawn_leaves_the_verdict_and_the_report(user, capsys, monkeypatch):
    def render(*_):
        raise RuntimeError("no Graphviz: install it")
    monkeypatch.setattr("diffeng.picture.render", render)
    status, out, _ = run(capsys, "compare", "user.py:f", "--at", "x=1.0")
    assert status == 0 and "picture: none: no Graphviz: install it" in out and json.loads(Path("diffeng-report/report.json").read_text())["agree"]


# ---- formula, picture, card ------------------------------------------------------------------------------------------------------------------

def test_the_ending_of_a_picture_may_be_in_capitals(user, capsys):
    assert run(capsys, "picture", "user.py:f", "--at", "x=1.0", "-o", "A.SVG")[0] == 0 and b"<svg" in Path("A.SVG").read_bytes()


def test_formula_of_an_expression_and_of_a_function(user, capsys):
    assert run(capsys, "formula", "sin(x)*y")[:2] == (0, "sin(x)·y\n")
    assert run(capsys, "formula", "sin(x)*y", "--wrt", "x")[:2] in [(0, "cos(x)·y\n"), (0, "y·cos(x)\n")]
    status, out, _ = run(capsys, "formula", "sin(x)*y", "--latex")
    assert status == 0 and "\\sin" in out
    assert run(capsys, "formula", "user.py:product", "--at", "x=[1,2], w=[3,4]", "--wrt", "x")[:2] == (0, "w\n")


def test_source_runs_alone(user, capsys):
    status, out, _ = run(capsys, "formula", "sin(x)*y", "--wrt", "x", "--source", "numpy")
    assert status == 0
    space = {}
    exec(compile(out, "derived.py", "exec"), space)          # what was printed, in an empty namespace
    functions = [v for k, v in space.items() if callable(v) and getattr(v, "__code__", None)]
    assert float(functions[-1](0.3, 2.0)) == pytest.approx(2 * np.cos(0.3), rel=1e-15)


@pytest.mark.parametrize("ending, start", [("svg", b"<"), ("dot", b"digraph"), ("html", b"<")])
def test_picture(user, capsys, ending, start):
    status, out, err = run(capsys, "picture", "user.py:f", "--at", "x=[1,2,3]", "-o", f"drawn.{ending}")
    assert status == 0 and f"drawn.{ending}" in out, err
    assert Path(f"drawn.{ending}").read_bytes().startswith(start) and Path(f"drawn.{ending}").stat().st_size > 100


def test_card_shows_the_three_rows_and_the_measured_error(capsys):
    status, out, err = run(capsys, "card", "tanh")
    assert status == 0, err
    assert "DEFINITION" in out and "PUSH" in out and "PULL" in out and "ULP" in out and "lambda" in out


def test_every_primitive_has_a_card(capsys, monkeypatch):
    """Its measurement and its kernels for a GPU are done with below, and in test_cuda.py for every primitive."""
    from diffeng import cards
    from diffeng.vocabulary import PRIMITIVES
    for part in ("_measured", "_on_gpu"):
        monkeypatch.setattr(cards, part, lambda primitive: [])
    for name, primitive in PRIMITIVES.items():
        if primitive.kind not in ("input", "constant"):
            text = cards.card(name)
            assert text.startswith(name + "(") and ("reverse" in text or "0:" in text)


@pytest.mark.parametrize("name, says", [("square", "kernel; instructions of PTX: "), ("matmul", "no kernel of its own"), ("eigh", "computed on the host, by NumPy"),
                                        ("fancy", "on a GPU: pip install it")])
def test_a_card_tells_of_the_gpu(monkeypatch, name, says):
    from diffeng import cards
    from diffeng.kernels.cuda import proof
    if name == "fancy":
        def prove(*_):
            raise RuntimeError("pip install it")
        name = "gammaln"
        monkeypatch.setattr(proof, "prove", prove)
    monkeypatch.setattr(cards, "_measured", lambda primitive: [])
    last = cards.card(name).split("\n\n")[-1]
    assert last.startswith("on a GPU: ") and says in last and ("ULP from the CPU kernels'" in last) == ("PTX" in says)


# ---- small things -----------------------------------------------------------------------------------------------------------------------------

def test_a_report_that_cannot_be_written_is_named(tmp_path, monkeypatch, capsys):
    """The disk is full: nothing half written stays, and the verdict has been printed."""
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, "fsync", full)
    assert cli.main(["compare", "gpt2-block", "--context", "2", "--width", "4", "--heads", "1", "--out", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert "All methods agree." in out and f"Error: cannot write {tmp_path}/report.json: No space left on device; make room there" in err
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_where_nothing_can_be_printed():
    run = [sys.executable, "-m", "diffeng.cli", "formula", "sin(x)"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
        silent = subprocess.run(run, stdout=full, stderr=full, cwd=Path(__file__).parent.parent)
    assert done.returncode == silent.returncode == 2
    assert done.stderr == "Error: cannot write to the standard output: No space left on device; make room there, and do the same again\n"


def test_the_package_is_a_program_too():
    done = subprocess.run([sys.executable, "-m", "diffeng", "card", "tahn"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "tanh" in done.stderr and done.stdout == ""


def test_help_imports_nothing_heavy():
    code = ("import sys; from diffeng.cli import main; status = main(['--help']);"
            "heavy = {'numpy', 'scipy', 'sympy', 'numba', 'networkx', 'flint', 'graphviz', 'tqdm'} & set(sys.modules); "
            "sys.exit(f'{heavy} {status}' if heavy or status else 0)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in ("compare", "formula", "picture", "card"))


def test_arguments_are_bound_by_name_in_the_functions_order():
    def f(a, b=2.0, c=3.0, *rest):
        return a

    assert loading.bind(f, "c=5, a=1") == [1.0, 2.0, 5.0]
    assert loading.bind(f, "a=1") == [1.0]


def test_the_plain_run_does_not_change_the_arguments():
    x = np.array([1.0, 2.0])

    def f(x):
        x += 1
        return np.sum(x)

    assert loading.check(f, [x]) == 5 and x.tolist() == [1, 2]


def test_the_users_file_finds_its_neighbours(user, capsys):
    Path("helper_next_door.py").write_text("def double(x):\n    return 2 * x\n")
    Path("model.py").write_text("from helper_next_door import double\n\ndef f(x):\n    return double(x)\n")
    assert loading.load("model.py:f")(3.0) == 6.0
    assert loading.load(str(user / "model.py") + ":f")(1.0) == 2.0
