"""Weights that are computed from others: weight_norm, spectral_norm, parametrizations of the user's own, as PyTorch's."""
import copy

import numpy as np
import pytest

import diffeng as de
from beside_torch import needs_torch, seeded, torch          # noqa: F401  seeded: a fixture

pytestmark = [needs_torch, pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")]
RNG = np.random.default_rng(0)


def drawn(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


class Exponential:
    """What two Modules have in common: a positive weight."""

    def forward(self, x):
        return x.exp()

    def right_inverse(self, x):
        return x.abs().log()


class Doubled:
    def forward(self, x):
        return x * 2


def of_ones_own(m, layer, *parts):
    for part in parts:
        layer = m.nn.utils.parametrize.register_parametrization(layer, "weight", type(part.__name__, (part, m.nn.Module), {})())
    return layer


LAYERS = {
    "linear": lambda m: m.nn.utils.weight_norm(m.nn.Linear(3, 4)), "one length": lambda m: m.nn.utils.weight_norm(m.nn.Linear(3, 4), dim=None),
    "columns": lambda m: m.nn.utils.parametrizations.weight_norm(m.nn.Linear(3, 4), dim=1), "parametrized": lambda m: m.nn.utils.parametrizations.weight_norm(m.nn.Linear(3, 4)),
    "conv": lambda m: m.nn.utils.weight_norm(m.nn.Conv1d(3, 4, 2)), "bias": lambda m: m.nn.utils.parametrizations.weight_norm(m.nn.Linear(3, 4), "bias", None),
    "spectral": lambda m: m.nn.utils.spectral_norm(m.nn.Linear(3, 4)), "spectral transposed": lambda m: m.nn.utils.spectral_norm(m.nn.ConvTranspose1d(3, 4, 2), n_power_iterations=2),
    "spectral parametrized": lambda m: m.nn.utils.parametrizations.spectral_norm(m.nn.Linear(3, 4)), "direction": lambda m: m.nn.utils.parametrizations.spectral_norm(m.nn.Linear(3, 4), "bias"),
    "one's own": lambda m: of_ones_own(m, m.nn.Linear(3, 4), Exponential), "several": lambda m: of_ones_own(m, m.nn.Linear(3, 4), Exponential, Doubled),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_train_as_pytorchs(name):
    ours, theirs = LAYERS[name](de), LAYERS[name](torch)
    assert repr(ours) == repr(theirs) and [*ours.state_dict()] == [*theirs.state_dict()]
    assert [(n, tuple(p.shape)) for n, p in ours.named_parameters()] == [(n, tuple(p.shape)) for n, p in theirs.named_parameters()]
    ours.load_state_dict({k: x.numpy() for k, x in theirs.state_dict().items()})
    x = drawn(5, 3, 6) if "Conv" in repr(ours) else drawn(5, 3)
    for m, layer in ((de, ours), (torch, theirs)):
        net, optimizer = m.nn.Sequential(layer, m.nn.Tanh()), m.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(4):
            optimizer.zero_grad()
            (net(m.tensor(x)) ** 2).mean().backward()
            optimizer.step()
        layer.eval()
        layer(m.tensor(x))                                        # a hook makes the weight here
    for (k, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-4, atol=2e-6, err_msg=k)
    np.testing.assert_allclose(ours(de.tensor(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=2e-4, atol=1e-5)
    if "Parametrized" in repr(ours):
        twin = copy.deepcopy(ours)
        np.testing.assert_allclose(twin(de.tensor(x)).detach().numpy(), ours(de.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_they_are_taken_away_again():
    for m in (de, torch):
        x, u = m.tensor(drawn(2, 3)), m.nn.utils
        for make, remove in ((u.weight_norm, u.remove_weight_norm), (u.spectral_norm, u.remove_spectral_norm),
                             (u.parametrizations.weight_norm, lambda layer: u.parametrize.remove_parametrizations(layer, "weight")),
                             (u.parametrizations.spectral_norm, lambda layer: u.parametrize.remove_parametrizations(layer, "weight"))):
            layer = make(m.nn.Linear(3, 4)).eval()
            before = layer(x)
            assert type(remove(layer)) is m.nn.Linear and sorted(layer.state_dict()) == ["bias", "weight"] and isinstance(layer.weight, m.nn.Parameter)
            assert np.allclose(layer(x).detach().numpy(), before.detach().numpy(), atol=1e-6)
            with pytest.raises(ValueError):
                remove(layer)


def test_what_is_set_goes_to_the_originals():
    for m in (de, torch):
        parametrize = m.nn.utils.parametrize
        layer = of_ones_own(m, m.nn.Linear(2, 2), Exponential)
        assert parametrize.is_parametrized(layer, "weight") and not parametrize.is_parametrized(layer, "bias") and isinstance(layer, m.nn.Linear)
        layer.weight = m.tensor([[1.0, 2.0], [3.0, 4.0]])
        np.testing.assert_allclose(layer.parametrizations.weight.original.detach().numpy(), np.log([[1, 2], [3, 4]]), rtol=1e-6, atol=1e-7)
        with parametrize.cached():
            assert layer.weight is layer.weight
        assert layer.weight is not layer.weight
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        np.testing.assert_allclose(layer.weight.detach().numpy(), np.log([[1, 2], [3, 4]]), rtol=1e-6, atol=1e-7)
        with pytest.raises(ValueError):
            parametrize.register_parametrization(layer, "depth", m.nn.Identity())
        with pytest.raises(ValueError):
            parametrize.register_parametrization(layer, "weight", m.nn.Flatten(0))
        doubled = of_ones_own(m, m.nn.Linear(2, 2), Doubled)
        with pytest.raises(RuntimeError):
            doubled.weight = m.ones(2, 2)


def test_parts_of_modules_as_dicts():
    for m in (de, torch):
        net = m.nn.Sequential(m.nn.Linear(2, 3), m.nn.BatchNorm1d(3), m.nn.ReLU())
        net._modules["2"] = m.nn.Tanh()
        assert [*net._modules] == ["0", "1", "2"] and isinstance(net[2], m.nn.Tanh) and {*net[0]._parameters} == {"weight", "bias"}
        assert [*net[1]._buffers] == ["running_mean", "running_var", "num_batches_tracked"] and net._get_name() == "Sequential"
        assert net.get_parameter("0.bias") is net[0].bias and net.get_buffer("1.running_var") is net[1].running_var
        net.set_submodule("1", m.nn.Identity())
        weight = net[0].weight
        del net[0]._parameters["weight"]
        net[0].weight = weight * 2
        assert [n for n, _ in net.named_parameters()] == ["0.bias"] and net(m.ones(1, 2)).shape == (1, 3)
        with pytest.raises(AttributeError):
            net.get_parameter("1.weight")
        assert net.half()[0].bias.dtype == m.float16 and net.type(m.float64)[0].bias.dtype == m.float64
