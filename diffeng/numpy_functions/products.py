"""Products: np.dot, np.inner, np.tensordot, np.kron, np.einsum, ..."""
import string

import numpy as np

from ..errors import refuse
from ..numpy_api import arrayed, axis_of, operand
from ..traced import viewing
from ..vocabulary import contraction as c, elementwise as e
from .table import counted, implements


@implements(np.dot)
def dot(a, b):
    a, b = operand(a), operand(b)
    return c.dot(a, b) if getattr(a, "shape", ()) and getattr(b, "shape", ()) else e.multiply(arrayed(a), arrayed(b))         # (np.ndim would ask the traced one)


@implements(np.vdot)
def vdot(a, b):
    return c.dot(np.ravel(a), np.ravel(b))


@implements(np.inner)
def inner(a, b):
    a, b = arrayed(a), arrayed(b)
    return e.multiply(a, b) if np.ndim(a) == 0 or np.ndim(b) == 0 else c.tensordot(a, b, axes=((np.ndim(a) - 1,), (np.ndim(b) - 1,)))


@implements(np.outer, np.linalg.outer)
def outer(a, b):
    return e.multiply(np.reshape(operand(a), (-1, 1)), np.reshape(operand(b), (1, -1)))


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
    wide = np.reshape(a, [k for p in sa for k in (p, 1)]) * np.reshape(b, [k for p in sb for k in (1, p)])
    return np.reshape(wide, [p * q for p, q in zip(sa, sb)])


@implements(np.cross)
def cross(a, b, axisa=-1, axisb=-1, axisc=-1, axis=None):
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis,) * 3
    a, b = np.moveaxis(operand(a), axisa, 0), np.moveaxis(operand(b), axisb, 0)
    if a.shape[0] != 3 or b.shape[0] != 3:
        raise refuse(ValueError, f"cross{{here}}: vectors of length 3 are needed, there are {a.shape[0]} and {b.shape[0]}; "
                                 "of two dimensions write x[0] * y[1] - x[1] * y[0]")
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]], axisc)


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
    from opt_einsum.parser import parse_einsum_input
    if kwargs:
        raise TypeError(f"unexpected keyword {sorted(kwargs)[0]}")
    operands = _interleaved(operands) if not isinstance(operands[0], str) else operands
    spec, arrays = operands[0], [x if hasattr(x, "ndim") else np.asarray(x) for x in map(operand, operands[1:])]          # (NumPy's number is float64, Python's too)
    left, out, _ = parse_einsum_input((spec, *[np.shape(x) for x in arrays]), shapes=True)
    result = c.einsum(*arrays, subscripts=f"{left}->{out}")
    if len(arrays) == 1 and out and set(out) == set(left):               # nothing is summed: NumPy returns a view
        return viewing(result, arrays[0], lambda y: np.einsum(f"{left}->{out}", y))
    return result
