"""Random bits of a key and a counter: the published vectors, the same in NumPy, in kernels and in 100 digits; draws that look random; masks under jit."""
import numpy as np
import pytest

import diffeng as de
from diffeng.kernels import Program
from diffeng.nodes import INPUT, Node, Tracer, Tracing
from diffeng.precise import PreciseArray, precise
from diffeng.vocabulary.random import philox, random_bits

FULL = 0xFFFFFFFF
VECTORS = [         # Random123 1.14, kat_vectors, "philox4x32 10": counter, key, words
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((FULL,) * 4, (FULL,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


@pytest.mark.parametrize("counter, key, words", VECTORS)
def test_published_vectors(counter, key, words):
    assert tuple(int(x) for x in philox(counter, key)) == words


def compiled(key, counter, shape):
    """random_bits by a kernel alone, the key and the counter as arguments."""
    nodes = [Node(INPUT, (), {"name": n}, None, (), np.asarray(x).dtype, ()) for n, x in (("key", key), ("counter", counter))]
    tracing = Tracing()
    tracing.values = False
    program = Program(nodes, [random_bits(*[Tracer(tracing, n) for n in nodes], shape=shape).node])
    assert not list(program.calls)
    return program(np.asarray(key), np.asarray(counter))[0]


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 5), (2, 3, 7), (1000,)])
@pytest.mark.parametrize("key, counter", [(0, 0), (12345678901234567, 2 ** 40 + 3), (-1, -1), (np.uint64(2 ** 64 - 1), np.int32(7))])
def test_kernels_and_numpy_draw_the_same_bits(shape, key, counter):
    want = random_bits(key, counter, shape=shape)
    assert want.shape == shape and want.dtype == np.uint32
    assert np.array_equal(compiled(key, counter, shape), want)


def test_entries_are_words_of_blocks():
    got = de.random.bits((5 << 32) + 9, (2 << 32) + 1, 10)
    want = [int(x) for block in range(3) for x in philox((block, 0, 1, 2), (9, 5))]
    assert got.tolist() == want[:10]
    assert np.array_equal(de.random.bits(1, 2, (3, 4)).ravel(), de.random.bits(1, 2, 12)) and np.array_equal(de.random.bits(1, 2, 5), de.random.bits(1, 2, 12)[:5])


def test_bits_in_a_hundred_digits():
    got = random_bits(precise(np.array(3)) + 4, 5, shape=(6,))
    assert isinstance(got, PreciseArray) and got.dtype == np.uint32
    assert np.array_equal(got.data.astype(np.uint32), random_bits(7, 5, shape=(6,)))


def test_draws_are_distributed_as_they_should_be():
    n = 200_000
    for dtype, step in ((np.float64, 2.0 ** -53), (np.float32, 2.0 ** -24)):
        u = de.random.uniform(1, 2, n, dtype)
        assert u.dtype == dtype and 0 <= u.min() and u.max() < 1 and np.all(u / dtype(step) % 1 == 0)
        counts = np.histogram(u, 100, (0, 1))[0]
        assert np.sum((counts - n / 100) ** 2) / (n / 100) < 99 + 5 * np.sqrt(2 * 99)              # chi-squared
    z = de.random.normal(3, 4, n)
    assert abs(z.mean()) < 5 / np.sqrt(n) and abs(z.std() - 1) < 5 / np.sqrt(2 * n) and abs(np.mean(z ** 4) - 3) < 0.2
    for p in (0.0, 0.1, 0.5, 1.0):
        assert abs(de.random.bernoulli(5, 6, p, n).mean() - p) <= 5 * np.sqrt(p * (1 - p) / n)
    rows = np.stack([de.random.uniform(1, k, 2000) for k in range(20)])
    assert np.abs(np.corrcoef(rows) - np.eye(20)).max() < 0.12


def test_the_mask_under_jit_is_the_arguments():
    @de.jit
    def step(w, x, k):
        return np.sum(de.random.dropout(x * w, 0.25, 11, k) ** 2)

    gradient = de.jit(de.grad(lambda w, x, k: np.sum(de.random.dropout(x * w, 0.25, 11, k) ** 2)))
    w, x = np.full(40, 1.5), np.linspace(1, 2, 40)
    seen = set()
    for k in range(6):
        mask = de.random.dropout(np.ones(40), 0.25, 11, k)
        assert np.isclose(step(w, x, np.array(k)), np.sum((mask * x * w) ** 2), rtol=1e-14)
        assert np.allclose(gradient(w, x, np.array(k)), 2 * w * (mask * x) ** 2, rtol=1e-14)          # forward's mask
        seen.add(tuple(mask != 0))
    assert len(seen) == 6 and step.traces == gradient.traces == 1


@pytest.mark.parametrize("method", ["symbolic", "forward", "reverse"])
def test_what_is_drawn_is_a_constant_of_every_method(method):
    x = np.linspace(0.5, 2, 8)
    mask = de.random.dropout(np.ones(8), 0.5, 1, 2)
    assert np.allclose(de.grad(lambda x: np.sum(de.random.dropout(x, 0.5, 1, 2) ** 2), method=method)(x), 2 * x * mask ** 2, rtol=1e-14)


def test_the_judge_sees_the_same_mask():
    assert de.compare(lambda x: np.sum(np.tanh(de.random.dropout(x, 0.5, 1, 2))), np.linspace(0.5, 2, 8)).agree


def test_errors():
    with pytest.raises(TypeError, match="single integers"):
        de.random.bits(0.5, 0, 3)
    with pytest.raises(TypeError, match="single integers"):
        de.random.bits(np.arange(2), 0, 3)
    with pytest.raises(ValueError, match="2\\*\\*32"):
        de.random.bits(0, 0, 2 ** 32)
    with pytest.raises(ValueError, match="between 0 and 1"):
        de.random.dropout(np.ones(3), 1.5, 0, 0)
