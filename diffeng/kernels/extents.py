"""Lengths as polynomials in unknown ones, of which it is found out what equals what.

What it is: `Extent`, a length that also knows what it is in unknown ones; `Unknowns`, what is known of these: two lengths that must be the same (`equal`), or meet
elementwise (`meet`); `numbers`, values of theirs at which no two extents are equal by chance.

What it is not: no graph, and no rule about operations (general.py).
"""
import math

LONG = 17                                   # what an axis of length 1 is planned as, at least: longer than what is short (sizes.py)
TRIES = 1000                                # lengths that are tried


class Extent(int):
    """A length. terms: {unknown lengths, in order, each as often as it is a factor: how many of these}; factors: of what it is a product, in their order."""

    def __new__(cls, count, terms, factors=None):
        made = super().__new__(cls, count)
        made.terms, made.factors = terms, factors
        return made

    def __add__(self, other):
        return extent(int(self) + int(other), _sum(self.terms, terms_of(other)))

    def __mul__(self, other):
        terms = {}
        for m, a in self.terms.items():
            for k, b in terms_of(other).items():
                both = tuple(sorted(m + k))
                terms[both] = terms.get(both, 0) + a * b
        return extent(int(self) * int(other), terms)

    __radd__, __rmul__ = __add__, __mul__

    def __sub__(self, other):
        return self + other * -1

    def __rsub__(self, other):
        return self * -1 + other


def terms_of(n):
    return n.terms if type(n) is Extent else {(): int(n)}


def _sum(a, b):
    return {m: a.get(m, 0) + b.get(m, 0) for m in {**a, **b}}


def extent(count, terms):
    """A plain number where nothing is unknown."""
    terms = {m: a for m, a in terms.items() if a}
    return Extent(count, terms) if any(terms) else count


class Unknowns:
    """real: what each unknown length is; trailing: {those of inputs: is it the last axis?}. What is found out later changes what an extent is: see `now`."""

    def __init__(self):
        self.real, self._known, self._written_out, self.trailing = [], {}, set(), {}

    def unknown(self, n, written_out=False):
        """An extent of its own. written_out: somebody wrote this number into an index."""
        if n < 1:
            return int(n)
        self.real.append(int(n))
        if written_out:
            self._written_out.add(len(self.real) - 1)
        return self._one(len(self.real) - 1)

    def _one(self, u):
        return Extent(self.real[u], {(u,): 1})

    def now(self, n):
        """The same in what is still unknown."""
        if type(n) is not Extent:
            return n
        if len(n.terms) == 1:                                          # mostly
            (m, a), = n.terms.items()
            if a == 1 and len(m) == 1:
                found = self._known.get(m[0])
                if type(found) is Extent:
                    found = self._known[m[0]] = self.now(found)
                return n if found is None else found
        if self._known.keys().isdisjoint([u for m in n.terms for u in m]):
            return n
        total = 0
        for m, a in n.terms.items():
            for u in m:
                if u in self._known:
                    self._known[u] = self.now(self._known[u])            # (kept: they are made of one another)
                a = self._known.get(u, self._one(u)) * a
            total = a + total
        return total

    def equal(self, a, b):
        """These are as long in every shape: one unknown length is found, or all of them are what they are."""
        if a is b or int(a) != int(b):
            return
        a, b = self.now(a), self.now(b)
        apart = 0 if terms_of(a) == terms_of(b) else _shortest(a - b)
        if type(apart) is not Extent:
            return
        alone = [m[0] for m, a in apart.terms.items() if len(m) == 1 and abs(a) == 1 and sum([m[0] in k for k in apart.terms]) == 1]
        if alone:
            u = min(alone, key=lambda u: (u in self._written_out, u in self.trailing, -u))          # those of inputs stay, and where slices end
            self._known[u] = self._one(u) - apart * apart.terms[u,]
        else:
            self._known.update({u: self.real[u] for m in apart.terms for u in m})

    def is_length(self, n):
        """Is this the length of an axis, and not a number that somebody wrote into an index?"""
        n = self.now(n)
        return type(n) is Extent and not self._written_out.issuperset([u for m in n.terms for u in m])

    def meet(self, a, b):
        """The length of what is elementwise of both; one of them may be repeated."""
        if int(a) == int(b):
            if int(a) > 1 or type(a) is type(b):
                self.equal(a, b)
            return a if type(a) is Extent else b
        one, longer = (a, b) if int(a) == 1 else (b, a)
        self.equal(one, 1)
        return longer

    def together(self, shapes):
        """The shape of what is elementwise of arrays of these."""
        rank, out = max(map(len, shapes), default=0), []
        for each in zip(*[(1,) * (rank - len(s)) + tuple(s) for s in shapes]):
            found = each[0]
            for n in each[1:]:
                found = self.meet(found, n)
            out.append(found)
        return out

    def value(self, n, numbers):
        """A length, where unknown ones are these numbers."""
        n = self.now(n)
        return n if type(n) is int else sum([a * math.prod([numbers.get(u, self.real[u]) for u in m]) for m, a in n.terms.items()])

    def numbers(self, extents):
        """{an unknown length: what it is in a general shape}, where no two of these extents are equal by chance; None where none are as it is, or nothing was found. What is
        no input's is from now on what it is."""
        its = [[v for m in terms_of(self.now(self._one(u))) for v in m] for u in self.trailing]
        moves = {u for own in its for u in own if len(own) == 1 or u not in self._written_out}          # where a slice ends stays, unless an input ends there, too
        self._known.update({u: n for u, n in enumerate(self.real) if u not in moves and u not in self._known})
        extents = {*map(self._with_terms, map(self.now, extents))}
        plain = {n for n, terms in extents if not terms}
        found = [Extent(n, dict(terms)) for n, terms in extents if terms]
        shortening = {u for e in found for m, a in e.terms.items() if a < 0 for u in m}
        lengths = {u: LONG if self.real[u] == 1 else self.real[u] for u in moves}
        simplest_first = sorted(found, key=lambda e: (len(e.terms), sum(map(len, e.terms))))
        for _ in range(TRIES):
            taken = {}
            for e in simplest_first:
                n = self.value(e, lengths)
                own = {u for m, a in e.terms.items() for u in m if a > 0 or n > 1}
                if n <= 1 or n in plain or n in taken:
                    break
                taken[n] = own
            else:
                return lengths if any([lengths[u] != self.real[u] for u in moves]) else None
            own |= taken.get(n, own)
            if not own:
                return None
            lengths[min(own, key=lambda u: (u in shortening, self.trailing.get(u, 0), u))] += 1
        return None

    @staticmethod
    def _with_terms(n):
        return (int(n), tuple(sorted(n.terms.items())) if type(n) is Extent else ())


def _shortest(n):
    """What is 0 where n is, without common factors: n m = n k is m = k."""
    while type(n) is Extent:
        common, g = set.intersection(*[{*m} for m in n.terms]), math.gcd(*n.terms.values())
        if not common and g == 1:
            break
        u = next(iter(common), None)
        n = extent(0, {m if u is None else m[:(k := m.index(u))] + m[k + 1:]: a // g for m, a in n.terms.items()})
    return n


def entries(shape):
    return product(shape) if shape else 1


def product(factors):
    """Of extents, which remembers them."""
    if len(factors) == 1:
        return factors[0]
    made = math.prod(factors)
    return Extent(made, made.terms, tuple([f for e in factors for f in (type(e) is Extent and e.factors or (e,))])) if type(made) is Extent else made
