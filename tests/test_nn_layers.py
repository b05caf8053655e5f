"""Layers, losses and functions beside the core of nn: in closed form, and as PyTorch has them where it is installed."""
import math

import numpy as np
import pytest

import diffeng as de
from beside_torch import both, needs_torch, torch
from diffeng import nn
from diffeng.nn import functional as F

RNG = np.random.default_rng(0)
Q, K, V = (RNG.standard_normal(s).astype(np.float32) for s in ((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 7)))
X, Y, G = (RNG.standard_normal(s).astype(np.float32) for s in ((6, 4), (6, 4), (4,)))
L = RNG.standard_normal((3, 4, 5)).astype(np.float32)
MASK = np.array([[1, 0, 1, 0, 1, 1], [0, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1]], bool)


P = np.exp(X) / np.exp(X).sum(1, keepdims=True)
CASES = {
    "attention": (lambda m, F, q, k, v: F.scaled_dot_product_attention(q, k, v), Q, K, V),
    "causal": (lambda m, F, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), Q, K, V),
    "scaled": (lambda m, F, q, k, v: F.scaled_dot_product_attention(q, k, v, scale=0.3), Q, K, V),
    "mask": (lambda m, F, q, k, v, mask: F.scaled_dot_product_attention(q, k, v, attn_mask=mask), Q, K, V, MASK),
    "empty row of a mask": (lambda m, F, q, k, v, mask: F.scaled_dot_product_attention(q, k, v, mask), Q, K, V, MASK & [[1], [0], [1], [1]] > 0),
    "added mask": (lambda m, F, q, k, v, mask: F.scaled_dot_product_attention(q, k, v, mask), Q, K, V, RNG.standard_normal((4, 6)).astype(np.float32)),
    "rms_norm": (lambda m, F, x, g: F.rms_norm(x, (4,), g), X, G), "rms_norm eps": (lambda m, F, x: F.rms_norm(x, (6, 4), eps=0.1), X),
    "batch_norm": (lambda m, F, x, g: F.batch_norm(x, None, None, g, training=True), X, G),
    "batch_norm eval": (lambda m, F, x, g: F.batch_norm(x, m.zeros(4), m.ones(4) * 2, g, g * 2), L, G),
    "batch_norm 3": (lambda m, F, x, g: F.batch_norm(x, None, None, g, g * 2, training=True), L, G),
    "smooth_l1": (lambda m, F, x, y: F.smooth_l1_loss(x, y, beta=0.7), X, Y), "smooth_l1 0": (lambda m, F, x, y: F.smooth_l1_loss(x, y, beta=0, reduction="none"), X, Y),
    "huber": (lambda m, F, x, y: F.huber_loss(x, y, delta=0.7, reduction="none"), X, Y),
    "kl_div": (lambda m, F, x, p: F.kl_div(F.log_softmax(x, dim=1), p, reduction="batchmean"), Y, P),
    "kl_div of logarithms": (lambda m, F, x, y: F.kl_div(F.log_softmax(x, dim=1), y, reduction="sum", log_target=True), Y, X),
    "normalize": (lambda m, F, x: F.normalize(x), X), "normalize 1": (lambda m, F, x: F.normalize(x, p=1, dim=0), X),
    "cosine_similarity": (lambda m, F, x, y: F.cosine_similarity(x, y), X, Y), "cosine -1": (lambda m, F, x, y: F.cosine_similarity(x[:, None], y[None], dim=-1), X, Y),
    "cosine, broadcast along it": (lambda m, F, x, y: F.cosine_similarity(x, y[:, :1]), X, Y),
    "pad": (lambda m, F, x: F.pad(x, (1, 2)), X), "pad value": (lambda m, F, x: F.pad(x, (0, 1, 2, 0), value=1.5), X), "pad cuts": (lambda m, F, x: F.pad(x, (-1, 2, 0, -3)), X),
}


@needs_torch
@pytest.mark.parametrize("name", CASES)
def test_the_same_as_pytorch(name):
    both(*CASES[name])


@needs_torch
@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_keeps_pytorchs_averages(momentum):
    ours, theirs = nn.BatchNorm1d(4, momentum=momentum), torch.nn.BatchNorm1d(4, momentum=momentum)
    for k in range(5):
        a, b = ours(de.tensor(X + k)), theirs(torch.tensor(X + k))
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), atol=1e-5)
        a.sum().backward()
    for name, x in theirs.state_dict().items():
        got = ours.state_dict()[name]
        assert got.dtype.name == str(x.dtype).split(".")[1]
        np.testing.assert_allclose(got.numpy(), x.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.eval()(de.tensor(X)).detach().numpy(), theirs.eval()(torch.tensor(X)).detach().numpy(), atol=1e-5)


def test_attention_in_closed_form():
    q, k, v = map(de.tensor, (Q, K, V))
    scores = Q @ K.swapaxes(-1, -2) / math.sqrt(5)
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(F.scaled_dot_product_attention(q, k, v).numpy(), weights @ V, atol=1e-5)
    assert F.scaled_dot_product_attention(q, k, v, is_causal=True)[0, 0, 0].allclose(v[0, 0, 0])
    assert F.scaled_dot_product_attention(q, k, v, de.zeros(4, 6).bool()).equal(de.zeros(2, 3, 4, 7))
    de.manual_seed(0)
    assert not F.scaled_dot_product_attention(q, k, v, dropout_p=0.5).allclose(F.scaled_dot_product_attention(q, k, v))
    with pytest.raises(RuntimeError, match="is_causal=True"):
        F.scaled_dot_product_attention(q, k, v, de.ones(4, 6).bool(), is_causal=True)


def test_norms_in_closed_form():
    x = de.tensor(X)
    np.testing.assert_allclose(nn.RMSNorm(4)(x).detach().numpy(), X / np.sqrt((X ** 2).mean(1, keepdims=True) + np.finfo(np.float32).eps), rtol=1e-5)
    layer = nn.BatchNorm1d(4)
    np.testing.assert_allclose(layer(x).detach().numpy(), (X - X.mean(0)) / np.sqrt(X.var(0) + 1e-5), atol=1e-5)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.9 + 0.1 * X.var(0, ddof=1), rtol=1e-5)
    assert [*layer.state_dict()] == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"] and layer.num_batches_tracked.item() == 1
    before = layer.running_mean.clone()
    assert layer.eval()(x[:1]).shape == (1, 4) and layer.running_mean.equal(before)
    with pytest.raises(ValueError, match="larger batch"):
        layer.train()(x[:1])
    with pytest.raises(RuntimeError, match="4 channels"):
        layer(x[:, :3])


def test_losses_in_closed_form():
    x, y = de.tensor([0.2, 3.0]), de.tensor([0.0, 0.0])
    assert nn.SmoothL1Loss(reduction="none", beta=0.5)(x, y).allclose(de.tensor([0.04, 2.75]))
    assert nn.HuberLoss(reduction="none", delta=0.5)(x, y).allclose(de.tensor([0.02, 1.375]))
    p = de.tensor([[0.25, 0.75], [1.0, 0.0]])
    assert nn.KLDivLoss(reduction="batchmean")(p.clamp(min=1e-3).log() - 1, p).allclose(de.tensor(1.0))
    with pytest.raises(ValueError, match="reduction"):
        nn.KLDivLoss(reduction="average")


def test_pad_and_directions():
    x = de.tensor(X)
    assert F.pad(x, (1, 0), value=2.0).tolist() == np.pad(X, ((0, 0), (1, 0)), constant_values=2).tolist() and F.pad(x, (-1, 0)).equal(x[:, 1:])
    assert F.normalize(x).norm(dim=1).allclose(de.ones(6)) and F.normalize(de.zeros(2, 3)).equal(de.zeros(2, 3))
    assert F.cosine_similarity(x, 3 * x).allclose(de.ones(6))
    with pytest.raises(NotImplementedError, match="there are reflect"):
        F.pad(x, (1, 1), mode="mirror")
    with pytest.raises(RuntimeError, match="Padding length"):
        F.pad(x, (1, 1, 1))


def test_embedding_from_pretrained():
    table = de.arange(6).reshape(3, 2).float()
    layer = nn.Embedding.from_pretrained(table)
    assert layer(de.tensor([2, 0])).tolist() == [[4.0, 5.0], [0.0, 1.0]] and not layer.weight.requires_grad and layer.num_embeddings == 3
    assert nn.Embedding.from_pretrained(table, freeze=False).weight.requires_grad
    with pytest.raises(ValueError, match="2-dimensional"):
        nn.Embedding.from_pretrained(table[0])


def test_modules_by_name():
    d = nn.ModuleDict({"up": nn.Linear(2, 3), "act": nn.ReLU()})
    d["down"] = nn.Linear(3, 1)
    assert [*d] == ["up", "act", "down"] and len(d) == 3 and "act" in d and [m for m in d.values()][0] is d["up"]
    assert [n for n, _ in nn.Sequential(d).named_parameters()] == ["0.up.weight", "0.up.bias", "0.down.weight", "0.down.bias"]
    assert repr(d.pop("act")) == "ReLU()" and [*d.keys()] == ["up", "down"]
    with pytest.raises(KeyError, match="another name"):
        d["forward"] = nn.ReLU()
    with pytest.raises(TypeError, match="not a Module"):
        d["x"] = 3
    with pytest.raises(KeyError):
        d["nothing"]


def test_parameters_by_number():
    ps = nn.ParameterList([de.ones(2), nn.Parameter(de.zeros(3))]).append(de.ones(1))
    assert len(ps) == 3 and [p.shape for p in ps] == [(2,), (3,), (1,)] and all(p.requires_grad for p in ps) and ps[-1] is ps[2]
    assert [*nn.Sequential(ps).state_dict()] == ["0.0", "0.1", "0.2"] and len(ps[1:]) == 2
    assert repr(ps[:1]) == "ParameterList(\n  (0): Parameter containing: [float32 of size 2]\n)"
    with pytest.raises(IndexError, match="3 parameters"):
        ps[3]


@needs_torch
def test_batch_norm_in_training_steps_is_pytorchs():
    """Whatever the tape makes of the averages, which are written between forward and backward."""
    state, losses = None, []
    for m in (torch, de):
        net = m.nn.Sequential(m.nn.Linear(4, 5), m.nn.BatchNorm1d(5), m.nn.ReLU(), m.nn.Linear(5, 1))
        state = {k: v.numpy().copy() for k, v in net.state_dict().items()} if state is None else state
        net.load_state_dict({k: m.tensor(v) for k, v in state.items()})
        optimizer = m.optim.SGD(net.parameters(), lr=0.1)
        losses.append([])
        for k in range(12):
            optimizer.zero_grad()
            loss = m.nn.functional.huber_loss(net(m.tensor(X + 0.1 * k)), m.tensor(Y[:, :1]))
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
        losses[-1] += net[1].running_mean.tolist() + net[1].running_var.tolist() + net.eval()(m.tensor(X)).reshape(-1).tolist()
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4, atol=1e-5)


def test_a_shared_module_is_one_child_and_has_all_its_names_in_the_state():
    class Tied(nn.Module):
        def __init__(self):
            self.a = nn.Linear(2, 2)
            self.b = self.a
    tied, act = Tied(), nn.ReLU()
    assert [n for n, _ in tied.named_children()] == ["a"] and len([*tied.children()]) == 1 and "(b)" in repr(tied)
    assert list(tied.state_dict()) == ["a.weight", "a.bias", "b.weight", "b.bias"] and len([*tied.parameters()]) == 2
    assert not any(tied.load_state_dict(tied.state_dict()))
    both = nn.Sequential(act, nn.Linear(2, 2), act)
    assert len(both) == 3 and both[2] is act and [*both][0] is act and both(-de.ones(1, 2)).min().item() >= 0


def test_children_may_be_replaced_while_they_are_named():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    x = de.tensor([[1.0, -2.0]])
    model(x)
    for name, _ in model.named_children():
        setattr(model, name, nn.Identity())
    assert model(x).tolist() == x.tolist()


def test_a_plain_tensor_takes_no_parameters_place():
    layer = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"Linear.weight at test_nn_layers.py:\d+: cannot assign .* as parameter 'weight'.*copy_"):
        layer.weight = de.ones(2, 2)
    layer.weight, layer.bias = nn.Parameter(de.ones(2, 2)), None
    assert layer(de.ones(1, 2)).tolist() == [[2, 2]]


def test_losses_keep_float32_beside_integers():
    x, y = de.tensor([1.5, 2.5]), de.tensor([1, 2])
    for loss, value in ((F.mse_loss, 0.25), (F.l1_loss, 0.5)):
        assert loss(x, y).dtype == np.float32 and loss(x, y).item() == value


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_asks_for_its_dim(name):
    with pytest.raises(TypeError, match=rf"{name} at test_nn_layers.py:\d+: the dim is missing"):
        getattr(F, name)(de.ones(2, 2))


@needs_torch
def test_distances_and_channels():
    both(lambda m, F, x: (m.nn.CosineSimilarity(dim=0, eps=1e-6)(x, x * 2 + 1), m.nn.PairwiseDistance(p=1.0, keepdim=True)(x, x * 2 + 1)), X)
    both(lambda m, F, x: m.nn.AdaptiveMaxPool1d(2, return_indices=True)(x), X[:, None])
    both(lambda m, F, x: m.nn.PixelUnshuffle(downscale_factor=2)(x), np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    both(lambda m, F, x: (m.nn.Dropout2d(0.5).eval()(x[None]), F.dropout1d(x, 0.3, False), F.one_hot(input=m.tensor([0, 2]))), X[None])


def test_channels_drop_out_as_a_whole():
    x = de.ones(50, 4, 3, 2, requires_grad=True)
    y = F.dropout2d(x, 0.5)
    y.sum().backward()
    whole = y.detach().numpy().reshape(200, 6)
    assert set(whole.ravel().tolist()) == {0.0, 2.0} and (whole == whole[:, :1]).all() and 60 < (whole[:, 0] > 0).sum() < 140 and x.grad.equal(y.detach())
    with pytest.raises(RuntimeError, match="dropout1d"):
        F.dropout1d(x)


@needs_torch
def test_embedding_options():
    at, table = np.array([[0, 2, 2], [1, 2, 0]]), np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32) * 2
    both(lambda m, F, i, w: F.embedding(i, w, None, None, 2.0, True), at, table)
    both(lambda m, F, i, w: F.embedding(i, w, padding_idx=2, scale_grad_by_freq=True), at, table)

    def renormed(m, F, i, w):
        layer = m.nn.Embedding.from_pretrained(w.detach(), freeze=False, max_norm=1.5, norm_type=1.0)
        y = layer(i)
        (y ** 2).sum().backward()
        return y.detach(), layer.weight.detach(), layer.weight.grad
    both(renormed, at, table)
