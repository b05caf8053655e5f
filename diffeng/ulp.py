"""accuracy: how many units in the last place a function of numbers, and its derivatives by every method, lose over a domain.

What it is: points of the domain, the judge's truth at each of them, and the worst distance from it. What it is not: no verdict on an operation (verdict.py): a
method that loses digits is right here, and its row says how many. Why a file: compare looks at one point, this over a range, where the points at which digits
are lost have to be found.
"""
from typing import NamedTuple

import numpy as np

from .judge import Judge
from .precise import precise, precision
from .trees import function_name

DIGITS = 40                    # of the truth
METHODS = ("symbolic", "forward", "reverse")


class Row(NamedTuple):
    """What: "value" or "d/dx0", "d/dx1", ... by which method: the worst error in units of the last place of the true value, and the arguments where it is.

    A NaN or an infinity in place of a number counts as infinitely many.
    """
    what: str
    method: str
    ulp: float
    at: tuple


class Accuracy:
    """What `accuracy` found. rows: of `Row`s. name: of the function. points: how many were looked at. open: for each "what", at how many points there is no
    truth to compare with (a kink, the edge of the domain, an infinite slope)."""

    def __init__(self, name, dtype, points, rows, open):
        self.name, self.dtype, self.points, self.rows, self.open = name, dtype, points, rows, open

    def __getitem__(self, key):
        """The Row of (what, method)."""
        return next(row for row in self.rows if (row.what, row.method) == key)

    @property
    def worst(self):
        """The row with the largest error."""
        return max(self.rows, key=lambda row: row.ulp)

    def __str__(self):
        lines = [f"{self.name}, {self.dtype}, {self.points} points: worst error in units of the last place", ""]
        lines += [f"{row.what:8} {row.method:20} {row.ulp:12.4g}   at {', '.join(format(float(x), '.9g') for x in row.at)}" for row in self.rows]
        lines += [f"{what}: no truth at {n} points" for what, n in self.open.items() if n]
        return "\n".join(lines)

    __repr__ = __str__


def accuracy(fun, domain, *, points=500, seed=0, dtype=float, methods=(*METHODS, "reverse (kernels)")):
    """The worst error of fun and of its derivatives over a domain, by method, in ULP: an `Accuracy`, which prints itself.

    fun: elementwise code on arrays (results of the shape of its arguments), of one or more numbers. domain: (low, high), or one such pair an argument;
    infinite ends mean the largest finite numbers. Half of the points are spread evenly over the interval, half evenly over the floating-point numbers in it, so
    that small ones are met, and both ends are among them. dtype: float64 or float32, of the arguments. methods: which are asked. Truths have 40 digits, by the
    judge's differences.

    Raises TypeError where fun is no function, ValueError for a domain that is no interval, and where fun is not elementwise.

    >>> import numpy as np, diffeng as de
    >>> found = de.accuracy(np.tanh, (-30, 30), points=50)
    >>> found["value", "reverse (kernels)"].ulp < 2, found["d/dx0", "forward"].ulp < 5
    (True, True)
    """
    import diffeng as de
    dtype, random = np.dtype(dtype), np.random.default_rng(seed)
    if not callable(fun):
        raise TypeError(f"accuracy needs a function, not {type(fun).__name__}")
    intervals = [domain] if np.ndim(domain) < 2 else list(domain)
    xs = [_points(random, interval, points, dtype) for interval in intervals]
    with np.errstate(all="ignore"):
        plain = fun(*xs)
        if np.shape(plain) != xs[0].shape:
            raise ValueError(f"accuracy: {function_name(fun)} returned shape {np.shape(plain)} for arguments of shape {xs[0].shape}: it must be elementwise")
        court, rows, open = Judge(lambda *x: [fun(*x)], xs, DIGITS), [], {}
        with precision(4 * DIGITS):
            truth = court.at(4 * DIGITS)[0]
        given = {"NumPy": plain, **({"reverse (kernels)": de.jit(fun)(*xs)} if "reverse (kernels)" in methods else {})}
        rows += [_row("value", name, got, truth, xs) for name, got in given.items()]
        for k, s in enumerate(court.scale):
            what, d = f"d/dx{k}", court.along([np.ones(x.shape) if j == k else None for j, x in enumerate(xs)])
            known = d.decided[0] & ~d.kink[0]
            open[what] = int(np.sum(~known))
            with precision(4 * DIGITS):
                truth = np.where(known, d.value[0].data / precise(s).data, None)
            for method in methods:
                rows.append(_row(what, method, _derivative(de, fun, xs, k, method), truth, xs))
    return Accuracy(function_name(fun), dtype, xs[0].size, rows, open)


def _derivative(de, fun, xs, k, method):
    """d fun / d x_k at every point: fun is elementwise, so the gradient of its sum is that."""
    if method == "forward":
        return de.jvp(lambda x: fun(*xs[:k], x, *xs[k + 1:]), (xs[k],), (np.ones_like(xs[k]),))[1]
    kernels = method == "reverse (kernels)"
    gradient = de.grad(lambda *x: np.sum(fun(*x)), argnums=k, method="reverse" if kernels else method)
    return (de.jit(gradient) if kernels else gradient)(*xs)


def _points(random, interval, count, dtype):
    top = float(np.finfo(dtype).max)
    ends = np.asarray(interval)
    if ends.shape != (2,) or ends.dtype.kind not in "fiu" or not ends[0] < ends[1]:
        raise ValueError(f"accuracy: the domain {interval!r} is no interval: give (low, high), or one such pair an argument")
    low, high = np.clip(ends.astype(float), -top, top).astype(dtype)
    t = random.uniform(0, 1, count // 2).astype(dtype)
    even = (low * (1 - t) + high * t).clip(low, high)
    ends = np.array([low, high])
    first, last = _place(ends)
    return np.concatenate([even, _float(random.integers(first, last, count - even.size, endpoint=True), dtype), ends])


def _place(x):
    """Floats as integers in the same order: neighbours differ by 1, and zero is 0."""
    bits = x.view(f"i{x.dtype.itemsize}").astype(np.int64)
    return np.where(x < 0, -(bits & (1 << 8 * x.dtype.itemsize - 1) - 1), bits)


def _float(place, dtype):
    return np.copysign(np.abs(place).astype(f"i{dtype.itemsize}").view(dtype), place.astype(dtype))


def _row(what, method, got, truth, xs):
    got = np.broadcast_to(got, truth.shape)
    error = np.array([0.0 if t is None else _ulps(g, t) for g, t in zip(got, truth)])
    k = int(np.argmax(error))
    return Row(what, method, float(error[k]), tuple(x[k] for x in xs))


def _ulps(got, ball):
    """Of a float from the truth; none for an infinity where the truth rounds to it, and where there is no truth."""
    if not ball.is_finite():
        return 0.0
    info = np.finfo(got.dtype)
    true = float(ball.mid())
    last = float(np.spacing(got.dtype.type(abs(true)))) if abs(true) < info.max else 2.0 ** (int(info.maxexp) - 1 - int(info.nmant))
    if not np.isfinite(got):
        return 0.0 if np.isinf(got) and abs(true) >= float(info.max) + last / 2 and (true > 0) == (got > 0) else np.inf
    with precision(4 * DIGITS):
        return float(abs(float(got) - ball).mid() / last)
