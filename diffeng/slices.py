"""Products of balls with large arrays of floats, by exact products of slices in float64: BLAS does the work of a hundred digits.

What it is: `product`. Both factors are cut into slices of so few bits that float64 multiplies and adds them without any rounding; the products of slices are
added up in int64 and become balls (K. Ozaki, T. Ogita, S. Oishi, S. M. Rump, Error-free transformations of matrix
multiplication, Numer. Algorithms 59, 2012). A float32 array has three slices or four, however many digits are asked for, so the work grows with the
digits, not with their square: some ten thousand times faster than sums of Python objects, some twenty times faster than flint's own matrices.

The radius of a result bounds what was cut off here; the radii of the factor's balls are not handed on. Worst-case bounds grow by ten digits a layer of a
network, real rounding by less than one, and nobody could pay for the difference. So where these products are met the judge's digits rest on what they rest
on for truncation: two quotients, of different steps at different precisions, that agree.

What it is not: no array that user code holds (wide_arrays.py). Why a file: whoever doubts the judge's digits at large sizes reads this.
"""
import numpy as np
from flint import arb, ctx

from .balls import NAN, all_finite

TILE = 1 << 18               # numbers of the large factor that are sliced at once: they stay in the cache


def _exponent(x):
    """e with x < 2**e, for a non-negative float; 0 for 0."""
    return int(np.frexp(x)[1])


def _integers(a, shift):
    """The midpoints times 2**shift as Python integers, cut towards minus infinity."""
    def whole(x):
        man, exp = x.mid().man_exp()
        move = int(exp) + shift
        return int(man) << move if move >= 0 else int(man) >> -move
    return [whole(x) for x in a.reshape(-1)]


def _slices(a, bits, count, e):
    """(count, *a.shape) integers below 2**bits in size, as float64: a = sum_s slice_s 2**(e - bits (s + 1)), and less than 2**(e - bits count) is cut off."""
    whole = _integers(a, bits * count - e)
    size = (bits * count + 8 + 63) // 64 * 8
    words = np.frombuffer(b"".join([abs(x).to_bytes(size, "little") for x in whole]), np.uint64).reshape(len(whole), size // 8)
    sign = np.array([-1.0 if x < 0 else 1.0 for x in whole])
    out, mask = np.empty((count, len(whole))), np.uint64((1 << bits) - 1)
    for s in range(count):
        word, at = divmod(bits * (count - 1 - s), 64)
        part = words[:, word] >> np.uint64(at)
        if at + bits > 64:
            part = part | words[:, word + 1] << np.uint64(64 - at)
        out[s] = (part & mask).astype(float) * sign
    return out.reshape((count, *a.shape))


def product(a, b, spare=0):
    """(m, k) balls @ (k, n) finite floats -> (m, n) balls, at the precision in force less `spare` bits. Any strides will do; b is read once, tile by tile."""
    (m, k), n = a.shape, b.shape[1]
    if not all_finite(a):
        return np.full((m, n), NAN)
    depth = max(1, (k - 1).bit_length())
    bits = (54 - depth) // 2                                           # slices of a below 2**bits, of b at most 2**(bits - 1): k products stay below 2**53
    top = max((abs(x.mid()) for x in a.reshape(-1)), default=arb(0))
    high = float(max(np.max(b, initial=0), -np.min(b, initial=0)))
    if top == 0 or high == 0:
        levels, unit, cut = np.zeros((1, m, n), np.int64), arb(1), arb(0)
        count = 1
    else:
        e_a, e_b = int(top.log_base(2).ceil().upper().unique_fmpz()) + 1, _exponent(high)
        count = max(1, -(-(ctx.prec - spare + depth + 6) // bits))
        left = _slices(a, bits, count, e_a).reshape(count * m, k)
        levels = np.zeros((count, m, n), np.int64)
        width = max(1, TILE // k)
        for lo in range(0, n, width):
            rest = np.ldexp(np.ascontiguousarray(b[:, lo:lo + width], dtype=float), bits - 1 - e_b)
            for t in range(count):
                whole = part = np.rint(rest)
                rows = left[:(count - t) * m]
                if t and len(used := np.flatnonzero(part.any(axis=1))) < k // 2:             # the last slices hold the last bits of the smallest numbers: a few
                    part, rows = part[used], rows[:, used]
                levels[t:, :, lo:lo + width] += (rows @ part).reshape(count - t, m, -1).astype(np.int64)
                rest -= whole
                if not rest.any():
                    break
                rest *= 2.0 ** bits
        unit = arb(2) ** (e_a + e_b + 1 - bits * (count + 1))             # of the last level
        cut = arb(2) ** (e_a + e_b - bits * count) * (k * (count + 3))
    return _balls(levels, bits, unit, cut)


def _balls(levels, bits, unit, radius):
    """sum_l levels[l] 2**(bits (count - 1 - l)) units, with this radius."""
    count, m, n = levels.shape
    for k in range(count - 1, 0, -1):                                  # digits below 2**bits in all levels but the first
        carry = levels[k] >> bits
        levels[k] -= carry << bits
        levels[k - 1] += carry
    words = np.zeros((m, n, max(1, -(-bits * (count - 1) // 64) + 1)), np.uint64)
    for k in range(1, count):
        word, at = divmod(bits * (count - 1 - k), 64)
        digit = levels[k].astype(np.uint64)
        words[..., word] |= digit << np.uint64(at)
        if at + bits > 64:
            words[..., word + 1] |= digit >> np.uint64(64 - at)
    size, shift, raw = words.shape[2] * 8, bits * (count - 1), words.tobytes()
    out, tops, place, radius = np.empty((m, n), object), levels[0].tolist(), 0, radius / unit
    for i in range(m):
        row = tops[i]
        values = [0] * n
        for j in range(n):
            values[j] = arb((row[j] << shift) + int.from_bytes(raw[place:place + size], "little"), radius) * unit
            place += size
        out[i] = values
    return out
