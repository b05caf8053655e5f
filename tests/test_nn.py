"""Layers and losses (modules as such: test_nn_modules.py): against closed forms, and against PyTorch with the same weights where it is installed."""
import math

import numpy as np
import pytest

import diffeng as de
from beside_torch import needs_torch, seeded, torch          # noqa: F401  seeded: a fixture
from diffeng import nn
from diffeng.nn import functional as F

RNG = np.random.default_rng(0)
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}
DTYPES = [np.float32, np.float64]


def close(got, want, dtype):
    """Equal up to the tolerance of the dtype, measured in the largest entry."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape and got.dtype == want.dtype == dtype, (got.dtype, want.dtype, got.shape, want.shape)
    assert np.max(np.abs(got - want), initial=0) <= TOLERANCE[dtype] * max(1.0, np.max(np.abs(want), initial=0)), (got, want)


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


def test_a_reduction_that_there_is_not_is_refused_when_it_is_used():
    loss = de.nn.MSELoss()
    loss.reduction = "median"
    with pytest.raises(ValueError, match=r"median is not a valid value for reduction.*test_nn.py:\d+"):
        loss(de.ones(2), de.zeros(2))
