"""weight_norm and spectral_norm as PyTorch had them first: the weight is a plain tensor, which a hook computes before each forward from weight_g and weight_v, or weight_orig."""
from ...errors import refuse
from ...tensor_engine.grad_mode import no_grad
from ...tensors import randn
from ..functional import normalize
from ..module import Parameter
from .parametrizations import as_matrix, norm_except_dim, usual_dim


class _Computed:
    """A hook before forward: module.name is to be made of other parameters."""

    def __init__(self, module, name):
        self.name = name
        if any([isinstance(hook, type(self)) and hook.name == name for hook in (module._hooks or {}).get("before", {}).values()]):
            raise refuse(RuntimeError, f"{self.word}{{here}}: Cannot register two {self.word} hooks on the same parameter {name}")
        weight = getattr(module, name)
        delattr(module, name)
        self.begin(module, weight)
        setattr(module, name, self.computed(module, False))
        self.handle = module.register_forward_pre_hook(self)

    def __call__(self, module, inputs):
        setattr(module, self.name, self.computed(module, module.training))

    @classmethod
    def remove(cls, module, name):
        hook = next((h for h in (module._hooks or {}).get("before", {}).values() if type(h) is cls and h.name == name), None)
        if hook is None:
            raise refuse(ValueError, f"remove_{cls.word}{{here}}: {cls.word} of '{name}' not found in {module}")
        with no_grad():
            weight = hook.computed(module, False).detach()
        hook.handle.remove()
        for part in (name, *[name + end for end in cls.parts]):
            delattr(module, part)
        module._buffer_names = tuple([n for n in module._buffer_names if n not in [name + end for end in cls.parts]])
        module.register_parameter(name, Parameter(weight))
        return module


class _WeightNorm(_Computed):
    word, parts = "weight_norm", ("_g", "_v")

    def __init__(self, module, name, dim):
        self.dim = dim
        super().__init__(module, name)

    def begin(self, module, weight):
        module.register_parameter(self.name + "_g", Parameter(norm_except_dim(weight.detach(), self.dim)))
        module.register_parameter(self.name + "_v", Parameter(weight.detach()))

    def computed(self, module, training):
        g, v = [getattr(module, self.name + end) for end in self.parts]
        return v * (g / norm_except_dim(v, self.dim))


class _SpectralNorm(_Computed):
    word, parts = "spectral_norm", ("_orig", "_u", "_v")

    def __init__(self, module, name, n_power_iterations, eps, dim):
        self.dim, self.eps, self.times = dim, eps, n_power_iterations
        super().__init__(module, name)

    def begin(self, module, weight):
        module.register_parameter(self.name + "_orig", Parameter(weight.detach()))
        for end, n in zip(("_u", "_v"), as_matrix(weight, self.dim).shape):
            module.register_buffer(self.name + end, normalize(randn(n, dtype=weight.dtype, device=weight.device), dim=0, eps=self.eps))

    def computed(self, module, training):
        weight, u, v = [getattr(module, self.name + end) for end in self.parts]
        matrix = as_matrix(weight, self.dim)
        if training:
            with no_grad():
                for _ in range(self.times):
                    v.copy_(normalize(matrix.detach().mT @ u, dim=0, eps=self.eps))
                    u.copy_(normalize(matrix.detach() @ v, dim=0, eps=self.eps))
            u, v = u.clone(), v.clone()
        return weight / (u @ (matrix @ v))


def weight_norm(module, name="weight", dim=0):
    """module.weight as weight_g weight_v / |weight_v|, made before each forward; parametrizations.weight_norm makes it whenever it is read. Returns the module."""
    _WeightNorm(module, name, dim)
    return module


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """module.weight as weight_orig over its largest singular value, made before each forward, by power iterations in training. Returns the module."""
    _SpectralNorm(module, name, n_power_iterations, eps, usual_dim(module) if dim is None else dim)
    return module


def remove_weight_norm(module, name="weight"):
    """The weight as a Parameter again, of the value that it has. Returns the module."""
    return _WeightNorm.remove(module, name)


def remove_spectral_norm(module, name="weight"):
    """The weight as a Parameter again, of the value that it has. Returns the module."""
    return _SpectralNorm.remove(module, name)
