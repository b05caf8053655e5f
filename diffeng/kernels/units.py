"""Axes of length 1 that are axes like any other: a batch of one needs the kernels that a batch of thirty has.

What it is: `Unit`, a length, which no comparison takes for 1. A plan made with it neither drops such an axis nor takes it for one that is repeated, and asks for the
kernels of longer axes. `marked.py` says which axes have it.

What it is not: another value. As an integer a Unit is what it is, and so is every word of a plan. It changes what a plan decides, and what is decided for any length
is right for this one: where something on the way makes a plain integer of it, that costs a kernel, and no more. `Length` is the same for lengths that were others
in another shape, of which it is known what they were.
"""
import operator


class _Ordered(int):
    """An integer that is compared as _place and its own __eq__ say. (int's own would be asked.)"""

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


class Unit(_Ordered):
    """count * u ** power: a length, a stride or a number of entries, where u is the length of an axis, which is 1. It equals no plain integer; in an order it comes
    between `count` and the next one.

    >>> u = Unit(1)
    >>> int(8 * u), u == 1, 1 < u < 2, 8 * u == 8, 8 * u // u, divides(u, 8), divides(u, 8 * u)
    (8, False, True, False, 8, False, True)
    """

    def __new__(cls, count, power=1):
        made = super().__new__(cls, count)
        made.power = power
        return made

    def _times(self, other):
        product = int(self) * (int(other) if isinstance(other, int) else other)
        return Unit(product, self.power + power_of(other)) if product and isinstance(other, int) else product

    def _plus(self, other):
        alike = power_of(other) == self.power or type(other) is int and other == 0
        return Unit(int(self) + int(other), self.power) if alike else int(self) + other

    __mul__ = __rmul__ = _times
    __add__ = __radd__ = _plus

    def __neg__(self):
        return Unit(-int(self), self.power)

    def __abs__(self):
        return Unit(abs(int(self)), self.power)

    def __floordiv__(self, other):
        count, power = int(self) // int(other), self.power - power_of(other)
        return Unit(count, power) if power > 0 else count

    def __eq__(self, other):
        return type(other) is Unit and int(self) == int(other) and self.power == other.power

    def __hash__(self):
        return hash((int(self), self.power))


class Length(_Ordered):
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

    def __hash__(self):
        return hash((int(self), self.like))


def length(count, like):
    """Length(count, like); where both are the same, or nothing is there, a plain number."""
    return count if count == like or not count or not like else Length(count, like)


def weight(n):
    """What a plan goes by where all answers are right: the length that is planned for."""
    return n.like if type(n) is Length else n


def by_chance(n):
    """Is an axis 1 long that is planned as a longer one?"""
    return type(n) is Unit and n < 2 or type(n) is Length and int(n) == 1


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


def power_of(n):
    return n.power if type(n) is Unit else 0


def lengths(array):
    """The shape of an array whose axes of length 1 are like any other, unless it stands still along them, or is one column of several numbers, which is mostly
    meant."""
    def is_length(k):
        return array.strides[k] and (array.size == 1 or k < array.ndim - 1 or array.strides[k] != array.itemsize or array.dtype.kind == "b")
    return tuple([Unit(1) if n == 1 and is_length(k) else n for k, n in enumerate(array.shape)])


def divides(n, m):
    """Is m so many times n, whatever the length of the axes?"""
    return power_of(n) <= power_of(m) and m % n == 0 and weight(m) % weight(n) == 0


def _place(n):
    """In an order of numbers: behind the plain one as large, if it is taken for a longer one."""
    count = int(n)
    more = n.power if type(n) is Unit else max(abs(n.like) - abs(count), 0) if type(n) is Length else 0
    return count, more if count > 0 else -more


def rank(n):
    """The order of numbers of entries, also among those that are as large by chance."""
    return int(n), int(n) + n.power if type(n) is Unit else weight(n)
