"""Sums of products: matmul, dot, tensordot, einsum.

`subscripts` writes any of them as an einsum: what they compute, said once, for whoever needs the index notation of the value.
"""
import functools
import math
import string

import numpy as np

from ..nodes import Primitive

_A = ((0.3, 1.5), (0.3, 1.5))


def subscripts(name, ranks, params):
    """The explicit einsum string ("abc,cd->abd") of a contraction. matmul's batch axes broadcast: they align from the right."""
    if name == "einsum":
        return params["subscripts"]
    letters = string.ascii_letters
    m, n = ranks
    if name == "matmul":
        batch = max(m, n, 2) - 2
        lead, row, inner, column = letters[:batch], letters[batch], letters[batch + 1], letters[batch + 2]
        left = inner if m == 1 else lead[batch - (m - 2):] + row + inner
        right = inner if n == 1 else lead[batch - (n - 2):] + inner + column
        out = lead + ("" if m == 1 else row) + ("" if n == 1 else column)
        return f"{left},{right}->{out}"
    if name == "dot":
        axes = ((m - 1,), (max(n - 2, 0),))
    else:
        axes = params["axes"]
    left, right = list(letters[:m]), list(letters[m:m + n])
    for i, j in zip(*axes):
        right[j] = left[i]
    out = [c for k, c in enumerate(left) if k not in axes[0]] + [c for k, c in enumerate(right) if k not in axes[1]]
    return f"{''.join(left)},{''.join(right)}->{''.join(out)}"


def _infer(name):
    def infer(*operands, **params):
        if name == "matmul" and not all(map(np.ndim, operands)):
            raise ValueError("matmul: a scalar is no operand; use * instead")
        size = {}
        inputs, out = subscripts(name, [x.ndim for x in operands], params).split("->")
        for k, (term, x) in enumerate(zip(inputs.split(","), operands, strict=True)):
            if len(term) != x.ndim:
                raise ValueError(f"operand {k} has {x.ndim} axes, and the subscripts {term!r} are {len(term)}")
            for c, n in zip(term, x.shape):
                before = size.setdefault(c, n)
                if before != n and (1 not in (before, n) or c not in out and name != "einsum"):
                    raise ValueError(f"an axis of length {before} meets one of length {n}")
                size[c] = n if before == 1 else before
        return tuple(size[c] for c in out), np.result_type(*operands)
    return infer


def _tensordot(x, y, *, axes):
    """np.tensordot, which moves and reshapes in Python: along one axis of vectors and matrices it is a product as it is."""
    if len(axes[0]) != 1 or x.ndim > 2 or y.ndim > 2:
        return np.tensordot(x, y, axes)
    (i,), (j,) = axes
    return np.dot(x if i == x.ndim - 1 else x.T, y if j == 0 else y.T)


SMALL = 1 << 12                             # terms of a sum that are added in one loop sooner than an order is chosen


def _einsum(*operands, subscripts):
    """Pair after pair; all in the dtype of the result first, for a pair of small integers among floats would wrap. (Pairs make arrays without axes.)"""
    if len(operands) == 1:
        return np.einsum(subscripts, *operands)
    dtype = operands[0].dtype
    if any([x.dtype != dtype for x in operands]):
        dtype = np.result_type(*operands)
        operands = [x.astype(dtype, copy=False) for x in operands]
    few, pairs = ordered(subscripts, tuple([x.shape for x in operands]))
    if few:
        return np.einsum(subscripts, *operands)[()]
    operands = [*operands]
    for places, pair in pairs:
        operands.append(np.einsum(pair, *[operands.pop(k) for k in places], optimize=True))
    return operands[0][()]


@functools.lru_cache(maxsize=1000)
def ordered(subscripts, shapes):
    """(are there few terms?, ((where operands are taken from the list of those that are left, their subscripts), ...)): each result is put at its end."""
    size = {}
    for letters, shape in zip(subscripts.split("->")[0].split(","), shapes):
        size.update({c: n for c, n in zip(letters, shape) if size.get(c, 1) == 1})
    few = math.prod(size.values()) <= SMALL
    if few or len(shapes) == 2:
        return few, (((0, 0), subscripts),)
    import opt_einsum
    _, found = opt_einsum.contract_path(subscripts, *shapes, shapes=True)
    return few, tuple([(step[0], step[2]) for step in found.contraction_list])


matmul    = Primitive("matmul", np.matmul, "contract", None, _A, _infer("matmul"))
dot       = Primitive("dot", np.dot, "contract", None, _A, _infer("dot"))                                        # ranks >= 1
tensordot = Primitive("tensordot", _tensordot, "contract", None, _A, _infer("tensordot"))   # axes: two tuples >= 0
einsum    = Primitive("einsum", _einsum, "contract", None, _A, _infer("einsum"))                                   # subscripts: explicit, no ellipsis
