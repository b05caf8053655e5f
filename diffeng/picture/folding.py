"""What of a graph is drawn: equal blocks once with a count, whole functions as one box when there would be too much.

What it is: a `View`, the list of boxes, edges and nested frames of a picture, worked out from the graph alone: repetitions (repeats.py) are folded
first, then, where more than LIMIT boxes would be left, the user's functions, the deepest first.

What it is not: it knows no colour, no label and no Graphviz (__init__.py).

Why a file: it decides what a reader does not see, which deserves tests of its own.
"""
import numpy as np

from ..constants import Exact
from .repeats import find
from ..formulas.terms import operands_of

LIMIT = 300                   # boxes in a picture that nobody asked to be larger
_LINKS = 600                  # different edges between them
_WORTH = 8                    # boxes that folding a repetition must save
COMMUTATIVE = set("add multiply maximum minimum equal not_equal logical_and logical_or logical_xor hypot logaddexp".split())


class View:
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
        for r in [r for r in find(signatures, wires) if r.period * (r.count - 1) >= _WORTH]:          # outermost first: a stand-in may get one of its own
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
                    self.edges.append((tail, at, self._edge(k, at, slot, back)))
        unused = [k for k in self.graph.inputs if not self.graph.out_degree(k)]
        kept = used | set(unused if len(unused) <= 12 else ()) | {k for k in self.graph.outputs if k in self.leaves}
        self.boxes = sorted(drawn | (kept & self.leaves))
        self._place_leaves(kept)
        self.paths_used = any(self.path(k) for k in drawn)

    def _edge(self, k, at, slot, back):
        attributes = {}
        name = self.graph.nodes[k]["primitive"]
        nodes = [u for u in self.operands[k] if u not in self.inline]
        if name not in COMMUTATIVE and len(nodes) > 1 and at not in self.groups:
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
    paths, raw, before = {}, [], []
    for k in ops:
        node = graph.nodes[k]
        frames, modules = node.get("frames") or (), tuple(node.get("modules") or ())
        if frames and len(frames) == len(modules):
            outer = list(reversed(frames))
            chain = [(m, id(code), outer[j - 1][1] if j else 0) for j, (m, (code, _)) in enumerate(zip(modules, outer))]
            if before and chain[0][1] != before[0][1]:          # only the innermost frames are kept: the outer ones are those of the operation before
                at = next((j for j, call in enumerate(before) if call[1] == chain[0][1]), None)
                chain = chain if at is None else [*before[:at + 1], *chain[1:]]
            before = chain
        else:
            chain = [(m, 0, 0) for m in modules]
        raw.append([(m, call) for m, *call in chain if not m.startswith("<") or m == "<module>"])
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
