"""Loop fission: what of a turn no other turn waits for is computed of all turns at once, before a loop or after it, where that makes large products of small ones.

What it is: `apart(outputs)`, a graph's scans with less in their turns. Before: products of what a turn reads, and not of its carry, with what is the same in every
turn, x W. After: such products of which no carry is made, and sums over all turns of products, such as the gradient of a weight: x'g + x'g + ... is one product.
Their factors are results of the loop then, a row a turn.

What it is not: no rewriting of sums and products (contractions.py), which makes one product of what stands here as many; nothing for a Python loop, whose turns are
operations like others (kernels/stacking.py).
"""
import functools
import itertools
import math
import string

import numpy as np

from .batching import vmap
from .nodes import CONSTANT, INPUT, Node, Outputs, Tracer, Tracing, by_serial, reachable
from .recording import computed
from .simplify import uniform
from .unread import parts
from .vocabulary.contraction import subscripts

MOST_BYTES = 1 << 28                         # of what is made of all turns for it
_KINDS = frozenset("map view reduce contract".split())


def apart(outputs):
    """The nodes of a graph, its scans split; the outputs themselves where that changes nothing. For evaluation only."""
    order = reachable(outputs)
    part = parts(order)
    if not part:
        return outputs
    split, now = {}, {}
    for n in order:
        operands = [now[x] if type(x) is Node else x for x in n.operands]
        scan, *place = part.get(n) or n.primitive.name == "reshape" and part.get(n.operands[0]) or (None,)
        if scan in split:
            now[n] = split[scan].entries(*place, n.shape)
        else:
            now[n] = _on(n, operands)
        if n.primitive.name == "scan":
            loop = _within(n.primitive.own)
            found = _Split(loop, operands, n.frames)
            if found.changes:
                split[n] = found
                now[n] = found.entries(0, loop.size, n.shape)
            elif loop is not n.primitive.own:
                now[n] = Node(loop.primitive, tuple(operands), n.params, None, n.shape, n.dtype, n.frames)
    found = [now[x] if type(x) is Node else x for x in outputs]
    return outputs if all([a is b for a, b in zip(found, outputs)]) else Outputs(found)


def _within(loop):
    """This loop, those in its turn split."""
    outputs = apart(loop.outputs)
    return loop if outputs is loop.outputs else loop.like(loop.inputs, outputs)


class _Split:
    """A loop and its numbers. changes: is it another one, split?"""

    def __init__(self, loop, numbers, frames):
        self.loop, self.changes = loop, False
        if not loop.integers and all([loop.results[k][1] == loop.dtype for k in loop.packing]) and any([self._is_product(n) for n in loop.order]):
            self._look()
            self._choose()
            self._tracing = Tracing(values=False, frames=frames)
            made = {*self.heads, *self.rows}.difference([x for x in loop.outputs if type(x) is Node]).union(filter(self._is_product, self.after))
            small = loop.length * sum([math.prod(n.shape) * n.dtype.itemsize for n in made]) <= MOST_BYTES
            if (self.heads or self.targets or self.terms) and small and all([n.dtype.kind == "f" for n in self.rows]):
                self.changes = True
                self._build([Tracer(self._tracing, x if type(x) is Node else _constant(x)) for x in numbers])

    def entries(self, first, end, shape):
        """The Node of what were these entries of the packed results, in this shape."""
        k, whole = next(((k, s) for k, s in self.loop.stretches.items() if s.start <= first and end <= s.stop), (None, slice(0, 0)))
        if k is not None and (whole.start, whole.stop, self._results[k].shape) == (first, end, shape):
            return self._results[k].node
        packed = self.loop.packed(self._results) if k is None else np.reshape(self._results[k], (-1,))
        return np.reshape(packed[first - whole.start:end - whole.start], shape).node

    # ---- what a turn is made of --------------------------------------------------------------------------------------------------------

    def _is_product(self, n):
        return n.primitive.kind == "contract" and n.dtype == self.loop.dtype

    def _varies(self, x):
        return type(x) is Node and x in self.moves

    def _look(self):
        """moves: nodes that are others in each turn; carries: those that a carry has a part in; feeds: those that have a part in a carry, but for one that only adds
        up. free: those that move and that no carry has a part in, made of what can be made of all turns at once. sums: {number of a carry: what a turn adds}."""
        loop, uses = self.loop, {}
        for x in [x for n in loop.order for x in n.operands] + loop.outputs:
            if type(x) is Node:
                uses[x] = uses.get(x, 0) + 1
        self.uses, self.sums, self.free = uses, {}, {*loop.inputs[loop.carried:loop.carried + loop.read]}
        for k, (x, out) in enumerate(zip(loop.inputs[:loop.carried], loop.outputs)):
            if type(out) is Node and out.primitive.name == "add" and uses.get(x) == uses[out] == 1 and any([y is x for y in out.operands]) and x.shape == out.shape and out.dtype == loop.dtype:
                self.sums[k] = out.operands[out.operands[0] is x]
        self.carries = {*loop.inputs[:loop.carried]}
        self.moves = self.carries | self.free
        for n in loop.order:
            below = {x for x in n.operands if type(x) is Node}
            for found in self.carries, self.moves:
                if not found.isdisjoint(below):
                    found.add(n)
            if n in self.moves and n not in self.carries and _is_plain(n) and below & self.moves <= self.free:
                self.free.add(n)
        self.feeds = {*reachable([x for k, x in enumerate(loop.outputs[:loop.carried]) if type(x) is Node and k not in self.sums])}

    def _choose(self):
        """heads: products that are made before the loop; after: nodes that are made after it; terms: {number of a carry: ([(what is summed, nodes that are made of the
        sum)], what else a turn adds)}; rows: nodes whose values in all turns the loop returns for those."""
        loop = self.loop
        self.heads = [n for n in loop.order if n in self.free and self._is_product(n) and not all(map(self._varies, n.operands))]
        self._before, adds, terms = {*loop.inputs, *self.heads}, {}, {}
        for k, x in self.sums.items():
            adds[k], terms[k] = self._added(x)
        inner = {n for k, found in adds.items() for n in (*found, loop.outputs[k])}
        self.after = set()
        for n in loop.order:
            if n in self.carries and n not in self.feeds and n not in inner and (not self.after.isdisjoint([x for x in n.operands if type(x) is Node])
                                                                                 or self._is_product(n) and n.shape and not all(map(self._varies, n.operands))):
                self.after.add(n)
        if not all(map(_is_plain, self.after)):
            self.after = set()
        self.out = self.after.union(self.heads)
        self.targets = [x for x in loop.outputs[loop.carried:] if type(x) is Node and x in self.out]
        found = {t: self._summed(t, self._is_factored) for t in itertools.chain(*terms.values()) if type(t) is Node}
        self.rows = self._leaves([*self.targets, *[of for of, _ in found.values() if of is not None]])
        for t, (of, _) in found.items():
            if of is None:                                       # sums of what the loop returns anyway
                found[t] = self._summed(t, self.rows.__contains__)
        self.terms = {}
        for k, every in terms.items():
            some = [found[t] for t in every if type(t) is Node and found[t][0] is not None]
            if some:
                self.terms[k] = some, [t for t in every if type(t) is not Node or found[t][0] is None]

    def _added(self, x):
        """(additions, what they add): of a sum that nobody else reads."""
        adds, terms, stack = [], [], [x]
        while stack:
            n = stack.pop()
            if type(n) is Node and n.primitive.name == "add" and self.uses[n] == 1 and n not in self.feeds and all([np.shape(y) == n.shape for y in n.operands]):
                adds.append(n)
                stack += n.operands
            else:
                terms.append(n)
        return adds, terms

    def _is_factored(self, n):
        """Is it larger than what it is made of, or a sum of products? (And not needed before.)"""
        outer = n.primitive.name == "multiply" and n.dtype == self.loop.dtype and math.prod(n.shape) > max([math.prod(np.shape(x)) for x in n.operands])
        return n not in self.feeds and (outer or self._is_product(n))

    def _summed(self, t, wanted):
        """(the wanted node that a term is made of, by what may as well be made of the sum over all turns, these nodes in order), or (None, ())."""
        path = []
        while self._varies(t) and t.dtype == self.loop.dtype:
            if wanted(t):
                return t, path[::-1]
            if t.primitive.kind != "view" and not (t.primitive.name in ("sum", "scatter") and len(t.operands) == 1):
                break
            path.append(t)
            t = t.operands[0]
        return None, ()

    def _is_leaf(self, x):
        """Is it known of all turns, when what comes after the loop is made? Views are made again, and so is what a comparison says."""
        again = x not in self.moves or x in self.free or x in self.after or x.primitive.kind == "view" or x.dtype.kind != "f" and _is_plain(x)
        return x in self._before or not again

    def _leaves(self, targets):
        """Those nodes of the turn that the loop has to return for these."""
        leaves, seen, stack = [], set(), [x for n in targets for x in n.operands]
        while stack:
            x = stack.pop()
            if type(x) is Node and x not in seen:
                seen.add(x)
                if not self._is_leaf(x):
                    stack += x.operands
                elif x in self.carries:
                    leaves.append(x)
        return sorted(leaves, key=by_serial)

    # ---- the same, split ---------------------------------------------------------------------------------------------------------------

    def _build(self, numbers):
        loop, known = self.loop, dict(zip(self.loop.inputs, numbers))
        rows = {x: known[x] for x in loop.inputs[loop.carried:loop.carried + loop.read]}
        made = dict(zip(self.heads, self._at_once(self.heads, rows, known)))
        values = self._turned(known | made, {head: Node(INPUT, (), {"name": "x"}, None, head.shape, head.dtype, head.frames) for head in self.heads})
        rows |= made | {n: values[n] for n in self.rows}
        factors = [x for found, _ in self.terms.values() for of, _ in found for x in ([of] if of in rows else of.operands) if self._varies(x)]
        asked = [*dict.fromkeys([*self.targets, *factors])]
        rows |= zip(asked, self._at_once(asked, rows, known))
        self._results = {k: values[k] if k in values else rows[loop.outputs[k]] for k in loop.packing if k not in self.terms}
        for k, (found, _) in self.terms.items():
            sums = [computed(path, {of: self._sum(of, rows, known)})[(of, *path)[-1]] for of, path in found]
            begin = values[k] if k in values else known[loop.inputs[k]]
            self._results[k] = functools.reduce(np.add, sums if _is_zeros(begin) else [begin, *sums])

    def _at_once(self, targets, rows, known):
        """The values of nodes of the turn in all turns, stacked. rows: {node: its values in all turns}; known: {node: the value it has in all turns}."""
        if not targets:
            return []
        leaves = {x: known[x] for x in self.loop.inputs if x not in self.moves} | rows
        order = _between(targets, leaves)
        needed = {*order}
        leaves = {x: v for x, v in leaves.items() if x in needed}

        def turn(*values):
            found = computed(order, dict(zip(leaves, values)))
            return [found[n] for n in targets]
        return vmap(turn, tuple([0 if x in rows else None for x in leaves]))(*leaves.values())

    def _sum(self, of, rows, known):
        """The sum over all turns of a node's values: of a product's one product, in which turns are summed like any other index."""
        if of in rows:
            return np.sum(rows[of], axis=0)
        factors = [rows[x] if self._varies(x) else computed(_between([x], known), {**known})[x] if type(x) is Node else x for x in of.operands]
        if of.primitive.name == "multiply":                      # axes of length 1 are repeated
            letters = string.ascii_lowercase[:len(of.shape)]
            shapes = [(1,) * (len(of.shape) - len(np.shape(x))) + np.shape(x) for x in of.operands]
            terms, out = ["".join([c for c, m in zip(letters, shape) if m != 1]) for shape in shapes], "".join([c for c, m in zip(letters, of.shape) if m != 1])
            factors = [np.reshape(v, (*[self.loop.length] * self._varies(x), *[m for m in np.shape(x) if m != 1])) for v, x in zip(factors, of.operands)]
        else:
            inputs, out = subscripts(of.primitive.name, [len(np.shape(x)) for x in of.operands], of.params).split("->")
            terms = inputs.split(",")
        turn = next(c for c in string.ascii_letters if c not in "".join(terms))
        terms = [turn * self._varies(x) + term for x, term in zip(of.operands, terms)]
        return np.reshape(np.einsum(",".join(terms) + "->" + out, *factors), of.shape)

    def _turned(self, known, heads):
        """{number of a result, or a node of `rows`: its value}, by a loop with what is left of the turn. heads: {node: what stands for it in the turn}."""
        loop, outputs = self.loop, {}
        for k, out in enumerate(loop.outputs):
            if k not in self.terms:
                if k < loop.carried or type(out) is not Node or out not in self.out:
                    outputs[k] = out
            elif self.terms[k][1]:
                left = [Tracer(self._tracing, x) if type(x) is Node else x for x in (loop.inputs[k], *self.terms[k][1])]
                outputs[k] = functools.reduce(np.add, left).node
        kept = {x: k for k, x in outputs.items() if k >= loop.carried and type(x) is Node}
        outputs |= {n: n for n in self.rows if n not in kept}
        now = {**heads}
        for n in reachable([x for x in outputs.values() if type(x) is Node]):
            if n not in now:
                now[n] = _on(n, [now[x] if type(x) is Node else x for x in n.operands])
        ends = [now[x] if type(x) is Node else x for x in outputs.values()]
        used = {*reachable([x for x in ends if type(x) is Node])}
        carry = [n for k, n in enumerate(loop.inputs[:loop.carried]) if k in outputs]
        moving = [n for n in loop.inputs[loop.carried:loop.carried + loop.read] if n in used]
        made = {n: head for head, n in heads.items() if n in used}
        outer = [n for n in loop.inputs[loop.carried + loop.read:] if n in used]
        left = loop.like([*carry, *moving, *made, *outer], ends, len(carry), len(moving) + len(made))
        keys, values = [*outputs], {}
        if not left.inputs:                                      # the same in every turn
            values = {keys[k]: Tracer(self._tracing, _constant(np.broadcast_to(x, (loop.length, *x.shape)))) for k, x in enumerate(left.step()) if k in left.packing}
        elif left.packing:
            packed = left.primitive(*[known[made.get(n, n)] for n in left.inputs])
            values = {keys[k]: x for k, x in zip(left.packing, left.unpacked(packed))}
        return values | {n: values[k] for n, k in kept.items() if k in values}


def _on(n, operands):
    """The same operation on these operands: n itself, where they are its own."""
    return n if all([a is b for a, b in zip(operands, n.operands)]) else n.on(operands)


def _is_plain(n):
    """Is a node such that it can be computed of all turns together?"""
    return n.primitive.kind in _KINDS or n.primitive.kind in ("gather", "scatter") and all([x.dtype.kind == "f" for x in n.operands if type(x) is Node])


def _constant(x):
    return Node(CONSTANT, (x,), {}, None, np.shape(x), np.asarray(x).dtype, ())


def _is_zeros(x):
    """Zeros that nobody can write into."""
    x = x.node.operands[0] if x.node.primitive is CONSTANT else None
    x = uniform(x) if type(x) is np.ndarray else x
    return type(x) is Node and x.primitive.name == "broadcast_to" and not np.any(x.operands[0])


def _between(targets, leaves):
    """The nodes that targets are made of, down to the leaves, in order."""
    seen, stack = {*targets}, [*targets]
    while stack:
        n = stack.pop()
        if n not in leaves:
            for x in n.operands:
                if type(x) is Node and x not in seen:
                    seen.add(x)
                    stack.append(x)
    return sorted(seen, key=by_serial)

