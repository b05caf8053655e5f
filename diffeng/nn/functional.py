"""Layers and losses as functions: linear(x, weight, bias), cross_entropy(logits, target), ...; each is one operation on tensors.

What it is: NumPy code recorded like any other (tensor_engine/core.py), written so that no intermediate overflows where the result does not.
"""
import math
import warnings

import numpy as np

from .. import random, special
from ..errors import refuse
from ..nodes import Tracer
from ..numpy_api import astype
from ..tensor_engine import making
from ..tensor_engine.core import Operation, beside, constant
from ..tensor_engine.functions import applied, broadcast_tensors, einsum, one_hot, operand          # noqa: F401
from ..tensor_engine.grad_mode import no_grad
from ..tensor_engine.reductions import matmul
from ..tensor_engine.rules import promoted, torch_error
from ..tensor_engine.writes import update
from ..vocabulary import elementwise as e, indexing
from . import activations, ctc, margins, pooling, resampling, sampling
from ..tensor_engine.arithmetic import pairwise_distance, renorm          # noqa: F401
from .convolution import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d          # noqa: F401
from .margins import checked as _checked, of_older_words, reduced as _reduced          # noqa: F401
from .padding import pad          # noqa: F401

globals().update({**activations.FUNCTIONS, **pooling.FUNCTIONS, **resampling.FUNCTIONS, **sampling.FUNCTIONS, **margins.FUNCTIONS, **ctc.FUNCTIONS})


# ---- layers -----------------------------------------------------------------------------------------------------------------------------

def _linear(x, weight, bias=None):
    if x.ndim and weight.ndim == 2 and x.shape[-1] != weight.shape[1]:
        raise torch_error(RuntimeError, f"linear: mat1 and mat2 shapes cannot be multiplied ({math.prod(x.shape[:-1])}x{x.shape[-1]} and "
                                        f"{weight.shape[1]}x{weight.shape[0]}): the input's last axis has {x.shape[-1]} entries, and the layer takes {weight.shape[1]}")
    out = matmul(x, np.transpose(weight))
    return out if bias is None else e.add(out, bias)


def _embedding(at, weight, padding_idx=None):
    if at.dtype.kind not in "iu":
        raise torch_error(RuntimeError, f"embedding: Expected tensor for argument 'indices' to have integer dtype (such as int64), and it is {at.dtype}")
    n = weight.shape[0]
    rows = indexing.getitem(weight, e.where(e.less(at, 0), n, at), index=(indexing.Slot(0),))           # what is negative is out of range
    return rows if padding_idx is None else e.where(e.equal(at, padding_idx)[..., None], e.stop_gradient(rows), rows)


def _layer_norm(x, weight=None, bias=None, *, axes, eps):
    d = x - np.mean(x, axis=axes, keepdims=True)
    out = d / e.sqrt(np.mean(d * d, axis=axes, keepdims=True) + eps)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


LINEAR, _EMBEDDING, _LAYER_NORM = Operation(_linear, "linear"), Operation(_embedding, "embedding"), Operation(_layer_norm, "layer_norm")
_DROPOUT = Operation(lambda x, key, counter, p: random.dropout(x, p, key, counter), "dropout")


def _rms_norm(x, weight=None, *, axes, eps):
    out = x / e.sqrt(np.mean(x * x, axis=axes, keepdims=True) + eps)
    return out if weight is None else out * weight


def _batch_norm(x, *given, axes, eps, affine, known):
    """given: weight and bias, as far as `affine` names them, then mean and variance, where they are known."""
    given = [np.reshape(g, (-1,) + (1,) * (x.ndim - 2)) for g in given]
    if known:
        d, var = x - given[-2], given[-1]
    else:
        d = x - np.mean(x, axis=axes, keepdims=True)
        var = np.mean(d * d, axis=axes, keepdims=True)
    out = d / e.sqrt(var + eps)
    for name, g in zip(affine, given):
        out = out * g if name == "weight" else out + g
    return out


def _towards(mean, var, x, momentum, *, axes, count):
    m = np.mean(x, axis=axes, keepdims=True)
    v = np.sum(e.square(x - m), axis=axes) / (count - 1)
    return mean + momentum * (np.reshape(m, mean.shape) - mean), var + momentum * (v - var)


def _towards_each(mean, var, x, momentum, *, axes, count):
    m = np.mean(x, axis=axes, keepdims=True)
    v = np.sum(e.square(x - m), axis=axes) / (count - 1)
    return mean + momentum * (np.mean(np.reshape(m, x.shape[:2]), axis=0) - mean), var + momentum * (np.mean(v, axis=0) - var)


def _attention(q, k, mask=None, *, causal, scale):
    scores = matmul(q * scale, np.swapaxes(k, -1, -2))
    if causal:
        mask = np.tri(*scores.shape[-2:], dtype=np.bool_)
    if mask is None or mask.dtype.kind == "f":
        return special.softmax(scores if mask is None else scores + mask, -1)
    out = special.softmax(e.where(mask, scores, np.full((), -np.inf, scores.dtype)), -1)
    return out if causal else e.where(mask, out, np.zeros((), out.dtype))                # 0 / 0 where nothing takes part


_RMS_NORM, _BATCH_NORM = Operation(_rms_norm, "rms_norm"), Operation(_batch_norm, "batch_norm")
_ATTENTION = Operation(_attention, "scaled_dot_product_attention")


def linear(input, weight, bias=None):
    """input @ weight.T + bias. input: (..., in); weight: (out, in); bias: (out,)."""
    return LINEAR(operand(input), weight) if bias is None else LINEAR(operand(input), weight, bias)


def bilinear(input1, input2, weight, bias=None):
    """x^T W y + bias for each W. input1: (..., a), input2: (..., b), weight: (out, a, b), bias: (out,) -> (..., out)."""
    out = einsum("...i,oij,...j->...o", input1, weight, input2)
    return out if bias is None else out + bias


def embedding(input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    """Rows of weight: input int64 of any shape, weight (n, d), result input.shape + (d,). The row padding_idx gets no gradient.

    max_norm: rows that are asked for and have a larger norm, of order norm_type, are scaled down to it in weight before. scale_grad_by_freq: the gradient of a row is divided by
    how often it is asked for. sparse has no effect: gradients are dense. Raises IndexError for an index outside of 0..n-1.
    """
    input = operand(input)
    if max_norm is not None:
        with no_grad():
            rows = input.unique()
            weight[rows] = renorm(weight[rows], norm_type, 0, max_norm)
    out = _EMBEDDING(input, weight) if padding_idx is None else _EMBEDDING(input, weight, padding_idx=padding_idx % weight.shape[0])
    if scale_grad_by_freq:
        at = input.value
        share = (1 / np.bincount(at.reshape(-1))[at]).astype(weight.dtype)
        out = out.detach() + (out - out.detach()) * beside(out, share[..., None])
    return out


def _last_axes(name, input, shape):
    if input.shape[len(input.shape) - len(shape):] != shape:
        raise refuse(RuntimeError, f"{name}{{here}}: Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but got input "
                                   f"of size {list(input.shape)}")


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """(x - mean) / sqrt(var + eps) over the last axes, times weight plus bias (Ba, Kiros & Hinton, arXiv:1607.06450)."""
    shape = tuple(normalized_shape)
    _last_axes("layer_norm", input, shape)
    given = [x for x in (weight, bias) if x is not None]
    if weight is None and bias is not None:
        raise refuse(ValueError, "layer_norm{here}: a bias without a weight")
    return _LAYER_NORM(input, *given, axes=tuple(range(-len(shape), 0)), eps=float(eps))


_keys = {}


def dropout(input, p=0.5, training=True, inplace=False):
    """Entries set to 0 with probability p, the others divided by 1 - p; nothing unless training. Seeded by manual_seed; each call draws anew."""
    if not 0 <= p <= 1:
        raise refuse(ValueError, f"dropout{{here}}: dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    source = making.generator
    key = _keys.get(source.seed)
    if key is None:
        _keys.clear()
        key = _keys[source.seed] = constant(np.array(source.seed % 2 ** 63), ())
    source.draws += 1
    return applied(_DROPOUT, (input, key, constant(np.array(source.draws), ())), {"p": float(p)}, inplace)


def _whole_channels(input, ahead, p, training, inplace):
    if not training or p == 0:
        return dropout(input, p, False)
    out = input * dropout(input.new_ones(*input.shape[:ahead], *(1,) * (input.ndim - ahead)), p)
    return input._write("dropout_", out) if inplace else out


def dropout1d(input, p=0.5, training=True, inplace=False):
    """dropout of whole channels of (N, C, L) or (C, L) (Tompson et al., CVPR 2015). Raises RuntimeError for others."""
    if input.ndim not in (2, 3):
        raise refuse(RuntimeError, f"dropout1d{{here}}: Expected 2D or 3D input, but received a {input.ndim}D input")
    return _whole_channels(input, input.ndim - 1, p, training, inplace)


def dropout2d(input, p=0.5, training=True, inplace=False):
    """dropout of whole channels of (N, C, H, W), or, as in PyTorch, (N, C, L)."""
    return _whole_channels(input, 2, p, training, inplace)


def dropout3d(input, p=0.5, training=True, inplace=False):
    """dropout of whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    return _whole_channels(input, 1 if input.ndim == 4 else 2, p, training, inplace)


def rms_norm(input, normalized_shape, weight=None, eps=None):
    """x / sqrt(mean(x^2) + eps) over the last axes, times weight (Zhang & Sennrich, NeurIPS 2019). eps: by default that of the dtype."""
    _last_axes("rms_norm", input, tuple(normalized_shape))
    given = [] if weight is None else [weight]
    return _RMS_NORM(input, *given, axes=tuple(range(-len(normalized_shape), 0)), eps=float(np.finfo(input.dtype).eps if eps is None else eps))


def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """(x - mean) / sqrt(var + eps) of each channel, times weight plus bias (Ioffe & Szegedy, ICML 2015). input: (N, C) or (N, C, ...).

    training: mean and variance are the batch's, and the running ones, if any, move towards them, in place: r <- (1 - momentum) r + momentum batch's, with the
    variance of N - 1. Raises ValueError for a batch of one value a channel there.
    """
    axes = tuple([k for k in range(input.ndim) if k != 1])
    count = math.prod([input.shape[k] for k in axes])
    if training and count < 2:
        raise refuse(ValueError, f"batch_norm{{here}}: Expected more than 1 value per channel when training, got input size "
                                 f"{list(input.shape)}: use a larger batch, or .eval()")
    affine = {name: x for name, x in (("weight", weight), ("bias", bias)) if x is not None}
    if not training:
        return _BATCH_NORM(input, *affine.values(), running_mean, running_var, axes=axes, eps=float(eps), affine=tuple(affine), known=True)
    out = _BATCH_NORM(input, *affine.values(), axes=axes, eps=float(eps), affine=tuple(affine), known=False)
    if running_mean is not None:
        update(_towards, (running_mean, running_var), (input.detach(), float(momentum)), axes=axes, count=count)
    return out


def instance_norm(input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5):
    """Mean 0 and variance 1 of each channel of each example, times weight plus bias (Ulyanov et al., arXiv:1607.08022). input: (N, C, ...).

    use_input_stats: by the example's own places, towards whose mean over the batch the running mean and variance move, if there are any; else by the running ones.
    Raises ValueError for channels of one entry there.
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    n, channels, *places = input.shape
    count = math.prod(places)
    if count < 2:
        raise refuse(ValueError, f"instance_norm{{here}}: Expected more than 1 spatial element when training, got input size {list(input.shape)}")
    if running_mean is not None:
        update(_towards_each, (running_mean, running_var), (input.detach(), float(momentum)), axes=tuple(range(2, input.ndim)), count=count)
    out = layer_norm(input, places, eps=eps)
    return _by_channel(out, weight, bias)


def _by_channel(x, weight, bias):
    shape = (1, -1) + (1,) * (x.ndim - 2)
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    """Mean 0 and variance 1 of each of num_groups groups of channels, times weight plus bias of each channel (Wu & He, ECCV 2018). input: (N, C, ...).

    Raises RuntimeError where the channels do not share out evenly.
    """
    n, channels, *places = input.shape
    if channels % num_groups:
        raise refuse(RuntimeError, f"group_norm{{here}}: Expected number of channels in input to be divisible by num_groups, but got input of shape {list(input.shape)} and "
                                   f"num_groups={num_groups}")
    groups = input.reshape(n, num_groups, -1)
    return _by_channel(layer_norm(groups, groups.shape[2:], eps=eps).reshape(input.shape), weight, bias)


def scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """softmax(query @ key.mT * scale) @ value (Vaswani et al., NeurIPS 2017). query: (..., L, E); key: (..., S, E); value: (..., S, V); result (..., L, V).

    attn_mask: truth values, True for what takes part, or numbers that are added, of a shape that broadcasts to (..., L, S). is_causal: position i sees 0..i.
    scale: 1 / sqrt(E) unless given. dropout_p: of the weights, whether a module trains or not. Where nothing takes part the result is 0.
    enable_gqa: several heads of the queries, on axis -3, share one of key and value.
    """
    if enable_gqa:
        key, value = [x.repeat_interleave(query.shape[-3] // x.shape[-3], -3) for x in (key, value)]
    if attn_mask is not None and is_causal:
        raise refuse(RuntimeError, "scaled_dot_product_attention{here}: Explicit attn_mask should not be set when is_causal=True: leave one of them out, or combine "
                                   "them, mask & ones(L, S).tril().bool()")
    return dropout(attention_weights(query, key, attn_mask, is_causal, scale), dropout_p) @ value


def attention_weights(query, key, attn_mask=None, is_causal=False, scale=None):
    """The weights (..., L, S) of scaled_dot_product_attention."""
    mask = [] if attn_mask is None else [operand(attn_mask)]
    return _ATTENTION(query, key, *mask, causal=bool(is_causal), scale=float(query.shape[-1] ** -0.5 if scale is None else scale))


def normalize(input, p=2.0, dim=1, eps=1e-12):
    """x / max(norm(x), eps), with the p-norm along an axis."""
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)


def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """The cosine of the angle between vectors along an axis, of tensors that are broadcast; norms below eps count as eps."""
    x1, x2 = broadcast_tensors(x1, x2)
    return ((x1 * x2).sum(dim)) / (x1.norm(2, dim).clamp(min=eps) * x2.norm(2, dim).clamp(min=eps))


# ---- losses -----------------------------------------------------------------------------------------------------------------------------------

def _same_size(name, input, target):
    if input.shape != target.shape:
        raise torch_error(ValueError, f"{name}: Using a target size ({list(target.shape)}) that is different to the input size ({list(input.shape)}): they must be the "
                                 "same; reshape one of them")


def _classes(name, input, target):
    if not input.ndim or target.ndim and target.dtype.kind == "f" and target.shape != input.shape \
            or target.dtype.kind != "f" and target.shape != (input.shape[:1] + input.shape[2:] if input.ndim > 1 else ()):
        raise torch_error(ValueError, f"{name}: the input has shape {list(input.shape)}, (classes,), (N, classes) or (N, classes, ...), and the target {list(target.shape)}: class "
                                 "numbers have the input's shape without the axis of classes, probabilities that shape itself")


def _by_weight(terms, weight, reduction):
    """The mean of terms by weights, their weighted sum, or each times its weight."""
    if weight is None:
        return _reduced(terms, reduction)
    return np.sum(terms * weight) / np.sum(weight) if reduction == "mean" else _reduced(terms * weight, reduction)


def _mse(x, y, weight=None, *, reduction):
    return _by_weight(e.square(e.subtract(*promoted(x, y))), weight, reduction)


def _l1(x, y, weight=None, *, reduction):
    return _by_weight(e.absolute(e.subtract(*promoted(x, y))), weight, reduction)


def _huber(x, y, weight=None, *, reduction, delta, scale):
    d = e.absolute(e.subtract(*promoted(x, y)))
    terms = e.where(e.less(d, delta), d * d * (0.5 * scale), (d - 0.5 * delta) * (delta * scale))
    return _reduced(terms if weight is None else terms * weight, reduction)


def _kl(x, y, reduction, log_target):
    return _reduced(e.exp(y) * (y - x) if log_target else special.xlogy(y, y) - y * x, reduction)


def _log_from_minus_100(x, log, zero):
    """log(x), or of 1 + x, where it is above -100, else -100; zero: where x makes the logarithm -inf. No infinity is multiplied by 0."""
    there = e.greater(x, zero + math.exp(-100)) if zero == 0 else e.greater(x, zero)
    return e.where(there, log(e.where(there, x, np.full((), 1.0 + zero, x.dtype))), np.full((), -100.0, x.dtype))


def _bce(x, y, weight=None, *, reduction):
    _same_size("binary_cross_entropy", x, y)
    value = x.node.value if type(x) is Tracer else x                   # not there while a program is made: only the first steps are checked
    if value is not None and not np.all((value >= 0) & (value <= 1)):
        raise torch_error(RuntimeError, "binary_cross_entropy: all elements of input should be between 0 and 1: put a sigmoid before it, or use BCEWithLogitsLoss")
    out = -(y * _log_from_minus_100(x, e.log, 0.0) + (1 - y) * _log_from_minus_100(-x, e.log1p, -1.0))
    return _reduced(out if weight is None else out * weight, reduction)


def _bce_with_logits(x, y, weight=None, pos_weight=None, *, reduction):
    _same_size("binary_cross_entropy_with_logits", x, y)
    up = y * special.log_expit(x)
    out = -((up if pos_weight is None else up * pos_weight) + (1 - y) * special.log_expit(-x))
    return _reduced(out if weight is None else out * weight, reduction)


def _picked(rows, target, n):
    """rows[..., target], the targets with a count of classes n; targets below 0 are as much out of range as those above."""
    places = [np.arange(k).reshape([-1 if j == i else 1 for j in range(target.ndim)]) for i, k in enumerate(target.shape)]
    index = tuple([indexing.Slot(k) for k in range(target.ndim + 1)])
    return indexing.getitem(rows, *places, e.where(e.less(target, 0), n, target), index=index)


def _class_last(x):
    return np.moveaxis(x, 1, -1) if x.ndim > 2 else x


def _nll(logs, target, weight=None, *, reduction, ignore_index, label_smoothing=0.0):
    """The negative logarithms of the probabilities (..., classes) of the targets."""
    n = logs.shape[-1]
    counts = e.not_equal(target, ignore_index)
    target = e.where(counts, target, 0)
    picked = -_picked(logs, target, n)
    factor = astype(counts, logs.dtype)
    if weight is not None:
        picked, factor = picked * weight[target], factor * weight[target]
    if label_smoothing:
        picked = (1 - label_smoothing) * picked - label_smoothing * np.mean(logs if weight is None else logs * weight, axis=-1)
    out = e.where(counts, picked, np.zeros((), logs.dtype))
    return np.sum(out) / np.sum(factor) if reduction == "mean" else _reduced(out, reduction)


def _cross_entropy(x, target, weight=None, *, reduction, ignore_index, label_smoothing):
    _classes("cross_entropy", x, target)
    x = _class_last(x)
    logs = special.log_softmax(x, axis=-1)
    if target.dtype.kind == "f":
        target = _class_last(target)
        if label_smoothing:
            target = (1 - label_smoothing) * target + label_smoothing / x.shape[-1]
        out = -np.sum(target * logs if weight is None else target * logs * weight, axis=-1)
        return _reduced(out, "sum") / math.prod(out.shape) if reduction == "mean" else _reduced(out, reduction)
    return _nll(logs, target, weight, reduction=reduction, ignore_index=ignore_index, label_smoothing=label_smoothing)


def _nll_loss(x, target, weight=None, *, reduction, ignore_index):
    _classes("nll_loss", x, target)
    return _nll(_class_last(x), target, weight, reduction=reduction, ignore_index=ignore_index)


_MSE, _L1, _BCE = Operation(_mse, "mse_loss"), Operation(_l1, "l1_loss"), Operation(_bce, "binary_cross_entropy")
_LOGITS, _ENTROPY = Operation(_bce_with_logits, "binary_cross_entropy_with_logits"), Operation(_cross_entropy, "cross_entropy")
_HUBER, _KL = Operation(_huber, "huber_loss"), Operation(_kl, "kl_div")
_NLL = Operation(_nll_loss, "nll_loss")
_LOGITS_POSITIVE = Operation(lambda x, y, p, weight=None, *, reduction: _bce_with_logits(x, y, weight, p, reduction=reduction), "binary_cross_entropy_with_logits")


def _pointwise(op, input, target, reduction, weight=None, **options):
    if input.shape != target.shape:
        warnings.warn(f"Using a target size ({list(target.shape)}) that is different to the input size ({list(input.shape)}): they are broadcast, which is rarely "
                      "what is meant. Give them the same size", stacklevel=3)
    if weight is not None and weight.shape != input.shape:
        raise refuse(ValueError, f"{op.name}{{here}}: Weights and input must have the same size: they have {list(weight.shape)} and {list(input.shape)}; weight.expand(input.shape)")
    return op(input, operand(target), *([] if weight is None else [operand(weight)]), reduction=reduction, **options)


@of_older_words
def mse_loss(input, target, reduction="mean", weight=None):
    """(input - target)**2, its mean, its sum, or as it is ("none"). weight: a factor of each entry, by which the mean is a weighted one."""
    return _pointwise(_MSE, input, target, reduction, weight)


@of_older_words
def l1_loss(input, target, reduction="mean", weight=None):
    """|input - target|, its mean, its sum, or as it is. weight: a factor of each entry, by which the mean is a weighted one."""
    return _pointwise(_L1, input, target, reduction, weight)


@of_older_words
def smooth_l1_loss(input, target, reduction="mean", beta=1.0):
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, of the difference d (Girshick, ICCV 2015)."""
    if beta < 0:
        raise refuse(RuntimeError, f"smooth_l1_loss{{here}} does not support negative values for beta: {beta}")
    return _pointwise(_HUBER, input, target, reduction, delta=float(beta), scale=1 / beta) if beta else l1_loss(input, target, reduction)


def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """d^2 / 2 where |d| < delta, else delta (|d| - delta / 2), of the difference d (Huber, Ann. Math. Statist. 35, 1964). weight: a factor of each entry."""
    if delta <= 0:
        raise refuse(RuntimeError, f"huber_loss{{here}} does not support non-positive values for delta: {delta}")
    return _pointwise(_HUBER, input, target, reduction, weight, delta=float(delta), scale=1.0)


@of_older_words
def kl_div(input, target, reduction="mean", log_target=False):
    """target (log(target) - input), input being logarithms: the divergence of Kullback & Leibler with reduction="batchmean", the sum divided by the batch's size.

    log_target: the target consists of logarithms, too.
    """
    out = _pointwise(_KL, input, target, "sum" if reduction == "batchmean" else reduction, log_target=bool(log_target))
    return out / input.shape[0] if reduction == "batchmean" else out


@of_older_words
def binary_cross_entropy(input, target, weight=None, reduction="mean"):
    """-(y log(p) + (1 - y) log(1 - p)) of probabilities p; logarithms below -100 count as -100, as in PyTorch.

    Raises ValueError for different shapes, RuntimeError for a value outside [0, 1] where that is seen. Where a logarithm is cut the derivative is 0.
    """
    if weight is None:
        return _BCE(operand(input), operand(target), reduction=reduction)
    return _BCE(operand(input), operand(target), operand(weight), reduction=reduction)


@of_older_words
def binary_cross_entropy_with_logits(input, target, weight=None, reduction="mean", pos_weight=None):
    """The same of p = sigmoid(input), for logits of any size: -(y log(sigmoid(x)) + (1 - y) log(sigmoid(-x))). pos_weight: a factor of the first term."""
    more = [] if weight is None else [operand(weight)]
    if pos_weight is not None:
        return _LOGITS_POSITIVE(input, operand(target), operand(pos_weight), *more, reduction=reduction)
    return _LOGITS(input, operand(target), *more, reduction=reduction)


@of_older_words
def cross_entropy(input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """-log(softmax(input)[target]): input logits (classes,), (N, classes) or (N, classes, ...), target class numbers without that axis, or probabilities.

    weight: of each class. ignore_index: targets that do not count. label_smoothing: this part of the target is spread over all classes.
    Raises ValueError for shapes that do not fit, IndexError for a target that is no class.
    """
    return _ENTROPY(operand(input), operand(target), *([] if weight is None else [operand(weight)]), reduction=reduction, ignore_index=int(ignore_index),
                    label_smoothing=float(label_smoothing))


@of_older_words
def nll_loss(input, target, weight=None, ignore_index=-100, reduction="mean"):
    """-input[target]: input logarithms of probabilities; the rest as in cross_entropy."""
    return _NLL(operand(input), operand(target), *([] if weight is None else [operand(weight)]), reduction=reduction, ignore_index=int(ignore_index))
