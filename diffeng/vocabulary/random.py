"""Random bits as a function: of a key, a counter and a place. The same three give the same bits, on every device and however often they are computed.

Philox4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011): ten rounds of two 32-bit products with 64-bit results. Entry i of the
result is word i % 4 of the block that counts (i // 4, 0, counter mod 2**32, counter // 2**32) under the key (key mod 2**32, key // 2**32).

Why no state: a mask that is computed again (a checkpoint, a kernel) is the same mask.
"""
import math

import numpy as np

from ..nodes import Primitive

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)               # what the key grows by each round: the golden ratio, and the square root of 3 less 1
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(counter, key):
    """Four arrays of 32-bit words, as uint64, from four words of a counter and two of a key (arrays or integers, each below 2**32)."""
    a, b, c, d = (np.asarray(x, np.uint64) for x in counter)
    k, m = (int(x) for x in key)
    for _ in range(ROUNDS):
        left, right = a * np.uint64(MULTIPLIERS[0]), c * np.uint64(MULTIPLIERS[1])
        a, b, c, d = right >> _HALF ^ b ^ np.uint64(k), right & _LOW, left >> _HALF ^ d ^ np.uint64(m), left & _LOW
        k, m = (k + WEYL[0]) & 0xFFFFFFFF, (m + WEYL[1]) & 0xFFFFFFFF
    return a, b, c, d


def whole(x):
    """A key or counter as an integer of 64 bits without sign. Raises TypeError for what is no single integer."""
    x = np.asarray(x)
    if x.size != 1 or x.dtype.kind not in "iub":
        raise TypeError(f"a key and a counter are single integers, and this is {x.dtype} of shape {x.shape}")
    return int(x.reshape(-1)[0]) % 2 ** 64


def check(shape):
    if math.prod(shape) >= 2 ** 32:
        raise ValueError(f"random bits of shape {shape}: a draw has fewer than 2**32 entries; draw parts of it under other counters")


def _bits(key, counter, *, shape):
    check(shape)
    key, counter, size = whole(key), whole(counter), math.prod(shape)
    blocks = np.arange(-(-size // 4), dtype=np.uint64)
    words = philox((blocks, 0, counter & 0xFFFFFFFF, counter >> 32), (key & 0xFFFFFFFF, key >> 32))
    return np.stack(words, -1).reshape(-1)[:size].astype(np.uint32).reshape(shape)


def _infer(key, counter, *, shape):
    check(shape)
    return shape, np.dtype(np.uint32)


random_bits = Primitive("random_bits", _bits, "opaque", (), None, _infer)
