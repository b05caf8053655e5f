"""Optimisers and clipping (schedules: test_optim_schedules.py): against the formulas, and ten steps against PyTorch where it is installed."""
import math

import numpy as np
import pytest

import diffeng as de
from beside_torch import needs_torch, seeded, torch          # noqa: F401  seeded: a fixture
from diffeng import nn, optim

TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}
DTYPES = [np.float32, np.float64]

# name, options
OPTIMISERS = [
    ("SGD", dict(lr=0.1)), ("SGD", dict(lr=0.1, momentum=0.9)), ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True)), ("SGD", dict(lr=0.1, weight_decay=0.1)),
    ("SGD", dict(lr=0.1, momentum=0.8, dampening=0.3, weight_decay=0.01)), ("SGD", dict(lr=0.01, maximize=True)),
    ("Adam", dict(lr=0.05)), ("Adam", dict(lr=0.05, betas=(0.7, 0.9), eps=1e-4, weight_decay=0.1)), ("Adam", dict(lr=0.05, amsgrad=True)),
    ("AdamW", dict(lr=0.05)), ("AdamW", dict(lr=0.05, weight_decay=0.3, amsgrad=True)), ("AdamW", dict(lr=0.01, maximize=True)),
    ("AdamW", dict(lr=0.05, foreach=False)), ("RMSprop", dict(lr=0.02)), ("RMSprop", dict(lr=0.02, alpha=0.8, momentum=0.5, weight_decay=0.1)),
    ("RMSprop", dict(lr=0.02, centered=True, momentum=0.5)), ("RMSprop", dict(lr=0.001, maximize=True)),
    ("Adagrad", dict(lr=0.1)), ("Adagrad", dict(lr=0.1, lr_decay=0.1, weight_decay=0.05, initial_accumulator_value=0.2)), ("Adadelta", dict()),
    ("Adadelta", dict(lr=2.0, rho=0.7, eps=1e-4, weight_decay=0.01)), ("Adamax", dict(lr=0.05)), ("Adamax", dict(betas=(0.7, 0.9), weight_decay=0.1)),
    ("NAdam", dict(lr=0.05)), ("NAdam", dict(lr=0.02, weight_decay=0.1, momentum_decay=0.01, decoupled_weight_decay=True)), ("RAdam", dict(lr=0.05, betas=(0.9, 0.99))),
    ("RAdam", dict(lr=0.02, betas=(0.8, 0.9), weight_decay=0.1)), ("RAdam", dict(lr=0.02, weight_decay=0.1, decoupled_weight_decay=True)),
]


def data(dtype):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(16, 4)).astype(dtype)
    return x, np.sin(x[:, :1]).astype(dtype)


def train(library, dtype, state, make, steps=10, each=None):
    """Losses and parameters of a small network, trained for some steps: {"state", "losses", "weights"}."""
    x, y = (library.tensor(a) for a in data(dtype))
    net = library.nn.Sequential(library.nn.Linear(4, 3), library.nn.Tanh(), library.nn.Linear(3, 1))
    net.double() if dtype == np.float64 else net.float()
    if state is not None:
        net.load_state_dict(state)
    state = {k: np.array(v.detach().numpy()) for k, v in net.state_dict().items()}
    optimizer = make(library, net)
    found = each(library, net, optimizer) if each is not None else None
    losses, more = [], []
    for k in range(steps):
        optimizer.zero_grad()
        loss = library.nn.functional.mse_loss(net(x), y)
        loss.backward()
        if found is not None:
            more.append(found(k))
        optimizer.step()
        losses.append(loss.item())
    return state, losses, [np.array(p.detach().numpy()) for p in net.parameters()], more


def equal_to_pytorchs(dtype, make, each=None, steps=10, tolerance=0.0):
    tolerance = max(TOLERANCE[dtype], tolerance)
    state, losses, weights, more = train(torch, dtype, None, make, steps, each)
    _, ours, w, m = train(de, dtype, state, make, steps, each)
    assert np.max(np.abs(np.subtract(ours, losses))) <= tolerance
    for p, q in zip(w, weights, strict=True):
        assert p.dtype == q.dtype and np.max(np.abs(p - q)) <= tolerance * max(1, np.abs(q).max())
    assert np.allclose(m, more, rtol=4 * TOLERANCE[dtype], atol=0)
    return ours


@needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name, options", OPTIMISERS)
def test_ten_steps_equal_pytorchs(name, options, dtype):
    tolerance = 1e-8 if name == "NAdam" else 0.0                             # PyTorch keeps the product of its momenta in float32
    losses = equal_to_pytorchs(dtype, lambda library, net: getattr(library.optim, name)(net.parameters(), **options), tolerance=tolerance)
    assert (losses[-1] < losses[0]) is not options.get("maximize", False)


@needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
def test_groups_equal_pytorchs(dtype):
    def make(library, net):
        return library.optim.AdamW([{"params": net[0].parameters(), "lr": 0.01, "weight_decay": 0.5}, {"params": [net[2].weight]}, {"params": [net[2].bias], "betas": (0.5, 0.5)}], lr=0.05)
    equal_to_pytorchs(dtype, make)


@needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", [dict(max_norm=0.1), dict(max_norm=100.0), dict(max_norm=0.1, norm_type=1.0), dict(max_norm=0.05, norm_type=math.inf)])
def test_clipping_equals_pytorchs(how, dtype):
    equal_to_pytorchs(dtype, lambda library, net: library.optim.SGD(net.parameters(), lr=0.3),
                      lambda library, net, _: lambda k: (optim.clip_grad_norm_ if library is de else torch.nn.utils.clip_grad_norm_)(net.parameters(), **how).item())


@needs_torch
def test_clipping_values_equals_pytorchs():
    def each(library, net, _):
        return lambda k: (optim.clip_grad_value_ if library is de else torch.nn.utils.clip_grad_value_)(net.parameters(), 0.05) or 0.0
    equal_to_pytorchs(np.float32, lambda library, net: library.optim.SGD(net.parameters(), lr=0.3), each)


@needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_schedule_in_training_equals_pytorchs(dtype):
    def each(library, net, optimizer):
        schedule = library.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
        return lambda k: (k and schedule.step(), optimizer.param_groups[0]["lr"])[1]
    equal_to_pytorchs(dtype, lambda library, net: library.optim.Adam(net.parameters(), lr=0.05), each)


def test_the_rate_and_the_draw_are_values_of_the_program():
    """Another rate and another mask at each step: no program is made for them. Programs are counted where they are made."""
    from diffeng import kernels
    made, original = [], kernels.Program

    class Counted(original):
        def __init__(self, *args, **kwargs):
            made.append(1)
            super().__init__(*args, **kwargs)

    w = de.tensor(np.ones(30), requires_grad=True)
    optimizer = optim.Adam([w], lr=0.1)
    schedule = optim.OneCycleLR(optimizer, max_lr=0.1, total_steps=40)              # of the first of Adam's betas, too
    kernels.Program = Counted
    try:
        counts = []
        for _ in range(40):
            optimizer.zero_grad()
            nn.functional.dropout((w - 3) ** 2, 0.1).sum().backward()
            optim.clip_grad_norm_([w], 1.0)
            optimizer.step()
            schedule.step()
            counts.append(len(made))
        w.tolist()
    finally:
        kernels.Program = original
    assert counts[-1] >= 1 and counts[-1] == counts[10], counts


def test_formulas_by_hand():
    w = de.tensor([1.0, -2.0], dtype=de.float64, requires_grad=True)
    w.grad = de.tensor([0.5, 0.25], dtype=de.float64)
    optimizer = optim.SGD([w], lr=0.1, momentum=0.5)
    optimizer.step()
    assert np.allclose(w.tolist(), [0.95, -2.025], rtol=1e-15)
    optimizer.step()                                       # v = 0.5 g + g
    assert np.allclose(w.tolist(), [0.95 - 0.1 * 0.75, -2.025 - 0.1 * 0.375], rtol=1e-15)
    v = de.tensor([1.0], dtype=de.float64, requires_grad=True)
    v.grad = de.tensor([3.0], dtype=de.float64)
    optim.Adam([v], lr=0.1).step()                         # the first step is lr sign(g), up to eps
    assert np.isclose(v.item(), 1 - 0.1 * 3 / (3 + 1e-8), rtol=1e-15)


def test_state_goes_on_where_it_was():
    def start():
        return de.tensor([1.0, 2.0, 3.0], requires_grad=True)

    def go(w, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            ((w - 1) ** 2 * de.tensor([1.0, 2.0, 3.0])).sum().backward()
            optimizer.step()
    for make in (lambda p: optim.SGD(p, lr=0.01, momentum=0.9), lambda p: optim.AdamW(p, lr=0.1, amsgrad=True)):
        w = start()
        optimizer = make([w])
        go(w, optimizer, 6)
        v = start()
        first = make([v])
        go(v, first, 3)
        state = first.state_dict()
        go(v, first, 2)                                    # what was kept does not move
        u = de.tensor(start(), requires_grad=True)
        other = make([u])
        go(u, other, 3)
        second = make([u])
        second.param_groups[0]["lr"] = 55.0
        second.load_state_dict(state)
        go(u, second, 3)
        assert u.tolist() == w.tolist() and second.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    with pytest.raises(ValueError, match="doesn't match the size"):
        optim.SGD([w, v], lr=0.1).load_state_dict(state)


def test_parameters_without_gradients_wait():
    a, b = de.tensor([1.0], requires_grad=True), de.tensor([1.0], requires_grad=True)
    for make in (lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.Adam(p, lr=0.1)):
        optimizer = make([a, b])
        before = b.item()
        for k in range(4):
            optimizer.zero_grad()
            (a * a if k < 2 else a * a + b * b).sum().backward()
            optimizer.step()
            assert k > 1 or b.item() == before
        if "step" in optimizer.state[b]:
            assert optimizer.state[b]["step"] == 2 and optimizer.state[a]["step"] == 4
    optimizer.zero_grad(set_to_none=False)
    assert a.grad.item() == b.grad.item() == 0.0
    optimizer.zero_grad()
    assert a.grad is None
    optimizer.step()                                       # nothing to do


def test_closures_and_prints():
    w = de.tensor([2.0], requires_grad=True)
    optimizer = optim.SGD([("w", w)], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss
    with de.no_grad():
        assert optimizer.step(closure).item() == 4.0
    assert w.item() == 1.0
    assert repr(optimizer).splitlines()[:2] == ["SGD (", "Parameter Group 0"] and "    lr: 0.25" in repr(optimizer)


@pytest.mark.parametrize("make, kind, words", [
    (lambda w: optim.SGD(w, lr=0.1), TypeError, "iterable of Tensors"), (lambda w: optim.SGD([], lr=0.1), ValueError, "empty parameter list"),
    (lambda w: optim.SGD([w], lr=-1.0), ValueError, "Invalid learning rate: -1.0"), (lambda w: optim.SGD([w * 2], lr=0.1), ValueError, "non-leaf"),
    (lambda w: optim.SGD([w, w], lr=0.1), ValueError, "more than one parameter group"), (lambda w: optim.Adam([1.0]), TypeError, "one of the params is float"),
    (lambda w: optim.Adam([w], betas=(0.9, 1.0)), ValueError, "beta parameter at index 1"), (lambda w: optim.SGD([w], nesterov=True), ValueError, "Nesterov"),
    (lambda w: optim.clip_grad_norm([w], 1.0, error_if_nonfinite=True), RuntimeError, "non-finite")])
def test_errors(make, kind, words):
    w = de.tensor([1.0], requires_grad=True)
    w.grad = de.tensor([math.nan])
    with pytest.raises(kind, match=words):
        make(w)


def test_a_model_learns():
    de.manual_seed(0)
    x = de.randn(64, 4)
    y = (x[:, 0] * x[:, 1] > 0).long()
    net = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.LayerNorm(16), nn.Dropout(0.05), nn.Linear(16, 2))
    optimizer, loss_of = optim.AdamW(net.parameters(), lr=0.02), nn.CrossEntropyLoss()
    for _ in range(120):
        optimizer.zero_grad()
        loss = loss_of(net(x), y)
        loss.backward()
        optim.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    net.eval()
    assert loss_of(net(x), y).item() < 0.15 and (net(x).argmax(1) == y).sum().item() >= 62


@pytest.mark.parametrize("make", [lambda p: de.optim.SGD(p, 0.1, momentum=0.5), lambda p: de.optim.Adam(p, 0.1, betas=[0.5, 0.9])])
def test_options_may_change_between_steps(make):
    """What a step takes from its group is put together once, and anew when anything in the group is another."""
    def run(optimiser_of_step):
        w = [de.tensor([1.0, 2.0], requires_grad=True), de.tensor([3.0], requires_grad=True)]
        optimiser = make(w)
        for k in range(12):
            optimiser = optimiser_of_step(optimiser, w)
            group = optimiser.param_groups[0]
            if k == 3:
                group["weight_decay"] = 0.3
            if k == 6:
                group["lr"] = 0.01
            if "betas" in group:
                group["betas"] = [*group["betas"]] if k == 7 else group["betas"]
            if k == 8 and "betas" in group:
                group["betas"][0] = 0.1
            if k == 9:
                group["params"].pop()
            optimiser.zero_grad()
            sum((x * x).sum() for x in w).backward()
            optimiser.step()
        return [x.detach().numpy().copy() for x in w]

    def fresh(optimiser, w):                              # another optimiser, which knows nothing but the state and the options
        new = make(list(optimiser.param_groups[0]["params"]))
        new.load_state_dict(optimiser.state_dict())
        return new
    for a, b in zip(run(lambda optimiser, w: optimiser), run(fresh)):
        np.testing.assert_array_equal(a, b)


def test_rmsprop_in_closed_form():
    w = de.tensor([1.0, -2.0], requires_grad=True)
    optimizer = optim.RMSprop([w], lr=0.1, alpha=0.75)
    (w * w).sum().backward()
    optimizer.step()
    assert w.detach().allclose(de.tensor([0.8, -1.8]))                   # lr g / sqrt(g^2 / 4)
    assert optimizer.state[w]["square_avg"].allclose(de.tensor([1.0, 4.0]))


# ---- LBFGS ------------------------------------------------------------------------------------------------------------------------------------

@needs_torch
@pytest.mark.parametrize("options", [dict(lr=0.1), dict(lr=0.001, max_iter=7, history_size=3), dict(line_search_fn="strong_wolfe"),
                                     dict(line_search_fn="strong_wolfe", max_iter=4, lr=0.5, history_size=2)])
def test_lbfgs_equals_pytorchs(options):
    """Rosenbrock's function of two parameters of different shapes; some steps, as each keeps what the one before knew."""
    found = []
    for library in (torch, de):
        w, v = library.tensor([-1.2, 1.0], dtype=library.float64, requires_grad=True), library.tensor([[0.5]], dtype=library.float64, requires_grad=True)
        optimizer, seen = library.optim.LBFGS([w, v], **options), []

        def closure():
            optimizer.zero_grad()
            loss = (1 - w[0]) ** 2 + 5 * (w[1] - w[0] ** 2) ** 2 + (v - w[1]).square().sum()
            loss.backward()
            seen.append(loss.item())
            return loss
        for _ in range(3):
            seen.append(optimizer.step(closure).item())
        found.append([*seen, *w.tolist(), v.item()])
    assert len(found[0]) == len(found[1])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6, atol=1e-9)


def test_lbfgs_goes_on_from_its_state_and_refuses():
    def run(optimizer, w, n):
        def closure():
            optimizer.zero_grad()
            loss = ((w * de.tensor([1.0, 10.0]) - 1) ** 2).sum()
            loss.backward()
            return loss
        return [optimizer.step(closure).item() for _ in range(n)]
    w = de.tensor([3.0, -2.0], requires_grad=True)
    optimizer = optim.LBFGS([w], max_iter=1, lr=0.5)
    run(optimizer, w, 3)
    v = w.detach().clone().requires_grad_()
    other = optim.LBFGS([v], max_iter=1, lr=0.5)
    other.load_state_dict(optimizer.state_dict())
    assert run(other, v, 3) == run(optimizer, w, 3)
    for call, kind in ((lambda: optimizer.step(), TypeError), (lambda: optim.LBFGS([{"params": [w]}, {"params": [v]}]), ValueError),
                       (lambda: optim.LBFGS([w], line_search_fn="armijo"), RuntimeError)):
        with pytest.raises(kind):
            call()
