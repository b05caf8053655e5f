"""Schedules of learning rates: against the formulas, and against PyTorch where it is installed."""
import math

import numpy as np
import pytest

import diffeng as de
from beside_torch import needs_torch, seeded, torch          # noqa: F401  seeded: a fixture
from diffeng import optim


def named(name, **options):
    return lambda schedules, optimizer: getattr(schedules, name)(optimizer, **options)


SCHEDULES = [                                                                          # library.optim.lr_scheduler, optimizer -> a schedule or several
    named("StepLR", step_size=3, gamma=0.5), named("ExponentialLR", gamma=0.9), named("CosineAnnealingLR", T_max=4, eta_min=0.01), named("LinearLR", start_factor=0.1, total_iters=5),
    named("LinearLR", start_factor=1.0, end_factor=0.0, total_iters=4), named("LambdaLR", lr_lambda=lambda t: 1 / (1 + t)), named("MultiStepLR", milestones=[2, 5, 5], gamma=0.1),
    named("ConstantLR", factor=0.5, total_iters=4), named("CosineAnnealingWarmRestarts", T_0=2, T_mult=2, eta_min=0.01), named("CosineAnnealingWarmRestarts", T_0=3),
    named("PolynomialLR", total_iters=6, power=2.0), named("MultiplicativeLR", lr_lambda=lambda t: 0.95), named("OneCycleLR", max_lr=0.4, total_steps=20),
    named("OneCycleLR", max_lr=[0.4, 0.5], epochs=2, steps_per_epoch=10, three_phase=True, anneal_strategy="linear"),
    named("OneCycleLR", max_lr=0.4, total_steps=20, cycle_momentum=False),
    named("CyclicLR", base_lr=0.01, max_lr=0.2, step_size_up=3, step_size_down=2), named("CyclicLR", base_lr=[0.01, 0.02], max_lr=0.2, step_size_up=2, mode="triangular2"),
    named("CyclicLR", base_lr=0.01, max_lr=0.2, step_size_up=4, mode="exp_range", gamma=0.9, cycle_momentum=False),
    named("CyclicLR", base_lr=0.01, max_lr=0.2, step_size_up=2, scale_fn=lambda n: 1 / n),
    lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1, total_iters=4), s.CosineAnnealingLR(o, 6)], [4]),
    lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9), s.StepLR(o, 2)], [2, 6]),
    lambda s, o: (s.ExponentialLR(o, 0.9), s.StepLR(o, 3)), lambda s, o: (s.CosineAnnealingLR(o, 6), s.MultiStepLR(o, [2])),
    lambda s, o: s.ChainedScheduler([s.LinearLR(o, 0.1, total_iters=3), s.CosineAnnealingLR(o, 6)]),
]


@needs_torch
@pytest.mark.parametrize("by_hand", [None, 3])
@pytest.mark.parametrize("optimiser", ["SGD", "AdamW"])
@pytest.mark.parametrize("make", SCHEDULES)
def test_schedules_equal_pytorchs(make, optimiser, by_hand):
    """Alone and several at once, of two groups, with a rate that is set by hand on the way: rates, momenta and parameters."""
    rates, weights = [], []
    for library in (torch, de):
        w, v = library.ones(2, requires_grad=True), library.ones(2, requires_grad=True)
        optimizer = getattr(library.optim, optimiser)([{"params": [w]}, {"params": [v], "lr": 0.3}], lr=0.1, **({"momentum": 0.9} if optimiser == "SGD" else {}))
        schedules = make(library.optim.lr_scheduler, optimizer)
        schedules = schedules if isinstance(schedules, tuple) else (schedules,)
        rates.append([])
        for k in range(12):
            rates[-1] += [g["lr"] for g in optimizer.param_groups] + [g["momentum"] if "momentum" in g else g["betas"][0] for g in optimizer.param_groups]
            rates[-1] += schedules[-1].get_last_lr()
            if k == by_hand:
                for group in optimizer.param_groups:
                    group["lr"] *= 0.5
            optimizer.zero_grad()
            (w * v + w + v).sum().backward()
            optimizer.step()
            for schedule in schedules:
                schedule.step()
        weights.append(w.tolist() + v.tolist())
    assert np.allclose(*rates, rtol=1e-12) and np.allclose(*weights, rtol=1e-4, atol=1e-5)


def test_schedules_multiply_and_keep_a_rate_that_was_set_by_hand():
    optimizer = optim.SGD([de.zeros(1, requires_grad=True)], lr=1.0)
    decay, halving = optim.ExponentialLR(optimizer, 0.9), optim.StepLR(optimizer, 2, gamma=0.5)
    for _ in range(4):
        decay.step()
        halving.step()
    assert np.isclose(optimizer.param_groups[0]["lr"], 0.9 ** 4 * 0.25)
    optimizer.param_groups[0]["lr"] = 0.1
    decay.step()
    assert np.isclose(optimizer.param_groups[0]["lr"], 0.09)


def test_a_schedule_of_ones_own_defines_get_lr():
    class Noam(optim.LRScheduler):
        def __init__(self, optimizer, warmup):
            self.warmup = warmup
            super().__init__(optimizer)

        def get_lr(self):
            t = max(1, self.last_epoch)
            return [base * min(t ** -0.5, t * self.warmup ** -1.5) for base in self.base_lrs]

    optimizer = optim.SGD([de.zeros(1, requires_grad=True)], lr=1.0)
    noam, rates = Noam(optimizer, 4), []
    for _ in range(6):
        noam.step()
        rates += noam.get_last_lr()
    assert np.allclose(rates, [0.125, 0.25, 0.375, 0.5, 5 ** -0.5, 6 ** -0.5])
    with pytest.raises(NotImplementedError, match="Bare is missing get_lr"):
        type("Bare", (optim.LRScheduler,), {})(optimizer)


def test_schedules_begin_again_at_a_step_and_from_a_state():
    def made():
        optimizer = optim.SGD([de.zeros(1, requires_grad=True)], lr=1.0)
        return optimizer, optim.SequentialLR(optimizer, [optim.LinearLR(optimizer, 0.1, total_iters=3), optim.ExponentialLR(optimizer, 0.5)], [3])
    (optimizer, schedule), (other, again) = made(), made()
    for _ in range(5):
        schedule.step()
    other.load_state_dict(optimizer.state_dict())
    again.load_state_dict(schedule.state_dict())
    for _ in range(2):
        schedule.step()
        again.step()
    assert again.get_last_lr() == schedule.get_last_lr() == [0.0625]
    warm = optim.CosineAnnealingWarmRestarts(optim.SGD([de.zeros(1, requires_grad=True)], lr=1.0), T_0=2)
    warm.step(2 + 0.5)
    assert np.isclose(warm.get_last_lr()[0], (1 + math.cos(math.pi / 4)) / 2)
    optimizer = optim.SGD([de.zeros(1, requires_grad=True)], lr=1.0)
    decay = optim.ExponentialLR(optimizer, 0.5)
    decay.step(3)
    assert decay.get_last_lr() == [0.125]
    assert "lr_lambdas" not in optim.LambdaLR(optimizer, lambda t: 1.0).state_dict()


def test_schedules_are_their_formulas():
    optimizer = optim.SGD([de.zeros(1, requires_grad=True)], lr=0.2)
    warm = optim.LinearLR(optimizer, start_factor=0.25, total_iters=3)
    cosine = optim.CosineAnnealingLR(optimizer, T_max=4)
    both = optim.SequentialLR(optimizer, [warm, cosine], milestones=[3])
    rates = []
    for _ in range(8):
        rates += both.get_last_lr()
        both.step()
    assert np.allclose(rates, [0.05, 0.1, 0.15, *[0.1 * (1 + math.cos(math.pi * t / 4)) for t in range(5)]], rtol=1e-14)
    with pytest.raises(KeyError, match="initial_lr"):
        optim.StepLR(optim.SGD([de.zeros(1, requires_grad=True)], lr=0.2), 2, last_epoch=4)
    with pytest.raises(ValueError, match="belong to the same optimizer"):
        optim.SequentialLR(optim.SGD([de.zeros(1, requires_grad=True)], lr=0.2), [warm, cosine], [3])
    cycle = optim.OneCycleLR(optimizer, max_lr=0.1, total_steps=1, cycle_momentum=False)
    cycle.step()
    with pytest.raises(ValueError, match="Tried to step 2 times"):
        cycle.step()
    with pytest.raises(ValueError, match="one milestone fewer"):
        optim.SequentialLR(optimizer, [warm, cosine], [1, 2])
    with pytest.raises(TypeError, match="not an Optimizer"):
        optim.StepLR([1], 2)


def test_a_plateau_lowers_the_rate():
    optimizer = optim.SGD([de.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1, min_lr=0.2)
    rates = []
    for loss in [1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]:
        scheduler.step(de.tensor(loss))
        rates += scheduler.get_last_lr()
    assert rates == [1.0] * 3 + [0.5] * 3 + [0.25] * 3 + [0.2] * 3
    other = optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    other.load_state_dict(scheduler.state_dict())
    assert other.best == 0.5 and other.patience == 1


@needs_torch
@pytest.mark.parametrize("options", [dict(), dict(mode="max", patience=0), dict(threshold_mode="abs", threshold=0.1, patience=2), dict(mode="max", threshold=0.2, patience=1),
                                     dict(patience=0, cooldown=2, min_lr=0.01)])
def test_plateaus_equal_pytorchs(options):
    values, rates = np.random.default_rng(0).random(40) + np.linspace(1, 0, 40), []
    for library in (torch, de):
        optimizer = library.optim.SGD([library.zeros(1, requires_grad=True)], lr=1.0)
        optimizer.step()
        scheduler = library.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **{"patience": 3, **options})
        rates.append([(scheduler.step(x), optimizer.param_groups[0]["lr"])[1] for x in values])
    assert rates[0] == pytest.approx(rates[1]) and len(set(rates[0])) > 2


def test_warm_restarts_begin_again():
    optimizer = optim.SGD([de.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2, T_mult=2)
    rates = []
    for _ in range(7):
        rates += scheduler.get_last_lr()
        scheduler.step()
    half = math.sqrt(0.5)
    assert rates == pytest.approx([1, 0.5, 1, (1 + half) / 2, 0.5, (1 - half) / 2, 1])
