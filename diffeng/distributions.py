"""Distributions with PyTorch's names, as policy gradients and variational methods use them: Categorical, Normal, Bernoulli, Uniform, Laplace,
Exponential, MultivariateNormal, Independent, kl_divergence.

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
from .import_paths import provide
from .nn import functional as F
from .tensor_engine.functions import broadcast_tensors
from .tensor_engine.grad_mode import no_grad
from . import linalg
from .tensors import Size, Tensor, as_tensor, multinomial, rand, randn


def _one_of(name, probs, logits):
    if (probs is None) == (logits is None):
        raise refuse(ValueError, f"{name}{{here}}: Either `probs` or `logits` must be specified, but not both")
    return as_tensor(logits if probs is None else probs)


def _positive(name, what, x):
    if not bool((x > 0).all()):
        raise refuse(ValueError, f"{name}{{here}}: Expected parameter {what} to satisfy the constraint GreaterThan(lower_bound=0.0), but found invalid values: "
                                 f"use {what}.exp(), or softplus")


def _two(a, b):
    """Two parameters as tensors of one shape; a number has the dtype of the other."""
    dtype = next((x.dtype for x in (a, b) if isinstance(x, Tensor)), None)
    return broadcast_tensors(*[as_tensor(x, dtype=None if isinstance(x, Tensor) else dtype) for x in (a, b)])


class Distribution:
    """batch_shape: of the parameters; event_shape: of one draw. Subclasses define sample, log_prob and entropy; a sample has the shape sample_shape + batch_shape + event_shape.

    has_rsample: does the gradient of a draw go to the parameters, by rsample?
    """

    event_shape, has_rsample = Size(()), False

    def _shape(self, sample_shape):
        return (*sample_shape, *self.batch_shape, *self.event_shape)

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
        self.loc, self.scale = _two(loc, scale)
        _positive("Normal", "scale", self.scale)
        self.batch_shape = self.loc.shape

    has_rsample = True
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


class Uniform(Distribution):
    """Any number from low to below high as likely as another: numbers or tensors that broadcast."""

    has_rsample = True

    def __init__(self, low, high, validate_args=None):
        self.low, self.high = _two(low, high)
        if not bool((self.low < self.high).all()):
            raise refuse(ValueError, "Uniform{here}: Uniform is not defined when low >= high")
        self.batch_shape = self.low.shape

    mean = property(lambda self: (self.low + self.high) / 2)
    variance = property(lambda self: (self.high - self.low) ** 2 / 12)

    def rsample(self, sample_shape=()):
        """low + (high - low) u, with u drawn."""
        return self.low + (self.high - self.low) * rand(*self._shape(sample_shape), dtype=self.low.dtype, device=self.low.device)

    def log_prob(self, value):
        inside = (self.low <= value) & (self.high > value)
        return inside.to(self.low.dtype).log() - (self.high - self.low).log()

    def entropy(self):
        return (self.high - self.low).log()


class Laplace(Distribution):
    """Of the density exp(-|x - loc| / scale) / (2 scale): numbers or tensors that broadcast."""

    has_rsample = True

    def __init__(self, loc, scale, validate_args=None):
        self.loc, self.scale = _two(loc, scale)
        _positive("Laplace", "scale", self.scale)
        self.batch_shape = self.loc.shape

    mean = property(lambda self: self.loc)
    variance = property(lambda self: 2 * self.scale * self.scale)

    def rsample(self, sample_shape=()):
        """loc + scale e, with e drawn, a difference of two exponential numbers."""
        drawn = [self.loc.new_zeros(*self._shape(sample_shape)).exponential_() for _ in range(2)]
        return self.loc + self.scale * (drawn[0] - drawn[1])

    def log_prob(self, value):
        return -(2 * self.scale).log() - (value - self.loc).abs() / self.scale

    def entropy(self):
        return 1 + (2 * self.scale).log()


class Exponential(Distribution):
    """Of the density rate exp(-rate x) for x >= 0: the rate a number or a tensor."""

    has_rsample = True

    def __init__(self, rate, validate_args=None):
        self.rate = as_tensor(rate)
        _positive("Exponential", "rate", self.rate)
        self.batch_shape = self.rate.shape

    mean = property(lambda self: self.rate.reciprocal())
    variance = property(lambda self: self.rate ** -2)

    def rsample(self, sample_shape=()):
        """e / rate, with e drawn."""
        return self.rate.new_zeros(*self._shape(sample_shape)).exponential_() / self.rate

    def log_prob(self, value):
        return self.rate.log() - self.rate * value

    def entropy(self):
        return 1 - self.rate.log()


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


class Independent(Distribution):
    """The last axes of a distribution's batch as one event: log_prob and entropy are sums over so many of them.

    >>> import diffeng as de
    >>> Independent(Normal(de.zeros(3, 2), de.ones(3, 2)), 1).log_prob(de.zeros(3, 2)).shape
    (3,)
    """

    def __init__(self, base_distribution, reinterpreted_batch_ndims, validate_args=None):
        shape, n = (*base_distribution.batch_shape, *base_distribution.event_shape), reinterpreted_batch_ndims
        if n > len(base_distribution.batch_shape):
            raise refuse(ValueError, f"Independent{{here}}: Expected reinterpreted_batch_ndims <= len(base_distribution.batch_shape), actual {n} vs {len(base_distribution.batch_shape)}")
        self.base_dist, self.reinterpreted_batch_ndims, self.has_rsample = base_distribution, n, base_distribution.has_rsample
        ahead = len(base_distribution.batch_shape) - n
        self.batch_shape, self.event_shape = Size(shape[:ahead]), Size(shape[ahead:])

    mean = property(lambda self: self.base_dist.mean)
    variance = property(lambda self: self.base_dist.variance)

    def sample(self, sample_shape=()):
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape=()):
        return self.base_dist.rsample(sample_shape)

    def _sum(self, x):
        return x.sum(tuple(range(-self.reinterpreted_batch_ndims, 0))) if self.reinterpreted_batch_ndims else x

    def log_prob(self, value):
        return self._sum(self.base_dist.log_prob(value))

    def entropy(self):
        return self._sum(self.base_dist.entropy())


class MultivariateNormal(Distribution):
    """The normal distribution of vectors (..., n): of mean loc, and one of covariance_matrix, precision_matrix, its inverse, and scale_tril, its Cholesky factor, (..., n, n)."""

    has_rsample = True

    def __init__(self, loc, covariance_matrix=None, precision_matrix=None, scale_tril=None, validate_args=None):
        given = [x for x in (covariance_matrix, precision_matrix, scale_tril) if x is not None]
        if len(given) != 1 or not loc.ndim or given[0].ndim < 2:
            raise refuse(ValueError, "MultivariateNormal{here}: loc must be at least one-dimensional, and exactly one of covariance_matrix or precision_matrix or scale_tril, of at least two "
                                     "axes, must be specified")
        factor = scale_tril if scale_tril is not None else linalg.cholesky(covariance_matrix if precision_matrix is None else linalg.inv(precision_matrix))
        shape, n = np.broadcast_shapes(loc.shape[:-1], factor.shape[:-2]), loc.shape[-1]
        self.loc, self.scale_tril, self.batch_shape, self.event_shape = loc.expand(*shape, n), factor.expand(*shape, n, n), Size(shape), Size((n,))

    mean = property(lambda self: self.loc)
    covariance_matrix = property(lambda self: self.scale_tril @ self.scale_tril.mT)
    precision_matrix = property(lambda self: linalg.inv(self.covariance_matrix))
    variance = property(lambda self: (self.scale_tril * self.scale_tril).sum(-1))

    def rsample(self, sample_shape=()):
        """loc + scale_tril e, with e drawn: the gradient goes to both."""
        drawn = randn(*self._shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + (self.scale_tril @ drawn.unsqueeze(-1)).squeeze(-1)

    def _squared(self, d):
        """d^T covariance^-1 d."""
        shape = np.broadcast_shapes(d.shape[:-1], self.batch_shape)
        factor = self.scale_tril.expand(*shape, *self.scale_tril.shape[-2:])
        z = linalg.solve_triangular(factor, d.expand(*shape, d.shape[-1]).unsqueeze(-1), upper=False)
        return (z * z).sum((-2, -1))

    def _half_log_det(self):
        return self.scale_tril.diagonal(0, -2, -1).log().sum(-1)

    def log_prob(self, value):
        return -0.5 * (self.loc.shape[-1] * math.log(2 * math.pi) + self._squared(value - self.loc)) - self._half_log_det()

    def entropy(self):
        return 0.5 * self.loc.shape[-1] * (1 + math.log(2 * math.pi)) + self._half_log_det()


def kl_divergence(p, q):
    """The divergence of Kullback & Leibler of q from p, two distributions of one kind. Raises NotImplementedError for two kinds."""
    if type(p) is not type(q):
        raise refuse(NotImplementedError, f"kl_divergence{{here}}: no rule for {type(p).__name__} and {type(q).__name__}")
    if isinstance(p, Normal):
        ratio, d = (p.scale / q.scale) ** 2, (p.loc - q.loc) / q.scale
        return 0.5 * (ratio + d * d - 1 - ratio.log())
    if isinstance(p, Independent):
        if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
            raise refuse(NotImplementedError, "kl_divergence{here}: no rule for Independents of different numbers of axes")
        return p._sum(kl_divergence(p.base_dist, q.base_dist))
    if isinstance(p, MultivariateNormal):
        ratio = linalg.solve_triangular(*broadcast_tensors(q.scale_tril, p.scale_tril), upper=False)
        return q._half_log_det() - p._half_log_det() + 0.5 * ((ratio * ratio).sum((-2, -1)) + q._squared(q.loc - p.loc) - p.loc.shape[-1])
    if isinstance(p, (Uniform, Laplace, Exponential)):
        raise refuse(NotImplementedError, f"kl_divergence{{here}}: no rule for {type(p).__name__}: take the mean of p.log_prob(x) - q.log_prob(x) over samples x of p")
    if isinstance(p, Categorical):
        terms = p.probs * (p.logits - q.logits)
        return terms.masked_fill(p.probs == 0, 0.0).masked_fill((q.probs == 0) & (p.probs > 0), math.inf).sum(-1)
    return p.probs * (F.logsigmoid(p.logits) - F.logsigmoid(q.logits)) + (1 - p.probs) * (F.logsigmoid(-p.logits) - F.logsigmoid(-q.logits))


provide(__name__, "distribution bernoulli categorical exponential independent laplace multivariate_normal normal uniform kl")
