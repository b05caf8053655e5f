"""One run of a user's function, recorded: where its arguments entered, what came out, and how both were nested.

What it is: `record(fun, args)`, on which graph.trace and jit stand; and what records without values: `Outline` for a compiler, `Body` what a loop does in each turn.
What it is not: a derivative takes flat leaves and cotangents (trees.Flat, differentiate.Recorded).
"""
import contextvars
import math

import numpy as np

from .buffers import call, unwrap
from .errors import refuse
from .nodes import Node, Tracer, Tracing, reachable
from .traced import Traced, unaliased
from .trees import argument_names, flatten, function_name, in_native_order, returned


outlining = contextvars.ContextVar("outlining", default=None)          # which loops are one operation of what is recorded: see record


def computed(order, values, apply=lambda n, operands: n.primitive(*operands, **n.params)):
    """values, {node: array or traced value}, with those of further nodes, in topological order, computed from them. apply(n, operands): computes one."""
    for n in order:
        if n not in values:
            values[n] = apply(n, [values[x] if type(x) is Node else x for x in n.operands])
    return values


def of_some(fun, numbers, slots):
    """fun(*numbers) as a function of those in some places."""
    def body(*moved):
        every = [*numbers]
        for s, x in zip(slots, moved):
            every[s] = x
        return fun(*every)
    return body


class Body(Tracing):
    """Records a function without values. outer: (a traced value from outside, what stands for it), by what the value is made of now: who reads it again after it was
    written into reads another one. Its free variables become inputs."""

    whole = math.inf

    def __init__(self):
        super().__init__(values=False)
        self.outer = {}

    def apply(self, primitive, operands, params):
        return super().apply(primitive, [self.inside(x) for x in operands], params)

    def inside(self, x):
        x = unwrap(x)
        if not isinstance(x, Traced) or self.mine(x):
            return x
        key = type(x), *[id(getattr(x, name, None)) for name in x._state]
        if key not in self.outer:
            self.outer[key] = unaliased(x), self.input(None, "outer", x.shape, x.dtype)
        return self.outer[key][1]


class Outline(Tracing):
    """Records without computing: for a compiler, which needs shapes. A value that Python looks at is computed then."""

    whole = math.inf

    def __init__(self):
        super().__init__(values=False)
        self._inputs, self._extents = {}, None

    def summed(self, g, x):
        from .kernels.general import Extents, repeated
        self._extents = self._extents or Extents()
        axes = repeated(x.node, g.node, self._extents) if type(x) is Tracer and x.interpreter is self else ()
        return np.add.reduce(g, axis=axes, keepdims=True) if axes else g

    def input(self, value, name, shape=None, dtype=None):
        if value is None or isinstance(value, Traced):
            return super().input(value, name, shape, dtype)
        tracer = super().input(None, name, value.shape, value.dtype)
        self._inputs[tracer.node] = value
        return tracer

    def value(self, node):
        """What it is for these arguments; for others the recording may hold as well."""
        if node.value is None:
            for n in reachable([node]):                          # values stay: the next look goes on from there
                if n.value is None:
                    n.value = self._inputs[n] if n in self._inputs else n.primitive(*[x.value if type(x) is Node else x for x in n.operands], **n.params)
        return node.value

    def look(self, kind, tracer, convert):
        self.value(tracer.node)
        return super().look(kind, tracer, convert)


class Recording:
    """tracing; inputs: Nodes; outputs: Nodes, or constants as they came; rebuild: flat outputs -> the function's structure;
    leaves(args): the values of the inputs."""

    def __init__(self, tracing, inputs, outputs, rebuild, leaves):
        self.tracing, self.inputs, self.outputs, self.rebuild, self.leaves = tracing, inputs, outputs, rebuild, leaves


def enters(leaf):
    """Does this leaf of an argument become an input? Arrays and floats do; Python integers, truth values and strings are constants."""
    return isinstance(leaf, (Traced, float)) or isinstance(leaf, (np.ndarray, np.floating)) and leaf.dtype.kind in "fiub" or on_gpu(leaf)


def on_gpu(x):
    """Is this an array in a GPU's memory? CuPy's, PyTorch's, JAX's and others' say so by __cuda_array_interface__."""
    try:
        return not isinstance(x, (np.ndarray, np.generic, float, int, str, Traced)) and hasattr(x, "__cuda_array_interface__")
    except RuntimeError:                     # PyTorch's answer for a tensor that requires a gradient
        return True


def record(fun, args, tracing=None, whole_loops=None):
    """Run fun(*args) on tracers of these arguments. whole_loops: "graph", where a scan of many turns is one operation, "device", where a
    while_loop is one, too, or "program", where a scan of any turns is."""
    parts, rebuilds, paths = zip(*[flatten(a) for a in args]) if args else ((), (), ())
    names = argument_names(fun, len(args))
    tracing = Tracing() if tracing is None else tracing
    tracing.whole = math.inf                 # what is recorded outlives the run
    inputs, traced_args, where = [], [], []
    for k, (leaves, rebuild, path) in enumerate(zip(parts, rebuilds, paths)):
        new = list(leaves)
        prefix = () if path != [()] and len(args) == 1 else (names[k],)
        for j, leaf in enumerate(map(unwrap, leaves)):
            if enters(leaf):
                value = leaf if isinstance(leaf, Traced) else in_native_order(np.asarray(leaf))[()]
                new[j] = tracing.input(value, ".".join(map(str, prefix + tuple(path[j]))))
                inputs.append(new[j].node)
                if type(leaf) is float:
                    tracing.numbers.add(new[j].node)
                where.append((k, j))
        traced_args.append(rebuild(new))
    token = outlining.set(whole_loops)
    try:
        result = call(fun, traced_args)
    finally:
        outlining.reset(token)
    leaves_out, rebuild_out, _ = flatten(result)
    outputs = []
    for x in map(unwrap, leaves_out):
        outputs.append(x.node if tracing.mine(returned(x, fun)) else x)
    tracing.end()
    if not outputs:
        raise refuse(TypeError, f"{function_name(fun)} returned {result!r}: return a number, an array, or a tuple, list or dict of them (is a return missing?)")

    def leaves_of(new_args):
        if len(new_args) != len(args):
            raise TypeError(f"{function_name(fun)} was recorded with {len(args)} argument(s), and called with {len(new_args)}")
        flat = [flatten(a)[0] for a in new_args]
        for k, (mine, theirs) in enumerate(zip(parts, flat)):
            if len(mine) != len(theirs):
                raise TypeError(f"argument {names[k]!r} has {len(theirs)} leaves, the recording had {len(mine)}")
        return [flat[k][j] for k, j in where]

    return Recording(tracing, inputs, outputs, rebuild_out, leaves_of)
