"""Whole matrices in kernels: systems of equations, inverses, determinants and Cholesky factors, by LAPACK's and BLAS's functions at their addresses.

What it is: `instructions(call, factors)`. One row of a table is one matrix, and threads share the batch. To Fortran, which counts columns first, a matrix in C
order is its transpose: so A X = B is solved as X'A' = B', from the right, with the right-hand sides where the result will lie, and of a symmetric matrix the
other triangle is named. Factors are LAPACK's own (getrf: A = P L U; potrf), as NumPy's are. A matrix is factored once, for all that ask for it or its transpose:
a solution and its adjoint, an inverse and a determinant. Cofactors are det(A) inv(A)' where that loses no more than a third of the digits and where matrices are
not so small that to eliminate them here (cofactors.py) takes as long.

What it is not: eigenvalues, singular values and QR are NumPy's calls.
"""
import math

import numpy as np

from ..vocabulary.linalg import FEW_ROWS
from . import blas, cofactors, threads
from .code import SIZES, Code, cast
from .contract import flag
from .groups import STATUS, Instruction
from .layout import Buffer, View, collapse
from .scalar import FLOAT, type_name
from .values import absolute, larger, select, smaller

_WORK = {"lu": 0.1, "solve": 0, "inv": 0.3, "cholesky": 0.05, "det": 0, "slogdet": 0, "slogdet_sign": 0, "cofactor": 0.3}          # nanoseconds by the cube of a side
_OTHER = {"upper": "L", "lower": "U"}         # the triangle of the transpose
EPSILON, LEAST = {"f64": 2.0 ** -52, "f32": 2.0 ** -23}, 1e-290          # of what is rounded; of products that lose nothing
LARGE = 256                                # the side of a matrix from which on BLAS shares it out, where it is alone: the program's own threads have nothing to do then
N, M, A, DOWN, ACROSS, B, B_DOWN, B_ACROSS, OUT, OUT_STEP, ORIGIN, REPORT, ROUTINE, OF_VECTORS, UPPER, TURNED, LEADING, SETTER, THREADS, SCRATCH, SCRATCH_STEP, BATCH = range(22)
                                           # words: the sides of A and of X; A, or its factors; B; X; what reports and where to; the routines; how Fortran finds A; what
                                           # says how many threads BLAS has (0: nothing), and how many; memory; batch axes


def instructions(call, factors):
    """The instructions that do what a Call does; None where there is no kernel for it. factors: {matrix: its Buffer of factors} of the program so far."""
    name = call.node.primitive.name if call.node is not None else None
    type = type_name(call.out.dtype)
    if name not in _WORK or type not in ("f64", "f32") or not all([isinstance(x, View) and x.dtype == call.out.dtype and 0 not in x.shape for x in call.operands]):
        return None
    a, triangle = call.operands[0], call.node.params.get("triangle")
    b = call.operands[1] if name == "solve" else a
    if name == "cholesky":
        return [_instruction(name, call, a, a, (ord("U"), 0, 0), "potrf")]
    if triangle:
        lies = flag(a, a.dtype.itemsize)
        if lies is None:
            return None
        named = _OTHER[triangle] if lies[0] == ord("N") else triangle[0].upper()
        return [_instruction("triangle", call, a, b, (ord(named), *lies))]
    matrix, turned = _untransposed(call.node.operands[0])
    made = []
    if matrix not in factors:
        held = _Held(a)
        made.append(_instruction("lu", call, a, a, routine="getrf", out=held.view))
        factors[matrix] = turned, held
    was, held = factors[matrix]
    if name == "cofactor":
        return [*made, _instruction(name, call, held.view, a, (0, ord("N") if was == turned else ord("T"), 0), scratch=_Held(a, cofactors.WORDS * a.shape[-1]).view)]
    return [*made, _instruction(name, call, held.view, b, (0, ord("T") if was == turned else ord("N"), 0))]


def _untransposed(x):
    """(what x is the transpose of, whether it is one): a node, or where a constant array lies."""
    turned = False
    while getattr(x, "primitive", None) is not None and x.primitive.name == "transpose":
        axes = list(x.params["axes"])
        rank = len(axes)
        if axes == [*range(rank - 2), rank - 1, rank - 2]:
            turned = not turned
        elif axes != [*range(rank)]:
            break
        x = x.operands[0]
    if type(x) is not np.ndarray:
        return x, turned
    down = x.strides[-2] < x.strides[-1]                     # who transposes it makes a new array each time
    x = x.swapaxes(-1, -2) if down else x
    return (x.__array_interface__["data"][0], x.shape, x.strides), turned != down


class _Held:
    """Where the factors of a batch of matrices lie: of each n * n entries, the rows that were exchanged, and whether it is singular; or other words."""

    def __init__(self, a, words=None):
        n, size = a.shape[-1], a.dtype.itemsize
        room = -(-(n * n * size + 8 * (n + 1 if words is None else words)) // 8) * 8
        count = math.prod(a.shape[:-2])
        buffer = Buffer("arena", np.dtype(np.uint8), room * count)
        steps, step = [], room
        for length in reversed(a.shape[:-2]):
            steps.insert(0, step)
            step *= length
        self.view = View(buffer, 0, a.shape, (*steps, n * size, size), a.dtype)


def _instruction(name, call, a, b, how=(0, 0, 0), routine="trsm", out=None, scratch=None):
    n, type, out = a.shape[-1], type_name(a.dtype), call.out if out is None else out
    m = b.shape[-1] if name in ("solve", "triangle") else n
    rank = a.ndim - 2
    dims, strides = collapse(a.shape[:rank], [v.strides[:rank] for v in (a, b)])
    rows = math.prod(dims)
    cost = 200 + _WORK.get(name, 0) * n ** 3 + (0.1 * n * n * m if name in ("solve", "triangle") else n * n)
    step = out.strides[rank - 1] if rank else 0              # C order: from matrix to matrix
    of_vectors = blas.Routine(blas.name_of("trsv", type)) if routine == "trsm" else 0
    routine = blas.name_of(routine, type)
    words = [n, m, (a.buffer, a.offset), *a.strides[-2:], (b.buffer, b.offset), *b.strides[-2:], (out.buffer, out.offset), step, call.origin, STATUS,
             blas.Routine(routine), of_vectors, *how, blas.Routine("openblas_threads") if rows == 1 and n >= LARGE else 0, threads.count(),
             (scratch.buffer, 0) if scratch else 0, scratch.buffer.size // rows if scratch else 0]
    for d, *s in zip(dims, *strides):
        words += [d, *s]
    structure = name, type, blas.routine(routine)[1], len(dims)
    return Instruction(repr(("matrices", *structure)), lambda: write(*structure), words, rows, threads.split(rows, cost), cost)


def write(name, type, bits, depth):
    """The kernel's module."""
    made = _Matrices(type, bits)
    code = made.code
    with code.set_meanwhile(code.word(SETTER), code.word(THREADS)), code.loop(code.lo, code.hi) as row:
        pa, pb = code.entry([code.word(A), code.word(B)], row, BATCH, depth)
        made.scratch = code.word(SCRATCH) + row * code.word(SCRATCH_STEP)
        getattr(made, name)(pa, pb, code.word(OUT) + row * code.word(OUT_STEP))
    return code.finish()


class _Matrices:
    """What one matrix asks for, in `code`: methods by the name of what is made, of the places of A (or its factors), B and X."""

    def __init__(self, type, bits):
        self.type, self.size, self.bits, self.code = type, SIZES[type], bits, Code()
        self.n, self.m = self.code.word(N), self.code.word(M)

    def report(self, condition):
        self.code.report(condition, self.code.word(REPORT), self.code.word(ORIGIN))

    def copy(self, source, down, across, to, columns, lower=False):
        """n rows into C order; lower: zeros above the diagonal."""
        code = self.code
        with code.loop(0, self.n) as i:
            here, there = source + i * down, to + i * columns * self.size
            with code.loop(0, i + 1 if lower else columns) as j:
                code.store(there, j, code.load(here + j * across, None, self.type))
            if lower:
                with code.loop(i + 1, columns) as j:
                    code.store(there, j, code.number(0.0, self.type))

    def routine(self, *arguments, answers=False, word=ROUTINE):
        return self.code.fortran(self.type, self.bits, self.code.word(word), arguments, answers)

    def trsm(self, upper, turned, unit, a, leading, x):
        """x, in C order, becomes the solution X of A X = x. A as Fortran finds it: its triangle; "T" where that is not the transpose; "U" for ones on the
        diagonal. One column has a routine of its own, which copies nothing (of 100 rows 2 us for 6, of 400 9 for 80)."""
        code = self.code
        right, upper, turned, unit = (code.number(ord(f)) if isinstance(f, str) else f for f in ("R", upper, turned, unit))
        here = ("size", self.n), ("array", a), ("size", leading), ("array", x)
        with code.when(self.m.equals(1)):
            left = select(turned.equals(ord("N")), code.number(ord("T")), code.number(ord("N")))
            self.routine(("flag", upper), ("flag", left), ("flag", unit), *here, ("size", self.m), word=OF_VECTORS)
        with code.when(self.m.differs(1)):
            self.routine(("flag", right), ("flag", upper), ("flag", turned), ("flag", unit), ("size", self.m), here[0], ("scale", 1.0), *here[1:], ("size", self.m))

    def triangle(self, a, b, out):
        code, step = self.code, self.code.word(DOWN) + self.code.word(ACROSS)
        self.copy(b, code.word(B_DOWN), code.word(B_ACROSS), out, self.m)
        with code.loop(0, self.n) as i:
            self.report(code.load(a + i * step, None, self.type).equals(0.0))
        self.trsm(code.word(UPPER), code.word(TURNED), "N", a, code.word(LEADING), out)

    def cholesky(self, a, _, out):
        code = self.code
        self.copy(a, code.word(DOWN), code.word(ACROSS), out, self.n, lower=True)
        self.report(self.routine(("flag", code.word(UPPER)), ("size", self.n), ("array", out), ("size", self.n), answers=True).differs(0))

    # ---- P L U, columns first: a place has the factors, behind them a word that is 0 where they are regular, and the rows that were exchanged ---------------

    def lu(self, a, _, out):
        code = self.code
        self.copy(a, code.word(ACROSS), code.word(DOWN), out, self.n)
        behind = self.behind(out)
        code.store(behind, None, self.routine(("size", self.n), ("size", self.n), ("array", out), ("size", self.n), ("array", behind + 8), answers=True))

    def behind(self, factors):
        """Aligned to 8 bytes."""
        return (factors + self.n * self.n * self.size + 7) & -8

    def is_singular(self, factors):
        return self.code.load(self.behind(factors), None, "i64").differs(0)

    def exchanged(self, factors, i):
        """The row that row i was exchanged with."""
        return cast(self.code.load(self.behind(factors) + 8, i, f"i{self.bits}"), "i64") - 1

    def solve(self, factors, b, out):
        self.report(self.is_singular(factors))
        self.copy(b, self.code.word(B_DOWN), self.code.word(B_ACROSS), out, self.m)
        self.solved(factors, out)

    def inv(self, factors, _, out):
        self.report(self.is_singular(factors))
        self.identity(out)
        self.solved(factors, out)

    def identity(self, out):
        code = self.code
        with code.loop(0, self.n) as i, code.loop(0, self.n) as j:
            code.store(out + i * self.n * self.size, j, select(i.equals(j), code.number(1.0, self.type), code.number(0.0, self.type)))

    def exchange(self, one, other, count, step):
        """So many entries at one place, a step of bytes apart, and those at another one."""
        with self.code.loop(0, count) as j:
            here, there = (self.code.load(at + j * step, None, self.type) for at in (one, other))
            self.code.store(one + j * step, None, there)
            self.code.store(other + j * step, None, here)

    def solved(self, factors, x):
        """X'U'L'P' = x', or, for the transpose, X'P L U = x'."""
        code = self.code
        turned = code.word(TURNED).equals(ord("N"))
        with code.when(turned):
            self.trsm("U", "N", "N", factors, self.n, x)
            self.trsm("L", "N", "U", factors, self.n, x)
        with code.loop(0, self.n) as k:                               # P's exchanges, the last one first, or its transpose's
            i = select(turned, self.n - 1 - k, k)
            one, other = (x + at * self.m * self.size for at in (i, self.exchanged(factors, i)))
            with code.when(one.differs(other)):
                self.exchange(one, other, self.m, self.size)
        with code.when(~turned):
            self.trsm("L", "T", "U", factors, self.n, x)
            self.trsm("U", "T", "N", factors, self.n, x)

    def determined(self, factors):
        """(sign, logarithm of the size) of a determinant, as NumPy finds them."""
        code, type, singular = self.code, self.type, self.is_singular(factors)
        sign, logs = code.cell(type, 1.0), code.cell(type, 0.0)
        with code.loop(0, self.n) as i:
            x = code.load(factors + i * (self.n + 1) * self.size, None, type)
            negative = (x < 0.0) ^ self.exchanged(factors, i).differs(i)
            sign.set(select(negative, -sign.get(), sign.get()))
            logs.set(logs.get() + FLOAT["log"](FLOAT["absolute"](x)))
        return select(singular, code.number(0.0, type), sign.get()), select(singular, code.number(float("-inf"), type), logs.get())

    def det(self, factors, _, out):
        sign, logs = self.determined(factors)
        self.code.store(out, None, sign * FLOAT["exp"](logs))

    def slogdet(self, factors, _, out):
        self.code.store(out, None, self.determined(factors)[1])

    def cofactor(self, factors, a, out):
        """The inverse of the transpose lies in `out` before anyone knows whether it will do."""
        code, n, size = self.code, self.n, self.size
        fine = code.cell("b1", 0)
        with code.when(n > FEW_ROWS):
            self.identity(out)
            self.solved(factors, out)
            det, least, most = code.cell("f64", 1.0), code.cell("f64", 1.0), code.cell("f64", 1.0)
            with code.loop(0, n) as i:
                x = code.load(factors + i * (n + 1) * size, None, self.type).double()
                det.set(det.get() * select(self.exchanged(factors, i).differs(i), -x, x))
                least.set(smaller(least.get(), absolute(det.get())))
                most.set(larger(most.get(), absolute(det.get())))
            condition = self.squares(a, code.word(B_DOWN), code.word(B_ACROSS)) * self.squares(out, n * size, size)          # squared, in the norm of Frobenius
            fine.set((condition < EPSILON[self.type] ** (-2 / 3)) & (least.get() > LEAST) & (most.get() < 1 / LEAST))
            with code.when(fine.get()), code.loop(0, n * n) as j:
                code.store(out, j, (code.load(out, j, self.type).double() * det.get()).rounded(self.type))
        with code.when(~fine.get()):
            cofactors.write(self, a, code.word(B_DOWN), code.word(B_ACROSS), self.scratch, out)

    def squares(self, at, down, across):
        """The sum of all entries' squares."""
        code, total = self.code, self.code.cell("f64", 0.0)
        with code.loop(0, self.n) as i, code.loop(0, self.n) as j:
            x = code.load(at + i * down + j * across, None, self.type).double()
            total.set(total.get() + x * x)
        return total.get()

    def slogdet_sign(self, factors, _, out):
        self.code.store(out, None, self.determined(factors)[0])
