"""Which of NumPy's results are views and which are copies: a write must reach in every method what it reaches in NumPy, and nothing else."""
import numpy as np
import pytest

import diffeng as de

X = np.random.default_rng(11).uniform(0.1, 1.1, (3, 4))

PROGRAMS = """
y = x.copy(); z = y.T.reshape(-1); z[0] = 5
y = x.copy(); z = y.reshape(-1); z[1] = 5
y = x.copy(); z = y[:, 1:3].reshape(-1); z[1] = 0
y = x.copy(); z = y[:, 1:3].reshape(3, 2, 1); z[1] = 0
y = x.copy(); z = y[::2].ravel(); z[1] = 0
y = x.copy(); z = y[1, ::2].ravel(); z[1] = 0
y = x.copy(); z = y[1, ::2].reshape(2, 1); z[1] = 0
y = x.T.copy(); z = y.ravel(); z[1] = 9
y = np.array(x.T); z = y.ravel(); z[1] = 9
y = np.array(x.T); z = y.T.ravel(); z[1] = 9
y = x.copy("F"); z = y.ravel("F"); z[1] = 9
y = x.T * 2; z = y.ravel(); z[1] = 9
y = x.T * 2; z = y.ravel("K"); z[1] = 9
y = np.exp(x.T); z = y.reshape(2, 6, order="F"); z[1] = 9
y = x.copy(); z = y.reshape(2, 6, order="F"); z[1] = 9
y = x.reshape(3, 2, 2).transpose(1, 0, 2); z = y.ravel("K") * y.ravel("A") * y.ravel("F")
y = x.copy(); z = np.ascontiguousarray(y.T); z[0] = 1
y = x.copy(); z = np.asfortranarray(y); z[0] = 1
y = x.copy(); z = np.asarray(y, order="F"); z[0] = 1
y = np.zeros((3, 4), order="F"); z = y.T.reshape(-1); z[1] = x[0, 0]
y = np.zeros_like(x.T); z = y.ravel(); z[1:3] = x[0, 0]
y = x.copy(); z = y.reshape(4, 3, copy=True); z[0] = 1
y = x + 0; z = y.astype(float, copy=False); z[0] = 1
y = x + 0; z = y.astype(float); z[0] = 1
y = x + 0; z = np.broadcast_to(y, (2, 3, 4)); y += 1
y = x + 0; z = np.broadcast_arrays(y, y[0])[1]; y[0] = 7
y = x + 0; z = np.diagonal(y, 1); y[1, 2] = 7
y = x + 0; z = np.lib.stride_tricks.sliding_window_view(y, 2, axis=1); y[0] = 3
y = x + 0; z = np.einsum("ij->ji", y); y[0] = 3
y = x + 0; z = np.tile(y[0], (2, 1)); z[0] = 1
y = x + 0; z = np.meshgrid(y[0], y[1])[0]; z[0] = 1
y = np.zeros(3); z = x[0]; y[[0, 0, 2, 1]] = z
y = np.zeros(3); z = x[0]; y[[0, 0, 2, 1]] += z
y = x + 0; z = x[1]; y[[0, 0, 1], [1, 1, 2]] = z[:3]; y[[2, 2]] = z
y = np.sum(x); z = y; z += 1
y = np.sum(x); z = np.reshape(y, -1); z += 1
y = np.sum(x); z = y[None]; z += 1
y = np.sum(x); z = np.ravel(y); z += 1
y = x[0, 0]; z = np.atleast_1d(y); z += 1
y = x[0, 0]; z = np.expand_dims(y, 0); z += 1
y = x + 0; z = y[0, 0, ...]; z += 1
y = x + 0; z = np.atleast_1d(y[0, 0, ...]); z += 1
y = x + 0; z = np.squeeze(y[:1, :1]); z *= 3
y = np.array(np.sum(x)); z = np.reshape(y, -1); z += 1
y = np.asarray(x[1, 1]); z = y.reshape(1); z += 1
y = np.copy(x[1, 1]); z = y.reshape(1); z += 1
y = np.array(x[1, 1]); z = y; z += 1
y = np.ascontiguousarray(x[1, 1]); z = np.asfortranarray(y[0])
y = np.array(np.sum(x)); y[...] = 3 * x[0, 0]; z = y[()]; y += 1
y = x.copy(); y.T[0] = 5; z = y.ravel(); z[0] = 9
y = x.copy(); z = y.T; z[0] = z[1] * 2; z = z.reshape(2, 6); z[0] = 0
y = x.copy(); z = np.swapaxes(y, 0, 1); np.add.at(z, 1, 2.0); z = np.ascontiguousarray(z); z[0] = 3
y = x * 1; y.T.sort(axis=0); z = y.ravel(); y += 10
y = x * 1; y.T.partition(1, axis=0); z = y.T.reshape(-1); z[0] = 9
y = x * 1; np.sin(x.T.copy().T, out=y); z = y.ravel(); z[0] = 9
y = np.asfortranarray(x * 1); y += x; z = y.T.ravel(); z[0] = 9
y = x * 1; y *= np.asfortranarray(x); z = y.ravel(); z[0] = 9
y = x.copy(); z = y[::-1]; np.put(z, [0, 2], x[1, :2])
y = x.copy(); z = y.T; z.flat[1] = 9 * x[0, 0]; z.flat[6:8] = 2
y = x.copy(); z = y[:, 1]; z.flat[0] = 5; z = y[:, ::2]; z.flat = 3
y = x.copy(); z = y.T; np.place(z, z > 0.6, x[0, :2]); np.putmask(z, z < 0.3, x[1, :3])
"""


@pytest.mark.parametrize("program", PROGRAMS.strip().splitlines())
def test_writes_reach_what_they_reach_in_numpy(program):
    space = {"np": np}
    exec(f"def f(x):\n    {program}\n    return y, z", space)
    f = space["f"]
    plain = f(X.copy())
    weights = [np.random.default_rng(k).normal(size=a.shape) for k, a in enumerate(plain)]

    def total(x):
        return sum([np.sum(a * w) for a, w in zip(f(x), weights)])
    truth = [(total(X + d) - total(X - d)) / 2e-6 for d in np.eye(X.size).reshape(-1, *X.shape) * 1e-6]
    for method in ("reverse", "forward", "symbolic"):
        value, gradient = de.value_and_grad(total, method=method)(X.copy())
        assert value == pytest.approx(total(X.copy()), rel=1e-13), method
        assert gradient.ravel() == pytest.approx(truth, abs=1e-7), method
    for a, b in zip(de.jit(f)(X.copy()), plain):
        assert a == pytest.approx(b, rel=1e-13)


def test_what_is_given_in_fortran_order_lies_so():
    """vjp copies what it is given: what is made of it has the copy's layout."""
    def f(x):
        y = x * 1.0
        z = np.ascontiguousarray(y)
        z[0] = 9.0
        return y
    x = np.asfortranarray(X)
    np.testing.assert_array_equal(de.vjp(f, x)[0], f(x.copy("F")))


def test_the_bytes_of_a_traced_value_are_refused():
    import pickle
    with pytest.raises(TypeError, match=r"pickle at test_aliases.py:\d+: .* copy"):
        de.grad(lambda x: np.sum(pickle.loads(pickle.dumps(x)) ** 2))(np.ones(2))
    value, gradient = de.value_and_grad(lambda x: np.sum(x) * pickle.loads(pickle.dumps(np.full(2, 3.0)))[0])(np.ones(2))          # a plain one is an array
    assert value == 6.0 and gradient.tolist() == [3.0, 3.0]


def test_plain_arrays_made_inside_have_what_is_about_memory():
    def f(x):
        y = np.ones(2)
        return np.sum(x) * (len(y.tobytes()) + y.strides[0] + np.asarray(y.base is None, float)) + np.frombuffer(y.tobytes()) @ x
    assert de.jit(de.value_and_grad(f))(np.array([1.0, 2.0]))[0] == f(np.array([1.0, 2.0]))

    def written(x):
        y = np.ones(2)
        y[0] = x[0]
        return np.sum(x) * y.strides[0]
    with pytest.raises(AttributeError, match="strides at test_aliases.py"):
        de.grad(written)(np.ones(2))


@pytest.mark.parametrize("view", ["np.broadcast_to(y, (2, 3, 4))", "np.diagonal(y)", "np.einsum('ij->ji', y)"])
def test_a_write_into_a_read_only_view_is_refused(view):
    def f(x):
        y = x + 0
        z = eval(view, {"np": np, "y": y})
        z[0] = 1
        return np.sum(z)
    with pytest.raises(ValueError, match=r"read-only at .*copy\(\)"):
        de.grad(f)(X)


def test_where_positions_repeat_the_index_may_be_an_argument():
    def f(x, i):
        y = np.zeros(3)
        y[i] = x * x
        return np.sum(y * [1.0, 2.0, 3.0])
    x, i = X[0], np.array([0, 0, 2, 1])
    compiled = de.jit(de.grad(f))
    for i in (i, np.array([2, 1, 0, 2])):
        expected = de.grad(f, method="forward")(x, i)
        assert de.grad(f)(x, i) == pytest.approx(expected)
        assert compiled(x, i) == pytest.approx(expected)
    assert compiled.traces == 1


PLACES = np.array([1, 2, 2])


def zeros_at_places(x, y):
    z = np.zeros(5)
    z[PLACES] += x[:3] * y[0]
    return z


def computed_from_zeros(x, y):
    z = np.zeros(5) + y
    z[1:3] = x[:2]
    z += np.sin(z) * x[0]
    return z


def copied(x, y):
    z = np.array(y)
    q = z[1:3]
    q[:] = x[:2]
    q *= x[0]
    return z


def filled(x, y):
    z = np.full(5, y[0])
    z[y > 1.6] = x[0]
    z[np.argsort(y)] *= np.copy(y)
    return z


@pytest.mark.parametrize("f", [zeros_at_places, computed_from_zeros, copied, filled])
@pytest.mark.parametrize("method", ["reverse", "forward", "symbolic"])
def test_what_is_made_of_values_of_an_outer_derivative_is_written_into_all_the_same(f, method):
    """y is plain for a gradient by x alone, and a traced value under jit, or for a derivative by y around it."""
    x, y, w = np.linspace(0.1, 1, 5), np.linspace(1, 2, 5), np.arange(1.0, 6.0)
    gradient = de.grad(lambda x, y: np.sum(f(x, y) ** 2 * w), method=method)
    np.testing.assert_allclose(de.jit(gradient)(x, y), gradient(x, y), rtol=1e-12)
    h, d = 1e-5, w[::-1].copy()
    slope = (gradient(x, y + h * d) - gradient(x, y - h * d)) / (2 * h)
    for outer in ("forward", "symbolic"):
        np.testing.assert_allclose(de.jvp(lambda y: gradient(x, y), (y,), (d,), method=outer)[1], slope, rtol=1e-6, atol=1e-8)


def test_an_inner_value_in_an_array_of_an_outer_derivative_is_an_error_with_a_cure():
    def f(x, y):
        z = y * 1
        z[0] = x
        return np.sum(z * z)
    for method in ("reverse", "forward"):
        with pytest.raises(TypeError, match="an inner derivative was assigned at .*at\\(x, i\\).set"):
            de.jit(de.grad(f, method=method))(1.0, np.ones(3))


# ---- plain arrays that are written into after something was computed from them ---------------------------------------------------------

C = np.array([1.0, 2.0, 3.0])

WRITTEN = """
i = np.array([0, 1]); y = x[i]; i += 1; y = y * y * x[i]
i = np.array([0, 1]); y = np.take(x, i) ** 2; i[:] = 2
i = np.array([0, 1]); y = x * 1.0; y[i] = 5.0; i[:] = 2; y = y * y
i = np.array([0, 1]); y = de.at(x, i).add(1.0) ** 2; i[:] = 2
i = np.argsort(-C); y = x[i]; i[:] = 0; y = y * C
m = np.zeros(3, bool); m[1] = True; y = x[m] * 2; m[0] = True; y = np.sum(y) + x[m]; m[:] = False
m = C > 1.5; y = np.where(m, x, 2 * x) ** 2; m[:] = False
A = C * 1.0; y = x * A; A *= 100
A = C.copy(); A[0] = 100; y = x * A; A[0] = 3; y = y * A
A = np.maximum(C, 2.0); y = A @ x * x; A -= 1; y = y * A
A = np.random.RandomState(0).rand(3); y = x * A; A *= 0
A = np.array(2.0); y = x * A; A += 5; y = y * A
A = np.outer(C, C); y = A.T @ x; A[:] = 1; y = y * (A @ x)
A = np.ones(50_000); y = np.sum(A) * x
"""


@pytest.mark.parametrize("program", WRITTEN.strip().splitlines())
def test_what_is_written_into_a_plain_array_later_changes_nothing_computed_before(program):
    space = {"np": np, "de": de, "C": C}
    exec(f"def f(x):\n    {program}\n    return np.sum(y)", space)
    f, x = space["f"], np.array([0.5, -1.0, 2.0])
    value, slope = f(x), de.grad(f, method="forward")(x)
    for g in (de.jit(f), de.trace(f, x)):
        np.testing.assert_allclose(g(x), value, rtol=1e-13)
    for g in (de.grad(f), de.grad(f, method="symbolic"), de.jit(de.grad(f)), de.grad(lambda x: de.vmap(f)(np.stack([x, x]))[1])):
        np.testing.assert_allclose(g(x), slope, rtol=1e-13)


@pytest.mark.parametrize("write", [lambda A: A.__imul__(100), lambda A: A.fill(0), lambda A: A.__setitem__(slice(None, None, 2), 7)])
def test_a_large_array_that_is_written_into_later_is_compiled_right_or_refused(write):
    """Of a large one there is no copy where nothing is compiled: some entries are looked at again."""
    def f(x):
        A = np.linspace(1, 2, 60_000).reshape(3, -1)[:, ::2]
        A = A.copy()
        y = x @ A
        write(A)
        return np.sum(y)
    x = np.array([0.5, -1.0, 2.0])
    slope = de.grad(f, method="forward")(x)
    np.testing.assert_allclose(de.jit(de.grad(f))(x), slope, rtol=1e-12)
    try:
        np.testing.assert_allclose(de.grad(f)(x), slope, rtol=1e-12)
    except ValueError as error:
        assert "shape (3, 10000)" in str(error) and "A = A.copy()" in str(error)


# ---- what is handed back is its own -----------------------------------------------------------------------------------------------------------

V = np.array([0.3, 0.7, 1.1])
SUMS = [lambda a, b: np.sum((a + b) ** 2), lambda a, b: np.sum((a + b.copy()) ** 2), lambda a, b: np.sum((np.array(a) + b) ** 2),
        lambda a, b: np.sum((a.reshape(3, 1) + b.reshape(3, 1)) ** 2)]


def own(results, given=()):
    for k, x in enumerate(results):
        assert x.flags.writeable and not any([np.shares_memory(x, y) for y in (*results[:k], *given)])


@pytest.mark.parametrize("method", ["reverse", "symbolic", "forward"])
@pytest.mark.parametrize("f", SUMS)
def test_derivatives_share_no_memory(f, method):
    given, (s, t) = (V.copy(), V.copy()), (V.copy(), V.copy())
    own(de.grad(f, argnums=(0, 1), method=method)(*given), given)
    own([*de.grad(lambda d: f(d["a"], d["b"]), method=method)({"a": given[0], "b": given[1]}).values()], given)
    gradients, products = de.hvp(f, given, (s, t), method=method)
    own([*gradients, *products], [*given, s, t])
    own(de.vjp(f, *given, method=method)[1](1.0), given)


@pytest.mark.parametrize("f", [lambda x: x, lambda x: x + 1, lambda x: x.reshape(3, 1), lambda x: x[::-1]])
def test_derivatives_are_not_what_was_given(f):
    for method in ("reverse", "symbolic", "forward"):
        x, t = V.copy(), V.copy()
        own(de.jvp(f, (x,), (t,), method=method), [x, t])
        out, pullback = de.vjp(f, x, method=method)
        c = np.ones_like(out)
        own([out, *pullback(c), *pullback(c)], [x, c])
    out, linear = de.linearize(f, x)
    own([out, linear(t), linear(t)], [x, t])
    for J in (de.jacobian(f, method="forward")(x), de.jacobian(lambda x: (x, x))(x)[1]):
        own([J])


@pytest.mark.parametrize("f", SUMS)
def test_derivatives_under_a_derivative_are_different_objects(f):
    def update(x, y):
        gx, gy = de.grad(f, argnums=(0, 1))(x, y)
        gx *= 0.5
        gy -= 1.0
        return np.sum(gx * gy)

    def pulled(x, y):
        c = x * y
        (g,) = de.vjp(lambda a: a + 1, x)[1](c)
        g *= 2
        return np.sum(g * c)
    for g in (update, pulled):
        value = g(V.copy(), 2 * V)
        assert de.jit(g)(V, 2 * V) == pytest.approx(value, rel=1e-14)
        for method in ("reverse", "forward", "symbolic"):
            assert de.value_and_grad(g, method=method)(V, 2 * V)[0] == pytest.approx(value, rel=1e-14)


def test_results_without_axes_and_of_integers_are_alike_for_every_method():
    for method in ("forward", "reverse", "symbolic"):
        value, tangent = de.jvp(lambda x: (np.argmax(x), x[0]), (V,), (V,), method=method)[1]
        assert value.dtype == np.argmax(V).dtype and type(tangent) is np.float64
        assert [type(x[0]) for x in de.hvp(lambda x: x ** 3, (2.0,), (1.0,), method=method)] == [np.float64] * 2


def twice(x):
    return 2 * x


@de.custom
def spoiling(a):
    a *= 2
    return np.sum(a * a)


@spoiling.pull
def pulled_by_spoiling(a, out, g):
    a *= 8
    return g * a


def spoil(a, result=None):
    a *= 1.5
    return a if result is None else result


WRITERS = {
    **{name: lambda x, T=T: x * spoil(T(x)) for name, T in {
        "jit": de.jit(lambda a: a), "vmap": de.vmap(lambda a: a), "vjp": lambda x: de.vjp(lambda a: a, x)[0], "linearize": lambda x: de.linearize(lambda a: a, x)[0],
        "scan of no turns": lambda x: de.scan(lambda c, z: (c, z), x, np.zeros(0))[0], "while_loop": lambda x: de.while_loop(lambda s: False, twice, x)}.items()},
    **{f"twice the same, {name}": lambda x, T=T: (lambda y, z: z * spoil(y))(*T(lambda a: [2 * a] * 2)(x)) for name, T in {"jit": de.jit, "vmap": de.vmap}.items()},
    "in jit": lambda x: x * de.jit(lambda a: np.sum(spoil(a) ** 2))(x),
    "in vmap": lambda x: x * de.vmap(lambda a, b: np.sum(spoil(a) * spoil(b)), in_axes=(0, None))(x[:, None], x),
    "in while_loop": lambda x: x * de.while_loop(lambda s: np.sum(s) < 40, spoil, x),
    "in a condition": lambda x: x * de.while_loop(lambda s: np.sum(spoil(s)) < 40, twice, x),
    "in custom": lambda x: x * spoiling(x),
    **{f"carry of {n}": lambda x, n=n: x * de.scan(lambda c, z: (spoil(c), c), x, np.arange(float(n)))[1][-1] * x for n in (3, 9)},
    **{f"xs of {n}": lambda x, n=n: (lambda xs: np.sum(xs) * de.scan(lambda c, z: (z, c * spoil(z)), x, xs)[1][1])(np.ones((n, 3)) * x) for n in (3, 9)},
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_a_function_is_given_and_returns_is_its_own(name):
    f, x = WRITERS[name], V.copy()
    value = f(x)
    assert np.array_equal(x, V)
    for y in (de.jit(f)(x), de.jvp(f, (x,), (x,))[0], de.vjp(f, x)[0]):
        assert y == pytest.approx(value, rel=1e-13)
    assert np.array_equal(x, V)


def test_places_that_the_function_makes_keep_their_axes():
    """Of one entry, too: it is no number."""
    table = np.arange(12.0).reshape(3, 4)

    def f(x):
        rows = np.zeros((1, 1), int)
        rows[0, 0] = 2
        found = table[rows, np.arange(1)]
        return np.sum(x[rows]) * found.ndim + found.size + table[rows[0, 0], 3]
    x = np.array([1.0, 2.0, 3.0])
    for got in (f(x), de.value_and_grad(f)(x)[0], de.jit(f)(x)):
        assert got == 3.0 * 2 + 1 + 11
    with pytest.raises(TypeError, match="without axes"):
        de.grad(lambda x: np.sum(x * range(8)[np.ones(1, int)]))(x)
