"""NumPy expressions of one array that diffeng must run as NumPy does: used by several test files.

Each entry: (name, function of x with shape (3, 4)); every value is a smooth function of x near X.
"""
import numpy as np
import scipy.special

X = np.random.default_rng(7).uniform(0.3, 1.4, (3, 4))
W = np.random.default_rng(8).uniform(0.3, 1.4, (4, 2))


def filled(x):
    a = np.zeros((2, 3))
    a[0] = x[:, 1]
    a[1, :2] = x[0, :2] * 2
    a[1, 2] = 1.0
    return a * a


def recurrence(x):
    u = np.empty(5)
    u[0] = x[0, 0]
    for k in range(1, 5):
        u[k] = np.sin(u[k - 1]) + x[1, 1]
    return u


def in_place(x):
    y = x.copy()
    y[1:] += y[:-1] * 2
    y *= 1.5
    z = y.T
    z[0, 0] = x[2, 2] ** 2
    return y


def stencil(x):
    u = x.copy()
    u[:, 1:-1] += 0.1 * (u[:, 2:] - 2 * u[:, 1:-1] + u[:, :-2])
    return u


def sorted_rows(x):
    y = x.copy()
    y.sort()
    return y * np.arange(4)


def newton(x):
    y = x[0, 0]
    while abs(y * y - x[0, 0]) > 1e-13:
        y = 0.5 * (y + x[0, 0] / y)
    return y


def masked(x):
    y = x * 2
    y[x > 0.8] = 0.5
    return y ** 2


def accumulate_list(x):
    parts = []
    for row in x:
        parts.append(row * len(parts))
    return np.array(parts).sum(axis=0)


def total_of(x):
    total = 0.0
    for v in x.ravel():
        total += v ** 2
    return total


EXPRESSIONS = [
    ("polynomial", lambda x: x**3 - 2 * x**2 + x / 3 - 1), ("power both", lambda x: x ** (x + 1)), ("scalar power", lambda x: 2.0 ** x), ("sqrt", np.sqrt),
    ("exp log", lambda x: np.exp(-x) * np.log(x) + np.log1p(x) * np.expm1(x)), ("trig", lambda x: np.sin(x) * np.cos(x) + np.tan(x / 2)),
    ("inverse", lambda x: np.arcsin(x / 2) + np.arccos(x / 3) + np.arctan(x)), ("hyper", lambda x: np.sinh(x) * np.cosh(x) + np.tanh(x)),
    ("inverse hyper", lambda x: np.arcsinh(x) + np.arccosh(x + 1) + np.arctanh(x / 2)), ("atan2 hypot", lambda x: np.arctan2(x, x[0]) + np.hypot(x, 2.0)),
    ("special", lambda x: scipy.special.erf(x) + scipy.special.expit(x) + scipy.special.erfc(x) + scipy.special.log_expit(x) + scipy.special.xlogy(x, x)),
    ("logit", lambda x: scipy.special.logit(x / 2)), ("ndtr", lambda x: scipy.special.ndtr(x)), ("entr", lambda x: scipy.special.entr(x)),
    ("logs", lambda x: np.log2(x) + np.log10(x) + np.exp2(x) + np.cbrt(x)), ("logaddexp", lambda x: np.logaddexp(x, x[0])),
    ("logaddexp2", lambda x: np.logaddexp2(x, 1.0)),
    ("square", lambda x: np.square(x) + np.reciprocal(x) - np.abs(-x)), ("fabs", np.fabs), ("positive", lambda x: +x), ("mod", lambda x: (x + 3) % 0.7),
    ("fmod", lambda x: np.fmod(x + 3, 0.7)),
    ("divmod", lambda x: divmod(x + 3, 0.7)[1]), ("floor", lambda x: x * np.floor(x * 5) + (x // 0.1) * x),
    ("degrees", lambda x: np.deg2rad(x) + np.degrees(x)),
    ("maximum", lambda x: np.maximum(x, 0.8) + np.minimum(x, x[::-1] * 1.1)), ("fmax", lambda x: np.fmax(x, 0.8) + np.fmin(x, 0.9)),
    ("clip", lambda x: np.clip(x, 0.5, 1.0) * x),
    ("where", lambda x: np.where(x > 0.8, x**2, np.sin(x))), ("select", lambda x: np.select([x > 1.0, x > 0.6], [x, x**2], x**3)),
    ("sign", lambda x: np.sign(x - 0.8) * x),
    ("copysign", lambda x: np.copysign(x, x - 0.8)), ("heaviside", lambda x: np.heaviside(x - 0.8, 0.5) * x), ("nan_to_num", lambda x: np.nan_to_num(x) * 2),
    ("sinc", np.sinc),
    ("sum", lambda x: np.sum(x) * np.sum(x, axis=1)), ("sum tuple", lambda x: np.sum(x * x, axis=(0, 1), keepdims=True)),
    ("sum where", lambda x: np.sum(x, where=X > 0.8)),
    ("mean", lambda x: np.mean(x, axis=0) ** 2 + x.mean()), ("var", lambda x: np.var(x) + np.var(x, axis=1, ddof=1).sum()), ("std", lambda x: x.std(axis=0)),
    ("prod", lambda x: np.prod(x, axis=1) + x.prod()), ("max", lambda x: np.max(x, axis=0) * x.max()), ("min", lambda x: np.amin(x) + x.min(axis=1)),
    ("ptp", lambda x: np.ptp(x, axis=0)),
    ("average", lambda x: np.average(x, axis=0, weights=np.array([1.0, 2.0, 3.0])[:, None] * np.ones((3, 4)))),
    ("median", lambda x: np.median(x, axis=0) + np.median(x)),
    ("norm", lambda x: np.linalg.norm(x) + np.linalg.norm(x, axis=1)[0]), ("cumsum", lambda x: np.cumsum(x) * np.cumsum(x, axis=0).ravel()),
    ("cumprod", lambda x: np.cumprod(x, axis=1)),
    ("diff", lambda x: np.diff(x, axis=0) ** 2), ("sort", lambda x: np.sort(x, axis=0) * np.arange(12).reshape(3, 4)),
    ("argsort", lambda x: x.ravel()[np.argsort(x.ravel())] * np.arange(12)),
    ("argmax", lambda x: x[0, np.argmax(x[0])] ** 2), ("logsumexp by hand", lambda x: np.log(np.sum(np.exp(x - np.max(x)))) + np.max(x)),
    ("reshape", lambda x: x.reshape(2, -1) ** 2 + np.reshape(x, (2, 6))), ("ravel", lambda x: x.ravel() * x.flatten()),
    ("transpose", lambda x: x.T @ x + np.transpose(x) @ x),
    ("swapaxes", lambda x: np.swapaxes(x, 0, 1) * x.swapaxes(0, 1)), ("moveaxis", lambda x: np.moveaxis(x[None] * x[:, None], 0, 2)),
    ("rollaxis", lambda x: np.rollaxis(x[None] * 2, 2)),
    ("expand", lambda x: np.expand_dims(x, 1) * x[:, None] + np.squeeze(x[None])[:, None]), ("broadcast", lambda x: np.broadcast_to(x[0], (3, 4)) * x),
    ("newaxis", lambda x: x[..., None] * x[:, None, :]),
    ("concatenate", lambda x: np.concatenate([x, x**2], axis=1)), ("concat none", lambda x: np.concatenate([x, x[0:1]], axis=None)),
    ("stack", lambda x: np.stack([x, 2 * x], axis=-1) ** 2),
    ("hstack", lambda x: np.hstack([x, x])), ("vstack", lambda x: np.vstack([x[0], x])), ("column_stack", lambda x: np.column_stack([x[:, 0], x])),
    ("append", lambda x: np.append(x, x[0])),
    ("split", lambda x: np.split(x, 2, axis=1)[1] ** 2), ("array_split", lambda x: np.array_split(x, 3, axis=1)[0] ** 2),
    ("hsplit index", lambda x: np.split(x, [1, 3], axis=1)[1]),
    ("pad", lambda x: np.pad(x, ((1, 0), (0, 2))) ** 2), ("pad value", lambda x: np.pad(x, 1, constant_values=2.0)),
    ("flip", lambda x: np.flip(x, 0) * x + x[:, ::-1]),
    ("roll", lambda x: np.roll(x, 1, axis=0) * x + np.roll(x, 2)), ("tile", lambda x: np.tile(x, (2, 1)) ** 2),
    ("repeat", lambda x: np.repeat(x, 2, axis=1) ** 2 + np.repeat(x, 2).reshape(3, 8)),
    ("tril", lambda x: np.tril(x) @ W + np.triu(x, 1) @ W), ("diag", lambda x: np.diag(x[0]) @ x.T + np.diag(x).sum()),
    ("trace", lambda x: np.trace(x) * np.diagonal(x)),
    ("getitem", lambda x: x[1] * x[:, 1].sum() + x[-1, -1]), ("fancy", lambda x: x[[0, 0, 2], [1, 1, 3]] ** 2),
    ("fancy rows", lambda x: x[np.array([2, 0, 0])] ** 2), ("mask", lambda x: x[X > 0.8] ** 2),
    ("take", lambda x: np.take(x, [0, 5, 5]) + np.take(x, [1, 1, 2], axis=1)[0]), ("take_along", lambda x: np.take_along_axis(x, np.argsort(X, 1), 1) ** 2),
    ("ellipsis", lambda x: x[..., 0] * x[..., 1:2].T),
    ("compress", lambda x: np.compress([True, False, True], x, axis=0) ** 2), ("interp", lambda x: np.interp(x, [0.0, 0.7, 2.0], [0.0, 1.0, 5.0])),
    ("matmul", lambda x: x @ W), ("matvec", lambda x: x @ W[:, 0]), ("vecmat", lambda x: x[:, 0] @ x), ("vecvec", lambda x: x[0] @ x[1]),
    ("batched", lambda x: (x[None] * np.ones((2, 1, 1))) @ W),
    ("batched both", lambda x: (x[:, None, :] * np.ones((3, 2, 4))) @ (x[:, :, None] * W[None])), ("dot", lambda x: np.dot(x, W) + x.dot(W)),
    ("dot 1d", lambda x: np.dot(x[0], x[1])), ("dot scalar", lambda x: np.dot(x, 2.0)),
    ("dot nd", lambda x: np.dot(x[None] * np.ones((2, 1, 1)), W)), ("inner", lambda x: np.inner(x, x)), ("outer", lambda x: np.outer(x[0], x[1])),
    ("vdot", lambda x: np.vdot(x, x)),
    ("tensordot", lambda x: np.tensordot(x, x, axes=([0], [0])) + np.tensordot(x, W, 1).sum()),
    ("tensordot two", lambda x: np.tensordot(x[None], x, axes=([1, 2], [0, 1]))), ("kron", lambda x: np.kron(x[:2, :2], x[:2, :2])),
    ("einsum", lambda x: np.einsum("ij,jk->ik", x, W)), ("einsum trace", lambda x: np.einsum("ii->i", x[:, :3] * 1.0) ** 2),
    ("einsum three", lambda x: np.einsum("ij,ik,il->jkl", x, x, x)),
    ("einsum sum", lambda x: np.einsum("ij->", x) ** 2), ("einsum ellipsis", lambda x: np.einsum("...j,jk->...k", x, W)),
    ("einsum implicit", lambda x: np.einsum("ij,jk", x, W)), ("cross", lambda x: np.cross(x[:, :3], x[:, 1:])),
    ("multi_dot", lambda x: np.linalg.multi_dot([x, W, W.T])), ("vecdot", lambda x: np.vecdot(x, x)), ("array", lambda x: np.array([x[0, 0], x[1, 1] ** 2])),
    ("array 2d", lambda x: np.array([[x[0, 0], 1.0], [2.0, x[1, 1]]]) @ W[:2]),
    ("asarray", lambda x: np.asarray(x) * 2), ("full_like", lambda x: np.full_like(x, x[0, 0]) * x),
    ("full_like plain", lambda x: np.full_like(np.ones(3), x[0, 0])), ("full", lambda x: np.full((2, 2), x[0, 0])),
    ("zeros_like", lambda x: np.zeros_like(x) + x), ("linspace", lambda x: np.linspace(x[0, 0], x[1, 1], 4)),
    ("meshgrid", lambda x: np.meshgrid(x[0], x[1])[0] * 2), ("astype", lambda x: x.astype(np.float64) ** 2),
    ("methods", lambda x: x.cumsum().sum() + x.squeeze().dot(W).prod() + x.take([0]).sum()), ("iteration", lambda x: sum(row[0] ** 2 for row in x)),
    ("reduce", lambda x: np.add.reduce(x, axis=1) * np.multiply.reduce(x[:, 0])),
    ("ufunc outer", lambda x: np.multiply.outer(x[0], x[1])), ("maximum.reduce", lambda x: np.maximum.reduce(x)),
    ("add.accumulate", lambda x: np.add.accumulate(x, axis=1)), ("item", lambda x: x[0, 0].item() * x[1, 1]),
    ("list operand", lambda x: x + [1.0, 2.0, 3.0, 4.0]), ("reflected", lambda x: 1.0 / x + 2 - x + (3 - x) * np.float64(2)),
    ("plain left", lambda x: W.T @ x[0] + np.ones(2) * x[0, 0]), ("float()", lambda x: x * (1.0 if float(x[0, 0]) > 0 else 2.0)),
    ("filled", filled), ("recurrence", recurrence), ("in place", in_place), ("stencil", stencil), ("sorted", sorted_rows), ("newton", newton),
    ("masked", masked), ("list of rows", accumulate_list), ("total", total_of),
]
