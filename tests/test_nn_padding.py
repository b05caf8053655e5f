"""pad and the padding layers as PyTorch has them, where it is installed, and in NumPy's words where not; padding of convolutions and pools."""
import numpy as np
import pytest

import diffeng as de
from beside_torch import both, both_refuse, needs_torch
from diffeng.nn import functional as F

RNG = np.random.default_rng(0)
ROWS, LINES, IMAGES, CUBES = (RNG.standard_normal(s).astype(np.float32) for s in ((3, 5), (2, 3, 5), (2, 3, 4, 5), (1, 2, 3, 4, 5)))
WIDTHS = [(ROWS, (1, 2)), (ROWS, (-1, 2)), (ROWS, (2, -2)), (ROWS, (4, 4)), (LINES, (4, 0)), (LINES, (1, 2, 2, 0)), (LINES, (-1, 1, 1, -1)), (IMAGES, (1, 2, 3, 0)), (IMAGES, (-2, 2, 0, 0)),
          (IMAGES, (2, 1, 0, 3, 1, 1)), (CUBES, (1, 1, 2, 1, 1, 2)), (LINES, (0, 0))]


@needs_torch
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("k", range(len(WIDTHS)))
def test_widths(mode, k):
    x, widths = WIDTHS[k]
    both(lambda m, F, x: F.pad(x, widths, mode=mode), x)


@needs_torch
@pytest.mark.parametrize("name, args, x", [("ReflectionPad1d", (2,), LINES), ("ReflectionPad2d", ((1, 2, 0, 3),), IMAGES), ("ReplicationPad3d", (1,), CUBES), ("CircularPad2d", (2,), IMAGES),
                                           ("ZeroPad1d", (2,), LINES), ("ZeroPad2d", ((1, 0, 2, 1),), IMAGES), ("ConstantPad1d", (1, 3.5), LINES), ("ConstantPad3d", ((1, 2, 3, 4, 5, 6), 0.5), CUBES)])
def test_layers(name, args, x):
    import torch
    both(lambda m, F, x: getattr(m.nn, name)(*args)(x), x)
    assert repr(getattr(de.nn, name)(*args)) == repr(getattr(torch.nn, name)(*args))


@needs_torch
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("options", [dict(padding=1), dict(padding="same", dilation=2), dict(padding=(2, 1), stride=2), dict(padding="valid", dilation=(1, 2))])
@pytest.mark.filterwarnings("ignore")
def test_around_convolutions(mode, options):
    def f(m, F, x, w, b):
        layer = m.nn.Conv2d(3, 2, 3, padding_mode=mode, **options)
        with m.no_grad():
            layer.weight.copy_(w), layer.bias.copy_(b)
        y = layer(x)
        y.pow(2).sum().backward()
        return y.detach(), layer.weight.grad, layer.bias.grad, x.grad
    both(f, np.concatenate([IMAGES, IMAGES], 2), RNG.standard_normal((2, 3, 3, 3)).astype(np.float32), RNG.standard_normal(2).astype(np.float32), tol=2e-4)


@needs_torch
@pytest.mark.parametrize("kernel, stride, padding", [((4, 4), (2, 2), (2,)), (3, 1, 1), (2, 3, 1), ((3, 2), (2,), (1, 0)), ((4,), None, (1,))])
def test_the_last_windows_of_pools(kernel, stride, padding):
    image = np.concatenate([IMAGES, IMAGES, IMAGES[:, :, :1]], 2)
    for counts in (True, False):
        for divisor in (None, 3):
            both(lambda m, F, x: F.avg_pool2d(x, kernel, stride, padding, True, counts, divisor), image)
    both(lambda m, F, x: F.max_pool2d(x, kernel, stride, padding, 1, True), image)
    if not isinstance(kernel, tuple) or len(kernel) == 1:
        both(lambda m, F, x: (F.avg_pool1d(x, kernel, stride, padding, True, False), F.max_pool1d(x, kernel, stride, padding, 1, True)), LINES)


@needs_torch
def test_what_is_refused():
    for f in (lambda m, F, x: F.pad(x, (1,)), lambda m, F, x: F.pad(x, (1, 1), "nope"), lambda m, F, x: F.pad(x, (5, 0), "reflect"), lambda m, F, x: F.pad(x, (6, 0), "circular"),
              lambda m, F, x: F.pad(x[0, 0], (1, 1), "reflect"), lambda m, F, x: F.pad(x, (1, 1), "reflect", 2.0), lambda m, F, x: F.pad(x, (1, 1, 1, 1, 1, 1), "replicate"),
              lambda m, F, x: F.pad(x[..., :0], (1, 1), "replicate"), lambda m, F, x: F.pad(x, (-3, -3)), lambda m, F, x: m.nn.Conv1d(1, 1, 1, padding_mode="nope")):
        both_refuse(f, LINES)


def test_without_pytorch():
    x = de.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    for mode, numpys in (("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")):
        np.testing.assert_array_equal(F.pad(x, (2, 1), mode=mode).detach().numpy(), np.pad(x.detach().numpy(), ((0, 0), (2, 1)), mode=numpys))
    F.pad(x, (2, 1), mode="reflect").sum().backward()
    assert x.grad.tolist() == [[1, 3, 2]] and F.pad(x, (1, 0), value=7.0)[0, 0] == 7
