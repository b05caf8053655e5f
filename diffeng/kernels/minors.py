"""Cofactors of matrices of up to three rows, as what they are: numbers, products of two entries and their differences.

What it is: the row of lower.py for `cofactor`. Of matrices so small LAPACK would take longer to begin than the products take, and no matrix is singular here.

What it is not: larger ones, whose cofactors the primitive finds by singular values.
"""
from . import scalar
from .fuse import Immediate, Map
from .layout import View, new
from .scalar import type_name

LARGEST = 3                                # rows


def cofactor(lowering, node, x):
    """A view of the cofactors, or None for matrices that are too large for this."""
    n, type = x.shape[-1], type_name(node.dtype)
    if n > LARGEST or type not in ("f64", "f32") or x.dtype != node.dtype:
        return None
    out = new("arena", node.shape, node.dtype)
    out.buffer.stored = True

    def entry(v, i, j):
        """Of all matrices one entry; rows and columns go round."""
        return View(v.buffer, v.offset + i % n * v.strides[-2] + j % n * v.strides[-1], v.shape[:-2], v.strides[:-2], v.dtype)
    made = []
    for i in range(n):
        for j in range(n):
            if n == 1:
                rule, operands = scalar.CAST, (Immediate(node.dtype.type(1), type),)
            elif n == 2:
                rule, operands = scalar.FLOAT["negative"] if i != j else scalar.CAST, (entry(x, i + 1, j + 1),)
            else:                          # that rows and columns go round makes the sign
                rule, operands = _minor, (entry(x, i + 1, j + 1), entry(x, i + 2, j + 2), entry(x, i + 1, j + 2), entry(x, i + 2, j + 1))
            made.append(Map(x.shape[:-2], rule, type, (type,) * len(operands), operands, entry(out, i, j)))
    lowering.fuser.together(made)
    return out


def _minor(a, b, c, d):
    return a * b - c * d
