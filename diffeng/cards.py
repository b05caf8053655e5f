"""The card of a primitive: its row in each of the three books, its domain, its formula, and its measured error.

What it is not: no rule is written or used here; rows are quoted from the source text, so the card shows what runs. Why a file: it is the
only place that opens all three books at once, and only to read them.
"""
import ast
import functools
import importlib
import inspect
import textwrap

import numpy as np

from .loading import BadInput
from .vocabulary import PRIMITIVES

RULES = {"forward_mode": "forward_rules", "reverse_mode": "reverse_rules"}          # where a book's rules of more than a line are
BOOKS = (("symbolic", "DEFINITION", "symbolic.definitions"), ("forward", "PUSH", "forward_mode"), ("reverse", "PULL", "reverse_mode"))
POINTS = 256


def card(name):
    """The card as text. Raises BadInput when there is no such primitive.

    >>> print(card("sign"))
    sign(x)
      kind         map: elementwise, with broadcasting
      derivative   0: constant between its jumps; no method needs a row
    """
    primitive = PRIMITIVES.get(name)
    if primitive is None or primitive.kind in ("input", "constant"):
        import difflib
        near = difflib.get_close_matches(name, [k for k, p in PRIMITIVES.items() if p.kind not in ("input", "constant")], 3)
        raise BadInput(f"there is no primitive {name!r}; " + (f"did you mean {' or '.join(near)}?" if near else "docs/vocabulary.md lists them"))
    lines = [_signature(primitive), f"  kind         {_KINDS.get(primitive.kind, primitive.kind)}"]
    if primitive.slots == ():
        held = "held constant" if name == "stop_gradient" else "constant between its jumps"
        return "\n".join(lines + [f"  derivative   0: {held}; no method needs a row"])
    lines.append(f"  derivative   {_by(primitive)}")
    if primitive.domain:
        lines.append("  domain       " + " × ".join(f"({lo:g}, {hi:g})" for lo, hi in primitive.domain) + "   where tests begin")
    lines += _formulas(primitive)
    for method, book, module in BOOKS:
        lines += ["", f"{method}: {book}[{name!r}] in diffeng/{module.replace('.', '/')}.py", textwrap.indent(_row(book, module, name), "    ")]
    return "\n".join(lines + _measured(primitive) + _on_gpu(primitive))


_KINDS = {"map": "map: elementwise, with broadcasting", "reduce": "reduce: along axes", "view": "view: an index map, no arithmetic",
          "contract": "contract: a sum of products",
          "gather": "gather: each entry of the result is an entry of an operand", "scatter": "scatter: entries are put or added at places",
          "linalg": "linalg: of whole matrices, on the last two axes", "opaque": "opaque: computed by NumPy as a whole"}


def _by(primitive):
    known = [k for k in range(_arity(primitive)) if primitive.differentiable(k)]
    return "every operand" if primitive.slots is None and not primitive.held else "operand " + ", ".join(map(str, known))


def _arity(primitive):
    return len(primitive.domain or (0,))


def _operands(primitive):
    """Their names: x and y, or parameters and x."""
    return ["condition", "x", "y"] if primitive.name == "where" else [["x"], ["x", "y"], ["a", "b", "x"], ["a", "b", "c", "x"]][_arity(primitive) - 1]


def _signature(primitive):
    operands = _operands(primitive)
    function = primitive.evaluate
    params = [p.name for p in inspect.signature(function).parameters.values() if p.kind == p.KEYWORD_ONLY] if inspect.isfunction(function) else []
    return f"{primitive.name}({', '.join(operands + params)})"


def _formulas(primitive):
    """d/dx by the symbolic method, for elementwise functions."""
    if primitive.kind != "map" or primitive.name in ("astype", "copy"):
        return []
    import diffeng as de
    names = _operands(primitive)
    symbols = [de.symbols(n, dtype=bool if n == "condition" else float) for n in names]
    graph = de.to_graph(primitive(*symbols), symbols)
    return [f"  d/d{n}         {graph.derivative(k).formula()}" for k, n in enumerate(names) if primitive.differentiable(k)]


def _row(book, module, name):
    """The row's source text, and the text of the functions that it names."""
    source, tree = _parsed(module)
    helpers = _functions(module)
    if module in RULES:
        helpers |= _functions(RULES[module])
    for node in ast.walk(tree):
        if not isinstance(node, ast.Dict):
            continue
        for key, value in zip(node.keys, node.values):
            if isinstance(key, ast.Constant) and key.value == name and _belongs(tree, node, book):
                text = _text(source, value)
                named = [n.id if isinstance(n, ast.Name) else n.attr for n in ast.walk(value)
                         if isinstance(n, ast.Name) or isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "rule"]
                return "\n".join([text] + [_text(*helpers[n]) for n in dict.fromkeys(named) if n in helpers])
    functions = [(text, n) for text, n in helpers.values() if isinstance(n, ast.FunctionDef) for d in n.decorator_list
                 if any(isinstance(c, ast.Constant) and c.value == name for c in ast.walk(d))]
    return "\n".join(_text(*f) for f in functions) or f"(made by a general rule; see diffeng/{module.replace('.', '/')}.py)"


def _functions(module):
    source, tree = _parsed(module)
    return {node.name: (source, node) for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


@functools.cache
def _parsed(module):
    """(text, syntax tree) of a module of ours."""
    source = inspect.getsource(importlib.import_module(f"diffeng.{module}"))
    return source, ast.parse(source)


def _belongs(tree, table, book):
    """Is this dict literal part of a statement that assigns to, or updates, the book?"""
    return any(any(n is table for n in ast.walk(statement)) and any(isinstance(n, ast.Name) and n.id == book for n in ast.walk(statement))
               for statement in tree.body)


def _text(source, node):
    text = ast.get_source_segment(source, node, padded=True) or ""
    first, *rest = text.splitlines()
    return ("\n".join([first.strip(), *textwrap.dedent("\n".join(rest)).splitlines()]) if isinstance(node, (ast.List, ast.Lambda, ast.Dict))
            else textwrap.dedent(text))


def _measured(primitive):
    """Worst error of the derivative in ULP: at seeded points of an elementwise primitive's domain, else at its specimen."""
    import diffeng as de
    from .specimens import specimen
    operands, params, slots = specimen(primitive.name)
    where = "at its specimen (diffeng/specimens.py)"
    if primitive.kind == "map" and len(slots) == len(operands) and not params:
        random = np.random.default_rng(0)
        operands, where = [random.uniform(lo, hi, POINTS) for lo, hi in primitive.domain], f"at {POINTS} seeded points of the domain"

    def fun(*moving):
        given = iter(moving)
        return np.sum(primitive(*[next(given) if k in slots else x for k, x in enumerate(operands)], **params))

    report = de.compare(fun, *[operands[k] for k in slots])
    lines = ["", f"measured {where}, against the judge: the worst derivative, in units of the last place"]
    return lines + [f"    {name:<18} {'-' if seen.ulp is None else format(seen.ulp, '8.3g')} ULP   {seen.verdict}" for name, seen in report.methods.items()]


def _on_gpu(primitive):
    """Its kernels for a GPU at its specimen: that they compile, and what the simulator makes of them."""
    import diffeng as de
    from .kernels.cuda.proof import prove
    from .specimens import specimen
    operands, params, slots = specimen(primitive.name)

    def fun(*moving):
        given = iter(moving)
        return primitive(*[next(given) if k in slots else x for k, x in enumerate(operands)], **params)
    graph = de.trace(fun, *[operands[k] for k in slots])
    try:
        proof = prove(graph.input_nodes, graph.output_nodes, [np.asarray(operands[k]) for k in slots])
    except RuntimeError as error:                # libdevice is not installed
        return ["", f"on a GPU: {error}"]
    if proof.on_host:
        return ["", "on a GPU: computed on the host, by NumPy"]
    if not proof.kernels:
        return ["", "on a GPU: no kernel of its own (a view, or a product by cuBLAS)"]
    compiled = ", ".join(f"{n} for {p}" for p, n in proof.instructions.items())
    return ["", f"on a GPU: {proof.kernels} kernel{'s' * (proof.kernels > 1)}; instructions of PTX: {compiled}",
            f"    the simulator's results are {proof.difference:.3g} ULP from the CPU kernels'"]
