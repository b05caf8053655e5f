"""Sums and products over indices: differentiated by sympy, written as array operations.

sympy differentiates Sum(A[a,b]*B[b,c], ...) by A[r0,r1] and answers with Kronecker deltas. Here the deltas collapse the sums (indices
are taken to be in range), and what is left is written with primitives: a matrix product again, where it was one.
Reductions have two multi-indices, i for the axes that stay and k for those that go, so that one row serves every rank.

What it is not: no rule of differentiation.
Why a file: it is the tensor half of the witness, and with contract.py the only place that knows axes.
"""
import numpy as np
import sympy as sp

from ..vocabulary import elementwise as e, reductions, shaping
from ..vocabulary.indexing import getitem
from .definitions import i, k, l, n, r
from .emit import Formula

X, G = sp.IndexedBase("x"), sp.IndexedBase("g")
ENTRY, EACH, UNTIL = X[i, r], X[i, k], X[i, l]


# ---- deltas -----------------------------------------------------------------------------------------------------------------

def collapse(expression):
    """Sum(F(delta(k, r)), k) = F' at k = r + Sum(F(0), k), for F is affine in the delta: of every sum, the innermost first."""
    def one(term):
        body, limits = term.function, term.limits[0]
        delta = next((d for d in body.atoms(sp.KroneckerDelta) if d.has(limits[0])), None)
        if delta is None:
            return _linear(body, limits)
        t = sp.Dummy("t")
        body = body.xreplace({delta: t})
        return sp.diff(body, t).xreplace({limits[0]: r}) + _linear(body.xreplace({t: sp.Integer(0)}), limits)
    return expression.replace(lambda term: isinstance(term, sp.Sum), one)


def _linear(body, limits):
    """The sum of a sum is the sum of the sums, and factors without k go before it: so Sum(x - Sum(x)/n) is seen to be 0."""
    out = sp.Integer(0)
    for term in sp.Add.make_args(sp.expand(body)):
        factor, rest = term.as_independent(limits[0], as_Add=False)
        out += factor * (sp.Sum(rest, limits) if rest != 1 else limits[2] - limits[1] + 1)
    return out


def reduction_slope(row):
    """d value[i] / d x[i, r]: in x[i, r], n, and sums over k."""
    return collapse(sp.diff(row.formula(EACH), ENTRY))


def running_adjoint(row):
    """d/d x[i, r] of Sum(g[i, k] * value[i, k], k). The delta stands in a sum that ends at k: it is met when r <= k, so the outer sum begins at r."""
    whole = sp.diff(sp.Sum(G[i, k] * row.formula(UNTIL, (l, 1, k)), (k, 1, n)), ENTRY)
    inner = next(t for t in whole.function.atoms(sp.Sum) if t.limits[0][2] == k)
    index = inner.limits[0][0]
    met = sp.diff(inner.function.xreplace({sp.KroneckerDelta(index, r): sp.Symbol("t")}), sp.Symbol("t")).xreplace({index: r})
    constant, rest = whole.function.xreplace({inner: met}).as_independent(k, as_Add=False)
    return constant * sp.Sum(rest, (k, r, n))


# ---- what sums and products are in NumPy ---------------------------------------------------------------------------------------

def _over(reduction):
    return lambda context, x: reduction(x, axis=context.axis, keepdims=True)


def _extreme(reduction):
    return lambda context, x: e.stop_gradient(reduction(x, axis=context.axis, keepdims=True))


def _shift(context, x):
    if context.count == 0:
        return 0.0
    top = e.stop_gradient(reductions.max(x, axis=context.axis, keepdims=True))
    return e.where(e.isfinite(top), top, np.zeros((), top.dtype))


def _merged(x, axis):
    """The axes of a reduction as one, last: (kept..., count), and the way back."""
    order = (*[a for a in range(np.ndim(x)) if a not in axis], *axis)
    moved = x if order == tuple(range(len(order))) else shaping.transpose(x, axes=order)
    shape, kept = np.shape(moved), np.ndim(x) - len(axis)

    def back(y):
        y = shaping.reshape(y, shape=shape) if len(axis) != 1 else y
        return y if moved is x else shaping.transpose(y, axes=tuple(int(a) for a in np.argsort(order)))
    flat = shaping.reshape(moved, shape=(*shape[:kept], int(np.prod(shape[kept:])))) if len(axis) != 1 else moved
    return flat, back


def _part(x, *ends, step=None):
    """x[..., start:stop:step]"""
    return getitem(x, index=(Ellipsis, slice(*(ends or (None, None)), step)))


def _join(*parts):
    return shaping.concatenate(*parts, axis=np.ndim(parts[0]) - 1)


def _product_before(x):
    """(..., n) -> (..., n): the product of all entries before each one."""
    return reductions.cumprod(_join(np.ones((*np.shape(x)[:-1], 1), x.dtype), _part(x, None, -1)), axis=np.ndim(x) - 1)


def _before(context, x):
    flat, back = _merged(x, context.axis)
    return back(_product_before(flat))


def _after(context, x):
    flat, back = _merged(x, context.axis)
    return back(_part(_product_before(_part(flat, step=-1)), step=-1))


def _tail_sum(context, g):
    """Sum(g[k], k = r..n)"""
    flat, back = _merged(g, context.axis)
    return back(_part(reductions.cumsum(_part(flat, step=-1), axis=np.ndim(flat) - 1), step=-1))


def _tail_products(context, g, x):
    """Sum(g[k] * Product(x[l], l = r+1..k), k = r..n), which is s[r] = g[r] + x[r+1] s[r+1]: by doubling, so no division meets a zero."""
    (s, back), (flat, _) = _merged(g, context.axis), _merged(x, context.axis)
    a, step = _join(_part(flat, 1, None), _part(flat, None, 1)), 1
    while step < context.count:                         # s[r] reaches to r + step, and a[r] is the product of x[r+1 .. r+step]
        s = _join(_part(s, None, -step) + _part(a, None, -step) * _part(s, step, None), _part(s, -step, None))
        a = _join(_part(a, None, -step) * _part(a, step, None), _part(a, -step, None))
        step *= 2
    return back(s)


_NUMPY = {"Sum": _over(reductions.sum), "Product": _over(reductions.prod), "largest": _extreme(reductions.max), "smallest": _extreme(reductions.min),
          "shift": _shift, "before": _before, "after": _after, "tail_sum": _tail_sum, "tail_products": _tail_products}
_RUNNING = {"Sum": lambda context, x: reductions.cumsum(x, axis=context.axis[0]), "Product": lambda context, x: reductions.cumprod(x, axis=context.axis[0])}
_ALIKE = {k: r, l: r}                     # x[i, k] under a sum and x[i, r] outside of it are the same array


def array_formula(expression, running=False):
    """A Formula of x and g as whole arrays, reduced axes kept with length 1. running: sums and products end at k."""
    product, xl = sp.Function("product"), UNTIL
    expression = expression.replace(lambda t: isinstance(t, sp.Product), lambda t: product(t.function.xreplace({k: l, r: l}), *t.limits[0][1:]))
    expression = expression.xreplace({product(xl, 1, r - 1): sp.Function("before")(ENTRY), product(xl, r + 1, n): sp.Function("after")(ENTRY)})
    expression = expression.xreplace({sp.Sum(G[i, k], (k, r, n)): sp.Function("tail_sum")(G[i, r]),
                                      sp.Sum(G[i, k] * product(xl, r + 1, k), (k, r, n)): sp.Function("tail_products")(G[i, r], ENTRY)})
    expression = expression.replace(product, lambda f, low, high: sp.Product(f, (l, low, high)))
    return Formula(expression, _NUMPY | (_RUNNING if running else {}), _ALIKE)
