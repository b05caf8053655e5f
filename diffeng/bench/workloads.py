"""The workloads at their sizes: seeded inputs, what is asked of each, and how much work it is.

What it is not: no derivative and no timing. Why a file: sizes, seeds and formulas of work are what a table's reader checks.
"""
import dataclasses
import functools
import math

import numpy as np

from ..llm.config import GPT2Config
from ..llm.block import init
from . import functions


@dataclasses.dataclass(frozen=True)
class Work:
    """What a perfect program would have to do. flops: in matrix products, 2 a multiply-add. functions: elementary functions evaluated. bytes: of arrays that must be
    read or written once at least (None: arguments and results once each)."""
    flops: float = 0
    functions: float = 0
    bytes: float | None = None


@dataclasses.dataclass(frozen=True)
class Workload:
    """One row of the table. asks: "gradient" (value and gradient), "hvp" (gradient and Hessian-vector product) or "jacobian".
    inputs(random, **sizes) -> (parameters, data, static): what to differentiate by, what not, and Python constants."""
    name: str
    function: object
    inputs: object
    sizes: dict
    tiny: dict
    work: object = lambda **sizes: Work()
    asks: str = "gradient"
    dtype: str = "float64"
    small: bool = False                  # small: calls and not arithmetic are what costs

    def problem(self, sizes=None, dtype=None):
        """The problem at sizes (its own by default), its arrays of a dtype (its own by default); the seed is 0."""
        random, dtype = np.random.default_rng(0), np.dtype(dtype or self.dtype)
        parameters, data, static = self.inputs(random, **(sizes or self.sizes))
        parameters, data = as_dtype(parameters, np.dtype(self.dtype)), as_dtype(data, np.dtype(self.dtype))          # float32 data are the same numbers in float64
        tangents = as_dtype(tuple(apply(lambda a: random.normal(size=a.shape), p) for p in parameters), np.dtype(self.dtype)) if self.asks == "hvp" else None
        return Problem(self, as_dtype(parameters, dtype), as_dtype(data, dtype), static, as_dtype(tangents, dtype))


@dataclasses.dataclass(frozen=True)
class Problem:
    """A workload with its arrays."""
    workload: Workload
    parameters: tuple
    data: tuple
    static: dict
    tangents: tuple | None

    @property
    def argnums(self):
        """One parameter: 0; several: all of them."""
        return 0 if len(self.parameters) == 1 else tuple(range(len(self.parameters)))

    def bound(self, function=None):
        """function(*parameters, *data), its Python constants given."""
        function = function or self.workload.function
        return functools.partial(function, **self.static) if self.static else function


def apply(f, tree):
    """f of every array in nested tuples, lists and dicts."""
    if isinstance(tree, dict):
        return {k: apply(f, v) for k, v in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)(apply(f, v) for v in tree)
    return f(tree)


def leaves(tree):
    """The arrays in nested tuples, lists and dicts; dicts by sorted keys, since JAX returns them so."""
    if isinstance(tree, dict):
        return [x for k in sorted(tree) for x in leaves(tree[k])]
    if isinstance(tree, (tuple, list)):
        return [x for v in tree for x in leaves(v)]
    return [tree]


def as_dtype(tree, dtype):
    """Floating-point arrays in another dtype; integers stay."""
    return None if tree is None else apply(lambda a: np.asarray(a, dtype if np.asarray(a).dtype.kind == "f" else None), tree)


# ---- inputs ----------------------------------------------------------------------------------------------------------------------------

def _vector(random, n):
    return (random.normal(size=n),), (), {}


def _logistic(random, n, d):
    X, w = random.normal(size=(n, d)), random.normal(size=d) / d ** 0.5
    y = (random.random(n) < 1 / (1 + np.exp(-X @ w))).astype(float)
    return (random.normal(size=d) / d ** 0.5, np.array(0.1)), (X, y), {}


def _mlp(random, batch, widths):
    layers = [(random.normal(size=(a, b)) / a ** 0.5, random.normal(size=b) * 0.1) for a, b in zip(widths, widths[1:])]
    return (layers,), (random.normal(size=(batch, widths[0])), random.integers(widths[-1], size=batch)), {}


def _mixture(random, n, d, k):
    place = np.zeros((d, d), int)
    place.T[np.triu_indices(d, 1)] = 1 + np.arange(d * (d - 1) // 2)          # column after column, as in ADBench
    return (random.normal(size=k), random.random((k, d)), random.normal(size=(k, d + d * (d - 1) // 2)) * 0.5), (random.normal(size=(n, d)), place), {}


def _bundle(random, cameras, points, observations):
    rotation, centre = random.normal(size=(cameras, 3)) * 0.3, random.normal(size=(cameras, 3)) * 0.3 - [0, 0, 6]
    rest = np.column_stack([1 + random.random(cameras), random.normal(size=(cameras, 2)) * 0.1, random.normal(size=(cameras, 2)) * 0.01])
    seen = np.column_stack([random.integers(cameras, size=observations), random.integers(points, size=observations)])
    return ((np.column_stack([rotation, centre, rest]), random.normal(size=(points, 3)), random.random(observations)),
            (seen, random.normal(size=(observations, 2)) * 0.3), {})


def _lstm(random, steps, batch, inputs, hidden):
    W, U = random.normal(size=(inputs, 4 * hidden)) / inputs ** 0.5, random.normal(size=(hidden, 4 * hidden)) / hidden ** 0.5
    return (W, U, random.normal(size=4 * hidden) * 0.1), (random.normal(size=(steps, batch, inputs)), random.normal(size=(steps, batch, hidden)) * 0.5), {}


def _heat(random, n, steps):
    x = np.linspace(0, 1, n)
    return (np.sin(3 * x) + 0.1 * random.normal(size=n), 0.2 + 0.2 * random.random(n - 1)), (np.sin(3 * x),), {"steps": steps}


def _block(random, batch, context, width, heads):
    p = init(GPT2Config(emb_dim=width, n_heads=heads, n_layers=1).block_shapes, 1, random, np.float64)
    p = {name: a + random.normal(size=a.shape) * 0.02 for name, a in p.items()}          # biases and gains away from 0 and 1
    return (p, random.normal(size=(batch, context, width))), (), {"n_heads": heads}


def _square(random, n):
    return (random.normal(size=n),), tuple(random.normal(size=(n, n)) / n ** 0.5 for _ in range(2)), {}


# ---- work --------------------------------------------------------------------------------------------------------------------------------

def _mlp_flops(batch, widths):
    """Forward, gradient of each weight, gradient of each layer's input but the first's: the data."""
    products = [2 * batch * a * b for a, b in zip(widths, widths[1:])]
    return 3 * sum(products) - products[0]


def _mlp_work(batch, widths):
    return Work(_mlp_flops(batch, widths), batch * (sum(widths[1:-1]) + widths[-1]))


def _block_work(batch, context, width, heads):
    """Three times the forward products (the adjoint has two for each): 12 C^2 weights, and QK' and SV without use of the mask, as everybody counts."""
    tokens = batch * context
    forward = 2 * tokens * 12 * width ** 2 + 4 * batch * context ** 2 * width
    return Work(3 * forward, tokens * 4 * width + batch * heads * context * (context + 1) / 2)


def _lstm_work(steps, batch, inputs, hidden):
    product = 2 * steps * batch * 4 * hidden
    return Work(product * (2 * inputs + 3 * hidden), 5 * steps * batch * hidden)


def _gathered(cameras, points, observations):
    """Gathered and scattered: 14 numbers an observation each way, 3 more of its own, and indices."""
    return Work(functions=2 * observations, bytes=8 * observations * (14 * 2 + 1 * 2 + 2 + 2))


_MLP = dict(batch=256, widths=(64, 128, 128, 10))
_MLP_TINY = dict(batch=3, widths=(2, 4, 3, 2))
_SIZES = {"tiny": (2, 8, 16, 2), "small": (12, 64, 128, 4), "wide": (4, 64, 768, 12), "long": (1, 1024, 768, 12)}


def _workloads():
    f = functions
    for n in (2, 100, 100_000):
        yield Workload(f"rosenbrock-{n}", f.rosenbrock, _vector, dict(n=n), dict(n=min(n, 5)), small=n < 1000)
    for n in (10_000, 1_000_000):
        yield Workload(f"chain-{n}", f.chain, _vector, dict(n=n), dict(n=4), lambda n: Work(functions=7 * n))
    yield Workload("logistic", f.logistic, _logistic, dict(n=20_000, d=100), dict(n=5, d=3), lambda n, d: Work(4 * n * d, 2 * n))
    yield Workload("mlp", f.mlp, _mlp, _MLP, _MLP_TINY, _mlp_work)
    yield Workload("mixture", f.mixture, _mixture, dict(n=1000, d=10, k=25), dict(n=4, d=3, k=2),
                   lambda n, d, k: Work(6 * n * k * d * d, n * k, 8 * n * (k + d)))
    yield Workload("bundle", f.bundle, _bundle, dict(cameras=50, points=2000, observations=10_000), dict(cameras=2, points=3, observations=5), _gathered)
    yield Workload("lstm", f.lstm, _lstm, dict(steps=100, batch=16, inputs=32, hidden=64), dict(steps=3, batch=2, inputs=2, hidden=3), _lstm_work)
    yield Workload("heat", f.heat, _heat, dict(n=1000, steps=200), dict(n=6, steps=3),
                   lambda n, steps: Work(bytes=8 * n * steps * 9))      # a step reads u and k, writes u; its adjoint reads u, k and two cotangents, writes the two
    for name, sizes in _SIZES.items():
        sizes = dict(zip(("batch", "context", "width", "heads"), sizes))
        yield Workload("block-" + "x".join(map(str, sizes.values())), f.gpt2_block, _block, sizes, dict(batch=2, context=3, width=4, heads=2), _block_work,
                       dtype="float32", small=name == "tiny")
    yield Workload("mlp-hvp", f.mlp, _mlp, _MLP, _MLP_TINY, lambda **s: Work(2 * _mlp_flops(**s), _mlp_work(**s).functions), asks="hvp")
    yield Workload("jacobian", f.twice_tanh, _square, dict(n=100), dict(n=3), lambda n: Work(4 * n * n + 2 * n ** 3, 2 * n), asks="jacobian")


WORKLOADS = {w.name: w for w in _workloads()}


def bytes_touched(problem, results):
    """Bytes of arguments and results, each once, unless the workload's formula says more."""
    given = problem.workload.work(**problem.workload.sizes).bytes
    arrays = leaves(problem.parameters) + leaves(problem.data) + leaves(results)
    return given if given is not None else sum(math.prod(np.shape(a)) * np.asarray(a).dtype.itemsize for a in arrays)
