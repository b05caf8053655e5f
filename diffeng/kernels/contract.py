"""Contractions: any einsum of one or two operands as diagonals, sums, transposes and matrix products that BLAS can walk.

What it is: index notation in, `Product` steps out (or an elementwise product where nothing is summed). Transposes become strides and flags; an
operand is copied only where no order of its axes makes it a matrix.

What it is not: no contraction order (opt_einsum finds it for three operands and more), no arithmetic.
"""
import itertools
import math

import numpy as np

from ..lengths import Length, weight
from ..vocabulary.shaping import is_repeated
from . import blas, threads
from .code import SIZES, Code
from .cutting import is_laid, may_be_laid, parts_of, terms_of, whose
from .fuse import Immediate, Map, Product
from .groups import Instruction, combine_kernel, partial_sums, to_be_there
from .layout import Buffer, View, broadcast, collapse, diagonal, new, pitched, reshaped, transposed, upright
from .memory import LINE
from .reduce import total
from .scalar import BFLOAT16, CAST, FLOAT, type_name
from .sizes import is_short, many_short_rows
from .values import select, smaller

_HALF = np.dtype(np.uint16)                # what holds a bfloat16: NumPy has none


def einsum(fuser, subscripts, views, dtype):
    """A view of the result, or None for what is left to NumPy. views: all float64 or all float32 after a cast to dtype."""
    if type_name(dtype) not in ("f64", "f32") or any(0 in v.shape or type_name(v.dtype) is None for v in views):
        return None
    terms, out = subscripts.split("->")
    terms = terms.split(",")
    if len(views) > 2:
        return _many(fuser, subscripts, terms, views, dtype)
    if len(views) == 1:
        view, letters = _single(fuser, *diagonal(views[0], terms[0]), set(out))
        if view.dtype != dtype:
            return None
        return transposed(view, [letters.index(c) for c in out])
    return _pair(fuser, (views[0], terms[0]), (views[1], terms[1]), out, dtype)


def _many(fuser, subscripts, terms, views, dtype):
    """Pair after pair, in the order opt_einsum finds."""
    import opt_einsum
    shapes = [tuple(map(int, v.shape)) for v in views]
    _, info = opt_einsum.contract_path(subscripts, *shapes, shapes=True)
    if any([type(n) is Length for v in views for n in v.shape]):
        size = {}
        for letters, v in zip(terms, views):                # (of constants it may be lost what an axis was)
            size.update({c: max(weight(n), size.get(c, 1)) for c, n in zip(letters, v.shape)})
        known, _ = opt_einsum.contract_path(subscripts, *[tuple([size[c] for c in letters]) for letters in terms], shapes=True)          # the order that there are kernels for
        _, other = opt_einsum.contract_path(subscripts, *shapes, optimize=known, shapes=True)
        info = other if other.opt_cost <= 2 * info.opt_cost else info
    steps = [(step[0], step[2]) for step in info.contraction_list]
    if any(len(places) > 2 for places, _ in steps):
        return None
    views = list(views)
    for places, text in steps:
        chosen = [views.pop(k) for k in sorted(places, reverse=True)]
        # opt_einsum writes the terms in the order in which it pops them.
        found = einsum(fuser, text, chosen, dtype)
        if found is None:
            return None
        views.append(found)
    return views[0]


def _single(fuser, view, letters, keep):
    """Letters of one operand that nobody else has are summed first."""
    axes = tuple(k for k, c in enumerate(letters) if c not in keep)
    if not axes:
        return view, letters
    return total(fuser, "sum", view, axes, view.dtype), "".join(c for c in letters if c in keep)


def _pair(fuser, left, right, out, dtype):
    (a, la), (b, lb) = diagonal(*left), diagonal(*right)
    a, la = _single(fuser, _as(fuser, a, dtype), la, set(lb) | set(out))
    b, lb = _single(fuser, _as(fuser, b, dtype), lb, set(la) | set(out))
    size = dict(zip(la, a.shape))
    for c, n in zip(lb, b.shape):
        size[c] = max(n, size.get(c, 1))

    def strides(v, letters):                          # of each letter; 0 where the operand does not vary with it
        return {c: 0 if is_repeated(n, size[c]) else s for c, n, s in zip(letters, v.shape, v.strides)}
    sa, sb = strides(a, la), strides(b, lb)

    def arranged(v, s, order):
        return View(v.buffer, v.offset, [size[c] for c in order], [s.get(c, 0) for c in order], v.dtype)
    summed = [c for c in la if c in lb and c not in out]
    if not summed:
        return _times(fuser, arranged(a, sa, out), arranged(b, sb, out))
    if max(size.values()) >= 2 ** 31 and blas.gemm(type_name(dtype))[1] == 32:                  # BLAS counts in 32 bits
        return None
    batch = [c for c in out if c in la and c in lb]
    rows, columns = ([c for c in out if c in mine and c not in other] for mine, other in ((la, lb), (lb, la)))
    if all(size[c] == 1 for c in rows) or all(size[c] == 1 for c in columns):          # a matrix and a vector
        if math.prod([size[c] for c in la]) > math.prod([size[c] for c in lb]):
            return _pair(fuser, (b, lb), (a, la), out, dtype)                        # the vector comes first
        order = sorted([*out, *summed], key=lambda c: -abs(sb.get(c, 0)))            # as the matrix lies in memory
        along = order[-1] in summed or len(batch) > 0 or fuser.passes(b, a)          # X'(f(Xw)) reads X once
    else:
        along = False
    if along:                                                                        # terms and sums, which fuse with others
        terms = _times(fuser, arranged(a, sa, order), arranged(b, sb, order))
        kept = [c for c in order if c in out]
        result = total(fuser, "sum", terms, tuple([k for k, c in enumerate(order) if c not in out]), dtype)
        return transposed(result, [kept.index(c) for c in out])
    if math.prod([size[c] for c in batch]) >= MANY and is_short(max([math.prod([size[c] for c in letters]) for letters in (rows, columns, summed)]), TINY, "tiny"):
        return _by_entries(fuser, arranged, (a, sa), (b, sb), size, (batch, rows, columns, summed), out)

    def by(s, letters):
        return sorted(letters, key=lambda c: -abs(s[c]))

    def matrix(v, s, first, second):
        """batch + (first melted, second melted), or None where BLAS cannot walk that."""
        melted = []
        for letters in (first, second):
            dims, (steps,) = collapse([size[c] for c in letters], [[s[c] for c in letters]])
            if len(dims) > 1:
                return None
            melted.append((dims[0], steps[0]) if dims else (1, v.dtype.itemsize))
        m = View(v.buffer, v.offset, [size[c] for c in batch] + [n for n, _ in melted], [s.get(c, 0) for c in batch] + [n for _, n in melted], v.dtype)
        return m if blas_walks(m) else None

    def straight(v, s, letters):
        return len(collapse([size[c] for c in letters], [[s[c] for c in letters]])[0]) <= 1
    rows = rows if straight(a, sa, rows) else by(sa, rows)
    columns = columns if straight(b, sb, columns) else by(sb, columns)
    tries = []
    for order in (by(sa, summed), by(sb, summed)):
        m, n = matrix(a, sa, rows, order), matrix(b, sb, order, columns)
        tries.append(((m is None) + (n is None), order, m, n))
    _, order, m, n = min(tries, key=lambda t: t[0])

    def copied(v, s, first, second):
        """The operand written anew as matrices; batch axes along which it does not vary are not repeated."""
        own = [c for c in batch if s.get(c, 0) != 0]
        source = arranged(v, s, own + first + second)
        fresh = copy(fuser, source, dtype)
        shape = [size[c] for c in own] + [math.prod([size[c] for c in letters]) for letters in (first, second)]
        flat = reshaped(fresh, shape)
        flat = reshaped(flat, [size[c] if c in own else 1 for c in batch] + shape[len(own):])
        return broadcast(flat, [size[c] for c in batch] + shape[len(own):])
    m = copied(a, sa, rows, order) if m is None else m
    n = copied(b, sb, order, columns) if n is None else n
    shape = [size[c] for c in out]
    across = many_short_rows(shape) and any([s.get(out[-2]) == dtype.itemsize for s in (sa, sb)]) and not fuser.narrow
    result = upright(shape, dtype) if across else pitched(shape, dtype, fuser.aligned)
    c = matrix(result, dict(zip(out, result.strides)), rows, columns)
    if c is None:                                     # BLAS cannot write in this order: the result is a transposed view of what it can write
        natural = batch + rows + columns
        fresh = pitched([size[k] for k in natural], dtype, fuser.aligned, len(columns))
        c = matrix(fresh, dict(zip(natural, fresh.strides)), rows, columns)
        result = transposed(fresh, [natural.index(k) for k in out])
    if fuser.narrow and type_name(dtype) == "f32":
        m, n = narrowed(fuser, m), narrowed(fuser, n)
    fuser.step(Product(m, n, c), [m, n])
    return result


def _by_entries(fuser, arranged, left, right, size, letters, out):
    """Many products of tiny matrices, by one loop over all of them, which computes entry after entry: BLAS would take longer to begin."""
    batch, rows, columns, summed = letters
    dtype = left[0].dtype
    result, type = new("arena", [size[c] for c in out], dtype), type_name(dtype)
    result.buffer.stored = True
    own = dict(zip(out, result.strides))

    def entry(v, s, place):
        whole = arranged(v, s, batch)
        return View(whole.buffer, whole.offset + sum([k * s.get(c, 0) for c, k in place.items()]), whole.shape, whole.strides, whole.dtype)

    def places(some):
        return [dict(zip(some, k)) for k in itertools.product(*[range(size[c]) for c in some])]
    made = []
    for place in places([*rows, *columns]):
        operands = [entry(v, s, {**place, **term}) for term in places(summed) for v, s in (left, right)]
        made.append(Map([size[c] for c in batch], _inner, type, (type,) * len(operands), operands, entry(result, own, place), cost=0.5 * len(operands)))
    fuser.together(made)
    return result


def _inner(a, b, *more):
    """The sum of the products of pairs."""
    total = a * b
    for x, y in zip(more[::2], more[1::2]):
        total = total + x * y
    return total


def narrowed(fuser, v):
    """A view of float32 as one of bfloat16, in the order in which it lies in memory: operands that are the same numbers are narrowed once."""
    axes = sorted([k for k in range(v.ndim) if v.strides[k] and v.shape[k] > 1], key=lambda k: -abs(v.strides[k]))
    shape, strides = [v.shape[k] for k in axes], [v.strides[k] for k in axes]
    dims, (steps,) = collapse(shape, [strides])
    known = fuser.narrowed.setdefault(id(v.buffer), {})
    flat = known.get((v.offset, *dims, *steps))
    if flat is None:
        flat = known[(v.offset, *dims, *steps)] = pitched(shape, _HALF, fuser.aligned)
        fuser.operate(Map(shape, BFLOAT16, "u16", ("f32",), (View(v.buffer, v.offset, shape, strides, v.dtype),), flat))
    own = dict(zip(axes, reshaped(flat, shape).strides))
    return View(flat.buffer, 0, v.shape, [own.get(k, 0) for k in range(v.ndim)], _HALF)


def _as(fuser, v, dtype):
    return v if v.dtype == dtype else copy(fuser, v, dtype)


def copy(fuser, v, dtype):
    """v in C order and in a dtype, in a buffer of its own."""
    out = new("arena", v.shape, dtype)
    want = type_name(dtype)
    fuser.operate(Map(v.shape, CAST, want, (want,), (v,), out))
    return out


def _times(fuser, a, b):
    out = new("arena", a.shape, a.dtype)
    type = type_name(a.dtype)
    fuser.operate(Map(a.shape, FLOAT["multiply"], type, (type, type), (a, b), out))
    return out


# ---- BLAS --------------------------------------------------------------------------------------------------------------------------

COLUMNS, ROWS, INNER, OUT, FIRST, LIMIT, CUT, BATCH = 3, 4, 5, 11, 17, 22, 23, 26         # words of a product: its sizes, which part of its terms comes first, what
                                           # keeps its BLAS on one thread, how it is cut, and its batch axes
BY_TERMS, SHARED = 1, 2                    # how: into parts of the terms; so that chunks of these have results of their own; 0: of rows and columns
TINY, MANY = 4, 128                        # rows, columns and terms of matrices of which so many are multiplied entry by entry
FEW = 100                                  # entries of a matrix whose product with a vector takes BLAS longer to begin than to do
VECTOR = ord("V")                          # in the place of left's flag: it has one row
PAD, SLOTS = 16, 4                         # entries between the rows of such a copy; copies at once, for each thread


def product(step, cut=None):
    """Instructions: BLAS's gemm (gemv for a vector and a matrix) for each entry of the batch axes, in parts; one row of the table is one part of one entry.

    cut: ("rows", width): parts of so many rows of the result. ("terms", width): parts of so many terms of each sum, where a part adds to what those before it
    made (so they are computed in order, by one thread). None: parts as cutting.py says, each of which may copy its own columns of the right
    matrix first; or parts of the terms where each chunk of them adds to a result of its own, and a second instruction puts these together. What the sums are
    added to lies where the result will, or is copied there, part by part.
    """
    type = type_name(step.out.dtype)
    (a, b, c), turned, (ta, lda), (tb, ldb), ldc, dims, strides = for_blas(step)
    (m, k), n, size = a.shape[-2:], b.shape[-1], a.dtype.itemsize
    # BLAS counts columns first: it is given C' = B'A', where a matrix that runs along its last axis is already transposed.
    batch = math.prod(dims)
    along, width = cut or (None, None)
    vector = m < 2 and cut is None and step.onto is None
    laid = cut is None and not vector and is_laid(type, chr(tb), m, n, k)
    together = ldc == n or m == 1                        # do the result's rows follow each other?
    shares = cut is None and batch == 1 and together and m != 1          # whatever the sizes: they do not decide what is compiled
    shared = terms_of(type, chr(ta), chr(tb), m, n, k) if shares and not vector else None
    by_terms = SHARED if shared else BY_TERMS if along == "terms" else 0
    laid &= not by_terms
    lays = cut is None and may_be_laid(type, chr(tb))          # (nor here)
    if shared:
        rows, columns, width = m, n, shared
    elif cut is None:
        rows, columns = parts_of(type, chr(ta), chr(tb), m, n, k, batch, laid, ldb * size)
    else:
        columns, rows = [width if along == "rows" and turned == side else whole for side, whole in ((True, n), (False, m))]
    terms = width if by_terms else k
    down, over = -(-m // rows), -(-n // columns)          # parts of a column, and of a row, of the result
    parts = -(-k // terms) * down * over
    other, name = "" if vector else whose(type, chr(ta), chr(tb), m, n, k, cut is not None), blas.name_of("gemv" if vector else "gemm", type)
    bits = blas.routine(name)[1]
    words = [blas.Routine(other + name), tb, VECTOR if vector else ta, n, m, k, ldb, lda, ldc, (b.buffer, b.offset), (a.buffer, a.offset), (c.buffer, c.offset),
             parts, rows, over, columns, terms, 0, a.strides[-1] * terms if by_terms else a.strides[-2] * rows,
             b.strides[-2] * terms if by_terms else b.strides[-1] * columns, 0 if by_terms else c.strides[-2] * rows, 0 if by_terms else size * columns,
             blas.Routine("mkl_threads") if other == "mkl_" else 0, by_terms, 0, 1]          # (a part's own result: bytes to the next chunk's, parts of a chunk)
    for d, *s in zip(dims, *strides):
        words += [d, *s]
    depth = len(dims)
    cost = 200 + m * n * k / parts * (0.03 if type == "f32" else 0.06) * (4 if vector else 1)          # a matrix that is used once waits for memory
    if vector:                                        # steps from entry to entry of the two vectors, in place of leading dimensions
        words[7], words[8] = a.strides[-1] // size, c.strides[-1] // size
    chunk = threads.split(batch * parts, cost)
    if laid:
        chunk = max(chunk, -(-batch * parts // (SLOTS * threads.count())))
        leading = columns + PAD
        copied = -(-k * leading * size // LINE) * LINE
        words[1], words[6] = ord("N"), leading
        words += [ldb * size, (Buffer("arena", np.dtype(np.uint8), copied * -(-batch * parts // chunk)), 0), copied, chunk]
    elif lays:
        words += [0, 0, 0, 1]
    added, rest, ready = None, [], []
    if shared:
        chunk = -(-parts // min(threads.count(), parts)) if chunk < parts else parts
        if chunk < parts:
            partial, words[CUT + 1], added_up = partial_sums(type, -(-parts // chunk), c)
            words[OUT], words[CUT + 2] = (partial, 0), chunk
            rest.append(added_up)
    if other == "own_" or m != 1 and (blas.is_held_back() or lays and blas.is_wide()):
        ready.append(to_be_there(*blas.own(f"own_{blas.name_of('gemm', type)}")))
    if shares and not rest:
        ready.append(to_be_there(*combine_kernel("sum", type, type)))
    if step.onto is not None:
        words.append((step.onto.buffer, step.onto.offset))
        words += [] if step.scale is None else [step.scale if isinstance(step.scale, Immediate) else (step.scale.buffer, step.scale.offset)]
        added = step.scale and step.scale.__class__.__name__, step.negative
    structure = type, bits, depth, lays, added
    return [Instruction(repr(("product", *structure)), lambda: _write_product(*structure), words, batch * parts, chunk, cost, ready), *rest]


def for_blas(step):
    """A product as any BLAS is given it: left, right and out (those of a result that runs along its rows are the transposes, the other way round), whether they
    are; flag and leading dimension of left and of right; out's leading dimension; the batch axes, and the strides of the three along these."""
    a, b, c = step.left, step.right, step.out
    turned = is_turned(c)
    if turned:
        a, b, c = turned_over(b), turned_over(a), turned_over(c)
    left, right = ((letter, max(leading, 1)) for letter, leading in (flag(v, v.dtype.itemsize) for v in (a, b)))
    leading = c.strides[-2] // c.dtype.itemsize if c.shape[-2] > 1 else c.shape[-1]
    return (a, b, c), turned, left, right, max(leading, 1), *collapse(a.shape[:-2], [v.strides[:-2] for v in (a, b, c)])


def is_turned(out):
    """Does a product's result run along its rows? Then rows and columns have changed places in its words."""
    return out.strides[-1] != out.dtype.itemsize and out.shape[-1] > 1


def _write_product(type, bits, depth, lays, added):
    code = Code()
    word, zero, one = code.word, code.number(0), code.number(1)
    with code.set_meanwhile(word(LIMIT), 1), code.loop(code.lo, code.hi) as r:
        entry = r.over(word(12))
        part = r - entry * word(12)
        above, terms = part.over(word(14)), word(CUT).differs(0)
        i, j, t = select(terms, zero, above), part - above * word(14), select(terms, part, zero)          # (of parts of terms one lies above the other)
        out = word(OUT) + i * word(20) + j * word(21) + code.lo.over(word(CUT + 2)) * word(CUT + 1)
        pa, pb, pc = code.entry([word(10) + above * word(18), word(9) + select(terms, part, j) * word(19), out], entry, BATCH, depth)
        m, n, k = smaller(word(4) - i * word(13), word(13)), smaller(word(3) - j * word(15), word(15)), smaller(word(5) - t * word(16), word(16))
        first = t.equals(select(word(CUT).equals(SHARED), code.lo, word(FIRST)))
        fresh = first if added is None else first & word(CUT).equals(SHARED) & code.lo.differs(0)          # is there nothing yet that it is added to?
        beta = select(fresh, code.number(0.0, type), code.number(1.0, type))
        if lays:
            down, own, copied, chunk = (word(BATCH + 4 * depth + j) for j in range(4))
            source, laid = pb, copied.differs(0)
            pb = select(laid, own + code.lo.over(chunk) * copied, source)
            with code.when(laid):
                code.turn(type, source, down, pb, word(6) * SIZES[type], n, k)
        sizes = type, bits, word(0), word(1)
        if added is not None:
            alpha = _onto(code, type, added, BATCH + 4 * depth + 4 * lays, (m, n, k), (pa, pb, pc), first, fresh)
            code.gemm(*sizes, word(2), n, m, k, pb, word(6), pa, word(7), pc, word(8), alpha, beta)
        else:
            vector, plain, few = word(2).equals(VECTOR), word(1).equals(ord("N")), n * k < FEW
            with code.when(vector & few):
                _few(code, type, n, k, [(pa, zero, word(7)), (pb, select(plain, one, word(6)), select(plain, word(6), one)), (pc, word(8), zero)])
            with code.when(vector & ~few):
                code.gemv(*sizes, select(plain, n, k), select(plain, k, n), pb, word(6), pa, word(7), pc, word(8))
            with code.when(~vector):
                code.gemm(*sizes, word(2), n, m, k, pb, word(6), pa, word(7), pc, word(8), 1.0, beta)
    module = code.finish()
    module.vectors = added is None             # no loop of numbers, and those of a few terms are added one after the other
    return module


def _few(code, type, n, k, places):
    """A vector (k,) times a matrix (k, n). places: of both and of the result, with the steps (in entries) along n and along k."""
    with code.loop(0, n) as j:
        total = code.cell(type, 0.0)
        with code.loop(0, k) as t:
            x, y = (code.load(at, j * down + t * across, type) for at, down, across in places[:2])
            total.set(total.get() + x * y)
        at, down, _ = places[2]
        code.store(at, j * down, total.get())


def _onto(code, type, added, where, sizes, places, first, fresh):
    """Put what a product is added to where the result will lie, if it is elsewhere; the factor of the sums. where: the word that says where it is. first: is this part the
    first of its sums? fresh: is it one that is added to nothing?"""
    (m, n, k), (pa, pb, pc), word, size, (scale, negative) = sizes, places, code.word, SIZES[type], added
    source, down = word(where) + (pc - word(OUT)), word(8) * size
    with code.when(first & ~fresh & source.differs(pc)):
        with code.loop(0, m) as i:
            with code.loop(0, n) as j:
                code.store(pc + i * down, j, code.load(source + i * down, j, type))
    if scale is None:
        return code.number(-1.0 if negative else 1.0, type)
    factor = code.immediate(where + 1, type) if scale == "Immediate" else code.load(word(where + 1), None, type)
    factor = -factor if negative else factor
    with code.when(factor.equals(0.0)):                                # then BLAS computes nothing, but 0 times infinity is NaN
        entry = code.number(size)
        (da, sa), (db, sb) = ((select(plain, word(leading) * size, entry), select(plain, entry, word(leading) * size))
                              for plain, leading in ((word(2).equals(ord("N")), 7), (word(1).equals(ord("N")), 6)))
        with code.loop(0, m) as i:
            with code.loop(0, n) as j:
                total = code.cell(type, 0.0)
                with code.loop(0, k) as t:
                    total.set(total.get() + code.load(pa + i * da + t * sa, None, type) * code.load(pb + t * db + j * sb, None, type))
                code.store(pc + i * down, j, select(fresh, code.number(0.0, type), code.load(pc + i * down, j, type)) + factor * total.get())
    return factor


def turned_over(v):
    """The transposed matrices."""
    return transposed(v, (*range(v.ndim - 2), v.ndim - 1, v.ndim - 2))


def blas_walks(v):
    """Can BLAS read the last two axes as a matrix with one leading dimension?"""
    return flag(v, v.dtype.itemsize) is not None


def flag(v, size):
    """(transpose flag, leading dimension) of a row-major matrix seen by a column-major BLAS as its transpose; None where it cannot walk it."""
    (rows, columns), (down, across) = v.shape[-2:], v.strides[-2:]
    if (columns == 1 or across == size) and (rows == 1 or down % size == 0 and down >= size * columns):
        return ord("N"), down // size if rows > 1 else columns
    if (rows == 1 or down == size) and (columns == 1 or across % size == 0 and across >= size * rows):
        return ord("T"), across // size if columns > 1 else rows
    return None
