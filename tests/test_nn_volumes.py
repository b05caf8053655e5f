"""Layers of three axes of places, which layers are of which kind, and weights of losses, as PyTorch has them."""
import numpy as np
import pytest

import diffeng as de
from beside_torch import both, both_refuse, needs_torch, seeded, torch          # noqa: F401  seeded: a fixture
from diffeng import nn

pytestmark = needs_torch
RNG = np.random.default_rng(0)


def drawn(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


VOLUMES, SMALL = drawn(2, 4, 5, 4, 6), drawn(1, 4, 2, 3, 2)
OPTIONS = [{}, dict(stride=2, padding=1), dict(stride=(1, 2, 3), padding=(1, 0, 2), dilation=(1, 2, 1)), dict(padding=1, groups=2)]


@pytest.mark.parametrize("options", OPTIONS)
def test_convolutions(options):
    w, b = drawn(6, 4 // options.get("groups", 1), 3, 2, 3), drawn(6)
    both(lambda m, F, x, w, b: m.conv3d(x, w, b, **options), VOLUMES, w, b, tol=1e-4)
    both(lambda m, F, x, w: F.conv_transpose3d(x, w, **options), SMALL, drawn(4, 6 // options.get("groups", 1), 3, 2, 3), tol=1e-4)
    both(lambda m, F, x, w: F.conv3d(x[0], w, padding="same"), VOLUMES, drawn(2, 4, 3, 5, 1), tol=1e-4)


def layers(n):
    return [n.Conv3d(4, 6, (1, 2, 3), padding=1, padding_mode="replicate"), n.ConvTranspose3d(4, 2, 3, stride=2, output_padding=1), n.MaxPool3d((2, 1, 3), 2), n.MaxPool3d(2, ceil_mode=True),
            n.AvgPool3d(3, 2, 1, count_include_pad=False), n.AvgPool3d((2, 3, 2)), n.AdaptiveAvgPool3d((2, None, 4)), n.AdaptiveMaxPool3d(3), n.BatchNorm3d(4),
            n.InstanceNorm3d(4, affine=True), n.Dropout3d(0.0), n.ConstantPad3d(1, 2.0)]


@pytest.mark.parametrize("k", range(len(layers(nn))))
def test_layers(k):
    ours, theirs = layers(nn)[k], layers(torch.nn)[k]
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({name: x.numpy() for name, x in theirs.state_dict().items()})
    for _ in range(2):                                           # what runs along moves on
        both(lambda m, F, x: (theirs if m is torch else ours)(x), VOLUMES, tol=1e-4, turns=1)
        ours.eval(), theirs.eval()
    both_refuse(lambda m, F, x: (theirs if m is torch else ours)(x), drawn(2)) if k in (0, 1, 2, 4, 8) else None


def test_places_of_the_largest():
    both(lambda m, F, x: F.max_pool3d(x, 2, 2, return_indices=True), VOLUMES)
    both(lambda m, F, x: F.adaptive_max_pool3d(x[0], (2, 3, 2), return_indices=True), VOLUMES)
    dropped = nn.Dropout3d(0.5)(de.ones(4, 8, 2, 2, 2))
    assert {*dropped.sum((2, 3, 4)).reshape(-1).tolist()} == {0.0, 16.0}


def test_no_layer_is_one_of_another_number_of_axes():
    made = dict(Conv=(1, 1, 1), ConvTranspose=(1, 1, 1), MaxPool=(1,), AvgPool=(1,), AdaptiveAvgPool=(1,), AdaptiveMaxPool=(1,), BatchNorm=(1,), InstanceNorm=(1,), Dropout=())
    for n in (nn, torch.nn):
        names = [f"{kind}{size}d" for kind in made for size in (1, 2, 3)] + ["Dropout"]
        for kind, args in made.items():
            for size in (1, 2, 3):
                layer = getattr(n, f"{kind}{size}d")(*args)
                assert [name for name in names if isinstance(layer, getattr(n, name))] == [f"{kind}{size}d"]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_weights_of_losses(reduction):
    x, y, w = drawn(3, 4), drawn(3, 4), np.abs(drawn(3, 4))
    for name in ("mse_loss", "l1_loss", "huber_loss"):
        both(lambda m, F, x, y, w: getattr(F, name)(x, y, reduction=reduction, weight=w), x, y, w)
        both_refuse(lambda m, F, x, y, w: getattr(F, name)(x, y, weight=w[:1]), x, y, w)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("older", [dict(size_average=False), dict(size_average=True), dict(reduce=False), dict(size_average=False, reduce=True), dict(size_average=None, reduce=None)])
def test_words_before_there_was_reduction(older):
    x, y = drawn(3, 4), np.array([0, 3, 1])
    both(lambda m, F, x, y: (F.cross_entropy(x, y, **older), m.nn.CrossEntropyLoss(**older)(x, y), m.nn.MSELoss(**older)(x, x.detach() + 1), F.soft_margin_loss(x, x.detach().sign(), **older),
                             m.nn.BCEWithLogitsLoss(**older)(x, (x.detach() > 0).float()), m.nn.L1Loss(**older)(x, m.zeros_like(x)), m.nn.HingeEmbeddingLoss(margin=0.5, **older)(x, x.detach().sign()),
                             m.nn.NLLLoss(ignore_index=3, **older)(x, y), F.kl_div(x, x.detach().softmax(1), **older)), x, y, tol=1e-4)
