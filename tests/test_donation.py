"""Arguments given away: results lie in their memory where that changes nothing, and are the same in every case."""
import numpy as np
import pytest

import diffeng as de
from diffeng.kernels import choice, sizes

rng = np.random.default_rng(8)


def adam_like(p, m, g):
    m = 0.9 * m + g
    return p - 0.1 * m, m, np.sum(p * p)


CASES = {
    # function, shapes of the arguments, donated, which result lies in which argument
    "a step": (adam_like, [(5, 7)] * 3, (0, 1), {0: 0, 1: 1}),
    "a step of many entries": (adam_like, [(300, 1000)] * 3, (0, 1), {0: 0, 1: 1}),
    "what is read as a product's operand before": (lambda a: a - 0.5 * (a @ a), [(6, 6)], (0,), {0: 0}),
    "read transposed in the same loop": (lambda a: a + a.T, [(4, 4)], (0,), {}),
    "read in a second pass over the row": (lambda a: a / np.sum(a, -1, keepdims=True), [(4, 5)], (0,), {}),
    "read by a later step": (lambda a, b: (a + b, (a + b) @ a), [(20, 20), (20, 20)], (0,), {}),
    "changed places": (lambda a, b: (b, a), [(3, 3), (3, 3)], (0, 1), {1: 1}),
    "as it came": (lambda a, b: (a, b + 1.0), [(3,), (3,)], (0,), {0: 0}),
    "another shape": (lambda a: np.sum(a, 0), [(4, 5)], (0,), {}),
    "times one of its own entries": (lambda w, a, b: w - w[0, 0, 0] * (a @ b), [(3, 8, 8)] * 3, (0,), {}),
    "read by integers": (lambda a: a[np.array([2, 1, 0])] + a, [(3, 2)], (0,), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_results_are_the_same_and_lie_where_they_may(name):
    fun, shapes, donated, where = CASES[name]
    compiled = de.jit(fun, donate_argnums=donated)
    for _ in range(2):
        args = [rng.standard_normal(s) for s in shapes]
        kept = [a.copy() for a in args]
        want = fun(*kept)
        got = compiled(*args)
        for k, (x, y) in enumerate(zip(*[r if type(r) is tuple else (r,) for r in (got, want)])):
            np.testing.assert_allclose(x, y, rtol=1e-13)
            mine = [j for j, a in enumerate(args) if x is a]
            assert mine == [where[k]] if k in where else mine == [], (k, mine)
        for j, (a, b) in enumerate(zip(args, kept)):
            assert j in where.values() or np.array_equal(a, b)


BETWEEN = {
    # function of an array, arrays of its size that its steps hold at once; np.sum ends a loop
    "scaled in place": (lambda x: np.sum((y := np.sin(x)) / np.sum(y)), 1),
    "a chain of loops": (lambda x: np.sum((z := (y := np.sin(x)) / np.sum(y)) - np.sum(z * z)), 1),
    "read again afterwards": (lambda x: np.sum((z := (y := np.sin(x)) / np.sum(y)) * np.sum(z)) + np.sum(y * np.sum(z)), 2),
    "read at shifted places": (lambda x: np.sum((z := (y := np.sin(x)) * np.sum(y))[1:] * np.sum(z)) + np.sum(y[:-1] * np.sum(z)), 2),
    "summed over rows": (lambda x: np.sum((z := np.sin(x @ x)) * np.sum(z)) + np.sum(np.sum(z, axis=0) ** 2), 1),
    "summed along rows": (lambda x: np.sum((z := (y := x @ x) - np.sum(y, axis=1, keepdims=True)) * np.sum(z)), 2),
    "added to a product": (lambda x: np.sum((y := np.sin(x)) + x @ x * np.sum(y)), 2),
}


@pytest.mark.parametrize("name", BETWEEN)
@pytest.mark.parametrize("n", [3, 90])
def test_results_between_steps_are_written_over_what_is_read_for_the_last_time(name, n):
    fun, most = BETWEEN[name]
    x = rng.standard_normal((n, n))
    program = de.trace(fun, x).compile()
    np.testing.assert_allclose(program(x), fun(x), rtol=1e-11)
    if n == 90:
        assert (most - 0.5) * x.nbytes < program.peak_bytes < (most + 0.5) * x.nbytes


IN_RESULTS = {
    # function of an array that returns a tuple, arrays of its size that its steps hold at once beside the results
    "scaled": (lambda x: ((y := np.sin(x)) / np.sum(y),), 0),
    "a chain of loops": (lambda x: ((z := (y := np.sin(x)) / np.sum(y)) - np.sum(z * z),), 0),
    "two of them": (lambda x: ((y := np.sin(x)) / np.sum(y), (z := np.cos(x)) - np.sum(z)), 0),
    "with a result in between": (lambda x: (y := np.sin(x) / np.sum(np.sin(x)), (z := y * np.sum(y)) - np.sum(z)), 0),
    "put together of parts": (lambda x: ((y := np.concatenate([np.sin(x[:1]), np.cos(x[1:])])) / np.sum(y),), 0),
    "put together of products, which lie in it": (lambda x: ((y := np.stack([z := x @ x, z @ x, z @ z])) / np.sum(y),), 3),
    "one for two": (lambda x: ((y := np.sin(x)) / np.sum(y), y - np.max(y)), 0),
    "read at shifted places later": (lambda x: (np.sum((y := np.sin(x)), 1), y[::-1] * np.sum(y)), 1),
}


@pytest.mark.parametrize("name", IN_RESULTS)
def test_what_a_result_is_written_over_lies_in_the_result(name):
    fun, most = IN_RESULTS[name]
    for x in rng.standard_normal((2, 96, 96)):
        program = de.trace(fun, x).compile()
        for got, want in zip(program(x), fun(x)):
            np.testing.assert_allclose(got, want, rtol=1e-11)
        assert (most - 0.5) * x.nbytes < program.peak_bytes < (most + 0.5) * x.nbytes


def test_what_is_not_read_entry_by_entry_is_not_written_over():
    """Recurrences whose steps read their neighbours, mirror images, transposes, and parts of one array; forward and adjoint."""
    def mirrored(x):
        for k in range(4):
            x = x + 0.1 * np.sin(x[::-1]) * np.sum(x)
        return np.sum(x)

    def diffused(x):
        for k in range(4):
            x = x + 0.1 * np.concatenate([x[1:], x[:1]]) * np.max(x)
        return np.sum(x * x)

    def turned(x):
        x = np.reshape(x, (20, 20))
        for k in range(3):
            x = x * np.sum(x) + x.T
        return np.sum(np.tanh(x))

    def stacked(x):
        rows = [x]
        for k in range(4):
            rows.append(rows[-1] / np.sum(rows[-1] ** 2))
        return np.sum(np.tanh(np.stack(rows) @ np.outer(x, x)))
    x = rng.standard_normal(400) / 20
    for fun in (mirrored, diffused, turned, stacked):
        value, gradient = de.jit(de.value_and_grad(fun))(x)
        np.testing.assert_allclose(value, fun(x), rtol=1e-11)
        np.testing.assert_allclose(gradient, de.grad(fun)(x), rtol=1e-9, atol=1e-12)


def moved(u, k, steps=1):
    """Explicit steps of du/dt = d/dx (k du/dx), the ends held."""
    for _ in range(steps):
        flux = k * (u[1:] - u[:-1])
        u = np.concatenate([u[:1], u[1:-1] + (flux[1:] - flux[:-1]), u[-1:]])
    return u


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [3, 4, 13, 70, 1000, 2049])
def test_short_vectors_are_written_over_where_their_neighbours_are_read(n, dtype, monkeypatch):
    """The adjoint of a step reads a cotangent at three places; of a short one there is one array, of a long one there are two, and a thread more."""
    monkeypatch.setattr(choice, "_alike", lambda *graph: ())          # whatever else is compiled
    monkeypatch.setattr(sizes.Sizes, "others", lambda *known: ())
    monkeypatch.setenv("DIFFENG_CACHE", "off")

    def fun(u, k):
        return np.sum(moved(u, k, 6) ** 2)
    u, k = rng.standard_normal(n).astype(dtype), (0.2 + 0.1 * rng.random(n - 1)).astype(dtype)
    compiled = de.trace(de.grad(fun, argnums=(0, 1)), u, k).compile()
    for got, want in zip(compiled(u, k), de.grad(fun, argnums=(0, 1))(u, k)):
        np.testing.assert_allclose(got, want, rtol=1e-4 if dtype == np.float32 else 1e-11, atol=1e-5 if dtype == np.float32 else 1e-13)
    if n >= 1000:                                                # five states and one cotangent
        assert (compiled.peak_bytes < 6.5 * u.nbytes) == (u.nbytes <= sizes.IN_PLACE)


def test_neighbours_before_and_behind_are_read_before_they_are_written_over():
    def both(x, y):
        return 0.5 * x + np.pad(x, 1)[2:] * y - np.pad(x, 1)[:-2], np.pad(x, 1)[:-2] * y

    def late(x, y):                                              # the second result is made of what the first one would be written over
        return np.pad(x, 1)[:-2] * y, np.pad(x, 1)[:-2] - y
    for fun in (both, late):
        for n in (2, 5, 64, 301):
            compiled = de.jit(fun, donate_argnums=(0, 1))
            for _ in range(2):
                x, y = rng.standard_normal((2, n))
                want = fun(x.copy(), y.copy())
                np.testing.assert_allclose(compiled(x, y), want, rtol=1e-14)


@pytest.mark.parametrize("n", [3, 9, 700])
def test_what_is_written_over_one_that_is_read_one_entry_behind_alone_twice_alike(n):
    """Equal loops are planned once; here what is written over is read nowhere as it is."""
    def fun(b, d):
        for _ in range(4):
            b = np.roll(np.pad(d[1:] - b[:-1], (1, 0)), 1)
        return b, np.pad(d[1:] - b[:-1], (1, 0))
    b, d = rng.standard_normal((2, n))
    np.testing.assert_allclose(de.jit(fun)(b, d), fun(b, d), rtol=1e-13)


@pytest.mark.parametrize("n", [3, 17, 500])
def test_a_result_that_is_made_over_its_neighbours_is_read_as_it_is(n):
    def fun(u, k):
        du = de.grad(lambda u: np.sum(moved(u, k, 3) ** 2))(u)
        return du, 2.0 * du, np.sum(du * du)
    u, k = rng.standard_normal(n), 0.2 + 0.1 * rng.random(n - 1)
    program = de.trace(fun, u, k).compile()
    for got, want in zip(program(u, k), fun(u, k)):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("n", [3, 40, 900])
def test_several_results_of_one_step_are_made_over_their_neighbours(n):
    """Two fields that react with each other: the last step of the adjoint makes both gradients."""
    def fun(u, v):
        for _ in range(4):
            u, v = (np.concatenate([w[:1], 0.5 * w[1:-1] + 0.2 * (w[2:] + w[:-2]) + 0.1 * (u * v)[1:-1], w[-1:]]) for w in (u, v))
        return np.sum(u * v)
    both = de.grad(fun, argnums=(0, 1))
    u, v = rng.standard_normal((2, n))
    for got, want in zip(de.trace(both, u, v).compile()(u, v), both(u, v)):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("n", [3, 4, 9, 40])
def test_what_is_read_among_zeros_and_later_as_it_is_is_not_written_over(n):
    """The adjoint of v = q[1:] reads q among zeros; another operation of that loop reads q itself, after the result is written."""
    def f(x):
        q = x / np.sqrt(np.sum(x * x))
        v = q[1:]
        return np.sum(v / np.sum(v * v)) + q[0]
    x = np.random.default_rng(n).standard_normal(n)
    for derivative in (de.grad(f), de.hessian(f)):
        np.testing.assert_allclose(de.jit(derivative)(x), derivative(x), rtol=1e-12, atol=1e-12)


def test_what_must_not_be_written_over_is_copied():
    compiled = de.jit(adam_like, donate_argnums=(0, 1))
    p, m, g = rng.standard_normal((3, 5, 7))
    want = adam_like(p, p, g)
    for x in compiled(p, p, g)[:2]:                        # one array as two arguments
        assert x is not p
    np.testing.assert_allclose(compiled(p, p, g)[0], want[0])
    p.flags.writeable = False
    before, want = p.copy(), adam_like(p, m.copy(), g)
    np.testing.assert_allclose(compiled(p, m, g)[0], want[0])
    assert np.array_equal(p, before)
    wide = rng.standard_normal((5, 14))
    view = wide[:, ::2]
    want, before = adam_like(view.copy(), m.copy(), g), wide.copy()
    np.testing.assert_allclose(compiled(view, m, g)[0], want[0])
    assert np.array_equal(wide, before)


def test_arguments_that_lie_in_the_same_memory_are_copied_and_parts_of_one_array_are_not():
    compiled = de.jit(lambda a, b: (a * 2, b * 3), donate_argnums=(0, 1))
    one_given = de.jit(lambda a, b, c: (b - c, a * 2), donate_argnums=1)
    whole = np.arange(12.0)
    first, second = compiled(whole[:8], whole[4:])
    assert np.array_equal(first, 2 * np.arange(8.0)) and np.array_equal(second, 3 * np.arange(4.0, 12.0)) and np.array_equal(whole, np.arange(12.0))
    a, b = whole[:6], whole[6:]
    first, second = compiled(a, b)
    assert first is a and second is b and np.array_equal(whole[6:], 3 * np.arange(6.0, 12.0))
    read, given = np.arange(6.0), np.ones(4)                     # what is only read may overlap
    assert one_given(read[:4], given, read[2:])[0] is given and np.array_equal(given, [-1, -2, -3, -4])


def test_what_every_tile_reads_is_not_written_over():
    def attention(q, k, v):
        scores = np.exp(q @ k.T)
        return (scores / np.sum(scores, -1, keepdims=True)) @ v
    q, k, v = rng.standard_normal((3, 1024, 8)) * 0.3
    want = attention(q, k, v)
    for donated in (0, 1, 2):
        np.testing.assert_allclose(de.jit(attention, donate_argnums=(donated,))(*[x.copy() for x in (q, k, v)]), want, rtol=0, atol=1e-13)


def test_nested_arguments_and_a_captured_array():
    scale = np.array([1.0, 2.0, 3.0])

    def step(state, x):
        return {"w": state["w"] - scale * x, "n": [state["n"][0] + 1.0]}

    compiled = de.jit(step, donate_argnums=0)
    state = {"w": np.zeros(3), "n": [np.zeros(2)]}
    first = state["w"]
    for k in range(3):
        state = compiled(state, np.ones(3))
        assert state["w"] is first
    np.testing.assert_array_equal(state["w"], [-3, -6, -9])
    np.testing.assert_array_equal(state["n"][0], [3, 3])


def test_a_function_that_looks_at_values_keeps_its_arguments():
    """Another branch is recorded after the program ran: the arguments are still needed then."""
    compiled = de.jit(lambda x: x * 2 if np.sum(x) > 0 else x * 3, donate_argnums=0)
    for sign in (1.0, -1.0, 1.0):
        x = np.full(4, sign)
        np.testing.assert_array_equal(compiled(x), x * (2 if sign > 0 else 3))


def test_places_are_numbers():
    with pytest.raises(TypeError, match="donate_argnums"):
        de.jit(adam_like, donate_argnums="p")
