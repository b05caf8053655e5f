"""Every function of the book beside NumPy, over dtypes: what comes out of a traced value has NumPy's dtype and value, on every path.

CALLS are tried on every function that diffeng knows, so that a new one is covered without a line here; a function that none of them fits fails until
it has a line in MORE.
"""
import inspect
import operator
import warnings

import numpy as np
import optree
import pytest
import scipy.special

import diffeng as de
from diffeng import numpy_api, special
from diffeng.vocabulary.elementwise import SCIPY

CALLS = {
    "x": lambda f, x, y: f(x), "x, y": lambda f, x, y: f(x, y), "row": lambda f, x, y: f(x[0]), "rows": lambda f, x, y: f(x[0], y[0]),
    "number": lambda f, x, y: f(x[0, 0]), "numbers": lambda f, x, y: f(x[0, 0], y[0, 0]), "x, 2": lambda f, x, y: f(x, 2), "x, 0.5": lambda f, x, y: f(x, 0.5),
    "2, x": lambda f, x, y: f(2, x), "0.5, x": lambda f, x, y: f(0.5, x), "axis": lambda f, x, y: f(x, axis=0),
}
MORE = {
    "apply_along_axis": lambda f, x, y: f(lambda row: row[:2] * row[0], 0, x), "einsum": lambda f, x, y: f("ij,kj->ik", x, y),
    "apply_over_axes": lambda f, x, y: f(np.sum, x, [1]), "diag_indices_from": lambda f, x, y: f(x[:, :3]),
    "sliding_window_view": lambda f, x, y: f(x, 2, axis=1), "matrix_power": lambda f, x, y: f(x[:, :3], 2), "multi_dot": lambda f, x, y: f([x, y.T, x]),
    "linalg.cross": lambda f, x, y: f(x[:, :3], y[:, :3]), "cross": lambda f, x, y: f(x[:, :3], y[:, 1:]),
    "vecmat": lambda f, x, y: f(x[:, 0], y), "matvec": lambda f, x, y: f(x, y[0]), "matmul": lambda f, x, y: f(x, y.T),
    "tensordot": lambda f, x, y: f(x, y, ((1,), (1,))), "interp": lambda f, x, y: f(x, np.arange(5.0), y.ravel()[:5]),
    "compress": lambda f, x, y: f([True, False, True], x, axis=0), "extract": lambda f, x, y: f(x > x[1, 1], x), "select": lambda f, x,
    y: f([x > x[1, 1]], [x], 0),
    "piecewise": lambda f, x, y: f(x, [x > x[1, 1]], [lambda v: v + v, 0]), "where": lambda f, x, y: f(x > x[1, 1], x, y), "choose": lambda f, x,
    y: f([0, 1, 1, 0], [x, y]),
    "place": lambda f, x, y: written(f, x, x > x[1, 1], y.ravel()), "putmask": lambda f, x, y: written(f, x, x > x[1, 1], y), "put": lambda f, x,
    y: written(f, x, [0, 5], y[0, :2]),
    "put_along_axis": lambda f, x, y: written(f, x, np.array([[0], [1], [2]]), y[:, :1], 1), "copyto": lambda f, x, y: written(f, x, y[0]),
    "fill_diagonal": lambda f, x, y: written(f, x, y[0, 0]), "take_along_axis": lambda f, x, y: f(x, np.array([[0], [1], [2]]), 1),
    "polyfit": lambda f, x, y: f(np.arange(4), x[0], 1, w=y[0] + 1), "take": lambda f, x, y: f(x, [0, 5]), "searchsorted": lambda f, x, y: f(np.sort(x[0]), y), "insert": lambda f, x, y: f(x, 1, y[0], axis=0), "digitize": lambda f, x, y: f(x, np.arange(4) / 3),
    "stack": lambda f, x, y: f([x, y]), "block": lambda f, x, y: f([[x], [y]]), "moveaxis": lambda f, x, y: f(x, 0, 1), "swapaxes": lambda f, x, y: f(x, 0, 1),
    "bincount": lambda f, x, y: f([0, 1, 1, 2], weights=x[0]), "full_like": lambda f, x, y: f(x, y[0, 0]), "unravel_index": lambda f, x,
    y: f(np.argmax(x), (3, 4)),
    "partition": lambda f, x, y: f(x, 1), "argpartition": lambda f, x, y: np.sort(np.take_along_axis(x, f(x, 1), -1)), "clip": lambda f, x,
    y: f(x, x[0, 0], y[0, 0]),
    "vsplit": lambda f, x, y: f(x, 3), "hsplit": lambda f, x, y: f(x, 2), "dsplit": lambda f, x, y: f(x[None], 2), "reshape": lambda f, x, y: f(x, (4, 3)),
    "resize": lambda f, x, y: f(x, (2, 5)), "broadcast_to": lambda f, x, y: f(x, (2, 3, 4)), "tile": lambda f, x, y: f(x, (2, 1)),
    "can_cast": lambda f, x, y: f(x, np.float64), "astype": lambda f, x, y: f(x, np.float32), "average": lambda f, x, y: f(x, weights=y),
    "nan_to_num": lambda f, x, y: f(x / (x - x[0, 0] + 0.5)), "linspace": lambda f, x, y: f(x, y, 4), "polyval": lambda f, x, y: f(x[:, 0], y),
}
MORE |= {name: lambda f, x, y: f(regular(x)) for name in "inv det slogdet cholesky eigh eigvalsh svd cond qr pinv tensorinv".split()}
MORE |= {f"polynomial.polynomial.{name}": lambda f, x, y: f(x[0], y[0], y) for name in ("polyval2d", "polygrid2d")}
MORE |= {"betainc": lambda f, x, y: f(2, 3.5, x), "betaincc": lambda f, x, y: f(2, 3.5, x), "hyp2f1": lambda f, x, y: f(0.5, 1.5, 2.5, x)}
MORE |= {"tensorinv": lambda f, x, y: f(regular(x), ind=1), "solve": lambda f, x, y: f(regular(x), y), "lstsq": lambda f, x, y: f(regular(x), y[:, 0]),
         "tensorsolve": lambda f, x, y: f(regular(x), y[:, 0])}
MORE |= {name: MORE["stack"] for name in "concatenate hstack vstack dstack column_stack".split()}
UNLIKE = {
    "result_type": "a dtype; test_result_type", "common_type": "a type",    "empty_like": "its entries are whatever was there", "array2string": "text", "array_repr": "text",
    "array_str": "text",
}
DTYPES = [("f4", "f4"), ("f4", "f8"), ("f8", "f8"), ("i8", "i8"), ("i4", "i4"), ("u1", "u1"), ("?", "?"), ("i8", "f4"), ("f4", "i8"), ("i4", "f4"), ("?", "f4")]


def regular(x):
    return x[:, :3] + 9 * np.eye(3, dtype=x.dtype)


def written(f, target, *arguments):
    x = target.copy()
    f(x, *arguments)
    return x


def full_name(f):
    module = getattr(f, "__module__", None) or "numpy"
    return f.__name__ if module in ("numpy", "numpy.lib.stride_tricks") or isinstance(f, np.ufunc) else f"{module.removeprefix('numpy.')}.{f.__name__}"


BOOK = [*numpy_api.FUNCTIONS, *[u for u in numpy_api.UFUNCS if getattr(np, u.__name__, None) is u]]
BOOK += [getattr(scipy.special, n) for n in (*SCIPY, *special.UFUNC_NAMES) if isinstance(getattr(scipy.special, n, None), np.ufunc)]
BOOK = list({full_name(f): f for f in BOOK if f.__name__ not in UNLIKE}.values())
each = pytest.mark.parametrize("f", BOOK, ids=full_name)


def data(dtype, seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.2, 0.9, (3, 4)).astype(dtype) if np.dtype(dtype).kind == "f" else rng.integers(1, 4, (3, 4)).astype(dtype)


def in_parts(result):
    """Real and imaginary parts in place of what is complex."""
    leaves = optree.tree_leaves(result)
    return [p for x in leaves for p in ((x.real, x.imag) if np.iscomplexobj(x) else (x,))] if any(map(np.iscomplexobj, leaves)) else result


def arrays(result):
    return [np.asarray(x) for x in optree.tree_leaves(in_parts(result))]


def accepted(f):
    """(call's name, call, x, y, what NumPy makes of it): the calls that are any with this function and these dtypes."""
    own = MORE.get(full_name(f).removeprefix("linalg."))
    calls = CALLS if own is None else CALLS | {"more": own}
    if isinstance(f, np.ufunc) and f.nin == 1:                                                           # the second argument would be `out`
        calls = {k: c for k, c in calls.items() if k in ("x", "row", "number")}
    for k, dtypes in enumerate(DTYPES):
        for name, call in calls.items():
            if "y" not in name and name not in ("rows", "numbers", "more") and dtypes[0] != dtypes[1]:
                continue
            x, y = (data(d, seed) for d, seed in zip(dtypes, (1, 2)))
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    want = arrays(call(f, x.copy(), y.copy()))
            except Exception:
                continue
            if want and all(w.dtype.kind in "fiub" for w in want):
                yield f"{name} of {', '.join(dtypes)}", call, x, y, want


def agrees(got, want, say):
    got = arrays(got)
    assert len(got) == len(want), say
    for g, w in zip(got, want):
        assert g.shape == w.shape and g.dtype == w.dtype, f"{say}: {g.dtype} {g.shape}, NumPy {w.dtype} {w.shape}"
        digits = {"float16": 2e-3, "float32": 2e-5}.get(w.dtype.name, 2e-13)
        np.testing.assert_allclose(g, w, rtol=digits, atol=digits, err_msg=say)


# What NumPy takes, and diffeng does not: each with the reason.
REFUSED = {
    ("linalg.svd", "x"): "vectors beyond the singular ones", ("linalg.lstsq", "x, y"): "fewer equations than unknowns",
    **{("linalg.pinv", call): "cutoffs" for call in ("x", "numbers", "rows")}, ("linalg.norm", "numbers"): "an order that is traced",
    ("power", "x, 2 of ?, ?"): "x**2 of booleans is int8, np.power(x, 2) int64: they are one primitive",
    ("gradient", "rows of"): "points that coincide", ("argsort", "number"): "no axis", ("quantile", "x, y of ?"): "booleans as fractions",
    ("quantile", "rows of ?"): "the same", ("quantile", "numbers of ?"): "the same",
    **{(name, "numbers"): "a place, a count or a width that is traced" for name in ("take", "roll", "pad", "repeat", "polyint")},
    **{(name, "x, 0.5"): "half a place" for name in ("take", "repeat", "polyint")},
    **{(name, call): "an order that is traced" for name in "expn gammainc gammaincc jv yv iv ive kv kve".split() for call in ("x, y", "row", "numbers", "x, 2", "x, 0.5")},
    ("full_like", "numbers"): "NumPy asks the first argument only, and a number that does not move is a plain one in forward mode",
}


def known(f, say):
    return any(full_name(f) == name and say.startswith(start) for name, start in REFUSED)


@each
@pytest.mark.filterwarnings("ignore")
def test_dtype_and_value_are_numpys(f):
    found = 0
    for say, call, x, y, want in accepted(f):
        if known(f, say):
            continue
        found += 1
        a, b = x.astype(float), y.astype(float)

        def g(v, w):
            return in_parts(call(f, v.astype(x.dtype), w.astype(y.dtype)))
        agrees(de.vjp(g, a, b)[0], want, f"{say}, recorded")
        agrees(de.jvp(g, (a, b), (a, b))[0], want, f"{say}, on dual numbers")
    assert found, f"{full_name(f)}: no call of CALLS fits; write one in MORE"


@each
@pytest.mark.filterwarnings("ignore")
def test_dtype_and_value_are_numpys_under_jit(f):
    """One call of each, in float32 and where an integer meets it: a kernel costs a tenth of a second."""
    calls = {say.split(" of ")[1]: (say, call, x, y, want) for say, call, x, y, want in accepted(f) if not known(f, say)}
    for say, call, x, y, want in [calls[k] for k in ("f4, f4", "i4, f4", "i4, i4") if k in calls][:2]:
        agrees(de.jit(lambda x, y: call(f, x, y))(x, y), want, say)


@each
def test_arguments_have_numpys_names_and_places(f):
    """All but `out`, which is handled for every function at once."""
    if isinstance(f, np.ufunc):
        return
    try:
        theirs = [p for p in inspect.signature(f).parameters.values() if p.name != "out"]
    except ValueError:
        pytest.skip("this NumPy does not tell")
    ours = list(inspect.signature(numpy_api.FUNCTIONS[f]).parameters.values())
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    for k, p in enumerate([p for p in theirs if p.kind in places]):
        if k < len(ours) and ours[k].kind in places:
            assert p.kind == p.POSITIONAL_ONLY or ours[k].name == p.name, f"{f.__name__}: argument {k} is {p.name!r} in NumPy, {ours[k].name!r} here"


@pytest.mark.parametrize("f", [
    lambda x: np.clip(x, 0.3, 0.6, x), lambda x: np.sum(x, 0, None, None, True), lambda x: np.max(x, 0, None, True), lambda x: np.std(x, 0, None, None, 1),
    lambda x: np.median(x, 0, None, False, True), lambda x: np.take(x, [0, 5], 1, None, "clip"), lambda x: np.round(x, 1, x), lambda x: np.fix(x * 3, x),
    lambda x: np.trace(x, 0, 0, 1, np.float64), lambda x: np.modf(x * 3, x, None)[1] + x, lambda x: np.sqrt(0.25, x) + x])
def test_out_and_what_follows_by_position(f):
    x = data("f8", 5)
    want = f(x.copy())
    np.testing.assert_allclose(de.vjp(lambda x: f(x.copy()), x)[0], want)
    np.testing.assert_allclose(de.jvp(lambda x: f(x.copy()), (x,), (x,))[0], want)


@pytest.mark.parametrize("f", [
    lambda x: np.pad(x, {0: 1}), lambda x: np.pad(x, {-1: (0, 2)}, mode="edge"),
    lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=((1.0, 2.0), (3.0, 4.0))),
    lambda x: np.pad(x, 1, constant_values=(0.5, 2.0)), lambda x: np.pad(x, np.array([[1, 0], [0, 1]]))])
def test_pad_takes_widths_and_values_as_numpy_does(f):
    x = data("f8", 5)
    np.testing.assert_array_equal(de.vjp(f, x)[0], f(x))
    np.testing.assert_array_equal(de.jit(f)(x), f(x))


def test_pad_with_a_traced_value():
    x = data("f8", 5)
    want = np.array([[2.0, 2, 2, 2]] * 3)
    want[0, 0] += 18
    np.testing.assert_allclose(de.grad(lambda x: np.sum(np.pad(x, 1, constant_values=x[0, 0])) + np.sum(x))(x), want)
    with pytest.raises(ValueError, match="pad at test_dtypes.py"):
        de.grad(lambda x: np.sum(np.pad(x, -1)))(x)


def test_out_is_written_as_numpy_writes_it():
    x = data("f8", 6)
    with pytest.raises(TypeError, match="dtype float64 cannot be written into an array of dtype int64"):
        de.grad(lambda x: np.sum(np.add(x, x, out=np.zeros(x.shape, int))))(x)
    with pytest.raises(ValueError, match="could not broadcast"):
        de.grad(lambda x: np.sum(np.sum(x, axis=0, out=np.zeros(3))))(x)


@pytest.mark.parametrize("dtype", ["f4", "i4"])
def test_the_dtype_that_is_asked_for_is_computed_in(dtype):
    x, y = data("i1", 1) * 40, data("i1", 2) * 40                             # their sums have no place in 8 bits
    want = np.add(x, y, dtype=dtype)
    got = de.vjp(lambda v, w: np.add(v.astype("i1"), w.astype("i1"), dtype=dtype), x * 1.0, y * 1.0)[0]
    assert got.dtype == want.dtype and np.array_equal(got, want)


def test_result_type():
    x = data("f4", 1)
    assert de.vjp(lambda x: x * (np.result_type(x, 1.0) == np.float32), x)[0].sum() > 0


INTEGERS = [lambda x, y: x & y, lambda x, y: x | y, lambda x, y: x ^ y, lambda x, y: ~x, lambda x, y: 1 & x, lambda x, y: True & x, lambda x, y: x << y,
    lambda x, y: 200 >> x]


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, bool])
@pytest.mark.parametrize("k", range(len(INTEGERS)))
def test_bits(k, dtype):
    """Of integers bits, of booleans truth."""
    f = INTEGERS[k]
    x, y = np.array([1, 2, 3, 100]).astype(dtype), np.array([3, 1, 2, 7]).astype(dtype)
    want = f(x, y)
    for got in (de.jit(f)(x, y), de.vjp(lambda v, w: f(v.astype(dtype), w.astype(dtype)), x * 1.0, y * 1.0)[0]):
        assert got.dtype == want.dtype and np.array_equal(got, want)


def test_bits_of_floats_are_refused_as_numpy_refuses_them():
    with pytest.raises(TypeError, match="bitwise_and at test_dtypes.py"):
        de.grad(lambda x: np.sum(x & 1))(np.ones(2))


def test_truth_in_place_reaches_aliases():
    def f(x):
        chosen = x > 0
        same = chosen
        chosen &= x < 2
        return np.sum(np.where(same, x, 0))
    np.testing.assert_array_equal(de.grad(f)(np.array([-1.0, 1.0, 3.0])), [0, 1, 0])


def test_comparisons_of_infinities_and_nan():
    x = np.array([np.inf, 1.0, np.nan])
    for f in (lambda x: np.isclose(x, x), lambda x: np.isclose(x, x, equal_nan=True), lambda x: np.isclose(x, 1),
              lambda x: np.array([np.array_equal(x, x, equal_nan=True), np.array_equiv(x, x[:2]), np.allclose(x[:2], x[:2])])):
        np.testing.assert_array_equal(de.vjp(f, x)[0], f(x))


def test_missing_values_in_whole_columns():
    x = np.array([[np.nan, 1.0, np.nan], [np.nan, 2.0, 3.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for f in (np.nanmax, np.nanmin):
            np.testing.assert_array_equal(de.vjp(lambda x: f(x, axis=0), x)[0], f(x, axis=0))
        for f in (lambda x: np.nanmedian(x[:0], axis=0), lambda x: np.nanquantile(x[:, :0], 0.2, axis=1), lambda x: np.round(x[1], 400)):
            np.testing.assert_array_equal(de.vjp(f, x)[0], f(x))


def test_covariance_with_weights():
    x, counts, importance = data("f8", 3), np.array([1, 2, 1, 3]), np.array([0.5, 1.0, 2.0, 0.3])
    for options in ({"fweights": counts}, {"aweights": importance}, {"fweights": counts, "aweights": importance}, {"aweights": importance, "ddof": 0}):
        np.testing.assert_allclose(de.vjp(lambda x: np.cov(x, **options), x)[0], np.cov(x, **options), rtol=1e-13)


def test_covariance_without_a_degree_of_freedom_and_of_one_row_more():
    x, row = data("f8", 3), np.array([[0.5, 2.0, -1.0]])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for f, a in ((lambda x: np.cov(x[:, :1], ddof=2), x), (lambda x: np.cov(x[:, :1], ddof=2, aweights=[0.7]), x), (lambda x: np.cov(x.T[:3], row, rowvar=False), x[:, :3])):
            want = f(a)
            np.testing.assert_allclose(de.vjp(f, a)[0], want, rtol=1e-13)
            np.testing.assert_allclose(de.jit(f)(a), want, rtol=1e-13)


@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "cumprod", "nansum", "nanprod", "nancumsum", "cumulative_sum", "add.reduce", "add.accumulate"])
def test_a_sum_has_the_dtype_that_was_asked_for(name):
    f = operator.attrgetter(name)(np)
    for dtype in (np.int16, np.int32, np.float32, np.float64):
        for x in (np.array([100, 27, 3], np.int8), np.array([True, False]), np.array([1.5, 2.5], np.float32), np.array([70000, 70000], np.int32)):
            for got in (de.vjp(lambda x, y: f(x, axis=0, dtype=dtype), x, 1.0)[0], de.jit(lambda x: f(x, axis=0, dtype=dtype))(x)):
                agrees(got, arrays(f(x, axis=0, dtype=dtype)), f"{name} of {x.dtype} as {dtype.__name__}")


def test_unique_with_its_options():
    x = np.array([[2.0, 1.0, 2.0], [2.0, 1.0, 2.0], [3.0, 1.0, 0.0]])
    for options in ({"return_index": True}, {"return_inverse": True, "return_counts": True}, {"axis": 0}, {"axis": 1, "return_counts": True}):
        for got, want in zip(arrays(de.vjp(lambda x: np.unique(x, **options), x)[0]), arrays(np.unique(x, **options)), strict=True):
            np.testing.assert_array_equal(got, want)


NUMBERS = [
    lambda a, s: a * s, lambda a, s: np.copysign(a, s), lambda a, s: np.float_power(a, s), lambda a, s: np.logaddexp2(a, s), lambda a, s: np.linspace(s, a[0], 3),
    lambda a, s: scipy.special.xlogy(s, a), lambda a, s: scipy.special.xlogy(a, s), lambda a, s: np.quantile(a, s / 10), lambda a, s: np.dot(a, s),
    lambda a, s: np.deg2rad(s) * a, lambda a, s: np.add.outer(a, [s, s]), lambda a, s: np.pad(a, 1, constant_values=s), lambda a, s: np.interp(s, a, a)]


@pytest.mark.parametrize("k", range(len(NUMBERS)))
def test_python_numbers_and_numpys_meet_float32_as_in_numpy(k):
    f, a = NUMBERS[k], np.array([0.5, 1.0, 2.0], np.float32)
    for s in (1.5, np.float64(1.5), np.float32(1.5)):
        agrees(de.jit(f)(a, s), arrays(f(a, s)), f"{type(s).__name__} under jit")


NARROW = [np.int8(-128), np.uint8(200), np.uint8(3), np.float32(0.9), np.array([3, 100], np.int8)]
BINARY = {**{name: getattr(np, name) for name in "add subtract multiply divide power remainder arctan2 hypot logaddexp maximum".split()}, "xlogy": special.xlogy}


@pytest.mark.parametrize("name", [*BINARY, "zeta"])
def test_a_constant_of_a_narrow_dtype_is_the_number_that_it_is(name):
    """y - 1 of an int8 wraps, and NumPy takes its logarithm in float16: rules compute in the dtype of the result."""
    x = np.array([1.3, 1.7])
    either = [lambda c, x: special.zeta(np.abs(c), x)] if name == "zeta" else [BINARY[name], lambda c, x: BINARY[name](x, c)]          # by s no derivative is known
    for c in NARROW[name == "zeta":]:
        for f in either:
            with np.errstate(all="ignore"):
                want = de.grad(lambda x: np.sum(f(c.astype(float), x)))(x)
                for method in ("reverse", "forward", "symbolic"):
                    np.testing.assert_allclose(de.grad(lambda x: np.sum(f(c, x)), method=method)(x), want, rtol=1e-13)
                np.testing.assert_allclose(de.jit(de.grad(lambda x: np.sum(f(c, x))))(x), want, rtol=1e-13)


def test_a_power_of_an_integer_larger_than_numpys():
    x = np.array([1.3, 1.7])
    for derivative in (*[de.grad(lambda x: np.sum(np.power(10 ** 20, x / 20)), method=m) for m in ("reverse", "forward", "symbolic")],
                       de.jit(de.grad(lambda x: np.sum(np.power(10 ** 20, x / 20))))):
        np.testing.assert_allclose(derivative(x), 10 ** x * np.log(10), rtol=1e-13)


@pytest.mark.parametrize("dtype, big", [(bool, 1), (np.int8, 100), (np.int32, 70000), (np.float32, 1e30)])
@pytest.mark.parametrize("text, places", [("ab,b->", "Mx"), ("a,a,b->", "vvx"), ("ab,ab,c->c", "MMx"), ("ab,bc,c->a", "MMx"), ("a,a,a->", "xvv")])
def test_einsum_of_arrays_of_narrow_dtypes(text, places, dtype, big):
    """Products of two of them would wrap, or overflow, before a float64 comes in."""
    M, x = np.array([[big, big], [big, 0]], dtype), np.array([1.3, 1.7])

    def fun(x, M):
        return np.sum(np.einsum(text, *[{"M": M, "v": M[0], "x": x}[c] for c in places])) / big
    want, slope = fun(x, M.astype(float)), de.grad(lambda x: fun(x, M.astype(float)))(x)
    np.testing.assert_allclose(de.jit(lambda x: fun(x, M))(x), want, rtol=1e-13)
    np.testing.assert_allclose(de.jit(de.grad(lambda x: fun(x, M)))(x), slope, rtol=1e-13)
    for method in ("reverse", "forward", "symbolic"):
        value, got = de.value_and_grad(lambda x: fun(x, M), method=method)(x)
        np.testing.assert_allclose(value, want, rtol=1e-13)
        np.testing.assert_allclose(got, slope, rtol=1e-13)


def test_an_einsum_without_axes_is_a_number():
    x = np.array([1.3, 1.7])
    for f in (lambda x: np.einsum("ab,b->", np.ones((2, 2)), x), lambda x: x @ x, lambda x: np.einsum("ab,b,a->", np.ones((2, 2)), x, x)):
        assert [type(y) for y in (f(x), de.value_and_grad(f)(x)[0], de.jit(f)(x), de.vjp(f, x)[0])] == [np.float64] * 4


def test_einsum_of_integers_alone_is_numpys():
    a = np.array([100, 100], np.int8)
    for text, n in (("a,a->", 2), ("a,a->a", 2), ("a,b,a->", 3)):
        got, want = de.vjp(lambda x: np.einsum(text, *[x.astype(np.int8)] * n), a * 1.0)[0], np.einsum(text, *[a] * n)
        assert got.dtype == want.dtype and np.array_equal(got, want)


@pytest.mark.parametrize("f", [
    lambda x: np.r_[0, x, 1.5], lambda x: np.select([x > 1, x > 2], [x, 1.5]), lambda x: np.choose([0, 1, 0], [x, 2]), lambda x: np.sum(x, initial=1.5),
    lambda x: np.max(x, initial=1.5), lambda x: np.prod(x, initial=2.5), lambda x: np.logical_or.reduce(x > 9, initial=True), lambda x: np.std(x),
    lambda x: np.quantile(x, [0.2, 0.9], method="nearest"), lambda x: np.percentile(x, 30, method="lower"), lambda x: np.quantile(x, 0.3, method="hazen"),
    lambda x: np.pad(x, 2, "mean"), lambda x: np.pad(x, 2, "linear_ramp", end_values=8), lambda x: np.quantile(x, 1, method="midpoint"),
    lambda x: np.fmax.reduce(x[None], axis=(0, 1)), lambda x: np.interp(x, [1, 2], [3, 4], period=2.5), lambda x: np.polyint(x, k=2)])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i4", "u1"])
def test_options_and_numbers_beside_arrays(f, dtype):
    x = np.array([1, 2, 4], dtype)
    want = f(x)
    for got in (de.jit(f)(x), de.vmap(f)(x[None])[0], de.vjp(lambda x, y: f(x), x, 1.0)[0]):
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-6 if dtype == "f4" else 1e-14)
