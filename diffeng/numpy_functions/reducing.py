"""Reductions, scans and orders: np.sum, np.mean, np.cumsum, np.sort, np.linalg.norm, ..."""
import numpy as np

from .. import selections
from ..complex_values import is_complex, squares
from ..errors import refuse
from ..numpy_api import arrayed, astype, axes_of, axis_of, operand
from ..traced import TRACED, Traced
from ..ufunc_dtypes import cast
from ..vocabulary import elementwise as e, reductions as r
from .table import along, implements


def asked(flag):
    """keepdims and the like, which NumPy's methods pass as a mark for "not given"."""
    return bool(flag) and flag is not np._NoValue


def given(x):
    return x is not None and x is not np._NoValue


def reduced_shape(x, axis, keepdims):
    axes = axes_of(axis, x.ndim)
    return tuple(1 if k in axes else n for k, n in enumerate(x.shape) if asked(keepdims) or k not in axes)


def at_hand(x):
    """The numbers below a traced value where what is computed holds for these alone; None under jit and in a graph, for many examples, in 100 digits, and where it is
    compared with these."""
    while type(x) in TRACED:
        interpreter = x.interpreter
        if interpreter.lasting or interpreter.examples or interpreter.log is not None:
            return None
        x = x.held if hasattr(x, "held") else getattr(x, "below", None)
    return x


def norm_of(squares):
    """The square root of a sum of squares: at 0 its derivative is 0 (docs/kinks.md), not 0 * inf."""
    value = at_hand(squares)
    if value is not None and np.greater(value, 0).all():
        return e.sqrt(squares)
    zero = e.equal(squares, 0)
    return e.where(zero, e.absolute(squares), e.sqrt(e.where(zero, 1.0, squares)))


def deviation(squares, x, axis, keepdims, where=True):
    """The square root of the variance of x. Where all entries are equal it is a norm at 0, even if their mean was rounded to another number."""
    if is_complex(x):
        return norm_of(squares)
    value, axes = at_hand(x), axes_of(axis, x.ndim)
    if value is not None and (where is True or not given(where)) and value.size and not np.equal(np.maximum.reduce(value, axis=axes), np.minimum.reduce(value, axis=axes)).any():
        return norm_of(squares)
    x, options = e.stop_gradient(cast(x, squares.dtype)), {"axis": axis, "keepdims": asked(keepdims), "where": where}
    level = e.equal(np.max(x, initial=-np.inf, **options), np.min(x, initial=np.inf, **options))
    return e.where(level, e.sqrt(e.stop_gradient(squares)), norm_of(e.where(level, 1.0, squares)))


def alone(primitive, x, params):
    """A primitive of one operand, which decides."""
    return x.interpreter.apply(primitive, (x,), params) if type(x) in TRACED else primitive(x, **params)


_JOINED = {"sum": e.add, "prod": e.multiply, "max": e.maximum, "min": e.minimum, "any": e.logical_or, "all": e.logical_and}


def _reducer(primitive):
    def reduce(a, axis=None, dtype=None, keepdims=False, initial=None, where=None):
        x = operand(a)
        if where is not None and where is not True and given(where):
            neutral = {"sum": 0, "prod": 1, "any": False, "all": True}.get(primitive.name, initial)
            if not given(neutral):
                raise refuse(ValueError, f"{primitive.name}{{here}}: with where= it needs initial=, as in NumPy")
            x = e.where(operand(where), x, neutral)
        if dtype is not None:
            x = astype(x, dtype)
        axes = axes_of(axis, x.ndim) if x.ndim or axis not in (0, -1) else ()          # ufuncs reduce a number along its first axis, too
        params = {"axis": axes, "keepdims": keepdims is not False and asked(keepdims)}
        if primitive in (r.max, r.min) and given(initial):
            if selections.has_none(x, axes):
                return astype(np.broadcast_to(operand(initial), reduced_shape(x, axes, keepdims)), x.dtype)
            out = selections.extreme(primitive, x, params)
        else:
            out = alone(primitive, x, params)
        if given(initial):
            out = _JOINED[primitive.name](out, cast(operand(initial), out.dtype))
        return _as_asked(out, dtype)
    return reduce


def _as_asked(out, dtype):
    """What was computed in the dtype that was asked for, in that dtype: the primitives sum and multiply narrow integers in wide ones."""
    return out if dtype is None or out.dtype == dtype else astype(out, dtype)


def _without_dtype(reduce):
    return lambda a, axis=None, keepdims=False, initial=None, where=None, *, dtype=None: reduce(a, axis, dtype, keepdims, initial, where)


total = implements(np.sum)(_reducer(r.sum))
implements(np.prod)(_reducer(r.prod))
for _f, _p in ((np.max, r.max), (np.min, r.min), (np.amax, r.max), (np.amin, r.min), (np.any, r.any), (np.all, r.all)):
    implements(_f)(_without_dtype(_reducer(_p)))


def _counted(where, x, axis, keepdims):
    chosen = np.broadcast_to(astype(operand(where), x.dtype) if isinstance(where, Traced) else np.asarray(where, x.dtype), x.shape)
    return np.sum(chosen, axis=axis, keepdims=asked(keepdims))


@implements(np.mean)
def mean(a, axis=None, dtype=None, keepdims=False, *, where=None):
    x = operand(a) if dtype is None else astype(a, dtype)
    if where is not None and where is not True and given(where):
        return np.sum(x, axis=axis, keepdims=asked(keepdims), where=where) / _counted(where, x, axis, keepdims)
    out = alone(r.mean, x, {"axis": axes_of(axis, x.ndim), "keepdims": keepdims is not False and asked(keepdims)})
    return _as_asked(out, dtype)


@implements(np.var)
def var(a, axis=None, dtype=None, ddof=0, keepdims=False, *, where=None, mean=None, correction=None):
    ddof = correction if given(correction) else ddof
    x = operand(a) if dtype is None else astype(a, dtype)
    if given(where) and where is not True or given(mean):
        where = where if given(where) else True
        centre = mean if given(mean) else np.mean(x, axis=axis, keepdims=True, where=where)
        return np.sum(squares(x - centre), axis=axis, keepdims=asked(keepdims), where=where) / (_counted(where, x, axis, keepdims) - ddof)
    return r.var(x, axis=axes_of(axis, x.ndim), keepdims=asked(keepdims), ddof=ddof)


@implements(np.std)
def std(a, axis=None, dtype=None, ddof=0, keepdims=False, *, where=None, mean=None, correction=None):
    squares = var(a, axis, dtype, ddof, keepdims, where=where, mean=mean, correction=correction)
    return norm_of(squares) if given(mean) else deviation(squares, operand(a), axis, keepdims, where)


@implements(np.average)
def average(a, axis=None, weights=None, returned=False, *, keepdims=False):
    a = operand(a)
    if weights is None:
        out = mean(a, axis, keepdims=keepdims)
        return (out, a.size / np.size(out) + 0 * out) if returned else out
    w = arrayed(weights)
    if np.shape(w) != np.shape(a):                    # one weight a position along these axes, in their order
        axes = [axis_of(k, a.ndim) for k in (axis if isinstance(axis, (tuple, list)) else (axis,))] if axis is not None else []
        if not axes or np.shape(w) != tuple([a.shape[k] for k in axes]):
            raise refuse(ValueError if axes else TypeError, f"average{{here}}: weights {np.shape(w)} are neither one for each entry of {a.shape}, nor for each position along axis={axis}")
        w = np.reshape(np.transpose(w, np.argsort(axes)), [n if k in axes else 1 for k, n in enumerate(a.shape)])
    dtype = np.result_type(a.dtype, w.dtype, *([np.float64] if a.dtype.kind in "iub" else []))
    total = np.sum(np.broadcast_to(w, np.shape(a)), axis=axis, dtype=dtype, keepdims=asked(keepdims))
    out = np.sum(cast(a, dtype) * w, axis=axis, keepdims=asked(keepdims)) / total
    return (out, total) if returned else out


@implements(np.ptp)
def ptp(a, axis=None, keepdims=False):
    return np.max(a, axis=axis, keepdims=asked(keepdims)) - np.min(a, axis=axis, keepdims=asked(keepdims))


@implements(np.cumsum)
def cumsum(a, axis=None, dtype=None):
    x, axis = along(a, axis)
    return _as_asked(r.cumsum(x if dtype is None else astype(x, dtype), axis=axis), dtype)


@implements(np.cumprod)
def cumprod(a, axis=None, dtype=None):
    x, axis = along(a, axis)
    return _as_asked(r.cumprod(x if dtype is None else astype(x, dtype), axis=axis), dtype)


def _cumulative(scan, start):
    def cumulative(x, /, *, axis=None, dtype=None, include_initial=False):
        x = np.atleast_1d(operand(x))
        axis = axis_of(0 if axis is None and x.ndim == 1 else axis, x.ndim)
        out = scan(x, axis, dtype)
        if not include_initial:
            return out
        return np.concatenate([np.full([1 if k == axis else n for k, n in enumerate(out.shape)], start, out.dtype), out], axis)
    return cumulative


implements(np.cumulative_sum)(_cumulative(cumsum, 0))
implements(np.cumulative_prod)(_cumulative(cumprod, 1))


def _position(primitive):
    def find(a, axis=None, *, keepdims=False):
        a = operand(a)
        axis = axis if axis is None else axis_of(axis, a.ndim or 1)
        out = primitive(a, axis=axis if a.ndim else None)                        # a number is one entry
        return np.reshape(out, reduced_shape(a, axis, True)) if asked(keepdims) else out
    return find


implements(np.argmax)(_position(r.argmax))
implements(np.argmin)(_position(r.argmin))


@implements(np.argsort)
def argsort(a, axis=-1, kind=None, order=None, *, stable=None):
    a, axis = along(a, axis)
    return r.argsort(a, axis=axis)


@implements(np.lexsort)
def lexsort(keys, axis=-1):
    keys = [operand(k) for k in keys]                                    # the last one counts most: a stable sort each
    if np.ndim(keys[0]) == 0:
        return np.zeros((), np.intp)[()]
    order = np.argsort(keys[0], axis, kind="stable")
    for key in keys[1:]:
        order = np.take_along_axis(order, np.argsort(np.take_along_axis(key, order, axis), axis, kind="stable"), axis)
    return order


@implements(np.sort)
def sort(a, axis=-1, kind=None, order=None, *, stable=None):
    a = np.ravel(a) if axis is None else a
    axis = axis_of(-1 if axis is None else axis, a.ndim)
    return np.take_along_axis(a, r.argsort(a, axis=axis), axis)


@implements(np.count_nonzero)
def count_nonzero(a, axis=None, *, keepdims=False):
    return np.sum(astype(e.not_equal(a, 0), np.intp), axis=axis, keepdims=asked(keepdims))


@implements(np.linalg.norm)
def norm(x, ord=None, axis=None, keepdims=False):
    x = operand(x)
    axes = axes_of(axis, x.ndim)
    pair = axes if axis is None else axis                # in the order that is asked for: rows, columns
    if ord is None or ord == "fro" and len(axes) == 2 or ord == 2 and len(axes) == 1:
        return norm_of(total(squares(x), axes, keepdims=keepdims))
    if len(axes) == 2 and ord in (1, -1, np.inf, -np.inf):
        row, column = pair if abs(ord) == 1 else pair[::-1]
        sums = np.sum(e.absolute(x), axis=row, keepdims=True)
        out = _outermost(sums, ord, axis=column, keepdims=True)
        return np.reshape(out, reduced_shape(x, axes, keepdims))
    if len(axes) == 2 and ord in (2, -2, "nuc"):
        row, column = [axis_of(k, x.ndim) for k in pair]
        s = np.linalg.svdvals(np.moveaxis(x, (row, column), (-2, -1)))                  # whose norm it is: so are its kinks, at 0 and among equal ones
        out = _vector_norm(s, (s.ndim - 1,), False, {"nuc": 1, 2: np.inf, -2: -np.inf}[ord])
        return np.reshape(out, reduced_shape(x, axes, keepdims))
    if len(axes) != 1 or isinstance(ord, str):
        raise refuse(TypeError, f"numpy.linalg.norm{{here}}: ord={ord!r} of {'a matrix' if len(axes) == 2 else f'{len(axes)} axes'} is not supported on traced "
                                "values: there are None, 'fro', 'nuc', 1, -1, 2, -2, inf and -inf for matrices, numbers for vectors")
    return _vector_norm(x, axes, keepdims, ord)


def _outermost(sizes, ord, **how):
    """The largest, which is 0 of none at all, or (ord < 0) the smallest."""
    return np.min(sizes, **how) if ord < 0 else np.max(sizes, **how) if sizes.size else np.max(sizes, initial=0, **how)


def _vector_norm(x, axes, keepdims, ord):
    size = e.absolute(x)
    if ord in (np.inf, -np.inf):
        return _outermost(size, ord, axis=axes, keepdims=asked(keepdims))
    if ord == 0:
        return np.sum(astype(e.not_equal(x, 0), size.dtype), axis=axes, keepdims=asked(keepdims))
    if ord == 1:
        return np.sum(size, axis=axes, keepdims=asked(keepdims))
    if ord == 2:
        return norm_of(total(squares(x), axes, keepdims=keepdims))
    powers = e.power(size, ord)
    if ord < 1:                                              # infinitely steep at entries of 0, on both sides: the middle of all slopes there
        zero = e.equal(x, 0)
        powers = e.where(zero, e.stop_gradient(powers), e.power(e.where(zero, 1.0, size), ord))
    powers = np.sum(powers, axis=axes, keepdims=asked(keepdims))
    zero = e.equal(powers, 0)
    return e.where(zero, np.inf if ord < 0 else powers, e.power(e.where(zero, 1.0, powers), 1 / ord))


@implements(np.linalg.vector_norm)
def vector_norm(x, /, *, axis=None, keepdims=False, ord=2):
    x = operand(x)
    return _vector_norm(x, axes_of(axis, x.ndim), keepdims, ord)


@implements(np.linalg.matrix_norm)
def matrix_norm(x, /, *, keepdims=False, ord="fro"):
    return norm(x, ord, (-2, -1), keepdims)
