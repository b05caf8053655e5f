"""What PyTorch's older code, and its bookkeeping, ask of tensors: ndimension(), x.new(2, 3), is_complex(x), svd with V in place of its transpose, where a tensor lies.

What it is not: none of it computes anything that other files have not.
"""
import numpy as np

from ..errors import refuse
from . import making, matrices
from .functions import METHODS as COMPUTED
from .keywords import layout


def ndimension(input):
    return input.ndim


def is_complex(input):
    """Never: tensors are real here."""
    return False


def is_signed(input):
    return input.dtype.kind in "fi"


def is_same_size(input, other):
    return input.shape == other.shape


def conj(input):
    """The tensor itself, which is real."""
    return input


def adjoint(input):
    """The transpose of each matrix."""
    return input.transpose(-2, -1)


def svd(input, some=True, compute_uv=True):
    """(U, S, V) with input = U diag(S) V^T, as torch.svd has it; linalg.svd gives V^T. some: no more columns than there are singular values."""
    if not compute_uv:
        return None, matrices.svdvals(input), None
    u, s, vh = matrices.svd(input, full_matrices=not some)
    return u, s, vh.transpose(-2, -1)


def qr(input, some=True):
    """(Q, R), as linalg.qr has them. some: Q has no more columns than the smaller side."""
    return matrices.qr(input, "reduced" if some else "complete")


def new(self, *data, device=None):
    """A tensor of the same dtype: of these sizes, or of these data."""
    device = self.device if device is None else device
    if not data or all([type(n) is int for n in data]) or type(data[0]) is type(self.shape):
        return making.zeros(*(data or (0,)), dtype=self.dtype, device=device)
    return making.tensor(data[0], dtype=self.dtype, device=device)


def data_ptr(self):
    """Where the first entry lies: equal for tensors that begin in the same memory."""
    return self.detach().numpy().ctypes.data


def get_device(self):
    return -1 if self.device == "cpu" else 0


def sum_to_size(self, *size):
    """Summed over what broadcasting from these sizes would repeat."""
    size = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    if np.broadcast_shapes(size, self.shape) != self.shape:
        raise refuse(RuntimeError, f"sum_to_size{{here}}: size {list(size)} is not expandable to size {list(self.shape)}")
    ahead = self.ndim - len(size)
    over = [*range(ahead), *[ahead + k for k, n in enumerate(size) if n == 1 and self.shape[ahead + k] != 1]]
    return (self.sum(tuple(over)) if over else self).reshape(size)


def randint_like(input, low, high=None, *, dtype=None, device=None, requires_grad=False, generator=None):
    """Integers in [low, high), or in [0, low), in the shape, dtype and device of another tensor."""
    return making.randint(low, high, tuple(input.shape), dtype=input.dtype if dtype is None else dtype, device=input.device if device is None else device,
                          requires_grad=requires_grad, generator=generator)


def chain_matmul(*matrices_):
    """The product of matrices, in the cheapest order."""
    return matrices.multi_dot(matrices_)


def scalar_tensor(s, *, dtype=None, device=None):
    return making.tensor(float(s), dtype=dtype, device=device)


def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False):
    """as_tensor, or, with copy, tensor."""
    t = (making.tensor if copy else making.as_tensor)(obj, dtype=dtype, device=device)
    return t.requires_grad_() if requires_grad else t


def get_default_dtype():
    """float32."""
    return making.rules.default


FUNCTIONS = {f.__name__: f for f in (is_complex, is_signed, is_same_size, conj, adjoint, svd, qr)} | {"resolve_conj": conj}
FUNCTIONS_ONLY = {f.__name__: f for f in (randint_like, chain_matmul, scalar_tensor, asarray, get_default_dtype)} | {
    "real": conj, "spmm": COMPUTED["mm"], "dsmm": COMPUTED["mm"]}
METHODS = {f.__name__: f for f in (ndimension, new, data_ptr, get_device, sum_to_size)} | {
    "real": property(conj), "H": property(lambda self: self.t()), "mH": property(adjoint), "is_cpu": property(lambda self: self.device == "cpu"),
    "layout": property(lambda self: layout.strided), "share_memory_": conj,
    "is_shared": is_complex, "is_pinned": is_complex, "is_inference": is_complex, "is_conj": is_complex, "broadcast_to": lambda self, size: self.expand(size),
    "bernoulli": lambda self, p=None, *, generator=None: making.bernoulli(self, p, generator=generator)}
OF_NO_KIND = ("is_sparse", "is_sparse_csr", "is_quantized", "is_mkldnn", "is_nested", "is_meta", "is_mps", "is_xpu", "is_xla")          # False of all tensors
METHODS.update(dict.fromkeys(OF_NO_KIND, False))
