"""Products: np.dot, np.inner, np.tensordot, np.kron, np.einsum, ..."""
import functools
import math
import string

import numpy as np

from ..errors import refuse
from ..numpy_api import arrayed, axis_of, getitem, operand
from ..traced import viewing
from ..vocabulary import contraction as c, elementwise as e, shaping as s
from .shaping import stack
from .table import counted, implements


@implements(np.dot)
def dot(a, b):
    a, b = operand(a), operand(b)
    return c.dot(a, b) if getattr(a, "ndim", 0) and getattr(b, "ndim", 0) else e.multiply(arrayed(a), arrayed(b))         # (np.ndim would ask the traced one)


@implements(np.vdot)
def vdot(a, b):
    return c.dot(np.ravel(operand(a)).conj(), np.ravel(operand(b)))


@implements(np.inner)
def inner(a, b):
    a, b = arrayed(a), arrayed(b)
    return e.multiply(a, b) if np.ndim(a) == 0 or np.ndim(b) == 0 else c.tensordot(a, b, axes=((np.ndim(a) - 1,), (np.ndim(b) - 1,)))


@implements(np.outer, np.linalg.outer)
def outer(a, b):
    a, b = operand(a), operand(b)
    return e.multiply(s.reshape(a, shape=(math.prod(np.shape(a)), 1)), s.reshape(b, shape=(1, math.prod(np.shape(b)))))


@implements(np.tensordot, np.linalg.tensordot)
def tensordot(a, b, axes=2):
    a, b = operand(a), operand(b)
    m, n = np.ndim(a), np.ndim(b)
    left, right = (range(m - axes, m), range(axes)) if isinstance(axes, (int, np.integer)) else axes
    left, right = ((k,) if isinstance(k, (int, np.integer)) else k for k in (left, right))
    return c.tensordot(a, b, axes=(tuple(axis_of(k, m) for k in left), tuple(axis_of(k, n) for k in right)))


@implements(np.kron)
def kron(a, b):
    a, b = arrayed(a), arrayed(b)
    n = max(a.ndim, b.ndim)
    sa, sb = (1,) * (n - a.ndim) + a.shape, (1,) * (n - b.ndim) + b.shape
    wide = s.reshape(a, shape=tuple([k for p in sa for k in (p, 1)])) * s.reshape(b, shape=tuple([k for p in sb for k in (1, p)]))
    return s.reshape(wide, shape=tuple([p * q for p, q in zip(sa, sb)]))


@implements(np.cross)
def cross(a, b, axisa=-1, axisb=-1, axisc=-1, axis=None):
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis,) * 3
    a, b = operand(a), operand(b)
    (m, a), (n, b) = [(x.shape[k], [getitem(x, (*(slice(None),) * k, i)) for i in range(min(x.shape[k], 3))])
                      for x, k in ((x, axis_of(k, x.ndim)) for x, k in ((a, axisa), (b, axisb)))]
    if m != 3 or n != 3:
        raise refuse(ValueError, f"cross{{here}}: vectors of length 3 are needed, there are {m} and {n}; of two dimensions write x[0] * y[1] - x[1] * y[0]")
    return stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]], axisc)


@implements(np.linalg.cross)
def linalg_cross(x1, x2, *, axis=-1):
    return cross(x1, x2, axis=axis)


@implements(np.linalg.matmul)
def matmul(x1, x2):
    return c.matmul(operand(x1), operand(x2))


@implements(np.linalg.vecdot)
def vecdot(x1, x2, *, axis=-1):
    return np.vecdot(np.moveaxis(operand(x1), axis, -1), np.moveaxis(operand(x2), axis, -1))


@implements(np.linalg.multi_dot)
def multi_dot(arrays):
    counted(len(arrays), "multi_dot number of arrays", 2)
    out = operand(arrays[0])
    for a in arrays[1:]:
        out = np.dot(out, operand(a))
    return out


def _interleaved(operands):
    """np.einsum(A, [0, 1], B, [1, 2], [0, 2]) as np.einsum("ab,bc->ac", A, B)."""
    def term(labels):
        return "".join("..." if k is Ellipsis else string.ascii_letters[k] for k in labels)

    pairs = len(operands) // 2
    out = "->" + term(operands[-1]) if len(operands) % 2 else ""
    return (",".join(term(operands[2 * k + 1]) for k in range(pairs)) + out, *operands[0:2 * pairs:2])


@implements(np.einsum)
def einsum(*operands, optimize=False, **kwargs):
    if kwargs:
        raise TypeError(f"unexpected keyword {sorted(kwargs)[0]}")
    operands = _interleaved(operands) if not isinstance(operands[0], str) else operands
    spec, arrays = operands[0], [x if hasattr(x, "ndim") else np.asarray(x) for x in map(operand, operands[1:])]          # (NumPy's number is float64, Python's too)
    subscripts = _explicit(spec, tuple([x.shape for x in arrays]))
    result = c.einsum(*arrays, subscripts=subscripts)
    left, out = subscripts.split("->")
    if len(arrays) == 1 and out and set(out) == set(left):               # nothing is summed: NumPy returns a view
        return viewing(result, arrays[0], lambda y: np.einsum(subscripts, y))
    return result


@functools.lru_cache(maxsize=1000)
def _explicit(spec, shapes):
    """Subscripts without an ellipsis, and with those of the result."""
    from opt_einsum.parser import parse_einsum_input
    left, out, _ = parse_einsum_input((spec, *shapes), shapes=True)
    return f"{left}->{out}"
