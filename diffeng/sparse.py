"""Sparse Jacobians: which entries can be other than 0, how few directions tell them all, and the matrix put together again.

What it is: `pattern` walks a recorded graph forwards, each value carrying the set of input entries that each of its entries depends on, by the kind of its
primitive; `colours` gives columns that share no row one colour; `jacobian_blocks` asks a method for one direction a colour (Curtis, Powell & Reid, IMA J. Appl.
Math. 13, 1974) and reads the entries off the sums.

What it is not: no derivative. The methods are asked as for a dense Jacobian, with other directions; a pattern only says where 0 is certain.

Why a file: it knows of primitives their kind and their indices, and of methods that they are linear.
"""
import math

import numpy as np
import scipy.sparse

from .errors import refuse
from .nodes import Node, reachable
from .vocabulary import contraction
from .vocabulary.indexing import join

LARGEST = 1 << 24          # pairs of entries that a product with a constant is looked through for zeros
FULLEST = 1 << 28          # entries of a pattern, of whatever value inside of the function


# ---- which entries depend on which -------------------------------------------------------------------------------------------------------

def pattern(inputs, outputs):
    """A boolean csr_array, (entries of all outputs, entries of all inputs): False where an entry of an output does not depend on one of an input.

    inputs: nodes; outputs: nodes with values, or (None, size) for a constant. An entry that only decides a branch, a comparison or a place counts as none: its
    derivative is 0.
    """
    width = sum([math.prod(n.shape) for n in inputs])
    known, start = {}, 0
    for n in inputs:
        size = math.prod(n.shape)
        known[n] = scipy.sparse.csr_array((np.ones(size, bool), (np.arange(size), np.arange(start, start + size))), shape=(size, width))
        start += size
    for n in reachable([o for o in outputs if isinstance(o, Node)]):
        if n not in known and n.dtype.kind == "f":
            parts = [_moved(n, slot, known[p]) for slot, p in enumerate(n.operands)
                     if type(p) is Node and p in known and n.primitive.differentiable(slot)]
            if parts:
                known[n] = sum(parts[1:], parts[0])                      # of truth values: any
    rows = [known[o] if isinstance(o, Node) and o in known else scipy.sparse.csr_array((math.prod(o.shape if isinstance(o, Node) else o[1]), width), dtype=bool)
            for o in outputs]
    return scipy.sparse.vstack(rows, format="csr") if rows else scipy.sparse.csr_array((0, width), dtype=bool)


def _moved(n, slot, rows):
    """The rows of an operand at the entries of the result that they influence."""
    kind, x = n.primitive.kind, n.operands[slot]
    if kind == "map":
        return _chosen(rows, np.broadcast_to(_places(x.shape), n.shape).ravel())
    if kind in ("view", "gather") or n.primitive.name == "setitem":
        return _taken(rows, _origins(n, slot))
    if kind == "scatter":
        return _added(n, slot, rows)
    if kind == "reduce":
        kept = [1 if k in n.params["axis"] else length for k, length in enumerate(x.shape)]
        return _together(rows, np.broadcast_to(_places(kept), x.shape), math.prod(n.shape))
    if kind == "contract":
        return _contracted(n, slot, rows)
    if kind == "linalg":                                                     # each matrix by itself
        batch = x.shape[:-2]
        of, to = (np.broadcast_to(_places(batch).reshape(batch + (1,) * (len(s) - len(batch))), s).ravel() for s in (x.shape, n.shape))
        return _chosen(_together(rows, of, math.prod(batch)), to)
    if n.primitive.name in ("cumsum", "cumprod"):
        along = np.moveaxis(_places(x.shape), n.params["axis"], -1)
        later, earlier = np.tril_indices(along.shape[-1])
        return _linked(rows, along[..., later].ravel(), along[..., earlier].ravel(), math.prod(n.shape))
    return _chosen(_together(rows, np.zeros(x.shape, int), 1), np.zeros(math.prod(n.shape), int))          # nothing is known: all on all


def _places(shape):
    return np.arange(math.prod(shape)).reshape(shape)


def _chosen(rows, at):
    _watched(rows, at)
    return rows[at]


def _watched(rows, at):
    """How full does it become? A function that is not sparse inside would fill the memory."""
    if int(np.diff(rows.indptr)[at].sum()) > FULLEST:
        raise refuse(ValueError, "jacobian(sparse=True){here}: a value inside of the function has so many entries, each of which depends on so many of the "
                                 "inputs, that nothing is gained from zeros: leave sparse out")


def _linked(rows, to, of, size):
    """Rows of a result of `size` entries: the union of rows[of[i]] over all i with to[i] = the entry."""
    _watched(rows, of)
    return scipy.sparse.csr_array((np.ones(len(to), bool), (to, of)), shape=(size, rows.shape[0])) @ rows


def _together(rows, to, size):
    return _linked(rows, to.ravel(), np.arange(to.size), size)


def _taken(rows, origins):
    """rows[origins], none where an origin is -1."""
    at = np.flatnonzero(origins.ravel() >= 0)
    return _chosen(rows, origins.ravel()) if len(at) == origins.size else _linked(rows, at, origins.ravel()[at], origins.size)


def _value(x):
    return x.value if type(x) is Node else x


def _origins(n, slot):
    """For each entry of the result its place in the operand, -1 where it comes from elsewhere: the primitive itself, run on places in place of values."""
    operands = [_places(x.shape) if q == slot else np.full(np.shape(x), -1) if n.primitive.differentiable(q) else _value(x) for q, x in enumerate(n.operands)]
    params = {**n.params, "value": -1} if "value" in n.params else n.params
    return np.asarray(n.primitive.compute(operands, params))


def _added(n, slot, rows):
    """add_at and scatter: the base stays where it is, values are added where the index says."""
    if n.primitive.name == "add_at" and slot == 0:
        return rows
    first = 2 if n.primitive.name == "add_at" else 1
    to = _places(n.shape)[join(n.params["index"], [_value(x) for x in n.operands[first:]])]
    of = np.broadcast_to(_places(n.operands[slot].shape), np.shape(to))
    return _linked(rows, np.ravel(to), np.ravel(of), math.prod(n.shape))


def _contracted(n, slot, rows):
    """A sum of products: over the letters that the result has not. Where all other factors are constants, their zeros count."""
    terms, out = contraction.subscripts(n.primitive.name, [len(np.shape(x)) for x in n.operands], n.params).split("->")
    terms, shapes = terms.split(","), [np.shape(x) for x in n.operands]
    length = {}
    for term, shape in zip([*terms, out], [*shapes, n.shape]):
        for c, m in zip(term, shape):
            length[c] = max(m, length.get(c, 1))
    own = terms[slot]
    letters = [*dict.fromkeys(out + own)]
    others = [q for q in range(len(terms)) if q != slot]
    if all([type(n.operands[q]) is not Node for q in others]) and math.prod([length[c] for c in letters]) <= LARGEST:
        grid = dict(zip(letters, np.indices([length[c] for c in letters], sparse=True)))
        links = np.ones([length[c] for c in letters], bool)
        for q in others:
            kept = "".join([c for c in dict.fromkeys(terms[q]) if c in grid])
            there = np.einsum(f"{terms[q]}->{kept}", np.not_equal(n.operands[q], 0).astype(float)) > 0
            links = links & there[_index(kept, grid, terms[q], shapes[q])]
        to, of = (np.broadcast_to(_places(shape)[_index(term, grid, term, shape)], links.shape)[links] for term, shape in ((out, n.shape), (own, shapes[slot])))
        return _linked(rows, to, of, math.prod(n.shape))
    kept = "".join([c for c in dict.fromkeys(own) if c in out])
    size = dict(zip(own, shapes[slot]))
    grid = dict(zip(own, np.indices(shapes[slot], sparse=True)))
    reduced = _together(rows, np.broadcast_to(_places([size[c] for c in kept])[tuple([grid[c] for c in kept])] if kept else np.zeros((), int), shapes[slot]),
                        math.prod([size[c] for c in kept]))
    grid = dict(zip(out, np.indices(n.shape, sparse=True)))
    return _chosen(reduced, np.broadcast_to(_places([size[c] for c in kept])[_index(kept, grid, kept, [size[c] for c in kept])], n.shape).ravel())


def _index(letters, grid, term, shape):
    """An index of an array with these axes on a grid over letters; an axis of length 1 stands still."""
    size = dict(zip(term, shape))
    return tuple([grid[c] if size[c] > 1 else 0 * grid[c] for c in letters])


# ---- how few directions ------------------------------------------------------------------------------------------------------------------

def colours(rows):
    """A colour, 0, 1, 2, ..., for each column of a pattern: columns of one colour have no row in common. Greedy, the fullest column first.

    >>> band = np.abs(np.subtract.outer(np.arange(50), np.arange(50))) < 2
    >>> int(colours(scipy.sparse.csr_array(band)).max()) + 1
    3
    """
    columns = rows.tocsc()
    begin, index = columns.indptr, columns.indices.tolist()
    out, taken = np.zeros(rows.shape[1], int), [0] * rows.shape[0]                 # taken: the colours of a row, as the bits of a number
    for j in np.argsort(-np.diff(begin), kind="stable").tolist():
        mine, used = index[begin[j]:begin[j + 1]], 0
        for i in mine:
            used |= taken[i]
        free = ~used & (used + 1)                                        # the lowest bit that is not set
        for i in mine:
            taken[i] |= free
        out[j] = free.bit_length() - 1
    return out


# ---- the matrix ----------------------------------------------------------------------------------------------------------------------------

def jacobian_blocks(recorded, method):
    """For each output a list with one sparse array for each leaf, of shape out.shape + leaf.shape.

    method: "forward" (colours of columns), "reverse" or "symbolic" (of rows), "auto": as the fullest row and the fullest column say.
    """
    flat, outputs = recorded.flat, [o if o is not None and o.dtype.kind == "f" else (None, np.shape(v)) for o, v in zip(recorded.outputs, recorded.values)]
    rows = pattern(recorded.nodes, outputs)
    i, j = rows.nonzero()
    if method == "auto":
        method = "forward" if np.bincount(i).max(initial=0) <= np.bincount(j).max(initial=0) else "reverse"
    values = _forward(flat, recorded, rows, i, j) if method == "forward" else _backward(recorded, method, rows, i, j)
    matrix, blocks, first = scipy.sparse.csr_array((values, (i, j)), shape=rows.shape), [], 0
    for v in recorded.values:
        last, at, row = first + math.prod(np.shape(v)), 0, []
        for x in flat.leaves:
            row.append(_shaped(matrix[first:last, at:at + x.size].astype(x.dtype), np.shape(v), np.shape(x)))
            at += x.size
        blocks.append(row)
        first = last
    return blocks


def _shaped(block, out, leaf):
    """Of vectors a csr_array, of other shapes a coo_array of as many axes; of numbers a number."""
    if len(out) == len(leaf) == 1:
        return block
    block = block.tocoo()
    if not out + leaf:
        return block.toarray().reshape(())[()]
    return scipy.sparse.coo_array((block.data, (*np.unravel_index(block.row, out), *np.unravel_index(block.col, leaf)) if out and leaf
                                   else np.unravel_index(block.row if out else block.col, out + leaf)), shape=out + leaf)


def _forward(flat, recorded, rows, i, j):
    """The entries (i, j), read off the tangents along one direction a colour."""
    from . import forward_mode
    from .every_direction import CHUNK
    colour = colours(rows)
    values = np.zeros(len(i), np.result_type(*[x.dtype for x in flat.leaves]))
    for lo in range(0, int(colour.max(initial=-1)) + 1, CHUNK):
        hi = min(lo + CHUNK, int(colour.max()) + 1)
        tangents, start = [], 0
        for x in flat.leaves:
            mine = colour[start:start + x.size]
            seed, at = np.zeros((hi - lo, x.size), x.dtype), np.flatnonzero((mine >= lo) & (mine < hi))
            seed[mine[at] - lo, at] = 1
            tangents.append(seed.reshape((hi - lo, *np.shape(x))))
            start += x.size
        outputs, pushed = forward_mode.push(flat, flat.leaves, tangents)
        wide = np.concatenate([np.zeros((hi - lo, v.size)) if t is None else t.reshape(hi - lo, v.size) for v, t in zip(outputs, pushed)], axis=1)
        now = (colour[j] >= lo) & (colour[j] < hi)
        values[now] = wide[colour[j[now]] - lo, i[now]]
    return values


def _backward(recorded, method, rows, i, j):
    """The entries (i, j), read off the pullbacks of one cotangent a colour."""
    colour = colours(rows.T.tocsr())
    values = np.zeros(len(i), np.result_type(*[x.dtype for x in recorded.flat.leaves]))
    order = np.argsort(colour[i], kind="stable")
    ends = np.searchsorted(colour[i][order], np.arange(int(colour.max(initial=-1)) + 2))
    for c, (lo, hi) in enumerate(zip(ends, ends[1:])):
        units, start = [], 0
        for v in recorded.values:
            size = math.prod(np.shape(v))
            units.append((colour[start:start + size] == c).astype(v.dtype if v.dtype.kind == "f" else float).reshape(np.shape(v))[()])
            start += size
        pulled = np.concatenate([np.ravel(g) for g in recorded.pull(units, method)])
        now = order[lo:hi]
        values[now] = pulled[j[now]]
    return values
