"""Discrete Fourier transforms of complex numbers in a kernel of our own: passes of small transforms that leave everything in order.

What it is: `write(type)`, the module of a function that transforms LANES columns at once. Lengths, like strides, are among its arguments; what it knows of a length is a
table of roots.py.

How (Stockham's passes; Van Loan, Computational Frameworks for the Fast Fourier Transform, 1.7): a pass of radix r reads r numbers that lie m apart, and writes their
transform, times roots of unity, side by side. So it reads one array and writes another, and nothing is to be put in order in the end. What lies side by side is a
vector, and is treated alike: LANES numbers at first, r times as many after the pass. Real and imaginary parts lie in arrays of their own, so that no vector is turned
round.

What it is not: rows, the other direction, scales, real numbers, several axes: fourier.py.
"""
import functools
import math

from llvmlite import ir

from .code import LANES, SIZES, Code
from .roots import FACTORS
from .values import Value, select

PARTS = 4                                  # of scratch memory: what one pass writes, and the next one


class Numbers:
    """Complex numbers, one or a vector of them, as LLVM's values of both parts. Products may be rounded once together with the sum that they enter."""

    __slots__ = ("b", "re", "im")

    def __init__(self, builder, re, im):
        self.b, self.re, self.im = builder, re, im

    @classmethod
    def lanes(cls, code, type, re, im):
        """LANES of them, whose parts begin at these addresses."""
        return cls(code.builder, *[code.lanes(x, None, type).ir for x in (re, im)])

    @classmethod
    def splat(cls, code, type, re, im):
        """The same one in all lanes."""
        return cls(code.builder, *[code.splat(code.load(x, None, type), LANES).ir for x in (re, im)])

    def put(self, code, type, re, im):
        for place, x in (re, self.re), (im, self.im):
            code.put_lanes(place, Value(self.b, x, type))

    def _of(self, name, x, y):
        return getattr(self.b, name)(x, y, flags=("contract",))

    def __add__(self, other):
        return Numbers(self.b, self._of("fadd", self.re, other.re), self._of("fadd", self.im, other.im))

    def __sub__(self, other):
        return Numbers(self.b, self._of("fsub", self.re, other.re), self._of("fsub", self.im, other.im))

    def __mul__(self, w):
        of = self._of
        return Numbers(self.b, of("fsub", of("fmul", self.re, w.re), of("fmul", self.im, w.im)), of("fadd", of("fmul", self.re, w.im), of("fmul", self.im, w.re)))

    def turned(self):
        """-i times these."""
        return Numbers(self.b, self.im, self.b.fneg(self.re))

    def conjugate(self):
        return Numbers(self.b, self.re, self.b.fneg(self.im))

    def scaled(self, x):
        """x: a number, or LLVM's value like a part."""
        x = ir.Constant(self.re.type, [x] * self.re.type.count) if type(x) is float else x
        return Numbers(self.b, self._of("fmul", self.re, x), self._of("fmul", self.im, x))


def transformed(x):
    """The discrete Fourier transform of a few numbers."""
    r = len(x)
    if r == 1:
        return x
    if r % 2:
        return _odd(x)
    even, odd = transformed(x[::2]), transformed(x[1::2])
    odd = [_by_root(z, k, r) for k, z in enumerate(odd)]
    return [e + o for e, o in zip(even, odd)] + [e - o for e, o in zip(even, odd)]


def _by_root(z, k, r):
    """z exp(-2 pi i k / r), 8 k / r an integer up to 3."""
    eighths = 8 * k // r
    if eighths % 2:
        z = (z + z.turned()).scaled(math.sqrt(0.5))              # z (1 - i) / sqrt(2)
    return z.turned() if eighths >= 2 else z


def _odd(x):
    """What is as far from x[0] to both sides has roots that are conjugate."""
    r, half = len(x), range(1, len(x) // 2 + 1)
    sums, differences = [x[k] + x[-k] for k in half], [(x[k] - x[-k]).turned() for k in half]
    out = [sum(sums, start=x[0])]
    pairs = []
    for j in half:
        angles = [2 * math.pi * (j * k % r) / r for k in half]
        a, b = x[0], None
        for s, d, angle in zip(sums, differences, angles):
            a, d = a + s.scaled(math.cos(angle)), d.scaled(math.sin(angle))
            b = d if b is None else b + d
        pairs.append((a, b))
    return out + [a + b for a, b in pairs] + [a - b for a, b in reversed(pairs)]


# ---- the function ------------------------------------------------------------------------------------------------------------------------

class _Columns(Code):
    # what is read: addresses of both parts, bytes from row to row of each; what is written; room for PARTS parts of `part` bytes, in which rows follow each other
    ARGUMENTS = "table", "n", "re", "im", "re_step", "im_step", "out_re", "out_im", "out_step", "scratch", "part"


def kernel(type):
    """(key, build) of the function."""
    return repr(("fourier", type)).ljust(1200), lambda: write(type)             # so long, for it takes long: LLVM begins with what says most


def write(type):
    """The module."""
    code = _Columns()
    _Passes(code, type).write()
    code.module.vectors = True
    return code.finish()


class _Passes:
    """radix, roots, m, s: of a pass, see above. re, ..., out_step: what it reads and writes."""

    def __init__(self, code, type):
        self.code, self.type, self.size, self.row = code, type, SIZES[type], LANES * SIZES[type]

    def write(self):
        code, number = self.code, self.code.number
        passes = code.load(code.table, None, "i64")
        left, s, which = (code.cell("i64", x) for x in (code.n, 1, 0))
        source = [code.cell("i64", x) for x in (code.re, code.im, code.re_step, code.im_step)]
        with code.loop(0, passes) as i:
            self.radix, self.roots = code.load(code.table, i * 2 + 1, "i64"), code.table + code.load(code.table, i * 2 + 2, "i64")
            self.m, self.s = left.get().over(self.radix), s.get()
            self.re, self.im, self.re_step, self.im_step = (x.get() for x in source)
            own, last = code.scratch + which.get() * code.part * 2, i.equals(passes - 1)
            self.out_re, self.out_im = select(last, code.out_re, own), select(last, code.out_im, own + code.part)
            self.out_step = select(last, code.out_step, number(self.row))
            for r in FACTORS:
                with code.when(self.radix.equals(r)):
                    self._pass(functools.partial(self._small, r))
            with code.when(functools.reduce(Value.__and__, [self.radix.differs(r) for r in FACTORS])):
                self._pass(self._sums)
            for cell, x in zip((left, s, which, *source), (self.m, self.s * self.radix, 1 - which.get(), own, own + code.part, number(self.row), number(self.row))):
                cell.set(x)

    def _pass(self, transform):
        code, s, m = self.code, self.s, self.m
        with code.loop(0, m) as p, code.loop(0, s) as q:
            at, out = s * p + q, s * p * self.radix + q
            transform(lambda k: Numbers.lanes(code, self.type, self.re + (at + s * m * k) * self.re_step, self.im + (at + s * m * k) * self.im_step),
                      lambda k: self._root(p, k),
                      lambda k, z: z.put(code, self.type, *[x + (out + s * k) * self.out_step for x in (self.out_re, self.out_im)]))

    def _small(self, r, read, root, put):
        ks = [self.code.number(k) for k in range(r)]
        for k, z in zip(ks, transformed([read(k) for k in ks])):
            put(k, z if k is ks[0] else z * root(k))

    def _sums(self, read, root, put):
        """Each number by its definition, as in `_odd`."""
        code, r = self.code, self.radix
        first, roots, half = read(code.number(0)), self.roots + (r - 1) * self.m * (2 * self.size), (r + 1).over(2)
        sums, differences, turns = _Held(code, self.type), _Held(code, self.type), code.cell("i64", 0)
        sums.set(first)
        with code.loop(1, r) as j:
            sums.set(sums.get() + read(j))
        put(code.number(0), sums.get())
        zero = code.splat(code.number(0.0, self.type), LANES).ir
        with code.loop(1, half) as k:
            sums.set(first)
            differences.set(Numbers(code.builder, zero, zero))
            turns.set(code.number(0))                           # j k, but for whole ones
            with code.loop(1, half) as j:
                at = turns.get() + k
                turns.set(select(at < r, at, at - r))
                w, x, y = Numbers.splat(code, self.type, *[roots + at * self.size for at in (turns.get(), turns.get() + r)]), read(j), read(r - j)
                sums.set(sums.get() + (x + y).scaled(w.re))
                differences.set(differences.get() - (x - y).turned().scaled(w.im))
            put(k, (sums.get() + differences.get()) * root(k))
            put(r - k, (sums.get() - differences.get()) * root(r - k))

    def _root(self, p, k):
        at = self.roots + ((k - 1) * self.m + p) * self.size
        return Numbers.splat(self.code, self.type, at, at + (self.radix - 1) * self.m * self.size)


class _Held:
    """A variable of complex numbers."""

    def __init__(self, code, type):
        self.code, self.type, self.cells = code, type, [code.cell(type, 0.0, LANES) for _ in "ri"]

    def get(self):
        return Numbers(self.code.builder, *[cell.get().ir for cell in self.cells])

    def set(self, z):
        for cell, x in zip(self.cells, (z.re, z.im)):
            cell.set(Value(self.code.builder, x, self.type))
