"""Losses of margins, pairs, counts and variances as PyTorch has them, where it is installed; their derivatives by differences where not."""
import itertools

import numpy as np
import pytest

import diffeng as de
from beside_torch import both, both_refuse, needs_torch
from diffeng.nn import functional as F

RNG = np.random.default_rng(0)
A, B, C = (RNG.standard_normal((4, 3)).astype(np.float32) for _ in range(3))
SIGNS, SIGN, CLASSES = np.where(RNG.random((4, 3)) > 0.5, 1, -1), np.array([1, -1, 1, -1]), np.array([2, 0, 1, 1])
COUNTS, W = RNG.integers(0, 5, (4, 3)), (RNG.random(3) + 0.5).astype(np.float32)
LOSSES = {
    **{f"triplet {p} {swap} {margin}": (lambda m, F, r, a, b, c, p=p, swap=swap, margin=margin: F.triplet_margin_loss(a, b, c, margin, p, swap=swap, reduction=r), A, B, C)
       for p, swap, margin in itertools.product((1, 2, 3.5), (False, True), (0.5, 2.0))},
    "triplets broadcast": (lambda m, F, r, a, b, c: F.triplet_margin_loss(a[:1], b, c, reduction=r), A, B, C),
    "triplets of vectors": (lambda m, F, r, a, b, c: F.triplet_margin_loss(a[0], b[0], c[0], reduction=r), A, B, C),
    "triplet at the margin": (lambda m, F, r, a: F.triplet_margin_loss(a, a.detach() + 1, a.detach() - 1, 1e-12 + 0.0, reduction=r), A),
    "own distance": (lambda m, F, r, a, b, c: F.triplet_margin_with_distance_loss(a, b, c, distance_function=lambda x, y: 1 - F.cosine_similarity(x, y), swap=True, margin=0.3, reduction=r), A, B, C),
    "usual distance": (lambda m, F, r, a, b, c: F.triplet_margin_with_distance_loss(a, b, c, reduction=r), A, B, C),
    "ranking": (lambda m, F, r, a, b, y: F.margin_ranking_loss(a, b, y, reduction=r), A, B, SIGNS), "ranking with a margin": (lambda m, F, r, a, b, y: F.margin_ranking_loss(a, b[:1], y, 0.7, reduction=r), A, B, SIGNS),
    "ranking at the margin": (lambda m, F, r, a, y: F.margin_ranking_loss(a, a * 1, y, reduction=r), A, SIGNS),
    "hinge": (lambda m, F, r, a, y: F.hinge_embedding_loss(a, y, reduction=r), A, SIGNS), "hinge 0": (lambda m, F, r, a, y: F.hinge_embedding_loss(a, y * 0, 0.3, reduction=r), A, SIGNS),
    "cosine": (lambda m, F, r, a, b, y: F.cosine_embedding_loss(a, b, y, reduction=r), A, B, SIGN), "cosine margin": (lambda m, F, r, a, b, y: F.cosine_embedding_loss(a, b, y, 0.3, reduction=r), A, B, SIGN),
    "cosine of vectors": (lambda m, F, r, a, b, y: F.cosine_embedding_loss(a[1], b[1], y[1], -0.5, reduction=r), A, B, SIGN),
    **{f"multi margin {p} {margin}": (lambda m, F, r, a, t, p=p, margin=margin: F.multi_margin_loss(a, t, p, margin, reduction=r), A, CLASSES) for p, margin in itertools.product((1, 2), (1.0, 0.3))},
    "multi margin weights": (lambda m, F, r, a, t, w: F.multi_margin_loss(a, t, weight=w.detach(), reduction=r), A, CLASSES, W),
    "multi margin of a vector": (lambda m, F, r, a, t: F.multi_margin_loss(a[0], t[0], reduction=r), A, CLASSES),
    "soft margin": (lambda m, F, r, a, y: F.soft_margin_loss(a * 30, y, reduction=r), A, SIGNS),
    "multilabel": (lambda m, F, r, a, y, w: F.multilabel_soft_margin_loss(a, (y + 1) // 2, w.detach(), reduction=r), A, SIGNS, W),
    **{f"poisson {log} {full}": (lambda m, F, r, a, k, log=log, full=full: F.poisson_nll_loss(a if log else a.abs() + 0.1, k, log, full, reduction=r), A, COUNTS) for log, full in itertools.product((True, False), repeat=2)},
    "poisson of both": (lambda m, F, r, a, b: F.poisson_nll_loss(a, b.abs() + 0.5, full=True, reduction=r), A, B),
    "gaussian": (lambda m, F, r, a, b, c: F.gaussian_nll_loss(a, b, c * c, reduction=r), A, B, C), "gaussian full": (lambda m, F, r, a, b, c: F.gaussian_nll_loss(a, b, c[:, :1] ** 2, True, reduction=r), A, B, C),
    "gaussian small": (lambda m, F, r, a, b, c: F.gaussian_nll_loss(a, b, c[:, 0] ** 2, eps=0.5, reduction=r), A, B, C), "gaussian number": (lambda m, F, r, a, b: F.gaussian_nll_loss(a, b, 2.0, reduction=r), A, B),
    "kl": (lambda m, F, r, a, b: F.kl_div(a.log_softmax(1), b.softmax(1), reduction=r), A, B), "kl of logarithms": (lambda m, F, r, a, b: F.kl_div(a.log_softmax(1), b.log_softmax(1), reduction=r, log_target=True), A, B),
}
MODULES = [("TripletMarginLoss", (), dict(swap=True), (A, B, C)), ("MarginRankingLoss", (0.5,), {}, (A, B, SIGNS)), ("HingeEmbeddingLoss", (), {}, (A, SIGNS)),
           ("CosineEmbeddingLoss", (), dict(reduction="sum"), (A, B, SIGN)), ("MultiMarginLoss", (2, 0.5), {}, (A, CLASSES)), ("SoftMarginLoss", (), {}, (A, SIGNS)),
           ("PoissonNLLLoss", (), dict(full=True), (A, COUNTS)), ("GaussianNLLLoss", (), dict(full=True), (A, B, C * C)), ("MultiLabelSoftMarginLoss", (), {}, (A, (SIGNS + 1) // 2))]


@needs_torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_pytorchs(name, reduction):
    f, *arrays = LOSSES[name]
    both(lambda m, F, *ts: f(m, F, reduction, *ts), *arrays, tol=1e-4)


@needs_torch
@pytest.mark.parametrize("name, args, options, arrays", MODULES, ids=[m[0] for m in MODULES])
def test_modules(name, args, options, arrays):
    import torch
    both(lambda m, F, x, *ts: getattr(m.nn, name)(*args, **options)(x, *[t.detach() for t in ts]), *arrays)
    assert repr(getattr(de.nn, name)(*args, **options)) == repr(getattr(torch.nn, name)(*args, **options))


@needs_torch
@pytest.mark.filterwarnings("ignore")
def test_what_is_refused():
    for f in (lambda m, F, a, t: F.triplet_margin_loss(a, a, a, margin=-1), lambda m, F, a, t: F.triplet_margin_loss(a, a, a[0]), lambda m, F, a, t: F.margin_ranking_loss(a, a, t),
              lambda m, F, a, t: F.soft_margin_loss(a, a, reduction="no"), lambda m, F, a, t: F.cosine_embedding_loss(a, a, a), lambda m, F, a, t: F.cosine_embedding_loss(a[0], a[0], t),
              lambda m, F, a, t: F.multi_margin_loss(a, t, p=3), lambda m, F, a, t: F.multi_margin_loss(a, t[:2]), lambda m, F, a, t: F.multi_margin_loss(a, t, weight=a),
              lambda m, F, a, t: F.gaussian_nll_loss(a, a, -1.0), lambda m, F, a, t: F.gaussian_nll_loss(a, a, -a * a), lambda m, F, a, t: F.gaussian_nll_loss(a, a, a[:2]),
              lambda m, F, a, t: F.hinge_embedding_loss(a, t), lambda m, F, a, t: m.nn.MarginRankingLoss(margn=1), lambda m, F, a, t: m.nn.HingeEmbeddingLoss(reduction="no")(a, a)):
        both_refuse(f, A, CLASSES)


@pytest.mark.parametrize("f", [lambda a, b, c: F.triplet_margin_loss(a, b, c, swap=True), lambda a, b, c: F.cosine_embedding_loss(a, b, de.tensor(SIGN), 0.1), lambda a, b, c: F.gaussian_nll_loss(a, b, c * c + 0.1),
                               lambda a, b, c: F.multi_margin_loss(a * b, de.tensor(CLASSES), p=2), lambda a, b, c: F.poisson_nll_loss(a, b * b + 1.5, full=True), lambda a, b, c: F.soft_margin_loss(a * b, c)])
def test_derivatives_by_differences(f):
    given = [de.tensor(x).double().requires_grad_() for x in (A, B, C)]
    assert de.autograd.gradcheck(f, tuple(given))
