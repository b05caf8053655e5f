"""The walls between the witnesses, read from the source: who imports whom."""
import ast
import functools
import pathlib

import diffeng

ROOT = pathlib.Path(diffeng.__file__).parent
WITNESSES = ("symbolic", "forward_mode", "reverse_mode", "judge")
HEAVY = ("numba", "llvmlite")


@functools.cache
def nodes(path):
    """Of a file's syntax: the module itself, then all in it."""
    return [*ast.walk(ast.parse(path.read_text()))]


@functools.cache
def imports(path):
    """(absolute module names) a file imports, at any depth."""
    package = ("diffeng",) + path.relative_to(ROOT).parts[:-1]
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else ()
            stem = ".".join(base + tuple(filter(None, [node.module])))
            found |= {stem} | {f"{stem}.{a.name}" for a in node.names}
    return found


def files_of(name):
    return [ROOT / f"{name}.py"] if (ROOT / f"{name}.py").exists() else sorted((ROOT / name).rglob("*.py"))


def test_the_reader_sees_imports():
    assert "diffeng.nodes.Node" in imports(ROOT / "reverse_mode.py") and "numpy" in imports(ROOT / "nodes.py")
    assert all(files_of(w) for w in WITNESSES)


def test_witnesses_never_import_one_another():
    for name in WITNESSES:
        for path in files_of(name):
            for other in WITNESSES:
                if other != name:
                    crossed = [m for m in imports(path) if m == f"diffeng.{other}" or m.startswith(f"diffeng.{other}.")]
                    assert not crossed, f"{path.name} imports {crossed}"


def test_graph_and_vocabulary_know_no_method_at_import():
    """graph.derivative asks for a method by name when called; nothing is imported before."""
    for name in ("nodes", "traced", "numpy_api", "numpy_functions", "vocabulary"):
        for path in files_of(name):
            crossed = [m for m in imports(path) for w in WITNESSES if m.startswith(f"diffeng.{w}")]
            assert not crossed, f"{path.name} imports {crossed}"
    top = {a.name for n in nodes(ROOT / "graph.py")[0].body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert not top & set(WITNESSES)


def test_only_kernels_import_a_compiler():
    for path in ROOT.rglob("*.py"):
        if path.relative_to(ROOT).parts[0] != "kernels":
            assert not [m for m in imports(path) if m.split(".")[0] in HEAVY], path


def test_no_text_is_evaluated():
    for path in ROOT.rglob("*.py"):
        called = {n.func.id for n in nodes(path) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        names = imports(path)
        assert not called & {"eval", "exec", "sympify"}, path
        assert "pickle" not in names and "sympy.sympify" not in names, path


def test_files_have_one_reason():
    long = {str(p.relative_to(ROOT)): n for p in ROOT.rglob("*.py") if (n := len(p.read_text().splitlines())) > 500}
    assert not long, f"past 500 lines: {long}"
