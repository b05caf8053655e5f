"""Layers and losses: against closed forms, and against PyTorch with the same weights where it is installed."""
import copy
import math

import numpy as np
import pytest

import diffeng as de
from diffeng import nn
from diffeng.nn import functional as F, init

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
RNG = np.random.default_rng(0)
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}
DTYPES = [np.float32, np.float64]


@pytest.fixture(autouse=True)
def seeded():
    de.manual_seed(0)
    if torch is not None:
        torch.manual_seed(0)


def close(got, want, dtype):
    """Equal up to the tolerance of the dtype, measured in the largest entry."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape and got.dtype == want.dtype == dtype, (got.dtype, want.dtype, got.shape, want.shape)
    assert np.max(np.abs(got - want), initial=0) <= TOLERANCE[dtype] * max(1.0, np.max(np.abs(want), initial=0)), (got, want)


# ---- modules --------------------------------------------------------------------------------------------------------------------

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
    for part in ('Missing key(s) in state_dict: "norm.bias"', 'Unexpected key(s) in state_dict: "norm.wait"', "for Net", "test_nn.py:",
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


# ---- dropout ---------------------------------------------------------------------------------------------------------------------------

def test_dropout_draws_anew_each_step_and_the_same_mask_in_forward_and_backward():
    drop, x = nn.Dropout(0.25), de.tensor(np.linspace(1, 2, 400), requires_grad=True)
    runs = []
    for _ in range(2):
        de.manual_seed(3)
        masks = []
        for _ in range(8):                                          # the third time, the step is one compiled program
            x.grad = None
            out = drop(x)
            (out * out).sum().backward()
            mask = out.detach().numpy() / x.detach().numpy()
            assert np.allclose(mask, np.where(mask > 0.5, 4 / 3, 0)) and np.allclose(x.grad.numpy(), 2 * x.detach().numpy() * mask ** 2)
            masks.append(tuple(mask > 0.5))
        assert len(set(masks)) == 8 and abs(np.mean(masks) - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 3200)
        runs.append(masks)
    assert runs[0] == runs[1]                                       # reproducible under a seed
    de.manual_seed(4)
    assert tuple((drop(x).detach().numpy() > 0.5)) != runs[0][0]
    assert drop.eval()(x) is x and not nn.Dropout(1.0)(x).detach().numpy().any()
    with pytest.raises(ValueError, match="between 0 and 1"):
        nn.Dropout(1.5)


# ---- against PyTorch ----------------------------------------------------------------------------------------------------------------------

def both(make, inputs, dtype, loss=None):
    """A module of each library with the same weights: outputs and gradients of inputs and parameters are equal. Twice: the second time compiled."""
    theirs, ours = make(torch.nn), make(nn)
    theirs = theirs.to(torch.float32 if dtype == np.float32 else torch.float64)
    ours.to(np.dtype(dtype))
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    for _ in range(2):
        pairs = []
        for x in inputs:
            float_ = x.dtype.kind == "f"
            x = x.astype(dtype) if float_ else x
            pairs.append((torch.tensor(x, requires_grad=float_), de.tensor(x, requires_grad=float_)))
        a, b = theirs(*[p[0] for p in pairs]), ours(*[p[1] for p in pairs])
        close(b.detach().numpy(), a.detach().numpy(), dtype)
        g = np.cos(np.arange(a.numel())).reshape(tuple(a.shape)).astype(dtype)
        ours.zero_grad()
        theirs.zero_grad()
        a.backward(torch.tensor(g))
        b.backward(de.tensor(g))
        for s, t in pairs:
            if t.requires_grad:
                close(t.grad.numpy(), s.grad.numpy(), dtype)
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            close(p.grad.numpy(), q.grad.numpy(), dtype)


X = RNG.normal(size=(6, 5))
LAYERS = {
    "Linear": (lambda n: n.Linear(5, 3), [X]), "Linear without bias": (lambda n: n.Linear(5, 3, bias=False), [X[0]]), "Linear of rank 3": (lambda n: n.Linear(5, 2), [X.reshape(2, 3, 5)]),
    "Embedding": (lambda n: n.Embedding(6, 3), [np.array([[0, 5], [2, 2]])]), "Embedding with padding": (lambda n: n.Embedding(6, 3, padding_idx=2), [np.array([0, 5, 2, 2])]),
    "LayerNorm": (lambda n: n.LayerNorm(5), [X * 3 + 1]), "LayerNorm of two axes": (lambda n: n.LayerNorm([3, 5], eps=1e-3), [X.reshape(2, 3, 5)]),
    "LayerNorm alone": (lambda n: n.LayerNorm(5, elementwise_affine=False), [X]), "LayerNorm without bias": (lambda n: n.LayerNorm(5, bias=False), [X]),
    **{name: (lambda n, name=name: getattr(n, name)(), [X * 3]) for name in "ReLU GELU Sigmoid Tanh SiLU LeakyReLU ELU Softplus Flatten Identity".split()},
    "GELU tanh": (lambda n: n.GELU(approximate="tanh"), [X * 3]), "Softmax": (lambda n: n.Softmax(dim=-1), [X * 5]), "Softmax 0": (lambda n: n.Softmax(dim=0), [X]),
    "LogSoftmax": (lambda n: n.LogSoftmax(dim=1), [X * 50]), "Dropout": (lambda n: n.Dropout(0.5).eval(), [X]),
    "10-5-1": (lambda n: n.Sequential(n.Linear(5, 4), n.ReLU(), n.Linear(4, 1), n.Sigmoid()), [X]),
}
P, Y = 1 / (1 + np.exp(-X)), (RNG.random((6, 5)) > 0.5).astype(float)
CLASSES, SEGMENTS = np.array([0, 4, 2, -100, 1, 1]), RNG.integers(0, 3, (2, 5))
W = np.array([0.5, 1.0, 2.0, 0.1, 3.0])


def weighted(n, dtype, name, **how):
    x = {k: (torch.tensor(v) if n is torch.nn else de.tensor(v)) if isinstance(v, np.ndarray) else v for k, v in how.items()}
    return getattr(n, name)(**x)


LOSSES = {f"{name} {r}": (lambda n, name=name, r=r: getattr(n, name)(reduction=r), x) for r in ("mean", "sum", "none") for name, x in {
    "MSELoss": [X, Y], "L1Loss": [X, Y], "BCELoss": [P, Y], "BCEWithLogitsLoss": [X * 5, Y], "CrossEntropyLoss": [X * 5, CLASSES],
    "NLLLoss": [X, CLASSES]}.items()}
LOSSES.update({
    "soft targets of BCE": (lambda n: n.BCELoss(), [P, P[::-1].copy()]), "soft targets": (lambda n: n.CrossEntropyLoss(), [X, P]),
    "soft and smooth": (lambda n: n.CrossEntropyLoss(label_smoothing=0.2), [X, P / P.sum(1, keepdims=True)]),
    "smooth": (lambda n: n.CrossEntropyLoss(label_smoothing=0.1), [X, CLASSES]), "ignoring": (lambda n: n.CrossEntropyLoss(ignore_index=1), [X, np.array([0, 4, 2, 3, 1, 1])]),
    "one row": (lambda n: n.CrossEntropyLoss(), [X[0], np.array(3)]), "images": (lambda n: n.CrossEntropyLoss(), [RNG.normal(size=(2, 3, 5)), SEGMENTS]),
    "images, none": (lambda n: n.CrossEntropyLoss(reduction="none"), [RNG.normal(size=(2, 3, 5)), SEGMENTS]),
})


@needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make, inputs", [pytest.param(*case, id=name) for cases in (LAYERS, LOSSES) for name, case in cases.items()])
def test_layers_and_losses_equal_pytorchs(make, inputs, dtype):
    both(make, inputs, dtype)


@needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", [dict(reduction="mean"), dict(reduction="sum"), dict(label_smoothing=0.3), dict(reduction="none", label_smoothing=0.3)])
def test_weights_of_classes(how, dtype):
    w = W.astype(dtype)
    both(lambda n: _Without(weighted(n, dtype, "CrossEntropyLoss", weight=w, **how)), [X, CLASSES], dtype)


@needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_of_binary_losses(dtype):
    w = W.astype(dtype)
    for name, how in (("BCELoss", dict(weight=w)), ("BCEWithLogitsLoss", dict(weight=w)), ("BCEWithLogitsLoss", dict(pos_weight=w)), ("BCEWithLogitsLoss", dict(weight=w, pos_weight=w))):
        both(lambda n: _Without(weighted(n, dtype, name, **how)), [P if name == "BCELoss" else X, Y], dtype)


class _Without:
    """A loss without its state: `both` moves none then."""

    def __init__(self, loss):
        self.loss = loss

    def __call__(self, *args):
        return self.loss(*args)

    to = zero_grad = load_state_dict = lambda self, *args: self
    state_dict = lambda self: {}          # noqa: E731
    parameters = named_parameters = lambda self: []          # noqa: E731


# ---- far out ------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", DTYPES)
def test_logits_of_any_size(dtype):
    x = de.tensor(np.array([1e4, -1e4, 1e4, -1e4, 0.0, 30.0, -30.0], dtype), requires_grad=True)
    y = de.tensor(np.array([1, 0, 0, 1, 1, 1, 0], dtype))
    out = nn.BCEWithLogitsLoss(reduction="none")(x, y)
    close(out.detach().numpy(), np.array([0, 0, 1e4, 1e4, math.log(2), math.log1p(math.exp(-30)), math.log1p(math.exp(-30))], dtype), dtype)
    out.sum().backward()
    tail = math.exp(-30) / (1 + math.exp(-30))
    assert np.allclose(x.grad.numpy(), [0, 0, 1, -1, -0.5, -tail, tail], rtol=4 * np.finfo(dtype).eps, atol=0)          # no cancellation, in either tail
    z = de.tensor(np.array([[1e4, 0, -1e4]] * 3, dtype), requires_grad=True)
    out = nn.CrossEntropyLoss(reduction="none")(z, de.tensor([0, 1, 2]))
    close(out.detach().numpy(), np.array([0, 1e4, 2e4], dtype), dtype)
    out.sum().backward()
    close(z.grad.numpy(), np.array([[0, 0, 0], [1, -1, 0], [1, 0, -1]], dtype), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bce_cuts_logarithms_at_minus_100(dtype):
    p = de.tensor(np.array([0, 1, 0, 1, 0.25], dtype), requires_grad=True)
    out = nn.BCELoss(reduction="none")(p, de.tensor(np.array([0, 1, 1, 0, 1], dtype)))
    close(out.detach().numpy(), np.array([0, 0, 100, 100, -math.log(0.25)], dtype), dtype)
    out.sum().backward()
    assert np.array_equal(p.grad.numpy()[2:], [0, 0, -4]) and np.all(np.isfinite(p.grad.numpy()))


def test_a_saturated_sigmoid_gives_no_nan():
    x = de.tensor([-200.0, 200.0, 3.0], requires_grad=True)
    nn.BCELoss()(x.sigmoid(), de.tensor([1.0, 0.0, 1.0])).backward()
    assert np.all(np.isfinite(x.grad.numpy()))


# ---- errors -------------------------------------------------------------------------------------------------------------------------------------

def test_errors():
    with pytest.raises(RuntimeError, match=r"linear at test_nn\.py:\d+.*|mat1 and mat2 shapes cannot be multiplied \(3x4 and 5x2\)"):
        nn.Linear(5, 2)(de.zeros(3, 4))
    with pytest.raises(ValueError, match=r"target size \(\[3\]\) that is different to the input size \(\[3, 1\]\)"):
        nn.BCELoss()(de.zeros(3, 1), de.zeros(3))
    with pytest.warns(UserWarning, match="broadcast"):
        nn.MSELoss()(de.zeros(3, 1), de.zeros(3))
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        nn.BCELoss()(de.tensor([1.5]), de.tensor([1.0]))
    with pytest.raises(ValueError, match="not a valid value for reduction"):
        nn.MSELoss(reduction="average")
    with pytest.raises(ValueError, match="class numbers have the input's shape without the axis of classes"):
        nn.CrossEntropyLoss()(de.zeros(3, 4), de.tensor([0, 1]))
    for target in (4, -1):
        with pytest.raises(IndexError):
            nn.CrossEntropyLoss()(de.zeros(1, 4), de.tensor([target])).item()
    for token in (3, -1):
        with pytest.raises(IndexError):
            nn.Embedding(3, 2)(de.tensor([token])).tolist()
    with pytest.raises(RuntimeError, match="integer dtype"):
        nn.Embedding(3, 2)(de.tensor([1.0]))
    with pytest.raises(RuntimeError, match=r"normalized_shape=\[4\]"):
        nn.LayerNorm(4)(de.zeros(2, 3))
    with pytest.raises(ValueError, match="none or tanh"):
        nn.GELU(approximate="erf")


# ---- the tutorial ---------------------------------------------------------------------------------------------------------------------------------

def test_the_neuron():
    """z = w x + b, a = sigmoid(z), binary cross entropy: at x = 1.1, w = 2.2, b = 0, y = 1."""
    x, y = de.tensor([1.1]), de.tensor([1.0])
    w, b = de.tensor([2.2], requires_grad=True), de.tensor([0.0], requires_grad=True)
    loss = F.binary_cross_entropy(de.sigmoid(x * w + b), y)
    loss.backward()
    assert f"{loss.item():.4f} {w.grad.item():.4f} {b.grad.item():.4f}" == "0.0852 -0.0898 -0.0817"
    a = 1 / (1 + math.exp(-2.42))
    assert abs(w.grad.item() - (a - 1) * 1.1) < 1e-7 and abs(b.grad.item() - (a - 1)) < 1e-7


@needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_network_trains_as_pytorchs_does(dtype):
    x = RNG.normal(size=(32, 10)).astype(dtype)
    y = (x[:, :1] + 0.3 * x[:, 1:2] > 0).astype(dtype)

    def train(library, as_dtype, tensor, state):
        net = library.nn.Sequential(library.nn.Linear(10, 5), library.nn.ReLU(), library.nn.Linear(5, 1), library.nn.Sigmoid()).to(as_dtype)
        if state is not None:
            net.load_state_dict(state)
        state = {k: np.array(v.detach().numpy()) for k, v in net.state_dict().items()}
        optimizer, loss_of, out = library.optim.SGD(net.parameters(), lr=0.5), library.nn.BCELoss(), []
        for _ in range(10):
            optimizer.zero_grad()
            loss = loss_of(net(tensor(x)), tensor(y))
            loss.backward()
            optimizer.step()
            out.append((loss.item(), *[np.array(p.grad.numpy()) for p in net.parameters()]))
        return state, out

    state, theirs = train(torch, torch.float32 if dtype == np.float32 else torch.float64, torch.tensor, None)
    _, ours = train(de, np.dtype(dtype), de.tensor, state)
    for (a, *g), (b, *h) in zip(ours, theirs):
        assert abs(a - b) <= TOLERANCE[dtype]
        for p, q in zip(g, h):
            close(p, q, dtype)
    assert ours[-1][0] < ours[0][0]


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
    with pytest.raises(RuntimeError, match=r"linear at test_nn.py:\d+.*\(4x5 and 3x2\)|\(4x5 and 3x2\).*test_nn.py:\d+"):
        de.nn.Sequential(de.nn.Linear(3, 5), de.nn.ReLU(), de.nn.Linear(3, 2))(x)


def test_a_reduction_that_there_is_not_is_refused_when_it_is_used():
    loss = de.nn.MSELoss()
    loss.reduction = "median"
    with pytest.raises(ValueError, match=r"median is not a valid value for reduction.*test_nn.py:\d+"):
        loss(de.ones(2), de.zeros(2))


# ---- hooks ------------------------------------------------------------------------------------------------------------------------

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
