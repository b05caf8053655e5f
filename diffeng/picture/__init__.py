"""Graphs as pictures: a graphviz.Digraph in which operations, shapes, values, adjoints and the user's functions can be seen.

What it is: three decisions, in this order. What is drawn (folding.py: scalars inside the operation's label, equal blocks once with a count, whole
functions as one box when there would be too much); in which box it stands (the user's functions, nested); and how it looks (labels, colours).

What it is not: layout, and files (rendering.py). Labels are plain text, because the Graphviz that comes with Python packages draws no other.

Why a file: pictures are for people, and everything that is decided for their eyes is decided here.
"""
import math
import re

import numpy as np

from ..constants import Exact
from .folding import LIMIT, View
from .rendering import render, svg                     # noqa: F401  Graph looks for both here
from ..formulas.terms import index_text, operands_of
from ..vocabulary import PRIMITIVES

SYMBOLS = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷", "power": "^", "negative": "−", "matmul": "@", "sum": "Σ", "prod": "Π", "expit": "σ",
           "square": "x²", "sqrt": "√", "absolute": "|x|", "reciprocal": "1/x", "less": "<", "less_equal": "≤", "greater": ">", "greater_equal": "≥",
           "equal": "=", "not_equal": "≠", "transpose": "ᵀ", "logical_and": "∧", "logical_or": "∨"}
_INFIX = set("add subtract multiply divide power matmul less less_equal greater greater_equal equal not_equal logical_and logical_or".split())

FILL = {"map": "#fdfdfd", "contract": "#fff3e0", "reduce": "#e8f5e9", "view": "#f3f4f6", "gather": "#f3e5f5", "scatter": "#f3e5f5", "opaque": "#fdfdfd",
        "linalg": "#fff3e0", "input": "#e3f2fd", "constant": "#eceff1"}
LINE = {"map": "#90a4ae", "contract": "#ffb74d", "reduce": "#81c784", "view": "#b0bec5", "gather": "#ba68c8", "scatter": "#ba68c8", "opaque": "#90a4ae",
        "linalg": "#ffb74d", "input": "#42a5f5", "constant": "#b0bec5"}
SEVERITY = {**dict.fromkeys(("error", "wrong", "red"), ("#ffcdd2", "#c62828")), **dict.fromkeys(("warning", "orange"), ("#ffe0b2", "#ef6c00")),
            **dict.fromkeys(("ok", "green"), ("#c8e6c9", "#2e7d32"))}          # (fill, line)
_FONT = "Helvetica,Arial,sans-serif"
_CLUSTER = ("#f8fafc", "#f1f5f9", "#e9eff5", "#e2e8f0")


def draw(graph, values=None, adjoints=None, marks=None, detail="auto", title=None):
    """A graphviz.Digraph of a graph.

    values, adjoints: {node number: array}; values None: those known from the trace. marks: {node number: (severity, text)}, severity "error",
    "warning", "ok" or a Graphviz colour. detail: "full" draws every operation, "auto" draws equal blocks once and whole functions as boxes when
    there is too much, "modules" the user's functions as boxes only. Scalars known beforehand stand inside the label of the operation that takes
    them. The text is the same for the same graph.

    >>> import diffeng as de
    >>> "multiply" in draw(de.parse("x*x")).source
    True
    """
    import graphviz
    if detail not in ("auto", "full", "modules"):
        raise ValueError(f"detail={detail!r}: choose 'auto', 'full' or 'modules'")
    for name, given in (("values", values), ("adjoints", adjoints), ("marks", marks)):
        if given is not None and not hasattr(given, "get"):
            raise TypeError(f"{name} is of type {type(given).__name__}: give a dict by node number, {{0: ...}}, or None")
    view = View(graph, detail, marks or {})
    wide = len(view.boxes) <= 40 and not view.paths_used and not view.folded
    attributes = dict(rankdir="LR" if wide else "TB", fontname=_FONT, fontsize="16" if title else "13", fontcolor="#455a64", nodesep="0.28", ranksep="0.4",
                      bgcolor="white", pad="0.2", **({"label": title, "labelloc": "t"} if title else {}))
    if len(view.boxes) > 2 * LIMIT:                          # network simplex to the end would take minutes
        attributes.update(nslimit="1", nslimit1="1", splines="line")
    dot = graphviz.Digraph("diffeng", graph_attr=attributes,
                           node_attr=dict(shape="box", style="rounded,filled", fontname=_FONT, fontsize="11", margin="0.2,0.06", height="0.3", penwidth="1.1"),
                           edge_attr=dict(color="#78909c", arrowsize="0.6", fontname=_FONT, fontsize="9", fontcolor="#78909c"))
    if values is None:
        values = {k: graph.nodes[k]["value"] for k in graph.nodes if graph.nodes[k].get("value") is not None}
    _clusters(dot, view, lambda k: _box(graph, view, k, values, adjoints or {}))
    for tail, head, attributes in view.edges:
        dot.edge(_id(tail), _id(head), **attributes)
    return dot


# ---- in which box it stands --------------------------------------------------------------------------------------------------

def _clusters(dot, view, box):
    """Write nodes in nested clusters, without recursion: a tree of boxes, then one walk over it."""
    tree = {(): []}
    for k in view.boxes:
        path = view.path(k) if k not in view.leaves else tuple(view.paths.get(k, ()))
        for depth in range(len(path)):
            if path[:depth + 1] not in tree:
                tree[path[:depth + 1]] = []
                tree[path[:depth]].append(path[:depth + 1])
        tree[path].append(k)
    numbers = {path: n for n, path in enumerate(tree)}
    lines, stack = [], [iter(tree[()])]
    while stack:
        item = next(stack[-1], None)
        depth = len(stack)
        if item is None:
            stack.pop()
            if stack:
                lines.append("\t" * (depth - 1) + "}\n")
        elif isinstance(item, tuple):
            label, key = item[-1]
            repeated = key[0] == "repeat"
            import graphviz
            line = dict(color="#5c6bc0", penwidth="1.6", fontcolor="#3949ab") if repeated else dict(color="#b0bec5", penwidth="1", fontcolor="#455a64")
            attributes = dict(label=label, labeljust="l", style="rounded,filled" + (",dashed" if repeated else ""), margin="10",
                              fillcolor=_CLUSTER[min(depth, len(_CLUSTER)) - 1], **line)
            text = " ".join(f"{a}={graphviz.quoting.quote(v)}" for a, v in attributes.items())
            lines.append("\t" * depth + f'subgraph cluster_{numbers[item]} {{\n' + "\t" * (depth + 1) + f"graph [{text}]\n")
            stack.append(iter(tree[item]))
        else:
            import graphviz
            text = " ".join(f"{a}={graphviz.quoting.quote(v)}" for a, v in box(item).items())
            lines.append("\t" * depth + f"{_id(item)} [{text}]\n")
    dot.body.extend(lines)


def _id(k):
    return f"n{k}"


# ---- how it looks ------------------------------------------------------------------------------------------------------------------

def _box(graph, view, k, values, adjoints):
    import graphviz
    node = graph.nodes[k]
    name = node["primitive"]
    if k in view.groups:
        return _group(graph, view, k)
    kind = PRIMITIVES[name].kind if name in PRIMITIVES else "opaque"
    many = len(view.copies.get(k, ())) > 1 or k in view.leaves and view.repeated.get(k, False)
    lines = [_title(graph, view, k)]
    about = [str(tuple(node["shape"]))] if tuple(node["shape"]) else []
    if str(node["dtype"]) != "float64":
        about.append(str(node["dtype"]))
    if about:
        lines.append(" ".join(about))
    if not many and values.get(k) is not None and name != "constant":
        lines.append("= " + number(values[k]))
    elif name == "constant":
        lines.append(number(node["value"]))
    if not many and adjoints.get(k) is not None:
        lines.append("∂ " + number(adjoints[k]))
    if node.get("line") and name not in ("input", "constant"):
        lines.append(node["line"])
    attributes = dict(fillcolor=FILL[kind], color=LINE[kind], tooltip=f"{k}: {name} {tuple(node['shape'])} {node['dtype']} {node.get('line') or ''}".strip())
    if name == "input":
        attributes["style"] = "rounded,filled,bold"
    elif name == "constant":
        attributes["shape"] = "note"
        attributes["style"] = "filled"
    ends = [c for c in view.copies.get(k, [k]) if c in graph.outputs]
    if ends:
        lines.append("output" if len(graph.outputs) == 1 else f"output {graph.outputs.index(ends[0])}")
        attributes.update(peripheries="2", color="#37474f")
    if many:
        attributes["color"] = "#5c6bc0"
    return _marked(attributes, lines, view.marks.get(k), graphviz)


def _marked(attributes, lines, mark, graphviz):
    if mark is not None:
        severity, text = mark
        fill, line = SEVERITY.get(str(severity), (str(severity), "#c62828"))
        attributes.update(fillcolor=fill, color=line, penwidth="2.4")
        lines += ["⚠ " + part if n == 0 else part for n, part in enumerate(wrap(text))] if severity not in ("ok", "green") else wrap(text)
    return {"label": "\n".join(graphviz.escape(line) for line in lines).replace("\n", "\\n"), **attributes}


def _group(graph, view, k):
    import graphviz
    title, members = view.groups[k]
    counts = {}
    for m in members:
        name = graph.nodes[m]["primitive"]
        counts[name] = counts.get(name, 0) + 1
    common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    lines = [title] if title.endswith("operations") else [title, f"{len(members)} operations"]
    lines.append(", ".join(f"{name} {n}" if n > 1 else name for name, n in common[:3]) + (", …" if len(common) > 3 else ""))
    ends = [c for m in members for c in view.copies.get(m, [m]) if c in graph.outputs]
    attributes = dict(shape="box3d", style="filled", fillcolor="#e8eaf6", color="#5c6bc0",
                      tooltip=f"{len(members)} operations, {graph.nodes[members[0]].get('line', '')}")
    if ends:
        lines.append("output")
    return _marked(attributes, lines, view.marks.get(k), graphviz)


def _title(graph, view, k):
    """The operation with its scalar operands in place: "2 × ·  multiply"."""
    node = graph.nodes[k]
    name = node["primitive"]
    if name == "input":
        return _common_name([graph.nodes[k].get("name", "input")] + _other_inputs(graph, view, k))
    if name == "constant":
        return "constant"
    copies = view.copies.get(k, [k])
    operands = [_operand(graph, view, copies, slot, u) for slot, u in enumerate(view.operands[k])]
    if name == "getitem":
        indexes = {index_text(graph.nodes[c]["params"]["index"], operands[1:]) for c in copies}
        return f"getitem [{indexes.pop() if len(indexes) == 1 else '…'}]"
    if any(o != "·" for o in operands):
        written = f"{operands[0]} {SYMBOLS[name]} {operands[1]}".strip("· ") if name in _INFIX else f"{name}({', '.join(operands)})"
        title = f"{written}   {name}" if name in _INFIX else written
    else:
        title = f"{SYMBOLS[name]}  {name}" if name in SYMBOLS else name
    extra = _parameters(graph, name, copies)
    return f"{title} {extra}" if extra else title


def _operand(graph, view, copies, slot, u):
    if u not in view.inline:
        return "·"
    texts = {number(graph.nodes[view.operands[c][slot]]["value"]) if slot < len(view.operands[c]) else "" for c in copies[:50]}
    return texts.pop() if len(texts) == 1 else "…"


def _other_inputs(graph, view, k):
    """The inputs that stand at the same place in the other repetitions."""
    for user in view.ops:
        copies = view.copies.get(user, ())
        if view.first[user] == user and len(copies) > 1 and k in view.operands[user]:
            slot = view.operands[user].index(k)
            others = [view.operands[c][slot] for c in copies[1:]]
            return [graph.nodes[u].get("name", "") for u in others if graph.nodes[u]["primitive"] == "input"]
    return []


def _common_name(names):
    """h.0.w, h.1.w, ..., h.11.w is h.0…11.w."""
    parts = [re.split(r"(\d+)", n) for n in dict.fromkeys(names)]
    if len(parts) == 1 or len({len(p) for p in parts}) > 1:
        return names[0]
    out = []
    for column in zip(*parts):
        different = list(dict.fromkeys(column))
        if len(different) > 1 and not all(d.isdigit() for d in different):
            return names[0]
        out.append(different[0] if len(different) == 1 else f"{min(map(int, different))}…{max(map(int, different))}")
    return "".join(out)


def _parameters(graph, name, copies):
    params = graph.nodes[copies[0]].get("params") or {}
    if name in ("reshape", "broadcast_to", "astype", "input"):
        return ""                                    # the shape line says it
    out = []
    for key, value in params.items():
        if any(str(graph.nodes[c]["params"].get(key)) != str(value) for c in copies[1:50]):
            value = "…"
        if key == "keepdims":
            continue
        if key == "axis" and isinstance(value, tuple):
            rank = len(graph.nodes[operands_of(graph, copies[0])[0]]["shape"])
            if len(value) == rank:
                continue
            value = value[0] if len(value) == 1 else value
        if key == "index" and isinstance(value, tuple):
            value = "[" + index_text(value, ["·"] * 9) + "]"
        text = str(value).replace(" ", "")
        out.append(text if key in ("subscripts", "index") else f"{key}={text if len(text) < 30 else text[:27] + '…'}")
    return " ".join(out)


def number(value, digits=5):
    """A value in a few characters: scalars with 5 digits, arrays as their range and norm.

    >>> number(2.0), number(np.array([1.0, 2.0]))
    ('2', '1 … 2, norm 2.2361')
    """
    if isinstance(value, Exact):
        return value.name
    try:
        value = np.asarray(value)
    except TypeError:
        return str(value)[:20]
    if value.size == 1:
        item = value.reshape(-1)[0]
        if value.dtype.kind in "biu":
            return str(item)
        return _real(item, digits)
    if value.size == 0:
        return "empty"
    if value.dtype.kind == "b":
        return f"{int(value.sum())} of {value.size} true"
    if value.dtype.kind not in "fiu":
        return f"{value.dtype}"
    low, high = value.min(), value.max()
    if value.dtype.kind in "iu":
        return f"{low} … {high}"
    if not np.all(np.isfinite(value)):
        bad = int(np.isnan(value).sum())
        return f"{bad} NaN" + (f", {int(np.isinf(value).sum())} inf" if np.isinf(value).any() else "") if bad else f"{int(np.isinf(value).sum())} inf"
    with np.errstate(over="ignore"):
        norm = float(np.sqrt(np.sum(np.square(value, dtype=float))))
    return f"{_real(low, digits)} … {_real(high, digits)}, norm {_real(norm, digits)}" if low != high else f"all {_real(low, digits)}"


def _real(x, digits):
    x = float(x)
    return f"{x:.{digits}g}".replace("-", "−") if math.isfinite(x) else "NaN" if math.isnan(x) else "∞" if x > 0 else "−∞"


def wrap(text, width=44):
    import textwrap
    return [line for part in str(text).split("\n") for line in textwrap.wrap(part, width) or [""]]
