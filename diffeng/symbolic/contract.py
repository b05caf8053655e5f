"""Contractions: the adjoint of a sum of products, found by sympy in index notation and computed as matrix products.

An operand's axis of length 1 under a longer letter (matmul's batch axes, broadcast_to) stands still: its index is 0, not the letter.
transpose and broadcast_to are contractions of one factor, so their formulas stay readable.

Why a file: index_notation.py is about reductions; this is the other half, and the only place that calls matmul.
"""
import string

import numpy as np
import sympy as sp

from ..vocabulary import elementwise as e, reductions, shaping
from ..vocabulary.contraction import einsum, matmul


class Plan:
    """Sum over all letters not in `out` of the factors: [(which, letters or 0)], which "g" or an operand's number; out has one letter or 0 an axis."""

    __slots__ = ("factors", "out", "equal")

    def __init__(self, factors, out, equal=()):
        self.factors, self.out, self.equal = factors, out, equal          # equal: pairs of letters of `out` on whose diagonal the result lives

    def __call__(self, arrays, shape):
        """arrays: {which: array}. shape: of the result."""
        factors = []
        for which, letters in self.factors:
            a = arrays[which]
            if 0 in letters:
                a = shaping.reshape(a, shape=tuple(m for m, c in zip(np.shape(a), letters) if c != 0))
            factors.append((a, tuple(c for c in letters if c != 0)))
        sizes = {c: m for c, m in zip(self.out, shape) if c != 0}
        letters = tuple(sizes)
        result = _spread(*contract(factors, letters), letters, sizes)
        for a, b in self.equal:
            at = [np.arange(sizes[c]).reshape([-1 if d == c else 1 for d in letters]) for c in (a, b)]
            result = e.where(at[0] == at[1], result, np.zeros((), result.dtype))
        return result if np.shape(result) == shape else shaping.reshape(result, shape=shape)


def sizes_of(spec, shapes, out_shape=None):
    """{letter: length}, an axis of length 1 giving way."""
    inputs, out = spec.split("->")
    sizes = {}
    for term, shape in zip((*inputs.split(","), out), (*shapes, out_shape or ())):
        for c, m in zip(term, shape):
            sizes[c] = m if sizes.get(c, 1) == 1 else sizes[c]
    return sizes


def _indexed(name, letters):
    return sp.IndexedBase(name)[letters] if letters else sp.Symbol(name)


def _operands(spec, still):
    """The output's letters, and every operand's indices, 0 where an axis stands still."""
    inputs, out = spec.split("->")
    return tuple(out), [tuple(0 if s else c for c, s in zip(term, stays)) for term, stays in zip(inputs.split(","), still)]


def value_plan(spec, still):
    out, inputs = _operands(spec, still)
    return Plan(list(enumerate(inputs)), out)


def adjoint_plan(spec, still, slot):
    """The derivative of Sum(g[out] * A0[...] * A1[...], all letters) by an entry of operand `slot`."""
    out, inputs = _operands(spec, still)
    symbols = {c: sp.Symbol(c, integer=True) for c in spec if c.isalpha()}
    entry = tuple(0 if c == 0 else sp.Symbol(f"r{m}", integer=True) for m, c in enumerate(inputs[slot]))
    factors = [_indexed("g", tuple(symbols[c] for c in out))]
    factors += [_indexed(f"A{q}", tuple(symbols.get(c, 0) for c in letters)) for q, letters in enumerate(inputs)]
    bound = {symbols[c] for letters in (out, *inputs) for c in letters if c != 0}
    total = sp.Mul(*factors)
    slope = sp.diff(sp.Sum(total, *[(b, 1, sp.Symbol("n")) for b in sorted(bound, key=str)]) if bound else total, _indexed(f"A{slot}", entry))
    return plan_of(slope.function if isinstance(slope, sp.Sum) else slope, bound, entry)


def plan_of(product, bound, entry):
    """The sum of a product of entries over the letters in `bound`, as a Plan with the indices `entry`. Factors are deltas and entries: of the
    operands A0, A1, ..., and of others by their names."""
    equal, bound = [], set(bound)
    while deltas := sorted(product.atoms(sp.KroneckerDelta), key=str):
        a, b = deltas[0].args
        product = product.xreplace({deltas[0]: sp.Integer(1)})
        if a in bound or b in bound:
            a, b = (a, b) if a in bound else (b, a)
            product = product.xreplace({a: b})                # the delta collapses the sum over a
            bound.discard(a)
        else:
            equal.append((a, b))
    found = []
    for f in sp.Mul.make_args(product):
        name = str(f.base if isinstance(f, sp.Indexed) else f)
        if name != "1":
            found.append((int(name[1:]) if name[0] == "A" else name, tuple(0 if j == 0 else j for j in (f.indices if isinstance(f, sp.Indexed) else ()))))
    found.sort(key=lambda f: (type(f[0]) is str, f[0]))
    return Plan(found, entry, equal)


# ---- sums of products by primitives ------------------------------------------------------------------------------------------------

def contract(factors, out):
    """factors: [(array, letters)]. The sum over letters not in out: (array, letters), the letters a sub-sequence of out."""
    kept = [c for c in out if any(c in letters for _, letters in factors)]
    if len(factors) > 2 or any(len(set(letters)) < len(letters) for _, letters in factors):
        name = dict(zip(dict.fromkeys(c for _, letters in factors for c in letters), string.ascii_letters))
        spec = ",".join("".join(name[c] for c in letters) for _, letters in factors) + "->" + "".join(name[c] for c in kept)
        return einsum(*[a for a, _ in factors], subscripts=spec), kept
    alone = [_summed(a, letters, kept, [c for q, (_, other) in enumerate(factors) if q != p for c in other]) for p, (a, letters) in enumerate(factors)]
    if len(alone) == 1:
        return _permuted(*alone[0], kept), kept
    (a, la), (b, lb) = alone
    inner = [c for c in la if c in lb and c not in kept]
    if not inner:
        return e.multiply(_aligned(a, la, kept), _aligned(b, lb, kept)), kept
    batch = [c for c in kept if c in la and c in lb]
    rows, columns = ([c for c in kept if c in own and c not in batch] for own in (la, lb))
    if columns and kept[len(batch):len(batch) + 1] == columns[:1]:             # so that the result needs no transposing
        (a, la), (b, lb), rows, columns = (b, lb), (a, la), columns, rows
    size = dict(zip((*la, *lb), (*np.shape(a), *np.shape(b))))
    a = _grouped(a, la, [[c] for c in batch] + ([rows] if rows or batch else []) + [inner], size)
    b = _grouped(b, lb, [[c] for c in batch] + [inner] + ([columns] if columns or batch else []), size)
    result, letters = matmul(a, b), [*batch, *rows, *columns]
    shape = tuple(size[c] for c in letters)
    result = result if np.shape(result) == shape else shaping.reshape(result, shape=shape)
    return _permuted(result, letters, kept), kept


def _summed(a, letters, kept, others):
    """Letters that only this factor has, and the result has not, are summed first."""
    axes = tuple(m for m, c in enumerate(letters) if c not in kept and c not in others)
    return (reductions.sum(a, axis=axes, keepdims=False) if axes else a), tuple(c for m, c in enumerate(letters) if m not in axes)


def _permuted(a, letters, order):
    axes = tuple(letters.index(c) for c in order)
    return a if axes == tuple(range(len(axes))) else shaping.transpose(a, axes=axes)


def _aligned(a, letters, out):
    """Axes in the order of out, with length 1 for the letters it has not."""
    a = _permuted(a, list(letters), [c for c in out if c in letters])
    own = iter(np.shape(a))
    shape = tuple(next(own) if c in letters else 1 for c in out)
    return a if shape == np.shape(a) else shaping.reshape(a, shape=shape)


def _grouped(a, letters, groups, size):
    """One axis a group of letters."""
    a = _permuted(a, list(letters), [c for group in groups for c in group])
    shape = tuple(int(np.prod([size[c] for c in group])) for group in groups)
    return a if shape == np.shape(a) else shaping.reshape(a, shape=shape)


def _spread(a, letters, out, sizes):
    """Letters no factor has: the value repeats along them."""
    a = _aligned(a, letters, out)
    shape = tuple(sizes[c] for c in out)
    return a if np.shape(a) == shape else shaping.broadcast_to(a, shape=shape)
