"""Losses of pairs, triplets and margins, and of counts and variances: triplet_margin_loss, cosine_embedding_loss, poisson_nll_loss, ...; each is one operation on tensors.

What it is not: the losses of regression and classification, which stand in functional.py; the modules of all of them (losses.py).
"""
import functools
import math

import numpy as np

from ..errors import refuse
from ..tensor_engine.core import Operation, TensorBase
from ..tensor_engine.functions import operand
from ..tensor_engine.rules import promoted, torch_error
from ..vocabulary import elementwise as e, indexing


def checked(reduction):
    """The word, if it is one. Raises ValueError for others."""
    if reduction not in ("mean", "sum", "none"):
        raise torch_error(ValueError, f"loss: {reduction} is not a valid value for reduction: choose 'mean', 'sum' or 'none'")
    return reduction


def of_older_words(function):
    """The function, which also takes size_average and reduce, PyTorch's words before there was reduction: False and True, None for what is not said."""
    @functools.wraps(function)
    def told(*args, **kwargs):
        if "size_average" in kwargs or "reduce" in kwargs:
            average, reduce = kwargs.pop("size_average", None), kwargs.pop("reduce", None)
            if (average, reduce) != (None, None):
                kwargs["reduction"] = "none" if reduce is False else "sum" if average is False else "mean"
        return function(*args, **kwargs)
    return told


def reduced(x, reduction):
    """The mean of a loss' terms, their sum, or all of them."""
    checked(reduction)                                   # here, where the operation is recorded, and not at every call
    return np.mean(x) if reduction == "mean" else np.sum(x) if reduction == "sum" else x


def _above_0(x):
    """x, and 0 below: at 0, where a margin is met exactly, with the slope of x, as PyTorch's clamp_min has it."""
    return e.where(e.less(x, 0), np.zeros((), x.dtype), x)


def _distance(x, y, p, eps):
    return np.linalg.vector_norm(x - y + eps, axis=-1, ord=p)


def _triplet(anchor, positive, negative, *, margin, p, eps, swap, reduction):
    near, far = _distance(anchor, positive, p, eps), _distance(anchor, negative, p, eps)
    far = e.minimum(far, _distance(positive, negative, p, eps)) if swap else far
    return reduced(_above_0(margin + near - far), reduction)


def _ranking(x, y, target, *, margin, reduction):
    x, y, target = promoted(x, y, target)
    return reduced(_above_0(margin - target * (x - y)), reduction)


def _hinge(x, target, *, margin, reduction):
    none = np.zeros((), x.dtype)
    return reduced(e.where(e.equal(target, 1), none, _above_0(margin - x)) + e.where(e.equal(target, -1), none, x), reduction)


def _cosine(x, y, target, *, margin, reduction):
    inside = np.sum(x * y, axis=-1) / e.sqrt((np.sum(x * x, axis=-1) + 1e-12) * (np.sum(y * y, axis=-1) + 1e-12))
    none = np.zeros((), inside.dtype)
    return reduced(e.where(e.equal(target, 1), 1 - inside, none) + e.where(e.equal(target, -1), _above_0(inside - margin), none), reduction)


def _multi_margin(x, target, weight=None, *, p, margin, reduction):
    rows, n = np.reshape(x, (-1, x.shape[-1])), x.shape[-1]
    target = np.reshape(target, (-1,))
    target = e.where(e.less(target, 0), n, target)          # what is negative is out of range
    picked = indexing.getitem(rows, np.arange(rows.shape[0]), target, index=(indexing.Slot(0), indexing.Slot(1)))
    over = _above_0(margin - picked[:, None] + rows)
    over = over if p == 1 else over * over
    over = over if weight is None else over * weight[target][:, None]
    others = e.not_equal(target[:, None], np.arange(n))
    out = np.sum(e.where(others, over, np.zeros((), x.dtype)), axis=-1) / n
    return reduced(np.reshape(out, x.shape[:-1]), reduction)


def _soft_margin(x, target, *, reduction):
    x, target = promoted(x, target)
    return reduced(e.logaddexp(-target * x, 0.0), reduction)


def _poisson(x, target, *, log_input, full, eps, reduction):
    x, target = promoted(x, target)
    out = e.exp(x) - target * x if log_input else x - target * e.log(x + eps)
    if full:                                             # log(target!) by Stirling's formula
        large = e.greater(target, 1)
        t = e.where(large, target, np.ones((), target.dtype))
        out = out + e.where(large, t * e.log(t) - t + 0.5 * e.log(2 * math.pi * t), np.zeros((), target.dtype))
    return reduced(out, reduction)


def _gaussian(x, target, var, *, full, eps, reduction):
    x, target, var = promoted(x, target, var)
    var = var + e.stop_gradient(e.maximum(var, eps) - var)
    out = 0.5 * (e.log(var) + e.square(x - target) / var)
    return reduced(out + 0.5 * math.log(2 * math.pi) if full else out, reduction)


_OPS = {f"{name}_loss": Operation(function, f"{name}_loss") for name, function in {
    "triplet_margin": _triplet, "margin_ranking": _ranking, "hinge_embedding": _hinge, "cosine_embedding": _cosine, "multi_margin": _multi_margin, "soft_margin": _soft_margin,
    "poisson_nll": _poisson, "gaussian_nll": _gaussian}.items()}


def _applied(name, *operands, **options):
    return _OPS[name](*[operand(x) for x in operands], **options)


def triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, reduction="mean"):
    """max(margin + d(anchor, positive) - d(anchor, negative), 0), with p-norms d along the last axis (Balntas et al., BMVC 2016). swap: the nearer of anchor and positive to
    the negative counts. Raises ValueError for a margin that is not above 0, RuntimeError for different numbers of axes."""
    if margin <= 0:
        raise refuse(ValueError, f"triplet_margin_loss{{here}}: margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise refuse(RuntimeError, f"triplet_margin_loss{{here}}: The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: anchor "
                                   f"{anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs")
    return _applied("triplet_margin_loss", anchor, positive, negative, margin=float(margin), p=p, eps=float(eps), swap=bool(swap), reduction=reduction)


def triplet_margin_with_distance_loss(anchor, positive, negative, *, distance_function=None, margin=1.0, swap=False, reduction="mean"):
    """triplet_margin_loss with a distance of one's own, a function of two tensors."""
    d = distance_function or (lambda x, y: (x - y + 1e-6).norm(2, -1))
    far = d(anchor, negative)
    far = far.minimum(d(positive, negative)) if swap else far
    out = (margin + d(anchor, positive) - far).clamp(min=0)
    return out.mean() if checked(reduction) == "mean" else out.sum() if reduction == "sum" else out


def margin_ranking_loss(input1, input2, target, margin=0.0, reduction="mean"):
    """max(margin - target (input1 - input2), 0): target 1 where input1 should be larger, -1 where input2. Raises RuntimeError for different numbers of axes."""
    if not input1.ndim == input2.ndim == target.ndim:
        raise refuse(RuntimeError, f"margin_ranking_loss{{here}}: All input tensors should have same dimension but got sizes: input1: {list(input1.shape)}, input2: "
                                   f"{list(input2.shape)}, target: {list(target.shape)}")
    return _applied("margin_ranking_loss", input1, input2, target, margin=float(margin), reduction=reduction)


def hinge_embedding_loss(input, target, margin=1.0, reduction="mean"):
    """input where the target is 1, max(margin - input, 0) where it is -1; their sum elsewhere."""
    return _applied("hinge_embedding_loss", input, target, margin=float(margin), reduction=reduction)


def cosine_embedding_loss(input1, input2, target, margin=0.0, reduction="mean"):
    """1 - cos(input1, input2) where the target is 1, max(cos - margin, 0) where it is -1. input1, input2: (N, D), target: (N,); or (D,) and (). Raises RuntimeError for others."""
    if target.ndim not in (0, 1) or any([x.ndim != target.ndim + 1 for x in (input1, input2)]):
        raise refuse(RuntimeError, f"cosine_embedding_loss{{here}}: {target.ndim}D target tensor expects {target.ndim + 1}D input tensors, 1D or 2D, but found inputs with sizes "
                                   f"{list(input1.shape)} and {list(input2.shape)}")
    return _applied("cosine_embedding_loss", input1, input2, target, margin=float(margin), reduction=reduction)


def multi_margin_loss(input, target, p=1, margin=1.0, weight=None, reduction="mean"):
    """The sum of max(margin - input[target] + input[k], 0)^p over the other classes k, divided by their number and one; weight: of each class, times the target's.

    input: (N, C), target (N,); or (C,) and (). Raises ValueError for p other than 1 and 2, RuntimeError for shapes that do not fit, IndexError for a target that is no class.
    """
    if p not in (1, 2):
        raise refuse(ValueError, "multi_margin_loss{here}: only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise refuse(ValueError, "multi_margin_loss{here}: weight must be one-dimensional")
    if input.ndim not in (1, 2) or not input.numel() or target.numel() != (input.shape[0] if input.ndim == 2 else 1) or target.ndim > 1:
        raise refuse(RuntimeError, f"multi_margin_loss{{here}}: inconsistent target size, expected {list(input.shape[:-1])} but got {list(target.shape)}; the input has shape "
                                   f"{list(input.shape)}, (N, C) or (C,)")
    return _applied("multi_margin_loss", input, target, *([] if weight is None else [weight]), p=int(p), margin=float(margin), reduction=reduction)


def soft_margin_loss(input, target, reduction="mean"):
    """log(1 + exp(-target input)), target 1 or -1, for inputs of any size."""
    return _applied("soft_margin_loss", input, target, reduction=reduction)


def multilabel_soft_margin_loss(input, target, weight=None, reduction="mean"):
    """The mean over classes, the last axis, of -(y log(sigmoid(x)) + (1 - y) log(sigmoid(-x))), times weight; mean, sum or all of the rest."""
    from .functional import binary_cross_entropy_with_logits
    out = binary_cross_entropy_with_logits(input, operand(target).to(input.dtype), weight, "none").mean(-1)
    return out.mean() if checked(reduction) == "mean" else out.sum() if reduction == "sum" else out


def poisson_nll_loss(input, target, log_input=True, full=False, eps=1e-8, reduction="mean"):
    """exp(input) - target input, or, of a rate that is no logarithm (log_input=False), input - target log(input + eps). full: plus log(target!) by Stirling's formula, for
    targets above 1."""
    return _applied("poisson_nll_loss", input, target, log_input=bool(log_input), full=bool(full), eps=float(eps), reduction=reduction)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """(log(var) + (input - target)^2 / var) / 2, with variances of at least eps; full: plus log(2 pi) / 2 (Nix & Weigend, ICNN 1994).

    var: a number, or a tensor of the input's shape, or of that with a last axis of length 1 or without it. Raises ValueError for others, and for a negative number.
    """
    if not isinstance(var, TensorBase):
        if var < 0:
            raise refuse(ValueError, "gaussian_nll_loss{here}: var has negative entry/entries")
        var = input.new_full(input.shape, float(var))
    elif var.shape != input.shape:
        if var.shape == input.shape[:-1]:
            var = var.unsqueeze(-1)
        elif var.shape[:-1] != input.shape[:-1] or var.shape[-1:] != (1,):
            raise refuse(ValueError, f"gaussian_nll_loss{{here}}: var is of incorrect size: {list(var.shape)}, for an input of {list(input.shape)}")
    if np.any(var.value < 0):
        raise refuse(ValueError, "gaussian_nll_loss{here}: var has negative entry/entries")
    return _applied("gaussian_nll_loss", input, target, var, full=bool(full), eps=float(eps), reduction=reduction)


FUNCTIONS = {f.__name__: of_older_words(f) for f in (triplet_margin_loss, triplet_margin_with_distance_loss, margin_ranking_loss, hinge_embedding_loss, cosine_embedding_loss, multi_margin_loss,
                                     soft_margin_loss, multilabel_soft_margin_loss, poisson_nll_loss, gaussian_nll_loss)}
