"""Losses: modules that keep how a loss is to be taken, and call functional.py."""
from . import functional as F
from .module import Module


class _Loss(Module):
    def __init__(self, reduction="mean"):
        self.reduction = F._checked(reduction)

    def __init_subclass__(cls):
        cls.__init__ = F.of_older_words(cls.__init__)


class MSELoss(_Loss):
    """The mean of (input - target)**2; reduction "sum" or "none" likewise in all losses.

    >>> import diffeng as de
    >>> MSELoss()(de.tensor([1.0, 2.0]), de.tensor([0.0, 0.0]))
    tensor(2.5000)
    """

    def forward(self, input, target):
        return F.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """The mean of |input - target|."""

    def forward(self, input, target):
        return F.l1_loss(input, target, self.reduction)


class SmoothL1Loss(_Loss):
    """The mean of d^2 / (2 beta) where |d| < beta, else of |d| - beta / 2."""

    def __init__(self, reduction="mean", beta=1.0):
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input, target):
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


class HuberLoss(_Loss):
    """The mean of d^2 / 2 where |d| < delta, else of delta (|d| - delta / 2)."""

    def __init__(self, reduction="mean", delta=1.0):
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input, target):
        return F.huber_loss(input, target, self.reduction, self.delta)


class KLDivLoss(_Loss):
    """The divergence of Kullback & Leibler of a target from logarithms; reduction="batchmean" is the one of the textbooks: see functional.kl_div."""

    def __init__(self, reduction="mean", log_target=False):
        super().__init__("mean" if reduction == "batchmean" else reduction)
        self.reduction, self.log_target = reduction, log_target

    def forward(self, input, target):
        return F.kl_div(input, target, self.reduction, self.log_target)


class BCELoss(_Loss):
    """The mean of -(y log(p) + (1 - y) log(1 - p)) of probabilities p; weight: a factor of each entry."""

    def __init__(self, weight=None, reduction="mean"):
        super().__init__(reduction)
        self.register_buffer("weight", weight)

    def forward(self, input, target):
        return F.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Sigmoid and BCELoss in one, for logits of any size. pos_weight: a factor of the positive targets' terms."""

    def __init__(self, weight=None, reduction="mean", pos_weight=None):
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input, target):
        return F.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class CrossEntropyLoss(_Loss):
    """The mean of -log(softmax(logits)[target]): see functional.cross_entropy."""

    def __init__(self, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
        self.register_buffer("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input, target):
        return F.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


class CTCLoss(_Loss):
    """The mean of -log of the probabilities of sequences of labels: see functional.ctc_loss."""

    def __init__(self, blank=0, reduction="mean", zero_infinity=False):
        super().__init__(reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity)


class NLLLoss(_Loss):
    """The mean of -logs[target], of logarithms of probabilities."""

    def __init__(self, weight=None, ignore_index=-100, reduction="mean"):
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input, target):
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


def _class(name, function, doc, **usual):
    """The module of a loss with these options, the positional arguments of PyTorch's in this order."""
    class Loss(_Loss):
        def __init__(self, *args, **given):
            unknown = [k for k in given if k not in usual]
            if unknown or len(args) > len(usual):
                raise TypeError(f"{name}: got an unexpected argument {(unknown or args[-1:])[0]!r}; it takes {', '.join(usual)}")
            options = {**usual, **dict(zip(usual, args)), **given}
            super().__init__(options.pop("reduction"))
            self.options = tuple(options)
            for key, x in options.items():
                self.register_buffer(key, x) if key == "weight" else setattr(self, key, x)

        def forward(self, *tensors):
            return function(*tensors, **{key: getattr(self, key) for key in self.options}, reduction=self.reduction)
    Loss.__name__, Loss.__qualname__, Loss.__doc__ = name, name, doc
    return Loss


_DOCS = {name: f"{' '.join(f.__doc__.split())} See functional.{name}." for name, f in F.margins.FUNCTIONS.items()}
MODULES = {name: _class(name, F.__dict__[function], _DOCS[function], **options) for name, function, options in (
    ("TripletMarginLoss", "triplet_margin_loss", dict(margin=1.0, p=2.0, eps=1e-6, swap=False, reduction="mean")),
    ("TripletMarginWithDistanceLoss", "triplet_margin_with_distance_loss", dict(distance_function=None, margin=1.0, swap=False, reduction="mean")),
    ("MarginRankingLoss", "margin_ranking_loss", dict(margin=0.0, reduction="mean")), ("HingeEmbeddingLoss", "hinge_embedding_loss", dict(margin=1.0, reduction="mean")),
    ("CosineEmbeddingLoss", "cosine_embedding_loss", dict(margin=0.0, reduction="mean")), ("MultiMarginLoss", "multi_margin_loss", dict(p=1, margin=1.0, weight=None, reduction="mean")),
    ("SoftMarginLoss", "soft_margin_loss", dict(reduction="mean")), ("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss", dict(weight=None, reduction="mean")),
    ("PoissonNLLLoss", "poisson_nll_loss", dict(log_input=True, full=False, eps=1e-8, reduction="mean")),
    ("GaussianNLLLoss", "gaussian_nll_loss", dict(full=False, eps=1e-6, reduction="mean")))}
globals().update(MODULES)
