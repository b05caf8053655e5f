"""What a graph costs: operations and bytes, counted node by node, and what each method would cost for its gradient.

One operation: an addition, multiplication or elementary function on one entry; a product of matrices (m, k) and (k, n) has 2 m k n. Bytes: what is written,
every node once. Nothing is run: derivatives are recorded by shape only.

The peak is what the compiler's planner of memory says (kernels/memory.py): what a compiled program needs beside its inputs and results while it runs.
"""
import math

import numpy as np

from .graph import Adjoint, adjoint
from .nodes import Node, reachable
from .vocabulary import fourier, linalg
from .vocabulary.contraction import subscripts

_FREE = ("view", "input", "constant")


def operations(node):
    """Operations of one node, from shapes alone."""
    if node.primitive.kind in _FREE:
        return 0
    shapes = [p.shape if isinstance(p, Node) else np.shape(p) for p in node.operands]
    if node.primitive.kind == "contract":
        inputs, out = subscripts(node.primitive.name, [len(s) for s in shapes], node.params).split("->")
        size = {}
        for term, shape in zip(inputs.split(","), shapes):
            for c, n in zip(term, shape):
                size[c] = max(n, size.get(c, 0))
        total = math.prod(size.values())
        return total * max(2, len(shapes)) if len(set(inputs) - set(out)) or len(shapes) > 1 else total
    if node.primitive.name in fourier.NAMES:
        return fourier.work(max([node.shape, *shapes], key=math.prod), node.params["axes"])
    if node.primitive.kind == "linalg":
        return linalg.work(node.primitive.name, shapes)
    if node.primitive.own is not None and node.primitive.own.whole:
        return node.primitive.own.length * sum(map(operations, node.primitive.own.order))
    size = math.prod(node.shape)
    return max([size] + [math.prod(s) for s in shapes[:1]]) if node.primitive.kind in ("reduce", "opaque") else size


def count(nodes):
    """(operations, bytes written) of nodes."""
    return sum(map(operations, nodes)), sum(math.prod(n.shape) * n.dtype.itemsize for n in nodes if n.primitive.kind not in _FREE)


class Cost(dict):
    """operations: count. bytes: written, if every operation writes its result. methods: {method: Cost of value and gradient}, of graphs with one scalar output.
    peak: bytes that the compiled program needs at once beside its inputs and results (planned when asked for, nothing is compiled); None for forward mode,
    which pushes its directions in chunks."""

    def __init__(self, operations, bytes, methods=None, graph=None):
        super().__init__(operations=operations, bytes=bytes, **({} if methods is None else {"methods": methods}))
        self._graph = graph

    operations = property(lambda self: self["operations"])
    bytes = property(lambda self: self["bytes"])
    methods = property(lambda self: self.get("methods", {}))

    @property
    def peak(self):
        if "peak" not in self:
            from .devices import written_out
            from .kernels import Program
            self["peak"] = None if self._graph is None else Program.peak(self._graph[0], written_out(self._graph[1], split=True))
        return self["peak"]

    def __str__(self):
        lines = [f"{'':30}{'operations':>18}{'bytes written':>18}{'peak bytes':>16}"]
        for name, c in {"the function": self, **{f"value and gradient, {m}": c for m, c in self.methods.items()}}.items():
            lines.append(f"{name:30}{c.operations:>18,}{c.bytes:>18,}{'-' if c.peak is None else format(c.peak, ','):>16}")
        return "\n".join(lines)


def cost(graph):
    """The Cost of a graph, and of value and gradient by each method (scalar outputs only)."""
    primal = [n for n in graph.order if n.primitive.kind not in ("input", "constant")]
    total, written = count(primal)
    methods = {}
    inputs = [n for n in graph.input_nodes if n.dtype.kind == "f"]
    if len(graph.output_nodes) == 1 and graph.output_nodes[0].shape == () and graph.output_nodes[0].dtype.kind == "f" and inputs:
        known = {id(n) for n in graph.order}
        for method in ("symbolic", "reverse"):
            gradient = adjoint(graph.output_nodes, inputs, method, values=False)
            more, further = count([n for n in reachable(gradient) if id(n) not in known])
            methods[method] = Cost(total + more, written + further, graph=(graph.input_nodes, [*graph.output_nodes, *gradient]))
        more, further = count([n for n in reachable(_direction(graph, inputs)) if id(n) not in known])
        directions = sum(math.prod(n.shape) for n in inputs)
        methods["forward"] = Cost(total + more * directions, written + further * directions)
    return Cost(total, written, methods, (graph.input_nodes, graph.output_nodes))


def _direction(graph, inputs):
    """The nodes that one forward direction adds."""
    from . import forward_mode
    tracing = Adjoint(False)
    chosen = {id(n) for n in inputs}
    seeds = [tracing.input(None, "direction", (1,) + n.shape, n.dtype) if id(n) in chosen else None for n in graph.input_nodes]
    _, tangents = forward_mode.push(lambda *x: [graph.evaluate(x)[id(graph.output_nodes[0])]], [tracing.tracer(n) for n in graph.input_nodes], seeds)
    return [t.node for t in tangents if t is not None]
