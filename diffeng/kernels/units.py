"""Axes of length 1 that are axes like any other: a batch of one needs the kernels that a batch of thirty has.

What it is: `Unit`, a length, which no comparison takes for 1. A plan made with it neither drops such an axis nor takes it for one that is repeated, and asks for the
kernels of longer axes. `marked.py` says which axes have it.

What it is not: another value. As an integer a Unit is what it is, and so is every word of a plan. It changes what a plan decides, and what is decided for any length
is right for this one: where something on the way makes a plain integer of it, that costs a kernel, and no more.
"""


class Unit(int):
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

    def __ne__(self, other):                 # int's own would be asked
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
        return hash((int(self), self.power))


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
    return power_of(n) <= power_of(m) and m % n == 0


def _place(n):
    """In an order of numbers."""
    return (int(n), n.power if int(n) > 0 else -n.power) if type(n) is Unit else (n, 0)
