"""How a product of matrices is cut into parts: for the threads, and for the kernel that BLAS keeps for small products.

What it is: `whose` product it is where there is more than one library; `parts_of`, the rows and columns of a part. A large product has a part for each thread.
OpenBLAS on processors with AVX-512 computes products of up to a million multiply-adds without packing its operands, at 58 GFLOP/s of float64 where the packing
kernel reaches 45 to 52 on operands of this size; so a thin one whose operands stay in the cache is cut into parts that small. They are rectangles of the result,
each computed once, by one call. A small result of long sums (X'X of many samples, a gradient of weights) is cut along the terms instead, `terms_of`: each thread
sums its own, where otherwise all would read everything.
MKL packs nothing where few rows meet a matrix, and is then faster by 5 to 8 %, at 335 to 350 GFLOP/s of float32, so its parts have no more rows than that, unless
the rows of the right matrix share the sets of the cache (250 GFLOP/s).

What it is not: no words of a kernel and no product (contract.py). Chains of products have their own parts (tiles.py).

Why a file: what BLAS likes is measured, and changes with BLAS; how a product is written does not.
"""
from ..lengths import weight
from . import blas, threads
from .code import SQUARE

ALONE = 200_000                            # multiply-adds below which a product is not cut for several threads
STEP, ROW_STEP = 32, 8                     # columns, and rows, of a part that is packed are a multiple of this; columns of a small part, too
TINY, LAID = 1200, 1 << 19                 # see `is_laid`: entries of a small result; bytes of a part's copy
TALL = 256                                 # rows of a part to which a copy of the whole right matrix matters little: 2 % of its time
SMALL, SHORT = 100 ** 3, 32                # multiply-adds of a small product; the fewest terms of one whose right matrix runs along them
THICK, FEW = 50, 4                         # see `_is_small`; rows from which on a product of our own is faster than one that waits for memory
LONG = 8                                   # terms for each row and column of a result from which on it is cut along the terms
UNPACKED, PAGE = 128, 4096                 # rows for which MKL does not pack; bytes after which rows of a matrix share the sets of the first cache
CACHED = 3 << 19                           # bytes of a right matrix that stays in the cache while one row of parts after the other meets it


def whose(type, ta, tb, m, n, k, tiled=False):
    """What computes a product (m, k) (k, n): "mkl_" where there is one, "own_" where OpenBLAS is held back, packs number by number (see is_laid), or packs at all and is
    outdone; "" for OpenBLAS, which is as good at small ones; a vector and a matrix wait for memory, whoever it is. ta, tb: BLAS's flags of left and right. tiled: some
    rows or terms at a time are asked for."""
    if m == 1 or m * n * k <= ALONE:
        return ""
    if blas.has_mkl():
        return "mkl_"
    packed = blas.is_outdone() and not tiled and _is_packed(type, ta, tb, weight(m), weight(n), weight(k))
    return "own_" if packed or blas.is_held_back() or may_be_laid(type, tb) and blas.is_wide() else ""


def parts_of(type, ta, tb, m, n, k, batch, laid=False, apart=PAGE):
    """(rows, columns) of a part of each of `batch` products (m, k) (k, n). ta, tb: BLAS's flags of left and right. laid: a part copies its columns of the right
    matrix first. apart: bytes from one row of the right matrix, as it lies in memory, to the next.

    >>> from unittest import mock
    >>> with mock.patch.multiple(blas, has_small=lambda: True, has_mkl=lambda: False, is_wide=lambda: False), mock.patch.object(threads, "count", lambda: 2):
    ...     [parts_of("f64", "N", tb, m, n, k, 1) for tb, m, n, k in (("N", 8, 8, 8), ("N", 100, 100, 100), ("N", 256, 128, 128), ("T", 256, 128, 128))]
    [(8, 8), (50, 100), (64, 64), (32, 32)]
    """
    size = 8 if type == "f64" else 4
    share = -(-threads.count() // batch) if m * n * k > ALONE else 1
    other = whose(type, ta, tb, m, n, k)
    if other == "mkl_" and ta == tb == "N" and m > UNPACKED and apart % PAGE:
        rows = -(-m // (share * -(-m // (share * UNPACKED))))
        return -(-rows // ROW_STEP) * ROW_STEP, n
    small = not (laid or other) and _is_small(type, ta, tb, m, n, k, share)
    if laid:                                          # by rows, the threads' own, where each of them may copy all of the right matrix
        by_columns = n >= STEP * share and (m < TALL * share or k * n * size > LAID)
    elif small:                                       # of rows threads have their shares
        by_columns = m < ROW_STEP * share and m <= n
    else:                                             # each part packs one operand whole: it should be the smaller one
        by_columns = m < n and (n >= STEP * share or m < ROW_STEP * share)
    length, grain = (n, STEP) if by_columns else (m, 1 if small else ROW_STEP)
    share = max(1, min(share, length // (STEP if by_columns else ROW_STEP)))
    if laid and by_columns:
        share *= -(-k * n * size // (LAID * share))
    each = -(-length // share)
    each = -(-each // grain) * grain if share > 1 else each
    rows, columns = (m, each) if by_columns else (each, n)
    while small and not _fits(ta, tb, rows, columns, k):
        if columns > max(rows, STEP):
            columns = -(-columns // (2 * STEP)) * STEP
        else:
            rows = -(-rows // 2)
    return rows, columns


def _is_packed(type, ta, tb, m, n, k):
    """Does BLAS pack what it reads for a product of some size? (That which is planned for: a plan for small ones has no need of one of our own.)"""
    count = threads.count()
    return m >= FEW and m * n * k > ALONE and not _is_small(type, ta, tb, m, n, k, count) and not _small_terms(ta, tb, m, n, k, -(-k // count))


def _is_small(type, ta, tb, m, n, k, share):
    """Does BLAS compute a product that is cut for so many threads without packing, in parts as small as it likes them? Packing costs in proportion to the faces of
    the block of multiply-adds (m, n, k), so thin ones had better not be packed, if they stay in the cache."""
    faces, kept = share / max(m, n) + 1 / min(m, n) + 1 / k, k * n * (8 if type == "f64" else 4) <= CACHED
    return m > 1 and faces > 1 / THICK and kept and _fits(ta, tb, min(m, STEP), min(n, STEP), k) and blas.has_small()


def _fits(ta, tb, rows, columns, k):
    """Does BLAS compute it by its kernel for small products?"""
    turned = tb == "T" and ta == "N"
    return rows * columns * k <= SMALL and not (turned and (rows * columns > TINY or k < SHORT))


def is_long(m, n, k):
    """Are the sums of a product long, and its result small?"""
    return m * n * k > ALONE and k >= LONG * max(m, n)


def terms_of(type, ta, tb, m, n, k):
    """Terms of a part of a product whose result is small and whose sums are long; None for others.

    >>> from unittest import mock
    >>> with mock.patch.multiple(blas, has_small=lambda: True, has_mkl=lambda: False, is_wide=lambda: False), mock.patch.object(threads, "count", lambda: 2):
    ...     [terms_of("f64", "T", "N", m, n, k) for m, n, k in ((20, 20, 8000), (100, 50, 8000), (100, 50, 500))]
    [2500, 200, None]
    """
    if not is_long(m, n, k):
        return None
    share = -(-k // threads.count())
    small = 0 if whose(type, ta, tb, m, n, k) else _small_terms(ta, tb, m, n, k, share)
    return small or (share if threads.count() > 1 else None)


def _small_terms(ta, tb, m, n, k, share):
    """Terms of the parts, of so many each, in which BLAS computes a product of long sums without packing; 0 where it does not."""
    terms = min(SMALL // (m * n), share)
    return terms if is_long(m, n, k) and terms >= 2 * STEP and _fits(ta, tb, m, n, terms) and blas.has_small() else 0


def is_laid(type, tb, m, n, k):
    """Is the right matrix of a product (m, k) (k, n) to be copied first, for it runs along the terms of the sums?

    OpenBLAS packs such a matrix of float32 number by number (0.37 ns each; a copy of ours by squares takes 0.13 and what BLAS then does almost nothing). That
    matters where not many rows meet it, and each part packs the left matrix anew, so that may be no larger than a copy. Products of few numbers, which OpenBLAS
    computes without packing, are left as they are, and so are sums too long for a copy of some columns to stay in the cache.
    """
    return may_be_laid(type, tb) and not whose(type, "N", tb, m, n, k) and m * n > TINY and k >= SQUARE and k * max(m, STEP) * 4 <= LAID


def may_be_laid(type, tb):
    """Is there a size at which `is_laid`?"""
    return type == "f32" and tb == "T"
