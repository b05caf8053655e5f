"""diffeng.kernels against NumPy and SciPy: the same function on plain arrays, and compiled from its graph."""
import ctypes

import numpy as np
import pytest

import diffeng
from diffeng import buffers, kernels, vocabulary
from diffeng.kernels.scipys import OPERANDS
from diffeng.nodes import Tracing
from diffeng.numpy_api import astype
from diffeng.vocabulary import contraction, elementwise as e, fourier, indexing, linalg, reductions, shaping
from diffeng.vocabulary.indexing import Slot
from test_gamma import truth as gamma_truth


def compiled(function, *arrays, values=True):
    """A Program of function at arrays of these shapes and dtypes."""
    tracing = Tracing()
    traced = [tracing.input(a if values else None, f"x{k}", a.shape, a.dtype) for k, a in enumerate(arrays)]
    out = buffers.call(function, traced)
    out = out if isinstance(out, (tuple, list)) else [out]
    return kernels.Program([x.node for x in traced], [getattr(o, "node", o) for o in out])


def regular(x):
    """Of some 3 by 4 numbers, 3 by 3 with a large diagonal."""
    return x[:, :3] + 9 * np.eye(3)


def ulps(got, want):
    """Largest distance in units of the last place; NaN and infinities must agree exactly."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype and got.shape == want.shape, (got.dtype, want.dtype, got.shape, want.shape)
    if want.dtype.kind != "f":
        assert np.array_equal(got, want)
        return 0.0
    assert np.array_equal(np.isnan(got), np.isnan(want))
    finite = np.isfinite(want)
    assert np.array_equal(got[~finite & ~np.isnan(want)], want[~finite & ~np.isnan(want)])
    return float(np.max(np.abs(got[finite] - want[finite]) / np.spacing(np.abs(want[finite])), initial=0))


def agree(function, *arrays, ulp=4, program=None):
    """The compiled function gives NumPy's values; returns the program."""
    program = program or compiled(function, *arrays)
    got = program(*arrays)
    with np.errstate(all="ignore"):
        want = function(*arrays)
    want = want if isinstance(want, (tuple, list)) else [want]
    for g, w in zip(got, want, strict=True):
        assert isinstance(g, np.ndarray) and ulps(g, w) <= ulp, (g, w)
    return program


def close(function, *arrays, rtol=1e-11):
    """As agree, relative to the largest entry: for sums, whose order is free."""
    program = compiled(function, *arrays)
    got, want = program(*arrays), function(*arrays)
    for g, w in zip(got, want if isinstance(want, (tuple, list)) else [want], strict=True):
        w = np.asarray(w)
        assert g.dtype == w.dtype and g.shape == w.shape, (g.dtype, w.dtype, g.shape, w.shape)
        rtol = rtol if w.dtype != np.float32 else 2e-6
        assert np.max(np.abs(g - w), initial=0) <= rtol * max(np.max(np.abs(w), initial=0), np.finfo(w.dtype).tiny if w.dtype.kind == "f" else 0)
    return program


@pytest.fixture
def random():
    return np.random.default_rng(0)


# ---- every primitive ---------------------------------------------------------------------------------------------------------

I = np.array([[2, 0, -1], [1, 1, 2]])                                                    # noqa: E741
CASES = {          # primitive -> functions of x (3, 4) and y (3, 4), positive floats
    "matmul":       [lambda x, y: contraction.matmul(x, np.transpose(y))],
    "dot":          [lambda x, y: contraction.dot(x, np.transpose(y))],
    "tensordot":    [lambda x, y: contraction.tensordot(x, y, axes=((0, 1), (0, 1))), lambda x, y: contraction.tensordot(x, y, axes=((0,), (0,)))],
    "einsum":       [lambda x, y: contraction.einsum(x, y, subscripts=s) for s in ("ij,ij->ji", "ij,kj->ki", "ij,ij->", "ij,kl->", "ij,ij->j")]
                    + [lambda x, y: contraction.einsum(x, y, np.transpose(x), subscripts="ij,kj,jl->il")],
    **{n: [lambda x, y, p=vocabulary.PRIMITIVES[n], a=a, k=k: p(x, axis=a, keepdims=k) for a in ((0,), (1,), (0, 1), ()) for k in (False, True)]
       for n in "sum mean prod max min logsumexp any all".split()},
    "var":          [lambda x, y, a=a, d=d: reductions.var(x, axis=a, keepdims=False, ddof=d) for a in ((0,), (1,), (0, 1)) for d in (0, 1)],
    "cumsum":       [lambda x, y: reductions.cumsum(x, axis=1)],
    "cumprod":      [lambda x, y: reductions.cumprod(x, axis=0)],
    "argmax":       [lambda x, y: reductions.argmax(x, axis=1)],
    "argmin":       [lambda x, y: reductions.argmin(x, axis=None)],
    "argsort":      [lambda x, y: reductions.argsort(x, axis=1)],
    "reshape":      [lambda x, y: shaping.reshape(x, shape=(2, 6)), lambda x, y: shaping.reshape(x.T, shape=(2, 6))],
    "transpose":    [lambda x, y: shaping.transpose(x, axes=(1, 0))],
    "broadcast_to": [lambda x, y: shaping.broadcast_to(x, shape=(2, 3, 4))],
    "concatenate":  [lambda x, y: shaping.concatenate(x, y, axis=0), lambda x, y: shaping.concatenate(x.T, y.T, x.T, axis=1)],
    "pad":          [lambda x, y: shaping.pad(x, widths=((1, 0), (2, 3)), value=7)], "stack": [lambda x, y, k=k: shaping.stack(x, y, 2 * x, axis=k) for k in (0, 1, 2)],
    "getitem":      [lambda x, y, i=i: x[i] for i in (1, (slice(None), -1), (slice(2, 0, -1), None, slice(None, None, 2)), (..., 2), I, (slice(None), I),
                                                      (I, I), (I, slice(1, 3)), (I, None, 2), (1, slice(None), None), np.array([True, False, True]))]
                    + [lambda x, y: x[1, :, None][[0, 3]]],
    "setitem":      [lambda x, y: indexing.setitem(x, y[0], index=(1,)), lambda x, y: indexing.setitem(x, y[:2], np.array([2, 0]), index=(Slot(0),)),
                     lambda x, y: indexing.setitem(x, 0.5, index=(slice(None), slice(1, 3)))],
    "add_at":       [lambda x, y: indexing.add_at(x, y[:, 1], index=(slice(None), 2)),
                     lambda x, y: indexing.add_at(x, y, np.array([1, 1, 0]), index=(Slot(0),)),
                     *[lambda x, y, i=i: indexing.add_at(x, y[0], index=i) + y for i in ((), (...,), (slice(None),), (None,), (slice(None, None, -1),))],
                     lambda x, y: indexing.add_at(indexing.setitem(x, y[0], index=(1,)), y, index=(slice(None),))],
    "scatter":      [lambda x, y: indexing.scatter(x, index=(slice(0, 6, 2), slice(1, 5)), shape=(6, 5)),
                     lambda x, y: indexing.scatter(x, np.array([1, 1, -2]), index=(Slot(0),), shape=(5, 4)),
                     lambda x, y: indexing.scatter(x[:, :3], I[:1].T, I[1:], index=(Slot(0), Slot(1)), shape=(3, 4))],
    "astype":       [lambda x, y: astype(x, np.float32), lambda x, y: astype(x, int), lambda x, y: astype(astype(x, bool), float)],
    "where":        [lambda x, y: e.where(e.less(x, y), x, y), lambda x, y: e.where(x, 1.0, y)],
    "power":        [lambda x, y: x ** y, *[lambda x, y, k=k: e.power(x, k) for k in (2, 3, 2.5, -1, 0.5, 0, -2.0)]],
    "random_bits":  [lambda x, y, s=s: vocabulary.random.random_bits(astype(x[0, 0] * 1e9, np.int64), 5, shape=s) for s in ((3, 5), (), (17,))],
    "constant":     [lambda x, y: y * 0 + 1],
    "solve":        [lambda x, y: linalg.solve(regular(x), y[:, :2]), lambda x, y: linalg.solve(shaping.broadcast_to(regular(x), shape=(2, 3, 3)), y[:2, :3, None])],
    **{n: [lambda x, y, p=vocabulary.PRIMITIVES[n]: p(regular(x)), lambda x, y, p=vocabulary.PRIMITIVES[n]: p(shaping.broadcast_to(regular(y).T, shape=(2, 3, 3)))]
       for n in ("inv", "det", "slogdet", "slogdet_sign", "cofactor", "cholesky", "qr", "svd")},
    "fft":          [lambda x, y, i=i: fourier.fft(x[:, :2], axes=(0,), inverse=i, norm="ortho") for i in (False, True)],
    "rfft":         [lambda x, y: fourier.rfft(x, axes=(0, 1), norm="backward")],
    "irfft":        [lambda x, y, n=n: fourier.irfft(shaping.reshape(x, shape=(2, 3, 2)), axes=(0, 1), n=n, norm="forward") for n in (4, 5)],
    "eigh":         [lambda x, y, k=k: linalg.eigh(regular(x), lower=k) for k in (True, False)],
}
NUMPY = {"argsort", "eigh", "qr", "svd"}         # what has no kernel (later issues may shorten this, never lengthen it)


def test_every_primitive(random, capsys):
    others = {n: p for n, p in vocabulary.PRIMITIVES.items() if p.kind not in ("map", "input")}
    missing, in_numpy = [n for n in others if n not in CASES], set()
    assert not missing, f"no case for {missing}: add one to CASES"
    x, y = random.uniform(0.2, 3.0, (2, 3, 4))
    for name, cases in CASES.items():
        program = compiled(lambda x, y: [case(x, y) for case in cases], x, y)
        in_numpy.update(program.calls)
        for got, case in zip(program(x, y), cases, strict=True):
            want = np.asarray(case(x, y))
            if name in fourier.NAMES:                        # what is summed may cancel
                np.testing.assert_allclose(got, want, rtol=0, atol=1e-15 * np.max(np.abs(want)))
                continue
            assert ulps(got, want) <= (24 if vocabulary.PRIMITIVES[name].kind in ("contract", "reduce") or name == "det" else 4), (name, got, want)
    assert in_numpy <= NUMPY | {"astype", "getitem", "irfft"}          # beside what is listed: float to integer casts, masks in an index, odd numbers of real ones
    with capsys.disabled():
        print(f"\nkernels: {len(vocabulary.PRIMITIVES) - 1 - len(NUMPY)} primitives compiled; by NumPy {sorted(NUMPY)}, "
              f"and cases of {sorted(in_numpy - NUMPY)}")


GAMMAS = "gammaln", "gamma", "psi", "zeta"
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -3.0, 1e-300, -1e-300, 1e-8, 40.0, -40.0, 710.0, -745.0, 1e300, -1e300, np.inf, -np.inf, np.nan])
# The distance in ULP where NumPy and SciPy themselves are a little off; float64, float32.
COARSE = {"logaddexp": (6, 8), "logit": (4, 8)}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_elementwise(random, dtype):
    """All elementwise primitives in their domains, and at zeros, infinities, NaN, where exp overflows and where it vanishes."""
    names = [n for n, p in vocabulary.PRIMITIVES.items() if p.kind == "map" and p.domain is not None and n not in CASES
             and n not in ("copy", "stop_gradient", "barrier", "gamma_density", "beta_density", *OPERANDS)]          # (test_special_functions.py has these)
    ranks = {n: len(vocabulary.PRIMITIVES[n].domain or (0,)) for n in names}
    with np.errstate(all="ignore"):
        special = SPECIAL.astype(dtype)
        x, y = (np.concatenate([a.ravel(), random.uniform(0.2, 0.95, 300), random.uniform(-3, 3, 300)]).astype(dtype) for a in np.meshgrid(special, special))

        def every(x, y):
            return [vocabulary.PRIMITIVES[n](*(x, y)[:ranks[n]]) for n in names]
        program = compiled(every, x, y)
        assert not program.calls
        for name, got, want in zip(names, program(x, y), every(x, y)):
            want = gamma_truth(name, *(x, y)[:ranks[name]]) if name in (*GAMMAS, "erfc") else want          # (SciPy's erfc is 500 ULP off at 25)
            if name in GAMMAS:                  # next to their zeros the error is absolute
                cancels = np.abs(want) < 1
                assert np.all(np.abs(got - want)[cancels] <= 2 * np.finfo(dtype).eps)
                got[cancels] = want[cancels] = 0
            if name == "logaddexp":             # where the sum of two logarithms cancels, digits of the larger one count
                larger = np.abs(np.maximum(x, y))
                cancels = np.abs(want) < larger
                assert np.all(np.abs(got - want)[cancels] <= 2 * np.spacing(larger[cancels]))
                got[cancels] = want[cancels] = 0
            if want.dtype.kind == "f":          # digits of subnormal results are not promised
                small = np.abs(want) < np.finfo(dtype).tiny
                assert np.all(np.abs(got[small]) <= np.finfo(dtype).tiny)
                got[small] = want[small] = 0
            limit = COARSE.get(name, (2, 4))[dtype is np.float32]
            assert ulps(got, want) <= limit, (name, ulps(got, want), limit)


def test_signs_of_zero(random):
    x = np.array([0.0, -0.0, -1.0, 1.0])
    for f in (np.negative, np.sqrt, np.trunc, np.ceil, np.rint, np.sin, np.arctan, np.cbrt, lambda x: np.remainder(x, 1.0), lambda x: np.floor_divide(x, 5.0)):
        with np.errstate(all="ignore"):
            (got,) = compiled(f, x)(x)
            assert np.array_equal(np.signbit(got), np.signbit(f(x))), f


# ---- dtypes ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, bool])
def test_integers(random, dtype):
    x, y = (random.integers(0, 2 if dtype is bool else 100, (5, 6)).astype(dtype) for _ in range(2))
    signed = np.dtype(dtype).kind == "i"
    functions = [lambda x, y: x + y, lambda x, y: x * y, lambda x, y: np.maximum(x, y), lambda x, y: x < y, lambda x, y: x == 3,
                 lambda x, y: np.where(x > y, x, y),
                 lambda x, y: x / (y + 1), lambda x, y: x * 1.5, lambda x, y: np.sum(x, axis=0), lambda x, y: np.sum(x), lambda x, y: np.mean(x, axis=1),
                 lambda x, y: np.any(x, axis=0), lambda x, y: np.all(x), lambda x, y: np.max(x, axis=1), lambda x, y: np.prod(x[:, :2], axis=1),
                 lambda x, y: np.exp(x / 100.0),
                 lambda x, y: (x & y) if dtype is bool else x + y, lambda x, y: np.logical_and(x, y), lambda x, y: astype(x, np.float32),
                 lambda x, y: astype(x, bool),
                 lambda x, y: np.isnan(x), lambda x, y: np.concatenate([x, y]), lambda x, y: x.T[1:]]
    if dtype is not bool:
        functions += [lambda x, y: x - y, lambda x, y: x % (y // 7), lambda x, y: x // (y // 7), np.square, lambda x, y: x ** 2, lambda x, y: x @ y.T,
                      lambda x, y: x + 300]
    if signed:
        functions += [lambda x, y: -x // (y - 50), lambda x, y: -x % (y - 50), lambda x, y: abs(x - y), lambda x, y: np.sign(x - y), lambda x, y: np.floor(x)]
    chosen = []
    with np.errstate(all="ignore"):
        for f in functions:
            f = (lambda x, y, f=f: f(x)) if isinstance(f, np.ufunc) else f
            try:
                f(x, y)
                chosen.append(f)
            except (OverflowError, TypeError, ValueError):       # what NumPy does not define (uint8 + 300)
                pass
        agree(lambda x, y: [f(x, y) for f in chosen], x, y)
    assert len(chosen) > 15


def test_the_smallest_integer_divided_by_minus_one():
    x, y = np.array([np.iinfo(np.int64).min, 7, 7]), np.array([-1, 0, -2])
    with np.errstate(all="ignore"):
        agree(lambda x, y: (x // y, x % y), x, y)


def test_what_is_one_number_has_no_loop(monkeypatch):
    """A long function of numbers has many kernels: LLVM takes three times as long for each where it finds a loop."""
    written = []
    code = kernels.machine._code

    def noted(key, build, quick=False):
        if not quick:                                            # what is quick is the run-time's
            written.append(str(build()))
        return code(key, build, quick)
    monkeypatch.setattr(kernels.machine, "_code", noted)
    monkeypatch.setattr(kernels.machine, "known", lambda key: kernels.machine._kernels.get(key))
    for x, loops in ((np.array(0.7), [0]), (np.array([[0.7]]), [0, 1]), (np.array([0.7, 0.8]), [1])):          # (the second of two for any length)
        monkeypatch.setattr(kernels.machine, "_kernels", {})
        written.clear()
        agree(lambda x: (x * 0.123 + x / 7, x * x), x)
        kernels.machine.settle()
        assert sorted([text.count(" phi ") for text in written]) == loops


def test_python_scalars_are_weak(random):
    x = random.standard_normal(5).astype(np.float32)
    program = agree(lambda x: (0.1 * x + 1, x + np.float64(0.1), x > 0.1, np.maximum(x, 0)), x)
    assert [o.dtype.name for o in program(x)] == ["float32", "float64", "bool", "float32"]


def test_mixed_dtypes(random):
    x, n = random.standard_normal((3, 4)).astype(np.float32), random.integers(0, 9, (3, 4))
    agree(lambda x, n: (x * n, x < n, np.where(n > 4, x, n), np.sum(n * x.astype(float)), n.astype(np.float32) * x), x, n)
    close(lambda x, n: x @ np.asarray(n.T, float), x, n)


def test_dtypes_without_kernels(random):
    x = random.standard_normal((3, 4)).astype(np.float16)
    assert compiled(lambda x: x * 2, x).calls == ["multiply"]
    agree(lambda x: (x * x + 1, np.sum(x, axis=0), x.T, np.transpose(x)[1:]), x, ulp=1)


# ---- shapes and strides ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("shapes", [((), ()), ((1,), (3,)), ((3, 1), (1, 4)), ((2, 1, 3), (4, 1)), ((0,), (1,)), ((3, 0), (1, 1)), ((1, 1), (1, 1)),
                                    ((5, 1, 7), (5, 6, 1)), ((7, 513), (513,)), ((2, 3, 4, 5), (3, 1, 5)), ((2, 2), ())])
def test_broadcasting(random, shapes):
    x, y = (random.uniform(0.5, 2, s) for s in shapes)
    agree(lambda x, y: (x * y + 1.0, np.exp(x) * y, x + 0.0), x, y)
    close(lambda x, y: (np.sum(x * y), np.sum(x * y, axis=tuple(range(x.ndim))[:1])), x, y)


def test_strided_inputs(random):
    big = random.standard_normal((8, 10, 6))
    for x in (big[::2, ::-1], big.T, np.asfortranarray(big), big[:, 3], big[1:2, :, 1:2], np.broadcast_to(big[0, 0], (4, 6))):
        agree(lambda x: (x * 2.0, np.transpose(x) + 1.0, x[..., ::-1]), x)
        close(lambda x: (np.sum(x, axis=0), np.sum(x, axis=-1), np.mean(x)), x)


def test_strided_closed_over_arrays_are_read_where_they_lie(random):
    held = random.standard_normal((6, 4))
    view = held.T[::2]
    x = random.standard_normal((2, 6))
    program = agree(lambda x: (x * view, x @ view.T), x, ulp=50)
    held[:] = random.standard_normal((6, 4))
    agree(lambda x: (x * view, x @ view.T), x, ulp=50, program=program)


def test_views_need_no_copy(random):
    x = random.standard_normal((4, 6))
    tracing = Tracing()
    t = tracing.input(x, "x")
    out = np.exp(t).reshape(2, 2, 6).transpose(2, 0, 1)[1:, None, ::-1]
    program = kernels.Program([t.node], [(out * 2.0).node])
    assert program.kernels == 2
    agree(lambda x: np.exp(x).reshape(2, 2, 6).transpose(2, 0, 1)[1:, None, ::-1] * 2.0, x, program=program)


@pytest.mark.parametrize("axis", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 20, 300), (300, 2, 3), (2, 1, 1), (40, 17, 9)])
def test_reductions(random, axis, shape):
    for x in (random.uniform(0.5, 1.5, shape), random.uniform(0.5, 1.5, shape[::-1]).T, random.uniform(0.5, 1.5, shape).astype(np.float32)):
        close(lambda x: [getattr(np, n)(x, axis=axis, keepdims=k) for n in "sum mean max min var".split() for k in (True, False)]
              + [np.prod(x / 1.01, axis=axis), diffeng.vocabulary.reductions.logsumexp(x, axis=axis, keepdims=False)], x)
        agree(lambda x: (np.any(x > 1, axis=axis), np.all(x > 0.6, axis=axis), np.sum(x > 1, axis=axis)), x)


def test_reductions_of_nan_and_infinity():
    x = np.array([[1.0, np.nan, 2.0], [np.inf, 1.0, 3.0], [np.inf, -np.inf, 0.0], [-np.inf, -np.inf, -np.inf]])
    with np.errstate(all="ignore"):
        wide = np.tile(x.T, (1, 5))
        agree(lambda x: [f(x, axis=k) for f in (np.sum, np.max, np.min, np.mean, np.prod) for k in (0, 1)], x)
        agree(lambda x: [f(x, axis=k) for f in (np.sum, np.max, np.min, np.mean, np.prod) for k in (0, 1)], wide)
        (got,) = compiled(lambda x: reductions.logsumexp(x, axis=(1,), keepdims=False), x)(x)
    assert ulps(got, np.array([np.nan, np.inf, np.inf, -np.inf])) == 0


def test_empty_reductions():
    x = np.zeros((0, 3))
    agree(lambda x: (np.sum(x), np.sum(x, axis=0), np.prod(x, axis=1), np.all(x)), x)
    agree(lambda x: x @ np.ones((3, 2)), x)
    agree(lambda x: np.transpose(x) @ x, x)
    with pytest.raises(ValueError, match="max"):
        compiled(lambda x: np.max(x, axis=0), x, values=False)(x)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-14), (np.float32, 1.2e-7)])
def test_sums_are_accurate(random, dtype, tolerance):
    import math
    x = random.uniform(0, 1, 1_000_003).astype(dtype)
    exact = math.fsum(x.tolist())
    for f in (np.sum, lambda x: np.sum(x[::-1]), lambda x: np.sum(x[:1_000_000].reshape(-1, 50), axis=0), lambda x: np.mean(x) * x.size):
        (got,) = compiled(f, x)(x)
        reference = exact if np.ndim(got) == 0 else [math.fsum(c) for c in x[:1_000_000].reshape(-1, 50).T.tolist()]
        assert np.max(np.abs(got / reference - 1)) <= tolerance


def test_a_dtype_may_be_another_object(random):
    x = random.standard_normal(5)
    other = x.view(x.dtype.newbyteorder("="))
    assert other.dtype == x.dtype and other.dtype is not x.dtype
    for first, second in ((x, other), (other, x), (other, other)):
        program = compiled(np.sin, first)
        assert ulps(program(second)[0], np.sin(x)) <= 4


# ---- products -------------------------------------------------------------------------------------------------------------------------

SUBSCRIPTS = ["ij,jk->ik", "ij,jk->ki", "ji,jk->ik", "ij,kj->ik", "bij,bjk->bik", "bij,jk->bik", "bij,bkj->bik", "bij,bkj->ikb", "bthd,bshd->bhts",
              "bhts,bshd->bthd", "i,i->", "i,j->ij", "ij,j->i", "ij,ij->i", "ij,ij->ij", "ijk,jil->kl", "ijk,ilj->kl", "ii,ij->j", "iji,j->i", "ij,k->j",
              "ab,bcd,de->ace", "ij->ji", "ii->i", "ii->", "ijk->j", "ij,jk,kl,lm->im", "bi,bj->bij", "ijk,k->ji", "kij,k->ij"]


@pytest.mark.parametrize("subscripts", SUBSCRIPTS)
def test_einsum(random, subscripts):
    sizes = dict(zip("abcdehijklmst", (2, 3, 4, 5, 2, 3, 4, 5, 6, 3, 4, 5, 7)))
    for dtype in (np.float64, np.float32):
        arrays = [random.standard_normal([sizes[c] for c in term]).astype(dtype) for term in subscripts.split("->")[0].split(",")]
        program = close(lambda *a: np.einsum(subscripts, *a), *arrays)
        assert not program.calls
        arrays = [np.asfortranarray(a) for a in arrays]
        close(lambda *a: np.einsum(subscripts, *a), *arrays)


@pytest.mark.parametrize("shapes", [((3, 4), (4, 5)), ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 1, 3, 4), (6, 4, 5)),
                                    ((1, 1), (1, 1)),
                                    ((3, 1), (1, 5)), ((2, 3, 4), (2, 4, 1)), ((5, 1, 4), (4, 3)), ((130, 70), (70, 90))])
def test_matmul(random, shapes):
    x, y = (random.standard_normal(s) for s in shapes)
    assert not close(lambda x, y: x @ y, x, y).calls
    if min(map(len, shapes)) > 1:
        assert not close(lambda x, y: np.swapaxes(np.swapaxes(y, -1, -2) @ np.swapaxes(x, -1, -2), -1, -2) * 2.0, x, y).calls
        close(lambda x, y: x @ y[..., ::-1], x, y)
        close(lambda x, y: x[..., ::2] @ y[..., ::2, :], x, y)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_vector_times_a_matrix_across_its_rows_is_left_to_blas(random, dtype):
    def made(*shape):
        return random.standard_normal(shape).astype(dtype)
    for k, n in ((150, 200), (700, 500)):                  # in one part, and in several
        x, w = made(k), made(k, n)
        for f in (lambda x, w: x @ w, lambda x, w: w.T @ x, lambda x, w: w.T @ x[:, None], lambda x, w: x[None] @ w, lambda x, w: np.einsum("i,ij->j", x, w)):
            assert close(f, x, w, rtol=1e-12).kernels == 1
        close(lambda x, w: x[::-1] @ w, x, w)
        close(lambda x, w: x @ w, made(k, 2)[:, 1], np.asfortranarray(w))
        close(lambda x, w: x[::3] @ w[::3, ::2], x, w)
        close(lambda x, w: np.stack([x @ w, x @ w + 1.0], 1), x, w)
    close(lambda x, w: x @ w, made(3, 1, 150), made(3, 150, 200))
    close(lambda x, w: x[..., :150] @ w, made(2, 3, 1, 160), made(2, 3, 150, 200))
    close(lambda x, w: x @ w, made(2, 3, 1, 150), made(3, 150, 200))


def test_transposes_are_flags(random):
    x, y = random.standard_normal((5, 6)), random.standard_normal((5, 7))
    for f in (lambda x, y: x.T @ y, lambda x, y: (y.T @ x).T, lambda x, y: np.einsum("ij,ik->jk", x, y)):
        tracing = Tracing()
        a, b = tracing.input(x, "x"), tracing.input(y, "y")
        program = kernels.Program([a.node, b.node], [np.sum(np.exp(buffers.call(f, (a, b)))).node])
        assert program.kernels == 2                       # one product and one loop: no copy


# ---- indices ---------------------------------------------------------------------------------------------------------------------------

def test_embedding_and_its_adjoint(random):
    table, tokens, g = random.standard_normal((11, 5)), random.integers(-11, 11, (3, 4)), random.standard_normal((3, 4, 5))
    program = agree(lambda w, t, g: (w[t] + 1.0, indexing.scatter(g, t, index=(Slot(0),), shape=(11, 5))), table, tokens, g)
    assert not program.calls
    for bad in (11, -12):
        wrong = tokens.copy()
        wrong[1, 1] = bad
        with pytest.raises(IndexError, match="getitem at test_kernels.py"):
            program(table, wrong, g)
    agree(lambda w, t, g: (w[t] + 1.0, indexing.scatter(g, t, index=(Slot(0),), shape=(11, 5))), table, tokens, g, program=program)


def test_picking_one_entry_a_row(random):
    x, t = random.standard_normal((6, 9)), random.integers(0, 9, 6)
    program = agree(lambda x, t: (x[np.arange(6), t], x[:, t], x[t[:3] % 6, 1:4], x[1, t]), x, t)
    assert program.calls == []


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_parts_are_written_where_they_belong(random, axis):
    """What makes the parts of a concatenation writes them there, in one loop; a part that is set later comes after what it replaces."""
    x, y = random.standard_normal((2, 5, 6, 7))

    def joined(x, y):
        return np.concatenate([np.sin(x) * y, np.cos(x) + y, x - y], axis=axis)
    tracing = Tracing()
    inputs = [tracing.input(v, name) for v, name in ((x, "x"), (y, "y"))]
    program = kernels.Program([i.node for i in inputs], [buffers.call(joined, inputs).node])
    assert program.kernels == 1
    np.testing.assert_allclose(program(x, y)[0], joined(x, y), rtol=1e-13, atol=1e-13)

    def replaced(x, y):
        out = np.zeros((5, 6, 7))
        out[1:3] = np.sin(x[1:3])
        out[2:4] = x[2:4] * y[2:4]
        out[:, 2] = y[:, 2] + 1
        return out
    np.testing.assert_allclose(diffeng.jit(replaced)(x, y), replaced(x, y), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32, np.uint8])
def test_positions_of_largest_and_smallest_entries(random, dtype):
    """The first of equals, the first NaN, along every axis and over all, however memory lies; NumPy is not called."""
    for shape in ((7,), (5, 9), (3, 4, 5), (1, 6), (40, 33)):
        x = random.integers(0, 6, shape).astype(dtype)
        if dtype == np.float64 and len(shape) == 2:
            x[0, 2:4] = np.nan, np.inf
        for axis in (None, *range(len(shape))):
            for y in (x, x.T, x[::-1]):
                program = compiled(lambda y: (np.argmax(y, axis=axis), np.argmin(y, axis=axis)), y)
                assert not program.calls
                for got, want in zip(program(y), (np.argmax(y, axis=axis), np.argmin(y, axis=axis)), strict=True):
                    assert np.array_equal(got, want) and got.dtype == want.dtype


@pytest.mark.parametrize("shape", [(16, 31, 4), (64, 17, 3), (3, 1000, 4), (20, 30, 8, 4)])
def test_sums_over_each_axis_of_what_lies_column_by_column(random, shape):
    """Of many short rows the columns lie one after the other: rows of another length are then no single walk."""
    x = random.normal(size=shape)
    for axis in range(len(shape)):
        def f(x):
            mean = np.mean(x, axis=axis, keepdims=True)
            return np.sum(np.tanh(np.mean((x - mean) ** 2 * np.exp(x), axis=axis)) ** 2) + np.sum(np.sin(x) * mean)
        value, gradient = diffeng.jit(diffeng.value_and_grad(f))(x)
        want = diffeng.value_and_grad(f)(x)
        np.testing.assert_allclose(value, want[0], rtol=1e-12)
        np.testing.assert_allclose(gradient, want[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype, result", [("f4", "f4"), ("f8", "f8"), ("f8", "f4"), ("i8", "i8")])
@pytest.mark.parametrize("onto", [False, True])
def test_partial_results_are_put_together_and_nothing_beside_them_is_written(dtype, result, onto):
    """In vectors, whatever the number of columns and whichever of them a call is for."""
    from diffeng.kernels import groups, machine
    from diffeng.kernels.memory import address
    name = {"f4": "f32", "f8": "f64", "i8": "i64"}
    kernel = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(machine.kernel(*groups.combine_kernel("sum", name[dtype], name[result], onto)).addresses["kernel"])
    random = np.random.default_rng(0)
    for count in (*range(1, 19), 64, 71):
        partial = np.zeros((3, groups.APART // 4 * 3), dtype)
        partial[:, :count] = random.integers(-99, 99, (3, count)) / (1 if dtype == "i8" else 8)
        partial[:, count:] = 77
        for first in range(0, count, 8):
            for last in {count, min(first + 8, count)}:
                out = np.arange(count + 16).astype(result)
                want = out.copy()
                want[first:last] = (want[first:last] if onto else 0) + np.sum(partial[:, first:last], axis=0)
                words = np.array([address(partial), 3, partial.strides[0], address(out)])
                kernel(address(words), first, last)
                np.testing.assert_array_equal(out, want)
