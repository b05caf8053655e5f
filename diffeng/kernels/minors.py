"""Cofactors and determinants of matrices of up to three rows, entry by entry: LAPACK would take longer to begin.

What it is: the rows of lower.py for `cofactor` and `det`. Cofactors are products of two entries and their differences, and no matrix is singular for them. A determinant of
up to three rows takes one column out after the other, with the largest entry of it as pivot, as LAPACK does; without, it would lose the digits of matrices that are nearly
of rank 1.

What it is not: larger ones. They are matrices.py's.
"""
import math

from . import scalar
from .fuse import Immediate, Map
from .layout import View, new
from .scalar import type_name
from .sizes import is_short
from .values import absolute, select

LARGEST, FEW = 3, 1                        # rows; matrices for which LAPACK's calls do as well where there are kernels for these


def _few_rows(node, x):
    name = "tiny" if math.prod(x.shape[:-2]) > FEW else "few"
    return type_name(node.dtype) in ("f64", "f32") and x.dtype == node.dtype and is_short(x.shape[-1], LARGEST, name)


def _entry(x, i, j):
    """Of all matrices one entry; rows and columns go round."""
    n = x.shape[-1]
    return View(x.buffer, x.offset + i % n * x.strides[-2] + j % n * x.strides[-1], x.shape[:-2], x.strides[:-2], x.dtype)


def det(lowering, node, x):
    """A view of the determinants, or None for matrices that are too large for this, or without rows."""
    n, type = x.shape[-1], type_name(node.dtype)
    if not n or not _few_rows(node, x):
        return None
    out = new("arena", node.shape, node.dtype)
    entries = tuple([_entry(x, i, j) for i in range(n) for j in range(n)])
    lowering.fuser.operate(Map(node.shape, (scalar.CAST, _det2, _det3)[n - 1], type, (type,) * (n * n), entries, out))
    return out


def _det2(*entries):
    p, u = _pivots(*entries)
    return p * u


def _det3(*entries):
    rows = entries[:3], entries[3:6], entries[6:]
    a, b, c = [absolute(row[0]) for row in rows]
    second, third = (b > a) & (b >= c), (c > a) & (c > b)
    (p, p1, p2), (q, q1, q2), (r, r1, r2) = [[select(third, rows[k - 1][j], select(second, rows[k - 2][j], rows[k][j])) for j in range(3)] for k in range(3)]     # rows go round
    q, r = q / p, r / p
    u, v = _by_size(*_pivots(q1 - q * p1, q2 - q * p2, r1 - r * p1, r2 - r * p2))
    u, w = _by_size(p, u)
    w, v = _by_size(w, v)
    return select(p.equals(0.0), p, u * v * w)                 # the largest times the smallest first: only what is out of range in the end is so on the way


def _by_size(a, b):
    """The larger one first."""
    other = absolute(b) > absolute(a)
    return select(other, b, a), select(other, a, b)


def _pivots(a, b, c, d):
    """Two numbers, of which the determinant of two rows is the product."""
    second = absolute(c) > absolute(a)
    (p, p1), (q, q1) = [[select(second, y, x) for x, y in pairs] for pairs in (((a, c), (b, d)), ((c, a), (d, b)))]
    return select(second, -p, p), select(p.equals(0.0), p, q1 - q / p * p1)


def cofactor(lowering, node, x):
    """A view of the cofactors, or None for matrices that are too large for this."""
    n, type = x.shape[-1], type_name(node.dtype)
    if not _few_rows(node, x):
        return None
    out = new("arena", node.shape, node.dtype)
    out.buffer.stored = True
    made = []
    for i in range(n):
        for j in range(n):
            if n == 1:
                rule, operands = scalar.CAST, (Immediate(node.dtype.type(1), type),)
            elif n == 2:
                rule, operands = scalar.FLOAT["negative"] if i != j else scalar.CAST, (_entry(x, i + 1, j + 1),)
            else:                          # that rows and columns go round makes the sign
                rule, operands = _minor, (_entry(x, i + 1, j + 1), _entry(x, i + 2, j + 2), _entry(x, i + 1, j + 2), _entry(x, i + 2, j + 1))
            made.append(Map(x.shape[:-2], rule, type, (type,) * len(operands), operands, _entry(out, i, j)))
    lowering.fuser.together(made)
    return out


def _minor(a, b, c, d):
    return a * b - c * d
