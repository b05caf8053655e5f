"""Gradients made smaller before a step: all of them together by their norm (Pascanu et al., ICML 2013), or each entry by itself."""
import numpy as np

from ..numpy_api import astype
from ..tensor_engine.core import Operation, TensorBase
from ..tensor_engine.grad_mode import no_grad
from ..tensor_engine.writes import update
from ..vocabulary import elementwise as e


def _total(*gradients, norm_type):
    if norm_type == np.inf:
        tops = [np.max(e.absolute(g)) for g in gradients]
        total = tops[0]
        for t in tops[1:]:
            total = e.maximum(total, t)
        return total
    if norm_type == 2.0:
        return e.sqrt(sum([np.sum(e.square(g)) for g in gradients]))
    return sum([np.sum(e.absolute(g) ** norm_type) for g in gradients]) ** (1.0 / norm_type)


_TOTAL = Operation(_total, "total_norm")


def _scaled(*operands):
    """Gradients, their norm, and the largest norm allowed: PyTorch's formula, with its 1e-6."""
    *gradients, total, most = operands
    factor = e.minimum(most / (total + 1e-6), np.ones((), total.dtype))
    return tuple([g * (factor if factor.dtype == g.dtype else astype(factor, g.dtype)) for g in gradients])


def _cut(*operands):
    *gradients, most = operands
    return tuple([e.where(e.greater(g, most), most, e.where(e.less(g, -most), -most, g)) for g in gradients])


def _gradients(parameters):
    parameters = [parameters] if isinstance(parameters, TensorBase) else parameters
    return [p._grad for p in parameters if p._grad is not None]


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False):
    """Scale all gradients so that their common norm is at most max_norm. Returns the norm before, a tensor.

    parameters: a tensor or an iterable of them; those without a gradient do not count. Raises RuntimeError for a norm that is not finite, if asked to.
    """
    gradients = _gradients(parameters)
    if not gradients:
        from ..tensors import tensor
        return tensor(0.0)
    with no_grad():
        total = _TOTAL(*gradients, norm_type=float(norm_type))
        if error_if_nonfinite and not np.isfinite(total.item()):
            raise RuntimeError(f"The total norm of order {float(norm_type)} for gradients from `parameters` is non-finite, so it cannot be clipped")
        update(_scaled, gradients, (total, float(max_norm)))
    return total


clip_grad_norm = clip_grad_norm_


def clip_grad_value_(parameters, clip_value):
    """Cut each entry of the gradients to [-clip_value, clip_value]."""
    gradients = _gradients(parameters)
    if gradients:
        update(_cut, gradients, (float(clip_value),))
