"""The code of a Fourier transform along one axis: what is read and written where, around butterflies.py's passes.

What it is: `write(kind, type, depth, alone)`, the module of a kernel whose rows are blocks of LANES columns (`_Together`), or rows that are alone (`_Alone`), and
`write_copier`. The words of such a kernel, and the ways in which it reads and writes.

What it is not: no plan (fourier.py), no pass.
"""
from contextlib import contextmanager

from llvmlite import ir

from . import butterflies
from .butterflies import PARTS, Numbers
from .code import LANES, SIZES, Code
from .values import Value, select, smaller

COLUMNS_OF_ONE = 8, 7, 5, 4, 3             # how many a row that is alone may be taken for
AS_IT_IS, TURNED, ENTRIES, PAIRED, FOLLOWS, NOTHING = range(6)          # ways to read or write a part. PAIRED: its entries and those of the part that FOLLOWS
                                            # alternate. NOTHING: all rows are zeros
STAGES = PARTS + 4                          # parts of scratch memory: butterflies.py's, those of what is read, and others
# words: three functions (butterflies.py's, and both copiers); the table of passes, and how many rows that is of; of a row that is alone how long it is, and how many columns;
# of what is read and written, both parts: the bytes from row to row, the ways, the bytes from lane to lane; lanes in all, and blocks of them; a scale; roots, and those
# of twice the length; scratch memory: where, bytes of a part, rows that share it; the parts' places, and batch axes
COLUMNS, READ, WRITE, TABLE, N, COUNT, OF_ONE, STEPS, WAYS, LANE, WIDTH, BLOCKS, SCALE, ROOTS, HALVES, SCRATCH, PART, CHUNK, PLACES, BATCH = \
    0, 1, 2, 3, 4, 5, 6, 7, 11, 15, 19, 20, 21, 22, 23, 24, 25, 26, 27, 31


def write(kind, type, depth, alone):
    """The module. kind: "fft", "rfft" (of what was real) or "irfft". alone: a row at a time, not LANES of them."""
    made = (_Alone if alone else _Together)(kind, type)
    made.write(depth)
    made.code.module.vectors = True
    return made.code.finish()


def _taken_apart(z, mirrored, root):
    """Of the transform of n / 2 pairs of real numbers, at k and at n / 2 - k: twice that of the numbers at k. root: -i exp(-2 pi i k / n)."""
    return z + mirrored.conjugate() + (z - mirrored.conjugate()) * root


def _put_together(z, mirrored, root):
    """The other way round."""
    return _taken_apart(z, mirrored, root.conjugate())


class _Copier(Code):
    # TURNED or ENTRIES; where a part lies, its bytes from row to row and from lane to lane; where rows of LANES numbers follow each other; how many of them, and lanes
    ARGUMENTS = "way", "place", "step", "lane", "there", "rows", "width"


def write_copier(what, type):
    """The module that copies a part from where it lies ("read"), or there ("write")."""
    code, row = _Copier(), LANES * SIZES[type]
    reads = what == "read"
    with code.when(code.way.equals(TURNED)):
        if reads:
            code.turn(type, code.place, code.lane, code.there, code.number(row), code.width, code.rows)
        else:
            code.turn(type, code.there, code.number(row), code.place, code.lane, code.rows, code.width)
    with code.when(code.way.equals(ENTRIES)), code.loop(0, code.rows) as i, code.loop(0, code.width) as j:
        source, target = code.place + i * code.step + j * code.lane, code.there + i * row + j * SIZES[type]
        source, target = (source, target) if reads else (target, source)
        code.store(target, None, code.load(source, None, type))
    code.module.vectors = True
    return code.finish()


class _Together:
    """LANES columns. Rows of LANES numbers are vectors."""

    def __init__(self, kind, type):
        self.kind, self.type, self.size, self.row, self.code = kind, type, SIZES[type], LANES * SIZES[type], Code()
        self.n, self.part = self.code.word(N), self.code.word(PART)
        self.scale = self.code.immediate(SCALE, type)

    def write(self, depth):
        code = self.code
        with code.loop(code.lo, code.hi) as number:
            places = code.entry([code.word(PLACES + k) for k in range(4)], number, BATCH, depth)
            self.width = self.lanes_of(number)
            scratch = code.word(SCRATCH) + code.lo.over(code.word(CHUNK)) * (self.part * STAGES)
            self.scratch, self.held, self.more = scratch, scratch + self.part * PARTS, scratch + self.part * (PARTS + 2)
            getattr(self, self.kind)(places[:2], places[2:])

    def lanes_of(self, number):
        blocks = self.code.word(BLOCKS)
        return smaller(self.code.word(WIDTH) - (number - number.over(blocks) * blocks) * LANES, self.code.number(LANES))

    # ---- what is computed. source, target: places of the real and of the imaginary part -------------------------------------------------------

    def fft(self, source, target):
        re, im, steps = self.reading(source, self.n, self.held)
        out = self.writing(target, self.more)
        self.columns(re, im, steps, *out[:3])
        with self.code.when(self.scale.differs(1.0)), self.code.loop(0, self.n) as k:
            self.put(*self.at(k, *out[:3]), self.vectors(*self.at(k, *out[:3])).scaled(self.all_of(self.scale)))
        self.deliver(out, target, self.n)

    def rfft(self, source, target):
        code, n = self.code, self.n
        z = self.more, self.more + self.part, code.number(self.row)
        self.columns(*self.reading(source, n, self.held), *z)
        out = self.writing(target, self.held)
        half = self.all_of(self.scale * 0.5)
        with code.loop(0, n + 1) as k:
            here, there = select(k.equals(n), code.number(0), k), select(k.equals(0), k, n - k)
            made = _taken_apart(self.vectors(*self.at(here, *z)), self.vectors(*self.at(there, *z)), self.root(k)).scaled(half)
            self.put(*self.at(k, *out[:3]), made)
        self.deliver(out, target, n + 1)

    def irfft(self, source, target):
        code, n, z = self.code, self.n, (self.more, self.more + self.part, self.code.number(self.row))
        re, im, steps = self.reading(source, n + 1, self.held)
        scale = self.all_of(self.scale)

        def entry(k):
            return self.vectors(re + k * steps[0], im + k * steps[1])
        with code.loop(1, n) as k:
            self.put(*self.at(k, *z), _put_together(entry(k), entry(n - k), self.root(k)).scaled(scale))
        first, last, b = entry(code.number(0)).re, entry(n).re, code.builder              # real, whatever is there
        self.put(*self.at(code.number(0), *z), Numbers(b, b.fadd(first, last), b.fsub(first, last)).scaled(scale))
        out = self.writing(target, self.held)
        self.columns(z[1], z[0], (z[2], z[2]), out[1], out[0], out[2])              # parts exchanged: the other direction
        self.deliver(out, target, n)

    def columns(self, re, im, steps, out_re, out_im, out_step):
        word = self.code.word
        self.code.call(word(COLUMNS), word(TABLE), self.n, re, im, *steps, out_re, out_im, out_step, self.scratch, self.part)

    # ---- where it is -----------------------------------------------------------------------------------------------------------------------------

    def way(self, k):
        """How part k is read (0, 1) or written (2, 3)."""
        code, way = self.code, self.code.word(WAYS + k)
        return select(way.equals(AS_IT_IS) & self.width.differs(LANES), code.number(ENTRIES), way)

    def reading(self, places, rows, held):
        """(place of the real part, of the imaginary part, bytes from row to row of each) of so many rows, which were copied if they had to be."""
        code, row = self.code, self.code.number(self.row)
        cells, steps = [code.cell("i64", x) for x in places], [code.cell("i64", code.word(STEPS + k)) for k in (0, 1)]
        for k, place in enumerate(places):
            there, way = held + self.part * k, self.way(k)
            with code.when(way.equals(TURNED) | way.equals(ENTRIES)):
                self.copy(READ, k, way, place, there, rows)
                cells[k].set(there)
                steps[k].set(row)
            with code.when(way.equals(PAIRED)):
                self.copy(READ, k, code.number(TURNED), place, held, rows * 2)
                for j in (0, 1):
                    cells[j].set(held if j == k else held + self.row)
                    steps[j].set(row * 2)
        return cells[0].get(), cells[1].get(), [s.get() for s in steps]

    def writing(self, places, held):
        """(place of the real part, of the imaginary part, bytes from row to row, `held`): there, or where it is copied from (`deliver`). Both parts of a result walk alike."""
        code, way, row = self.code, self.way(2), self.code.number(self.row)
        direct, paired = way.equals(AS_IT_IS), way.equals(PAIRED) | way.equals(FOLLOWS)
        apart = select(paired, row, self.part)
        first = select(way.equals(FOLLOWS), apart, code.number(0))
        return (select(direct, places[0], held + first), select(direct, places[1], held + (apart - first)),
                select(direct, code.word(STEPS + 2), select(paired, row * 2, row)), held)

    def deliver(self, out, places, rows):
        code = self.code
        for k, place in enumerate(places):
            way = self.way(2 + k)
            with code.when(way.equals(TURNED) | way.equals(ENTRIES)):
                self.copy(WRITE, 2 + k, way, place, out[k], rows)
            with code.when(way.equals(PAIRED)):
                self.copy(WRITE, 2 + k, code.number(TURNED), place, out[3], rows * 2)

    def copy(self, copier, k, way, place, there, rows):
        word = self.code.word
        self.code.call(word(copier), way, place, word(STEPS + k), word(LANE + k), there, rows, self.width)

    # ---- vectors ------------------------------------------------------------------------------------------------------------------------------------

    def at(self, k, re, im, step):
        return re + k * step, im + k * step

    def vectors(self, re, im):
        return Numbers.lanes(self.code, self.type, re, im)

    def put(self, re, im, z):
        z.put(self.code, self.type, re, im)

    def all_of(self, x):
        return self.code.splat(x, LANES).ir

    def root(self, k):
        halves = self.code.word(HALVES)
        return Numbers.splat(self.code, self.type, *[halves + at * self.size for at in (k, k + self.n + 1)])


class _Alone(_Together):
    """One row of `count` numbers: some columns of n rows. A row of these are the numbers that follow each other."""

    def __init__(self, *which):
        super().__init__(*which)
        self.count = self.code.word(COUNT)

    def lanes_of(self, number):
        return None

    def fft(self, source, target):
        re, im, out = *self.reading(source, self.count, self.held), self.writing(target, self.scratch)
        self.transformed(re, im, self.more, out)
        self.deliver(out, target, self.count)

    def rfft(self, source, target):
        code, n, z = self.code, self.count, (self.scratch, self.scratch + self.part)
        self.transformed(*self.reading(source, n, self.held), self.more, z)
        for place in z:
            code.store(place, n, code.load(place, None, self.type))
        out = self.writing(target, self.held)
        half = self.all_of(self.scale * 0.5)
        with self.along(n + 1) as k:
            self.put_at(k, out, _taken_apart(self.numbers(k, z), self.mirrored(n - k, z), self.root(k)).scaled(half))
        self.deliver(out, target, n + 1)

    def irfft(self, source, target):
        code, n, z = self.code, self.count, (self.more, self.more + self.part)
        x = self.reading(source, n + 1, self.held)
        with self.along(n) as k:
            self.put_at(k, z, _put_together(self.numbers(k, x), self.mirrored(n - k, x), self.root(k)))
        first, last = code.load(x[0], None, self.type), code.load(x[0], n, self.type)
        code.store(z[0], None, first + last)                     # real, whatever is there
        code.store(z[1], None, first - last)
        out = self.writing(target, self.scratch)
        self.transformed(z[1], z[0], self.held, out[::-1])
        self.deliver(out, target, n)

    def transformed(self, re, im, held, out):
        """The transform of numbers at these places, times the scale of all but half transforms. held: two parts of scratch memory."""
        code, m, row, b, columns = self.code, self.n, self.row, self.code.builder, self.code.word(OF_ONE)
        step = columns * self.size
        steps = [select(code.word(WAYS + k).equals(NOTHING), code.number(0), step) if self.kind == "fft" else step for k in (0, 1)]
        self.columns(re, im, steps, held, held + self.part, code.number(row))
        roots, scale = code.word(ROOTS), None if self.kind == "rfft" else self.all_of(self.scale)
        with code.loop(0, m, LANES) as k:
            k = smaller(k, m - LANES)
            rows = [self.vectors(held + (k + j) * row, held + self.part + (k + j) * row) * self.vectors(roots + (k + j) * row, roots + (k + j + m) * row) for j in range(LANES)]
            rows = [*map(Numbers, [b] * LANES, code.exchanged([z.re for z in rows]), code.exchanged([z.im for z in rows]))]
            for count in COLUMNS_OF_ONE:
                with code.when(columns.equals(count)):
                    for j, z in enumerate(butterflies.transformed(rows[:count])):
                        at = (k + m * j) * self.size
                        self.put(out[0] + at, out[1] + at, z if scale is None else z.scaled(scale))

    # ---- where it is ---------------------------------------------------------------------------------------------------------------------------------

    def reading(self, places, count, held):
        """(place of the real part, of the imaginary part) of numbers that follow each other."""
        code, type, cells = self.code, self.type, [self.code.cell("i64", x) for x in places]
        for k, place in enumerate(places):
            there, way, step = held + self.part * k, code.word(WAYS + k), code.word(STEPS + k)
            copied = way.equals(ENTRIES) | way.equals(NOTHING) if self.kind == "irfft" else way.equals(ENTRIES)
            with code.when(copied):
                with code.loop(0, count) as i:
                    code.store(there, i, code.load(place + i * step, None, type))
                cells[k].set(there)
            with code.when(way.equals(PAIRED)):
                first, second = (held + self.part * j for j in (k, 1 - k))
                with self.along(count) as i:
                    pairs = [self.lanes(place + i * (2 * self.size) + j * self.row) for j in (0, 1)]
                    for j, to in enumerate((first, second)):
                        self.store(to + i * self.size, self.chosen(*pairs, range(j, 2 * LANES, 2)))
                cells[k].set(first)
                cells[1 - k].set(second)
        return [cell.get() for cell in cells]

    def writing(self, places, held):
        direct = self.code.word(WAYS + 2).equals(AS_IT_IS)
        return [select(direct, place, held + self.part * k) for k, place in enumerate(places)]

    def deliver(self, out, places, count):
        code, type = self.code, self.type
        for k, place in enumerate(places):
            way, step = code.word(WAYS + 2 + k), code.word(STEPS + 2 + k)
            with code.when(way.equals(ENTRIES)), code.loop(0, count) as i:
                code.store(place + i * step, None, code.load(out[k], i, type))
            with code.when(way.equals(PAIRED)), self.along(count) as i:
                parts = [self.lanes(x + i * self.size) for x in (out[k], out[1 - k])]
                for j in (0, 1):
                    self.store(place + i * (2 * self.size) + j * self.row, self.chosen(*parts, [LANES * (lane % 2) + lane // 2 for lane in range(j * LANES, (j + 1) * LANES)]))

    # ---- vectors along the row ---------------------------------------------------------------------------------------------------------------------------

    @contextmanager
    def along(self, count):
        """Places of vectors that hold all of so many numbers, LANES or more; of the last two some may be the same."""
        with self.code.loop(0, count, LANES) as k:
            yield smaller(k, count - LANES)

    def lanes(self, at):
        return self.code.lanes(at, None, self.type).ir

    def store(self, at, x):
        self.code.put_lanes(at, Value(self.code.builder, x, self.type))

    def chosen(self, x, y, lanes):
        """A vector of some of the lanes of two."""
        return self.code.builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [*lanes]))

    def numbers(self, k, places):
        return self.vectors(*[x + k * self.size for x in places])

    def mirrored(self, k, places):
        """Those from k on backwards."""
        z = self.numbers(k - (LANES - 1), places)
        return Numbers(z.b, *[self.chosen(x, x, range(LANES)[::-1]) for x in (z.re, z.im)])

    def put_at(self, k, places, z):
        self.put(*[place + k * self.size for place in places], z)

    def root(self, k):
        halves = self.code.word(HALVES)
        return self.numbers(k, (halves, halves + (self.count + 1) * self.size))
