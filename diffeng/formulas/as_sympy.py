"""Graphs as sympy expressions, entry by entry where there are arrays.

What it is: every operation applied to arrays of symbols, in NumPy's own object arrays, so shapes, broadcasting and indexing are NumPy's.

What it is not: the symbolic method (symbolic/), which differentiates definitions in index notation and never expands an array. Nothing here is a derivative.

Why a file: it is the way out to a computer algebra system, and imports it only when it is taken.
"""
import math

import numpy as np

from ..constants import Exact
from ..vocabulary import PRIMITIVES
from .terms import operands_of

_MOST = 2000                     # entries of one array that are worth a symbol each


def to_sympy(graph):
    """The graph as a sympy expression; entry by entry when there are arrays (then a sympy Array, and x of shape (3,) is x_0, x_1, x_2).

    Every operation is applied to arrays of symbols, so this is exact: no entry is left out and no float is made of a constant that has a name. Raises
    ValueError for arrays of more than 2000 entries and TypeError for operations sympy has no word for. Several outputs give a tuple.
    """
    import sympy as sp
    values = {}
    for k in sorted(graph.nodes):
        node = graph.nodes[k]
        shape = tuple(node["shape"])
        if math.prod(shape) > _MOST:
            raise ValueError(f"sympy: {node['primitive']} at {node.get('line') or 'the input'} has shape {shape}, more than {_MOST} entries: trace the "
                             "function at smaller arrays, or use graph.formula(), which keeps arrays whole")
        if node["primitive"] == "input":
            out = np.empty(shape, object)
            for i in np.ndindex(*shape):
                out[i] = sp.Symbol("_".join([str(node["name"]), *map(str, i)]))
        elif node["primitive"] == "constant":
            out = _numbers(node["value"], sp)
        else:
            out = _symbolic(node, [values[u] for u in operands_of(graph, k)], sp)
        out = np.asarray(out, dtype=object) if node["dtype"].kind in "fb" else np.asarray(out)
        values[k] = out if out.shape == shape else np.broadcast_to(out, shape)
    outs = [values[k].item() if values[k].size == 1 and not values[k].shape else sp.Array(values[k].ravel().tolist(), values[k].shape) for k in graph.outputs]
    return outs[0] if len(outs) == 1 else tuple(outs)


def _numbers(value, sp):
    if isinstance(value, Exact):
        return np.array(_exact(value, sp), dtype=object)
    value = np.asarray(value)
    if value.dtype.kind in "iu":
        return value                                       # an index, or an exponent: NumPy's integers do
    out = np.empty(value.shape, object)
    for i in np.ndindex(*value.shape):
        out[i] = _number(value[i].item(), sp)
    return out


def _number(v, sp):
    if isinstance(v, bool):
        return sp.true if v else sp.false
    if isinstance(v, int):
        return sp.Integer(v)
    if not math.isfinite(v):
        return sp.nan if math.isnan(v) else sp.oo if v > 0 else -sp.oo
    top, bottom = v.as_integer_ratio()
    return sp.Rational(top, bottom) if bottom <= 1024 else sp.Float(v, 17)


def _exact(value, sp):
    from ..expressions import read
    words = {"add": sp.Add, "multiply": sp.Mul, "subtract": lambda a, b: a - b, "divide": lambda a, b: a / b,
             "negative": lambda a: -a, "sqrt": sp.sqrt, "log": sp.log}

    def lift(x):
        return sp.pi if isinstance(x, Exact) else sp.Integer(x) if isinstance(x, int) else x
    try:
        return sp.sympify(lift(read(value.name, sp.Symbol, lambda name, *xs: words[name](*map(lift, xs)))))
    except (ValueError, KeyError):
        return sp.Float(value.value, 17)


def _truth(x, sp):
    """A number where a truth value is wanted."""
    return x if _is_truth(x) else sp.Ne(x, 0)


def _count(x, sp):
    """A truth value where a number is wanted: sympy compares the two as things of different kinds."""
    return sp.Piecewise((1, x), (0, True)) if _is_truth(x) else x


def _is_truth(x):
    from sympy.logic.boolalg import Boolean
    return isinstance(x, Boolean) and not x.is_Symbol


_OF_TRUTHS = {"logical_and", "logical_or", "logical_not", "logical_xor"}
_OF_ANYTHING = {"where", "copy", "barrier", "stop_gradient"}


def _table(sp):
    piece = sp.Piecewise
    one = sp.Integer(1)
    return {
        "add": lambda a, b: a + b, "subtract": lambda a, b: a - b, "multiply": lambda a, b: a * b, "divide": lambda a, b: a / b, "negative": lambda a: -a,
        "power": lambda a, b: sp.Pow(a, b), "square": lambda a: a ** 2, "reciprocal": lambda a: one / a, "absolute": sp.Abs, "remainder": sp.Mod,
        "exp": sp.exp, "exp2": lambda a: 2 ** a, "expm1": lambda a: sp.exp(a) - 1, "log": sp.log, "log2": lambda a: sp.log(a) / sp.log(2),
        "log10": lambda a: sp.log(a) / sp.log(10), "log1p": lambda a: sp.log(1 + a), "sqrt": sp.sqrt,
        "cbrt": lambda a: sp.sign(a) * sp.Abs(a) ** sp.Rational(1, 3),
        "logaddexp": lambda a, b: sp.log(sp.exp(a) + sp.exp(b)), "sin": sp.sin, "cos": sp.cos, "tan": sp.tan,
        "arcsin": sp.asin, "arccos": sp.acos, "arctan": sp.atan, "arctan2": sp.atan2, "hypot": lambda a, b: sp.sqrt(a ** 2 + b ** 2),
        "sinh": sp.sinh, "cosh": sp.cosh, "tanh": sp.tanh,
        "arcsinh": sp.asinh, "arccosh": sp.acosh, "arctanh": sp.atanh, "erf": sp.erf, "erfc": sp.erfc, "expit": lambda a: one / (1 + sp.exp(-a)),
        "gammaln": sp.loggamma, "gamma": sp.gamma, "psi": sp.digamma, "zeta": sp.zeta,
        "erfinv": sp.erfinv, "erfcinv": sp.erfcinv, "erfcx": lambda a: sp.exp(a ** 2) * sp.erfc(a), "expi": sp.Ei, "expn": sp.expint,
        "dawsn": lambda a: sp.sqrt(sp.pi) / 2 * sp.exp(-a ** 2) * sp.erfi(a),
        "gammainc": lambda a, b: sp.lowergamma(a, b) / sp.gamma(a), "gammaincc": lambda a, b: sp.uppergamma(a, b) / sp.gamma(a),
        "gamma_density": lambda a, b: b ** (a - 1) * sp.exp(-b) / sp.gamma(a), "betainc": lambda a, b, c: sp.betainc_regularized(a, b, 0, c),
        "beta_density": lambda a, b, c: c ** (a - 1) * (1 - c) ** (b - 1) / sp.beta(a, b), "ellipk": sp.elliptic_k,
        "ellipe": sp.elliptic_e, "hyp2f1": lambda a, b, c, d: sp.hyper((a, b), (c,), d), "jv": sp.besselj, "yv": sp.bessely, "iv": sp.besseli, "kv": sp.besselk,
        "ive": lambda a, b: sp.exp(-sp.Abs(b)) * sp.besseli(a, b), "kve": lambda a, b: sp.exp(b) * sp.besselk(a, b),
        "gauss": lambda a: sp.exp(-a ** 2), "log_expit": lambda a: -sp.log(1 + sp.exp(-a)),
        "logit": lambda a: sp.log(a / (1 - a)), "xlogy": lambda a, b: piece((0, sp.Eq(a, 0)), (a * sp.log(b), True)), "maximum": sp.Max, "minimum": sp.Min,
        "where": lambda c, a, b: piece((a, _truth(c, sp)), (b, True)), "sign": sp.sign, "floor": sp.floor, "ceil": sp.ceiling,
        "floor_divide": lambda a, b: sp.floor(a / b), "less": sp.Lt, "less_equal": sp.Le, "greater": sp.Gt, "greater_equal": sp.Ge,
        "equal": sp.Eq, "not_equal": sp.Ne,
        "logical_and": sp.And, "logical_or": sp.Or, "logical_not": sp.Not, "logical_xor": sp.Xor, "copy": lambda a: a, "barrier": lambda a, b: a, "stop_gradient": lambda a: a,
        "trunc": lambda a: sp.sign(a) * sp.floor(sp.Abs(a)),
    }


def _symbolic(node, operands, sp):
    """One operation on arrays of sympy expressions."""
    name, params = node["primitive"], node["params"]
    lifted = [x if x.dtype == object else np.vectorize(lambda v: sp.Integer(int(v)), otypes=[object])(x) if x.size else x.astype(object) for x in operands]
    rule = _table(sp).get(name)
    if name not in _OF_ANYTHING:
        meant = _truth if name in _OF_TRUTHS else _count
        lifted = [np.asarray(np.frompyfunc(lambda a: meant(a, sp), 1, 1)(x), object) for x in lifted]
    if rule is not None:
        return np.frompyfunc(rule, len(lifted), 1)(*lifted)
    if name == "astype":
        return lifted[0]
    if name in ("getitem", "setitem", "add_at", "scatter"):
        many = 2 if name in ("setitem", "add_at") else 1
        return PRIMITIVES[name].evaluate(*lifted[:many], *[np.asarray(x, int) for x in operands[many:]], **params)
    if name in ("sum", "prod", "mean", "matmul", "dot", "tensordot", "reshape", "transpose", "broadcast_to", "concatenate", "stack", "cumsum", "cumprod", "pad"):
        return PRIMITIVES[name].evaluate(*lifted, **params)
    if name in ("solve", "inv", "det", "slogdet", "cofactor", "cholesky"):
        return _of_matrices(name, lifted, tuple(node["shape"]), sp)
    if name == "einsum":
        return np.einsum(params["subscripts"], *lifted)
    x = lifted[0]
    if name in ("max", "min"):
        return _over_axes(x, params, sp.Max if name == "max" else sp.Min)
    if name == "logsumexp":
        total = np.sum(np.frompyfunc(sp.exp, 1, 1)(x), axis=params["axis"], keepdims=params["keepdims"])
        return np.frompyfunc(sp.log, 1, 1)(total)
    if name == "var":
        n = math.prod(x.shape[k] for k in params["axis"])
        off = x - np.sum(x, axis=params["axis"], keepdims=True) / sp.Integer(n)
        return np.sum(off * off, axis=params["axis"], keepdims=params["keepdims"]) / sp.Integer(n - params["ddof"])
    raise TypeError(f"sympy: {name} at {node.get('line') or 'an unknown line'} has no counterpart in sympy; graph.formula() shows the graph without it")


def _of_matrices(name, operands, shape, sp):
    """Whole matrices, one after the other, by sympy's own."""
    first, out = operands[0], np.empty(shape, object)
    rule = {"solve": lambda a, b: a.LUsolve(b), "inv": lambda a: a.inv(), "det": lambda a: a.det(), "slogdet": lambda a: sp.log(sp.Abs(a.det())),
            "cofactor": lambda a: a.cofactor_matrix(), "cholesky": lambda a: (a.lower_triangular() + a.lower_triangular(-1).T).cholesky(hermitian=False)}[name]
    for at in np.ndindex(first.shape[:-2]):
        answer = rule(*[sp.Matrix(x[at]) for x in operands])
        if isinstance(answer, sp.MatrixBase):
            out[at] = np.array(answer.tolist(), object)
        else:
            out[at] = answer
    return out


def _over_axes(x, params, operate):
    kept = [k for k in range(x.ndim) if k not in params["axis"]]
    flat = np.transpose(x, (*kept, *params["axis"])).reshape([x.shape[k] for k in kept] + [-1])
    out = np.asarray(np.frompyfunc(operate, 2, 1).reduce(flat, axis=-1), dtype=object)
    return out.reshape([1 if k in params["axis"] else x.shape[k] for k in range(x.ndim)]) if params["keepdims"] else out
