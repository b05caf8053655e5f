"""First values of parameters: PyTorch's distributions, written into a tensor. Seeded by manual_seed.

What it is not: PyTorch's random numbers. The distributions are the same, what is drawn is not.
"""
import math

import numpy as np

from ..tensor_engine import making
from ..tensor_engine.core import constant
from ..tensor_engine.grad_mode import no_grad
from ..tensor_engine.writes import assign

_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 0.75}


def _set(t, array, name):
    with no_grad():
        assign(t, constant(np.array(np.broadcast_to(array, t.shape), t.dtype), ()), name)
    return t


def _draw(generator):
    return (generator or making.generator).numpy


def uniform_(tensor, a=0.0, b=1.0, generator=None):
    """Uniform in [a, b)."""
    return _set(tensor, _draw(generator).uniform(a, b, tensor.shape), "uniform_")


def normal_(tensor, mean=0.0, std=1.0, generator=None):
    """Normal with this mean and standard deviation."""
    return _set(tensor, _draw(generator).normal(mean, std, tensor.shape), "normal_")


def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """Normal, drawn again where it is outside of [a, b]."""
    draw = _draw(generator)
    x = draw.normal(mean, std, tensor.shape)
    while np.any(outside := (x < a) | (x > b)):
        x = np.where(outside, draw.normal(mean, std, tensor.shape), x)
    return _set(tensor, x, "trunc_normal_")


def constant_(tensor, val):
    """val everywhere."""
    return _set(tensor, val, "constant_")


def zeros_(tensor):
    return constant_(tensor, 0.0)


def ones_(tensor):
    return constant_(tensor, 1.0)


def eye_(tensor):
    """The identity matrix."""
    return _set(tensor, np.eye(*tensor.shape), "eye_")


def orthogonal_(tensor, gain=1.0, generator=None):
    """Rows (or columns, of a tall matrix) that are orthonormal, times gain (Saxe et al., arXiv:1312.6120)."""
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    q, r = np.linalg.qr(_draw(generator).normal(size=(max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diagonal(r))
    return _set(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape), "orthogonal_")


def calculate_gain(nonlinearity, param=None):
    """The factor by which a nonlinearity wants its input larger."""
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}: choose one of {', '.join(_GAINS)}, leaky_relu")
    return _GAINS[nonlinearity]


def _fans(tensor):
    if tensor.ndim < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _kaiming(tensor, a, mode, nonlinearity):
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return calculate_gain(nonlinearity, a) / math.sqrt(_fans(tensor)[mode == "fan_out"] or 1)


def kaiming_uniform_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Uniform in +-gain sqrt(3 / fan) (He et al., arXiv:1502.01852)."""
    bound = math.sqrt(3.0) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Normal with standard deviation gain / sqrt(fan)."""
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity), generator)


def xavier_uniform_(tensor, gain=1.0, generator=None):
    """Uniform in +-gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio, AISTATS 2010)."""
    bound = gain * math.sqrt(6.0 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor, gain=1.0, generator=None):
    """Normal with standard deviation gain sqrt(2 / (fan_in + fan_out))."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_fans(tensor))), generator)
