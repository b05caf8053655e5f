"""Sums of sums and of products, and products read in another order: rules of simplify.py that may compute something anew, where nobody else reads it.

What it is: the table CONTRACTIONS, whose rules ask how often a node is read, and what rules of both tables ask about nodes.
What it is not: no walk (simplify.py), and no order in which three operands are contracted (kernels/contract.py).
Why a file: they change the order of a sum, as any compiler of sums does; the rules of simplify.py keep every bit.
"""
import math

import numpy as np

from .constants import unchanging
from .nodes import Node
from .vocabulary.contraction import subscripts

PRODUCTS = ("matmul", "tensordot", "dot", "einsum")


def floats(n):
    """Is n computed from floating-point numbers alone? Integers wrap, truth values do not subtract."""
    return n.dtype.kind == "f" and all([x.dtype.kind == "f" if type(x) is Node or isinstance(x, (np.ndarray, np.generic)) else True for x in n.operands])


def inner(x, name):
    """The first operand of a node of this primitive, else None."""
    return x.operands[0] if type(x) is Node and x.primitive.name == name else None


def shape_of(x):
    return x.shape if type(x) is Node else np.shape(x)


def _sum_of_sum(walk, n, x):
    if not walk.once(x, "sum") or not floats(n) or x.dtype != n.dtype:
        return None
    y, first = x.operands[0], x.params["axis"]
    kept = [k for k in range(len(shape_of(y))) if x.params["keepdims"] or k not in first]
    axis = tuple(sorted({*first, *[kept[k] for k in n.params["axis"]]}))
    shape = [m for k, m in enumerate(shape_of(y)) if k not in axis]
    return walk.make(n, "reshape", walk.make(n, "sum", y, params={"axis": axis, "keepdims": False}, shape=shape), params={"shape": n.shape})


def _sum_of_product(walk, n, x):
    """Letters that both factors have may be summed with the product's own: X'G over a batch is one product of matrices. Those of one factor are summed before:
    1'(XW) = (1'X)W."""
    if not walk.once(x, *PRODUCTS) or len(x.operands) != 2 or any([y.dtype != n.dtype for y in (x, *x.operands)]):
        return None
    inputs, out = subscripts(x.primitive.name, [len(shape_of(y)) for y in x.operands], x.params).split("->")
    terms, summed = inputs.split(","), {out[k] for k in n.params["axis"]}
    one = dict(zip(terms[0], shape_of(x.operands[0])))
    if any([one.get(c, m) != m for c, m in zip(terms[1], shape_of(x.operands[1]))]) or any([len(set(t)) < len(t) for t in terms]) or 0 in x.shape:
        return None
    factors = list(x.operands)
    for k, (t, y) in enumerate(zip(terms, factors)):
        own = tuple([j for j, c in enumerate(t) if c in summed and c not in terms[1 - k]])
        if own:
            terms[k] = "".join([c for j, c in enumerate(t) if j not in own])
            factors[k] = walk.make(n, "sum", y, params={"axis": own, "keepdims": False}, shape=[m for j, m in enumerate(shape_of(y)) if j not in own])
    if not terms[0] or not terms[1]:
        return None
    return _contraction(walk, n, factors, ",".join(terms), "".join([c for c in out if c not in summed]), x.shape, n.params["axis"])


def _sum_of_outer(walk, n, x):
    """A sum over an outer product, larger than both factors together: it need not be written down."""
    if not walk.once(x, "multiply") or not all([type(y) is Node and y.dtype == n.dtype for y in (x, *x.operands)]) or 0 in x.shape or len(x.shape) > 26:
        return None
    if math.prod(x.shape) <= sum([math.prod(y.shape) for y in x.operands]):
        return None
    letters = "abcdefghijklmnopqrstuvwxyz"[:len(x.shape)]
    aligned = [(1,) * (len(x.shape) - len(y.shape)) + y.shape for y in x.operands]
    left, right = ["".join(c for c, m in zip(letters, shape) if m > 1) for shape in aligned]
    summed = {letters[k] for k in n.params["axis"] if x.shape[k] > 1}
    if not summed or not summed <= set(left) & set(right):
        return None
    factors = [walk.make(n, "reshape", y, params={"shape": shape}, shape=shape) for y in x.operands for shape in [tuple([m for m in y.shape if m > 1])]]
    kept = "".join(c for c, m in zip(letters, x.shape) if m > 1 and c not in summed)
    return _contraction(walk, n, factors, f"{left},{right}", kept, x.shape, n.params["axis"])


def _contraction(walk, n, factors, inputs, out, shape, axis):
    shape, every = [m for k, m in enumerate(shape) if k not in axis], len(out) == len(shape) - len(axis)
    shape = shape if every else [m for m in shape if m > 1]
    return walk.make(n, "reshape", walk.make(n, "einsum", *factors, params={"subscripts": f"{inputs}->{out}"}, shape=shape), params={"shape": n.shape})


def _product_in_order(walk, n, x):
    """A product that is only read in another order is written in that order: BLAS does either, and whoever reads its rows walks straight on."""
    if not _is_product(walk, x):
        return None
    inputs, out = _letters(x)
    return walk.make(n, "einsum", *x.operands, params={"subscripts": ",".join(inputs) + "->" + "".join([out[k] for k in n.params["axes"]])})


def _made_in_order(walk, n, x):
    """Likewise a result that is made of a product entry by entry."""
    chain = _made_of(walk, x) if id(n) in walk.results else ()
    return _turned(walk, chain, n.params["axes"]) if len(chain) > 1 and _is_product(walk, chain[-1]) else None


def _read_in_order(walk, n, *operands):
    """What a product reads, made entry by entry of an array in another order, is made in that array's."""
    out = []
    for x in operands:
        chain = _made_of(walk, x)
        if len(chain) > 1 and inner(chain[-1], "transpose") is not None:
            axes = chain[-1].params["axes"]
            back = tuple(sorted(range(len(axes)), key=axes.__getitem__))
            x = walk.make(x, "transpose", _turned(walk, chain, back), params={"axes": axes})
        out.append(x)
    return None if all([x is y for x, y in zip(out, operands)]) else walk.make(n, n.primitive.name, *out, params=n.params)


def _made_of(walk, x):
    """x, and as long as that is elementwise and read once, the operand that alone has its shape, where others vary along one axis at most."""
    chain = [x]
    while type(x) is Node and x.primitive.kind == "map" and walk.once(x, x.primitive.name):
        whole = [y for y in x.operands if shape_of(y) == x.shape]
        if len(whole) != 1 or any([sum([m > 1 for m in shape_of(y)]) > 1 for y in x.operands if y is not whole[0]]):
            break
        x = whole[0]
        chain.append(x)
    return chain


def _turned(walk, chain, axes):
    """What heads a chain of `_made_of`, with its axes in another order: made of what ends it, in that order."""
    shape, made = tuple([chain[0].shape[k] for k in axes]), None

    def turned(y):
        lengths = (1,) * (len(axes) - len(shape_of(y))) + shape_of(y)
        lengths = tuple([lengths[k] for k in axes])
        return walk.make(chain[0], "reshape", y, params={"shape": lengths}, shape=lengths, dtype=y.dtype) if math.prod(lengths) != 1 else y
    for x, below in zip(reversed(chain), (None, *reversed(chain))):
        made = walk.make(x, x.primitive.name, *[made if y is below else turned(y) for y in x.operands], params=x.params, shape=shape) if made is not None else \
            walk.make(x, "transpose", x, params={"axes": axes}, shape=shape)
    return made


def _is_product(walk, x):
    return walk.once(x, *PRODUCTS) and len(x.operands) == 2


def _one_column(walk, n, x):
    """The column of a product with a matrix of one column: the product with a vector, such as each direction of a Jacobian is."""
    if not _is_product(walk, x) or x.shape != (*n.shape, 1):
        return None
    (left, right), out = _letters(x)
    y, column = x.operands[1], out[-1:]
    if column in left or column != right[-1] or type(y) is not Node:
        return None
    vector = walk.make(n, "reshape", y, params={"shape": y.shape[:-1]}, shape=y.shape[:-1], dtype=y.dtype)
    return walk.make(n, "einsum", x.operands[0], vector, params={"subscripts": f"{left},{right[:-1]}->{out[:-1]}"})


def _letters(x):
    """(those of each operand, those of the result) of a product."""
    inputs, out = subscripts(x.primitive.name, [len(shape_of(y)) for y in x.operands], x.params).split("->")
    return inputs.split(","), out


def units(x):
    """Is x a unit matrix that nobody else can write into, such as the directions of a Jacobian, but for axes of length 1?"""
    shape = [m for m in np.shape(x) if m > 1]
    return unchanging(x) and len(shape) == 2 and shape[0] == shape[1] and np.array_equal(x.reshape(shape), np.eye(shape[0], dtype=x.dtype))


def _product_with_units(walk, n, *operands):
    """Of all terms of such a sum one is there."""
    if len(operands) != 2:
        return None
    x, y = operands
    inputs, out = _letters(n)
    for one, other, mine, its in zip((x, y), (y, x), inputs, reversed(inputs)):
        if type(other) is not Node or other.dtype != n.dtype or not units(one) or len({*its}) < len(its):
            continue
        place = {c for c, m in zip(mine, one.shape) if m > 1}
        summed, free = place & {*its} - {*out}, place & {*out} - {*its}
        if len(summed) != 1 or len(free) != 1 or {*its} - summed - {*out}:
            continue
        letters = its.replace(*summed, *free)
        if any([c not in letters and m > 1 for c, m in zip(out, n.shape)]) or {*out} - {*letters} - {*mine}:
            continue
        order = tuple([letters.index(c) for c in out if c in letters])
        turned = walk.make(n, "transpose", other, params={"axes": order}, shape=[shape_of(other)[k] for k in order])
        return walk.make(n, "reshape", turned, params={"shape": n.shape})
    return None


def _added_there(walk, n, x, y):
    """x + (zeros with v added where arrays say) = x with v added there: what is mostly zeros is never written."""
    for onto, part in ((x, y), (y, x)):
        if walk.once(part, "scatter") and len(part.operands) > 1 and type(onto) is Node and onto.shape == part.shape and onto.dtype == part.dtype == n.dtype:
            return walk.make(n, "add_at", onto, *part.operands, params={"index": part.params["index"]})
    return None


CONTRACTIONS = (
    ("add",          "what is added to few entries",    _added_there, "scatter"),
    ("sum",          "sum of a sum: one pass",          _sum_of_sum),
    ("sum",          "sum of products of matrices over what both have", _sum_of_product),
    ("sum",          "sum of an outer product",         _sum_of_outer),
    ("transpose",    "a product in another order",      _product_in_order),
    ("transpose",    "what is made of a product, likewise", _made_in_order),
    ("reshape",      "the one column of a product",     _one_column, " ".join(PRODUCTS)),
    *[(name,         "a product with a unit matrix",    _product_with_units) for name in PRODUCTS],
    *[(name,         "a product of what is made of a transposed array", _read_in_order) for name in PRODUCTS],
)
