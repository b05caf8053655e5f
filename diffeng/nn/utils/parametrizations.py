"""weight_norm and spectral_norm as parametrizations: module.weight is computed whenever it is read."""
from ...errors import refuse
from ...tensor_engine.grad_mode import no_grad
from ...tensors import randn
from ..functional import normalize
from ..module import Module
from .parametrize import register_parametrization


def norm_except_dim(v, dim):
    """The norm of each part of v along an axis, of the shape that broadcasts; of all of it where dim is None or -1."""
    if dim is None or dim == -1:
        return v.norm()
    return v.norm(2, tuple([k for k in range(v.ndim) if k != dim % v.ndim]), keepdim=True)


def as_matrix(weight, dim):
    """(entries along dim, all others)."""
    return (weight.movedim(dim, 0) if dim else weight).flatten(1)


class _WeightNorm(Module):
    def __init__(self, dim=0):
        self.dim = dim

    def forward(self, g, v):
        return v * (g / norm_except_dim(v, self.dim))

    def right_inverse(self, weight):
        return norm_except_dim(weight, self.dim), weight


class _SpectralNorm(Module):
    """Of a vector its direction; else the weight over an estimate u W v of its largest singular value, which each forward in training makes better."""

    def __init__(self, weight, n_power_iterations=1, dim=0, eps=1e-12):
        if n_power_iterations <= 0:
            raise refuse(ValueError, f"spectral_norm{{here}}: Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}")
        self.dim, self.eps, self.n_power_iterations = dim, eps, n_power_iterations
        if weight.ndim > 1:
            with no_grad():
                matrix = as_matrix(weight.detach(), dim)
                for name, n in (("_u", matrix.shape[0]), ("_v", matrix.shape[1])):
                    self.register_buffer(name, normalize(randn(n, dtype=weight.dtype, device=weight.device), dim=0, eps=eps))
                self._iterate(matrix, 15)

    def _iterate(self, matrix, times):
        for _ in range(times):
            self._u.copy_(normalize(matrix @ self._v, dim=0, eps=self.eps))
            self._v.copy_(normalize(matrix.mT @ self._u, dim=0, eps=self.eps))

    def forward(self, weight):
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            with no_grad():
                self._iterate(matrix.detach(), self.n_power_iterations)
        return weight / (self._u.clone() @ (matrix @ self._v.clone()))

    def right_inverse(self, value):
        return value


def weight_norm(module, name="weight", dim=0):
    """The weight as g v / |v|, whose length g and direction v are trained (Salimans & Kingma, NeurIPS 2016). dim: along which each part has a length; None: one of all.

    >>> import diffeng as de
    >>> [name for name, _ in weight_norm(de.nn.Linear(2, 3)).named_parameters()]
    ['bias', 'parametrizations.weight.original0', 'parametrizations.weight.original1']
    """
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


def usual_dim(module):
    """The axis of a weight that counts the results: 1 of transposed convolutions."""
    return 1 if "ConvTranspose" in type(module).__name__ else 0


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """The weight over its largest singular value, by power iterations, n_power_iterations at each forward in training (Miyato et al., ICLR 2018)."""
    return register_parametrization(module, name, _SpectralNorm(getattr(module, name), n_power_iterations, usual_dim(module) if dim is None else dim, eps))
