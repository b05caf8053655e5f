"""interpolate, unfold and fold, transposed convolutions and instance norms as PyTorch has them, where it is installed; adjoints and derivatives by numbers where not."""
import itertools

import numpy as np
import pytest

import diffeng as de
from beside_torch import both, both_refuse, needs_torch
from diffeng.nn import functional as F

RNG = np.random.default_rng(0)


def drawn(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


LINES, IMAGES, CUBES, W, B = drawn(2, 3, 7), drawn(2, 3, 5, 6), drawn(1, 2, 3, 4, 2), drawn(3), drawn(3)
MODES = [(mode, x, align) for mode, xs, aligns in (("nearest", (LINES, IMAGES, CUBES), (None,)), ("nearest-exact", (LINES, IMAGES, CUBES), (None,)), ("linear", (LINES,), (None, True)),
                                                   ("bilinear", (IMAGES,), (False, True)), ("bicubic", (IMAGES,), (None, True)), ("trilinear", (CUBES,), (None, True)),
                                                   ("area", (LINES, IMAGES, CUBES), (None,))) for x in xs for align in aligns]
SIZES = [dict(size=1), dict(size=4), dict(size=11), dict(scale_factor=2), dict(scale_factor=0.7), dict(scale_factor=1.7), dict(scale_factor=1.7, recompute_scale_factor=True),
         dict(size=(3, 8, 2)), dict(scale_factor=(1.5, 2.0, 0.7))]


@needs_torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode, x, align", MODES, ids=lambda v: str(getattr(v, "ndim", v)))
def test_interpolate(mode, x, align):
    for options in SIZES:
        options = {k: v[:x.ndim - 2] if isinstance(v, tuple) else v for k, v in options.items()}
        both(lambda m, F, x: F.interpolate(x, mode=mode, align_corners=align, **options), x, tol=1e-4)


@needs_torch
@pytest.mark.parametrize("name, options", [("Upsample", dict(scale_factor=2, mode="bilinear", align_corners=False)), ("Upsample", dict(scale_factor=(2, 3))), ("UpsamplingNearest2d", dict(size=(3, 4))),
                                           ("UpsamplingBilinear2d", dict(scale_factor=2))])
def test_upsampling(name, options):
    import torch
    both(lambda m, F, x: getattr(m.nn, name)(**options)(x), IMAGES)
    assert repr(getattr(de.nn, name)(**options)) == repr(getattr(torch.nn, name)(**options))


@needs_torch
@pytest.mark.parametrize("kernel, dilation, padding, stride", [*itertools.product((2, (3, 2)), (1, (1, 2)), (0, (1, 0)), (1, (2, 3)))])
def test_windows_as_columns(kernel, dilation, padding, stride):
    given = kernel, dilation, padding, stride
    both(lambda m, F, x: (F.unfold(x, *given), F.fold(F.unfold(x, *given) * 2, (5, 6), *given)), IMAGES, tol=1e-4)
    both(lambda m, F, x: m.nn.Fold((5, 6), *given)(m.nn.Unfold(*given)(x)), IMAGES[0])


@needs_torch
@pytest.mark.parametrize("stride, padding, output_padding, groups, dilation", [(1, 0, 0, 1, 1), (2, 1, 1, 1, 1), (3, 0, 2, 2, 1), (2, 1, 0, 2, 2), ((2,), 1, 1, 1, 3), (1, 1, 0, 1, 1)])
def test_transposed_convolutions(stride, padding, output_padding, groups, dilation):
    given = stride, padding, output_padding, groups, dilation
    bias = drawn(3 * groups)
    both(lambda m, F, x, w, b: F.conv_transpose1d(x, w, b, *given), drawn(2, 4, 6), drawn(4, 3, 3), bias, tol=1e-4)
    both(lambda m, F, x, w, b: F.conv_transpose2d(x, w, b, *given), drawn(2, 4, 5, 3), drawn(4, 3, 3, 2), bias, tol=1e-4)
    both(lambda m, F, x, w: F.conv_transpose2d(x, w, None, *given), drawn(4, 5, 3), drawn(4, 3, 3, 2), tol=1e-4)


@needs_torch
@pytest.mark.parametrize("name, args, options, size", [("ConvTranspose1d", (4, 6, 3), dict(stride=2, padding=1, output_padding=1, groups=2), None),
                                                       ("ConvTranspose2d", (4, 6, (3, 2)), dict(stride=2, dilation=2, bias=False), None),
                                                       ("ConvTranspose2d", (4, 6, 3), dict(stride=2, padding=1), (10, 6)), ("ConvTranspose2d", (4, 6, 3), dict(stride=2), (2, 6, 12, 7))])
def test_layers_of_transposed_convolutions(name, args, options, size):
    import torch
    theirs, ours = getattr(torch.nn, name)(*args, **options), getattr(de.nn, name)(*args, **options)
    assert repr(theirs) == repr(ours) and {k: tuple(v.shape) for k, v in theirs.state_dict().items()} == {k: tuple(v.shape) for k, v in ours.state_dict().items()}
    assert ours.weight.abs().max() <= 1 / np.sqrt(np.prod(ours.weight.shape[1:])) + 1e-6

    def f(m, F, x):
        layer = {de: ours, torch: theirs}[m]
        with m.no_grad():
            for k, p in enumerate(layer.parameters()):
                p.copy_(m.linspace(-1, 1 + k, p.numel()).reshape(p.shape))
        return layer(x, size) if size else layer(x)
    both(f, drawn(2, 4, 5, *(3,) * (name[-2] == "2")), tol=1e-4)


@needs_torch
def test_instance_norm():
    both(lambda m, F, x, w, b: F.instance_norm(x, weight=w, bias=b, eps=1e-3), IMAGES, W, B, tol=1e-4)
    both(lambda m, F, x, w, b: F.instance_norm(x, b.detach(), w.detach().abs(), w, b, use_input_stats=False), LINES, W, B, tol=1e-4)
    for options in (dict(), dict(affine=True), dict(affine=True, track_running_stats=True)):
        for name, x in (("InstanceNorm1d", LINES), ("InstanceNorm2d", IMAGES), ("InstanceNorm1d", LINES[0])):
            def f(m, F, x):
                layer = getattr(m.nn, name)(3, **options)
                kept = ["running_mean", "running_var", "num_batches_tracked"] if layer.track_running_stats else []
                return [layer(x), layer(x * 2), *[getattr(layer, k) for k in kept], layer.eval()(x)]
            both(f, x, tol=1e-4)


@needs_torch
@pytest.mark.filterwarnings("ignore")
def test_what_is_refused():
    for f in (lambda m, F, x: F.interpolate(x), lambda m, F, x: F.interpolate(x, 3, 2), lambda m, F, x: F.interpolate(x, 3, mode="linear"), lambda m, F, x: F.interpolate(x, 3, mode="nope"),
              lambda m, F, x: F.interpolate(x, 3, align_corners=True), lambda m, F, x: F.interpolate(x, (3,)), lambda m, F, x: F.interpolate(x, 0), lambda m, F, x: F.unfold(x, 9),
              lambda m, F, x: F.fold(x[0], (4, 4), 2), lambda m, F, x: F.fold(x, (4, 4), 2), lambda m, F, x: F.conv_transpose2d(x, m.ones(3, 2, 2, 2), output_padding=1),
              lambda m, F, x: F.conv_transpose2d(x, m.ones(4, 2, 2, 2)), lambda m, F, x: F.conv_transpose2d(x, m.ones(3, 2, 2, 2), padding=9), lambda m, F, x: F.conv_transpose1d(x, m.ones(3, 2, 2)),
              lambda m, F, x: m.nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect"), lambda m, F, x: m.nn.ConvTranspose2d(3, 4, 3)(x, output_size=(20, 20)),
              lambda m, F, x: F.instance_norm(x[..., :1, :1]), lambda m, F, x: m.nn.InstanceNorm2d(3)(x[0, 0]), lambda m, F, x: m.nn.InstanceNorm2d(4, affine=True)(x)):
        both_refuse(f, IMAGES)


def test_they_are_adjoints():
    x, w, g = (de.tensor(a).double() for a in (drawn(2, 4, 7, 5), drawn(3, 2, 3, 2), drawn(2, 3, 4, 5)))
    given = dict(stride=2, padding=1, groups=1)
    y = F.conv2d(x[:, :2], w, **given)
    back = F.conv_transpose2d(g[..., :y.shape[2], :y.shape[3]], w, output_padding=(0, 1), **given)
    assert back.shape == x[:, :2].shape and (y * g[..., :y.shape[2], :y.shape[3]]).sum().allclose((x[:, :2] * back).sum())
    columns = F.unfold(x, 3, padding=1, stride=2)
    other = de.randn(*columns.shape, dtype=de.float64)
    assert (columns * other).sum().allclose((x * F.fold(other, (7, 5), 3, padding=1, stride=2)).sum())


@pytest.mark.parametrize("f", [lambda x: F.interpolate(x, size=(3, 7), mode="bilinear"), lambda x: F.interpolate(x, scale_factor=1.6, mode="bicubic"), lambda x: F.instance_norm(x),
                               lambda x: F.conv_transpose2d(x, de.arange(24.0).reshape(2, 3, 2, 2).double(), stride=2, dilation=2)])
def test_first_and_second_derivatives_by_differences(f):
    assert de.autograd.gradcheck(f, (de.tensor(drawn(1, 2, 4, 4)).double().requires_grad_(),))
    x, step = de.tensor(drawn(1, 2, 4, 4)).double().requires_grad_(), 1e-6

    def slope(x):
        return de.autograd.grad((f(x) ** 3).sum(), [x], create_graph=True)[0]
    second = de.autograd.grad(slope(x).sum(), [x])[0]
    near = [slope((x.detach() + h).requires_grad_()).detach() for h in (step, -step)]
    assert second.sum().item() == pytest.approx(((near[0] - near[1]).sum() / (2 * step)).item(), rel=1e-4, abs=1e-3)
