"""Lengths that were others in another shape, in which the kernels are that a plan asks for: a batch of one needs those that a batch of thirty has.

What it is: `Length`, of which it is known what it was there; a plan made with it takes no two for the same that were not, neither drops an axis that is 1 long here
nor takes it for one that is repeated, and asks for the kernels of the other shape. `Part`, the same of a part of an axis; `Count`, of a number of such entries.

What it is not: another value. As an integer a Length is what it is, and so is every word of a plan. It changes what a plan decides, and what is decided for any length
is right for this one: where something on the way makes a plain integer of it, that costs a kernel, and no more.
"""
import operator


class Length(int):
    """A length, a stride or a number of entries of an array, and what it was in another one, for whose sizes there are kernels (families.py): `like`. It equals a
    number only where both do, so that a plan takes no two for the same that were not the same there; in an order it comes where it is, but behind a plain number
    as large where it was larger there (`rank` is the order among those as large). `weight` says what a plan should go by where all answers are right.

    >>> one = length(1, 12)
    >>> int(8 * one), one == 1, 1 < one < 2, 8 * one == 8, 8 * one == length(8, 96), 8 * one // one, divides(one, 8), length(3, 3)
    (8, False, True, False, True, 8, False, 3)
    """

    def __new__(cls, count, like):
        made = super().__new__(cls, count)
        made.like = like
        return made

    def __neg__(self):
        return length(-int(self), -self.like)

    def __abs__(self):
        return length(abs(int(self)), abs(self.like))

    def __eq__(self, other):
        return type(other) is Length and int(self) == int(other) and self.like == other.like

    def __ne__(self, other):
        return not self == other

    def __lt__(self, other):
        return _place(self) < _place(other)

    def __le__(self, other):
        return _place(self) <= _place(other)

    def __gt__(self, other):
        return _place(self) > _place(other)

    def __ge__(self, other):
        return _place(self) >= _place(other)

    def __hash__(self):
        return hash((int(self), self.like))


def length(count, like):
    """Length(count, like); where both are the same, or nothing is there, a plain number."""
    return count if count == like or not count or not like else Length(count, like)


def weight(n):
    """What a plan goes by where all answers are right: the length that is planned for."""
    return n.like if type(n) is Length else n


class Part:
    """A part of an axis, as a range is, and what it was in the other shape."""

    __slots__ = ("real", "like")

    def __init__(self, real, like):
        self.real, self.like = real, like

    start, stop, step = (property(lambda self, name=name: length(getattr(self.real, name), getattr(self.like, name))) for name in ("start", "stop", "step"))

    def __getitem__(self, i):
        return Part(self.real[i], self.like[_of_weight(i)]) if type(i) is slice else self.real[i]

    def __eq__(self, other):
        return type(other) is Part and self.real == other.real and self.like == other.like

    def __iter__(self):
        return iter(self.real)


def part(i, n):
    """What a slice takes of an axis of length n: a range, or where lengths were others a Part."""
    if type(n) is Length or type(i.start) is Length or type(i.stop) is Length:
        return Part(range(int(n))[i], range(weight(n))[_of_weight(i)])
    return range(n)[i]


def _of_weight(i):
    return slice(weight(i.start), weight(i.stop), i.step)


def extent(p):
    """How long a part is."""
    return length(len(p.real), len(p.like)) if type(p) is Part else len(p)


def by_chance(n):
    """Is an axis 1 long that is planned as a longer one?"""
    return type(n) is Length and int(n) == 1


def _both(compute):
    def forward(self, other):
        if type(other) is Length or type(other) is int:
            return length(compute(int(self), int(other)), compute(self.like, weight(other)))
        return compute(int(self), other)

    def reflected(self, other):
        return length(compute(int(other), int(self)), compute(int(other), self.like)) if type(other) is int else compute(other, int(self))
    return forward, reflected


for _name in ("add", "sub", "mul", "floordiv"):
    for _prefix, _operator in zip(("", "r"), _both(getattr(operator, _name))):
        setattr(Length, f"__{_prefix}{_name}__", _operator)


class Count(float):
    """1.0 or -1.0, the count of such an axis or one over it, of which no comparison knows that: the mean of one row is a sum over 1, and not the sum itself."""

    __slots__ = ()

    def __neg__(self):
        return Count(-float(self))

    def __abs__(self):
        return self

    def __eq__(self, other):
        return False

    def __ne__(self, other):
        return True

    __lt__ = __le__ = __gt__ = __ge__ = __eq__
    __hash__ = float.__hash__


def divides(n, m):
    """Is m so many times n, and was it there?"""
    return m % n == 0 and weight(m) % weight(n) == 0


def _place(n):
    """In an order of numbers: behind the plain one as large, if it was a longer one."""
    count = int(n)
    more = max(abs(n.like) - abs(count), 0) if type(n) is Length else 0
    return count, more if count > 0 else -more


def rank(n):
    """The order of numbers of entries, also among those that are as large by chance."""
    return int(n), weight(n)
