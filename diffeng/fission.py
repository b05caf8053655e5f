"""Loop fission: what of a turn no other turn waits for is computed of all turns at once, before a loop or after it, where that makes large products of small ones.

What it is: `apart(outputs)`, a graph's scans with less in their turns. Of a recurrent network, h = tanh(x W + h U), y = h V, and its adjoint:

    before    x W, a product of what a turn reads, and not of its carry, with what is the same in every turn: X W, of all turns
    in turns  tanh(x W + h U), which waits for h
    after     h V, of which no carry is made: H V; and sums over all turns of products, the gradient of a weight: x'g + x'g + ... is the one product X'G

What is made after the loop needs rows that the loop returns for it then, H and G. `_Cut` decides which node of a turn is made where, `_Split` makes the loop that is left
and what comes before and after it.

What it is not: no rewriting of sums and products (contractions.py), which makes one product of what stands here as many; nothing for a Python loop, whose turns are
operations like others (kernels/stacking.py).
"""
import collections
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
            now[n] = n.with_operands(operands)
        if n.primitive.name == "scan":
            loop = _within(n.primitive.own)
            cut = _Cut(loop)
            if cut.pays:
                split[n] = _Split(cut, operands, n.frames)
                now[n] = split[n].entries(0, loop.size, n.shape)
            elif loop is not n.primitive.own:
                now[n] = Node(loop.primitive, tuple(operands), n.params, None, n.shape, n.dtype, n.frames)
    found = [now[x] if type(x) is Node else x for x in outputs]
    return outputs if all([a is b for a, b in zip(found, outputs)]) else Outputs(found)


def _within(loop):
    """This loop, those in its turn split."""
    outputs = apart(loop.outputs)
    return loop if outputs is loop.outputs else loop.like(loop.inputs, outputs)


class _Cut:
    """Which nodes of a loop's turn are computed before the loop, in it, and after it.

    before: products that are made before it. after: nodes that are made after it; results: those of them, and of `before`, that are the loop's results. totals: {number
    of a carry that only adds up: ([(what is summed, the nodes that are made of the sum)], what else a turn adds)}. kept: nodes of whose values the loop
    returns a row each turn, for what is made after it. pays: is anything made elsewhere, and small enough?
    """

    def __init__(self, loop):
        self.loop, self.pays = loop, False
        if not loop.integers and all([loop.results[k][1] == loop.dtype for k in loop.packing]) and any([self._is_product(n) for n in loop.order]):
            self._look()
            self._choose()
            held = {*self.before, *self.kept}.difference([x for x in loop.outputs if type(x) is Node]).union(filter(self._is_product, self.after))
            small = loop.length * sum([math.prod(n.shape) * n.dtype.itemsize for n in held]) <= MOST_BYTES
            self.pays = bool(self.before or self.results or self.totals) and small and all([n.dtype.kind == "f" for n in self.kept])

    def varies(self, x):
        """Is it another value in each turn?"""
        return type(x) is Node and x in self.varying

    def _is_product(self, n):
        return n.primitive.kind == "contract" and n.dtype == self.loop.dtype

    def _is_shared_product(self, n):
        """Is it a product with what is the same in every turn?"""
        return self._is_product(n) and not all(map(self.varies, n.operands))

    # ---- what a turn is made of --------------------------------------------------------------------------------------------------------

    def _look(self):
        """varying: nodes that are others in each turn. recurrent: those that a carry has a part in; feeding: those that have a part in a carry, but for one that only
        adds up. independent: those that vary and that no carry has a part in, made of what can be made of all turns at once. added: {number of a carry that only adds
        up: what a turn adds}. uses: {node: how often it is read}."""
        loop = self.loop
        carry, rows = loop.inputs[:loop.carried], loop.inputs[loop.carried:loop.carried + loop.read]
        self.uses = collections.Counter([x for x in (*itertools.chain(*[n.operands for n in loop.order]), *loop.outputs) if type(x) is Node])
        self.added = {k: out.operands[out.operands[0] is x] for k, (x, out) in enumerate(zip(carry, loop.outputs)) if self._adds_up(x, out)}
        self.recurrent, self.varying, self.independent = {*carry}, {*carry, *rows}, {*rows}
        for n in loop.order:
            below = {x for x in n.operands if type(x) is Node}
            for found in self.recurrent, self.varying:
                if not found.isdisjoint(below):
                    found.add(n)
            if n in self.varying and n not in self.recurrent and _is_plain(n) and below & self.varying <= self.independent:
                self.independent.add(n)
        self.feeding = {*reachable([x for k, x in enumerate(loop.outputs[:loop.carried]) if type(x) is Node and k not in self.added])}

    def _adds_up(self, x, out):
        """Is `out` the carry x and something else, and does nobody else read either?"""
        return type(out) is Node and out.primitive.name == "add" and self.uses[x] == self.uses[out] == 1 and any([y is x for y in out.operands]) \
            and x.shape == out.shape and out.dtype == self.loop.dtype

    def _choose(self):
        loop = self.loop
        self.before = [n for n in loop.order if n in self.independent and self._is_shared_product(n)]
        self._known = {*loop.inputs, *self.before}
        sums = {k: self._terms(x) for k, x in self.added.items()}
        self.after = self._made_after({n for k, (adds, _) in sums.items() for n in (*adds, loop.outputs[k])})
        self.results = [x for x in loop.outputs[loop.carried:] if type(x) is Node and (x in self.after or x in self.before)]
        found = {t: self._summed(t, self._is_factored) for _, terms in sums.values() for t in terms if type(t) is Node}
        self.kept = self._needed([*self.results, *[of for of, _ in found.values() if of is not None]])
        for t, (of, _) in found.items():
            if of is None:                                       # sums of what the loop returns anyway
                found[t] = self._summed(t, self.kept.__contains__)
        self.totals = {}
        for k, (_, terms) in sums.items():
            some = [found[t] for t in terms if type(t) is Node and found[t][0] is not None]
            if some:
                self.totals[k] = some, [t for t in terms if type(t) is not Node or found[t][0] is None]

    def _terms(self, x):
        """(additions, what they add): of a sum that nobody else reads."""
        adds, terms, stack = [], [], [x]
        while stack:
            n = stack.pop()
            if type(n) is Node and n.primitive.name == "add" and self.uses[n] == 1 and n not in self.feeding and all([np.shape(y) == n.shape for y in n.operands]):
                adds.append(n)
                stack += n.operands
            else:
                terms.append(n)
        return adds, terms

    def _made_after(self, adding):
        """Products of which no carry is made, and what is made of them; none at all, if one of these cannot be made of all turns. adding: nodes that add up."""
        after = set()
        for n in self.loop.order:
            if n in self.recurrent and n not in self.feeding and n not in adding \
                    and (not after.isdisjoint([x for x in n.operands if type(x) is Node]) or n.shape and self._is_shared_product(n)):
                after.add(n)
        return after if all(map(_is_plain, after)) else set()

    def _is_factored(self, n):
        """Is it larger than what it is made of, or a sum of products? (And not needed before.)"""
        outer = n.primitive.name == "multiply" and n.dtype == self.loop.dtype and math.prod(n.shape) > max([math.prod(np.shape(x)) for x in n.operands])
        return n not in self.feeding and (outer or self._is_product(n))

    def _summed(self, t, wanted):
        """(the wanted node that a term is made of, by what may as well be made of the sum over all turns, these nodes in order), or (None, ())."""
        path = []
        while self.varies(t) and t.dtype == self.loop.dtype:
            if wanted(t):
                return t, path[::-1]
            if t.primitive.kind != "view" and not (t.primitive.name in ("sum", "scatter") and len(t.operands) == 1):
                break
            path.append(t)
            t = t.operands[0]
        return None, ()

    def _is_made_again(self, x):
        """Is it made of all turns after the loop, if that needs it? Not what is known before; but whatever no carry has a part in, what is made after the loop anyway, and
        what costs less than to keep it: views, and what a comparison says."""
        return x not in self._known and (x not in self.varying or x in self.independent or x in self.after or x.primitive.kind == "view"
                                         or x.dtype.kind != "f" and _is_plain(x))

    def _needed(self, targets):
        """Those nodes of the turn that the loop has to return, so that these can be made after it."""
        kept, seen, stack = [], set(), [x for n in targets for x in n.operands]
        while stack:
            x = stack.pop()
            if type(x) is Node and x not in seen:
                seen.add(x)
                if self._is_made_again(x):
                    stack += x.operands
                elif x in self.recurrent:
                    kept.append(x)
        return sorted(kept, key=by_serial)


class _Split:
    """A loop and its numbers, cut."""

    def __init__(self, cut, numbers, frames):
        self.cut, self.loop, self._tracing = cut, cut.loop, Tracing(values=False, frames=frames)
        self._results = self._made([Tracer(self._tracing, x if type(x) is Node else _constant(x)) for x in numbers])

    def entries(self, first, end, shape):
        """The Node of what were these entries of the packed results, in this shape."""
        k, whole = next(((k, s) for k, s in self.loop.stretches.items() if s.start <= first and end <= s.stop), (None, slice(0, 0)))
        if k is not None and (whole.start, whole.stop, self._results[k].shape) == (first, end, shape):
            return self._results[k].node
        packed = self.loop.packed(self._results) if k is None else np.reshape(self._results[k], (-1,))
        return np.reshape(packed[first - whole.start:end - whole.start], shape).node

    def _made(self, numbers):
        """{number of a result: its value}."""
        loop, cut, known = self.loop, self.cut, dict(zip(self.loop.inputs, numbers))
        rows = {x: known[x] for x in loop.inputs[loop.carried:loop.carried + loop.read]}          # {node: its values in all turns, stacked}
        made = dict(zip(cut.before, self._at_once(cut.before, rows, known)))
        values = self._turned(known | made)
        rows |= made | {n: values[n] for n in cut.kept}
        factors = [x for found, _ in cut.totals.values() for of, _ in found for x in ([of] if of in rows else of.operands) if cut.varies(x)]
        asked = [*dict.fromkeys([*cut.results, *factors])]
        rows |= zip(asked, self._at_once(asked, rows, known))
        results = {k: values[k] if k in values else rows[loop.outputs[k]] for k in loop.packing if k not in cut.totals}
        for k, (found, _) in cut.totals.items():
            sums = [computed(path, {of: self._sum(of, rows, known)})[(of, *path)[-1]] for of, path in found]
            begin = values[k] if k in values else known[loop.inputs[k]]
            results[k] = functools.reduce(np.add, sums if _is_zeros(begin) else [begin, *sums])
        return results

    def _at_once(self, targets, rows, known):
        """The values of nodes of the turn in all turns, stacked. rows: {node: its values in all turns}; known: {node: the value it has in all turns}."""
        if not targets:
            return []
        leaves = {x: known[x] for x in self.loop.inputs if x not in self.cut.varying} | rows
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
        varies = [self.cut.varies(x) for x in of.operands]
        factors = [rows[x] if v else computed(_between([x], known), {**known})[x] if type(x) is Node else x for x, v in zip(of.operands, varies)]
        if of.primitive.name == "multiply":                      # axes of length 1 are repeated
            letters = string.ascii_lowercase[:len(of.shape)]
            shapes = [(1,) * (len(of.shape) - len(np.shape(x))) + np.shape(x) for x in of.operands]
            terms, out = ["".join([c for c, m in zip(letters, shape) if m != 1]) for shape in shapes], "".join([c for c, m in zip(letters, of.shape) if m != 1])
            factors = [np.reshape(f, (*[self.loop.length] * v, *[m for m in np.shape(x) if m != 1])) for f, x, v in zip(factors, of.operands, varies)]
        else:
            inputs, out = subscripts(of.primitive.name, [len(np.shape(x)) for x in of.operands], of.params).split("->")
            terms = inputs.split(",")
        turn = next(c for c in string.ascii_letters if c not in "".join(terms))
        return np.reshape(np.einsum(",".join([turn * v + term for v, term in zip(varies, terms)]) + "->" + out, *factors), of.shape)

    def _turned(self, known):
        """{number of a result, or a node of `kept`: its value}, by a loop with what is left of the turn. known: the values of its numbers, and of what is made before it."""
        loop, cut = self.loop, self.cut
        given = {n: Node(INPUT, (), {"name": "x"}, None, n.shape, n.dtype, n.frames) for n in cut.before}          # what stands for these in the turn: one more row that it reads
        outputs = self._left()
        kept = {x: k for k, x in outputs.items() if k >= loop.carried and type(x) is Node}
        outputs |= {n: n for n in cut.kept if n not in kept}
        now = {**given}
        for n in reachable([x for x in outputs.values() if type(x) is Node]):
            if n not in now:
                now[n] = n.with_operands([now[x] if type(x) is Node else x for x in n.operands])
        ends = [now[x] if type(x) is Node else x for x in outputs.values()]
        used = {*reachable([x for x in ends if type(x) is Node])}
        carry = [n for k, n in enumerate(loop.inputs[:loop.carried]) if k in outputs]
        rows = [n for n in loop.inputs[loop.carried:loop.carried + loop.read] if n in used]
        made = {n: of for of, n in given.items() if n in used}
        outer = [n for n in loop.inputs[loop.carried + loop.read:] if n in used]
        left = loop.like([*carry, *rows, *made, *outer], ends, len(carry), len(rows) + len(made))
        keys, values = [*outputs], {}
        if not left.inputs:                                      # the same in every turn
            values = {keys[k]: Tracer(self._tracing, _constant(np.broadcast_to(x, (loop.length, *x.shape)))) for k, x in enumerate(left.step()) if k in left.packing}
        elif left.packing:
            packed = left.primitive(*[known[made.get(n, n)] for n in left.inputs])
            values = {keys[k]: x for k, x in zip(left.packing, left.unpacked(packed))}
        return values | {n: values[k] for n, k in kept.items() if k in values}

    def _left(self):
        """{number of a result: what the turn makes of it still}; of what only adds up, that which is not summed elsewhere."""
        loop, cut, outputs = self.loop, self.cut, {}
        for k, out in enumerate(loop.outputs):
            if k not in cut.totals:
                if k < loop.carried or type(out) is not Node or out not in cut.results:
                    outputs[k] = out
            elif cut.totals[k][1]:
                terms = [Tracer(self._tracing, x) if type(x) is Node else x for x in (loop.inputs[k], *cut.totals[k][1])]
                outputs[k] = functools.reduce(np.add, terms).node
        return outputs


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

