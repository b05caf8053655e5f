"""Forward mode: dual numbers that run through the user's own function.

What it is: PUSH, the book of tangent rules, written from the inputs of a primitive (those of more than a line are in forward_rules.py); `Dual`, a value with the
tangent it moves along; `push`, which runs a function on them. There is no graph: a Dual may hold arrays (the independent witness), other Duals
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
Referential Transparency, IFL 2005.
"""
import math

import numpy as np

from .buffers import call, unwrap
from .constants import LOG2, LOG10, PI, SQRT_PI
from .errors import here, refuse
from .forward_rules import (Variadic, behind, ground, larger, length, lifted, log_base, moved, one_less, push_cholesky, push_cofactor, push_concatenate, push_stack,
                            push_cumprod, push_eigh, push_einsum, push_extreme, push_getitem, push_inv, push_logsumexp, push_matmul_left, push_matmul_right, push_prod, push_qr,
                            push_scatter, push_setitem_array, push_setitem_value, push_slogdet, push_solve_matrix, push_svd, push_tanh, push_tensordot_left,
                            push_tensordot_right, push_var, solved, squared_exp)
from .interpreters import Interpreter, complex_result, exactly
from .refusals import ASSIGN, fixed, warn_if_cut
from .traced import ALIASES, Traced
from .vocabulary import contraction as c, elementwise as e, fourier, linalg, reductions as r, shaping as s
from .vocabulary.shaping import aligned

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
    "zeta":         (None,                                                  lambda dq, s, q: -dq * s * e.zeta(lifted(s, q) + 1, q)),   # by s: no formula is known
    "erfinv":       (lambda dx, x: dx * squared_exp(e.erfinv(x), x < -1 / 16, 1 + x, 1 - x) * (SQRT_PI / 2),),
    "erfcinv":      (lambda dx, x: -dx * squared_exp(e.erfcinv(x), x > 15 / 16, 2 - x, x) * (SQRT_PI / 2),),
    "erfcx":        (lambda dx, x: dx * (2 * x * e.erfcx(x) - 2 / SQRT_PI),),
    "dawsn":        (lambda dx, x: dx * (1 - 2 * x * e.dawsn(x)),),
    "expi":         (lambda dx, x: dx * np.exp(x) / x,),
    "expn":         (None,                                                  lambda dx, n, x: -dx * e.expn(lifted(n, x) - 1, x)),   # by their parameters, too
    "gammainc":     (None,                                                  lambda dx, a, x: dx * e.gamma_density(lifted(a, x), x)),
    "gammaincc":    (None,                                                  lambda dx, a, x: -dx * e.gamma_density(lifted(a, x), x)),
    "gamma_density": (None,                                                 lambda dx, a, x: dx * (e.gamma_density(lifted(a, x) - 1, x) - e.gamma_density(a, x))),
    "betainc":      (None, None,                                            lambda dx, a, b, x: dx * e.beta_density(a, b, x)),
    "beta_density": (None, None,
                     lambda dx, a, b, x: dx * e.beta_density(a, b, x) * ((lifted(a, x) - 1) / x - (lifted(b, x) - 1) / (1 - x))),
    "hyp2f1":       (None, None, None,
                     lambda dx, a, b, c, x: dx * (lifted(a, x) * b / c) * e.hyp2f1(lifted(a, x) + 1, lifted(b, x) + 1, lifted(c, x) + 1, x)),
    "ellipk":       (lambda dx, x: dx * e.hyp2f1(1.5, 1.5, 2.0, x) * (PI / 8),),
    "ellipe":       (lambda dx, x: -dx * e.hyp2f1(0.5, 1.5, 2.0, x) * (PI / 8),),
    "jv":           (None,                                                  lambda dx, v, x: dx * (e.jv(lifted(v, x) - 1, x) - e.jv(lifted(v, x) + 1, x)) / 2),
    "yv":           (None,                                                  lambda dx, v, x: dx * (e.yv(lifted(v, x) - 1, x) - e.yv(lifted(v, x) + 1, x)) / 2),
    "iv":           (None,                                                  lambda dx, v, x: dx * (e.iv(lifted(v, x) - 1, x) + e.iv(lifted(v, x) + 1, x)) / 2),
    "ive":          (None,
                     lambda dx, v, x: dx * ((e.ive(lifted(v, x) - 1, x) + e.ive(lifted(v, x) + 1, x)) / 2 - np.sign(x) * e.ive(v, x))),
    "kv":           (None,                                                  lambda dx, v, x: -dx * (e.kv(lifted(v, x) - 1, x) + e.kv(lifted(v, x) + 1, x)) / 2),
    "kve":          (None,
                     lambda dx, v, x: dx * (e.kve(v, x) - (e.kve(lifted(v, x) - 1, x) + e.kve(lifted(v, x) + 1, x)) / 2)),
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
    "stack":        Variadic(push_stack),
    "pad":          (lambda dx, x, widths, value: s.pad(dx, widths=((0, 0), *widths), value=0),),

    # ---- contractions
    "matmul":       (push_matmul_left,                                      push_matmul_right),
    "dot":          (lambda dx, x, y: c.dot(dx, y),                         lambda dy, x, y: moved(c.dot(x, dy), np.ndim(x) - 1, 0) if np.ndim(y) > 1
                                                                            else c.dot(dy, x) if np.ndim(x) == 1
                                                                            else push_tensordot_right(dy, x, y, axes=((np.ndim(x) - 1,), (0,)))),
    "tensordot":    (push_tensordot_left,                                   push_tensordot_right),
    "einsum":       Variadic(push_einsum),

    # ---- whole matrices
    "solve":        (push_solve_matrix,                                     lambda db, a, b, **triangle: solved(a, db, **triangle)),
    "inv":          (push_inv,),
    "det":          (lambda dx, x: r.sum(dx * linalg.cofactor(x), axis=(dx.ndim - 2, dx.ndim - 1), keepdims=False),),       # Laplace's expansion
    "slogdet":      (push_slogdet,),
    "cofactor":     (push_cofactor,),
    "cholesky":     (push_cholesky,),
    "eigh":         (push_eigh,),
    "qr":           (push_qr,),
    "svd":          (push_svd,),

    # ---- Fourier transforms: linear
    "fft":          (lambda dx, x, axes, **how: fourier.fft(dx, axes=behind(axes), **how),),
    "rfft":         (lambda dx, x, axes, **how: fourier.rfft(dx, axes=behind(axes), **how),),
    "irfft":        (lambda dx, x, axes, **how: fourier.irfft(dx, axes=behind(axes), **how),),

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

    __slots__ = ("interpreter", "primal", "tangent", *ALIASES)

    def __init__(self, interpreter, primal, tangent):
        self.interpreter, self.primal, self.tangent = interpreter, primal, tangent

    shape = fixed(lambda self: self.primal.shape, "shape")
    dtype = fixed(lambda self: self.primal.dtype, "dtype")
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
            moving = [(slot, x.tangent) for slot, x in enumerate(operands) if isinstance(x, Traced) and x.interpreter is self and x.tangent is not None and primitive.carries(slot)]
            if moving:
                tangent = primitive.own.push(primals, dict(moving), value) if primitive.own is not None else self.pushed(primitive, moving, primals, params, value.ndim)
        elif value.dtype.kind == "c":
            return complex_result(primitive, operands, params)
        if tangent is None:
            return Dual(self, value, None) if value.shape else value
        if tangent.shape[1:] != value.shape:
            tangent = s.broadcast_to(tangent, shape=tangent.shape[:1] + value.shape)
        if tangent.dtype != value.dtype:                             # a factor computed from Python numbers alone is a float64
            tangent = e.astype(tangent, dtype=value.dtype)
        return Dual(self, value, tangent)

    def is_number(self, x):
        return isinstance(x.primal, Traced) and x.primal.interpreter.is_number(x.primal)

    @np.errstate(all="ignore")                                       # an infinite derivative is an answer; of the value NumPy has warned already
    def pushed(self, primitive, moving, primals, params, rank, careful=False):
        """The tangent of a value of this rank. moving: (slot, tangent) of the operands that move. careful: is a look taken at each term for entries that do not move?
        Only where a NaN arose; and only where values can be looked at: what is recorded for a compiler must hold for other values."""
        tangent, elementwise = None, primitive.kind == "map"
        for slot, dx in moving:
            if elementwise:
                dx = aligned(dx, rank)
            part = self.row(primitive, slot)(dx, *primals, **params)
            part = still(part, dx) if careful else part
            tangent = part if tangent is None else tangent + part
        if elementwise and not careful:
            plain = ground(tangent)
            if not isinstance(plain, Traced) and not math.isfinite(np.vdot(plain, plain)):          # (one look, of one call, at all terms)
                return self.pushed(primitive, moving, primals, params, rank, careful=True)
        return tangent

    def row(self, primitive, slot):
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
        return rule


def still(tangent, dx):
    """An entry that does not move leaves the result alone, whatever the slope: 0 * inf is 0 here (the gradient of sum(sqrt(x)) at (0, 4) is
    (inf, 1/4)). A NaN is 0 then, and nothing else, so that tangents which happen to be 0 can be differentiated again."""
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
    values, pushed = [], []
    for out in [unwrap(out) for out in call(fun, duals)]:
        value, tangent = (out.primal, out.tangent) if level.mine(out) else (out, None)
        values.append(value)
        pushed.append(tangent)
    level.end()
    warn_if_cut(getattr(fun, "fun", fun), level, pushed)
    return values, pushed


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
