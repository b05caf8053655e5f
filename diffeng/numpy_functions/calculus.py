"""Differences, integrals and polynomials of sampled functions: np.gradient, np.trapezoid, np.convolve, np.polyval, ..."""
import numpy as np

from ..constants import PI
from ..errors import refuse
from ..numpy_api import arrayed, axes_of, axis_of, getitem, operand, plain
from ..ufunc_dtypes import cast, result_type
from ..vocabulary import elementwise as e
from .table import counted, implements

FEW = 16                                   # entries of a kernel up to which a convolution is a sum of slices, which are not copied
BEFORE = (2, 66), (4, 200), (8, 1500), (16, 6000), (64, float("inf"))          # how many products beside one longer ones are, up to so many entries


def _along(x, axis, index):
    return getitem(x, (slice(None),) * axis + (index,))


@implements(np.diff)
def diff(a, n=1, axis=-1, prepend=None, append=None):
    x = operand(a)
    axis = axis_of(axis, x.ndim)
    ends = [None if v is None or v is np._NoValue else operand(v) for v in (prepend, append)]
    ends = [v if v is None or np.ndim(v) else np.broadcast_to(v, x.shape[:axis] + (1,) + x.shape[axis + 1:]) for v in ends]
    if ends[0] is not None or ends[1] is not None:
        x = np.concatenate([p for p in (ends[0], x, ends[1]) if p is not None], axis=axis)
    less = e.not_equal if x.dtype == bool else e.subtract
    for _ in range(counted(n, "diff n")):
        x = less(_along(x, axis, slice(1, None)), _along(x, axis, slice(None, -1)))
    return x


@implements(np.ediff1d)
def ediff1d(ary, to_end=None, to_begin=None):
    ary = np.ravel(arrayed(ary))
    parts = [to_begin, ary[1:] - ary[:-1], to_end]
    return np.concatenate([cast(np.ravel(arrayed(p)), ary.dtype) for p in parts if p is not None])


@implements(np.trapezoid)
def trapezoid(y, x=None, dx=1.0, axis=-1):
    y = operand(y)
    axis = axis_of(axis, y.ndim)
    width = dx
    if x is not None:
        x = operand(x)
        width = diff(x, axis=0 if x.ndim == 1 else axis)
        width = np.reshape(width, [-1 if k == axis else 1 for k in range(y.ndim)]) if x.ndim == 1 else width
    return np.sum(width * (_along(y, axis, slice(1, None)) + _along(y, axis, slice(None, -1))) / 2, axis=axis)


@implements(np.gradient)
def gradient(f, *varargs, axis=None, edge_order=1):
    f = operand(f)
    f = cast(f, np.float64) if f.dtype.kind in "iu" else f               # differences of integers without a sign would wrap
    axes = tuple(axis_of(k, f.ndim) for k in axis) if isinstance(axis, (tuple, list)) else axes_of(axis, f.ndim)
    steps = list(varargs) * len(axes) if len(varargs) == 1 else list(varargs) or [1.0] * len(axes)
    if len(steps) != len(axes):
        raise refuse(TypeError, f"gradient{{here}}: {len(steps)} spacings for {len(axes)} axes: give one an axis, or one for all")
    if edge_order not in (1, 2) or any(f.shape[k] < edge_order + 1 for k in axes):
        raise refuse(ValueError, f"gradient{{here}}: edge_order={edge_order} needs {edge_order + 1} entries along an axis, the shape is {f.shape}; "
                                 "edge_order is 1 or 2")
    out = [cast(_slope(f, operand(h), k, edge_order), f.dtype) for h, k in zip(steps, axes)]
    return out[0] if len(out) == 1 else tuple(out)


def _slope(f, h, axis, edge_order):
    """Differences of second order at points of one distance h, or of others (Fornberg, Math. Comp. 51, 1988)."""
    n = f.shape[axis]
    if np.ndim(h) == 0:
        inner = (_along(f, axis, slice(2, None)) - _along(f, axis, slice(None, -2))) / (2 * h)
        first, last = [(_along(f, axis, slice(k + 1, k + 2)) - _along(f, axis, slice(k, k + 1))) / h for k in (0, n - 2)]
    else:
        h = diff(cast(h, np.float64) if h.dtype.kind in "iu" else h)
        h = np.reshape(h, [-1 if k == axis else 1 for k in range(f.ndim)])
        slope = diff(f, axis=axis) / h                                   # (..., n - 1, ...): of each interval
        left, right = _along(h, axis, slice(None, -1)), _along(h, axis, slice(1, None))
        inner = (right * _along(slope, axis, slice(None, -1)) + left * _along(slope, axis, slice(1, None))) / (left + right)
        first, last = _along(slope, axis, slice(0, 1)), _along(slope, axis, slice(n - 2, n - 1))
    if edge_order == 2:                                                  # the parabola through the three points at the edge
        first = 2 * first - _along(inner, axis, slice(0, 1)) if n == 3 else first - (_along(inner, axis, slice(0, 1)) - first)
        last = last - (_along(inner, axis, slice(n - 3, n - 2)) - last)
    return np.concatenate([first, inner, last], axis=axis)


@implements(np.unwrap)
def unwrap(p, discont=None, axis=-1, period=None):
    p, turn = arrayed(p), 2 * PI if period is None else period
    dtype = result_type(p, 2 * np.pi if period is None else period)
    axis = axis_of(axis, p.ndim)
    step, p = cast(e.stop_gradient(diff(p, axis=axis)), dtype) / turn, cast(p, dtype)            # in periods
    whole = np.floor(step + 0.5)
    whole = e.where(e.logical_and(e.equal(whole - step, 0.5), e.greater(step, 0)), whole - 1, whole)             # half a period up stays one
    if discont is not None:
        whole = e.where(e.less(e.absolute(step), discont / turn), 0.0, whole)
    before = np.zeros([1 if k == axis else n for k, n in enumerate(p.shape)], dtype)
    return p - cast(np.concatenate([before, np.cumsum(whole, axis=axis)], axis=axis) * turn, dtype)


@implements(np.convolve)
def convolve(a, v, mode="full"):
    a, v = _sequences("convolve", a, v)
    a, v = (v, a) if v.size > a.size else (a, v)
    return _part(_full(a, v), a.size, v.size, mode, (v.size - 1) // 2)


@implements(np.correlate)
def correlate(a, v, mode="valid"):
    a, v = _sequences("correlate", a, v)
    m, n = sorted((a.size, v.size))
    return _part(_full(a, v[::-1].conj()), n, m, mode, m // 2 if v.size > a.size else (m - 1) // 2)


def _sequences(name, a, v):
    a, v = np.atleast_1d(operand(a)), np.atleast_1d(operand(v))
    if a.ndim > 1 or v.ndim > 1 or not a.size or not v.size:
        raise refuse(ValueError, f"{name}{{here}}: sequences of one axis and at least one entry are needed, there are {a.shape} and {v.shape}; for several rows see diffeng.vmap")
    return a, v


def _full(a, v):
    """sum_j a[i - j] v[j]: a few shifted copies of a, or products of matrices. What is not finite would be multiplied by their zeros: it is every window of a, padded,
    against v turned round then; and where nobody can look (many examples, a loop's body) results that it reaches are NaN."""
    m, n = v.shape[0], a.shape[0]
    if m <= FEW:
        padded = np.pad(a, m - 1)
        return sum([padded[j:j + n + m - 1] * v[m - 1 - j] for j in range(1, m)], padded[:n + m - 1] * v[m - 1])
    fine = [np.isfinite(x) for x in (a, v)]
    try:
        finite = all([x.dtype.kind in "iub" or bool(np.all(f)) for x, f in zip((a, v), fine)])
    except TypeError:                                                       # of who cannot look
        bad = [np.cumsum(np.pad(~f, (k, k - 1))) for f, k in zip(fine, (m, n))]
        bad = (bad[0][m:] != bad[0][:-m]) | (bad[1][n:] != bad[1][:-n])
        return np.where(bad, np.nan, _by_products(*[np.where(f, x, x.dtype.type(0)) for f, x in zip(fine, (a, v))]))
    if finite:
        return _by_products(a, v)
    return np.take(np.pad(a, m - 1), np.arange(n + m - 1)[:, None] + np.arange(m)) @ v[::-1]                # (n + m - 1, m) @ (m,)


def _by_products(a, v):
    """Rows of a, those that reach a row of the result and itself, by matrices whose diagonals are entries of v (Toeplitz's)."""
    m, n = v.shape[0], a.shape[0]
    before = next(k for k, most in BEFORE if m <= most)
    side = -(-(m - 1) // (8 * before)) * 8                                   # whole vectors
    rows = -(-(n + m - 1) // side)
    index = np.arange(side) + before * side - np.arange((before + 1) * side)[:, None]
    matrices = np.pad(v, (0, 1))[np.where((index < 0) | (index > m), m, index).reshape(before + 1, side, side)]
    a = np.pad(a, (before * side, rows * side - n)).reshape(rows + before, side)
    return sum([a[k:k + rows] @ matrices[k] for k in range(1, before + 1)], a[:rows] @ matrices[0]).reshape(-1)[:n + m - 1]


def _part(full, n, m, mode, start):
    """Of the full result the middle n entries ("same"), or those where both overlap wholly ("valid")."""
    if mode not in ("full", "same", "valid"):
        raise refuse(ValueError, f"convolve{{here}}: mode={mode!r}: choose one of 'full', 'same', 'valid'")
    return full if mode == "full" else full[start:start + n] if mode == "same" else full[m - 1:n]


@implements(np.polyval)
def polyval(p, x):
    p, x = arrayed(p), arrayed(x)
    y = np.zeros(x.shape, x.dtype)
    for k in range(p.shape[0]):
        y = y * x + p[k]
    return y


@implements(np.polyder)
def polyder(p, m=1):
    p = operand(p)
    for _ in range(counted(m, "polyder m")):
        p = p[:-1] * np.arange(p.shape[0] - 1, 0, -1)
    return p


@implements(np.polyint)
def polyint(p, m=1, k=None):
    p, constants, m = np.atleast_1d(operand(p)), np.atleast_1d(arrayed(0 if k is None else k)), counted(m, "polyint m")
    if constants.shape[0] < m and constants.shape != (1,):
        raise refuse(ValueError, f"polyint{{here}}: {m} integrations and constants of shape {constants.shape}: give one for all, or {m}")
    for constant in np.broadcast_to(constants, (m,)) if constants.shape == (1,) else constants[:m]:
        p = np.append(p / np.arange(p.shape[0], 0, -1), constant)
    return p


@implements(np.poly)
def poly(seq_of_zeros):
    z = operand(seq_of_zeros)
    z = z if z.dtype.kind in "fc" else cast(z, np.float64)
    if z.ndim != 1:
        raise refuse(TypeError, "poly{here}: of traced values only the roots make a polynomial; a matrix would need its eigenvalues")
    out = np.ones(1, z.dtype)
    for k in range(z.size):
        out = np.concatenate([out, np.zeros(1, z.dtype)]) - z[k] * np.concatenate([np.zeros(1, z.dtype), out])
    return out


@implements(np.polyfit)
def polyfit(x, y, deg, rcond=None, full=False, w=None, cov=False):
    if full or cov:
        raise refuse(TypeError, "polyfit{here}: full= and cov= are not supported on traced values; de.linalg.inv(A.T @ A) of A = np.vander(x, deg + 1) has the variances")
    x, y = arrayed(x) + 0.0, arrayed(y) + 0.0
    deg = int(deg)
    if deg < 0 or x.ndim != 1 or not x.size or y.ndim not in (1, 2) or x.shape[0] != y.shape[0]:
        raise refuse(ValueError, f"polyfit{{here}}: degree {deg} through points of shape {x.shape} and values of shape {y.shape}: give a degree >= 0, a row of points, and "
                                 "a row or rows of as many values")
    weights = np.ones(x.shape, x.dtype) if w is None else arrayed(w)
    powers = cast(vander(x, deg + 1) * weights[:, None], x.dtype)
    scale = np.sqrt(np.sum(e.square(e.stop_gradient(powers)), axis=0))                  # columns of one length: better conditioned
    found = np.linalg.lstsq(powers / scale, cast((y.T * weights).T, y.dtype), rcond=x.size * np.finfo(x.dtype).eps if rcond is None else rcond)[0]
    return (found.T / scale).T


@implements(np.polydiv)
def polydiv(u, v):
    u, v = (np.atleast_1d(operand(p)) + 0.0 for p in (u, v))
    n, rest, scale, quotient = v.shape[0], cast(u, result_type(u, v)), 1 / v[0], []
    for k in range(u.shape[0] - n + 1):
        quotient.append(cast(scale * rest[k], rest.dtype))
        rest = np.concatenate([rest[:k], cast(rest[k:k + n] - quotient[k] * v, rest.dtype), rest[k + n:]])
    quotient = np.stack(quotient) if quotient else np.zeros(1, rest.dtype)
    value = plain(rest)                                                                 # as NumPy leaves it: without what vanishes in front
    return quotient, rest[next((k for k, c in enumerate(value[:-1]) if not np.allclose(c, 0, rtol=1e-14)), len(value) - 1):]


@implements(np.polymul)
def polymul(a1, a2):
    return convolve(a1, a2)


@implements(np.polyadd)
def polyadd(a1, a2):
    return _lengthened(a1, a2) + _lengthened(a2, a1)


@implements(np.polysub)
def polysub(a1, a2):
    return _lengthened(a1, a2) - _lengthened(a2, a1)


def _lengthened(p, q):
    p = np.atleast_1d(operand(p))
    return np.pad(p, (max(np.size(q) - p.size, 0), 0))


@implements(np.vander)
def vander(x, N=None, increasing=False):
    x = operand(x)
    n = x.shape[0] if N is None else N
    return e.power(x[:, None], np.arange(n) if increasing else np.arange(n)[::-1])


for _f in vars(np.polynomial.polynomial).values():               # its code is generic (buffers.py); NumPy 2.4 has begun to ask the arguments of some of it
    if type(_f) is type(np.sum):
        implements(_f)(_f._implementation)
