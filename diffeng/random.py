"""Random numbers as functions of a key and a counter: the same two give the same numbers, in forward and backward, in NumPy and in kernels.

What it is: what a program draws inside of `jit`, where a generator with a state of its own would draw once and be baked in. The key is a seed; the counter says which
draw it is, a step's number for one. Both are integers, or arrays of one, and may be arguments of the function.

What it is not: NumPy's `Generator`, which rand and randn use. No derivative: what is drawn is constant.

>>> import numpy as np, diffeng as de
>>> step = de.jit(lambda x, k: de.random.dropout(x, 0.5, key=7, counter=k))
>>> x = np.ones(8)
>>> step(x, np.array(1))
array([2., 2., 2., 2., 0., 0., 0., 2.])
>>> step(x, np.array(2))
array([0., 0., 2., 2., 0., 2., 0., 0.])
"""
import math

import numpy as np

from .numpy_api import astype
from .vocabulary import elementwise as e
from .vocabulary.random import random_bits


def bits(key, counter, shape=()):
    """32 random bits an entry, as uint32. key, counter: integers, taken modulo 2**64. Raises TypeError for others, ValueError for 2**32 entries or more.

    Two draws share nothing if their keys or counters differ; a draw's first entries do not depend on its shape.

    >>> [hex(x) for x in bits(0, 0, 4)]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    return random_bits(key, counter, shape=_shape(shape))


def _shape(shape):
    return tuple([int(n) for n in shape]) if isinstance(shape, (tuple, list)) else (int(shape),)


def uniform(key, counter, shape=(), dtype=np.float64):
    """Uniform numbers in [0, 1): multiples of 2**-53 in float64, of 2**-24 in float32 (and float16, where they are rounded)."""
    shape = _shape(shape)
    if np.dtype(dtype) == np.float64:
        high, low = random_bits(key, counter, shape=(2, *shape))
        return e.floor(high * 2.0 ** -5) * 2.0 ** -27 + e.floor(low * 2.0 ** -6) * 2.0 ** -53
    return astype(e.floor(random_bits(key, counter, shape=shape) * 2.0 ** -8) * 2.0 ** -24, np.dtype(dtype))


def normal(key, counter, shape=(), dtype=np.float64):
    """Numbers of the standard normal distribution (Box & Muller, Ann. Math. Statist. 29, 1958)."""
    radius, angle = uniform(key, counter, (2, *_shape(shape)))
    return astype(e.sqrt(-2.0 * e.log1p(-radius)) * e.cos(2 * math.pi * angle), np.dtype(dtype))


def bernoulli(key, counter, p, shape=()):
    """True with probability p, a Python number from 0 to 1, which is rounded to a multiple of 2**-32."""
    draws, below = random_bits(key, counter, shape=_shape(shape)), round(_probability(p) * 2 ** 32)
    return e.less_equal(draws, np.uint32(below - 1)) if below else e.less(draws, np.uint32(0))


def _probability(p):
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return float(p)


def dropout(x, p, key, counter):
    """x with entries set to 0 with probability p, the others divided by 1 - p (Srivastava et al., JMLR 15, 2014). p: a Python number.

    >>> dropout(np.ones(4), 0.5, key=0, counter=0)
    array([2., 0., 0., 0.])
    """
    if _probability(p) == 1:
        return x * 0
    return e.where(bernoulli(key, counter, 1 - p, np.shape(x)), x * (1 / (1 - p)), np.zeros((), x.dtype))
