"""PyTorch's nn.utils: the clipping of gradients, parameters as one vector, sequences as one batch (rnn.py), weights that are computed from others (parametrize.py,
parametrizations.py, before_forward.py)."""
from ...import_paths import provide
from ...optim.clipping import clip_grad_norm, clip_grad_norm_, clip_grad_value_          # noqa: F401
from ...tensor_engine.functions import cat
from ...tensor_engine.grad_mode import no_grad
from . import parametrizations, parametrize, rnn          # noqa: F401
from .before_forward import remove_spectral_norm, remove_weight_norm, spectral_norm, weight_norm          # noqa: F401


def parameters_to_vector(parameters):
    """All entries of the parameters, one after the other."""
    return cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec, parameters):
    """The entries of a vector, (n,), written into parameters of n entries, one after the other."""
    at = 0
    with no_grad():
        for p in parameters:
            p.copy_(vec[at:at + p.numel()].reshape(p.shape))
            at += p.numel()


provide(__name__, "clip_grad convert_parameters weight_norm spectral_norm")
