"""Large products computed a second time where they are needed a second time, instead of being kept in between.

What it is: `recomputed(outputs)`, a graph rewritten. In attention the scores and their softmax (positions times positions) are needed once more when the
adjoint comes by; kept, they are most of the memory, and writing and reading them costs as much as the product that makes them. So the adjoint gets its own:
the product and the elementwise operations on it again, from the same row sums. Both halves then are chains that tiles.py takes through the cache.

What it is not: `checkpoint`, with which the user says what is recomputed; this is done only where it saves both memory and time: for scores of many sequences, and
where rows are reduced behind the product. (A hidden layer made anew costs more than keeping it.)
"""
import heapq

from ..nodes import Node, bytes_of, reachable, readers_of
from .sizes import is_large, meet_scores, with_reductions

RATIO = 3                                   # how much larger than its operands a large result is at least


def recomputed(outputs):
    """Nodes that compute the same as these, by the same operations. outputs: Nodes, or constants, which pass as they are. Values are not looked at."""
    order = reachable(outputs)
    seeds = [n for n in order if _is_large(n)]
    meet_scores(order, seeds)
    if seeds:
        softened = with_reductions(order, lambda shape: len(shape) > 1)
        seeds = [n for n in seeds if n in softened or all([len(x.shape) > 2 for x in n.operands])]
    if not seeds:
        return outputs
    readers = readers_of(order)
    held, again = {n for n in outputs if isinstance(n, Node)}, {}             # again: {reader: the large nodes it gets anew}
    for seed in seeds:
        chain, later = _chain(seed, readers)
        for n in chain:
            for reader in readers.get(n, ()):
                if reader in later and n not in held:
                    again.setdefault(reader, {})[n] = chain
    return _rewritten(outputs, order, again) if again else outputs


def _is_large(n):
    return n.primitive.name == "matmul" and len(n.shape) > 1 and is_large(n.shape, bytes_of(n), RATIO * sum(map(bytes_of, n.operands)))


def _chain(seed, readers):
    """(the seed and the elementwise nodes of its shape made from it, the nodes that depend on products of those): the first come before the second."""
    chain, products, later = {seed}, set(), set()
    met = set(readers.get(seed, ()))
    ahead = [(n.serial, n) for n in met]
    heapq.heapify(ahead)
    while ahead:
        n = heapq.heappop(ahead)[1]
        kind = n.primitive.kind
        if any([x in later or x in products for x in n.operands if type(x) is Node]):
            later.add(n)
        elif kind == "map" and n.shape == seed.shape and n.dtype == seed.dtype:
            chain.add(n)
        elif kind == "contract":
            products.add(n)
        elif n.shape[-1:] != (1,) and n.shape != seed.shape[:-1]:        # neither a sum along the rows nor made from such
            later.add(n)
        for r in readers.get(n, ()):
            if r not in met:
                met.add(r)
                heapq.heappush(ahead, (r.serial, r))
    return chain, later


def _rewritten(outputs, order, again):
    now, copies = {}, {}

    def new(x):
        return now[x] if type(x) is Node else x

    def copy(n, chain):
        """n once more, with what it is made from as far as that is large: nodes in topological order, no recursion."""
        needed, stack = {n}, [n]
        while stack:
            for x in stack.pop().operands:
                if type(x) is Node and x in chain and x not in needed and x not in copies:
                    needed.add(x)
                    stack.append(x)
        for m in sorted(needed, key=lambda m: m.serial):
            if m not in copies:
                copies[m] = m.on([copies[x] if type(x) is Node and x in chain else new(x) for x in m.operands])
        return copies[n]

    for n in order:
        if not n.operands:
            now[n] = n
            continue
        anew = again.get(n, {})
        now[n] = n.on([copy(x, anew[x]) if type(x) is Node and x in anew else new(x) for x in n.operands])
    return [new(n) if isinstance(n, Node) else n for n in outputs]
