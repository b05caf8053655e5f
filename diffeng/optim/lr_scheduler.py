"""Schedules: what the learning rate of every group becomes when step() is called.

Most say by what the present rate is multiplied, as PyTorch's do: so two schedules of one optimiser multiply, and a rate that was set by hand counts from then
on. LambdaLR, CosineAnnealingWarmRestarts and OneCycleLR are functions of the number of steps alone.
"""
import bisect
import math

from ..errors import refuse
from .plateau import ReduceLROnPlateau          # noqa: F401


class LRScheduler:
    """Subclasses define get_lr(): the next rate of each group, from self.last_epoch (how often step was called), self.base_lrs (the rates at the beginning) and
    the present ones, self.optimizer.param_groups[k]["lr"]. Most define factor(t) alone, by which the present rates are multiplied at step t.

    last_epoch: -1, or the last step of training that goes on; the groups then have an "initial_lr", else KeyError.

    >>> import diffeng as de
    >>> class Halving(LRScheduler):
    ...     def factor(self, t):
    ...         return 0.5 if t else 1.0
    >>> optimizer = de.optim.SGD([de.zeros(1, requires_grad=True)], lr=8.0)
    >>> halving = Halving(optimizer)
    >>> halving.step(), halving.get_last_lr()
    (None, [4.0])
    """

    def __init__(self, optimizer, last_epoch=-1):
        if not hasattr(optimizer, "param_groups"):
            raise refuse(TypeError, f"scheduler{{here}}: {type(optimizer).__name__} is not an Optimizer")
        self.optimizer, self.last_epoch = optimizer, last_epoch
        for k, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise refuse(KeyError, f"scheduler{{here}}: param 'initial_lr' is not specified in param_groups[{k}] when resuming an optimizer: set it to the rate at the "
                                       "beginning, or load the optimizer's state_dict first")
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.step()

    def factor(self, t):
        raise NotImplementedError(f"{type(self).__name__} is missing get_lr(self), which returns the next rates, or factor(self, t), by which they are multiplied")

    def get_lr(self):
        """The next rates, one a group."""
        factor = self.factor(self.last_epoch)
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def step(self, epoch=None):
        """After optimizer.step(): the next rates. epoch: those after so many steps from the beginning instead."""
        if epoch is None:
            self.last_epoch += 1
            self._set(self.get_lr())
            return
        self._set(self.base_lrs)
        for t in (*range(math.ceil(epoch)), epoch):
            self.last_epoch = t
            self._set(self.get_lr())

    def _set(self, rates):
        for group, lr in zip(self.optimizer.param_groups, rates):
            group["lr"] = lr
        self._last_lr = list(rates)

    def get_last_lr(self):
        """The rates that the last step set, one a group."""
        return self._last_lr

    def state_dict(self):
        """All that load_state_dict needs to go on from here, but functions; the rates themselves are the optimizer's state."""
        return {k: v for k, v in vars(self).items() if k != "optimizer"}

    def load_state_dict(self, state_dict):
        vars(self).update(state_dict)


class LambdaLR(LRScheduler):
    """base * lr_lambda(t); a list of functions: one a group."""

    def __init__(self, optimizer, lr_lambda, last_epoch=-1):
        n = len(optimizer.param_groups)
        self.lr_lambdas = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * n
        if len(self.lr_lambdas) != n:
            raise refuse(ValueError, f"scheduler{{here}}: Expected {n} lr_lambdas, but got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas)]

    def state_dict(self):
        return {k: v for k, v in super().state_dict().items() if k != "lr_lambdas"}


class MultiplicativeLR(LambdaLR):
    """The present rate * lr_lambda(t), from the first step on; a list of functions: one a group."""

    def get_lr(self):
        groups, t = self.optimizer.param_groups, self.last_epoch
        return [group["lr"] * (f(t) if t > 0 else 1.0) for group, f in zip(groups, self.lr_lambdas)]


class StepLR(LRScheduler):
    """Times gamma after every step_size steps."""

    def __init__(self, optimizer, step_size, gamma=0.1, last_epoch=-1):
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t):
        return self.gamma if t and t % self.step_size == 0 else 1.0


class MultiStepLR(LRScheduler):
    """Times gamma at each of the milestones."""

    def __init__(self, optimizer, milestones, gamma=0.1, last_epoch=-1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t):
        return self.gamma ** self.milestones.count(t)


class ExponentialLR(LRScheduler):
    """Times gamma at each step."""

    def __init__(self, optimizer, gamma, last_epoch=-1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t):
        return self.gamma if t else 1.0


class ConstantLR(LRScheduler):
    """Times factor until total_iters steps are done."""

    def __init__(self, optimizer, factor=1.0 / 3, total_iters=5, last_epoch=-1):
        if not 0 <= factor <= 1:
            raise refuse(ValueError, "scheduler{here}: Constant multiplicative factor expected to be between 0 and 1.")
        self.first, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, t):
        return self.first if t == 0 else 1.0 / self.first if t == self.total_iters else 1.0


class LinearLR(LRScheduler):
    """Times start_factor at first, times end_factor after total_iters steps, and evenly between: a warm-up."""

    def __init__(self, optimizer, start_factor=1.0 / 3, end_factor=1.0, total_iters=5, last_epoch=-1):
        if not 0 < start_factor <= 1:
            raise refuse(ValueError, "scheduler{here}: Starting multiplicative factor expected to be greater than 0 and less or equal to 1.")
        if not 0 <= end_factor <= 1:
            raise refuse(ValueError, "scheduler{here}: Ending multiplicative factor expected to be between 0 and 1.")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, t):
        start, move = self.start_factor, self.end_factor - self.start_factor
        if t == 0:
            return start
        return 1.0 + move / (self.total_iters * start + (t - 1) * move) if t <= self.total_iters else 1.0


class PolynomialLR(LRScheduler):
    """base * (1 - t / total_iters) ** power, which is 0 in the end."""

    def __init__(self, optimizer, total_iters=5, power=1.0, last_epoch=-1):
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def factor(self, t):
        n = self.total_iters
        return ((1.0 - t / n) / (1.0 - (t - 1) / n)) ** self.power if 0 < t <= n else 1.0


class CosineAnnealingLR(LRScheduler):
    """eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2 (Loshchilov & Hutter, ICLR 2017, without restarts), from the rate before."""

    def __init__(self, optimizer, T_max, eta_min=0.0, last_epoch=-1):
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        t, least, groups = self.last_epoch, self.eta_min, self.optimizer.param_groups
        if t == 0:
            return [group["lr"] for group in groups]
        part, before = [1 + math.cos(math.pi * k / self.T_max) for k in (t, t - 1)]
        if (t - 1) % (2 * self.T_max) == self.T_max:                 # from the lowest point up again: a ratio would be 0 / 0
            return [group["lr"] + (base - least) * part / 2 for group, base in zip(groups, self.base_lrs)]
        return [least + (group["lr"] - least) * (part / before) for group in groups]


class CosineAnnealingWarmRestarts(LRScheduler):
    """From base down to eta_min along half a cosine in T_0 steps, then from base again, in T_mult times as many, and so on (Loshchilov & Hutter, ICLR 2017).

    step(epoch): after a part of an epoch, too: step(epoch + batch / batches).
    """

    def __init__(self, optimizer, T_0, T_mult=1, eta_min=0.0, last_epoch=-1):
        if T_0 < 1 or T_mult < 1 or T_0 != int(T_0) or T_mult != int(T_mult):
            raise refuse(ValueError, f"scheduler{{here}}: Expected positive integers T_0 and T_mult, but got {T_0} and {T_mult}")
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        t, length = self.last_epoch, self.T_0
        while t >= length:
            t, length = t - length, length * self.T_mult
        return [self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / length)) / 2 for base in self.base_lrs]


class OneCycleLR(LRScheduler):
    """From max_lr / div_factor up to max_lr in pct_start of all steps, then down to max_lr / div_factor / final_div_factor (Smith & Topin, arXiv:1708.07120).

    max_lr: a number, or one a group. total_steps, or epochs and steps_per_epoch. anneal_strategy: "cos" or "linear". cycle_momentum: SGD's momentum, or the first of
    Adam's betas, goes from max_momentum down to base_momentum and up again. three_phase: as long down to max_lr / div_factor as it went up, then to the end.
    Raises ValueError for a step beyond the last.
    """

    def __init__(self, optimizer, max_lr, total_steps=None, epochs=None, steps_per_epoch=None, pct_start=0.3, anneal_strategy="cos", cycle_momentum=True,
                 base_momentum=0.85, max_momentum=0.95, div_factor=25.0, final_div_factor=1e4, three_phase=False, last_epoch=-1):
        total = total_steps if total_steps is not None else (epochs or 0) * (steps_per_epoch or 0)
        if total <= 0 or total != int(total):
            raise refuse(ValueError, "scheduler{here}: You must define either total_steps OR (epochs AND steps_per_epoch), positive integers")
        if not 0 <= pct_start <= 1:
            raise refuse(ValueError, f"scheduler{{here}}: Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise refuse(ValueError, f"scheduler{{here}}: anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        groups, self.total_steps, self.anneal_strategy, self.cycle_momentum = optimizer.param_groups, total, anneal_strategy, cycle_momentum
        high = list(max_lr) if isinstance(max_lr, (list, tuple)) else [max_lr] * len(groups)
        if len(high) != len(groups):
            raise refuse(ValueError, f"scheduler{{here}}: expected {len(groups)} values for max_lr, got {len(high)}")
        if cycle_momentum and not any([name in groups[0] for name in ("momentum", "betas")]):
            raise refuse(ValueError, "scheduler{here}: optimizer must support momentum or beta1 with `cycle_momentum` option enabled: pass cycle_momentum=False")
        for group, top in zip(groups, high):
            if last_epoch == -1:
                group.update(initial_lr=top / div_factor, max_lr=top, min_lr=top / div_factor / final_div_factor, base_momentum=base_momentum, max_momentum=max_momentum)
        up = pct_start * total - 1
        self.phases = [(up, "initial_lr", "max_lr", "max_momentum", "base_momentum")]
        if three_phase:
            self.phases += [(2 * up, "max_lr", "initial_lr", "base_momentum", "max_momentum"), (total - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum")]
        else:
            self.phases += [(total - 1, "max_lr", "min_lr", "base_momentum", "max_momentum")]
        super().__init__(optimizer, last_epoch)

    def _between(self, start, end, part):
        return end + (start - end) / 2 * (1 + math.cos(math.pi * part)) if self.anneal_strategy == "cos" else start + (end - start) * part

    def get_lr(self):
        t, begin, rates = self.last_epoch, 0, []
        if t > self.total_steps:
            raise refuse(ValueError, f"scheduler{{here}}: Tried to step {t} times. The specified number of total steps is {self.total_steps}")
        for end, *names in self.phases:
            if t <= end or end == self.total_steps - 1:
                break
            begin = end
        part = (t - begin) / (end - begin)
        for group in self.optimizer.param_groups:
            first, last, high, low = [group[name] for name in names]
            rates.append(self._between(first, last, part))
            if self.cycle_momentum:
                momentum = self._between(high, low, part)
                group.update(betas=(momentum, *group["betas"][1:])) if "betas" in group else group.update(momentum=momentum)
        return rates


class CyclicLR(LRScheduler):
    """Up from base_lr to max_lr in step_size_up steps and down again, over and over (Smith, WACV 2017); the momentum goes the other way unless cycle_momentum=False.

    mode: "triangular"; "triangular2", half as high at each cycle; "exp_range", gamma**t as high; or scale_fn(n), n the cycle's number, or t (scale_mode "iterations").
    """

    def __init__(self, optimizer, base_lr, max_lr, step_size_up=2000, step_size_down=None, mode="triangular", gamma=1.0, scale_fn=None, scale_mode="cycle", cycle_momentum=True,
                 base_momentum=0.8, max_momentum=0.9, last_epoch=-1):
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise refuse(ValueError, f"scheduler{{here}}: mode is invalid and scale_fn is None: {mode!r} is none of 'triangular', 'triangular2', 'exp_range'")
        groups = optimizer.param_groups
        self.base_lrs, self.max_lrs, self.base_momentums, self.max_momentums = (
            [*x] if isinstance(x, (list, tuple)) else [x] * len(groups) for x in (base_lr, max_lr, base_momentum, max_momentum))
        if any([len(x) != len(groups) for x in (self.base_lrs, self.max_lrs)]):
            raise refuse(ValueError, f"scheduler{{here}}: expected {len(groups)} values for base_lr and max_lr, one a group")
        if cycle_momentum and not any([name in groups[0] for name in ("momentum", "betas")]):
            raise refuse(ValueError, "scheduler{here}: optimizer must support momentum or beta1 with `cycle_momentum` option enabled: pass cycle_momentum=False")
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size, self.step_ratio, self.mode, self.gamma = float(step_size_up + down), step_size_up / (step_size_up + down), mode, gamma
        self.cycle_momentum, self._scale_fn = cycle_momentum, scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else "iterations" if mode == "exp_range" else "cycle"
        first = self.base_lrs
        for group, lr in zip(groups, first):
            if last_epoch == -1:
                group["lr"] = group["initial_lr"] = lr
        super().__init__(optimizer, last_epoch)
        self.base_lrs = first

    def _scale(self, n):
        return self._scale_fn(n) if self._scale_fn is not None else 1.0 if self.mode == "triangular" else 0.5 ** (n - 1) if self.mode == "triangular2" else self.gamma ** n

    def get_lr(self):
        turns = 1 + self.last_epoch / self.total_size
        cycle = math.floor(turns)
        x = turns - cycle
        part = (x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)) * self._scale(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            for group, low, high in zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums):
                momentum = high - (high - low) * part
                group.update(betas=(momentum, *group["betas"][1:])) if "betas" in group else group.update(momentum=momentum)
        return [low + (high - low) * part for low, high in zip(self.base_lrs, self.max_lrs)]


class SequentialLR(LRScheduler):
    """One schedule after the other: the next begins, from the first rates, when a milestone is reached."""

    def __init__(self, optimizer, schedulers, milestones, last_epoch=-1):
        if len(milestones) != len(schedulers) - 1:
            raise refuse(ValueError, f"scheduler{{here}}: SequentialLR expects one milestone fewer than schedulers, but got {len(schedulers)} and {len(milestones)}")
        _of_one(optimizer, schedulers)
        self._schedulers, self._milestones, self.optimizer, self.last_epoch = list(schedulers), list(milestones), optimizer, last_epoch + 1
        self._schedulers[0].step(0)                       # each has changed the rates when it was made
        for other in self._schedulers[1:]:
            other.last_epoch = -1
        self._last_lr = self._schedulers[0].get_last_lr()

    def step(self):
        self.last_epoch += 1
        k = bisect.bisect_right(self._milestones, self.last_epoch)
        begins = k and self._milestones[k - 1] == self.last_epoch
        self._schedulers[k].step(*[0] * begins)
        self._last_lr = self._schedulers[k].get_last_lr()

    def state_dict(self):
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict):
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"]):
            scheduler.load_state_dict(state)


class ChainedScheduler(SequentialLR):
    """Several schedules at once: at each step all of them step, and what they multiply the rate by multiplies."""

    def __init__(self, schedulers, optimizer=None):
        if not schedulers:
            raise refuse(ValueError, "scheduler{here}: ChainedScheduler expects at least one scheduler to be chained, but got no scheduler.")
        optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        _of_one(optimizer, schedulers)
        self._schedulers, self.optimizer = list(schedulers), optimizer
        self._last_lr = schedulers[-1].get_last_lr()

    def step(self):
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._schedulers[-1].get_last_lr()


def _of_one(optimizer, schedulers):
    for s in schedulers:
        if not hasattr(s, "optimizer") or s.optimizer is not optimizer:
            raise refuse(ValueError, f"scheduler{{here}}: expects all schedulers to belong to the same optimizer, and {type(s).__name__}'s is another")


_LRScheduler = LRScheduler                      # its name in older programs
