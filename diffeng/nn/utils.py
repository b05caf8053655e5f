"""PyTorch's nn.utils: the clipping of gradients, and parameters as one vector."""
from ..optim.clipping import clip_grad_norm, clip_grad_norm_, clip_grad_value_          # noqa: F401
from ..tensor_engine.functions import cat


def parameters_to_vector(parameters):
    """All entries of the parameters, one after the other."""
    return cat([p.reshape(-1) for p in parameters])
