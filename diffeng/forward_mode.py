"""Forward mode: dual numbers that run through the user's own function.

What it is: PUSH, the book of tangent rules, written from the inputs of a primitive; `Dual`, a value with the tangent it moves
along; `push`, which runs a function on them. There is no graph: a Dual may hold arrays (the independent witness), other Duals
(derivatives of derivatives; levels keep them apart), traced values (a forward mode that compiles) or 100-digit arrays.

What it is not: no public face (differentiate.py), no pullback, nothing of the other two books, which differentiate the same
primitives from other starting points.

Why a file: it is one of the three witnesses, and a witness must be readable alone.

A tangent has one more axis in front than its primal, the axis of directions: x (...) moves along dx (K, ...) in K directions at once.
An operand that does not move has no tangent, and no row is called for it: a tangent of zeros would meet infinities.

A row: PUSH[name][k](dx, x, y, **params) is the tangent of the result from the tangent dx of operand k alone; x, y are all operands.
Rows of elementwise primitives get dx with axes of length 1 inserted behind the first, so that it broadcasts against the result; their
results may be smaller than the tangent (K, *result.shape) and are broadcast to it. All other rows take care of the first axis themselves.
Row and comment are in the terms of the mathematics, for every arithmetic: fractions are divisions, irrational constants are Exact.

>>> import numpy as np
>>> (y,), (dy,) = push(lambda x: [np.sin(x) * x], [np.array([0.0, 1.0])], [np.eye(2)])
>>> dy.round(6)                             # one row a direction: here the Jacobian, transposed
array([[0.      , 0.      ],
       [0.      , 1.381773]])

References: A. Griewank, A. Walther, Evaluating Derivatives, SIAM 2008, chapter 3; J. Siskind, B. Pearlmutter, Perturbation Confusion and
Referential Transparency, IFL 2005; W. Hillis, G. Steele, Data Parallel Algorithms, CACM 29, 1986 (the scan in cumprod).
"""
import math
from functools import partial

import numpy as np

from .buffers import call, unwrap
from .constants import LOG2, LOG10, SQRT_PI
from .errors import here, refuse
from .nodes import Interpreter, Tracer, exactly
from .traced import ASSIGN, Traced
from .vocabulary import contraction as c, elementwise as e, indexing as ix, reductions as r, shaping as s
from .vocabulary.shaping import aligned

# ---- what rows share: axes -----------------------------------------------------------------------------------------------


def behind(axes):
    """Axes of the primal as axes of its tangent, where the directions come first."""
    return tuple([k + 1 for k in axes])


def moved(x, source, target):
    """x with one axis in another place."""
    source, target = source % x.ndim, target % x.ndim
    order = [k for k in range(x.ndim) if k != source]
    order.insert(target, source)
    return x if source == target else s.transpose(x, axes=tuple(order))


# ---- what rows share: functions of one number ------------------------------------------------------------------------------


def ground(x):
    """What a dual number of any depth stands on: an array, or a traced value of another kind."""
    while isinstance(x, Dual):
        x = x.primal
    return x


def lifted(constant, x):
    """A plain constant in the arithmetic x stands on: what is computed from constants alone must have 100 digits where x has. A compiled program
    has float64's, so for recorded values a constant stays one."""
    x = ground(x)
    if isinstance(constant, Traced) or not isinstance(x, Traced) or isinstance(x, Tracer):
        return constant
    return np.where(False, x, constant)


def one_less(y, x):
    """The exponent y - 1, as x**(y - 1) needs it: 0 instead of -1 where the factor y is 0, and never rounded against 100-digit bases."""
    if isinstance(y, Traced):
        return np.where(np.logical_and(np.equal(x, 0), np.equal(y, 0)), 0, y - 1)       # at x != 0 this may be differentiated by y again
    less = y - 1
    if np.any(np.not_equal(less + 1, y)):
        less = lifted(y, x) - 1
    return np.where(np.equal(y, 0), 0, less) if np.any(np.equal(y, 0)) else less


def log_base(x, y):
    """log(x) in x**y, and 0 at x = 0: 0**y does not move with y > 0."""
    x = lifted(x, y)
    return np.log(np.where(np.equal(x, 0), 1, x))


def length(x, y):
    """hypot(x, y) to divide by: 1 at the origin, where the derivative of hypot is 0."""
    h = np.hypot(x, y)
    return np.where(np.equal(h, 0), 1, h)


def push_tanh(dx, x):
    """dx / cosh(x)^2: 1 - tanh(x)^2 cancels at 18. Of what may be differentiated again by the logistic function: a cosh that overflows has slope inf / inf."""
    return dx * (4 * e.expit(2 * x) * e.expit(-2 * x)) if isinstance(x, Traced) else dx * np.square(1 / np.cosh(x))


def larger(dx, x, y):
    """The tangent of x where x > y, half of it at a tie, else 0. Selected, not multiplied: what is not taken may be infinite."""
    return np.where(np.greater(x, y), dx, np.where(np.equal(x, y), dx / 2, 0))


# ---- reductions and scans -----------------------------------------------------------------------------------------------------


def push_var(dx, x, *, axis, keepdims, ddof):
    n = math.prod([x.shape[k] for k in axis])
    centred = x - r.mean(x, axis=axis, keepdims=True)
    centred = centred - r.mean(centred, axis=axis, keepdims=True)            # the mean was rounded: at 1e8 + noise this is eight digits
    return 2 * r.sum(dx * centred, axis=behind(axis), keepdims=keepdims) / (n - ddof)


def push_prod(dx, x, *, axis, keepdims):
    """sum_k dx_k prod_{j != k} x_j: products of all entries before and all after, so that zeros need no division."""
    kept = tuple([k for k in range(x.ndim) if k not in axis])
    shape = tuple([x.shape[k] for k in kept])
    rows = s.reshape(s.transpose(x, axes=kept + axis), shape=shape + (math.prod([x.shape[k] for k in axis]),))               # (kept..., n)
    moves = s.reshape(s.transpose(dx, axes=(0,) + behind(kept + axis)), shape=dx.shape[:1] + rows.shape)               # (K, kept..., n)

    def before(rows):
        one = np.ones(shape + (1,), x.dtype)
        return s.concatenate(one, r.cumprod(rows, axis=len(shape)), axis=len(shape))[..., :-1]

    out = r.sum(moves * before(rows) * before(rows[..., ::-1])[..., ::-1], axis=(len(shape) + 1,), keepdims=False)         # (K, kept...)
    return s.reshape(out, shape=dx.shape[:1] + tuple([1 if k in axis else n for k, n in enumerate(x.shape)])) if keepdims else out


def push_extreme(top):
    """max or min: the mean of the tangents at the extreme entries, so that ties share equally."""
    def rule(dx, x, *, axis, keepdims):
        hit = np.equal(x, top(x, axis=axis, keepdims=True))
        taken = r.sum(np.where(hit, dx, 0), axis=behind(axis), keepdims=keepdims)
        ties = r.sum(e.astype(hit, dtype=x.dtype), axis=axis, keepdims=keepdims)
        return taken / np.where(np.equal(ties, 0), 1, ties)                      # a NaN equals nothing
    return rule


def push_logsumexp(dx, x, *, axis, keepdims):
    """The mean of the tangents with weights exp(x - z), z = logsumexp(x). Divided by their own sum: when x is large z is rounded, all weights alike.
    Entries of -inf weigh nothing."""
    z = r.logsumexp(x, axis=axis, keepdims=True)
    weight = np.exp(x - np.where(np.isfinite(z), z, 0))
    total = r.sum(weight, axis=axis, keepdims=keepdims)
    return r.sum(dx * weight, axis=behind(axis), keepdims=keepdims) / np.where(np.equal(total, 0), 1, total)


def push_cumprod(dx, x, *, axis):
    """Running products of the dual numbers x + dx, by doubling: after each step an entry has taken in twice as many before it."""
    p, d = moved(x, axis, -1), moved(dx, axis + 1, -1)                       # (..., n), (K, ..., n)
    step = 1
    while step < x.shape[axis]:
        q = s.concatenate(np.ones(p.shape[:-1] + (step,), x.dtype), p[..., :-step], axis=p.ndim - 1)
        f = s.concatenate(np.zeros(d.shape[:-1] + (step,), x.dtype), d[..., :-step], axis=d.ndim - 1)
        p, d = p * q, d * q + p * f
        step *= 2
    return moved(d, -1, axis + 1)


# ---- contractions -----------------------------------------------------------------------------------------------------------------


def push_matmul_left(dx, x, y):
    """dx @ y, where a vector x is a matrix of one row, and leading axes of x and y align from the right."""
    if np.ndim(y) == 1:
        return c.matmul(dx, y)                                                       # (K, ..., n, m) @ (m,) -> (K, ..., n)
    if np.ndim(x) > 1:
        return c.matmul(aligned(dx, np.ndim(y)), y)                                  # (K, ..., n, m) @ (..., m, p) -> (K, ..., n, p)
    row = aligned(s.reshape(dx, shape=(dx.shape[0], 1, dx.shape[1])), np.ndim(y))    # (K, m) -> (K, ..., 1, m)
    return c.matmul(row, y)[..., 0, :]                                               # -> (K, ..., p)


def push_matmul_right(dy, x, y):
    """x @ dy, where a vector y is a matrix of one column."""
    if np.ndim(y) > 1:
        return c.matmul(x, aligned(dy, np.ndim(x)))                                  # (..., n, m) @ (K, ..., m, p); or (m,) @ (K, ..., m, p)
    if np.ndim(x) == 1:
        return c.matmul(dy, x)                                                       # (K, m) @ (m,) -> (K,)
    column = aligned(s.reshape(dy, shape=dy.shape + (1,)), np.ndim(x))               # (K, m) -> (K, ..., m, 1)
    return c.matmul(x, column)[..., 0]                                               # -> (K, ..., n)


def push_tensordot_left(dx, x, y, *, axes):
    return c.tensordot(dx, y, axes=(behind(axes[0]), axes[1]))                       # (K, rest of x, rest of y)


def push_tensordot_right(dy, x, y, *, axes):
    out = c.tensordot(x, dy, axes=(axes[0], behind(axes[1])))                        # (rest of x, K, rest of y)
    return moved(out, np.ndim(x) - len(axes[0]), 0)


def push_einsum(k, dx, *operands, subscripts):
    """The same sum with dx in place of operand k, and one letter more for the directions, in that operand and in the result."""
    inputs, out = subscripts.split("->")
    letter = next(a for a in "zyxwvutsrqponmlkjihgfedcbaZYXWVUTSRQPONMLKJIHGFEDCBA" if a not in subscripts)
    terms = inputs.split(",")
    terms[k] = letter + terms[k]
    return c.einsum(*operands[:k], dx, *operands[k + 1:], subscripts=f"{','.join(terms)}->{letter}{out}")


# ---- parts of arrays ------------------------------------------------------------------------------------------------------------------


def directed(index, arrays):
    """(index for arrays with an axis of directions, where that axis stands: 0 or -1).

    NumPy moves the axes of integer arrays to the front when a slice stands between them (x[i, :, j]); then the directions must come last,
    where no axis moves past them.
    """
    fancy = bool(arrays) or any(isinstance(k, (np.ndarray, bool, np.bool_)) for k in index)
    at = [n for n, k in enumerate(index) if fancy and not (k is None or k is Ellipsis or isinstance(k, slice))]
    if not at or at[-1] - at[0] == len(at) - 1:
        return (slice(None), *index), 0
    return ((*index, slice(None)) if any(k is Ellipsis for k in index) else index), -1


def fitted(dv, shape, arrays, index):
    """dv (K, *v.shape) with the rank of the part x[index] that v is written to: NumPy lets v have fewer axes, or more of length 1."""
    hollow = [a if isinstance(a, np.ndarray) else np.zeros(np.shape(a), int) for a in arrays]
    part = np.broadcast_to(np.zeros(()), shape)[ix.join(index, hollow)]
    own = dv.shape[1:]
    return aligned(dv, part.ndim) if len(own) <= part.ndim else s.reshape(dv, shape=dv.shape[:1] + own[len(own) - part.ndim:])


def push_getitem(dx, x, *arrays, index):
    index, at = directed(index, arrays)
    return moved(ix.getitem(moved(dx, 0, at), *arrays, index=index), at, 0)


def push_setitem_array(dx, x, v, *arrays, index):
    index, at = directed(index, arrays)
    return moved(ix.setitem(moved(dx, 0, at), 0.0, *arrays, index=index), at, 0)


def push_setitem_value(dv, x, v, *arrays, index):
    dv = fitted(dv, np.shape(x), arrays, index)
    index, at = directed(index, arrays)
    still = np.zeros(np.shape(x) + dv.shape[:1] if at else dv.shape[:1] + np.shape(x), dv.dtype)
    return moved(ix.setitem(still, moved(dv, 0, at), *arrays, index=index), at, 0)


def push_scatter(dv, v, *arrays, index, shape):
    dv = fitted(dv, shape, arrays, index)
    index, at = directed(index, arrays)
    return moved(ix.scatter(moved(dv, 0, at), *arrays, index=index, shape=shape + dv.shape[:1] if at else dv.shape[:1] + shape), at, 0)


def push_concatenate(k, dx, *parts, axis):
    """dx among zeros, in the place of part k."""
    start = sum([np.shape(p)[axis] for p in parts[:k]])
    whole = list(dx.shape)
    whole[axis + 1] = sum([np.shape(p)[axis] for p in parts])
    place = (slice(None),) * (axis + 1) + (slice(start, start + dx.shape[axis + 1]),)
    return ix.scatter(dx, index=place, shape=tuple(whole))


class Variadic:
    """Rows of a primitive with any number of operands: row k is the rule with k as its first argument."""

    def __init__(self, rule):
        self.rule = rule

    def __getitem__(self, k):
        return partial(self.rule, k)


# ---- the book ---------------------------------------------------------------------------------------------------------------------------

PUSH = {
    # ---- arithmetic
    "add":          (lambda dx, x, y: dx,                                   lambda dy, x, y: dy),
    "subtract":     (lambda dx, x, y: dx,                                   lambda dy, x, y: -dy),
    "multiply":     (lambda dx, x, y: dx * y,                               lambda dy, x, y: dy * x),
    "divide":       (lambda dx, x, y: dx / y,                               lambda dy, x, y: -(dy / y) * (x / y)),          # y*y may overflow
    "negative":     (lambda dx, x: -dx,),
    "power":        (lambda dx, x, y: dx * (y * x ** one_less(y, x)),       lambda dy, x, y: dy * (x ** y * log_base(x, y))),
    "remainder":    (lambda dx, x, y: dx,                                   lambda dy, x, y: -dy * np.floor_divide(x, y)),
    "square":       (lambda dx, x: dx * (2 * x),),
    "reciprocal":   (lambda dx, x: -dx / x / x,),
    "absolute":     (lambda dx, x: dx * np.sign(x),),                                                                       # 0 at 0

    # ---- exponentials and logarithms
    "exp":          (lambda dx, x: dx * np.exp(x),),
    "exp2":         (lambda dx, x: dx * np.exp2(x) * LOG2,),
    "expm1":        (lambda dx, x: dx * np.exp(x),),
    "log":          (lambda dx, x: dx / x,),
    "log2":         (lambda dx, x: dx / x / LOG2,),
    "log10":        (lambda dx, x: dx / x / LOG10,),
    "log1p":        (lambda dx, x: dx / (1 + x),),
    "sqrt":         (lambda dx, x: dx / (2 * np.sqrt(x)),),                                                                 # inf at 0
    "cbrt":         (lambda dx, x: dx / (3 * np.square(np.cbrt(x))),),
    "logaddexp":    (lambda dx, x, y: dx * e.expit(x - y),                  lambda dy, x, y: dy * e.expit(y - x)),

    # ---- trigonometric and hyperbolic functions
    "sin":          (lambda dx, x: dx * np.cos(x),),
    "cos":          (lambda dx, x: -dx * np.sin(x),),
    "tan":          (lambda dx, x: dx / np.square(np.cos(x)),),
    "arcsin":       (lambda dx, x: dx / np.sqrt((1 - x) * (1 + x)),),                                                       # 1 - x*x cancels near 1
    "arccos":       (lambda dx, x: -dx / np.sqrt((1 - x) * (1 + x)),),
    "arctan":       (lambda dx, x: dx / (1 + np.square(x)),),
    "arctan2":      (lambda dx, x, y: dx * (y / np.hypot(x, y) / np.hypot(x, y)),
                     lambda dy, x, y: -dy * (x / np.hypot(x, y) / np.hypot(x, y))),
    "hypot":        (lambda dx, x, y: dx * (x / length(x, y)),              lambda dy, x, y: dy * (y / length(x, y))),      # 0 at the origin
    "sinh":         (lambda dx, x: dx * np.cosh(x),),
    "cosh":         (lambda dx, x: dx * np.sinh(x),),
    "tanh":         (push_tanh,),
    "arcsinh":      (lambda dx, x: dx / np.hypot(1, x),),
    "arccosh":      (lambda dx, x: dx / (np.sqrt(x - 1) * np.sqrt(x + 1)),),
    "arctanh":      (lambda dx, x: dx / ((1 - x) * (1 + x)),),

    # ---- special functions
    "gauss":        (lambda dx, x: dx * (-2 * x * e.gauss(x)),),
    "erf":          (lambda dx, x: dx * e.gauss(x) * (2 / SQRT_PI),),
    "erfc":         (lambda dx, x: -dx * e.gauss(x) * (2 / SQRT_PI),),
    "expit":        (lambda dx, x: dx * e.expit(x) * e.expit(-x),),
    "log_expit":    (lambda dx, x: dx * e.expit(-x),),
    "logit":        (lambda dx, x: dx / (x * (1 - x)),),
    "gammaln":      (lambda dx, x: dx * e.psi(x),),
    "gamma":        (lambda dx, x: dx * e.gamma(x) * e.psi(x),),
    "psi":          (lambda dx, x: dx * e.zeta(2, x),),                                                                     # the trigamma function
    "zeta":         (None,                                                  lambda dq, s, q: -dq * s * e.zeta(s + 1, q)),   # by s: no formula is known
    "xlogy":        (lambda dx, x, y: dx * np.log(lifted(y, x)),            lambda dy, x, y: dy * (x / np.where((x == 0) & (y == 0), 1, y))),

    # ---- choices
    "maximum":      (lambda dx, x, y: larger(dx, x, y),                     lambda dy, x, y: larger(dy, y, x)),
    "minimum":      (lambda dx, x, y: larger(dx, y, x),                     lambda dy, x, y: larger(dy, x, y)),             # x counts where y is larger
    "where":        (None,                                                  # the condition has no derivative
                     lambda dx, test, x, y: np.where(test, dx, 0),          lambda dy, test, x, y: np.where(test, 0, dy)),

    # ---- the same value, seen otherwise
    "astype":       (lambda dx, x, dtype: e.astype(dx, dtype=dtype),),
    "copy":         (lambda dx, x: dx,),
    "barrier":      (lambda dx, x, y: dx,),                                 # y only says when

    # ---- reductions and scans
    "sum":          (lambda dx, x, axis, keepdims: r.sum(dx, axis=behind(axis), keepdims=keepdims),),
    "mean":         (lambda dx, x, axis, keepdims: r.mean(dx, axis=behind(axis), keepdims=keepdims),),
    "var":          (push_var,),
    "prod":         (push_prod,),
    "max":          (push_extreme(r.max),),
    "min":          (push_extreme(r.min),),
    "logsumexp":    (push_logsumexp,),
    "cumsum":       (lambda dx, x, axis: r.cumsum(dx, axis=axis + 1),),
    "cumprod":      (push_cumprod,),

    # ---- shapes
    "reshape":      (lambda dx, x, shape: s.reshape(dx, shape=dx.shape[:1] + shape),),
    "transpose":    (lambda dx, x, axes: s.transpose(dx, axes=(0,) + behind(axes)),),
    "broadcast_to": (lambda dx, x, shape: s.broadcast_to(aligned(dx, len(shape)), shape=dx.shape[:1] + shape),),
    "concatenate":  Variadic(push_concatenate),
    "pad":          (lambda dx, x, widths, value: s.pad(dx, widths=((0, 0), *widths), value=0),),

    # ---- contractions
    "matmul":       (push_matmul_left,                                      push_matmul_right),
    "dot":          (lambda dx, x, y: c.dot(dx, y),                         lambda dy, x, y: moved(c.dot(x, dy), np.ndim(x) - 1, 0) if np.ndim(y) > 1
                                                                            else c.dot(dy, x) if np.ndim(x) == 1
                                                                            else push_tensordot_right(dy, x, y, axes=((np.ndim(x) - 1,), (0,)))),
    "tensordot":    (push_tensordot_left,                                   push_tensordot_right),
    "einsum":       Variadic(push_einsum),

    # ---- parts of arrays
    "getitem":      (push_getitem,),
    "setitem":      (push_setitem_array,                                    push_setitem_value),
    "add_at":       (lambda dx, x, v, *arrays, index: dx,
                     lambda dv, x, v, *arrays, index: push_scatter(dv, v, *arrays, index=index, shape=np.shape(x))),
    "scatter":      (push_scatter,),
}


# ---- dual numbers ---------------------------------------------------------------------------------------------------------------------------


class Dual(Traced):
    """A value and the tangent it moves along: primal (...), tangent (K, ...) or None when the value does not move. Generic in what it holds: arrays, or any
    traced values of lower levels. Of two Duals met at once the one of the higher level is the inner derivative; to it the other is a constant."""

    __slots__ = ("interpreter", "primal", "tangent")

    def __init__(self, interpreter, primal, tangent):
        self.interpreter, self.primal, self.tangent = interpreter, primal, tangent

    shape = property(lambda self: self.primal.shape)
    dtype = property(lambda self: self.primal.dtype)
    below = property(lambda self: self.primal)

    def _adopt(self, other):
        other = unwrap(other)
        if isinstance(other, Dual) and other.interpreter is self.interpreter:
            self.primal, self.tangent = other.primal, other.tangent
        elif isinstance(other, Traced) and other.interpreter.level > self.interpreter.level:
            raise refuse(TypeError, "an inner derivative was assigned{here} into an array of an outer one: " + ASSIGN)
        else:
            self.primal, self.tangent = other, None

    def _look(self, kind, convert):
        return self.primal._look(kind, convert) if isinstance(self.primal, Traced) else convert(self.primal)

    def __repr__(self):
        return f"<dual {self.primal!r} moving along {self.tangent!r}>"


class Pushing(Interpreter):
    """Applies a primitive to the primals, and its rows to the tangents.

    A result that does not move is a Dual without a tangent while it has axes (a moving value may be written into it later), else the
    plain value. Integers and booleans never move.
    """

    def apply(self, primitive, operands, params):
        primals = [x.primal if isinstance(x, Traced) and x.interpreter is self else x for x in operands]
        value = primitive(*primals, **params)                        # one level down
        primals, tangent = exactly(primitive, primals, params), None
        if value.dtype.kind == "f":
            for slot, x in enumerate(operands):
                if isinstance(x, Traced) and x.interpreter is self and x.tangent is not None and primitive.carries(slot):
                    part = self.row(primitive, slot, x.tangent, primals, params, value.ndim)
                    tangent = part if tangent is None else tangent + part
        if tangent is None:
            return Dual(self, value, None) if value.shape else value
        if tangent.shape[1:] != value.shape:
            tangent = s.broadcast_to(tangent, shape=tangent.shape[:1] + value.shape)
        if tangent.dtype != value.dtype:                             # a factor computed from Python numbers alone is a float64
            tangent = e.astype(tangent, dtype=value.dtype)
        return Dual(self, value, tangent)

    def is_number(self, x):
        return isinstance(x.primal, Traced) and x.primal.interpreter.is_number(x.primal)

    def row(self, primitive, slot, dx, primals, params, rank):
        rows = PUSH.get(primitive.name)                              # at every application: rows may be replaced
        try:
            rule = rows[slot]
        except (TypeError, LookupError):
            rule = None
        if rule is None:
            if slot in primitive.held:
                raise primitive.not_held(slot, "{here}")
            raise refuse(NotImplementedError, f"no tangent rule for {primitive.name!r} (operand {slot}): add a row to PUSH in diffeng/forward_mode.py"
                                              + (f" (needed{here()})" if here() else ""))
        with np.errstate(all="ignore"):                              # an infinite derivative is an answer; of the value NumPy has warned already
            if primitive.kind != "map":
                return rule(dx, *primals, **params)
            dx = aligned(dx, rank)
            return still(rule(dx, *primals, **params), dx)


def still(tangent, dx):
    """An entry that does not move leaves the result alone, whatever the slope: 0 * inf is 0 here (the gradient of sum(sqrt(x)) at (0, 4) is
    (inf, 1/4)). Only where a NaN arose, so that tangents which happen to be 0 can be differentiated again; and only where values can be
    looked at: what is recorded for a compiler must hold for other values."""
    plain = ground(tangent)
    if isinstance(plain, Traced) or not plain.size or not np.isnan(plain.min()):
        return tangent
    return np.where(np.logical_and(np.isnan(tangent), np.equal(dx, 0)), 0, tangent)


def push(fun, primals, tangents):
    """Run fun on dual numbers.

    fun: takes len(primals) values, returns a list or tuple of values. primals: arrays, or traced values of an outer derivative. tangents: for each
    primal an array (K, *primal.shape) of K directions, or None for one that is held constant.

    Returns (outputs, tangents): a list of values as fun computed them, and a list of arrays (K, *output.shape) in the dtypes of the outputs,
    None for an output that does not depend on what moves. Raises ValueError for a tangent of the wrong shape, TypeError for a moving integer.

    >>> import numpy as np
    >>> push(lambda x, y: [x * y, y], [np.array(3.0), np.array(5.0)], [np.array([1.0]), None])
    ([np.float64(15.0), array(5.)], [array([5.]), None])
    """
    level = Pushing()
    duals = [Dual(level, *moving(x, dx)) for x, dx in zip(primals, tangents, strict=True)]
    outputs = [unwrap(out) for out in call(fun, duals)]
    pairs = [(out.primal, out.tangent) if level.mine(out) else (out, None) for out in outputs]
    return [value for value, _ in pairs], [tangent for _, tangent in pairs]


def moving(x, dx):
    """(primal, tangent) as arrays of one dtype."""
    x, dx = unwrap(x), unwrap(dx)
    x = x if isinstance(x, Traced) else np.asarray(x)
    if dx is None:
        return x, None
    dx = dx if isinstance(dx, Traced) else np.asarray(dx)
    if x.dtype.kind != "f":
        raise refuse(TypeError, f"a value of dtype {x.dtype} cannot move{{here}}: derivatives are taken with respect to floating-point arrays")
    if dx.ndim != x.ndim + 1 or dx.shape[1:] != x.shape:
        raise refuse(ValueError, f"a tangent of shape {dx.shape} does not fit a value of shape {x.shape}{{here}}: it needs one more axis in "
                                 "front, the directions")
    dx = lifted(dx, x)
    return x, dx if dx.dtype == x.dtype else e.astype(dx, dtype=x.dtype)
