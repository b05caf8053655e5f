"""Pooling and normalisation of groups as PyTorch has them, where it is installed."""
import numpy as np
import pytest

import diffeng as de
from beside_torch import both, both_refuse, needs_torch
from diffeng.nn import functional as F

RNG = np.random.default_rng(0)
LINE, IMAGE = RNG.standard_normal((2, 3, 11)).astype(np.float32), RNG.standard_normal((2, 4, 7, 9)).astype(np.float32)
W = RNG.standard_normal(4).astype(np.float32)
KERNELS = [((3,), {}), ((2, 1), {}), ((3, 2, 1), {}), ((3, 2, 1), {"ceil_mode": True}), ((2,), {"ceil_mode": True}), ((2, 3), {"ceil_mode": True})]


@needs_torch
@pytest.mark.parametrize("args, options", KERNELS)
def test_windows(args, options):
    for name, x in (("1d", LINE), ("2d", IMAGE)):
        both(lambda m, F, x: getattr(F, "max_pool" + name)(x, *args, return_indices=True, **options), x)
        both(lambda m, F, x: getattr(F, "max_pool" + name)(x, *args, dilation=2, return_indices=True, **options), x)
        both(lambda m, F, x: getattr(F, "avg_pool" + name)(x, *args, **options), x)
        both(lambda m, F, x: getattr(F, "avg_pool" + name)(x, *args, count_include_pad=False, **options), x[0])


@needs_torch
def test_windows_that_are_no_squares():
    both(lambda m, F, x: m.nn.MaxPool2d((2, 3), (1, 2), (1, 0))(x), IMAGE)
    both(lambda m, F, x: m.nn.AvgPool2d((2, 3), stride=(3, 1), padding=(0, 1), divisor_override=5)(x), IMAGE)
    both(lambda m, F, x: m.nn.AvgPool1d(4)(x[0]), LINE)
    both(lambda m, F, x: F.max_pool2d(m.relu(x), 2), IMAGE)                # ties: the first one
    both(lambda m, F, x: m.nn.MaxPool1d(2)(x), RNG.integers(0, 9, (1, 2, 6)).astype(np.float32))


@needs_torch
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_windows_that_share_out_the_input(size):
    for kind in ("avg", "max"):
        both(lambda m, F, x: getattr(F, f"adaptive_{kind}_pool1d")(x, size), LINE)
        both(lambda m, F, x: getattr(F, f"adaptive_{kind}_pool2d")(x, (size, 4)), IMAGE)
        both(lambda m, F, x: getattr(F, f"adaptive_{kind}_pool2d")(x[0], (None, size)), IMAGE)
    both(lambda m, F, x: F.adaptive_max_pool2d(x, size, return_indices=True), IMAGE)
    both(lambda m, F, x: F.adaptive_max_pool1d(x, size, return_indices=True), LINE)


@needs_torch
def test_groups_and_pixels():
    both(lambda m, F, x, w: F.group_norm(x, 2, w, w * 2, eps=1e-3), IMAGE, W)
    both(lambda m, F, x: m.nn.GroupNorm(4, 4)(x), IMAGE)
    both(lambda m, F, x: m.nn.GroupNorm(1, 3, affine=False)(x), LINE)
    both(lambda m, F, x: m.nn.PixelShuffle(2)(x), IMAGE)
    both(lambda m, F, x: m.nn.PixelUnshuffle(3)(x[..., :6, :]), IMAGE)
    both(lambda m, F, x: m.nn.Unflatten(1, (2, -1))(x), IMAGE)


@needs_torch
def test_batch_norm_of_images():
    def f(m, F, x):
        layer = m.nn.BatchNorm2d(4)
        out = [layer(x), layer(x * 2)]
        return [*out, layer.running_mean, layer.running_var, layer.num_batches_tracked, layer.eval()(x)]
    both(f, IMAGE, tol=1e-4)


@needs_torch
def test_what_is_refused():
    for f in (lambda m, F, x: F.max_pool2d(x, 3, padding=2), lambda m, F, x: F.max_pool2d(x, 20), lambda m, F, x: F.group_norm(x, 3), lambda m, F, x: m.nn.GroupNorm(3, 4),
              lambda m, F, x: m.nn.BatchNorm2d(4)(x[0]), lambda m, F, x: m.nn.BatchNorm2d(5)(x), lambda m, F, x: m.nn.BatchNorm1d(4)(x), lambda m, F, x: F.avg_pool1d(x, 2),
              lambda m, F, x: F.pixel_shuffle(x, 3)):
        both_refuse(f, IMAGE)


def test_the_largest_entry_and_the_mean():
    x = de.arange(16).float().reshape(1, 1, 4, 4)
    values, places = F.max_pool2d(x, 2, return_indices=True)
    assert values.flatten().tolist() == places.flatten().tolist() == [5, 7, 13, 15] and F.avg_pool2d(x, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert F.adaptive_avg_pool2d(x, 1).item() == 7.5
