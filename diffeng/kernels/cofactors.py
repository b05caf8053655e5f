"""Cofactors of matrices of some rows in a kernel, by elimination with complete pivoting: the rule of vocabulary/linalg.py, matrix after matrix.

What it is: `write`, for matrices.py. L D U = x, after exchanges of rows and columns and with both brought to one size by powers of two;
the adjoint is that of D, whose entries are products of all of its others, between the inverses of U and L, and no matrix is singular for it.

What it is not: LAPACK's. Its getc2 pivots so, and changes small pivots to others.
"""
from .values import absolute, larger, select

WORDS = 4                                   # a row of the matrix, in scratch memory behind its copy: see `_Cofactors`


def write(made, a, below, beside, scratch, out):
    """The cofactors of the matrix at a, in C order at `out`. made: a matrices._Matrices; below, beside: bytes from row to row, and from column to column."""
    _Cofactors(made, scratch, out).write(a, below, beside)


class _Cofactors:
    """In scratch memory: the matrix, and behind it the exponents of its rows and of its columns, where its columns were, and D."""

    def __init__(self, made, scratch, out):
        self.made, self.code, self.type, self.n, self.scratch, self.out = made, made.code, made.type, made.n, scratch, out
        self.rows, self.columns, self.place, self.d = (made.behind(scratch) + self.n * (8 * k) for k in range(WORDS))
        self.down = self.n * made.size

    def write(self, a, below, beside):
        code, n, scratch, out, down = self.code, self.n, self.scratch, self.out, self.down
        self.made.copy(a, below, beside, scratch, n)
        bad = code.cell("b1", 0)
        for exponents, along, across in (self.rows, down, self.made.size), (self.columns, self.made.size, down):
            with code.loop(0, n) as i:
                most = code.cell("f64", 0.0)
                with code.loop(0, n) as j:
                    most.set(larger(most.get(), absolute(self.entry(scratch + i * along + j * across).double())))
                bad.set(bad.get() | (most.get() - most.get()).differs(0.0))
                exponent = ((most.get().bits() >> 52) & 0x7FF) - 1022
                code.store(exponents, i, exponent)
                with code.loop(0, n) as j:
                    self.put(scratch + i * along + j * across, self.times(self.entry(scratch + i * along + j * across), -exponent, 2))
        self.made.identity(out)
        with code.loop(0, n) as i:
            code.store(self.place, i, i)
        sign = code.cell(self.type, 1.0)
        with code.loop(0, n) as k:
            self.eliminate(k, sign)
        with code.loop(0, n) as i:
            product = code.cell(self.type, sign.get())
            with code.loop(0, n) as j:
                product.set(product.get() * select(i.equals(j), code.number(1.0, self.type), code.load(self.d, j, self.type)))
            with code.loop(0, n) as j:
                at = out + i * down + j * self.made.size
                self.put(at, self.entry(at) * product.get())
        with code.loop(1, n) as back:
            k = n - 1 - back
            with code.loop(k + 1, n) as c:
                self.less(out + k * down, self.entry(scratch + k * down + c * self.made.size), out + c * down, 0)
        self.finish(bad)

    def eliminate(self, k, sign):
        """Step number k."""
        code, n, scratch, out, down, size = self.code, self.n, self.scratch, self.out, self.down, self.made.size
        most, row, column = code.cell(self.type, -1.0), code.cell("i64", 0), code.cell("i64", 0)
        row.set(k)
        column.set(k)
        with code.loop(k, n) as i, code.loop(k, n) as j:
            x = absolute(self.entry(scratch + i * down + j * size))
            more = x > most.get()
            for cell, value in (most, x), (row, i), (column, j):
                cell.set(select(more, value, cell.get()))
        i, j = row.get(), column.get()
        with code.when(i.differs(k)):
            sign.set(-sign.get())
            for matrix in scratch, out:
                self.made.exchange(matrix + i * down, matrix + k * down, n, size)
        with code.when(j.differs(k)):
            sign.set(-sign.get())
            self.made.exchange(scratch + j * size, scratch + k * size, n, down)
            one, other = (code.load(self.place, at, "i64") for at in (j, k))
            code.store(self.place, j, other)
            code.store(self.place, k, one)
        pivot = self.entry(scratch + k * down + k * size)
        code.store(self.d, k, pivot)
        pivot = select(pivot.equals(0.0), code.number(1.0, self.type), pivot)
        with code.loop(k + 1, n) as i:
            self.less(out + i * down, self.entry(scratch + i * down + k * size) / pivot, out + k * down, 0)
        with code.loop(k + 1, n) as j:
            at = scratch + k * down + j * size
            self.put(at, self.entry(at) / pivot)
        with code.loop(k + 1, n) as i:
            self.less(scratch + i * down, self.entry(scratch + i * down + k * size), scratch + k * down, k + 1)

    def finish(self, bad):
        """Columns back where they were, as rows of the transpose, and each entry its power of two: of all rows and columns but its own."""
        code, n, down, size = self.code, self.n, self.down, self.made.size
        total = code.cell("i64", 0)
        with code.loop(0, n) as i:
            total.set(total.get() + code.load(self.rows, i, "i64") + code.load(self.columns, i, "i64"))
        self.made.copy(self.out, down, self.code.number(size), self.scratch, n)
        with code.loop(0, n) as k:
            j = code.load(self.place, k, "i64")
            with code.loop(0, n) as i:
                exponent = total.get() - code.load(self.rows, i, "i64") - code.load(self.columns, j, "i64")
                exponent = select(exponent > 4000, code.number(4000), select(exponent < -4000, code.number(-4000), exponent))
                x = self.times(self.entry(self.scratch + k * down + i * size), exponent, 4)
                self.put(self.out + i * down + j * size, select(bad.get(), code.number(float("nan"), self.type), x))

    # ---- entries and rows -------------------------------------------------------------------------------------------------------------

    def entry(self, at):
        return self.code.load(at, None, self.type)

    def put(self, at, value):
        self.code.store(at, None, value)

    def times(self, x, exponent, steps):
        """x 2^exponent, in so many steps, each of which a double can be multiplied by."""
        part = (exponent + steps * 2048).over(steps) - 2048
        out = x.double() * self.power(exponent - part * (steps - 1))
        for _ in range(steps - 1):
            out = out * self.power(part)
        return out.rounded(self.type)

    def power(self, exponent):
        return ((exponent + 1023) << 52).real()

    def less(self, row, factor, other, first):
        """row -= factor other, from an entry on."""
        with self.code.loop(first, self.n) as j:
            at = row + j * self.made.size
            self.put(at, self.entry(at) - factor * self.entry(other + j * self.made.size))
