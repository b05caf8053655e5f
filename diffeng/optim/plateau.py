"""ReduceLROnPlateau: a learning rate that goes down when a loss no longer does.

What it is not: a function of the number of steps, as the schedules of lr_scheduler.py are.
"""
import math

from ..errors import refuse


class ReduceLROnPlateau:
    """The rate of each group is multiplied by factor when the metric has not become better for more than `patience` calls of step(metric).

    mode: "min" or "max", what is better. Better is by more than threshold, "rel" of the best so far or "abs". cooldown: calls after a change that do not
    count. min_lr: a number, or one a group. eps: changes smaller than this are not made.
    """

    def __init__(self, optimizer, mode="min", factor=0.1, patience=10, threshold=1e-4, threshold_mode="rel", cooldown=0, min_lr=0.0, eps=1e-8):
        if factor >= 1:
            raise refuse(ValueError, f"scheduler{{here}}: Factor should be < 1.0, and is {factor}")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise refuse(ValueError, f"scheduler{{here}}: mode is 'min' or 'max', threshold_mode 'rel' or 'abs', not {mode!r} and {threshold_mode!r}")
        count = len(optimizer.param_groups)
        self.min_lrs = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * count
        if len(self.min_lrs) != count:
            raise refuse(ValueError, f"scheduler{{here}}: expected {count} min_lrs, got {len(self.min_lrs)}")
        self.optimizer, self.mode, self.factor, self.patience, self.threshold = optimizer, mode, factor, patience, threshold
        self.threshold_mode, self.cooldown, self.eps = threshold_mode, cooldown, eps
        self.best, self.num_bad_epochs, self.cooldown_counter, self.last_epoch = (math.inf if mode == "min" else -math.inf), 0, 0, 0

    def _better(self, metric):
        sign = -1 if self.mode == "min" else 1
        limit = self.best * (1 + sign * self.threshold) if self.threshold_mode == "rel" else self.best + sign * self.threshold
        return sign * metric > sign * limit

    def step(self, metrics):
        """After a validation: its metric, a number or a tensor of one."""
        metric = float(metrics)
        self.last_epoch += 1
        better = self._better(metric)
        self.best = metric if better else self.best
        self.num_bad_epochs = 0 if better else self.num_bad_epochs + 1
        if self.cooldown_counter > 0:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0
        if self.num_bad_epochs > self.patience:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
            for group, least in zip(self.optimizer.param_groups, self.min_lrs):
                lr = max(group["lr"] * self.factor, least)
                group["lr"] = lr if group["lr"] - lr > self.eps else group["lr"]

    def get_last_lr(self):
        """The rates that are in force, one a group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self):
        """What load_state_dict needs to go on from here."""
        return {k: v for k, v in vars(self).items() if k != "optimizer"}

    def load_state_dict(self, state_dict):
        vars(self).update(state_dict)
