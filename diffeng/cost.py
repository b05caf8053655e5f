"""What a graph costs: operations and bytes, counted node by node, and what each method would cost for its gradient.

One operation: an addition, multiplication or elementary function on one entry. Bytes: what is written, every node once.
Nothing is run: derivatives are recorded by shape only.
"""
import math

import numpy as np

from .graph import Adjoint, adjoint
from .nodes import Node, reachable
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
    size = math.prod(node.shape)
    return max([size] + [math.prod(s) for s in shapes[:1]]) if node.primitive.kind in ("reduce", "opaque") else size


def count(nodes):
    """(operations, bytes written) of nodes."""
    return sum(map(operations, nodes)), sum(math.prod(n.shape) * n.dtype.itemsize for n in nodes if n.primitive.kind not in _FREE)


def cost(graph):
    """{"operations", "bytes", "methods": {method: {"operations", "bytes"}}}: of the graph, and of value and gradient by each method (scalar outputs only)."""
    primal = [n for n in graph.order if n.primitive.kind not in ("input", "constant")]
    total, written = count(primal)
    methods = {}
    inputs = [n for n in graph.input_nodes if n.dtype.kind == "f"]
    if len(graph.output_nodes) == 1 and graph.output_nodes[0].shape == () and graph.output_nodes[0].dtype.kind == "f" and inputs:
        known = {id(n) for n in graph.order}
        for method in ("symbolic", "reverse"):
            more = [n for n in reachable(adjoint(graph.output_nodes, inputs, method, values=False)) if id(n) not in known]
            methods[method] = _plus(total, written, *count(more), 1)
        one = [n for n in reachable(_direction(graph, inputs)) if id(n) not in known]
        methods["forward"] = _plus(total, written, *count(one), sum(math.prod(n.shape) for n in inputs))
    return {"operations": total, "bytes": written, "methods": methods}


def _plus(operations, written, more, further, times):
    return {"operations": operations + more * times, "bytes": written + further * times}


def _direction(graph, inputs):
    """The nodes that one forward direction adds."""
    from . import forward_mode
    tracing = Adjoint(False)
    chosen = {id(n) for n in inputs}
    seeds = [tracing.input(None, "direction", (1,) + n.shape, n.dtype) if id(n) in chosen else None for n in graph.input_nodes]
    _, tangents = forward_mode.push(lambda *x: [graph.evaluate(x)[id(graph.output_nodes[0])]], [tracing.tracer(n) for n in graph.input_nodes], seeds)
    return [t.node for t in tangents if t is not None]
