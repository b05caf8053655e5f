"""Reverse mode: PULL rows, and the walk that accumulates cotangents over recorded nodes.

PULL[name][k](g, z, x, y, **params) -> cotangent of operand k: g the cotangent of the output, z the saved output, x, y the operands. Rows are plain NumPy,
so on arrays they compute, on tracers they record the adjoint graph (to differentiate, print, draw or compile), on 100-digit arrays they
are judged. Rows ignore broadcasting and dtype: `fit` sums and casts a cotangent to its operand once, for all of them.

Rules of more than a line are in reverse_rules.py.

What it is not: no forward rule, no definition; it shares no expression with the other two witnesses.
"""
import math
from heapq import heappop, heappush

import numpy as np

from . import reverse_rules as rule
from .checkpointing import Segment, recomputing
from .constants import LOG2, LOG10, PI, SQRT_PI
from .errors import refuse
from .influence import influences
from .nodes import STORED, Node, Tracer
from .reverse_rules import Every, Getitem, fit, summed
from .traced import NUMBERS, TRACED
from .vocabulary import fourier, indexing, linalg
from .vocabulary.elementwise import beta_density, expit, expn, gamma_density, gauss, hyp2f1, iv, ive, jv, kv, kve, psi, yv, zeta
from .lines import line_of

# ---- the book ------------------------------------------------------------------------------------------------------------------------

PULL = {
    # ---- arithmetic
    "add":         [lambda g, z, x, y: g,                                     lambda g, z, x, y: g],
    "subtract":    [lambda g, z, x, y: g,                                     lambda g, z, x, y: -g],
    "multiply":    [lambda g, z, x, y: g * y,                                 lambda g, z, x, y: g * x],
    "divide":      [lambda g, z, x, y: g / y,                                 lambda g, z, x, y: -rule.summed(rule.fit(g * z, np.shape(y), g.dtype), y) / y],          # first: fewer to divide
    "power":       [lambda g, z, x, y: rule.power_base(g, x, y),              lambda g, z, x, y: rule.power_exponent(g, z, x)],
    "remainder":   [lambda g, z, x, y: g,                                     lambda g, z, x, y: -g * np.floor_divide(x, y)],
    "negative":    [lambda g, z, x: -g],
    "square":      [lambda g, z, x: g * (2 * x)],
    "reciprocal":  [lambda g, z, x: -g * np.square(z)],
    "absolute":    [lambda g, z, x: g * np.sign(x)],
    # ---- exponentials and logarithms
    "exp":         [lambda g, z, x: g * z],
    "exp2":        [lambda g, z, x: g * z * LOG2],
    "expm1":       [lambda g, z, x: g * np.exp(x)],                           # z + 1 loses the digits of exp(-40)
    "log":         [lambda g, z, x: g / x],
    "log2":        [lambda g, z, x: g / x / LOG2],
    "log10":       [lambda g, z, x: g / x / LOG10],
    "log1p":       [lambda g, z, x: g / (1 + x)],
    "sqrt":        [lambda g, z, x: g / (2 * z)],                             # infinite at 0
    "cbrt":        [lambda g, z, x: g / (3 * np.square(z))],
    "logaddexp":   [lambda g, z, x, y: g * expit(x - y),                      lambda g, z, x, y: g * expit(y - x)],
    # ---- trigonometric and hyperbolic functions (DLMF 4.20, 4.24, 4.34, 4.38)
    "sin":         [lambda g, z, x: g * np.cos(x)],
    "cos":         [lambda g, z, x: -g * np.sin(x)],
    "tan":         [lambda g, z, x: g * (1 + np.square(z))],
    "arcsin":      [lambda g, z, x: g / np.sqrt((1 - x) * (1 + x))],          # 1 - x*x would lose the digits next to 1
    "arccos":      [lambda g, z, x: -g / np.sqrt((1 - x) * (1 + x))],
    "arctan":      [lambda g, z, x: g / (1 + np.square(x))],
    "arctan2":     [lambda g, z, x, y: g * (y / np.hypot(x, y) / np.hypot(x, y)), lambda g, z, x, y: -g * (x / np.hypot(x, y) / np.hypot(x, y))],
    "hypot":       [lambda g, z, x, y: g * (x / np.where(np.equal(z, 0), 1, z)),
                    lambda g, z, x, y: g * (y / np.where(np.equal(z, 0), 1, z))],   # 0 at the origin
    "sinh":        [lambda g, z, x: g * np.cosh(x)],
    "cosh":        [lambda g, z, x: g * np.sinh(x)],
    "tanh":        [lambda g, z, x: rule.tanh(g, x)],
    "arcsinh":     [lambda g, z, x: g / np.hypot(x, 1)],
    "arccosh":     [lambda g, z, x: g / (np.sqrt(x - 1) * np.sqrt(x + 1))],
    "arctanh":     [lambda g, z, x: g / ((1 - x) * (1 + x))],
    # ---- special functions (DLMF 7.10.1, 5.2.2, 5.15.1, 25.11.17, 6.2.5, 8.8.13, 8.19.13, 10.6.1, 10.29.1; the logistic function s has s' = s(x) s(-x))
    "gauss":       [lambda g, z, x: g * (-2 * x * z)],
    "erf":         [lambda g, z, x: g * (gauss(x) * (2 / SQRT_PI))],
    "erfc":        [lambda g, z, x: -g * (gauss(x) * (2 / SQRT_PI))],
    "expit":       [lambda g, z, x: g * (z * expit(-x))],                    # 1 - z loses the digits of exp(-40)
    "log_expit":   [lambda g, z, x: g * expit(-x)],
    "logit":       [lambda g, z, x: g / (x * (1 - x))],
    "gammaln":     [lambda g, z, x: g * psi(x)],
    "gamma":       [lambda g, z, x: g * (z * psi(x))],
    "psi":         [lambda g, z, x: g * zeta(2, x)],
    "zeta":        [None, lambda g, z, s, q: rule.hurwitz(g, s, q)],
    "erfinv":      [lambda g, z, x: g * (rule.exp_of_square(z, np.less(x, -0.0625), 1 + x, 1 - x) * (SQRT_PI / 2))],
    "erfcinv":     [lambda g, z, x: -g * (rule.exp_of_square(z, np.greater(x, 0.9375), 2 - x, x) * (SQRT_PI / 2))],
    "erfcx":       [lambda g, z, x: g * (2 * x * z - 2 / SQRT_PI)],
    "dawsn":       [lambda g, z, x: g * (1 - 2 * x * z)],
    "expi":        [lambda g, z, x: g * (np.exp(x) / x)],
    "expn":        [None, lambda g, z, n, x: -g * expn(rule.lifted(n, g.dtype) - 1, x)],
    "gammainc":    [None, lambda g, z, a, x: g * gamma_density(a, x)],
    "gammaincc":   [None, lambda g, z, a, x: -g * gamma_density(a, x)],
    "gamma_density": [None, lambda g, z, a, x: g * (gamma_density(rule.lifted(a, g.dtype) - 1, x) - z)],
    "betainc":     [None, None, lambda g, z, a, b, x: g * beta_density(a, b, x)],
    "beta_density": [None, None, lambda g, z, a, b, x: g * (z * ((rule.lifted(a, g.dtype) - 1) / x - (rule.lifted(b, g.dtype) - 1) / (1 - x)))],
    "hyp2f1":      [None, None, None, lambda g, z, a, b, c, x: g * rule.hypergeometric(x, *[rule.lifted(v, g.dtype) for v in (a, b, c)])],
    "ellipk":      [lambda g, z, x: g * (hyp2f1(1.5, 1.5, 2.0, x) * (PI / 8))],          # F(1/2, 1/2; 1; x) pi/2 (DLMF 19.5.1); by E and K it would be 0/0 at 0
    "ellipe":      [lambda g, z, x: g * (hyp2f1(0.5, 1.5, 2.0, x) * (PI / -8))],
    "jv":          [None, lambda g, z, v, x: g * ((jv(rule.lifted(v, g.dtype) - 1, x) - jv(rule.lifted(v, g.dtype) + 1, x)) / 2)],
    "yv":          [None, lambda g, z, v, x: g * ((yv(rule.lifted(v, g.dtype) - 1, x) - yv(rule.lifted(v, g.dtype) + 1, x)) / 2)],
    "iv":          [None, lambda g, z, v, x: g * ((iv(rule.lifted(v, g.dtype) - 1, x) + iv(rule.lifted(v, g.dtype) + 1, x)) / 2)],
    "ive":         [None, lambda g, z, v, x: g * ((ive(rule.lifted(v, g.dtype) - 1, x) + ive(rule.lifted(v, g.dtype) + 1, x)) / 2 - np.sign(x) * z)],
    "kv":          [None, lambda g, z, v, x: g * ((kv(rule.lifted(v, g.dtype) - 1, x) + kv(rule.lifted(v, g.dtype) + 1, x)) / -2)],
    "kve":         [None, lambda g, z, v, x: g * (z - (kve(rule.lifted(v, g.dtype) - 1, x) + kve(rule.lifted(v, g.dtype) + 1, x)) / 2)],
    "xlogy":       [lambda g, z, x, y: g * np.log(rule.lifted(y, z.dtype)),        lambda g, z, x, y: g * (x / np.where((x == 0) & (y == 0), 1, y))],
    # ---- choices: equal shares among ties
    "maximum":     [lambda g, z, x, y: np.where(np.equal(x, y), g / 2, np.where(np.equal(x, z), g, 0)),
                    lambda g, z, x, y: np.where(np.equal(x, y), g / 2, np.where(np.equal(y, z), g, 0))],
    "minimum":     [lambda g, z, x, y: np.where(np.equal(x, y), g / 2, np.where(np.equal(x, z), g, 0)),
                    lambda g, z, x, y: np.where(np.equal(x, y), g / 2, np.where(np.equal(y, z), g, 0))],
    "where":       [None, lambda g, z, c, x, y: np.where(c, g, 0),           lambda g, z, c, x, y: np.where(c, 0, g)],
    # ---- the same value
    "astype":      [lambda g, z, x, *, dtype: g],
    "copy":        [lambda g, z, x: g],
    "barrier":     [lambda g, z, x, y: g],                                    # y only says when
    # ---- reductions and scans
    "sum":         [lambda g, z, x, *, axis, keepdims: rule.spread(g, x, axis, keepdims)],
    "mean":        [lambda g, z, x, *, axis, keepdims: rule.spread(g, x, axis, keepdims) / rule.count(x, axis)],
    "var":         [lambda g, z, x, *, axis, keepdims, ddof: rule.spread(g, x, axis, keepdims) / (rule.count(x, axis) - ddof)
                    * (2 * (x - np.mean(x, axis=axis, keepdims=True)))],
    "prod":        [lambda g, z, x, *, axis, keepdims: rule.prod(g, x, axis, keepdims)],
    "max":         [lambda g, z, x, *, axis, keepdims: rule.extreme(g, z, x, axis, keepdims)],
    "min":         [lambda g, z, x, *, axis, keepdims: rule.extreme(g, z, x, axis, keepdims)],
    "logsumexp":   [lambda g, z, x, *, axis, keepdims: rule.spread(g, x, axis, keepdims) * rule.softmax(z, x, axis, keepdims)],
    "cumsum":      [lambda g, z, x, *, axis: rule.backwards(np.add.accumulate(rule.backwards(g, axis), axis=axis), axis)],
    "cumprod":     [lambda g, z, x, *, axis: rule.cumprod(g, x, axis)],
    # ---- index maps
    "reshape":     [lambda g, z, x, *, shape: g.reshape(x.shape)],
    "transpose":   [lambda g, z, x, *, axes: g.transpose([axes.index(k) for k in range(len(axes))])],
    "broadcast_to": [lambda g, z, x, *, shape: g],
    "concatenate": rule.Concatenate(),
    "stack":       rule.Stack(),
    "pad":         [lambda g, z, x, *, widths, value: rule.pad(g, widths)],
    "getitem":     [rule.Getitem()],
    "scatter":     [lambda g, z, v, *i, index, shape: indexing.getitem(g, *i, index=index)],
    "setitem":     [lambda g, z, x, v, *i, index: indexing.setitem(g, np.zeros((), g.dtype), *i, index=index),
                    lambda g, z, x, v, *i, index: rule.setitem_value(g, x, i, index)],
    "add_at":      [lambda g, z, x, v, *i, index: g,                          lambda g, z, x, v, *i, index: indexing.getitem(g, *i, index=index)],
    # ---- sums of products
    "matmul":      [lambda g, z, x, y: rule.matmul(g, x, y, 0),               lambda g, z, x, y: rule.matmul(g, x, y, 1)],
    "dot":         [lambda g, z, x, y: rule.dot(g, x, y, 0),                  lambda g, z, x, y: rule.dot(g, x, y, 1)],
    "tensordot":   [lambda g, z, x, y, *, axes: rule.tensordot(g, x, y, axes, 0), lambda g, z, x, y, *, axes: rule.tensordot(g, x, y, axes, 1)],
    "einsum":      rule.Einsum(),
    # ---- whole matrices
    "solve":       [lambda g, z, a, b, **triangle: rule.solve_matrix(g, z, a, triangle),
                    lambda g, z, a, b, **triangle: rule.solve_turned(a, g, triangle)],
    "inv":         [lambda g, z, x: rule.inv(g, z)],
    "det":         [lambda g, z, x: rule.each(g) * linalg.cofactor(x)],           # z inv(x)' is NaN where x is singular
    "slogdet":     [lambda g, z, x: rule.each(g) * rule.flipped(linalg.inv(x))],
    "cofactor":    [lambda g, z, x: rule.cofactor(g, z, x)],
    "cholesky":    [lambda g, z, x: rule.cholesky(g, z)],
    "eigh":        [lambda g, z, x, *, lower: rule.eigh(g, z, lower)],
    "qr":          [lambda g, z, x: rule.qr(g, z, x)],
    "svd":         [lambda g, z, x: rule.svd(g, z, x)],
    # ---- Fourier transforms: what is transposed goes the other way
    "fft":         [lambda g, z, x, *, axes, inverse, norm: fourier.fft(g, axes=axes, inverse=not inverse, norm=fourier.TURNED[norm])],
    "rfft":        [lambda g, z, x, *, axes, norm: rule.rfft(g, x, axes, norm)],
    "irfft":       [lambda g, z, x, *, axes, n, norm: rule.irfft(g, x, axes, n, norm)],
}

SUMMED = {("divide", 1)}                            # rows that sum themselves what was stretched


# ---- the walk --------------------------------------------------------------------------------------------------------------------------

def _missing(primitive, slot, frames):
    if slot in primitive.held:
        return primitive.not_held(slot, f" at {line_of(frames)}")
    return refuse(NotImplementedError, f"no pullback for '{primitive.name}' (operand {slot}) at {line_of(frames)}: "
                                       "add a row to PULL in diffeng/reverse_mode.py")


def pull(primitive, slot, g, z, operands, params, frames=()):
    """The cotangent of one operand, in its shape and dtype."""
    x = operands[slot]
    try:
        row = (PULL[primitive.name] if primitive.own is None else rule.Own(primitive.own))[slot]
    except LookupError:
        row = None
    if row is None:
        raise _missing(primitive, slot, frames)
    return _whole(fit(row(g, z, *operands, **params), np.shape(x), x.dtype), np.shape(x))


_ARRAYS = (np.ndarray, np.generic)
FEW = 1 << 10                                      # entries that are written sooner than NumPy has made a view of one


def _whole(g, shape, z=None):
    """g, spread out. z: the value whose cotangent it is; where that is a small array g is written down (a program reads what is constant where it is)."""
    if g.shape == shape:
        return g
    if type(z) is np.ndarray and isinstance(g, _ARRAYS) and z.size <= FEW:
        out = np.empty(shape, g.dtype)
        out[...] = g
        return out
    return np.broadcast_to(g, shape)


CHOICES = {                                        # (slot, z, *operands, **params) -> where this operand is what came out, so that a cotangent goes on to it
    "where":   lambda slot, z, c, x, y: c if slot == 1 else np.logical_not(c),
    "maximum": lambda slot, z, *operands: np.equal(operands[slot], z),
    "minimum": lambda slot, z, *operands: np.equal(operands[slot], z),
    "max":     lambda slot, z, x, *, axis, keepdims: np.equal(x, rule.spread(z, x, axis, keepdims)),
    "min":     lambda slot, z, x, *, axis, keepdims: np.equal(x, rule.spread(z, x, axis, keepdims)),
}
PLACES = {                                         # the same of indices, (mask of the result or True, operands) -> where their operand is read, or left as it was
    "getitem": lambda mask, x, *i, index: indexing.scatter(mask, *i, index=index, shape=x.shape),
    "setitem": lambda mask, x, v, *i, index: indexing.setitem(mask, False, *i, index=index),
}
_MOVED = {name: [*PULL[name]] for name in ("reshape", "transpose")} | {"concatenate": rule.Concatenate(), "stack": rule.Stack()}
_STEADY = frozenset("add subtract negative copy astype barrier sum mean".split()) | CHOICES.keys()          # whose slopes are finite, whatever the operands


def _increment(node, found):
    """(operands, rows) of x[i] += v or x[i] -= v, which is recorded as a setitem of x[i] + v, as those of a sum: the array's cotangent goes on as it is, where otherwise it
    would be cleared at i for the setitem, and added to for the getitem. None for any other setitem, and where somebody wants a cotangent (found) from in between."""
    slot, total = rule.increment(node)
    if total is None or total in found or total.operands[1 - slot] in found:
        return None
    of_added = PULL["setitem"][1]                  # (it does not ask for the value of what is added)
    if total.primitive.name == "subtract":
        of_added = lambda *values, **index: -PULL["setitem"][1](*values, **index)
    return (node.operands[0], total.operands[slot]), (PULL["add_at"][0], of_added)


def _chooses(node):
    """Is it a choice? Of the indices, masks and integer arrays are that are known; slices are asked too often, and meet what is steep too seldom."""
    name = node.primitive.name
    if name not in PLACES:
        return name in CHOICES
    return np.ndarray in map(type, node.params["index"]) if len(node.operands) == 1 + (name == "setitem") else _is_known(node)


def _is_known(node):
    return all([type(i) is np.ndarray for i in node.operands[1 + (node.primitive.name == "setitem"):]])


def _cleared(g, taken):
    """A cotangent with 0 where a choice took something else. taken: (where it may be other than 0, has it been through a slope that may be infinite?), or None."""
    return g if taken is None or not taken[1] else np.where(taken[0], g, np.zeros((), g.dtype)[()])


def _taken(node, slot, new, taken, row, values):
    """(a cotangent that goes on to an operand, the same as `_cleared` wants it): behind a choice, and behind what is so chosen from. 0 times an infinite slope, as that of
    log at 0 where the other branch was taken, is NaN until elementwise operations end there. taken: the node's own; row: by which `new` was made of `values`."""
    name, kind, params, x = node.primitive.name, node.primitive.kind, node.params, node.operands[slot]
    mask, steep = taken or (None, False)
    if type(mask) is bool:                                       # of two of Python's numbers
        mask = np.array(mask)
    if name in _MOVED:
        return new, (_MOVED[name][slot](_whole(mask, node.shape), *values[1:], **params), False)
    if name in PLACES and slot == 0 and _is_known(node):
        return new, (PLACES[name](_whole(np.array(True) if mask is None else mask, node.shape), *values[2:], **params), False)
    if kind not in ("map", "reduce") or node.primitive.own is not None:
        return new, None
    if kind == "reduce" and mask is not None:
        mask = rule.spread(_whole(mask, node.shape), x, params["axis"], params["keepdims"])
    if name in CHOICES:
        here = CHOICES[name](slot, *values[1:], **params)
        mask = here if mask is None else np.logical_and(here, mask)
    elif name not in _STEADY and not (name == "multiply" and type(node.operands[1 - slot]) in NUMBERS and np.isfinite(node.operands[1 - slot])):
        steep = True
    if kind == "reduce" or x.shape == node.shape:
        return new, (mask, steep)
    if steep:                                          # entry by entry, and then summed
        new = _cleared(row(*values[:slot + 2], np.broadcast_to(values[slot + 2], node.shape), *values[slot + 3:], **params), (mask, True))
    return new, (np.not_equal(fit(_whole(mask, node.shape), x.shape, np.dtype(int)), 0), False)


def _met(taken, p, known, new, there):
    """The cotangent of p as far as it is known, and a further term, as they can be added. there: of the term, as `taken` has it of what is known."""
    before = taken.pop(p, None)
    if known is None:
        if there is not None:
            taken[p] = there
    elif before is not None and there is not None and before[0] is there[0]:
        taken[p] = there[0], before[1] or there[1]
    else:
        known, new = _cleared(known, before), _cleared(new, there)
        if before is not None and there is not None:
            taken[p] = np.logical_or(before[0], there[0]), False
    return known, new


def _summed(g, taken, x):
    """A cotangent as `summed` has it of its operand, and where it may be other than 0 then: where one of those may that were summed."""
    out = summed(g, x)
    if taken is None or out is g:
        return out, taken
    mask, steep = taken
    out = summed(_cleared(g, taken), x) if steep else out
    if type(mask) is not Tracer:                       # (a plain mask is constant along such an axis)
        return out, (mask, False)
    return out, (np.not_equal(summed(mask, x), 0), False) if mask.shape == out.shape else None


def _finite(g):
    return math.isfinite(np.vdot(g, g) if g.shape else g)            # (in half the time that a sum takes; a square may overflow, and is asked in vain)


@np.errstate(all="ignore")                        # (as a decorator half of what it takes around a block)
def gradient(outputs, cotangents, inputs, value_of, at=None, skip=frozenset(), changed=None, careful=None):
    """Cotangents of `inputs`, given those of `outputs`: a list, with None where an input has no influence.

    outputs, inputs: Nodes. value_of(node): the array (or tracer, or 100-digit array) to use for a node; with STORED, what was computed as it was recorded, the
    inputs are all that were recorded, and `live` says what hangs on them. at(node, cotangent): told whose adjoint is recorded next.
    skip: (id of a node, slot) of operands known to have no influence (shifts.py): nothing is pulled there. changed: {node: function} of nodes whose cotangent,
    once it is complete, is replaced by what the function makes of it.

    A cotangent waits with fewer axes, or axes of length 1, while it is constant along them (behind a sum, say): elementwise rows broadcast
    it anyway, those of reductions take a number as it is, and only where the operation is no such row is it spread out; where it broadcast its operand, what a row returned.
    Where a choice has made 0 of a cotangent, it stays 0 (`taken`). careful: is that seen to from the beginning? If not, a result of arrays that is not finite is computed
    again with care (None: what is fit).
    """
    wanted, stored = None, value_of is STORED      # (stored: read without a call, that often it is asked for)
    if not stored or Segment.made:                 # else no walk has to come before this one
        order, wanted = influences(outputs, inputs)
        value_of, at = recomputing(order, value_of, at)
        stored = value_of is STORED
    if careful is None:
        careful = wanted is not None or at is not None or bool(changed)
        for node, g in zip(outputs, cotangents):
            careful = careful or type(g) in TRACED or type(node.value) in TRACED
    cotangent, found, waiting, taken = {}, dict.fromkeys(inputs), [], {}               # taken: {node: what _cleared wants of its cotangent}
    setitem = indexing.setitem                     # (a local name: it is asked for at each node)
    own = set()                                    # nodes whose cotangent is an array made here, which nobody else holds: the next term is added in place
    for node, g in zip(outputs, cotangents):
        if node in cotangent:
            cotangent[node] = cotangent[node] + g
        elif wanted is None or node in wanted:
            cotangent[node] = g
            heappush(waiting, (-node.serial, node))
    while waiting:
        node = heappop(waiting)[1]             # the latest of those that wait: all that read it are done
        g, primitive = cotangent.pop(node), node.primitive
        if careful:
            here = taken.pop(node, None)
            chosen = here is not None or _chooses(node)
            if here is not None and (primitive.kind != "map" or primitive.own is not None or at is not None or changed or node in found):
                g, here = _cleared(g, here), (here[0], False)
        elif (primitive.kind == "linalg" or primitive.own is not None) and not _finite(g):          # LAPACK may refuse it, and so may rules of a user's own
            return gradient(outputs, cotangents, inputs, value_of, skip=skip, careful=True)
        if changed and node in changed:
            g = changed[node](_whole(g, node.shape))
        operands = node.operands
        if wanted is None:
            if not operands:
                if node in found:
                    found[node] = g
                continue
            slots, values = node.live, [g, node.value]
            for q in operands:
                values.append(q.value if type(q) is Node else q)
        else:
            if node in found:
                found[node] = g
            slots = wanted[node]
            if not slots:
                continue
            if at is not None:
                at(node, g)
            values = [g, node.value if stored else value_of(node)]
            for q in operands:
                if type(q) is Node:
                    q = q.value if stored else value_of(q)
                values.append(q)
        params = node.params
        full = g.shape == node.shape
        if not full and primitive.kind != "map" and (primitive.kind != "reduce" or g.shape):
            values[0] = g = _whole(g, node.shape, values[1])
        rows = PULL.get(primitive.name, ()) if primitive.own is None else rule.Own(primitive.own)          # looked up at every use: rows may be replaced
        if primitive is setitem and not changed and (increment := _increment(node, found)) is not None:
            operands, rows = increment
            slots = [k for k in slots if type(operands[k]) is Node and (wanted is None or operands[k] in wanted)]
        pieces = rows.every(*values[:2], slots, *values[2:], **params) if len(slots) > 1 and isinstance(rows, Every) else None
        for k in slots:
            if skip and (id(node), k) in skip:
                continue
            p = operands[k]
            try:
                row = rows[k]
            except LookupError:
                row = None
            if row is None:
                raise _missing(primitive, k, node.frames)
            known = cotangent.get(p)
            if known is not None and type(row) is Getitem and p in own and known.shape == p.shape and type(g) is np.ndarray and p not in taken:
                row.onto(known, g, *values[2:], **params)
                continue
            new = pieces[k] if pieces is not None else row(*values, **params) if params else row(*values)
            if careful:
                there = None
                if chosen and operands is node.operands:
                    new, there = _taken(node, k, new, here, row, values)
                elif chosen and k == 0:            # x[i] += v: where x was to stay 0, it is
                    there = here
            if not full and p.shape != node.shape and primitive.kind == "map" and (primitive.name, k) not in SUMMED:          # for `fit`, which sums what was stretched
                new = _whole(new, node.shape, values[1])
            if new.dtype is not p.dtype or new.shape and new.shape != p.shape:
                new = fit(new, p.shape, p.dtype)
            if careful:
                if type(new) is Tracer and 1 in p.shape and len(p.shape) > 1:
                    new, there = _summed(new, there, p.value if stored else value_of(p))
                if there is not None or taken:
                    known, new = _met(taken, p, known, new, there)
            if known is None:
                cotangent[p] = new
                heappush(waiting, (-p.serial, p))
                if type(row) is Getitem and type(new) is np.ndarray:
                    own.add(p)
            elif p in own and known.shape == new.shape and type(new) is np.ndarray:
                known += new
                cotangent[p] = known
            else:
                cotangent[p] = new = known + new
                if type(new) is np.ndarray:
                    own.add(p)
                else:                              # NumPy's scalar: nothing can be added to it in place
                    own.discard(p)
    whole = []
    for n in inputs:
        g = found[n]
        if not careful and g is not None and not _finite(g):
            return gradient(outputs, cotangents, inputs, value_of, skip=skip, careful=True)
        whole.append(g if g is None or g.shape == n.shape else _whole(g, n.shape, n.value))
    return whole
