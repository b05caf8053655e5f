"""Layers: modules whose forward is one function of functional.py, initialised as PyTorch initialises them.

What it is not: no operation (functional.py), no distribution (init.py).
"""
import math

import numpy as np

from . import functional as F, init
from ..errors import refuse
from ..tensors import zeros
from .module import FRESH, ONE_OPERATION, Module, Parameter


def unfilled(*shape, dtype=None, device=None):
    """A parameter that is still to be initialised."""
    return Parameter(zeros(*shape, dtype=dtype, device=device))


class Linear(Module):
    """x @ weight.T + bias. Both uniform in +-1 / sqrt(in_features), as PyTorch's (kaiming_uniform_ with a = sqrt(5)).

    >>> import diffeng as de
    >>> Linear(10, 5)(de.zeros(3, 10)).shape
    (3, 5)
    """

    def __init__(self, in_features, out_features, bias=True, device=None, dtype=None):
        self.in_features, self.out_features = in_features, out_features
        self.weight = unfilled(out_features, in_features, dtype=dtype, device=device)
        self.bias = unfilled(out_features, dtype=dtype, device=device) if bias else None
        self.reset_parameters()

    def reset_parameters(self):
        """Draw new values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x):
        return F.LINEAR(x, self.weight) if self.bias is None else F.LINEAR(x, self.weight, self.bias)

    def extra_repr(self):
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """Rows of a table of num_embeddings vectors, standard normal at first; the row padding_idx is 0 and stays so. The other options are functional.embedding's."""

    def __init__(self, num_embeddings, embedding_dim, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False, device=None, dtype=None):
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"padding_idx={padding_idx} must be within num_embeddings={num_embeddings}")
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse = max_norm, norm_type, scale_grad_by_freq, sparse
        self.weight = unfilled(num_embeddings, embedding_dim, dtype=dtype, device=device)
        self.reset_parameters()

    @classmethod
    def from_pretrained(cls, embeddings, freeze=True, padding_idx=None, **options):
        """The layer of a table that is there, (n, d), which is copied. freeze: it is not trained."""
        if embeddings.ndim != 2:
            raise refuse(ValueError, f"from_pretrained{{here}}: Embeddings parameter is expected to be 2-dimensional, and has shape {list(embeddings.shape)}")
        layer = cls(*embeddings.shape, padding_idx=padding_idx, **options)
        layer.weight = Parameter(embeddings, requires_grad=not freeze)
        return layer

    def reset_parameters(self):
        init.normal_(self.weight)
        if self.padding_idx is not None:
            init._set(self.weight, np.where(np.arange(self.num_embeddings)[:, None] == self.padding_idx, 0, self.weight.value), "zero_")

    def forward(self, x):
        return F.embedding(x, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq)

    def extra_repr(self):
        return f"{self.num_embeddings}, {self.embedding_dim}" + (f", padding_idx={self.padding_idx}" if self.padding_idx is not None else "")


class LayerNorm(Module):
    """Mean 0 and variance 1 over the last axes, then times weight (ones at first) plus bias (zeros)."""

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True, device=None, dtype=None):
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.weight = unfilled(*self.normalized_shape, dtype=dtype, device=device) if elementwise_affine else None
        self.bias = unfilled(*self.normalized_shape, dtype=dtype, device=device) if elementwise_affine and bias else None
        self.reset_parameters()

    def reset_parameters(self):
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, x):
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Module):
    """x / sqrt(mean(x^2) + eps) over the last axes, times weight (ones at first). eps: by default that of the dtype."""

    def __init__(self, normalized_shape, eps=None, elementwise_affine=True, device=None, dtype=None):
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.weight = unfilled(*self.normalized_shape, dtype=dtype, device=device) if elementwise_affine else None
        self.reset_parameters()

    def reset_parameters(self):
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, x):
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    extra_repr = LayerNorm.extra_repr


class _NormOfChannels(Module):
    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None, *, bias=True):
        self.num_features, self.eps, self.momentum, self.affine, self.track_running_stats = num_features, eps, momentum, affine, track_running_stats
        self.weight = unfilled(num_features, dtype=dtype, device=device) if affine else None
        self.bias = unfilled(num_features, dtype=dtype, device=device) if affine and bias else None
        self.register_buffer("running_mean", zeros(num_features, dtype=dtype, device=device) if track_running_stats else None)
        self.register_buffer("running_var", zeros(num_features, dtype=dtype, device=device) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype=np.int64, device=device) if track_running_stats else None)
        self.reset_parameters()

    def reset_parameters(self):
        """Weight 1, bias 0, nothing seen."""
        for x, first in ((self.weight, 1.0), (self.bias, 0.0), (self.running_mean, 0.0), (self.running_var, 1.0), (self.num_batches_tracked, 0)):
            if x is not None:
                init.constant_(x, first)

    def extra_repr(self):
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, bias={self.bias is not None}, "
                f"track_running_stats={self.track_running_stats}")


class _BatchNorm(_NormOfChannels):
    def forward(self, x):
        if x.ndim not in self.dims:
            raise refuse(ValueError, f"{type(self).__name__}{{here}}: expected {' or '.join([f'{n}D' for n in self.dims])} input (got {x.ndim}D input of shape {list(x.shape)})")
        if x.shape[1] != self.num_features:
            raise refuse(RuntimeError, f"{type(self).__name__}{{here}}: expected {self.num_features} channels on axis 1, and got an input of shape {list(x.shape)}")
        tracked, momentum = self.track_running_stats, self.momentum
        if self.training and tracked:
            self.num_batches_tracked.add_(1)
            momentum = 1 / self.num_batches_tracked.item() if momentum is None else momentum
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training or not tracked, momentum or 0.0, self.eps)


class BatchNorm1d(_BatchNorm):
    """Mean 0 and variance 1 of each of num_features channels of (N, C) or (N, C, L): of the batch in training, else of the running averages.

    momentum: how far the running averages move at each step; None: they are means of all batches. See functional.batch_norm.
    """

    dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Mean 0 and variance 1 of each of num_features channels of (N, C, H, W), as BatchNorm1d."""

    dims = (4,)


class BatchNorm3d(_BatchNorm):
    """Mean 0 and variance 1 of each of num_features channels of (N, C, D, H, W), as BatchNorm1d."""

    dims = (5,)


class _InstanceNorm(_NormOfChannels):
    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=False, track_running_stats=False, device=None, dtype=None, *, bias=True):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, x):
        if x.ndim not in self.dims:
            raise refuse(ValueError, f"{type(self).__name__}{{here}}: expected {self.dims[0]}D or {self.dims[1]}D input (got {x.ndim}D input of shape {list(x.shape)})")
        single = x.ndim == self.dims[0]
        x = x.unsqueeze(0) if single else x
        if x.shape[1] != self.num_features and (self.affine or self.track_running_stats):
            raise refuse(ValueError, f"{type(self).__name__}{{here}}: expected {self.num_features} channels, and got an input of shape {list(x.shape)}")
        out = F.instance_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training or not self.track_running_stats, self.momentum or 0.0, self.eps)
        return out.squeeze(0) if single else out


class InstanceNorm1d(_InstanceNorm):
    """Mean 0 and variance 1 of each channel of each example of (N, C, L), or (C, L): by its own places, in training and else, unless running averages are tracked.

    affine: with weight (ones at first) and bias (zeros). See functional.instance_norm.
    """

    dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Mean 0 and variance 1 of each channel of each example of (N, C, H, W), or (C, H, W), as InstanceNorm1d."""

    dims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Mean 0 and variance 1 of each channel of each example of (N, C, D, H, W), or (C, D, H, W), as InstanceNorm1d."""

    dims = (4, 5)


class GroupNorm(Module):
    """Mean 0 and variance 1 of each of num_groups groups of num_channels channels, then times weight (ones at first) plus bias (zeros)."""

    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True, device=None, dtype=None):
        if num_channels % num_groups:
            raise refuse(ValueError, f"GroupNorm{{here}}: num_channels must be divisible by num_groups: {num_channels} and {num_groups}")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.weight = unfilled(num_channels, dtype=dtype, device=device) if affine else None
        self.bias = unfilled(num_channels, dtype=dtype, device=device) if affine else None
        self.reset_parameters()

    def reset_parameters(self):
        if self.affine:
            init.ones_(self.weight)
            init.zeros_(self.bias)

    def forward(self, x):
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class _Dropout(Module):
    function = staticmethod(F.dropout)

    def __init__(self, p=0.5, inplace=False):
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, x):
        return self.function(x, self.p, self.training, self.inplace)

    def extra_repr(self):
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training, entries become 0 with probability p and the others are divided by 1 - p: another mask at each call, the same under the same manual_seed."""


class Dropout1d(_Dropout):
    """Dropout of whole channels of (N, C, L) or (C, L)."""

    function = staticmethod(F.dropout1d)


class Dropout2d(_Dropout):
    """Dropout of whole channels of (N, C, H, W)."""

    function = staticmethod(F.dropout2d)


class Dropout3d(_Dropout):
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W)."""

    function = staticmethod(F.dropout3d)


class Bilinear(Module):
    """functional.bilinear with a weight (out_features, in1_features, in2_features) and a bias, both uniform in +-1 / sqrt(in1_features)."""

    def __init__(self, in1_features, in2_features, out_features, bias=True, device=None, dtype=None):
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self.weight = unfilled(out_features, in1_features, in2_features, dtype=dtype, device=device)
        self.bias = unfilled(out_features, dtype=dtype, device=device) if bias else None
        self.reset_parameters()

    def reset_parameters(self):
        """Draw new values."""
        for x in self.parameters():
            init.uniform_(x, -1 / math.sqrt(self.in1_features), 1 / math.sqrt(self.in1_features))

    def forward(self, input1, input2):
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self):
        return f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, bias={self.bias is not None}"


class CosineSimilarity(Module):
    """functional.cosine_similarity by these arguments."""

    def __init__(self, dim=1, eps=1e-8):
        self.dim, self.eps = dim, eps

    def forward(self, x1, x2):
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """functional.pairwise_distance by these arguments."""

    def __init__(self, p=2.0, eps=1e-6, keepdim=False):
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1, x2):
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class Identity(Module):
    """x."""

    def __init__(self, *args, **kwargs):
        pass

    def forward(self, x):
        return x


class Flatten(Module):
    """Axes start_dim to end_dim as one."""

    def __init__(self, start_dim=1, end_dim=-1):
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x):
        return x.flatten(self.start_dim, self.end_dim)

    def extra_repr(self):
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis as several."""

    def __init__(self, dim, unflattened_size):
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, x):
        return x.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self):
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


ONE_OPERATION[Linear] = F.LINEAR, ("weight", "bias")
FRESH |= {Linear, LayerNorm, RMSNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, GroupNorm}
