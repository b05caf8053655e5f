"""Products as BLAS is given them: cut, copied by parts and written in whatever order, the numbers are those of NumPy's product of integers, which is exact."""
import ctypes

import numpy as np
import pytest

import diffeng as de
from diffeng import numpy_api  # noqa: F401  what @ and NumPy mean of recorded values, whichever test comes first
from diffeng.kernels import blas, choice, contract, cutting, machine, sizes, threads
from diffeng.kernels.code import Code
from diffeng.kernels.program import Program
from diffeng.nodes import Tracing

rng = np.random.default_rng(11)


def whole(*shape, dtype=np.float32):
    return rng.integers(-9, 10, shape).astype(dtype)


def checked(function, *arrays):
    """function's Program gives what function gives, twice with other numbers."""
    tracing = Tracing()
    inputs = [tracing.input(None, f"operand {k}", x.shape, x.dtype) for k, x in enumerate(arrays)]
    program = Program([x.node for x in inputs], [function(*inputs).node])
    for _ in range(2):
        np.testing.assert_array_equal(program(*arrays)[0], function(*[x.astype(float) for x in arrays]))
        arrays = [whole(*x.shape, dtype=x.dtype) for x in arrays]
    return program


SHAPES = [(128, 256, 784), (64, 128, 100), (37, 61, 53), (9, 300, 17), (512, 130, 8), (3, 5000, 300), (130, 33, 9), (2, 700, 3000), (128, 10, 128),
          (1, 90, 300), (600, 40, 60), (40, 50, 7), (2, 601, 5000)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m, n, k", SHAPES)
def test_a_matrix_that_runs_along_the_terms(m, n, k, dtype):
    checked(lambda x, w: x @ w.T, whole(m, k, dtype=dtype), whole(n, k, dtype=dtype))
    checked(lambda x, w: (w @ x.T).T, whole(m, k, dtype=dtype), whole(n, k, dtype=dtype))


@pytest.mark.parametrize("m, n, k", [(40, 64, 32), (20, 300, 33), (128, 70, 64)])
@pytest.mark.parametrize("batch", [1, 2, 3, 41])
def test_many_of_them(batch, m, n, k):
    checked(lambda x, w: x @ w.transpose(0, 2, 1), whole(batch, m, k), whole(batch, n, k))
    checked(lambda x, w: x @ w.T, whole(batch, m, k), whole(n, k))
    checked(lambda x, w: np.einsum("ibk,jbk->bij", x, w), whole(m, batch, k), whole(n, batch, k))


@pytest.mark.parametrize("m, n, k", [(100, 100, 100), (50, 200, 150), (256, 128, 128), (67, 131, 200), (9, 1100, 120), (300, 40, 976), (300, 40, 977)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cut_both_ways(m, n, k, dtype):
    """Rows and columns, each of the operands turned or not, of one product and of many."""
    for x in whole(m, k, dtype=dtype), whole(k, m, dtype=dtype).T:
        for w in whole(k, n, dtype=dtype), whole(n, k, dtype=dtype).T:
            checked(lambda x, w: x @ w, x, w)
            checked(lambda x, w: (x @ w).T + 1.0, x, w)
    checked(lambda x, w: x @ w, whole(2, m, k, dtype=dtype), whole(k, n, dtype=dtype))


@pytest.mark.parametrize("m, n, k", [(20, 20, 5000), (3, 5, 40_011), (60, 7, 2001), (1, 9, 90_000), (9, 1, 90_000)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_long_sums_are_cut_along_their_terms(monkeypatch, count, m, n, k, dtype):
    """By as many threads as there are, written in whatever order, alone or to a part of an array, and added to something."""
    monkeypatch.setattr(threads, "count", lambda: count)
    for small, held in (blas.has_small(), False), (False, False), (False, True):
        monkeypatch.setattr(blas, "has_small", lambda: small)
        monkeypatch.setattr(blas, "is_held_back", lambda: held)
        for x in whole(m, k, dtype=dtype), whole(k, m, dtype=dtype).T:
            for w in whole(k, n, dtype=dtype), whole(n, k, dtype=dtype).T:
                program = checked(lambda x, w: x @ w, x, w)
                assert program.kernels == (2 if count > 1 and min(m, n) > 1 else 1)
                checked(lambda x, w: (x @ w).T, x, w)
                checked(lambda x, w: np.concatenate([x @ w, x @ w + 1.0], axis=1), x, w)
                checked(lambda x, w, v: v - 3.0 * (x @ w), x, w, whole(m, n, dtype=dtype))
                checked(lambda x, w: np.matmul(x[None], w[None])[0], x, w)


def test_which_matrices_are_copied(monkeypatch):
    """float32 that runs along the terms, for few rows; no copy is larger than what parts at work need. MKL needs none."""
    n, t = "N", "T"
    monkeypatch.setattr(blas, "has_mkl", lambda: True)
    assert not cutting.is_laid("f32", t, 128, 256, 784)
    monkeypatch.setattr(blas, "has_mkl", lambda: False)
    monkeypatch.setattr(blas, "is_wide", lambda: False)
    assert cutting.is_laid("f32", t, 128, 256, 784)
    assert not any([cutting.is_laid("f64", t, 128, 256, 784), cutting.is_laid("f32", n, 128, 256, 784), cutting.is_laid("f32", t, 1024, 256, 784),
                    cutting.is_laid("f32", t, 10, 100, 784), cutting.is_laid("f32", t, 128, 256, 1 << 20)])
    monkeypatch.setattr(threads, "count", lambda: 2)
    for m, n, k, parts in (768, 512, 128, (384, 512)), (768, 1500, 128, (768, 768)), (128, 512, 128, (128, 256)):
        assert cutting.is_laid("f32", t, m, n, k) and cutting.parts_of("f32", n, t, m, n, k, 1, laid=True) == parts
        checked(lambda x, w: x @ w.T, whole(m, k), whole(n, k))
    program = checked(lambda x, w: x @ w.T, whole(16, 64), whole(50_000, 64))
    assert program.peak_bytes <= contract.SLOTS * contract.threads.count() * (cutting.LAID + 2 * cutting.STEP * 4 * 64)


@pytest.mark.parametrize("small", [True, False])
def test_parts_of_a_product(monkeypatch, small):
    """They are the rows of each thread, halved until BLAS takes each for a small product; and where that costs more than it gains, they are not."""
    monkeypatch.setattr(blas, "has_small", lambda: small)
    monkeypatch.setattr(blas, "has_mkl", lambda: False)
    monkeypatch.setattr(blas, "is_wide", lambda: False)
    for count in 1, 2, 3:
        monkeypatch.setattr(threads, "count", lambda: count)
        for ta, tb, m, n, k in [("N", "N", 100, 100, 100), ("N", "T", 300, 70, 64), ("T", "N", 64, 256, 512), ("T", "T", 7, 999, 40), ("N", "N", 1000, 25, 10)]:
            rows, columns = cutting.parts_of("f64", ta, tb, m, n, k, 1)
            assert 0 < rows <= m and 0 < columns <= n and -(-m // rows) * -(-n // columns) >= min(count, m // 8 or 1)
            assert not small or rows * columns * k <= cutting.SMALL and ((ta, tb) != ("N", "T") or rows * columns <= cutting.TINY)
            assert small or rows == m or columns == n
        large = cutting.parts_of("f64", "N", "N", 2048, 1024, 1024, 1)
        assert large == (-(-2048 // count // 8) * 8, 1024) or count == 3
        assert cutting.parts_of("f64", "N", "N", 16, 16, 16, 1) == (16, 16)


@pytest.fixture
def as_mkl(monkeypatch):
    """Products that MKL would compute are cut as MKL likes them, and computed by NumPy's library. setters: what is to be taken for MKL's function."""
    own, setters = blas.routine, [ctypes.CDLL(None).abs]
    address = lambda: ctypes.cast(setters[-1], ctypes.c_void_p).value          # noqa: E731
    monkeypatch.setattr(blas, "routine", lambda name: (address(), 0) if name == "mkl_threads" else own(name.removeprefix("mkl_")))
    monkeypatch.setattr(blas, "has_mkl", lambda: True)
    monkeypatch.setattr(blas, "libraries", lambda: "MKL, in a test")
    return setters


@pytest.mark.parametrize("count", [1, 2, 3])
def test_parts_of_a_product_for_mkl(monkeypatch, as_mkl, count):
    """As many rows as MKL does not pack for, shared out evenly; larger parts where the rows of the right matrix share the sets of the cache. Right by
    any BLAS."""
    monkeypatch.setattr(threads, "count", lambda: count)
    for m, n, k in [(129, 200, 70), (256, 300, 64), (1001, 40, 50), (4000, 33, 20)]:
        rows, columns = cutting.parts_of("f32", "N", "N", m, n, k, 1, apart=4 * n)
        assert columns == n and rows <= cutting.UNPACKED and -(-m // rows) % count in (0, count - 1)
        assert cutting.parts_of("f32", "N", "N", m, n, k, 1, apart=2 * cutting.PAGE) != (rows, columns)
        for x, w in (whole(m, k), whole(k, n)), (whole(k, m).T, whole(k, n)), (whole(m, k), whole(n, k).T):
            checked(lambda x, w: x @ w, x, w)
            checked(lambda x, w: (x @ w).T, x, w)
    assert cutting.parts_of("f32", "N", "N", 128, 2048, 64, 1, apart=8192) == (128, -(-2048 // count // 32) * 32)
    checked(lambda x, w: x @ w, whole(3, 200, 64), whole(3, 64, 80))


def test_mkl_stays_on_its_thread(as_mkl):
    """It is told so where its products are, and afterwards what it was told before; small products, and those with vectors, are not its."""
    told = []
    as_mkl.append(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda n: told.append(n) or 7))
    checked(lambda x, w: x @ w, whole(64, 64), whole(64, 64))                   # one chunk, so that nobody waits for the interpreter's lock
    assert told == [1, 7, 1, 7]
    checked(lambda x, w: x @ w, whole(20, 20), whole(20, 20))
    checked(lambda x, w: x @ w, whole(700), whole(700, 700))
    assert len(told) == 4


@pytest.mark.parametrize("type, dtype", [("f32", np.float32), ("f64", np.float64)])
@pytest.mark.parametrize("rows, columns", [(8, 8), (16, 24), (1, 1), (7, 9), (9, 7), (30, 17), (3, 40), (40, 3)])
def test_turning_a_matrix(type, dtype, rows, columns):
    def build():
        code = Code()
        code.turn(type, *[code.word(k) for k in range(6)])
        return code.finish()
    x, out = rng.standard_normal((rows, columns + 3)).astype(dtype), np.full((columns, rows + 5), 7.0, dtype)
    words = np.array([x.ctypes.data, x.strides[0], out.ctypes.data, out.strides[0], rows, columns])
    machine.kernel(f"a test's turn {type}", build)(words.ctypes.data, 0, 1)
    np.testing.assert_array_equal(out[:, :rows], x[:, :columns].T)
    assert (out[:, rows:] == 7.0).all()


# ---- products that are added to something ------------------------------------------------------------------------------------------------------------

ADDED = {
    "p + xy": lambda p, x, y, s: p + x @ y,
    "xy + p": lambda p, x, y, s: x @ y + p,
    "p - xy": lambda p, x, y, s: p - x @ y,
    "p - s xy": lambda p, x, y, s: p - s * (x @ y),
    "p + (xy) 3": lambda p, x, y, s: p + (x @ y) * np.float32(3),
    "p' + s (y'x')'": lambda p, x, y, s: p + s * (y.T @ x.T).T,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ADDED)
def test_what_a_product_is_added_to(name, dtype):
    for m, n, k in ((5, 7, 3), (128, 260, 33), (70, 90, 100)):
        program = checked(ADDED[name], whole(m, n, dtype=dtype), whole(m, k, dtype=dtype), whole(k, n, dtype=dtype), whole(dtype=dtype))
        assert program.kernels == 1 and not program.peak_bytes
    program = checked(lambda p, x, y: p - x @ y.T, whole(64, 300, dtype=dtype), whole(64, 90, dtype=dtype), whole(300, 90, dtype=dtype))
    assert program.kernels == 1
    program = checked(lambda p, x, y, s: p + s * (x @ y), *[whole(*shape, dtype=dtype) for shape in ((3, 40, 30), (3, 40, 20), (3, 20, 30), ())])
    assert program.kernels == 1 and not program.peak_bytes


@pytest.mark.parametrize("factor", [0.0, 0.7])
@pytest.mark.parametrize("m, n, k", [(20, 30, 5), (20, 30, 400), (20, 20, 8000), (3, 200, 5000), (100, 50, 8000)])
def test_long_sums_are_added_to_something(m, n, k, factor):
    """Threads have partial results of these, of which the first is added to what is there; another length compiles nothing."""
    step = de.jit(lambda w, x, d, s: w - s * (x.T @ d))
    w, x, d = rng.standard_normal((m, n)), rng.standard_normal((k, m)), rng.standard_normal((k, n))
    step(w, x[:4], d[:4], factor)
    before = machine.compilations
    for _ in range(2):
        np.testing.assert_allclose(step(w, x, d, factor), w - factor * (x.T @ d), rtol=1e-11, atol=1e-11 * k ** 0.5)
    assert machine.compilations == before
    if not factor:
        x[k // 2, 1] = np.inf
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(np.isnan(step(w, x, d, factor)), np.isnan(w - factor * (x.T @ d)))


NOT_ADDED = {
    "a product that is read twice": (lambda p, x, y: (p - x @ y) * (x @ y), 2),
    "a product that is subtracted from": (lambda p, x, y: x @ y - p, 2),
    "twice itself": (lambda p, x, y: x @ y + x @ y, 2),
    "a sum of two products, one of which is added to the other": (lambda p, x, y: x @ y + y @ p, 2),
    "a difference of two scaled products": (lambda p, x, y: x @ y - np.float32(3) * (y @ p), 2),
    "itself, and a part of itself": (lambda p, x, y: (z := x @ y) + np.float32(3) * z, 2),
    "itself, less a part of itself": (lambda p, x, y: (z := x @ y) - np.float32(2) * z, 2),
    "itself times one of its entries": (lambda p, x, y: p + (z := x @ y) * z[0, 0], 2),
    "a row of numbers": (lambda p, x, y: x @ y + p[0], 2),
    "more than one thing": (lambda p, x, y: p * 2 + x @ y, 2),
    "a vector": (lambda p, x, y: p[0] + x[0] @ y, 1),
}


@pytest.mark.parametrize("name", NOT_ADDED)
def test_what_stays_a_loop_of_its_own(name):
    function, kernels = NOT_ADDED[name]
    program = checked(function, *[whole(24, 24) for _ in range(3)])
    assert program.kernels >= kernels


def test_an_old_value_given_away_is_added_to_where_it_lies():
    step = de.jit(lambda w, x, d, lr: w - lr * (d.T @ x), donate_argnums=(0,))
    for _ in range(3):
        w, x, d, lr = whole(256, 784), whole(128, 784), whole(128, 256), np.float32(2)
        want = w - lr * (d.T @ x)
        got = step(w, x, d, lr)
        assert got is w
        np.testing.assert_array_equal(got, want)
    square = de.jit(lambda w, x: w - np.float32(2) * (w @ x), donate_argnums=(0,))          # a factor, too: a loop writes over it when it is no more needed
    w, x = whole(40, 40), whole(40, 40)
    want = w - 2 * (w @ x)
    got = square(w, x)
    np.testing.assert_array_equal(got, want)
    assert got is w


@pytest.mark.parametrize("turned", [False, True])
def test_a_factor_of_zero_leaves_what_is_finite_and_no_more(turned):
    """0 times infinity is NaN, whatever BLAS does with a factor of 0."""
    step = de.jit(lambda w, x, d, lr: w - lr * ((x.T @ d).T if turned else d.T @ x))
    w, x, d = rng.standard_normal((9, 7)).astype(np.float32), np.ones((5, 7), np.float32), np.ones((5, 9), np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(step(w, x, d, np.float32(0)), w)
    x[2, 3], d[1, 4] = np.inf, np.nan
    got = step(w, x, d, np.float32(0))
    bad = np.zeros((9, 7), bool)
    bad[:, 3] = bad[4] = True
    np.testing.assert_array_equal(np.isnan(got), bad)
    np.testing.assert_array_equal(got[~bad], w[~bad])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_many_tiny_products_are_no_blas_calls(monkeypatch, dtype):
    """From 128 matrices of up to four rows, columns and terms on, in any layout."""
    calls = []
    monkeypatch.setenv("DIFFENG_CACHE", "off")                       # no plan is found there
    monkeypatch.setattr(choice, "_alike", lambda *graph: ())          # one plan of each
    monkeypatch.setattr(sizes.Sizes, "others", lambda *known: ())
    product = contract.Product
    monkeypatch.setattr(contract, "Product", lambda *args: calls.append(args) or product(*args))
    random = np.random.default_rng(5)
    for f, a, b, expected in ((lambda a, b: a @ b, (200, 3, 2), (200, 2, 4), 0), (lambda a, b: a @ np.swapaxes(b, -1, -2), (2, 90, 4, 3), (2, 90, 2, 3), 0),
                              (lambda a, b: np.einsum("ikb,kjb->jbi", a, b), (3, 2, 500), (2, 3, 500), 0), (lambda a, b: a @ b, (3, 3, 3), (3, 3, 3), 1),
                              (lambda a, b: a @ b, (200, 3, 5), (200, 5, 3), 1)):
        a, b = random.normal(size=a).astype(dtype), random.normal(size=b).astype(dtype)
        calls.clear()
        got, want = de.jit(f)(a, b), f(a, b)
        assert got.dtype == want.dtype and len(calls) == expected
        np.testing.assert_allclose(got, want, rtol=0, atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("text", [",ij->ij", "ij,,jk->ki", ",->", "ii,->i", ",i->"])
def test_numbers_among_the_factors(text):
    """Arrays without axes, and Python's numbers, of which NumPy makes such."""
    ranks = [*map(len, text.split("->")[0].split(","))]
    arrays = [whole(*(4,) * n, dtype=np.float64) if n else 2.0 for n in ranks]

    def f(*arrays):
        return np.einsum(text, *arrays)
    compiled = de.jit(f)
    np.testing.assert_array_equal(compiled(*arrays), f(*arrays))
    assert [t.program.calls for traces in compiled._traces.values() for t in traces] == [[]]
    np.testing.assert_array_equal(de.jit(lambda *some: f(*[some[0] if x is arrays[-1] else x for x in arrays]))(arrays[-1]), f(*arrays))
    by = tuple(range(len(arrays)))
    for got, want in zip(de.jit(de.grad(lambda *a: np.sum(f(*a) ** 2), argnums=by))(*arrays), de.grad(lambda *a: np.sum(f(*a) ** 2), argnums=by)(*arrays)):
        np.testing.assert_allclose(got, want, rtol=1e-12)
