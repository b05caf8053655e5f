"""Products: np.dot, np.inner, np.tensordot, np.kron, np.einsum, ..."""
import numpy as np

from ..errors import refuse
from ..numpy_api import axis_of, operand
from ..vocabulary import contraction as c, elementwise as e
from .table import implements


@implements(np.dot)
def dot(a, b):
    a, b = operand(a), operand(b)
    return e.multiply(a, b) if np.ndim(a) == 0 or np.ndim(b) == 0 else c.dot(a, b)


@implements(np.vdot)
def vdot(a, b):
    return c.dot(np.ravel(a), np.ravel(b))


@implements(np.inner)
def inner(a, b):
    a, b = operand(a), operand(b)
    return e.multiply(a, b) if np.ndim(a) == 0 or np.ndim(b) == 0 else c.tensordot(a, b, axes=((np.ndim(a) - 1,), (np.ndim(b) - 1,)))


@implements(np.outer)
def outer(a, b):
    return e.multiply(np.reshape(operand(a), (-1, 1)), np.reshape(operand(b), (1, -1)))


@implements(np.tensordot)
def tensordot(a, b, axes=2):
    a, b = operand(a), operand(b)
    m, n = np.ndim(a), np.ndim(b)
    left, right = (range(m - axes, m), range(axes)) if isinstance(axes, (int, np.integer)) else axes
    left, right = ((k,) if isinstance(k, (int, np.integer)) else k for k in (left, right))
    return c.tensordot(a, b, axes=(tuple(axis_of(k, m) for k in left), tuple(axis_of(k, n) for k in right)))


@implements(np.kron)
def kron(a, b):
    a, b = operand(a), operand(b)
    n = max(a.ndim, b.ndim)
    sa, sb = (1,) * (n - a.ndim) + a.shape, (1,) * (n - b.ndim) + b.shape
    wide = np.reshape(a, [k for p in sa for k in (p, 1)]) * np.reshape(b, [k for p in sb for k in (1, p)])
    return np.reshape(wide, [p * q for p, q in zip(sa, sb)])


@implements(np.cross)
def cross(a, b, axis=-1):
    a, b = operand(a), operand(b)
    x, y = ([np.moveaxis(v, axis, 0)[k] for k in range(3)] for v in (a, b))
    return np.stack([x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]], axis)


@implements(np.linalg.multi_dot)
def multi_dot(arrays):
    out = operand(arrays[0])
    for a in arrays[1:]:
        out = np.dot(out, operand(a))
    return out


@implements(np.einsum)
def einsum(*operands, optimize=False, **kwargs):
    from opt_einsum.parser import parse_einsum_input
    if kwargs:
        raise TypeError(f"unexpected keyword {sorted(kwargs)[0]}")
    spec, arrays = operands[0], [operand(x) for x in operands[1:]]
    if not isinstance(spec, str):
        raise refuse(TypeError, "einsum{here}: on traced values the subscripts must be a string, as in np.einsum('ij,jk->ik', A, B)")
    left, out, _ = parse_einsum_input((spec, *[np.shape(x) for x in arrays]), shapes=True)
    return c.einsum(*arrays, subscripts=f"{left}->{out}")
