"""Attention and its like, tile by tile: the same results as step by step, in memory that is linear in the number of positions."""
import numpy as np
import pytest

import diffeng as de
from diffeng.kernels import choice, machine, recompute, sizes, tiles

RNG = np.random.default_rng(7)
B, H, T, D = 2, 3, 70, 8
Q, K, V, G = (RNG.normal(size=(B, H, T, D)) for _ in range(4))
CAUSAL, BAND = np.tri(T, dtype=bool), np.where(np.abs(np.subtract.outer(np.arange(T), np.arange(T))) < 9, 0.0, -np.inf)


def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def scores(q, k):
    return q @ np.swapaxes(k, -1, -2) / D ** 0.5


def heads_last(x):
    return np.swapaxes(x, 1, 2)


ATTENTION = {
    "plain":            lambda q, k, v: softmax(scores(q, k)) @ v,
    "causal":           lambda q, k, v: softmax(np.where(CAUSAL, scores(q, k), -1e10)) @ v,
    "added mask":       lambda q, k, v: softmax(scores(q, k) + BAND) @ v,
    "scaled before":    lambda q, k, v: softmax((q * 0.3) @ np.swapaxes(k, -1, -2)) @ v,
    "divided last":     lambda q, k, v: ((e := np.exp((s := scores(q, k)) - np.max(s, axis=-1, keepdims=True))) @ v) / np.sum(e, axis=-1, keepdims=True),
    "logsumexp":        lambda q, k, v: np.exp((s := scores(q, k)) - de.special.logsumexp(s, axis=-1, keepdims=True)) @ v,
    "capped":           lambda q, k, v: softmax(5 * np.tanh(scores(q, k) / 5)) @ v,
    "einsum":           lambda q, k, v: np.einsum("bhij,bhjd->bhid", softmax(np.einsum("bhid,bhjd->bhij", q, k)), v),
    "heads moved":      lambda q, k, v: heads_last(softmax(scores(q, k)) @ v).reshape(B, T, H * D),
    "without softmax":  lambda q, k, v: np.maximum(scores(q, k), 0) ** 2 @ v,
    "shares returned":  lambda q, k, v: ((p := softmax(scores(q, k))) @ v, p),
    "scores returned":  lambda q, k, v: (softmax(s := scores(q, k)) @ v, s),
    "shares used twice": lambda q, k, v: (p := softmax(scores(q, k))) @ v + np.sin(p @ (v * v)),
    "other axis":       lambda q, k, v: np.swapaxes(softmax(np.swapaxes(scores(q, k), -1, -2)), -1, -2) @ v,
    "sum over queries": lambda q, k, v: np.sum(softmax(scores(q, k)), axis=-2)[..., None] * v,
    "mean of shares":   lambda q, k, v: softmax(scores(q, k)) @ v * np.mean(softmax(scores(q, k))),
    "diagonal read":    lambda q, k, v: softmax(scores(q, k)) @ v + np.einsum("bhii->bhi", softmax(scores(q, k)))[..., None],
    "causal, known":    lambda q, k, v: softmax(np.where(np.tri(T, dtype=bool), scores(q, k), -1e10)) @ v,
    "a window":         lambda q, k, v: softmax(np.where(np.tri(T, dtype=bool) & ~np.tri(T, k=-9, dtype=bool), scores(q, k), -1e30)) @ v,
    "rows without keys": lambda q, k, v: softmax(np.where(np.tri(T, k=-5, dtype=bool), scores(q, k), -1e10)) @ v,
    "a mild mask":      lambda q, k, v: softmax(np.where(np.tri(T, dtype=bool), scores(q, k), -5.0)) @ v,
    "least share":      lambda q, k, v: (p := softmax(np.where(np.tri(T, dtype=bool), scores(q, k), -1e10))) @ v + np.min(p, axis=-1, keepdims=True),
    "more after the mask": lambda q, k, v: softmax(np.where(np.tri(T, dtype=bool), scores(q, k), -1e10) * 0.5) @ v,
    "no softmax behind": lambda q, k, v: np.where(np.tri(T, dtype=bool), scores(q, k), -1e10) @ v,
    "zeros and more":   lambda q, k, v: (softmax(np.where(np.tri(T, dtype=bool), scores(q, k), -1e10)) + 0.01) @ v,
    "hidden by zero":   lambda q, k, v: np.where(np.tri(T, dtype=bool), scores(q, k), 0) @ v,
    "a mask from v":    lambda q, k, v: softmax(np.where(v[..., :1] > 0, scores(q, k), -1e10)) @ v,
}


@pytest.fixture
def small(monkeypatch):
    """As if everything were large."""
    monkeypatch.setattr(sizes, "LARGE", 1)
    monkeypatch.setattr(recompute, "RATIO", 1)
    monkeypatch.setattr(tiles, "CACHED", 1 << 14)
    made = []
    monkeypatch.setattr(choice, "_alike", lambda *graph: ())          # one plan of each
    monkeypatch.setattr(sizes.Sizes, "others", lambda *known: ())
    monkeypatch.setenv("DIFFENG_CACHE", "off")                   # no plan that was made for other limits
    monkeypatch.setattr(tiles, "instructions", lambda t, original=tiles.instructions: made.append(t) or original(t))
    return made


def program_of(jitted):
    return [t for traces in jitted._traces.values() for t in traces][0].program


def all_close(got, want, tolerance):
    got, want = (x if isinstance(x, tuple) else (x,) for x in (got, want))
    for g, w in zip(got, want, strict=True):
        assert g.shape == w.shape and g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance * np.max(np.abs(w)))


@pytest.mark.parametrize("name, dtype", [(name, np.float64) for name in ATTENTION] + [(name, np.float32) for name in ("causal", "divided last", "capped")])
def test_values_and_gradients(name, dtype, small):
    f, args = ATTENTION[name], [x.astype(dtype) for x in (Q, K, V)]
    tolerance = 1e-12 if dtype is np.float64 else 2e-5
    all_close(de.jit(f)(*args), f(*args), tolerance)

    def loss(q, k, v):
        out = f(q, k, v)
        return sum(np.sum(np.tanh(x)) for x in (out if isinstance(out, tuple) else (out,)))
    gradient = de.grad(loss, argnums=(0, 1, 2))
    all_close(de.jit(gradient)(*args), gradient(*args), tolerance * 10)
    assert small or name in ("other axis", "scores returned", "sum over queries")              # chains were found


@pytest.mark.parametrize("name, skips", [("causal, known", True), ("a window", True), ("rows without keys", True), ("a mild mask", False),
                                         ("least share", False), ("more after the mask", False), ("no softmax behind", False), ("zeros and more", False),
                                         ("plain", False)])
def test_what_a_mask_hides_is_not_computed(name, skips, small):
    """Where all that is hidden is zero, and nowhere else."""
    de.jit(ATTENTION[name])(Q, K, V)
    assert small and all((t.seen is not None) == skips for t in small)
    if skips:
        assert len(small) == 1 and tiles.reach_of(small[0], 16)[1] < T / 2


def test_many_short_sequences(small):
    """What would rather go through one row of every entry after the other, for the mask is the same there, keeps to the rows of its tile."""
    q, k, v = RNG.normal(size=(3, 200, 20, 4))
    all_close(de.jit(causal := lambda q, k, v: softmax(np.where(np.tri(20, dtype=bool), scores(q, k), -1e10)) @ v)(q, k, v), causal(q, k, v), 1e-13)
    assert small


def test_sizes(small):
    """Tiles that do not divide the rows, one row, other numbers of keys than of queries, one entry alone; and a second shape compiles nothing."""
    f = de.jit(de.grad(lambda q, k, v: np.sum(np.tanh(softmax(scores(q, k)) @ v)), argnums=(0, 1, 2)))
    for lead, t, s, d in (((), 70, 50, 8), ((4,), 17, 90, 8), ((2, 2), 129, 33, 8), ((5,), 2, 40, 3), ((1,), 64, 64, 8)):
        q, k, v = (RNG.normal(size=(*lead, n, d)) for n in (t, s, s))
        all_close(f(q, k, v), f.__wrapped__(q, k, v), 1e-11)


def test_nothing_is_compiled_for_another_length(small):
    from diffeng import kernels
    f = de.jit(lambda q, k, v: softmax(scores(q, k)) @ v)
    f(Q, K, V)
    before = kernels.compilations
    f(Q[:, :, :51], K[:, :, :51], V[:, :, :51])
    assert kernels.compilations == before


def test_memory_is_linear_in_the_number_of_positions():
    def peak(t):
        q, k, v = (RNG.normal(size=(4, t, 16)).astype(np.float32) for _ in range(3))
        f = de.jit(de.grad(lambda q, k, v: np.sum(np.tanh(softmax(scores(q, k)) @ v)), argnums=(0, 1, 2)))
        f(q, k, v)
        return program_of(f).peak_bytes
    assert peak(4096) < 1.5 * 2 * peak(2048) and peak(4096) < 4 * 4096 * 4096 * 4 / 8


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [(T, D), (1, T, D), (2, T, D), (3, 1, T, D)])
def test_few_heads_are_cut_into_stretches_of_tiles(small, shape, causal):
    """Each has sums of its own, which are put together; transposed and inside of another array as well."""
    q, k, v = RNG.normal(size=(3, *shape))

    def f(q, k, v):
        s = scores(q, k)
        return np.sum(np.sin(softmax(np.where(np.tri(T, dtype=bool), s, -1e10) if causal else s) @ v))
    for grad in de.grad(f, argnums=(0, 1, 2)), de.grad(lambda q, k, v: f(q, np.swapaxes(k, -1, -2).reshape(v.shape), v), argnums=(0, 1, 2)), \
            lambda q, k, v: [np.concatenate(de.grad(f, argnums=(0, 1, 2))(q, k, v), axis=-1)]:
        for got, want in zip(de.jit(grad)(q, k, v), grad(q, k, v)):
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)
    assert any([kind == "terms" for t in small for _, kind in t.steps])


def test_memory_of_one_head_is_linear_in_the_number_of_positions():
    q, k, v = RNG.normal(size=(3, 3000, 16)).astype(np.float32)
    f = de.jit(de.grad(lambda q, k, v: np.sum(np.tanh(softmax(scores(q, k)) @ v)), argnums=(0, 1, 2)))
    f(q, k, v)
    assert program_of(f).peak_bytes < 3000 * 3000 * 4 / 2


def test_no_plan_that_keeps_all_scores_is_taken_because_it_compiles_nothing(monkeypatch, tmp_path):
    """As it is where a few positions were met by somebody who did not compile for many."""
    monkeypatch.setenv("DIFFENG_CACHE", str(tmp_path))
    monkeypatch.setattr(machine, "_kernels", {})
    grad = de.grad(lambda q, k, v: np.sum(np.tanh(softmax(scores(q, k)) @ v)), argnums=(0, 1, 2))
    with monkeypatch.context() as alone:
        alone.setattr(sizes.Sizes, "others", lambda self, known=True: iter(()))
        alone.setattr(choice, "_alike", lambda graph, family, there: iter(()))
        de.jit(grad)(*RNG.normal(size=(3, 2, 60, 8)))
    f = de.jit(grad)
    f(*RNG.normal(size=(3, 2, 2000, 8)))
    assert program_of(f).peak_bytes < 2 * 2000 * 2000 * 8 / 4


def test_the_same_bits_every_time(small):
    f = de.jit(de.grad(lambda q, k, v: np.sum(np.tanh(softmax(scores(q, k)) @ v)), argnums=(0, 1, 2)))
    first = f(Q, K, V)
    assert all(np.array_equal(a, b) for _ in range(5) for a, b in zip(first, f(Q, K, V)))


def test_steps_that_write_what_others_wrote_keep_their_order(small):
    def f(q, k, v):
        s = softmax(scores(q, k))
        out = np.zeros((B, H, T, D))
        out[:, :, ::2] = (s @ v)[:, :, ::2]
        out[:, :, 1::2] = np.sin(v)[:, :, 1::2]
        out[0] = 1.0
        return out, s @ (v + 1)
    all_close(de.jit(f)(Q, K, V), f(Q, K, V), 1e-12)


@pytest.mark.parametrize("read", [lambda x: x[3], lambda x: x[:, 3:4], lambda x: x[::-1], lambda x: x[:, ::-1], lambda x: np.pad(x[:-5], ((5, 0), (0, 0))),
                                  lambda x: np.swapaxes(x.reshape(2, 35, 40), 0, 1).reshape(70, 40), lambda x: np.sin(x)])
def test_other_rows_of_a_second_product(read, small):
    """A product that only a chain's loop reads is made tile by tile, too, if its rows are read in their order."""
    def f(x, w, y, v):
        return np.tanh(x @ w) * read(y @ v)
    args = [RNG.normal(size=s) for s in ((70, 8), (8, 40)) * 2]
    all_close(de.jit(f)(*args), f(*args), 1e-12)
    gradient = de.grad(lambda *args: np.sum(f(*args) ** 2), argnums=(0, 1, 2, 3))
    all_close(de.jit(gradient)(*args), gradient(*args), 1e-12)


def test_rows_that_are_columns_in_memory(small, monkeypatch):
    """As many rows as columns, and a product that is written transposed, for whoever reads it walks on so."""
    def f(x, w, y, u):
        h = np.tanh(x @ w) * y
        return h + (h @ u).T
    monkeypatch.setattr(recompute, "RATIO", 1 << 40)             # one chain
    monkeypatch.setattr(tiles._Chain, "gathers", lambda chain: True)
    args = [RNG.normal(size=s) / 8 for s in ((70, 8), (8, 70), (70, 70), (70, 70))]
    all_close(de.jit(f)(*args), f(*args), 1e-12)


def test_a_part_that_is_written_over_is_written_after_the_whole(small):
    """The step that does so reads nothing of the chain."""
    def f(x, w, v):
        h = x @ w
        h[:, 3] = 0.5
        return np.tanh(h) @ v
    args = RNG.normal(size=(70, 8)), RNG.normal(size=(8, 40)), RNG.normal(size=(40, 8))
    all_close(de.jit(f)(*args), f(*args), 1e-12)
    gradient = de.grad(lambda *args: np.sum(f(*args) ** 2), argnums=(0, 1, 2))
    all_close(de.jit(gradient)(*args), gradient(*args), 1e-12)


def test_a_product_that_meets_an_array_of_the_functions_own(small, monkeypatch):
    """A mask that is known when the function is recorded: it is no node of the graph."""
    monkeypatch.setattr(recompute, "RATIO", 1 << 10)             # the product itself is kept
    f = de.grad(lambda x: np.sum(np.sin(de.random.dropout(np.tanh(x @ x), 0.3, 7, 3) @ x)))
    x = np.random.default_rng(0).normal(size=(6, 6))
    all_close(de.jit(f)(x), f(x), 1e-12)
