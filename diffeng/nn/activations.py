"""Activations, as functions and as modules, with PyTorch's names and its choices at kinks.

What it is: each is one operation on tensors, a table of functions and of classes. What it is not: those that are methods of tensors, too (relu, sigmoid, softmax, ...),
stand in tensor_engine/operations.py.
"""
import numpy as np

from .. import special
from ..errors import refuse
from ..tensor_engine import making
from ..tensor_engine.core import Operation
from ..tensor_engine.functions import METHODS, applied, operand
from ..tensor_engine.operations import OPS
from ..tensor_engine.rules import axis, torch_error
from ..vocabulary import elementwise as e
from .module import ONE_OPERATION, Module, Parameter

relu, sigmoid, tanh, gelu, silu, leaky_relu, softplus, softmax, log_softmax, logsigmoid = (METHODS[n] for n in (
    "relu sigmoid tanh gelu silu leaky_relu softplus softmax log_softmax logsigmoid".split()))


def _number(x, value):
    return np.full((), value, x.dtype)


def _celu(x, alpha, scale=1.0, inside=1.0):
    """scale x, and scale alpha (exp(inside x) - 1) for x <= 0."""
    above = e.greater(x, 0)
    return scale * e.where(above, x, alpha * e.expm1(e.where(above, _number(x, 0), x if inside == 1 else x * inside)))


def _hardtanh(x, low, high):
    return e.where(e.less_equal(x, low), _number(x, low), e.where(e.greater_equal(x, high), _number(x, high), x))


def _hardsigmoid(x):
    return _hardtanh(x / 6 + 0.5, 0.0, 1.0)


def _hardswish(x):
    return e.where(e.less_equal(x, -3), _number(x, 0), e.where(e.greater_equal(x, 3), x, x * (x / 6 + 0.5)))


def _softshrink(x, by):
    return e.where(e.greater(x, by), x - by, e.where(e.less(x, -by), x + by, _number(x, 0)))


def _prelu(x, weight):
    if weight.ndim and weight.shape != (1,):
        channels = x.shape[1] if x.ndim > 1 else 1
        if weight.shape != (channels,):
            raise torch_error(RuntimeError, f"prelu: Mismatch of parameter numbers and input channel size. Found parameter numbers = {weight.shape[0]} and channel size = "
                                            f"{channels}")
        weight = np.reshape(weight, (-1,) + (1,) * max(x.ndim - 2, 0))
    elif weight.ndim:
        weight = np.reshape(weight, ())
    return e.where(e.greater(x, 0), x, x * weight)


def _glu(x, dim):
    dim = axis(dim, x.ndim)
    half, odd = divmod(x.shape[dim], 2) if x.ndim else (0, True)
    if odd:
        raise torch_error(RuntimeError, f"glu: Halving dimension must be even, but dimension {dim} is size {x.shape[dim] if x.ndim else 1}")
    ahead = (slice(None),) * dim
    return x[(*ahead, slice(0, half))] * special.expit(x[(*ahead, slice(half, None))])


_OPS = {name: Operation(function, name) for name, function in dict(
    elu=_celu, selu=_celu, celu=_celu, hardtanh=_hardtanh, hardsigmoid=_hardsigmoid, hardswish=_hardswish, softshrink=_softshrink, prelu=_prelu, glu=_glu,
    mish=lambda x: x * np.tanh(special.softplus(x)), softsign=lambda x: x / (1 + e.absolute(x)), tanhshrink=lambda x: x - np.tanh(x),
    hardshrink=lambda x, by: e.where(e.less_equal(e.absolute(x), by), _number(x, 0), x),
    threshold=lambda x, above, value: e.where(e.greater(x, above), x, _number(x, value))).items()}


def _applied(name, input, inplace=False, **params):
    return applied(_OPS[name], (operand(input),), params, inplace)


def elu(input, alpha=1.0, inplace=False):
    """x, and alpha (exp(x) - 1) for x < 0 (Clevert et al., arXiv:1511.07289)."""
    return _applied("elu", input, inplace, alpha=float(alpha))


def selu(input, inplace=False):
    """The elu whose factors keep mean 0 and variance 1 (Klambauer et al., NeurIPS 2017)."""
    return _applied("selu", input, inplace, alpha=1.6732632423543772, scale=1.0507009873554805)


def celu(input, alpha=1.0, inplace=False):
    """x, and alpha (exp(x / alpha) - 1) for x < 0 (Barron, arXiv:1704.07483)."""
    return _applied("celu", input, inplace, alpha=float(alpha), inside=1 / alpha)


def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    """x between the bounds; the derivative at the bounds is 0."""
    return _applied("hardtanh", input, inplace, low=float(min_val), high=float(max_val))


def relu6(input, inplace=False):
    """x between 0 and 6."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardsigmoid(input, inplace=False):
    """x / 6 + 1/2, between 0 and 1."""
    return _applied("hardsigmoid", input, inplace)


def hardswish(input, inplace=False):
    """x hardsigmoid(x)."""
    return _applied("hardswish", input, inplace)


def mish(input, inplace=False):
    """x tanh(log(1 + exp(x))) (Misra, arXiv:1908.08681)."""
    return _applied("mish", input, inplace)


def threshold(input, threshold, value, inplace=False):
    """x above the threshold, else the value."""
    return _applied("threshold", input, inplace, above=float(threshold), value=float(value))


def softsign(input):
    """x / (1 + |x|)."""
    return _applied("softsign", input)


def tanhshrink(input):
    """x - tanh(x)."""
    return _applied("tanhshrink", input)


def hardshrink(input, lambd=0.5):
    """x, and 0 where |x| <= lambd."""
    return _applied("hardshrink", input, by=float(lambd))


def softshrink(input, lambd=0.5):
    """x moved by lambd towards 0, which it does not cross."""
    if lambd < 0:
        raise refuse(RuntimeError, f"softshrink{{here}}: lambda must be greater or equal to 0, but found to be {lambd}")
    return _applied("softshrink", input, by=float(lambd))


def prelu(input, weight):
    """x, and weight x for x < 0. weight: one number, or one a channel (axis 1)."""
    return _OPS["prelu"](operand(input), operand(weight))


def glu(input, dim=-1):
    """a sigmoid(b) of the halves a and b along an axis (Dauphin et al., ICML 2017). Raises RuntimeError for an odd length."""
    return _applied("glu", input, dim=int(dim))


def softmin(input, dim=None, dtype=None):
    """softmax(-x)."""
    return softmax(-input, dim=dim, dtype=dtype)


def gumbel_softmax(logits, tau=1.0, hard=False, eps=1e-10, dim=-1):
    """softmax((logits + g) / tau) with g of Gumbel's distribution (Jang, Gu & Poole, ICLR 2017). hard: ones and zeros, with the gradient of the softmax.

    Seeded by manual_seed; eps has no effect.
    """
    noise = making.empty_like(logits).exponential_().clamp(min=float(np.finfo(logits.dtype).tiny)).log()
    soft = softmax((logits - noise) / tau, dim=dim)
    if not hard:
        return soft
    ones = making.zeros_like(logits).scatter(dim, soft.detach().argmax(dim, keepdim=True), 1.0)
    return ones - soft.detach() + soft


def _in_place(function):
    def method(input, *args, **options):
        return function(input, *args, inplace=True, **options)
    method.__name__, method.__doc__ = function.__name__ + "_", f"{function.__name__}, written into its input."
    return method


IN_PLACE = {f.__name__ + "_": _in_place(f) for f in (relu, leaky_relu, elu, selu, celu, hardtanh, threshold)}
FUNCTIONS = {f.__name__: f for f in (relu, sigmoid, tanh, gelu, silu, leaky_relu, softplus, softmax, log_softmax, logsigmoid, elu, selu, celu, hardtanh, relu6, hardsigmoid,
                                     hardswish, mish, threshold, softsign, tanhshrink, hardshrink, softshrink, prelu, glu, softmin, gumbel_softmax)} | IN_PLACE


# ---- modules --------------------------------------------------------------------------------------------------------------------------------

class _Activation(Module):
    """function(x, **options): the options are the module's arguments, in this order, and its attributes."""

    options = {}

    def __init__(self, *args, **named):
        unknown = [k for k in named if k not in self.options]
        if unknown or len(args) > len(self.options):
            raise refuse(TypeError, f"{type(self).__name__}{{here}}: got an unexpected argument {(unknown or args[-1:])[0]!r}; it takes {', '.join(self.options) or 'none'}")
        for name, x in {**self.options, **dict(zip(self.options, args)), **named}.items():
            if x is _GIVEN:
                raise refuse(TypeError, f"{type(self).__name__}{{here}}: the argument {name!r} is missing")
            setattr(self, name, x)

    def forward(self, x):
        return self.function(x, **{name: getattr(self, name) for name in self.options})

    def extra_repr(self):
        return ", ".join([f"{name}={getattr(self, name)!r}" for name in self.options if name != "inplace" or self.inplace])


class _OneOperation(_Activation):
    def forward(self, x):
        return applied(self.op, (x,), {}, vars(self).get("inplace"))


_GIVEN = object()


def _class(name, doc, base=_Activation, **attributes):
    return type(name, (base,), {"__doc__": doc, "__module__": __name__, **attributes})


_INPLACE = {"inplace": False}
ReLU = _class("ReLU", "x where x > 0, else 0. inplace: written into x.", _OneOperation, op=OPS["relu"], options=_INPLACE)
SiLU = _class("SiLU", "x sigmoid(x).", _OneOperation, op=OPS["silu"], options=_INPLACE)
Sigmoid = _class("Sigmoid", "1 / (1 + exp(-x)).", _OneOperation, op=OPS["sigmoid"])
Tanh = _class("Tanh", "tanh(x).", _OneOperation, op=OPS["tanh"])
_CLASSES = {name: _class(name, f"{(function.__doc__ or '').splitlines()[0]} See functional.{function.__name__}.", function=staticmethod(function), options=options)
            for name, function, options in (
    ("Softplus", softplus, {"beta": 1.0, "threshold": 20.0}), ("LeakyReLU", leaky_relu, {"negative_slope": 0.01, **_INPLACE}), ("ELU", elu, {"alpha": 1.0, **_INPLACE}),
    ("SELU", selu, _INPLACE), ("CELU", celu, {"alpha": 1.0, **_INPLACE}), ("Hardtanh", hardtanh, {"min_val": -1.0, "max_val": 1.0, **_INPLACE}), ("ReLU6", relu6, _INPLACE),
    ("Hardsigmoid", hardsigmoid, _INPLACE), ("Hardswish", hardswish, _INPLACE), ("Mish", mish, _INPLACE), ("Softsign", softsign, {}), ("Tanhshrink", tanhshrink, {}),
    ("Hardshrink", hardshrink, {"lambd": 0.5}), ("Softshrink", softshrink, {"lambd": 0.5}), ("Threshold", threshold, {"threshold": _GIVEN, "value": _GIVEN, **_INPLACE}),
    ("GLU", glu, {"dim": -1}), ("LogSigmoid", logsigmoid, {}))}
globals().update(_CLASSES)


class GELU(_Activation):
    """x Phi(x); approximate="tanh": by tanh, as GPT-2 has it (Hendrycks & Gimpel, arXiv:1606.08415)."""

    function, options = staticmethod(gelu), {"approximate": "none"}

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        if self.approximate not in ("none", "tanh"):
            raise ValueError(f"approximate argument must be either none or tanh, not {self.approximate!r}")


class PReLU(Module):
    """x where x > 0, else weight x, with one weight, or one a channel, that is trained: 0.25 at first."""

    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        self.num_parameters, self.weight = num_parameters, Parameter(making.full((num_parameters,), float(init), dtype=dtype, device=device))

    def forward(self, x):
        return prelu(x, self.weight)

    def extra_repr(self):
        return f"num_parameters={self.num_parameters}"


class Softmax(Module):
    """exp(x) / sum(exp(x)) along an axis."""

    def __init__(self, dim=None):
        self.dim = dim

    def forward(self, x):
        return softmax(x, self._axis(x))

    def _axis(self, x):
        return self.dim if self.dim is not None else 0 if x.ndim in (0, 1, 3) else 1          # PyTorch's guess

    def extra_repr(self):
        return f"dim={self.dim}"


class Softmax2d(Module):
    """Softmax of the channels at each place of (N, C, H, W) or (C, H, W)."""

    def forward(self, x):
        return softmax(x, -3)


class LogSoftmax(Softmax):
    """The logarithm of Softmax."""

    def forward(self, x):
        return log_softmax(x, self._axis(x))


class Softmin(Softmax):
    """Softmax of -x."""

    def forward(self, x):
        return softmin(x, self._axis(x))


ONE_OPERATION |= {c: (c.op, ()) for c in (ReLU, SiLU, Sigmoid, Tanh)}
MODULES = {c.__name__: c for c in (ReLU, SiLU, Sigmoid, Tanh, GELU, PReLU, Softmax, Softmax2d, LogSoftmax, Softmin, *_CLASSES.values())}
