"""Many small products of matrices as few large ones: BLAS is at its peak only on those.

What it is: `stacked(outputs)`, a graph rewritten. A1'B1 + A2'B2 + ... = (A1 over A2 ...)'(B1 over B2 ...): the gradient of a weight that every step of a loop
reads. A1 W, A2 W, ... = (A1 over A2 ...) W: a layer applied step by step to what is known beforehand. Operands are copied next to each other, unless they
follow each other in one array already, or can be computed there (joining.py).

What it is not: no rule of arithmetic (simplify.py), no BLAS (contract.py).
"""
from ..nodes import Node, Outputs, Primitive, reachable
from ..vocabulary.shaping import broadcast_shapes
from .sizes import is_short

FEW = 7                         # columns of a shared matrix up to which copying what it multiplies costs about as much as the products
MOST = 32                       # products stacked at most, of whatever sizes: all that a longer stack is made of would have to be in memory at once


def stacked(outputs):
    """Nodes that compute the same as these: the same shapes, dtypes and input nodes. outputs: Nodes, or constants, which pass as they are.

    >>> import numpy as np
    >>> from diffeng.nodes import Tracing
    >>> tracing = Tracing()
    >>> x, y, w = [tracing.input(None, name, (8, 8), np.float64) for name in "xyw"]
    >>> [n.primitive.name for n in reachable(stacked([(np.sin(x @ w) + np.cos(y @ w)).node])) if n.operands]
    ['concatenate', 'matmul', 'getitem', 'sin', 'getitem', 'cos', 'add']
    """
    order = reachable(outputs)
    products = [n for n in order if _is_product(n)]
    if len(products) < 2:
        return outputs
    uses, depth = {}, {}
    for n in order:
        below = [depth[id(x)] for x in n.operands if type(x) is Node]
        depth[id(n)] = max(below, default=0) + _is_product(n)
        for x in n.operands:
            uses[id(x)] = uses.get(id(x), 0) + 1
    for x in outputs:
        uses[id(x)] = uses.get(id(x), 0) + 2
    def place(n):                                        # products at one depth do not depend on each other: each may stand where the first of them stood
        return depth[id(n)], n.serial
    sums, inner = _sums(order, uses, place)
    runs = {id(n): run for root in sums.values() for run in root for n in run}
    shared = _shared([n for n in products if id(n) not in runs], depth)
    if not runs and not shared:
        return outputs
    return _Rewriting(sums, inner, runs, shared).over(outputs, sorted(order, key=place))


def _is_product(n):
    return n.primitive.name == "matmul" and len(n.shape) == 2 and all([len(x.shape) == 2 and x.dtype == n.dtype for x in n.operands]) and 0 not in n.shape


def _transposed(x):
    return type(x) is Node and x.primitive.name == "transpose"


def _runs(nodes):
    """Consecutive nodes, MOST of them together; none alone."""
    runs = [nodes[k:k + MOST] for k in range(0, len(nodes), MOST)]
    return [run for run in runs if len(run) > 1]


def _sums(order, uses, place):
    """({id of an add: runs of products}: the roots of trees of additions, with those of their terms that are stacked; the ids of the other additions there)."""
    inner, found, gone = {}, {}, set()
    for n in order:
        if n.primitive.name == "add" and n.dtype.kind == "f":
            for x in n.operands:
                if type(x) is Node and x.primitive.name == "add" and uses[id(x)] == 1 and x.shape == n.shape and x.dtype == n.dtype:
                    inner[id(x)] = n                             # read by nobody else
    for root in order:
        if root.primitive.name != "add" or id(root) in inner or root.dtype.kind != "f":
            continue
        kinds, (terms, additions) = {}, _terms(root, inner)
        for n in terms:
            if type(n) is Node and _is_product(n) and uses[id(n)] == 1 and n.shape == root.shape and n.dtype == root.dtype:
                kinds.setdefault(tuple(map(_transposed, n.operands)), []).append(n)
        runs = [run for nodes in kinds.values() for run in _runs(sorted(nodes, key=place))]
        if runs:
            found[id(root)] = runs
            gone.update(additions)
    return found, gone


def _terms(root, inner):
    """What a tree of additions adds up, from left to right, and the ids of the additions below the root."""
    stack, terms, additions = list(reversed(root.operands)), [], set()
    while stack:
        x = stack.pop()
        if id(x) in inner:
            additions.add(id(x))
            stack += reversed(x.operands)
        else:
            terms.append(x)
    return terms, additions


def _shared(products, depth):
    """{id of a product: (run, place)}: small products by the same matrix."""
    kinds, found = {}, {}
    for n in products:
        if not is_short(n.shape[1], FEW):
            kinds.setdefault((id(n.operands[1]), depth[id(n)]), []).append(n)
    for nodes in kinds.values():
        for run in _runs(nodes):
            found.update({id(n): (run, place) for place, n in enumerate(run)})
    return found


class _Rewriting:
    def __init__(self, sums, inner, runs, shared):
        self.sums, self.inner, self.runs, self.shared = sums, inner, runs, shared
        self.now, self.whole, self.stacks = {}, {}, {}

    def over(self, outputs, order):
        for n in order:
            self.now[id(n)] = self._again(n)
        return Outputs([self.now[id(n)] if isinstance(n, Node) else n for n in outputs])

    def _again(self, n):
        if not n.operands:
            return n
        if id(n) in self.inner:
            return None
        if id(n) in self.runs:
            run = self.runs[id(n)]
            if n is run[-1]:                                 # where its last operands are there: those before may go then
                left, right = zip(*sorted([[x.operands[0] if _transposed(x) else x for x in p.operands] for p in run], key=lambda pair: _order(pair[0])))
                a, b = self._stack(left, 0 if _transposed(n.operands[0]) else 1, n), self._stack(right, 1 if _transposed(n.operands[1]) else 0, n)
                turned = [_make("transpose", (x,), {"axes": (1, 0)}, x.shape[::-1], n) if _transposed(y) else x for x, y in zip((a, b), n.operands)]
                self.whole[id(run[0])] = _make("matmul", turned, {}, n.shape, n)
            return None                                      # nobody but the sum reads it
        if id(n) in self.shared:
            run, place = self.shared[id(n)]
            if place == 0:
                a = self._stack([p.operands[0] for p in run], 0, n)
                self.whole[id(run[0])] = _make("matmul", (a, self._new(n.operands[1])), {}, (a.shape[0], n.shape[1]), n)
            lo = sum([p.shape[0] for p in run[:place]])
            return _make("getitem", (self.whole[id(run[0])],), {"index": (slice(lo, lo + n.shape[0]),)}, n.shape, n)
        if id(n) in self.sums:
            return self._sum(n)
        return n.on([self._new(x) for x in n.operands])

    def _sum(self, root):
        terms = [self.whole[id(run[0])] for run in self.sums[id(root)]]
        terms += [self._new(x) for x in _terms(root, self.inner)[0] if id(x) not in self.runs]
        out = terms[0]
        for t in terms[1:]:
            out = _make("add", (out, t), {}, root.shape, root)
        return out

    def _new(self, x):
        return self.now[id(x)] if type(x) is Node else x

    def _stack(self, parts, axis, like):
        """Parts next to each other: once for all who ask."""
        key = (axis, *map(id, parts))
        if key not in self.stacks:
            shape = [*broadcast_shapes([(*p.shape[:axis], *p.shape[axis + 1:]) for p in parts])]
            shape.insert(axis, sum([p.shape[axis] for p in parts]))
            whole = _follow(parts) if axis == 0 else None
            if whole is not None:
                source, first = whole
                rows = _make("getitem", (self._new(source),), {"index": (slice(first, first + len(parts)),)}, (len(parts), *source.shape[1:]), like)
                self.stacks[key] = _make("reshape", (rows,), {"shape": tuple(shape)}, shape, like)
            else:
                self.stacks[key] = _make("concatenate", [self._new(p) for p in parts], {"axis": axis}, shape, like)
        return self.stacks[key]


def _order(x):
    """Operands are stacked as they lie in the array that they were cut from, others as they were made: backwards or forwards, the same ones once."""
    cut = _cut(x)
    return (-1, 0) if type(x) is not Node else (x.serial, 0) if cut is None else (cut[0].serial, cut[1])


def _cut(x):
    """(array, k) where x is array[k], one of its parts along the first axis; else None."""
    index = x.params["index"] if type(x) is Node and x.primitive.name == "getitem" and len(x.operands) == 1 else ()
    if len(index) != 1 or type(index[0]) is not int or type(x.operands[0]) is not Node:
        return None
    return x.operands[0], index[0] % x.operands[0].shape[0]


def _follow(parts):
    """(array, k) where parts are array[k], array[k + 1], ...; else None."""
    found = [_cut(p) for p in parts]
    if found[0] is None or not all([c is not None and c[0] is found[0][0] and c[1] == found[0][1] + j for j, c in enumerate(found)]):
        return None
    return found[0]


def _make(name, operands, params, shape, like):
    return Node(Primitive.registry[name], tuple(operands), params, None, tuple(shape), like.dtype, like.frames)
