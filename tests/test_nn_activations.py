"""Activations as PyTorch has them, where it is installed; what works in place writes into its input."""
import numpy as np
import pytest

import diffeng as de
from beside_torch import both, both_refuse, needs_torch
from diffeng.nn import functional as F

X = np.array([[-7.0, -3.0, -1.0, -0.5], [-0.2, 0.0, 0.3, 0.5], [1.0, 3.0, 6.0, 8.0]], np.float32)
W = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
IN_PLACE = {"relu": {}, "silu": {}, "leaky_relu": {"negative_slope": 0.2}, "elu": {"alpha": 0.7}, "selu": {}, "celu": {"alpha": 0.7}, "hardtanh": {"min_val": -0.5, "max_val": 3.0},
            "relu6": {}, "hardsigmoid": {}, "hardswish": {}, "mish": {}, "threshold": {"threshold": 0.3, "value": 2.0}}
OTHERS = {"softsign": {}, "tanhshrink": {}, "hardshrink": {}, "softshrink": {"lambd": 0.3}, "glu": {}, "softmin": {"dim": 1}, "logsigmoid": {}}
MODULES = {"ReLU": (), "LeakyReLU": (0.3, True), "ELU": (), "SELU": (), "CELU": (2.0,), "Hardtanh": (-2, 2), "ReLU6": (True,), "Hardsigmoid": (), "Hardswish": (), "Mish": (), "GLU": (0,),
           "Softsign": (), "Threshold": (0.1, 20), "LogSigmoid": (), "PReLU": (4,), "SiLU": (), "Softmin": (1,), "Softplus": (2.0,), "GELU": ("tanh",), "Tanhshrink": ()}


@needs_torch
@pytest.mark.parametrize("name", [*IN_PLACE, *OTHERS])
def test_functions_are_pytorchs(name):
    options = {**IN_PLACE, **OTHERS}[name]
    x = X[:, 1:] if name in ("threshold", "hardshrink") else X
    both(lambda m, F, x: getattr(F, name)(x, **options), np.ascontiguousarray(x[:2] if name == "hardswish" else x))


@needs_torch
@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_the_input_takes_value_and_history(name):
    def f(m, F, x):
        y = x * 1.5
        z = getattr(F, name)(y, inplace=True, **IN_PLACE[name])
        assert z is y
        return y * x
    both(f, X[:2])


@needs_torch
@pytest.mark.parametrize("name", MODULES)
def test_modules_are_pytorchs(name):
    def f(m, F, x):
        layer = getattr(m.nn, name)(*MODULES[name])
        out = m.nn.Sequential(m.nn.Identity(), layer)(x * 1.0)
        (out.sum() * 0).backward(retain_graph=True)
        return out
    both(f, X[:2])


@needs_torch
def test_prelu_is_trained():
    both(lambda m, F, x, w: F.prelu(x, w), X, W)
    both(lambda m, F, x, w: F.prelu(x, w[:1]), X, W)
    both(lambda m, F, x, w: F.prelu(x, w), np.stack([X, -X], 2)[:, :4], W)
    both_refuse(lambda m, F, x, w: F.prelu(x, w[:3]), X, W)
    both_refuse(lambda m, F, x: F.glu(x, 0), X)
    both_refuse(lambda m, F, x: m.nn.Threshold(1.0), X)


def test_in_place_modules_write_where_somebody_sees_it():
    x = de.tensor([[-1.0, 2.0]])
    net = de.nn.Sequential(de.nn.ReLU(inplace=True), de.nn.Linear(2, 2))
    net(x)
    assert x.tolist() == [[0.0, 2.0]]
    d = de.ones(4)
    assert de.nn.Dropout(0.9999999, inplace=True)(d) is d and d.tolist() == [0.0] * 4
    assert F.dropout(d, 0.5, training=False, inplace=True) is d
    r = de.tensor([-1.0, 1.0])
    assert F.relu_(r) is r and r.tolist() == [0.0, 1.0]
    w = de.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        F.relu(w, inplace=True)
    y = w.sigmoid()
    F.relu(y, inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_gumbel_softmax_draws_classes_with_their_probabilities():
    de.manual_seed(0)
    logits = de.tensor([[0.1, 0.6, 0.3]]).log().expand(4000, 3)
    soft = F.gumbel_softmax(logits, tau=0.5)
    np.testing.assert_allclose(soft.sum(1).numpy(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(F.one_hot(soft.argmax(1), 3).float().mean(0).numpy(), [0.1, 0.6, 0.3], atol=0.03)
    w = de.zeros(5, 3, requires_grad=True)
    hard = F.gumbel_softmax(w, hard=True)
    assert set(hard.detach().numpy().ravel().round(6).tolist()) == {0.0, 1.0} and hard.sum(1).tolist() == [1.0] * 5
    (hard * de.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert np.abs(w.grad.numpy()).sum() > 0 and np.allclose(w.grad.sum(1).numpy(), 0, atol=1e-6)


def test_in_a_sequential_nothing_is_written_that_nobody_sees():
    from diffeng.tensor_engine.entries import local
    net = de.nn.Sequential(de.nn.Conv1d(1, 2, 2), de.nn.ReLU(inplace=True))
    x, seen = de.tensor([[[1.0, -2.0, 3.0, -4.0]]]), []
    out = net(x)
    out.sum().backward()
    assert not local.run.off                                        # which a write into what has a history would make it
    handle = net[0].register_forward_hook(lambda module, args, output: seen.append(output))
    assert net(x) is seen[0] and seen[0].equal(out) and (seen[0] >= 0).all()
    handle.remove()
