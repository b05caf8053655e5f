"""diffeng.autograd: gradients of tensors as values, under the name where PyTorch's users look for it."""
from .tensor_engine.backward import grad
from .tensor_engine.grad_mode import enable_grad, no_grad, set_grad_enabled

__all__ = ["grad", "no_grad", "enable_grad", "set_grad_enabled"]
