"""The same program here and in PyTorch: values, gradients, shapes and dtypes are equal."""
import numpy as np
import pytest

import diffeng as de

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")


@pytest.fixture(autouse=True)
def seeded():
    """Random numbers of both begin anew before each test of a module that imports this."""
    de.manual_seed(0)
    if torch is not None:
        torch.manual_seed(0)


def both(f, *arrays, tol=2e-5, turns=3):
    """f(library, its nn.functional, tensors) -> a tensor, or a tuple of them; here several times, as what is met again is compiled. float32 arrays get gradients."""
    outs = []
    for m in [torch] + [de] * turns:
        ts = [m.tensor(np.array(a)) for a in arrays]
        ts = [t.requires_grad_() if a.dtype == np.float32 else t for t, a in zip(ts, arrays)]
        found = f(m, m.nn.functional, *ts)
        found = list(found) if isinstance(found, (tuple, list)) else [found]
        loss = sum([(x * x).sum() for x in found if x.requires_grad])
        if not isinstance(loss, int):
            loss.backward()
        outs.append([x.detach().numpy() for x in found] + [None if t.grad is None else t.grad.numpy() for t in ts])
    for ours in outs[1:]:
        assert len(ours) == len(outs[0])
        for a, b in zip(ours, outs[0]):
            assert (a is None) == (b is None)
            if b is not None:
                assert a.shape == b.shape and a.dtype == b.dtype, (a.shape, b.shape, a.dtype, b.dtype)
                np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


def both_refuse(f, *arrays):
    """An error of the same type in both."""
    kinds = []
    for m in (torch, de):
        with pytest.raises(Exception) as caught:
            f(m, m.nn.functional, *[m.tensor(np.array(a)) for a in arrays])
        kinds.append(caught.type)
    assert issubclass(kinds[1], kinds[0]), kinds
