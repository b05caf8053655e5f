"""Products that are added to something, perhaps times a number: BLAS adds them while it computes them.

What it is: `accumulated(steps)`. W - lr X'Y of a training step is a product, and a loop that reads it once and is its only reader; BLAS's gemm computes
alpha A B + C where C lies, so that the product itself is never written, and new weights lie where the old ones did if these were given away (donation.py).

What it is not: no algebra. Product, factor and sum must stand there as the program has them; whoever else needs the product finds it computed on its own.
"""
from .fuse import Group, Immediate, Map, Product
from .layout import View
from .scalar import FLOAT, type_name
from .tiles import inner, reads


def accumulated(steps):
    """The same steps, with products in the place of those loops that did nothing but add them to something."""
    if not any([type(s) is Product for s in steps]):
        return steps
    readers = {}
    for k, s in enumerate(steps):
        for part in inner(s):
            for b in reads(part):
                readers.setdefault(b, set()).add(k)
    out = list(steps)
    for k, s in enumerate(steps):
        if type(s) is Product and s.out.buffer.kind == "arena" and len(readers.get(id(s.out.buffer), ())) == 1:
            reader, = readers[id(s.out.buffer)]
            added = _added(s, out[reader])            # out: a loop that has become a product stays one
            if added is not None:
                out[k], out[reader] = None, added
    return [s for s in out if s is not None]


def _added(product, group):
    """The product that does what a product and its reader do, or None."""
    if type(group) is not Group or len(group.operations) > 2 or not all([_plain(o, product) for o in group.operations]):
        return None
    if sum([type(x) is View and x.buffer is product.out.buffer for o in group.operations for x in o.operands]) != 1:          # z + z / 2 needs z itself
        return None
    *before, last = group.operations
    scale, made = None, product.out.buffer
    if before:
        scaling, = before
        if scaling.rule is not FLOAT["multiply"] or scaling.out.buffer.stored:
            return None
        scale = _other(scaling, made)
        if not _is_number(scale, product):
            return None
        made = scaling.out.buffer
    onto = _other(last, made)
    if last.rule is not FLOAT["add"] and (last.rule is not FLOAT["subtract"] or onto is not last.operands[0]) \
            or type(onto) is not View or not onto.whole() or onto.dtype != product.out.dtype:
        return None
    if any([v.buffer is onto.buffer for v in (product.left, product.right)]):           # a factor, too: the loop can write over it, a product could not
        return None

    def like(v):
        return View(v.buffer, product.out.offset, product.out.shape, product.out.strides, product.out.dtype)
    return Product(product.left, product.right, like(last.out), like(onto), scale, last.rule is FLOAT["subtract"])


def _plain(o, product):
    """Is it an operation on all entries, one by one, in the product's type?"""
    type_ = type_name(product.out.dtype)
    return type(o) is Map and o.level == "full" and not o.accumulate and len(o.operands) == 2 and o.result == type_ and o.casts == (type_, type_) \
        and type(o.out) is View and o.out.whole() and o.out.size == product.out.size and min(product.out.shape[-2:]) > 1


def _other(o, made):
    """The operand of an operation that is not `made`, all of it; None where there is no such."""
    mine = [type(x) is View and x.buffer is made and x.whole() for x in o.operands]
    return o.operands[1 - mine.index(True)] if sum(mine) == 1 else None


def _is_number(x, product):
    """One number for all entries: one of the program's, or one that lies in memory when the product is computed."""
    return type(x) is Immediate or type(x) is View and not any(x.strides) and x.dtype == product.out.dtype
