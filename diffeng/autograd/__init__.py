"""diffeng.autograd: gradients of tensors as values, under the name where PyTorch's users look for it; derivatives of functions of tensors (functional.py)."""
from ..errors import absent
from ..import_paths import provide
from ..tensor_engine.backward import grad
from ..tensor_engine.core import TensorBase
from ..tensor_engine.grad_mode import enable_grad, no_grad, set_grad_enabled
from ..tensor_engine.own_backward import Function, gradcheck          # noqa: F401
from ..tensor_engine.writes import backward as _backward

__all__ = ["backward", "grad", "no_grad", "enable_grad", "set_grad_enabled", "inference_mode", "Function", "gradcheck", "Variable", "functional"]
_INSTEAD = {"detect_anomaly": "errors name the user's lines without it; leave it out, and look for NaN with assert x.isfinite().all()",
            "set_detect_anomaly": "errors name the user's lines without it; leave it out, and look for NaN with assert x.isfinite().all()",
            "forward_ad": "de.jvp takes functions of arrays; autograd.functional.jvp those of tensors", "profiler": "Python's cProfile, or de.cost of a function of arrays"}


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, inputs=None):
    """Tensor.backward of one tensor or of several, whose gradients add up. grad_tensors: the cotangent of each, None for a scalar.

    >>> import diffeng as de
    >>> x = de.tensor(3.0, requires_grad=True)
    >>> y = x * x
    >>> backward([y, 2 * y])
    >>> x.grad
    tensor(18.)
    """
    tensors = [tensors] if isinstance(tensors, TensorBase) else [*tensors]
    seeds = [grad_tensors] if grad_tensors is None or isinstance(grad_tensors, TensorBase) else [*grad_tensors]
    seeds += [None] * (len(tensors) - len(seeds))
    for k, (t, g) in enumerate(zip(tensors, seeds)):
        _backward(t, g, retain_graph if k == len(tensors) - 1 else True, create_graph, inputs)             # the others may need the same graph


class inference_mode(no_grad):
    """no_grad by another name: inside, or in a function decorated with it, no graph is recorded. inference_mode(False): one is.

    What is computed inside may be used outside like any other tensor, which PyTorch refuses.
    """

    def __new__(cls, mode=True):
        return super().__new__(cls, mode if callable(mode) else None)

    def __init__(self, mode=True):
        super().__init__()
        self.setting = not mode

    def _recreate_cm(self):
        return type(self)(not self.setting)


class _Variables(type):
    def __instancecheck__(cls, x):
        return isinstance(x, TensorBase)

    def __call__(cls, data, requires_grad=False, volatile=False):
        return data.detach().requires_grad_() if requires_grad else data


class Variable(metaclass=_Variables):
    """PyTorch's word for tensors before they were one: Variable(t) is t, Variable(t, requires_grad=True) a leaf in the same memory."""


provide(__name__, "variable function gradcheck grad_mode")


def __getattr__(name):
    if name == "functional":
        import importlib
        return importlib.import_module(f"{__name__}.functional")
    raise absent(f"module {__name__!r}", name, _INSTEAD, __all__)
