"""One informative example of every primitive: operands where the derivative is far from 0, and parameters. For tests, planted faults and cards.

Elementwise primitives need no entry: their domain says where to look. Everything else has a row; a new primitive without one fails the completeness test.
"""
import numpy as np

from . import numpy_api          # noqa: F401  the vocabulary must be there
from .nodes import Primitive
from .vocabulary.indexing import Slot

# name: (shapes of the operands with a derivative, parameters, further operands)
_ROWS = {
    "sum":          ([(3, 4)], dict(axis=(1,), keepdims=False), []),
    "mean":         ([(3, 4)], dict(axis=(0,), keepdims=True), []),
    "var":          ([(3, 4)], dict(axis=(0, 1), keepdims=False, ddof=1), []),
    "prod":         ([(2, 3)], dict(axis=(1,), keepdims=False), []),
    "max":          ([(3, 4)], dict(axis=(1,), keepdims=False), []),
    "min":          ([(3, 4)], dict(axis=(0,), keepdims=False), []),
    "logsumexp":    ([(3, 4)], dict(axis=(1,), keepdims=True), []),
    "cumsum":       ([(3, 4)], dict(axis=1), []),
    "cumprod":      ([(2, 3)], dict(axis=1), []),
    "reshape":      ([(3, 4)], dict(shape=(2, 6)), []),
    "transpose":    ([(2, 3, 4)], dict(axes=(2, 0, 1)), []),
    "broadcast_to": ([(3, 1)], dict(shape=(2, 3, 4)), []),
    "concatenate":  ([(2, 3), (2, 2)], dict(axis=1), []),
    "stack":        ([(2, 3), (2, 3)], dict(axis=1), []),
    "pad":          ([(2, 3)], dict(widths=((1, 0), (0, 2)), value=0), []),
    "getitem":      ([(4, 3)], dict(index=(Slot(0), slice(1, None))), [np.array([0, 2, 2])]),
    "setitem":      ([(4, 3), (2, 3)], dict(index=(Slot(0),)), [np.array([3, 1])]),
    "add_at":       ([(4, 3), (3, 3)], dict(index=(Slot(0),)), [np.array([3, 1, 1])]),
    "scatter":      ([(3, 2)], dict(index=(Slot(0), slice(1, None)), shape=(4, 3)), [np.array([3, 1, 1])]),
    "matmul":       ([(2, 3, 4), (4, 2)], {}, []),
    "dot":          ([(3, 4), (4, 2)], {}, []),
    "tensordot":    ([(3, 4), (2, 4, 3)], dict(axes=((0, 1), (2, 1))), []),
    "einsum":       ([(3, 4), (4, 2), (3,)], dict(subscripts="ij,jk,i->ki"), []),
    "solve":        ([(2, 3, 3), (2, 3, 2)], {}, []),
    **dict.fromkeys(("inv", "det", "slogdet", "cofactor", "cholesky"), ([(2, 3, 3)], {}, [])), "eigh": ([(2, 3, 3)], dict(lower=True), []),
    **dict.fromkeys(("qr", "svd"), ([(2, 4, 3)], {}, [])),
    "fft":          ([(2, 5, 2)], dict(axes=(1,), inverse=False, norm="ortho"), []),
    "rfft":         ([(2, 3, 4)], dict(axes=(1, 2), norm="backward"), []),
    "irfft":        ([(2, 2, 3, 2)], dict(axes=(1, 2), n=5, norm="backward"), []),
    "astype":       ([(3,)], dict(dtype=np.dtype(float)), []),
}


def names():
    """Every primitive with a derivative."""
    return [n for n, p in Primitive.registry.items() if p.slots != () and p.kind not in ("input", "constant")]


def specimen(name, dtype=float, seed=0):
    """(operands, params, slots): call Primitive.registry[name](*operands, **params); slots are the operands with a derivative."""
    p = Primitive.registry[name]
    rng = np.random.default_rng([seed, *name.encode()])
    if name in _ROWS:
        shapes, params, more = _ROWS[name]
        lo, hi = p.domain[0] if p.domain else (0.3, 2.0)
        operands = [rng.uniform(lo, hi, s).astype(dtype) for s in shapes]
        if p.kind == "linalg":                # a matrix with a large diagonal is regular, and its symmetric part positive definite
            operands[0] += np.eye(*operands[0].shape[-2:], dtype=operands[0].dtype) * (1 + np.arange(operands[0].shape[-1], dtype=operands[0].dtype)) * 3
        return operands + more, params, list(range(len(shapes)))
    if name == "where":
        return ([np.array([[True, False, True], [False, True, False]])]
                + [rng.uniform(0.3, 2, (2, 3)).astype(dtype), rng.uniform(0.3, 2, (3,)).astype(dtype)], {}, [1, 2])
    if p.kind != "map":
        raise KeyError(f"{name}: add a row to diffeng/specimens.py")
    shapes = [(2, 3), (3,), (3,), (3,)]       # those behind the first are broadcast
    operands = [3.0 if k in p.held else _spread(rng, d, s).astype(dtype) for k, (d, s) in enumerate(zip(p.domain, shapes))]          # what is held is mostly a number
    return operands, {}, [k for k in range(len(p.domain)) if p.differentiable(k)]


def _spread(rng, domain, shape):
    """Points of the domain at some distance from each other: no ties."""
    n = int(np.prod(shape))
    lo, hi = domain
    return rng.permutation(lo + (hi - lo) * (np.arange(n) + rng.uniform(0.3, 0.7, n)) / n).reshape(shape)
