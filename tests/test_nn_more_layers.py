"""Dicts of modules and parameters, bilinear maps, norms across channels, channels in turns; more distributions: as PyTorch has them."""
import collections

import numpy as np
import pytest

import diffeng as de
from beside_torch import both, both_refuse, needs_torch, torch

pytestmark = needs_torch
RNG = np.random.default_rng(0)


def drawn(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def test_dicts_of_parameters_and_modules():
    def told(m):
        d = m.nn.ParameterDict({"b": m.zeros(2), "a": m.nn.Parameter(m.ones(2, 3))})
        d["c"] = m.zeros(1)
        d.update(collections.OrderedDict([("z", m.ones(1)), ("y", m.ones(2))]))
        popped, missing = d.pop("c"), d.get("nothing", 5)
        del d["z"]
        act = m.nn.ReLU()
        e = m.nn.ModuleDict([("x", act), ("w", m.nn.Linear(2, 1)), ("y", act)])
        last = e.pop("y")
        e["w"] = m.nn.Tanh()
        net = m.nn.Module()
        net.d, net.e = d, e
        return ([*d], tuple(popped.shape), missing, "a" in d, "c" in d, len(d), [tuple(p.shape) for p in d.values()], [*e.keys()], last is act, len(e), repr(e), [*net.state_dict()],
                [isinstance(p, m.nn.Parameter) for p in d.values()])
    assert told(de) == told(torch)
    assert len(de.nn.ModuleDict({"x": (same := de.nn.ReLU()), "y": same})) == 2
    with pytest.raises(KeyError, match="already exists"):
        de.nn.ParameterDict({"forward": de.ones(1)})


def layers(n):
    return [n.Bilinear(4, 4, 3), n.Bilinear(4, 4, 2, bias=False), n.LocalResponseNorm(3), n.LocalResponseNorm(4, 0.1, 0.5, 2.0), n.ChannelShuffle(3), n.Softmax2d()]


@pytest.mark.parametrize("k", range(6))
def test_layers(k):
    ours, theirs = layers(de.nn)[k], layers(torch.nn)[k]
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({name: x.numpy() for name, x in theirs.state_dict().items()})
    x = drawn(2, 6, 3, 4)
    both(lambda m, F, x: (theirs if m is torch else ours)(*([x, x.flip(0)] if k < 2 else [x])), x, tol=1e-4)


def test_functions_refuse():
    both_refuse(lambda m, F, x: F.local_response_norm(x, 2), drawn(3, 4))
    both_refuse(lambda m, F, x: m.channel_shuffle(x, 4), drawn(2, 6, 3))
    bound = np.abs(de.nn.Bilinear(16, 3, 50).weight.detach().numpy()).max()
    assert 0.24 < bound <= 0.25


def test_distributions():
    x, y = drawn(3, 4), drawn(3, 4)
    makers = [lambda D, x, y: D.Uniform(x, x + y.exp()), lambda D, x, y: D.Uniform(-3.0, y.exp()), lambda D, x, y: D.Laplace(x, y.exp()), lambda D, x, y: D.Exponential(y.exp())]
    for make in makers:
        def f(m, F, x, y, make=make):
            d = make(m.distributions, x, y)
            at = (d.mean + 0.1 * d.stddev).detach()
            return d.log_prob(at), d.entropy(), d.mean, d.variance, d.stddev
        both(f, x, y, tol=1e-4)
        d = make(de.distributions, de.tensor(x[0]), de.tensor(y[0]).requires_grad_())
        many = d.rsample((20000,))
        np.testing.assert_allclose(many.mean(0).detach().numpy(), d.mean.detach().numpy(), atol=0.1)
        np.testing.assert_allclose(many.std(0).detach().numpy(), d.stddev.detach().numpy(), rtol=0.05)
        many.sum().backward()
    both_refuse(lambda m, F, x: m.distributions.Uniform(x, x - 1), x)
    both_refuse(lambda m, F, x: m.distributions.Exponential(-x.abs()), x)
