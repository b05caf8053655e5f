"""A product of matrices of our own, for what OpenBLAS does at half of the processor's speed (cutting.whose).

What it is: `write(type, bits)`, the module of a function that is called as BLAS's gemm is. OpenBLAS has no better kernels than those of the processor that it
takes this one for, which an older one does not know, or which OPENBLAS_CORETYPE in the environment names; nobody can change that once it is loaded. With the
kernels of a Haswell it multiplies at 115 GFLOP/s of float32 on one thread of a Zen 5, with those of a SkylakeX at 195 to 230, this at 225 to 250. And float32 by a
transposed matrix it packs number by number, whoever it takes the processor for.

How (Goto & van de Geijn 2008, in short): some columns of the right matrix, DEPTH rows deep, are copied next to each other, as they will be read (PANEL vectors a
row); for ROWS rows of the left matrix after another the block of the result lies in registers meanwhile. The left matrix is read where it lies: its numbers
are needed one by one, and the rows of one step are all in the cache by the second.

What it is not: not for processors without 32 registers of 64 bytes (AVX-512), on which any BLAS is at the peak; nor for small products, where BLAS copies
nothing.
"""
from .code import SIZES, Code
from .values import cast, select, smaller

VECTOR = 64                                # bytes
ROWS, PANEL = 8, 3                         # of a block of the result, and its vectors a row: 24 registers, and 4 for what is multiplied
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
    with code.loop(0, n, width) as j:
        columns = smaller(n - j, number(width))
        there = [code.first(columns - v * lanes, lanes) for v in range(PANEL)]
        with code.loop(0, k, DEPTH) as t:
            depth = smaller(k - t, number(DEPTH))
            with code.when(turned):
                code.turn(type, code.right + j * down + t * size, down, panel, number(width * size), columns, depth)
            with code.when(~turned), code.loop(0, depth) as q:
                source = code.right + (t + q) * down + j * size
                for v in range(PANEL):
                    code.store_vector(panel + (q * width + v * lanes) * size, code.lanes(source, number(v * lanes), type, there[v], lanes))
            scale = select(t.equals(0), beta, number(1.0, type))
            old = select(scale.equals(0.0), number(0), columns)              # BLAS does not read what it is not to keep
            old = [code.first(old - v * lanes, lanes) for v in range(PANEL)]
            factors = code.splat(alpha, lanes), code.splat(scale, lanes)
            with code.loop(0, m, ROWS) as i:
                rows = smaller(m - i, number(ROWS))
                left = [code.left + (i + smaller(number(r), rows - 1)) * step + t * along for r in range(ROWS)]          # (the last row takes the place of what is not there)
                with code.when(~turned & (i < depth)), code.loop(0, ROWS) as q:            # the next panel
                    for v in range(PANEL + 1):
                        code.prefetch(code.right + (t + i + q) * down + (j + width) * size + v * VECTOR)
                for place, sums in enumerate(_block(code, type, lanes, depth, panel, left, along)):
                    code.store_vector(block + place * VECTOR, sums)
                with code.loop(0, rows) as r:
                    at = code.out + (i + r) * out_down + j * size
                    for v in range(PANEL):
                        place, sums = number(v * lanes), code.lanes(block + (r * PANEL + v) * VECTOR, None, type, count=lanes)
                        code.store_lanes(at, place, sums * factors[0] + code.lanes(at, place, type, old[v], lanes) * factors[1], there[v])
    module = code.finish()
    module.vectors = True
    return module


def _block(code, type, lanes, depth, panel, left, along):
    """ROWS times PANEL vectors of sums, row after row."""
    cells = [[code.cell(type, 0.0, lanes) for _ in range(PANEL)] for _ in range(ROWS)]
    with code.loop(0, depth) as q:
        at = panel + q * (lanes * PANEL * SIZES[type])
        right = [code.lanes(at, code.number(v * lanes), type, count=lanes) for v in range(PANEL)]
        for base, row in zip(left, cells):
            x = code.splat(code.load(base + q * along, None, type), lanes)
            for cell, y in zip(row, right):
                cell.set(code.fused(x, y, cell.get()))
    return [cell.get() for row in cells for cell in row]
