"""A product of matrices of our own, for what OpenBLAS does below the processor's speed (cutting.whose).

What it is: `write(type, bits)`, the module of a function that is called as BLAS's gemm is. OpenBLAS has no better kernels than those of the processor that it
takes this one for, which an older one does not know, or which OPENBLAS_CORETYPE in the environment names; nobody can change that once it is loaded. With the
kernels of a Haswell it multiplies at 115 GFLOP/s of float32 on one thread of a Zen 5. With those of a SkylakeX two threads reach 390 to 430 where matrices come from
memory, this 450 to 470; of float64 150 to 200, this 210 to 240. And float32 by a transposed matrix it packs number by number.

How (Goto & van de Geijn 2008, in short): of the right matrix a panel is copied, PANEL vectors wide and DEPTH rows deep, as it will be read; for ROWS rows of the left
matrix after another the block of the result lies in registers meanwhile. The left matrix is read where it lies: its numbers are needed one by one, and DEPTH
columns of it stay in the cache for all panels. What comes next, the next panel and the block of the result after this one, is asked of memory a line at a time,
between the steps of a sum: asked for at once it would keep what the sums wait for from coming, and not at all it costs a seventh of the time where matrices come from
memory.

What it is not: not for processors without 32 registers of 64 bytes (AVX-512), on which any BLAS is at the peak; nor for small products, where BLAS copies
nothing.
"""
from .code import SIZES, Code
from .values import cast, select, smaller

VECTOR = LINE = 64                         # bytes, of the cache, too
ROWS, PANEL = 8, 3                         # of a block of the result, and its vectors a row: 24 registers, and 4 for what is multiplied
LINES = PANEL + 1                          # in which a row of a panel lies, wherever it begins
AHEAD = 16                                 # rows of a panel that are on their way while one is copied
BETWEEN = 4                                # terms from one line that is asked for to the next
DEPTH = 256                                # terms of a sum that are added up at once: a panel of them fits into the first cache (48 KB)


class _Gemm(Code):
    ARGUMENTS = "turned", "left_turned", "n", "m", "k", "alpha", "right", "down", "left", "left_down", "beta", "out", "out_down"          # addresses: BLAS's order


def write(type, bits):
    """The module. type: "f64" or "f32"; bits: of BLAS's integers. Like BLAS it counts columns first, so what it is told of is the transposes: the right matrix
    comes first, and the result lies row after row."""
    code, size = _Gemm(), SIZES[type]
    lanes = VECTOR // size
    width, number = lanes * PANEL, code.number
    n, m, k, down, left_down, out_down = (cast(code.load(at, None, f"i{bits}"), "i64") for at in (code.n, code.m, code.k, code.down, code.left_down, code.out_down))
    down, left_down, out_down, entry = down * size, left_down * size, out_down * size, number(size)
    alpha, beta = code.load(code.alpha, None, type), code.load(code.beta, None, type)
    turned, left_turned = (code.load(at, None, "u8").equals(ord("T")) for at in (code.turned, code.left_turned))
    step, along = select(left_turned, entry, left_down), select(left_turned, left_down, entry)               # from row to row of the left matrix, from term to term
    panel, block = code.stack(DEPTH * width * size), code.stack(ROWS * PANEL * VECTOR)
    with code.loop(0, k, DEPTH) as t, code.loop(0, n, width) as j:
        columns, depth = smaller(n - j, number(width)), smaller(k - t, number(DEPTH))
        there = [code.first(columns - v * lanes, lanes) for v in range(PANEL)]
        with code.when(turned):
            code.turn(type, code.right + j * down + t * size, down, panel, number(width * size), columns, depth)
        with code.when(~turned), code.loop(0, depth) as q:
            source = code.right + (t + q) * down + j * size
            for v in range(LINES):
                code.prefetch(source + down * AHEAD + v * LINE)
            for v in range(PANEL):
                code.store_vector(panel + (q * width + v * lanes) * size, code.lanes(source, number(v * lanes), type, there[v], lanes))
        scale = select(t.equals(0), beta, number(1.0, type))
        old = select(scale.equals(0.0), number(0), columns)              # BLAS does not read what it is not to keep
        old = [code.first(old - v * lanes, lanes) for v in range(PANEL)]
        factors = code.splat(alpha, lanes), code.splat(scale, lanes)

        def finish(at, sums):
            """A row of the block becomes one of the result."""
            for v, x in enumerate(sums):
                place = number(v * lanes)
                code.store_lanes(at, place, x * factors[0] + code.lanes(at, place, type, old[v], lanes) * factors[1], there[v])

        after = j + width < n
        next_j, next_t = select(after, j + width, number(0)), select(after, t, t + DEPTH)
        with code.loop(0, m, ROWS) as i:
            rows = smaller(m - i, number(ROWS))
            left = [code.left + (i + smaller(number(r), rows - 1)) * step + t * along for r in range(ROWS)]          # (the last row takes the place of what is not there)
            out = code.out + i * out_down + j * size
            panel_rows = code.right + select(turned, (next_j + i.over(LINES)) * down + next_t * size, (next_t + i) * down + next_j * size)
            lines = select(turned, number(DEPTH * size // LINE), number(LINES))

            def ahead(q):
                """A line of the panel that follows, and one of the result under this block and the next."""
                line = q.over(BETWEEN)
                row, of_panel = line.over(LINES), line.over(lines)
                code.prefetch(panel_rows + of_panel * down + (line - of_panel * lines) * LINE)
                code.prefetch(out + row * out_down + (line - row * LINES) * LINE)
            block_of = _block(code, type, lanes, depth, panel, left, along, ahead)
            with code.when(rows.equals(ROWS)):
                for r, cells in enumerate(block_of):
                    finish(out + r * out_down, [cell.get() for cell in cells])
            with code.when(rows < ROWS):
                for place, cell in enumerate(sum(block_of, [])):
                    code.store_vector(block + place * VECTOR, cell.get())
                with code.loop(0, rows) as r:
                    finish(out + r * out_down, [code.lanes(block + (r * PANEL + v) * VECTOR, None, type, count=lanes) for v in range(PANEL)])
    module = code.finish()
    module.vectors = True
    return module


def _block(code, type, lanes, depth, panel, left, along, ahead):
    """ROWS times PANEL vectors of sums, row after row."""
    cells = [[code.cell(type, 0.0, lanes) for _ in range(PANEL)] for _ in range(ROWS)]
    with code.loop(0, depth, BETWEEN) as some:
        ahead(some)
        with code.loop(some, smaller(some + BETWEEN, depth)) as q:
            at = panel + q * (lanes * PANEL * SIZES[type])
            right = [code.lanes(at, code.number(v * lanes), type, count=lanes) for v in range(PANEL)]
            for base, row in zip(left, cells):
                x = code.splat(code.load(base + q * along, None, type), lanes)
                for cell, y in zip(row, right):
                    cell.set(code.fused(x, y, cell.get()))
    return cells
