"""Large products, and what is made of them entry by entry, computed a second time where they are needed a second time, instead of being kept in between.

What it is: `recomputed(outputs)`, a graph rewritten. In attention the scores and their softmax (positions times positions) are needed once more when the
adjoint comes by; kept, they are most of the memory, and writing and reading them costs as much as the product that makes them. So the adjoint gets its own:
the product and the elementwise operations on it again, from the same row sums. Both halves then are chains that tiles.py takes through the cache. Any other
large product is kept, but of several arrays that are made of it entry by entry (a GELU, and what its derivative needs) none is: the adjoint makes them again. Of a smaller
one only half of it or its square, say, are made again, where the adjoint reads it anyway: an operation takes less time than writing and reading an array.

What it is not: `checkpoint`, with which the user says what is recomputed; this is done only where it saves both memory and time.
"""
import heapq
import math

from ..nodes import Node, Primitive, reachable

LARGE, SMALLER = 1 << 23, 1 << 18           # bytes of a product's result: what the cache holds is better kept, but not what takes one operation
CHEAP = frozenset("add subtract multiply negative square".split())
RATIO = 4                                   # how much larger than its operands it is at least to be computed twice itself
SEVERAL = 3                                 # arrays made of it entry by entry that are kept otherwise
SMALL = 8                                   # how much smaller whatever else they are made of is


def recomputed(outputs):
    """Nodes that compute the same as these, by the same operations. outputs: Nodes, or constants, which pass as they are. Values are not looked at."""
    order = reachable(outputs)
    seeds = [n for n in order if n.primitive.kind == "contract" and len(n.shape) > 1 and _bytes(n) >= min(LARGE, SMALLER)]
    if not seeds:
        return outputs
    readers = {}
    for n in order:
        for x in n.operands:
            if type(x) is Node:
                readers.setdefault(x, []).append(n)
    held, again = {n for n in outputs if isinstance(n, Node)}, {}             # again: {reader: {a large node it gets anew: what is made again for it}}
    for seed in seeds:
        cheap, after = _bytes(seed) < LARGE, None
        chain, products, later = (_beside if cheap else _chain)(seed, readers)
        made = chain
        if not _is_large(seed):
            chain, least = (_soon_made(chain, later, readers), 1) if cheap else (_made_of(seed, chain), SEVERAL)
            held |= {n for n in chain if any([(cheap or r in later) and r.primitive.kind != "map" for r in readers.get(n, ())])}          # products need it in memory
            after = _after(seed, chain - held, later, readers, least, (lambda x: x not in made) if cheap else (later | products).__contains__)
            if after is None:
                continue
        for n in chain:
            for reader in readers.get(n, ()):
                if reader in later and n not in held:
                    again.setdefault(reader, {})[n] = chain, None if cheap else seed, after
    return _rewritten(outputs, order, again) if again else outputs


def _is_large(n):
    return n.primitive.name == "matmul" and _bytes(n) >= max(LARGE, RATIO * sum(map(_bytes, n.operands)))


def _bytes(x):
    return math.prod(x.shape) * x.dtype.itemsize


def _chain(seed, readers):
    """(the seed and the elementwise nodes of its shape made from it, products of those, the nodes that depend on these): the first come before the last."""
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
    return chain, products, later


def _beside(seed, readers):
    """As _chain, without a walk through all that comes after: (the seed and the elementwise nodes made of it and of small ones, products of those, the elementwise nodes
    that read these together with others, and come after the first of the products)."""
    chain, products, others = {seed}, set(), set()
    ahead = [(n.serial, n) for n in {*readers.get(seed, ())}]
    heapq.heapify(ahead)
    while ahead:
        n = heapq.heappop(ahead)[1]
        if n.primitive.kind == "contract":
            products.add(n)
        elif n.primitive.kind == "map" and n.shape == seed.shape and n not in chain:
            if n.dtype == seed.dtype and all([type(x) is not Node or x in chain or SMALL * _bytes(x) <= _bytes(seed) for x in n.operands]):
                chain.add(n)
                for r in {*readers.get(n, ())}:
                    heapq.heappush(ahead, (r.serial, r))
            else:
                others.add(n)
    first = min([n.serial for n in products], default=math.inf)
    return chain, products, {n for n in others if n.serial > first}


def _made_of(seed, chain):
    """The nodes of a chain that are made of its seed and of small ones."""
    made = {seed}
    for n in sorted(chain, key=lambda n: n.serial):
        if all([type(x) is not Node or x in made or SMALL * _bytes(x) <= _bytes(seed) for x in n.operands]):
            made.add(n)
    return made - {seed}


def _soon_made(chain, later, readers):
    """The nodes of a chain that one operation makes of others, which are read later anyway, and of numbers."""
    read, made = {x for x in chain if not later.isdisjoint(readers.get(x, ()))}, set()
    for n in sorted(chain, key=lambda n: n.serial):
        of = {x for x in n.operands if type(x) is Node}
        if n.primitive.name in CHEAP and of and of <= read - made:
            made.add(n)
    return made


def _after(seed, chain, later, readers, least, is_cotangent):
    """The node that what is made again is made after: a cotangent that its first reader reads. None where it is not worth while."""
    wanted = [n for n in chain if any([r in later for r in readers.get(n, ())])]
    if len(wanted) < least:
        return None
    first = min([r for n in wanted for r in readers[n] if r in later], key=lambda r: r.serial)
    return next((x for x in first.operands if type(x) is Node and x.shape == seed.shape and is_cotangent(x)), None)


def _rewritten(outputs, order, again):
    now, copies = {}, {}

    def new(x):
        return now[x] if type(x) is Node else x

    def copy(n, chain, seed, after):
        """n once more (seed None: of what is kept), with what it is made from as far as that is large: nodes in topological order, no recursion."""
        needed, stack = {n}, [n]
        while stack:
            for x in stack.pop().operands:
                if type(x) is Node and x in chain and x not in needed and x not in copies:
                    needed.add(x)
                    stack.append(x)
        for m in sorted(needed, key=lambda m: m.serial):
            if m not in copies:
                copies[m] = m.on([copies[x] if type(x) is Node and x in chain else waited(x, after) if x is seed or seed is None and type(x) is Node else new(x) for x in m.operands])
        return copies[n]

    def waited(seed, after):
        """The seed, as if it came after a cotangent: else what is made of it again would be made at once."""
        if seed not in copies:
            copies[seed] = Node(Primitive.registry["barrier"], (new(seed), new(after)), {}, None, seed.shape, seed.dtype, seed.frames)
        return copies[seed]

    for n in order:
        if not n.operands:
            now[n] = n
            continue
        anew = again.get(n, {})
        now[n] = n.on([copy(x, *anew[x]) if type(x) is Node and x in anew else new(x) for x in n.operands])
    return [new(n) if isinstance(n, Node) else n for n in outputs]
