"""pull, value, gradient: local derivatives as numbers or nodes, and the chain rule over nodes.

What it is: the place where a row of DEFINITION meets operands. sympy's work is remembered by (primitive, operand, pattern of indices) and
the row itself, so another row is differentiated anew.
What it is not: no formula.
"""
import numpy as np
import sympy as sp

from ..checkpointing import recomputing
from ..constants import Exact
from ..errors import refuse
from ..nodes import Node, reachable
from ..traced import Traced
from ..vocabulary import elementwise as e, reductions, shaping
from ..vocabulary.indexing import Slot, getitem, scatter
from . import index_maps
from .contract import adjoint_plan, sizes_of, value_plan
from .definitions import (DEFINITION, FIRST, REWRITES, Accumulation, Composition, Contraction, Equation, Expansion, Factors, IndexMap, Reduction, Running, Singular, Transform,
                          g as G, k, l, x as X, y as Y)
from .emit import Context, Formula
from .equations import Decomposition, Determinant, Implicit, Orthonormal, recorded
from .fourier import Fourier
from .index_notation import EACH, UNTIL, array_formula, reduction_slope, running_adjoint

FAULTS = {}           # primitive name -> f(slot, contribution) -> contribution: how a test plants a fault
_memo = {}            # (primitive name, slot, ...) -> (row, what was derived from it)


def _row(name):
    row = DEFINITION.get(name)
    if row is None:
        raise refuse(NotImplementedError, f"no definition for {name!r}{{here}}: add a row to DEFINITION in diffeng/symbolic/definitions.py")
    return row


def _remember(row, key, derive):
    found = _memo.get(key)
    if found is None or found[0] is not row:
        found = _memo[key] = (row, derive())
    return found[1]


# ---- formulas of one primitive -------------------------------------------------------------------------------------------

def _rewritten(expression, name, slot):
    for rule in REWRITES:
        if rule.primitive == name and rule.slot == slot:
            expression = expression.subs(rule.before, rule.after)
    return expression


def _arguments(row):
    """The operands' symbols: x, y; where's condition and what else there is come before them."""
    count = row.__code__.co_argcount
    return (X, Y)[:count] if count < 3 else (*FIRST[4 - count:], X, Y)


def derivative_expression(name, slot):
    """The local derivative of an elementwise primitive by operand `slot`, in x, y (the operands) and z (the value).

    >>> derivative_expression("divide", 1)
    -x/y**2
    """
    row = _row(name)
    if not callable(row):
        raise ValueError(f"{name!r} is not elementwise: its derivative is a sum over indices")
    arguments = _arguments(row)
    return _rewritten(sp.diff(row(*arguments), arguments[slot]), name, slot)


def _times(slope):
    """g * slope; into the branches of a choice, so that an infinite g does not meet the 0 of the branch not taken."""
    choice = next((f for f in sp.Mul.make_args(slope) if isinstance(f, sp.Piecewise)), None)
    if choice is None:
        return G * slope
    rest = G * sp.Mul(*[f for f in sp.Mul.make_args(slope) if f is not choice])
    return sp.Piecewise(*[(rest * value, condition) for value, condition in choice.args])


# ---- the local derivative --------------------------------------------------------------------------------------------------

def pull(primitive, slot, g, z, operands, params):
    """The cotangent of operand `slot`: its shape and dtype.

    g, z: cotangent and value of the result; operands: arrays, traced values or Python scalars, mixed as they come.
    Raises NotImplementedError where DEFINITION has no row.

    >>> from diffeng.vocabulary import PRIMITIVES
    >>> x = np.array([1.0, 2.0])
    >>> pull(PRIMITIVES["square"], 0, np.array([1.0, 10.0]), x * x, (x,), {})
    array([ 2., 40.])
    """
    if slot in primitive.held:
        raise primitive.not_held(slot, "{here}")
    x = operands[slot]
    shape, dtype = np.shape(x), getattr(x, "dtype", np.dtype(float))
    if primitive.own is not None:                        # its definition is the function itself
        return primitive.own.through("symbolic", g, operands)[slot]
    row = _row(primitive.name)
    if 0 in np.shape(g) or 0 in shape:
        out = np.zeros(shape, dtype)
    else:
        with np.errstate(all="ignore"):
            out = _PULLED.get(type(row), _pull_elementwise)(row, primitive, slot, g, z, operands, params)
        out = out if isinstance(out, (np.ndarray, np.generic, Traced)) else np.full(np.shape(z), float(out), dtype)
        out = out if np.shape(out) == shape else _unbroadcast(out, shape)
        out = out if out.dtype == dtype else e.astype(out, dtype=dtype)
    fault = FAULTS.get(primitive.name)
    return out if fault is None else fault(slot, out)


def _unbroadcast(a, shape):
    """An operand's entry stands for all entries it was repeated to: their sum. What does not vary along a reduced axis repeats along it."""
    extra = np.ndim(a) - len(shape)
    axes = tuple(range(extra)) + tuple(extra + m for m, length in enumerate(shape) if length == 1 and np.shape(a)[extra + m] != 1)
    a = reductions.sum(a, axis=axes, keepdims=False) if axes else a
    if np.shape(a) == shape:
        return a
    return shaping.reshape(a, shape=shape) if np.size(a) == int(np.prod(shape)) else shaping.broadcast_to(a, shape=shape)


def _prepared(a, dtype, constants):
    """An operand as the formula wants it: in the dtype of the result; constants of one number as Python numbers, which keep their digits."""
    if isinstance(a, Exact) or not hasattr(a, "dtype"):
        return a
    if constants and not isinstance(a, Traced) and a.shape == () and a.dtype.kind in "fiub" and a.dtype.itemsize <= 8:
        return a.item()
    return a if a.dtype == dtype or a.dtype.kind not in "fiu" else e.astype(a, dtype=dtype)


def _values(row, context, operands, needed, **more):
    out = dict(more)
    for symbol, a in zip(_arguments(row), operands):
        if symbol.name in needed:
            out[symbol.name] = _prepared(a, context.dtype, context.lowest is not None)
    return out


def _pull_elementwise(row, primitive, slot, g, z, operands, params):
    formula = _remember(row, (primitive.name, slot), lambda: Formula(_times(derivative_expression(primitive.name, slot))))
    context = Context(np.dtype(z.dtype), (g, z, *operands))
    return formula(context, _values(row, context, operands, formula.symbols, g=g, z=z))


def _reduced(x, params):
    axis = params["axis"] if isinstance(params["axis"], tuple) else (params["axis"],)
    shape = np.shape(x)
    return axis, int(np.prod([shape[a] for a in axis])), tuple(1 if a in axis else m for a, m in enumerate(shape))


def _kept(a, shape):
    return a if np.shape(a) == shape else shaping.reshape(a, shape=shape)


def _pull_reduction(row, primitive, slot, g, z, operands, params):
    def derive():
        return array_formula(_times(_rewritten(reduction_slope(row), primitive.name, slot)))
    formula = _remember(row, (primitive.name, slot), derive)
    (x,) = operands
    axis, count, shape = _reduced(x, params)
    context = Context(np.dtype(z.dtype), (g, z, x), axis, count)
    values = {"n": count, "ddof": params.get("ddof", 0), "g": _kept(g, shape)}
    values |= {"z": _kept(z, shape)} if "z" in formula.symbols else {}
    values |= {"x": _prepared(x, context.dtype, False)} if "x" in formula.symbols else {}
    return formula(context, values)


def _pull_running(row, primitive, slot, g, z, operands, params):
    formula = _remember(row, (primitive.name, slot), lambda: array_formula(_rewritten(running_adjoint(row), primitive.name, slot)))
    (x,) = operands
    axis, count, _ = _reduced(x, params)
    context = Context(np.dtype(z.dtype), (g, z, x), axis, count)
    return formula(context, {"n": count, "g": g, "x": _prepared(x, context.dtype, False)})


def _spec(row, operands, params):
    """The index notation of a contraction at these shapes, and which axes stand still."""
    shapes = [np.shape(a) for a in operands]
    spec = row.subscripts([len(s) for s in shapes], params)
    sizes = sizes_of(spec, shapes, params.get("shape"))
    still = tuple(tuple(m == 1 and sizes[c] != 1 for c, m in zip(term, s)) for term, s in zip(spec.split("->")[0].split(","), shapes))
    return spec, sizes, still


def _pull_contraction(row, primitive, slot, g, z, operands, params):
    spec, _, still = _spec(row, operands, params)
    plan = _remember(row, (primitive.name, slot, spec, still), lambda: adjoint_plan(spec, still, slot))
    factors = {q: _prepared(a, np.dtype(z.dtype), False) for q, a in enumerate(operands)}
    return plan(factors | {"g": g}, np.shape(operands[slot]))


def _pull_map(row, primitive, slot, g, z, operands, params):
    return index_maps.preimage_sum(primitive, row, slot, g, operands, params)


def _pull_accumulation(row, primitive, slot, g, z, operands, params):
    """v[p] goes to psi(p), so its cotangent is g[psi(p)]; psi is what reading at the index gives."""
    if row.has_base and slot == 0:
        return g
    return getitem(g, *operands[1 + row.has_base:], index=params["index"])


def _pull_equation(row, primitive, slot, g, z, operands, params):
    return _remember(row, (primitive.name, None), lambda: Implicit(row)).pull(slot, g, z, operands, **params)


def _pull_factors(row, primitive, slot, g, z, operands, params):
    return _remember(row, (primitive.name, None), lambda: Orthonormal(row)).pull(g, z, *operands, **params)


def _pull_singular(row, primitive, slot, g, z, operands, params):
    return _remember(row, (primitive.name, None), lambda: Decomposition(row)).pull(g, z, *operands)


def _pull_expansion(row, primitive, slot, g, z, operands, params):
    return _remember(row, (primitive.name, None), lambda: Determinant(row)).pull(g, *operands)


def _pull_transform(row, primitive, slot, g, z, operands, params):
    return _remember(row, (primitive.name, None), lambda: Fourier(row)).pull(g, *operands, params)


def _pull_composition(row, primitive, slot, g, z, operands, params):
    output, inputs, values = recorded(row, operands)
    return gradient([output], [g], [inputs[slot]], values.get)[0]


_PULLED = {Reduction: _pull_reduction, Running: _pull_running, Contraction: _pull_contraction, IndexMap: _pull_map, Accumulation: _pull_accumulation,
           Equation: _pull_equation, Factors: _pull_factors, Singular: _pull_singular, Expansion: _pull_expansion, Transform: _pull_transform,
           Composition: _pull_composition}


# ---- the local value ---------------------------------------------------------------------------------------------------------

def value(primitive, operands, params):
    """The primitive computed from its DEFINITION: what shows a wrong row.

    >>> from diffeng.vocabulary import PRIMITIVES
    >>> value(PRIMITIVES["expit"], (np.array([0.0]),), {})
    array([0.5])
    """
    if primitive.own is not None:
        return primitive.own.body(*operands)
    row = _row(primitive.name)
    with np.errstate(all="ignore"):
        out = _value(row, primitive, operands, params)
    if isinstance(out, (np.ndarray, np.generic, Traced)):
        return out
    return np.float64(float(out))


def _value(row, primitive, operands, params):
    name = primitive.name
    dtype = np.result_type(*[a.dtype if hasattr(a, "dtype") else a.value if type(a) is Exact else a for a in operands])
    dtype = dtype if dtype.kind == "f" or name in ("astype", "copy") else np.dtype(float)
    if isinstance(row, (Reduction, Running)):
        (x,) = operands
        axis, count, shape = _reduced(x, params)
        if isinstance(row, Running):
            formula = _remember(row, (name, None), lambda: array_formula(row.formula(UNTIL, (l, 1, k)), True))
            return formula(Context(dtype, operands, axis, count), {"n": count, "x": x})
        formula = _remember(row, (name, None), lambda: array_formula(_rewritten(row.formula(EACH), name, None)))
        out = formula(Context(dtype, operands, axis, count), {"n": count, "ddof": params.get("ddof", 0), "x": x})
        return out if params["keepdims"] else shaping.reshape(out, shape=tuple(m for a, m in enumerate(shape) if a not in axis))
    if isinstance(row, Contraction):
        spec, sizes, still = _spec(row, operands, params)
        plan = _remember(row, (name, None, spec, still), lambda: value_plan(spec, still))
        return plan(dict(enumerate(operands)), tuple(sizes[c] for c in spec.split("->")[1]))
    if isinstance(row, IndexMap):
        return index_maps.gather(primitive, row, operands, params)
    if isinstance(row, Accumulation):
        return _accumulated(row, operands, params)
    if isinstance(row, Equation):
        return _remember(row, (name, None), lambda: Implicit(row)).value(primitive(*operands, **params), operands, **params)
    if isinstance(row, Factors):
        return _remember(row, (name, None), lambda: Orthonormal(row)).value(primitive(*operands, **params), *operands, **params)
    if isinstance(row, Singular):
        return _remember(row, (name, None), lambda: Decomposition(row)).value(primitive(*operands), *operands)
    if isinstance(row, Expansion):
        return _remember(row, (name, None), lambda: Determinant(row)).value(primitive(*operands), *operands)
    if isinstance(row, Transform):
        return _remember(row, (name, None), lambda: Fourier(row)).value(*operands, params)
    if isinstance(row, Composition):
        return row.formula(*operands)
    formula = _remember(row, (name, None), lambda: Formula(_rewritten(row(*_arguments(row)), name, None)))
    context = Context(dtype, operands)
    out = formula(context, _values(row, context, operands, formula.symbols))
    shape = np.broadcast_shapes(*map(np.shape, operands))
    out = out if np.shape(out) == shape else shaping.broadcast_to(out, shape=shape)          # a barrier's definition does not name its second operand
    return e.astype(out, dtype=params["dtype"]) if name == "astype" else out


def _accumulated(row, operands, params):
    """base + the sum of v at psi, all of them flat."""
    v, arrays = operands[int(row.has_base)], operands[1 + row.has_base:]
    shape = np.shape(operands[0]) if row.has_base else params["shape"]
    size = int(np.prod(shape))
    psi = getitem(np.arange(size).reshape(shape), *arrays, index=params["index"])
    v = shaping.broadcast_to(v, shape=np.shape(psi))
    flat = scatter(shaping.reshape(v, shape=(v.size,)), shaping.reshape(psi, shape=(v.size,)), index=(Slot(0),), shape=(size,))
    out = shaping.reshape(flat, shape=shape)
    return e.add(operands[0], out) if row.has_base else out


# ---- the chain rule ----------------------------------------------------------------------------------------------------------

_CHOOSING = frozenset("where maximum minimum max min".split())                  # each entry that comes out is one of those that go in
_LINEAR = frozenset("add subtract negative copy astype barrier reshape transpose broadcast_to concatenate stack sum mean getitem".split())          # with slopes that are not 0


def _found(node, slot):
    """Is it read, or written over, where a mask or integer arrays say that are plain numbers?"""
    if slot or node.primitive.name not in ("getitem", "setitem"):
        return False
    at = node.operands[1:] if node.primitive.name == "getitem" else node.operands[2:]
    return not any([isinstance(a, (Node, Traced)) for a in at]) and any([isinstance(a, np.ndarray) for a in (*at, *node.params["index"])])


def _through(node, slot, cotangent, here, z, operands):
    """(the contribution to an operand's cotangent, where it can be other than 0, or None: anywhere). here: the same of the node. Where no entry of the operand came out of
    a choice nothing arrives, however steep the operand is there: 0 times an infinite slope is not asked."""
    primitive, params, shape = node.primitive, node.params, np.shape(operands[slot])
    if primitive.name in _CHOOSING or _found(node, slot) or primitive.name in _LINEAR and here is not None:
        reach = np.ones(node.shape, node.dtype) if here is None else e.astype(here, dtype=node.dtype)
        return pull(primitive, slot, cotangent, z, operands, params), e.not_equal(pull(primitive, slot, reach, z, operands, params), 0)
    if here is None or primitive.kind not in ("map", "reduce"):
        return pull(primitive, slot, cotangent, z, operands, params), None
    if primitive.kind == "reduce":
        here, whole = shaping.reshape(here, shape=_reduced(operands[0], params)[2]), shape
    else:                                                # entry by entry, and only then summed
        whole, operands = node.shape, [shaping.broadcast_to(x, shape=node.shape) if k == slot else x for k, x in enumerate(operands)]
    here = shaping.broadcast_to(here, shape=whole)
    contribution = e.where(here, pull(primitive, slot, cotangent, z, operands, params), np.zeros((), cotangent.dtype)[()])
    if whole == shape:
        return contribution, here
    return _unbroadcast(contribution, shape), e.not_equal(_unbroadcast(e.astype(here, dtype=cotangent.dtype), shape), 0)


def gradient(outputs, cotangents, inputs, value_of, at=None):
    """The cotangents of `inputs`, None where an input has no influence.

    outputs, inputs: Nodes. cotangents: one array or traced value an output, of its shape (None: nothing comes in there).
    value_of: Node -> array or traced value. at(node, cotangent): told whose local derivatives come next.
    Every node's cotangent is a named intermediate, so that no formula grows with the graph.
    """
    order = reachable(outputs)
    value_of, at = recomputing(order, value_of, at)
    wanted = {id(node) for node in inputs}
    leads = set(wanted)
    for node in order:
        if any(type(p) is Node and id(p) in leads and node.primitive.carries(q) for q, p in enumerate(node.operands)):
            leads.add(id(node))
    arrived, reached = {}, {}                            # reached: where a cotangent can be other than 0, behind choices

    def arrive(node, contribution, here=None):
        before, others = arrived.get(id(node)), reached.pop(id(node), None)
        arrived[id(node)] = contribution if before is None else e.add(before, contribution)
        if here is not None and (before is None or others is not None):
            reached[id(node)] = here if before is None else e.logical_or(here, others)

    for node, cotangent in zip(outputs, cotangents):
        if cotangent is not None and id(node) in leads:
            arrive(node, cotangent)
    found = {}
    for node in reversed(order):
        cotangent, here = arrived.pop(id(node), None), reached.pop(id(node), None)
        if cotangent is None or node.dtype.kind != "f":
            continue
        if id(node) in wanted:
            found[id(node)] = cotangent
        slots = [q for q, p in enumerate(node.operands) if type(p) is Node and id(p) in leads and p.dtype.kind == "f" and node.primitive.carries(q)]
        if slots:
            if at is not None:
                at(node, cotangent)
            z, operands = value_of(node), tuple([value_of(p) if type(p) is Node else p for p in node.operands])
            every = node.primitive.own.through("symbolic", cotangent, operands) if node.primitive.own is not None else None
            for q in slots:
                arrive(node.operands[q], *_through(node, q, cotangent, here, z, operands) if every is None else (every[q],))
    return [found.get(id(node)) for node in inputs]
