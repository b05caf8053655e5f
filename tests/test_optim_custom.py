"""Optimisers of the user's own, written as PyTorch's ecosystem writes them: the same code here and there."""
import copy
import math

import numpy as np
import pytest

import diffeng as de
from beside_torch import needs_torch, seeded, torch          # noqa: F401  seeded: a fixture

pytestmark = [needs_torch, pytest.mark.filterwarnings("ignore:This overload of")]


def momentum(library):
    """SGD with momentum over .data, with the step's options read from the group."""
    class Momentum(library.optim.Optimizer):
        def __init__(self, params, lr=0.1, momentum=0.9, weight_decay=0.0):
            if lr < 0.0:
                raise ValueError(f"Invalid learning rate: {lr}")
            super(Momentum, self).__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

        def __setstate__(self, state):
            super().__setstate__(state)
            for group in self.param_groups:
                group.setdefault("nesterov", False)

        def step(self, closure=None):
            loss = None
            if closure is not None:
                loss = closure()
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is None:
                        continue
                    d_p = p.grad.data
                    if group["weight_decay"] != 0:
                        d_p.add_(group["weight_decay"], p.data)
                    param_state = self.state[p]
                    if "momentum_buffer" not in param_state:
                        buf = param_state["momentum_buffer"] = library.zeros_like(p.data)
                        buf.mul_(group["momentum"]).add_(d_p)
                    else:
                        buf = param_state["momentum_buffer"]
                        buf.mul_(group["momentum"]).add_(d_p)
                    p.data.add_(-group["lr"], buf)
            return loss
    return Momentum


def old_adamw(library):
    """AdamW in the style of PyTorch 1.x: numbers first, addcdiv_ of data."""
    class OldAdamW(library.optim.Optimizer):
        def __init__(self, params, lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False):
            super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad))

        def step(self, closure=None):
            loss = closure() if closure is not None else None
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is None:
                        continue
                    p.data.mul_(1 - group["lr"] * group["weight_decay"])
                    grad = p.grad.data
                    if grad.is_sparse:
                        raise RuntimeError("Adam does not support sparse gradients, please consider SparseAdam instead")
                    state = self.state[p]
                    if len(state) == 0:
                        state["step"] = 0
                        state["exp_avg"] = library.zeros_like(p.data, memory_format=library.preserve_format)
                        state["exp_avg_sq"] = library.zeros_like(p.data, memory_format=library.preserve_format)
                        if group["amsgrad"]:
                            state["max_exp_avg_sq"] = library.zeros_like(p.data)
                    exp_avg, exp_avg_sq = state["exp_avg"], state["exp_avg_sq"]
                    beta1, beta2 = group["betas"]
                    state["step"] += 1
                    exp_avg.mul_(beta1).add_(1 - beta1, grad)
                    exp_avg_sq.mul_(beta2).addcmul_(1 - beta2, grad, grad)
                    if group["amsgrad"]:
                        library.max(state["max_exp_avg_sq"], exp_avg_sq, out=state["max_exp_avg_sq"])
                        denom = state["max_exp_avg_sq"].sqrt().add_(group["eps"])
                    else:
                        denom = exp_avg_sq.sqrt().add_(group["eps"])
                    step_size = group["lr"] * math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])
                    p.data.addcdiv_(-step_size, exp_avg, denom)
            return loss
    return OldAdamW


def lion(library):
    """Lion as its authors wrote it, under no_grad, with a count of steps that is a tensor without axes."""
    class Lion(library.optim.Optimizer):
        def __init__(self, params, lr=1e-2, betas=(0.9, 0.99), weight_decay=0.1):
            super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

        @library.no_grad()
        def step(self, closure=None):
            loss = None
            if closure is not None:
                with library.enable_grad():
                    loss = closure()
            for group in self.param_groups:
                for p in filter(lambda p: p.grad is not None, group["params"]):
                    state = self.state[p]
                    if len(state) == 0:
                        state["step"], state["exp_avg"] = library.tensor(0.0), library.zeros_like(p)
                    state["step"] += 1
                    p.data.mul_(1 - group["lr"] * group["weight_decay"])
                    exp_avg, (beta1, beta2) = state["exp_avg"], group["betas"]
                    update = exp_avg * beta1 + p.grad * (1 - beta1)
                    p.add_(update.sign_(), alpha=-group["lr"])
                    exp_avg.lerp_(p.grad, 1 - beta2)
            return loss
    return Lion


def trained(library, make, options, w):
    """Parameters, losses and state after steps with two groups, a state that another optimiser took over, and a closure."""
    rng = np.random.default_rng(3)
    x, y = (library.tensor(rng.normal(size=shape).astype(np.float32)) for shape in ((8, 3), (8, 2)))
    a, b, late = (library.nn.Parameter(library.tensor(v)) for v in w)
    cls = make(library)
    optimizer = cls([{"params": [a], "lr": 0.03}, {"params": [b]}], **options)
    assert optimizer.defaults["lr"] != 0.03 and optimizer.param_groups[1]["lr"] == optimizer.defaults["lr"] and len(optimizer.state) == 0
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = (((x @ a).tanh() @ b + late - y) ** 2).mean()
        loss.backward()
        return loss
    for k in range(9):
        if k == 2:
            optimizer.add_param_group({"params": late, "lr": 0.2})
        if k == 4:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = cls([{"params": [a]}, {"params": [b]}, {"params": [late]}], **options)
            optimizer.load_state_dict(state)
        if k == 5:
            schedule = library.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        if k % 2:
            losses.append(optimizer.step(closure).item())
        else:
            losses.append(closure().item())
            optimizer.step()
        if k > 5:
            schedule.step()
    kept = optimizer.state_dict()["state"]
    states = [np.asarray(s[name].detach() if hasattr(s[name], "detach") else s[name], float) for _, s in sorted(kept.items()) for name in sorted(s)]
    kinds = [type(s[name]).__name__ for _, s in sorted(kept.items()) for name in sorted(s)]
    return losses, [p.detach().numpy().copy() for p in (a, b, late)], states, kinds, [sorted(g) for g in optimizer.param_groups], [g["lr"] for g in optimizer.param_groups]


@pytest.mark.parametrize("make, options", [(momentum, {}), (momentum, dict(weight_decay=0.1)), (old_adamw, {}), (old_adamw, dict(amsgrad=True, lr=0.1)), (lion, {}), (lion, dict(weight_decay=0.0))])
def test_optimisers_of_ones_own_equal_pytorchs(make, options):
    rng = np.random.default_rng(4)
    w = [rng.normal(size=shape).astype(np.float32) for shape in ((3, 4), (4, 2), (2,))]
    ours, theirs = trained(de, make, options, w), trained(torch, make, options, w)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-5)
    assert ours[0][-1] < ours[0][0]
    for a, b in zip([*ours[1], *ours[2]], [*theirs[1], *theirs[2]], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)
    assert ours[3] == theirs[3] and [{*g} - {"initial_lr"} for g in ours[4]] == [{*g} - {"initial_lr"} for g in theirs[4]] and ours[5] == theirs[5]


def test_a_parameter_that_was_asked_for_has_no_age_yet():
    for name in ("SGD", "Adam", "LBFGS", "NAdam"):
        x = de.tensor([1.0, 2.0], requires_grad=True)
        optimizer = getattr(de.optim, name)([x], lr=0.1)
        assert optimizer.state[x] == {}

        def closure():
            optimizer.zero_grad()
            loss = (x * x).sum()
            loss.backward()
            return loss
        before = closure().item()
        optimizer.step(closure)
        assert closure().item() < before
