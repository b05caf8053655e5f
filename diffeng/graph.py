"""Graph: what was recorded, as a networkx.MultiDiGraph of integers, and the ways to make one: trace, symbols, to_graph.

A graph is derived from nodes in one walk and then frozen: it is what users hold, query, draw, differentiate and print. The engine
itself goes from nodes to numbers without one. Edge keys are operand slots, so x*x has two edges.
"""
import networkx
import numpy as np

from .buffers import unwrap
from .errors import refuse
from .nodes import CONSTANT, Node, Tracer, Tracing, reachable
from .recording import record
from .traced import Traced
from .trees import function_name
from .lines import line_of, modules_of


class Graph(networkx.MultiDiGraph):
    """A recorded function: callable, differentiable, printable.

    graph.nodes[k]: {"primitive", "shape", "dtype", "params", "line", "modules", "value" when known, "name" of an input}; k counts in topological order.
    graph.inputs, graph.outputs: node numbers.

    >>> import numpy as np, diffeng as de
    >>> graph = de.trace(lambda x: x * np.sin(x), 1.0)
    >>> [graph.nodes[k]["primitive"] for k in graph]
    ['input', 'sin', 'multiply']
    >>> float(graph.derivative()(0.0))
    0.0
    """

    def __init__(self, inputs=(), outputs=(), *, name="", rebuild=None, structure=None, **attributes):
        """inputs: Nodes in the order of the arguments; outputs: Nodes, or constants. rebuild: flat outputs -> the function's own structure."""
        super().__init__(**attributes)
        self.input_nodes, self.output_nodes = list(inputs), [o if isinstance(o, Node) else _constant(o) for o in outputs]
        self.order = reachable(self.output_nodes)
        known = {id(n) for n in self.order}
        self.order = [n for n in self.input_nodes if id(n) not in known] + self.order
        self.title, self._rebuild, self._structure = name, rebuild, structure
        self.key = {}                                   # id of a Node -> its number
        self.constants = {}                             # number of a constant -> (the Node it feeds, slot)
        for n in self.order:
            feeds = []
            for slot, p in enumerate(n.operands):
                if isinstance(p, Node):
                    feeds.append((self.key[id(p)], slot))
                elif n.primitive.name != "constant":
                    k = len(self)
                    self.add_node(k, primitive="constant", shape=np.shape(p),
                                  dtype=getattr(p, "dtype", np.dtype(type(p)) if isinstance(p, (float, int, bool)) else np.dtype(float)),
                                  params={}, line=line_of(n.frames), modules=modules_of(n.frames), frames=n.frames, value=p)
                    self.constants[k] = (n, slot)
                    feeds.append((k, slot))
            k = self.key[id(n)] = len(self)
            attributes = dict(primitive=n.primitive.name, shape=n.shape, dtype=n.dtype, params=n.params, line=line_of(n.frames), modules=modules_of(n.frames),
                              frames=n.frames)
            if n.value is not None:
                attributes["value"] = n.value
            if n.primitive.name == "input":
                attributes["name"] = n.params["name"]
            self.add_node(k, **attributes)
            for source, slot in feeds:
                self.add_edge(source, k, key=slot)
        self.inputs = [self.key[id(n)] for n in self.input_nodes]
        self.outputs = [self.key[id(n)] for n in self.output_nodes]
        if self.order:
            networkx.freeze(self)

    # ---- evaluation -----------------------------------------------------------------------------------------------------

    def evaluate(self, leaves):
        """Flat input values -> {id of a Node: value}, node by node. Traced values pass: a graph is code like any other."""
        env = {id(n): x for n, x in zip(self.input_nodes, leaves)}
        for n in self.order:
            if id(n) not in env:
                if n.primitive.name == "input":
                    raise refuse(TypeError, f"the graph was called without a value for {n.params['name']!r}")
                env[id(n)] = n.primitive(*[env[id(p)] if isinstance(p, Node) else p for p in n.operands], **n.params)
        return env

    def __call__(self, *args):
        """The outputs at new arguments, in the function's own structure; shapes must be those of the trace."""
        leaves = self._leaves(args)
        env = self.evaluate(leaves)
        out = [env[id(n)] for n in self.output_nodes]
        return self._rebuild(out) if self._rebuild is not None else out[0] if len(out) == 1 else tuple(out)

    def _leaves(self, args):
        leaves = list(args) if self._structure is None else self._structure(args)
        if len(leaves) != len(self.input_nodes):
            raise TypeError(f"{self.title or 'the graph'} takes {len(self.input_nodes)} input(s) ({', '.join(n.params['name'] for n in self.input_nodes)}), "
                            f"got {len(leaves)}")
        out = []
        for x, n in zip(leaves, self.input_nodes):
            x = x if isinstance(x, Traced) else np.asarray(x)
            x = x.astype(n.dtype) if x.dtype != n.dtype and (x.dtype.kind in "iub" or n.dtype.kind == x.dtype.kind) else x
            if tuple(x.shape) != n.shape:
                raise ValueError(f"input {n.params['name']!r} has shape {tuple(x.shape)}, the graph was made for {n.shape}: "
                                 "trace the function again at the new shapes")
            out.append(x if isinstance(x, Traced) else x[()])
        return out

    # ---- derivatives, as graphs ----------------------------------------------------------------------------------------------

    def derivative(self, wrt=0, method="symbolic"):
        """The gradient as another graph of the same inputs: differentiate it again, print it, draw it, compile it.

        wrt: the number or name of an input, or a tuple of them (then the result is a tuple). method: "symbolic", "reverse" or "forward".
        The graph must have one scalar output (else TypeError). Raises ValueError for another method, and for an input that there is not.

        >>> import diffeng as de
        >>> print(de.parse("x**3*y").derivative("x").formula())
        3·y·x²
        """
        from .differentiate import METHODS
        if method not in METHODS:
            raise ValueError(f"method={method!r}: choose one of {', '.join(METHODS)}")
        if len(self.output_nodes) != 1 or self.output_nodes[0].shape != () or self.output_nodes[0].dtype.kind != "f":
            shapes = ", ".join(str(n.shape) for n in self.output_nodes)
            raise TypeError(f"derivative needs one scalar floating-point output, the graph has {len(self.output_nodes)} of shape {shapes}: "
                            "sum it, or use diffeng.jacobian(graph)")
        chosen = [self._input(w) for w in (wrt if isinstance(wrt, (tuple, list)) else (wrt,))]
        found = _forward_derivative(self, chosen) if method == "forward" else adjoint(self.output_nodes, chosen, method)
        return Graph(self.input_nodes, found, name=f"derivative of {self.title or 'the graph'}", structure=self._structure)

    def _input(self, w):
        names = [n.params["name"] for n in self.input_nodes]
        if isinstance(w, str):
            if w not in names:
                raise ValueError(f"the graph has no input {w!r}; it has {', '.join(names)}")
            return self.input_nodes[names.index(w)]
        if not -len(names) <= w < len(names):
            raise ValueError(f"wrt={w}: the graph has {len(names)} input(s): {', '.join(names)}")
        return self.input_nodes[w]

    # ---- other faces: each lives in its own room ---------------------------------------------------------------------------------

    def formula(self):
        """Readable mathematics, as text.

        >>> import diffeng as de
        >>> print(de.parse("sin(x)^2/y").formula())
        sin(x)²/y
        """
        from . import formulas
        return formulas.formula(self)

    def latex(self):
        """The formula in LaTeX, without dollar signs."""
        from . import formulas
        return formulas.latex(self)

    def sympy(self):
        """The graph as a sympy expression."""
        from . import formulas
        return formulas.to_sympy(self)

    def source(self, language="numpy"):
        """Stand-alone code: "numpy", "numba" or "c"."""
        from . import formulas
        return formulas.source(self, language)

    def written_out(self):
        """This graph, or where it has functions with rules of their own (de.custom) one of what they compute."""
        if all([n.primitive.own is None for n in self.order]):
            return self                                      # the same graph, with what is known of it
        from .own_rules import inlined
        return Graph(self.input_nodes, inlined(self.output_nodes), name=self.title, structure=self._structure)

    def compile(self, device="cpu"):
        """The graph as a compiled Program for "cpu" or "cuda" (see jit); called with the flat inputs, it returns the list of outputs."""
        from .devices import program_maker
        return program_maker(device)(self.input_nodes, self.output_nodes)

    def cost(self):
        """A Cost: operations and bytes, counted from shapes, for the graph and for value and gradient by each method; the peak memory of compiled programs.

        >>> import numpy as np, diffeng as de
        >>> cost = de.trace(lambda x: np.sum(np.exp(x)), np.ones(1000)).cost()
        >>> cost.operations, cost.methods["reverse"].operations, cost.methods["reverse"].peak
        (2000, 3000, 0)
        """
        from .cost import cost
        return cost(self)

    def picture(self, values=None, adjoints=None, marks=None, detail="auto"):
        """A graphviz.Digraph of the graph. values, adjoints: {node number: array}; by default the values known from the trace."""
        from . import picture
        return picture.draw(self, values=values, adjoints=adjoints, marks=marks, detail=detail, title=self.title or None)

    def save(self, path, **options):
        """Draw into a file: .svg, .png, .pdf, .html or .dot."""
        from . import picture
        return picture.render(self.picture(**options), path)

    def _repr_svg_(self):
        from . import picture
        return picture.svg(self.picture())

    def _repr_latex_(self):
        return f"${self.latex()}$"


def _constant(value):
    value = np.asarray(value)[()]
    return Node(CONSTANT, (value,), {}, value, np.shape(value), value.dtype, ())


def adjoint(outputs, inputs, method="reverse", values=True):
    """Nodes of the gradient of one scalar output with respect to inputs, recorded on the nodes of the primal itself.

    values=False: record shapes only, compute nothing (for compilation).
    """
    from .differentiate import backward
    tracing = Adjoint(values)
    seed = np.ones((), outputs[0].dtype)[()]
    found = backward(method).gradient(outputs, [seed], inputs, tracing.tracer, at=tracing.stand_at)
    return [leaf_node(g, n) for g, n in zip(found, inputs)]


def leaf_node(g, like):
    """The Node of a result, recorded or constant; zeros in the shape of `like` where there is none."""
    if g is None:
        return _constant(np.zeros(like.shape, like.dtype))
    g = unwrap(g)
    return g.node if isinstance(g, Tracer) else _constant(g if like is None else np.broadcast_to(g, like.shape))


class Adjoint(Tracing):
    """A tracing that goes on from nodes that exist: what it records stands where the primal operation stands."""

    def tracer(self, node):
        return Tracer(self, node)

    def stand_at(self, node, _):
        self.frames = node.frames

    def look(self, kind, tracer, convert):
        """What a rule of the user's looks at is computed then, where it comes from values of the primal."""
        for n in reachable([tracer.node]):
            operands = [x.value if type(x) is Node else x for x in n.operands]
            if n.value is None and operands and not any([x is None for x in operands]):
                n.value = n.primitive(*operands, **n.params)
        return super().look(kind, tracer, convert)


def _forward_derivative(graph, chosen):
    """Forward mode run on tracers: one direction an input entry, pushed through the graph."""
    from . import forward_mode
    tracing = Adjoint(True)
    tracers = [tracing.tracer(n) for n in graph.input_nodes]
    found = []
    for node in chosen:
        n = int(np.prod(node.shape, dtype=int))
        seeds = [np.eye(n, dtype=node.dtype).reshape((n,) + node.shape) if m is node else None for m in graph.input_nodes]
        _, tangents = forward_mode.push(lambda *x: [graph.evaluate(x)[id(graph.output_nodes[0])]], tracers, seeds)
        found.append(leaf_node(None if tangents[0] is None else np.reshape(tangents[0], node.shape), node))
    return found


# ---- making graphs --------------------------------------------------------------------------------------------------------------------

def trace(fun, *args):
    """Record fun at args: a Graph. Every array or float among the arguments becomes an input that carries its name. Raises TypeError where fun is no function.

    >>> import numpy as np, diffeng as de
    >>> print(de.trace(lambda x, y: np.sum(x * y), np.ones(3), np.ones(3)).formula())
    Σ(x ⊙ y)
    """
    if not callable(fun):
        raise TypeError(f"trace needs a function to record, not {type(fun).__name__}: the trace of a matrix is x.trace(), or np.trace(x)")
    recording = record(fun, args, whole_loops="graph")
    graph = Graph(recording.inputs, recording.outputs, name=function_name(fun), rebuild=recording.rebuild, structure=recording.leaves)
    graph.looks = recording.tracing.looks
    return graph


_symbols = Tracing()


def symbols(names, shape=(), dtype=float):
    """Named inputs without values, for expressions: x, y = symbols("x y"). A single name gives a single symbol. All have the shape and dtype that are given.
    Raises ValueError for names that are no identifiers.

    >>> import diffeng as de
    >>> x, y = de.symbols("x y")
    >>> print(de.to_graph(de.sin(x) * y).formula())
    sin(x)·y
    """
    split = names.replace(",", " ").split() if isinstance(names, str) else ()
    if not split or not all(n.isidentifier() for n in split):
        raise ValueError(f"symbols({names!r}): give identifiers separated by spaces or commas")
    made = tuple(_symbols.input(None, n, shape, dtype) for n in split)
    return made[0] if len(made) == 1 else made


def to_graph(expression, inputs=None):
    """The Graph of an expression of symbols (or a tuple of expressions). inputs: symbols in the order of the arguments; by default as they were made.
    Raises TypeError where there is no symbol in the expression, or inputs are none.

    >>> import diffeng as de
    >>> x, y = de.symbols("x y")
    >>> float(de.to_graph(x / y, inputs=(y, x))(2.0, 3.0))
    1.5
    """
    outputs = expression if isinstance(expression, (tuple, list)) else (expression,)
    if not any(isinstance(x, Tracer) for x in outputs):
        raise TypeError("to_graph needs an expression of symbols: x, y = diffeng.symbols('x y'); diffeng.to_graph(diffeng.sin(x) * y)")
    nodes = [x.node if isinstance(x, Tracer) else x for x in outputs]
    if inputs is not None and not (isinstance(inputs, (tuple, list)) and all(isinstance(s, Tracer) for s in inputs)):
        raise TypeError("to_graph: inputs are symbols in a tuple or list, as diffeng.symbols makes them: inputs=(x, y)")
    given = [s.node for s in inputs] if inputs is not None else [n for n in reachable(nodes) if n.primitive.name == "input"]
    return Graph(given, nodes, name="expression")
