"""Graphs as pictures: a graphviz.Digraph in which operations, shapes, values, adjoints and the user's functions can be seen.

What it is: three decisions, in this order. What is drawn (`_View`: scalars inside the operation's label, equal blocks once with a count, whole
functions as one box when there would be too much); in which box it stands (the user's functions, nested); and how it looks (labels, colours).

What it is not: layout, and files (rendering.py). Labels are plain text, because the Graphviz that comes with Python packages draws no other.

Why a file: pictures are for people, and everything that is decided for their eyes is decided here.
"""
import math
import re

import numpy as np

from .constants import Exact
from .rendering import render, svg                     # noqa: F401  Graph looks for both here
from .repeats import find
from .terms import index_text, operands_of
from .vocabulary import PRIMITIVES

LIMIT = 300                   # boxes in a picture that nobody asked to be larger
_LINKS = 600                  # different edges between them
_WORTH = 8                    # boxes that folding a repetition must save

SYMBOLS = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷", "power": "^", "negative": "−", "matmul": "@", "sum": "Σ", "prod": "Π", "expit": "σ",
           "square": "x²", "sqrt": "√", "absolute": "|x|", "reciprocal": "1/x", "less": "<", "less_equal": "≤", "greater": ">", "greater_equal": "≥",
           "equal": "=", "not_equal": "≠", "transpose": "ᵀ", "logical_and": "∧", "logical_or": "∨"}
_INFIX = set("add subtract multiply divide power matmul less less_equal greater greater_equal equal not_equal logical_and logical_or".split())
_COMMUTATIVE = set("add multiply maximum minimum equal not_equal logical_and logical_or logical_xor hypot logaddexp".split())

FILL = {"map": "#fdfdfd", "contract": "#fff3e0", "reduce": "#e8f5e9", "view": "#f3f4f6", "gather": "#f3e5f5", "scatter": "#f3e5f5", "opaque": "#fdfdfd",
        "input": "#e3f2fd", "constant": "#eceff1"}
LINE = {"map": "#90a4ae", "contract": "#ffb74d", "reduce": "#81c784", "view": "#b0bec5", "gather": "#ba68c8", "scatter": "#ba68c8", "opaque": "#90a4ae",
        "input": "#42a5f5", "constant": "#b0bec5"}
SEVERITY = {"error": ("#ffcdd2", "#c62828"), "red": ("#ffcdd2", "#c62828"), "wrong": ("#ffcdd2", "#c62828"), "warning": ("#ffe0b2", "#ef6c00"), "orange": ("#ffe0b2", "#ef6c00"),
            "ok": ("#c8e6c9", "#2e7d32"), "green": ("#c8e6c9", "#2e7d32")}
_CLUSTER = ("#f8fafc", "#f1f5f9", "#e9eff5", "#e2e8f0")


def draw(graph, values=None, adjoints=None, marks=None, detail="auto", title=None):
    """A graphviz.Digraph of a graph.

    values, adjoints: {node number: array}; values None: those known from the trace. marks: {node number: (severity, text)}, severity "error", "warning", "ok" or a
    Graphviz colour. detail: "full" draws every operation, "auto" draws equal blocks once and whole functions as boxes when there is too much, "modules" the user's
    functions as boxes only. Scalars known beforehand stand inside the label of the operation that takes them. The text is the same for the same graph.

    >>> import diffeng as de
    >>> "multiply" in draw(de.parse("x*x")).source
    True
    """
    import graphviz
    if detail not in ("auto", "full", "modules"):
        raise ValueError(f"detail={detail!r}: choose 'auto', 'full' or 'modules'")
    view = _View(graph, detail, marks or {})
    wide = len(view.boxes) <= 40 and not view.paths_used and not view.folded
    attributes = dict(rankdir="LR" if wide else "TB", fontname="Helvetica,Arial,sans-serif", fontsize="16" if title else "13", fontcolor="#455a64", nodesep="0.28", ranksep="0.4", bgcolor="white",
                      pad="0.2", **({"label": title, "labelloc": "t"} if title else {}))
    if len(view.boxes) > 2 * LIMIT:                          # network simplex to the end would take minutes
        attributes.update(nslimit="1", nslimit1="1", splines="line")
    dot = graphviz.Digraph("diffeng", graph_attr=attributes,
                           node_attr=dict(shape="box", style="rounded,filled", fontname="Helvetica,Arial,sans-serif", fontsize="11", margin="0.2,0.06", height="0.3", penwidth="1.1"),
                           edge_attr=dict(color="#78909c", arrowsize="0.6", fontname="Helvetica,Arial,sans-serif", fontsize="9", fontcolor="#78909c"))
    if values is None:
        values = {k: graph.nodes[k]["value"] for k in graph.nodes if graph.nodes[k].get("value") is not None}
    _clusters(dot, view, lambda k: _box(graph, view, k, values, adjoints or {}))
    for tail, head, attributes in view.edges:
        dot.edge(tail, head, **attributes)
    return dot


# ---- what is drawn -----------------------------------------------------------------------------------------------------------

class _View:
    """boxes: the operations (and inputs and constants) to draw; edges; path[k]: the nested functions and repetitions a box stands in."""

    def __init__(self, graph, detail, marks):
        self.graph = graph
        self.operands = {k: operands_of(graph, k) for k in graph.nodes}
        self.inline = {k for k in graph.nodes if graph.nodes[k]["primitive"] == "constant" and _scalar(graph.nodes[k]["value"]) and k not in graph.outputs}
        self.leaves = {k for k in graph.nodes if graph.nodes[k]["primitive"] in ("input", "constant")}
        self.ops = [k for k in sorted(graph.nodes) if k not in self.leaves]
        self.paths = _function_paths(graph, self.ops)
        self.calls = {k: tuple(path) for k, path in self.paths.items()}       # as they were before functions became boxes
        self._placed, self._extent = {}, {}                # of a call: its first and last operation
        for i, k in enumerate(self.ops):
            for _, call in self.paths[k]:
                self._extent[call] = (self._extent.get(call, (i, i))[0], i)
        self.shown = {k: k for k in self.ops}              # the operation that stands for k
        self.copies = {}                                   # an operation that stands for several -> all of them
        self.counts, self.folded = {}, False
        if detail != "full":
            self._fold_repeats()
        self.first = dict(self.shown)                      # before functions become boxes: itself, or the operation of the first repetition
        self.groups = {}                                   # the name of a box for many operations -> (title, operations)
        visible = [k for k in self.ops if self.shown[k] == k]
        if detail == "modules" or detail == "auto" and len(visible) > LIMIT:
            self._fold_functions(visible)
        self.marks = self._marks(marks)
        self._finish()

    def _fold_repeats(self):
        position = {k: i for i, k in enumerate(self.ops)}
        signatures = [_signature(self.graph, k) for k in self.ops]
        wires = [[position.get(u) for u in self.operands[k]] for k in self.ops]
        for r in [r for r in find(signatures, wires) if r.period * (r.count - 1) >= _WORTH]:                                   # outermost first, so what stands for an operation may get a smaller one to stand for it
            self.folded = True
            for t in range(r.period):
                first = self.ops[r.start + t]
                same = [self.ops[r.start + c * r.period + t] for c in range(r.count)]
                self.counts[first] = [*self.counts.get(first, []), r]
                copies = self.copies.get(first, [first])
                for other in same[1:]:
                    self.shown[other] = first
                    copies = [*copies, *self.copies.get(other, [other])]
                self.copies[first] = copies
        for k in self.ops:                                   # chains of stand-ins end at what is drawn
            while self.shown[self.shown[k]] != self.shown[k]:
                self.shown[k] = self.shown[self.shown[k]]

    def _fold_functions(self, visible):
        """Deepest functions first become one box each, until few enough are left; what has no function goes by runs of operations."""
        depth = max((len(self.paths[k]) for k in visible), default=0)
        while depth > 0:
            keys = [tuple(self.paths[k][:depth]) for k in visible]
            holds = {key[:d] for key in keys for d in range(len(key))}        # functions that hold others keep their own operations one by one
            grouped, previous = [], None
            for k, key in zip(visible, keys):
                if key != previous or key in holds:
                    grouped.append([])
                grouped[-1].append(k)
                previous = key
            if len(grouped) <= LIMIT and self._links(grouped) <= _LINKS:
                break
            depth -= 1
        if depth == 0:
            if len(visible) <= LIMIT:
                return
            limit = LIMIT
            while True:
                size = -(-len(visible) // limit)
                grouped = [visible[n:n + size] for n in range(0, len(visible), size)]
                if limit < 10 or self._links(grouped) <= _LINKS:
                    break
                limit = limit * 2 // 3
        for members in grouped:
            if len(members) < 2:
                continue
            path = self.paths[members[0]][:depth]
            self.groups[members[0]] = (path[-1][0] if path else f"{len(members)} operations", members)
            for k in members:
                self.shown[k] = members[0]
            self.paths[members[0]] = path[:-1]
        for k in self.ops:
            self.shown[k] = self.shown[self.shown[k]]

    def _links(self, grouped):
        home = {k: n for n, members in enumerate(grouped) for k in members}
        return len({(home[self.shown[u]], home[k]) for k in home for u in self.operands[k] if u not in self.leaves and self.shown[u] in home})

    def _marks(self, marks):
        out = {}
        for k, (severity, text) in marks.items():
            at, first = self.shown.get(k, k), self.first.get(k, k)
            if first != k:
                text = f"repetition {self.copies[first].index(k) + 1}: {text}"
            if at in self.groups:
                text = f"{self.graph.nodes[k]['primitive']} {self.graph.nodes[k].get('line', '')}: {text}"
            if at not in out or severity in ("error", "red", "wrong"):
                out[at] = (severity, str(text) if at not in out else f"{text}\n{out[at][1]}")
        return out

    def _finish(self):
        drawn = {k for k in self.ops if self.shown[k] == k}
        seen, self.edges, used, self.repeated = set(), [], set(), {}
        for k in self.ops:
            at = self.shown[k]
            copy = self.first[k] != k
            for slot, u in enumerate(self.operands[k]):
                if u in self.inline:
                    continue
                if u in self.leaves:
                    self.repeated[u] = self.repeated.get(u, False) or at in self.copies
                    if copy:
                        continue                            # the weights of the second layer are those of the first, times twelve
                    tail = u
                    used.add(u)
                else:
                    tail = self.shown[u]
                back = copy and self.first[u] >= self.first[k]           # from one repetition to the next
                if tail == at and at in self.groups:
                    continue
                key = (tail, "back") if back else (tail, at, slot if at not in self.groups else 0)     # one way back is enough
                if key not in seen and not (copy and not back):
                    seen.add(key)
                    self.edges.append((_id(tail), _id(at), self._edge(k, at, slot, back)))
        unused = [k for k in self.graph.inputs if not self.graph.out_degree(k)]
        kept = used | set(unused if len(unused) <= 12 else ()) | {k for k in self.graph.outputs if k in self.leaves}
        self.boxes = sorted(drawn | (kept & self.leaves))
        self._place_leaves(kept)
        self.paths_used = any(self.path(k) for k in drawn)

    def _edge(self, k, at, slot, back):
        attributes = {}
        name = self.graph.nodes[k]["primitive"]
        nodes = [u for u in self.operands[k] if u not in self.inline]
        if name not in _COMMUTATIVE and len(nodes) > 1 and at not in self.groups:
            attributes.update(headlabel=f" {slot} ", labeldistance="1.3")
        if back:
            attributes.update(style="dashed", constraint="false", tooltip="into the next repetition")
        return attributes

    def _place_leaves(self, kept):
        """A parameter that only one function uses stands in its box."""
        users = {}
        for k in self.ops:
            if self.shown[k] == k or self.shown[k] in self.groups:
                for u in self.operands[k]:
                    if u in kept:
                        users.setdefault(u, []).append(self.path(self.shown[k]))
        for u in kept:
            common = _common(users.get(u, [()]))
            many = len(self.graph.inputs) > 6 or self.graph.nodes[u]["primitive"] == "constant"
            self.paths[u] = common if many else ()

    def path(self, k):
        """((label, key), ...): functions, and repetitions as boxes of their own."""
        path = list(self.paths.get(k, ()))
        members = self.groups[k][1] if k in self.groups else ()
        around = [r for r in self.counts.get(k, ()) if all(r in self.counts.get(m, ()) for m in members)]
        for n, r in enumerate(around):
            depth, whole = self._place(r)
            if depth + n > len(path):
                break                                        # a box for the whole function that holds it
            if whole:                                        # the function's box is this repetition: one box says both
                path[depth + n - 1] = (f"{path[depth + n - 1][0]} × {r.count}", ("repeat", r.start, r.period))
            path[depth + n:depth + n] = [] if whole else [(f"× {r.count}", ("repeat", r.start, r.period))]
            if whole:
                path.insert(depth + n, None)                  # later repetitions count on one more place
        return tuple([p for p in path if p is not None])

    def _place(self, r):
        """How many functions stand around a repetition, and whether the innermost of them holds nothing else."""
        known = self._placed.get(r)
        if known is None:
            common = _common([self.calls[k] for k in self.ops[r.start:r.start + r.period]])
            whole = bool(common) and self._extent[common[-1][1]] == (r.start, r.start + r.period * r.count - 1)
            known = self._placed[r] = len(common), whole
        return known


def _common(paths):
    first = list(paths[0])
    for p in paths[1:]:
        n = 0
        while n < min(len(first), len(p)) and first[n] == p[n]:
            n += 1
        first = first[:n]
    return tuple(first)


def _function_paths(graph, ops):
    """{operation: ((function name, key), ...)}: a call is a run of operations with the same functions and the same places of call around them."""
    paths, raw = {}, []
    for k in ops:
        node = graph.nodes[k]
        frames, modules = node.get("frames") or (), tuple(node.get("modules") or ())
        if frames and len(frames) == len(modules):
            outer = list(reversed(frames))
            keys = [(id(outer[j][0]), outer[j - 1][1] if j else 0) for j in range(len(outer))]
        else:
            keys = [(m, 0) for m in modules]
        raw.append([(m, key) for m, key in zip(modules, keys) if not m.startswith("<") or m == "<module>"])
    shared = len(_common([tuple(r) for r in raw])) if raw else 0          # the traced function itself is the whole picture
    run, previous = 0, ()
    open_runs = []                                         # the number of the run each depth is in
    for k, r in zip(ops, raw):
        r = tuple(r[shared:])
        same = len(_common([previous, r]))
        del open_runs[same:]
        for _ in range(same, len(r)):
            run += 1
            open_runs.append(run)
        paths[k] = [(name, ("call", number)) for (name, _), number in zip(r, open_runs)]
        previous = r
    return paths


def _signature(graph, k):
    node = graph.nodes[k]
    frames = tuple([(id(code), offset) for code, offset in node.get("frames") or ()])
    return node["primitive"], frames or (node.get("line"), tuple(node.get("modules") or ())), tuple(node["shape"]), str(node["dtype"]), graph.in_degree(k)


def _scalar(value):
    return isinstance(value, Exact) or np.size(value) == 1


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
            attributes = dict(label=label, labeljust="l", style="rounded,filled" + (",dashed" if repeated else ""), fillcolor=_CLUSTER[min(depth, len(_CLUSTER)) - 1],
                              color="#5c6bc0" if repeated else "#b0bec5", penwidth="1.6" if repeated else "1", fontcolor="#3949ab" if repeated else "#455a64", margin="10")
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
    attributes = dict(shape="box3d", style="filled", fillcolor="#e8eaf6", color="#5c6bc0", tooltip=f"{len(members)} operations, {graph.nodes[members[0]].get('line', '')}")
    if ends:
        lines.append("output")
    return _marked(attributes, lines, view.marks.get(k), graphviz)


def _title(graph, view, k):
    """The operation with its scalar operands in place: "2 × ·  multiply"."""
    node = graph.nodes[k]
    name, params = node["primitive"], node.get("params") or {}
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
        written = f"{operands[0]} {SYMBOLS[name]} {operands[1]}".strip("· ") if name in _INFIX else f"{SYMBOLS.get(name, '') if name in ('expit',) else name}({', '.join(operands)})"
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
