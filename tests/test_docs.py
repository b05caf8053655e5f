"""README and docs say what is so: snippets run with the answers they print, tables are complete, commands are those that CI runs."""
import doctest
import importlib.util
import re
from pathlib import Path

import numpy as np
import scipy.special
import pytest

import diffeng as de

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
METHODS = ("symbolic", "forward", "reverse")


def test_the_readme_prints_what_it_says():
    result = doctest.testfile(str(ROOT / "README.md"), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.attempted >= 5 and result.failed == 0


def test_the_page_about_shapes_prints_what_it_says():
    result = doctest.testfile(str(ROOT / "docs" / "shapes.md"), module_relative=False)
    assert result.attempted >= 5 and result.failed == 0


TUTORIAL = sorted((ROOT / "docs" / "tutorial").glob("[0-9]*.md"))


@pytest.mark.parametrize("page", TUTORIAL, ids=lambda page: page.stem)
def test_the_tutorial_prints_what_it_says(page):
    result = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.attempted >= 15 and result.failed == 0
    index = (page.parent / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([0-9]+-[^)]+)\)", index)) == {page.name for page in TUTORIAL}


def test_ci_runs_the_readmes_commands():
    commands = re.findall(r"^    (python -m pip install .*)$", README, re.M)
    assert len(commands) == 2
    script = (ROOT / ".ci" / "run").read_text()
    assert all(command in script for command in commands)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100


def test_links_of_the_docs_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), (page.name, target)


def test_architecture_names_files_that_exist():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:diffeng|tests|benchmarks|docs)/[\w/]+(?:\.py|/))`", text))
    assert len(named) > 20
    assert [n for n in sorted(named) if not (ROOT / n).exists()] == []
    modules = {str(f.relative_to(ROOT)) for f in (ROOT / "diffeng").glob("*.py")} - {"diffeng/__init__.py"}
    assert sorted(modules - named) == []
    rows = set(re.findall(r"`(\w+\.py)`", text))
    files = {f for room in ("kernels", "kernels/cuda", "tensor_engine") for f in (ROOT / "diffeng" / room).glob("*.py")}
    assert sorted(str(f.relative_to(ROOT)) for f in files if f.name not in rows | {"__init__.py"}) == []


def _make_vocabulary():
    spec = importlib.util.spec_from_file_location("make_vocabulary", ROOT / "docs" / "make_vocabulary.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_vocabulary_page_is_up_to_date_and_complete():
    page = (ROOT / "docs" / "vocabulary.md").read_text(encoding="utf-8")
    assert page == _make_vocabulary().text(), "run: python docs/make_vocabulary.py"
    from diffeng.vocabulary import PRIMITIVES
    missing = [name for name in PRIMITIVES if f"| `{name}` |" not in page]
    assert sorted(missing) == ["constant", "input"]          # what graphs begin with; no operation


# ---- docs/kinks.md, line by line --------------------------------------------------------------------------------------------------

def _std_of_equals(x):
    return np.std(x)


def _vector_of_equals(a):
    return np.sum(np.linalg.eigh(a)[1] * np.array([[1.0, 2.0], [3.0, 4.0]]))


def _norm_at_zero(x):
    return np.linalg.norm(x)


KINKS = {
    "maximum(x, y)": [(lambda x: np.maximum(x, 1.0), 1.0, 0.5), (lambda x: np.minimum(1.0, x), 1.0, 0.5), (lambda x: np.maximum(x, x), 1.0, 1.0)],
    "max(x)": [(np.max, np.array([2.0, 1.0, 2.0]), [0.5, 0, 0.5]), (np.min, np.array([1.0, 1.0, 1.0, 5.0]), [1 / 3, 1 / 3, 1 / 3, 0])],
    "maximum`, `minimum`": [(f, np.array([np.nan, 3.0, 1.0]), want) for f, want in (
        (lambda x: np.sum(np.maximum(x, 2.0)), [0, 1, 0]), (lambda x: np.sum(np.minimum(2.0, x)), [0, 0, 1]),
        (lambda x: np.sum(np.clip(x, 0.0, 2.0)), [0, 0, 1]), (np.max, [0, 0, 0]), (np.min, [0, 0, 0]), (lambda x: np.sum(np.fmax(x, 2.0)), [0, 1, 0]),
        (lambda x: np.sum(np.where(np.isnan(x), 0.0, np.maximum(x, 2.0))), [0, 1, 0]))],
    "x**y` by y": [(lambda y: 0.0 ** y, 0.0, 0.0), (lambda y: 0.0 ** y, 2.0, 0.0)],
    "entr(x)`, `rel_entr": [(scipy.special.entr, -1.0, 0.0), (lambda x: scipy.special.rel_entr(x, 2.0), -1.0, 0.0)],
    "clip(x, low, high)": [(lambda x: np.clip(x, 0.0, 1.0), 0.0, 0.5), (lambda x: np.clip(x, 0.0, 1.0), 1.0, 0.5)],
    "abs(x)": [(np.abs, 0.0, 0.0), (np.fabs, 0.0, 0.0)],
    "sign": [(lambda x, f=f: f(x) + x, 0.0, 1.0) for f in (np.sign, np.floor, np.ceil, np.trunc, np.rint)],
    "np.abs(z)": [(lambda x: np.abs(x * (1 + 2j)), 0.0, 0.0), (lambda x: np.sum(np.abs(1j * x)), np.array([0.0, -2.0]), [0, -1]), (lambda x: np.hypot(x, 2 * x), 0.0, 0.0)],
    "np.angle(z)": [(lambda x: np.angle(x * (1 + 2j)), 0.0, 0.0), (lambda x: np.sum(np.angle(1 + 1j * x)) + np.angle(x[0] + 1j * x[0]), np.array([0.0, 0.0]), [1, 1])],
    "linalg.norm(x)": [(_norm_at_zero, np.zeros(3), [0, 0, 0])],
    "linalg.norm(x, ord)": [(lambda x, p=p: np.linalg.norm(x, p), np.array(x), want) for p, x, want in (
        (0.5, [0.0, 0.0], [0, 0]), (0.5, [0.0, 1.0, -4.0], [0, 3, -1.5]), (-1, [0.0, 1.0], [0, 0]), (-2, [0.0, 0.0], [0, 0]), (-0.5, [0.0, 3.0, 0.0], [0, 0, 0]))],
    "linalg.norm(a, ord)": [(lambda x, p=p: np.linalg.norm(x, p), np.array(x), want) for p, x, want in (
        ("nuc", [[0.0, 0.0], [0.0, 0.0]], [[0, 0], [0, 0]]), ("nuc", [[0.0, 1.0], [0.0, 0.0]], [[0, 1], [0, 0]]), ("nuc", [[1.0, 0.0], [0.0, 1.0]], [[1, 0], [0, 1]]),
        (2, [[0.0, 0.0], [0.0, 0.0]], [[0, 0], [0, 0]]), (2, [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]], [[0.5, 0, 0], [0, 0.5, 0]]), (-2, [[0.0, 1.0], [0.0, 0.0]], [[0, 0], [0, 0]]),
        (-2, [[2.0, 0.0], [0.0, -2.0]], [[0.5, 0], [0, -0.5]]))] + [(np.linalg.cond, np.eye(2), [[0, 0], [0, 0]])],
    "linalg.eigh(a)": [(_vector_of_equals, np.eye(2), [[0, 0], [0, 0]])],
    "std(x)": [(_std_of_equals, np.full(n, x), np.zeros(n)) for n, x in ((3, 1.0), (3, 0.1), (7, 1.7))]
              + [(lambda x: np.nanstd(np.where([True, True, True, False], x, np.nan)), 0.1, 0), (lambda x: np.std(x * np.ones(7), where=np.arange(7) > 3), 0.1, 0)],
    "sqrt(x)": [(np.sqrt, 0.0, np.inf)],
    "cbrt(x)": [(np.cbrt, 0.0, np.inf)],
    "where(x > 0, x, 0)": [(lambda x: np.where(x > 0, x, 0.0), 0.0, 0.0), (lambda x: np.where(x > 0, np.log(np.where(x > 0, x, 1.0)), 2 * x), 0.0, 2.0)],
    "sort": [(lambda x: np.sort(x)[1], np.array([3.0, 3.0, 1.0]), [1, 0, 0])],
    "Python's": [(lambda x: 2 * x if x > 0 else 3 * x, 0.0, 3.0)],
}


def test_every_line_of_the_table_of_kinks_has_a_test():
    rows = re.findall(r"^\| `?([^|]+?) \|", (ROOT / "docs" / "kinks.md").read_text(encoding="utf-8"), re.M)
    rows = [r for r in rows if r not in ("at", "---") and not set(r) <= {"-"}]
    assert [k for k in KINKS if not any(r.startswith(k) for r in rows)] == []
    assert [r for r in rows if not any(r.startswith(k) for k in KINKS)] == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("line", KINKS)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_conventions_at_kinks(line, method):
    for fun, x, expected in KINKS[line]:
        got = de.grad(fun, method=method)(x)
        assert np.allclose(got, expected, rtol=1e-15, atol=0), (got, expected)


@pytest.mark.parametrize("line", ["linalg.norm(x, ord)", "linalg.norm(a, ord)"])
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_the_judge_finds_the_kinks_of_norms_right(line):
    for fun, x, _ in KINKS[line]:
        report = de.compare(fun, x)
        assert report.agree, str(report)


MODULES = sorted("diffeng." + ".".join(p.relative_to(ROOT / "diffeng").with_suffix("").parts).removesuffix(".__init__")
                 for p in (ROOT / "diffeng").rglob("*.py") if ">>>" in p.read_text() and p.name != "distributed.py")          # needs Dask: test_distributed.py


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_docstrings_run(name):
    import importlib
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert found.failed == 0 and found.attempted > 0
