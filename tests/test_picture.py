"""Pictures show what the graph is: every edge, every value, every fault; and files appear whole, with or without Graphviz installed."""
import os
import re
import shutil
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import graphviz
import numpy as np
import pytest
import scipy.special as special

import diffeng as de
from diffeng.picture import rendering
from diffeng.picture import draw, number, render, svg
from diffeng.picture.repeats import Repeat, find

rng = np.random.default_rng(30)


def nodes(dot):
    """{name: attributes} of a picture, read from its text."""
    found = {}
    for name, attributes in re.findall(r"^\s*(n\d+) \[(.*)\]$", dot.source, re.M):
        found[name] = dict((k, v.strip('"')) for k, v in re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)', attributes))
    return found


def edges(dot):
    return re.findall(r"^\s*(n\d+) -> (n\d+)(?: \[(.*)\])?$", dot.source, re.M)


def label(dot, words):
    hits = [a["label"] for a in nodes(dot).values() if words in a["label"]]
    assert len(hits) == 1, f"{words!r} in {hits}"
    return hits[0]


def neuron(x, w, b, y):
    a = special.expit(x * w + b)
    return -(y * np.log(a) + (1 - y) * np.log(1 - a))


NEURON = de.trace(neuron, 1.1, 2.2, 0.0, 1.0)


def normed(x):
    return (x - np.mean(x)) / np.sqrt(np.var(x) + 1e-5)


def layer(x, p):
    h = np.tanh(normed(x) @ p["w"] + p["b"])
    return x + h * 0.5


def network(params, x):
    for p in params["layers"]:
        x = layer(x, p)
    return np.sum(normed(x) ** 2)


def parameters(n):
    return {"layers": [{"w": rng.standard_normal((4, 4)), "b": np.zeros(4)} for _ in range(n)]}


# ---- what is drawn ---------------------------------------------------------------------------------------------------------------

def test_a_square_has_two_edges():
    found = edges(draw(de.trace(lambda x: x * x, 3.0)))
    assert [f[:2] for f in found] == [("n0", "n1")] * 2


def test_operand_order_is_visible_where_it_matters():
    found = edges(draw(de.trace(lambda x: x / x - np.exp(x), 3.0)))
    assert sum('headlabel=" 0 "' in a for *_, a in found) == 2 and sum('headlabel=" 1 "' in a for *_, a in found) == 2
    assert not any("headlabel" in a for *_, a in edges(draw(de.trace(lambda x, y: x * y + x, 3.0, 4.0))))


def test_labels_say_operation_value_adjoint_and_line():
    adjoints = {k: np.float64(0.125 * k) for k in NEURON}
    dot = draw(NEURON, adjoints=adjoints, title="the neuron")
    k = next(k for k in NEURON if NEURON.nodes[k]["primitive"] == "expit")
    shown = nodes(dot)[f"n{k}"]["label"]
    assert shown.startswith("σ  expit\\n= 0.91834\\n" + f"∂ {0.125 * k:g}")
    assert re.search(r"test_picture\.py:\d+$", shown)
    assert nodes(dot)[f"n{NEURON.inputs[1]}"]["label"] == "w\\n= 2.2\\n∂ " + f"{0.125 * NEURON.inputs[1]:g}"
    assert 'label="the neuron"' in dot.source


def test_values_given_replace_those_of_the_trace():
    k = NEURON.inputs[0]
    assert "= 7" in nodes(draw(NEURON, values={k: 7.0}))[f"n{k}"]["label"]
    assert "=" not in nodes(draw(NEURON, values={}))[f"n{k}"]["label"]


def test_arrays_show_shape_range_norm_and_dtype():
    dot = draw(de.trace(lambda x: np.sin(x), np.float32([3.0, -4.0])), adjoints={0: np.array([np.nan, 1.0])})
    shown = nodes(dot)["n0"]["label"]
    assert "(2,) float32" in shown and "−4 … 3, norm 5" in shown and "∂ 1 NaN" in shown


@pytest.mark.parametrize("value, shown", [
    (0.0898262810077541, "0.089826"), (-2.0, "−2"), (1e-300, "1e−300"), (np.inf, "∞"), (-np.inf, "−∞"), (np.nan, "NaN"), (np.float32(0.1), "0.1"),
    (3, "3"), (True, "True"),
    (np.zeros(0), "empty"), (np.ones((2, 2)), "all 1"), (np.array([1, 5]), "1 … 5"), (np.array([True, False]), "1 of 2 true"),
    (np.array([1.0, np.inf]), "1 inf"),
    (np.array([1e200, -1e200]), "−1e+200 … 1e+200, norm ∞"),
])
def test_numbers(value, shown):
    assert number(value) == shown


def test_small_constants_stand_in_the_operations_label():
    dot = draw(de.trace(lambda x: 1 - 3.0 * x + np.where(x > 0, x, 0.0), 2.0))
    assert len(nodes(dot)) == 6 and label(dot, "subtract").startswith("1 −   subtract") and label(dot, "multiply").startswith("3 ×")
    assert label(dot, "where").startswith("where(·, ·, 0)")


def test_array_constants_are_nodes_of_their_own():
    dot = draw(de.trace(lambda x: np.sum(x * np.arange(3.0)), np.ones(3)))
    shown = [a for a in nodes(dot).values() if a["label"].startswith("constant")]
    assert len(shown) == 1 and shown[0]["shape"] == "note" and "0 … 2" in shown[0]["label"]


def test_inputs_and_outputs_stand_out():
    dot = draw(de.trace(lambda x: (np.sin(x), np.cos(x)), 1.0))
    found = nodes(dot)
    fills = {a["fillcolor"] for a in found.values()}
    assert len(fills) == 2 and sum(a.get("peripheries") == "2" for a in found.values()) == 2
    assert label(dot, "output 0").startswith("sin") and label(dot, "output 1").startswith("cos")


def test_a_mark_is_red_and_says_why():
    k = next(k for k in NEURON if NEURON.nodes[k]["primitive"] == "expit")
    dot = draw(NEURON, marks={k: ("error", 'reverse: 1e-5 off, "quoted" \\n <b>')})
    marked = nodes(dot)[f"n{k}"]
    assert marked["color"] == "#c62828" and "⚠ reverse: 1e-5 off" in marked["label"]
    assert sum(a["color"] == "#c62828" for a in nodes(dot).values()) == 1
    text = "".join(ET.fromstring(svg(dot)).itertext())
    assert '"quoted"' in text and "<b>" in text


def test_text_that_is_special_to_graphviz_survives():
    name = 'a"b\\l<i>{|}'
    dot = draw(de.trace(lambda p: p[name] * 2, {name: 1.0}))
    assert name in "".join(ET.fromstring(svg(dot)).itertext())


def test_detail_is_checked():
    with pytest.raises(ValueError, match="'auto', 'full' or 'modules'"):
        draw(NEURON, detail="everything")


def test_the_text_is_deterministic():
    params, x = parameters(3), rng.standard_normal((2, 4))
    assert draw(de.trace(network, params, x)).source == draw(de.trace(network, params, x)).source


# ---- functions and repetitions -------------------------------------------------------------------------------------------------------

def clusters(dot):
    return re.findall(r'subgraph cluster_\d+ \{\n\s*graph \[label=("[^"]*"|\S+)', dot.source)


def test_the_users_functions_are_nested_boxes():
    dot = draw(de.trace(network, parameters(1), rng.standard_normal((2, 4))))
    assert clusters(dot) == ["layer", "normed", "normed"]
    inside = dot.source[dot.source.index("label=layer"):]
    assert inside.index("label=normed") < inside.index("tanh") < inside.index("}\n\tsubgraph") if "}\n\tsubgraph" in inside else True
    assert dot.source.count("{") == dot.source.count("}")


def test_twelve_equal_layers_are_drawn_once():
    x = rng.standard_normal((2, 4))
    once, twelve = (draw(de.trace(network, parameters(n), x)) for n in (1, 12))
    assert [c.strip('"') for c in clusters(twelve)] == ["layer × 12", "normed", "normed"]
    assert len(nodes(twelve)) == len(nodes(once))
    assert sum("style=dashed" in a for *_, a in edges(twelve)) == 1                # the way into the next repetition
    assert any(a["label"].startswith("params.layers.0…11.w") for a in nodes(twelve).values()) or any(
        a["label"].startswith("layers.0…11.w") for a in nodes(twelve).values())
    graph = de.trace(network, parameters(12), x)
    full = draw(graph, detail="full")
    assert len(nodes(full)) == sum(k not in {u for u in graph if graph.nodes[u]['primitive'] == 'constant'} for k in graph) and "× 12" not in full.source


def test_every_operand_of_a_drawn_operation_is_there():
    """Folding loses no edge between operations that are drawn."""
    graph = de.trace(network, parameters(12), rng.standard_normal((2, 4)))
    dot = draw(graph)
    drawn = nodes(dot)
    pairs = sorted((a, b) for a, b, attributes in edges(dot) if "dashed" not in attributes)
    inline = {k for k in graph if graph.nodes[k]["primitive"] == "constant" and np.size(graph.nodes[k]["value"]) == 1}
    first_layer_ends = max(k for k in graph if f"n{k}" in drawn and graph.nodes[k]["modules"][-1:] == ("layer",))
    expected = sorted((f"n{u}", f"n{v}") for u, v, _ in graph.edges(keys=True) if u not in inline and f"n{v}" in drawn and f"n{u}" in drawn)
    assert [p for p in expected if p not in pairs] == []
    assert all(f"n{k}" not in drawn for k in graph if graph.nodes[k]["modules"][-1:] == ("layer",) and k > first_layer_ends)


def test_what_leaves_the_last_repetition_leaves_the_block():
    dot = draw(de.trace(network, parameters(5), rng.standard_normal((2, 4))))
    end = next(name for name, a in nodes(dot).items() if a["label"].startswith("mean") and "layer" not in dot.source[dot.source.index(name):])
    assert any(b == end for _, b, _ in edges(dot))


def test_a_mark_in_a_hidden_repetition_is_shown():
    graph = de.trace(network, parameters(12), rng.standard_normal((2, 4)))
    tanhs = [k for k in graph if graph.nodes[k]["primitive"] == "tanh"]
    dot = draw(graph, marks={tanhs[6]: ("error", "wrong")})
    assert "⚠ repetition 7: wrong" in label(dot, "tanh")


def test_different_layers_are_not_folded():
    def f(x, shapes):
        for k in range(6):
            x = np.tanh(x) * 2 if k % 2 else np.sin(x) + x
            x = np.exp(-x) if k < 3 else np.log(np.abs(x) + 1.0)
        return x
    graph = de.trace(lambda x: f(x, None), 0.4)
    drawn = sum(not a["label"].startswith("constant") for a in nodes(draw(graph)).values())
    ops = sum(graph.nodes[k]["primitive"] != "constant" for k in graph)
    assert drawn == ops


def test_modules_are_one_box_each():
    dot = draw(de.trace(network, parameters(12), rng.standard_normal((2, 4))), detail="modules")
    boxes = [a["label"] for a in nodes(dot).values() if a.get("shape") == "box3d"]
    assert len(boxes) == 2 and all(b.startswith("normed\\n6 operations") for b in boxes)
    assert "layer × 12" in dot.source


def test_functions_deeper_than_the_frames_that_are_kept():
    def f7(x):
        return np.sin(x) * 2

    def f6(x):
        return f7(x) + 1

    def f5(x):
        return np.exp(f6(x))

    def f4(x):
        return f5(x) - x

    def f3(x):
        return f4(np.tan(x))

    def f2(x):
        return f3(x * 3)

    def f1(x):
        return f2(np.sqrt(x)) + x
    graph = de.trace(lambda x: f1(x) ** 2, 0.4)
    assert clusters(draw(graph)) == ["f1", "f2", "f3", "f4", "f5", "f6", "f7"]


def test_derivatives_are_folded_too():
    graph = de.trace(network, parameters(12), rng.standard_normal((2, 4)))
    gradient = graph.derivative(graph.inputs.index(next(k for k in graph.inputs if graph.nodes[k]["name"].endswith("0.w"))), method="reverse")
    dot = draw(gradient)
    assert sum("× 1" in c for c in clusters(dot)) >= 2 and len(nodes(dot)) < len(gradient) / 4


def test_repeats_by_hand():
    chain = [[None]] + [[k] for k in range(19)]
    assert find("ab" * 10, chain) == [Repeat(0, 2, 10, 0)]
    assert find("xaabaabaaby"[1:10], chain)[0] == Repeat(0, 3, 3, 0)
    nested = find("abababc" * 2, chain)
    assert Repeat(0, 7, 2, 0) in nested and Repeat(0, 2, 3, 1) in nested
    assert find("abcdef", chain) == []
    assert find("qkv"[0] * 3, [[None]] * 3) == []                                  # q, k and v are no repetition
    crossed = [[None], [0], [None], [2], [None], [2]]                               # the third block takes from the second
    assert find("ababab", crossed) == [Repeat(0, 2, 2, 0)]


def test_thousands_of_operations_do_not_hang():
    def tangled(x):
        r, ys = np.random.default_rng(1), [x]
        for _ in range(2000):
            ys.append((np.sin, np.cos, np.tanh)[int(r.integers(0, 3))](ys[-1]) * ys[int(r.integers(0, len(ys)))])
        return ys[-1]
    graph = de.trace(tangled, 0.3)
    start = time.perf_counter()
    dot = draw(graph)
    assert time.perf_counter() - start < 5 and len(nodes(dot)) <= 301
    assert svg(dot).startswith("<svg") and time.perf_counter() - start < 40


# ---- files ------------------------------------------------------------------------------------------------------------------------------

def without_dot(monkeypatch):
    monkeypatch.setattr(rendering.shutil, "which", lambda name: None)


@pytest.fixture(params=["dot", "wasi"])
def engine(request, monkeypatch):
    if request.param == "wasi":
        without_dot(monkeypatch)
    elif shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed on this machine")
    return request.param


def test_svg(engine, tmp_path):
    path = render(draw(NEURON), tmp_path / "neuron.svg")
    root = ET.parse(path).getroot()
    groups = [g for g in root.iter("{http://www.w3.org/2000/svg}g") if g.get("class") == "node"]
    assert root.tag.endswith("svg") and len(groups) == len(nodes(draw(NEURON)))
    text = "".join(root.itertext())
    assert "σ  expit" in text.replace("\xa0", " ") and b"DOCTYPE" not in Path(path).read_bytes()


def test_html_is_one_page_with_no_outside_resources(engine, tmp_path):
    page = Path(render(draw(NEURON, title="a <b> & c"), tmp_path / "neuron.html")).read_text("utf-8")
    assert "<title>a &lt;b&gt; &amp; c</title>" in page and page.count("<svg") == 1
    links = set(re.findall(r'https?://[^"\s<>]+', page)) - {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not links and "src=" not in page and "wheel" in page


def test_dot_is_the_source(tmp_path):
    dot = draw(NEURON)
    assert Path(render(dot, tmp_path / "neuron.dot")).read_text("utf-8") == dot.source


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed on this machine")
@pytest.mark.parametrize("suffix, magic", [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_png_and_pdf(suffix, magic, tmp_path):
    path = render(draw(NEURON), tmp_path / f"neuron.{suffix}")
    assert Path(path).read_bytes()[:4] == magic


@pytest.mark.parametrize("suffix, cure", [("png", "resvg-py"), ("pdf", "cairosvg")])
def test_without_graphviz_the_error_names_the_cure(suffix, cure, tmp_path, monkeypatch):
    without_dot(monkeypatch)
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    monkeypatch.setitem(sys.modules, "cairosvg", None)
    with pytest.raises(RuntimeError, match=f"pip install {cure}"):
        render(draw(NEURON), tmp_path / f"neuron.{suffix}")
    assert os.listdir(tmp_path) == []


def test_an_unknown_suffix_lists_what_is_possible(tmp_path):
    for name in ("neuron.jpg", "neuron"):
        with pytest.raises(ValueError, match=r"\.svg, \.png, \.pdf, \.html, \.dot"):
            render(draw(NEURON), tmp_path / name)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="make that directory first"):
        render(draw(NEURON), tmp_path / "missing" / "neuron.svg")


def test_a_failed_drawing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "neuron.svg"
    path.write_text("old")
    monkeypatch.setattr(rendering.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        render(draw(NEURON), path)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["neuron.svg"]


def test_a_broken_source_is_an_error_not_an_empty_file(engine, tmp_path):
    broken = graphviz.Digraph(body=["a -> -> b\n"])
    with pytest.raises(RuntimeError):
        render(broken, tmp_path / "broken.svg")
    assert os.listdir(tmp_path) == []


def test_a_graph_shows_itself():
    assert NEURON._repr_svg_().startswith("<svg") and isinstance(NEURON.picture(), graphviz.Digraph)
