"""A forward and a backward pass, step by step, as one picture: values on the way there, adjoints on the way back in the order in which they arrive.

What it is: every operation behind a tensor with the value it gave, numbered as computed; under it the adjoint of that value; and an arrow for each contribution to an
adjoint, numbered as it arrives, with its value where that is one number. The numbers are those of backward: the same rules, walked in the same order.

What it is not: no rule of differentiation (reverse_mode.py), no layout (picture/).
"""
import sys

import numpy as np

from . import reverse_mode
from .errors import refuse
from .influence import influenced
from .nodes import INPUT, Node, reachable
from .picture import FILL, LINE, SYMBOLS, number as number_of, render
from .tensor_engine.backward import FREED
from .tensor_engine.core import TensorBase
from .tensor_engine.resident import Resident, at
from .lines import is_user_code, line_of

MOST = 400                                  # operations: more is no picture to understand a pass by
_FONT = "Helvetica,Arial,sans-serif"
_ADJOINT = ("#e3f2fd", "#1e88e5")             # fill and line of an adjoint's box


class Passes:
    """What happens in the two passes of a scalar tensor.

    order: Nodes as computed; arrivals: [(of, slot, to, contribution)] in the order of the backward pass; adjoints: {Node: its whole cotangent}; leaves: those that
    get a gradient.
    """

    def __init__(self, root):
        self.root, self.order = root, reachable([root])
        if any(n.params is FREED for n in self.order):
            raise refuse(RuntimeError, "picture{here}: a backward pass has freed this graph: draw it before backward(), or keep it with backward(retain_graph=True)")
        self.leaves = [n for n in self.order if n.primitive is INPUT]
        self.arrivals, self.adjoints = [], {root: np.ones(root.shape, root.dtype)}
        slots = influenced(self.order, self.leaves)
        with np.errstate(all="ignore"):
            for n in reversed(self.order):
                values = [p.value if type(p) is Node else p for p in n.operands]
                for k in slots[n] if n in self.adjoints else ():
                    p = n.operands[k]
                    g = reverse_mode.pull(n.primitive, k, self.adjoints[n], n.value, values, n.params, n.frames)
                    self.arrivals.append((n, k, p, g))
                    self.adjoints[p] = self.adjoints[p] + g if p in self.adjoints else g


def picture(loss, path=None, names=None):
    """See Tensor.picture."""
    import graphviz
    if not loss.requires:
        raise refuse(RuntimeError, "picture{here}: this tensor does not require grad: nothing behind it was recorded. Make what it is computed from with requires_grad=True")
    if loss.numel() != 1:
        raise refuse(RuntimeError, f"picture{{here}}: a backward pass begins with one number, and this tensor has shape {list(loss.shape)}: take .sum() or .mean() of it")
    passes = Passes(loss.variable())
    if len(passes.order) > MOST:
        raise refuse(ValueError, f"picture{{here}}: {len(passes.order)} operations are too many for a picture of every step; de.trace(...).picture() folds what is alike")
    dot = _draw(passes, _names(names, sys._getframe(2)), graphviz)
    return dot if path is None else render(dot, path)


# ---- names of leaves ------------------------------------------------------------------------------------------------------------------------

def _names(given, frame):
    """{id of a tensor or array: its name}: those given, else the names that the caller's variables and the parameters of the caller's modules have."""
    if given is None:
        while frame is not None and not is_user_code(frame.f_code):
            frame = frame.f_back
        given = {**frame.f_globals, **frame.f_locals} if frame is not None else {}
    out = {}
    for name, x in given.items():
        if hasattr(x, "named_parameters") and not isinstance(x, type):
            for inner, p in x.named_parameters():
                out.setdefault(id(p), f"{name}.{inner}")
    out.update({id(x): name for name, x in given.items() if isinstance(x, TensorBase)})
    out.update({id(x._array): name for name, x in given.items() if isinstance(x, TensorBase) and x._array is not None})
    return out


# ---- the picture ------------------------------------------------------------------------------------------------------------------------------

def _draw(passes, names, graphviz):
    dot = graphviz.Digraph("passes", graph_attr=dict(rankdir="LR", fontname=_FONT, nodesep="0.25", ranksep="0.55", bgcolor="white", pad="0.2", fontsize="13", labelloc="t",
                                                     fontcolor="#455a64", label="forward: values, step by step;  backward (blue): adjoints, in the order in which they arrive"),
                           node_attr=dict(shape="box", style="rounded,filled", fontname=_FONT, fontsize="11", margin="0.24,0.06", height="0.3", penwidth="1.1"),
                           edge_attr=dict(color="#78909c", arrowsize="0.6", fontname=_FONT, fontsize="9", fontcolor="#1565c0"))
    steps = {n: k for k, n in enumerate([n for n in passes.order if n.primitive is not INPUT and n.primitive.kind != "constant"], 1)}
    place = {n: k for k, n in enumerate(passes.order)}
    for n in passes.order:
        _column(dot, passes, n, place[n], steps, names, graphviz)
        for slot, p in enumerate(n.operands):
            if type(p) is Node:
                dot.edge(f"v{place[p]}", f"v{place[n]}")
            elif np.size(p) > 1:
                dot.node(f"c{place[n]}_{slot}", _label([f"{names.get(id(p), 'data')} {_shape(p)}", number(p)], graphviz), shape="note", fillcolor=FILL["constant"],
                         color=LINE["constant"])
                dot.edge(f"c{place[n]}_{slot}", f"v{place[n]}")
    for k, (n, _, p, g) in enumerate(passes.arrivals, 1):
        dot.edge(f"a{place[n]}", f"a{place[p]}", label=f"{k}" + (f": {number(g)}" if np.size(g) == 1 else ""), color=_ADJOINT[1], constraint="false")
    return dot


def _column(dot, passes, n, k, steps, names, graphviz):
    """A value, and its adjoint beside it."""
    leaf = n.primitive is INPUT
    name = (_name(n, names) if leaf else f"{steps[n]}. {_operation(n)}") if n in steps or leaf else "constant"
    lines = [f"{name} {_shape(n.value)}".strip(), "= " + number(n.value)]
    if n in steps:
        lines.append(line_of(n.frames))
    with dot.subgraph() as same:
        same.attr(rank="same")
        same.node(f"v{k}", _label(lines, graphviz), fillcolor=FILL.get(n.primitive.kind, "white"), color=LINE.get(n.primitive.kind, "#90a4ae"),
                  **({"peripheries": "2"} if n is passes.root else {}), **({"style": "rounded,filled,bold"} if leaf else {}))
        if n in passes.adjoints:
            whole = [f"{name}.grad" if leaf else f"adjoint of {name.split('.')[0]}", "∂ " + number(passes.adjoints[n])]
            same.node(f"a{k}", _label(whole, graphviz), fillcolor=_ADJOINT[0], color=_ADJOINT[1], fontcolor="#0d47a1",
                      **({"style": "rounded,filled,bold", "penwidth": "2"} if leaf else {}))


def _name(n, names):
    t = n.params["tensor"]()
    return names.get(id(t), getattr(t, "name", None) or "leaf") if t is not None else "leaf"


def _operation(n):
    """The operation with its scalar operands in place: "× 2  multiply"."""
    scalars = [number(p) for p in n.operands if type(p) is not Node and np.size(p) == 1]
    return " ".join([SYMBOLS.get(n.primitive.name, ""), *scalars, " " + n.primitive.name]).strip()


def _shape(x):
    return str(tuple(np.shape(x))) if np.ndim(x) else ""


def _label(lines, graphviz):
    return "\\n".join(graphviz.escape(line) for line in lines if line)


def number(value):
    """picture.number, of a value wherever it lies."""
    return number_of(at(value, "cpu") if type(value) is Resident else value)
