"""Modules: their parts, names, state, modes and hooks, what prints, what they begin with; as PyTorch's where it is installed."""
import copy
import math

import numpy as np
import pytest

import diffeng as de
from beside_torch import needs_torch, seeded, torch          # noqa: F401  seeded: a fixture
from diffeng import nn
from diffeng.nn import init


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
        self.norm = nn.LayerNorm(4)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 7, bias=False))
        self.register_buffer("mask", de.ones(4))
        self.scale = nn.Parameter(de.ones(()))

    def forward(self, tokens):
        x = self.embed(tokens) * self.mask
        for block in self.blocks:
            x = x + nn.functional.gelu(block(x))
        return self.head(self.norm(x)) * self.scale


NAMES = ["scale", "embed.weight", "blocks.0.weight", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias", "blocks.2.weight", "blocks.2.bias", "norm.weight", "norm.bias",
         "head.1.weight"]


def test_parameters_buffers_and_modules_have_pytorchs_names_and_order():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == NAMES
    assert all(isinstance(p, nn.Parameter) and p.requires_grad and p.is_leaf for p in net.parameters())
    assert [n for n, _ in net.named_modules()] == ["", "embed", "blocks", "blocks.0", "blocks.1", "blocks.2", "norm", "head", "head.0", "head.1"]
    assert [n for n, _ in net.named_buffers()] == ["mask"] and not net.mask.requires_grad
    assert [n for n, _ in net.named_children()] == ["embed", "blocks", "norm", "head"]
    assert net.get_submodule("head.1") is net.head[1] and net.head[-1] is net.head[1]
    with pytest.raises(AttributeError, match="no module 'tail'"):
        net.get_submodule("tail")
    assert set(net.state_dict()) == {*NAMES, "mask"}
    net.head[1].weight = net.embed.weight                    # tied: one parameter under two names
    assert [n for n, _ in net.named_parameters()] == NAMES[:-1] and set(net.state_dict()) == {*NAMES, "mask"}


def test_it_prints_as_pytorch_prints():
    assert repr(Net()) == """Net(
  (embed): Embedding(7, 4)
  (blocks): ModuleList(
    (0-2): 3 x Linear(in_features=4, out_features=4, bias=True)
  )
  (norm): LayerNorm((4,), eps=1e-05, elementwise_affine=True)
  (head): Sequential(
    (0): Dropout(p=0.1, inplace=False)
    (1): Linear(in_features=4, out_features=7, bias=False)
  )
)"""


@needs_torch
@pytest.mark.parametrize("make", [
    lambda n: n.Sequential(n.Linear(2, 3), n.ReLU(), n.ModuleList([n.Tanh(), n.Sigmoid(), n.Sigmoid(), n.GELU("tanh")])), lambda n: n.Softmax(dim=-1),
    lambda n: n.Embedding(3, 4, padding_idx=1), lambda n: n.Dropout(0.2), lambda n: n.Flatten(),
    lambda n: n.CrossEntropyLoss(), lambda n: n.BCELoss(), lambda n: n.Identity(), lambda n: n.SiLU(), lambda n: n.LeakyReLU(0.1), lambda n: n.ReLU(inplace=True)])
def test_repr_is_pytorchs(make):
    assert repr(make(nn)) == repr(make(torch.nn))


def test_state_moves_from_one_model_to_another():
    a, b = Net(), Net()
    assert b.load_state_dict(a.state_dict()) == ([], [])
    tokens = de.tensor([[0, 3, 6]])
    a.eval(), b.eval()
    assert np.allclose(a(tokens).detach().numpy(), b(tokens).detach().numpy(), rtol=1e-5, atol=1e-6)          # one of them compiled, perhaps
    b.load_state_dict({k: v.numpy() * 2 for k, v in a.state_dict().items()})                 # arrays will do
    assert np.array_equal(b.scale.detach().numpy(), 2 * a.scale.detach().numpy()) and b.scale.requires_grad
    state = a.state_dict()
    with de.no_grad():
        a.scale.mul_(3)
    assert state["scale"].item() == a.scale.item() == 3.0          # the tensors share the module's memory


def test_errors_of_load_state_dict_name_the_keys():
    net = Net()
    state = net.state_dict()
    before = net.scale.item()
    del state["norm.bias"]
    state["norm.wait"], state["scale"], state["embed.weight"] = de.ones(1), de.zeros(()), de.ones(2, 4)
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    for part in ('Missing key(s) in state_dict: "norm.bias"', 'Unexpected key(s) in state_dict: "norm.wait"', "for Net", "test_nn_modules.py:",
                 "size mismatch for embed.weight: copying a param with shape [2, 4] from checkpoint, the shape in current model is [7, 4]."):
        assert part in str(error.value)
    assert net.scale.item() == before                        # nothing was copied
    del state["embed.weight"]
    assert net.load_state_dict(state, strict=False) == (["embed.weight", "norm.bias"], ["norm.wait"]) and net.scale.item() == 0.0


def test_modes_gradients_dtypes_and_apply():
    net = Net()
    assert net.training and not net.eval().training and not net.head[0].training and net.train().head[0].training
    tokens = de.tensor([1, 2])
    net(tokens).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all(not p.grad.numpy().any() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    parameters = [*net.parameters()]
    net(tokens).sum().backward()
    assert net.double() is net and all(p is q for p, q in zip(net.parameters(), parameters, strict=True))
    assert all(p.dtype == de.float64 and p.grad.dtype == de.float64 and p.requires_grad for p in net.parameters()) and net.mask.dtype == de.float64
    out = net(tokens)
    assert out.dtype == de.float64
    out.sum().backward()
    with pytest.raises(TypeError, match="floating point"):
        net.to(de.int64)
    order = []
    nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU(), nn.Tanh())).apply(lambda m: order.append(type(m).__name__))
    assert order == ["Linear", "ReLU", "Tanh", "Sequential", "Sequential"]
    twin = copy.deepcopy(net)
    assert twin.scale is not net.scale and isinstance(twin.scale, nn.Parameter) and twin.scale.item() == net.scale.item()
    assert not any(p.requires_grad for p in net.requires_grad_(False).parameters())


def test_containers():
    s = nn.Sequential(nn.Linear(2, 3), nn.ReLU()).append(nn.Linear(3, 1))
    assert len(s) == 3 and [type(m) for m in s] == [nn.Linear, nn.ReLU, nn.Linear] and len(s[:2]) == 2 and s[0] is s[:1][0]
    s[1] = nn.Tanh()
    assert isinstance(s[1], nn.Tanh) and s(de.zeros(2)).shape == (1,)
    named = nn.Sequential({"first": nn.Linear(2, 3), "second": nn.Linear(3, 1)})
    assert [n for n, _ in named.named_parameters()] == ["first.weight", "first.bias", "second.weight", "second.bias"] and named(de.zeros(2)).shape == (1,)
    with pytest.raises(IndexError, match="out of range"):
        s[3]
    with pytest.raises(NotImplementedError, match="ModuleList"):
        nn.ModuleList([nn.ReLU()])(de.zeros(1))


def lists_of_modules(n):
    """What their owners see of containers that grow and shrink."""
    blocks = n.ModuleList([None, n.Linear(2, 2, bias=False), None])
    seen = [len(blocks), [m is None for m in blocks], repr(blocks)]
    blocks.append(None)
    blocks += [n.ReLU(), n.Linear(2, 1)]
    blocks.insert(1, n.Tanh())
    blocks.extend(n.Sigmoid() for _ in range(2))
    del blocks[0]
    blocks[2] = n.GELU()
    blocks[0] = None
    seen += [repr(blocks), repr(blocks[1:4]), repr(blocks[::-2]), blocks.pop(4) is None, repr(n.ModuleList([n.ReLU()]) + [None])]
    layers = n.Sequential(n.Linear(2, 3), n.ReLU())
    twin = layers + n.Sequential(n.Linear(3, 1))
    twin.insert(0, n.Identity()).extend([n.Tanh()])
    layers.append(layers.pop(0))
    return [*seen, repr(layers), repr(twin), layers[1] is twin[1], *([*x.state_dict()] for x in (blocks, layers, twin)), [k for k, _ in blocks.named_modules()]]


@needs_torch
def test_lists_of_modules_are_pytorchs():
    ours, theirs = lists_of_modules(nn), lists_of_modules(torch.nn)
    assert ours == theirs
    x = de.ones(1, 2)
    layers = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    hidden, _ = layers[0](x), layers(x)
    layers.insert(1, nn.Tanh())                              # what was put together is put together anew
    assert np.allclose(layers(x).detach().numpy(), hidden.tanh().relu().detach().numpy())
    with pytest.raises(TypeError, match="int is not a Module subclass"):
        nn.ModuleList([3])


def test_a_subclass_asks_for_attributes_by_name():
    class Wrapped(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(super().__getattr__("inner"), name)

    wrapped = Wrapped(nn.Linear(2, 3))
    assert wrapped.in_features == 2 and wrapped.weight is wrapped.inner.weight and wrapped.__getattr__("inner") is wrapped.inner
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'depth'"):
        wrapped.depth


# ---- initial values ---------------------------------------------------------------------------------------------------------------------

def distributed(x, low=None, high=None, std=None):
    """Do entries look uniform in (low, high), or normal with std? By the first four moments."""
    x = np.asarray(x.detach(), float).ravel()
    if std is None:
        assert low <= x.min() and x.max() <= high
        mean, std, fourth = (low + high) / 2, (high - low) / math.sqrt(12), 1.8
    else:
        mean, fourth = 0.0, 3.0
    z = (x - mean) / std
    assert abs(z.mean()) < 5 / math.sqrt(z.size) and abs(np.mean(z ** 2) - 1) < 8 / math.sqrt(z.size) and abs(np.mean(z ** 4) - fourth) < 60 / math.sqrt(z.size)


def test_layers_begin_with_pytorchs_distributions():
    de.manual_seed(0)
    linear = nn.Linear(100, 500)
    distributed(linear.weight, -0.1, 0.1)
    distributed(linear.bias, -0.1, 0.1)
    distributed(nn.Embedding(200, 100).weight, std=1.0)
    assert not nn.Embedding(5, 3, padding_idx=-1).weight.detach().numpy()[4].any()
    norm = nn.LayerNorm((2, 3))
    assert np.all(norm.weight.detach().numpy() == 1) and not norm.bias.detach().numpy().any()
    de.manual_seed(5)
    first = nn.Linear(3, 4).weight.tolist()
    assert nn.Linear(3, 4).weight.tolist() != first
    de.manual_seed(5)
    assert nn.Linear(3, 4).weight.tolist() == first


def test_initialisers():
    de.manual_seed(1)
    w = nn.Parameter(de.zeros(200, 300))
    fan_in, fan_out = 300, 200
    distributed(init.kaiming_uniform_(w, nonlinearity="relu"), -math.sqrt(6 / fan_in), math.sqrt(6 / fan_in))
    distributed(init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"), std=math.sqrt(2 / fan_out))
    distributed(init.xavier_uniform_(w), -math.sqrt(6 / 500), math.sqrt(6 / 500))
    distributed(init.xavier_normal_(w, gain=2.0), std=2 * math.sqrt(2 / 500))
    distributed(init.normal_(w, std=0.02), std=0.02)
    assert abs(np.asarray(init.trunc_normal_(w, std=1.0).detach())).max() <= 2
    q = np.asarray(init.orthogonal_(w).detach(), float)
    assert np.allclose(q @ q.T, np.eye(200), atol=1e-5)
    assert np.all(np.asarray(init.constant_(w, 3.0).detach()) == 3) and np.array_equal(np.asarray(init.eye_(w).detach()), np.eye(200, 300))
    assert w.requires_grad and w.is_leaf and init.calculate_gain("tanh") == 5 / 3
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        init.xavier_uniform_(de.zeros(3))


def test_layers_put_together_stay_what_they_are():
    """Sequential calls neighbours that are one operation each as one; whatever becomes of a layer is seen at the next call."""
    x = de.tensor(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
    model = de.nn.Sequential(de.nn.Linear(3, 5), de.nn.ReLU(), de.nn.Linear(5, 5), de.nn.Dropout(0.0), de.nn.Sigmoid(), de.nn.Linear(5, 2, bias=False))

    def both():
        results = []
        for f in (lambda: model(x), lambda: [out := x, *[out := m(out) for m in model.children()]][-1]):
            model.zero_grad()
            out = f()
            out.sum().backward()
            results.append([out.detach().numpy(), *[() if p.grad is None else p.grad.numpy() for p in model.parameters()]])
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        return results[0][0]
    seen = [both()]
    for change in (lambda: setattr(model[0], "weight", de.nn.Parameter(de.ones(5, 3))), lambda: setattr(model[2], "bias", None),
                   lambda: setattr(model[0], "forward", lambda x: de.nn.functional.linear(x, model[0].weight) * 2), lambda: delattr(model[0], "forward"),
                   lambda: setattr(model, "1", de.nn.Tanh()), lambda: setattr(model[5], "bias", de.nn.Parameter(de.ones(2))), lambda: model.append(de.nn.Sigmoid()),
                   lambda: setattr(model[2], "bias", de.nn.Parameter(de.ones(5))), lambda: delattr(model, "1")):
        change()
        seen.append(both())
        assert not any(np.array_equal(seen[-1], s) for s in seen[:-1]) or change.__code__.co_names[0] == "delattr", len(seen)

    class Twice(de.nn.Linear):
        def forward(self, x):
            return super().forward(x) * 2
    twice = Twice(3, 2)
    np.testing.assert_array_equal(de.nn.Sequential(twice, de.nn.ReLU())(x).detach().numpy(), twice(x).relu().detach().numpy())
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied \(4x5 and 3x2\)"):
        de.nn.Sequential(de.nn.Linear(3, 5), de.nn.ReLU(), twice)(x)
    with pytest.raises(RuntimeError, match=r"linear at test_nn_modules.py:\d+.*\(4x5 and 3x2\)|\(4x5 and 3x2\).*test_nn_modules.py:\d+"):
        de.nn.Sequential(de.nn.Linear(3, 5), de.nn.ReLU(), de.nn.Linear(3, 2))(x)


@needs_torch
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_hooks_of_modules_equal_pytorchs():
    """In a training: what they see, what they change, and that fused neighbours in a Sequential are called one by one for as long as they have some."""
    def run(library):
        net, seen = library.nn.Sequential(library.nn.Linear(2, 3), library.nn.Tanh(), library.nn.Linear(3, 1)), []
        with library.no_grad():
            for k, p in enumerate(net.parameters()):
                p.copy_(library.arange(p.numel()).reshape(p.shape).float() / 10 - 0.2 + k / 7)
        handles = []
        for name, m in net.named_children():
            handles.append(m.register_forward_hook(lambda m, args, out, name=name: seen.append((name, len(args), args[0].shape[0], out.sum().item()))))
            handles.append(m.register_full_backward_hook(lambda m, into, out, name=name: seen.append((name, None if into[0] is None else into[0].tolist(), out[0].tolist()))))
        optimizer, x = library.optim.SGD(net.parameters(), lr=0.1), library.tensor([[1.0, 2.0], [0.5, -1.0]])
        for k in range(10):
            optimizer.zero_grad()
            (net(x) ** 2).mean().backward()
            optimizer.step()
            if k == 5:
                handles.pop().remove()
        for h in handles:
            h.remove()
        before, after = net[0].register_forward_pre_hook(lambda m, args: (args[0] * 2,)), net[1].register_forward_hook(lambda m, args, out: out + 1)
        seen.append(net(x).tolist())
        before.remove()
        after.remove()
        x.requires_grad_()
        with net[0].register_full_backward_hook(lambda m, into, out: (into[0] * 3,)):
            net(x).sum().backward()
        seen += [x.grad.tolist(), list(net.state_dict()), len(list(net.parameters())), net(x).tolist()]
        return seen

    def close(a, b):
        if isinstance(a, (list, tuple)):
            return len(a) == len(b) and all([close(x, y) for x, y in zip(a, b)])
        return a == b or np.isclose(a, b, 1e-4, 1e-6)
    found = run(de)
    assert len(found) == 61 and close(run(torch), found)


@needs_torch
def test_hooks_before_others_with_keywords_and_of_states():
    def told(m):
        class Scaled(m.nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = m.nn.Parameter(m.tensor([1.0, 2.0]))

            def forward(self, x, *, by=1.0):
                return self.weight * x * by
        layer, seen = Scaled(), []
        layer.register_forward_hook(lambda module, args, out: seen.append("last"))
        layer.register_forward_hook(lambda module, args, kwargs, out: seen.append(("first", kwargs["by"])) or out + 1, prepend=True, with_kwargs=True)
        layer.register_forward_pre_hook(lambda module, args, kwargs: (args, {"by": kwargs["by"] * 3}), with_kwargs=True)
        layer.register_full_backward_pre_hook(lambda module, grads: (grads[0] * 10,))
        layer.register_full_backward_hook(lambda module, given, out: seen.append((given[0].tolist(), out[0].tolist())))
        x = m.tensor([1.0, -1.0], requires_grad=True)
        out = layer(x, by=2.0)
        out.sum().backward()
        layer.register_state_dict_post_hook(lambda module, state, prefix, metadata: state.update(more=1))
        layer.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
        net, paths = m.nn.Sequential(layer, m.nn.Tanh()), []
        net.register_state_dict_post_hook(lambda module, state, prefix, metadata: paths.append((prefix, [*state])))
        layer.register_state_dict_post_hook(lambda module, state, prefix, metadata: paths.append(prefix))
        state = [*net.state_dict()]
        return seen, out.tolist(), x.grad.tolist(), layer.weight.grad.tolist(), [*layer.state_dict()], layer.load_state_dict({}), net.load_state_dict({}), state, paths
    assert told(de) == told(torch)
