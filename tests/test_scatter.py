"""Gathers, and writing and adding to places that integer arrays say: against NumPy, and the same bits for any number of threads."""
import subprocess
import sys

import numpy as np
import pytest

import diffeng as de
from test_kernels import compiled


def added(shape, values, *index):
    out = np.zeros(shape, values.dtype)
    np.add.at(out, index if len(index) > 1 else index[0], values)
    return out


def case(shape, count, rest, dtype, kind="add"):
    """(what NumPy gives, what jit gives) for values at `count` random places of the leading axes, some of them counted from the end."""
    random = np.random.default_rng(count)
    indices = [random.integers(-n, n, size=count) for n in shape[:len(shape) - len(rest)]]
    values = random.normal(size=(count, *rest)) if np.dtype(dtype).kind == "f" else random.integers(-9, 9, size=(count, *rest))
    values = values.astype(dtype)

    def f(v, *index):
        out = np.zeros(shape, v.dtype)
        if kind == "add":
            np.add.at(out, index, v)
        else:
            out[index] = v
        return out
    return f(values, *indices), de.jit(f)(values, *indices)


CASES = [((1000,), 200_000, ()), ((50, 11), 10_000, (11,)), ((2000, 3), 10_000, (3,)), ((1000, 64), 4096, (64,)), ((10, 400), 3000, (400,)),
         ((30_000,), 30_000, ()), ((7, 9, 5), 20_000, (5,)), ((6, 2, 3), 9_000, (2, 3)), ((4, 5), 17, (5,))]


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i4", "u1"])
def test_adding_is_numpys(dtype):
    for shape, count, rest in CASES:
        want, found = case(shape, count, rest, dtype)
        assert found.dtype == want.dtype
        if np.dtype(dtype).kind == "f":                     # NumPy's float32 sums are float32 all through
            np.testing.assert_allclose(found, want, rtol=0, atol={"f8": 1e-11, "f4": 5e-3}[dtype])
        else:
            assert np.array_equal(found, want)


def test_the_last_value_written_stays():
    for shape, count, rest in CASES:
        want, found = case(shape, count, rest, "f8", kind="set")
        assert np.array_equal(want, found)


BITS = """
import hashlib, sys
sys.path.insert(0, "tests")
import test_scatter
print(hashlib.sha256(b"".join(test_scatter.case(*c, d)[1].tobytes() for c in test_scatter.CASES for d in ("f8", "f4"))).hexdigest())
"""


def test_bits_do_not_depend_on_threads(monkeypatch, tmp_path):
    """In one cache that nothing else was planned in: a plan for other sizes may add up in another order (docs/shapes.md)."""
    monkeypatch.setenv("DIFFENG_CACHE", str(tmp_path))
    found = set()
    for n in "123":
        monkeypatch.setenv("DIFFENG_THREADS", n)
        found.add(subprocess.run([sys.executable, "-c", BITS], check=True, capture_output=True, text=True).stdout)
    assert len(found) == 1


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("n", [1, 4, 200, 5000])
def test_a_single_column_found_by_integers(n, dtype):
    """The place is the same all along a row then, and the next row's follows: read, written, and its gradient."""
    x, columns = np.random.default_rng(n).normal(size=(n, 1)).astype(dtype), np.array([0, -1, 0])

    def spread(x):
        return x[:, columns] * np.arange(1, 4, dtype=dtype)

    def gathered(v):
        out = np.zeros((n, 1), v.dtype)
        np.add.at(out, (slice(None), columns), v)
        return out * 2

    def written(v):
        out = np.zeros((n, 1), v.dtype)
        out[:, columns[:1]] = v[:, :1]
        return out + 1
    for f, a in (spread, x), (gathered, spread(x)), (written, x), (de.grad(lambda x: np.sum(np.sin(spread(x)))), x):
        np.testing.assert_allclose(de.jit(f)(a), f(a), rtol=0, atol=1e-5 if dtype == "f4" else 1e-12)


@pytest.mark.parametrize("adding", [True, False])
def test_columns_that_meet_at_one_place(adding):
    """An index that varies along the columns: threads that share the columns would write to one place together."""
    columns = np.arange(200_000) % 3
    v = np.random.default_rng(6).normal(size=(3, columns.size))

    def f(v):
        out = np.zeros((3, 300_000))                         # too large for a copy each
        if adding:
            np.add.at(out, (slice(None), columns), v)
        else:
            out[:, columns] = v
        return out
    j = de.jit(f)
    for _ in range(20):
        np.testing.assert_allclose(j(v), f(v), rtol=1e-9)


def test_an_index_out_of_range_is_named():
    table, values = np.ones((1000, 64)), np.ones((4096, 64))
    for width in (64, 3):
        for bad in (1000, -1001):
            index = np.zeros(4096, int)
            index[4000] = bad
            for f in (lambda t, i, v: t[i] * v, lambda t, i, v: added(t.shape, v, i)):
                with pytest.raises(IndexError, match="test_scatter.py"):
                    de.jit(f)(table[:, :width], index, values[:, :width])




def test_columns_put_together():
    """Cotangents of slices of columns: disjoint ones, ones that meet, parts that are gathered, and what is computed of them afterwards."""
    random = np.random.default_rng(3)
    x, table, index = random.normal(size=(500, 7)), random.normal(size=(20, 7)), random.integers(20, size=500)
    functions = [lambda x: np.sum(x[:, 0] * x[:, 3]), lambda x: np.sum(x[:, 1:4] * x[:, 2:5]) - np.sum(x[:, 6] ** 2),
                 lambda x: np.sum((x * 2.0)[:, 1] * (x - 1.0)[:, 2] ** 2), lambda x: np.sum((3.0 - x[:, 2:6])[:, 1] * np.exp(x[:, 5])),
                 lambda x: np.sum(np.sqrt(np.sum(x[:, 0:3] ** 2, axis=1)) * x[:, 2])]
    for f in functions:
        for argument, g in ((x, f), (table, lambda t, f=f: f(t[index])), (x.astype("f4"), f)):
            found, want = de.jit(de.grad(g))(argument), de.grad(g)(argument)
            assert found.dtype == want.dtype
            np.testing.assert_allclose(found, want, rtol=1e-12 if found.dtype == float else 2e-5, atol=1e-13 if found.dtype == float else 1e-5)


def products_of_columns(x):
    return np.sum(x[:, 0] * x[:, 1] + x[:, 2] ** 2 * x[:, 3] / (2.0 + x[:, 4] ** 2) * np.exp(x[:, 5]))


def test_columns_are_added_from_where_they_were_computed():
    """A gather, a loop that computes cotangents, the zeros that they are added to, and the loop that adds them, whose copies are put together: no copy of columns to
    rows."""
    table, index = np.random.default_rng(4).normal(size=(20, 7)), np.random.default_rng(5).integers(20, size=5000)
    assert compiled(de.grad(lambda t: products_of_columns(t[index])), table).kernels == 5


def layouts():
    """A value as its kernels may find it: an argument, what a loop made (columns one after the other where rows are short), and a view."""
    return [lambda a: a, np.cos, lambda a: (a * 2)[:, ::-1], lambda a: np.diagonal(np.stack([a, a * 3]), axis1=0, axis2=2) if a.shape[1] > 1 else a.T.T]


@pytest.mark.parametrize("shape, index", [((3, 1), [0, 0]), ((129, 4), [0, 3, 1]), ((129, 2), [1, 0, 1]), ((2, 65), [64, 0, 3]), ((300, 3), [2, 2, -3])])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_that_follow_entry_by_entry_are_each_read_and_written_where_they_lie(shape, index, dtype):
    x = np.random.default_rng(3).normal(size=shape).astype(dtype)
    for layout in layouts():
        def f(x):
            y = layout(x)
            k = np.array(index) % y.shape[1]
            z = np.sin(y)
            z[:, k[:2]] = y[:, k[:1]] * 2
            return np.take(y, k, axis=1) + 0.5, np.sum(y[:, k] ** 2), z
        for got, want in zip(de.jit(f)(x), f(x)):
            np.testing.assert_allclose(got, want, rtol=1e-5)
        g = de.grad(lambda x: f(x)[1] + np.sum(f(x)[2] ** 2))
        np.testing.assert_allclose(de.jit(g)(x), g(x), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("index", [lambda i: (slice(None), i), lambda i: (np.arange(64)[:, None] % 2, i), lambda i: (i[:64], slice(None))],
                         ids=["columns", "both", "rows"])
@pytest.mark.parametrize("accumulate", [True, False])
def test_threads_do_not_meet_where_columns_do(index, accumulate):
    """Chunks of columns go through all rows only where no two columns are written to one place; rows that lie apart are shared out as any others."""
    random = np.random.default_rng(4)
    where = index(random.integers(0, 64, size=1000))

    def f(x):
        z = x * 1
        if accumulate:
            np.add.at(z, where, np.sin(x[:64]))
        else:
            z[where] = np.sin(x[:64])
        return z
    f_jit = de.jit(f)
    for _ in range(60):
        x = random.normal(size=(64, 1000))
        np.testing.assert_allclose(f_jit(x), f(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", (1, 2, 5))
def test_entries_added_to_zeros_that_are_broadcast_afterwards(n):
    """What is added is then an entry of every column, not of the first."""
    rows = np.array([1, 3, 1])

    def f(x):
        return np.sum(np.sum(x, axis=1, keepdims=True)[rows, np.array([0, 0, 0])]) + np.sum(x**3) + np.median(np.sum(x, axis=1, keepdims=True), axis=0)[0]
    x = np.random.default_rng(n).normal(size=(4, n))
    np.testing.assert_allclose(de.jit(de.grad(f))(x), de.grad(f, method="forward")(x), rtol=1e-12)


@pytest.mark.parametrize("n", (5, 100, 300))
def test_corners_of_triangles_that_are_read_column_by_column(n):
    """The cotangent of one corner of each is columns; put where its corner is, it is no columns any more, as another axis is the last."""
    random = np.random.default_rng(n)
    x, corners = random.normal(size=(n, 2)), random.integers(0, n, (3 * n, 3))

    def f(x):
        p = x[corners]
        a, b = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
        return np.sum((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) ** 2) + np.sum(a[:, 0] ** 2 * a[:, 1])
    np.testing.assert_allclose(de.jit(de.grad(f))(x), de.grad(f)(x), rtol=1e-9, atol=1e-9)


def test_values_of_fewer_axes_than_the_index():
    """NumPy's add.at reads beyond them."""
    i, v, x = np.array([[1, -2], [-2, 1], [2, 0]]), np.array([10.0, 20.0]), np.arange(4.0)
    want, weights = np.array([20.0, 31.0, 42.0, 3.0]), np.array([2.0, 3.0, 5.0, 7.0])

    def f(x, v):
        y = x + 0 * v[0]
        np.add.at(y, i, v)
        return y
    for g in (f, lambda x, v: de.at(x, i).add(v)):
        np.testing.assert_array_equal(de.vjp(g, x, v)[0], want)
        np.testing.assert_array_equal(de.jit(g)(x, v), want)
        for method in ("reverse", "forward", "symbolic"):
            np.testing.assert_array_equal(de.grad(lambda v: np.sum(g(x, v) * weights), method=method)(v), [13, 10])
    code = {}
    exec(de.trace(f, x, v).source(), code)
    np.testing.assert_array_equal(code["f"](x, v), want)


def test_copies_for_chunks_of_rows_are_small_beside_the_work():
    """A copy is cleared and put together: 30000 rows that are added to 5000 gained nothing by fifteen of them."""
    def memory(rows, places):
        return compiled(lambda v, i: de.at(np.zeros((places, 8)), i).add(v), np.ones((rows, 8)), np.zeros(rows, int)).peak_bytes
    assert memory(30_000, 5000) < 2 * 5000 * 64 and memory(300_000, 20) > 2 * 20 * 64


I, J = np.array([0, 1, 0]), np.array([2, 0, 1])


@pytest.mark.parametrize("index", [(slice(None), I, ..., J), (slice(None), I, J, ...), (I, ..., J, 1), (slice(None), I, ..., 2), (..., I, None, J), (slice(None), 1, ..., J)], ids=str)
def test_an_ellipsis_of_no_axis_stands_between_arrays(index):
    """NumPy puts the axes of integer arrays first where anything stands between them, be it nothing."""
    x = np.arange(60.0).reshape(3, 4, 5)
    v = 1.0 + np.arange(x[index].size).reshape(x[index].shape)

    def put(x, v):
        y = x * 1
        y[index] = v
        return y

    def pile(x, v):
        y = x * 1
        np.add.at(y, index, v)
        return y

    np.testing.assert_array_equal(de.jit(lambda x: x[index] * 2)(x), x[index] * 2)
    for f in (put, pile):
        np.testing.assert_array_equal(de.jit(f)(x, v), f(x, v))
        for got, want in zip(de.jit(de.grad(lambda x, v: np.sum(f(x, v) ** 2), argnums=(0, 1)))(x, v), de.grad(lambda x, v: np.sum(f(x, v) ** 2), argnums=(0, 1))(x, v)):
            np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(de.jit(de.grad(lambda x: np.sum(x[index] * v)))(x), de.grad(lambda x: np.sum(x[index] * v))(x))


@pytest.mark.parametrize("f", [lambda a, b: a * np.concatenate([a, b[[1]][1:]]), lambda a, b: np.diff(np.take_along_axis(b, np.argmax(b, keepdims=True), 0)) + a[:1],
                               lambda a, b: np.sort(b[:1])[1:] + a[:1], lambda a, b: np.outer(a, b)[np.array([[1], [2]]), [0]][1:, 1:] * a[:1]])
def test_no_part_of_one_place(f):
    """An index that names one place, of which an empty part is read: nothing is added there."""
    both = de.grad(lambda a, b: np.sum(f(a, b)), argnums=(0, 1))
    a, b = np.array([1.0, 2.0, 3.0]), np.array([0.7, 0.5, 0.2])
    np.testing.assert_allclose(de.jit(both)(a, b), both(a, b), rtol=1e-13)
