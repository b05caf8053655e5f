"""Distributions with PyTorch's names, as policy gradients and variational methods use them: Categorical, Normal, Bernoulli, kl_divergence.

What it is: tensors' own operations, so that log_prob, entropy and rsample have derivatives with respect to the parameters; samples are drawn by manual_seed.

>>> import diffeng as de
>>> logits = de.zeros(3, requires_grad=True)
>>> policy = Categorical(logits=logits)
>>> policy.log_prob(de.tensor(1)).backward()
>>> logits.grad
tensor([-0.3333,  0.6667, -0.3333])
"""
import math

import numpy as np

from .errors import refuse
from .nn import functional as F
from .tensor_engine.functions import broadcast_tensors
from .tensor_engine.grad_mode import no_grad
from .tensors import Tensor, as_tensor, multinomial, rand, randn


def _one_of(name, probs, logits):
    if (probs is None) == (logits is None):
        raise refuse(ValueError, f"{name}{{here}}: Either `probs` or `logits` must be specified, but not both")
    return as_tensor(logits if probs is None else probs)


def _positive(name, what, x):
    if not bool((x > 0).all()):
        raise refuse(ValueError, f"{name}{{here}}: Expected parameter {what} to satisfy the constraint GreaterThan(lower_bound=0.0), but found invalid values: "
                                 f"use {what}.exp(), or softplus")


class Distribution:
    """batch_shape: of the parameters. Subclasses define sample, log_prob and entropy; a sample has the shape sample_shape + batch_shape."""

    def _shape(self, sample_shape):
        return (*sample_shape, *self.batch_shape)

    def sample(self, sample_shape=()):
        """Drawn, without a gradient."""
        with no_grad():
            return self.rsample(sample_shape)

    @property
    def stddev(self):
        return self.variance.sqrt()


class Categorical(Distribution):
    """Classes 0..n-1, int64, with probs (..., n), which are divided by their sum, or of softmax(logits)."""

    def __init__(self, probs=None, logits=None, validate_args=None):
        x = _one_of("Categorical", probs, logits)
        if not x.ndim:
            raise refuse(ValueError, "Categorical{here}: `probs` or `logits` parameter must be at least one-dimensional.")
        if probs is not None and not bool(((x >= 0) & x.isfinite()).all()):
            raise refuse(ValueError, "Categorical{here}: Expected parameter probs to satisfy the constraint Simplex(), but found invalid values: they must be >= 0; "
                                     "for others pass logits=")
        if logits is not None and bool(x.isnan().any()):
            raise refuse(ValueError, "Categorical{here}: Expected parameter logits to be numbers, but found invalid values: NaN")
        self.batch_shape = x.shape[:-1]
        if probs is None:
            self.logits = F.log_softmax(x, dim=-1)
            self.probs = self.logits.exp()
        else:
            self.probs = x / x.sum(-1, keepdim=True)
            eps = float(np.finfo(x.dtype).eps)
            self.logits = self.probs.clamp(eps, 1 - eps).log()

    def sample(self, sample_shape=()):
        n = math.prod(sample_shape)
        drawn = multinomial(self.probs.detach().reshape(-1, self.probs.shape[-1]), n, True) if n else self.probs.new_zeros(math.prod(self.batch_shape), 0).long()
        return drawn.T.reshape(self._shape(sample_shape))

    def log_prob(self, value):
        """The logarithm of the probability of each class in value."""
        value = as_tensor(value).long().unsqueeze(-1)
        shape = np.broadcast_shapes(value.shape[:-1], self.batch_shape)
        return self.logits.expand(*shape, self.logits.shape[-1]).gather(-1, value.expand(*shape, 1)).squeeze(-1)

    def entropy(self):
        least = float(np.finfo(self.logits.dtype).min)
        return -(self.probs * self.logits.clamp(min=least)).sum(-1)


class Normal(Distribution):
    """The normal distribution of mean loc and standard deviation scale, numbers or tensors that broadcast."""

    def __init__(self, loc, scale, validate_args=None):
        dtype = next((x.dtype for x in (loc, scale) if isinstance(x, Tensor)), None)
        self.loc, self.scale = broadcast_tensors(as_tensor(loc, dtype=dtype if not isinstance(loc, Tensor) else None), as_tensor(scale, dtype=dtype if not isinstance(scale, Tensor) else None))
        _positive("Normal", "scale", self.scale)
        self.batch_shape = self.loc.shape

    mean = property(lambda self: self.loc)
    variance = property(lambda self: self.scale * self.scale)

    def rsample(self, sample_shape=()):
        """loc + scale e, with e drawn: the gradient goes to loc and scale."""
        return self.loc + self.scale * randn(*self._shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)

    def log_prob(self, value):
        d = (value - self.loc) / self.scale
        return -d * d / 2 - self.scale.log() - math.log(2 * math.pi) / 2

    def entropy(self):
        return 0.5 + math.log(2 * math.pi) / 2 + self.scale.log()

    def cdf(self, value):
        return 0.5 * (1 + ((value - self.loc) / (self.scale * math.sqrt(2))).erf())


class Bernoulli(Distribution):
    """1 with probability probs, or sigmoid(logits), else 0; in the dtype of the parameter."""

    def __init__(self, probs=None, logits=None, validate_args=None):
        x = _one_of("Bernoulli", probs, logits)
        if probs is not None and not bool(((x >= 0) & (x <= 1)).all()):
            raise refuse(ValueError, "Bernoulli{here}: Expected parameter probs to be between 0 and 1, but found invalid values: for others pass logits=")
        self.batch_shape = x.shape
        self.probs = x if logits is None else x.sigmoid()
        eps = float(np.finfo(x.dtype).eps)
        self.logits = x if probs is None else x.clamp(eps, 1 - eps).logit()

    mean = property(lambda self: self.probs)
    variance = property(lambda self: self.probs * (1 - self.probs))

    def sample(self, sample_shape=()):
        with no_grad():
            return (rand(*self._shape(sample_shape), device=self.probs.device) < self.probs).to(self.probs.dtype)

    def log_prob(self, value):
        logits, value = broadcast_tensors(self.logits, as_tensor(value).to(self.logits.dtype))
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self):
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")


def kl_divergence(p, q):
    """The divergence of Kullback & Leibler of q from p, two distributions of one kind. Raises NotImplementedError for two kinds."""
    if type(p) is not type(q):
        raise refuse(NotImplementedError, f"kl_divergence{{here}}: no rule for {type(p).__name__} and {type(q).__name__}")
    if isinstance(p, Normal):
        ratio, d = (p.scale / q.scale) ** 2, (p.loc - q.loc) / q.scale
        return 0.5 * (ratio + d * d - 1 - ratio.log())
    if isinstance(p, Categorical):
        terms = p.probs * (p.logits - q.logits)
        return terms.masked_fill(p.probs == 0, 0.0).masked_fill((q.probs == 0) & (p.probs > 0), math.inf).sum(-1)
    return p.probs * (F.logsigmoid(p.logits) - F.logsigmoid(q.logits)) + (1 - p.probs) * (F.logsigmoid(-p.logits) - F.logsigmoid(-q.logits))
