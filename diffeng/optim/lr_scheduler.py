"""Schedules: the learning rate of every group as a function of how often step() was called. Closed forms, so that nothing drifts.

Where PyTorch multiplies the present rate at each step, and two schedules of one optimiser therefore multiply, here the last one to step decides;
SequentialLR puts several one after the other.
"""
import bisect
import math

from ..errors import absent, refuse
from .plateau import ReduceLROnPlateau          # noqa: F401


class LRScheduler:
    """At step t a group's rate is base * factor(t), base being its rate when the schedule was made. Subclasses say what factor is, or rate(base, t)."""

    def __init__(self, optimizer, last_epoch=-1):
        if not hasattr(optimizer, "param_groups"):
            raise refuse(TypeError, f"scheduler{{here}}: {type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        self.base_lrs = [group.setdefault("initial_lr", group["lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def factor(self, t):
        raise NotImplementedError

    def rate(self, base, t, k):
        return base * self.factor(t)

    def rates(self, t):
        """The rate of each group after t steps."""
        return [self.rate(base, t, k) for k, base in enumerate(self.base_lrs)]

    def step(self):
        """After optimizer.step(): the next rates."""
        self.last_epoch += 1
        for group, lr in zip(self.optimizer.param_groups, self.rates(self.last_epoch)):
            group["lr"] = lr

    def get_last_lr(self):
        """The rates that are in force, one a group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self):
        """What load_state_dict needs to go on from here."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict):
        self.base_lrs, self.last_epoch = list(state_dict["base_lrs"]), state_dict["last_epoch"] - 1
        self.step()


class LambdaLR(LRScheduler):
    """base * lr_lambda(t); a list of functions: one a group."""

    def __init__(self, optimizer, lr_lambda, last_epoch=-1):
        n = len(optimizer.param_groups)
        self.lr_lambdas = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * n
        if len(self.lr_lambdas) != n:
            raise refuse(ValueError, f"scheduler{{here}}: Expected {n} lr_lambdas, but got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def rate(self, base, t, k):
        return base * self.lr_lambdas[k](t)


class StepLR(LRScheduler):
    """base * gamma ** (t // step_size)."""

    def __init__(self, optimizer, step_size, gamma=0.1, last_epoch=-1):
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t):
        return self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    """base * gamma ** (how many milestones have been reached)."""

    def __init__(self, optimizer, milestones, gamma=0.1, last_epoch=-1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t):
        return self.gamma ** bisect.bisect_right(self.milestones, t)


class ExponentialLR(LRScheduler):
    """base * gamma ** t."""

    def __init__(self, optimizer, gamma, last_epoch=-1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t):
        return self.gamma ** t


class ConstantLR(LRScheduler):
    """base * factor until total_iters steps are done, then base."""

    def __init__(self, optimizer, factor=1.0 / 3, total_iters=5, last_epoch=-1):
        self.first, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, t):
        return self.first if t < self.total_iters else 1.0


class LinearLR(LRScheduler):
    """From base * start_factor to base * end_factor in total_iters steps, evenly: a warm-up."""

    def __init__(self, optimizer, start_factor=1.0 / 3, end_factor=1.0, total_iters=5, last_epoch=-1):
        if not 0 < start_factor <= 1:
            raise refuse(ValueError, "scheduler{here}: Starting multiplicative factor expected to be greater than 0 and less or equal to 1.")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, t):
        return self.start_factor + (self.end_factor - self.start_factor) * min(t, self.total_iters) / self.total_iters


class CosineAnnealingLR(LRScheduler):
    """eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2 (Loshchilov & Hutter, ICLR 2017, without restarts)."""

    def __init__(self, optimizer, T_max, eta_min=0.0, last_epoch=-1):
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base, t, k):
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class CosineAnnealingWarmRestarts(LRScheduler):
    """From base down to eta_min along half a cosine in T_0 steps, then from base again, in T_mult times as many, and so on (Loshchilov & Hutter, ICLR 2017)."""

    def __init__(self, optimizer, T_0, T_mult=1, eta_min=0.0, last_epoch=-1):
        if T_0 < 1 or T_mult < 1 or T_0 != int(T_0) or T_mult != int(T_mult):
            raise refuse(ValueError, f"scheduler{{here}}: Expected positive integers T_0 and T_mult, but got {T_0} and {T_mult}")
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base, t, k):
        length = self.T_0
        while t >= length:
            t, length = t - length, length * self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / length)) / 2


class SequentialLR(LRScheduler):
    """One schedule after the other: the next begins, at its step 0, when a milestone is reached."""

    def __init__(self, optimizer, schedulers, milestones, last_epoch=-1):
        if len(milestones) != len(schedulers) - 1:
            raise refuse(ValueError, f"scheduler{{here}}: SequentialLR expects one milestone fewer than schedulers, but got {len(schedulers)} and {len(milestones)}")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer, last_epoch)

    def rates(self, t):
        k = bisect.bisect_right(self.milestones, t)
        return self.schedulers[k].rates(t - (self.milestones[k - 1] if k else 0))


_INSTEAD = {"OneCycleLR": "SequentialLR of LinearLR and CosineAnnealingLR warms up and goes down; momenta stay as they are"}


def __getattr__(name):
    raise absent(f"module {__name__!r}", name, _INSTEAD)
